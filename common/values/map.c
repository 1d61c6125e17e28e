/* Pointers found by a number: see map.h. */
#include "common/values/map.h"

#include <stdlib.h>

#include "common/values/buf.h"

enum { SIZE_MIN = 16 };

/* Spreads numbers that count: the multiplier is 2^64 divided by the golden ratio, then the high half comes down. */
static size_t home(const struct map *m, uint64_t key)
{
    uint64_t h = key * 0x9e3779b97f4a7c15u;

    return (size_t)(h ^ h >> 32) & (m->size - 1);
}

void map_free(struct map *m)
{
    free(m->places);
    *m = (struct map){0};
}

/* Where the key is, or would be put. There is always a free place. */
static size_t find(const struct map *m, uint64_t key)
{
    size_t i = home(m, key);

    while (m->places[i].value != NULL && m->places[i].key != key)
        i = (i + 1) & (m->size - 1);
    return i;
}

static void resize(struct map *m, size_t size)
{
    struct map fresh = {.places = mem_zalloc(size, sizeof *fresh.places), .size = size, .count = m->count};

    for (size_t i = 0; i < m->size; i++)
        if (m->places[i].value != NULL)
            fresh.places[find(&fresh, m->places[i].key)] = m->places[i];
    free(m->places);
    *m = fresh;
}

void *map_get(const struct map *m, uint64_t key)
{
    return m->count == 0 ? NULL : m->places[find(m, key)].value;
}

void *map_put(struct map *m, uint64_t key, void *value)
{
    size_t i;
    void *before;

    if (m->count + 1 > m->size / 2)
        resize(m, m->size == 0 ? SIZE_MIN : m->size * 2);
    i = find(m, key);
    before = m->places[i].value;
    if (before == NULL)
        m->count++;
    m->places[i] = (struct map_place){key, value};
    return before;
}

/* Closes the gap at `i`: what was pushed past it by collisions moves up. */
static void close_gap(struct map *m, size_t i)
{
    size_t mask = m->size - 1;

    for (size_t j = (i + 1) & mask; m->places[j].value != NULL; j = (j + 1) & mask) {
        size_t wanted = home(m, m->places[j].key);

        if (((j - wanted) & mask) < ((j - i) & mask))
            continue; /* its home lies behind the gap */
        m->places[i] = m->places[j];
        i = j;
    }
    m->places[i].value = NULL;
}

void *map_take(struct map *m, uint64_t key)
{
    size_t i = m->count == 0 ? 0 : find(m, key);
    void *value = m->count == 0 ? NULL : m->places[i].value;

    if (value == NULL)
        return NULL;
    close_gap(m, i);
    m->count--;
    if (m->size > SIZE_MIN && m->count < m->size / 8)
        resize(m, m->size / 2);
    return value;
}

void *map_next(const struct map *m, size_t *place)
{
    while (*place < m->size) {
        void *value = m->places[(*place)++].value;

        if (value != NULL)
            return value;
    }
    return NULL;
}
