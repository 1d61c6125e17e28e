/*
 * TLS 1.2 and 1.3 for event loops: contexts with the vault's rules (RFC 8446, RFC 5246; no renegotiation, no
 * compression, no resumption), non-blocking streams between a descriptor and struct buf, and who the peer is.
 * Everything that comes through here is a stranger's; certificates are believed only when tls_peer_verified().
 */
#ifndef COFFRE_TLS_H
#define COFFRE_TLS_H

#include <openssl/ssl.h>

#include "common/values/buf.h"

struct tls_trust;

enum tls_client {
    TLS_CLIENT_REQUIRED, /* the handshake fails unless the client's certificate validates */
    TLS_CLIENT_REPORTED, /* the handshake completes whatever the certificate; tls_peer_verified() says what is wrong */
};

/* What a server's context is made of: no file is read. Slices are borrowed for the call. */
struct tls_server_parts {
    struct slice chain;    /* PEM: own certificate, then its chain */
    EVP_PKEY *key;         /* its private key, or one that signs elsewhere (remote_key_pkey(): must outlive the context) */
    struct slice anchors;  /* PEM: the only authorities clients may chain to */
    unsigned depth;        /* intermediate certificates between a client's and an authority's, at most */
    enum tls_client client;
};

struct tls_client_options {
    const char *ca;          /* PEM bundle the server must chain to */
    const char *certificate; /* PEM: own certificate and chain; NULL: none */
    const char *key;         /* PEM private key; NULL: none */
};

/*
 * Contexts, owned: SSL_CTX_free(). ERR_INPUT names what is wrong, or the file. A client certificate is accepted only with
 * extended key usage clientAuth present (RFC 5280 4.2.1.12), digitalSignature when a key usage is present (4.2.1.3), in
 * date, chained to an anchor, and a key of at least RSA 2048 or P-256.
 */
SSL_CTX *tls_server_make(const struct tls_server_parts *p, struct err *e);
SSL_CTX *tls_client_context(const struct tls_client_options *o, struct err *e);

/* Makes the library read, load and fetch now what it otherwise would on first use: call it before sandbox_enter(). */
MUST_CHECK bool tls_prepare(struct err *e);

enum tls_result {
    TLS_OK,
    TLS_WANT_READ,  /* call again when the descriptor is readable */
    TLS_WANT_WRITE, /* call again when it is writable */
    TLS_CLOSED,     /* the peer said close_notify, or closed the connection between two records */
    TLS_ERROR,      /* `e` says why; nothing more can be read or written */
};

struct tls_stream;

/*
 * A stream over `fd` (connected, non-blocking; taken over and closed by tls_stream_free()). `host` is the name
 * (or address) the server's certificate must carry (RFC 6125). NULL with `e` when memory or the library refuses; `fd` stays the caller's then.
 */
struct tls_stream *tls_stream_accept(SSL_CTX *context, int fd, struct err *e);
struct tls_stream *tls_stream_connect(SSL_CTX *context, int fd, const char *host, struct err *e);

/* Closes without a word; tls_close() before it says good-bye. NULL is a no-op. */
void tls_stream_free(struct tls_stream *s);
int tls_fd(const struct tls_stream *s);

/*
 * A stream gives its buffers (some 80 KiB) back, wiped, after every record it reads and writes: right for one that is mostly silent, a third of
 * the processor time of one that is not. tls_keep_buffers(): it keeps them, until tls_free_buffers() finds nothing in them.
 */
void tls_keep_buffers(struct tls_stream *s);
void tls_free_buffers(struct tls_stream *s);

/* Never TLS_CLOSED: a peer that leaves during the handshake is an error; ERR_DENIED: it was refused because of its certificate, or for want of one. */
enum tls_result tls_handshake(struct tls_stream *s, struct err *e);

/*
 * Appends what has arrived to `in`, until the descriptor seems to have no more (TLS_WANT_READ: poll, level-triggered) or `most` bytes were added (TLS_OK:
 * more may wait inside the library, which no poll will tell: call again before polling, see tls_buffered()).
 * Also stops with TLS_OK when `in` is at its maximum. Bytes may have been added whatever the result.
 */
enum tls_result tls_read(struct tls_stream *s, struct buf *in, size_t most, struct err *e);

/* True when bytes already taken from the descriptor wait inside the library. After TLS_WANT_READ they are part of a record: poll. */
bool tls_buffered(const struct tls_stream *s);

