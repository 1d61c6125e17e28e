/* Consumers: which queues, how much at once, MessagePull, removal. See openwire_session.h. */
#include "ingest/openwire/openwire_session.h"

#include <inttypes.h>
#include <stdlib.h>

static const char advisories[] = "ActiveMQ.Advisory.";

/* ---- ConsumerInfo ------------------------------------------------------------------------ */

/*
 * Every client watches temporary destinations by a topic of advisories, and does not start when that is refused. It gets its consumer, and never a
 * message: advisories are about other connections, which are none of its business.
 */
static bool is_advisory(const struct openwire_object *destination)
{
    struct slice name = openwire_get_bytes(destination, OPENWIRE_DESTINATION_PHYSICAL_NAME);

    return destination->type == OPENWIRE_TOPIC && name.len > sizeof advisories - 1 &&
           memcmp(name.at, advisories, sizeof advisories - 1) == 0;
}

static bool find_queue(const struct openwire_session *s, const struct openwire_object *destination, struct subscription *sub,
                       struct openwire_refusal *r)
{
    struct slice name = destination == NULL ? slice_of(NULL, 0) : openwire_get_bytes(destination, OPENWIRE_DESTINATION_PHYSICAL_NAME);
    char named[OPENWIRE_NAMED];

    if (destination != NULL && destination->type == OPENWIRE_QUEUE && slice_is(name, s->base.rules->queue_out)) {
        sub->queue = SESSION_EVENTS;
        return true;
    }
    if (destination != NULL && destination->type == OPENWIRE_QUEUE && slice_is(name, s->base.rules->queue_archive)) {
        sub->queue = SESSION_ARCHIVES;
        return true;
    }
    /* Only who has made a temporary queue consumes from it (CVE-2026-54475). */
    if (destination != NULL && destination->type == OPENWIRE_TEMP_QUEUE && openwire_find_temporary(s, name) != NULL) {
        sub->queue = SESSION_REPLIES;
        label_set(&sub->name, name);
        return true;
    }
    openwire_refuse(r, OPENWIRE_INVALID_DESTINATION, "%s: consumers read queue %s, queue %s or a temporary queue of their own connection",
                    openwire_name(destination, named), s->base.rules->queue_out, s->base.rules->queue_archive);
    return false;
}

static bool is_available(const struct openwire_object *o, struct openwire_refusal *r)
{
    if (openwire_get_bytes(o, OPENWIRE_CONSUMER_INFO_SELECTOR).len != 0)
        openwire_refuse(r, OPENWIRE_INVALID_SELECTOR, "selectors are not available: a depositor gets all its own messages");
    else if (openwire_get_number(o, OPENWIRE_CONSUMER_INFO_BROWSER) != 0)
        openwire_refuse(r, OPENWIRE_JMS, "browsing is not available: a consumer that does not acknowledge loses nothing");
    else if (openwire_get_number(o, OPENWIRE_CONSUMER_INFO_NETWORK_SUBSCRIPTION) != 0 ||
             o->values[OPENWIRE_CONSUMER_INFO_ADDITIONAL_PREDICATE].there)
        openwire_refuse(r, OPENWIRE_ILLEGAL_STATE, "networks of brokers are not available");
    else
        return true;
    return false;
}

static uint32_t bounded(int64_t prefetch)
{
    return prefetch < 0 ? 0 : prefetch > OPENWIRE_PREFETCH_MAX ? OPENWIRE_PREFETCH_MAX : (uint32_t)prefetch;
}

static enum openwire_verdict subscribe(struct openwire_session *s, const struct openwire_object *o, int64_t session, int64_t value,
                                       struct openwire_refusal *r)
{
    struct openwire_consumer *c = mem_zalloc(1, sizeof *c);
    int64_t prefetch = (int64_t)openwire_get_number(o, OPENWIRE_CONSUMER_INFO_PREFETCH_SIZE);
    struct err e = {0};

    *c = (struct openwire_consumer){.session = session, .value = value, .prefetch = bounded(prefetch)};
    c->base.credit = c->prefetch;
    if (find_queue(s, openwire_get_object(o, OPENWIRE_CONSUMER_INFO_DESTINATION), &c->base, r)) {
        if (session_subscribe(&s->base, &c->base, &e)) {
            openwire_register_add(&s->consumers, session, value)->consumer = c;
            return OPENWIRE_OK;
        }
        openwire_refuse(r, OPENWIRE_RESOURCE_ALLOCATION, "%s", e.text);
    }
    label_free(&c->base.name);
    free(c);
    return OPENWIRE_REFUSED;
}

enum openwire_verdict openwire_add_consumer(struct openwire_session *s, const struct openwire_object *o, struct openwire_refusal *r)
{
    const struct openwire_object *id = openwire_get_object(o, OPENWIRE_CONSUMER_INFO_CONSUMER_ID);
    const struct openwire_object *destination = openwire_get_object(o, OPENWIRE_CONSUMER_INFO_DESTINATION);
    int64_t session, value;

