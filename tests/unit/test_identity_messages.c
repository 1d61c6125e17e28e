/* Messages of identity: what is sent is read back; bodies cut short, too long or out of bounds are refused; senders refuse what no reader would take. */
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <unistd.h>

#include "common/identity/identity.h"

static struct channel *ends[2];

static int open_ends(void **state)
{
    int fds[2];

    (void)state;
    assert_true(channel_pair(fds, NULL));
    for (unsigned i = 0; i < 2; i++)
        ends[i] = channel_open(fds[i], ROLE_MESSAGE_MAX, ROLE_QUEUE_MAX);
    return 0;
}

static int close_ends(void **state)
{
    (void)state;
    channel_free(ends[0]);
    channel_free(ends[1]);
    return 0;
}

/* What the other end receives, copied into memory of exactly its size: a read past its end is seen by the sanitizer. Owned. */
static struct slice received(uint16_t type)
{
    struct channel_message m;
    uint8_t *copy;

    assert_true(channel_flush(ends[0], NULL));
    assert_int_equal(channel_wait(ends[1], &m, 10000, NULL), CHANNEL_MESSAGE);
    assert_int_equal(m.type, type);
    copy = mem_alloc(m.body.len == 0 ? 1 : m.body.len);
    memcpy(copy, m.body.at, m.body.len);
    return slice_of(copy, m.body.len);
}

typedef bool reads(struct slice body, struct err *e);

/* Every body that is cut short or one byte longer is refused, with a reason. */
static void refuses_other_lengths(struct slice body, reads *read)
{
    struct err e = {0};

    for (size_t n = 0; n <= body.len + 1; n++) {
        uint8_t *exact = mem_zalloc(1, n == 0 ? 1 : n);

        memcpy(exact, body.at, n < body.len ? n : body.len);
        err_clear(&e);
        assert_true(read(slice_of(exact, n), &e) == (n == body.len));
        if (n != body.len)
            assert_int_equal(e.code, ERR_INPUT);
        free(exact);
    }
    free((void *)(uintptr_t)body.at);
}

/* The body with one byte changed. */
static bool reads_with(struct slice body, size_t at, uint8_t value, reads *read)
{
    uint8_t *copy = mem_alloc(body.len);
    bool ok;

    memcpy(copy, body.at, body.len);
    copy[at] = value;
    ok = read(slice_of(copy, body.len), NULL);
    free(copy);
    return ok;
}

static bool read_present(struct slice body, struct err *e)
{
    struct identity_present p;

    return identity_read_present(body, &p, e);
}

static void presents_are_read_back(void **state)
{
    struct identity_present p = {.connection = 0x0102030405060708, .address = SLICE_LITERAL("2001:db8::7"), .count = 2,
                                 .der = {SLICE_LITERAL("first"), SLICE_LITERAL("second one")}};
    struct identity_present back;
    struct slice body;

    (void)state;
    assert_true(identity_send_present(ends[0], &p, NULL));
    body = received(IDENTITY_PRESENT);
    assert_true(identity_read_present(body, &back, NULL));
    assert_true(back.connection == p.connection && back.count == 2);
    assert_true(slice_equal(back.address, p.address));
    assert_true(slice_equal(back.der[0], p.der[0]) && slice_equal(back.der[1], p.der[1]));
    assert_false(reads_with(body, 8 + 2 + p.address.len, 11, read_present));
    assert_false(reads_with(body, 8 + 2 + p.address.len, 0, read_present));
    refuses_other_lengths(body, read_present);
}

static void presents_out_of_bounds_are_refused(void **state)
{
    static uint8_t large[IDENTITY_CERTIFICATE_MAX + 1];
    struct identity_present p = {.address = SLICE_LITERAL("::1"), .count = 1, .der = {slice_of(large, sizeof large)}};
    uint8_t body[8 + 2 + 3 + 1 + 4 + sizeof large] = {[9] = 3, [13] = 1, [16] = sizeof large >> 8, [17] = sizeof large & 0xff};

    (void)state;
    assert_false(identity_send_present(ends[0], &p, NULL));
    assert_false(read_present(slice_of(body, sizeof body), NULL));
    p.der[0].len = IDENTITY_CERTIFICATE_MAX;
    assert_true(identity_send_present(ends[0], &p, NULL));
    p.der[0].len = 0;
    assert_false(identity_send_present(ends[0], &p, NULL));
    p.der[0].len = 1;
    p.count = 0;
    assert_false(identity_send_present(ends[0], &p, NULL));
    p.count = IDENTITY_CHAIN_MAX + 1;
    assert_false(identity_send_present(ends[0], &p, NULL));
    p.count = 1;
    p.address.len = 0;
    assert_false(identity_send_present(ends[0], &p, NULL));
}

