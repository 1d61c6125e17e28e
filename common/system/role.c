/* The life of a role: see role.h. The parent's side is parent.c. */
#include "common/system/role.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <jansson.h>
#include <openssl/rand.h>

#include "common/system/role_internal.h"
#include "common/values/log.h"
#include "common/values/wire.h"

enum { SETTINGS_WAIT_MS = 30000 };

struct role {
    const struct daemon *daemon;
    const struct role_kind *kind;
    unsigned index;
    char node[256];
    struct settings *started;  /* what the daemon was started with */
    struct settings *settings; /* in force when this role began, but for what only a start of the daemon changes */
    struct channel *parent;
    const struct role_events *events;
    void *ctx;
    struct event_base *base;
    struct event *readable;
    uint32_t reading; /* of the configuration: the last it has been told */
    bool orphaned;
};

const struct settings *role_settings(const struct role *self)
{
    return self->settings;
}

const char *role_kind_name(const struct role *self)
{
    return self->kind->name;
}

const char *role_daemon_name(const struct role *self)
{
    return self->daemon->name;
}

const char *role_node_name(const struct role *self)
{
    return self->node;
}

unsigned role_index(const struct role *self)
{
    return self->index;
}

/* Enters the sandbox that `s` asks for, or, once in, says whether it allows what `s` asks for. */
static bool confine(struct role *self, const struct settings *s, bool (*use)(const struct sandbox *, struct err *), struct err *e)
{
    struct sandbox box = {0};
    bool ok;

    if (self->kind->confine == NULL)
        return true;
    self->kind->confine(s, &box);
    ok = use(&box, e);
    sandbox_free(&box);
    return ok;
}

/* jansson would read /dev/urandom for its first object, which most roles can not; the seed keeps strangers from choosing members that collide. */
static void seed_json(void)
{
    size_t seed = 0;

    if (RAND_bytes((unsigned char *)&seed, sizeof seed) == 1)
        json_object_seed(seed | 1); /* 0 is "read the file" */
}

void role_on(struct role *self, const struct role_events *events, void *ctx)
{
    struct err e = {0};

    self->events = events;
    self->ctx = ctx;
    seed_json();
    if (confine(self, self->settings, sandbox_enter, &e))
        return;
    log_error("sandbox-failed", "%s", e.text);
    log_end();
    _exit(role_unfit(self, &e));
}

static void handle_link(struct role *self, const struct channel_message *m)
{
    struct wire_reader r = wire_read(m->body);
    struct slice kind = wire_get_text(&r);
    unsigned index = wire_get_u32(&r);
    char name[32] = "";
    struct err e = {0};

    if (!wire_end(&r, "link", &e) || kind.len >= sizeof name || m->fd < 0) {
        log_error("channel-bad", "link from the parent: %s", e.text);
        log_end();
        _exit(1);
    }
    memcpy(name, kind.at, kind.len);
    if (self->events->linked != NULL)
        self->events->linked(self->ctx, name, index, channel_open(m->fd, ROLE_MESSAGE_MAX, ROLE_QUEUE_MAX));
    else
        close(m->fd);
}

static void tell_parent(struct role *self, enum parent_message type, struct slice body)
{
    struct err e = {0};

    if (!channel_send(self->parent, (uint16_t)type, body, &e) || !channel_flush(self->parent, &e))
        self->orphaned = true;
}

/* The parent has read the file: most roles can open none. */
static void take_reload(struct role *self, struct slice text)
{
    struct err e = {0};
    struct settings *fresh = settings_read(self->settings->file, text, self->daemon->part, &e);

    if (fresh != NULL)
        (void)settings_keep(fresh, self->started, NULL, 0);
    if (fresh == NULL || !confine(self, fresh, sandbox_covers, &e)) {
        log_error("reload-refused", "%s", e.text);
        role_reload_refused(self, "%s", e.text);
        settings_free(fresh);
        return;
    }
    log_set_level(settings_log_level(fresh));
    if (self->events->reload != NULL)
        self->events->reload(self->ctx, fresh);
    settings_free(fresh);
}

static void tell_reading(struct role *self, enum parent_message type, struct slice rest)
{
    uint8_t bytes[ERR_TEXT_MAX + 4];
    struct buf b = {.data = bytes, .capacity = sizeof bytes, .max = sizeof bytes};
    struct wire_writer w = wire_write(&b);

    wire_put_u32(&w, self->reading);
    wire_put_fixed(&w, rest.at, rest.len);
    if (wire_ok(&w, "reading", NULL))
        tell_parent(self, type, buf_slice(&b));
}

