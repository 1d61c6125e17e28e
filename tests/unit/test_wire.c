/* The internal notation: what is written is read, and nothing is read past the end. */
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <string.h>

#include "common/values/wire.h"

static void write_all(struct buf *b)
{
    struct wire_writer w = wire_write(b);
    size_t place;

    wire_put_u8(&w, 0xfe);
    wire_put_u16(&w, 0x1234);
    wire_put_u32(&w, 0xdeadbeef);
    wire_put_u64(&w, 0x0102030405060708);
    wire_put_text(&w, slice_text("text"));
    wire_put_bytes(&w, slice_text("bytes"));
    place = wire_open_u32(&w);
    wire_put_fixed(&w, "abc", 3);
    wire_close_u32(&w, place);
    assert_true(wire_ok(&w, "all", NULL));
}

static void read_all(struct wire_reader *r)
{
    assert_int_equal(wire_get_u8(r), 0xfe);
    assert_int_equal(wire_get_u16(r), 0x1234);
    assert_int_equal(wire_get_u32(r), 0xdeadbeef);
    assert_true(wire_get_u64(r) == 0x0102030405060708);
    assert_true(slice_is(wire_get_text(r), "text"));
    assert_true(slice_is(wire_get_bytes(r), "bytes"));
    assert_true(slice_is(wire_get_bytes(r), "abc"));
}

static void what_is_written_is_read(void **state)
{
    struct wire_reader r;
    struct err e = {0};
    struct buf b;

    (void)state;
    buf_init(&b, 1000);
    write_all(&b);
    assert_memory_equal(buf_slice(&b).at, "\xfe\x12\x34\xde\xad\xbe\xef\x01", 8);
    r = wire_read(buf_slice(&b));
    read_all(&r);
    assert_true(wire_end(&r, "all", &e));
    assert_true(buf_add(&b, "x", 1, NULL));
    r = wire_read(buf_slice(&b));
    read_all(&r);
    assert_false(wire_end(&r, "all", &e));
    assert_string_equal(e.text, "all: 1 bytes too many");
    buf_free(&b);
}

/* Every cut of a message is noticed, and its copy on the heap lets AddressSanitizer see a read too far. */
static void every_truncation_is_refused(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 1000);
    write_all(&b);
    for (size_t n = 0; n < b.len; n++) {
        uint8_t *copy = mem_alloc(n == 0 ? 1 : n);
        struct wire_reader r;
        struct err e = {0};

        memcpy(copy, buf_slice(&b).at, n);
        r = wire_read(slice_of(copy, n));
        wire_get_u8(&r);
        wire_get_u16(&r);
        wire_get_u32(&r);
        wire_get_u64(&r);
        wire_get_text(&r);
        wire_get_bytes(&r);
        wire_get_bytes(&r);
        assert_false(wire_end(&r, "cut", &e));
        assert_int_equal(e.code, ERR_INPUT);
        /* After a shortfall everything is zero. */
        assert_int_equal(wire_get_u8(&r), 0);
        assert_int_equal(wire_get_bytes(&r).len, 0);
        free(copy);
    }
    buf_free(&b);
}

static void announced_lengths_are_not_believed(void **state)
{
    struct wire_reader r = wire_read(SLICE_LITERAL("\xff\xff\xff\xff""abc"));

    (void)state;
    assert_int_equal(wire_get_bytes(&r).len, 0);
    assert_true(r.short_read);
    r = wire_read(SLICE_LITERAL("\xff\xff""abc"));
    assert_int_equal(wire_get_text(&r).len, 0);
    assert_true(r.short_read);
}

static void overflow_is_noticed_once_at_the_end(void **state)
{
    static const uint8_t large[70000];
    struct wire_writer w;
    struct err e = {0};
    struct buf b;

    (void)state;
    buf_init(&b, 6);
    w = wire_write(&b);
    wire_put_u32(&w, 1);
    wire_put_u32(&w, 2);
    wire_put_u8(&w, 3);
    assert_false(wire_ok(&w, "small", &e));
    buf_free(&b);
    buf_init(&b, 100000);
    w = wire_write(&b);
    wire_put_text(&w, slice_of(large, sizeof large));
    assert_false(wire_ok(&w, "text", NULL));
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(announced_lengths_are_not_believed),
        cmocka_unit_test(overflow_is_noticed_once_at_the_end),
    };

    return cmocka_run_group_tests_name("wire", tests, NULL, NULL);
}
