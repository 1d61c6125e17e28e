/* CRLs in force: what they say of certificates, of which ones, and until when; every list that must not be believed is refused, for that reason. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/pem.h>
#include <openssl/rand.h>

#include "common/identity/crl.h"
#include "tests/unit/revocation.h"

enum { MOST = 64 << 20 };

static struct issued ca, again, namesake, other, leaf, clean, middle;
static STACK_OF(X509) *authorities;
static int64_t now;

/* Leaf 10 is revoked in most lists, leaf 11 never. */
static int set_up(void **state)
{
    const struct certificate_wanted ten = {.cn = "ten", .serial = 10}, eleven = {.cn = "eleven", .serial = 11},
                                    authority = {.cn = "Middle", .serial = 12, .extensions = {{NID_basic_constraints, "critical,CA:TRUE"}}};

    (void)state;
    now = revocation_now();
    ca = revocation_authority("Operator", certificates_ec("P-256"));
    again = revocation_authority("Operator", certificates_ec("P-256")); /* the same, given another key */
    namesake = revocation_authority("Operator", certificates_ec("P-256")); /* not configured */
    other = revocation_authority("Regulator", certificates_rsa(2048));
    leaf = revocation_certificate(certificates_ec("P-256"), &ten, &ca);
    clean = revocation_certificate(certificates_ec("P-256"), &eleven, &ca);
    middle = revocation_certificate(certificates_ec("P-256"), &authority, &ca);
    authorities = revocation_stack(other.certificate, again.certificate, ca.certificate, NULL);
    return 0;
}

static int tear_down(void **state)
{
    struct issued *all[] = {&ca, &again, &namesake, &other, &leaf, &clean, &middle};

    (void)state;
    sk_X509_free(authorities);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        certificates_free(all[i]);
    return 0;
}

/* A list that revokes 10, from an hour ago to tomorrow; to be changed and signed. */
static X509_CRL *plain(const struct issued *by)
{
    X509_CRL *crl = revocation_crl(by, now - HOUR_MS, now + 24 * HOUR_MS);

    revocation_add(crl, 10, CRL_REASON_KEY_COMPROMISE);
    return crl;
}

static struct buf plain_bytes(void)
{
    return revocation_signed(plain(&ca), &ca, EVP_sha256());
}

static bool take(struct crl_set *s, const char *source, struct buf bytes, struct err *e)
{
    bool ok = crl_set_take(s, source, buf_slice(&bytes), MOST, authorities, now, 0, e);

    buf_free(&bytes);
    assert_int_equal(ok ? ERR_NONE : ERR_INPUT, e->code);
    return ok;
}

static void taken(struct crl_set *s, const char *source, struct buf bytes)
{
    struct err e = {0};

    if (!take(s, source, bytes, &e))
        fail_msg("%s", e.text);
}

/* Refused for this reason, with nothing changed. */
static void refused(struct crl_set *s, struct buf bytes, const char *why)
{
    uint64_t generation = crl_set_generation(s);
    size_t count = crl_set_count(s);
    struct err e = {0};

    assert_false(take(s, "crl/new", bytes, &e));
    if (strstr(e.text, why) == NULL || strncmp(e.text, "crl/new: ", 9) != 0)
        fail_msg("\"%s\" is not: %s", e.text, why);
    assert_int_equal(crl_set_generation(s), generation);
    assert_int_equal(crl_set_count(s), count);
}

static void refused_alone(struct buf bytes, const char *why)
{
    struct crl_set *s = crl_set_new();

    refused(s, bytes, why);
    crl_set_free(s);
}

static struct revocation_finding check(const struct crl_set *s, const struct issued *of)
{
    return crl_set_check(s, of->certificate, ca.certificate, now, 0);
}

static enum revocation_answer answer(const struct crl_set *s, const struct issued *of)
{
    return check(s, of).answer;
}

static void who_is_on_the_list_is_revoked(void **state)
{
    struct crl_set *s = crl_set_new();
    struct revocation_finding f;
    struct crl_entry entry;

    (void)state;
    f = check(s, &leaf);
    assert_int_equal(f.answer, REVOCATION_UNKNOWN);
    assert_string_equal(f.text, "serial 0A: no list of CN=Operator");
    taken(s, "crl/operator.crl", plain_bytes());
    f = check(s, &leaf);
    assert_int_equal(f.answer, REVOCATION_REVOKED);
    assert_string_equal(f.text, "serial 0A: revoked 2026-01-01T00:00:00Z, keyCompromise (crl/operator.crl)");
    assert_true(f.revoked_at == 1767225600000 && f.until == now + 24 * HOUR_MS);
    f = check(s, &clean);
    assert_int_equal(f.answer, REVOCATION_GOOD);
    assert_string_equal(f.text, "serial 0B: not on the list (crl/operator.crl)");
    assert_true(f.revoked_at == 0 && f.until == now + 24 * HOUR_MS);
    assert_int_equal(crl_set_count(s), 1);
    entry = crl_set_at(s, 0);
    assert_string_equal(entry.issuer, "CN=Operator");
    assert_string_equal(entry.source, "crl/operator.crl");
    assert_string_equal(entry.number, "");
    assert_true(entry.this_update == now - HOUR_MS && entry.next_update == now + 24 * HOUR_MS && entry.revoked == 1);
    crl_set_free(s);
}

static void another_issuers_list_says_nothing(void **state)
{
    struct crl_set *s = crl_set_new();

    (void)state;
    taken(s, "a", revocation_signed(plain(&other), &other, EVP_sha256()));
    assert_int_equal(answer(s, &leaf), REVOCATION_UNKNOWN);
    crl_set_free(s);
}

static struct buf text(const char *bytes)
{
    struct buf out;

    buf_init(&out, 1 << 20);
    revocation_append(&out, slice_text(bytes));
    return out;
}

