#!/usr/bin/env python3
"""make bench: the same load against Coffre and against the brokers it is compared with, in one run, alternating: RabbitMQ's own
STOMP plugin under STOMP, ActiveMQ under JMS, both under TLS handshakes.

Starts a vault and its own instances of both under BENCH_DIR (default run-bench), measures, stops them.
Variables: BENCH_SECONDS (one measurement, 10), BENCH_ROUNDS (3; medians are reported), BENCH_DIR, BUILD,
BENCH_PARTS (deposits,held,sealed,idle,handshakes,jms; handshakes: full TLS 1.2 and 1.3 handshakes a second with client certificates, RSA-3072 and
P-256 on both sides, and the server's processor time for each), BENCH_SCHEMAS (off; record: events are compared with schemas), BENCH_KEEP=1 (leave
the servers running).
Writes BENCH_DIR/bench.json and BENCH_DIR/bench.md, and prints the latter.
"""
import json
import os
import subprocess

import deposits
import handshakes
import jms
import jms_report
from servers import ActiveMq, Coffre, Peer
from settings import BUILD, DIR, KEEP, PARTS, ROUNDS, SECONDS, SIZE, note

PEER_PARTS = {"deposits", "idle", "handshakes"}


def measure(result, coffre, peer, activemq):
    if "deposits" in PARTS:
        result["deposits"] = deposits.deposits(coffre, peer)
    if "held" in PARTS:
        result["held"] = deposits.held(coffre)
    if "sealed" in PARTS:
        result["sealed"] = deposits.sealed(coffre)
    if "idle" in PARTS:
        result["idle"] = {s.name: deposits.idle(s) for s in (coffre, peer)}
    if "handshakes" in PARTS:
        activemq.run("up")
        result["handshakes"] = handshakes.handshakes(coffre, peer, activemq)
    if "jms" in PARTS:
        if not KEEP:
            peer.run("down", check=False)  # even idle it uses some of the cores
        activemq.run("up")
        result["jms"] = jms.jms(coffre, activemq)


def report(result, coffre, peer, activemq):
    lines = [f"Coffre {result['version']}; {os.cpu_count()} cores; load generator on the same machine; events of {SIZE} bytes over TLS with "
             f"client certificates; {ROUNDS} rounds of {SECONDS:.0f} s, alternating, medians.", ""]
    lines += deposits.report(result, coffre, peer)
    if "handshakes" in result:
        lines += handshakes.report(result["handshakes"], (coffre, peer, activemq)) + [""]
    if "jms" in result:
        lines += jms_report.report(result["jms"], activemq)
    return "\n".join(lines)


def main():
    DIR.mkdir(parents=True, exist_ok=True)
    coffre, peer, activemq = servers = Coffre(), Peer(), ActiveMq()
    version = subprocess.run([str(BUILD / "coffre-deposit"), "--version"], text=True, stdout=subprocess.PIPE, check=True)
    result = {"version": version.stdout.split()[-1], "seconds": SECONDS, "rounds": ROUNDS, "size": SIZE}
    try:
        note("starting a vault, and RabbitMQ with its STOMP plugin if it is asked for")
        coffre.run("up")
        if PEER_PARTS & set(PARTS):
            peer.run("up")
        measure(result, *servers)
    finally:
        if not KEEP:
            for server in servers:
                server.run("down", check=False)
    text = report(result, *servers)
    (DIR / "bench.json").write_text(json.dumps(result, indent=1) + "\n")
    (DIR / "bench.md").write_text(text + "\n")
    print(text)
    note(f"also in {DIR}/bench.md and bench.json")


main()
