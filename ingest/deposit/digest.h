/* Digest of an event, as the sensor declares it (Digest and DigestAlgo). */
#ifndef COFFRE_DEPOSIT_DIGEST_H
#define COFFRE_DEPOSIT_DIGEST_H

#include <openssl/evp.h>

#include "common/values/err.h"
#include "common/values/slice.h"

enum { DIGEST_HEX_MAX = 2 * EVP_MAX_MD_SIZE + 1 };

struct digest {
    EVP_MD *method;      /* owned */
    EVP_MD_CTX *context; /* owned, used again for every event */
    const char *name;    /* as the property DigestAlgo says it: SHA-256 */
};

/* `name`: sha1, sha256 or sha384, with or without a hyphen, any case. */
MUST_CHECK bool digest_open(struct digest *d, const char *name, struct err *e);
void digest_close(struct digest *d);

/* Lower-case hexadecimal, NUL-terminated. */
MUST_CHECK bool digest_hex(struct digest *d, struct slice bytes, char hex[DIGEST_HEX_MAX], struct err *e);

#endif