static void what_is_no_crl_is_refused(void **state)
{
    struct buf certificate, longer = plain_bytes();
    uint8_t *der = NULL;
    int len = i2d_X509(leaf.certificate, &der);

    (void)state;
    buf_init(&certificate, 1 << 20);
    revocation_append(&certificate, slice_of(der, (size_t)len));
    OPENSSL_free(der);
    refused_alone(certificate, "not a CRL");
    refused_alone(text(""), "not a CRL");
    refused_alone(text("0 lists are in this file\n"), "not a CRL");
    refused_alone(text("\x30\x82\xff\xff"), "not a CRL");
    refused_alone(text("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"), "not a CRL");
    refused_alone(text("-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n"), "not a CRL");
    revocation_append(&longer, SLICE_LITERAL("\0"));
    refused_alone(longer, "not a CRL");
}

static void no_part_of_a_crl_and_no_changed_one_is_taken(void **state)
{
    struct buf whole = plain_bytes();
    struct crl_set *s = crl_set_new();

    (void)state;
    for (size_t len = 0; len < whole.len; len++)
        assert_false(crl_set_take(s, "part", slice_of(whole.data, len), MOST, authorities, now, 0, NULL));
    for (size_t i = 0; i < whole.len; i++) {
        whole.data[i] ^= (uint8_t)(1 << i % 8);
        assert_false(crl_set_take(s, "changed", buf_slice(&whole), MOST, authorities, now, 0, NULL));
        whole.data[i] ^= (uint8_t)(1 << i % 8);
    }
    assert_int_equal(crl_set_count(s), 0);
    taken(s, "whole", whole);
    crl_set_free(s);
}

static void more_bytes_than_allowed_are_not_read(void **state)
{
    struct buf whole = plain_bytes();
    struct crl_set *s = crl_set_new();
    struct err e = {0};

    (void)state;
    assert_false(crl_set_take(s, "a", buf_slice(&whole), whole.len - 1, authorities, now, 0, &e));
    assert_non_null(strstr(e.text, "over the limit"));
    assert_true(crl_set_take(s, "a", buf_slice(&whole), whole.len, authorities, now, 0, NULL));
    buf_free(&whole);
    crl_set_free(s);
}

static void only_configured_authorities_are_believed(void **state)
{
    struct issued unknown = revocation_authority("Stranger", certificates_ec("P-256"));

    (void)state;
    refused_alone(revocation_signed(plain(&unknown), &unknown, EVP_sha256()), "none of the authorities configured");
    refused_alone(revocation_signed(plain(&ca), &namesake, EVP_sha256()), "the signature is not its issuer's");
    refused_alone(revocation_signed(plain(&ca), &other, EVP_sha256()), "the signature is not its issuer's");
    certificates_free(&unknown);
}

static void weak_signatures_are_refused(void **state)
{
    (void)state;
    refused_alone(revocation_signed(plain(&other), &other, EVP_sha1()), "weak");
    refused_alone(revocation_signed(plain(&other), &other, EVP_md5()), "weak");
    refused_alone(revocation_signed(plain(&ca), &ca, EVP_sha1()), "weak");
    refused_alone(revocation_signed(plain(&other), &other, EVP_sha224()), "weak");
}

/* RSASSA-PSS says its digest in its parameters. */
static struct buf with_pss(const EVP_MD *digest)
{
    X509_CRL *crl = plain(&other);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx;
    uint8_t *der = NULL;
    struct buf out;
    int len;

    assert_int_equal(EVP_DigestSignInit(ctx, &pctx, digest, NULL, other.key), 1);
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
    sk_X509_push(authorities, edwards.certificate);
    taken(s, "rsa", revocation_signed(plain(&other), &other, EVP_sha512()));
    taken(s, "pss", with_pss(EVP_sha256()));
    taken(s, "ec", revocation_signed(plain(&ca), &ca, EVP_sha384()));
    taken(s, "ed", revocation_signed(plain(&edwards), &edwards, NULL));
    assert_int_equal(crl_set_count(s), 4);
    refused(s, with_pss(EVP_sha1()), "weak");
    sk_X509_pop(authorities);
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
    sk_X509_push(authorities, no_lists.certificate);
    sk_X509_push(authorities, any.certificate);
    refused(s, revocation_signed(plain(&no_lists), &no_lists, EVP_sha256()), "4.2.1.3");
    taken(s, "any", revocation_signed(plain(&any), &any, EVP_sha256()));
    sk_X509_pop(authorities);
    sk_X509_pop(authorities);
    crl_set_free(s);
    certificates_free(&no_lists);
    certificates_free(&any);
}

static struct buf dated(int64_t from, int64_t to)
{
    return revocation_signed(revocation_crl(&ca, from, to), &ca, EVP_sha256());
}

static void lists_that_do_not_hold_now_are_refused(void **state)
{
    struct crl_set *s = crl_set_new();
    struct buf stale = dated(now - 2 * HOUR_MS, now - HOUR_MS);
    struct err e = {0};

    (void)state;
    refused(s, dated(now - HOUR_MS, 0), "no nextUpdate");
    refused(s, dated(now + 6 * MINUTE_MS, now + HOUR_MS), "in the future");
    refused(s, dated(now - HOUR_MS, now - 2 * HOUR_MS), "in this order");
    refused(s, dated(now - HOUR_MS, now - 1000), "expired");
    taken(s, "ahead", dated(now + 4 * MINUTE_MS, now + HOUR_MS));
    crl_set_free(s);
    s = crl_set_new();
    assert_false(crl_set_take(s, "a", buf_slice(&stale), MOST, authorities, now, HOUR_MS - 1, &e));
    assert_non_null(strstr(e.text, "expired"));
    assert_true(crl_set_take(s, "a", buf_slice(&stale), MOST, authorities, now, HOUR_MS, NULL));
    buf_free(&stale);
    crl_set_free(s);
}

