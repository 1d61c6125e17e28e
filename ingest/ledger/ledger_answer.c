/*
 * What the ledger says to RabbitMQ: answers to depositors once PostgreSQL has committed, packs set aside,
 * acknowledgements of packs. Nothing is acknowledged before everything said about it is confirmed, or set aside (ledger_silence.c).
 */
#include "ingest/ledger/ledger_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/values/log.h"

enum { PARKED_RETRY_MS = 5000 };

bool ledger_answer_open(struct ledger *l, struct err *e)
{
    const struct broker_options o = {.settings = l->settings,
                                     .certificate = l->settings->ingest.rabbitmq_certificate,
                                     .key = l->settings->ingest.rabbitmq_key,
                                     .name = "coffre-ingest ledger, answers"};

    l->publisher = broker_open(&o, e);
    return l->publisher != NULL && broker_channel_open(l->publisher, CHANNEL_PUBLISH, e) &&
           broker_confirms(l->publisher, CHANNEL_PUBLISH, e);
}

/* --- answers
 * ------------------------------------------------------------------------------------------------------------------ */

void ledger_put_answer(struct wire_writer *w, const struct batch_entry *entry, bool reply)
{
    char hex[DIGEST_HEX_MAX];
    struct pack_answer a = {.client_id = entry->d.client_id, .digest_algo = entry->d.digest_algo};

    if (reply) {
        a.has_correlation = true;
        a.correlation = entry->d.correlation;
    }

    if (entry->kind == BATCH_INVALID) {
        a.status = PACK_INVALID;
        a.reason = slice_text(entry->reason);
    } else {
        a.status = entry->kind == BATCH_DUPLICATE ? PACK_DUPLICATE : PACK_OK;
        a.serial = entry->serial;
        a.lot = entry->lot;
        digest_to_hex(entry->digest, entry->digest_len, hex);
        a.digest = slice_of(hex, 2 * entry->digest_len);
    }
    pack_put_answer(w, &a);
}

static struct ledger_message *new_message(struct ledger *l, struct ledger_batch *b, uint32_t depositor)
{
    if (l->message_count == l->message_capacity) {
        l->message_capacity = l->message_capacity == 0 ? 16 : l->message_capacity * 2;
        l->messages = mem_realloc(l->messages, l->message_capacity * sizeof(*l->messages));
    }
    l->messages[l->message_count] = (struct ledger_message){.batch = b, .depositor = depositor, .since = ledger_now()};
    b->outgoing++;
    return &l->messages[l->message_count++];
}

/* One pack with every answer of the batch for the depositor of entries[first]. */
static bool answer_depositor(struct ledger *l, struct ledger_batch *b, size_t first, struct err *e)
{
    uint32_t depositor = b->entries[first].d.depositor;
    struct ledger_message *m = new_message(l, b, depositor);
    struct buf plain;
    struct wire_writer w = wire_write(&plain);
    bool ok;

    buf_init_secret(&plain, LEDGER_RECORDS_MAX);
    buf_init(&m->body, LEDGER_RECORDS_MAX + PACK_OVERHEAD);
    for (size_t i = first; i < b->count; i++) {
        if (b->entries[i].d.depositor != depositor || b->entries[i].answered)
            continue;
        ledger_put_answer(&w, &b->entries[i], false);
        b->entries[i].answered = true;
    }
    ok = wire_ok(&w, "answers", e) && pack_seal(l->writer, PACK_ANSWERS, buf_slice(&plain), &m->body, e);
    buf_free(&plain);
    return ok;
}

bool ledger_answer(struct ledger *l, struct ledger_batch *b, struct err *e)
{
    for (size_t i = 0; i < b->count; i++) {
        if (b->entries[i].answered)
            continue;
        if (!answer_depositor(l, b, i, e))
            return false;
        ledger_silence_heed(l, l->message_count - 1);
    }
    for (unsigned i = 0; i < b->parked_count; i++) {
        struct ledger_message *m = new_message(l, b, LEDGER_PARKED);

        m->body = b->parked[i];
        b->parked[i] = (struct buf){0};
    }
    ledger_reply(l, b);
    return true;
}

