#!/usr/bin/python3
"""The front under peers of every kind: who gets in, refusals, slow, silent and hostile ones, lost siblings. Other people's STOMP
clients: tests/interop/test_stomp_clients.py.

Limits are tested on a second coffre-ingest of the same vault, whose configuration has small and short ones.
"""
import contextlib
import os
import signal
import sys
import threading

sys.path.insert(0, os.path.dirname(__file__))
from another import Another
from coffre import *

IN, OUT, ARCHIVE = f"/queue/Event.{VAULT}.In", f"/queue/Event.{VAULT}.Out", f"/queue/Archive.{VAULT}.Out"


# ---- a second coffre-ingest, with short times and small limits --------------------------------------

class Impatient(Another):
    """coffre-ingest with its own port, state and limits, and where a test names them short times; ended when the test ends."""

    LIMITS = {"connections": 12, "body_bytes": "64KiB", "transaction_bytes": "128KiB", "pending_bytes": "1MiB", "subscriptions": 4,
              "transactions": 4}
    TIMEOUTS = {}

    def __init__(self, **timeouts):
        super().__init__("coffre-ingest", {f"ingest.limits.{name}": limit for name, limit in self.LIMITS.items()}
                         | {f"ingest.timeouts.{name}": limit for name, limit in (self.TIMEOUTS | timeouts).items()}, name="impatient")

    def front_ready(self):
        return super().front_ready() and " ready taking deposits" in self.status()


def closed(s, seconds=60):
    """Reads frames until the vault closes; what came."""
    frames = []
    s.socket.settimeout(seconds)
    try:
        while True:
            frames.append(s.read())
    except (EOFError, ConnectionError):
        return frames


def answered_until(s, name):
    """Acknowledges answers up to the one to this deposit; the ClientIds of all."""
    seen = set()
    while name not in seen:
        command, headers, _ = s.read()
        assert command != "ERROR", headers
        if command == "MESSAGE":
            seen.add(headers["ClientId"])
            s.send("ACK", {"id": headers["ack"]})
    return seen


def error_of(s, seconds=60):
    """The ERROR after which the vault closes: (headers, body text)."""
    frames = closed(s, seconds)
    assert frames and frames[-1][0] == "ERROR", frames
    return frames[-1][1], frames[-1][2].decode()


def raw(data, who="sensor-1", at=None):
    s = Stomp(who, at=at, connect=False)
    s.write(data)
    return s


# ---- who gets in ---------------------------------------------------------------------------------------

def test_only_bound_certificates_of_the_right_authority_get_in():
    s = raw(b"CONNECT\naccept-version:1.2\n\n\0", who="stranger")
    headers, text = error_of(s)
    assert headers["message"] == "certificate not bound to a depositor" and 'CN "stranger"' in text, (headers, text)
    for who in ("foreign", None):
        try:
            closed(raw(b"CONNECT\naccept-version:1.2\n\n\0", who=who))
            got = "a connection"
        except ssl.SSLError as refusal:
            got = str(refusal).lower()
        assert "alert" in got, got


def test_a_reader_is_no_depositor():
    try:
        headers, text = error_of(raw(b"CONNECT\naccept-version:1.2\n\n\0", who="reader-1"))
        assert headers["message"] == "certificate not bound to a depositor", headers
    except ssl.SSLError:
        pass  # of another authority: refused one step earlier


def test_tls_1_2_and_1_3_only():
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        with Stomp(context=tls("sensor-1", version, version)) as s:
            s.deposit(event("tls"), unique())
            s.close()
    context = tls("sensor-1", ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)
    context.set_ciphers("ALL:@SECLEVEL=0")
    try:
        Stomp(context=context)
    except (ssl.SSLError, ConnectionError):
        return
    raise AssertionError("TLS 1.1 was accepted")


def test_other_protocols_are_refused_in_words():
    for data in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\0\0\1\x0a\1Active-Q\0\0\0\x0c", b"AMQP\0\0\x09\x01", b"connect\n\n\0"):
        _, text = error_of(raw(data))
        assert "STOMP 1.0 to 1.2" in text and "OpenWire 6 to 12" in text, text


