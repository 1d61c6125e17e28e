/* TLS between two ends of a socket pair: who gets in, who does not and why, bytes both ways in any amount. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/pem.h>
#include <openssl/rand.h>

#include "tests/unit/ends.h"
#include "tests/unit/folder.h"
#include "tests/unit/unit.h"

/* ---- who gets in ------------------------------------------------------------------------------------------------------------- */

static void a_good_certificate_gets_in(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct tls_subject subject;
        struct err e = {0};
        struct ends p;

        ends_make_client(i < 2 ? certificates_ec("P-256") : certificates_rsa(2048), ends_good, &ends_pki.authority);
        p = ends_connect(&(struct ends_setup){.client = "client", .version = versions[i % 2]});
        assert_int_equal(p.server_result, TLS_OK);
        assert_int_equal(p.client_result, TLS_OK);
        assert_true(tls_peer_verified(p.server, &e));
        assert_true(tls_peer_subject(p.server, &subject, &e));
        assert_string_equal(subject.cn, "sensor-1");
        assert_string_equal(subject.ou, "Operateur 4512");
        ends_close(&p);
    }
}

/* Refused in both modes: by the handshake, or by what is remembered of it. */
static void refused(const char *why)
{
    struct ends p = ends_connect(&(struct ends_setup){.client = "client"});
    struct err e = {0};

    assert_int_equal(p.server_result, TLS_ERROR);
    assert_int_equal(p.server_err.code, ERR_DENIED);
    if (strstr(p.server_err.text, why) == NULL)
        print_error("\"%s\" does not say \"%s\"\n", p.server_err.text, why);
    assert_non_null(strstr(p.server_err.text, why));
    assert_int_not_equal(p.client_result, TLS_OK);
    ends_close(&p);

    p = ends_connect(&(struct ends_setup){.client = "client", .mode = TLS_CLIENT_REPORTED});
    assert_int_equal(p.server_result, TLS_OK);
    assert_int_equal(p.client_result, TLS_OK);
    assert_false(tls_peer_verified(p.server, &e));
    assert_int_equal(e.code, ERR_DENIED);
    assert_non_null(strstr(e.text, why));
    ends_close(&p);
}

static void wrong_certificates_are_refused_with_the_reason(void **state)
{
    struct wanted w;

    (void)state;
    w = ends_good;
    w.until = -60;
    ends_make_client(certificates_ec("P-256"), w, &ends_pki.authority);
    refused("certificate has expired");
    w = ends_good;
    w.from = 3600;
    ends_make_client(certificates_ec("P-256"), w, &ends_pki.authority);
    refused("certificate is not yet valid");
    ends_make_client(certificates_ec("P-256"), ends_good, &ends_pki.stranger);
    refused("unable to get local issuer certificate");
    ends_make_client(certificates_ec("P-256"), ends_good, NULL);
    refused("self-signed certificate");
    w = ends_good;
    w.eku = "serverAuth";
    ends_make_client(certificates_ec("P-256"), w, &ends_pki.authority);
    refused("purpose");
    w.eku = NULL;
    ends_make_client(certificates_ec("P-256"), w, &ends_pki.authority);
    refused("purpose");
    w = ends_good;
    w.usage = "keyAgreement";
    ends_make_client(certificates_ec("P-256"), w, &ends_pki.authority);
    refused("purpose");
    w.usage = "keyEncipherment";
    ends_make_client(certificates_rsa(2048), w, &ends_pki.authority);
    refused("purpose");
}

/* "client" with so many bytes of its authority's certificate, again and again, behind its own. */
static void make_long_client(size_t bytes)
{
    int one = i2d_X509(ends_pki.authority.certificate, NULL);
    char *path;
    FILE *out;

    assert_true(one > 0);
    ends_make_client(certificates_ec("P-256"), ends_good, &ends_pki.authority);
    path = folder_file("client.pem");
    out = fopen(path, "ae");
    free(path);
    assert_non_null(out);
    for (size_t n = 0; n < bytes; n += (size_t)one)
        assert_int_equal(PEM_write_X509(out, ends_pki.authority.certificate), 1);
    assert_int_equal(fclose(out), 0);
}

