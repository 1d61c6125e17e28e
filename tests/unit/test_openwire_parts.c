/* What OpenWire frames carry: Java's texts, property maps, contents (compressed or not) and the preamble. */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/unit.h"

#include <zlib.h>

#include "ingest/openwire/content.h"
#include "ingest/openwire/preamble.h"
#include "ingest/openwire/properties.h"
#include "ingest/openwire/text.h"
#include "tests/openwire/notation.h"

static uint8_t bytes[70000];

/* ---- texts --------------------------------------------------------------------------------- */

/* Modified UTF-8, UTF-8; `back`: what the latter is encoded to, NULL: the former. */
static const struct text {
    const char *modified, *plain, *back;
    bool is_plain;
} texts[] = {
    {"", "", NULL, true},
    {"'a'", "'a'", NULL, true},
    {"'exactly eight bytes, many times, and more'", "'exactly eight bytes, many times, and more'", NULL, true},
    {"c3a9 e282ac c080 20 eda0bd edb880", "c3a9 e282ac 00 20 f09f9880", NULL, false}, /* as captured from a Java client */
    {"'1234567' c080 '89' c080", "'1234567' 00 '89' 00", NULL, false},
    {"ed9fbf ee8080 efbfbf", "ed9fbf ee8080 efbfbf", NULL, true}, /* around the surrogates */
    {"eda080 edb080", "f0908080", NULL, false},                    /* U+10000 */
    {"edafbf edbfbf", "f48fbfbf", NULL, false},                    /* U+10FFFF */
    {"'x' eda0bd", "'x' eda0bd", "'x' 3f3f3f", false},                 /* a high surrogate alone, a low one, the wrong order */
    {"edb880 'x'", "edb880 'x'", "3f3f3f 'x'", false},
    {"edb880 eda0bd", "edb880 eda0bd", "3f3f3f3f3f3f", false},
    {"eda0bd eda0bd edb880", "eda0bd f09f9880", "3f3f3f eda0bd edb880", false},
    {"eda0bd edb8", "eda0bd edb8", "3f3f3f3f3f", false}, /* cut */
    {"'x' ed", "'x' ed", "'x?'", true},
    {"c0", "c0", "'?'", false},
    {"c0 'a'", "c0 'a'", "'?a'", false},
    {"00", "00", "c080", true}, /* Java writes no such byte */
    {"f09f9880", "f09f9880", "eda0bd edb880", true},
    {"80 ff fe", "80 ff fe", "3f3f3f", true},
    {"c1bf e09fbf f08fbfbf f4908080 f5808080", "c1bf e09fbf f08fbfbf f4908080 f5808080", "3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f", true}, /* not shortest, beyond */
    {"e282", "e282", "3f3f", true},
    {"'12345678' ff '12345678'", "'12345678' ff '12345678'", "'12345678?12345678'", true},
};

static void assert_same(struct slice is, struct slice should, const char *what)
{
    if (!slice_equal(is, should))
        fail_msg("%s: %zu bytes, not the %zu that should be", what, is.len, should.len);
}

static void test_texts(void **state)
{
    static uint8_t a[256], b[256], c[256];

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        const struct text *t = &texts[i];
        struct slice modified = openwire_bytes_of(t->modified, a), plain = openwire_bytes_of(t->plain, b),
                     back = openwire_bytes_of(t->back == NULL ? t->modified : t->back, c);
        struct err e = {0};
        struct buf out;

        buf_init(&out, 256);
        if (openwire_text_is_plain(modified) != t->is_plain)
            fail_msg("%s", t->modified);
        assert_true(openwire_text_decode(modified, &out, &e));
        assert_same(buf_slice(&out), plain, t->modified);
        buf_reset(&out);
        assert_true(openwire_text_encode(plain, &out, &e));
        assert_same(buf_slice(&out), back, t->plain);
        buf_reset(&out);
        assert_true(buf_add_slice(&out, modified, NULL));
        if (modified.len != 0)
            out.len = openwire_text_decode_into(buf_slice(&out), out.data + out.start);
        assert_same(buf_slice(&out), plain, "in place");
        buf_free(&out);
    }
}

/* Exactly the room that is needed is enough; one byte less is not, and nothing is left behind. */
static void test_text_room(void **state)
{
    struct slice modified = openwire_bytes_of("'ab' c080 eda0bd edb880 'c'", bytes), plain = SLICE_LITERAL("ab\0\xf0\x9f\x98\x80" "c");
    struct buf out;

    (void)state;
    for (size_t max = 0; max <= modified.len; max++) {
        struct err e = {0};

        buf_init(&out, max);
        assert_int_equal(openwire_text_decode(modified, &out, &e), max >= plain.len);
        assert_int_equal(e.code, max >= plain.len ? ERR_NONE : ERR_INPUT);
        assert_int_equal(out.len, max >= plain.len ? plain.len : 0);
        buf_free(&out);
        err_clear(&e);
        buf_init(&out, max);
        assert_int_equal(openwire_text_encode(plain, &out, &e), max >= modified.len);
        assert_int_equal(e.code, max >= modified.len ? ERR_NONE : ERR_INPUT);
        assert_int_equal(out.len, max >= modified.len ? modified.len : 0);
        buf_free(&out);
    }
}

