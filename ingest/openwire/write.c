/*
 * Writing a frame by the rows of its type: see openwire.h. What is written was made here or was read from a stranger, so lengths, types
 * and nesting are checked all the same.
 */
#include "ingest/openwire/openwire_internal.h"

enum {
    PIECE = 512,      /* room is asked for in pieces of at least this many bytes */
    SIZE_BYTES = 4,
    TEXT_MAX = 65535, /* its length is an unsigned 16-bit number */
    ARRAY_MAX = 32767, /* its length is a signed one */
};

struct writer {
    struct buf *out;
    uint8_t *base, *at, *end; /* room asked for, and how much of it is filled */
    unsigned version, depth;
    struct err *e;
};

/* Makes room for `need` more bytes: a look at two pointers, mostly. */
static bool more_room(struct writer *w, size_t need)
{
    size_t room, piece = need < PIECE ? PIECE : need;

    buf_commit(w->out, (size_t)(w->at - w->base));
    w->base = w->at = w->end;
    room = w->out->max - w->out->len;
    if (need > room)
        return err_set(w->e, ERR_RETRY, "OpenWire %u: no room for a frame within %zu bytes", w->version, w->out->max);
    if (piece > room)
        piece = room;
    w->base = w->at = buf_reserve(w->out, piece, w->e);
    if (w->base == NULL)
        return false;
    w->end = w->base + piece;
    return true;
}

static inline bool make_room(struct writer *w, size_t need)
{
    return (size_t)(w->end - w->at) >= need || more_room(w, need);
}

static bool put_8(struct writer *w, unsigned n)
{
    if (!make_room(w, 1))
        return false;
    *w->at++ = (uint8_t)n;
    return true;
}

static bool put_16(struct writer *w, size_t n)
{
    if (!make_room(w, 2))
        return false;
    openwire_store_16(w->at, (uint16_t)n);
    w->at += 2;
    return true;
}

static bool put_32(struct writer *w, uint64_t n)
{
    if (!make_room(w, 4))
        return false;
    openwire_store_32(w->at, (uint32_t)n);
    w->at += 4;
    return true;
}

static bool put_64(struct writer *w, uint64_t n)
{
    if (!make_room(w, 8))
        return false;
    openwire_store_64(w->at, n);
    w->at += 8;
    return true;
}

static bool put_fixed(struct writer *w, struct slice bytes)
{
    if (bytes.len == 0)
        return true;
    if (!make_room(w, bytes.len))
        return false;
    memcpy(w->at, bytes.at, bytes.len);
    w->at += bytes.len;
    return true;
}

static bool bad(const struct writer *w, const struct openwire_row *row, const struct openwire_field *f, const char *why)
{
    return err_set(w->e, ERR_INPUT, "OpenWire %u: %s.%s cannot be written: %s", w->version, row->name, f->name, why);
}

static bool write_fields(struct writer *w, const struct openwire_row *row, const struct openwire_object *o);

/* A type and its body; of a throwable, which is no type, the body alone. */
static bool write_object(struct writer *w, const struct openwire_object *o)
{
    const struct openwire_row *row = openwire_row(o->type);

    if (o->type != OPENWIRE_THROWABLE && !put_8(w, o->type))
        return false;
    if (row->command && !(put_32(w, o->command_id) && put_8(w, o->response_required)))
        return false;
    return write_fields(w, row, o);
}

static bool write_nested(struct writer *w, const struct openwire_row *row, const struct openwire_field *f,
                         const struct openwire_object *o)
{
    bool ok;

    if (o == NULL)
        return bad(w, row, f, "a value that is not there");
    if (f->kind == OPENWIRE_KIND_THROWABLE ? o->type != OPENWIRE_THROWABLE : !openwire_may_hold(f->of, o->type))
        return bad(w, row, f, "a value of another type");
    if (w->depth == OPENWIRE_DEPTH_MAX)
        return bad(w, row, f, "too many values within each other");
    w->depth++;
    ok = write_object(w, o);
    w->depth--;
    return ok;
}

