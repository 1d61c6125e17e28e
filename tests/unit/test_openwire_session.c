/* The OpenWire session: its preamble, the strict state machine, the JMS connection, frames in any pieces, time, ends. No socket. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/openwire_peer.h"
#include "tests/unit/test_openwire_session.h"
#include "tests/unit/unit.h"

#define ILLEGAL "javax.jms.IllegalStateException: coffre: "

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

static void give_text(struct peer *p, struct slice bytes)
{
    assert_true(buf_add_slice(&p->in, bytes, NULL));
    peer_give(p);
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
        give_text(&p, cases[i].bytes);
        peer_expect(&p, "");
        peer_expect_end(&p, SESSION_PROTOCOL, cases[i].reason);
        peer_close(&p);
    }
}

static void preambled(struct peer *p, const struct session_refusal *refusal)
{
    peer_open(p, refusal, 12);
    build_preamble(12, &p->in);
    peer_give(p);
    peer_expect(p, "WireFormatInfo\nBrokerInfo coffre\n");
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

        preambled(&p, NULL);
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
    preambled(&p, NULL);
    peer_send_r(&p, build(OPENWIRE_KEEP_ALIVE_INFO));
    peer_send(&p, build(OPENWIRE_KEEP_ALIVE_INFO));
    peer_send(&p, build(OPENWIRE_CONNECTION_CONTROL));
    peer_send_r(&p, build_connection("C"));
    peer_expect(&p, "KeepAlive 1\nResponse 4\n");
    peer_close(&p);
    preambled(&p, NULL);
    peer_send_r(&p, build(OPENWIRE_SHUTDOWN_INFO));
    peer_expect(&p, "Response 1\n");
    peer_expect_end(&p, SESSION_DISCONNECT, "the peer said goodbye");
    peer_close(&p);
}

static void large_frames_wait_for_connection_info(void **state)
{
    struct peer p;

    (void)state;
    preambled(&p, NULL);
    give_text(&p, SLICE_LITERAL("\0\0\x10\1\x0a"));
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
    preambled(&p, NULL);
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
    preambled(&p, NULL);
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
    preambled(&p, &denied);
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
    preambled(&p, &denied);
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
    preambled(&p, &away);
    peer_send_r(&p, build_connection("C"));
    peer_expect(&p, "Exception 1 javax.jms.JMSException: coffre: RabbitMQ is away\n");
    peer_close(&p);
    preambled(&p, &away);
    o = build_connection("C");
    build_number(o, OPENWIRE_CONNECTION_INFO_FAULT_TOLERANT, 1);
    peer_send_r(&p, o);
    peer_expect(&p, "");
    peer_expect_end(&p, SESSION_UNAVAILABLE, "RabbitMQ is away");
    peer_close(&p);
}

/* ---- the JMS connection ------------------------------------------------------------------ */

static void connection_ids_have_bounds(void **state)
{
    struct peer p;
    char name[520];

    (void)state;
    preambled(&p, NULL);
    memset(name, 'n', sizeof name);
    name[513] = '\0';
    peer_send_r(&p, build(OPENWIRE_CONNECTION_INFO));
    peer_send_r(&p, build_connection(""));
    peer_send_r(&p, build_connection(name));
    peer_expect(&p, "Exception 1 " ILLEGAL "ConnectionInfo: a ConnectionId of 1 to 512 bytes is needed\n"
                    "Exception 2 " ILLEGAL "ConnectionInfo: a ConnectionId of 1 to 512 bytes is needed\n"
                    "Exception 3 " ILLEGAL "ConnectionInfo: a ConnectionId of 1 to 512 bytes is needed\n");
    peer_send_r(&p, build_connection(name + 1));
    peer_expect(&p, "Response 4\n");
    peer_close(&p);
}

/* The same again is a failover client's replay; another one is not what the state on this transport is about. */
static void connection_info_may_come_twice(void **state)
{
    struct peer p = {0};

    (void)state;
    peer_connect(&p);
    peer_send_r(&p, build_connection("C"));
    peer_send_r(&p, build_connection("D"));
    peer_expect(&p, "Response 3\nException 4 " ILLEGAL "another connection is open on this transport: remove it first\n");
    peer_expect_asked(&p, "");
    peer_close(&p);
}

static void put_as(struct peer *p, uint32_t command, struct openwire_object *o)
{
    build_frame(o, p->version, command, true, &p->in);
}

