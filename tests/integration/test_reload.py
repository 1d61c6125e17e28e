#!/usr/bin/python3
"""Certificates, keys, authorities, CRLs and roles change while the vault works: without a restart, without a handshake that fails, without a session lost that is
still entitled; and what is wrong changes nothing and is said.
"""
import os
import shutil
import sys

sys.path.insert(0, os.path.dirname(__file__))
from holders import *

SERVER = ["keyUsage=critical,digitalSignature,keyEncipherment", "extendedKeyUsage=serverAuth", "subjectAltName=DNS:localhost,IP:127.0.0.1"]


def server_certificate(key):
    return issue(short(f"serveur-{key}"), key=key, extensions=SERVER, subject=f"/C=FR/O=Operateur 4512/OU=Coffre 1/CN=serveur {key}")


@contextlib.contextmanager
def own_files(**contents):
    """A folder of files of the instance's user: place / name."""
    place = RUN / short("fichiers")
    place.mkdir()
    os.chown(place, OWNER.st_uid, OWNER.st_gid)
    try:
        for name, data in contents.items():
            put(place / name, data)
        yield place
    finally:
        shutil.rmtree(place)


def put(path, data):
    new = path.parent.parent / f"{path.name}.new"
    new.write_bytes(data)
    new.chmod(0o600)
    os.chown(new, OWNER.st_uid, OWNER.st_gid)
    new.rename(path)


def show(place, name):
    """The daemon's certificate and key become those of `name`."""
    put(place / "key", (PKI / f"{name}.key").read_bytes())
    put(place / "certificate", (PKI / f"{name}.pem").read_bytes())


def shown(at):
    """The serial number of the certificate that a server shows now."""
    context = tls("sensor-1")
    raw = socket.create_connection(("127.0.0.1", at), timeout=SOON)
    with context.wrap_socket(raw, server_hostname="localhost") as c:
        return c.getpeercert()["serialNumber"].lstrip("0")


def shows(at, name):
    wait_until(lambda: shown(at) == serial(name).lstrip("0"), SOON, f"{name}'s certificate is shown")


def handshake_of(at, protocol=None):
    def once():
        context = tls("sensor-1")
        if protocol:
            context.minimum_version = context.maximum_version = protocol
        with StompSensor("sensor-1", at, context) as c:
            c.deposit()
            c.close()
    return once


def request_of(at):
    def once():
        status, answer = curl("/check", "reader-1", at)
        assert status == 200, (status, answer)
    return once


# ---- the server's own certificate ------------------------------------------------------------------------------

def own(place, part):
    return {f"{part}__certificate": str(place / "certificate"), f"{part}__key": str(place / "key")}


def test_certificate_and_key_change_under_load_from_rsa_to_ec_and_back():
    rsa, ec = server_certificate("rsa"), server_certificate("ec")
    with own_files() as place:
        show(place, rsa)
        for vault, once in ((ingest(**own(place, "ingest")), handshake_of), (exporter(**own(place, "exporter")), request_of)):
            with vault:
                shows(vault.port, rsa)
                live = StompSensor("sensor-1", vault.port) if once is handshake_of else None
                with Load(once(vault.port)) as load:
                    for name in (ec, rsa, ec, rsa):
                        load.more()
                        show(place, name)
                        vault.reload()
                        shows(vault.port, name)
                    load.more()
                if live:
                    live.deposit()
                    live.close()


def test_files_that_change_are_read_without_a_signal():
    rsa, ec = server_certificate("rsa"), server_certificate("ec")
    with own_files() as place:
        show(place, rsa)
        with ingest(**own(place, "ingest")) as vault, StompSensor("sensor-1", vault.port) as live:
            show(place, ec)
            shows(vault.port, ec)
            live.deposit()


def test_a_certificate_that_is_wrong_is_refused_and_the_old_one_stays():
    good, other = server_certificate("rsa"), server_certificate("ec")
    with own_files() as place, Journal() as journal:
        show(place, good)
        for make, once in ((lambda: ingest(**own(place, "ingest")), handshake_of), (lambda: exporter(**own(place, "exporter")), request_of)):
            with make() as vault, Load(once(vault.port), threads=2) as load:
                for file, data in (("certificate", (PKI / f"{other}.pem").read_bytes()), ("certificate", b"garbage"), ("certificate", b""),
                                   ("key", (PKI / f"{other}.key").read_bytes()), ("key", b"garbage"), ("key", b"")):
                    mark = vault.mark()
                    put(place / file, data)
                    vault.reload()
                    mark.says("reload-refused|certificate-waits", "certificate|key")
                    load.more(5)
                    assert shown(vault.port) == serial(good).lstrip("0"), (file, data[:30])
                    show(place, good)
                    vault.reload()
                (place / "certificate").unlink()
                mark = vault.mark()
                vault.reload()
                mark.says("reload-refused")
                load.more(5)
                show(place, good)
        journal.wait("reload-refused")


