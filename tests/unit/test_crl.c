/* CRLs in force: what they say of certificates and until when; lists that nobody of ours signed, or that do not hold now, are refused for that reason. */
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/lists.h"

static void who_is_on_the_list_is_revoked(void **state)
{
    struct crl_set *s = crl_set_new();
    struct revocation_finding f;
    struct crl_entry entry;

    (void)state;
    f = lists_check(s, &lists.leaf);
    assert_int_equal(f.answer, REVOCATION_UNKNOWN);
    assert_string_equal(f.text, "serial 0A: no list of CN=Operator");
    lists_taken(s, "crl/operator.crl", lists_plain_bytes());
    f = lists_check(s, &lists.leaf);
    assert_int_equal(f.answer, REVOCATION_REVOKED);
    assert_string_equal(f.text, "serial 0A: revoked 2026-01-01T00:00:00Z, keyCompromise (crl/operator.crl)");
    assert_true(f.revoked_at == 1767225600000 && f.until == lists.now + 24 * HOUR_MS);
    f = lists_check(s, &lists.clean);
    assert_int_equal(f.answer, REVOCATION_GOOD);
    assert_string_equal(f.text, "serial 0B: not on the list (crl/operator.crl)");
    assert_true(f.revoked_at == 0 && f.until == lists.now + 24 * HOUR_MS);
    assert_int_equal(crl_set_count(s), 1);
    entry = crl_set_at(s, 0);
    assert_string_equal(entry.issuer, "CN=Operator");
    assert_string_equal(entry.source, "crl/operator.crl");
    assert_string_equal(entry.number, "");
    assert_true(entry.this_update == lists.now - HOUR_MS && entry.next_update == lists.now + 24 * HOUR_MS && entry.revoked == 1);
    crl_set_free(s);
}

static void another_issuers_list_says_nothing(void **state)
{
    struct crl_set *s = crl_set_new();

    (void)state;
    lists_taken(s, "a", revocation_signed(lists_plain(&lists.other), &lists.other, EVP_sha256()));
    assert_int_equal(lists_answer(s, &lists.leaf), REVOCATION_UNKNOWN);
    crl_set_free(s);
}

static void what_is_no_crl_is_refused(void **state)
{
    struct buf certificate, longer = lists_plain_bytes();
    uint8_t *der = NULL;
    int len = i2d_X509(lists.leaf.certificate, &der);

    (void)state;
    buf_init(&certificate, 1 << 20);
    revocation_append(&certificate, slice_of(der, (size_t)len));
    OPENSSL_free(der);
    lists_refused_alone(certificate, "not a CRL");
    lists_refused_alone(lists_text(""), "not a CRL");
    lists_refused_alone(lists_text("0 lists are in this file\n"), "not a CRL");
    lists_refused_alone(lists_text("\x30\x82\xff\xff"), "not a CRL");
    lists_refused_alone(lists_text("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"), "not a CRL");
    lists_refused_alone(lists_text("-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n"), "not a CRL");
    revocation_append(&longer, SLICE_LITERAL("\0"));
    lists_refused_alone(longer, "not a CRL");
}

static void no_part_of_a_crl_and_no_changed_one_is_taken(void **state)
{
    struct buf whole = lists_plain_bytes();
    struct crl_set *s = crl_set_new();

    (void)state;
    for (size_t len = 0; len < whole.len; len++) {
        uint8_t *part = malloc(len + (len == 0)); /* of exactly this size: a read behind it is seen */

        memcpy(part, whole.data, len);
        assert_false(crl_set_take(s, "part", slice_of(part, len), LISTS_MOST, lists.authorities, lists.now, 0, NULL));
        free(part);
    }
    for (size_t i = 0; i < whole.len; i++) {
        whole.data[i] ^= (uint8_t)(1 << i % 8);
        assert_false(crl_set_take(s, "changed", buf_slice(&whole), LISTS_MOST, lists.authorities, lists.now, 0, NULL));
        whole.data[i] ^= (uint8_t)(1 << i % 8);
    }
    assert_int_equal(crl_set_count(s), 0);
    lists_taken(s, "whole", whole);
    crl_set_free(s);
}

