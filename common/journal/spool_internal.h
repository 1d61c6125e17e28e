/* What the files of the spool share; nobody else includes it, but the fuzz target of its lines. */
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
    bool damaged;       /* and not yet mended */
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
/* Reads all segments that are there, oldest first; a torn tail is cut off, damage before a record found. */
MUST_CHECK bool spool_recover(struct spool *s, struct spool_found *found, struct err *e);

/* ---- spool_lines.c ---- */
struct spool_scan {
    uint8_t *bytes; /* borrowed, overwritten where they are damaged */
    size_t len;
    size_t at;        /* read so far */
    size_t good;      /* end of the last record: what is behind it at the end is torn */
    uint64_t records; /* so far */
};
struct spool_gap {
    size_t from, len;
    uint64_t lines; /* that were something: as many records at least, unless a line end was lost too */
};
/* On to the next damage that stands before a record, which is overwritten in `bytes` (but not what was overwritten before). False: the end. */
MUST_CHECK bool spool_scan_next(struct spool_scan *s, struct spool_gap *gap);
/* Moves the records among whole lines to the front, `kept` bytes; how many bytes the whole lines have in all. */
size_t spool_take_lines(uint8_t *bytes, size_t len, size_t *kept, uint64_t *records);

#endif
