/* See ends.h. */
#include "tests/unit/ends.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "tests/unit/folder.h"
#include "tests/unit/unit.h"

struct ends_pki ends_pki;
const struct wanted ends_good = {.ou = "Operateur 4512", .eku = "clientAuth", .usage = "digitalSignature"};

static char *file_of(const char *name, const char *suffix)
{
    char *both = mem_printf("%s.%s", name, suffix), *path = folder_file(both);

    free(both);
    return path;
}

static void write_named(const struct issued *i, const char *name)
{
    char *certificate = file_of(name, "pem"), *key = file_of(name, "key");

    certificates_write(i, NULL, certificate, key);
    free(certificate);
    free(key);
}

int ends_set_up(void **state)
{
    const struct wanted ca = {.cn = "Authority", .from = -ENDS_DAY, .until = ENDS_DAY, .authority = true},
                        other = {.cn = "Another", .from = -ENDS_DAY, .until = ENDS_DAY, .authority = true},
                        server = {.cn = "vault", .eku = "serverAuth", .usage = "digitalSignature", .host = "vault.test",
                                  .from = -ENDS_DAY, .until = ENDS_DAY};

    if (folder_make(state) != 0)
        return -1;
    ends_pki.authority = certificates_issue(certificates_ec("P-256"), &ca, NULL);
    ends_pki.stranger = certificates_issue(certificates_ec("P-256"), &other, NULL);
    ends_pki.server_rsa = certificates_issue(certificates_rsa(2048), &server, &ends_pki.authority);
    ends_pki.server_ec = certificates_issue(certificates_ec("P-256"), &server, &ends_pki.authority);
    write_named(&ends_pki.authority, "ca");
    write_named(&ends_pki.server_rsa, "server-rsa");
    write_named(&ends_pki.server_ec, "server-ec");
    return 0;
}

int ends_tear_down(void **state)
{
    certificates_free(&ends_pki.authority);
    certificates_free(&ends_pki.stranger);
    certificates_free(&ends_pki.server_rsa);
    certificates_free(&ends_pki.server_ec);
    return folder_remove(state);
}

struct buf ends_pem(const char *name)
{
    char *path = file_of(name, "pem");
    FILE *in = fopen(path, "re");
    struct buf b;

    assert_non_null(in);
    buf_init(&b, 1 << 20);
    buf_commit(&b, fread(buf_reserve(&b, 1 << 20, NULL), 1, 1 << 20, in));
    fclose(in);
    free(path);
    return b;
}

void ends_close(struct ends *p)
{
    tls_stream_free(p->server);
    tls_stream_free(p->client);
    SSL_CTX_free(p->server_context);
    SSL_CTX_free(p->client_context);
}

static bool still(enum tls_result r)
{
    return r == TLS_WANT_READ || r == TLS_WANT_WRITE;
}

static void shake(struct ends *p)
{
    uint8_t nothing[1];
    struct buf sink;

    p->server_result = p->client_result = TLS_WANT_READ;
    for (int i = 0; i < 100 && (still(p->server_result) || still(p->client_result)); i++) {
        if (still(p->client_result))
            p->client_result = tls_handshake(p->client, &p->client_err);
        if (still(p->server_result))
            p->server_result = tls_handshake(p->server, &p->server_err);
    }
    /* In TLS 1.3 a client hears of its refusal when it first reads. */
    buf_init(&sink, sizeof nothing);
    if (p->client_result == TLS_OK && p->server_result == TLS_ERROR)
        p->client_result = tls_read(p->client, &sink, 1, &p->client_err);
    buf_free(&sink);
}

struct ends ends_connect(const struct ends_setup *s)
{
    const char *server = s->server == NULL ? "server-rsa" : s->server;
    const char *client = s->client == NULL ? "" : s->client;
    char *ca = file_of("ca", "pem"), *client_pem = file_of(client, "pem"), *client_key = file_of(client, "key");
    struct buf chain = ends_pem(server), anchors = ends_pem("ca");
    EVP_PKEY *local = strcmp(server, "server-rsa") == 0 ? ends_pki.server_rsa.key : ends_pki.server_ec.key;
    struct tls_server_parts so = {buf_slice(&chain), s->remote == NULL ? local : remote_key_pkey(s->remote), buf_slice(&anchors), 3, s->mode};
    bool shows = s->client != NULL && !s->careless;
    struct tls_client_options co = {ca, shows ? client_pem : NULL, shows ? client_key : NULL};
    struct ends p = {0};
    struct err e = {0};
    int fds[2];

    p.server_context = tls_server_make(&so, &e);
    if (p.server_context == NULL)
        print_error("%s\n", e.text);
    assert_non_null(p.server_context);
    p.client_context = tls_client_context(&co, &e);
    assert_non_null(p.client_context);
    if (s->careless) {
        SSL_CTX_set_security_level(p.client_context, 0);
        SSL_CTX_set1_groups_list(p.client_context, "X25519:P-256:P-224");
        assert_int_equal(SSL_CTX_use_certificate_file(p.client_context, client_pem, SSL_FILETYPE_PEM), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey_file(p.client_context, client_key, SSL_FILETYPE_PEM), 1);
    }
    if (s->version != 0) {
        SSL_CTX_set_min_proto_version(p.client_context, s->version);
        SSL_CTX_set_max_proto_version(p.client_context, s->version);
    }
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    p.server = tls_stream_accept(p.server_context, fds[0], &e);
    p.client = tls_stream_connect(p.client_context, fds[1], s->host == NULL ? "vault.test" : s->host, &e);
    assert_non_null(p.server);
    assert_non_null(p.client);
    shake(&p);
    buf_free(&chain);
    buf_free(&anchors);
    free(ca);
    free(client_pem);
    free(client_key);
    return p;
}

void ends_make_client(EVP_PKEY *key, struct wanted w, const struct issued *issuer)
{
    struct issued client;

    if (w.cn == NULL)
        w.cn = "sensor-1";
    if (w.from == 0)
        w.from = -ENDS_DAY;
    if (w.until == 0)
        w.until = ENDS_DAY;
    client = certificates_issue(key, &w, issuer);
    write_named(&client, "client");
    certificates_free(&client);
}
