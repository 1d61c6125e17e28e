/*
 * TLS between two ends of a socket pair: who gets in, who does not and why, bytes both ways in any amount, and private keys
 * that live elsewhere (the keys role's own code answers in a thread of this process), RSA and EC, TLS 1.2 and 1.3.
 */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/pem.h>
#include <openssl/rand.h>

#include "common/system/remote_key.h"
#include "common/system/tls.h"
#include "common/values/wire.h"
#include "tests/unit/certificates.h"

enum { DAY = 86400 };

static char folder[] = "/tmp/coffre-tls-XXXXXX";

static struct issued authority, stranger, server_rsa, server_ec;

static const char *in_folder(const char *name)
{
    static char paths[8][128];
    static unsigned turn;
    char *path = paths[turn++ % 8];

    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void write_named(const struct issued *i, const char *name)
{
    char certificate[64], key[64];

    snprintf(certificate, sizeof certificate, "%s.pem", name);
    snprintf(key, sizeof key, "%s.key", name);
    certificates_write(i, NULL, in_folder(certificate), in_folder(key));
}

static int set_up(void **state)
{
    const struct wanted ca = {.cn = "Authority", .from = -DAY, .until = DAY, .authority = true},
                        other = {.cn = "Another", .from = -DAY, .until = DAY, .authority = true},
                        server = {.cn = "vault", .eku = "serverAuth", .usage = "digitalSignature", .host = "vault.test",
                                  .from = -DAY, .until = DAY};

    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    authority = certificates_issue(certificates_ec("P-256"), &ca, NULL);
    stranger = certificates_issue(certificates_ec("P-256"), &other, NULL);
    server_rsa = certificates_issue(certificates_rsa(2048), &server, &authority);
    server_ec = certificates_issue(certificates_ec("P-256"), &server, &authority);
    write_named(&authority, "ca");
    write_named(&server_rsa, "server-rsa");
    write_named(&server_ec, "server-ec");
    return 0;
}

static int tear_down(void **state)
{
    char *command = mem_printf("rm -rf %s", folder);
    int status = system(command);

    (void)state;
    free(command);
    certificates_free(&authority);
    certificates_free(&stranger);
    certificates_free(&server_rsa);
    certificates_free(&server_ec);
    return status;
}

/* A file of the folder, whole. */
static struct buf file_of(const char *name, const char *suffix)
{
    char path[160];
    struct buf b;
    FILE *in;
    size_t n;

    snprintf(path, sizeof path, "%s/%s.%s", folder, name, suffix);
    buf_init(&b, 1 << 20);
    in = fopen(path, "re");
    assert_non_null(in);
    n = fread(buf_reserve(&b, 1 << 20, NULL), 1, 1 << 20, in);
    buf_commit(&b, n);
    fclose(in);
    return b;
}

/* ---- two ends --------------------------------------------------------------------------------------------------------------- */

struct pair {
    SSL_CTX *server_context, *client_context;
    struct tls_stream *server, *client;
    enum tls_result server_result, client_result;
    struct err server_err, client_err;
};

struct setup {
    enum tls_client mode;
    const char *server;          /* name of the files; NULL: "server-rsa" */
    struct remote_key *remote;   /* NULL: the key is loaded */
    const char *client;          /* name of the files; NULL: no certificate */
    const char *host;            /* NULL: "vault.test" */
    int version;                 /* 0: any */
    bool careless;               /* a client that would show anything */
};

static void close_pair(struct pair *p)
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

static void shake(struct pair *p)
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

static struct pair connect_pair(const struct setup *s)
{
    const char *server = s->server == NULL ? "server-rsa" : s->server;
    char *ca = mem_printf("%s/ca.pem", folder), *client_pem = mem_printf("%s/%s.pem", folder, s->client),
         *client_key = mem_printf("%s/%s.key", folder, s->client);
    struct buf chain = file_of(server, "pem"), anchors = file_of("ca", "pem");
    EVP_PKEY *local = strcmp(server, "server-rsa") == 0 ? server_rsa.key : server_ec.key;
    struct tls_server_parts so = {buf_slice(&chain), s->remote == NULL ? local : remote_key_pkey(s->remote), buf_slice(&anchors), 3, s->mode};
    bool shows = s->client != NULL && !s->careless;
    struct tls_client_options co = {ca, shows ? client_pem : NULL, shows ? client_key : NULL};
    struct pair p = {0};
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

/* Issues a client certificate under the name "client". */
static void make_client(EVP_PKEY *key, struct wanted w, const struct issued *issuer)
{
    struct issued client;

    if (w.cn == NULL)
        w.cn = "sensor-1";
    if (w.from == 0)
        w.from = -DAY;
    if (w.until == 0)
        w.until = DAY;
    client = certificates_issue(key, &w, issuer);
    write_named(&client, "client");
    certificates_free(&client);
}

static const struct wanted good = {.ou = "Operateur 4512", .eku = "clientAuth", .usage = "digitalSignature"};

/* ---- who gets in ------------------------------------------------------------------------------------------------------------- */

static void a_good_certificate_gets_in(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct tls_subject subject;
        struct err e = {0};
        struct pair p;

        make_client(i < 2 ? certificates_ec("P-256") : certificates_rsa(2048), good, &authority);
        p = connect_pair(&(struct setup){.client = "client", .version = versions[i % 2]});
        assert_int_equal(p.server_result, TLS_OK);
        assert_int_equal(p.client_result, TLS_OK);
        assert_true(tls_peer_verified(p.server, &e));
        assert_true(tls_peer_subject(p.server, &subject, &e));
        assert_string_equal(subject.cn, "sensor-1");
        assert_string_equal(subject.ou, "Operateur 4512");
        close_pair(&p);
    }
}

/* Refused in both modes: by the handshake, or by what is remembered of it. */
static void refused(const char *why)
{
    struct pair p = connect_pair(&(struct setup){.client = "client"});
    struct err e = {0};

    assert_int_equal(p.server_result, TLS_ERROR);
    assert_int_equal(p.server_err.code, ERR_DENIED);
    if (strstr(p.server_err.text, why) == NULL)
        print_error("\"%s\" does not say \"%s\"\n", p.server_err.text, why);
    assert_non_null(strstr(p.server_err.text, why));
    assert_int_not_equal(p.client_result, TLS_OK);
    close_pair(&p);

    p = connect_pair(&(struct setup){.client = "client", .mode = TLS_CLIENT_REPORTED});
    assert_int_equal(p.server_result, TLS_OK);
    assert_int_equal(p.client_result, TLS_OK);
    assert_false(tls_peer_verified(p.server, &e));
    assert_int_equal(e.code, ERR_DENIED);
    assert_non_null(strstr(e.text, why));
    close_pair(&p);
}

static void wrong_certificates_are_refused_with_the_reason(void **state)
{
    struct wanted w;

    (void)state;
    w = good;
    w.until = -60;
    make_client(certificates_ec("P-256"), w, &authority);
    refused("certificate has expired");
    w = good;
    w.from = 3600;
    make_client(certificates_ec("P-256"), w, &authority);
    refused("certificate is not yet valid");
    make_client(certificates_ec("P-256"), good, &stranger);
    refused("unable to get local issuer certificate");
    make_client(certificates_ec("P-256"), good, NULL);
    refused("self-signed certificate");
    w = good;
    w.eku = "serverAuth";
    make_client(certificates_ec("P-256"), w, &authority);
    refused("purpose");
    w.eku = NULL;
    make_client(certificates_ec("P-256"), w, &authority);
    refused("purpose");
    w = good;
    w.usage = "keyAgreement";
    make_client(certificates_ec("P-256"), w, &authority);
    refused("purpose");
    w.usage = "keyEncipherment";
    make_client(certificates_rsa(2048), w, &authority);
    refused("purpose");
}

/* "client" with so many bytes of its authority's certificate, again and again, behind its own. */
static void make_long_client(size_t bytes)
{
    int one = i2d_X509(authority.certificate, NULL);
    FILE *out;

    assert_true(one > 0);
    make_client(certificates_ec("P-256"), good, &authority);
    out = fopen(in_folder("client.pem"), "ae");
    assert_non_null(out);
    for (size_t n = 0; n < bytes; n += (size_t)one)
        assert_int_equal(PEM_write_X509(out, authority.certificate), 1);
    assert_int_equal(fclose(out), 0);
}

/* In both modes and versions, by the handshake itself: nobody has 100 KiB of certificates parsed here. */
static void too_many_bytes_of_certificates_are_refused(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        const struct setup s = {.client = "client", .version = versions[i % 2], .mode = i < 2 ? TLS_CLIENT_REQUIRED : TLS_CLIENT_REPORTED};
        struct pair p;

        make_long_client(TLS_CHAIN_BYTES);
        p = connect_pair(&s);
        assert_int_equal(p.server_result, TLS_ERROR);
        assert_int_equal(p.server_err.code, ERR_DENIED);
        assert_non_null(strstr(p.server_err.text, "more than 32768 bytes of certificates"));
        assert_int_equal(tls_peer_fault(p.server), X509_V_ERR_CERT_CHAIN_TOO_LONG);
        assert_int_not_equal(p.client_result, TLS_OK);
        close_pair(&p);
        make_long_client(TLS_CHAIN_BYTES / 2);
        p = connect_pair(&s);
        assert_int_equal(p.server_result, TLS_OK);
        close_pair(&p);
    }
}

