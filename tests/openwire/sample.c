/* See sample.h. What is in the fields is such that Java takes it: no empty names, a priority it knows, the class of an exception. */
#include "tests/openwire/sample.h"

#include <stdlib.h>

enum { POOL = 512, DEPTH = 4, ARRAY_DEPTH = 2, PRIORITY = 7 };

static struct openwire_object objects[POOL];
static struct openwire_value values[POOL * 8];
static const struct openwire_object *pairs[POOL][2];
static unsigned objects_used, values_used, pairs_used;

static unsigned some_type(unsigned of)
{
    switch (of) {
    case OPENWIRE_OF_DESTINATION:
        return OPENWIRE_TEMP_QUEUE;
    case OPENWIRE_OF_TRANSACTION:
        return OPENWIRE_LOCAL_TRANSACTION_ID;
    case OPENWIRE_OF_SOME_MESSAGE:
        return OPENWIRE_TEXT_MESSAGE;
    case OPENWIRE_OF_SOME_ID:
        return OPENWIRE_CONSUMER_ID;
    case OPENWIRE_OF_ANYTHING:
        return OPENWIRE_CONSUMER_INFO;
    default:
        return of;
    }
}

static const struct openwire_object *fill(unsigned type, unsigned depth);

/* Texts of 1 to 27 bytes, numbers below zero: as many different ones as there are fields. */
static struct openwire_value fill_value(unsigned type, unsigned n, unsigned depth)
{
    static const char text[] = "ActiveMQ is no word of ours";
    const struct openwire_field *f = &openwire_row(type)->fields[n];
    struct openwire_value v = {.there = true};

    switch ((enum openwire_kind)f->kind) {
    case OPENWIRE_KIND_BOOL:
        v.number = 1;
        break;
    case OPENWIRE_KIND_BYTE:
        v.number = PRIORITY;
        break;
    case OPENWIRE_KIND_INT:
    case OPENWIRE_KIND_LONG:
        v.number = (uint64_t)-(int64_t)n - 1;
        break;
    case OPENWIRE_KIND_MAGIC:
        v.bytes = slice_of(text, OPENWIRE_MAGIC);
        break;
    case OPENWIRE_KIND_TEXT:
    case OPENWIRE_KIND_BYTES:
        v.bytes = slice_of(text, 1 + n % (sizeof text - 1));
        if (type == OPENWIRE_THROWABLE && n == OPENWIRE_THROWABLE_CLASS)
            v.bytes = SLICE_LITERAL("java.lang.SecurityException");
        break;
    case OPENWIRE_KIND_NESTED:
    case OPENWIRE_KIND_CACHED:
        return openwire_nested(depth == DEPTH ? NULL : fill(some_type(f->of), depth + 1));
    case OPENWIRE_KIND_THROWABLE:
        return openwire_nested(fill(OPENWIRE_THROWABLE, depth + 1));
    case OPENWIRE_KIND_ARRAY:
        if (depth >= ARRAY_DEPTH)
            return (struct openwire_value){0};
        v.array.at = pairs[pairs_used];
        v.array.count = 2;
        pairs[pairs_used][0] = fill(some_type(f->of), depth + 2);
        pairs[pairs_used++][1] = fill(some_type(f->of), depth + 2);
        break;
    }
    return v;
}

static const struct openwire_object *fill(unsigned type, unsigned depth)
{
    const struct openwire_row *row = openwire_row(type);
    struct openwire_object *o = &objects[objects_used++];
    struct openwire_value *v = &values[values_used];

    values_used += row->count;
    if (objects_used >= POOL || values_used >= POOL * 8 || pairs_used >= POOL - 1)
        abort();
    *o = (struct openwire_object){.type = (uint8_t)type, .values = v};
    o->command_id = row->command ? type * 3 : 0;
    o->response_required = row->command;
    for (unsigned i = 0; i < row->count; i++)
        v[i] = fill_value(type, i, depth);
    return o;
}

const struct openwire_object *sample_full(unsigned type)
{
    objects_used = values_used = pairs_used = 0;
    return fill(type, 0);
}

void sample_forget(const struct openwire_object *o, unsigned version)
{
    const struct openwire_row *row = openwire_row(o->type);

    for (unsigned i = 0; i < row->count; i++) {
        struct openwire_value *v = &values[o->values - values + i];

        if (!openwire_has(&row->fields[i], version))
            *v = (struct openwire_value){0};
        else if (v->there && row->fields[i].kind == OPENWIRE_KIND_ARRAY)
            for (size_t k = 0; k < v->array.count; k++)
                sample_forget(v->array.at[k], version);
        else if (v->there && row->fields[i].kind >= OPENWIRE_KIND_NESTED)
            sample_forget(v->object, version);
    }
}
