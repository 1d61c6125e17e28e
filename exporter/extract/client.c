/* HTTPS towards the exporter: see client.h. */
#include "exporter/extract/client.h"

#include <errno.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include <curl/curl.h>

#include "common/version.h"
#include "exporter/http.h"

enum { ANSWER_MAX = 4 << 20, REFUSAL_MAX = 64 << 10 };

struct client {
    CURL *curl;
    const struct options *o;
    const volatile sig_atomic_t *stop;
    char problem[CURL_ERROR_SIZE];
    struct buf answer;           /* JSON, or the reason of a refusal */
    struct curl_slist *fields;
    /* of the answer being received */
    struct client_body *body;    /* NULL: JSON */
    char etag[CLIENT_ETAG_MAX];
    uint64_t length, range_first, range_total;
    bool has_length, has_range, begun;
    struct err *e;
};

/* ---- receiving ----------------------------------------------------------------------------------- */

static long status_of(struct client *c)
{
    long status = 0;

    curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

/* The value when the line is this field. */
static bool field_is(struct slice line, const char *name, struct slice *value)
{
    size_t len = strlen(name);

    if (line.len <= len || strncasecmp((const char *)line.at, name, len) != 0 || line.at[len] != ':')
        return false;
    *value = slice_of(line.at + len + 1, line.len - len - 1);
    while (value->len != 0 && (value->at[0] == ' ' || value->at[0] == '\t'))
        *value = slice_of(value->at + 1, value->len - 1);
    while (value->len != 0 && value->at[value->len - 1] <= ' ')
        value->len--;
    return true;
}

/* "bytes first-last/total" */
static void take_range(struct client *c, struct slice v)
{
    char text[100];
    unsigned long long first, last, total;
    char end;

    snprintf(text, sizeof text, "%.*s", v.len < 99 ? (int)v.len : 99, (const char *)v.at);
    c->has_range = sscanf(text, "bytes %llu-%llu/%llu%c", &first, &last, &total, &end) == 3 && first <= last && last < total;
    c->range_first = first;
    c->range_total = total;
}

static size_t header_came(char *at, size_t size, size_t count, void *arg)
{
    struct client *c = arg;
    struct slice line = slice_of(at, size * count), value;

    if (line.len > 5 && memcmp(line.at, "HTTP/", 5) == 0) {
        c->etag[0] = '\0';
        c->has_length = c->has_range = false;
    } else if (field_is(line, "ETag", &value) && value.len < sizeof c->etag) {
        memcpy(c->etag, value.at, value.len);
        c->etag[value.len] = '\0';
    } else if (field_is(line, "Content-Length", &value)) {
        c->has_length = http_number(value, &c->length);
    } else if (field_is(line, "Content-Range", &value)) {
        take_range(c, value);
    }
    return line.len;
}

/* The first byte of a body: is it the representation we know, or another one? */
static bool begin_body(struct client *c)
{
    struct client_body *b = c->body;
    bool part = status_of(c) == 206;

    c->begun = true;
    if (c->etag[0] != '"' || !c->has_length || (part && !c->has_range))
        return err_set(c->e, ERR_RETRY, "the answer has no length or no strong entity-tag");
    if (part && (strcmp(c->etag, b->etag) != 0 || c->range_first != b->have || c->range_total != b->total))
        return err_set(c->e, ERR_RETRY, "the answer is not the part asked for");
    if (part)
        return true;
    /* Whole: from the beginning, whatever was there. */
    b->have = 0;
    b->total = c->length;
    memcpy(b->etag, c->etag, sizeof b->etag);
    if (ftruncate(b->fd, 0) != 0)
        return err_set_errno(c->e, ERR_FATAL, "the file cannot be emptied");
    return b->begins(b->ctx, c->e);
}

static size_t body_came(char *at, size_t size, size_t count, void *arg)
{
    struct client *c = arg;
    struct client_body *b = c->body;
    size_t len = size * count, done = 0;
    long status = status_of(c);

    if (b == NULL || (status != 200 && status != 206)) {
        if (c->answer.len < REFUSAL_MAX || b == NULL)
            return buf_add(&c->answer, at, len, c->e) ? len : 0;
        return len;
    }
    if (!c->begun && !begin_body(c))
        return 0;
    while (done < len) {
        ssize_t n = pwrite(b->fd, at + done, len - done, (off_t)(b->have + done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            err_set_errno(c->e, ERR_FATAL, "the file cannot be written");
            return 0;
        }
        done += (size_t)n;
    }
    b->have += len;
    b->grows(b->ctx);
    return len;
}

static int still_wanted(void *arg, curl_off_t a, curl_off_t b, curl_off_t x, curl_off_t y)
{
    const struct client *c = arg;

    (void)a;
    (void)b;
    (void)x;
    (void)y;
    return *c->stop != 0;
}

/* ---- life ---------------------------------------------------------------------------------------- */

struct client *client_open(const struct options *o, const volatile sig_atomic_t *stop, struct err *e)
{
    struct client *c = mem_zalloc(1, sizeof *c);
    CURL *h;

    c->o = o;
    c->stop = stop;
    buf_init(&c->answer, ANSWER_MAX);
    c->curl = h = curl_easy_init();
    if (h == NULL) {
        err_set(e, ERR_FATAL, "libcurl cannot start");
        client_close(c);
        return NULL;
    }
    curl_easy_setopt(h, CURLOPT_ERRORBUFFER, c->problem);
    curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(h, CURLOPT_USERAGENT, "coffre-extract/" COFFRE_VERSION);
    curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(h, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(h, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(h, CURLOPT_SSLCERT, o->certificate);
    curl_easy_setopt(h, CURLOPT_SSLKEY, o->key);
    curl_easy_setopt(h, CURLOPT_CAINFO, o->ca);
    curl_easy_setopt(h, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT, 10L);
    curl_easy_setopt(h, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(h, CURLOPT_LOW_SPEED_TIME, 60L);
    curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, header_came);
    curl_easy_setopt(h, CURLOPT_HEADERDATA, c);
    curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, body_came);
    curl_easy_setopt(h, CURLOPT_WRITEDATA, c);
    curl_easy_setopt(h, CURLOPT_XFERINFOFUNCTION, still_wanted);
    curl_easy_setopt(h, CURLOPT_XFERINFODATA, c);
    curl_easy_setopt(h, CURLOPT_NOPROGRESS, 0L);
    return c;
}

void client_close(struct client *c)
{
    if (c == NULL)
        return;
    curl_easy_cleanup(c->curl);
    curl_slist_free_all(c->fields);
    buf_free(&c->answer);
    free(c);
}

bool client_pause(struct client *c, unsigned n)
{
    unsigned ms = n > 6 ? 30000 : 250u << n;

    for (unsigned waited = 0; waited < ms && *c->stop == 0; waited += 100)
        nanosleep(&(struct timespec){0, 100 * 1000 * 1000}, NULL);
    return *c->stop == 0;
}

/* ---- requests ------------------------------------------------------------------------------------ */

static void add_field(struct client *c, const char *name, const char *value)
{
    char *line = mem_printf("%s: %s", name, value);
    struct curl_slist *longer = curl_slist_append(c->fields, line);

    if (longer == NULL)
        abort();
    c->fields = longer;
    free(line);
}

static CURLcode perform(struct client *c, const char *path, const char *post)
{
    char *url = mem_printf("%s%s", c->o->url, path);
    CURLcode r;

    buf_reset(&c->answer);
    c->problem[0] = '\0';
    c->begun = false;
    curl_easy_setopt(c->curl, CURLOPT_URL, url);
    curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, c->fields);
    if (post != NULL) {
        curl_easy_setopt(c->curl, CURLOPT_POSTFIELDSIZE, (long)strlen(post));
        curl_easy_setopt(c->curl, CURLOPT_POSTFIELDS, post);
    }
    r = curl_easy_perform(c->curl);
    curl_easy_setopt(c->curl, CURLOPT_HTTPGET, 1L);
    curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, NULL);
    curl_slist_free_all(c->fields);
    c->fields = NULL;
    free(url);
    return r;
}

/* What a transport failure means: trying again helps, or not. */
static bool is_transient(CURLcode r)
{
    return r == CURLE_COULDNT_RESOLVE_HOST || r == CURLE_COULDNT_CONNECT || r == CURLE_OPERATION_TIMEDOUT ||
           r == CURLE_PARTIAL_FILE || r == CURLE_GOT_NOTHING || r == CURLE_SEND_ERROR || r == CURLE_RECV_ERROR ||
           r == CURLE_SSL_CONNECT_ERROR;
}

static bool status_is_transient(long status)
{
    return status == 408 || status == 500 || status == 502 || status == 503 || status == 504;
}

/* "404 not-sealed: event 12 …" from the exporter's JSON. */
static void refusal(struct client *c, long status, struct err *e)
{
    json_t *o = json_loadb((const char *)c->answer.data + c->answer.start, c->answer.len, 0, NULL);
    const char *code = json_string_value(json_object_get(o, "code")), *reason = json_string_value(json_object_get(o, "reason"));

    err_set(e, ERR_DENIED, "the vault answers %ld%s%s%s%s", status, code == NULL ? "" : " ", code == NULL ? "" : code,
            reason == NULL ? "" : ": ", reason == NULL ? "" : reason);
    json_decref(o);
}

enum client_result client_fetch(struct client *c, const char *path, struct client_body *b, struct err *e)
{
    char range[64];
    CURLcode r;
    long status;

    if (b->have != 0) {
        snprintf(range, sizeof range, "bytes=%llu-", (unsigned long long)b->have);
        add_field(c, "Range", range);
        add_field(c, "If-Range", b->etag);
    }
    c->body = b;
    c->e = e;
    r = perform(c, path, NULL);
    c->body = NULL;
    status = status_of(c);
    if (*c->stop != 0) {
        err_set(e, ERR_RETRY, "interrupted");
        return CLIENT_FAILED;
    }
    if (r == CURLE_OK && (status == 200 || status == 206) && b->total != 0 && b->have == b->total)
        return CLIENT_COMPLETE;
    if (r == CURLE_WRITE_ERROR)
        return CLIENT_FAILED;
    if (r != CURLE_OK) {
        err_set(e, ERR_RETRY, "%s", c->problem[0] == '\0' ? curl_easy_strerror(r) : c->problem);
        return is_transient(r) ? CLIENT_AGAIN : CLIENT_FAILED;
    }
    if (status == 200 || status == 206) {
        err_set(e, ERR_RETRY, "the answer ended early");
        return CLIENT_AGAIN;
    }
    refusal(c, status, e);
    return status_is_transient(status) ? CLIENT_AGAIN : CLIENT_REFUSED;
}

enum client_result client_head(struct client *c, const char *path, struct client_body *b, struct err *e)
{
    CURLcode r;
    long status;

    c->e = e;
    curl_easy_setopt(c->curl, CURLOPT_NOBODY, 1L);
    r = perform(c, path, NULL);
    status = status_of(c);
    if (r == CURLE_OK && status == 200 && c->has_length && c->etag[0] == '"') {
        b->total = c->length;
        memcpy(b->etag, c->etag, sizeof b->etag);
        return CLIENT_COMPLETE;
    }
    if (r != CURLE_OK) {
        err_set(e, ERR_RETRY, "%s", c->problem[0] == '\0' ? curl_easy_strerror(r) : c->problem);
        return is_transient(r) && *c->stop == 0 ? CLIENT_AGAIN : CLIENT_FAILED;
    }
    refusal(c, status, e);
    return status_is_transient(status) ? CLIENT_AGAIN : CLIENT_REFUSED;
}

json_t *client_json(struct client *c, const char *path, const char *body, enum exit_code *end, struct err *e)
{
    for (unsigned attempt = 1;; attempt++) {
        json_t *o;
        CURLcode r;
        long status;

        err_clear(e);
        c->e = e;
        if (body != NULL)
            add_field(c, "Content-Type", "application/json");
        r = perform(c, path, body);
        status = status_of(c);
        o = r == CURLE_OK ? json_loadb((const char *)c->answer.data + c->answer.start, c->answer.len, 0, NULL) : NULL;
        if (r == CURLE_OK && (status == 200 || status == 201) && o != NULL)
            return o;
        json_decref(o);
        *end = r == CURLE_OK && !status_is_transient(status) ? EXIT_REFUSED : EXIT_NETWORK;
        if (r != CURLE_OK)
            err_set(e, ERR_RETRY, "%s: %s", c->o->url, c->problem[0] == '\0' ? curl_easy_strerror(r) : c->problem);
        else
            refusal(c, status, e);
        if (!(r == CURLE_OK ? status_is_transient(status) : is_transient(r)) || attempt > c->o->retries || !client_pause(c, attempt))
            return NULL;
    }
}
