/*
 * The content of a text or bytes message, compressed or not: what the application meant. Pure; hostile: what is inflated has a limit, given by
 * the caller, that is checked while inflating.
 */
#ifndef COFFRE_OPENWIRE_CONTENT_H
#define COFFRE_OPENWIRE_CONTENT_H

#include "ingest/openwire/openwire.h"

/*
 * The body of `message` (TEXT_MESSAGE: UTF-8; BYTES_MESSAGE; empty when null), at most `max` bytes. It is a part of the content itself where that is possible,
 * else it is made in `scratch` (emptied first, wiped by its owner). ERR_INPUT malformed; ERR_DENIED over `max`, over 64 KiB and a hundred times what came, or more than `scratch` may hold: a
 * compressed text stands there as modified UTF-8 for a moment, which twice `max` bytes are enough for.
 */
MUST_CHECK bool openwire_content(const struct openwire_object *message, size_t max, struct buf *scratch, struct slice *body,
                                 struct err *e);

#endif
