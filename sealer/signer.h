/*
 * What seal and stamp have in common: one key in the HSM, its certificate, one sibling that asks (work), one
 * question at a time. Any error of the key drops the whole PKCS#11 context; it is loaded again before the next question.
 * A reload makes another certificate and key ready beside those in force; work has them taken between two lots (signer_change.c).
 */
#ifndef COFFRE_SIGNER_H
#define COFFRE_SIGNER_H

#include <openssl/x509.h>

#include "common/system/role.h"
#include "sealer/credentials.h"
#include "sealer/pin_guard.h"

struct signer;

/* One duty: what it answers. */
struct signer_duty {
    enum credentials_duty credentials;
    /* Answers a message: fills `answer` and `*type`, or false and why (sent as REFUSED with `*lot`, which it sets first). */
    bool (*answer)(struct signer *s, const struct channel_message *m, uint64_t *lot, uint16_t *type, struct buf *answer,
                   struct err *e);
    /* Once a second, with or without the key: false and why when the duty cannot be done now (clock in doubt). */
    bool (*fit)(struct signer *s, struct err *e);
    const char *item; /* what `fit` judges, as an item of health: "clock"; NULL: it is part of "hsm" */
    /* Whether another certificate may be taken at this point of the chain. */
    bool (*may_change)(struct signer *s, struct err *e);
};

struct signer_key {
    struct credentials *what; /* owned; NULL: none */
    EVP_PKEY *key;            /* owned, of the token that is open; NULL: not at hand */
};

struct signer {
    struct role *self;
    const struct settings *settings; /* borrowed from the role: as it began */
    const struct signer_duty *duty;
    char *pin;               /* file; owned */
    struct pin_guard guard;
    struct hsm *hsm;         /* NULL: to be opened again */
    struct signer_key now;   /* in force */
    struct signer_key next;  /* checked, tried, and in force as soon as work says so */
    bool doubtful_key;       /* set by a duty when the key failed: the context is dropped after the answer */
    char away[ERR_TEXT_MAX]; /* why the key cannot be reached, while hsm is NULL */
    int64_t probe_at;        /* monotonic ms: when the token is asked again whether it is there */
    int64_t next_open;       /* when it is opened again */
    int pause_ms;            /* between two tries */
    struct channel *work;    /* NULL: not linked */
    ino_t paths[SETTINGS_LIST_MAX];  /* sealer.module_paths as they were when this process began */
    bool folders[SETTINGS_LIST_MAX]; /* those that are */
    int status;              /* to leave with */
    bool leaving;
};

/* The whole life of such a role; returns its exit status. */
int signer_run(struct role *self, const struct signer_duty *duty);

/* ---- for signer.c and signer_change.c alone ---- */

/* Opens the token with the key in force, unless it is open; reads its certificate first when there is none yet. Not before it was held against its certificate is a key at hand. */
MUST_CHECK bool signer_open(struct signer *s, struct err *e);
void signer_close(struct signer *s);

/* role_events.reload. What is in force stays when anything about the new is wrong, which is said. */
void signer_reload(void *ctx, const struct settings *fresh);
/* Takes what is ready, when that is what `mark` stands for. */
void signer_take(struct signer *s, const uint8_t mark[32]);
void signer_forget(struct signer_key *k);

#endif
