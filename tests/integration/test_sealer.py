#!/usr/bin/python3
"""What must stop sealing stops it, says why, loses nothing, and goes on when it is right again; what must not, does not."""
import os
import signal
import sys
import tempfile

sys.path.insert(0, os.path.dirname(__file__))
from coffre import *

MEMORY = RUN / "state/seal/seal-memory"
OWNER = f"host={RUN}/postgresql/socket user=postgres"


def some_events(count=3):
    """Deposits; the last serial."""
    names = [unique("scelle") for _ in range(count)]
    serials, receipts = {}, 0
    with Stomp() as s:
        s.subscribe(ack="auto")
        for name in names:
            s.deposit(event(name), name, wait=False)
        while len(serials) < count or receipts < count:
            command, headers, _ = s.read()
            assert command != "ERROR", headers
            receipts += command == "RECEIPT"
            # Answers of earlier days may come first.
            if command == "MESSAGE" and headers["ClientId"] in names:
                serials[headers["ClientId"]] = int(headers["CFJLJELSerial"])
        s.close()
    return max(serials.values())


def sealer():
    return pid_of("coffre-sealer")


def status():
    return (RUN / "state/coffre-sealer.status").read_text()


def wait_trouble(*words):
    wait_until(lambda: all(word in status() for word in words), 60, f"the sealer's status says {words}")


def sealed_lots():
    return value("SELECT count(*) FROM lot WHERE container IS NOT NULL")


def put(path, content):
    """Changes a file without changing its owner."""
    with open(path, "r+b") as f:
        f.truncate()
        f.write(content)


def ceremony(*words):
    return program("coffre-ceremony", *words, "--config", RUN / "coffre.yml", "--yes", check=False)


def test_on_demand():
    lot = value("SELECT lot FROM head")
    os.kill(sealer(), signal.SIGUSR1)
    wait_until(lambda: value("SELECT lot FROM head") > lot, 60, "the signal closes the lot")
    assert value("SELECT reason FROM lot WHERE lot = %s", lot) in ("demande", "age")
    wait_until(lambda: value("SELECT container IS NOT NULL FROM lot WHERE lot = %s", lot), 60, "it is sealed")


def test_the_signature_algorithm_may_change_between_lots():
    file = RUN / "coffre.yml"
    before = file.read_bytes()
    instance("stop", "coffre-sealer")
    put(file, before.replace(b"sealer:\n", b"sealer:\n  algorithm: rsa-pss-sha256\n"))
    try:
        instance("start", "coffre-sealer")
        serial = some_events()
        wait_sealed(serial)
    finally:
        instance("stop", "coffre-sealer")
        put(file, before)
        instance("start", "coffre-sealer")
    wait_sealed(some_events())
    lot = value("SELECT lot FROM event WHERE serial = %s", serial)
    signatures = bytes(value("SELECT signatures FROM lot WHERE lot = %s", lot))
    assert b"xmldsig-more#sha256-rsa-MGF1" in signatures
    with tempfile.TemporaryDirectory() as folder:
        extract("--output", folder, "lots", f"{lot}-")
        verify(*pathlib.Path(folder).glob("*.zip"))


