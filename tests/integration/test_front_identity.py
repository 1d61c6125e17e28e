#!/usr/bin/python3
"""The front of coffre-ingest and the roles that tell it whom to believe: identity slow, hung or killed under live and new connections, a server certificate
that changes under handshakes, sessions that cannot be resumed, and what the journal says of all that. Revocation itself: test_revocation.py.
"""
import concurrent.futures
import contextlib
import hashlib
import os
import shutil
import signal
import ssl
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(__file__))
from coffre import *
from another import *
from pki_servers import *

IN = f"/queue/Event.{VAULT}.In"
CROWD = 100


def stomp(vault, who="sensor-1", **options):
    return Stomp(who, at=vault.port, **options)


def try_stomp(vault, who="sensor-1"):
    """A session ("session"), or why there is none, in the words of its ERROR frame."""
    try:
        with stomp(vault, who) as s:
            s.close()
            return "session"
    except Refused as refused:
        return str(refused)


def deposits(s, prefix="t"):
    s.deposit(event(prefix), unique(prefix))


# ---- identity is slow, or away -------------------------------------------------------------------------

def test_without_a_verdict_in_time_a_connection_is_refused_in_words():
    with ingest(ingest__timeouts__connect="5s") as vault, Journal() as journal:
        live = stomp(vault)
        hung = vault.role("identity")
        os.kill(hung, signal.SIGSTOP)
        try:
            said = try_stomp(vault)
            assert "certificate not verifiable now, try again later" in said, said
            deposits(live, "live") # whoever has a session keeps it
            refused = journal.wait("session-refused", cn="^sensor-1$", check="^not-verifiable$")
            assert refused["fields"]["serial"] == serial("sensor-1").lstrip("0"), refused
        finally:
            os.kill(hung, signal.SIGCONT)
        wait_until(lambda: try_stomp(vault) == "session", SOON, "a session is given again")
        deposits(live, "live")
        live.close()


def test_a_connection_waits_for_identity_to_come_back():
    with ingest(ingest__timeouts__connect="30s") as vault:
        hung = vault.role("identity")
        os.kill(hung, signal.SIGSTOP)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(try_stomp, vault)
            wait_until(lambda: vault.metric("coffre_front_unverified_connections") == 1, SOON, "it waits for its verdict")
            os.kill(hung, signal.SIGKILL)
            assert waiting.result(60) == "session" # the next identity was asked again


def test_a_hung_identity_is_started_again():
    with ingest(ingest__timeouts__connect="60s") as vault:
        hung = vault.role("identity")
        os.kill(hung, signal.SIGSTOP)
        assert try_stomp(vault) == "session"
        assert vault.role("identity") not in (hung, None)


def test_identity_killed_under_live_connections_harms_none():
    with ingest(ingest__timeouts__handshake="60s") as vault, contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(stomp(vault)) for _ in range(CROWD)]
        mark = vault.mark()
        for _ in range(3):
            before = wait_until(lambda: vault.role("identity"), SOON, "an identity runs")
            os.kill(before, signal.SIGKILL)
            for s in crowd[::7]:
                deposits(s, "killed")
            wait_until(lambda: vault.role("identity") not in (before, None), SOON, "another identity runs")
        wait_until(lambda: vault.metric("coffre_front_identity_up") == 1, SOON, "the front has an identity")
        for s in crowd:
            deposits(s, "after")
        assert mark.count("session-cut") == 0
        for s in crowd:
            s.close()


