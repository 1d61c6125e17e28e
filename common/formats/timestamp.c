/* See timestamp.h. */
#include "common/formats/timestamp.h"

#include <openssl/err.h>
#include <openssl/pkcs7.h>
#include <openssl/ts.h>
#include <stdlib.h>

#include "common/formats/date.h"
#include "common/formats/digest.h"

static bool timestamp_fail(enum timestamp_fault *fault, enum timestamp_fault which, struct err *e, const char *what)
{
    *fault = which;
    ERR_clear_error();
    return err_set(e, ERR_INPUT, "time-stamp: %s", what);
}

/* GeneralizedTime of RFC 3161 2.4.2: YYYYMMDDhhmmss[.s...]Z, whole milliseconds kept. */
static bool timestamp_time(const ASN1_GENERALIZEDTIME *time, int64_t *ms)
{
    struct slice s = slice_of(ASN1_STRING_get0_data(time), (size_t)ASN1_STRING_length(time));
    char text[DATE_LEN + 1] = "0000-00-00T00:00:00.000Z";
    static const uint8_t place[14] = {0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18};

    if (s.len < 15 || s.at[s.len - 1] != 'Z' || (s.len > 15 && (s.at[14] != '.' || s.len == 16)))
        return false;
    for (size_t i = 0; i < sizeof(place); i++)
        text[place[i]] = (char)s.at[i];
    for (size_t i = 15; i < s.len - 1; i++) {
        if (s.at[i] < '0' || s.at[i] > '9')
            return false;
        if (i < 18)
            text[20 + (i - 15)] = (char)s.at[i];
    }
    return date_read(slice_of(text, DATE_LEN), ms);
}

/* RFC 3161 2.4.2: version, imprint, time, policy. */
static bool timestamp_check_info(TS_TST_INFO *info, const uint8_t imprint[32], struct timestamp *out,
                                 enum timestamp_fault *fault, struct err *e)
{
    TS_MSG_IMPRINT *stated = TS_TST_INFO_get_msg_imprint(info);
    const ASN1_OBJECT *algorithm;
    ASN1_OCTET_STRING *digest = TS_MSG_IMPRINT_get_msg(stated);

    X509_ALGOR_get0(&algorithm, NULL, NULL, TS_MSG_IMPRINT_get_algo(stated));
    if (TS_TST_INFO_get_version(info) != 1 || !timestamp_time(TS_TST_INFO_get_time(info), &out->time_ms) ||
        OBJ_obj2txt(out->policy, sizeof(out->policy), TS_TST_INFO_get_policy_id(info), 1) <= 0)
        return timestamp_fail(fault, TIMESTAMP_FAULT_FORM, e, "RFC 3161 2.4.2: version, genTime or policy");
    if (OBJ_obj2nid(algorithm) != NID_sha256 || ASN1_STRING_length(digest) != 32 ||
        memcmp(ASN1_STRING_get0_data(digest), imprint, 32) != 0)
        return timestamp_fail(fault, TIMESTAMP_FAULT_IMPRINT, e, "it covers other bytes than this signature");
    return true;
}

/* Enters a DER element of this universal tag: its contents become *at..*end. */
static bool der_enter(const uint8_t **at, const uint8_t **end, int tag)
{
    long len;
    int found, class;
    const uint8_t *p = *at;
    int result = ASN1_get_object(&p, &len, &found, &class, *end - *at);

    if ((result & 0x80) != 0 || found != tag || class != V_ASN1_UNIVERSAL || len > *end - p)
        return false;
    *at = p;
    *end = p + len;
    return true;
}

/* RFC 5816, RFC 5035: the first ESSCertIDv2 is SHA-256 (the default, or said) of the signer's certificate. */
static bool timestamp_check_ess(PKCS7_SIGNER_INFO *signer, const uint8_t certificate[32])
{
    ASN1_TYPE *value = PKCS7_get_signed_attribute(signer, NID_id_smime_aa_signingCertificateV2);
    const uint8_t *at, *end, *inner, *inner_end;

    if (value == NULL || value->type != V_ASN1_SEQUENCE)
        return false;
    at = ASN1_STRING_get0_data(value->value.sequence);
    end = at + ASN1_STRING_length(value->value.sequence);
    if (!der_enter(&at, &end, V_ASN1_SEQUENCE) || !der_enter(&at, &end, V_ASN1_SEQUENCE) ||
        !der_enter(&at, &end, V_ASN1_SEQUENCE))
        return false;
    inner = at;
    inner_end = end;
    if (der_enter(&inner, &inner_end, V_ASN1_SEQUENCE)) { /* hashAlgorithm, when not left to its default */
        static const uint8_t sha256[] = {6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1};

        if (inner_end - inner < (long)sizeof(sha256) || memcmp(inner, sha256, sizeof(sha256)) != 0)
            return false;
        at = inner_end;
    }
    return der_enter(&at, &end, V_ASN1_OCTET_STRING) && end - at == 32 && memcmp(at, certificate, 32) == 0;
}

