#!/usr/bin/python3
"""Deposits from the sensor's side: receipts, answers, numbers, duplicates, refusals, transactions."""
import os
import ssl
import sys
import tempfile

sys.path.insert(0, os.path.dirname(__file__))
from coffre import *

SAMPLES = 17  # events in deploy/samples
PROPERTIES = {"CFJLStatus", "CFJLJELSerial", "CFJLDigest", "CFJLDigestAlgo", "ClientId", "CFJLLotId"}


def one_answer(body, client_id=None, who="sensor-1", **headers):
    """Deposits one event and returns the answer to it."""
    client_id = client_id or unique()
    with Stomp(who) as s:
        s.subscribe()
        s.deposit(body, client_id, **headers)
        answer = s.answer_to(client_id)
        s.close()
    return answer


def test_every_answer_has_every_property():
    for body in (event("bon"), event("mauvais", operator="9999")):
        answer = one_answer(body)
        assert PROPERTIES <= set(answer), answer
        int(answer["CFJLLotId"])


def test_an_event_is_numbered_and_its_digest_covers_the_number():
    body = event("numéroté")
    answer = one_answer(body)
    assert answer["CFJLStatus"] == "CFJL_OK", answer
    serial = answer["CFJLJELSerial"]
    assert answer["CFJLDigest"] == digest(body.replace(PLACEHOLDER, serial.encode()))
    assert value("SELECT count(*) FROM event WHERE serial = %s AND lot = %s", int(serial), int(answer["CFJLLotId"])) == 1


def test_numbers_are_consecutive_and_follow_the_order_of_deposit():
    names = [unique(f"{i:04d}") for i in range(500)]
    with Stomp() as s:
        s.subscribe(ack="auto")
        for i, name in enumerate(names):
            s.deposit(event(f"suite {i}"), name, wait=False)
        receipts, serials = 0, {}
        while receipts < len(names) or len(serials) < len(names):
            command, headers, _ = s.read()
            assert command != "ERROR", headers
            receipts += command == "RECEIPT"
            if command == "MESSAGE" and headers["ClientId"] in names:
                serials[headers["ClientId"]] = int(headers["CFJLJELSerial"])
        s.close()
    got = [serials[name] for name in names]
    assert got == list(range(got[0], got[0] + len(got))), got[:20]
    check_numbers()


def test_the_same_deposit_again_gets_the_same_number():
    body, name = event("deux fois"), unique()
    first, again = one_answer(body, name), one_answer(body, name)
    assert (first["CFJLStatus"], again["CFJLStatus"]) == ("CFJL_OK", "CFJL_DUPLICATE_EVENT")
    for same in ("CFJLJELSerial", "CFJLDigest", "CFJLLotId"):
        assert first[same] == again[same], same
    # Another sensor's deposit with the same identifier is another deposit.
    other = one_answer(body, name, who="sensor-2")
    assert other["CFJLStatus"] == "CFJL_OK" and other["CFJLJELSerial"] != first["CFJLJELSerial"]


def test_duplicates_in_one_burst_are_stored_once():
    body, name = event("rafale"), unique()
    with Stomp() as s:
        s.subscribe(ack="auto")
        for _ in range(50):
            s.deposit(body, name, wait=False)
        statuses, serials, receipts = [], set(), 0
        while len(statuses) < 50 or receipts < 50:
            command, headers, _ = s.read()
            assert command != "ERROR", headers
            receipts += command == "RECEIPT"
            if command == "MESSAGE" and headers["ClientId"] == name:
                statuses.append(headers["CFJLStatus"])
                serials.add(headers["CFJLJELSerial"])
        s.close()
    assert statuses.count("CFJL_OK") == 1 and statuses.count("CFJL_DUPLICATE_EVENT") == 49, statuses
    assert len(serials) == 1


def test_invalid_events_are_answered_with_a_reason_kept_aside_and_never_numbered():
    before = value("SELECT next_serial FROM head")
    kept = value("SELECT count(*) FROM quarantine")
    cases = {
        "digest-mismatch": (event("faux"), {"digest_of": "0" * 64}),
        "not-well-formed": (event("coupé")[:-3], {}),
        "operator-mismatch": (event("autre", operator="0001"), {}),
        "vault-mismatch": (event("autre", vault=2), {}),
        "placeholder-missing": (event("sans place", placeholder="12"), {}),
        "doctype": (b"<!DOCTYPE PASPMISE [<!ENTITY a 'b'>]>" + event("dtd"), {}),
        "digest-algorithm": (event("algo"), {"DigestAlgo": "MD5"}),
        "depth": (event("<a>" * 64 + "</a>" * 64), {}),
    }
    for reason, (body, headers) in cases.items():
        answer = one_answer(body, **headers)
        assert answer["CFJLStatus"] == "CFJL_INVALID_MESSAGE", (reason, answer)
        assert answer["CFJLReason"].split(":")[0] == reason, (reason, answer["CFJLReason"])
    assert value("SELECT next_serial FROM head") == before
    assert value("SELECT count(*) FROM quarantine") == kept + len(cases)


