#!/usr/bin/python3
"""Revocation: by CRL files, CRLs fetched and OCSP, with servers that misbehave; sessions that are cut in the middle of what they do; the override.

Settings other than the instance's are tried on further daemons of the same vault.
"""
import concurrent.futures
import os
import pathlib
import shutil
import sys

sys.path[:0] = [os.path.dirname(__file__), os.path.join(os.path.dirname(__file__), "../interop/stomp")]
from clients import Failed, StompPy
from holders import *
from revocations import *

# ---- CRL files -------------------------------------------------------------------------------------------

def test_a_certificate_in_order_is_let_in_everywhere():
    name, agent = sensor(), reader()
    let_in(name)
    with StompPy(who=name) as client:
        client.deposit(event("en règle"), unique())
        client.close()
    answers(agent, 200)


def test_a_sensor_revoked_is_cut_in_the_middle_of_a_transaction():
    for kind in SENSORS:
        name = sensor()
        let_in(name, kinds=[kind])
        with Journal() as journal, kind(name) as revoked, kind("sensor-1") as other:
            wait_until(lambda: deposits_of(name) == 1, SOON, "the deposit it was let in with is numbered")
            for _ in range(3):
                revoked.deposit()
            revoked.begin()
            for _ in range(5):
                revoked.add()
            revoked.c.socket.settimeout(SOON)
            pki("revoke", name, "keyCompromise")
            said = revoked.cut()
            assert REVOKED in said, (kind, said)
            other.deposit()
            journal.wait("session-cut", cn=name, check="certificate-revoked", serial=f"(?i)^0*{serial(name).lstrip('0')}$", reason="(?i)key ?compromise")
        kept_out(name, REVOKED, kinds=[kind])
        wait_until(lambda: deposits_of(name) == 4, SOON, lambda: f"what was acknowledged is numbered, and nothing else: {deposits_of(name)}")
        check_numbers()
        with Journal() as journal:
            refusal(kind, name)
            journal.wait("session-refused", cn=name, check="certificate-revoked")


def test_a_python_stomp_client_hears_that_it_is_revoked():
    name = sensor()
    let_in(name, kinds=[StompSensor])
    with StompPy(who=name, heartbeats=(10000, 10000)) as client:
        client.deposit(event("avant"), unique())
        pki("revoke", name)
        client.inbox.wait("disconnected")
        assert any(REVOKED in said for said in client.inbox.all("error")), client.inbox.entries
    try:
        StompPy(who=name)
    except Failed as told:
        assert REVOKED in str(told), told
    else:
        raise AssertionError("a revoked certificate was let in")


def large_extraction():
    """The path of a segment that no socket buffers hold whole, and its size."""
    place = RUN / short("gros")
    with open(place, "wb") as out:
        for _ in range(24):
            out.write(event("x" * 900_000) + b"\n")
    try:
        deposit("--quiet", "--follow", "archived", "--client-id-prefix", unique("gros"), place)
    finally:
        place.unlink()
    last = value("SELECT max(serial) FROM event")
    wait_sealed(last)
    status, _, body = http("/v1/extractions", method="POST", body={"serials": {"first": last - 23, "last": last}})
    assert status == 201, body
    return json.loads(body)["segments"][0]["location"]


