#!/usr/bin/python3
"""The exporter's /readyz, item by item while each thing is taken away; identity that is away, hangs or says what a stranger may not know."""
import os
import shutil
import signal
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(__file__))
from coffre import instance
from holders import *

ITEMS = ["rabbitmq", "postgresql", "hsm", "clock", "crl", "certificates"]


def readyz(who="tech-admin-1", at=None):
    """(HTTP status, {item: note} of what is not well)."""
    status, body = curl("/readyz", who, at)
    assert status in (0, 200, 503), (status, body)
    if status == 0 or "items" not in body:
        return status, None
    assert [item["name"] for item in body["items"]] == ITEMS and body["status"] == ("ready" if status == 200 else "not ready"), body
    assert (status == 200) == all(item["ok"] for item in body["items"]), body
    return status, {item["name"]: item["note"] for item in body["items"] if not item["ok"]}


def shows(*names, words="", at=None):
    """Waits until exactly these are not well, and the first says so."""
    got = []

    def so():
        got[:] = readyz(at=at)
        return got[1] is not None and sorted(got[1]) == sorted(names) and (not names or words in got[1][names[0]])
    wait_until(so, 2 * SOON, lambda: f"/readyz shows {names or 'nothing'} {words!r}: {got}")


def role(name):
    return children(pid_of("coffre-exporter")).get(name, [])


# ---- who learns what -----------------------------------------------------------------------------------

def test_strangers_learn_one_word_and_holders_the_items():
    shows()
    for who in (None, "foreign", "stranger", "sensor-1"):
        assert curl("/readyz", who) == (200, {"status": "ready"}), who
    for who in ("reader-1", "tech-admin-1", "func-admin-1"):
        assert readyz(who) == (200, {}), who
    with moved(PKI / "crl" / "operator-ca.crl"):
        wait_until(lambda: set(readyz("reader-1")[1] or ()) == {"crl"}, SOON, "a reader sees that a CRL is missing")
        for who in (None, "foreign", "stranger"):
            assert curl("/readyz", who) == (503, {"status": "not ready"}), who
    shows()


# ---- what goes away ------------------------------------------------------------------------------------

@contextlib.contextmanager
def moved(path):
    aside = RUN / f"{path.name}.aside"
    path.rename(aside)
    try:
        yield
    finally:
        aside.rename(path)


def test_rabbitmq_stopped_then_the_sealer():
    shows()
    instance("stop", "rabbitmq")
    try:
        shows("rabbitmq")
        assert curl("/check", "reader-1")[0] == 200, "what is read needs no RabbitMQ"
        instance("stop", "coffre-sealer") # which is believed for half a minute; meanwhile RabbitMQ comes back
    finally:
        instance("start", "rabbitmq")
    try:
        shows("hsm", "clock", words="has said nothing")
    finally:
        instance("start", "coffre-sealer")
    shows()


def test_postgresql_stopped():
    shows()
    instance("stop", "postgresql")
    try:
        shows("postgresql")
        status, body = curl("/check", "reader-1")
        assert status == 503 and body["code"] == "store-away", (status, body)
        # What the sealer said last does not hold for ever.
        shows("postgresql", "hsm", "clock")
    finally:
        instance("start", "postgresql")
    shows()


def test_token_moved_away():
    shows()
    with moved(RUN / "softhsm/tokens"):
        shows("hsm", words="PKCS#11")
        assert curl("/check", "reader-1")[0] == 200
    shows()


def test_clock_behind_the_last_token():
    shows()
    last = RUN / "state/seal/seal-memory.time"
    with moved(last):
        last.write_bytes(b"99999999999999\n")
        os.chown(last, OWNER.st_uid, OWNER.st_gid)
        shows("clock", words="already sealed")
        last.unlink()
    shows()


def test_crl_of_readers_removed():
    shows()
    with moved(PKI / "crl" / "regulator-ca.crl"):
        shows("crl")
        answers("reader-1", 401, "revocation-unknown")
        assert curl("/readyz", "reader-1")[1] == {"status": "not ready"}
    shows()
    answers("reader-1", 200)


