#!/usr/bin/python3
"""New keys and certificates of seal and time-stamp, while the vault works: made by the ceremony, certified, taken between two lots without a restart; old lots verify for ever. What is wrong about the
new leaves the old in force and is said. Whoever dies meanwhile, no lot is sealed half with the one and half with the other, none is signed twice, and a PIN that was refused is not tried again.
"""
import base64
import contextlib
import hashlib
import random
import shutil
import signal
import struct
import sys
import tempfile
import threading

import os
sys.path.insert(0, os.path.dirname(__file__))
from another import *
from coffre import *
from pki_servers import *
from test_sealer import sealed_lots, some_events

CONFIG, TOKENS, PIN = RUN / "coffre.yml", RUN / "softhsm/tokens", RUN / "secrets/hsm-pin"
MEMORY, REFUSED = RUN / "state/seal/seal-memory", RUN / "state/seal/seal-memory.pin-refused"
SUBJECT = f"/C=FR/O=Operateur {OPERATOR}/OU=Coffre {VAULT}"
SEAL = ["keyUsage=critical,digitalSignature,nonRepudiation"]
TSA = ["keyUsage=critical,digitalSignature", "extendedKeyUsage=critical,timeStamping"]
ROUNDS = 20


# ---- the instance's sealer --------------------------------------------------------------------------

def status():
    return (RUN / "state/coffre-sealer.status").read_text()


def metric(name):
    text = (RUN / "state/coffre-sealer.prom").read_text()
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))


def refusals():
    return metric('coffre_reloads_total{result="refused"}') + metric('coffre_reloads_total{result="partial"}')


def roles():
    found = children(pid_of("coffre-sealer"))
    return {name: found[name][0] for name in ("work", "seal", "stamp")}


def put(path, data):
    """A file of the instance's, whole or not at all."""
    new = path.parent / f"{path.name}.put"
    new.write_bytes(data)
    new.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o600)
    os.chown(new, OWNER.st_uid, OWNER.st_gid)
    new.rename(path)


def hangup():
    os.kill(pid_of("coffre-sealer"), signal.SIGHUP)


def configured(**values):
    """The instance's configuration with some of sealer's keys changed: text."""
    text = CONFIG.read_text()
    for key, what in values.items():
        text, n = re.subn(rf"(?m)^  {key}: .*$", f"  {key}: {what}", text)
        if n == 0:
            text = text.replace("sealer:\n", f"sealer:\n  {key}: {what}\n")
    return text


@contextlib.contextmanager
def as_it_was():
    """What the tests change is put back, and the sealer has taken it."""
    kept = {path: path.read_bytes() for path in (CONFIG, PIN, RUN / "certificates/seal.pem", RUN / "certificates/tsa.pem")}
    try:
        yield
    finally:
        for path, data in kept.items():
            if path.read_bytes() != data:
                put(path, data)
        REFUSED.unlink(missing_ok=True)
        hangup()
        wait_until(lambda: ready("coffre-sealer"), SOON, lambda: f"the sealer is ready: {status()}")
        wait_until(lambda: "refused" not in status(), SOON, lambda: f"the last reload is taken: {status()}")
        wait_until(lambda: sealed_with(a_lot(), OLD["seal"], OLD["tsa"]), SOON, "lots are sealed as they were")


# ---- what is in a lot ---------------------------------------------------------------------------------

def der(path):
    """A certificate file's first, or what it was when it was asked before."""
    return path if isinstance(path, bytes) else base64.b64decode("".join(re.search(r"-----BEGIN CERTIFICATE-----(.*?)-----END", path.read_text(), re.S)[1].split()))


def sealed_with(lot, seal, tsa):
    """The certificates in the lot's XAdES and in its time-stamp are those of these files."""
    text = bytes(value("SELECT signatures FROM lot WHERE lot = %s", lot))
    token = base64.b64decode(re.search(rb"<xades:EncapsulatedTimeStamp>([^<]*)", text)[1])
    signer = re.search(rb"<ds:X509Certificate>([^<]*)", text)[1]
    return base64.b64decode(signer) == der(seal) and der(tsa) in token


def a_lot():
    """A new lot, closed on demand rather than by its age, and sealed."""
    serial = some_events()
    os.kill(pid_of("coffre-sealer"), signal.SIGUSR1)
    wait_sealed(serial)
    return value("SELECT lot FROM event WHERE serial = %s", serial)


