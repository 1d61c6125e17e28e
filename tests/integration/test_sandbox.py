#!/usr/bin/python3
"""Least privilege inside: what each role of each daemon could do if it were taken over. Running roles are made to execute system calls, from outside (coffre-test-inject), and the seccomp filters
that they run under are asked about everything else. A role that is not in the table below fails the test. Needs root, for ptrace.
"""
import os
import shutil
import struct
import sys

sys.path[:0] = [os.path.dirname(__file__), os.path.join(os.path.dirname(__file__), "../sandbox")]
import bpf
from another import Another
from coffre import *
from inject import INJECT, inject

OWNER = RUN.stat()
DAEMONS = ["coffre-ingest", "coffre-sealer", "coffre-exporter"]
SOON = 90  # seconds: only there to end a broken run

# ---- what each role may -----------------------------------------------------------------------------

KEYS = {name: RUN / f"keys/{name}/{name}.key" for name in ("ingest", "exporter", "coffre-ingest", "coffre-sealer", "coffre-exporter", "pack", "dedup")}
PATHS = {**KEYS, "pin": RUN / "secrets/hsm-pin", "ca": PKI / "operator-ca.pem", "memory": RUN / "state/seal/seal-memory", "configuration": RUN / "coffre.yml",
         "passwd": "/etc/passwd", "shadow": "/etc/shadow"}


class May:
    """blind: there is no file for it; accept, connect (to which of the ports below), threads; which of PATHS it reads, which folder of the state it writes to; module: what a PKCS#11 library needs."""

    def __init__(self, accept=False, connect=None, threads=False, reads=None, writes=None, module=False, blind=False):
        self.blind = blind
        self.accept, self.connect, self.threads, self.reads, self.writes, self.module = accept, connect, threads, reads, writes, module
        self.files = reads is not None
        self.connects = connect is not None


BROKER, STORE, ANY = "AMQPS", None, "any"  # PostgreSQL has a socket in the file system here, which is no port
IDENTITY = {"reads": {"ca"}, "writes": "crl"}
FETCH = {"connect": {ANY}, "threads": True, "reads": set()}
# With sealer.module_paths and without sealer.module_network, as deploy/coffre.yml.in has them: see test_seal_sandbox.py.
MODULE = {"threads": True, "reads": {"pin", "ca", "memory"}, "writes": "seal", "module": True}

ROLES = {
    ("coffre-ingest", "front"): May(accept=True),
    ("coffre-ingest", "inspect"): May(blind=True),
    ("coffre-ingest", "schemas"): May(reads=set()),
    ("coffre-ingest", "keys"): May(reads={"ingest"}),
    ("coffre-ingest", "relay"): May(connect={BROKER}, reads={"coffre-ingest", "pack", "ca"}),
    ("coffre-ingest", "deliver"): May(connect={BROKER}, reads={"coffre-ingest", "pack", "ca"}),
    ("coffre-ingest", "ledger"): May(connect={BROKER}, reads={"coffre-ingest", "pack", "dedup", "ca"}),
    ("coffre-ingest", "roster"): May(connect=set(), reads=set(), writes="bindings"),
    ("coffre-ingest", "identity"): May(**IDENTITY),
    ("coffre-ingest", "fetch"): May(**FETCH),
    ("coffre-ingest", "journal"): May(connect={BROKER}, reads={"coffre-ingest", "ca"}, writes="journal-coffre-ingest"),
    ("coffre-sealer", "work"): May(connect=set(), reads={"ca"}),
    ("coffre-sealer", "seal"): May(**MODULE),
    ("coffre-sealer", "stamp"): May(**MODULE),
    ("coffre-sealer", "announce"): May(connect={BROKER}, reads={"coffre-sealer", "ca"}),
    ("coffre-sealer", "identity"): May(**IDENTITY),
    ("coffre-sealer", "journal"): May(connect={BROKER}, reads={"coffre-sealer", "ca"}, writes="journal-coffre-sealer"),
    ("coffre-exporter", "front"): May(accept=True),
    ("coffre-exporter", "keys"): May(reads={"exporter"}),
    ("coffre-exporter", "query"): May(connect=set(), reads=set()),
    ("coffre-exporter", "states"): May(reads={"memory"}), # all of the state folder: what the daemons write for monitors
    ("coffre-exporter", "admin"): May(connect=set(), reads=set()),
    ("coffre-exporter", "identity"): May(**IDENTITY),
    ("coffre-exporter", "fetch"): May(**FETCH),
    ("coffre-exporter", "journal"): May(connect={BROKER}, reads={"coffre-exporter", "ca"}, writes="journal-coffre-exporter"),
}