/* What a failover client sends after it has reconnected: its state with the ids it had, each wanting an answer, then what was not answered. */
static void a_replay_is_answered_under_its_own_ids(void **state)
{
    struct openwire_object *o;
    struct peer p;

    (void)state;
    peer_open(&p, NULL, 7);
    build_preamble(7, &p.in);
    o = build(OPENWIRE_CONNECTION_CONTROL);
    build_number(o, OPENWIRE_CONNECTION_CONTROL_FAULT_TOLERANT, 1);
    build_frame(o, p.version, 0, false, &p.in);
    o = build_connection("C");
    build_number(o, OPENWIRE_CONNECTION_INFO_FAULT_TOLERANT, 1);
    build_number(o, OPENWIRE_CONNECTION_INFO_FAILOVER_RECONNECT, 1);
    put_as(&p, 1, o);
    put_as(&p, 9, build_temporary("C", "C:1", 0));
    put_as(&p, 0, build_session("C", -1));
    put_as(&p, 3, build_session("C", 1));
    put_as(&p, 4, build_producer("C", 1, 1, "Event.1.In", 0));
    put_as(&p, 5, build_consumer("C", 1, 1, build_destination(OPENWIRE_QUEUE, "Event.1.Out"), 0));
    put_as(&p, 20, build_transaction("C", 8, BUILD_BEGIN));
    put_as(&p, 21, build_message("C", "Event.1.In", "<a/>", 8));
    put_as(&p, 17, build_message("C", "Event.1.In", "<b/>", 0));
    o = build(OPENWIRE_CONSUMER_CONTROL);
    build_object(o, OPENWIRE_CONSUMER_CONTROL_CONSUMER_ID, build_consumer_id("C", 1, 1));
    build_number(o, OPENWIRE_CONSUMER_CONTROL_PREFETCH, 1000);
    build_frame(o, p.version, 0, false, &p.in);
    put_as(&p, 22, build_transaction("C", 8, BUILD_COMMIT));
    peer_give(&p);
    session_confirmed(p.o.s, 1);
    session_confirmed(p.o.s, 2);
    session_subscribed(p.o.s, 1);
    peer_expect(&p, "WireFormatInfo\nBrokerInfo coffre\nResponse 1\nResponse 0\nResponse 3\nResponse 4\nResponse 5\nResponse 20\nResponse 21\n"
                    "Response 17\nResponse 22\nResponse 9\n");
    peer_expect_asked(&p, "claim by 7 C\nsubscribe 1 depositor 7 queue 3 C:1 credit 0\nsubscribe 2 depositor 7 queue 1 credit 0\n"
                          "deposit 1 by 7 c d SHA-256 at 1234: <b/>\ncredit 2 +1000\nall 2 <a/>\n");
    peer_close(&p);
}

static void a_connection_is_opened_again(void **state)
{
    struct peer p = {0};

    (void)state;
    peer_consume(&p, 10);
    peer_send_r(&p, build_remove(build_connection_id("C"), -1));
    peer_send_r(&p, build_session("C", 1));
    peer_send_r(&p, build_message("C", "Event.1.In", "<a/>", 0));
    peer_send_r(&p, build_connection("D"));
    peer_send(&p, build_session("D", 1));
    peer_send_r(&p, build_producer("D", 1, 1, "Event.1.In", 0));
    peer_send_r(&p, build_session("C", 1));
    peer_expect(&p, "Response 5\nException 6 " ILLEGAL "SESSION_INFO before a ConnectionInfo that was accepted\n"
                    "Exception 7 " ILLEGAL "TEXT_MESSAGE before a ConnectionInfo that was accepted\nResponse 8\nResponse 10\n"
                    "Exception 11 " ILLEGAL "SessionId is of another connection than this one\n");
    peer_expect_asked(&p, "unsubscribe 1\nunclaim\nclaim by 7 D\n");
    peer_close(&p);
}

/* What a closing client waits for: that all it has sent is stored. */
static void removing_a_connection_waits_for_deposits(void **state)
{
    struct peer p = {0};

    (void)state;
    peer_consume(&p, 10);
    peer_send(&p, build_message("C", "Event.1.In", "<a/>", 0));
    peer_send(&p, build_message("C", "Event.1.In", "<b/>", 0));
    peer_send_r(&p, build_remove(build_connection_id("C"), -1));
    peer_send(&p, build(OPENWIRE_SHUTDOWN_INFO));
    peer_expect(&p, "");
    session_confirmed(p.o.s, 2);
    peer_expect(&p, "");
    session_confirmed(p.o.s, 1);
    peer_expect(&p, "Response 7\n");
    peer_expect_end(&p, SESSION_DISCONNECT, "the peer said goodbye");
    peer_close(&p);
}

