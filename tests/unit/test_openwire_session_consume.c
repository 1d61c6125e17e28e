/* Consumers of an OpenWire session: who may have which, what they are sent, pulls, and what is done anew when deliver is started again. */
#include "tests/unit/test_openwire_session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/openwire_peer.h"
#include "tests/unit/unit.h"

#define OUT "queue Event.1.Out " PEER_SOURCE ":1:1/"

/* ---- what is sent ------------------------------------------------------------------------ */

static void answers_in_every_version(void **state)
{
    (void)state;
    for (unsigned version = 6; version <= 12; version++) {
        const struct pack_answer invalid = {.status = PACK_INVALID, .redeliveries = 3, .client_id = SLICE_LITERAL("c\xc3\xa9\xf0\x9f\x98\x80"),
                                            .digest_algo = SLICE_LITERAL("SHA-1"), .reason = SLICE_LITERAL("digest: no match")};
        const struct pack_answer duplicate = {.status = PACK_DUPLICATE, .serial = 12345678901, .lot = 42, .client_id = SLICE_LITERAL("c"),
                                              .digest = SLICE_LITERAL("d"), .digest_algo = SLICE_LITERAL("SHA-256")};
        const struct pack_archive archive = {42, 1700000000001, 4201, 4300};
        struct peer p = {.version = version};

        peer_consume(&p, 10);
        peer_send_r(&p, peer_consumer(2, OPENWIRE_QUEUE, "Archive.1.Out", 1000));
        peer_expect_asked(&p, "subscribe 2 depositor 7 queue 2 credit 1000\n");
        peer_said(&p);
        peer_answer(&p, 1, 77);
        session_answer(p.o.s, 1, 78, &invalid, p.o.t);
        session_answer(p.o.s, 1, 79, &duplicate, p.o.t);
        session_archive(p.o.s, 2, 80, 1, &archive, p.o.t);
        peer_expect(&p, "Dispatch C:1:1 " OUT "1 redelivered 0" PEER_ANSWER("77")
                        "Dispatch C:1:1 " OUT "2 redelivered 3 CFJLStatus=t:CFJL_INVALID_MESSAGE CFJLJELSerial=t:0 CFJLDigest=t: CFJLDigestAlgo=t:SHA-1 "
                        "ClientId=t:c\xc3\xa9\xed\xa0\xbd\xed\xb8\x80 CFJLLotId=l:0 CFJLReason=t:digest: no match\n"
                        "Dispatch C:1:1 " OUT "3 redelivered 0 CFJLStatus=t:CFJL_DUPLICATE_EVENT CFJLJELSerial=t:12345678901 CFJLDigest=t:d "
                        "CFJLDigestAlgo=t:SHA-256 ClientId=t:c CFJLLotId=l:42\n"
                        "Dispatch C:1:2 queue Archive.1.Out " PEER_SOURCE ":1:1/4 redelivered 1 CFJLArchId=l:42 CFJLArchDate=l:1700000000001 "
                        "CFJLFirstSerial=l:4201 CFJLLastSerial=l:4300\n");
        assert_int_equal(session_counts(p.o.s)->answers, 3);
        assert_int_equal(session_counts(p.o.s)->archives, 1);
        peer_close(&p);
    }
}

/* One that could not be said would come again at each connection, and nothing after it. */
static void an_answer_of_any_length_is_said(void **state)
{
    enum { LONG = 65535 };
    uint8_t *text = malloc(LONG);
    struct pack_answer a = {.status = PACK_INVALID, .client_id = slice_of(text, LONG), .digest_algo = slice_of(text, LONG),
                            .reason = slice_of(text, LONG)};
    struct peer p = {0};

    (void)state;
    for (size_t i = 0; i < LONG; i++)
        text[i] = (uint8_t)"\xf0\x9f\x98\x80"[i % 4];
    peer_consume(&p, 10);
    buf_free(&p.o.out);
    buf_init(&p.o.out, 1 << 20);
    session_answer(p.o.s, 1, 1, &a, p.o.t);
    assert_int_equal(session_ended(p.o.s), SESSION_OPEN);
    assert_true(p.o.out.len > 3 * 49000 && p.o.out.len < 3 * 65535);
    memset(text, 'x', LONG); /* as it is, where that is possible */
    buf_reset(&p.o.out);
    session_answer(p.o.s, 1, 2, &a, p.o.t);
    assert_true(p.o.out.len > 3 * LONG);
    free(text);
    peer_close(&p);
}

