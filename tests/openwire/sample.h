/* Values with something in every field, for tests: written and read by us, and by others. */
#ifndef COFFRE_TESTS_OPENWIRE_SAMPLE_H
#define COFFRE_TESTS_OPENWIRE_SAMPLE_H

#include "ingest/openwire/openwire.h"

/* An object of this type with every field there, four deep. One at a time: the next call takes its place. */
const struct openwire_object *sample_full(unsigned type);

/* Takes from the sample what a version does not have, inside it too. */
void sample_forget(const struct openwire_object *o, unsigned version);

#endif
