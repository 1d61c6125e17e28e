/* See tight.h. */
#include "tests/openwire/tight.h"

#include <stdlib.h>

#include "ingest/openwire/openwire_internal.h"

enum { CACHE = sizeof((struct tight *)0)->cached / sizeof((struct tight *)0)->cached[0] };

struct reader {
    struct tight *t;
    struct slice rest, bits; /* data; the boolean stream */
    size_t bit;
    const char *bad; /* the first thing that was wrong */
};

/* What was wrong first; everything read after it is zero. */
static void fail(struct reader *r, const char *why)
{
    if (r->bad == NULL)
        r->bad = why;
}

static const uint8_t *take(struct reader *r, size_t len)
{
    static const uint8_t zeros[8];
    const uint8_t *at = r->rest.at;

    if (len > r->rest.len) {
        fail(r, "data ends early");
        return zeros;
    }
    r->rest = slice_of(at + len, r->rest.len - len);
    return at;
}

static uint8_t take_8(struct reader *r)
{
    return *take(r, 1);
}

static uint16_t take_16(struct reader *r)
{
    return openwire_load_16(take(r, 2));
}

static uint32_t take_32(struct reader *r)
{
    return openwire_load_32(take(r, 4));
}

static struct slice take_bytes(struct reader *r, size_t len)
{
    const uint8_t *at;

    if (len > r->rest.len)
        fail(r, "a length beyond the data");
    if (r->bad != NULL)
        return slice_of(NULL, 0);
    at = take(r, len);
    return slice_of(at, len);
}

static bool take_bit(struct reader *r)
{
    size_t bit = r->bit++;

    if (bit / 8 >= r->bits.len) {
        fail(r, "the boolean stream ends early");
        return false;
    }
    return (r->bits.at[bit / 8] >> bit % 8 & 1) != 0;
}

static void *block(struct tight *t, size_t size)
{
    t->blocks = mem_realloc(t->blocks, (t->block_count + 1) * sizeof *t->blocks);
    return t->blocks[t->block_count++] = mem_zalloc(1, size);
}

void tight_free(struct tight *t)
{
    for (size_t i = 0; i < t->block_count; i++)
        free(t->blocks[i]);
    free(t->blocks);
}

static const struct openwire_object *read_object(struct reader *r, unsigned type);

/* Both forms of a text are as long as they say; the shorter one is ASCII. */
static struct slice read_text(struct reader *r)
{
    bool ascii = take_bit(r);
    struct slice text = take_bytes(r, take_16(r));

    for (size_t i = 0; ascii && i < text.len; i++)
        if (text.at[i] == 0 || text.at[i] > 0x7f)
            fail(r, "a text said to be ASCII is not");
    return text;
}

static uint64_t read_long(struct reader *r)
{
    bool high = take_bit(r), low = take_bit(r);

    if (high)
        return low ? openwire_load_64(take(r, 8)) : take_32(r);
    return low ? take_16(r) : 0;
}

static const struct openwire_object *read_nested(struct reader *r, unsigned of)
{
    unsigned type;

    if (!take_bit(r))
        return NULL;
    type = take_8(r);
    if (!openwire_may_hold(of, type)) {
        fail(r, "a value of another type than its field holds");
        return NULL;
    }
    /* What could carry its own encoding with it never does. */
    if ((openwire_may_hold(OPENWIRE_OF_SOME_MESSAGE, type) || type == OPENWIRE_WIRE_FORMAT_INFO) && take_bit(r))
        fail(r, "a value in its own encoding");
    return read_object(r, type);
}

static const struct openwire_object *read_cached(struct reader *r, unsigned of)
{
    bool fresh;
    uint16_t index;

    if (!r->t->cache)
        return read_nested(r, of);
    fresh = take_bit(r);
    index = take_16(r);
    if (fresh && index == UINT16_MAX)
        return read_nested(r, of);
    if (index >= CACHE) {
        fail(r, "a place in the cache that is not there");
        return NULL;
    }
    if (fresh) {
        r->t->cached[index] = read_nested(r, of);
        r->t->is_cached[index] = true;
    } else if (!r->t->is_cached[index]) {
        /* Java's client refuses a frame that is too long after its values went into the cache: its peer finds null there. */
        r->t->never_sent++;
    } else if (r->t->cached[index] != NULL && !openwire_may_hold(of, r->t->cached[index]->type)) {
        fail(r, "a cached value of another type than its field holds");
    }
    return r->t->cached[index];
}

static const struct openwire_object *read_throwable(struct reader *r);

