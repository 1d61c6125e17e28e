/* The STOMP parser and encoder: every frame of every version, split anywhere, and everything that must be refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ingest/stomp/stomp.h"

static const struct stomp_limits limits = {.headers = 16, .header_bytes = 512, .body_bytes = 1000};

#define S(text) SLICE_LITERAL(text)

static struct stomp_parser parser(enum stomp_version v, bool from_server)
{
    struct stomp_parser p;

    stomp_parser_init(&p, from_server, &limits);
    p.version = v;
    return p;
}

/* Parses one frame out of exactly these bytes. */
static enum stomp_result parse(struct stomp_parser *p, struct slice in, struct stomp_frame *f, struct err *e)
{
    size_t consumed;
    enum stomp_result r = stomp_parse(p, in, &consumed, f, e);

    if (r == STOMP_FRAME)
        assert_int_equal(consumed, in.len);
    return r;
}

static void assert_header(const struct stomp_frame *f, enum stomp_name name, const char *value)
{
    assert_true(stomp_has(f, name));
    if (!slice_is(stomp_get(f, name), value))
        fail_msg("%s is \"%.*s\", not \"%s\"", stomp_name_text(name), SLICE_ARGS(stomp_get(f, name)), value);
}

/* Frames that are right in a version: the text, its command, one header and its value, its body. */
static const struct good {
    enum stomp_version version;
    bool from_server;
    struct slice text;
    enum stomp_command command;
    enum stomp_name name;
    const char *value;
    struct slice body;
} goods[] = {
    {STOMP_OPENING, false, S("CONNECT\naccept-version:1.0,1.1,1.2\nhost:vault\n\n\0"), STOMP_CONNECT, STOMP_ACCEPT_VERSION, "1.0,1.1,1.2", S("")},
    {STOMP_OPENING, false, S("CONNECT\r\nhost:va\\cult\r\n\r\n\0"), STOMP_CONNECT, STOMP_HOST, "va\\cult", S("")},
    {STOMP_OPENING, false, S("STOMP\naccept-version:1.2\nhost:v\nheart-beat:0,1000\n\n\0"), STOMP_STOMP, STOMP_HEART_BEAT, "0,1000", S("")},
    {STOMP_1_0, false, S("SEND\ndestination: /queue/a \n\nhello\0"), STOMP_SEND, STOMP_DESTINATION, "/queue/a", S("hello")},
    {STOMP_1_0, false, S("SEND\nClientId:a:b:c\\n\n\n\0"), STOMP_SEND, STOMP_CLIENT_ID, "a:b:c\\n", S("")},
    {STOMP_1_0, false, S("SEND\nClientId:a\r\n\n\0"), STOMP_SEND, STOMP_CLIENT_ID, "a\r", S("")},
    {STOMP_1_0, false, S("BEGIN\ntransaction:t\n\nan odd body\0"), STOMP_BEGIN, STOMP_TRANSACTION, "t", S("an odd body")},
    {STOMP_1_0, false, S("ACK\nmessage-id:m\n\n\0"), STOMP_ACK, STOMP_MESSAGE_ID, "m", S("")},
    {STOMP_1_1, false, S("SEND\ndestination:/queue/a\ncontent-length:7\n\nab\0cd\0e\0"), STOMP_SEND, STOMP_DESTINATION, "/queue/a", S("ab\0cd\0e")},
    {STOMP_1_1, false, S("SEND\nClientId:a\\cb\\\\c\\nd:e\n\n\0"), STOMP_SEND, STOMP_CLIENT_ID, "a:b\\c\nd:e", S("")},
    {STOMP_1_1, false, S("SEND\nClientId: a \n\n\0"), STOMP_SEND, STOMP_CLIENT_ID, " a ", S("")},
    {STOMP_1_1, false, S("SEND\nClientId:a\rb\n\n\0"), STOMP_SEND, STOMP_CLIENT_ID, "a\rb", S("")},
    {STOMP_1_1, false, S("NACK\nmessage-id:m\nsubscription:0\n\n\0"), STOMP_NACK, STOMP_SUBSCRIPTION, "0", S("")},
    {STOMP_1_2, false, S("SEND\r\ndestination:/queue/a\r\n\r\nbody\r\n\0"), STOMP_SEND, STOMP_DESTINATION, "/queue/a", S("body\r\n")},
    {STOMP_1_2, false, S("SEND\nClientId:\\r\\n\\c\\\\\n\n\0"), STOMP_SEND, STOMP_CLIENT_ID, "\r\n:\\", S("")},
    {STOMP_1_2, false, S("SEND\nDigest:first\nDigest:second\n\n\0"), STOMP_SEND, STOMP_DIGEST, "first", S("")},
    {STOMP_1_2, false, S("SEND\ndigest:no\nDigest:yes\nx-o\\cther:1\n\n\0"), STOMP_SEND, STOMP_DIGEST, "yes", S("")},
    {STOMP_1_2, false, S("SEND\nClientId:\n\n\0"), STOMP_SEND, STOMP_CLIENT_ID, "", S("")},
    {STOMP_1_2, false, S("\n\n\r\nACK\nid:m\n\n\0"), STOMP_ACK, STOMP_ID, "m", S("")},
    {STOMP_1_2, false, S("NACK\nid:m\ntransaction:t\n\n\0"), STOMP_NACK, STOMP_TRANSACTION, "t", S("")},
    {STOMP_1_2, false, S("SUBSCRIBE\nid:0\ndestination:/queue/a\nack:client\n\n\0"), STOMP_SUBSCRIBE, STOMP_ACK_HEADER, "client", S("")},
    {STOMP_1_2, false, S("UNSUBSCRIBE\nid:0\n\n\0"), STOMP_UNSUBSCRIBE, STOMP_ID, "0", S("")},
    {STOMP_1_2, false, S("BEGIN\ntransaction:t\n\n\0"), STOMP_BEGIN, STOMP_TRANSACTION, "t", S("")},
    {STOMP_1_2, false, S("COMMIT\ntransaction:t\nreceipt:r\n\n\0"), STOMP_COMMIT, STOMP_RECEIPT_HEADER, "r", S("")},
    {STOMP_1_2, false, S("ABORT\ntransaction:t\n\n\0"), STOMP_ABORT, STOMP_TRANSACTION, "t", S("")},
    {STOMP_1_2, false, S("DISCONNECT\nreceipt:77\n\n\0"), STOMP_DISCONNECT, STOMP_RECEIPT_HEADER, "77", S("")},
    {STOMP_OPENING, true, S("CONNECTED\nversion:1.2\nsession:a\\cb\n\n\0"), STOMP_CONNECTED, STOMP_SESSION, "a\\cb", S("")},
    {STOMP_1_2, true, S("MESSAGE\nmessage-id:1\ncontent-length:0\nCFJLLotId:42\n\n\0"), STOMP_MESSAGE, STOMP_CFJL_LOT_ID, "42", S("")},
    {STOMP_1_2, true, S("RECEIPT\nreceipt-id:a\\cb\n\n\0"), STOMP_RECEIPT, STOMP_RECEIPT_ID, "a:b", S("")},
    {STOMP_1_1, true, S("ERROR\nmessage:no\n\nwhy\0"), STOMP_ERROR, STOMP_MESSAGE_TEXT, "no", S("why")},
};

