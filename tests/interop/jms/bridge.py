"""Java objects in Python: a JVM with the tests' classes and the JMS client, driven over its standard input and output.

    java = Java()
    session = connection.createSession(False, 1)      # any public method of any object
    sent = producer.later.send(message)               # the same, without waiting: a Future
Exceptions of Java are raised as JavaError. A call that does not come back in time fails with the stacks of all threads.
"""
import atexit
import concurrent.futures
import fcntl
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import threading

HERE = pathlib.Path(__file__).resolve().parent
JARS = pathlib.Path("/usr/share/java")
# The client and what it needs; marshallers of versions 2 to 8; Spring's JmsTemplate.
CLIENT = ["activemq-client", "activemq-openwire-legacy", "hawtbuf", "geronimo-jms_1.1_spec", "geronimo-j2ee-management-1.1-spec",
          "geronimo-jta-1.2-spec", "slf4j-api", "slf4j-simple",
          "spring3-jms", "spring3-core", "spring3-beans", "spring3-transaction", "spring3-messaging", "spring3-context", "spring3-aop",
          "jcl-over-slf4j"]
PATIENCE = 90  # seconds a call may take: only there to end a broken run


class JavaError(Exception):
    """An exception of Java: .kind its class, .kinds the simple names of all it is, .message, .chain with its causes."""

    def __init__(self, told):
        super().__init__(" <- ".join(told["chain"]) + "\n        at " + "\n        at ".join(told["where"]))
        self.kind, self.kinds, self.message, self.chain = told["kind"], told["kinds"], told["message"] or "", told["chain"]

    def says(self, words):
        return any(words.lower() in cause.lower() for cause in self.chain)


class Typed:
    """A number of a given Java type: Typed("L", 5) is a Long even where any object would do."""

    def __init__(self, letter, number):
        self.letter, self.number = letter, number


def class_path():
    missing = [name for name in CLIENT if not (JARS / f"{name}.jar").exists()]
    if missing:
        raise AssertionError(f"not in {JARS}: {', '.join(missing)} (deploy/install-packages.sh)")
    return [str(JARS / f"{name}.jar") for name in CLIENT]


def compiled():
    """The folder of the compiled classes: beside the programs under test when BUILD names their folder, else a temporary one."""
    sources = sorted(HERE.glob("*.java"))
    mark = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    build = os.environ.get("BUILD")
    folder = pathlib.Path(build) / "interop-jms" if build else pathlib.Path(tempfile.mkdtemp(prefix="coffre-jms-"))
    if not build:
        atexit.register(shutil.rmtree, folder, True)
    # Tests of other vaults, side by side, compile the same.
    with open(folder.with_suffix(".lock") if build else folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / mark).exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            done = subprocess.run(["javac", "-Xlint:all,-processing,-path", "-Werror", "-proc:none", "-encoding", "UTF-8", "-d", folder,
                                   "-cp", ":".join(class_path()), *sources], capture_output=True, text=True)
            if done.returncode != 0:
                raise AssertionError(f"javac: {done.stdout}{done.stderr}")
            (folder / mark).touch()
    return folder


ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
UNESCAPES = {escaped: plain for plain, escaped in ESCAPES.items()}


def written(value):
    """A Python value as words of a line (Values.java)."""
    if isinstance(value, Remote):
        return [value._handle]
    if value is None:
        return ["n"]
    if isinstance(value, bool):
        return ["t" if value else "f"]
    if isinstance(value, int):
        return [f"i{value}"]
    if isinstance(value, float):
        return [f"D{value!r}"]
    if isinstance(value, Typed):
        return [f"{value.letter}{value.number}"]
    if isinstance(value, str):
        return ["s" + re.sub(r"[\\\t\n\r]", lambda found: ESCAPES[found.group()], value)]
    if isinstance(value, (bytes, bytearray)):
        return ["x" + value.hex()]
    if isinstance(value, (list, tuple)):
        return [f"l{len(value)}", *(word for one in value for word in written(one))]
    if isinstance(value, dict):
        return [f"m{len(value)}", *(word for pair in value.items() for one in pair for word in written(one))]
    raise TypeError(f"not for Java: {value!r}")


