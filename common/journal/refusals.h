/*
 * Which refusals become journal records when a stranger may cause as many as he likes: the first of each kind (client, certificate, reason) do, the others are counted, and within a minute a record says
 * how many of which kind they were. So a flood costs a bounded number of records, and hides nobody else. Pure: the clock is the caller's; texts come from strangers, and are only compared and copied.
 */
#ifndef COFFRE_JOURNAL_REFUSALS_H
#define COFFRE_JOURNAL_REFUSALS_H

#include "common/values/slice.h"

enum {
    REFUSALS_KINDS = 512,      /* told apart in a minute; what comes beyond them is told apart by its reason only */
    REFUSALS_REASONS = 32,
    REFUSALS_EACH = 5,         /* records of one kind in a minute */
    REFUSALS_ALL = 200,        /* of all kinds together */
    REFUSALS_MINUTE_MS = 60000,
    REFUSALS_TEXT = 64,
};

/* What was counted of one kind. */
struct refusals_kind {
    char client[REFUSALS_TEXT], serial[REFUSALS_TEXT], reason[REFUSALS_TEXT]; /* client "": others than those told apart */
    uint64_t begun;    /* ms: its minute */
    uint64_t omitted;  /* without a record */
    unsigned recorded;
};

/* Zeroed: empty. */
struct refusals {
    struct refusals_kind kinds[REFUSALS_KINDS + REFUSALS_REASONS];
    unsigned count, others; /* in use: of the first REFUSALS_KINDS, of those behind them */
    uint64_t begun;         /* ms: of the minute for all of them */
    unsigned recorded;
};

/*
 * Whether this one gets a record of its own. `now`: ms of any clock that never goes back. `client`: an address without port, of which IPv6 counts the network (/64); `serial`: the certificate's, which
 * counts where `reason`, one of few words, says that its chain was found good: of others a stranger makes as many as he likes.
 */
bool refusals_take(struct refusals *r, uint64_t now, struct slice client, struct slice serial, const char *reason);

/* One kind whose minute is over, with refusals that got no record: a record says so. To be called until false, each second or so. */
bool refusals_due(struct refusals *r, uint64_t now, struct refusals_kind *out);
/* The same whatever the minute: the end. */
bool refusals_rest(struct refusals *r, struct refusals_kind *out);

#endif
