/* Non-blocking TLS between a descriptor and struct buf: see tls.h. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <arpa/inet.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "common/system/tls_internal.h"
#include "common/system/tls_trust.h"

static struct tls_stream *new_stream(SSL_CTX *context, int fd, struct err *e)
{
    struct tls_stream *s = mem_zalloc(1, sizeof *s);
    int one = 1;

    s->fd = fd;
    s->ssl = SSL_new(context);
    if (s->ssl == NULL || SSL_set_fd(s->ssl, fd) != 1) {
        err_set_openssl(e, ERR_FATAL, "TLS: no session");
        SSL_free(s->ssl);
        free(s);
        return NULL;
    }
    SSL_set_app_data(s->ssl, s);
    /* Records are written whole: nothing is gained by the kernel waiting for more. Not a TCP socket in tests. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return s;
}

struct tls_stream *tls_stream_accept(SSL_CTX *context, int fd, struct err *e)
{
    struct tls_stream *s = new_stream(context, fd, e);

    if (s != NULL)
        SSL_set_accept_state(s->ssl);
    return s;
}

static bool expect_host(SSL *ssl, const char *host)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    unsigned char address[16];

    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1;
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

struct tls_stream *tls_stream_connect(SSL_CTX *context, int fd, const char *host, struct err *e)
{
    struct tls_stream *s = new_stream(context, fd, e);

    if (s == NULL)
        return NULL;
    if (!expect_host(s->ssl, host)) {
        err_set_openssl(e, ERR_INPUT, "TLS: \"%s\" is no host name", host);
        s->fd = -1; /* stays the caller's */
        tls_stream_free(s);
        return NULL;
    }
    SSL_set_connect_state(s->ssl);
    return s;
}

void tls_stream_free(struct tls_stream *s)
{
    if (s == NULL)
        return;
    SSL_free(s->ssl);
    X509_free(s->refused);
    tls_trust_release(s->trust); /* after the session that uses it */
    if (s->fd >= 0)
        close(s->fd);
    free(s);
}

void tls_keep_buffers(struct tls_stream *s)
{
    SSL_clear_mode(s->ssl, SSL_MODE_RELEASE_BUFFERS);
}

void tls_free_buffers(struct tls_stream *s)
{
    /* What was taken from them has been wiped already (SSL_OP_CLEANSE_PLAINTEXT). OpenSSL does not see a record half taken. */
    if (!s->dead && SSL_has_pending(s->ssl) == 0)
        (void)SSL_free_buffers(s->ssl);
}

int tls_fd(const struct tls_stream *s)
{
    return s->fd;
}

static bool is_reason(int reason)
{
    return ERR_GET_LIB(ERR_peek_error()) == ERR_LIB_SSL && ERR_GET_REASON(ERR_peek_error()) == reason;
}

/* Whether a client's certificates are more than are read. Another message too long is of nobody who is anybody. */
static bool is_chain_excessive(const struct tls_stream *s)
{
    return SSL_is_server(s->ssl) != 0 && SSL_get_state(s->ssl) == TLS_ST_SR_CERT && is_reason(SSL_R_EXCESSIVE_MESSAGE_SIZE);
}

/* What OpenSSL's result means; `n` is what the call returned (not positive). */
static enum tls_result failed(struct tls_stream *s, int n, const char *doing, struct err *e)
{
    int saved = errno;

