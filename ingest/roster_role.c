/*
 * Role `roster`: tells fronts who may do what, from table role, and identity whose revocation is not asked, from the overrides in force. Holds a read-only
 * database role and no key. Keeps the last of both through outages of PostgreSQL, and in a file through restarts, so that intake goes on without the store.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/identity/overrides.h"
#include "common/system/database.h"
#include "common/system/role.h"
#include "common/system/roster.h"
#include "common/values/log.h"
#include "ingest/roles.h"
#include "ingest/roster_file.h"

enum { FRONTS_MAX = ROLE_INSTANCES_MAX, POLL_MS = 1000 };

struct rosters {
    struct role *role;
    struct database *database; /* NULL: away */
    struct roster *current;    /* NULL: none known yet */
    struct buf overrides;      /* in force: the body of IDENTITY_OVERRIDES */
    bool knows_overrides;
    struct channel *fronts[FRONTS_MAX], *identity;
    char *path;
    bool drained, stale;
    bool unkept; /* the file does not say what is in force */
    uint64_t changes, failures;
};

/* ---- telling --------------------------------------------------------------------------------------------------------------- */

static void tell(struct rosters *r, unsigned index)
{
    struct err e = {0};
    struct channel *c = r->fronts[index];

    if (c == NULL || r->current == NULL)
        return;
    if (channel_send(c, ROSTER_MESSAGE, roster_body(r->current), &e) && channel_flush(c, &e))
        return;
    log_warning("channel-bad", "front %u: %s", index, e.text);
    channel_free(c);
    r->fronts[index] = NULL;
}

static void tell_identity(struct rosters *r)
{
    struct err e = {0};

    if (r->identity == NULL || !r->knows_overrides || overrides_send(r->identity, &r->overrides, &e))
        return;
    log_warning("channel-bad", "identity: %s", e.text);
    channel_free(r->identity);
    r->identity = NULL;
}

static void say_ready(struct rosters *r)
{
    if (r->current == NULL)
        role_ready(r->role, false, "no role bindings known yet");
    else
        role_ready(r->role, true, "%u bindings%s", roster_count(r->current), r->stale ? ", PostgreSQL is away" : "");
}

/* Until it is done: a file left as it was would give back, after a restart without the store, what has been revoked. */
static void keep(struct rosters *r)
{
    bool before = r->unkept;
    struct err e = {0};

    if (r->current == NULL)
        return;
    r->unkept = !roster_file_write(r->path, r->current, &r->overrides, &e);
    if (r->unkept && !before)
        log_warning("roster-unwritten", "%s", e.text);
    if (before && !r->unkept)
        log_info("roster-written", "the file says again what is in force");
}

/* Takes a roster over; the fronts hear of it when it differs. True: it does. */
static bool adopt(struct rosters *r, struct roster *fresh)
{
    bool changed = r->current == NULL || !slice_equal(roster_body(fresh), roster_body(r->current));

    if (!changed) {
        roster_free(fresh);
        return false;
    }
    roster_free(r->current);
    r->current = fresh;
    r->changes++;
    log_info("roster", "%u role bindings in force", roster_count(fresh));
    for (unsigned i = 0; i < FRONTS_MAX; i++)
        tell(r, i);
    return true;
}

