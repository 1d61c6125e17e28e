/*
 * Role front of coffre-exporter: listeners, siblings, drain, metrics. Strangers' connections are in front_connection.c, their certificates in
 * front_identity.c, their requests in front_request.c and front_answer.c, the query processes in front_queries.c.
 */
#include "exporter/front.h"

#include <errno.h>
#include <malloc.h>
#include <netdb.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "exporter/roles.h"

/* ---- siblings ------------------------------------------------------------------------------------- */

static void linked(void *ctx, const char *kind, unsigned index, struct channel *c)
{
    struct front *f = ctx;

    if (strcmp(kind, "keys") == 0) {
        remote_line_link(f->line, c);
        f->keys_seen = true;
    } else if (strcmp(kind, "identity") == 0) {
        front_link_identity(f, c);
    } else if (strcmp(kind, "journal") == 0) {
        front_link_journal(f, c);
    } else if (strcmp(kind, "query") == 0 && index < FRONT_QUERIES_MAX) {
        front_link_query(&f->queries[index], c);
    } else if (strcmp(kind, "admin") == 0) {
        front_link_query(&f->admin, c);
    } else {
        channel_free(c);
    }
}

/* ---- listeners ---------------------------------------------------------------------------------- */

static void set_accepting(struct front *f, bool accepting)
{
    if (accepting == f->accepting)
        return;
    f->accepting = accepting;
    for (unsigned i = 0; i < f->listener_count; i++) {
        if (accepting)
            event_add(f->listeners[i], NULL);
        else
            event_del(f->listeners[i]);
    }
}

void front_watch_listeners(struct front *f)
{
    set_accepting(f, f->trust != NULL && !f->draining && f->connected < f->slot_count);
}

static void acceptable(evutil_socket_t listener, short what, void *arg)
{
    struct front *f = arg;

    (void)what;
    for (int turn = 0; turn < 64 && f->connected < f->slot_count; turn++) {
        struct sockaddr_storage from;
        socklen_t len = sizeof from;
        char host[FRONT_HOST_MAX] = "?", port[8] = "";
        int fd = accept4(listener, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE) {
                log_warning("descriptors", "no descriptor is left for a new connection");
                set_accepting(f, false); /* the tick tries again */
            }
            return;
        }
        getnameinfo((struct sockaddr *)&from, len, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
        front_accept(f, fd, host, port);
    }
    front_watch_listeners(f);
}

static void listener(void *ctx, int fd)
{
    struct front *f = ctx;

    if (f->listener_count == SETTINGS_LIST_MAX) {
        close(fd);
        return;
    }
    f->listeners[f->listener_count] = event_new(f->base, fd, EV_READ | EV_PERSIST, acceptable, f);
    if (f->accepting)
        event_add(f->listeners[f->listener_count], NULL);
    f->listener_count++;
}

/* Certificates are identity's and the keys role's to reload: see front_identity.c. */
static void reload(void *ctx, const struct settings *fresh)
{
    struct front *f = ctx;

    f->request_ms = fresh->exporter.request_timeout;
    f->write_ms = fresh->exporter.write_timeout;
}

/* ---- life ------------------------------------------------------------------------------------------ */

static void drain(void *ctx)
{
    struct front *f = ctx;

    f->draining = true;
    front_watch_listeners(f);
    for (unsigned i = 0; i < f->slot_count; i++) {
        struct front_connection *c = f->slots[i];

        if (c != NULL && (c->state == FRONT_IDLE || c->state == FRONT_HANDSHAKE || (c->state == FRONT_READING && c->in.len == 0)))
            front_drop(c, "draining");
    }
    front_bury(f);
    if (f->connected == 0)
        event_base_loopbreak(f->base);
}

/* What is not well although requests are served: the first item of /readyz that says so. */
static const char *first_trouble(const struct front *f, char *text, size_t size)
{
    const struct health h = front_health(f);

    for (unsigned i = 0; i < h.count; i++)
        if (!h.items[i].ok) {
            snprintf(text, size, "serving, but %s: %s", h.items[i].name, h.items[i].note);
            return text;
        }
    return "serving";
}

