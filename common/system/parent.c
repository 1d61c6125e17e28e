/* The parent of a daemon's roles: starts, links, restarts, drains, reports. See role.h. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/system/role_internal.h"
#include "common/values/log.h"
#include "common/values/wire.h"

enum { PROCESSES_MAX = 128, LISTENERS_MAX = SETTINGS_LIST_MAX, RESTART_MIN_MS = 100, RESTART_MAX_MS = 5000 };

/* One role's process, or the place where it will be again. */
struct process {
    const struct role_kind *kind;
    unsigned index;
    pid_t pid; /* 0: not running */
    struct channel *channel;
    struct event *readable, *restart;
    struct parent *parent;
    unsigned backoff_ms;
    time_t started;
    bool ready;
    char note[300];
    char *metrics; /* owned */
};

struct parent {
    const struct daemon *d;
    struct settings *s;
    struct event_base *base;
    struct process processes[PROCESSES_MAX];
    unsigned count;
    int listeners[LISTENERS_MAX];
    unsigned listener_count;
    struct event *signals[5], *tick, *drain_deadline;
    bool draining;
    unsigned stage; /* of the drain */
    int exit_status;
};

static void start(struct process *p);
static void advance_drain(struct parent *parent);

/* ---- status and metrics files ------------------------------------------------------------ */

static bool write_whole(const char *folder, const char *name, const char *suffix, struct slice text)
{
    char *path = mem_printf("%s/%s.%s", folder, name, suffix), *fresh = mem_printf("%s.new", path);
    FILE *out = fopen(fresh, "we");
    bool ok = out != NULL;

    if (ok && text.len != 0)
        ok = fwrite(text.at, 1, text.len, out) == text.len;
    if (out != NULL)
        ok = fclose(out) == 0 && ok;
    ok = ok && rename(fresh, path) == 0;
    free(path);
    free(fresh);
    return ok;
}

static const char *state_word(const struct parent *parent)
{
    if (parent->draining)
        return "draining";
    for (unsigned i = 0; i < parent->count; i++)
        if (!parent->processes[i].ready)
            return "degraded";
    return "ready";
}

static void write_status(struct parent *parent)
{
    struct buf b;
    bool ok;

    buf_init(&b, 1 << 20);
    ok = buf_printf(&b, NULL, "state %s\npid %ld\n", state_word(parent), (long)getpid());
    for (unsigned i = 0; i < parent->count; i++) {
        const struct process *p = &parent->processes[i];

        ok = ok && buf_printf(&b, NULL, "role %s %u pid %ld %s %s\n", p->kind->name, p->index, (long)p->pid,
                              p->pid == 0 ? "down" : p->ready ? "ready" : "not-ready", p->note);
    }
    if (!ok || !write_whole(parent->s->state_dir, parent->d->name, "status", buf_slice(&b)))
        log_warning("status-unwritten", "%s/%s.status cannot be written", parent->s->state_dir, parent->d->name);
    buf_free(&b);
}

/* Adds the role's labels to each line of its metrics: "name 1" or "name{a="b"} 1". */
static bool add_metrics(struct buf *b, const struct process *p)
{
    const char *line = p->metrics;
    bool ok = true;

    while (line != NULL && *line != '\0' && ok) {
        const char *end = strchrnul(line, '\n'), *brace = memchr(line, '{', (size_t)(end - line)),
                   *space = memchr(line, ' ', (size_t)(end - line));

        if (*line == '#')
            ok = buf_printf(b, NULL, "%.*s\n", (int)(end - line), line);
        else if (brace != NULL)
            ok = buf_printf(b, NULL, "%.*s{role=\"%s\",index=\"%u\",%.*s\n", (int)(brace - line), line, p->kind->name,
                            p->index, (int)(end - brace - 1), brace + 1);
        else if (space != NULL)
            ok = buf_printf(b, NULL, "%.*s{role=\"%s\",index=\"%u\"}%.*s\n", (int)(space - line), line, p->kind->name,
                            p->index, (int)(end - space), space);
        line = *end == '\0' ? end : end + 1;
    }
    return ok;
}

static void write_metrics(struct parent *parent)
{
    struct buf b;
    bool ok = true;

    buf_init(&b, 8 << 20);
    for (unsigned i = 0; i < parent->count && ok; i++) {
        const struct process *p = &parent->processes[i];

        ok = buf_printf(&b, NULL, "coffre_role_ready{role=\"%s\",index=\"%u\"} %d\n", p->kind->name, p->index, p->ready) &&
             add_metrics(&b, p);
    }
    if (ok && !write_whole(parent->s->state_dir, parent->d->name, "prom", buf_slice(&b)))
        log_warning("metrics-unwritten", "%s/%s.prom cannot be written", parent->s->state_dir, parent->d->name);
    buf_free(&b);
}

