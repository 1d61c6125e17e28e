/*
 * Who has presented what: certificates, each once however many connections present it, and what every profile's policy says of them; connections, and what their front was told.
 * What they are told is in identity_verdicts.c. Chains are strangers'.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/evp.h>

#include "common/identity/identity_people_internal.h"
#include "common/identity/pkix.h"
#include "common/values/log.h"

enum { CHAIN_AGE_MS = 1000 /* a chain that did not pass is looked at again when presented again after this */ };

/* ---- certificates ---- */

static uint64_t short_key(const uint8_t digest[32])
{
    uint64_t k;

    memcpy(&k, digest, sizeof k);
    return k;
}

static void digest_chain(const struct identity_present *m, uint8_t digest[32])
{
    EVP_MD_CTX *d = EVP_MD_CTX_new();
    unsigned len = 0;

    if (d == NULL || EVP_DigestInit_ex(d, EVP_sha256(), NULL) != 1)
        abort();
    for (unsigned i = 0; i < m->count; i++) {
        uint32_t size = (uint32_t)m->der[i].len;

        EVP_DigestUpdate(d, &size, sizeof size);
        EVP_DigestUpdate(d, m->der[i].at, m->der[i].len);
    }
    EVP_DigestFinal_ex(d, digest, &len);
    EVP_MD_CTX_free(d);
}

static X509 *parse(struct slice der)
{
    const uint8_t *at = der.at;
    X509 *x = d2i_X509(NULL, &at, (long)der.len);

    if (x != NULL && at != der.at + der.len) {
        X509_free(x);
        x = NULL;
    }
    ERR_clear_error();
    return x;
}

/* False when any of them is no certificate: nobody presents such a thing by accident. */
static bool parse_chain(struct identity_chain *chain, const struct person *one)
{
    const uint8_t *at = one->chain + one->lengths[0];

    chain->leaf = parse(slice_of(one->chain, one->lengths[0]));
    chain->others = sk_X509_new_null();
    for (unsigned i = 1; i < one->count && chain->leaf != NULL && chain->others != NULL; at += one->lengths[i++]) {
        X509 *x = parse(slice_of(at, one->lengths[i]));

        if (x == NULL || sk_X509_push(chain->others, x) <= 0) {
            X509_free(x);
            return false;
        }
    }
    return chain->leaf != NULL && chain->others != NULL;
}

static void free_chain(struct identity_chain *chain)
{
    X509_free(chain->leaf);
    policy_certificates_free(chain->others);
    *chain = (struct identity_chain){0};
}

/* ---- people ---- */

const struct identity_policy *people_policy(const struct identity *i, unsigned profile)
{
    const struct identity_policy *p = &i->policies->of[profile];

    return p->offered ? p : NULL;
}

X509 *people_leaf(const struct person *one)
{
    for (unsigned n = ROSTER_DEPOSITOR; n <= ROSTER_FUNCTIONAL; n++)
        if (one->of[n].path != NULL)
            return sk_X509_value(one->of[n].path, 0);
    return NULL;
}

static void end_standings(struct identity *i, struct person *one)
{
    for (unsigned n = ROSTER_DEPOSITOR; n <= ROSTER_FUNCTIONAL; n++)
        identity_standing_end(i, &one->of[n]);
}

/* Validates the chain, from the beginning. */
static void begin_standings(struct identity *i, struct person *one, int64_t now)
{
    struct identity_standing before[ROSTER_FUNCTIONAL + 1];
    struct identity_chain chain = {0};
    bool readable = parse_chain(&chain, one);

    /* The old ones end after the new ones have begun: answers used by both are kept. */
    memcpy(before, one->of, sizeof before);
    memset(one->of, 0, sizeof one->of);
    for (unsigned n = ROSTER_DEPOSITOR; n <= ROSTER_FUNCTIONAL; n++) {
        const struct identity_policy *p = people_policy(i, n);

        if (p != NULL)
            identity_standing_begin(i, p, readable ? &chain : NULL, now, &one->of[n]);
    }
    for (unsigned n = ROSTER_DEPOSITOR; n <= ROSTER_FUNCTIONAL; n++)
        identity_standing_end(i, &before[n]);
    free_chain(&chain);
    one->begun = now;
    one->policies = i->policies_generation;
    one->due = 0; /* to be weighed */
    one->untold = true;
}

static uint64_t answers_generation(const struct person *one)
{
    uint64_t sum = 0;

    for (unsigned n = ROSTER_DEPOSITOR; n <= ROSTER_FUNCTIONAL; n++)
        for (unsigned k = 0; k < IDENTITY_PATH_MAX && one->of[n].answers[k] != NULL; k++)
            sum += identity_ocsp_generation(one->of[n].answers[k]);
    return sum;
}

/* What a connection's verdict depends on. */
static bool same_standing(const struct identity_standing *a, const struct identity_standing *b)
{
    return a->check == b->check && a->pending == b->pending && a->ended == b->ended && a->overridden == b->overridden;
}