/* Each may be long, but no handshake has more of them together. */
static void presents_of_too_much_are_refused(void **state)
{
    static uint8_t large[IDENTITY_CERTIFICATE_MAX];
    struct identity_present p = {.address = SLICE_LITERAL("::1"), .count = 3, .der = {slice_of(large, sizeof large), slice_of(large, sizeof large - 1), slice_of(large, 1)}};
    uint8_t *longer;
    struct slice body;
    struct err e = {0};

    (void)state;
    assert_true(identity_send_present(ends[0], &p, NULL));
    body = received(IDENTITY_PRESENT);
    assert_true(body.len <= IDENTITY_PRESENT_BODY);
    assert_true(read_present(body, NULL));
    /* The last one is a byte longer. */
    longer = mem_zalloc(1, body.len + 1);
    memcpy(longer, body.at, body.len);
    longer[body.len - 2] = 2;
    assert_false(read_present(slice_of(longer, body.len + 1), &e));
    assert_non_null(strstr(e.text, "at most 32768"));
    free(longer);
    free((void *)(uintptr_t)body.at);
    p.der[2].len = 2;
    assert_false(identity_send_present(ends[0], &p, NULL));
}

static bool read_gone(struct slice body, struct err *e)
{
    uint64_t connection;

    return identity_read_gone(body, &connection, e);
}

static void gones_are_read_back(void **state)
{
    uint64_t connection;
    struct slice body;

    (void)state;
    assert_true(identity_send_gone(ends[0], 77, NULL));
    body = received(IDENTITY_GONE);
    assert_true(identity_read_gone(body, &connection, NULL));
    assert_int_equal(connection, 77);
    refuses_other_lengths(body, read_gone);
}

static bool read_verdict(struct slice body, struct err *e)
{
    struct identity_verdict v;

    return identity_read_verdict(body, &v, e);
}

static void verdicts_are_read_back(void **state)
{
    struct identity_verdict v = {.connection = 9, .check = IDENTITY_REVOKED, .reason = SLICE_LITERAL("serial 0A: revoked")}, back;
    struct slice body;

    (void)state;
    assert_true(identity_send_verdict(ends[0], &v, NULL));
    body = received(IDENTITY_VERDICT);
    assert_true(identity_read_verdict(body, &back, NULL));
    assert_true(back.connection == 9 && back.profiles == 0 && back.check == IDENTITY_REVOKED && slice_equal(back.reason, v.reason));
    assert_false(reads_with(body, 8, 1 << ROSTER_READER, read_verdict)); /* a profile, though revoked */
    assert_false(reads_with(body, 9, IDENTITY_PASSED, read_verdict));    /* passed, but for nothing */
    assert_false(reads_with(body, 9, IDENTITY_CHECKS, read_verdict));
    refuses_other_lengths(body, read_verdict);

    v = (struct identity_verdict){.connection = 9, .profiles = 1 << ROSTER_READER | 1 << ROSTER_FUNCTIONAL, .barred = 1 << ROSTER_TECHNICAL};
    assert_true(identity_send_verdict(ends[0], &v, NULL));
    body = received(IDENTITY_VERDICT);
    assert_true(identity_read_verdict(body, &back, NULL));
    assert_int_equal(back.profiles, v.profiles);
    assert_int_equal(back.barred, v.barred);
    assert_false(reads_with(body, 10, 1 << ROSTER_READER, read_verdict)); /* held and barred */
    assert_false(reads_with(body, 8, 1, read_verdict)); /* no profile has number 0 */
    assert_false(reads_with(body, 8, 1 << 5, read_verdict));
    assert_false(reads_with(body, 10, 1 << 5, read_verdict));
    free((void *)(uintptr_t)body.at);
}

static void verdicts_that_contradict_themselves_are_not_sent(void **state)
{
    struct identity_verdict v = {.check = IDENTITY_REVOKED, .profiles = 1 << ROSTER_READER};

    (void)state;
    assert_false(identity_send_verdict(ends[0], &v, NULL));
    v = (struct identity_verdict){.check = IDENTITY_PASSED};
    assert_false(identity_send_verdict(ends[0], &v, NULL));
    v = (struct identity_verdict){.check = IDENTITY_PASSED, .profiles = 1 << 5};
    assert_false(identity_send_verdict(ends[0], &v, NULL));
    v = (struct identity_verdict){.check = IDENTITY_PASSED, .profiles = 1 << ROSTER_READER, .barred = 1 << ROSTER_READER};
    assert_false(identity_send_verdict(ends[0], &v, NULL));
}

