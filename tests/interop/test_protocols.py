#!/usr/bin/python3
"""STOMP and OpenWire are one vault: the same event deposited by python3-stomp, stompit, coffre-deposit and the JMS client is the same in
the store; its answers and notices are read by either protocol, shared by both at once, and left by one to the other.
"""
import os
import sys
import tempfile

import psycopg2.extras

sys.path[:0] = [os.path.join(os.path.dirname(__file__), folder) for folder in ("../integration", "stomp", "jms")]
import sensors as jms
from clients import *

# Every column of an event: the same however it was deposited, or its own and checked below.
SAME, OWN = {"depositor", "type"}, {"serial", "lot", "received", "size", "crc32", "deposit", "sha256", "body"}

sensor = jms.Depositor()
WHO = str(jms.FOLDER / sensor.name)


# ---- ways to deposit ----------------------------------------------------------------------------------

class ByStomp:
    def __init__(self, library):
        self.name, self.client = library.name, library(who=WHO)

    def deposit(self, body, client_id=None):
        client_id = client_id or unique()
        self.client.deposit(body, client_id)
        return client_id


class ByTool:
    """It makes its ClientId itself."""
    name = "coffre-deposit"

    def deposit(self, body):
        with tempfile.NamedTemporaryFile(suffix=".xml") as file:
            file.write(body)
            file.flush()
            done = program("coffre-deposit", "--certificate", f"{WHO}.pem", "--key", f"{WHO}.key", "--ca", PKI / "trust.pem",
                           "--port", port("STOMP"), "--client-id-prefix", unique(), "--json", file.name)
        return json.loads(done.stdout)["results"][0]["clientId"]


class ByJms:
    """Text messages; or with `change` something else about them."""

    def __init__(self, name, change=None, **options):
        self.name, self.change = name, change
        self.connection = sensor.connect(jms.ssl_url(**options))
        self.session = self.connection.createSession(False, jms.AUTO)
        self.producer = jms.producer_of(self.session)
        if change == "reply":
            self.replies = self.session.createTemporaryQueue()
            self.consumer = self.session.createConsumer(self.replies)

    def deposit(self, body, client_id=None):
        client_id = client_id or unique()
        if self.change == "bytes":
            message = jms.jvm().Messages.depositBytes(self.session, body, client_id)
        else:
            message = jms.make(self.session, client_id, body.decode())
        if self.change == "reply":
            message.setJMSReplyTo(self.replies)
        self.producer.send(message)
        self.sent = message
        return client_id


def all_ways():
    return [ByStomp(StompPy), ByStomp(Stompit), ByTool(), ByJms("JMS text"), ByJms("JMS bytes", "bytes"),
            ByJms("JMS compressed", jms_useCompression=True), ByJms("JMS with a reply", "reply"), ByJms("JMS asynchronous", jms_useAsyncSend=True)]


ways = all_ways()


# ---- ways to read ---------------------------------------------------------------------------------------

def by_stomp(names, acknowledge=True, queue="Event"):
    """The answers to these deposits, headers by ClientId; acknowledged, or left to whoever reads next."""
    found = {}
    with sensor.stomp() as s:
        s.subscribe(queue)
        while set(names) - set(found):
            headers, body = s.expect("MESSAGE")
            assert body == b"", body
            found[headers["ClientId"]] = headers
            if acknowledge:
                s.send("ACK", {"id": headers["ack"]})
        if acknowledge:
            s.close()
    return found


def by_jms(names, acknowledge=True):
    """The same: messages, told."""
    found = {}
    with sensor.connect() as connection:
        session = connection.createSession(False, jms.AUTO if acknowledge else jms.CLIENT)
        consumer = jms.consumer_of(session)
        while set(names) - set(found):
            told = jms.receive(consumer, 1)[0]
            found[jms.client_id(told)] = told
    return found


def rest_of(message, own):
    """A message without what is its own."""
    return {k: v for k, v in message.items() if k not in own}


def one(values, what):
    """All are the same: that one."""
    values = list(values)
    assert all(v == values[0] for v in values), (what, values)
    return values[0]


# ---- the vault -------------------------------------------------------------------------------------------

