/*
 * Role `roster`: tells fronts who may do what, from table role. Holds a read-only database role and no key. Keeps the last
 * bindings through outages of PostgreSQL, and in a file through restarts, so that intake goes on without the store.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/system/database.h"
#include "common/system/role.h"
#include "common/system/roster.h"
#include "common/values/log.h"
#include "ingest/roles.h"

enum { FRONTS_MAX = ROLE_INSTANCES_MAX, POLL_MS = 1000 };

struct rosters {
    struct role *role;
    struct database *database; /* NULL: away */
    struct roster *current;    /* NULL: none known yet */
    struct channel *fronts[FRONTS_MAX];
    char *path;
    bool drained, stale;
    uint64_t changes, failures;
};

/* ---- the file -------------------------------------------------------------------------------------------------------------- */

static struct roster *read_file(const char *path, struct err *e)
{
    FILE *in = fopen(path, "re");
    struct roster *r = NULL;
    struct buf b;
    size_t n = 1;

    if (in == NULL) {
        err_set_errno(e, ERR_RETRY, "%s", path);
        return NULL;
    }
    buf_init(&b, ROSTER_BYTES_MAX);
    while (n != 0) {
        uint8_t *at = buf_reserve(&b, 4096, e);

        if (at == NULL)
            break;
        n = fread(at, 1, 4096, in);
        buf_commit(&b, n);
    }
    if (n == 0 && ferror(in) == 0)
        r = roster_decode(buf_slice(&b), e);
    fclose(in);
    buf_free(&b);
    return r;
}

/* Whole or not at all, whatever happens meanwhile. */
static bool write_file(const char *path, struct slice body, struct err *e)
{
    char *fresh = mem_printf("%s.new", path);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool ok = fd >= 0;

    while (ok && body.len != 0) {
        ssize_t n = write(fd, body.at, body.len);

        if (n < 0 && errno == EINTR)
            continue;
        ok = n > 0;
        body = slice_of(body.at + (ok ? n : 0), body.len - (ok ? (size_t)n : 0));
    }
    ok = ok && fdatasync(fd) == 0;
    if (fd >= 0)
        ok = close(fd) == 0 && ok;
    ok = ok && rename(fresh, path) == 0;
    if (!ok)
        err_set_errno(e, ERR_RETRY, "%s cannot be written", path);
    free(fresh);
    return ok;
}

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

static void say_ready(struct rosters *r)
{
    if (r->current == NULL)
        role_ready(r->role, false, "no role bindings known yet");
    else
        role_ready(r->role, true, "%u bindings%s", roster_count(r->current), r->stale ? ", PostgreSQL is away" : "");
}

/* Takes a roster over; fronts and the file hear of it when it differs. */
static void adopt(struct rosters *r, struct roster *fresh, bool keep)
{
    struct err e = {0};
    bool changed = r->current == NULL || !slice_equal(roster_body(fresh), roster_body(r->current));

    if (!changed) {
        roster_free(fresh);
        return;
    }
    roster_free(r->current);
    r->current = fresh;
    r->changes++;
    log_info("roster", "%u role bindings in force", roster_count(fresh));
    for (unsigned i = 0; i < FRONTS_MAX; i++)
        tell(r, i);
    if (keep && !write_file(r->path, roster_body(fresh), &e))
        log_warning("roster-unwritten", "%s", e.text);
}

/* ---- PostgreSQL ------------------------------------------------------------------------------------------------------------ */

/* False: this is another vault's database, the daemon must not run so. */
static bool refresh(struct rosters *r)
{
    const struct settings *s = role_settings(r->role);
    struct database_options o = {.settings = s, .extra = s->ingest.postgresql, .user = "coffre_roster", .statement_timeout = 5000};
    struct err e = {0};
    struct roster *fresh = NULL;

    if (r->database == NULL)
        r->database = database_open(&o, &e);
    if (r->database != NULL)
        fresh = roster_load(r->database, &e);
    if (fresh == NULL) {
        database_close(r->database);
        r->database = NULL;
        r->failures++;
        if (e.code == ERR_INPUT) {
            log_error("database-foreign", "%s", e.text);
            return false;
        }
        if (!r->stale || r->current == NULL)
            log_warning("roster-stale", "the last known role bindings stay: %s", e.text);
        r->stale = true;
    } else {
        if (r->stale)
            log_info("roster-fresh", "PostgreSQL answers again");
        r->stale = false;
        adopt(r, fresh, true);
    }
    say_ready(r);
    return true;
}

/* ---- role ------------------------------------------------------------------------------------------------------------------ */

static void linked(void *ctx, const char *kind, unsigned index, struct channel *c)
{
    struct rosters *r = ctx;

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

/* Sends what waits; a front has nothing to say here, and one that does is cut. */
static void serve_front(struct rosters *r, unsigned i)
{
    struct channel_message m;
    struct err e = {0};

    if (channel_flush(r->fronts[i], &e) && channel_receive(r->fronts[i], &m, &e) == CHANNEL_EMPTY)
        return;
    channel_free(r->fronts[i]);
    r->fronts[i] = NULL;
}

static void wait_until(struct rosters *r, uint64_t due)
{
    struct pollfd fds[FRONTS_MAX + 1] = {{.fd = role_parent_fd(r->role), .events = POLLIN}};
    uint64_t now = now_ms();
    nfds_t n = 1;

    for (unsigned i = 0; i < FRONTS_MAX; i++)
        if (r->fronts[i] != NULL)
            fds[n++] = (struct pollfd){.fd = channel_fd(r->fronts[i]),
                                       .events = (short)(POLLIN | (channel_queued(r->fronts[i]) != 0 ? POLLOUT : 0))};
    poll(fds, n, now >= due ? 0 : (int)(due - now));
    for (unsigned i = 0; i < FRONTS_MAX; i++)
        if (r->fronts[i] != NULL)
            serve_front(r, i);
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

    while (role_poll(r->role, 0)) {
        if (r->drained)
            return 0;
        if (now_ms() >= due) {
            due = now_ms() + POLL_MS;
            if (!refresh(r))
                return ROLE_EXIT_CONFIG;
            report(r);
        }
        wait_until(r, due);
    }
    return 1;
}

int roster_run(struct role *self)
{
    static const struct role_events events = {.linked = linked, .drain = drain};
    struct rosters r = {.role = self};
    struct err e = {0};
    struct roster *kept;
    int status;

    /* In a folder of its own: this role may write nowhere else. */
    r.path = mem_printf("%s/bindings/roster", role_settings(self)->state_dir);
    role_on(self, &events, &r);
    kept = read_file(r.path, &e);
    if (kept != NULL)
        adopt(&r, kept, false);
    else
        log_debug("roster-none", "no role bindings from before: %s", e.text);
    status = serve(&r);
    for (unsigned i = 0; i < FRONTS_MAX; i++)
        channel_free(r.fronts[i]);
    database_close(r.database);
    roster_free(r.current);
    free(r.path);
    return status;
}
