/*
 * What fronts keep of TLS, over socket pairs with OpenSSL's own client: contexts from memory, no session that is ever resumed, a stapled response, the chain and the names a peer
 * presents, and certificates that change under handshakes (the keys role's own code answers in a thread of this process).
 */
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "common/system/tls_trust.h"
#include "tests/unit/certificates.h"
#include "tests/unit/keeper.h"

enum { DAY = 86400 };

static struct issued authority, between, stranger, server_rsa, server_ec, client;

/* PEM of up to two certificates. */
static struct buf pem_of(const struct issued *first, const struct issued *second)
{
    BIO *out = BIO_new(BIO_s_mem());
    const void *at;
    struct buf b;

    assert_int_equal(PEM_write_bio_X509(out, first->certificate), 1);
    if (second != NULL)
        assert_int_equal(PEM_write_bio_X509(out, second->certificate), 1);
    buf_init(&b, 1 << 20);
    assert_true(buf_add(&b, (at = NULL, BIO_get_mem_data(out, &at), at), (size_t)BIO_pending(out), NULL));
    BIO_free(out);
    return b;
}

static int set_up(void **state)
{
    const struct wanted ca = {.cn = "Authority", .from = -DAY, .until = DAY, .authority = true},
                        middle = {.cn = "Between", .from = -DAY, .until = DAY, .authority = true},
                        other = {.cn = "Another", .from = -DAY, .until = DAY, .authority = true},
                        server = {.cn = "vault", .eku = "serverAuth", .usage = "digitalSignature", .host = "vault.test", .from = -DAY,
                                  .until = DAY},
                        sensor = {.cn = "sensor-1", .ou = "Capteurs", .eku = "clientAuth", .usage = "digitalSignature",
                                  .host = "Sensor.Test,email:Sensor@Test.example,URI:urn:x:1,IP:192.0.2.7,IP:2001:db8::7,otherName:1.2.3;UTF8:x",
                                  .from = -DAY, .until = DAY};

    (void)state;
    authority = certificates_issue(certificates_ec("P-256"), &ca, NULL);
    between = certificates_issue(certificates_ec("P-256"), &middle, &authority);
    stranger = certificates_issue(certificates_ec("P-256"), &other, NULL);
    server_rsa = certificates_issue(certificates_rsa(2048), &server, &authority);
    server_ec = certificates_issue(certificates_ec("P-256"), &server, &authority);
    client = certificates_issue(certificates_ec("P-256"), &sensor, &between);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    certificates_free(&authority);
    certificates_free(&between);
    certificates_free(&stranger);
    certificates_free(&server_rsa);
    certificates_free(&server_ec);
    certificates_free(&client);
    return 0;
}

static struct tls_trust *trust_of(const struct issued *server, struct keeper *k, unsigned depth)
{
    struct buf chain = pem_of(server, NULL), anchors = pem_of(&authority, &stranger);
    const struct tls_trust_options o = {buf_slice(&chain), buf_slice(&anchors), depth, TLS_CLIENT_REQUIRED};
    struct err e = {0};
    struct tls_trust *t = tls_trust_new(&o, k->line, &e);

    if (t == NULL)
        print_error("%s\n", e.text);
    assert_non_null(t);
    buf_free(&chain);
    buf_free(&anchors);
    return t;
}

/* ---- a client that is nobody of ours ------------------------------------------------------------------------------------------ */

struct peer {
    struct tls_stream *server;
    SSL *ssl;
    int fd;
    bool done, failed, server_done, server_failed;
    struct err server_err;
};

/* Sends all it has and offers whatever it is told to. */
static SSL_CTX *client_context(int version, bool with_chain)
{
    SSL_CTX *c = SSL_CTX_new(TLS_client_method());

    assert_non_null(c);
    assert_int_equal(SSL_CTX_set_min_proto_version(c, version), 1);
    assert_int_equal(SSL_CTX_set_max_proto_version(c, version), 1);
    assert_int_equal(SSL_CTX_use_certificate(c, client.certificate), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(c, client.key), 1);
    if (with_chain)
        assert_int_equal(SSL_CTX_add1_chain_cert(c, between.certificate), 1);
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_CLIENT);
    return c;
}

