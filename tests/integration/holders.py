"""Who holds a certificate and uses it, whatever the protocol: a sensor by STOMP or OpenWire that is in the middle of something, and curl."""
import json
import subprocess
import threading

from another import *
from openwire import *
from pki_servers import *

IN, OUT = f"Event.{VAULT}.In", f"Event.{VAULT}.Out"
GONE = (EOFError, ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)


class StompSensor:
    def __init__(self, who, at=None, context=None):
        self.c = Stomp(who, at=at, context=context)

    def deposit(self):
        name = unique()
        self.c.deposit(event(name), name)
        return name

    def begin(self):
        self.c.send("BEGIN", {"transaction": "open", "receipt": "begun"})
        assert self.c.expect("RECEIPT")["receipt-id"] == "begun"

    def add(self):
        """A deposit in the transaction."""
        body, name = event("perdu"), unique("perdu")
        self.c.send("SEND", {"destination": f"/queue/{IN}", "transaction": "open", "ClientId": name, "Digest": digest(body), "DigestAlgo": "SHA-256",
                             "Timestamp": 1, "receipt": name}, body)
        return name

    def commit(self):
        self.c.send("COMMIT", {"transaction": "open", "receipt": "done"})
        while self.c.expect("RECEIPT")["receipt-id"] != "done":
            pass

    def cut(self):
        """Waits until the vault ends it; what it said."""
        said = ""
        self.c.socket.settimeout(SOON)
        try:
            while True:
                command, headers, body = self.c.read()
                if command == "ERROR":
                    said = headers["message"] + " " + body.decode()
        except GONE:
            return said

    def close(self):
        self.c.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.c.socket.close()


class OpenWireSensor:
    def __init__(self, who, at=None, context=None):
        self.c = OpenWire(who, at=at, context=context)
        self.c.produce()

    def deposit(self):
        name = unique()
        self.c.deposit(name)
        return name

    def begin(self):
        self.c.call(TRANSACTION_INFO, self.c.transact(1, BEGIN))

    def add(self):
        name = unique("perdu")
        self.c.deposit(name, transaction=1)
        return name

    def commit(self):
        self.c.call(TRANSACTION_INFO, self.c.transact(1, COMMIT))

    def cut(self):
        self.c.socket.settimeout(SOON)
        return " ".join(": ".join(map(str, frame["why"])) for frame in self.c.until_closed() if frame.get("why"))

    def close(self):
        self.c.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.c.socket.close()


SENSORS = (StompSensor, OpenWireSensor)


class Load:
    """`once()` in a few threads, again and again, until it ends; every failure is kept, and there must be none."""

    def __init__(self, once=None, threads=4):
        self.once, self.done, self.failures, self.ending = once, 0, [], threading.Event()
        self.threads = [threading.Thread(target=self.run) for _ in range(threads)]

    def run(self):
        while not self.ending.is_set():
            try:
                self.once()
                self.done += 1
            except Exception as failure:
                self.failures.append(repr(failure))

    def more(self, count=30):
        """Waits until so many more have been done."""
        until = self.done + count
        wait_until(lambda: self.done >= until or self.failures, SOON, f"{count} more are done")

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, kind, *_):
        self.ending.set()
        for thread in self.threads:
            thread.join(SOON)
        if kind is None:
            assert not any(thread.is_alive() for thread in self.threads), "one of them does not come to its end"
            assert not self.failures, f"{len(self.failures)} of {self.done} failed: {self.failures[:3]}"


def refusal(kind, who, at=None, context=None, deposits=True):
    """What a sensor hears that is not let in; None: it was let in, and has deposited unless it was not to."""
    try:
        with kind(who, at, context) as sensor:
            if deposits:
                sensor.deposit()
            sensor.close()
    except (Refused, Thrown) as told:
        return str(told)
    except (*GONE, ssl.SSLError) as ended:
        return repr(ended)
    return None


def let_in(who, at=None, kinds=SENSORS):
    """Waits until it is, on each protocol: bindings are read every second."""
    for kind in kinds:
        wait_until(lambda: refusal(kind, who, at) is None, SOON, lambda: f"{who} is let in by {kind.__name__}: {refusal(kind, who, at)}")


def kept_out(who, *words, at=None, kinds=SENSORS, deposits=True):
    """Waits until it is refused with these words; until then it deposits, unless it is not to."""
    for kind in kinds:
        said = []

        def refused():
            said[:] = [refusal(kind, who, at, deposits=deposits)]
            return said[0] is not None and all(word in said[0] for word in words)
        wait_until(refused, SOON, lambda: f"{who} is refused with {words} by {kind.__name__}: {said}")


def lax_settings():
    """The environment of a client that uses certificates which OpenSSL thinks too weak."""
    settings_file = RUN / "lax.cnf"
    settings_file.write_text("openssl_conf = all\n[all]\nssl_conf = tls\n[tls]\nsystem_default = lax\n[lax]\nCipherString = DEFAULT@SECLEVEL=0\n")
    return {**os.environ, "OPENSSL_CONF": str(settings_file)}


def curl(path, who, at=None, *words, lax=False):
    """(status, body as JSON when it is, or bytes) of one request on a connection of its own."""
    line = ["curl", "-sS", "--http1.1", "--cacert", PKI / "trust.pem", "-w", "\n%{http_code}", *words, f"https://localhost:{at or port('HTTPS')}{path}"]
    if who:
        line += ["--cert", PKI / f"{who}.pem", "--key", PKI / f"{who}.key"]
    done = subprocess.run(list(map(str, line)), capture_output=True, timeout=120, env=lax_settings() if lax else None)
    if done.returncode != 0:
        return 0, done.stderr
    body, _, status = done.stdout.rpartition(b"\n")
    try:
        return int(status), json.loads(body)
    except ValueError:
        return int(status), body


def answers(who, status, code=None, at=None, path="/check"):
    """Waits for this status, and this reason code."""
    got = []

    def so():
        got[:] = curl(path, who, at)
        return got[0] == status and (code is None or got[1]["code"] == code)
    wait_until(so, SOON, lambda: f"{who} gets {status} {code} for {path}: {got}")
    return got[1]


def stored():
    return value("SELECT count(*) FROM event")


def deposits_of(who):
    """How many events the vault has of this depositor."""
    return value("SELECT count(*) FROM event JOIN role ON depositor = id WHERE cn = %s", who)


def short(prefix):
    """A name for a certificate."""
    return unique(prefix)[:20]


def sensor(**options):
    """A new certificate bound to a depositor; its name."""
    return bind(issue(short("capteur"), **options))


def reader(profile="reader", **options):
    """A new certificate of the regulator's authority bound to a profile."""
    name = short(profile)
    return bind(issue(name, ca="regulator-ca", subject=f"/C=FR/O=Regulateur de developpement/OU=Essais/CN={name}", **options), profile)
