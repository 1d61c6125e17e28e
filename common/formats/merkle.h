/*
 * Merkle tree of RFC 9162 section 2.1 (SHA-256): root of a list read once, in memory that
 * grows with the logarithm of its length, and proofs that one leaf is in it.
 */
#ifndef COFFRE_MERKLE_H
#define COFFRE_MERKLE_H

#include <openssl/evp.h>

#include "common/values/err.h"
#include "common/values/slice.h"

enum { MERKLE_HASH = 32, MERKLE_DEPTH = 64 };

struct merkle {
    EVP_MD_CTX *sha256; /* owned */
    uint64_t count;     /* leaves so far; its one bits say which nodes are there */
    uint8_t nodes[MERKLE_DEPTH][MERKLE_HASH];
    bool failed;        /* a digest failed: every result is refused */
};

/* merkle_free() gives back what merkle_init() took; merkle_reset() starts another list. */
void merkle_init(struct merkle *m);
void merkle_reset(struct merkle *m);
void merkle_free(struct merkle *m);

/* RFC 9162 2.1.1: SHA-256(0x00 ‖ leaf). */
void merkle_add(struct merkle *m, struct slice leaf);

/* MTH of what was added; SHA-256 of nothing for the empty list. More leaves may follow. ERR_FATAL if OpenSSL failed. */
MUST_CHECK bool merkle_root(const struct merkle *m, uint8_t root[MERKLE_HASH], struct err *e);

/*
 * Inclusion proof (RFC 9162 2.1.3.1) of leaf `index` (from 0) among `size`: create, add every leaf of the list
 * in order, read the path.
 */
struct merkle_prover {
    struct merkle part; /* of the subtree being read */
    uint64_t index, size, next;
    unsigned count;     /* subtrees of the path */
    struct { uint64_t from, to; } range[MERKLE_DEPTH]; /* by position in the list */
    unsigned slot[MERKLE_DEPTH];                       /* where in the path each goes */
    unsigned done;
    uint8_t path[MERKLE_DEPTH][MERKLE_HASH];
};

/* index < size. merkle_prover_free() afterwards. */
void merkle_prover_init(struct merkle_prover *p, uint64_t index, uint64_t size);
void merkle_prover_add(struct merkle_prover *p, struct slice leaf);
void merkle_prover_free(struct merkle_prover *p);
/* The path, leaf to root, borrowed from `p`; ERR_INPUT unless exactly `size` leaves were added. */
MUST_CHECK bool merkle_prover_path(const struct merkle_prover *p, const uint8_t (**path)[MERKLE_HASH], size_t *len,
                                   struct err *e);

/* RFC 9162 2.1.3.2. True when the path leads from this leaf to this root. */
MUST_CHECK bool merkle_check(struct slice leaf, uint64_t index, uint64_t size, const uint8_t (*path)[MERKLE_HASH],
                             size_t len, const uint8_t root[MERKLE_HASH]);

#endif
