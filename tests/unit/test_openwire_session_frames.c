/* Frames of an OpenWire session, too long, in any pieces, too slow; its time and its ends. */
#include "tests/unit/test_openwire_session.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/openwire_peer.h"
#include "tests/unit/unit.h"

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
    peer_give_bytes(&p, SLICE_LITERAL("\x80\0\0\0\x1c"));
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

int openwire_frames_tests(void)
{
    const struct CMUnitTest tests[] = {
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

    return cmocka_run_group_tests_name("OpenWire frames", tests, NULL, NULL);
}
