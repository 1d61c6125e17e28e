/* Consumers of an OpenWire session: what they are sent, acknowledgements and credit, pulls, temporary queues. */
#include "tests/unit/test_openwire_session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/openwire_peer.h"
#include "tests/unit/unit.h"

#define ILLEGAL "javax.jms.IllegalStateException: coffre: "
#define NO_PLACE "javax.jms.InvalidDestinationException: coffre: "
#define LATER "javax.jms.ResourceAllocationException: coffre: "
#define ROLLED_BACK "javax.jms.TransactionRolledBackException: coffre: "
#define OUT "queue Event.1.Out " PEER_SOURCE ":1:1/"
#define ANSWER(serial) " CFJLStatus=t:CFJL_OK CFJLJELSerial=t:" serial " CFJLDigest=t:d CFJLDigestAlgo=t:SHA-256 ClientId=t:c CFJLLotId=l:2\n"

static struct openwire_object *consumer(int64_t value, enum openwire_type type, const char *name, int64_t prefetch)
{
    return build_consumer("C", 1, value, build_destination(type, name), prefetch);
}

static struct openwire_object *ack(int kind, int64_t first, int64_t last)
{
    return build_ack("C", 1, 1, kind, PEER_SOURCE, first, last);
}

static struct openwire_object *ack_in(int64_t transaction, int kind, int64_t first, int64_t last)
{
    struct openwire_object *o = ack(kind, first, last);

    build_object(o, OPENWIRE_MESSAGE_ACK_TRANSACTION_ID, build_transaction_id("C", transaction));
    return o;
}

