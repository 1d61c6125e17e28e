#!/usr/bin/python3
"""The real JMS client deposits: every way of sending, transactions, habits of Spring and of pools; and what is refused keeps its connection."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "jms"))
from sensors import *

MIB = 1 << 20
sensor = Depositor()
connection = sensor.connect(ssl_url())


def deposited(names, before):
    """The vault has exactly these deposits more than before, each with an answer of its own; their serials."""
    wait_stored(before + len(set(names)))
    serials = ok_answers(sensor, names)
    assert len(set(serials.values())) == len(set(names))
    return serials


def template(mark="@@"):
    return event(mark).decode()


# ---- one by one ---------------------------------------------------------------------------------------

def test_text_and_bytes_persistent_and_not():
    before = stored()
    session = connection.createSession(False, AUTO)
    producer = producer_of(session)
    names = []
    for mode in (PERSISTENT, NON_PERSISTENT):
        producer.setDeliveryMode(mode)
        names.append(put(session, producer))
        names.append(unique("octets"))
        producer.send(jvm().Messages.depositBytes(session, event("é€😀 en octets"), names[-1]))
    session.close()
    deposited(names, before)


def test_every_option_of_a_send():
    before = stored()
    session = connection.createSession(False, AUTO)
    producer = producer_of(session)
    names = [put(session, producer)]
    producer.setDisableMessageID(True)
    producer.setDisableMessageTimestamp(True)
    producer.setPriority(9)
    producer.setTimeToLive(3600000)
    names.append(put(session, producer))
    producer.send(make(session, (name := unique())), NON_PERSISTENT, 0, 1000)
    message = make(session, (other := unique()))
    message.setJMSType("PASPMISE")
    message.setJMSCorrelationID("à moi")
    message.setStringProperty("JMSXGroupID", "groupe")
    message.setObjectProperty("entier", Typed("I", -5))
    message.setObjectProperty("long", Typed("L", 1 << 40))
    message.setObjectProperty("court", Typed("S", 3))
    message.setObjectProperty("octet", Typed("B", -1))
    message.setObjectProperty("simple", Typed("F", 1.5))
    message.setObjectProperty("double", 2.5)
    message.setBooleanProperty("vrai", True)
    message.setStringProperty("vide", "")
    message.setStringProperty("long texte", "x" * 40000)
    producer.send(message)
    deposited([*names, name, other], before)


def test_texts_of_every_alphabet_come_through_exactly():
    session = connection.createSession(False, AUTO)
    producer = producer_of(session)
    bodies = {}
    for text in ("é€😀", "\u07ff\u0800\ufffd\U0010fffd", "\x09 tabulation &amp; \u0085", "नमस्ते", "x" * 70000 + "é"):
        name = unique()
        bodies[name] = event(text)
        put(session, producer, name, bodies[name].decode())
    session.close()
    found, _ = answers(sensor, bodies)
    for name, body in bodies.items():
        properties = found[name]["properties"]
        assert properties["CFJLStatus"] == "CFJL_OK", properties
        assert properties["CFJLDigest"] == digest(body.replace(PLACEHOLDER, properties["CFJLJELSerial"].encode()))


def test_a_text_with_nul_is_invalid_not_lost():
    session = connection.createSession(False, AUTO)
    name = put(session, producer_of(session), body=event("nul").decode().replace("nul", "n\0l"))
    session.close()
    properties = answers(sensor, [name])[0][name]["properties"]
    assert properties["CFJLStatus"] == "CFJL_INVALID_MESSAGE" and properties["CFJLReason"], properties


def test_properties_as_other_programs_write_them():
    session = connection.createSession(False, AUTO)
    producer = producer_of(session)
    body = event("propriétés")
    cases = [({}, None), ({"Timestamp": str(int(time.time() * 1000))}, None), ({"Timestamp": Typed("I", 5)}, None), ({"Timestamp": None}, None),
             ({"Digest": digest(body).upper()}, None), ({"DigestAlgo": "http://www.w3.org/2001/04/xmlenc#sha256"}, None),
             ({"Digest": hashlib.sha1(body).hexdigest(), "DigestAlgo": "SHA-1"}, None),
             ({"Digest": hashlib.sha384(body).hexdigest(), "DigestAlgo": "SHA-384"}, None),
             ({"Digest": "0" * 64}, "digest-mismatch"), ({"Digest": None}, "digest-missing"), ({"DigestAlgo": "MD5"}, "digest-algorithm")]
    wanted = {}
    for properties, reason in cases:
        name = unique("propriété é€")
        message = make(session, name, body.decode())
        for key, content in properties.items():
            message.setObjectProperty(key, content)
        producer.send(message)
        wanted[name] = (properties, reason)
    found, _ = answers(sensor, wanted)
    for name, (properties, reason) in wanted.items():
        said = found[name]["properties"]
        assert (said["CFJLStatus"] == "CFJL_OK") == (reason is None), (properties, said)
        assert reason is None or said["CFJLReason"].startswith(reason), (properties, said)
    session.close()


def test_a_deposit_without_an_identifier_is_invalid():
    session = connection.createSession(False, AUTO)
    message = make(session, "")
    message.clearProperties()
    producer_of(session).send(message)
    with sensor.connect() as reader:
        (told,) = receive(consumer_of(reader.createSession(False, AUTO)), 1)
    assert told["properties"]["CFJLStatus"] == "CFJL_INVALID_MESSAGE" and told["properties"]["CFJLReason"].startswith("client-id-missing"), told
    assert told["types"]["CFJLLotId"] == "Long" and told["types"]["ClientId"] == "String"
    session.close()


def test_an_empty_or_absent_text_is_invalid():
    session = connection.createSession(False, AUTO)
    producer = producer_of(session)
    names = [unique("vide"), unique("nul")]
    producer.send(make(session, names[0], ""))
    absent = make(session, names[1], "")
    absent.setText(None)
    producer.send(absent)
    session.close()
    found, _ = answers(sensor, names)
    for name in names:
        assert found[name]["properties"]["CFJLStatus"] == "CFJL_INVALID_MESSAGE", found[name]


def test_a_large_event_of_200_kB():
    before = stored()
    session = connection.createSession(False, AUTO)
    name = put(session, producer_of(session), body=event("x" * 200000).decode())
    session.close()
    deposited([name], before)


def test_an_anonymous_producer_sends_where_it_says():
    before = stored()
    session = connection.createSession(False, AUTO)
    producer = session.createProducer(None)
    names = [unique(), unique()]
    for name in names:
        producer.send(session.createQueue(IN), make(session, name))
    refusal(lambda: producer.send(session.createQueue("Ailleurs"), make(session, unique())), "InvalidDestinationException")
    names.append(unique())
    producer.send(session.createQueue(f"{IN}?consumer.prefetchSize=1"), make(session, names[-1]))
    session.close()
    deposited(names, before)


def test_the_same_deposit_twice_is_one_event():
    before = stored()
    session = connection.createSession(False, AUTO)
    producer = producer_of(session)
    name = unique()
    message = make(session, name)
    producer.send(message)
    producer.send(message)
    put(session, producer, name)
    session.close()
    deposited([name], before)
    with sensor.connect() as reader:
        consumer = consumer_of(reader.createSession(False, AUTO))
        told = receive(consumer, 2) # those that deposited() left
        assert [one["properties"]["CFJLStatus"] for one in told] == ["CFJL_DUPLICATE_EVENT"] * 2, told
        nothing_comes(consumer, reader)
    wait_stored(before + 2)


# ---- many -----------------------------------------------------------------------------------------------

def test_asynchronous_sends():
    before = stored()
    with sensor.connect(ssl_url(jms_useAsyncSend=True)) as fast:
        names = jvm().Load.send(fast, IN, template(), unique("async"), 4, 250, 0, True)
    deposited(names, before)


def test_completions_of_asynchronous_sends_come_all():
    before = stored()
    session = connection.createSession(False, AUTO)
    producer = producer_of(session)
    done = new("Completions")
    names = [unique() for _ in range(200)]
    for name in names:
        producer.send(make(session, name), done)
    wait_until(lambda: done.successes() + done.failures() == 200, 60, "200 completions")
    assert done.failures() == 0, done.last()
    session.close()
    deposited(names, before)


def test_compressed_deposits():
    before = stored()
    with sensor.connect(ssl_url(jms_useCompression=True)) as small:
        session = small.createSession(False, AUTO)
        producer = producer_of(session)
        names = [put(session, producer), unique(), put(session, producer, body=event("a" * 300000).decode())]
        producer.send(jvm().Messages.depositBytes(session, event("é" * 5000), names[1]))
        empty = unique("vide")
        producer.send(make(session, empty, ""))
        producer.send(jvm().Messages.depositBytes(session, b"", (none := unique("vide"))))
    deposited(names, before)
    found, _ = answers(sensor, [empty, none])
    assert {found[name]["properties"]["CFJLStatus"] for name in (empty, none)} == {"CFJL_INVALID_MESSAGE"}


def test_what_expands_beyond_the_limit_is_refused_however_small_it_came():
    with sensor.connect(ssl_url(jms_useCompression=True)) as small:
        session = small.createSession(False, AUTO)
        producer = producer_of(session)
        before = stored()
        refusal(lambda: producer.send(jvm().Messages.large(session, 40 * MIB, False)), "JMSException")
        refusal(lambda: producer.send(jvm().Messages.large(session, 40 * MIB, True)), "JMSException")
        deposited([put(session, producer)], before)


def test_a_producer_window_never_closes_for_good():
    before = stored()
    names = []
    for options in ({"jms_producerWindowSize": 10000}, {"jms_producerWindowSize": 10000, "jms_useAsyncSend": True},
                    {"jms_producerWindowSize": 10000, "jms_useAsyncSend": True, "jms_useCompression": True},
                    {"jms_producerWindowSize": 3000, "jms_useAsyncSend": True, "wireFormat_version": 6}):
        with sensor.connect(ssl_url(**options)) as windowed:
            names += jvm().Load.send(windowed, IN, template(), unique("fenetre"), 2, 150, 0, True)
    with sensor.connect(ssl_url(jms_producerWindowSize=10000)) as windowed:
        names += jvm().Load.send(windowed, IN, template(), unique("fenetre"), 2, 100, 10, False)
    deposited(names, before)


def test_many_sessions_and_producers_on_one_connection():
    before = stored()
    names = jvm().Load.send(connection, IN, template(), unique("sessions"), 8, 25, 0, True)
    names += jvm().Load.send(connection, IN, template(), unique("lots"), 8, 25, 5, True)
    names += jvm().Load.send(connection, IN, template(), unique("legers"), 8, 25, 0, False)
    serials = deposited(names, before)
    # Each session's deposits are numbered in its order.
    for prefix in {name.rsplit("-", 1)[0] for name in names}:
        own = [serials[f"{prefix}-{i}"] for i in range(25)]
        assert own == sorted(own), prefix


def test_sends_of_one_session_keep_their_order():
    with sensor.connect(ssl_url(jms_useAsyncSend=True)) as fast:
        before = stored()
        names = jvm().Load.send(fast, IN, template(), unique("suite"), 1, 500, 0, True)
        serials = deposited(names, before)
    numbers = [serials[name] for name in names]
    assert numbers == list(range(numbers[0], numbers[0] + 500)), numbers[:20]


# ---- habits ------------------------------------------------------------------------------------------------

def test_jms_template_with_a_connection_for_every_send():
    before = stored()
    template_of = new("org.springframework.jms.core.JmsTemplate", sensor.factory(failover_url()))
    names = [unique("spring") for _ in range(15)]
    for name in names:
        template_of.send(IN, new("SpringDeposit", event(name).decode(), name))
    deposited(names, before)


def test_jms_template_transacted_on_one_connection():
    before = stored()
    single = new("org.springframework.jms.connection.SingleConnectionFactory", sensor.factory(failover_url()))
    template_of = new("org.springframework.jms.core.JmsTemplate", single)
    template_of.setSessionTransacted(True)
    names = [unique("spring") for _ in range(50)]
    for name in names:
        template_of.send(IN, new("SpringDeposit", event(name).decode(), name))
    single.destroy()
    deposited(names, before)


def test_jms_template_with_cached_sessions():
    before = stored()
    cached = new("org.springframework.jms.connection.CachingConnectionFactory", sensor.factory(ssl_url()))
    cached.setSessionCacheSize(4)
    template_of = new("org.springframework.jms.core.JmsTemplate", cached)
    template_of.setExplicitQosEnabled(True)
    template_of.setDeliveryPersistent(False)
    names = [unique("spring") for _ in range(50)]
    for name in names:
        template_of.send(IN, new("SpringDeposit", event(name).decode(), name))
    got = template_of.later.receive(OUT)
    assert tell(jvm().result(got, "JmsTemplate.receive")) is not None
    cached.destroy()
    wait_stored(before + 50)


def test_a_session_and_a_producer_for_every_send():
    before = stored()
    names = []
    for _ in range(150):
        session = connection.createSession(False, AUTO)
        producer = producer_of(session)
        names.append(put(session, producer))
        producer.close()
        session.close()
    deposited(names, before)


def test_a_pool_gives_the_connection_to_another():
    # What a pool or a resource adapter does: everything of the connection is removed, then it says its name again on the same transport.
    before = stored()
    for url in (ssl_url(), failover_url()):
        names = []
        with sensor.connect(url) as pooled:
            for turn in range(6):
                session = pooled.createSession(turn % 2 == 1, AUTO)
                names.append(put(session, producer_of(session)))
                if turn % 2 == 1:
                    session.commit()
                lost = pooled.createSession(True, AUTO) # its transaction dies with the cleanup
                put(lost, producer_of(lost))
                if turn % 3 == 0:
                    pooled.cleanup() # sessions only
                else:
                    pooled.doCleanup(True) # and the connection's own name
                if turn == 4:
                    pooled.changeUserInfo("autre", "mot")
                pooled.start()
        deposited(names, before)
        before += len(names)


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
    serials = deposited(names, before)
    numbers = [serials[name] for name in names]
    assert numbers == list(range(numbers[0], numbers[0] + 20)), numbers
    put(session, producer, lost[0])
    session.close() # without commit
    deposited([last := put((plain := connection.createSession(False, AUTO)), producer_of(plain))], before + 20)
    assert last and stored() == before + 21


def test_a_transaction_of_a_thousand():
    before = stored()
    names = jvm().Load.send(connection, IN, template(), unique("mille"), 1, 1000, 1000, True)
    serials = deposited(names, before)
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
    deposited([row[i] for row in names for i in (0, 2, 4)], before)
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
    for url in (ssl_url(), failover_url(), ssl_url(wireFormat_version=6)):
        with sensor.connect(url) as own:
            before = stored()
            session = own.createSession(False, AUTO)
            producer = producer_of(session)
            for size in (MIB + 1, 5 * MIB, 20 * MIB):
                refusal(lambda: producer.send(jvm().Messages.large(session, size, False)), "JMSException")
                name = put(session, producer) # the same producer
                answers(sensor, [name], own)
            assert stored() == before + 3
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
