/*
 * Reading what was encrypted for the regulator: the lot's key with the private key, then each
 * event with the lot's key (CMS AuthEnvelopedData, RFC 5083). Nothing is written before its tag holds.
 */
#ifndef COFFRE_VERIFY_DECRYPT_H
#define COFFRE_VERIFY_DECRYPT_H

#include "common/values/buf.h"

struct decrypt; /* owned */

/* `key`: PEM file of the private key; `output`: folder for events, created when absent, or NULL to decrypt and forget. */
struct decrypt *decrypt_open(const char *key, const char *output, struct err *e);
void decrypt_free(struct decrypt *d); /* wipes keys */

/* Forgets the keys of the lot before. */
void decrypt_begin_lot(struct decrypt *d, uint64_t lot);
/* ERR_DENIED when the private key does not open it. */
MUST_CHECK bool decrypt_key(struct decrypt *d, uint32_t ordinal, struct slice cms, struct err *e);
/* A key of this lot is open. Without one its events cannot be, which was said of the key. */
bool decrypt_has_key(const struct decrypt *d);
/* Writes OUTPUT/000042/000000004201.xml, by way of a temporary name. ERR_RETRY when the disk refuses. */
MUST_CHECK bool decrypt_event(struct decrypt *d, uint64_t serial, struct slice cms, struct err *e);

#endif
