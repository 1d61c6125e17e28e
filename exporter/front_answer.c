/* What is answered to one request, and what is left of it afterwards. See front.h. */
#include <stdlib.h>

#include <jansson.h>

#include "exporter/front.h"


static void log_request(struct front_connection *c)
{
    char fields[512] = "";
    const char *target = c->has_head ? c->head.path : "-";

    log_field(fields, sizeof fields, "peer", slice_text(c->peer.address));
    log_field(fields, sizeof fields, "cn", slice_text(c->peer.subject.cn));
    log_field(fields, sizeof fields, "target", slice_text(target));
    log_write(LOG_LEVEL_INFO, "request", fields, "%.*s answered %u",
              c->has_head ? (int)c->head.method_name.len : 1, c->has_head ? (const char *)c->head.method_name.at : "-",
              c->status);
    if (c->status < 600)
        c->front->requests[c->status / 100]++;
}

void front_finish_request(struct front_connection *c)
{
    struct err e = {0};

    if (c->query != NULL) {
        if ((c->state == FRONT_WAITING || c->left != 0) && c->query->channel != NULL) {
            /* A full channel means a query that reads nothing: its loss will free the answer. */
            if (!ask_send_number(c->query->channel, ASK_DROP, c->request, 0, &e))
                log_warning("channel-full", "%s", e.text);
            front_flush_query(c->query);
        }
        if (c->query->asked > 0)
            c->query->asked--;
    }
    c->query = NULL;
    c->request = 0;
    c->credit = 0;
    c->left = 0;
    if (c->has_head) {
        buf_consume(&c->in, c->head_used + c->head.content_length);
        c->has_head = false;
        c->scan = (struct http_scan){0};
    }
    if (c->state == FRONT_JUDGING || c->state == FRONT_WAITING || c->state == FRONT_SENDING)
        front_set_state(c, FRONT_FLUSHING);
}

/* Fields of every answer; `length` is the content's. */
static bool begin_reply(struct front_connection *c, unsigned status, struct err *e)
{
    c->status = status;
    if (c->front->draining)
        c->keep_alive = false;
    return http_reply_begin(&c->out, status, time(NULL), e) &&
           http_reply_field(&c->out, "Connection", c->keep_alive ? "keep-alive" : "close", e) &&
           http_reply_field(&c->out, "Cache-Control", "no-store", e) &&
           http_reply_field(&c->out, "X-Content-Type-Options", "nosniff", e) &&
           http_reply_field(&c->out, "Strict-Transport-Security", "max-age=31536000", e);
}

static bool reply_content(struct front_connection *c, const char *type, struct slice content, struct err *e)
{
    bool head_only = c->has_head && c->head.method == HTTP_HEAD;

    return http_reply_field(&c->out, "Content-Type", type, e) &&
           http_reply_number(&c->out, "Content-Length", content.len, e) && http_reply_end(&c->out, e) &&
           (head_only || buf_add_slice(&c->out, content, e));
}

static void conclude(struct front_connection *c, bool ok, const struct err *e)
{
    log_request(c);
    front_finish_request(c);
    if (!ok) {
        log_error("answer-failed", "%s", e->text);
        front_drop(c, e->text);
        return;
    }
    front_set_state(c, FRONT_FLUSHING);
}

void front_refuse(struct front_connection *c, const struct api_refusal *no)
{
    json_t *body = json_pack("{s:i, s:s, s:s}", "status", (int)no->status, "code", no->code, "reason", no->reason);
    char *text = body == NULL ? NULL : json_dumps(body, JSON_COMPACT | JSON_ENSURE_ASCII);
    char *line = mem_printf("%s\n", text == NULL ? "{}" : text);
    struct err e = {0};
    bool ok;

    front_record_refusal(c, no);
    /* TLS cannot change a certificate in mid-connection: the next try needs a new one. */
    if (no->status == 401)
        c->keep_alive = false;
    ok = begin_reply(c, no->status, &e);
    if (no->status == 401)
        ok = ok && http_reply_field(&c->out, "WWW-Authenticate", "TLS-Client-Certificate realm=\"coffre\"", &e);
    if (no->allow != NULL)
        ok = ok && http_reply_field(&c->out, "Allow", no->allow, &e);
    if (no->status == 503)
        ok = ok && http_reply_field(&c->out, "Retry-After", "2", &e);
    ok = ok && reply_content(c, "application/json", slice_text(line), &e);
    conclude(c, ok, &e);
    free(text);
    free(line);
    json_decref(body);
}

