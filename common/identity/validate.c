/*
 * Whether a chain satisfies a policy: see validate.h. OpenSSL builds and verifies the path (RFC 5280 6.1); what it leaves to the application, or lets pass, is
 * checked here on the finished path. All certificates but the last one of the path are a stranger's.
 */
#include "common/identity/validate.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include "common/identity/pkix.h"

static const struct {
    const char *code, *sentence;
} words[IDENTITY_CHECKS] = {
    [IDENTITY_PASSED] = {"passed", "the certificate is accepted"},
    [IDENTITY_MISSING] = {"certificate-missing", "a client certificate is required"},
    [IDENTITY_MALFORMED] = {"certificate-malformed", "the certificate cannot be read"},
    [IDENTITY_FOREIGN] = {"certificate-foreign", "the certificate comes from no authority known here"},
    [IDENTITY_EXPIRED] = {"certificate-expired", "the certificate, or one of its chain, has expired"},
    [IDENTITY_NOT_YET] = {"certificate-not-yet-valid", "the certificate, or one of its chain, is not valid yet"},
    [IDENTITY_CONSTRAINTS] = {"certificate-constraints", "the certificate's chain breaks a constraint"},
    [IDENTITY_USAGE] = {"certificate-usage", "the certificate is not for TLS clients"},
    [IDENTITY_WEAK] = {"certificate-weak", "a key or a signature of the certificate's chain is too weak"},
    [IDENTITY_INVALID] = {"certificate-invalid", "the certificate does not validate"},
    [IDENTITY_REVOKED] = {"certificate-revoked", "the certificate has been revoked"},
    [IDENTITY_UNCHECKED] = {"revocation-unknown", "whether the certificate is revoked cannot be known now"},
    [IDENTITY_SUBJECT] = {"certificate-subject", "the certificate's subject does not name its holder"},
    [IDENTITY_ADDRESS] = {"address-not-allowed", "this address is not allowed"},
    [IDENTITY_FULL] = {"identity-full", "so many certificates are being looked at that there is no room for this one; try again later"},
};

const char *validate_code(enum identity_check check)
{
    return (unsigned)check < IDENTITY_CHECKS ? words[check].code : "unknown";
}

const char *validate_sentence(enum identity_check check)
{
    return (unsigned)check < IDENTITY_CHECKS ? words[check].sentence : "the certificate does not validate";
}

/* ---- what OpenSSL found ---- */

enum identity_check validate_fault(long fault)
{
    switch (fault) {
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_UNTRUSTED:
    case X509_V_ERR_CERT_REJECTED:
    case X509_V_ERR_SUBJECT_ISSUER_MISMATCH:
    case X509_V_ERR_AKID_SKID_MISMATCH:
    case X509_V_ERR_AKID_ISSUER_SERIAL_MISMATCH:
        return IDENTITY_FOREIGN;
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return IDENTITY_EXPIRED;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return IDENTITY_NOT_YET;
    case X509_V_ERR_INVALID_CA:
    case X509_V_ERR_INVALID_NON_CA:
    case X509_V_ERR_PATH_LENGTH_EXCEEDED:
    case X509_V_ERR_CERT_CHAIN_TOO_LONG:
    case X509_V_ERR_PERMITTED_VIOLATION:
    case X509_V_ERR_EXCLUDED_VIOLATION:
    case X509_V_ERR_SUBTREE_MINMAX:
    case X509_V_ERR_UNSUPPORTED_CONSTRAINT_TYPE:
    case X509_V_ERR_UNSUPPORTED_CONSTRAINT_SYNTAX:
    case X509_V_ERR_UNSUPPORTED_NAME_SYNTAX:
        return IDENTITY_CONSTRAINTS;
    case X509_V_ERR_INVALID_PURPOSE:
    case X509_V_ERR_KEYUSAGE_NO_CERTSIGN:
        return IDENTITY_USAGE;
    case X509_V_ERR_EE_KEY_TOO_SMALL:
    case X509_V_ERR_CA_KEY_TOO_SMALL:
    case X509_V_ERR_CA_MD_TOO_WEAK:
    case X509_V_ERR_EC_KEY_EXPLICIT_PARAMS:
        return IDENTITY_WEAK;
    case X509_V_ERR_ERROR_IN_CERT_NOT_BEFORE_FIELD:
    case X509_V_ERR_ERROR_IN_CERT_NOT_AFTER_FIELD:
    case X509_V_ERR_UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY:
        return IDENTITY_MALFORMED;
    default:
        return IDENTITY_INVALID;
    }
}