def slow_reader(who, path, at=None):
    """A connection that has asked for it and read its beginning: (socket, length, what was read of it)."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    raw.settimeout(SOON)
    raw.connect(("127.0.0.1", at or port("HTTPS")))
    c = tls(who).wrap_socket(raw, server_hostname="localhost")
    c.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    data = b""
    while b"\r\n\r\n" not in data:
        more = c.recv(16384)
        assert more, f"closed after {data!r}"
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    return c, int(re.search(rb"(?i)content-length: (\d+)", head).group(1)), len(body)


def rest(c, so_far):
    try:
        while more := c.recv(1 << 16):
            so_far += len(more)
    except GONE:
        pass
    return so_far


def test_a_reader_revoked_is_cut_in_the_middle_of_an_extraction():
    path, agent = large_extraction(), reader()
    answers(agent, 200)
    with Journal() as journal:
        c, length, got = slow_reader(agent, path)
        other, _, others = slow_reader("reader-1", path)
        pki("revoke", agent)
        journal.wait("session-cut", cn=agent, check="certificate-revoked")
        got = rest(c, got)
        assert got < length, "the whole extraction came although its reader was revoked"
        assert rest(other, others) == length, "another reader's extraction was cut too"
    answers(agent, 401, "certificate-revoked")


def test_administrators_are_revoked_by_their_own_authority():
    technical = bind(issue(short("technique")), "technical")
    functional = reader("functional")
    for name in (technical, functional):
        answers(name, 200)
        pki("revoke", name)
        answers(name, 401, "certificate-revoked")


def test_a_session_resumed_does_not_outlive_revocation():
    """TLS 1.2 and 1.3: what a client kept of its last handshake opens nothing."""
    name = sensor()
    let_in(name, kinds=[StompSensor])
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = tls(name, version, version)
        with StompSensor(name, context=context) as first:
            first.deposit()
            session = first.c.socket.session
        raw = socket.create_connection(("127.0.0.1", port("STOMP")), timeout=SOON)
        with context.wrap_socket(raw, server_hostname="localhost", session=session) as again:
            assert not again.session_reused, "the vault resumes sessions: this test must then revoke in between"


# ---- CRLs that are no good ------------------------------------------------------------------------------------

def test_a_crl_that_is_no_good_is_refused_and_the_last_good_one_stays():
    good, bad = sensor(), sensor()
    pki("revoke", bad)
    with folder("operator-ca") as place, ingest(revocation__crls=[str(place)], revocation__crl_bytes=65536) as vault:
        let_in(good, vault.port)
        kept_out(bad, REVOKED, at=vault.port)
        fresh = crl(out=place.parent / "fresh.crl")
        cases = [
            ("expired", crl(days=-1, out=RUN / "x.crl").read_bytes(), "expired|ended|nextUpdate"),
            ("bit", flip(fresh), "signature"),
            ("foreign", crl("foreign-ca", out=RUN / "x.crl").read_bytes(), "issuer|authorit"),
            ("oversize", fresh.read_bytes() + b"\n" * 70000, "65536|64|large|over"),
            ("nothing", b"not a CRL at all\n", "CRL"),
            ("empty", b"", "CRL|empty"),
            ("half", fresh.read_bytes()[:len(fresh.read_bytes()) // 2], "CRL|PEM"),
            ("key", (PKI / "sensor-1.pem").read_bytes(), "CRL"),
        ]
        for name, data, why in cases:
            with Journal() as journal:
                mark = vault.mark()
                put(place, "operator-ca.crl", data)
                mark.says("crl-refused", "operator-ca.crl", f"(?i){why}")
                journal.wait("crl-refused", source="operator-ca.crl", reason=f"(?i){why}")
            assert refusal(StompSensor, good, vault.port) is None, f"{name}: the last good CRL is not in force any more"
            assert REVOKED in refusal(StompSensor, bad, vault.port), name
        mark = vault.mark()
        shutil.move(fresh, RUN / "y.crl")
        put(place, "operator-ca.crl", (RUN / "y.crl").read_bytes())
        mark.says("crl-taken", "operator-ca.crl")
        for left in ("x.crl", "y.crl"):
            (RUN / left).unlink(missing_ok=True)


def test_der_and_pem_and_several_in_one_file():
    good, bad, agent = sensor(), sensor(), reader()
    pki("revoke", bad)
    der = subprocess.run(["openssl", "crl", "-in", PKI / "crl/operator-ca.crl", "-outform", "DER"], capture_output=True, check=True).stdout
    with folder() as place:
        put(place, "operator.der", der)
        with ingest(revocation__crls=[str(place / "operator.der")]) as vault:
            let_in(good, vault.port, [StompSensor])
            kept_out(bad, REVOKED, at=vault.port, kinds=[StompSensor])
        put(place, "both.pem", b"".join((PKI / "crl" / f"{ca}.crl").read_bytes() for ca in ("regulator-ca", "operator-ca")))
        with exporter(revocation__crls=[str(place / "both.pem")]) as vault:
            answers(agent, 200, at=vault.port)
            answers("tech-admin-1", 200, at=vault.port)


def test_without_a_crl_nobody_is_let_in():
    with folder() as place, ingest(revocation__crls=[str(place)]) as vault:
        kept_out("sensor-1", UNKNOWN, at=vault.port)
        with Journal() as journal:
            refusal(StompSensor, "sensor-1", vault.port)
            journal.wait("revocation-unknown", cn="^sensor-1$")
            journal.wait("session-refused", cn="^sensor-1$", check="revocation-unknown")
        put(place, "operator-ca.crl", (PKI / "crl/operator-ca.crl").read_bytes())
        let_in("sensor-1", vault.port)
        with StompSensor("sensor-1", vault.port) as session:
            session.deposit()
            (place / "operator-ca.crl").unlink()
            assert UNKNOWN in session.cut()
    with folder() as place, exporter(revocation__crls=[str(place)]) as vault:
        answers("reader-1", 401, "revocation-unknown", at=vault.port)


def test_a_crl_that_ends_takes_its_sessions_with_it_and_max_stale_lengthens_it():
    with folder("operator-ca") as place:
        with ingest(revocation__crls=[str(place)]) as vault:
            let_in("sensor-1", vault.port)
            with StompSensor("sensor-1", vault.port) as session:
                session.deposit()
                put(place, "operator-ca.crl", crl(days="15s", out=RUN / "x.crl").read_bytes()) # once all is there, however long that took
                assert UNKNOWN in session.cut()
            kept_out("sensor-1", UNKNOWN, at=vault.port)
            vault.reload({"revocation.max_stale": "1h"})
            let_in("sensor-1", vault.port)
    (RUN / "x.crl").unlink()


# ---- the override ------------------------------------------------------------------------------------------------

def test_an_override_lets_in_until_its_end_and_is_journaled():
    revoked = sensor()
    pki("revoke", revoked)
    with folder() as place, ingest(revocation__crls=[str(place)]) as vault, Journal() as journal:
        kept_out("sensor-1", UNKNOWN, at=vault.port)
        ceremony("override", "--profile", "depositor", "--for", "25s", "--reason", "autorite injoignable")
        let_in("sensor-1", vault.port)
        with StompSensor("sensor-1", vault.port) as session: # before anything else: the time runs
            journal.wait("override-begun", profile="depositor", reason="autorite injoignable")
            journal.wait("override-used", profile="depositor")
            kept_out("foreign", at=vault.port)
            assert UNKNOWN in session.cut()
        journal.wait("override-ended", profile="depositor")
        kept_out("sensor-1", UNKNOWN, at=vault.port)


# ---- CRLs fetched ------------------------------------------------------------------------------------------------

def test_a_crl_is_fetched_on_schedule():
    good, bad = sensor(), sensor()
    with CrlServer() as server:
        server.serve("operator.crl", PKI / "crl/operator-ca.crl")
        with ingest(revocation__crls=None, revocation__fetch=[server.url("operator.crl")], revocation__fetch_every="1s") as vault:
            let_in(good, vault.port)
            let_in(bad, vault.port)
            with StompSensor(bad, vault.port) as session:
                pki("revoke", bad)
                assert REVOKED in session.cut()
            kept_out(bad, REVOKED, at=vault.port)
            asked = len(server.asked)
            wait_until(lambda: len(server.asked) > asked + 1, SOON, "the CRL is asked for again and again")


def test_crl_servers_that_misbehave_change_nothing():
    good, bad = sensor(), sensor()
    pki("revoke", bad)
    with CrlServer() as server:
        whole = (PKI / "crl/operator-ca.crl").read_bytes()
        server.serve("operator.crl", whole)
        server.serve("elsewhere", whole)
        with ingest(revocation__crls=None, revocation__fetch=[server.url("operator.crl")], revocation__fetch_every="1s", revocation__timeout="500ms",
                    revocation__crl_bytes=1 << 20) as vault:
            let_in(good, vault.port)
            kept_out(bad, REVOKED, at=vault.port)
            for name, way in [("404", server.absent), ("page", server.page), ("silent", server.silent), ("slow", server.slow(whole)),
                              ("endless", server.endless(True)), ("endless, undeclared", server.endless(False)), ("truncated", server.truncated(whole)),
                              ("bit", flip(PKI / "crl/operator-ca.crl")), ("redirect to a file", server.redirect(f"file://{PKI}/crl/operator-ca.crl")),
                              ("redirect in a circle", server.redirect(server.url("operator.crl")))]:
                server.serve("operator.crl", way)
                asked = len(server.asked)
                wait_until(lambda: len(server.asked) > asked, SOON, f"{name} is asked for") # what was asked for before is refused for another reason
                line = vault.mark().says("crl-refused", "operator.crl") # at once, or at the next try
                assert refusal(StompSensor, good, vault.port) is None, (name, line)
                assert REVOKED in refusal(StompSensor, bad, vault.port), (name, line)
                for role in ("fetch", "identity"):
                    memory = int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{vault.role(role)}/status").read_text()).group(1))
                    assert memory < 128 * 1024, f"{name}: {role} took {memory} kB"
            taken = server.sent["operator.crl"]
            assert taken < 64 << 20, f"{taken} bytes were taken of a CRL that may have one MiB"
            mark = vault.mark()
            server.serve("operator.crl", server.redirect(server.url("elsewhere")))
            wait_until(lambda: "elsewhere" in server.asked or "crl-refused" in mark.text(), SOON, "a redirection is followed, or refused in words")
            server.serve("operator.crl", whole)
        with ingest(revocation__crls=None, revocation__fetch=[f"{dead_url()}operator.crl"], revocation__fetch_every="1s") as vault:
            kept_out(good, UNKNOWN, at=vault.port)
            vault.mark().says("crl-refused|fetch", "operator.crl")


# ---- OCSP ----------------------------------------------------------------------------------------------------

def test_ocsp_good_revoked_and_unknown():
    good, bad = sensor(), sensor()
    stray = bind(issue(short("inconnu")))
    forget(stray)
    with Responder() as responder, Relay(responder) as relay, ingest(**asks(relay.url, revocation__crls=None)) as vault:
        let_in(good, vault.port)
        let_in(bad, vault.port, [StompSensor])
        kept_out(stray, UNKNOWN, at=vault.port)
        for kind in SENSORS:
            with kind(good, vault.port) as stays:
                if kind is StompSensor:
                    with kind(bad, vault.port) as session:
                        session.deposit()
                        pki("revoke", bad)
                        assert REVOKED in session.cut()
                kept_out(bad, REVOKED, at=vault.port, kinds=[kind])
                stays.deposit()


def forget(name):
    """The authority's database has never heard of it: `openssl ocsp` says unknown."""
    number = serial(name)
    for index in (PKI / "ca").glob("*/index.txt"):
        lines = index.read_text().splitlines(keepends=True)
        new = index.with_suffix(".new")
        new.write_text("".join(line for line in lines if number not in line))
        new.rename(index)
        os.chown(index, OWNER.st_uid, OWNER.st_gid)


