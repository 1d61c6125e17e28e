/*
 * Java's modified UTF-8 (java.io.DataOutput): U+0000 is C0 80, a character outside the Basic Multilingual Plane is a surrogate pair of
 * three bytes each. Everything else is UTF-8 as it is. Pure; total: what is neither is passed on unchanged, for whoever checks UTF-8.
 */
#ifndef COFFRE_OPENWIRE_TEXT_H
#define COFFRE_OPENWIRE_TEXT_H

#include "common/values/buf.h"

/* True when modified and plain UTF-8 of this text are the same bytes (it has no C0 and no ED byte followed by A0 or more). */
bool openwire_text_is_plain(struct slice modified);

/* Appends as UTF-8: never longer than `modified`. A lone surrogate keeps its three bytes. ERR_INPUT when `out` is full. */
MUST_CHECK bool openwire_text_decode(struct slice modified, struct buf *out, struct err *e);

/* As decode, to `out`, which has room for `modified.len` bytes and may be where it begins; returns the bytes of UTF-8. */
size_t openwire_text_decode_into(struct slice modified, uint8_t *out);

/* Appends UTF-8 as modified UTF-8. Malformed bytes become '?'. ERR_INPUT when `out` is full: nothing is appended then. */
MUST_CHECK bool openwire_text_encode(struct slice text, struct buf *out, struct err *e);

#endif
