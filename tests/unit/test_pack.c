/* Packs and their records: what is sealed opens, and nothing else does. Includes the source to reach the counter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/formats/pack.c"

static const uint8_t KEY_A[PACK_KEY_SIZE] = "0123456789abcdef0123456789abcde";
static const uint8_t KEY_B[PACK_KEY_SIZE] = "another key, which nobody knows";

struct fixture {
    struct pack_writer *w;
    struct pack_reader *r;
    struct buf pack, plain;
};

static struct slice key_slice(const uint8_t *key)
{
    return slice_of(key, PACK_KEY_SIZE);
}

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(1, sizeof(*f));
    struct slice keys[] = {key_slice(KEY_B), key_slice(KEY_A)};

    f->w = pack_writer_new(key_slice(KEY_A), "4512/1", NULL);
    f->r = pack_reader_new(keys, 2, "4512/1", NULL);
    assert_non_null(f->w);
    assert_non_null(f->r);
    buf_init(&f->pack, 1 << 20);
    buf_init_secret(&f->plain, 1 << 20);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    pack_writer_free(f->w);
    pack_reader_free(f->r);
    buf_free(&f->pack);
    buf_free(&f->plain);
    free(f);
    return 0;
}

static void seal(struct fixture *f, const char *text)
{
    struct err e = {0};

    assert_true(pack_seal(f->w, PACK_DEPOSITS, slice_text(text), &f->pack, &e));
}

static void assert_refused(struct fixture *f, struct slice pack, enum err_code code)
{
    struct err e = {0};
    size_t before = f->plain.len;

    assert_false(pack_open(f->r, pack, PACK_DEPOSITS, &f->plain, &e));
    assert_int_equal(e.code, code);
    assert_int_equal(f->plain.len, before);
}

static void what_is_sealed_opens(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};

    seal(f, "one, two and a longer part that is not a block");
    assert_int_equal(f->pack.len, 46 + PACK_OVERHEAD);
    assert_null(memmem(f->pack.data, f->pack.len, "longer", 6));
    assert_true(pack_open(f->r, buf_slice(&f->pack), PACK_DEPOSITS, &f->plain, &e));
    assert_true(slice_is(buf_slice(&f->plain), "one, two and a longer part that is not a block"));
    assert_true(pack_open(f->r, buf_slice(&f->pack), PACK_DEPOSITS, &f->plain, &e));
    assert_int_equal(f->plain.len, 92);
}

static void an_empty_pack_opens(void **state)
{
    struct fixture *f = *state;

    seal(f, "");
    assert_int_equal(f->pack.len, PACK_OVERHEAD);
    assert_true(pack_open(f->r, buf_slice(&f->pack), PACK_DEPOSITS, &f->plain, NULL));
    assert_int_equal(f->plain.len, 0);
}

/* The format of PROTOCOL.md, computed here step by step: another implementation could open it. */
static void header_is_as_specified(void **state)
{
    struct fixture *f = *state;
    uint8_t id[32];
    const uint8_t *h;

    seal(f, "first");
    h = f->pack.data;
    EVP_Digest(KEY_A, PACK_KEY_SIZE, id, NULL, EVP_sha256(), NULL);
    assert_memory_equal(h, "CFPK\x01\x01\x00\x00", 8);
    assert_memory_equal(h + 8, id, 8);
    assert_memory_equal(h + 32, "\x00\x00\x00\x01", 4);
    buf_reset(&f->pack);
    seal(f, "second");
    assert_memory_equal(f->pack.data + 32, "\x00\x00\x00\x02", 4);
}

static void every_altered_byte_is_refused(void **state)
{
    struct fixture *f = *state;

    seal(f, "some records");
    for (size_t i = 0; i < f->pack.len; i++) {
        bool key_id = i >= AT_KEY_ID && i < AT_SALT;

        f->pack.data[i] ^= 0x10;
        assert_refused(f, buf_slice(&f->pack), key_id ? ERR_DENIED : ERR_INPUT);
        f->pack.data[i] ^= 0x10;
    }
    assert_true(pack_open(f->r, buf_slice(&f->pack), PACK_DEPOSITS, &f->plain, NULL));
}

static void every_truncation_is_refused(void **state)
{
    struct fixture *f = *state;

    seal(f, "some records");
    for (size_t len = 0; len < f->pack.len; len++)
        assert_refused(f, slice_of(f->pack.data, len), ERR_INPUT);
}

