/*
 * Role `relay`: deposits of all fronts into packs, packs into RabbitMQ, confirmations back. Holds the pack key and the
 * broker's certificate; reads what fronts send as framed bytes it never looks into. A ticket is confirmed only when the broker
 * has confirmed its pack without having returned it (mandatory: routed).
 */
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <time.h>

#include "common/system/broker.h"
#include "common/system/role.h"
#include "common/system/secret.h"
#include "common/values/log.h"
#include "ingest/queues/gather.h"
#include "ingest/queues/packing.h"
#include "ingest/roles.h"

enum { CHANNEL_ID = 1, RECONNECT_MIN_MS = 250, RECONNECT_MAX_MS = 5000, FULL_RETRY_MS = 200, TURN_MS = 500,
       MESSAGES_PER_TURN = 4096 };

struct front {
    struct channel *channel; /* NULL: not there */
    uint64_t generation;
    uint64_t last_ticket;
};

struct relay {
    struct role *role;
    struct broker *broker; /* NULL: away */
    struct packing packing;
    struct gather gather;
    uint64_t wait_us; /* the open pack waits so long for more; 0: it does not */
    struct pack_writer *writer;
    struct front fronts[PACKING_FRONTS_MAX];
    char *exchange;
    uint64_t generation;
    unsigned window; /* packs in flight, once a connection has proved itself */
    uint64_t reconnect_at, backoff_ms, full_until, metrics_at;
    bool up, draining;
    char why[256]; /* why not up */
    struct {
        uint64_t packs, deposits, bytes, confirmed, refused, full, reconnects;
    } counts;
};

static uint64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* ---- fronts ------------------------------------------------------------------------------ */

static void drop_front(struct relay *r, struct front *f, const char *why)
{
    (void)r;
    log_debug("front-gone", "a front's channel ended: %s", why);
    channel_free(f->channel);
    f->channel = NULL;
}

static void tell_front(struct relay *r, struct front *f, enum relay_message type, struct slice body)
{
    struct err e = {0};

    /* A front that does not take its confirmations is broken: without them it cannot lie to anybody. */
    if (f->channel != NULL && !channel_send(f->channel, (uint16_t)type, body, &e))
        drop_front(r, f, e.text);
}

static void tell_broker_state(struct relay *r, struct front *f)
{
    uint8_t bytes[300];
    struct buf b = {.data = bytes, .capacity = sizeof bytes, .max = sizeof bytes};
    struct wire_writer w = wire_write(&b);

    wire_put_u8(&w, r->up ? 1 : 0);
    wire_put_text(&w, slice_text(r->up ? "" : r->why));
    tell_front(r, f, RELAY_BROKER, buf_slice(&b));
}

static void set_up(struct relay *r, bool up, const char *why)
{
    bool changed = r->up != up || (!up && strcmp(r->why, why) != 0);

    if (!changed)
        return;
    r->up = up;
    snprintf(r->why, sizeof r->why, "%s", why);
    if (up)
        log_info("broker-up", "RabbitMQ takes deposits");
    else
        log_warning("broker-down", "%s", why);
    role_ready(r->role, up, "%s", up ? "publishing" : why);
    for (unsigned i = 0; i < PACKING_FRONTS_MAX; i++)
        tell_broker_state(r, &r->fronts[i]);
}

static void tell_ranges(struct relay *r, const struct packing_pack *pack, const char *refusal)
{
    uint8_t bytes[600];

    for (unsigned i = 0; i < pack->range_count; i++) {
        const struct packing_range *range = &pack->ranges[i];
        struct front *f = &r->fronts[range->front];
        struct buf b = {.data = bytes, .capacity = sizeof bytes, .max = sizeof bytes};
        struct wire_writer w = wire_write(&b);

        if (f->generation != range->generation)
            continue;
        wire_put_u64(&w, range->first);
        wire_put_u64(&w, range->last);
        if (refusal != NULL)
            wire_put_text(&w, slice_text(refusal));
        tell_front(r, f, refusal == NULL ? RELAY_CONFIRMED : RELAY_REFUSED, buf_slice(&b));
    }
}

