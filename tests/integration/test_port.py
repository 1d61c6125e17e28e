#!/usr/bin/python3
"""Port 6163 under certificates that change and peers that do not behave: on STOMP and OpenWire alike."""
import os
import sys

sys.path.insert(0, os.path.dirname(__file__))
from holders import *

BODY_MAX = 1 << 20 # ingest.limits.body_bytes
REVOKED = "has been revoked"


def subscribed(who, at=None):
    sensor = Stomp(who, at=at, timeout=SOON)
    sensor.send("SUBSCRIBE", {"id": "0", "destination": f"/queue/{OUT}", "ack": "client-individual"})
    return sensor


def renewed(name, **options):
    """A second certificate of the same CN and OU."""
    return issue(short("neuf"), subject=f"/C=FR/O=Operateur 4512/OU=Capteurs/CN={name}", **options)


# ---- certificates that change ----------------------------------------------------------------------------

def test_unacknowledged_deliveries_of_a_session_that_is_cut_come_back_under_a_new_certificate():
    name = sensor()
    let_in(name, kinds=[StompSensor])
    wait_until(lambda: deposits_of(name) == 1, SOON, "the first is numbered")
    with subscribed(name) as held:
        sent = {unique() for _ in range(3)}
        for client_id in sent:
            held.deposit(event(client_id), client_id)
        first = [held.expect("MESSAGE")[0] for _ in range(4)]
        pki("revoke", name, "superseded")
        said = ""
        try:
            while True:
                command, headers, body = held.read()
                said += f"{command} {headers.get('message')} {body.decode()}"
        except GONE:
            pass
        assert REVOKED in said, said
    kept_out(name, REVOKED)
    fresh = renewed(name)
    with subscribed(fresh) as again:
        second = [again.expect("MESSAGE")[0] for _ in range(4)]
        assert {m["ClientId"] for m in second} == {m["ClientId"] for m in first} >= sent, second
        assert all(m["redelivered"] == "true" for m in second), second
        for m in second:
            again.send("ACK", {"id": m["ack"]})
        again.close()
    assert deposits_of(name) == 4
    check_numbers()


def test_two_certificates_of_one_name_work_side_by_side():
    """Renewal without a pause: the one before works until it is revoked, which does not touch the other."""
    for kind in SENSORS:
        name = sensor()
        let_in(name, kinds=[kind])
        second = renewed(name)
        with kind(name) as before, kind(second) as after:
            for _ in range(3):
                before.deposit()
                after.deposit()
            before.begin()
            before.add()
            after.begin()
            after.add()
            pki("revoke", name, "superseded")
            assert REVOKED in before.cut(), kind
            after.add()
            after.commit()
            after.deposit()
        wait_until(lambda: deposits_of(name) == 10, SOON, lambda: f"{deposits_of(name)} of one depositor, and nothing of the cut transaction")
        kept_out(name, REVOKED, kinds=[kind])
        assert refusal(kind, second) is None


def test_a_binding_by_serial_admits_that_certificate_only():
    name = issue(short("serie"))
    other = renewed(name)
    ceremony("bind", "--profile", "depositor", "--certificate", PKI / f"{name}.pem", "--serial", serial(name))
    let_in(name)
    for kind in SENSORS:
        assert "not bound to a depositor" in refusal(kind, other), kind


def test_addresses_are_looked_at_again_by_a_reload():
    for kind in SENSORS:
        name = sensor()
        let_in(name, kinds=[kind])
        with ingest() as vault:
            let_in(name, at=vault.port, kinds=[kind])
            before = deposits_of(name)
            with kind(name, vault.port) as live:
                live.deposit()
                live.begin()
                live.add()
                vault.reload({"profiles.depositor.allow": ["192.0.2.0/24"]})
                assert "this address is not allowed" in live.cut(), kind
            kept_out(name, "this address is not allowed", at=vault.port, kinds=[kind])
            vault.reload({"profiles.depositor.allow": ["192.0.2.0/24", "127.0.0.0/8"]})
            let_in(name, at=vault.port, kinds=[kind])
            wait_until(lambda: deposits_of(name) >= before + 1, SOON, lambda: f"what was acknowledged is numbered: {before}, {deposits_of(name)}")


# ---- TLS --------------------------------------------------------------------------------------------------

def s_client(*words, stdin=b"", timeout=60):
    line = ["openssl", "s_client", "-connect", f"localhost:{port('STOMP')}", "-CAfile", PKI / "trust.pem", "-cert", PKI / "sensor-1.pem",
            "-key", PKI / "sensor-1.key", *words]
    done = subprocess.run(list(map(str, line)), input=stdin, capture_output=True, timeout=timeout)
    return (done.stdout + done.stderr).decode(errors="replace")


