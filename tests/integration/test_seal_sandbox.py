#!/usr/bin/python3
"""The two roles in which the HSM's library lives, taken over: with sealer.module_paths they reach the library's files, their own, and no others, and without sealer.module_network no socket. The roles
are made to execute system calls, from outside (coffre-test-inject). Where the library's files are not said, the status says that it may open any. Needs root, for ptrace.
"""
import os
import shutil
import sys

sys.path[:0] = [os.path.dirname(__file__), os.path.join(os.path.dirname(__file__), "../sandbox")]
import bpf
from another import *
from coffre import *
from inject import INJECT, inject
from pki_servers import *

AT_FDCWD = -100
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL
DONE, REFUSED = "done", f"refused {os.strerror(13)}"
ROLES = ("seal", "stamp")
READS = {"pin": RUN / "secrets/hsm-pin", "authority": PKI / "regulator-ca.pem", "certificate": RUN / "certificates/seal.pem", "memory": RUN / "state/seal/seal-memory",
         "library's settings": RUN / "softhsm/softhsm2.conf"}
OTHERS = {"configuration": RUN / "coffre.yml", "deposits' key": RUN / "keys/dedup/dedup.key", "packs' key": RUN / "keys/pack/pack.key", "broker key": RUN / "keys/coffre-sealer/coffre-sealer.key",
          "server key": RUN / "keys/exporter/exporter.key", "users": "/etc/passwd", "shadow": "/etc/shadow", "processes": "/proc/1/cmdline", "log": LOG / "coffre-sealer.log"}


def role(name, parent=None):
    return children(parent or pid_of("coffre-sealer"))[name][0]


def opening(path, flags=0):
    return ("openat", AT_FDCWD, f"s:{path}", flags, "0600")


def test_they_read_what_they_need_and_nothing_else():
    for name in ROLES:
        for what, path in READS.items():
            assert inject(role(name), opening(path)) == DONE, (name, what)
        for what, path in OTHERS.items():
            assert inject(role(name), opening(path)) == REFUSED, (name, what)


def test_they_write_beside_the_memory_and_in_the_token_and_nowhere_else():
    tokens = RUN / "softhsm/tokens"
    for name in ROLES:
        for folder, said in ((RUN / "state/seal", DONE), (RUN / "state", REFUSED), (tokens, DONE), (RUN / "softhsm", REFUSED), (RUN / "certificates", REFUSED), (PKI, REFUSED), (RUN, REFUSED), (RUN / "secrets", REFUSED),
                             (LOG, REFUSED), ("/tmp", REFUSED), ("/dev/shm", REFUSED)):
            path = pathlib.Path(folder) / unique("intrus")
            assert inject(role(name), opening(path, CREATE)) == said, (name, folder)
            path.unlink(missing_ok=True)
        for what, path in (("pin", READS["pin"]), ("certificate", READS["certificate"]), ("configuration", OTHERS["configuration"])):
            assert inject(role(name), opening(path, os.O_WRONLY)) == REFUSED, (name, what)


def test_they_have_no_socket():
    for name in ROLES:
        filters = bpf.load(INJECT, role(name))
        for call in (("socket", 1, 1), ("socket", 2, 1), ("socket", 10, 1), ("socket", 2, 2), ("connect",)):
            # The library writes to syslog when it is unhappy: that fails, and is no reason to die.
            assert bpf.verdict(filters, *call) == "refused EACCES", (name, call)
        for call in (("bind",), ("listen",), ("accept4",), ("sendmmsg",), ("socket", 16, 3), ("execve",), ("ptrace",), ("fork",)):
            assert bpf.verdict(filters, *call) in ("killed", "refused EACCES"), (name, call)
            assert call[0] == "socket" or bpf.verdict(filters, *call) == "killed", (name, call)
        assert inject(role(name), ("socket", 2, 1, 0)) == REFUSED


