/* What the files of the journal role share; nobody else includes it. */
#ifndef COFFRE_JOURNAL_ROLE_INTERNAL_H
#define COFFRE_JOURNAL_ROLE_INTERNAL_H

#include <poll.h>
#include <time.h>

#include "common/journal/record.h"
#include "common/journal/spool.h"
#include "common/system/broker.h"
#include "common/values/wire.h"

enum {
    JOURNAL_WRITERS_MAX = 80,
    JOURNAL_WINDOW_MAX = 8,           /* batches published and not confirmed */
    JOURNAL_BATCH_BYTES = 64 * 1024,
};

/* A sibling. */
struct journal_writer {
    struct channel *channel; /* NULL: not there */
    char kind[32];
    unsigned index;
    uint64_t records, told; /* of this channel: read, and said to be on disk */
};

/* A batch the broker has not confirmed. */
struct journal_flight {
    struct spool_batch batch;
    uint64_t tag;
    bool confirmed, returned;
};

struct journal_role {
    struct role *self;
    const struct journal_duty *duty;
    struct record_origin origin;
    char *folder; /* owned */
    struct spool *spool;
    struct buf lines; /* a batch being published */
    struct journal_writer writers[JOURNAL_WRITERS_MAX];
    struct broker *broker; /* NULL: away */
    struct journal_flight flights[JOURNAL_WINDOW_MAX];
    unsigned flying, window;
    int64_t connect_at, backoff_ms, publish_at; /* monotonic ms */
    int64_t sync_at, disk_at, report_at, leave_at;
    uint64_t lost; /* not yet said */
    bool up, disk_failed, unread, draining, stop_written;
    char why[256]; /* why not up */
    struct {
        uint64_t records, lost, published, confirmed;
    } counts;
};

static inline int64_t journal_now_ms(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* A record of this role's own. */
bool journal_role_write(struct journal_role *j, const char *event, const struct journal_field *fields, unsigned count);
/* The broker takes records, or not; siblings are told. */
void journal_role_set_up(struct journal_role *j, bool up, const char *why);

/* journal_broker.c: one turn with the broker: connects when it is time, takes confirms, publishes. */
void journal_role_broker(struct journal_role *j);

/* journal_begin.c: opens the spool and writes "daemon-started", but when only this role was started again; and "daemon-stopped". */
MUST_CHECK bool journal_role_begin(struct journal_role *j, struct err *e);
void journal_role_stopped(struct journal_role *j);

#endif