/* Each removal is answered, and none before its time: what would follow waits for it. */
static void two_removals_are_both_answered(void **state)
{
    struct peer p = {0};

    (void)state;
    peer_consume(&p, 10);
    peer_send(&p, build_message("C", "Event.1.In", "<a/>", 0));
    peer_send_r(&p, build_remove(build_connection_id("C"), -1));
    peer_send_r(&p, build_connection("D"));
    peer_expect(&p, "Exception 7 " ILLEGAL "the connection just removed has deposits that are not stored yet: wait for its Response\n");
    session_confirmed(p.o.s, 1);
    peer_expect(&p, "Response 6\n");
    peer_send_r(&p, build_connection("D"));
    peer_send_r(&p, build_remove(build_connection_id("D"), -1));
    peer_expect(&p, "Response 8\nResponse 9\n");
    peer_close(&p);
}

static void sessions_are_removed_with_what_they_have(void **state)
{
    struct peer p = {0};

    (void)state;
    peer_consume(&p, 10);
    peer_send(&p, build_session("C", 2));
    peer_send_r(&p, build_producer("C", 2, 5, NULL, 0));
    peer_send(&p, build_remove(build_session_id("C", 1), -2));
    peer_expect_asked(&p, "unsubscribe 1\n");
    peer_send_r(&p, build_message("C", "Event.1.In", "<a/>", 0));
    peer_send_r(&p, build_remove(build_session_id("C", 1), -2)); /* again, and what never was */
    peer_send_r(&p, build_remove(build_session_id("C", 77), -2));
    peer_send_r(&p, build_remove(build_consumer_id("C", 1, 1), -2));
    peer_send_r(&p, build_remove(build_producer_id("C", 2, 5), -2));
    peer_send_r(&p, build_remove(build_producer_id("C", 2, 5), -2));
    peer_send_r(&p, build_remove(NULL, -2));
    peer_send_r(&p, build_remove(build_session_id("D", 1), -2));
    peer_expect(&p, "Response 6\nException 8 " ILLEGAL "the message's producer does not exist\nResponse 9\nResponse 10\nResponse 11\n"
                    "Response 12\nResponse 13\nException 14 " ILLEGAL "RemoveInfo: the id of a connection, session, consumer or producer is needed\n"
                    "Exception 15 " ILLEGAL "RemoveInfo: the id is of another connection than this one\n");
    peer_close(&p);
}

static void sessions_have_a_limit(void **state)
{
    struct peer p = {0};

    (void)state;
    peer_connect(&p);
    for (int64_t i = 2; i <= 4096; i++)
        peer_put(&p, build_session("C", i));
    peer_put_r(&p, build_session("C", 4096));
    peer_put_r(&p, build_session("C", 4097));
    peer_put(&p, build_remove(build_session_id("C", 7), -2));
    peer_put_r(&p, build_session("C", 4097));
    peer_give(&p);
    peer_expect(&p, "Response 4098\nException 4099 javax.jms.ResourceAllocationException: coffre: more than 4096 sessions on a connection\n"
                    "Response 4101\n");
    peer_close(&p);
}

/* ---- what no client sends ---------------------------------------------------------------- */

static void what_is_not_a_clients_is_refused(void **state)
{
    static const struct {
        enum openwire_type type;
        const char *said; /* NULL: Response */
    } cases[] = {
        {OPENWIRE_CONTROL_COMMAND, "java.lang.SecurityException: coffre: no client commands this server"},
        {OPENWIRE_REMOVE_SUBSCRIPTION_INFO, "javax.jms.InvalidDestinationException: coffre: there are no durable subscriptions: answers wait in queues"},
        {OPENWIRE_PRODUCER_ACK, ILLEGAL "PRODUCER_ACK is a server's to send"},
        {OPENWIRE_MESSAGE_DISPATCH, ILLEGAL "MESSAGE_DISPATCH is a server's to send"},
        {OPENWIRE_DATA_RESPONSE, ILLEGAL "DATA_RESPONSE is a server's to send"},
        {OPENWIRE_DATA_ARRAY_RESPONSE, ILLEGAL "DATA_ARRAY_RESPONSE is a server's to send"},
        {OPENWIRE_INTEGER_RESPONSE, ILLEGAL "INTEGER_RESPONSE is a server's to send"},
        {OPENWIRE_FLUSH_COMMAND, NULL}, {OPENWIRE_RESPONSE, NULL}, {OPENWIRE_EXCEPTION_RESPONSE, NULL}, {OPENWIRE_CONNECTION_ERROR, NULL},
        {OPENWIRE_CONNECTION_CONTROL, NULL},
    };
    struct peer p = {0};
    char said[200];

    (void)state;
    peer_connect(&p);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        peer_send_r(&p, build(cases[i].type));
        snprintf(said, sizeof said, cases[i].said == NULL ? "Response %u\n" : "Exception %u %s\n", p.command, cases[i].said);
        peer_expect(&p, said);
    }
    peer_close(&p);
}

