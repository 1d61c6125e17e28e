/* Certificates known to be revoked: as values and as a file, whole or not at all. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/identity/known.h"

/* Keys that share their first bytes are kept apart. */
static struct known_one one_of(uint8_t number, int64_t ends)
{
    struct known_one one = {.ends = ends, .found = {.answer = REVOCATION_REVOKED, .this_update = 1000 + number, .revoked_at = 500, .until = 2000}};

    one.key[KNOWN_KEY - 1] = number;
    snprintf(one.found.text, sizeof one.found.text, "serial %u: revoked", number);
    return one;
}

static struct known *three(void)
{
    struct known *k = known_new();

    for (uint8_t n = 1; n <= 3; n++) {
        struct known_one one = one_of(n, 10000 * n);

        known_put(k, &one);
    }
    return k;
}

static void test_values(void **state)
{
    struct known *k = three();
    struct known_one two = one_of(2, 7), four = one_of(4, 1);

    (void)state;
    assert_int_equal(known_count(k), 3);
    known_put(k, &two);
    assert_int_equal(known_count(k), 3);
    assert_int_equal(known_find(k, two.key)->ends, 7);
    assert_null(known_find(k, four.key));
    assert_false(known_take(k, four.key));
    assert_int_equal(known_expire(k, 8), 1);
    assert_null(known_find(k, two.key));
    assert_true(known_take(k, one_of(1, 0).key));
    assert_true(known_take(k, one_of(3, 0).key));
    assert_int_equal(known_count(k), 0);
    known_free(k);
}

static void test_when_full_the_first_to_end_goes(void **state)
{
    struct known *k = known_new();

    (void)state;
    for (uint32_t n = 0; n <= KNOWN_MAX; n++) {
        struct known_one one = one_of(0, n == 77 ? 1 : 2 + n);

        memcpy(one.key, &n, sizeof n);
        known_put(k, &one);
    }
    assert_int_equal(known_count(k), KNOWN_MAX);
    assert_null(known_find(k, (uint8_t[KNOWN_KEY]){77}));
    assert_non_null(known_find(k, (uint8_t[KNOWN_KEY]){78}));
    known_free(k);
}

static void test_file(void **state)
{
    struct known *k = three(), *again = known_new();
    struct buf bytes;
    struct err e = {0};

    (void)state;
    buf_init(&bytes, KNOWN_FILE_MAX);
    assert_true(known_write(k, &bytes, &e));
    assert_true(known_read(again, buf_slice(&bytes), &e));
    assert_int_equal(known_count(again), 3);
    for (uint8_t n = 1; n <= 3; n++) {
        const struct known_one want = one_of(n, 10000 * n), *got = known_find(again, want.key);

        assert_non_null(got);
        assert_int_equal(got->ends, want.ends);
        assert_int_equal(got->found.answer, REVOCATION_REVOKED);
        assert_int_equal(got->found.this_update, want.found.this_update);
        assert_int_equal(got->found.revoked_at, want.found.revoked_at);
        assert_int_equal(got->found.until, want.found.until);
        assert_string_equal(got->found.text, want.found.text);
    }
    /* Cut anywhere, or with something behind it, it is nothing. */
    for (size_t len = 0; len < bytes.len; len++) {
        uint8_t *cut = mem_alloc(len + 1);

        memcpy(cut, buf_slice(&bytes).at, len);
        assert_false(known_read(again, slice_of(cut, len), NULL));
        assert_int_equal(known_count(again), 0);
        free(cut);
    }
    assert_true(buf_add(&bytes, "x", 1, &e));
    assert_false(known_read(again, buf_slice(&bytes), NULL));
    buf_free(&bytes);
    known_free(k);
    known_free(again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_when_full_the_first_to_end_goes),
        cmocka_unit_test(test_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