static struct peer connect_to(struct tls_trust *t, SSL_CTX *context)
{
    struct peer p = {0};
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    p.server = tls_trust_accept(t, fds[0], NULL);
    assert_non_null(p.server);
    p.fd = fds[1];
    p.ssl = SSL_new(context);
    assert_non_null(p.ssl);
    assert_int_equal(SSL_set_fd(p.ssl, p.fd), 1);
    SSL_set_connect_state(p.ssl);
    return p;
}

/* One step of each side; true when both have come to an end. */
static bool step(struct peer *p)
{
    if (!p->done && !p->failed) {
        int n = SSL_do_handshake(p->ssl), why = SSL_get_error(p->ssl, n);

        p->done = n == 1;
        p->failed = n != 1 && why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE;
    }
    if (!p->server_done && !p->server_failed) {
        enum tls_result r = tls_handshake(p->server, &p->server_err);

        p->server_done = r == TLS_OK;
        p->server_failed = r == TLS_ERROR;
    }
    return (p->done || p->failed) && (p->server_done || p->server_failed);
}

static void finish(struct peer *p)
{
    for (int i = 0; i < 100 && !step(p); i++)
        ;
}

static void leave(struct peer *p)
{
    SSL_free(p->ssl);
    tls_stream_free(p->server);
    close(p->fd);
}

/* One byte from the server, so that a TLS 1.3 client has read any ticket that came before it. */
static void hear(struct peer *p)
{
    struct buf out;
    char c = 0;

    buf_init(&out, 16);
    assert_true(buf_add(&out, "x", 1, NULL));
    assert_int_equal(tls_write(p->server, &out, NULL), TLS_OK);
    assert_int_equal(SSL_read(p->ssl, &c, 1), 1);
    buf_free(&out);
}

/* ---- no resumption -------------------------------------------------------------------------------------------------------------- */

/*
 * A server of no vault that hands out sessions: what a client could ever have in its hands, ticket or not. `offered` (may be NULL) is offered to it; `*reused`: and taken.
 */
static SSL_SESSION *session_from_elsewhere(int version, bool ticket, SSL_CTX *from, SSL_CTX *client_side, SSL_SESSION *offered, bool *reused)
{
    SSL *server = SSL_new(from), *own = SSL_new(client_side);
    SSL_SESSION *session;
    char c;
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    if (!ticket)
        SSL_set_options(server, SSL_OP_NO_TICKET);
    if (offered != NULL)
        assert_int_equal(SSL_set_session(own, offered), 1);
    assert_int_equal(SSL_set_fd(server, fds[0]), 1);
    assert_int_equal(SSL_set_fd(own, fds[1]), 1);
    SSL_set_accept_state(server);
    SSL_set_connect_state(own);
    for (int i = 0; i < 100 && (SSL_in_init(server) || SSL_in_init(own)); i++) {
        SSL_do_handshake(own);
        SSL_do_handshake(server);
    }
    assert_int_equal(SSL_write(server, "x", 1), 1);
    assert_int_equal(SSL_read(own, &c, 1), 1);
    *reused = SSL_session_reused(own) == 1;
    session = SSL_get1_session(own);
    assert_non_null(session);
    assert_true(SSL_SESSION_is_resumable(session));
    assert_int_equal(SSL_SESSION_has_ticket(session), ticket || version == TLS1_3_VERSION);
    SSL_shutdown(own); /* a session not ended so is never resumed */
    SSL_shutdown(server);
    SSL_free(server);
    SSL_free(own);
    close(fds[0]);
    close(fds[1]);
    return session;
}

static SSL_CTX *generous_server(void)
{
    SSL_CTX *c = SSL_CTX_new(TLS_server_method());

    assert_int_equal(SSL_CTX_use_certificate(c, server_ec.certificate), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(c, server_ec.key), 1);
    assert_int_equal(SSL_CTX_set_session_id_context(c, (const unsigned char *)"coffre", 6), 1);
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_SERVER);
    return c;
}

/* Offers `session`; the vault's handshake is full all the same, and hands out nothing. */
static void offer(struct tls_trust *t, SSL_CTX *context, SSL_SESSION *session)
{
    struct peer p = connect_to(t, context);
    SSL_SESSION *after;

    if (session != NULL)
        assert_int_equal(SSL_set_session(p.ssl, session), 1);
    finish(&p);
    assert_true(p.done);
    assert_true(p.server_done);
    hear(&p);
    assert_int_equal(SSL_session_reused(p.ssl), 0);
    assert_true(tls_peer_verified(p.server, NULL));
    after = SSL_get1_session(p.ssl);
    assert_false(SSL_SESSION_is_resumable(after));
    assert_false(SSL_SESSION_has_ticket(after));
    SSL_SESSION_free(after);
    leave(&p);
}

