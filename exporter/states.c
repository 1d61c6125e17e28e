/*
 * Role states of coffre-exporter: reads what the daemons of this host write for monitors, and tells query, which has PostgreSQL and reads no file of theirs. It has neither a database nor a
 * socket. The files are believed to be the daemons', not to be well-formed. See states.h.
 */
#include "exporter/states.h"

#include <poll.h>
#include <time.h>
#include <unistd.h>

#include "common/values/log.h"
#include "exporter/daemons.h"
#include "exporter/roles.h"

enum { TICK_MS = 1000, QUERIES_MAX = 8 };

struct states {
    struct role *role;
    struct channel *queries[QUERIES_MAX]; /* by index; NULL: away */
    bool unread; /* the folder; said */
    bool draining;
};

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- queries ------------------------------------------------------------------------------------------ */

static void linked(void *ctx, const char *kind, unsigned index, struct channel *c)
{
    struct states *s = ctx;

    (void)kind;
    if (index >= QUERIES_MAX) {
        channel_free(c);
        return;
    }
    channel_free(s->queries[index]);
    s->queries[index] = c;
}

static void lose(struct states *s, unsigned index, const char *why)
{
    log_warning("query-lost", "query %u: %s", index, why);
    channel_free(s->queries[index]);
    s->queries[index] = NULL;
    role_relink(s->role, "query", index);
}

/* One that has not taken the last messages yet gets no others: it is told anew in a second. */
static void tell(struct states *s, struct slice metrics, struct slice daemons)
{
    for (unsigned i = 0; i < QUERIES_MAX; i++) {
        struct channel *c = s->queries[i];
        struct err e = {0};

        if (c != NULL && channel_queued(c) == 0 &&
            (!channel_send(c, STATES_METRICS, metrics, &e) || !channel_send(c, STATES_DAEMONS, daemons, &e) || !channel_flush(c, &e)))
            lose(s, i, e.text);
    }
}

/* Queries have nothing to say. */
static void hear(struct states *s)
{
    for (unsigned i = 0; i < QUERIES_MAX; i++) {
        struct channel_message m;
        struct err e = {0};
        enum channel_result r;

        if (s->queries[i] == NULL)
            continue;
        r = channel_receive(s->queries[i], &m, &e);
        if (r == CHANNEL_MESSAGE && m.fd >= 0)
            close(m.fd);
        if (r != CHANNEL_EMPTY)
            lose(s, i, r == CHANNEL_MESSAGE ? "it speaks" : e.text);
        else if (!channel_flush(s->queries[i], &e))
            lose(s, i, e.text);
    }
}

/* ---- loop ------------------------------------------------------------------------------------------- */

static bool read_metrics(const char *path, struct buf *out, struct err *e)
{
    struct states_folder files;
    bool ok = states_read_folder(path, ".prom", METRICS_TEXT_MAX, &files, e);

    if (ok) {
        ok = states_write_metrics(&files, out, e);
        states_free_folder(&files);
    }
    return ok;
}

static bool read_daemons(const char *path, struct buf *out, struct err *e)
{
    struct states_folder files;
    bool ok = states_read_folder(path, ".status", DAEMONS_TEXT_MAX, &files, e);

    if (ok) {
        ok = states_write_daemons(&files, out, e);
        states_free_folder(&files);
    }
    return ok;
}

/* Once a second. What cannot be read is told by silence, and why by this role's own state. */
static void tick(struct states *s)
{
    const char *path = role_settings(s->role)->state_dir;
    struct buf metrics, daemons;
    struct err e = {0};
    bool ok;

    buf_init(&metrics, STATES_METRICS_MAX);
    buf_init(&daemons, STATES_DAEMONS_MAX);
    ok = read_metrics(path, &metrics, &e) && read_daemons(path, &daemons, &e);
    if (ok)
        tell(s, buf_slice(&metrics), buf_slice(&daemons));
    else if (!s->unread)
        log_warning("state-unread", "%s", e.text);
    s->unread = !ok;
    role_ready(s->role, ok, "%s", ok ? "reading what daemons say" : e.text);
    buf_free(&metrics);
    buf_free(&daemons);
}

static void wait_for_work(const struct states *s, int64_t until)
{
    struct pollfd fds[1 + QUERIES_MAX] = {{.fd = role_parent_fd(s->role), .events = POLLIN}};
    int64_t left = until - now_ms();

    for (unsigned i = 0; i < QUERIES_MAX; i++) {
        const struct channel *c = s->queries[i];

        fds[1 + i] = (struct pollfd){.fd = c == NULL ? -1 : channel_fd(c), .events = (short)(POLLIN | (c != NULL && channel_queued(c) != 0 ? POLLOUT : 0))};
    }
    poll(fds, 1 + QUERIES_MAX, left < 0 ? 0 : (int)left);
}

static void drain(void *ctx)
{
    struct states *s = ctx;

    s->draining = true;
}

int states_run(struct role *self)
{
    static const struct role_events events = {.linked = linked, .drain = drain};
    struct states s = {.role = self};
    int64_t next_tick = 0;

    role_on(self, &events, &s);
    while (role_poll(self, 0) && !s.draining) {
        hear(&s);
        if (now_ms() >= next_tick) {
            tick(&s);
            next_tick = now_ms() + TICK_MS;
        }
        wait_for_work(&s, next_tick);
    }
    for (unsigned i = 0; i < QUERIES_MAX; i++)
        channel_free(s.queries[i]);
    return 0;
}
