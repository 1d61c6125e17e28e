/* See pki.h. */
#include "tests/chain/pki.h"

#include <openssl/cms.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/ts.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/formats/digest.h"

void pki_must(bool ok, const char *what)
{
    if (ok)
        return;
    (void)fprintf(stderr, "test material: %s failed\n", what);
    ERR_print_errors_fp(stderr);
    exit(70);
}

static void pki_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *ext;

    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    pki_must(ext != NULL && X509_add_ext(cert, ext, -1) == 1, "extension");
    X509_EXTENSION_free(ext);
}

static void pki_extensions(X509 *cert, X509 *issuer, enum pki_kind kind)
{
    static const char *const usage[] = {
        [PKI_CA] = "critical,keyCertSign,cRLSign", [PKI_SEAL] = "critical,digitalSignature,nonRepudiation",
        [PKI_TSA] = "critical,digitalSignature",   [PKI_CLIENT] = "critical,digitalSignature",
        [PKI_ENCRYPTION] = "critical,keyEncipherment",
    };

    pki_extension(cert, issuer, NID_basic_constraints, kind == PKI_CA ? "critical,CA:TRUE" : "critical,CA:FALSE");
    pki_extension(cert, issuer, NID_key_usage, usage[kind]);
    pki_extension(cert, issuer, NID_subject_key_identifier, "hash");
    if (kind == PKI_TSA)
        pki_extension(cert, issuer, NID_ext_key_usage, "critical,timeStamping");
    if (kind == PKI_CLIENT)
        pki_extension(cert, issuer, NID_ext_key_usage, "clientAuth");
}

struct pki_identity pki_issue(const struct pki_identity *issuer, const char *cn, enum pki_kind kind, int64_t from_ms,
                              int days)
{
    struct pki_identity id = {EVP_RSA_gen(2048), X509_new()};
    X509_NAME *name = X509_NAME_new();
    uint8_t serial[16];
    BIGNUM *bn;
    time_t from = (time_t)(from_ms / 1000);

    pki_must(id.key != NULL && id.cert != NULL && name != NULL && RAND_bytes(serial, sizeof(serial)) == 1, "identity");
    serial[0] &= 0x7f;
    bn = BN_bin2bn(serial, sizeof(serial), NULL);
    pki_must(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0) == 1 &&
                 X509_set_version(id.cert, 2) == 1 && BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(id.cert)) != NULL &&
                 X509_set_subject_name(id.cert, name) == 1 &&
                 X509_set_issuer_name(id.cert, issuer == NULL ? name : X509_get_subject_name(issuer->cert)) == 1 &&
                 X509_time_adj_ex(X509_getm_notBefore(id.cert), 0, 0, &from) != NULL &&
                 X509_time_adj_ex(X509_getm_notAfter(id.cert), days, 0, &from) != NULL &&
                 X509_set_pubkey(id.cert, id.key) == 1,
             "certificate");
    pki_extensions(id.cert, issuer == NULL ? id.cert : issuer->cert, kind);
    pki_must(X509_sign(id.cert, issuer == NULL ? id.key : issuer->key, EVP_sha256()) > 0, "certificate");
    BN_free(bn);
    X509_NAME_free(name);
    return id;
}

void pki_free(struct pki_identity *id)
{
    EVP_PKEY_free(id->key);
    X509_free(id->cert);
    id->key = NULL;
    id->cert = NULL;
}

static FILE *pki_file(const char *folder, const char *name, const char *ending, const char *mode)
{
    char *path = mem_printf("%s/%s.%s", folder, name, ending);
    FILE *f = fopen(path, mode);

    pki_must(f != NULL, path);
    free(path);
    return f;
}

void pki_save(const struct pki_identity *id, const char *folder, const char *name)
{
    FILE *f = pki_file(folder, name, "pem", "w");

    pki_must(PEM_write_X509(f, id->cert) == 1 && fclose(f) == 0, "saving a certificate");
    f = pki_file(folder, name, "key", "w");
    pki_must(PEM_write_PrivateKey(f, id->key, NULL, NULL, 0, NULL, NULL) == 1 && fclose(f) == 0, "saving a key");
}

