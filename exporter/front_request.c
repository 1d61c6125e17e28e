/* Requests of one connection: who asks, may they, what is answered. See front.h. What arrives is a stranger's. */
#include <stdlib.h>

#include <jansson.h>

#include "exporter/front.h"

/* ---- who ------------------------------------------------------------------------------------------- */

static const char *fault_code(long fault)
{
    switch (fault) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return "certificate-expired";
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return "certificate-not-yet-valid";
    case X509_V_ERR_INVALID_PURPOSE:
        return "certificate-usage";
    case X509_V_ERR_CERT_REVOKED:
        return "certificate-revoked";
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        return "certificate-foreign";
    default:
        return "certificate-invalid";
    }
}

static bool holds(STACK_OF(X509) *bundle, X509 *root)
{
    for (int i = 0; bundle != NULL && root != NULL && i < sk_X509_num(bundle); i++)
        if (X509_cmp(sk_X509_value(bundle, i), root) == 0)
            return true;
    return false;
}

void front_identify(struct front_connection *c)
{
    struct front_peer *p = &c->peer;
    struct err e = {0};
    X509 *certificate = tls_peer_certificate(c->tls);
    X509 *root = tls_peer_root(c->tls);

    p->code = certificate == NULL ? "certificate-missing" : fault_code(tls_peer_fault(c->tls));
    p->verified = tls_peer_verified(c->tls, &e);
    if (p->verified && !tls_peer_subject(c->tls, &p->subject, &e)) {
        p->verified = false;
        p->code = "certificate-subject";
    }
    X509_free(certificate);
    snprintf(p->reason, sizeof p->reason, "%.*s", HTTP_REASON_MAX - 1, e.text);
    p->of_regulator = p->verified && holds(c->front->regulator_ca, root);
    p->of_operator = p->verified && holds(c->front->operator_ca, root);
    if (!p->verified)
        c->front->refused++;
}

/* Readers and functional administrators are the regulator's, technical administrators the operator's. */
unsigned front_profiles(const struct front_connection *c)
{
    const struct front_peer *p = &c->peer;
    const struct roster *r = c->front->roster;
    unsigned profiles = 0;
    uint32_t id;

    if (p->of_regulator && roster_find(r, ROSTER_READER, &p->subject, &id))
        profiles |= API_READER;
    if (p->of_regulator && roster_find(r, ROSTER_FUNCTIONAL, &p->subject, &id))
        profiles |= API_FUNCTIONAL;
    if (p->of_operator && roster_find(r, ROSTER_TECHNICAL, &p->subject, &id))
        profiles |= API_TECHNICAL;
    return profiles;
}

/* Certificate and binding, before anything is said about what exists here. */
static bool authenticate(struct front_connection *c, struct api_refusal *no)
{
    const struct front_peer *p = &c->peer;

    *no = (struct api_refusal){0};
    if (!p->verified) {
        no->status = 401;
        no->code = p->code;
        snprintf(no->reason, sizeof no->reason, "%s", p->reason);
        return false;
    }
    if (c->front->roster == NULL) {
        *no = (struct api_refusal){503, "roster-unknown", "role bindings are not known yet; ask again", NULL};
        return false;
    }
    if (front_profiles(c) != 0)
        return true;
    *no = (struct api_refusal){
        403, "not-bound", "the certificate is valid, but its subject is bound to no profile that reads here", NULL};
    return false;
}

static bool authorise(struct front_connection *c, struct api_refusal *no)
{
    if (api_allowed(c->call.resource, front_profiles(c)))
        return true;
    *no = (struct api_refusal){403, "not-allowed", "the profile of this certificate does not give this right", NULL};
    return false;
}

/* ---- answers --------------------------------------------------------------------------------------- */

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
    if (c->state == FRONT_WAITING || c->state == FRONT_SENDING)
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

