"""What integration tests share: the instance under test, a small STOMP client of our own, events, waiting, and a runner.

A test file holds functions test_something(); run() calls them in order and prints one line for each: "ok - ..." or "not ok - ...".
The instance is the one RUN_DIR names (default run-test/); it runs already.
"""
import concurrent.futures
import ctypes
import hashlib
import inspect
import json
import os
import pathlib
import re
import socket
import ssl
import subprocess
import sys
import time
import traceback
import uuid

import psycopg2

ROOT = pathlib.Path(__file__).resolve().parents[2]
RUN = pathlib.Path(os.environ.get("RUN_DIR", ROOT / "run-test")).resolve()
PKI = RUN / "pki"
BIN = RUN / "bin"
LOG = RUN / "log"
SHARED = ROOT.parent / "shared"
OPERATOR, VAULT = "4512", 1
DATABASE = f"coffre_{OPERATOR}_{VAULT}"
PLACEHOLDER = b"<!--SAFE_ID-->"


def port(name):
    """A port of the running instance, for example port("STOMP")."""
    words = dict(word.split("=") for word in (RUN / "ports").read_text().split())
    return int(words["PORT_" + name])


# ---- the instance -----------------------------------------------------------------------------

def instance(*words, check=True, timeout=400):
    """deploy/instance.sh on this instance: start, stop, restart, kill a server or a daemon."""
    done = subprocess.run([ROOT / "deploy/instance.sh", *map(str, words)], env={**os.environ, "RUN_DIR": str(RUN)},
                          capture_output=True, text=True, timeout=timeout)
    if check and done.returncode != 0:
        raise AssertionError(f"instance.sh {' '.join(map(str, words))}: {done.stdout}{done.stderr}")
    return done


def pid_of(name):
    """The process id of a server or daemon of the instance, or None."""
    try:
        pid = int((RUN / "pid" / name).read_text().split()[0])
        os.kill(pid, 0)
        return pid
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return None


def children(pid):
    """{role name: [pids]} of a daemon's parent: roles are executed as `coffre-x --role NAME INDEX FILE`."""
    roles = {}
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text()
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        fields = stat.rsplit(") ", 1)[1].split()
        if int(fields[1]) == pid and fields[0] != "Z" and len(words) > 2 and words[1] == b"--role":
            roles.setdefault(words[2].decode(), []).append(int(entry.name))
    return roles


def ready(name, config="coffre.yml"):
    return subprocess.run([BIN / name, "--config", RUN / config, "--status"], capture_output=True).returncode == 0


def database(role="postgres", name=DATABASE):
    """A connection as one of the database's roles (the test's user may be all of them)."""
    connection = psycopg2.connect(host=str(RUN / "postgresql/socket"), user=role, dbname=name)
    connection.autocommit = True
    return connection


def query(sql, *values, role="postgres", name=DATABASE):
    with database(role, name) as connection, connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall() if cursor.description else None


def value(sql, *values):
    return query(sql, *values)[0][0]


def wait_until(condition, seconds, what):
    """Polls until `condition()` is true; fails naming `what` (text, or a function that gives it then). The bound is only there to end a broken run."""
    end = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"after {seconds} s still not: {what() if callable(what) else what}")
        time.sleep(0.1)


def wait_sealed(serial, seconds=60):
    """Waits until the lot that holds this serial is sealed; its number."""
    def sealed():
        rows = query("SELECT e.lot FROM event e JOIN lot l USING (lot) WHERE e.serial = %s AND l.container IS NOT NULL", serial)
        return rows and rows[0][0]
    return wait_until(sealed, seconds, f"serial {serial} is in a sealed lot")


# ---- programs -----------------------------------------------------------------------------------