def test_identity_killed_while_many_connect_refuses_nobody():
    with ingest(ingest__timeouts__connect="60s", ingest__timeouts__handshake="60s") as vault, concurrent.futures.ThreadPoolExecutor(CROWD) as pool:
        results = [pool.submit(try_stomp, vault, ("sensor-1", "sensor-2")[i % 2]) for i in range(CROWD)]
        for _ in range(3):
            running = wait_until(lambda: vault.role("identity"), SOON, "an identity runs")
            os.kill(running, signal.SIGKILL)
            results += [pool.submit(try_stomp, vault) for _ in range(CROWD // 4)]
        results = [r.result(180) for r in results]
        assert set(results) == {"session"}, set(results)


def test_the_status_says_that_identity_is_away():
    """Its program cannot be run for a while: the parent keeps trying."""
    with ingest() as vault:
        mark = vault.mark()
        live = stomp(vault)

        def seen_to_be_away():
            running = vault.role("identity")
            if running:
                os.kill(running, signal.SIGKILL)
            return "the identity role is away" in vault.status()
        wait_until(seen_to_be_away, SOON, vault.status) # each start takes longer than the one before: it is away for seconds at last
        deposits(live, "away")
        wait_until(lambda: "taking deposits" in vault.status(), SOON, "the front is ready again")
        assert mark.count("session-cut") == 0
        live.close()


# ---- rights ----------------------------------------------------------------------------------------------

def test_a_session_is_cut_in_the_middle_of_a_transaction():
    who = bind(issue(unique("cut"))) # nobody else uses it
    with ingest() as vault, Journal() as journal:
        wait_until(lambda: try_stomp(vault, who) == "session", SOON, "the binding is known")
        with stomp(vault, who) as s:
            dropped = unique("dropped")
            deposits(s, "kept")
            s.send("BEGIN", {"transaction": "open", "receipt": "begun"})
            assert s.expect("RECEIPT")["receipt-id"] == "begun"
            body = event("dropped")
            s.send("SEND", {"destination": IN, "transaction": "open", "ClientId": dropped, "Digest": digest(body), "DigestAlgo": "SHA-256",
                            "Timestamp": 1, "receipt": "sent"}, body)
            assert s.expect("RECEIPT")["receipt-id"] == "sent"
            unbind(who)
            command, headers, text = s.read()
            assert command == "ERROR" and headers["message"] == "certificate no longer bound to a depositor", (command, headers, text)
            try:
                s.fresh()
                raise AssertionError("the connection goes on")
            except (EOFError, ConnectionError):
                pass
        cut = journal.wait("session-cut", cn=f"^{who}$")
        assert cut["fields"]["check"] == "not-bound" and cut["fields"]["peer"].startswith("127.0.0.1:"), cut
        opened, closed = (len(journal.find(f"session-{word}", cn=f"^{who}$")) for word in ("opened", "closed"))
        assert opened == 2 and closed == 1, (opened, closed) # the one before
        with stomp(vault) as other: # its deposit is numbered after whatever was on its way
            last = unique("after")
            other.subscribe()
            other.deposit(event("after"), last)
            other.answer_to(last)
            other.close()
        assert value("SELECT count(*) FROM event JOIN role ON depositor = id WHERE cn = %s", who) == 1, "what was acknowledged is stored, what was not is not"
        assert try_stomp(vault, who).startswith("certificate not bound to a depositor")
        refused = journal.wait("session-refused", cn=f"^{who}$")
        assert refused["fields"]["check"] == "not-bound", refused


def test_refusals_of_the_handshake_are_journaled_with_the_certificate():
    with ingest() as vault, Journal() as journal:
        expired = issue(unique("old"), days=1, from_=3)
        for who, check in (("foreign", "certificate-foreign"), (expired, "certificate-expired"), (None, "certificate-missing")):
            try:
                stomp(vault, who)
                raise AssertionError(f"{who} got in")
            except (ssl.SSLError, ConnectionError, EOFError):
                pass
            number = serial(who).lstrip("0") if who else ""
            record = journal.wait("session-refused", check=f"^{check}$", serial=f"^{number}$")
            assert record["fields"]["reason"] and bool(record["fields"]["cn"]) == bool(who), record
        name = bind(issue(unique("closed")))
        wait_until(lambda: try_stomp(vault, name) == "session", SOON, "the binding is known")
        closed = journal.wait("session-closed", cn=f"^{name}$")
        assert closed["fields"]["reason"], closed
        unbind(name)


# ---- the server's certificate ------------------------------------------------------------------------------

def shown(vault):
    """The certificate a stranger is shown, by its SHA-256."""
    context = tls("sensor-1")
    with socket.create_connection(("127.0.0.1", vault.port), timeout=60) as raw, context.wrap_socket(raw, server_hostname="localhost") as s:
        return hashlib.sha256(s.getpeercert(True)).hexdigest()


def put(source, target):
    """Replaces a file at once, as whoever renews certificates should."""
    new = target.with_name(target.name + ".new")
    shutil.copy(source, new)
    os.chown(new, OWNER.st_uid, OWNER.st_gid)
    os.chmod(new, 0o600 if target.suffix == ".key" else 0o644)
    new.rename(target)


def digest_of(path):
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(re.search(r"-----BEGIN.*?-----END CERTIFICATE-----\n", path.read_text(), re.S).group())).hexdigest()


def test_a_certificate_that_changes_fails_no_handshake():
    """RSA and EC take turns fifty times, key or certificate first, while handshakes go on without a pause."""
    server = ["keyUsage=critical,digitalSignature", "extendedKeyUsage=serverAuth", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    kinds = [issue(unique(kind), key=kind, subject=f"/C=FR/O=Operateur 4512/CN=localhost {kind}", extensions=server) for kind in ("rsa", "ec")]
    target = PKI / (unique("served") + ".pem")
    for suffix in (".pem", ".key"):
        put(PKI / (kinds[0] + suffix), target.with_suffix(suffix))
    digests = [digest_of(PKI / f"{kind}.pem") for kind in kinds]
    stop, failures, count = threading.Event(), [], [0, 0]

    def shake(index, version):
        context = tls("sensor-1", version, version)
        while not stop.is_set():
            try:
                with Stomp(at=vault.port, context=context) as s:
                    s.close()
                count[index] += 1
            except Exception as failure: # whatever it is
                failures.append(f"{version}: {failure!r}")
    with ingest(ingest__certificate=str(target), ingest__key=str(target.with_suffix(".key"))) as vault:
        threads = [threading.Thread(target=shake, args=(i, version)) for i, version in enumerate((ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3))]
        for thread in threads:
            thread.start()
        try:
            live = stomp(vault)
            for turn in range(1, 51):
                order = (".key", ".pem") if turn % 4 < 2 else (".pem", ".key")
                for suffix in order:
                    put(PKI / (kinds[turn % 2] + suffix), target.with_suffix(suffix))
                vault.reload()
                wait_until(lambda: shown(vault) == digests[turn % 2], SOON, f"certificate {turn} is shown")
                assert not failures, failures[:3]
            wait_until(lambda: min(count) >= 50 or failures, SOON, lambda: f"handshakes of both versions: {count}")
            deposits(live, "fifty")
            live.close()
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    assert not failures, failures[:3]


def test_a_certificate_without_its_key_is_not_shown():
    server = ["keyUsage=critical,digitalSignature", "extendedKeyUsage=serverAuth", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    kinds = [issue(unique("server"), subject="/C=FR/O=Operateur 4512/CN=localhost", extensions=server) for _ in range(2)]
    target = PKI / (unique("served") + ".pem")
    for suffix in (".pem", ".key"):
        put(PKI / (kinds[0] + suffix), target.with_suffix(suffix))
    with ingest(ingest__certificate=str(target), ingest__key=str(target.with_suffix(".key"))) as vault:
        mark = vault.mark()
        put(PKI / f"{kinds[1]}.pem", target)
        vault.reload()
        mark.says("role=(front|parent)", "code=(certificate-waits|reload-refused)") # "reload" is said of one that is taken, too
        assert shown(vault) == digest_of(PKI / f"{kinds[0]}.pem")
        assert try_stomp(vault) == "session"
        put(PKI / f"{kinds[1]}.key", target.with_suffix(".key"))
        vault.reload()
        wait_until(lambda: shown(vault) == digest_of(PKI / f"{kinds[1]}.pem"), SOON, "the new certificate is shown")
        assert try_stomp(vault) == "session"


# ---- no resumption --------------------------------------------------------------------------------------------

def test_no_session_is_resumed():
    """openssl s_client keeps what it is given, and offers it again."""
    for version in ("-tls1_2", "-tls1_3"):
        for options in ([], ["-no_ticket"]):
            words = ["s_client", "-connect", f"localhost:{port('STOMP')}", "-CAfile", PKI / "trust.pem", "-cert", PKI / "sensor-1.pem", "-key",
                     PKI / "sensor-1.key", version, *options, "-reconnect"]
            said = subprocess.run(["openssl", *map(str, words)], input="", capture_output=True, text=True, timeout=60).stdout
            assert said.count("New, TLSv1") >= 1, said
            assert "Reused" not in said, said


if __name__ == "__main__":
    run(globals(), beside=[test_a_hung_identity_is_started_again])