def test_a_revoked_binding_cuts_the_live_session():
    query("UPDATE role SET revoked_at = NULL WHERE cn = 'sensor-2' AND profile = 'depositor'")
    with Stomp("sensor-2") as s:
        s.deposit(event("avant"), unique())
        query("UPDATE role SET revoked_at = now() WHERE cn = 'sensor-2' AND profile = 'depositor'")
        try:
            headers, _ = error_of(s, 60)
            assert headers["message"] == "certificate no longer bound to a depositor", headers
            headers, _ = error_of(raw(b"CONNECT\n\n\0", who="sensor-2"))
            assert headers["message"] == "certificate not bound to a depositor", headers
        finally:
            query("UPDATE role SET revoked_at = NULL WHERE cn = 'sensor-2' AND profile = 'depositor'")

    def works_again():
        try:
            with Stomp("sensor-2") as again:
                again.close()
                return True
        except (Refused, EOFError):
            return False
    wait_until(works_again, 60, "sensor-2 may deposit again")


# ---- the protocol ----------------------------------------------------------------------------------------

def test_refusals_name_their_reason_and_the_receipt():
    cases = [
        (b"SEND\ndestination:/queue/Event.2.In\nreceipt:q\n\nx\0", "unknown destination", IN),
        (b"SEND\ndestination:/queue/Event.1.Out\nreceipt:q\n\nx\0", "unknown destination", IN),
        (b"SUBSCRIBE\nid:1\ndestination:/queue/Event.1.In\nreceipt:q\n\n\0", "unknown destination", OUT),
        (b"COMMIT\ntransaction:no\nreceipt:q\n\n\0", "malformed frame received", "not open"),
        (b"ACK\nid:x\nreceipt:q\n\n\0", "malformed frame received", "not one of ours"),
        (b"SEND\nno colon here\n\nx\0", "malformed frame received", "no colon"),
        (b"FROB\n\n\0", "malformed frame received", "unknown command"),
        (b"SEND\ndestination:" + IN.encode() + b"\nClientId:a\\tb\n\nx\0", "malformed frame received", "undefined escape"),
        (b"SEND\ncontent-length:99999999\n\n", "a limit of the vault is exceeded", "99999999"),
        (b"SEND\n" + b"".join(b"h%d:1\n" % i for i in range(200)) + b"\nx\0", "a limit of the vault is exceeded", "header lines"),
        (b"SEND\nlong:" + b"x" * 40000, "a limit of the vault is exceeded", "headers of more than"),
        (b"CONNECT\naccept-version:1.2\n\n\0", "malformed frame received", "already connected"),
    ]
    for data, message, word in cases:
        s = Stomp()
        s.write(data)
        headers, text = error_of(s)
        assert headers["message"] == message and word in text, (data[:60], headers, text)
        assert (headers.get("receipt-id") == "q") == (b"receipt:q" in data), (data, headers)


def test_transactions_are_all_or_nothing():
    names = {kind: [unique(kind) for _ in range(3)] for kind in ("committed", "aborted", "abandoned")}

    def send_all(s, kind):
        s.send("BEGIN", {"transaction": kind})
        for name in names[kind]:
            body = event(name)
            s.send("SEND", {"destination": IN, "transaction": kind, "ClientId": name, "Digest": digest(body), "DigestAlgo": "SHA-256",
                            "Timestamp": 1}, body)
    with Stomp() as s:
        send_all(s, "abandoned")
        s.send("BEGIN", {"transaction": "probe", "receipt": "there"})
        assert s.expect("RECEIPT")["receipt-id"] == "there"
    with Stomp() as s:
        s.subscribe()
        send_all(s, "aborted")
        send_all(s, "committed")
        s.send("ABORT", {"transaction": "aborted"})
        s.send("COMMIT", {"transaction": "committed", "receipt": "done"})
        last = unique("last")
        s.deposit(event(last), last, wait=False)
        seen = answered_until(s, last)
        s.close()
    assert set(names["committed"]) <= seen
    assert not seen & set(names["aborted"] + names["abandoned"]), seen


