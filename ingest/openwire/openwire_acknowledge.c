/* MessageAck: what the client has received, consumed or given up. See openwire_session.h. */
#include "ingest/openwire/openwire_session.h"

/* MessageAck.AckType */
enum { DELIVERED = 0, POISON = 1, STANDARD = 2, REDELIVERED = 3, INDIVIDUAL = 4, UNMATCHED = 5, EXPIRED = 6 };

/* The number of a message that this session has sent; 0: it is another's, of before a reconnection. */
static uint64_t number_of(const struct openwire_session *s, const struct openwire_object *id)
{
    const struct openwire_object *producer = id == NULL ? NULL : openwire_get_object(id, OPENWIRE_MESSAGE_ID_PRODUCER_ID);

    return producer != NULL && slice_is(openwire_get_bytes(producer, OPENWIRE_PRODUCER_ID_CONNECTION_ID), s->source)
               ? openwire_get_number(id, OPENWIRE_MESSAGE_ID_PRODUCER_SEQUENCE_ID)
               : 0;
}

/*
 * `first` to `last` of a consumer's deliveries are consumed, or will be with their transaction. Then others may come in their place at
 * once, so that a session that commits every five minutes gets more than its prefetch.
 */
static void consume(struct openwire_session *s, struct openwire_consumer *c, uint64_t first, uint64_t last, struct transaction *tx)
{
    size_t i = first == 0 ? 0 : deliveries_up_to(&c->base, first - 1), end = deliveries_up_to(&c->base, last);

    if (tx != NULL)
        deliveries_grant(&s->base, &c->base, end);
    if (i < end)
        deliveries_acknowledge(&s->base, &c->base, i, end, tx, SESSION_DONE);
}

enum openwire_verdict openwire_acknowledge(struct openwire_session *s, const struct openwire_object *o, struct openwire_refusal *r)
{
    const struct openwire_object *id = openwire_get_object(o, OPENWIRE_MESSAGE_ACK_CONSUMER_ID);
    const struct openwire_object *from = openwire_get_object(o, OPENWIRE_MESSAGE_ACK_FIRST_MESSAGE_ID);
    uint64_t last = number_of(s, openwire_get_object(o, OPENWIRE_MESSAGE_ACK_LAST_MESSAGE_ID)), first = number_of(s, from);
    const struct openwire_entry *entry;
    struct transaction *tx;

    if (!openwire_check_own(s, id == NULL ? slice_of(NULL, 0) : openwire_get_bytes(id, OPENWIRE_CONSUMER_ID_CONNECTION_ID), "ConsumerId", r) ||
        !openwire_transaction(s, openwire_get_object(o, OPENWIRE_MESSAGE_ACK_TRANSACTION_ID), &tx, r))
        return OPENWIRE_REFUSED;
    entry = openwire_register_find(&s->consumers, (int64_t)openwire_get_number(id, OPENWIRE_CONSUMER_ID_SESSION_ID),
                                   (int64_t)openwire_get_number(id, OPENWIRE_CONSUMER_ID_VALUE));
    /* One of before a reconnection, of advisories, or of a consumer just removed, is no error: what it is about comes again. */
    if (entry == NULL || entry->consumer == NULL || last == 0 || last > s->sequence)
        return OPENWIRE_OK;
    switch (openwire_get_number(o, OPENWIRE_MESSAGE_ACK_ACK_TYPE)) {
    case DELIVERED:
        deliveries_grant(&s->base, &entry->consumer->base, deliveries_up_to(&entry->consumer->base, last));
        return OPENWIRE_OK;
    case REDELIVERED:
        return OPENWIRE_OK;
    case INDIVIDUAL:
        consume(s, entry->consumer, last, last, tx);
        return OPENWIRE_OK;
    /* Given up by the application (or an id it has seen before): the sensor asks again by depositing again. */
    case POISON:
    case STANDARD:
    case UNMATCHED:
    case EXPIRED:
        consume(s, entry->consumer, from != NULL && first == 0 ? 1 : first, last, tx);
        return OPENWIRE_OK;
    default:
        return openwire_refuse(r, OPENWIRE_ILLEGAL_STATE, "MessageAck of an unknown type");
    }
}
