"""
Deposits by the ActiveMQ JMS client (JmsLoad.java): Coffre and ActiveMQ under the same load, alternating. Coffre in two ways, because
ActiveMQ only stores: taking events with its ledger stopped, which is the same work, and as a whole vault that also numbers,
encrypts, stores in PostgreSQL and seals meanwhile.
"""
import json
import subprocess
import sys
import time

from settings import DIR, OPERATOR, ROOT, ROUNDS, SECONDS, SIZE, VAULT, note

ALONE, WHOLE = "ledger stopped", "whole vault"
# name -> threads (a connection each), messages in a transaction (0: none)
MODES = {
    "sync sends, 1 thread": (1, 0),
    "sync sends, 8 threads": (8, 0),
    "sync sends, 64 threads": (64, 0),
    "transactions of 1, 1 thread": (1, 1),
    "transactions of 1, 8 threads": (8, 1),
    "transactions of 100, 8 threads": (8, 100),
}
TAKES = ("coffre-ingest", "coffre-ingest front", "coffre-ingest keys", "coffre-ingest relay", "rabbitmq")  # what makes an event durable
AFTER = 2           # seconds: work that goes on after the last answer counts for both
RAMP = 2            # seconds of the same mode right before it is measured
WARM_UP_MODES = ("sync sends, 8 threads", "sync sends, 64 threads", "transactions of 100, 8 threads", "sync sends, 8 threads")
PASSWORD = "coffre"  # of the development PKI's PKCS#12 files


class Client:
    """The load generator's virtual machine towards one server, for the whole run, so that it is warm."""

    def __init__(self, server, classes, jars):
        self.server = server
        self.log = open(DIR / f"jms-{server.folder.name}.log", "w")
        self.child = subprocess.Popen(
            ["java", "-Xmx512m", "-cp", f"{classes}:{jars}", "JmsLoad", f"ssl://localhost:{server.port}", str(server.folder / "pki"),
             PASSWORD, server.queue, OPERATOR, VAULT, str(SIZE)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True)

    def tell(self, order):
        try:
            self.child.stdin.write(order + "\n")
            self.child.stdin.flush()
            line = self.child.stdout.readline()
        except OSError:
            line = ""
        figures = json.loads(line) if line else {"error": "it has ended"}
        if "error" in figures:
            sys.exit(f"bench: the JMS load on {self.server.name} failed: {figures['error']}; see {self.log.name}")
        return figures

    def run(self, mode, seconds, when_ready=lambda: None):
        threads, batch = MODES[mode]
        self.tell(f"run {threads} {batch} {seconds}")
        when_ready()
        return self.tell("go")

    def close(self):
        self.child.stdin.close()
        try:
            self.child.wait(30)
        except subprocess.TimeoutExpired:
            self.child.kill()
        self.log.close()


def measured(client, mode):
    """One mode: its figures, with the processor time each of the server's processes used for a message. And all messages sent."""
    sent = client.run(mode, RAMP)["messages"]
    group, before = client.server.group(), {}
    figures = client.run(mode, SECONDS, lambda: before.update(group.cpu()))
    time.sleep(AFTER)
    figures["before"], figures["after"] = before, group.cpu()
    return figures, sent + figures["messages"], group


def account(figures, after):
    """Puts CPU by process and its sums in the place of the readings."""
    before = figures.pop("before")
    figures["cpuMicroseconds"] = {n: (after[n] - before.get(n, 0)) * 1e6 / figures["messages"] for n in after}
    figures["serverCpuMicroseconds"] = sum(figures["cpuMicroseconds"].values())
    figures["takingCpuMicroseconds"] = sum(v for n, v in figures["cpuMicroseconds"].items() if n in TAKES)
    return figures


def measure_activemq(client, mode):
    figures, _, _ = measured(client, mode)
    client.server.settle()
    return account(figures, figures.pop("after"))


def measure_alone(client, mode):
    coffre = client.server
    numbered = coffre.numbers()[0]
    with coffre.held():
        figures, sent, _ = measured(client, mode)
    coffre.settle(numbered + sent)
    return account(figures, figures.pop("after"))


def measure_whole(client, mode):
    """Processor time until everything that was sent is sealed."""
    coffre = client.server
    numbered = coffre.numbers()[0]
    figures, sent, group = measured(client, mode)
    figures["whileSendingCpuMicroseconds"] = \
        (sum(figures.pop("after").values()) - sum(figures["before"].values())) * 1e6 / figures["messages"]
    coffre.settle(numbered + sent)
    return account(figures, group.cpu())


def compiled():
    """Folder of the load generator's classes, and the class path of the JMS client."""
    classes = DIR / "jms-classes"
    jars = subprocess.run([str(ROOT / "tests/bench/activemq.sh"), "classpath"], text=True, stdout=subprocess.PIPE, check=True).stdout.strip()
    here = ROOT / "tests/bench"
    subprocess.run(["javac", "-Xlint:all", "-Werror", "-cp", jars, "-d", str(classes), str(here / "MadeEvents.java"), str(here / "JmsLoad.java")],
                   check=True)
    return classes, jars


def warm(clients):
    """ActiveMQ and the clients compile what they run often, in half a minute on two busy cores: not while it is measured."""
    for client in clients:
        for mode in WARM_UP_MODES:
            client.run(mode, SECONDS)
        client.server.settle()


def jms(coffre, activemq):
    classes, jars = compiled()
    ours, theirs = clients = Client(coffre, classes, jars), Client(activemq, classes, jars)
    ways = [(ALONE, measure_alone, ours), (activemq.name, measure_activemq, theirs), (WHOLE, measure_whole, ours)]
    rounds = {mode: {name: [] for name, _, _ in ways} for mode in MODES}
    try:
        warm(clients)
        for number in range(ROUNDS):
            for mode in MODES:
                for name, measure, client in ways if number % 2 == 0 else reversed(ways):
                    figures = measure(client, mode)
                    rounds[mode][name].append(figures)
                    note(f"round {number + 1}, JMS, {mode}, {client.server.name}{'' if client is theirs else ', ' + name}: "
                         f"{figures['perSecond']:.0f}/s, p50 {figures['p50ms']:.2f} ms, {figures['serverCpuMicroseconds']:.1f} us of server CPU, "
                         f"{figures['clientCpuMicroseconds']:.1f} us of the client's")
    finally:
        for client in clients:
            client.close()
    return rounds
