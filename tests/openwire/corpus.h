/* Starting points for fuzz_openwire, from captured frames: one file for each shape a frame comes in. */
#ifndef COFFRE_TESTS_OPENWIRE_CORPUS_H
#define COFFRE_TESTS_OPENWIRE_CORPUS_H

#include "ingest/openwire/openwire.h"

/* What fuzz_openwire tries is in its first byte, with what in its second. */
enum corpus_function { CORPUS_FRAME, CORPUS_PREAMBLE, CORPUS_PROPERTIES, CORPUS_CONTENT, CORPUS_TEXT, CORPUS_FUNCTIONS };

/* Writes those of a frame, `o` as it was read from `frame` (loose, without size), that are not in `folder` yet. */
MUST_CHECK bool corpus_keep(const char *folder, const struct openwire_object *o, unsigned version, struct slice frame, struct err *e);

#endif
