/* RabbitMQ: what it says, frame by frame, as events. See broker.h. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/system/broker_internal.h"

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void copy_text(char *out, size_t size, amqp_bytes_t bytes)
{
    size_t n = bytes.len < size - 1 ? bytes.len : size - 1;

    if (n != 0)
        memcpy(out, bytes.bytes, n);
    out[n] = '\0';
}

/* What one frame came to. */
enum outcome { TOLD /* `ev` is filled in */, NOTHING_YET, LOST };

static enum outcome lost(struct broker *b, struct err *e, const char *what)
{
    b->dead = true;
    err_set(e, ERR_RETRY, "RabbitMQ: %s", what);
    return LOST;
}

static enum outcome begin_content(struct broker *b, const amqp_frame_t *f, struct err *e)
{
    struct broker_content *content = broker_channel_is_open(b, f->channel) ? &b->channels[f->channel]->content : NULL;

    if (content == NULL || content->open)
        return lost(b, e, "a message out of place");
    buf_reset(&content->body);
    content->open = true;
    content->header_seen = false;
    content->ev = (struct broker_event){.channel = f->channel};
    if (f->payload.method.id == AMQP_BASIC_DELIVER_METHOD) {
        const amqp_basic_deliver_t *d = f->payload.method.decoded;

        content->ev.kind = BROKER_DELIVERY;
        content->ev.tag = d->delivery_tag;
        content->ev.redelivered = d->redelivered != 0;
        copy_text(content->ev.text, sizeof content->ev.text, d->consumer_tag);
    } else {
        const amqp_basic_return_t *r = f->payload.method.decoded;

        content->ev.kind = BROKER_RETURN;
        copy_text(content->ev.text, sizeof content->ev.text, r->reply_text);
    }
    return NOTHING_YET;
}

static enum outcome channel_closed(struct broker *b, const amqp_frame_t *f, struct broker_event *ev, struct err *e)
{
    const amqp_channel_close_t *why = f->payload.method.decoded;
    amqp_channel_close_ok_t ok = {0};

    *ev = (struct broker_event){.kind = BROKER_CHANNEL_CLOSED, .channel = f->channel};
    copy_text(ev->text, sizeof ev->text, why->reply_text);
    if (amqp_send_method(b->state, f->channel, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok) != AMQP_STATUS_OK)
        return lost(b, e, "the connection broke");
    broker_channel_gone(b, f->channel);
    return TOLD;
}

static enum outcome connection_closed(struct broker *b, const amqp_frame_t *f, struct err *e)
{
    const amqp_connection_close_t *why = f->payload.method.decoded;
    amqp_connection_close_ok_t ok = {0};

    err_set(e, ERR_RETRY, "RabbitMQ closed the connection: %.*s", (int)why->reply_text.len,
            (const char *)why->reply_text.bytes);
    (void)amqp_send_method(b->state, 0, AMQP_CONNECTION_CLOSE_OK_METHOD, &ok);
    b->dead = true;
    return LOST;
}

static enum outcome take_method(struct broker *b, const amqp_frame_t *f, struct broker_event *ev, struct err *e)
{
    const amqp_method_t *m = &f->payload.method;

    *ev = (struct broker_event){.channel = f->channel};
    switch (m->id) {
    case AMQP_BASIC_ACK_METHOD:
        ev->kind = BROKER_CONFIRM;
        ev->positive = true;
        ev->tag = ((const amqp_basic_ack_t *)m->decoded)->delivery_tag;
        ev->multiple = ((const amqp_basic_ack_t *)m->decoded)->multiple != 0;
        return TOLD;
    case AMQP_BASIC_NACK_METHOD:
        ev->kind = BROKER_CONFIRM;
        ev->tag = ((const amqp_basic_nack_t *)m->decoded)->delivery_tag;
        ev->multiple = ((const amqp_basic_nack_t *)m->decoded)->multiple != 0;
        return TOLD;
    case AMQP_BASIC_DELIVER_METHOD:
    case AMQP_BASIC_RETURN_METHOD:
        return begin_content(b, f, e);
    case AMQP_BASIC_CANCEL_METHOD:
        ev->kind = BROKER_CANCELLED;
        copy_text(ev->text, sizeof ev->text, ((const amqp_basic_cancel_t *)m->decoded)->consumer_tag);
        return TOLD;
    case AMQP_BASIC_CONSUME_OK_METHOD:
    case AMQP_QUEUE_DELETE_OK_METHOD:
        ev->kind = BROKER_DONE;
        return TOLD;
    case AMQP_CONNECTION_BLOCKED_METHOD:
        ev->kind = BROKER_BLOCKED;
        copy_text(ev->text, sizeof ev->text, ((const amqp_connection_blocked_t *)m->decoded)->reason);
        b->blocked = true;
        memcpy(b->reason, ev->text, sizeof b->reason);
        return TOLD;
    case AMQP_CONNECTION_UNBLOCKED_METHOD:
        ev->kind = BROKER_UNBLOCKED;
        b->blocked = false;
        return TOLD;
    case AMQP_CHANNEL_CLOSE_METHOD:
        return channel_closed(b, f, ev, e);
    case AMQP_CONNECTION_CLOSE_METHOD:
        return connection_closed(b, f, e);
    default:
        return NOTHING_YET;
    }
}

