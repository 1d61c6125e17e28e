/*
 * Role announce: tells the sensors which lots are sealed (Archive.<N>.Out), at least once each. What is not told yet waits in table
 * `announcement`, so that neither a broker that is away nor a crash loses one, and sealing never waits for the broker.
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
    DRAIN_MS = 5000,
};
static const char content_type[] = "application/vnd.coffre.archive";

struct notice {
    uint64_t lot, date_ms, first, last;
    uint64_t tag;
    bool confirmed, returned;
};

struct announce {
    struct role *self;
    const struct settings *settings;
    struct database *db;
    struct broker *broker;
    char *exchange;
    struct notice batch[BATCH];
    unsigned count;
    uint64_t announced;
    int64_t retry_at, retry_ms, drain_until;
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

static void drop_broker(struct announce *a)
{
    broker_close(a->broker);
    a->broker = NULL;
}

static bool publish(struct announce *a, struct notice *n, struct err *e)
{
    struct buf body;
    struct wire_writer w;
    bool ok;

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

static unsigned unconfirmed(const struct announce *a)
{
    unsigned left = 0;

    for (unsigned i = 0; i < a->count; i++)
        left += !a->batch[i].confirmed;
    return left;
}

static bool take_event(struct announce *a, const struct broker_event *ev, struct err *e)
{
    if (ev->kind == BROKER_CHANNEL_CLOSED)
        return err_set(e, ERR_RETRY, "RabbitMQ: %s", ev->text);
    if (ev->kind == BROKER_CONFIRM && !ev->positive)
        return err_set(e, ERR_RETRY, "RabbitMQ did not store a notice");
    for (unsigned i = 0; i < a->count; i++) {
        struct notice *n = &a->batch[i];

        if (ev->kind == BROKER_RETURN && n->tag == ev->tag)
            n->returned = true;
        if (ev->kind == BROKER_CONFIRM && (n->tag == ev->tag || (ev->multiple && n->tag <= ev->tag)))
            n->confirmed = true;
    }
    return true;
}

static bool wait_confirms(struct announce *a, struct err *e)
{
    int64_t until = monotonic_ms() + CONFIRM_MS;

    while (unconfirmed(a) > 0) {
        struct broker_event ev;

        if (!broker_poll(a->broker, 200, &ev, e) || !take_event(a, &ev, e))
            return false;
        if (monotonic_ms() > until || !role_poll(a->self, 0))
            return err_set(e, ERR_RETRY, "RabbitMQ does not confirm");
    }
    return true;
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

static bool take_batch(struct announce *a, struct err *e)
{
    PGresult *r = database_query(a->db,
                                 "SELECT a.lot, l.sealed_at, l.first_serial, l.last_serial FROM announcement a "
                                 "JOIN lot l ON l.lot = a.lot WHERE a.announced_at IS NULL ORDER BY a.lot LIMIT 100 "
                                 "FOR UPDATE OF a SKIP LOCKED",
                                 NULL, 0, e);

    if (r == NULL)
        return false;
    a->count = (unsigned)PQntuples(r) < BATCH ? (unsigned)PQntuples(r) : BATCH;
    for (unsigned i = 0; i < a->count; i++)
        a->batch[i] = (struct notice){
            .lot = (uint64_t)database_get_i64(r, (int)i, 0),
            .date_ms = database_get_time(r, (int)i, 1),
            .first = (uint64_t)database_get_i64(r, (int)i, 2),
            .last = (uint64_t)database_get_i64(r, (int)i, 3),
        };
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
        const struct database_value lot = database_i64((int64_t)a->batch[i].lot);

        if (told(&a->batch[i]) &&
            !database_change(a->db, "UPDATE announcement SET announced_at = clock_timestamp() WHERE lot = $1", &lot, 1, NULL, e))
            return false;
    }
    return database_run(a->db, "COMMIT", e);
}

/* One batch: *more when there may be another right now. */
static bool announce_batch(struct announce *a, bool *more, struct err *e)
{
    bool returned = false;

    *more = false;
    if (!database_run(a->db, "BEGIN", e) || !take_batch(a, e))
        return false;
    if (a->count == 0)
        return database_run(a->db, "ROLLBACK", e);
    if (!connect_broker(a, e))
        return false;
    for (unsigned i = 0; i < a->count; i++)
        if (!publish(a, &a->batch[i], e))
            return false;
    if (!wait_confirms(a, e) || !mark(a, e))
        return false;
    for (unsigned i = 0; i < a->count; i++) {
        a->announced += told(&a->batch[i]);
        returned = returned || !told(&a->batch[i]);
    }
    *more = a->count == BATCH && !returned;
    return !returned || err_set(e, ERR_RETRY, "%s leads to no queue: notices are kept", a->exchange);
}

/* ---- life ---------------------------------------------------------------------------------- */

static void failed(struct announce *a, const struct err *why)
{
    log_warning("announce-waits", "archive notices wait: %s", why->text);
    role_ready(a->self, false, "%s", why->text);
    drop_broker(a);
    if (a->db != NULL && (!database_alive(a->db) || !database_run(a->db, "ROLLBACK", NULL))) {
        database_close(a->db);
        a->db = NULL;
    }
    a->retry_ms = a->retry_ms == 0 ? RETRY_MIN_MS : a->retry_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : a->retry_ms * 2;
    a->retry_at = monotonic_ms() + a->retry_ms;
}

static bool turn(struct announce *a, bool *more, struct err *e)
{
    struct broker_event ev;
    char metrics[100];

    if (!connect_store(a, e) || !connect_broker(a, e) || !announce_batch(a, more, e))
        return false;
    /* Heart-beats. */
    do
        if (!broker_poll(a->broker, 0, &ev, e))
            return false;
    while (ev.kind != BROKER_NOTHING);
    a->retry_ms = 0;
    role_ready(a->self, true, "announces on %s", a->exchange);
    snprintf(metrics, sizeof metrics, "coffre_lots_announced_total %llu\n", (unsigned long long)a->announced);
    role_metrics(a->self, metrics);
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