/* Every character there is, whole and at every distance from a word's end. */
static void test_every_character(void **state)
{
    struct buf utf8, modified, back;

    (void)state;
    buf_init(&utf8, 64);
    buf_init(&modified, 64);
    buf_init(&back, 64);
    for (uint32_t c = 0; c < 0x110000; c++) {
        uint8_t one[4] = {(uint8_t)c};
        size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

        if (c >= 0xd800 && c < 0xe000)
            continue;
        for (size_t i = n - 1; n > 1 && i > 0; i--)
            one[i] = (uint8_t)(0x80 | (c >> 6 * (n - 1 - i) & 0x3f));
        if (n > 1)
            one[0] = (uint8_t)((0xf00 >> n & 0xff) | c >> 6 * (n - 1));
        buf_reset(&utf8);
        buf_reset(&modified);
        buf_reset(&back);
        assert_true(buf_add(&utf8, "12345678", c % 9, NULL) && buf_add(&utf8, one, n, NULL));
        assert_true(openwire_text_encode(buf_slice(&utf8), &modified, NULL));
        assert_int_equal(modified.len, c % 9 + (c == 0 ? 2 : n == 4 ? 6 : n));
        assert_true(openwire_text_decode(buf_slice(&modified), &back, NULL));
        assert_true(slice_equal(buf_slice(&back), buf_slice(&utf8)));
    }
    buf_free(&utf8);
    buf_free(&modified);
    buf_free(&back);
}

/* ---- properties ---------------------------------------------------------------------------- */

static const char all_tags[] = "0000000e 0001 'n' 00 | 0001 'o' 01 01 | 0001 'b' 02 ff | 0001 'c' 03 ffff | 0001 's' 04 fffe | 0001 'i' 05 80000000 |"
                               "0001 'l' 06 8000000000000000 | 0001 'd' 07 3ff0000000000000 | 0001 'f' 08 3f800000 | 0001 't' 09 0003 'abc' |"
                               "0001 'y' 0a 00000002 00ff | 0001 'm' 0b 00000001 0001 'k' 0c 00000002 00 05 00000007 | 0001 'z' 0c 00000000 |"
                               "0000 0d 00000004 'long'";

static void test_properties(void **state)
{
    static const int64_t numbers[] = {0, 1, -1, 0xffff, -2, INT32_MIN, INT64_MIN};
    static const size_t lengths[] = {8, 4, 3, 2, 18, 4, 4};
    struct openwire_property p;
    struct openwire_map m;
    struct err e = {0};

    (void)state;
    assert_true(openwire_map_open(&m, openwire_bytes_of(all_tags, bytes), 14, &e));
    for (unsigned tag = 0; tag <= OPENWIRE_TAG_BIG_TEXT; tag++) {
        if (!openwire_map_next(&m, &p, &e))
            fail_msg("%s", e.text);
        assert_int_equal(p.tag, tag);
        assert_int_equal(p.name.len, tag == OPENWIRE_TAG_BIG_TEXT ? 0 : 1);
        assert_int_equal(p.number, tag < 7 ? numbers[tag] : 0);
        assert_int_equal(p.bytes.len, tag < 7 ? 0 : lengths[tag - 7]);
    }
    assert_true(slice_is(p.bytes, "long"));
    assert_false(openwire_map_next(&m, &p, &e));
    assert_int_equal(e.code, ERR_NONE);
    assert_false(openwire_map_next(&m, &p, &e));
}

/* Reads a whole map; its error or none. */
static struct err read_map(struct slice map, uint32_t max)
{
    struct openwire_property p;
    struct openwire_map m;
    struct err e = {0};

    if (openwire_map_open(&m, map, max, &e))
        while (openwire_map_next(&m, &p, &e)) {
        }
    return e;
}

static void test_cut_properties(void **state)
{
    struct slice whole = openwire_bytes_of(all_tags, bytes);

    (void)state;
    assert_int_equal(read_map(slice_of(NULL, 0), 0).code, ERR_NONE);
    for (size_t len = 1; len < whole.len; len++) {
        uint8_t *copy = malloc(len);

        memcpy(copy, whole.at, len);
        assert_int_equal(read_map(slice_of(copy, len), 14).code, ERR_INPUT);
        free(copy);
    }
    assert_int_equal(read_map(whole, 14).code, ERR_NONE);
    assert_int_equal(read_map(whole, 13).code, ERR_INPUT);
    bytes[whole.len] = 0;
    assert_non_null(strstr(read_map(slice_of(whole.at, whole.len + 1), 14).text, "1 bytes follow the last entry"));
}

