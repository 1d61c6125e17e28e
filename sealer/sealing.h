/*
 * One lot, from its rows in the store to its sealed container: reads what is in it, asks seal and stamp, assembles,
 * verifies the finished container as a stranger would, stores. Nothing that did not verify is ever stored.
 */
#ifndef COFFRE_SEALING_H
#define COFFRE_SEALING_H

#include "sealer/messages.h"
#include "sealer/sibling.h"
#include "sealer/store.h"

struct sealing {
    struct role *self;
    const struct settings *settings;
    struct store store;
    struct sibling seal, stamp;
    struct trust *trust; /* regulator.ca: what every finished seal is verified against */
    unsigned recipient_count;
    uint8_t recipients[LOT_RECIPIENTS_MAX][32]; /* SHA-256 of the regulator's encryption certificates */
    uint64_t sealed;        /* lots since the role began */
    uint64_t sealed_events; /* events in them */
    double last_seconds;    /* how long the last one took */
};

/* Reads trust anchors and recipients from the files of `settings`; replaces earlier ones on success only. ERR_INPUT names the file. */
MUST_CHECK bool sealing_configure(struct sealing *s, const struct settings *settings, struct err *e);
void sealing_free(struct sealing *s);

/*
 * Seals the first closed lot that has no seal; *found is false when there is none. ERR_DOUBT: it must not be sealed, and why;
 * ERR_RETRY: the same again later; ERR_FENCED: not ours any more.
 */
MUST_CHECK bool sealing_next(struct sealing *s, bool *found, struct err *e);

#endif
