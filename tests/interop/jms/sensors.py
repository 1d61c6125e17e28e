"""What the JMS tests share: depositors with certificates of their own, connections of the real client, deposits and their answers."""
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "integration"))
from coffre import *  # noqa: F403
from bridge import Java, JavaError, Typed  # noqa: F401
from relay import Relay  # noqa: F401

TRANSACTED, AUTO, CLIENT, DUPS_OK, INDIVIDUAL = 0, 1, 2, 3, 4  # javax.jms.Session, ActiveMQSession
NON_PERSISTENT, PERSISTENT = 1, 2
IN, OUT, ARCHIVE = f"Event.{VAULT}.In", f"Event.{VAULT}.Out", f"Archive.{VAULT}.Out"
PASSWORD = "coffre"
SSL_FACTORY = "org.apache.activemq.ActiveMQSslConnectionFactory"
NOTHING = 1000  # ms in which nothing comes, where nothing must

_folder = tempfile.TemporaryDirectory(prefix="coffre-jms-")
FOLDER = pathlib.Path(_folder.name)
_jvm = []


def jvm(**properties):
    """The JVM of this test file, started at first use; its log is jms-FILE.log of the instance's logs."""
    if not _jvm:
        log = LOG / f"{pathlib.Path(sys.argv[0]).stem}.java.log"
        _jvm.append(Java(log, **properties))
    return _jvm[0]


def new(name, *arguments):
    return jvm().type(name).new(*arguments)


# ---- addresses ------------------------------------------------------------------------------------

def ssl_url(at=None, **options):
    """ssl://localhost:PORT?a.b=1: of options a_b=1."""
    return f"ssl://localhost:{at or port('STOMP')}{joined(options)}"


def failover_url(*inner, **options):
    """failover:(URL,URL)?options; without URLs the vault's own."""
    return f"failover:({','.join(inner or [ssl_url()])}){joined(options)}"


def joined(options):
    words = [f"{name.replace('_', '.')}={str(value).lower() if isinstance(value, bool) else value}" for name, value in options.items()]
    return "?" + "&".join(words) if words else ""


# ---- who ------------------------------------------------------------------------------------------

def openssl(*words):
    done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, f"openssl {words[0]}: {done.stderr}"


class Identity:
    """Key stores as a sensor has them: PKCS#12, its own and what it trusts."""

    def __init__(self, key_store, password=PASSWORD, trust=None):
        self.key_store, self.password, self.trust = key_store, password, trust or PKI / "trust.p12"

    def factory(self, url, kind=SSL_FACTORY):
        factory = new(kind, url)
        if self.key_store:
            factory.setKeyStore(str(self.key_store))
            factory.setKeyStorePassword(self.password)
        factory.setTrustStore(str(self.trust))
        factory.setTrustStorePassword(PASSWORD)
        return factory

    def connect(self, url=None, start=True, factory=None, prepare=None):
        """A connection; .inbox gets its exceptions and interruptions. prepare(connection) comes before it says its name."""
        connection = (factory or self.factory(url or ssl_url())).createConnection()
        connection.inbox = new("Inbox")
        connection.setExceptionListener(connection.inbox)
        connection.addTransportListener(connection.inbox)
        try:
            if prepare:
                prepare(connection)
            if start:
                connection.start()
        except BaseException:
            connection.later.close()
            raise
        return connection


def stock(name):
    """An identity of the instance's PKI, with the PKCS#12 file made with it."""
    return Identity(PKI / f"{name}.p12")


class Depositor(Identity):
    """A new depositor of the vault: a certificate of the sensors' authority, bound to its role. Its queues are empty."""

    def __init__(self, key="RSA"):
        self.name = unique("jms")[:20]
        self.make(key)
        super().__init__(FOLDER / f"{self.name}.p12")
        self.bind()

    def make(self, key):
        at = FOLDER / self.name
        kind = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"] if key == "EC" else ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]
        pathlib.Path(f"{at}.ext").write_text("basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth\n"
                                             "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n")
        openssl("genpkey", *kind, "-out", f"{at}.key")
        openssl("req", "-new", "-key", f"{at}.key", "-subj", f"/C=FR/O=Operateur {OPERATOR}/OU=Capteurs JMS/CN={self.name}", "-out", f"{at}.csr")
        openssl("x509", "-req", "-in", f"{at}.csr", "-CA", PKI / "operator-ca.pem", "-CAkey", PKI / "operator-ca.key", "-sha256", "-days", 30,
                "-set_serial", "0x" + os.urandom(15).hex(), "-extfile", f"{at}.ext", "-out", f"{at}.pem")
        with open(f"{at}.pem", "ab") as chain:
            chain.write((PKI / "operator-ca.pem").read_bytes())
        self.export("-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-macalg", "sha1")

    def export(self, *protection, name=None):
        """Writes the PKCS#12 file; its path."""
        at = FOLDER / self.name
        out = FOLDER / f"{name or self.name}.p12"
        openssl("pkcs12", "-export", "-in", f"{at}.pem", "-inkey", f"{at}.key", "-name", "capteur", "-passout", f"pass:{PASSWORD}", *protection, "-out", out)
        return out

    def bind(self):
        program("coffre-ceremony", "bind", "--profile", "depositor", "--certificate", FOLDER / f"{self.name}.pem",
                "--config", RUN / "coffre.yml", "--yes", "--database", f"host={RUN}/postgresql/socket user=postgres")

        def known():
            try:
                with self.stomp():
                    return True
            except (Refused, EOFError, OSError):
                return False
        wait_until(known, 60, f"{self.name} may deposit")

    def stomp(self):
        """The same depositor by the other protocol."""
        context = tls(None)
        context.load_cert_chain(FOLDER / f"{self.name}.pem", FOLDER / f"{self.name}.key")
        return Stomp(None, context=context)


