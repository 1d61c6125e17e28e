/* Identity of deposits, finding the same one, numbering, limits of lots. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "ingest/ledger/batch.h"

static const uint8_t KEY[32] = "thirty-two bytes of a dedup key.";

static struct batch_identity *identity(void)
{
    struct batch_identity *k = batch_identity_new(slice_of(KEY, sizeof(KEY)), NULL);

    assert_non_null(k);
    return k;
}

/* The formula of batch.h, spelled out. */
static void identity_is_as_specified(void **state)
{
    static const uint8_t TEXT[] = "\x01\0\0\0\x07\0\x03"
                                  "C:1\0\x04"
                                  "abcd";
    struct batch_identity *k = identity();
    struct pack_deposit d = {.depositor = 7,
                             .client_id = SLICE_LITERAL("C:1"),
                             .digest = SLICE_LITERAL("ABcd"),
                             .body = SLICE_LITERAL("<A/>")};
    uint8_t expected[32], id[BATCH_ID_SIZE];
    unsigned len;

    (void)state;
    HMAC(EVP_sha256(), KEY, sizeof(KEY), TEXT, sizeof(TEXT) - 1, expected, &len);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(batch_identify(k, &d, id, NULL));
        assert_memory_equal(id, expected, BATCH_ID_SIZE);
    }
    batch_identity_free(k);
}

/* Another key, another digest; it is no deposit's identity, and identities are the same after it. */
static void a_key_is_known_by_its_digest(void **state)
{
    static const uint8_t ANOTHER[32] = "thirty-two bytes of another key.", ZERO = 0;
    struct batch_identity *k = identity(), *other = batch_identity_new(slice_of(ANOTHER, sizeof(ANOTHER)), NULL);
    uint8_t expected[32], digest[BATCH_KEY_DIGEST_SIZE], of_other[BATCH_KEY_DIGEST_SIZE], before[BATCH_ID_SIZE], after[BATCH_ID_SIZE];
    struct pack_deposit d = {.depositor = 7, .client_id = SLICE_LITERAL("C:1"), .digest = SLICE_LITERAL("abcd")};
    unsigned len;

    (void)state;
    assert_non_null(other);
    HMAC(EVP_sha256(), KEY, sizeof(KEY), &ZERO, 1, expected, &len);
    assert_true(batch_identify(k, &d, before, NULL));
    assert_true(batch_identity_digest(k, digest, NULL) && batch_identity_digest(other, of_other, NULL));
    assert_memory_equal(digest, expected, sizeof(digest));
    assert_memory_not_equal(digest, of_other, sizeof(digest));
    assert_true(batch_identify(k, &d, after, NULL));
    assert_memory_equal(before, after, sizeof(after));
    batch_identity_free(k);
    batch_identity_free(other);
}

static void identities_differ_where_they_must(void **state)
{
    struct pack_deposit base = {.depositor = 1,
                                .received = 5,
                                .timestamp = 6,
                                .client_id = SLICE_LITERAL("AB"),
                                .digest = SLICE_LITERAL("CD"),
                                .digest_algo = SLICE_LITERAL("SHA-1"),
                                .body = SLICE_LITERAL("x")};
    struct batch_identity *k = identity();
    struct pack_deposit d[8];
    uint8_t ids[8][BATCH_ID_SIZE], same[BATCH_ID_SIZE];

    (void)state;
    for (unsigned i = 0; i < 8; i++)
        d[i] = base;
    d[1].depositor = 2;
    d[2].client_id = SLICE_LITERAL("ABC");
    d[2].digest = SLICE_LITERAL("D");
    d[3].client_id = SLICE_LITERAL("ab");
    d[4].digest = SLICE_LITERAL("CE");
    d[5].client_id = SLICE_LITERAL("");
    for (unsigned i = 0; i < 6; i++)
        assert_true(batch_identify(k, &d[i], ids[i], NULL));
    assert_true(batch_identify_invalid(k, &d[6], ids[6], NULL));
    d[7].body = SLICE_LITERAL("y");
    assert_true(batch_identify_invalid(k, &d[7], ids[7], NULL));
    for (unsigned i = 0; i < 8; i++)
        for (unsigned j = 0; j < i; j++)
            assert_memory_not_equal(ids[i], ids[j], BATCH_ID_SIZE);
    d[0].received = 99;
    d[0].timestamp = 98;
    d[0].digest = SLICE_LITERAL("cd");
    assert_true(batch_identify(k, &d[0], same, NULL));
    assert_memory_equal(same, ids[0], BATCH_ID_SIZE);
    batch_identity_free(k);
    assert_null(batch_identity_new(slice_of(KEY, 31), NULL));
}

