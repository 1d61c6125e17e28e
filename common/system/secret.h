/*
 * Memory for keys, PINs and plaintext: pages of their own, locked (mlock), left out of core files
 * (MADV_DONTDUMP), wiped before they are given back. Files are believed only when nobody but their owner may read them.
 */
#ifndef COFFRE_SECRET_H
#define COFFRE_SECRET_H

#include "common/values/err.h"
#include "common/values/slice.h"

enum { SECRET_KEY_SIZE = 32 /* bytes of a key file */, SECRET_PIN_MAX = 256 };

/* Zeroed: holds nothing. */
struct secret {
    uint8_t *at;   /* owned pages */
    size_t len;    /* bytes asked for */
    size_t mapped; /* bytes of pages */
};

/* Zeroed memory. ERR_FATAL when it cannot be had or locked (RLIMIT_MEMLOCK). */
MUST_CHECK bool secret_alloc(struct secret *s, size_t len, struct err *e);
/* Wipes and unmaps; safe on a zeroed or freed struct. */
void secret_free(struct secret *s);

/*
 * Gives OpenSSL locked memory of its own for keys (its "secure heap"; without it OPENSSL_secure_malloc() is malloc()). For roles that
 * hold a few keys for long; never for one with many handshakes at once, whose ephemeral keys would exhaust it. Where memory
 * cannot be locked a warning is logged. Once per process.
 */
void secret_open_heap(void);

/* A regular file that group and others can neither read nor write; ERR_INPUT names it. */
MUST_CHECK bool secret_check_file(const char *path, struct err *e);

/* A file of exactly 32 bytes. */
MUST_CHECK bool secret_read_key(struct secret *s, const char *path, struct err *e);
/* A file with one line of 1 to 256 bytes; the line feed is dropped and a NUL follows (`len` does not count it). */
MUST_CHECK bool secret_read_pin(struct secret *s, const char *path, struct err *e);

static inline struct slice secret_slice(const struct secret *s)
{
    return slice_of(s->at, s->len);
}

#endif
