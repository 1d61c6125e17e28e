/* A segment's bytes: every byte from every offset is the same, and a ZIP reader agrees with all of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/formats/digest.h"
#include "exporter/segment.h"

enum { LOTS = 4, BODY_MAX = 700 };

/* Lot 999,999 and 1,000,000 have names of different lengths; serials pass 10^12 inside a lot. */
static const struct {
    uint64_t lot, first, events;
    unsigned keys;
} lots[LOTS] = {{999998, 999999999990, 7, 1}, {999999, 999999999997, 0, 1}, {1000000, 999999999997, 9, 2}, {1000001, 1000000000006, 1, 1}};

/* Contents made from a number, so that nothing need be kept. */
static size_t body_of(uint64_t what, uint8_t out[BODY_MAX])
{
    size_t len = (size_t)(what * 37 % BODY_MAX);

    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)(what + i * i);
    return len;
}

static uint64_t container_id(uint64_t lot) { return lot * 3 + 1; }
static uint64_t key_id(uint64_t lot, uint32_t ordinal) { return lot * 3 + 2 + ordinal * 1000; }

static void add_lot(struct segment *s, unsigned i)
{
    uint8_t bytes[BODY_MAX];
    struct segment_lot lot = {.lot = lots[i].lot, .first_serial = lots[i].first, .events = lots[i].events};
    struct segment_key keys[2] = {0};
    struct err e = {0};

    lot.container_size = (uint32_t)body_of(container_id(lot.lot), bytes);
    lot.container_crc32 = digest_crc32(0, slice_of(bytes, lot.container_size));
    for (uint32_t k = 0; k < lots[i].keys; k++) {
        keys[k].ordinal = k + 1;
        keys[k].size = (uint32_t)body_of(key_id(lot.lot, k + 1), bytes);
        keys[k].crc32 = digest_crc32(0, slice_of(bytes, keys[k].size));
    }
    for (uint64_t n = 0; n < lot.events; n++)
        lot.event_bytes += body_of(lot.first_serial + n, bytes);
    assert_true(segment_add_lot(s, &lot, keys, lots[i].keys, &e));
}

static struct segment *make(void)
{
    struct segment *s = segment_new();
    struct err e = {0};

    assert_true(segment_add_file(s, "README.txt", SLICE_LITERAL("hello\n"), &e));
    assert_true(segment_add_file(s, "certs/ca.pem", SLICE_LITERAL(""), &e));
    for (unsigned i = 0; i < LOTS; i++)
        add_lot(s, i);
    segment_finish(s);
    return s;
}

static void give(struct segment *s, uint64_t lot)
{
    struct segment_event events[16];
    uint8_t bytes[BODY_MAX];
    struct segment_lot is;
    struct err e = {0};

    assert_true(segment_find_lot(s, lot, &is));
    for (uint64_t n = 0; n < is.events; n++) {
        events[n].size = (uint32_t)body_of(is.first_serial + n, bytes);
        events[n].crc32 = digest_crc32(0, slice_of(bytes, events[n].size));
    }
    assert_true(segment_give_events(s, lot, events, is.events, &e));
}

/* The bytes from `at` on, at most `most`; how many. */
static size_t piece(struct segment *s, uint64_t at, size_t most, uint8_t *out)
{
    struct segment_piece p = segment_piece_at(s, at);
    uint8_t bytes[BODY_MAX];
    size_t len;

    while (p.kind == SEGMENT_NEEDS) {
        give(s, p.lot);
        p = segment_piece_at(s, at);
    }
    if (p.kind == SEGMENT_END)
        return 0;
    if (p.kind == SEGMENT_BYTES) {
        len = p.bytes.len < most ? p.bytes.len : most;
        memcpy(out, p.bytes.at, len);
        return len;
    }
    len = body_of(p.kind == SEGMENT_CONTAINER ? container_id(p.lot) : p.kind == SEGMENT_KEY ? key_id(p.lot, p.ordinal) : p.serial, bytes);
    assert_int_equal(p.offset + p.length, len);
    len = p.length < most ? (size_t)p.length : most;
    memcpy(out, bytes + p.offset, len);
    return len;
}

static uint8_t *whole(struct segment *s)
{
    uint64_t length = segment_length(s), at = 0;
    uint8_t *all = malloc(length);

    while (at < length) {
        size_t n = piece(s, at, length - at, all + at);

        assert_true(n > 0);
        at += n;
    }
    assert_int_equal(segment_piece_at(s, length).kind, SEGMENT_END);
    return all;
}

