/*
 * Role announce: tells the sensors which lots are sealed (Archive.<N>.Out), at least once each. What is not told yet waits in table
 * `announcement`, so that neither a broker that is away nor a crash loses one, and sealing never waits for the broker. What RabbitMQ has taken and not confirmed
 * (one of many queues without a leader is enough) is waited for and not told again: the other queues have it.
 */
#include <poll.h>
#include <stdlib.h>
#include <time.h>

#include "common/system/broker.h"
#include "common/system/database.h"
#include "common/values/log.h"
#include "common/values/wire.h"
#include "sealer/roles.h"

enum {
    BATCH = 100, CHANNEL = 1, CONFIRM_MS = 10000, TURN_MS = 1000, RETRY_MIN_MS = 1000, RETRY_MAX_MS = 30000,
    DRAIN_MS = 5000, TELL_MS = 60000,
    WAITING_MAX = 1000,         /* notices without confirmation: then no more are sent */
    WAITING_MS = 60 * 60 * 1000, /* after which they are sent again, in case it is the confirmation that was lost */
    AGAIN_MIN_MS = 60 * 1000, AGAIN_MAX_MS = 10 * 60 * 1000,
};
static const char content_type[] = "application/vnd.coffre.archive";

struct notice {
    uint64_t lot, date_ms, first, last;
    uint64_t tag; /* on this connection; 0: refused */
    int64_t sent_at;
    bool confirmed, returned, again; /* again: it was refused before */
};

struct announce {
    struct role *self;
    const struct settings *settings;
    struct database *db;
    struct broker *broker;
    char *exchange;
    struct notice sent[WAITING_MAX + BATCH]; /* by this connection; oldest first */
    unsigned waiting, count;                 /* of them: those of earlier batches, all */
    uint64_t announced;
    int64_t retry_at, retry_ms, drain_until, told_at;
    int64_t again_at, again_ms; /* when one that was refused is tried */
    bool mended;                /* one that was refused is confirmed */
    bool draining;
    int exit_status;
    bool leave;
};

static int64_t monotonic_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- the broker ---------------------------------------------------------------------------- */

static bool connect_broker(struct announce *a, struct err *e)
{
    const struct broker_options o = {a->settings, a->settings->sealer.rabbitmq_certificate, a->settings->sealer.rabbitmq_key,
                                     "coffre-sealer announce"};

    if (a->broker != NULL)
        return true;
    a->broker = broker_open(&o, e);
    return a->broker != NULL && broker_confirms(a->broker, CHANNEL, e);
}

/* What it had not confirmed is sent again. */
static void drop_broker(struct announce *a)
{
    broker_close(a->broker);
    a->broker = NULL;
    a->waiting = a->count = 0;
    a->again_at = a->again_ms = 0;
    a->mended = false;
}

static bool publish(struct announce *a, struct notice *n, struct err *e)
{
    struct buf body;
    struct wire_writer w;
    bool ok;

    if (n->sent_at == 0)
        n->sent_at = monotonic_ms();
    buf_init(&body, 64);
    w = wire_write(&body);
    wire_put_u64(&w, n->lot);
    wire_put_u64(&w, n->date_ms);
    wire_put_u64(&w, n->first);
    wire_put_u64(&w, n->last);
    ok = wire_ok(&w, "notice", e) &&
         broker_publish(a->broker, CHANNEL, a->exchange, "", content_type, buf_slice(&body), &n->tag, e);
    buf_free(&body);
    return ok;
}

static bool all_confirmed(const struct announce *a, unsigned from)
{
    while (from < a->count && (a->sent[from].confirmed || a->sent[from].tag == 0))
        from++;
    return from == a->count;
}

static bool take_event(struct announce *a, const struct broker_event *ev, struct err *e)
{
    if (ev->kind == BROKER_CHANNEL_CLOSED)
        return err_set(e, ERR_RETRY, "RabbitMQ: %s", ev->text);
    for (unsigned i = 0; i < a->count; i++) {
        struct notice *n = &a->sent[i];

        if (ev->kind == BROKER_RETURN && n->tag == ev->tag)
            n->returned = true;
        if (ev->kind != BROKER_CONFIRM || n->tag == 0 || n->confirmed || (n->tag != ev->tag && (!ev->multiple || n->tag > ev->tag)))
            continue;
        n->confirmed = ev->positive;
        a->mended = a->mended || (n->confirmed && n->again);
        if (!n->confirmed)
            n->tag = 0;
    }
    return true;
}

/* Of those not sent in earlier batches; true, too, when they do not come in time. */
static bool wait_confirms(struct announce *a, struct err *e)
{
    int64_t until = monotonic_ms() + CONFIRM_MS;

    while (!all_confirmed(a, a->waiting) && monotonic_ms() < until && !(a->draining && monotonic_ms() >= a->drain_until)) {
        struct broker_event ev;

        if (!broker_poll(a->broker, 200, &ev, e) || !take_event(a, &ev, e))
            return false;
        if (!role_poll(a->self, 0))
            return err_set(e, ERR_RETRY, "coffre-sealer is gone");
    }
    return true;
}

