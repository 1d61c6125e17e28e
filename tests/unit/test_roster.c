/* Role bindings: found by profile, CN and OU together; hostile messages are refused. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/system/roster.h"
#include "common/values/wire.h"

static void put(struct wire_writer *w, uint8_t profile, uint32_t id, const char *cn, const char *ou)
{
    wire_put_u8(w, profile);
    wire_put_u32(w, id);
    wire_put_text(w, slice_text(cn));
    wire_put_text(w, slice_text(ou));
}

static void bindings_are_found_exactly(void **state)
{
    struct wire_writer w;
    struct roster *r;
    struct buf b;
    uint32_t id = 0;

    (void)state;
    buf_init(&b, 1000);
    w = wire_write(&b);
    wire_put_u32(&w, 3);
    put(&w, ROSTER_DEPOSITOR, 7, "sensor-1", "Operateur 4512");
    put(&w, ROSTER_READER, 8, "reader-1", "Autorite");
    put(&w, ROSTER_DEPOSITOR, 9, "sensor-1", "");
    r = roster_decode(buf_slice(&b), NULL);
    assert_non_null(r);
    assert_int_equal(roster_count(r), 3);
    assert_true(slice_equal(roster_body(r), buf_slice(&b)));
    buf_reset(&b);
    memset(b.data, 0xaa, b.capacity); /* the roster keeps its own copy */
    assert_true(roster_find(r, ROSTER_DEPOSITOR, "sensor-1", "Operateur 4512", &id));
    assert_int_equal(id, 7);
    assert_true(roster_find(r, ROSTER_DEPOSITOR, "sensor-1", "", &id));
    assert_int_equal(id, 9);
    assert_false(roster_find(r, ROSTER_READER, "sensor-1", "Operateur 4512", &id));
    assert_false(roster_find(r, ROSTER_DEPOSITOR, "sensor-1", "operateur 4512", &id));
    assert_false(roster_find(r, ROSTER_DEPOSITOR, "sensor-", "1Operateur 4512", &id));
    assert_false(roster_find(r, ROSTER_DEPOSITOR, "", "", &id));
    assert_false(roster_find(NULL, ROSTER_DEPOSITOR, "sensor-1", "", &id));
    assert_int_equal(roster_at(r, 1)->id, 8);
    roster_free(r);
    roster_free(NULL);
    buf_free(&b);
}

static void many_bindings_are_all_found(void **state)
{
    enum { MANY = 5000 };
    struct wire_writer w;
    struct roster *r;
    struct buf b;

    (void)state;
    buf_init(&b, 1 << 20);
    w = wire_write(&b);
    wire_put_u32(&w, MANY);
    for (uint32_t i = 0; i < MANY; i++) {
        char cn[32];

        snprintf(cn, sizeof cn, "sensor-%u", i);
        put(&w, ROSTER_DEPOSITOR, i, cn, "ou");
    }
    r = roster_decode(buf_slice(&b), NULL);
    assert_non_null(r);
    for (uint32_t i = 0; i < MANY; i++) {
        uint32_t id;
        char cn[32];

        snprintf(cn, sizeof cn, "sensor-%u", i);
        assert_true(roster_find(r, ROSTER_DEPOSITOR, cn, "ou", &id));
        assert_int_equal(id, i);
    }
    roster_free(r);
    buf_free(&b);
}

static void hostile_messages_are_refused(void **state)
{
    struct wire_writer w;
    struct err e = {0};
    struct roster *r;
    struct buf b;

    (void)state;
    buf_init(&b, 1000);
    w = wire_write(&b);
    wire_put_u32(&w, 1);
    put(&w, ROSTER_DEPOSITOR, 7, "cn", "ou");
    for (size_t n = 0; n < b.len; n++) {
        uint8_t *copy = mem_alloc(n == 0 ? 1 : n);

        memcpy(copy, buf_slice(&b).at, n);
        assert_null(roster_decode(slice_of(copy, n), NULL));
        free(copy);
    }
    assert_true(buf_add(&b, "x", 1, NULL));
    assert_null(roster_decode(buf_slice(&b), &e));
    assert_int_equal(e.code, ERR_INPUT);
    b.len--;
    b.data[b.start + 4] = 5; /* no such profile */
    assert_null(roster_decode(buf_slice(&b), NULL));
    b.data[b.start + 4] = 0;
    assert_null(roster_decode(buf_slice(&b), NULL));
    assert_null(roster_decode(SLICE_LITERAL("\xff\xff\xff\xff"), NULL));
    buf_free(&b);
    r = roster_decode(SLICE_LITERAL("\0\0\0\0"), NULL); /* nobody is a roster too */
    assert_non_null(r);
    assert_int_equal(roster_count(r), 0);
    roster_free(r);
}

static void profiles_have_names(void **state)
{
    enum roster_profile p;

    (void)state;
    for (unsigned i = ROSTER_DEPOSITOR; i <= ROSTER_FUNCTIONAL; i++) {
        assert_true(roster_profile_parse(slice_text(roster_profile_name((enum roster_profile)i)), &p));
        assert_int_equal(p, i);
    }
    assert_false(roster_profile_parse(SLICE_LITERAL("root"), &p));
    assert_false(roster_profile_parse(SLICE_LITERAL("depositor\0"), &p));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bindings_are_found_exactly),
        cmocka_unit_test(many_bindings_are_all_found),
        cmocka_unit_test(hostile_messages_are_refused),
        cmocka_unit_test(profiles_have_names),
    };

    return cmocka_run_group_tests_name("roster", tests, NULL, NULL);
}