static void a_list_that_ended_says_nothing(void **state)
{
    struct crl_set *s = crl_set_new();
    int64_t end = now + 24 * HOUR_MS;
    struct revocation_finding f;

    (void)state;
    taken(s, "crl/a", plain_bytes());
    assert_int_equal(crl_set_check(s, leaf.certificate, ca.certificate, end, 0).answer, REVOCATION_REVOKED);
    f = crl_set_check(s, leaf.certificate, ca.certificate, end + 1, 0);
    assert_int_equal(f.answer, REVOCATION_UNKNOWN);
    assert_non_null(strstr(f.text, "the list of CN=Operator ended "));
    assert_int_equal(crl_set_check(s, clean.certificate, ca.certificate, end + 1, 0).answer, REVOCATION_UNKNOWN);
    f = crl_set_check(s, clean.certificate, ca.certificate, end + 1, HOUR_MS);
    assert_int_equal(f.answer, REVOCATION_GOOD);
    assert_true(f.until == end + HOUR_MS);
    crl_set_free(s);
}

/* A list with this number, of this age in minutes, that revokes 10 or not. */
static struct buf numbered(const char *number, int minutes, bool revokes)
{
    X509_CRL *crl = revocation_crl(&ca, now - minutes * MINUTE_MS, now + 24 * HOUR_MS);

    if (revokes)
        revocation_add(crl, 10, -1);
    if (number != NULL) {
        ASN1_INTEGER *n = s2i_ASN1_INTEGER(NULL, number);

        assert_int_equal(X509_CRL_add1_ext_i2d(crl, NID_crl_number, n, 0, 0), 1);
        ASN1_INTEGER_free(n);
    }
    return revocation_signed(crl, &ca, EVP_sha256());
}

static void an_older_list_does_not_come_back(void **state)
{
    struct crl_set *s = crl_set_new();

    (void)state;
    taken(s, "a", numbered("256", 30, true));
    assert_string_equal(crl_set_at(s, 0).number, "0100");
    refused(s, numbered("255", 10, false), "older than the list in force"); /* by its number, whatever it says of its date */
    refused(s, numbered("256", 31, false), "older than the list in force");
    refused(s, numbered(NULL, 31, false), "older than the list in force");
    assert_int_equal(answer(s, &leaf), REVOCATION_REVOKED);
    taken(s, "a", numbered("65536", 29, false));
    assert_int_equal(answer(s, &leaf), REVOCATION_GOOD);
    crl_set_free(s);
}

static void numbers_are_small_natural_ones(void **state)
{
    struct crl_set *s = crl_set_new();

    (void)state;
    refused(s, numbered("-1", 1, false), "cRLNumber");
    refused(s, numbered("0x10000000000000000000000000000000000000000", 1, false), "cRLNumber"); /* 21 octets */
    taken(s, "a", numbered("0x8000000000000000000000000000000000000000", 1, false));
    assert_string_equal(crl_set_at(s, 0).number, "8000000000000000000000000000000000000000");
    crl_set_free(s);
}

static void of_two_sources_the_newer_list_counts(void **state)
{
    struct crl_set *s = crl_set_new();
    struct buf old = numbered("5", 50, true);
    uint64_t generation;

    (void)state;
    assert_true(crl_set_take(s, "file", buf_slice(&old), MOST, authorities, now, 0, NULL));
    taken(s, "url", numbered("6", 40, false)); /* 10 was on hold, and is no more */
    assert_int_equal(answer(s, &leaf), REVOCATION_GOOD);
    assert_int_equal(crl_set_count(s), 1);
    assert_string_equal(crl_set_at(s, 0).source, "url");
    /* The file read again as it is: no error, nothing changes. */
    generation = crl_set_generation(s);
    assert_true(crl_set_take(s, "file", buf_slice(&old), MOST, authorities, now, 0, NULL));
    assert_int_equal(crl_set_generation(s), generation);
    assert_int_equal(answer(s, &leaf), REVOCATION_GOOD);
    crl_set_drop(s, "url");
    assert_true(crl_set_generation(s) > generation);
    assert_int_equal(answer(s, &leaf), REVOCATION_REVOKED);
    crl_set_drop(s, "file");
    assert_int_equal(crl_set_count(s), 0);
    assert_int_equal(answer(s, &leaf), REVOCATION_UNKNOWN);
    generation = crl_set_generation(s);
    crl_set_drop(s, "file");
    assert_int_equal(crl_set_generation(s), generation);
    buf_free(&old);
    crl_set_free(s);
}

static X509_CRL *scoped(const char *scope)
{
    X509_CRL *crl = plain(&ca);

    revocation_extend(crl, NID_issuing_distribution_point, scope, &ca);
    return crl;
}

static struct buf scoped_bytes(const char *scope)
{
    return revocation_signed(scoped(scope), &ca, EVP_sha256());
}

static struct buf with_unknown(bool critical)
{
    X509_CRL *crl = plain(&ca);
    X509_EXTENSION *extension = revocation_unknown(critical);

    X509_CRL_add_ext(crl, extension, -1);
    X509_EXTENSION_free(extension);
    return revocation_signed(crl, &ca, EVP_sha256());
}

static struct buf twice(int nid, const char *value, const char *second)
{
    X509_CRL *crl = plain(&ca);

    revocation_extend(crl, nid, value, &ca);
    revocation_extend(crl, nid, second, &ca);
    return revocation_signed(crl, &ca, EVP_sha256());
}