/* Answers 1 to n are out, and forgotten. */
static void consume(struct peer *p, int64_t prefetch, unsigned n)
{
    *p = (struct peer){0};
    peer_consume(p, prefetch);
    for (unsigned i = 1; i <= n; i++)
        peer_answer(p, 1, i);
    peer_said(p);
    peer_expect_asked(p, "");
}

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
        peer_send_r(&p, consumer(2, OPENWIRE_QUEUE, "Archive.1.Out", 1000));
        peer_expect_asked(&p, "subscribe 2 depositor 7 queue 2 credit 1000\n");
        peer_said(&p);
        peer_answer(&p, 1, 77);
        session_answer(p.o.s, 1, 78, &invalid, p.o.t);
        session_answer(p.o.s, 1, 79, &duplicate, p.o.t);
        session_archive(p.o.s, 2, 80, 1, &archive, p.o.t);
        peer_expect(&p, "Dispatch C:1:1 " OUT "1 redelivered 0" ANSWER("77")
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
    consume(&p, 10, 0);
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
    consume(&p, 2, 2);
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
    consume(&p, 100, 0);
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
    peer_expect(&p, "Dispatch C:1:1 " OUT "1 redelivered 0" ANSWER("1"));
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
    consume(&p, 10, 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        peer_send_r(&p, consumer(9, cases[i].type, cases[i].name, 10));
        snprintf(said, sizeof said, "Exception %u " NO_PLACE "%s: consumers read queue Event.1.Out, queue Archive.1.Out or a temporary queue of their own connection\n",
                 p.command, cases[i].said);
        peer_expect(&p, said);
    }
    o = consumer(9, OPENWIRE_QUEUE, "Event.1.Out", 10);
    build_text(o, OPENWIRE_CONSUMER_INFO_SELECTOR, "CFJLStatus = 'CFJL_OK'");
    peer_send_r(&p, o);
    o = consumer(9, OPENWIRE_QUEUE, "Event.1.Out", 500);
    build_number(o, OPENWIRE_CONSUMER_INFO_BROWSER, 1);
    peer_send_r(&p, o);
    o = consumer(9, OPENWIRE_QUEUE, "Event.1.Out", 10);
    build_number(o, OPENWIRE_CONSUMER_INFO_NETWORK_SUBSCRIPTION, 1);
    peer_send_r(&p, o);
    o = consumer(9, OPENWIRE_QUEUE, "Event.1.Out", 10);
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
    consume(&p, 10, 0);
    for (int64_t i = 2; i <= 5; i++)
        peer_send_r(&p, consumer(i, OPENWIRE_QUEUE, "Event.1.Out", 100000));
    peer_send_r(&p, consumer(2, OPENWIRE_QUEUE, "Event.1.Out", 1)); /* a replay */
    p.o.refuses = true;
    peer_send(&p, build_remove(build_consumer_id("C", 1, 2), -2));
    peer_send_r(&p, consumer(6, OPENWIRE_QUEUE, "Event.1.Out", -5));
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
    consume(&p, 10, 0);
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

/* ---- acknowledgements -------------------------------------------------------------------- */

static void ranges_are_acknowledged(void **state)
{
    struct peer p;

    (void)state;
    consume(&p, 10, 8);
    peer_send(&p, ack(BUILD_STANDARD, 2, 3));
    peer_expect_asked(&p, "ack 1 2\nack 1 3\n");
    peer_send_r(&p, ack(BUILD_STANDARD, 2, 3)); /* again: done already */
    peer_send(&p, ack(BUILD_INDIVIDUAL, 1, 5));
    peer_expect_asked(&p, "ack 1 5\n");
    peer_send(&p, ack(BUILD_POISON, 6, 6));
    peer_send(&p, ack(BUILD_REDELIVERED, 1, 8));
    peer_expect_asked(&p, "ack 1 6\n");
    peer_send(&p, ack(BUILD_STANDARD, 0, 4)); /* without a first: from the beginning */
    peer_expect_asked(&p, "ack 1 1\nack 1 4\n");
    peer_send(&p, ack(BUILD_EXPIRED, 7, 7));
    peer_send(&p, ack(BUILD_UNMATCHED, 8, 8));
    peer_expect_asked(&p, "ack 1 7\nack 1 8\n");
    peer_expect(&p, "Response 6\n");
    assert_int_equal(session_counts(p.o.s)->acks, 8);
    peer_close(&p);
}

static void acknowledgements_that_mean_nothing(void **state)
{
    struct openwire_object *o;
    struct peer p;

    (void)state;
    consume(&p, 10, 3);
    peer_send_r(&p, build_ack("C", 1, 1, BUILD_STANDARD, "ID:coffre-j-test-9", 1, 3)); /* of a front it was connected to before */
    peer_send_r(&p, build_ack("C", 1, 7, BUILD_STANDARD, PEER_SOURCE, 1, 3));           /* of a consumer just removed */
    peer_send_r(&p, ack(BUILD_STANDARD, 3, 2));
    peer_send_r(&p, ack(BUILD_STANDARD, 4, 9));
    o = ack(BUILD_STANDARD, 1, 3);
    build_object(o, OPENWIRE_MESSAGE_ACK_LAST_MESSAGE_ID, NULL);
    peer_send_r(&p, o);
    o = ack(BUILD_STANDARD, 1, 3);
    build_object(o, OPENWIRE_MESSAGE_ACK_LAST_MESSAGE_ID, build(OPENWIRE_MESSAGE_ID));
    peer_send_r(&p, o);
    peer_send_r(&p, ack(BUILD_INDIVIDUAL, 1, -1));
    peer_expect(&p, "Response 5\nResponse 6\nResponse 7\nResponse 8\nResponse 9\nResponse 10\nResponse 11\n");
    peer_send_r(&p, build_ack("D", 1, 1, BUILD_STANDARD, PEER_SOURCE, 1, 3));
    peer_send_r(&p, ack(7, 1, 3));
    peer_send_r(&p, ack(-1, 1, 3));
    peer_send_r(&p, ack_in(5, BUILD_STANDARD, 1, 3));
    peer_expect(&p, "Exception 12 " ILLEGAL "ConsumerId is of another connection than this one\nException 13 " ILLEGAL "MessageAck of an unknown type\n"
                    "Exception 14 " ILLEGAL "MessageAck of an unknown type\nException 15 " ROLLED_BACK "the transaction is not open\n");
    peer_expect_asked(&p, "");
    peer_send(&p, ack(BUILD_STANDARD, 1, -1)); /* a number that was never used acknowledges nothing */
    peer_expect_asked(&p, "");
    o = ack(BUILD_STANDARD, 1, 2);
    build_object(o, OPENWIRE_MESSAGE_ACK_FIRST_MESSAGE_ID, build_message_id("ID:coffre-j-test-9", 700)); /* began before it reconnected */
    peer_send(&p, o);
    peer_expect_asked(&p, "ack 1 1\nack 1 2\n");
    peer_close(&p);
}

static void delivered_grants_credit_once(void **state)
{
    struct peer p;

    (void)state;
    consume(&p, 4, 4);
    peer_send(&p, ack(BUILD_DELIVERED, 1, 2));
    peer_expect_asked(&p, "credit 1 +2\n");
    peer_send(&p, ack(BUILD_DELIVERED, 1, 2));
    peer_expect_asked(&p, "");
    peer_send(&p, ack(BUILD_DELIVERED, 1, 3));
    peer_expect_asked(&p, "credit 1 +1\n");
    for (unsigned i = 5; i <= 7; i++)
        peer_answer(&p, 1, i);
    peer_answer(&p, 1, 8); /* one more than granted */
    peer_expect_asked(&p, "unseen 1 8 no credit\n");
    peer_send(&p, ack(BUILD_STANDARD, 1, 5));
    peer_expect_asked(&p, "ack 1 1 no credit\nack 1 2 no credit\nack 1 3 no credit\nack 1 4\nack 1 5\n");
    peer_answer(&p, 1, 8);
    peer_answer(&p, 1, 9);
    peer_answer(&p, 1, 10);
    peer_expect_asked(&p, "unseen 1 10 no credit\n");
    peer_close(&p);
}

/* A session that commits every five minutes gets more than its prefetch meanwhile. */
static void acknowledgements_wait_for_the_commit(void **state)
{
    struct peer p;

    (void)state;
    consume(&p, 3, 3);
    peer_send(&p, build_transaction("C", 1, BUILD_BEGIN));
    peer_send(&p, ack_in(1, BUILD_STANDARD, 1, 2));
    peer_expect_asked(&p, "credit 1 +2\n");
    peer_send(&p, ack_in(1, BUILD_STANDARD, 1, 3));
    peer_expect_asked(&p, "credit 1 +1\n");
    peer_answer(&p, 1, 4);
    peer_said(&p);
    peer_send(&p, ack(BUILD_STANDARD, 1, 4)); /* what is held stays so */
    peer_expect_asked(&p, "ack 1 4\n");
    peer_send_r(&p, build_transaction("C", 1, BUILD_COMMIT));
    peer_expect(&p, "Response 9\n");
    peer_expect_asked(&p, "ack 1 1 no credit\nack 1 2 no credit\nack 1 3 no credit\n");
    peer_close(&p);
}

static void a_rollback_leaves_them_unacknowledged(void **state)
{
    struct peer p;

    (void)state;
    consume(&p, 10, 3);
    peer_send(&p, build_transaction("C", 1, BUILD_BEGIN));
    peer_send(&p, ack_in(1, BUILD_STANDARD, 1, 3));
    peer_send_r(&p, build_transaction("C", 1, BUILD_ROLLBACK));
    peer_expect_asked(&p, "credit 1 +3\n");
    peer_send(&p, build_transaction("C", 2, BUILD_BEGIN));
    peer_send(&p, ack_in(2, BUILD_INDIVIDUAL, 0, 2));
    peer_send_r(&p, build_transaction("C", 2, BUILD_COMMIT));
    peer_expect(&p, "Response 7\nResponse 10\n");
    peer_expect_asked(&p, "ack 1 2 no credit\n");
    peer_close(&p);
}

/* One transaction deposits and acknowledges: all of it when it is stored, nothing of it when it is not. */
static void a_transaction_of_both_kinds(void **state)
{
    (void)state;
    for (int stored = 0; stored <= 1; stored++) {
        struct peer p;

        consume(&p, 10, 2);
        peer_put(&p, build_transaction("C", 1, BUILD_BEGIN));
        peer_put(&p, build_message("C", "Event.1.In", "<a/>", 1));
        peer_put(&p, ack_in(1, BUILD_STANDARD, 1, 2));
        peer_put_r(&p, build_transaction("C", 1, BUILD_COMMIT));
        peer_give(&p);
        peer_expect(&p, "");
        peer_expect_asked(&p, "credit 1 +2\nall 1 <a/>\n");
        if (stored) {
            session_confirmed(p.o.s, 1);
            peer_expect(&p, "Response 8\n");
            peer_expect_asked(&p, "ack 1 1 no credit\nack 1 2 no credit\n");
        } else {
            session_refused(p.o.s, 1, "full");
            peer_expect(&p, "Exception 8 " ROLLED_BACK "full\n");
            peer_expect_asked(&p, "");
            peer_send(&p, ack(BUILD_STANDARD, 1, 2));
            peer_expect_asked(&p, "ack 1 1 no credit\nack 1 2 no credit\n");
        }
        peer_close(&p);
    }
}

/* What a transaction holds stays in its place while those around it go. */
static void acknowledgements_around_those_that_are_held(void **state)
{
    struct peer p;

    (void)state;
    consume(&p, 10, 6);
    peer_send(&p, build_transaction("C", 1, BUILD_BEGIN));
    peer_send(&p, ack_in(1, BUILD_INDIVIDUAL, 0, 2));
    peer_send(&p, ack_in(1, BUILD_INDIVIDUAL, 0, 5));
    p.o.log[0] = '\0';
    peer_send(&p, ack(BUILD_STANDARD, 1, 6));
    peer_expect_asked(&p, "ack 1 1 no credit\nack 1 3 no credit\nack 1 4 no credit\nack 1 6\n");
    peer_send(&p, build_transaction("C", 1, BUILD_COMMIT));
    peer_expect_asked(&p, "ack 1 2 no credit\nack 1 5 no credit\n");
    peer_close(&p);
}

/* A consumer that is never quite done, for long. */
static void deliveries_follow_each_other(void **state)
{
    struct peer p;
    char asked[40];

    (void)state;
    consume(&p, 10, 9);
    for (unsigned i = 10; i < 2000; i++) {
        peer_answer(&p, 1, i);
        peer_said(&p);
        peer_send(&p, ack(BUILD_STANDARD, 0, i - 9));
        snprintf(asked, sizeof asked, "ack 1 %u\n", i - 9);
        peer_expect_asked(&p, asked);
    }
    peer_close(&p);
}

/* Any order of acknowledgements gives back each delivery and each credit once. */
static void credit_balances_in_any_order(void **state)
{
    enum { N = 40 };
    unsigned seed = 1;

    (void)state;
    for (unsigned round = 0; round < 200; round++) {
        bool out[N + 1] = {false};
        unsigned acks = 0;
        struct peer p;

        consume(&p, N, N);
        memset(out + 1, true, N);
        while (acks < N) {
            unsigned first, last, expected = 0;

            seed = seed * 1103515245 + 12345;
            first = 1 + (seed >> 8) % N;
            last = first + (seed >> 20) % 4;
            last = last > N ? N : last;
            peer_send(&p, ack(BUILD_STANDARD, first, last));
            for (unsigned i = first; i <= last; i++) {
                char line[40];

                snprintf(line, sizeof line, "ack 1 %u\n", i);
                assert_true((strstr(p.o.log, line) != NULL) == out[i]);
                expected += out[i];
                out[i] = false;
            }
            acks += expected;
            assert_int_equal(session_counts(p.o.s)->acks, acks);
            p.o.log[0] = '\0';
            if (round % 4 == 0 && expected != 0) { /* others come in their place */
                peer_answer(&p, 1, 1000 + acks);
                assert_string_equal(p.o.log, "");
                peer_said(&p);
            }
        }
        peer_close(&p);
    }
}

/* ---- removal ----------------------------------------------------------------------------- */

/* Those after the last that the application has seen come back as they were, those before it with their count raised. */
static void a_removed_consumer_gives_back(void **state)
{
    static const struct {
        int64_t seen;
        const char *asked;
    } cases[] = {
        {-2, "unsubscribe 1\n"},
        {-1, "credit 1 -2147483647\nunseen 1 1 no credit\nunseen 1 2 no credit\nunseen 1 3 no credit\nunsubscribe 1\n"},
        {0, "credit 1 -2147483647\nunseen 1 1 no credit\nunseen 1 2 no credit\nunseen 1 3 no credit\nunsubscribe 1\n"},
        {2, "credit 1 -2147483647\nunseen 1 3 no credit\nunsubscribe 1\n"},
        {3, "unsubscribe 1\n"},
        {99, "unsubscribe 1\n"},
    };

    (void)state;
    for (unsigned what = 0; what < 3; what++)
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            struct peer p;
            char asked[300];

            consume(&p, 10, 3);
            peer_send_r(&p, build_remove(what == 0   ? build_consumer_id("C", 1, 1)
                                         : what == 1 ? build_session_id("C", 1)
                                                     : build_connection_id("C"),
                                         cases[i].seen));
            peer_expect(&p, "Response 5\n");
            snprintf(asked, sizeof asked, "%s%s", cases[i].asked, what == 2 ? "unclaim\n" : "");
            peer_expect_asked(&p, asked);
            peer_close(&p);
        }
}

