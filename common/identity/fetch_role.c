/*
 * Role `fetch`: HTTP towards CRL and OCSP servers, for `identity`, which may open no socket. Decides nothing and believes nothing: what it brings back is judged by whoever
 * asked. URLs come from the configuration, and from certificates that chain to a configured authority. No content is ever logged.
 */
#include "common/identity/identity.h"

#include <stdio.h>
#include <stdlib.h>

#include <curl/curl.h>

#include "common/values/log.h"

enum { FETCH_AT_ONCE = 16, FETCH_WAITING_MAX = 10000, FETCH_REDIRECTS_MAX = 3, FETCH_WAIT_MS = 1000 };

/* One request: waiting, or with `easy` running. */
struct fetch_job {
    struct fetch_job *next;
    uint32_t request;
    char *url, *type; /* owned */
    struct buf question, answer;
    uint64_t most, timeout;
    int64_t begun;    /* ms, monotonic: when it was asked for; waiting counts */
    CURL *easy;
    struct curl_slist *headers;
    bool too_large;
    char error[CURL_ERROR_SIZE];
};

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

static void free_job(struct fetch_job *j)
{
    curl_easy_cleanup(j->easy);
    curl_slist_free_all(j->headers);
    buf_free(&j->question);
    buf_free(&j->answer);
    free(j->url);
    free(j->type);
    free(j);
}

/* ---- identity ---- */

static void lose_identity(struct fetch *f, const char *why)
{
    if (f->identity != NULL)
        log_warning("channel-bad", "identity: %s", why);
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

static void finish(struct fetch *f, struct fetch_job *j, CURLcode result)
{
    char reason[CURL_ERROR_SIZE + 64];
    long status = 0;

    curl_easy_getinfo(j->easy, CURLINFO_RESPONSE_CODE, &status);
    if (j->too_large || result == CURLE_FILESIZE_EXCEEDED)
        snprintf(reason, sizeof reason, "more than %llu bytes", (unsigned long long)j->most);
    else if (result == CURLE_OPERATION_TIMEDOUT)
        snprintf(reason, sizeof reason, "no whole answer within %llu ms", (unsigned long long)j->timeout);
    else if (result != CURLE_OK)
        snprintf(reason, sizeof reason, "%s", j->error[0] != '\0' ? j->error : curl_easy_strerror(result));
    else if (status < 100 || status > 599)
        snprintf(reason, sizeof reason, "HTTP status %ld", status);
    else {
        snprintf(reason, sizeof reason, "HTTP status %ld", status);
        answer(f, j->request, (unsigned)status, reason, buf_slice(&j->answer));
        return;
    }
    log_info("fetch-failed", "%s: %s", j->url, reason);
    answer(f, j->request, 0, reason, slice_of(NULL, 0));
}

/* ---- libcurl ---- */

/* Size and count as libcurl gives them; anything but all of it ends the transfer. */
static size_t received(char *bytes, size_t one, size_t count, void *arg)
{
    struct fetch_job *j = arg;
    size_t len = one * count;

    if (buf_add(&j->answer, bytes, len, NULL))
        return len;
    j->too_large = true;
    return 0;
}

/* An announced length too large ends it before the first byte. */
static bool set_limits(struct fetch_job *j, int64_t now)
{
    int64_t left = j->begun + (int64_t)j->timeout - now;

    return left > 0 && curl_easy_setopt(j->easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)j->most) == CURLE_OK &&
           curl_easy_setopt(j->easy, CURLOPT_TIMEOUT_MS, (long)left) == CURLE_OK &&
           curl_easy_setopt(j->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)left) == CURLE_OK &&
           curl_easy_setopt(j->easy, CURLOPT_WRITEFUNCTION, received) == CURLE_OK && curl_easy_setopt(j->easy, CURLOPT_WRITEDATA, j) == CURLE_OK &&
           curl_easy_setopt(j->easy, CURLOPT_ERRORBUFFER, j->error) == CURLE_OK;
}