static void kinds_of_lists_that_are_not_understood_are_refused(void **state)
{
    X509_CRL *delta = plain(&ca);
    ASN1_INTEGER *base = s2i_ASN1_INTEGER(NULL, "1");
    struct crl_set *s = crl_set_new();

    (void)state;
    X509_CRL_add1_ext_i2d(delta, NID_delta_crl, base, 1, 0);
    ASN1_INTEGER_free(base);
    refused(s, revocation_signed(delta, &ca, EVP_sha256()), "delta");
    refused(s, scoped_bytes("critical,indirectCRL:TRUE"), "indirect");
    refused(s, scoped_bytes("indirectCRL:TRUE"), "indirect");
    refused(s, scoped_bytes("critical,onlysomereasons:keyCompromise"), "some reasons");
    refused(s, scoped_bytes("critical,onlyAA:TRUE"), "attribute certificates");
    refused(s, scoped_bytes("critical,onlyuser:TRUE,onlyCA:TRUE"), "users only and of authorities only");
    refused(s, scoped_bytes("critical,DER:05:00"), "issuingDistributionPoint cannot be read");
    refused(s, twice(NID_issuing_distribution_point, "onlyuser:TRUE", "onlyCA:TRUE"), "two of issuingDistributionPoint");
    refused(s, with_unknown(true), "unknown critical extension 1.3.6.1.4.1.99999.1");
    taken(s, "a", with_unknown(false));
    crl_set_free(s);
}

/* A list whose one entry has this extension. */
static struct buf with_entry(X509_EXTENSION *extension)
{
    X509_CRL *crl = revocation_crl(&ca, now - HOUR_MS, now + HOUR_MS);
    X509_REVOKED *entry;

    revocation_add(crl, 10, -1);
    entry = sk_X509_REVOKED_value(X509_CRL_get_REVOKED(crl), 0);
    X509_REVOKED_add_ext(entry, extension, -1);
    X509_EXTENSION_free(extension);
    return revocation_signed(crl, &ca, EVP_sha256());
}

static X509_EXTENSION *extension_of(const char *oid, const char *bytes, size_t len, bool critical)
{
    ASN1_OBJECT *object = OBJ_txt2obj(oid, 1);
    ASN1_OCTET_STRING *data = ASN1_OCTET_STRING_new();
    X509_EXTENSION *extension;

    ASN1_OCTET_STRING_set(data, (const uint8_t *)bytes, (int)len);
    extension = X509_EXTENSION_create_by_OBJ(NULL, object, critical, data);
    ASN1_OBJECT_free(object);
    ASN1_OCTET_STRING_free(data);
    return extension;
}

static void entries_that_are_not_understood_make_the_list_unusable(void **state)
{
    struct crl_set *s = crl_set_new();

    (void)state;
    refused(s, with_entry(revocation_unknown(true)), "entry 1: unknown critical extension");
    refused(s, with_entry(extension_of("2.5.29.29", "\x30\x00", 2, true)), "another issuer");
    refused(s, with_entry(extension_of("2.5.29.29", "\x30\x00", 2, false)), "another issuer");
    refused(s, with_entry(extension_of("2.5.29.21", "\x0a\x00", 2, false)), "broken reason code");
    refused(s, with_entry(extension_of("2.5.29.21", "\x0a\x01\x01\x00", 4, false)), "broken reason code");
    refused(s, with_entry(extension_of("2.5.29.21", "\x02\x01\x01", 3, false)), "broken reason code");
    taken(s, "unknown", with_entry(revocation_unknown(false)));
    assert_int_equal(answer(s, &leaf), REVOCATION_REVOKED);
    crl_set_drop(s, "unknown");
    taken(s, "invalid since", with_entry(extension_of("2.5.29.24", "\x18\x0f" "20260101000000Z", 17, true)));
    assert_int_equal(answer(s, &leaf), REVOCATION_REVOKED);
    crl_set_drop(s, "invalid since");
    taken(s, "reason 77", with_entry(extension_of("2.5.29.21", "\x0a\x01\x4d", 3, false)));
    assert_non_null(strstr(check(s, &leaf).text, "no known reason"));
    crl_set_free(s);
}

static struct buf joined(struct buf a, struct buf b)
{
    revocation_append(&a, buf_slice(&b));
    buf_free(&b);
    return a;
}

static struct buf pem_of(struct buf der)
{
    struct buf pem = revocation_pem(buf_slice(&der));

    buf_free(&der);
    return pem;
}

static struct buf other_pem(void)
{
    return pem_of(revocation_signed(plain(&other), &other, EVP_sha256()));
}

static void a_file_may_hold_several_among_other_things(void **state)
{
    struct crl_set *s = crl_set_new();
    struct buf file = text("Lists of today\n\n-----BEGIN NOTHING\n-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\nbetween\n");

    (void)state;
    file = joined(joined(file, pem_of(plain_bytes())), text("\r\n# and the other\r\n"));
    file = joined(joined(file, other_pem()), text("the end"));
    taken(s, "both", file);
    assert_int_equal(crl_set_count(s), 2);
    assert_int_equal(answer(s, &leaf), REVOCATION_REVOKED);
    crl_set_free(s);
}

static void one_bad_list_spoils_its_file_and_no_other(void **state)
{
    struct crl_set *s = crl_set_new();
    struct buf cut = joined(other_pem(), pem_of(plain_bytes()));

    (void)state;
    taken(s, "crl/new", pem_of(plain_bytes()));
    refused(s, joined(other_pem(), pem_of(dated(now - HOUR_MS, 0))), "list 2: no nextUpdate");
    cut.len -= 60; /* the second one has no end line and some bytes less */
    refused(s, cut, "broken PEM after list 1");
    assert_int_equal(answer(s, &leaf), REVOCATION_REVOKED);
    taken(s, "crl/new", other_pem());
    assert_int_equal(answer(s, &leaf), REVOCATION_UNKNOWN);
    crl_set_free(s);
}

static void nothing_changes_when_the_same_lists_come_again(void **state)
{
    struct crl_set *s = crl_set_new();
    struct buf file = joined(other_pem(), pem_of(plain_bytes()));
    uint64_t generation;

    (void)state;
    assert_true(crl_set_take(s, "a", buf_slice(&file), MOST, authorities, now, 0, NULL));
    generation = crl_set_generation(s);
    assert_true(crl_set_take(s, "a", buf_slice(&file), MOST, authorities, now, 0, NULL));
    assert_int_equal(crl_set_generation(s), generation);
    assert_int_equal(crl_set_count(s), 2);
    taken(s, "a", pem_of(plain_bytes())); /* one less, and signed anew */
    assert_true(crl_set_generation(s) > generation);
    assert_int_equal(crl_set_count(s), 1);
    buf_free(&file);
    crl_set_free(s);
}