/* ---- prefetch 0, ConsumerControl --------------------------------------------------------- */

static void a_pull_brings_one(void **state)
{
    struct peer p;

    (void)state;
    consume(&p, 0, 0);
    peer_send_r(&p, build_pull("C", 1, 1, 0));
    peer_expect(&p, "Response 5\n");
    peer_expect_asked(&p, "credit 1 +1\n");
    p.o.t.now += 29000;
    session_tick(p.o.s, p.o.t, 100);
    peer_expect(&p, "KeepAlive 0\n"); /* 0 waits for ever */
    peer_answer(&p, 1, 1);
    peer_answer(&p, 1, 2);
    peer_expect(&p, "Dispatch C:1:1 " OUT "1 redelivered 0" ANSWER("1"));
    peer_expect_asked(&p, "unseen 1 2 no credit\n");
    peer_send(&p, build_pull("C", 1, 1, 0));
    peer_answer(&p, 1, 2); /* the first is not acknowledged yet */
    peer_expect(&p, "Dispatch C:1:1 " OUT "2 redelivered 0" ANSWER("2"));
    peer_send(&p, ack(BUILD_STANDARD, 1, 2));
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

        consume(&p, 0, 0);
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
    consume(&p, 0, 0);
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
    consume(&p, 10, 0);
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
    consume(&p, 0, 0);
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
    consume(&p, 10, 3);
    peer_send(&p, control(1, 0, false));
    peer_send(&p, build_pull("C", 1, 1, 0));
    peer_send(&p, control(1, 0, false)); /* says nothing new: the pull goes on */
    peer_expect_asked(&p, "credit 1 -10\ncredit 1 +1\n");
    peer_answer(&p, 1, 4);
    peer_expect(&p, "Dispatch C:1:1 " OUT "4 redelivered 0" ANSWER("4"));
    peer_send(&p, ack(BUILD_STANDARD, 1, 4));
    peer_expect_asked(&p, "ack 1 1 no credit\nack 1 2 no credit\nack 1 3 no credit\nack 1 4 no credit\n");
    peer_close(&p);
}