def test_renegotiation_is_refused():
    said = s_client("-tls1_2", stdin=b"R\n")
    assert "RENEGOTIATING" in said and "no renegotiation" in said, said[-1500:]


def test_no_session_outlives_its_connection():
    """Neither tickets nor session identifiers: what a client keeps is worth nothing, in TLS 1.2 and 1.3."""
    for version in ("-tls1_2", "-tls1_3"):
        kept = RUN / f"{short('session')}.pem"
        said = s_client(version, "-sess_out", kept, "-ign_eof", stdin=b"CONNECT\naccept-version:1.2\nhost:x\n\n\0DISCONNECT\nreceipt:1\n\n\0")
        assert "CONNECTED" in said and "TLS session ticket:" not in said and "Post-Handshake New Session Ticket" not in said, said
        if kept.exists():
            again = s_client(version, "-sess_in", kept)
            assert "Reused" not in again and "New, TLSv1" in again, again
            kept.unlink()


# ---- peers that do not behave --------------------------------------------------------------------------------

def test_a_stranger_holds_next_to_no_memory():
    """Its certificate validates, nobody has bound it: what comes before it is told so is not gathered."""
    with Stomp("stranger", connect=False, timeout=SOON) as s:
        s.write(b"CONNECT\ncontent-length:900000\n\n" + b"x" * 60000)
        command, headers, body = s.read()
        assert command == "ERROR" and "the frame that opens a session is too long" in body.decode(), (command, headers, body)
    with Stomp("sensor-1") as fine:
        fine.deposit(event("à côté"), unique())
        fine.close()


def test_one_depositor_leaves_room_for_others():
    """Frames that are never finished fill the depositor's own half; another deposits as ever."""
    name = sensor()
    let_in(name, kinds=[StompSensor])
    with ingest(ingest__limits__pending_bytes="8MiB", ingest__timeouts__connect="120s") as vault, contextlib.ExitStack() as all_of_them:
        let_in(name, at=vault.port, kinds=[StompSensor])
        held = []
        for _ in range(40):
            s = all_of_them.enter_context(Stomp(name, at=vault.port, timeout=SOON))
            s.write(b"SEND\ndestination:/queue/%s\ncontent-length:%d\n\n" % (IN.encode(), BODY_MAX) + b"x" * (BODY_MAX - 10))
            held.append(s)
        with Stomp("sensor-1", at=vault.port, timeout=SOON) as other:
            body = event("x" * 500000)
            for _ in range(3):
                other.deposit(body, unique())
            other.close()
        said = []

        def one_is_told():
            for s in list(held):
                s.socket.settimeout(0.05)
                try:
                    command, _, body = s.read()
                    said.append(f"{command} {body.decode()}")
                except TimeoutError:
                    continue
                except GONE:
                    said.append("closed")
                held.remove(s)
            return any("in all sessions of this depositor, send again later" in one for one in said)
        wait_until(one_is_told, SOON, lambda: f"one of them is told why: {said}")


def test_oversize_is_refused_with_size_and_limit():
    with Stomp("sensor-1", timeout=SOON) as s:
        s.write(b"SEND\ndestination:/queue/%s\ncontent-length:%d\n\n" % (IN.encode(), BODY_MAX + 1))
        command, headers, body = s.read()
        assert command == "ERROR" and str(BODY_MAX) in body.decode() and str(BODY_MAX + 1) in body.decode(), (headers, body)
    with OpenWireSensor("sensor-1") as sensor:
        size = 4 * BODY_MAX
        sensor.c.socket.sendall(size.to_bytes(4, "big") + bytes([23]) + (77).to_bytes(4, "big") + b"\x01" + b"\0" * 100)
        said = str(sensor.c.fresh())
        assert str(size) in said and "over the limit of" in said, said


def test_a_thousand_connections_at_once_do_not_keep_others_out():
    """By a stranger who never begins a handshake: sensors connect meanwhile, and the time limit clears them."""
    with ingest(ingest__timeouts__handshake="5s") as vault, contextlib.ExitStack() as crowd:
        for _ in range(1000):
            crowd.enter_context(socket.create_connection(("127.0.0.1", vault.port), timeout=SOON))
        began = time.monotonic()
        for kind in SENSORS:
            assert refusal(kind, "sensor-1", vault.port) is None
        print(f"# both protocols served after {time.monotonic() - began:.2f} s")
        wait_until(lambda: vault.metric("coffre_front_connections") == 0, SOON, lambda: f"{vault.metric('coffre_front_connections')} connections are left")


if __name__ == "__main__":
    run(globals())