/* RFC 5754 2: SHA-2 and RSA identifiers have no parameters, or NULL. */
static bool timestamp_plain(const X509_ALGOR *algorithm)
{
    int type;

    X509_ALGOR_get0(NULL, &type, NULL, algorithm);
    return type == V_ASN1_UNDEF || type == V_ASN1_NULL;
}

/* The names a signature algorithm goes by in a token: OpenSSL itself looks at the key alone. */
static bool timestamp_known_signature(const X509_ALGOR *algorithm)
{
    int nid = OBJ_obj2nid(algorithm->algorithm);

    return nid == NID_rsaEncryption || nid == NID_sha256WithRSAEncryption || nid == NID_ecdsa_with_SHA256;
}

/* sid spells the issuer exactly as the certificate does: OpenSSL itself compares names without regard to case. */
static bool timestamp_names_issuer(const PKCS7_SIGNER_INFO *info, X509 *signer)
{
    const uint8_t *said, *is;
    size_t said_len, is_len;

    return X509_NAME_get0_der(info->issuer_and_serial->issuer, &said, &said_len) == 1 &&
           X509_NAME_get0_der(X509_get_issuer_name(signer), &is, &is_len) == 1 &&
           slice_equal(slice_of(said, said_len), slice_of(is, is_len));
}

/*
 * What the TSA's signature does not cover must leave no room: DER only, the one version, plain algorithms,
 * no CRLs, no unsigned attributes. So no byte of a token can change unnoticed.
 */
static bool timestamp_check_form(PKCS7 *token, struct slice der, X509 *signer)
{
    const PKCS7_SIGNED *s = token->d.sign;
    const PKCS7_SIGNER_INFO *info = sk_PKCS7_SIGNER_INFO_value(s->signer_info, 0);
    unsigned char *again = NULL;
    int len = i2d_PKCS7(token, &again);
    bool ok = len > 0 && slice_equal(der, slice_of(again, (size_t)len)) && ASN1_INTEGER_get(s->version) == 3 &&
              ASN1_INTEGER_get(info->version) == 1 && sk_X509_CRL_num(s->crl) <= 0 &&
              sk_X509_ATTRIBUTE_num(info->unauth_attr) <= 0 && sk_X509_ALGOR_num(s->md_algs) == 1 &&
              timestamp_plain(sk_X509_ALGOR_value(s->md_algs, 0)) &&
              X509_ALGOR_cmp(sk_X509_ALGOR_value(s->md_algs, 0), info->digest_alg) == 0 &&
              OBJ_obj2nid(info->digest_alg->algorithm) == NID_sha256 && timestamp_plain(info->digest_enc_alg) &&
              timestamp_known_signature(info->digest_enc_alg) &&
              timestamp_names_issuer(info, signer);

    OPENSSL_free(again);
    return ok;
}

/* What TS_RESP_verify_token found first, as a fault. */
static enum timestamp_fault timestamp_explain(void)
{
    unsigned long code = ERR_peek_last_error();

    if (ERR_GET_LIB(code) != ERR_LIB_TS)
        return TIMESTAMP_FAULT_SIGNATURE;
    switch (ERR_GET_REASON(code)) {
    case TS_R_CERTIFICATE_VERIFY_ERROR:
        return TIMESTAMP_FAULT_CERTIFICATE;
    case TS_R_ESS_SIGNING_CERTIFICATE_ERROR:
    case TS_R_THERE_MUST_BE_ONE_SIGNER:
    case TS_R_UNSUPPORTED_VERSION:
        return TIMESTAMP_FAULT_FORM;
    default:
        return TIMESTAMP_FAULT_SIGNATURE;
    }
}