def program(name, *words, check=True, stdin=None, timeout=300):
    done = subprocess.run([BIN / name, *map(str, words)], capture_output=True, text=True, input=stdin, timeout=timeout)
    if check and done.returncode != 0:
        raise AssertionError(f"{name} {' '.join(map(str, words))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def identity(name):
    return ["--certificate", PKI / f"{name}.pem", "--key", PKI / f"{name}.key", "--ca", PKI / "trust.pem"]


def deposit(*words, sensor="sensor-1", at=None, **more):
    """coffre-deposit towards this instance."""
    return program("coffre-deposit", *identity(sensor), "--port", at or port("STOMP"), *words, **more)


def extract(*words, reader="reader-1", **more):
    return program("coffre-extract", *identity(reader), "--port", port("HTTPS"), *words, **more)


def verify(*words, **more):
    return program("coffre-verify", "--ca", PKI / "regulator-ca.pem", *words, **more)


def http(path, who="reader-1", method="GET", body=None, headers=()):
    """curl, as a certificate (None: without one): (status, header text, body bytes)."""
    words = ["curl", "-sS", "-i", "--http1.1", "--cacert", str(PKI / "trust.pem"), "-X", method,
             f"https://localhost:{port('HTTPS')}{path}"]
    if who:
        words += ["--cert", str(PKI / f"{who}.pem"), "--key", str(PKI / f"{who}.key")]
    if body is not None:
        words += ["-H", "Content-Type: application/json", "--data-binary", body if isinstance(body, str) else json.dumps(body)]
    for header in headers:
        words += ["-H", header]
    done = subprocess.run(words, capture_output=True, timeout=120)
    if done.returncode != 0:
        raise AssertionError(f"curl {path}: {done.stderr.decode()}")
    head, _, content = done.stdout.partition(b"\r\n\r\n")
    while head.startswith(b"HTTP/1.1 100"):
        head, _, content = content.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode(), content


# ---- events -------------------------------------------------------------------------------------

def event(text="essai", kind="PASPMISE", operator=OPERATOR, vault=VAULT, placeholder="<!--SAFE_ID-->"):
    return (f"<{kind}><IDOper>{operator}</IDOper><DateEvt>260131120000</DateEvt><IDEvt>{placeholder}</IDEvt><IDJoueur>j-1</IDJoueur>"
            f"<IDSession>0-sys</IDSession><IDCoffre>{vault}</IDCoffre><Texte>{text}</Texte></{kind}>").encode()


def digest(body):
    return hashlib.sha256(body).hexdigest()


def unique(prefix="t"):
    return f"{prefix}-{uuid.uuid4().hex}"


# ---- STOMP --------------------------------------------------------------------------------------

class Refused(Exception):
    """The vault answered ERROR."""


ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", ":": "\\c"}
UNESCAPES = {"\\\\": "\\", "\\n": "\n", "\\r": "\r", "\\c": ":"}


def escape(text):
    return "".join(ESCAPES.get(c, c) for c in str(text))


def unescape(text):
    return re.sub(r"\\.", lambda found: UNESCAPES[found.group()], text)


def tls(who, minimum=ssl.TLSVersion.TLSv1_2, maximum=ssl.TLSVersion.MAXIMUM_SUPPORTED):
    context = ssl.create_default_context(cafile=str(PKI / "trust.pem"))
    context.minimum_version, context.maximum_version = minimum, maximum
    if who:
        context.load_cert_chain(PKI / f"{who}.pem", PKI / f"{who}.key")
    return context


class Stomp:
    """One STOMP 1.2 connection, written from the specification: independent of the programs under test."""

    def __init__(self, who="sensor-1", at=None, connect=True, timeout=60, context=None):
        raw = socket.create_connection(("127.0.0.1", at or port("STOMP")), timeout=timeout)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = (context or tls(who)).wrap_socket(raw, server_hostname="localhost")
        self.received, self.at = b"", 0
        self.receipts = 0
        self.kept = [] # frames that came while another was awaited
        if connect:
            self.send("CONNECT", {"accept-version": "1.2", "host": "localhost", "heart-beat": "0,0"})
            self.connected = self.expect("CONNECTED")

    def write(self, data):
        self.socket.sendall(data)

    @staticmethod
    def frame(command, headers, body=b""):
        lines = [command] + [f"{k}:{v}" if command == "CONNECT" else f"{escape(k)}:{escape(v)}" for k, v in headers.items()]
        return "\n".join(lines).encode() + b"\n\n" + body + b"\0"

    def send(self, command, headers=None, body=b""):
        headers = dict(headers or {})
        if body:
            headers["content-length"] = len(body)
        self.write(self.frame(command, headers, body))

    def read(self):
        """The next frame: (command, headers, body). EOFError when the vault has closed."""
        return self.kept.pop(0) if self.kept else self.fresh()

    def fresh(self):
        """The next frame to arrive."""
        while True:
            frame = self.parse()
            if frame:
                return frame
            more = self.socket.recv(65536)
            if not more:
                raise EOFError("the vault closed the connection")
            self.received = self.received[self.at:] + more
            self.at = 0

    def parse(self):
        """A frame from what was received, or None when it is not whole yet."""
        data = self.received
        while data[self.at:self.at + 1] in (b"\n", b"\r"):
            self.at += 1
        end = data.find(b"\n\n", self.at)
        if end < 0:
            return None
        lines = data[self.at:end].decode().split("\n")
        headers = {}
        for line in lines[1:]:
            k, _, v = line.rstrip("\r").partition(":")
            headers.setdefault(unescape(k), unescape(v))
        start = end + 2
        stop = start + int(headers["content-length"]) if "content-length" in headers else data.find(b"\0", start)
        if not start <= stop < len(data):
            return None
        self.at = stop + 1
        return lines[0].strip(), headers, data[start:stop]

    def expect(self, command):
        got, headers, body = self.read()
        if got == "ERROR" and command != "ERROR":
            raise Refused(headers.get("message", "") + " " + body.decode(errors="replace"))
        assert got == command, f"{command} expected, {got} came: {headers}"
        return headers if command != "MESSAGE" else (headers, body)

    def deposit(self, body, client_id, wait=True, digest_of=None, **extra):
        """SEND with a receipt; waits for it. The receipt's name."""
        self.receipts += 1
        name = f"r{self.receipts}"
        headers = {"destination": f"/queue/Event.{VAULT}.In", "receipt": name, "ClientId": client_id,
                   "Digest": digest(body) if digest_of is None else digest_of, "DigestAlgo": "SHA-256",
                   "Timestamp": int(time.time() * 1000), **extra}
        self.send("SEND", {k: v for k, v in headers.items() if v is not None}, body)
        if wait:
            self.receipt(name)
        return name

    def receipt(self, name):
        """Waits for the receipt of this name, which is the next to come."""
        while True:
            command, got, text = self.fresh()
            if command == "MESSAGE": # an answer, of earlier days or faster than the receipt: for whoever reads next
                self.kept.append((command, got, text))
                continue
            if command == "ERROR":
                raise Refused(got.get("message", "") + " " + text.decode(errors="replace"))
            assert (command, got.get("receipt-id")) == ("RECEIPT", name), (command, got)
            return

    def subscribe(self, queue="Event", ack="client-individual", name="s1"):
        self.send("SUBSCRIBE", {"destination": f"/queue/{queue}.{VAULT}.Out", "id": name, "ack": ack})

    def answers(self, names):
        """What these deposits are answered: headers by ClientId. All messages are acknowledged one by one; others are answers of earlier days."""
        found = {}
        while len(found) < len(names):
            headers, _ = self.expect("MESSAGE")
            if headers["ClientId"] in names:
                found[headers["ClientId"]] = headers
            self.send("ACK", {"id": headers["ack"]})
        return found

    def answer_to(self, client_id):
        """Reads (and acknowledges) answers until this deposit's."""
        while True:
            headers, _ = self.expect("MESSAGE")
            self.send("ACK", {"id": headers["ack"]})
            if headers["ClientId"] == client_id:
                return headers

    def close(self):
        """DISCONNECT with a receipt, so that what was acknowledged is known to be."""
        try:
            self.send("DISCONNECT", {"receipt": "bye"})
            while self.read()[0] not in ("RECEIPT", "ERROR"):
                pass
        except (EOFError, OSError):
            pass
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


# ---- decryption, with libcrypto's CMS ------------------------------------------------------------

class Decryptor:
    """Opens stored events as the regulator would, in this process: thousands of openssl processes would take minutes."""

    def __init__(self):
        self.crypto = c = ctypes.CDLL("libcrypto.so.3")
        for name in ("BIO_new_mem_buf", "BIO_s_mem", "BIO_new", "d2i_CMS_bio", "PEM_read_bio_PrivateKey"):
            getattr(c, name).restype = ctypes.c_void_p
        c.BIO_ctrl.restype = ctypes.c_long
        self.lot_keys = {}

    def _bio(self, data):  # borrows `data`
        return ctypes.c_void_p(self.crypto.BIO_new_mem_buf(data, len(data)))

    def _open(self, body, prepare):
        c = self.crypto
        bio = self._bio(body)
        cms = ctypes.c_void_p(c.d2i_CMS_bio(bio, None))
        assert cms, "not a CMS file"
        out = ctypes.c_void_p(c.BIO_new(ctypes.c_void_p(c.BIO_s_mem())))
        try:
            if prepare(cms) != 1 or c.CMS_decrypt(cms, None, None, None, out, 0) != 1:
                return None
            data = ctypes.c_void_p()
            length = c.BIO_ctrl(out, 3, 0, ctypes.byref(data))  # BIO_CTRL_INFO
            return ctypes.string_at(data, length)
        finally:
            c.BIO_free(out)
            c.CMS_ContentInfo_free(cms)
            c.BIO_free(bio)

    def lot_key(self, body):
        pem = (PKI / "regulator-encryption.key").read_bytes()  # the BIO borrows it
        bio = self._bio(pem)
        key = ctypes.c_void_p(self.crypto.PEM_read_bio_PrivateKey(bio, None, None, None))
        opened = self._open(body, lambda cms: self.crypto.CMS_decrypt_set1_pkey(cms, key, None))
        self.crypto.EVP_PKEY_free(key)
        self.crypto.BIO_free(bio)
        return opened

    def event(self, lot, body):
        """The event's text, under whichever of its lot's keys."""
        if lot not in self.lot_keys:
            rows = query("SELECT ordinal, body FROM lot_key WHERE lot = %s ORDER BY ordinal", lot)
            self.lot_keys[lot] = [(f"{lot:06}-{ordinal}".encode(), self.lot_key(bytes(key))) for ordinal, key in rows]
        for name, key in self.lot_keys[lot]:
            opened = self._open(body, lambda cms: self.crypto.CMS_decrypt_set1_key(cms, key, len(key), name, len(name)))
            if opened is not None:
                return opened
        raise AssertionError(f"an event of lot {lot} opens with none of its keys")


# ---- what must hold at any time -----------------------------------------------------------------

def check_numbers():
    """Serials run 1..n without gap or repeat; how many there are. All of it at one moment: others' deposits may be numbered meanwhile."""
    low, high, count, distinct, following = query("SELECT min(serial), max(serial), count(*), count(DISTINCT serial), (SELECT next_serial FROM head) FROM event")[0]
    if count:
        assert (low, high, distinct) == (1, count, count), f"serials {low}..{high}, {count} rows, {distinct} distinct"
        assert following == count + 1, (following, count)
    return count


# ---- the runner ---------------------------------------------------------------------------------

def run_one(file, name, function):
    """Whether it succeeded, which is said."""
    began = time.monotonic()
    try:
        function()
        said = f"ok - {file}: {name[5:].replace('_', ' ')} ({time.monotonic() - began:.1f} s)"
    except Exception:
        said = f"not ok - {file}: {name[5:].replace('_', ' ')}\n    " + traceback.format_exc().replace("\n", "\n    ")
    print(said, flush=True)
    return said.startswith("ok")


def run(namespace, beside=()):
    """Runs every test_ function of a module; leaves with 1 when one failed. Those of `beside` go on beside the others: they wait for a long time, with certificates of their own and daemons that nobody stops."""
    file = pathlib.Path(namespace["__file__"]).stem
    wanted = {name: function for name, function in namespace.items()
              if name.startswith("test_") and inspect.isfunction(function) and (not sys.argv[1:] or name in sys.argv[1:])}
    with concurrent.futures.ThreadPoolExecutor(max(1, len(beside))) as pool:
        ended = [pool.submit(run_one, file, function.__name__, function) for function in beside if function.__name__ in wanted]
        good = [run_one(file, name, function) for name, function in wanted.items() if function not in beside]
        good += [one.result() for one in ended]
    sys.exit(0 if all(good) else 1)