def test_the_certificates_own_responder_is_asked():
    with Responder() as responder, Relay(responder) as relay:
        name = sensor(extensions=responder_url(relay.url))
        with ingest(**asks("", revocation__crls=None)) as vault:
            let_in(name, vault.port)
            assert relay.asked
            kept_out("sensor-1", UNKNOWN, at=vault.port) # names no responder


def twin(name):
    """Another certificate of this sensor, of which no answer is known yet: one that is stays good until its nextUpdate."""
    return issue(short("jumeau"), subject=f"/C=FR/O=Operateur 4512/OU=Capteurs/CN={name}")


def test_ocsp_that_is_no_good_is_refused_in_words():
    name, late = aged.name, aged.twin
    with Responder() as responder, Relay(responder) as relay:
        other, echo = responder.answer(name), twin(name)
        nonced = responder.answer(echo, nonce=True)
        cases = [("absent", "status|error|HTTP", relay.error("503 No")), ("cut", "answer|closed|empty|HTTP|reply", relay.cut),
                 ("silent", "within", relay.silent), ("delayed", "within", relay.delayed(8)), ("corrupted", "signature|ASN|OCSP|6960", relay.corrupted),
                 ("not OCSP", "6960|OCSP|ASN", relay.replayed(b"<html>no</html>")), ("of another certificate", "6960", relay.replayed(other)),
                 ("replayed with another's nonce", "nonce", relay.replayed(nonced)), ("enormous", "65536|large|size|bytes", relay.replayed(b"\x30" * (1 << 20)))]
        with ingest(**asks(relay.url, revocation__crls=None)) as vault:
            let_in(name, vault.port, [StompSensor])
            with StompSensor(name, vault.port) as live:
                for what, why, way in cases:
                    mark, fresh = vault.mark(), echo if "another's nonce" in what else twin(name)
                    relay.way = way
                    kept_out(fresh, UNKNOWN, at=vault.port, kinds=[StompSensor])
                    mark.says("ocsp-failed", f"(?i){why}")
                    live.deposit() # the answer there is about this one lasts an hour
                    relay.way = relay.through
                    let_in(fresh, vault.port, [StompSensor])
            mark = vault.mark()
            relay.way = relay.replayed(aged.answer())
            kept_out(late, UNKNOWN, at=vault.port, kinds=[StompSensor])
            mark.says("ocsp-failed", "nextUpdate|stale|past|ended")
            vault.reload({"revocation.max_stale": "1h"})
            let_in(late, vault.port, [StompSensor])
        with ingest(**asks(relay.url, revocation__crls=None, revocation__ocsp_nonce="required")) as vault:
            relay.way = relay.replayed(responder.answer(name)) # in order, but without a nonce
            kept_out(name, UNKNOWN, at=vault.port, kinds=[StompSensor])
            relay.way = relay.through
            let_in(name, vault.port, [StompSensor])
        with ingest(**asks(dead_url(), revocation__crls=None)) as vault:
            kept_out(name, UNKNOWN, at=vault.port)


