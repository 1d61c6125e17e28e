#!/usr/bin/python3
"""The configuration: --check-config of every daemon names what is wrong with file, line and key (exit status 78); a running daemon takes what changed, however it was
changed, when all of it is right."""
import os
import shutil
import signal
import sys

sys.path.insert(0, os.path.dirname(__file__))
from another import *
from coffre import *

DAEMONS = ("coffre-ingest", "coffre-sealer", "coffre-exporter")


def check(daemon, text=None, change=None):
    """Checks the instance's configuration, or a changed copy beside it."""
    text = (RUN / "coffre.yml").read_text() if text is None else text
    file = RUN / "changed.yml"
    if change is not None:
        assert change[0] in text, change
        text = text.replace(*change, 1)
    file.write_text(text)
    try:
        return program(daemon, "--config", file, "--check-config", check=False), text
    finally:
        file.unlink()


def assert_refused(daemon, change, *words):
    done, text = check(daemon, change=change)
    assert done.returncode == 78, done
    line = next(n for n, said in enumerate(text.splitlines(), 1) if change[1].splitlines()[-1] in said)
    assert f"changed.yml:{line}: " in done.stderr, (line, done.stderr)
    for word in words:
        assert word in done.stderr, (word, done.stderr)


def test_the_instance_is_right_for_every_daemon():
    for daemon in DAEMONS:
        done, _ = check(daemon)
        assert done.returncode == 0 and "is correct" in done.stdout, done


def test_an_unknown_key_and_a_bad_value():
    for daemon in DAEMONS:
        assert_refused(daemon, ("state_dir: state", "state_dir: state\nstate_dri: x"), "state_dri")
        assert_refused(daemon, ("  number: 1", "  number: one"), "vault.number", "one")


def test_files_that_are_not_what_they_should_be():
    assert_refused("coffre-ingest", ("key: keys/ingest/ingest.key", "key: pki/sensor-1.key"), "ingest.")
    assert_refused("coffre-exporter", ("certificate: pki/exporter.pem", "certificate: pki/none.pem"), "none.pem")
    assert_refused("coffre-sealer", ("seal_certificate: certificates/seal.pem", "seal_certificate: certificates/absent.pem"), "absent.pem")


def test_a_place_of_lists_that_is_not_there_is_told():
    for daemon in ("coffre-ingest", "coffre-exporter"):
        assert "crl-unreadable" not in check(daemon)[0].stderr, daemon
        done, _ = check(daemon, change=("crls: [pki/crl]", "crls: [pki/clr]"))
        assert done.returncode == 0 and re.search("code=crl-unreadable .*revocation.crls: .*/pki/clr: ", done.stderr), done


def test_events_are_encrypted_for_nobody_but_the_regulator():
    assert_refused("coffre-ingest", ("    - pki/regulator-encryption-next.pem", "    - pki/sensor-1.pem"),
                   "regulator.recipients", "not from the regulator's CA")


# ---- while a daemon runs ------------------------------------------------------------------------------

FAST = 60


class Watched(Another):
    """An exporter of its own whose configuration and certificate are reached as in a Kubernetes volume: links into a folder that another replaces."""

    def __init__(self):
        super().__init__("coffre-exporter", name=f"watched-{unique('x')[-8:]}")
        self.place = RUN / f"files-{self.name}"
        for folder in (self.place, self.place / "..1"):
            folder.mkdir(mode=0o700)
        self.config.unlink()
        self.config = self.place / "coffre.yml"
        self.change_files = {"exporter.certificate": str(self.place / "tls.crt"), "exporter.key": str(self.place / "tls.key")}
        self.flat.update({key: json.dumps(value) for key, value in self.change_files.items()})
        self.fill("..1", "exporter")
        (self.place / "..data").symlink_to("..1")
        for name in ("coffre.yml", "tls.crt", "tls.key"):
            (self.place / name).symlink_to(f"..data/{name}")
        self.own()

    def own(self):
        for path in [self.place, *self.place.rglob("*")]:
            os.chown(path, RUN.stat().st_uid, RUN.stat().st_gid, follow_symlinks=False)

    def fill(self, version, who, text=None):
        folder = self.place / version
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / "coffre.yml").write_text(written(self.flat) if text is None else text)
        (folder / "tls.crt").write_bytes((PKI / f"{who}.pem").read_bytes())
        (folder / "tls.key").write_bytes((PKI / f"{who}.key").read_bytes())
        (folder / "tls.key").chmod(0o600)
        self.own()

    def turn(self, version):
        """The links lead to another folder from one moment to the next."""
        (self.place / "..new").symlink_to(version)
        (self.place / "..new").rename(self.place / "..data")

    def text(self):
        return self.config.read_text()

    def put(self, name, data):
        """A file takes another's place whole."""
        new = self.place / f"{name}.new"
        new.write_bytes(data if isinstance(data, bytes) else data.encode())
        new.chmod(0o600)
        os.chown(new, RUN.stat().st_uid, RUN.stat().st_gid)
        new.rename(self.place / name)

    def counts(self):
        text = (self.state / "coffre-exporter.prom").read_text()
        return tuple(int(re.search(rf'coffre_reloads_total{{result="{result}"}} (\d+)', text)[1]) for result in ("done", "refused"))

    def settled(self):
        """The figures once nothing has happened for as long as a change needs to be taken up."""
        before, since = self.counts(), time.monotonic()
        while time.monotonic() < since + 4:
            time.sleep(0.2)
            if self.counts() != before:
                before, since = self.counts(), time.monotonic()
        return before

    def becomes(self, done, refused):
        wait_until(lambda: self.counts() == (done, refused), FAST, f"{done} readings taken and {refused} refused; there are {self.counts()}")

    def __enter__(self):
        super().__enter__()
        wait_until((self.state / "coffre-exporter.prom").exists, FAST, "metrics are written")
        return self

    def __exit__(self, *what):
        super().__exit__(*what)
        shutil.rmtree(self.place)