static void check_good(const struct good *g, const struct stomp_frame *f)
{
    assert_int_equal(f->command, g->command);
    assert_header(f, g->name, g->value);
    assert_true(slice_equal(f->body, g->body));
}

static void takes_every_frame_of_every_version(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof goods / sizeof *goods; i++) {
        struct stomp_parser p = parser(goods[i].version, goods[i].from_server);
        struct stomp_frame f;
        struct err e = {0};

        if (parse(&p, goods[i].text, &f, &e) != STOMP_FRAME)
            fail_msg("frame %zu: %s", i, e.text);
        check_good(&goods[i], &f);
        stomp_parser_free(&p);
    }
}

/* The owner of a connection's bytes: what a front does with them. Fed in pieces of any size. */
static void feed(struct stomp_parser *p, const struct good *g, size_t first, size_t step)
{
    struct buf held;
    struct stomp_frame f;
    struct err e = {0};
    size_t at = 0, consumed;
    enum stomp_result r = STOMP_MORE;

    buf_init(&held, 4096);
    while (at < g->text.len) {
        size_t n = at == 0 ? first : step;

        if (n > g->text.len - at)
            n = g->text.len - at;
        assert_int_equal(r, STOMP_MORE);
        /* Moved at every step, so that a pointer kept into old input is found by the sanitizer. */
        assert_true(buf_add(&held, g->text.at + at, n, &e));
        at += n;
        uint8_t *copy = malloc(held.len + (held.len == 0));
        memcpy(copy, buf_slice(&held).at, held.len);
        r = stomp_parse(p, slice_of(copy, held.len), &consumed, &f, &e);
        if (r == STOMP_BAD)
            fail_msg("after %zu bytes of \"%s\": %s", at, (const char *)g->text.at, e.text);
        if (r == STOMP_FRAME)
            check_good(g, &f);
        buf_consume(&held, consumed);
        free(copy);
    }
    assert_int_equal(r, STOMP_FRAME);
    assert_int_equal(held.len, 0);
    buf_free(&held);
}

