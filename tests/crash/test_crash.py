#!/usr/bin/python3
"""SIGKILL, again and again, at random moments, under load: each daemon, single roles, RabbitMQ, PostgreSQL.

CRASH_SECONDS (60) bounds it, CRASH_SEED (random, printed) repeats its order. Afterwards every acknowledged deposit is present
exactly once, numbers run 1..n, every CFJL_OK told the truth, and the chain verifies offline.
"""
import os
import pathlib
import random
import signal
import sys
import tempfile
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
from coffre import *

SECONDS = float(os.environ.get("CRASH_SECONDS", "60"))
SEED = int(os.environ.get("CRASH_SEED", random.randrange(1 << 32)))
THIS = unique("crash")  # answers to earlier runs may still come
SERVERS = ["rabbitmq", "postgresql"]
DAEMONS = ["coffre-ingest", "coffre-sealer", "coffre-exporter"]


class Sensor(threading.Thread):
    """Deposits without end over its own STOMP client; remembers each receipt and each answer."""

    def __init__(self, who, number):
        super().__init__(daemon=True)
        self.who, self.number = who, number
        self.acknowledged, self.answers, self.breaks, self.trouble = set(), {}, 0, None
        self.done = threading.Event()

    def run(self):
        try:
            while not self.done.is_set():
                try:
                    self.session()
                except (Refused, OSError, EOFError):
                    self.breaks += 1
                    self.done.wait(0.3)
        except Exception as trouble:
            self.trouble = trouble

    def session(self):
        with Stomp(self.who, timeout=20) as s:
            s.subscribe()
            waiting = {}
            while not self.done.is_set():
                while len(waiting) < 32:
                    name = unique(f"{THIS}-{self.number}")
                    waiting[s.deposit(event(name), name, wait=False)] = name
                command, headers, body = s.read()
                if command == "RECEIPT":
                    self.acknowledged.add(waiting.pop(headers["receipt-id"]))
                elif command == "MESSAGE":
                    self.note(headers)
                    s.send("ACK", {"id": headers["ack"]})
                else:
                    raise Refused(headers)

    def note(self, headers):
        name, status = headers["ClientId"], headers["CFJLStatus"]
        if not name.startswith(THIS):
            return
        told = (int(headers["CFJLJELSerial"]), headers["CFJLDigest"], int(headers["CFJLLotId"]))
        assert status in ("CFJL_OK", "CFJL_DUPLICATE_EVENT"), headers
        assert self.answers.setdefault(name, told) == told, f"{name}: two answers, {self.answers[name]} and {told}"


class Tool(threading.Thread):
    """coffre-deposit with a file of many events and a state file, run again until all is done. A sensor of its own: answers go to one."""

    def __init__(self, folder, count):
        super().__init__(daemon=True)
        self.file, self.state = os.path.join(folder, "many.xml"), os.path.join(folder, "state")
        self.names = [unique("outil") for _ in range(count)]
        with open(self.file, "wb") as out:
            out.write(b"\n".join(event(name) for name in self.names))
        self.runs, self.last = 0, None

    def run(self):
        while self.runs < 50:
            self.runs += 1
            self.last = deposit("--quiet", "--state", self.state, "--client-id-prefix", "outil", "--follow", "ok", "--timeout", "60",
                                "--retry", "30", self.file, sensor="sensor-2", check=False, timeout=600)
            if self.last.returncode == 0:
                return


# Each of these at least once in a full run, in an order the seed decides; then all over again.
VICTIMS = SERVERS + DAEMONS + [("coffre-ingest", role) for role in ("front", "relay", "ledger", "ledger", "deliver", "inspect", "keys", "roster")] + \
    [("coffre-sealer", role) for role in ("work", "seal", "stamp", "announce")] + [("coffre-exporter", "query")]


def victims(choice):
    while True:
        yield from choice.sample(VICTIMS, len(VICTIMS))


def kill(victim, log):
    """Servers and daemons are started again; a role is its parent's business."""
    if isinstance(victim, str):
        instance("kill", victim, check=False)
        instance("start", victim)
        log.append(victim)
        return
    daemon, role = victim
    for pid in children(pid_of(daemon)).get(role, [])[:1]:
        try:
            os.kill(pid, signal.SIGKILL)
            log.append(f"{daemon}'s {role}")
        except ProcessLookupError:
            pass


