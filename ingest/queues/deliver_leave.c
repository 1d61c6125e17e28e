/*
 * Role `deliver`: what nobody reads any more goes back to its queue, each answer with the count it has. The broker counts whole messages: one that
 * nobody saw goes back and is remembered as such, one all of which was handed out goes back, anything else is written again. See deliver.c.
 */
#include <inttypes.h>

#include "ingest/queues/deliver_internal.h"

/* ---- what was seen by nobody ------------------------------------------------------------- */

/* Packs are told apart by salt and counter, notices by what they say; queues by depositor and kind (FNV-1a, 64 bits). */
uint64_t deliver_mark(const struct queue *q, struct slice body)
{
    enum { PACK_SALT_AT = 16 };
    bool pack = q->kind != DELIVER_ARCHIVES && body.len >= PACK_HEADER_SIZE;
    struct slice distinct = pack ? slice_of(body.at + PACK_SALT_AT, PACK_HEADER_SIZE - PACK_SALT_AT) : body;
    uint64_t h = 0xcbf29ce484222325u ^ q->depositor ^ (uint64_t)q->kind << 32;

    for (size_t i = 0; i < distinct.len && i < PACK_HEADER_SIZE; i++)
        h = (h ^ distinct.at[i]) * 0x100000001b3u;
    return h;
}

uint32_t deliver_unseen(const struct deliver *d, uint64_t mark)
{
    const struct unseen *u = &d->unseen[mark % UNSEEN_SIZE];

    return u->mark == mark ? u->times : 0;
}

void deliver_remember_unseen(struct deliver *d, uint64_t mark, uint32_t times)
{
    d->unseen[mark % UNSEEN_SIZE] = (struct unseen){mark, times};
}

/* ---- giving back ------------------------------------------------------------------------- */

static struct put_back *free_put_back(struct deliver *d)
{
    for (unsigned i = 0; i < PUT_BACKS_MAX; i++)
        if (d->put_backs[i].tag == 0)
            return &d->put_backs[i];
    return NULL;
}

/* Publishes what is left of a message as a message of its own. */
static bool publish_remainder(struct deliver *d, struct queue *q, const struct mailbox_message *message, struct err *e)
{
    struct put_back *back = free_put_back(d);
    struct buf plain, pack;
    struct wire_writer w;
    char key[16];
    uint64_t tag = 0;
    bool ok;

    if (back == NULL)
        return true; /* requeued whole: some answers come twice, none is lost */
    buf_init_secret(&plain, PLAIN_MAX);
    buf_init(&pack, PLAIN_MAX);
    w = wire_write(&plain);
    mailbox_remainder(message, &w);
    snprintf(key, sizeof key, "%" PRIu32, q->depositor);
    ok = wire_ok(&w, "remainder", e) && pack_seal(d->writer, PACK_ANSWERS, buf_slice(&plain), &pack, e) &&
         broker_publish(d->broker, PUT_BACK_CHANNEL, d->exchange, key, PACK_CONTENT_TYPE, buf_slice(&pack), &tag, e);
    if (ok) {
        *back = (struct put_back){.tag = tag, .channel = q->channel, .message_tag = message->tag};
        q->put_backs++;
        d->counts.put_back++;
    }
    buf_free(&plain);
    buf_free(&pack);
    return ok;
}

/* Notices are the sealer's to write: handed out twice and not accepted, one counts as handed out once more. */
static bool give_back(struct deliver *d, struct queue *q, const struct mailbox_message *message, struct err *e)
{
    switch (mailbox_fate(message)) {
    case MAILBOX_UNTOUCHED:
        deliver_remember_unseen(d, message->mark, message->discount + 1);
        return true;
    case MAILBOX_RAISED:
        return true;
    case MAILBOX_REMAINDER:
        return q->kind != DELIVER_EVENT || publish_remainder(d, q, message, e);
    }
    return true;
}

/* All put back: closing the channel requeues what was not touched. A temporary queue went with its last consumer. */
static bool finish(struct deliver *d, struct queue *q, struct err *e)
{
    if (!q->given_back || q->put_backs != 0)
        return true;
    if (!broker_channel_close(d->broker, q->channel, e))
        return false;
    deliver_forget_deliveries(d, q);
    if (q->mailbox.subscription_count == 0)
        deliver_forget_queue(d, q);
    return true;
}

/* In two turns: what was under way when the consumers ended is read in between. */
bool deliver_leave(struct deliver *d, struct queue *q, struct err *e)
{
    if (q->given_back)
        return true;
    if (!q->consuming) {
        /* While it is asked whether it answers it stays: who comes and goes costs no connection each time. */
        if (!deliver_is_asked(d, q) || d->draining)
            deliver_forget_queue(d, q);
        return true;
    }
    if (!q->leaving) {
        q->leaving = true;
        for (unsigned i = 0; i < FETCHES_MAX; i++)
            if (!deliver_close_fetch(d, q, i, e))
                return false;
        return deliver_flush_acknowledgements(d, q, e);
    }
    q->given_back = true;
    for (const struct mailbox_message *m = q->kind == DELIVER_REPLIES ? NULL : q->mailbox.first; m != NULL; m = m->next)
        if (!give_back(d, q, m, e))
            return false;
    return finish(d, q, e);
}

bool deliver_put_back_confirmed(struct deliver *d, const struct broker_event *ev, struct err *e)
{
    for (unsigned i = 0; i < PUT_BACKS_MAX; i++) {
        struct put_back *back = &d->put_backs[i];
        struct queue *q;
        bool stored;

        if (back->tag == 0 || !(back->tag == ev->tag || (ev->multiple && back->tag < ev->tag)))
            continue;
        q = d->queues[back->channel - FIRST_QUEUE_CHANNEL];
        stored = ev->positive && !back->returned;
        back->tag = 0;
        q->put_backs--;
        /* Not stored: the original stays unacknowledged and comes back whole. */
        if ((stored && !broker_ack(d->broker, back->channel, back->message_tag, false, e)) || !finish(d, q, e))
            return false;
    }
    return true;
}