static bool take_deposit(struct relay *r, struct front *f, uint32_t slot, const struct channel_message *m, struct err *e)
{
    struct wire_reader in = wire_read(m->body);
    uint64_t ticket = wire_get_u64(&in);
    unsigned deposits = 0;

    if (m->type != RELAY_DEPOSIT || in.short_read || m->fd >= 0)
        return err_set(e, ERR_INPUT, "message %u makes no sense", m->type);
    if (ticket <= f->last_ticket)
        return err_set(e, ERR_INPUT, "ticket %" PRIu64 " does not grow", ticket);
    f->last_ticket = ticket;
    if (!packing_add(&r->packing, slot, f->generation, ticket, in.rest, &deposits, e))
        return false;
    r->counts.deposits += deposits;
    r->counts.bytes += in.rest.len;
    return true;
}

/* False: encryption itself failed, the role cannot go on. */
static bool read_front(struct relay *r, uint32_t slot)
{
    struct front *f = &r->fronts[slot];

    for (unsigned n = 0; n < MESSAGES_PER_TURN && f->channel != NULL && packing_has_room(&r->packing); n++) {
        struct channel_message m;
        struct err e = {0};
        enum channel_result got = channel_receive(f->channel, &m, &e);

        if (got == CHANNEL_EMPTY)
            return true;
        if (got == CHANNEL_CLOSED) {
            drop_front(r, f, e.text);
            return true;
        }
        if (take_deposit(r, f, slot, &m, &e))
            continue;
        if (e.code == ERR_FATAL) {
            log_error("pack-failed", "%s", e.text);
            return false;
        }
        log_error("channel-bad", "front %u: %s", slot, e.text);
        drop_front(r, f, e.text);
    }
    return true;
}

/* ---- broker ------------------------------------------------------------------------------ */

static void lost(struct relay *r, const struct err *e)
{
    broker_close(r->broker);
    r->broker = NULL;
    packing_lost(&r->packing);
    r->reconnect_at = now_ms() + r->backoff_ms;
    r->backoff_ms = r->backoff_ms * 2 > RECONNECT_MAX_MS ? RECONNECT_MAX_MS : r->backoff_ms * 2;
    set_up(r, false, e->text);
}

static void flush_fronts(struct relay *r)
{
    for (unsigned i = 0; i < PACKING_FRONTS_MAX; i++) {
        struct err e = {0};

        if (r->fronts[i].channel != NULL && !channel_flush(r->fronts[i].channel, &e))
            drop_front(r, &r->fronts[i], e.text);
    }
}

static void connect_broker(struct relay *r)
{
    const struct settings *s = role_settings(r->role);
    struct broker_options o = {.settings = s, .certificate = s->ingest.rabbitmq_certificate, .key = s->ingest.rabbitmq_key,
                               .name = "coffre-ingest relay"};
    struct err e = {0};

    flush_fronts(r); /* connecting may take seconds: they know first */
    r->broker = broker_open(&o, &e);
    if (r->broker == NULL || !broker_confirms(r->broker, CHANNEL_ID, &e)) {
        lost(r, &e);
        return;
    }
    r->counts.reconnects++;
    r->backoff_ms = RECONNECT_MIN_MS;
    /* One pack shows whether this broker really takes any, before all that is held is sent to it once more. */
    r->packing.window = 1;
    set_up(r, true, "");
}

static void confirmed(struct relay *r, const struct broker_event *ev)
{
    struct packing_pack *pack;

    while ((pack = packing_find(&r->packing, ev->tag, ev->multiple)) != NULL) {
        if (!ev->positive) {
            r->counts.full++;
            r->full_until = now_ms() + FULL_RETRY_MS;
            set_up(r, false, "the queue is full");
            r->packing.window = 1; /* what follows it stays behind it, until the queue takes packs again */
            packing_again(&r->packing, pack, r->full_until);
            continue;
        }
        if (pack->returned) {
            log_error("deposit-unroutable", "%u deposits refused: RabbitMQ has no queue for them", pack->deposits);
            r->counts.refused += pack->deposits;
            tell_ranges(r, pack, "the vault's queue does not exist");
        } else {
            r->counts.confirmed += pack->deposits;
            if (now_ms() >= r->full_until)
                r->packing.window = r->window;
            tell_ranges(r, pack, NULL);
            gather_confirmed(&r->gather, now_us(), now_us() - pack->sent_at, pack->groups, packing_gathered(&r->packing));
            if (!r->up && now_ms() >= r->full_until && !broker_blocked(r->broker, NULL))
                set_up(r, true, "");
        }
        packing_remove(&r->packing, pack);
    }
}

