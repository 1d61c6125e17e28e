/*
 * Pointers found by a number: open addressing with linear probing, no tombstones. Not for keys that a stranger chooses freely
 * (he could make them collide); numbers that count, numbers of sibling processes, and digests are fine.
 */
#ifndef COFFRE_MAP_H
#define COFFRE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map_place {
    uint64_t key;
    void *value; /* NULL: free */
};

/* Zeroed: empty. Values are borrowed. */
struct map {
    struct map_place *places; /* owned */
    size_t size;              /* a power of two, 0 before the first use */
    size_t count;
};

void map_free(struct map *m);

/* The value under this key; NULL: none. */
void *map_get(const struct map *m, uint64_t key);
/* Puts `value` (not NULL) under `key`, instead of what was there, which is returned (NULL: nothing was). */
void *map_put(struct map *m, uint64_t key, void *value);
/* Removes and returns the value; NULL: none. Memory is given back as the map empties. */
void *map_take(struct map *m, uint64_t key);

/* Values one after the other, in no order: begin with *place 0; NULL at the end. The map must not change in between. */
void *map_next(const struct map *m, size_t *place);

#endif
