/* How an OpenWire session begins: its preamble, what may come before ConnectionInfo, and who is refused. */
#include "tests/unit/test_openwire_session.h"

#include <stdio.h>

#include "tests/unit/openwire_peer.h"
#include "tests/unit/unit.h"

/* ---- preamble ---------------------------------------------------------------------------- */

static void every_version_is_negotiated(void **state)
{
    char expected[40];

    (void)state;
    for (unsigned version = 6; version <= 13; version++) {
        struct peer p;

        peer_open(&p, NULL, version < 13 ? version : 12);
        build_preamble(version, &p.in);
        peer_put_r(&p, build_connection("C"));
        peer_give(&p);
        peer_expect(&p, "WireFormatInfo\nBrokerInfo coffre\nResponse 1\n");
        snprintf(expected, sizeof expected, "OpenWire %u", p.version);
        assert_string_equal(session_protocol_text(p.o.s), expected);
        assert_true(session_connected(p.o.s));
        peer_close(&p);
    }
}

/* A silent close would make a failover client try for ever: older ones are told, in their own encoding, and have a moment to read it. */
static void versions_before_6_are_told(void **state)
{
    (void)state;
    for (unsigned version = 1; version <= 5; version++) {
        struct peer p;
        char expected[140];

        peer_open(&p, NULL, version);
        build_preamble(version, &p.in);
        peer_put_r(&p, build_connection("C"));
        peer_give(&p);
        snprintf(expected, sizeof expected, "WireFormatInfo\nBrokerInfo coffre\nException 1 javax.jms.JMSException: coffre: OpenWire %u is not served, 6 to 12 are\n", version);
        peer_expect(&p, expected);
        assert_false(session_connected(p.o.s));
        p.o.t.now += 2000;
        session_tick(p.o.s, p.o.t, 100);
        assert_int_equal(session_ended(p.o.s), SESSION_OPEN);
        p.o.t.now += 1;
        session_tick(p.o.s, p.o.t, 100);
        peer_expect_end(&p, SESSION_PROTOCOL, "an OpenWire version that is not served");
        peer_expect_asked(&p, "");
        peer_close(&p);
    }
}

static void what_is_no_preamble_ends_it(void **state)
{
    static const struct {
        struct slice bytes;
        const char *reason;
    } cases[] = {
        {SLICE_LITERAL("\0\0\0\0"), "a frame of 0 bytes, at least 1 and at most 8192 are taken"},
        {SLICE_LITERAL("\0\0\x10\1\1ActiveMQ"), "a frame of 4097 bytes before the connection is opened, at most 4096 are taken"},
        {SLICE_LITERAL("\xff\xff\xff\xff\1ActiveMQ"), "a frame of 4294967295 bytes before the connection is opened, at most 4096 are taken"},
        {SLICE_LITERAL("\0\0\0\6\x0a\0\0\0\0\0"), "OpenWire: type 10 where a WireFormatInfo with its magic is due"},
        {SLICE_LITERAL("\0\0\0\x0e\1ActiveMX\0\0\0\x0c\0"), "OpenWire: type 1 where a WireFormatInfo with its magic is due"},
        {SLICE_LITERAL("\0\0\0\x0e\1ActiveMQ\0\0\0\0\0"), "OpenWire WireFormatInfo: version 0"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct peer p;

        peer_open(&p, NULL, 12);
        peer_give_bytes(&p, cases[i].bytes);
        peer_expect(&p, "");
        peer_expect_end(&p, SESSION_PROTOCOL, cases[i].reason);
        peer_close(&p);
    }
}

/* ---- before ConnectionInfo --------------------------------------------------------------- */

static struct openwire_object *one_of(enum openwire_type type)
{
    switch ((int)type) {
    case OPENWIRE_SESSION_INFO:
        return build_session("C", 1);
    case OPENWIRE_CONSUMER_INFO:
        return build_consumer("C", 1, 1, build_destination(OPENWIRE_QUEUE, "Event.1.Out"), 10);
    case OPENWIRE_PRODUCER_INFO:
        return build_producer("C", 1, 1, "Event.1.In", 0);
    case OPENWIRE_TRANSACTION_INFO:
        return build_transaction("C", 1, BUILD_BEGIN);
    case OPENWIRE_DESTINATION_INFO:
        return build_temporary("C", "C:1", 0);
    case OPENWIRE_REMOVE_INFO:
        return build_remove(build_connection_id("C"), -1);
    case OPENWIRE_TEXT_MESSAGE:
        return build_message("C", "Event.1.In", "<a/>", 0);
    case OPENWIRE_MESSAGE_ACK:
        return build_ack("C", 1, 1, BUILD_STANDARD, "x", 1, 1);
    case OPENWIRE_MESSAGE_PULL:
        return build_pull("C", 1, 1, 0);
    default:
        return build(type);
    }
}

static void nothing_comes_before_connection_info(void **state)
{
    static const enum openwire_type types[] = {
        OPENWIRE_BROKER_INFO, OPENWIRE_SESSION_INFO, OPENWIRE_CONSUMER_INFO, OPENWIRE_PRODUCER_INFO, OPENWIRE_TRANSACTION_INFO,
        OPENWIRE_DESTINATION_INFO, OPENWIRE_REMOVE_SUBSCRIPTION_INFO, OPENWIRE_REMOVE_INFO, OPENWIRE_CONTROL_COMMAND, OPENWIRE_FLUSH_COMMAND,
        OPENWIRE_CONNECTION_ERROR, OPENWIRE_CONSUMER_CONTROL, OPENWIRE_PRODUCER_ACK, OPENWIRE_MESSAGE_PULL, OPENWIRE_MESSAGE_DISPATCH,
        OPENWIRE_MESSAGE_ACK, OPENWIRE_MESSAGE, OPENWIRE_TEXT_MESSAGE, OPENWIRE_RESPONSE, OPENWIRE_EXCEPTION_RESPONSE, OPENWIRE_DATA_RESPONSE,
    };

    (void)state;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        const char *name = openwire_row(types[i])->name;
        struct peer p;
        char said[200], reason[100];

        peer_preambled(&p, NULL);
        snprintf(reason, sizeof reason, "%s before a ConnectionInfo that was accepted", name);
        snprintf(said, sizeof said, "%s " ILLEGAL "%s\n", i % 2 == 0 ? "Exception 1" : "Error", reason);
        if (i % 2 == 0)
            peer_put_r(&p, one_of(types[i]));
        else
            peer_put(&p, one_of(types[i]));
        peer_put_r(&p, build_connection("C"));
        peer_give(&p);
        peer_expect(&p, said);
        peer_expect_end(&p, SESSION_PROTOCOL, reason);
        peer_expect_asked(&p, "");
        peer_close(&p);
    }
}

