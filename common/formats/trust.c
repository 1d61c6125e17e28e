/* See trust.h. */
#include "common/formats/trust.h"

#include <limits.h>
#include <stdlib.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "common/values/buf.h"

struct trust {
    X509_STORE *store; /* owned */
};

/* Adds every certificate of the PEM text; how many, or -1. */
static int trust_add_all(X509_STORE *store, BIO *pem, struct err *e)
{
    int count = 0;
    X509 *cert;

    while ((cert = PEM_read_bio_X509(pem, NULL, NULL, NULL)) != NULL) {
        int added = X509_STORE_add_cert(store, cert);

        X509_free(cert);
        if (added != 1) {
            (void)err_set_openssl(e, ERR_INPUT, "trust: certificate %d", count + 1);
            return -1;
        }
        count++;
    }
    if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) {
        (void)err_set_openssl(e, ERR_INPUT, "trust: certificate %d cannot be read", count + 1);
        return -1;
    }
    ERR_clear_error(); /* the end of the file */
    return count;
}

struct trust *trust_new(struct slice pem, struct err *e)
{
    struct trust *t = mem_zalloc(1, sizeof(*t));
    BIO *in = NULL;
    int count = -1;

    ERR_clear_error();
    if (pem.len > INT_MAX || (in = BIO_new_mem_buf(pem.at, (int)pem.len)) == NULL ||
        (t->store = X509_STORE_new()) == NULL)
        (void)err_set_openssl(e, ERR_FATAL, "trust");
    else
        count = trust_add_all(t->store, in, e);
    BIO_free(in);
    if (count > 0) {
        X509_VERIFY_PARAM *param = X509_STORE_get0_param(t->store);

        /* Whoever verifies may name the seal's own certificate as anchor; 112 bits of security at least. */
        X509_VERIFY_PARAM_set_auth_level(param, 2);
        if (X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN) == 1)
            return t;
    }
    (void)err_set(e, ERR_INPUT, "trust: no certificate in PEM form");
    trust_free(t);
    return NULL;
}

void trust_free(struct trust *t)
{
    if (t == NULL)
        return;
    X509_STORE_free(t->store);
    free(t);
}

X509_STORE *trust_store_at(struct trust *t, int64_t at_ms)
{
    X509_VERIFY_PARAM_set_time(X509_STORE_get0_param(t->store), (time_t)(at_ms / 1000));
    return t->store;
}

/* RFC 5280 4.2.1.3 and 4.2.1.12: a TLS or encryption certificate of the same CA must not pass for a seal. */
static bool trust_check_usage(X509 *signer, struct err *e)
{
    const uint32_t wanted = KU_DIGITAL_SIGNATURE | KU_NON_REPUDIATION;
    EXTENDED_KEY_USAGE *extended;
    bool ok = true;

    if (X509_check_ca(signer) != 0)
        return err_set(e, ERR_INPUT, "seal certificate: it is a CA's");
    if ((X509_get_extension_flags(signer) & EXFLAG_KUSAGE) == 0 || (X509_get_key_usage(signer) & wanted) != wanted)
        return err_set(e, ERR_INPUT, "seal certificate: key usage lacks digitalSignature and nonRepudiation");
    extended = X509_get_ext_d2i(signer, NID_ext_key_usage, NULL, NULL);
    for (int i = 0; i < sk_ASN1_OBJECT_num(extended); i++) {
        char oid[64];

        ok &= OBJ_obj2txt(oid, sizeof(oid), sk_ASN1_OBJECT_value(extended, i), 1) > 0 &&
              strcmp(oid, "1.3.6.1.5.5.7.3.36") == 0; /* RFC 9336: documentSigning */
    }
    EXTENDED_KEY_USAGE_free(extended);
    return ok || err_set(e, ERR_INPUT, "seal certificate: its extended key usage is for something else");
}

bool trust_check_seal(struct trust *t, X509 *signer, STACK_OF(X509) *intermediates, int64_t at_ms, struct err *e)
{
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    bool ok;

    if (ctx == NULL || X509_STORE_CTX_init(ctx, trust_store_at(t, at_ms), signer, intermediates) != 1)
        ok = err_set_openssl(e, ERR_FATAL, "seal certificate");
    else if (X509_verify_cert(ctx) != 1)
        ok = err_set(e, ERR_INPUT, "seal certificate: %s",
                     X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
    else
        ok = trust_check_usage(signer, e);
    X509_STORE_CTX_free(ctx);
    ERR_clear_error();
    return ok;
}
