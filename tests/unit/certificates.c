/* Certificates for tests: see certificates.h. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "tests/unit/certificates.h"

EVP_PKEY *certificates_rsa(unsigned bits)
{
    EVP_PKEY *key = EVP_RSA_gen(bits);

    assert_non_null(key);
    return key;
}

EVP_PKEY *certificates_ec(const char *curve)
{
    EVP_PKEY *key = EVP_EC_gen(curve);

    assert_non_null(key);
    return key;
}

static void add_name(X509_NAME *name, int nid, const char *text)
{
    if (text != NULL)
        assert_int_equal(X509_NAME_add_entry_by_NID(name, nid, MBSTRING_UTF8, (const unsigned char *)text, -1, -1, 0), 1);
}

static void add_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *extension;

    if (value == NULL)
        return;
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(x, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

struct issued certificates_issue(EVP_PKEY *key, const struct wanted *w, const struct issued *issuer)
{
    static long serial = 1;
    struct issued out = {key, X509_new()};
    X509 *by = issuer == NULL ? out.certificate : issuer->certificate;
    char host[2048];

    assert_non_null(out.certificate);
    X509_set_version(out.certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(out.certificate), serial++);
    X509_gmtime_adj(X509_getm_notBefore(out.certificate), w->from);
    X509_gmtime_adj(X509_getm_notAfter(out.certificate), w->until);
    add_name(X509_get_subject_name(out.certificate), NID_organizationalUnitName, w->ou);
    add_name(X509_get_subject_name(out.certificate), NID_commonName, w->cn);
    add_name(X509_get_subject_name(out.certificate), NID_commonName, w->second_cn);
    assert_int_equal(X509_set_issuer_name(out.certificate, X509_get_subject_name(by)), 1);
    assert_int_equal(X509_set_pubkey(out.certificate, key), 1);
    add_extension(out.certificate, by, NID_basic_constraints, w->authority ? "critical,CA:TRUE" : "critical,CA:FALSE");
    add_extension(out.certificate, by, NID_key_usage, w->authority ? "critical,keyCertSign,cRLSign" : w->usage);
    add_extension(out.certificate, by, NID_ext_key_usage, w->eku);
    snprintf(host, sizeof host, "DNS:%s", w->host == NULL ? "" : w->host);
    add_extension(out.certificate, by, NID_subject_alt_name, w->host == NULL ? NULL : host);
    assert_true(X509_sign(out.certificate, issuer == NULL ? key : issuer->key, EVP_sha256()) > 0);
    return out;
}

void certificates_free(struct issued *i)
{
    EVP_PKEY_free(i->key);
    X509_free(i->certificate);
    *i = (struct issued){0};
}

void certificates_write(const struct issued *i, const struct issued *chain, const char *certificate, const char *key)
{
    FILE *out;

    if (certificate != NULL) {
        out = fopen(certificate, "w");
        assert_non_null(out);
        assert_int_equal(PEM_write_X509(out, i->certificate), 1);
        if (chain != NULL)
            assert_int_equal(PEM_write_X509(out, chain->certificate), 1);
        fclose(out);
    }
    if (key != NULL) {
        out = fopen(key, "w");
        assert_non_null(out);
        assert_int_equal(chmod(key, 0600), 0);
        assert_int_equal(PEM_write_PrivateKey(out, i->key, NULL, NULL, 0, NULL, NULL), 1);
        fclose(out);
    }
}