static void what_makes_no_sense_ends_it(void **state)
{
    static const enum openwire_type types[] = {OPENWIRE_WIRE_FORMAT_INFO, OPENWIRE_BROKER_INFO, OPENWIRE_NETWORK_BRIDGE_FILTER, OPENWIRE_QUEUE,
                                               OPENWIRE_MESSAGE_ID, OPENWIRE_CONNECTION_ID, OPENWIRE_XA_TRANSACTION_ID};

    (void)state;
    for (size_t i = 0; i < 2 * sizeof types / sizeof *types; i++) {
        enum openwire_type type = types[i / 2];
        struct peer p = {0};
        char said[200], reason[100];

        peer_connect(&p);
        if (i % 2 == 1) { /* on a transport without a connection, too */
            peer_send(&p, build_remove(build_connection_id("C"), -1));
            p.o.log[0] = '\0';
        }
        if (type == OPENWIRE_WIRE_FORMAT_INFO)
            build_preamble(12, &p.in);
        else
            peer_put(&p, build(type));
        peer_give(&p);
        snprintf(reason, sizeof reason, i % 2 == 1 ? "%s before a ConnectionInfo that was accepted" : "a %s makes no sense here", openwire_row(type)->name);
        snprintf(said, sizeof said, "Error %s: coffre: %s\n", i % 2 == 1 ? "javax.jms.IllegalStateException" : "javax.jms.JMSException", reason);
        peer_expect(&p, said);
        peer_expect_end(&p, SESSION_PROTOCOL, reason);
        peer_close(&p);
    }
}

static void unknown_types_end_it(void **state)
{
    struct peer p = {0};

    (void)state;
    peer_connect(&p);
    give_text(&p, SLICE_LITERAL("\0\0\0\6\x3c\0\0\0\1\0"));
    peer_expect(&p, "Error javax.jms.JMSException: coffre: OpenWire 12: unknown type 60 at byte 4\n");
    peer_expect_end(&p, SESSION_PROTOCOL, "OpenWire 12: unknown type 60 at byte 4");
    peer_close(&p);
}

/* Commands known by their number only: refused, and the connection stays. */
static void brokers_own_commands_are_refused(void **state)
{
    struct peer p = {0};

    (void)state;
    peer_connect(&p);
    give_text(&p, SLICE_LITERAL("\0\0\0\7\x5a\0\0\0\x51\1x" "\0\0\0\7\x5c\0\0\0\x52\0x" "\0\0\0\6\x1d\0\0\0\x53\1"));
    peer_expect(&p, "Exception 81 " ILLEGAL "messages other than text and bytes, and brokers' own commands, are not available\n"
                    "Error " ILLEGAL "messages other than text and bytes, and brokers' own commands, are not available\n"
                    "Exception 83 javax.jms.MessageFormatException: coffre: messages other than text and bytes, and brokers' own commands, are not available\n");
    peer_send_r(&p, build_session("C", 2));
    peer_expect(&p, "Response 3\n");
    give_text(&p, SLICE_LITERAL("\0\0\0\5\x1d\0\0\0\x53")); /* not even a command's head */
    assert_int_equal(session_ended(p.o.s), SESSION_PROTOCOL);
    peer_close(&p);
}

/* ---- frames ------------------------------------------------------------------------------ */

