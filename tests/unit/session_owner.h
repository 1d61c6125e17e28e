/* The owner of a session under test: carries nothing out, writes down what is asked of it. */
#ifndef COFFRE_SESSION_OWNER_H
#define COFFRE_SESSION_OWNER_H

#include "ingest/session/session.h"

struct owner {
    struct session_rules rules;
    struct session *s;
    struct buf out;
    struct session_time t;
    char log[4096];       /* "deposit 1 c1 <a/>\n" and so on */
    uint64_t next_ticket, next_subscription, written;
    int64_t held, held_max;
    size_t kept;
    bool full, refuses;
};

void owner_note(struct owner *o, const char *fmt, ...) PRINTF_LIKE(2, 3);
extern const struct session_ops owner_ops;

#endif
