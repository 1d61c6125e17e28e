#!/usr/bin/python3
"""Application events on their way to the queue `journal`: they arrive, through everything that may go down, and nobody reads or writes them who should not."""
import contextlib
import json
import os
import random
import signal
import socket
import sys
import threading
from http.client import HTTPSConnection

sys.path.insert(0, os.path.dirname(__file__))
import pika
from another import *
from coffre import *
from pki_servers import OWNER
from test_permissions import broker

DAEMONS = ("coffre-ingest", "coffre-sealer", "coffre-exporter")
MEMBERS = {"at", "operator", "vault", "node", "daemon", "role", "event", "fields"}


class Queue:
    """The queue `journal` as the sealer may read it, each message once. What was there is known when it begins; all goes back at its end."""

    def __init__(self):
        self.messages, self.records = [], {}
        self.connection = broker("coffre-sealer")
        self.channel = self.connection.channel()
        self.channel.basic_qos(prefetch_count=65535) # as many as there may be: none is acknowledged
        there = count(self.channel)
        self.channel.basic_consume("journal", self._take)
        wait_until(lambda: self.read() >= there, SOON, lambda: f"{there} messages have come: {len(self.messages)}")

    def _take(self, _channel, method, properties, body):
        self.messages.append((method.delivery_tag, properties, body))
        self.records.update((line, json.loads(line)) for line in body.splitlines()) # one that was published twice, its confirmation being lost, is one

    def read(self):
        """What has come meanwhile too; how many messages there are."""
        self.connection.process_data_events(time_limit=0)
        return len(self.messages)

    def find(self, **wanted):
        self.read()
        return [r for r in self.records.values() if all(r.get(key) == value for key, value in wanted.items())]

    def drop(self, tag):
        """Acknowledges one, for good."""
        self.channel.basic_ack(tag)
        self.messages = [message for message in self.messages if message[0] != tag]

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        left = self.read() if kind is None else 0
        self.connection.close()
        wait_until(lambda: count() >= left, SOON, "all is back in the queue")


def count(channel=None):
    """Messages that wait in the queue, and that nobody reads at this time."""
    if channel:
        return channel.queue_declare("journal", passive=True).method.message_count
    connection = broker("coffre-sealer")
    found = count(connection.channel())
    connection.close()
    return found


def figures(path):
    """The metrics of a journal role, without "coffre_journal_"."""
    return {name: int(value) for name, value in re.findall(r"(?m)^coffre_journal_(\w+)\{[^}]*\} (\d+)$", path.read_text())} if path.exists() else {}


def figure(name, daemon="coffre-exporter"):
    return figures(RUN / f"state/{daemon}.prom").get(name)


def spool(daemon):
    whole = b""
    for file in sorted((RUN / f"state/journal-{daemon}").glob("*.ndjson")):
        with contextlib.suppress(FileNotFoundError): # published meanwhile
            whole += file.read_bytes()
    return whole


def journal_role(daemon):
    return children(pid_of(daemon)).get("journal", [None])[0]


def test_a_daemon_that_stops_and_starts_says_so():
    with Queue() as queue:
        said = lambda daemon: [len(queue.find(daemon=daemon, event=event)) for event in ("daemon-stopped", "daemon-started")]
        for daemon in DAEMONS:
            before = said(daemon)
            instance("restart", daemon)
            wait_until(lambda: said(daemon) == [n + 1 for n in before], SOON, lambda: f"{daemon} has stopped and started once more: {before}, {said(daemon)}")
            last = queue.find(daemon=daemon, event="daemon-started")[-1]
            assert last["fields"].keys() == {"version"} and last["role"] == "journal", last


def test_what_arrives_is_what_the_protocol_says():
    with Queue() as queue:
        found = queue.messages
    assert found
    for _, properties, body in found:
        assert (properties.content_type, properties.delivery_mode) == ("application/x-ndjson", 2), properties
        assert body.endswith(b"\n") and len(body) <= 64 * 1024
        for line in body.splitlines():
            record = json.loads(line)
            assert record.keys() == MEMBERS, record
            assert (record["operator"], record["vault"], record["node"]) == (OPERATOR, VAULT, socket.gethostname()), record
            assert record["daemon"] in DAEMONS and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record["at"]), record
            assert all(isinstance(value, str) for value in record["fields"].values()), record