def test_too_many_subscriptions_of_one_depositor_harm_only_itself():
    """Deliver takes 256 of a depositor on all its connections: one more ends the session that asked, nobody else's."""
    with contextlib.ExitStack() as stack:
        other = stack.enter_context(Stomp("sensor-2"))
        other.subscribe()
        taken, refused = 0, None
        while not refused:
            s = stack.enter_context(Stomp())
            for i in range(16):
                s.send("SUBSCRIBE", {"destination": ARCHIVE, "id": i, "ack": "client"})
            s.send("BEGIN", {"transaction": "probe", "receipt": "there"})
            taken += 16
            assert taken <= 272, "no limit is met"
            while True:
                command, headers, body = s.read()
                if command == "ERROR":
                    refused = body.decode()
                if refused or (command == "RECEIPT" and taken <= 256):
                    break
        assert "too many subscriptions" in refused, refused
        name = unique("other")
        other.deposit(event(name), name)
        assert other.answer_to(name)["CFJLStatus"] == "CFJL_OK"
        other.close()
    with Stomp() as s:
        name = unique("again")
        s.subscribe()
        s.deposit(event(name), name, wait=False)
        answered_until(s, name)
        s.close()


def test_what_is_not_acknowledged_comes_back_redelivered():
    name = unique("again")
    with Stomp() as s:
        s.subscribe(ack="client")
        s.deposit(event(name), name, wait=False)
        while True:
            command, headers, _ = s.read()
            if command == "MESSAGE" and headers["ClientId"] == name:
                break
            if command == "MESSAGE":
                s.send("ACK", {"id": headers["ack"]})
    with Stomp() as s:
        s.subscribe(ack="client-individual")
        while True:
            headers, _ = s.expect("MESSAGE")
            if headers["ClientId"] == name:
                break
            s.send("ACK", {"id": headers["ack"]})
        assert headers.get("redelivered") == "true", headers
        s.send("BEGIN", {"transaction": "t"})
        s.send("ACK", {"id": headers["ack"], "transaction": "t"})
        s.send("ABORT", {"transaction": "t"})
        s.send("NACK", {"id": headers["ack"]})
        while True:
            headers, _ = s.expect("MESSAGE")
            if headers["ClientId"] == name:
                break
        s.send("ACK", {"id": headers["ack"]})
        s.close()


def test_a_window_of_credit_is_respected():
    names = [unique("credit") for _ in range(20)]
    with Stomp("sensor-2") as s:
        for name in names:
            s.deposit(event(name), name)
        s.send("SUBSCRIBE", {"destination": OUT, "id": "1", "ack": "client-individual", "activemq.prefetchSize": 3})
        held = [s.expect("MESSAGE")[0] for _ in range(3)]
        s.socket.settimeout(1)
        try:
            extra = s.read()
        except TimeoutError:
            extra = None
        assert extra is None, extra
        s.socket.settimeout(60)
        s.send("ACK", {"id": held[0]["ack"]})
        held.append(s.expect("MESSAGE")[0])
        for headers in held[1:]:
            s.send("ACK", {"id": headers["ack"]})
        seen = {h["ClientId"] for h in held}
        while not set(names) <= seen:
            headers, _ = s.expect("MESSAGE")
            seen.add(headers["ClientId"])
            s.send("ACK", {"id": headers["ack"]})
        s.close()


def test_bodies_with_nul_bytes_and_odd_headers_reach_the_ledger():
    with Stomp("sensor-2") as s:
        s.subscribe()
        odd = {"": b"a\0b\0", "x" * 5000: event("long"), "é\\:\n": event("escapes")}
        for name, body in odd.items():
            s.deposit(body, name, wait=False)
        seen = {}
        while set(odd) - set(seen):
            command, headers, _ = s.read()
            assert command != "ERROR", headers
            if command == "MESSAGE":
                seen[headers["ClientId"]] = headers
                s.send("ACK", {"id": headers["ack"]})
        assert seen[""]["CFJLStatus"] == "CFJL_INVALID_MESSAGE" and seen[""]["CFJLReason"], seen[""]
        s.close()


# ---- slow, silent, greedy -------------------------------------------------------------------------------

