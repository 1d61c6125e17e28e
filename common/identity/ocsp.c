/* OCSP requests and responses as bytes: see ocsp.h. */
#include "common/identity/ocsp.h"

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <strings.h>

#include "common/identity/ocsp_signer.h"
#include "common/identity/pkix.h"

bool ocsp_nonce_parse(const char *text, enum ocsp_nonce *nonce)
{
    static const char *const names[] = {[OCSP_NONCE_OFF] = "off", [OCSP_NONCE_OPTIONAL] = "optional", [OCSP_NONCE_REQUIRED] = "required"};

    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(text, names[i]) == 0) {
            *nonce = (enum ocsp_nonce)i;
            return true;
        }
    return false;
}

static bool fill_request(OCSP_REQUEST *request, X509 *certificate, X509 *issuer, const uint8_t *nonce)
{
    OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha1(), certificate, issuer);
    uint8_t copy[OCSP_NONCE_SIZE];

    if (id == NULL || OCSP_request_add0_id(request, id) == NULL) {
        OCSP_CERTID_free(id);
        return false;
    }
    if (nonce == NULL)
        return true;
    memcpy(copy, nonce, sizeof copy);
    return OCSP_request_add1_nonce(request, copy, sizeof copy) == 1;
}

bool ocsp_request(X509 *certificate, X509 *issuer, const uint8_t nonce[OCSP_NONCE_SIZE], struct buf *out, struct err *e)
{
    OCSP_REQUEST *request = OCSP_REQUEST_new();
    uint8_t *der = NULL;
    int len = -1;
    bool ok;

    if (request != NULL && fill_request(request, certificate, issuer, nonce))
        len = i2d_OCSP_REQUEST(request, &der);
    ok = len > 0 ? buf_add(out, der, (size_t)len, e) : err_set_openssl(e, ERR_INPUT, "OCSP request");
    OPENSSL_free(der);
    OCSP_REQUEST_free(request);
    ERR_clear_error();
    return ok;
}

/* An http: or https: URL with a host, of printable ASCII without spaces. */
static bool fits(struct slice url)
{
    size_t scheme = url.len > 7 && strncasecmp((const char *)url.at, "http://", 7) == 0 ? 7 : 8;

    if (url.len >= OCSP_URL_MAX || url.len <= scheme || (scheme == 8 && strncasecmp((const char *)url.at, "https://", 8) != 0))
        return false;
    for (size_t i = 0; i < url.len; i++)
        if (url.at[i] <= ' ' || url.at[i] > '~')
            return false;
    return true;
}

bool ocsp_url(X509 *certificate, char url[OCSP_URL_MAX])
{
    AUTHORITY_INFO_ACCESS *access = X509_get_ext_d2i(certificate, NID_info_access, NULL, NULL);
    bool found = false;

    for (int i = 0; i < sk_ACCESS_DESCRIPTION_num(access) && !found; i++) {
        const ACCESS_DESCRIPTION *one = sk_ACCESS_DESCRIPTION_value(access, i);
        struct slice text;

        if (OBJ_obj2nid(one->method) != NID_ad_OCSP || one->location->type != GEN_URI)
            continue;
        text = slice_of(ASN1_STRING_get0_data(one->location->d.uniformResourceIdentifier),
                        (size_t)ASN1_STRING_length(one->location->d.uniformResourceIdentifier));
        found = fits(text);
        if (found)
            snprintf(url, OCSP_URL_MAX, "%.*s", SLICE_ARGS(text));
    }
    AUTHORITY_INFO_ACCESS_free(access);
    ERR_clear_error();
    return found;
}

/* What is asked and by which rules. */
struct question {
    X509 *certificate, *issuer;
    const uint8_t *nonce;
    enum ocsp_nonce rule;
    int64_t now, max_stale, reuse;
};

/* Only successful responses have anything in them (4.2.1). */
static OCSP_BASICRESP *open_response(struct slice bytes, struct err *e)
{
    const uint8_t *at = bytes.at;
    OCSP_RESPONSE *response = NULL;
    OCSP_BASICRESP *basic = NULL;
    int status;

    if (bytes.len <= OCSP_RESPONSE_MAX)
        response = d2i_OCSP_RESPONSE(NULL, &at, (long)bytes.len);
    status = response == NULL ? -1 : OCSP_response_status(response);
    if (response == NULL || at != bytes.at + bytes.len)
        (void)err_set(e, ERR_INPUT, "not an OCSP response of at most %d bytes (RFC 6960 4.2.1)", OCSP_RESPONSE_MAX);
    else if (status != OCSP_RESPONSE_STATUS_SUCCESSFUL)
        (void)err_set(e, ERR_INPUT, "the responder says: %s (RFC 6960 4.2.1)", OCSP_response_status_str(status));
    else if ((basic = OCSP_response_get1_basic(response)) == NULL)
        (void)err_set(e, ERR_INPUT, "no basic response (RFC 6960 4.2.1) in the OCSP response");
    OCSP_RESPONSE_free(response);
    return basic;
}