def test_nothing_acknowledged_is_lost_and_nothing_is_twice():
    print(f"    CRASH_SEED={SEED} CRASH_SECONDS={SECONDS:.0f}", flush=True)
    choice, log = random.Random(SEED), []
    first, first_lot = query("SELECT next_serial, lot FROM head")[0]
    with tempfile.TemporaryDirectory() as folder:
        tool = Tool(folder, 3000)
        sensors = [Sensor(who, i) for i, who in enumerate(("sensor-1", "sensor-1", "sensor-1"))]
        for thread in (tool, *sensors):
            thread.start()
        end = time.monotonic() + SECONDS
        for victim in victims(choice):
            time.sleep(choice.uniform(0.1, 2))
            if time.monotonic() > end and len(log) >= 3:
                break
            kill(victim, log)
        for daemon in DAEMONS:
            wait_until(lambda: ready(daemon), 120, f"{daemon} works again")
        # Some more deposits in peace, then the end.
        for sensor in sensors:
            before = len(sensor.acknowledged)
            wait_until(lambda: len(sensor.acknowledged) > before + 50 or sensor.trouble, 120, f"{sensor.who} deposits again")
            sensor.done.set()
        for sensor in sensors:
            sensor.join(60)
            assert sensor.trouble is None, sensor.trouble
            assert not sensor.is_alive(), f"{sensor.who} does not end"
        tool.join(300)
        assert tool.last is not None and tool.last.returncode == 0, f"coffre-deposit after {tool.runs} runs: {tool.last}"
    acknowledged = set().union(*(s.acknowledged for s in sensors))
    print(f"    {len(log)} kills: {', '.join(log)}")
    print(f"    {len(acknowledged)} receipts to our own client ({sum(s.breaks for s in sensors)} connections lost), "
          f"{len(tool.names)} events by coffre-deposit in {tool.runs} runs", flush=True)
    assert len(acknowledged) > 100

    answers = settle(sensors)
    check_truth(acknowledged, answers, tool.names, first, first_lot)


def settle(sensors):
    """Sends what was acknowledged and never answered once more: its answer must come, and collects the others'."""
    answers = {}
    for who in ("sensor-1",):
        mine = [s for s in sensors if s.who == who]
        known = {}
        for s in mine:
            for name, told in s.answers.items():
                assert known.setdefault(name, told) == told, name
        missing = set().union(*(s.acknowledged for s in mine)) - set(known)
        collector = Sensor(who, "end")
        collector.answers = known
        with Stomp(who) as s:
            s.subscribe()
            for name in missing:
                s.deposit(event(name), name, wait=False)
            while missing:
                command, headers, _ = s.read()
                assert command != "ERROR", headers
                if command == "MESSAGE":
                    collector.note(headers)
                    missing.discard(headers["ClientId"])
                    s.send("ACK", {"id": headers["ack"]})
            s.close()
        answers.update(collector.answers)
    return answers


def check_truth(acknowledged, answers, others, first, first_lot):
    count = check_numbers()
    last = value("SELECT max(serial) FROM event")
    lot = wait_sealed(last, 180)
    decryptor, found = Decryptor(), {}
    with database() as connection:
        connection.autocommit = False
        with connection.cursor("events") as cursor:
            cursor.itersize = 500
            cursor.execute("SELECT serial, lot, body FROM event WHERE serial >= %s ORDER BY serial", (first,))
            for serial, in_lot, body in cursor:
                text = decryptor.event(in_lot, bytes(body))
                for name in re.findall(rb"<Texte>((?:crash|outil)-[^<]*)</Texte>", text):
                    found.setdefault(name.decode(), []).append((serial, digest(text), in_lot))
    twice = {name: told for name, told in found.items() if len(told) > 1}
    assert not twice, f"stored twice: {list(twice.items())[:3]}"
    lost = [name for name in acknowledged | set(others) if name not in found]
    assert not lost, f"{len(lost)} acknowledged deposits are gone: {lost[:3]}"
    for name, told in answers.items():
        assert found.get(name) == [told], f"{name}: answered {told}, stored {found.get(name)}"
    print(f"    {count} events, {len(found)} of this test, {len(answers)} answers checked, lots {first_lot} to {lot}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        extract("--quiet", "--output", folder, "lots", f"{first_lot}-{lot}")
        verify("--quiet", "--first", first_lot, "--last", lot, *sorted(pathlib.Path(folder).glob("*.zip")))


run(globals())