def test_a_daemon_that_was_killed_says_that_too():
    with Queue() as queue:
        before = len(queue.find(daemon="coffre-exporter", event="daemon-started"))
        instance("kill", "coffre-exporter")
        instance("start", "coffre-exporter")
        started = wait_until(lambda: queue.find(daemon="coffre-exporter", event="daemon-started")[before:], SOON, "it says that it has started")
        assert started[0]["fields"].get("reason"), started


def test_records_wait_for_the_broker_and_none_is_lost():
    with Queue() as queue:
        before = len(queue.find(daemon="coffre-exporter", event="daemon-started"))
    instance("stop", "rabbitmq")
    try:
        wait_until(lambda: figure("broker_up") == 0, 60, "the journal role misses the broker")
        for _ in range(2):  # what is on disk outlives the daemon
            instance("stop", "coffre-exporter")
            assert b'"event":"daemon-stopped"' in spool("coffre-exporter")
            instance("start", "coffre-exporter")
        wait_until(lambda: spool("coffre-exporter").count(b'"event":"daemon-started"') == 2, SOON, "both starts are on disk")
        wait_until(lambda: (figure("waiting_records") or 0) >= 4 and figure("spool_bytes") > 0, 60, "the metrics count what waits")
    finally:
        instance("start", "rabbitmq")
    wait_until(lambda: figure("broker_up") == 1 and figure("waiting_records") == 0, 120, "everything is published")
    with Queue() as queue:
        assert len(queue.find(daemon="coffre-exporter", event="daemon-started")) == before + 2
    wait_until(lambda: spool("coffre-exporter") == b"", SOON, "nothing is left on disk")
    for daemon in DAEMONS:
        wait_until(lambda: ready(daemon), 120, f"{daemon} is ready again")


def test_a_killed_journal_role_goes_on_where_it_was():
    with Queue() as queue:
        starts = lambda daemon: len(queue.find(daemon=daemon, event="daemon-started"))
        began = {daemon: starts(daemon) for daemon in DAEMONS}
        for daemon in DAEMONS:
            before = journal_role(daemon)
            os.kill(before, signal.SIGKILL)
            wait_until(lambda: journal_role(daemon) not in (None, before), SOON, f"{daemon} has another journal role")
            wait_until(lambda: ready(daemon), SOON, f"{daemon} is ready again")
        stops = len(queue.find(daemon="coffre-exporter", event="daemon-stopped"))
        instance("restart", "coffre-exporter")
        wait_until(lambda: len(queue.find(daemon="coffre-exporter", event="daemon-stopped")) > stops and starts("coffre-exporter") > began["coffre-exporter"], SOON, "its records arrive")
        began["coffre-exporter"] += 1
        assert {daemon: starts(daemon) for daemon in DAEMONS} == began, "no daemon was started again with its journal role"


def test_a_torn_record_is_dropped_and_that_is_said():
    instance("stop", "coffre-exporter")
    file = RUN / "state/journal-coffre-exporter/00000000000000ff.ndjson"
    whole = b'{"at":"2026-01-31T12:00:00.123Z","event":"of-before"}\n'
    file.write_bytes(whole + whole[:20])
    os.chown(file, RUN.stat().st_uid, RUN.stat().st_gid)
    mark = daemon_log("coffre-exporter")
    instance("start", "coffre-exporter")
    mark.says("code=journal-torn", "20 bytes")
    with Queue() as queue:
        arrived = lambda: queue.read() and [tag for tag, _, body in queue.messages if whole in body]
        wait_until(arrived, SOON, "the whole record is published")
        for tag in arrived(): # it is no record of ours: the other tests must not find it
            queue.drop(tag)


