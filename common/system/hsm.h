/*
 * Keys inside an HSM, through PKCS#11: libp11 to use them, the module itself to create them.
 * A PKCS#11 library may hang for ever (libp11 0.4.12 does when a session cannot be opened), so only roles with a
 * deadline set by a sibling, and the ceremony, call this. After any error of a key the one recovery is
 * hsm_close() and hsm_open(): libp11 keeps dead sessions and believes in logins that are gone.
 */
#ifndef COFFRE_HSM_H
#define COFFRE_HSM_H

#include <openssl/evp.h>

#include "common/system/secret.h"
#include "common/values/err.h"

enum hsm_pin { HSM_PIN_UNKNOWN, HSM_PIN_TAKEN, HSM_PIN_REFUSED /* by the token */ };

/* Who decides whether a PIN may be tried, and hears what became of it. */
struct hsm_pin_guard {
    bool (*before)(void *ctx, const struct secret *pin, struct err *e);     /* false: it is not tried */
    void (*after)(void *ctx, const struct secret *pin, enum hsm_pin what);  /* follows every before(), whatever that said */
    void *ctx;
};

/* Where a token is; all borrowed. */
struct hsm_token {
    const char *module;   /* PKCS#11 library (path) */
    const char *label;    /* of the token */
    const char *pin_file; /* holds the user PIN, perhaps followed by a line feed */
    const struct hsm_pin_guard *guard; /* NULL: the PIN is tried whenever the token is opened */
};

struct hsm;

/*
 * Loads the module, finds the token, logs in and finds the private key labelled `key`. NULL on failure: ERR_RETRY when
 * the token or its key cannot be reached now, ERR_DENIED when the token or the guard refuses the PIN, ERR_FATAL when what is configured is wrong (module, two keys of one label).
 * The PIN is in locked memory while it is read and given to the module, and nowhere afterwards.
 */
struct hsm *hsm_open(const struct hsm_token *where, const char *key, struct err *e);

/* The private key, for EVP_DigestSign and the like; borrowed until hsm_close(), of which no reference may outlive it. */
EVP_PKEY *hsm_key(const struct hsm *h);

/* Another private key of the token that is open, by its label; nothing else changes. Owned: EVP_PKEY_free() before hsm_close(). NULL: as hsm_open(). */
EVP_PKEY *hsm_find_key(struct hsm *h, const char *key, struct err *e);

/*
 * While a hsm_open() is in force: asks the token anew whether it is there and still holds the key, and uses the key for nothing. ERR_RETRY when not: then
 * hsm_close(). Talks to the HSM, so not more often than every few seconds.
 */
MUST_CHECK bool hsm_probe(const struct hsm_token *where, const char *key, struct err *e);

/* Logs out and unloads everything; NULL is a no-op. */
void hsm_close(struct hsm *h);

/* Whether the token holds a private key labelled `key`: *found. Opens and closes everything itself. */
MUST_CHECK bool hsm_has_key(const struct hsm_token *where, const char *key, bool *found, struct err *e);

/*
 * Creates an RSA key pair in the token (PKCS#11 v2.40 CKM_RSA_PKCS_KEY_PAIR_GEN), exponent 65537: the private half is
 * CKA_SENSITIVE, not CKA_EXTRACTABLE, and may only sign. `key` is its label and its CKA_ID. `bits` ≥ 3072.
 * Does not look whether the label is taken: hsm_has_key() first.
 */
MUST_CHECK bool hsm_generate_rsa(const struct hsm_token *where, const char *key, unsigned bits, struct err *e);

#endif
