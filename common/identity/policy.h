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
    STACK_OF(X509) *issuers;        /* owned: of the others too, as far as they can be read: their CRLs may lie in the same folder */
    struct buf anchors;             /* the same as PEM, for the fronts' handshakes */
};

/* Which profiles a daemon serves: depositors at ingest, the others at the exporter; an OR of 1 << enum roster_profile. */
struct identity_policies *identity_policies_load(const struct settings *s, unsigned offered, struct err *e);
void identity_policies_free(struct identity_policies *p);

/* The key that profile's settings begin with: "profiles.depositor". */
const char *policy_key(enum roster_profile profile);
/* An http: or https: URL with a host. */
bool policy_is_url(const char *text);

/*
 * Certificates from files. ERR_INPUT begins with the file's name, or with `what`. A file of more than `most` bytes, or that is none (a pipe, a folder), is refused;
 * `out` is owned and prepared here. At least one certificate; other PEM blocks are passed over. Owned: policy_certificates_free().
 */
MUST_CHECK bool policy_read_file(const char *path, size_t most, struct buf *out, struct err *e);
STACK_OF(X509) *policy_certificates(struct slice pem, const char *what, struct err *e);
STACK_OF(X509) *policy_load_certificates(const char *path, struct err *e);
void policy_certificates_free(STACK_OF(X509) *all); /* NULL is a no-op */
/* Appends a certificate as PEM. */
MUST_CHECK bool policy_put_pem(struct buf *out, X509 *x, struct err *e);

#endif