static void an_authority_with_a_new_key_has_lists_of_both(void **state)
{
    const struct certificate_wanted w = {.cn = "new", .serial = 10};
    struct issued young = revocation_certificate(certificates_ec("P-256"), &w, &again);
    struct crl_set *s = crl_set_new();
    X509_CRL *wrong;

    (void)state;
    taken(s, "new", revocation_signed(plain(&again), &again, EVP_sha256()));
    /* A list of the new key says nothing of what the old one signed: a namesake may have the same serial numbers. */
    assert_int_equal(answer(s, &leaf), REVOCATION_UNKNOWN);
    assert_int_equal(crl_set_check(s, young.certificate, again.certificate, now, 0).answer, REVOCATION_REVOKED);
    taken(s, "old", dated(now - 2 * HOUR_MS, now + HOUR_MS)); /* older, of the other key: not the same list */
    assert_int_equal(crl_set_count(s), 2);
    assert_int_equal(answer(s, &leaf), REVOCATION_GOOD);
    assert_int_equal(crl_set_check(s, young.certificate, again.certificate, now, 0).answer, REVOCATION_REVOKED);
    wrong = plain(&ca);
    revocation_extend(wrong, NID_authority_key_identifier, "keyid:always", &ca);
    taken(s, "identified", revocation_signed(wrong, &ca, EVP_sha256()));
    wrong = plain(&ca);
    revocation_extend(wrong, NID_authority_key_identifier, "keyid:always", &namesake);
    refused(s, revocation_signed(wrong, &ca, EVP_sha256()), "authority key identifier");
    crl_set_free(s);
    certificates_free(&young);
}

static void a_renewed_authority_with_its_key_is_the_same(void **state)
{
    struct issued renewed;
    struct crl_set *s = crl_set_new();

    (void)state;
    EVP_PKEY_up_ref(ca.key);
    renewed = revocation_authority("Operator", ca.key);
    taken(s, "a", plain_bytes());
    assert_int_equal(crl_set_check(s, leaf.certificate, renewed.certificate, now, 0).answer, REVOCATION_REVOKED);
    crl_set_free(s);
    certificates_free(&renewed);
}

static enum revocation_answer in_scope(struct buf list, const struct issued *of)
{
    struct crl_set *s = crl_set_new();
    enum revocation_answer found;

    taken(s, "a", list);
    found = answer(s, of);
    if (found == REVOCATION_UNKNOWN)
        assert_non_null(strstr(check(s, of).text, "5.2.5"));
    crl_set_free(s);
    return found;
}

static void lists_of_users_or_authorities_speak_of_those_only(void **state)
{
    (void)state;
    assert_int_equal(in_scope(scoped_bytes("critical,onlyuser:TRUE"), &leaf), REVOCATION_REVOKED);
    assert_int_equal(in_scope(scoped_bytes("critical,onlyuser:TRUE"), &middle), REVOCATION_UNKNOWN);
    assert_int_equal(in_scope(scoped_bytes("critical,onlyCA:TRUE"), &leaf), REVOCATION_UNKNOWN);
    assert_int_equal(in_scope(scoped_bytes("critical,onlyCA:TRUE"), &middle), REVOCATION_GOOD);
}

/* A certificate with these distribution points, and serial number 10. */
static struct issued pointed(const char *points)
{
    const struct certificate_wanted w = {.cn = "pointed", .serial = 10, .extensions = {{NID_crl_distribution_points, points}}};

    return revocation_certificate(certificates_ec("P-256"), &w, &ca);
}

static enum revocation_answer at_point(const char *scope, const char *points)
{
    struct issued one = pointed(points);
    enum revocation_answer found = in_scope(scoped_bytes(scope), &one);

    certificates_free(&one);
    return found;
}

static void lists_of_a_distribution_point_speak_of_its_certificates(void **state)
{
    const char *a = "critical,fullname:URI:http://crl.test/a", *both = "critical,fullname:URI:http://crl.test/b";

    (void)state;
    assert_int_equal(at_point(a, "URI:http://crl.test/a"), REVOCATION_REVOKED);
    assert_int_equal(at_point(a, "URI:http://crl.test/b"), REVOCATION_UNKNOWN);
    assert_int_equal(at_point(both, "URI:http://crl.test/a,URI:http://crl.test/b"), REVOCATION_REVOKED);
    assert_int_equal(in_scope(scoped_bytes(a), &leaf), REVOCATION_UNKNOWN); /* it names no distribution point */
    assert_int_equal(at_point("critical,onlyuser:TRUE", "URI:http://crl.test/b"), REVOCATION_REVOKED);
}

static GENERAL_NAMES *names_of(X509_NAME *name)
{
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    GENERAL_NAME *one = GENERAL_NAME_new();

    GENERAL_NAME_set0_value(one, GEN_DIRNAME, X509_NAME_dup(name));
    sk_GENERAL_NAME_push(names, one);
    return names;
}

/* A distribution point named relative to its issuer: CN=<text>. */
static DIST_POINT_NAME *relative(const char *cn)
{
    DIST_POINT_NAME *point = DIST_POINT_NAME_new();
    X509_NAME_ENTRY *entry = X509_NAME_ENTRY_create_by_NID(NULL, NID_commonName, MBSTRING_UTF8, (const uint8_t *)cn, -1);

    point->type = 1;
    point->name.relativename = sk_X509_NAME_ENTRY_new_null();
    sk_X509_NAME_ENTRY_push(point->name.relativename, entry);
    return point;
}

static struct buf list_at(DIST_POINT_NAME *point)
{
    ISSUING_DIST_POINT *idp = ISSUING_DIST_POINT_new();
    X509_CRL *crl = plain(&ca);

