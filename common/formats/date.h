/* Instants as the regulator's XML writes them: UTC, milliseconds, one spelling. Pure. */
#ifndef COFFRE_DATE_H
#define COFFRE_DATE_H

#include "common/values/err.h"
#include "common/values/slice.h"

enum { DATE_LEN = 24 /* 2026-01-31T12:00:00.123Z */ };

/* `ms` since 1970-01-01T00:00:00Z, years 1970 to 9999 (clamped). Writes DATE_LEN characters and a NUL. */
void date_write(char out[DATE_LEN + 1], int64_t ms);

/* Exactly that spelling and an existing day; no leap second. */
MUST_CHECK bool date_read(struct slice text, int64_t *ms);

#endif
