/* Whether two values read from OpenWire frames say the same: for tests that read, write and read again. */
#ifndef COFFRE_TESTS_OPENWIRE_EQUAL_H
#define COFFRE_TESTS_OPENWIRE_EQUAL_H

#include "ingest/openwire/openwire.h"

/* Compares all fields, and values within them. `where` (at least 80 bytes, may be NULL) names the first that differs: "MESSAGE.CONTENT". */
bool openwire_equal(const struct openwire_object *a, const struct openwire_object *b, char *where);

#endif
