/* The query processes as front sees them: roster, state, answers, their loss. See front.h. Messages of siblings are not trusted. */
#include <unistd.h>

#include "exporter/front.h"

void front_lose_query(struct front_query *q, const char *why)
{
    struct front *f = q->front;

    if (q->channel == NULL)
        return;
    log_write(f->draining ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING, "query-lost", NULL, "%s is gone: %s", q == &f->admin ? "the admin process" : "a query process", why);
    event_free(q->readable);
    event_free(q->writable);
    channel_free(q->channel);
    q->channel = NULL;
    q->available = false;
    q->asked = 0;
    for (unsigned i = 0; i < f->slot_count; i++) {
        struct front_connection *c = f->slots[i];
        static const struct api_refusal away = {503, "query-lost", "the query process was lost; ask again", NULL};

        if (c == NULL || c->query != q)
            continue;
        c->query = NULL;
        c->request = 0;
        if (c->state == FRONT_WAITING)
            front_refuse(c, &away);
        else if (c->state == FRONT_SENDING)
            front_drop(c, "query was lost in the middle of an answer");
        front_continue(c);
    }
}

void front_flush_query(struct front_query *q)
{
    struct err e = {0};

    if (q->channel == NULL)
        return;
    if (!channel_flush(q->channel, &e)) {
        event_active(q->readable, EV_READ, 0); /* the end is dealt with there, outside of whoever sends */
        return;
    }
    if (channel_queued(q->channel) != 0)
        event_add(q->writable, NULL);
}

static struct front_connection *find_request(struct front *f, const struct front_query *q, uint32_t request)
{
    unsigned slot = request & ((1u << FRONT_SLOT_BITS) - 1);
    struct front_connection *c = slot < f->slot_count ? f->slots[slot] : NULL;

    return c != NULL && c->request == request && request != 0 && c->query == q ? c : NULL;
}

static bool take_data(struct front_query *q, struct slice body, struct err *e)
{
    struct slice content;
    uint32_t request;
    struct front_connection *c;

    if (!ask_read_content(body, &request, &content, e))
        return false;
    c = find_request(q->front, q, request);
    if (c == NULL || c->state != FRONT_SENDING)
        return true; /* dropped meanwhile */
    if (content.len > c->credit || content.len > c->left || content.len == 0)
        return err_set(e, ERR_INPUT, "content beyond what was asked");
    c->credit -= (uint32_t)content.len;
    c->left -= content.len;
    c->sent += content.len;
    if (!buf_add_slice(&c->out, content, e))
        return false;
    if (c->left == 0)
        front_finish_request(c);
    front_continue(c);
    return true;
}

static bool take_answer(struct front_query *q, struct slice body, struct err *e)
{
    struct ask_answer a;
    struct front_connection *c;

    if (!ask_read_answer(body, &a, e))
        return false;
    c = find_request(q->front, q, a.request);
    if (c == NULL || c->state != FRONT_WAITING)
        return true;
    front_answer(c, &a);
    front_continue(c);
    return true;
}

static bool take_broken(struct front_query *q, struct slice body, struct err *e)
{
    struct slice reason;
    uint32_t request;
    struct front_connection *c;

    if (!ask_read_content(body, &request, &reason, e))
        return false;
    c = find_request(q->front, q, request);
    if (c != NULL && c->state == FRONT_SENDING)
        front_drop(c, "query cannot go on with the answer");
    return true;
}

static bool take_roster(struct front_query *q, struct slice body, struct err *e)
{
    struct front *f = q->front;
    struct roster *fresh;

    if (f->roster != NULL && slice_equal(roster_body(f->roster), body))
        return true;
    fresh = roster_decode(body, e);
    if (fresh == NULL)
        return false;
    roster_free(f->roster);
    f->roster = fresh;
    log_info("roster", "%u bindings in force", roster_count(fresh));
    front_review_all(f);
    return true;
}

static bool take_state(struct front_query *q, struct slice body, struct err *e)
{
    struct slice reason;
    bool available;

    if (!ask_read_state(body, &available, &reason, e))
        return false;
    q->available = available;
    snprintf(q->reason, sizeof q->reason, "%.*s", (int)(reason.len < 255 ? reason.len : 255), (const char *)reason.at);
    return true;
}

