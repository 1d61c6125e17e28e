#!/usr/bin/python3
"""The real JMS client reads its answers: every acknowledgement mode, prefetch, redelivery, archive notices."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "jms"))
from sensors import *

sensor = Depositor()
other = Depositor("EC")
writer = sensor.connect(failover_url())
writing = writer.createSession(True, AUTO)


def waiting(count):
    """Deposits so many events and waits until all their answers are in the queue, which holds nothing else; their ClientIds."""
    before = stored()
    names = [unique() for _ in range(count)]
    producer = producer_of(writing)
    for name in names:
        put(writing, producer, name)
    writing.commit()
    producer.close()
    wait_stored(before + count)
    return names


def reader(mode=AUTO, **options):
    """A connection with its only consumer, of the answers: (connection, session, consumer)."""
    connection = sensor.connect(ssl_url(**options))
    session = connection.createSession(mode == TRANSACTED, mode)
    return connection, session, consumer_of(session)


# ---- what an answer is -----------------------------------------------------------------------------------

def test_the_properties_have_the_types_that_sensors_read():
    session = writer.createSession(False, AUTO)
    producer = producer_of(session)
    good, bad = unique("bon"), unique("faux")
    put(session, producer, good)
    put(session, producer, good)
    message = make(session, bad)
    message.setStringProperty("Digest", "0" * 64)
    producer.send(message)
    connection, _, consumer = reader()
    with connection:
        got = receive(consumer, 3)
        nothing_comes(consumer, connection)
    by_status = {told["properties"]["CFJLStatus"]: told for told in got}
    assert set(by_status) == {"CFJL_OK", "CFJL_DUPLICATE_EVENT", "CFJL_INVALID_MESSAGE"}, got
    for status, told in by_status.items():
        types, properties = told["types"], told["properties"]
        assert types["CFJLLotId"] == "Long", (status, types)
        for name in ("CFJLStatus", "CFJLJELSerial", "CFJLDigest", "CFJLDigestAlgo", "ClientId"):
            assert types[name] == "String", (status, name, types)
        assert {name for name in types if not name.startswith("JMS")} == {
            "CFJLStatus", "CFJLJELSerial", "CFJLDigest", "CFJLDigestAlgo", "ClientId", "CFJLLotId",
            *(["CFJLReason"] if status == "CFJL_INVALID_MESSAGE" else [])}, types
        assert told["destination"] == f"queue://{OUT}" and told["id"].startswith("ID:"), told
        assert told["redelivered"] is False and told["count"] == 1, told
    ok, again, invalid = (by_status[f"CFJL_{status}"]["properties"] for status in ("OK", "DUPLICATE_EVENT", "INVALID_MESSAGE"))
    assert ok["CFJLLotId"] > 0 and ok["CFJLJELSerial"] == str(int(ok["CFJLJELSerial"]))
    assert ok["CFJLDigest"] == digest(event(good, placeholder=ok["CFJLJELSerial"]))
    assert {**ok, "CFJLStatus": again["CFJLStatus"]} == again
    assert by_status["CFJL_INVALID_MESSAGE"]["types"]["CFJLReason"] == "String"
    assert invalid["CFJLReason"].startswith("digest-mismatch") and invalid["ClientId"] == bad
    assert len({told["id"] for told in got}) == 3, "every message has an identifier of its own"


def test_archive_notices_have_the_types_that_sensors_read():
    (name,) = waiting(1)
    (told,) = finish(sensor, [name])
    lot, serial = told["properties"]["CFJLLotId"], int(told["properties"]["CFJLJELSerial"])
    with sensor.connect() as connection:
        consumer = consumer_of(connection.createSession(False, AUTO), ARCHIVE)
        while True:
            (notice,) = receive(consumer, 1)
            types, properties = notice["types"], notice["properties"]
            assert types["CFJLArchId"] == types["CFJLArchDate"] == "Long", types
            assert abs(properties["CFJLArchDate"] / 1000 - time.time()) < 3600, properties
            if properties["CFJLArchId"] == lot:
                break
        assert int(properties["CFJLFirstSerial"]) <= serial <= int(properties["CFJLLastSerial"]), properties


# ---- acknowledgements --------------------------------------------------------------------------------------

def test_auto_acknowledge():
    names = waiting(30)
    connection, session, consumer = reader(AUTO)
    assert ids(receive(consumer, 30)) == names, "in the order of the deposits"
    connection.close()
    finish(sensor, [])


def test_client_acknowledge_covers_all_before():
    names = waiting(10)
    connection, session, consumer = reader(CLIENT)
    messages = jvm().Messages.receive(consumer, 6, 60000)
    messages[5].acknowledge()
    jvm().Messages.receive(consumer, 2, 60000)
    connection.close()
    got = {client_id(told): told["count"] for told in finish(sensor, names[6:])}
    counts = [got[name] for name in names[6:]]
    assert counts == [2, 2, 1, 1], f"two were seen and not acknowledged, two never seen, {counts}"


def test_dups_ok_acknowledge():
    names = waiting(30)
    connection, session, consumer = reader(DUPS_OK)
    assert ids(receive(consumer, 30)) == names
    connection.close()
    finish(sensor, [])


def test_optimized_acknowledge():
    names = waiting(150)
    connection, session, consumer = reader(AUTO, jms_optimizeAcknowledge=True, jms_prefetchPolicy_queuePrefetch=100)
    assert ids(receive(consumer, 150)) == names
    connection.close()
    finish(sensor, [])


def test_individual_acknowledge():
    names = waiting(8)
    connection, session, consumer = reader(INDIVIDUAL)
    messages = jvm().Messages.receive(consumer, 8, 60000)
    for i in (6, 1, 3):
        messages[i].acknowledge()
    connection.close()
    finish(sensor, [names[i] for i in (0, 2, 4, 5, 7)], redelivered=True)


def test_a_transaction_of_more_than_the_prefetch_committed_late():
    names = waiting(350)
    connection, session, consumer = reader(TRANSACTED, jms_prefetchPolicy_queuePrefetch=100)
    assert ids(receive(consumer, 350)) == names
    time.sleep(3) # minutes, in life
    session.commit()
    connection.close()
    finish(sensor, [])


def test_a_transaction_that_is_rolled_back_is_read_again():
    names = waiting(5)
    connection, session, consumer = reader(TRANSACTED, jms_redeliveryPolicy_initialRedeliveryDelay=50)
    assert [told["redelivered"] for told in receive(consumer, 5)] == [False] * 5
    session.rollback()
    again = receive(consumer, 5)
    assert ids(again) == names
    assert all(told["redelivered"] and told["count"] == 2 for told in again), again
    session.rollback()
    assert all(told["count"] == 3 for told in receive(consumer, 5))
    session.commit()
    connection.close()
    finish(sensor, [])


def test_a_session_closed_without_commit_gives_all_back():
    names = waiting(12)
    connection, session, consumer = reader(TRANSACTED)
    receive(consumer, 12)
    session.close()
    connection.close()
    finish(sensor, names, redelivered=True)


def test_deposits_and_answers_in_one_transaction():
    (name,) = waiting(1)
    before = stored()
    connection, session, consumer = reader(TRANSACTED)
    (got,) = receive(consumer, 1)
    put(session, producer_of(session), unique("annule"))
    session.rollback()
    (again,) = receive(consumer, 1)
    assert client_id(got) == client_id(again) == name
    answered = put(session, producer_of(session), unique("garde"))
    session.commit()
    (last,) = receive(consumer, 1)
    assert client_id(last) == answered
    session.commit()
    connection.close()
    assert stored() == before + 1
    finish(sensor, [])


def test_a_broken_connection_gives_back_with_a_count():
    names = waiting(4)
    for turn in range(1, 4):
        with Relay(port("STOMP")) as relay:
            connection = sensor.connect(ssl_url(relay.port))
            consumer = consumer_of(connection.createSession(False, CLIENT))
            got = receive(consumer, 4)
            assert sorted(ids(got)) == sorted(names)
            assert all(told["count"] == turn and told["redelivered"] == (turn > 1) for told in got), (turn, got)
            relay.cut()
            assert connection.inbox.exception(60000)
            connection.later.close()
    finish(sensor, names, redelivered=True)


def test_prefetched_and_never_seen_is_not_redelivered():
    names = waiting(12)
    connection, session, consumer = reader(AUTO, jms_prefetchPolicy_queuePrefetch=100)
    assert ids(receive(consumer, 3)) == names[:3]
    wait_until(lambda: consumer.getMessageSize() == 9, 60, "the others are in the client")
    consumer.close()
    got = finish(sensor, names[3:], redelivered=False)
    assert ids(got) == names[3:], "in their order"
    connection.close()


def test_a_poisoned_message_does_not_stop_the_others():
    names = waiting(3)
    connection, session, consumer = reader(TRANSACTED, jms_redeliveryPolicy_maximumRedeliveries=1, jms_redeliveryPolicy_initialRedeliveryDelay=10)
    for _ in range(2):
        (told,) = receive(consumer, 1)
        assert client_id(told) == names[0]
        session.rollback()
    # The client gives it up and says so; the next ones come.
    assert ids(receive(consumer, 2)) == names[1:]
    session.commit()
    connection.close()
    connection, session, consumer = reader()
    left = ids(jvm().Messages.tellAll(jvm().Messages.receive(consumer, 2, NOTHING)))
    assert left in ([], names[:1]), left
    connection.close()


# ---- prefetch and several consumers ----------------------------------------------------------------------------

def test_a_prefetch_of_one():
    names = waiting(20)
    connection, session, consumer = reader(AUTO, jms_prefetchPolicy_queuePrefetch=1)
    assert ids(receive(consumer, 20)) == names
    connection.close()
    finish(sensor, [])


def test_a_prefetch_in_the_destination():
    names = waiting(10)
    with sensor.connect() as connection:
        session = connection.createSession(False, CLIENT)
        consumer = consumer_of(session, f"{OUT}?consumer.prefetchSize=2")
        assert ids(receive(consumer, 2)) == names[:2]
    finish(sensor, names)


def test_no_prefetch_pulls():
    connection, session, consumer = reader(AUTO, jms_prefetchPolicy_queuePrefetch=0)
    assert consumer.receiveNoWait() is None
    assert consumer.receive(700) is None
    names = waiting(4)
    assert client_id(tell(consumer.receive(60000))) == names[0]
    got = wait_until(lambda: tell(consumer.receiveNoWait()), 60, "receiveNoWait brings what is there")
    assert client_id(got) == names[1]
    # Without a bound, and begun before there is anything.
    assert ids(receive(consumer, 2)) == names[2:]
    blocked = consumer.later.receive()
    (name,) = waiting(1)
    assert client_id(tell(jvm().result(blocked, "receive()"))) == name
    assert consumer.receive(700) is None
    connection.close()
    finish(sensor, [])


def test_no_prefetch_in_a_transaction():
    names = waiting(3)
    connection, session, consumer = reader(TRANSACTED, jms_prefetchPolicy_queuePrefetch=0)
    assert ids(receive(consumer, 2)) == names[:2]
    connection.close()
    finish(sensor, names)


def test_two_consumers_share():
    connection = sensor.connect(ssl_url(jms_prefetchPolicy_queuePrefetch=1))
    second = sensor.connect(failover_url(jms_prefetchPolicy_queuePrefetch=1))
    consumers = [consumer_of(one.createSession(False, AUTO)) for one in (connection, second, second)]
    names = waiting(30)
    got = [[], [], []]
    end = time.monotonic() + 60
    while sum(map(len, got)) < 30:
        for mine, consumer in zip(got, consumers):
            told = tell(consumer.receive(200))
            if told:
                mine.append(client_id(told))
        assert time.monotonic() < end, got
    assert sorted(sum(got, [])) == sorted(names) and all(got), [len(mine) for mine in got]
    connection.close()
    second.close()
    finish(sensor, [])


def test_one_session_listens_to_both_queues():
    inbox = new("Inbox")
    with sensor.connect() as connection:
        session = connection.createSession(True, AUTO)
        for queue in (OUT, ARCHIVE):
            consumer_of(session, queue).setMessageListener(inbox)
        names = waiting(5)
        seen, lots, archived = set(), set(), set()

        def all_archived():
            told = tell(inbox.take(1000))
            if told and told["destination"] == f"queue://{OUT}":
                seen.add(client_id(told))
                lots.add(told["properties"]["CFJLLotId"])
            elif told:
                archived.add(told["properties"]["CFJLArchId"])
            return seen == set(names) and lots <= archived
        wait_until(all_archived, 90, "five answers and the notices of their lots")
        session.commit()
    finish(sensor, [])


def test_a_listener_that_throws_gets_it_again():
    (name,) = waiting(1)
    inbox = new("Inbox")
    inbox.fail(2)
    connection, session, consumer = reader(AUTO, jms_redeliveryPolicy_initialRedeliveryDelay=10)
    consumer.setMessageListener(inbox)
    got = [tell(inbox.take(60000)) for _ in range(3)]
    assert [client_id(told) for told in got] == [name] * 3 and [told["count"] for told in got] == [1, 2, 3], got
    connection.close()
    finish(sensor, [])


def test_a_connection_stopped_and_started():
    connection, session, consumer = reader()
    connection.stop()
    names = waiting(3)
    assert consumer.receive(NOTHING) is None
    connection.start()
    assert ids(receive(consumer, 3)) == names
    connection.close()


def test_depositors_do_not_read_each_other():
    names = waiting(5)
    with other.connect() as theirs:
        consumer = consumer_of(theirs.createSession(False, AUTO))
        mine = theirs.createSession(False, AUTO)
        name = put(mine, producer_of(mine))
        assert ids(receive(consumer, 1)) == [name]
        nothing_comes(consumer, theirs)
    finish(sensor, names)


def test_options_of_a_consumer_that_change_nothing_here():
    for options in ("consumer.exclusive=true", "consumer.priority=7", "consumer.dispatchAsync=false", "consumer.retroactive=true",
                    "consumer.maximumPendingMessageLimit=5", "consumer.prefetchSize=32766", "consumer.noLocal=true"):
        (name,) = waiting(1)
        with sensor.connect() as connection:
            session = connection.createSession(False, AUTO)
            assert ids(receive(consumer_of(session, f"{OUT}?{options}"), 1)) == [name], options
    (name,) = waiting(1)
    with sensor.connect() as connection:
        session = connection.createSession(False, AUTO)
        assert ids(receive(session.createConsumer(session.createQueue(OUT), None, True), 1)) == [name]
    finish(sensor, [])


def test_a_listener_container_of_spring():
    inbox = new("Inbox")
    container = new("org.springframework.jms.listener.DefaultMessageListenerContainer")
    container.setConnectionFactory(sensor.factory(failover_url()))
    container.setDestinationName(OUT)
    container.setSessionTransacted(True)
    container.setConcurrentConsumers(2)
    container.setMessageListener(inbox)
    container.afterPropertiesSet()
    container.start()
    names, seen = waiting(20), set()

    def all_seen():
        seen.update(client_id(tell(message)) for message in inbox.all())
        return seen >= set(names)
    wait_until(all_seen, 60, "the container gets all answers")
    container.shutdown()
    finish(sensor, [])


def test_many_consumers_and_one_too_many():
    with sensor.connect(ssl_url(jms_prefetchPolicy_queuePrefetch=1)) as connection:
        session = connection.createSession(False, AUTO)
        consumers = [consumer_of(session, OUT if i % 2 else ARCHIVE) for i in range(30)]

        def more():
            for _ in range(2000):
                consumers.append(consumer_of(session))
        refusal(more, "ResourceAllocationException")
        for consumer in consumers:
            consumer.close()
        (name,) = waiting(1)
        assert ids(receive(consumer_of(session), 1)) == [name]
    finish(sensor, [])


def test_what_consumers_may_not():
    (name,) = waiting(1)
    with sensor.connect() as connection:
        session = connection.createSession(False, AUTO)
        queue = session.createQueue(OUT)
        for selector in ("CFJLStatus = 'CFJL_OK'", "JMSCorrelationID = 'x'", "this is no selector"):
            refusal(lambda: session.createConsumer(queue, selector), "InvalidSelectorException")
        refusal(lambda: session.createBrowser(queue).getEnumeration(), "JMSException")
        refusal(session.createTemporaryTopic, "InvalidDestinationException")
        assert ids(receive(session.createConsumer(queue), 1)) == [name], "and the connection stays"
    finish(sensor, [])


def test_nothing_is_left_and_the_numbers_have_no_gap():
    writer.close()
    finish(sensor, [])
    check_numbers()


run(globals())
