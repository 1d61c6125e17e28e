/*
 * Role `deliver`, towards the broker: which queues are read, how much is fetched of each, and how what a sensor left
 * unacknowledged goes back. See deliver.c.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "common/values/log.h"
#include "ingest/queues/deliver_internal.h"

static struct queue *find_queue(struct deliver *d, uint32_t depositor, enum deliver_queue kind)
{
    for (unsigned i = 0; i < d->queue_top; i++)
        if (d->queues[i] != NULL && d->queues[i]->depositor == depositor && d->queues[i]->kind == kind)
            return d->queues[i];
    return NULL;
}

struct queue *deliver_open_queue(struct deliver *d, uint32_t depositor, enum deliver_queue kind)
{
    const struct settings *s = role_settings(d->role);
    struct queue *q = find_queue(d, depositor, kind);

    for (unsigned i = 0; q == NULL && i < QUEUES_MAX; i++)
        if (d->queues[i] == NULL) {
            q = d->queues[i] = mem_zalloc(1, sizeof *q);
            *q = (struct queue){.channel = (uint16_t)(FIRST_QUEUE_CHANNEL + i), .depositor = depositor, .kind = kind};
            if (i >= d->queue_top)
                d->queue_top = i + 1;
            q->name = mem_printf("%s.%" PRIu64 ".Out.%" PRIu32, kind == DELIVER_EVENT ? "Event" : "Archive",
                                 s->vault.number, depositor);
        }
    return q;
}

void deliver_forget_queue(struct deliver *d, struct queue *q)
{
    d->queues[q->channel - FIRST_QUEUE_CHANNEL] = NULL;
    while (d->queue_top != 0 && d->queues[d->queue_top - 1] == NULL)
        d->queue_top--;
    mailbox_free(&q->mailbox);
    free(q->name);
    free(q);
}

/* Nothing is under way any more: what was delivered goes back by itself. */
void deliver_forget_deliveries(struct queue *q)
{
    q->consuming = q->leaving = false;
    q->put_backs = 0;
    memset(q->fetches, 0, sizeof q->fetches);
    mailbox_forget(&q->mailbox);
}

void deliver_lost(struct deliver *d, const struct err *e)
{
    broker_close(d->broker);
    d->broker = NULL;
    d->reconnect_at = deliver_now_ms() + d->backoff_ms;
    d->backoff_ms = d->backoff_ms * 2 > RECONNECT_MAX_MS ? RECONNECT_MAX_MS : d->backoff_ms * 2;
    memset(d->put_backs, 0, sizeof d->put_backs);
    for (unsigned i = 0; i < d->queue_top; i++) {
        struct queue *q = d->queues[i];

        if (q == NULL)
            continue;
        deliver_forget_deliveries(q);
        q->retry_at = 0;
        if (q->mailbox.subscription_count == 0)
            deliver_forget_queue(d, q);
    }
    log_warning("broker-down", "%s", e->text);
    role_ready(d->role, false, "%s", e->text);
}

/* Consumer tags are the queue's name and the number of the fetch. */
static void consumer_tag(const struct queue *q, unsigned fetch, char *tag, size_t size)
{
    snprintf(tag, size, "%s+%u", q->name, fetch);
}

unsigned deliver_fetch_of(const char *tag)
{
    const char *plus = strrchr(tag, '+');
    unsigned long n = plus == NULL ? 0 : strtoul(plus + 1, NULL, 10);

    return n < FETCHES_MAX ? (unsigned)n : 0;
}

static bool open_fetch(struct deliver *d, struct queue *q, unsigned fetch, uint16_t prefetch, struct err *e)
{
    char tag[64];

    consumer_tag(q, fetch, tag, sizeof tag);
    if (!broker_consume(d->broker, q->channel, q->name, tag, prefetch, NULL, 0, e))
        return false;
    q->fetches[fetch].open = true;
    return true;
}

