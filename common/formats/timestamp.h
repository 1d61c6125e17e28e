/*
 * Time-stamp tokens (RFC 3161): verification of one against the imprint it must cover. The
 * token is a stranger's.
 */
#ifndef COFFRE_TIMESTAMP_H
#define COFFRE_TIMESTAMP_H

#include "common/formats/trust.h"

enum { TIMESTAMP_TOKEN_MAX = 64 * 1024 };

struct timestamp {
    int64_t time_ms;       /* genTime */
    uint8_t certificate[32]; /* SHA-256 of the TSA certificate's DER */
    X509 *signer;          /* owned: X509_free() */
    char policy[64];       /* OID, dotted */
};

enum timestamp_fault {
    TIMESTAMP_FAULT_NONE,
    TIMESTAMP_FAULT_FORM,        /* not a token, or missing what RFC 3161 / RFC 5816 ask */
    TIMESTAMP_FAULT_IMPRINT,     /* covers other bytes: transplanted */
    TIMESTAMP_FAULT_SIGNATURE,   /* the TSA's signature does not hold */
    TIMESTAMP_FAULT_CERTIFICATE, /* chain, dates or extended key usage */
};

/*
 * `token`: DER ContentInfo (not TimeStampResp) with the TSA certificate inside. Checks version, SHA-256 imprint, signature, signing-certificate-v2 with SHA-256
 * (RFC 5816), chain at genTime, critical EKU timeStamping alone (RFC 3161 2.3).
 */
MUST_CHECK bool timestamp_verify(struct slice token, const uint8_t imprint[32], struct trust *t, struct timestamp *out,
                                 enum timestamp_fault *fault, struct err *e);
void timestamp_free(struct timestamp *ts);

#endif
