"""Another daemon of the instance's vault beside the first, with settings of its own; what daemons log; what they write to the journal."""
import itertools
import json
import os
import pathlib
import re
import shutil
import signal
import ssl
import subprocess
import threading
import time
import uuid

import pika

from coffre import BIN, LOG, PKI, RUN, children, instance, port, program, wait_until
from pki_servers import OWNER, as_owner, free_port, issue

SOON = 60 # seconds: only there to end a broken run


def settings(program_name):
    """The instance's configuration, flat: {"ingest.fronts": "1"}, values as YAML; what is empty is left out."""
    text = subprocess.run([BIN / program_name, "--config", RUN / "coffre.yml", "--print-config"], capture_output=True, text=True, check=True).stdout
    found, path = {}, []
    for line in text.splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        key, _, value = re.sub(r"  # .*", "", line).strip().partition(":")
        path[depth:] = [key]
        if value.strip() not in ("", '""', "[]"):
            found[".".join(path)] = value.strip()
    return found


def written(flat):
    """Such settings as a file."""
    tree = {}
    for key, value in flat.items():
        at = tree
        *parents, last = key.split(".")
        for parent in parents:
            at = at.setdefault(parent, {})
        at[last] = value

    def lines(branch, indent=""):
        for key, value in branch.items():
            if isinstance(value, dict):
                yield f"{indent}{key}:"
                yield from lines(value, indent + "  ")
            else:
                yield f"{indent}{key}: {value}"
    return "\n".join(lines(tree)) + "\n"


numbers = itertools.count(1)


class Another:
    """`settings` are dotted keys and plain values; None takes a key away. A context: ended when the test ends."""

    def __init__(self, program_name, changed=None, name=None):
        self.program = program_name
        self.part = program_name.partition("-")[2]
        self.name = f"{name or 'another'}-{self.part}-{os.getpid()}-{next(numbers)}"
        self.port = free_port()
        self.config, self.state, self.log = RUN / f"coffre-{self.name}.yml", RUN / f"state-{self.name}", LOG / f"coffre-{self.name}.log"
        self.flat = settings(program_name)
        self.change({"state_dir": str(self.state), f"{self.part}.listen": [f"127.0.0.1:{self.port}"], **(changed or {})})

    def change(self, changed):
        for key, value in changed.items():
            if value is None:
                self.flat.pop(key, None)
            else:
                self.flat[key] = json.dumps(value)
        new = self.config.with_suffix(".new")
        new.write_text(written(self.flat))
        os.chown(new, OWNER.st_uid, OWNER.st_gid)
        new.rename(self.config)

    def __enter__(self):
        shutil.rmtree(self.state, ignore_errors=True)
        return self.start()

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([BIN / self.program, "--config", self.config], stderr=log, stdout=log, stdin=subprocess.DEVNULL, cwd=RUN,
                                            **as_owner())
        wait_until(self.front_ready, SOON, f"{self.name} serves")
        return self

    def front_ready(self):
        assert self.process.poll() is None, f"{self.name} ended: {self.log.read_text(errors='replace')[-2000:]}"
        try:
            return bool(re.search(r"(?m)^role front 0 pid \d+ ready\b", self.status()))
        except FileNotFoundError:
            return False

    def status(self):
        return (self.state / f"{self.program}.status").read_text()

    def metric(self, name):
        """Of the first role that tells it; None as long as nobody does: metrics are there from the first second on."""
        file = self.state / f"{self.program}.prom"
        found = re.search(rf"(?m)^{name}\{{[^}}]*\}} (\d+)$", file.read_text() if file.exists() else "")
        return int(found.group(1)) if found else None

    def role(self, name):
        """Its process; None while it is being started again."""
        return children(self.process.pid).get(name, [None])[0]

    def reload(self, changed=None):
        if changed:
            self.change(changed)
        self.process.send_signal(signal.SIGHUP)

    def mark(self):
        return Mark(self.log)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.state, ignore_errors=True)
        self.config.unlink(missing_ok=True)


def ingest(**changed):
    return Another("coffre-ingest", keys(changed))


def exporter(**changed):
    return Another("coffre-exporter", keys(changed))


def keys(changed):
    """revocation__max_stale as revocation.max_stale."""
    return {key.replace("__", "."): value for key, value in changed.items()}