/* Which certificate of the path, for people. */
static const char *place(int depth)
{
    return depth == 0 ? "the certificate" : "an authority's certificate of its chain";
}

static enum identity_check tell_fault(X509_STORE_CTX *ctx, struct err *why)
{
    int fault = X509_STORE_CTX_get_error(ctx), depth = X509_STORE_CTX_get_error_depth(ctx);
    X509 *at = X509_STORE_CTX_get_current_cert(ctx);
    char name[PKIX_NAME_TEXT] = "";

    if (at != NULL)
        pkix_name_text(name, X509_get_subject_name(at));
    err_set(why, ERR_DENIED, "%s (%s): %s", place(depth), name, X509_verify_cert_error_string(fault));
    return validate_fault(fault);
}

/* ---- what OpenSSL leaves to us ---- */

static bool has_eku_client(X509 *x)
{
    return (X509_get_extension_flags(x) & EXFLAG_XKUSAGE) != 0 && (X509_get_extended_key_usage(x) & XKU_SSL_CLIENT) != 0;
}

static enum identity_check check_leaf(X509 *x, struct err *why)
{
    if (!has_eku_client(x)) {
        err_set(why, ERR_DENIED, "RFC 5280 4.2.1.12: extended key usage clientAuth is missing");
        return IDENTITY_USAGE;
    }
    if ((X509_get_extension_flags(x) & EXFLAG_KUSAGE) != 0 && (X509_get_key_usage(x) & KU_DIGITAL_SIGNATURE) == 0) {
        err_set(why, ERR_DENIED, "RFC 5280 4.2.1.3: key usage without digitalSignature");
        return IDENTITY_USAGE;
    }
    return IDENTITY_PASSED;
}

/* OpenSSL also takes version 1 certificates, and ones without basic constraints, as authorities. */
static enum identity_check check_authority(X509 *x, struct err *why)
{
    if (X509_check_ca(x) == 1)
        return IDENTITY_PASSED;
    err_set(why, ERR_DENIED, "RFC 5280 6.1.4 (k): an authority's certificate without basic constraints CA:TRUE");
    return IDENTITY_CONSTRAINTS;
}

static enum identity_check check_key(const struct identity_policy *p, X509 *x, struct err *why)
{
    EVP_PKEY *key = X509_get0_pubkey(x);
    int bits = key == NULL ? 0 : EVP_PKEY_get_bits(key), kind = key == NULL ? EVP_PKEY_NONE : EVP_PKEY_get_base_id(key), explicit = 0;

    if (kind == EVP_PKEY_RSA || kind == EVP_PKEY_RSA_PSS) {
        if (bits >= (int)p->rsa_bits)
            return IDENTITY_PASSED;
        err_set(why, ERR_DENIED, "an RSA key of %d bits, %u at least", bits, p->rsa_bits);
    } else if (kind == EVP_PKEY_EC) {
        /* RFC 5480 2.1.1: a curve of one's own making proves nothing. */
        if (EVP_PKEY_get_int_param(key, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS, &explicit) == 1 && explicit != 0)
            err_set(why, ERR_DENIED, "RFC 5480 2.1.1: an elliptic key with a curve without name");
        else if (bits >= (int)p->ec_bits)
            return IDENTITY_PASSED;
        else
            err_set(why, ERR_DENIED, "an elliptic key of %d bits, %u at least", bits, p->ec_bits);
    } else
        err_set(why, ERR_DENIED, "a key that is neither RSA nor EC");
    ERR_clear_error();
    return IDENTITY_WEAK;
}

static enum identity_check check_signature(const struct identity_policy *p, X509 *x, struct err *why)
{
    int digest = NID_undef;
    unsigned bit;

    if (X509_get_signature_info(x, &digest, NULL, NULL, NULL) != 1)
        digest = NID_undef;
    bit = digest == NID_sha256   ? POLICY_SHA256
          : digest == NID_sha384 ? POLICY_SHA384
          : digest == NID_sha512 ? POLICY_SHA512
                                 : 0u;
    ERR_clear_error();
    if ((p->digests & bit) != 0)
        return IDENTITY_PASSED;
    err_set(why, ERR_DENIED, "signed with %s, which is not among the digests allowed", digest == NID_undef ? "an unusual algorithm" : OBJ_nid2sn(digest));
    return IDENTITY_WEAK;
}

