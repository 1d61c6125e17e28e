/* Time for comparing events with schemas: shares, stores, those that are spared, bounds. */
#include "tests/unit/unit.h"

#include "ingest/ledger/allowance.h"

enum { SECOND = 1000 * 1000, NOW = 7 * SECOND, MUCH = SECOND };

static void an_ordinary_event_takes_nothing(void **state)
{
    struct allowance a = {0};

    (void)state;
    assert_int_equal(allowance_for(&a, 1, 1000, MUCH, NOW), ALLOWANCE_SHARE_US + 100 + ALLOWANCE_EVENT_US);
    for (unsigned i = 0; i < 100000; i++)
        assert_int_equal(allowance_spend(&a, 1, 1000, ALLOWANCE_SHARE_US + 100, NOW), 0);
    assert_int_equal(a.count, 0);
}

static void slow_events_empty_a_store_and_time_fills_it(void **state)
{
    struct allowance a = {0};
    uint64_t spent = 0;
    unsigned turns = 0;

    (void)state;
    while (allowance_for(&a, 1, 0, MUCH, NOW) > ALLOWANCE_SHARE_US && turns++ < 100)
        spent += allowance_spend(&a, 1, 0, allowance_for(&a, 1, 0, MUCH, NOW), NOW);
    assert_int_equal(spent, ALLOWANCE_STORE_US);
    assert_true(turns >= ALLOWANCE_STORE_US / ALLOWANCE_EVENT_US);
    /* Its events are still compared, for as long as any may take; so are others', as before. */
    assert_int_equal(allowance_for(&a, 1, 0, MUCH, NOW), ALLOWANCE_SHARE_US);
    assert_int_equal(allowance_for(&a, 2, 0, MUCH, NOW), ALLOWANCE_SHARE_US + ALLOWANCE_EVENT_US);
    assert_int_equal(allowance_for(&a, 1, 0, MUCH, NOW + SECOND), ALLOWANCE_SHARE_US + SECOND / ALLOWANCE_REFILL);
    assert_int_equal(allowance_for(&a, 1, 0, MUCH, NOW + (uint64_t)1000 * SECOND), ALLOWANCE_SHARE_US + ALLOWANCE_EVENT_US);
    assert_int_equal(allowance_for(&a, 1, 0, MUCH, UINT64_MAX), ALLOWANCE_SHARE_US + ALLOWANCE_EVENT_US);
    /* A clock that is behind. */
    assert_int_equal(allowance_for(&a, 1, 0, MUCH, 0), ALLOWANCE_SHARE_US);
}

static void what_could_not_be_interrupted_is_not_tried_again(void **state)
{
    struct allowance a = {0};

    (void)state;
    allowance_spend(&a, 1, 0, 6 * SECOND, NOW);
    assert_int_equal(allowance_for(&a, 1, 0, MUCH, NOW), 0);
    assert_int_equal(allowance_for(&a, 1, 0, MUCH, NOW + (uint64_t)150 * SECOND), 0);
    assert_true(allowance_for(&a, 1, 0, MUCH, NOW + (uint64_t)154 * SECOND) >= ALLOWANCE_SHARE_US);
}

/* What all may take together. */
static void a_crowd_has_no_more_than_there_is(void **state)
{
    struct allowance a = {0};

    (void)state;
    allowance_spend(&a, 1, 0, ALLOWANCE_SHARE_US + ALLOWANCE_STORE_US + 1000, NOW);
    assert_int_equal(allowance_for(&a, 2, 0, 1000, NOW), ALLOWANCE_SHARE_US + 1000);
    assert_int_equal(allowance_for(&a, 1, 0, 1000, NOW), ALLOWANCE_SHARE_US);
    assert_int_equal(allowance_for(&a, 2, 0, UINT64_MAX, NOW), ALLOWANCE_SHARE_US + ALLOWANCE_EVENT_US);
    assert_int_equal(allowance_for(&a, 2, 0, 0, NOW), ALLOWANCE_SHARE_US);
    assert_int_equal(allowance_for(&a, 1, 0, 0, NOW), 0);
}

static void a_depositor_is_spared_for_a_while(void **state)
{
    struct allowance a = {0};
    const uint32_t seconds[] = {1, 600, UINT32_MAX};
    const uint64_t lasts[] = {1, 600, ALLOWANCE_SPARE_MAX_S};

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        allowance_spare(&a, i + 1, seconds[i], NOW);
        assert_int_equal(allowance_for(&a, i + 1, 0, MUCH, NOW + (lasts[i] - 1) * SECOND), 0);
        assert_true(allowance_for(&a, i + 1, 0, MUCH, NOW + (lasts[i] + 1) * SECOND) > 0);
    }
    /* Nobody's time is made shorter by it. */
    allowance_spare(&a, 2, 1, NOW);
    assert_int_equal(allowance_for(&a, 2, 0, MUCH, NOW + (uint64_t)500 * SECOND), 0);
}

static void no_number_is_too_large_and_no_crowd(void **state)
{
    struct allowance a = {0};

    (void)state;
    allowance_spend(&a, 1, SIZE_MAX, UINT64_MAX, NOW);
    allowance_spend(&a, 1, 0, UINT64_MAX, NOW);
    allowance_spend(&a, 1, 0, UINT64_MAX, NOW);
    assert_true(allowance_for(&a, 1, 0, MUCH, NOW + (uint64_t)(ALLOWANCE_SPARE_MAX_S + 1) * SECOND) > 0);
    allowance_spare(&a, 1, 600, NOW);
    for (uint32_t d = 2; d < 3 * ALLOWANCE_DEPOSITORS; d++)
        allowance_spend(&a, d, 0, SECOND, NOW);
    assert_int_equal(a.count, ALLOWANCE_DEPOSITORS);
    /* The one that has least is remembered. */
    assert_int_equal(allowance_for(&a, 1, 0, MUCH, NOW), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_ordinary_event_takes_nothing),
        cmocka_unit_test(slow_events_empty_a_store_and_time_fills_it),
        cmocka_unit_test(what_could_not_be_interrupted_is_not_tried_again),
        cmocka_unit_test(a_crowd_has_no_more_than_there_is),
        cmocka_unit_test(a_depositor_is_spared_for_a_while),
        cmocka_unit_test(no_number_is_too_large_and_no_crowd),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