/* Another message that is too long is not taken for somebody's certificates. */
static void a_hello_too_long_is_nobodys(void **state)
{
    static const uint8_t hello[] = {22, 3, 1, 0, 4, 1, 4, 0, 0}; /* a ClientHello of 256 KiB is announced */
    struct buf chain = file_of("server-rsa", "pem"), anchors = file_of("ca", "pem");
    struct tls_server_parts so = {buf_slice(&chain), server_rsa.key, buf_slice(&anchors), 3, TLS_CLIENT_REPORTED};
    struct err e = {0};
    SSL_CTX *context = tls_server_make(&so, &e);
    struct tls_stream *server;
    int fds[2];

    (void)state;
    assert_non_null(context);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    server = tls_stream_accept(context, fds[0], &e);
    assert_non_null(server);
    assert_int_equal(write(fds[1], hello, sizeof hello), sizeof hello);
    assert_int_equal(tls_handshake(server, &e), TLS_ERROR);
    assert_int_equal(e.code, ERR_RETRY);
    assert_non_null(strstr(e.text, "excessive message size"));
    assert_int_equal(tls_peer_fault(server), X509_V_OK);
    close(fds[1]);
    tls_stream_free(server);
    SSL_CTX_free(context);
    buf_free(&chain);
    buf_free(&anchors);
}