/* --- publishing
 * ------------------------------------------------------------------------------------------------------------------ */

static bool publish_one(struct ledger *l, struct ledger_message *m, struct err *e)
{
    char key[16];

    snprintf(key, sizeof(key), "%" PRIu32, m->depositor);
    m->attempts++;
    m->returned = false;
    return broker_publish(l->publisher, CHANNEL_PUBLISH, m->depositor == LEDGER_PARKED ? l->exchange_in : l->exchange_out,
                          m->depositor == LEDGER_PARKED ? "parked" : key, PACK_CONTENT_TYPE, buf_slice(&m->body), &m->tag, e);
}

static bool publish_due(struct ledger *l, struct err *e)
{
    uint64_t now = ledger_now();

    for (unsigned i = 0; i < l->message_count; i++) {
        struct ledger_message *m = &l->messages[i];

        if (m->tag != 0 || now < m->send_at)
            continue;
        if (!ledger_may_send(l, m)) {
            ledger_roster_wants(l, m->depositor);
            continue;
        }
        if (!broker_can_publish(l->publisher, m->body.len))
            return true;
        if (!publish_one(l, m, e))
            return false;
        m->send_at = now;
    }
    return true;
}

void ledger_message_done(struct ledger *l, unsigned index)
{
    struct ledger_message *m = &l->messages[index];

    if (m->batch != NULL) {
        m->batch->outgoing--;
    } else {
        l->aside_count--;
        l->aside_bytes -= m->body.len;
    }
    buf_free(&m->body);
    memmove(m, m + 1, (--l->message_count - index) * sizeof(*m));
}

/* Stored, or not: then again later, but an answer not for ever: its sensor sends again and is told again. */
static void settle(struct ledger *l, unsigned index, bool stored)
{
    struct ledger_message *m = &l->messages[index];

    if (stored || (m->depositor != LEDGER_PARKED && m->attempts >= LEDGER_REPUBLISH_MAX)) {
        if (!stored)
            log_error("answer-dropped",
                      "answers for depositor %" PRIu32 " could not be queued %u times and are dropped", m->depositor,
                      m->attempts);
        ledger_message_done(l, index);
        return;
    }
    m->tag = 0;
    m->send_at = ledger_now() + (m->depositor == LEDGER_PARKED ? PARKED_RETRY_MS : m->attempts > 1 ? LEDGER_REPUBLISH_MS : 0);
    if (m->depositor != LEDGER_PARKED) {
        if (m->returned)
            ledger_roster_again(l, m->depositor);
        ledger_silence_heed(l, index);
        return;
    }
    log_error("parked-queue", "a pack cannot be set aside: no queue %s.Parked, or it refuses", l->exchange_in);
    role_ready(l->self, false, "a pack cannot be set aside: there must be a queue bound to %s with key parked",
               l->exchange_in);
}

static void on_confirm(struct ledger *l, const struct broker_event *ev)
{
    for (unsigned i = l->message_count; i-- > 0;) {
        const struct ledger_message *m = &l->messages[i];

        if (m->tag != 0 && (ev->multiple ? m->tag <= ev->tag : m->tag == ev->tag))
            settle(l, i, ev->positive && !m->returned);
    }
}

static void on_return(struct ledger *l, const struct broker_event *ev)
{
    for (unsigned i = 0; i < l->message_count; i++)
        if (l->messages[i].tag == ev->tag)
            l->messages[i].returned = true;
}

