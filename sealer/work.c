/*
 * Role work: finds out when lots close, has them sealed in order, stores what was verified. One sealer is active, chosen by a lock in
 * PostgreSQL; the others stand by and end the session of an active one that has gone silent. One that cannot sign leaves the vault to
 * one that can. Holds no key.
 */
#include <poll.h>
#include <time.h>

#include "common/values/log.h"
#include "sealer/due.h"
#include "sealer/health.h"
#include "sealer/roles.h"
#include "sealer/sealing.h"

enum {
    TURN_MS = 200,          /* how often the open lot is looked at, when nothing wakes us before */
    STANDBY_MS = 1000,      /* how often a standby tries */
    RETRY_MIN_MS = 500, RETRY_MAX_MS = 10000, /* after a lot could not be sealed */
    RECONNECT_MS = 1000,
    DRAIN_MARGIN_MS = 3000, /* left to the parent's own limit */
    DOUBT_LOG_MS = 60000,   /* the same alarm again */
    UNABLE_MS = 5000,       /* how long a sealer is unable to sign before that changes who is active */
};

struct work {
    struct sealing sealing;
    struct due_limits limits;
    bool poked, draining, last_closed; /* closed for the shutdown: once */
    int64_t drain_until;
    int64_t retry_at, retry_ms; /* no sealing before; its pause */
    char trouble[ERR_TEXT_MAX]; /* why lots wait, "" when they do not */
    int64_t trouble_logged;
    struct store_open_lot open;
    int64_t reported; /* metrics */
    int64_t unable_at; /* since when seal, stamp or the clock would not do, or another sealer that can sign was seen last; 0: able */
    struct sealer_health health;
    int exit_status;
    bool leave;
};

static int64_t monotonic_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool active(const struct work *w)
{
    return w->sealing.store.epoch != 0;
}

/* ---- what the parent says ------------------------------------------------------------------ */

static void linked(void *ctx, const char *kind, unsigned index, struct channel *c)
{
    struct work *w = ctx;

    (void)index;
    if (strcmp(kind, "seal") == 0) {
        sibling_link(&w->sealing.seal, c);
    } else if (strcmp(kind, "stamp") == 0) {
        sibling_link(&w->sealing.stamp, c);
    } else {
        channel_free(c);
        return;
    }
    w->retry_at = 0;
}

static void drain(void *ctx)
{
    struct work *w = ctx;
    uint64_t limit = w->sealing.settings->sealer.drain;

    w->draining = true;
    w->retry_at = 0;
    w->drain_until = monotonic_ms() + (int64_t)(limit > 2 * DRAIN_MARGIN_MS ? limit - DRAIN_MARGIN_MS : limit / 2);
}

static void set_limits(struct work *w, const struct settings *s)
{
    w->limits = (struct due_limits){s->lot.age, s->lot.count, s->lot.bytes, s->lot.idle};
}

static void reload(void *ctx, const struct settings *fresh)
{
    struct work *w = ctx;
    struct err e = {0};

    if (sealing_configure(&w->sealing, fresh, &e)) {
        set_limits(w, fresh);
    } else {
        log_error("reload-refused", "%s", e.text);
        role_reload_refused(w->sealing.self, "%s", e.text);
    }
}

static void poke(void *ctx)
{
    ((struct work *)ctx)->poked = true;
}

/* ---- troubles ------------------------------------------------------------------------------ */

/* Leaves the store: another connection is another session, without lock and epoch. */
static void leave_store(struct work *w, const struct err *why)
{
    if (active(w))
        log_warning("not-active", "this sealer is not the active one any more: %s", why->text);
    store_close(&w->sealing.store);
    role_ready(w->sealing.self, false, "%s", why->text);
}

static void store_failed(struct work *w, const struct err *why)
{
    log_warning("store-away", "%s", why->text);
    leave_store(w, why);
}

static void lots_wait(struct work *w, const struct err *why)
{
    int64_t now = monotonic_ms();
    bool alarm = why->code != ERR_RETRY;

    if (strcmp(w->trouble, why->text) != 0 || now - w->trouble_logged >= DOUBT_LOG_MS) {
        log_write(alarm ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING, alarm ? "seal-doubt" : "seal-retry", NULL,
                  "lots wait for their seal: %s", why->text);
        snprintf(w->trouble, sizeof w->trouble, "%s", why->text);
        w->trouble_logged = now;
    }
    w->retry_ms = w->retry_ms == 0 ? RETRY_MIN_MS : w->retry_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : w->retry_ms * 2;
    w->retry_at = now + w->retry_ms;
}

/* ---- standby ------------------------------------------------------------------------------- */

static bool end_silent(struct work *w, struct err *e)
{
    const uint64_t limit = w->sealing.settings->sealer.takeover;
    int64_t silent;
    int pid;

    if (!store_find_active(&w->sealing.store, &pid, &silent, e))
        return false;
    if (pid == 0 || silent < (int64_t)limit)
        return true;
    log_warning("takeover", "the active sealer (session %d) has said nothing for %lld ms: its session is ended", pid,
                (long long)silent);
    return store_end_session(&w->sealing.store, pid, e);
}