class Stale:
    """An answer whose nextUpdate is past: the real responder's, about a sensor's second certificate, a minute old when it is used."""

    def __init__(self):
        self.name = sensor()
        self.twin = twin(self.name)
        with Responder(minutes=1) as responder:
            self.der = responder.answer(self.twin)
        self.made = time.monotonic()

    def answer(self):
        time.sleep(max(0, self.made + 62 - time.monotonic()))
        return self.der


aged = Stale() # before the other tests, which take that minute


def test_an_ocsp_answer_by_the_wrong_signer_is_refused():
    name = sensor()
    usurper = issue(short("usurpateur"), ca="foreign-ca", extensions=["keyUsage=critical,digitalSignature", "extendedKeyUsage=OCSPSigning"])
    over = issue(short("perime"), extensions=["keyUsage=critical,digitalSignature", "extendedKeyUsage=OCSPSigning"], days=1, from_=10)
    for signer in ("sensor-2", usurper, "ocsp-responder-regulator", over):
        with Responder(signer=signer) as responder, Relay(responder) as relay, ingest(**asks(relay.url, revocation__crls=None)) as vault:
            mark = vault.mark()
            kept_out(name, UNKNOWN, at=vault.port, kinds=[StompSensor])
            mark.says("ocsp-failed", "RFC (6960|5280)")
    with Responder(signer="operator-ca") as responder, Relay(responder) as relay, ingest(**asks(relay.url, revocation__crls=None)) as vault:
        let_in(name, vault.port, [StompSensor])