def shown(at):
    """The certificate a server shows, DER."""
    context = ssl._create_unverified_context()
    with socket.create_connection(("127.0.0.1", at), timeout=FAST) as raw, context.wrap_socket(raw, server_hostname="localhost") as c:
        return c.getpeercert(True)


def certificate(name):
    return ssl.PEM_cert_to_DER_cert(re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", (PKI / f"{name}.pem").read_text(), re.S)[0])


def test_a_change_is_taken_by_itself_however_it_is_made():
    with Watched() as w:
        assert w.settled() == (0, 0)
        w.config.resolve().write_text(w.text() + "\n# rewritten in place\n")
        w.becomes(1, 0)
        w.fill("..2", "exporter", w.text() + "# the links lead elsewhere\n")
        w.turn("..2")
        w.becomes(2, 0)
        shutil.rmtree(w.place / "..1")
        w.put("coffre.yml", w.text() + "# a file instead of the link\n")
        w.becomes(3, 0)
        w.process.send_signal(signal.SIGHUP)
        w.becomes(4, 0)
        assert w.settled() == (4, 0), "a reading for each change and no more"
        assert re.search(r"(?m)^reload \S+ done$", w.status()), w.status()


def test_a_certificate_and_its_key_change_with_the_links_and_one_after_the_other():
    with Watched() as w:
        assert shown(w.port) == certificate("exporter")
        w.fill("..2", "ingest")
        w.turn("..2")
        wait_until(lambda: shown(w.port) == certificate("ingest"), FAST, "the new certificate is shown")
        w.becomes(1, 0)
        mark = w.mark()
        w.put("tls.crt", (PKI / "exporter.pem").read_bytes())
        w.becomes(1, 1)
        mark.says("code=reload-refused", "exporter.certificate|tls.crt|tls.key")
        assert "reload" in w.status() and " refused " in w.status(), w.status()
        assert shown(w.port) == certificate("ingest"), "what was in force stays"
        assert w.settled() == (1, 1), "a refusal is said once"
        w.put("tls.key", (PKI / "exporter.key").read_bytes())
        w.becomes(2, 1)
        wait_until(lambda: shown(w.port) == certificate("exporter"), FAST, "the new certificate is shown")
        assert " refused " not in w.status(), w.status()


def test_half_a_file_changes_nothing_and_a_role_that_dies_meanwhile_comes_back():
    with Watched() as w:
        whole = w.text()
        mark = w.mark()
        w.config.resolve().write_text(whole[:whole.index("exporter:") + 20])
        w.becomes(0, 1)
        line = mark.says("code=reload-refused")
        assert "coffre.yml:" in line or "is missing" in line, line
        for name in ("query", "keys", "journal"):
            before = children(w.process.pid)[name]
            os.kill(before[0], signal.SIGKILL)
            wait_until(lambda: len(children(w.process.pid).get(name, [])) == len(before) and before[0] not in children(w.process.pid)[name], FAST,
                       f"{name} is started again")
        wait_until(lambda: w.status().startswith("state ready"), FAST, "all roles are ready, with what was in force")
        assert w.process.poll() is None
        w.config.resolve().write_text(whole)
        w.becomes(1, 1)


def test_what_only_a_start_changes_is_said_by_name():
    with Watched() as w:
        mark = w.mark()
        w.flat["exporter.connections"] = "77"
        w.flat["rabbitmq.heartbeat"] = '"7s"'
        w.flat["log.level"] = '"debug"'
        w.put("coffre.yml", written(w.flat))
        w.becomes(1, 0)
        mark.says("code=restart-needed", "rabbitmq.heartbeat, exporter.connections")
        assert re.search(r"(?m)^restart-needed rabbitmq.heartbeat, exporter.connections$", w.status()), w.status()
        w.flat["vault.number"] = str(VAULT + 1)
        w.put("coffre.yml", written(w.flat))
        w.becomes(1, 1)
        mark.says("code=reload-refused", r"coffre.yml:\d+: vault.number: can never change")


def test_a_file_that_comes_later_is_awaited():
    with Watched() as w:
        w.flat["exporter.certificate"] = json.dumps(str(w.place / "later.crt"))
        w.put("coffre.yml", written(w.flat))
        w.becomes(0, 1)
        w.put("later.crt", (PKI / "exporter.pem").read_bytes())
        w.becomes(1, 1)
        assert w.settled() == (1, 1)


def test_words_that_say_nothing_are_refused_where_they_are():
    for change in ["expiry:\n  warn: 60d and more", "revocation:\n  ocsp_nonce: maybe", "revocation:\n  fetch: [ftp://localhost/x]",
                   "profiles:\n  reader:\n    revocation: sometimes", "profiles:\n  reader:\n    digests: sha1", "profiles:\n  reader:\n    ocsp: localhost"]:
        text = re.sub(r"(?m)^revocation:\n(  .*\n)+", "", (RUN / "coffre.yml").read_text()) + change + "\n"
        done, _ = check("coffre-exporter", text)
        key = ".".join(re.findall(r"(\w+):", change.replace("ftp:", "")))
        assert done.returncode == 78 and f"changed.yml:{len(text.splitlines())}: {key}: " in done.stderr, (key, done)


run(globals())