static void another_vault_or_key_or_kind_is_refused(void **state)
{
    struct fixture *f = *state;
    struct pack_reader *mine = f->r;
    struct slice b = key_slice(KEY_B), a = key_slice(KEY_A);

    seal(f, "some records");
    f->r = pack_reader_new(&a, 1, "4512/2", NULL);
    assert_refused(f, buf_slice(&f->pack), ERR_INPUT);
    pack_reader_free(f->r);
    f->r = pack_reader_new(&b, 1, "4512/1", NULL);
    assert_refused(f, buf_slice(&f->pack), ERR_DENIED);
    pack_reader_free(f->r);
    f->r = mine;
    assert_false(pack_open(f->r, buf_slice(&f->pack), PACK_ANSWERS, &f->plain, NULL));
}

static void keys_of_another_size_are_refused(void **state)
{
    struct slice keys[PACK_KEYS_MAX + 1];
    struct err e = {0};

    (void)state;
    assert_null(pack_writer_new(slice_of(KEY_A, 31), "4512/1", &e));
    assert_int_equal(e.code, ERR_INPUT);
    for (unsigned i = 0; i <= PACK_KEYS_MAX; i++)
        keys[i] = key_slice(KEY_A);
    assert_null(pack_reader_new(keys, 0, "4512/1", NULL));
    assert_null(pack_reader_new(keys, PACK_KEYS_MAX + 1, "4512/1", NULL));
    keys[1].len = 16;
    assert_null(pack_reader_new(keys, 2, "4512/1", NULL));
}

/* A nonce must never repeat under one salt. */
static void counter_never_wraps(void **state)
{
    struct fixture *f = *state;
    uint8_t salt[PACK_SALT_SIZE];

    f->w->counter = UINT32_MAX - 1;
    seal(f, "last of its salt");
    memcpy(salt, f->pack.data + AT_SALT, sizeof(salt));
    assert_memory_equal(f->pack.data + AT_COUNTER, "\xff\xff\xff\xff", 4);
    assert_true(pack_open(f->r, buf_slice(&f->pack), PACK_DEPOSITS, &f->plain, NULL));
    buf_reset(&f->pack);
    seal(f, "first of the next");
    assert_memory_not_equal(f->pack.data + AT_SALT, salt, sizeof(salt));
    assert_memory_equal(f->pack.data + AT_COUNTER, "\x00\x00\x00\x01", 4);
    assert_true(pack_open(f->r, buf_slice(&f->pack), PACK_DEPOSITS, &f->plain, NULL));
}

/* More writers than places for derived keys: all still open, in any order. */
static void many_writers_are_read(void **state)
{
    struct fixture *f = *state;
    enum { WRITERS = DERIVED_MAX * 2 + 1 };
    struct buf packs[WRITERS];

    for (unsigned i = 0; i < WRITERS; i++) {
        struct pack_writer *w = pack_writer_new(key_slice(KEY_A), "4512/1", NULL);

        buf_init(&packs[i], 1000);
        assert_true(pack_seal(w, PACK_DEPOSITS, SLICE_LITERAL("x"), &packs[i], NULL));
        pack_writer_free(w);
    }
    for (unsigned i = 0; i < 5 * WRITERS; i++)
        assert_true(pack_open(f->r, buf_slice(&packs[i * 7 % WRITERS]), PACK_DEPOSITS, &f->plain, NULL));
    assert_int_equal(f->plain.len, 5 * WRITERS);
    for (unsigned i = 0; i < WRITERS; i++)
        buf_free(&packs[i]);
}

static void a_full_buffer_is_said_so(void **state)
{
    struct fixture *f = *state;
    struct buf small;
    struct err e = {0};

    buf_init(&small, PACK_OVERHEAD + 4);
    assert_false(pack_seal(f->w, PACK_DEPOSITS, SLICE_LITERAL("12345"), &small, &e));
    assert_int_equal(e.code, ERR_INPUT);
    assert_int_equal(small.len, 0);
    assert_true(pack_seal(f->w, PACK_DEPOSITS, SLICE_LITERAL("1234"), &small, NULL));
    f->plain.max = 7;
    assert_true(pack_open(f->r, buf_slice(&small), PACK_DEPOSITS, &f->plain, NULL));
    assert_refused(f, buf_slice(&small), ERR_RETRY);
    buf_free(&small);
}

/* Seals `plain` by hand with any flags: what a holder of the key may write wrongly. */
static void seal_raw(struct fixture *f, uint8_t flags, struct slice body)
{
    uint8_t *at;

    buf_reset(&f->pack);
    at = buf_reserve(&f->pack, PACK_OVERHEAD + body.len, NULL);
    assert_non_null(at);
    assert_true(encrypt(f->w, PACK_DEPOSITS, flags, body, at, NULL));
    buf_commit(&f->pack, PACK_OVERHEAD + body.len);
}