# Whatever the role, death: (call, arguments), where one may matter.
AT_FDCWD, PROT_EXEC, CLONE_THREAD = -100, 4, 0x10000
NEVER = [("execve",), ("execveat",), ("fork",), ("vfork",), ("clone", 17), ("clone", 0x10000000), ("ptrace", 16), ("process_vm_readv",), ("process_vm_writev",), ("kill",),
         ("pidfd_open",), ("pidfd_getfd",), ("pidfd_send_signal",), ("rt_sigqueueinfo",), ("tkill",), ("tgkill", 1), ("kcmp",), ("prlimit64", 1), ("process_madvise",), ("bpf",),
         ("userfaultfd",), ("io_uring_setup",), ("io_uring_enter",), ("perf_event_open",), ("seccomp",), ("modify_ldt",), ("init_module",), ("finit_module",), ("kexec_load",),
         ("iopl",), ("ioperm",), ("mount",), ("umount2",), ("pivot_root",), ("chroot",), ("chdir",), ("unshare",), ("setns",), ("open_by_handle_at",), ("mknod",), ("mknodat",),
         ("setuid",), ("setgid",), ("setreuid",), ("setresuid",), ("setfsuid",), ("setgroups",), ("capset",), ("setsid",), ("personality",), ("add_key",), ("request_key",),
         ("bind",), ("listen",), ("accept",), ("reboot",), ("settimeofday",), ("clock_settime",), ("sethostname",), ("acct",), ("syslog",), ("memfd_create",), ("memfd_secret",),
         ("mprotect", 0, 4096, PROT_EXEC), ("pkey_mprotect",), ("remap_file_pages",), ("mmap", 0, 4096, 7, 0x22), ("openat2",), ("name_to_handle_at",),
         ("prctl", 4), ("prctl", 22), ("prctl", 0x59616D61), ("setsockopt", 0, 1, 26), ("setsockopt", 0, 1, 50), ("ioctl", 0, 0x5412), ("ioctl", 0, 0x541C), ("fcntl", 0, 8),
         ("socket", 17, 3), ("socket", 38, 5), ("socket", 40, 1)]
# With no file, with no socket.
FILES = [("open",), ("openat",), ("creat",), ("stat",), ("lstat",), ("newfstatat",), ("statx",), ("access",), ("faccessat",), ("readlink",), ("readlinkat",), ("getdents64",), ("getcwd",),
         ("statfs",), ("inotify_init1",), ("fanotify_init",)]
WRITES = [("rename",), ("renameat",), ("renameat2",), ("unlink",), ("unlinkat",), ("mkdir",), ("mkdirat",), ("ftruncate",), ("fallocate",), ("flock",)]
ALWAYS_REFUSED_TO_WRITERS = [("chmod",), ("fchmodat",), ("chown",), ("fchownat",), ("link",), ("linkat",), ("symlink",), ("symlinkat",), ("rmdir",), ("truncate",), ("setxattr",)]
SOCKETS = [("socket", 2, 1), ("socket", 10, 1), ("socket", 1, 1), ("socket", 16, 3), ("connect",), ("sendmmsg",), ("socketpair",)]
THREADS = [("clone", CLONE_THREAD | 0x100 | 0x800), ("clone3",)]
# What a role cannot do without, whichever.
ALWAYS = [("read",), ("write",), ("recvmsg",), ("sendmsg",), ("close",), ("futex",), ("getrandom",), ("clock_gettime",), ("mlock",), ("mlock2",), ("madvise",), ("munmap",), ("brk",),
          ("mmap", 0, 4096, 3, 0x22), ("mprotect", 0, 4096, 1), ("exit_group",), ("rt_sigreturn",)]


