/* Deposits of a session that RabbitMQ has not confirmed yet, and transactions. See session_internal.h. */
#include <stdlib.h>

#include "ingest/session/session_internal.h"

/* ---- deposits not yet confirmed ---------------------------------------------------------- */

static struct pending *entry(const struct pending_ring *r, size_t i)
{
    return &r->at[(r->first + i) & (r->capacity - 1)];
}

static void grow(struct pending_ring *r)
{
    size_t capacity = r->capacity == 0 ? 16 : r->capacity * 2;
    struct pending *bigger = mem_alloc(capacity * sizeof *bigger);

    for (size_t i = 0; i < r->count; i++)
        bigger[i] = *entry(r, i);
    free(r->at);
    *r = (struct pending_ring){bigger, 0, r->count, capacity};
}

static void transaction_free(struct session *s, struct transaction *tx)
{
    if (tx == NULL)
        return;
    if (tx->records.len != 0)
        s->ops->hold(s->ctx, -(int64_t)tx->records.len);
    buf_free(&tx->records);
    label_free(&tx->id);
    free(tx);
}

static void await(struct session *s, struct slice due, uint64_t ticket, struct transaction *committed)
{
    struct pending *p;

    if (s->pending.count == s->pending.capacity)
        grow(&s->pending);
    p = entry(&s->pending, s->pending.count++);
    p->ticket = ticket;
    p->committed = committed;
    p->done = false;
    p->has_due = due.at != NULL;
    label_set(&p->due, due);
}

/* Tickets grow along the ring: the oldest one is the usual answer, else a binary search. */
static struct pending *find_ticket(struct pending_ring *r, uint64_t ticket)
{
    size_t low = 0, high = r->count;

    if (r->count != 0 && entry(r, 0)->ticket == ticket)
        return entry(r, 0);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        struct pending *p = entry(r, middle);

        if (p->ticket == ticket)
            return p;
        if (p->ticket < ticket)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static void settle(struct session *s, struct pending *p)
{
    p->done = true;
    transaction_free(s, p->committed);
    p->committed = NULL;
    label_free(&p->due);
    while (s->pending.count != 0 && entry(&s->pending, 0)->done) {
        s->pending.first = (s->pending.first + 1) & (s->pending.capacity - 1);
        s->pending.count--;
    }
    if (s->pending.count == 0 && s->end == SESSION_OPEN && s->protocol->unpended != NULL)
        s->protocol->unpended(s);
}

void session_confirmed(struct session *s, uint64_t ticket)
{
    struct pending *p = find_ticket(&s->pending, ticket);

    if (p == NULL || p->done)
        return;
    if (s->end == SESSION_OPEN && p->committed != NULL)
        deliveries_apply(s, p->committed);
    if (s->end == SESSION_OPEN && p->has_due)
        s->protocol->confirmed(s, p);
    settle(s, p);
    session_finish_if_done(s);
}

void session_refused(struct session *s, uint64_t ticket, const char *reason)
{
    struct pending *p = find_ticket(&s->pending, ticket);

    if (p == NULL || p->done)
        return;
    if (s->end == SESSION_OPEN && p->committed != NULL)
        deliveries_forget(s, p->committed);
    if (s->end == SESSION_OPEN)
        s->protocol->refused(s, p, reason);
    settle(s, p);
    session_finish_if_done(s);
}

const struct pending *session_oldest_due(const struct session *s)
{
    for (size_t i = 0; i < s->pending.count; i++)
        if (entry(&s->pending, i)->has_due && !entry(&s->pending, i)->done)
            return entry(&s->pending, i);
    return NULL;
}

bool session_deposit(struct session *s, const struct pack_deposit *d, struct slice due, struct err *e)
{
    uint64_t ticket;

    if (!s->ops->deposit(s->ctx, d, due.len, &ticket, e))
        return false;
    s->counts.deposits++;
    s->counts.bytes += d->body.len;
    await(s, due, ticket, NULL);
    return true;
}

/* ---- transactions ------------------------------------------------------------------------ */

struct transaction *session_transaction_find(const struct session *s, struct slice id)
{
    for (unsigned i = 0; i < s->transaction_count; i++)
        if (slice_equal(label_slice(&s->transactions[i]->id), id))
            return s->transactions[i];
    return NULL;
}

struct transaction *session_transaction_begin(struct session *s, struct slice id, struct err *e)
{
    struct transaction *tx;

