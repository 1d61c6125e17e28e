/*
 * Role `deliver`, towards the broker: which queues are read, how much is fetched of each, what is acknowledged. See deliver.c.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "common/values/log.h"
#include "ingest/queues/deliver_internal.h"

enum { TAG_SIZE = 128 };

/* ---- queues ------------------------------------------------------------------------------ */

static struct queue *find_queue(struct deliver *d, uint32_t depositor, enum deliver_queue kind, const char *key)
{
    for (unsigned i = 0; i < d->queue_top; i++) {
        struct queue *q = d->queues[i];

        if (q != NULL && q->depositor == depositor && q->kind == kind && strcmp(q->key, key) == 0)
            return q;
    }
    return NULL;
}

/* Temporary queues are bounded apart: no depositor keeps another from its answers with them. */
static bool may_open_reply(const struct deliver *d, uint32_t depositor, struct err *e)
{
    unsigned n = 0;

    for (unsigned i = 0; i < d->queue_top; i++)
        if (d->queues[i] != NULL && d->queues[i]->kind == DELIVER_REPLIES && d->queues[i]->depositor == depositor)
            n++;
    if (n >= REPLIES_OF_DEPOSITOR_MAX)
        return err_set(e, ERR_INPUT, "too many temporary queues of this depositor, on all its connections");
    return d->replies < REPLIES_MAX || err_set(e, ERR_INPUT, "too many temporary queues are read at once, subscribe again later");
}

static char *queue_name(const struct deliver *d, uint32_t depositor, enum deliver_queue kind, const char *key)
{
    uint64_t vault = role_settings(d->role)->vault.number;

    if (kind == DELIVER_REPLIES)
        return mem_printf("Event.%" PRIu64 ".Reply.%s", vault, key);
    return mem_printf("%s.%" PRIu64 ".Out.%" PRIu32, kind == DELIVER_EVENT ? "Event" : "Archive", vault, depositor);
}

static struct queue *add_queue(struct deliver *d, uint32_t depositor, enum deliver_queue kind, const char *key, struct err *e)
{
    struct queue *q;
    unsigned i = 0;

    while (i < QUEUES_MAX && d->queues[i] != NULL)
        i++;
    if (i == QUEUES_MAX) {
        err_set(e, ERR_INPUT, "too many queues are read at once, subscribe again later");
        return NULL;
    }
    q = d->queues[i] = mem_zalloc(1, sizeof *q);
    q->channel = (uint16_t)(FIRST_QUEUE_CHANNEL + i);
    q->depositor = depositor;
    q->kind = kind;
    q->name = queue_name(d, depositor, kind, key);
    memcpy(q->key, key, strlen(key) + 1);
    d->replies += kind == DELIVER_REPLIES;
    if (i >= d->queue_top)
        d->queue_top = i + 1;
    return q;
}

struct queue *deliver_open_queue(struct deliver *d, uint32_t depositor, enum deliver_queue kind, struct slice name, struct err *e)
{
    char key[PACK_REPLY_KEY_SIZE] = "";
    struct queue *q;

    if (kind == DELIVER_REPLIES && !pack_reply_key(depositor, name, key, e))
        return NULL;
    q = find_queue(d, depositor, kind, key);
    if (q != NULL)
        return q;
    if (kind == DELIVER_REPLIES && !may_open_reply(d, depositor, e))
        return NULL;
    return add_queue(d, depositor, kind, key, e);
}

void deliver_forget_queue(struct deliver *d, struct queue *q)
{
    deliver_unask(d, q);
    d->queues[q->channel - FIRST_QUEUE_CHANNEL] = NULL;
    while (d->queue_top != 0 && d->queues[d->queue_top - 1] == NULL)
        d->queue_top--;
    d->replies -= q->kind == DELIVER_REPLIES;
    d->held -= q->mailbox.held;
    mailbox_free(&q->mailbox);
    free(q->name);
    free(q);
}

/* Nothing is under way any more: what was delivered goes back by itself. */
void deliver_forget_deliveries(struct deliver *d, struct queue *q)
{
    q->consuming = q->answers = q->leaving = q->given_back = false;
    q->put_backs = 0;
    q->acknowledge = 0;
    memset(q->fetches, 0, sizeof q->fetches);
    d->held -= q->mailbox.held;
    mailbox_forget(&q->mailbox);
}