/* The same for overrides: without those that are over, whatever the store says or however long it is away. `fresh` is taken over. */
static bool adopt_overrides(struct rosters *r, struct buf *fresh)
{
    struct timespec t;
    struct err e = {0};
    bool changed;

    clock_gettime(CLOCK_REALTIME, &t);
    if (!overrides_prune(fresh, (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000, &e))
        log_warning("overrides-unknown", "none is believed: %s", e.text);
    changed = !r->knows_overrides || !slice_equal(buf_slice(fresh), buf_slice(&r->overrides));
    buf_free(&r->overrides);
    r->overrides = *fresh;
    r->knows_overrides = true;
    if (changed)
        tell_identity(r);
    return changed;
}

static void copy_overrides(const struct rosters *r, struct buf *copy)
{
    struct err e = {0};

    buf_init(copy, OVERRIDES_BODY_MAX);
    if (!buf_add_slice(copy, buf_slice(&r->overrides), &e))
        log_warning("overrides-unknown", "none is believed: %s", e.text);
}

/* ---- PostgreSQL ------------------------------------------------------------------------------------------------------------ */

/* NULL: PostgreSQL is away, `e` says why. `overrides` is filled beside. */
static struct roster *load(struct rosters *r, struct buf *overrides, struct err *e)
{
    const struct settings *s = role_settings(r->role);
    struct database_options o = {.settings = s, .extra = s->ingest.postgresql, .user = "coffre_roster", .statement_timeout = 5000};
    struct roster *fresh = NULL;

    if (r->database == NULL)
        r->database = database_open(&o, e);
    if (r->database != NULL && overrides_load(r->database, overrides, e))
        fresh = roster_load(r->database, e);
    if (fresh == NULL) {
        database_close(r->database);
        r->database = NULL;
        r->failures++;
    }
    return fresh;
}

/* False: this database is another vault's, or not one to work with. */
static bool refresh(struct rosters *r, struct err *e)
{
    struct buf overrides;
    struct roster *fresh;
    bool changed = false;

    buf_init(&overrides, OVERRIDES_BODY_MAX);
    fresh = load(r, &overrides, e);
    if (fresh == NULL) {
        buf_free(&overrides);
        if (e->code == ERR_FOREIGN || e->code == ERR_INPUT)
            return false;
        if (!r->stale || r->current == NULL)
            log_warning("roster-stale", "the last known role bindings stay: %s", e->text);
        r->stale = true;
        if (r->knows_overrides) { /* their ends come without the store too */
            copy_overrides(r, &overrides);
            changed = adopt_overrides(r, &overrides);
        }
    } else {
        if (r->stale)
            log_info("roster-fresh", "PostgreSQL answers again");
        r->stale = false;
        changed = adopt(r, fresh);
        changed = adopt_overrides(r, &overrides) || changed;
    }
    if (changed || r->unkept)
        keep(r);
    say_ready(r);
    return true;
}

/* ---- role ------------------------------------------------------------------------------------------------------------------ */

static void linked(void *ctx, const char *kind, unsigned index, struct channel *c)
{
    struct rosters *r = ctx;

    if (strcmp(kind, "identity") == 0) {
        channel_free(r->identity);
        r->identity = c;
        tell_identity(r);
        return;
    }
    if (strcmp(kind, "front") != 0 || index >= FRONTS_MAX) {
        channel_free(c);
        return;
    }
    channel_free(r->fronts[index]);
    r->fronts[index] = c;
    tell(r, index);
}

static void drain(void *ctx)
{
    ((struct rosters *)ctx)->drained = true;
}

static uint64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Sends what waits; a sibling has nothing to say here, and one that does is cut. */
static void serve_sibling(struct channel **c)
{
    struct channel_message m;
    struct err e = {0};

    if (*c == NULL || (channel_flush(*c, &e) && channel_receive(*c, &m, &e) == CHANNEL_EMPTY))
        return;
    channel_free(*c);
    *c = NULL;
}

static void watch(struct pollfd *fds, nfds_t *n, const struct channel *c)
{
    if (c != NULL)
        fds[(*n)++] = (struct pollfd){.fd = channel_fd(c), .events = (short)(POLLIN | (channel_queued(c) != 0 ? POLLOUT : 0))};
}

static void wait_until(struct rosters *r, uint64_t due)
{
    struct pollfd fds[FRONTS_MAX + 2] = {{.fd = role_parent_fd(r->role), .events = POLLIN}};
    uint64_t now = now_ms();
    nfds_t n = 1;

    for (unsigned i = 0; i < FRONTS_MAX; i++)
        watch(fds, &n, r->fronts[i]);
    watch(fds, &n, r->identity);
    poll(fds, n, now >= due ? 0 : (int)(due - now));
    for (unsigned i = 0; i < FRONTS_MAX; i++)
        serve_sibling(&r->fronts[i]);
    serve_sibling(&r->identity);
}

static void report(struct rosters *r)
{
    char text[256];

    snprintf(text, sizeof text, "coffre_roster_bindings %u\ncoffre_roster_changes_total %llu\ncoffre_roster_failures_total %llu\n",
             r->current == NULL ? 0 : roster_count(r->current), (unsigned long long)r->changes,
             (unsigned long long)r->failures);
    role_metrics(r->role, text);
}

static int serve(struct rosters *r)
{
    uint64_t due = 0;
    struct err e = {0};

    while (role_poll(r->role, 0)) {
        if (r->drained)
            return 0;
        if (now_ms() >= due) {
            due = now_ms() + POLL_MS;
            if (!refresh(r, &e))
                return role_unfit(r->role, &e);
            err_clear(&e);
            report(r);
        }
        wait_until(r, due);
    }
    return 1;
}

/* What was known before the last restart, until PostgreSQL answers. */
static void recall(struct rosters *r)
{
    struct err e = {0};
    struct buf overrides;
    struct roster *kept;

    buf_init(&overrides, OVERRIDES_BODY_MAX);
    kept = roster_file_read(r->path, &overrides, &e);
    if (kept == NULL) {
        log_debug("roster-none", "no role bindings from before: %s", e.text);
        buf_free(&overrides);
        return;
    }
    adopt(r, kept);
    adopt_overrides(r, &overrides);
}

int roster_run(struct role *self)
{
    static const struct role_events events = {.linked = linked, .drain = drain};
    struct rosters r = {.role = self};
    int status;

    /* In a folder of its own: this role may write nowhere else. */
    r.path = mem_printf("%s/bindings/roster", role_settings(self)->state_dir);
    role_on(self, &events, &r);
    recall(&r);
    status = serve(&r);
    for (unsigned i = 0; i < FRONTS_MAX; i++)
        channel_free(r.fronts[i]);
    channel_free(r.identity);
    database_close(r.database);
    roster_free(r.current);
    buf_free(&r.overrides);
    free(r.path);
    return status;
}
