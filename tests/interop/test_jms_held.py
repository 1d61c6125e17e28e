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
ALONE = 140 # deposits with an answer in a message of its own: deliver fetches 4, 64, 68 and then 136 messages, with room for 1 MiB

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


def test_unacknowledged_answers_are_bounded_in_bytes_and_all_come():
    """Some MB of answers, all asked for at once and acknowledged at the end of what comes: again and again until none is left. First come single deposits,
    each answered before the next and so by a message of its own: as many again of the large messages behind them are more than there is room for, and go back,
    however many deposits the ledger answers at once."""
    before, text = stored(), event("@@").decode()
    with sensor.connect(failover_url()) as connection:
        session = connection.createSession(False, AUTO)
        queue = session.createTemporaryQueue()
        consumer = session.createConsumer(queue)
        names = [request(session, queue, consumer)[0] for _ in range(ALONE)]
        names += jvm().type("Load").send(connection, IN, text, unique("tenu"), 8, 1500, 50, True)
    wait_stored(before + len(names))
    with Small() as vault:
        got, again, rounds, most = receive_all(vault, names)
        more, fewer = (collections.Counter(got) - collections.Counter(names), collections.Counter(names) - collections.Counter(got))
        assert not more and not fewer, f"every answer once: too many {list(more)[:3]} ({more.total()}), too few {list(fewer)[:3]} ({fewer.total()}), redelivered {again}"
        # Its limit, and the messages it may take besides: four, and what RabbitMQ had sent when the limit was met.
        assert rounds > 1 and 0 < most < 2 << 20, (rounds, most)
        declined = vault.metric("coffre_deliver_declined_total")
        print(f"# {declined} messages went back, all came in {rounds} rounds")
        assert declined > 0 and again == 0, f"what went back was seen by nobody: {again} redelivered"
        wait_until(lambda: vault.metric("coffre_deliver_held_bytes") == 0, 30, "nothing is held")
        assert "RabbitMQ closed the connection" not in vault.log.read_text()
        assert vault.stop() == 0


def consumers(depositor):
    """Their tags, as RabbitMQ has them."""
    said = instance("rabbitmqctl", "-q", "list_consumers", "-p", "coffre", "queue_name", "consumer_tag", "--no-table-headers").stdout
    return {tag for queue, tag in (line.split("\t") for line in said.splitlines()) if queue == f"{OUT}.{depositor}"}


def test_consumers_of_rabbitmq_have_tags_of_their_own():
    """The first of a queue and those that fetch more: RabbitMQ 3.10 ends a connection over a tag that comes again while messages to its earlier holder are not settled."""
    other, seen = Depositor(), []
    depositor = value("SELECT id FROM role WHERE cn = %s", other.name)
    with other.connect() as connection:
        session = connection.createSession(False, CLIENT)
        queue = session.createTemporaryQueue()
        replies = session.createConsumer(queue)
        names = {request(session, queue, replies)[0] for _ in range(8)} # more messages than the first consumer brings
        for _ in range(3):
            reader = connection.createSession(False, CLIENT)
            assert set(ids(receive(consumer_of(reader), len(names)))) == names
            tags = consumers(depositor)
            assert len(tags) > 1, tags
            seen += tags
            reader.close()
            wait_until(lambda: not consumers(depositor), 30, "nobody reads the queue")
    assert len(set(seen)) == len(seen), seen


run(globals())
