/* Temporary queues of an OpenWire session, and replies by them. */
#include "tests/unit/test_openwire_session.h"

#include <stdio.h>
#include <string.h>

#include "tests/unit/openwire_peer.h"
#include "tests/unit/unit.h"

/* ---- temporary queues -------------------------------------------------------------------- */

static void a_temporary_queue_is_answered_when_it_exists(void **state)
{
    struct peer p;

    (void)state;
    peer_consume_answers(&p, 10, 0);
    peer_send_r(&p, build_temporary("C", "C:1", 0));
    peer_send_r(&p, peer_consumer(2, OPENWIRE_TEMP_QUEUE, "C:1", 20));
    peer_expect(&p, "Response 6\n");
    peer_expect_asked(&p, "subscribe 2 depositor 7 queue 3 C:1 credit 0\nsubscribe 3 depositor 7 queue 3 C:1 credit 20\n");
    session_subscribed(p.o.s, 3);
    peer_expect(&p, "");
    session_subscribed(p.o.s, 2);
    session_subscribed(p.o.s, 2);
    peer_expect(&p, "Response 5\n");
    peer_send_r(&p, build_temporary("C", "C:1", 0)); /* a replay */
    peer_send_r(&p, build_temporary("C", "C:1", 1));
    peer_expect(&p, "Response 7\nException 8 javax.jms.JMSException: coffre: the temporary queue still has consumers\n");
    peer_send(&p, build_remove(build_consumer_id("C", 1, 2), -2));
    peer_send_r(&p, build_temporary("C", "C:1", 1));
    peer_send_r(&p, build_temporary("C", "C:1", 1));
    peer_expect(&p, "Response 10\nResponse 11\n");
    peer_expect_asked(&p, "unsubscribe 3\nunsubscribe 2\n");
    peer_close(&p);
}

static void a_second_request_waits_too(void **state)
{
    struct peer p;

    (void)state;
    peer_consume_answers(&p, 10, 0);
    peer_send(&p, build_temporary("C", "C:1", 0));
    peer_send_r(&p, build_temporary("C", "C:1", 0));
    peer_expect(&p, "");
    session_subscribed(p.o.s, 2);
    peer_expect(&p, "Response 6\n");
    peer_close(&p);
}

static void temporary_queues_have_a_limit(void **state)
{
    struct peer p;

    (void)state;
    peer_consume_answers(&p, 10, 0);
    for (unsigned i = 1; i <= 4; i++) {
        char name[] = {'C', ':', (char)('0' + i), '\0'};

        peer_send_r(&p, build_temporary("C", name, 0));
    }
    peer_expect(&p, "Exception 8 " LATER "more than 4 subscriptions\n");
    peer_close(&p);
}

static void a_temporary_queue_that_will_not_be(void **state)
{
    struct peer p;

    (void)state;
    peer_consume_answers(&p, 10, 0);
    peer_send_r(&p, build_temporary("C", "C:1", 0));
    peer_send_r(&p, peer_consumer(2, OPENWIRE_TEMP_QUEUE, "C:1", 20));
    session_not_subscribed(p.o.s, 2, "too many temporary queues");
    session_not_subscribed(p.o.s, 3, "too many temporary queues");
    session_not_subscribed(p.o.s, 9, "nobody's");
    peer_expect(&p, "Response 6\nException 5 " LATER "too many temporary queues\nError " LATER "too many temporary queues\n");
    peer_send_r(&p, peer_consumer(3, OPENWIRE_TEMP_QUEUE, "C:1", 20));
    peer_expect(&p, "Exception 7 " NO_PLACE "temporary queue \"C:1\": consumers read queue Event.1.Out, queue Archive.1.Out or a temporary queue of their own connection\n");
    session_not_subscribed(p.o.s, 1, "a limit");
    peer_send_r(&p, build_pull("C", 1, 1, 0));
    peer_expect(&p, "Error " LATER "a limit\nException 8 " ILLEGAL "MessagePull: there is no such consumer\n");
    peer_close(&p);
}

