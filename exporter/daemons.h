/*
 * What a daemon's parent says of itself and its roles (<daemon>.status, see common/system/parent_status.c), as JSON for technical administrators. Pure.
 * The file is a sibling daemon's: any line of it may be anything.
 */
#ifndef COFFRE_EXPORTER_DAEMONS_H
#define COFFRE_EXPORTER_DAEMONS_H

#include <jansson.h>

#include "common/values/slice.h"

enum {
    DAEMONS_TEXT_MAX = 64 * 1024, /* bytes of a status file; a longer one is not read */
    DAEMONS_SILENT_S = 10,        /* a parent writes every second: one that has not for so long does not run, or hangs */
};

/*
 * {"daemon":…,"state":"ready|degraded|draining|silent|unknown","age":1.2,"pid":…,"roles":[{"role":…,"index":0,"pid":…,"state":"ready|not-ready|down","note":…}],
 * "notes":[lines of other kinds]}. `age` in seconds. Owned.
 */
json_t *daemons_read(const char *daemon, struct slice text, double age);

#endif
