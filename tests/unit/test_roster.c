/* Role bindings: found by profile, CN and OU together, the most specific one first; hostile messages are refused; one spelling. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/system/roster.h"
#include "common/system/tls.h"
#include "common/values/wire.h"

static void put_special(struct wire_writer *w, uint8_t profile, uint32_t id, const char *cn, const char *ou, const char *serial, const char *san)
{
    wire_put_u8(w, profile);
    wire_put_u32(w, id);
    wire_put_text(w, slice_text(cn));
    wire_put_text(w, slice_text(ou));
    wire_put_text(w, slice_text(serial));
    wire_put_text(w, slice_text(san));
}

static void put(struct wire_writer *w, uint8_t profile, uint32_t id, const char *cn, const char *ou)
{
    put_special(w, profile, id, cn, ou, "", "");
}

/* A subject with up to two alternative names; NULL: none. */
static struct tls_subject subject_of(const char *cn, const char *ou, const char *serial, const char *san, const char *other)
{
    struct tls_subject s = {0};
    const char *const sans[] = {san, other};
    size_t used = 0;

    snprintf(s.cn, sizeof s.cn, "%s", cn);
    snprintf(s.ou, sizeof s.ou, "%s", ou);
    snprintf(s.serial, sizeof s.serial, "%s", serial);
    for (unsigned i = 0; i < 2 && sans[i] != NULL; i++) {
        s.san_at[s.san_count++] = (uint16_t)used;
        used += (size_t)snprintf(s.sans + used, sizeof s.sans - used, "%s", sans[i]) + 1;
    }
    return s;
}

static bool finds(const struct roster *r, enum roster_profile profile, const char *cn, const char *ou, uint32_t *id)
{
    struct tls_subject s = subject_of(cn, ou, "1", NULL, NULL);

    return roster_find(r, profile, &s, id);
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
    assert_true(finds(r, ROSTER_DEPOSITOR, "sensor-1", "Operateur 4512", &id));
    assert_int_equal(id, 7);
    assert_true(finds(r, ROSTER_DEPOSITOR, "sensor-1", "", &id));
    assert_int_equal(id, 9);
    assert_false(finds(r, ROSTER_READER, "sensor-1", "Operateur 4512", &id));
    assert_false(finds(r, ROSTER_DEPOSITOR, "sensor-1", "operateur 4512", &id));
    assert_false(finds(r, ROSTER_DEPOSITOR, "sensor-", "1Operateur 4512", &id));
    assert_false(finds(r, ROSTER_DEPOSITOR, "", "", &id));
    assert_false(finds(NULL, ROSTER_DEPOSITOR, "sensor-1", "", &id));
    assert_int_equal(roster_at(r, 1)->id, 8);
    roster_free(r);
    roster_free(NULL);
    buf_free(&b);
}

static void the_most_specific_binding_decides(void **state)
{
    static const struct {
        const char *serial, *san, *other;
        uint32_t id; /* 0: nobody */
    } cases[] = {
        {"AB", NULL, NULL, 5},         {"AB", "DNS:b", NULL, 5},       {"AB", "DNS:a", NULL, 3}, {"CD", "DNS:a", NULL, 4},
        {"CD", "DNS:b", "DNS:a", 4},   {"CD", "email:x@y", NULL, 0},   {"CD", NULL, NULL, 0},    {"", NULL, NULL, 0},
        {"AB", "DNS:c", "DNS:a", 3},   {"CD", "DNS:c", "DNS:a", 2},    {"CD", "DNS:aa", NULL, 0}, {"ABC", NULL, NULL, 0},
    };
    struct wire_writer w;
    struct roster *r;
    struct buf b;

    (void)state;
    /* Whatever their order. */
    for (unsigned turn = 0; turn < 2; turn++) {
        buf_init(&b, 1000);
        w = wire_write(&b);
        wire_put_u32(&w, 5);
        for (unsigned i = 0; i < 5; i++)
            switch (turn == 0 ? i : 4 - i) {
            case 0: put_special(&w, ROSTER_READER, 5, "n", "o", "AB", ""); break;
            case 1: put_special(&w, ROSTER_READER, 4, "n", "o", "", "DNS:a"); break;
            case 2: put_special(&w, ROSTER_READER, 3, "n", "o", "AB", "DNS:a"); break;
            case 3: put_special(&w, ROSTER_READER, 2, "n", "o", "", "DNS:c"); break;
            default: put_special(&w, ROSTER_READER, 1, "other", "o", "", ""); break;
            }
        r = roster_decode(buf_slice(&b), NULL);
        assert_non_null(r);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            struct tls_subject s = subject_of("n", "o", cases[i].serial, cases[i].san, cases[i].other);
            uint32_t id = 0;

            assert_int_equal(roster_find(r, ROSTER_READER, &s, &id), cases[i].id != 0);
            assert_int_equal(id, cases[i].id);
        }
        roster_free(r);
        buf_free(&b);
    }
}