struct pki_identity pki_load(const char *folder, const char *name)
{
    FILE *cert = pki_file(folder, name, "pem", "r"), *key = pki_file(folder, name, "key", "r");
    struct pki_identity id = {PEM_read_PrivateKey(key, NULL, NULL, NULL), PEM_read_X509(cert, NULL, NULL, NULL)};

    pki_must(id.key != NULL && id.cert != NULL && fclose(cert) == 0 && fclose(key) == 0, name);
    return id;
}

void pki_der(const struct pki_identity *id, struct buf *out)
{
    unsigned char *der = NULL;
    int len = i2d_X509(id->cert, &der);

    pki_must(len > 0 && buf_add(out, der, (size_t)len, NULL), "DER");
    OPENSSL_free(der);
}

void pki_sign(const struct pki_identity *id, bool pss, struct slice bytes, struct buf *out)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *params;
    size_t len = 1024;
    uint8_t *room = buf_reserve(out, len, NULL);

    pki_must(room != NULL && EVP_DigestSignInit(ctx, &params, EVP_sha256(), NULL, id->key) == 1 &&
                 (!pss || (EVP_PKEY_CTX_set_rsa_padding(params, RSA_PKCS1_PSS_PADDING) == 1 &&
                           EVP_PKEY_CTX_set_rsa_pss_saltlen(params, RSA_PSS_SALTLEN_DIGEST) == 1)) &&
                 EVP_DigestSign(ctx, room, &len, bytes.at, bytes.len) == 1,
             "signature");
    buf_commit(out, len);
    EVP_MD_CTX_free(ctx);
}

static int stamp_time(struct TS_resp_ctx *ctx, void *data, long *sec, long *usec)
{
    const int64_t *ms = data;

    (void)ctx;
    *sec = (long)(*ms / 1000);
    *usec = (long)(*ms % 1000) * 1000;
    return 1;
}

static ASN1_INTEGER *stamp_serial(struct TS_resp_ctx *ctx, void *data)
{
    static long next = 1;
    ASN1_INTEGER *serial = ASN1_INTEGER_new();

    (void)ctx, (void)data;
    pki_must(ASN1_INTEGER_set(serial, next++) == 1, "serial");
    return serial;
}

static BIO *stamp_request(const uint8_t imprint[32])
{
    TS_REQ *req = TS_REQ_new();
    TS_MSG_IMPRINT *msg = TS_MSG_IMPRINT_new();
    X509_ALGOR *algorithm = X509_ALGOR_new();
    uint8_t digest[32];
    BIO *out = BIO_new(BIO_s_mem());

    memcpy(digest, imprint, 32);
    pki_must(X509_ALGOR_set0(algorithm, OBJ_nid2obj(NID_sha256), V_ASN1_NULL, NULL) == 1 &&
                 TS_MSG_IMPRINT_set_algo(msg, algorithm) == 1 && TS_MSG_IMPRINT_set_msg(msg, digest, 32) == 1 &&
                 TS_REQ_set_version(req, 1) == 1 && TS_REQ_set_msg_imprint(req, msg) == 1 &&
                 TS_REQ_set_cert_req(req, 1) == 1 && i2d_TS_REQ_bio(out, req) == 1,
             "time-stamp request");
    TS_REQ_free(req);
    TS_MSG_IMPRINT_free(msg);
    X509_ALGOR_free(algorithm);
    return out;
}

