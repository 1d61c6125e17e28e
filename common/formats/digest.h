/* SHA-256 in one call, and CRC-32 as ZIP wants it. Pure. */
#ifndef COFFRE_DIGEST_H
#define COFFRE_DIGEST_H

#include "common/values/err.h"
#include "common/values/slice.h"

enum { DIGEST_LEN = 32 };

/* ERR_FATAL if OpenSSL failed. */
MUST_CHECK bool digest_sha256(struct slice bytes, uint8_t out[DIGEST_LEN], struct err *e);

/* CRC-32 (IEEE 802.3), continued from `crc`; start with 0. */
uint32_t digest_crc32(uint32_t crc, struct slice bytes);

#endif