def test_peers_that_are_slow_or_silent_are_left():
    with Impatient(handshake="3s", connect="3s", heartbeat_min="200ms") as vault:
        mute = socket.create_connection(("127.0.0.1", vault.port))           # no handshake
        wordless = Stomp(at=vault.port, connect=False)                       # no CONNECT
        trickle = Stomp(at=vault.port)                                       # a frame that never ends
        trickle.write(b"SEND\ndestination:")
        body = Stomp(at=vault.port)
        body.write(b"SEND\ndestination:" + IN.encode() + b"\ncontent-length:1000\n\nabc")
        idle = Stomp(at=vault.port)                                          # nothing to say: stays
        silent = Stomp(at=vault.port, connect=False)                         # promised heart-beats
        silent.write(b"CONNECT\naccept-version:1.2\nheart-beat:300,300\n\n\0")
        assert silent.expect("CONNECTED")["heart-beat"] == "300,300"
        headers, text = error_of(silent)
        assert "no heart-beat" in headers["message"], (headers, text)
        for s in (trickle, body, wordless):
            headers, text = error_of(s)
            assert headers["message"] == "too slow" and "3000 ms" in text, (headers, text)
            s.socket.close()
        mute.settimeout(60)
        assert mute.recv(10) == b""
        idle.deposit(event("patient"), unique())
        assert vault.metric("coffre_front_connections") >= 1
        idle.close()


def test_heart_beats_keep_a_quiet_session():
    with Impatient(heartbeat_min="200ms") as vault:
        s = Stomp(at=vault.port, connect=False)
        s.write(b"CONNECT\naccept-version:1.1\nheart-beat:2000,400\n\n\0") # ours come in time whatever the machine does beside
        s.expect("CONNECTED")
        beats, end = 0, time.monotonic() + 6 # missed twice, it ends
        while time.monotonic() < end:
            s.write(b"\n")
            came = s.socket.recv(100)
            assert came.strip(b"\n") == b"" != came, came
            beats += came.count(b"\n")
        assert beats >= 3, beats
        s.deposit(event("battement"), unique())
        s.close()


def test_a_peer_that_does_not_read_harms_nobody():
    with Impatient(write="3s") as vault:
        greedy = Stomp(at=vault.port)
        greedy.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        frame = b"BEGIN\ntransaction:t\nreceipt:%s\n\n\0ABORT\ntransaction:t\n\n\0" % (b"r" * 500)
        greedy.socket.settimeout(1)
        ended = False
        other = Stomp(at=vault.port)
        for _ in range(60):
            try:
                for _ in range(100):
                    greedy.write(frame * 100)
            except TimeoutError:
                pass
            except (ssl.SSLError, OSError):
                ended = True
                break
            other.deposit(event("autre"), unique())
        assert ended, "a peer that never reads is still there"
        other.close()


def test_connections_over_the_limit_are_turned_away():
    with Impatient() as vault:
        held = [Stomp(at=vault.port) for _ in range(12)]
        try:
            Stomp(at=vault.port)
            raise AssertionError("one connection too many")
        except (EOFError, OSError):
            pass
        held.pop().close()

        def room():
            try:
                return Stomp(at=vault.port)
            except (EOFError, OSError):
                return None
        wait_until(room, 60, "a connection that ended makes room").close()
        for s in held:
            s.close()


def test_transactions_over_their_limit_are_refused():
    with Impatient() as vault:
        s = Stomp(at=vault.port)
        s.send("BEGIN", {"transaction": "t"})
        for _ in range(3):
            s.send("SEND", {"destination": IN, "transaction": "t"}, b"x" * 60000)
        headers, text = error_of(s)
        assert headers["message"] == "a limit of the vault is exceeded" and "transaction" in text, (headers, text)


# ---- siblings and servers that go away --------------------------------------------------------------------

