/* What a front shows strangers and asks of them: see tls_trust.h. */
#include "common/system/tls_trust.h"

#include <stdlib.h>

#include "common/system/tls_internal.h"

struct tls_trust {
    unsigned users;
    SSL_CTX *context;
    struct remote_key *key;
    struct slice staple; /* owned; empty: none */
};

static void drop_staple(struct tls_trust *t)
{
    free((void *)(uintptr_t)t->staple.at);
    t->staple = slice_of(NULL, 0);
}

/* A client that asks for the certificate's status (RFC 6066 8) gets what is held; OpenSSL frees the copy. */
static int give_staple(SSL *ssl, void *arg)
{
    const struct tls_trust *t = arg;
    unsigned char *copy = t->staple.len == 0 ? NULL : OPENSSL_memdup(t->staple.at, t->staple.len);

    if (copy == NULL)
        return SSL_TLSEXT_ERR_NOACK;
    SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)t->staple.len);
    return SSL_TLSEXT_ERR_OK;
}

struct tls_trust *tls_trust_new(const struct tls_trust_options *o, struct remote_line *keys, struct err *e)
{
    struct tls_trust *t = mem_zalloc(1, sizeof *t);
    struct tls_server_parts parts = {.chain = o->chain, .anchors = o->anchors, .depth = o->depth, .client = o->client};

    t->users = 1;
    t->key = remote_key_new(keys, o->chain, e);
    if (t->key != NULL) {
        parts.key = remote_key_pkey(t->key);
        t->context = tls_server_make(&parts, e);
    }
    if (t->context == NULL) {
        tls_trust_release(t);
        return NULL;
    }
    SSL_CTX_set_tlsext_status_cb(t->context, give_staple);
    SSL_CTX_set_tlsext_status_arg(t->context, t);
    return t;
}

void tls_trust_release(struct tls_trust *t)
{
    if (t == NULL || --t->users != 0)
        return;
    SSL_CTX_free(t->context);
    remote_key_free(t->key);
    drop_staple(t);
    free(t);
}

bool tls_trust_try(struct tls_trust *t, struct err *e)
{
    return remote_key_try(t->key, e);
}

void tls_trust_staple(struct tls_trust *t, struct slice response)
{
    uint8_t *copy;

    drop_staple(t);
    if (response.len == 0 || response.len > TLS_STAPLE_MAX)
        return;
    copy = mem_alloc(response.len);
    memcpy(copy, response.at, response.len);
    t->staple = slice_of(copy, response.len);
}

struct tls_stream *tls_trust_accept(struct tls_trust *t, int fd, struct err *e)
{
    struct tls_stream *s = tls_stream_accept(t->context, fd, e);

    if (s != NULL) {
        s->trust = t;
        t->users++;
    }
    return s;
}