def test_two_hundred_connections_ask_once():
    name = sensor()
    let_in(name, kinds=[StompSensor])
    with Responder() as responder, Relay(responder) as relay:
        relay.way = relay.delayed(1)
        with ingest(**asks(relay.url, revocation__crls=None, revocation__ocsp_reuse="1h", revocation__timeout="20s",
                           ingest__timeouts__handshake="60s", ingest__timeouts__connect="60s")) as vault:
            with concurrent.futures.ThreadPoolExecutor(200) as pool:
                sessions = list(pool.map(lambda _: Stomp(name, at=vault.port), range(200)))
            assert relay.asked == 1, f"{relay.asked} questions for 200 connections of one certificate"
            for session in sessions:
                session.socket.close()


def test_either_and_both():
    good, by_crl, by_ocsp = sensor(), sensor(), sensor()
    with folder("operator-ca") as place, Responder() as responder, Relay(responder) as relay:
        pki("revoke", by_ocsp) # the folder's CRL does not know of it
        with ingest(**asks(relay.url, "either", revocation__crls=[str(place)])) as either, \
                Another("coffre-ingest", keys(asks(relay.url, "both", revocation__crls=[str(place)])), "both") as both:
            for vault in (either, both):
                let_in(good, vault.port, [StompSensor])
                kept_out(by_ocsp, REVOKED, at=vault.port, kinds=[StompSensor])
            pki("revoke", by_crl)
            put(place, "operator-ca.crl", (PKI / "crl/operator-ca.crl").read_bytes())
            for vault in (either, both):
                kept_out(by_crl, REVOKED, at=vault.port, kinds=[StompSensor])
            relay.way, fresh = relay.cut, twin(good)
            kept_out(fresh, UNKNOWN, at=both.port, kinds=[StompSensor])
            let_in(fresh, either.port, [StompSensor])
            relay.way = relay.through
            let_in(good, both.port, [StompSensor])
            (place / "operator-ca.crl").unlink()
            kept_out(good, UNKNOWN, at=both.port, kinds=[StompSensor])
            let_in(good, either.port, [StompSensor])
            relay.way = relay.cut
            kept_out(twin(good), UNKNOWN, at=either.port, kinds=[StompSensor])