def test_a_frozen_rabbitmq_means_back_pressure_then_an_error_then_recovery():
    broker = pid_of("rabbitmq")
    with Impatient(stall="3s") as vault:
        before = Stomp(at=vault.port)
        before.deposit(event("avant"), unique())
        os.kill(broker, signal.SIGSTOP)
        try:
            s = Stomp(at=vault.port)
            s.socket.settimeout(2)
            sent = 0
            body = event("x" * 30000)
            try:
                for sent in range(4000):
                    s.deposit(body, unique(), wait=False)
            except (TimeoutError, OSError):
                pass
            assert sent < 3999, "120 MB were taken although nothing can be stored"
            assert vault.metric("coffre_front_pending_bytes") < 3 << 20
            memory = int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{vault.role('front')}/status").read_text()).group(1))
            assert memory < 64 * 1024, f"{memory} kB"
            late = Stomp(at=vault.port)
            late.deposit(body, unique(), wait=False)
            headers, text = error_of(late, 60)
            assert headers["message"] == "queue unavailable, send again later", (headers, text)
        finally:
            os.kill(broker, signal.SIGCONT)

        def works():
            try:
                with Stomp(at=vault.port, timeout=20) as again:
                    again.deposit(event("après"), unique())
                    again.close()
                return True
            except (Refused, EOFError, OSError):
                return False
        wait_until(works, 60, "deposits are taken again, without a restart")


def test_a_keys_role_that_hangs_is_started_again():
    with Impatient() as vault:
        hanging = vault.role("keys")
        os.kill(hanging, signal.SIGSTOP)

        def connects():
            try:
                Stomp(at=vault.port, timeout=20).close()
                return True
            except OSError:
                return False
        try:
            wait_until(connects, 60, "handshakes succeed again")
            assert vault.role("keys") != hanging
        finally:
            if vault.role("keys") == hanging:
                os.kill(hanging, signal.SIGCONT)


def test_a_lost_sibling_is_replaced_and_nothing_acknowledged_is_lost():
    with Impatient() as vault:
        for role in ("relay", "deliver", "keys", "roster", "front"):
            name = unique(role)
            victim = vault.role(role)
            with Stomp(at=vault.port) as s:
                s.subscribe()
                s.deposit(event(name), name, wait=False)
                os.kill(victim, signal.SIGKILL)
                frames = []
                s.socket.settimeout(60)
                try:
                    while not any(c == "MESSAGE" and h["ClientId"] == name for c, h, _ in frames):
                        frames.append(s.read())
                        assert frames[-1][0] != "ERROR" or frames[-1][1]["message"] == "queue unavailable, send again later", frames[-1]
                        if frames[-1][0] == "MESSAGE":
                            s.send("ACK", {"id": frames[-1][1]["ack"]})
                except (EOFError, ConnectionError):
                    assert role in ("relay", "front"), f"{role} took the session with it"
                else:
                    s.close()
            wait_until(lambda: vault.role(role) not in (victim, None) and vault.front_ready(), 60, f"{role} is there again")

            def works():
                try:
                    with Stomp(at=vault.port, timeout=20) as again:
                        again.deposit(event(name), name)
                        again.close()
                    return True
                except (Refused, EOFError, OSError):
                    return False
            wait_until(works, 60, f"deposits are taken after {role} was killed")


def test_reload_keeps_sessions():
    with Impatient() as vault:
        s = Stomp(at=vault.port)
        vault.reload()
        wait_until(lambda: re.search(r"(?m)^reload .* done$", vault.status()), 60, vault.status)
        s.deposit(event("rechargé"), unique())
        with Stomp(at=vault.port) as fresh:
            fresh.deposit(event("rechargé"), unique())
            fresh.close()
        s.close()


def test_a_drain_lets_receipts_out():
    with Impatient() as vault:
        s = Stomp(at=vault.port)
        names = [s.deposit(event(f"fin {i}"), unique(), wait=False) for i in range(50)]
        got = {s.expect("RECEIPT")["receipt-id"]}
        status = []
        stopper = threading.Thread(target=lambda: status.append(vault.stop()))
        stopper.start()
        frames = closed(s)
        stopper.join()
        assert status == [0], status
        assert all(command == "RECEIPT" for command, _, _ in frames), frames
        got |= {headers["receipt-id"] for _, headers, _ in frames}
        assert got <= set(names)


if __name__ == "__main__":
    run(globals())