static void report(struct front *f)
{
    char text[1024], trouble[HEALTH_NAME_MAX + HEALTH_NOTE_MAX + 32];
    const char *why;
    bool ready = front_is_ready(f, &why);

    role_ready(f->role, ready, "%s, %u connections", ready ? first_trouble(f, trouble, sizeof trouble) : why, f->connected);
    snprintf(text, sizeof text,
             "coffre_exporter_connections %u\ncoffre_exporter_accepted_total %llu\ncoffre_exporter_refused_certificates_total %llu\n"
             "coffre_exporter_sessions_cut_total %llu\n"
             "coffre_exporter_requests_total{status=\"2xx\"} %llu\ncoffre_exporter_requests_total{status=\"3xx\"} %llu\n"
             "coffre_exporter_requests_total{status=\"4xx\"} %llu\ncoffre_exporter_requests_total{status=\"5xx\"} %llu\n"
             "coffre_exporter_sent_bytes_total %llu\n",
             f->connected, (unsigned long long)f->accepted, (unsigned long long)f->refused, (unsigned long long)f->cut,
             (unsigned long long)f->requests[2], (unsigned long long)f->requests[3], (unsigned long long)f->requests[4],
             (unsigned long long)f->requests[5], (unsigned long long)f->bytes_out);
    role_metrics(f->role, text);
}

/* Handshakes leave the heap full of holes: once connections have come or gone, pages that nobody uses go back to the system. */
static void give_memory_back(struct front *f)
{
    if (++f->seconds % 5 != 0 || f->trimmed_at == f->accepted + f->connected)
        return;
    f->trimmed_at = f->accepted + f->connected;
    malloc_trim(0);
}

/* A keys role that missed its deadline is not asked again: only a new one helps. */
static void watch_keys(struct front *f)
{
    if (remote_line_linked(f->line)) {
        f->keys_away = 0;
    } else if (f->keys_seen && ++f->keys_away > 3) {
        f->keys_away = 0;
        role_kill_sibling(f->role, "keys", 0);
    }
}

static void ticked(evutil_socket_t fd, short what, void *arg)
{
    struct front *f = arg;

    (void)fd;
    (void)what;
    if (!f->draining)
        watch_keys(f);
    front_tend_identity(f);
    front_tend_journal(f);
    front_watch_listeners(f);
    give_memory_back(f);
    report(f);
    front_bury(f);
}

static void free_front(struct front *f)
{
    for (unsigned i = 0; i < f->slot_count; i++)
        if (f->slots[i] != NULL)
            front_drop(f->slots[i], "this process ends");
    front_bury(f);
    for (unsigned i = 0; i < f->listener_count; i++)
        event_free(f->listeners[i]);
    for (unsigned i = 0; i < FRONT_QUERIES_MAX; i++)
        front_lose_query(&f->queries[i], "this process ends");
    front_lose_query(&f->admin, "this process ends");
    front_record_omitted(f, true);
    front_lose_identity(f, "this process ends");
    if (f->journal_readable != NULL)
        event_free(f->journal_readable);
    journal_free(f->journal);
    quota_free(f->refusals);
    event_free(f->tick);
    tls_trust_release(f->fresh);
    tls_trust_release(f->trust);
    remote_line_free(f->line);
    roster_free(f->roster);
    free(f->slots);
}

static void allow_descriptors(unsigned connections)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur >= connections + 64)
        return;
    files.rlim_cur = files.rlim_max < connections + 64 ? files.rlim_max : connections + 64;
    if (setrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur < connections + 64)
        log_warning("descriptors", "only %llu descriptors for %u connections", (unsigned long long)files.rlim_cur, connections);
}

int front_run(struct role *role)
{
    static const struct role_events events = {.linked = linked, .listener = listener, .drain = drain, .reload = reload};
    const struct settings *s = role_settings(role);
    struct front f = {.role = role, .request_ms = s->exporter.request_timeout,
                      .write_ms = s->exporter.write_timeout, .slot_count = (unsigned)s->exporter.connections};
    struct timeval second = {1, 0};
    struct err e = {0};

    f.base = event_base_new();
    if (f.base == NULL || !tls_prepare(&e)) {
        log_error("front-failed", "%s", e.text);
        return 1;
    }
    f.line = remote_line_new();
    f.journal = journal_open(role);
    f.refusals = refusals_new();
    allow_descriptors(f.slot_count);
    f.slots = mem_zalloc(f.slot_count, sizeof(struct front_connection *));
    for (unsigned i = 0; i < FRONT_QUERIES_MAX; i++)
        f.queries[i].front = &f;
    f.admin.front = &f;
    f.tick = event_new(f.base, -1, EV_PERSIST, ticked, &f);
    event_add(f.tick, &second);
    role_on(role, &events, &f);
    role_attach(role, f.base);
    event_base_dispatch(f.base);
    free_front(&f);
    event_base_free(f.base);
    return 0;
}
