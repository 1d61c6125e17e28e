/* Generated load: see load.h. One thread, one loop over all connections. */
#include "ingest/deposit/load_internal.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    OUT_MAX = 4 << 20,
    ANSWER_BODY_MAX = 256 << 10,
    FIRST_TRY_MS = 10000, /* for a first attempt that has not failed yet, whatever --retry says */
    SHAKING_AT_ONCE = 32, /* idle connections opening at the same time */
    SHOW_EVERY_MS = 500,
    GATHER_WINDOW = 64,   /* from this window on, receipts are let gather a little before they are read */
    GATHER_US = 150,
    LOSSES_TOLD = 5,
};

static bool send_wanted(const struct load *l)
{
    return l->options->generate != 0 || l->options->duration > 0;
}

static bool idle_frame(void *context, const struct stomp_frame *f, struct err *e)
{
    if (f->command == STOMP_ERROR)
        return link_take_error(context, f, e);
    return err_set(e, ERR_RETRY, "an idle connection got %s", stomp_command_text(f->command));
}

/* A descriptor for each connection, as far as the system allows. */
static void raise_descriptors(size_t connections)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < connections + 64) {
        limit.rlim_cur = limit.rlim_max < connections + 64 ? limit.rlim_max : connections + 64;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static bool prepare(struct load *l, const struct options *o, SSL_CTX *tls, struct err *e)
{
    raise_descriptors(o->connections + o->idle);
    l->options = o;
    l->target = (struct link_target){.host = o->host, .port = o->port, .tls = tls, .virtual_host = o->virtual_host,
                                     .heart_beat = o->heart_beat, .out_max = OUT_MAX + o->size,
                                     .body_max = ANSWER_BODY_MAX};
    snprintf(l->run_name, sizeof l->run_name, "load-%llx-%x", (unsigned long long)link_now_ns() / 1000, (unsigned)getpid());
    l->lanes = mem_zalloc(o->connections, sizeof *l->lanes);
    for (size_t i = 0; i < o->connections; i++)
        load_lane_init(&l->lanes[i], l);
    l->idle = mem_zalloc(o->idle + 1, sizeof *l->idle);
    for (size_t i = 0; i < o->idle; i++)
        l->idle[i].state = LINK_CLOSED;
    l->moved_at = l->idle_wait.since = l->follow.wait.since = link_now_ms();
    l->shows = !o->quiet && !o->json && isatty(STDERR_FILENO) == 1;
    return !send_wanted(l) || load_make_frames(l, e);
}

/* STOMP 1.2, "Graceful Shutdown", without waiting for the receipt: everything is settled already. */
static void say_goodbye(struct link *link)
{
    struct stomp_writer w;
    struct err e = {0};

    if (link->state != LINK_READY)
        return;
    stomp_open(&w, &link->out, STOMP_1_2, STOMP_DISCONNECT);
    if (stomp_close(&w, slice_of(NULL, 0), &e) && !link_flush(link))
        link->state = LINK_CLOSED;
}

static void release(struct load *l)
{
    for (size_t i = 0; l->lanes != NULL && i < l->options->connections; i++)
        if (l->lanes[i].open)
            say_goodbye(&l->lanes[i].link);
    if (l->follow.open)
        say_goodbye(&l->follow.link);
    for (size_t i = 0; l->lanes != NULL && i < l->options->connections; i++)
        load_lane_free(&l->lanes[i]);
    for (size_t i = 0; l->idle != NULL && i < l->options->idle; i++)
        if (l->idle[i].state != LINK_CLOSED)
            link_close(&l->idle[i]);
    load_follow_free(l);
    load_free_frames(l);
    free(l->lanes);
    free(l->idle);
}

void load_lost(struct load *l, struct load_wait *wait, const struct link *link, const struct err *e)
{
    l->why = e->code != ERR_NONE ? *e : link->why;
    l->refused = link->refused;
    if (l->errors++ < LOSSES_TOLD)
        fprintf(stderr, "coffre-deposit: %s%s\n", link == &l->follow.link ? "following: " : "", l->why.text);
    if (wait->since == 0)
        wait->since = link_now_ms();
    wait->failed = true;
}

static void lane_lost(struct load_lane *lane, const struct err *why)
{
    struct load *l = lane->load;

    load_lost(l, &lane->wait, &lane->link, why);
    l->lost += lane->outstanding;
    if (lane->open)
        link_close(&lane->link);
    lane->open = false;
    lane->sent = 0;
    lane->outstanding = 0;
    memset(lane->sent_at, 0, lane->slot_count * sizeof *lane->sent_at);
    lane->retry_at = link_now_ms() + LOAD_RETRY_MS;
}

static void lane_turn(struct load_lane *lane, short revents)
{
    struct err e = {0};

    if (!lane->open) {
        if (link_now_ms() < lane->retry_at)
            return;
        lane->open = link_open(&lane->link, &lane->load->target, &e);
        if (!lane->open)
            lane_lost(lane, &e);
        return;
    }
    if (!link_turn(&lane->link, revents, load_lane_frame, lane))
        lane_lost(lane, &lane->link.why);
    else if (lane->link.state == LINK_READY)
        lane->wait = (struct load_wait){0};
}

static bool all_ready(const struct load *l)
{
    for (size_t i = 0; i < l->options->connections; i++)
        if (!l->lanes[i].open || l->lanes[i].link.state != LINK_READY)
            return false;
    return l->idle_ready >= l->options->idle &&
           (l->options->follow == FOLLOW_NONE || (l->follow.open && l->follow.subscribed));
}

/* Events that rate, count and answers still allow at this moment. */
static uint64_t allowance(const struct load *l, uint64_t now)
{
    uint64_t left = UINT64_MAX, due, answered = l->follow.ok + l->follow.duplicates + l->follow.invalid;

    if (l->began == 0 || l->stopped_at != 0)
        return 0;
    if (l->options->generate != 0)
        left = l->options->generate - l->sent;
    if (l->options->unanswered != 0) {
        due = answered + l->options->unanswered;
        due = due > l->sent ? due - l->sent : 0;
        left = due < left ? due : left;
    }
    if (l->options->rate <= 0)
        return left;
    due = (uint64_t)((double)(now - l->began) * l->options->rate / 1e9);
    due = due > l->sent ? due - l->sent : 0;
    return due < left ? due : left;
}

static void fill_lanes(struct load *l)
{
    static size_t first; /* whose turn it is to be served first, so that a rate is shared evenly */
    uint64_t now = link_now_ns(), allowed = allowance(l, now);
    size_t count = l->options->connections;

    first = (first + 1) % count;
    for (size_t i = 0; allowed > 0 && i < count; i++) {
        struct load_lane *lane = &l->lanes[(first + i) % count];

        if (lane->open && lane->link.state == LINK_READY && !load_lane_fill(lane, &allowed, now))
            lane_lost(lane, &lane->link.why);
    }
}

/* The measurement begins after the warm-up and ends when nothing more is sent. */
static void keep_time(struct load *l, bool interrupted)
{
    const struct options *o = l->options;
    uint64_t now = link_now_ns();

    if (l->began == 0 && all_ready(l)) {
        l->began = now;
        l->measured_from = now + (uint64_t)(o->warm_up * 1e9);
        l->stop_at = o->duration > 0 ? l->measured_from + (uint64_t)(o->duration * 1e9) : 0;
    }
    if (l->began == 0)
        return;
    if (now < l->measured_from || l->own_cpu_before == 0) {
        l->confirmed_before = l->confirmed;
        l->own_cpu_before = load_own_cpu();
    }
    if (l->stopped_at == 0 && ((l->stop_at != 0 && now >= l->stop_at) || interrupted ||
                               (o->generate != 0 && l->confirmed + l->lost >= o->generate))) {
        l->stopped_at = now;
        l->confirmed_while_sending = l->confirmed;
    }
}

static size_t outstanding(const struct load *l)
{
    size_t n = 0;

    for (size_t i = 0; i < l->options->connections; i++)
        n += l->lanes[i].outstanding;
    return n;
}

/* Thousands take their time: as long as one more gets its session, there is no giving up. */
static void idle_count(struct load *l)
{
    if (l->idle_ready == l->options->idle) {
        l->idle_wait = (struct load_wait){0};
        l->idle_most = 0;
    } else if (l->idle_ready > l->idle_most || l->idle_wait.since == 0) {
        l->idle_wait.since = link_now_ms();
        l->idle_most = l->idle_ready;
    }
}

static void idle_turn(struct load *l, const struct pollfd *fds)
{
    size_t shaking = 0;

    l->idle_ready = 0;
    for (size_t i = 0; i < l->options->idle; i++) {
        struct link *link = &l->idle[i];
        struct err e = {0};

        if (link->state == LINK_CLOSED && shaking < SHAKING_AT_ONCE && link_now_ms() >= link->heard) {
            if (!link_open(link, &l->target, &e)) {
                load_lost(l, &l->idle_wait, link, &e);
                link->heard = link_now_ms() + LOAD_RETRY_MS;
            }
        } else if (link->state != LINK_CLOSED && !link_turn(link, fds[i].revents, idle_frame, link)) {
            load_lost(l, &l->idle_wait, link, &e);
            link_close(link);
            link->heard = link_now_ms() + LOAD_RETRY_MS;
        }
        shaking += link->state != LINK_CLOSED && link->state != LINK_READY;
        l->idle_ready += link->state == LINK_READY;
    }
    idle_count(l);
}

static short poll_events(const struct link *link)
{
    return link->state == LINK_CLOSED ? 0 : link_events(link);
}

/* How long nothing can happen unless a socket says so. */
static int patience(const struct load *l)
{
    if (l->began != 0 && l->stopped_at == 0 && l->options->rate > 0)
        return 1;
    return 50;
}

static void turn(struct load *l, struct pollfd *fds)
{
    size_t lanes = send_wanted(l) ? l->options->connections : 0, idle = l->options->idle;

    for (size_t i = 0; i < lanes; i++)
        fds[i] = (struct pollfd){.fd = l->lanes[i].open ? l->lanes[i].link.fd : -1,
                                 .events = l->lanes[i].open ? poll_events(&l->lanes[i].link) : (short)0};
    for (size_t i = 0; i < idle; i++)
        fds[lanes + i] = (struct pollfd){.fd = l->idle[i].state == LINK_CLOSED ? -1 : l->idle[i].fd,
                                         .events = poll_events(&l->idle[i])};
    fds[lanes + idle] = (struct pollfd){.fd = l->follow.open ? l->follow.link.fd : -1,
                                        .events = l->follow.open ? link_events(&l->follow.link) : (short)0};
    poll(fds, (nfds_t)(lanes + idle + 1), patience(l));
    if (l->began != 0 && l->options->window >= GATHER_WINDOW)
        usleep(GATHER_US); /* one wake-up for many receipts: the server has the processor meanwhile */
    for (size_t i = 0; i < lanes; i++)
        lane_turn(&l->lanes[i], fds[i].revents);
    idle_turn(l, fds + lanes);
    if (l->options->follow != FOLLOW_NONE)
        load_follow_turn(l, fds[lanes + idle].revents);
}

static void show(const struct load *l, uint64_t *shown_at)
{
    uint64_t now = link_now_ms();

    if (!l->shows || now - *shown_at < SHOW_EVERY_MS)
        return;
    *shown_at = now;
    fprintf(stderr, "\r\033[K%llu confirmed, %zu under way, %zu idle connections", (unsigned long long)l->confirmed,
            outstanding(l), l->idle_ready);
    if (l->options->follow != FOLLOW_NONE)
        fprintf(stderr, ", %llu answered, serial %llu sealed",
                (unsigned long long)(l->follow.ok + l->follow.duplicates + l->follow.invalid),
                (unsigned long long)l->follow.archived_serial);
}

/* Has it waited for longer than --retry? */
static bool waited(const struct load *l, const struct load_wait *w, uint64_t now)
{
    return w->since != 0 && now - w->since > 1000ull * l->options->retry && (w->failed || now - w->since > FIRST_TRY_MS);
}

/* Some connection has been without a session for too long: what the others do is not the load that was asked for. */
static bool gave_up(const struct load *l, uint64_t now)
{
    bool over = waited(l, &l->idle_wait, now);

    if (l->options->follow != FOLLOW_NONE && send_wanted(l))
        over = over || waited(l, &l->follow.wait, now);
    for (size_t i = 0; send_wanted(l) && l->stopped_at == 0 && i < l->options->connections; i++)
        over = over || waited(l, &l->lanes[i].wait, now);
    return over;
}

/* EXIT_ALL: go on. */
static enum exit_code hopeless(struct load *l)
{
    static uint64_t confirmed;
    uint64_t now = link_now_ms();

    if (l->confirmed != confirmed || (!send_wanted(l) && l->idle_ready == l->options->idle))
        l->moved_at = now;
    confirmed = l->confirmed;
    if (l->why.code == ERR_DENIED || gave_up(l, now))
        return l->refused ? EXIT_REFUSED : EXIT_CONNECTION;
    return now - l->moved_at > 1000ull * l->options->timeout ? EXIT_LATE : EXIT_ALL;
}

static bool finished(struct load *l, bool interrupted)
{
    if (!send_wanted(l) || l->began == 0)
        return interrupted;
    if (l->stopped_at == 0 || outstanding(l) > 0)
        return false;
    if (!load_follow_done(l))
        return interrupted;
    l->follow.all_sealed_at = link_now_ns();
    return true;
}

static enum exit_code loop(struct load *l, volatile sig_atomic_t *interrupted)
{
    struct pollfd *fds = mem_zalloc(l->options->connections + l->options->idle + 1, sizeof *fds);
    enum exit_code end = EXIT_ALL;
    uint64_t shown_at = 0;
    bool said_ready = send_wanted(l);

    while (end == EXIT_ALL && !finished(l, *interrupted != 0) && *interrupted < 2) {
        turn(l, fds);
        keep_time(l, *interrupted != 0);
        if (send_wanted(l))
            fill_lanes(l);
        if (!said_ready && l->idle_ready == l->options->idle) {
            said_ready = true;
            printf("%zu connections are idle\n", l->idle_ready);
            fflush(stdout);
        }
        show(l, &shown_at);
        end = hopeless(l);
    }
    free(fds);
    if (shown_at != 0)
        fputs("\r\033[K", stderr);
    if (end == EXIT_ALL && *interrupted != 0 && send_wanted(l))
        return EXIT_INTERRUPTED;
    if (end == EXIT_ALL && (l->follow.invalid > 0 || l->lost > 0))
        return EXIT_SOME;
    return end;
}

enum exit_code load_run(const struct options *o, SSL_CTX *tls, volatile sig_atomic_t *interrupted)
{
    struct load *l = mem_zalloc(1, sizeof *l);
    struct err e = {0};
    enum exit_code end = EXIT_USAGE;

    if (prepare(l, o, tls, &e)) {
        end = loop(l, interrupted);
        if (l->stopped_at == 0) {
            l->stopped_at = link_now_ns();
            l->confirmed_while_sending = l->confirmed;
        }
        if (end == EXIT_CONNECTION || end == EXIT_LATE || end == EXIT_REFUSED)
            fprintf(stderr, "coffre-deposit: gave up: %s\n", l->why.code != ERR_NONE ? l->why.text : "nothing moves");
        if (send_wanted(l))
            load_report(l, end);
    } else {
        fprintf(stderr, "coffre-deposit: %s\n", e.text);
    }
    release(l);
    free(l);
    return end;
}
