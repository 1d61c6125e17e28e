/*
 * What seal and stamp have in common: one key in the HSM, its certificate, one sibling that asks (work), one
 * question at a time. Any error of the key drops the whole PKCS#11 context; it is loaded again before the next question.
 */
#ifndef COFFRE_SIGNER_H
#define COFFRE_SIGNER_H

#include <openssl/x509.h>

#include "common/formats/xades.h"
#include "common/system/role.h"

struct hsm;

struct signer {
    struct role *self;
    const struct settings *settings; /* borrowed from the role */
    const char *key_label;
    const char *certificate_path;
    X509 *certificate;                        /* the key's; owned */
    struct buf chain[XADES_CERTIFICATES_MAX]; /* DER: the key's certificate, then its intermediates; owned */
    size_t chain_count;
    struct hsm *hsm;      /* NULL: to be opened again */
    EVP_PKEY *key;        /* borrowed from hsm; valid while that is there */
    bool doubtful_key;    /* set by a duty when the key failed: the context is dropped after the answer */
    char away[ERR_TEXT_MAX]; /* why the key cannot be reached, while hsm is NULL */
    int64_t probe_at;     /* monotonic ms: when the token is asked again whether it is there */
    struct channel *work; /* NULL: not linked */
    bool leaving;
};

/* One duty: what it is called with and what it answers. */
struct signer_duty {
    const char *key_label;
    const char *certificate_path;
    /* Answers a message: fills `answer` and `*type`, or false and why (sent as REFUSED with `*lot`, which it sets first). */
    bool (*answer)(struct signer *s, const struct channel_message *m, uint64_t *lot, uint16_t *type, struct buf *answer,
                   struct err *e);
    /* Once a second, with or without the key: false and why when the duty cannot be done now (clock in doubt). */
    bool (*fit)(struct signer *s, struct err *e);
    const char *item; /* what `fit` judges, as an item of health: "clock"; NULL: it is part of "hsm" */
};

/*
 * Certificates of a PEM file: the first, and as DER all that are not self-signed (a root is the verifier's own affair).
 * ERR_INPUT names the file. Owned by the caller, also after failure: signer_chain_free().
 */
MUST_CHECK bool signer_chain_load(const char *path, X509 **first, struct buf chain[XADES_CERTIFICATES_MAX], size_t *count,
                                  struct err *e);
void signer_chain_free(X509 *first, struct buf chain[XADES_CERTIFICATES_MAX], size_t count);

/* The whole life of such a role; returns its exit status. */
int signer_run(struct role *self, const struct signer_duty *duty);

#endif