/* RFC 6960 4.4, RFC 5280 4.2: what is critical is understood; of response extensions that is the nonce, of single ones nothing. */
static bool check_critical(OCSP_BASICRESP *basic, OCSP_SINGLERESP *single, struct err *e)
{
    for (int i = 0; i < OCSP_BASICRESP_get_ext_count(basic); i++) {
        X509_EXTENSION *extension = OCSP_BASICRESP_get_ext(basic, i);

        if (X509_EXTENSION_get_critical(extension) && OBJ_obj2nid(X509_EXTENSION_get_object(extension)) != NID_id_pkix_OCSP_Nonce)
            return err_set(e, ERR_INPUT, "unknown critical extension in the OCSP response (RFC 6960 4.4)");
    }
    for (int i = 0; i < OCSP_SINGLERESP_get_ext_count(single); i++)
        if (X509_EXTENSION_get_critical(OCSP_SINGLERESP_get_ext(single, i)))
            return err_set(e, ERR_INPUT, "unknown critical extension in the OCSP answer (RFC 6960 4.4)");
    return true;
}

/* RFC 6960 4.4.1, RFC 8954 2.1: the nonce is an OCTET STRING within the extension's. */
static bool check_nonce(OCSP_BASICRESP *basic, const struct question *q, struct err *e)
{
    int at = OCSP_BASICRESP_get_ext_by_NID(basic, NID_id_pkix_OCSP_Nonce, -1);
    uint8_t wanted[2 + OCSP_NONCE_SIZE] = {PKIX_OCTETS, OCSP_NONCE_SIZE};
    ASN1_OCTET_STRING *data;

    if (q->rule == OCSP_NONCE_OFF || (q->nonce == NULL && q->rule != OCSP_NONCE_REQUIRED))
        return true;
    if (at < 0)
        return q->rule == OCSP_NONCE_OPTIONAL || err_set(e, ERR_INPUT, "the OCSP response does not repeat our nonce (RFC 6960 4.4.1)");
    data = X509_EXTENSION_get_data(OCSP_BASICRESP_get_ext(basic, at));
    if (q->nonce != NULL)
        memcpy(wanted + 2, q->nonce, OCSP_NONCE_SIZE);
    return (q->nonce != NULL && OCSP_BASICRESP_get_ext_by_NID(basic, NID_id_pkix_OCSP_Nonce, at) < 0 &&
            slice_equal(slice_of(ASN1_STRING_get0_data(data), (size_t)ASN1_STRING_length(data)), slice_of(wanted, sizeof wanted))) ||
           err_set(e, ERR_INPUT, "the OCSP response has another nonce than ours (RFC 6960 4.4.1): an answer to another question");
}

/* Whether this CertID (4.1.1) is of the certificate; its digest is the responder's choice, and no secret. */
static bool is_of(const OCSP_CERTID *id, const struct question *q)
{
    ASN1_OBJECT *algorithm;
    ASN1_INTEGER *serial;
    const EVP_MD *digest;
    OCSP_CERTID *ours;
    bool same;

    /* The getter takes the id as not const, and does not change it. */
    if (OCSP_id_get0_info(NULL, &algorithm, NULL, &serial, (OCSP_CERTID *)(uintptr_t)id) != 1 ||
        ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(q->certificate)) != 0)
        return false;
    digest = EVP_get_digestbyobj(algorithm);
    if (digest == NULL || EVP_MD_get_type(digest) == NID_md5)
        return false;
    ours = OCSP_cert_to_id(digest, q->certificate, q->issuer);
    same = ours != NULL && OCSP_id_cmp(ours, id) == 0;
    OCSP_CERTID_free(ours);
    return same;
}

/* The one answer about the certificate. Two could be played against each other. */
static OCSP_SINGLERESP *find_answer(OCSP_BASICRESP *basic, const struct question *q, struct err *e)
{
    OCSP_SINGLERESP *found = NULL;

    for (int i = 0; i < OCSP_resp_count(basic); i++) {
        OCSP_SINGLERESP *one = OCSP_resp_get0(basic, i);

        if (!is_of(OCSP_SINGLERESP_get0_id(one), q))
            continue;
        if (found != NULL) {
            (void)err_set(e, ERR_INPUT, "the OCSP response has two answers about this certificate (RFC 6960 4.2.2.3)");
            return NULL;
        }
        found = one;
    }
    if (found == NULL)
        (void)err_set(e, ERR_INPUT, "the OCSP response is not about this certificate (RFC 6960 3.2, 1)");
    return found;
}

/* 3.2, 5 and 6; 4.2.2.1. Without nextUpdate an answer is as old as it may get when it was produced `reuse` ago: else any old one would do for ever. */
static bool check_dates(OCSP_BASICRESP *basic, const ASN1_GENERALIZEDTIME *from, const ASN1_GENERALIZEDTIME *to, const struct question *q,
                        struct revocation_finding *f, struct err *e)
{
    int64_t produced, this_update, next_update = 0;
    char text[PKIX_TIME_TEXT];