def verified(*lots, after=False):
    """coffre-verify and other people's validators on an extraction of these lots; what coffre-verify says."""
    with tempfile.TemporaryDirectory() as folder:
        extract("--output", folder, "--quiet", "lots", f"{lots[0]}-{lots[-1]}")
        found = sorted(pathlib.Path(folder).glob("*.zip"))
        said = verify("--json", *found).stdout
        for number, path in enumerate(found):
            place = pathlib.Path(folder) / f"opened-{number}"
            subprocess.run(["unzip", "-q", path, "-d", place], check=True)
            subprocess.run([ROOT / "tests/interop/stock-verify.sh", place, PKI / "regulator-ca.pem"], check=True, capture_output=True, text=True)
    return said


# ---- certificates -------------------------------------------------------------------------------------

@contextlib.contextmanager
def hsm():
    """The ceremony finds the instance's token."""
    os.environ["SOFTHSM2_CONF"] = str(RUN / "softhsm/softhsm2.conf")
    try:
        yield
    finally:
        del os.environ["SOFTHSM2_CONF"]


def act(*words, config, check=True):
    with hsm():
        done = subprocess.run([BIN / "coffre-ceremony", *map(str, words), "--config", config, "--yes"], capture_output=True, text=True, timeout=300, **as_owner())
    assert done.returncode == 0 or not check, f"{words}: {done.returncode} {done.stdout}{done.stderr}"
    return done


def make_keys(*words, config):
    """SoftHSM 2.6 sometimes loses the private half of a pair that is made while other processes look at the token; the ceremony notices, and is done again."""
    done = act("keys", *words, config=config, check=False)
    if "has no private key" in done.stderr:
        done = act("keys", *words, config=config, check=False)
    assert done.returncode == 0, done.stderr


def certify(request, name, extensions, ca="regulator-ca", begins=0, ends=365 * 86400):
    """Signs an HSM key's request as the development authorities do, with what a test wants to be wrong; the file, among the vault's certificates."""
    out = RUN / "certificates" / f"{name}.pem"
    with tempfile.TemporaryDirectory() as folder:
        made, asked = pathlib.Path(folder) / "made.pem", pathlib.Path(folder) / "extensions"
        asked.write_text("\n".join(["basicConstraints=critical,CA:FALSE", "subjectKeyIdentifier=hash", "authorityKeyIdentifier=keyid", *extensions]) + "\n")
        if not (PKI / f"ca/{ca}/ca.cnf").exists():
            issue(unique("rien"), ca=ca) # makes the authority's books
        at = [time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + moment)) for moment in (begins, ends)]
        openssl("ca", "-batch", "-notext", "-utf8", "-preserveDN", "-config", f"ca/{ca}/ca.cnf", "-in", request, "-md", "sha256", "-extfile", asked,
                "-startdate", at[0], "-enddate", at[1], "-out", made, cwd=PKI)
        for book in (PKI / f"ca/{ca}").rglob("*"):
            os.chown(book, OWNER.st_uid, OWNER.st_gid)
        put(out, made.read_bytes() + (PKI / f"{ca}.pem").read_bytes())
    out.chmod(0o644)
    return out


NEW = {}


def renewed():
    """Two new keys and their certificates, once: the configuration that names them (a text), and the files."""
    if not NEW:
        name = unique("cle")[:12]
        seal, tsa = RUN / f"certificates/{name}-seal.pem", RUN / f"certificates/{name}-tsa.pem"
        config, csr = RUN / f"coffre-{name}.yml", RUN / f"ceremony-{name}"
        text = configured(seal_key=f"{name}-seal", tsa_key=f"{name}-tsa", seal_certificate=seal, tsa_certificate=tsa)
        put(config, text.encode())
        for which in ("seal", "tsa"):
            make_keys("--csr-dir", csr, "--subject", SUBJECT, "--only", which, config=config)
        for which in ("seal", "tsa"):
            pki("sign", which, csr / f"{which}.csr", csr / f"{which}.pem")
            os.chown(csr / f"{which}.pem", OWNER.st_uid, OWNER.st_gid)
        act("install", "--seal", csr / "seal.pem", "--tsa", csr / "tsa.pem", config=config)
        config.unlink()
        NEW.update(text=text, seal=seal, tsa=tsa, csr=csr, name=name)
    return NEW


OLD = {"seal": RUN / "certificates/seal.pem", "tsa": RUN / "certificates/tsa.pem"}


# ---- a renewal as an operator does it -----------------------------------------------------------------------