/* Looks again at what may have changed; `untold` is set when something has. */
static void weigh(struct identity *i, struct person *one, int64_t now)
{
    uint64_t lists = crl_set_generation(identity_lists_set(i->lists)), answers;
    bool passed = false;

    for (unsigned n = ROSTER_DEPOSITOR; n <= ROSTER_FUNCTIONAL; n++)
        if (one->of[n].path != NULL && now >= one->of[n].end) {
            begin_standings(i, one, now);
            break;
        }
    answers = answers_generation(one);
    if (now < one->due && one->lists == lists && one->overrides == i->overrides_generation && one->answers == answers && one->begun <= now)
        return;
    one->lists = lists;
    one->overrides = i->overrides_generation;
    one->answers = answers;
    one->due = INT64_MAX;
    for (unsigned n = ROSTER_DEPOSITOR; n <= ROSTER_FUNCTIONAL; n++) {
        struct identity_standing *s = &one->of[n], before = *s;

        if (people_policy(i, n) == NULL)
            continue;
        identity_standing_weigh(i, people_policy(i, n), now, s);
        one->untold = one->untold || !same_standing(s, &before);
        if (s->until < one->due)
            one->due = s->until;
        passed = passed || s->check == IDENTITY_PASSED;
    }
    if (passed)
        identity_watch_client(i->watch, people_leaf(one));
}

static struct person *find(const struct identity_people *p, const uint8_t digest[32])
{
    struct person *one = map_get(&p->people, short_key(digest));

    while (one != NULL && memcmp(one->digest, digest, sizeof one->digest) != 0)
        one = one->same;
    return one;
}

static size_t chain_bytes(const struct identity_present *m)
{
    size_t bytes = 0;

    for (unsigned i = 0; i < m->count; i++)
        bytes += m->der[i].len;
    return bytes;
}

static void keep_chain(struct person *one, const struct identity_present *m)
{
    uint8_t *at = one->chain = mem_alloc(chain_bytes(m));

    one->count = m->count;
    for (unsigned i = 0; i < m->count; i++) {
        one->lengths[i] = (uint16_t)m->der[i].len;
        memcpy(at, m->der[i].at, m->der[i].len);
        at += m->der[i].len;
    }
}

static size_t room_of(const struct person *one)
{
    size_t bytes = 0;

    for (unsigned i = 0; i < one->count; i++)
        bytes += one->lengths[i];
    return room_of_person(bytes);
}

static struct person *add(struct identity_people *p, const uint8_t digest[32], unsigned front, const struct identity_present *m)
{
    struct person *one = mem_zalloc(1, sizeof *one);

    memcpy(one->digest, digest, sizeof one->digest);
    keep_chain(one, m);
    one->front = front;
    p->owner->fronts[front].bytes += room_of(one);
    begin_standings(p->owner, one, identity_wall());
    one->same = map_put(&p->people, short_key(digest), one);
    p->count++;
    return one;
}

static void remove_person(struct identity_people *p, struct person *one)
{
    struct person *first = map_get(&p->people, short_key(one->digest));

    if (first == one) {
        map_take(&p->people, short_key(one->digest));
        if (one->same != NULL)
            map_put(&p->people, short_key(one->digest), one->same);
    } else {
        while (first->same != one)
            first = first->same;
        first->same = one->same;
    }
    p->owner->fronts[one->front].bytes -= room_of(one);
    end_standings(p->owner, one);
    free(one->chain);
    free(one);
    p->count--;
}

/* From the room of one front into that of another that has presented it too, be there room or not: it would have had to be there without the first. */
static void move_person(struct identity_people *p, struct person *one, unsigned front)
{
    p->owner->fronts[one->front].bytes -= room_of(one);
    p->owner->fronts[front].bytes += room_of(one);
    one->front = front;
}

/* ---- connections ---- */

static void forget(struct identity_people *p, struct identity_connection *c)
{
    struct person *one = c->person;

    map_take(&p->owner->fronts[c->front].connections, c->number);
    p->owner->fronts[c->front].bytes -= room_of_connection();
    *c->back = c->next;
    if (c->next != NULL)
        c->next->back = c->back;
    free(c);
    p->connections--;
    if (one->connections == NULL)
        remove_person(p, one);
    else if (one->connections->front != one->front)
        move_person(p, one, one->connections->front);
}

static bool all_failed(const struct person *one)
{
    for (unsigned n = ROSTER_DEPOSITOR; n <= ROSTER_FUNCTIONAL; n++)
        if (one->of[n].path != NULL)
            return false;
    return true;
}

