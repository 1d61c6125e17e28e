/*
 * Role `deliver`: answers and archive notices from the depositors' queues to the fronts' subscriptions. Holds the pack keys
 * and the broker's certificate. A message is acknowledged to the broker when every entry in it was acknowledged by sensors; what a
 * leaving sensor did not acknowledge goes back to its queue.
 */
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "common/system/broker.h"
#include "common/system/secret.h"
#include "common/values/log.h"
#include "ingest/mailbox.h"
#include "ingest/roles.h"

/*
 * Answers come in messages of one entry (an idle vault) to thousands (a busy one). A few messages at a time are enough for those,
 * but a sensor that acknowledges every five minutes needs hundreds of the former: when everything fetched is out and a sensor
 * would take more, another consumer fetches FETCH_PREFETCH more messages, once. It is cancelled before the first of them is acknowledged.
 */
enum { BASE_PREFETCH = 4, NOTICE_PREFETCH = 2000, FETCH_PREFETCH = 64, FETCHES_MAX = 64, HELD_MAX = 8 << 20 };

enum { FRONTS_MAX = 64, QUEUES_MAX = 1024, PUT_BACK_CHANNEL = 1, FIRST_QUEUE_CHANNEL = 2, RETRY_MS = 1000,
       RECONNECT_MIN_MS = 250, RECONNECT_MAX_MS = 5000, TURN_MS = 500, PLAIN_MAX = BROKER_BODY_MAX,
       MESSAGES_PER_TURN = 4096 };

struct front {
    struct channel *channel;
    uint64_t generation;
};

/* A consumer of the broker. */
struct fetch {
    bool open;
    unsigned out; /* messages it brought that are not yet acknowledged */
};

/* One queue of the broker with its subscriptions. */
struct queue {
    uint16_t channel; /* of the broker: its place in the table decides */
    bool consuming, leaving;
    uint32_t depositor;
    enum deliver_queue kind;
    char *name;
    uint64_t retry_at;
    unsigned put_backs; /* remainders published and not yet confirmed */
    struct fetch fetches[FETCHES_MAX]; /* the first stays, the others come and go */
    struct mailbox mailbox;
};

/* A remainder on its way: once confirmed, the message it came from is acknowledged. */
struct put_back {
    uint64_t tag; /* on PUT_BACK_CHANNEL; 0: free */
    uint16_t channel;
    uint64_t message_tag;
    bool returned;
};

enum { PUT_BACKS_MAX = QUEUES_MAX * BASE_PREFETCH };

struct deliver {
    struct role *role;
    struct broker *broker;
    struct pack_reader *reader;
    struct pack_writer *writer;
    struct front fronts[FRONTS_MAX];
    struct queue *queues[QUEUES_MAX]; /* owned; NULL: free place */
    unsigned queue_top;              /* no queue at or after it */
    struct put_back put_backs[PUT_BACKS_MAX];
    char *exchange; /* Event.<N>.Out */
    uint64_t generation, ordinal, reconnect_at, backoff_ms, metrics_at;
    bool draining;
    struct {
        uint64_t sent, acknowledged, released, put_back, undecipherable;
    } counts;
};

static uint64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- keys -------------------------------------------------------------------------------- */

static bool open_keys(struct deliver *d, const struct settings *s, struct err *e)
{
    char *vault = mem_printf("%s/%" PRIu64, s->vault.operator_id, s->vault.number);
    struct secret keys[SETTINGS_LIST_MAX] = {0};
    struct slice slices[SETTINGS_LIST_MAX];
    struct pack_reader *reader = NULL;
    struct pack_writer *writer = NULL;
    unsigned n = s->ingest.pack_keys.count;
    bool ok = true;

    for (unsigned i = 0; i < n && ok; i++) {
        ok = secret_read_key(&keys[i], s->ingest.pack_keys.items[i], e);
        slices[i] = secret_slice(&keys[i]);
    }
    ok = ok && (reader = pack_reader_new(slices, n, vault, e)) != NULL &&
         (writer = pack_writer_new(slices[0], vault, e)) != NULL;
    for (unsigned i = 0; i < n; i++)
        secret_free(&keys[i]);
    free(vault);
    if (!ok) {
        pack_reader_free(reader);
        return false;
    }
    pack_reader_free(d->reader);
    pack_writer_free(d->writer);
    d->reader = reader;
    d->writer = writer;
    return true;
}

/* ---- queues ------------------------------------------------------------------------------ */

static struct queue *find_queue(struct deliver *d, uint32_t depositor, enum deliver_queue kind)
{
    for (unsigned i = 0; i < d->queue_top; i++)
        if (d->queues[i] != NULL && d->queues[i]->depositor == depositor && d->queues[i]->kind == kind)
            return d->queues[i];
    return NULL;
}