static const struct refused_map {
    const char *map, *why;
} refused_maps[] = {
    {"000000", "3 bytes are no map"},
    {"ffffffff 00", "1 bytes follow the last entry"},
    {"00000000 00", "1 bytes follow the last entry"},
    {"7fffffff 000000", "2147483647 entries are announced in 3 bytes"},
    {"00000002 0000 00 0000", "2 entries are announced in 5 bytes"},
    {"00000021 000000000000", "33 entries are announced in 6 bytes"},
    {"00000001 0004 'abc'", "entry 0 goes beyond the map"},
    {"00000001 0001 'abc' 00", "entry 0 has no value of type 98"},
    {"00000001 0001 'a' 01 02", "entry 0 has no value of type 1"},
    {"00000001 0001 'a' 0e 00000000", "entry 0 has no value of type 14"},
    {"00000001 0001 'a' ff 00000000", "entry 0 has no value of type 255"},
    {"00000002 0001 'a' 00 0001 'b' 05 000000", "entry 1 has no value of type 5"},
    {"00000001 0001 'a' 0a ffffffff 00", "entry 0 has no value of type 10"},
    {"00000001 0001 'a' 0a 7fffffff 00", "entry 0 has no value of type 10"},
    {"00000001 0001 'a' 0d 80000000 00", "entry 0 has no value of type 13"},
    {"00000001 0001 'a' 09 ffff 00", "entry 0 has no value of type 9"},
    {"00000001 0001 'a' 0b 7fffffff 00 0000 00", "entry 0 has no value of type 11"},
    {"00000001 0001 'a' 0b 00000001 0000 02", "entry 0 has no value of type 11"},
    {"00000001 0001 'a' 0c 7fffffff 00 00", "entry 0 has no value of type 12"},
    {"00000001 0001 'a' 0c ffffffff", "entry 0 has no value of type 12"},
    {"00000001 0001 'a' 0c 00000002 00", "entry 0 has no value of type 12"},
};

static void test_refused_properties(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused_maps / sizeof refused_maps[0]; i++) {
        struct err e = read_map(openwire_bytes_of(refused_maps[i].map, bytes), 32);

        assert_int_equal(e.code, ERR_INPUT);
        if (strstr(e.text, refused_maps[i].why) == NULL)
            fail_msg("%s: \"%s\", not \"%s\"", refused_maps[i].map, e.text, refused_maps[i].why);
    }
    assert_int_equal(read_map(openwire_bytes_of("ffffffff", bytes), 32).code, ERR_NONE);
    assert_int_equal(read_map(openwire_bytes_of("00000001 0001 'a' 0b ffffffff", bytes), 32).code, ERR_NONE);
}

/* Lists within each other. */
static void test_deep_properties(void **state)
{
    (void)state;
    for (unsigned depth = 1; depth < 2000; depth = depth < 12 ? depth + 1 : depth * 2) {
        struct slice head = openwire_bytes_of("00000001 0001 'a' 0c", bytes);
        uint8_t *at = bytes + head.len;

        for (unsigned i = 1; i < depth; i++) {
            memcpy(at, "\0\0\0\1\x0c", 5);
            at += 5;
        }
        memset(at, 0, 4);
        assert_int_equal(read_map(slice_of(bytes, (size_t)(at - bytes) + 4), 32).code, depth <= 8 ? ERR_NONE : ERR_INPUT);
    }
}

static void test_written_properties(void **state)
{
    const char expected[] = "00000004 0001 't' 09 0004 'a' c080 'b' | 0001 'l' 06 fffffffffffffffe | 0001 'i' 05 00000007 | 0001 'b' 01 01";
    struct slice should = openwire_bytes_of(expected, bytes);
    struct openwire_map_writer w;
    struct buf out;

    (void)state;
    for (size_t max = 2; max <= 2 + should.len; max++) {
        bool fits = max == 2 + should.len;
        struct err e = {0};

        buf_init(&out, max);
        assert_true(buf_add(&out, "ab", 2, NULL));
        openwire_map_begin(&w, &out);
        openwire_map_put_text(&w, "t", SLICE_LITERAL("a\0b"));
        openwire_map_put_long(&w, "l", -2);
        openwire_map_put_int(&w, "i", 7);
        openwire_map_put_bool(&w, "b", true);
        assert_int_equal(openwire_map_end(&w, &e), fits);
        assert_int_equal(e.code, fits ? ERR_NONE : ERR_INPUT);
        assert_int_equal(out.len, fits ? max : 2);
        if (fits)
            assert_memory_equal(buf_slice(&out).at + 2, should.at, should.len);
        buf_free(&out);
    }
}

