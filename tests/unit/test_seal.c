/*
 * Role seal as it runs, a process with keys in a real SoftHSM token; the test stands where its parent and work stand.
 * What must never be signed: a fork, a gap, a replay, a step back, whatever the store says.
 */
#include "tests/unit/one_role.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/formats/digest.h"
#include "common/formats/sums.h"
#include "sealer/memory.h"
#include "sealer/roles.h"
#include "tests/unit/unit.h"
#include "tests/unit/vault.h"

enum { MAX = ONE_ROLE_MAX };

static const struct role_kind kinds[] = {{.name = "stamp", .run = stamp_run}, {.name = "seal", .run = seal_run}};
static const struct daemon test_daemon = {.name = "test-sealer", .part = SETTINGS_SEALER, .kinds = kinds, .kind_count = 2};

static struct one_role seal, stamp;

/* ---- lots ------------------------------------------------------------------------------------ */

/* A lot to be asked for; what a test changes in it before asking is the test. */
struct asked {
    struct message_seal m;
    struct buf sums, previous;
};

static void add_line(struct asked *a, uint64_t lot, uint64_t serial)
{
    char name[NAMES_MAX], line[SUMS_LINE_MAX];
    uint8_t digest[32];

    if (serial == 0)
        names_write_key(name, lot, 1);
    else
        names_write_event(name, lot, serial);
    assert_true(digest_sha256(slice_text(name), digest, NULL));
    assert_true(buf_add(&a->sums, line, sums_write_line(line, digest, name), NULL));
}

static void make_lot(struct asked *a, uint64_t number, uint64_t first, unsigned count, struct slice previous)
{
    struct lot *l = &a->m.lot;

    *a = (struct asked){0};
    buf_init(&a->sums, MAX);
    buf_init(&a->previous, MAX);
    *l = (struct lot){.number = number, .first = first, .last = first + count - 1, .count = count, .reason = LOT_AGE,
                      .opened_ms = (int64_t)number * 1000, .closed_ms = (int64_t)number * 1000 + 999, .recipient_count = 1};
    if (count > 0) {
        add_line(a, number, 0);
        assert_true(lot_add_type(l, SLICE_LITERAL("PASPMISE"), count, NULL));
    }
    for (unsigned i = 0; i < count; i++)
        add_line(a, number, first + i);
    assert_true(buf_add_slice(&a->previous, previous, NULL));
}

static void free_lot(struct asked *a)
{
    lot_free(&a->m.lot);
    buf_free(&a->sums);
    buf_free(&a->previous);
}

static uint16_t ask_seal(struct asked *a, struct buf *answer)
{
    struct buf question;
    uint16_t type;

    buf_init(&question, MAX);
    a->m.sums = buf_slice(&a->sums);
    a->m.previous = buf_slice(&a->previous);
    assert_true(message_put_seal(&question, &a->m, NULL));
    type = one_role_ask(&seal, MESSAGE_SEAL, &question, answer);
    buf_free(&question);
    return type;
}

/* Must be refused with a doubt whose text holds `why`. */
static void refused(struct asked *a, const char *why)
{
    struct buf answer;

    buf_init(&answer, MAX);
    one_role_refused(ask_seal(a, &answer), &answer, why);
    buf_free(&answer);
}

static void signed_by_seal(struct asked *a, struct buf *answer)
{
    struct err said = {0};
    uint64_t lot;

    if (ask_seal(a, answer) == MESSAGE_SEALED)
        return;
    (void)!message_get_refused(buf_slice(answer), &lot, &said, NULL);
    fail_msg("refused: %s", said.text);
}

static void ask_token(const uint8_t imprint[32], struct buf *answer, struct message_stamped *out)
{
    struct message_stamp request = {.lot = 1};
    struct buf question;

    memcpy(request.imprint, imprint, 32);
    buf_init(&question, MAX);
    assert_true(message_put_stamp(&question, &request, NULL));
    assert_int_equal(one_role_ask(&stamp, MESSAGE_STAMP, &question, answer), MESSAGE_STAMPED);
    assert_true(message_get_stamped(buf_slice(answer), out, NULL));
    buf_free(&question);
}

/* Makes the whole signatures0.xml of a sealed lot, and verifies it. */
static void finish(const struct asked *a, const struct buf *sealed, struct buf *signatures)
{
    struct xades_digests files = {.has_previous = a->previous.len > 0};
    struct message_sealed m;
    struct message_stamped token;
    struct xades_verdict verdict;
    struct trust *t = vault_trust();
    struct buf answer;
    struct xades_draft *d;
    struct err e = {0};
    uint8_t imprint[32];

    buf_init(&answer, MAX);
    buf_init(signatures, MAX);
    assert_true(message_get_sealed(buf_slice(sealed), &m, &e));
    assert_true(digest_sha256(m.lot_xml, files.lot, &e) && digest_sha256(buf_slice(&a->sums), files.sums, &e) &&
                digest_sha256(buf_slice(&a->previous), files.previous, &e));
    d = xades_begin(&files, m.certificates, m.certificate_count, m.signing_ms, m.algorithm, &e);
    assert_non_null(d);
    assert_true(xades_set_value(d, m.signature, &e) && xades_imprint(d, imprint, &e));
    ask_token(imprint, &answer, &token);
    assert_true(xades_finish(d, token.token, signatures, &e));
    xades_free(d);
    if (!xades_verify(buf_slice(signatures),
                      &(struct xades_files){m.lot_xml, buf_slice(&a->sums), files.has_previous ? buf_slice(&a->previous) : (struct slice){0}},
                      t, &verdict, &e))
        fail_msg("%s", e.text);
    trust_free(t);
    buf_free(&answer);
}

