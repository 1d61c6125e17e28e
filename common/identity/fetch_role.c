/*
 * Role `fetch`: HTTP towards CRL and OCSP servers, for `identity`, which may open no socket. Decides nothing and believes nothing: what it brings back is judged by whoever
 * asked. URLs come from the configuration, and from certificates that chain to a configured authority. No content is ever logged.
 */
#include "common/identity/fetch_job.h"

#include <stdio.h>

#include "common/values/log.h"

enum { FETCH_AT_ONCE = 16, FETCH_WAITING_MAX = 10000, FETCH_WAIT_MS = 1000 };

struct fetch {
    struct role *role;
    struct channel *identity; /* NULL: away */
    CURLM *multi;
    struct fetch_job *waiting, **last, *running;
    unsigned running_count, waiting_count;
    uint64_t done, failed, bytes;
    int64_t reported;
    bool drained;
};

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- identity ---- */

static void lose_identity(struct fetch *f, const char *why)
{
    if (f->identity != NULL)
        log_warning("channel-bad", "identity: %s", why);
    if (f->identity != NULL)
        role_relink(f->role, "identity", 0);
    channel_free(f->identity);
    f->identity = NULL;
}

/* What does not fit into the queue is as good as not fetched: the asker has deadlines. */
static void answer(struct fetch *f, uint32_t request, unsigned status, const char *reason, struct slice body)
{
    struct identity_fetched m = {.request = request, .status = (uint16_t)status, .reason = slice_text(reason), .body = body};
    struct err e = {0};

    f->done++;
    if (status == 0)
        f->failed++;
    f->bytes += body.len;
    if (f->identity == NULL || (identity_send_fetched(f->identity, &m, &e) && channel_flush(f->identity, &e)))
        return;
    if (e.code != ERR_RETRY)
        lose_identity(f, e.text);
}

static void give_up(struct fetch *f, struct fetch_job *j, const char *why)
{
    log_info("fetch-failed", "%s: %s", j->url, why);
    answer(f, j->request, 0, why, slice_of(NULL, 0));
}

/* ---- libcurl ---- */

static bool begin(struct fetch *f, struct fetch_job *j, const char **why)
{
    return fetch_job_begin(j, now_ms(), why) && curl_multi_add_handle(f->multi, j->easy) == CURLM_OK;
}

/* Begins what waits, as far as allowed. */
static void begin_some(struct fetch *f)
{
    while (f->waiting != NULL && f->running_count < FETCH_AT_ONCE) {
        struct fetch_job *j = f->waiting;
        const char *why;

        f->waiting = j->next;
        f->waiting_count--;
        if (f->waiting == NULL)
            f->last = &f->waiting;
        if (!begin(f, j, &why)) {
            give_up(f, j, why);
            fetch_job_free(j);
            continue;
        }
        j->next = f->running;
        f->running = j;
        f->running_count++;
    }
}

static void remove_running(struct fetch *f, struct fetch_job *j)
{
    struct fetch_job **at = &f->running;

    while (*at != j)
        at = &(*at)->next;
    *at = j->next;
    f->running_count--;
    curl_multi_remove_handle(f->multi, j->easy);
    fetch_job_free(j);
}

/* Done with, or off to where it was sent. */
static void finish(struct fetch *f, struct fetch_job *j, CURLcode result)
{
    char reason[FETCH_WHY_MAX];
    const char *why = reason;
    unsigned status;
    enum fetch_end end = fetch_job_end(j, result, &status, reason);

    if (end == FETCH_ON) {
        curl_multi_remove_handle(f->multi, j->easy);
        if (begin(f, j, &why))
            return;
    }
    if (end == FETCH_ANSWERED)
        answer(f, j->request, status, reason, buf_slice(&j->answer));
    else
        give_up(f, j, why);
    remove_running(f, j);
}

static void finish_some(struct fetch *f)
{
    CURLMsg *m;
    int left;

    while ((m = curl_multi_info_read(f->multi, &left)) != NULL) {
        char *at = NULL;

        if (m->msg != CURLMSG_DONE)
            continue;
        if (curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &at) == CURLE_OK && at != NULL)
            finish(f, (struct fetch_job *)(void *)at, m->data.result);
    }
}

/* ---- requests ---- */

