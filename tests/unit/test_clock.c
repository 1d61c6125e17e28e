/* The clock's rules: what may be sealed with, and what stops sealing. */
#include "tests/unit/unit.h"

#include <string.h>

#include "sealer/clock.h"

static const struct clock_reading good = {.now_us = 1000000000, .synchronised = true, .max_error_us = 499999};

static void good_clock_is_believed(void **state)
{
    struct err e = {0};

    (void)state;
    assert_true(clock_judge(&good, 500, 1000000, &e));
    assert_int_equal(e.code, ERR_NONE);
}

static void unsynchronised_clock_is_doubted(void **state)
{
    struct clock_reading r = good;
    struct err e = {0};

    (void)state;
    r.synchronised = false;
    assert_false(clock_judge(&r, 500, 0, &e));
    assert_int_equal(e.code, ERR_DOUBT);
    assert_non_null(strstr(e.text, "not synchronised"));
}

static void error_over_the_limit_is_doubted(void **state)
{
    struct clock_reading r = good;
    struct err e = {0};

    (void)state;
    r.max_error_us = 500001;
    assert_false(clock_judge(&r, 500, 0, &e));
    assert_int_equal(e.code, ERR_DOUBT);
    r.max_error_us = UINT64_MAX;
    assert_false(clock_judge(&r, 60000, 0, NULL));
}

static void time_before_the_last_seal_is_doubted(void **state)
{
    struct err e = {0};

    (void)state;
    assert_false(clock_judge(&good, 500, 1000001, &e));
    assert_int_equal(e.code, ERR_DOUBT);
    assert_non_null(strstr(e.text, "already sealed"));
}

static void local_clock_goes_back_no_further_than_trusted(void **state)
{
    int64_t now_us = 0;
    struct err e = {0};

    (void)state;
    assert_true(clock_trusted(CLOCK_SOURCE_LOCAL_TRUSTED, 1, 0, &now_us, &e));
    assert_true(now_us > 1700000000000000);
    assert_false(clock_trusted(CLOCK_SOURCE_LOCAL_TRUSTED, 1, now_us / 1000 + 3600000, &now_us, &e));
    assert_int_equal(e.code, ERR_DOUBT);
}

static void sources_have_names(void **state)
{
    enum clock_source s;
    struct err e = {0};

    (void)state;
    assert_true(clock_source_parse("kernel", &s, &e));
    assert_int_equal(s, CLOCK_SOURCE_KERNEL);
    assert_true(clock_source_parse("local-trusted", &s, &e));
    assert_int_equal(s, CLOCK_SOURCE_LOCAL_TRUSTED);
    assert_false(clock_source_parse("sundial", &s, &e));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_clock_is_believed),
        cmocka_unit_test(unsynchronised_clock_is_doubted),
        cmocka_unit_test(error_over_the_limit_is_doubted),
        cmocka_unit_test(time_before_the_last_seal_is_doubted),
        cmocka_unit_test(local_clock_goes_back_no_further_than_trusted),
        cmocka_unit_test(sources_have_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
