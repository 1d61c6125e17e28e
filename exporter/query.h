/*
 * The exporter's query role, inside: PostgreSQL as coffre_exporter, questions from front, answers in bounded steps so that
 * a long extraction delays nobody. Shared by query*.c only. Questions come from a sibling that talks with strangers.
 */
#ifndef COFFRE_EXPORTER_QUERY_H
#define COFFRE_EXPORTER_QUERY_H

#include <jansson.h>

#include "common/system/database.h"
#include "common/system/role.h"
#include "common/system/roster.h"
#include "exporter/ask.h"
#include "exporter/segment.h"

enum {
    QUERY_LOTS_PER_STEP = 500,     /* lots whose metadata one step reads */
    QUERY_SEGMENTS_MAX = 5000,     /* segments of one extraction */
    QUERY_RETRY_MS = 1000,
};

enum job_state {
    JOB_PLANS,  /* divides a new extraction into segments */
    JOB_BUILDS, /* reads the metadata of a segment */
    JOB_WAITS,  /* has answered, waits for READ */
    JOB_SENDS,
    JOB_DONE,
};

struct planned {
    uint64_t first_lot, last_lot, bytes;
};

/* One question that takes more than a step. */
struct job {
    struct job *next;
    enum job_state state;
    uint32_t request;
    struct api_call call;
    char *reader;               /* owned */
    uint64_t lot, last_lot;     /* next to read, last */
    uint64_t asked_first, asked_last; /* JOB_PLANS: the lots asked for, without the one before */
    uint64_t events;            /* JOB_PLANS: counted so far */
    struct planned *plan;       /* owned */
    size_t planned, plan_room;
    uint64_t plan_lots;         /* lots in the segment being filled */
    char file[ASK_TEXT_MAX];
    struct segment *segment;    /* owned; NULL: the container of `lot` */
    uint64_t only_serial;       /* the evidence of one event; 0: whole lots */
    uint64_t at, end;           /* JOB_SENDS: bytes of the content */
    uint64_t length;
    uint32_t credit;
    PGresult *bodies;           /* events fetched ahead: consecutive serials from first_body */
    uint64_t first_body;
};

struct query {
    struct role *role;
    struct database *db;    /* NULL: away */
    struct channel *front;  /* NULL: away */
    struct channel *identity; /* NULL: away */
    struct buf overrides;   /* as identity was told last; see common/identity/overrides.h */
    struct channel *states; /* NULL: away */
    struct buf metrics;     /* as states told them at metrics_at */
    json_t *daemons;        /* as states told them at daemons_at; owned */
    uint64_t metrics_at, daemons_at; /* query_now_ms(); 0: never */
    struct job *jobs;
    unsigned job_count;
    uint64_t segment_bytes; /* setting */
    struct buf readme, genesis, certificates[3]; /* what every segment begins with; known once `fixed` */
    bool fixed;
    char why[ASK_TEXT_MAX]; /* the database is away because */
    bool draining;
    uint64_t questions, sent_bytes, incidents;
};

/* CLOCK_MONOTONIC. */
uint64_t query_now_ms(void);

/* ---- query_answers.c: what one statement or two answer ---- */
/* Columns as JSON; null when they are. Owned. */
json_t *query_json_date(const PGresult *r, int row, int column);
json_t *query_json_number(const PGresult *r, int row, int column);
json_t *query_json_words(const PGresult *r, int row, int column);
void query_answer_check(struct query *q, const struct ask_question *ask);
void query_answer_status(struct query *q, const struct ask_question *ask);
void query_answer_lots(struct query *q, const struct ask_question *ask);
void query_answer_history(struct query *q, const struct ask_question *ask);
void query_answer_extraction(struct query *q, uint32_t request, uint64_t id, unsigned status);
/* Sends any short answer. */
void query_send(struct query *q, const struct ask_answer *a);
/* Sends JSON (taken over) or a refusal. */
void query_reply(struct query *q, uint32_t request, unsigned status, const char *location, json_t *body);
void query_refuse(struct query *q, uint32_t request, unsigned status, const char *code, const char *fmt, ...)
    PRINTF_LIKE(5, 6);
/* A statement failed: 503, or 500 when it makes no sense; logged. */
void query_fail(struct query *q, uint32_t request, const struct err *e);

/* ---- query_operations.c: what technical administrators ask of the vault ---- */
void query_answer_operations(struct query *q, const struct ask_question *ask);
void query_answer_operation(struct query *q, uint32_t request, uint64_t id, unsigned status);
void query_ask_operation(struct query *q, const struct ask_question *ask);

/* ---- query_monitor.c: what the role states tells of this host's daemons ---- */
void query_link_states(struct query *q, struct channel *c);
void query_take_states(struct query *q);
void query_answer_metrics(struct query *q, const struct ask_question *ask);
/* The daemons' states, for the status of technical administrators. Owned. */
json_t *query_daemons(const struct query *q);

/* ---- query_store.c: rows ---- */
/* The number of the last sealed lot and its last serial; zeros when none is. */
MUST_CHECK bool query_last_sealed(struct query *q, uint64_t *lot, uint64_t *serial, struct err *e);
/* Lot of a serial; 0: no such event. */
MUST_CHECK bool query_lot_of(struct query *q, uint64_t serial, uint64_t *lot, struct segment_event *event, struct err *e);
/* The first sealed lot whose time of sealing is at or after `ms`; last_sealed + 1 when there is none. */
MUST_CHECK bool query_lot_at(struct query *q, uint64_t last_sealed, uint64_t ms, uint64_t *lot, struct err *e);
/* Metadata of lots first … last, all sealed, in order: `each` is called for each one. ERR_FATAL when one is missing. */
MUST_CHECK bool query_each_lot(struct query *q, uint64_t first, uint64_t last,
                               bool (*each)(void *ctx, const struct segment_lot *lot, const struct segment_key *keys,
                                            size_t key_count, struct err *e),
                               void *ctx, struct err *e);
MUST_CHECK bool query_give_events(struct query *q, struct segment *s, uint64_t lot, struct err *e);
/* README, genesis and certificates into q. */
MUST_CHECK bool query_load_fixed(struct query *q, struct err *e);
/* A segment that holds those. NULL: failed. */
struct segment *query_new_segment(const struct query *q, struct err *e);

/* ---- query_jobs.c: what takes many steps ---- */
void query_begin_lot(struct query *q, const struct ask_question *ask);
void query_begin_event(struct query *q, const struct ask_question *ask);
void query_begin_segment(struct query *q, const struct ask_question *ask);
void query_begin_extraction(struct query *q, const struct ask_question *ask);
struct job *query_find_job(struct query *q, uint32_t request);
/* True when a step can be made now. */
bool job_is_runnable(const struct query *q, const struct job *job);
/* One bounded step. ERR_RETRY: PostgreSQL went away, the same step later; any other error ends the job. */
void job_step(struct query *q, struct job *job);
void job_free(struct job *job);

/* ---- query_health.c ---- */
/* Tells front what the sealer says of HSM and clock, as far as PostgreSQL is there. */
void query_tell_health(struct query *q);

/* ---- query_content.c ---- */
/* Up to `most` bytes of the job's content at job->at into `out`; advances job->at. */
MUST_CHECK bool job_read_content(struct query *q, struct job *job, size_t most, struct buf *out, struct err *e);

#endif
