/* Answers and archive notices as JMS messages (MessageDispatch). See openwire_session.h; the properties and their types are the contract of design.md, 3. */
#include <stdio.h>

#include "ingest/openwire/openwire_session.h"
#include "ingest/openwire/properties.h"

enum { PRIORITY = 4 /* JMS 1.1, 3.4.10: the default */, PROPERTIES_SIZE = 4096 };

static struct openwire_object consumer_id(const struct openwire_session *s, const struct openwire_consumer *c, struct openwire_value *v)
{
    v[OPENWIRE_CONSUMER_ID_CONNECTION_ID] = openwire_bytes(label_slice(&s->connection));
    v[OPENWIRE_CONSUMER_ID_SESSION_ID] = openwire_number((uint64_t)c->session);
    v[OPENWIRE_CONSUMER_ID_VALUE] = openwire_number((uint64_t)c->value);
    return (struct openwire_object){.type = OPENWIRE_CONSUMER_ID, .values = v};
}

/* Null destination and message: there is nothing (openwire "MessagePull"). */
void openwire_dispatch_nothing(struct openwire_session *s, const struct openwire_consumer *c)
{
    struct openwire_value id[OPENWIRE_COUNT_CONSUMER_ID];
    const struct openwire_object consumer = consumer_id(s, c, id);
    const struct openwire_value v[OPENWIRE_COUNT_MESSAGE_DISPATCH] = {
        [OPENWIRE_MESSAGE_DISPATCH_CONSUMER_ID] = openwire_nested(&consumer)};
    const struct openwire_object o = {.type = OPENWIRE_MESSAGE_DISPATCH, .values = v};

    openwire_say(s, &o);
}

static struct slice queue_name(const struct openwire_session *s, const struct openwire_consumer *c)
{
    switch (c->base.queue) {
    case SESSION_EVENTS:
        return slice_text(s->base.rules->queue_out);
    case SESSION_ARCHIVES:
        return slice_text(s->base.rules->queue_archive);
    case SESSION_REPLIES:
        break;
    }
    return label_slice(&c->base.name);
}

/* A text message without text: properties say it all, and listeners that expect a TextMessage get one. */
static void dispatch(struct openwire_session *s, struct openwire_consumer *c, struct slice properties, struct slice correlation,
                     unsigned redeliveries, uint64_t wall)
{
    struct openwire_value consumer_value[OPENWIRE_COUNT_CONSUMER_ID];
    const struct openwire_object consumer = consumer_id(s, c, consumer_value);
    const struct openwire_value producer_value[OPENWIRE_COUNT_PRODUCER_ID] = {
        [OPENWIRE_PRODUCER_ID_CONNECTION_ID] = openwire_bytes(slice_text(s->source)),
        [OPENWIRE_PRODUCER_ID_VALUE] = openwire_number(1),
        [OPENWIRE_PRODUCER_ID_SESSION_ID] = openwire_number(1),
    };
    const struct openwire_object producer = {.type = OPENWIRE_PRODUCER_ID, .values = producer_value};
    const struct openwire_value id_value[OPENWIRE_COUNT_MESSAGE_ID] = {
        [OPENWIRE_MESSAGE_ID_PRODUCER_ID] = openwire_nested(&producer),
        [OPENWIRE_MESSAGE_ID_PRODUCER_SEQUENCE_ID] = openwire_number(s->sequence),
        [OPENWIRE_MESSAGE_ID_BROKER_SEQUENCE_ID] = openwire_number(s->sequence),
    };
    const struct openwire_object id = {.type = OPENWIRE_MESSAGE_ID, .values = id_value};
    const struct openwire_value destination_value[OPENWIRE_COUNT_DESTINATION] = {
        [OPENWIRE_DESTINATION_PHYSICAL_NAME] = openwire_bytes(queue_name(s, c))};
    const struct openwire_object destination = {.type = c->base.queue == SESSION_REPLIES ? OPENWIRE_TEMP_QUEUE : OPENWIRE_QUEUE,
                                                .values = destination_value};
    const struct openwire_value message_value[OPENWIRE_COUNT_MESSAGE] = {
        [OPENWIRE_MESSAGE_PRODUCER_ID] = openwire_nested(&producer),
        [OPENWIRE_MESSAGE_DESTINATION] = openwire_nested(&destination),
        [OPENWIRE_MESSAGE_MESSAGE_ID] = openwire_nested(&id),
        [OPENWIRE_MESSAGE_CORRELATION_ID] = {.bytes = correlation, .there = correlation.at != NULL},
        [OPENWIRE_MESSAGE_PERSISTENT] = openwire_number(c->base.queue != SESSION_REPLIES),
        [OPENWIRE_MESSAGE_PRIORITY] = openwire_number(PRIORITY),
        [OPENWIRE_MESSAGE_TIMESTAMP] = openwire_number(wall),
        [OPENWIRE_MESSAGE_CONTENT] = openwire_bytes(slice_of("\0\0\0\0", 4)),
        [OPENWIRE_MESSAGE_PROPERTIES] = openwire_bytes(properties),
        [OPENWIRE_MESSAGE_REDELIVERY_COUNTER] = openwire_number(redeliveries),
    };
    const struct openwire_object message = {.type = OPENWIRE_TEXT_MESSAGE, .values = message_value};
    const struct openwire_value v[OPENWIRE_COUNT_MESSAGE_DISPATCH] = {
        [OPENWIRE_MESSAGE_DISPATCH_CONSUMER_ID] = openwire_nested(&consumer),
        [OPENWIRE_MESSAGE_DISPATCH_DESTINATION] = openwire_nested(&destination),
        [OPENWIRE_MESSAGE_DISPATCH_MESSAGE] = openwire_nested(&message),
        [OPENWIRE_MESSAGE_DISPATCH_REDELIVERY_COUNTER] = openwire_number(redeliveries),
    };
    const struct openwire_object o = {.type = OPENWIRE_MESSAGE_DISPATCH, .values = v};

    openwire_say(s, &o);
}

