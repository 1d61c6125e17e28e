/* Certificates made on the spot for tests: keys, authorities and leaves with whatever is wrong with them. */
#ifndef COFFRE_TESTS_CERTIFICATES_H
#define COFFRE_TESTS_CERTIFICATES_H

#include <stdbool.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

struct issued {
    EVP_PKEY *key;
    X509 *certificate;
};

struct wanted {
    const char *cn, *ou, *second_cn; /* NULL: absent */
    const char *eku;                 /* "clientAuth", "serverAuth"; NULL: no extension */
    const char *usage;               /* "digitalSignature", …; NULL: no extension */
    const char *host;                /* DNS name; NULL: none */
    long from, until;                /* seconds from now */
    bool authority;
};

EVP_PKEY *certificates_rsa(unsigned bits);
EVP_PKEY *certificates_ec(const char *curve);

/* A certificate for `key` (taken over) by `issuer` (NULL: by itself). Ends the test on failure. */
struct issued certificates_issue(EVP_PKEY *key, const struct wanted *w, const struct issued *issuer);
void certificates_free(struct issued *i);

/* Writes PEM files: the certificate followed by `chain` (may be NULL), the key with mode 0600. */
void certificates_write(const struct issued *i, const struct issued *chain, const char *certificate, const char *key);

#endif
