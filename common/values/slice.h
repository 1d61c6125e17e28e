/*
 * Borrowed bytes: a pointer and a length that live as long as whoever owns them.
 * Never NUL-terminated, never freed through the slice.
 */
#ifndef COFFRE_SLICE_H
#define COFFRE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const uint8_t *at; /* may be NULL when len is 0 */
    size_t len;        /* bytes */
};

#define SLICE_LITERAL(text) ((struct slice){(const uint8_t *)(text), sizeof(text) - 1})

static inline struct slice slice_of(const void *at, size_t len)
{
    return (struct slice){at, len};
}

static inline struct slice slice_text(const char *text)
{
    return (struct slice){(const uint8_t *)text, text == NULL ? 0 : strlen(text)};
}

static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

static inline bool slice_is(struct slice a, const char *text)
{
    return slice_equal(a, slice_text(text));
}

/* For printf's "%.*s": both arguments. Only for text already known to be printable. */
#define SLICE_ARGS(s) (int)(s).len, (const char *)(s).at

#endif
