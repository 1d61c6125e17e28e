/*
 * The record of what a quota has counted: so many more of this kind, since then. For all who keep one (quota.h).
 */
#ifndef COFFRE_JOURNAL_OMITTED_H
#define COFFRE_JOURNAL_OMITTED_H

#include "common/journal/journal.h"
#include "common/values/quota.h"

struct omitted_form {
    const char *event;
    const char *parts[QUOTA_PARTS]; /* fields that a kind's name is written to; NULL: that part is not used */
};

/* With the fields `records` (how many) and `since` besides. `now`: ms, the quota's clock. */
void omitted_write(struct journal *j, const struct omitted_form *form, const struct quota_count *count, uint64_t now);
/* All that quota_tell() has to tell. */
void omitted_tell(struct journal *j, const struct omitted_form *form, struct quota *q, uint64_t now, bool all);

#endif
