/* What the role states tells of this host's daemons, for technical administrators: the last of it is kept, and answered with. See query.h and states.h. */
#include <unistd.h>

#include "common/values/log.h"
#include "exporter/query.h"
#include "exporter/states.h"

void query_link_states(struct query *q, struct channel *c)
{
    channel_free(q->states);
    q->states = c;
    channel_limit(c, STATES_METRICS_MAX);
}

static void lose(struct query *q, const char *why)
{
    log_warning("states-lost", "%s", why);
    channel_free(q->states);
    q->states = NULL;
    role_relink(q->role, "states", 0);
}

static bool take(struct query *q, const struct channel_message *m, struct err *e)
{
    json_t *daemons;

    if (m->fd >= 0) {
        close(m->fd);
        return err_set(e, ERR_INPUT, "a descriptor");
    }
    if (m->type == STATES_METRICS) {
        buf_reset(&q->metrics);
        q->metrics_at = query_now_ms();
        return buf_add_slice(&q->metrics, m->body, e);
    }
    daemons = m->type == STATES_DAEMONS ? states_read_daemons(m->body) : NULL;
    if (daemons == NULL)
        return err_set(e, ERR_INPUT, "message %u is none", m->type);
    json_decref(q->daemons);
    q->daemons = daemons;
    q->daemons_at = query_now_ms();
    return true;
}

void query_take_states(struct query *q)
{
    for (int turn = 0; turn < 4 && q->states != NULL; turn++) {
        struct channel_message m;
        struct err e = {0};
        enum channel_result r = channel_receive(q->states, &m, &e);

        if (r == CHANNEL_EMPTY)
            return;
        if (r == CHANNEL_CLOSED || !take(q, &m, &e))
            lose(q, e.text);
    }
}

static bool is_known(uint64_t at)
{
    return at != 0 && query_now_ms() - at <= STATES_OLD_MS;
}

void query_answer_metrics(struct query *q, const struct ask_question *ask)
{
    struct ask_answer a = {.request = ask->request, .status = 200, .type = "text/plain; version=0.0.4; charset=utf-8"};

    if (!is_known(q->metrics_at)) {
        query_refuse(q, ask->request, 503, "metrics-away", "the daemons' metrics are not known; the operator's log says why");
        return;
    }
    a.content = buf_slice(&q->metrics);
    a.length = a.content.len;
    query_send(q, &a);
}

json_t *query_daemons(const struct query *q)
{
    return is_known(q->daemons_at) ? json_incref(q->daemons) : json_array();
}