static void what_keeps_a_connection_alive_may_come_before(void **state)
{
    struct peer p;

    (void)state;
    peer_preambled(&p, NULL);
    peer_send_r(&p, build(OPENWIRE_KEEP_ALIVE_INFO));
    peer_send(&p, build(OPENWIRE_KEEP_ALIVE_INFO));
    peer_send(&p, build(OPENWIRE_CONNECTION_CONTROL));
    peer_send_r(&p, build_connection("C"));
    peer_expect(&p, "KeepAlive 1\nResponse 4\n");
    peer_close(&p);
    peer_preambled(&p, NULL);
    peer_send_r(&p, build(OPENWIRE_SHUTDOWN_INFO));
    peer_expect(&p, "Response 1\n");
    peer_expect_end(&p, SESSION_DISCONNECT, "the peer said goodbye");
    peer_close(&p);
}

static void large_frames_wait_for_connection_info(void **state)
{
    struct peer p;

    (void)state;
    peer_preambled(&p, NULL);
    peer_give_bytes(&p, SLICE_LITERAL("\0\0\x10\1\x0a"));
    peer_expect(&p, "Error javax.jms.JMSException: coffre: a frame of 4097 bytes before the connection is opened, at most 4096 are taken\n");
    peer_expect_end(&p, SESSION_PROTOCOL, "a frame of 4097 bytes before the connection is opened, at most 4096 are taken");
    peer_close(&p);
}

/* Whatever the limit of messages: nothing is passed over, or answered, in a format that is not agreed. */
static void no_frame_is_passed_over_before_connection_info(void **state)
{
    static const uint8_t frame[] = {0, 0, 0, 200, 28, 0, 0, 0, 1, 1};
    struct peer p;

    (void)state;
    peer_open(&p, NULL, 12);
    p.o.rules.frame.body_bytes = p.o.rules.frame.header_bytes = 50;
    assert_int_equal(session_input(p.o.s, slice_of(frame, sizeof frame), p.o.t), 0);
    peer_expect(&p, "");
    peer_close(&p);
}

static void a_preamble_that_never_comes_ends_the_connection(void **state)
{
    struct peer p;

    (void)state;
    peer_open(&p, NULL, 12);
    p.o.t.now += 10001;
    session_tick(p.o.s, p.o.t, 100);
    peer_expect_end(&p, SESSION_SLOW, "no connection opened within 10000 ms");
    peer_close(&p);
}

