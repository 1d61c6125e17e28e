/*
 * Role `deliver`, towards the fronts: subscriptions, acknowledgements and names in, answers and notices out. Fronts are not
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
    uint32_t slot = (uint32_t)(f - d->fronts);
    struct subscription *s;

    for (unsigned i = 0; i < d->queue_top; i++)
        if (d->queues[i] != NULL)
            mailbox_unsubscribe_front(&d->queues[i]->mailbox, slot, f->generation);
    for (size_t place = 0; (s = map_next(&f->subscriptions, &place)) != NULL;)
        free(s);
    map_free(&f->subscriptions);
    claims_front_gone(&d->claims, slot);
    channel_free(f->channel);
    buf_free(&f->notices);
    *f = (struct front){.generation = f->generation};
}

/* Says something that must not be lost: it waits when the channel is full. */
static void tell(struct deliver *d, uint32_t slot, enum deliver_message type, struct slice body)
{
    struct front *f = &d->fronts[slot];
    struct wire_writer w = wire_write(&f->notices);

    if (f->channel == NULL || (f->notices.len == 0 && channel_send(f->channel, (uint16_t)type, body, NULL)))
        return;
    if (f->notices.max == 0)
        buf_init(&f->notices, NOTICES_MAX);
    wire_put_u16(&w, (uint16_t)type);
    wire_put_bytes(&w, body);
    f->stuck = f->stuck || !wire_ok(&w, "notice", NULL);
}

static void tell_number(struct deliver *d, uint32_t slot, enum deliver_message type, uint64_t number)
{
    uint8_t bytes[8];
    struct buf b = {.data = bytes, .capacity = sizeof bytes, .max = sizeof bytes};
    struct wire_writer w = wire_write(&b);

    wire_put_u64(&w, number);
    tell(d, slot, type, buf_slice(&b));
}

/* A depositor's own doing, not the front's: its session is told. */
static void refuse(struct deliver *d, uint32_t slot, uint64_t id, const char *reason)
{
    uint8_t bytes[ERR_TEXT_MAX + 10];
    struct buf b = {.data = bytes, .capacity = sizeof bytes, .max = sizeof bytes};
    struct wire_writer w = wire_write(&b);

    wire_put_u64(&w, id);
    wire_put_text(&w, slice_text(reason));
    tell(d, slot, DELIVER_REFUSED, buf_slice(&b));
}

static void send_notices(struct front *f)
{
    while (f->notices.len != 0 && !f->stuck) {
        struct slice all = buf_slice(&f->notices);
        struct wire_reader r = wire_read(all);
        uint16_t type = wire_get_u16(&r);
        struct slice body = wire_get_bytes(&r);

        if (!channel_send(f->channel, type, body, NULL))
            return;
        buf_consume(&f->notices, all.len - r.rest.len);
    }
}

void deliver_write_front(struct deliver *d, uint32_t slot)
{
    struct front *f = &d->fronts[slot];

    send_notices(f);
    if (f->stuck)
        log_error("channel-bad", "front %u does not read what it is told", slot);
    if (f->stuck || !channel_flush(f->channel, NULL))
        deliver_front_gone(d, f);
}

void deliver_announce(struct deliver *d, struct queue *q)
{
    for (unsigned i = 0; i < q->mailbox.subscription_top; i++) {
        struct mailbox_subscription *s = &q->mailbox.subscriptions[i];

        if (!s->used || !s->fresh)
            continue;
        s->fresh = false;
        tell_number(d, s->front, DELIVER_SUBSCRIBED, s->id);
    }
}

struct sending {
    struct deliver *deliver;
    enum deliver_queue kind;
};

/* The record as stored, but for its count of redeliveries. */
static bool send_counted(struct channel *c, struct slice head, const struct mailbox_delivery *delivery)
{
    size_t len = delivery->record.len;
    uint8_t *copy = mem_alloc(len);
    bool ok;

    memcpy(copy, delivery->record.at, len);
    copy[PACK_ANSWER_REDELIVERIES] = delivery->redeliveries;
    ok = channel_send2(c, DELIVER_ANSWER, head, slice_of(copy, len), NULL);
    free(copy);
    return ok;
}

