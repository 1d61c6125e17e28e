/* Private keys that live elsewhere: the keys role's own code answers in a thread of this process, RSA and EC, TLS 1.2 and 1.3; and what it signs, which is nothing else. */
#include <stdio.h>
#include <string.h>

#include "common/values/wire.h"
#include "tests/unit/ends.h"
#include "tests/unit/keeper.h"
#include "tests/unit/unit.h"

static struct ends connect_remote(const char *name, const struct issued *server, int version, struct keeper *k, enum keeper_manner manner)
{
    struct ends_setup s = {.client = "client", .server = name, .version = version};
    struct buf pem = ends_pem(name);
    struct ends p;

    keeper_begin(k, server->key, manner);
    s.remote = remote_key_new(k->line, buf_slice(&pem), NULL);
    assert_non_null(s.remote);
    p = ends_connect(&s);
    /* One that misses its deadline is not asked again: it would hold its front for a deadline at every handshake. */
    if (manner == KEEPER_SILENT)
        assert_false(remote_line_linked(k->line));
    SSL_CTX_free(p.server_context);
    p.server_context = NULL;
    tls_stream_free(p.server);
    p.server = NULL;
    remote_key_free(s.remote);
    keeper_end(k);
    buf_free(&pem);
    return p;
}

static void remote_keys_shake_hands(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct keeper k;
        struct ends p = connect_remote(i < 2 ? "server-rsa" : "server-ec", i < 2 ? &ends_pki.server_rsa : &ends_pki.server_ec, versions[i % 2], &k, KEEPER_HONEST);

        if (p.server_result != TLS_OK)
            print_error("%u: %s\n", i, p.server_err.text);
        assert_int_equal(p.server_result, TLS_OK);
        assert_int_equal(p.client_result, TLS_OK);
        assert_int_equal(k.answers, 1);
        ends_close(&p);
    }
}

static void a_silent_or_lying_keys_role_fails_the_handshake_only(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct keeper k;
        struct ends p = connect_remote(i % 2 == 0 ? "server-rsa" : "server-ec", i % 2 == 0 ? &ends_pki.server_rsa : &ends_pki.server_ec, 0, &k, i < 2 ? KEEPER_SILENT : KEEPER_LYING);

        assert_false(p.server_result == TLS_OK && p.client_result == TLS_OK);
        ends_close(&p);
    }
}

static void without_the_keys_role_no_handshake(void **state)
{
    struct remote_line *line = remote_line_new();
    struct buf pem = ends_pem("server-rsa");
    struct remote_key *remote = remote_key_new(line, buf_slice(&pem), NULL);
    struct err e = {0};
    struct ends p;

    (void)state;
    assert_non_null(remote);
    assert_false(remote_line_linked(line));
    p = ends_connect(&(struct ends_setup){.client = "client", .remote = remote});
    assert_int_equal(p.server_result, TLS_ERROR);
    ends_close(&p);
    assert_false(remote_key_try(remote, &e));
    assert_int_equal(e.code, ERR_RETRY);
    remote_key_free(remote);
    remote_line_free(line);
    buf_free(&pem);
}

static void hold(struct keys_held *held, EVP_PKEY *key)
{
    assert_int_equal(EVP_PKEY_up_ref(key), 1);
    assert_true(keys_put(held, key, 0, NULL));
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
    assert_true(asks(ends_pki.server_rsa.key, REMOTE_KEY_RSA, block, 256));
    assert_false(asks(ends_pki.server_rsa.key, REMOTE_KEY_RSA, block, 255));
    assert_false(asks(ends_pki.server_rsa.key, REMOTE_KEY_RSA, block, 257));
    assert_false(asks(ends_pki.server_rsa.key, REMOTE_KEY_RSA, block, 0));
    assert_false(asks(ends_pki.server_rsa.key, REMOTE_KEY_ECDSA, block, 32));
    assert_false(asks(ends_pki.server_rsa.key, 3, block, 256));
    block[1] = 2; /* encryption padding */
    assert_false(asks(ends_pki.server_rsa.key, REMOTE_KEY_RSA, block, 256));
    block[1] = 1;
    block[5] = 0; /* too short a padding */
    assert_false(asks(ends_pki.server_rsa.key, REMOTE_KEY_RSA, block, 256));
    block[1] = 0x55; /* a raw number, as a ciphertext is */
    assert_false(asks(ends_pki.server_rsa.key, REMOTE_KEY_RSA, block, 256));
    assert_true(asks(ends_pki.server_ec.key, REMOTE_KEY_ECDSA, block, 32));
    assert_true(asks(ends_pki.server_ec.key, REMOTE_KEY_ECDSA, block, 48));
    assert_false(asks(ends_pki.server_ec.key, REMOTE_KEY_ECDSA, block, 31));
    assert_false(asks(ends_pki.server_ec.key, REMOTE_KEY_ECDSA, block, 0));
    assert_false(asks(ends_pki.server_ec.key, REMOTE_KEY_RSA, block, 256));
    hold(&held, ends_pki.server_ec.key);
    assert_false(keys_answer(&held, SLICE_LITERAL("\0\0\0\1namename\2\0\0\0\x20short"), NULL, NULL));
    keys_free(&held);
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

static int make(void **state)
{
    if (ends_set_up(state) != 0)
        return -1;
    ends_make_client(certificates_ec("P-256"), ends_good, &ends_pki.authority);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_blocks_of_signatures_are_signed),
        cmocka_unit_test(remote_keys_shake_hands),
        cmocka_unit_test(a_silent_or_lying_keys_role_fails_the_handshake_only),
        cmocka_unit_test(without_the_keys_role_no_handshake),
        cmocka_unit_test(the_keys_role_signs_signatures_only),
    };

    return cmocka_run_group_tests_name("TLS keys", tests, make, ends_tear_down);
}