/* Takes a delivery for a consumer; false: it was given back. What a pull has brought gives no credit for another when acknowledged. */
static bool take(struct openwire_session *s, struct openwire_consumer *c, uint64_t delivery)
{
    struct delivery *d;

    if (c->temporary)
        s->base.ops->settle(s->base.ctx, c->base.key, delivery, SESSION_UNSEEN, false); /* it asks for nothing */
    d = c->temporary ? NULL : deliveries_add(&s->base, &c->base, delivery, s->sequence + 1);
    if (d == NULL)
        return false;
    s->sequence++;
    if (c->prefetch == 0) {
        d->credited = true;
        c->base.granted++;
        c->base.credit--;
        c->pulls--;
    }
    return true;
}

/* What is longer than OpenWire's texts may be is cut: a message that cannot be said would come again for ever, and nothing after it. */
static void put_text(struct openwire_map_writer *w, const char *name, struct slice text)
{
    const struct openwire_map_writer before = *w;
    size_t len = w->out->len;

    openwire_map_put_text(w, name, text);
    if (!w->overflow || before.overflow || text.len <= UINT16_MAX / 2)
        return;
    *w = before;
    w->out->len = len;
    openwire_map_put_text(w, name, slice_of(text.at, UINT16_MAX / 2)); /* modified UTF-8 is at most twice as long */
}

void openwire_answer(struct session *base, struct subscription *sub, uint64_t delivery, const struct pack_answer *a, struct session_time t)
{
    struct openwire_session *s = openwire_self(base);
    struct openwire_consumer *c = (struct openwire_consumer *)sub;
    struct openwire_map_writer w;
    struct buf properties;
    struct err e = {0};
    char serial[24];
    int n = snprintf(serial, sizeof serial, "%llu", (unsigned long long)a->serial);

    if (!take(s, c, delivery))
        return;
    buf_init(&properties, PROPERTIES_SIZE + 2 * (a->client_id.len + a->digest.len + a->digest_algo.len + a->reason.len));
    openwire_map_begin(&w, &properties);
    openwire_map_put_text(&w, "CFJLStatus", slice_text(pack_status_name(a->status)));
    openwire_map_put_text(&w, "CFJLJELSerial", slice_of(serial, (size_t)n));
    put_text(&w, "CFJLDigest", a->digest);
    put_text(&w, "CFJLDigestAlgo", a->digest_algo);
    put_text(&w, "ClientId", a->client_id);
    openwire_map_put_long(&w, "CFJLLotId", (int64_t)a->lot);
    if (a->status == PACK_INVALID)
        put_text(&w, "CFJLReason", a->reason);
    if (!openwire_map_end(&w, &e)) {
        session_fail_with(base, SESSION_LIMIT, "an answer that cannot be said: %s", e.text);
    } else {
        dispatch(s, c, buf_slice(&properties), a->has_correlation ? a->correlation : slice_of(NULL, 0), a->redeliveries, t.wall);
        base->counts.answers++;
    }
    buf_free(&properties);
}

void openwire_archive(struct session *base, struct subscription *sub, uint64_t delivery, unsigned redeliveries,
                      const struct pack_archive *a, struct session_time t)
{
    struct openwire_session *s = openwire_self(base);
    struct openwire_consumer *c = (struct openwire_consumer *)sub;
    uint8_t bytes[256];
    struct buf properties = {.data = bytes, .capacity = sizeof bytes, .max = sizeof bytes};
    struct openwire_map_writer w;
    struct err e = {0};

    if (!take(s, c, delivery))
        return;
    openwire_map_begin(&w, &properties);
    openwire_map_put_long(&w, "CFJLArchId", (int64_t)a->lot);
    openwire_map_put_long(&w, "CFJLArchDate", (int64_t)a->date);
    openwire_map_put_long(&w, "CFJLFirstSerial", (int64_t)a->first_serial);
    openwire_map_put_long(&w, "CFJLLastSerial", (int64_t)a->last_serial);
    if (!openwire_map_end(&w, &e)) {
        session_fail_with(base, SESSION_LIMIT, "a notice that cannot be said: %s", e.text);
        return;
    }
    dispatch(s, c, buf_slice(&properties), slice_of(NULL, 0), redeliveries, t.wall);
    base->counts.archives++;
}
