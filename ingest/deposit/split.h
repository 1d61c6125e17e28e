/*
 * Cuts a stream of bytes into events: one top-level element each, however many follow one
 * another. Pure: bytes in, events or an error with its line out. What stands between events
 * (white space, comments, an XML declaration) is left out, because sensors send none.
 */
#ifndef COFFRE_DEPOSIT_SPLIT_H
#define COFFRE_DEPOSIT_SPLIT_H

#include "common/values/buf.h"

enum { SPLIT_DEPTH_MAX = 128, SPLIT_CHUNK = 1 << 16 };

enum split_result {
    SPLIT_EVENT, /* one event was cut out */
    SPLIT_MORE,  /* feed more bytes */
    SPLIT_END,   /* `last` was said and nothing is left */
    SPLIT_BAD,   /* see the error: nothing more can be had from this stream */
};

struct split_event {
    struct slice bytes;   /* the element, as it stands; valid until the next call */
    uint64_t offset;      /* bytes before it in the stream */
    unsigned line;        /* its first line, from 1 */
    unsigned index;       /* its rank in the stream, from 1 */
    bool had_declaration; /* an XML declaration (or byte order mark) before it was left out */
};

struct split {
    struct buf held;        /* what is not yet cut */
    size_t event_max;       /* bytes */
    size_t scanned;         /* bytes of `held` already looked at */
    unsigned depth;         /* open elements; 0 between events */
    uint64_t offset;        /* of held's first byte in the stream */
    unsigned line, column;  /* of the first byte not looked at */
    unsigned event_line;    /* where the event being scanned begins */
    unsigned count;         /* events cut so far */
    bool declaration;       /* seen since the last event */
    struct split_name {
        size_t at, len;
    } open[SPLIT_DEPTH_MAX]; /* names of open elements, as places in `held` */
};

/* Events over `event_max` bytes are an error. */
void split_init(struct split *s, size_t event_max);
void split_free(struct split *s);

/* Appends at most SPLIT_CHUNK bytes of the stream. Call only at the beginning or after SPLIT_MORE. */
MUST_CHECK bool split_feed(struct split *s, const void *bytes, size_t len, struct err *e);

/* The next event; `last` when the stream has ended. Errors name line and column. */
enum split_result split_next(struct split *s, bool last, struct split_event *event, struct err *e);

#endif
