/* When a lot closes: see due.h. */
#include "sealer/due.h"

bool due_to_close(const struct store_open_lot *o, const struct due_limits *limits, enum lot_reason *reason)
{
    if (o->asked)
        *reason = LOT_DEMAND;
    else if (o->events >= limits->count)
        *reason = LOT_COUNT;
    else if (o->bytes >= limits->bytes)
        *reason = LOT_BYTES;
    else if (o->events > 0 && o->age_ms >= 0 && (uint64_t)o->age_ms >= limits->age)
        *reason = LOT_AGE;
    else if (o->events == 0 && o->opened_ms >= 0 && (uint64_t)o->opened_ms >= limits->idle)
        *reason = LOT_IDLE;
    else
        return false;
    return true;
}