def test_a_configuration_that_is_wrong_is_refused_and_the_old_one_stays():
    with ingest() as vault, StompSensor("sensor-1", vault.port) as live:
        whole = vault.config.read_text()
        for text, why in ((whole + "nonsense: 1\n", "nonsense"), (whole.replace("vault:", "vault", 1), "coffre-"), ("", "coffre-"),
                          (whole.replace("operator-ca.pem", "absent.pem"), "absent.pem")):
            mark = vault.mark()
            put(vault.config, text.encode())
            vault.reload()
            mark.says("reload-refused|level=error", why)
            live.deposit()
            let_in("sensor-1", vault.port)
        put(vault.config, whole.encode())
        mark = vault.mark()
        vault.reload()
        mark.says("reload")
        let_in("sensor-1", vault.port)


# ---- authorities -----------------------------------------------------------------------------------------------

def test_an_authority_added_lets_in_and_removed_cuts():
    """Another authority's certificate with a bound subject: trusted while its authority is in the bundle, and not longer."""
    mine, theirs = (PKI / "operator-ca.pem").read_bytes(), (PKI / "foreign-ca.pem").read_bytes()
    with own_files(bundle=mine) as place, ingest(profiles__depositor__ca=str(place / "bundle"), profiles__depositor__revocation="none") as vault:
        assert refusal(StompSensor, "foreign", vault.port)
        with StompSensor("sensor-1", vault.port) as live, Load(handshake_of(vault.port), threads=2) as load:
            put(place / "bundle", mine + theirs)
            let_in("foreign", vault.port)
            for kind in SENSORS:
                with kind("foreign", vault.port) as session:
                    session.deposit()
                    put(place / "bundle", mine)
                    session.cut()
                kept_out("foreign", at=vault.port)
                put(place / "bundle", mine + theirs)
                let_in("foreign", vault.port)
            mark = vault.mark()
            put(place / "bundle", b"garbage")
            mark.says("reload-refused", "bundle")
            let_in("foreign", vault.port)
            load.more()
            live.deposit()


def test_an_authority_removed_cuts_readers_too():
    mine, theirs = (PKI / "regulator-ca.pem").read_bytes(), (PKI / "foreign-ca.pem").read_bytes()
    agent = bind(issue(short("agent"), ca="foreign-ca"), "reader")
    with own_files(bundle=mine + theirs) as place, exporter(profiles__reader__ca=str(place / "bundle"), profiles__reader__revocation="none") as vault:
        answers(agent, 200, at=vault.port)
        put(place / "bundle", mine)
        answers(agent, 401, "certificate-foreign", at=vault.port)
        answers("reader-1", 200, at=vault.port)


# ---- what a profile asks for ---------------------------------------------------------------------------------------

def test_rules_of_a_profile_change_and_live_sessions_are_measured_by_them():
    name = sensor(key="rsa:2048")
    with ingest() as vault:
        let_in(name, vault.port)
        with StompSensor(name, vault.port) as session, StompSensor("sensor-1", vault.port) as live:
            session.deposit()
            vault.reload({"profiles.depositor.rsa_bits": 3072})
            session.cut()
            live.deposit()
        kept_out(name, at=vault.port)
        with StompSensor("sensor-1", vault.port) as session:
            vault.reload({"profiles.depositor.allow": ["192.0.2.0/24"]})
            session.cut()
        kept_out("sensor-1", at=vault.port)
        vault.reload({"profiles.depositor.allow": ["192.0.2.0/24", "127.0.0.0/8"]})
        let_in("sensor-1", vault.port)


def test_a_certificate_that_ends_takes_its_session_with_it():
    name = bind(issue(short("bref"), days="105s", from_="60s")) # of which three quarters of a minute are left
    with StompSensor("sensor-1") as live:
        let_in(name, kinds=[StompSensor])
        with StompSensor(name) as session:
            session.deposit()
            said = session.cut()
        assert "expired" in said, said
        live.deposit()


