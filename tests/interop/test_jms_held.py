#!/usr/bin/python3
"""What the vault holds for JMS consumers and how much of it: temporary queues in number and through outages, unacknowledged answers in bytes."""
import collections
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "jms"))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../integration"))
from sensors import *
from test_front import Impatient

TEMPORARY_MAX = 128 # of a depositor: ingest/queues/deliver_internal.h

sensor = Depositor()


def request(session, queue, consumer):
    """A deposit that asks for its answer in `queue`: its ClientId, and the answer, None when none came in two seconds."""
    message = make(session, unique())
    message.setJMSReplyTo(queue)
    producer_of(session).send(message)
    told = tell(consumer.receive(2000))
    while told is not None and told["correlation"] != message.getJMSMessageID(): # of an earlier one, late
        told = tell(consumer.receive(2000))
    return client_id({"properties": {"ClientId": message.getStringProperty("ClientId")}}), told


def requests_are_answered(session, queue, consumer):
    """Sooner or later again: what was asked while nothing was there has its answer in the depositor's queue only."""
    names = []

    def answered():
        name, told = request(session, queue, consumer)
        names.append(name)
        return told
    wait_until(answered, 90, "a reply comes to the temporary queue")
    return names


def rabbitmq_queues():
    said = instance("rabbitmqctl", "-q", "list_queues", "-p", "coffre", "name", "--no-table-headers").stdout.split()
    return [name for name in said if ".Reply." in name]


def test_a_temporary_queue_is_there_again_after_rabbitmq_was_away():
    with sensor.connect(failover_url()) as connection:
        session = connection.createSession(False, AUTO)
        queue = session.createTemporaryQueue()
        consumer = session.createConsumer(queue)
        name, told = request(session, queue, consumer)
        assert told["properties"]["CFJLStatus"] == "CFJL_OK" and client_id(told) == name, told
        instance("restart", "rabbitmq")
        names = requests_are_answered(session, queue, consumer)
    ok_answers(sensor, [name, *names])
    wait_until(lambda: not rabbitmq_queues(), 30, "no temporary queue is left")


def test_a_temporary_queue_moves_to_another_node():
    instance("start", "coffre-ingest@2")
    url = failover_url(ssl_url(), ssl_url(port("STOMP") + 1), randomize=False, maxReconnectDelay=200)
    with sensor.connect(url) as connection:
        session = connection.createSession(False, AUTO)
        queue = session.createTemporaryQueue()
        consumer = session.createConsumer(queue)
        name, told = request(session, queue, consumer)
        assert client_id(told) == name, told
        instance("kill", "coffre-ingest")
        names = requests_are_answered(session, queue, consumer)
        assert connection.inbox.interruptions() == 1
    instance("start", "coffre-ingest")
    instance("stop", "coffre-ingest@2")
    ok_answers(sensor, [name, *names])


def test_temporary_queues_are_bounded_and_made_again():
    connections = [sensor.connect() for _ in range(4)]
    sessions = [connection.createSession(False, AUTO) for connection in connections]
    queues = []
    for i in range(TEMPORARY_MAX):
        queues.append(sessions[i % 4].createTemporaryQueue())
    assert len(rabbitmq_queues()) == TEMPORARY_MAX
    refusal(lambda: sessions[0].createTemporaryQueue(), "ResourceAllocationException", says="too many temporary queues")
    still_works(sensor, connections[0])
    # Another depositor has its own.
    with Depositor().connect() as other:
        other.createSession(False, AUTO).createTemporaryQueue()
    queues[0].delete()
    wait_until(lambda: len(rabbitmq_queues()) == TEMPORARY_MAX - 1, 30, "the deleted one is gone")
    queue = sessions[0].createTemporaryQueue()
    consumer = sessions[0].createConsumer(queue)
    name, told = request(sessions[0], queue, consumer)
    assert client_id(told) == name, told
    for connection in connections:
        connection.close()
    wait_until(lambda: not rabbitmq_queues(), 30, "they go with their connections")
    ok_answers(sensor, [name])


class Small(Impatient):
    LIMITS = {"unacknowledged_bytes": "1MiB"}
    TIMEOUTS = {"drain": "20s"}


def receive_all(vault, names):
    """Answers to these, each time all that come, committed then: ClientIds, how many of them were marked as redelivered, in how many rounds, the most bytes held."""
    got, again, rounds, most, wanted = [], 0, 0, 0, set(names)
    with sensor.connect(ssl_url(vault.port, jms_prefetchPolicy_queuePrefetch=32766)) as connection:
        session = connection.createSession(True, TRANSACTED)
        consumer = consumer_of(session)
        while len(set(got)) < len(wanted):
            batch = jvm().Messages.receive(consumer, len(names), 3000)
            most = max(most, vault.metric("coffre_deliver_held_bytes"))
            assert len(batch) != 0, f"{len(set(got))} of {len(wanted)} answers came"
            told = [one for one in jvm().Messages.tellAll(batch) if client_id(one) in wanted]
            got += [client_id(one) for one in told]
            again += sum(one["redelivered"] for one in told)
            session.commit()
            rounds += 1
    return got, again, rounds, most


def held_and_given_back():
    """False: RabbitMQ 3.10 broke in the middle, as it does once in a while when it is to send again what was given back (rabbit_channel:handle_deliver0, function_clause): everything came, some of it twice."""
    before, text = stored(), event("@@").decode()
    with sensor.connect(failover_url()) as connection:
        names = jvm().type("Load").send(connection, IN, text, unique("seul"), 1, 1000, 0, True)
        names += jvm().type("Load").send(connection, IN, text, unique("tenu"), 8, 1500, 25, True)
    wait_stored(before + len(names))
    with Small() as vault:
        got, again, rounds, most = receive_all(vault, names)
        more, fewer = (collections.Counter(got) - collections.Counter(names), collections.Counter(names) - collections.Counter(got))
        assert not fewer and more.total() <= again, f"too many {list(more)[:3]} ({more.total()}), too few {list(fewer)[:3]} ({fewer.total()}), redelivered {again}"
        if "RabbitMQ closed the connection: INTERNAL_ERROR" in vault.log.read_text():
            return False
        assert again == 0 and vault.metric("coffre_deliver_declined_total") > 0, "what went back was seen by nobody"
        # Its limit, and the messages it may take besides: four, and what RabbitMQ had sent when the limit was met.
        assert rounds > 1 and 0 < most < 2 << 20, (rounds, most)
        wait_until(lambda: vault.metric("coffre_deliver_held_bytes") == 0, 30, "nothing is held")
        assert vault.stop() == 0
    return True


def test_unacknowledged_answers_are_bounded_in_bytes_and_all_come():
    """Some MB of answers, all asked for at once and acknowledged at the end of what comes: again and again until none is left. Those of single
    deposits come first, in many small messages: as many again of the large ones behind are more than there is room for, and go back."""
    assert any(held_and_given_back() for _ in range(3))


run(globals())