static void more_bytes_than_allowed_are_not_read(void **state)
{
    struct buf whole = lists_plain_bytes();
    struct crl_set *s = crl_set_new();
    struct err e = {0};

    (void)state;
    assert_false(crl_set_take(s, "a", buf_slice(&whole), whole.len - 1, lists.authorities, lists.now, 0, &e));
    assert_non_null(strstr(e.text, "over the limit"));
    assert_true(crl_set_take(s, "a", buf_slice(&whole), whole.len, lists.authorities, lists.now, 0, NULL));
    buf_free(&whole);
    crl_set_free(s);
}

static void only_configured_authorities_are_believed(void **state)
{
    struct issued unknown = revocation_authority("Stranger", certificates_ec("P-256"));

    (void)state;
    lists_refused_alone(revocation_signed(lists_plain(&unknown), &unknown, EVP_sha256()), "none of the authorities configured");
    lists_refused_alone(revocation_signed(lists_plain(&lists.ca), &lists.namesake, EVP_sha256()), "the signature is not its issuer's");
    lists_refused_alone(revocation_signed(lists_plain(&lists.ca), &lists.other, EVP_sha256()), "the signature is not its issuer's");
    certificates_free(&unknown);
}

static void weak_signatures_are_refused(void **state)
{
    (void)state;
    lists_refused_alone(revocation_signed(lists_plain(&lists.other), &lists.other, EVP_sha1()), "weak");
    lists_refused_alone(revocation_signed(lists_plain(&lists.other), &lists.other, EVP_md5()), "weak");
    lists_refused_alone(revocation_signed(lists_plain(&lists.ca), &lists.ca, EVP_sha1()), "weak");
    lists_refused_alone(revocation_signed(lists_plain(&lists.other), &lists.other, EVP_sha224()), "weak");
}

/* RSASSA-PSS says its digest in its parameters. */
static struct buf with_pss(const EVP_MD *digest)
{
    X509_CRL *crl = lists_plain(&lists.other);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx;
    uint8_t *der = NULL;
    struct buf out;
    int len;

    assert_int_equal(EVP_DigestSignInit(ctx, &pctx, digest, NULL, lists.other.key), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING), 1);
    assert_true(X509_CRL_sign_ctx(crl, ctx) > 0);
    len = i2d_X509_CRL(crl, &der);
    buf_init(&out, 1 << 20);
    revocation_append(&out, slice_of(der, (size_t)len));
    OPENSSL_free(der);
    X509_CRL_free(crl);
    EVP_MD_CTX_free(ctx);
    return out;
}