static void test_long_text_property(void **state)
{
    struct openwire_map_writer w;
    struct err e = {0};
    struct buf out;

    (void)state;
    memset(bytes, 'x', sizeof bytes);
    for (size_t len = 65535; len <= 65536; len++) {
        buf_init(&out, 200000);
        openwire_map_begin(&w, &out);
        openwire_map_put_text(&w, "t", slice_of(bytes, len));
        assert_int_equal(openwire_map_end(&w, &e), len == 65535);
        buf_free(&out);
    }
    assert_int_equal(e.code, ERR_INPUT);
}

/* ---- contents ------------------------------------------------------------------------------ */

enum { TEXT = OPENWIRE_TEXT_MESSAGE, BYTES = OPENWIRE_BYTES_MESSAGE };

static struct openwire_value fields[OPENWIRE_COUNT_MESSAGE];
static struct openwire_object message = {.values = fields};
static uint8_t packed[70000];

static const struct openwire_object *message_of(unsigned type, bool compressed, struct slice content)
{
    memset(fields, 0, sizeof fields);
    message.type = (uint8_t)type;
    fields[OPENWIRE_MESSAGE_CONTENT] = openwire_bytes(content);
    fields[OPENWIRE_MESSAGE_COMPRESSED] = openwire_number(compressed);
    return &message;
}

/* `before` bytes as they are, the rest compressed. */
static struct slice pack(struct slice s, size_t before)
{
    uLongf len = sizeof packed - before;

    memcpy(packed, s.at, before);
    assert_int_equal(compress2(packed + before, &len, s.at + before, s.len - before, 6), Z_OK);
    return slice_of(packed, before + len);
}

/* What openwire_content() says of this; `body` NULL: an error of this code. */
static void check_content(const struct openwire_object *m, size_t max, size_t room, const char *body, enum err_code code)
{
    struct slice is, should = {NULL, 0};
    struct err e = {0};
    struct buf scratch;
    bool ok;

    buf_init_secret(&scratch, room);
    if (room != 0)
        assert_true(buf_add(&scratch, "x", 1, NULL));
    ok = openwire_content(m, max, &scratch, &is, &e);
    if (body != NULL)
        should = slice_text(body);
    if (ok != (body != NULL) || e.code != code)
        fail_msg("\"%s\", code %d, not %d", e.text, (int)e.code, (int)code);
    if (ok)
        assert_same(is, should, body);
    buf_free(&scratch);
}

static void check_text(const char *content, size_t max, const char *body, enum err_code code)
{
    struct slice s = openwire_bytes_of(content, bytes);

    check_content(message_of(TEXT, false, s), max, 64, body, code);
    if (s.len != 0)
        check_content(message_of(TEXT, true, pack(s, 0)), max, 64, body, code);
}

static void test_contents(void **state)
{
    (void)state;
    memset(fields, 0, sizeof fields);
    message.type = TEXT;
    check_content(&message, 10, 0, "", ERR_NONE);
    message.type = BYTES;
    check_content(&message, 10, 0, "", ERR_NONE);
    fields[OPENWIRE_MESSAGE_COMPRESSED] = openwire_number(1);
    check_content(&message, 10, 0, "", ERR_NONE);
    message.type = OPENWIRE_MAP_MESSAGE;
    check_content(&message, 10, 0, NULL, ERR_INPUT);
    check_content(message_of(BYTES, false, SLICE_LITERAL("")), 0, 0, "", ERR_NONE);
    check_content(message_of(BYTES, false, SLICE_LITERAL("abc")), 3, 0, "abc", ERR_NONE);
    check_content(message_of(BYTES, false, SLICE_LITERAL("abc")), 2, 0, NULL, ERR_DENIED);
    check_text("ffffffff", 10, "", ERR_NONE);
    check_text("00000000", 0, "", ERR_NONE);
    check_text("00000003 'abc'", 3, "abc", ERR_NONE);
    check_text("00000003 'abc'", 2, NULL, ERR_DENIED);
    check_text("0000000f 'a' eda0bd edb880 c3a9 eda0bd edb880", 11, "a\xf0\x9f\x98\x80\xc3\xa9\xf0\x9f\x98\x80", ERR_NONE);
    check_text("0000000f 'a' eda0bd edb880 c3a9 eda0bd edb880", 10, NULL, ERR_DENIED);
    check_text("ffffffff 00", 10, NULL, ERR_INPUT);
    check_text("fffffffe", 10, NULL, ERR_INPUT);
    check_text("80000000 'abc'", 10, NULL, ERR_INPUT);
    check_text("00000004 'abc'", 10, NULL, ERR_INPUT);
    check_text("00000002 'abc'", 10, NULL, ERR_INPUT);
    check_text("000000", 10, NULL, ERR_INPUT);
    check_text("00", 10, NULL, ERR_INPUT);
    check_content(message_of(TEXT, false, SLICE_LITERAL("\x7f\xff\xff\xff" "a")), 10, 64, NULL, ERR_INPUT);
    check_content(message_of(TEXT, false, SLICE_LITERAL("")), 10, 64, NULL, ERR_INPUT);
    check_content(message_of(TEXT, true, SLICE_LITERAL("")), 10, 64, NULL, ERR_INPUT);
}

