#!/usr/bin/python3
"""The real JMS client's failover: answers lost, connections cut, fronts and nodes killed. Nothing lost, nothing twice."""
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "jms"))
from sensors import *

sensor = Depositor()


def through(relay, *others, **options):
    """The vault behind a relay, and then other nodes; reconnecting fast."""
    return failover_url(ssl_url(relay.port), *others, **{"initialReconnectDelay": 50, "maxReconnectDelay": 500, "randomize": False, **options})


def reconnected(connection, times=1):
    wait_until(lambda: connection.inbox.reconnected(times), 60, f"the client has reconnected ({times})")


def once_each(names, before):
    """Every deposit is one event and has one number, whatever answers it got; no number is missing."""
    serials = ok_answers(sensor, names)
    assert len(set(serials.values())) == len(names)
    wait_stored(before + len(names))
    check_numbers()
    return serials


def fronts(name="coffre-ingest"):
    return children(pid_of(name)).get("front", [])


# ---- sending --------------------------------------------------------------------------------------------

def test_a_response_that_is_lost_is_asked_for_again():
    before = stored()
    with Relay(port("STOMP")) as relay, sensor.connect(through(relay)) as connection:
        session = connection.createSession(False, AUTO)
        producer = producer_of(session)
        names = [put(session, producer)]
        for turn in range(3):
            relay.silence(to_client=True)
            name = unique()
            sending = producer.later.send(make(session, name))
            wait_stored(before + len(names) + 1) # the vault has it, the client does not know
            assert not sending.done()
            relay.cut()
            jvm().result(sending, "the send")
            names.append(name)
            assert connection.inbox.interruptions() == turn + 1
        names.append(put(session, producer))
    once_each(names, before)


def test_a_send_that_never_arrived_is_sent_again():
    before = stored()
    with Relay(port("STOMP")) as relay, sensor.connect(through(relay)) as connection:
        session = connection.createSession(False, AUTO)
        producer = producer_of(session)
        relay.silence(to_client=True, to_vault=True)
        name = unique()
        sending = producer.later.send(make(session, name))
        time.sleep(0.5)
        assert not sending.done() and stored() == before
        relay.cut()
        jvm().result(sending, "the send")
    once_each([name], before)


def test_an_open_transaction_is_replayed():
    before = stored()
    with Relay(port("STOMP")) as relay, sensor.connect(through(relay)) as connection:
        session = connection.createSession(True, AUTO)
        producer = producer_of(session)
        names = [put(session, producer) for _ in range(10)]
        relay.cut()
        reconnected(connection)
        names += [put(session, producer) for _ in range(5)]
        extra = producer_of(session) # gone again when the transaction is replayed
        names.append(put(session, extra))
        extra.close()
        relay.cut()
        reconnected(connection, 2)
        session.commit()
        lost = put(session, producer)
        relay.cut()
        reconnected(connection, 3)
        session.rollback()
        names.append(put(session, producer))
        session.commit()
        assert lost not in names
    serials = once_each(names, before)
    assert [serials[name] for name in names] == sorted(serials.values()), "in the order they were sent"


def test_a_commit_whose_answer_is_lost_leaves_no_doubt_in_the_end():
    # The client cannot know and says so; the application sends again, with the same ClientIds, and the vault knows them.
    before = stored()
    with Relay(port("STOMP")) as relay, sensor.connect(through(relay)) as connection:
        session = connection.createSession(True, AUTO)
        producer = producer_of(session)
        names = [put(session, producer) for _ in range(5)]
        time.sleep(0.3)
        relay.silence(to_client=True)
        committing = session.later.commit()
        wait_stored(before + 5)
        relay.cut()
        refusal(lambda: jvm().result(committing, "commit"), "TransactionRolledBackException")
        for name in names:
            put(session, producer, name)
        session.commit()
    once_each(names, before)


