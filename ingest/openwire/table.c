/* The rows of every type, made from fields.h: see openwire.h. */
#include "ingest/openwire/openwire_internal.h"

/* A last row without a name: an array needs one, and some shapes have no field. */
#define FIELD_ROW(shape, name, kind, of, since, until) {#name, OPENWIRE_KIND_##kind, OPENWIRE_OF_##of, since, until},
#define SHAPE_ROWS(shape) \
    static const struct openwire_field fields_##shape[] = {OPENWIRE_FIELDS_##shape(FIELD_ROW){NULL, 0, 0, 0, 0}};
OPENWIRE_SHAPES(SHAPE_ROWS)

#define TYPE_ROW(name, number, shape, command) [number] = {#name, fields_##shape, OPENWIRE_COUNT_##shape, command},
static const struct openwire_row rows[256] = {
    OPENWIRE_TYPES(TYPE_ROW)[OPENWIRE_THROWABLE] = {"THROWABLE", fields_THROWABLE, OPENWIRE_COUNT_THROWABLE, false},
};

const struct openwire_row *openwire_row(unsigned type)
{
    return &rows[type < 256 ? type : OPENWIRE_NULL];
}

bool openwire_may_hold(unsigned of, unsigned type)
{
    switch (of) {
    case OPENWIRE_OF_NONE:
        return false;
    case OPENWIRE_OF_DESTINATION:
        return type >= OPENWIRE_QUEUE && type <= OPENWIRE_TEMP_TOPIC;
    case OPENWIRE_OF_TRANSACTION:
        return type == OPENWIRE_LOCAL_TRANSACTION_ID || type == OPENWIRE_XA_TRANSACTION_ID;
    case OPENWIRE_OF_SOME_MESSAGE:
        return type >= OPENWIRE_MESSAGE && type <= OPENWIRE_TEXT_MESSAGE;
    case OPENWIRE_OF_SOME_ID:
        return type >= OPENWIRE_CONNECTION_ID && type <= OPENWIRE_BROKER_ID;
    case OPENWIRE_OF_ANYTHING:
        return type != OPENWIRE_THROWABLE && openwire_row(type)->name != NULL;
    default:
        return type == of;
    }
}