static void no_certificate_is_refused(void **state)
{
    struct pair p = connect_pair(&(struct setup){0});
    struct tls_subject subject;
    struct err e = {0};

    (void)state;
    assert_int_equal(p.server_result, TLS_ERROR);
    close_pair(&p);
    p = connect_pair(&(struct setup){.mode = TLS_CLIENT_REPORTED});
    assert_int_equal(p.server_result, TLS_OK);
    assert_false(tls_peer_verified(p.server, &e));
    assert_false(tls_peer_subject(p.server, &subject, &e));
    assert_non_null(strstr(e.text, "no certificate"));
    close_pair(&p);
}

static void weak_keys_are_refused(void **state)
{
    struct tls_client_options o;
    struct err e = {0};
    struct pair p;
    char *pem = mem_printf("%s/client.pem", folder), *key = mem_printf("%s/client.key", folder),
         *ca = mem_printf("%s/ca.pem", folder);

    (void)state;
    make_client(certificates_rsa(1024), good, &authority);
    p = connect_pair(&(struct setup){.client = "client", .careless = true});
    assert_int_equal(p.server_result, TLS_ERROR);
    assert_non_null(strstr(p.server_err.text, "key too weak"));
    close_pair(&p);
    /* Our own client does not even load it. */
    o = (struct tls_client_options){ca, pem, key};
    assert_null(tls_client_context(&o, &e));
    assert_int_equal(e.code, ERR_INPUT);
    assert_false(tls_check_pair(pem, key, NULL));
    make_client(certificates_ec("P-224"), good, &authority);
    p = connect_pair(&(struct setup){.client = "client", .careless = true});
    assert_int_equal(p.server_result, TLS_ERROR);
    close_pair(&p);
    free(pem);
    free(key);
    free(ca);
}

