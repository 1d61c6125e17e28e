#!/usr/bin/python3
"""The real JMS client deposits: every way of sending, every habit of those who send: Spring, pools, windows, compression."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "jms"))
from sensors import *

MIB = 1 << 20
sensor = Depositor()
connection = sensor.connect(ssl_url())


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
    deposited(sensor, names, before)


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
    deposited(sensor, [*names, name, other], before)


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
    deposited(sensor, [name], before)


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
    deposited(sensor, names, before)


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
    deposited(sensor, [name], before)
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
        names = jvm().Load.send(fast, IN, TEMPLATE, unique("async"), 4, 250, 0, True)
    deposited(sensor, names, before)


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
    deposited(sensor, names, before)


def test_compressed_deposits():
    before = stored()
    with sensor.connect(ssl_url(jms_useCompression=True)) as small:
        session = small.createSession(False, AUTO)
        producer = producer_of(session)
        names = [put(session, producer), unique(), put(session, producer, body=event(" ".join(map(str, range(50000)))).decode())]
        producer.send(jvm().Messages.depositBytes(session, event("é" * 5000), names[1]))
        empty = unique("vide")
        producer.send(make(session, empty, ""))
        producer.send(jvm().Messages.depositBytes(session, b"", (none := unique("vide"))))
    deposited(sensor, names, before)
    found, _ = answers(sensor, [empty, none])
    assert {found[name]["properties"]["CFJLStatus"] for name in (empty, none)} == {"CFJL_INVALID_MESSAGE"}


def test_what_expands_beyond_the_limit_is_refused_however_small_it_came():
    with sensor.connect(ssl_url(jms_useCompression=True)) as small:
        session = small.createSession(False, AUTO)
        producer = producer_of(session)
        before = stored()
        refusal(lambda: producer.send(jvm().Messages.large(session, 16 * MIB, False)), "JMSException")
        refusal(lambda: producer.send(jvm().Messages.large(session, 16 * MIB, True)), "JMSException")
        deposited(sensor, [put(session, producer)], before)


def test_a_producer_window_never_closes_for_good():
    before = stored()
    names = []
    for options in ({"jms_producerWindowSize": 10000}, {"jms_producerWindowSize": 10000, "jms_useAsyncSend": True},
                    {"jms_producerWindowSize": 10000, "jms_useAsyncSend": True, "jms_useCompression": True},
                    {"jms_producerWindowSize": 3000, "jms_useAsyncSend": True, "wireFormat_version": 6}):
        with sensor.connect(ssl_url(**options)) as windowed:
            names += jvm().Load.send(windowed, IN, TEMPLATE, unique("fenetre"), 2, 150, 0, True)
    with sensor.connect(ssl_url(jms_producerWindowSize=10000)) as windowed:
        names += jvm().Load.send(windowed, IN, TEMPLATE, unique("fenetre"), 2, 100, 10, False)
    deposited(sensor, names, before)


def test_many_sessions_and_producers_on_one_connection():
    before = stored()
    names = jvm().Load.send(connection, IN, TEMPLATE, unique("sessions"), 8, 25, 0, True)
    names += jvm().Load.send(connection, IN, TEMPLATE, unique("lots"), 8, 25, 5, True)
    names += jvm().Load.send(connection, IN, TEMPLATE, unique("legers"), 8, 25, 0, False)
    serials = deposited(sensor, names, before)
    # Each session's deposits are numbered in its order.
    for prefix in {name.rsplit("-", 1)[0] for name in names}:
        own = [serials[f"{prefix}-{i}"] for i in range(25)]
        assert own == sorted(own), prefix


def test_sends_of_one_session_keep_their_order():
    with sensor.connect(ssl_url(jms_useAsyncSend=True)) as fast:
        before = stored()
        names = jvm().Load.send(fast, IN, TEMPLATE, unique("suite"), 1, 500, 0, True)
        serials = deposited(sensor, names, before)
    numbers = [serials[name] for name in names]
    assert numbers == list(range(numbers[0], numbers[0] + 500)), numbers[:20]


# ---- habits ------------------------------------------------------------------------------------------------

def test_jms_template_with_a_connection_for_every_send():
    before = stored()
    template_of = new("org.springframework.jms.core.JmsTemplate", sensor.factory(failover_url()))
    names = [unique("spring") for _ in range(15)]
    for name in names:
        template_of.send(IN, new("SpringDeposit", event(name).decode(), name))
    deposited(sensor, names, before)


def test_jms_template_transacted_on_one_connection():
    before = stored()
    single = new("org.springframework.jms.connection.SingleConnectionFactory", sensor.factory(failover_url()))
    template_of = new("org.springframework.jms.core.JmsTemplate", single)
    template_of.setSessionTransacted(True)
    names = [unique("spring") for _ in range(50)]
    for name in names:
        template_of.send(IN, new("SpringDeposit", event(name).decode(), name))
    single.destroy()
    deposited(sensor, names, before)


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
    deposited(sensor, names, before)


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
        deposited(sensor, names, before)
        before += len(names)


def test_nothing_is_left_and_the_numbers_have_no_gap():
    connection.close()
    check_numbers()


run(globals())
