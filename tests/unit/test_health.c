/* Health items: what is set is found, what one process puts another reads, and nothing else. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>

#include "common/values/health.h"

static void nothing_known_is_not_healthy(void **state)
{
    struct health h = {0};

    (void)state;
    assert_false(health_ok(&h));
    assert_null(health_find(&h, "crl"));
    health_set(&h, "crl", true, NULL);
    assert_true(health_ok(&h));
    health_set(&h, "clock", false, "not synchronised");
    assert_false(health_ok(&h));
    health_set(&h, "clock", true, "");
    assert_true(health_ok(&h));
    assert_int_equal(h.count, 2);
    assert_string_equal(health_find(&h, "clock")->note, "");
}

static void a_full_list_ignores_new_names_only(void **state)
{
    struct health h = {0};
    char name[24];

    (void)state;
    for (int i = 0; i < HEALTH_ITEMS_MAX + 4; i++) {
        snprintf(name, sizeof name, "item-%d", i);
        health_set(&h, name, true, "");
    }
    assert_int_equal(h.count, HEALTH_ITEMS_MAX);
    assert_null(health_find(&h, "item-16"));
    health_set(&h, "item-15", false, "changed");
    assert_string_equal(health_find(&h, "item-15")->note, "changed");
}

static void texts_are_cut_between_characters(void **state)
{
    struct health h = {0};
    char note[400] = "";

    (void)state;
    for (int i = 0; i < 199; i++)
        strcat(note, "é"); /* 398 bytes; 255 would end in the middle of one */
    health_set(&h, "crl", true, note);
    assert_int_equal(strlen(h.items[0].note), 254);
    health_set(&h, "a name that is much longer than the thirty-one bytes it may have", true, "");
    health_set(&h, "a name that is much longer than the thirty-one bytes it may have", false, "");
    assert_int_equal(h.count, 2);
    assert_int_equal(strlen(h.items[1].name), HEALTH_NAME_MAX - 1);
}

static void what_is_put_is_read(void **state)
{
    struct health h = {0}, back;
    struct buf b;
    struct wire_writer w;
    struct err e = {0};

    (void)state;
    health_set(&h, "rabbitmq", true, "");
    health_set(&h, "crl", false, "the list of CN=operator ended\nyesterday");
    buf_init(&b, 8192);
    w = wire_write(&b);
    health_put(&w, &h);
    assert_true(wire_ok(&w, "health", &e));
    assert_true(health_read(buf_slice(&b), &back, &e));
    assert_int_equal(back.count, 2);
    assert_true(health_find(&back, "rabbitmq")->ok);
    assert_false(health_find(&back, "crl")->ok);
    assert_string_equal(health_find(&back, "crl")->note, "the list of CN=operator ended yesterday");
    /* Whatever is missing at the end, or too much, is seen. */
    for (size_t len = 0; len < b.len; len++)
        assert_false(health_read(slice_of(b.data, len), &back, NULL));
    assert_true(buf_add(&b, "x", 1, &e));
    assert_false(health_read(buf_slice(&b), &back, NULL));
    buf_free(&b);
}

static void what_makes_no_sense_is_refused(void **state)
{
    static const uint8_t too_many[] = {HEALTH_ITEMS_MAX + 1}, no_name[] = {1, 0, 0, 1, 0, 0}, neither[] = {1, 0, 1, 'x', 2, 0, 0};
    uint8_t long_name[3 + HEALTH_NAME_MAX + 3] = {1, 0, HEALTH_NAME_MAX};
    struct health h;

    (void)state;
    memset(long_name + 3, 'n', HEALTH_NAME_MAX);
    assert_false(health_read(slice_of(too_many, sizeof too_many), &h, NULL));
    assert_false(health_read(slice_of(no_name, sizeof no_name), &h, NULL));
    assert_false(health_read(slice_of(neither, sizeof neither), &h, NULL));
    assert_false(health_read(slice_of(long_name, sizeof long_name), &h, NULL));
    assert_int_equal(h.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_known_is_not_healthy),     cmocka_unit_test(a_full_list_ignores_new_names_only),
        cmocka_unit_test(texts_are_cut_between_characters), cmocka_unit_test(what_is_put_is_read),
        cmocka_unit_test(what_makes_no_sense_is_refused),
    };

    return cmocka_run_group_tests_name("health", tests, NULL, NULL);
}