    if (!openwire_check_own(s, id == NULL ? slice_of(NULL, 0) : openwire_get_bytes(id, OPENWIRE_CONSUMER_ID_CONNECTION_ID), "ConsumerId", r))
        return OPENWIRE_REFUSED;
    session = (int64_t)openwire_get_number(id, OPENWIRE_CONSUMER_ID_SESSION_ID);
    value = (int64_t)openwire_get_number(id, OPENWIRE_CONSUMER_ID_VALUE);
    /* The connection's own consumer of advisories is in session -1, which nobody declares. */
    if (session != -1 && openwire_register_find(&s->sessions, session, 0) == NULL)
        return openwire_refuse(r, OPENWIRE_ILLEGAL_STATE, "ConsumerInfo: there is no session %" PRId64, session);
    if (openwire_register_find(&s->consumers, session, value) != NULL)
        return OPENWIRE_OK;
    if (s->consumers.count >= OPENWIRE_CONSUMERS_MAX)
        return openwire_refuse(r, OPENWIRE_RESOURCE_ALLOCATION, "more than %d consumers on a connection", OPENWIRE_CONSUMERS_MAX);
    if (destination != NULL && is_advisory(destination)) {
        openwire_register_add(&s->consumers, session, value);
        return OPENWIRE_OK;
    }
    return is_available(o, r) ? subscribe(s, o, session, value, r) : OPENWIRE_REFUSED;
}

void openwire_remove_consumer(struct openwire_session *s, struct openwire_entry *entry, int64_t seen)
{
    struct openwire_consumer *c = entry->consumer;

    openwire_register_remove(&s->consumers, entry);
    if (c == NULL)
        return;
    /* -1: nothing reached the application. -2 and below: the client does not say. */
    if (seen >= -1)
        deliveries_return(&s->base, &c->base, deliveries_up_to(&c->base, seen < 0 ? 0 : (uint64_t)seen));
    session_unsubscribe(&s->base, &c->base);
}

/* ---- MessagePull, ConsumerControl -------------------------------------------------------- */

static struct openwire_consumer *find(const struct openwire_session *s, const struct openwire_object *id)
{
    struct openwire_entry *entry;

    if (id == NULL || !openwire_is_own(s, openwire_get_bytes(id, OPENWIRE_CONSUMER_ID_CONNECTION_ID)))
        return NULL;
    entry = openwire_register_find(&s->consumers, (int64_t)openwire_get_number(id, OPENWIRE_CONSUMER_ID_SESSION_ID),
                                   (int64_t)openwire_get_number(id, OPENWIRE_CONSUMER_ID_VALUE));
    return entry == NULL ? NULL : entry->consumer;
}

static void change_credit(struct openwire_session *s, struct openwire_consumer *c, uint32_t credit)
{
    int64_t change = (int64_t)credit - c->base.credit;

    c->base.credit = credit;
    if (change != 0)
        s->base.ops->credit(s->base.ctx, c->base.key, (int32_t)change);
}

/* Timeout: 0 waits for ever, -1 not at all, else ms. A consumer with a prefetch is sent messages anyway. */
enum openwire_verdict openwire_pull(struct openwire_session *s, const struct openwire_object *o, struct session_time t,
                                    struct openwire_refusal *r)
{
    struct openwire_consumer *c = find(s, openwire_get_object(o, OPENWIRE_MESSAGE_PULL_CONSUMER_ID));
    int64_t timeout = (int64_t)openwire_get_number(o, OPENWIRE_MESSAGE_PULL_TIMEOUT);

    if (c == NULL)
        return openwire_refuse(r, OPENWIRE_ILLEGAL_STATE, "MessagePull: there is no such consumer");
    if (c->prefetch != 0)
        return OPENWIRE_OK;
    if (c->pulls >= SESSION_CREDIT_DEFAULT)
        return openwire_refuse(r, OPENWIRE_RESOURCE_ALLOCATION, "MessagePull: too many at once");
    c->pulls++;
    c->pull_until = timeout == 0 ? 0 : t.now + (timeout < OPENWIRE_PULL_MS ? OPENWIRE_PULL_MS : (uint64_t)timeout);
    change_credit(s, c, c->pulls);
    return OPENWIRE_OK;
}

void openwire_pulls_expire(struct openwire_session *s, uint64_t now)
{
    for (size_t i = 0; i < s->consumers.count; i++) {
        struct openwire_consumer *c = s->consumers.at[i].consumer;

        if (c == NULL || c->pulls == 0 || c->pull_until == 0 || now < c->pull_until)
            continue;
        while (c->pulls != 0) {
            c->pulls--;
            openwire_dispatch_nothing(s, c);
            if (s->base.end != SESSION_OPEN)
                return; /* and `c` is gone */
        }
        change_credit(s, c, 0);
    }
}

/* A failover client that has reconnected begins with a prefetch of 0 and sets it right by this. */
enum openwire_verdict openwire_control_consumer(struct openwire_session *s, const struct openwire_object *o, struct openwire_refusal *r)
{
    struct openwire_consumer *c = find(s, openwire_get_object(o, OPENWIRE_CONSUMER_CONTROL_CONSUMER_ID));
    int64_t prefetch = (int64_t)openwire_get_number(o, OPENWIRE_CONSUMER_CONTROL_PREFETCH);

    (void)r;
    if (c == NULL || openwire_get_number(o, OPENWIRE_CONSUMER_CONTROL_CLOSE) != 0)
        return OPENWIRE_OK; /* crossed with its removal, or of advisories */
    if (prefetch <= 0 && c->prefetch == 0)
        return OPENWIRE_OK; /* and what it has asked for still comes */
    c->prefetch = bounded(prefetch);
    c->pulls = 0;
    change_credit(s, c, c->prefetch);
    if (c->prefetch == 0)
        deliveries_absorb(&c->base); /* they are no reason to withhold what it pulls from now on */
    return OPENWIRE_OK;
}

/* A new deliver: deliveries come again, and the name of the connection is claimed again. */
void openwire_resubscribed(struct session *base, struct subscription *sub)
{
    struct openwire_session *s = openwire_self(base);

    if (sub == NULL && s->open)
        base->ops->claim(base->ctx, base->depositor, label_slice(&s->connection));
}