/* ---- temporary queues -------------------------------------------------------------------- */

static void a_temporary_queue_is_answered_when_it_exists(void **state)
{
    struct peer p;

    (void)state;
    consume(&p, 10, 0);
    peer_send_r(&p, build_temporary("C", "C:1", 0));
    peer_send_r(&p, consumer(2, OPENWIRE_TEMP_QUEUE, "C:1", 20));
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
    consume(&p, 10, 0);
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
    consume(&p, 10, 0);
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
    consume(&p, 10, 0);
    peer_send_r(&p, build_temporary("C", "C:1", 0));
    peer_send_r(&p, consumer(2, OPENWIRE_TEMP_QUEUE, "C:1", 20));
    session_not_subscribed(p.o.s, 2, "too many temporary queues");
    session_not_subscribed(p.o.s, 3, "too many temporary queues");
    session_not_subscribed(p.o.s, 9, "nobody's");
    peer_expect(&p, "Response 6\nException 5 " LATER "too many temporary queues\nError " LATER "too many temporary queues\n");
    peer_send_r(&p, consumer(3, OPENWIRE_TEMP_QUEUE, "C:1", 20));
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
    consume(&p, 10, 0);
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
    consume(&p, 10, 0);
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
    consume(&p, 10, 0);
    peer_send(&p, build_temporary("C", "C:1", 0));
    peer_send(&p, consumer(2, OPENWIRE_TEMP_QUEUE, "C:1", 20));
    p.o.log[0] = '\0';
    session_answer(p.o.s, 3, 1, &a, p.o.t);
    session_answer(p.o.s, 2, 2, &a, p.o.t); /* the queue itself asks for none */
    peer_expect(&p, "Dispatch C:1:2 temporary C:1 not durable " PEER_SOURCE ":1:1/1 redelivered 0 for k" ANSWER("9"));
    peer_expect_asked(&p, "unseen 2 2 no credit\n");
    peer_send(&p, build_ack("C", 1, 2, BUILD_STANDARD, PEER_SOURCE, 1, 1));
    peer_expect_asked(&p, "ack 3 1\n");
    peer_send(&p, build_remove(build_connection_id("C"), -1));
    peer_expect_asked(&p, "unsubscribe 3\nunsubscribe 1\nunsubscribe 2\nunclaim\n");
    peer_close(&p);
}

