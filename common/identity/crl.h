/*
 * Certificate revocation lists (RFC 5280 5): the ones in force, by issuer. Pure: bytes and a time in, answers out. What is read here came
 * from files others write, or from the network: nothing is believed before its issuer's signature has been verified.
 */
#ifndef COFFRE_IDENTITY_CRL_H
#define COFFRE_IDENTITY_CRL_H

#include <openssl/x509.h>

#include "common/values/buf.h"

struct crl_set;

enum revocation_answer {
    REVOCATION_GOOD,
    REVOCATION_REVOKED,
    REVOCATION_UNKNOWN, /* nothing that is valid now speaks of this certificate */
};

/* Why, for log and journal. */
struct revocation_finding {
    enum revocation_answer answer;
    int64_t revoked_at; /* ms since 1970; 0: not revoked or not said */
    int64_t this_update; /* ms: of the list or OCSP answer that says so; 0: nothing does */
    int64_t until;      /* ms: this answer holds until then (nextUpdate and `max_stale`); 0: unknown */
    char text[256];     /* what was found where: "serial 0A1B: revoked 2026-01-31T12:00:00Z, keyCompromise (crl/operator.crl)" */
};

/* One list in force, for status, expiry warnings and metrics. Borrowed texts. */
struct crl_entry {
    const char *issuer; /* RFC 2253 form */
    const char *source; /* file or URL */
    int64_t this_update, next_update; /* ms */
    size_t revoked;     /* entries */
    char number[64];    /* cRLNumber in hexadecimal, "" without */
};

struct crl_set *crl_set_new(void);
void crl_set_free(struct crl_set *s);

/*
 * Takes every list that `bytes` holds (one DER, or any number of PEM; other PEM blocks are ignored) as what `source` says. `authorities` are the
 * certificates that may have issued them (anchors and configured intermediates). All or nothing: when one is refused, what this source gave
 * before stays in force. ERR_INPUT says which and why: not a CRL, over `most` bytes, issuer unknown, wrong signature or a weak one, issuer without cRLSign
 * (RFC 5280 4.2.1.3), no nextUpdate (5.1.2.5), thisUpdate in the future (5 minutes are let pass), expired at `now` (beyond `max_stale`, ms), older than the one in force, or that was, of the same issuer
 * and scope (cRLNumber, then thisUpdate), a delta (5.2.4), indirect, by reasons or for attributes only (5.2.5), an unknown critical extension.
 */
MUST_CHECK bool crl_set_take(struct crl_set *s, const char *source, struct slice bytes, size_t most, STACK_OF(X509) *authorities, int64_t now,
                             int64_t max_stale, struct err *e);
/* Forgets what this source gave (it is no longer configured). */
void crl_set_drop(struct crl_set *s, const char *source);
/* The same but for how new it was (a file that was taken away): no older one of that issuer, key and scope is taken, or comes into force, as long as the set lives. `source` NULL: of all of them. */
void crl_set_lose(struct crl_set *s, const char *source);

/*
 * What the lists say of `certificate`, issued by `issuer`: scope (onlyContainsUserCerts, onlyContainsCACerts, distribution point against the certificate's own, 5.2.5) is observed; of several
 * lists any that revokes decides (also removeFromCRL and hold: RFC 5280 5.3.1: hold is revoked, removeFromCRL is not). Lists past nextUpdate and `max_stale` say nothing.
 */
struct revocation_finding crl_set_check(const struct crl_set *s, X509 *certificate, X509 *issuer, int64_t now, int64_t max_stale);

size_t crl_set_count(const struct crl_set *s);
struct crl_entry crl_set_at(const struct crl_set *s, size_t i);
/* Raised whenever an answer may have changed. */
uint64_t crl_set_generation(const struct crl_set *s);

#endif
