"""STOMP clients of other people behind one face: Debian's python3-stomp, and npm's stompit in a node process (sensor.js).

Tests say what a sensor does; which library does it, and how that library says it, is here. Messages are (headers, body bytes).
"""
import base64
import contextlib
import fcntl
import hashlib
import itertools
import json
import logging
import os
import shutil
import socket
import subprocess
import threading

import stomp
from coffre import *

logging.getLogger("stomp.py").setLevel(logging.CRITICAL) # its application hears of failures, our output need not

IN, OUT, ARCHIVE = f"/queue/Event.{VAULT}.In", f"/queue/Event.{VAULT}.Out", f"/queue/Archive.{VAULT}.Out"
VERSIONS = ("1.0", "1.1", "1.2")
HERE = pathlib.Path(__file__).resolve().parent


class Failed(Exception):
    """What the library told its application: everything it said, in one text."""


def deposit_headers(body, client_id, algorithm="SHA-256"):
    return {"destination": IN, "ClientId": client_id, "Digest": digest(body), "DigestAlgo": algorithm, "Timestamp": "1769857200000"}


class Inbox:
    """What a library's own threads hand over: (kind, content) in order, and waiting for it."""

    def __init__(self):
        self.entries, self.there = [], threading.Condition()

    def put(self, kind, content):
        with self.there:
            self.entries.append((kind, content))
            self.there.notify_all()

    def all(self, kind):
        with self.there:
            return [content for k, content in self.entries if k == kind]

    def wait(self, kinds, match=lambda content: True, seconds=60):
        """The first of this kind, or of these kinds, that matches."""
        wanted = kinds if isinstance(kinds, tuple) else (kinds,)

        def found():
            return [content for kind, content in self.entries if kind in wanted and match(content)]
        with self.there:
            assert self.there.wait_for(found, seconds), f"no {kinds} of this kind came, but {self.entries[-20:]}"
            return found()[0]


class Client:
    """What both have in common. A test leaves it with close(), or as a context manager that cuts the connection."""

    def __init__(self):
        self.inbox = Inbox()

    def deposit(self, body, client_id, transaction=None, **headers):
        """One event, with a receipt: returns when it is there."""
        self.send({**deposit_headers(body, client_id), **headers}, body, transaction)

    def messages(self):
        return self.inbox.all("message")

    def message(self, **wanted):
        """The first message with these headers."""
        return self.inbox.wait("message", lambda m: all(m[0].get(k) == v for k, v in wanted.items()))

    def answer(self, client_id):
        return self.message(ClientId=client_id)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.cut()


# ---- python3-stomp --------------------------------------------------------------------------------

class Listener(stomp.ConnectionListener):
    def __init__(self, inbox):
        self.inbox = inbox

    def on_connected(self, frame): self.inbox.put("connected", frame.headers)
    def on_receipt(self, frame): self.inbox.put("receipt", frame.headers["receipt-id"])
    def on_message(self, frame): self.inbox.put("message", (frame.headers, (frame.body or "").encode()))
    def on_error(self, frame): self.inbox.put("error", f"{frame.headers.get('message')}\n{frame.body}")
    def on_disconnected(self): self.inbox.put("disconnected", None)
    def on_receiver_loop_completed(self, frame): self.inbox.put("ended", None)
    def on_heartbeat_timeout(self): self.inbox.put("error", "heart-beat timeout")


