/* What the files of the codec share: big-endian numbers, and which type may stand where. Includes nobody outside this folder needs. */
#ifndef COFFRE_OPENWIRE_INTERNAL_H
#define COFFRE_OPENWIRE_INTERNAL_H

#include "ingest/openwire/openwire.h"

/* Numbers at any address; a size known at compile time makes each one load. */
static inline uint16_t openwire_load_16(const uint8_t *at)
{
    uint16_t n;

    memcpy(&n, at, sizeof n);
    return __builtin_bswap16(n);
}

static inline uint32_t openwire_load_32(const uint8_t *at)
{
    uint32_t n;

    memcpy(&n, at, sizeof n);
    return __builtin_bswap32(n);
}

static inline uint64_t openwire_load_64(const uint8_t *at)
{
    uint64_t n;

    memcpy(&n, at, sizeof n);
    return __builtin_bswap64(n);
}

static inline void openwire_store_16(uint8_t *at, uint16_t n)
{
    n = __builtin_bswap16(n);
    memcpy(at, &n, sizeof n);
}

static inline void openwire_store_32(uint8_t *at, uint32_t n)
{
    n = __builtin_bswap32(n);
    memcpy(at, &n, sizeof n);
}

static inline void openwire_store_64(uint8_t *at, uint64_t n)
{
    n = __builtin_bswap64(n);
    memcpy(at, &n, sizeof n);
}

/* True when a field described with `of` (enum openwire_of) may hold this type, any byte. False for types that are not known. */
bool openwire_may_hold(unsigned of, unsigned type);

#endif