/* A whole content: the event with its body moves to the caller. */
static enum outcome finish_content(struct broker *b, struct broker_content *content, struct broker_event *ev)
{
    struct buf spare = b->body;

    b->body = content->body;
    content->body = spare;
    buf_reset(&content->body);
    content->open = false;
    *ev = content->ev;
    ev->body = buf_slice(&b->body);
    return TOLD;
}

static uint32_t delivery_count(const amqp_table_t *headers)
{
    const char *name = "x-delivery-count";
    const amqp_table_entry_t *entry = NULL;

    for (int i = 0; i < headers->num_entries && entry == NULL; i++)
        if (headers->entries[i].key.len == strlen(name) && memcmp(headers->entries[i].key.bytes, name, strlen(name)) == 0)
            entry = &headers->entries[i];
    if (entry == NULL)
        return 0;
    switch (entry->value.kind) {
    case AMQP_FIELD_KIND_I64:
        return entry->value.value.i64 < 0 ? 0 : (uint32_t)entry->value.value.i64;
    case AMQP_FIELD_KIND_I32:
        return entry->value.value.i32 < 0 ? 0 : (uint32_t)entry->value.value.i32;
    case AMQP_FIELD_KIND_U8:
        return entry->value.value.u8;
    case AMQP_FIELD_KIND_I8:
        return entry->value.value.i8 < 0 ? 0 : (uint32_t)entry->value.value.i8;
    case AMQP_FIELD_KIND_I16:
        return entry->value.value.i16 < 0 ? 0 : (uint32_t)entry->value.value.i16;
    case AMQP_FIELD_KIND_U16:
        return entry->value.value.u16;
    case AMQP_FIELD_KIND_U32:
        return entry->value.value.u32;
    default:
        return 0;
    }
}

static enum outcome take_header(struct broker *b, struct broker_content *content, const amqp_frame_t *f,
                                struct broker_event *ev, struct err *e)
{
    const amqp_basic_properties_t *p = f->payload.properties.decoded;
    char id[24] = "";

    if (!content->open || content->header_seen || f->payload.properties.body_size > BROKER_BODY_MAX)
        return lost(b, e, "a message header out of place, or of too large a message");
    content->header_seen = true;
    content->missing = f->payload.properties.body_size;
    if ((p->_flags & AMQP_BASIC_CONTENT_TYPE_FLAG) != 0)
        copy_text(content->ev.content_type, sizeof content->ev.content_type, p->content_type);
    if ((p->_flags & AMQP_BASIC_HEADERS_FLAG) != 0)
        content->ev.deliveries = delivery_count(&p->headers);
    if (content->ev.kind == BROKER_RETURN && (p->_flags & AMQP_BASIC_MESSAGE_ID_FLAG) != 0) {
        copy_text(id, sizeof id, p->message_id);
        content->ev.tag = strtoull(id, NULL, 10);
    }
    return content->missing == 0 ? finish_content(b, content, ev) : NOTHING_YET;
}

static enum outcome take_body(struct broker *b, struct broker_content *content, const amqp_frame_t *f,
                              struct broker_event *ev, struct err *e)
{
    amqp_bytes_t part = f->payload.body_fragment;

    if (!content->open || !content->header_seen || part.len > content->missing)
        return lost(b, e, "more of a message than announced");
    if (!buf_add(&content->body, part.bytes, part.len, e))
        return lost(b, e, "a message too large");
    content->missing -= part.len;
    return content->missing == 0 ? finish_content(b, content, ev) : NOTHING_YET;
}

static enum outcome take_frame(struct broker *b, const amqp_frame_t *f, struct broker_event *ev, struct err *e)
{
    bool known = broker_channel_is_open(b, f->channel);

    if (f->frame_type == AMQP_FRAME_METHOD && (known || f->channel == 0))
        return take_method(b, f, ev, e);
    if (!known) /* what was under way when the channel closed */
        return NOTHING_YET;
    if (f->frame_type == AMQP_FRAME_HEADER)
        return take_header(b, &b->channels[f->channel]->content, f, ev, e);
    if (f->frame_type == AMQP_FRAME_BODY)
        return take_body(b, &b->channels[f->channel]->content, f, ev, e);
    return NOTHING_YET;
}

bool broker_poll(struct broker *b, int timeout_ms, struct broker_event *ev, struct err *e)
{
    int64_t end = timeout_ms <= 0 ? 0 : now_ms() + timeout_ms;

    *ev = (struct broker_event){.kind = BROKER_NOTHING};
    if (b->dead)
        return err_set(e, ERR_RETRY, "RabbitMQ: the connection is lost");
    for (;;) {
        int64_t left = end == 0 ? 0 : end - now_ms();
        struct timeval limit = {left <= 0 ? 0 : left / 1000, left <= 0 ? 0 : left % 1000 * 1000};
        amqp_frame_t f;
        int status;
        enum outcome o;

        /* What the last frame pointed to was copied: the library's pools can be used again. */
        amqp_maybe_release_buffers(b->state);
        status = amqp_simple_wait_frame_noblock(b->state, &f, &limit);
        if (status == AMQP_STATUS_TIMEOUT) {
            b->unread = false;
            return true;
        }
        if (status != AMQP_STATUS_OK)
            return broker_lost(b, status, "waiting", e);
        o = take_frame(b, &f, ev, e);
        if (o != NOTHING_YET)
            return o == TOLD;
        *ev = (struct broker_event){.kind = BROKER_NOTHING};
    }
}
