/* coffre-ceremony install: certificates of the two keys, checked for what they will have to do. */
#include <stdio.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "sealer/ceremony/ceremony.h"
#include "sealer/durable.h"

/* One certificate on its way. */
struct arrival {
    const char *source, *target, *label;
    bool timestamps;
    struct buf pem;                 /* the file */
    STACK_OF(X509) *certificates;   /* the key's own first */
};

static bool read_chain(struct arrival *a, struct err *e)
{
    BIO *in;
    X509 *x;

    if (!ceremony_read_file(a->source, &a->pem, e))
        return false;
    a->certificates = sk_X509_new_null();
    in = BIO_new_mem_buf(buf_slice(&a->pem).at, (int)a->pem.len);
    while (in != NULL && a->certificates != NULL && (x = PEM_read_bio_X509(in, NULL, NULL, NULL)) != NULL)
        sk_X509_push(a->certificates, x);
    BIO_free(in);
    ERR_clear_error();
    return sk_X509_num(a->certificates) > 0 || err_set(e, ERR_INPUT, "%s: no certificate", a->source);
}

static bool check_key(const struct ceremony *c, const struct arrival *a, X509 *x, struct err *e)
{
    const struct hsm_token token = ceremony_token(c);
    struct hsm *h = hsm_open(&token, a->label, e);
    bool ok = h != NULL && (X509_check_private_key(x, hsm_key(h)) == 1 ||
                            err_set_openssl(e, ERR_INPUT, "%s is not of key \"%s\" in token \"%s\"", a->source, a->label, token.label));

    hsm_close(h);
    return ok;
}

static bool is_critical(X509 *x, int nid)
{
    int at = X509_get_ext_by_NID(x, nid, -1);

    return at >= 0 && X509_EXTENSION_get_critical(X509_get_ext(x, at)) == 1;
}

static bool check_usage(const struct arrival *a, X509 *x, struct err *e)
{
    uint32_t usage = X509_get_key_usage(x), extended = X509_get_extended_key_usage(x);

    if (!a->timestamps)
        return (is_critical(x, NID_key_usage) && usage == (KU_DIGITAL_SIGNATURE | KU_NON_REPUDIATION)) ||
               err_set(e, ERR_INPUT, "%s: a sealing certificate has a critical key usage of digitalSignature and nonRepudiation, "
                                     "and nothing else (RFC 5280 4.2.1.3)", a->source);
    /* UINT32_MAX: no key usage, which allows all. */
    if (usage != UINT32_MAX && (usage & ~(uint32_t)(KU_DIGITAL_SIGNATURE | KU_NON_REPUDIATION)) != 0)
        return err_set(e, ERR_INPUT, "%s: the key usage of a time-stamping certificate is digitalSignature, nonRepudiation or both",
                       a->source);
    return (is_critical(x, NID_ext_key_usage) && extended == XKU_TIMESTAMP &&
            X509_check_purpose(x, X509_PURPOSE_TIMESTAMP_SIGN, 0) == 1) ||
           err_set(e, ERR_INPUT, "%s: a time-stamping certificate has a critical extended key usage of timeStamping, and nothing "
                                 "else (RFC 3161 2.3)", a->source);
}

static bool verify_chain(const struct arrival *a, X509 *x, struct trust *t, int64_t now_ms, struct err *e)
{
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    bool ok = ctx != NULL && X509_STORE_CTX_init(ctx, trust_store_at(t, now_ms), x, a->certificates) == 1 &&
              X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_TIMESTAMP_SIGN) == 1 && X509_verify_cert(ctx) == 1;

    if (!ok)
        err_set(e, ERR_INPUT, "%s: %s", a->source,
                ctx == NULL ? "out of memory" : X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
    X509_STORE_CTX_free(ctx);
    ERR_clear_error();
    return ok;
}

