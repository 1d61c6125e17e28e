/* CRLs that were signed and are refused nevertheless: kinds that are not taken, what is not understood, DER that is none. */
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <string.h>

#include "common/identity/pkix.h"
#include "tests/unit/lists.h"

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

static struct buf with_unknown(bool critical)
{
    X509_CRL *crl = lists_plain(&lists.ca);
    X509_EXTENSION *extension = revocation_unknown(critical);

    X509_CRL_add_ext(crl, extension, -1);
    X509_EXTENSION_free(extension);
    return revocation_signed(crl, &lists.ca, EVP_sha256());
}

static struct buf twice(int nid, const char *value, const char *second)
{
    X509_CRL *crl = lists_plain(&lists.ca);

    revocation_extend(crl, nid, value, &lists.ca);
    revocation_extend(crl, nid, second, &lists.ca);
    return revocation_signed(crl, &lists.ca, EVP_sha256());
}

static void kinds_of_lists_that_are_not_understood_are_refused(void **state)
{
    X509_CRL *delta = lists_plain(&lists.ca);
    ASN1_INTEGER *base = s2i_ASN1_INTEGER(NULL, "1");
    struct crl_set *s = crl_set_new();

    (void)state;
    X509_CRL_add1_ext_i2d(delta, NID_delta_crl, base, 1, 0);
    ASN1_INTEGER_free(base);
    lists_refused(s, revocation_signed(delta, &lists.ca, EVP_sha256()), "delta");
    lists_refused(s, lists_scoped("critical,indirectCRL:TRUE"), "indirect");
    lists_refused(s, lists_scoped("indirectCRL:TRUE"), "indirect");
    lists_refused(s, lists_scoped("critical,onlysomereasons:keyCompromise"), "some reasons");
    lists_refused(s, lists_scoped("critical,onlyAA:TRUE"), "attribute certificates");
    lists_refused(s, lists_scoped("critical,onlyuser:TRUE,onlyCA:TRUE"), "users only and of authorities only");
    lists_refused(s, lists_scoped("critical,DER:05:00"), "issuingDistributionPoint cannot be read");
    lists_refused(s, twice(NID_issuing_distribution_point, "onlyuser:TRUE", "onlyCA:TRUE"), "two of issuingDistributionPoint");
    lists_refused(s, with_unknown(true), "unknown critical extension 1.3.6.1.4.1.99999.1");
    lists_taken(s, "a", with_unknown(false));
    crl_set_free(s);
}

/* A list whose one entry has this extension. */
static struct buf with_entry(X509_EXTENSION *extension)
{
    X509_CRL *crl = revocation_crl(&lists.ca, lists.now - HOUR_MS, lists.now + HOUR_MS);
    X509_REVOKED *entry;

    revocation_add(crl, 10, -1);
    entry = sk_X509_REVOKED_value(X509_CRL_get_REVOKED(crl), 0);
    X509_REVOKED_add_ext(entry, extension, -1);
    X509_EXTENSION_free(extension);
    return revocation_signed(crl, &lists.ca, EVP_sha256());
}

static void entries_that_are_not_understood_make_the_list_unusable(void **state)
{
    struct crl_set *s = crl_set_new();

    (void)state;
    lists_refused(s, with_entry(revocation_unknown(true)), "entry 1: unknown critical extension");
    lists_refused(s, with_entry(extension_of("2.5.29.29", "\x30\x00", 2, true)), "another issuer");
    lists_refused(s, with_entry(extension_of("2.5.29.29", "\x30\x00", 2, false)), "another issuer");
    lists_refused(s, with_entry(extension_of("2.5.29.21", "\x0a\x00", 2, false)), "broken reason code");
    lists_refused(s, with_entry(extension_of("2.5.29.21", "\x0a\x01\x01\x00", 4, false)), "broken reason code");
    lists_refused(s, with_entry(extension_of("2.5.29.21", "\x02\x01\x01", 3, false)), "broken reason code");
    lists_taken(s, "unknown", with_entry(revocation_unknown(false)));
    assert_int_equal(lists_answer(s, &lists.leaf), REVOCATION_REVOKED);
    crl_set_drop(s, "unknown");
    lists_taken(s, "invalid since", with_entry(extension_of("2.5.29.24", "\x18\x0f" "20260101000000Z", 17, true)));
    assert_int_equal(lists_answer(s, &lists.leaf), REVOCATION_REVOKED);
    crl_set_drop(s, "invalid since");
    lists_taken(s, "reason 77", with_entry(extension_of("2.5.29.21", "\x0a\x01\x4d", 3, false)));
    assert_non_null(strstr(lists_check(s, &lists.leaf).text, "no known reason"));
    crl_set_free(s);
}

