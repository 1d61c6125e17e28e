/* One HTTP request: see fetch_job.h. No content is ever logged. */
#include "common/identity/fetch_job.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <arpa/inet.h>

struct fetch_job *fetch_job_new(const struct identity_fetch *asked, int64_t now)
{
    struct fetch_job *j = mem_zalloc(1, sizeof *j);

    *j = (struct fetch_job){.request = asked->request, .url = mem_text(asked->url), .type = mem_text(asked->type), .most = asked->most,
                            .timeout = asked->timeout, .begun = now};
    buf_init(&j->question, asked->body.len);
    buf_init(&j->answer, asked->most);
    if (!buf_add_slice(&j->question, asked->body, NULL))
        abort(); /* it was made for this size */
    return j;
}

void fetch_job_free(struct fetch_job *j)
{
    curl_easy_cleanup(j->easy);
    curl_slist_free_all(j->headers);
    buf_free(&j->question);
    buf_free(&j->answer);
    free(j->url);
    free(j->type);
    free(j);
}

/* ---- limits ---- */

/* Size and count as libcurl gives them; anything but all of it ends the transfer. */
static size_t received(char *bytes, size_t one, size_t count, void *arg)
{
    struct fetch_job *j = arg;
    size_t len = one * count;

    if (len <= j->most - j->taken && buf_add(&j->answer, bytes, len, NULL)) {
        j->taken += len;
        return len;
    }
    j->too_large = true;
    return 0;
}

/* An announced length too large ends it before the first byte. */
static bool set_limits(struct fetch_job *j, int64_t now)
{
    int64_t left = j->begun + (int64_t)j->timeout - now;

    return left > 0 && curl_easy_setopt(j->easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)(j->most - j->taken)) == CURLE_OK &&
           curl_easy_setopt(j->easy, CURLOPT_TIMEOUT_MS, (long)left) == CURLE_OK &&
           curl_easy_setopt(j->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)left) == CURLE_OK &&
           curl_easy_setopt(j->easy, CURLOPT_WRITEFUNCTION, received) == CURLE_OK && curl_easy_setopt(j->easy, CURLOPT_WRITEDATA, j) == CURLE_OK &&
           curl_easy_setopt(j->easy, CURLOPT_ERRORBUFFER, j->error) == CURLE_OK;
}

/* ---- where to ---- */

static void address_text(const struct curl_sockaddr *a, char out[INET6_ADDRSTRLEN])
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address = {0};

    memcpy(&address, &a->addr, a->addrlen < sizeof address ? a->addrlen : sizeof address);
    out[0] = '\0';
    if (a->family == AF_INET)
        inet_ntop(AF_INET, &address.v4.sin_addr, out, INET6_ADDRSTRLEN);
    else if (a->family == AF_INET6)
        inet_ntop(AF_INET6, &address.v6.sin6_addr, out, INET6_ADDRSTRLEN);
}