def test_a_new_key_is_taken_by_the_next_lot_without_a_restart():
    with as_it_was(), Journal() as journal:
        before, running = a_lot(), roles()
        assert sealed_with(before, OLD["seal"], OLD["tsa"])
        new = renewed()
        put(CONFIG, new["text"].encode())  # no signal: it is seen
        log = daemon_log("coffre-sealer")
        log.says("certificate-ready", "role=seal")
        after = a_lot()
        wait_until(lambda: sealed_with(a_lot(), new["seal"], new["tsa"]), SOON, "lots are sealed with the new keys")
        log.says("certificate-changed", "role=seal")
        log.says("certificate-changed", "role=stamp")
        last = a_lot()
        assert roles() == running, "nothing was started again"
        said = status()
        assert "restart-needed" not in said and "refused" not in said, said
        journal.wait("reloaded")
        assert "certificate-renewed" in verified(before, last)
        assert value("SELECT count(*) FROM lot WHERE lot BETWEEN %s AND %s AND container IS NULL", before, last) == 0
        # An extraction that has lots of the new keys alone is whole too.
        verified(last)
        verified(before)
        assert after >= before


def test_a_lost_memory_is_rebuilt_before_any_lot_of_the_new_key():
    new, kept = renewed(), MEMORY.with_suffix(".kept")
    with as_it_was():
        wait_sealed(some_events())
        instance("stop", "coffre-sealer")
        MEMORY.rename(kept)
        try:
            put(CONFIG, new["text"].encode())
            assert act("remember", config=CONFIG, check=False).returncode == 0, "the last lot is of the certificate before, of the same name"
        finally:
            if not MEMORY.exists():
                kept.rename(MEMORY)
            kept.unlink(missing_ok=True)
            instance("start", "coffre-sealer")
        assert sealed_with(a_lot(), new["seal"], new["tsa"])


def test_one_of_the_two_keys_is_renewed_alone():
    name = unique("seule")[:12]
    text = configured(tsa_key=name, tsa_certificate=RUN / f"certificates/{name}.pem")
    config, csr = RUN / f"coffre-{name}.yml", RUN / f"ceremony-{name}"
    with as_it_was():
        put(config, text.encode())
        make_keys("--csr-dir", csr, "--subject", SUBJECT, "--only", "tsa", config=config)
        assert not (csr / "seal.csr").exists()
        pki("sign", "tsa", csr / "tsa.csr", csr / "tsa.pem")
        os.chown(csr / "tsa.pem", OWNER.st_uid, OWNER.st_gid)
        assert act("install", "--tsa", csr / "tsa.pem", config=config, check=False).returncode == 2
        act("install", "--tsa", csr / "tsa.pem", "--only", "tsa", config=config)
        config.rename(CONFIG)
        wait_until(lambda: sealed_with(a_lot(), OLD["seal"], RUN / f"certificates/{name}.pem"), SOON, "time-stamps are of the new key, seals of the old")


def test_another_certificate_of_the_same_key_replaces_the_first_in_place():
    with as_it_was():
        again = certify(RUN / "ceremony/seal.csr", unique("encore")[:12], SEAL)
        put(OLD["seal"], again.read_bytes())
        wait_until(lambda: sealed_with(a_lot(), again, OLD["tsa"]), SOON, "lots are sealed with the new certificate")


def test_the_algorithm_changes_between_two_lots():
    with as_it_was():
        put(CONFIG, configured(algorithm="rsa-pss-sha256").encode())
        wait_until(lambda: b"sha256-rsa-MGF1" in bytes(value("SELECT signatures FROM lot WHERE lot = %s", a_lot())), SOON, "lots are signed with PSS")


# ---- what is wrong ---------------------------------------------------------------------------------------------

def stays(change, *why):
    """After this change the old keys go on sealing, nothing was started again, and log, status, metrics and journal say why."""
    with as_it_was(), Journal() as journal:
        running, log, old = roles(), daemon_log("coffre-sealer"), (der(OLD["seal"]), der(OLD["tsa"]))
        counted = refusals()
        change()
        log.says("reload-refused", *why)
        wait_until(lambda: re.search(r"(?m)^reload .* refused", status()) and all(re.search(word, status()) for word in why), SOON, lambda: f"the status says {why}: {status()}")
        wait_until(lambda: refusals() > counted, SOON, "it is counted")
        journal.wait("reload-refused", reason=why[0])
        assert len(journal.find("reload-refused", reason=why[0])) == 1
        for _ in range(2):
            assert sealed_with(a_lot(), *old), "the old certificates stay"
        assert roles() == running


def configure(**values):
    return lambda: put(CONFIG, configured(**values).encode())


def test_a_certificate_of_another_key_is_refused():
    stays(configure(seal_certificate=renewed()["seal"]), "is not the certificate of key .{1,2}seal")
    stays(configure(tsa_certificate=renewed()["tsa"]), "is not the certificate of key .{1,2}tsa")