static void put_oversize(struct peer *p, uint32_t size, bool required)
{
    const uint8_t head[] = {(uint8_t)(size >> 24), (uint8_t)(size >> 16), (uint8_t)(size >> 8), (uint8_t)size, 28, 0, 0, 0,
                            (uint8_t)++p->command, required};
    uint8_t *rest = calloc(1, size);

    assert_true(buf_add(&p->in, head, sizeof head, NULL) && buf_add(&p->in, rest, size - 6, NULL));
    free(rest);
}

static void oversize_frames_are_passed_over(void **state)
{
    static const size_t steps[] = {1, 2, 3, 7, 9, 10, 11, 100, 8196, 8197, SIZE_MAX};

    (void)state;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        struct peer p = {0};

        peer_consume(&p, 10);
        p.step = steps[i];
        put_oversize(&p, 8193, true);
        put_oversize(&p, 20000, false);
        peer_put_r(&p, build_message("C", "Event.1.In", "<a/>", 0));
        peer_give(&p);
        session_confirmed(p.o.s, 1);
        peer_expect(&p, "Exception 5 javax.jms.JMSException: coffre: a frame of 8193 bytes is over the limit of 8192 (MaxFrameSize)\n"
                        "Error javax.jms.JMSException: coffre: a frame of 20000 bytes is over the limit of 8192 (MaxFrameSize)\nResponse 7\n");
        peer_expect_asked(&p, "deposit 1 by 7 c d SHA-256 at 1234: <a/>\n");
        peer_close(&p);
    }
}

/* It may have been of any of them. */
static void an_oversize_frame_fails_open_transactions(void **state)
{
    struct peer p = {0};

    (void)state;
    peer_consume(&p, 10);
    peer_put(&p, build_transaction("C", 1, BUILD_BEGIN));
    peer_put(&p, build_message("C", "Event.1.In", "<a/>", 1));
    put_oversize(&p, 9000, false);
    peer_put_r(&p, build_transaction("C", 1, BUILD_COMMIT));
    peer_give(&p);
    peer_expect(&p, "Error javax.jms.JMSException: coffre: a frame of 9000 bytes is over the limit of 8192 (MaxFrameSize)\n"
                    "Exception 8 javax.jms.TransactionRolledBackException: coffre: something in this transaction was refused: nothing of it is deposited\n");
    peer_expect_asked(&p, "");
    peer_close(&p);
}

static void frames_that_are_too_long_by_far_end_it(void **state)
{
    struct peer p = {0};

    (void)state;
    peer_connect(&p);
    give_text(&p, SLICE_LITERAL("\x80\0\0\0\x1c"));
    peer_expect_end(&p, SESSION_PROTOCOL, "a frame of 2147483648 bytes, at least 1 and at most 8192 are taken");
    peer_close(&p);
}

/* A whole cycle, which must read the same however the network cuts it. */
static void put_cycle(struct peer *p)
{
    build_preamble(p->version, &p->in);
    peer_put_r(p, build_connection("C"));
    peer_put(p, build_session("C", 1));
    peer_put_r(p, build_producer("C", 1, 1, NULL, 100000));
    peer_put_r(p, build_consumer("C", 1, 1, build_destination(OPENWIRE_QUEUE, "Event.1.Out"), 10));
    peer_put_r(p, build_message("C", "Event.1.In", "<a/>", 0));
    peer_put(p, build_message("C", "Event.1.In", "<b/>", 0));
    peer_put(p, build_transaction("C", 1, BUILD_BEGIN));
    peer_put(p, build_message("C", "Event.1.In", "<c/>", 1));
    peer_put_r(p, build_transaction("C", 1, BUILD_COMMIT));
    peer_put(p, build_message("C", "Event.9.In", "<d/>", 0));
    put_oversize(p, 8200, true);
    peer_put_r(p, build_temporary("C", "C:1", 0));
    peer_put_r(p, build_remove(build_session_id("C", 1), -2));
    peer_put_r(p, build_remove(build_connection_id("C"), -2));
}

static void cuts_make_no_difference(void **state)
{
    static char said[8192], asked[4096];
    struct peer p;
    size_t length;

    (void)state;
    peer_open(&p, NULL, 12);
    put_cycle(&p);
    length = p.in.len;
    peer_give(&p);
    strcpy(said, peer_said(&p));
    strcpy(asked, p.o.log);
    assert_non_null(strstr(asked, "all 3 <c/>\n"));
    assert_non_null(strstr(said, "Event.9.In"));
    peer_close(&p);
    for (size_t cut = 1; cut < length; cut++) {
        peer_open(&p, NULL, 12);
        put_cycle(&p);
        p.step = cut;
        peer_give(&p);
        peer_expect(&p, said);
        peer_expect_asked(&p, asked);
        peer_close(&p);
    }
}