def test_a_missing_event_is_never_sealed_over():
    some_events(3)
    with database() as c, c.cursor() as cursor:
        cursor.execute("CREATE TABLE kept AS SELECT * FROM event WHERE false")
        # Only an event whose lot is not sealed yet proves anything.
        instance("stop", "coffre-sealer")
        first = some_events(3)
        cursor.execute("INSERT INTO kept SELECT * FROM event WHERE serial = %s", (first - 1,))
        cursor.execute("DELETE FROM event WHERE serial = %s", (first - 1,))
    before = sealed_lots()
    subprocess.Popen([ROOT / "deploy/instance.sh", "start", "coffre-sealer"], env={**os.environ, "RUN_DIR": str(RUN)},
                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_trouble("lots wait", f"serial {first - 1} is missing")
    assert value("SELECT container IS NULL FROM lot JOIN event USING (lot) WHERE serial = %s", first)
    assert sealed_lots() >= before
    query("INSERT INTO event SELECT * FROM kept; DROP TABLE kept")
    wait_sealed(first)
    wait_until(lambda: ready("coffre-sealer"), 60, "the sealer is ready")


def test_lost_and_old_memories_are_refused():
    kept, old = MEMORY.with_suffix(".kept"), MEMORY.read_bytes()
    wait_sealed(some_events())
    os.rename(MEMORY, kept)
    try:
        serial = some_events()
        wait_trouble("lots wait", "seal-memory is missing")
    finally:
        os.rename(kept, MEMORY)
    wait_sealed(serial)
    current = MEMORY.read_bytes()
    put(MEMORY, old)
    try:
        serial = some_events()
        wait_trouble("lots wait", "its memory went back")
        put(MEMORY, current[:-1])
        wait_trouble("lots wait", "torn")
    finally:
        put(MEMORY, current)
    wait_sealed(serial)


def test_time_before_the_last_token_stops_sealing_but_not_deposits():
    last = MEMORY.with_name("seal-memory.time")
    wait_sealed(some_events())
    good = last.read_bytes()
    put(last, b"99999999999999\n")
    try:
        serial = some_events()
        wait_trouble("lots wait", "already sealed")
        some_events()
    finally:
        put(last, good)
    wait_sealed(serial)


def test_a_hanging_hsm_is_ended_at_its_deadline():
    role = children(sealer())["seal"][0]
    os.kill(role, signal.SIGSTOP)
    wait_sealed(some_events(), 120)
    assert children(sealer())["seal"][0] != role


def test_a_stopped_sealer_is_replaced_and_does_not_write_when_it_wakes():
    instance("start", "coffre-sealer@2")
    try:
        replaced()
    finally:
        instance("stop", "coffre-sealer@2")
    wait_sealed(some_events(), 120)


def replaced():
    everybody = [sealer(), *sum(children(sealer()).values(), [])]
    epoch = value("SELECT sealer_epoch FROM head")
    for pid in everybody:
        os.kill(pid, signal.SIGSTOP)
    try:
        wait_sealed(some_events(), 120)
        assert value("SELECT sealer_epoch FROM head") == epoch + 1
    finally:
        for pid in everybody:
            os.kill(pid, signal.SIGCONT)
    wait_until(lambda: "standby" in status(), 60, "the one that woke stands by")
    assert value("SELECT sealer_epoch FROM head") == epoch + 1


def test_sealing_does_not_need_rabbitmq_and_notices_are_not_lost():
    serial = some_events()
    instance("stop", "rabbitmq")
    try:
        wait_sealed(serial)
        lot = value("SELECT lot FROM event WHERE serial = %s", serial)
        before = sealed_lots()
        os.kill(sealer(), signal.SIGUSR1)
        wait_until(lambda: sealed_lots() > before, 60, "another lot is sealed without RabbitMQ")
    finally:
        instance("start", "rabbitmq")
    wait_until(lambda: value("SELECT count(*) FROM announcement WHERE announced_at IS NULL") == 0, 120, f"lot {lot} is announced")


def test_shutdown_seals_what_is_open():
    serial = some_events()
    instance("stop", "coffre-sealer")
    row = query("SELECT reason, container IS NOT NULL FROM lot JOIN event USING (lot) WHERE serial = %s", serial)[0]
    assert row[0] in ("arret", "age") and row[1], row
    instance("start", "coffre-sealer")


def test_ceremonies_refuse_to_happen_twice():
    environment = os.environ.get("SOFTHSM2_CONF")
    os.environ["SOFTHSM2_CONF"] = str(RUN / "softhsm/softhsm2.conf")
    try:
        done = ceremony("keys", "--csr-dir", RUN / "ceremony")
        assert done.returncode == 3 and "already" in done.stderr, done
        done = ceremony("genesis", "--create-database", "--database", OWNER)
        assert done.returncode == 3 and "already" in done.stderr, done
        done = ceremony("remember")
        assert done.returncode == 3, done
        # Certificates the wrong way round.
        done = ceremony("install", "--seal", RUN / "ceremony/tsa.pem", "--tsa", RUN / "ceremony/seal.pem")
        assert done.returncode == 1 and "not of key" in done.stderr, done
    finally:
        if environment is None:
            del os.environ["SOFTHSM2_CONF"]


def test_roles_are_bound_listed_and_revoked():
    words = ["--profile", "reader", "--cn", unique("lecteur"), "--ou", "Essais", "--database", OWNER]
    assert ceremony("revoke", *words).returncode == 3
    assert ceremony("bind", *words).returncode == 0
    assert "already" in ceremony("bind", *words).stdout
    listed = [line for line in ceremony("roles", "--database", OWNER).stdout.splitlines() if words[3] in line]
    assert len(listed) == 1 and " - " in listed[0], listed
    assert ceremony("revoke", *words).returncode == 0
    assert ceremony("revoke", *words).returncode == 3
    assert ceremony("bind", "--profile", "king", "--cn", "x", "--ou", "y").returncode == 2


def test_after_all_this_the_chain_verifies():
    folder = RUN / "sealer-test"
    subprocess.run(["rm", "-rf", folder], check=True)
    wait_sealed(some_events())
    last = value("SELECT max(last_serial) FROM lot WHERE container IS NOT NULL")
    extract("--output", folder, "--quiet", "serials", f"1-{last}")
    verify("--quiet", *sorted(folder.glob("*.zip")))


if __name__ == "__main__":
    run(globals())
