#!/usr/bin/python3
"""The ledger: reasons of refusal, quarantine, limits of lots, the fence, packs nobody can read, an inspect that dies or hangs."""
import os
import re
import signal
import sys

sys.path.insert(0, os.path.dirname(__file__))
from another import SOON, Journal, daemon_log
from coffre import *
from holders import let_in, sensor

LIMIT = 7  # events in a lot while its limit is tested


def answers_to(bodies, at=None, who="sensor-1", **headers):
    """Deposits bodies in one go; their answers in the same order."""
    names = [unique("grand-livre") for _ in bodies]
    with Stomp(who, at=at, timeout=120) as s:
        s.subscribe(ack="auto")
        for name, body in zip(names, bodies):
            s.deposit(body, name, wait=False, **headers)
        found, receipts = {}, 0
        while len(found) < len(names) or receipts < len(names):
            command, got, _ = s.read()
            assert command != "ERROR", got
            receipts += command == "RECEIPT"
            if command == "MESSAGE" and got["ClientId"] in names:
                found[got["ClientId"]] = got
        s.close()
    return [found[name] for name in names]


def ledger_role(daemon="coffre-ingest", role="ledger"):
    return children(pid_of(daemon))[role][0]


def test_every_reason_is_said():
    good = event().decode()
    cases = [
        ("empty", b" "), ("encoding", good.replace("essai", "caf\xe9").encode("latin-1")),
        ("encoding", b'<?xml version="1.0" encoding="ISO-8859-1"?>' + good.encode()),
        ("entity", good.replace("essai", "&eacute;").encode()),
        ("type", good.replace("PASPMISE", "x:PASPMISE").replace("<x:PASPMISE", "<x:PASPMISE xmlns:x='urn:x'").encode()),
        ("operator-missing", good.replace("<IDOper>4512</IDOper>", "").encode()),
        ("vault-missing", good.replace("<IDCoffre>1</IDCoffre>", "").encode()),
        ("header-repeated", good.replace("<IDOper>", "<IDOper>4512</IDOper><IDOper>").encode()),
        ("placeholder-repeated", good.replace("<Texte>", "<Texte><!--SAFE_ID-->").encode()),
        ("not-well-formed", (good + good).encode()),
        ("not-well-formed", good.replace("essai", "a & b").encode()),
    ]
    for (reason, body), answer in zip(cases, answers_to([body for _, body in cases])):
        if body == b" ":
            reason = "not-well-formed"
        assert answer["CFJLStatus"] == "CFJL_INVALID_MESSAGE", (reason, answer)
        assert answer["CFJLReason"].split(":")[0] == reason, (reason, answer["CFJLReason"])
        assert int(answer["CFJLLotId"]) == 0 and answer["CFJLJELSerial"] == "0", answer
    for reason, headers in (("digest-missing", {"Digest": None}), ("digest-algorithm", {"DigestAlgo": None})):
        answer, = answers_to([event()], **headers)
        assert answer["CFJLReason"].split(":")[0] == reason, answer


def test_quarantine_opens_with_the_regulator_s_key():
    body = event(unique("quarantaine"), operator="0001")
    answers_to([body])
    lot, ordinal, stored = query("SELECT lot, ordinal, body FROM quarantine ORDER BY id DESC LIMIT 1")[0]
    assert body not in bytes(stored)
    assert Decryptor().event(lot, bytes(stored)) == body
    # The same again is answered again and kept once; with another body and the same headers it is another.
    before = value("SELECT count(*) FROM quarantine")
    name = unique("quarantaine")
    with Stomp() as s:
        s.subscribe()
        for text in ("un", "un", "deux"):
            s.deposit(event(text), name, digest_of="0" * 64)
            assert s.answer_to(name)["CFJLReason"].startswith("digest-mismatch:")
        s.close()
    assert value("SELECT count(*) FROM quarantine") == before + 2


