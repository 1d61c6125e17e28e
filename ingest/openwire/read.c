/*
 * Reading a frame by the rows of its type: see openwire.h. Everything here is a stranger's: each read is preceded by a look at what
 * is left, each count by a look at what it would take, and values come out of the caller's arena only.
 */
#include <stdio.h>

#include "ingest/openwire/openwire_internal.h"

enum { SIZE_BYTES = 4 /* offsets in errors count the size that stood before */ };

struct reader {
    const uint8_t *begin, *at, *end;
    struct openwire_arena *arena;
    unsigned version, depth;
    struct err *e;
};

/* Where reading is: an error names it. */
struct place {
    const struct openwire_row *row;
    const struct openwire_field *field; /* NULL: before the first */
};

static bool bad(const struct reader *r, const struct place *p, const uint8_t *at, const char *fmt, ...)
    PRINTF_LIKE(4, 5) __attribute__((cold, noinline));
static bool bad(const struct reader *r, const struct place *p, const uint8_t *at, const char *fmt, ...)
{
    char why[160];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    return err_set(r->e, ERR_INPUT, "OpenWire %u: %s%s%s at byte %zu: %s", r->version, p->row->name,
                   p->field == NULL ? "" : ".", p->field == NULL ? "" : p->field->name,
                   (size_t)(at - r->begin) + SIZE_BYTES, why);
}

static size_t left(const struct reader *r)
{
    return (size_t)(r->end - r->at);
}

static bool too_short(const struct reader *r, const struct place *p, size_t need)
{
    return bad(r, p, r->at, "%zu bytes are needed, %zu are left", need, left(r));
}

/* `size` bytes for values, or NULL. */
static void *arena_take(struct reader *r, size_t size)
{
    void *taken = r->arena->bytes + r->arena->used;

    if (size > OPENWIRE_ARENA - r->arena->used)
        return NULL;
    r->arena->used += (size + 7) & ~(size_t)7;
    return taken;
}

static bool arena_full(const struct reader *r, const struct place *p)
{
    return bad(r, p, r->at, "more values than the %d bytes a frame may take", OPENWIRE_ARENA);
}

/* One byte, 0 or 1: Java takes any other for true, but writes none. */
static bool read_flag(struct reader *r, const struct place *p, bool *flag)
{
    if (r->at == r->end)
        return too_short(r, p, 1);
    if (*r->at > 1)
        return bad(r, p, r->at, "a boolean of %u", *r->at);
    *flag = *r->at++ == 1;
    return true;
}

/* Kinds that have as many bytes as their name says, and no null. */
static bool read_number(struct reader *r, const struct place *p, struct openwire_value *v)
{
    static const uint8_t sizes[] = {
        [OPENWIRE_KIND_BOOL] = 1, [OPENWIRE_KIND_BYTE] = 1, [OPENWIRE_KIND_INT] = 4, [OPENWIRE_KIND_LONG] = 8,
    };
    unsigned kind = p->field->kind;
    size_t size = sizes[kind];

    if (left(r) < size)
        return too_short(r, p, size);
    if (kind == OPENWIRE_KIND_LONG)
        v->number = openwire_load_64(r->at);
    else if (kind == OPENWIRE_KIND_INT)
        v->number = (uint64_t)(int64_t)(int32_t)openwire_load_32(r->at);
    else if (kind == OPENWIRE_KIND_BYTE)
        v->number = (uint64_t)(int64_t)(int8_t)*r->at;
    else if (*r->at <= 1)
        v->number = *r->at;
    else
        return bad(r, p, r->at, "a boolean of %u", *r->at);
    r->at += size;
    return true;
}

static bool read_fixed(struct reader *r, const struct place *p, size_t len, struct slice *bytes)
{
    if (left(r) < len)
        return too_short(r, p, len);
    *bytes = slice_of(r->at, len);
    r->at += len;
    return true;
}

static bool read_text(struct reader *r, const struct place *p, struct slice *text)
{
    size_t len;

    if (left(r) < 2)
        return too_short(r, p, 2);
    len = openwire_load_16(r->at);
    if (left(r) - 2 < len)
        return bad(r, p, r->at, "a text of %zu bytes, %zu are left", len, left(r) - 2);
    r->at += 2;
    return read_fixed(r, p, len, text);
}

static bool read_bytes(struct reader *r, const struct place *p, struct slice *bytes)
{
    int32_t len;

    if (left(r) < 4)
        return too_short(r, p, 4);
    len = (int32_t)openwire_load_32(r->at);
    if (len < 0 || (size_t)len > left(r) - 4)
        return bad(r, p, r->at, "%d bytes are announced, %zu are left", (int)len, left(r) - 4);
    r->at += 4;
    return read_fixed(r, p, (size_t)len, bytes);
}

static bool read_fields(struct reader *r, const struct openwire_row *row, struct openwire_object *o);