static bool take_request(struct fetch *f, const struct channel_message *m, struct err *e)
{
    struct identity_fetch asked;
    struct fetch_job *j;

    if (m->type != IDENTITY_FETCH)
        return err_set(e, ERR_INPUT, "message %u makes no sense", m->type);
    if (!identity_read_fetch(m->body, &asked, e))
        return false;
    if (f->waiting_count == FETCH_WAITING_MAX) {
        answer(f, asked.request, 0, "too many requests wait", slice_of(NULL, 0));
        return true;
    }
    j = fetch_job_new(&asked, now_ms());
    *f->last = j;
    f->last = &j->next;
    f->waiting_count++;
    return true;
}

static void serve_identity(struct fetch *f)
{
    struct channel_message m;
    struct err e = {0};
    enum channel_result r = CHANNEL_EMPTY;

    if (f->identity == NULL)
        return;
    if (!channel_flush(f->identity, &e)) {
        lose_identity(f, e.text);
        return;
    }
    /* An answer that cannot be told ends the channel too. */
    while (f->identity != NULL && (r = channel_receive(f->identity, &m, &e)) == CHANNEL_MESSAGE && take_request(f, &m, &e))
        ;
    if (f->identity != NULL && r != CHANNEL_EMPTY)
        lose_identity(f, e.text);
}

static void forget_all(struct fetch *f)
{
    struct fetch_job *next;

    while (f->running != NULL)
        remove_running(f, f->running);
    for (struct fetch_job *j = f->waiting; j != NULL; j = next) {
        next = j->next;
        fetch_job_free(j);
    }
    f->waiting = NULL;
    f->last = &f->waiting;
    f->waiting_count = 0;
}

/* ---- role ---- */

static void linked(void *ctx, const char *kind, unsigned index, struct channel *c)
{
    struct fetch *f = ctx;

    (void)index;
    if (strcmp(kind, "identity") != 0) {
        channel_free(c);
        return;
    }
    /* Nobody waits any longer for what the one before has asked. */
    forget_all(f);
    channel_free(f->identity);
    f->identity = c;
}

static void drain(void *ctx)
{
    ((struct fetch *)ctx)->drained = true;
}

static void report(struct fetch *f)
{
    char text[400];

    if (now_ms() - f->reported < 1000)
        return;
    f->reported = now_ms();
    snprintf(text, sizeof text,
             "coffre_fetch_running %u\ncoffre_fetch_waiting %u\ncoffre_fetch_requests_total %llu\ncoffre_fetch_failures_total %llu\n"
             "coffre_fetch_bytes_total %llu\n",
             f->running_count, f->waiting_count, (unsigned long long)f->done, (unsigned long long)f->failed, (unsigned long long)f->bytes);
    role_metrics(f->role, text);
}

static void wait_for_something(struct fetch *f)
{
    struct curl_waitfd fds[2] = {{.fd = role_parent_fd(f->role), .events = CURL_WAIT_POLLIN}};
    unsigned n = 1;

    if (f->identity != NULL)
        fds[n++] = (struct curl_waitfd){.fd = channel_fd(f->identity),
                                        .events = (short)(CURL_WAIT_POLLIN | (channel_queued(f->identity) != 0 ? CURL_WAIT_POLLOUT : 0))};
    curl_multi_poll(f->multi, fds, n, FETCH_WAIT_MS, NULL);
}

static int serve(struct fetch *f)
{
    while (role_poll(f->role, 0)) {
        int running;

        if (f->drained)
            return 0;
        serve_identity(f);
        begin_some(f);
        if (curl_multi_perform(f->multi, &running) != CURLM_OK)
            return 1;
        finish_some(f);
        begin_some(f);
        report(f);
        wait_for_something(f);
    }
    return 1;
}

int fetch_role_run(struct role *self)
{
    static const struct role_events events = {.linked = linked, .drain = drain};
    struct fetch f = {.role = self};
    int status;

    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || (f.multi = curl_multi_init()) == NULL) {
        log_error("fetch-broken", "libcurl cannot be used");
        return 1;
    }
    f.last = &f.waiting;
    role_on(self, &events, &f);
    role_ready(self, true, "fetching what is asked for");
    status = serve(&f);
    forget_all(&f);
    channel_free(f.identity);
    curl_multi_cleanup(f.multi);
    curl_global_cleanup();
    return status;
}