static void check_packed_bytes(const char *content, size_t max, const char *body, enum err_code code)
{
    check_content(message_of(BYTES, true, pack(openwire_bytes_of(content, bytes), 4)), max, 64, body, code);
}

/* Nothing, and then so many zeros. */
static void check_padding(size_t zeros, const char *body, enum err_code code)
{
    static const uint8_t none[2000];

    check_content(message_of(BYTES, true, pack(slice_of(none, 4 + zeros), 4)), 10, 64, body, code);
}

static void test_compressed_bytes(void **state)
{
    (void)state;
    check_packed_bytes("00000000", 0, "", ERR_NONE);
    check_packed_bytes("00000003 'abc'", 3, "abc", ERR_NONE);
    check_packed_bytes("00000003 'abc'", 2, NULL, ERR_DENIED);
    check_packed_bytes("00000002 'abc'", 10, NULL, ERR_INPUT);
    check_packed_bytes("00000004 'abc'", 10, NULL, ERR_INPUT);
    check_packed_bytes("00000000 'abc'", 10, NULL, ERR_INPUT);
    check_packed_bytes("ffffffff", 10, NULL, ERR_INPUT);
    check_packed_bytes("80000000 'abc'", 10, NULL, ERR_INPUT);
    check_packed_bytes("7fffffff 'abc'", 10, NULL, ERR_DENIED);
    /* What ActiveMQ 5.17.2 sends for "abc" and for nothing, and what no buffer would have beside its content. */
    check_content(message_of(BYTES, true, openwire_bytes_of("00000003 789c4b4c4a661805a360148c5c00009fb00127", bytes)), 10, 64, "abc", ERR_NONE);
    check_content(message_of(BYTES, true, openwire_bytes_of("00000000 789c63601805a360148c64000004040001", bytes)), 10, 64, "", ERR_NONE);
    check_packed_bytes("00000003 'abc' 00000000", 10, "abc", ERR_NONE);
    check_packed_bytes("00000003 'abc' 00000001", 10, NULL, ERR_INPUT);
    check_text("00000003 'abc' 00", 10, NULL, ERR_INPUT);
    check_padding(1028, "", ERR_NONE);
    check_padding(1029, NULL, ERR_INPUT);
    check_content(message_of(BYTES, true, SLICE_LITERAL("\0\0\0")), 10, 64, NULL, ERR_INPUT);
    check_content(message_of(BYTES, true, SLICE_LITERAL("\0\0\0\0")), 10, 64, NULL, ERR_INPUT);
    check_content(message_of(BYTES, true, SLICE_LITERAL("\0\0\0\1not zlib")), 10, 64, NULL, ERR_INPUT);
}

/* A stream that is cut, goes on, or was damaged anywhere is refused; damage never gives another body (Adler-32). */
static void test_damaged_streams(void **state)
{
    static const char expected[] = "a body, a body, a body and no other body";
    struct slice whole;
    uint8_t stream[256];

    (void)state;
    for (int text = 0; text < 2; text++) {
        struct slice s = openwire_bytes_of("00000028 'a body, a body, a body and no other body'", bytes);
        unsigned type = text ? TEXT : BYTES;

        whole = pack(s, text ? 0 : 4);
        memcpy(stream, whole.at, whole.len);
        check_content(message_of(type, true, slice_of(stream, whole.len)), 100, 100, expected, ERR_NONE);
        for (size_t len = 0; len < whole.len; len++)
            check_content(message_of(type, true, slice_of(stream, len)), 100, 100, NULL, ERR_INPUT);
        stream[whole.len] = 0;
        check_content(message_of(type, true, slice_of(stream, whole.len + 1)), 100, 100, NULL, ERR_INPUT);
        for (size_t i = 0; i < whole.len; i++) {
            struct slice body;
            struct buf scratch;

            stream[i] ^= 0x10;
            buf_init(&scratch, 100);
            if (openwire_content(message_of(type, true, slice_of(stream, whole.len)), 100, &scratch, &body, NULL))
                assert_true(slice_is(body, expected));
            buf_free(&scratch);
            stream[i] ^= 0x10;
        }
    }
}