static void deliveries_of_others_are_ignored(void **state)
{
    struct peer p;

    (void)state;
    peer_consume_answers(&p, 10, 0);
    peer_answer(&p, 2, 1);
    peer_answer(&p, 0, 1);
    peer_send_r(&p, build_remove(build_consumer_id("C", 1, 1), -2));
    peer_answer(&p, 1, 1);
    peer_expect(&p, "Response 5\n");
    peer_expect_asked(&p, "unsubscribe 1\n");
    peer_close(&p);
}

static void more_than_was_asked_for_goes_back(void **state)
{
    struct peer p;

    (void)state;
    peer_consume_answers(&p, 2, 2);
    peer_answer(&p, 1, 3);
    peer_expect(&p, "");
    peer_expect_asked(&p, "unseen 1 3 no credit\n");
    peer_close(&p);
}

/* What a peer that does not read was not sent comes when it has read. */
static void a_peer_that_does_not_read_gets_no_more(void **state)
{
    struct peer p;
    size_t len;

    (void)state;
    peer_consume_answers(&p, 100, 0);
    p.o.out.max = 2 << 20;
    len = 1 << 20;
    while (len != 0) {
        uint8_t zeros[4096] = {0};

        assert_true(buf_add(&p.o.out, zeros, sizeof zeros, NULL));
        len -= sizeof zeros;
    }
    peer_answer(&p, 1, 1);
    peer_answer(&p, 1, 2);
    peer_expect_asked(&p, "unseen 1 1 no credit\nunseen 1 2 no credit\n");
    buf_reset(&p.o.out);
    session_written(p.o.s, 1 << 20, p.o.t);
    peer_expect_asked(&p, "credit 1 +2\n");
    peer_answer(&p, 1, 1);
    peer_expect(&p, "Dispatch C:1:1 " OUT "1 redelivered 0" PEER_ANSWER("1"));
    peer_close(&p);
}

/* ---- who may consume what ---------------------------------------------------------------- */

static void consumers_that_are_refused(void **state)
{
    static const struct {
        enum openwire_type type;
        const char *name, *said;
    } cases[] = {
        {OPENWIRE_QUEUE, "Event.1.In", "queue \"Event.1.In\""}, {OPENWIRE_QUEUE, "Event.1.Out,Archive.1.Out", "queue \"Event.1.Out,Archive.1.Out\""},
        {OPENWIRE_QUEUE, "Event.1.>", "queue \"Event.1.>\""}, {OPENWIRE_QUEUE, "*.1.Out", "queue \"*.1.Out\""},
        {OPENWIRE_TOPIC, "Event.1.Out", "topic \"Event.1.Out\""}, {OPENWIRE_TOPIC, "ActiveMQ.Advisory.", "topic \"ActiveMQ.Advisory.\""},
        {OPENWIRE_QUEUE, "ActiveMQ.Advisory.TempQueue", "queue \"ActiveMQ.Advisory.TempQueue\""},
        {OPENWIRE_TEMP_QUEUE, "D:1", "temporary queue \"D:1\""}, {OPENWIRE_TEMP_QUEUE, "C:1", "temporary queue \"C:1\""},
        {OPENWIRE_TEMP_QUEUE, "Event.1.Out", "temporary queue \"Event.1.Out\""}, {OPENWIRE_TEMP_TOPIC, "C:1", "temporary topic \"C:1\""},
    };
    struct openwire_object *o;
    char said[300];
    struct peer p;

    (void)state;
    peer_consume_answers(&p, 10, 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        peer_send_r(&p, peer_consumer(9, cases[i].type, cases[i].name, 10));
        snprintf(said, sizeof said, "Exception %u " NO_PLACE "%s: consumers read queue Event.1.Out, queue Archive.1.Out or a temporary queue of their own connection\n",
                 p.command, cases[i].said);
        peer_expect(&p, said);
    }
    o = peer_consumer(9, OPENWIRE_QUEUE, "Event.1.Out", 10);
    build_text(o, OPENWIRE_CONSUMER_INFO_SELECTOR, "CFJLStatus = 'CFJL_OK'");
    peer_send_r(&p, o);
    o = peer_consumer(9, OPENWIRE_QUEUE, "Event.1.Out", 500);
    build_number(o, OPENWIRE_CONSUMER_INFO_BROWSER, 1);
    peer_send_r(&p, o);
    o = peer_consumer(9, OPENWIRE_QUEUE, "Event.1.Out", 10);
    build_number(o, OPENWIRE_CONSUMER_INFO_NETWORK_SUBSCRIPTION, 1);
    peer_send_r(&p, o);
    o = peer_consumer(9, OPENWIRE_QUEUE, "Event.1.Out", 10);
    build_object(o, OPENWIRE_CONSUMER_INFO_ADDITIONAL_PREDICATE, build(OPENWIRE_NETWORK_BRIDGE_FILTER));
    peer_send_r(&p, o);
    peer_send_r(&p, build_consumer("D", 1, 9, build_destination(OPENWIRE_QUEUE, "Event.1.Out"), 10));
    peer_send_r(&p, build_consumer("C", 3, 9, build_destination(OPENWIRE_QUEUE, "Event.1.Out"), 10));
    peer_send_r(&p, build_consumer("C", 1, 9, NULL, 10));
    peer_expect(&p, "Exception 16 javax.jms.InvalidSelectorException: coffre: selectors are not available: a depositor gets all its own messages\n"
                    "Exception 17 javax.jms.JMSException: coffre: browsing is not available: a consumer that does not acknowledge loses nothing\n"
                    "Exception 18 " ILLEGAL "networks of brokers are not available\nException 19 " ILLEGAL "networks of brokers are not available\n"
                    "Exception 20 " ILLEGAL "ConsumerId is of another connection than this one\n"
                    "Exception 21 " ILLEGAL "ConsumerInfo: there is no session 3\n"
                    "Exception 22 " NO_PLACE "no destination: consumers read queue Event.1.Out, queue Archive.1.Out or a temporary queue of their own connection\n");
    peer_expect_asked(&p, "");
    peer_close(&p);
}