# ---- roles ---------------------------------------------------------------------------------------------------------

def test_an_unbound_client_is_cut_on_both_ports():
    agent = reader()
    answers(agent, 200)
    for kind in SENSORS:
        name = sensor()
        let_in(name, kinds=[kind])
        with Journal() as journal, kind(name) as session, kind("sensor-1") as live:
            session.deposit() # beside the one it was let in with
            session.begin()
            session.add()
            unbind(name)
            assert "bound" in session.cut()
            live.deposit()
            journal.wait("session-cut", cn=name, check="not-bound")
            journal.wait("role-revoked", cn=name, profile="depositor")
        kept_out(name, "bound", kinds=[kind])
        wait_until(lambda: deposits_of(name) == 2, SOON, lambda: f"what was acknowledged is numbered, and nothing else: {deposits_of(name)}")
        bind(name)
        let_in(name, kinds=[kind])
    unbind(agent, "reader")
    answers(agent, 403, "not-bound")
    bind(agent, "reader")
    answers(agent, 200)


# ---- roles that start again while a file is wrong --------------------------------------------------------------------

class Sealer(Another):
    """Stands by: the instance's own is active."""

    def __init__(self, **changed):
        super().__init__("coffre-sealer", {"sealer.listen": None, **keys(changed)})

    def front_ready(self):
        assert self.process.poll() is None, f"{self.name} ended: {self.log.read_text(errors='replace')[-2000:]}"
        return (self.state / f"{self.program}.status").exists() and bool(says_of(self, "work", "ready")) # its token is the instance's


def path_of(daemon, key):
    """The file, or the first of the files, that the instance's own daemon has for this key."""
    return pathlib.Path(re.sub(r'[\[\]"]', "", settings(daemon)[key]).split(",")[0])


def own_copies(place, daemon, names):
    """Settings of one's own: a copy of each of these files."""
    changed = {}
    for key in names:
        put(place / key, path_of(daemon, key).read_bytes())
        changed[key] = [str(place / key)] if key in ("ingest.pack_keys", "regulator.recipients") else str(place / key)
    return changed


def says_of(vault, role, words):
    return re.search(rf"(?m)^role {role} 0 pid \d+ {words}", vault.status())


def cannot_begin_until_right(vault, place, key, roles, journal):
    good = (place / key).read_bytes()
    others = {kind: pids for kind, pids in children(vault.process.pid).items() if kind not in roles}
    mark = vault.mark()
    put(place / key, b"garbage")
    mark.says("reload-refused", re.escape(key))
    for role in roles:
        os.kill(vault.role(role), signal.SIGKILL)
    for role in roles:
        wait_until(lambda: says_of(vault, role, f"not-ready cannot begin: .*{re.escape(key)}"), SOON, lambda: f"{role} cannot begin without {key}: {vault.status()}")
        mark.says("role-unfit", role, re.escape(key))
        journal.wait("process-unfit", process=f"^{role} 0$", reason=re.escape(key))
    assert vault.process.poll() is None
    assert {kind: pids for kind, pids in children(vault.process.pid).items() if kind not in roles} == others, "other roles were started again"
    assert "state degraded" in vault.status()
    put(place / key, good)
    for role in roles:
        wait_until(lambda: says_of(vault, role, "(?!not-ready cannot|down|not-ready start)"), SOON, lambda: f"{role} has begun: {vault.status()}")
        mark.says("role-fit", role)
    for role in roles:
        journal.wait("process-fit", process=f"^{role} 0$")
        wait_until(lambda: says_of(vault, role, "ready"), SOON, lambda: f"{role} is ready again: {vault.status()}")


INGEST = {"ingest.key": ["keys"], "ingest.certificate": ["identity"], "operator.ca": ["identity"], "ingest.pack_keys": ["relay", "deliver", "ledger"], "ingest.dedup_key": ["ledger"],
          "regulator.recipients": ["ledger"]}
EXPORTER = {"exporter.key": ["keys"], "exporter.certificate": ["identity"], "regulator.ca": ["identity"]}
SEALER = {"regulator.ca": ["work"]}  # seal and stamp wait by themselves, with what they had in the token


def test_an_ingest_role_that_finds_a_broken_file_waits_for_it():
    with own_files() as place, Journal() as journal:
        with Another("coffre-ingest", own_copies(place, "coffre-ingest", INGEST)) as vault:
            for key, roles in INGEST.items():
                cannot_begin_until_right(vault, place, key, roles, journal)
                let_in("sensor-1", vault.port)


