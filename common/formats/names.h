/*
 * File names inside an extraction, and nothing else: the digits carry the lot and the
 * serial, so a name has exactly one spelling and every other spelling is refused.
 */
#ifndef COFFRE_NAMES_H
#define COFFRE_NAMES_H

#include "common/values/slice.h"

enum { NAMES_MAX = 64 /* bytes of the longest name with its NUL */ };

enum names_kind { NAMES_OTHER, NAMES_README, NAMES_CERTIFICATE, NAMES_LOT, NAMES_KEY, NAMES_EVENT };

struct names_entry {
    enum names_kind kind;
    uint64_t lot;     /* NAMES_LOT, NAMES_KEY, NAMES_EVENT */
    uint32_t ordinal; /* NAMES_KEY: from 1; NAMES_CERTIFICATE: place among the fixed names, from 0 */
    uint64_t serial;  /* NAMES_EVENT */
};

/* "README.txt", and the certs/ files in the order a segment holds them; NULL past the last. */
#define NAMES_README_TXT "README.txt"
const char *names_certificate(unsigned place);

/* Each writes the name with its NUL and returns its length without it. */
size_t names_write_lot(char out[NAMES_MAX], uint64_t lot);                  /* lots/lot-000042.asice */
size_t names_write_key(char out[NAMES_MAX], uint64_t lot, uint32_t ordinal); /* keys/000042-1.p7m */
size_t names_write_event(char out[NAMES_MAX], uint64_t lot, uint64_t serial); /* events/000042/000000004201.p7m */

/* What a lot key calls itself in CMS (KEKIdentifier): "000042-1". Same return. */
size_t names_write_key_id(char out[NAMES_MAX], uint64_t lot, uint32_t ordinal);

/* The reverse of the above, strictly; kind NAMES_OTHER for anything that is not exactly such a name. */
struct names_entry names_read(struct slice name);

/* Order of files in a segment: README, certs, then by lot: container, keys, events. <0, 0, >0. */
int names_compare(const struct names_entry *a, const struct names_entry *b);

#endif