/* ---- links ------------------------------------------------------------------------------- */

static bool kind_links_to(const struct role_kind *a, const struct role_kind *b)
{
    for (unsigned i = 0; i < ROLE_LINKS_MAX && a->links[i] != NULL; i++)
        if (strcmp(a->links[i], b->name) == 0)
            return true;
    return false;
}

static bool send_end(struct process *to, const struct process *peer, int fd, struct err *e)
{
    struct buf b;
    struct wire_writer w;
    bool ok;

    buf_init(&b, 64);
    w = wire_write(&b);
    wire_put_text(&w, slice_text(peer->kind->name));
    wire_put_u32(&w, peer->index);
    ok = channel_send_fd(to->channel, PARENT_LINK, buf_slice(&b), fd, e);
    buf_free(&b);
    return ok;
}

/* Gives a role just started a channel to each running sibling it talks to. */
static void link_siblings(struct process *p)
{
    struct parent *parent = p->parent;

    for (unsigned i = 0; i < parent->count; i++) {
        struct process *q = &parent->processes[i];
        struct err e = {0};
        int fds[2];

        if (q == p || q->channel == NULL || !(kind_links_to(p->kind, q->kind) || kind_links_to(q->kind, p->kind)))
            continue;
        if (!channel_pair(fds, &e)) {
            log_error("link-failed", "%s", e.text);
            return;
        }
        /* A role that cannot take its end is dying: its own restart will link again. */
        if (!send_end(q, p, fds[0], &e) || !send_end(p, q, fds[1], &e))
            log_warning("link-failed", "%s to %s: %s", p->kind->name, q->kind->name, e.text);
        close(fds[0]);
        close(fds[1]);
    }
}

static void hand_listeners(struct process *p)
{
    for (unsigned i = 0; i < p->parent->listener_count && p->kind->listens; i++) {
        struct err e = {0};

        if (!channel_send_fd(p->channel, PARENT_LISTENER, slice_of(NULL, 0), p->parent->listeners[i], &e))
            log_warning("link-failed", "listener to %s: %s", p->kind->name, e.text);
    }
}

/* ---- processes --------------------------------------------------------------------------- */

static void tell_body(struct process *p, enum parent_message type, struct slice body)
{
    struct err e = {0};

    if (p->channel != NULL && (!channel_send(p->channel, (uint16_t)type, body, &e) || !channel_flush(p->channel, &e)))
        log_debug("role-silent", "%s: %s", p->kind->name, e.text);
}

static void tell(struct process *p, enum parent_message type)
{
    tell_body(p, type, slice_of(NULL, 0));
}

static struct process *find(struct parent *parent, struct slice kind, unsigned index)
{
    for (unsigned i = 0; i < parent->count; i++)
        if (parent->processes[i].index == index && slice_is(kind, parent->processes[i].kind->name))
            return &parent->processes[i];
    return NULL;
}

static bool handle_message(struct process *p, const struct channel_message *m)
{
    struct wire_reader r = wire_read(m->body);
    struct process *other;
    struct slice kind;
    unsigned index;

    if (m->fd >= 0)
        close(m->fd);
    switch (m->type) {
    case ROLE_SAYS_READY:
        p->ready = wire_get_u8(&r) == 1;
        snprintf(p->note, sizeof p->note, "%.*s", (int)(r.rest.len < 299 ? r.rest.len : 299), (const char *)r.rest.at);
        for (char *c = p->note; *c != '\0'; c++)
            if ((unsigned char)*c < 0x20)
                *c = ' ';
        write_status(p->parent);
        return true;
    case ROLE_SAYS_METRICS:
        free(p->metrics);
        p->metrics = mem_text(m->body);
        return true;
    case ROLE_SAYS_KILL:
        kind = wire_get_text(&r);
        index = wire_get_u32(&r);
        other = find(p->parent, kind, index);
        /* Only along a declared link: a role cannot end processes it has nothing to do with. */
        if (other == NULL || !(kind_links_to(p->kind, other->kind) || kind_links_to(other->kind, p->kind)))
            return false;
        log_error("role-deadline", "%s missed its deadline towards %s: killed", other->kind->name, p->kind->name);
        if (other->pid != 0)
            kill(other->pid, SIGKILL);
        return true;
    default:
        return false;
    }
}

