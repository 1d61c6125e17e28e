#!/usr/bin/env python3
"""make bench: the same load against Coffre and against RabbitMQ's own STOMP plugin, in one run, alternating.

Starts a vault and a RabbitMQ node of its own under BENCH_DIR (default run-bench), measures, stops them.
Variables: BENCH_SECONDS (one measurement, 10), BENCH_ROUNDS (3; medians are reported), BENCH_DIR, BUILD,
BENCH_PARTS (deposits,held,sealed,idle), BENCH_KEEP=1 (leave the servers running).
Writes BENCH_DIR/bench.json and BENCH_DIR/bench.md, and prints the latter.
"""
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

from processes import Group

ROOT = Path(__file__).resolve().parents[2]
BUILD = (ROOT / os.environ.get("BUILD", "build/release")).resolve()
DIR = Path(os.environ.get("BENCH_DIR", ROOT / "run-bench")).resolve()
SECONDS = float(os.environ.get("BENCH_SECONDS", "10"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
PARTS = os.environ.get("BENCH_PARTS", "deposits,held,sealed,idle").split(",")
WARM_UP = max(1.0, min(5.0, SECONDS / 4))
SIZE = 1024
UNANSWERED = 40000  # through to sealed: what the sensors have under way at most, so that one end does not outrun the other
LOADS = {"8 connections, window 256": (8, 256), "1 connection, one at a time": (1, 1)}


class Server:
    """What both sides have: a folder, a port, a way up and down, and processes to watch."""

    def __init__(self, name, folder, port, script, environment):
        self.name, self.folder, self.port = name, DIR / folder, port
        self.script = script
        self.environment = dict(os.environ, RUN_DIR=str(self.folder), PORT_STOMP=str(port), BUILD=str(BUILD), **environment)

    def run(self, *words, check=True):
        done = subprocess.run([str(self.script), *words], env=self.environment, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        if check and done.returncode != 0:
            sys.exit(f"bench: {self.script.name} {' '.join(words)} failed:\n{done.stdout}")
        return done.stdout

    def group(self):
        home = self.folder.resolve()
        return Group({f.name: int(f.read_text().split()[0]) for f in (home / "pid").iterdir()
                      if f.name != "epmd" and not f.name.endswith(".starting")})

    def deposit_words(self, *more):
        pki = self.folder / "pki"
        return [str(BUILD / "coffre-deposit"), "--host", "localhost", "--port", str(self.port), "--certificate",
                f"{pki}/sensor-1.pem", "--key", f"{pki}/sensor-1.key", "--ca", f"{pki}/trust.pem", "--operator", "4512",
                "--vault", "1", "--heart-beat", "0", "--size", str(SIZE), *map(str, more)]

    def load(self, *more):
        done = subprocess.run(self.deposit_words("--json", *more), text=True, stdout=subprocess.PIPE)
        try:
            figures = json.loads(done.stdout)
        except ValueError:
            figures = None
        if done.returncode != 0 or figures is None or figures["lost"] or figures["errors"]:
            sys.exit(f"bench: the load on {self.name} failed: exit {done.returncode}, {done.stdout}")
        return figures


class Coffre(Server):
    def __init__(self):
        super().__init__("Coffre", "coffre", 27463, ROOT / "deploy/instance.sh",
                         {"PORT_HTTPS": "27443", "PORT_AMQPS": "27471", "PORT_EPMD": "27470", "PORT_DIST": "27472",
                          "LOT_AGE": "5s"})
        self.extra = []

    def numbers(self):
        """Events numbered, and the last serial that is in a sealed lot."""
        text = self.run("psql", "-d", "coffre_4512_1", "-Atc",
                        "SELECT next_serial - 1, coalesce((SELECT max(last_serial) FROM lot WHERE container IS NOT NULL), 0) FROM head")
        return tuple(int(n) for n in text.strip().split("|"))

    def settle(self):
        """Waits until everything deposited is numbered and sealed."""
        before = None
        while True:
            now = self.numbers()
            if now == before and now[0] == now[1]:
                return
            before = now
            time.sleep(1)


class Peer(Server):
    def __init__(self):
        super().__init__("RabbitMQ's STOMP plugin", "peer", 27563, ROOT / "tests/bench/peer.sh",
                         {"PORT_EPMD": "27570", "PORT_DIST": "27572", "PORT_AMQPS": "27571"})
        self.extra = ["--virtual-host", "/", "--destination", "/amq/queue/bench", "--header", "persistent:true"]

    def settle(self):
        self.run("purge")


def measure(server, connections, window):
    """One load; processor time is everything the server's processes use from the first event until it has settled."""
    group = server.group()
    before = group.cpu()
    figures = server.load("--connections", connections, "--window", window, "--duration", SECONDS, "--warm-up", WARM_UP,
                          *server.extra)
    during = group.cpu()
    if isinstance(server, Coffre):
        server.settle()
    after = group.cpu()
    events = figures["confirmed"]
    figures["cpuMicroseconds"] = {name: (after[name] - before.get(name, 0)) * 1e6 / events for name in after}
    figures["cpuMicrosecondsSum"] = sum(figures["cpuMicroseconds"].values())
    figures["cpuMicrosecondsWhileSending"] = (sum(during.values()) - sum(before.values())) * 1e6 / events
    figures["memory"] = group.memory()
    if isinstance(server, Peer):
        server.settle()
    return figures


def deposits(coffre, peer):
    rounds = {load: {s.name: [] for s in (coffre, peer)} for load in LOADS}
    for number in range(ROUNDS):
        for load, (connections, window) in LOADS.items():
            for server in (coffre, peer) if number % 2 == 0 else (peer, coffre):
                figures = measure(server, connections, window)
                rounds[load][server.name].append(figures)
                note(f"round {number + 1}, {load}, {server.name}: {figures['confirmedPerSecond']:.0f}/s, "
                     f"p50 {figures['p50ms']:.2f} ms, {figures['cpuMicrosecondsSum']:.1f} us of server CPU an event")
    return rounds


def held(coffre):
    """
    Deposits alone: the ledger is stopped meanwhile, as nobody consumes at RabbitMQ's either. Short, because what is
    not taken fills the queue.
    """
    runs = []
    for number in range(ROUNDS):
        roles = [pid for pid, name in coffre.group().members().items() if name in ("coffre-ingest ledger", "coffre-ingest inspect")]
        for pid in roles:
            os.kill(pid, signal.SIGSTOP)
        try:
            figures = coffre.load("--connections", 8, "--window", 256, "--duration", min(5, SECONDS), "--warm-up", 1)
        finally:
            for pid in roles:
                os.kill(pid, signal.SIGCONT)
        runs.append(figures)
        note(f"ledger held, run {number + 1}: {figures['confirmedPerSecond']:.0f}/s, p50 {figures['p50ms']:.2f} ms")
        coffre.settle()
    return runs


def sealed(coffre):
    """Deposits as fast as they are answered, followed until the last one's lot is sealed."""
    runs = []
    coffre.load("--generate", 1, "--follow", "archived", "--timeout", 600)  # takes away what nobody has followed so far
    for number in range(max(1, ROUNDS - 1)):
        group = coffre.group()
        before = group.cpu()
        figures = coffre.load("--connections", 8, "--window", 256, "--duration", max(20, SECONDS), "--follow", "archived",
                              "--unanswered", UNANSWERED, "--timeout", 600)
        after = group.cpu()
        figures["cpuMicroseconds"] = {n: (after[n] - before.get(n, 0)) * 1e6 / figures["confirmed"] for n in after}
        figures["memory"] = group.memory()
        runs.append(figures)
        note(f"through to sealed, run {number + 1}: {figures['confirmedPerSecond']:.0f}/s deposited, "
             f"{figures['sealed']['perSecondWhileSending']:.0f}/s sealed while sending, "
             f"{figures['sealed']['perSecondSustained']:.0f}/s sustained")
    return runs


def idle(server):
    """Memory with 1,000 connections that do nothing."""
    before = server.group().memory()
    child = subprocess.Popen(server.deposit_words("--idle", 1000, "--retry", 120, *server.extra[:2]), text=True,
                             stdout=subprocess.PIPE)
    line = child.stdout.readline()
    time.sleep(2)
    after = server.group().memory()
    child.send_signal(signal.SIGINT)
    child.wait()
    if "1000 connections" not in line:
        sys.exit(f"bench: 1,000 idle connections could not be held towards {server.name}")
    note(f"1,000 idle connections, {server.name}: " + ", ".join(f"{n} {m:.0f} MB" for n, m in after.items()))
    return {"before": before, "with1000": after}


def note(text):
    print(f"  {text}", file=sys.stderr, flush=True)


def median(rounds, what):
    return statistics.median(what(r) for r in rounds)


def table_deposits(rounds, coffre, peer):
    lines = ["| load | | Coffre | RabbitMQ's STOMP plugin | Coffre / RabbitMQ |", "|---|---|---|---|---|"]
    rows = [("confirmed per second", lambda r: r["confirmedPerSecond"], "{:,.0f}"),
            ("receipt after, p50 ms", lambda r: r["p50ms"], "{:.2f}"), ("p99 ms", lambda r: r["p99ms"], "{:.2f}"),
            ("server CPU an event, us: all processes, until settled", lambda r: r["cpuMicrosecondsSum"], "{:.1f}"),
            ("generator's own CPU an event, us", lambda r: r["ownCpuMicroseconds"], "{:.1f}")]
    for load in LOADS:
        for label, what, form in rows:
            ours, theirs = median(rounds[load][coffre.name], what), median(rounds[load][peer.name], what)
            lines.append(f"| {load} | {label} | {form.format(ours)} | {form.format(theirs)} | {ours / theirs:.2f} |")
    return lines


def table_cpu(runs, title):
    names = sorted({n for r in runs for n in r["cpuMicroseconds"]},
                   key=lambda n: -median(runs, lambda r: r["cpuMicroseconds"].get(n, 0)))
    lines = [f"| {title} | us an event |", "|---|---|"]
    for name in names:
        value = median(runs, lambda r: r["cpuMicroseconds"].get(name, 0))
        if value >= 0.05:
            lines.append(f"| {name} | {value:.1f} |")
    return lines


def report(result, coffre, peer):
    lines = [f"Coffre {result['version']}; {os.cpu_count()} cores; load generator on the same machine; events of {SIZE} bytes over TLS with "
             f"client certificates; {ROUNDS} rounds of {SECONDS:.0f} s, alternating, medians.", ""]
    if "deposits" in result:
        lines += table_deposits(result["deposits"], coffre, peer) + [""]
        lines += ["Coffre numbers, encrypts, stores and seals meanwhile; nobody consumes at RabbitMQ's.", ""]
        lines += table_cpu(result["deposits"][next(iter(LOADS))][coffre.name], "Coffre under 8 x 256: process") + [""]
    if "held" in result:
        ours = median(result["held"], lambda r: r["confirmedPerSecond"])
        lines += [f"Deposits alone, 8 connections, window 256, Coffre's ledger stopped meanwhile: {ours:,.0f}/s.", ""]
    if "sealed" in result:
        runs = result["sealed"]
        lines += ["| through to sealed | events a second |", "|---|---|",
                  f"| deposited | {median(runs, lambda r: r['confirmedPerSecond']):,.0f} |",
                  f"| sealed, while deposits go on | {median(runs, lambda r: r['sealed']['perSecondWhileSending']):,.0f} |",
                  f"| sustained: all lots but the last, until they are sealed | {median(runs, lambda r: r['sealed']['perSecondSustained']):,.0f} |",
                  f"| all of them, until the last lot's seal | {median(runs, lambda r: r['sealed']['perSecondUntilAllSealed']):,.0f} |", ""]
        lines += table_cpu(runs, "through to sealed: process") + [""]
    if "idle" in result:
        for name, m in result["idle"].items():
            lines += [f"| {name}: resident memory, MB | before | with 1,000 idle connections |", "|---|---|---|"]
            lines += [f"| {n} | {m['before'].get(n, 0):.1f} | {v:.1f} |" for n, v in m["with1000"].items()] + [""]
    return "\n".join(lines)


def main():
    DIR.mkdir(parents=True, exist_ok=True)
    coffre, peer = Coffre(), Peer()
    version = subprocess.run([str(BUILD / "coffre-deposit"), "--version"], text=True, stdout=subprocess.PIPE, check=True)
    result = {"version": version.stdout.split()[-1], "seconds": SECONDS, "rounds": ROUNDS, "size": SIZE}
    try:
        note("starting a vault and a RabbitMQ with its STOMP plugin")
        coffre.run("up")
        peer.run("up")
        if "deposits" in PARTS:
            result["deposits"] = deposits(coffre, peer)
        if "held" in PARTS:
            result["held"] = held(coffre)
        if "sealed" in PARTS:
            result["sealed"] = sealed(coffre)
        if "idle" in PARTS:
            result["idle"] = {s.name: idle(s) for s in (coffre, peer)}
    finally:
        if os.environ.get("BENCH_KEEP") != "1":
            coffre.run("down", check=False)
            peer.run("down", check=False)
    text = report(result, coffre, peer)
    (DIR / "bench.json").write_text(json.dumps(result, indent=1) + "\n")
    (DIR / "bench.md").write_text(text + "\n")
    print(text)
    note(f"also in {DIR}/bench.md and bench.json")


main()
