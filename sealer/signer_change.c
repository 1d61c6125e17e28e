/* Other certificates and keys while a signer runs: see signer.h. */
#include <stdlib.h>
#include <time.h>

#include <openssl/x509v3.h>

#include "common/system/hsm.h"
#include "common/values/log.h"
#include "sealer/signer.h"

void signer_forget(struct signer_key *k)
{
    EVP_PKEY_free(k->key);
    credentials_free(k->what);
    *k = (struct signer_key){0};
}

/* Verifiers take a lot that is sealed in another name for another vault's. */
static bool check_name(const struct signer *s, const struct credentials *fresh, struct err *e)
{
    return s->duty->credentials != CREDENTIALS_SEAL || s->now.what == NULL ||
           X509_NAME_cmp(X509_get_subject_name(s->now.what->certificate), X509_get_subject_name(fresh->certificate)) == 0 ||
           err_set(e, ERR_INPUT, "%s: its subject is not that of the sealing certificate in force", fresh->path);
}

/* The token is open in the name of what is in force: another login is neither needed nor tried. */
static bool find_beside(struct signer *s, struct signer_key *fresh, struct err *e)
{
    fresh->key = hsm_find_key(s->hsm, fresh->what->label, e);
    return fresh->key != NULL && credentials_check_key(fresh->what, fresh->key, e);
}

/* The token is closed: that its key in force is gone may be the reason, so it is opened with the new one. */
static bool open_for(struct signer *s, struct signer_key *fresh, struct err *e)
{
    struct signer_key kept = s->now;
    bool ok;

    s->now = *fresh;
    ok = signer_open(s, e);
    *fresh = s->now;
    s->now = kept;
    return ok;
}

static bool prepare(struct signer *s, struct signer_key *fresh, struct err *e)
{
    return (s->now.what == NULL || s->duty->may_change(s, e)) && check_name(s, fresh->what, e) &&
           credentials_check(fresh->what, (int64_t)time(NULL) * 1000, e) && (s->hsm != NULL ? find_beside(s, fresh, e) : open_for(s, fresh, e));
}

static void keep_pin(struct signer *s, const struct settings *fresh)
{
    free(s->pin);
    s->pin = mem_strdup(fresh->sealer.pin);
    s->guard.pin = s->pin;
}

/* The same certificate under perhaps other authorities. */
static void take_trust(struct signer *s, struct credentials *c)
{
    struct trust *old = s->now.what->trust;

    s->now.what->trust = c->trust;
    c->trust = old;
    credentials_free(c);
}

static bool change(struct signer *s, const struct settings *settings, struct err *e)
{
    struct signer_key fresh = {.what = credentials_load(s->duty->credentials, settings, e)};

    signer_forget(&s->next);
    if (fresh.what == NULL)
        return false;
    keep_pin(s, settings);
    s->next_open = 0;
    if (s->now.what != NULL && memcmp(s->now.what->mark, fresh.what->mark, sizeof fresh.what->mark) == 0) {
        take_trust(s, fresh.what);
        return true;
    }
    if (!prepare(s, &fresh, e)) {
        signer_forget(&fresh);
        return false;
    }
    if (s->now.what == NULL) {
        s->now = fresh;
        return true;
    }
    s->next = fresh;
    log_info("certificate-ready", "%s with key \"%s\" is checked, and taken with the next lot", fresh.what->path, fresh.what->label);
    return true;
}

void signer_reload(void *ctx, const struct settings *fresh)
{
    struct signer *s = ctx;
    struct err e = {0};

    if (change(s, fresh, &e))
        return;
    s->probe_at = 0; /* perhaps the token is gone */
    log_error("reload-refused", "%s", e.text);
    role_reload_refused(s->self, "%s", e.text);
}

void signer_take(struct signer *s, const uint8_t mark[32])
{
    if (s->next.what == NULL || memcmp(s->next.what->mark, mark, 32) != 0)
        return;
    signer_forget(&s->now);
    s->now = s->next;
    s->next = (struct signer_key){0};
    log_info("certificate-changed", "from now on %s with key \"%s\"", s->now.what->path, s->now.what->label);
}
