#!/usr/bin/python3
"""Other people's STOMP clients as sensors: python3-stomp and npm's stompit, in every version of the protocol, over mutual TLS."""
import os
import signal
import sys

sys.path[:0] = [os.path.join(os.path.dirname(__file__), folder) for folder in ("../integration", "stomp")]
from clients import *
from pki_servers import free_port


def everyone(**more):
    """Each library in each version: a fresh connection."""
    for library in LIBRARIES:
        for version in VERSIONS:
            yield library(version, **more)


def refusal(action, *words, **more):
    """The text with which the library told its application that this was refused."""
    try:
        action(*words, **more)
    except Failed as told:
        return str(told)
    raise AssertionError(f"{action} {words} was not refused")


def says(client, told, *words):
    """`told` has the short message, and the details too where the library hands an ERROR's body on."""
    assert all(word in told for word in (words if client.shows_body else words[:1])), (client, told)


def numbered(body, answer):
    """The event as it must have been stored, by the answer to it."""
    return body.replace(PLACEHOLDER, answer["CFJLJELSerial"].encode())


def dead_port():
    """A port where nobody listens, nor will."""
    return free_port()


def role(name):
    return children(pid_of("coffre-ingest"))[name]


# ---- deposits ---------------------------------------------------------------------------------------

def test_every_version_is_spoken_with_each_library():
    for client in everyone():
        body, name = event(f"{client.name} {client.version}"), unique("SOFUN:BETKUP-4711")
        assert client.connected["version"] == client.version, client.connected
        client.subscribe()
        client.deposit(body, name)
        answer, text = client.answer(name)
        assert answer["CFJLStatus"] == "CFJL_OK" and answer["CFJLDigest"] == digest(numbered(body, answer)) and text == b"", answer
        client.ack((answer, text))
        client.close()


def test_other_ways_to_begin():
    """CONNECT rather than STOMP, a password nobody asked for, another virtual host; and STOMP 1.0 without a subscription's name."""
    for version in ("1.1", "1.2"):
        client = StompPy(version, opening={"with_connect_command": True, "username": "sensor", "passcode": "secret"}, vhost="/")
        client.deposit(event("otherwise"), unique())
        client.close()
    client, name = StompPy("1.0", opening={"username": "sensor", "passcode": "secret"}), unique()
    client.subscribe(name=None)
    client.deposit(event("unnamed"), name)
    assert "subscription" not in client.answer(name)[0]
    client.ack(client.answer(name))
    client.close()


def test_transactions_commit_and_abort():
    for client in everyone():
        kept, dropped = [unique("kept") for _ in range(3)], [unique("dropped") for _ in range(3)]
        client.subscribe()
        client.begin("a:1")
        client.begin("b")
        for one, other in zip(kept, dropped):
            client.deposit(event(one), one, transaction="a:1")
            client.deposit(event(other), other, transaction="b")
        client.abort("b")
        client.commit("a:1")
        last = unique("last")
        client.deposit(event(last), last)
        serials = [int(client.answer(name)[0]["CFJLJELSerial"]) for name in kept + [last]]
        assert serials == sorted(serials) and len(set(serials)) == 4, serials
        assert not {m[0]["ClientId"] for m in client.messages()} & set(dropped)
        for message in client.messages():
            client.ack(message)
        client.close()


def test_text_and_bytes_of_every_kind():
    """Text with and without content-length, bytes with NUL in them: what the vault got is what was sent, by the digest it answers with."""
    text = event("ça coûte 12 € \U0001f3b0\t\n ñ").decode()
    uncounted = (StompPy(version, auto_content_length=False) for version in VERSIONS)
    for client in (*everyone(), *uncounted):
        names = [unique(kind) for kind in ("text", "counted", "binary")]
        client.subscribe()
        client.send(deposit_headers(text.encode(), names[0]), text)
        client.send({**deposit_headers(text.encode(), names[1]), "content-length": len(text.encode())}, text.encode())
        for name in names[:2]:
            answer = client.answer(name)[0]
            assert answer["CFJLDigest"] == digest(numbered(text.encode(), answer)), answer
        binary = b"\0\xff\n\n\0" + bytes(range(256)) + names[2].encode()
        client.send({**deposit_headers(binary, names[2]), "content-length": len(binary)}, binary)
        answer = client.answer(names[2])[0]
        # Not digest-mismatch: every byte came.
        assert answer["CFJLStatus"] == "CFJL_INVALID_MESSAGE" and answer["CFJLReason"].startswith("encoding"), answer
        for message in client.messages():
            client.ack(message)
        client.close()


def test_identifiers_with_every_character_come_back_as_they_were():
    """Colons everywhere; what only escapes can carry where the version has them (1.1: no carriage return)."""
    odd = {"1.0": "SOFUN:é€:%d", "1.1": "SOFUN:é\\n\\c\\:\n%d", "1.2": "SOFUN:é\\r\\:\r\n\n%d"}
    for client in everyone():
        name = odd[client.version] % time.monotonic_ns()
        client.subscribe()
        client.deposit(event("odd"), name)
        client.ack(client.answer(name))
        client.close()