/* This sealer has not been able to sign for a while: *other says whether one can. Asked again after as long. */
static bool find_abler(struct work *w, bool *other, struct err *e)
{
    if (!store_find_able(&w->sealing.store, w->sealing.settings->sealer.takeover, other, e))
        return false;
    if (*other)
        w->unable_at = monotonic_ms();
    return true;
}

/* One that cannot sign is the active one only when there is none that can: lots close, and what is wrong is told, all the same. */
static bool leaves_it(struct work *w, bool *leaves, struct err *e)
{
    bool other;

    *leaves = false;
    if (w->unable_at == 0)
        return true;
    if (!find_abler(w, &other, e))
        return false;
    *leaves = monotonic_ms() - w->unable_at < UNABLE_MS;
    if (*leaves)
        role_ready(w->sealing.self, true, "standby: this sealer cannot sign%s", other ? ", another can" : "");
    return true;
}

static bool stand_by(struct work *w, struct err *e)
{
    bool leaves;

    if (!leaves_it(w, &leaves, e))
        return false;
    if (leaves)
        return end_silent(w, e);
    if (!store_activate(&w->sealing.store, e))
        return false;
    if (active(w)) {
        log_info("active", "this sealer is the active one (epoch %lld)", (long long)w->sealing.store.epoch);
        return true;
    }
    if (w->poked)
        log_warning("not-active", "asked to close the lot, but another sealer is active: ask that one");
    w->poked = false;
    role_ready(w->sealing.self, true, "standby: another sealer is active");
    return end_silent(w, e);
}

/* The active one that cannot sign any more ends its session, and its lock with it, when another can. */
static bool hand_over(struct work *w, struct err *e)
{
    struct err why = {0};
    bool other;

    if (w->unable_at == 0 || w->draining || monotonic_ms() - w->unable_at < UNABLE_MS)
        return true;
    if (!find_abler(w, &other, e))
        return false;
    w->unable_at = monotonic_ms();
    if (other) {
        (void)err_set(&why, ERR_RETRY, "it cannot sign, and another can");
        leave_store(w, &why);
    }
    return true;
}

/* ---- active -------------------------------------------------------------------------------- */

static bool close_when_due(struct work *w, struct err *e)
{
    enum lot_reason reason;
    bool closed;

    if (!store_read_open_lot(&w->sealing.store, &w->open, e))
        return false;
    if (w->poked)
        w->open.asked = true;
    w->poked = false;
    if (w->draining) {
        if (w->last_closed || !w->sealing.settings->sealer.close_at_shutdown || w->open.events == 0)
            return true;
        reason = LOT_SHUTDOWN;
        w->last_closed = true;
    } else if (!due_to_close(&w->open, &w->limits, &reason)) {
        return true;
    }
    if (!store_close_lot(&w->sealing.store, w->open.lot, reason, &closed, e))
        return false;
    if (closed) {
        log_info("lot-closed", "lot %llu, %llu events: %s", (unsigned long long)w->open.lot, (unsigned long long)w->open.events,
                 lot_reason_text(reason));
        w->open.unsealed++;
    }
    return true;
}

static bool write_health(struct work *w, struct err *e)
{
    struct err why = {0};

    sibling_listen(&w->sealing.seal);
    sibling_listen(&w->sealing.stamp);
    if (sealer_health_write(&w->health, &w->sealing.store, &w->sealing.seal, &w->sealing.stamp, &why))
        return true;
    /* Only others are told: a store that lives on is sealed on. */
    log_warning("health-unwritten", "%s", why.text);
    if (database_alive(w->sealing.store.db))
        return true;
    *e = why;
    return false;
}

/* Seals what waits, one after the other. False only when the store is lost or not ours. */
static bool seal_waiting(struct work *w, struct err *e)
{
    bool found = true;

    while (w->open.unsealed > 0 && found && monotonic_ms() >= w->retry_at && role_poll(w->sealing.self, 0)) {
        struct err why = {0};

        if (sealing_next(&w->sealing, &found, &why)) {
            w->open.unsealed -= found ? 1 : 0;
            w->retry_ms = 0;
            w->trouble[0] = '\0';
        } else if (why.code == ERR_FENCED || why.code == ERR_FATAL || !database_alive(w->sealing.store.db)) {
            *e = why;
            return false;
        } else {
            lots_wait(w, &why);
        }
        if (!close_when_due(w, e) || !write_health(w, e))
            return false;
    }
    return true;
}

static bool act(struct work *w, struct err *e)
{
    if (!write_health(w, e) || !close_when_due(w, e) || !seal_waiting(w, e))
        return false;
    if (w->trouble[0] == '\0')
        role_ready(w->sealing.self, true, "active, lot %llu is open", (unsigned long long)w->open.lot);
    else
        role_ready(w->sealing.self, false, "%llu lots wait: %s", (unsigned long long)w->open.unsealed, w->trouble);
    return true;
}