/* A name belongs to the connection it begins with. */
static void temporary_queues_of_others(void **state)
{
    static const char *const names[] = {"D:1", "CC:1", "C", "C:", "", "ID:C:1", "c:1"};
    struct openwire_object *o;
    char said[200], name[600];
    struct peer p;

    (void)state;
    peer_consume_answers(&p, 10, 0);
    for (size_t i = 0; i < 2 * sizeof names / sizeof *names; i++) {
        peer_send_r(&p, build_temporary("C", names[i / 2], (int)i % 2));
        snprintf(said, sizeof said, "Exception %u " NO_PLACE "temporary queue \"%s\": a temporary queue is named after the connection that makes it\n",
                 p.command, names[i / 2]);
        peer_expect(&p, said);
    }
    memset(name, 'n', sizeof name);
    memcpy(name, "C:", 2);
    name[513] = '\0';
    peer_send_r(&p, build_temporary("C", name, 0));
    assert_non_null(strstr(peer_said(&p), NO_PLACE "temporary queue \"C:nnn"));
    o = build_temporary("C", "C:1", 0);
    build_object(o, OPENWIRE_DESTINATION_INFO_DESTINATION, build_destination(OPENWIRE_TEMP_TOPIC, "C:1"));
    peer_send_r(&p, o);
    o = build_temporary("C", "C:1", 0);
    build_object(o, OPENWIRE_DESTINATION_INFO_DESTINATION, build_destination(OPENWIRE_QUEUE, "X"));
    peer_send_r(&p, o);
    peer_send_r(&p, build_temporary("C", "C:1", 2));
    peer_expect(&p, "Exception 20 " NO_PLACE "temporary topic \"C:1\": only temporary queues are made and removed\n"
                    "Exception 21 " NO_PLACE "queue \"X\": only temporary queues are made and removed\n"
                    "Exception 22 " ILLEGAL "DestinationInfo of an unknown operation\n");
    peer_expect_asked(&p, "");
    peer_close(&p);
}

static struct openwire_object *asking(const char *correlation, enum openwire_type type, const char *name)
{
    struct openwire_object *o = build_message("C", "Event.1.In", "<a/>", 0);

    build_object(o, OPENWIRE_MESSAGE_REPLY_TO, build_destination(type, name));
    build_text(o, OPENWIRE_MESSAGE_CORRELATION_ID, correlation);
    return o;
}