/* In both modes and versions, by the handshake itself: nobody has 100 KiB of certificates parsed here. */
static void too_many_bytes_of_certificates_are_refused(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        const struct ends_setup s = {.client = "client", .version = versions[i % 2], .mode = i < 2 ? TLS_CLIENT_REQUIRED : TLS_CLIENT_REPORTED};
        struct ends p;

        make_long_client(TLS_CHAIN_BYTES);
        p = ends_connect(&s);
        assert_int_equal(p.server_result, TLS_ERROR);
        assert_int_equal(p.server_err.code, ERR_DENIED);
        assert_non_null(strstr(p.server_err.text, "more than 32768 bytes of certificates"));
        assert_int_equal(tls_peer_fault(p.server), X509_V_ERR_CERT_CHAIN_TOO_LONG);
        assert_int_not_equal(p.client_result, TLS_OK);
        ends_close(&p);
        make_long_client(TLS_CHAIN_BYTES / 2);
        p = ends_connect(&s);
        assert_int_equal(p.server_result, TLS_OK);
        ends_close(&p);
    }
}

/* Another message that is too long is not taken for somebody's certificates. */
static void a_hello_too_long_is_nobodys(void **state)
{
    static const uint8_t hello[] = {22, 3, 1, 0, 4, 1, 4, 0, 0}; /* a ClientHello of 256 KiB is announced */
    struct buf chain = ends_pem("server-rsa"), anchors = ends_pem("ca");
    struct tls_server_parts so = {buf_slice(&chain), ends_pki.server_rsa.key, buf_slice(&anchors), 3, TLS_CLIENT_REPORTED};
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
    struct ends p = ends_connect(&(struct ends_setup){0});
    struct tls_subject subject;
    struct err e = {0};

    (void)state;
    assert_int_equal(p.server_result, TLS_ERROR);
    ends_close(&p);
    p = ends_connect(&(struct ends_setup){.mode = TLS_CLIENT_REPORTED});
    assert_int_equal(p.server_result, TLS_OK);
    assert_false(tls_peer_verified(p.server, &e));
    assert_false(tls_peer_subject(p.server, &subject, &e));
    assert_non_null(strstr(e.text, "no certificate"));
    ends_close(&p);
}

static void weak_keys_are_refused(void **state)
{
    struct tls_client_options o;
    struct err e = {0};
    struct ends p;
    char *pem = folder_file("client.pem"), *key = folder_file("client.key"),
         *ca = folder_file("ca.pem");

    (void)state;
    ends_make_client(certificates_rsa(1024), ends_good, &ends_pki.authority);
    p = ends_connect(&(struct ends_setup){.client = "client", .careless = true});
    assert_int_equal(p.server_result, TLS_ERROR);
    assert_non_null(strstr(p.server_err.text, "key too weak"));
    ends_close(&p);
    /* Our own client does not even load it. */
    o = (struct tls_client_options){ca, pem, key};
    assert_null(tls_client_context(&o, &e));
    assert_int_equal(e.code, ERR_INPUT);
    assert_false(tls_check_pair(pem, key, NULL));
    ends_make_client(certificates_ec("P-224"), ends_good, &ends_pki.authority);
    p = ends_connect(&(struct ends_setup){.client = "client", .careless = true});
    assert_int_equal(p.server_result, TLS_ERROR);
    ends_close(&p);
    free(pem);
    free(key);
    free(ca);
}