# ---- the running roles ------------------------------------------------------------------------------

def running():
    """{(daemon, role, index): pid} as --status tells."""
    found = {}
    for daemon in DAEMONS:
        text = subprocess.run([BIN / daemon, "--config", RUN / "coffre.yml", "--status"], capture_output=True, text=True).stdout
        for name, index, pid in re.findall(r"(?m)^role (\S+) (\d+) pid (\d+) ", text):
            found[daemon, name, int(index)] = int(pid)
    return found


def may(role):
    return ROLES[role[:2]]


def all_ready():
    return all(ready(daemon) for daemon in DAEMONS)


def wait_for_all():
    wait_until(all_ready, SOON, "all roles are ready")


REFUSED = f"refused {os.strerror(13)}"


def same(found, wanted):
    wrong = {key: f"{found[key]}, not {wanted[key]}" for key in wanted if found[key] != wanted[key]}
    assert not wrong, "\n    ".join(f"{key}: {text}" for key, text in wrong.items())


# ---- every process -------------------------------------------------------------------------------------

def test_every_role_is_in_the_table_and_runs():
    wait_for_all()
    assert {role[:2] for role in running()} == set(ROLES), {role[:2] for role in running()} ^ set(ROLES)


def status_of(pid):
    return dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)


def test_every_process_is_filtered_and_has_no_capability():
    parents = {(daemon, "parent", 0): pid_of(daemon) for daemon in DAEMONS}
    for role, pid in {**running(), **parents}.items():
        said = status_of(pid)
        # A role is under its parent's filter and its own.
        assert (said["Seccomp"], said["NoNewPrivs"]) == ("2", "1") and int(said["Seccomp_filters"]) >= (1 if role[1] == "parent" else 2), role
        # The bounding set is emptied only by whoever has a capability to begin with; executing gives nobody any.
        for which in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert int(said[which], 16) == 0, f"{role}: {which} {said[which]}"
        limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
        assert re.search(r"Max core file size +0 +0 ", limits), f"{role}: {limits}"


def test_roles_threads_and_processes_are_limited():
    for role, pid in running().items():
        limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
        assert bool(re.search(r"Max processes +0 +0 ", limits)) == (not may(role).threads), f"{role}: {limits}"


