/* Transactions of an OpenWire session: all of one is stored, or nothing. */
#include "tests/unit/test_openwire_session.h"

#include <stdio.h>
#include <string.h>

#include "tests/unit/openwire_peer.h"
#include "tests/unit/unit.h"

#define POISONED ROLLED_BACK "something in this transaction was refused: nothing of it is deposited\n"

/* ---- transactions ------------------------------------------------------------------------ */

static void a_commit_is_answered_when_all_is_stored(void **state)
{
    struct peer p;

    (void)state;
    peer_produce(&p, 0);
    peer_put(&p, build_transaction("C", 1, BUILD_BEGIN));
    peer_put(&p, peer_message("<a/>", 1));
    peer_put_r(&p, peer_message("<b/>", 1));
    peer_put_r(&p, peer_message("<c/>", 0));
    peer_put_r(&p, build_transaction("C", 1, BUILD_COMMIT));
    peer_give(&p);
    peer_expect(&p, "Response 6\n");
    peer_expect_asked(&p, PEER_DEPOSIT("1", "<c/>") "all 2 <a/> <b/>\n");
    assert_int_equal(p.o.held, 0);
    session_confirmed(p.o.s, 2);
    peer_expect(&p, "Response 8\n");
    peer_send_r(&p, build_transaction("C", 1, BUILD_COMMIT));
    peer_expect(&p, "Exception 9 " ROLLED_BACK "the transaction is not open\n");
    assert_int_equal(session_counts(p.o.s)->commits, 1);
    assert_int_equal(session_counts(p.o.s)->deposits, 3);
    peer_close(&p);
}

static void a_rollback_deposits_nothing(void **state)
{
    struct peer p;

    (void)state;
    peer_produce(&p, 0);
    peer_put_r(&p, build_transaction("C", 1, BUILD_BEGIN));
    peer_put(&p, peer_message("<a/>", 1));
    peer_give(&p);
    assert_true(p.o.held > 0);
    peer_send_r(&p, build_transaction("C", 1, BUILD_ROLLBACK));
    peer_send_r(&p, build_transaction("C", 1, BUILD_ROLLBACK)); /* there is nothing to undo */
    peer_send_r(&p, build_transaction("C", 1, BUILD_BEGIN));
    peer_send_r(&p, build_transaction("C", 1, BUILD_COMMIT)); /* nothing was in it */
    peer_expect(&p, "Response 4\nResponse 6\nResponse 7\nResponse 8\nResponse 9\n");
    peer_expect_asked(&p, "");
    peer_close(&p);
}

/* Whatever is refused in it, the application is told at commit that nothing was deposited. */
static void a_refusal_poisons_its_transaction(void **state)
{
    static char large[2000];
    char said[600];

    (void)state;
    memset(large, 'x', sizeof large - 1);
    for (unsigned i = 0; i < 7; i++) {
        static const char *const whys[] = {
            NO_PLACE "queue \"X\": messages go to queue Event.1.In only", LATER "a transaction of more than 2000 bytes",
            LATER "open transactions hold too many bytes in all, send again later", FORMAT "an event is a text or bytes message",
            ILLEGAL "the message's producer does not exist", ILLEGAL "the message has fields that only a broker writes",
            NO_PLACE "JMSReplyTo is temporary queue \"C:9\": a temporary queue that exists, or Event.1.Out, is needed"};
        struct openwire_object *o;
        struct peer p;

        peer_produce(&p, 0);
        peer_put(&p, build_transaction("C", 1, BUILD_BEGIN));
        peer_put(&p, peer_message("<a/>", 1));
        peer_give(&p);
        if (i == 2)
            p.o.held_max = p.o.held;
        o = build_message("C", i == 0 ? "X" : "Event.1.In", i == 1 ? large : "<b/>", 1);
        if (i == 3)
            o->type = OPENWIRE_OBJECT_MESSAGE;
        else if (i == 4)
            build_object(o, OPENWIRE_MESSAGE_PRODUCER_ID, build_producer_id("C", 1, 7));
        else if (i == 5)
            build_object(o, OPENWIRE_MESSAGE_TARGET_CONSUMER_ID, build_consumer_id("C", 1, 1));
        else if (i == 6)
            build_object(o, OPENWIRE_MESSAGE_REPLY_TO, build_destination(OPENWIRE_TEMP_QUEUE, "C:9"));
        peer_send(&p, o);
        peer_send_r(&p, build_transaction("C", 1, BUILD_COMMIT));
        snprintf(said, sizeof said, "Error %s\nException 7 " POISONED, whys[i]);
        peer_expect(&p, said);
        peer_expect_asked(&p, "");
        assert_int_equal(p.o.held, 0);
        peer_send_r(&p, build_transaction("C", 1, BUILD_BEGIN));
        peer_expect(&p, "Response 8\n");
        peer_close(&p);
    }
}