def refused_handshake(who, source):
    """One connection to port 6163 that its certificate, or having none, ends."""
    context = tls(who)
    raw = socket.create_connection(("127.0.0.1", port("STOMP")), timeout=60, source_address=(source, 0))
    try:
        with context.wrap_socket(raw, server_hostname="localhost") as c: # TLS 1.3: the refusal comes with the first read
            c.recv(1)
            raise AssertionError(f"{who} got in")
    except (ssl.SSLError, ConnectionError):
        pass


def all_are_told(journal, event, address, flood, **what):
    """Of so many refusals few have records of their own, and all that have none are in counts, at the latest a minute later."""
    recorded = lambda: len(journal.find(event, peer=f"^{address}:", **what))
    counted = lambda: sum(int(r["fields"]["records"]) for r in journal.find("refusals-omitted", peer=f"^{address}$", **what))
    wait_until(lambda: recorded() + counted() == flood, 180, lambda: f"{recorded()} records and {counted()} counted make {flood}")
    assert recorded() <= 15, recorded() # five a minute, however long these took
    assert all(re.fullmatch(r"\d{4}-.*Z", r["fields"]["since"]) for r in journal.find("refusals-omitted"))


def refused_requests(who, source, many):
    """Requests to the exporter that its certificate, or having none, refuses."""
    client = HTTPSConnection("127.0.0.1", port("HTTPS"), timeout=60, context=tls(who), source_address=(source, 0))
    for _ in range(many):
        client.request("GET", "/check")
        answer = client.getresponse()
        assert answer.status == 401, answer.status
        answer.read()
    client.close()


def test_a_flood_of_refusals_is_counted_and_hides_nobody():
    """At both ports; waited for together."""
    flood, network = 400, f"127.{random.randrange(1, 255)}.{random.randrange(1, 255)}" # its own: a minute's count may be another run's
    sensors, other, readers, another = (f"{network}.{n}" for n in (77, 78, 79, 80))
    with Journal() as journal:
        for _ in range(flood):
            refused_handshake(None, sensors)
        refused_requests(None, readers, flood)
        refused_handshake("foreign", sensors) # another reason
        refused_handshake(None, other) # another client
        refused_requests(None, another, 1)
        journal.wait("session-refused", peer=f"^{sensors}:", check="^certificate-foreign$")
        journal.wait("session-refused", peer=f"^{other}:", check="^certificate-missing$")
        journal.wait("request-refused", peer=f"^{another}:", code="^certificate-missing$")
        all_are_told(journal, "session-refused", sensors, flood, check="^certificate-missing$")
        all_are_told(journal, "request-refused", readers, flood, code="^certificate-missing$")


class Door:
    """A port of its own that leads to the broker once it is opened; before, nobody listens there."""

    def __init__(self):
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]

    def open(self):
        self.socket.listen()
        threading.Thread(target=self._let_in, daemon=True).start()

    def _let_in(self):
        with contextlib.suppress(OSError): # closed
            while True:
                peer, _ = self.socket.accept()
                server = socket.create_connection(("127.0.0.1", port("AMQPS")))
                for one, other in ((peer, server), (server, peer)):
                    threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    @staticmethod
    def _carry(one, other):
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.shutdown(socket.SHUT_RDWR) if self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) else None
        self.socket.close()


