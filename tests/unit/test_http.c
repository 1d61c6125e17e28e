/* HTTP requests, conditions, answers: what RFC 9110 and RFC 9112 ask for, and what is refused though they allow it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "exporter/http.h"

static struct http_request request;
static struct http_refusal refusal;

static enum http_result read_text(const char *text)
{
    struct http_scan scan = {0};
    size_t used = 0;
    enum http_result r = http_read_head(slice_text(text), &scan, &request, &used, &refusal);

    if (r == HTTP_DONE)
        assert_int_equal(used, strlen(text) - request.content_length);
    return r;
}

static void expect_refused(const char *text, unsigned status)
{
    refusal.status = 0;
    if (read_text(text) != HTTP_REFUSED || refusal.status != status)
        fail_msg("%s: status %u, expected %u", text, refusal.status, status);
    assert_true(strncmp(refusal.reason, "RFC ", 4) == 0);
}

static void a_plain_request_is_read(void **state)
{
    struct slice v;

    (void)state;
    assert_int_equal(read_text("GET /v1/lots?after=3&limit=5 HTTP/1.1\r\nHost: localhost:8443\r\nX-A:  b c \t\r\n\r\n"), HTTP_DONE);
    assert_int_equal(request.method, HTTP_GET);
    assert_string_equal(request.path, "/v1/lots");
    assert_true(slice_is(request.query, "after=3&limit=5"));
    assert_true(request.keep_alive);
    assert_true(http_field(&request, "x-a", &v));
    assert_true(slice_is(v, "b c"));
    assert_false(http_field(&request, "x-b", &v));
}

static void every_prefix_of_a_request_wants_more(void **state)
{
    static const char text[] = "POST /v1/extractions HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}";
    struct http_scan scan = {0};
    size_t used, head = sizeof text - 1 - 2;

    (void)state;
    for (size_t i = 0; i < head; i++)
        assert_int_equal(http_read_head(slice_of(text, i), &scan, &request, &used, &refusal), HTTP_MORE);
    assert_int_equal(http_read_head(slice_of(text, sizeof text - 1), &scan, &request, &used, &refusal), HTTP_DONE);
    assert_int_equal(used, head);
    assert_int_equal(request.content_length, 2);
}

static void absolute_targets_and_one_empty_line_are_understood(void **state)
{
    (void)state;
    assert_int_equal(read_text("\r\nGET https://vault.example:443/check HTTP/1.1\r\nHost: vault.example\r\n\r\n"), HTTP_DONE);
    assert_string_equal(request.path, "/check");
    expect_refused("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    expect_refused("GET http://a/check HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    expect_refused("GET https://a@b/check HTTP/1.1\r\nHost: a\r\n\r\n", 400);
}

static void malformed_request_lines_are_refused(void **state)
{
    (void)state;
    expect_refused("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505);
    expect_refused("GET / HTTP/1.x\r\nHost: a\r\n\r\n", 400);
    expect_refused("GET / http/1.1\r\nHost: a\r\n\r\n", 400);
    expect_refused("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    expect_refused("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400);
    expect_refused("GET /\r\nHost: a\r\n\r\n", 400);
    expect_refused("G\"T / HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    expect_refused("GET / HTTP/1.1\nHost: a\n\n", 400);
    expect_refused("GET / HTTP/1.1\rHost: a\r\n\r\n", 400);
    expect_refused("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    expect_refused("\x16\x03\x01\x02", 400);
}

static void fields_that_two_readers_could_read_differently_are_refused(void **state)
{
    (void)state;
    expect_refused("GET / HTTP/1.1\r\n\r\n", 400);
    expect_refused("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400);
    expect_refused("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400);
    expect_refused("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400);
    expect_refused("GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", 400);
    expect_refused("GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400);
    expect_refused("GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", 400);
    expect_refused("GET / HTTP/1.1\r\nHost: a\r\nX: b\x01\r\n\r\n", 400);
    expect_refused("GET / HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1\r\nRange: bytes=0-1\r\n\r\n", 400);
    assert_int_equal(read_text("GET / HTTP/1.0\r\n\r\n"), HTTP_DONE);
    assert_false(request.keep_alive);
}

static void framing_is_never_ambiguous(void **state)
{
    (void)state;
    expect_refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
    expect_refused("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 411);
    expect_refused("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501);
    expect_refused("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 501);
    expect_refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
    expect_refused("POST / HTTP/1.1\r\nHost: a\r\n\r\n", 411);
    expect_refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400);
    expect_refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n", 400);
    expect_refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", 400);
    expect_refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 01\r\n\r\n", 400);
    expect_refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", 400);
    expect_refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n", 413);
    expect_refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: magic\r\n\r\n", 417);
}

static void paths_have_one_spelling(void **state)
{
    (void)state;
    assert_int_equal(read_text("GET /v1/l%6ft%73 HTTP/1.1\r\nHost: a\r\n\r\n"), HTTP_DONE);
    assert_string_equal(request.path, "/v1/lots");
    expect_refused("GET /v1/../check HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    expect_refused("GET /v1/%2e%2e/check HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    expect_refused("GET /./check HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    expect_refused("GET //check HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    expect_refused("GET /check%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    expect_refused("GET /check%2fx HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    expect_refused("GET /check%5cx HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    expect_refused("GET /check%25 HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    expect_refused("GET /check%4 HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    expect_refused("GET /check%gg HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    expect_refused("GET /ch\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    expect_refused("GET /check#x HTTP/1.1\r\nHost: a\r\n\r\n", 400);
}

static void sizes_are_limited(void **state)
{
    char *text = malloc(40000);
    size_t n;

    (void)state;
    n = (size_t)sprintf(text, "GET /%0300d HTTP/1.1\r\nHost: a\r\n\r\n", 1);
    assert_true(n < 40000);
    expect_refused(text, 414);
    sprintf(text, "GET /%03000d HTTP/1.1\r\nHost: a\r\n\r\n", 1);
    expect_refused(text, 414);
    sprintf(text, "GET / HTTP/1.1\r\nHost: a\r\nX: %020000d", 1);
    expect_refused(text, 431);
    n = (size_t)sprintf(text, "GET / HTTP/1.1\r\nHost: a\r\n");
    for (int i = 0; i < 64; i++)
        n += (size_t)sprintf(text + n, "X: %d\r\n", i);
    sprintf(text + n, "\r\n");
    expect_refused(text, 431);
    free(text);
}

static void queries_are_taken_apart(void **state)
{
    struct slice rest = SLICE_LITERAL("after=1%32&limit=x%3D");
    char name[16], value[8];

    (void)state;
    assert_int_equal(http_query_next(&rest, name, sizeof name, value, sizeof value), 1);
    assert_string_equal(name, "after");
    assert_string_equal(value, "12");
    assert_int_equal(http_query_next(&rest, name, sizeof name, value, sizeof value), 1);
    assert_string_equal(value, "x=");
    assert_int_equal(http_query_next(&rest, name, sizeof name, value, sizeof value), 0);
    static const char *const bad[] = {"a", "=b", "a=1&", "&a=1", "a=%00", "a=%zz", "a=+", "a=123456789", "a=\x7f"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        rest = slice_text(bad[i]);
        int r;

        while ((r = http_query_next(&rest, name, sizeof name, value, sizeof value)) == 1) {
        }
        assert_int_equal(r, -1);
    }
}

static enum http_outcome outcome_of(const char *fields, struct http_span *span)
{
    char text[500];

    snprintf(text, sizeof text, "GET /x HTTP/1.1\r\nHost: a\r\n%s\r\n", fields);
    assert_int_equal(read_text(text), HTTP_DONE);
    return http_evaluate(&request, "\"t\"", 1000, span);
}

static void expect_part(const char *range, uint64_t first, uint64_t length)
{
    char text[200];
    struct http_span span;

    snprintf(text, sizeof text, "Range: %s\r\n", range);
    assert_int_equal(outcome_of(text, &span), HTTP_PART);
    assert_int_equal(span.first, first);
    assert_int_equal(span.length, length);
}

static void ranges_follow_rfc_9110(void **state)
{
    static const char *const ignored[] = {"bytes=5-2", "bytes=0-1,4-5", "lines=1-2", "bytes=", "bytes=-", "bytes=a-b",
                                          "bytes=1-2x", "bytes 1-2", "bytes=--5"};
    struct http_span span;
    char text[200];

    (void)state;
    expect_part("bytes=0-0", 0, 1);
    expect_part("bytes=0-", 0, 1000);
    expect_part("bytes=999-", 999, 1);
    expect_part("bytes=10-5000", 10, 990);
    expect_part("bytes=-1", 999, 1);
    expect_part("bytes=-5000", 0, 1000);
    expect_part("BYTES=007-009", 7, 3);
    expect_part("bytes=1-99999999999999999999999", 1, 999);
    assert_int_equal(outcome_of("Range: bytes=1000-\r\n", &span), HTTP_UNSATISFIABLE);
    assert_int_equal(outcome_of("Range: bytes=99999999999999999999-\r\n", &span), HTTP_UNSATISFIABLE);
    assert_int_equal(outcome_of("Range: bytes=-0\r\n", &span), HTTP_UNSATISFIABLE);
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++) {
        snprintf(text, sizeof text, "Range: %s\r\n", ignored[i]);
        assert_int_equal(outcome_of(text, &span), HTTP_WHOLE);
        assert_int_equal(span.length, 1000);
    }
}

static void conditions_follow_rfc_9110(void **state)
{
    struct http_span span;

    (void)state;
    assert_int_equal(outcome_of("If-None-Match: \"t\"\r\n", &span), HTTP_UNCHANGED);
    assert_int_equal(outcome_of("If-None-Match: \"a\", W/\"t\"\r\n", &span), HTTP_UNCHANGED);
    assert_int_equal(outcome_of("If-None-Match: \"a\"\r\nIf-None-Match: \"t\"\r\n", &span), HTTP_UNCHANGED);
    assert_int_equal(outcome_of("If-None-Match: *\r\n", &span), HTTP_UNCHANGED);
    assert_int_equal(outcome_of("If-None-Match: \"a\"\r\n", &span), HTTP_WHOLE);
    assert_int_equal(outcome_of("If-None-Match: t\r\n", &span), HTTP_WHOLE);
    assert_int_equal(outcome_of("If-Match: \"t\"\r\n", &span), HTTP_WHOLE);
    assert_int_equal(outcome_of("If-Match: W/\"t\"\r\n", &span), HTTP_FAILED);
    assert_int_equal(outcome_of("If-Match: \"a\"\r\n", &span), HTTP_FAILED);
    assert_int_equal(outcome_of("If-Range: \"t\"\r\nRange: bytes=1-2\r\n", &span), HTTP_PART);
    assert_int_equal(outcome_of("If-Range: W/\"t\"\r\nRange: bytes=1-2\r\n", &span), HTTP_WHOLE);
    assert_int_equal(outcome_of("If-Range: \"a\"\r\nRange: bytes=1-2\r\n", &span), HTTP_WHOLE);
    assert_int_equal(outcome_of("If-Range: Sat, 29 Oct 1994 19:43:31 GMT\r\nRange: bytes=1-2\r\n", &span), HTTP_WHOLE);
    assert_int_equal(outcome_of("If-None-Match: \"t\"\r\nRange: bytes=5000-\r\n", &span), HTTP_UNCHANGED);
}

static void answers_are_encoded_and_never_split(void **state)
{
    struct buf out;
    struct err e = {0};
    static const char expected[] = "HTTP/1.1 206 Partial Content\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nETag: \"t\"\r\n"
                                   "Content-Length: 7\r\n\r\n";

    (void)state;
    buf_init(&out, 1000);
    assert_true(http_reply_begin(&out, 206, 784111777, &e) && http_reply_field(&out, "ETag", "\"t\"", &e) &&
                http_reply_number(&out, "Content-Length", 7, &e) && http_reply_end(&out, &e));
    assert_true(slice_is(buf_slice(&out), expected));
    assert_false(http_reply_field(&out, "Location", "/a\r\nSet-Cookie: b", &e));
    assert_true(slice_is(buf_slice(&out), expected));
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_request_is_read),
        cmocka_unit_test(every_prefix_of_a_request_wants_more),
        cmocka_unit_test(absolute_targets_and_one_empty_line_are_understood),
        cmocka_unit_test(malformed_request_lines_are_refused),
        cmocka_unit_test(fields_that_two_readers_could_read_differently_are_refused),
        cmocka_unit_test(framing_is_never_ambiguous),
        cmocka_unit_test(paths_have_one_spelling),
        cmocka_unit_test(sizes_are_limited),
        cmocka_unit_test(queries_are_taken_apart),
        cmocka_unit_test(ranges_follow_rfc_9110),
        cmocka_unit_test(conditions_follow_rfc_9110),
        cmocka_unit_test(answers_are_encoded_and_never_split),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