def shape(body):
    """What a stored event is made of: tags, depths and object identifiers, without the random and the encrypted."""
    done = subprocess.run(["openssl", "asn1parse", "-inform", "DER"], input=bytes(body), capture_output=True, check=True)
    lines = [re.match(r" *\d+:d=(\d+) +hl=\d+ l= *\S+ (cons|prim): (.*)", line) for line in done.stdout.decode().splitlines()]
    return [(found[1], found[2], found[3] if found[3].startswith("OBJECT") else re.split(r"[:\[]", found[3])[0].strip()) for found in lines]


def test_however_deposited_it_is_the_same_in_the_vault():
    columns = {row[0] for row in query("SELECT column_name FROM information_schema.columns WHERE table_name = 'event'")}
    assert columns == SAME | OWN, f"new columns: are they the same for every protocol? {columns ^ (SAME | OWN)}"
    body, began = event("le même événement\t: é € \U0001f3b0 &amp; <![CDATA[<x>]]>"), value("SELECT clock_timestamp()")
    answers = by_stomp([way.deposit(body) for way in ways])
    serials = [int(answer["CFJLJELSerial"]) for answer in answers.values()]
    for serial in serials:
        wait_sealed(serial)
    with database() as connection, connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
        cursor.execute("SELECT * FROM event WHERE serial = ANY(%s) ORDER BY serial", (serials,))
        rows = cursor.fetchall()
    assert len(rows) == len(ways)
    for column in SAME:
        one((row[column] for row in rows), column)
    assert one((row["type"] for row in rows), "type") == "PASPMISE"
    one((shape(row["body"]) for row in rows), "shape of the stored file")
    one((row["size"] - len(str(row["serial"])) for row in rows), "size beyond the number")
    decryptor = Decryptor()
    for row in rows:
        assert decryptor.event(row["lot"], bytes(row["body"])) == body.replace(PLACEHOLDER, str(row["serial"]).encode()), row["serial"]
        assert row["size"] == len(row["body"]) and bytes(row["sha256"]) == hashlib.sha256(row["body"]).digest()
    received = [row["received"] for row in rows]
    # The front's clock is coarse: by a few milliseconds.
    assert received == sorted(received) and (received[0] - began).total_seconds() > -1 and received[-1] <= value("SELECT clock_timestamp()"), received
    for column in ("deposit", "sha256", "body"):
        assert len({bytes(row[column]) if column != "deposit" else row[column] for row in rows}) == len(rows), f"{column} repeats"
    check_numbers()


def test_what_is_invalid_is_the_same_in_quarantine():
    """Twice the same invalid deposit is kept once: from whichever protocol."""
    name, body = unique("invalid"), event("faux", operator="9999")
    before = value("SELECT count(*) FROM quarantine")
    reasons = []
    for way in ways:
        if not isinstance(way, ByTool):
            way.deposit(body, name)
            answer = by_stomp([name])[name]
            assert (answer["CFJLStatus"], answer["CFJLJELSerial"], answer["CFJLLotId"], answer["CFJLDigest"]) == ("CFJL_INVALID_MESSAGE", "0", "0", ""), answer
            reasons.append(answer["CFJLReason"])
    assert one(reasons, "reason").startswith("operator-mismatch"), reasons
    assert value("SELECT count(*) FROM quarantine") == before + 1


def test_sent_again_by_the_other_protocol_it_keeps_its_number():
    for first in ways:
        body = event(f"deux fois: {first.name}")
        name = first.deposit(body)
        original = by_stomp([name])[name]
        assert original["CFJLStatus"] == "CFJL_OK", original
        for again in ways:
            if isinstance(again, ByTool):
                continue
            again.deposit(body, name)
            answer = by_jms([name])[name]["properties"]
            assert answer["CFJLStatus"] == "CFJL_DUPLICATE_EVENT", (first.name, again.name, answer)
            for same in ("CFJLJELSerial", "CFJLDigest", "CFJLDigestAlgo", "CFJLLotId"):
                assert str(answer[same]) == original[same], (first.name, again.name, same)
    assert check_numbers()


# ---- answers ----------------------------------------------------------------------------------------------

