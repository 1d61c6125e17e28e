/* Subscriptions of a session and what was delivered to them but not yet acknowledged. See session_internal.h. */
#include <stdlib.h>

#include "ingest/session/session_internal.h"

/* ---- unacknowledged deliveries ----------------------------------------------------------- */

struct delivery *deliveries_nth(const struct subscription *sub, size_t i)
{
    return &sub->at[sub->first + i];
}

struct delivery *deliveries_add(struct session *s, struct subscription *sub, uint64_t delivery, uint64_t n)
{
    struct delivery *d;

    /* More than was asked for, or a peer that does not read: not taken, so that memory stays bounded whatever others do. */
    if (sub->count - sub->granted >= sub->credit || s->out->len >= SESSION_OUT_HIGH) {
        sub->starved += sub->count - sub->granted < sub->credit;
        s->ops->settle(s->ctx, sub->key, delivery, SESSION_UNSEEN, false);
        return NULL;
    }
    if (sub->first + sub->count == sub->capacity && sub->first != 0) {
        memmove(sub->at, sub->at + sub->first, sub->count * sizeof *sub->at);
        sub->first = 0;
    }
    if (sub->count == sub->capacity) {
        sub->capacity = sub->capacity == 0 ? 16 : sub->capacity * 2;
        sub->at = mem_realloc(sub->at, sub->capacity * sizeof *sub->at);
    }
    d = deliveries_nth(sub, sub->count++);
    *d = (struct delivery){.n = n, .delivery = delivery};
    return d;
}