def test_a_key_that_is_not_in_the_token_is_refused():
    stays(configure(seal_key="nulle-part"), "no private key labelled .{1,2}nulle-part")
    stays(configure(tsa_key="nulle-part"), "no private key labelled .{1,2}nulle-part")


def test_when_one_of_the_two_is_wrong_neither_changes():
    new = renewed()
    stays(configure(seal_key=f"{new['name']}-seal", seal_certificate=new["seal"], tsa_key="nulle-part", tsa_certificate=new["tsa"]), "no private key labelled .{1,2}nulle-part")


def test_certificates_out_of_date_are_refused():
    requests = RUN / "ceremony"
    ended = certify(requests / "seal.csr", unique("fini")[:12], SEAL, begins=-86400, ends=-60)
    stays(configure(seal_certificate=ended), "expired")
    later = certify(requests / "tsa.csr", unique("tard")[:12], TSA, begins=86400)
    stays(configure(tsa_certificate=later), "not yet valid")
    soon = certify(requests / "seal.csr", unique("court")[:12], SEAL, begins=-86400, ends=300)
    stays(configure(seal_certificate=soon), "within 10 minutes")


def test_another_authority_is_refused():
    stays(configure(seal_certificate=certify(RUN / "ceremony/seal.csr", unique("ailleurs")[:12], SEAL, ca="foreign-ca")), "issuer|self.signed")
    stays(configure(tsa_certificate=certify(RUN / "ceremony/tsa.csr", unique("ailleurs")[:12], TSA, ca="foreign-ca")), "issuer|self.signed")


def test_certificates_for_something_else_are_refused():
    requests = RUN / "ceremony"
    stays(configure(seal_certificate=certify(requests / "seal.csr", unique("usage")[:12], ["keyUsage=critical,keyEncipherment"])), "key usage lacks")
    stays(configure(tsa_certificate=certify(requests / "tsa.csr", unique("usage")[:12], [TSA[0], "extendedKeyUsage=timeStamping"])), "critical extended key usage")
    stays(configure(tsa_certificate=certify(requests / "tsa.csr", unique("usage")[:12], [TSA[0], "extendedKeyUsage=critical,timeStamping,clientAuth"])), "critical extended key usage")


def test_another_name_is_refused():
    name = unique("nom")[:12]
    config, csr = RUN / f"coffre-{name}.yml", RUN / f"ceremony-{name}"
    put(config, configured(seal_key=name).encode())
    make_keys("--csr-dir", csr, "--subject", "/C=FR/O=Un autre", "--only", "seal", config=config)
    config.unlink()
    stays(configure(seal_key=name, seal_certificate=certify(csr / "seal.csr", name, SEAL)), "subject is not that of")


def test_files_that_are_no_certificates_are_refused():
    for text in (b"", b"garbage", OLD["seal"].read_bytes()[:300]):
        stays(lambda: put(OLD["seal"], text), "certificates/seal.pem: no certificate")


def test_an_hsm_that_is_gone_at_that_moment_seals_nothing_and_the_old_keys_come_back_with_it():
    new, aside = renewed(), TOKENS.with_name("tokens-aside")
    with as_it_was():
        count = sealed_lots()
        TOKENS.rename(aside)
        try:
            log = daemon_log("coffre-sealer")
            put(CONFIG, new["text"].encode())
            log.says("reload-refused", "PKCS#11|token")
            wait_until(lambda: not ready("coffre-sealer"), SOON, "the sealer is not ready")
            serial = some_events()
            wait_until(lambda: value("SELECT count(*) FROM lot WHERE container IS NULL AND lot < (SELECT lot FROM head)") > 0, SOON, "a lot waits")
            count = sealed_lots()
        finally:
            aside.rename(TOKENS)
        wait_sealed(serial)
        assert sealed_lots() > count
        assert sealed_with(value("SELECT lot FROM event WHERE serial = %s", serial), OLD["seal"], OLD["tsa"])
        hangup()
        wait_until(lambda: sealed_with(a_lot(), new["seal"], new["tsa"]), SOON, "asked again, it takes the new ones")


# ---- the PIN ----------------------------------------------------------------------------------------------------