static void takes_frames_split_at_every_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof goods / sizeof *goods; i++) {
        struct stomp_parser p = parser(goods[i].version, goods[i].from_server);

        feed(&p, &goods[i], 1, 1);
        feed(&p, &goods[i], 1, 3);
        for (size_t cut = 1; cut < goods[i].text.len; cut++)
            feed(&p, &goods[i], cut, goods[i].text.len);
        stomp_parser_free(&p);
    }
}

static void takes_one_frame_after_the_other(void **state)
{
    static const struct slice in = S("SEND\nid:1\n\na\0\n\nSEND\nid:2\ncontent-length:3\n\n\0\0\0\0\r\nSEND\nid:3\n\nc\0\nSEN");
    struct stomp_parser p = parser(STOMP_1_2, false);
    struct stomp_frame f;
    struct err e = {0};
    size_t at = 0, consumed;

    (void)state;
    for (char n = '1'; n <= '3'; n++) {
        char id[2] = {n, '\0'};

        assert_int_equal(stomp_parse(&p, slice_of(in.at + at, in.len - at), &consumed, &f, &e), STOMP_FRAME);
        assert_header(&f, STOMP_ID, id);
        at += consumed;
    }
    assert_int_equal(stomp_parse(&p, slice_of(in.at + at, in.len - at), &consumed, &f, &e), STOMP_MORE);
    assert_int_equal(consumed, 1); /* the line feed; "SEN" is kept */
    stomp_parser_free(&p);
}