class Mark:
    """What a log says from now on."""

    def __init__(self, log):
        self.log = log
        self.at = log.stat().st_size if log.exists() else 0

    def text(self):
        with open(self.log, "rb") as log:
            log.seek(self.at)
            return log.read().decode(errors="replace")

    def says(self, *words, seconds=SOON):
        """Waits for a line with all of these (regular expressions); the line."""
        def found():
            return next((line for line in self.text().splitlines() if all(re.search(word, line) for word in words)), None)
        return wait_until(found, seconds, lambda: f"{self.log.name} says {words}; it says:\n{self.text()[-3000:]}")

    def count(self, word):
        return len(re.findall(word, self.text()))


def daemon_log(name):
    return Mark(LOG / f"{name}.log")


# ---- the journal ---------------------------------------------------------------------------------------

LISTENER = "test-journal" # a user of the broker that only tests make: it reads what is published to the journal, and nothing that waits in it


def listener():
    """A connection to the broker as LISTENER, who is made when he is not there."""
    if not (PKI / f"{LISTENER}.pem").exists():
        try:
            issue(LISTENER, ca="internal-ca", subject=f"/C=FR/O=Essais/OU=Essais/CN={LISTENER}")
        except AssertionError:
            if not (PKI / f"{LISTENER}.pem").exists(): # another test was faster
                raise
    context = ssl.create_default_context(cafile=str(PKI / "internal-ca.pem"))
    context.load_cert_chain(PKI / f"{LISTENER}.pem", PKI / f"{LISTENER}.key")
    parameters = pika.ConnectionParameters(host="localhost", port=port("AMQPS"), virtual_host="coffre", ssl_options=pika.SSLOptions(context, "localhost"),
                                           credentials=pika.credentials.ExternalCredentials())
    try:
        return pika.BlockingConnection(parameters)
    except pika.exceptions.AMQPConnectionError:
        definitions = RUN / f"rabbitmq/{LISTENER}.json"
        definitions.write_text(json.dumps({
            "users": [{"name": LISTENER, "password_hash": "", "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": "", "limits": {}}],
            "permissions": [{"user": LISTENER, "vhost": "coffre", "configure": "^test-", "write": "^test-", "read": r"^(test-.*|journal\.in)$"}]}))
        os.chown(definitions, OWNER.st_uid, OWNER.st_gid)
        instance("rabbitmqctl", "-q", "import_definitions", definitions)
        return pika.BlockingConnection(parameters)


class Journal:
    """Records published to the journal from now on, by all daemons: copies, in a queue of its own that goes with it. Nobody else misses any."""

    def __init__(self):
        self.since = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
        self.records, self.lines, self.lock, self.ending = [], set(), threading.Lock(), False
        self.connection = listener()
        self.channel = self.connection.channel()
        self.queue = f"test-journal-{uuid.uuid4().hex}"
        self.channel.queue_declare(self.queue, exclusive=True)
        self.channel.queue_bind(self.queue, "journal.in")
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for method, _, body in self.channel.consume(self.queue, auto_ack=True, inactivity_timeout=0.2):
            if self.ending:
                break
            if method:
                fresh = [line for line in body.splitlines() if line and line not in self.lines] # one that was published twice, its confirmation being lost, is one
                self.lines.update(fresh)
                records = [json.loads(line) for line in fresh]
                with self.lock:
                    self.records += [record for record in records if record["at"] >= self.since] # not what had waited for the broker
        self.connection.close()

    def find(self, event, **fields):
        with self.lock:
            return [record for record in self.records if record["event"] == event
                    and all(re.search(want, str(record["fields"].get(name, ""))) for name, want in fields.items())]

    def wait(self, event, seconds=SOON, **fields):
        """The first such record (fields: regular expressions)."""
        return wait_until(lambda: self.find(event, **fields), seconds,
                          lambda: f"a journal record {event} with {fields}; last: {[r for r in self.records if r['event'] == event][-3:]}")[0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ending = True
        self.thread.join(30)


# ---- roles -----------------------------------------------------------------------------------------------

OWNER_DATABASE = f"host={RUN}/postgresql/socket user=postgres"


def ceremony(*words, check=True):
    return program("coffre-ceremony", *words, "--config", RUN / "coffre.yml", "--database", OWNER_DATABASE, "--yes", check=check)


def bind(name, profile="depositor"):
    ceremony("bind", "--profile", profile, "--certificate", PKI / f"{name}.pem")
    return name


def unbind(name, profile="depositor"):
    ceremony("revoke", "--profile", profile, "--certificate", PKI / f"{name}.pem")