static void subjects_that_can_be_read_two_ways_are_refused(void **state)
{
    static const char *const bad[] = {"a\x01""b", "line\nfeed"};
    struct tls_subject subject;
    struct wanted w = ends_good;
    struct issued i;
    struct err e = {0};

    (void)state;
    w.from = -ENDS_DAY;
    w.until = ENDS_DAY;
    w.cn = "one";
    w.second_cn = "two";
    i = certificates_issue(certificates_ec("P-256"), &w, &ends_pki.authority);
    assert_false(tls_subject_of(i.certificate, &subject, &e));
    assert_int_equal(e.code, ERR_DENIED);
    assert_non_null(strstr(e.text, "more than one CN"));
    certificates_free(&i);
    w.second_cn = w.cn = NULL;
    i = certificates_issue(certificates_ec("P-256"), &w, &ends_pki.authority);
    assert_false(tls_subject_of(i.certificate, &subject, NULL));
    certificates_free(&i);
    for (unsigned k = 0; k < sizeof bad / sizeof *bad; k++) {
        w.cn = bad[k];
        i = certificates_issue(certificates_ec("P-256"), &w, &ends_pki.authority);
        assert_false(tls_subject_of(i.certificate, &subject, NULL));
        certificates_free(&i);
    }
    w.cn = "Pari-mutuel d\xc3\xa9partemental";
    w.ou = NULL;
    i = certificates_issue(certificates_ec("P-256"), &w, &ends_pki.authority);
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
    struct ends p;

    (void)state;
    ends_make_client(certificates_ec("P-256"), ends_good, &ends_pki.authority);
    p = ends_connect(&(struct ends_setup){.client = "client", .host = "elsewhere.test"});
    assert_int_equal(p.client_result, TLS_ERROR);
    assert_int_equal(p.client_err.code, ERR_DENIED);
    assert_non_null(strstr(p.client_err.text, "hostname mismatch"));
    ends_close(&p);
}

static void old_versions_are_refused(void **state)
{
    struct ends p;

    (void)state;
    ends_make_client(certificates_ec("P-256"), ends_good, &ends_pki.authority);
    p = ends_connect(&(struct ends_setup){.client = "client", .version = TLS1_1_VERSION});
    assert_int_equal(p.client_result, TLS_ERROR);
    assert_int_not_equal(p.server_result, TLS_OK);
    ends_close(&p);
}

/* ---- bytes ------------------------------------------------------------------------------------------------------------------- */

static void bytes_arrive_in_order_whatever_the_amounts(void **state)
{
    enum { TOTAL = 3 << 20 };
    struct buf sent, got, queue;
    struct ends p;
    size_t fed = 0;

    (void)state;
    ends_make_client(certificates_ec("P-256"), ends_good, &ends_pki.authority);
    p = ends_connect(&(struct ends_setup){.client = "client"});
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
    ends_close(&p);
}

static void a_bounded_read_leaves_the_rest(void **state)
{
    struct buf out, in;
    struct ends p;

    (void)state;
    ends_make_client(certificates_ec("P-256"), ends_good, &ends_pki.authority);
    p = ends_connect(&(struct ends_setup){.client = "client"});
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
    ends_close(&p);
}

static void garbage_is_an_error_and_stays_one(void **state)
{
    struct buf in;
    struct err e = {0};
    struct ends p;

    (void)state;
    ends_make_client(certificates_ec("P-256"), ends_good, &ends_pki.authority);
    p = ends_connect(&(struct ends_setup){.client = "client"});
    buf_init(&in, 1000);
    assert_int_equal(write(tls_fd(p.client), "this is not a TLS record, not at all", 36), 36);
    assert_int_equal(tls_read(p.server, &in, 100, &e), TLS_ERROR);
    assert_int_equal(in.len, 0);
    assert_int_equal(tls_read(p.server, &in, 100, NULL), TLS_ERROR);
    buf_free(&in);
    ends_close(&p);
}

/* ---- files -------------------------------------------------------------------------------------------------------------------- */

static void files_that_are_wrong_are_named(void **state)
{
    char *missing = folder_file("missing.pem"), *pem = folder_file("server-rsa.pem"),
         *other = folder_file("server-ec.key"), *key = folder_file("server-rsa.key");
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

int main(void)
{
    const struct CMUnitTest tests[] = {
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
        cmocka_unit_test(files_that_are_wrong_are_named),
    };

    return cmocka_run_group_tests_name("tls", tests, ends_set_up, ends_tear_down);
}
