/*
 * SHA256SUMS: one line of coreutils for each key file, then each event of a lot. Lines are
 * also the leaves of the lot's Merkle tree. The reader trusts nothing.
 */
#ifndef COFFRE_SUMS_H
#define COFFRE_SUMS_H

#include "common/formats/names.h"
#include "common/values/err.h"

enum { SUMS_LINE_MAX = 64 + 2 + NAMES_MAX + 1 };

/* Writes "<64 hex digits>  <name>\n" and a NUL; returns the length without the NUL. */
size_t sums_write_line(char out[SUMS_LINE_MAX], const uint8_t digest[32], const char *name);

struct sums_line {
    uint8_t digest[32];
    struct names_entry entry; /* NAMES_KEY or NAMES_EVENT, nothing else */
    struct slice name;        /* borrowed */
    struct slice whole;       /* the line with its line feed: the Merkle leaf; borrowed */
};

enum sums_result { SUMS_LINE, SUMS_END, SUMS_BAD };

struct sums_reader {
    struct slice rest; /* borrowed */
    uint64_t number;   /* of the line just read, from 1 */
};

static inline struct sums_reader sums_read(struct slice text)
{
    return (struct sums_reader){text, 0};
}

/* The next line. SUMS_BAD and ERR_INPUT for any other spelling (a missing last line feed too). */
enum sums_result sums_next(struct sums_reader *r, struct sums_line *line, struct err *e);

#endif
