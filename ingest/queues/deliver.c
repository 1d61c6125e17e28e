/*
 * Role `deliver`: answers and archive notices from the depositors' queues to the fronts' subscriptions. Holds the pack keys
 * and the broker's certificate. A message is acknowledged to the broker when every entry in it was acknowledged by sensors; what a
 * leaving sensor did not acknowledge goes back to its queue. Also knows which connection of a sensor has which name.
 */
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <time.h>

#include "common/system/secret.h"
#include "common/values/log.h"
#include "ingest/queues/deliver_internal.h"

uint64_t deliver_now_ms(void)
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

/* ---- from the broker --------------------------------------------------------------------- */

static bool handle_broker(struct deliver *d, const struct broker_event *ev, struct err *e)
{
    struct queue *q = ev->channel >= FIRST_QUEUE_CHANNEL && ev->channel < FIRST_QUEUE_CHANNEL + QUEUES_MAX
                          ? d->queues[ev->channel - FIRST_QUEUE_CHANNEL]
                          : NULL;

    switch (ev->kind) {
    case BROKER_DELIVERY:
        return q == NULL || deliver_take(d, q, ev, e);
    case BROKER_CONFIRM:
        return deliver_put_back_confirmed(d, ev, e);
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
        deliver_forget_deliveries(d, q);
        q->retry_at = deliver_now_ms() + RETRY_MS;
        return true;
    case BROKER_NOTHING:
    case BROKER_BLOCKED:
    case BROKER_UNBLOCKED:
    case BROKER_DONE:
        return true;
    }
    return true;
}

struct broker *deliver_connect(const struct deliver *d, const char *name, struct err *e)
{
    const struct settings *s = role_settings(d->role);
    const struct broker_options o = {.settings = s, .certificate = s->ingest.rabbitmq_certificate, .key = s->ingest.rabbitmq_key, .name = name};

    return broker_open(&o, e);
}

static bool connect_broker(struct deliver *d, struct err *e)
{
    d->broker = deliver_connect(d, "coffre-ingest deliver", e);
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

    if (d->broker == NULL && deliver_now_ms() < d->reconnect_at)
        return;
    if (d->broker == NULL && !connect_broker(d, &e)) {
        deliver_lost(d, &e);
        return;
    }
    do {
        if (!broker_poll(d->broker, 0, &ev, &e) || !handle_broker(d, &ev, &e)) {
            deliver_lost(d, &e);
            return;
        }
    } while (ev.kind != BROKER_NOTHING);
    deliver_hear(d);
    if (!deliver_pump(d, &e)) {
        deliver_lost(d, &e);
        return;
    }
    deliver_ask(d);
}

/* ---- role -------------------------------------------------------------------------------- */

static void linked(void *ctx, const char *kind, unsigned index, struct channel *c)
{
    struct deliver *d = ctx;

    if (strcmp(kind, "front") != 0 || index >= FRONTS_MAX) {
        channel_free(c);
        return;
    }
    deliver_front_gone(d, &d->fronts[index]);
    d->fronts[index].channel = c;
    d->fronts[index].generation = ++d->generation;
}

static void drain(void *ctx)
{
    ((struct deliver *)ctx)->draining = true;
}

static void reload(void *ctx, const struct settings *fresh)
{
    struct deliver *d = ctx;
    struct err e = {0};

    d->held_max = fresh->ingest.limits.unacknowledged_bytes;
    if (!open_keys(d, fresh, &e)) {
        log_error("reload-refused", "the pack keys in force stay: %s", e.text);
        role_reload_refused(d->role, "%s", e.text);
    }
}