static void every_handshake_is_full(void **state)
{
    static const struct { int version; bool ticket; } kinds[] = {
        {TLS1_2_VERSION, false}, {TLS1_2_VERSION, true}, {TLS1_3_VERSION, true}, {TLS1_3_VERSION, false}};
    struct keeper k;
    struct tls_trust *t;

    (void)state;
    keeper_begin(&k, server_ec.key, KEEPER_HONEST);
    t = trust_of(&server_ec, &k, 1);
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        SSL_CTX *context = client_context(kinds[i].version, true), *elsewhere = generous_server();
        bool reused;
        SSL_SESSION *session = session_from_elsewhere(kinds[i].version, kinds[i].ticket, elsewhere, context, NULL, &reused), *again;

        assert_false(reused);
        offer(t, context, NULL);
        offer(t, context, session);
        /* Whoever does know it resumes it: the offer was a real one. */
        again = session_from_elsewhere(kinds[i].version, kinds[i].ticket, elsewhere, context, session, &reused);
        assert_true(reused);
        SSL_SESSION_free(again);
        SSL_SESSION_free(session);
        SSL_CTX_free(elsewhere);
        SSL_CTX_free(context);
    }
    tls_trust_release(t);
    keeper_end(&k);
}

/* ---- stapling -------------------------------------------------------------------------------------------------------------------- */

static void assert_stapled(struct tls_trust *t, int version, const char *expected)
{
    SSL_CTX *context = client_context(version, true);
    struct peer p = connect_to(t, context);
    const unsigned char *got = NULL;
    long len;

    assert_int_equal(SSL_set_tlsext_status_type(p.ssl, TLSEXT_STATUSTYPE_ocsp), 1);
    finish(&p);
    assert_true(p.done && p.server_done);
    len = SSL_get_tlsext_status_ocsp_resp(p.ssl, &got);
    if (expected == NULL) {
        assert_null(got);
    } else {
        assert_int_equal(len, strlen(expected));
        assert_memory_equal(got, expected, strlen(expected));
    }
    leave(&p);
    SSL_CTX_free(context);
}

static void the_response_held_is_stapled(void **state)
{
    uint8_t *large = mem_zalloc(1, TLS_STAPLE_MAX + 1);
    struct keeper k;
    struct tls_trust *t;

    (void)state;
    keeper_begin(&k, server_ec.key, KEEPER_HONEST);
    t = trust_of(&server_ec, &k, 1);
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        assert_stapled(t, version, NULL);
        tls_trust_staple(t, SLICE_LITERAL("one response"));
        assert_stapled(t, version, "one response");
        tls_trust_staple(t, SLICE_LITERAL("another"));
        assert_stapled(t, version, "another");
        tls_trust_staple(t, slice_of(large, TLS_STAPLE_MAX + 1));
        assert_stapled(t, version, NULL);
    }
    tls_trust_release(t);
    keeper_end(&k);
    free(large);
}

/* ---- who the peer is ---------------------------------------------------------------------------------------------------------------- */

static void assert_der(struct slice der, const struct issued *i)
{
    unsigned char *own = NULL;
    int len = i2d_X509(i->certificate, &own);

    assert_true(slice_equal(der, slice_of(own, (size_t)len)));
    OPENSSL_free(own);
}

static void the_chain_is_given_as_it_was_sent(void **state)
{
    struct keeper k;
    struct tls_trust *t;

    (void)state;
    keeper_begin(&k, server_ec.key, KEEPER_HONEST);
    t = trust_of(&server_ec, &k, 1);
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        SSL_CTX *context = client_context(version, true);
        struct peer p = connect_to(t, context);
        struct tls_chain chain;
        struct err e = {0};

        finish(&p);
        assert_true(p.server_done);
        assert_true(tls_peer_present(p.server, &chain, &e));
        assert_int_equal(chain.count, 2);
        assert_der(chain.der[0], &client);
        assert_der(chain.der[1], &between);
        tls_chain_free(&chain);
        for (int turn = 0; turn < 2; turn++)
            tls_peer_share(p.server); /* changes what it takes, nothing else */
        assert_true(tls_peer_present(p.server, &chain, &e));
        assert_int_equal(chain.count, 2);
        assert_der(chain.der[0], &client);
        assert_der(chain.der[1], &between);
        tls_chain_free(&chain);
        leave(&p);

        for (unsigned i = 0; i < TLS_CHAIN_MAX - 1; i++) /* eleven in all */
            assert_int_equal(SSL_CTX_add1_chain_cert(context, between.certificate), 1);
        p = connect_to(t, context);
        finish(&p);
        assert_true(p.server_done);
        assert_false(tls_peer_present(p.server, &chain, &e));
        assert_int_equal(e.code, ERR_DENIED);
        assert_int_equal(chain.count, 0);
        tls_chain_free(&chain);
        leave(&p);
        SSL_CTX_free(context);
    }
    tls_trust_release(t);
    keeper_end(&k);
}