def test_transactions_are_all_or_nothing():
    with Stomp() as s:
        s.subscribe(ack="auto")
        for end in ("ABORT", "COMMIT"):
            names = [unique(end) for _ in range(20)]
            s.send("BEGIN", {"transaction": end})
            for name in names:
                body = event(name)
                s.send("SEND", {"destination": f"/queue/Event.{VAULT}.In", "transaction": end, "ClientId": name,
                                "Digest": digest(body), "DigestAlgo": "SHA-256"}, body)
            s.send(end, {"transaction": end, "receipt": end})
            s.receipt(end)
        serials = {}
        while len(serials) < 20:
            headers, _ = s.expect("MESSAGE")
            if headers["ClientId"].startswith("ABORT"):
                raise AssertionError("a deposit of an aborted transaction was answered")
            if headers["ClientId"] in names:
                serials[headers["ClientId"]] = int(headers["CFJLJELSerial"])
        s.close()
    got = [serials[name] for name in names]
    assert got == list(range(got[0], got[0] + 20)), got


def test_a_lot_is_announced_when_it_is_sealed():
    answer = one_answer(event("archivé"))
    lot = int(answer["CFJLLotId"])
    with Stomp() as s:
        s.subscribe("Archive")
        while True:
            headers, _ = s.expect("MESSAGE")
            s.send("ACK", {"id": headers["ack"]})
            if int(headers["CFJLArchId"]) == lot:
                break
        s.close()
    assert int(headers["CFJLFirstSerial"]) <= int(answer["CFJLJELSerial"]) <= int(headers["CFJLLastSerial"])
    int(headers["CFJLArchDate"])
    assert value("SELECT container IS NOT NULL FROM lot WHERE lot = %s", lot)


def test_unacknowledged_answers_come_back():
    name = unique()
    with Stomp() as s:
        s.subscribe()
        s.deposit(event("non acquitté"), name)
        while s.expect("MESSAGE")[0]["ClientId"] != name:
            pass
        # the connection ends here without ACK
    with Stomp() as s:
        s.subscribe()
        s.answer_to(name)
        s.close()


def test_a_sensor_sees_its_own_answers_only():
    mine, other = unique("un"), unique("deux")
    with Stomp("sensor-1") as a, Stomp("sensor-2") as b:
        a.subscribe()
        b.subscribe()
        a.deposit(event("un"), mine, wait=False)
        b.deposit(event("deux"), other, wait=False)
        for s, own, foreign in ((a, mine, other), (b, other, mine)):
            while True:
                command, headers, _ = s.read()
                if command == "MESSAGE":
                    assert headers["ClientId"] != foreign
                    s.send("ACK", {"id": headers["ack"]})
                    if headers["ClientId"] == own:
                        break
            s.close()


def refused(who, **more):
    """Whether this certificate is kept out, whatever the moment: handshake, CONNECT or ERROR."""
    try:
        with Stomp(who, **more):
            return False
    except (ssl.SSLError, Refused, EOFError, ConnectionError):
        return True


def test_who_is_not_a_depositor_is_kept_out():
    assert not refused("sensor-1")
    for who in (None, "stranger", "foreign", "reader-1", "tech-admin-1", "func-admin-1", "regulator-encryption"):
        assert refused(who), f"{who} was let in"


def test_old_tls_is_refused_and_both_new_ones_are_spoken():
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        assert not refused("sensor-1", context=tls("sensor-1", version, version)), version
    old = tls("sensor-1", ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)
    old.set_ciphers("ALL:@SECLEVEL=0")
    assert refused("sensor-1", context=old)


def test_an_unknown_destination_is_an_error_that_names_it():
    for destination in ("/queue/Event.2.In", "/queue/Autre", "/topic/Event.1.In", "/queue/Event.1.Out"):
        with Stomp() as s:
            s.send("SEND", {"destination": destination, "receipt": "r"}, event())
            headers = s.expect("ERROR")
            assert headers.get("receipt-id") == "r", headers


def test_sample_events_and_several_in_one_file():
    before = value("SELECT count(*) FROM event")
    deposit("--follow", "archived", "--client-id-prefix", unique("samples"), ROOT / "deploy/samples")
    assert value("SELECT count(*) FROM event") == before + SAMPLES
    check_numbers()


def test_regulator_samples_go_through_adapted():
    samples = SHARED / "anj/samples"
    if not samples.is_dir():
        print(f"    {samples} is absent: nothing to deposit")
        return
    before = value("SELECT count(*) FROM event")
    done = deposit("--adapt", "--operator", OPERATOR, "--follow", "archived", "--client-id-prefix", unique("anj"), "--json", samples)
    files = sum(1 for _ in samples.rglob("*.xml"))
    stored = value("SELECT count(*) FROM event") - before
    assert stored >= files, f"{files} files, {stored} events; {done.stdout}"
    check_numbers()


def test_interrupted_deposit_goes_on_where_it_was():
    with tempfile.TemporaryDirectory() as folder:
        state = os.path.join(folder, "state")
        prefix = unique("reprise")
        words = ["--state", state, "--client-id-prefix", prefix, "--follow", "ok", ROOT / "deploy/samples"]
        before = value("SELECT count(*) FROM event")
        deposit(*words)
        deposit(*words)
        assert value("SELECT count(*) FROM event") == before + SAMPLES


run(globals())
