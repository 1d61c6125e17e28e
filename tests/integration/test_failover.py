#!/usr/bin/python3
"""Two of each: the second ledger and the second sealer stand by, and take over when the first is killed."""
import os
import sys

sys.path.insert(0, os.path.dirname(__file__))
from coffre import *


def epoch(which):
    return value(f"SELECT {which}_epoch FROM head")


def deposit_and_number(at=None, count=50):
    names = [unique("bascule") for _ in range(count)]
    with Stomp(at=at) as s:
        s.subscribe(ack="auto")
        for name in names:
            s.deposit(event(name), name, wait=False)
        serials, receipts = {}, 0
        while len(serials) < count or receipts < count:
            command, headers, _ = s.read()
            assert command != "ERROR", headers
            receipts += command == "RECEIPT"
            if command == "MESSAGE" and headers["ClientId"] in names:
                assert headers["CFJLStatus"] in ("CFJL_OK", "CFJL_DUPLICATE_EVENT"), headers
                serials[headers["ClientId"]] = int(headers["CFJLJELSerial"])
        s.close()
    return serials


def test_two_fronts_one_ledger():
    instance("start", "coffre-ingest@2")
    before = epoch("ledger")
    first, second = deposit_and_number(), deposit_and_number(at=port("STOMP") + 1)
    assert not set(first.values()) & set(second.values())
    assert epoch("ledger") == before, "the second ledger did not stand by"
    check_numbers()


def test_the_second_ledger_takes_over_when_the_first_is_killed():
    before = epoch("ledger")
    # The parent and with it all its roles: PR_SET_PDEATHSIG or the end of their channels ends them.
    instance("kill", "coffre-ingest")
    serials = deposit_and_number(at=port("STOMP") + 1)
    assert len(set(serials.values())) == 50
    assert epoch("ledger") > before, "another ledger wrote without raising the epoch"
    check_numbers()


def test_no_role_survives_its_parent():
    def survivors():
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
                parent = int((entry / "stat").read_text().rsplit(") ", 1)[1].split()[1]) if words else 0
            except OSError:
                continue
            if len(words) > 4 and words[1] == b"--role" and words[4].startswith(str(RUN).encode()) and parent == 1:
                found.append(words)
        return found
    wait_until(lambda: not survivors(), 20, "roles of a killed parent are gone")


def test_the_first_comes_back_and_stands_by():
    instance("start", "coffre-ingest")
    now = epoch("ledger")
    serials = deposit_and_number()
    assert len(set(serials.values())) == 50 and epoch("ledger") == now
    check_numbers()
    instance("stop", "coffre-ingest@2")
    deposit_and_number()
    check_numbers()


def sealed():
    return value("SELECT count(*) FROM lot WHERE container IS NOT NULL")


def test_two_sealers_one_works_and_the_other_takes_over():
    instance("start", "coffre-sealer@2")
    before = epoch("sealer")
    serials = deposit_and_number()
    wait_sealed(max(serials.values()))
    assert epoch("sealer") == before, "the second sealer did not stand by"
    instance("kill", "coffre-sealer")
    serials = deposit_and_number()
    wait_sealed(max(serials.values()), 120)
    assert epoch("sealer") > before
    instance("start", "coffre-sealer")
    instance("stop", "coffre-sealer@2")
    serials = deposit_and_number()
    wait_sealed(max(serials.values()), 120)


def test_the_chain_has_no_gap_after_all_this():
    rows = query("SELECT lot, first_serial, last_serial FROM lot WHERE closed_at IS NOT NULL ORDER BY lot")
    assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
    for (_, _, last), (_, first, _) in zip(rows, rows[1:]):
        assert first == last + 1


run(globals())
