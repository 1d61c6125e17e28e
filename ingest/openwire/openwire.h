/*
 * OpenWire, versions 1 to 12, loose encoding without cache, size prefix option or stack traces: what a broker that says so in its
 * WireFormatInfo gets and sends. Frames are read into values, and written from values, by the rows of one table (fields.h): nothing else
 * knows the place of a field. Pure: bytes in, values or error out.
 * What is read is a stranger's: every length and count is checked against the bytes left in the frame before anything is made of it, nothing
 * is allocated, nesting and the sum of all values have fixed limits, a nested value is of a type that its field may hold.
 */
#ifndef COFFRE_OPENWIRE_H
#define COFFRE_OPENWIRE_H

#include "common/values/buf.h"
#include "ingest/openwire/fields.h"

enum {
    OPENWIRE_VERSION_MIN = 6, /* served; older ones are understood well enough to be refused in their own words */
    OPENWIRE_VERSION_MAX = 12,
    OPENWIRE_HEAD = 10,       /* bytes of a command's frame up to its first field: size, type, command id, response required */
    OPENWIRE_ARENA = 6144,    /* bytes of all values of one frame together */
    OPENWIRE_DEPTH_MAX = 6,   /* values within values */
    OPENWIRE_MAGIC = 8,       /* bytes of a MAGIC field */
};

/* Data types as numbered on the wire: OPENWIRE_TEXT_MESSAGE is 28. */
enum openwire_type {
    OPENWIRE_NULL = 0,
#define OPENWIRE_NAME_TYPE(name, number, shape, command) OPENWIRE_##name = number,
    OPENWIRE_TYPES(OPENWIRE_NAME_TYPE)
#undef OPENWIRE_NAME_TYPE
    OPENWIRE_THROWABLE = 255, /* ours: never on the wire */
};

/* OPENWIRE_<SHAPE>_<FIELD> is a field's place in struct openwire_object.values, OPENWIRE_COUNT_<SHAPE> their number. */
#define OPENWIRE_NAME_FIELD(shape, name, kind, of, since, until) OPENWIRE_##shape##_##name,
#define OPENWIRE_NAME_FIELDS(shape) enum { OPENWIRE_FIELDS_##shape(OPENWIRE_NAME_FIELD) OPENWIRE_COUNT_##shape };
OPENWIRE_SHAPES(OPENWIRE_NAME_FIELDS)
#undef OPENWIRE_NAME_FIELDS
#undef OPENWIRE_NAME_FIELD

/* How a field stands on the wire. In loose encoding without cache CACHED and NESTED are the same. */
enum openwire_kind {
    OPENWIRE_KIND_BOOL,
    OPENWIRE_KIND_BYTE,
    OPENWIRE_KIND_INT,
    OPENWIRE_KIND_LONG,
    OPENWIRE_KIND_MAGIC,     /* 8 bytes */
    OPENWIRE_KIND_TEXT,      /* modified UTF-8 (text.h), or null */
    OPENWIRE_KIND_BYTES,     /* or null */
    OPENWIRE_KIND_NESTED,    /* a value with its type, or null */
    OPENWIRE_KIND_CACHED,
    OPENWIRE_KIND_ARRAY,     /* of nested values, or null */
    OPENWIRE_KIND_THROWABLE, /* class name and message, opaque text both; or null */
};

/* Which types a nested field may hold: one, or one of a family. */
enum openwire_of {
    OPENWIRE_OF_NONE = 0,
#define OPENWIRE_NAME_OF(name, number, shape, command) OPENWIRE_OF_##name = number,
    OPENWIRE_TYPES(OPENWIRE_NAME_OF)
#undef OPENWIRE_NAME_OF
    OPENWIRE_OF_DESTINATION = 200, /* QUEUE to TEMP_TOPIC */
    OPENWIRE_OF_TRANSACTION,       /* local or XA */
    OPENWIRE_OF_SOME_MESSAGE,      /* MESSAGE to TEXT_MESSAGE */
    OPENWIRE_OF_SOME_ID,           /* CONNECTION_ID to BROKER_ID */
    OPENWIRE_OF_ANYTHING,
};

struct openwire_field {
    const char *name; /* "PRODUCER_ID" */
    uint8_t kind, of, since, until;
};

struct openwire_row {
    const char *name; /* "TEXT_MESSAGE"; NULL: no such type */
    const struct openwire_field *fields;
    uint8_t count;
    bool command;
};

/* The row of a type, any byte; OPENWIRE_THROWABLE has one too. Never NULL. */
const struct openwire_row *openwire_row(unsigned type);
/* True when the version has this field. */
static inline bool openwire_has(const struct openwire_field *f, unsigned version)
{
    return version >= f->since && (f->until == 0 || version < f->until);
}

/* ---- values ------------------------------------------------------------------------------ */

struct openwire_object;

/* One field. Absent (null, or not in this version): `there` is false and all else zero. Numbers, even zero, are there. */
struct openwire_value {
    union {
        uint64_t number; /* sign-extended */
        struct slice bytes;
        const struct openwire_object *object;
        struct {
            const struct openwire_object *const *at;
            size_t count;
        } array;
    };
    bool there;
};

struct openwire_object {
    uint8_t type;
    bool response_required; /* of commands */
    uint32_t command_id;
    const struct openwire_value *values; /* as many as the row has fields */
};

/* To build an object to be written. */
static inline struct openwire_value openwire_number(uint64_t n)
{
    return (struct openwire_value){.number = n, .there = true};
}

static inline struct openwire_value openwire_bytes(struct slice s)
{
    return (struct openwire_value){.bytes = s, .there = true};
}

static inline struct openwire_value openwire_nested(const struct openwire_object *o)
{
    return (struct openwire_value){.object = o, .there = o != NULL};
}

/* To look at one that was read: zero, empty, NULL when absent. `field` is one of its shape. */
static inline uint64_t openwire_get_number(const struct openwire_object *o, unsigned field)
{
    return o->values[field].there ? o->values[field].number : 0;
}

static inline struct slice openwire_get_bytes(const struct openwire_object *o, unsigned field)
{
    return o->values[field].there ? o->values[field].bytes : slice_of(NULL, 0);
}

static inline const struct openwire_object *openwire_get_object(const struct openwire_object *o, unsigned field)
{
    return o->values[field].there ? o->values[field].object : NULL;
}

/* ---- frames ------------------------------------------------------------------------------ */

/* Where the values of a frame live: one frame's at a time. Need not be zeroed; kept, not put on the stack, where speed matters. */
struct openwire_arena {
    size_t used;
    _Alignas(16) uint8_t bytes[OPENWIRE_ARENA];
};

/*
 * Reads one frame: `frame` is its type and body, without the size. What is found lives in `arena` and points into `frame`. ERR_INPUT
 * (malformed, trailing bytes, a nested value of the wrong type, too much nesting) names type, field and offset; so does an unknown type.
 */
MUST_CHECK bool openwire_read(struct slice frame, unsigned version, struct openwire_arena *arena,
                              const struct openwire_object **object, struct err *e);

/*
 * Appends one frame with its size. ERR_RETRY when `out` has no room, ERR_INPUT when a text is over 65,535 bytes: nothing is appended then.
 */
MUST_CHECK bool openwire_write(const struct openwire_object *o, unsigned version, struct buf *out, struct err *e);

#endif
