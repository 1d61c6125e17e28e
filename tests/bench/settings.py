"""What a run of the measurements is told by the environment, and what all parts share. bench.py names the variables."""
import os
import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = (ROOT / os.environ.get("BUILD", "build/release")).resolve()
DIR = Path(os.environ.get("BENCH_DIR", ROOT / "run-bench")).resolve()
SECONDS = float(os.environ.get("BENCH_SECONDS", "10"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
PARTS = os.environ.get("BENCH_PARTS", "deposits,held,sealed,idle,handshakes,jms").split(",")
KEEP = os.environ.get("BENCH_KEEP") == "1"
WARM_UP = max(1.0, min(5.0, SECONDS / 4))
SIZE = 1024         # bytes of an event
OPERATOR, VAULT = "4512", "1"


def note(text):
    print(f"  {text}", file=sys.stderr, flush=True)


def median(rounds, what):
    return statistics.median(what(r) for r in rounds)
