/*
 * Role `deliver`: does a depositor's queue answer? A quorum queue without a leader answers nobody, and RabbitMQ ends the connection that would consume
 * from it: it is asked first, on a connection that may be lost. One queue at a time, so that what becomes of the connection is about that queue; those
 * that did not answer the last time on a connection of their own, so that newcomers wait for each other only, half a second each at most. See deliver.c.
 */
#include <inttypes.h>

#include "common/values/log.h"
#include "ingest/queues/deliver_internal.h"

enum { ASIDE_MIN_MS = 2000, ASIDE_MAX_MS = 30000, REACH_SHARE = 10 };

/* ms for an answer: of a newcomer, and of one that was silent: RabbitMQ may be electing its leader. */
static const uint64_t patience[DELIVER_ASKERS] = {[DELIVER_NEWCOMERS] = 500, [DELIVER_SILENT] = 3000};

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
    q->aside_ms = 0;
}

static void end_asker(struct asker *a)
{
    broker_abandon(a->broker);
    a->broker = NULL;
    a->asked = NULL;
}

void deliver_unask(struct deliver *d, const struct queue *q)
{
    for (unsigned i = 0; i < DELIVER_ASKERS; i++)
        if (d->askers[i].asked == q)
            end_asker(&d->askers[i]);
}

void deliver_stop_asking(struct deliver *d)
{
    for (unsigned i = 0; i < DELIVER_ASKERS; i++)
        end_asker(&d->askers[i]);
}

uint64_t deliver_asks_for(const struct deliver *d, uint64_t most)
{
    uint64_t now = deliver_now_ms();

    for (unsigned i = 0; i < DELIVER_ASKERS; i++) {
        const struct asker *a = &d->askers[i];

        if (a->broker != NULL && broker_unread(a->broker))
            return 0;
        if (a->asked != NULL && a->until < now + most)
            most = a->until > now ? a->until - now : 0;
    }
    return most;
}

bool deliver_is_asked(const struct deliver *d, const struct queue *q)
{
    for (unsigned i = 0; i < DELIVER_ASKERS; i++)
        if (d->askers[i].asked == q)
            return true;
    return false;
}

/* Everybody waits for RabbitMQ to let a connection in: a tenth of all time at most, whether it does or not. */
static bool reach(struct deliver *d, struct asker *a, const char *name, struct err *e)
{
    uint64_t began = deliver_now_ms(), took;

    if (a->broker != NULL)
        return true;
    a->broker = deliver_connect(d, name, e);
    took = deliver_now_ms() - began;
    d->ask_at = began + took + (a->broker == NULL && took * REACH_SHARE < RETRY_MS ? RETRY_MS : took * REACH_SHARE);
    return a->broker != NULL;
}

/* ---- asking ---------------------------------------------------------------------------------- */

static bool is_due(const struct queue *q, enum deliver_asker which)
{
    return q != NULL && q->kind != DELIVER_REPLIES && !q->consuming && !q->answers && q->mailbox.subscription_count != 0 &&
           deliver_now_ms() >= q->retry_at && (q->aside_ms == 0 ? DELIVER_NEWCOMERS : DELIVER_SILENT) == which;
}

/* All in turns. NULL: none is to be asked. */
static struct queue *next_of(struct deliver *d, enum deliver_asker which)
{
    struct asker *a = &d->askers[which];

    for (unsigned n = 0; n < d->queue_top; n++) {
        unsigned at = (a->place + n) % d->queue_top;

        if (is_due(d->queues[at], which) && !deliver_is_asked(d, d->queues[at])) {
            a->place = at + 1;
            return d->queues[at];
        }
    }
    return NULL;
}

static void ask_next(struct deliver *d, enum deliver_asker which)
{
    struct asker *a = &d->askers[which];
    struct err why = {0};
    struct queue *q;

    if (a->asked != NULL || (a->broker == NULL && deliver_now_ms() < d->ask_at) || (q = next_of(d, which)) == NULL)
        return;
    if (!reach(d, a, which == DELIVER_NEWCOMERS ? "coffre-ingest deliver, asking" : "coffre-ingest deliver, asking again", &why)) {
        log_warning("queue-awaited", "%s: %s", q->name, why.text);
        return;
    }
    a->asked = q;
    a->until = deliver_now_ms() + patience[which];
    if (broker_ask_queue(a->broker, q->channel, q->name, &why))
        return;
    end_asker(a);
    deliver_set_aside(q, why.text);
}

void deliver_ask(struct deliver *d)
{
    for (unsigned i = 0; i < DELIVER_ASKERS; i++)
        ask_next(d, i);
}

/* ---- what is answered ------------------------------------------------------------------------ */

static bool take_answer(struct asker *a, const struct broker_event *ev, struct err *e)
{
    struct queue *q = a->asked;

    if (q == NULL || ev->channel != q->channel || (ev->kind != BROKER_DONE && ev->kind != BROKER_CHANNEL_CLOSED))
        return true;
    if (ev->kind == BROKER_CHANNEL_CLOSED)
        deliver_await(q, ev->text);
    else if (!broker_channel_close(a->broker, ev->channel, e))
        return false;
    q->answers = ev->kind == BROKER_DONE;
    a->asked = NULL;
    return true;
}

/* RabbitMQ ends a connection by which a queue is asked whose process is gone. One that nobody was asked by is only gone. */
static void lost(struct asker *a, const struct err *why)
{
    struct queue *q = a->asked;

    end_asker(a);
    if (q != NULL)
        deliver_set_aside(q, why->text);
}

static void hear(struct asker *a)
{
    static const struct err silence = {.text = "RabbitMQ has perhaps no leader for it: it does not answer"};
    struct broker_event ev = {.kind = BROKER_NOTHING};
    struct err why = {0};

    if (a->broker == NULL)
        return;
    do {
        if (!broker_poll(a->broker, 0, &ev, &why) || !take_answer(a, &ev, &why)) {
            lost(a, &why);
            return;
        }
    } while (ev.kind != BROKER_NOTHING);
    if (a->asked != NULL && deliver_now_ms() >= a->until)
        lost(a, &silence);
}

void deliver_hear(struct deliver *d)
{
    for (unsigned i = 0; i < DELIVER_ASKERS; i++)
        hear(&d->askers[i]);
}