def test_a_storm_of_cuts_under_load():
    before = stored()
    with Relay(port("STOMP")) as relay, sensor.connect(through(relay)) as connection:
        names, cuts = [], 0
        while connection.inbox.interruptions() < 3: # cut at least some times: a load may be faster than who looks at it
            assert len(names) < 4000, (len(names), cuts)
            loading = jvm().type("Load").later.send(connection, IN, TEMPLATE, unique("tempete"), 4, 100, 0, True)
            while not loading.done():
                sent = relay.bytes_to_vault
                wait_until(lambda: loading.done() or relay.bytes_to_vault > sent + 30000, 60, "deposits flow")
                if not loading.done() and (cuts < 8 or connection.inbox.interruptions() < 3):
                    relay.silence(to_client=cuts % 2 == 0)
                    time.sleep(0.05)
                    relay.cut()
                    cuts += 1
            names += jvm().result(loading, "the load")
    once_each(names, before)


def test_tracked_messages_of_asynchronous_sends_are_stored_once():
    before = stored()
    with Relay(port("STOMP")) as relay, sensor.connect(through(relay, trackMessages=True, jms_useAsyncSend=True)) as connection:
        session = connection.createSession(False, AUTO)
        producer = producer_of(session)
        names = [put(session, producer) for _ in range(50)]
        wait_stored(before + 50)
        relay.cut() # and the client sends some of them once more
        reconnected(connection)
        names += [put(session, producer) for _ in range(50)]
        wait_stored(before + 100)
    once_each(names, before)


# ---- reading ----------------------------------------------------------------------------------------------

def test_answers_not_acknowledged_come_again_after_a_cut():
    before = stored()
    with Relay(port("STOMP")) as relay, sensor.connect(through(relay)) as connection:
        session = connection.createSession(True, AUTO)
        consumer = consumer_of(session)
        writing = connection.createSession(False, AUTO)
        producer = producer_of(writing)
        names = [put(writing, producer) for _ in range(10)]
        wait_stored(before + 10)
        first = [client_id(told) for told in receive(consumer, 6)]
        assert first == names[:6]
        relay.cut()
        reconnected(connection)
        # The client either sees them all again and may commit, or is told that its transaction is lost.
        got = {client_id(told) for told in receive(consumer, 4)}
        try:
            session.commit()
        except JavaError as lost:
            assert "TransactionRolledBackException" in lost.kinds, lost
            end = time.monotonic() + 60
            while not set(names) <= got and time.monotonic() < end:
                told = tell(consumer.receive(2000))
                got |= {client_id(told)} if told else set()
            session.commit()
        assert set(names) <= got | set(first)
    # What is left, if anything, are answers of these; nothing is missing.
    with sensor.connect() as connection:
        consumer = consumer_of(connection.createSession(False, AUTO))
        while (told := tell(consumer.receive(NOTHING))) is not None:
            assert client_id(told) in names and told["redelivered"], told
    check_numbers()


def test_a_consumer_goes_on_after_cuts():
    before = stored()
    inbox = new("Inbox")
    with Relay(port("STOMP")) as relay, sensor.connect(through(relay)) as connection:
        session = connection.createSession(False, AUTO)
        consumer_of(session).setMessageListener(inbox)
        writing = connection.createSession(False, AUTO)
        producer = producer_of(writing)
        names, seen = [], set()

        def all_seen():
            seen.update(client_id(tell(message)) for message in inbox.all())
            return seen >= set(names)
        for turn in range(4):
            names += [put(writing, producer) for _ in range(5)]
            if turn % 2:
                wait_until(all_seen, 60, "answers come")
            relay.cut()
            reconnected(connection, turn + 1)
        wait_until(all_seen, 60, "all answers have come")
        assert seen == set(names)
    wait_stored(before + len(names))


