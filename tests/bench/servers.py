"""The servers that are compared: each with a folder, a port, a way up and down, and processes to watch."""
import contextlib
import json
import os
import signal
import subprocess
import sys
import time

from processes import Group
from settings import BUILD, DIR, OPERATOR, ROOT, SIZE, VAULT

PATIENCE = 600  # seconds without an event numbered or sealed: something is broken


class Server:
    def __init__(self, name, folder, port, script, environment):
        self.name, self.folder, self.port = name, DIR / folder, port
        self.script = script
        self.environment = dict(os.environ, RUN_DIR=str(self.folder), BUILD=str(BUILD), **environment)

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


class StompServer(Server):
    """One that coffre-deposit can load; self.extra is what it needs to be told for that."""

    def deposit_words(self, *more):
        pki = self.folder / "pki"
        return [str(BUILD / "coffre-deposit"), "--host", "localhost", "--port", str(self.port), "--certificate",
                f"{pki}/sensor-1.pem", "--key", f"{pki}/sensor-1.key", "--ca", f"{pki}/trust.pem", "--operator", OPERATOR,
                "--vault", VAULT, "--heart-beat", "0", "--size", str(SIZE), *map(str, more)]

    def load(self, *more):
        done = subprocess.run(self.deposit_words("--json", *more), text=True, stdout=subprocess.PIPE)
        try:
            figures = json.loads(done.stdout)
        except ValueError:
            figures = None
        if done.returncode != 0 or figures is None or figures["lost"] or figures["errors"]:
            sys.exit(f"bench: the load on {self.name} failed: exit {done.returncode}, {done.stdout}")
        return figures


class Coffre(StompServer):
    queue = f"Event.{VAULT}.In"
    extra = []

    def __init__(self):
        super().__init__("Coffre", "coffre", 27463, ROOT / "deploy/instance.sh",
                         {"PORT_STOMP": "27463", "PORT_HTTPS": "27443", "PORT_AMQPS": "27471", "PORT_EPMD": "27470",
                          "PORT_DIST": "27472", "LOT_AGE": "5s",
                          "SCHEMA_POLICY": os.environ.get("BENCH_SCHEMAS", "off"), "SCHEMA_UNKNOWN": os.environ.get("BENCH_SCHEMAS", "off")})

    def numbers(self):
        """Events numbered, and the last serial that is in a sealed lot."""
        text = self.run("psql", "-d", f"coffre_{OPERATOR}_{VAULT}", "-Atc",
                        "SELECT next_serial - 1, coalesce((SELECT max(last_serial) FROM lot WHERE container IS NOT NULL), 0) FROM head")
        return tuple(int(n) for n in text.strip().split("|"))

    def settle(self, least=0):
        """Waits until everything deposited is numbered and sealed; at least up to this serial number."""
        before, changed = None, time.monotonic()
        while True:
            now = self.numbers()
            if now == before and now[0] == now[1] and now[0] >= least:
                return
            if now != before:
                before, changed = now, time.monotonic()
            elif time.monotonic() > changed + PATIENCE:
                sys.exit(f"bench: {now[0]} events are numbered and {now[1]} sealed, {least} are expected, and nothing moves")
            time.sleep(1)

    @contextlib.contextmanager
    def held(self):
        """Within it the vault only takes events: its ledger is stopped. Short, because what is not taken fills the queue."""
        roles = [pid for pid, name in self.group().members().items() if name in ("coffre-ingest ledger", "coffre-ingest inspect")]
        for pid in roles:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in roles:
                os.kill(pid, signal.SIGCONT)


class Peer(StompServer):
    extra = ["--virtual-host", "/", "--destination", "/amq/queue/bench", "--header", "persistent:true"]

    def __init__(self):
        super().__init__("RabbitMQ's STOMP plugin", "peer", 27563, ROOT / "tests/bench/peer.sh",
                         {"PORT_STOMP": "27563", "PORT_EPMD": "27570", "PORT_DIST": "27572", "PORT_AMQPS": "27571"})

    def settle(self):
        self.run("purge")


class ActiveMq(Server):
    queue = "bench"

    def __init__(self):
        super().__init__("ActiveMQ", "activemq", 27663, ROOT / "tests/bench/activemq.sh", {"PORT_OPENWIRE": "27663"})

    def settle(self):
        self.run("purge")