static enum identity_check check_at(const struct identity_policy *p, STACK_OF(X509) *path, int i, struct err *why)
{
    X509 *x = sk_X509_value(path, i);
    bool anchor = i == sk_X509_num(path) - 1;
    enum identity_check found = i == 0 ? check_leaf(x, why) : check_authority(x, why);

    if (found == IDENTITY_PASSED)
        found = check_key(p, x, why);
    /* Nobody signed the anchor but itself: it is believed because it is configured. */
    if (found == IDENTITY_PASSED && !anchor)
        found = check_signature(p, x, why);
    return found;
}

static enum identity_check check_path(const struct identity_policy *p, STACK_OF(X509) *path, struct err *why)
{
    int count = sk_X509_num(path);

    if (count - 2 > (int)p->depth) {
        err_set(why, ERR_DENIED, "%d intermediate certificates, at most %u", count - 2, p->depth);
        return IDENTITY_CONSTRAINTS;
    }
    for (int i = 0; i < count; i++) {
        enum identity_check found = check_at(p, path, i, why);
        char name[PKIX_NAME_TEXT];

        if (found == IDENTITY_PASSED)
            continue;
        err_prefix(why, "%s (%s)", place(i), pkix_name_text(name, X509_get_subject_name(sk_X509_value(path, i))));
        return found;
    }
    return IDENTITY_PASSED;
}

/* ---- */

static bool prepare(X509_STORE_CTX *ctx, const struct identity_policy *p, const struct identity_chain *chain, int64_t now)
{
    X509_VERIFY_PARAM *param;

    if (X509_STORE_CTX_init(ctx, p->anchors, chain->leaf, chain->others) != 1 || X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_CLIENT) != 1)
        return false;
    param = X509_STORE_CTX_get0_param(ctx);
    X509_VERIFY_PARAM_set_time(param, (time_t)(now / 1000));
    X509_VERIFY_PARAM_set_depth(param, (int)p->depth);
    return true;
}

enum identity_check validate_chain(const struct identity_policy *p, const struct identity_chain *chain, int64_t now, STACK_OF(X509) **path, struct err *why)
{
    X509_STORE_CTX *ctx;
    enum identity_check found;

    *path = NULL;
    if (chain->leaf == NULL) {
        err_set(why, ERR_DENIED, "no certificate");
        return IDENTITY_MISSING;
    }
    ctx = X509_STORE_CTX_new();
    if (ctx == NULL || !prepare(ctx, p, chain, now)) {
        err_set_openssl(why, ERR_DENIED, "the certificate cannot be verified");
        found = IDENTITY_INVALID;
    } else if (X509_verify_cert(ctx) != 1)
        found = tell_fault(ctx, why);
    else {
        *path = X509_STORE_CTX_get1_chain(ctx);
        found = *path == NULL ? IDENTITY_INVALID : check_path(p, *path, why);
    }
    X509_STORE_CTX_free(ctx);
    ERR_clear_error();
    if (found != IDENTITY_PASSED) {
        policy_certificates_free(*path);
        *path = NULL;
    }
    return found;
}

int64_t validate_path_end(STACK_OF(X509) *path)
{
    int64_t end = INT64_MAX, one;

    for (int i = 0; i < sk_X509_num(path); i++) {
        if (!pkix_time(X509_get0_notAfter(sk_X509_value(path, i)), &one))
            one = 0; /* not a time: over */
        end = one < end ? one : end;
    }
    return end;
}

enum revocation_answer validate_weigh(enum revocation_policy policy, enum revocation_answer crl, enum revocation_answer ocsp)
{
    switch (policy) {
    case REVOCATION_NOT_CHECKED:
        return REVOCATION_GOOD;
    case REVOCATION_BY_CRL:
        return crl;
    case REVOCATION_BY_OCSP:
        return ocsp;
    case REVOCATION_BY_EITHER:
        if (crl == REVOCATION_REVOKED || ocsp == REVOCATION_REVOKED)
            return REVOCATION_REVOKED;
        return crl == REVOCATION_GOOD || ocsp == REVOCATION_GOOD ? REVOCATION_GOOD : REVOCATION_UNKNOWN;
    case REVOCATION_BY_BOTH:
        if (crl == REVOCATION_REVOKED || ocsp == REVOCATION_REVOKED)
            return REVOCATION_REVOKED;
        return crl == REVOCATION_GOOD && ocsp == REVOCATION_GOOD ? REVOCATION_GOOD : REVOCATION_UNKNOWN;
    }
    return REVOCATION_UNKNOWN;
}
