/* The table of settings, as its reader, its printer and its comparison use it; nobody else includes it. */
#ifndef COFFRE_SETTINGS_INTERNAL_H
#define COFFRE_SETTINGS_INTERNAL_H

#include "common/system/settings.h"

enum settings_type { TEXT, PATH, NUMBER, DURATION, SIZE, BOOLEAN, TEXTS, PATHS };

struct settings_row {
    const char *key;      /* dotted path in the file */
    enum settings_type type;
    size_t offset;        /* in struct settings */
    unsigned required;    /* parts that cannot do without */
    uint64_t min, max;    /* of numbers, ms of durations, bytes of sizes */
    const char *fallback; /* as it would be written in the file; NULL: empty */
    const char *meaning;
};

extern const struct settings_row settings_table[];
extern const size_t settings_rows;

/* Largest number of rows: what readers make room for. */
enum { SETTINGS_ROWS_MAX = 256 };

static inline bool settings_is_list(const struct settings_row *row)
{
    return row->type == TEXTS || row->type == PATHS;
}

/* The value of a row. */
static inline void *settings_field(struct settings *s, const struct settings_row *row)
{
    return (char *)s + row->offset;
}

static inline const void *settings_value(const struct settings *s, const struct settings_row *row)
{
    return (const char *)s + row->offset;
}

/* A number, duration (ms) or size (bytes) as written in the file; false: it is none. */
bool settings_parse_integer(enum settings_type type, const char *text, uint64_t *v);

/* Rules that one row cannot express, those of one daemon's keys for that daemon only. `e` names file, line and key. */
MUST_CHECK bool settings_check_rules(const struct settings *s, unsigned parts, struct err *e);

/* Whether a reload changes it: what is false here is what it was when the daemon started. */
bool settings_is_live(const struct settings_row *row);

#endif
