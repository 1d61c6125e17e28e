"""A small OpenWire client of our own for tests, written from the protocol's description and independent of the programs under test: loose
encoding, versions 6 to 12, no cache. It writes any bytes, also those no real client would; what it reads it takes apart to the last byte.
"""
import socket
import struct
import time
import zlib

from coffre import *

MAGIC = b"ActiveMQ"
WIRE_FORMAT_INFO, BROKER_INFO, CONNECTION_INFO, SESSION_INFO, CONSUMER_INFO, PRODUCER_INFO, TRANSACTION_INFO, DESTINATION_INFO = range(1, 9)
KEEP_ALIVE, SHUTDOWN, REMOVE, CONTROL_COMMAND, FLUSH, CONNECTION_ERROR, CONSUMER_CONTROL, CONNECTION_CONTROL = 10, 11, 12, 14, 15, 16, 17, 18
PRODUCER_ACK, PULL, DISPATCH, ACK, BYTES_MESSAGE, TEXT_MESSAGE, RESPONSE, EXCEPTION = 19, 20, 21, 22, 24, 28, 30, 31
QUEUE, TOPIC, TEMP_QUEUE, TEMP_TOPIC = 100, 101, 102, 103
BEGIN, COMMIT, ROLLBACK = 0, 2, 4
DELIVERED, POISON, STANDARD, REDELIVERED, INDIVIDUAL = range(5)


# ---- values ---------------------------------------------------------------------------------------

def u8(n):
    return struct.pack(">B", n & 0xff)


def u16(n):
    return struct.pack(">H", n)


def i32(n):
    return struct.pack(">i", n)


def i64(n):
    return struct.pack(">q", n)


def flag(b):
    return b"\1" if b else b"\0"


def modified(text):
    """Modified UTF-8: NUL as two bytes, what is beyond the basic plane as two surrogates. Bytes stay as they are."""
    if isinstance(text, bytes):
        return text
    if text.isascii() and "\0" not in text:
        return text.encode()
    out = bytearray()
    for c in text:
        if c == "\0":
            out += b"\xc0\x80"
        elif ord(c) < 0x10000:
            out += c.encode("utf-8", "surrogatepass")
        else:
            n = ord(c) - 0x10000
            out += (chr(0xd800 + (n >> 10)) + chr(0xdc00 + (n & 0x3ff))).encode("utf-8", "surrogatepass")
    return bytes(out)


def plain(data):
    return data.replace(b"\xc0\x80", b"\0").decode("utf-8", "surrogatepass").encode("utf-16", "surrogatepass").decode("utf-16")


def string(text):
    if text is None:
        return b"\0"
    data = modified(text)
    return b"\1" + u16(len(data)) + data


def blob(data):
    return b"\0" if data is None else b"\1" + i32(len(data)) + data


def nested(kind, body):
    return b"\0" if body is None else b"\1" + u8(kind) + body


def destination(name, kind=QUEUE):
    return b"\0" if name is None else nested(kind, string(name))


def primitive_map(values):
    """A map of properties: str, bool, int (a long) and ("tag", bytes) values."""
    out = i32(len(values))
    for name, v in values.items():
        data = modified(name)
        out += u16(len(data)) + data
        if isinstance(v, tuple):
            out += u8(v[0]) + v[1]
        elif isinstance(v, bool):
            out += b"\1" + flag(v)
        elif isinstance(v, int):
            out += b"\6" + i64(v)
        else:
            text = modified(v)
            out += b"\x09" + u16(len(text)) + text
    return out


def preamble(version=12, **properties):
    values = {"TightEncodingEnabled": True, "CacheEnabled": True, "StackTraceEnabled": True, "SizePrefixDisabled": False,
              "TcpNoDelayEnabled": True, "CacheSize": (5, i32(1024)), "MaxInactivityDuration": 30000,
              "MaxInactivityDurationInitalDelay": 10000, "MaxFrameSize": (1 << 63) - 1, **properties}
    body = u8(WIRE_FORMAT_INFO) + MAGIC + i32(version) + blob(primitive_map(values))
    return i32(len(body)) + body


