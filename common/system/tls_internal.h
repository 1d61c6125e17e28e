/* What tls.c, tls_stream.c and tls_peer.c share; nobody else includes it. */
#ifndef COFFRE_TLS_INTERNAL_H
#define COFFRE_TLS_INTERNAL_H

#include "common/system/tls.h"

enum { TLS_READ_BUFFER = 64 * 1024, TLS_RECORD = 16 * 1024 };

struct tls_stream {
    SSL *ssl;
    struct tls_trust *trust; /* a reference of our own; may be NULL */
    int fd;
    int verify_error; /* first X509_V_ERR_… about the peer's chain; X509_V_OK */
    int verify_depth; /* where: 0 is the peer's own certificate */
    X509 *refused;    /* owned: the peer's own certificate when something is wrong with its chain; the session forgets it */
    bool dead;        /* after a fatal error OpenSSL must not be asked for more */
};

/* SSL_CTX_set_verify callbacks (SSL's ex_data 0 is the stream). */
int tls_verify_required(int ok, X509_STORE_CTX *store);
int tls_verify_reported(int ok, X509_STORE_CTX *store);

#endif