static void transactions_have_a_limit(void **state)
{
    struct peer p;

    (void)state;
    peer_produce(&p, 0);
    peer_send_r(&p, build_transaction("C", 1, BUILD_BEGIN));
    peer_send_r(&p, build_transaction("C", 1, BUILD_BEGIN));
    peer_send_r(&p, build_transaction("C", 2, BUILD_BEGIN));
    peer_send_r(&p, build_transaction("C", 3, BUILD_BEGIN));
    peer_send(&p, peer_message("<a/>", 3));
    peer_send_r(&p, build_transaction("C", 3, BUILD_COMMIT));
    peer_expect(&p, "Response 4\nException 5 " ILLEGAL "a transaction of that name is open already\nResponse 6\n"
                    "Exception 7 " LATER "more than 2 transactions open\nError " ROLLED_BACK "the transaction is not open\n"
                    "Exception 9 " ROLLED_BACK "the transaction is not open\n");
    peer_close(&p);
}

static void a_commit_waits_for_room(void **state)
{
    struct peer p;

    (void)state;
    peer_produce(&p, 0);
    for (unsigned round = 0; round < 2; round++) {
        peer_put(&p, build_transaction("C", 1, BUILD_BEGIN));
        peer_put(&p, peer_message("<a/>", 1));
        p.o.full = true;
        peer_put_r(&p, build_transaction("C", 1, BUILD_COMMIT));
        peer_offer(&p);
        assert_true(session_blocked(p.o.s));
        peer_offer(&p);
        assert_true(session_blocked(p.o.s));
        peer_expect(&p, "");
        if (round == 0) {
            p.o.full = false;
            peer_give(&p);
            peer_expect_asked(&p, "all 1 <a/>\n");
            session_confirmed(p.o.s, 1);
            peer_expect(&p, "Response 6\n");
        } else {
            session_stalled(p.o.s, "no room");
            peer_give(&p);
            peer_expect(&p, "Exception 9 " ROLLED_BACK "queue unavailable, send again later: no room for more deposits\n");
            assert_int_equal(p.o.held, 0);
        }
    }
    peer_expect_asked(&p, "");
    peer_close(&p);
}

static void a_commit_that_fails_is_a_rollback(void **state)
{
    struct peer p;

    (void)state;
    peer_produce(&p, 0);
    peer_put(&p, build_transaction("C", 1, BUILD_BEGIN));
    peer_put(&p, peer_message("<a/>", 1));
    peer_put_r(&p, build_transaction("C", 1, BUILD_COMMIT));
    peer_give(&p);
    session_refused(p.o.s, 1, "the queue is full");
    peer_expect(&p, "Exception 6 " ROLLED_BACK "the queue is full\n");
    p.o.refuses = true;
    peer_put(&p, build_transaction("C", 1, BUILD_BEGIN));
    peer_put(&p, peer_message("<a/>", 1));
    peer_put(&p, build_transaction("C", 1, BUILD_COMMIT));
    peer_give(&p);
    peer_expect(&p, "Error " ROLLED_BACK "no room\n");
    peer_close(&p);
}

