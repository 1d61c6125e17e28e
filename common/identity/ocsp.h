/*
 * OCSP (RFC 6960), the parts without a network: requests as bytes, responses judged. A response is a stranger's until its signature is verified.
 */
#ifndef COFFRE_IDENTITY_OCSP_H
#define COFFRE_IDENTITY_OCSP_H

#include "common/identity/crl.h"

enum { OCSP_RESPONSE_MAX = 64 * 1024, OCSP_NONCE_SIZE = 32 /* RFC 8954 2.1: 1 to 32 */, OCSP_URL_MAX = 1024 };

/* Whether the response must carry our nonce again (RFC 6960 4.4.1). */
enum ocsp_nonce {
    OCSP_NONCE_OFF,      /* none is sent */
    OCSP_NONCE_OPTIONAL, /* sent; a response without one is taken, a wrong one refused */
    OCSP_NONCE_REQUIRED,
};
MUST_CHECK bool ocsp_nonce_parse(const char *text, enum ocsp_nonce *nonce); /* "off", "optional", "required" */

/* The DER of a request for one certificate, CertID with SHA-1 (which every responder knows, RFC 6960 B.1 and RFC 5019 2.1.1). `nonce` may be NULL: none. */
MUST_CHECK bool ocsp_request(X509 *certificate, X509 *issuer, const uint8_t nonce[OCSP_NONCE_SIZE], struct buf *out, struct err *e);

/* The first http: or https: URL of authorityInfoAccess (RFC 5280 4.2.2.1); false: there is none that fits `url`. */
bool ocsp_url(X509 *certificate, char url[OCSP_URL_MAX]);

/*
 * Judges a response: status successful, signed by the issuer itself or by a responder whose certificate the issuer itself signed with id-kp-OCSPSigning in its extended key usage and in date (RFC 6960 4.2.2.2),
 * with a digest not weaker than SHA-256, about this certificate, thisUpdate not in the future (5 minutes are let pass), nextUpdate not past beyond `max_stale` ms,
 * the nonce as `rule` wants. True: `found` holds the answer, with thisUpdate and `until` (nextUpdate and `max_stale`, or without nextUpdate `now` and `reuse` ms).
 * False (ERR_INPUT): the response is worth nothing; `e` says why, citing the clause.
 */
MUST_CHECK bool ocsp_judge(struct slice response, X509 *certificate, X509 *issuer, const uint8_t *nonce, enum ocsp_nonce rule, int64_t now, int64_t max_stale, int64_t reuse,
                           struct revocation_finding *found, struct err *e);

/*
 * Of a response that ocsp_judge() takes: the certificate of who signed it in the issuer's place, whose own revocation is to be asked (RFC 6960 4.2.2.2.1). Owned; NULL: the issuer signed
 * itself, or says by id-pkix-ocsp-nocheck that nobody need ask.
 */
X509 *ocsp_delegate(struct slice response, X509 *certificate, X509 *issuer, int64_t now);

#endif
