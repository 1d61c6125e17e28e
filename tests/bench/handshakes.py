"""Full TLS handshakes with client certificates: Coffre's messaging port, RabbitMQ's STOMP plugin and ActiveMQ, each with RSA-3072 and P-256 keys on both sides."""
import json
import os
import shutil
import subprocess
import sys

from servers import ActiveMq, Coffre
from settings import BUILD, ROOT, ROUNDS, SECONDS, WARM_UP, median, note

KEYS = {"RSA-3072": "rsa", "P-256": "ec"}
VERSIONS = ("1.3", "1.2")
CONNECTIONS = 16 # at a time
BEGINNING = 8    # seconds of each version after a start, before anything is measured: a virtual machine compiles what it does often
SERVER = ["keyUsage=critical,digitalSignature,keyEncipherment", "extendedKeyUsage=serverAuth", "subjectAltName=DNS:localhost,IP:127.0.0.1"]


def prepare(server):
    """Certificates of both kinds, with the subjects that the server's own and its sensor's have."""
    folder = server.folder / "pki"
    for kind in KEYS.values():
        for name, subject, extensions in (("ingest", "OU=Coffre 1/CN=ingest", SERVER), ("sensor-1", "OU=Capteurs/CN=sensor-1", [])):
            if not (folder / f"{name}-{kind}.pem").exists():
                done = subprocess.run([str(ROOT / "deploy/pki.sh"), str(folder), "issue", f"{name}-{kind}", "operator-ca", kind,
                                       f"/C=FR/O=Operateur 4512/{subject}", *extensions], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                if done.returncode != 0:
                    sys.exit(f"bench: pki.sh issue failed: {done.stdout}")


def place(server, kind):
    """The server starts again with a key of this kind: not all of them can change it otherwise."""
    for ending in ("pem", "key", "p12"):
        path = server.folder / "pki" / f"ingest.{ending}"
        owner = path.stat()
        shutil.copy(server.folder / "pki" / f"ingest-{kind}.{ending}", path)
        os.chown(path, owner.st_uid, owner.st_gid)
    if isinstance(server, Coffre):
        server.run("restart", "coffre-ingest")
    else:
        server.run("down")
        server.run("up")


def load(server, kind, version, seconds):
    folder = server.folder / "pki"
    words = [BUILD / "coffre-test-handshakes", server.port, folder / f"sensor-1-{kind}.pem", folder / f"sensor-1-{kind}.key", folder / "trust.pem", version,
             CONNECTIONS, seconds, *([] if isinstance(server, ActiveMq) else ["stomp"])] # ActiveMQ speaks first
    done = subprocess.run(list(map(str, words)), text=True, stdout=subprocess.PIPE)
    if done.returncode != 0:
        sys.exit(f"bench: handshakes with {server.name} failed")
    return json.loads(done.stdout)


def measure(server, kind, version):
    group = server.group()
    load(server, kind, version, WARM_UP)
    before = group.cpu()
    figures = load(server, kind, version, min(5, SECONDS))
    after = group.cpu()
    figures["cpuMicroseconds"] = {name: (after[name] - before.get(name, 0)) * 1e6 / figures["handshakes"] for name in after}
    figures["cpuMicrosecondsSum"] = sum(figures["cpuMicroseconds"].values())
    return figures


def handshakes(*servers):
    rounds = {}
    for server in servers:
        prepare(server)
    try:
        for label, kind in KEYS.items():
            for server in servers:
                place(server, kind)
                for version in VERSIONS:
                    load(server, kind, version, BEGINNING)
            for number in range(ROUNDS):
                for version in VERSIONS:
                    for server in servers if number % 2 == 0 else servers[::-1]:
                        figures = measure(server, kind, version)
                        rounds.setdefault(f"TLS {version}, {label}", {s.name: [] for s in servers})[server.name].append(figures)
                        note(f"round {number + 1}, TLS {version}, {label}, {server.name}: {figures['perSecond']:.0f} handshakes/s, "
                             f"{figures['cpuMicrosecondsSum']:.0f} us of server CPU each")
    finally:
        for server in servers:
            place(server, "rsa") # as other parts expect it
    return rounds


def report(rounds, servers):
    ours, *others = [s.name for s in servers]
    lines = [f"Full handshakes with client certificates, {CONNECTIONS} connections at a time, until the server's first bytes inside TLS (after STOMP's CONNECT: its "
             "answer); the client's work is on the same cores.", "",
             "| handshake | | " + " | ".join([ours, *others]) + " | " + " | ".join(f"{ours} / {name}" for name in others) + " |",
             "|---" * (3 + 2 * len(others)) + "|"]
    rows = [("per second", lambda r: r["perSecond"], "{:,.0f}"), ("p50 ms", lambda r: r["p50ms"], "{:.1f}"), ("p99 ms", lambda r: r["p99ms"], "{:.1f}"),
            ("server CPU each, us: all processes", lambda r: r["cpuMicrosecondsSum"], "{:,.0f}"), ("client CPU each, us", lambda r: r["ownCpuMicroseconds"], "{:,.0f}")]
    for load_of, by_server in rounds.items():
        for label, what, form in rows:
            values = [median(by_server[name], what) for name in (ours, *others)]
            lines.append(f"| {load_of} | {label} | " + " | ".join(form.format(v) for v in values) + " | "
                         + " | ".join(f"{values[0] / v:.2f}" if v else "" for v in values[1:]) + " |")
    names = sorted({name for by_server in rounds.values() for r in by_server[ours] for name in r["cpuMicroseconds"]})
    lines += ["", f"| {ours}: process, us each | " + " | ".join(rounds) + " |", "|---" * (len(rounds) + 1) + "|"]
    for name in names:
        values = [median(by_server[ours], lambda r: r["cpuMicroseconds"].get(name, 0)) for by_server in rounds.values()]
        if max(values) >= 5:
            lines.append(f"| {name} | " + " | ".join(f"{v:,.0f}" for v in values) + " |")
    return lines