static void subjects_that_can_be_read_two_ways_are_refused(void **state)
{
    static const char *const bad[] = {"a\x01""b", "line\nfeed"};
    struct tls_subject subject;
    struct wanted w = good;
    struct issued i;
    struct err e = {0};

    (void)state;
    w.from = -DAY;
    w.until = DAY;
    w.cn = "one";
    w.second_cn = "two";
    i = certificates_issue(certificates_ec("P-256"), &w, &authority);
    assert_false(tls_subject_of(i.certificate, &subject, &e));
    assert_int_equal(e.code, ERR_DENIED);
    assert_non_null(strstr(e.text, "more than one CN"));
    certificates_free(&i);
    w.second_cn = w.cn = NULL;
    i = certificates_issue(certificates_ec("P-256"), &w, &authority);
    assert_false(tls_subject_of(i.certificate, &subject, NULL));
    certificates_free(&i);
    for (unsigned k = 0; k < sizeof bad / sizeof *bad; k++) {
        w.cn = bad[k];
        i = certificates_issue(certificates_ec("P-256"), &w, &authority);
        assert_false(tls_subject_of(i.certificate, &subject, NULL));
        certificates_free(&i);
    }
    w.cn = "Pari-mutuel d\xc3\xa9partemental";
    w.ou = NULL;
    i = certificates_issue(certificates_ec("P-256"), &w, &authority);
    assert_true(tls_subject_of(i.certificate, &subject, NULL));
    assert_string_equal(subject.cn, w.cn);
    assert_string_equal(subject.ou, "");
    /* An embedded NUL: what strcmp() would see is not what the authority signed. */
    assert_int_equal(X509_NAME_add_entry_by_NID(X509_get_subject_name(i.certificate), NID_organizationalUnitName,
                                                V_ASN1_UTF8STRING, (const unsigned char *)"good\0evil", 9, -1, 0), 1);
    assert_false(tls_subject_of(i.certificate, &subject, NULL));
    certificates_free(&i);
}

static void the_server_must_be_who_it_should(void **state)
{
    struct pair p;

    (void)state;
    make_client(certificates_ec("P-256"), good, &authority);
    p = connect_pair(&(struct setup){.client = "client", .host = "elsewhere.test"});
    assert_int_equal(p.client_result, TLS_ERROR);
    assert_int_equal(p.client_err.code, ERR_DENIED);
    assert_non_null(strstr(p.client_err.text, "hostname mismatch"));
    close_pair(&p);
}

static void old_versions_are_refused(void **state)
{
    struct pair p;

    (void)state;
    make_client(certificates_ec("P-256"), good, &authority);
    p = connect_pair(&(struct setup){.client = "client", .version = TLS1_1_VERSION});
    assert_int_equal(p.client_result, TLS_ERROR);
    assert_int_not_equal(p.server_result, TLS_OK);
    close_pair(&p);
}

/* ---- bytes ------------------------------------------------------------------------------------------------------------------- */

static void bytes_arrive_in_order_whatever_the_amounts(void **state)
{
    enum { TOTAL = 3 << 20 };
    struct buf sent, got, queue;
    struct pair p;
    size_t fed = 0;

    (void)state;
    make_client(certificates_ec("P-256"), good, &authority);
    p = connect_pair(&(struct setup){.client = "client"});
    buf_init(&sent, TOTAL);
    buf_init(&queue, TOTAL);
    buf_init(&got, TOTAL);
    assert_int_equal(RAND_bytes(buf_reserve(&sent, TOTAL, NULL), TOTAL), 1);
    buf_commit(&sent, TOTAL);
    for (int turn = 0; turn < 100000 && got.len < TOTAL; turn++) {
        size_t step = (size_t)turn * 977 % 40000 + 1, most = (size_t)turn * 131 % 50000 + 1;
        enum tls_result w, r;

        if (step > TOTAL - fed)
            step = TOTAL - fed;
        assert_true(buf_add(&queue, buf_slice(&sent).at + fed, step, NULL));
        fed += step;
        w = tls_write(p.client, &queue, NULL);
        assert_true(w == TLS_OK || w == TLS_WANT_WRITE);
        assert_true((w == TLS_OK) == (queue.len == 0));
        r = tls_read(p.server, &got, most, NULL);
        assert_true(r == TLS_OK || r == TLS_WANT_READ);
    }
    assert_int_equal(got.len, TOTAL);
    assert_memory_equal(buf_slice(&got).at, buf_slice(&sent).at, TOTAL);
    tls_close(p.client);
    buf_reset(&got);
    assert_int_equal(tls_read(p.server, &got, 1, NULL), TLS_CLOSED);
    buf_free(&sent);
    buf_free(&got);
    buf_free(&queue);
    close_pair(&p);
}