/* Two schemes, here and after a redirect; nothing from the environment (proxies) or home directories (.netrc). */
static bool set_where(struct fetch_job *j)
{
    return curl_easy_setopt(j->easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           curl_easy_setopt(j->easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           curl_easy_setopt(j->easy, CURLOPT_FOLLOWLOCATION, 1L) == CURLE_OK &&
           curl_easy_setopt(j->easy, CURLOPT_MAXREDIRS, (long)FETCH_REDIRECTS_MAX) == CURLE_OK &&
           curl_easy_setopt(j->easy, CURLOPT_POSTREDIR, (long)CURL_REDIR_POST_ALL) == CURLE_OK &&
           curl_easy_setopt(j->easy, CURLOPT_PROXY, "") == CURLE_OK && curl_easy_setopt(j->easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED) == CURLE_OK &&
           curl_easy_setopt(j->easy, CURLOPT_URL, j->url) == CURLE_OK;
}

/* https: verified with the system's authorities (libcurl's default file), never less. */
static bool set_manner(struct fetch_job *j)
{
    return curl_easy_setopt(j->easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK && curl_easy_setopt(j->easy, CURLOPT_USERAGENT, "coffre") == CURLE_OK &&
           curl_easy_setopt(j->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK &&
           curl_easy_setopt(j->easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) == CURLE_OK &&
           curl_easy_setopt(j->easy, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK && curl_easy_setopt(j->easy, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK &&
           curl_easy_setopt(j->easy, CURLOPT_PRIVATE, j) == CURLE_OK;
}

static bool set_question(struct fetch_job *j)
{
    char *type;

    if (*j->type == '\0')
        return curl_easy_setopt(j->easy, CURLOPT_HTTPGET, 1L) == CURLE_OK;
    type = mem_printf("Content-Type: %s", j->type);
    j->headers = curl_slist_append(curl_slist_append(NULL, "Expect:"), type);
    free(type);
    return j->headers != NULL && curl_easy_setopt(j->easy, CURLOPT_POST, 1L) == CURLE_OK &&
           curl_easy_setopt(j->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)j->question.len) == CURLE_OK &&
           curl_easy_setopt(j->easy, CURLOPT_POSTFIELDS, j->question.len == 0 ? "" : (const char *)buf_slice(&j->question).at) == CURLE_OK &&
           curl_easy_setopt(j->easy, CURLOPT_HTTPHEADER, j->headers) == CURLE_OK;
}

static bool begin(struct fetch *f, struct fetch_job *j, const char **why)
{
    int64_t now = now_ms();

    *why = "it waited too long behind others";
    if (now - j->begun >= (int64_t)j->timeout)
        return false;
    *why = "libcurl refuses the request";
    j->easy = curl_easy_init();
    if (j->easy == NULL || !set_limits(j, now) || !set_where(j) || !set_manner(j) || !set_question(j))
        return false;
    return curl_multi_add_handle(f->multi, j->easy) == CURLM_OK;
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
            log_info("fetch-failed", "%s: %s", j->url, why);
            answer(f, j->request, 0, why, slice_of(NULL, 0));
            free_job(j);
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
    free_job(j);
}

static void finish_some(struct fetch *f)
{
    CURLMsg *m;
    int left;

    while ((m = curl_multi_info_read(f->multi, &left)) != NULL) {
        char *at = NULL;

        if (m->msg != CURLMSG_DONE)
            continue;
        if (curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &at) == CURLE_OK && at != NULL) {
            struct fetch_job *j = (struct fetch_job *)(void *)at;

            finish(f, j, m->data.result);
            remove_running(f, j);
        }
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
    j = mem_zalloc(1, sizeof *j);
    *j = (struct fetch_job){.request = asked.request, .url = mem_text(asked.url), .type = mem_text(asked.type), .most = asked.most,
                            .timeout = asked.timeout, .begun = now_ms()};
    buf_init(&j->question, asked.body.len);
    buf_init(&j->answer, asked.most);
    *f->last = j;
    f->last = &j->next;
    f->waiting_count++;
    return buf_add_slice(&j->question, asked.body, e);
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
    while ((r = channel_receive(f->identity, &m, &e)) == CHANNEL_MESSAGE && take_request(f, &m, &e))
        ;
    if (r != CHANNEL_EMPTY)
        lose_identity(f, e.text);
}

static void forget_all(struct fetch *f)
{
    struct fetch_job *next;

    while (f->running != NULL)
        remove_running(f, f->running);
    for (struct fetch_job *j = f->waiting; j != NULL; j = next) {
        next = j->next;
        free_job(j);
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