static void strong_signatures_of_every_kind_are_taken(void **state)
{
    struct issued edwards = revocation_authority("Edwards", EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"));
    struct crl_set *s = crl_set_new();

    (void)state;
    sk_X509_push(lists.authorities, edwards.certificate);
    lists_taken(s, "rsa", revocation_signed(lists_plain(&lists.other), &lists.other, EVP_sha512()));
    lists_taken(s, "pss", with_pss(EVP_sha256()));
    lists_taken(s, "ec", revocation_signed(lists_plain(&lists.ca), &lists.ca, EVP_sha384()));
    lists_taken(s, "ed", revocation_signed(lists_plain(&edwards), &edwards, NULL));
    assert_int_equal(crl_set_count(s), 4);
    lists_refused(s, with_pss(EVP_sha1()), "weak");
    sk_X509_pop(lists.authorities);
    crl_set_free(s);
    certificates_free(&edwards);
}

static void an_issuer_without_crl_sign_is_refused(void **state)
{
    struct certificate_wanted w = {.cn = "No lists", .serial = 1, .extensions = {{NID_basic_constraints, "critical,CA:TRUE"}, {NID_key_usage, "keyCertSign"}}};
    struct issued no_lists = revocation_certificate(certificates_ec("P-256"), &w, NULL), any;
    struct crl_set *s = crl_set_new();

    (void)state;
    w.cn = "Any use";
    w.extensions[1].value = NULL; /* no key usage: every use */
    any = revocation_certificate(certificates_ec("P-256"), &w, NULL);
    sk_X509_push(lists.authorities, no_lists.certificate);
    sk_X509_push(lists.authorities, any.certificate);
    lists_refused(s, revocation_signed(lists_plain(&no_lists), &no_lists, EVP_sha256()), "4.2.1.3");
    lists_taken(s, "any", revocation_signed(lists_plain(&any), &any, EVP_sha256()));
    sk_X509_pop(lists.authorities);
    sk_X509_pop(lists.authorities);
    crl_set_free(s);
    certificates_free(&no_lists);
    certificates_free(&any);
}

static void lists_that_do_not_hold_now_are_refused(void **state)
{
    struct crl_set *s = crl_set_new();
    struct buf stale = lists_dated(lists.now - 2 * HOUR_MS, lists.now - HOUR_MS);
    struct err e = {0};

    (void)state;
    lists_refused(s, lists_dated(lists.now - HOUR_MS, 0), "no nextUpdate");
    lists_refused(s, lists_dated(lists.now + 6 * MINUTE_MS, lists.now + HOUR_MS), "in the future");
    lists_refused(s, lists_dated(lists.now - HOUR_MS, lists.now - 2 * HOUR_MS), "in this order");
    lists_refused(s, lists_dated(lists.now - HOUR_MS, lists.now - 1000), "expired");
    lists_taken(s, "ahead", lists_dated(lists.now + 4 * MINUTE_MS, lists.now + HOUR_MS));
    crl_set_free(s);
    s = crl_set_new();
    assert_false(crl_set_take(s, "a", buf_slice(&stale), LISTS_MOST, lists.authorities, lists.now, HOUR_MS - 1, &e));
    assert_non_null(strstr(e.text, "expired"));
    assert_true(crl_set_take(s, "a", buf_slice(&stale), LISTS_MOST, lists.authorities, lists.now, HOUR_MS, NULL));
    buf_free(&stale);
    crl_set_free(s);
}

static void a_list_that_ended_says_nothing(void **state)
{
    struct crl_set *s = crl_set_new();
    int64_t end = lists.now + 24 * HOUR_MS;
    struct revocation_finding f;

    (void)state;
    lists_taken(s, "crl/a", lists_plain_bytes());
    assert_int_equal(crl_set_check(s, lists.leaf.certificate, lists.ca.certificate, end, 0).answer, REVOCATION_REVOKED);
    f = crl_set_check(s, lists.leaf.certificate, lists.ca.certificate, end + 1, 0);
    assert_int_equal(f.answer, REVOCATION_UNKNOWN);
    assert_non_null(strstr(f.text, "the list of CN=Operator ended "));
    assert_int_equal(crl_set_check(s, lists.clean.certificate, lists.ca.certificate, end + 1, 0).answer, REVOCATION_UNKNOWN);
    f = crl_set_check(s, lists.clean.certificate, lists.ca.certificate, end + 1, HOUR_MS);
    assert_int_equal(f.answer, REVOCATION_GOOD);
    assert_true(f.until == end + HOUR_MS);
    crl_set_free(s);
}

static void a_list_of_300000_is_searched_not_walked(void **state)
{
    enum { COUNT = 300000 };
    X509_CRL *crl = revocation_crl(&lists.ca, lists.now - HOUR_MS, lists.now + HOUR_MS);
    struct crl_set *s = crl_set_new();
    const struct certificate_wanted base = {.cn = "many"};
    EVP_PKEY *key = certificates_ec("P-256");

    (void)state;
    for (long i = 0; i < COUNT; i++) /* 1000, 1002, … in no order */
        revocation_add(crl, 1000 + 2 * (i * 7919 % COUNT), i % 3 == 0 ? CRL_REASON_SUPERSEDED : -1);
    lists_taken(s, "many", revocation_signed(crl, &lists.ca, EVP_sha256()));
    assert_int_equal(crl_set_at(s, 0).revoked, COUNT);
    for (long serial = 999; serial < 1000 + 2 * COUNT + 5; serial += serial < 1010 || serial > 2 * COUNT + 990 ? 1 : 60011) {
        struct certificate_wanted w = base;
        struct issued one;

        EVP_PKEY_up_ref(key);
        w.serial = serial;
        one = revocation_certificate(key, &w, &lists.ca);
        assert_int_equal(lists_answer(s, &one), serial >= 1000 && serial < 1000 + 2 * COUNT && serial % 2 == 0 ? REVOCATION_REVOKED : REVOCATION_GOOD);
        certificates_free(&one);
    }
    /* A hundred thousand answers: walked, they would take minutes. */
    for (unsigned i = 0; i < 100000; i++)
        (void)crl_set_check(s, lists.clean.certificate, lists.ca.certificate, lists.now, 0);
    EVP_PKEY_free(key);
    crl_set_free(s);
}

/* Serial numbers of every length and sign: as OpenSSL finds them. */
static void openssl_finds_the_same(void **state)
{
    X509_CRL *crl = revocation_crl(&lists.ca, lists.now - HOUR_MS, lists.now + HOUR_MS), *theirs;
    struct crl_set *s = crl_set_new();
    const struct certificate_wanted w = {.cn = "any", .serial = 1};
    EVP_PKEY *key = certificates_ec("P-256");
    struct issued one = revocation_certificate(key, &w, &lists.ca);
    struct buf bytes;
    const uint8_t *at;
    unsigned found = 0;

    (void)state;
    srand(7);
    for (int i = 0; i < 3000; i++)
        revocation_add(crl, rand() % 3 == 0 ? rand() % 600 - 300 : (long)rand() << rand() % 30, rand() % 11 == 7 ? -1 : rand() % 11 == 8 ? 8 : -1);
    bytes = revocation_signed(crl, &lists.ca, EVP_sha256());
    at = bytes.data;
    theirs = d2i_X509_CRL(NULL, &at, (long)bytes.len);
    lists_taken(s, "a", bytes);
    for (long serial = -310; serial < 310; serial++) {
        X509_REVOKED *entry = NULL;
        ASN1_INTEGER *number = X509_get_serialNumber(one.certificate);
        bool revoked = false;

        ASN1_INTEGER_set_int64(number, serial);
        for (int i = 0; X509_CRL_get0_by_serial(theirs, &entry, number) != 0 && i < sk_X509_REVOKED_num(X509_CRL_get_REVOKED(theirs)); i++) {
            const X509_REVOKED *other_entry = sk_X509_REVOKED_value(X509_CRL_get_REVOKED(theirs), i);

            if (ASN1_INTEGER_cmp(X509_REVOKED_get0_serialNumber(other_entry), number) == 0)
                revoked |= X509_REVOKED_get_ext_count(other_entry) == 0; /* the only reason here is removeFromCRL */
        }
        assert_int_equal(lists_answer(s, &one), revoked ? REVOCATION_REVOKED : REVOCATION_GOOD);
        found += revoked;
    }
    assert_true(found > 100);
    X509_CRL_free(theirs);
    crl_set_free(s);
    certificates_free(&one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_on_the_list_is_revoked),
        cmocka_unit_test(another_issuers_list_says_nothing),
        cmocka_unit_test(what_is_no_crl_is_refused),
        cmocka_unit_test(no_part_of_a_crl_and_no_changed_one_is_taken),
        cmocka_unit_test(more_bytes_than_allowed_are_not_read),
        cmocka_unit_test(only_configured_authorities_are_believed),
        cmocka_unit_test(weak_signatures_are_refused),
        cmocka_unit_test(strong_signatures_of_every_kind_are_taken),
        cmocka_unit_test(an_issuer_without_crl_sign_is_refused),
        cmocka_unit_test(lists_that_do_not_hold_now_are_refused),
        cmocka_unit_test(a_list_that_ended_says_nothing),
        cmocka_unit_test(a_list_of_300000_is_searched_not_walked),
        cmocka_unit_test(openssl_finds_the_same),
    };

    return cmocka_run_group_tests_name("crl", tests, lists_set_up, lists_tear_down);
}