void deliver_lost(struct deliver *d, const struct err *e)
{
    broker_close(d->broker);
    d->broker = NULL;
    deliver_stop_asking(d);
    d->reconnect_at = deliver_now_ms() + d->backoff_ms;
    d->backoff_ms = d->backoff_ms * 2 > RECONNECT_MAX_MS ? RECONNECT_MAX_MS : d->backoff_ms * 2;
    memset(d->put_backs, 0, sizeof d->put_backs);
    for (unsigned i = 0; i < d->queue_top; i++) {
        struct queue *q = d->queues[i];

        if (q == NULL)
            continue;
        deliver_forget_deliveries(d, q);
        if (q->aside_ms == 0)
            q->retry_at = 0;
        if (q->mailbox.subscription_count == 0)
            deliver_forget_queue(d, q);
    }
    log_warning("broker-down", "%s", e->text);
    role_ready(d->role, false, "%s", e->text);
}

/* ---- consumers --------------------------------------------------------------------------- */

/*
 * Consumer tags are the queue's name, a number never used before, and that of the fetch. RabbitMQ 3.10 breaks the connection over a tag that comes again while messages to its
 * earlier holder are not settled: it takes the next one's number for a gap, and cannot read what it then asks of the queue (rabbitmq-server issue 5927).
 */
static void consumer_tag(const struct queue *q, unsigned fetch, char *tag, size_t size)
{
    snprintf(tag, size, "%s+%" PRIu64 "+%u", q->name, q->fetches[fetch].consumer, fetch);
}

static unsigned fetch_of(const char *tag)
{
    const char *plus = strrchr(tag, '+');
    unsigned long n = plus == NULL ? 0 : strtoul(plus + 1, NULL, 10);

    return n < FETCHES_MAX ? (unsigned)n : 0;
}

static bool open_fetch(struct deliver *d, struct queue *q, unsigned fetch, unsigned prefetch, struct err *e)
{
    char tag[TAG_SIZE];

    q->fetches[fetch].consumer = ++d->consumers;
    consumer_tag(q, fetch, tag, sizeof tag);
    if (!broker_consume(d->broker, q->channel, q->name, tag, (uint16_t)prefetch, NULL, 0, e))
        return false;
    q->fetches[fetch].open = true;
    q->fetches[fetch].prefetch = prefetch;
    return true;
}

bool deliver_close_fetch(struct deliver *d, struct queue *q, unsigned fetch, struct err *e)
{
    char tag[TAG_SIZE];

    if (!q->fetches[fetch].open)
        return true;
    q->fetches[fetch].open = false;
    consumer_tag(q, fetch, tag, sizeof tag);
    return broker_cancel(d->broker, q->channel, tag, e);
}

/* About as many messages again as are held, as far as there is room for them. Sizes only look like those held: deliver_take() keeps to the limit. */
static unsigned next_prefetch(const struct deliver *d, const struct queue *q)
{
    size_t count = q->mailbox.count, room = d->held_max - d->held;
    size_t n = count < FETCH_MIN ? FETCH_MIN : count > FETCH_MAX ? FETCH_MAX : count;
    size_t fit = q->mailbox.held == 0 ? n : room / (q->mailbox.held / count + 1);

    return (unsigned)(n < fit ? n : fit < 1 ? 1 : fit);
}

bool deliver_fetch_more(struct deliver *d, struct queue *q, struct err *e)
{
    unsigned place = 0;

    if (q->kind == DELIVER_ARCHIVES || q->fetches[0].out < BASE_PREFETCH || d->held >= d->held_max - d->held_max / 16)
        return true;
    for (unsigned i = 1; i < FETCHES_MAX; i++) {
        const struct fetch *f = &q->fetches[i];

        if (f->open && f->out < f->prefetch)
            return true; /* it would have brought more if there were more */
        if (place == 0 && !f->open && f->out == 0)
            place = i;
    }
    return place == 0 || open_fetch(d, q, place, next_prefetch(d, q), e);
}

/* A temporary queue, with its binding; gone with this connection. */
static bool declare_reply(struct deliver *d, const struct queue *q, struct err *e)
{
    const struct broker_argument bytes = {.name = "x-max-length-bytes", .number = REPLIES_BYTES_MAX};
    char key[16 + PACK_REPLY_KEY_SIZE];

    snprintf(key, sizeof key, "reply.%s", q->key);
    return broker_declare_temporary(d->broker, q->name, &bytes, 1, e) && broker_bind_queue(d->broker, q->name, d->exchange, key, e);
}

