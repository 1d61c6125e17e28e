/* The parent of a daemon's roles: starts, links, restarts, drains, reports. See role.h. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/system/parent_internal.h"
#include "common/values/log.h"

enum { LAST_WORDS_MAX = 1000 /* times that parent_read_role() gives */ };

static void advance_drain(struct parent *parent);
static void schedule_restart(struct process *p);

/* ---- processes --------------------------------------------------------------------------- */

/*
 * Signals, and what is due, come in between, however much a role says. What is left may be in the channel, where no poll sees it: hence a timer, and one of its own, because one that
 * is over would take a readable event out of the poll.
 */
static void role_readable(evutil_socket_t fd, short what, void *arg)
{
    static const struct timeval at_once = {0, 0};
    struct process *p = arg;

    (void)fd;
    (void)what;
    if (parent_read_role(p))
        evtimer_add(p->more, &at_once);
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

    p->started = time(NULL);
    p->life++;
    p->owes_reload = p->owes_drain = p->condemned = false;
    if (!channel_pair(fds, &e)) {
        log_error("role-start", "%s", e.text);
        schedule_restart(p);
        return;
    }
    p->pid = fork();
    if (p->pid == 0)
        exec_role(p, fds[1]);
    if (p->pid < 0)
        log_error("role-start", "%s: no process: %s", p->kind->name, strerror(errno));
    close(fds[1]);
    if (p->pid < 0) {
        p->pid = 0;
        close(fds[0]);
        schedule_restart(p);
        return;
    }
    p->ready = false;
    *p->refused = '\0'; /* it begins with what is in force */
    p->refusals = 0;
    p->reading = parent_reload_number(p->parent);
    if (*p->unfit == '\0')
        snprintf(p->note, sizeof p->note, "starting");
    p->channel = channel_open(fds[0], ROLE_MESSAGE_MAX, 1 << 20);
    p->readable = event_new(p->parent->base, fds[0], EV_READ | EV_PERSIST, role_readable, p);
    event_add(p->readable, NULL);
    parent_introduce(p);
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

void parent_retry_unfit(struct parent *parent)
{
    static const struct timeval now = {0, 0};

    for (unsigned i = 0; i < parent->count; i++)
        if (parent->processes[i].pid == 0 && *parent->processes[i].unfit != '\0') {
            parent->processes[i].backoff_ms = RESTART_MIN_MS / 2;
            evtimer_add(parent->processes[i].restart, &now);
        }
}

static void ask_to_drain(struct parent *parent, unsigned stage)
{
    for (unsigned i = 0; i < parent->count; i++)
        if (parent->processes[i].kind->drain_stage == stage)
            parent->processes[i].owes_drain = !parent_tell(&parent->processes[i], PARENT_DRAIN, slice_of(NULL, 0));
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
    ask_to_drain(parent, 0);
    parent_write_status(parent);
    advance_drain(parent);
}

/* In log and journal. */
static void say_end(struct process *p, int status)
{
    bool confined = WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;

    if (confined)
        snprintf(p->ended, sizeof p->ended, "killed for a system call that is not its business (the kernel's audit log names it, type 1326)");
    else if (WIFSIGNALED(status))
        snprintf(p->ended, sizeof p->ended, "ended by signal %d", WTERMSIG(status));
    else
        snprintf(p->ended, sizeof p->ended, "ended with status %d", WEXITSTATUS(status));
    log_error(confined ? "role-confined" : "role-ended", "%s %u was %s: starting again", p->kind->name, p->index, p->ended);
    parent_tell_ended(p->parent);
}

static void ended(struct process *p, int status)
{
    struct parent *parent = p->parent;

    if (p->readable != NULL) {
        for (unsigned i = 0; i < LAST_WORDS_MAX && parent_read_role(p); i++)
            ;
        event_free(p->readable);
    }
    p->readable = NULL;
    evtimer_del(p->more);
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
    parent_reload_settle(parent);
    if (WIFEXITED(status) && WEXITSTATUS(status) == ROLE_EXIT_UNFIT && parent_unfit_ended(p)) {
        schedule_restart(p);
        parent_write_status(parent);
        return;
    }
    if (WIFEXITED(status) && (WEXITSTATUS(status) == ROLE_EXIT_CONFIG || WEXITSTATUS(status) == ROLE_EXIT_UNFIT)) {
        log_error("role-refuses", "%s refuses to run, the daemon stops: %s", p->kind->name, p->unfit);
        parent->exit_status = ROLE_EXIT_CONFIG;
        begin_drain(parent);
        return;
    }
    say_end(p, status);
    if (*p->unfit == '\0')
        snprintf(p->note, sizeof p->note, "starting again");
    schedule_restart(p);
    parent_write_status(parent);
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
        ask_to_drain(parent, ++parent->stage);
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

static void reload_asked(evutil_socket_t signo, short what, void *arg)
{
    (void)signo;
    (void)what;
    parent_reload_ask(arg);
}

static void poke_asked(evutil_socket_t signo, short what, void *arg)
{
    struct parent *parent = arg;

    (void)signo;
    (void)what;
    for (unsigned i = 0; i < parent->count; i++)
        if (parent->d->poke_kind != NULL && strcmp(parent->processes[i].kind->name, parent->d->poke_kind) == 0)
            (void)parent_tell(&parent->processes[i], PARENT_POKE, slice_of(NULL, 0));
}

static void ticked(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    parent_flush(arg);
    parent_watch(arg);
    parent_relink_tick(arg);
    parent_reload_tick(arg);
    parent_write_metrics(arg);
    log_tick();
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
            p->more = evtimer_new(parent->base, role_readable, p);
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
    for (unsigned i = 0; i < parent->count; i++) {
        event_free(parent->processes[i].restart);
        event_free(parent->processes[i].more);
    }
    for (unsigned i = 0; i < 5; i++)
        event_free(parent->signals[i]);
    event_free(parent->tick);
    event_free(parent->drain_deadline);
    for (unsigned i = 0; i < parent->listener_count; i++)
        close(parent->listeners[i]);
    parent_reload_end(parent);
    parent_relink_free(parent);
    buf_free(&parent->started_text);
    buf_free(&parent->text);
    event_base_free(parent->base);
}

int parent_main(const struct daemon *d, struct settings *s, struct slice text)
{
    static struct parent parent;
    struct timeval second = {1, 0};
    struct rlimit none = {0, 0};
    struct err e = {0};

    setrlimit(RLIMIT_CORE, &none);
    parent = (struct parent){.d = d, .s = s, .started = s};
    if (gethostname(parent.node, sizeof parent.node - 1) != 0 || *parent.node == '\0')
        snprintf(parent.node, sizeof parent.node, "unnamed");
    buf_init(&parent.started_text, SETTINGS_TEXT_MAX);
    buf_init(&parent.text, SETTINGS_TEXT_MAX);
    if (!buf_add_slice(&parent.started_text, text, &e) || !buf_add_slice(&parent.text, text, &e))
        return 1;
    parent.base = event_base_new();
    if (parent.base == NULL)
        return 1;
    if (mkdir(s->state_dir, 0700) != 0 && errno != EEXIST) {
        log_error("state-dir", "%s: %s", s->state_dir, strerror(errno));
        return ROLE_EXIT_CONFIG;
    }
    if (!parent_open_listeners(&parent, &e)) {
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
    parent_reload_begin(&parent);
    place_processes(&parent);
    for (unsigned i = 0; i < parent.count; i++)
        start(&parent.processes[i]);
    log_info("started", "%u roles", parent.count);
    parent_write_status(&parent);
    event_base_dispatch(parent.base);
    parent.draining = true;
    parent_write_status(&parent);
    log_info("stopped", "all roles have ended");
    release(&parent);
    return parent.exit_status;
}
