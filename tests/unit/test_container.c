/* ZIP and ASiC-E container: what is written comes back, and no changed byte is accepted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/formats/container.h"
#include "common/formats/digest.h"

static bool memory_at(void *ctx, uint64_t offset, uint8_t *out, size_t len, struct err *e)
{
    const struct buf *b = ctx;

    (void)e;
    memcpy(out, buf_slice(b).at + offset, len);
    return true;
}

struct file {
    const char *name, *body;
};

static void write_zip(enum zip_style style, const struct file *files, size_t count, struct buf *out)
{
    struct zip_entry entries[8];
    uint8_t header[ZIP_CENTRAL_MAX];
    size_t central;

    buf_init(out, 1 << 20);
    for (size_t i = 0; i < count; i++) {
        struct slice body = slice_text(files[i].body);

        entries[i] = (struct zip_entry){slice_text(files[i].name), digest_crc32(0, body), (uint32_t)body.len, out->len};
        assert_true(buf_add(out, header, zip_write_local(style, &entries[i], header), NULL));
        assert_true(buf_add_slice(out, body, NULL));
    }
    central = out->len;
    for (size_t i = 0; i < count; i++) {
        size_t len = zip_write_central(style, &entries[i], header);

        assert_int_equal(len, zip_central_length(style, entries[i].name.len));
        assert_true(buf_add(out, header, len, NULL));
    }
    assert_int_equal(zip_write_end(style, count, central, out->len - central, header), zip_end_length(style));
    assert_true(buf_add(out, header, zip_end_length(style), NULL));
}

/* Reads to the end; the fault found, or NONE. Counts entries. */
static enum zip_fault read_zip(enum zip_style style, const struct buf *bytes, size_t *entries)
{
    struct buf copy = *bytes;
    struct zip_source source = {memory_at, &copy, bytes->len};
    const struct zip_entry *entry;
    struct zip_reader r;
    uint8_t part[7];
    size_t got;

    *entries = 0;
    if (!zip_open(&r, &source, style, NULL))
        return r.fault;
    for (;;) {
        switch (zip_next(&r, &entry, NULL)) {
        case ZIP_END:
            return ZIP_FAULT_NONE;
        case ZIP_BAD:
            return r.fault;
        case ZIP_ENTRY:
            break;
        }
        ++*entries;
        do
            if (!zip_read(&r, part, sizeof(part), &got, NULL))
                return r.fault;
        while (got > 0);
    }
}

static const struct file two[] = {{"a/b.txt", "hello"}, {"c", ""}, {"d", "some more bytes"}};

static void what_is_written_comes_back(void **state)
{
    struct buf bytes;
    size_t entries;

    (void)state;
    for (int style = ZIP_PLAIN; style <= ZIP_SEGMENT; style++) {
        write_zip((enum zip_style)style, two, 3, &bytes);
        assert_int_equal(read_zip((enum zip_style)style, &bytes, &entries), ZIP_FAULT_NONE);
        assert_int_equal(entries, 3);
        buf_free(&bytes);
        write_zip((enum zip_style)style, two, 0, &bytes);
        assert_int_equal(read_zip((enum zip_style)style, &bytes, &entries), ZIP_FAULT_NONE);
        buf_free(&bytes);
    }
}

static void every_byte_counts(void **state)
{
    struct buf bytes;
    size_t entries;

    (void)state;
    for (int style = ZIP_PLAIN; style <= ZIP_SEGMENT; style++) {
        write_zip((enum zip_style)style, two, 3, &bytes);
        for (size_t i = 0; i < bytes.len; i++) {
            for (int bit = 0; bit < 8; bit++) {
                bytes.data[i] ^= (uint8_t)(1 << bit);
                assert_int_not_equal(read_zip((enum zip_style)style, &bytes, &entries), ZIP_FAULT_NONE);
                bytes.data[i] ^= (uint8_t)(1 << bit);
            }
        }
        for (size_t len = 0; len < bytes.len; len++) {
            struct buf cut = bytes;

            cut.len = len;
            assert_int_not_equal(read_zip((enum zip_style)style, &cut, &entries), ZIP_FAULT_NONE);
        }
        buf_free(&bytes);
    }
}

static enum zip_fault fault_of(const struct file *files, size_t count)
{
    struct buf bytes;
    size_t entries;
    enum zip_fault fault;

    write_zip(ZIP_SEGMENT, files, count, &bytes);
    fault = read_zip(ZIP_SEGMENT, &bytes, &entries);
    buf_free(&bytes);
    return fault;
}

static void bad_names_are_refused(void **state)
{
    static const char *const bad[] = {"../a", "/a", "a/../b", "a//b", "a/", "./a", "a/.", "..", "a\\b", "C:a", "a b", "\xc3\xa9"};
    static const struct file twice[] = {{"x", "1"}, {"x", "2"}};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(fault_of(&(struct file){bad[i], "x"}, 1), ZIP_FAULT_NAME);
    assert_int_equal(fault_of(&(struct file){"a..b/..c/.d", "x"}, 1), ZIP_FAULT_NONE);
    assert_int_equal(fault_of(twice, 2), ZIP_FAULT_DUPLICATE);
}