static bool read_at(void *ctx, uint64_t offset, uint8_t *out, size_t len, struct err *e)
{
    (void)e;
    memcpy(out, (const uint8_t *)ctx + offset, len);
    return true;
}

static void a_zip_reader_finds_every_file(void **state)
{
    struct segment *s = make();
    uint8_t *all = whole(s), buffer[100];
    struct zip_source source = {read_at, all, segment_length(s)};
    struct zip_reader z;
    const struct zip_entry *entry;
    struct err e = {0};
    unsigned files = 0, events = 0;

    (void)state;
    assert_true(zip_open(&z, &source, ZIP_SEGMENT, &e));
    for (enum zip_result r; (r = zip_next(&z, &entry, &e)) != ZIP_END;) {
        size_t got;

        if (r == ZIP_BAD)
            fail_msg("%s", e.text);
        files++;
        events += names_read(entry->name).kind == NAMES_EVENT;
        do
            assert_true(zip_read(&z, buffer, sizeof buffer, &got, &e));
        while (got != 0);
    }
    assert_int_equal(files, 2 + 4 + 5 + 17);
    assert_int_equal(events, 17);
    free(all);
    segment_free(s);
}

static void any_offset_gives_the_same_bytes(void **state)
{
    struct segment *s = make(), *other = make();
    uint8_t *all = whole(s), out[64];

    (void)state;
    for (uint64_t at = 0; at < segment_length(s); at++) {
        size_t n = piece(other, segment_length(s) - 1 - at, sizeof out, out);

        assert_true(n > 0);
        assert_memory_equal(out, all + segment_length(s) - 1 - at, n);
    }
    free(all);
    segment_free(s);
    segment_free(other);
}

static void the_cost_of_a_lot_is_what_it_adds(void **state)
{
    struct segment *s = segment_new();
    struct segment_lot lot = {.lot = 5, .first_serial = 1, .events = 3, .event_bytes = 300, .container_size = 10};
    struct segment_key key = {.ordinal = 1, .size = 20};
    struct err e = {0};
    uint64_t before;

    (void)state;
    segment_finish(s);
    before = segment_length(s);
    assert_true(segment_add_lot(s, &lot, &key, 1, &e));
    segment_finish(s);
    assert_int_equal(segment_length(s), before + segment_lot_cost(&lot, &key, 1));
    segment_free(s);
}

static void the_entity_tag_names_what_is_inside(void **state)
{
    struct segment *a = make(), *b = segment_new();
    struct err e = {0};

    (void)state;
    assert_int_equal(strlen(segment_etag(a)), 66);
    assert_true(segment_add_file(b, "README.txt", SLICE_LITERAL("hallo\n"), &e));
    assert_true(segment_add_file(b, "certs/ca.pem", SLICE_LITERAL(""), &e));
    for (unsigned i = 0; i < LOTS; i++)
        add_lot(b, i);
    segment_finish(b);
    assert_string_not_equal(segment_etag(a), segment_etag(b));
    segment_free(b);
    b = make();
    assert_string_equal(segment_etag(a), segment_etag(b));
    segment_free(a);
    segment_free(b);
}

static void contradictions_are_noticed(void **state)
{
    struct segment *s = make();
    struct segment_event events[8] = {{1, 0}};
    struct segment_lot lot = {.lot = 1};
    struct err e = {0};

    (void)state;
    assert_false(segment_give_events(s, 999998, events, 6, &e));
    assert_int_equal(e.code, ERR_FATAL);
    err_clear(&e);
    assert_false(segment_give_events(s, 999998, events, 7, &e)); /* other sizes than the lot's */
    assert_int_equal(e.code, ERR_FATAL);
    err_clear(&e);
    assert_false(segment_give_events(s, 7, events, 7, &e));
    err_clear(&e);
    assert_false(segment_add_lot(s, &lot, NULL, 0, &e)); /* not ascending */
    segment_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_zip_reader_finds_every_file),
        cmocka_unit_test(any_offset_gives_the_same_bytes),
        cmocka_unit_test(the_cost_of_a_lot_is_what_it_adds),
        cmocka_unit_test(the_entity_tag_names_what_is_inside),
        cmocka_unit_test(contradictions_are_noticed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