/* The body of a value whose type is known and allowed. */
static bool read_object(struct reader *r, const struct place *p, unsigned type, const struct openwire_object **object)
{
    const struct openwire_row *row = openwire_row(type);
    struct openwire_object *o = arena_take(r, sizeof *o + row->count * sizeof(struct openwire_value));
    const struct place here = {row, NULL};
    bool required = false;

    if (o == NULL)
        return arena_full(r, p);
    o->type = (uint8_t)type;
    o->command_id = 0;
    if (row->command) {
        if (left(r) < 4)
            return too_short(r, &here, 4);
        o->command_id = openwire_load_32(r->at);
        r->at += 4;
        if (!read_flag(r, &here, &required))
            return false;
    }
    o->response_required = required;
    *object = o;
    return read_fields(r, row, o);
}

/* A type, allowed by the field, and its body. */
static bool read_nested(struct reader *r, const struct place *p, const struct openwire_object **object)
{
    unsigned type;
    bool ok;

    if (r->at == r->end)
        return too_short(r, p, 1);
    type = *r->at;
    if (!openwire_may_hold(p->field->of, type)) {
        const char *name = type == OPENWIRE_THROWABLE ? NULL : openwire_row(type)->name;

        return bad(r, p, r->at, "a value of type %u (%s)", type, name == NULL ? "unknown" : name);
    }
    if (r->depth == OPENWIRE_DEPTH_MAX)
        return bad(r, p, r->at, "more than %d values within each other", OPENWIRE_DEPTH_MAX);
    r->at++;
    r->depth++;
    ok = read_object(r, p, type, object);
    r->depth--;
    return ok;
}

/* Each value takes a byte at least, so a count beyond what is left is a lie. Java writes no null among them. */
static bool read_array(struct reader *r, const struct place *p, struct openwire_value *v)
{
    const struct openwire_object **at;
    int16_t count;
    bool present;

    if (left(r) < 2)
        return too_short(r, p, 2);
    count = (int16_t)openwire_load_16(r->at);
    if (count < 0 || (size_t)count > left(r) - 2)
        return bad(r, p, r->at, "%d values are announced, %zu bytes are left", count, left(r) - 2);
    at = arena_take(r, (size_t)count * sizeof(struct openwire_object *));
    if (at == NULL)
        return arena_full(r, p);
    r->at += 2;
    for (int i = 0; i < count; i++) {
        if (!read_flag(r, p, &present))
            return false;
        if (!present)
            return bad(r, p, r->at - 1, "a null in an array");
        if (!read_nested(r, p, &at[i]))
            return false;
    }
    v->array.at = at;
    v->array.count = (size_t)count;
    return true;
}

/* Kinds that begin with a flag: false is null, and the value stays absent. */
static bool read_nullable(struct reader *r, const struct place *p, struct openwire_value *v)
{
    if (!read_flag(r, p, &v->there))
        return false;
    if (!v->there)
        return true;
    switch ((enum openwire_kind)p->field->kind) {
    case OPENWIRE_KIND_TEXT:
        return read_text(r, p, &v->bytes);
    case OPENWIRE_KIND_BYTES:
        return read_bytes(r, p, &v->bytes);
    case OPENWIRE_KIND_NESTED:
    case OPENWIRE_KIND_CACHED:
        return read_nested(r, p, &v->object);
    case OPENWIRE_KIND_ARRAY:
        return read_array(r, p, v);
    case OPENWIRE_KIND_THROWABLE:
        return read_object(r, p, OPENWIRE_THROWABLE, &v->object);
    case OPENWIRE_KIND_BOOL:
    case OPENWIRE_KIND_BYTE:
    case OPENWIRE_KIND_INT:
    case OPENWIRE_KIND_LONG:
    case OPENWIRE_KIND_MAGIC:
        break;
    }
    return false; /* not reached: read_fields() sends those elsewhere */
}

static bool read_fields(struct reader *r, const struct openwire_row *row, struct openwire_object *o)
{
    struct openwire_value *v = (struct openwire_value *)(o + 1);
    bool ok = true;

    o->values = v;
    for (const struct openwire_field *f = row->fields; ok && f < row->fields + row->count; f++, v++) {
        const struct place p = {row, f};

        *v = (struct openwire_value){0};
        if (!openwire_has(f, r->version))
            continue;
        v->there = true;
        if (f->kind <= OPENWIRE_KIND_LONG)
            ok = read_number(r, &p, v);
        else if (f->kind == OPENWIRE_KIND_MAGIC)
            ok = read_fixed(r, &p, OPENWIRE_MAGIC, &v->bytes);
        else
            ok = read_nullable(r, &p, v);
    }
    return ok;
}

bool openwire_read(struct slice frame, unsigned version, struct openwire_arena *arena, const struct openwire_object **object,
                   struct err *e)
{
    struct reader r = {.begin = frame.at, .at = frame.at, .arena = arena, .version = version, .e = e};
    struct place p = {NULL, NULL};

    arena->used = 0;
    if (frame.len == 0)
        return err_set(e, ERR_INPUT, "OpenWire %u: a frame without a type at byte %d", version, SIZE_BYTES);
    r.end = frame.at + frame.len;
    if (!openwire_may_hold(OPENWIRE_OF_ANYTHING, *r.at))
        return err_set(e, ERR_INPUT, "OpenWire %u: unknown type %u at byte %d", version, *r.at, SIZE_BYTES);
    p.row = openwire_row(*r.at++);
    if (!read_object(&r, &p, frame.at[0], object))
        return false;
    return r.at == r.end || bad(&r, &p, r.at, "%zu bytes follow the last field", left(&r));
}