static bool close_fetch(struct deliver *d, struct queue *q, unsigned fetch, struct err *e)
{
    char tag[64];

    if (!q->fetches[fetch].open)
        return true;
    q->fetches[fetch].open = false;
    consumer_tag(q, fetch, tag, sizeof tag);
    return broker_cancel(d->broker, q->channel, tag, e);
}

/* Called when all that was fetched is out and a subscription would take more. */
bool deliver_fetch_more(struct deliver *d, struct queue *q, struct err *e)
{
    unsigned place = 0;

    if (q->kind != DELIVER_EVENT || q->mailbox.held >= HELD_MAX || q->fetches[0].out < BASE_PREFETCH)
        return true;
    for (unsigned i = 1; i < FETCHES_MAX; i++) {
        if (q->fetches[i].open && q->fetches[i].out < FETCH_PREFETCH)
            return true; /* it would have brought more if there were more */
        if (place == 0 && !q->fetches[i].open && q->fetches[i].out == 0)
            place = i;
    }
    return place == 0 || open_fetch(d, q, place, FETCH_PREFETCH, e);
}

/* Acknowledges a message to the broker, without making room for another where that is not wanted. */
bool deliver_acknowledge(struct deliver *d, struct queue *q, struct mailbox_message *message, struct err *e)
{
    unsigned fetch = message->consumer;
    uint64_t tag = message->tag;

    if (q->fetches[fetch].out > 0)
        q->fetches[fetch].out--;
    mailbox_remove(&q->mailbox, message);
    return d->broker == NULL || ((fetch == 0 || close_fetch(d, q, fetch, e)) && broker_ack(d->broker, q->channel, tag, false, e));
}

/* Starts consuming; a queue that does not exist yet is tried again. False: the connection is lost. */
bool deliver_consume(struct deliver *d, struct queue *q, struct err *e)
{
    uint16_t channel = q->channel;
    struct err why = {0};

    if (!broker_channel_is_open(d->broker, channel) && !broker_channel_open(d->broker, channel, e))
        return false;
    if (open_fetch(d, q, 0, q->kind == DELIVER_EVENT ? BASE_PREFETCH : NOTICE_PREFETCH, &why)) {
        q->consuming = true;
        return true;
    }
    if (why.code == ERR_RETRY) {
        *e = why;
        return false;
    }
    log_info("queue-awaited", "%s: %s", q->name, why.text);
    q->retry_at = deliver_now_ms() + RETRY_MS;
    return true;
}

/* ---- giving back ------------------------------------------------------------------------- */

static struct put_back *free_put_back(struct deliver *d)
{
    for (unsigned i = 0; i < PUT_BACKS_MAX; i++)
        if (d->put_backs[i].tag == 0)
            return &d->put_backs[i];
    return NULL;
}

/* Publishes what is left of a partly acknowledged message as a message of its own. */
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

/* All put back: closing the channel requeues what was not touched. */
static bool finish_leaving(struct deliver *d, struct queue *q, struct err *e)
{
    if (!q->leaving || q->put_backs != 0)
        return true;
    if (!broker_channel_close(d->broker, q->channel, e))
        return false;
    deliver_forget_deliveries(q);
    if (q->mailbox.subscription_count == 0)
        deliver_forget_queue(d, q);
    return true;
}

/* Nobody reads this queue any more. */
bool deliver_leave(struct deliver *d, struct queue *q, struct err *e)
{
    if (q->leaving)
        return true;
    if (!q->consuming) {
        deliver_forget_queue(d, q);
        return true;
    }
    for (unsigned i = 0; i < FETCHES_MAX; i++)
        if (!close_fetch(d, q, i, e))
            return false;
    q->leaving = true;
    for (struct mailbox_message *m = q->mailbox.first; m != NULL; m = m->next)
        if (q->kind == DELIVER_EVENT && m->done != 0 && !publish_remainder(d, q, m, e))
            return false;
    return finish_leaving(d, q, e);
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
        if ((stored && !broker_ack(d->broker, back->channel, back->message_tag, false, e)) || !finish_leaving(d, q, e))
            return false;
    }
    return true;
}