def test_so_confined_they_seal_and_see_a_token_go_and_come():
    tokens = RUN / "softhsm/tokens"
    aside = tokens.with_name("tokens-aside")
    pids = [role(name) for name in ROLES]
    mark = daemon_log("coffre-sealer")
    tokens.rename(aside)
    try:
        mark.says("hsm-away", "role=seal")
        mark.says("hsm-away", "role=stamp")
    finally:
        aside.rename(tokens)
    mark.says("hsm-open", "role=seal")
    mark.says("hsm-open", "role=stamp")
    wait_until(lambda: ready("coffre-sealer"), SOON, "the sealer is ready")
    assert [role(name) for name in ROLES] == pids, "none was killed"
    # Folders are allowed by what they are, not by their names: the same token in another place is out of reach until the roles start again.


def test_files_out_of_reach_are_refused_at_a_reload():
    """A certificate somewhere else would need a start."""
    config, place = RUN / "coffre.yml", RUN / unique("ailleurs")
    kept = config.read_bytes()
    place.mkdir()
    os.chown(place, OWNER.st_uid, OWNER.st_gid)
    shutil.copy(RUN / "certificates/seal.pem", place / "seal.pem")
    mark = daemon_log("coffre-sealer")
    try:
        config.write_bytes(kept.replace(b"certificates/seal.pem", f"{place}/seal.pem".encode()))
        mark.says("reload-refused", "role=seal", f"{place}/seal.pem", "restart the daemon")
    finally:
        config.write_bytes(kept)
        os.kill(pid_of("coffre-sealer"), 1)
        shutil.rmtree(place)
    wait_until(lambda: "refused" not in (RUN / "state/coffre-sealer.status").read_text(), SOON, "what was there before is in force")


class Standby:
    """A second sealer with settings of its own; it stands by, its HSM roles open the token."""

    def __init__(self, **changed):
        self.config, self.state = RUN / f"coffre-standby-{os.getpid()}.yml", RUN / f"state-standby-{os.getpid()}"
        flat = settings("coffre-sealer")
        for key, value in {"state_dir": str(self.state), **{key.replace("__", "."): value for key, value in changed.items()}}.items():
            if value is None:
                flat.pop(key, None)
            else:
                flat[key] = json.dumps(value)
        self.config.write_text(written(flat))
        os.chown(self.config, OWNER.st_uid, OWNER.st_gid)

    def status(self):
        path = self.state / "coffre-sealer.status"
        return path.read_text() if path.exists() else ""

    def __enter__(self):
        environment = {"PATH": os.environ["PATH"], "HOME": str(RUN), "SOFTHSM2_CONF": str(RUN / "softhsm/softhsm2.conf")}
        self.process = subprocess.Popen([BIN / "coffre-sealer", "--config", self.config], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=RUN, env=environment,
                                        **as_owner())
        wait_until(lambda: all(re.search(rf"(?m)^role {name} 0 pid \d+ ready", self.status()) for name in ROLES), SOON, lambda: f"both roles are ready: {self.status()}")
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(60)
        self.config.unlink()
        shutil.rmtree(self.state, ignore_errors=True)


def test_a_library_whose_files_are_not_said_is_not_confined_and_the_status_says_so():
    assert "may open any file" not in (RUN / "state/coffre-sealer.status").read_text()
    with Standby(sealer__module_paths=None, sealer__module_network=True) as beside:
        for name in ROLES:
            assert re.search(rf"(?m)^role {name} .*may open any file \(sealer.module_paths is empty\)", beside.status()), beside.status()
            pid = role(name, beside.process.pid)
            assert inject(pid, opening("/etc/passwd")) == DONE
            assert inject(pid, ("socket", 2, 1, 0)) == DONE
            # What no library needs stays out of reach.
            filters = bpf.load(INJECT, pid)
            assert all(bpf.verdict(filters, *call) == "killed" for call in (("execve",), ("ptrace",), ("bind",), ("kill",), ("fork",)))


def test_files_said_and_a_network_of_its_own():
    with Standby(sealer__module_network=True) as beside:
        for name in ROLES:
            pid = role(name, beside.process.pid)
            assert inject(pid, opening("/etc/passwd")) == REFUSED
            assert inject(pid, ("socket", 2, 1, 0)) == DONE


def test_the_vault_goes_on():
    wait_until(lambda: ready("coffre-sealer"), SOON, "the sealer is ready")
    deposit("--quiet", "--follow", "archived", "--client-id-prefix", unique("sab"), ROOT / "deploy/samples")
    check_numbers()


if __name__ == "__main__":
    run(globals())
