/*
 * The digests sensors announce (`DigestAlgo`, `Digest`): names they use for algorithms, comparison, computation.
 * Pure; both texts are a stranger's.
 */
#ifndef COFFRE_INGEST_DIGEST_H
#define COFFRE_INGEST_DIGEST_H

#include "common/values/err.h"
#include "common/values/slice.h"

enum { DIGEST_SIZE_MAX = 64, DIGEST_HEX_MAX = 2 * DIGEST_SIZE_MAX };

enum digest_algorithm { DIGEST_NONE, DIGEST_SHA1, DIGEST_SHA256, DIGEST_SHA384, DIGEST_SHA512, DIGEST_ALGORITHMS };

/*
 * The algorithm named by `DigestAlgo`: "SHA-256" and "SHA256" in any case, or the identifier of XML Signature / XML
 * Encryption (RFC 9231 2.1, xmlenc-core1 5.8). DIGEST_NONE: not one of ours.
 */
enum digest_algorithm digest_parse_algorithm(struct slice name);

/* Contexts kept between computations. Owned: digest_free(). NULL and ERR_FATAL when OpenSSL fails. */
struct digester;
struct digester *digest_new(struct err *e);
void digest_free(struct digester *d);

/* Digest of the concatenation of `parts`; `out` has room for DIGEST_SIZE_MAX bytes, `len` receives their number. */
MUST_CHECK bool digest_compute(struct digester *d, enum digest_algorithm algorithm, const struct slice *parts,
                               unsigned count, uint8_t *out, size_t *len, struct err *e);

/* Lower-case hexadecimal, no NUL: 2 * len bytes into `out`. */
void digest_to_hex(const uint8_t *digest, size_t len, char *out);

/* Whether `hex`, in either case, is exactly these bytes. */
bool digest_matches(const uint8_t *digest, size_t len, struct slice hex);

#endif