static void role_readable(evutil_socket_t fd, short what, void *arg)
{
    struct process *p = arg;
    struct channel_message m;
    struct err e = {0};
    enum channel_result r = CHANNEL_EMPTY;

    (void)fd;
    (void)what;
    while (p->channel != NULL && (r = channel_receive(p->channel, &m, &e)) == CHANNEL_MESSAGE)
        if (!handle_message(p, &m)) {
            log_error("channel-bad", "message %u from %s makes no sense: killed", m.type, p->kind->name);
            kill(p->pid, SIGKILL);
            r = CHANNEL_CLOSED;
            break;
        }
    /* The end itself is seen by SIGCHLD. */
    if (r == CHANNEL_CLOSED && p->readable != NULL)
        event_del(p->readable);
}

static void exec_role(const struct process *p, int fd)
{
    char index[16];
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    snprintf(index, sizeof index, "%u", p->index);
    if (fd == ROLE_PARENT_FD)
        fcntl(fd, F_SETFD, 0);
    else if (dup2(fd, ROLE_PARENT_FD) < 0)
        _exit(1);
    if (close_range(ROLE_PARENT_FD + 1, ~0u, 0) != 0)
        _exit(1);
    /* Title first, so that ps shows the duty. */
    execl("/proc/self/exe", p->parent->d->name, "--role", p->kind->name, index, p->parent->s->file, (char *)NULL);
    _exit(1);
}

static void start(struct process *p)
{
    struct err e = {0};
    int fds[2];

    if (!channel_pair(fds, &e)) {
        log_error("role-start", "%s", e.text);
        return;
    }
    p->pid = fork();
    if (p->pid == 0)
        exec_role(p, fds[1]);
    close(fds[1]);
    if (p->pid < 0) {
        p->pid = 0;
        close(fds[0]);
        log_error("role-start", "%s: no process: %s", p->kind->name, strerror(errno));
        return;
    }
    p->started = time(NULL);
    p->ready = false;
    snprintf(p->note, sizeof p->note, "starting");
    p->channel = channel_open(fds[0], ROLE_MESSAGE_MAX, 1 << 20);
    p->readable = event_new(p->parent->base, fds[0], EV_READ | EV_PERSIST, role_readable, p);
    event_add(p->readable, NULL);
    hand_listeners(p);
    link_siblings(p);
}

static void restart_due(evutil_socket_t fd, short what, void *arg)
{
    struct process *p = arg;

    (void)fd;
    (void)what;
    if (!p->parent->draining && p->pid == 0)
        start(p);
}

static void schedule_restart(struct process *p)
{
    struct timeval delay;

    /* A role that lived a while starts again quickly; one that dies at once is tried less and less often. */
    if (time(NULL) - p->started > 10)
        p->backoff_ms = RESTART_MIN_MS;
    else
        p->backoff_ms = p->backoff_ms * 2 > RESTART_MAX_MS ? RESTART_MAX_MS : p->backoff_ms * 2;
    delay = (struct timeval){p->backoff_ms / 1000, (p->backoff_ms % 1000) * 1000};
    evtimer_add(p->restart, &delay);
}

static void begin_drain(struct parent *parent)
{
    uint64_t ms = parent->d->drain_ms == NULL ? 10000 : parent->d->drain_ms(parent->s);
    struct timeval limit = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};

    if (parent->draining)
        return;
    parent->draining = true;
    parent->stage = 0;
    log_info("draining", "finishing what is begun, at most %llu ms", (unsigned long long)ms);
    evtimer_add(parent->drain_deadline, &limit);
    for (unsigned i = 0; i < parent->count; i++)
        if (parent->processes[i].kind->drain_stage == 0)
            tell(&parent->processes[i], PARENT_DRAIN);
    write_status(parent);
    advance_drain(parent);
}

static void ended(struct process *p, int status)
{
    struct parent *parent = p->parent;

    if (p->readable != NULL) {
        role_readable(-1, 0, p); /* its last words */
        event_free(p->readable);
    }
    p->readable = NULL;
    channel_free(p->channel);
    p->channel = NULL;
    p->pid = 0;
    p->ready = false;
    free(p->metrics);
    p->metrics = NULL;
    if (parent->draining) {
        if (status != 0)
            log_warning("role-ended", "%s ended with status %d while draining", p->kind->name, status);
        snprintf(p->note, sizeof p->note, "ended");
        advance_drain(parent);
        return;
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == ROLE_EXIT_CONFIG) {
        log_error("role-refuses", "%s refuses to run: the daemon stops", p->kind->name);
        parent->exit_status = ROLE_EXIT_CONFIG;
        begin_drain(parent);
        return;
    }
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
        log_error("role-confined", "%s %u was killed for a system call that is not its business (the kernel's audit log names it, type 1326): starting again",
                  p->kind->name, p->index);
    else if (WIFSIGNALED(status))
        log_error("role-ended", "%s %u was ended by signal %d: starting again", p->kind->name, p->index, WTERMSIG(status));
    else
        log_error("role-ended", "%s %u ended with status %d: starting again", p->kind->name, p->index, WEXITSTATUS(status));
    snprintf(p->note, sizeof p->note, "starting again");
    schedule_restart(p);
    write_status(parent);
}

