/* Sorted tables of the peer's sessions, producers and consumers. See openwire_session.h. */
#include <stdlib.h>

#include "ingest/openwire/openwire_session.h"

/* The place where it is or would be. Clients count upwards, so the end is looked at first. */
static size_t place(const struct openwire_register *r, int64_t session, int64_t value)
{
    size_t low = 0, high = r->count;

    if (high != 0 && (r->at[high - 1].session < session || (r->at[high - 1].session == session && r->at[high - 1].value < value)))
        return high;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct openwire_entry *e = &r->at[middle];

        if (e->session < session || (e->session == session && e->value < value))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct openwire_entry *openwire_register_find(const struct openwire_register *r, int64_t session, int64_t value)
{
    size_t i = place(r, session, value);

    return i < r->count && r->at[i].session == session && r->at[i].value == value ? &r->at[i] : NULL;
}

struct openwire_entry *openwire_register_add(struct openwire_register *r, int64_t session, int64_t value)
{
    size_t i = place(r, session, value);

    if (r->count == r->capacity) {
        r->capacity = r->capacity == 0 ? 4 : r->capacity * 2;
        r->at = mem_realloc(r->at, r->capacity * sizeof *r->at);
    }
    memmove(&r->at[i + 1], &r->at[i], (r->count - i) * sizeof *r->at);
    r->count++;
    r->at[i] = (struct openwire_entry){.session = session, .value = value};
    return &r->at[i];
}

void openwire_register_remove(struct openwire_register *r, struct openwire_entry *entry)
{
    size_t i = (size_t)(entry - r->at);

    memmove(entry, entry + 1, (r->count - i - 1) * sizeof *r->at);
    r->count--;
}

void openwire_register_free(struct openwire_register *r)
{
    free(r->at);
    *r = (struct openwire_register){0};
}