static bool check_trust(const struct ceremony *c, const struct arrival *a, X509 *x, struct err *e)
{
    int64_t now_ms = (int64_t)time(NULL) * 1000;
    struct trust *t;
    struct buf pem;
    bool ok;

    if (!ceremony_read_file(c->settings->regulator.ca, &pem, e))
        return false;
    t = trust_new(buf_slice(&pem), e);
    buf_free(&pem);
    if (t == NULL)
        return err_prefix(e, "regulator.ca");
    ok = a->timestamps ? verify_chain(a, x, t, now_ms, e) : trust_check_seal(t, x, a->certificates, now_ms, e) || err_prefix(e, "%s", a->source);
    trust_free(t);
    return ok;
}

/* What is there already may be the same, or another certificate of the same key: a renewal. */
static int check_target(const struct arrival *a, bool *same)
{
    struct arrival old = {.source = a->target};
    struct err e = {0};
    bool missing = false, renewal;

    *same = false;
    buf_init(&old.pem, 4 << 20);
    if (!durable_read(a->target, &old.pem, &missing, &e)) {
        buf_free(&old.pem);
        return missing ? CEREMONY_DONE : ceremony_say(CEREMONY_FAILED, "%s", e.text);
    }
    *same = slice_equal(buf_slice(&old.pem), buf_slice(&a->pem));
    buf_free(&old.pem);
    renewal = read_chain(&old, &e) &&
              X509_check_private_key(sk_X509_value(old.certificates, 0), X509_get0_pubkey(sk_X509_value(a->certificates, 0))) == 1;
    sk_X509_pop_free(old.certificates, X509_free);
    buf_free(&old.pem);
    ERR_clear_error();
    return *same || renewal ? CEREMONY_DONE
                            : ceremony_say(CEREMONY_REFUSED, "%s is of another key: it is not replaced", a->target);
}

static int check_arrival(const struct ceremony *c, struct arrival *a)
{
    struct err e = {0};
    X509 *x;

    if (!read_chain(a, &e))
        return ceremony_say(CEREMONY_FAILED, "%s", e.text);
    x = sk_X509_value(a->certificates, 0);
    if (!check_key(c, a, x, &e) || !check_usage(a, x, &e) || !check_trust(c, a, x, &e))
        return ceremony_say(CEREMONY_FAILED, "%s", e.text);
    return CEREMONY_DONE;
}

static int put_in_place(const struct ceremony *c, const struct arrival *a)
{
    struct err e = {0};
    bool same;
    int status = check_target(a, &same);

    if (status != CEREMONY_DONE)
        return status;
    if (same) {
        printf("%s is in place already\n", a->target);
        return CEREMONY_DONE;
    }
    status = ceremony_confirm(c, "The certificate of key \"%s\" is written to %s.", a->label, a->target);
    if (status == CEREMONY_DONE && !durable_write(a->target, buf_slice(&a->pem), 0644, &e))
        status = ceremony_say(CEREMONY_FAILED, "%s", e.text);
    return status;
}

int ceremony_install(const struct ceremony *c)
{
    const struct settings *s = c->settings;
    struct arrival both[] = {
        {.source = c->seal, .target = s->sealer.seal_certificate, .label = s->sealer.seal_key},
        {.source = c->tsa, .target = s->sealer.tsa_certificate, .label = s->sealer.tsa_key, .timestamps = true},
    };
    int status = CEREMONY_DONE;

    if (c->seal == NULL || c->tsa == NULL)
        return ceremony_say(CEREMONY_USAGE, "install: --seal or --tsa is missing");
    /* Both are checked before either is written. */
    for (unsigned i = 0; i < 2 && status == CEREMONY_DONE; i++)
        status = check_arrival(c, &both[i]);
    for (unsigned i = 0; i < 2 && status == CEREMONY_DONE; i++)
        status = put_in_place(c, &both[i]);
    for (unsigned i = 0; i < 2; i++) {
        sk_X509_pop_free(both[i].certificates, X509_free);
        buf_free(&both[i].pem);
    }
    return status;
}
