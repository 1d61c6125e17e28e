/*
 * Local transactions: nothing of one is deposited before COMMIT_ONE_PHASE, then all or nothing. Acknowledgements in it count from then
 * on. XA is refused. See openwire_session.h.
 */
#include "ingest/openwire/openwire_session.h"

/* TransactionInfo.Type */
enum { BEGIN = 0, PREPARE = 1, COMMIT_ONE_PHASE = 2, COMMIT_TWO_PHASE = 3, ROLLBACK = 4, RECOVER = 5, FORGET = 6, END = 7 };

enum { NAME_SIZE = 8 };

/* A local transaction is named by its number within the connection. False: it is not of this connection, or XA. */
static bool name_of(const struct openwire_session *s, const struct openwire_object *id, uint8_t *name, struct openwire_refusal *r)
{
    const struct openwire_object *connection;
    uint64_t value;

    if (id->type != OPENWIRE_LOCAL_TRANSACTION_ID) {
        openwire_refuse(r, OPENWIRE_XA, "XA transactions are not available, local ones are");
        return false;
    }
    connection = openwire_get_object(id, OPENWIRE_LOCAL_TRANSACTION_ID_CONNECTION_ID);
    if (!openwire_check_own(s, connection == NULL ? slice_of(NULL, 0) : openwire_get_bytes(connection, OPENWIRE_CONNECTION_ID_VALUE),
                            "TransactionId", r))
        return false;
    value = openwire_get_number(id, OPENWIRE_LOCAL_TRANSACTION_ID_VALUE);
    for (unsigned i = 0; i < NAME_SIZE; i++)
        name[i] = (uint8_t)(value >> 8 * i);
    return true;
}

bool openwire_transaction(const struct openwire_session *s, const struct openwire_object *id, struct transaction **tx,
                          struct openwire_refusal *r)
{
    uint8_t name[NAME_SIZE];

    *tx = NULL;
    if (id == NULL)
        return true;
    if (!name_of(s, id, name, r))
        return false;
    *tx = session_transaction_find(&s->base, slice_of(name, sizeof name));
    if (*tx != NULL)
        return true;
    openwire_refuse(r, OPENWIRE_ROLLED_BACK, "the transaction is not open");
    return false;
}

void openwire_fail_transactions(struct openwire_session *s)
{
    for (unsigned i = 0; i < s->base.transaction_count; i++)
        s->base.transactions[i]->failed = true;
}

static enum openwire_verdict begin(struct openwire_session *s, const struct openwire_object *id, struct openwire_refusal *r)
{
    uint8_t name[NAME_SIZE];
    struct err e = {0};

    if (!name_of(s, id, name, r))
        return OPENWIRE_REFUSED;
    if (session_transaction_find(&s->base, slice_of(name, sizeof name)) != NULL)
        return openwire_refuse(r, OPENWIRE_ILLEGAL_STATE, "a transaction of that name is open already");
    if (session_transaction_begin(&s->base, slice_of(name, sizeof name), &e) == NULL)
        return openwire_refuse(r, OPENWIRE_RESOURCE_ALLOCATION, "%s", e.text);
    return OPENWIRE_OK;
}

static enum openwire_verdict commit(struct openwire_session *s, const struct openwire_object *o, struct transaction *tx,
                                    struct openwire_refusal *r)
{
    const struct openwire_due due = {.command = o->command_id, .response = o->response_required};
    struct err e = {0};
    bool settled, taken;

    if (tx->failed) {
        session_transaction_abort(&s->base, tx);
        return openwire_refuse(r, OPENWIRE_ROLLED_BACK, "something in this transaction was refused: nothing of it is deposited");
    }
    if (tx->count != 0 && s->base.ops->full(s->base.ctx)) {
        s->base.blocked = !s->give_up;
        if (s->base.blocked)
            return OPENWIRE_BLOCKED;
        s->give_up = false;
        session_transaction_abort(&s->base, tx);
        return openwire_refuse(r, OPENWIRE_ROLLED_BACK, "queue unavailable, send again later: no room for more deposits");
    }
    s->give_up = false;
    taken = session_transaction_commit(&s->base, tx, slice_of(&due, sizeof due), &settled, &e);
    if (!taken)
        return openwire_refuse(r, OPENWIRE_ROLLED_BACK, "%s", e.text);
    return settled ? OPENWIRE_OK : OPENWIRE_LATER;
}

enum openwire_verdict openwire_transact(struct openwire_session *s, const struct openwire_object *o, struct openwire_refusal *r)
{
    const struct openwire_object *id = openwire_get_object(o, OPENWIRE_TRANSACTION_INFO_TRANSACTION_ID);
    uint64_t kind = openwire_get_number(o, OPENWIRE_TRANSACTION_INFO_KIND);
    struct transaction *tx;

    if (id == NULL)
        return openwire_refuse(r, kind == RECOVER ? OPENWIRE_XA : OPENWIRE_ILLEGAL_STATE,
                               kind == RECOVER ? "XA transactions are not available" : "TransactionInfo without a TransactionId");
    if (kind == BEGIN)
        return begin(s, id, r);
    if (!openwire_transaction(s, id, &tx, r)) {
        /* Rolled back twice, or on a connection that has lost it: there is nothing to undo. */
        return kind == ROLLBACK && r->class == OPENWIRE_ROLLED_BACK ? OPENWIRE_OK : OPENWIRE_REFUSED;
    }
    if (kind == COMMIT_ONE_PHASE)
        return commit(s, o, tx, r);
    if (kind != ROLLBACK)
        return openwire_refuse(r, OPENWIRE_XA, "a local transaction is committed in one phase or rolled back");
    session_transaction_abort(&s->base, tx);
    return OPENWIRE_OK;
}
