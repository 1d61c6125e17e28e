/*
 * Depositors' queues: made, found to answer, and only then bound to their exchanges. RabbitMQ 3.10 leaves a quorum queue that it was killed over
 * within milliseconds of its making without a leader for good: it answers nobody. What is not bound has never held an answer and may be made anew;
 * what is bound is an operator's matter. Nothing here reads or changes a message.
 */
#include "ingest/ledger/ledger_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/values/log.h"

enum { CHANNEL_ROUTE = 1, ANSWERS_MS = 3000, ROUTE_MS = 2000, NAME_SIZE = 64, QUEUES_LOCK_CLASS = 0x43464c51 };

static const int64_t QUEUE_BYTES_MAX = 1 << 30; /* PROTOCOL.md: x-max-length-bytes */

/* One depositor's. */
struct pair {
    uint32_t depositor;
    char key[16];
    char events[NAME_SIZE], archives[NAME_SIZE];
};

static struct pair pair_of(const struct ledger *l, uint32_t depositor)
{
    struct pair p = {.depositor = depositor};

    snprintf(p.key, sizeof p.key, "%" PRIu32, depositor);
    snprintf(p.events, sizeof p.events, "%s.%" PRIu32, l->exchange_out, depositor);
    snprintf(p.archives, sizeof p.archives, "%s.%" PRIu32, l->exchange_archive, depositor);
    return p;
}

/* A connection of its own: a queue that does not answer costs it. */
static bool reach(struct ledger *l, struct err *e)
{
    const struct broker_options o = {.settings = l->settings,
                                     .certificate = l->settings->ingest.rabbitmq_certificate,
                                     .key = l->settings->ingest.rabbitmq_key,
                                     .name = "coffre-ingest ledger, queues"};

    broker_close(l->maker);
    l->maker = broker_open(&o, e);
    return l->maker != NULL && broker_confirms(l->maker, CHANNEL_ROUTE, e);
}

static bool make(struct ledger *l, const char *queue, struct err *e)
{
    const struct broker_argument argument = {.name = "x-max-length-bytes", .number = QUEUE_BYTES_MAX};

    return broker_declare_queue(l->maker, queue, &argument, 1, e);
}

/* Answers first in the making, last in the binding: unbound, neither queue has held anything about this depositor's deposits. */
static bool bind_both(struct ledger *l, const struct pair *p, struct err *e)
{
    return broker_bind_queue(l->maker, p->archives, l->exchange_archive, "", e) &&
           broker_bind_queue(l->maker, p->events, l->exchange_out, p->key, e);
}

/* False: it does not; with ERR_RETRY in `e` when RabbitMQ itself is away. */
static bool answers(struct ledger *l, const char *queue, struct err *e)
{
    struct err why = {0};

    if (broker_queue_answers(l->maker, queue, ANSWERS_MS, &why))
        return true;
    if (why.code != ERR_RETRY)
        return err_set(e, why.code, "%s", why.text);
    return reach(l, e) && err_set(e, ERR_NONE, "%s", why.text);
}

/* ---- a queue that does not answer ---------------------------------------------------------- */

static void tell_stuck(struct ledger *l, const char *queue)
{
    snprintf(l->silent_queue, sizeof l->silent_queue, "%s", queue);
    log_error("queue-without-leader",
              "%s does not answer: RabbitMQ has perhaps no leader for it, and what it holds is not touched. rabbitmqctl eval \"ra:trigger_election({'%s_%s', node()}).\" "
              "gives it one",
              queue, l->settings->rabbitmq.vhost, queue);
}

static bool make_anew(struct ledger *l, const char *queue, struct err *e)
{
    if (answers(l, queue, e))
        return true;
    if (e->code != ERR_NONE || !broker_delete_queue(l->maker, queue, e) || !make(l, queue, e))
        return false;
    log_warning("queue-made-anew", "%s had no leader and had never held anything: RabbitMQ was stopped while it was being made", queue);
    return answers(l, queue, e);
}

/* One ledger of the vault at a time: what another has just bound is not taken for unbound. */
static bool lock(struct ledger *l, bool *got, struct err *e)
{
    const struct database_value v[] = {database_i32(QUEUES_LOCK_CLASS), database_i32((int32_t)l->settings->vault.number)};
    PGresult *r = database_query(l->look, "SELECT pg_try_advisory_lock($1, $2)", v, 2, e);

    *got = r != NULL && database_get_bool(r, 0, 0);
    PQclear(r);
    return r != NULL;
}

static bool unlock(struct ledger *l, struct err *e)
{
    const struct database_value v[] = {database_i32(QUEUES_LOCK_CLASS), database_i32((int32_t)l->settings->vault.number)};
    PGresult *r = database_query(l->look, "SELECT pg_advisory_unlock($1, $2)", v, 2, e);

    PQclear(r);
    return r != NULL;
}

static bool mend_locked(struct ledger *l, const struct pair *p, const char *queue, struct err *e)
{
    bool bound = true;

    if (!broker_has_route(l->maker, CHANNEL_ROUTE, l->exchange_out, p->key, ROUTE_MS, &bound, e))
        return false;
    if (bound) {
        tell_stuck(l, queue);
        return reach(l, e); /* the message without confirm is forgotten with its connection */
    }
    return make_anew(l, p->events, e) && make_anew(l, p->archives, e) && bind_both(l, p, e);
}

static bool mend(struct ledger *l, const struct pair *p, const char *queue, struct err *e)
{
    bool got = false, ok;

    if (!lock(l, &got, e))
        return false;
    if (!got) /* another ledger is at it */
        return true;
    ok = mend_locked(l, p, queue, e);
    return unlock(l, ok ? e : NULL) && ok;
}

/* ---- all of them ---------------------------------------------------------------------------- */

/* False with an error: RabbitMQ is away, or the store. */
static bool provide(struct ledger *l, uint32_t depositor, struct err *e)
{
    const struct pair p = pair_of(l, depositor);
    const char *silent = NULL;

    if (!make(l, p.events, e) || !make(l, p.archives, e))
        return false;
    if (!answers(l, p.events, e))
        silent = p.events;
    else if (!answers(l, p.archives, e))
        silent = p.archives;
    if (silent == NULL)
        return bind_both(l, &p, e);
    return e->code == ERR_NONE && mend(l, &p, silent, e);
}

bool ledger_queues_provide(struct ledger *l, uint32_t depositor, struct err *e)
{
    struct err why = {0};

    if (l->maker == NULL && !reach(l, e))
        return false;
    if (provide(l, depositor, &why))
        return true;
    if (why.code != ERR_INPUT && why.code != ERR_DENIED)
        return err_set(e, why.code == ERR_NONE ? ERR_RETRY : why.code, "%s", why.text);
    log_error("depositor-queue", "the queues of depositor %" PRIu32 " cannot be made: %s", depositor, why.text);
    return true;
}

void ledger_queues_done(struct ledger *l)
{
    broker_close(l->maker);
    l->maker = NULL;
}