static bool write_array(struct writer *w, const struct openwire_row *row, const struct openwire_field *f,
                        const struct openwire_value *v)
{
    if (v->array.count > ARRAY_MAX)
        return bad(w, row, f, "more than 32,767 values");
    if (!put_16(w, v->array.count))
        return false;
    for (size_t i = 0; i < v->array.count; i++)
        if (!put_8(w, true) || !write_nested(w, row, f, v->array.at[i]))
            return false;
    return true;
}

static bool write_bytes(struct writer *w, const struct openwire_row *row, const struct openwire_field *f, struct slice bytes)
{
    if (bytes.len > INT32_MAX)
        return bad(w, row, f, "over 2,147,483,647 bytes");
    return put_32(w, bytes.len) && put_fixed(w, bytes);
}

static bool write_text(struct writer *w, const struct openwire_row *row, const struct openwire_field *f, struct slice text)
{
    if (text.len > TEXT_MAX)
        return bad(w, row, f, "a text of more than 65,535 bytes");
    return put_16(w, text.len) && put_fixed(w, text);
}

/* One field. An absent number is written as zero: it has no null. */
static bool write_value(struct writer *w, const struct openwire_row *row, const struct openwire_field *f,
                        const struct openwire_value *v)
{
    uint64_t number = v->there ? v->number : 0;

    switch ((enum openwire_kind)f->kind) {
    case OPENWIRE_KIND_BOOL:
        return put_8(w, number != 0);
    case OPENWIRE_KIND_BYTE:
        return put_8(w, (uint8_t)number);
    case OPENWIRE_KIND_INT:
        return put_32(w, number);
    case OPENWIRE_KIND_LONG:
        return put_64(w, number);
    case OPENWIRE_KIND_MAGIC:
        if (!v->there || v->bytes.len != OPENWIRE_MAGIC)
            return bad(w, row, f, "not 8 bytes");
        return put_fixed(w, v->bytes);
    case OPENWIRE_KIND_TEXT:
        return put_8(w, v->there) && (!v->there || write_text(w, row, f, v->bytes));
    case OPENWIRE_KIND_BYTES:
        return put_8(w, v->there) && (!v->there || write_bytes(w, row, f, v->bytes));
    case OPENWIRE_KIND_ARRAY:
        return put_8(w, v->there) && (!v->there || write_array(w, row, f, v));
    case OPENWIRE_KIND_NESTED:
    case OPENWIRE_KIND_CACHED:
    case OPENWIRE_KIND_THROWABLE:
        return put_8(w, v->there) && (!v->there || write_nested(w, row, f, v->object));
    }
    return bad(w, row, f, "a kind that is not known");
}

static bool write_fields(struct writer *w, const struct openwire_row *row, const struct openwire_object *o)
{
    for (unsigned i = 0; i < row->count; i++)
        if (openwire_has(&row->fields[i], w->version) && !write_value(w, row, &row->fields[i], &o->values[i]))
            return false;
    return true;
}

bool openwire_write(const struct openwire_object *o, unsigned version, struct buf *out, struct err *e)
{
    struct writer w = {.out = out, .version = version, .e = e};
    size_t began = out->len, size;

    if (!openwire_may_hold(OPENWIRE_OF_ANYTHING, o->type))
        return err_set(e, ERR_INPUT, "OpenWire %u: type %u cannot be written", version, o->type);
    if (!put_32(&w, 0) || !write_object(&w, o)) {
        out->len = began;
        return false;
    }
    buf_commit(out, (size_t)(w.at - w.base));
    size = out->len - began - SIZE_BYTES;
    if (size > INT32_MAX) {
        out->len = began;
        return err_set(e, ERR_INPUT, "OpenWire %u: a frame of %zu bytes cannot be written", version, size);
    }
    openwire_store_32(out->data + out->start + began, (uint32_t)size);
    return true;
}
