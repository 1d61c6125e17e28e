/* The relay's packs: what shares a pack, when it is ended, and that nothing is forgotten before it is confirmed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <openssl/rand.h>

#include "ingest/queues/packing.h"

static const uint8_t key[PACK_KEY_SIZE] = {1, 2, 3};

struct bench {
    struct pack_writer *writer;
    struct pack_reader *reader;
    struct packing packing;
};

static void bench_open(struct bench *b, size_t aim, unsigned window)
{
    struct slice k = slice_of(key, sizeof key);
    struct err e = {0};

    b->writer = pack_writer_new(k, "4512/1", &e);
    b->reader = pack_reader_new(&k, 1, "4512/1", &e);
    assert_non_null(b->writer);
    assert_non_null(b->reader);
    packing_init(&b->packing, b->writer, aim, 1 << 20, window);
}

static void bench_close(struct bench *b)
{
    packing_free(&b->packing);
    pack_writer_free(b->writer);
    pack_reader_free(b->reader);
}

/* A group of `n` records whose ClientId is "<ticket>-<i>". */
static void make_group(struct buf *out, uint64_t ticket, unsigned n, size_t body)
{
    static uint8_t bytes[100000];
    struct wire_writer w;

    /* Nothing that compresses: lengths in these tests are those of the records. */
    assert_int_equal(RAND_bytes(bytes, (int)body), 1);
    buf_init(out, 1 << 24);
    w = wire_write(out);
    for (unsigned i = 0; i < n; i++) {
        char id[32];
        struct pack_deposit d = {.depositor = 7, .body = slice_of(bytes, body)};

        snprintf(id, sizeof id, "%llu-%u", (unsigned long long)ticket, i);
        d.client_id = slice_text(id);
        pack_put_deposit(&w, &d);
    }
    assert_true(wire_ok(&w, "group", NULL));
}

static bool add(struct bench *b, uint32_t front, uint64_t ticket, unsigned n, size_t body)
{
    struct buf group;
    unsigned deposits = 0;
    struct err e = {0};
    bool ok;

    make_group(&group, ticket, n, body);
    ok = packing_add(&b->packing, front, 1, ticket, buf_slice(&group), &deposits, &e);
    buf_free(&group);
    if (ok)
        assert_int_equal(deposits, n);
    return ok;
}

static unsigned records_in(struct bench *b, const struct packing_pack *pack)
{
    struct buf plain;
    struct err e = {0};
    struct wire_reader r;
    struct slice record;
    unsigned n = 0;

    buf_init(&plain, 1 << 24);
    assert_true(pack_open(b->reader, buf_slice(&pack->bytes), PACK_DEPOSITS, &plain, &e));
    r = wire_read(buf_slice(&plain));
    while (pack_next(&r, &record)) {
        struct pack_deposit d;

        assert_true(pack_get_deposit(record, &d, &e));
        n++;
    }
    assert_true(wire_end(&r, "pack", &e));
    buf_free(&plain);
    return n;
}

static void one_deposit_leaves_at_once_when_idle(void **state)
{
    struct bench b;
    struct packing_pack *pack;

    (void)state;
    bench_open(&b, 65536, 4);
    assert_true(add(&b, 0, 1, 1, 500));
    assert_true(packing_seal(&b.packing, false, NULL));
    pack = packing_next(&b.packing, 0);
    assert_non_null(pack);
    assert_int_equal(records_in(&b, pack), 1);
    bench_close(&b);
}

static void deposits_gather_while_a_pack_is_on_its_way(void **state)
{
    struct bench b;
    struct packing_pack *pack;

    (void)state;
    bench_open(&b, 65536, 4);
    assert_true(add(&b, 0, 1, 1, 500));
    assert_true(packing_seal(&b.packing, false, NULL));
    packing_sent(&b.packing, packing_next(&b.packing, 0), 1);
    for (uint64_t t = 2; t < 12; t++)
        assert_true(add(&b, t % 2 == 0 ? 0 : 1, t, 1, 500));
    assert_true(packing_seal(&b.packing, false, NULL));
    assert_null(packing_next(&b.packing, 0));
    packing_remove(&b.packing, packing_find(&b.packing, 1, false));
    assert_true(packing_seal(&b.packing, false, NULL));
    pack = packing_next(&b.packing, 0);
    assert_non_null(pack);
    assert_int_equal(records_in(&b, pack), 10);
    assert_int_equal(pack->range_count, 2);
    assert_int_equal(pack->ranges[0].first, 2);
    assert_int_equal(pack->ranges[0].last, 10);
    bench_close(&b);
}

