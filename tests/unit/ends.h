/* Two ends of a socket pair that shake hands by TLS: our server with certificates made on the spot, and a client with whatever a test gives it. Failures end the test. */
#ifndef COFFRE_TESTS_ENDS_H
#define COFFRE_TESTS_ENDS_H

#include "common/system/remote_key.h"
#include "common/system/tls.h"
#include "tests/unit/certificates.h"

enum { ENDS_DAY = 86400 };

/* The authority of both ends, which signs the server's certificates; a stranger to both. */
struct ends_pki {
    struct issued authority, stranger, server_rsa, server_ec;
};
extern struct ends_pki ends_pki;

/* Set-up and tear-down of a group, with files in the folder of folder.h: "ca", "server-rsa", "server-ec", each .pem and .key. */
int ends_set_up(void **state);
int ends_tear_down(void **state);

struct ends_setup {
    enum tls_client mode;
    const char *server;        /* name of the files; NULL: "server-rsa" */
    struct remote_key *remote; /* NULL: the key is loaded */
    const char *client;        /* name of the files; NULL: no certificate */
    const char *host;          /* NULL: "vault.test" */
    int version;               /* 0: any */
    bool careless;             /* a client that would show anything */
};

struct ends {
    SSL_CTX *server_context, *client_context;
    struct tls_stream *server, *client;
    enum tls_result server_result, client_result; /* of the handshake */
    struct err server_err, client_err;
};

/* Both ends, after they have shaken hands or failed to. */
struct ends ends_connect(const struct ends_setup *s);
void ends_close(struct ends *p);

/* What a client's certificate should be, but for what is the same in all (cn, from, until). */
extern const struct wanted ends_good;
/* Issues a client's certificate, with files named "client". */
void ends_make_client(EVP_PKEY *key, struct wanted w, const struct issued *issuer);

/* A PEM file of the folder, whole; the caller's to free. */
struct buf ends_pem(const char *name);

#endif