class Remote:
    """An object of the JVM. Attributes are its methods; with it as a context, close() is called at the end."""

    def __init__(self, java, handle):
        self._java, self._handle = java, handle

    def __getattr__(self, method):
        return lambda *arguments: self._java.call(self._handle, method, arguments)

    @property
    def later(self):
        return Later(self)

    def __eq__(self, other):
        return isinstance(other, Remote) and other._handle == self._handle

    def __hash__(self):
        return hash(self._handle)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            self.close()
        except (JavaError, AssertionError):
            if kind is None:
                raise

    def __repr__(self):
        return f"<Java {self._handle}>"


class Later:
    def __init__(self, remote):
        self._remote = remote

    def __getattr__(self, method):
        return lambda *arguments: self._remote._java.begin(self._remote._handle, method, arguments)


class Java:
    """One JVM. Its standard error (the client's log) goes to `log`."""

    def __init__(self, log, **properties):
        # The client's socket.enabledProtocols=... sets a property of a class that Java hides since 9.
        words = ["java", "-Xshare:auto", "-Xmx1g", "--add-exports=java.base/sun.security.ssl=ALL-UNNAMED", "-cp", ":".join([str(compiled()), *class_path()]),
                 "-Dorg.slf4j.simpleLogger.showDateTime=true", "-Dorg.slf4j.simpleLogger.defaultLogLevel=info",
                 *(f"-D{name}={value}" for name, value in properties.items()), "Bridge"]
        with open(log, "ab") as errors:
            self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        self.log = log
        self.lock = threading.Lock()
        self.calls, self.waiting = 0, {}
        threading.Thread(target=self._read, daemon=True).start()
        atexit.register(self.process.kill)

    def __getattr__(self, name):
        """The tests' own classes: java.Messages.tell(message)."""
        return self.type(name)

    def type(self, name):
        """A class, for its static methods; type(name).new(...) makes an object of it."""
        return Remote(self, name)

    def call(self, target, method, arguments):
        return self.result(self.begin(target, method, arguments), f"{method}{arguments}")

    def begin(self, target, method, arguments):
        future = concurrent.futures.Future()
        words = [target, method, *(word for one in arguments for word in written(one))]
        with self.lock:
            self.calls += 1
            self.waiting[self.calls] = future
            self.process.stdin.write("\t".join([str(self.calls), *words, ""])[:-1].encode("utf-8", "surrogatepass") + b"\n")
            self.process.stdin.flush()
        return future

    def result(self, future, what="it", seconds=PATIENCE):
        """What a Future brings; fails when that takes too long."""
        try:
            failure = future.exception(seconds)
            if failure is None:
                return future.result()
            raise failure from None
        except concurrent.futures.TimeoutError:
            stacks = self.begin("Bridge", "stacks", ()).result(30)
            raise AssertionError(f"after {seconds} s Java has not come back from {what}\n{stacks}") from None

    def _read(self):
        for line in self.process.stdout:
            words = iter(line.rstrip(b"\n").decode("utf-8").split("\t"))
            future = self.waiting.pop(int(next(words)))
            failed = next(words) == "!"
            value = self._value(words)
            if failed:
                future.set_exception(JavaError(value))
            else:
                future.set_result(value)
        for future in list(self.waiting.values()):
            future.set_exception(AssertionError(f"the JVM has ended: see {self.log}"))

    def _value(self, words):
        word = next(words)
        letter, text = word[0], word[1:]
        if letter == "n":
            return None
        if letter in "tf":
            return letter == "t"
        if letter == "i":
            return int(text)
        if letter == "D":
            return float(text)
        if letter == "s":
            return re.sub(r"\\[\\tnr]", lambda found: UNESCAPES[found.group()], text)
        if letter == "x":
            return bytes.fromhex(text)
        if letter == "l":
            return [self._value(words) for _ in range(int(text))]
        if letter == "m":
            return {self._value(words): self._value(words) for _ in range(int(text))}
        if letter == "@":
            return Remote(self, word)
        raise AssertionError(f"not a value: {word}")

    def end(self):
        self.process.stdin.close()
        self.process.wait(30)