static void a_bounded_read_leaves_the_rest(void **state)
{
    struct buf out, in;
    struct pair p;

    (void)state;
    make_client(certificates_ec("P-256"), good, &authority);
    p = connect_pair(&(struct setup){.client = "client"});
    buf_init(&out, 1000);
    buf_init(&in, 10);
    assert_true(buf_add(&out, "0123456789abcdef", 16, NULL));
    assert_int_equal(tls_write(p.client, &out, NULL), TLS_OK);
    assert_int_equal(tls_read(p.server, &in, 4, NULL), TLS_OK);
    assert_true(slice_is(buf_slice(&in), "0123"));
    assert_true(tls_buffered(p.server));
    assert_int_equal(tls_read(p.server, &in, 100, NULL), TLS_OK); /* the buffer's own maximum */
    assert_true(slice_is(buf_slice(&in), "0123456789"));
    buf_reset(&in);
    assert_int_equal(tls_read(p.server, &in, 100, NULL), TLS_WANT_READ);
    assert_true(slice_is(buf_slice(&in), "abcdef"));
    assert_false(tls_buffered(p.server));
    buf_free(&out);
    buf_free(&in);
    close_pair(&p);
}

static void garbage_is_an_error_and_stays_one(void **state)
{
    struct buf in;
    struct err e = {0};
    struct pair p;

    (void)state;
    make_client(certificates_ec("P-256"), good, &authority);
    p = connect_pair(&(struct setup){.client = "client"});
    buf_init(&in, 1000);
    assert_int_equal(write(tls_fd(p.client), "this is not a TLS record, not at all", 36), 36);
    assert_int_equal(tls_read(p.server, &in, 100, &e), TLS_ERROR);
    assert_int_equal(in.len, 0);
    assert_int_equal(tls_read(p.server, &in, 100, NULL), TLS_ERROR);
    buf_free(&in);
    close_pair(&p);
}

/* ---- keys elsewhere ---------------------------------------------------------------------------------------------------------- */

struct keeper {
    struct channel *channel;
    struct keys_held held;
    unsigned answers;
    bool silent, lies;
};

/* What the keys role does, without its process. */
static void *keep_keys(void *arg)
{
    struct keeper *k = arg;
    struct channel_message m;
    struct buf answer;

    buf_init(&answer, REMOTE_KEY_MESSAGE_MAX);
    while (channel_wait(k->channel, &m, 5000, NULL) == CHANNEL_MESSAGE) {
        if (k->silent)
            continue;
        buf_reset(&answer);
        if (!keys_answer(&k->held, m.body, &answer, NULL))
            break;
        if (k->lies)
            answer.data[answer.start + answer.len - 1] ^= 1;
        if (!channel_send(k->channel, REMOTE_KEY_SIGNED, buf_slice(&answer), NULL) || !channel_flush(k->channel, NULL))
            break;
        k->answers++;
    }
    buf_free(&answer);
    channel_free(k->channel);
    return NULL;
}

static void hold(struct keys_held *held, EVP_PKEY *key)
{
    assert_int_equal(EVP_PKEY_up_ref(key), 1);
    assert_true(keys_put(held, key, 0, NULL));
}

static struct pair connect_remote(const char *name, const struct issued *server, int version, struct keeper *k)
{
    struct remote_line *line = remote_line_new();
    struct buf pem = file_of(name, "pem");
    struct remote_key *remote = remote_key_new(line, buf_slice(&pem), NULL);
    pthread_t thread;
    struct pair p;
    int fds[2];

    assert_non_null(remote);
    assert_false(remote_line_linked(line));
    assert_true(channel_pair(fds, NULL));
    k->channel = channel_open(fds[0], REMOTE_KEY_MESSAGE_MAX, 1 << 16);
    hold(&k->held, server->key);
    remote_line_link(line, channel_open(fds[1], REMOTE_KEY_MESSAGE_MAX, 1 << 16));
    remote_line_set_deadline(line, k->silent ? 50 : 5000);
    assert_int_equal(pthread_create(&thread, NULL, keep_keys, k), 0);
    p = connect_pair(&(struct setup){.client = "client", .server = name, .remote = remote, .version = version});
    /* One that misses its deadline is not asked again: it would hold its front for a deadline at every handshake. */
    if (k->silent)
        assert_false(remote_line_linked(line));
    remote_line_link(line, NULL);
    assert_int_equal(pthread_join(thread, NULL), 0);
    keys_free(&k->held);
    SSL_CTX_free(p.server_context);
    p.server_context = NULL;
    tls_stream_free(p.server);
    p.server = NULL;
    remote_key_free(remote);
    remote_line_free(line);
    buf_free(&pem);
    return p;
}