static void replies_are_asked_for(void **state)
{
    struct openwire_object *o;
    static char long_text[1100];
    struct peer p;

    (void)state;
    peer_consume_answers(&p, 10, 0);
    peer_send_r(&p, build_temporary("C", "C:1", 0));
    session_subscribed(p.o.s, 2);
    peer_said(&p);
    p.o.log[0] = '\0';
    peer_send(&p, asking("k", OPENWIRE_TEMP_QUEUE, "C:1"));
    peer_send(&p, asking("", OPENWIRE_TEMP_QUEUE, "C:1"));
    peer_send(&p, asking(NULL, OPENWIRE_TEMP_QUEUE, "D:1")); /* another connection's: it may be of the same depositor */
    o = asking(NULL, OPENWIRE_TEMP_QUEUE, "C:1");
    build_text((struct openwire_object *)(uintptr_t)openwire_get_object(o, OPENWIRE_MESSAGE_MESSAGE_ID), OPENWIRE_MESSAGE_ID_TEXT_VIEW, "its own id");
    peer_send(&p, o);
    peer_send(&p, asking("k", OPENWIRE_QUEUE, "Event.1.Out")); /* where answers go anyway */
    peer_expect(&p, "");
    peer_expect_asked(&p, "deposit 1 by 7 c d SHA-256 at 1234 reply to C:1 for k: <a/>\ndeposit 2 by 7 c d SHA-256 at 1234 reply to C:1 for : <a/>\n"
                          "deposit 3 by 7 c d SHA-256 at 1234 reply to D:1 for C:1:1:1: <a/>\n"
                          "deposit 4 by 7 c d SHA-256 at 1234 reply to C:1 for its own id: <a/>\ndeposit 5 by 7 c d SHA-256 at 1234: <a/>\n");
    peer_send(&p, asking("k", OPENWIRE_TEMP_QUEUE, "C:2"));
    peer_send(&p, asking("k", OPENWIRE_QUEUE, "Archive.1.Out"));
    peer_send(&p, asking("k", OPENWIRE_TEMP_TOPIC, "C:1"));
    peer_send(&p, asking("k", OPENWIRE_TEMP_QUEUE, ""));
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[1025] = '\0';
    peer_send(&p, asking(long_text, OPENWIRE_TEMP_QUEUE, "C:1"));
    o = asking(NULL, OPENWIRE_TEMP_QUEUE, "C:1");
    build_object(o, OPENWIRE_MESSAGE_MESSAGE_ID, build_message_id(long_text, 1));
    peer_send(&p, o);
    o = asking(NULL, OPENWIRE_TEMP_QUEUE, "C:1");
    build_object(o, OPENWIRE_MESSAGE_MESSAGE_ID, NULL);
    peer_send(&p, o);
    peer_expect(&p, "Error " NO_PLACE "JMSReplyTo is temporary queue \"C:2\": a temporary queue that exists, or Event.1.Out, is needed\n"
                    "Error " NO_PLACE "JMSReplyTo is queue \"Archive.1.Out\": a temporary queue that exists, or Event.1.Out, is needed\n"
                    "Error " NO_PLACE "JMSReplyTo is temporary topic \"C:1\": a temporary queue that exists, or Event.1.Out, is needed\n"
                    "Error " NO_PLACE "JMSReplyTo is temporary queue \"\": a temporary queue that exists, or Event.1.Out, is needed\n"
                    "Error javax.jms.MessageFormatException: coffre: JMSCorrelationID or JMSMessageID is over 1024 bytes\n"
                    "Error javax.jms.MessageFormatException: coffre: JMSCorrelationID or JMSMessageID is over 1024 bytes\n"
                    "Error javax.jms.MessageFormatException: coffre: JMSCorrelationID or JMSMessageID is over 1024 bytes\n");
    peer_close(&p);
}

static void replies_come(void **state)
{
    const struct pack_answer a = {.status = PACK_OK, .serial = 9, .lot = 2, .client_id = SLICE_LITERAL("c"), .digest = SLICE_LITERAL("d"),
                                  .digest_algo = SLICE_LITERAL("SHA-256"), .has_correlation = true, .correlation = SLICE_LITERAL("k")};
    struct peer p;

    (void)state;
    peer_consume_answers(&p, 10, 0);
    peer_send(&p, build_temporary("C", "C:1", 0));
    peer_send(&p, peer_consumer(2, OPENWIRE_TEMP_QUEUE, "C:1", 20));
    p.o.log[0] = '\0';
    session_answer(p.o.s, 3, 1, &a, p.o.t);
    session_answer(p.o.s, 2, 2, &a, p.o.t); /* the queue itself asks for none */
    peer_expect(&p, "Dispatch C:1:2 temporary C:1 not durable " PEER_SOURCE ":1:1/1 redelivered 0 for k" PEER_ANSWER("9"));
    peer_expect_asked(&p, "unseen 2 2 no credit\n");
    peer_send(&p, build_ack("C", 1, 2, BUILD_STANDARD, PEER_SOURCE, 1, 1));
    peer_expect_asked(&p, "ack 3 1\n");
    peer_send(&p, build_remove(build_connection_id("C"), -1));
    peer_expect_asked(&p, "unsubscribe 3\nunsubscribe 1\nunsubscribe 2\nunclaim\n");
    peer_close(&p);
}

int openwire_temporary_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_temporary_queue_is_answered_when_it_exists),
        cmocka_unit_test(a_second_request_waits_too),
        cmocka_unit_test(temporary_queues_have_a_limit),
        cmocka_unit_test(a_temporary_queue_that_will_not_be),
        cmocka_unit_test(temporary_queues_of_others),
        cmocka_unit_test(replies_are_asked_for),
        cmocka_unit_test(replies_come),
    };

    return cmocka_run_group_tests_name("OpenWire temporary queues", tests, NULL, NULL);
}
