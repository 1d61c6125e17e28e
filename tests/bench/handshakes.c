/*
 * handshakes PORT CERTIFICATE KEY CA 1.2|1.3 CONNECTIONS SECONDS [GREETING]: full TLS handshakes with a client certificate towards localhost, so many
 * connections at a time, each closed and begun anew once the server has said its first bytes inside TLS. With TLS 1.3 that is the only sign that it has
 * accepted the certificate. GREETING ("stomp") is what servers that do not speak first are told. Prints a line of JSON. Only for tests/bench/bench.py.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

enum { CONNECTIONS_MAX = 256, TIMES_MAX = 1 << 20 };

static const char stomp_greeting[] = "CONNECT\naccept-version:1.2\nhost:/\nheart-beat:0,0\n\n";

struct lane {
    SSL *ssl;
    int fd;
    bool shaken; /* the handshake is done and the greeting sent */
    double began;
};

struct run {
    SSL_CTX *context;
    struct sockaddr_in server;
    bool greets;
    unsigned count;
    struct lane lanes[CONNECTIONS_MAX];
    struct pollfd polled[CONNECTIONS_MAX];
    double *times; /* seconds of each */
    size_t done;
};

static void fail(const char *what)
{
    fprintf(stderr, "handshakes: %s: %s\n", what, ERR_peek_error() != 0 ? ERR_error_string(ERR_peek_error(), NULL) : strerror(errno));
    exit(1);
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* CERTIFICATE KEY CA VERSION */
static SSL_CTX *context_of(char **words)
{
    SSL_CTX *c = SSL_CTX_new(TLS_client_method());
    int version = strcmp(words[3], "1.2") == 0 ? TLS1_2_VERSION : TLS1_3_VERSION;

    if (c == NULL || SSL_CTX_use_certificate_chain_file(c, words[0]) != 1 || SSL_CTX_use_PrivateKey_file(c, words[1], SSL_FILETYPE_PEM) != 1)
        fail(words[0]);
    if (SSL_CTX_load_verify_locations(c, words[2], NULL) != 1)
        fail(words[2]);
    SSL_CTX_set_verify(c, SSL_VERIFY_PEER, NULL);
    if (SSL_CTX_set_min_proto_version(c, version) != 1 || SSL_CTX_set_max_proto_version(c, version) != 1)
        fail("version");
    /* Full handshakes only. */
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(c, SSL_OP_NO_TICKET);
    return c;
}

static void begin(struct run *r, unsigned i)
{
    struct lane *l = &r->lanes[i];
    int one = 1;

    l->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (l->fd < 0 || connect(l->fd, (struct sockaddr *)&r->server, sizeof r->server) != 0)
        fail("connect");
    setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    l->ssl = SSL_new(r->context);
    if (l->ssl == NULL || SSL_set_fd(l->ssl, l->fd) != 1 || SSL_set1_host(l->ssl, "localhost") != 1)
        fail("SSL_new");
    SSL_set_tlsext_host_name(l->ssl, "localhost");
    SSL_set_connect_state(l->ssl);
    l->shaken = false;
    l->began = now();
    /* Connecting blocked, on loopback; from here nothing does. */
    if (ioctl(l->fd, FIONBIO, &one) != 0)
        fail("FIONBIO");
    r->polled[i] = (struct pollfd){.fd = l->fd, .events = POLLOUT};
}

static void end(struct lane *l)
{
    /* A reset instead of a good-bye: no port waits two minutes for its last packets. */
    struct linger hard = {.l_onoff = 1, .l_linger = 0};

    SSL_free(l->ssl);
    setsockopt(l->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(l->fd);
}

/* True when the server has spoken. */
static bool step(struct run *r, unsigned i)
{
    struct lane *l = &r->lanes[i];
    char byte;
    int result;

    ERR_clear_error();
    result = l->shaken ? SSL_read(l->ssl, &byte, 1) : SSL_do_handshake(l->ssl);
    if (result == 1 && l->shaken)
        return true;
    if (result == 1) {
        l->shaken = true;
        if (r->greets && SSL_write(l->ssl, stomp_greeting, sizeof stomp_greeting) != (int)sizeof stomp_greeting)
            fail("greeting");
        return step(r, i);
    }
    switch (SSL_get_error(l->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        r->polled[i].events = POLLIN;
        return false;
    case SSL_ERROR_WANT_WRITE:
        r->polled[i].events = POLLOUT;
        return false;
    default:
        fail(l->shaken ? "the server closed" : "handshake");
    }
    return false;
}

static void work(struct run *r, double until)
{
    for (unsigned i = 0; i < r->count; i++)
        begin(r, i);
    while (now() < until && r->done < TIMES_MAX) {
        if (poll(r->polled, r->count, 10000) <= 0)
            fail("nothing moves");
        for (unsigned i = 0; i < r->count; i++)
            if (r->polled[i].revents != 0 && step(r, i)) {
                if (r->done < TIMES_MAX)
                    r->times[r->done++] = now() - r->lanes[i].began;
                end(&r->lanes[i]);
                begin(r, i);
            }
    }
    for (unsigned i = 0; i < r->count; i++)
        end(&r->lanes[i]);
}

static int by_time(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    static struct run r;
    double began, took, seconds;
    struct rusage own;

    if (argc < 8 || argc > 9) {
        fprintf(stderr, "usage: handshakes PORT CERTIFICATE KEY CA 1.2|1.3 CONNECTIONS SECONDS [GREETING]\n");
        return 2;
    }
    r.context = context_of(argv + 2);
    r.greets = argc == 9 && strcmp(argv[8], "stomp") == 0;
    r.count = (unsigned)atoi(argv[6]);
    r.times = calloc(TIMES_MAX, sizeof *r.times);
    if (r.count == 0 || r.count > CONNECTIONS_MAX || r.times == NULL)
        fail("connections");
    r.server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    seconds = atof(argv[7]);
    began = now();
    work(&r, began + seconds);
    took = now() - began;
    if (r.done == 0)
        fail("no handshake was finished");
    qsort(r.times, r.done, sizeof *r.times, by_time);
    getrusage(RUSAGE_SELF, &own);
    printf("{\"handshakes\": %zu, \"perSecond\": %.1f, \"p50ms\": %.2f, \"p99ms\": %.2f, \"ownCpuMicroseconds\": %.1f}\n", r.done, (double)r.done / took,
           r.times[r.done / 2] * 1e3, r.times[r.done * 99 / 100] * 1e3,
           ((double)(own.ru_utime.tv_sec + own.ru_stime.tv_sec) * 1e6 + (double)(own.ru_utime.tv_usec + own.ru_stime.tv_usec)) / (double)r.done);
    free(r.times);
    SSL_CTX_free(r.context);
    return 0;
}