def test_every_digest_algorithm():
    for name, algorithm in (("SHA-1", "sha1"), ("SHA1", "sha1"), ("SHA-256", "sha256"), ("SHA-384", "sha384"), ("SHA512", "sha512"),
                            ("http://www.w3.org/2001/04/xmlenc#sha256", "sha256"), ("http://www.w3.org/2000/09/xmldsig#sha1", "sha1")):
        body = event(unique(name))
        answer, = answers_to([body], digest_of=hashlib.new(algorithm, body).hexdigest().upper(), DigestAlgo=name)
        numbered = body.replace(PLACEHOLDER, answer["CFJLJELSerial"].encode())
        assert answer["CFJLStatus"] == "CFJL_OK" and answer["CFJLDigestAlgo"] == name, answer
        assert answer["CFJLDigest"] == hashlib.new(algorithm, numbered).hexdigest()


def test_what_is_stored_is_what_came_with_its_number():
    bodies = [event(unique("intact")) for _ in range(20)] + [
        b"<s6><a>4512</a><b>1</b><d><!--SAFE_ID--></d><x>\r\n\t<![CDATA[<IDEvt><!--SAFE_ID--></IDEvt>]]></x></s6>"]
    decryptor = Decryptor()
    for body, answer in zip(bodies, answers_to(bodies)):
        serial, lot = int(answer["CFJLJELSerial"]), int(answer["CFJLLotId"])
        stored, sha256, size, kind = query("SELECT body, sha256, size, type FROM event WHERE serial = %s AND lot = %s", serial, lot)[0]
        stored = bytes(stored)
        assert len(stored) == size and hashlib.sha256(stored).digest() == bytes(sha256)
        text = decryptor.event(lot, stored)
        assert text == body.replace(b"><!--SAFE_ID--></d>", b">%d</d>" % serial).replace(
            b"<IDEvt><!--SAFE_ID--></IDEvt><IDJ", b"<IDEvt>%d</IDEvt><IDJ" % serial)
        assert kind == re.match(rb"<(\w+)", body)[1].decode()


def test_duplicates_are_found_after_a_long_time_without():
    first = [event(unique("rare")) for _ in range(30)]
    numbers = []
    with Stomp() as s:
        s.subscribe()
        # One after the other: the ledger sees that many batches without a duplicate.
        for i, body in enumerate(first):
            s.deposit(body, f"rare-{digest(body)}")
            numbers.append(s.answer_to(f"rare-{digest(body)}"))
        s.close()
    assert {a["CFJLStatus"] for a in numbers} == {"CFJL_OK"}
    # Known and new ones mixed, in one transaction and so in one batch.
    mixed = [body for pair in zip(first, [event(unique("neuf")) for _ in first]) for body in pair]
    with Stomp(timeout=60) as s:
        s.subscribe(ack="auto")
        s.send("BEGIN", {"transaction": "m"})
        for body in mixed:
            s.send("SEND", {"destination": f"/queue/Event.{VAULT}.In", "transaction": "m", "ClientId": f"rare-{digest(body)}",
                            "Digest": digest(body), "DigestAlgo": "SHA-256"}, body)
        s.send("COMMIT", {"transaction": "m"})
        found = {}
        names = [f"rare-{digest(body)}" for body in mixed]
        while len(found) < len(mixed):
            headers, _ = s.expect("MESSAGE")
            if headers["ClientId"] in names:
                found[headers["ClientId"]] = headers
        s.close()
    answers = [found[name] for name in names]
    assert [a["CFJLStatus"] for a in answers] == ["CFJL_DUPLICATE_EVENT", "CFJL_OK"] * 30
    for before, after in zip(numbers, answers[::2]):
        for same in ("CFJLJELSerial", "CFJLDigest", "CFJLLotId"):
            assert before[same] == after[same]
    serials = [int(a["CFJLJELSerial"]) for a in answers[1::2]]
    assert serials == list(range(serials[0], serials[0] + 30))
    check_numbers()


class Settings:
    """The configuration with something replaced, in force after SIGHUP; as it was at the end."""

    def __init__(self, old, new):
        self.path, self.old, self.new = RUN / "coffre.yml", old, new

    def put(self, text):
        self.path.write_text(text)
        seen = LOG.joinpath("coffre-ingest.log").read_text().count("code=ledger-reloaded")
        os.kill(pid_of("coffre-ingest"), signal.SIGHUP)
        wait_until(lambda: LOG.joinpath("coffre-ingest.log").read_text().count("code=ledger-reloaded") > seen, SOON, "the ledger reloads")

    def __enter__(self):
        self.before = self.path.read_text()
        assert self.old in self.before
        self.put(self.before.replace(self.old, self.new))

    def __exit__(self, *_):
        self.put(self.before)