/* ---- life ---------------------------------------------------------------------------------- */

static void report(struct work *w)
{
    int64_t now = monotonic_ms();
    char text[800];

    if (now - w->reported < 1000)
        return;
    w->reported = now;
    snprintf(text, sizeof text,
             "coffre_sealer_active %d\ncoffre_lots_sealed_total %llu\ncoffre_events_sealed_total %llu\n"
             "coffre_lots_unsealed %llu\ncoffre_lot_open_events %llu\ncoffre_lot_open_age_seconds %.3f\n"
             "coffre_seal_duration_seconds %.6f\ncoffre_seal_waits %d\n",
             active(w), (unsigned long long)w->sealing.sealed, (unsigned long long)w->sealing.sealed_events,
             (unsigned long long)w->open.unsealed, (unsigned long long)w->open.events,
             w->open.age_ms < 0 ? 0.0 : (double)w->open.age_ms / 1000, w->sealing.last_seconds, w->trouble[0] != '\0');
    role_metrics(w->sealing.self, text);
}

static bool turn(struct work *w, struct err *e)
{
    if (w->sealing.store.db == NULL && !store_open(&w->sealing.store, w->sealing.settings, e)) {
        w->leave = e->code == ERR_INPUT || e->code == ERR_FOREIGN;
        return false;
    }
    if (!store_tell_able(&w->sealing.store, w->unable_at == 0, e))
        return false;
    if (!(active(w) ? hand_over(w, e) : w->draining || stand_by(w, e)))
        return false;
    return !active(w) || act(w, e);
}

/* Sleeps until something may have happened; notifications have no content, waking is all they do. */
static void rest(struct work *w)
{
    bool connected = w->sealing.store.db != NULL;
    struct pollfd fds[2] = {{role_parent_fd(w->sealing.self), POLLIN, 0},
                            {connected ? database_fd(w->sealing.store.db) : -1, POLLIN, 0}};
    PGnotify *n;

    poll(fds, 2, !connected ? RECONNECT_MS : active(w) ? TURN_MS : STANDBY_MS);
    if (!connected)
        return;
    PQconsumeInput(database_connection(w->sealing.store.db));
    while ((n = PQnotifies(database_connection(w->sealing.store.db))) != NULL)
        PQfreemem(n);
}

/* At shutdown: nothing waits any more, or nothing more can be done about it in time. */
static bool drained(struct work *w)
{
    if (!w->draining)
        return false;
    if (!active(w))
        return true;
    if (w->open.unsealed == 0)
        return true;
    if (w->trouble[0] == '\0' && monotonic_ms() < w->drain_until)
        return false;
    if (monotonic_ms() < w->drain_until && w->retry_ms < RETRY_MAX_MS / 4)
        return false;
    log_warning("drain-incomplete", "%llu closed lots are left for the next start", (unsigned long long)w->open.unsealed);
    return true;
}

/* Siblings are listened to whether or not this sealer is active; one that hangs is started again. */
static void watch_siblings(struct work *w)
{
    struct sibling *both[] = {&w->sealing.seal, &w->sealing.stamp};

    for (unsigned i = 0; i < 2; i++) {
        sibling_listen(both[i]);
        sibling_watch(w->sealing.self, both[i], w->sealing.settings->sealer.deadline);
    }
}

static void judge_ability(struct work *w)
{
    const struct health h = sealer_health_of(&w->sealing.seal, &w->sealing.stamp);

    if (health_ok(&h))
        w->unable_at = 0;
    else if (w->unable_at == 0)
        w->unable_at = monotonic_ms();
}

static void loop(struct work *w)
{
    while (role_poll(w->sealing.self, 0) && !w->leave) {
        struct err e = {0};

        watch_siblings(w);
        judge_ability(w);
        if (!turn(w, &e)) {
            if (w->leave)
                w->exit_status = role_unfit(w->sealing.self, &e);
            else
                store_failed(w, &e);
        }
        if (w->leave)
            return;
        report(w);
        if (drained(w))
            return;
        rest(w);
    }
}

int work_run(struct role *self)
{
    static const struct role_events events = {.linked = linked, .drain = drain, .reload = reload, .poke = poke};
    static struct work w;
    struct err e = {0};

    w = (struct work){.sealing = {.self = self, .settings = role_settings(self), .seal = {.kind = "seal"}, .stamp = {.kind = "stamp"}}, .unable_at = monotonic_ms()};
    set_limits(&w, w.sealing.settings);
    if (!xades_init(&e) || !sealing_configure(&w.sealing, w.sealing.settings, &e))
        return role_unfit(self, &e);
    role_on(self, &events, &w);
    loop(&w);
    sealing_free(&w.sealing);
    xades_shutdown();
    return w.exit_status;
}
