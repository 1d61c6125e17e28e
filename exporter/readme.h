/* README.txt of every segment: how to verify it with stock tools alone. The same bytes for a vault for ever. Pure. */
#ifndef COFFRE_EXPORTER_README_H
#define COFFRE_EXPORTER_README_H

#include "common/values/buf.h"

/* Appends the text for this vault. */
MUST_CHECK bool readme_write(struct buf *out, const char *operator_id, uint64_t number, struct err *e);

#endif
