/* coffre-extract: its command line, and how it checks bytes against entity-tags. */
#include <fcntl.h>
#include <getopt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/formats/digest.h"
#include "exporter/extract/check.h"
#include "exporter/extract/options.h"
#include "exporter/segment.h"

static struct options options;

static enum options_result read_words(const char *const *words)
{
    char *argv[32] = {(char *)(uintptr_t)"coffre-extract", (char *)(uintptr_t)"--certificate", (char *)(uintptr_t)"c",
                      (char *)(uintptr_t)"--key", (char *)(uintptr_t)"k", (char *)(uintptr_t)"--ca", (char *)(uintptr_t)"a"};
    int argc = 7;
    struct err e = {0};
    enum options_result r;

    options_free(&options);
    for (; *words != NULL; words++)
        argv[argc++] = (char *)(uintptr_t)*words;
    optind = 0;
    r = options_read(&options, argc, argv, &e);
    assert_true(r != OPTIONS_WRONG || e.code == ERR_INPUT);
    return r;
}

#define READ(...) read_words((const char *const[]){__VA_ARGS__, NULL})

static void commands_and_ranges_are_read(void **state)
{
    (void)state;
    assert_int_equal(READ("--url", "https://a:1//", "lots", "3-9"), OPTIONS_RUN);
    assert_string_equal(options.url, "https://a:1");
    assert_int_equal(options.command, COMMAND_LOTS);
    assert_int_equal(options.first, 3);
    assert_int_equal(options.last, 9);
    assert_true(options.overlap);
    assert_int_equal(READ("--port", "8443", "--no-overlap", "serials", "7-"), OPTIONS_RUN);
    assert_string_equal(options.url, "https://localhost:8443");
    assert_int_equal(options.last, 0);
    assert_false(options.overlap);
    assert_int_equal(READ("--port", "8443", "event", "7"), OPTIONS_RUN);
    assert_int_equal(options.last, 7);
    assert_int_equal(READ("--port", "8443", "lots"), OPTIONS_RUN);
    assert_int_equal(options.command, COMMAND_LIST);
    assert_int_equal(READ("--port", "8443", "dates", "a", "b"), OPTIONS_RUN);
    assert_string_equal(options.to, "b");
}

static void wrong_commands_are_refused(void **state)
{
    (void)state;
    assert_int_equal(READ("lots", "1-2"), OPTIONS_WRONG); /* no URL */
    assert_int_equal(READ("--url", "http://a", "status"), OPTIONS_WRONG);
    assert_int_equal(READ("--url", "https://a", "fetch"), OPTIONS_WRONG);
    assert_int_equal(READ("--url", "https://a", "status", "1"), OPTIONS_WRONG);
    assert_int_equal(READ("--url", "https://a", "serials"), OPTIONS_WRONG);
    static const char *const ranges[] = {"0", "2-1", "-1", "1-2-3", "a", "01", "1-x", "", "99999999999999999999"};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        assert_int_equal(READ("--url", "https://a", "serials", ranges[i]), OPTIONS_WRONG);
}

/* A segment with one lot and two events, written to an unnamed file. */
static int segment_file(char etag[SEGMENT_ETAG_MAX], uint64_t *length)
{
    static const uint8_t zeros[64];
    struct segment *s = segment_new();
    struct segment_lot lot = {.lot = 1, .first_serial = 1, .events = 2, .event_bytes = 20, .container_size = 30};
    struct segment_event events[2] = {{8, 0}, {12, 0}};
    char name[] = "/tmp/coffre-test-XXXXXX";
    int fd = mkstemp(name);
    struct err e = {0};

    assert_true(fd >= 0 && unlink(name) == 0);
    lot.container_crc32 = digest_crc32(0, slice_of(zeros, 30));
    assert_true(digest_sha256(slice_of(zeros, 30), lot.container_sha256, &e));
    for (int i = 0; i < 2; i++)
        events[i].crc32 = digest_crc32(0, slice_of(zeros, events[i].size));
    assert_true(segment_add_file(s, "README.txt", SLICE_LITERAL("text\n"), &e) && segment_add_lot(s, &lot, NULL, 0, &e));
    segment_finish(s);
    assert_true(segment_give_events(s, 1, events, 2, &e));
    for (uint64_t at = 0; at < segment_length(s);) {
        struct segment_piece p = segment_piece_at(s, at);
        struct slice bytes = p.kind == SEGMENT_BYTES ? p.bytes : slice_of(zeros, (size_t)p.length);

        assert_int_equal(write(fd, bytes.at, bytes.len), bytes.len);
        at += bytes.len;
    }
    memcpy(etag, segment_etag(s), SEGMENT_ETAG_MAX);
    *length = segment_length(s);
    segment_free(s);
    return fd;
}

static void every_changed_byte_of_a_segment_is_noticed(void **state)
{
    char etag[SEGMENT_ETAG_MAX];
    uint64_t length;
    int fd = segment_file(etag, &length);
    struct err e = {0};

    (void)state;
    if (!check_file(fd, "s", CHECK_SEGMENT, etag, &e))
        fail_msg("%s", e.text);
    for (uint64_t at = 0; at < length; at++) {
        uint8_t byte, other;

        err_clear(&e);
        assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
        other = byte ^ 1;
        assert_int_equal(pwrite(fd, &other, 1, (off_t)at), 1);
        if (check_file(fd, "s", CHECK_SEGMENT, etag, &e))
            fail_msg("byte %llu was changed, nothing noticed", (unsigned long long)at);
        assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
    }
    assert_int_equal(ftruncate(fd, (off_t)length - 1), 0);
    assert_false(check_file(fd, "s", CHECK_SEGMENT, etag, &e));
    close(fd);
}

static void a_container_is_its_digest(void **state)
{
    char etag[SEGMENT_ETAG_MAX];
    uint64_t length;
    int fd = segment_file(etag, &length);
    struct err e = {0};

    (void)state;
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_true(check_file(fd, "c", CHECK_CONTAINER, "\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"", &e));
    assert_false(check_file(fd, "c", CHECK_CONTAINER, etag, &e));
    assert_int_equal(e.code, ERR_INPUT);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_and_ranges_are_read),
        cmocka_unit_test(wrong_commands_are_refused),
        cmocka_unit_test(every_changed_byte_of_a_segment_is_noticed),
        cmocka_unit_test(a_container_is_its_digest),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    options_free(&options);
    return failed;
}
