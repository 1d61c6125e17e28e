/*
 * Temporary queues: a subscription that asks for nothing keeps the queue where deliver has made it; consumers subscribe to it by name. They
 * die with the JMS connection that has made them. See openwire_session.h, PROTOCOL.md "Pack" on replies.
 */
#include "ingest/openwire/openwire_session.h"

#include <stdio.h>
#include <stdlib.h>

/* DestinationInfo.OperationType */
enum { ADD = 0, REMOVE = 1 };

struct openwire_consumer *openwire_find_temporary(const struct openwire_session *s, struct slice name)
{
    for (unsigned i = 0; i < s->base.subscription_count; i++) {
        struct openwire_consumer *c = (struct openwire_consumer *)s->base.subscriptions[i];

        if (c->temporary && slice_equal(label_slice(&c->base.name), name))
            return c;
    }
    return NULL;
}

static bool has_consumers(const struct openwire_session *s, struct slice name)
{
    for (size_t i = 0; i < s->consumers.count; i++) {
        const struct openwire_consumer *c = s->consumers.at[i].consumer;

        if (c != NULL && c->base.queue == SESSION_REPLIES && slice_equal(label_slice(&c->base.name), name))
            return true;
    }
    return false;
}

/* "<ConnectionId>:<n>": what follows has no further colon, or a connection called "ID" would have the queues of "ID:host-1:1" too. */
bool openwire_is_own_temporary(const struct openwire_session *s, struct slice name)
{
    struct slice own = label_slice(&s->connection);

    return name.len > own.len + 1 && name.len <= SESSION_NAME_MAX && memcmp(name.at, own.at, own.len) == 0 && name.at[own.len] == ':' &&
           memchr(name.at + own.len + 1, ':', name.len - own.len - 1) == NULL;
}

/* Answered when deliver has made the queue: a request sent right after finds it. */
static enum openwire_verdict add(struct openwire_session *s, const struct openwire_object *o, struct slice name, struct openwire_refusal *r)
{
    struct openwire_consumer *c = openwire_find_temporary(s, name);
    struct err e = {0};

    if (c != NULL) {
        if (c->exists || c->owes)
            return OPENWIRE_OK;
    } else {
        c = mem_zalloc(1, sizeof *c);
        c->temporary = true;
        c->base.queue = SESSION_REPLIES;
        label_set(&c->base.name, name);
        if (!session_subscribe(&s->base, &c->base, &e)) {
            label_free(&c->base.name);
            free(c);
            return openwire_refuse(r, OPENWIRE_RESOURCE_ALLOCATION, "%s", e.text);
        }
    }
    c->owes = o->response_required;
    c->owed = o->command_id;
    return OPENWIRE_LATER;
}

void openwire_remove_temporary(struct openwire_session *s, struct openwire_consumer *c)
{
    bool owes = c->owes;
    uint32_t owed = c->owed;

    session_unsubscribe(&s->base, &c->base);
    if (owes)
        openwire_respond_exception(s, owed, OPENWIRE_ILLEGAL_STATE, "coffre: the temporary queue was removed before it was there");
}

enum openwire_verdict openwire_destination(struct openwire_session *s, const struct openwire_object *o, struct openwire_refusal *r)
{
    const struct openwire_object *destination = openwire_get_object(o, OPENWIRE_DESTINATION_INFO_DESTINATION);
    struct slice name = destination == NULL ? slice_of(NULL, 0) : openwire_get_bytes(destination, OPENWIRE_DESTINATION_PHYSICAL_NAME);
    uint64_t operation = openwire_get_number(o, OPENWIRE_DESTINATION_INFO_OPERATION);
    struct openwire_consumer *c;
    char named[OPENWIRE_NAMED];

    if (destination == NULL || destination->type != OPENWIRE_TEMP_QUEUE)
        return openwire_refuse(r, OPENWIRE_INVALID_DESTINATION, "%s: only temporary queues are made and removed",
                               openwire_name(destination, named));
    /* Only its own connection makes or removes it (CVE-2026-54475, CVE-2026-32642). */
    if (!openwire_is_own_temporary(s, name))
        return openwire_refuse(r, OPENWIRE_INVALID_DESTINATION, "%s: a temporary queue is named after the connection that makes it",
                               openwire_name(destination, named));
    if (operation == ADD)
        return add(s, o, name, r);
    if (operation != REMOVE)
        return openwire_refuse(r, OPENWIRE_ILLEGAL_STATE, "DestinationInfo of an unknown operation");
    if (has_consumers(s, name))
        return openwire_refuse(r, OPENWIRE_JMS, "the temporary queue still has consumers");
    c = openwire_find_temporary(s, name);
    if (c != NULL)
        openwire_remove_temporary(s, c);
    return OPENWIRE_OK;
}

void openwire_subscribed(struct session *base, struct subscription *sub)
{
    struct openwire_consumer *c = (struct openwire_consumer *)sub;

    bool owes = c->temporary && c->owes;

    c->exists = true;
    c->owes = false;
    if (owes)
        openwire_respond(openwire_self(base), c->owed);
}

/* A limit on deliver's side. The connection goes on without this queue or consumer. */
void openwire_not_subscribed(struct session *base, struct subscription *sub, const char *reason)
{
    struct openwire_session *s = openwire_self(base);
    struct openwire_consumer *c = (struct openwire_consumer *)sub;
    struct openwire_entry *entry;

    bool owes = c->temporary && c->owes;
    uint32_t owed = c->owed;
    char said[ERR_TEXT_MAX + 16];

    snprintf(said, sizeof said, "coffre: %s", reason);
    entry = c->temporary ? NULL : openwire_register_find(&s->consumers, c->session, c->value);
    if (entry != NULL)
        openwire_remove_consumer(s, entry, -2);
    else
        session_unsubscribe(base, sub);
    openwire_complain(s, owes, owed, OPENWIRE_RESOURCE_ALLOCATION, said);
}
