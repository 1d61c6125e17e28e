/* See role_daemon.h. */
#include "tests/unit/role_daemon.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/values/log.h"
#include "tests/unit/trial.h"

struct duty {
    struct role *role;
    struct channel *peer;
    bool drained, poked;
    unsigned links; /* channels to its peer that it has been given */
    struct event_base *base; /* of the one that libevent drives */
};

static bool there(const struct role *self, const char *name)
{
    char *path = mem_printf("%s/%s", role_settings(self)->state_dir, name);
    bool is = access(path, F_OK) == 0;

    free(path);
    return is;
}

/* Leaves a line, which is taken over, in a file of the state folder. */
static void leave(const struct role *self, const char *name, char *line)
{
    char *path = mem_printf("%s/%s", role_settings(self)->state_dir, name);
    FILE *out = fopen(path, "a");

    if (out != NULL) {
        fprintf(out, "%s\n", line);
        fclose(out);
    }
    free(path);
    free(line);
}

static void linked(void *ctx, const char *kind, unsigned index, struct channel *c)
{
    struct duty *d = ctx;

    (void)kind;
    (void)index;
    channel_free(d->peer);
    d->peer = c;
    d->links++;
    if (strcmp(role_kind_name(d->role), "asker") == 0)
        leave(d->role, "linked", mem_printf("%u times", d->links));
}

static bool take_away(const struct role *self, const char *name)
{
    char *path = mem_printf("%s/%s", role_settings(self)->state_dir, name);
    bool was = unlink(path) == 0;

    free(path);
    return was;
}

static bool is_answerer(const struct role *self)
{
    return strcmp(role_kind_name(self), "answerer") == 0;
}

static void unfit(void *ctx, const char *kind, unsigned index, const char *why)
{
    struct role *self = ((struct duty *)ctx)->role;

    if (is_answerer(self))
        leave(self, "unfit", mem_printf("%s %u: %s", kind, index, why == NULL ? "fit" : why));
}

static void refused(void *ctx, const char *why)
{
    struct role *self = ((struct duty *)ctx)->role;

    if (is_answerer(self))
        leave(self, "refused", mem_printf("%s", why));
}

static void drain(void *ctx)
{
    struct duty *d = ctx;

    leave(d->role, "order", mem_printf("%s %u", role_kind_name(d->role), role_index(d->role)));
    d->drained = true;
}

static void poke(void *ctx)
{
    ((struct duty *)ctx)->poked = true;
}

static void reload(void *ctx, const struct settings *fresh)
{
    struct duty *d = ctx;

    (void)fresh;
    if (there(d->role, "refuse") || take_away(d->role, "refuse once"))
        role_reload_refused(d->role, "not\ntoday");
}

/* As a role that was taken over would: each of these is a line of the log and a record of the journal, if the parent lets it. */
static void storm(struct role *self)
{
    for (unsigned i = 0; i < 1000; i++) {
        struct err why = {0};

        err_set(&why, ERR_INPUT, "wrong %u", i);
        if (role_unfit(self, &why) != ROLE_EXIT_UNFIT)
            return;
        role_ready(self, true, "right %u", i);
        role_reload_refused(self, "refused %u", i);
    }
}

/* The parent has always something to read. */
static void chatter(struct role *self)
{
    struct pollfd parent = {.fd = role_parent_fd(self), .events = POLLOUT};

    while (there(self, "chatter"))
        if (poll(&parent, 1, 1000) > 0)
            for (unsigned i = 0; i < 20; i++)
                role_ready(self, true, "still here");
}

/* More than is logged, and not a word after it. */
static void babble(const char *code)
{
    for (unsigned i = 0; i < ROLE_DAEMON_BABBLE; i++)
        log_info(code, "on and on");
}

/* As much as may be told, in small lines: labels make them thrice as long. */
static void boast(struct role *self)
{
    static const char line[] = "boasts_total 1\n";
    char all[4000 * (sizeof line - 1) + 1];

    for (size_t at = 0; at + 1 < sizeof all; at += sizeof line - 1)
        memcpy(all + at, line, sizeof line);
    role_metrics(self, all);
}

static void accuse(struct role *self)
{
    for (unsigned i = 0; i < 200; i++)
        role_kill_sibling(self, "answerer", 0);
}

static void poked(struct role *self)
{
    if (there(self, "storm"))
        storm(self);
    else if (there(self, "chatter"))
        chatter(self);
    else if (there(self, "boast"))
        boast(self);
    else if (there(self, "babble"))
        babble("babble");
    else
        accuse(self);
}

static void report(struct duty *d)
{
    role_metrics(d->role, "# a comment\nplain_total 1\nwith_labels{a=\"b\"} 2\n");
}