    idp->distpoint = point;
    assert_int_equal(X509_CRL_add1_ext_i2d(crl, NID_issuing_distribution_point, idp, 1, 0), 1);
    ISSUING_DIST_POINT_free(idp);
    return revocation_signed(crl, &ca, EVP_sha256());
}

/* A certificate with this one distribution point (taken over). */
static struct issued with_point(DIST_POINT *point)
{
    const struct certificate_wanted w = {.cn = "pointed", .serial = 10};
    struct issued one = revocation_certificate(certificates_ec("P-256"), &w, &ca);
    CRL_DIST_POINTS *points = sk_DIST_POINT_new_null();

    sk_DIST_POINT_push(points, point);
    assert_int_equal(X509_add1_ext_i2d(one.certificate, NID_crl_distribution_points, points, 0, 0), 1);
    CRL_DIST_POINTS_free(points);
    assert_true(X509_sign(one.certificate, ca.key, EVP_sha256()) > 0);
    return one;
}

static enum revocation_answer at_made_point(DIST_POINT *mine, DIST_POINT_NAME *lists)
{
    struct issued one = with_point(mine);
    enum revocation_answer found = in_scope(list_at(lists), &one);

    certificates_free(&one);
    return found;
}

static DIST_POINT *made(DIST_POINT_NAME *name, GENERAL_NAMES *issuer, bool reasons)
{
    DIST_POINT *point = DIST_POINT_new();

    point->distpoint = name;
    point->CRLissuer = issuer;
    if (reasons) {
        point->reasons = ASN1_BIT_STRING_new();
        ASN1_BIT_STRING_set_bit(point->reasons, 1, 1);
    }
    return point;
}

static DIST_POINT_NAME *full(GENERAL_NAMES *names)
{
    DIST_POINT_NAME *point = DIST_POINT_NAME_new();

    point->type = 0;
    point->name.fullname = names;
    return point;
}

static void distribution_points_have_names_of_every_kind(void **state)
{
    X509_NAME *mine = X509_get_subject_name(ca.certificate), *theirs = X509_get_subject_name(other.certificate);

    (void)state;
    assert_int_equal(at_made_point(made(relative("part 1"), NULL, false), relative("part 1")), REVOCATION_REVOKED);
    assert_int_equal(at_made_point(made(relative("part 1"), NULL, false), relative("part 2")), REVOCATION_UNKNOWN);
    /* The issuer's own name: that is where a certificate without distribution points is looked for. */
    assert_int_equal(in_scope(list_at(full(names_of(mine))), &leaf), REVOCATION_REVOKED);
    assert_int_equal(in_scope(list_at(full(names_of(theirs))), &leaf), REVOCATION_UNKNOWN);
    /* With cRLIssuer, and without a name of its own. */
    assert_int_equal(at_made_point(made(NULL, names_of(mine), false), full(names_of(mine))), REVOCATION_REVOKED);
    /* Where another issuer's lists are found, or those of some reasons, ours are not the answer. */
    assert_int_equal(at_made_point(made(relative("part 1"), names_of(theirs), false), relative("part 1")), REVOCATION_UNKNOWN);
    assert_int_equal(at_made_point(made(relative("part 1"), NULL, true), relative("part 1")), REVOCATION_UNKNOWN);
}

static void of_several_lists_any_that_revokes_decides(void **state)
{
    struct crl_set *s = crl_set_new();
    struct revocation_finding f;

    (void)state;
    taken(s, "all", dated(now - HOUR_MS, now + HOUR_MS));
    assert_int_equal(answer(s, &leaf), REVOCATION_GOOD);
    taken(s, "users", scoped_bytes("critical,onlyuser:TRUE"));
    assert_int_equal(crl_set_count(s), 2);
    assert_int_equal(answer(s, &leaf), REVOCATION_REVOKED);
    f = check(s, &clean);
    assert_int_equal(f.answer, REVOCATION_GOOD);
    assert_true(f.until == now + 24 * HOUR_MS); /* as long as any of them holds */
    crl_set_free(s);
}

static enum revocation_answer with_reasons(int first, int second)
{
    X509_CRL *crl = revocation_crl(&ca, now - HOUR_MS, now + HOUR_MS);
    struct crl_set *s = crl_set_new();
    enum revocation_answer found;

    revocation_add(crl, 10, first);
    if (second >= 0)
        revocation_add(crl, 10, second);
    taken(s, "a", revocation_signed(crl, &ca, EVP_sha256()));
    found = answer(s, &leaf);
    crl_set_free(s);
    return found;
}

static void hold_is_revoked_and_taken_back_is_not(void **state)
{
    (void)state;
    assert_int_equal(with_reasons(CRL_REASON_CERTIFICATE_HOLD, -1), REVOCATION_REVOKED);
    assert_int_equal(with_reasons(CRL_REASON_REMOVE_FROM_CRL, -1), REVOCATION_GOOD);
    assert_int_equal(with_reasons(CRL_REASON_REMOVE_FROM_CRL, CRL_REASON_KEY_COMPROMISE), REVOCATION_REVOKED);
    assert_int_equal(with_reasons(CRL_REASON_KEY_COMPROMISE, CRL_REASON_REMOVE_FROM_CRL), REVOCATION_REVOKED);
}

