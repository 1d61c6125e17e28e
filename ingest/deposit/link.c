/* One connection to a vault: see link.h. */
#include "ingest/deposit/link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

enum {
    RECORD = 16384,                 /* a TLS record's plaintext */
    READ_SIZE = 4 * RECORD,
    HEADERS_MAX = 64,               /* lines, from the server */
    HEADER_BYTES_MAX = 16384,
    OPENING_MS = 20000,             /* TCP, TLS and CONNECTED together */
    SAID_MAX = 200,                 /* bytes told of each part of an ERROR */
};

uint64_t link_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t link_now_ms(void)
{
    return link_now_ns() / 1000000u;
}

static int no_passphrase(char *out, int size, int writing, void *context)
{
    (void)out, (void)size, (void)writing, (void)context;
    return -1; /* never ask on the terminal: a key with a passphrase is refused with a message */
}

SSL_CTX *link_tls_context(const char *certificate, const char *key, const char *authorities, struct err *e)
{
    SSL_CTX *c = SSL_CTX_new(TLS_client_method());

    if (c == NULL || SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION) != 1) {
        err_set_openssl(e, ERR_FATAL, "TLS context");
        goto fail;
    }
    SSL_CTX_set_default_passwd_cb(c, no_passphrase);
    SSL_CTX_set_verify(c, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(c, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_options(c, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_read_ahead(c, 1);
    SSL_CTX_set_default_read_buffer_len(c, READ_SIZE);
    if (SSL_CTX_use_certificate_chain_file(c, certificate) != 1) {
        err_set_openssl(e, ERR_INPUT, "certificate %s", certificate);
        goto fail;
    }
    if (SSL_CTX_use_PrivateKey_file(c, key, SSL_FILETYPE_PEM) != 1) {
        err_set_openssl(e, ERR_INPUT, "key %s (an unencrypted PEM key that goes with %s)", key, certificate);
        goto fail;
    }
    if (SSL_CTX_load_verify_locations(c, authorities, NULL) != 1) {
        err_set_openssl(e, ERR_INPUT, "authorities %s", authorities);
        goto fail;
    }
    return c;
fail:
    SSL_CTX_free(c);
    return NULL;
}

static int connect_to(const struct addrinfo *a)
{
    int one = 1;
    int fd = socket(a->ai_family, a->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, a->ai_protocol);

    if (fd < 0)
        return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, a->ai_addr, a->ai_addrlen) == 0 || errno == EINPROGRESS)
        return fd;
    close(fd);
    return -1;
}

/* RFC 6125: the name or address asked for must be in the certificate. */
static bool expect_name(SSL *ssl, const char *host)
{
    uint8_t address[sizeof(struct in6_addr)];

    if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    return SSL_set_tlsext_host_name(ssl, host) == 1 && SSL_set1_host(ssl, host) == 1;
}

static bool make_ssl(struct link *l, struct err *e)
{
    l->ssl = SSL_new(l->target->tls);
    if (l->ssl == NULL || SSL_set_fd(l->ssl, l->fd) != 1 || !expect_name(l->ssl, l->target->host))
        return err_set_openssl(e, ERR_FATAL, "TLS session");
    SSL_set_connect_state(l->ssl);
    return true;
}

bool link_open(struct link *l, const struct link_target *target, struct err *e)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *found = NULL;
    struct stomp_limits limits = {HEADERS_MAX, HEADER_BYTES_MAX, target->body_max};
    int code = getaddrinfo(target->host, target->port, &hints, &found);

    *l = (struct link){.target = target, .state = LINK_CONNECTING, .fd = -1};
    buf_init(&l->in, target->body_max + HEADER_BYTES_MAX + READ_SIZE);
    buf_init(&l->out, target->out_max);
    stomp_parser_init(&l->parser, true, &limits);
    l->heard = l->said = link_now_ms();
    if (code != 0) {
        err_set(e, ERR_RETRY, "%s port %s: %s", target->host, target->port, gai_strerror(code));
        goto fail;
    }
    for (struct addrinfo *a = found; a != NULL && l->fd < 0; a = a->ai_next)
        l->fd = connect_to(a);
    freeaddrinfo(found);
    if (l->fd < 0) {
        err_set_errno(e, ERR_RETRY, "%s port %s", target->host, target->port);
        goto fail;
    }
    if (make_ssl(l, e))
        return true;
fail:
    link_close(l);
    return false;
}

void link_close(struct link *l)
{
    if (l->ssl != NULL && l->state == LINK_READY)
        SSL_shutdown(l->ssl);
    SSL_free(l->ssl);
    if (l->target != NULL && l->fd >= 0)
        close(l->fd);
    stomp_parser_free(&l->parser);
    buf_free(&l->in);
    buf_free(&l->out);
    ERR_clear_error();
    l->ssl = NULL;
    l->fd = -1;
    l->state = LINK_CLOSED;
}

short link_events(const struct link *l)
{
    bool write = l->want_write || l->state == LINK_CONNECTING || (l->state >= LINK_OPENING && l->out.len > 0);

    return (short)(POLLIN | (write ? POLLOUT : 0));
}

