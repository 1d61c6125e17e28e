/* What fronts show strangers, and settings in force, read whole or not at all: see identity_internal.h. The files are the operator's own. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "common/identity/identity_internal.h"
#include "common/values/log.h"

/* Who has issued the first certificate: among the rest of the chain, or the authorities. */
static X509 *find_issuer(X509 *x, STACK_OF(X509) *among)
{
    for (int n = 0; n < sk_X509_num(among); n++)
        if (X509_check_issued(sk_X509_value(among, n), x) == X509_V_OK) {
            X509 *issuer = sk_X509_value(among, n);

            X509_up_ref(issuer);
            return issuer;
        }
    return NULL;
}

static bool fill(struct identity_shown *shown, const char *path, STACK_OF(X509) *chain, const struct identity_policies *policies, struct err *e)
{
    for (int n = 0; n < sk_X509_num(chain); n++)
        if (!policy_put_pem(&shown->chain, sk_X509_value(chain, n), e))
            return err_prefix(e, "%s", path);
    shown->certificate = sk_X509_value(chain, 0);
    X509_up_ref(shown->certificate);
    shown->issuer = find_issuer(shown->certificate, chain);
    if (shown->issuer == NULL)
        shown->issuer = find_issuer(shown->certificate, policies->authorities);
    return true;
}

bool identity_shown_load(struct identity_shown *shown, const struct settings *s, const struct identity_duty *duty, const struct identity_policies *policies, struct err *e)
{
    STACK_OF(X509) *chain;
    bool ok;

    *shown = (struct identity_shown){0};
    buf_init(&shown->chain, IDENTITY_PEM_MAX);
    if (duty->offered == 0)
        return true;
    for (unsigned n = ROSTER_DEPOSITOR; n <= ROSTER_FUNCTIONAL; n++)
        if (policies->of[n].offered && policies->of[n].depth > shown->depth)
            shown->depth = policies->of[n].depth;
    chain = policy_load_certificates(duty->certificate(s), e);
    ok = chain != NULL && fill(shown, duty->certificate(s), chain, policies, e);
    policy_certificates_free(chain);
    if (!ok)
        identity_shown_free(shown);
    return ok;
}

void identity_shown_free(struct identity_shown *shown)
{
    buf_free(&shown->chain);
    X509_free(shown->certificate);
    X509_free(shown->issuer);
    *shown = (struct identity_shown){0};
}

/* By way of their text: nothing is forgotten when a key is added. */
struct settings *identity_settings_copy(const struct settings *s, struct err *e)
{
    struct settings *copy = NULL;
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    if (out == NULL) {
        err_set_errno(e, ERR_FATAL, "settings cannot be copied");
        return NULL;
    }
    settings_print(s, out);
    if (fclose(out) == 0)
        copy = settings_read(s->file, slice_of(text, len), 0, e);
    else
        err_set_errno(e, ERR_FATAL, "settings cannot be copied");
    free(text);
    return copy;
}

static bool check_revocation(const struct settings *s, struct err *e)
{
    enum ocsp_nonce nonce;

    if (!ocsp_nonce_parse(s->revocation.ocsp_nonce, &nonce))
        return err_set(e, ERR_INPUT, "revocation.ocsp_nonce: \"%s\" is none of off, optional, required", s->revocation.ocsp_nonce);
    for (unsigned n = 0; n < s->revocation.fetch.count; n++)
        if (!policy_is_url(s->revocation.fetch.items[n]))
            return err_set(e, ERR_INPUT, "revocation.fetch: \"%s\" is not a http: or https: URL", s->revocation.fetch.items[n]);
    return true;
}

/* A list may come later, and what it said before is kept: it is no reason to refuse. But a name misspelt would cut everybody off. */
static void tell_missing_lists(const struct settings *s)
{
    for (unsigned n = 0; n < s->revocation.crls.count; n++)
        if (access(s->revocation.crls.items[n], R_OK) != 0)
            log_warning("crl-unreadable", "revocation.crls: %s: %s", s->revocation.crls.items[n], strerror(errno));
}

bool identity_check_settings(const struct settings *s, const struct identity_duty *duty, struct err *e)
{
    struct identity_policies *policies;
    struct identity_shown shown = {0};
    struct expiry *x;
    bool ok;

    if (!check_revocation(s, e))
        return false;
    x = expiry_new(s->expiry.warn, e);
    if (x == NULL)
        return err_prefix(e, "expiry.warn");
    expiry_free(x);
    policies = identity_policies_load(s, duty->offered, e);
    ok = policies != NULL && identity_shown_load(&shown, s, duty, policies, e);
    identity_shown_free(&shown);
    identity_policies_free(policies);
    if (ok && duty->offered != 0)
        tell_missing_lists(s);
    return ok;
}