def test_a_crl_that_ends_then_a_certificate():
    ends = issue(short("fin"), ca="regulator-ca", days="15s")
    with tempfile.TemporaryDirectory(dir=RUN) as place:
        os.chmod(place, 0o755)
        for ca in ("regulator-ca", "operator-ca"):
            shutil.copy(PKI / "crl" / f"{ca}.crl", f"{place}/{ca}.crl")
        shutil.copy(crl("regulator-ca", days="8s", out=RUN / "ends.crl"), f"{place}/regulator-ca.crl")
        subprocess.run(["chown", "-R", f"{OWNER.st_uid}:{OWNER.st_gid}", place], check=True)
        with exporter(revocation__crls=[place], regulator__recipients=[str(PKI / f"{ends}.pem")]) as other:
            wait_until(lambda: "crl" in (readyz(at=other.port)[1] or ()), SOON, "/readyz shows the CRL that has ended")
            answers("reader-1", 401, "revocation-unknown", at=other.port)
            answers("tech-admin-1", 200, at=other.port)
            shows("certificates", "crl", words="is over", at=other.port)
            assert ends in readyz(at=other.port)[1]["certificates"]
            shutil.copy(crl("regulator-ca", out=RUN / "ends.crl"), f"{place}/regulator-ca.crl")
            shows("certificates", words="is over", at=other.port)
            answers("reader-1", 200, at=other.port)
    (RUN / "ends.crl").unlink()
    shows()


def test_clock_that_nobody_disciplines():
    """The sealer does not take its word alone, nor that of a kernel whose error may be too large."""
    shows()
    before = (RUN / "coffre.yml").read_text()
    assert "source: local-trusted" in before
    doubtful = RUN / "coffre-doubtful.yml"
    doubtful.write_text(before.replace("source: local-trusted", "source: kernel\n    max_error: 1ms"))
    os.chown(doubtful, OWNER.st_uid, OWNER.st_gid)
    instance("stop", "coffre-sealer")
    try:
        with open(LOG / "coffre-sealer-doubtful.log", "ab") as log:
            sealer = subprocess.Popen([BIN / "coffre-sealer", "--config", doubtful], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=RUN,
                                      env={**os.environ, "SOFTHSM2_CONF": str(RUN / "softhsm/softhsm2.conf")}, **as_owner())
        try:
            shows("clock", words="clock: ")
            assert curl("/check", "reader-1")[0] == 200, "what is stored is read whatever the time"
        finally:
            sealer.terminate()
            sealer.wait(SOON)
    finally:
        doubtful.unlink()
        instance("start", "coffre-sealer")
    shows()


# ---- identity ------------------------------------------------------------------------------------------

def talk(who, at=None):
    c = tls(who).wrap_socket(socket.create_connection(("127.0.0.1", at or port("HTTPS")), timeout=SOON), server_hostname="localhost")
    return c


def ask(c, path="/check"):
    c.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    data = b""
    while b"\r\n\r\n" not in data or len(data.partition(b"\r\n\r\n")[2]) < int(re.search(rb"(?i)content-length: (\d+)", data).group(1)):
        more = c.recv(65536)
        if not more:
            raise ConnectionError(f"closed after {data!r}")
        data += more
    return int(data.split()[1]), json.loads(data.partition(b"\r\n\r\n")[2])


def test_without_a_verdict_requests_wait_and_are_told_so():
    with exporter(exporter__timeouts__request="2s") as other:
        live = talk("reader-1", other.port)
        assert ask(live)[0] == 200
        hanging = other.role("identity")
        os.kill(hanging, signal.SIGSTOP)
        try:
            status, body = curl("/check", "reader-1", other.port)
            assert (status, body["code"]) == (503, "identity-unavailable"), body
            status, body = curl("/v1/lots", "foreign", other.port)
            assert (status, body["code"]) == (503, "identity-unavailable"), body
            # Who shows no certificate needs no verdict, nor does liveness; who was judged is served for now.
            assert curl("/check", None, other.port)[1]["code"] == "certificate-missing"
            assert curl("/livez", "reader-1", other.port) == (200, {"status": "alive"})
            status, body = curl("/readyz", "reader-1", other.port)
            assert "items" not in body, body
            assert ask(live)[0] == 200
            wait_until(lambda: {"crl", "certificates"} <= set(json_items(live)), SOON, "an identity that says nothing is seen")
            # After a while it is started again, and nobody is believed meanwhile.
            wait_until(lambda: other.role("identity") not in (None, hanging), 2 * SOON, "identity is started again")
        finally:
            try:
                os.kill(hanging, signal.SIGCONT)
            except ProcessLookupError:
                pass
        answers("reader-1", 200, at=other.port)
        live.close()


def json_items(c):
    return [item["name"] for item in ask(c, "/readyz")[1].get("items", []) if not item["ok"]]


