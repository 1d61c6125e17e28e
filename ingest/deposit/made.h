/* Invented events for load: the shape of real ones, no real person or address in them. Pure. */
#ifndef COFFRE_DEPOSIT_MADE_H
#define COFFRE_DEPOSIT_MADE_H

#include "common/values/buf.h"

struct made {
    uint64_t random;             /* state of the generator: the same seed makes the same events */
    const char *operator_number; /* borrowed */
    const char *vault;           /* borrowed */
};

/* Appends one event of exactly `size` bytes (at least 512), with the placeholder in its IDEvt. */
MUST_CHECK bool made_event(struct made *m, size_t size, struct buf *out, struct err *e);

#endif
