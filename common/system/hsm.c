/* Private keys of a PKCS#11 token as OpenSSL keys: see hsm.h. */
#include "common/system/hsm.h"

#include <stdlib.h>
#include <string.h>

#include <libp11.h>
#include <openssl/err.h>

#include "common/system/hsm_internal.h"
#include "common/values/buf.h"

struct hsm {
    PKCS11_CTX *ctx;
    struct hsm_login *login; /* what all sessions of this process with the token live on */
    bool loaded; /* the module is */
    PKCS11_SLOT *slots;
    unsigned slot_count;
    PKCS11_SLOT *slot; /* with the token; inside slots */
    EVP_PKEY *key;
};

static bool load_module(struct hsm *h, const char *module, struct err *e)
{
    h->ctx = PKCS11_CTX_new();
    if (h->ctx == NULL)
        return err_set_openssl(e, ERR_FATAL, "PKCS#11");
    if (PKCS11_CTX_load(h->ctx, module) != 0)
        return err_set_openssl(e, ERR_RETRY, "PKCS#11 library %s", module);
    h->loaded = true;
    if (PKCS11_enumerate_slots(h->ctx, &h->slots, &h->slot_count) != 0)
        return err_set_openssl(e, ERR_RETRY, "PKCS#11 slots");
    return true;
}

static bool find_token(struct hsm *h, const char *label, struct err *e)
{
    PKCS11_SLOT *s = NULL;

    while ((s = PKCS11_find_next_token(h->ctx, h->slots, h->slot_count, s)) != NULL) {
        if (s->token->label == NULL || strcmp(s->token->label, label) != 0)
            continue;
        if (h->slot != NULL)
            return err_set(e, ERR_FATAL, "PKCS#11: two tokens are labelled \"%s\"", label);
        h->slot = s;
    }
    return h->slot != NULL || err_set(e, ERR_RETRY, "PKCS#11: no token is labelled \"%s\"", label);
}

/* Not by PKCS11_login(), which keeps a copy of the PIN for as long as the library is loaded. */
static bool log_in(struct hsm *h, const struct hsm_token *where, struct err *e)
{
    if (PKCS11_open_session(h->slot, 0) != 0)
        return err_set_openssl(e, ERR_RETRY, "PKCS#11 session");
    h->login = hsm_log_in(where, e);
    return h->login != NULL;
}

/* *found stays NULL when there is none. */
static bool find_key(struct hsm *h, const char *label, PKCS11_KEY **found, struct err *e)
{
    PKCS11_KEY *keys = NULL;
    unsigned count = 0;

    *found = NULL;
    if (PKCS11_enumerate_keys(h->slot->token, &keys, &count) != 0)
        return err_set_openssl(e, ERR_RETRY, "PKCS#11 keys");
    for (unsigned i = 0; i < count; i++) {
        if (!keys[i].isPrivate || keys[i].label == NULL || strcmp(keys[i].label, label) != 0)
            continue;
        if (*found != NULL)
            return err_set(e, ERR_FATAL, "PKCS#11: two private keys are labelled \"%s\"", label);
        *found = &keys[i];
    }
    return true;
}

static struct hsm *open_token(const struct hsm_token *where, struct err *e)
{
    struct hsm *h = mem_zalloc(1, sizeof *h);

    ERR_clear_error(); /* what is told is what fails here */
    if (load_module(h, where->module, e) && find_token(h, where->label, e) && log_in(h, where, e))
        return h;
    hsm_close(h);
    return NULL;
}

EVP_PKEY *hsm_find_key(struct hsm *h, const char *key, struct err *e)
{
    PKCS11_KEY *found;
    EVP_PKEY *k;

    if (!find_key(h, key, &found, e))
        return NULL;
    if (found == NULL) {
        (void)err_set(e, ERR_RETRY, "PKCS#11: token \"%s\" has no private key labelled \"%s\"", h->slot->token->label, key);
        return NULL;
    }
    k = PKCS11_get_private_key(found);
    if (k == NULL)
        (void)err_set_openssl(e, ERR_RETRY, "PKCS#11 key \"%s\"", key);
    return k;
}

struct hsm *hsm_open(const struct hsm_token *where, const char *key, struct err *e)
{
    struct hsm *h = open_token(where, e);

    if (h == NULL)
        return NULL;
    h->key = hsm_find_key(h, key, e);
    if (h->key != NULL)
        return h;
    hsm_close(h);
    return NULL;
}

EVP_PKEY *hsm_key(const struct hsm *h)
{
    return h->key;
}

void hsm_close(struct hsm *h)
{
    if (h == NULL)
        return;
    EVP_PKEY_free(h->key);
    hsm_log_out(h->login);
    if (h->slots != NULL)
        PKCS11_release_all_slots(h->ctx, h->slots, h->slot_count);
    if (h->loaded)
        PKCS11_CTX_unload(h->ctx);
    if (h->ctx != NULL)
        PKCS11_CTX_free(h->ctx);
    free(h);
}

bool hsm_has_key(const struct hsm_token *where, const char *key, bool *found, struct err *e)
{
    struct hsm *h = open_token(where, e);
    PKCS11_KEY *k = NULL;
    bool ok = h != NULL && find_key(h, key, &k, e);

    *found = k != NULL;
    hsm_close(h);
    return ok;
}
