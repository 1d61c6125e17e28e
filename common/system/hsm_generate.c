/* What is asked of a PKCS#11 module with its own calls: keys created with every attribute said, and whether one is still there. See hsm.h. */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include <p11-kit-1/p11-kit/pkcs11.h>

#include "common/system/hsm_internal.h"
#include "common/values/buf.h"

enum { SLOTS_MAX = 256, RSA_BITS_MIN = 3072, RSA_BITS_MAX = 8192 };

struct module {
    void *library;
    CK_FUNCTION_LIST *f;
    bool initialised;
    CK_SESSION_HANDLE session;
    bool in_session;
};

static bool said(CK_RV rv, const char *call, struct err *e)
{
    return rv == CKR_OK || err_set(e, ERR_RETRY, "PKCS#11 %s: error 0x%lx", call, (unsigned long)rv);
}

static bool module_load(struct module *m, const char *path, int how, struct err *e)
{
    CK_C_GetFunctionList get = NULL;
    void *symbol;

    m->library = dlopen(path, RTLD_NOW | RTLD_LOCAL | how);
    if (m->library == NULL)
        return err_set(e, ERR_FATAL, "PKCS#11 library %s: %s", path, dlerror());
    symbol = dlsym(m->library, "C_GetFunctionList");
    memcpy(&get, &symbol, sizeof get); /* the one conversion ISO C does not give */
    if (get == NULL)
        return err_set(e, ERR_FATAL, "%s is not a PKCS#11 library", path);
    return said(get(&m->f), "C_GetFunctionList", e);
}

static bool module_open(struct module *m, const char *path, struct err *e)
{
    if (!module_load(m, path, 0, e) || !said(m->f->C_Initialize(NULL), "C_Initialize", e))
        return false;
    m->initialised = true;
    return true;
}

static void module_close(struct module *m)
{
    if (m->in_session)
        m->f->C_CloseSession(m->session);
    if (m->initialised)
        m->f->C_Finalize(NULL);
    if (m->library != NULL)
        dlclose(m->library);
}

/* PKCS#11 v2.40 3.2: a token's label is padded with blanks to 32 bytes. */
static bool label_is(const CK_TOKEN_INFO *info, const char *label)
{
    size_t len = sizeof info->label;

    while (len > 0 && info->label[len - 1] == ' ')
        len--;
    return strlen(label) == len && memcmp(info->label, label, len) == 0;
}

static bool find_slot(struct module *m, const char *label, CK_SLOT_ID *slot, struct err *e)
{
    CK_SLOT_ID slots[SLOTS_MAX];
    CK_ULONG count = SLOTS_MAX;
    CK_TOKEN_INFO info;

    if (!said(m->f->C_GetSlotList(CK_TRUE, slots, &count), "C_GetSlotList", e))
        return false;
    for (CK_ULONG i = 0; i < count; i++)
        if (m->f->C_GetTokenInfo(slots[i], &info) == CKR_OK && label_is(&info, label)) {
            *slot = slots[i];
            return true;
        }
    return err_set(e, ERR_RETRY, "PKCS#11: no token is labelled \"%s\"", label);
}

/* PKCS#11 v2.40 5.6: what C_Login says when it is the PIN that is wrong, or may not be tried any more. */
static bool is_of_pin(CK_RV rv)
{
    return rv == CKR_PIN_INCORRECT || rv == CKR_PIN_INVALID || rv == CKR_PIN_LEN_RANGE || rv == CKR_PIN_EXPIRED || rv == CKR_PIN_LOCKED;
}

static bool give_pin(struct module *m, const struct hsm_token *where, const struct secret *pin, struct err *e)
{
    CK_RV rv = CKR_FUNCTION_CANCELED;
    bool allowed = where->guard == NULL || where->guard->before(where->guard->ctx, pin, e);

    if (allowed)
        rv = m->f->C_Login(m->session, CKU_USER, pin->at, pin->len);
    if (where->guard != NULL)
        where->guard->after(where->guard->ctx, pin, rv == CKR_OK ? HSM_PIN_TAKEN : is_of_pin(rv) ? HSM_PIN_REFUSED : HSM_PIN_UNKNOWN);
    if (is_of_pin(rv))
        return err_set(e, ERR_DENIED, "%s: token \"%s\" refuses this PIN (%s)", where->pin_file, where->label,
                       rv == CKR_PIN_LOCKED ? "it is locked" : rv == CKR_PIN_EXPIRED ? "it has expired" : "it is wrong");
    return allowed && (rv == CKR_USER_ALREADY_LOGGED_IN || said(rv, "C_Login", e));
}

static bool log_in(struct module *m, const struct hsm_token *where, CK_FLAGS flags, struct err *e)
{
    struct secret pin = {0};
    CK_SLOT_ID slot;
    bool ok;

    if (!find_slot(m, where->label, &slot, e) || !said(m->f->C_OpenSession(slot, CKF_SERIAL_SESSION | flags, NULL, NULL, &m->session), "C_OpenSession", e))
        return false;
    m->in_session = true;
    if (!secret_read_pin(&pin, where->pin_file, e))
        return false;
    ok = give_pin(m, where, &pin, e);
    secret_free(&pin);
    return ok;
}

