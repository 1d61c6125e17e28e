/*
 * Which refusals of people at a port are of one kind: by client, certificate and reason. The fronts' quota (quota.h) of records, and the names in it: client, the certificate's serial, reason; of those that
 * are not told apart, the reason only. Pure; texts come from strangers.
 */
#ifndef COFFRE_JOURNAL_REFUSALS_H
#define COFFRE_JOURNAL_REFUSALS_H

#include "common/values/quota.h"

enum {
    REFUSALS_KINDS = 512, /* told apart in a minute */
    REFUSALS_REASONS = 32,
    REFUSALS_EACH = 5,    /* records of one kind in a minute */
    REFUSALS_ALL = 200,   /* of all kinds together */
    REFUSALS_MINUTE_MS = 60000,
    REFUSALS_TEXT = 64,
};

/* Owned by the caller: quota_free(). */
struct quota *refusals_new(void);

/*
 * quota_take() for a refusal. `client`: an address without port, of which IPv6 counts the network (/64); `serial`: the certificate's, which counts where `reason`, one of few words, says that its chain was
 * found good: of others a stranger makes as many as he likes.
 */
bool refusals_take(struct quota *q, uint64_t now, struct slice client, struct slice serial, const char *reason);

#endif
