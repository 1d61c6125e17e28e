#!/usr/bin/python3
"""The real JMS client connects: addresses, wire versions, encodings, TLS, key stores; and who may not is told so and gives up."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "jms"))
from sensors import *

sensor = Depositor()


def round_trip(connection):
    """A deposit and its answer on one connection, which is closed then."""
    with connection:
        still_works(sensor, connection)


def wire_format(connection):
    """What client and vault have agreed upon."""
    return connection.getTransport().narrow(jvm().type("java.lang.Class").forName("org.apache.activemq.transport.tcp.TcpTransport")).getWireFormat()


def test_the_addresses_of_deployed_sensors():
    at = port("STOMP")
    for url in (f"ssl://localhost:{at}",
                f"failover:(ssl://localhost:{at})",
                f"failover:(ssl://localhost:{at})?randomize=false",
                f"failover://(ssl://localhost:{at})?maxReconnectDelay=1000",
                f"failover:ssl://localhost:{at}",
                f"failover:(ssl://localhost:{at},ssl://127.0.0.1:{at})?randomize=false",
                f"failover:(ssl://localhost:1,ssl://localhost:{at})?randomize=false", # the first node is down
                f"failover:(ssl://localhost:{at}?wireFormat.maxInactivityDuration=10000)?jms.prefetchPolicy.all=10&timeout=30000"):
        round_trip(sensor.connect(url))


def test_wire_versions_6_to_12_with_every_encoding_offered():
    for version in range(6, 13):
        with sensor.connect(ssl_url(wireFormat_version=version)) as connection:
            still_works(sensor, connection)
            agreed = wire_format(connection)
            assert agreed.getVersion() == version, agreed.getVersion()
            # Offered by the client, declined by the vault, and that is that.
            assert not agreed.isTightEncodingEnabled() and not agreed.isCacheEnabled() and not agreed.isStackTraceEnabled()


def test_wire_versions_6_to_12_behind_failover():
    for version in range(6, 13):
        round_trip(sensor.connect(failover_url(ssl_url(wireFormat_version=version))))


def test_encodings_declined_by_the_client():
    for options in ({"wireFormat_tightEncodingEnabled": False}, {"wireFormat_cacheEnabled": False},
                    {"wireFormat_tightEncodingEnabled": False, "wireFormat_cacheEnabled": False, "wireFormat_stackTraceEnabled": False},
                    {"wireFormat_cacheSize": 16}, {"wireFormat_tcpNoDelayEnabled": False}, {"jms_watchTopicAdvisories": False}):
        round_trip(sensor.connect(ssl_url(**options)))


def test_options_of_the_client_that_change_nothing_here():
    round_trip(sensor.connect(ssl_url(
        jms_dispatchAsync=False, jms_alwaysSyncSend=True, jms_closeTimeout=3000, jms_nonBlockingRedelivery=True, jms_alwaysSessionAsync=False,
        jms_messagePrioritySupported=True, jms_checkForDuplicates=False, jms_copyMessageOnSend=False, jms_disableTimeStampsByDefault=True,
        jms_sendTimeout=30000, jms_useRetroactiveConsumer=True, jms_exclusiveConsumer=True, jms_transactedIndividualAck=True,
        jms_rmIdFromConnectionId=True, jms_warnAboutUnstartedConnectionTimeout=100, jms_auditDepth=10, keepAlive=True, soTimeout=0)))


def test_what_a_client_may_ask_about_its_broker():
    with sensor.connect() as connection:
        assert connection.getBrokerName() and connection.getMetaData().getJMSMajorVersion() == 1
        session = connection.createSession(False, AUTO)
        # Advisories: whoever listens hears nothing, and nobody may speak.
        for topic in ("ActiveMQ.Advisory.Queue", "ActiveMQ.Advisory.>", f"ActiveMQ.Advisory.Consumer.Queue.{IN}"):
            session.createConsumer(session.createTopic(topic))
        assert connection.getDestinationSource().getQueues() == []
        still_works(sensor, connection)


def test_older_wire_versions_are_refused_not_left_waiting():
    for version in (1, 3, 5):
        # The client itself gives up after 10 s when nobody answers its preamble: that would be no refusal.
        began = time.monotonic()
        failure = refusal(lambda: sensor.connect(ssl_url(wireFormat_version=version)), "JMSException")
        assert failure.says(f"OpenWire {version} ") and failure.says("6 to 12"), f"after {time.monotonic() - began:.0f} s: {failure}"


def test_no_size_prefix_is_never_agreed():
    round_trip(sensor.connect(ssl_url(wireFormat_sizePrefixDisabled=True)))


def test_tls_1_2_only_and_1_3_only():
    for protocol in ("TLSv1.2", "TLSv1.3"):
        with sensor.connect(ssl_url(socket_enabledProtocols=protocol)) as connection:
            still_works(sensor, connection)


def test_the_name_of_the_vault_is_verified():
    # 127.0.0.1 is in the certificate, 127.0.0.2 is not.
    round_trip(sensor.connect(f"ssl://127.0.0.1:{port('STOMP')}"))
    with Relay(port("STOMP"), socket.create_server(("127.0.0.2", 0))) as relay:
        refusal(lambda: sensor.connect(f"ssl://127.0.0.2:{relay.port}"), "JMSException", says="127.0.0.2")
        round_trip(sensor.connect(f"ssl://127.0.0.2:{relay.port}?socket.verifyHostName=false"))


def test_key_stores_old_and_new():
    # Triple DES, as in the year of the certified product, is what every other test uses; this is what OpenSSL 3 writes today.
    round_trip(Identity(sensor.export(name="modern")).connect())
    elliptic = Depositor("EC")
    with elliptic.connect() as connection:
        still_works(elliptic, connection)


def test_key_stores_as_properties_of_the_jvm():
    system = jvm().type("java.lang.System")
    for name, value in (("keyStore", sensor.key_store), ("keyStorePassword", PASSWORD), ("trustStore", sensor.trust), ("trustStorePassword", PASSWORD)):
        system.setProperty(f"javax.net.ssl.{name}", str(value))
    factory = new("org.apache.activemq.ActiveMQConnectionFactory", failover_url(randomize=False))
    round_trip(sensor.connect(factory=factory))


def test_user_names_and_client_identifiers_change_nothing():
    factory = sensor.factory(ssl_url())
    factory.setUserName("capteur")
    factory.setPassword("peu importe")
    round_trip(sensor.connect(factory=factory))
    round_trip(sensor.connect(prepare=lambda connection: connection.setClientID("capteur é 1")))


def test_two_connections_of_one_sensor_at_a_time():
    with sensor.connect(failover_url(randomize=False)) as up, sensor.connect(failover_url(randomize=False)) as down:
        session = up.createSession(True, AUTO)
        names = [put(session, producer_of(session)) for _ in range(5)]
        session.commit()
        answers(sensor, names, down)


def test_who_is_no_depositor_is_told_so_and_gives_up():
    for url in (ssl_url(), failover_url(), failover_url(randomize=False)):
        failure = refusal(lambda: stock("stranger").connect(url), "JMSSecurityException")
        assert failure.says("depositor"), failure


def test_certificates_of_others_do_not_get_through_the_handshake():
    for identity in (stock("foreign"), stock("reader-1"), Identity(None)):
        refusal(lambda: identity.connect(ssl_url()), "JMSException")


def test_commands_no_sensor_has_a_use_for_do_nothing():
    with sensor.connect() as connection:
        for command in (new("org.apache.activemq.command.ControlCommand"), new("org.apache.activemq.command.RemoveSubscriptionInfo")):
            refusal(lambda: connection.syncSendPacket(command), "JMSException")
        connection.syncSendPacket(new("org.apache.activemq.command.FlushCommand"))
        still_works(sensor, connection)


def test_a_client_that_says_it_is_a_broker_is_cut():
    connection = sensor.connect()
    broker = new("org.apache.activemq.command.BrokerInfo")
    broker.setBrokerName("autre")
    refusal(lambda: connection.syncSendPacket(broker), "JMSException")
    wait_until(lambda: connection.inbox.exception(100), 60, "the connection is cut")
    connection.later.close()


def test_forty_connections_come_and_go():
    for _ in range(2):
        connections = [sensor.connect() for _ in range(20)]
        for connection in connections:
            connection.close()
    round_trip(sensor.connect())


run(globals())
