/* The journal role's side towards RabbitMQ: batches from the spool, in order, confirmed in order. */
#include <stdio.h>

#include "common/journal/journal_role_internal.h"

enum { CHANNEL_ID = 1, BACKOFF_MIN_MS = 250, BACKOFF_MAX_MS = 5000, FULL_RETRY_MS = 1000 };

static const char exchange[] = "journal.in" /* not the queue's name: permissions go by names alone, and who writes must not read */, content_type[] = "application/x-ndjson";

/* What was under way is given out again. */
static void again(struct journal_role *j, int64_t in_ms)
{
    j->flying = 0;
    j->window = 1;
    j->publish_at = journal_now_ms(CLOCK_MONOTONIC) + in_ms;
    spool_rewind(j->spool);
}

static void lost(struct journal_role *j, const char *why)
{
    broker_close(j->broker);
    j->broker = NULL;
    again(j, 0);
    j->backoff_ms = j->backoff_ms < BACKOFF_MIN_MS ? BACKOFF_MIN_MS : j->backoff_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : j->backoff_ms * 2;
    j->connect_at = journal_now_ms(CLOCK_MONOTONIC) + j->backoff_ms;
    journal_role_set_up(j, false, why);
}

static void connect_broker(struct journal_role *j)
{
    const struct settings *s = role_settings(j->self);
    char name[64];
    struct broker_options o = {.settings = s, .certificate = j->duty->certificate(s), .key = j->duty->key(s), .name = name};
    struct err e = {0};

    snprintf(name, sizeof name, "%s journal", role_daemon_name(j->self));
    j->broker = broker_open(&o, &e);
    j->window = 1;
    if (j->broker == NULL || !broker_confirms(j->broker, CHANNEL_ID, &e))
        lost(j, e.text);
    else
        journal_role_set_up(j, true, "");
}

/* Confirmed from the front on: what follows a batch that was not stored is sent once more with it. */
static void settle(struct journal_role *j)
{
    unsigned done = 0;

    while (done < j->flying && j->flights[done].confirmed && !j->flights[done].returned) {
        spool_confirm(j->spool, &j->flights[done].batch);
        j->counts.confirmed += j->flights[done].batch.records;
        done++;
    }
    if (done > 0) {
        j->window = JOURNAL_WINDOW_MAX;
        j->backoff_ms = 0;
        if (!broker_blocked(j->broker, NULL))
            journal_role_set_up(j, true, "");
    }
    j->flying -= done;
    for (unsigned i = 0; i < j->flying; i++)
        j->flights[i] = j->flights[done + i];
    if (j->flying > 0 && j->flights[0].confirmed) {
        again(j, FULL_RETRY_MS);
        journal_role_set_up(j, false, "exchange journal.in leads to no queue");
    }
}

static void take_confirm(struct journal_role *j, const struct broker_event *ev)
{
    bool refused = false;

    for (unsigned i = 0; i < j->flying; i++) {
        struct journal_flight *f = &j->flights[i];

        if (f->tag != ev->tag && !(ev->multiple && f->tag < ev->tag))
            continue;
        f->confirmed = ev->positive;
        refused = refused || !ev->positive;
    }
    settle(j);
    if (refused) {
        again(j, FULL_RETRY_MS);
        journal_role_set_up(j, false, "queue journal is full");
    }
}

static bool take_event(struct journal_role *j, const struct broker_event *ev, struct err *e)
{
    char why[300];

    switch (ev->kind) {
    case BROKER_CONFIRM:
        take_confirm(j, ev);
        return true;
    case BROKER_RETURN:
        for (unsigned i = 0; i < j->flying; i++)
            j->flights[i].returned = j->flights[i].returned || j->flights[i].tag == ev->tag;
        return true;
    case BROKER_BLOCKED:
        snprintf(why, sizeof why, "RabbitMQ is blocked: %s", ev->text);
        journal_role_set_up(j, false, why);
        return true;
    case BROKER_UNBLOCKED:
        journal_role_set_up(j, true, "");
        return true;
    case BROKER_CHANNEL_CLOSED:
        return err_set(e, ERR_RETRY, "RabbitMQ closed the channel: %s", ev->text);
    case BROKER_NOTHING:
    case BROKER_DELIVERY:
    case BROKER_CANCELLED:
    case BROKER_DONE:
        return true;
    }
    return true;
}

static bool take_events(struct journal_role *j, struct err *e)
{
    struct broker_event ev;

    do
        if (!broker_poll(j->broker, 0, &ev, e) || !take_event(j, &ev, e))
            return false;
    while (ev.kind != BROKER_NOTHING);
    return true;
}

static bool publish(struct journal_role *j, struct err *e)
{
    while (j->flying < j->window && journal_now_ms(CLOCK_MONOTONIC) >= j->publish_at && broker_can_publish(j->broker, JOURNAL_BATCH_BYTES)) {
        struct journal_flight *f = &j->flights[j->flying];

        *f = (struct journal_flight){0};
        if (!spool_next(j->spool, JOURNAL_BATCH_BYTES, &j->lines, &f->batch, e))
            return false;
        if (f->batch.records == 0)
            return true;
        if (!broker_publish(j->broker, CHANNEL_ID, exchange, "", content_type, buf_slice(&j->lines), &f->tag, e))
            return false;
        j->counts.published += f->batch.records;
        j->flying++;
    }
    return true;
}

void journal_role_broker(struct journal_role *j)
{
    struct err e = {0};

    if (j->broker == NULL && journal_now_ms(CLOCK_MONOTONIC) >= j->connect_at && !j->draining)
        connect_broker(j);
    if (j->broker != NULL && (!take_events(j, &e) || !publish(j, &e)))
        lost(j, e.text);
}
