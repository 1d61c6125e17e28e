/* What strangers make us write: bounded for each kind, and nothing uncounted. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>

#include "common/identity/quota.h"

static void test_counts(void **state)
{
    static struct quota q;
    char name[QUOTA_KIND_MAX];
    uint64_t omitted = 77;

    (void)state;
    for (unsigned n = 0; n < QUOTA_MOST; n++) {
        assert_true(quota_take(&q, "a", 1000, &omitted));
        assert_int_equal(omitted, 0);
    }
    for (unsigned n = 0; n < 5; n++)
        assert_false(quota_take(&q, "a", 1000 + QUOTA_WINDOW_MS - 1, &omitted));
    assert_true(quota_take(&q, "b", 1000, &omitted)); /* another kind has a window of its own */
    assert_int_equal(quota_left(&q, 1000 + QUOTA_WINDOW_MS - 1, name), 0);
    assert_true(quota_take(&q, "a", 1000 + QUOTA_WINDOW_MS, &omitted));
    assert_int_equal(omitted, 5);
    assert_int_equal(quota_left(&q, 1000 + 3 * QUOTA_WINDOW_MS, name), 0);
}

/* When nobody comes any more the count is told all the same. */
static void test_left(void **state)
{
    static struct quota q;
    char name[QUOTA_KIND_MAX];
    uint64_t omitted;

    (void)state;
    for (unsigned n = 0; n < QUOTA_MOST + 3; n++)
        (void)quota_take(&q, "a", 0, &omitted);
    assert_int_equal(quota_left(&q, QUOTA_WINDOW_MS, name), 3);
    assert_string_equal(name, "a");
    assert_int_equal(quota_left(&q, QUOTA_WINDOW_MS, name), 0);
}

/* However many kinds somebody makes up. */
static void test_all_kinds_are_bounded(void **state)
{
    static struct quota q;
    char kind[QUOTA_KIND_MAX * 2], name[QUOTA_KIND_MAX];
    uint64_t omitted, written = 0, told = 0;
    unsigned asked = 20 * QUOTA_MOST * QUOTA_KINDS;

    (void)state;
    memset(kind, 'x', sizeof kind);
    for (unsigned n = 0; n < asked; n++) {
        snprintf(kind, sizeof kind, "%u %0400u", n % 1000, 0U);
        if (quota_take(&q, n % 7 == 0 ? "" : kind, 0, &omitted)) {
            written++;
            told += omitted;
        }
    }
    assert_true(written <= QUOTA_MOST * (QUOTA_KINDS + 1));
    for (uint64_t left; (left = quota_left(&q, QUOTA_WINDOW_MS, name)) != 0; told += left)
        assert_true(name[0] != '\0');
    assert_int_equal(written + told, asked);
    assert_true(quota_take(&q, "fresh", QUOTA_WINDOW_MS, &omitted));
    assert_int_equal(omitted, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_left),
        cmocka_unit_test(test_all_kinds_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
