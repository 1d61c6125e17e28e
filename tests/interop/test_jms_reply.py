#!/usr/bin/python3
"""Request and reply of the real JMS client: deposits with JMSReplyTo, temporary queues, and whose they are."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "jms"))
from sensors import *

sensor = Depositor()
other = Depositor("EC")


def test_a_deposit_that_asks_is_answered_in_both_places():
    with sensor.connect() as connection:
        session = connection.createSession(False, AUTO)
        queue = session.createTemporaryQueue()
        consumer = session.createConsumer(queue)
        producer = producer_of(session)
        sent = {}
        for _ in range(3):
            name = unique()
            message = make(session, name)
            message.setJMSReplyTo(queue)
            producer.send(message)
            sent[name] = message.getJMSMessageID()
        replies = receive(consumer, 3)
        for told in replies:
            assert told["properties"]["CFJLStatus"] == "CFJL_OK" and told["types"]["CFJLLotId"] == "Long", told
            assert told["destination"] == f"temp-queue://{queue.getQueueName()}", told
        assert {client_id(told): told["correlation"] for told in replies} == sent
        # An invalid one is answered there too.
        bad = make(session, unique())
        bad.setStringProperty("Digest", "00")
        bad.setJMSReplyTo(queue)
        producer.send(bad)
        (told,) = receive(consumer, 1)
        assert told["properties"]["CFJLStatus"] == "CFJL_INVALID_MESSAGE" and told["correlation"] == bad.getJMSMessageID(), told
        consumer.close()
        queue.delete()
    got = finish(sensor, [*sent, bad.getStringProperty("ClientId")])
    assert len(got) == 4


def test_queue_requestor():
    with sensor.connect() as connection:
        session = connection.createQueueSession(False, AUTO)
        requestor = new("javax.jms.QueueRequestor", session, session.createQueue(IN))
        names = [unique() for _ in range(3)]
        for name in names:
            told = tell(requestor.request(make(session, name)))
            assert client_id(told) == name and told["properties"]["CFJLStatus"] == "CFJL_OK", told
        requestor.close()
    finish(sensor, names)


def test_a_reply_to_another_connection_of_the_same_sensor():
    with sensor.connect(failover_url()) as down, sensor.connect(failover_url()) as up:
        reading = down.createSession(False, AUTO)
        queue = reading.createTemporaryQueue()
        consumer = reading.createConsumer(queue)
        session = up.createSession(True, AUTO)
        producer = producer_of(session)
        sent = {}
        for _ in range(5):
            name = unique()
            message = make(session, name)
            message.setJMSReplyTo(queue)
            producer.send(message)
            sent[name] = message.getJMSMessageID()
        session.commit()
        assert {client_id(told): told["correlation"] for told in receive(consumer, 5)} == sent
    finish(sensor, list(sent))


def test_reply_addresses_that_lead_nowhere():
    before = stored()
    with sensor.connect() as connection:
        session = connection.createSession(False, AUTO)
        producer = producer_of(session)
        gone = session.createTemporaryQueue()
        gone.delete()
        # What cannot be right, now or later, is refused.
        for where in (gone, session.createQueue("Ailleurs"), session.createTopic("Ailleurs")):
            message = make(session, unique())
            message.setJMSReplyTo(where)
            refusal(lambda: producer.send(message), "InvalidDestinationException")
        # A queue of another connection may have gone with it: the deposit counts, and its answer is where all are.
        with sensor.connect() as brief:
            vanished = brief.createSession(False, AUTO).createTemporaryQueue()
        names = []
        for where in (vanished, session.createQueue(OUT)):
            message = make(session, unique())
            message.setJMSReplyTo(where)
            producer.send(message)
            names.append(message.getStringProperty("ClientId"))
    wait_stored(before + 2)
    finish(sensor, names)


def test_temporary_queues_belong_to_their_connection():
    with sensor.connect() as connection, other.connect() as theirs, sensor.connect() as same:
        session = connection.createSession(False, AUTO)
        queue = session.createTemporaryQueue()
        consumer = session.createConsumer(queue)

        # The client refuses this by itself, so it is asked beneath too.
        for thief in (theirs, same):
            refusal(lambda: thief.createSession(False, AUTO).createConsumer(queue), "InvalidDestinationException")
            for command in (subscription(thief, queue), removal(thief, queue), creation(thief, queue)):
                refusal(lambda: thief.syncSendPacket(command), "JMSException")
            refusal(lambda: thief.createSession(False, AUTO).createProducer(queue), "JMSException")
        name = unique()
        message = make(session, name)
        message.setJMSReplyTo(queue)
        producer_of(session).send(message)
        assert ids(receive(consumer, 1)) == [name]
    finish(sensor, [name])


def subscription(connection, queue):
    """ConsumerInfo of this connection for a queue, by hand."""
    name = new("org.apache.activemq.command.SessionId", connection.getConnectionInfo().getConnectionId(), 77)
    connection.syncSendPacket(new("org.apache.activemq.command.SessionInfo", name))
    info = new("org.apache.activemq.command.ConsumerInfo", new("org.apache.activemq.command.ConsumerId", name, 1))
    info.setDestination(queue)
    info.setPrefetchSize(10)
    return info


def removal(connection, queue):
    return destination_info(connection, queue, 1)


def creation(connection, queue):
    return destination_info(connection, queue, 0)


def destination_info(connection, queue, operation):
    return new("org.apache.activemq.command.DestinationInfo", connection.getConnectionInfo().getConnectionId(), Typed("B", operation), queue)


def test_nothing_is_left_and_the_numbers_have_no_gap():
    finish(sensor, [])
    check_numbers()


run(globals())
