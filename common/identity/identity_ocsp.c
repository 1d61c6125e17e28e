/*
 * OCSP answers (RFC 6960), one for each certificate and responder however many present it: kept, and asked for again before they end as long as anybody lives on them. Asking and judging is in
 * identity_ocsp_ask.c.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/evp.h>

#include "common/identity/identity_ocsp_internal.h"
#include "common/values/log.h"

enum { ANSWERS_MAX = 20000 };

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

/* `url` NULL: whoever is asked. */
static void make_key(uint8_t key[32], X509 *certificate, X509 *issuer, const char *url)
{
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    unsigned len = 0;

    if (digest == NULL || EVP_DigestInit_ex(digest, EVP_sha256(), NULL) != 1)
        abort();
    if (url != NULL)
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
    make_key(a->subject, certificate, issuer, NULL);
    ocsp_known_begin(a);
    snprintf(a->url, sizeof a->url, "%s", url);
    a->same = map_put(&o->answers, short_key(key), a);
    o->count++;
    return a;
}

/* ---- using ---- */

void identity_ocsp_refresh(struct identity_ocsp *o, struct identity_answer *a)
{
    (void)o;
    if (!ocsp_answer_is_fresh(a, identity_wall()))
        ocsp_answer_ask(a);
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
    v->pending = a->request != 0 && !ocsp_answer_is_fresh(a, now);
    if (a->found.answer != REVOCATION_UNKNOWN && !v->ended)
        return;
    v->found = (struct revocation_finding){.answer = REVOCATION_UNKNOWN};
    ocsp_answer_describe(a, a->url[0] == '\0' ? "no OCSP responder is known for it" : a->trouble[0] != '\0' ? a->trouble : "no OCSP answer yet", v->found.text,
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

/* Whoever is not used and over is forgotten; whoever is used is asked for again in time, and after a failure as soon as allowed. */
static void tend(struct identity_ocsp *o, struct identity_answer *a, int64_t now)
{
    bool none;

    ocsp_answer_look_at_signer(a, now);
    none = a->found.answer == REVOCATION_UNKNOWN;
    if (a->users == 0) {
        if (a->request == 0 && (none ? identity_clock() >= a->retry : now >= a->found.until))
            remove_answer(o, a);
        return;
    }
    if (none || now >= a->refresh || now < a->checked /* the clock was put back */)
        ocsp_answer_ask(a);
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
    ocsp_known_tick(o);
}

void identity_ocsp_metrics(const struct identity_ocsp *o, struct buf *out)
{
    if (!buf_printf(out, NULL,
                    "coffre_identity_ocsp_answers %zu\ncoffre_identity_ocsp_asked_total %" PRIu64 "\ncoffre_identity_ocsp_answered_total %" PRIu64
                    "\ncoffre_identity_ocsp_failed_total %" PRIu64 "\ncoffre_identity_ocsp_latency_ms_total %" PRIu64
                    "\ncoffre_identity_ocsp_revoked %zu\n",
                    o->count, o->asked, o->answered, o->failed, o->latency, known_count(o->known)))
        log_debug("metrics-full", "metrics of OCSP do not fit");
}

struct identity_ocsp *identity_ocsp_new(struct identity *i)
{
    struct identity_ocsp *o = mem_zalloc(1, sizeof *o);

    o->owner = i;
    o->known = known_new();
    return o;
}

void identity_ocsp_begin(struct identity_ocsp *o)
{
    if (o->owner->duty->offered != 0)
        ocsp_known_load(o);
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
    known_free(o->known);
    free(o);
}
