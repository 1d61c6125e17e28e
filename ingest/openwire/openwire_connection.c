/* The JMS connection on a transport: ConnectionInfo, SessionInfo, RemoveInfo. See openwire_session.h. */
#include <stdio.h>

#include "ingest/openwire/openwire_session.h"

/* ---- whose ids --------------------------------------------------------------------------- */

bool openwire_is_own(const struct openwire_session *s, struct slice connection)
{
    return s->open && slice_equal(connection, label_slice(&s->connection));
}

bool openwire_check_own(const struct openwire_session *s, struct slice connection, const char *what, struct openwire_refusal *r)
{
    if (openwire_is_own(s, connection))
        return true;
    openwire_refuse(r, OPENWIRE_ILLEGAL_STATE, "%s is of another connection than this one", what);
    return false;
}

/* ---- ConnectionInfo ---------------------------------------------------------------------- */

/* The peer has a moment to read why, and to go. Security exceptions make failover clients give up, which is what is wanted for ever. */
static enum openwire_verdict turn_away(struct openwire_session *s, const struct openwire_object *o, struct session_time t)
{
    char said[ERR_TEXT_MAX + 16];

    if (session_end_passes(s->base.refusal) && openwire_get_number(o, OPENWIRE_CONNECTION_INFO_FAULT_TOLERANT) != 0) {
        session_end_with(&s->base, s->base.refusal, s->base.refusal_text); /* it tries again by itself, elsewhere if it can */
        return OPENWIRE_LATER;
    }
    if (s->base.refusal == SESSION_OPEN)
        snprintf(said, sizeof said, "coffre: OpenWire %u is not served, 6 to 12 are", s->format.version);
    else
        snprintf(said, sizeof said, "coffre: %s", s->base.refusal_text);
    openwire_complain(s, o->response_required, o->command_id,
                      session_end_is_security(s->base.refusal) ? OPENWIRE_SECURITY : OPENWIRE_JMS, said);
    if (s->refused_at == 0)
        s->refused_at = t.now;
    s->base.partial_since = 0;
    return OPENWIRE_LATER;
}

enum openwire_verdict openwire_connect(struct openwire_session *s, const struct openwire_object *o, struct session_time t,
                                       struct openwire_refusal *r)
{
    const struct openwire_object *id = openwire_get_object(o, OPENWIRE_CONNECTION_INFO_CONNECTION_ID);
    struct slice name = id == NULL ? slice_of(NULL, 0) : openwire_get_bytes(id, OPENWIRE_CONNECTION_ID_VALUE);

    if (s->base.refusal != SESSION_OPEN || s->format.version < OPENWIRE_VERSION_MIN)
        return turn_away(s, o, t);
    if (name.len == 0 || name.len > SESSION_NAME_MAX)
        return openwire_refuse(r, OPENWIRE_ILLEGAL_STATE, "ConnectionInfo: a ConnectionId of 1 to %d bytes is needed", SESSION_NAME_MAX);
    if (s->owes)
        return openwire_refuse(r, OPENWIRE_ILLEGAL_STATE,
                               "the connection just removed has deposits that are not stored yet: wait for its Response");
    if (s->open && !openwire_is_own(s, name))
        return openwire_refuse(r, OPENWIRE_ILLEGAL_STATE, "another connection is open on this transport: remove it first");
    s->fault_tolerant = openwire_get_number(o, OPENWIRE_CONNECTION_INFO_FAULT_TOLERANT) != 0;
    if (s->open)
        return OPENWIRE_OK;
    label_free(&s->connection);
    label_set(&s->connection, name);
    s->open = s->base.connected = true;
    s->connections++;
    s->base.ops->claim(s->base.ctx, s->base.depositor, name);
    return OPENWIRE_OK;
}

/* ---- SessionInfo ------------------------------------------------------------------------- */

enum openwire_verdict openwire_add_session(struct openwire_session *s, const struct openwire_object *o, struct openwire_refusal *r)
{
    const struct openwire_object *id = openwire_get_object(o, OPENWIRE_SESSION_INFO_SESSION_ID);
    int64_t value = id == NULL ? 0 : (int64_t)openwire_get_number(id, OPENWIRE_SESSION_ID_VALUE);