static void handle_reload(struct role *self, struct slice body)
{
    struct wire_reader r = wire_read(body);

    self->reading = wire_get_u32(&r);
    take_reload(self, r.rest);
    tell_reading(self, ROLE_SAYS_RELOADED, slice_of(NULL, 0));
}

static void handle_refused(struct role *self, struct slice body)
{
    struct wire_reader r = wire_read(body);
    char *why = mem_text(wire_get_text(&r));

    if (self->events->refused != NULL)
        self->events->refused(self->ctx, why);
    free(why);
}

static void handle_unfit(struct role *self, struct slice body)
{
    struct wire_reader r = wire_read(body);
    char *kind = mem_text(wire_get_text(&r));
    unsigned index = wire_get_u32(&r);
    char *why = mem_text(wire_get_text(&r));

    if (self->events->unfit != NULL)
        self->events->unfit(self->ctx, kind, index, *why == '\0' ? NULL : why);
    free(kind);
    free(why);
}

static void handle_ended(struct role *self, struct slice body)
{
    struct wire_reader r = wire_read(body);
    char *kind = mem_text(wire_get_text(&r));
    unsigned index = wire_get_u32(&r);
    char *how = mem_text(wire_get_text(&r));

    if (self->events->ended != NULL)
        self->events->ended(self->ctx, kind, index, how);
    free(kind);
    free(how);
}

static void handle(struct role *self, const struct channel_message *m)
{
    const struct role_events *on = self->events;

    switch ((enum parent_message)m->type) {
    case PARENT_LINK:
        handle_link(self, m);
        return;
    case PARENT_LISTENER:
        if (on->listener != NULL)
            on->listener(self->ctx, m->fd);
        return;
    case PARENT_DRAIN:
        if (on->drain != NULL)
            on->drain(self->ctx);
        return;
    case PARENT_RELOAD:
        handle_reload(self, m->body);
        return;
    case PARENT_REFUSED:
        handle_refused(self, m->body);
        return;
    case PARENT_ENDED:
        handle_ended(self, m->body);
        return;
    case PARENT_UNFIT:
        handle_unfit(self, m->body);
        return;
    case PARENT_POKE:
        if (on->poke != NULL)
            on->poke(self->ctx);
        return;
    case PARENT_PING:
        tell_parent(self, ROLE_SAYS_PONG, slice_of(NULL, 0));
        return;
    case PARENT_SETTINGS: /* the first message of all, and no other */
    case ROLE_SAYS_READY:
    case ROLE_SAYS_METRICS:
    case ROLE_SAYS_KILL:
    case ROLE_SAYS_RELINK:
    case ROLE_SAYS_PONG:
    case ROLE_SAYS_UNFIT:
    case ROLE_SAYS_REFUSED:
    case ROLE_SAYS_RELOADED:
        break;
    }
    log_error("channel-bad", "message %u from the parent makes no sense", m->type);
    log_end();
    _exit(1);
}

bool role_poll(struct role *self, int timeout_ms)
{
    struct channel_message m;
    struct err e = {0};
    enum channel_result r = channel_wait(self->parent, &m, timeout_ms, &e);

    log_tick();
    while (r == CHANNEL_MESSAGE) {
        handle(self, &m);
        r = channel_receive(self->parent, &m, &e);
    }
    if (r == CHANNEL_CLOSED)
        self->orphaned = true;
    return !self->orphaned;
}

int role_parent_fd(const struct role *self)
{
    return channel_fd(self->parent);
}

static void parent_readable(evutil_socket_t fd, short what, void *arg)
{
    struct role *self = arg;

    (void)fd;
    (void)what;
    if (!role_poll(self, 0))
        event_base_loopbreak(self->base);
}

void role_attach(struct role *self, struct event_base *base)
{
    self->base = base;
    self->readable = event_new(base, channel_fd(self->parent), EV_READ | EV_PERSIST, parent_readable, self);
    event_add(self->readable, NULL);
    /* What came behind the settings is read from the socket already: no poll will tell. */
    event_active(self->readable, EV_READ, 0);
}