class Reader:
    def __init__(self, data, version):
        self.data, self.at, self.version = data, 0, version

    def take(self, n):
        assert self.at + n <= len(self.data), "a frame that ends early"
        self.at += n
        return self.data[self.at - n:self.at]

    def number(self, fmt):
        return struct.unpack(">" + fmt, self.take(struct.calcsize(">" + fmt)))[0]

    def flag(self):
        n = self.number("B")
        assert n in (0, 1), n
        return n == 1

    def string(self):
        return plain(self.take(self.number("H"))) if self.flag() else None

    def blob(self):
        return self.take(self.number("i")) if self.flag() else None

    def array(self):
        assert not self.flag()

    def map(self, data):
        if not data:
            return {}
        r = Reader(data, self.version)
        out = {}
        for _ in range(r.number("i")):
            name = plain(r.take(r.number("H")))
            tag = r.number("B")
            out[name] = {1: lambda: r.flag(), 5: lambda: r.number("i"), 6: lambda: r.number("q"), 9: lambda: plain(r.take(r.number("H")))}[tag]()
        assert r.at == len(data)
        return out

    def nested(self):
        if not self.flag():
            return None
        kind = self.number("B")
        if QUEUE <= kind <= TEMP_TOPIC:
            return kind, self.string()
        if kind == 110:
            text = self.string() if self.version >= 10 else None
            return {"text": text, "producer": self.nested(), "sequence": self.number("q"), "broker": self.number("q"), }
        if kind in (120, 124):
            return self.string()
        if kind == 122:
            return self.string(), self.number("q"), self.number("q")
        if kind == 123:
            connection, value = self.string(), self.number("q")
            return connection, self.number("q"), value
        assert kind == TEXT_MESSAGE, kind
        return self.message()

    def throwable(self):
        return (self.string(), self.string()) if self.flag() else None

    def message(self):
        v, m = self.version, {}
        self.number("i")
        self.flag()
        m["producer"], m["destination"] = self.nested(), self.nested()
        assert self.nested() is None and self.nested() is None
        m["id"] = self.nested()
        assert self.nested() is None
        self.string()
        self.number("i")
        m["correlation"], m["persistent"], m["expiration"], m["priority"] = self.string(), self.flag(), self.number("q"), self.number("b")
        m["reply"], m["timestamp"], m["type"], m["content"] = self.nested(), self.number("q"), self.string(), self.blob()
        m["properties"] = self.map(self.blob())
        assert self.nested() is None and self.nested() is None
        m["compressed"], m["redeliveries"] = self.flag(), self.number("i")
        self.array()
        self.number("q")
        self.string()
        self.flag()
        self.flag()
        self.array()
        self.number("q")
        self.number("q")
        if v >= 10:
            self.flag()
        return m

    def command(self):
        kind = self.number("B")
        if kind == WIRE_FORMAT_INFO:
            assert self.take(8) == MAGIC
            c = {"kind": kind, "version": self.number("i"), "properties": self.map(self.blob())}
        else:
            c = {"kind": kind, "command": self.number("i"), "required": self.flag()}
            self.body(kind, c)
        assert self.at == len(self.data), f"{len(self.data) - self.at} bytes too many in a frame of type {kind}"
        return c

    def body(self, kind, c):
        if kind == BROKER_INFO:
            c["id"] = self.nested()
            self.string()
            self.array()
            c["name"] = self.string()
            for _ in range(5):
                self.flag()
            self.number("q")
            self.string()
            self.string()
        elif kind == RESPONSE:
            c["to"] = self.number("i")
        elif kind == EXCEPTION:
            c["to"], c["why"] = self.number("i"), self.throwable()
        elif kind == CONNECTION_ERROR:
            c["why"] = self.throwable()
            assert self.nested() is None
        elif kind == PRODUCER_ACK:
            c["producer"], c["size"] = self.nested(), self.number("i")
        elif kind == DISPATCH:
            c["consumer"], c["destination"], c["message"] = self.nested(), self.nested(), self.nested()
            c["redeliveries"] = self.number("i")
        else:
            assert kind in (KEEP_ALIVE, SHUTDOWN), kind


# ---- a connection ----------------------------------------------------------------------------------

class Thrown(Exception):
    """What an ExceptionResponse or ConnectionError said."""

    def __init__(self, why):
        super().__init__(": ".join(why))
        self.name, self.text = why