    switch (SSL_get_error(s->ssl, n)) {
    case SSL_ERROR_WANT_READ:
        return TLS_WANT_READ;
    case SSL_ERROR_WANT_WRITE:
        return TLS_WANT_WRITE;
    case SSL_ERROR_ZERO_RETURN:
        return TLS_CLOSED;
    case SSL_ERROR_SYSCALL:
        s->dead = true;
        errno = saved;
        if (ERR_peek_error() != 0)
            err_set_openssl(e, ERR_RETRY, "TLS %s", doing);
        else if (saved != 0)
            err_set_errno(e, ERR_RETRY, "TLS %s", doing);
        else
            err_set(e, ERR_RETRY, "TLS %s: the peer closed the connection", doing);
        return TLS_ERROR;
    default:
        s->dead = true;
        if (s->verify_error == X509_V_OK && is_chain_excessive(s))
            s->verify_error = X509_V_ERR_CERT_CHAIN_TOO_LONG;
        if (is_chain_excessive(s))
            err_set(e, ERR_DENIED, "TLS %s: more than %d bytes of certificates were presented", doing, TLS_CHAIN_BYTES);
        else if (s->verify_error != X509_V_OK)
            err_set(e, ERR_DENIED, "TLS %s: certificate refused (depth %d): %s", doing, s->verify_depth,
                    X509_verify_cert_error_string(s->verify_error));
        else if (SSL_get_verify_result(s->ssl) != X509_V_OK)
            err_set(e, ERR_DENIED, "TLS %s: certificate refused: %s", doing,
                    X509_verify_cert_error_string(SSL_get_verify_result(s->ssl)));
        else if (is_reason(SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE))
            err_set(e, ERR_DENIED, "TLS %s: no certificate was presented", doing);
        err_set_openssl(e, ERR_RETRY, "TLS %s", doing);
        return TLS_ERROR;
    }
}

/* Before each call: an old error in the thread's queue would be taken for this call's. */
static bool ready(struct tls_stream *s, struct err *e)
{
    if (s->dead)
        return err_set(e, ERR_RETRY, "TLS: the connection has failed before");
    ERR_clear_error();
    errno = 0;
    return true;
}

enum tls_result tls_handshake(struct tls_stream *s, struct err *e)
{
    enum tls_result r;
    int n;

    if (!ready(s, e))
        return TLS_ERROR;
    n = SSL_do_handshake(s->ssl);
    if (n == 1)
        return TLS_OK;
    r = failed(s, n, "handshake", e);
    if (r != TLS_CLOSED)
        return r;
    s->dead = true;
    err_set(e, ERR_RETRY, "TLS handshake: the peer closed the connection");
    return TLS_ERROR;
}

enum tls_result tls_read(struct tls_stream *s, struct buf *in, size_t most, struct err *e)
{
    size_t added = 0;

    if (!ready(s, e))
        return TLS_ERROR;
    while (added < most) {
        size_t room = in->max - in->len, got = 0;
        uint8_t *at;
        int n;

        if (room > TLS_RECORD)
            room = TLS_RECORD;
        if (room > most - added)
            room = most - added;
        if (room == 0)
            return TLS_OK;
        at = buf_reserve(in, room, e);
        if (at == NULL)
            return TLS_ERROR;
        n = SSL_read_ex(s->ssl, at, room, &got);
        if (n != 1)
            return failed(s, n, "read", e);
        buf_commit(in, got);
        added += got;
        /* All that one read() brought is taken. Whether there is more, poll() says together with all else it says. */
        if (got < room && SSL_has_pending(s->ssl) == 0)
            return TLS_WANT_READ;
    }
    return TLS_OK;
}

bool tls_buffered(const struct tls_stream *s)
{
    return SSL_has_pending(s->ssl) == 1;
}

enum tls_result tls_write(struct tls_stream *s, struct buf *out, struct err *e)
{
    if (!ready(s, e))
        return TLS_ERROR;
    while (out->len != 0) {
        struct slice held = buf_slice(out);
        size_t sent = 0;
        int n = SSL_write_ex(s->ssl, held.at, held.len, &sent);

        if (n != 1)
            return failed(s, n, "write", e);
        buf_consume(out, sent);
    }
    return TLS_OK;
}

void tls_close(struct tls_stream *s)
{
    if (s->dead || SSL_in_init(s->ssl))
        return;
    ERR_clear_error();
    SSL_shutdown(s->ssl);
    ERR_clear_error();
}