class StompPy(Client):
    """A connection of python3-stomp."""
    name = "python3-stomp"
    shows_body = True # of an ERROR
    KINDS = {"1.0": stomp.StompConnection10, "1.1": stomp.StompConnection11, "1.2": stomp.StompConnection12}

    def __init__(self, version="1.2", who="sensor-1", beats=None, ports=None, ca="trust.pem", opening=None, **more):
        super().__init__()
        self.version = version
        hosts = [("localhost", p) for p in ports or [port("STOMP")]]
        if beats and version != "1.0":
            more["heartbeats"] = beats
        self.library = self.KINDS[version](hosts, **{"reconnect_sleep_initial": 0.05, "reconnect_attempts_max": 3 if len(hosts) > 1 else 1, **more})
        self.library.set_ssl(hosts, key_file=who and str(PKI / f"{who}.key"), cert_file=who and str(PKI / f"{who}.pem"), ca_certs=str(PKI / ca))
        self.library.set_listener("test", Listener(self.inbox))
        self.numbers = itertools.count(1)
        try:
            self.library.connect(wait=True, **(opening or {}))
        except (stomp.exception.StompException, OSError) as refused:
            raise Failed(f"{refused!r} {self.inbox.all('error')}") from refused
        self.connected = self.inbox.wait("connected")

    def settled(self, receipt):
        """Waits for this receipt, or for the refusal instead of it."""
        self.inbox.wait(("receipt", "error", "disconnected"), lambda said: said == receipt or not str(said).startswith("receipt-"))
        if receipt not in self.inbox.all("receipt"):
            self.fail()

    def fail(self):
        """The connection is no more, or ends: what was said about it."""
        self.inbox.wait("disconnected")
        raise Failed(" ".join(self.inbox.all("error")) or "disconnected")

    def call(self, method, *words, **more):
        """One of the library's, and the refusal when the connection has ended meanwhile."""
        try:
            getattr(self.library, method)(*words, **more)
        except (stomp.exception.StompException, OSError):
            self.fail()

    def receipt(self):
        return f"receipt-{next(self.numbers)}"

    def send(self, headers, body, transaction=None, receipt=True):
        """`body` is text, as an application has it, or bytes."""
        words = {k: v for k, v in headers.items() if k != "destination"}
        if transaction:
            words["transaction"] = transaction
        if receipt:
            words["receipt"] = self.receipt()
        self.call("send", headers["destination"], body, headers=words)
        if receipt:
            self.settled(words["receipt"])

    def begin(self, name):
        self.call("begin", name)

    def commit(self, name):
        receipt = self.receipt()
        self.call("commit", name, receipt=receipt)
        self.settled(receipt)

    def abort(self, name):
        receipt = self.receipt()
        self.call("abort", name, receipt=receipt)
        self.settled(receipt)

    def subscribe(self, destination=OUT, ack="client-individual", name="s", **headers):
        self.call("subscribe", destination, name, ack, headers=headers)

    def unsubscribe(self, name="s"):
        receipt = self.receipt()
        self.call("unsubscribe", id=name, headers={"receipt": receipt})
        self.settled(receipt)

    def settle(self, how, message, transaction):
        headers, receipt = message[0], self.receipt()
        name = {"1.0": [headers["message-id"]], "1.1": [headers["message-id"], headers.get("subscription")], "1.2": [headers.get("ack")]}[self.version]
        self.call(how, *name, transaction=transaction, receipt=receipt)
        self.settled(receipt)

    def ack(self, message, transaction=None):
        self.settle("ack", message, transaction)

    def nack(self, message, transaction=None):
        self.settle("nack", message, transaction)

    def close(self):
        self.call("disconnect", receipt="bye")
        self.inbox.wait("receipt", lambda receipt: receipt == "bye")
        self.inbox.wait("ended")

    def cut(self):
        """As when the machine loses power. The library's reading thread finds the end and closes: were the socket closed here, that thread could
        read once more from the descriptor's number, which is a file of ours by then."""
        connection = self.library.transport.socket
        if connection is not None:
            with contextlib.suppress(OSError): # it has just ended by itself
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
            self.inbox.wait("ended")


# ---- stompit --------------------------------------------------------------------------------------

def install():
    """Where stompit is: a build folder, filled by npm from the lock file alone. No npm, no network: the test fails and says so."""
    folder = pathlib.Path(os.environ.get("BUILD", ROOT / "build/release")).resolve() / "stompit"
    folder.mkdir(parents=True, exist_ok=True)
    lock_file = (HERE / "package-lock.json").read_bytes()
    mark = folder / "node_modules" / ("." + hashlib.sha256(lock_file).hexdigest())
    # Tests of other vaults, side by side, want the same.
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not mark.exists():
            npm(folder)
            mark.touch()
    return folder / "node_modules"