static void a_list_of_300000_is_searched_not_walked(void **state)
{
    enum { COUNT = 300000 };
    X509_CRL *crl = revocation_crl(&ca, now - HOUR_MS, now + HOUR_MS);
    struct crl_set *s = crl_set_new();
    const struct certificate_wanted base = {.cn = "many"};
    EVP_PKEY *key = certificates_ec("P-256");

    (void)state;
    for (long i = 0; i < COUNT; i++) /* 1000, 1002, … in no order */
        revocation_add(crl, 1000 + 2 * (i * 7919 % COUNT), i % 3 == 0 ? CRL_REASON_SUPERSEDED : -1);
    taken(s, "many", revocation_signed(crl, &ca, EVP_sha256()));
    assert_int_equal(crl_set_at(s, 0).revoked, COUNT);
    for (long serial = 999; serial < 1000 + 2 * COUNT + 5; serial += serial < 1010 || serial > 2 * COUNT + 990 ? 1 : 60011) {
        struct certificate_wanted w = base;
        struct issued one;

        EVP_PKEY_up_ref(key);
        w.serial = serial;
        one = revocation_certificate(key, &w, &ca);
        assert_int_equal(answer(s, &one), serial >= 1000 && serial < 1000 + 2 * COUNT && serial % 2 == 0 ? REVOCATION_REVOKED : REVOCATION_GOOD);
        certificates_free(&one);
    }
    /* Half a million answers, in no time worth mentioning: walked, they would take a quarter of an hour. */
    for (unsigned i = 0; i < 500000; i++)
        (void)crl_set_check(s, clean.certificate, ca.certificate, now, 0);
    EVP_PKEY_free(key);
    crl_set_free(s);
}

/* Serial numbers of every length and sign: as OpenSSL finds them. */
static void openssl_finds_the_same(void **state)
{
    X509_CRL *crl = revocation_crl(&ca, now - HOUR_MS, now + HOUR_MS), *theirs;
    struct crl_set *s = crl_set_new();
    const struct certificate_wanted w = {.cn = "any", .serial = 1};
    EVP_PKEY *key = certificates_ec("P-256");
    struct issued one = revocation_certificate(key, &w, &ca);
    struct buf bytes;
    const uint8_t *at;
    unsigned found = 0;

    (void)state;
    srand(7);
    for (int i = 0; i < 3000; i++)
        revocation_add(crl, rand() % 3 == 0 ? rand() % 600 - 300 : (long)rand() << rand() % 30, rand() % 11 == 7 ? -1 : rand() % 11 == 8 ? 8 : -1);
    bytes = revocation_signed(crl, &ca, EVP_sha256());
    at = bytes.data;
    theirs = d2i_X509_CRL(NULL, &at, (long)bytes.len);
    taken(s, "a", bytes);
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
        assert_int_equal(answer(s, &one), revoked ? REVOCATION_REVOKED : REVOCATION_GOOD);
        found += revoked;
    }
    assert_true(found > 100);
    X509_CRL_free(theirs);
    crl_set_free(s);
    certificates_free(&one);
}

/* ---- lists that no library would write, signed nevertheless ---- */

/* Appends an element of less than 64 KiB. */
static void put(struct buf *out, uint8_t tag, struct slice content)
{
    uint8_t head[4] = {tag, (uint8_t)content.len};
    size_t len = 2;

    if (content.len >= 256) {
        head[1] = 0x82;
        head[2] = (uint8_t)(content.len >> 8);
        head[3] = (uint8_t)content.len;
        len = 4;
    } else if (content.len >= 128) {
        head[1] = 0x81;
        head[2] = (uint8_t)content.len;
        len = 3;
    }
    revocation_append(out, slice_of(head, len));
    revocation_append(out, content);
}

static const struct slice ecdsa_sha256 = {(const uint8_t *)"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02", 12},
                          ecdsa_sha384 = {(const uint8_t *)"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03", 12};

/* Signs these contents of a tBSCertList. */
static struct buf crafted(struct slice contents, struct slice algorithm)
{
    struct buf tbs, inside, list;
    uint8_t bits[256] = {0};
    size_t len = sizeof bits - 1;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    buf_init(&tbs, 1 << 20);
    buf_init(&inside, 1 << 20);
    buf_init(&list, 1 << 20);
    put(&tbs, 0x30, contents);
    assert_int_equal(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, ca.key), 1);
    assert_int_equal(EVP_DigestSign(ctx, bits + 1, &len, tbs.data, tbs.len), 1);
    revocation_append(&inside, buf_slice(&tbs));
    revocation_append(&inside, algorithm);
    put(&inside, 3, slice_of(bits, len + 1));
    put(&list, 0x30, buf_slice(&inside));
    EVP_MD_CTX_free(ctx);
    buf_free(&tbs);
    buf_free(&inside);
    return list;
}

/* Contents of a tBSCertList: version, algorithm, issuer, dates, then entries and what follows. */
static struct buf tbs_of(struct slice version, const char *from, const char *to, struct slice rest)
{
    struct buf out;
    const uint8_t *name;
    size_t len;

    buf_init(&out, 1 << 20);
    revocation_append(&out, version);
    revocation_append(&out, ecdsa_sha256);
    assert_int_equal(X509_NAME_get0_der(X509_get_subject_name(ca.certificate), &name, &len), 1);
    revocation_append(&out, slice_of(name, len));
    put(&out, strlen(from) == 13 ? 0x17 : 0x18, slice_text(from));
    if (to != NULL)
        put(&out, strlen(to) == 13 ? 0x17 : 0x18, slice_text(to));
    revocation_append(&out, rest);
    return out;
}

static struct buf crafted_with(const char *version, const char *from, const char *to, const void *rest, size_t rest_len)
{
    struct buf contents = tbs_of(slice_of(version, version[0] == '\0' ? 0 : 3), from, to, slice_of(rest, rest_len)), list = crafted(buf_slice(&contents), ecdsa_sha256);

    buf_free(&contents);
    return list;
}

#define V2 "\x02\x01\x01"
#define REST(bytes) bytes, sizeof(bytes) - 1
#define FROM "20260101000000Z"
#define TO "20991231235959Z"
#define ENTRY_DATE "\x17\x0d" "260101000000Z"

