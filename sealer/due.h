/* When an open lot is to be closed, and why. Pure. */
#ifndef COFFRE_DUE_H
#define COFFRE_DUE_H

#include "sealer/store.h"

/* The limits in force (coffre.yml lot.*): ms, events, bytes, ms. */
struct due_limits {
    uint64_t age, count, bytes, idle;
};

/*
 * True when the lot is due; the reason of the first rule that holds: asked for, full by count, full by bytes, old enough since its
 * first event, or empty for long enough. Count and bytes are the ledger's to keep; here they are the safety net.
 */
bool due_to_close(const struct store_open_lot *o, const struct due_limits *limits, enum lot_reason *reason);

#endif
