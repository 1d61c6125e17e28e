/*
 * Role `front` of coffre-ingest: sensors' connections (TLS, STOMP, OpenWire) on one side, its siblings on the other. Holds no key and no
 * database. Deposits of all connections decoded in one turn of the loop go to the relay with one write, and what a turn
 * has for a connection leaves in one record.
 */
#include "ingest/front/front_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/rand.h>

#include "common/values/log.h"

void front_look_at_clock(struct front *f)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    f->time.now = (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
    clock_gettime(CLOCK_REALTIME_COARSE, &t);
    f->time.wall = (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- accepting --------------------------------------------------------------------------- */

static void name_peer(const struct sockaddr_storage *a, char *text, size_t size)
{
    char host[INET6_ADDRSTRLEN] = "?";
    unsigned port = 0;

    if (a->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)a;

        inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
        port = ntohs(in->sin_port);
    } else if (a->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)a;

        inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host);
        port = ntohs(in6->sin6_port);
    }
    snprintf(text, size, "%s:%u", host, port);
}

/* Out of descriptors or memory: the listeners rest, the backlog waits. */
static void rest(struct front *f)
{
    log_error("accept-failed", "%s: accepting again in a second", strerror(errno));
    for (unsigned i = 0; i < f->listener_count; i++)
        event_del(f->listeners[i]);
    f->accept_again = f->time.now + 1000;
}

void front_listen(struct front *f)
{
    if (f->trust == NULL || f->accept_again != 0)
        return;
    for (unsigned i = 0; i < f->listener_count; i++)
        event_add(f->listeners[i], NULL);
}

