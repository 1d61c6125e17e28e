/*
 * What a daemon knows of the things it depends on, item by item, for /readyz and the status file. Pure.
 */
#ifndef COFFRE_HEALTH_H
#define COFFRE_HEALTH_H

#include "common/values/wire.h"

enum { HEALTH_ITEMS_MAX = 16, HEALTH_NAME_MAX = 32, HEALTH_NOTE_MAX = 256 };

struct health_item {
    char name[HEALTH_NAME_MAX]; /* "rabbitmq", "postgresql", "hsm", "clock", "crl", "certificates" */
    bool ok;
    char note[HEALTH_NOTE_MAX]; /* why not, or what is so */
};

struct health {
    unsigned count;
    struct health_item items[HEALTH_ITEMS_MAX];
};

/* Sets or replaces an item; a full list ignores new names. */
void health_set(struct health *h, const char *name, bool ok, const char *note);
const struct health_item *health_find(const struct health *h, const char *name);
/* True when every item is ok; an empty list is not. */
bool health_ok(const struct health *h);

/* On channels: u8 count, for each text name, u8 ok, text note. */
void health_put(struct wire_writer *w, const struct health *h);
MUST_CHECK bool health_read(struct slice body, struct health *h, struct err *e);

#endif