def test_answers_tell_nothing_of_the_protocol_and_are_read_by_either():
    """Read and left by STOMP, read and left by JMS, read and acknowledged by STOMP: always the same, and counted."""
    body = event("lu par les deux")
    names = [way.deposit(body) for way in ways]
    first, then, last = by_stomp(names, acknowledge=False), by_jms(names, acknowledge=False), by_stomp(names)
    assert not any("redelivered" in first[name] for name in names), first
    assert all(then[name]["redelivered"] and then[name]["count"] == 2 for name in names), then
    assert all(last[name].get("redelivered") == "true" for name in names), last
    own = {"message-id", "ack", "ClientId", "CFJLJELSerial", "CFJLDigest", "CFJLLotId"}
    assert one((rest_of(first[name], own) for name in names), "STOMP headers") == {
        "destination": OUT, "subscription": "s1", "CFJLStatus": "CFJL_OK", "CFJLDigestAlgo": "SHA-256"}
    one((rest_of(then[name], {"id", "timestamp", "properties"}) for name in names), "JMS headers and types of properties")
    for name in names:
        stomp_says = {k: v for k, v in first[name].items() if k.startswith("CFJL") or k == "ClientId"}
        jms_says = {k: str(v) for k, v in then[name]["properties"].items() if not k.startswith("JMSX")}
        assert stomp_says == jms_says == {k: last[name][k] for k in stomp_says}, (stomp_says, jms_says)
        assert stomp_says["CFJLDigest"] == digest(body.replace(PLACEHOLDER, stomp_says["CFJLJELSerial"].encode()))
        assert value("SELECT lot FROM event WHERE serial = %s", int(stomp_says["CFJLJELSerial"])) == int(stomp_says["CFJLLotId"])


def test_a_reply_is_the_answer_that_stomp_reads():
    way = [way for way in ways if way.name == "JMS with a reply"][0]
    jms.jvm().Messages.receive(way.consumer, 1000, 200) # replies of earlier deposits
    name = way.deposit(event("avec réponse"))
    reply = jms.receive(way.consumer, 1)[0]
    answer = by_stomp([name])[name]
    assert reply["correlation"] == way.sent.getJMSMessageID(), reply
    assert {k: str(v) for k, v in reply["properties"].items() if not k.startswith("JMSX")} == {
        k: v for k, v in answer.items() if k.startswith("CFJL") or k == "ClientId"}, (reply, answer)


def test_one_queue_shared_by_both_at_once():
    """Each answer goes to one of two consumers, exactly once."""
    few = 5
    with sensor.connect(jms.ssl_url(jms_prefetchPolicy_all=few)) as connection, StompPy(who=WHO) as python:
        inbox, by_java, acknowledged = jms.new("Inbox"), [], set()
        jms.consumer_of(connection.createSession(False, jms.AUTO)).setMessageListener(inbox)
        python.subscribe(**{"activemq.prefetchSize": few})

        def both():
            for message in python.messages():
                if message[0]["ClientId"] not in acknowledged:
                    acknowledged.add(message[0]["ClientId"])
                    python.ack(message)
            by_java.extend(jms.jvm().Messages.tellAll(inbox.all()))
            return len(by_java) + len(acknowledged)
        names = []
        for i in range(60):
            names.append(ways[i % 2 * 3].deposit(event(f"partagé {i}")))
            both()
        wait_until(lambda: both() >= 60, 60, "60 answers came")
        connection.stop() # the listener's last acknowledgement is on its way then
        python.close()
    java, stomp = [jms.client_id(told) for told in by_java], [headers["ClientId"] for headers, _ in python.messages()]
    assert sorted(java + stomp) == sorted(names), "an answer came twice, or another's"
    assert len(java) >= few and len(stomp) >= few, (len(java), len(stomp))


def test_what_one_leaves_the_other_gets_marked_if_the_application_saw_it():
    names = [ways[i % 2 * 3].deposit(event("laissé")) for i in range(4)]
    with sensor.connect() as connection:
        session = connection.createSession(False, jms.CLIENT)
        # All of them come to the client, two of them to its application.
        seen = [jms.client_id(told) for told in jms.receive(jms.consumer_of(session), 2)]
    by_python = by_stomp(names, acknowledge=False)
    marked = [name for name in names if by_python[name].get("redelivered") == "true"]
    assert marked == seen == names[:2], (names, seen, marked)
    # STOMP cannot say what the application saw: everything that was sent counts.
    counts = {name: told["count"] for name, told in by_jms(names).items()}
    assert counts == {name: 3 if name in seen else 2 for name in names}, counts


