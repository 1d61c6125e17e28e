/* Deposits of a STOMP session: SEND, transactions, and the receipts that wait for RabbitMQ. See session.h. */
#include "ingest/front/session_internal.h"

#include <stdlib.h>

/* ---- deposits not yet confirmed ---------------------------------------------------------- */

static struct pending *entry(struct pending_ring *r, size_t i)
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

static void await(struct session *s, const struct stomp_frame *f, uint64_t ticket, struct transaction *committed)
{
    struct pending *p;

    if (s->pending.count == s->pending.capacity)
        grow(&s->pending);
    p = entry(&s->pending, s->pending.count++);
    p->ticket = ticket;
    p->committed = committed;
    p->done = false;
    p->has_receipt = stomp_has(f, STOMP_RECEIPT_HEADER);
    p->receipt.len = 0;
    if (p->has_receipt)
        label_set(&p->receipt, stomp_get(f, STOMP_RECEIPT_HEADER));
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
    label_free(&p->receipt);
    while (s->pending.count != 0 && entry(&s->pending, 0)->done) {
        s->pending.first = (s->pending.first + 1) & (s->pending.capacity - 1);
        s->pending.count--;
    }
}

void session_confirmed(struct session *s, uint64_t ticket)
{
    struct pending *p = find_ticket(&s->pending, ticket);

    if (p == NULL || p->done)
        return;
    if (s->end == SESSION_OPEN && p->committed != NULL)
        session_apply_acks(s, p->committed);
    if (s->end == SESSION_OPEN && p->has_receipt)
        session_receipt(s, label_slice(&p->receipt));
    settle(s, p);
    session_finish_if_done(s);
}

void session_refused(struct session *s, uint64_t ticket, const char *reason)
{
    struct pending *p = find_ticket(&s->pending, ticket);
    struct stomp_frame f = {.present = 0};

    if (p == NULL || p->done)
        return;
    if (p->has_receipt) {
        f.present = UINT64_C(1) << STOMP_RECEIPT_HEADER;
        f.headers[STOMP_RECEIPT_HEADER] = label_slice(&p->receipt);
    }
    session_error(s, &f, SESSION_REFUSED, "%s", reason);
    settle(s, p);
}

void session_free_deposits(struct session *s)
{
    for (size_t i = 0; i < s->pending.count; i++) {
        transaction_free(s, entry(&s->pending, i)->committed);
        label_free(&entry(&s->pending, i)->receipt);
    }
    free(s->pending.at);
    s->pending = (struct pending_ring){0};
    for (unsigned i = 0; i < s->transaction_count; i++)
        transaction_free(s, s->transactions[i]);
    free(s->transactions);
    s->transactions = NULL;
    s->transaction_count = 0;
}

/* ---- SEND -------------------------------------------------------------------------------- */

/* What a record can carry. An overlong property is no protocol error: the ledger answers it INVALID. */
static struct slice property(const struct stomp_frame *f, enum stomp_name name)
{
    struct slice v = stomp_get(f, name);

    return slice_of(v.at, v.len > UINT16_MAX ? UINT16_MAX : v.len);
}

static struct pack_deposit deposit_of(const struct session *s, const struct stomp_frame *f, struct session_time t)
{
    struct pack_deposit d = {
        .depositor = s->depositor,
        .received = t.wall,
        .client_id = property(f, STOMP_CLIENT_ID),
        .digest = property(f, STOMP_DIGEST),
        .digest_algo = property(f, STOMP_DIGEST_ALGO),
        .body = f->body,
    };

    /* One that is not a number is as good as none: the ledger decides. */
    d.has_timestamp = stomp_number(stomp_get(f, STOMP_TIMESTAMP), &d.timestamp);
    if (!d.has_timestamp)
        d.timestamp = 0;
    return d;
}

static bool add_to_transaction(struct session *s, const struct stomp_frame *f, struct transaction *tx,
                               const struct pack_deposit *d)
{
    struct wire_writer w = wire_write(&tx->records);
    size_t before = tx->records.len;

    pack_put_deposit(&w, d);
    if (!wire_ok(&w, "transaction", NULL)) {
        tx->records.len = before;
        return session_error(s, f, SESSION_LIMIT, "a transaction of more than %llu bytes",
                             (unsigned long long)s->rules->transaction_bytes);
    }
    if (!s->ops->hold(s->ctx, (int64_t)(tx->records.len - before))) {
        tx->records.len = before;
        return session_error(s, f, SESSION_UNAVAILABLE, "open transactions hold too many bytes in all, send again later");
    }
    tx->count++;
    session_receipt_for(s, f);
    return true;
}

