/* CRLs and OCSP responses for tests: see revocation.h. */
#include "tests/unit/unit.h"

#include <stdarg.h>
#include <string.h>
#include <time.h>

#include <openssl/pem.h>

#include "tests/unit/revocation.h"

static const int64_t year_ms = (int64_t)365 * 24 * HOUR_MS;

int64_t revocation_now(void)
{
    static int64_t now;

    if (now == 0)
        now = (int64_t)time(NULL) * 1000;
    return now;
}

static void extend(X509 *x, X509 *issuer, const struct extension_wanted *w)
{
    X509V3_CTX ctx;
    X509_EXTENSION *extension;

    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &ctx, w->nid, w->value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(x, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

struct issued revocation_certificate(EVP_PKEY *key, const struct certificate_wanted *w, const struct issued *by)
{
    struct issued out = {key, X509_new()};
    X509 *issuer = by == NULL ? out.certificate : by->certificate;

    X509_set_version(out.certificate, X509_VERSION_3);
    ASN1_INTEGER_set_int64(X509_get_serialNumber(out.certificate), w->serial);
    ASN1_TIME_set(X509_getm_notBefore(out.certificate), (w->from != 0 ? w->from : revocation_now() - year_ms) / 1000);
    ASN1_TIME_set(X509_getm_notAfter(out.certificate), (w->until != 0 ? w->until : revocation_now() + year_ms) / 1000);
    X509_NAME_add_entry_by_NID(X509_get_subject_name(out.certificate), NID_commonName, MBSTRING_UTF8, (const uint8_t *)w->cn, -1, -1, 0);
    assert_int_equal(X509_set_issuer_name(out.certificate, X509_get_subject_name(issuer)), 1);
    assert_int_equal(X509_set_pubkey(out.certificate, key), 1);
    for (unsigned i = 0; i < EXTENSIONS_MAX && w->extensions[i].value != NULL; i++)
        extend(out.certificate, issuer, &w->extensions[i]);
    key = by == NULL ? key : by->key;
    assert_true(X509_sign(out.certificate, key, EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519 ? NULL : w->digest == NULL ? EVP_sha256() : w->digest) > 0);
    return out;
}

struct slice revocation_bloated(const struct issued *of, long serial)
{
    ASN1_OBJECT *object = OBJ_txt2obj("1.2", 1);
    ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
    X509 *x = X509_dup(of->certificate);
    uint8_t *der = NULL;
    int len;

    assert_true(object != NULL && value != NULL && x != NULL);
    ASN1_INTEGER_set_int64(X509_get_serialNumber(x), serial);
    for (unsigned i = 0; i < 2150; i++) {
        X509_EXTENSION *ext = X509_EXTENSION_create_by_OBJ(NULL, object, 0, value);

        assert_true(ext != NULL && X509_add_ext(x, ext, -1) == 1);
        X509_EXTENSION_free(ext);
    }
    assert_true(i2d_re_X509_tbs(x, NULL) > 0); /* what it was made of is forgotten */
    len = i2d_X509(x, &der);
    assert_in_range(len, 15 * 1024, 16 * 1024);
    ASN1_OCTET_STRING_free(value);
    ASN1_OBJECT_free(object);
    X509_free(x);
    return slice_of(der, (size_t)len);
}

struct issued revocation_authority(const char *cn, EVP_PKEY *key)
{
    const struct certificate_wanted w = {.cn = cn,
                                         .serial = 1,
                                         .extensions = {{NID_basic_constraints, "critical,CA:TRUE"},
                                                        {NID_key_usage, "critical,keyCertSign,cRLSign"},
                                                        {NID_subject_key_identifier, "hash"}}};

    return revocation_certificate(key, &w, NULL);
}

X509_CRL *revocation_crl(const struct issued *by, int64_t this_update, int64_t next)
{
    X509_CRL *crl = X509_CRL_new();
    ASN1_TIME *time = ASN1_TIME_new();

    assert_int_equal(X509_CRL_set_version(crl, X509_CRL_VERSION_2), 1);
    assert_int_equal(X509_CRL_set_issuer_name(crl, X509_get_subject_name(by->certificate)), 1);
    assert_non_null(ASN1_TIME_set(time, this_update / 1000));
    assert_int_equal(X509_CRL_set1_lastUpdate(crl, time), 1);
    assert_non_null(ASN1_TIME_set(time, next / 1000));
    assert_int_equal(next == 0 || X509_CRL_set1_nextUpdate(crl, time), 1);
    ASN1_TIME_free(time);
    return crl;
}

void revocation_add(X509_CRL *crl, long serial, int reason)
{
    X509_REVOKED *revoked = X509_REVOKED_new();
    ASN1_INTEGER *number = ASN1_INTEGER_new();
    ASN1_TIME *time = ASN1_TIME_set(NULL, 1767225600); /* 2026-01-01 */

    ASN1_INTEGER_set_int64(number, serial);
    X509_REVOKED_set_serialNumber(revoked, number);
    X509_REVOKED_set_revocationDate(revoked, time);
    if (reason >= 0) {
        ASN1_ENUMERATED *code = ASN1_ENUMERATED_new();

        ASN1_ENUMERATED_set(code, reason);
        assert_int_equal(X509_REVOKED_add1_ext_i2d(revoked, NID_crl_reason, code, 0, 0), 1);
        ASN1_ENUMERATED_free(code);
    }
    assert_int_equal(X509_CRL_add0_revoked(crl, revoked), 1);
    ASN1_INTEGER_free(number);
    ASN1_TIME_free(time);
}

void revocation_extend(X509_CRL *crl, int nid, const char *value, const struct issued *by)
{
    X509V3_CTX ctx;
    X509_EXTENSION *extension;

    X509V3_set_ctx(&ctx, by->certificate, NULL, NULL, crl, 0);
    extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(extension);
    assert_int_equal(X509_CRL_add_ext(crl, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

X509_EXTENSION *revocation_unknown(bool critical)
{
    ASN1_OBJECT *oid = OBJ_txt2obj("1.3.6.1.4.1.99999.1", 1);
    ASN1_OCTET_STRING *data = ASN1_OCTET_STRING_new();
    X509_EXTENSION *extension;

    ASN1_OCTET_STRING_set(data, (const uint8_t *)"\x05\x00", 2);
    extension = X509_EXTENSION_create_by_OBJ(NULL, oid, critical, data);
    assert_non_null(extension);
    ASN1_OBJECT_free(oid);
    ASN1_OCTET_STRING_free(data);
    return extension;
}

void revocation_append(struct buf *out, struct slice bytes)
{
    struct err e = {0};

    assert_true(buf_add_slice(out, bytes, &e));
}

static struct buf taken(uint8_t *der, int len)
{
    struct buf out;

    assert_true(len > 0);
    buf_init(&out, (size_t)1 << 30);
    revocation_append(&out, slice_of(der, (size_t)len));
    OPENSSL_free(der);
    return out;
}

struct buf revocation_signed(X509_CRL *crl, const struct issued *by, const EVP_MD *digest)
{
    uint8_t *der = NULL;
    int len;

    assert_true(X509_CRL_sign(crl, by->key, digest) > 0);
    len = i2d_X509_CRL(crl, &der);
    X509_CRL_free(crl);
    return taken(der, len);
}

struct buf revocation_pem(struct slice crl)
{
    BIO *bio = BIO_new(BIO_s_mem());
    struct buf out;
    char *text;
    long len;

    assert_true(PEM_write_bio(bio, PEM_STRING_X509_CRL, "", crl.at, (long)crl.len) > 0);
    len = BIO_get_mem_data(bio, &text);
    buf_init(&out, (size_t)1 << 30);
    revocation_append(&out, slice_of(text, (size_t)len));
    BIO_free(bio);
    return out;
}

STACK_OF(X509) *revocation_stack(X509 *first, ...)
{
    STACK_OF(X509) *stack = sk_X509_new_null();
    va_list ap;

    va_start(ap, first);
    for (X509 *x = first; x != NULL; x = va_arg(ap, X509 *))
        assert_true(sk_X509_push(stack, x) > 0);
    va_end(ap);
    return stack;
}

static ASN1_TIME *general_time(int64_t ms)
{
    return ms == 0 ? NULL : ASN1_GENERALIZEDTIME_set(NULL, ms / 1000);
}

void revocation_answer_add(OCSP_BASICRESP *basic, X509 *certificate, X509 *issuer, const struct answer_wanted *w)
{
    OCSP_CERTID *id = OCSP_cert_to_id(w->id_digest == NULL ? EVP_sha1() : w->id_digest, certificate, issuer);
    ASN1_TIME *at = general_time(w->revoked_at), *from = general_time(w->this_update != 0 ? w->this_update : revocation_now()),
              *to = general_time(w->next_update);

    assert_non_null(OCSP_basic_add1_status(basic, id, w->status, w->reason, at, from, to));
    OCSP_CERTID_free(id);
    ASN1_TIME_free(at);
    ASN1_TIME_free(from);
    ASN1_TIME_free(to);
}

struct buf revocation_response(OCSP_BASICRESP *basic, const struct issued *by, STACK_OF(X509) *chain, const EVP_MD *digest, unsigned long flags)
{
    OCSP_RESPONSE *response;
    uint8_t *der = NULL;
    int len;

    assert_int_equal(OCSP_basic_sign(basic, by->certificate, by->key, digest, chain, flags), 1);
    response = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
    len = i2d_OCSP_RESPONSE(response, &der);
    OCSP_RESPONSE_free(response);
    OCSP_BASICRESP_free(basic);
    return taken(der, len);
}