def test_a_wrong_pin_is_refused_tried_once_and_the_open_token_stays():
    with as_it_was():
        log = daemon_log("coffre-sealer")
        running = roles()
        put(PIN, b"no-such-pin\n")
        log.says("reload-refused", "refuses this PIN")
        for _ in range(3):
            mark = daemon_log("coffre-sealer")
            hangup()
            mark.says("reload-refused", "has refused this PIN before")
        assert sealed_with(a_lot(), OLD["seal"], OLD["tsa"]) and roles() == running
        # Started again, they have no session any more; and do not try it either.
        for name, pid in running.items():
            if name != "work":
                mark = daemon_log("coffre-sealer")
                os.kill(pid, signal.SIGKILL)
                mark.says(f"role={name}", "hsm-away", "has refused this PIN before")
        waits = some_events()
        wait_until(lambda: value("SELECT count(*) FROM lot WHERE container IS NULL AND lot < (SELECT lot FROM head)") > 0, SOON, "lots wait")
        assert log.count("refuses this PIN .it is wrong") == log.count(r"reload-refused.*refuses this PIN .it is wrong") and log.count(r"code=reload-refused.*refuses this PIN .it is wrong") == 1, log.text()
        assert "no-such-pin" not in log.text()
    wait_sealed(waits)


def test_a_wrong_pin_in_another_file_changes_nothing():
    other = RUN / "secrets/hsm-pin-autre"
    put(other, b"no-such-pin-either\n")
    stays(configure(pin=other), "refuses this PIN")


def test_the_pin_is_nowhere_in_memory_once_it_was_used():
    """Neither whole nor half of it, in any page of the roles that gave it to the token."""
    words = PIN.read_bytes().strip()
    for name in ("seal", "stamp"):
        mark = daemon_log("coffre-sealer")
        os.kill(roles()[name], signal.SIGKILL)
        mark.says(f"role={name}", "hsm-open")
        seen = 0
        pid = roles()[name]
        for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, rights = line.split()[:2]
            begin, end = (int(place, 16) for place in span.split("-"))
            if "r" not in rights or "[v" in line:
                continue
            try:
                with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
                    memory.seek(begin)
                    page = memory.read(end - begin)
            except OSError: # given back since the list was made
                continue
            seen += len(page)
            assert words not in page and words[:len(words) // 2] not in page, f"{name}: {line}"
        assert seen > 1 << 20
        assert re.search(r"Max core file size +0 +0 ", pathlib.Path(f"/proc/{pid}/limits").read_text())
    wait_sealed(some_events())


# ---- death ---------------------------------------------------------------------------------------------------------

class Memories(threading.Thread):
    """Every version of the seal's memory that is there long enough to be seen: of one lot, one signature."""

    def __init__(self):
        super().__init__(daemon=True)
        self.values, self.ending, self.twice = {}, False, []

    def run(self):
        while not self.ending:
            try:
                data = MEMORY.read_bytes()
            except FileNotFoundError:
                continue
            # magic, version, text operator, u32 vault, u64 lot, u64 last, u64 closed, u64 signed, genesis, value
            at = data.index(OPERATOR.encode()) + 4 + 4
            lot, found = struct.unpack_from(">Q", data, at)[0], data[at + 32 + 32:at + 32 + 64]
            if self.values.setdefault(lot, found) != found:
                self.twice.append(lot)
            time.sleep(0.002)


def test_whoever_is_killed_while_keys_change_no_lot_is_signed_twice_and_the_chain_holds():
    new = renewed()
    old = CONFIG.read_bytes()
    first = a_lot()
    memories = Memories()
    memories.start()
    chance = random.Random(20)
    with as_it_was():
        for round_ in range(ROUNDS):
            put(CONFIG, new["text"].encode() if round_ % 2 == 0 else old)
            hangup()
            serial = some_events()
            os.kill(pid_of("coffre-sealer"), signal.SIGUSR1)
            time.sleep(chance.random() * 0.6)
            for name in chance.sample(["seal", "stamp", "work"], chance.randint(1, 3)):
                for pid in children(pid_of("coffre-sealer")).get(name, []):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            wait_sealed(serial, 120)
    memories.ending = True
    memories.join(10)
    assert not memories.twice, f"signed twice: {memories.twice}"
    last = a_lot()
    for lot, found in memories.values.items():
        stored = value("SELECT signatures FROM lot WHERE lot = %s", lot) if lot else None
        if stored is not None:
            signature = re.search(rb"<ds:SignatureValue[^>]*>([^<]*)", bytes(stored))[1]
            assert hashlib.sha256(base64.b64decode(signature)).digest() == found, f"lot {lot}: what is stored is not what was remembered"
    assert len(memories.values) > ROUNDS / 2
    for lot in range(first, last + 1):
        text = bytes(value("SELECT signatures FROM lot WHERE lot = %s", lot))
        signer = base64.b64decode(re.search(rb"<ds:X509Certificate>([^<]*)", text)[1])
        assert signer in (der(OLD["seal"]), der(new["seal"])), lot
    verified(first, last)
    check_numbers()


if __name__ == "__main__":
    run(globals())