static void acceptable(evutil_socket_t fd, short what, void *arg)
{
    struct front *f = arg;

    (void)what;
    front_look_at_clock(f);
    for (unsigned i = 0; i < FRONT_ACCEPT_MAX; i++) {
        struct sockaddr_storage a = {0};
        socklen_t len = sizeof a;
        int peer = accept4(fd, (struct sockaddr *)&a, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        char name[64];

        if (peer < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
                rest(f);
            return;
        }
        name_peer(&a, name, sizeof name);
        if (f->connection_count >= f->limit_connections) {
            f->counts.refused_full++;
            log_warning("connections-full", "%s turned away: %u connections, the limit", name, f->connection_count);
            close(peer);
            continue;
        }
        connection_accept(f, peer, name);
    }
}

static void listener(void *ctx, int fd)
{
    struct front *f = ctx;
    struct event *ev;

    if (f->listener_count == FRONT_LISTENERS_MAX || f->draining) {
        close(fd);
        return;
    }
    ev = event_new(f->base, fd, EV_READ | EV_PERSIST, acceptable, f);
    f->listener_fds[f->listener_count] = fd;
    f->listeners[f->listener_count++] = ev;
    front_listen(f);
    front_say_ready(f);
}

static void stop_listening(struct front *f)
{
    for (unsigned i = 0; i < f->listener_count; i++) {
        event_free(f->listeners[i]);
        close(f->listener_fds[i]);
    }
    f->listener_count = 0;
}

/* ---- drain, reload ----------------------------------------------------------------------- */

static void drain(void *ctx)
{
    struct front *f = ctx;

    front_look_at_clock(f);
    f->draining = true;
    stop_listening(f);
    for (struct connection *c = f->connections, *next; c != NULL; c = next) {
        next = c->next;
        connection_drain(c);
    }
    front_say_ready(f);
}

static void take_limits(struct front *f, const struct settings *s)
{
    struct rlimit files;

    f->limit_connections = s->ingest.limits.connections;
    f->limit_pending = s->ingest.limits.pending_bytes;
    f->limit_held = 2 * s->ingest.limits.pending_bytes + s->ingest.limits.transaction_bytes;
    f->handshake_ms = s->ingest.timeouts.handshake;
    f->connect_ms = s->ingest.timeouts.connect;
    f->stall_ms = s->ingest.timeouts.stall;
    f->write_ms = s->ingest.timeouts.write;
    f->rules.transaction_bytes = s->ingest.limits.transaction_bytes;
    f->rules.transactions = (unsigned)s->ingest.limits.transactions;
    f->rules.subscriptions = (unsigned)s->ingest.limits.subscriptions;
    f->rules.heartbeat_min = s->ingest.timeouts.heartbeat_min;
    f->rules.inactivity = s->ingest.timeouts.inactivity;
    f->rules.frame_time = s->ingest.timeouts.connect;
    f->rules.frame.headers = s->ingest.limits.frame_headers;
    f->rules.frame.header_bytes = s->ingest.limits.header_bytes;
    f->rules.frame.body_bytes = s->ingest.limits.body_bytes;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < f->limit_connections + 64) {
        files.rlim_cur = files.rlim_max < f->limit_connections + 64 ? files.rlim_max : f->limit_connections + 64;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

/* Certificates and authorities come from identity, which reads them again by itself. */
static void reload(void *ctx, const struct settings *fresh)
{
    take_limits(ctx, fresh);
}

/* ---- metrics and ticks ------------------------------------------------------------------- */

static void report(struct front *f)
{
    struct session_counts n = f->counts.sessions;
    unsigned unverified = 0;
    struct buf b;
    bool ok;

    for (const struct connection *c = f->connections; c != NULL; c = c->next) {
        unverified += c->state == CONNECTION_IDENTITY;
        if (c->session != NULL) {
            const struct session_counts *more = session_counts(c->session);

            n.deposits += more->deposits;
            n.bytes += more->bytes;
            n.receipts += more->receipts;
            n.answers += more->answers;
            n.archives += more->archives;
            n.acks += more->acks;
            n.commits += more->commits;
            n.refusals += more->refusals;
        }
    }
    buf_init(&b, 8192);
    ok = buf_printf(&b, NULL,
                    "coffre_front_connections %u\ncoffre_front_accepted_total %" PRIu64 "\ncoffre_front_turned_away_total %" PRIu64
                    "\ncoffre_front_deposits_total %" PRIu64 "\ncoffre_front_deposit_bytes_total %" PRIu64
                    "\ncoffre_front_receipts_total %" PRIu64 "\ncoffre_front_commits_total %" PRIu64
                    "\ncoffre_front_answers_total %" PRIu64 "\ncoffre_front_archives_total %" PRIu64
                    "\ncoffre_front_acknowledgements_total %" PRIu64 "\ncoffre_front_refusals_total %" PRIu64 "\ncoffre_front_pending_bytes %zu\ncoffre_front_pending_deposits %" PRIu64
                    "\ncoffre_front_partial_bytes %zu\ncoffre_front_transaction_bytes %" PRId64 "\ncoffre_front_broker_up %d"
                    "\ncoffre_front_identity_up %d\ncoffre_front_unverified_connections %u\ncoffre_front_refused_total %" PRIu64
                    "\ncoffre_front_cut_total %" PRIu64 "\n",
                    f->connection_count, f->counts.accepted, f->counts.refused_full, n.deposits, n.bytes, n.receipts, n.commits,
                    n.answers, n.archives, n.acks, n.refusals, f->tickets.bytes, f->tickets.next - f->tickets.first, f->held, f->transactions,
                    f->relay_up, f->identity.channel != NULL, unverified, f->counts.denied, f->counts.cut);
    for (unsigned i = 0; i < f->health.count && ok; i++)
        if (strspn(f->health.items[i].name, "abcdefghijklmnopqrstuvwxyz-") == strlen(f->health.items[i].name))
            ok = buf_printf(&b, NULL, "coffre_front_identity_ok{item=\"%s\"} %d\n", f->health.items[i].name,
                            f->health.items[i].ok);
    for (unsigned i = SESSION_DISCONNECT; i < FRONT_ENDS && ok; i++)
        ok = buf_printf(&b, NULL, "coffre_front_ends_total{reason=\"%s\"} %" PRIu64 "\n", connection_end_text(i), f->counts.ends[i]);
    if (ok && buf_add(&b, "", 1, NULL))
        role_metrics(f->role, (const char *)buf_slice(&b).at);
    buf_free(&b);
}

/* A keys role that missed its deadline is not asked again: only a new one helps. */
static void watch_keys(struct front *f)
{
    if (remote_line_linked(f->keys)) {
        f->keys_lost_at = f->time.now;
    } else if (f->keys_lost_at != 0 && f->time.now - f->keys_lost_at > FRONT_KEYS_MS) {
        f->keys_lost_at = f->time.now;
        role_kill_sibling(f->role, "keys", 0);
    }
}

/* A relay, deliver or identity that runs but has cut this front off is not linked again: only a new one is. */
static void watch_link(struct front *f, const struct link *l, const char *kind, uint64_t *seen)
{
    if (l->channel != NULL) {
        *seen = f->time.now;
    } else if (*seen != 0 && f->time.now - *seen > FRONT_LINK_MS) {
        *seen = f->time.now;
        role_kill_sibling(f->role, kind, 0);
    }
}

/* Handshakes leave the heap full of holes: pages nobody uses go back once connections have come or gone. */
static void give_back_heap(struct front *f)
{
    if (f->heap_seen == f->counts.accepted + f->connection_count || f->time.now - f->heap_at < FRONT_HEAP_MS)
        return;
    f->heap_seen = f->counts.accepted + f->connection_count;
    f->heap_at = f->time.now;
    malloc_trim(0);
}

static void ticked(evutil_socket_t fd, short what, void *arg)
{
    struct front *f = arg;

    (void)fd;
    (void)what;
    front_look_at_clock(f);
    for (struct connection *c = f->connections, *next; c != NULL; c = next) {
        next = c->next;
        connection_tick(c);
    }
    tickets_check_stalled(f);
    identity_tick(f);
    admission_tell_omitted(f, false);
    if (f->accept_again != 0 && f->time.now >= f->accept_again) {
        f->accept_again = 0;
        front_listen(f);
    }
    if (f->time.now >= f->metrics_at) {
        f->metrics_at = f->time.now + 1000;
        report(f);
        watch_keys(f);
        if (!f->draining) {
            watch_link(f, &f->relay, "relay", &f->relay_seen);
            watch_link(f, &f->deliver, "deliver", &f->deliver_seen);
            watch_link(f, &f->identity, "identity", &f->identity_seen);
        }
        give_back_heap(f);
        front_say_ready(f);
    }
}

/* ---- loop -------------------------------------------------------------------------------- */

/* Deposits that waited for room go on, while there is some, who waited longest first. */
static void resume_waiting(struct front *f)
{
    while (f->waiting != NULL && !front_is_full(f)) {
        struct connection *c = f->waiting;

        f->waiting = c->next_waiting;
        if (f->waiting == NULL)
            f->waiting_last = NULL;
        c->waiting = false;
        connection_resume(c);
    }
}

static void read_buffered(struct front *f)
{
    struct connection *c = f->again;

    f->again = NULL;
    while (c != NULL) {
        struct connection *next = c->next_again;

        c->again = false;
        connection_read(c);
        c = next;
    }
}

static void end_turn(struct front *f)
{
    resume_waiting(f);
    front_flush_relay(f);
    while (f->dirty != NULL) {
        struct connection *c = f->dirty;

        f->dirty = c->next_dirty;
        c->dirty = false;
        connection_flush(c);
    }
    front_flush_deliver(f);
    identity_flush(f);
    if (f->gone != NULL)
        connection_free_gone(f);
}

static bool serve(struct front *f)
{
    while (!event_base_got_break(f->base)) {
        if (event_base_loop(f->base, EVLOOP_ONCE | (f->again != NULL ? EVLOOP_NONBLOCK : 0)) < 0)
            return false;
        read_buffered(f);
        end_turn(f);
        if (f->draining && f->connections == NULL && (f->relay.channel == NULL || channel_queued(f->relay.channel) == 0))
            return true;
    }
    return false;
}

/* Message ids of this run are nobody else's: a client that connects again, here or elsewhere, never takes one for a duplicate. */
static bool name_instance(struct front *f, struct err *e)
{
    uint8_t random[8];

    if (RAND_bytes(random, sizeof random) != 1)
        return err_set_openssl(e, ERR_FATAL, "no random bytes");
    for (unsigned i = 0; i < sizeof random; i++)
        snprintf(f->rules.instance + 2 * i, 3, "%02x", random[i]);
    return true;
}

int front_run(struct role *self)
{
    static const struct role_events events = {.linked = front_linked, .listener = listener, .drain = drain, .reload = reload};
    const struct settings *s = role_settings(self);
    struct front *f = mem_zalloc(1, sizeof *f);
    struct err e = {0};
    struct timeval period;
    bool ok;

    f->role = self;
    f->base = event_base_new();
    if (f->base == NULL || !tls_prepare(&e) || !name_instance(f, &e)) {
        log_error("tls-unusable", "%s", e.text);
        return 1;
    }
    f->keys = remote_line_new();
    f->journal = journal_open(self);
    f->journal_watched = -1;
    f->refusals = refusals_new();
    take_limits(f, s);
    session_rules_vault(&f->rules, s->vault.number);
    buf_init_secret(&f->scratch, 2 * FRONT_READ_MAX);
    f->tickets.first = f->tickets.next = 1;
    front_look_at_clock(f);
    f->period = f->rules.heartbeat_min / 4 < 50 ? 50 : f->rules.heartbeat_min / 4 > 250 ? 250 : f->rules.heartbeat_min / 4;
    period = (struct timeval){0, (suseconds_t)f->period * 1000};
    f->tick = event_new(f->base, -1, EV_PERSIST, ticked, f);
    event_add(f->tick, &period);
    role_on(self, &events, f);
    role_attach(self, f->base);
    front_say_ready(f);
    ok = serve(f);
    admission_tell_omitted(f, true);
    journal_free(f->journal); /* waits a moment until what was written is safe */
    return ok ? 0 : 1;
}
