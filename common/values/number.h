/* Natural numbers as text. Pure; the text may be a stranger's. */
#ifndef COFFRE_NUMBER_H
#define COFFRE_NUMBER_H

#include "common/values/err.h"
#include "common/values/slice.h"

/* Decimal digits only, at most 20. False when `text` is no natural number or exceeds 64 bits; `*n` is untouched then. */
MUST_CHECK bool number_parse(struct slice text, uint64_t *n);

#endif
