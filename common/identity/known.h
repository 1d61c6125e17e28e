/*
 * Certificates that OCSP has said are revoked, which nobody takes back but a newer answer: neither an older one played again, nor time, nor a restart. As values, and as the bytes of
 * the file they are kept in. Pure; the file is our own, and is read as if it were not.
 */
#ifndef COFFRE_IDENTITY_KNOWN_H
#define COFFRE_IDENTITY_KNOWN_H

#include "common/identity/crl.h"

enum {
    KNOWN_KEY = 32,        /* bytes: SHA-256 of issuer and certificate */
    KNOWN_MAX = 100000,    /* beyond it the one that ends first is forgotten */
    KNOWN_FILE_MAX = 64 << 20,
};

struct known;

/* One of them. */
struct known_one {
    uint8_t key[KNOWN_KEY];
    int64_t ends;                   /* ms: when the certificate itself does */
    struct revocation_finding found; /* REVOCATION_REVOKED */
};

struct known *known_new(void);
void known_free(struct known *k);
size_t known_count(const struct known *k);

/* NULL: not known to be revoked. Borrowed until the next change. */
const struct known_one *known_find(const struct known *k, const uint8_t key[KNOWN_KEY]);
/* Remembers, instead of what was known of this certificate. */
void known_put(struct known *k, const struct known_one *one);
/* Forgets; false: it was not known. */
bool known_take(struct known *k, const uint8_t key[KNOWN_KEY]);
/* Forgets those whose certificates have ended; how many. */
size_t known_expire(struct known *k, int64_t now);

MUST_CHECK bool known_write(const struct known *k, struct buf *out, struct err *e);
/* All or nothing: ERR_INPUT, and nothing is known, when the bytes are not what known_write() writes. */
MUST_CHECK bool known_read(struct known *k, struct slice bytes, struct err *e);

#endif
