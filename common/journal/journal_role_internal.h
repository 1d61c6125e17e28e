/* What the files of the journal role share; nobody else includes it. */
#ifndef COFFRE_JOURNAL_ROLE_INTERNAL_H
#define COFFRE_JOURNAL_ROLE_INTERNAL_H

#include <poll.h>
#include <time.h>

#include "common/journal/record.h"
#include "common/journal/spool.h"
#include "common/journal/tally.h"
#include "common/system/broker.h"
#include "common/values/wire.h"

enum {
    JOURNAL_WRITERS_MAX = 80,
    JOURNAL_WINDOW_MAX = 8,           /* batches published and not confirmed */
    JOURNAL_BATCH_BYTES = 64 * 1024,
    JOURNAL_MESSAGE_MAX = 2 * JOURNAL_RECORD_MAX, /* of a sibling, or to one: more is no record */
};

/*
 * Whose records find the spool full first: whoever is nearest to strangers. A rank's number is how many eighths of `journal.spool_bytes` there are for it beyond that: a front that a stranger has taken over fills what it
 * can, and what identity has to say is kept nevertheless, and what all others have. A share of the room and no quota of records, for none is both more than an honest front may have to say in an attack and less than
 * what fills a disk; and a share beside what there is for all, so that no record is dropped for it that would have found room.
 */
enum journal_rank {
    JOURNAL_FRONTS,
    JOURNAL_IDENTITY,
    JOURNAL_OTHERS,
    JOURNAL_RANKS
};

/* A sibling. */
struct journal_writer {
    struct channel *channel; /* NULL: not there */
    char kind[32];
    unsigned index;
    enum journal_rank rank;
    uint64_t records, told; /* of this channel: read, and said to be done with */
    uint64_t lost;          /* of those between the two, from the first that was not kept on */
    uint64_t refused, refused_in_a_row; /* records that are none, or another's: not yet journaled; since the last good one */
    int64_t refused_at;     /* monotonic ms: when that may be journaled again */
    int64_t deaf_since;     /* monotonic ms: something waits for it to read since; 0: nothing does */
    char why[256];          /* the last was refused for */
};

/* A batch the broker has not confirmed. */
struct journal_flight {
    struct spool_batch batch;
    uint64_t tag;
    bool confirmed, returned;
};

/* What found no room and is not yet journaled, of one rank. */
struct journal_loss {
    struct tally tally;
    struct tally_count now, on_disk; /* the count, and as the file has it. `sure` of `now`: writers have been told */
    uint64_t doubt;                  /* of `now.most`: what the process before may have counted without telling the writers */
    bool full;                       /* as the writers were told */
    bool failed;                     /* the file cannot be written */
};

struct journal_role {
    struct role *self;
    const struct journal_duty *duty;
    struct record_origin origin;
    char *folder; /* owned */
    struct spool *spool;
    struct buf lines; /* a batch being published */
    struct journal_writer writers[JOURNAL_WRITERS_MAX];
    unsigned first; /* whose turn it is to be read before the others */
    struct broker *broker; /* NULL: away */
    struct journal_flight flights[JOURNAL_WINDOW_MAX];
    unsigned flying, window;
    int64_t connect_at, backoff_ms, publish_at; /* monotonic ms */
    int64_t sync_at, disk_at, report_at, leave_at;
    struct journal_loss losses[JOURNAL_RANKS];
    bool up, disk_failed, unread, draining, stop_written;
    char why[256]; /* why not up */
    struct {
        uint64_t records, lost, refused, published, confirmed;
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
/* As before, for one that nobody would send again: when it finds no room it is counted. */
void journal_role_must_write(struct journal_role *j, const char *event, const struct journal_field *fields, unsigned count);
/* The broker takes records, or not; siblings are told. */
void journal_role_set_up(struct journal_role *j, bool up, const char *why);

/* journal_broker.c: one turn with the broker: connects when it is time, takes confirms, publishes. */
void journal_role_broker(struct journal_role *j);

/* journal_lost.c: records that find no room. */
enum journal_rank journal_rank_of(const char *kind);
/* Reads what the process before has left. ERR_RETRY: the disk refuses. */
MUST_CHECK bool journal_lost_open(struct journal_role *j, struct err *e);
void journal_lost_close(struct journal_role *j);
void journal_lost_count(struct journal_role *j, enum journal_rank rank);
/* Whether records of this rank are being lost: until that is journaled all of them are, so that what is missing is in one piece. */
bool journal_lost_any(const struct journal_role *j, enum journal_rank rank);
/* Whether some count is not on disk, or not of records that are known to be lost. */
bool journal_lost_due(const struct journal_role *j);
/* Puts the counts on disk that have changed. What cannot be put there is said once, and stays a number of this process. */
void journal_lost_keep(struct journal_role *j);
/* All writers have heard what was lost. */
void journal_lost_told(struct journal_role *j);
/* Journals each count as soon as there is room again; only while no writer waits for what became of its records. */
void journal_lost_own_up(struct journal_role *j);

/* journal_begin.c: opens the spool and writes "daemon-started", but when only this role was started again; and "daemon-stopped". */
MUST_CHECK bool journal_role_begin(struct journal_role *j, struct err *e);
void journal_role_stopped(struct journal_role *j);

#endif