static struct queue *open_queue(struct deliver *d, uint32_t depositor, enum deliver_queue kind)
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

static void forget_queue(struct deliver *d, struct queue *q)
{
    d->queues[q->channel - FIRST_QUEUE_CHANNEL] = NULL;
    while (d->queue_top != 0 && d->queues[d->queue_top - 1] == NULL)
        d->queue_top--;
    mailbox_free(&q->mailbox);
    free(q->name);
    free(q);
}

/* Nothing is under way any more: what was delivered goes back by itself. */
static void forget_deliveries(struct queue *q)
{
    q->consuming = q->leaving = false;
    q->put_backs = 0;
    memset(q->fetches, 0, sizeof q->fetches);
    mailbox_forget(&q->mailbox);
}

static void lost(struct deliver *d, const struct err *e)
{
    broker_close(d->broker);
    d->broker = NULL;
    d->reconnect_at = now_ms() + d->backoff_ms;
    d->backoff_ms = d->backoff_ms * 2 > RECONNECT_MAX_MS ? RECONNECT_MAX_MS : d->backoff_ms * 2;
    memset(d->put_backs, 0, sizeof d->put_backs);
    for (unsigned i = 0; i < d->queue_top; i++) {
        struct queue *q = d->queues[i];

        if (q == NULL)
            continue;
        forget_deliveries(q);
        q->retry_at = 0;
        if (q->mailbox.subscription_count == 0)
            forget_queue(d, q);
    }
    log_warning("broker-down", "%s", e->text);
    role_ready(d->role, false, "%s", e->text);
}

/* Consumer tags are the queue's name and the number of the fetch. */
static void consumer_tag(const struct queue *q, unsigned fetch, char *tag, size_t size)
{
    snprintf(tag, size, "%s+%u", q->name, fetch);
}

static unsigned fetch_of(const char *tag)
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
static bool fetch_more(struct deliver *d, struct queue *q, struct err *e)
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
static bool acknowledge(struct deliver *d, struct queue *q, struct mailbox_message *message, struct err *e)
{
    unsigned fetch = message->consumer;
    uint64_t tag = message->tag;

    if (q->fetches[fetch].out > 0)
        q->fetches[fetch].out--;
    mailbox_remove(&q->mailbox, message);
    return d->broker == NULL || ((fetch == 0 || close_fetch(d, q, fetch, e)) && broker_ack(d->broker, q->channel, tag, false, e));
}

/* Starts consuming; a queue that does not exist yet is tried again. False: the connection is lost. */
static bool consume(struct deliver *d, struct queue *q, struct err *e)
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
    q->retry_at = now_ms() + RETRY_MS;
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
    ok = wire_ok(&w, "remainder", e) && pack_begin(d->writer, PACK_ANSWERS, &pack, e) &&
         pack_add(d->writer, buf_slice(&plain), e) && pack_end(d->writer, e) &&
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
    forget_deliveries(q);
    if (q->mailbox.subscription_count == 0)
        forget_queue(d, q);
    return true;
}

/* Nobody reads this queue any more. */
static bool leave(struct deliver *d, struct queue *q, struct err *e)
{
    if (q->leaving)
        return true;
    if (!q->consuming) {
        forget_queue(d, q);
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

static bool put_back_confirmed(struct deliver *d, const struct broker_event *ev, struct err *e)
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

/* ---- towards fronts ---------------------------------------------------------------------- */

static void front_gone(struct deliver *d, struct front *f)
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

static bool pump_all(struct deliver *d, struct err *e)
{
    for (unsigned i = 0; i < d->queue_top; i++) {
        struct queue *q = d->queues[i];
        struct sending sending = {d, DELIVER_EVENT};

        if (q == NULL)
            continue;
        sending.kind = q->kind;
        if (q->mailbox.subscription_count == 0) {
            if (!leave(d, q, e))
                return false;
            continue;
        }
        if (!q->consuming && !q->leaving && now_ms() >= q->retry_at && !consume(d, q, e))
            return false;
        if (!q->leaving && mailbox_pump(&q->mailbox, send_entry, &sending) && q->consuming && !fetch_more(d, q, e))
            return false;
    }
    return true;
}

/* ---- from fronts ------------------------------------------------------------------------- */

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
    q = open_queue(d, depositor, kind);
    if (q == NULL || !mailbox_subscribe(&q->mailbox, slot, d->fronts[slot].generation, id, credit))
        return err_set(e, ERR_INPUT, "subscribe: too many, or twice the same");
    return true;
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
        return acknowledge(d, q, done, e);
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
        break;
    }
    return err_set(e, ERR_INPUT, "message %u makes no sense", m->type);
}