/* A bomb stops at the limit: 64 MiB of zeros that say they are small, or say what they are. */
static void test_inflation_limits(void **state)
{
    static const uint8_t zeros[65536];
    z_stream z = {0};
    struct buf bomb;
    uint8_t *room;

    (void)state;
    buf_init(&bomb, 100000);
    room = buf_reserve(&bomb, 100000, NULL);
    memcpy(room, "\0\0\0\x0a", 4);
    z.next_out = room + 4;
    z.avail_out = 100000 - 4;
    assert_int_equal(deflateInit(&z, 9), Z_OK);
    for (int i = 0; i < 1024; i++) {
        z.next_in = (Bytef *)(uintptr_t)zeros;
        z.avail_in = sizeof zeros;
        assert_int_equal(deflate(&z, i == 1023 ? Z_FINISH : Z_NO_FLUSH), i == 1023 ? Z_STREAM_END : Z_OK);
    }
    buf_commit(&bomb, 100000 - z.avail_out);
    deflateEnd(&z);
    check_content(message_of(BYTES, true, buf_slice(&bomb)), 1000, 1000, NULL, ERR_INPUT);
    memcpy(bomb.data, "\x04\0\0\0", 4);
    check_content(message_of(BYTES, true, buf_slice(&bomb)), 1000000, 1000000, NULL, ERR_DENIED);
    check_content(message_of(BYTES, true, buf_slice(&bomb)), 100000000, 50000, NULL, ERR_DENIED);
    /* As a text the stream begins with a length of zero, and goes on. */
    check_content(message_of(TEXT, true, slice_of(bomb.data + 4, bomb.len - 4)), 1000, 1000, NULL, ERR_INPUT);
    buf_free(&bomb);
}

/* What costs much more to inflate than to send: up to 64 KiB as ever, then not more than a hundredfold. */
static void test_inflation_ratio(void **state)
{
    static uint8_t same[4 + (1 << 20)], stream[20000];
    static const struct {
        uint32_t len;
        enum err_code code;
    } cases[] = {{1 << 16, ERR_NONE}, {(1 << 16) + 1, ERR_DENIED}, {1 << 20, ERR_DENIED}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const uint8_t len[4] = {0, (uint8_t)(cases[i].len >> 16), (uint8_t)(cases[i].len >> 8), (uint8_t)cases[i].len};
        uLongf size = sizeof stream;
        struct slice body;
        struct buf scratch;
        struct err e = {0};

        memset(same, 'a', sizeof same);
        memcpy(same, len, sizeof len);
        assert_int_equal(compress2(stream, &size, same, 4 + cases[i].len, 9), Z_OK);
        buf_init(&scratch, 2 << 20);
        assert_int_equal(openwire_content(message_of(TEXT, true, slice_of(stream, size)), 1 << 20, &scratch, &body, &e), cases[i].code == ERR_NONE);
        assert_int_equal(e.code, cases[i].code);
        assert_true(cases[i].code != ERR_NONE || body.len == cases[i].len);
        buf_free(&scratch);
    }
}

static void test_large_contents(void **state)
{
    struct slice body, s;
    struct buf scratch;
    uint8_t *copy = malloc(60004);

    (void)state;
    for (size_t i = 4; i < 60004; i++)
        copy[i] = (uint8_t)('a' + i * i % 23);
    memcpy(copy, "\0\0\xea\x60", 4);
    for (int text = 0; text < 2; text++) {
        struct err e = {0};

        s = pack(slice_of(copy, 60004), text ? 0 : 4);
        buf_init_secret(&scratch, 60000);
        if (!openwire_content(message_of(text ? TEXT : BYTES, true, s), 60000, &scratch, &body, &e))
            fail_msg("%s", e.text);
        assert_true(slice_equal(body, slice_of(copy + 4, 60000)));
        buf_free(&scratch);
    }
    free(copy);
}

/* ---- the preamble -------------------------------------------------------------------------- */

static const struct openwire_format ours = {12, 10485760, 30000, 10000};

static void test_detect(void **state)
{
    static const struct {
        const char *text;
        enum openwire_opening is;
    } openings[] = {
        {"", OPENWIRE_OPENING_MORE},
        {"00", OPENWIRE_OPENING_MORE},
        {"0000", OPENWIRE_OPENING_MORE},
        {"000001", OPENWIRE_OPENING_MORE},
        {"00000164", OPENWIRE_OPENING_MORE},
        {"0000016401", OPENWIRE_OPENING_MORE},
        {"00000164 01 'Active'", OPENWIRE_OPENING_MORE},
        {"00000164 01 'ActiveMQ'", OPENWIRE_OPENING_YES},
        {"0000000e 01 'ActiveMQ' 0000000c 00", OPENWIRE_OPENING_YES},
        {"00001000 01 'ActiveMQ' 0000000c", OPENWIRE_OPENING_YES},
        {"00001001", OPENWIRE_OPENING_NO},
        {"0000000d", OPENWIRE_OPENING_NO},
        {"000011", OPENWIRE_OPENING_NO},
        {"0001", OPENWIRE_OPENING_NO},
        {"'CONNECT'", OPENWIRE_OPENING_NO},
        {"0a", OPENWIRE_OPENING_NO},
        {"'S'", OPENWIRE_OPENING_NO},
        {"'G'", OPENWIRE_OPENING_NO},
        {"1603010200", OPENWIRE_OPENING_NO},
        {"0000016403", OPENWIRE_OPENING_NO},
        {"00000164 01 'a'", OPENWIRE_OPENING_NO},
        {"00000164 01 'ActiveMX'", OPENWIRE_OPENING_NO},
    };

    (void)state;
    for (size_t i = 0; i < sizeof openings / sizeof openings[0]; i++)
        if (openwire_detect(openwire_bytes_of(openings[i].text, bytes)) != openings[i].is)
            fail_msg("%s", openings[i].text);
}

