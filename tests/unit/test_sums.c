/* Names in an extraction and SHA256SUMS: one spelling, everything else refused. Also hex, base64, dates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/formats/date.h"
#include "common/formats/hex.h"
#include "common/formats/sums.h"

static void names_have_one_spelling(void **state)
{
    char name[NAMES_MAX];
    struct names_entry n;
    size_t len;
    static const char *const bad[] = {
        "", "README", "readme.txt", "certs/other.pem", "lots/lot-42.asice", "lots/lot-0000042.asice",
        "lots/lot-000000.asice", "lots/lot-000042.asice/", "lots/lot-000042.ASICE", "keys/000042.p7m", "keys/000042-0.p7m",
        "keys/000042-01.p7m", "keys/000042-4294967296.p7m", "events/000042/4201.p7m", "events/000042/000000004201",
        "events/000042/000000000000.p7m", "events/000042/0000000004201.p7m", "../events/000042/000000004201.p7m",
        "events/000042/18446744073709551616.p7m", "events/000042/+00000004201.p7m",
    };

    (void)state;
    len = names_write_lot(name, 42);
    assert_int_equal(len, strlen(name));
    assert_string_equal(name, "lots/lot-000042.asice");
    n = names_read(slice_text(name));
    assert_true(n.kind == NAMES_LOT && n.lot == 42);
    (void)names_write_key(name, 1234567, 3);
    assert_string_equal(name, "keys/1234567-3.p7m");
    n = names_read(slice_text(name));
    assert_true(n.kind == NAMES_KEY && n.lot == 1234567 && n.ordinal == 3);
    (void)names_write_event(name, 42, 4201);
    assert_string_equal(name, "events/000042/000000004201.p7m");
    n = names_read(slice_text(name));
    assert_true(n.kind == NAMES_EVENT && n.lot == 42 && n.serial == 4201);
    (void)names_write_event(name, UINT64_MAX, UINT64_MAX);
    n = names_read(slice_text(name));
    assert_true(n.kind == NAMES_EVENT && n.lot == UINT64_MAX && n.serial == UINT64_MAX);
    (void)names_write_key_id(name, 42, 1);
    assert_string_equal(name, "000042-1");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(names_read(slice_text(bad[i])).kind, NAMES_OTHER);
}

static void names_come_in_order(void **state)
{
    static const char *const order[] = {
        "README.txt", "certs/ca.pem", "certs/seal.pem", "certs/tsa.pem", "certs/genesis.xml", "lots/lot-000001.asice",
        "keys/000001-1.p7m", "keys/000001-2.p7m", "events/000001/000000000001.p7m", "events/000001/000000000002.p7m",
        "lots/lot-000002.asice", "keys/000002-1.p7m", "events/000002/000000000003.p7m", "lots/lot-1000000.asice",
    };
    const size_t count = sizeof(order) / sizeof(order[0]);

    (void)state;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < count; j++) {
            struct names_entry a = names_read(slice_text(order[i])), b = names_read(slice_text(order[j]));
            int sign = names_compare(&a, &b);

            assert_true(i < j ? sign < 0 : i > j ? sign > 0 : sign == 0);
        }
    }
}

static void a_line_is_what_sha256sum_writes(void **state)
{
    char line[SUMS_LINE_MAX];
    uint8_t digest[32];
    size_t len;

    (void)state;
    memset(digest, 0xa5, sizeof(digest));
    len = sums_write_line(line, digest, "keys/000001-1.p7m");
    assert_int_equal(len, strlen(line));
    assert_string_equal(line, "a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5  keys/000001-1.p7m\n");
}

#define HEX "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static void lines_come_back(void **state)
{
    const char *text = HEX "  keys/000001-1.p7m\n" HEX "  events/000001/000000000007.p7m\n";
    struct sums_reader r = sums_read(slice_text(text));
    struct sums_line line;

    (void)state;
    assert_int_equal(sums_next(&r, &line, NULL), SUMS_LINE);
    assert_true(line.entry.kind == NAMES_KEY && line.entry.ordinal == 1 && line.digest[1] == 0x11);
    assert_true(slice_is(line.name, "keys/000001-1.p7m"));
    assert_int_equal(sums_next(&r, &line, NULL), SUMS_LINE);
    assert_true(line.entry.kind == NAMES_EVENT && line.entry.serial == 7);
    assert_true(slice_is(line.whole, HEX "  events/000001/000000000007.p7m\n"));
    assert_int_equal(sums_next(&r, &line, NULL), SUMS_END);
}

static void other_spellings_are_refused(void **state)
{
    static const char *const bad[] = {
        HEX "  keys/000001-1.p7m",          /* no line feed */
        HEX " *keys/000001-1.p7m\n",        /* binary marker */
        HEX "   keys/000001-1.p7m\n",       HEX "  keys/000001-1.p7m\r\n", HEX "  lots/lot-000001.asice\n",
        HEX "  README.txt\n",               HEX "  ../000001-1.p7m\n",     HEX "  \n", "\n",
        "00112233445566778899AABBCCDDEEFF00112233445566778899aabbccddeeff  keys/000001-1.p7m\n",
        "0011  keys/000001-1.p7m\n",        "\\" HEX "  keys/000001-1.p7m\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct sums_reader r = sums_read(slice_text(bad[i]));
        struct sums_line line;
        struct err e = {0};

        assert_int_equal(sums_next(&r, &line, &e), SUMS_BAD);
        assert_int_equal(e.code, ERR_INPUT);
    }
}