static bool lost(struct link *l)
{
    l->state = LINK_CLOSED;
    return false;
}

/* A handshake that failed on a certificate will fail again: say so instead of trying for ever. */
static bool lost_tls(struct link *l, const char *what)
{
    unsigned long queued = ERR_peek_error();
    long verdict = SSL_get_verify_result(l->ssl);
    int reason = ERR_GET_REASON(queued);
    bool alert = ERR_GET_LIB(queued) == ERR_LIB_SSL && reason >= SSL_AD_REASON_OFFSET + SSL_AD_BAD_CERTIFICATE &&
                 reason <= SSL_AD_REASON_OFFSET + SSL_AD_ACCESS_DENIED;
    bool missing = ERR_GET_LIB(queued) == ERR_LIB_SSL && reason == SSL_AD_REASON_OFFSET + SSL_AD_CERTIFICATE_REQUIRED;

    if (verdict != X509_V_OK)
        err_set(&l->why, ERR_DENIED, "the server's certificate is not accepted: %s",
                X509_verify_cert_error_string(verdict));
    else if ((l->refused = alert || missing))
        err_set_openssl(&l->why, ERR_DENIED, "the server refuses our certificate");
    else if (queued != 0)
        err_set_openssl(&l->why, ERR_RETRY, "TLS, %s", what);
    else
        err_set(&l->why, ERR_RETRY, "the server closed the connection while %s", what);
    ERR_clear_error();
    return lost(l);
}

/* What an SSL call's failure means: wait (true) or the end (false). */
static bool tls_waits(struct link *l, int result, const char *what)
{
    int kind = SSL_get_error(l->ssl, result);

    if (kind == SSL_ERROR_WANT_READ)
        return true;
    if (kind == SSL_ERROR_WANT_WRITE) {
        l->want_write = true;
        return true;
    }
    if (kind == SSL_ERROR_SYSCALL && ERR_peek_error() == 0 && errno != 0) {
        err_set_errno(&l->why, ERR_RETRY, "the connection broke while %s", what);
        return lost(l);
    }
    return lost_tls(l, what);
}

static bool send_connect(struct link *l)
{
    const struct link_target *t = l->target;
    struct stomp_writer w;
    char beat[32];

    snprintf(beat, sizeof beat, "%u,%u", t->heart_beat, t->heart_beat);
    stomp_open(&w, &l->out, STOMP_OPENING, STOMP_CONNECT);
    stomp_add(&w, STOMP_ACCEPT_VERSION, SLICE_LITERAL("1.2"));
    stomp_add(&w, STOMP_HOST, slice_text(t->virtual_host != NULL ? t->virtual_host : t->host));
    stomp_add(&w, STOMP_HEART_BEAT, slice_text(beat));
    if (!stomp_close(&w, slice_of(NULL, 0), &l->why))
        return lost(l);
    l->state = LINK_OPENING;
    return true;
}

static bool finish_connect(struct link *l)
{
    int problem = 0;
    socklen_t size = sizeof problem;

    if (getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &problem, &size) != 0 || problem != 0) {
        errno = problem != 0 ? problem : errno;
        err_set_errno(&l->why, ERR_RETRY, "%s port %s", l->target->host, l->target->port);
        return lost(l);
    }
    l->state = LINK_SHAKING;
    return true;
}

static bool shake(struct link *l)
{
    int result;

    l->want_write = false;
    ERR_clear_error();
    errno = 0;
    result = SSL_do_handshake(l->ssl);
    if (result != 1)
        return tls_waits(l, result, "shaking hands");
    return send_connect(l);
}

bool link_flush(struct link *l)
{
    if (l->state < LINK_OPENING || l->state == LINK_CLOSED)
        return l->state != LINK_CLOSED;
    l->want_write = false;
    while (l->out.len > 0) {
        struct slice waiting = buf_slice(&l->out);
        size_t written = 0;
        int result;

        ERR_clear_error();
        errno = 0;
        result = SSL_write_ex(l->ssl, waiting.at, waiting.len < RECORD ? waiting.len : RECORD, &written);
        if (result != 1)
            return tls_waits(l, result, "sending");
        buf_consume(&l->out, written);
        l->said = link_now_ms();
    }
    return true;
}

/* Without the line's end, and without the vault's name for itself in front. */
static struct slice sentence_of(struct slice body)
{
    static const char own[] = "coffre: ";
    size_t skip = sizeof own - 1;

    if (body.len >= skip && memcmp(body.at, own, skip) == 0)
        body = slice_of(body.at + skip, body.len - skip);
    while (body.len > 0 && (body.at[body.len - 1] == '\n' || body.at[body.len - 1] == '\r'))
        body.len--;
    return body.len > SAID_MAX ? slice_of(body.at, SAID_MAX) : body;
}