def test_an_exporter_role_that_finds_a_broken_file_waits_for_it():
    with own_files() as place, Journal() as journal:
        with Another("coffre-exporter", own_copies(place, "coffre-exporter", EXPORTER)) as vault:
            for key, roles in EXPORTER.items():
                cannot_begin_until_right(vault, place, key, roles, journal)
                answers("reader-1", 200, at=vault.port)


def test_a_sealer_role_that_finds_a_broken_file_waits_for_it():
    with own_files() as place, Journal() as journal:
        with Sealer(sealer__memory=str(place / "memory"), **own_copies(place, "coffre-sealer", SEALER)) as vault:
            for key, roles in SEALER.items():
                cannot_begin_until_right(vault, place, key, roles, journal)


def test_a_ledger_with_another_deduplication_key_does_not_work():
    """It would know no deposit of before, and number again what is sent again: whether it is started again, or its daemon is."""
    key, found = "ingest.dedup_key", "ingest.dedup_key: .* is not the key"
    with own_files() as place, Journal() as journal:
        vault = Another("coffre-ingest", own_copies(place, "coffre-ingest", [key]))
        with vault:
            wait_until(lambda: says_of(vault, "ledger", "ready"), SOON, lambda: f"the ledger is ready: {vault.status()}")
            good = (place / key).read_bytes()
            put(place / key, os.urandom(32))
            wait_until(lambda: f"restart-needed {key}" in vault.status(), SOON, lambda: f"a start is needed: {vault.status()}")
            os.kill(vault.role("ledger"), signal.SIGKILL)
            wait_until(lambda: says_of(vault, "ledger", f"not-ready cannot begin: {found}"), SOON, lambda: f"the ledger is unfit: {vault.status()}")
            journal.wait("process-unfit", process="^ledger 0$", reason=found)
            put(place / key, good)
            wait_until(lambda: says_of(vault, "ledger", "ready"), SOON, lambda: f"the ledger is ready again: {vault.status()}")
            assert vault.stop() == 0
        put(place / key, os.urandom(32))
        vault.change({}) # its file went with the first
        mark = vault.mark()
        try:
            with vault:
                vault.process.wait(SOON)
        except AssertionError as ended: # before its front was ready
            assert "ended" in str(ended), ended
        finally:
            vault.__exit__()
        assert vault.process.returncode == 78, vault.process.returncode
        mark.says("role-refuses", found)


def test_a_daemon_is_refused_at_its_start_for_what_is_wrong_then():
    with own_files() as place:
        vault = Another("coffre-ingest", own_copies(place, "coffre-ingest", INGEST))
        put(place / "ingest.key", b"garbage")
        try:
            with vault:
                raise AssertionError("it has started")
        except AssertionError as ended:
            assert "ended" in str(ended) and "ingest.key" in str(ended), ended
        assert vault.process.returncode == 78


# ---- one role that is stuck, many signals ------------------------------------------------------------------------------

def test_roles_that_are_stopped_keep_nobody_from_working():
    """Each in turn, with another one restarted and the configuration read meanwhile: the parent goes on, and the one stopped is told when it goes on."""
    with ingest() as vault:
        for stopped in ("deliver", "roster", "ledger", "fetch", "identity"):
            pid = vault.role(stopped)
            os.kill(pid, signal.SIGSTOP)
            try:
                before = vault.role("relay")
                mark = vault.mark()
                os.kill(before, signal.SIGKILL)
                wait_until(lambda: vault.role("relay") not in (None, before) and says_of(vault, "relay", "ready"), SOON, lambda: f"relay is back: {vault.status()}")
                vault.reload()
                mark.says("code=reloaded", "role=parent")
            finally:
                os.kill(pid, signal.SIGCONT)
            let_in("sensor-1", vault.port)
        os.kill(vault.role("roster"), signal.SIGSTOP)
        assert vault.stop() == 0


def test_a_storm_of_signals_under_load():
    with ingest() as vault, Load(handshake_of(vault.port), threads=2) as load:
        mark = vault.mark()
        for _ in range(200):
            vault.reload()
            time.sleep(0.02)
        load.more(5)
        assert 2 <= mark.count("role=parent .*code=reloaded") <= 60, mark.count("code=reloaded")


if __name__ == "__main__":
    run(globals(), beside=[test_a_certificate_that_ends_takes_its_session_with_it])
