/*
 * Asks seal or stamp one question and waits for the answer, not longer than the deadline: a PKCS#11 library may hang
 * for ever, and then the parent is asked to kill the role. While waiting, the daemon's life goes on.
 */
#ifndef COFFRE_SIBLING_H
#define COFFRE_SIBLING_H

#include "common/system/role.h"
#include "common/values/health.h"

struct sibling {
    const char *kind;        /* "seal", "stamp" */
    struct channel *channel; /* NULL: not there (yet); owned */
    unsigned generation;     /* raised with every new channel */
    struct health health;    /* what it said of itself last */
    int64_t heard_ms;        /* when, or when it was linked; monotonic */
};

/* Takes a channel over; the earlier one is dead. */
void sibling_link(struct sibling *s, struct channel *c);
void sibling_close(struct sibling *s);
/* Takes in what it says unasked (HEALTH); never waits. Not while an answer is borrowed. */
void sibling_listen(struct sibling *s);
/* ms since it said something; 0 while it is away. */
int64_t sibling_silence(const struct sibling *s);
/* Has one killed that has been silent for longer than any question may take: a PKCS#11 library may hang between two questions too. */
void sibling_watch(struct role *self, struct sibling *s, uint64_t deadline_ms);

struct sibling_question {
    uint16_t type;
    struct slice body;
    uint64_t lot;           /* an answer about another lot is ignored: it is of a question given up before */
    uint16_t answer_type;
    uint64_t deadline_ms;
    bool (*idle)(void *ctx); /* about every 500 ms while waiting: false ends the wait with ERR_FENCED */
    void *ctx;
};

/*
 * The answer's body, borrowed from the channel until the next question. False: ERR_RETRY (no such role now, deadline over: it is being
 * killed), what the role itself refused with, or ERR_FATAL when the parent is gone.
 */
MUST_CHECK bool sibling_ask(struct role *self, struct sibling *s, const struct sibling_question *q, struct slice *answer,
                            struct err *e);

#endif