static bool take_events(struct ledger *l, struct err *e)
{
    for (;;) {
        struct broker_event ev;

        if (!broker_poll(l->publisher, 0, &ev, e))
            return false;
        switch (ev.kind) {
        case BROKER_NOTHING:
            return true;
        case BROKER_CONFIRM:
            on_confirm(l, &ev);
            break;
        case BROKER_RETURN:
            on_return(l, &ev);
            break;
        case BROKER_CHANNEL_CLOSED:
            if (ev.channel == CHANNEL_PUBLISH || ev.channel == CHANNEL_REPLY)
                return err_set(e, ERR_RETRY, "RabbitMQ closed the channel of answers: %s", ev.text);
            break;
        case BROKER_BLOCKED:
            log_warning("answers-blocked", "RabbitMQ takes no answers: %s", ev.text);
            break;
        case BROKER_UNBLOCKED:
            log_info("answers-unblocked", "RabbitMQ takes answers again");
            break;
        case BROKER_DELIVERY:
        case BROKER_CANCELLED:
        case BROKER_DONE:
            break;
        }
    }
}

/* Batches about which everything is said leave, oldest first; RabbitMQ may forget their packs. */
static bool acknowledge(struct ledger *l, struct err *e)
{
    while (l->used != 0) {
        struct ledger_batch *b = ledger_batch_at(l, 0);

        if (b->state != LEDGER_WRITTEN || b->outgoing != 0)
            return true;
        if (!broker_ack(l->consumer, CHANNEL_CONSUME, b->last_tag, true, e))
            return false;
        ledger_batch_reset(b);
        l->first = (l->first + 1) % LEDGER_BATCHES;
        l->used--;
    }
    return true;
}

bool ledger_has_sent(const struct ledger *l, uint32_t depositor)
{
    for (unsigned i = 0; i < l->message_count; i++)
        if (l->messages[i].depositor == depositor && l->messages[i].tag != 0)
            return true;
    return false;
}

bool ledger_is_stuck(const struct ledger *l, uint32_t depositor)
{
    uint64_t now = ledger_now();

    if (!broker_can_publish(l->publisher, 0))
        return false;
    for (unsigned i = 0; i < l->message_count; i++)
        if (l->messages[i].depositor == depositor && l->messages[i].tag != 0 && now - l->messages[i].send_at > LEDGER_STUCK_MS)
            return true;
    return false;
}

/* Does the queue still answer of whom nothing is confirmed? RabbitMQ may be slow. */
static void doubt_unconfirmed(struct ledger *l)
{
    uint64_t now = ledger_now();

    for (unsigned i = 0; i < l->message_count; i++) {
        struct ledger_message *m = &l->messages[i];

        if (m->depositor == LEDGER_PARKED || m->tag == 0 || now - m->send_at < LEDGER_UNCONFIRMED_MS || now - m->asked_at < LEDGER_UNCONFIRMED_MS)
            continue;
        m->asked_at = now;
        ledger_roster_again(l, m->depositor);
    }
}

bool ledger_publish(struct ledger *l, struct err *e)
{
    if (!publish_due(l, e) || !ledger_reply_publish(l, e) || !take_events(l, e))
        return false;
    doubt_unconfirmed(l);
    return acknowledge(l, e);
}

const struct ledger_message *ledger_unconfirmed(const struct ledger *l)
{
    const struct ledger_message *oldest = NULL;
    uint64_t now = ledger_now();

    for (unsigned i = 0; i < l->message_count; i++) {
        const struct ledger_message *m = &l->messages[i];

        if ((m->tag != 0 || m->batch == NULL) && now - (m->tag != 0 ? m->send_at : m->since) > LEDGER_UNCONFIRMED_MS && (oldest == NULL || m->since < oldest->since))
            oldest = m;
    }
    return oldest;
}

void ledger_messages_drop(struct ledger *l)
{
    for (unsigned i = 0; i < l->message_count; i++)
        buf_free(&l->messages[i].body);
    free(l->messages);
    l->messages = NULL;
    l->message_count = l->message_capacity = l->aside_count = 0;
    l->aside_bytes = 0;
}