static void report(struct deliver *d)
{
    char text[1024];

    if (deliver_now_ms() < d->metrics_at)
        return;
    d->metrics_at = deliver_now_ms() + 1000;
    snprintf(text, sizeof text,
             "coffre_deliver_sent_total %" PRIu64 "\ncoffre_deliver_acknowledged_total %" PRIu64
             "\ncoffre_deliver_released_total %" PRIu64 "\ncoffre_deliver_unseen_total %" PRIu64
             "\ncoffre_deliver_put_back_total %" PRIu64 "\ncoffre_deliver_replies_total %" PRIu64
             "\ncoffre_deliver_undecipherable_total %" PRIu64 "\ncoffre_deliver_declined_total %" PRIu64 "\ncoffre_deliver_taken_total %" PRIu64
             "\ncoffre_deliver_held_bytes %zu\ncoffre_deliver_temporary_queues %u\ncoffre_deliver_claims %zu\ncoffre_deliver_broker_up %d\n",
             d->counts.sent, d->counts.acknowledged, d->counts.released, d->counts.unseen, d->counts.put_back, d->counts.replies,
             d->counts.undecipherable, d->counts.declined, d->counts.taken, d->held, d->replies, d->claims.count, d->broker != NULL);
    role_metrics(d->role, text);
}

static void wait_for_work(struct deliver *d)
{
    struct pollfd fds[FRONTS_MAX + 2 + DELIVER_ASKERS];
    bool unread = d->broker != NULL && (d->behind || broker_unread(d->broker));
    nfds_t n = 0;

    fds[n++] = (struct pollfd){.fd = role_parent_fd(d->role), .events = POLLIN};
    if (d->broker != NULL)
        fds[n++] = (struct pollfd){.fd = broker_fd(d->broker), .events = POLLIN};
    for (unsigned i = 0; i < DELIVER_ASKERS; i++)
        if (d->askers[i].broker != NULL)
            fds[n++] = (struct pollfd){.fd = broker_fd(d->askers[i].broker), .events = POLLIN};
    for (unsigned i = 0; i < FRONTS_MAX; i++) {
        const struct channel *c = d->fronts[i].channel;

        if (c != NULL)
            fds[n++] = (struct pollfd){.fd = channel_fd(c), .events = (short)(POLLIN | (channel_queued(c) != 0 ? POLLOUT : 0))};
    }
    poll(fds, n, unread ? 0 : (int)deliver_asks_for(d, d->draining ? 20 : TURN_MS));
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
                deliver_read_front(d, i);
        work_broker(d);
        report(d);
        for (uint32_t i = 0; i < FRONTS_MAX; i++)
            if (d->fronts[i].channel != NULL)
                deliver_write_front(d, i);
        if (d->draining && finished(d))
            return 0;
        wait_for_work(d);
    }
    return 1;
}

static void finish(struct deliver *d)
{
    for (unsigned i = 0; i < FRONTS_MAX; i++)
        deliver_front_gone(d, &d->fronts[i]);
    for (unsigned i = 0; i < QUEUES_MAX; i++)
        if (d->queues[i] != NULL)
            deliver_forget_queue(d, d->queues[i]);
    deliver_stop_asking(d);
    broker_close(d->broker);
    pack_reader_free(d->reader);
    pack_writer_free(d->writer);
    claims_free(&d->claims);
    buf_free(&d->plain);
    free(d->unseen);
    free(d->exchange);
}

int deliver_run(struct role *role)
{
    static const struct role_events events = {.linked = linked, .drain = drain, .reload = reload};
    static struct deliver d;
    struct err e = {0};
    int status;

    secret_open_heap();
    d.role = role;
    d.backoff_ms = RECONNECT_MIN_MS;
    d.held_max = role_settings(role)->ingest.limits.unacknowledged_bytes;
    if (!open_keys(&d, role_settings(role), &e))
        return role_unfit(role, &e);
    d.exchange = settings_queue(role_settings(role), "Event", "Out");
    d.unseen = mem_zalloc(UNSEEN_SIZE, sizeof *d.unseen);
    buf_init_secret(&d.plain, PLAIN_MAX);
    role_on(role, &events, &d);
    status = serve(&d);
    finish(&d);
    return status;
}
