"""coffre-test-inject: a running process is made to execute system calls."""
import os
import pathlib
import subprocess

from coffre import ROOT

INJECT = pathlib.Path(os.environ.get("COFFRE_BUILD", ROOT / "build/release")) / "coffre-test-inject"


def inject(pid, *calls):
    """What became of the last call: "killed", "refused NAME" or "done"."""
    words = []
    for call in calls:
        words += ["--"] * bool(words) + [str(word) for word in call]
    done = subprocess.run([INJECT, str(pid), *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{calls}: {done.stderr}"
    word, number = done.stdout.splitlines()[-1].split()
    if word == "killed":
        assert int(number) == 31, f"{calls}: killed by signal {number}, not SIGSYS"
        return "killed"
    return "done" if word == "done" else f"refused {os.strerror(int(number))}"
