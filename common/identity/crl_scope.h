/*
 * Of which certificates a CRL speaks: issuingDistributionPoint (RFC 5280 5.2.5) against the certificate (6.3.3 b 2). Pure.
 */
#ifndef COFFRE_IDENTITY_CRL_SCOPE_H
#define COFFRE_IDENTITY_CRL_SCOPE_H

#include <openssl/x509v3.h>

#include "common/values/buf.h"

enum { CRL_SCOPE_MAX = 4096 /* bytes of the extension */ };

/*
 * Reads the extension's contents. `*idp` is owned (ISSUING_DIST_POINT_free()). ERR_INPUT: broken, indirect, for some reasons or for attributes only,
 * for users and authorities only at once.
 */
MUST_CHECK bool crl_scope_read(struct slice extension, const X509_NAME *issuer, ISSUING_DIST_POINT **idp, struct err *e);

/* Whether a list with this scope (NULL: none given, so everything) speaks of a certificate of the same issuer, for all reasons. */
bool crl_scope_covers(const ISSUING_DIST_POINT *idp, X509 *certificate);

#endif