/* Heart-beats; and what is confirmed late. */
static bool take_events(struct announce *a, struct err *e)
{
    struct broker_event ev;

    do
        if (!broker_poll(a->broker, 0, &ev, e) || !take_event(a, &ev, e))
            return false;
    while (ev.kind != BROKER_NOTHING);
    return true;
}

/* A minute after it was left without a leader a queue refuses, and the others have what it refused. So one notice tries, now and then, and when that is confirmed the others follow. */
static bool send_again(struct announce *a, struct err *e)
{
    int64_t now = monotonic_ms();
    bool all = a->mended, some = false;

    if (a->again_ms == 0)
        a->again_ms = AGAIN_MIN_MS;
    for (unsigned i = 0; i < a->waiting; i++) {
        struct notice *n = &a->sent[i];

        if (n->tag != 0)
            continue;
        some = true;
        if (a->again_at == 0)
            a->again_at = now + a->again_ms;
        if (!all && now < a->again_at)
            break;
        n->again = true;
        if (!publish(a, n, e))
            return false;
        if (all)
            continue;
        a->again_ms = a->again_ms * 2 > AGAIN_MAX_MS ? AGAIN_MAX_MS : a->again_ms * 2;
        a->again_at = now + a->again_ms;
        break;
    }
    a->mended = false;
    if (!some && a->waiting == 0)
        a->again_at = a->again_ms = 0;
    return true;
}

static bool send_new(struct announce *a, struct err *e)
{
    for (unsigned i = a->waiting; i < a->count; i++)
        if (!publish(a, &a->sent[i], e))
            return false;
    return wait_confirms(a, e);
}

/* ---- the store ----------------------------------------------------------------------------- */

static bool connect_store(struct announce *a, struct err *e)
{
    const struct database_options o = {.settings = a->settings, .extra = a->settings->sealer.postgresql, .user = "coffre_sealer"};

    if (a->db != NULL)
        return true;
    a->db = database_open(&o, e);
    /* Rows that a stopped announcer holds are free again after this. */
    return a->db != NULL && database_run(a->db, "SET idle_in_transaction_session_timeout = '60s'; LISTEN lot_sealed", e);
}

static bool is_waiting(const struct announce *a, uint64_t lot)
{
    for (unsigned i = 0; i < a->waiting; i++)
        if (a->sent[i].lot == lot)
            return true;
    return false;
}

/* Behind those that wait. */
static bool take_batch(struct announce *a, struct err *e)
{
    const struct database_value most = database_i64(BATCH + (int64_t)a->waiting);
    PGresult *r = database_query(a->db,
                                 "SELECT a.lot, l.sealed_at, l.first_serial, l.last_serial FROM announcement a "
                                 "JOIN lot l ON l.lot = a.lot WHERE a.announced_at IS NULL ORDER BY a.lot LIMIT $1 "
                                 "FOR UPDATE OF a SKIP LOCKED",
                                 &most, 1, e);

    if (r == NULL)
        return false;
    for (int i = 0; i < PQntuples(r) && a->count < a->waiting + BATCH; i++) {
        uint64_t lot = (uint64_t)database_get_i64(r, i, 0);

        if (!is_waiting(a, lot))
            a->sent[a->count++] = (struct notice){
                .lot = lot,
                .date_ms = database_get_time(r, i, 1),
                .first = (uint64_t)database_get_i64(r, i, 2),
                .last = (uint64_t)database_get_i64(r, i, 3),
            };
    }
    PQclear(r);
    return true;
}

/* An empty lot that no queue took concerns nobody; another is kept until the depositors' queues are there. */
static bool told(const struct notice *n)
{
    return n->confirmed && (!n->returned || n->last < n->first);
}

static bool mark(struct announce *a, struct err *e)
{
    for (unsigned i = 0; i < a->count; i++) {
        const struct database_value lot = database_i64((int64_t)a->sent[i].lot);

        if (told(&a->sent[i]) &&
            !database_change(a->db, "UPDATE announcement SET announced_at = clock_timestamp() WHERE lot = $1", &lot, 1, NULL, e))
            return false;
    }
    return database_run(a->db, "COMMIT", e);
}

/* Those that are confirmed leave; true: some of them led to no queue. */
static bool forget_confirmed(struct announce *a)
{
    unsigned kept = 0;
    bool returned = false;

    for (unsigned i = 0; i < a->count; i++) {
        a->announced += told(&a->sent[i]);
        returned = returned || (a->sent[i].confirmed && !told(&a->sent[i]));
        if (!a->sent[i].confirmed)
            a->sent[kept++] = a->sent[i];
    }
    a->waiting = a->count = kept;
    return returned;
}