/* A peer's words are many; the verdict must arrive all the same. */
static void long_reasons_are_cut(void **state)
{
    static char reason[IDENTITY_REASON_MAX * 2];
    struct identity_verdict v = {.check = IDENTITY_FOREIGN, .reason = slice_of(reason, sizeof reason)}, back;
    struct slice body;

    (void)state;
    memset(reason, 'x', sizeof reason);
    assert_true(identity_send_verdict(ends[0], &v, NULL));
    body = received(IDENTITY_VERDICT);
    assert_true(identity_read_verdict(body, &back, NULL));
    assert_int_equal(back.reason.len, IDENTITY_REASON_MAX);
    free((void *)(uintptr_t)body.at);
}

static bool read_server(struct slice body, struct err *e)
{
    struct identity_server s;

    return identity_read_server(body, &s, e);
}

static bool read_staple(struct slice body, struct err *e)
{
    struct slice response;

    return identity_read_staple(body, &response, e);
}

static void servers_and_staples_are_read_back(void **state)
{
    struct identity_server s = {.chain = SLICE_LITERAL("chain"), .anchors = SLICE_LITERAL("anchors"), .depth = 2}, back;
    struct slice body, response;

    (void)state;
    assert_true(identity_send_server(ends[0], &s, NULL));
    body = received(IDENTITY_SERVER);
    assert_true(identity_read_server(body, &back, NULL));
    assert_true(slice_equal(back.chain, s.chain) && slice_equal(back.anchors, s.anchors) && back.depth == 2);
    assert_false(reads_with(body, body.len - 1, IDENTITY_DEPTH_MAX + 1, read_server));
    refuses_other_lengths(body, read_server);
    s.anchors.len = 0;
    assert_false(identity_send_server(ends[0], &s, NULL));

    assert_true(identity_send_staple(ends[0], SLICE_LITERAL("response"), NULL));
    body = received(IDENTITY_STAPLE);
    assert_true(identity_read_staple(body, &response, NULL) && slice_is(response, "response"));
    refuses_other_lengths(body, read_staple);
    assert_true(identity_send_staple(ends[0], slice_of(NULL, 0), NULL));
    body = received(IDENTITY_STAPLE);
    assert_true(identity_read_staple(body, &response, NULL) && response.len == 0);
    free((void *)(uintptr_t)body.at);
}

static bool read_overrides(struct slice body, struct err *e)
{
    struct identity_overrides o;

    return identity_read_overrides(body, &o, e);
}

static void overrides_are_read_back(void **state)
{
    struct identity_overrides o = {.count = 2, .at = {{ROSTER_DEPOSITOR, 1000, SLICE_LITERAL("CN=func-admin-1"), SLICE_LITERAL("responder down")},
                                                      {ROSTER_READER, INT64_MAX, {0}, {0}}}}, back;
    struct slice body;

    (void)state;
    assert_true(identity_send_overrides(ends[0], &o, NULL));
    body = received(IDENTITY_OVERRIDES);
    assert_true(identity_read_overrides(body, &back, NULL));
    assert_true(back.count == 2 && back.at[0].profile == ROSTER_DEPOSITOR && back.at[0].until == 1000 && back.at[1].until == INT64_MAX);
    assert_true(slice_equal(back.at[0].by, o.at[0].by) && slice_equal(back.at[0].why, o.at[0].why));
    assert_false(reads_with(body, 1, 0, read_overrides));
    assert_false(reads_with(body, 1, 5, read_overrides));
    assert_false(reads_with(body, 2, 0x80, read_overrides)); /* an end before 1970 */
    assert_false(reads_with(body, 0, 1, read_overrides));
    assert_false(reads_with(body, 0, 65, read_overrides));
    refuses_other_lengths(body, read_overrides);
    o.count = 0;
    assert_true(identity_send_overrides(ends[0], &o, NULL));
    refuses_other_lengths(received(IDENTITY_OVERRIDES), read_overrides);
    o = (struct identity_overrides){.count = 1, .at = {{.profile = ROSTER_DEPOSITOR, .until = 0}}};
    assert_false(identity_send_overrides(ends[0], &o, NULL));
}

static bool read_fetch(struct slice body, struct err *e)
{
    struct identity_fetch f;

    return identity_read_fetch(body, &f, e);
}