class OpenWire:
    count = 0

    def __init__(self, who="sensor-1", version=12, name=None, at=None, connect=True, timeout=60, session=True, context=None,
                 **properties):
        OpenWire.count += 1
        raw = socket.create_connection(("127.0.0.1", at or port("STOMP")), timeout=timeout)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = (context or tls(who)).wrap_socket(raw, server_hostname="localhost")
        self.name = name or f"ID:test-{os.getpid()}-{time.time_ns()}-{OpenWire.count}:1"
        self.version, self.received, self.commands, self.sequence = version, b"", 0, 0
        self.kept = []
        if connect:
            self.write(preamble(version, **properties))
            self.version = min(version, 12)
            self.info = self.expect(WIRE_FORMAT_INFO)
            self.expect(BROKER_INFO)
            self.call(CONNECTION_INFO, self.connection_info())
            if session:
                self.send(SESSION_INFO, self.session_id())

    # ---- frames

    def write(self, data):
        self.socket.sendall(data)

    def frame(self, kind, body, required=False, command=None):
        if command is None:
            self.commands += 1
            command = self.commands
        data = u8(kind) + i32(command) + flag(required) + body
        return i32(len(data)) + data

    def send(self, kind, body=b"", required=False, command=None):
        self.write(self.frame(kind, body, required, command))
        return self.commands if command is None else command

    def call(self, kind, body=b"", command=None):
        """A command that is answered; waits for it."""
        return self.answered(self.send(kind, body, True, command))

    def fresh(self):
        """The next frame; EOFError when the vault has closed."""
        while True:
            if len(self.received) >= 4:
                size = struct.unpack(">i", self.received[:4])[0]
                if len(self.received) >= 4 + size:
                    data, self.received = self.received[4:4 + size], self.received[4 + size:]
                    return Reader(data, self.version).command()
            more = self.socket.recv(65536)
            if not more:
                raise EOFError("the vault closed the connection")
            self.received += more

    def next(self, wanted):
        """The first frame, kept or new, for which wanted(frame) is true; the others are kept."""
        for i, c in enumerate(self.kept):
            if wanted(c):
                return self.kept.pop(i)
        while True:
            c = self.fresh()
            if wanted(c):
                return c
            if c["kind"] != KEEP_ALIVE:
                self.kept.append(c)

    def expect(self, kind):
        return self.next(lambda c: c["kind"] == kind)

    def answered(self, command):
        c = self.next(lambda c: c.get("to") == command)
        if c["kind"] == EXCEPTION:
            raise Thrown(c["why"])
        return c

    def refused(self, kind, body=b"", **more):
        """The exception a command gets."""
        try:
            self.call(kind, body, **more)
        except Thrown as e:
            return e
        raise AssertionError("it was not refused")

    def until_closed(self):
        """All frames until the vault closes."""
        frames, self.kept = self.kept, []
        try:
            while True:
                frames.append(self.fresh())
        except (EOFError, ConnectionError, ssl.SSLError):
            return frames

    def alive(self):
        self.write(self.frame(KEEP_ALIVE, b"", True, 77))
        return self.next(lambda c: c["kind"] == KEEP_ALIVE)["command"] == 77

    def close(self):
        try:
            self.call(REMOVE, nested(120, string(self.name)) + (i64(-2)))
            self.send(SHUTDOWN)
        except (EOFError, OSError):
            pass
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    # ---- what commands are made of

    def connection_info(self, name=None, fault_tolerant=False, client="sensor", password="geheim", user="sensor"):
        return (nested(120, string(name or self.name)) + string(client) + string(password) + string(user) + b"\0" + flag(False) + flag(True)
                + flag(True) + flag(fault_tolerant) + flag(fault_tolerant) + (string(None) if self.version >= 8 else b""))

    def session_id(self, session=1):
        return nested(121, string(self.name) + i64(session))

    def consumer_id(self, consumer=1, session=1, name=None):
        return nested(122, string(name or self.name) + i64(session) + i64(consumer))

    def producer_id(self, producer=1, session=1, name=None):
        return nested(123, string(name or self.name) + i64(producer) + i64(session))

    def transaction_id(self, number):
        return b"\0" if number is None else nested(111, i64(number) + nested(120, string(self.name)))

    def message_id(self, dispatch):
        m = dispatch["message"]["id"]
        connection, session, producer = m["producer"]
        return nested(110, (string(None) if self.version >= 10 else b"") + self.producer_id(producer, session, connection) +
                      i64(m["sequence"]) + i64(m["broker"]))

    def produce(self, producer=1, session=1, queue=f"Event.{VAULT}.In", window=0):
        return self.call(PRODUCER_INFO, self.producer_info(producer, session, queue, window))

    def producer_info(self, producer=1, session=1, queue=f"Event.{VAULT}.In", window=0):
        return self.producer_id(producer, session) + destination(queue) + b"\0" + flag(False) + i32(window)

    def remove(self, object_id, seen=-2, required=True):
        return (self.call if required else self.send)(REMOVE, object_id + i64(seen))

    def transact(self, number, kind):
        return nested(120, string(self.name)) + self.transaction_id(number) + u8(kind)

    def message(self, body, properties=None, queue=f"Event.{VAULT}.In", kind=TEXT_MESSAGE, producer=1, session=1, transaction=None, reply=None,
                correlation=None, compressed=False, content=None, raw_properties=None, sequence=None):
        """The fields of a message, after command id and response flag."""
        self.sequence += 1
        if content is None:
            data = modified(body.decode() if isinstance(body, bytes) and kind == TEXT_MESSAGE else body)
            content = i32(len(data)) + data if kind == TEXT_MESSAGE else data
            if compressed:
                content = zlib.compress(content) if kind == TEXT_MESSAGE else i32(len(content)) + zlib.compress(content)
        properties = raw_properties if raw_properties is not None else primitive_map(properties or {})
        return (self.producer_id(producer, session) + destination(queue) + self.transaction_id(transaction) + b"\0" +
                nested(110, (string(None) if self.version >= 10 else b"") + self.producer_id(producer, session) +
                       i64(sequence or self.sequence) + i64(0)) +
                b"\0" + string(None) + i32(0) + string(correlation) + flag(True) + i64(0) + u8(4) +
                (reply if isinstance(reply, bytes) else destination(reply, TEMP_QUEUE)) + i64(int(time.time() * 1000)) + string(None) +
                blob(content) + blob(properties) + b"\0" + b"\0" + flag(compressed) + i32(0) + b"\0" + i64(0) + string(None) + flag(False) +
                flag(False) + b"\0" + i64(0) + i64(0) + (flag(False) if self.version >= 10 else b""))

    def event(self, client_id, body=None, digest_of=None, properties=None, **more):
        """A message that is a deposit."""
        body = event(client_id) if body is None else body
        return self.message(body, {"ClientId": client_id, "Digest": digest_of or digest(body), "DigestAlgo": "SHA-256",
                                   "Timestamp": int(time.time() * 1000), **(properties or {})}, **more)

    def deposit(self, client_id, **more):
        return self.call(more.get("kind", TEXT_MESSAGE), self.event(client_id, **more))

    def consumer_info(self, queue=f"Event.{VAULT}.Out", consumer=1, session=1, prefetch=1000, kind=QUEUE, selector=None, browser=False):
        v = self.version
        return (self.consumer_id(consumer, session) + flag(browser) + destination(queue, kind) + i32(prefetch) + i32(0) + flag(False) +
                string(selector) + (string(None) if v >= 10 else b"") + string(None) + flag(False) + flag(False) + flag(False) + u8(0) +
                b"\0" + b"\0" + flag(False) + flag(False) + flag(False) + b"\0")

    def consume(self, *words, **more):
        return self.call(CONSUMER_INFO, self.consumer_info(*words, **more))

    def ack(self, last, first=None, kind=STANDARD, count=1, transaction=None, consumer=1, session=1, queue=f"Event.{VAULT}.Out", queue_kind=QUEUE,
            required=False):
        body = (destination(queue, queue_kind) + self.transaction_id(transaction) + self.consumer_id(consumer, session) + u8(kind) +
                self.message_id(first or last) + self.message_id(last) + i32(count) + (b"\0" if self.version >= 7 else b""))
        return (self.call if required else self.send)(ACK, body)

    def pull(self, timeout, consumer=1, session=1, queue=f"Event.{VAULT}.Out", required=False):
        body = self.consumer_id(consumer, session) + destination(queue) + i64(timeout) + string(None) + b"\0"
        return (self.call if required else self.send)(PULL, body)

    def temporary(self, suffix, operation=0):
        return (nested(120, string(self.name)) + destination(f"{self.name}:{suffix}", TEMP_QUEUE) + u8(operation) + i64(0) + b"\0")

    def dispatched(self, consumer=1):
        return self.next(lambda c: c["kind"] == DISPATCH and c["consumer"][2] == consumer)

    def answer_to(self, client_id, consumer=1):
        """Reads answers, acknowledging each, until this deposit's."""
        while True:
            d = self.dispatched(consumer)
            self.ack(d, consumer=consumer)
            if d["message"]["properties"]["ClientId"] == client_id:
                return d
