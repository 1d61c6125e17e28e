/* Who may sign an OCSP response: see ocsp_signer.h. */
#include "common/identity/ocsp_signer.h"

#include <openssl/err.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>

#include "common/identity/pkix.h"

/* responderID (4.2.1): by name, or by the SHA-1 of its key, which only says where to look. */
static bool is_named(const OCSP_BASICRESP *basic, X509 *candidate)
{
    const ASN1_OCTET_STRING *key;
    const X509_NAME *name;
    uint8_t digest[SHA_DIGEST_LENGTH];
    unsigned len = 0;

    if (OCSP_resp_get0_id(basic, &key, &name) != 1)
        return false;
    if (name != NULL)
        return X509_NAME_cmp(name, X509_get_subject_name(candidate)) == 0;
    return X509_pubkey_digest(candidate, EVP_sha1(), digest, &len) == 1 && ASN1_STRING_length(key) == SHA_DIGEST_LENGTH &&
           memcmp(ASN1_STRING_get0_data(key), digest, sizeof digest) == 0;
}

/* The data as they are encoded again: a response that is not DER does not verify. */
static bool verifies(const OCSP_BASICRESP *basic, X509 *signer)
{
    EVP_PKEY *key = X509_get0_pubkey(signer);
    const X509_ALGOR *algorithm = OCSP_resp_get0_tbs_sigalg(basic);

    return key != NULL && ASN1_item_verify(ASN1_ITEM_rptr(OCSP_RESPDATA), algorithm, OCSP_resp_get0_signature(basic), OCSP_resp_get0_respdata(basic), key) == 1;
}

static bool in_date(X509 *candidate, int64_t now)
{
    int64_t from, until;

    return pkix_time(X509_get0_notBefore(candidate), &from) && pkix_time(X509_get0_notAfter(candidate), &until) && from <= now + PKIX_SKEW_MS && now <= until + 999;
}

/* id-kp-OCSPSigning itself (4.2.2.2), not any purpose; and a key that may sign (RFC 5280 4.2.1.3). */
static bool may_respond(X509 *candidate)
{
    uint32_t flags = X509_get_extension_flags(candidate);

    return (flags & EXFLAG_XKUSAGE) != 0 && (X509_get_extended_key_usage(candidate) & XKU_OCSP_SIGN) != 0 &&
           (X509_get_key_usage(candidate) & (KU_DIGITAL_SIGNATURE | KU_NON_REPUDIATION)) != 0;
}

/* Signed by the issuer itself: no path, no other authority of the same name. */
static bool is_issued(X509 *candidate, X509 *issuer)
{
    const X509_ALGOR *algorithm;
    EVP_PKEY *key = X509_get0_pubkey(issuer);

    X509_get0_signature(NULL, &algorithm, candidate);
    return X509_NAME_cmp(X509_get_issuer_name(candidate), X509_get_subject_name(issuer)) == 0 && pkix_signature_strong(algorithm) && key != NULL &&
           X509_verify(candidate, key) == 1;
}

/* A responder's certificate (4.2.2.2). */
static bool is_delegated(X509 *candidate, X509 *certificate, X509 *issuer, int64_t now, struct err *e)
{
    if (X509_cmp(candidate, certificate) == 0)
        return err_set(e, ERR_INPUT, "the certificate in question signed the OCSP response about itself");
    if (!is_issued(candidate, issuer))
        return err_set(e, ERR_INPUT, "the OCSP responder's certificate was not signed by the issuer itself (RFC 6960 4.2.2.2)");
    if ((X509_get_extension_flags(candidate) & (EXFLAG_INVALID | EXFLAG_CRITICAL)) != 0)
        return err_set(e, ERR_INPUT, "the OCSP responder's certificate is broken, or has an unknown critical extension (RFC 5280 4.2)");
    if (!may_respond(candidate))
        return err_set(e, ERR_INPUT, "the OCSP responder's certificate is not for this: no id-kp-OCSPSigning (RFC 6960 4.2.2.2)");
    if (!in_date(candidate, now))
        return err_set(e, ERR_INPUT, "the OCSP responder's certificate is not in date (RFC 5280 4.1.2.5)");
    return pkix_key_strong(X509_get0_pubkey(candidate)) || err_set(e, ERR_INPUT, "the OCSP responder's key is weak");
}

X509 *ocsp_signer_find(const OCSP_BASICRESP *basic, X509 *certificate, X509 *issuer, int64_t now, struct err *e)
{
    const STACK_OF(X509) *carried = OCSP_resp_get0_certs(basic);
    struct err why = {0};

    if (!pkix_signature_strong(OCSP_resp_get0_tbs_sigalg(basic)))
        (void)err_set(&why, ERR_INPUT, "the OCSP response is signed with a weak or unknown digest (SHA-256 or stronger is needed)");
    else if (sk_X509_num(carried) > OCSP_SIGNER_CERTIFICATES_MAX)
        (void)err_set(&why, ERR_INPUT, "the OCSP response carries more than %d certificates", OCSP_SIGNER_CERTIFICATES_MAX);
    else if (is_named(basic, issuer) && verifies(basic, issuer))
        return issuer;
    else
        for (int i = 0; i < sk_X509_num(carried); i++) {
            X509 *candidate = sk_X509_value(carried, i);

            if (is_named(basic, candidate) && verifies(basic, candidate) && is_delegated(candidate, certificate, issuer, now, &why))
                return candidate;
        }
    (void)err_set(e, ERR_INPUT, "%s", why.code != ERR_NONE ? why.text : "the OCSP response is signed by none that it names (RFC 6960 4.2.2.2)");
    return NULL;
}