def test_no_role_can_be_read_by_its_own_user():
    as_owner = {"user": OWNER.st_uid, "group": OWNER.st_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    for role, pid in running().items():
        done = subprocess.run(["/usr/bin/python3", "-c", "import sys\nfor name in ('mem', 'maps', 'environ'):\n    try:\n        open(f'/proc/{sys.argv[1]}/{name}', 'rb').read(1)\n"
                               "        print(name)\n    except PermissionError:\n        pass", str(pid)], capture_output=True, text=True, **as_owner)
        assert (done.returncode, done.stdout) == (0, ""), f"{role}: {done.stdout}{done.stderr}"


def test_what_holds_keys_has_locked_memory():
    # At least a page of each: OpenSSL's own for keys, the key files.
    for role, pid in running().items():
        locked = int(status_of(pid)["VmLck"].split()[0])
        if role[1] in ("keys", "relay", "deliver", "ledger"):
            assert locked >= 4, f"{role}: {locked} KiB locked"


# ---- the filters, asked ------------------------------------------------------------------------------------

def test_filters_say_what_the_table_says():
    wrong = []
    for role, pid in running().items():
        filters, m = bpf.load(INJECT, pid), may(role)

        def expect(calls, *wanted):
            for call in calls:
                said = bpf.verdict(filters, *call)
                if said not in wanted:
                    wrong.append(f"{role}: {call}: {said}")
        unconnected = m.module and not m.connects # of its library's sockets none is made, whatever its kind, and it is not killed for trying
        expect([call for call in NEVER if call[0] not in ("mmap", "socket")], "killed")
        expect([call for call in NEVER if call[0] == "socket"], "refused EACCES" if unconnected else "killed")
        # The resolver's attempt to load a module fails; nobody else makes one.
        expect([("mmap", 0, 4096, 7, 0x22), ("mmap", 0, 4096, PROT_EXEC | 1, 0x22)], "refused EACCES" if m.connects and not m.module else "killed")
        expect([("mmap", 0, 4096, PROT_EXEC | 1, 2)], "allowed" if m.module else "refused EACCES" if m.connects else "killed")
        expect([("keyctl",)], "refused ENOSYS" if m.connects else "killed")
        expect(ALWAYS, "allowed")
        expect([("accept4",)], "allowed" if m.accept else "killed")
        if not m.files and not m.connects:
            expect([call for call in FILES if call[0] != "newfstatat"] + WRITES + SOCKETS + THREADS + [("dup",), ("pread64",)], "killed")
            expect([("newfstatat",)], "refused ENOENT" if m.blind else "killed")
            expect([("newfstatat", 0, 0, 0, 0x1000)], "allowed")
        else:
            expect([("openat",), ("newfstatat",), ("readlink",)], "allowed")
            expect([("inotify_init1",), ("fanotify_init",)], "killed")
        if m.writes is None:
            expect(WRITES, "killed")
        else:
            expect(WRITES, "allowed")
        if not m.module:
            expect(ALWAYS_REFUSED_TO_WRITERS, "killed")
            expect([("shmget",), ("adjtimex",), ("fcntl", 0, 6), ("dup2",)], "killed")
        if m.connects:
            expect([("socket", 1, 1), ("socket", 2, 1), ("socket", 10, 2), ("connect",)], "allowed")
            expect([("socket", 16, 3)], "refused EAFNOSUPPORT")
        elif unconnected:
            expect([("socket", 1, 1), ("socket", 2, 1), ("connect",)], "refused EACCES")
            expect([("sendmmsg",)], "killed")
        else:
            expect(SOCKETS, "killed")
        if m.threads:
            expect([("clone", 0x3D0F00)], "allowed")
            expect([("clone3",)], "refused ENOSYS")
        else:
            expect([("clone", 0x3D0F00)], "killed")
        # Another machine's calls have other numbers: 32-bit x86, where 11 is execve.
        if bpf.verdict(filters, "read", architecture=0x40000003) != "killed":
            wrong.append(f"{role}: calls of another architecture")
    assert not wrong, "\n    ".join(wrong)


# ---- attempts for real: what is refused, and what is done ------------------------------------------------------

def opening(path, flags=0):
    return ("openat", AT_FDCWD, f"s:{path}", flags, "0600")


def test_files_that_a_role_may_read_and_no_other():
    found, wanted = {}, {}
    for role, pid in running().items():
        if not may(role).files:
            continue  # killed: below
        for name, path in PATHS.items():
            found[role, name] = inject(pid, opening(path))
            wanted[role, name] = "done" if name in may(role).reads else REFUSED
    same(found, wanted)


def test_files_are_written_where_a_role_has_business_and_nowhere_else():
    found, wanted = {}, {}
    places = {"state": RUN / "state", **{name: RUN / "state" / name for name in ("crl", "bindings", "seal", *(f"journal-{daemon}" for daemon in DAEMONS))}, "log": LOG, "pki": PKI}
    create = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    for role, pid in running().items():
        m = may(role)
        if not m.files:
            continue
        for name, folder in places.items():
            path = folder / f"intruder-{role[0]}-{role[1]}"
            found[role, name] = inject(pid, opening(path, create))
            wanted[role, name] = "done" if m.writes == name else REFUSED
            path.unlink(missing_ok=True)
    same(found, wanted)


def address(number):
    return "b:" + (struct.pack("=H", 2) + struct.pack("!H", number) + bytes([127, 0, 0, 1]) + bytes(8)).hex()


def test_ports_that_a_role_may_connect_to_and_no_other():
    found, wanted = {}, {}
    for role, pid in running().items():
        m = may(role)
        if not m.connects:
            continue
        for name in ("AMQPS", "STOMP", "HTTPS"):
            said = inject(pid, ("socket", 2, 1, 0), ("connect", "@", address(port(name)), 16))
            found[role, name] = said
            # Where PostgreSQL is reached through the file system its port is still open to its clients.
            wanted[role, name] = "done" if m.connect & {ANY, name} else REFUSED
    same(found, wanted)


# ---- attempts for real: death -----------------------------------------------------------------------------------

def attempts(role):
    """What the role is killed for, as it is really tried."""
    m, own = may(role), KEYS["exporter" if role[0] == "coffre-exporter" else "ingest"]
    list_ = [("execve", "s:/bin/true", 0, 0), ("clone", 17, 0, 0, 0, 0), ("ptrace", 16, "parent", 0, 0), ("kill", "parent", 0), ("unshare", 0x10000000), ("setuid", 0),
             ("mprotect", "z:16", 4096, 7), ("fork",), ("tgkill", "parent", "parent", 0), ("io_uring_setup", 8, "z:120"), ("bpf", 0, "z:64", 64), ("mount", 0, "s:/tmp", "s:tmpfs", 0, 0),
             ("process_vm_readv", "parent", "z:16", 1, "z:16", 1, 0), ("prctl", 4, 1, 0, 0, 0), ("setsockopt", 2, 1, 26, "z:16", 16)]
    if not m.connects and not m.module:
        list_ += [("socket", 2, 1, 0), ("connect", 2, address(port("HTTPS")), 16), ("mmap", 0, 4096, 7, 0x22, -1)]
    if not m.files:
        list_ += [opening("/etc/passwd"), opening(own), opening(RUN / "state/intruder", os.O_WRONLY | os.O_CREAT), ("open", f"s:{own}", 0, 0), ("unlink", f"s:{RUN}/state/roster")]
    return list_


def test_what_a_role_must_not_do_kills_it_and_only_it():
    tried, roles = set(), sorted(running())
    # Strangers' bytes are where a role would be taken over: more of them there. Over all roles, every attempt is made.
    for turn in range(7):
        now = running()
        for place, role in enumerate(roles):
            list_ = attempts(role)
            if turn >= 3 and may(role).files:
                continue
            call = list_[-1 - turn] if not may(role).files else list_[(place * 3 + turn) % len(list_)]
            assert inject(now[role], call) == "killed", f"{role}: {call}"
            tried.add(call[0])
        killed = [role for role in roles if turn < 3 or not may(role).files]
        again = {} # the status that says so may be a moment behind

        def started_again():
            again.update(running())
            return all(again.get(role, now[role]) != now[role] for role in killed)
        wait_until(started_again, SOON, lambda: f"{[role for role in killed if again.get(role) == now[role]]} are started again")
        wait_for_all()
    assert {call[0] for role in roles for call in attempts(role)} == tried, {call[0] for role in roles for call in attempts(role)} - tried
    for daemon in DAEMONS:
        assert "code=role-confined" in (LOG / f"{daemon}.log").read_text(errors="replace"), daemon


# ---- reloads ------------------------------------------------------------------------------------------------------

def test_a_reload_that_names_a_folder_out_of_reach_says_that_a_start_is_needed():
    place = RUN / unique("ailleurs")
    with Another("coffre-exporter") as beside:
        keys = beside.role("keys")
        place.mkdir()
        try:
            shutil.copy(KEYS["exporter"], place / "exporter.key")
            for path in (place, place / "exporter.key"):
                os.chown(path, OWNER.st_uid, OWNER.st_gid)
            seen = len(beside.log.read_text(errors="replace"))
            beside.reload({"exporter.key": str(place / "exporter.key")})
            said = rf"role=keys .*code=reload-refused .*{place}/exporter.key.*restart the daemon"
            wait_until(lambda: re.search(said, beside.log.read_text(errors="replace")[seen:]), SOON, "the keys role says that it needs a start")
            assert beside.role("keys") == keys
        finally:
            shutil.rmtree(place)


def test_the_vault_goes_on():
    wait_for_all()
    deposit("--quiet", "--follow", "archived", "--client-id-prefix", unique("bac"), ROOT / "deploy/samples")
    assert http("/check")[0] == 200
    check_numbers()


run(globals())