/* Asks its peer's process number and tells it to the parent. */
static int run_asker(struct role *self)
{
    static const struct role_events events = {.linked = linked, .drain = drain, .reload = reload, .poke = poke};
    struct duty d = {.role = self};
    struct err why = {0};

    if (there(self, "foreign") || there(self, "wrong")) {
        leave(self, "tried", mem_printf("%s", role_kind_name(self)));
        err_set(&why, there(self, "foreign") ? ERR_FOREIGN : ERR_INPUT, "something is wrong");
        return role_unfit(self, &why);
    }
    role_on(self, &events, &d);
    report(&d);
    while (role_poll(self, 20) && !d.drained) {
        struct channel_message m;
        struct err e = {0};

        if (d.peer != NULL && there(self, "unlink")) {
            channel_free(d.peer);
            d.peer = NULL;
        }
        if (d.peer == NULL && there(self, "relink"))
            for (unsigned i = 0; i < 5; i++)
                role_relink(self, "answerer", 0);
        if (d.peer == NULL) {
            role_ready(self, false, "linked %u times", d.links);
            continue;
        }
        if (d.poked)
            poked(self);
        d.poked = false;
        if (!channel_send(d.peer, 1, SLICE_LITERAL("who"), &e) || channel_wait(d.peer, &m, 20000, &e) != CHANNEL_MESSAGE) {
            role_ready(self, false, "nobody answers");
            channel_free(d.peer);
            d.peer = NULL;
            continue;
        }
        role_ready(self, true, "answered by %.*s", SLICE_ARGS(m.body));
    }
    channel_free(d.peer);
    return d.drained ? 0 : 1;
}

static int run_answerer(struct role *self)
{
    static const struct role_events events = {.linked = linked, .drain = drain, .unfit = unfit, .refused = refused};
    struct duty d = {.role = self};
    char me[32], *hang;

    hang = mem_printf("%s/hang", role_settings(self)->state_dir);
    role_on(self, &events, &d);
    role_ready(self, prctl(PR_GET_DUMPABLE) == 0 && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1, "line\nfeed");
    snprintf(me, sizeof me, "%ld", (long)getpid());
    while (role_poll(self, 5) && !d.drained) {
        struct channel_message m;

        while (is_answerer(self) && access(hang, F_OK) == 0 && unlink(hang) == 0)
            pause(); /* for ever: nothing wakes it */
        if (d.peer == NULL)
            continue;
        if (channel_receive(d.peer, &m, NULL) == CHANNEL_MESSAGE &&
            (!channel_send(d.peer, 2, slice_text(me), NULL) || !channel_flush(d.peer, NULL))) {
            channel_free(d.peer);
            d.peer = NULL;
        }
    }
    channel_free(d.peer);
    free(hang);
    return d.drained ? 0 : 1;
}

static void beat(evutil_socket_t fd, short what, void *arg)
{
    struct duty *d = arg;

    (void)fd;
    (void)what;
    report(d);
    if (take_away(d->role, "babble too"))
        babble("babble-too");
    if (d->drained)
        event_base_loopbreak(d->base);
}

/* As the fronts do. The base is the process's to the end: role_attach() has put an event into it. */
static int run_attached(struct role *self)
{
    static const struct role_events events = {.drain = drain};
    static const struct timeval often = {0, 50 * 1000};
    static struct duty d;
    struct event *tick;

    d = (struct duty){.role = self, .base = event_base_new()};
    tick = event_new(d.base, -1, EV_PERSIST, beat, &d);
    role_on(self, &events, &d);
    role_attach(self, d.base);
    event_add(tick, &often);
    role_ready(self, true, "attached");
    event_base_dispatch(d.base);
    event_free(tick);
    return d.drained ? 0 : 1;
}

/* Started again for ever, less and less often. */
static int run_dying(struct role *self)
{
    /* Another name than the one the parent has read is not this daemon's. */
    if (strcmp(role_node_name(self), getenv("TEST_ROLE_NODE")) != 0)
        return 4;
    return getenv("TEST_ROLE_DIES") != NULL ? 3 : run_attached(self);
}

static const struct role_kind kinds[] = {
    {.name = "asker", .run = run_asker, .links = {"answerer"}, .drain_stage = 0},
    {.name = "answerer", .run = run_answerer, .prompt = true, .drain_stage = 1},
    {.name = "dying", .run = run_dying, .drain_stage = 2},
};

/* A disk that does not answer. */
static bool check(const struct settings *s, struct err *e)
{
    char *path = mem_printf("%s/block", s->state_dir);

    (void)e;
    while (access(path, F_OK) == 0)
        pause();
    free(path);
    return true;
}

const struct daemon role_daemon = {.name = TRIAL_NAME, .part = SETTINGS_INGEST, .kinds = kinds, .kind_count = 3,
                                   .poke_kind = "asker", .silence_ms = 4000, .check_ms = 10000, .check = check, .summary = "for the test"};

int role_daemon_make(void **state)
{
    char node[256] = "";

    gethostname(node, sizeof node - 1);
    setenv("TEST_ROLE_NODE", node, 1);
    return trial_make(state);
}
