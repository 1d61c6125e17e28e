/* A depositor's queue as its subscribers see it: see mailbox.h. */
#include "ingest/queues/mailbox.h"

#include <stdlib.h>
#include <string.h>

static struct slice record_of(const struct mailbox_message *message, unsigned i)
{
    const uint8_t *records = (const uint8_t *)&message->entries[message->count];

    return slice_of(records + message->entries[i].at, message->entries[i].len);
}

static uint8_t saturate(uint64_t redeliveries)
{
    return redeliveries > UINT8_MAX ? UINT8_MAX : (uint8_t)redeliveries;
}

/* ---- messages ---------------------------------------------------------------------------- */

static struct mailbox_message *new_message(uint64_t ordinal, uint32_t count, struct slice records)
{
    size_t head = sizeof(struct mailbox_message) + count * sizeof(struct mailbox_entry);
    struct mailbox_message *message = mem_alloc(head + records.len);

    memset(message, 0, head);
    if (records.len != 0)
        memcpy((uint8_t *)message + head, records.at, records.len);
    message->ordinal = ordinal;
    message->count = count;
    message->size = head + records.len;
    return message;
}

static void free_message(struct mailbox_message *message)
{
    explicit_bzero(message, message->size);
    free(message);
}

static void append(struct mailbox *m, struct mailbox_message *message)
{
    message->previous = m->last;
    if (m->last == NULL)
        m->first = message;
    else
        m->last->next = message;
    m->last = message;
    if (m->cursor == NULL)
        m->cursor = message;
    (void)map_put(&m->by_ordinal, message->ordinal, message);
    m->held += message->size;
    m->count++;
}

void mailbox_remove(struct mailbox *m, struct mailbox_message *message)
{
    if (m->cursor == message)
        m->cursor = message->next;
    if (message->previous == NULL)
        m->first = message->next;
    else
        message->previous->next = message->next;
    if (message->next == NULL)
        m->last = message->previous;
    else
        message->next->previous = message->previous;
    (void)map_take(&m->by_ordinal, message->ordinal);
    m->held -= message->size;
    m->count--;
    free_message(message);
}

void mailbox_forget(struct mailbox *m)
{
    while (m->first != NULL) {
        struct mailbox_message *next = m->first->next;

        free_message(m->first);
        m->first = next;
    }
    m->last = m->cursor = NULL;
    m->held = m->count = 0;
    map_free(&m->by_ordinal);
    for (unsigned i = 0; i < m->subscription_top; i++)
        m->subscriptions[i].out = 0;
}

void mailbox_free(struct mailbox *m)
{
    mailbox_forget(m);
}

/* How many records these bytes are; 0: malformed, none or too many. */
static uint32_t count_records(struct slice records)
{
    struct wire_reader r = wire_read(records);
    struct slice record;
    uint32_t n = 0;

    while (pack_next(&r, &record) && n <= MAILBOX_ENTRIES_MAX)
        n++;
    return wire_end(&r, "records", NULL) && n <= MAILBOX_ENTRIES_MAX && records.len <= UINT32_MAX ? n : 0;
}

struct mailbox_message *mailbox_add(struct mailbox *m, uint64_t ordinal, struct slice records, uint32_t redeliveries, struct err *e)
{
    uint32_t count = count_records(records);
    struct mailbox_message *message;
    struct wire_reader r = wire_read(records);
    struct slice record;

    if (count == 0) {
        err_set(e, ERR_INPUT, "answers: malformed records");
        return NULL;
    }
    message = new_message(ordinal, count, records);
    for (uint32_t i = 0; pack_next(&r, &record); i++) {
        struct pack_answer answer;

        if (!pack_get_answer(record, &answer, e)) {
            free_message(message);
            return NULL;
        }
        message->entries[i] = (struct mailbox_entry){.at = (uint32_t)(record.at - records.at), .len = (uint32_t)record.len,
                                                     .redeliveries = saturate((uint64_t)answer.redeliveries + redeliveries)};
    }
    append(m, message);
    return message;
}

struct mailbox_message *mailbox_add_single(struct mailbox *m, uint64_t ordinal, struct slice body, uint32_t redeliveries)
{
    struct mailbox_message *message = new_message(ordinal, 1, body);

    message->entries[0] = (struct mailbox_entry){.len = (uint32_t)body.len, .redeliveries = saturate(redeliveries)};
    append(m, message);
    return message;
}

/* ---- subscriptions ----------------------------------------------------------------------- */

enum { SLOTS = MAILBOX_SUBSCRIPTIONS_MAX };

static uint32_t bounded(int64_t credit)
{
    return credit < 0 ? 0 : credit > MAILBOX_CREDIT_MAX ? MAILBOX_CREDIT_MAX : (uint32_t)credit;
}

int mailbox_subscribe(struct mailbox *m, uint32_t front, uint64_t generation, uint64_t id, uint32_t credit)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        if (m->subscriptions[i].used)
            continue;
        m->subscriptions[i] = (struct mailbox_subscription){
            .used = true, .front = front, .generation = generation, .id = id, .credit = bounded(credit)};
        m->subscription_count++;
        if (i >= m->subscription_top)
            m->subscription_top = i + 1;
        return (int)i;
    }
    return -1;
}

void mailbox_credit(struct mailbox *m, unsigned subscription, int32_t change)
{
    struct mailbox_subscription *s = &m->subscriptions[subscription];

    s->credit = bounded((int64_t)s->credit + change);
}

