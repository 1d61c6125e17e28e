#!/usr/bin/python3
"""OpenWire as a client of our own speaks it (openwire.py), and as no real client would: refusals that a failover client must hear,
commands that must be answered, strangers' bytes. Other people's clients: tests/interop/test_jms_*.
"""
import os
import sys

sys.path.insert(0, os.path.dirname(__file__))
from openwire import *

IN, OUT = f"Event.{VAULT}.In", f"Event.{VAULT}.Out"


def opening(**more):
    """A connection on which nothing but WireFormatInfo was said."""
    c = OpenWire(connect=False, **more)
    c.write(preamble(c.version))
    c.expect(WIRE_FORMAT_INFO)
    c.expect(BROKER_INFO)
    return c


# ---- a sensor's day --------------------------------------------------------------------------------

def test_every_version_deposits_and_reads_its_answer():
    for version in range(6, 13):
        with OpenWire(version=version) as c:
            name = unique()
            c.produce()
            c.deposit(name)
            c.consume()
            answer = c.answer_to(name)
            said = answer["message"]["properties"]
            assert said["CFJLStatus"] == "CFJL_OK" and int(said["CFJLJELSerial"]) > 0 and type(said["CFJLLotId"]) is int, said
            assert answer["destination"] == answer["message"]["destination"] == (QUEUE, OUT)
            c.close()


# ---- what a failover client must hear ------------------------------------------------------------------

def test_a_command_that_cannot_be_read_is_answered_before_the_end():
    for spoil in (lambda body: body + b"\0", lambda body: body[:-1], lambda body: body[:-1] + b"\7"):
        with OpenWire() as c:
            c.produce()
            command = c.send(TEXT_MESSAGE, spoil(c.event(unique())), True)
            frames = c.until_closed()
            assert [(f["kind"], f.get("to")) for f in frames] == [(EXCEPTION, command)], frames


def test_a_connection_info_that_is_too_long_is_answered_before_the_end():
    with opening() as c:
        command = c.send(CONNECTION_INFO, c.connection_info(client="x" * 5000), True)
        frames = c.until_closed()
        assert [(f["kind"], f.get("to")) for f in frames] == [(EXCEPTION, command)], frames


def test_a_connection_info_that_cannot_be_read_is_answered_and_its_password_told_to_nobody():
    with opening() as c:
        command = c.send(CONNECTION_INFO, c.connection_info(password="zauberwort-" + c.name) + b"\0", True)
        frames = c.until_closed()
        assert [(f["kind"], f.get("to")) for f in frames] == [(EXCEPTION, command)], frames
        assert "zauberwort" not in str(frames)
    assert "zauberwort" not in (LOG / "coffre-ingest.log").read_text(errors="replace")


# ---- every command is answered --------------------------------------------------------------------------

def test_a_temporary_queue_removed_before_it_was_there_is_answered_twice():
    with OpenWire() as c:
        made, removed = c.send(DESTINATION_INFO, c.temporary(1), True), c.send(DESTINATION_INFO, c.temporary(1, 1), True)
        c.answered(removed)
        assert c.next(lambda f: f.get("to") == made)["kind"] in (RESPONSE, EXCEPTION)
    with OpenWire() as c:
        made = c.send(DESTINATION_INFO, c.temporary(1), True)
        c.remove(nested(120, string(c.name)))
        assert c.next(lambda f: f.get("to") == made)["kind"] in (RESPONSE, EXCEPTION)


def test_commands_after_the_connection_was_removed_are_answered():
    with OpenWire() as c:
        c.remove(nested(120, string(c.name)))
        for kind, body in ((TEXT_MESSAGE, c.event(unique())), (SESSION_INFO, c.session_id()), (REMOVE, c.session_id() + i64(-2)), (29, b""),
                           (90, b""), (92, b"")):
            c.refused(kind, body)
        c.call(CONNECTION_INFO, c.connection_info())
        assert c.alive()


# ---- whose temporary queues ------------------------------------------------------------------------------

def test_a_connection_named_like_the_beginning_of_another_has_none_of_its_queues():
    with OpenWire() as owner, OpenWire(name=owner.name.split(":")[0]) as other:
        queue = f"{owner.name}:1"
        owner.call(DESTINATION_INFO, owner.temporary(1))
        made = other.refused(DESTINATION_INFO, nested(120, string(other.name)) + destination(queue, TEMP_QUEUE) + u8(0) + i64(0) + b"\0")
        read = other.refused(CONSUMER_INFO, other.consumer_info(queue=queue, kind=TEMP_QUEUE))
        assert made.name == read.name == "javax.jms.InvalidDestinationException"


def test_equal_names_of_two_depositors_are_two_queues():
    name = unique("ID:")
    with OpenWire(name=name) as one, OpenWire(name=name, who="sensor-2") as two:
        for c, correlation in ((one, "one"), (two, "two")):
            c.call(DESTINATION_INFO, c.temporary(1))
            c.consume(queue=f"{name}:1", kind=TEMP_QUEUE)
            c.produce()
        for c, correlation in ((one, "one"), (two, "two")):
            for i in range(20):
                c.deposit(unique(), reply=f"{name}:1", correlation=f"{correlation} {i}")
        for c, correlation in ((one, "one"), (two, "two")):
            assert [c.dispatched()["message"]["correlation"] for _ in range(20)] == [f"{correlation} {i}" for i in range(20)]


# ---- one depositor and the others ------------------------------------------------------------------------

def test_temporary_queues_in_numbers_are_all_made_and_left():
    """One a turn, so that others get their answers in between: each has its turn, on every connection, and again when all are gone."""
    with OpenWire() as one, OpenWire() as two, OpenWire(who="sensor-2") as other:
        other.produce()
        other.consume()
        for _ in range(3):
            asked = [(c, c.send(DESTINATION_INFO, c.temporary(i), True)) for i in range(40) for c in (one, two)]
            name = unique()
            other.deposit(name)
            other.answer_to(name)
            for c, command in asked:
                c.answered(command)
            for i in range(40):
                for c in (one, two):
                    c.call(DESTINATION_INFO, c.temporary(i, 1))


def test_what_is_small_to_send_and_large_to_inflate_is_refused():
    bomb = zlib.compress(i32(1 << 20) + b"\xc0\x80" * (1 << 19), 9)
    with OpenWire() as c:
        c.produce()
        thrown = c.refused(TEXT_MESSAGE, c.message("", compressed=True, content=bomb))
        assert thrown.name == "javax.jms.JMSException" and "times as many" in thrown.text, thrown
        c.deposit(unique(), compressed=True)


def test_what_open_transactions_are_refused_takes_no_memory():
    def resident():
        pid = children(pid_of("coffre-ingest"))["front"][0]
        return int(re.search(r"VmRSS:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1))

    def fill(c, first, last):
        """One message of a megabyte in each transaction; how many were refused."""
        for number in range(first, last):
            c.send(TRANSACTION_INFO, c.transact(number, BEGIN))
            c.send(TEXT_MESSAGE, c.message("y" * 1000000, transaction=number))
        assert c.alive()
        refused, c.kept = len(c.kept), []
        return refused

    with OpenWire() as full, OpenWire() as refused:
        full.produce()
        refused.produce()
        filled = 0
        while fill(full, filled, filled + 5) == 0:
            filled += 5
            assert filled < 200
        before = resident()
        assert fill(refused, 0, 60) == 60
        assert resident() - before < 20000, f"{before} kB before, {resident()} after"


if __name__ == "__main__":
    run(globals())
