/* Acknowledgements of an OpenWire session: ranges, credit, transactions, and what a removed consumer gives back. */
#include "tests/unit/test_openwire_session.h"

#include <stdio.h>
#include <string.h>

#include "tests/unit/openwire_peer.h"
#include "tests/unit/unit.h"

/* ---- acknowledgements -------------------------------------------------------------------- */

static void ranges_are_acknowledged(void **state)
{
    struct peer p;

    (void)state;
    peer_consume_answers(&p, 10, 8);
    peer_send(&p, peer_ack(BUILD_STANDARD, 2, 3));
    peer_expect_asked(&p, "ack 1 2\nack 1 3\n");
    peer_send_r(&p, peer_ack(BUILD_STANDARD, 2, 3)); /* again: done already */
    peer_send(&p, peer_ack(BUILD_INDIVIDUAL, 1, 5));
    peer_expect_asked(&p, "ack 1 5\n");
    peer_send(&p, peer_ack(BUILD_POISON, 6, 6));
    peer_send(&p, peer_ack(BUILD_REDELIVERED, 1, 8));
    peer_expect_asked(&p, "ack 1 6\n");
    peer_send(&p, peer_ack(BUILD_STANDARD, 0, 4)); /* without a first: from the beginning */
    peer_expect_asked(&p, "ack 1 1\nack 1 4\n");
    peer_send(&p, peer_ack(BUILD_EXPIRED, 7, 7));
    peer_send(&p, peer_ack(BUILD_UNMATCHED, 8, 8));
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
    peer_consume_answers(&p, 10, 3);
    peer_send_r(&p, build_ack("C", 1, 1, BUILD_STANDARD, "ID:coffre-j-test-9", 1, 3)); /* of a front it was connected to before */
    peer_send_r(&p, build_ack("C", 1, 7, BUILD_STANDARD, PEER_SOURCE, 1, 3));           /* of a consumer just removed */
    peer_send_r(&p, peer_ack(BUILD_STANDARD, 3, 2));
    peer_send_r(&p, peer_ack(BUILD_STANDARD, 4, 9));
    o = peer_ack(BUILD_STANDARD, 1, 3);
    build_object(o, OPENWIRE_MESSAGE_ACK_LAST_MESSAGE_ID, NULL);
    peer_send_r(&p, o);
    o = peer_ack(BUILD_STANDARD, 1, 3);
    build_object(o, OPENWIRE_MESSAGE_ACK_LAST_MESSAGE_ID, build(OPENWIRE_MESSAGE_ID));
    peer_send_r(&p, o);
    peer_send_r(&p, peer_ack(BUILD_INDIVIDUAL, 1, -1));
    peer_expect(&p, "Response 5\nResponse 6\nResponse 7\nResponse 8\nResponse 9\nResponse 10\nResponse 11\n");
    peer_send_r(&p, build_ack("D", 1, 1, BUILD_STANDARD, PEER_SOURCE, 1, 3));
    peer_send_r(&p, peer_ack(7, 1, 3));
    peer_send_r(&p, peer_ack(-1, 1, 3));
    peer_send_r(&p, peer_ack_in(5, BUILD_STANDARD, 1, 3));
    peer_expect(&p, "Exception 12 " ILLEGAL "ConsumerId is of another connection than this one\nException 13 " ILLEGAL "MessageAck of an unknown type\n"
                    "Exception 14 " ILLEGAL "MessageAck of an unknown type\nException 15 " ROLLED_BACK "the transaction is not open\n");
    peer_expect_asked(&p, "");
    peer_send(&p, peer_ack(BUILD_STANDARD, 1, -1)); /* a number that was never used acknowledges nothing */
    peer_expect_asked(&p, "");
    o = peer_ack(BUILD_STANDARD, 1, 2);
    build_object(o, OPENWIRE_MESSAGE_ACK_FIRST_MESSAGE_ID, build_message_id("ID:coffre-j-test-9", 700)); /* began before it reconnected */
    peer_send(&p, o);
    peer_expect_asked(&p, "ack 1 1\nack 1 2\n");
    peer_close(&p);
}