static bool handle_broker(struct relay *r, const struct broker_event *ev, struct err *e)
{
    struct packing_pack *pack;
    char why[300];

    switch (ev->kind) {
    case BROKER_CONFIRM:
        confirmed(r, ev);
        return true;
    case BROKER_RETURN:
        pack = packing_find(&r->packing, ev->tag, false);
        if (pack != NULL)
            pack->returned = true;
        return true;
    case BROKER_BLOCKED:
        snprintf(why, sizeof why, "RabbitMQ is blocked: %s", ev->text);
        set_up(r, false, why);
        return true;
    case BROKER_UNBLOCKED:
        set_up(r, true, "");
        return true;
    case BROKER_CHANNEL_CLOSED:
        return err_set(e, ERR_RETRY, "RabbitMQ closed the channel: %s", ev->text);
    case BROKER_NOTHING:
    case BROKER_DELIVERY:
    case BROKER_CANCELLED:
    case BROKER_DONE:
        return true;
    }
    return true;
}

static bool drain_broker(struct relay *r, struct err *e)
{
    struct broker_event ev;

    do {
        if (!broker_poll(r->broker, 0, &ev, e) || !handle_broker(r, &ev, e))
            return false;
    } while (ev.kind != BROKER_NOTHING);
    return true;
}

static bool publish(struct relay *r, struct err *e)
{
    struct packing_pack *pack;

    while ((pack = packing_next(&r->packing, now_ms())) != NULL && broker_can_publish(r->broker, pack->bytes.len)) {
        uint64_t tag;

        if (!broker_publish(r->broker, CHANNEL_ID, r->exchange, "", PACK_CONTENT_TYPE, buf_slice(&pack->bytes), &tag, e))
            return false;
        packing_sent(&r->packing, pack, tag);
        pack->sent_at = now_us();
        r->counts.packs++;
    }
    return true;
}

/* Ends the open pack unless it had better wait for those who were just answered. */
static bool end_pack(struct relay *r, struct err *e)
{
    r->wait_us = packing_may_wait(&r->packing) ? gather_wait(&r->gather, now_us(), packing_gathered(&r->packing)) : 0;
    return r->wait_us != 0 || packing_seal(&r->packing, false, e);
}

static void work_broker(struct relay *r)
{
    struct err e = {0};

    r->wait_us = 0;
    if (r->broker == NULL && now_ms() >= r->reconnect_at)
        connect_broker(r);
    if (r->broker == NULL)
        return;
    /* Confirmations first: they decide whether the open pack waits any longer. */
    if (!drain_broker(r, &e) || !end_pack(r, &e) || !publish(r, &e))
        lost(r, &e);
}

/* ---- role -------------------------------------------------------------------------------- */

static void linked(void *ctx, const char *kind, unsigned index, struct channel *c)
{
    struct relay *r = ctx;
    struct front *f;

    if (strcmp(kind, "front") != 0 || index >= PACKING_FRONTS_MAX) {
        channel_free(c);
        return;
    }
    f = &r->fronts[index];
    channel_free(f->channel);
    *f = (struct front){.channel = c, .generation = ++r->generation};
    tell_broker_state(r, f);
}

static void drain(void *ctx)
{
    ((struct relay *)ctx)->draining = true;
}

static struct pack_writer *open_writer(const struct settings *s, struct err *e)
{
    char *vault = mem_printf("%s/%" PRIu64, s->vault.operator_id, s->vault.number);
    struct pack_writer *w = NULL;
    struct secret key = {0};

    if (secret_read_key(&key, s->ingest.pack_keys.items[0], e))
        w = pack_writer_new(secret_slice(&key), vault, e);
    secret_free(&key);
    free(vault);
    return w;
}

static void reload(void *ctx, const struct settings *fresh)
{
    struct relay *r = ctx;
    struct err e = {0};
    struct pack_writer *w = open_writer(fresh, &e);

    /* The open pack belongs to the writer it was begun with. */
    if (w == NULL || !packing_seal(&r->packing, true, &e)) {
        log_error("reload-refused", "the pack key in force stays: %s", e.text);
        role_reload_refused(r->role, "%s", e.text);
        pack_writer_free(w);
        return;
    }
    pack_writer_free(r->writer);
    r->writer = r->packing.writer = w;
}

