#!/usr/bin/python3
"""The filters as they are on a machine of another kind, 64-bit ARM, which need not be at hand: built by production's own code for that machine (coffre-test-filters), and asked
about its calls by its numbers. What it lacks are the old calls (open, poll, fork, …): its C library makes the newer ones instead, and these must be allowed where those are.
"""
import os
import pathlib
import subprocess
import sys
import traceback

sys.path.insert(0, os.path.dirname(__file__))
import bpf

FILTERS = pathlib.Path(os.environ["BUILD"]) / "coffre-test-filters"
ACCEPT, CONNECT, FILES, THREADS, MODULE, BLIND = 1, 2, 4, 8, 16, 64  # enum sandbox_permits
MACHINES = {"x86_64": bpf.X86_64, "aarch64": bpf.AARCH64}

# As roles have them: fronts, inspect, keys, identity, relay, journal and roster, fetch, seal.
ROLES = {"front": [ACCEPT], "inspect": [BLIND], "keys": [FILES], "identity": [FILES, "writes"], "relay": [CONNECT], "journal": [CONNECT, "writes"], "fetch": [CONNECT | THREADS],
         "seal": [MODULE | CONNECT | FILES | THREADS, "writes"], "parent": ["parent"]}

# Arguments that filters look at, by call: one each of what is allowed and what is not.
THREAD, CHILD, NEW_USER = 0x3D0F00, 17, 0x10000000
ARGUMENTS = {
    "mmap": [(0, 4096, 3, 0x22), (0, 4096, 4, 0x22), (0, 4096, 5, 2), (0, 4096, 7, 2)],
    "mprotect": [(0, 4096, 3), (0, 4096, 4), (0, 4096, 7)],
    "prctl": [(15,), (16,), (3,), (4,), (22,), (0x53564D41,), (0x59616D61,), (38,)],
    "prlimit64": [(0,), (1,)], "tgkill": [(1,)],
    "clone": [(THREAD,), (CHILD,), (NEW_USER,)],
    "fcntl": [(0, operation) for operation in (0, 1, 2, 3, 4, 5, 6, 7, 8, 37, 38, 1030)],
    "ioctl": [(0, request) for request in (0x5401, 0x541B, 0x5421, 0x5411, 0x5412, 0x541C)],
    "setsockopt": [(0, level, name) for level in (0, 1, 6, 41) for name in (1, 2, 8, 9, 10, 11, 18, 20, 21, 23, 26, 50)],
    "getsockopt": [(0, level) for level in (0, 1, 6)],
    "socket": [(family, 1) for family in (1, 2, 10, 16, 17, 38)],
    "newfstatat": [(0, 0, 0, 0x1000), (0, 0, 0, 0)],
}

# What a C library does where a machine lacks the call.
INSTEAD = {
    "open": "openat", "creat": "openat", "stat": "newfstatat", "lstat": "newfstatat", "access": "faccessat", "readlink": "readlinkat", "getdents": "getdents64",
    "rename": "renameat", "unlink": "unlinkat", "rmdir": "unlinkat", "mkdir": "mkdirat", "link": "linkat", "symlink": "symlinkat", "chmod": "fchmodat",
    "poll": "ppoll", "select": "pselect6", "epoll_wait": "epoll_pwait", "epoll_create": "epoll_create1", "eventfd": "eventfd2", "pipe": "pipe2", "dup2": "dup3",
    "time": "clock_gettime", "alarm": "setitimer", "getpgrp": "getpgid",
}


def built(machine, role):
    done = subprocess.run([FILTERS, machine, *map(str, ROLES[role])], capture_output=True, check=True)
    return [bpf.unpack(done.stdout)]


def asked(filters, machine, call, *arguments):
    return bpf.verdict(filters, call, *arguments, architecture=MACHINES[machine], number=bpf.number_on(MACHINES[machine], call))


def probes(call):
    return ARGUMENTS.get(call, [()])


def all_filters():
    for role in ROLES:
        yield role, {machine: built(machine, role) for machine in MACHINES}