void pki_stamp(const struct pki_identity *tsa, const uint8_t imprint[32], int64_t at_ms, bool ess_sha1, struct buf *out)
{
    TS_RESP_CTX *ctx = TS_RESP_CTX_new();
    ASN1_OBJECT *policy = OBJ_txt2obj("1.3.6.1.4.1.99999.1", 1);
    BIO *req = stamp_request(imprint);
    TS_RESP *resp;
    unsigned char *der = NULL;
    int len;

    pki_must(TS_RESP_CTX_set_signer_cert(ctx, tsa->cert) == 1 && TS_RESP_CTX_set_signer_key(ctx, tsa->key) == 1 &&
                 TS_RESP_CTX_set_signer_digest(ctx, EVP_sha256()) == 1 && TS_RESP_CTX_add_md(ctx, EVP_sha256()) == 1 &&
                 (ess_sha1 || TS_RESP_CTX_set_ess_cert_id_digest(ctx, EVP_sha256()) == 1) &&
                 TS_RESP_CTX_set_def_policy(ctx, policy) == 1 && TS_RESP_CTX_set_accuracy(ctx, 1, 0, 0) == 1 &&
                 TS_RESP_CTX_set_clock_precision_digits(ctx, 3) == 1,
             "TSA");
    TS_RESP_CTX_set_time_cb(ctx, stamp_time, &at_ms);
    TS_RESP_CTX_set_serial_cb(ctx, stamp_serial, NULL);
    resp = TS_RESP_create_response(ctx, req);
    pki_must(resp != NULL && TS_RESP_get_token(resp) != NULL, "time-stamp");
    len = i2d_PKCS7(TS_RESP_get_token(resp), &der);
    pki_must(len > 0 && buf_add(out, der, (size_t)len, NULL), "time-stamp");
    OPENSSL_free(der);
    TS_RESP_free(resp);
    TS_RESP_CTX_free(ctx);
    ASN1_OBJECT_free(policy);
    BIO_free(req);
}

/* Finishes a CMS_PARTIAL structure over `content`. */
static void cms_finish(CMS_ContentInfo *cms, struct slice content, struct buf *out)
{
    BIO *in = BIO_new_mem_buf(content.at, (int)content.len);
    unsigned char *der = NULL;
    int len;

    pki_must(CMS_final(cms, in, NULL, CMS_BINARY) == 1, "CMS");
    len = i2d_CMS_ContentInfo(cms, &der);
    pki_must(len > 0 && buf_add(out, der, (size_t)len, NULL), "CMS");
    OPENSSL_free(der);
    BIO_free(in);
    CMS_ContentInfo_free(cms);
}

void pki_seal_key(const struct pki_identity *recipient, const uint8_t key[32], struct buf *out)
{
    CMS_ContentInfo *cms = CMS_encrypt(NULL, NULL, EVP_aes_256_gcm(), CMS_PARTIAL | CMS_BINARY | CMS_STREAM);
    CMS_RecipientInfo *ri =
        cms == NULL ? NULL : CMS_add1_recipient_cert(cms, recipient->cert, CMS_KEY_PARAM | CMS_USE_KEYID);
    EVP_PKEY_CTX *params = ri == NULL ? NULL : CMS_RecipientInfo_get0_pkey_ctx(ri);

    pki_must(params != NULL && EVP_PKEY_CTX_set_rsa_padding(params, RSA_PKCS1_OAEP_PADDING) == 1 &&
                 EVP_PKEY_CTX_set_rsa_oaep_md(params, EVP_sha256()) == 1 &&
                 EVP_PKEY_CTX_set_rsa_mgf1_md(params, EVP_sha256()) == 1,
             "RSA-OAEP");
    cms_finish(cms, slice_of(key, 32), out);
}

void pki_seal_event(const uint8_t key[32], const char *key_id, struct slice event, struct buf *out)
{
    CMS_ContentInfo *cms = CMS_encrypt(NULL, NULL, EVP_aes_256_gcm(), CMS_PARTIAL | CMS_BINARY | CMS_STREAM);
    size_t id_len = strlen(key_id);

    pki_must(cms != NULL && CMS_add0_recipient_key(cms, NID_id_aes256_wrap, OPENSSL_memdup(key, 32), 32,
                                                   OPENSSL_memdup(key_id, id_len), id_len, NULL, NULL, NULL) != NULL,
             "KEKRecipientInfo");
    cms_finish(cms, event, out);
}