def closed_lots(first):
    return query("SELECT lot, reason, last_serial - first_serial + 1, event_bytes FROM lot WHERE lot >= %s AND closed_at IS NOT NULL "
                 "ORDER BY lot", first)


def test_a_lot_never_holds_more_events_than_its_limit():
    with Settings("lot:\n", f"lot:\n  count: {LIMIT}\n"):
        first = value("SELECT lot FROM head")
        serials = [int(a["CFJLJELSerial"]) for a in answers_to([event(unique("limite")) for _ in range(10 * LIMIT + 3)])]
        assert serials == list(range(serials[0], serials[0] + len(serials)))
        lots = closed_lots(first + 1)  # the first one was open already
        assert len(lots) >= 8 and {count for _, reason, count, _ in lots if reason == "nombre"} <= {LIMIT}, lots
        assert max(count for _, _, count, _ in lots) <= LIMIT
    check_numbers()


def in_one_transaction(deposits, who="sensor-1"):
    """Deposits (ClientId, body) pairs in one transaction; answers by ClientId."""
    with Stomp(who, timeout=120) as s:
        s.subscribe(ack="auto")
        s.send("BEGIN", {"transaction": "t"})
        s.write(b"".join(s.frame("SEND", {"destination": f"/queue/Event.{VAULT}.In", "transaction": "t", "ClientId": name, "Digest": digest(body),
                                          "DigestAlgo": "SHA-256", "content-length": len(body)}, body) for name, body in deposits))
        s.send("COMMIT", {"transaction": "t"})
        found, names = {}, {name for name, _ in deposits}
        while len(found) < len(names):
            headers, _ = s.expect("MESSAGE")
            if headers["ClientId"] in names:
                found[headers["ClientId"]] = headers
        s.close()
    return found


def said(code):
    return LOG.joinpath("coffre-ingest.log").read_text().count(f"code={code} ")


def test_a_late_duplicate_at_a_lot_s_end_needs_a_key_of_the_same_lot_again():
    known, fresh = (unique("connu"), event(unique("connu"))), [(unique("neuf"), event(unique("neuf"))) for _ in range(2 * LIMIT)]
    with Settings("lot:\n", f"lot:\n  count: {LIMIT}\n"):
        in_one_transaction([known])
        # One at a time, until look-ups are left to the index and the open lot has its key and room.
        single = 0
        while single < 12 or not 1 <= value("SELECT lot_events FROM head") <= 3:
            answers_to([event(unique("seul"))])
            single += 1
        retries = said("ledger-retry")
        answers = in_one_transaction([fresh[0], known, *fresh[1:]])
        assert answers[known[0]]["CFJLStatus"] == "CFJL_DUPLICATE_EVENT", answers
        assert {answers[name]["CFJLStatus"] for name, _ in fresh} == {"CFJL_OK"}
        assert said("ledger-retry") == retries, "the ledger had to begin anew"
    check_numbers()


def test_many_invalid_deposits_are_many_short_transactions():
    """Each is a statement: a hundred thousand in one transaction would outlast RabbitMQ's patience, again and again."""
    answers = in_one_transaction([(unique("faux"), b"<faux/>") for _ in range(2500)])
    assert {a["CFJLStatus"] for a in answers.values()} == {"CFJL_INVALID_MESSAGE"}
    assert value("SELECT count(DISTINCT xmin::text) FROM (SELECT xmin FROM quarantine ORDER BY id DESC LIMIT 2500) AS latest") == 3