# ---- stapling --------------------------------------------------------------------------------------------------

def status_of(at, *words):
    """What `openssl s_client -status` says."""
    return openssl("s_client", "-connect", f"127.0.0.1:{at}", "-servername", "localhost", "-status", "-CAfile", PKI / "trust.pem", "-verify_return_error",
                   "-cert", PKI / "sensor-1.pem", "-key", PKI / "sensor-1.key", *words, check=False, input="")


def test_our_own_certificates_answer_is_stapled():
    server = ["keyUsage=critical,digitalSignature", "extendedKeyUsage=serverAuth", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    with Responder() as responder, Relay(responder) as relay:
        name = issue(short("serveur"), key="rsa", extensions=[*server, f"authorityInfoAccess=OCSP;URI:{relay.url}"])
        own = {"certificate": str(PKI / f"{name}.pem"), "key": str(PKI / f"{name}.key")}
        for program_name in ("coffre-ingest", "coffre-exporter"):
            part = program_name.partition("-")[2]
            with Another(program_name, {f"{part}.{key}": path for key, path in own.items()}) as vault:
                for version in ("-tls1_2", "-tls1_3"):
                    wait_until(lambda: "Cert Status: good" in status_of(vault.port, version), SOON, f"an OCSP answer is stapled: {status_of(vault.port, version)}")
        with ingest(**{f"ingest__{key}": path for key, path in own.items()}, revocation__stapling=False) as vault:
            assert "no response sent" in status_of(vault.port)
    assert "no response sent" in status_of(port("STOMP")), "a certificate without responder has nothing stapled"


if __name__ == "__main__":
    run(globals())