static void test_written_preamble(void **state)
{
    static const char expected[] =
        "0000011e 01 'ActiveMQ' 0000000c 01 0000010c 0000000b | 0014 'TightEncodingEnabled' 01 00 | 000c 'CacheEnabled' 01 00 |"
        "0009 'CacheSize' 05 00000000 | 0011 'StackTraceEnabled' 01 00 | 0012 'SizePrefixDisabled' 01 00 | 0011 'TcpNoDelayEnabled' 01 01 |"
        "000c 'MaxFrameSize' 06 0000000000a00000 | 0013 'MaxFrameSizeEnabled' 01 01 | 0015 'MaxInactivityDuration' 06 0000000000007530 |"
        "0020 'MaxInactivityDurationInitalDelay' 06 0000000000002710 | 000c 'ProviderName' 09 0006 'Coffre'";
    struct openwire_format agreed;
    struct err e = {0};
    struct buf out;

    (void)state;
    buf_init(&out, 1000);
    assert_true(openwire_preamble_write(&ours, &out, &e));
    assert_same(buf_slice(&out), openwire_bytes_of(expected, bytes), "our WireFormatInfo");
    assert_int_equal(openwire_detect(buf_slice(&out)), OPENWIRE_OPENING_YES);
    assert_true(openwire_preamble_read(slice_of(buf_slice(&out).at + 4, out.len - 4), &ours, &agreed, &e));
    assert_memory_equal(&agreed, &ours, sizeof ours);
    buf_free(&out);
    buf_init(&out, 100);
    assert_false(openwire_preamble_write(&ours, &out, &e));
    assert_int_equal(e.code, ERR_RETRY);
    assert_int_equal(out.len, 0);
    buf_free(&out);
}

/* Frames without size; of those that are refused, why. */
static const struct peer {
    const char *text;
    struct openwire_format agreed;
    const char *why;
} peers[] = {
    {"01 'ActiveMQ' 00000006 00", {6, 10485760, 0, 0}, NULL},
    {"01 'ActiveMQ' 00000001 00", {1, 10485760, 0, 0}, NULL},
    {"01 'ActiveMQ' 00000064 01 00000000", {12, 10485760, 0, 0}, NULL},
    {"01 'ActiveMQ' 0000000a 01 0000001b 00000001 000c 'MaxFrameSize' 06 0000000000001000", {10, 4096, 0, 0}, NULL},
    {"01 'ActiveMQ' 0000000a 01 00000017 00000001 000c 'MaxFrameSize' 05 00001000", {10, 4096, 0, 0}, NULL},
    {"01 'ActiveMQ' 0000000c 01 0000001b 00000001 000c 'MaxFrameSize' 06 7fffffffffffffff", {12, 10485760, 0, 0}, NULL},
    {"01 'ActiveMQ' 0000000c 01 0000001b 00000001 000c 'MaxFrameSize' 06 ffffffffffffffff", {12, 10485760, 0, 0}, NULL},
    {"01 'ActiveMQ' 0000000c 01 00000013 00000001 000c 'MaxFrameSize' 00", {12, 10485760, 0, 0}, NULL},
    {"01 'ActiveMQ' 0000000c 01 00000020 00000001 0015 'MaxInactivityDuration' 05 00007531", {12, 10485760, 30000, 0}, NULL},
    {"01 'ActiveMQ' 0000000c 01 00000024 00000001 0015 'MaxInactivityDuration' 06 0000000000000007", {12, 10485760, 7, 0}, NULL},
    {"01 'ActiveMQ' 0000000c 01 0000002f 00000001 0020 'MaxInactivityDurationInitalDelay' 06 0000000000000007", {12, 10485760, 0, 7}, NULL},
    {"01 'ActiveMQ' 0000000c 01 00000016 00000001 000c 'CacheEnabled' 09 0001 '!'", {12, 10485760, 0, 0}, NULL},
    {"01 'ActiveMQ' 00000000 00", {0}, "version 0"},
    {"01 'ActiveMQ' ffffffff 00", {0}, "version -1"},
    {"01 'ActiveXX' 0000000c 00", {0}, "where a WireFormatInfo with its magic is due"},
    {"0a 00000000 00", {0}, "type 10 where a WireFormatInfo"},
    {"01 'ActiveMQ' 0000000c 00 00", {0}, "1 bytes follow the last field"},
    {"01 'ActiveMQ' 0000000c 01 00000014 00000001 000c 'MaxFrameSize' 01 01", {0}, "MaxFrameSize is no number"},
    {"01 'ActiveMQ' 0000000c 01 00000015 00000001 000c 'MaxFrameSize' 09 0000", {0}, "MaxFrameSize is no number"},
    {"01 'ActiveMQ' 0000000c 01 00000018 00000001 000c 'MaxFrameSize' 09 0000", {0}, "24 bytes are announced, 21 are left"},
    {"01 'ActiveMQ' 0000000c 01 0000000c 00000001 0001 'm' 0b 00000000", {0}, "a property of type 11"},
    {"01 'ActiveMQ' 0000000c 01 0000000c 00000001 0001 'm' 0c 00000000", {0}, "a property of type 12"},
    {"01 'ActiveMQ' 0000000c 01 00000005 00000000 00", {0}, "1 bytes follow the last entry"},
    {"01 'ActiveMQ' 0000000c 01 00000004 00000041", {0}, "65 entries are announced"},
};

