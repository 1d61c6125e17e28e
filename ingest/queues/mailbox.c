/* A depositor's queue as its subscribers see it: see mailbox.h. */
#include "ingest/queues/mailbox.h"

#include <stdlib.h>

static void free_message(struct mailbox_message *message)
{
    if (message == NULL)
        return;
    buf_free(&message->plain);
    free(message->entries);
    free(message);
}

void mailbox_forget(struct mailbox *m)
{
    while (m->first != NULL) {
        struct mailbox_message *next = m->first->next;

        free_message(m->first);
        m->first = next;
    }
    m->last = NULL;
    m->held = 0;
}

void mailbox_free(struct mailbox *m)
{
    mailbox_forget(m);
}

static uint8_t saturate(uint64_t redeliveries)
{
    return redeliveries > UINT8_MAX ? UINT8_MAX : (uint8_t)redeliveries;
}

static void append(struct mailbox *m, struct mailbox_message *message)
{
    if (m->last == NULL)
        m->first = message;
    else
        m->last->next = message;
    m->last = message;
    m->held += message->plain.len;
}

static unsigned count_records(struct slice records)
{
    struct wire_reader r = wire_read(records);
    struct slice record;
    unsigned n = 0;

    while (pack_next(&r, &record) && n <= MAILBOX_ENTRIES_MAX)
        n++;
    return wire_end(&r, "records", NULL) ? n : 0;
}

bool mailbox_add(struct mailbox *m, uint64_t tag, uint64_t ordinal, struct buf *plain, uint32_t deliveries, struct err *e)
{
    unsigned count = count_records(buf_slice(plain));
    struct mailbox_message *message;
    struct wire_reader r;

    if (count == 0 || count > MAILBOX_ENTRIES_MAX)
        return err_set(e, ERR_INPUT, "answers: malformed records");
    message = mem_zalloc(1, sizeof *message);
    message->tag = tag;
    message->ordinal = ordinal;
    message->plain = *plain;
    *plain = (struct buf){.max = plain->max, .wipe = plain->wipe};
    message->entries = mem_zalloc(count, sizeof *message->entries);
    r = wire_read(buf_slice(&message->plain));
    for (struct slice record; pack_next(&r, &record); message->count++) {
        struct mailbox_entry *entry = &message->entries[message->count];
        struct pack_answer answer;

        if (!pack_get_answer(record, &answer, e)) {
            free_message(message);
            return false;
        }
        entry->record = record;
        entry->redeliveries = saturate((uint64_t)answer.redeliveries + deliveries);
    }
    append(m, message);
    return true;
}

bool mailbox_add_single(struct mailbox *m, uint64_t tag, uint64_t ordinal, struct slice body, uint32_t deliveries,
                        struct err *e)
{
    struct mailbox_message *message = mem_zalloc(1, sizeof *message);

    message->tag = tag;
    message->ordinal = ordinal;
    message->count = 1;
    message->entries = mem_zalloc(1, sizeof *message->entries);
    buf_init(&message->plain, body.len);
    if (!buf_add_slice(&message->plain, body, e)) {
        free_message(message);
        return false;
    }
    message->entries[0] = (struct mailbox_entry){.redeliveries = saturate(deliveries), .record = buf_slice(&message->plain)};
    append(m, message);
    return true;
}

/* ---- subscriptions ----------------------------------------------------------------------- */

enum { SLOTS = MAILBOX_SUBSCRIPTIONS_MAX };

static struct mailbox_subscription *find(struct mailbox *m, uint32_t front, uint64_t generation, uint64_t id)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        struct mailbox_subscription *s = &m->subscriptions[i];

        if (s->used && s->front == front && s->generation == generation && s->id == id)
            return s;
    }
    return NULL;
}

bool mailbox_is_full(const struct mailbox *m)
{
    return m->subscription_count == SLOTS;
}

bool mailbox_subscribe(struct mailbox *m, uint32_t front, uint64_t generation, uint64_t id, uint32_t credit)
{
    if (find(m, front, generation, id) != NULL)
        return false;
    for (unsigned i = 0; i < SLOTS; i++) {
        if (m->subscriptions[i].used)
            continue;
        m->subscriptions[i] = (struct mailbox_subscription){true, front, generation, id, credit, credit};
        m->subscription_count++;
        return true;
    }
    return false;
}

static void come_back(struct mailbox_message *message, unsigned i)
{
    struct mailbox_entry *entry = &message->entries[i];

    entry->state = MAILBOX_WAITING;
    entry->redeliveries = saturate((uint64_t)entry->redeliveries + 1);
    if (i < message->cursor)
        message->cursor = i;
}