bool deliver_consume(struct deliver *d, struct queue *q, struct err *e)
{
    uint16_t channel = q->channel;
    struct err why = {0};

    if (q->kind != DELIVER_REPLIES && !q->answers)
        return true; /* deliver_ask() */
    q->answers = false;
    if (!broker_channel_is_open(d->broker, channel) && !broker_channel_open(d->broker, channel, e))
        return false;
    if ((q->kind != DELIVER_REPLIES || declare_reply(d, q, &why)) &&
        open_fetch(d, q, 0, q->kind == DELIVER_ARCHIVES ? NOTICE_PREFETCH : BASE_PREFETCH, &why)) {
        q->consuming = true;
        q->aside_ms = 0;
        return true;
    }
    if (why.code == ERR_RETRY) {
        /* It has cost the connection: it must not do so to all others at every attempt. */
        deliver_set_aside(q, why.text);
        *e = why;
        return false;
    }
    deliver_await(q, why.text);
    return true;
}

/* ---- messages ---------------------------------------------------------------------------- */

/* There is no room for it, nor for what its consumers would still bring: they end, it goes back, seen by nobody. */
static bool decline(struct deliver *d, struct queue *q, const struct broker_event *ev, uint64_t mark, uint32_t discount, struct err *e)
{
    for (unsigned i = 1; i < FETCHES_MAX; i++)
        if (!deliver_close_fetch(d, q, i, e))
            return false;
    deliver_remember_unseen(d, mark, discount + 1);
    d->counts.declined++;
    return broker_nack(d->broker, q->channel, ev->tag, false, true, e);
}

static struct mailbox_message *open_message(struct deliver *d, struct queue *q, struct slice body, uint32_t redeliveries, struct err *e)
{
    struct mailbox_message *message = NULL;
    struct pack_archive notice;

    if (q->kind == DELIVER_ARCHIVES)
        return pack_get_archive(body, &notice, e) ? mailbox_add_single(&q->mailbox, ++d->ordinal, body, redeliveries) : NULL;
    if (pack_open(d->reader, body, PACK_ANSWERS, &d->plain, e))
        message = mailbox_add(&q->mailbox, ++d->ordinal, buf_slice(&d->plain), redeliveries, e);
    if (d->plain.capacity > PLAIN_KEPT)
        buf_free(&d->plain);
    else
        buf_reset(&d->plain);
    return message;
}

bool deliver_take(struct deliver *d, struct queue *q, const struct broker_event *ev, struct err *e)
{
    uint64_t mark = deliver_mark(q, ev->body);
    uint32_t unseen = deliver_unseen(d, mark), discount = unseen < ev->deliveries ? unseen : ev->deliveries;
    unsigned fetch = fetch_of(ev->text);
    struct mailbox_message *message;
    struct err why = {0};

    if (q->leaving) { /* came before the consumers ended: the channel's closing sends it back */
        deliver_remember_unseen(d, mark, discount + 1);
        return true;
    }
    if (fetch != 0 && d->held >= d->held_max)
        return decline(d, q, ev, mark, discount, e);
    message = open_message(d, q, ev->body, ev->deliveries - discount, &why);
    if (message == NULL) {
        /* Not ours or altered: out of the way, said loudly. The sensor sends again what it has no answer for. */
        log_error("answer-undecipherable", "%s: %s", q->name, why.text);
        d->counts.undecipherable++;
        return broker_nack(d->broker, q->channel, ev->tag, false, false, e);
    }
    message->tag = ev->tag;
    message->mark = mark;
    message->consumer = fetch;
    message->deliveries = ev->deliveries;
    message->discount = discount;
    q->fetches[fetch].out++;
    d->held += message->size;
    return true;
}

bool deliver_acknowledge(struct deliver *d, struct queue *q, struct mailbox_message *message, struct err *e)
{
    unsigned fetch = message->consumer;
    uint64_t tag = message->tag;
    bool oldest = message->previous == NULL;

    if (q->fetches[fetch].out > 0)
        q->fetches[fetch].out--;
    d->held -= message->size;
    mailbox_remove(&q->mailbox, message);
    if (d->broker == NULL)
        return true;
    /* A consumer that is to bring no more than it has ends before there is room for another message. */
    if (fetch != 0 && !deliver_close_fetch(d, q, fetch, e))
        return false;
    if (!oldest)
        return broker_ack(d->broker, q->channel, tag, false, e);
    q->acknowledge = tag; /* tags grow with the order of messages: it stands for all before it, which are gone */
    return true;
}

bool deliver_flush_acknowledgements(struct deliver *d, struct queue *q, struct err *e)
{
    uint64_t tag = q->acknowledge;

    q->acknowledge = 0;
    return tag == 0 || broker_ack(d->broker, q->channel, tag, true, e);
}