static void test_peers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof peers / sizeof peers[0]; i++) {
        struct slice frame = openwire_bytes_of(peers[i].text, bytes);
        struct openwire_format agreed = {0};
        struct err e = {0};
        bool ok;

        ok = openwire_preamble_read(frame, &ours, &agreed, &e);
        if (ok != (peers[i].why == NULL) || (!ok && strstr(e.text, peers[i].why) == NULL))
            fail_msg("%s: \"%s\"", peers[i].text, e.text);
        if (ok && memcmp(&agreed, &peers[i].agreed, sizeof agreed) != 0)
            fail_msg("%s: agreed on %u, %llu, %llu, %llu", peers[i].text, agreed.version, (unsigned long long)agreed.max_frame,
                     (unsigned long long)agreed.inactivity, (unsigned long long)agreed.inactivity_delay);
    }
}

/* Values and entries up to the limits, and one beyond. */
static void test_preamble_limits(void **state)
{
    struct openwire_format agreed;

    (void)state;
    for (size_t extra = 0; extra < 2; extra++) {
        struct slice head = openwire_bytes_of("01 'ActiveMQ' 0000000c 01 00000000 00000001 0001 'v' 09 0000", bytes);
        size_t len = OPENWIRE_PREAMBLE_VALUE + extra;
        struct err e = {0};

        memset(bytes + head.len, 'x', len);
        bytes[head.len - 2] = (uint8_t)(len >> 8);
        bytes[head.len - 1] = (uint8_t)len;
        bytes[16] = (uint8_t)((len + 10) >> 8);
        bytes[17] = (uint8_t)(len + 10);
        assert_int_equal(openwire_preamble_read(slice_of(bytes, head.len + len), &ours, &agreed, &e), extra == 0);
    }
    for (size_t count = 64; count < 66; count++) {
        struct slice head = openwire_bytes_of("01 'ActiveMQ' 0000000c 01 00000000 00000000", bytes);

        memset(bytes + head.len, 0, 3 * count);
        bytes[17] = (uint8_t)(4 + 3 * count);
        bytes[21] = (uint8_t)count;
        assert_int_equal(openwire_preamble_read(slice_of(bytes, head.len + 3 * count), &ours, &agreed, NULL), count == 64);
    }
    memset(bytes, 0, sizeof bytes);
    assert_false(openwire_preamble_read(slice_of(bytes, OPENWIRE_PREAMBLE_MAX + 1), &ours, &agreed, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_text_room),
        cmocka_unit_test(test_every_character),
        cmocka_unit_test(test_properties),
        cmocka_unit_test(test_cut_properties),
        cmocka_unit_test(test_refused_properties),
        cmocka_unit_test(test_deep_properties),
        cmocka_unit_test(test_written_properties),
        cmocka_unit_test(test_long_text_property),
        cmocka_unit_test(test_contents),
        cmocka_unit_test(test_compressed_bytes),
        cmocka_unit_test(test_damaged_streams),
        cmocka_unit_test(test_inflation_limits),
        cmocka_unit_test(test_inflation_ratio),
        cmocka_unit_test(test_large_contents),
        cmocka_unit_test(test_detect),
        cmocka_unit_test(test_written_preamble),
        cmocka_unit_test(test_peers),
        cmocka_unit_test(test_preamble_limits),
    };

    return cmocka_run_group_tests_name("openwire_parts", tests, NULL, NULL);
}
