/*
 * A lot's key as CMS AuthEnvelopedData for the regulator's certificates: once per lot, so OpenSSL's own CMS functions
 * write it. Certificates come from the configuration and are checked when loaded.
 */
#include "ingest/ledger/envelope.h"

#include <stdio.h>
#include <stdlib.h>

#include <openssl/bio.h>
#include <openssl/cms.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

enum { RECIPIENTS_MAX = 16, RSA_BITS_MIN = 2048 };

struct envelope_recipients {
    unsigned count;
    X509 *certificates[RECIPIENTS_MAX]; /* owned */
};

static bool check_certificate(X509 *certificate, const char *path, struct err *e)
{
    EVP_PKEY *key = X509_get0_pubkey(certificate);

    if (key == NULL || EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA || EVP_PKEY_get_bits(key) < RSA_BITS_MIN)
        return err_set(e, ERR_INPUT, "%s: an encryption certificate needs an RSA key of %d bits or more", path,
                       (int)RSA_BITS_MIN);
    if (X509_get0_subject_key_id(certificate) == NULL)
        return err_set(e, ERR_INPUT, "%s: no subject key identifier (RFC 5280 4.2.1.2)", path);
    if ((X509_get_key_usage(certificate) & KU_KEY_ENCIPHERMENT) == 0)
        return err_set(e, ERR_INPUT, "%s: its key usage does not allow key encipherment (RFC 5280 4.2.1.3)", path);
    return true;
}

static X509 *load_certificate(const char *path, struct err *e)
{
    FILE *f = fopen(path, "re");
    X509 *certificate;

    if (f == NULL) {
        err_set_errno(e, ERR_INPUT, "%s", path);
        return NULL;
    }
    certificate = PEM_read_X509(f, NULL, NULL, NULL);
    fclose(f);
    if (certificate == NULL)
        err_set_openssl(e, ERR_INPUT, "%s: no PEM certificate", path);
    return certificate;
}

struct envelope_recipients *envelope_recipients_load(char *const *paths, unsigned count, struct err *e)
{
    struct envelope_recipients *r;

    if (count == 0 || count > RECIPIENTS_MAX) {
        err_set(e, ERR_INPUT, "%u encryption certificates, 1 to %d are possible", count, (int)RECIPIENTS_MAX);
        return NULL;
    }
    r = mem_zalloc(1, sizeof(*r));
    for (unsigned i = 0; i < count; i++) {
        X509 *certificate = load_certificate(paths[i], e);

        r->certificates[i] = certificate;
        r->count = i + 1;
        if (certificate == NULL || !check_certificate(certificate, paths[i], e)) {
            envelope_recipients_free(r);
            return NULL;
        }
    }
    return r;
}

void envelope_recipients_free(struct envelope_recipients *r)
{
    if (r == NULL)
        return;
    for (unsigned i = 0; i < r->count; i++)
        X509_free(r->certificates[i]);
    free(r);
}

/* KeyTransRecipientInfo by subjectKeyIdentifier with RSAES-OAEP, SHA-256 and MGF1 with SHA-256 (RFC 3560, RFC 4055). */
static bool add_recipient(CMS_ContentInfo *cms, X509 *certificate)
{
    CMS_RecipientInfo *info = CMS_add1_recipient_cert(cms, certificate, CMS_KEY_PARAM | CMS_USE_KEYID);
    EVP_PKEY_CTX *ctx = info == NULL ? NULL : CMS_RecipientInfo_get0_pkey_ctx(info);

    return ctx != NULL && EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1 &&
           EVP_PKEY_CTX_set_rsa_oaep_md(ctx, EVP_sha256()) == 1 && EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, EVP_sha256()) == 1;
}

static bool append_der(CMS_ContentInfo *cms, struct buf *out, struct err *e)
{
    unsigned char *der = NULL;
    int len = i2d_CMS_ContentInfo(cms, &der);
    bool ok;

    if (len <= 0)
        return err_set_openssl(e, ERR_FATAL, "lot key: cannot be written");
    ok = buf_add(out, der, (size_t)len, e);
    OPENSSL_free(der);
    return ok;
}

bool envelope_seal_key(const struct envelope_recipients *r, const uint8_t *key, struct buf *out, struct err *e)
{
    const unsigned flags = CMS_PARTIAL | CMS_BINARY | CMS_STREAM;
    CMS_ContentInfo *cms = CMS_encrypt(NULL, NULL, EVP_aes_256_gcm(), flags);
    BIO *plain = BIO_new_mem_buf(key, ENVELOPE_KEY_SIZE);
    bool ok = cms != NULL && plain != NULL;

    for (unsigned i = 0; ok && i < r->count; i++)
        ok = add_recipient(cms, r->certificates[i]);
    if (!ok || CMS_final(cms, plain, NULL, flags) != 1)
        ok = err_set_openssl(e, ERR_FATAL, "lot key: cannot be encrypted for the regulator");
    else
        ok = append_der(cms, out, e);
    BIO_free(plain);
    CMS_ContentInfo_free(cms);
    return ok;
}
