/*
 * What seal or stamp works with: a certificate and its chain, the label of its key in the HSM, how it signs. Read from the files of
 * the configuration, checked for what it will have to do, held against its key; replaced between two lots (signer.h).
 */
#ifndef COFFRE_CREDENTIALS_H
#define COFFRE_CREDENTIALS_H

#include <openssl/x509.h>

#include "common/formats/trust.h"
#include "common/formats/xades.h"
#include "common/system/settings.h"
#include "common/values/buf.h"

enum credentials_duty { CREDENTIALS_SEAL, CREDENTIALS_STAMP };

enum { CREDENTIALS_MARGIN_MS = 600000 /* a certificate that ends within this signs nothing more: what it signs is time-stamped after */ };

struct credentials {
    enum credentials_duty duty;
    char *path, *label, *policy;              /* certificate file, label of the key, OID of stamp's policy; owned */
    enum xades_algorithm algorithm;           /* of seal */
    X509 *certificate;                        /* the key's; owned */
    struct buf chain[XADES_CERTIFICATES_MAX]; /* DER: the key's certificate, then its intermediates; owned */
    size_t chain_count;
    struct trust *trust; /* regulator.ca; owned */
    uint8_t mark[32];    /* SHA-256 of all that is configured for seal and stamp together, files included: both have the same, or not the same configuration */
};

/* Reads the files that `s` names. ERR_INPUT names the file. Owned: credentials_free(). */
struct credentials *credentials_load(enum credentials_duty duty, const struct settings *s, struct err *e);
void credentials_free(struct credentials *c);

/*
 * The certificate may do its duty at `at_ms` (ms since 1970) and for CREDENTIALS_MARGIN_MS from then on: chains to regulator.ca, in date; seal: as
 * trust_check_seal(); stamp: critical extended key usage of timeStamping alone (RFC 3161 2.3). ERR_DOUBT names the file and why not.
 */
MUST_CHECK bool credentials_check(const struct credentials *c, int64_t at_ms, struct err *e);

/* The two belong together: by the public key, and by a trial signature of random bytes, made in the HSM and verified with the certificate. ERR_INPUT, or ERR_RETRY when the key fails. */
MUST_CHECK bool credentials_check_key(const struct credentials *c, EVP_PKEY *key, struct err *e);

/* A context that signs or verifies as c says; `key` is borrowed. Owned: EVP_MD_CTX_free(); NULL: OpenSSL's queue says why. */
EVP_MD_CTX *credentials_sign_with(const struct credentials *c, EVP_PKEY *key);

/* The question of credentials_check() for one instant, for whoever has the certificate alone. ERR_INPUT. */
MUST_CHECK bool credentials_check_certificate(X509 *x, STACK_OF(X509) *intermediates, enum credentials_duty duty, struct trust *t, int64_t at_ms, struct err *e);

#endif