/* What must be refused, and a word of the reason. */
static const struct bad {
    enum stomp_version version;
    struct slice text;
    const char *word;
} bads[] = {
    {STOMP_OPENING, S("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "unknown command"},
    {STOMP_OPENING, S("\0\0\0\x2e\x01""ActiveMQ"), "no command"},
    {STOMP_OPENING, S("CONNECTCONNECTCONNECT\n"), "no command"},
    {STOMP_OPENING, S("MESSAGE\n\n\0"), "unknown command"},
    {STOMP_OPENING, S("CONNECT\nhost:a\n\nbody\0"), "must not have a body"},
    {STOMP_1_0, S("NACK\nmessage-id:1\n\n\0"), "not available"},
    {STOMP_1_2, S("STOMP\nhost:a\n\n\0"), "not available"},
    {STOMP_1_2, S("send\n\n\0"), "unknown command"},
    {STOMP_1_2, S(" SEND\n\n\0"), "unknown command"},
    {STOMP_1_2, S("\rSEND\n\n\0"), "unknown command"},
    {STOMP_1_2, S("SE\0ND\n\n\0"), " command"},
    {STOMP_1_1, S("\r\nSEND\n\n\0"), "unknown command"},
    {STOMP_1_1, S("SEND\r\n\r\n\0"), "unknown command"},
    {STOMP_1_2, S("SEND\nno colon\n\n\0"), "no colon"},
    {STOMP_1_2, S("SEND\n:value\n\n\0"), "no name"},
    {STOMP_1_1, S("SEND\na:b\n\r\n\0"), "no colon"},
    {STOMP_1_2, S("SEND\na:b\rc\n\n\0"), "bare carriage return"},
    {STOMP_1_2, S("SEND\na:b\r\r\n\n\0"), "bare carriage return"},
    {STOMP_1_2, S("SEND\na:b\0\n"), "blank line"},
    {STOMP_1_2, S("SEND\na:b\0c\n\n\0"), "the headers of SEND"},
    {STOMP_1_2, S("SEND\nClientId:a\\tb\n\n\0"), "undefined escape"},
    {STOMP_1_2, S("SEND\nx-other:a\\\n\n\0"), "undefined escape"},
    {STOMP_1_2, S("SEND\nx-ot\\xher:a\n\n\0"), "undefined escape"},
    {STOMP_1_2, S("SEND\nClientId:a\\\r\n\n\0"), "undefined escape"},
    {STOMP_1_1, S("SEND\nClientId:a\\r\n\n\0"), "undefined escape"},
    {STOMP_1_2, S("SEND\ncontent-length:-1\n\n\0"), "not a number"},
    {STOMP_1_2, S("SEND\ncontent-length:\n\n\0"), "not a number"},
    {STOMP_1_2, S("SEND\ncontent-length:0x10\n\n\0"), "not a number"},
    {STOMP_1_2, S("SEND\ncontent-length:99999999999999999999\n\n\0"), "not a number"},
    {STOMP_1_2, S("SEND\ncontent-length:1001\n\n"), "at most 1000"},
    {STOMP_1_2, S("SEND\ncontent-length:18446744073709551615\n\n"), "at most 1000"},
    {STOMP_1_2, S("SEND\ncontent-length:2\n\nabc\0"), "no NUL byte after"},
    {STOMP_1_2, S("BEGIN\ntransaction:1\n\nx\0"), "must not have a body"},
    {STOMP_1_2, S("SEND\na:1\na:2\na:3\na:4\na:5\na:6\na:7\na:8\na:9\na:1\na:2\na:3\na:4\na:5\na:6\na:7\na:8\n\n\0"), "more than 16"},
};

static void refuses_with_reason(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bads / sizeof *bads; i++) {
        for (size_t step = 1; step <= bads[i].text.len; step += bads[i].text.len - 1) {
            struct stomp_parser p = parser(bads[i].version, false);
            enum stomp_result r = STOMP_MORE;
            struct stomp_frame f;
            struct err e = {0};
            size_t consumed, from = 0;

            for (size_t len = step; len <= bads[i].text.len && r == STOMP_MORE; len += step) {
                r = stomp_parse(&p, slice_of(bads[i].text.at + from, len - from), &consumed, &f, &e);
                from += consumed;
            }
            if (r != STOMP_BAD || strstr(e.text, bads[i].word) == NULL || strncmp(e.text, "STOMP 1.", 8) != 0)
                fail_msg("frame %zu by %zu: result %d, \"%s\"", i, step, (int)r, e.text);
            assert_int_equal(e.code, ERR_INPUT);
            stomp_parser_free(&p);
        }
    }
}

/* Grows a frame one byte at a time from a beginning and one repeated byte: where does it end? */
static size_t refused_after(const char *begin, char filler, struct err *e)
{
    struct stomp_parser p = parser(STOMP_1_2, false);
    char text[4096];
    struct stomp_frame f;
    size_t len = strlen(begin), consumed;

    memset(text, filler, sizeof text);
    memcpy(text, begin, len);
    while (len < sizeof text && stomp_parse(&p, slice_of(text, len), &consumed, &f, e) == STOMP_MORE)
        len++;
    stomp_parser_free(&p);
    return len;
}

static void bounds_what_it_waits_for(void **state)
{
    struct err e = {0};

    (void)state;
    assert_int_equal(refused_after("SEND\na:", 'x', &e), limits.header_bytes + 1);
    assert_non_null(strstr(e.text, "Size Limits"));
    assert_int_equal(refused_after("SEND\n\n", 'x', &e), 6 + limits.body_bytes + 1);
    assert_int_equal(refused_after("", 'x', &e), 16);
}

static void finds_every_name(void **state)
{
    (void)state;
    for (unsigned i = 0; i < STOMP_NAMES; i++) {
        struct stomp_parser p = parser(STOMP_1_2, false);
        struct stomp_frame f;
        struct err e = {0};
        char text[100];
        int n = snprintf(text, sizeof text, "SEND\n%s:0\n\n", stomp_name_text((enum stomp_name)i));

        assert_int_equal(parse(&p, slice_of(text, (size_t)n + 1), &f, &e), STOMP_FRAME);
        assert_true(f.present == UINT64_C(1) << i);
        stomp_parser_free(&p);
    }
}

static void reads_numbers_and_heart_beats(void **state)
{
    uint64_t a = 1, b = 1;

    (void)state;
    assert_true(number_parse(S("0"), &a) && a == 0);
    assert_true(number_parse(S("18446744073709551615"), &a) && a == UINT64_MAX);
    assert_false(number_parse(S("18446744073709551616"), &a));
    assert_false(number_parse(S("+1"), &a));
    assert_false(number_parse(S(" 1"), &a));
    assert_false(number_parse(S("1 "), &a));
    assert_false(number_parse(S(""), &a));
    assert_true(stomp_heart_beat(S("0,0"), &a, &b) && a == 0 && b == 0);
    assert_true(stomp_heart_beat(S("1000, 2000"), &a, &b) && a == 1000 && b == 2000);
    assert_false(stomp_heart_beat(S("1000"), &a, &b));
    assert_false(stomp_heart_beat(S("1,-1"), &a, &b));
    assert_false(stomp_heart_beat(S(","), &a, &b));
    assert_false(stomp_heart_beat(S(""), &a, &b));
}

/* What the encoder writes for one header and a body. */
static void assert_written(enum stomp_version v, enum stomp_command c, enum stomp_name name, struct slice value, struct slice body,
                           struct slice expected)
{
    struct stomp_writer w;
    struct buf out;
    struct err e = {0};

    buf_init(&out, 1000);
    stomp_open(&w, &out, v, c);
    stomp_add(&w, name, value);
    assert_true(stomp_close(&w, body, &e));
    if (!slice_equal(buf_slice(&out), expected))
        fail_msg("\"%.*s\" is not \"%.*s\"", SLICE_ARGS(buf_slice(&out)), SLICE_ARGS(expected));
    buf_free(&out);
}

static void writes_as_the_version_demands(void **state)
{
    (void)state;
    assert_written(STOMP_1_0, STOMP_RECEIPT, STOMP_RECEIPT_ID, S("a:b\\\nc"), S(""), S("RECEIPT\nreceipt-id:a:b\\ c\n\n\0"));
    assert_written(STOMP_1_1, STOMP_RECEIPT, STOMP_RECEIPT_ID, S("a:b\\\nc\rd"), S(""), S("RECEIPT\nreceipt-id:a\\cb\\\\\\nc d\n\n\0"));
    assert_written(STOMP_1_2, STOMP_RECEIPT, STOMP_RECEIPT_ID, S("a:b\\\nc\rd\0"), S(""), S("RECEIPT\nreceipt-id:a\\cb\\\\\\nc\\rd \n\n\0"));
    assert_written(STOMP_1_2, STOMP_CONNECTED, STOMP_SESSION, S("a:b"), S(""), S("CONNECTED\nsession:a:b\n\n\0"));
    assert_written(STOMP_1_2, STOMP_SEND, STOMP_DESTINATION, S("/queue/a"), S("x\0y"), S("SEND\ndestination:/queue/a\ncontent-length:3\n\nx\0y\0"));
}

static void reads_back_what_it_writes(void **state)
{
    uint8_t octets[255];

    (void)state;
    for (unsigned i = 0; i < 255; i++)
        octets[i] = (uint8_t)(i + 1);
    struct slice all = slice_of(octets, sizeof octets);
    struct stomp_parser p = parser(STOMP_1_2, true);
    struct stomp_writer w;
    struct stomp_frame f;
    struct buf out;
    struct err e = {0};

    buf_init(&out, 2000);
    stomp_open(&w, &out, STOMP_1_2, STOMP_MESSAGE);
    stomp_add(&w, STOMP_CLIENT_ID, all);
    stomp_add_number(&w, STOMP_CFJL_LOT_ID, UINT64_MAX);
    assert_true(stomp_close(&w, all, &e));
    if (parse(&p, buf_slice(&out), &f, &e) != STOMP_FRAME)
        fail_msg("%s", e.text);
    assert_true(slice_equal(stomp_get(&f, STOMP_CLIENT_ID), all));
    assert_header(&f, STOMP_CFJL_LOT_ID, "18446744073709551615");
    assert_true(slice_equal(f.body, all));
    buf_free(&out);
    stomp_parser_free(&p);
}

static void leaves_nothing_of_a_frame_that_does_not_fit(void **state)
{
    struct stomp_writer w;
    struct buf out;
    struct err e = {0};

    (void)state;
    for (size_t max = 0; max < 40; max++) {
        buf_init(&out, max);
        stomp_open(&w, &out, STOMP_1_2, STOMP_RECEIPT);
        stomp_add(&w, STOMP_RECEIPT_ID, S("0123456789012345678"));
        assert_false(stomp_close(&w, S("body"), &e));
        assert_int_equal(e.code, ERR_RETRY);
        assert_int_equal(out.len, 0);
        buf_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_every_frame_of_every_version),
        cmocka_unit_test(takes_frames_split_at_every_byte),
        cmocka_unit_test(takes_one_frame_after_the_other),
        cmocka_unit_test(refuses_with_reason),
        cmocka_unit_test(bounds_what_it_waits_for),
        cmocka_unit_test(finds_every_name),
        cmocka_unit_test(reads_numbers_and_heart_beats),
        cmocka_unit_test(writes_as_the_version_demands),
        cmocka_unit_test(reads_back_what_it_writes),
        cmocka_unit_test(leaves_nothing_of_a_frame_that_does_not_fit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
