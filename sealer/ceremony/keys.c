/* coffre-ceremony keys: creates the two keys in the HSM and asks for their certificates (PKCS#10, RFC 2986). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "common/system/durable.h"
#include "sealer/ceremony/ceremony.h"

/* One of the two keys. */
struct wanted {
    const char *label, *file, *duty;
    const char *key_usage, *extended; /* as openssl.cnf would say; NULL: none */
};

/* "/C=FR/O=Casino": each part appended to the name. */
static bool add_parts(X509_NAME *name, const char *dn, struct err *e)
{
    char *copy = mem_strdup(dn == NULL ? "" : dn), *rest = copy, *part;
    bool ok = *copy == '\0' || *copy == '/';

    while (ok && (part = strsep(&rest, "/")) != NULL) {
        char *equals = strchr(part, '=');

        if (*part == '\0')
            continue;
        ok = equals != NULL;
        if (ok) {
            *equals = '\0';
            ok = X509_NAME_add_entry_by_txt(name, part, MBSTRING_UTF8, (const unsigned char *)equals + 1, -1, -1, 0) == 1;
        }
    }
    free(copy);
    return ok || err_set_openssl(e, ERR_INPUT, "--subject \"%.100s\" is not like /C=FR/O=Casino", dn);
}

static bool name_request(X509_REQ *request, const struct ceremony *c, const struct wanted *w, struct err *e)
{
    X509_NAME *name = X509_NAME_new();
    char *cn = mem_printf("/CN=Coffre %s-%llu %s", c->settings->vault.operator_id, (unsigned long long)c->settings->vault.number,
                          w->duty);
    bool ok = name != NULL && add_parts(name, c->subject, e) && add_parts(name, cn, e) &&
              (X509_REQ_set_subject_name(request, name) == 1 || err_set_openssl(e, ERR_FATAL, "request"));

    free(cn);
    X509_NAME_free(name);
    return ok;
}

static bool add_extension(STACK_OF(X509_EXTENSION) *list, int nid, const char *value)
{
    X509_EXTENSION *x = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

    if (x != NULL && sk_X509_EXTENSION_push(list, x) > 0)
        return true;
    X509_EXTENSION_free(x);
    return false;
}

static bool add_extensions(X509_REQ *request, const struct wanted *w, struct err *e)
{
    STACK_OF(X509_EXTENSION) *list = sk_X509_EXTENSION_new_null();
    bool ok = list != NULL && add_extension(list, NID_key_usage, w->key_usage) &&
              (w->extended == NULL || add_extension(list, NID_ext_key_usage, w->extended)) &&
              X509_REQ_add_extensions(request, list) == 1;

    sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
    return ok || err_set_openssl(e, ERR_FATAL, "request");
}

static bool write_request(const struct ceremony *c, const struct wanted *w, X509_REQ *request, struct err *e)
{
    char *path = mem_printf("%s/%s", c->csr_dir, w->file), *text;
    BIO *out = BIO_new(BIO_s_mem());
    long len;
    bool ok = out != NULL && PEM_write_bio_X509_REQ(out, request) == 1;

    if (ok) {
        len = BIO_get_mem_data(out, &text);
        ok = durable_write(path, slice_of(text, (size_t)len), 0644, e);
    }
    if (ok)
        printf("request for key \"%s\": %s\n", w->label, path);
    BIO_free(out);
    free(path);
    return ok || err_set_openssl(e, ERR_FATAL, "request");
}

static bool request_certificate(const struct ceremony *c, const struct wanted *w, struct err *e)
{
    const struct hsm_token token = ceremony_token(c);
    struct hsm *h = hsm_open(&token, w->label, e);
    X509_REQ *request = X509_REQ_new();
    bool ok = h != NULL && request != NULL && name_request(request, c, w, e) && add_extensions(request, w, e);

    if (ok)
        ok = (X509_REQ_set_version(request, X509_REQ_VERSION_1) == 1 && X509_REQ_set_pubkey(request, hsm_key(h)) == 1 &&
              X509_REQ_sign(request, hsm_key(h), EVP_sha256()) > 0) ||
             err_set_openssl(e, ERR_RETRY, "request for key \"%s\"", w->label);
    ok = ok && write_request(c, w, request, e);
    X509_REQ_free(request);
    hsm_close(h);
    return ok;
}

static int refuse_existing(const struct ceremony *c, const struct wanted *w)
{
    const struct hsm_token token = ceremony_token(c);
    struct err e = {0};
    bool found;

    if (!hsm_has_key(&token, w->label, &found, &e))
        return ceremony_say(CEREMONY_FAILED, "%s", e.text);
    return found ? ceremony_say(CEREMONY_REFUSED, "token \"%s\" has a key \"%s\" already: nothing was created", token.label, w->label)
                 : CEREMONY_DONE;
}

bool ceremony_only(const struct ceremony *c, bool *seal, bool *tsa)
{
    *seal = c->only == NULL || strcmp(c->only, "seal") == 0;
    *tsa = c->only == NULL || strcmp(c->only, "tsa") == 0;
    return *seal || *tsa;
}

int ceremony_keys(const struct ceremony *c)
{
    const struct wanted all[] = {
        {c->settings->sealer.seal_key, "seal.csr", "scellement", "critical,digitalSignature,nonRepudiation", NULL},
        {c->settings->sealer.tsa_key, "tsa.csr", "horodatage", "critical,digitalSignature,nonRepudiation", "critical,timeStamping"},
    };
    const struct hsm_token token = ceremony_token(c);
    const struct wanted *wanted = all;
    struct err e = {0};
    unsigned count = 2;
    bool seal, tsa;
    int status;

    if (c->csr_dir == NULL)
        return ceremony_say(CEREMONY_USAGE, "keys: --csr-dir is missing");
    if (!ceremony_only(c, &seal, &tsa))
        return ceremony_say(CEREMONY_USAGE, "keys: --only is seal or tsa");
    if (!seal || !tsa) {
        wanted = seal ? &all[0] : &all[1];
        count = 1;
    }
    for (unsigned i = 0; i < count; i++)
        if ((status = refuse_existing(c, &wanted[i])) != CEREMONY_DONE)
            return status;
    if (count == 2)
        status = ceremony_confirm(c, "Two RSA keys of %u bits, \"%s\" and \"%s\", are created in token \"%s\"; they can never leave it.",
                                  c->bits, all[0].label, all[1].label, token.label);
    else
        status = ceremony_confirm(c, "An RSA key of %u bits, \"%s\", is created in token \"%s\"; it can never leave it.", c->bits, wanted->label, token.label);
    if (status != CEREMONY_DONE)
        return status;
    if (mkdir(c->csr_dir, 0755) != 0 && errno != EEXIST)
        return ceremony_say(CEREMONY_FAILED, "%s: %s", c->csr_dir, strerror(errno));
    for (unsigned i = 0; i < count; i++)
        if (!hsm_generate_rsa(&token, wanted[i].label, c->bits, &e) || !request_certificate(c, &wanted[i], &e))
            return ceremony_say(e.code == ERR_INPUT ? CEREMONY_USAGE : CEREMONY_FAILED, "%s", e.text);
    return CEREMONY_DONE;
}
