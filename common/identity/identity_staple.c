/*
 * The OCSP response that fronts staple to our own server certificate (RFC 6066 8): asked for without a nonce, verified like any other, and only while it says good. Whoever trusts
 * it asks nobody else, so a responder's trouble costs the staple, not the session.
 */
#include <stdio.h>
#include <stdlib.h>

#include "common/identity/identity_internal.h"
#include "common/identity/pkix.h"
#include "common/values/log.h"

enum { RETRY_MIN_MS = 5000, RETRY_MAX_MS = 10 * 60 * 1000 };

struct identity_staple {
    struct identity *owner;
    char url[OCSP_URL_MAX];  /* "": nothing to ask */
    struct buf response;     /* in force; empty: none */
    int64_t until, refresh;  /* ms, wall */
    int64_t newest;          /* ms: thisUpdate of the newest answer about this certificate: an older "good" is not shown over a newer "revoked" */
    int64_t retry, backoff;  /* ms, clock; 0: no failure */
    uint32_t request;
    bool troubled;
};

static void tell_all(struct identity_staple *s)
{
    struct identity *i = s->owner;

    for (unsigned n = 0; n < ROLE_INSTANCES_MAX; n++) {
        struct err e = {0};

        if (i->fronts[n].channel != NULL && !i->fronts[n].failed && !identity_send_staple(i->fronts[n].channel, buf_slice(&s->response), &e))
            identity_front_failed(i, n, e.text);
    }
}

static void clear(struct identity_staple *s)
{
    if (s->response.len == 0)
        return;
    buf_reset(&s->response);
    tell_all(s);
}

static void failed(struct identity_staple *s, const char *why)
{
    if (!s->troubled)
        log_warning("staple-failed", "%s: %s", s->url, why);
    s->troubled = true;
    s->backoff = s->backoff == 0 ? RETRY_MIN_MS : s->backoff * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : s->backoff * 2;
    s->retry = identity_clock() + s->backoff;
}

static bool judge(struct identity_staple *s, struct slice response, int64_t now, struct err *e)
{
    const struct settings *in_force = s->owner->settings;
    struct revocation_finding found = {0};
    int64_t left, reuse = (int64_t)in_force->revocation.ocsp_reuse;

    /* Clients know nothing of our patience: what they get must be in date by itself. */
    if (!ocsp_judge(response, s->owner->shown.certificate, s->owner->shown.issuer, NULL, OCSP_NONCE_OFF, now, 0, reuse, &found, e))
        return false;
    if (found.this_update < s->newest && s->newest <= now + PKIX_SKEW_MS)
        return err_set(e, ERR_INPUT, "the OCSP response is older than the last one (RFC 6960 2.4)");
    s->newest = found.this_update;
    if (found.answer != REVOCATION_GOOD)
        return err_set(e, ERR_DENIED, "our own certificate: %s", found.text);
    left = found.until - now < reuse ? found.until - now : reuse;
    s->until = found.until;
    s->refresh = now + left / 4 * 3;
    return true;
}

static void answered(void *ctx, const struct identity_fetched *f)
{
    struct identity_staple *s = ctx;
    char reason[IDENTITY_REASON_MAX + 1];
    struct err e = {0};

    s->request = 0;
    if (f->status != 200) {
        snprintf(reason, sizeof reason, "%.*s", SLICE_ARGS(f->reason));
        failed(s, reason);
        return;
    }
    if (!judge(s, f->body, identity_wall(), &e)) {
        if (e.code == ERR_DENIED) {
            log_error("server-revoked", "%s", e.text);
            clear(s);
        }
        failed(s, e.text);
        return;
    }
    s->troubled = false;
    s->retry = s->backoff = 0;
    buf_reset(&s->response);
    if (!buf_add_slice(&s->response, f->body, &e))
        log_warning("staple-failed", "%s", e.text);
    tell_all(s);
}

static void ask(struct identity_staple *s)
{
    struct identity *i = s->owner;
    struct identity_fetch f = {.url = slice_text(s->url), .type = SLICE_LITERAL("application/ocsp-request"), .most = OCSP_RESPONSE_MAX,
                               .timeout = i->settings->revocation.timeout};
    struct err e = {0};
    struct buf question;

    buf_init(&question, 64 * 1024);
    if (!ocsp_request(i->shown.certificate, i->shown.issuer, NULL, &question, &e))
        failed(s, e.text);
    else {
        f.body = buf_slice(&question);
        s->request = identity_ask_begin(i->ask, &f, answered, s);
        if (s->request == 0)
            s->retry = identity_clock() + 1000;
    }
    buf_free(&question);
}

void identity_staple_configure(struct identity_staple *s)
{
    struct identity *i = s->owner;

    identity_ask_forget(i->ask, s->request);
    s->request = 0;
    s->url[0] = '\0';
    s->retry = s->backoff = s->refresh = s->newest = 0;
    s->troubled = false;
    clear(s);
    if (i->shown.certificate == NULL || !i->settings->revocation.stapling)
        return;
    if (!ocsp_url(i->shown.certificate, s->url) || !policy_is_url(s->url)) {
        s->url[0] = '\0';
        return;
    }
    if (i->shown.issuer == NULL) {
        log_warning("staple-failed", "the issuer of our own certificate is neither in its file nor among the authorities: nothing is stapled");
        s->url[0] = '\0';
    }
}

void identity_staple_tick(struct identity_staple *s)
{
    int64_t now = identity_wall();

    if (s->response.len != 0 && now >= s->until)
        clear(s);
    if (s->url[0] != '\0' && s->request == 0 && identity_clock() >= s->retry && (s->response.len == 0 || now >= s->refresh))
        ask(s);
}

struct slice identity_staple_response(const struct identity_staple *s)
{
    return buf_slice(&s->response);
}

struct identity_staple *identity_staple_new(struct identity *i)
{
    struct identity_staple *s = mem_zalloc(1, sizeof *s);

    s->owner = i;
    buf_init(&s->response, OCSP_RESPONSE_MAX);
    return s;
}

void identity_staple_free(struct identity_staple *s)
{
    if (s == NULL)
        return;
    identity_ask_forget(s->owner->ask, s->request);
    buf_free(&s->response);
    free(s);
}