/* Signature, chain at genTime and purpose, by OpenSSL. */
static bool timestamp_check_token(PKCS7 *token, struct trust *t, int64_t at_ms, enum timestamp_fault *fault, struct err *e)
{
    TS_VERIFY_CTX *ctx = TS_VERIFY_CTX_new();
    X509_STORE *store = trust_store_at(t, at_ms);
    bool ok;

    ERR_clear_error();
    if (ctx == NULL || X509_STORE_up_ref(store) != 1) {
        TS_VERIFY_CTX_free(ctx);
        return err_set_openssl(e, ERR_FATAL, "time-stamp");
    }
    TS_VERIFY_CTX_set_store(ctx, store); /* owned by ctx now */
    TS_VERIFY_CTX_set_flags(ctx, TS_VFY_VERSION | TS_VFY_SIGNATURE);
    ok = TS_RESP_verify_token(ctx, token) == 1;
    if (!ok) {
        const char *data = NULL;

        *fault = timestamp_explain();
        (void)ERR_peek_last_error_data(&data, NULL);
        (void)err_set(e, ERR_INPUT, "time-stamp: %s %s", *fault == TIMESTAMP_FAULT_CERTIFICATE ? "certificate of the TSA" :
                      *fault == TIMESTAMP_FAULT_FORM ? "form of the token (RFC 3161 2.4.2)" : "signature of the TSA",
                      data != NULL && *data != '\0' ? data : "does not hold");
    }
    TS_VERIFY_CTX_free(ctx);
    ERR_clear_error();
    return ok;
}

/* The certificate that signed, kept in `out`, and its binding by ESSCertIDv2. */
static bool timestamp_check_signer(PKCS7 *token, struct slice der, struct timestamp *out, enum timestamp_fault *fault,
                                   struct err *e)
{
    STACK_OF(PKCS7_SIGNER_INFO) *infos = PKCS7_get_signer_info(token);
    STACK_OF(X509) *signers = PKCS7_get0_signers(token, NULL, 0);
    unsigned len;
    bool form = sk_X509_num(signers) == 1 && sk_PKCS7_SIGNER_INFO_num(infos) == 1 &&
                timestamp_check_form(token, der, sk_X509_value(signers, 0));
    bool ok = form && X509_digest(sk_X509_value(signers, 0), EVP_sha256(), out->certificate, &len) == 1 &&
              timestamp_check_ess(sk_PKCS7_SIGNER_INFO_value(infos, 0), out->certificate);

    if (ok && X509_up_ref(sk_X509_value(signers, 0)) == 1)
        out->signer = sk_X509_value(signers, 0);
    sk_X509_free(signers);
    if (!form)
        return timestamp_fail(fault, TIMESTAMP_FAULT_FORM, e, "its parts that are not signed are not as RFC 3161 2.4.2 has them");
    return ok || timestamp_fail(fault, TIMESTAMP_FAULT_FORM, e,
                                "RFC 5816: no signing-certificate-v2 with the SHA-256 of the one signer's certificate");
}

bool timestamp_verify(struct slice der, const uint8_t imprint[32], struct trust *t, struct timestamp *out,
                      enum timestamp_fault *fault, struct err *e)
{
    const uint8_t *at = der.at;
    PKCS7 *token = NULL;
    TS_TST_INFO *info = NULL;
    bool ok;

    memset(out, 0, sizeof(*out));
    *fault = TIMESTAMP_FAULT_NONE;
    if (der.len <= TIMESTAMP_TOKEN_MAX)
        token = d2i_PKCS7(NULL, &at, (long)der.len);
    if (token != NULL && at == der.at + der.len && PKCS7_type_is_signed(token))
        info = PKCS7_to_TS_TST_INFO(token);
    ok = (info != NULL || timestamp_fail(fault, TIMESTAMP_FAULT_FORM, e, "not a token of RFC 3161")) &&
         timestamp_check_info(info, imprint, out, fault, e) &&
         timestamp_check_token(token, t, out->time_ms, fault, e) && timestamp_check_signer(token, der, out, fault, e);
    TS_TST_INFO_free(info);
    PKCS7_free(token);
    ERR_clear_error();
    return ok;
}

void timestamp_free(struct timestamp *ts)
{
    X509_free(ts->signer);
    ts->signer = NULL;
}