def test_large_events():
    """Up to the limit, in many pieces; over it a refusal that the application can read."""
    for client in everyone():
        name, body = unique("large"), event("x" * 1_040_000)
        client.subscribe()
        client.deposit(body, name)
        answer = client.answer(name)[0]
        assert answer["CFJLDigest"] == digest(numbered(body, answer)), answer
        client.ack(client.answer(name))
        client.close()
    for client in everyone():
        body = event("x" * 1_100_000)
        told = refusal(client.deposit, body, unique("huge"), **{"content-length": len(body)})
        says(client, told, "a limit of the vault is exceeded", "1048576")
        client.cut()


# ---- answers ------------------------------------------------------------------------------------------

def test_acknowledging_one_by_one_all_up_to_one_and_none():
    every = set()
    for client in everyone():
        names = [unique(f"{i}") for i in range(4)]
        every |= set(names)
        client.subscribe(ack="client")
        for name in names:
            client.deposit(event(name), name)
        messages = [client.answer(name) for name in names]
        client.ack(messages[1])           # and what came before
        client.cut()
        with type(client)(client.version) as again:
            again.subscribe(ack="client-individual")
            came = [again.answer(name) for name in names[2:]]
            assert all(m[0].get("redelivered") == "true" for m in came), came
            assert not {m[0]["ClientId"] for m in again.messages()} & set(names[:2]), again.messages()
            again.ack(came[1])            # and not the one before
            again.unsubscribe()
            again.subscribe(ack="auto", name="automatic")
            again.message(ClientId=names[2], subscription="automatic")
            assert not [m for m in again.messages() if m[0]["ClientId"] == names[3] and m[0].get("subscription") == "automatic"]
            again.close()
    assert not every & set(what_is_left()), "an answer acknowledged came again"


def test_what_is_refused_comes_again():
    for client in everyone():
        if client.version == "1.0":
            client.close() # has no NACK
            continue
        name = unique("again")
        client.subscribe()
        client.deposit(event(name), name)
        client.nack(client.answer(name))
        client.ack(client.message(ClientId=name, redelivered="true"))
        client.close()


def test_acknowledgements_follow_their_transaction():
    for client in everyone():
        name, reply = unique("first"), unique("reply")
        client.subscribe()
        client.deposit(event(name), name)
        client.begin("t")
        client.ack(client.answer(name), transaction="t")
        client.abort("t")
        client.begin("u")
        client.ack(client.answer(name), transaction="u")
        client.deposit(event(reply), reply, transaction="u")
        client.cut()
        with type(client)(client.version) as again:
            again.subscribe()
            message = again.answer(name)
            again.begin("t")
            again.ack(message, transaction="t")
            again.deposit(event(reply), reply, transaction="t")
            again.commit("t")
            answer = again.answer(reply)
            assert answer[0]["CFJLStatus"] == "CFJL_OK", answer # nothing of the transaction before it was stored
            again.ack(answer)
            again.close()


def test_archive_notices():
    for library in LIBRARIES:
        client, name = library(), unique("archive")
        client.subscribe()
        client.subscribe(ARCHIVE, ack="auto", name="archive")
        client.deposit(event(name), name)
        answer = client.answer(name)
        lot, serial = answer[0]["CFJLLotId"], int(answer[0]["CFJLJELSerial"])
        notice, _ = client.message(CFJLArchId=lot)
        assert int(notice["CFJLFirstSerial"]) <= serial <= int(notice["CFJLLastSerial"]) and int(notice["CFJLArchDate"]), notice
        client.ack(answer)
        client.close()


# ---- refusals -----------------------------------------------------------------------------------------

def test_the_reason_of_a_refusal_reaches_the_application():
    body = event()
    cases = [
        (lambda c: c.send({**deposit_headers(body, "x"), "destination": "/queue/Event.2.In"}, body), "unknown destination", f"SEND goes to {IN} only"),
        (lambda c: (c.begin("t"), c.begin("t"), c.commit("t")), "malformed frame received", "open already"),
        (lambda c: (c.subscribe("/topic/Event.1.Out"), c.deposit(body, unique())), "unknown destination", f"SUBSCRIBE goes to {OUT}"),
        (lambda c: (c.subscribe(selector="a = 1"), c.deposit(body, unique())), "malformed frame received", "selectors are not available"),
    ]
    for action, *words in cases:
        for client in everyone():
            says(client, refusal(action, client), *words)
            client.cut()


def test_who_is_not_a_depositor_is_told_so():
    for library in LIBRARIES:
        for version in VERSIONS:
            says(library, refusal(library, version, who="stranger"), "certificate not bound to a depositor", 'CN "stranger"')
        for who in (None, "foreign"):
            refusal(library, who=who)
        refusal(library, ca="foreign-ca.pem") # and the client refuses a vault that it cannot know