static void answer_here(struct front_connection *c)
{
    const char *why;
    bool ready = front_is_ready(c->front, &why);
    const char *text = c->call.resource == API_LIVEZ ? "{\"status\":\"alive\"}\n"
                       : ready                       ? "{\"status\":\"ready\"}\n"
                                                     : "{\"status\":\"not ready\"}\n";
    struct err e = {0};
    bool ok = begin_reply(c, c->call.resource == API_LIVEZ || ready ? 200 : 503, &e) &&
              reply_content(c, "application/json", slice_text(text), &e);

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
    if (a->status == 503)
        ok = ok && http_reply_field(&c->out, "Retry-After", "2", &e);
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

/* ---- requests -------------------------------------------------------------------------------------- */

static void ask(struct front_connection *c)
{
    char reader[2 * TLS_NAME_MAX + 16];
    struct ask_question q = {.call = c->call};
    struct api_refusal no = {503, "store-away", "", NULL};
    const char *why = "";
    struct err e = {0};

    c->query = front_choose_query(c->front, &why);
    if (c->query == NULL) {
        snprintf(no.reason, sizeof no.reason, "%.*s", HTTP_REASON_MAX - 1, why);
        front_refuse(c, &no);
        return;
    }
    c->generation = (c->generation + 1) & ((1u << (31 - FRONT_SLOT_BITS)) - 1);
    c->request = (c->generation + 1) << FRONT_SLOT_BITS | c->slot;
    snprintf(reader, sizeof reader, "CN=%s, OU=%s", c->peer.subject.cn, c->peer.subject.ou);
    q.request = c->request;
    q.reader = slice_text(reader);
    if (!ask_send_question(c->query->channel, &q, &e)) {
        c->query = NULL;
        c->request = 0;
        no.code = "busy";
        snprintf(no.reason, sizeof no.reason, "%.*s", HTTP_REASON_MAX - 1, e.text);
        front_refuse(c, &no);
        return;
    }
    c->query->asked++;
    front_set_state(c, FRONT_WAITING);
    front_flush_query(c->query);
}

static void serve(struct front_connection *c)
{
    struct slice content = slice_of(c->in.data + c->in.start + c->head_used, (size_t)c->head.content_length);
    struct api_refusal no, no_route;
    bool routed = api_route(&c->head, &c->call, &no_route);

    /* Who cannot say who he is gets one answer, not a place for a minute. */
    c->keep_alive = c->head.keep_alive && c->peer.verified;
    c->sent = 0;
    if (routed && api_is_open(c->call.resource))
        answer_here(c);
    else if (!authenticate(c, &no))
        front_refuse(c, &no);
    else if (!routed)
        front_refuse(c, &no_route);
    else if (!authorise(c, &no))
        front_refuse(c, &no);
    else if (c->call.resource == API_EXTRACT && !api_read_extraction(&c->head, content, &c->call, &no))
        front_refuse(c, &no);
    else
        ask(c);
}

/* A head that cannot be read: the connection ends with the answer, for nobody knows where the next request begins. */
static void refuse_head(struct front_connection *c, const struct http_refusal *why)
{
    struct api_refusal no = {why->status, "malformed", "", NULL};

    snprintf(no.reason, sizeof no.reason, "%s", why->reason);
    c->keep_alive = false;
    front_refuse(c, &no);
}

bool front_take_request(struct front_connection *c)
{
    struct http_refusal why;
    struct err e = {0};
    enum http_result r;

    if (c->in.len < c->wanted)
        return false;
    r = http_read_head(buf_slice(&c->in), &c->scan, &c->head, &c->head_used, &why);
    if (r == HTTP_MORE)
        return false;
    if (r == HTTP_REFUSED) {
        refuse_head(c, &why);
        return true;
    }
    if (c->in.len < c->head_used + c->head.content_length) {
        /* The head is read again once its content is there: the buffer may move meanwhile. */
        c->scan = (struct http_scan){0};
        c->wanted = c->head_used + (size_t)c->head.content_length;
        if (c->head.expects_continue && !buf_printf(&c->out, &e, "HTTP/1.1 100 Continue\r\n\r\n"))
            front_drop(c, e.text);
        return false;
    }
    c->wanted = 0;
    c->has_head = true;
    serve(c);
    return true;
}