bool link_take_error(struct link *l, const struct stomp_frame *f, struct err *e)
{
    struct slice message = stomp_get(f, STOMP_MESSAGE_TEXT), said = sentence_of(f->body);
    int len = (int)(message.len > SAID_MAX ? SAID_MAX : message.len), said_len = (int)said.len;
    const char *text = message.at == NULL ? "" : (const char *)message.at, *words = said.at == NULL ? "" : (const char *)said.at;

    /* coffre-ingest(8), "ERROR": these headers are always the same words. A binding may still be made. */
    l->refused = slice_is(message, "certificate refused") || slice_is(message, "certificate not bound to a depositor") ||
                 slice_is(message, "certificate no longer bound to a depositor");
    if (l->refused)
        return err_set(e, slice_is(message, "certificate refused") ? ERR_DENIED : ERR_RETRY, "the vault refuses our certificate: %.*s",
                       said_len > 0 ? said_len : len, said_len > 0 ? words : text);
    return err_set(e, ERR_RETRY, "the vault %s the session: %.*s%s%.*s", l->state == LINK_READY ? "ends" : "refuses", len, text,
                   said_len > 0 ? ": " : "", said_len, words);
}

static bool opened(struct link *l, const struct stomp_frame *f)
{
    struct slice server = stomp_get(f, STOMP_SERVER);
    uint64_t sends = 0, wants = 0, own = l->target->heart_beat;

    if (f->command == STOMP_ERROR)
        return link_take_error(l, f, &l->why) || lost(l);
    if (f->command != STOMP_CONNECTED || !slice_is(stomp_get(f, STOMP_VERSION), "1.2")) {
        err_set(&l->why, ERR_DENIED, "the server does not speak STOMP 1.2");
        return lost(l);
    }
    if (stomp_has(f, STOMP_HEART_BEAT) && !stomp_heart_beat(stomp_get(f, STOMP_HEART_BEAT), &sends, &wants)) {
        err_set(&l->why, ERR_RETRY, "a heart-beat header that is none");
        return lost(l);
    }
    l->say_every = own == 0 || wants == 0 ? 0 : (own > wants ? own : wants);
    l->hear_every = own == 0 || sends == 0 ? 0 : (own > sends ? own : sends);
    snprintf(l->server, sizeof l->server, "%.*s", (int)(server.len > 60 ? 60 : server.len),
             server.at == NULL ? "" : (const char *)server.at);
    l->parser.version = STOMP_1_2;
    l->state = LINK_READY;
    return true;
}

static bool take_frames(struct link *l, link_frame_fn *on_frame, void *context)
{
    for (;;) {
        struct stomp_frame f;
        size_t used = 0;
        enum stomp_result result = stomp_parse(&l->parser, buf_slice(&l->in), &used, &f, &l->why);

        if (result == STOMP_BAD)
            return lost(l);
        if (result == STOMP_FRAME && !(l->state == LINK_OPENING ? opened(l, &f) : on_frame(context, &f, &l->why)))
            return lost(l);
        buf_consume(&l->in, used);
        if (result == STOMP_MORE)
            return true;
    }
}

static bool read_some(struct link *l, link_frame_fn *on_frame, void *context)
{
    for (;;) { /* until the socket is dry: what OpenSSL has read ahead wakes no poll() */
        size_t got = 0;
        uint8_t *room = buf_reserve(&l->in, RECORD, &l->why);
        int result;

        if (room == NULL)
            return lost(l);
        ERR_clear_error();
        errno = 0;
        result = SSL_read_ex(l->ssl, room, RECORD, &got);
        if (result != 1) {
            if (SSL_get_error(l->ssl, result) == SSL_ERROR_WANT_READ)
                return true;
            if (SSL_get_error(l->ssl, result) == SSL_ERROR_ZERO_RETURN) {
                err_set(&l->why, ERR_RETRY, "the server ended the session");
                return lost(l);
            }
            return tls_waits(l, result, "waiting for an answer");
        }
        buf_commit(&l->in, got);
        l->heard = link_now_ms();
        if (!take_frames(l, on_frame, context))
            return false;
    }
}

/* STOMP 1.2, "Heart-beating": a late heart-beat is forgiven once its period again. */
static bool keep_alive(struct link *l)
{
    uint64_t now = link_now_ms();

    if (l->state < LINK_READY && now - l->heard > OPENING_MS) {
        err_set(&l->why, ERR_RETRY, "no session after %d s", OPENING_MS / 1000);
        return lost(l);
    }
    if (l->state != LINK_READY)
        return true;
    if (l->hear_every != 0 && now - l->heard > 2 * l->hear_every) {
        err_set(&l->why, ERR_RETRY, "the server is silent for %llu ms", (unsigned long long)(now - l->heard));
        return lost(l);
    }
    if (l->say_every != 0 && now - l->said >= l->say_every / 2 && l->out.len == 0)
        return buf_add(&l->out, "\n", 1, &l->why) ? true : lost(l);
    return true;
}

bool link_turn(struct link *l, short revents, link_frame_fn *on_frame, void *context)
{
    if (l->state == LINK_CONNECTING && revents != 0 && !finish_connect(l))
        return false;
    if (l->state == LINK_SHAKING && !shake(l))
        return false;
    if (l->state >= LINK_OPENING && (revents & (POLLIN | POLLHUP | POLLERR)) != 0 && !read_some(l, on_frame, context))
        return false;
    return keep_alive(l) && link_flush(l);
}