void role_ready(struct role *self, bool ready, const char *fmt, ...)
{
    char text[300];
    va_list ap;

    text[0] = ready ? 1 : 0;
    va_start(ap, fmt);
    vsnprintf(text + 1, sizeof text - 1, fmt, ap);
    va_end(ap);
    tell_parent(self, ROLE_SAYS_READY, slice_of(text, 1 + strlen(text + 1)));
}

int role_unfit(struct role *self, const struct err *why)
{
    tell_parent(self, ROLE_SAYS_UNFIT, slice_text(why->text));
    return why->code == ERR_FOREIGN ? ROLE_EXIT_CONFIG : ROLE_EXIT_UNFIT;
}

void role_reload_refused(struct role *self, const char *fmt, ...)
{
    char text[ERR_TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    tell_reading(self, ROLE_SAYS_REFUSED, slice_text(text));
}

void role_metrics(struct role *self, const char *text)
{
    log_tick(); /* roles driven by libevent come to role_poll() when the parent says something */
    tell_parent(self, ROLE_SAYS_METRICS, slice_text(text));
}

static void tell_of_sibling(struct role *self, enum parent_message type, const char *kind, unsigned index)
{
    struct buf b;
    struct wire_writer w;

    buf_init(&b, 64);
    w = wire_write(&b);
    wire_put_text(&w, slice_text(kind));
    wire_put_u32(&w, index);
    tell_parent(self, type, buf_slice(&b));
    buf_free(&b);
}

void role_kill_sibling(struct role *self, const char *kind, unsigned index)
{
    tell_of_sibling(self, ROLE_SAYS_KILL, kind, index);
}

void role_relink(struct role *self, const char *kind, unsigned index)
{
    tell_of_sibling(self, ROLE_SAYS_RELINK, kind, index);
}

/* No core file, no ptrace by siblings, death with the parent, and signals left to the parent. */
static void harden(void)
{
    struct rlimit none = {0, 0};

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_DUMPABLE, 0);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    setrlimit(RLIMIT_CORE, &none);
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGUSR1, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
}

/* The parent's first message. Read by all roles alike, whatever the file says by now: one that is being changed is the parent's to judge. */
static bool take_settings(struct role *self, const char *file, struct err *e)
{
    struct channel_message m;
    struct wire_reader r;
    struct slice started, text, node;

    if (channel_wait(self->parent, &m, SETTINGS_WAIT_MS, e) != CHANNEL_MESSAGE || m.type != PARENT_SETTINGS || m.fd >= 0)
        return err_set(e, ERR_FATAL, "the parent says nothing about the configuration");
    r = wire_read(m.body);
    started = wire_get_bytes(&r);
    text = wire_get_bytes(&r);
    node = wire_get_text(&r);
    self->reading = wire_get_u32(&r);
    if (!wire_end(&r, "settings", e))
        return false;
    snprintf(self->node, sizeof self->node, "%.*s", SLICE_ARGS(node));
    self->started = settings_read(file, started, self->daemon->part, e);
    self->settings = settings_read(file, text, self->daemon->part, e);
    if (self->started == NULL || self->settings == NULL)
        return false;
    (void)settings_keep(self->settings, self->started, NULL, 0);
    return true;
}

int role_main(const struct daemon *d, const char *kind, unsigned index, const char *file)
{
    struct role self = {.daemon = d, .index = index};
    static const struct role_events none = {0};
    struct err e = {0};
    char title[16];
    int status;

    harden();
    /* What ps and top show: all roles are the same program. */
    snprintf(title, sizeof title, "%s:%s", strncmp(d->name, "coffre-", 7) == 0 ? d->name + 7 : d->name, kind);
    prctl(PR_SET_NAME, title);
    for (unsigned i = 0; i < d->kind_count; i++)
        if (strcmp(d->kinds[i].name, kind) == 0)
            self.kind = &d->kinds[i];
    if (self.kind == NULL)
        return 1;
    self.parent = channel_open(ROLE_PARENT_FD, ROLE_MESSAGE_MAX, ROLE_QUEUE_MAX);
    if (!take_settings(&self, file, &e)) {
        log_error("config-bad", "%s", e.text);
        return 1;
    }
    log_open(d->name, self.kind->name, settings_log_level(self.settings));
    self.events = &none;
    status = self.kind->run(&self);
    if (self.readable != NULL)
        event_free(self.readable);
    channel_free(self.parent);
    settings_free(self.settings);
    settings_free(self.started);
    return self.orphaned ? 1 : status;
}
