/*
 * Role `deliver`, towards the fronts: subscriptions and acknowledgements in, answers and notices out. Fronts are not
 * trusted: one that talks nonsense loses its channel. See deliver.c.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/values/log.h"
#include "ingest/queues/deliver_internal.h"

/* ---- towards fronts ---------------------------------------------------------------------- */

void deliver_front_gone(struct deliver *d, struct front *f)
{
    channel_free(f->channel);
    f->channel = NULL;
    for (unsigned i = 0; i < d->queue_top; i++)
        if (d->queues[i] != NULL)
            mailbox_unsubscribe_front(&d->queues[i]->mailbox, (uint32_t)(f - d->fronts), f->generation);
}

struct sending {
    struct deliver *deliver;
    enum deliver_queue kind;
};

static bool send_entry(void *ctx, const struct mailbox_subscription *s, uint64_t delivery, const struct mailbox_entry *entry)
{
    struct sending *sending = ctx;
    struct front *f = &sending->deliver->fronts[s->front];
    uint8_t bytes[17];
    struct buf b = {.data = bytes, .capacity = sizeof bytes, .max = sizeof bytes};
    struct wire_writer w = wire_write(&b);
    bool answer = sending->kind == DELIVER_EVENT;
    struct slice record = entry->record;

    if (f->channel == NULL || f->generation != s->generation)
        return false;
    wire_put_u64(&w, s->id);
    wire_put_u64(&w, delivery);
    if (!answer) {
        wire_put_u8(&w, entry->redeliveries);
        return channel_send2(f->channel, DELIVER_ARCHIVE, buf_slice(&b), record, NULL);
    }
    /* The record as stored, but for its count of redeliveries. */
    if (entry->redeliveries != record.at[PACK_ANSWER_REDELIVERIES]) {
        uint8_t *copy = mem_alloc(record.len);
        bool ok;

        memcpy(copy, record.at, record.len);
        copy[PACK_ANSWER_REDELIVERIES] = entry->redeliveries;
        ok = channel_send2(f->channel, DELIVER_ANSWER, buf_slice(&b), slice_of(copy, record.len), NULL);
        free(copy);
        sending->deliver->counts.sent += ok;
        return ok;
    }
    sending->deliver->counts.sent++;
    return channel_send2(f->channel, DELIVER_ANSWER, buf_slice(&b), record, NULL);
}

bool deliver_pump(struct deliver *d, struct err *e)
{
    for (unsigned i = 0; i < d->queue_top; i++) {
        struct queue *q = d->queues[i];
        struct sending sending = {d, DELIVER_EVENT};

        if (q == NULL)
            continue;
        sending.kind = q->kind;
        if (q->mailbox.subscription_count == 0) {
            if (!deliver_leave(d, q, e))
                return false;
            continue;
        }
        if (!q->consuming && !q->leaving && deliver_now_ms() >= q->retry_at && !deliver_consume(d, q, e))
            return false;
        if (!q->leaving && mailbox_pump(&q->mailbox, send_entry, &sending) && q->consuming && !deliver_fetch_more(d, q, e))
            return false;
    }
    return true;
}

/* ---- from fronts ------------------------------------------------------------------------- */

/* A depositor's own doing, not the front's: its session is told. */
static bool refuse(struct deliver *d, uint32_t slot, uint64_t id, const char *reason, struct err *e)
{
    uint8_t bytes[200];
    struct buf b = {.data = bytes, .capacity = sizeof bytes, .max = sizeof bytes};
    struct wire_writer w = wire_write(&b);

    wire_put_u64(&w, id);
    wire_put_text(&w, slice_text(reason));
    return wire_ok(&w, "refusal", e) && channel_send(d->fronts[slot].channel, DELIVER_REFUSED, buf_slice(&b), e);
}