/* ---- seal ------------------------------------------------------------------------------------ */

static struct asked one, two;
static struct buf sealed_one, sealed_two, signatures_one, signatures_two;

static void first_lot_follows_the_genesis(void **state)
{
    (void)state;
    make_lot(&one, 1, 1, 3, (struct slice){0});
    signed_by_seal(&one, &sealed_one);
    finish(&one, &sealed_one, &signatures_one);
}

static void same_question_gets_the_same_answer_even_after_a_crash(void **state)
{
    struct buf again;

    (void)state;
    buf_init(&again, MAX);
    for (int i = 0; i < 2; i++) {
        signed_by_seal(&one, &again);
        assert_true(slice_equal(buf_slice(&again), buf_slice(&sealed_one)));
        one_role_end(&seal);
        seal = one_role_start(&test_daemon, "seal");
    }
    one.m.lot.recipient_count = 2; /* a certificate renewed between the two tries */
    signed_by_seal(&one, &again);
    assert_true(slice_equal(buf_slice(&again), buf_slice(&sealed_one)));
    one.m.lot.recipient_count = 1;
    buf_free(&again);
}

static void another_lot_of_the_same_number_would_fork(void **state)
{
    struct asked other;

    (void)state;
    make_lot(&other, 1, 1, 4, (struct slice){0});
    refused(&other, "fork");
    free_lot(&other);
    make_lot(&other, 1, 1, 3, (struct slice){0});
    other.m.lot.closed_ms++;
    refused(&other, "fork");
    free_lot(&other);
}

static void gap_in_lots_is_refused(void **state)
{
    struct asked other;

    (void)state;
    make_lot(&other, 3, 4, 1, buf_slice(&signatures_one));
    refused(&other, "memory went back");
    free_lot(&other);
}

static void gap_in_serials_is_refused(void **state)
{
    struct asked other;

    (void)state;
    make_lot(&other, 2, 5, 2, buf_slice(&signatures_one));
    refused(&other, "first serial");
    free_lot(&other);
    make_lot(&other, 2, 3, 2, buf_slice(&signatures_one));
    refused(&other, "first serial");
    free_lot(&other);
}

static void list_must_hold_exactly_the_serials(void **state)
{
    struct asked other;

    (void)state;
    make_lot(&other, 2, 4, 2, buf_slice(&signatures_one));
    buf_reset(&other.sums);
    add_line(&other, 2, 0);
    add_line(&other, 2, 4);
    refused(&other, "serials end at 4");
    add_line(&other, 2, 6);
    refused(&other, "serial 6 where 5 is due");
    buf_reset(&other.sums);
    add_line(&other, 2, 5);
    refused(&other, "serial 5 where 4 is due");
    buf_reset(&other.sums);
    add_line(&other, 1, 4);
    refused(&other, "names lot 1");
    buf_reset(&other.sums);
    add_line(&other, 2, 4);
    add_line(&other, 2, 5);
    add_line(&other, 2, 0);
    refused(&other, "out of order");
    free_lot(&other);
}

static void counts_must_add_up(void **state)
{
    struct asked other;

    (void)state;
    make_lot(&other, 2, 4, 2, buf_slice(&signatures_one));
    other.m.lot.types[0].count = 1;
    refused(&other, "lot 2");
    free_lot(&other);
}

/* Its own key signs lot 1 again elsewhere: well-formed, verifies, but not the one that is remembered. */
static void previous_lot_must_be_the_one_signed_here(void **state)
{
    char *text = mem_text(buf_slice(&signatures_one)), *value = strstr(text, "<ds:SignatureValue");
    struct asked other;

    (void)state;
    assert_non_null(value);
    value = strchr(value, '>') + 1;
    *value = *value == 'A' ? 'B' : 'A';
    make_lot(&other, 2, 4, 2, slice_text(text));
    refused(&other, "previous signature value");
    free_lot(&other);
    make_lot(&other, 2, 4, 2, SLICE_LITERAL("<not-signatures/>"));
    refused(&other, "previous signatures");
    free_lot(&other);
    free(text);
}

static void time_must_not_go_back(void **state)
{
    struct asked other;

    (void)state;
    make_lot(&other, 2, 4, 2, buf_slice(&signatures_one));
    other.m.lot.opened_ms = 1;
    other.m.lot.closed_ms = 2;
    refused(&other, "goes back");
    free_lot(&other);
}

