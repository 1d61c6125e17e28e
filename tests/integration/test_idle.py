#!/usr/bin/python3
"""A vault that has nothing to do does nothing: no process of it goes round a loop, just started or after its first deposits."""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
from coffre import *

DAEMONS = ("coffre-ingest", "coffre-sealer", "coffre-exporter")


def busy(pid):
    """Nanoseconds in which it ran or wanted to: a loop that never rests shows whatever else the machine does."""
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as f:
        ran, waited, _ = map(int, f.read().split())
    return ran + waited


def processes():
    found = {}
    for daemon in DAEMONS:
        parent = pid_of(daemon)
        found[parent] = f"{daemon}'s parent"
        for role, pids in children(parent).items():
            found.update({pid: f"{daemon} {role}" for pid in pids})
    return found


def all_rest():
    """Those who were busy most of the time in each of several looks: work has pauses, a loop has none."""
    suspects = processes()
    assert len(suspects) > 20, suspects
    for _ in range(6):
        before, began = {pid: busy(pid) for pid in suspects}, time.monotonic_ns()
        time.sleep(1)
        took = time.monotonic_ns() - began
        suspects = {pid: name for pid, name in suspects.items() if busy(pid) - before[pid] > took * 0.8}
        if not suspects:
            return
    raise AssertionError(f"never at rest: {sorted(suspects.values())}")


def test_the_measure_finds_a_loop_that_never_rests():
    pid = os.fork()
    if pid == 0:
        while True:
            pass
    try:
        began, before = time.monotonic_ns(), busy(pid)
        time.sleep(1)
        assert busy(pid) - before > (time.monotonic_ns() - began) * 0.8
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def test_daemons_just_started_rest():
    for daemon in DAEMONS:
        instance("restart", daemon)
    wait_until(lambda: all(ready(daemon) for daemon in DAEMONS), 60, "daemons ready")
    all_rest()


def test_daemons_rest_after_deposits():
    deposit("--follow", "ok", "--client-id-prefix", unique("idle"), ROOT / "deploy/samples")
    wait_sealed(value("SELECT max(serial) FROM event"))
    all_rest()


if __name__ == "__main__":
    run(globals())
