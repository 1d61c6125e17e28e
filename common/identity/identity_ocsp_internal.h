/* What the parts of the OCSP cache share: identity_ocsp.c (the cache), identity_ocsp_ask.c (asking and judging), identity_ocsp_known.c (who is known to be revoked). */
#ifndef COFFRE_IDENTITY_OCSP_INTERNAL_H
#define COFFRE_IDENTITY_OCSP_INTERNAL_H

#include "common/identity/identity_internal.h"
#include "common/identity/known.h"

struct identity_answer {
    struct identity_ocsp *cache;
    uint8_t key[32];              /* SHA-256 of responder, issuer and certificate */
    uint8_t subject[KNOWN_KEY];   /* SHA-256 of issuer and certificate */
    struct identity_answer *same; /* another under the same first bytes of it */
    X509 *certificate, *issuer;   /* owned references */
    char url[OCSP_URL_MAX];       /* "": nobody to ask */
    unsigned users;
    struct revocation_finding found; /* the last valid answer; REVOCATION_UNKNOWN: there was none */
    int64_t newest;                  /* ms: thisUpdate of the newest valid answer; nothing older is taken */
    X509 *signer;                    /* owned: who gave it in the issuer's place, and may be revoked itself; NULL: nobody who may */
    uint64_t signer_looked;          /* which lists were asked about the signer: lists_version() */
    char trouble[ERR_TEXT_MAX];      /* why the last asking failed; "": it did not */
    int64_t checked, refresh;        /* ms, wall: when `found` came, and when to ask again */
    int64_t retry;                   /* ms, clock: not before; 0: no failure */
    int64_t asked;                   /* ms, clock */
    int64_t retry_after;             /* ms */
    uint32_t request;                /* under way; 0: none */
    bool nonced;
    uint8_t nonce[OCSP_NONCE_SIZE];
    uint64_t generation;
};

struct identity_ocsp {
    struct identity *owner;
    struct map answers; /* struct identity_answer, owned, by the first bytes of `key` */
    size_t count;
    struct known *known; /* who was said to be revoked, in <state_dir>/crl too: identity_ocsp_known.c */
    bool known_changed;
    int64_t known_retry;  /* ms, clock: it could not be written, and is not tried before; 0: it could */
    int64_t known_looked; /* ms, clock: when those that have ended were last forgotten */
    uint64_t asked, answered, failed, latency; /* latency: ms in all */
};

/* ---- identity_ocsp_ask.c ---- */
void ocsp_answer_ask(struct identity_answer *a);            /* unless it is being asked, or failed a moment ago */
void ocsp_answer_look_at_signer(struct identity_answer *a, int64_t now); /* lists may have revoked who gave it */
bool ocsp_answer_is_fresh(const struct identity_answer *a, int64_t now); /* a newcomer may live on it (revocation.ocsp_reuse) */
/* What is said of its certificate, for people; the same wherever it is said. */
void ocsp_answer_describe(const struct identity_answer *a, const char *what, char *out, size_t size);

/* ---- identity_ocsp_known.c ---- */
void ocsp_known_load(struct identity_ocsp *o);              /* at the beginning */
void ocsp_known_begin(struct identity_answer *a);           /* a new one: what is known of its certificate is its first answer */
void ocsp_known_found(struct identity_answer *a);           /* `found` has changed: remembered, or forgotten */
void ocsp_known_forget(struct identity_answer *a);          /* what it has said is worth nothing */
/* Whether an answer of this thisUpdate takes nothing back that a newer one has said, be it another responder's. ERR_INPUT: it would. */
MUST_CHECK bool ocsp_known_permits(const struct identity_answer *a, const struct revocation_finding *found, int64_t now, struct err *e);
void ocsp_known_tick(struct identity_ocsp *o);              /* what is over is forgotten; identity_ocsp_keep() */

#endif
