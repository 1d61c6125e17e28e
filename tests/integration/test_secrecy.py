#!/usr/bin/python3
"""No plaintext at rest, and no key where it is not needed: looked for in the files of the servers and in the memory of the roles."""
import contextlib
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(__file__))
from coffre import *

MARKER = unique("MARQUE").replace("-", "")


def files_with(needle, *folders):
    found = []
    for folder in folders:
        for place, _, names in os.walk(folder): # which passes over folders that go meanwhile
            for path in (pathlib.Path(place) / name for name in names):
                with contextlib.suppress(FileNotFoundError): # servers take files of theirs away at any time
                    if path.is_file() and not path.is_symlink() and needle in path.read_bytes():
                        found.append(str(path.relative_to(RUN)))
    return found


def test_the_search_finds_what_is_there():
    # What is looked for below must be found when it is there: here, in a file of ours and a certificate's own name.
    probe = RUN / "log/probe"
    probe.write_bytes(b"x" + MARKER.encode())
    try:
        assert files_with(MARKER.encode(), LOG) == ["log/probe"]
    finally:
        probe.unlink()


def test_no_event_text_in_files_of_rabbitmq_postgresql_logs_or_state():
    needle = MARKER.encode()
    with Stomp() as s:
        s.subscribe()
        for i in range(50):
            s.deposit(event(f"{MARKER} {i}"), unique("secret"), wait=False)
        # One that is refused, whose text must not be in the logs either.
        s.deposit(event(MARKER, operator="0001"), unique("secret"), wait=False)
        receipts = answers = 0
        while receipts < 51 or answers < 51:
            command, headers, _ = s.read()
            assert command != "ERROR", headers
            receipts += command == "RECEIPT"
            if command == "MESSAGE":
                answers += headers["ClientId"].startswith("secret")
                s.send("ACK", {"id": headers["ack"]})
        s.close()
    query("CHECKPOINT")
    folders = [RUN / "rabbitmq", RUN / "postgresql", LOG, RUN / "state"]
    found = files_with(needle, *folders)
    assert not found, found


def test_events_waiting_in_rabbitmq_are_encrypted():
    marker = unique("ATTENTE").replace("-", "").encode()
    # While the ledger cannot store, packs stay in RabbitMQ's files.
    instance("stop", "postgresql")
    try:
        with Stomp() as s:
            for i in range(20):
                s.deposit(event(marker.decode() + f" {i}"), unique("attente"))
        found = files_with(marker, RUN / "rabbitmq", LOG)
        held = files_with(b"CFPK", RUN / "rabbitmq")
    finally:
        instance("start", "postgresql")
    assert not found, found
    assert held, "no pack was in RabbitMQ's files: the test looked at nothing"
    for daemon in ("coffre-ingest", "coffre-sealer", "coffre-exporter"):
        wait_until(lambda: ready(daemon), 60, f"{daemon} works again")


# ---- memory ---------------------------------------------------------------------------------------

def memory_of(pid):
    """The writable memory of a process, piece by piece. PermissionError when it is closed to us, which is an answer too."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            span, mode = line.split()[:2]
            if not mode.startswith("rw"):
                continue
            low, high = (int(x, 16) for x in span.split("-"))
            try:
                memory.seek(low)
                yield memory.read(high - low)
            except (OSError, ValueError):
                continue


def holds(pid, needles):
    try:
        return any(needle in piece for piece in memory_of(pid) for needle in needles)
    except (PermissionError, ProcessLookupError):
        return None


def secret_of(path):
    """How a private key looks in memory: its secret part in both byte orders (OpenSSL keeps numbers as little-endian words)."""
    text = subprocess.run(["openssl", "pkey", "-in", path, "-noout", "-text"], capture_output=True, text=True, check=True).stdout
    name = "prime1:" if "prime1:" in text else "priv:"
    lines = text[text.index(name):].split("\n")[1:]
    digits = ""
    for line in lines:
        if not line.startswith("    "):
            break
        digits += line.strip().replace(":", "")
    number = bytes.fromhex(digits).lstrip(b"\0")
    return [number[:32], number[::-1][-32:]]


def who_holds(daemon, needles):
    """Names of the daemon's roles ("parent" too) in whose memory one of the needles is; None when memory is closed to us."""
    pid = pid_of(daemon)
    found = set()
    for role, pids in [("parent", [pid]), *children(pid).items()]:
        for one in pids:
            answer = holds(one, needles)
            if answer is None:
                return None
            if answer:
                found.add(role)
    return found


def only(daemon, needles, allowed, what):
    found = who_holds(daemon, needles)
    if found is None:
        assert os.geteuid() != 0, "root could not look"
        print(f"    {daemon}'s memory is closed even to its own user: nothing to look at")
        return
    assert found <= allowed, f"{what} is in the memory of {sorted(found - allowed)}"
    assert found, f"{what} was found nowhere: the test looked at nothing"


def test_the_front_holds_no_tls_key():
    only("coffre-ingest", secret_of(PKI / "ingest.key"), {"keys"}, "ingest's TLS key")
    only("coffre-exporter", secret_of(PKI / "exporter.key"), {"keys"}, "the exporter's TLS key")