    if (s->transaction_count >= s->rules->transactions) {
        err_set(e, ERR_INPUT, "more than %u transactions open", s->rules->transactions);
        return NULL;
    }
    s->transactions = mem_realloc(s->transactions, (s->transaction_count + 1) * sizeof(struct transaction *));
    tx = mem_zalloc(1, sizeof *tx);
    label_set(&tx->id, id);
    buf_init_secret(&tx->records, s->rules->transaction_bytes);
    s->transactions[s->transaction_count++] = tx;
    return tx;
}

/* Asked for before anything is written: what a transaction is refused takes no memory either. */
bool session_transaction_add(struct session *s, struct transaction *tx, const struct pack_deposit *d, struct err *e)
{
    struct wire_writer w = wire_write(&tx->records);
    size_t before = tx->records.len, size = pack_deposit_size(d);

    if (size > tx->records.max - before)
        return err_set(e, ERR_INPUT, "a transaction of more than %llu bytes", (unsigned long long)s->rules->transaction_bytes);
    if (!s->ops->hold(s->ctx, (int64_t)size))
        return err_set(e, ERR_RETRY, "open transactions hold too many bytes in all, send again later");
    pack_put_deposit(&w, d);
    if (!wire_ok(&w, "transaction", e)) {
        tx->records.len = before;
        s->ops->hold(s->ctx, -(int64_t)size);
        return false;
    }
    tx->count++;
    return true;
}

static void take_out(struct session *s, const struct transaction *tx)
{
    unsigned i = 0;

    while (s->transactions[i] != tx)
        i++;
    s->transactions[i] = s->transactions[--s->transaction_count];
}

bool session_transaction_commit(struct session *s, struct transaction *tx, struct slice due, bool *settled, struct err *e)
{
    uint64_t ticket;

    take_out(s, tx);
    *settled = tx->count == 0;
    if (tx->count == 0) {
        s->counts.commits++;
        deliveries_apply(s, tx);
        transaction_free(s, tx);
        return true;
    }
    if (!s->ops->deposit_all(s->ctx, buf_slice(&tx->records), due.len + tx->id.len, &ticket, e)) {
        deliveries_forget(s, tx);
        transaction_free(s, tx);
        return false;
    }
    s->counts.commits++;
    s->counts.deposits += tx->count;
    s->counts.bytes += tx->records.len;
    s->ops->hold(s->ctx, -(int64_t)tx->records.len);
    buf_free(&tx->records);
    await(s, due, ticket, tx);
    return true;
}

void session_transaction_abort(struct session *s, struct transaction *tx)
{
    take_out(s, tx);
    deliveries_forget(s, tx);
    transaction_free(s, tx);
}

/* ---- memory ------------------------------------------------------------------------------ */

void session_free_deposits(struct session *s)
{
    for (size_t i = 0; i < s->pending.count; i++) {
        transaction_free(s, entry(&s->pending, i)->committed);
        label_free(&entry(&s->pending, i)->due);
    }
    free(s->pending.at);
    s->pending = (struct pending_ring){0};
    for (unsigned i = 0; i < s->transaction_count; i++)
        transaction_free(s, s->transactions[i]);
    free(s->transactions);
    s->transactions = NULL;
    s->transaction_count = 0;
}

void session_trim_deposits(struct session *s)
{
    if (s->pending.count != 0)
        return;
    free(s->pending.at);
    s->pending = (struct pending_ring){0};
}
