/* What the parts of a deposit run share: run.c (loop), run_send.c (events out), run_answer.c (frames in). */
#ifndef COFFRE_DEPOSIT_RUN_INTERNAL_H
#define COFFRE_DEPOSIT_RUN_INTERNAL_H

#include "ingest/deposit/digest.h"
#include "ingest/deposit/journal.h"
#include "ingest/deposit/report.h"
#include "ingest/deposit/run.h"

struct run {
    const struct options *options;
    struct source source;
    struct digest digest;
    struct journal journal;
    struct report report;
    struct items items;

    struct link_target target;
    struct link link;
    bool linked;            /* link is open, at whatever stage */
    bool subscribed;        /* on this session */

    bool read_all;          /* the source is exhausted, or abandoned */
    bool waits_for_input;   /* standard input had nothing */
    struct buf adapted;     /* the event at hand, rewritten */
    bool said_placeholder, said_declaration;

    struct item *again;     /* after a reconnection: the next one to send again; NULL: none */
    uint64_t transaction;   /* number of the open one; 0: none is open */
    uint64_t transactions;  /* begun so far */
    size_t in_transaction;  /* events in the open one */
    bool abandoned;         /* the one transaction was given up */

    struct buf acks;        /* ACK frames that may leave once the journal is written */
    char *last_ack[2];      /* cumulative: the newest delivery of each subscription */
    struct item **unsealed; /* owned: answered, lot not yet archived */
    size_t unsealed_count, unsealed_room;
    size_t unsealed_new;    /* of those, not duplicates */

    uint64_t moved_at;      /* ms: last time something went forward */
    uint64_t attempt_at;    /* ms: when to try to connect next */
    uint64_t down_since;    /* ms: since when there is no session; 0: there is one */
    unsigned attempts;      /* since the last session */
    unsigned refusals;      /* sessions in a row that ended without any receipt */
    struct err why;         /* the last reason a session ended or did not begin */
    bool refused;           /* … which is our certificate */
};

/* Sends as much as window and buffers allow. Only with a session. */
bool run_fill(struct run *r, struct err *e);

/* A new session: everything without receipt will be sent again, subscriptions are made. */
bool run_session(struct run *r, struct err *e);

/* One frame of the vault. A link_frame_fn. */
bool run_take_frame(void *context, const struct stomp_frame *f, struct err *e);

/* Journal first, then acknowledgements. */
bool run_acknowledge(struct run *r, struct err *e);

/* Lists an answered event until its lot is archived, or marks it archived at once. */
void run_await_archive(struct run *r, struct item *item);

#endif
