/* What the rules of the HTTP interface share: api*.c only. Pure. */
#ifndef COFFRE_EXPORTER_API_INTERNAL_H
#define COFFRE_EXPORTER_API_INTERNAL_H

#include "exporter/api.h"

/* Writes the refusal; always false. */
bool api_refuse(struct api_refusal *no, unsigned status, const char *code, const char *fmt, ...) PRINTF_LIKE(4, 5);

#endif