static void repetitive_records_are_compressed(void **state)
{
    struct fixture *f = *state;
    char text[5000];

    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = "<IDOper>4512</IDOper>"[i % 21];
    assert_true(pack_seal(f->w, PACK_DEPOSITS, slice_of(text, sizeof(text)), &f->pack, NULL));
    assert_true(f->pack.len < 500);
    assert_int_equal(f->pack.data[AT_FLAGS], FLAG_LZ4);
    assert_true(pack_open(f->r, buf_slice(&f->pack), PACK_DEPOSITS, &f->plain, NULL));
    assert_true(slice_equal(buf_slice(&f->plain), slice_of(text, sizeof(text))));
    f->pack.data[AT_FLAGS] = 0;
    assert_refused(f, buf_slice(&f->pack), ERR_INPUT);
    f->pack.data[AT_FLAGS] = FLAG_LZ4;
    f->plain.max = f->plain.len + sizeof(text) - 1;
    assert_refused(f, buf_slice(&f->pack), ERR_RETRY);
}

static void random_records_are_not(void **state)
{
    struct fixture *f = *state;
    uint8_t bytes[3000];

    assert_int_equal(RAND_bytes(bytes, sizeof(bytes)), 1);
    assert_true(pack_seal(f->w, PACK_DEPOSITS, slice_of(bytes, sizeof(bytes)), &f->pack, NULL));
    assert_int_equal(f->pack.len, sizeof(bytes) + PACK_OVERHEAD);
    assert_true(pack_open(f->r, buf_slice(&f->pack), PACK_DEPOSITS, &f->plain, NULL));
    assert_true(slice_equal(buf_slice(&f->plain), slice_of(bytes, sizeof(bytes))));
}

static void malformed_compression_is_refused(void **state)
{
    struct fixture *f = *state;

    seal_raw(f, FLAG_LZ4, SLICE_LITERAL("\x00\x00\x01"));              /* shorter than its length */
    assert_refused(f, buf_slice(&f->pack), ERR_INPUT);
    seal_raw(f, FLAG_LZ4, SLICE_LITERAL("\x00\x00\x00\x00\x10q"));       /* of nothing */
    assert_refused(f, buf_slice(&f->pack), ERR_INPUT);
    seal_raw(f, FLAG_LZ4, SLICE_LITERAL("\x00\x00\x00\x05\x10q"));       /* longer than it is */
    assert_refused(f, buf_slice(&f->pack), ERR_INPUT);
    seal_raw(f, FLAG_LZ4, SLICE_LITERAL("\x00\x00\x00\x20\x1fq\x09\x00")); /* looks back before its beginning */
    assert_refused(f, buf_slice(&f->pack), ERR_INPUT);
    seal_raw(f, FLAG_LZ4, SLICE_LITERAL("\xff\xff\xff\xff\x10q"));
    assert_refused(f, buf_slice(&f->pack), ERR_INPUT);
    seal_raw(f, FLAG_LZ4, SLICE_LITERAL("\x00\x00\x00\x01\x10q"));       /* right */
    assert_true(pack_open(f->r, buf_slice(&f->pack), PACK_DEPOSITS, &f->plain, NULL));
    assert_true(slice_is(buf_slice(&f->plain), "q"));
    seal_raw(f, 2, SLICE_LITERAL("q"));
    assert_refused(f, buf_slice(&f->pack), ERR_INPUT);
}

