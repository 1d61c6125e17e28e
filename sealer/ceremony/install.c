/* coffre-ceremony install: certificates of the two keys, checked for what they will have to do. */
#include <stdio.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "common/system/durable.h"
#include "sealer/ceremony/ceremony.h"
#include "sealer/credentials.h"

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

/* Stricter than the sealer: what it is not for, it should not be for. */
static bool is_critical(X509 *x, int nid)
{
    int at = X509_get_ext_by_NID(x, nid, -1);

    return at >= 0 && X509_EXTENSION_get_critical(X509_get_ext(x, at)) == 1;
}

static bool check_usage(const struct arrival *a, X509 *x, struct err *e)
{
    uint32_t usage = X509_get_key_usage(x);

    if (!a->timestamps)
        return (is_critical(x, NID_key_usage) && usage == (KU_DIGITAL_SIGNATURE | KU_NON_REPUDIATION)) ||
               err_set(e, ERR_INPUT, "%s: a sealing certificate has a critical key usage of digitalSignature and nonRepudiation, "
                                     "and nothing else (RFC 5280 4.2.1.3)", a->source);
    /* UINT32_MAX: no key usage, which allows all. */
    if (usage != UINT32_MAX && (usage & ~(uint32_t)(KU_DIGITAL_SIGNATURE | KU_NON_REPUDIATION)) != 0)
        return err_set(e, ERR_INPUT, "%s: the key usage of a time-stamping certificate is digitalSignature, nonRepudiation or both",
                       a->source);
    return true; /* the extended one is check_trust()'s */
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
    ok = credentials_check_certificate(x, a->certificates, a->timestamps ? CREDENTIALS_STAMP : CREDENTIALS_SEAL, t, now_ms, e) || err_prefix(e, "%s", a->source);
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
    struct arrival all[] = {
        {.source = c->seal, .target = s->sealer.seal_certificate, .label = s->sealer.seal_key},
        {.source = c->tsa, .target = s->sealer.tsa_certificate, .label = s->sealer.tsa_key, .timestamps = true},
    };
    const bool given[] = {c->seal != NULL, c->tsa != NULL};
    int status = CEREMONY_DONE;
    bool wanted[2];

    if (!ceremony_only(c, &wanted[0], &wanted[1]))
        return ceremony_say(CEREMONY_USAGE, "install: --only is seal or tsa");
    for (unsigned i = 0; i < 2; i++)
        if (given[i] != wanted[i])
            return ceremony_say(CEREMONY_USAGE, "install: --%s is %s", i == 0 ? "seal" : "tsa", given[i] ? "not for --only of the other" : "missing");
    /* All are checked before any is written. */
    for (unsigned i = 0; i < 2 && status == CEREMONY_DONE; i++)
        status = given[i] ? check_arrival(c, &all[i]) : CEREMONY_DONE;
    for (unsigned i = 0; i < 2 && status == CEREMONY_DONE; i++)
        status = given[i] ? put_in_place(c, &all[i]) : CEREMONY_DONE;
    for (unsigned i = 0; i < 2; i++) {
        sk_X509_pop_free(all[i].certificates, X509_free);
        buf_free(&all[i].pem);
    }
    return status;
}
