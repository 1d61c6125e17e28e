/*
 * What only the sealer sees, for the exporter's /readyz: its HSM and its clock, as seal and stamp say, in table `health` every few seconds. Written by the
 * active sealer only; a row that grows old says that none is.
 */
#ifndef COFFRE_SEALER_HEALTH_H
#define COFFRE_SEALER_HEALTH_H

#include "sealer/sibling.h"
#include "sealer/store.h"

struct sealer_health {
    int64_t written_ms; /* monotonic; 0: never */
};

/* Pure: items `hsm` and `clock` from what the two said last; who is away or silent is not ok. */
struct health sealer_health_of(const struct sibling *seal, const struct sibling *stamp);

/* Writes the rows when it is time. False: the store failed (errors of database_change()). */
MUST_CHECK bool sealer_health_write(struct sealer_health *h, struct store *store, const struct sibling *seal, const struct sibling *stamp,
                                    struct err *e);

#endif
