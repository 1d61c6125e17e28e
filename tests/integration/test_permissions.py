#!/usr/bin/python3
"""Least privilege: what each database role and each broker identity must not be able to do."""
import os
import ssl
import sys

sys.path.insert(0, os.path.dirname(__file__))
import pika
import psycopg2
from another import LISTENER
from coffre import *


def denied(role, sql):
    try:
        with database(role) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
    except psycopg2.errors.InsufficientPrivilege:
        return True
    except psycopg2.Error as other:
        raise AssertionError(f"{role}: {sql}: {other}")
    return False


EVENT_COLUMNS = "(serial, lot, depositor, received, size, crc32, deposit, sha256, type, body)"
NEW_EVENT = (f"INSERT INTO event {EVENT_COLUMNS} VALUES (9000000000, 1, 1, now(), 1, 0, "
             "'00000000-0000-0000-0000-000000000000', '', 'X', '')")

FORBIDDEN = {
    "coffre_roster": ["SELECT * FROM event", "SELECT * FROM head", "SELECT container FROM lot", "SELECT * FROM lot_key",
                      "SELECT genesis FROM vault", NEW_EVENT, "INSERT INTO role (profile, cn, ou) VALUES ('reader', 'x', 'x')",
                      "UPDATE role SET revoked_at = NULL", "SELECT close_lot('demande')"],
    "coffre_ledger": ["SELECT body FROM event", "UPDATE event SET body = ''", "DELETE FROM event", "TRUNCATE event",
                      "UPDATE lot SET container = ''", "UPDATE head SET sealer_epoch = 0", "UPDATE head SET lot = 1",
                      "INSERT INTO role (profile, cn, ou) VALUES ('reader', 'x', 'x')", "SELECT body FROM quarantine",
                      "SELECT body FROM lot_key", "UPDATE lot_key SET body = ''", "DELETE FROM lot_key", "DELETE FROM lot",
                      "UPDATE vault SET genesis = ''", "INSERT INTO lot (lot, first_serial) VALUES (1000000, 1)"],
    "coffre_sealer": ["SELECT body FROM event", NEW_EVENT, "UPDATE event SET lot = 1", "DELETE FROM event", "DELETE FROM lot",
                      "UPDATE head SET next_serial = 1", "UPDATE head SET ledger_epoch = 0", "SELECT body FROM lot_key",
                      "SELECT body FROM quarantine", "UPDATE lot SET first_serial = 1", "UPDATE vault SET genesis = ''",
                      "INSERT INTO role (profile, cn, ou) VALUES ('reader', 'x', 'x')"],
    "coffre_exporter": [NEW_EVENT, "UPDATE event SET body = ''", "DELETE FROM event", "UPDATE lot SET container = ''",
                        "UPDATE head SET next_serial = 1", "SELECT * FROM quarantine", "SELECT close_lot('demande')",
                        "UPDATE extraction SET reader = 'x'", "DELETE FROM extraction",
                        "INSERT INTO role (profile, cn, ou) VALUES ('reader', 'x', 'x')", "DELETE FROM lot"],
    "coffre_admin": ["SELECT * FROM event", "SELECT serial FROM event", "SELECT * FROM lot", "SELECT * FROM head", "SELECT * FROM lot_key", "SELECT genesis FROM vault",
                     "SELECT * FROM extraction", "SELECT * FROM quarantine", NEW_EVENT, "SELECT close_lot('demande')", "UPDATE role SET revoked_at = NULL",
                     "INSERT INTO role (profile, cn, ou) VALUES ('reader', 'x', 'x')"],
}


def test_database_roles_cannot_do_what_is_not_theirs():
    for role, statements in FORBIDDEN.items():
        for sql in [*statements, "DROP TABLE event", "CREATE TABLE mine (a int)", "CREATE ROLE other", "SET ROLE postgres",
                    "ALTER TABLE event DISABLE TRIGGER ALL", "SELECT pg_read_file('postgresql.conf')"]:
            try:
                refused = denied(role, sql)
            except AssertionError as failure:
                # Not being the owner is said in another way.
                refused = "must be owner" in str(failure)
                assert refused, failure
            assert refused, f"{role} may: {sql}"


def test_database_roles_can_do_what_is_theirs():
    for role, sql in {"coffre_roster": "SELECT * FROM role", "coffre_ledger": "SELECT serial, deposit FROM event LIMIT 1",
                      "coffre_sealer": "SELECT serial, sha256 FROM event LIMIT 1", "coffre_exporter": "SELECT body FROM event LIMIT 1",
                      "coffre_admin": "SELECT * FROM role_change"}.items():
        assert not denied(role, sql), f"{role} may not: {sql}"