static void read_front(struct deliver *d, uint32_t slot)
{
    struct front *f = &d->fronts[slot];

    for (unsigned n = 0; n < MESSAGES_PER_TURN && f->channel != NULL; n++) {
        struct channel_message m;
        struct err e = {0};
        enum channel_result got = channel_receive(f->channel, &m, &e);

        if (got == CHANNEL_EMPTY)
            return;
        if (got == CHANNEL_CLOSED) {
            front_gone(d, f);
            return;
        }
        if (m.fd >= 0)
            close(m.fd);
        if (handle_front(d, slot, &m, &e))
            continue;
        if (e.code == ERR_RETRY) {
            lost(d, &e);
            continue;
        }
        log_error("channel-bad", "front %u: %s", slot, e.text);
        front_gone(d, f);
    }
}

/* ---- from the broker --------------------------------------------------------------------- */

static bool take_delivery(struct deliver *d, struct queue *q, const struct broker_event *ev, struct err *e)
{
    uint64_t ordinal = ++d->ordinal;
    struct err why = {0};
    struct buf plain;
    bool ok;

    if (q->kind == DELIVER_ARCHIVES) {
        struct pack_archive notice;

        ok = pack_get_archive(ev->body, &notice, &why) &&
             mailbox_add_single(&q->mailbox, ev->tag, ordinal, ev->body, ev->deliveries, &why);
    } else {
        buf_init_secret(&plain, PLAIN_MAX);
        ok = pack_open(d->reader, ev->body, PACK_ANSWERS, &plain, &why) &&
             mailbox_add(&q->mailbox, ev->tag, ordinal, &plain, ev->deliveries, &why);
        buf_free(&plain);
    }
    if (ok) {
        q->mailbox.last->consumer = fetch_of(ev->text);
        q->fetches[q->mailbox.last->consumer].out++;
        return true;
    }
    /* Not ours or altered: out of the way, said loudly. The sensor sends again what it has no answer for. */
    log_error("answer-undecipherable", "%s: %s", q->name, why.text);
    d->counts.undecipherable++;
    return broker_nack(d->broker, q->channel, ev->tag, false, false, e);
}

static bool handle_broker(struct deliver *d, const struct broker_event *ev, struct err *e)
{
    struct queue *q = ev->channel >= FIRST_QUEUE_CHANNEL && ev->channel < FIRST_QUEUE_CHANNEL + QUEUES_MAX
                          ? d->queues[ev->channel - FIRST_QUEUE_CHANNEL]
                          : NULL;

    switch (ev->kind) {
    case BROKER_DELIVERY:
        /* After the cancel: the channel's closing sends it back. */
        if (q == NULL || q->leaving)
            return true;
        return take_delivery(d, q, ev, e);
    case BROKER_CONFIRM:
        return put_back_confirmed(d, ev, e);
    case BROKER_RETURN:
        for (unsigned i = 0; i < PUT_BACKS_MAX; i++)
            if (d->put_backs[i].tag == ev->tag)
                d->put_backs[i].returned = true;
        return true;
    case BROKER_CHANNEL_CLOSED:
        if (ev->channel < FIRST_QUEUE_CHANNEL)
            return err_set(e, ERR_RETRY, "RabbitMQ closed the channel: %s", ev->text);
        /* fall through */
    case BROKER_CANCELLED:
        if (q == NULL)
            return true;
        log_warning("queue-gone", "%s: %s", q->name, ev->text);
        if (ev->kind == BROKER_CANCELLED && !broker_channel_close(d->broker, ev->channel, e))
            return false;
        for (unsigned i = 0; i < PUT_BACKS_MAX; i++)
            if (d->put_backs[i].channel == ev->channel)
                d->put_backs[i].tag = 0;
        forget_deliveries(q);
        q->retry_at = now_ms() + RETRY_MS;
        return true;
    case BROKER_NOTHING:
    case BROKER_BLOCKED:
    case BROKER_UNBLOCKED:
        return true;
    }
    return true;
}

static bool connect_broker(struct deliver *d, struct err *e)
{
    const struct settings *s = role_settings(d->role);
    struct broker_options o = {.settings = s, .certificate = s->ingest.rabbitmq_certificate, .key = s->ingest.rabbitmq_key,
                               .name = "coffre-ingest deliver"};

    d->broker = broker_open(&o, e);
    if (d->broker == NULL || !broker_confirms(d->broker, PUT_BACK_CHANNEL, e))
        return false;
    d->backoff_ms = RECONNECT_MIN_MS;
    role_ready(d->role, true, "connected");
    return true;
}