def test_a_new_identity_judges_those_who_are_there():
    """It knows nobody: connections are presented again, and cut when it says so."""
    agent = bind(issue(short("lecteur"), ca="regulator-ca"), "reader")
    answers(agent, 200)
    live, other = talk(agent), talk("reader-1")
    assert ask(live)[0] == ask(other)[0] == 200
    before = role("identity")
    with Journal() as journal:
        os.kill(before[0], signal.SIGKILL)
        wait_until(lambda: role("identity") not in ([], before), SOON, "identity is back")
        pki("revoke", agent)
        journal.wait("session-cut", cn=agent, check="certificate-revoked")
    try:
        assert live.recv(1) == b"", "an idle connection of a revoked certificate lives on"
    except ConnectionError:
        pass
    assert ask(other)[0] == 200
    answers(agent, 401, "certificate-revoked")


def test_a_connection_goes_on_after_a_refusal_and_a_binding_that_comes_counts_at_once():
    c = talk("tech-admin-1")
    assert ask(c, "/v1/extractions")[1]["code"] == "not-allowed" and ask(c)[0] == 200 and ask(c, "/nowhere")[1]["code"] == "not-found" and ask(c)[0] == 200
    agent = issue(short("lecteur"), ca="regulator-ca")
    c = talk(agent)
    assert ask(c)[1]["code"] == "not-bound" and ask(c)[1]["code"] == "not-bound"
    bind(agent, "reader")
    wait_until(lambda: ask(c)[0] == 200, SOON, "the connection that was refused is served")
    assert ask(c, "/v1/extractions")[0] == 200 and ask(c, "/v1/metrics")[1]["code"] == "not-allowed"
    unbind(agent, "reader")


def test_the_same_is_said_in_every_version_of_tls():
    for version in (["--tlsv1.2", "--tls-max", "1.2"], ["--tlsv1.3"]):
        for who, status, code in (("reader-1", 200, None), ("stranger", 403, "not-bound"), ("foreign", 401, "certificate-foreign"), (None, 401, "certificate-missing")):
            got, body = curl("/check", who, None, *version)
            assert got == status and (body == {"status": "available"} if status == 200 else body["code"] == code), (version, who, got, body)
    assert curl("/check", "reader-1", None, "--tlsv1.0", "--tls-max", "1.1")[0] == 0


def test_who_is_unbound_is_cut_while_idle_and_told_why_when_he_comes_back():
    agent = bind(issue(short("lecteur"), ca="regulator-ca"), "reader")
    pause = 0.5
    while curl("/check", agent)[0] != 200: # seldom: of refusals for the same reason only five a minute have a record of their own
        assert pause < SOON, "the binding has no effect"
        time.sleep(pause)
        pause *= 2
    live = talk(agent)
    assert ask(live)[0] == 200
    with Journal() as journal:
        unbind(agent, "reader")
        journal.wait("session-cut", cn=agent, check="not-bound")
        try:
            assert live.recv(1) == b""
        except ConnectionError:
            pass
        answers(agent, 403, "not-bound")
        record = journal.wait("request-refused", cn=agent, code="not-bound")
        assert record["role"] == "front" and record["fields"]["status"] == "403" and record["fields"]["target"] == "/check", record


def test_what_is_no_chain_or_has_no_subject_or_comes_from_elsewhere():
    nameless = issue(short("sans"), ca="regulator-ca", subject="/C=FR/O=Regulateur/OU=Lecteurs")
    answers(nameless, 401, "certificate-subject")
    # More certificates than anybody needs: nothing of them is read.
    many = short("chaine")
    (PKI / f"{many}.pem").write_bytes((PKI / "reader-1.pem").read_bytes() + 12 * (PKI / "regulator-ca.pem").read_bytes())
    (PKI / f"{many}.key").write_bytes((PKI / "reader-1.key").read_bytes())
    answers(many, 401, "certificate-malformed")
    elsewhere = ["192.0.2.0/24"]
    with exporter(profiles__reader__allow=elsewhere, profiles__functional__allow=elsewhere) as other, Journal() as journal:
        answers("reader-1", 403, "address-not-allowed", at=other.port)
        answers("tech-admin-1", 200, at=other.port)
        record = journal.wait("request-refused", cn="reader-1", code="address-not-allowed")
        told = curl("/check", "reader-1", other.port)[1]
        assert "192.0.2" not in json.dumps(told) and record["fields"]["peer"].startswith("127.0.0.1:"), (told, record)


if __name__ == "__main__":
    run(globals())
