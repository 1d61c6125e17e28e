/* An authority whose key everybody has, for fuzz targets: what they make up must be signed, else nothing behind the signature would ever be reached. */
#ifndef COFFRE_FUZZ_ISSUER_H
#define COFFRE_FUZZ_ISSUER_H

#include <openssl/x509.h>

#include "common/values/buf.h"

enum { ISSUER_NOW_S = 1800000000 /* seconds since 1970: when everything is judged */ };

struct issuer {
    EVP_PKEY *key;
    X509 *certificate, *leaf; /* CN=issuer; serial 10 with distribution points http://crl.test/a and CN=part relative to its issuer */
    STACK_OF(X509) *authorities;
};

/* The same each time. Ends the process on failure. */
const struct issuer *issuer_get(void);

/* Puts `tbs` (one DER element), ecdsa-with-SHA256 and the signature into a SEQUENCE. */
struct buf issuer_sign(struct slice tbs);
/* Appends an element with these contents. */
void issuer_put(struct buf *out, uint8_t tag, struct slice content);

#endif
