/* See equal.h. */
#include "tests/openwire/equal.h"

#include <stdio.h>

static bool differ(char *where, const struct openwire_row *row, const char *field)
{
    if (where != NULL)
        snprintf(where, 80, "%s.%s", row->name == NULL ? "?" : row->name, field);
    return false;
}

static bool equal_values(const struct openwire_field *f, const struct openwire_value *a, const struct openwire_value *b,
                         bool *told, char *where)
{
    if (a->there != b->there)
        return false;
    if (!a->there)
        return true;
    switch ((enum openwire_kind)f->kind) {
    case OPENWIRE_KIND_BOOL:
    case OPENWIRE_KIND_BYTE:
    case OPENWIRE_KIND_INT:
    case OPENWIRE_KIND_LONG:
        return a->number == b->number;
    case OPENWIRE_KIND_MAGIC:
    case OPENWIRE_KIND_TEXT:
    case OPENWIRE_KIND_BYTES:
        return slice_equal(a->bytes, b->bytes);
    case OPENWIRE_KIND_NESTED:
    case OPENWIRE_KIND_CACHED:
    case OPENWIRE_KIND_THROWABLE:
        *told = true;
        return openwire_equal(a->object, b->object, where);
    case OPENWIRE_KIND_ARRAY:
        break;
    }
    if (a->array.count != b->array.count)
        return false;
    *told = true;
    for (size_t i = 0; i < a->array.count; i++)
        if (!openwire_equal(a->array.at[i], b->array.at[i], where))
            return false;
    return true;
}

bool openwire_equal(const struct openwire_object *a, const struct openwire_object *b, char *where)
{
    const struct openwire_row *row = openwire_row(a->type);

    if (a->type != b->type || a->command_id != b->command_id || a->response_required != b->response_required)
        return differ(where, row, "(type, command id, response required)");
    for (unsigned i = 0; i < row->count; i++) {
        bool told = false;

        if (!equal_values(&row->fields[i], &a->values[i], &b->values[i], &told, where))
            return told ? false : differ(where, row, row->fields[i].name);
    }
    return true;
}
