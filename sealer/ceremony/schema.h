/* The store's schema, deploy/postgresql/schema.sql, as it was when this was compiled. */
#ifndef COFFRE_CEREMONY_SCHEMA_H
#define COFFRE_CEREMONY_SCHEMA_H

#include "common/values/slice.h"

/* Borrowed, for ever. */
struct slice schema_compiled(void);

#endif