static void deposits_are_read_as_written(void **state)
{
    struct fixture *f = *state;
    struct pack_deposit in = {.depositor = 7,
                              .received = 1700000000123,
                              .timestamp = 1700000000001,
                              .has_timestamp = true,
                              .client_id = SLICE_LITERAL("C-1"),
                              .digest = SLICE_LITERAL("abcd"),
                              .digest_algo = SLICE_LITERAL("SHA-1"),
                              .body = SLICE_LITERAL("<A/>")};
    struct pack_deposit out;
    struct wire_writer w = wire_write(&f->plain);
    struct wire_reader r;
    struct slice record;

    pack_put_deposit(&w, &in);
    assert_int_equal(f->plain.len, PACK_DEPOSIT_HEAD + 3 + 4 + 5 + 4);
    assert_int_equal(f->plain.len, pack_deposit_size(&in));
    in.has_timestamp = false;
    in.bytes_message = true;
    in.client_id.len = 0;
    pack_put_deposit_head(&w, &in);
    wire_put_fixed(&w, in.body.at, in.body.len);
    assert_true(wire_ok(&w, "test", NULL));
    r = wire_read(buf_slice(&f->plain));
    assert_true(pack_next(&r, &record));
    assert_true(pack_get_deposit(record, &out, NULL));
    assert_int_equal(out.depositor, 7);
    assert_int_equal(out.received, 1700000000123);
    assert_int_equal(out.timestamp, 1700000000001);
    assert_true(out.has_timestamp && !out.bytes_message);
    assert_true(slice_is(out.client_id, "C-1") && slice_is(out.digest, "abcd"));
    assert_true(slice_is(out.digest_algo, "SHA-1") && slice_is(out.body, "<A/>"));
    assert_true(!out.asks_reply && out.reply.len == 0 && out.correlation.len == 0);
    for (size_t len = 0; len < record.len; len++)
        assert_false(pack_get_deposit(slice_of(record.at, len), &out, NULL));
    assert_true(pack_next(&r, &record));
    assert_true(pack_get_deposit(record, &out, NULL));
    assert_true(!out.has_timestamp && out.bytes_message && out.client_id.len == 0);
    assert_false(pack_next(&r, &record));
    assert_true(wire_end(&r, "test", NULL));
}

/* The name and what is to come back with the answer, either of which may be empty. */
static void replies_are_asked_for_as_written(void **state)
{
    struct fixture *f = *state;
    struct pack_deposit in = {.depositor = 7, .client_id = SLICE_LITERAL("C-1"), .body = SLICE_LITERAL("<A/>")}, out;
    struct wire_writer w = wire_write(&f->plain);
    struct slice record;

    in.reply = SLICE_LITERAL("not asked for: not written");
    pack_put_deposit(&w, &in);
    assert_int_equal(f->plain.len, PACK_DEPOSIT_HEAD + 3 + 4);
    assert_int_equal(f->plain.len, pack_deposit_size(&in));
    buf_reset(&f->plain);
    in.asks_reply = true;
    in.reply = SLICE_LITERAL("ID:a-1:1:1");
    for (unsigned correlated = 0; correlated < 2; correlated++) {
        in.correlation = correlated ? SLICE_LITERAL("42") : slice_of(NULL, 0);
        buf_reset(&f->plain);
        pack_put_deposit(&w, &in);
        assert_int_equal(f->plain.len, PACK_DEPOSIT_HEAD + 3 + 2 + 10 + 2 + in.correlation.len + 4);
        assert_int_equal(f->plain.len, pack_deposit_size(&in));
        assert_int_equal(f->plain.data[4 + 20], 4);
        record = slice_of(f->plain.data + 4, f->plain.len - 4);
        assert_true(pack_get_deposit(record, &out, NULL));
        assert_true(out.asks_reply && slice_is(out.reply, "ID:a-1:1:1") && slice_equal(out.correlation, in.correlation));
        assert_true(slice_is(out.client_id, "C-1") && slice_is(out.body, "<A/>"));
        for (size_t len = 0; len < record.len; len++)
            assert_false(pack_get_deposit(slice_of(record.at, len), &out, NULL));
    }
    assert_true(wire_ok(&w, "test", NULL));
}

/* printf '\0\0\0\7ID:a-1:1:1' | sha256sum */
static void a_temporary_queue_has_one_name_for_all(void **state)
{
    char key[PACK_REPLY_KEY_SIZE], other[PACK_REPLY_KEY_SIZE];

    (void)state;
    assert_true(pack_reply_key(7, SLICE_LITERAL("ID:a-1:1:1"), key, NULL));
    assert_string_equal(key, "bbaac9e745504e91dd84c6d50baf6f9f");
    assert_true(pack_reply_key(8, SLICE_LITERAL("ID:a-1:1:1"), other, NULL));
    assert_string_not_equal(key, other);
}

static void hostile_records_are_refused(void **state)
{
    struct fixture *f = *state;
    struct pack_deposit d = {.body = SLICE_LITERAL("<A/>")}, out;
    struct wire_writer w = wire_write(&f->plain);
    struct wire_reader r;
    struct slice record;

    pack_put_deposit(&w, &d);
    f->plain.data[4 + 20] = 8;
    assert_false(pack_get_deposit(slice_of(f->plain.data + 4, f->plain.len - 4), &out, NULL));
    f->plain.data[4 + 20] = 3;
    assert_true(pack_get_deposit(slice_of(f->plain.data + 4, f->plain.len - 4), &out, NULL));
    wire_put_u8(&w, 0);
    assert_false(pack_get_deposit(slice_of(f->plain.data + 4, f->plain.len - 4), &out, NULL));
    r = wire_read(SLICE_LITERAL("\xff\xff\xff\xff"
                                "ab"));
    assert_false(pack_next(&r, &record));
    assert_false(wire_end(&r, "test", NULL));
    r = wire_read(SLICE_LITERAL("\x00\x00"));
    assert_false(pack_next(&r, &record));
    assert_false(wire_end(&r, "test", NULL));
}