/* An issuer's name, or extensions, of megabytes are not looked at. */
static void heads_have_a_limit(void **state)
{
    X509_CRL *crl = lists_plain(&lists.ca);
    char *bytes = calloc(1, 70000);
    X509_EXTENSION *extension = extension_of("1.3.6.1.4.1.99999.1", bytes, 70000, false);

    (void)state;
    X509_CRL_add_ext(crl, extension, -1);
    X509_EXTENSION_free(extension);
    lists_refused_alone(revocation_signed(crl, &lists.ca, EVP_sha256()), "of over 65536 bytes");
    crl = lists_plain(&lists.ca);
    extension = extension_of("2.5.29.28", bytes, 4097, true);
    X509_CRL_add_ext(crl, extension, -1);
    X509_EXTENSION_free(extension);
    lists_refused_alone(revocation_signed(crl, &lists.ca, EVP_sha256()), "over 4096 bytes");
    free(bytes);
}

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
    assert_int_equal(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, lists.ca.key), 1);
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
    assert_int_equal(X509_NAME_get0_der(X509_get_subject_name(lists.ca.certificate), &name, &len), 1);
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
    lists_refused_alone(crafted_with("\x02\x01\x02", FROM, TO, REST("")), "neither 1 nor 2");
    lists_refused_alone(crafted_with(V2, "2026010100Z", TO, REST("")), "no readable thisUpdate");
    lists_refused_alone(crafted_with(V2, "20260101000000+0100", TO, REST("")), "no readable thisUpdate");
    lists_refused_alone(crafted_with(V2, "20260101000000.5Z", TO, REST("")), "no readable thisUpdate");
    lists_refused_alone(crafted_with(V2, "20260230000000Z", TO, REST("")), "in this order");
    lists_refused_alone(crafted_with(V2, FROM, "20991231Z", REST("")), "nextUpdate cannot be read");
    lists_refused_alone(crafted_with(V2, FROM, TO, REST("\x30\x02\x30\x00")), "entry 1: not a serial number and a date");
    lists_refused_alone(crafted_with(V2, FROM, TO, REST("\x30\x13\x30\x11\x02\x00" ENTRY_DATE)), "entry 1: not a serial number and a date");
    lists_refused_alone(crafted_with(V2, FROM, TO, REST("\x30\x15\x30\x13\x02\x02\x00\x0a" ENTRY_DATE)), "entry 1: not a serial number and a date");
    lists_refused_alone(crafted_with(V2, FROM, TO, REST("\x30\x18\x30\x14\x02\x01\x0a" ENTRY_DATE "\x05\x00\x30\x00")), "entry 1: after its date");
    lists_refused_alone(crafted_with(V2, FROM, TO, REST("\x30\x16\x30\x12\x02\x01\x0a" ENTRY_DATE "\x05\x00")), "entry 2: cut off");
    lists_refused_alone(crafted_with("", FROM, TO, REST("\x30\x16\x30\x14\x02\x01\x0a" ENTRY_DATE "\x30\x00")), "entry 1: after its date");
    lists_refused_alone(crafted_with("", FROM, TO, REST("\xa0\x02\x30\x00")), "something else than extensions of a version 2");
    lists_refused_alone(crafted_with(V2, FROM, TO, REST("\xa0\x02\x30\x00\x05\x00")), "something else than extensions");
    lists_refused_alone(crafted_with(V2, FROM, TO, REST("\xa0\x04\x30\x00\x05\x00")), "something else than extensions");
}

static void odd_lists_that_are_in_order_are_taken(void **state)
{
    (void)state;
    /* Version 1; revokedCertificates there and empty; UTCTime. */
    assert_int_equal(lists_in_scope(crafted_with("", FROM, TO, REST("\x30\x14\x30\x12\x02\x01\x0a" ENTRY_DATE)), &lists.leaf), REVOCATION_REVOKED);
    assert_int_equal(lists_in_scope(crafted_with(V2, "260101000000Z", "491231235959Z", REST("\x30\x00")), &lists.leaf), REVOCATION_GOOD);
}

static void two_algorithms_that_differ_are_refused(void **state)
{
    struct buf contents = tbs_of(SLICE_LITERAL(V2), FROM, TO, slice_of("", 0));

    (void)state;
    lists_refused_alone(crafted(buf_slice(&contents), ecdsa_sha384), "two signature algorithms");
    buf_free(&contents);
}

/* An algorithm that is no OID, in both places; a signature of which nine bits are not used. */
static void what_cannot_be_verified_is_refused(void **state)
{
    struct buf whole = lists_plain_bytes(), odd = lists_plain_bytes(), inside, list;
    struct slice rest = buf_slice(&whole), content, skipped, tbs, algorithm;
    const uint8_t bits[100] = {9};
    uint8_t *at;

    (void)state;
    while ((at = memmem(odd.data, odd.len, "\x30\x0a\x06\x08", 4)) != NULL)
        at[2] = 5;
    lists_refused_alone(odd, "algorithm or signature cannot be read");
    assert_true(pkix_take(&rest, PKIX_SEQUENCE, &content, NULL) && pkix_take(&content, PKIX_SEQUENCE, &skipped, &tbs) &&
                pkix_take(&content, PKIX_SEQUENCE, &skipped, &algorithm));
    buf_init(&inside, 1 << 20);
    buf_init(&list, 1 << 20);
    revocation_append(&inside, tbs);
    revocation_append(&inside, algorithm);
    put(&inside, PKIX_BITS, slice_of(bits, sizeof bits));
    put(&list, PKIX_SEQUENCE, buf_slice(&inside));
    lists_refused_alone(list, "algorithm or signature cannot be read");
    buf_free(&inside);
    buf_free(&whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds_of_lists_that_are_not_understood_are_refused),
        cmocka_unit_test(entries_that_are_not_understood_make_the_list_unusable),
        cmocka_unit_test(heads_have_a_limit),
        cmocka_unit_test(signed_nonsense_is_refused_too),
        cmocka_unit_test(odd_lists_that_are_in_order_are_taken),
        cmocka_unit_test(two_algorithms_that_differ_are_refused),
        cmocka_unit_test(what_cannot_be_verified_is_refused),
    };

    return cmocka_run_group_tests_name("crl kinds", tests, lists_set_up, lists_tear_down);
}
