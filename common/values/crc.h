/*
 * CRC-32 of ZIP entries (ISO 3309, polynomial 0xEDB88320 reflected), fast enough to be computed for every event:
 * carry-less multiplication where the processor has it, zlib elsewhere. Not a protection against anybody.
 */
#ifndef COFFRE_CRC_H
#define COFFRE_CRC_H

#include "common/values/slice.h"

/* The CRC of what `crc` is the CRC of, followed by `bytes`; 0 to begin with. */
uint32_t crc_update(uint32_t crc, struct slice bytes);

#endif
