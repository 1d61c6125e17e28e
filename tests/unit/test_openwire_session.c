/* The OpenWire session, without a socket: the JMS connection and its sessions, what no client sends. The other parts are named in the header. */
#include "tests/unit/test_openwire_session.h"

#include <stdio.h>
#include <string.h>

#include "tests/unit/openwire_peer.h"
#include "tests/unit/unit.h"

/* ---- the JMS connection ------------------------------------------------------------------ */

static void connection_ids_have_bounds(void **state)
{
    struct peer p;
    char name[520];

    (void)state;
    peer_preambled(&p, NULL);
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
    peer_give_bytes(&p, SLICE_LITERAL("\0\0\0\6\x3c\0\0\0\1\0"));
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
    peer_give_bytes(&p, SLICE_LITERAL("\0\0\0\7\x5a\0\0\0\x51\1x" "\0\0\0\7\x5c\0\0\0\x52\0x" "\0\0\0\6\x1d\0\0\0\x53\1"));
    peer_expect(&p, "Exception 81 " ILLEGAL "messages other than text and bytes, and brokers' own commands, are not available\n"
                    "Error " ILLEGAL "messages other than text and bytes, and brokers' own commands, are not available\n"
                    "Exception 83 javax.jms.MessageFormatException: coffre: messages other than text and bytes, and brokers' own commands, are not available\n");
    peer_send_r(&p, build_session("C", 2));
    peer_expect(&p, "Response 3\n");
    peer_give_bytes(&p, SLICE_LITERAL("\0\0\0\5\x1d\0\0\0\x53")); /* not even a command's head */
    assert_int_equal(session_ended(p.o.s), SESSION_PROTOCOL);
    peer_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
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
    };
    int failed = cmocka_run_group_tests_name("OpenWire session", tests, NULL, NULL);

    failed += openwire_open_tests() + openwire_frames_tests();
    failed += openwire_produce_tests() + openwire_transactions_tests();
    return failed + openwire_consume_tests() + openwire_acks_tests() + openwire_temporary_tests();
}
