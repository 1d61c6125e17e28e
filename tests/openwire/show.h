/* A frame's values as text, one field a line, null, 0 and false left out: to be compared with what another decoder said of the same frame. */
#ifndef COFFRE_TESTS_OPENWIRE_SHOW_H
#define COFFRE_TESTS_OPENWIRE_SHOW_H

#include <stdio.h>

#include "ingest/openwire/openwire.h"

void show_object(FILE *out, const struct openwire_object *o);

#endif