static void xa_is_refused(void **state)
{
    static const char *const no = "javax.transaction.xa.XAException: coffre: XA transactions are not available, local ones are\n";
    struct openwire_object *o;
    char said[300];
    struct peer p;

    (void)state;
    peer_produce(&p, 0);
    for (int kind = BUILD_BEGIN; kind <= 7; kind++) {
        o = build_transaction("C", 1, kind);
        build_object(o, OPENWIRE_TRANSACTION_INFO_TRANSACTION_ID, build(OPENWIRE_XA_TRANSACTION_ID));
        peer_send_r(&p, o);
        snprintf(said, sizeof said, "Exception %u %s", p.command, no);
        peer_expect(&p, said);
    }
    o = build_transaction("C", 1, BUILD_RECOVER);
    build_object(o, OPENWIRE_TRANSACTION_INFO_TRANSACTION_ID, NULL);
    peer_send_r(&p, o);
    peer_expect(&p, "Exception 12 javax.transaction.xa.XAException: coffre: XA transactions are not available\n");
    o = build_transaction("C", 1, BUILD_COMMIT);
    build_object(o, OPENWIRE_TRANSACTION_INFO_TRANSACTION_ID, NULL);
    peer_send_r(&p, o);
    peer_expect(&p, "Exception 13 " ILLEGAL "TransactionInfo without a TransactionId\n");
    o = peer_message("<a/>", 0);
    build_object(o, OPENWIRE_MESSAGE_TRANSACTION_ID, build(OPENWIRE_XA_TRANSACTION_ID));
    peer_send_r(&p, o);
    snprintf(said, sizeof said, "Exception 14 %s", no);
    peer_expect(&p, said);
    peer_send_r(&p, build_transaction("C", 1, BUILD_BEGIN));
    peer_send_r(&p, build_transaction("C", 1, BUILD_PREPARE));
    peer_send_r(&p, build_transaction("C", 1, BUILD_COMMIT_TWO_PHASE));
    peer_send_r(&p, build_transaction("D", 1, BUILD_COMMIT));
    peer_send_r(&p, build_transaction("C", 1, BUILD_COMMIT));
    peer_expect(&p, "Response 15\n"
                    "Exception 16 javax.transaction.xa.XAException: coffre: a local transaction is committed in one phase or rolled back\n"
                    "Exception 17 javax.transaction.xa.XAException: coffre: a local transaction is committed in one phase or rolled back\n"
                    "Exception 18 " ILLEGAL "TransactionId is of another connection than this one\nResponse 19\n");
    peer_close(&p);
}

static void a_disconnect_drops_transactions(void **state)
{
    struct peer p;

    (void)state;
    peer_produce(&p, 0);
    peer_put(&p, build_transaction("C", 1, BUILD_BEGIN));
    peer_put(&p, peer_message("<a/>", 1));
    peer_put_r(&p, build_remove(build_connection_id("C"), -2));
    peer_give(&p);
    assert_int_equal(p.o.held, 0);
    peer_expect(&p, "Response 6\n");
    peer_expect_asked(&p, "unclaim\n");
    peer_close(&p);
}

int openwire_transactions_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_commit_is_answered_when_all_is_stored),
        cmocka_unit_test(a_rollback_deposits_nothing),
        cmocka_unit_test(a_refusal_poisons_its_transaction),
        cmocka_unit_test(transactions_have_a_limit),
        cmocka_unit_test(a_commit_waits_for_room),
        cmocka_unit_test(a_commit_that_fails_is_a_rollback),
        cmocka_unit_test(xa_is_refused),
        cmocka_unit_test(a_disconnect_drops_transactions),
    };

    return cmocka_run_group_tests_name("OpenWire transactions", tests, NULL, NULL);
}