/* ---- a new deliver ----------------------------------------------------------------------- */

static void everything_is_made_anew(void **state)
{
    struct peer p;

    (void)state;
    consume(&p, 10, 2);
    peer_send_r(&p, build_temporary("C", "C:1", 0));
    peer_send(&p, build_transaction("C", 1, BUILD_BEGIN));
    peer_send(&p, ack_in(1, BUILD_STANDARD, 1, 1));
    p.o.log[0] = '\0';
    session_resubscribe(p.o.s);
    peer_expect_asked(&p, "unsubscribe 1\nsubscribe 3 depositor 7 queue 1 credit 10\nunsubscribe 2\nsubscribe 4 depositor 7 queue 3 C:1 credit 0\nclaim by 7 C\n");
    session_subscribed(p.o.s, 2);
    peer_expect(&p, "");
    session_subscribed(p.o.s, 4);
    peer_answer(&p, 1, 3);
    peer_answer(&p, 3, 1); /* again, and another message to the client */
    peer_expect(&p, "Response 5\nDispatch C:1:1 " OUT "3 redelivered 0" ANSWER("1"));
    peer_send(&p, ack(BUILD_STANDARD, 1, 2)); /* of what is forgotten */
    peer_send_r(&p, build_transaction("C", 1, BUILD_COMMIT));
    peer_expect(&p, "Response 9\n");
    peer_expect_asked(&p, "");
    peer_send(&p, ack(BUILD_STANDARD, 3, 3));
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
    consume(&p, 0, 0);
    peer_send(&p, build_pull("C", 1, 1, 0));
    session_resubscribe(p.o.s);
    peer_expect_asked(&p, "credit 1 +1\nunsubscribe 1\nsubscribe 2 depositor 7 queue 1 credit 1\nclaim by 7 C\n");
    peer_answer(&p, 2, 1);
    peer_expect(&p, "Dispatch C:1:1 " OUT "1 redelivered 0" ANSWER("1"));
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
        cmocka_unit_test(ranges_are_acknowledged),
        cmocka_unit_test(acknowledgements_that_mean_nothing),
        cmocka_unit_test(delivered_grants_credit_once),
        cmocka_unit_test(acknowledgements_wait_for_the_commit),
        cmocka_unit_test(a_rollback_leaves_them_unacknowledged),
        cmocka_unit_test(a_transaction_of_both_kinds),
        cmocka_unit_test(acknowledgements_around_those_that_are_held),
        cmocka_unit_test(deliveries_follow_each_other),
        cmocka_unit_test(credit_balances_in_any_order),
        cmocka_unit_test(a_removed_consumer_gives_back),
        cmocka_unit_test(a_pull_brings_one),
        cmocka_unit_test(a_pull_that_finds_nothing_says_so),
        cmocka_unit_test(pulls_have_a_limit),
        cmocka_unit_test(the_prefetch_may_change),
        cmocka_unit_test(a_consumer_may_begin_to_pull),
        cmocka_unit_test(a_temporary_queue_is_answered_when_it_exists),
        cmocka_unit_test(a_second_request_waits_too),
        cmocka_unit_test(temporary_queues_have_a_limit),
        cmocka_unit_test(a_temporary_queue_that_will_not_be),
        cmocka_unit_test(temporary_queues_of_others),
        cmocka_unit_test(replies_are_asked_for),
        cmocka_unit_test(replies_come),
        cmocka_unit_test(everything_is_made_anew),
        cmocka_unit_test(a_pull_lasts_beyond_it),
    };

    return cmocka_run_group_tests_name("OpenWire consumers", tests, NULL, NULL);
}