static void a_chain_longer_than_the_depth_is_refused_and_named(void **state)
{
    struct tls_subject subject;
    struct keeper k;
    struct tls_trust *t;

    (void)state;
    keeper_begin(&k, server_ec.key, KEEPER_HONEST);
    t = trust_of(&server_ec, &k, 0); /* one intermediate is one too many */
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        SSL_CTX *context = client_context(version, true);
        struct peer p = connect_to(t, context);

        finish(&p);
        assert_true(p.server_failed);
        assert_int_equal(p.server_err.code, ERR_DENIED);
        assert_int_equal(tls_peer_fault(p.server), X509_V_ERR_CERT_CHAIN_TOO_LONG);
        assert_true(tls_peer_subject(p.server, &subject, NULL)); /* whom to tell */
        assert_string_equal(subject.cn, "sensor-1");
        leave(&p);
        SSL_CTX_free(context);
    }
    tls_trust_release(t);
    keeper_end(&k);
}

static void no_certificate_is_a_refusal_of_its_own(void **state)
{
    struct keeper k;
    struct tls_trust *t;

    (void)state;
    keeper_begin(&k, server_ec.key, KEEPER_HONEST);
    t = trust_of(&server_ec, &k, 1);
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        SSL_CTX *context = SSL_CTX_new(TLS_client_method());
        struct tls_subject subject;
        struct peer p;

        assert_int_equal(SSL_CTX_set_max_proto_version(context, version), 1);
        p = connect_to(t, context);
        finish(&p);
        assert_true(p.server_failed);
        assert_int_equal(p.server_err.code, ERR_DENIED);
        assert_non_null(strstr(p.server_err.text, "no certificate"));
        assert_false(tls_peer_subject(p.server, &subject, NULL));
        leave(&p);
        SSL_CTX_free(context);
    }
    tls_trust_release(t);
    keeper_end(&k);
}

static void serial_and_alternative_names_are_read_in_one_spelling(void **state)
{
    static const struct { const char *hex, *text; } serials[] = {
        {"0", "0"}, {"1", "1"}, {"0a", "A"}, {"80", "80"}, {"0123456789abcdef0123456789abcdef01234567", "123456789ABCDEF0123456789ABCDEF01234567"},
        {"ff23456789abcdef0123456789abcdef01234567", "FF23456789ABCDEF0123456789ABCDEF01234567"},
        {"0123456789abcdef0123456789abcdef0123456789", ""}, {"-0a", "-A"}};
    struct tls_subject subject;
    X509 *x = X509_dup(client.certificate);

    (void)state;
    assert_true(tls_subject_of(x, &subject, NULL));
    assert_int_equal(subject.san_count, 5);
    assert_string_equal(tls_subject_san(&subject, 0), "DNS:sensor.test");
    assert_string_equal(tls_subject_san(&subject, 1), "email:Sensor@Test.example");
    assert_string_equal(tls_subject_san(&subject, 2), "URI:urn:x:1");
    assert_string_equal(tls_subject_san(&subject, 3), "IP:192.0.2.7");
    assert_string_equal(tls_subject_san(&subject, 4), "IP:2001:db8::7");
    for (unsigned i = 0; i < sizeof serials / sizeof *serials; i++) {
        BIGNUM *n = NULL;

        assert_true(BN_hex2bn(&n, serials[i].hex) > 0);
        assert_non_null(BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x)));
        assert_true(tls_subject_of(x, &subject, NULL));
        assert_string_equal(subject.serial, serials[i].text);
        BN_free(n);
    }
    X509_free(x);
}