static void consumers_have_a_limit(void **state)
{
    struct peer p;

    (void)state;
    peer_consume_answers(&p, 10, 0);
    for (int64_t i = 2; i <= 5; i++)
        peer_send_r(&p, peer_consumer(i, OPENWIRE_QUEUE, "Event.1.Out", 100000));
    peer_send_r(&p, peer_consumer(2, OPENWIRE_QUEUE, "Event.1.Out", 1)); /* a replay */
    p.o.refuses = true;
    peer_send(&p, build_remove(build_consumer_id("C", 1, 2), -2));
    peer_send_r(&p, peer_consumer(6, OPENWIRE_QUEUE, "Event.1.Out", -5));
    peer_expect(&p, "Response 5\nResponse 6\nResponse 7\nException 8 " LATER "more than 4 subscriptions\nResponse 9\nException 11 " LATER "no room\n");
    peer_expect_asked(&p, "subscribe 2 depositor 7 queue 1 credit 32766\nsubscribe 3 depositor 7 queue 1 credit 32766\n"
                          "subscribe 4 depositor 7 queue 1 credit 32766\nunsubscribe 2\n");
    peer_close(&p);
}

/* Every client begins with it and would not start without. */
static void advisories_are_promised_and_never_sent(void **state)
{
    struct peer p;

    (void)state;
    peer_consume_answers(&p, 10, 0);
    peer_send_r(&p, build_consumer("C", -1, 1, build_destination(OPENWIRE_TOPIC, "ActiveMQ.Advisory.TempQueue,ActiveMQ.Advisory.TempTopic"), 1000));
    peer_send_r(&p, build_ack("C", -1, 1, BUILD_DELIVERED, "x", 1, 1));
    peer_send_r(&p, build_pull("C", -1, 1, 0));
    for (int64_t i = 2; i <= 1023; i++)
        peer_put(&p, build_consumer("C", -1, i, build_destination(OPENWIRE_TOPIC, "ActiveMQ.Advisory.X"), 1));
    peer_put_r(&p, build_consumer("C", -1, 1024, build_destination(OPENWIRE_TOPIC, "ActiveMQ.Advisory.X"), 1));
    peer_put_r(&p, build_remove(build_consumer_id("C", -1, 1), -1));
    peer_put_r(&p, build_remove(build_session_id("C", -1), -1));
    peer_give(&p);
    peer_expect(&p, "Response 5\nResponse 6\nException 7 " ILLEGAL "MessagePull: there is no such consumer\n"
                    "Exception 1030 " LATER "more than 1024 consumers on a connection\nResponse 1031\nResponse 1032\n");
    peer_expect_asked(&p, "");
    peer_close(&p);
}

/* ---- prefetch 0, ConsumerControl --------------------------------------------------------- */