static void every_entry_is_found_and_no_other(void **state)
{
    enum { COUNT = 3000 };
    struct batch_entry *entries = mem_zalloc(COUNT, sizeof(*entries));
    struct batch_table t = {0};

    (void)state;
    assert_null(batch_table_find(&t, entries, entries[0].id));
    for (unsigned round = 0; round < 3; round++) {
        batch_table_reset(&t, COUNT);
        for (uint32_t i = 0; i < COUNT; i++) {
            /* Few distinct first bytes: places collide. */
            memset(entries[i].id, 0, BATCH_ID_SIZE);
            entries[i].id[0] = (uint8_t)(i % 5 + round);
            memcpy(entries[i].id + 8, &i, sizeof(i));
            assert_null(batch_table_find(&t, entries, entries[i].id));
            batch_table_add(&t, entries, i);
        }
        for (uint32_t i = 0; i < COUNT; i++)
            assert_ptr_equal(batch_table_find(&t, entries, entries[i].id), &entries[i]);
    }
    batch_table_reset(&t, 1);
    assert_null(batch_table_find(&t, entries, entries[7].id));
    batch_table_free(&t);
    free(entries);
}

static void a_lot_never_exceeds_its_count(void **state)
{
    struct batch_head h = {.next_serial = 101, .lot = 4, .lot_events = 0, .lot_bytes = 0};
    struct batch_limits l = {.count = 3, .bytes = 1000000};
    uint64_t serial = 101;

    (void)state;
    for (unsigned i = 0; i < 10; i++) {
        if (batch_room(&h, &l, 10) != BATCH_FITS) {
            assert_int_equal(batch_room(&h, &l, 10), BATCH_FULL_COUNT);
            assert_int_equal(h.lot_events, 3);
            batch_next_lot(&h);
        }
        assert_int_equal(batch_take(&h, 10), serial++);
    }
    assert_int_equal(h.lot, 7);
    assert_int_equal(h.lot_events, 1);
    assert_int_equal(h.next_serial, 111);
    assert_string_equal(batch_reason(BATCH_FULL_COUNT), "nombre");
}

static void a_lot_never_exceeds_its_bytes(void **state)
{
    struct batch_head h = {.next_serial = 1, .lot = 1};
    struct batch_limits l = {.count = 100, .bytes = 1000};

    (void)state;
    assert_int_equal(batch_room(&h, &l, 1000), BATCH_FITS);
    batch_take(&h, 400);
    assert_int_equal(batch_room(&h, &l, 600), BATCH_FITS);
    assert_int_equal(batch_room(&h, &l, 601), BATCH_FULL_BYTES);
    assert_int_equal(batch_room(&h, &l, UINT64_MAX), BATCH_FULL_BYTES);
    batch_take(&h, 600);
    assert_int_equal(batch_room(&h, &l, 0), BATCH_FULL_BYTES);
    batch_next_lot(&h);
    /* An event over the limit by itself: alone in its lot. */
    assert_int_equal(batch_room(&h, &l, 5000), BATCH_FITS);
    batch_take(&h, 5000);
    assert_int_equal(batch_room(&h, &l, 1), BATCH_FULL_BYTES);
    assert_string_equal(batch_reason(BATCH_FULL_BYTES), "taille");
    assert_null(batch_reason(BATCH_FITS));
}

static void the_serial_takes_the_placeholder_s_place(void **state)
{
    struct batch_entry entry = {.d.body = SLICE_LITERAL("<M><IDEvt><!--SAFE_ID--></IDEvt></M>"), .placeholder = 10};
    char digits[BATCH_SERIAL_MAX + 1], text[100];
    struct slice p[3];

    (void)state;
    entry.serial = UINT64_MAX;
    assert_true(batch_number(&entry, digits, p, NULL));
    snprintf(text, sizeof(text), "%.*s%.*s%.*s", SLICE_ARGS(p[0]), SLICE_ARGS(p[1]), SLICE_ARGS(p[2]));
    assert_string_equal(text, "<M><IDEvt>18446744073709551615</IDEvt></M>");
    entry.placeholder = 9;
    assert_false(batch_number(&entry, digits, p, NULL));
    entry.placeholder = UINT32_MAX;
    assert_false(batch_number(&entry, digits, p, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identity_is_as_specified),          cmocka_unit_test(a_key_is_known_by_its_digest),
        cmocka_unit_test(identities_differ_where_they_must),
        cmocka_unit_test(every_entry_is_found_and_no_other), cmocka_unit_test(a_lot_never_exceeds_its_count),
        cmocka_unit_test(a_lot_never_exceeds_its_bytes),     cmocka_unit_test(the_serial_takes_the_placeholder_s_place),
    };

    return cmocka_run_group_tests_name("batch", tests, NULL, NULL);
}
