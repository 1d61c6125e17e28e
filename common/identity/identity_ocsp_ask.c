/*
 * One OCSP answer: asked for, judged, and judged again when its signer may be revoked. See identity_ocsp_internal.h. Responses come from the network and are a stranger's until
 * ocsp_judge() has verified them; even then an old one may be played again.
 */
#include <stdio.h>

#include <openssl/rand.h>

#include "common/identity/identity_ocsp_internal.h"
#include "common/identity/pkix.h"
#include "common/values/log.h"

enum {
    RETRY_MIN_MS = 500,   /* after a failure; doubles */
    RETRY_MAX_MS = 10000,
    REFRESH_MIN_MS = 250,
};

/* For people; the same wherever it is said. */
void ocsp_answer_describe(const struct identity_answer *a, const char *what, char *out, size_t size)
{
    char serial[PKIX_SERIAL_TEXT];

    snprintf(out, size, "serial %s: %.*s", pkix_serial_text(serial, a->certificate), (int)(size - sizeof serial - 12), what);
}

static void failed(struct identity_answer *a, const char *why)
{
    bool news = strcmp(a->trouble, why) != 0;

    a->request = 0;
    a->cache->failed++;
    a->generation++;
    snprintf(a->trouble, sizeof a->trouble, "%s", why);
    a->retry_after = a->retry_after == 0 ? RETRY_MIN_MS : a->retry_after * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : a->retry_after * 2;
    a->retry = identity_clock() + a->retry_after;
    if (news) {
        char text[400];

        ocsp_answer_describe(a, why, text, sizeof text);
        log_warning("ocsp-failed", "%s: %s", a->url, text);
    }
    a->cache->owner->review = true;
}

/* Asked for again after three quarters of its time: whoever lives on it does not notice. */
static void schedule(struct identity_answer *a, int64_t now)
{
    const struct settings *s = a->cache->owner->settings;
    int64_t left = a->found.until - now, stale = (int64_t)s->revocation.max_stale, reuse = (int64_t)s->revocation.ocsp_reuse, wait;

    if (left > stale)
        left -= stale;
    wait = (left < reuse ? left : reuse) / 4 * 3;
    a->checked = now;
    a->refresh = now + (wait < REFRESH_MIN_MS ? REFRESH_MIN_MS : wait);
}

/* The lists in force; after a reload they may be counted anew. */
static uint64_t lists_version(const struct identity *i)
{
    return i->policies_generation << 32 ^ crl_set_generation(identity_lists_set(i->lists));
}

/* RFC 6960 4.2.2.2.1: a responder may be revoked as anybody may. Where no list speaks of it, it is believed: its issuer may have none. */
static bool is_revoked(const struct identity_answer *a, X509 *signer, int64_t now, struct err *e)
{
    struct revocation_finding f;

    if (signer == NULL || !identity_lists_revoke(a->cache->owner->lists, signer, a->issuer, now, &f))
        return false;
    err_set(e, ERR_INPUT, "RFC 6960 4.2.2.2.1: the OCSP responder's own certificate: %s", f.text);
    return true;
}

static void set_found(struct identity_answer *a, const struct revocation_finding *found, X509 *signer)
{
    X509_free(a->signer);
    a->signer = signer;
    a->signer_looked = lists_version(a->cache->owner);
    a->found = *found;
    a->newest = found->this_update;
    ocsp_known_found(a);
}

