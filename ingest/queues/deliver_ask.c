/*
 * Role `deliver`: does a depositor's queue answer? A quorum queue without a leader answers nobody, and RabbitMQ ends the connection that would consume
 * from it: it is asked on a connection of its own first, which may be lost, and nobody waits for it but its subscribers. See deliver.c.
 */
#include <inttypes.h>

#include "common/values/log.h"
#include "ingest/queues/deliver_internal.h"

enum { ANSWER_MS = 10000, ASIDE_MIN_MS = 2000, ASIDE_MAX_MS = 30000 };

/* Left alone for longer each time in a row. */
void deliver_set_aside(struct queue *q, const char *why)
{
    q->aside_ms = q->aside_ms == 0 ? ASIDE_MIN_MS : q->aside_ms * 2 > ASIDE_MAX_MS ? ASIDE_MAX_MS : q->aside_ms * 2;
    q->retry_at = deliver_now_ms() + q->aside_ms;
    log_warning("queue-set-aside", "%s: %s; tried again in %" PRIu64 " ms", q->name, why, q->aside_ms);
}

void deliver_await(struct queue *q, const char *why)
{
    log_info("queue-awaited", "%s: %s", q->name, why);
    q->retry_at = deliver_now_ms() + RETRY_MS;
}

void deliver_stop_asking(struct deliver *d)
{
    broker_abandon(d->asker);
    d->asker = NULL;
    for (unsigned i = 0; i < d->queue_top; i++)
        if (d->queues[i] != NULL)
            d->queues[i]->asked_until = 0;
}

/* RabbitMQ ends a connection by which a queue is asked whose process is gone. It does not say which: those that do answer are late this once. */
static void lost(struct deliver *d, const struct err *why)
{
    for (unsigned i = 0; i < d->queue_top; i++)
        if (d->queues[i] != NULL && d->queues[i]->asked_until != 0)
            deliver_set_aside(d->queues[i], why->text);
    deliver_stop_asking(d);
}

static bool reach(struct deliver *d, struct err *e)
{
    if (d->asker == NULL)
        d->asker = deliver_connect(d, "coffre-ingest deliver, asking", e);
    return d->asker != NULL;
}

void deliver_ask(struct deliver *d, struct queue *q)
{
    struct err why = {0};

    if (q->asked_until != 0 || deliver_now_ms() < d->ask_at)
        return;
    if (!reach(d, &why)) {
        log_warning("queue-awaited", "%s: %s", q->name, why.text);
        d->ask_at = deliver_now_ms() + RETRY_MS;
        return;
    }
    q->asked_until = deliver_now_ms() + ANSWER_MS;
    if (!broker_ask_queue(d->asker, q->channel, q->name, &why))
        lost(d, &why);
}

static bool take_answer(struct deliver *d, const struct broker_event *ev, struct err *e)
{
    struct queue *q = deliver_queue_of(d, ev->channel);

    if (q == NULL || q->asked_until == 0 || (ev->kind != BROKER_DONE && ev->kind != BROKER_CHANNEL_CLOSED))
        return true;
    q->asked_until = 0;
    q->answers = ev->kind == BROKER_DONE;
    if (q->answers)
        return broker_channel_close(d->asker, ev->channel, e);
    deliver_await(q, ev->text);
    return true;
}

/* The others are asked again at once. */
static void give_up(struct deliver *d)
{
    bool silent = false;

    for (unsigned i = 0; i < d->queue_top; i++) {
        struct queue *q = d->queues[i];

        if (q == NULL || q->asked_until == 0 || deliver_now_ms() < q->asked_until)
            continue;
        deliver_set_aside(q, "RabbitMQ has perhaps no leader for it: it does not answer");
        silent = true;
    }
    if (silent)
        deliver_stop_asking(d);
}

void deliver_hear(struct deliver *d)
{
    struct broker_event ev = {.kind = BROKER_NOTHING};
    struct err why = {0};

    if (d->asker == NULL)
        return;
    do {
        if (!broker_poll(d->asker, 0, &ev, &why) || !take_answer(d, &ev, &why)) {
            lost(d, &why);
            return;
        }
    } while (ev.kind != BROKER_NOTHING);
    give_up(d);
}