    if (!pkix_time(OCSP_resp_get0_produced_at(basic), &produced) || from == NULL || !pkix_time(from, &this_update) ||
        (to != NULL && (!pkix_time(to, &next_update) || next_update < this_update)))
        return err_set(e, ERR_INPUT, "the OCSP response's dates cannot be read, or are not in order (RFC 6960 4.2.2.1)");
    if (this_update > q->now + PKIX_SKEW_MS || produced > q->now + PKIX_SKEW_MS)
        return err_set(e, ERR_INPUT, "the OCSP response's thisUpdate is in the future: %s (RFC 6960 4.2.2.1)",
                       pkix_time_text(text, this_update > produced ? this_update : produced));
    if (to != NULL && next_update + q->max_stale < q->now)
        return err_set(e, ERR_INPUT, "the OCSP response has expired: nextUpdate was %s (RFC 6960 4.2.2.1)", pkix_time_text(text, next_update));
    if (to == NULL && this_update + PKIX_SKEW_MS + q->reuse + q->max_stale < q->now)
        return err_set(e, ERR_INPUT, "the OCSP response is not recent and says no nextUpdate: it is of %s (RFC 6960 3.2, 5)", pkix_time_text(text, this_update));
    f->this_update = this_update;
    f->until = to != NULL ? next_update + q->max_stale : q->now + q->reuse;
    return true;
}

static bool say(OCSP_BASICRESP *basic, OCSP_SINGLERESP *single, const struct question *q, const char *by, struct revocation_finding *f, struct err *e)
{
    ASN1_GENERALIZEDTIME *at = NULL, *from = NULL, *to = NULL;
    int reason = -1, status = OCSP_single_get0_status(single, &reason, &at, &from, &to);
    char serial[PKIX_SERIAL_TEXT], date[PKIX_TIME_TEXT];

    (void)pkix_serial_text(serial, q->certificate);
    if (!check_dates(basic, from, to, q, f, e))
        return false;
    switch (status) {
    case V_OCSP_CERTSTATUS_GOOD:
        f->answer = REVOCATION_GOOD;
        snprintf(f->text, sizeof f->text, "serial %s: good (OCSP, %s)", serial, by);
        return true;
    case V_OCSP_CERTSTATUS_REVOKED:
        f->answer = REVOCATION_REVOKED;
        if (at == NULL || !pkix_time(at, &f->revoked_at))
            f->revoked_at = 0;
        snprintf(f->text, sizeof f->text, "serial %s: revoked %s, %s (OCSP, %.100s)", serial,
                 f->revoked_at == 0 ? "at an unknown date" : pkix_time_text(date, f->revoked_at), reason < 0 ? "no reason given" : pkix_reason_text((unsigned)reason), by);
        return true;
    case V_OCSP_CERTSTATUS_UNKNOWN:
        f->answer = REVOCATION_UNKNOWN;
        snprintf(f->text, sizeof f->text, "serial %s: unknown to its responder (OCSP, %s)", serial, by);
        return true;
    default:
        return err_set(e, ERR_INPUT, "the OCSP response's status is none of good, revoked, unknown (RFC 6960 4.2.1)");
    }
}

static bool judge(OCSP_BASICRESP *basic, const struct question *q, struct revocation_finding *f, struct err *e)
{
    OCSP_SINGLERESP *single;
    X509 *signer = ocsp_signer_find(basic, q->certificate, q->issuer, q->now, e);
    char by[PKIX_NAME_TEXT];

    if (signer == NULL)
        return false;
    (void)pkix_name_text(by, X509_get_subject_name(signer));
    single = find_answer(basic, q, e);
    return single != NULL && check_critical(basic, single, e) && check_nonce(basic, q, e) && say(basic, single, q, by, f, e);
}

bool ocsp_judge(struct slice response, X509 *certificate, X509 *issuer, const uint8_t *nonce, enum ocsp_nonce rule, int64_t now, int64_t max_stale, int64_t reuse,
                struct revocation_finding *found, struct err *e)
{
    struct question q = {certificate, issuer, nonce, rule, now, max_stale, reuse};
    OCSP_BASICRESP *basic = open_response(response, e);
    bool ok;

    *found = (struct revocation_finding){.answer = REVOCATION_UNKNOWN};
    ok = basic != NULL && judge(basic, &q, found, e);
    if (!ok)
        *found = (struct revocation_finding){.answer = REVOCATION_UNKNOWN};
    OCSP_BASICRESP_free(basic);
    ERR_clear_error();
    return ok;
}

X509 *ocsp_delegate(struct slice response, X509 *certificate, X509 *issuer, int64_t now)
{
    struct err e = {0};
    OCSP_BASICRESP *basic = open_response(response, &e);
    X509 *signer = basic == NULL ? NULL : ocsp_signer_find(basic, certificate, issuer, now, &e);

    if (signer == issuer || (signer != NULL && (X509_get_ext_by_NID(signer, NID_id_pkix_OCSP_noCheck, -1) >= 0 || X509_up_ref(signer) != 1)))
        signer = NULL;
    OCSP_BASICRESP_free(basic);
    ERR_clear_error();
    return signer;
}