static void next_lot_follows(void **state)
{
    (void)state;
    make_lot(&two, 2, 4, 2, buf_slice(&signatures_one));
    signed_by_seal(&two, &sealed_two);
    finish(&two, &sealed_two, &signatures_two);
}

/* The same key under another name, put there while no role seal ran, which would otherwise be the one that knows. */
static void another_name_than_the_last_lots_signs_nothing(void **state)
{
    struct pki_identity other = pki_issue(&vault.ca, "Un autre", PKI_SEAL, (int64_t)(time(NULL) - 86400) * 1000, 30);
    struct asked next;

    (void)state;
    assert_true(X509_set_pubkey(other.cert, X509_get0_pubkey(vault.seal.cert)) == 1 && X509_sign(other.cert, vault.ca.key, EVP_sha256()) > 0);
    one_role_end(&seal);
    vault_save(&other, "seal");
    seal = one_role_start(&test_daemon, "seal");
    make_lot(&next, 3, 6, 0, buf_slice(&signatures_two));
    next.m.lot.reason = LOT_IDLE;
    refused(&next, "subject is not that of lot 2's");
    free_lot(&next);
    one_role_end(&seal);
    vault_save(&vault.seal, "seal");
    seal = one_role_start(&test_daemon, "seal");
    pki_free(&other);
}

static void rewound_store_is_refused(void **state)
{
    struct asked other;

    (void)state;
    refused(&one, "database went back");
    make_lot(&other, 2, 4, 1, buf_slice(&signatures_one));
    refused(&other, "fork");
    free_lot(&other);
}

static void empty_lot_follows_and_an_idle_one_too(void **state)
{
    struct asked three;
    struct buf sealed, signatures;

    (void)state;
    buf_init(&sealed, MAX);
    make_lot(&three, 3, 6, 0, buf_slice(&signatures_two));
    three.m.lot.reason = LOT_IDLE;
    signed_by_seal(&three, &sealed);
    finish(&three, &sealed, &signatures);
    free_lot(&three);
    make_lot(&three, 4, 7, 0, buf_slice(&signatures));
    refused(&three, "first serial");
    free_lot(&three);
    buf_free(&sealed);
    buf_free(&signatures);
}

static void swap_memory(const char *to, const char *from)
{
    char *a = mem_printf("%s%s", vault.memory, to), *b = mem_printf("%s%s", vault.memory, from);

    assert_int_equal(rename(b, a), 0);
    free(a);
    free(b);
}

static void rewound_missing_or_foreign_memory_is_refused(void **state)
{
    struct memory old;
    struct asked four;

    (void)state;
    memory_init(&old);
    assert_true(memory_load(&old, vault.memory, NULL, NULL));
    make_lot(&four, 4, 6, 1, buf_slice(&signatures_two));
    swap_memory(".kept", "");
    refused(&four, "coffre-ceremony remember");
    old.number = 2;
    old.last = 5;
    assert_true(memory_store(&old, vault.memory, NULL));
    refused(&four, "its memory went back");
    old.number = 3;
    old.vault = 2;
    assert_true(memory_store(&old, vault.memory, NULL));
    refused(&four, "not of 4512-1");
    swap_memory("", ".kept");
    free_lot(&four);
    memory_free(&old);
}

/* ---- main ------------------------------------------------------------------------------------ */

static int make(void **state)
{
    vault_set_up(state);
    assert_true(xades_init(NULL));
    buf_init(&sealed_one, MAX);
    buf_init(&sealed_two, MAX);
    seal = one_role_start(&test_daemon, "seal");
    stamp = one_role_start(&test_daemon, "stamp");
    return 0;
}

static int sweep(void **state)
{
    one_role_end(&seal);
    one_role_end(&stamp);
    free_lot(&one);
    free_lot(&two);
    buf_free(&sealed_one);
    buf_free(&sealed_two);
    buf_free(&signatures_one);
    buf_free(&signatures_two);
    xades_shutdown();
    return vault_tear_down(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_lot_follows_the_genesis),
        cmocka_unit_test(same_question_gets_the_same_answer_even_after_a_crash),
        cmocka_unit_test(another_lot_of_the_same_number_would_fork),
        cmocka_unit_test(gap_in_lots_is_refused),
        cmocka_unit_test(gap_in_serials_is_refused),
        cmocka_unit_test(list_must_hold_exactly_the_serials),
        cmocka_unit_test(counts_must_add_up),
        cmocka_unit_test(previous_lot_must_be_the_one_signed_here),
        cmocka_unit_test(time_must_not_go_back),
        cmocka_unit_test(next_lot_follows),
        cmocka_unit_test(another_name_than_the_last_lots_signs_nothing),
        cmocka_unit_test(rewound_store_is_refused),
        cmocka_unit_test(empty_lot_follows_and_an_idle_one_too),
        cmocka_unit_test(rewound_missing_or_foreign_memory_is_refused),
    };

    return cmocka_run_group_tests_name("seal", tests, make, sweep);
}
