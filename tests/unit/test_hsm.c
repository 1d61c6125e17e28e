/* Keys in a real SoftHSM token: created so that they cannot leave, used, and everything wrong named. */
#include "tests/unit/unit.h"

#include <dlfcn.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <p11-kit-1/p11-kit/pkcs11.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/formats/timestamp.h"
#include "sealer/token.h"
#include "tests/unit/vault.h"

static bool signs(EVP_PKEY *key, EVP_PKEY *public_half)
{
    static const char text[] = "what is to be signed";
    uint8_t signature[1024];
    size_t len = sizeof signature;
    EVP_MD_CTX *s = EVP_MD_CTX_new(), *v = EVP_MD_CTX_new();
    bool ok = EVP_DigestSignInit(s, NULL, EVP_sha256(), NULL, key) == 1 &&
              EVP_DigestSign(s, signature, &len, (const uint8_t *)text, sizeof text) == 1 &&
              EVP_DigestVerifyInit(v, NULL, EVP_sha256(), NULL, public_half) == 1 &&
              EVP_DigestVerify(v, signature, len, (const uint8_t *)text, sizeof text) == 1;

    EVP_MD_CTX_free(s);
    EVP_MD_CTX_free(v);
    return ok;
}

static void key_in_the_token_signs_again_after_reload(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct err e = {0};
        struct hsm *h = hsm_open(&vault.token, "seal", &e);

        assert_non_null(h);
        assert_true(signs(hsm_key(h), vault.seal.key));
        assert_int_equal(EVP_PKEY_get_bits(vault.seal.key), 3072);
        hsm_close(h);
    }
}

/* Asks the module itself, not our code. */
static void private_half_stays_in_the_token(void **state)
{
    CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
    CK_ATTRIBUTE wanted[] = {{CKA_CLASS, &class, sizeof class}, {CKA_LABEL, (char[]){"seal"}, 4}};
    CK_BBOOL extractable = CK_TRUE, sensitive = CK_FALSE;
    CK_ATTRIBUTE is[] = {{CKA_EXTRACTABLE, &extractable, 1}, {CKA_SENSITIVE, &sensitive, 1}};
    CK_BYTE d[1024];
    CK_ATTRIBUTE exponent = {CKA_PRIVATE_EXPONENT, d, sizeof d};
    void *library = dlopen(vault.token.module, RTLD_NOW), *symbol = dlsym(library, "C_GetFunctionList");
    CK_C_GetFunctionList get;
    CK_FUNCTION_LIST *f;
    CK_SLOT_ID slots[8];
    CK_ULONG count = 8, found = 0;
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE key;

    (void)state;
    memcpy(&get, &symbol, sizeof get);
    assert_int_equal(get(&f), CKR_OK);
    assert_int_equal(f->C_Initialize(NULL), CKR_OK);
    assert_int_equal(f->C_GetSlotList(CK_TRUE, slots, &count), CKR_OK);
    assert_int_equal(f->C_OpenSession(slots[0], CKF_SERIAL_SESSION, NULL, NULL, &session), CKR_OK);
    assert_int_equal(f->C_Login(session, CKU_USER, (CK_UTF8CHAR[]){"1234"}, 4), CKR_OK);
    assert_int_equal(f->C_FindObjectsInit(session, wanted, 2), CKR_OK);
    assert_int_equal(f->C_FindObjects(session, &key, 1, &found), CKR_OK);
    assert_int_equal(found, 1);
    assert_int_equal(f->C_GetAttributeValue(session, key, is, 2), CKR_OK);
    assert_int_equal(extractable, CK_FALSE);
    assert_int_equal(sensitive, CK_TRUE);
    assert_int_equal(f->C_GetAttributeValue(session, key, &exponent, 1), CKR_ATTRIBUTE_SENSITIVE);
    f->C_Finalize(NULL);
    dlclose(library);
}

static void presence_is_told(void **state)
{
    struct err e = {0};
    bool found;

    (void)state;
    assert_true(hsm_has_key(&vault.token, "seal", &found, &e));
    assert_true(found);
    assert_true(hsm_has_key(&vault.token, "nobody", &found, &e));
    assert_false(found);
}

