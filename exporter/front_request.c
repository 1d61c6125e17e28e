/* Requests of one connection: who asks, may they, who answers. See front.h. What arrives is a stranger's. */
#include <openssl/x509.h>

#include "exporter/front.h"

/* ---- may they -------------------------------------------------------------------------------------- */

/* Certificate and binding, before anything is said about what exists here. What is said of a certificate is what a stranger may know. */
static bool authenticate(struct front_connection *c, struct api_refusal *no)
{
    const struct front_peer *p = &c->peer;
    enum identity_check check = p->allowed == 0 ? p->check : p->readable ? IDENTITY_PASSED : IDENTITY_SUBJECT;

    *no = (struct api_refusal){0};
    if (check != IDENTITY_PASSED) {
        no->status = check == IDENTITY_ADDRESS ? 403 : check == IDENTITY_FULL ? 503 : 401;
        no->code = validate_code(check);
        snprintf(no->reason, sizeof no->reason, "%s", validate_sentence(check));
        return false;
    }
    if (c->front->roster == NULL) {
        *no = (struct api_refusal){503, "roster-unknown", "role bindings are not known yet; ask again", NULL};
        return false;
    }
    if (front_profiles(c) != 0)
        return true;
    if (front_is_barred(c)) {
        no->status = 403;
        no->code = validate_code(IDENTITY_ADDRESS);
        snprintf(no->reason, sizeof no->reason, "%s", validate_sentence(IDENTITY_ADDRESS));
        return false;
    }
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

/* ---- /livez, /readyz --------------------------------------------------------------------------------- */

/* Items are for those who hold a profile; everybody else learns one word. */
static void answer_here(struct front_connection *c)
{
    struct buf json;
    bool ready;

    if (c->call.resource == API_LIVEZ) {
        front_reply(c, 200, SLICE_LITERAL("{\"status\":\"alive\"}\n"));
        return;
    }
    buf_init(&json, 16 * 1024);
    ready = front_write_health(c->front, c->peer.judged && front_profiles(c) != 0, &json);
    front_reply(c, ready ? 200 : 503, buf_slice(&json));
    buf_free(&json);
}

/* Liveness needs no verdict; readiness waits for one only where it can come soon. */
static bool answers_without_verdict(const struct front_connection *c)
{
    return c->call.resource == API_LIVEZ || !c->peer.has_certificate || c->front->identity.channel == NULL;
}

/* ---- requests -------------------------------------------------------------------------------------- */

/* The issuer's name (RFC 2253), for records of changes; "" when it has none that fits. */
static void write_issuer(const struct front_connection *c, char *text, int size)
{
    X509 *certificate = tls_peer_certificate(c->tls);
    BIO *out = certificate == NULL ? NULL : BIO_new(BIO_s_mem());
    int len = 0;

    if (out != NULL && X509_NAME_print_ex(out, X509_get_issuer_name(certificate), 0, XN_FLAG_RFC2253) >= 0)
        len = BIO_read(out, text, size - 1);
    text[len > 0 ? len : 0] = '\0';
    BIO_free(out);
    X509_free(certificate);
}

static void ask(struct front_connection *c, struct slice content)
{
    char reader[2 * TLS_NAME_MAX + 16], issuer[ASK_ISSUER_MAX];
    const struct tls_subject *who = &c->peer.subject;
    struct ask_question q = {.call = c->call};
    struct api_refusal no = {503, "store-away", "", NULL};
    const char *why = "";
    struct err e = {0};

    c->query = front_choose_query(c->front, c->call.resource, &why);
    if (c->query == NULL) {
        snprintf(no.reason, sizeof no.reason, "%.*s", HTTP_REASON_MAX - 1, why);
        front_refuse(c, &no);
        return;
    }
    c->generation = (c->generation + 1) & ((1u << (31 - FRONT_SLOT_BITS)) - 1);
    c->request = (c->generation + 1) << FRONT_SLOT_BITS | c->slot;
    snprintf(reader, sizeof reader, "CN=%s, OU=%s", who->cn, who->ou);
    write_issuer(c, issuer, sizeof issuer);
    q.request = c->request;
    q.profiles = front_profiles(c);
    q.reader = slice_text(reader);
    q.client = (struct ask_client){slice_text(who->cn), slice_text(who->ou), slice_text(who->serial), slice_text(issuer),
                                   slice_text(c->peer.host)};
    if (api_is_admin(c->call.resource) || c->call.resource == API_OPERATE)
        q.content = content;
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

/* Everything but the two open resources: `routed` false says why in `no_route`, to those only who may know what exists here. */
static void serve_closed(struct front_connection *c, bool routed, const struct api_refusal *no_route)
{
    struct slice content = slice_of(c->in.data + c->in.start + c->head_used, (size_t)c->head.content_length);
    struct api_refusal no;

    if (!authenticate(c, &no)) {
        front_refuse(c, &no);
        return;
    }
    front_record_opened(c, front_profiles(c));
    if (!routed)
        front_refuse(c, no_route);
    else if (!authorise(c, &no) || !api_read_content(&c->head, content, &c->call, &no))
        front_refuse(c, &no);
    else
        ask(c, content);
}

void front_serve(struct front_connection *c)
{
    const struct front_peer *p = &c->peer;
    struct api_refusal no_route;
    bool routed = api_route(&c->head, &c->call, &no_route), open = routed && api_is_open(c->call.resource);

    /* Who cannot say who he is gets one answer, not a place for a minute. */
    c->keep_alive = c->head.keep_alive && (p->judged ? p->allowed != 0 : p->has_certificate);
    c->sent = 0;
    if (open && (p->judged || answers_without_verdict(c)))
        answer_here(c);
    else if (!p->judged)
        front_set_state(c, FRONT_JUDGING);
    else
        serve_closed(c, routed, &no_route);
}

void front_serve_unjudged(struct front_connection *c)
{
    static const struct api_refusal away = {503, "identity-unavailable", "certificates cannot be checked now; ask again", NULL};
    struct api_refusal no_route;

    if (api_route(&c->head, &c->call, &no_route) && api_is_open(c->call.resource))
        answer_here(c);
    else
        front_refuse(c, &away);
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
    front_serve(c);
    return true;
}