static void child_ended(evutil_socket_t signo, short what, void *arg)
{
    struct parent *parent = arg;
    int status;
    pid_t pid;

    (void)signo;
    (void)what;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (unsigned i = 0; i < parent->count; i++)
            if (parent->processes[i].pid == pid)
                ended(&parent->processes[i], status);
}

/* ---- drain ------------------------------------------------------------------------------- */

static bool stage_runs(const struct parent *parent, unsigned stage, bool *later)
{
    bool runs = false;

    *later = false;
    for (unsigned i = 0; i < parent->count; i++) {
        const struct process *p = &parent->processes[i];

        if (p->pid != 0 && p->kind->drain_stage <= stage)
            runs = true;
        if (p->pid != 0 && p->kind->drain_stage > stage)
            *later = true;
    }
    return runs;
}

static void advance_drain(struct parent *parent)
{
    bool later;

    while (!stage_runs(parent, parent->stage, &later)) {
        if (!later) {
            event_base_loopbreak(parent->base);
            return;
        }
        parent->stage++;
        for (unsigned i = 0; i < parent->count; i++)
            if (parent->processes[i].kind->drain_stage == parent->stage)
                tell(&parent->processes[i], PARENT_DRAIN);
    }
}

static void drain_overdue(evutil_socket_t fd, short what, void *arg)
{
    struct parent *parent = arg;

    (void)fd;
    (void)what;
    for (unsigned i = 0; i < parent->count; i++)
        if (parent->processes[i].pid != 0) {
            log_warning("drain-overdue", "%s did not finish in time: killed", parent->processes[i].kind->name);
            kill(parent->processes[i].pid, SIGKILL);
        }
}

/* ---- signals and ticks ------------------------------------------------------------------- */

static void stop_asked(evutil_socket_t signo, short what, void *arg)
{
    struct parent *parent = arg;

    (void)what;
    if (parent->draining && signo == SIGINT) {
        drain_overdue(-1, 0, parent);
        return;
    }
    begin_drain(parent);
}

/* Roles are told what is in the file: most of them can open none. */
static void reload_asked(evutil_socket_t signo, short what, void *arg)
{
    struct parent *parent = arg;
    struct err e = {0};
    struct settings *fresh = NULL;
    struct buf text;

    (void)signo;
    (void)what;
    buf_init(&text, SETTINGS_TEXT_MAX);
    if (settings_read_text(parent->s->file, &text, &e))
        fresh = settings_read(parent->s->file, buf_slice(&text), parent->d->part, &e);
    if (fresh == NULL || !daemon_check_apart(parent->d, fresh, &e)) {
        log_error("reload-refused", "the configuration in force stays: %s", e.text);
    } else {
        log_set_level(settings_log_level(fresh));
        log_info("reloaded", "configuration read again");
        for (unsigned i = 0; i < parent->count; i++)
            tell_body(&parent->processes[i], PARENT_RELOAD, buf_slice(&text));
    }
    settings_free(fresh);
    buf_free(&text);
}

static void poke_asked(evutil_socket_t signo, short what, void *arg)
{
    struct parent *parent = arg;

    (void)signo;
    (void)what;
    for (unsigned i = 0; i < parent->count; i++)
        if (parent->d->poke_kind != NULL && strcmp(parent->processes[i].kind->name, parent->d->poke_kind) == 0)
            tell(&parent->processes[i], PARENT_POKE);
}

static void ticked(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    write_metrics(arg);
}

/* ---- listeners --------------------------------------------------------------------------- */

