/*
 * Growing bytes with a hard maximum. Appending past the maximum fails and says so;
 * running out of memory ends the process (nothing sensible can follow).
 */
#ifndef COFFRE_BUF_H
#define COFFRE_BUF_H

#include "common/values/err.h"
#include "common/values/slice.h"

struct buf {
    uint8_t *data;   /* owned */
    size_t start;    /* first byte not yet consumed */
    size_t len;      /* bytes held, from start */
    size_t capacity; /* bytes allocated */
    size_t max;      /* hard maximum of len */
    bool wipe;       /* holds plaintext: wiped before any free or move */
};

/* Prepares an empty buffer that never holds more than `max` bytes; allocates nothing. */
void buf_init(struct buf *b, size_t max);

/* As buf_init; contents are wiped whenever memory is given back or consumed. */
void buf_init_secret(struct buf *b, size_t max);

/* Gives the memory back; the buffer may be used again. Safe on a zeroed struct. */
void buf_free(struct buf *b);

/* Appends; false and ERR_INPUT when the maximum would be exceeded (nothing is appended). */
MUST_CHECK bool buf_add(struct buf *b, const void *bytes, size_t len, struct err *e);
MUST_CHECK bool buf_add_slice(struct buf *b, struct slice s, struct err *e);
MUST_CHECK bool buf_printf(struct buf *b, struct err *e, const char *fmt, ...) PRINTF_LIKE(3, 4);

/*
 * Room for `len` more bytes, to be filled by the caller and then declared with
 * buf_commit(). NULL only when the maximum would be exceeded: room for nothing is there, too. Valid until the next call.
 */
uint8_t *buf_reserve(struct buf *b, size_t len, struct err *e);
void buf_commit(struct buf *b, size_t len);

/* Drops `len` bytes from the front (len <= b->len). Moves nothing. */
void buf_consume(struct buf *b, size_t len);
void buf_reset(struct buf *b);

/* What it holds; valid until the next change. */
static inline struct slice buf_slice(const struct buf *b)
{
    return (struct slice){b->data == NULL ? NULL : b->data + b->start, b->len};
}

/* malloc, calloc, realloc, strdup that end the process when memory is out. */
void *mem_alloc(size_t size);
void *mem_zalloc(size_t count, size_t size);
void *mem_realloc(void *p, size_t size);
char *mem_strdup(const char *text);
char *mem_printf(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* An owned, NUL-terminated copy. */
char *mem_text(struct slice s);

#endif