static bool send_entry(void *ctx, const struct mailbox_subscription *s, const struct mailbox_delivery *delivery)
{
    const struct sending *sending = ctx;
    struct deliver *d = sending->deliver;
    const struct front *f = &d->fronts[s->front];
    uint8_t bytes[17];
    struct buf b = {.data = bytes, .capacity = sizeof bytes, .max = sizeof bytes};
    struct wire_writer w = wire_write(&b);
    bool ok;

    if (f->channel == NULL || f->generation != s->generation)
        return false;
    wire_put_u64(&w, s->id);
    wire_put_u64(&w, delivery->number);
    if (sending->kind == DELIVER_ARCHIVES) {
        wire_put_u8(&w, delivery->redeliveries);
        return channel_send2(f->channel, DELIVER_ARCHIVE, buf_slice(&b), delivery->record, NULL);
    }
    ok = delivery->redeliveries == delivery->record.at[PACK_ANSWER_REDELIVERIES]
             ? channel_send2(f->channel, DELIVER_ANSWER, buf_slice(&b), delivery->record, NULL)
             : send_counted(f->channel, buf_slice(&b), delivery);
    d->counts.sent += ok && sending->kind == DELIVER_EVENT;
    d->counts.replies += ok && sending->kind == DELIVER_REPLIES;
    return ok;
}

static bool pump_queue(struct deliver *d, struct queue *q, struct err *e)
{
    struct sending sending = {d, q->kind};

    if (!q->consuming && deliver_now_ms() >= q->retry_at && !deliver_consume(d, q, e))
        return false;
    if (q->kind == DELIVER_REPLIES && q->consuming)
        deliver_announce(d, q);
    return (!mailbox_pump(&q->mailbox, send_entry, &sending) || !q->consuming || deliver_fetch_more(d, q, e)) &&
           deliver_flush_acknowledgements(d, q, e);
}

/* Something has to be asked of the broker for a temporary queue, and waited for. */
static bool is_slow(const struct queue *q)
{
    if (q->kind != DELIVER_REPLIES)
        return false;
    return q->consuming ? q->leaving || q->mailbox.subscription_count == 0 : deliver_now_ms() >= q->retry_at;
}

/* Those that must wait for the next turn come first in it, so that all have theirs. */
bool deliver_pump(struct deliver *d, struct err *e)
{
    unsigned first = d->next, count = d->queue_top, slow = 0;

    d->behind = false;
    for (unsigned n = 0; n < count; n++) {
        unsigned i = (first + n) % count;
        struct queue *q = d->queues[i];

        if (q == NULL)
            continue;
        if (is_slow(q) && slow++ >= REPLIES_PER_TURN) {
            d->next = d->behind ? d->next : i;
            d->behind = true;
            continue;
        }
        if (q->leaving || q->mailbox.subscription_count == 0 ? !deliver_leave(d, q, e) : !pump_queue(d, q, e))
            return false;
    }
    return true;
}

/* ---- from fronts ------------------------------------------------------------------------- */

static bool subscribe(struct deliver *d, uint32_t slot, struct wire_reader *in, struct err *e)
{
    struct front *f = &d->fronts[slot];
    uint64_t id = wire_get_u64(in);
    uint32_t depositor = wire_get_u32(in);
    uint8_t kind = wire_get_u8(in);
    uint32_t credit = wire_get_u32(in);
    struct slice name = wire_get_text(in);
    struct subscription *s;
    struct err why = {0};
    struct queue *q;
    int index;

    if (!wire_end(in, "subscribe", e))
        return false;
    if (kind < DELIVER_EVENT || kind > DELIVER_REPLIES || (name.len != 0) != (kind == DELIVER_REPLIES))
        return err_set(e, ERR_INPUT, "subscribe: queue %u, a name of %zu bytes", kind, name.len);
    if (map_get(&f->subscriptions, id) != NULL)
        return err_set(e, ERR_INPUT, "subscribe: twice the same");
    q = deliver_open_queue(d, depositor, (enum deliver_queue)kind, name, &why);
    if (q == NULL) {
        refuse(d, slot, id, why.text);
        return true;
    }
    index = mailbox_subscribe(&q->mailbox, slot, f->generation, id, credit);
    if (index < 0) {
        refuse(d, slot, id, "too many subscriptions of this depositor to this queue, on all its connections");
        return true;
    }
    q->mailbox.subscriptions[index].fresh = kind == DELIVER_REPLIES;
    s = mem_alloc(sizeof *s);
    *s = (struct subscription){q, (unsigned)index};
    (void)map_put(&f->subscriptions, id, s);
    return true;
}