# ---- deposits and answers -----------------------------------------------------------------------------

TEMPLATE = event("@@").decode() # of Load.send()


def make(session, name, body=None):
    """A deposit of this session with ClientId `name`: a message, as sensors make it."""
    return jvm().Messages.deposit(session, body if body is not None else event(name).decode(), name)


def put(session, producer, name=None, body=None):
    """Sends one deposit; its ClientId."""
    name = name or unique()
    producer.send(make(session, name, body))
    return name


def producer_of(session, queue=IN):
    return session.createProducer(session.createQueue(queue))


def consumer_of(session, queue=OUT):
    return session.createConsumer(session.createQueue(queue))


def tell(message):
    """A received message, as a dictionary (Messages.tell): names of JMS headers, "body", "properties", "types". None: none came."""
    return None if message is None else jvm().Messages.tell(message)


def client_id(told):
    return told["properties"]["ClientId"]


def ids(told):
    return [client_id(one) for one in told]


def receive(consumer, count, seconds=60):
    """Exactly `count` messages, told, in their order; fails when they do not come."""
    got = jvm().Messages.tellAll(jvm().Messages.receive(consumer, count, seconds * 1000))
    assert len(got) == count, f"{len(got)} messages of {count} came"
    return got


def nothing_comes(consumer, connection):
    """The queue is empty: the next message is the answer to a deposit made now, on this connection."""
    session = connection.createSession(False, AUTO)
    last = put(session, producer_of(session), unique("dernier"))
    (told,) = receive(consumer, 1)
    assert client_id(told) == last, f"a message that should not be there: {told}"
    session.close()


def answers(identity, names, connection=None, seconds=90, queue=OUT):
    """Reads the depositor's answers until each of these ClientIds has one: the last of each, and all."""
    names, found, every = set(names), {}, []
    own = connection or identity.connect(failover_url())
    try:
        session = own.createSession(False, AUTO)
        consumer = consumer_of(session, queue)
        end = time.monotonic() + seconds
        while names - set(found):
            batch = jvm().Messages.receive(consumer, len(names - set(found)), 2000)
            for told in jvm().Messages.tellAll(batch):
                every.append(told)
                found[client_id(told)] = told
            assert time.monotonic() < end, f"{len(names - set(found))} of {len(names)} answers did not come, {len(every)} did"
        session.close()
    finally:
        if connection is None:
            own.close()
    return found, every


def ok_answers(identity, names, **more):
    """As answers(), and each must be CFJL_OK or the duplicate of one that was: {ClientId: serial}."""
    names = set(names)
    _, every = answers(identity, names, **more)
    serials = {}
    for told in every:
        properties = told["properties"]
        if properties["ClientId"] not in names: # left by an earlier test
            continue
        assert properties["CFJLStatus"] in ("CFJL_OK", "CFJL_DUPLICATE_EVENT"), properties
        serials.setdefault(client_id(told), set()).add(properties["CFJLJELSerial"])
    several = {name: numbers for name, numbers in serials.items() if len(numbers) != 1}
    assert not several, f"one deposit, several numbers: {several}"
    return {name: int(*serials[name]) for name in names}


def stored():
    """How many events the vault has."""
    return value("SELECT count(*) FROM event")


def wait_stored(count, seconds=90):
    """Waits until the vault has exactly so many."""
    def enough():
        now = stored()
        assert now <= count, f"{now} events are stored, {count} were deposited"
        return now == count
    wait_until(enough, seconds, f"{count} events are stored, not {stored()}")


def deposited(identity, names, before):
    """The vault has exactly these deposits more than before, each with an answer of its own; their serials."""
    wait_stored(before + len(set(names)))
    serials = ok_answers(identity, names)
    assert len(set(serials.values())) == len(set(names))
    return serials


def finish(identity, names, redelivered=None):
    """Takes what must be left in the queue: these answers, all (or none) of them delivered before, and nothing else."""
    with identity.connect() as connection:
        consumer = consumer_of(connection.createSession(False, AUTO))
        got = receive(consumer, len(names))
        assert sorted(ids(got)) == sorted(names), (ids(got), names)
        if redelivered is not None:
            for told in got:
                assert told["redelivered"] == redelivered and (told["count"] > 1) == redelivered, told
        nothing_comes(consumer, connection)
    return got


# ---- exceptions ------------------------------------------------------------------------------------------

def refusal(action, *kinds, says=None):
    """`action` must raise a Java exception that is one of these kinds (simple names); the exception."""
    try:
        result = action()
    except JavaError as failure:
        assert not kinds or set(kinds) & set(failure.kinds), f"{' or '.join(kinds)} expected: {failure}"
        assert says is None or failure.says(says), f"it should say {says}: {failure}"
        return failure
    raise AssertionError(f"nothing was refused: {result}")


def still_works(identity, connection):
    """A deposit on this very connection goes through and is answered."""
    session = connection.createSession(False, AUTO)
    name = put(session, producer_of(session))
    found, _ = answers(identity, [name], connection)
    assert found[name]["properties"]["CFJLStatus"] == "CFJL_OK", found
    session.close()