/* ---- for hsm.c --------------------------------------------------------------------------------- */

struct hsm_login {
    struct module m;
};

struct hsm_login *hsm_log_in(const struct hsm_token *where, struct err *e)
{
    struct hsm_login *l = mem_zalloc(1, sizeof *l);

    if (module_load(&l->m, where->module, RTLD_NOLOAD, e) && log_in(&l->m, where, 0, e))
        return l;
    hsm_log_out(l);
    return NULL;
}

void hsm_log_out(struct hsm_login *l)
{
    if (l == NULL)
        return;
    module_close(&l->m);
    free(l);
}

/* ---- new keys ------------------------------------------------------------------------------------ */

static bool generate(struct module *m, const char *key, CK_ULONG bits, struct err *e)
{
    static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    static CK_BYTE exponent[] = {1, 0, 1};
    CK_OBJECT_CLASS public_class = CKO_PUBLIC_KEY, private_class = CKO_PRIVATE_KEY;
    CK_KEY_TYPE rsa = CKK_RSA;
    CK_MECHANISM mechanism = {CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0};
    CK_OBJECT_HANDLE public_half, private_half;
    char *name = mem_strdup(key);
    CK_ATTRIBUTE public_half_is[] = {
        {CKA_CLASS, &public_class, sizeof public_class}, {CKA_KEY_TYPE, &rsa, sizeof rsa},
        {CKA_TOKEN, &yes, sizeof yes},                   {CKA_PRIVATE, &no, sizeof no},
        {CKA_VERIFY, &yes, sizeof yes},                  {CKA_ENCRYPT, &no, sizeof no},
        {CKA_WRAP, &no, sizeof no},                      {CKA_MODULUS_BITS, &bits, sizeof bits},
        {CKA_PUBLIC_EXPONENT, exponent, sizeof exponent}, {CKA_LABEL, name, strlen(name)},
        {CKA_ID, name, strlen(name)},
    };
    CK_ATTRIBUTE private_half_is[] = {
        {CKA_CLASS, &private_class, sizeof private_class}, {CKA_KEY_TYPE, &rsa, sizeof rsa},
        {CKA_TOKEN, &yes, sizeof yes},                     {CKA_PRIVATE, &yes, sizeof yes},
        {CKA_SENSITIVE, &yes, sizeof yes},                 {CKA_EXTRACTABLE, &no, sizeof no},
        {CKA_SIGN, &yes, sizeof yes},                      {CKA_DECRYPT, &no, sizeof no},
        {CKA_UNWRAP, &no, sizeof no},                      {CKA_LABEL, name, strlen(name)},
        {CKA_ID, name, strlen(name)},
    };
    CK_RV rv = m->f->C_GenerateKeyPair(m->session, &mechanism, public_half_is, sizeof public_half_is / sizeof *public_half_is,
                                       private_half_is, sizeof private_half_is / sizeof *private_half_is, &public_half,
                                       &private_half);

    free(name);
    return said(rv, "C_GenerateKeyPair", e);
}

bool hsm_generate_rsa(const struct hsm_token *where, const char *key, unsigned bits, struct err *e)
{
    struct module m = {0};
    bool ok;

    if (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX)
        return err_set(e, ERR_INPUT, "RSA keys have %d to %d bits, not %u", RSA_BITS_MIN, RSA_BITS_MAX, bits);
    ok = module_open(&m, where->module, e) && log_in(&m, where, CKF_RW_SESSION, e) && generate(&m, key, bits, e);
    module_close(&m);
    return ok;
}

/* ---- is it still there --------------------------------------------------------------------------- */

static bool see_key(struct module *m, const char *key, struct err *e)
{
    CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
    char *name = mem_strdup(key);
    CK_ATTRIBUTE wanted[] = {{CKA_CLASS, &class, sizeof class}, {CKA_LABEL, name, strlen(name)}};
    CK_OBJECT_HANDLE found;
    CK_ULONG count = 0;
    bool ok = said(m->f->C_FindObjectsInit(m->session, wanted, sizeof wanted / sizeof *wanted), "C_FindObjectsInit", e) &&
              said(m->f->C_FindObjects(m->session, &found, 1, &count), "C_FindObjects", e) &&
              said(m->f->C_FindObjectsFinal(m->session), "C_FindObjectsFinal", e);

    free(name);
    return ok && (count == 1 || err_set(e, ERR_RETRY, "PKCS#11: private key \"%s\" is not in the token any more", key));
}

bool hsm_probe(const struct hsm_token *where, const char *key, struct err *e)
{
    struct module m = {0};
    CK_SLOT_ID slot;
    bool ok = module_load(&m, where->module, RTLD_NOLOAD, e) && find_slot(&m, where->label, &slot, e) &&
              said(m.f->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &m.session), "C_OpenSession", e);

    m.in_session = ok;
    ok = ok && see_key(&m, key, e);
    module_close(&m);
    return ok;
}