static void signed_nonsense_is_refused_too(void **state)
{
    (void)state;
    refused_alone(crafted_with("\x02\x01\x02", FROM, TO, REST("")), "neither 1 nor 2");
    refused_alone(crafted_with(V2, "2026010100Z", TO, REST("")), "no readable thisUpdate");
    refused_alone(crafted_with(V2, "20260101000000+0100", TO, REST("")), "no readable thisUpdate");
    refused_alone(crafted_with(V2, "20260101000000.5Z", TO, REST("")), "no readable thisUpdate");
    refused_alone(crafted_with(V2, "20260230000000Z", TO, REST("")), "in this order");
    refused_alone(crafted_with(V2, FROM, "20991231Z", REST("")), "nextUpdate cannot be read");
    refused_alone(crafted_with(V2, FROM, TO, REST("\x30\x02\x30\x00")), "entry 1: not a serial number and a date");
    refused_alone(crafted_with(V2, FROM, TO, REST("\x30\x13\x30\x11\x02\x00" ENTRY_DATE)), "entry 1: not a serial number and a date");
    refused_alone(crafted_with(V2, FROM, TO, REST("\x30\x15\x30\x13\x02\x02\x00\x0a" ENTRY_DATE)), "entry 1: not a serial number and a date");
    refused_alone(crafted_with(V2, FROM, TO, REST("\x30\x18\x30\x14\x02\x01\x0a" ENTRY_DATE "\x05\x00\x30\x00")), "entry 1: after its date");
    refused_alone(crafted_with(V2, FROM, TO, REST("\x30\x16\x30\x12\x02\x01\x0a" ENTRY_DATE "\x05\x00")), "entry 2: cut off");
    refused_alone(crafted_with("", FROM, TO, REST("\x30\x16\x30\x14\x02\x01\x0a" ENTRY_DATE "\x30\x00")), "entry 1: after its date");
    refused_alone(crafted_with("", FROM, TO, REST("\xa0\x02\x30\x00")), "something else than extensions of a version 2");
    refused_alone(crafted_with(V2, FROM, TO, REST("\xa0\x02\x30\x00\x05\x00")), "something else than extensions");
    refused_alone(crafted_with(V2, FROM, TO, REST("\xa0\x04\x30\x00\x05\x00")), "something else than extensions");
}

static void odd_lists_that_are_in_order_are_taken(void **state)
{
    (void)state;
    /* Version 1; revokedCertificates there and empty; UTCTime. */
    assert_int_equal(in_scope(crafted_with("", FROM, TO, REST("\x30\x14\x30\x12\x02\x01\x0a" ENTRY_DATE)), &leaf), REVOCATION_REVOKED);
    assert_int_equal(in_scope(crafted_with(V2, "260101000000Z", "491231235959Z", REST("\x30\x00")), &leaf), REVOCATION_GOOD);
}

static void two_algorithms_that_differ_are_refused(void **state)
{
    struct buf contents = tbs_of(SLICE_LITERAL(V2), FROM, TO, slice_of("", 0));

    (void)state;
    refused_alone(crafted(buf_slice(&contents), ecdsa_sha384), "two signature algorithms");
    buf_free(&contents);
}

/* An issuer's name, or extensions, of megabytes are not looked at. */
static void heads_have_a_limit(void **state)
{
    X509_CRL *crl = plain(&ca);
    char *bytes = calloc(1, 70000);
    X509_EXTENSION *extension = extension_of("1.3.6.1.4.1.99999.1", bytes, 70000, false);

    (void)state;
    X509_CRL_add_ext(crl, extension, -1);
    X509_EXTENSION_free(extension);
    refused_alone(revocation_signed(crl, &ca, EVP_sha256()), "of over 65536 bytes");
    crl = plain(&ca);
    extension = extension_of("2.5.29.28", bytes, 4097, true);
    X509_CRL_add_ext(crl, extension, -1);
    X509_EXTENSION_free(extension);
    refused_alone(revocation_signed(crl, &ca, EVP_sha256()), "over 4096 bytes");
    free(bytes);
}

static void a_set_has_a_limit(void **state)
{
    struct crl_set *s = crl_set_new();
    struct buf one = pem_of(plain_bytes()), file;

    (void)state;
    buf_init(&file, MOST);
    for (int i = 0; i < 1001; i++)
        revocation_append(&file, buf_slice(&one));
    refused(s, file, "more than 1000 lists");
    buf_free(&one);
    crl_set_free(s);
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
        cmocka_unit_test(an_older_list_does_not_come_back),
        cmocka_unit_test(numbers_are_small_natural_ones),
        cmocka_unit_test(of_two_sources_the_newer_list_counts),
        cmocka_unit_test(kinds_of_lists_that_are_not_understood_are_refused),
        cmocka_unit_test(entries_that_are_not_understood_make_the_list_unusable),
        cmocka_unit_test(a_file_may_hold_several_among_other_things),
        cmocka_unit_test(one_bad_list_spoils_its_file_and_no_other),
        cmocka_unit_test(nothing_changes_when_the_same_lists_come_again),
        cmocka_unit_test(an_authority_with_a_new_key_has_lists_of_both),
        cmocka_unit_test(a_renewed_authority_with_its_key_is_the_same),
        cmocka_unit_test(lists_of_users_or_authorities_speak_of_those_only),
        cmocka_unit_test(lists_of_a_distribution_point_speak_of_its_certificates),
        cmocka_unit_test(distribution_points_have_names_of_every_kind),
        cmocka_unit_test(of_several_lists_any_that_revokes_decides),
        cmocka_unit_test(hold_is_revoked_and_taken_back_is_not),
        cmocka_unit_test(a_list_of_300000_is_searched_not_walked),
        cmocka_unit_test(openssl_finds_the_same),
        cmocka_unit_test(signed_nonsense_is_refused_too),
        cmocka_unit_test(odd_lists_that_are_in_order_are_taken),
        cmocka_unit_test(two_algorithms_that_differ_are_refused),
        cmocka_unit_test(heads_have_a_limit),
        cmocka_unit_test(a_set_has_a_limit),
    };

    return cmocka_run_group_tests_name("crl", tests, set_up, tear_down);
}
