/* Growing bytes: hard maximum, order kept, secrets wiped. */
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <string.h>

#include "common/values/buf.h"

static void what_is_added_is_held_in_order(void **state)
{
    struct buf b;
    unsigned expected = 0;

    (void)state;
    buf_init(&b, 100000);
    /* Consumption lags behind, so that bytes move and memory grows several times. */
    for (unsigned i = 0; i < 20000; i++) {
        uint16_t v = (uint16_t)i;

        assert_true(buf_add(&b, &v, sizeof v, NULL));
        if (i % 3 == 0) {
            struct slice s = buf_slice(&b);

            memcpy(&v, s.at, sizeof v);
            assert_int_equal(v, expected);
            expected++;
            buf_consume(&b, sizeof v);
        }
    }
    while (b.len != 0) {
        uint16_t v;

        memcpy(&v, buf_slice(&b).at, sizeof v);
        assert_int_equal(v, expected);
        expected++;
        buf_consume(&b, sizeof v);
    }
    assert_int_equal(expected, 20000);
    buf_free(&b);
}

static void maximum_is_hard(void **state)
{
    struct err e = {0};
    struct buf b;

    (void)state;
    buf_init(&b, 8);
    assert_non_null(buf_reserve(&b, 0, &e)); /* of nothing yet, for nothing: NULL would mean too much */
    assert_true(buf_add(&b, "12345678", 8, &e));
    assert_false(buf_add(&b, "9", 1, &e));
    assert_int_equal(e.code, ERR_INPUT);
    assert_true(slice_is(buf_slice(&b), "12345678"));
    assert_null(buf_reserve(&b, SIZE_MAX, NULL));
    assert_null(buf_reserve(&b, SIZE_MAX - 4, NULL));
    buf_consume(&b, 3);
    assert_true(buf_add(&b, "abc", 3, NULL));
    assert_true(slice_is(buf_slice(&b), "45678abc"));
    assert_false(buf_printf(&b, NULL, "x"));
    buf_free(&b);
}

static void secrets_are_wiped_when_consumed(void **state)
{
    struct buf b;
    const uint8_t *at;

    (void)state;
    buf_init_secret(&b, 64);
    assert_true(buf_add(&b, "secretsecret", 12, NULL));
    at = buf_slice(&b).at;
    buf_consume(&b, 6);
    assert_memory_equal(at, "\0\0\0\0\0\0secret", 12);
    buf_reset(&b);
    assert_memory_equal(at, "\0\0\0\0\0\0\0\0\0\0\0\0", 12);
    buf_free(&b);
}

static void texts_are_formatted_and_copied(void **state)
{
    struct buf b;
    char *copy;

    (void)state;
    buf_init(&b, 100);
    assert_true(buf_printf(&b, NULL, "%s-%d", "a", 12));
    assert_true(buf_printf(&b, NULL, "%s", ""));
    assert_true(slice_is(buf_slice(&b), "a-12"));
    copy = mem_text(buf_slice(&b));
    assert_string_equal(copy, "a-12");
    free(copy);
    buf_free(&b);
    buf_free(&b);
    assert_int_equal(buf_slice(&b).len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_added_is_held_in_order),
        cmocka_unit_test(maximum_is_hard),
        cmocka_unit_test(secrets_are_wiped_when_consumed),
        cmocka_unit_test(texts_are_formatted_and_copied),
    };

    return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