static bool judge(struct identity_answer *a, struct slice response, int64_t now, struct err *e)
{
    X509 *signer;
    const struct settings *s = a->cache->owner->settings;
    struct revocation_finding found = {0};
    enum ocsp_nonce rule = OCSP_NONCE_OPTIONAL;

    if (!ocsp_nonce_parse(s->revocation.ocsp_nonce, &rule))
        rule = OCSP_NONCE_REQUIRED;
    if (!ocsp_judge(response, a->certificate, a->issuer, a->nonced ? a->nonce : NULL, a->nonced ? rule : OCSP_NONCE_OFF, now,
                    (int64_t)s->revocation.max_stale, (int64_t)s->revocation.ocsp_reuse, &found, e) ||
        !ocsp_known_permits(a, &found, now, e))
        return false;
    signer = ocsp_delegate(response, a->certificate, a->issuer, now);
    if (is_revoked(a, signer, now, e)) {
        X509_free(signer);
        return false;
    }
    if (found.answer != REVOCATION_UNKNOWN) {
        set_found(a, &found, signer);
        return true;
    }
    X509_free(signer);
    /* "unknown" is an answer too (RFC 6960 2.2): nobody lives on a "good" from before any more. It takes no revocation back. */
    a->newest = found.this_update;
    if (a->found.answer == REVOCATION_GOOD)
        set_found(a, &found, NULL);
    return err_set(e, ERR_INPUT, "RFC 6960 2.2: the responder does not know this certificate");
}

static void answered(void *ctx, const struct identity_fetched *f)
{
    struct identity_answer *a = ctx;
    int64_t now = identity_wall();
    char reason[IDENTITY_REASON_MAX + 1];
    struct err e = {0};

    a->request = 0;
    a->cache->latency += (uint64_t)(identity_clock() - a->asked);
    if (f->status != 200) {
        snprintf(reason, sizeof reason, "%.*s", SLICE_ARGS(f->reason));
        failed(a, reason);
    } else if (!judge(a, f->body, now, &e))
        failed(a, e.text);
    else {
        if (a->trouble[0] != '\0')
            log_info("ocsp-answers", "%s answers again", a->url);
        a->cache->answered++;
        a->generation++;
        a->trouble[0] = '\0';
        a->retry = a->retry_after = 0;
        schedule(a, now);
        a->cache->owner->review = true;
    }
}

static bool make_nonce(struct identity_answer *a)
{
    enum ocsp_nonce rule;

    a->nonced = ocsp_nonce_parse(a->cache->owner->settings->revocation.ocsp_nonce, &rule) && rule != OCSP_NONCE_OFF;
    return !a->nonced || RAND_bytes(a->nonce, sizeof a->nonce) == 1;
}

void ocsp_answer_ask(struct identity_answer *a)
{
    struct identity *i = a->cache->owner;
    struct identity_fetch f = {.url = slice_text(a->url), .type = SLICE_LITERAL("application/ocsp-request"), .most = OCSP_RESPONSE_MAX,
                               .timeout = i->settings->revocation.timeout};
    struct err e = {0};
    struct buf question;

    if (a->request != 0 || a->url[0] == '\0' || identity_clock() < a->retry)
        return;
    buf_init(&question, 64 * 1024);
    a->asked = identity_clock();
    a->cache->asked++;
    if (!make_nonce(a) || !ocsp_request(a->certificate, a->issuer, a->nonced ? a->nonce : NULL, &question, &e))
        failed(a, e.text);
    else {
        f.body = buf_slice(&question);
        a->request = identity_ask_begin(i->ask, &f, answered, a);
        if (a->request == 0)
            failed(a, "the fetch role is away");
    }
    buf_free(&question);
}

/* Whether a newcomer may still live on what is there (revocation.ocsp_reuse). */
bool ocsp_answer_is_fresh(const struct identity_answer *a, int64_t now)
{
    return a->found.answer != REVOCATION_UNKNOWN && now < a->found.until && now >= a->checked &&
           now - a->checked < (int64_t)a->cache->owner->settings->revocation.ocsp_reuse;
}

/* An answer is worth nothing any more when who gave it is revoked; another is asked for. */
void ocsp_answer_look_at_signer(struct identity_answer *a, int64_t now)
{
    static const struct revocation_finding none = {.answer = REVOCATION_UNKNOWN};
    uint64_t version = lists_version(a->cache->owner);
    struct err e = {0};

    if (a->signer == NULL || a->signer_looked == version)
        return;
    a->signer_looked = version;
    if (!is_revoked(a, a->signer, now, &e))
        return;
    log_warning("ocsp-failed", "%s: %s", a->url, e.text);
    ocsp_known_forget(a);
    set_found(a, &none, NULL);
    a->generation++;
    a->cache->owner->review = true;
}
