/*
 * The files of all families of schemas, as bytes: read from the folders that the configuration names, kept while what is on disk does not load, and handed to
 * the role that judges events, which can open no file. The files are the operator's, bounded all the same.
 */
#ifndef COFFRE_INGEST_SCHEMA_SET_H
#define COFFRE_INGEST_SCHEMA_SET_H

#include "common/system/settings.h"
#include "ingest/ledger/event.h"

enum {
    SCHEMA_FAMILIES_MAX = EVENT_FAMILIES_MAX,
    SCHEMA_SET_BYTES = 32 << 20, /* of all files of all families */
};

struct schema_file {
    char *path;      /* owned */
    struct buf text; /* owned */
};

struct schema_family {
    char *entry;               /* its entry's path; owned */
    struct schema_file *files; /* owned; the entry, and what was wanted of it. None: it does not load */
    unsigned count;
    char *trouble; /* why what is on disk does not load; NULL: it does. Owned */
    bool old;      /* its files are those of before */
};

struct schema_set {
    struct schema_family families[SCHEMA_FAMILIES_MAX];
    unsigned count;
    enum event_schema_policy policy, unknown;
};

/*
 * Reads and compiles what ingest.schemas names: files, and of folders the *.xsd in order of their names; includes and imports from below the same folder (of a file: its
 * own). A family that does not load has a `trouble`. False and ERR_INPUT when there is nothing to read where something should be, a bound is passed, or no family loads.
 * `set` is empty then.
 */
MUST_CHECK bool schema_set_read(struct schema_set *set, const struct settings *s, struct err *e);
void schema_set_free(struct schema_set *set);

/* Families of `fresh` that do not load get the files that `old` has for them, if it has; those are `old` from then on. The number of them. */
unsigned schema_set_keep(struct schema_set *fresh, struct schema_set *old);

/* Whether `fresh` asks for what `before` asks for, with the same bytes; a family that does not load any more is as it was. */
bool schema_set_same(const struct schema_set *before, const struct schema_set *fresh);

/* Families that load or have loaded. */
unsigned schema_set_loaded(const struct schema_set *set);

/* "8 families; not loaded: PO.xsd, FA.xsd; as it was before: CJ.xsd" */
void schema_set_describe(const struct schema_set *set, char *out, size_t size);

/* As a message between roles (PROTOCOL.md): policies, and the files of the families that load; and back, compiled, owned by the caller. */
MUST_CHECK bool schema_set_write(const struct schema_set *set, struct buf *out, struct err *e);
MUST_CHECK bool schema_set_compile(struct slice message, struct event_schemas *compiled, struct err *e);
/* The same message as a set again, bytes only; ERR_INPUT: it makes no sense, and `set` is empty. */
MUST_CHECK bool schema_set_parse(struct slice message, struct schema_set *set, struct err *e);

#endif
