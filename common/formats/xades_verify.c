/* Verification of a signatures0.xml: our own reading, with OpenSSL alone; xmlsec follows as second opinion. See xades.h. */
#include <inttypes.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

#include "common/formats/digest.h"
#include "common/formats/xades_internal.h"

bool xades_check_value(X509 *signer, enum xades_algorithm algorithm, struct slice bytes, struct slice signature,
                       struct err *e)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY *key = X509_get0_pubkey(signer);
    EVP_PKEY_CTX *params = NULL;
    bool ok = ctx != NULL && key != NULL && EVP_PKEY_is_a(key, "RSA") &&
              EVP_DigestVerifyInit(ctx, &params, EVP_sha256(), NULL, key) == 1;

    if (ok && algorithm == XADES_RSA_PSS_SHA256)
        ok = EVP_PKEY_CTX_set_rsa_padding(params, RSA_PKCS1_PSS_PADDING) == 1 &&
             EVP_PKEY_CTX_set_rsa_pss_saltlen(params, RSA_PSS_SALTLEN_DIGEST) == 1;
    ok = ok && EVP_DigestVerify(ctx, signature.at, signature.len, bytes.at, bytes.len) == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return ok || err_set(e, ERR_INPUT, "signature: it does not hold with its certificate's key");
}

static bool xades_fail(struct xades_verdict *v, enum xades_fault fault, struct err *e, const char *what)
{
    v->fault = fault;
    return err_set(e, ERR_INPUT, "signature: %s", what);
}

static bool same_digest(struct slice bytes, const uint8_t wanted[32])
{
    uint8_t digest[32];

    return digest_sha256(bytes, digest, NULL) && memcmp(digest, wanted, 32) == 0;
}

static bool xades_check_references(const struct xades *x, const struct xades_files *files, struct xades_verdict *v,
                                   struct err *e)
{
    if (!same_digest(files->lot, x->files.lot))
        return xades_fail(v, XADES_FAULT_LOT, e, "lot.xml is not the one that was signed");
    if (!same_digest(files->sums, x->files.sums))
        return xades_fail(v, XADES_FAULT_SUMS, e, "SHA256SUMS is not the one that was signed");
    if (x->files.has_previous != (files->previous.at != NULL))
        return xades_fail(v, XADES_FAULT_PREVIOUS, e, "previous-signatures.xml is missing, or was not signed");
    if (x->files.has_previous && !same_digest(files->previous, x->files.previous))
        return xades_fail(v, XADES_FAULT_PREVIOUS, e, "previous-signatures.xml is not the one that was signed");
    if (!same_digest(x->signed_properties, x->properties_digest))
        return xades_fail(v, XADES_FAULT_PROPERTIES, e, "its SignedProperties are not those that were signed");
    if (!same_digest(buf_slice(&x->certificates[0]), x->certificate_digest))
        return xades_fail(v, XADES_FAULT_PROPERTIES, e, "SigningCertificateV2 names another certificate than KeyInfo");
    return true;
}

static bool xades_check_timestamp(const struct xades *x, struct trust *t, struct xades_verdict *v, struct err *e)
{
    static const enum xades_fault faults[] = {
        [TIMESTAMP_FAULT_NONE] = XADES_FAULT_TIMESTAMP_FORM,
        [TIMESTAMP_FAULT_FORM] = XADES_FAULT_TIMESTAMP_FORM,
        [TIMESTAMP_FAULT_IMPRINT] = XADES_FAULT_TIMESTAMP_IMPRINT,
        [TIMESTAMP_FAULT_SIGNATURE] = XADES_FAULT_TIMESTAMP_SIGNATURE,
        [TIMESTAMP_FAULT_CERTIFICATE] = XADES_FAULT_TIMESTAMP_CERTIFICATE,
    };
    enum timestamp_fault fault;
    struct timestamp ts;
    uint8_t imprint[32];

    if (!digest_sha256(x->value_element, imprint, e))
        return false;
    if (!timestamp_verify(buf_slice(&x->token), imprint, t, &ts, &fault, e)) {
        v->fault = faults[fault];
        return false;
    }
    v->stamped_ms = ts.time_ms;
    memcpy(v->tsa_certificate, ts.certificate, 32);
    timestamp_free(&ts);
    return true;
}