static void a_pull_brings_one(void **state)
{
    struct peer p;

    (void)state;
    peer_consume_answers(&p, 0, 0);
    peer_send_r(&p, build_pull("C", 1, 1, 0));
    peer_expect(&p, "Response 5\n");
    peer_expect_asked(&p, "credit 1 +1\n");
    p.o.t.now += 29000;
    session_tick(p.o.s, p.o.t, 100);
    peer_expect(&p, "KeepAlive 0\n"); /* 0 waits for ever */
    peer_answer(&p, 1, 1);
    peer_answer(&p, 1, 2);
    peer_expect(&p, "Dispatch C:1:1 " OUT "1 redelivered 0" PEER_ANSWER("1"));
    peer_expect_asked(&p, "unseen 1 2 no credit\n");
    peer_send(&p, build_pull("C", 1, 1, 0));
    peer_answer(&p, 1, 2); /* the first is not acknowledged yet */
    peer_expect(&p, "Dispatch C:1:1 " OUT "2 redelivered 0" PEER_ANSWER("2"));
    peer_send(&p, peer_ack(BUILD_STANDARD, 1, 2));
    peer_expect_asked(&p, "credit 1 +1\nack 1 1 no credit\nack 1 2 no credit\n");
    peer_close(&p);
}

static void a_pull_that_finds_nothing_says_so(void **state)
{
    static const struct {
        int64_t timeout;
        uint64_t until;
    } cases[] = {{-1, 250}, {1, 250}, {5000, 5000}, {INT64_MIN, 250}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct peer p;

        peer_consume_answers(&p, 0, 0);
        peer_send(&p, build_pull("C", 1, 1, cases[i].timeout));
        p.o.t.now += cases[i].until - 1;
        session_tick(p.o.s, p.o.t, 100);
        peer_expect(&p, "");
        p.o.t.now++;
        session_tick(p.o.s, p.o.t, 100);
        peer_expect(&p, "Dispatch C:1:1 nothing\n");
        peer_expect_asked(&p, "credit 1 +1\ncredit 1 -1\n");
        peer_answer(&p, 1, 1); /* it was under way */
        session_tick(p.o.s, p.o.t, 100);
        peer_expect(&p, "");
        peer_expect_asked(&p, "unseen 1 1 no credit\n");
        peer_close(&p);
    }
}

static void pulls_have_a_limit(void **state)
{
    struct peer p;

    (void)state;
    peer_consume_answers(&p, 0, 0);
    peer_send_r(&p, build_pull("C", 1, 2, 0));
    peer_send_r(&p, build_pull("D", 1, 1, 0));
    for (unsigned i = 0; i < 1000; i++) {
        peer_send(&p, build_pull("C", 1, 1, 0));
        p.o.log[0] = '\0';
    }
    peer_send_r(&p, build_pull("C", 1, 1, 0));
    peer_expect(&p, "Exception 5 " ILLEGAL "MessagePull: there is no such consumer\nException 6 " ILLEGAL "MessagePull: there is no such consumer\n"
                    "Exception 1007 " LATER "MessagePull: too many at once\n");
    peer_close(&p);
    peer_consume_answers(&p, 10, 0);
    peer_send_r(&p, build_pull("C", 1, 1, 0)); /* it is sent them anyway */
    peer_expect(&p, "Response 5\n");
    peer_expect_asked(&p, "");
    peer_close(&p);
}

static struct openwire_object *control(int64_t value, int64_t prefetch, bool close)
{
    struct openwire_object *o = build(OPENWIRE_CONSUMER_CONTROL);

    build_object(o, OPENWIRE_CONSUMER_CONTROL_CONSUMER_ID, build_consumer_id("C", 1, value));
    build_number(o, OPENWIRE_CONSUMER_CONTROL_PREFETCH, prefetch);
    build_number(o, OPENWIRE_CONSUMER_CONTROL_CLOSE, close);
    return o;
}

/* A failover client that has reconnected begins with 0 and then says what it wants. */
static void the_prefetch_may_change(void **state)
{
    struct peer p;

    (void)state;
    peer_consume_answers(&p, 0, 0);
    peer_send_r(&p, control(1, 1000, false));
    peer_send_r(&p, control(1, 1000, false));
    peer_send_r(&p, control(2, 7, false));
    peer_send_r(&p, control(1, 7, true));
    peer_expect(&p, "Response 5\nResponse 6\nResponse 7\nResponse 8\n");
    peer_expect_asked(&p, "credit 1 +1000\n");
    peer_send(&p, control(1, 100000, false));
    peer_expect_asked(&p, "credit 1 +31766\n");
    peer_send(&p, control(1, -3, false));
    peer_expect_asked(&p, "credit 1 -32766\n");
    peer_close(&p);
}