static void delivered_grants_credit_once(void **state)
{
    struct peer p;

    (void)state;
    peer_consume_answers(&p, 4, 4);
    peer_send(&p, peer_ack(BUILD_DELIVERED, 1, 2));
    peer_expect_asked(&p, "credit 1 +2\n");
    peer_send(&p, peer_ack(BUILD_DELIVERED, 1, 2));
    peer_expect_asked(&p, "");
    peer_send(&p, peer_ack(BUILD_DELIVERED, 1, 3));
    peer_expect_asked(&p, "credit 1 +1\n");
    for (unsigned i = 5; i <= 7; i++)
        peer_answer(&p, 1, i);
    peer_answer(&p, 1, 8); /* one more than granted */
    peer_expect_asked(&p, "unseen 1 8 no credit\n");
    peer_send(&p, peer_ack(BUILD_STANDARD, 1, 5));
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
    peer_consume_answers(&p, 3, 3);
    peer_send(&p, build_transaction("C", 1, BUILD_BEGIN));
    peer_send(&p, peer_ack_in(1, BUILD_STANDARD, 1, 2));
    peer_expect_asked(&p, "credit 1 +2\n");
    peer_send(&p, peer_ack_in(1, BUILD_STANDARD, 1, 3));
    peer_expect_asked(&p, "credit 1 +1\n");
    peer_answer(&p, 1, 4);
    peer_said(&p);
    peer_send(&p, peer_ack(BUILD_STANDARD, 1, 4)); /* what is held stays so */
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
    peer_consume_answers(&p, 10, 3);
    peer_send(&p, build_transaction("C", 1, BUILD_BEGIN));
    peer_send(&p, peer_ack_in(1, BUILD_STANDARD, 1, 3));
    peer_send_r(&p, build_transaction("C", 1, BUILD_ROLLBACK));
    peer_expect_asked(&p, "credit 1 +3\n");
    peer_send(&p, build_transaction("C", 2, BUILD_BEGIN));
    peer_send(&p, peer_ack_in(2, BUILD_INDIVIDUAL, 0, 2));
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

        peer_consume_answers(&p, 10, 2);
        peer_put(&p, build_transaction("C", 1, BUILD_BEGIN));
        peer_put(&p, build_message("C", "Event.1.In", "<a/>", 1));
        peer_put(&p, peer_ack_in(1, BUILD_STANDARD, 1, 2));
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
            peer_send(&p, peer_ack(BUILD_STANDARD, 1, 2));
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
    peer_consume_answers(&p, 10, 6);
    peer_send(&p, build_transaction("C", 1, BUILD_BEGIN));
    peer_send(&p, peer_ack_in(1, BUILD_INDIVIDUAL, 0, 2));
    peer_send(&p, peer_ack_in(1, BUILD_INDIVIDUAL, 0, 5));
    p.o.log[0] = '\0';
    peer_send(&p, peer_ack(BUILD_STANDARD, 1, 6));
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
    peer_consume_answers(&p, 10, 9);
    for (unsigned i = 10; i < 2000; i++) {
        peer_answer(&p, 1, i);
        peer_said(&p);
        peer_send(&p, peer_ack(BUILD_STANDARD, 0, i - 9));
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

        peer_consume_answers(&p, N, N);
        memset(out + 1, true, N);
        while (acks < N) {
            unsigned first, last, expected = 0;

            seed = seed * 1103515245 + 12345;
            first = 1 + (seed >> 8) % N;
            last = first + (seed >> 20) % 4;
            last = last > N ? N : last;
            peer_send(&p, peer_ack(BUILD_STANDARD, first, last));
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

            peer_consume_answers(&p, 10, 3);
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

int openwire_acks_tests(void)
{
    const struct CMUnitTest tests[] = {
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
    };

    return cmocka_run_group_tests_name("OpenWire acknowledgements", tests, NULL, NULL);
}
