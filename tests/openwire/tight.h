/*
 * OpenWire's tight encoding, with cache and stack traces: what a default Java client and a default ActiveMQ speak with each other. Coffre
 * never does; this reads captures of it by the same rows as production (openwire_row()), so that the rows are tried on them too.
 */
#ifndef COFFRE_TESTS_OPENWIRE_TIGHT_H
#define COFFRE_TESTS_OPENWIRE_TIGHT_H

#include "ingest/openwire/openwire.h"

/* One direction of a connection: what its frames refer back to. Zeroed to begin with. */
struct tight {
    unsigned version;
    bool cache, stack_traces;
    const struct openwire_object *cached[1024];
    bool is_cached[1024];
    unsigned never_sent; /* references to places in the cache that nothing was put in */
    void **blocks; /* owned: what objects live in, until tight_free() */
    size_t block_count;
};

/* Reads one frame without its size. The object lives until tight_free(). ERR_INPUT names what is wrong. */
MUST_CHECK bool tight_read(struct tight *t, struct slice frame, const struct openwire_object **object, struct err *e);
void tight_free(struct tight *t);

#endif