def test_a_sealed_lot_never_changes_even_for_the_owner():
    deposit("--quiet", "--follow", "archived", "--client-id-prefix", unique("scelle"), ROOT / "deploy/samples")
    lot = value("SELECT max(lot) FROM lot WHERE container IS NOT NULL")
    for sql in ("UPDATE lot SET container = 'x' WHERE lot = %s", "UPDATE lot SET reason = 'age' WHERE lot = %s",
                "UPDATE lot SET sealed_at = now() WHERE lot = %s"):
        try:
            query(sql, lot)
        except psycopg2.errors.RaiseException:
            continue
        raise AssertionError(sql)


# ---- the broker -------------------------------------------------------------------------------------

def broker(who, ca="internal-ca", credentials=None):
    context = ssl.create_default_context(cafile=str(PKI / f"{ca}.pem"))
    if who:
        context.load_cert_chain(PKI / f"{who}.pem", PKI / f"{who}.key")
    return pika.BlockingConnection(pika.ConnectionParameters(
        host="localhost", port=port("AMQPS"), virtual_host="coffre", ssl_options=pika.SSLOptions(context, "localhost"),
        credentials=credentials or pika.credentials.ExternalCredentials(), connection_attempts=1, socket_timeout=60))


def may(who, act):
    """Whether the broker lets this identity do that (a closure over a channel)."""
    connection = broker(who)
    channel = connection.channel()
    try:
        act(channel)
        # A publish is refused later, by closing the channel: ask something that waits.
        channel.basic_qos(prefetch_count=1)
        connection.process_data_events(0.2)
        return channel.is_open
    except pika.exceptions.ChannelClosedByBroker as closed:
        assert closed.reply_code == 403, closed
        return False
    finally:
        if connection.is_open:
            connection.close()


IN, OUT, ARCHIVE = f"Event.{VAULT}.In", f"Event.{VAULT}.Out", f"Archive.{VAULT}.Out"
REPLY = f"Event.{VAULT}.Reply."


def publish(exchange, key=""):
    return lambda channel: channel.basic_publish(exchange, key, b"x")


def get(queue):
    return lambda channel: channel.basic_get(queue, auto_ack=False)


def declare(queue):
    return lambda channel: channel.queue_declare(queue, durable=True)


def temporary(queue):
    return lambda channel: channel.queue_declare(queue, exclusive=True, auto_delete=True)


def bound(queue, exchange, key):
    def act(channel):
        temporary(queue)(channel)
        channel.queue_bind(queue, exchange, key)
        channel.basic_get(queue, auto_ack=True)
    return act


def test_only_certificates_of_the_vault_enter_and_no_password_does():
    for who in (None, "sensor-1", "stranger", "foreign", "reader-1"):
        try:
            broker(who).close()
        except (pika.exceptions.AMQPConnectionError, ssl.SSLError, ConnectionError, OSError):
            continue
        raise AssertionError(f"{who} entered")
    try:
        broker("coffre-ingest", credentials=pika.PlainCredentials("guest", "guest")).close()
    except (pika.exceptions.AMQPConnectionError, ssl.SSLError, ConnectionError, OSError):
        pass
    else:
        raise AssertionError("a password was good enough")
    broker("coffre-ingest").close()


def test_there_is_no_default_user_and_no_administrator():
    users = instance("rabbitmqctl", "-q", "list_users", "--formatter", "json").stdout
    found = {user["user"]: user["tags"] for user in json.loads(users[users.index("["):])}
    assert found.pop(LISTENER, []) == []
    assert found == {"coffre-ingest": [], "coffre-sealer": [], "coffre-exporter": []}, found


def test_broker_identities_cannot_do_what_is_not_theirs():
    for who, what, act in [
        ("coffre-sealer", "publish deposits", publish(IN)),
        ("coffre-sealer", "publish answers", publish(OUT, "1")),
        ("coffre-sealer", "read deposits", get(IN)),
        ("coffre-sealer", "read answers", get(f"{OUT}.1")),
        ("coffre-sealer", "declare queues", declare("mine")),
        ("coffre-sealer", "publish by the default exchange", publish("", IN)),
        ("coffre-exporter", "publish deposits", publish(IN)),
        ("coffre-exporter", "read deposits", get(IN)),
        ("coffre-exporter", "publish archive notices", publish(ARCHIVE)),
        ("coffre-exporter", "declare queues", declare("mine")),
        ("coffre-ingest", "publish archive notices", publish(ARCHIVE)),
        ("coffre-ingest", "declare other queues", declare("mine")),
        ("coffre-ingest", "declare a temporary queue by another name", temporary(REPLY + "0" * 31)),
        ("coffre-ingest", "declare a temporary queue by a longer name", temporary(REPLY + "0" * 33)),
        ("coffre-ingest", "declare a temporary queue that is no digest", temporary(REPLY + "G" * 32)),
        ("coffre-ingest", "declare another vault's temporary queue", temporary(f"Event.{int(VAULT) + 1}.Reply." + "0" * 32)),
        ("coffre-ingest", "let the broker choose a name", temporary("")),
        ("coffre-ingest", "publish to a temporary queue by the default exchange", publish("", REPLY + "0" * 32)),
        ("coffre-ingest", "read deposits in a temporary queue", bound(REPLY + "0" * 32, "amq.rabbitmq.trace", "#")),
        ("coffre-sealer", "declare a temporary queue", temporary(REPLY + "0" * 32)),
        ("coffre-exporter", "declare a temporary queue", temporary(REPLY + "0" * 32)),
        ("coffre-ingest", "delete the queue of deposits", lambda channel: channel.queue_delete(IN)),
        ("coffre-ingest", "delete an exchange", lambda channel: channel.exchange_delete(OUT)),
    ]:
        assert not may(who, act), f"{who} may {what}"