static void remote_keys_shake_hands(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

    (void)state;
    make_client(certificates_ec("P-256"), good, &authority);
    for (unsigned i = 0; i < 4; i++) {
        struct keeper k = {0};
        struct pair p = connect_remote(i < 2 ? "server-rsa" : "server-ec", i < 2 ? &server_rsa : &server_ec, versions[i % 2], &k);

        if (p.server_result != TLS_OK)
            print_error("%u: %s\n", i, p.server_err.text);
        assert_int_equal(p.server_result, TLS_OK);
        assert_int_equal(p.client_result, TLS_OK);
        assert_int_equal(k.answers, 1);
        close_pair(&p);
    }
}

static void a_silent_or_lying_keys_role_fails_the_handshake_only(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct keeper k = {.silent = i < 2, .lies = i >= 2};
        struct pair p = connect_remote(i % 2 == 0 ? "server-rsa" : "server-ec", i % 2 == 0 ? &server_rsa : &server_ec, 0, &k);

        assert_false(p.server_result == TLS_OK && p.client_result == TLS_OK);
        close_pair(&p);
    }
}

static void without_the_keys_role_no_handshake(void **state)
{
    struct remote_line *line = remote_line_new();
    struct buf pem = file_of("server-rsa", "pem");
    struct remote_key *remote = remote_key_new(line, buf_slice(&pem), NULL);
    struct err e = {0};
    struct pair p;

    (void)state;
    assert_non_null(remote);
    p = connect_pair(&(struct setup){.client = "client", .remote = remote});
    assert_int_equal(p.server_result, TLS_ERROR);
    close_pair(&p);
    assert_false(remote_key_try(remote, &e));
    assert_int_equal(e.code, ERR_RETRY);
    remote_key_free(remote);
    remote_line_free(line);
    buf_free(&pem);
}

static bool asks(EVP_PKEY *key, uint8_t kind, const uint8_t *input, size_t len)
{
    struct keys_held held = {0};
    struct buf request, answer;
    struct wire_writer w;
    bool ok;

    hold(&held, key);
    buf_init(&request, 4096);
    buf_init(&answer, REMOTE_KEY_MESSAGE_MAX);
    w = wire_write(&request);
    wire_put_u32(&w, 1);
    wire_put_fixed(&w, held.at[0].name, REMOTE_KEY_ID);
    wire_put_u8(&w, kind);
    wire_put_bytes(&w, slice_of(input, len));
    ok = keys_answer(&held, buf_slice(&request), &answer, NULL);
    assert_true(ok || answer.len == 0);
    keys_free(&held);
    buf_free(&request);
    buf_free(&answer);
    return ok;
}

/* A front that was taken over can have TLS signatures made, nothing else: no decryption, no odd sizes, no other key's kind. */
static void the_keys_role_signs_signatures_only(void **state)
{
    struct keys_held held = {0};
    uint8_t block[300];

    (void)state;
    memset(block, 0xff, sizeof block);
    block[0] = 0;
    block[1] = 1;
    block[256 - 52] = 0; /* PKCS#1: DigestInfo of SHA-256 is 51 bytes */
    assert_true(asks(server_rsa.key, REMOTE_KEY_RSA, block, 256));
    assert_false(asks(server_rsa.key, REMOTE_KEY_RSA, block, 255));
    assert_false(asks(server_rsa.key, REMOTE_KEY_RSA, block, 257));
    assert_false(asks(server_rsa.key, REMOTE_KEY_RSA, block, 0));
    assert_false(asks(server_rsa.key, REMOTE_KEY_ECDSA, block, 32));
    assert_false(asks(server_rsa.key, 3, block, 256));
    block[1] = 2; /* encryption padding */
    assert_false(asks(server_rsa.key, REMOTE_KEY_RSA, block, 256));
    block[1] = 1;
    block[5] = 0; /* too short a padding */
    assert_false(asks(server_rsa.key, REMOTE_KEY_RSA, block, 256));
    block[1] = 0x55; /* a raw number, as a ciphertext is */
    assert_false(asks(server_rsa.key, REMOTE_KEY_RSA, block, 256));
    assert_true(asks(server_ec.key, REMOTE_KEY_ECDSA, block, 32));
    assert_true(asks(server_ec.key, REMOTE_KEY_ECDSA, block, 48));
    assert_false(asks(server_ec.key, REMOTE_KEY_ECDSA, block, 31));
    assert_false(asks(server_ec.key, REMOTE_KEY_ECDSA, block, 0));
    assert_false(asks(server_ec.key, REMOTE_KEY_RSA, block, 256));
    hold(&held, server_ec.key);
    assert_false(keys_answer(&held, SLICE_LITERAL("\0\0\0\1namename\2\0\0\0\x20short"), NULL, NULL));
    keys_free(&held);
}