def npm(folder):
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(HERE / name, folder / name)
    words = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--no-update-notifier"]
    try:
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300)
    except (FileNotFoundError, subprocess.TimeoutExpired) as broken:
        raise AssertionError(f"stompit cannot be installed: {broken} (deploy/install-packages.sh brings npm)") from broken
    assert done.returncode == 0, f"stompit cannot be installed: {' '.join(words)} in {folder}: exit {done.returncode}\n{done.stdout}{done.stderr}"


class Node:
    """One node process for all stompit connections of a test file."""
    one = None

    @classmethod
    def get(cls):
        if cls.one is None or cls.one.process.poll() is not None:
            cls.one = cls()
        return cls.one

    def __init__(self):
        words = ["node", HERE / "sensor.js"]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
                                        env={**os.environ, "NODE_PATH": str(install())})
        self.numbers, self.ends, self.inboxes, self.writing = itertools.count(1), Inbox(), {}, threading.Lock()
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.process.stdout:
            said = json.loads(line)
            if "of" in said:
                self.ends.put(said["of"], said)
                continue
            inbox = self.inboxes.setdefault(said["client"], Inbox())
            inbox.put(said["on"], (said["headers"], base64.b64decode(said["body"])) if said["on"] == "message" else said)

    def start(self, command, **more):
        """Begins a command; its number."""
        with self.writing:
            number = next(self.numbers)
            self.process.stdin.write(json.dumps({"do": command, "number": number, **more}) + "\n")
        return number

    def end(self, number, seconds=60):
        said = self.ends.wait(number, seconds=seconds)
        if "error" in said:
            raise Failed(" ".join(str(v) for v in said["error"].values() if v))
        return said

    def do(self, command, **more):
        return self.end(self.start(command, **more))


def plain(body):
    return base64.b64encode(body.encode() if isinstance(body, str) else body).decode()


class Stompit(Client):
    """A connection of stompit. `failover`: its address or list of addresses, with `options`."""
    name = "stompit"
    shows_body = False # it would, but for a mistake of its own: see stomp_session.c
    names = itertools.count(1)

    def __init__(self, version="1.2", who="sensor-1", beats=(0, 0), ports=None, ca="trust.pem", **more):
        super().__init__()
        self.version, self.node, self.client = version, Node.get(), f"c{next(self.names)}"
        self.node.inboxes[self.client] = self.inbox
        if ports:
            more["failover"] = [{"port": p} for p in ports]
        elif "failover" not in more:
            more["port"] = port("STOMP")
        self.connected = self.do("connect", **self.identity(who, ca), **more,
                                 headers={"accept-version": version, "heart-beat": f"{beats[0]},{beats[1]}"})["headers"]

    @staticmethod
    def identity(who="sensor-1", ca="trust.pem"):
        mine = {"cert": str(PKI / f"{who}.pem"), "key": str(PKI / f"{who}.key")} if who else {}
        return {"ca": str(PKI / ca), **mine}

    def do(self, command, **more):
        return self.node.do(command, client=self.client, **more)

    def send(self, headers, body, transaction=None, receipt=True):
        self.do("send", headers=headers, body=plain(body), receipt=receipt, **({"transaction": transaction} if transaction else {}))

    def begin(self, name): self.do("begin", transaction=name)
    def commit(self, name): self.do("commit", transaction=name)
    def abort(self, name): self.do("abort", transaction=name)

    def subscribe(self, destination=OUT, ack="client-individual", name="s", **headers):
        self.do("subscribe", headers={"destination": destination, "id": name, "ack": ack, **headers})

    def unsubscribe(self, name="s"):
        self.do("unsubscribe", subscription=name)

    def settle(self, how, message, transaction):
        self.do(how, message=message[0]["message-id"], **({"transaction": transaction} if transaction else {}))

    def ack(self, message, transaction=None):
        self.settle("ack", message, transaction)

    def nack(self, message, transaction=None):
        self.settle("nack", message, transaction)

    def close(self):
        self.do("disconnect")

    def cut(self):
        if self.node.process.poll() is None:
            self.do("cut")


LIBRARIES = (StompPy, Stompit)