/* Many certificates of one name, each by its serial: they share a chain, which must not cost the square of their number. */
static void many_serials_of_one_name_are_told_apart(void **state)
{
    enum { MANY = ROSTER_ENTRIES_MAX };
    struct wire_writer w;
    struct roster *r;
    struct buf b;

    (void)state;
    buf_init(&b, 8 << 20);
    w = wire_write(&b);
    wire_put_u32(&w, MANY);
    for (uint32_t i = 0; i < MANY; i++) {
        char serial[16];

        snprintf(serial, sizeof serial, "%X", i + 1);
        put_special(&w, ROSTER_READER, i + 1, "n", "o", serial, "");
    }
    r = roster_decode(buf_slice(&b), NULL);
    assert_non_null(r);
    for (uint32_t i = 0; i < MANY; i += 9999) {
        char serial[16];
        struct tls_subject s;
        uint32_t id = 0;

        snprintf(serial, sizeof serial, "%X", i + 1);
        s = subject_of("n", "o", serial, NULL, NULL);
        assert_true(roster_find(r, ROSTER_READER, &s, &id));
        assert_int_equal(id, i + 1);
    }
    roster_free(r);
    buf_free(&b);
}

static void what_people_write_gets_one_spelling(void **state)
{
    static const struct {
        const char *text, *result; /* NULL: refused */
    } serials[] = {
        {"", ""}, {"1", "1"}, {"00ab", "AB"}, {"0", NULL}, {"000", NULL}, {"0x1", NULL}, {"AB:CD", NULL}, {"-1", NULL}, {" 1", NULL}, {"G", NULL},
        {"0123456789abcdef0123456789abcdef0123456789", NULL}, {"00000123456789abcdef0123456789abcdef01234567", "123456789ABCDEF0123456789ABCDEF01234567"},
    }, sans[] = {
        {"", ""}, {"DNS:Host.Example", "DNS:host.example"}, {"email:A@b", "email:A@b"}, {"URI:urn:x", "URI:urn:x"}, {"IP:192.0.2.7", "IP:192.0.2.7"},
        {"IP:2001:DB8:0:0::1", "IP:2001:db8::1"}, {"IP:192.0.2.007", NULL}, {"IP:x", NULL}, {"IP:", NULL}, {"DNS:", NULL}, {"dns:a", NULL},
        {"host", NULL}, {"DNS:a\nb", NULL}, {"DNS:\xff", NULL}, {"URI:urn:a b", NULL}, {"email:andr\xc3\xa9@b", NULL}, {"IP:192.0.2.0/24", NULL},
    };
    char serial[ROSTER_SERIAL_MAX + 1], san[ROSTER_TEXT_MAX + 1], long_name[ROSTER_TEXT_MAX + 2], reason[ROSTER_REASON_MAX + 1];
    struct err e = {0};

    (void)state;
    for (size_t i = 0; i < sizeof serials / sizeof *serials; i++) {
        assert_int_equal(roster_read_serial(slice_text(serials[i].text), serial, &e), serials[i].result != NULL);
        if (serials[i].result != NULL)
            assert_string_equal(serial, serials[i].result);
    }
    for (size_t i = 0; i < sizeof sans / sizeof *sans; i++) {
        if (roster_read_san(slice_text(sans[i].text), san, &e) != (sans[i].result != NULL))
            fail_msg("%s", sans[i].text);
        if (sans[i].result != NULL)
            assert_string_equal(san, sans[i].result);
    }
    memset(long_name, 'a', sizeof long_name);
    memset(reason, 'a', sizeof reason);
    assert_true(roster_read_name(slice_of(long_name, ROSTER_TEXT_MAX), "cn", san, &e));
    assert_false(roster_read_name(slice_of(long_name, ROSTER_TEXT_MAX + 1), "cn", san, &e));
    assert_false(roster_read_name(SLICE_LITERAL("a\0b"), "cn", san, &e));
    assert_false(roster_read_name(SLICE_LITERAL("a\xc2\x9b"), "cn", san, &e)); /* a control character of ISO 6429, in UTF-8 */
    assert_true(roster_read_name(SLICE_LITERAL("Op\xc3\xa9rateur"), "cn", san, &e));
    assert_true(roster_check_reason(slice_of(reason, ROSTER_REASON_MAX), &e) && roster_check_reason(SLICE_LITERAL("arriv\xc3\xa9""e"), &e));
    assert_false(roster_check_reason(slice_of(reason, ROSTER_REASON_MAX + 1), &e));
    assert_false(roster_check_reason(SLICE_LITERAL("a\xc2\x9b""2K"), &e));
    assert_false(roster_check_reason(SLICE_LITERAL("a\nb"), &e));
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
        assert_true(finds(r, ROSTER_DEPOSITOR, cn, "ou", &id));
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
        cmocka_unit_test(the_most_specific_binding_decides),
        cmocka_unit_test(many_bindings_are_all_found),
        cmocka_unit_test(many_serials_of_one_name_are_told_apart),
        cmocka_unit_test(what_people_write_gets_one_spelling),
        cmocka_unit_test(hostile_messages_are_refused),
        cmocka_unit_test(profiles_have_names),
    };

    return cmocka_run_group_tests_name("roster", tests, NULL, NULL);
}