void front_reply(struct front_connection *c, unsigned status, struct slice json)
{
    struct err e = {0};
    bool ok = begin_reply(c, status, &e) && reply_content(c, "application/json", json, &e);

    conclude(c, ok, &e);
}

/* The head of a whole or partial streamed answer. */
static bool stream_head(struct front_connection *c, const struct ask_answer *a, bool part, const struct http_span *span,
                        struct err *e)
{
    char text[128];

    if (!begin_reply(c, part ? 206 : 200, e) || !http_reply_field(&c->out, "Content-Type", a->type, e) ||
        !http_reply_field(&c->out, "ETag", a->etag, e) || !http_reply_field(&c->out, "Accept-Ranges", "bytes", e))
        return false;
    if (part) {
        snprintf(text, sizeof text, "bytes %llu-%llu/%llu", (unsigned long long)span->first,
                 (unsigned long long)(span->first + span->length - 1), (unsigned long long)a->length);
        if (!http_reply_field(&c->out, "Content-Range", text, e))
            return false;
    }
    if (a->file[0] != '\0') {
        snprintf(text, sizeof text, "attachment; filename=\"%.100s\"", a->file);
        if (!http_reply_field(&c->out, "Content-Disposition", text, e))
            return false;
    }
    return http_reply_number(&c->out, "Content-Length", span->length, e) && http_reply_end(&c->out, e);
}

static void begin_stream(struct front_connection *c, const struct ask_answer *a, bool part, const struct http_span *span)
{
    struct ask_span read = {c->request, span->first, span->length, ASK_WINDOW};
    struct err e = {0};
    bool ok = stream_head(c, a, part, span, &e);

    if (!ok || c->head.method == HTTP_HEAD || span->length == 0) {
        conclude(c, ok, &e);
        return;
    }
    log_request(c);
    if (!ask_send_span(c->query->channel, &read, &e)) {
        front_drop(c, e.text);
        return;
    }
    front_flush_query(c->query);
    c->left = span->length;
    c->credit = ASK_WINDOW;
    front_set_state(c, FRONT_SENDING);
}

/* An answer without content beside its validator: 304, 412, 416. */
static void answer_condition(struct front_connection *c, const struct ask_answer *a, unsigned status)
{
    char range[64];
    struct err e = {0};
    bool ok = begin_reply(c, status, &e) && http_reply_field(&c->out, "ETag", a->etag, &e);

    if (status == 416) {
        snprintf(range, sizeof range, "bytes */%llu", (unsigned long long)a->length);
        ok = ok && http_reply_field(&c->out, "Content-Range", range, &e);
    }
    if (status == 304)
        ok = ok && http_reply_end(&c->out, &e);
    else
        ok = ok && reply_content(c, "application/json",
                                 slice_text(status == 416 ? "{\"status\":416,\"code\":\"range\",\"reason\":\"RFC 9110 15.5.17: the range begins after the end\"}\n"
                                                          : "{\"status\":412,\"code\":\"precondition\",\"reason\":\"RFC 9110 13.1.1: If-Match names another version\"}\n"),
                                 &e);
    conclude(c, ok, &e);
}

static void answer_short(struct front_connection *c, const struct ask_answer *a)
{
    struct err e = {0};
    bool ok = begin_reply(c, a->status, &e);

    if (a->location[0] != '\0')
        ok = ok && http_reply_field(&c->out, "Location", a->location, &e);
    if (a->status == 503 || a->status == 429)
        ok = ok && http_reply_field(&c->out, "Retry-After", a->status == 503 ? "2" : "10", &e);
    ok = ok && reply_content(c, a->type, a->content, &e);
    conclude(c, ok, &e);
}

void front_answer(struct front_connection *c, const struct ask_answer *a)
{
    struct http_span span;

    if (!a->streamed) {
        /* query keeps nothing of it: nothing to drop. */
        if (c->query->asked > 0)
            c->query->asked--;
        c->query = NULL;
        answer_short(c, a);
        return;
    }
    switch (http_evaluate(&c->head, a->etag, a->length, &span)) {
    case HTTP_WHOLE:
        begin_stream(c, a, false, &span);
        return;
    case HTTP_PART:
        begin_stream(c, a, true, &span);
        return;
    case HTTP_UNCHANGED:
        answer_condition(c, a, 304);
        return;
    case HTTP_FAILED:
        answer_condition(c, a, 412);
        return;
    case HTTP_UNSATISFIABLE:
        answer_condition(c, a, 416);
        return;
    }
}
