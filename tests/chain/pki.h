/*
 * Software identities for tests: authorities, seal, TSA, regulator, made anew each time. Stands in
 * for the HSM and the ceremony, never for what is being tested. Ends the process when something fails.
 */
#ifndef COFFRE_TESTS_PKI_H
#define COFFRE_TESTS_PKI_H

#include <openssl/x509.h>

#include "common/values/buf.h"

struct pki_identity {
    EVP_PKEY *key;
    X509 *cert;
};

enum pki_kind { PKI_CA, PKI_SEAL, PKI_TSA, PKI_CLIENT, PKI_ENCRYPTION };

/* `issuer` NULL: self-signed. Valid from `from_ms` for `days`. */
struct pki_identity pki_issue(const struct pki_identity *issuer, const char *cn, enum pki_kind kind, int64_t from_ms,
                              int days);
void pki_free(struct pki_identity *id);

/* NAME.pem and NAME.key in `folder`. */
void pki_save(const struct pki_identity *id, const char *folder, const char *name);
struct pki_identity pki_load(const char *folder, const char *name);

/* DER of the certificate, appended. */
void pki_der(const struct pki_identity *id, struct buf *out);
/* RSA PKCS#1 v1.5 with SHA-256, or PSS. */
void pki_sign(const struct pki_identity *id, bool pss, struct slice bytes, struct buf *out);
/* An RFC 3161 token over `imprint` at that time; `ess_sha1`: with the old signing-certificate attribute. */
void pki_stamp(const struct pki_identity *tsa, const uint8_t imprint[32], int64_t at_ms, bool ess_sha1, struct buf *out);

/* CMS files as the vault stores them. `key`: 32 bytes. */
void pki_seal_key(const struct pki_identity *recipient, const uint8_t key[32], struct buf *out);
void pki_seal_event(const uint8_t key[32], const char *key_id, struct slice event, struct buf *out);

/* Ends the process with OpenSSL's reason unless `ok`. */
void pki_must(bool ok, const char *what);

#endif
