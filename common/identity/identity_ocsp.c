/*
 * OCSP answers (RFC 6960), one for each certificate and responder however many present it: asked for, judged, kept, and asked for again before they end as long as
 * anybody lives on them. Responses come from the network and are a stranger's until ocsp_judge() has verified them.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/evp.h>
#include <openssl/rand.h>

#include "common/identity/identity_internal.h"
#include "common/identity/pkix.h"
#include "common/values/log.h"

enum {
    ANSWERS_MAX = 20000,
    RETRY_MIN_MS = 500,   /* after a failure; doubles */
    RETRY_MAX_MS = 10000,
    REFRESH_MIN_MS = 250,
};

struct identity_answer {
    struct identity_ocsp *cache;
    uint8_t key[32];              /* SHA-256 of responder, issuer and certificate */
    struct identity_answer *same; /* another under the same first bytes of it */
    X509 *certificate, *issuer;   /* owned references */
    char url[OCSP_URL_MAX];       /* "": nobody to ask */
    unsigned users;
    struct revocation_finding found; /* the last valid answer; REVOCATION_UNKNOWN: there was none */
    X509 *signer;                    /* owned: who gave it in the issuer's place, and may be revoked itself; NULL: nobody who may */
    uint64_t signer_looked;          /* which lists were asked about the signer: lists_version() */
    char trouble[ERR_TEXT_MAX];      /* why the last asking failed; "": it did not */
    int64_t checked, refresh;        /* ms, wall: when `found` came, and when to ask again */
    int64_t retry;                   /* ms, clock: not before; 0: no failure */
    int64_t asked;                   /* ms, clock */
    int64_t retry_after;             /* ms */
    uint32_t request;                /* under way; 0: none */
    bool nonced;
    uint8_t nonce[OCSP_NONCE_SIZE];
    uint64_t generation;
};

struct identity_ocsp {
    struct identity *owner;
    struct map answers; /* struct identity_answer, owned, by the first bytes of `key` */
    size_t count;
    uint64_t asked, answered, failed, latency; /* latency: ms in all */
};

/* ---- the cache ---- */

static uint64_t short_key(const uint8_t key[32])
{
    uint64_t k;

    memcpy(&k, key, sizeof k);
    return k;
}

static void add_der(EVP_MD_CTX *digest, X509 *x)
{
    uint8_t *der = NULL;
    int len = i2d_X509(x, &der);

    if (len > 0)
        EVP_DigestUpdate(digest, der, (size_t)len);
    OPENSSL_free(der);
}

static void make_key(uint8_t key[32], X509 *certificate, X509 *issuer, const char *url)
{
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    unsigned len = 0;

    if (digest == NULL || EVP_DigestInit_ex(digest, EVP_sha256(), NULL) != 1)
        abort();
    EVP_DigestUpdate(digest, url, strlen(url) + 1);
    add_der(digest, issuer);
    add_der(digest, certificate);
    EVP_DigestFinal_ex(digest, key, &len);
    EVP_MD_CTX_free(digest);
}

static struct identity_answer *find(const struct identity_ocsp *o, const uint8_t key[32])
{
    struct identity_answer *a = map_get(&o->answers, short_key(key));

    while (a != NULL && memcmp(a->key, key, sizeof a->key) != 0)
        a = a->same;
    return a;
}

static void free_answer(struct identity_answer *a)
{
    identity_ask_forget(a->cache->owner->ask, a->request);
    X509_free(a->certificate);
    X509_free(a->issuer);
    X509_free(a->signer);
    free(a);
}

static void remove_answer(struct identity_ocsp *o, struct identity_answer *a)
{
    struct identity_answer *first = map_get(&o->answers, short_key(a->key));

    if (first == a) {
        map_take(&o->answers, short_key(a->key));
        if (a->same != NULL)
            map_put(&o->answers, short_key(a->key), a->same);
    } else {
        while (first->same != a)
            first = first->same;
        first->same = a->same;
    }
    o->count--;
    free_answer(a);
}

static struct identity_answer *add(struct identity_ocsp *o, const uint8_t key[32], X509 *certificate, X509 *issuer, const char *url)
{
    struct identity_answer *a = mem_zalloc(1, sizeof *a);

    X509_up_ref(certificate);
    X509_up_ref(issuer);
    *a = (struct identity_answer){.cache = o, .certificate = certificate, .issuer = issuer, .found.answer = REVOCATION_UNKNOWN};
    memcpy(a->key, key, sizeof a->key);
    snprintf(a->url, sizeof a->url, "%s", url);
    a->same = map_put(&o->answers, short_key(key), a);
    o->count++;
    return a;
}

/* ---- asking ---- */

/* For people; the same wherever it is said. */
static void describe(const struct identity_answer *a, const char *what, char *out, size_t size)
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

        describe(a, why, text, sizeof text);
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
                    (int64_t)s->revocation.max_stale, (int64_t)s->revocation.ocsp_reuse, &found, e))
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

static void ask(struct identity_answer *a)
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

/* ---- using ---- */

/* Whether a newcomer may still live on what is there (revocation.ocsp_reuse). */
static bool is_fresh(const struct identity_answer *a, int64_t now)
{
    return a->found.answer != REVOCATION_UNKNOWN && now < a->found.until && now >= a->checked &&
           now - a->checked < (int64_t)a->cache->owner->settings->revocation.ocsp_reuse;
}