/* The application may start its connection whenever it likes; until then the client keeps it alive. */
static void a_connection_that_is_not_started_yet_is_kept_while_it_is_alive(void **state)
{
    struct peer p;

    (void)state;
    peer_preambled(&p, NULL);
    for (unsigned i = 0; i < 10; i++) {
        p.o.t.now += 10001;
        session_tick(p.o.s, p.o.t, 100);
        peer_send(&p, build(OPENWIRE_KEEP_ALIVE_INFO));
        assert_int_equal(session_ended(p.o.s), SESSION_OPEN);
    }
    (void)peer_said(&p);
    peer_send_r(&p, build_connection("C"));
    assert_true(session_connected(p.o.s));
    peer_close(&p);
    peer_preambled(&p, NULL);
    p.o.t.now += 45001;
    session_tick(p.o.s, p.o.t, 100);
    peer_expect_end(&p, SESSION_SILENT, "nothing heard for 45001 ms, one heart-beat every 30000 agreed");
    peer_close(&p);
}

/* ---- refusals ---------------------------------------------------------------------------- */

static void a_denied_certificate_is_a_security_exception(void **state)
{
    const struct session_refusal denied = {SESSION_DENIED, "the certificate (CN \"x\") is not bound"};
    struct peer p;

    (void)state;
    peer_preambled(&p, &denied);
    peer_put_r(&p, build_connection("C"));
    peer_put(&p, build(OPENWIRE_KEEP_ALIVE_INFO));
    peer_give(&p);
    peer_expect(&p, "Exception 1 java.lang.SecurityException: coffre: the certificate (CN \"x\") is not bound\n");
    assert_int_equal(session_ended(p.o.s), SESSION_OPEN);
    p.o.t.now += 1500;
    peer_send_r(&p, build_connection("C")); /* asking again makes it no longer */
    peer_expect(&p, "Exception 3 java.lang.SecurityException: coffre: the certificate (CN \"x\") is not bound\n");
    p.o.t.now += 501;
    session_tick(p.o.s, p.o.t, 100);
    peer_expect_end(&p, SESSION_DENIED, denied.text);
    peer_expect_asked(&p, "");
    peer_close(&p);
    peer_preambled(&p, &denied);
    peer_put(&p, build_connection("C"));
    peer_put(&p, build_session("C", 1));
    peer_give(&p);
    peer_expect(&p, "Error java.lang.SecurityException: coffre: the certificate (CN \"x\") is not bound\n"
                    "Error " ILLEGAL "SESSION_INFO before a ConnectionInfo that was accepted\n");
    assert_int_equal(session_ended(p.o.s), SESSION_PROTOCOL);
    peer_close(&p);
}

static void an_unavailable_vault_is_left_to_failover(void **state)
{
    const struct session_refusal away = {SESSION_UNAVAILABLE, "RabbitMQ is away"};
    struct peer p;
    struct openwire_object *o;

    (void)state;
    peer_preambled(&p, &away);
    peer_send_r(&p, build_connection("C"));
    peer_expect(&p, "Exception 1 javax.jms.JMSException: coffre: RabbitMQ is away\n");
    peer_close(&p);
    peer_preambled(&p, &away);
    o = build_connection("C");
    build_number(o, OPENWIRE_CONNECTION_INFO_FAULT_TOLERANT, 1);
    peer_send_r(&p, o);
    peer_expect(&p, "");
    peer_expect_end(&p, SESSION_UNAVAILABLE, "RabbitMQ is away");
    peer_close(&p);
}

int openwire_open_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_version_is_negotiated),
        cmocka_unit_test(versions_before_6_are_told),
        cmocka_unit_test(what_is_no_preamble_ends_it),
        cmocka_unit_test(nothing_comes_before_connection_info),
        cmocka_unit_test(what_keeps_a_connection_alive_may_come_before),
        cmocka_unit_test(large_frames_wait_for_connection_info),
        cmocka_unit_test(no_frame_is_passed_over_before_connection_info),
        cmocka_unit_test(a_preamble_that_never_comes_ends_the_connection),
        cmocka_unit_test(a_connection_that_is_not_started_yet_is_kept_while_it_is_alive),
        cmocka_unit_test(a_denied_certificate_is_a_security_exception),
        cmocka_unit_test(an_unavailable_vault_is_left_to_failover),
    };

    return cmocka_run_group_tests_name("OpenWire preamble", tests, NULL, NULL);
}
