/*
 * Depositors' queues: made, found to answer, and only then bound to their exchanges. RabbitMQ 3.10 leaves a quorum queue that it was killed over
 * within milliseconds of its making without a leader for good: it answers nobody. What is not bound has never held an answer and may be made anew;
 * what is bound is an operator's matter. One depositor at a time, and whatever such a queue may never do is not waited for: the ledger goes on
 * meanwhile. Nothing here reads or changes a message.
 */
#include "ingest/ledger/ledger_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/values/log.h"

enum { CHANNEL_ASK = 2, CHANNEL_ROUTE = 3, SOON_MS = 500, ANSWERS_MS = 3000, ROUTE_MS = 2000, DELETE_MS = 10000, NAME_SIZE = 64, QUEUES_LOCK_CLASS = 0x43464c51 };

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

/* A new connection of its own: a queue that does not answer costs it. */
static bool reach(struct ledger *l, struct err *e)
{
    const struct broker_options o = {.settings = l->settings,
                                     .certificate = l->settings->ingest.rabbitmq_certificate,
                                     .key = l->settings->ingest.rabbitmq_key,
                                     .name = "coffre-ingest ledger, queues"};

    broker_abandon(l->maker);
    l->maker = broker_open(&o, e);
    return l->maker != NULL;
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

static void await(struct ledger *l, enum ledger_providing_state state, uint64_t ms)
{
    l->providing.state = state;
    l->providing.until = ledger_now() + ms;
}

static const char *asked_of(const struct ledger *l, const struct pair *p)
{
    return l->providing.archives ? p->archives : p->events;
}

static bool ask(struct ledger *l, const struct pair *p, bool archives, struct err *e)
{
    l->providing.archives = archives;
    await(l, LEDGER_PROVIDE_ASKED, l->providing.patient ? ANSWERS_MS : SOON_MS);
    return broker_ask_queue(l->maker, CHANNEL_ASK, asked_of(l, p), e);
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

static bool finish(struct ledger *l, struct err *e)
{
    bool locked = l->providing.locked;

    ledger_silence_asked(l, l->providing.depositor);
    l->providing = (struct ledger_providing){0};
    return !locked || unlock(l, e);
}

/* What was not answered is forgotten with its connection. */
static void forget_connection(struct ledger *l)
{
    broker_abandon(l->maker);
    l->maker = NULL;
}

/* ---- a queue that does not answer ---------------------------------------------------------- */

static void tell_stuck(struct ledger *l, const char *queue)
{
    snprintf(l->silent_queue, sizeof l->silent_queue, "%s", queue);
    if (!ledger_silence_is_news(l, l->providing.depositor))
        return;
    log_error("queue-without-leader",
              "%s does not answer: RabbitMQ has perhaps no leader for it, and what it holds is not touched. rabbitmqctl eval \"ra:trigger_election({'%s_%s', node()}).\" "
              "gives it one",
              queue, l->settings->rabbitmq.vhost, queue);
}

static bool begin_delete(struct ledger *l, const struct pair *p, struct err *e)
{
    await(l, LEDGER_PROVIDE_DELETED, DELETE_MS);
    return broker_ask_delete(l->maker, CHANNEL_ASK, asked_of(l, p), e);
}

/* Is it bound? */
static bool begin_route(struct ledger *l, const struct pair *p, struct err *e)
{
    if (!lock(l, &l->providing.locked, e))
        return false;
    if (!l->providing.locked) /* another ledger is at it */
        return finish(l, e);
    await(l, LEDGER_PROVIDE_ROUTED, ROUTE_MS);
    return broker_ask_route(l->maker, CHANNEL_ROUTE, l->exchange_out, p->key, e);
}

/* Those behind it are not to wait: it is looked into after them. */
static bool put_off(struct ledger *l, const struct pair *p, struct err *e)
{
    forget_connection(l);
    if (!finish(l, e))
        return false;
    ledger_silence_begin(l, p->depositor);
    return true;
}

/* Locked: both are known not to be bound. */
static bool on_silence(struct ledger *l, const struct pair *p, struct err *e)
{
    if (!l->providing.patient)
        return put_off(l, p, e);
    if (l->providing.anew[l->providing.archives])
        return err_set(e, ERR_RETRY, "RabbitMQ: %s does not answer although it was just made anew", asked_of(l, p));
    return reach(l, e) && (l->providing.locked ? begin_delete(l, p, e) : begin_route(l, p, e));
}

static bool on_routed(struct ledger *l, const struct pair *p, struct err *e)
{
    if (l->providing.unrouted)
        return begin_delete(l, p, e);
    tell_stuck(l, asked_of(l, p));
    if (l->providing.archives)
        ledger_silence_end(l, p->depositor);
    else if (ledger_has_sent(l, p->depositor))
        return err_set(e, ERR_RETRY, "RabbitMQ: %s does not answer, and holds up what is said to others", p->events);
    forget_connection(l);
    return finish(l, e);
}

static bool on_deleted(struct ledger *l, const struct pair *p, struct err *e)
{
    if (!make(l, asked_of(l, p), e))
        return false;
    l->providing.anew[l->providing.archives] = true;
    log_warning("queue-made-anew", "%s had no leader and had never held anything: RabbitMQ was stopped while it was being made", asked_of(l, p));
    return ask(l, p, l->providing.archives, e);
}

/* ---- all of them ---------------------------------------------------------------------------- */

static bool on_answer(struct ledger *l, const struct pair *p, struct err *e)
{
    if (!broker_channel_close(l->maker, CHANNEL_ASK, e))
        return false;
    if (!l->providing.archives)
        return ask(l, p, true, e);
    if (!bind_both(l, p, e))
        return false;
    /* RabbitMQ counts what a channel sends to a queue: one made anew behind its back waits for ever for what came before. */
    if (ledger_is_stuck(l, p->depositor))
        return err_set(e, ERR_RETRY, "RabbitMQ: %s answers, but does not confirm what was sent to it", p->events);
    ledger_silence_end(l, p->depositor);
    return finish(l, e);
}

/* What RabbitMQ has said to what was asked. */
static bool hear(struct ledger *l, bool *done, struct err *e)
{
    struct broker_event ev;

    *done = false;
    do {
        if (!broker_poll(l->maker, 0, &ev, e))
            return false;
        if (ev.kind == BROKER_CHANNEL_CLOSED)
            return err_set(e, ERR_INPUT, "RabbitMQ: %s", ev.text);
        l->providing.unrouted = l->providing.unrouted || ev.kind == BROKER_RETURN;
        *done = *done || ev.kind == (l->providing.state == LEDGER_PROVIDE_ROUTED ? BROKER_CONFIRM : BROKER_DONE);
    } while (ev.kind != BROKER_NOTHING);
    return true;
}

static bool go_on(struct ledger *l, struct err *e)
{
    const struct pair p = pair_of(l, l->providing.depositor);
    struct err why = {0};
    bool done, heard = hear(l, &done, &why);

    /* RabbitMQ ends a connection by which a queue is asked whose process is gone. When it is away itself, the next connection says so, and no queue is taken for silent. */
    if (!heard && (why.code != ERR_RETRY || l->providing.state == LEDGER_PROVIDE_DELETED))
        return err_set(e, why.code, "%s", why.text);
    if (!heard && !reach(l, e))
        return false;
    if (heard && !done && ledger_now() < l->providing.until)
        return true;
    switch (l->providing.state) {
    case LEDGER_PROVIDE_NOTHING:
        return true;
    case LEDGER_PROVIDE_ASKED:
        return done ? on_answer(l, &p, e) : on_silence(l, &p, e);
    case LEDGER_PROVIDE_ROUTED:
        return on_routed(l, &p, e);
    case LEDGER_PROVIDE_DELETED:
        return done ? on_deleted(l, &p, e) : err_set(e, ERR_RETRY, "RabbitMQ does not delete %s", asked_of(l, &p));
    }
    return true;
}

/* What only an operator can mend is told, and its depositor's queues are left as they are. */
static bool judge(struct ledger *l, bool ok, const struct err *why, struct err *e)
{
    if (ok)
        return true;
    if (why->code != ERR_INPUT && why->code != ERR_DENIED)
        return err_set(e, why->code, "%s", why->text);
    log_error("depositor-queue", "the queues of depositor %" PRIu32 " cannot be made: %s", l->providing.depositor, why->text);
    forget_connection(l);
    return finish(l, e);
}

bool ledger_queues_begin(struct ledger *l, uint32_t depositor, bool patient, struct err *e)
{
    const struct pair p = pair_of(l, depositor);
    struct err why = {0};

    l->providing = (struct ledger_providing){.depositor = depositor, .patient = patient};
    return judge(l, (l->maker != NULL || reach(l, &why)) && make(l, p.events, &why) && make(l, p.archives, &why) && ask(l, &p, false, &why), &why, e);
}

bool ledger_queues_go_on(struct ledger *l, struct err *e)
{
    struct err why = {0};

    return judge(l, go_on(l, &why), &why, e);
}

void ledger_queues_done(struct ledger *l)
{
    if (l->providing.state != LEDGER_PROVIDE_NOTHING)
        forget_connection(l);
    l->providing = (struct ledger_providing){0};
    broker_close(l->maker);
    l->maker = NULL;
}
