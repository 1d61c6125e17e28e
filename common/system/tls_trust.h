/*
 * What a front shows strangers and asks of them: server certificate, remote key, authorities, stapled OCSP response. Made from memory (IDENTITY_SERVER), never from
 * a file, and replaced as a whole at a reload: a connection keeps, until it ends, the one it began with.
 */
#ifndef COFFRE_TLS_TRUST_H
#define COFFRE_TLS_TRUST_H

#include "common/system/remote_key.h"
#include "common/system/tls.h"

enum { TLS_STAPLE_MAX = 64 * 1024 /* bytes of an OCSP response */ };

struct tls_trust; /* counted references */

struct tls_trust_options {
    struct slice chain;     /* PEM: server certificate, then its chain */
    struct slice anchors;   /* PEM */
    unsigned depth;
    enum tls_client client;
};

/* `keys` must outlive it. NULL with ERR_INPUT: what is wrong. Owned: tls_trust_release(). */
struct tls_trust *tls_trust_new(const struct tls_trust_options *o, struct remote_line *keys, struct err *e);
/* One user less; NULL is a no-op. Streams hold a reference of their own. */
void tls_trust_release(struct tls_trust *t);

/*
 * Has the keys role sign something with the certificate's key: a fresh trust is put in force only after this, so that a handshake never
 * meets a certificate whose key has not been reloaded yet. ERR_RETRY: the role is away, ERR_DENIED: it has another key; try again later.
 */
MUST_CHECK bool tls_trust_try(struct tls_trust *t, struct err *e);

/* What is stapled to the certificate in handshakes from now on (RFC 6066 8, RFC 8446 4.4.2.1); copied. Empty, or over TLS_STAPLE_MAX: nothing. */
void tls_trust_staple(struct tls_trust *t, struct slice response);

/* As tls_stream_accept(): a stream over `fd` with this trust, which it keeps alive. */
struct tls_stream *tls_trust_accept(struct tls_trust *t, int fd, struct err *e);

#endif