/* An entry that is out waits again, one place further in its count or not. */
static void come_back(struct mailbox *m, struct mailbox_message *message, unsigned i, unsigned raise)
{
    struct mailbox_entry *entry = &message->entries[i];

    m->subscriptions[entry->subscription].out--;
    entry->state = MAILBOX_WAITING;
    entry->redeliveries = saturate((uint64_t)entry->redeliveries + raise);
    entry->raised = saturate((uint64_t)entry->raised + raise);
    if (i < message->cursor)
        message->cursor = i;
    if (m->cursor == NULL || message->ordinal < m->cursor->ordinal)
        m->cursor = message;
}

/* In one pass over what is held, and no further than there is something to be found. */
static void end_subscriptions(struct mailbox *m, const bool ended[SLOTS])
{
    uint64_t out = 0;

    for (unsigned i = 0; i < m->subscription_top; i++)
        if (ended[i])
            out += m->subscriptions[i].out;
    for (struct mailbox_message *message = m->first; message != NULL && out != 0; message = message->next)
        for (unsigned i = 0; i < message->count && out != 0; i++)
            if (message->entries[i].state == MAILBOX_OUT && ended[message->entries[i].subscription]) {
                come_back(m, message, i, 1);
                out--;
            }
    for (unsigned i = 0; i < m->subscription_top; i++)
        if (ended[i]) {
            m->subscriptions[i].used = false;
            m->subscription_count--;
        }
    while (m->subscription_top != 0 && !m->subscriptions[m->subscription_top - 1].used)
        m->subscription_top--;
}

void mailbox_unsubscribe(struct mailbox *m, unsigned subscription)
{
    bool ended[SLOTS] = {false};

    ended[subscription] = true;
    end_subscriptions(m, ended);
}

void mailbox_unsubscribe_front(struct mailbox *m, uint32_t front, uint64_t generation)
{
    bool ended[SLOTS] = {false};

    for (unsigned i = 0; i < m->subscription_top; i++) {
        const struct mailbox_subscription *s = &m->subscriptions[i];

        ended[i] = s->used && s->front == front && s->generation == generation;
    }
    end_subscriptions(m, ended);
}

/* The next subscription with credit, in turn; NULL: none. */
static struct mailbox_subscription *next_taker(struct mailbox *m)
{
    if (m->turn >= m->subscription_top)
        m->turn = 0;
    for (unsigned n = 0; n < m->subscription_top; n++) {
        struct mailbox_subscription *s = &m->subscriptions[m->turn];

        m->turn = m->turn + 1 < m->subscription_top ? m->turn + 1 : 0;
        if (s->used && s->credit > 0)
            return s;
    }
    return NULL;
}

/* ---- deliveries -------------------------------------------------------------------------- */

/* False: nobody takes it now. */
static bool hand_out(struct mailbox *m, struct mailbox_message *message, unsigned i, mailbox_send_fn *send, void *ctx)
{
    struct mailbox_entry *entry = &message->entries[i];
    struct mailbox_subscription *taker = next_taker(m);
    const struct mailbox_delivery delivery = {message->ordinal * MAILBOX_ENTRIES_MAX + i, record_of(message, i), entry->redeliveries};

    if (taker == NULL || !send(ctx, taker, &delivery))
        return false;
    taker->credit--;
    taker->out++;
    entry->state = MAILBOX_OUT;
    entry->subscription = (uint16_t)(taker - m->subscriptions);
    return true;
}

bool mailbox_pump(struct mailbox *m, mailbox_send_fn *send, void *ctx)
{
    for (struct mailbox_message *message = m->cursor; message != NULL; message = m->cursor = message->next)
        for (; message->cursor < message->count; message->cursor++)
            if (message->entries[message->cursor].state == MAILBOX_WAITING &&
                !hand_out(m, message, message->cursor, send, ctx))
                return false;
    for (unsigned i = 0; i < m->subscription_top; i++)
        if (m->subscriptions[i].used && m->subscriptions[i].credit > 0)
            return true;
    return false;
}

struct mailbox_message *mailbox_settle(struct mailbox *m, unsigned subscription, uint64_t delivery, enum deliver_outcome outcome,
                                       bool credit)
{
    struct mailbox_message *message = map_get(&m->by_ordinal, delivery / MAILBOX_ENTRIES_MAX);
    uint64_t i = delivery % MAILBOX_ENTRIES_MAX;
    struct mailbox_entry *entry = message != NULL && i < message->count ? &message->entries[i] : NULL;

    if (credit)
        mailbox_credit(m, subscription, 1);
    if (entry == NULL || entry->state != MAILBOX_OUT || entry->subscription != subscription)
        return NULL;
    if (outcome != DELIVER_DONE) {
        come_back(m, message, (unsigned)i, outcome == DELIVER_REJECTED);
        return NULL;
    }
    m->subscriptions[subscription].out--;
    entry->state = MAILBOX_DONE;
    message->done++;
    return message->done == message->count ? message : NULL;
}

/* ---- what nobody reads any more ---------------------------------------------------------- */

enum mailbox_fate mailbox_fate(const struct mailbox_message *message)
{
    if (message->done != 0)
        return MAILBOX_REMAINDER;
    for (unsigned i = 0; i < message->count; i++)
        if (message->entries[i].raised != message->entries[0].raised)
            return MAILBOX_REMAINDER;
    switch (message->entries[0].raised) {
    case 0:
        return MAILBOX_UNTOUCHED;
    case 1:
        return MAILBOX_RAISED;
    default:
        return MAILBOX_REMAINDER;
    }
}

void mailbox_remainder(const struct mailbox_message *message, struct wire_writer *w)
{
    for (unsigned i = 0; i < message->count; i++) {
        const struct mailbox_entry *entry = &message->entries[i];
        struct pack_answer answer;

        if (entry->state == MAILBOX_DONE || !pack_get_answer(record_of(message, i), &answer, NULL))
            continue;
        answer.redeliveries = entry->redeliveries;
        pack_put_answer(w, &answer);
    }
}
