/*
 * The exporter's admin role, inside: PostgreSQL as coffre_admin, role bindings listed and changed for functional administrators, every change journaled.
 * Shared by admin*.c only. Questions come from a sibling that talks with strangers: who may do what is decided once more by the store's functions.
 */
#ifndef COFFRE_EXPORTER_ADMIN_H
#define COFFRE_EXPORTER_ADMIN_H

#include <jansson.h>

#include "common/journal/journal.h"
#include "common/system/database.h"
#include "common/system/role.h"
#include "exporter/ask.h"

enum { ADMIN_RECORDS_MAX = 100 /* records journaled in one go */ };

struct admin {
    struct role *role;
    struct database *db;     /* NULL: away */
    struct channel *front;   /* NULL: away */
    struct journal *journal; /* owned */
    unsigned quorum;         /* setting: people a change needs, at least */
    bool told;               /* the store remembers it */
    char why[ASK_TEXT_MAX];  /* the database is away because */
    bool leads;              /* this process journals what the store's outbox holds; one of all exporters does */
    int64_t written[ADMIN_RECORDS_MAX]; /* outbox rows handed to the journal, not yet known to be on disk */
    uint64_t numbers[ADMIN_RECORDS_MAX]; /* the journal's, of these */
    unsigned written_count;
    bool draining;
    uint64_t questions, changes, records;
};

/* ---- admin_lists.c: what is, and what was ---- */
void admin_list_roles(struct admin *a, const struct ask_question *ask);
void admin_list_changes(struct admin *a, const struct ask_question *ask);
/* One change; `status` is that of the answer. */
void admin_show_change(struct admin *a, uint32_t request, int64_t id, unsigned status);
void admin_show_role(struct admin *a, uint32_t request, int64_t id, unsigned status);

/* ---- admin_changes.c ---- */
void admin_bind(struct admin *a, const struct ask_question *ask);
void admin_revoke(struct admin *a, const struct ask_question *ask);
void admin_decide(struct admin *a, const struct ask_question *ask);

/* ---- admin_outbox.c ---- */
/* Journals what the store says is still to be, and tells it what has been. Once a second; never waits for the journal. */
void admin_journal(struct admin *a);
/* The connection that led is gone. */
void admin_forget_outbox(struct admin *a);

/* ---- admin.c: answers ---- */
/* Sends JSON (taken over); `location` may be NULL. */
void admin_reply(struct admin *a, uint32_t request, unsigned status, const char *location, json_t *body);
void admin_refuse(struct admin *a, uint32_t request, unsigned status, const char *code, const char *fmt, ...) PRINTF_LIKE(5, 6);
/* A statement failed: 400, 503 or 500; logged. */
void admin_fail(struct admin *a, uint32_t request, const struct err *e);

#endif