/* Others hold it already: a newcomer may not live on answers that are due, nor suffer from a date that has come. */
static void look_again(struct identity *i, struct person *one, int64_t now)
{
    if (all_failed(one) && (now - one->begun > CHAIN_AGE_MS || now < one->begun))
        begin_standings(i, one, now);
    for (unsigned n = ROSTER_DEPOSITOR; n <= ROSTER_FUNCTIONAL; n++)
        for (unsigned k = 0; k < IDENTITY_PATH_MAX && one->of[n].answers[k] != NULL; k++)
            identity_ocsp_refresh(i->ocsp, one->of[n].answers[k]);
    one->due = 0; /* `pending` may have begun */
}

bool identity_people_present(struct identity_people *p, unsigned front, const struct identity_present *m, struct err *e)
{
    struct map *connections = &p->owner->fronts[front].connections;
    struct identity_connection *c = map_get(connections, m->connection);
    int64_t now = identity_wall();
    struct person *one;
    uint8_t digest[32];

    if (c != NULL)
        return err_set(e, ERR_INPUT, "connection %" PRIu64 " presents itself twice", m->connection);
    digest_chain(m, digest);
    one = find(p, digest);
    if (!room_is_there(p->owner, front, room_of_connection() + (one == NULL ? room_of_person(chain_bytes(m)) : 0))) {
        room_turn_away(p, front, m->connection);
        return true;
    }
    if (one == NULL)
        one = add(p, digest, front, m);
    else
        look_again(p->owner, one, now);
    c = mem_zalloc(1, sizeof *c);
    *c = (struct identity_connection){.number = m->connection, .front = front, .person = one, .next = one->connections, .back = &one->connections};
    memcpy(c->address, m->address.at, m->address.len);
    if (c->next != NULL)
        c->next->back = &c->next;
    one->connections = c;
    map_put(connections, c->number, c);
    p->owner->fronts[front].bytes += room_of_connection();
    p->connections++;
    weigh(p->owner, one, now);
    verdicts_tell(p, c);
    /* What this newcomer has brought to light is the others' too; all of them hear it before this turn of the loop ends. */
    p->owner->review = p->owner->review || one->untold;
    return true;
}

void identity_people_gone(struct identity_people *p, unsigned front, uint64_t connection)
{
    struct identity_connection *c = map_get(&p->owner->fronts[front].connections, connection);

    /* Unknown: it was never presented, its handshake failed; or it was turned away. */
    if (c != NULL)
        forget(p, c);
}

void identity_people_lost(struct identity_people *p, unsigned front)
{
    struct map *connections = &p->owner->fronts[front].connections;
    struct identity_connection *c;
    size_t place = 0;

    while ((c = map_next(connections, &place)) != NULL) {
        size_t size = connections->size;

        forget(p, c);
        /* Another may have moved into its place, none before it; in a table of another size all have. */
        place = connections->size == size ? place - 1 : 0;
    }
    map_free(connections);
}

static void review(struct identity_people *p, struct person *one, int64_t now, bool everybody)
{
    if (everybody)
        begin_standings(p->owner, one, now);
    weigh(p->owner, one, now);
    if (!one->untold)
        return;
    one->untold = false;
    for (struct identity_connection *c = one->connections; c != NULL; c = c->next)
        verdicts_tell(p, c);
}

void identity_people_review(struct identity_people *p, bool everybody)
{
    int64_t now = identity_wall();
    struct person *one;
    size_t place = 0;

    /* Nobody comes or goes meanwhile: a front that fails is ended later, by the loop. */
    while ((one = map_next(&p->people, &place)) != NULL)
        for (; one != NULL; one = one->same)
            review(p, one, now, everybody);
}

void identity_people_tick(struct identity_people *p)
{
    verdicts_tick(p);
    room_tick(p->owner);
}

void identity_people_metrics(const struct identity_people *p, struct buf *out)
{
    size_t bytes = 0;
    bool ok;

    for (unsigned n = 0; n < ROLE_INSTANCES_MAX; n++)
        bytes += p->owner->fronts[n].bytes;
    ok = buf_printf(out, NULL, "coffre_identity_certificates %zu\ncoffre_identity_connections %zu\ncoffre_identity_room_bytes %zu\n", p->count, p->connections, bytes);
    for (unsigned n = 0; ok && n < IDENTITY_CHECKS; n++)
        ok = buf_printf(out, NULL, "coffre_identity_verdicts_total{check=\"%s\"} %" PRIu64 "\n", validate_code((enum identity_check)n), p->verdicts[n]);
    if (!ok)
        log_debug("metrics-full", "metrics of people do not fit");
}

struct identity_people *identity_people_new(struct identity *i)
{
    struct identity_people *p = mem_zalloc(1, sizeof *p);

    p->owner = i;
    verdicts_begin(p);
    return p;
}

void identity_people_free(struct identity_people *p)
{
    if (p == NULL)
        return;
    for (unsigned n = 0; n < ROLE_INSTANCES_MAX; n++)
        identity_people_lost(p, n);
    verdicts_end(p);
    map_free(&p->people);
    free(p);
}