/* What it had before it pulled, unacknowledged, is in nobody's way. */
static void a_consumer_may_begin_to_pull(void **state)
{
    struct peer p;

    (void)state;
    peer_consume_answers(&p, 10, 3);
    peer_send(&p, control(1, 0, false));
    peer_send(&p, build_pull("C", 1, 1, 0));
    peer_send(&p, control(1, 0, false)); /* says nothing new: the pull goes on */
    peer_expect_asked(&p, "credit 1 -10\ncredit 1 +1\n");
    peer_answer(&p, 1, 4);
    peer_expect(&p, "Dispatch C:1:1 " OUT "4 redelivered 0" PEER_ANSWER("4"));
    peer_send(&p, peer_ack(BUILD_STANDARD, 1, 4));
    peer_expect_asked(&p, "ack 1 1 no credit\nack 1 2 no credit\nack 1 3 no credit\nack 1 4 no credit\n");
    peer_close(&p);
}

/* ---- a new deliver ----------------------------------------------------------------------- */

static void everything_is_made_anew(void **state)
{
    struct peer p;

    (void)state;
    peer_consume_answers(&p, 10, 2);
    peer_send_r(&p, build_temporary("C", "C:1", 0));
    peer_send(&p, build_transaction("C", 1, BUILD_BEGIN));
    peer_send(&p, peer_ack_in(1, BUILD_STANDARD, 1, 1));
    p.o.log[0] = '\0';
    session_resubscribe(p.o.s);
    peer_expect_asked(&p, "unsubscribe 1\nsubscribe 3 depositor 7 queue 1 credit 10\nunsubscribe 2\nsubscribe 4 depositor 7 queue 3 C:1 credit 0\nclaim by 7 C\n");
    session_subscribed(p.o.s, 2);
    peer_expect(&p, "");
    session_subscribed(p.o.s, 4);
    peer_answer(&p, 1, 3);
    peer_answer(&p, 3, 1); /* again, and another message to the client */
    peer_expect(&p, "Response 5\nDispatch C:1:1 " OUT "3 redelivered 0" PEER_ANSWER("1"));
    peer_send(&p, peer_ack(BUILD_STANDARD, 1, 2)); /* of what is forgotten */
    peer_send_r(&p, build_transaction("C", 1, BUILD_COMMIT));
    peer_expect(&p, "Response 9\n");
    peer_expect_asked(&p, "");
    peer_send(&p, peer_ack(BUILD_STANDARD, 3, 3));
    peer_expect_asked(&p, "ack 3 1\n");
    p.o.refuses = true;
    session_resubscribe(p.o.s);
    peer_expect_end(&p, SESSION_UNAVAILABLE, "no room");
    peer_close(&p);
}

static void a_pull_lasts_beyond_it(void **state)
{
    struct peer p;

    (void)state;
    peer_consume_answers(&p, 0, 0);
    peer_send(&p, build_pull("C", 1, 1, 0));
    session_resubscribe(p.o.s);
    peer_expect_asked(&p, "credit 1 +1\nunsubscribe 1\nsubscribe 2 depositor 7 queue 1 credit 1\nclaim by 7 C\n");
    peer_answer(&p, 2, 1);
    peer_expect(&p, "Dispatch C:1:1 " OUT "1 redelivered 0" PEER_ANSWER("1"));
    peer_close(&p);
}

int openwire_consume_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_in_every_version),
        cmocka_unit_test(an_answer_of_any_length_is_said),
        cmocka_unit_test(deliveries_of_others_are_ignored),
        cmocka_unit_test(more_than_was_asked_for_goes_back),
        cmocka_unit_test(a_peer_that_does_not_read_gets_no_more),
        cmocka_unit_test(consumers_that_are_refused),
        cmocka_unit_test(consumers_have_a_limit),
        cmocka_unit_test(advisories_are_promised_and_never_sent),
        cmocka_unit_test(a_pull_brings_one),
        cmocka_unit_test(a_pull_that_finds_nothing_says_so),
        cmocka_unit_test(pulls_have_a_limit),
        cmocka_unit_test(the_prefetch_may_change),
        cmocka_unit_test(a_consumer_may_begin_to_pull),
        cmocka_unit_test(everything_is_made_anew),
        cmocka_unit_test(a_pull_lasts_beyond_it),
    };

    return cmocka_run_group_tests_name("OpenWire consumers", tests, NULL, NULL);
}
