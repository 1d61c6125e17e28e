/* Deposits of a STOMP session: SEND and transactions. See stomp_session.h. */
#include "ingest/stomp/stomp_session.h"

static enum session_end end_of(const struct err *e)
{
    return e->code == ERR_RETRY ? SESSION_UNAVAILABLE : SESSION_LIMIT;
}

/* ---- SEND -------------------------------------------------------------------------------- */

bool stomp_session_is_queue(struct slice destination, const char *name)
{
    static const char prefix[] = "/queue/";
    size_t len = sizeof prefix - 1;

    return destination.len > len && memcmp(destination.at, prefix, len) == 0 &&
           slice_is(slice_of(destination.at + len, destination.len - len), name);
}

/* What a record can carry. An overlong property is no protocol error: the ledger answers it INVALID. */
static struct slice property(const struct stomp_frame *f, enum stomp_name name)
{
    struct slice v = stomp_get(f, name);

    return slice_of(v.at, v.len > UINT16_MAX ? UINT16_MAX : v.len);
}

static struct pack_deposit deposit_of(const struct stomp_session *s, const struct stomp_frame *f, struct session_time t)
{
    struct pack_deposit d = {
        .depositor = s->base.depositor,
        .received = t.wall,
        .client_id = property(f, STOMP_CLIENT_ID),
        .digest = property(f, STOMP_DIGEST),
        .digest_algo = property(f, STOMP_DIGEST_ALGO),
        .body = f->body,
    };

    /* One that is not a number is as good as none: the ledger decides. */
    d.has_timestamp = number_parse(stomp_get(f, STOMP_TIMESTAMP), &d.timestamp);
    if (!d.has_timestamp)
        d.timestamp = 0;
    return d;
}

/* An answer that would never come is better refused than awaited. Other values are the sender's own. */
static bool asks_for_reply(const struct stomp_frame *f)
{
    static const char temporary[] = "/temp-";
    struct slice to = stomp_get(f, STOMP_REPLY_TO);

    return to.len >= sizeof temporary - 1 && memcmp(to.at, temporary, sizeof temporary - 1) == 0;
}

bool stomp_session_send(struct stomp_session *s, const struct stomp_frame *f, struct session_time t)
{
    struct pack_deposit d;
    struct transaction *tx;
    struct err e;

    if (!stomp_session_is_queue(stomp_get(f, STOMP_DESTINATION), s->base.rules->queue_in))
        return stomp_session_error(s, f, SESSION_DESTINATION, "SEND goes to /queue/%s only", s->base.rules->queue_in);
    if (asks_for_reply(f))
        return stomp_session_error(s, f, SESSION_DESTINATION, "SEND: reply-to a temporary queue is not available with STOMP, answers come to /queue/%s",
                                   s->base.rules->queue_out);
    if (!stomp_session_transaction(s, f, &tx))
        return false;
    d = deposit_of(s, f, t);
    e.code = ERR_NONE;
    if (tx == NULL)
        return session_deposit(&s->base, &d, stomp_session_due(f), &e) ||
               stomp_session_error(s, f, SESSION_UNAVAILABLE, "%s", e.text);
    if (!session_transaction_add(&s->base, tx, &d, &e))
        return stomp_session_error(s, f, end_of(&e), "%s", e.text);
    stomp_session_receipt_for(s, f);
    return true;
}

/* ---- transactions ------------------------------------------------------------------------ */

bool stomp_session_transaction(struct stomp_session *s, const struct stomp_frame *f, struct transaction **tx)
{
    *tx = NULL;
    if (!stomp_has(f, STOMP_TRANSACTION))
        return true;
    *tx = session_transaction_find(&s->base, stomp_get(f, STOMP_TRANSACTION));
    return *tx != NULL || stomp_session_error(s, f, SESSION_PROTOCOL, "STOMP 1.2 \"%s\": the transaction named is not open",
                                              stomp_command_text(f->command));
}

/* BEGIN, COMMIT and ABORT must name one. */
static bool named(struct stomp_session *s, const struct stomp_frame *f)
{
    return stomp_has(f, STOMP_TRANSACTION) ||
           stomp_session_error(s, f, SESSION_PROTOCOL, "STOMP 1.2 \"%s\": the transaction header is missing",
                               stomp_command_text(f->command));
}

bool stomp_session_begin(struct stomp_session *s, const struct stomp_frame *f)
{
    struct slice id = stomp_get(f, STOMP_TRANSACTION);
    struct err e = {0};

    if (!named(s, f))
        return false;
    if (session_transaction_find(&s->base, id) != NULL)
        return stomp_session_error(s, f, SESSION_PROTOCOL, "STOMP 1.2 \"BEGIN\": a transaction of that name is open already");
    if (session_transaction_begin(&s->base, id, &e) == NULL)
        return stomp_session_error(s, f, SESSION_LIMIT, "%s", e.text);
    stomp_session_receipt_for(s, f);
    return true;
}

bool stomp_session_commit(struct stomp_session *s, const struct stomp_frame *f)
{
    struct transaction *tx;
    struct err e = {0};
    bool settled;

    if (!named(s, f) || !stomp_session_transaction(s, f, &tx))
        return false;
    if (!session_transaction_commit(&s->base, tx, stomp_session_due(f), &settled, &e))
        return stomp_session_error(s, f, SESSION_UNAVAILABLE, "%s", e.text);
    if (settled)
        stomp_session_receipt_for(s, f);
    return true;
}

bool stomp_session_abort(struct stomp_session *s, const struct stomp_frame *f)
{
    struct transaction *tx;

    if (!named(s, f) || !stomp_session_transaction(s, f, &tx))
        return false;
    session_transaction_abort(&s->base, tx);
    stomp_session_receipt_for(s, f);
    return true;
}