static void work_broker(struct deliver *d)
{
    struct broker_event ev = {.kind = BROKER_NOTHING};
    struct err e = {0};

    if (d->broker == NULL && now_ms() < d->reconnect_at)
        return;
    if (d->broker == NULL && !connect_broker(d, &e)) {
        lost(d, &e);
        return;
    }
    do {
        if (!broker_poll(d->broker, 0, &ev, &e) || !handle_broker(d, &ev, &e)) {
            lost(d, &e);
            return;
        }
    } while (ev.kind != BROKER_NOTHING);
    if (!pump_all(d, &e))
        lost(d, &e);
}

/* ---- role -------------------------------------------------------------------------------- */

static void linked(void *ctx, const char *kind, unsigned index, struct channel *c)
{
    struct deliver *d = ctx;

    if (strcmp(kind, "front") != 0 || index >= FRONTS_MAX) {
        channel_free(c);
        return;
    }
    front_gone(d, &d->fronts[index]);
    d->fronts[index] = (struct front){c, ++d->generation};
}

static void drain(void *ctx)
{
    ((struct deliver *)ctx)->draining = true;
}

static void reload(void *ctx, const struct settings *fresh)
{
    struct err e = {0};

    if (!open_keys(ctx, fresh, &e))
        log_error("reload-refused", "the pack keys in force stay: %s", e.text);
}

static void report(struct deliver *d)
{
    char text[512];

    if (now_ms() < d->metrics_at)
        return;
    d->metrics_at = now_ms() + 1000;
    snprintf(text, sizeof text,
             "coffre_deliver_sent_total %" PRIu64 "\ncoffre_deliver_acknowledged_total %" PRIu64
             "\ncoffre_deliver_released_total %" PRIu64 "\ncoffre_deliver_put_back_total %" PRIu64
             "\ncoffre_deliver_undecipherable_total %" PRIu64 "\ncoffre_deliver_broker_up %d\n",
             d->counts.sent, d->counts.acknowledged, d->counts.released, d->counts.put_back, d->counts.undecipherable,
             d->broker != NULL);
    role_metrics(d->role, text);
}

static void wait_for_work(struct deliver *d)
{
    struct pollfd fds[FRONTS_MAX + 2];
    nfds_t n = 0;

    fds[n++] = (struct pollfd){.fd = role_parent_fd(d->role), .events = POLLIN};
    if (d->broker != NULL)
        fds[n++] = (struct pollfd){.fd = broker_fd(d->broker), .events = POLLIN};
    for (unsigned i = 0; i < FRONTS_MAX; i++) {
        const struct channel *c = d->fronts[i].channel;

        if (c != NULL)
            fds[n++] = (struct pollfd){.fd = channel_fd(c), .events = (short)(POLLIN | (channel_queued(c) != 0 ? POLLOUT : 0))};
    }
    poll(fds, n, d->broker != NULL && broker_unread(d->broker) ? 0 : d->draining ? 20 : TURN_MS);
}

/* True when no front is left and everything was put back. */
static bool finished(const struct deliver *d)
{
    for (unsigned i = 0; i < FRONTS_MAX; i++)
        if (d->fronts[i].channel != NULL)
            return false;
    for (unsigned i = 0; i < d->queue_top; i++)
        if (d->queues[i] != NULL && d->broker != NULL)
            return false;
    return true;
}

static int serve(struct deliver *d)
{
    while (role_poll(d->role, 0)) {
        for (uint32_t i = 0; i < FRONTS_MAX; i++)
            if (d->fronts[i].channel != NULL)
                read_front(d, i);
        work_broker(d);
        report(d);
        for (unsigned i = 0; i < FRONTS_MAX; i++)
            if (d->fronts[i].channel != NULL && !channel_flush(d->fronts[i].channel, NULL))
                front_gone(d, &d->fronts[i]);
        if (d->draining && finished(d))
            return 0;
        wait_for_work(d);
    }
    return 1;
}

int deliver_run(struct role *role)
{
    static const struct role_events events = {.linked = linked, .drain = drain, .reload = reload};
    static struct deliver d;
    struct err e = {0};
    int status;

    d = (struct deliver){.role = role, .backoff_ms = RECONNECT_MIN_MS};
    if (!open_keys(&d, role_settings(role), &e)) {
        log_error("config-bad", "%s", e.text);
        return ROLE_EXIT_CONFIG;
    }
    d.exchange = settings_queue(role_settings(role), "Event", "Out");
    role_on(role, &events, &d);
    status = serve(&d);
    for (unsigned i = 0; i < FRONTS_MAX; i++)
        channel_free(d.fronts[i].channel);
    for (unsigned i = 0; i < QUEUES_MAX; i++)
        if (d.queues[i] != NULL)
            forget_queue(&d, d.queues[i]);
    broker_close(d.broker);
    pack_reader_free(d.reader);
    pack_writer_free(d.writer);
    free(d.exchange);
    return status;
}