def test_what_both_machines_have_is_allowed_on_both_or_on_neither():
    here, there = (bpf.calls_of(machine) for machine in MACHINES.values())
    both = sorted(here.keys() & there.keys())
    assert len(both) > 250, both
    wrong, allowed = [], 0
    for role, filters in all_filters():
        for call in both:
            for arguments in probes(call):
                said = {machine: asked(filters[machine], machine, call, *arguments) for machine in MACHINES}
                allowed += said["aarch64"] == "allowed"
                if said["x86_64"] != said["aarch64"]:
                    wrong.append(f"{role}: {call}{arguments}: {said}")
    assert not wrong, "\n    ".join(wrong)
    assert allowed > 100 * len(ROLES) / 2, allowed


def test_where_an_old_call_is_missing_the_newer_one_is_allowed():
    here, there = (bpf.calls_of(machine) for machine in MACHINES.values())
    wrong = []
    for role, filters in all_filters():
        for call in sorted(here.keys() - there.keys()):
            # fork and vfork are clone, whose flags are asked about above; what is of the machine itself has no other.
            if role == "parent" or any(asked(filters["x86_64"], "x86_64", call, *arguments) != "allowed" for arguments in probes(call)):
                continue
            if call not in INSTEAD:
                wrong.append(f"{role}: {call} is allowed here, missing there, and nothing is known to be in its place")
            elif asked(filters["aarch64"], "aarch64", INSTEAD[call]) != "allowed":
                wrong.append(f"{role}: {INSTEAD[call]} in the place of {call}")
    assert not wrong, "\n    ".join(wrong)


def test_what_only_the_other_machine_has_is_nobodys():
    here, there = (bpf.calls_of(machine) for machine in MACHINES.values())
    for role, filters in all_filters():
        if role == "parent":
            continue
        for call in sorted(there.keys() - here.keys()):
            assert asked(filters["aarch64"], "aarch64", call) == "killed", f"{role}: {call}"
        for number in set(range(1024)) - set(there.values()):
            assert bpf.verdict(filters["aarch64"], f"number {number}", architecture=bpf.AARCH64, number=number) == "killed", f"{role}: number {number}"


def test_calls_of_one_machine_are_not_those_of_another():
    for role, filters in all_filters():
        for machine, other in (("x86_64", bpf.AARCH64), ("aarch64", bpf.X86_64), ("aarch64", 0x40000028)):
            assert bpf.verdict(filters[machine], "read", architecture=other, number=63) == "killed", (role, machine)


def test_a_role_gets_to_its_loop_and_ends():
    """What the C library of 64-bit ARM makes of waiting, answering, allocating and leaving, as its sources and an emulated run have it."""
    always = [("read",), ("write",), ("recvmsg",), ("sendmsg",), ("close",), ("ppoll",), ("epoll_create1",), ("epoll_ctl",), ("epoll_pwait",), ("eventfd2",), ("pipe2",),
              ("timerfd_create",), ("timerfd_settime",), ("futex",), ("getrandom",), ("clock_gettime",), ("clock_nanosleep",), ("mmap", 0, 4096, 3, 0x22), ("mprotect", 0, 4096, 1),
              ("mprotect", 0, 4096, 0x13), ("munmap",), ("brk",), ("madvise",), ("mlock2",), ("rt_sigaction",), ("rt_sigprocmask",), ("rt_sigreturn",), ("set_robust_list",), ("rseq",),
              ("newfstatat", 3, 0, 0, 0x1000), ("fstat",), ("getpid",), ("gettid",), ("prlimit64", 0), ("exit_group",)]
    for role, filters in all_filters():
        for call in always:
            assert asked(filters["aarch64"], "aarch64", *call) == "allowed", f"{role}: {call}"


def main():
    failed = 0
    for name, function in list(globals().items()):
        if name.startswith("test_"):
            try:
                function()
                print(f"ok - machines: {name[5:].replace('_', ' ')}")
            except Exception:
                failed = 1
                print(f"not ok - machines: {name[5:].replace('_', ' ')}\n    " + traceback.format_exc().replace("\n", "\n    "))
    return failed


sys.exit(main())