static void answers_and_notices_are_read_as_written(void **state)
{
    struct fixture *f = *state;
    struct pack_answer in = {.status = PACK_INVALID,
                             .serial = 12,
                             .lot = 3,
                             .client_id = SLICE_LITERAL("C-1"),
                             .digest = SLICE_LITERAL("ff"),
                             .digest_algo = SLICE_LITERAL("SHA-256"),
                             .reason = SLICE_LITERAL("digest-mismatch")};
    struct pack_answer out;
    struct pack_archive notice = {1, 2, 3, 4}, read;
    struct wire_writer w = wire_write(&f->plain);

    pack_put_answer(&w, &in);
    f->plain.data[4 + PACK_ANSWER_REDELIVERIES] = 9;
    assert_true(pack_get_answer(slice_of(f->plain.data + 4, f->plain.len - 4), &out, NULL));
    assert_int_equal(out.status, PACK_INVALID);
    assert_int_equal(out.redeliveries, 9);
    assert_true(out.serial == 12 && out.lot == 3);
    assert_true(slice_is(out.reason, "digest-mismatch") && slice_is(out.digest_algo, "SHA-256"));
    assert_true(!out.has_correlation && out.correlation.len == 0);
    f->plain.data[4] = 3;
    assert_false(pack_get_answer(slice_of(f->plain.data + 4, f->plain.len - 4), &out, NULL));
    f->plain.data[4] = 128 + PACK_INVALID; /* a correlation, which is not there */
    assert_false(pack_get_answer(slice_of(f->plain.data + 4, f->plain.len - 4), &out, NULL));
    buf_reset(&f->plain);
    in.has_correlation = true;
    in.correlation = SLICE_LITERAL("42");
    pack_put_answer(&w, &in);
    assert_int_equal(f->plain.data[4], 128 + PACK_INVALID);
    assert_true(pack_get_answer(slice_of(f->plain.data + 4, f->plain.len - 4), &out, NULL));
    assert_true(out.status == PACK_INVALID && out.has_correlation && slice_is(out.correlation, "42"));
    f->plain.data[4] = 128 + 3;
    assert_false(pack_get_answer(slice_of(f->plain.data + 4, f->plain.len - 4), &out, NULL));
    buf_reset(&f->plain);
    pack_put_archive(&w, &notice);
    assert_int_equal(f->plain.len, 32);
    assert_true(pack_get_archive(buf_slice(&f->plain), &read, NULL));
    assert_true(read.lot == 1 && read.date == 2 && read.first_serial == 3 && read.last_serial == 4);
    assert_false(pack_get_archive(slice_of(f->plain.data, 31), &read, NULL));
    assert_string_equal(pack_status_name(PACK_OK), "CFJL_OK");
    assert_string_equal(pack_status_name(PACK_DUPLICATE), "CFJL_DUPLICATE_EVENT");
    assert_string_equal(pack_status_name(PACK_INVALID), "CFJL_INVALID_MESSAGE");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_sealed_opens, setup, teardown),
        cmocka_unit_test_setup_teardown(an_empty_pack_opens, setup, teardown),
        cmocka_unit_test_setup_teardown(header_is_as_specified, setup, teardown),
        cmocka_unit_test_setup_teardown(repetitive_records_are_compressed, setup, teardown),
        cmocka_unit_test_setup_teardown(random_records_are_not, setup, teardown),
        cmocka_unit_test_setup_teardown(malformed_compression_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(every_altered_byte_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(every_truncation_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(another_vault_or_key_or_kind_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(keys_of_another_size_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(counter_never_wraps, setup, teardown),
        cmocka_unit_test_setup_teardown(many_writers_are_read, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_buffer_is_said_so, setup, teardown),
        cmocka_unit_test_setup_teardown(deposits_are_read_as_written, setup, teardown),
        cmocka_unit_test_setup_teardown(replies_are_asked_for_as_written, setup, teardown),
        cmocka_unit_test(a_temporary_queue_has_one_name_for_all),
        cmocka_unit_test_setup_teardown(hostile_records_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(answers_and_notices_are_read_as_written, setup, teardown),
    };

    return cmocka_run_group_tests_name("pack", tests, NULL, NULL);
}