    if (!openwire_check_own(s, id == NULL ? slice_of(NULL, 0) : openwire_get_bytes(id, OPENWIRE_SESSION_ID_CONNECTION_ID), "SessionId", r))
        return OPENWIRE_REFUSED;
    if (openwire_register_find(&s->sessions, value, 0) != NULL)
        return OPENWIRE_OK;
    if (s->sessions.count >= OPENWIRE_SESSIONS_MAX)
        return openwire_refuse(r, OPENWIRE_RESOURCE_ALLOCATION, "more than %d sessions on a connection", OPENWIRE_SESSIONS_MAX);
    openwire_register_add(&s->sessions, value, 0);
    return OPENWIRE_OK;
}

/* ---- RemoveInfo -------------------------------------------------------------------------- */

static void disconnect(struct openwire_session *s, int64_t seen)
{
    if (!s->open)
        return;
    while (s->base.transaction_count != 0)
        session_transaction_abort(&s->base, s->base.transactions[s->base.transaction_count - 1]);
    while (s->consumers.count != 0)
        openwire_remove_consumer(s, &s->consumers.at[s->consumers.count - 1], seen);
    while (s->base.subscription_count != 0) /* temporary queues are left */
        openwire_remove_temporary(s, (struct openwire_consumer *)s->base.subscriptions[s->base.subscription_count - 1]);
    s->producers.count = s->sessions.count = 0;
    s->base.ops->unclaim(s->base.ctx);
    s->open = false;
}

/* close() of the client waits for this: async sends that went before are durable by then. */
static enum openwire_verdict remove_connection(struct openwire_session *s, const struct openwire_object *o, int64_t seen)
{
    disconnect(s, seen);
    if (s->base.pending.count == 0 || !o->response_required)
        return OPENWIRE_OK;
    s->owes = true;
    s->owed = o->command_id;
    return OPENWIRE_LATER;
}

static void remove_session(struct openwire_session *s, int64_t value, int64_t seen)
{
    struct openwire_entry *entry = openwire_register_find(&s->sessions, value, 0);

    for (size_t i = s->consumers.count; i-- > 0;)
        if (s->consumers.at[i].session == value)
            openwire_remove_consumer(s, &s->consumers.at[i], seen);
    for (size_t i = s->producers.count; i-- > 0;)
        if (s->producers.at[i].session == value)
            openwire_register_remove(&s->producers, &s->producers.at[i]);
    if (entry != NULL)
        openwire_register_remove(&s->sessions, entry);
}

/* What is not there (any more) is removed already. */
enum openwire_verdict openwire_remove(struct openwire_session *s, const struct openwire_object *o, struct openwire_refusal *r)
{
    const struct openwire_object *id = openwire_get_object(o, OPENWIRE_REMOVE_INFO_OBJECT_ID);
    int64_t seen = (int64_t)openwire_get_number(o, OPENWIRE_REMOVE_INFO_LAST_DELIVERED_SEQUENCE_ID);
    struct openwire_entry *entry;

    /* The connection's name stands first in the ids of everything in it. */
    if (id == NULL || id->type == OPENWIRE_BROKER_ID)
        return openwire_refuse(r, OPENWIRE_ILLEGAL_STATE, "RemoveInfo: the id of a connection, session, consumer or producer is needed");
    if (!openwire_check_own(s, openwire_get_bytes(id, 0), "RemoveInfo: the id", r))
        return OPENWIRE_REFUSED;
    if (id->type == OPENWIRE_CONNECTION_ID)
        return remove_connection(s, o, seen);
    if (id->type == OPENWIRE_SESSION_ID) {
        remove_session(s, (int64_t)openwire_get_number(id, OPENWIRE_SESSION_ID_VALUE), seen);
    } else if (id->type == OPENWIRE_CONSUMER_ID) {
        entry = openwire_register_find(&s->consumers, (int64_t)openwire_get_number(id, OPENWIRE_CONSUMER_ID_SESSION_ID),
                                       (int64_t)openwire_get_number(id, OPENWIRE_CONSUMER_ID_VALUE));
        if (entry != NULL)
            openwire_remove_consumer(s, entry, seen);
    } else {
        entry = openwire_register_find(&s->producers, (int64_t)openwire_get_number(id, OPENWIRE_PRODUCER_ID_SESSION_ID),
                                       (int64_t)openwire_get_number(id, OPENWIRE_PRODUCER_ID_VALUE));
        if (entry != NULL)
            openwire_register_remove(&s->producers, entry);
    }
    return OPENWIRE_OK;
}