/* Where it was thrown and what caused it: passed over. */
static void skip_trace(struct reader *r)
{
    for (unsigned n = take_16(r); n != 0 && r->bad == NULL; n--) {
        for (int i = 0; i < 3; i++)
            if (take_bit(r))
                read_text(r);
        take_32(r);
    }
    if (r->bad == NULL)
        read_throwable(r);
}

static const struct openwire_object *read_throwable(struct reader *r)
{
    const struct openwire_object *o;

    if (!take_bit(r))
        return NULL;
    o = read_object(r, OPENWIRE_THROWABLE);
    if (r->t->stack_traces)
        skip_trace(r);
    return o;
}

static void read_array(struct reader *r, unsigned of, struct openwire_value *v)
{
    const struct openwire_object **at;

    v->array.count = take_16(r);
    if (v->array.count > r->rest.len)
        fail(r, "more values than bytes");
    if (r->bad != NULL)
        return;
    v->array.at = at = block(r->t, (v->array.count + 1) * sizeof *at);
    for (size_t i = 0; i < v->array.count; i++)
        if ((at[i] = read_nested(r, of)) == NULL)
            fail(r, "a null in an array");
}

static void read_value(struct reader *r, const struct openwire_field *f, struct openwire_value *v)
{
    v->there = true;
    switch ((enum openwire_kind)f->kind) {
    case OPENWIRE_KIND_BOOL:
        v->number = take_bit(r);
        break;
    case OPENWIRE_KIND_BYTE:
        v->number = (uint64_t)(int64_t)(int8_t)take_8(r);
        break;
    case OPENWIRE_KIND_INT:
        v->number = (uint64_t)(int64_t)(int32_t)take_32(r);
        break;
    case OPENWIRE_KIND_LONG:
        v->number = read_long(r);
        break;
    case OPENWIRE_KIND_MAGIC:
        v->bytes = take_bytes(r, OPENWIRE_MAGIC);
        break;
    case OPENWIRE_KIND_TEXT:
        if ((v->there = take_bit(r)))
            v->bytes = read_text(r);
        break;
    case OPENWIRE_KIND_BYTES:
        if ((v->there = take_bit(r)))
            v->bytes = take_bytes(r, take_32(r));
        break;
    case OPENWIRE_KIND_NESTED:
        *v = openwire_nested(read_nested(r, f->of));
        break;
    case OPENWIRE_KIND_CACHED:
        *v = openwire_nested(read_cached(r, f->of));
        break;
    case OPENWIRE_KIND_ARRAY:
        if ((v->there = take_bit(r)))
            read_array(r, f->of, v);
        break;
    case OPENWIRE_KIND_THROWABLE:
        *v = openwire_nested(read_throwable(r));
        break;
    }
}

static const struct openwire_object *read_object(struct reader *r, unsigned type)
{
    const struct openwire_row *row = openwire_row(type);
    struct openwire_object *o = block(r->t, sizeof *o);
    struct openwire_value *v = block(r->t, (row->count + 1u) * sizeof *v);

    o->type = (uint8_t)type;
    o->values = v;
    if (row->command) {
        o->command_id = take_32(r);
        o->response_required = take_bit(r);
    }
    for (unsigned i = 0; i < row->count && r->bad == NULL; i++)
        if (openwire_has(&row->fields[i], r->t->version))
            read_value(r, &row->fields[i], &v[i]);
    return o;
}

/* The boolean stream stands before all data: its length in one, two or three bytes. */
static void read_bits(struct reader *r)
{
    size_t len = take_8(r);

    if (len == 0xc0)
        len = take_8(r);
    else if (len == 0x80)
        len = take_16(r);
    else if (len >= 64)
        fail(r, "a boolean stream of no length");
    r->bits = take_bytes(r, len);
}

bool tight_read(struct tight *t, struct slice frame, const struct openwire_object **object, struct err *e)
{
    /* What is cached outlives the caller's bytes. */
    uint8_t *copy = block(t, frame.len + 1);
    struct reader r = {.t = t, .rest = slice_of(copy, frame.len)};
    unsigned type;

    memcpy(copy, frame.at, frame.len);
    type = take_8(&r);
    if (!openwire_may_hold(OPENWIRE_OF_ANYTHING, type))
        return err_set(e, ERR_INPUT, "tight: unknown type %u", type);
    read_bits(&r);
    *object = read_object(&r, type);
    if (r.bad == NULL && r.rest.len != 0)
        fail(&r, "bytes follow the last field");
    if (r.bad == NULL && (r.bit + 7) / 8 != r.bits.len)
        fail(&r, "bits follow the last field");
    return r.bad == NULL || err_set(e, ERR_INPUT, "tight: %s, %zu bytes from its end: %s", openwire_row(type)->name, r.rest.len, r.bad);
}
