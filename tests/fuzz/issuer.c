/* An authority for fuzz targets: see issuer.h. */
#include "tests/fuzz/issuer.h"

#include <openssl/x509v3.h>
#include <stdlib.h>

/* PKCS #8, P-256. It protects nothing. */
static const uint8_t key_der[] = {
    0x30, 0x81, 0x87, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x04, 0x6d, 0x30, 0x6b, 0x02, 0x01, 0x01, 0x04, 0x20, 0xfe, 0x8c, 0xb4, 0x2a,
    0x94, 0xdd, 0xb9, 0x6b, 0x94, 0x1a, 0x0e, 0x6a, 0x14, 0x26, 0x3b, 0x9f, 0xbb, 0x25, 0x4c, 0xa6, 0x23, 0xda, 0xc9, 0x0e,
    0x3e, 0xe8, 0x80, 0x98, 0xa2, 0x6c, 0x6e, 0xd8, 0xa1, 0x44, 0x03, 0x42, 0x00, 0x04, 0x00, 0xf0, 0xd3, 0x67, 0x07, 0x5d,
    0xd4, 0x8d, 0x52, 0x23, 0xff, 0x29, 0x4a, 0x2a, 0x05, 0x9b, 0x9d, 0x96, 0xe0, 0x7a, 0x8b, 0x4e, 0xa9, 0xa9, 0xb6, 0xf6,
    0x80, 0x4c, 0xca, 0xe3, 0x28, 0x33, 0xfe, 0x5a, 0x05, 0xdb, 0x87, 0x48, 0xd1, 0xbf, 0x04, 0x56, 0x70, 0x8c, 0x50, 0x52,
    0x32, 0xf7, 0x1d, 0x3f, 0x07, 0xc9, 0xed, 0x03, 0xd6, 0xde, 0xe7, 0x21, 0x1d, 0x20, 0x66, 0xff, 0xc8, 0xfa,
};

static void must(bool ok)
{
    if (!ok)
        abort();
}

static X509 *certificate_of(EVP_PKEY *key, const char *cn, long serial)
{
    X509 *x = X509_new();
    X509_NAME *issuer = X509_NAME_new();

    must(X509_NAME_add_entry_by_NID(X509_get_subject_name(x), NID_commonName, MBSTRING_UTF8, (const uint8_t *)cn, -1, -1, 0) == 1);
    must(X509_NAME_add_entry_by_NID(issuer, NID_commonName, MBSTRING_UTF8, (const uint8_t *)"issuer", -1, -1, 0) == 1);
    must(X509_set_issuer_name(x, issuer) == 1 && X509_set_pubkey(x, key) == 1 && X509_set_version(x, X509_VERSION_3) == 1);
    must(ASN1_INTEGER_set(X509_get_serialNumber(x), serial) == 1);
    must(ASN1_TIME_set(X509_getm_notBefore(x), ISSUER_NOW_S - 86400) != NULL && ASN1_TIME_set(X509_getm_notAfter(x), ISSUER_NOW_S + 86400) != NULL);
    X509_NAME_free(issuer);
    return x;
}

/* The leaf's distribution points: a URL, and a name relative to the issuer's. */
static void add_points(X509 *x)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, NID_crl_distribution_points, "URI:http://crl.test/a");
    CRL_DIST_POINTS *points = extension != NULL ? X509V3_EXT_d2i(extension) : NULL;
    DIST_POINT *relative = DIST_POINT_new();

    must(points != NULL);
    relative->distpoint = DIST_POINT_NAME_new();
    relative->distpoint->type = 1;
    relative->distpoint->name.relativename = sk_X509_NAME_ENTRY_new_null();
    sk_X509_NAME_ENTRY_push(relative->distpoint->name.relativename,
                            X509_NAME_ENTRY_create_by_NID(NULL, NID_commonName, MBSTRING_UTF8, (const uint8_t *)"part", -1));
    sk_DIST_POINT_push(points, relative);
    must(X509_add1_ext_i2d(x, NID_crl_distribution_points, points, 0, 0) == 1);
    CRL_DIST_POINTS_free(points);
    X509_EXTENSION_free(extension);
}

const struct issuer *issuer_get(void)
{
    static struct issuer it;
    const uint8_t *at = key_der;

    if (it.key != NULL)
        return &it;
    it.key = d2i_AutoPrivateKey(NULL, &at, sizeof key_der);
    must(it.key != NULL);
    it.certificate = certificate_of(it.key, "issuer", 1);
    it.leaf = certificate_of(it.key, "leaf", 10);
    add_points(it.leaf);
    must(X509_sign(it.certificate, it.key, EVP_sha256()) > 0 && X509_sign(it.leaf, it.key, EVP_sha256()) > 0);
    it.authorities = sk_X509_new_null();
    must(sk_X509_push(it.authorities, it.certificate) > 0);
    return &it;
}

static void append(struct buf *out, struct slice bytes)
{
    struct err e = {0};

    must(buf_add_slice(out, bytes, &e));
}

void issuer_put(struct buf *out, uint8_t tag, struct slice content)
{
    uint8_t head[6] = {tag};
    size_t len = 1, octets = content.len < 0x80 ? 0 : content.len < 0x100 ? 1 : content.len < 0x10000 ? 2 : 3;

    head[len++] = (uint8_t)(octets == 0 ? content.len : 0x80 | octets);
    for (size_t i = octets; i > 0; i--)
        head[len++] = (uint8_t)(content.len >> 8 * (i - 1));
    append(out, slice_of(head, len));
    append(out, content);
}

struct buf issuer_sign(struct slice tbs)
{
    static const uint8_t algorithm[] = {0x30, 0x0a, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2};
    struct buf inside, out;
    uint8_t bits[128] = {0};
    size_t len = sizeof bits - 1;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    must(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, issuer_get()->key) == 1 && EVP_DigestSign(ctx, bits + 1, &len, tbs.at, tbs.len) == 1);
    EVP_MD_CTX_free(ctx);
    buf_init(&inside, 1 << 20);
    buf_init(&out, 1 << 20);
    append(&inside, tbs);
    append(&inside, slice_of(algorithm, sizeof algorithm));
    issuer_put(&inside, 3, slice_of(bits, len + 1));
    issuer_put(&out, 0x30, buf_slice(&inside));
    buf_free(&inside);
    return out;
}
