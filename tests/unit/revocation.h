/* CRLs, OCSP responses and the certificates they are about, made on the spot for tests, with whatever is wrong with them. Failures end the test. */
#ifndef COFFRE_TESTS_REVOCATION_H
#define COFFRE_TESTS_REVOCATION_H

#include <openssl/ocsp.h>
#include <openssl/x509v3.h>

#include "common/values/buf.h"
#include "tests/unit/certificates.h"

enum { MINUTE_MS = 60000, HOUR_MS = 3600000, EXTENSIONS_MAX = 8 };

struct extension_wanted {
    int nid;
    const char *value; /* as in openssl.cnf, on one line; NULL ends the list */
};

struct certificate_wanted {
    const char *cn;
    long serial;
    int64_t from, until; /* ms since 1970; 0: a year before, after `revocation_now()` */
    const EVP_MD *digest; /* NULL: SHA-256 */
    struct extension_wanted extensions[EXTENSIONS_MAX];
};

/* Now, in whole seconds, as ms since 1970. */
int64_t revocation_now(void);

/* `key` is taken over; `by` NULL: itself. */
struct issued revocation_certificate(EVP_PKEY *key, const struct certificate_wanted *w, const struct issued *by);
/* Whose certificate it is with another serial number, and with so many of the shortest extensions that it has over 15 KiB: of nothing does OpenSSL make more. Nobody has signed it. DER, for OPENSSL_free(). */
struct slice revocation_bloated(const struct issued *of, long serial);
/* An authority with keyCertSign and cRLSign. */
struct issued revocation_authority(const char *cn, EVP_PKEY *key);

/* A CRL that is not signed yet; `next` 0: no nextUpdate. */
X509_CRL *revocation_crl(const struct issued *by, int64_t this_update, int64_t next);
void revocation_add(X509_CRL *crl, long serial, int reason); /* reason -1: none */
void revocation_extend(X509_CRL *crl, int nid, const char *value, const struct issued *by); /* "critical,…" */
/* An extension nobody knows, as TLV bytes "DER:…". */
X509_EXTENSION *revocation_unknown(bool critical);
/* Signs, encodes, frees the CRL. The bytes are the caller's (buf_free()). */
struct buf revocation_signed(X509_CRL *crl, const struct issued *by, const EVP_MD *digest);
struct buf revocation_pem(struct slice crl);
void revocation_append(struct buf *out, struct slice bytes);

/* Stack of borrowed certificates; ends with NULL. Freed by sk_X509_free(). */
STACK_OF(X509) *revocation_stack(X509 *first, ...) __attribute__((sentinel));

/* One OCSP answer. */
struct answer_wanted {
    int status, reason;
    int64_t revoked_at, this_update, next_update; /* ms; 0: absent (this_update: now) */
    const EVP_MD *id_digest; /* NULL: SHA-1 */
};
void revocation_answer_add(OCSP_BASICRESP *basic, X509 *certificate, X509 *issuer, const struct answer_wanted *w);
/* Signs with `by`, carries `chain` (may be NULL) and, without OCSP_NOCERTS, the signer. Frees `basic`. */
struct buf revocation_response(OCSP_BASICRESP *basic, const struct issued *by, STACK_OF(X509) *chain, const EVP_MD *digest, unsigned long flags);

#endif