static void a_frame_that_trickles_ends_it(void **state)
{
    struct peer p = {0};

    (void)state;
    peer_connect(&p);
    assert_int_equal(session_input(p.o.s, SLICE_LITERAL("\0\0"), p.o.t), 0);
    p.o.t.now += 10000;
    session_tick(p.o.s, p.o.t, 100);
    peer_expect(&p, "KeepAlive 0\n");
    assert_int_equal(session_input(p.o.s, SLICE_LITERAL("\0\0\0"), p.o.t), 0);
    p.o.t.now += 1;
    session_tick(p.o.s, p.o.t, 100);
    peer_expect_end(&p, SESSION_SLOW, "a frame took more than 10000 ms to arrive");
    peer_expect(&p, "Error javax.jms.JMSException: coffre: a frame took more than 10000 ms to arrive\n");
    peer_close(&p);
}

/* ---- time and ends ----------------------------------------------------------------------- */

static void keep_alives_go_both_ways(void **state)
{
    struct peer p = {0};

    (void)state;
    peer_connect(&p);
    p.o.t.now += 9800;
    session_tick(p.o.s, p.o.t, 100);
    peer_expect(&p, "");
    p.o.t.now += 100;
    session_tick(p.o.s, p.o.t, 100);
    peer_expect(&p, "KeepAlive 0\n");
    session_tick(p.o.s, p.o.t, 100);
    peer_expect(&p, "");
    peer_send_r(&p, build(OPENWIRE_KEEP_ALIVE_INFO));
    peer_send(&p, build(OPENWIRE_KEEP_ALIVE_INFO));
    peer_expect(&p, "KeepAlive 3\n");
    peer_close(&p);
}

static void silence_ends_it(void **state)
{
    struct peer p = {0};

    (void)state;
    peer_connect(&p);
    p.o.t.now += 45000;
    session_tick(p.o.s, p.o.t, 100);
    assert_int_equal(session_ended(p.o.s), SESSION_OPEN);
    p.o.t.now += 1;
    session_tick(p.o.s, p.o.t, 100);
    peer_expect_end(&p, SESSION_SILENT, "nothing heard for 45001 ms, one heart-beat every 30000 agreed");
    peer_close(&p);
}

static void no_inactivity_agreed_is_none_watched(void **state)
{
    struct peer p;

    (void)state;
    peer_open(&p, NULL, 12);
    p.o.rules.inactivity = 0;
    build_preamble(12, &p.in);
    peer_put_r(&p, build_connection("C"));
    peer_give(&p);
    peer_said(&p);
    p.o.t.now += 1000000000;
    session_tick(p.o.s, p.o.t, 100);
    assert_int_equal(session_ended(p.o.s), SESSION_OPEN);
    peer_expect(&p, "");
    peer_close(&p);
}

/* A failover client goes elsewhere by itself when the vault leaves: it is told nothing, and what it has sent is answered. */
static void a_drain_answers_what_is_pending(void **state)
{
    struct peer p = {0};

    (void)state;
    peer_consume(&p, 10);
    peer_send_r(&p, build_message("C", "Event.1.In", "<a/>", 0));
    session_drain(p.o.s);
    peer_send_r(&p, build_message("C", "Event.1.In", "<b/>", 0));
    peer_expect(&p, "");
    session_confirmed(p.o.s, 1);
    peer_expect(&p, "Response 5\n");
    peer_expect_end(&p, SESSION_SHUTDOWN, "the vault is shutting down");
    peer_expect_asked(&p, "deposit 1 by 7 c d SHA-256 at 1234: <a/>\nunsubscribe 1\n");
    peer_close(&p);
}

static void ends_are_told_as_exceptions(void **state)
{
    struct peer p = {0};

    (void)state;
    peer_connect(&p);
    session_taken(p.o.s);
    peer_expect(&p, "Error javax.jms.JMSException: coffre: the same client has connected again under the same name\n");
    peer_expect_end(&p, SESSION_TAKEN, "the same client has connected again under the same name");
    peer_close(&p);
    p = (struct peer){0};
    peer_connect(&p);
    session_fail(p.o.s, SESSION_REVOKED, "no longer bound");
    peer_expect(&p, "Error java.lang.SecurityException: coffre: no longer bound\n");
    peer_close(&p);
    p = (struct peer){0};
    peer_connect(&p);
    session_fail(p.o.s, SESSION_SHUTDOWN, "bye");
    peer_expect(&p, "");
    peer_close(&p);
    peer_open(&p, NULL, 12);
    session_fail(p.o.s, SESSION_LIMIT, "before any word"); /* nothing can be said in a format that is not agreed */
    peer_expect(&p, "");
    peer_close(&p);
}

