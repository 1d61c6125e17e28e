/*
 * Reading of texts that have exactly one spelling: expected runs of characters with values
 * between. The first disagreement is remembered and every later read fails. Pure.
 */
#ifndef COFFRE_TEXT_READER_H
#define COFFRE_TEXT_READER_H

#include "common/values/err.h"
#include "common/values/slice.h"

struct text_reader {
    struct slice whole, rest; /* borrowed */
    const char *what;         /* "lot.xml", for errors */
    bool failed;
    struct err *e;            /* may be NULL */
};

struct text_reader text_read(struct slice text, const char *what, struct err *e);

/* Records an error with the offset reached; returns false. */
bool text_fail(struct text_reader *r, const char *wanted);

/* The next characters are exactly these. */
bool text_expect(struct text_reader *r, const char *exactly);
/* As text_expect, but says no without failing and consumes nothing then. */
bool text_peek(const struct text_reader *r, const char *exactly);

/* What comes before `end`, which is consumed too; over `max` bytes fails. Empty slice on failure. */
struct slice text_until(struct text_reader *r, const char *end, size_t max);

/* Values, each followed by `end`. Decimal without leading zero, at most `max`; lower-case SHA-256; date. */
uint64_t text_number(struct text_reader *r, const char *end, uint64_t max);
void text_digest(struct text_reader *r, const char *end, uint8_t out[32]);
int64_t text_date(struct text_reader *r, const char *end);

/* True when nothing failed and nothing is left. */
MUST_CHECK bool text_end(struct text_reader *r);

#endif
