/*
 * Encryption of what is stored (design.md section 5), in files that stock `openssl cms -decrypt` opens:
 * an event is CMS AuthEnvelopedData (RFC 5083, RFC 5084: AES-256-GCM) under a random key wrapped (RFC 3394) under its
 * lot's key (RFC 5652 6.2.3: KEKRecipientInfo); a lot's key is CMS AuthEnvelopedData for each regulator certificate
 * (RSAES-OAEP, SHA-256).
 */
#ifndef COFFRE_INGEST_ENVELOPE_H
#define COFFRE_INGEST_ENVELOPE_H

#include "common/values/buf.h"

enum { ENVELOPE_KEY_SIZE = 32, ENVELOPE_KEY_ID_MAX = 32 };

/* Encrypts events under one lot's key after the other. Holds keys: allocated in OpenSSL's secure heap. */
struct envelope;

/* NULL and ERR_FATAL when OpenSSL fails. */
struct envelope *envelope_new(struct err *e);
void envelope_free(struct envelope *v); /* wipes */

/* From now on wraps under `key` (ENVELOPE_KEY_SIZE bytes, not kept in clear), named `key_id` (text of 1 to
 * ENVELOPE_KEY_ID_MAX bytes: "000042-1"). */
MUST_CHECK bool envelope_set_key(struct envelope *v, const uint8_t *key, const char *key_id, struct err *e);

/* Bytes of the file for a plaintext of `len` bytes under a key named by `key_id_len` characters: exact. */
size_t envelope_size(size_t len, size_t key_id_len);

/* Appends the file whose content is the concatenation of `parts` to `out`. ERR_INPUT when `out` is full: nothing is
 * appended. */
MUST_CHECK bool envelope_add(struct envelope *v, const struct slice *parts, unsigned count, struct buf *out,
                             struct err *e);

/* Certificates a lot's key is encrypted for, read once. */
struct envelope_recipients;

/*
 * Reads PEM files, the first certificate of each: RSA of 2048 bits or more, with a subject key identifier (RFC
 * 5280 4.2.1.2), allowed to encipher keys. NULL and ERR_INPUT naming the file otherwise, or when there are none.
 */
struct envelope_recipients *envelope_recipients_load(char *const *paths, unsigned count, struct err *e);
void envelope_recipients_free(struct envelope_recipients *r);

/* Appends the key file: `key`'s bytes for every recipient. Called once per lot key: through OpenSSL's CMS functions. */
MUST_CHECK bool envelope_seal_key(const struct envelope_recipients *r, const uint8_t *key, struct buf *out,
                                  struct err *e);

#endif
