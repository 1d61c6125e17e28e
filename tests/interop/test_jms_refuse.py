#!/usr/bin/python3
"""Transactions of the real JMS client; and what is refused, by the right exception, keeps its connection."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "jms"))
from sensors import *

MIB = 1 << 20
sensor = Depositor()
connection = sensor.connect(ssl_url())


# ---- transactions --------------------------------------------------------------------------------------------

def test_a_transaction_is_all_or_nothing():
    before = stored()
    session = connection.createSession(True, AUTO)
    producer = producer_of(session)
    lost = [put(session, producer, unique("annule")) for _ in range(20)]
    session.rollback()
    names = [put(session, producer, unique("garde")) for _ in range(20)]
    session.commit()
    session.commit()   # nothing to commit
    session.rollback() # nothing to roll back
    serials = deposited(sensor, names, before)
    numbers = [serials[name] for name in names]
    assert numbers == list(range(numbers[0], numbers[0] + 20)), numbers
    put(session, producer, lost[0])
    session.close() # without commit
    deposited(sensor, [last := put((plain := connection.createSession(False, AUTO)), producer_of(plain))], before + 20)
    assert last and stored() == before + 21


def test_a_transaction_of_a_thousand():
    before = stored()
    names = jvm().Load.send(connection, IN, TEMPLATE, unique("mille"), 1, 1000, 1000, True)
    serials = deposited(sensor, names, before)
    numbers = [serials[name] for name in names]
    assert numbers == list(range(numbers[0], numbers[0] + 1000))


def test_transactions_of_several_sessions_are_apart():
    before = stored()
    sessions = [connection.createSession(True, AUTO) for _ in range(5)]
    producers = [producer_of(session) for session in sessions]
    names = [[put(session, producer, unique(f"s{i}")) for i, (session, producer) in enumerate(zip(sessions, producers))] for _ in range(5)]
    for i in (0, 2, 4):
        sessions[i].commit()
    for i in (1, 3):
        sessions[i].rollback()
    deposited(sensor, [row[i] for row in names for i in (0, 2, 4)], before)
    for session in sessions:
        session.close()


def test_a_failure_inside_makes_the_commit_fail():
    before = stored()
    for spoil in ("Ailleurs", OUT):
        with sensor.connect() as own:
            session = own.createSession(True, AUTO)
            producer = session.createProducer(None)
            producer.send(session.createQueue(IN), make(session, unique()))
            producer.send(session.createQueue(spoil), make(session, unique())) # nobody waits for an answer
            assert own.inbox.exception(60000), "the listener is told at once"
            producer.send(session.createQueue(IN), make(session, unique()))
            failure = refusal(session.commit, "TransactionRolledBackException")
            assert failure.message, "it says why"
            name = unique()
            producer.send(session.createQueue(IN), make(session, name))
            session.commit()
            answers(sensor, [name], own)
    assert stored() == before + 2


def test_a_transaction_that_is_too_large_is_refused_whole():
    before = stored()
    with sensor.connect() as own:
        session = own.createSession(True, AUTO)
        producer = producer_of(session)
        for _ in range(12):
            put(session, producer, body=event("x" * 900000).decode())
        refusal(session.commit, "JMSException")
        name = put(session, producer)
        session.commit()
        answers(sensor, [name], own)
    assert stored() == before + 1


def test_an_oversize_event_inside_a_transaction():
    before = stored()
    with sensor.connect() as own:
        session = own.createSession(True, AUTO)
        producer = producer_of(session)
        put(session, producer)
        put(session, producer, body=event("x" * (3 * MIB)).decode())
        refusal(session.commit, "JMSException")
        name = put(session, producer)
        session.commit()
        answers(sensor, [name], own)
    assert stored() == before + 1


# ---- refused, and the connection stays -------------------------------------------------------------------------

def test_an_event_over_the_limit():
    for url, sizes in ((failover_url(), (MIB + 1, 5 * MIB, 20 * MIB)), (ssl_url(), (MIB + 1, 5 * MIB)), (ssl_url(wireFormat_version=6), (2 * MIB,))):
        with sensor.connect(url) as own:
            before = stored()
            session = own.createSession(False, AUTO)
            producer = producer_of(session)
            for size in sizes:
                refusal(lambda: producer.send(jvm().Messages.large(session, size, False)), "JMSException")
                name = put(session, producer) # the same producer
                answers(sensor, [name], own)
            wait_stored(before + len(sizes))
            assert own.inbox.interruptions() == 0 and own.inbox.exception(0) is None


def test_destinations_that_are_not_the_vaults():
    session = connection.createSession(False, AUTO)
    for name in ("Ailleurs", "Event.2.In", "event.1.in", f"{IN},{IN}", f"queue://{IN},queue://Ailleurs", "Event.*.In", "Event.>", ">",
                 f"queue://{IN}", "ActiveMQ.Advisory.Connection"):
        queue = new("org.apache.activemq.command.ActiveMQQueue", name)
        refusal(lambda: session.createProducer(queue), "InvalidDestinationException")
        refusal(lambda: session.createConsumer(queue), "InvalidDestinationException")
    for name in (IN, "Ailleurs", "ActiveMQ.Advisory.Connection", "ActiveMQ.Advisory.TempQueue"):
        topic = session.createTopic(name)
        refusal(lambda: session.createProducer(topic), "InvalidDestinationException")
    for name in (OUT, "Ailleurs"):
        refusal(lambda: session.createConsumer(session.createTopic(name)), "InvalidDestinationException")
        refusal(lambda: session.createDurableSubscriber(session.createTopic(name), "abonné"), "JMSException")
    session.close()
    still_works(sensor, connection)


def test_directions_that_are_not_the_sensors():
    session = connection.createSession(False, AUTO)
    for name in (OUT, ARCHIVE):
        refusal(lambda: producer_of(session, name), "InvalidDestinationException", "JMSSecurityException")
    refusal(lambda: consumer_of(session, IN), "InvalidDestinationException", "JMSSecurityException")
    session.close()
    still_works(sensor, connection)


def test_messages_that_are_no_event():
    before = stored()
    session = connection.createSession(False, AUTO)
    producer = producer_of(session)
    made = [session.createObjectMessage("x"), session.createMapMessage(), session.createStreamMessage(), session.createMessage()]
    made[1].setString("a", "b")
    made[2].writeString("c")
    for message in made:
        message.setStringProperty("ClientId", unique())
        refusal(lambda: producer.send(message), "MessageFormatException")
    session.close()
    still_works(sensor, connection)
    assert stored() == before + 1


def test_distributed_transactions():
    before = stored()
    with sensor.connect(factory=sensor.factory(ssl_url(), "org.apache.activemq.ActiveMQXASslConnectionFactory")) as own:
        session = own.createXASession()
        resource = session.getXAResource()
        xid = new("org.apache.activemq.command.XATransactionId")
        xid.setFormatId(1)
        xid.setGlobalTransactionId(b"\1\2")
        xid.setBranchQualifier(b"\3")

        def work():
            resource.start(xid, 0)
            put(session, producer_of(session))
            resource.end(xid, 0x4000000)
            resource.commit(xid, True)
        refusal(work, "XAException", "JMSException")
        refusal(lambda: resource.recover(0x1000000), "XAException")
        producer_of(own.createXASession()).close() # the vault still answers
    still_works(sensor, connection)
    assert stored() == before + 1


def test_what_is_wrong_without_anybody_waiting_is_told_to_the_listener():
    with sensor.connect(ssl_url(jms_useAsyncSend=True)) as own:
        session = own.createSession(False, AUTO)
        producer = session.createProducer(None)
        producer.send(session.createQueue("Ailleurs"), make(session, unique()))
        assert "Ailleurs" in (own.inbox.exception(60000) or ""), "the listener is told, and which destination it was"
        still_works(sensor, own)


def test_nothing_is_left_and_the_numbers_have_no_gap():
    connection.close()
    check_numbers()


run(globals())