static void report(struct relay *r)
{
    char text[1024];

    if (now_ms() < r->metrics_at)
        return;
    r->metrics_at = now_ms() + 1000;
    snprintf(text, sizeof text,
             "coffre_relay_deposits_total %" PRIu64 "\ncoffre_relay_deposit_bytes_total %" PRIu64
             "\ncoffre_relay_packs_total %" PRIu64 "\ncoffre_relay_confirmed_total %" PRIu64
             "\ncoffre_relay_refused_total %" PRIu64 "\ncoffre_relay_queue_full_total %" PRIu64
             "\ncoffre_relay_connections_total %" PRIu64 "\ncoffre_relay_packs_in_flight %u\ncoffre_relay_held_bytes %zu"
             "\ncoffre_relay_broker_up %d\n",
             r->counts.deposits, r->counts.bytes, r->counts.packs, r->counts.confirmed, r->counts.refused, r->counts.full,
             r->counts.reconnects, r->packing.sent, r->packing.held, r->up);
    role_metrics(r->role, text);
}

/* Waits until a front, the broker or the parent has something, or the turn is over. */
static void wait_for_work(struct relay *r)
{
    struct pollfd fds[PACKING_FRONTS_MAX + 2];
    bool has_room = packing_has_room(&r->packing);
    uint64_t timeout = r->draining ? 20 : TURN_MS; /* ms */
    struct timespec limit;
    nfds_t n = 0;

    fds[n++] = (struct pollfd){.fd = role_parent_fd(r->role), .events = POLLIN};
    if (r->broker != NULL)
        fds[n++] = (struct pollfd){.fd = broker_fd(r->broker), .events = POLLIN};
    for (unsigned i = 0; i < PACKING_FRONTS_MAX; i++) {
        const struct channel *c = r->fronts[i].channel;

        if (c == NULL)
            continue;
        fds[n++] = (struct pollfd){.fd = channel_fd(c),
                                   .events = (short)((has_room ? POLLIN : 0) | (channel_queued(c) != 0 ? POLLOUT : 0))};
    }
    /* A socket that was full, or a pack that waits for a full queue, is looked at again soon. */
    if (r->broker != NULL && broker_unread(r->broker))
        timeout = 0;
    else if (r->broker != NULL && packing_next(&r->packing, UINT64_MAX) != NULL)
        timeout = 2;
    timeout *= 1000;
    if (r->wait_us != 0 && r->wait_us < timeout)
        timeout = r->wait_us;
    limit = (struct timespec){(time_t)(timeout / 1000000), (long)(timeout % 1000000) * 1000};
    ppoll(fds, n, &limit, NULL);
}

static bool fronts_left(const struct relay *r)
{
    for (unsigned i = 0; i < PACKING_FRONTS_MAX; i++)
        if (r->fronts[i].channel != NULL)
            return true;
    return false;
}

static int serve(struct relay *r)
{
    while (role_poll(r->role, 0)) {
        for (uint32_t i = 0; i < PACKING_FRONTS_MAX; i++)
            if (r->fronts[i].channel != NULL && !read_front(r, i))
                return 1;
        work_broker(r);
        report(r);
        flush_fronts(r);
        if (r->draining && !fronts_left(r) && r->packing.count == 0)
            return 0;
        wait_for_work(r);
    }
    return 1;
}

int relay_run(struct role *role)
{
    static const struct role_events events = {.linked = linked, .drain = drain, .reload = reload};
    const struct settings *s = role_settings(role);
    struct relay r = {.role = role, .backoff_ms = RECONNECT_MIN_MS, .why = "not connected yet"};
    struct err e = {0};
    int status;

    secret_open_heap();
    r.writer = open_writer(s, &e);
    if (r.writer == NULL)
        return role_unfit(role, &e);
    packing_init(&r.packing, r.writer, (size_t)s->ingest.pack_bytes, (size_t)s->ingest.limits.pending_bytes,
                 (unsigned)s->ingest.pack_window);
    r.window = r.packing.window;
    r.exchange = settings_queue(s, "Event", "In");
    role_on(role, &events, &r);
    status = serve(&r);
    for (unsigned i = 0; i < PACKING_FRONTS_MAX; i++)
        channel_free(r.fronts[i].channel);
    broker_close(r.broker);
    packing_free(&r.packing);
    pack_writer_free(r.writer);
    free(r.exchange);
    return status;
}
