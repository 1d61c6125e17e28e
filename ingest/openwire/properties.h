/*
 * OpenWire's "primitive map": the properties of a message and of a WireFormatInfo. Pure; what is read is a stranger's: counts and lengths are checked
 * against the bytes left, maps and lists inside it are passed over within a limit of depth.
 */
#ifndef COFFRE_OPENWIRE_PROPERTIES_H
#define COFFRE_OPENWIRE_PROPERTIES_H

#include "common/values/buf.h"

/* Types of values, as numbered on the wire. */
enum openwire_tag {
    OPENWIRE_TAG_NULL, OPENWIRE_TAG_BOOL, OPENWIRE_TAG_BYTE, OPENWIRE_TAG_CHAR, OPENWIRE_TAG_SHORT, OPENWIRE_TAG_INT, OPENWIRE_TAG_LONG,
    OPENWIRE_TAG_DOUBLE, OPENWIRE_TAG_FLOAT, OPENWIRE_TAG_TEXT, OPENWIRE_TAG_BYTES, OPENWIRE_TAG_MAP, OPENWIRE_TAG_LIST,
    OPENWIRE_TAG_BIG_TEXT,
};

struct openwire_property {
    struct slice name; /* modified UTF-8 */
    enum openwire_tag tag;
    int64_t number;     /* BOOL, BYTE, CHAR, SHORT, INT, LONG */
    struct slice bytes; /* TEXT and BIG_TEXT (modified UTF-8), BYTES; DOUBLE, FLOAT, MAP, LIST as they stand */
};

struct openwire_map {
    struct slice rest; /* borrowed */
    uint32_t left;     /* entries not yet read */
    uint32_t index;
};

/* An empty slice, and a negative count, are an empty map. ERR_INPUT: more entries than `max` or than the bytes could hold. */
MUST_CHECK bool openwire_map_open(struct openwire_map *m, struct slice map, uint32_t max, struct err *e);
/* The next entry; false at the end, with `e` set (ERR_INPUT) when it is malformed or bytes trail. */
MUST_CHECK bool openwire_map_next(struct openwire_map *m, struct openwire_property *p, struct err *e);

/* A map being written at the end of a buffer. */
struct openwire_map_writer {
    struct buf *out; /* borrowed */
    size_t began;    /* out->len before it */
    uint32_t count;
    bool overflow;
};

void openwire_map_begin(struct openwire_map_writer *w, struct buf *out);
/* `name` is ASCII, `text` UTF-8. */
void openwire_map_put_text(struct openwire_map_writer *w, const char *name, struct slice text);
void openwire_map_put_long(struct openwire_map_writer *w, const char *name, int64_t n);
void openwire_map_put_int(struct openwire_map_writer *w, const char *name, int32_t n);
void openwire_map_put_bool(struct openwire_map_writer *w, const char *name, bool b);
/* ERR_INPUT when it did not fit or a text is too long: then nothing stays in the buffer. */
MUST_CHECK bool openwire_map_end(struct openwire_map_writer *w, struct err *e);

#endif
