/*
 * Trust anchors given by whoever verifies, and the two questions asked of them: may this
 * certificate seal, may this one timestamp, at that instant. Never filled from what is being verified.
 */
#ifndef COFFRE_TRUST_H
#define COFFRE_TRUST_H

#include <openssl/x509.h>

#include "common/values/err.h"
#include "common/values/slice.h"

struct trust; /* owned; one thread at a time */

/* All certificates of a PEM text. ERR_INPUT when there is none or one cannot be read. */
struct trust *trust_new(struct slice pem, struct err *e);
void trust_free(struct trust *t);

/* The store, with its verification time set to `at_ms` (ms since 1970); borrowed. */
X509_STORE *trust_store_at(struct trust *t, int64_t at_ms);

/*
 * Chains to an anchor at `at_ms`, was in date, and may seal: key usage has digitalSignature and nonRepudiation, no extended key
 * usage but documentSigning (RFC 5280 4.2.1.3, 4.2.1.12). `intermediates` are hints, not anchors. ERR_INPUT says why not.
 */
MUST_CHECK bool trust_check_seal(struct trust *t, X509 *signer, STACK_OF(X509) *intermediates, int64_t at_ms,
                                 struct err *e);

#endif