static bool listen_on(struct parent *parent, const char *where, struct err *e)
{
    struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM}, *found = NULL;
    char host[256];
    const char *colon = strrchr(where, ':');
    int one = 1, zero = 0, fd, why;
    size_t len;

    if (colon == NULL || (len = (size_t)(colon - where)) >= sizeof host)
        return err_set(e, ERR_INPUT, "listen: \"%s\" is not address:port", where);
    if (len >= 2 && where[0] == '[' && where[len - 1] == ']')
        snprintf(host, sizeof host, "%.*s", (int)len - 2, where + 1);
    else
        snprintf(host, sizeof host, "%.*s", (int)len, where);
    if ((why = getaddrinfo(len == 0 ? NULL : host, colon + 1, &hints, &found)) != 0)
        return err_set(e, ERR_INPUT, "listen: \"%s\": %s", where, gai_strerror(why));
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (found->ai_family == AF_INET6)
            setsockopt(fd, IPPROTO_IPV6, 26 /* IPV6_V6ONLY */, &zero, sizeof zero);
    }
    if (fd < 0 || bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, SOMAXCONN) != 0) {
        err_set_errno(e, ERR_FATAL, "listen: \"%s\"", where);
        freeaddrinfo(found);
        if (fd >= 0)
            close(fd);
        return false;
    }
    freeaddrinfo(found);
    parent->listeners[parent->listener_count++] = fd;
    return true;
}

static bool open_listeners(struct parent *parent, struct err *e)
{
    const struct settings_list *list = parent->d->listen == NULL ? NULL : parent->d->listen(parent->s);

    for (unsigned i = 0; list != NULL && i < list->count; i++)
        if (!listen_on(parent, list->items[i], e))
            return false;
    return true;
}

/* ---- main -------------------------------------------------------------------------------- */

static void place_processes(struct parent *parent)
{
    for (unsigned k = 0; k < parent->d->kind_count; k++) {
        const struct role_kind *kind = &parent->d->kinds[k];
        unsigned instances = kind->instances == NULL ? 1 : kind->instances(parent->s);

        for (unsigned i = 0; i < instances && parent->count < PROCESSES_MAX; i++) {
            struct process *p = &parent->processes[parent->count++];

            *p = (struct process){.kind = kind, .index = i, .parent = parent, .backoff_ms = RESTART_MIN_MS / 2};
            p->restart = evtimer_new(parent->base, restart_due, p);
        }
    }
}

static void watch_signals(struct parent *parent)
{
    parent->signals[0] = evsignal_new(parent->base, SIGTERM, stop_asked, parent);
    parent->signals[1] = evsignal_new(parent->base, SIGINT, stop_asked, parent);
    parent->signals[2] = evsignal_new(parent->base, SIGHUP, reload_asked, parent);
    parent->signals[3] = evsignal_new(parent->base, SIGUSR1, poke_asked, parent);
    parent->signals[4] = evsignal_new(parent->base, SIGCHLD, child_ended, parent);
    for (unsigned i = 0; i < 5; i++)
        event_add(parent->signals[i], NULL);
    signal(SIGPIPE, SIG_IGN);
}

static void release(struct parent *parent)
{
    for (unsigned i = 0; i < parent->count; i++)
        event_free(parent->processes[i].restart);
    for (unsigned i = 0; i < 5; i++)
        event_free(parent->signals[i]);
    event_free(parent->tick);
    event_free(parent->drain_deadline);
    for (unsigned i = 0; i < parent->listener_count; i++)
        close(parent->listeners[i]);
    event_base_free(parent->base);
}

int parent_main(const struct daemon *d, struct settings *s)
{
    static struct parent parent;
    struct timeval second = {1, 0};
    struct rlimit none = {0, 0};
    struct err e = {0};

    setrlimit(RLIMIT_CORE, &none);
    parent = (struct parent){.d = d, .s = s};
    parent.base = event_base_new();
    if (parent.base == NULL)
        return 1;
    if (mkdir(s->state_dir, 0700) != 0 && errno != EEXIST) {
        log_error("state-dir", "%s: %s", s->state_dir, strerror(errno));
        return ROLE_EXIT_CONFIG;
    }
    if (!open_listeners(&parent, &e)) {
        log_error("listen-failed", "%s", e.text);
        return ROLE_EXIT_CONFIG;
    }
    if (!sandbox_enter_parent(&e)) {
        log_error("sandbox-failed", "%s", e.text);
        return ROLE_EXIT_CONFIG;
    }
    watch_signals(&parent);
    parent.tick = event_new(parent.base, -1, EV_PERSIST, ticked, &parent);
    parent.drain_deadline = evtimer_new(parent.base, drain_overdue, &parent);
    event_add(parent.tick, &second);
    place_processes(&parent);
    for (unsigned i = 0; i < parent.count; i++)
        start(&parent.processes[i]);
    log_info("started", "%u roles", parent.count);
    write_status(&parent);
    event_base_dispatch(parent.base);
    parent.draining = true;
    write_status(&parent);
    log_info("stopped", "all roles have ended");
    release(&parent);
    return parent.exit_status;
}