bool session_take_send(struct session *s, const struct stomp_frame *f, struct session_time t)
{
    struct slice destination = stomp_get(f, STOMP_DESTINATION);
    struct pack_deposit d;
    struct transaction *tx;
    uint64_t ticket;
    struct err e;

    if (!slice_is(destination, s->rules->queue_in))
        return session_error(s, f, SESSION_DESTINATION, "SEND goes to %s only", s->rules->queue_in);
    if (!session_transaction(s, f, &tx))
        return false;
    d = deposit_of(s, f, t);
    if (tx != NULL)
        return add_to_transaction(s, f, tx, &d);
    e.code = ERR_NONE;
    if (!s->ops->deposit(s->ctx, &d, stomp_get(f, STOMP_RECEIPT_HEADER).len, &ticket, &e))
        return session_error(s, f, SESSION_UNAVAILABLE, "%s", e.text);
    s->counts.deposits++;
    s->counts.bytes += d.body.len;
    await(s, f, ticket, NULL);
    return true;
}

/* ---- transactions ------------------------------------------------------------------------ */

static unsigned find_transaction(const struct session *s, struct slice id)
{
    unsigned i = 0;

    while (i < s->transaction_count && !slice_equal(label_slice(&s->transactions[i]->id), id))
        i++;
    return i;
}

bool session_transaction(struct session *s, const struct stomp_frame *f, struct transaction **tx)
{
    unsigned i;

    *tx = NULL;
    if (!stomp_has(f, STOMP_TRANSACTION))
        return true;
    i = find_transaction(s, stomp_get(f, STOMP_TRANSACTION));
    if (i == s->transaction_count)
        return session_error(s, f, SESSION_PROTOCOL, "STOMP 1.2 \"%s\": the transaction named is not open",
                             stomp_command_text(f->command));
    *tx = s->transactions[i];
    return true;
}

/* BEGIN, COMMIT and ABORT must name one. */
static bool named(struct session *s, const struct stomp_frame *f)
{
    return stomp_has(f, STOMP_TRANSACTION) ||
           session_error(s, f, SESSION_PROTOCOL, "STOMP 1.2 \"%s\": the transaction header is missing",
                         stomp_command_text(f->command));
}

bool session_take_begin(struct session *s, const struct stomp_frame *f)
{
    struct slice id = stomp_get(f, STOMP_TRANSACTION);
    struct transaction *tx;

    if (!named(s, f))
        return false;
    if (find_transaction(s, id) < s->transaction_count)
        return session_error(s, f, SESSION_PROTOCOL, "STOMP 1.2 \"BEGIN\": a transaction of that name is open already");
    if (s->transaction_count >= s->rules->transactions)
        return session_error(s, f, SESSION_LIMIT, "more than %u transactions open", s->rules->transactions);
    s->transactions = mem_realloc(s->transactions, (s->transaction_count + 1) * sizeof(struct transaction *));
    tx = mem_zalloc(1, sizeof *tx);
    label_set(&tx->id, id);
    buf_init_secret(&tx->records, s->rules->transaction_bytes);
    s->transactions[s->transaction_count++] = tx;
    session_receipt_for(s, f);
    return true;
}

/* Takes the transaction a frame names out of the open ones; NULL: the session has ended. */
static struct transaction *take_out(struct session *s, const struct stomp_frame *f)
{
    struct transaction *tx;
    unsigned i;

    if (!named(s, f) || !session_transaction(s, f, &tx))
        return NULL;
    i = find_transaction(s, label_slice(&tx->id));
    s->transactions[i] = s->transactions[--s->transaction_count];
    return tx;
}

/* Its records leave as one message, and what it acknowledged waits until they are confirmed: all or nothing. */
bool session_take_commit(struct session *s, const struct stomp_frame *f)
{
    struct transaction *tx = take_out(s, f);
    uint64_t ticket;
    struct err e;

    if (tx == NULL)
        return false;
    s->counts.commits++;
    if (tx->count == 0) {
        session_apply_acks(s, tx);
        transaction_free(s, tx);
        session_receipt_for(s, f);
        return true;
    }
    e.code = ERR_NONE;
    if (!s->ops->deposit_all(s->ctx, buf_slice(&tx->records), stomp_get(f, STOMP_RECEIPT_HEADER).len + tx->id.len, &ticket, &e)) {
        session_forget_acks(s, tx);
        transaction_free(s, tx);
        return session_error(s, f, SESSION_UNAVAILABLE, "%s", e.text);
    }
    s->counts.deposits += tx->count;
    s->counts.bytes += tx->records.len;
    s->ops->hold(s->ctx, -(int64_t)tx->records.len);
    buf_free(&tx->records);
    await(s, f, ticket, tx);
    return true;
}

bool session_take_abort(struct session *s, const struct stomp_frame *f)
{
    struct transaction *tx = take_out(s, f);

    if (tx == NULL)
        return false;
    session_forget_acks(s, tx);
    transaction_free(s, tx);
    session_receipt_for(s, f);
    return true;
}
