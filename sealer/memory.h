/*
 * What was signed last, remembered outside the database, so that a rewound database cannot make the vault fork its
 * chain: one file, written whole with its digest before a signature leaves the process. Everyone who reads or
 * writes it holds the lock (flock on <file>.lock), since a standby on the same host shares it.
 */
#ifndef COFFRE_MEMORY_H
#define COFFRE_MEMORY_H

#include "common/values/buf.h"

enum { MEMORY_ANSWER_MAX = 2 << 20 /* bytes of one remembered answer */ };

struct memory {
    char operator_id[5]; /* of the vault it belongs to */
    uint32_t vault;
    uint64_t number;     /* last lot signed; 0: only the genesis */
    uint64_t last;       /* its last serial */
    int64_t closed_ms;   /* its Cloture */
    int64_t signed_ms;   /* its SigningTime; of the genesis: its date */
    uint8_t genesis[32]; /* SHA-256 of genesis.xml */
    uint8_t value[32];   /* SHA-256 of the lot's SignatureValue; zero before lot 1 */
    uint8_t request[32]; /* identity of what was asked: the same question gets the same answer */
    struct buf answer;   /* what was answered; owned, empty before lot 1 and after coffre-ceremony remember */
};

void memory_init(struct memory *m);
void memory_free(struct memory *m);

/* durable_lock(): the descriptor (close it to unlock), or -1. */
int memory_lock(const char *path, struct err *e);

/*
 * Reads the file. ERR_DOUBT when it is missing, torn, or changed by something else: *missing (may be NULL) tells
 * the first case from the others. `m` is initialised by the caller.
 */
MUST_CHECK bool memory_load(struct memory *m, const char *path, bool *missing, struct err *e);

/* Replaces the file: new file, fsync, rename, fsync of the folder. ERR_RETRY when it cannot be written. */
MUST_CHECK bool memory_store(const struct memory *m, const char *path, struct err *e);

/* The two halves without the file system; for tests and fuzzing. */
MUST_CHECK bool memory_write(const struct memory *m, struct buf *out, struct err *e);
MUST_CHECK bool memory_read(struct memory *m, struct slice bytes, struct err *e);

#endif
