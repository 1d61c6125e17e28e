/*
 * What each profile asks of a certificate, from the configuration (design: second level of control). Loading reads the CA bundles; all else is pure.
 */
#ifndef COFFRE_IDENTITY_POLICY_H
#define COFFRE_IDENTITY_POLICY_H

#include <openssl/x509.h>

#include "common/identity/allow.h"
#include "common/identity/ocsp.h"
#include "common/system/roster.h"

enum revocation_policy {
    REVOCATION_NOT_CHECKED, /* "none": must be said explicitly */
    REVOCATION_BY_CRL,
    REVOCATION_BY_OCSP,
    REVOCATION_BY_EITHER, /* one valid answer is enough; any valid "revoked" decides */
    REVOCATION_BY_BOTH,   /* both must say good */
};

enum policy_digest { POLICY_SHA256 = 1, POLICY_SHA384 = 2, POLICY_SHA512 = 4 };

struct identity_policy {
    enum roster_profile profile;
    bool offered;                   /* this daemon serves the profile */
    X509_STORE *anchors;            /* owned: the bundle's certificates */
    STACK_OF(X509) *authorities;    /* owned: the same, as a list */
    unsigned depth;                 /* intermediate certificates between leaf and anchor, at most */
    unsigned rsa_bits, ec_bits;     /* smallest keys, of every certificate of the chain */
    unsigned digests;               /* enum policy_digest, of every signature but a self-signed anchor's */
    enum revocation_policy revocation;
    struct allow_list allow;
    char *responder;                /* URL instead of the certificates' own; "": theirs. Owned */
};

struct identity_policies {
    struct identity_policy of[ROSTER_FUNCTIONAL + 1]; /* by enum roster_profile; 0 is unused */
    STACK_OF(X509) *authorities;    /* owned: of all profiles offered, each once */
    struct buf anchors;             /* the same as PEM, for the fronts' handshakes */
};

/* Which profiles a daemon serves: depositors at ingest, the others at the exporter; an OR of 1 << enum roster_profile. */
struct identity_policies *identity_policies_load(const struct settings *s, unsigned offered, struct err *e);
void identity_policies_free(struct identity_policies *p);

#endif