static bool subscribe(struct deliver *d, uint32_t slot, struct wire_reader *in, struct err *e)
{
    uint64_t id = wire_get_u64(in);
    uint32_t depositor = wire_get_u32(in);
    uint8_t kind = wire_get_u8(in);
    uint32_t credit = wire_get_u32(in);
    struct queue *q;

    if (!wire_end(in, "subscribe", e))
        return false;
    if ((kind != DELIVER_EVENT && kind != DELIVER_ARCHIVES) || credit == 0)
        return err_set(e, ERR_INPUT, "subscribe: queue %u, credit %" PRIu32, kind, credit);
    q = deliver_open_queue(d, depositor, kind);
    if (q == NULL)
        return refuse(d, slot, id, "too many queues are read at once, subscribe again later", e);
    if (mailbox_is_full(&q->mailbox))
        return refuse(d, slot, id, "too many subscriptions of this depositor to this queue, on all its connections", e);
    return mailbox_subscribe(&q->mailbox, slot, d->fronts[slot].generation, id, credit) ||
           err_set(e, ERR_INPUT, "subscribe: twice the same");
}

static void unsubscribe(struct deliver *d, uint32_t slot, uint64_t id)
{
    for (unsigned i = 0; i < d->queue_top; i++)
        if (d->queues[i] != NULL && mailbox_unsubscribe(&d->queues[i]->mailbox, slot, d->fronts[slot].generation, id))
            return;
}

static bool settle(struct deliver *d, uint32_t slot, uint64_t id, uint64_t delivery, bool accepted, struct err *e)
{
    for (unsigned i = 0; i < d->queue_top; i++) {
        struct queue *q = d->queues[i];
        struct mailbox_message *done;

        if (q == NULL)
            continue;
        done = mailbox_settle(&q->mailbox, slot, d->fronts[slot].generation, id, delivery, accepted);
        if (done == NULL)
            continue;
        return deliver_acknowledge(d, q, done, e);
    }
    return true;
}

/* False with ERR_RETRY: the broker is lost; with ERR_INPUT: the front talks nonsense. */
static bool handle_front(struct deliver *d, uint32_t slot, const struct channel_message *m, struct err *e)
{
    struct wire_reader in = wire_read(m->body);
    uint64_t id, delivery;

    switch ((enum deliver_message)m->type) {
    case DELIVER_SUBSCRIBE:
        return subscribe(d, slot, &in, e);
    case DELIVER_UNSUBSCRIBE:
        id = wire_get_u64(&in);
        if (!wire_end(&in, "unsubscribe", e))
            return false;
        unsubscribe(d, slot, id);
        return true;
    case DELIVER_ACK:
    case DELIVER_RELEASE:
        id = wire_get_u64(&in);
        delivery = wire_get_u64(&in);
        if (!wire_end(&in, "ack", e))
            return false;
        if (m->type == DELIVER_ACK)
            d->counts.acknowledged++;
        else
            d->counts.released++;
        return settle(d, slot, id, delivery, m->type == DELIVER_ACK, e);
    case DELIVER_ANSWER:
    case DELIVER_ARCHIVE:
    case DELIVER_REFUSED:
        break;
    }
    return err_set(e, ERR_INPUT, "message %u makes no sense", m->type);
}

void deliver_read_front(struct deliver *d, uint32_t slot)
{
    struct front *f = &d->fronts[slot];

    for (unsigned n = 0; n < MESSAGES_PER_TURN && f->channel != NULL; n++) {
        struct channel_message m;
        struct err e = {0};
        enum channel_result got = channel_receive(f->channel, &m, &e);

        if (got == CHANNEL_EMPTY)
            return;
        if (got == CHANNEL_CLOSED) {
            deliver_front_gone(d, f);
            return;
        }
        if (m.fd >= 0)
            close(m.fd);
        if (handle_front(d, slot, &m, &e))
            continue;
        if (e.code == ERR_RETRY) {
            deliver_lost(d, &e);
            continue;
        }
        log_error("channel-bad", "front %u: %s", slot, e.text);
        deliver_front_gone(d, f);
    }
}
