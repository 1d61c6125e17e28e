#!/usr/bin/python3
"""Two of each: the second ledger and the second sealer stand by, and take over when the first is killed; a sealer that cannot sign leaves the vault to one that can."""
import contextlib
import json
import os
import shutil
import sys

sys.path.insert(0, os.path.dirname(__file__))
from another import *
from coffre import *
from pki_servers import *


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
    wait_until(lambda: not survivors(), SOON, "roles of a killed parent are gone")


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


@contextlib.contextmanager
def another_sealer(**changed):
    """Beside the instance's, with settings of its own; what its status says, as a function."""
    config, state = RUN / f"coffre-autre-{os.getpid()}.yml", RUN / f"state-autre-{os.getpid()}"
    flat = settings("coffre-sealer")
    flat.update({key: json.dumps(what) for key, what in {"state_dir": str(state), **keys(changed)}.items()})
    config.write_text(written(flat))
    os.chown(config, OWNER.st_uid, OWNER.st_gid)

    def status():
        with contextlib.suppress(FileNotFoundError):
            return (state / "coffre-sealer.status").read_text()
        return ""
    environment = {"PATH": os.environ["PATH"], "HOME": str(RUN), "SOFTHSM2_CONF": str(RUN / "softhsm/softhsm2.conf")}
    process = subprocess.Popen([BIN / "coffre-sealer", "--config", config], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=RUN, env=environment, **as_owner())
    try:
        yield status
    finally:
        process.terminate()
        process.wait(60)
        config.unlink()
        shutil.rmtree(state, ignore_errors=True)


def is_active(status):
    return re.search(r"(?m)^role work 0 .*active, lot", status())


def first_status():
    return (RUN / "state/coffre-sealer.status").read_text()


def test_a_standby_that_cannot_sign_does_not_take_over():
    wait_until(lambda: is_active(first_status), SOON, "the instance's sealer is the active one")
    with another_sealer(sealer__token="nulle-part") as other:
        wait_until(lambda: "cannot sign, another can" in other(), SOON, lambda: f"it stands by: {other()}")
        for _ in range(3):
            # The session of the active one is cut: it is back within a second, and the other must have waited for it.
            before = epoch("sealer")
            query("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND classid = 24225 AND objid = 1")
            wait_until(lambda: epoch("sealer") > before, SOON, "somebody is active again")
            assert epoch("sealer") == before + 1
            wait_until(lambda: is_active(first_status), SOON, "it is the one that can sign")
            assert not is_active(other)
        wait_sealed(max(deposit_and_number().values()))


def test_an_active_one_that_cannot_sign_any_more_hands_the_vault_over():
    with another_sealer(sealer__token="nulle-part") as other:
        wait_until(lambda: "cannot sign" in other(), SOON, lambda: f"it stands by: {other()}")
        # Nobody else is there: it is better than none, closes lots and tells.
        instance("stop", "coffre-sealer")
        wait_until(lambda: is_active(other) or "lots wait" in other(), SOON, lambda: f"it is active: {other()}")
        serials = deposit_and_number()
        wait_until(lambda: "lots wait" in other(), SOON, lambda: f"lots wait: {other()}")
        instance("start", "coffre-sealer")
        wait_sealed(max(serials.values()))
        wait_until(lambda: is_active(first_status) and "cannot sign, another can" in other(), SOON, lambda: f"handed over: {other()}")
    wait_sealed(max(deposit_and_number().values()))


def test_the_chain_has_no_gap_after_all_this():
    rows = query("SELECT lot, first_serial, last_serial FROM lot WHERE closed_at IS NOT NULL ORDER BY lot")
    assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
    for (_, _, last), (_, first, _) in zip(rows, rows[1:]):
        assert first == last + 1


run(globals())