static void a_full_pack_does_not_wait_and_the_window_bounds(void **state)
{
    struct bench b;
    uint64_t tag = 0;
    struct packing_pack *pack;

    (void)state;
    bench_open(&b, 4096, 2);
    for (uint64_t t = 1; t <= 40; t++)
        assert_true(add(&b, 0, t, 1, 1000));
    while ((pack = packing_next(&b.packing, 0)) != NULL) {
        assert_true(pack->bytes.len <= 4096 + PACK_OVERHEAD);
        packing_sent(&b.packing, pack, ++tag);
    }
    assert_int_equal(tag, 2);
    bench_close(&b);
}

static void a_transaction_is_never_split(void **state)
{
    struct bench b;
    struct packing_pack *pack;

    (void)state;
    bench_open(&b, 4096, 8);
    assert_true(add(&b, 0, 1, 1, 100));
    assert_true(add(&b, 0, 2, 50, 1000));
    assert_true(add(&b, 0, 3, 1, 100));
    assert_true(packing_seal(&b.packing, true, NULL));
    pack = packing_next(&b.packing, 0);
    assert_int_equal(records_in(&b, pack), 1);
    packing_sent(&b.packing, pack, 1);
    pack = packing_next(&b.packing, 0);
    assert_int_equal(records_in(&b, pack), 50);
    assert_int_equal(pack->ranges[0].first, 2);
    assert_int_equal(pack->ranges[0].last, 2);
    bench_close(&b);
}

static void lost_and_refused_packs_come_again_in_order(void **state)
{
    struct bench b;
    struct packing_pack *first, *second;

    (void)state;
    bench_open(&b, 4096, 8);
    for (uint64_t t = 1; t <= 8; t++)
        assert_true(add(&b, 0, t, 1, 1000));
    first = packing_next(&b.packing, 0);
    packing_sent(&b.packing, first, 1);
    second = packing_next(&b.packing, 0);
    packing_sent(&b.packing, second, 2);
    assert_ptr_not_equal(first, second);
    packing_lost(&b.packing);
    assert_ptr_equal(packing_next(&b.packing, 0), first);
    packing_again(&b.packing, first, 500);
    assert_null(packing_next(&b.packing, 499)); /* nothing overtakes */
    assert_ptr_equal(packing_next(&b.packing, 500), first);
    packing_sent(&b.packing, first, 3);
    assert_ptr_equal(packing_next(&b.packing, 500), second);
    assert_null(packing_find(&b.packing, 2, true));
    bench_close(&b);
}

static void confirms_name_one_or_all_before(void **state)
{
    struct bench b;
    uint64_t tag = 0;
    struct packing_pack *pack;

    (void)state;
    bench_open(&b, 4096, 8);
    for (uint64_t t = 1; t <= 12; t++)
        assert_true(add(&b, 0, t, 1, 1000));
    while ((pack = packing_next(&b.packing, 0)) != NULL)
        packing_sent(&b.packing, pack, ++tag);
    assert_true(tag >= 3);
    assert_int_equal(packing_find(&b.packing, 2, false)->tag, 2);
    assert_null(packing_find(&b.packing, 99, false));
    while ((pack = packing_find(&b.packing, 2, true)) != NULL)
        packing_remove(&b.packing, pack);
    assert_int_equal(packing_find(&b.packing, tag, true)->tag, 3);
    bench_close(&b);
}

static void what_a_front_sends_is_checked(void **state)
{
    struct bench b;
    unsigned deposits;
    struct err e = {0};

    (void)state;
    bench_open(&b, 4096, 8);
    assert_false(packing_add(&b.packing, 0, 1, 1, SLICE_LITERAL("\0\0\0\5abc"), &deposits, &e));
    assert_int_equal(e.code, ERR_INPUT);
    assert_false(packing_add(&b.packing, 0, 1, 1, slice_of(NULL, 0), &deposits, NULL));
    assert_true(add(&b, 0, 5, 1, 10));
    assert_false(add(&b, 0, 5, 1, 10));
    assert_false(add(&b, 0, 4, 1, 10));
    bench_close(&b);
}

static void a_full_relay_takes_no_more(void **state)
{
    struct bench b;
    uint64_t t = 0;

    (void)state;
    bench_open(&b, 65536, 2);
    while (packing_has_room(&b.packing)) {
        assert_true(add(&b, 0, ++t, 1, 60000));
        assert_true(t < 100);
    }
    assert_true(b.packing.held >= 1 << 20);
    packing_remove(&b.packing, b.packing.packs[0]);
    assert_true(packing_has_room(&b.packing));
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_deposit_leaves_at_once_when_idle),
        cmocka_unit_test(deposits_gather_while_a_pack_is_on_its_way),
        cmocka_unit_test(a_full_pack_does_not_wait_and_the_window_bounds),
        cmocka_unit_test(a_transaction_is_never_split),
        cmocka_unit_test(lost_and_refused_packs_come_again_in_order),
        cmocka_unit_test(confirms_name_one_or_all_before),
        cmocka_unit_test(what_a_front_sends_is_checked),
        cmocka_unit_test(a_full_relay_takes_no_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