def test_only_who_seals_or_opens_packs_holds_their_key():
    only("coffre-ingest", [(RUN / "secrets/pack.key").read_bytes()], {"relay", "ledger", "deliver"}, "the pack key")
    only("coffre-ingest", [(RUN / "secrets/dedup.key").read_bytes()], {"ledger"}, "the key of duplicates")


def test_nobody_keeps_the_hsms_pin():
    # The roles that gave it to the token know its file's name: that much is found.
    only("coffre-sealer", [b"secrets/hsm-pin"], set(children(pid_of("coffre-sealer"))) | {"parent"}, "the PIN file's name")
    found = who_holds("coffre-sealer", [(RUN / "secrets/hsm-pin").read_bytes().strip()])
    assert not found, f"the PIN is in the memory of {sorted(found)}"


# ---- connections ----------------------------------------------------------------------------------

def connected_to_postgresql():
    """Process ids at the other end of PostgreSQL's socket."""
    lines = subprocess.run(["ss", "-xpnH"], capture_output=True, text=True, check=True).stdout.splitlines()
    ends = [line.split() for line in lines]
    peers = {fields[7] for fields in ends if ".s.PGSQL" in fields[4]}
    return {int(word.split("=")[1].split(",")[0]) for fields in ends if fields[5] in peers
            for word in " ".join(fields[8:]).split("(") if "pid=" in word
            for word in [word[word.index("pid="):]]}


def connected_to_rabbitmq():
    lines = subprocess.run(["ss", "-tpnH", "dst", f"127.0.0.1:{port('AMQPS')}"], capture_output=True, text=True, check=True).stdout
    return {int(pid) for pid in re.findall(r"pid=(\d+)", lines)}


def roles_of(pids, daemon):
    parent = pid_of(daemon)
    return {role for role, members in [("parent", [parent]), *children(parent).items()] if set(members) & pids}


def test_only_roles_of_the_store_reach_postgresql():
    wait_until(lambda: ready("coffre-ingest") and ready("coffre-exporter"), 60, "the daemons have the store")
    pids = connected_to_postgresql()
    assert roles_of(pids, "coffre-ingest") <= {"ledger", "roster"}, roles_of(pids, "coffre-ingest")
    assert roles_of(pids, "coffre-exporter") <= {"query", "admin"}, roles_of(pids, "coffre-exporter")
    assert roles_of(pids, "coffre-sealer") <= {"work", "announce"}, roles_of(pids, "coffre-sealer")
    assert "ledger" in roles_of(pids, "coffre-ingest") and "query" in roles_of(pids, "coffre-exporter"), "the test looked at nothing"


def test_who_parses_strangers_bytes_does_not_reach_rabbitmq():
    pids = connected_to_rabbitmq()
    found = roles_of(pids, "coffre-ingest")
    assert found <= {"relay", "deliver", "ledger", "journal"} and "relay" in found, found
    assert roles_of(pids, "coffre-exporter") <= {"journal"}


def test_who_holds_keys_has_locked_memory():
    for role in ("relay", "deliver", "ledger", "keys"):
        for pid in children(pid_of("coffre-ingest"))[role]:
            locked = int(re.search(r"^VmLck:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M)[1])
            assert locked >= 256, f"{role} has {locked} kB of locked memory"


def test_no_core_dumps_and_no_debugger():
    for daemon in ("coffre-ingest", "coffre-sealer", "coffre-exporter"):
        for role, pids in children(pid_of(daemon)).items():
            for pid in pids:
                limits = open(f"/proc/{pid}/limits").read()
                core = next(line for line in limits.splitlines() if line.startswith("Max core file size")).split()
                assert core[4] == "0", f"{daemon} {role}: core files are allowed"
                # Memory that may not be dumped belongs to root in /proc.
                assert os.stat(f"/proc/{pid}/mem").st_uid == 0, f"{daemon} {role}: its user may read its memory"


def test_secrets_are_readable_by_their_user_only():
    for path in [*(RUN / "secrets").iterdir(), *[key for key in PKI.glob("*.key") if not re.search(r"-[0-9a-f]{6,}\.key$", key.name)], RUN / "coffre.yml"]:
        assert path.stat().st_mode & 0o077 == 0, f"{path} is open to others"


def test_no_secret_on_a_command_line_or_in_an_environment():
    needles = [(RUN / "secrets/hsm-pin").read_bytes().strip(), (RUN / "secrets/hsm-so-pin").read_bytes().strip()]
    for daemon in ("coffre-ingest", "coffre-sealer", "coffre-exporter"):
        parent = pid_of(daemon)
        for pid in [parent, *sum(children(parent).values(), [])]:
            for kind in ("cmdline", "environ"):
                content = open(f"/proc/{pid}/{kind}", "rb").read() if os.geteuid() == 0 or kind == "cmdline" else b""
                assert not any(n in content for n in needles), f"{daemon} {pid} {kind}"


run(globals())