/* What could be read two ways, or is too much, is left out; what is beside it stays. */
static void alternative_names_that_cannot_be_bound_are_left_out(void **state)
{
    char many[1500] = "first.test", one[40];
    struct wanted w = {.cn = "sensor-1", .eku = "clientAuth", .from = -DAY, .until = DAY, .host = many};
    struct tls_subject subject;
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    struct issued i;
    static const char *const odd[] = {"a\0b", "a b", "a\nb", "ok1"};

    (void)state;
    for (unsigned n = 0; n < 40; n++) {
        snprintf(one, sizeof one, ",DNS:n%u.test", n);
        strcat(many, one);
    }
    i = certificates_issue(certificates_ec("P-256"), &w, &authority);
    assert_true(tls_subject_of(i.certificate, &subject, NULL));
    assert_int_equal(subject.san_count, TLS_SANS_MAX);
    assert_string_equal(tls_subject_san(&subject, 15), "DNS:n14.test");
    certificates_free(&i);

    for (unsigned n = 0; n < 4; n++) {
        GENERAL_NAME *name = GENERAL_NAME_new();
        ASN1_IA5STRING *text = ASN1_IA5STRING_new();

        assert_int_equal(ASN1_STRING_set(text, odd[n], 3), 1);
        GENERAL_NAME_set0_value(name, GEN_DNS, text);
        assert_true(sk_GENERAL_NAME_push(names, name) > 0);
    }
    w.host = NULL;
    i = certificates_issue(certificates_ec("P-256"), &w, &authority);
    assert_int_equal(X509_add1_ext_i2d(i.certificate, NID_subject_alt_name, names, 0, 0), 1);
    assert_true(tls_subject_of(i.certificate, &subject, NULL));
    assert_int_equal(subject.san_count, 1);
    assert_string_equal(tls_subject_san(&subject, 0), "DNS:ok1");
    certificates_free(&i);
    GENERAL_NAMES_free(names);
}

/* ---- certificates that change ---------------------------------------------------------------------------------------------------------- */

static void a_certificate_is_tried_before_it_is_shown(void **state)
{
    struct keeper k;
    struct tls_trust *t;
    struct err e = {0};

    (void)state;
    keeper_begin(&k, server_rsa.key, KEEPER_HONEST);
    t = trust_of(&server_ec, &k, 1);
    assert_false(tls_trust_try(t, &e));
    assert_int_equal(e.code, ERR_DENIED);
    assert_true(remote_line_linked(k.line)); /* a refusal is no fault of the role's */
    keeper_hold(&k, server_ec.key);
    err_clear(&e);
    assert_true(tls_trust_try(t, &e));
    remote_line_link(k.line, NULL);
    assert_false(tls_trust_try(t, &e));
    assert_int_equal(e.code, ERR_RETRY);
    tls_trust_release(t);
    keeper_end(&k);
}

/* Handshakes are under way, at every point, while certificate and key change fifty times between RSA and EC: none fails. */
static void handshakes_outlive_a_change_of_certificate(void **state)
{
    enum { CHANGES = 50, STEPS = 4 };
    const struct issued *const servers[] = {&server_rsa, &server_ec};
    struct tls_trust *t;
    struct keeper k;

    (void)state;
    keeper_begin(&k, servers[0]->key, KEEPER_HONEST);
    t = trust_of(servers[0], &k, 1);
    for (unsigned change = 1; change <= CHANGES; change++) {
        SSL_CTX *context = client_context(change % 4 < 2 ? TLS1_2_VERSION : TLS1_3_VERSION, true);
        struct peer peers[STEPS];
        struct tls_trust *fresh;
        struct peer p;

        for (unsigned i = 0; i < STEPS; i++) {
            peers[i] = connect_to(t, context);
            for (unsigned n = 0; n < i; n++)
                step(&peers[i]);
        }
        keeper_hold(&k, servers[change % 2]->key);
        fresh = trust_of(servers[change % 2], &k, 1);
        assert_true(tls_trust_try(fresh, NULL));
        tls_trust_release(t);
        t = fresh;
        for (unsigned i = 0; i < STEPS; i++) {
            finish(&peers[i]);
            if (!peers[i].server_done)
                print_error("change %u, step %u: %s\n", change, i, peers[i].server_err.text);
            assert_true(peers[i].done && peers[i].server_done);
            leave(&peers[i]);
        }
        p = connect_to(t, context);
        finish(&p);
        assert_true(p.done && p.server_done);
        assert_int_equal(X509_cmp(SSL_get0_peer_certificate(p.ssl), servers[change % 2]->certificate), 0);
        leave(&p);
        SSL_CTX_free(context);
    }
    tls_trust_release(t);
    keeper_end(&k);
}

