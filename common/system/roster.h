/*
 * Role bindings: which certificate subjects (CN and OU) hold which profile, and their identifiers (design: second level of
 * control). Travels as the ROSTER message (PROTOCOL.md) from the role that reads PostgreSQL to the fronts.
 * Decoding is pure and trusts no length.
 */
#ifndef COFFRE_ROSTER_H
#define COFFRE_ROSTER_H

#include "common/values/buf.h"

struct database;

enum { ROSTER_MESSAGE = 1 /* channel type */, ROSTER_ENTRIES_MAX = 100000, ROSTER_BYTES_MAX = 64 << 20 };

enum roster_profile { ROSTER_DEPOSITOR = 1, ROSTER_READER, ROSTER_TECHNICAL, ROSTER_FUNCTIONAL };

struct roster_entry {
    enum roster_profile profile;
    uint32_t id;         /* role.id: of depositors, the number in their queues' names */
    struct slice cn, ou; /* borrowed from the roster */
};

struct roster;

/* The body of a ROSTER message; copied. ERR_INPUT when malformed. Owned: roster_free(). */
struct roster *roster_decode(struct slice body, struct err *e);
void roster_free(struct roster *r);

/* The message's body again: equal rosters have equal bytes. Borrowed. */
struct slice roster_body(const struct roster *r);

unsigned roster_count(const struct roster *r);
const struct roster_entry *roster_at(const struct roster *r, unsigned i);

/* True and the identifier when this subject holds this profile. A NULL roster holds nobody. */
bool roster_find(const struct roster *r, enum roster_profile profile, const char *cn, const char *ou, uint32_t *id);

bool roster_profile_parse(struct slice text, enum roster_profile *profile); /* "depositor", "reader", "technical", "functional" */
const char *roster_profile_name(enum roster_profile profile);

/* The bindings in force, from table role, by id. */
struct roster *roster_load(struct database *d, struct err *e);

#endif
