/*
 * Role front of coffre-exporter: listeners, certificates, reload, drain, metrics. Strangers' connections are in
 * front_connection.c, their requests in front_request.c, the query processes in front_queries.c.
 */
#include "exporter/front.h"

#include <errno.h>
#include <malloc.h>
#include <netdb.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>

#include "exporter/roles.h"

/* ---- siblings ------------------------------------------------------------------------------------- */

static void linked(void *ctx, const char *kind, unsigned index, struct channel *c)
{
    struct front *f = ctx;

    if (strcmp(kind, "keys") == 0) {
        remote_key_link(f->key, c);
        f->keys_seen = true;
    } else if (strcmp(kind, "query") == 0 && index < FRONT_QUERIES_MAX)
        front_link_query(&f->queries[index], c);
    else
        channel_free(c);
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

static void acceptable(evutil_socket_t listener, short what, void *arg)
{
    struct front *f = arg;

    (void)what;
    for (int turn = 0; turn < 64 && f->connected < f->slot_count; turn++) {
        struct sockaddr_storage from;
        socklen_t len = sizeof from;
        char host[48] = "?", port[8] = "", address[64];
        int fd = accept4(listener, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE) {
                log_warning("descriptors", "no descriptor is left for a new connection");
                set_accepting(f, false); /* the tick tries again */
            }
            return;
        }
        getnameinfo((struct sockaddr *)&from, len, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
        snprintf(address, sizeof address, "%s:%s", host, port);
        front_accept(f, fd, address);
    }
    if (f->connected >= f->slot_count)
        set_accepting(f, false);
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

/* ---- what certificates are believed ---------------------------------------------------------------- */

static STACK_OF(X509) *read_bundle(const char *path, struct err *e)
{
    STACK_OF(X509) *all = sk_X509_new_null();
    BIO *in = BIO_new_file(path, "r");
    X509 *x;

    if (all == NULL || in == NULL) {
        err_set_openssl(e, ERR_INPUT, "%s: cannot be read", path);
    } else {
        while ((x = PEM_read_bio_X509(in, NULL, NULL, NULL)) != NULL)
            sk_X509_push(all, x);
        ERR_clear_error();
    }
    BIO_free(in);
    return all;
}

/* The operator's CA is believed too where it is configured: it issues technical administrators' certificates. */
static bool add_operator_ca(SSL_CTX *context, const char *path, struct err *e)
{
    STACK_OF(X509_NAME) *names = SSL_CTX_get_client_CA_list(context);
    STACK_OF(X509_NAME) *own = names == NULL ? NULL : SSL_dup_CA_list(names);

    if (own == NULL || SSL_add_file_cert_subjects_to_stack(own, path) != 1) {
        sk_X509_NAME_pop_free(own, X509_NAME_free);
        return err_set_openssl(e, ERR_INPUT, "%s: no CA certificate", path);
    }
    SSL_CTX_set_client_CA_list(context, own);
    if (SSL_CTX_load_verify_file(context, path) != 1)
        return err_set_openssl(e, ERR_INPUT, "%s: no CA certificate", path);
    return true;
}

/* Reads certificate and CAs; what is in force stays when something is wrong. */
static bool load_trust(struct front *f, const struct settings *s, struct err *e)
{
    struct tls_server_options o = {.certificate = s->exporter.certificate, .remote = f->key,
                                   .client_ca = s->regulator.ca, .client = TLS_CLIENT_REPORTED};
    SSL_CTX *context = tls_server_context(&o, e);
    STACK_OF(X509) *regulator = NULL, *operator_ca = NULL;
    bool has_operator = *s->operator_pki.ca != '\0';

    if (context == NULL || (has_operator && !add_operator_ca(context, s->operator_pki.ca, e))) {
        SSL_CTX_free(context);
        return false;
    }
    regulator = read_bundle(s->regulator.ca, e);
    operator_ca = has_operator ? read_bundle(s->operator_pki.ca, e) : NULL;
    SSL_CTX_free(f->context);
    sk_X509_pop_free(f->regulator_ca, X509_free);
    sk_X509_pop_free(f->operator_ca, X509_free);
    f->context = context;
    f->regulator_ca = regulator;
    f->operator_ca = operator_ca;
    return true;
}

static void reload(void *ctx, const struct settings *fresh)
{
    struct front *f = ctx;
    struct err e = {0};

    f->request_ms = fresh->exporter.request_timeout;
    f->write_ms = fresh->exporter.write_timeout;
    if (load_trust(f, fresh, &e))
        return;
    /* A certificate for another key: a fresh process takes it up; one line in the log, sessions begin again. */
    log_warning("reload-restart", "this process starts again for the new certificate: %s", e.text);
    event_base_loopbreak(f->base);
}

/* ---- life ------------------------------------------------------------------------------------------ */

static void drain(void *ctx)
{
    struct front *f = ctx;

    f->draining = true;
    set_accepting(f, false);
    for (unsigned i = 0; i < f->slot_count; i++) {
        struct front_connection *c = f->slots[i];

        if (c != NULL && (c->state == FRONT_IDLE || c->state == FRONT_HANDSHAKE || (c->state == FRONT_READING && c->in.len == 0)))
            front_drop(c, "draining");
    }
    front_bury(f);
    if (f->connected == 0)
        event_base_loopbreak(f->base);
}

static void report(struct front *f)
{
    char text[1024];
    const char *why;
    bool ready = front_is_ready(f, &why);

    role_ready(f->role, ready, "%s, %u connections", ready ? "serving" : why, f->connected);
    snprintf(text, sizeof text,
             "coffre_exporter_connections %u\ncoffre_exporter_accepted_total %llu\ncoffre_exporter_refused_certificates_total %llu\n"
             "coffre_exporter_requests_total{status=\"2xx\"} %llu\ncoffre_exporter_requests_total{status=\"3xx\"} %llu\n"
             "coffre_exporter_requests_total{status=\"4xx\"} %llu\ncoffre_exporter_requests_total{status=\"5xx\"} %llu\n"
             "coffre_exporter_sent_bytes_total %llu\n",
             f->connected, (unsigned long long)f->accepted, (unsigned long long)f->refused,
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
    if (remote_key_linked(f->key)) {
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
    if (!f->draining && f->connected < f->slot_count)
        set_accepting(f, true);
    give_memory_back(f);
    report(f);
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
    event_free(f->tick);
    SSL_CTX_free(f->context);
    sk_X509_pop_free(f->regulator_ca, X509_free);
    sk_X509_pop_free(f->operator_ca, X509_free);
    remote_key_free(f->key);
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
    struct front f = {.role = role, .accepting = true, .request_ms = s->exporter.request_timeout,
                      .write_ms = s->exporter.write_timeout, .slot_count = (unsigned)s->exporter.connections};
    struct timeval second = {1, 0};
    struct err e = {0};

    f.base = event_base_new();
    f.key = remote_key_open(s->exporter.certificate, &e);
    if (f.key == NULL || !load_trust(&f, s, &e)) {
        log_error("config-bad", "%s", e.text);
        return ROLE_EXIT_CONFIG;
    }
    allow_descriptors(f.slot_count);
    f.slots = mem_zalloc(f.slot_count, sizeof(struct front_connection *));
    for (unsigned i = 0; i < FRONT_QUERIES_MAX; i++)
        f.queries[i].front = &f;
    f.tick = event_new(f.base, -1, EV_PERSIST, ticked, &f);
    event_add(f.tick, &second);
    role_on(role, &events, &f);
    role_attach(role, f.base);
    event_base_dispatch(f.base);
    free_front(&f);
    event_base_free(f.base);
    return 0;
}