EXCHANGES = [IN, OUT, ARCHIVE, "journal.in", "", "amq.direct", "amq.fanout", "amq.topic", "amq.rabbitmq.trace"]
QUEUES = [IN, f"Event.{VAULT}.Parked", "journal", f"{OUT}.1", f"{ARCHIVE}.1", "Event.%d.In" % (int(VAULT) + 1)]

# Who may do what, and nothing else. Nothing is published (a transaction is rolled back), read away or changed by what is allowed.
MAY = {
    "coffre-ingest": {("publish", IN), ("publish", OUT), ("publish", "journal.in"), ("read", IN), ("read", f"{OUT}.1"), ("read", f"{ARCHIVE}.1"),
                      # depositors' queues are the ledger's; and with them what a queue of that name may be bound to
                      ("delete", f"{OUT}.1"), ("delete", f"{ARCHIVE}.1"),
                      # RabbitMQ asks for nothing more than who publishes there may anyway: no message that it could not put there itself
                      ("bind exchange", OUT, "journal.in"),
                      *(("bind", queue, exchange) for queue in (IN, f"{OUT}.1", f"{ARCHIVE}.1") for exchange in (IN, OUT, ARCHIVE))},
    "coffre-sealer": {("publish", ARCHIVE), ("publish", "journal.in"), ("read", "journal")},
    "coffre-exporter": {("publish", "journal.in")},
}


def published_and_rolled_back(exchange):
    def act(channel):
        channel.tx_select()
        channel.basic_publish(exchange, "nowhere", b"x")
        channel.tx_rollback()
    return act


def attempts():
    """Everything that can be tried: what it is called, what does it when it is forbidden, what shows without harm that it is allowed (None: it is not tried)."""
    for exchange in EXCHANGES:
        yield ("publish", exchange), published_and_rolled_back(exchange), published_and_rolled_back(exchange)
        yield ("delete exchange", exchange), (lambda c, e=exchange: c.exchange_delete(e or "amq.default")), None
        yield ("declare exchange", exchange), (lambda c, e=exchange: c.exchange_declare(f"{e}.new")), None
    for queue in QUEUES:
        yield ("read", queue), (lambda c, q=queue: c.basic_get(q, auto_ack=False)), (lambda c, q=queue: c.basic_get(q, auto_ack=False))
        yield ("empty", queue), (lambda c, q=queue: c.queue_purge(q)), None
        yield ("delete", queue), (lambda c, q=queue: c.queue_delete(q)), None
        for exchange in (IN, OUT, ARCHIVE, "journal.in", "amq.fanout"):
            yield ("bind", queue, exchange), (lambda c, q=queue, e=exchange: c.queue_bind(q, e, "nowhere")), None
            yield ("unbind", queue, exchange), (lambda c, q=queue, e=exchange: c.queue_unbind(q, e, "nowhere")), None
    yield ("bind exchange", OUT, "journal.in"), (lambda c: c.exchange_bind("journal.in", OUT)), None
    yield ("bind exchange", "journal.in", OUT), (lambda c: c.exchange_bind(OUT, "journal.in")), None


def is_refused(connection, act):
    channel = connection.channel()
    try:
        act(channel)
        channel.basic_qos(prefetch_count=1) # whatever came before has been judged when this is answered
    except pika.exceptions.ChannelClosedByBroker as closed:
        assert closed.reply_code in (403, 404, 405), closed # the latter two: it may, but there is none, or another reads it
        return closed.reply_code == 403
    channel.close()
    return False


def test_each_identity_of_the_broker_may_exactly_what_it_must():
    for who, may_do in MAY.items():
        connection = broker(who)
        for what, forbidden, harmless in attempts():
            name = ("bind", *what[1:]) if what[0] == "unbind" else ("read", what[1]) if what[0] == "empty" else what
            if name not in may_do:
                assert is_refused(connection, forbidden), f"{who} may {' '.join(what)}"
            elif harmless:
                assert not is_refused(connection, harmless), f"{who} may not {' '.join(what)}"
        connection.close()


def test_broker_identities_can_do_what_is_theirs():
    assert may("coffre-sealer", lambda channel: channel.exchange_declare(ARCHIVE, passive=True))
    assert may("coffre-ingest", lambda channel: channel.queue_declare(IN, passive=True))
    assert may("coffre-ingest", bound(REPLY + "0123456789abcdef" * 2, OUT, "reply." + "0123456789abcdef" * 2))


if __name__ == "__main__":
    run(globals())