static void fetches_are_read_back(void **state)
{
    struct identity_fetch f = {.request = 5, .url = SLICE_LITERAL("http://crl.example/a.crl"), .type = SLICE_LITERAL("application/ocsp-request"),
                               .body = SLICE_LITERAL("question"), .most = 1000, .timeout = 5000}, back;
    struct slice body;

    (void)state;
    assert_true(identity_send_fetch(ends[0], &f, NULL));
    body = received(IDENTITY_FETCH);
    assert_true(identity_read_fetch(body, &back, NULL));
    assert_true(back.request == 5 && slice_equal(back.url, f.url) && slice_equal(back.type, f.type) && slice_equal(back.body, f.body));
    assert_true(back.most == 1000 && back.timeout == 5000);
    assert_false(reads_with(body, 6, 'g', read_fetch));
    assert_false(reads_with(body, 20, '\n', read_fetch));
    refuses_other_lengths(body, read_fetch);
}

static void fetches_out_of_bounds_are_refused(void **state)
{
    static const char *const urls[] = {"", "http://", "ftp://host/x", "file:///etc/passwd", "http://host/a b", "http://host/\r\nx: y", "HTTP:/x", "https://h\x80"};
    struct identity_fetch f = {.most = 1, .timeout = 1};

    (void)state;
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        f.url = slice_text(urls[i]);
        assert_false(identity_send_fetch(ends[0], &f, NULL));
    }
    f.url = SLICE_LITERAL("https://host/");
    assert_true(identity_send_fetch(ends[0], &f, NULL));
    f.body = SLICE_LITERAL("content without a type");
    assert_false(identity_send_fetch(ends[0], &f, NULL));
    f.type = SLICE_LITERAL("a/b\r\nHost: other");
    assert_false(identity_send_fetch(ends[0], &f, NULL));
    f.type = SLICE_LITERAL("a/b");
    f.most = 0;
    assert_false(identity_send_fetch(ends[0], &f, NULL));
    f.most = IDENTITY_BODY_MAX + 1ull;
    assert_false(identity_send_fetch(ends[0], &f, NULL));
    f.most = IDENTITY_BODY_MAX;
    f.timeout = 0;
    assert_false(identity_send_fetch(ends[0], &f, NULL));
}

static bool read_fetched(struct slice body, struct err *e)
{
    struct identity_fetched f;

    return identity_read_fetched(body, &f, e);
}

static void answers_are_read_back(void **state)
{
    struct identity_fetched f = {.request = 5, .status = 200, .reason = SLICE_LITERAL("OK"), .body = SLICE_LITERAL("content")}, back;
    struct slice body;

    (void)state;
    assert_true(identity_send_fetched(ends[0], &f, NULL));
    body = received(IDENTITY_FETCHED);
    assert_true(identity_read_fetched(body, &back, NULL));
    assert_true(back.request == 5 && back.status == 200 && slice_equal(back.body, f.body) && slice_equal(back.reason, f.reason));
    assert_false(reads_with(body, 4, 0xff, read_fetched));
    refuses_other_lengths(body, read_fetched);
    f.status = 0;
    assert_false(identity_send_fetched(ends[0], &f, NULL)); /* content, but nobody answered */
}

static void the_largest_content_fits_in_a_message(void **state)
{
    struct identity_fetched f = {.status = 200, .body = slice_of(mem_zalloc(1, IDENTITY_BODY_MAX), IDENTITY_BODY_MAX)};

    (void)state;
    assert_true(identity_send_fetched(ends[0], &f, NULL));
    free((void *)(uintptr_t)f.body.at);
}

static void health_is_sent(void **state)
{
    struct health h = {0}, back;
    struct slice body;

    (void)state;
    for (unsigned i = 0; i < HEALTH_ITEMS_MAX; i++) {
        char name[HEALTH_NAME_MAX], note[HEALTH_NOTE_MAX];

        memset(name, 'a' + (int)i, sizeof name);
        memset(note, 'z', sizeof note);
        name[sizeof name - 1] = note[sizeof note - 1] = '\0';
        health_set(&h, name, true, note);
    }
    assert_true(identity_send_health(ends[0], &h, NULL));
    body = received(IDENTITY_HEALTH);
    assert_true(health_read(body, &back, NULL));
    assert_int_equal(back.count, HEALTH_ITEMS_MAX);
    free((void *)(uintptr_t)body.at);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_ends, close_ends)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(presents_are_read_back), TEST(presents_out_of_bounds_are_refused), TEST(presents_of_too_much_are_refused), TEST(gones_are_read_back), TEST(verdicts_are_read_back),
        TEST(verdicts_that_contradict_themselves_are_not_sent), TEST(long_reasons_are_cut), TEST(servers_and_staples_are_read_back), TEST(overrides_are_read_back),
        TEST(fetches_are_read_back), TEST(fetches_out_of_bounds_are_refused), TEST(answers_are_read_back), TEST(the_largest_content_fits_in_a_message),
        TEST(health_is_sent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