static void refuses(const struct hsm_token *where, const char *key, const char *why)
{
    struct err e = {0};

    assert_null(hsm_open(where, key, &e));
    assert_int_not_equal(e.code, ERR_NONE);
    if (strstr(e.text, why) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", e.text, why);
}

static void wrong_names_are_named(void **state)
{
    struct hsm_token t = vault.token;

    (void)state;
    refuses(&t, "nobody", "no private key labelled \"nobody\"");
    t.label = "elsewhere";
    refuses(&t, "seal", "no token is labelled \"elsewhere\"");
    t = vault.token;
    t.module = "/nowhere/pkcs11.so";
    refuses(&t, "seal", "/nowhere/pkcs11.so");
    t = vault.token;
    t.pin_file = "/nowhere/pin";
    refuses(&t, "seal", "/nowhere/pin");
    ERR_clear_error();
}

static void two_keys_of_one_label_are_refused(void **state)
{
    struct err e = {0};

    (void)state;
    assert_true(hsm_generate_rsa(&vault.token, "twice", 3072, &e) && hsm_generate_rsa(&vault.token, "twice", 3072, &e));
    refuses(&vault.token, "twice", "two private keys");
}

static void short_keys_are_refused(void **state)
{
    struct err e = {0};

    (void)state;
    assert_false(hsm_generate_rsa(&vault.token, "short", 2048, &e));
    assert_int_equal(e.code, ERR_INPUT);
}

/* The token's folder is moved away below a library that has it open, as a network HSM that was taken away. */
static void token_that_went_away_is_noticed(void **state)
{
    char *tokens = mem_printf("%s/tokens", vault.folder), *aside = mem_printf("%s/aside", vault.folder);
    struct err e = {0};
    struct hsm *h = hsm_open(&vault.token, "seal", &e);

    (void)state;
    assert_non_null(h);
    assert_true(hsm_probe(&vault.token, "seal", &e));
    assert_true(hsm_probe(&vault.token, "seal", &e));
    assert_true(signs(hsm_key(h), vault.seal.key));
    assert_int_equal(rename(tokens, aside), 0);
    assert_false(hsm_probe(&vault.token, "seal", &e));
    assert_int_equal(e.code, ERR_RETRY);
    hsm_close(h);
    assert_int_equal(rename(aside, tokens), 0);
    err_clear(&e);
    h = hsm_open(&vault.token, "seal", &e);
    assert_non_null(h);
    assert_true(hsm_probe(&vault.token, "seal", &e));
    assert_true(signs(hsm_key(h), vault.seal.key));
    hsm_close(h);
    ERR_clear_error();
    free(tokens);
    free(aside);
}

static void token_of_the_hsm_key_verifies_and_only_for_its_imprint(void **state)
{
    struct err e = {0};
    struct hsm *h = hsm_open(&vault.token, "tsa", &e);
    struct trust *t = vault_trust();
    const int64_t now_us = (int64_t)time(NULL) * 1000000 + 123456;
    uint8_t imprint[32] = {1, 2, 3}, other[32] = {1, 2, 4};
    struct timestamp ts;
    enum timestamp_fault fault;
    struct buf token;

    (void)state;
    assert_non_null(h);
    buf_init(&token, TIMESTAMP_TOKEN_MAX);
    assert_true(token_make(&(struct token_maker){.certificate = vault.tsa.cert, .key = hsm_key(h), .policy = "1.2.3.4"}, imprint,
                           now_us, &token, &e));
    assert_true(timestamp_verify(buf_slice(&token), imprint, t, &ts, &fault, &e));
    assert_int_equal(ts.time_ms, now_us / 1000);
    assert_string_equal(ts.policy, "1.2.3.4");
    timestamp_free(&ts);
    assert_false(timestamp_verify(buf_slice(&token), other, t, &ts, &fault, &e));
    assert_int_equal(fault, TIMESTAMP_FAULT_IMPRINT);
    buf_free(&token);
    trust_free(t);
    hsm_close(h);
}

static void certificate_that_may_not_stamp_is_refused(void **state)
{
    struct err e = {0};
    struct hsm *h = hsm_open(&vault.token, "seal", &e);
    uint8_t imprint[32] = {0};
    struct buf token;

    (void)state;
    buf_init(&token, TIMESTAMP_TOKEN_MAX);
    assert_false(token_make(&(struct token_maker){.certificate = vault.seal.cert, .key = hsm_key(h), .policy = "1.2.3.4"}, imprint,
                            1000000, &token, &e));
    assert_int_equal(e.code, ERR_FATAL);
    hsm_close(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(key_in_the_token_signs_again_after_reload),
        cmocka_unit_test(private_half_stays_in_the_token),
        cmocka_unit_test(presence_is_told),
        cmocka_unit_test(wrong_names_are_named),
        cmocka_unit_test(token_that_went_away_is_noticed),
        cmocka_unit_test(two_keys_of_one_label_are_refused),
        cmocka_unit_test(short_keys_are_refused),
        cmocka_unit_test(token_of_the_hsm_key_verifies_and_only_for_its_imprint),
        cmocka_unit_test(certificate_that_may_not_stamp_is_refused),
    };

    return cmocka_run_group_tests(tests, vault_set_up, vault_tear_down);
}