static void end_subscription(struct mailbox *m, struct mailbox_subscription *s)
{
    uint32_t index = (uint32_t)(s - m->subscriptions);

    for (struct mailbox_message *message = m->first; message != NULL; message = message->next)
        for (unsigned i = 0; i < message->count; i++)
            if (message->entries[i].state == MAILBOX_OUT && message->entries[i].subscription == index)
                come_back(message, i);
    s->used = false;
    m->subscription_count--;
}

bool mailbox_unsubscribe(struct mailbox *m, uint32_t front, uint64_t generation, uint64_t id)
{
    struct mailbox_subscription *s = find(m, front, generation, id);

    if (s == NULL)
        return false;
    end_subscription(m, s);
    return true;
}

void mailbox_unsubscribe_front(struct mailbox *m, uint32_t front, uint64_t generation)
{
    for (unsigned i = 0; i < SLOTS; i++)
        if (m->subscriptions[i].used && m->subscriptions[i].front == front && m->subscriptions[i].generation == generation)
            end_subscription(m, &m->subscriptions[i]);
}

/* The next subscription with credit, in turn; NULL: none. */
static struct mailbox_subscription *next_taker(struct mailbox *m)
{
    for (unsigned n = 0; n < SLOTS; n++) {
        struct mailbox_subscription *s = &m->subscriptions[m->turn];

        m->turn = (m->turn + 1) % SLOTS;
        if (s->used && s->credit > 0)
            return s;
    }
    return NULL;
}

/* ---- deliveries -------------------------------------------------------------------------- */

bool mailbox_pump(struct mailbox *m, mailbox_send_fn *send, void *ctx)
{
    struct mailbox_subscription *taker = NULL;

    for (struct mailbox_message *message = m->first; message != NULL; message = message->next)
        for (; message->cursor < message->count; message->cursor++) {
            struct mailbox_entry *entry = &message->entries[message->cursor];

            if (entry->state != MAILBOX_WAITING)
                continue;
            taker = next_taker(m);
            if (taker == NULL ||
                !send(ctx, taker, message->ordinal * MAILBOX_ENTRIES_MAX + message->cursor, entry))
                return false;
            taker->credit--;
            entry->state = MAILBOX_OUT;
            entry->subscription = (uint32_t)(taker - m->subscriptions);
        }
    for (unsigned i = 0; i < SLOTS; i++)
        if (m->subscriptions[i].used && m->subscriptions[i].credit > 0)
            return true;
    return false;
}

struct mailbox_message *mailbox_settle(struct mailbox *m, uint32_t front, uint64_t generation, uint64_t id,
                                       uint64_t delivery, bool accepted)
{
    struct mailbox_subscription *s = find(m, front, generation, id);
    struct mailbox_message *message = m->first;
    unsigned i = (unsigned)(delivery % MAILBOX_ENTRIES_MAX);

    if (s == NULL)
        return NULL;
    if (s->credit < s->credit_max)
        s->credit++;
    while (message != NULL && message->ordinal != delivery / MAILBOX_ENTRIES_MAX)
        message = message->next;
    if (message == NULL || i >= message->count || message->entries[i].state != MAILBOX_OUT ||
        message->entries[i].subscription != (uint32_t)(s - m->subscriptions))
        return NULL;
    if (!accepted) {
        come_back(message, i);
        return NULL;
    }
    message->entries[i].state = MAILBOX_DONE;
    message->done++;
    return message->done == message->count ? message : NULL;
}

void mailbox_remove(struct mailbox *m, struct mailbox_message *message)
{
    struct mailbox_message **at = &m->first, *before = NULL;

    while (*at != NULL && *at != message) {
        before = *at;
        at = &(*at)->next;
    }
    if (*at == NULL)
        return;
    *at = message->next;
    if (m->last == message)
        m->last = before;
    m->held -= message->plain.len;
    free_message(message);
}

void mailbox_remainder(const struct mailbox_message *message, struct wire_writer *w)
{
    for (unsigned i = 0; i < message->count; i++) {
        const struct mailbox_entry *entry = &message->entries[i];
        struct pack_answer answer;

        if (entry->state == MAILBOX_DONE || !pack_get_answer(entry->record, &answer, NULL))
            continue;
        answer.redeliveries = entry->redeliveries;
        pack_put_answer(w, &answer);
    }
}