def test_temporary_queues_survive_a_reconnection():
    with Relay(port("STOMP")) as relay, sensor.connect(through(relay)) as connection:
        session = connection.createSession(False, AUTO)
        queue = session.createTemporaryQueue()
        consumer = session.createConsumer(queue)
        names = []
        for turn in range(3):
            message = make(session, unique())
            message.setJMSReplyTo(queue)
            producer_of(session).send(message)
            (told,) = receive(consumer, 1)
            assert told["correlation"] == message.getJMSMessageID()
            names.append(client_id(told))
            relay.cut()
            reconnected(connection, turn + 1)
    ok_answers(sensor, names)


# ---- who a connection is ------------------------------------------------------------------------------------

def named(identity, name, url=None):
    """A connection that says it is the connection `name`."""
    def prepare(connection):
        connection.setWatchTopicAdvisories(False)
        connection.getConnectionInfo().setConnectionId(new("org.apache.activemq.command.ConnectionId", name))
    return identity.connect(url, prepare=prepare)


def test_a_connection_is_taken_over_by_its_own_certificate_only():
    other = Depositor("EC")
    name = f"ID:capteur-{unique()}-1:1"
    first = named(sensor, name)
    still_works(sensor, first)
    # Somebody else's: either refused, or a connection of its own beside; the first one lives.
    try:
        thief = named(other, name)
        still_works(other, thief)
        thief.close()
    except JavaError as failure:
        assert "JMSException" in failure.kinds and not failure.says("EOF"), failure
    still_works(sensor, first)
    assert first.inbox.exception(0) is None
    second = named(sensor, name)
    wait_until(lambda: first.inbox.exception(100), 60, "the first one is cut: the last one wins")
    still_works(sensor, second)
    second.close()
    first.later.close()


def test_a_half_dead_connection_does_not_keep_the_answers():
    # The network has forgotten the old connection, the vault not yet: the client is back before, with the same name.
    before = stored()
    with Relay(port("STOMP")) as relay, Relay(port("STOMP")) as second:
        url = through(relay, ssl_url(second.port))
        with sensor.connect(url) as connection:
            session = connection.createSession(False, CLIENT)
            consumer = consumer_of(session)
            writing = connection.createSession(False, AUTO)
            names = [put(writing, producer_of(writing)) for _ in range(3)]
            receive(consumer, 3)
            relay.lose_client()
            reconnected(connection)
            wait_stored(before + 3)
            got = [client_id(told) for told in jvm().Messages.tellAll(jvm().Messages.receive(consumer, 3, 20000))]
            assert set(got) <= set(names)
            message = make(writing, unique())
            producer_of(writing).send(message)
            names.append(message.getStringProperty("ClientId"))
        relay.cut()
    once_each(names, before)


def test_a_binding_that_is_revoked_and_comes_back():
    revoked = Depositor("EC")
    connection = revoked.connect(failover_url(maxReconnectDelay=200))
    still_works(revoked, connection)
    query("UPDATE role SET revoked_at = now() WHERE cn = %s AND profile = 'depositor'", revoked.name)
    try:
        said = wait_until(lambda: connection.inbox.exception(100), 60, "the session is cut, and told that it may not come back")
        assert "bound" in said, said
        refusal(lambda: revoked.connect(failover_url()), "JMSSecurityException")
    finally:
        query("UPDATE role SET revoked_at = NULL WHERE cn = %s AND profile = 'depositor'", revoked.name)
    connection.later.close() # the client waits 15 s for an answer that cannot come any more

    def works_again():
        try:
            with revoked.connect() as again:
                still_works(revoked, again)
                return True
        except JavaError:
            return False
    wait_until(works_again, 60, "it may deposit again")


# ---- keep-alive -------------------------------------------------------------------------------------------------

QUICK = {"wireFormat_maxInactivityDuration": 3000, "wireFormat_maxInactivityDurationInitalDelay": 3000}


