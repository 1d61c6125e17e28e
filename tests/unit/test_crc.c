/* CRC-32: the published check value, and zlib's answer for every length and alignment. */
#include "tests/unit/unit.h"

#include <zlib.h>

#include "common/values/crc.h"

static void check_value(void **state)
{
    (void)state;
    assert_int_equal(crc_update(0, SLICE_LITERAL("123456789")), 0xcbf43926);
    assert_int_equal(crc_update(0, slice_of(NULL, 0)), 0);
    assert_int_equal(crc_update(7, slice_of(NULL, 0)), 7);
}

static void same_as_zlib(void **state)
{
    uint8_t bytes[1200];
    uint32_t random = 1;

    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)((random = random * 1664525u + 1013904223u) >> 24);
    for (size_t from = 0; from < 17; from++)
        for (size_t len = 0; len + from <= sizeof bytes; len++)
            assert_int_equal(crc_update((uint32_t)len, slice_of(bytes + from, len)),
                             crc32_z((uint32_t)len, bytes + from, len));
}

static void pieces_make_the_whole(void **state)
{
    uint8_t bytes[1000];

    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 31);
    for (size_t cut = 0; cut <= sizeof bytes; cut += 7)
        assert_int_equal(crc_update(crc_update(0, slice_of(bytes, cut)), slice_of(bytes + cut, sizeof bytes - cut)),
                         crc32_z(0, bytes, sizeof bytes));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_value),
        cmocka_unit_test(same_as_zlib),
        cmocka_unit_test(pieces_make_the_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