size_t deliveries_up_to(const struct subscription *sub, uint64_t n)
{
    size_t low = 0, high = sub->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (deliveries_nth(sub, middle)->n <= n)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Those whose credit was given back are always the oldest: none of them is looked at twice. */
static size_t mark_credited(struct subscription *sub, size_t count)
{
    size_t before = sub->granted;

    for (; sub->granted < count; sub->granted++)
        deliveries_nth(sub, sub->granted)->credited = true;
    return sub->granted - before;
}

void deliveries_grant(struct session *s, struct subscription *sub, size_t count)
{
    size_t granted = mark_credited(sub, count);

    if (granted != 0)
        s->ops->credit(s->ctx, sub->key, (int32_t)granted);
}

void deliveries_absorb(struct subscription *sub)
{
    (void)mark_credited(sub, sub->count);
}

void deliveries_replenish(struct session *s)
{
    for (unsigned k = 0; k < s->subscription_count; k++)
        if (s->subscriptions[k]->starved != 0) {
            s->ops->credit(s->ctx, s->subscriptions[k]->key, (int32_t)s->subscriptions[k]->starved);
            s->subscriptions[k]->starved = 0;
        }
}

/* The shorter side moves: acknowledging in order costs nothing, and in the opposite order neither. */
static void take_away(struct subscription *sub, size_t from, size_t to)
{
    size_t gap = to - from, after = sub->count - to;

    if (from <= after) {
        memmove(deliveries_nth(sub, gap), deliveries_nth(sub, 0), from * sizeof *sub->at);
        sub->first += gap;
    } else {
        memmove(deliveries_nth(sub, from), deliveries_nth(sub, to), after * sizeof *sub->at);
    }
    sub->count -= gap;
    if (sub->count == 0)
        sub->first = 0;
}

static void give_back(struct session *s, struct subscription *sub, const struct delivery *d, enum session_outcome outcome)
{
    sub->granted -= d->credited;
    s->ops->settle(s->ctx, sub->key, d->delivery, outcome, !d->credited);
    s->counts.acks++;
}

void deliveries_settle(struct session *s, struct subscription *sub, size_t i, enum session_outcome outcome)
{
    give_back(s, sub, deliveries_nth(sub, i), outcome);
    take_away(sub, i, i + 1);
}

/* One pass whatever the number. */
void deliveries_acknowledge(struct session *s, struct subscription *sub, size_t from, size_t to, struct transaction *tx,
                            enum session_outcome outcome)
{
    size_t kept = from;

    for (size_t i = from; i < to; i++) {
        struct delivery *d = deliveries_nth(sub, i);

        if (d->held == NULL && tx == NULL) {
            give_back(s, sub, d, outcome);
            continue;
        }
        if (d->held == NULL) {
            d->held = tx;
            d->outcome = (uint8_t)outcome;
            tx->holds = true;
        }
        if (kept++ != i)
            *deliveries_nth(sub, kept - 1) = *d;
    }
    if (kept < to)
        take_away(sub, kept, to);
}

void deliveries_return(struct session *s, struct subscription *sub, size_t from)
{
    if (from >= sub->count)
        return;
    /* None of them is to come again to where it was not wanted. */
    s->ops->credit(s->ctx, sub->key, -INT32_MAX);
    for (size_t i = from; i < sub->count; i++) {
        sub->granted -= deliveries_nth(sub, i)->credited;
        s->ops->settle(s->ctx, sub->key, deliveries_nth(sub, i)->delivery, SESSION_UNSEEN, false);
    }
    sub->count = from;
}

/* One pass whatever the number: a transaction of minutes holds thousands. None for those that only deposit, beside it. */
void deliveries_apply(struct session *s, const struct transaction *tx)
{
    for (unsigned k = 0; tx->holds && k < s->subscription_count; k++) {
        struct subscription *sub = s->subscriptions[k];
        size_t kept = 0;

        for (size_t i = 0; i < sub->count; i++) {
            const struct delivery *d = deliveries_nth(sub, i);

            if (d->held == tx)
                give_back(s, sub, d, (enum session_outcome)d->outcome);
            else if (kept++ != i)
                *deliveries_nth(sub, kept - 1) = *d;
        }
        sub->count = kept;
        if (kept == 0)
            sub->first = 0;
    }
}

void deliveries_forget(struct session *s, const struct transaction *tx)
{
    for (unsigned k = 0; tx->holds && k < s->subscription_count; k++)
        for (size_t i = 0; i < s->subscriptions[k]->count; i++)
            if (deliveries_nth(s->subscriptions[k], i)->held == tx)
                deliveries_nth(s->subscriptions[k], i)->held = NULL;
}

/* ---- subscriptions ----------------------------------------------------------------------- */

static bool ask(struct session *s, struct subscription *sub, struct err *e)
{
    return s->ops->subscribe(s->ctx, s->depositor, sub->queue, label_slice(&sub->name), sub->credit, &sub->key, e);
}

bool session_subscribe(struct session *s, struct subscription *sub, struct err *e)
{
    if (s->subscription_count >= s->rules->subscriptions)
        return err_set(e, ERR_INPUT, "more than %u subscriptions", s->rules->subscriptions);
    if (!ask(s, sub, e))
        return false;
    s->subscriptions = mem_realloc(s->subscriptions, (s->subscription_count + 1) * sizeof(struct subscription *));
    s->subscriptions[s->subscription_count++] = sub;
    return true;
}

static void subscription_free(struct session *s, struct subscription *sub)
{
    s->ops->unsubscribe(s->ctx, sub->key);
    label_free(&sub->name);
    free(sub->at);
    s->protocol->free_subscription(sub);
}

void session_unsubscribe(struct session *s, struct subscription *sub)
{
    unsigned i = 0;

    while (s->subscriptions[i] != sub)
        i++;
    s->subscriptions[i] = s->subscriptions[--s->subscription_count];
    subscription_free(s, sub);
}

void session_free_subscriptions(struct session *s)
{
    while (s->subscription_count != 0)
        session_unsubscribe(s, s->subscriptions[s->subscription_count - 1]);
    free(s->subscriptions);
    s->subscriptions = NULL;
}

void session_trim_subscriptions(struct session *s)
{
    for (unsigned k = 0; k < s->subscription_count; k++)
        if (s->subscriptions[k]->count == 0) {
            free(s->subscriptions[k]->at);
            s->subscriptions[k]->at = NULL;
            s->subscriptions[k]->first = s->subscriptions[k]->capacity = 0;
        }
}

struct subscription *session_find_subscription(const struct session *s, uint64_t key)
{
    for (unsigned k = 0; k < s->subscription_count; k++)
        if (s->subscriptions[k]->key == key)
            return s->subscriptions[k];
    return NULL;
}

void session_resubscribe(struct session *s)
{
    if (s->end != SESSION_OPEN)
        return;
    for (unsigned k = 0; k < s->subscription_count; k++) {
        struct subscription *sub = s->subscriptions[k];
        struct err e = {0};

        s->ops->unsubscribe(s->ctx, sub->key);
        sub->first = sub->count = sub->granted = 0;
        sub->starved = 0;
        if (!ask(s, sub, &e)) {
            session_fail(s, SESSION_UNAVAILABLE, e.text);
            return;
        }
        if (s->protocol->resubscribed != NULL)
            s->protocol->resubscribed(s, sub);
    }
    if (s->protocol->resubscribed != NULL)
        s->protocol->resubscribed(s, NULL);
}
