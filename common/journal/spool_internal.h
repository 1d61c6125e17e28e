/* What spool.c and spool_recover.c share; nobody else includes it. */
#ifndef COFFRE_JOURNAL_SPOOL_INTERNAL_H
#define COFFRE_JOURNAL_SPOOL_INTERNAL_H

#include "common/journal/spool.h"

enum { SPOOL_NAME_MAX = 32 };

struct spool_segment {
    uint64_t id;        /* its name; grows */
    uint64_t length;    /* bytes on disk for good */
    uint64_t given;     /* bytes given out */
    uint64_t confirmed; /* bytes that need not be kept */
    uint64_t records;   /* behind `confirmed` */
};

struct spool {
    int folder, lock; /* descriptors */
    uint64_t most, segment_max;
    struct spool_segment *segments; /* owned, by id */
    size_t count, capacity;
    int active;     /* the last segment, open for writing; -1: none is */
    int reading;    /* the segment being given out; -1: none */
    uint64_t reading_id;
    struct buf pending; /* lines not yet on disk */
    uint64_t pending_records;
    uint64_t next_id, bytes, records; /* of the segments */
};

void spool_segment_name(char name[SPOOL_NAME_MAX], uint64_t id);
struct spool_segment *spool_segment_add(struct spool *s, uint64_t id);
/* Reads all segments that are there, oldest first, and rewrites those with torn lines. */
MUST_CHECK bool spool_recover(struct spool *s, struct spool_found *found, struct err *e);

#endif