static void base64_has_one_spelling(void **state)
{
    /* RFC 4648 section 10 */
    static const char *const pairs[][2] = {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}};
    static const char *const bad[] = {"Zg", "Zg=", "Zh==", "Zm9=", "Zg==Zg==", "Zm\n9", "====", "Z===", "Zm-_", "Zg= ="};
    struct buf out;

    (void)state;
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        buf_init(&out, 100);
        assert_true(base64_write(&out, slice_text(pairs[i][0]), NULL));
        assert_true(slice_is(buf_slice(&out), pairs[i][1]));
        buf_reset(&out);
        assert_true(base64_read(slice_text(pairs[i][1]), &out, NULL));
        assert_true(slice_is(buf_slice(&out), pairs[i][0]));
        buf_free(&out);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        buf_init(&out, 100);
        assert_false(base64_read(slice_text(bad[i]), &out, NULL));
        buf_free(&out);
    }
}

static void dates_have_one_spelling(void **state)
{
    static const struct { int64_t ms; const char *text; } good[] = {
        {0, "1970-01-01T00:00:00.000Z"},             {951782400123, "2000-02-29T00:00:00.123Z"},
        {1769860800123, "2026-01-31T12:00:00.123Z"}, {253402300799999, "9999-12-31T23:59:59.999Z"},
        {4107542399999, "2100-02-28T23:59:59.999Z"},
    };
    static const char *const bad[] = {"2026-02-29T00:00:00.000Z", "2026-04-31T00:00:00.000Z", "2026-01-31T12:00:60.000Z",
                                      "2026-01-31T24:00:00.000Z", "2026-01-31 12:00:00.000Z", "2026-01-31T12:00:00Z",
                                      "2026-01-31T12:00:00.123+", "1969-12-31T23:59:59.999Z", "2026-13-01T00:00:00.000Z"};
    char text[DATE_LEN + 1];
    int64_t ms;

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        date_write(text, good[i].ms);
        assert_string_equal(text, good[i].text);
        assert_true(date_read(slice_text(text), &ms));
        assert_true(ms == good[i].ms);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(date_read(slice_text(bad[i]), &ms));
    for (int64_t day = 0; day < 200000; day += 13) { /* both ways, over five centuries */
        date_write(text, day * 86400000);
        assert_true(date_read(slice_text(text), &ms) && ms == day * 86400000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_have_one_spelling),      cmocka_unit_test(names_come_in_order),
        cmocka_unit_test(a_line_is_what_sha256sum_writes), cmocka_unit_test(lines_come_back),
        cmocka_unit_test(other_spellings_are_refused),  cmocka_unit_test(base64_has_one_spelling),
        cmocka_unit_test(dates_have_one_spelling),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