static void keys_go_when_their_time_is_over(void **state)
{
    struct keys_held held = {0};
    uint8_t rsa[REMOTE_KEY_ID], ec[REMOTE_KEY_ID];

    (void)state;
    assert_true(remote_key_name(server_rsa.key, rsa, NULL));
    assert_true(remote_key_name(server_ec.key, ec, NULL));
    for (int i = 0; i < 2; i++) {
        EVP_PKEY_up_ref(server_rsa.key);
        assert_true(keys_put(&held, server_rsa.key, 1000, NULL)); /* the second time nothing changes */
        assert_int_equal(held.count, 1);
    }
    EVP_PKEY_up_ref(server_ec.key);
    assert_true(keys_put(&held, server_ec.key, 2000, NULL));
    assert_int_equal(held.count, 2);
    assert_memory_equal(held.at[0].name, ec, sizeof ec);
    keys_expire(&held, 2000 + KEYS_KEPT_MS - 1);
    assert_int_equal(held.count, 2);
    EVP_PKEY_up_ref(server_rsa.key); /* back again */
    assert_true(keys_put(&held, server_rsa.key, 3000, NULL));
    assert_int_equal(held.count, 2);
    assert_memory_equal(held.at[0].name, rsa, sizeof rsa);
    keys_expire(&held, 3000 + KEYS_KEPT_MS);
    assert_int_equal(held.count, 1);
    assert_memory_equal(held.at[0].name, rsa, sizeof rsa);
    keys_expire(&held, UINT64_MAX);
    assert_int_equal(held.count, 1); /* the one in force stays */
    for (int i = 0; i < 8; i++) {
        assert_true(keys_put(&held, certificates_ec("P-256"), 4000, NULL));
        assert_true(held.count <= KEYS_HELD_MAX);
    }
    keys_free(&held);
}

static void what_is_no_certificate_is_refused(void **state)
{
    struct buf chain = pem_of(&server_ec, NULL), anchors = pem_of(&authority, NULL), broken = pem_of(&authority, NULL);
    struct remote_line *line = remote_line_new();
    const struct tls_trust_options wrong[] = {
        {slice_of(NULL, 0), buf_slice(&anchors), 1, TLS_CLIENT_REQUIRED},
        {SLICE_LITERAL("not PEM"), buf_slice(&anchors), 1, TLS_CLIENT_REQUIRED},
        {buf_slice(&chain), slice_of(NULL, 0), 1, TLS_CLIENT_REQUIRED},
        {buf_slice(&chain), SLICE_LITERAL("not PEM"), 1, TLS_CLIENT_REQUIRED},
        {buf_slice(&chain), SLICE_LITERAL("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"), 1, TLS_CLIENT_REQUIRED},
        {buf_slice(&chain), slice_of(broken.data + broken.start, broken.len - 40), 1, TLS_CLIENT_REQUIRED},
    };

    (void)state;
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct err e = {0};

        assert_null(tls_trust_new(&wrong[i], line, &e));
        assert_int_equal(e.code, ERR_INPUT);
        assert_true(*e.text != '\0');
    }
    remote_line_free(line);
    buf_free(&chain);
    buf_free(&anchors);
    buf_free(&broken);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_handshake_is_full),
        cmocka_unit_test(the_response_held_is_stapled),
        cmocka_unit_test(the_chain_is_given_as_it_was_sent),
        cmocka_unit_test(a_chain_longer_than_the_depth_is_refused_and_named),
        cmocka_unit_test(no_certificate_is_a_refusal_of_its_own),
        cmocka_unit_test(serial_and_alternative_names_are_read_in_one_spelling),
        cmocka_unit_test(alternative_names_that_cannot_be_bound_are_left_out),
        cmocka_unit_test(a_certificate_is_tried_before_it_is_shown),
        cmocka_unit_test(handshakes_outlive_a_change_of_certificate),
        cmocka_unit_test(keys_go_when_their_time_is_over),
        cmocka_unit_test(what_is_no_certificate_is_refused),
    };

    return cmocka_run_group_tests_name("tls_trust", tests, set_up, tear_down);
}