def test_a_flood_of_refused_deposits_is_counted_and_hides_nobody():
    """Those that have no record of their own are told of once the flood has ended, or the ledger."""
    flood, bad = 300, [b"<faux/>", b"<faux/>", b"\n<faux/>"] # the same reason, wherever it is
    many, one = sensor(), sensor()
    numbers = {who: str(value("SELECT id FROM role WHERE cn = %s", who)) for who in (many, one)}
    let_in(many)
    let_in(one)

    def found(journal, who, event):
        return journal.find(event, depositor=f"^{numbers[who]}$")

    def all_are_told(journal, sent):
        recorded = lambda: len(found(journal, many, "deposit-refused"))
        counted = lambda: sum(int(r["fields"]["records"]) for r in found(journal, many, "deposit-refused-omitted"))
        wait_until(lambda: recorded() + counted() == sent, SOON, lambda: f"{recorded()} records and {counted()} counted make {sent}")
        return recorded(), counted()

    with Journal() as journal:
        in_one_transaction([(unique("faux"), bad[n % 3]) for n in range(flood)], many)
        in_one_transaction([(unique("faux"), bad[0])], one)
        wait_until(lambda: found(journal, one, "deposit-refused"), SOON, "another depositor's has a record")
        recorded, counted = all_are_told(journal, flood)
        assert 0 < recorded < flood and counted > 0, (recorded, counted)
        told = found(journal, many, "deposit-refused-omitted")[0]["fields"]
        assert told["reason"] == "operator-missing" and re.fullmatch(r"\d{4}-.*Z", told["since"]), told
        assert not found(journal, one, "deposit-refused-omitted")
        # the end of the ledger
        in_one_transaction([(unique("faux"), bad[0]) for n in range(flood)], many)
        instance("restart", "coffre-ingest")
        all_are_told(journal, 2 * flood)


def test_a_lot_never_holds_more_bytes_than_its_limit():
    with Settings("lot:\n", "lot:\n  bytes: 1MiB\n"):
        first = value("SELECT lot FROM head")
        in_one_transaction([(unique("grand"), event("x" * 30000 + unique())) for _ in range(150)]) # none is closed by its age meanwhile
        lots = closed_lots(first + 1)
        assert sum(reason == "taille" for _, reason, _, _ in lots) >= 2, lots
        assert all(size <= 1 << 20 for _, _, _, size in lots), lots
        assert all(size > (1 << 20) - 35000 for _, reason, _, size in lots if reason == "taille"), lots
    check_numbers()


def test_a_pack_nobody_can_read_is_set_aside():
    def parked():
        lines = instance("rabbitmqctl", "-q", "list_queues", "-p", "coffre", "name", "messages").stdout.splitlines()
        return int(dict(line.split("\t") for line in lines if "\t" in line)[f"Event.{VAULT}.Parked"])
    before, log = parked(), daemon_log("coffre-ingest")
    bad = ["no pack", "CFPK" + "\\1\\1\\0\\0" + "x" * 60]
    for body in bad:
        instance("rabbitmqctl", "eval", 'rabbit_basic:publish({resource,<<"coffre">>,exchange,<<"Event.%d.In">>}, <<"">>, '
                 '[{delivery_mode,2}], <<"%s">>).' % (VAULT, body))
    answer, = answers_to([event()])
    assert answer["CFJLStatus"] == "CFJL_OK"
    wait_until(lambda: parked() == before + len(bad), SOON, "unreadable packs are parked")
    log.says("code=pack-parked")


def test_deposits_survive_an_inspect_that_dies_or_hangs():
    for number in (signal.SIGKILL, signal.SIGSTOP):
        os.kill(ledger_role(role="inspect"), number)
        answers = answers_to([event(unique("relecture")) for _ in range(5)])
        assert {a["CFJLStatus"] for a in answers} == {"CFJL_OK"}
    check_numbers()


def test_a_stopped_ledger_is_fenced_and_never_writes_again():
    instance("start", "coffre-ingest@2")
    try:
        fence()
    finally:
        instance("stop", "coffre-ingest@2")
    answers_to([event(unique("seul")) for _ in range(20)])
    check_numbers()


def fence():
    answers_to([event(unique("avant"))])
    # Whoever holds the fence is stopped, not killed: its sessions with both servers stay.
    assert value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND granted", 0x43464c47) == 1
    before = value("SELECT ledger_epoch FROM head")
    stopped = ledger_role()
    os.kill(stopped, signal.SIGSTOP)
    try:
        answers = answers_to([event(unique("pendant")) for _ in range(20)], at=port("STOMP") + 1)
        assert {a["CFJLStatus"] for a in answers} <= {"CFJL_OK", "CFJL_DUPLICATE_EVENT"}
        assert value("SELECT ledger_epoch FROM head") > before
    finally:
        os.kill(stopped, signal.SIGCONT)
    check_numbers()
    answers_to([event(unique("après")) for _ in range(20)])
    answers_to([event(unique("après")) for _ in range(20)], at=port("STOMP") + 1)
    check_numbers()


run(globals())