/* Whatever the frame that finds no room to answer: the session ends once and is not touched again. */
static void a_peer_that_leaves_no_room_ends(void **state)
{
    (void)state;
    for (size_t room = 0; room < 400; room += 13) {
        struct peer p = {0};

        peer_consume(&p, 0);
        peer_send_r(&p, build_temporary("C", "C:1", 0));
        peer_send_r(&p, build_consumer("C", 1, 2, build_destination(OPENWIRE_TEMP_QUEUE, "C:1"), 3));
        peer_send_r(&p, build_pull("C", 1, 1, 100));
        peer_send_r(&p, build_pull("C", 1, 1, 100));
        peer_send(&p, build_message("C", "Event.1.In", "<a/>", 0));
        peer_said(&p);
        p.o.out.max = room;
        switch (room / 13 % 7) {
        case 0:
            session_subscribed(p.o.s, 2);
            break;
        case 1:
            session_not_subscribed(p.o.s, 2, "a limit");
            break;
        case 2:
            session_not_subscribed(p.o.s, 3, "a limit");
            break;
        case 3:
            p.o.t.now += 1000;
            session_tick(p.o.s, p.o.t, 100);
            break;
        case 4:
            peer_answer(&p, 1, 5);
            break;
        case 5:
            session_refused(p.o.s, 1, "a limit");
            break;
        default:
            session_fail(p.o.s, SESSION_TAKEN, "taken");
        }
        assert_true(p.o.out.len <= room);
        if (session_ended(p.o.s) == SESSION_SLOW)
            assert_non_null(strstr(p.o.log, "unsubscribe"));
        p.o.out.max = 1 << 16;
        peer_close(&p);
    }
}

static void memory_is_given_back(void **state)
{
    struct peer p = {0};

    (void)state;
    peer_consume(&p, 10);
    peer_send_r(&p, build_message("C", "Event.1.In", "<a/>", 0));
    session_confirmed(p.o.s, 1);
    session_trim(p.o.s);
    peer_send_r(&p, build_message("C", "Event.1.In", "<b/>", 0));
    session_confirmed(p.o.s, 2);
    peer_expect(&p, "Response 5\nResponse 6\n");
    peer_close(&p);
}

int main(void)
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
        cmocka_unit_test(connection_ids_have_bounds),
        cmocka_unit_test(connection_info_may_come_twice),
        cmocka_unit_test(a_replay_is_answered_under_its_own_ids),
        cmocka_unit_test(a_connection_is_opened_again),
        cmocka_unit_test(removing_a_connection_waits_for_deposits),
        cmocka_unit_test(two_removals_are_both_answered),
        cmocka_unit_test(sessions_are_removed_with_what_they_have),
        cmocka_unit_test(sessions_have_a_limit),
        cmocka_unit_test(what_is_not_a_clients_is_refused),
        cmocka_unit_test(what_makes_no_sense_ends_it),
        cmocka_unit_test(unknown_types_end_it),
        cmocka_unit_test(brokers_own_commands_are_refused),
        cmocka_unit_test(oversize_frames_are_passed_over),
        cmocka_unit_test(an_oversize_frame_fails_open_transactions),
        cmocka_unit_test(frames_that_are_too_long_by_far_end_it),
        cmocka_unit_test(cuts_make_no_difference),
        cmocka_unit_test(a_frame_that_trickles_ends_it),
        cmocka_unit_test(keep_alives_go_both_ways),
        cmocka_unit_test(silence_ends_it),
        cmocka_unit_test(no_inactivity_agreed_is_none_watched),
        cmocka_unit_test(a_drain_answers_what_is_pending),
        cmocka_unit_test(ends_are_told_as_exceptions),
        cmocka_unit_test(a_peer_that_leaves_no_room_ends),
        cmocka_unit_test(memory_is_given_back),
    };
    int failed = cmocka_run_group_tests_name("OpenWire session", tests, NULL, NULL);

    return failed + openwire_produce_tests() + openwire_consume_tests();
}