# ---- time and failure ------------------------------------------------------------------------------------

def test_heart_beats_keep_quiet_sessions_and_betray_a_silent_vault():
    # Every second; both call it silence after some more, as the vault does of theirs when it has missed the second beat: they promise one every
    # three seconds, whatever the machine does beside. Without a timeout python3-stomp waits for a silent peer's goodbye before it tells anyone.
    limits = {StompPy: {"heart_beat_receive_scale": 3, "timeout": 3}, Stompit: {"options": {"heartbeatDelayMargin": 1500}}}
    clients = [library(version, beats=(3000, 1000), **limits[library]) for library in LIBRARIES for version in ("1.1", "1.2")]
    assert all(client.connected["heart-beat"] == "1000,3000" for client in clients)
    time.sleep(8)
    for client in clients:
        client.deposit(event("quiet"), unique())
        assert not client.inbox.all("error"), (client.name, client.inbox.entries)
    fronts = role("front")
    try:
        for process in fronts:
            os.kill(process, signal.SIGSTOP)
        for client in clients:
            client.inbox.wait(("error", "disconnected"), lambda told: told is None or "time" in str(told))
    finally:
        for process in fronts:
            with contextlib.suppress(ProcessLookupError): # so silent for so long that it was ended
                os.kill(process, signal.SIGCONT)


def test_a_list_of_addresses_with_a_dead_one():
    for client in everyone(ports=[dead_port(), port("STOMP")]):
        client.deposit(event("second"), unique())
        client.close()


def test_an_address_in_the_words_of_stompit():
    files = "&".join(f"connect[{k}]={v}" for k, v in (("ca", PKI / "trust.pem"), ("pfx", PKI / "sensor-1.p12"), ("passphrase", "coffre")))
    client = Stompit(failover=f"failover:(ssl://localhost:{dead_port()},ssl://localhost:{port('STOMP')})?randomize=false&{files}")
    assert client.connected["version"] == "1.2", client.connected # of the three it offers
    client.deposit(event("adresse"), unique())
    client.close()


def test_a_stompit_channel_survives_its_front_and_nothing_is_stored_twice():
    """The front dies with deposits that nobody confirmed; the channel connects again by itself, and sends all of them again."""
    names = [unique("channel") for _ in range(40)]
    node, bodies = Node.get(), {name: event(name) for name in names}
    failover = {"failover": [{"port": dead_port()}, {"port": port("STOMP")}], **Stompit.identity()}
    for channel in ("c-1", "c-2"):
        node.do("channel", client=channel, **failover)
    sends = [{"headers": deposit_headers(bodies[name], name), "body": plain(bodies[name])} for name in names]
    node.end(node.start("channel-send", client="c-1", headers=deposit_headers(event("warm"), unique()), body=plain(event("warm"))))
    relay = role("relay")[0]
    os.kill(relay, signal.SIGSTOP)
    try:
        waiting = [node.start("channel-send", client="c-1", **one) for one in sends[:20]] + [node.start("channel-transaction", client="c-2", sends=sends[20:])]
        wait_until(lambda: metric("coffre_front_pending_bytes") > sum(map(len, bodies.values())), 60, "all deposits are pending")
        for process in role("front"):
            os.kill(process, signal.SIGKILL)
    finally:
        os.kill(relay, signal.SIGCONT)
    for number in waiting:
        node.end(number)
    left = what_is_left(set(names))
    answers = {name: left[name] for name in names}
    serials = {name: {a["CFJLJELSerial"] for a in given} for name, given in answers.items()}
    assert all(len(numbers) == 1 for numbers in serials.values()), serials
    assert sum(map(len, answers.values())) > len(names), "nothing came twice"
    assert all([a["CFJLStatus"] for a in given].count("CFJL_OK") == 1 for given in answers.values()), answers
    for channel in ("c-1", "c-2"):
        node.do("channel-close", client=channel)


def metric(name):
    found = re.search(rf"^{name}\{{[^}}]*\}} (\d+)$", (RUN / "state/coffre-ingest.prom").read_text(), re.M)
    return int(found.group(1)) if found else 0


def what_is_left(names=frozenset()):
    """Reads the answers to these deposits and whatever else waits, up to that to a deposit made now: {ClientId: [headers]}."""
    found, last = {}, unique("last")
    with Stomp() as s:
        s.subscribe()
        s.deposit(event(last), last)
        while last not in found or names - set(found):
            headers, _ = s.expect("MESSAGE")
            s.send("ACK", {"id": headers["ack"]})
            found.setdefault(headers["ClientId"], []).append(headers)
        s.close()
    return found


if __name__ == "__main__":
    try:
        run(globals())
    finally:
        what_is_left() # nothing, for those who use the same certificate after us