static bool xades_check_times(const struct xades *x, struct xades_verdict *v, struct err *e)
{
    int64_t apart = v->stamped_ms - x->signing_ms;

    if (apart > XADES_TIME_SLACK_MS || apart < -XADES_TIME_SLACK_MS)
        return xades_fail(v, XADES_FAULT_TIME, e, "SigningTime and time-stamp are over a day apart");
    return true;
}

/* The chain of the signer, with what KeyInfo brings as hints only. */
static bool xades_check_signer(const struct xades *x, X509 *signer, struct trust *t, struct xades_verdict *v,
                               struct err *e)
{
    STACK_OF(X509) *hints = sk_X509_new_null();
    bool ok = hints != NULL;

    for (size_t i = 1; ok && i < x->certificate_count; i++) {
        X509 *cert = xades_certificate(buf_slice(&x->certificates[i]));

        ok = cert != NULL && sk_X509_push(hints, cert) > 0;
        if (!ok)
            X509_free(cert);
    }
    ok = ok && trust_check_seal(t, signer, hints, v->stamped_ms, e);
    sk_X509_pop_free(hints, X509_free);
    return ok || xades_fail(v, XADES_FAULT_CERTIFICATE, e, "an intermediate certificate cannot be read");
}

static bool xades_check_all(struct slice xml, const struct xades *x, const struct xades_files *files, X509 *signer,
                            struct trust *t, struct xades_verdict *v, struct err *e)
{
    if (!xades_check_references(x, files, v, e))
        return false;
    v->fault = XADES_FAULT_SIGNATURE;
    if (!xades_check_value(signer, x->algorithm, x->signed_info, buf_slice(&x->value), e))
        return false;
    v->fault = XADES_FAULT_NONE;
    if (!xades_check_timestamp(x, t, v, e) || !xades_check_times(x, v, e) || !xades_check_signer(x, signer, t, v, e))
        return false;
    /* xmlsec 1.2 does not know RSASSA-PSS: our own check stands alone there. */
    if (x->algorithm == XADES_RSA_SHA256 && !xades_check_xmlsec(xml, files, signer, e)) {
        v->fault = XADES_FAULT_XMLSEC;
        return false;
    }
    return true;
}

/* What the report shows whether or not it holds. */
static bool xades_describe(const struct xades *x, X509 *signer, struct xades_verdict *v, struct err *e)
{
    BIO *out = BIO_new(BIO_s_mem());
    int len = -1;

    v->signing_ms = x->signing_ms;
    if (out != NULL && X509_NAME_print_ex(out, X509_get_subject_name(signer), 0, XN_FLAG_RFC2253) >= 0)
        len = BIO_read(out, v->subject, sizeof(v->subject) - 1);
    v->subject[len < 0 ? 0 : len] = '\0';
    BIO_free(out);
    return digest_sha256(buf_slice(&x->value), v->value_digest, e) &&
           digest_sha256(buf_slice(&x->certificates[0]), v->certificate, e);
}

bool xades_verify(struct slice xml, const struct xades_files *files, struct trust *t, struct xades_verdict *v,
                  struct err *e)
{
    struct xades x;
    X509 *signer;
    bool ok;

    memset(v, 0, sizeof(*v));
    v->fault = XADES_FAULT_FORM;
    if (!xades_read(xml, &x, e))
        return false;
    signer = xades_certificate(buf_slice(&x.certificates[0]));
    if (signer == NULL) {
        ok = err_set(e, ERR_INPUT, "signature: its certificate cannot be read");
    } else {
        v->fault = XADES_FAULT_NONE;
        ok = xades_describe(&x, signer, v, e) && xades_check_all(xml, &x, files, signer, t, v, e);
    }
    X509_free(signer);
    xades_clear(&x);
    ERR_clear_error();
    return ok;
}