/* The address that is connected to is the one that is looked at: what a name means a moment later does not matter. */
static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *a)
{
    struct fetch_job *j = arg;
    char address[INET6_ADDRSTRLEN];

    (void)purpose;
    address_text(a, address);
    if (j->hops != 0 && !redirect_permits(j->from, redirect_place_of(address))) {
        snprintf(j->barred, sizeof j->barred, "%s", *address == '\0' ? "what is no address" : address);
        return CURL_SOCKET_BAD;
    }
    return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

/*
 * Two schemes, one after https; nothing from the environment (proxies) or home directories (.netrc). libcurl follows nothing by itself. Who is sent on
 * gets a connection of its own: one that was opened for somebody else was not looked at for this one.
 */
static bool set_where(struct fetch_job *j)
{
    return curl_easy_setopt(j->easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           curl_easy_setopt(j->easy, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
           curl_easy_setopt(j->easy, CURLOPT_FRESH_CONNECT, j->hops == 0 ? 0L : 1L) == CURLE_OK &&
           curl_easy_setopt(j->easy, CURLOPT_OPENSOCKETFUNCTION, open_socket) == CURLE_OK &&
           curl_easy_setopt(j->easy, CURLOPT_OPENSOCKETDATA, j) == CURLE_OK && curl_easy_setopt(j->easy, CURLOPT_PROXY, "") == CURLE_OK &&
           curl_easy_setopt(j->easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED) == CURLE_OK && curl_easy_setopt(j->easy, CURLOPT_URL, j->url) == CURLE_OK;
}

/* ---- how ---- */

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

bool fetch_job_begin(struct fetch_job *j, int64_t now, const char **why)
{
    *why = j->hops == 0 ? "it waited too long behind others" : "its redirections took too long";
    if (now - j->begun >= (int64_t)j->timeout)
        return false;
    *why = "libcurl refuses the request";
    j->error[0] = j->barred[0] = '\0';
    if (j->easy == NULL)
        j->easy = curl_easy_init();
    return j->easy != NULL && set_limits(j, now) && set_where(j) && set_manner(j) && set_question(j);
}

/* ---- its end ---- */

/* A question is for the responder that was named, and for nobody it names (no redirection of a POST is asked for by RFC 6960 A.1). */
static bool go_on(struct fetch_job *j, long status, char why[FETCH_WHY_MAX])
{
    char *to = NULL, *address = NULL;
    struct err e = {0};

    if (*j->type != '\0') {
        snprintf(why, FETCH_WHY_MAX, "HTTP status %ld: questions are not sent elsewhere", status);
        return false;
    }
    if (curl_easy_getinfo(j->easy, CURLINFO_REDIRECT_URL, &to) != CURLE_OK || to == NULL) {
        snprintf(why, FETCH_WHY_MAX, "HTTP status %ld without a place to go to", status);
        return false;
    }
    if (!redirect_follows(j->hops + 1, j->url, to, &e)) {
        snprintf(why, FETCH_WHY_MAX, "%s", e.text);
        return false;
    }
    if (curl_easy_getinfo(j->easy, CURLINFO_PRIMARY_IP, &address) != CURLE_OK)
        address = NULL;
    j->from = redirect_place_of(address == NULL ? "" : address);
    j->hops++;
    free(j->url);
    j->url = mem_strdup(to);
    buf_reset(&j->answer);
    return true;
}

enum fetch_end fetch_job_end(struct fetch_job *j, CURLcode result, unsigned *status, char why[FETCH_WHY_MAX])
{
    long said = 0;

    *status = 0;
    curl_easy_getinfo(j->easy, CURLINFO_RESPONSE_CODE, &said);
    if (j->too_large || result == CURLE_FILESIZE_EXCEEDED)
        snprintf(why, FETCH_WHY_MAX, "more than %llu bytes", (unsigned long long)j->most);
    else if (result == CURLE_OPERATION_TIMEDOUT)
        snprintf(why, FETCH_WHY_MAX, "no whole answer within %llu ms", (unsigned long long)j->timeout);
    else if (result != CURLE_OK && j->barred[0] != '\0')
        snprintf(why, FETCH_WHY_MAX, "redirected to %s, which is inside and not where it was sent from", j->barred);
    else if (result != CURLE_OK)
        snprintf(why, FETCH_WHY_MAX, "%s", j->error[0] != '\0' ? j->error : curl_easy_strerror(result));
    else if (said < 100 || said > 599)
        snprintf(why, FETCH_WHY_MAX, "HTTP status %ld", said);
    else if (said / 100 == 3)
        return go_on(j, said, why) ? FETCH_ON : FETCH_FAILED;
    else {
        snprintf(why, FETCH_WHY_MAX, "HTTP status %ld", said);
        *status = (unsigned)said;
        return FETCH_ANSWERED;
    }
    return FETCH_FAILED;
}
