#!/usr/bin/python3
"""RabbitMQ and PostgreSQL blocked, stopped and started under load: back-pressure or a clear ERROR, nothing lost, no restart needed."""
import os
import socket
import sys
import threading

sys.path.insert(0, os.path.dirname(__file__))
from another import daemon_log
from coffre import *


class Depositor(threading.Thread):
    """Deposits until told to stop, connecting again when it must; remembers what was acknowledged."""

    def __init__(self):
        super().__init__(daemon=True)
        self.acknowledged, self.errors, self.done, self.trouble = {}, [], threading.Event(), None

    def run(self):
        try:
            while not self.done.is_set():
                try:
                    self.session()
                except (Refused, EOFError, OSError) as reason:
                    self.errors.append(str(reason))
                    self.done.wait(0.2)
        except Exception as trouble:  # a thread's failure is the test's
            self.trouble = trouble

    def session(self):
        with Stomp(timeout=90) as s:
            while not self.done.is_set():
                batch = {}
                for _ in range(20):
                    name = unique("charge")
                    batch[s.deposit(event(name), name, wait=False)] = name
                while batch:
                    name = batch.pop(s.expect("RECEIPT")["receipt-id"])
                    self.acknowledged[name] = True

    def finish(self):
        self.done.set()
        self.join(120)
        if self.trouble:
            raise self.trouble
        assert not self.is_alive(), "the last receipts do not come"
        return list(self.acknowledged)


def stored(names):
    """Sends them all again: each must be known already (an answer DUPLICATE), or its deposit was lost."""
    lost = []
    with Stomp() as s:
        s.subscribe(ack="auto")
        for begin in range(0, len(names), 500): # however many there are: who only sends does not read
            known(s, names[begin:begin + 500], lost)
        s.close()
    return lost


def known(s, names, lost):
    for name in names:
        s.deposit(event(name), name, wait=False)
    waiting, receipts = set(names), 0
    while waiting or receipts < len(names):
        command, headers, _ = s.read()
        assert command != "ERROR", headers
        receipts += command == "RECEIPT"
        if command == "MESSAGE" and headers["ClientId"] in waiting:
            # The answer to the first sending may still be on its way: it comes first and says OK, the second DUPLICATE.
            if headers["CFJLStatus"] == "CFJL_DUPLICATE_EVENT":
                waiting.discard(headers["ClientId"])
            elif headers["CFJLStatus"] != "CFJL_OK":
                lost.append((headers["ClientId"], headers["CFJLStatus"]))
                waiting.discard(headers["ClientId"])


def under_load(server):
    load = Depositor()
    load.start()
    wait_until(lambda: len(load.acknowledged) > 200, 60, "deposits are acknowledged before the outage")
    parent, roles = pid_of("coffre-ingest"), children(pid_of("coffre-ingest"))
    instance("stop", server)
    before = len(load.acknowledged)
    instance("start", server)
    wait_until(lambda: len(load.acknowledged) > before + 200, 120, f"deposits are acknowledged after {server} came back; {load.errors[-3:]}")
    names = load.finish()
    assert pid_of("coffre-ingest") == parent, "ingest was restarted"
    assert children(parent).get("front") == roles.get("front"), "the front was restarted"
    lost = stored(names)
    assert not lost, f"{len(lost)} of {len(names)} acknowledged deposits are gone: {lost[:3]}"
    check_numbers()
    print(f"    {len(names)} acknowledged, errors told to the sensor: {sorted(set(e[:100] for e in load.errors))}")


def test_a_postgresql_that_does_not_flush_is_refused():
    def set_fsync(value):
        instance("psql", "-c", f"ALTER SYSTEM SET fsync = {value}", "-c", "SELECT pg_reload_conf()")
        wait_until(lambda: query("SHOW fsync") == [(value,)], 60, f"fsync is {value}")

    set_fsync("off")
    try:
        instance("stop", "coffre-ingest")
        log = daemon_log("coffre-ingest")
        done = instance("start", "coffre-ingest", check=False)
        assert done.returncode != 0, done.stdout
        assert "what it commits is not durable" in log.text()
    finally:
        set_fsync("on")
        instance("psql", "-c", "ALTER SYSTEM RESET fsync", "-c", "SELECT pg_reload_conf()")
        instance("start", "coffre-ingest")


def test_rabbitmq_stopped_and_started_under_load():
    under_load("rabbitmq")


def test_postgresql_stopped_and_started_under_load():
    under_load("postgresql")


def test_no_receipt_while_rabbitmq_is_blocked_and_all_of_them_after():
    names = [unique("bloc") for _ in range(30)]
    instance("rabbitmqctl", "-q", "set_vm_memory_high_watermark", "0.000001")
    s = Stomp()
    s.socket.settimeout(3)
    receipts = set()
    try:
        for name in names:
            s.deposit(event(name), name, wait=False)
        try:
            while True:
                receipts.add(s.expect("RECEIPT")["receipt-id"])
        except (TimeoutError, socket.timeout):
            pass
        assert not receipts, f"{len(receipts)} receipts while RabbitMQ takes nothing"
    finally:
        instance("rabbitmqctl", "-q", "set_vm_memory_high_watermark", "0.4")
    s.socket.settimeout(60)
    while len(receipts) < len(names):
        receipts.add(s.expect("RECEIPT")["receipt-id"])
    s.close()
    assert not stored(names)


def test_a_sensor_that_never_reads_does_not_fill_memory():
    def resident():
        total = 0
        for pids in children(pid_of("coffre-ingest")).values():
            for pid in pids:
                total += int(open(f"/proc/{pid}/statm").read().split()[1]) * os.sysconf("SC_PAGESIZE")
        return total
    before = resident()
    with Stomp() as s:
        s.socket.settimeout(2)
        body = event("x" * 60000)
        sent = 0
        try:
            for _ in range(2000):
                s.deposit(body, unique("muet"), wait=False)
                sent += 1
        except (TimeoutError, socket.timeout, ssl.SSLError, OSError):
            pass
        after = resident()
    assert after - before < 96 << 20, f"{(after - before) >> 20} MiB more after {sent} unread deposits of 60 kB"
    name = unique("après") # numbered after all that was on its way: whoever counts events next has the vault to himself
    with Stomp(timeout=180) as s:
        s.subscribe(ack="auto")
        s.deposit(event(name), name)
        while s.expect("MESSAGE")[0]["ClientId"] != name:
            pass
        s.close()


run(globals())
