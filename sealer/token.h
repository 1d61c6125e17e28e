/* Time-stamp tokens of the vault's own TSA: RFC 3161 as profiled by ETSI EN 319 422. The imprint is not judged: a TSA never sees what it stamps. */
#ifndef COFFRE_TOKEN_H
#define COFFRE_TOKEN_H

#include <openssl/x509.h>

#include "common/values/buf.h"

struct token_maker {
    X509 *certificate;           /* the TSA's; critical extended key usage timeStamping alone */
    const struct buf *chain;     /* DER: its own certificate, then intermediates, which are embedded too */
    size_t chain_count;
    EVP_PKEY *key;
    const char *policy;          /* OID, dotted */
};

/*
 * Appends a DER TimeStampToken (ContentInfo): SHA-256 imprint, genTime `now_us` to the millisecond, accuracy one second, random 128-bit
 * serial number, signing-certificate-v2 with SHA-256 (RFC 5816). ERR_RETRY when the key failed, ERR_FATAL when certificate or policy cannot do.
 */
MUST_CHECK bool token_make(const struct token_maker *maker, const uint8_t imprint[32], int64_t now_us, struct buf *out,
                           struct err *e);

/* The policy is an OID that OpenSSL accepts; ERR_INPUT. */
MUST_CHECK bool token_check_policy(const char *policy, struct err *e);

#endif
