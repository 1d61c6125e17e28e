/* When a small pack waits for more: senders in lock step share one, nobody else is delayed for long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "ingest/queues/gather.h"

enum { ROUND = 600 };

static void one_sender_never_waits(void **state)
{
    struct gather g = {0};
    uint64_t now = 5000;

    (void)state;
    assert_int_equal(gather_wait(&g, now, 1), 0);
    for (unsigned i = 0; i < 100; i++, now += 100) {
        gather_confirmed(&g, now += ROUND, ROUND, 1, 0);
        assert_int_equal(gather_wait(&g, now + 50, 1), 0);
    }
}

static void two_halves_become_one(void **state)
{
    struct gather g = {0};

    (void)state;
    gather_confirmed(&g, 10000, ROUND, 4, 4);
    assert_int_equal(gather_wait(&g, 10000, 4), ROUND);
    assert_int_equal(gather_wait(&g, 10200, 7), ROUND - 200);
    assert_int_equal(gather_wait(&g, 10300, 8), 0);
    gather_confirmed(&g, 11000, ROUND, 8, 0);
    assert_int_equal(gather_wait(&g, 11100, 1), ROUND - 100);
    assert_int_equal(gather_wait(&g, 11200, 8), 0);
}

static void more_than_expected_go_at_once(void **state)
{
    struct gather g = {0};

    (void)state;
    gather_confirmed(&g, 10000, ROUND, 4, 0);
    assert_int_equal(gather_wait(&g, 10001, 9), 0);
}

static void after_a_pause_nothing_waits(void **state)
{
    struct gather g = {0};

    (void)state;
    gather_confirmed(&g, 10000, ROUND, 8, 0);
    assert_int_equal(gather_wait(&g, 10000 + ROUND, 1), 0);
}

static void a_slow_broker_does_not_make_long_waits(void **state)
{
    struct gather g = {0};

    (void)state;
    gather_confirmed(&g, 10000000, 5000000, 8, 0);
    assert_int_equal(gather_wait(&g, 10000000, 1), GATHER_WAIT_MAX);
}

/* 64 senders of which one comes again: after each disappointment twice as many packs are spared the wait. */
static void waits_in_vain_become_seldom(void **state)
{
    struct gather g = {0};
    unsigned waited = 0;
    uint64_t now = 10000;

    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        uint64_t wait;

        gather_confirmed(&g, now += ROUND, ROUND, 32, 32);
        wait = gather_wait(&g, now, 1);
        waited += wait != 0;
        assert_int_equal(gather_wait(&g, now += wait, 1), 0);
    }
    assert_in_range(waited, 6, 25);
}

/* They are back: the next wait shows it, and from then on every pack is waited for. */
static void one_success_makes_waits_usual_again(void **state)
{
    struct gather g = {.in_vain = 6, .skip = 3};
    uint64_t now = 10000;

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        gather_confirmed(&g, now += ROUND, ROUND, 32, 32);
        assert_int_equal(gather_wait(&g, now, 1), 0);
    }
    for (unsigned i = 0; i < 10; i++) {
        gather_confirmed(&g, now += ROUND, ROUND, 64, 0);
        assert_int_equal(gather_wait(&g, now, 1), ROUND);
        assert_int_equal(gather_wait(&g, now + ROUND, 17), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_sender_never_waits),
        cmocka_unit_test(two_halves_become_one),
        cmocka_unit_test(more_than_expected_go_at_once),
        cmocka_unit_test(after_a_pause_nothing_waits),
        cmocka_unit_test(a_slow_broker_does_not_make_long_waits),
        cmocka_unit_test(waits_in_vain_become_seldom),
        cmocka_unit_test(one_success_makes_waits_usual_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