static bool take_health(struct front_query *q, struct slice body, struct err *e)
{
    struct front *f = q->front;
    struct health fresh;

    if (!health_read(body, &fresh, e))
        return false;
    f->store = fresh;
    f->store_at = f->seconds;
    return true;
}

static bool take_message(struct front_query *q, const struct channel_message *m, struct err *e)
{
    if (m->fd >= 0) {
        close(m->fd);
        return err_set(e, ERR_INPUT, "a descriptor");
    }
    /* Who may change bindings does not also say which are in force. */
    if (q == &q->front->admin && m->type != ASK_ANSWER && m->type != ASK_STATE)
        return err_set(e, ERR_INPUT, "message %u from admin", m->type);
    switch (m->type) {
    case ASK_ROSTER:
        return take_roster(q, m->body, e);
    case ASK_HEALTH:
        return take_health(q, m->body, e);
    case ASK_ANSWER:
        return take_answer(q, m->body, e);
    case ASK_DATA:
        return take_data(q, m->body, e);
    case ASK_BROKEN:
        return take_broken(q, m->body, e);
    case ASK_STATE:
        return take_state(q, m->body, e);
    default:
        return err_set(e, ERR_INPUT, "message %u", m->type);
    }
}

static void query_readable(evutil_socket_t fd, short what, void *arg)
{
    struct front_query *q = arg;
    struct channel_message m;
    struct err e = {0};
    enum channel_result r = CHANNEL_EMPTY;

    (void)fd;
    (void)what;
    while (q->channel != NULL && (r = channel_receive(q->channel, &m, &e)) == CHANNEL_MESSAGE)
        if (!take_message(q, &m, &e)) {
            r = CHANNEL_CLOSED;
            break;
        }
    if (r == CHANNEL_CLOSED)
        front_lose_query(q, e.text);
    front_bury(q->front);
}

static void query_writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    front_flush_query(arg);
}

static struct front_query *choose_admin(struct front *f, const char **why)
{
    struct front_query *q = &f->admin;

    *why = q->channel == NULL ? "the admin process is not there" : q->reason[0] == '\0' ? "PostgreSQL is not reached yet" : q->reason;
    return q->channel != NULL && q->available ? q : NULL;
}

struct front_query *front_choose_query(struct front *f, enum api_resource resource, const char **why)
{
    struct front_query *best = NULL;

    if (api_is_admin(resource))
        return choose_admin(f, why);
    *why = "no query process is there";
    for (unsigned i = 0; i < FRONT_QUERIES_MAX; i++) {
        struct front_query *q = &f->queries[i];

        if (q->channel == NULL)
            continue;
        /* Metrics are files: they are wanted most when the store is away. */
        if (!q->available && resource != API_METRICS) {
            *why = q->reason[0] == '\0' ? "PostgreSQL is not reached yet" : q->reason;
            continue;
        }
        if (best == NULL || q->asked < best->asked)
            best = q;
    }
    return best;
}

bool front_has_store(const struct front *f, const char **why)
{
    *why = "no query process is there";
    for (unsigned i = 0; i < FRONT_QUERIES_MAX; i++) {
        const struct front_query *q = &f->queries[i];

        if (q->channel != NULL && q->available)
            return true;
        if (q->channel != NULL)
            *why = q->reason[0] == '\0' ? "PostgreSQL is not reached yet" : q->reason;
    }
    return false;
}

bool front_is_ready(const struct front *f, const char **why)
{
    if (!front_has_store(f, why))
        return false;
    *why = !remote_line_linked(f->line) ? "the key process is away"
           : f->trust == NULL           ? "the server's certificate is not known yet"
           : f->identity.channel == NULL ? "the identity process is away"
           : f->roster == NULL          ? "role bindings are not known yet"
                                        : NULL;
    return *why == NULL;
}

void front_link_query(struct front_query *q, struct channel *c)
{
    struct front *f = q->front;

    front_lose_query(q, "a new one is there");
    q->channel = c;
    q->readable = event_new(f->base, channel_fd(c), EV_READ | EV_PERSIST, query_readable, q);
    q->writable = event_new(f->base, channel_fd(c), EV_WRITE, query_writable, q);
    event_add(q->readable, NULL);
}