static bool unsubscribe(struct deliver *d, uint32_t slot, struct wire_reader *in, struct err *e)
{
    uint64_t id = wire_get_u64(in);
    struct subscription *s;

    if (!wire_end(in, "unsubscribe", e))
        return false;
    s = map_take(&d->fronts[slot].subscriptions, id);
    if (s != NULL)
        mailbox_unsubscribe(&s->queue->mailbox, s->index);
    free(s);
    return true;
}

/* A subscription that was refused, or has ended meanwhile, has nothing to settle. */
static bool settle(struct deliver *d, uint32_t slot, struct wire_reader *in, struct err *e)
{
    uint64_t id = wire_get_u64(in), delivery = wire_get_u64(in);
    uint8_t outcome = wire_get_u8(in), credit = wire_get_u8(in);
    const struct subscription *s;
    struct mailbox_message *done;

    if (!wire_end(in, "settle", e))
        return false;
    if (outcome > DELIVER_UNSEEN || credit > 1)
        return err_set(e, ERR_INPUT, "settle: outcome %u, credit %u", outcome, credit);
    d->counts.acknowledged += outcome == DELIVER_DONE;
    d->counts.released += outcome == DELIVER_REJECTED;
    d->counts.unseen += outcome == DELIVER_UNSEEN;
    s = map_get(&d->fronts[slot].subscriptions, id);
    done = s == NULL ? NULL : mailbox_settle(&s->queue->mailbox, s->index, delivery, (enum deliver_outcome)outcome, credit == 1);
    return done == NULL || deliver_acknowledge(d, s->queue, done, e);
}

static bool give_credit(struct deliver *d, uint32_t slot, struct wire_reader *in, struct err *e)
{
    uint64_t id = wire_get_u64(in);
    int32_t change = (int32_t)wire_get_u32(in);
    const struct subscription *s;

    if (!wire_end(in, "credit", e))
        return false;
    s = map_get(&d->fronts[slot].subscriptions, id);
    if (s != NULL)
        mailbox_credit(&s->queue->mailbox, s->index, change);
    return true;
}

static bool claim(struct deliver *d, uint32_t slot, struct wire_reader *in, struct err *e)
{
    struct claims_holder holder = {slot, wire_get_u64(in)}, loser;
    uint32_t depositor = wire_get_u32(in);
    struct slice subject = wire_get_text(in), name = wire_get_text(in);
    struct claims_key key;

    if (!wire_end(in, "claim", e))
        return false;
    if (!claims_key_make(depositor, subject, name, &key))
        return err_set_openssl(e, ERR_INPUT, "claim: SHA-256");
    switch (claims_take(&d->claims, holder, &key, &loser)) {
    case CLAIMS_NEW:
        break;
    case CLAIMS_TAKEN:
        d->counts.taken++;
        tell_number(d, loser.front, DELIVER_TAKEN, loser.connection);
        break;
    case CLAIMS_FULL:
        log_warning("claims-full", "%zu connections have a name: nobody will be told when another takes this one", d->claims.count);
        break;
    }
    return true;
}

static bool unclaim(struct deliver *d, uint32_t slot, struct wire_reader *in, struct err *e)
{
    struct claims_holder holder = {slot, wire_get_u64(in)};

    if (!wire_end(in, "unclaim", e))
        return false;
    claims_leave(&d->claims, holder);
    return true;
}

/* False with ERR_RETRY: the broker is lost; with ERR_INPUT: the front talks nonsense. */
static bool handle_front(struct deliver *d, uint32_t slot, const struct channel_message *m, struct err *e)
{
    struct wire_reader in = wire_read(m->body);

    switch ((enum deliver_message)m->type) {
    case DELIVER_SUBSCRIBE:
        return subscribe(d, slot, &in, e);
    case DELIVER_UNSUBSCRIBE:
        return unsubscribe(d, slot, &in, e);
    case DELIVER_SETTLE:
        return settle(d, slot, &in, e);
    case DELIVER_CREDIT:
        return give_credit(d, slot, &in, e);
    case DELIVER_CLAIM:
        return claim(d, slot, &in, e);
    case DELIVER_UNCLAIM:
        return unclaim(d, slot, &in, e);
    case DELIVER_ANSWER:
    case DELIVER_ARCHIVE:
    case DELIVER_REFUSED:
    case DELIVER_SUBSCRIBED:
    case DELIVER_TAKEN:
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