static void files_that_are_wrong_are_named(void **state)
{
    char *missing = mem_printf("%s/missing.pem", folder), *pem = mem_printf("%s/server-rsa.pem", folder),
         *other = mem_printf("%s/server-ec.key", folder), *key = mem_printf("%s/server-rsa.key", folder);
    struct err e = {0};

    (void)state;
    assert_true(tls_check_pair(pem, key, &e));
    assert_true(tls_check_bundle(pem, &e));
    assert_false(tls_check_pair(missing, key, &e));
    assert_non_null(strstr(e.text, missing));
    err_clear(&e);
    assert_false(tls_check_pair(pem, other, &e));
    assert_non_null(strstr(e.text, other));
    err_clear(&e);
    assert_false(tls_check_bundle(key, &e));
    assert_non_null(strstr(e.text, key));
    free(missing);
    free(pem);
    free(other);
    free(key);
}

/* A PSS block is random but for its ends: one in 32,768 begins as one of PKCS #1 does. */
static void test_only_blocks_of_signatures_are_signed(void **state)
{
    uint8_t block[384] = {0, 1};
    (void)state;

    memset(block + 2, 0x5a, sizeof block - 2);
    assert_false(remote_key_is_signature_block(slice_of(block, sizeof block)));
    block[sizeof block - 1] = 0xbc;
    assert_true(remote_key_is_signature_block(slice_of(block, sizeof block)));
    block[0] = 0x80;
    assert_false(remote_key_is_signature_block(slice_of(block, sizeof block)));
    memset(block, 0xff, sizeof block);
    block[0] = 0, block[1] = 1, block[sizeof block - 52] = 0;
    assert_true(remote_key_is_signature_block(slice_of(block, sizeof block)));
    block[1] = 2; /* RFC 8017 7.2.1: encryption */
    assert_false(remote_key_is_signature_block(slice_of(block, sizeof block)));
    assert_false(remote_key_is_signature_block(slice_of(block, 1)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_blocks_of_signatures_are_signed),
        cmocka_unit_test(a_good_certificate_gets_in),
        cmocka_unit_test(wrong_certificates_are_refused_with_the_reason),
        cmocka_unit_test(too_many_bytes_of_certificates_are_refused),
        cmocka_unit_test(a_hello_too_long_is_nobodys),
        cmocka_unit_test(no_certificate_is_refused),
        cmocka_unit_test(weak_keys_are_refused),
        cmocka_unit_test(subjects_that_can_be_read_two_ways_are_refused),
        cmocka_unit_test(the_server_must_be_who_it_should),
        cmocka_unit_test(old_versions_are_refused),
        cmocka_unit_test(bytes_arrive_in_order_whatever_the_amounts),
        cmocka_unit_test(a_bounded_read_leaves_the_rest),
        cmocka_unit_test(garbage_is_an_error_and_stays_one),
        cmocka_unit_test(remote_keys_shake_hands),
        cmocka_unit_test(a_silent_or_lying_keys_role_fails_the_handshake_only),
        cmocka_unit_test(without_the_keys_role_no_handshake),
        cmocka_unit_test(the_keys_role_signs_signatures_only),
        cmocka_unit_test(files_that_are_wrong_are_named),
    };

    return cmocka_run_group_tests_name("tls", tests, set_up, tear_down);
}