/* Sends from the front of `out`, in records as large as TLS allows, consuming what was taken. TLS_OK: `out` is empty. */
enum tls_result tls_write(struct tls_stream *s, struct buf *out, struct err *e);

/* Sends close_notify once, not waiting for the peer's; best effort. */
void tls_close(struct tls_stream *s);

/* After the handshake: is the peer's certificate there, and did it validate? False: `e` (ERR_DENIED) says what is wrong. */
MUST_CHECK bool tls_peer_verified(const struct tls_stream *s, struct err *e);

enum {
    TLS_NAME_MAX = 255,   /* bytes of a CN, OU or alternative name; X.520 allows 64 characters */
    TLS_SERIAL_MAX = 40,  /* hexadecimal digits: 20 octets (RFC 5280 4.1.2.2) */
    TLS_SANS_MAX = 16,
    TLS_SAN_BYTES = 1024, /* of all alternative names of a subject */
};

/* What binds a certificate to a role. */
struct tls_subject {
    char cn[TLS_NAME_MAX + 1]; /* UTF-8, NUL-terminated, no control characters */
    char ou[TLS_NAME_MAX + 1]; /* likewise; "" when the subject has none */
    char serial[TLS_SERIAL_MAX + 2]; /* upper-case hexadecimal without leading zeros, "-" before a negative one; "" when it is over 20 octets */
    unsigned san_count;              /* names that are not of the four kinds, not readable or too many are left out: nothing can be bound to them */
    uint16_t san_at[TLS_SANS_MAX];   /* where each begins in `sans`: see tls_subject_san() */
    char sans[TLS_SAN_BYTES];
};

/* Its ith alternative name (RFC 5280 4.2.1.6): "DNS:…" in lower case, "email:…", "URI:…", "IP:…" (inet_ntop(3)'s form). */
static inline const char *tls_subject_san(const struct tls_subject *s, unsigned i)
{
    return s->sans + s->san_at[i];
}

/*
 * The subject of the peer's certificate, validated or not, and after a handshake that failed because of it too. ERR_DENIED unless there is exactly one CN and at most one OU,
 * both UTF-8 without NUL or control characters.
 */
MUST_CHECK bool tls_peer_subject(const struct tls_stream *s, struct tls_subject *subject, struct err *e);
/* The same from a certificate. */
MUST_CHECK bool tls_subject_of(X509 *certificate, struct tls_subject *subject, struct err *e);

enum {
    TLS_CHAIN_MAX = 10,              /* certificates */
    TLS_CERTIFICATE_MAX = 16 * 1024, /* bytes of one */
    TLS_CHAIN_BYTES = 32 * 1024,     /* of all that a client presents: more ends the handshake before any is looked at */
};

/* Certificates as the peer sent them. */
struct tls_chain {
    unsigned count;
    struct slice der[TLS_CHAIN_MAX]; /* DER, the peer's own first; point into `bytes` */
    uint8_t *bytes;                  /* owned */
};

/*
 * After the handshake: of the certificates that the peer sent besides its own, those that the context has too are kept once for all
 * connections, 6 KiB each. What tls_peer_present() gives stays the same.
 */
void tls_peer_share(struct tls_stream *s);
/*
 * What the peer presented in the handshake, to be judged elsewhere (identity_send_present()); free it with tls_chain_free(), whatever the result. ERR_DENIED: no certificate, or
 * more, or larger ones, than the above.
 */
MUST_CHECK bool tls_peer_present(const struct tls_stream *s, struct tls_chain *chain, struct err *e);
void tls_chain_free(struct tls_chain *chain);

/* The peer's certificate, owned by the caller (X509_free()); NULL: none. */
X509 *tls_peer_certificate(const struct tls_stream *s);
/* The CA certificate that a verified peer's chain ends at; borrowed, as long as the stream. NULL: not verified. */
X509 *tls_peer_root(const struct tls_stream *s);
/* What is wrong with the peer's chain, as X509_V_ERR_…; X509_V_OK: nothing (or there is no certificate). */
long tls_peer_fault(const struct tls_stream *s);

/* For `check` functions: PEM certificate (and chain) and private key that match; ERR_INPUT names the file. */
MUST_CHECK bool tls_check_pair(const char *certificate, const char *key, struct err *e);
/* A PEM bundle with at least one certificate. */
MUST_CHECK bool tls_check_bundle(const char *path, struct err *e);

#endif