def test_no_change_of_roles_is_lost_by_a_full_spool():
    """Of an exporter that finds the broker when all is written."""
    name, of_before = unique("plein"), {"at": "2026-01-31T12:00:00.123Z", "operator": OPERATOR, "vault": VAULT, "node": socket.gethostname(), "daemon": "coffre-exporter",
                                        "role": "front", "event": "session-opened", "fields": {"peer": "192.0.2.7:50000", "reason": "x" * 700}}
    filler = json.dumps(of_before, separators=(",", ":")).encode() + b"\n"
    instance("stop", "coffre-exporter") # whose process would journal the changes
    try:
        with Journal() as journal, Door() as door, exporter(rabbitmq__port=door.port, journal__spool_bytes="1MiB") as vault:
            vault.stop()
            full = vault.state / "journal-coffre-exporter/00000000000000f0.ndjson"
            room = 5 << 18 # a quarter beyond spool_bytes: fronts have no part of that, but who journals changes has
            last = filler.replace(b"xx", b"x" * (2 + room % len(filler)), 1)
            full.write_bytes(filler * (room // len(filler) - 1) + last)
            os.chown(full, OWNER.st_uid, OWNER.st_gid)
            mark = vault.mark()
            vault.start()
            mark.says("code=journal-overflow", "the spool is full") # the start itself found no room
            for profile in ("reader", "technical"):
                ceremony("bind", "--profile", profile, "--cn", name, "--ou", "Essais", "--reason", "pendant que rien n'a de place")
            time.sleep(3) # the outbox is looked at each second: what is written now would be lost
            assert value("SELECT count(*) FROM role_outbox o JOIN role_change c ON c.id = o.change WHERE c.cn = %s AND o.journaled_at IS NOT NULL", name) == 0
            door.open()
            for profile in ("reader", "technical"):
                journal.wait("role-bound", cn=name, profile=profile, record=r"^\d+$")
            journal.wait("journal-overflow", records=r"^[1-9]", since="^20") # and how many found no room
            wait_until(lambda: value("SELECT count(*) FROM role_outbox WHERE journaled_at IS NULL") == 0, 60, "the store knows that all are journaled")
    finally:
        instance("start", "coffre-exporter")


def test_a_role_that_is_killed_is_in_the_journal():
    """By its sandbox, as the signal says, or by anything else; the journal role itself too."""
    with Journal() as journal:
        for name, sent, reason in (("keys", signal.SIGSYS, "system call"), ("identity", signal.SIGKILL, "signal 9"), ("journal", signal.SIGKILL, "signal 9")):
            before = children(pid_of("coffre-exporter"))[name][0]
            os.kill(before, sent)
            record = journal.wait("process-ended", process=f"^{name} 0$", reason=reason)
            assert record["daemon"] == "coffre-exporter" and record["role"] == "journal", record
            wait_until(lambda: children(pid_of("coffre-exporter")).get(name, [before])[0] != before, 60, f"{name} is there again")
    wait_until(lambda: ready("coffre-exporter"), 120, "the exporter is ready again")


def definitions():
    """What the broker was given, as JSON."""
    return json.loads((RUN / "rabbitmq/definitions.json").read_text())


def import_definitions(made):
    file = RUN / "rabbitmq/of-the-test.json"
    file.write_text(json.dumps(made))
    os.chown(file, OWNER.st_uid, OWNER.st_gid)
    instance("rabbitmqctl", "-q", "import_definitions", file)
    file.unlink()


def of_before():
    """The definitions of versions whose exchange had the queue's name."""
    made = json.loads((RUN / "rabbitmq/definitions.json").read_text().replace("journal\\\\.in", "journal").replace("journal.in", "journal"))
    assert "journal.in" not in json.dumps(made) and any(exchange["name"] == "journal" for exchange in made["exchanges"])
    return made


def delete_exchange(name):
    instance("rabbitmqctl", "-q", "eval", f'rabbit_exchange:delete(rabbit_misc:r(<<"coffre">>, exchange, <<"{name}">>), false, <<"test">>).')


def test_the_exchange_of_earlier_versions_gives_way_and_nothing_is_lost():
    """Upgraded in either order: broker first, or daemons first. What waits in the queue stays in it, what is written meanwhile follows."""
    before, now = count(), definitions()
    assert before > 0
    try:
        import_definitions(of_before())
        delete_exchange("journal.in") # as such a broker never had it
        instance("restart", "coffre-exporter")
        wait_until(lambda: figure("broker_up") == 0 and (figure("waiting_records") or 0) >= 1, 60, "records wait for an exchange")
        wait_until(lambda: count() >= before, SOON, "what waited is in the queue still")
        with_old = count()
    finally:
        import_definitions(now)
    wait_until(lambda: figure("broker_up") == 1 and figure("waiting_records") == 0, 120, "all is published")
    wait_until(lambda: count() > with_old, 60, "and in the queue")
    delete_exchange("journal") # what an upgrade leaves to the operator: nobody may write to it any more
    with Journal() as journal:
        instance("restart", "coffre-exporter")
        journal.wait("daemon-started", version=".")


if __name__ == "__main__":
    run(globals())