void identity_ocsp_refresh(struct identity_ocsp *o, struct identity_answer *a)
{
    (void)o;
    if (!is_fresh(a, identity_wall()))
        ask(a);
}

/* When all places are taken by the living, nothing is forgotten: the count grows with connections, which are bounded. */
static void make_room(struct identity_ocsp *o)
{
    struct identity_answer *a, *idle = NULL;
    size_t place = 0;

    if (o->count < ANSWERS_MAX)
        return;
    while (idle == NULL && (a = map_next(&o->answers, &place)) != NULL)
        for (; a != NULL && idle == NULL; a = a->same)
            if (a->users == 0)
                idle = a;
    if (idle != NULL)
        remove_answer(o, idle);
}

struct identity_answer *identity_ocsp_use(struct identity_ocsp *o, X509 *certificate, X509 *issuer, const char *responder)
{
    char url[OCSP_URL_MAX];
    struct identity_answer *a;
    uint8_t key[32];

    if (*responder != '\0')
        snprintf(url, sizeof url, "%s", responder);
    else if (!ocsp_url(certificate, url) || !policy_is_url(url))
        url[0] = '\0';
    make_key(key, certificate, issuer, url);
    a = find(o, key);
    if (a == NULL) {
        make_room(o);
        a = add(o, key, certificate, issuer, url);
    }
    a->users++;
    identity_ocsp_refresh(o, a);
    return a;
}

void identity_ocsp_leave(struct identity_ocsp *o, struct identity_answer *a)
{
    (void)o;
    if (a != NULL)
        a->users--;
}

void identity_ocsp_look(const struct identity_answer *a, int64_t now, struct identity_ocsp_view *v)
{
    *v = (struct identity_ocsp_view){.found = a->found};
    v->ended = a->found.answer != REVOCATION_UNKNOWN && now >= a->found.until;
    v->pending = a->request != 0 && !is_fresh(a, now);
    if (a->found.answer != REVOCATION_UNKNOWN && !v->ended)
        return;
    v->found = (struct revocation_finding){.answer = REVOCATION_UNKNOWN};
    describe(a, a->url[0] == '\0' ? "no OCSP responder is known for it" : a->trouble[0] != '\0' ? a->trouble : "no OCSP answer yet", v->found.text,
             sizeof v->found.text);
}

const struct revocation_finding *identity_ocsp_revokes(const struct identity_answer *a)
{
    return a->found.answer == REVOCATION_REVOKED ? &a->found : NULL;
}

uint64_t identity_ocsp_generation(const struct identity_answer *a)
{
    return a->generation;
}

/* An answer is worth nothing any more when who gave it is revoked; another is asked for. */
static void look_at_signer(struct identity_answer *a, int64_t now)
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
    set_found(a, &none, NULL);
    a->generation++;
    a->cache->owner->review = true;
}

/* Whoever is not used and over is forgotten; whoever is used is asked for again in time, and after a failure as soon as allowed. */
static void tend(struct identity_ocsp *o, struct identity_answer *a, int64_t now)
{
    bool none;

    look_at_signer(a, now);
    none = a->found.answer == REVOCATION_UNKNOWN;
    if (a->users == 0) {
        if (a->request == 0 && (none ? identity_clock() >= a->retry : now >= a->found.until))
            remove_answer(o, a);
        return;
    }
    if (none || now >= a->refresh || now < a->checked /* the clock was put back */)
        ask(a);
}

void identity_ocsp_tick(struct identity_ocsp *o)
{
    int64_t now = identity_wall();
    struct identity_answer **all, *a;
    size_t place = 0, n = 0;

    /* tend() removes: the map must not change while it is walked. */
    all = mem_zalloc(o->count + 1, sizeof(struct identity_answer *));
    while ((a = map_next(&o->answers, &place)) != NULL)
        for (; a != NULL; a = a->same)
            all[n++] = a;
    for (size_t i = 0; i < n; i++)
        tend(o, all[i], now);
    free(all);
}

void identity_ocsp_metrics(const struct identity_ocsp *o, struct buf *out)
{
    if (!buf_printf(out, NULL,
                    "coffre_identity_ocsp_answers %zu\ncoffre_identity_ocsp_asked_total %" PRIu64 "\ncoffre_identity_ocsp_answered_total %" PRIu64
                    "\ncoffre_identity_ocsp_failed_total %" PRIu64 "\ncoffre_identity_ocsp_latency_ms_total %" PRIu64 "\n",
                    o->count, o->asked, o->answered, o->failed, o->latency))
        log_debug("metrics-full", "metrics of OCSP do not fit");
}

struct identity_ocsp *identity_ocsp_new(struct identity *i)
{
    struct identity_ocsp *o = mem_zalloc(1, sizeof *o);

    o->owner = i;
    return o;
}

void identity_ocsp_free(struct identity_ocsp *o)
{
    struct identity_answer *a, *next;
    size_t place = 0;

    if (o == NULL)
        return;
    while ((a = map_next(&o->answers, &place)) != NULL)
        for (; a != NULL; a = next) {
            next = a->same;
            free_answer(a);
        }
    map_free(&o->answers);
    free(o);
}
