#!/usr/bin/python3
"""Least privilege: what each database role and each broker identity must not be able to do."""
import os
import ssl
import sys

sys.path.insert(0, os.path.dirname(__file__))
import pika
import psycopg2
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
        credentials=credentials or pika.credentials.ExternalCredentials(), connection_attempts=1, socket_timeout=10))


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


def test_broker_identities_can_do_what_is_theirs():
    assert may("coffre-sealer", lambda channel: channel.exchange_declare(ARCHIVE, passive=True))
    assert may("coffre-ingest", lambda channel: channel.queue_declare(IN, passive=True))
    assert may("coffre-ingest", bound(REPLY + "0123456789abcdef" * 2, OUT, "reply." + "0123456789abcdef" * 2))


if __name__ == "__main__":
    run(globals())
