/*
 * What CRLs and OCSP responses have in common: DER taken apart without copies, times, names and numbers of PKIX as text, which signatures are
 * too weak. Pure; what is read here is a stranger's.
 */
#ifndef COFFRE_IDENTITY_PKIX_H
#define COFFRE_IDENTITY_PKIX_H

#include <openssl/x509.h>

#include "common/values/buf.h"

/* Identifier octets of DER (X.690 8.1.2): universal, and of the context ([0], constructed). */
enum pkix_tag {
    PKIX_BOOLEAN = 0x01,
    PKIX_INTEGER = 0x02,
    PKIX_BITS = 0x03,
    PKIX_OCTETS = 0x04,
    PKIX_OBJECT = 0x06,
    PKIX_ENUMERATED = 0x0a,
    PKIX_UTC_TIME = 0x17,
    PKIX_GENERAL_TIME = 0x18,
    PKIX_SEQUENCE = 0x30,
    PKIX_CONTEXT_0 = 0xa0,
};

enum {
    PKIX_SKEW_MS = 5 * 60 * 1000, /* by how much others' clocks may be ahead of ours */
    PKIX_SERIAL_TEXT = 44,        /* what pkix_serial_text() writes, at most */
    PKIX_NAME_TEXT = 160,         /* what pkix_name_text() writes, at most */
    PKIX_TIME_TEXT = 24,
};

/*
 * Takes the element that `rest` begins with off it, when it has this identifier octet: its contents go to `content`, and all of it with header to `whole`
 * (may be NULL). False, and nothing is taken, when it has another, or its length is not DER (definite, in the fewest octets) or goes past the end.
 */
MUST_CHECK bool pkix_take(struct slice *rest, enum pkix_tag tag, struct slice *content, struct slice *whole);
/* Whether `rest` begins with this identifier octet. */
bool pkix_is(struct slice rest, enum pkix_tag tag);
/* Contents of an INTEGER or ENUMERATED: at least one octet, no octet too many (X.690 8.3.2). */
bool pkix_integer_valid(struct slice content);

/* UTCTime or GeneralizedTime as RFC 5280 4.1.2.5 wants them (seconds, no fraction, "Z"): a number of fourteen decimal digits, YYYYMMDDhhmmss; 0: not so. */
uint64_t pkix_time_digits(enum pkix_tag tag, struct slice content);
/* Those digits as ms since 1970; false: no such second, or before 1970. */
MUST_CHECK bool pkix_time_of(uint64_t digits, int64_t *ms);
MUST_CHECK bool pkix_time(const ASN1_TIME *time, int64_t *ms);

/* Texts for people, cut to their size. They return `out`. */
const char *pkix_time_text(char out[PKIX_TIME_TEXT], int64_t ms);              /* "2026-01-31T12:00:00Z" */
const char *pkix_serial_text(char out[PKIX_SERIAL_TEXT], X509 *certificate);   /* "0A1B" */
const char *pkix_name_text(char out[PKIX_NAME_TEXT], const X509_NAME *name);   /* RFC 2253 */
const char *pkix_reason_text(unsigned reason);                                 /* RFC 5280 5.3.1: "keyCompromise" */

/* Whether a signature's digest has 256 bits at least (SHA-2, SHA-3, Ed25519, Ed448; of RSASSA-PSS the one it names, RFC 4055 3.1). MD5 and SHA-1 are weak, and so is what is not known. */
bool pkix_signature_strong(const X509_ALGOR *algorithm);
/* RSA of 2048 bits at least, EC of 256, Ed25519, Ed448. */
bool pkix_key_strong(const EVP_PKEY *key);

#endif
