/*
 * Who may sign an OCSP response about a certificate (RFC 6960 4.2.2.2): its issuer, or a responder to which the issuer itself delegated that. Checked here
 * and not by OCSP_basic_verify(), which also takes any responder a trusted root is marked for, and certificates with a path to it. Pure.
 */
#ifndef COFFRE_IDENTITY_OCSP_SIGNER_H
#define COFFRE_IDENTITY_OCSP_SIGNER_H

#include <openssl/ocsp.h>

#include "common/values/err.h"

enum { OCSP_SIGNER_CERTIFICATES_MAX = 10 /* that a response may carry */ };

/*
 * The certificate whose key verified the response: `issuer`, or one that the response carries; borrowed from either. NULL with ERR_INPUT: a weak signature, a wrong
 * one, or of somebody who may not; `now` in ms since 1970.
 */
X509 *ocsp_signer_find(const OCSP_BASICRESP *basic, X509 *certificate, X509 *issuer, int64_t now, struct err *e);

#endif
