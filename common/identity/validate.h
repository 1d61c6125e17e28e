/*
 * Whether a certificate chain satisfies a profile's policy: everything but revocation's network. Pure: time and revocation answers are given. What is
 * judged here is a stranger's.
 */
#ifndef COFFRE_IDENTITY_VALIDATE_H
#define COFFRE_IDENTITY_VALIDATE_H

#include "common/identity/policy.h"
#include "common/system/tls.h"

/* Each is one word for programs (validate_code()) and one sentence for strangers (validate_sentence()); the reason for log and journal is longer. */
enum identity_check {
    IDENTITY_PASSED,
    IDENTITY_MISSING,     /* certificate-missing */
    IDENTITY_MALFORMED,   /* certificate-malformed: not X.509 */
    IDENTITY_FOREIGN,     /* certificate-foreign: no configured authority (RFC 5280 6.1) */
    IDENTITY_EXPIRED,     /* certificate-expired, of any certificate of the chain (4.1.2.5) */
    IDENTITY_NOT_YET,     /* certificate-not-yet-valid */
    IDENTITY_CONSTRAINTS, /* certificate-constraints: basic constraints, path length, name constraints, depth (4.2.1.9, 4.2.1.10) */
    IDENTITY_USAGE,       /* certificate-usage: key usage, extended key usage clientAuth (4.2.1.3, 4.2.1.12) */
    IDENTITY_WEAK,        /* certificate-weak: key or signature algorithm */
    IDENTITY_INVALID,     /* certificate-invalid: anything else OpenSSL finds */
    IDENTITY_REVOKED,     /* certificate-revoked */
    IDENTITY_UNCHECKED,   /* revocation-unknown: no valid CRL or OCSP answer, and the policy is to refuse then */
    IDENTITY_SUBJECT,     /* certificate-subject: no readable CN and OU */
    IDENTITY_ADDRESS,     /* address-not-allowed */
    IDENTITY_FULL,        /* identity-full: its front has presented so much that this one is not looked at */
    IDENTITY_CHECKS
};
const char *validate_code(enum identity_check check);
const char *validate_sentence(enum identity_check check); /* what the wire may say */

/* Which of them what OpenSSL found (X509_V_ERR_…) belongs to. */
enum identity_check validate_fault(long fault);

/* A chain as presented: the peer's own certificate first. */
struct identity_chain {
    X509 *leaf;
    STACK_OF(X509) *others; /* may be NULL */
};

/* Chain, dates, constraints, usage, strength. On IDENTITY_PASSED `*path` is the verified path, leaf first, anchor last (owned: policy_certificates_free()). */
enum identity_check validate_chain(const struct identity_policy *p, const struct identity_chain *chain, int64_t now, STACK_OF(X509) **path, struct err *why);

/* The earliest notAfter of a path, ms since 1970. */
int64_t validate_path_end(STACK_OF(X509) *path);

/*
 * Weighs what CRLs and OCSP say of one certificate by the policy. `crl` and `ocsp` are REVOCATION_UNKNOWN where nothing was found. REVOCATION_UNKNOWN: the policy is not satisfied (hard fail).
 */
enum revocation_answer validate_weigh(enum revocation_policy policy, enum revocation_answer crl, enum revocation_answer ocsp);

#endif
