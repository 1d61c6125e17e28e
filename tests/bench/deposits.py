"""Deposits by STOMP: measurements of Coffre and of RabbitMQ's own STOMP plugin under coffre-deposit's load, and their tables."""
import signal
import subprocess
import sys
import time

from servers import Coffre, Peer
from settings import ROUNDS, SECONDS, WARM_UP, median, note

UNANSWERED = 40000  # through to sealed: what the sensors have under way at most, so that one end does not outrun the other
LOADS = {"8 connections, window 256": (8, 256), "1 connection, one at a time": (1, 1)}


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
    """Deposits alone: the ledger is stopped meanwhile, as nobody consumes at RabbitMQ's either."""
    runs = []
    for number in range(ROUNDS):
        numbered = coffre.numbers()[0]
        with coffre.held():
            figures = coffre.load("--connections", 8, "--window", 256, "--duration", min(5, SECONDS), "--warm-up", 1)
        runs.append(figures)
        note(f"ledger held, run {number + 1}: {figures['confirmedPerSecond']:.0f}/s, p50 {figures['p50ms']:.2f} ms")
        coffre.settle(numbered + figures["confirmed"])
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


def table_sealed(runs):
    return ["| through to sealed | events a second |", "|---|---|",
            f"| deposited | {median(runs, lambda r: r['confirmedPerSecond']):,.0f} |",
            f"| sealed, while deposits go on | {median(runs, lambda r: r['sealed']['perSecondWhileSending']):,.0f} |",
            f"| sustained: all lots but the last, until they are sealed | {median(runs, lambda r: r['sealed']['perSecondSustained']):,.0f} |",
            f"| all of them, until the last lot's seal | {median(runs, lambda r: r['sealed']['perSecondUntilAllSealed']):,.0f} |", "",
            *table_cpu(runs, "through to sealed: process")]


def table_idle(name, memory):
    lines = [f"| {name}: resident memory, MB | before | with 1,000 idle connections |", "|---|---|---|"]
    return lines + [f"| {n} | {memory['before'].get(n, 0):.1f} | {v:.1f} |" for n, v in memory["with1000"].items()]


def report(result, coffre, peer):
    lines = []
    if "deposits" in result:
        lines += table_deposits(result["deposits"], coffre, peer) + [""]
        lines += ["Coffre numbers, encrypts, stores and seals meanwhile; nobody consumes at RabbitMQ's.", ""]
        lines += table_cpu(result["deposits"][next(iter(LOADS))][coffre.name], "Coffre under 8 x 256: process") + [""]
    if "held" in result:
        ours = median(result["held"], lambda r: r["confirmedPerSecond"])
        lines += [f"Deposits alone, 8 connections, window 256, Coffre's ledger stopped meanwhile: {ours:,.0f}/s.", ""]
    if "sealed" in result:
        lines += table_sealed(result["sealed"]) + [""]
    for name, memory in result.get("idle", {}).items():
        lines += table_idle(name, memory) + [""]
    return lines