/* One batch: *more when there may be another right now. */
static bool announce_batch(struct announce *a, bool *more, struct err *e)
{
    bool returned, full;

    *more = false;
    if (!database_run(a->db, "BEGIN", e) || (a->waiting < WAITING_MAX && !take_batch(a, e)))
        return false;
    full = a->count - a->waiting == BATCH;
    if (!send_again(a, e) || !send_new(a, e)) {
        drop_broker(a);
        return false;
    }
    if (!mark(a, e))
        return false;
    returned = forget_confirmed(a);
    *more = full && !returned && a->waiting == 0;
    return !returned || err_set(e, ERR_RETRY, "%s leads to no queue: notices are kept", a->exchange);
}

/* ---- life ---------------------------------------------------------------------------------- */

static void failed(struct announce *a, const struct err *why)
{
    log_warning("announce-waits", "archive notices wait: %s", why->text);
    role_ready(a->self, false, "%s", why->text);
    /* What is sent and not marked is waited for: nobody is told again because the store is away. */
    a->waiting = a->count;
    if (a->db != NULL && (!database_alive(a->db) || !database_run(a->db, "ROLLBACK", NULL))) {
        database_close(a->db);
        a->db = NULL;
    }
    a->retry_ms = a->retry_ms == 0 ? RETRY_MIN_MS : a->retry_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : a->retry_ms * 2;
    a->retry_at = monotonic_ms() + a->retry_ms;
}

static void tell_state(struct announce *a)
{
    int64_t now = monotonic_ms();
    char metrics[100];

    snprintf(metrics, sizeof metrics, "coffre_lots_announced_total %llu\n", (unsigned long long)a->announced);
    role_metrics(a->self, metrics);
    if (a->waiting == 0) {
        a->told_at = 0;
        role_ready(a->self, true, "announces on %s", a->exchange);
        return;
    }
    role_ready(a->self, false, "RabbitMQ has not confirmed %u notices, the first for %lld s; a depositor's queue of notices has perhaps no leader%s", a->waiting,
               (long long)(now - a->sent[0].sent_at) / 1000, a->waiting < WAITING_MAX ? "" : "; no more are sent");
    if (a->told_at == 0 || now - a->told_at > TELL_MS) {
        log_error("notices-unconfirmed", "%s: %u notices are not confirmed, from lot %llu on: RabbitMQ has perhaps no leader for a queue bound to it", a->exchange, a->waiting,
                  (unsigned long long)a->sent[0].lot);
        a->told_at = now;
    }
}

static bool turn(struct announce *a, bool *more, struct err *e)
{
    if (!connect_store(a, e) || !connect_broker(a, e) || !announce_batch(a, more, e))
        return false;
    if (!take_events(a, e) || (a->waiting != 0 && monotonic_ms() - a->sent[0].sent_at > WAITING_MS && !err_set(e, ERR_RETRY, "RabbitMQ does not confirm"))) {
        drop_broker(a);
        return false;
    }
    a->retry_ms = 0;
    tell_state(a);
    return true;
}

static void rest(struct announce *a)
{
    struct pollfd fds[2] = {{role_parent_fd(a->self), POLLIN, 0}, {a->db == NULL ? -1 : database_fd(a->db), POLLIN, 0}};
    PGnotify *n;

    poll(fds, 2, TURN_MS);
    if (a->db == NULL)
        return;
    PQconsumeInput(database_connection(a->db));
    while ((n = PQnotifies(database_connection(a->db))) != NULL)
        PQfreemem(n);
}

static void drain(void *ctx)
{
    struct announce *a = ctx;

    a->draining = true;
    a->drain_until = monotonic_ms() + DRAIN_MS;
}

static void loop(struct announce *a)
{
    while (role_poll(a->self, 0) && !a->leave) {
        struct err e = {0};
        bool more = false, ok = true;

        if (monotonic_ms() >= a->retry_at && !(ok = turn(a, &more, &e))) {
            if (a->db == NULL && (e.code == ERR_INPUT || e.code == ERR_FOREIGN)) {
                a->exit_status = role_unfit(a->self, &e);
                return;
            }
            failed(a, &e);
        }
        if (a->draining && (!more || !ok || monotonic_ms() >= a->drain_until))
            return; /* what is not told yet is told by the next start */
        if (!more)
            rest(a);
    }
}

int announce_run(struct role *self)
{
    static const struct role_events events = {.drain = drain};
    static struct announce a;

    a = (struct announce){.self = self, .settings = role_settings(self)};
    a.exchange = settings_queue(a.settings, "Archive", "Out");
    role_on(self, &events, &a);
    loop(&a);
    drop_broker(&a);
    if (a.db != NULL)
        database_close(a.db);
    free(a.exchange);
    return a.exit_status;
}