def test_an_idle_connection_is_kept_alive():
    connections = [sensor.connect(ssl_url(**QUICK)), sensor.connect(failover_url(ssl_url(**QUICK))),
                   sensor.connect(ssl_url(wireFormat_maxInactivityDuration=0)), sensor.connect()]
    time.sleep(12) # four times as long
    for connection in connections:
        assert connection.inbox.exception(0) is None and connection.inbox.interruptions() == 0
        still_works(sensor, connection)
        connection.close()


def test_a_client_that_says_nothing_is_dropped():
    with Relay(port("STOMP")) as relay:
        connection = sensor.connect(ssl_url(relay.port, **QUICK))
        still_works(sensor, connection)
        relay.silence(to_client=False, to_vault=True) # the client hears the vault, the vault not the client
        wait_until(lambda: relay.ended_by_vault == 1, 60, "the vault ends the connection")
        assert connection.inbox.exception(60000)
        connection.later.close()


def test_a_vault_that_says_nothing_is_left():
    with Relay(port("STOMP")) as silent, Relay(port("STOMP")) as second:
        url = failover_url(ssl_url(silent.port, **QUICK), ssl_url(second.port), randomize=False)
        with sensor.connect(url) as connection:
            still_works(sensor, connection)
            silent.silence(to_client=True)
            reconnected(connection)
            still_works(sensor, connection)
            assert second.accepted >= 1


# ---- processes that die --------------------------------------------------------------------------------------------

def test_a_front_that_is_killed():
    before = stored()
    with sensor.connect(failover_url(maxReconnectDelay=200)) as connection:
        loading = jvm().type("Load").later.send(connection, IN, TEMPLATE, unique("front"), 2, 400, 5, True)
        wait_until(lambda: stored() >= before + 60, 60, "deposits flow")
        for pid in fronts():
            os.kill(pid, signal.SIGKILL)
        names = jvm().result(loading, "the load")
        wait_until(lambda: connection.inbox.interruptions() >= 1, 60, "the client has noticed")
        session = connection.createSession(False, AUTO)
        names += [put(session, producer_of(session)) for _ in range(5)]
    wait_until(fronts, 60, "a new front")
    once_each(names, before)


def test_two_nodes_one_is_killed():
    instance("start", "coffre-ingest@2")
    before = stored()
    url = failover_url(ssl_url(), ssl_url(port("STOMP") + 1), randomize=False, maxReconnectDelay=200)
    with sensor.connect(url) as up, sensor.connect(url) as down:
        inbox = new("Inbox")
        consumer_of(down.createSession(False, AUTO)).setMessageListener(inbox)
        sending = jvm().type("Load").later.send(up, IN, TEMPLATE, unique("noeud"), 4, 300, 0, True)
        wait_until(lambda: stored() >= before + 50, 60, "deposits flow")
        instance("kill", "coffre-ingest")
        names = jvm().result(sending, "the load")
        wait_until(lambda: (up.inbox.interruptions(), down.inbox.interruptions()) == (1, 1), 60, "both have noticed, once")
        serials = {}

        def all_answered():
            for message in inbox.all():
                properties = tell(message)["properties"]
                assert properties["CFJLStatus"] in ("CFJL_OK", "CFJL_DUPLICATE_EVENT"), properties
                serials.setdefault(properties["ClientId"], set()).add(properties["CFJLJELSerial"])
            return set(serials) >= set(names)
        wait_until(all_answered, 120, "every deposit is answered by the node that is left")
        assert all(len(numbers) == 1 for numbers in serials.values()), "a deposit with two numbers"
        wait_stored(before + len(names))
    check_numbers()
    # The first one comes back, the second one goes: back again.
    instance("start", "coffre-ingest")
    before = stored()
    with sensor.connect(failover_url(ssl_url(port("STOMP") + 1), ssl_url(), randomize=False, maxReconnectDelay=200)) as up:
        session = up.createSession(True, AUTO)
        producer = producer_of(session)
        names = [put(session, producer) for _ in range(10)]
        instance("stop", "coffre-ingest@2") # in good order, and in the middle of a transaction
        session.commit()
    once_each(names, before)


run(globals())
