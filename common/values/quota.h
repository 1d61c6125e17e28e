/*
 * How much of what strangers bring about is recorded one by one: the first of each kind in a while, and so many of all kinds together. What comes beyond that is counted by kind, and told when the while is
 * over: a flood costs a bounded number of records, is never silent, and hides nobody else. Pure: time is given; names may come from strangers, and are only compared and copied.
 */
#ifndef COFFRE_QUOTA_H
#define COFFRE_QUOTA_H

#include "common/values/slice.h"

enum { QUOTA_PARTS = 3 /* of a name */ };

struct quota_limits {
    unsigned kinds;     /* told apart at a time */
    unsigned others;    /* names more, under which those that find no place are counted; what finds none there either is counted without a name */
    unsigned part;      /* bytes of each part of a name, with its zero: the rest is cut */
    unsigned each, all; /* recorded in a window: of one kind, of all together */
    uint64_t window;    /* ms */
};

/* What a kind is called: texts. */
struct quota_name {
    struct slice parts[QUOTA_PARTS];
};

struct quota;

/* Owned by the caller, quota_free(). All the memory it ever takes: (kinds + others + 1) * (QUOTA_PARTS * part + 32) bytes, about. */
struct quota *quota_new(const struct quota_limits *limits);
/* What was not told is forgotten. NULL is a no-op. */
void quota_free(struct quota *q);

/*
 * Something of this kind happened at `now` (ms of any clock that never goes back). True: it gets a record; false: it is counted, under `others` when there is no place for one kind more. Whoever takes
 * calls quota_tell() every second or so: a kind that owes a count gets no record before it is told.
 */
bool quota_take(struct quota *q, uint64_t now, const struct quota_name *kind, const struct quota_name *others);

struct quota_count {
    const char *name[QUOTA_PARTS]; /* until the next call */
    uint64_t begun;                /* ms: its window */
    uint64_t omitted;              /* without a record, 1 and more */
};

/* One kind whose window is over, or any when `all` (the end), that owes a count; from then on it owes none. To be called until false. */
bool quota_tell(struct quota *q, uint64_t now, bool all, struct quota_count *out);

#endif
