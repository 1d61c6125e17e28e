/* Pointers found by a number: against a plain array, in every order of putting and taking. */
#include "tests/unit/unit.h"

#include <stdlib.h>

#include "common/values/map.h"

enum { KEYS = 3000, STEPS = 200000 };

static void an_empty_map_has_nothing(void **state)
{
    struct map m = {0};
    size_t place = 0;

    (void)state;
    assert_null(map_get(&m, 0));
    assert_null(map_take(&m, 0));
    assert_null(map_next(&m, &place));
    map_free(&m);
}

static void what_was_put_is_found_until_it_is_taken(void **state)
{
    struct map m = {0};
    int a, b;

    (void)state;
    assert_null(map_put(&m, 0, &a));
    assert_null(map_put(&m, UINT64_MAX, &b));
    assert_ptr_equal(map_get(&m, 0), &a);
    assert_ptr_equal(map_put(&m, 0, &b), &a);
    assert_int_equal(m.count, 2);
    assert_ptr_equal(map_take(&m, 0), &b);
    assert_null(map_get(&m, 0));
    assert_ptr_equal(map_get(&m, UINT64_MAX), &b);
    map_free(&m);
}

/* Keys close together, far apart and with equal low bits, so that places collide; sizes go up and down. */
static void as_an_array_would_say(void **state)
{
    static uint8_t in[KEYS];
    struct map m = {0};
    uint32_t random = 1;
    size_t count = 0, seen = 0, place = 0;

    (void)state;
    for (unsigned step = 0; step < STEPS; step++) {
        unsigned i = (random = random * 1664525u + 1013904223u) >> 8;
        uint64_t key;

        i %= step / (STEPS / 4) % 2 == 0 ? KEYS : KEYS / 20;
        key = i % 3 == 0 ? i : i % 3 == 1 ? (uint64_t)i << 40 : i * 0x100000001u;
        if ((random >> 7) % 2 == 0) {
            assert_ptr_equal(map_put(&m, key, &in[i]), in[i] ? &in[i] : NULL);
            count += !in[i];
            in[i] = 1;
        } else {
            assert_ptr_equal(map_take(&m, key), in[i] ? &in[i] : NULL);
            count -= in[i];
            in[i] = 0;
        }
        assert_ptr_equal(map_get(&m, key), in[i] ? &in[i] : NULL);
        assert_int_equal(m.count, count);
    }
    for (uint8_t *value; (value = map_next(&m, &place)) != NULL; seen++)
        assert_int_equal(*value, 1);
    assert_int_equal(seen, count);
    map_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_map_has_nothing),
        cmocka_unit_test(what_was_put_is_found_until_it_is_taken),
        cmocka_unit_test(as_an_array_would_say),
    };

    return cmocka_run_group_tests_name("map", tests, NULL, NULL);
}