static void tricks_are_named(void **state)
{
    struct buf bytes;
    size_t entries;
    size_t central;

    (void)state;
    write_zip(ZIP_SEGMENT, two, 3, &bytes);
    central = zip_local_length(7) + 5 + zip_local_length(1) + zip_local_length(1) + 15;
    bytes.data[central + 10] = 8; /* method: deflate */
    assert_int_equal(read_zip(ZIP_SEGMENT, &bytes, &entries), ZIP_FAULT_COMPRESSED);
    bytes.data[central + 10] = 0;
    bytes.data[central + 8] = 8; /* flag: data descriptor */
    assert_int_equal(read_zip(ZIP_SEGMENT, &bytes, &entries), ZIP_FAULT_DESCRIPTOR);
    bytes.data[central + 8] = 0;
    bytes.data[10 + 20] = 'X'; /* local name differs from central */
    assert_int_equal(read_zip(ZIP_SEGMENT, &bytes, &entries), ZIP_FAULT_MISMATCH);
    bytes.data[10 + 20] = 'a';
    bytes.data[zip_local_length(7)] ^= 1; /* contents */
    assert_int_equal(read_zip(ZIP_SEGMENT, &bytes, &entries), ZIP_FAULT_CRC);
    bytes.data[zip_local_length(7)] ^= 1;
    assert_true(buf_add(&bytes, "x", 1, NULL));
    assert_int_equal(read_zip(ZIP_SEGMENT, &bytes, &entries), ZIP_FAULT_TRAILING);
    bytes.len -= 30;
    assert_int_equal(read_zip(ZIP_SEGMENT, &bytes, &entries), ZIP_FAULT_TRUNCATED);
    buf_free(&bytes);
}

static void a_truncated_file_is_salvaged(void **state)
{
    struct buf bytes;
    struct zip_reader r;
    const struct zip_entry *entry;
    uint8_t part[100];
    size_t got;

    (void)state;
    write_zip(ZIP_SEGMENT, two, 3, &bytes);
    struct zip_source source = {memory_at, &bytes, zip_local_length(7) + 5 + zip_local_length(1) + zip_local_length(1) + 3};

    assert_false(zip_open(&r, &source, ZIP_SEGMENT, NULL));
    assert_int_equal(r.fault, ZIP_FAULT_TRUNCATED);
    zip_open_truncated(&r, &source, ZIP_SEGMENT);
    assert_int_equal(zip_next(&r, &entry, NULL), ZIP_ENTRY);
    assert_true(zip_read(&r, part, sizeof(part), &got, NULL) && got == 5 && memcmp(part, "hello", 5) == 0);
    assert_int_equal(zip_next(&r, &entry, NULL), ZIP_ENTRY);
    assert_true(slice_is(entry->name, "c"));
    assert_int_equal(zip_next(&r, &entry, NULL), ZIP_ENTRY);
    assert_false(zip_read(&r, part, sizeof(part), &got, NULL));
    assert_int_equal(r.fault, ZIP_FAULT_TRUNCATED);
    buf_free(&bytes);
}

static struct container sample(bool first)
{
    struct container c = {SLICE_LITERAL("<signatures/>"), SLICE_LITERAL("<Lot/>\n"), SLICE_LITERAL("sums\n"), {NULL, 0}};

    if (!first)
        c.previous = SLICE_LITERAL("<previous/>");
    return c;
}

static void containers_come_back(void **state)
{
    (void)state;
    for (int first = 0; first < 2; first++) {
        struct container c = sample(first == 1), back;
        struct buf out, again;

        buf_init(&out, 1 << 20);
        buf_init(&again, 1 << 20);
        assert_true(container_write(&c, &out, NULL));
        assert_int_equal(out.len, container_length(&c));
        /* ETSI EN 319 162-1 A.1: mimetype first, at a fixed place */
        assert_memory_equal(out.data + 30, "mimetypeapplication/vnd.etsi.asic-e+zip", 39);
        assert_true(container_read(buf_slice(&out), &back, NULL, NULL));
        assert_true(slice_equal(back.lot, c.lot) && slice_equal(back.sums, c.sums));
        assert_true(slice_equal(back.signatures, c.signatures) && slice_equal(back.previous, c.previous));
        assert_true(container_write(&back, &again, NULL));
        assert_true(slice_equal(buf_slice(&out), buf_slice(&again)));
        for (size_t i = 0; i < out.len; i++) {
            enum zip_fault fault;

            out.data[i] ^= 0x20;
            assert_false(container_read(buf_slice(&out), &back, &fault, NULL));
            assert_int_not_equal(fault, ZIP_FAULT_NONE);
            out.data[i] ^= 0x20;
            assert_false(container_read(slice_of(out.data, i), &back, NULL, NULL));
        }
        buf_free(&out);
        buf_free(&again);
    }
}

static void foreign_files_are_refused(void **state)
{
    static const struct file extra[] = {
        {"mimetype", CONTAINER_MIME}, {"META-INF/manifest.xml", "x"}, {CONTAINER_SIGNATURES, "x"}, {CONTAINER_LOT, "x"},
        {CONTAINER_SUMS, "x"}, {CONTAINER_PREVIOUS, "x"}, {"evil.xml", "x"},
    };
    struct container back;
    struct buf bytes;

    (void)state;
    for (size_t count = 0; count <= 7; count++) {
        write_zip(ZIP_PLAIN, extra, count, &bytes);
        assert_false(container_read(buf_slice(&bytes), &back, NULL, NULL));
        buf_free(&bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_comes_back),   cmocka_unit_test(every_byte_counts),
        cmocka_unit_test(bad_names_are_refused),        cmocka_unit_test(tricks_are_named),
        cmocka_unit_test(a_truncated_file_is_salvaged), cmocka_unit_test(containers_come_back),
        cmocka_unit_test(foreign_files_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