def test_archive_notices_are_read_by_either():
    serial = int(by_stomp([name := ways[0].deposit(event("archivé"))])[name]["CFJLJELSerial"])
    lot = wait_sealed(serial)
    with sensor.stomp() as s:
        s.subscribe("Archive")
        notice = {}
        while notice.get("CFJLArchId") != str(lot):
            if notice:
                s.send("ACK", {"id": notice["ack"]})
            notice, _ = s.expect("MESSAGE")
        # Left unacknowledged.
    with sensor.connect() as connection:
        consumer = jms.consumer_of(connection.createSession(False, jms.CLIENT), jms.ARCHIVE)
        told = jms.receive(consumer, 1)[0]
        assert told["redelivered"] and told["types"]["CFJLArchId"] == told["types"]["CFJLArchDate"] == "Long", told
        assert {k: str(v) for k, v in told["properties"].items() if not k.startswith("JMSX")} == {
            k: v for k, v in notice.items() if k.startswith("CFJL")}, (told, notice)
    with sensor.stomp() as s:
        s.subscribe("Archive")
        again, _ = s.expect("MESSAGE")
        assert again["CFJLArchId"] == str(lot) and again["redelivered"] == "true", again
        s.send("ACK", {"id": again["ack"]})
        s.close()


# ---- transactions -------------------------------------------------------------------------------------------

def test_transactions_of_both_side_by_side():
    """Open at the same time on both: the committed ones whole and in one piece, the others nowhere."""
    with sensor.connect() as connection, StompPy(who=WHO) as python, Stompit(who=WHO) as node:
        session = connection.createSession(True, jms.TRANSACTED)
        producer = jms.producer_of(session)
        kept, dropped = {}, []
        for round in range(4):
            here = {way: [unique() for _ in range(3)] for way in ("jms", "python", "node")}
            for client in (python, node):
                client.begin(f"t{round}")
            for i in range(3):
                jms.put(session, producer, here["jms"][i])
                python.deposit(event(here["python"][i]), here["python"][i], transaction=f"t{round}")
                node.deposit(event(here["node"][i]), here["node"][i], transaction=f"t{round}")
            if round % 2:
                session.rollback()
                python.abort(f"t{round}")
                node.abort(f"t{round}")
                dropped += [name for names in here.values() for name in names]
            else:
                node.commit(f"t{round}")
                session.commit()
                python.commit(f"t{round}")
                kept.update({(way, round): names for way, names in here.items()})
        python.close()
    answers = by_stomp([name for names in kept.values() for name in names])
    assert not set(answers) & set(dropped), answers
    for names in kept.values():
        serials = [int(answers[name]["CFJLJELSerial"]) for name in names]
        assert serials == list(range(serials[0], serials[0] + 3)), serials


def test_what_one_rolls_back_is_there_for_the_other():
    """Receiving in a transaction: JMS rolls back, STOMP aborts, JMS commits; what each deposited in it goes the same way."""
    name, replies = ways[0].deposit(event("à traiter")), [unique(word) for word in ("jms", "stomp", "jms")]
    with sensor.connect() as connection:
        session = connection.createSession(True, jms.TRANSACTED)
        assert jms.client_id(jms.receive(jms.consumer_of(session), 1)[0]) == name
        jms.put(session, jms.producer_of(session), replies[0])
        session.rollback()
    with Stompit(who=WHO) as node:
        node.subscribe()
        message = node.message(ClientId=name, redelivered="true")
        node.begin("t")
        node.ack(message, transaction="t")
        node.deposit(event(replies[1]), replies[1], transaction="t")
        node.abort("t")
    with sensor.connect() as connection:
        session = connection.createSession(True, jms.TRANSACTED)
        consumer = jms.consumer_of(session)
        told = jms.receive(consumer, 1)[0]
        assert jms.client_id(told) == name and told["redelivered"], told
        jms.put(session, jms.producer_of(session), replies[2])
        session.commit()
        assert jms.client_id(jms.receive(consumer, 1)[0]) == replies[2] # and neither of the others before it
        session.commit()


if __name__ == "__main__":
    run(globals())
