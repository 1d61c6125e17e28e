/* What the parts of a load run share: load.c (loop), load_lane.c (sending), load_follow.c (answers), load_report.c. */
#ifndef COFFRE_DEPOSIT_LOAD_INTERNAL_H
#define COFFRE_DEPOSIT_LOAD_INTERNAL_H

#include "ingest/deposit/histogram.h"
#include "ingest/deposit/load.h"

enum {
    LOAD_POOL = 512, /* different events, sent in turn, each time under a new ClientId */
    LOAD_DIGITS = 12,
    LOAD_SLOTS_PER_WINDOW = 4, /* receipts may come in any order, but not older than this many windows */
};

/* A whole SEND frame made beforehand: only a few digits change from one sending to the next. */
struct load_frame {
    uint8_t *bytes; /* owned */
    size_t len;
    size_t receipt_at, client_id_at, timestamp_at; /* where those digits are */
};

/* Since when a connection, or a group of them, waits for its session: --retry bounds that. */
struct load_wait {
    uint64_t since;          /* ms; 0: it has one */
    bool failed;             /* an attempt, or the session before */
};

struct load_lane {
    struct load *load;       /* borrowed: whose it is */
    struct load_wait wait;
    struct link link;
    bool open;
    uint64_t sent;           /* events on this session; the receipt of the n-th is n, from 1 */
    size_t outstanding;      /* without receipt */
    uint64_t *sent_at;       /* owned: ns, by receipt modulo slot_count; 0: free */
    size_t slot_count;       /* power of two */
    uint64_t retry_at;       /* ms */
};

struct load_follow {
    struct link link;
    bool open, subscribed;
    struct load_wait wait;
    uint64_t retry_at;        /* ms */
    uint64_t ok, duplicates, invalid, others; /* answers to this run's events; others: to somebody else's */
    uint64_t lowest_serial, highest_serial; /* answered, of this run */
    uint64_t archived_serial, archived_at; /* last serial of the newest archived lot, and when (ns) its notice came */
    uint64_t before_serial, before_at;     /* the same of the lot before: the last one closes by age, after a pause */
    uint64_t lots;
    uint64_t first_serial, first_at; /* sealed when the measurement began, and when (ns) that notice came */
    uint64_t last_serial, last_at;   /* the newest notice that came while sending went on */
    uint64_t all_sealed_at;   /* ns; 0: not yet */
    char *last_ack[2];        /* owned */
    char reason[256];         /* of the first invalid answer */
};

struct load {
    const struct options *options;
    struct link_target target;
    struct load_frame *frames;   /* owned: LOAD_POOL of them */
    struct load_lane *lanes;     /* owned: options->connections */
    struct link *idle;           /* owned: options->idle */
    size_t idle_ready, idle_most; /* at present; since all of them were there, or the load began */
    struct load_wait idle_wait;   /* for one more of them */
    struct load_follow follow;
    char run_name[24];           /* first part of every ClientId */
    uint64_t began, measured_from, stop_at, stopped_at; /* ns; stop_at 0: by count */
    uint64_t sent, confirmed;    /* in all */
    uint64_t confirmed_before;   /* of those, before the measurement began */
    uint64_t confirmed_while_sending;
    uint64_t lost;               /* outstanding on sessions that ended */
    unsigned errors;             /* sessions that ended */
    struct histogram latency;    /* ns, from handing the frame over to its receipt */
    struct err why;              /* of the last session that ended */
    bool refused;                /* … because of our certificate */
    uint64_t moved_at;           /* ms */
    bool shows;                  /* progress on the terminal */
    double own_cpu_before;       /* s of processor time when the measurement began */
};

enum { LOAD_RETRY_MS = 300 }; /* between two attempts */

/* A session, or the attempt at one, is over: it is told, a few times at most. `link` gives the reason unless `e` has one. */
void load_lost(struct load *l, struct load_wait *wait, const struct link *link, const struct err *e);

/* Makes the frames. */
MUST_CHECK bool load_make_frames(struct load *l, struct err *e);
void load_free_frames(struct load *l);

void load_lane_init(struct load_lane *lane, struct load *l);
void load_lane_free(struct load_lane *lane);

/* Sends what window and rate allow; `allowed` is what the rate leaves, and is lessened. */
bool load_lane_fill(struct load_lane *lane, uint64_t *allowed, uint64_t now);

/* A link_frame_fn for lanes: receipts. */
bool load_lane_frame(void *context, const struct stomp_frame *f, struct err *e);

/* The following connection: one turn. When it breaks it is opened again by a later one. */
void load_follow_turn(struct load *l, short revents);
/* Has everything confirmed been answered, and archived if that was asked for? */
bool load_follow_done(const struct load *l);
void load_follow_free(struct load *l);

/* Seconds of processor time this process has used. */
double load_own_cpu(void);
void load_report(const struct load *l, enum exit_code end);

#endif
