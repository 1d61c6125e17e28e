/*
 * Depositors whose queue does not answer, because RabbitMQ has no leader for it. Nothing is sent there: it would hold up the whole channel, and everybody's
 * answers with it. Their deposits are numbered and stored, and their packs done with; what they are told is kept here, as far as there is room, until the queue
 * answers, which it is asked again and again. A sensor that has no answer sends again, and is answered again: what finds no room, or is here when the session
 * ends, is given up.
 */
#include "ingest/ledger/ledger_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/values/log.h"

enum { ASIDE_MAX = 1000, ASIDE_BYTES_MAX = 16 << 20, AGAIN_MIN_MS = 5000, AGAIN_MAX_MS = 30000 };

static struct ledger_silence *silence_of(const struct ledger *l, uint32_t depositor)
{
    for (unsigned i = 0; i < l->silence_count; i++)
        if (l->silences[i].depositor == depositor)
            return &l->silences[i];
    return NULL;
}

bool ledger_silence_holds(const struct ledger *l, uint32_t depositor)
{
    return silence_of(l, depositor) != NULL;
}

static void give_up(struct ledger *l, struct ledger_silence *s, unsigned index)
{
    if (s->dropped++ == 0)
        log_error("answers-dropped", "depositor %" PRIu32 ": more answers wait for its queue than are kept; its sensors are answered when they send again", s->depositor);
    ledger_message_done(l, index);
}

static void set_aside(struct ledger *l, struct ledger_silence *s, unsigned index)
{
    struct ledger_message *m = &l->messages[index];

    if (m->batch == NULL || m->tag != 0)
        return;
    if (l->aside_count >= ASIDE_MAX || l->aside_bytes + m->body.len > ASIDE_BYTES_MAX) {
        give_up(l, s, index);
        return;
    }
    m->batch->outgoing--;
    m->batch = NULL;
    l->aside_count++;
    l->aside_bytes += m->body.len;
}

void ledger_silence_heed(struct ledger *l, unsigned index)
{
    struct ledger_silence *s = silence_of(l, l->messages[index].depositor);

    if (s != NULL)
        set_aside(l, s, index);
}

void ledger_silence_begin(struct ledger *l, uint32_t depositor)
{
    if (silence_of(l, depositor) != NULL)
        return;
    l->silences = mem_realloc(l->silences, (l->silence_count + 1) * sizeof *l->silences);
    l->silences[l->silence_count++] = (struct ledger_silence){.depositor = depositor, .again_at = ledger_has_sent(l, depositor) ? 0 : ledger_now()};
    for (unsigned i = l->message_count; i-- > 0;)
        if (l->messages[i].depositor == depositor)
            ledger_silence_heed(l, i);
}

bool ledger_silence_is_news(struct ledger *l, uint32_t depositor)
{
    struct ledger_silence *s = silence_of(l, depositor);
    bool news = s == NULL || !s->told;

    if (s != NULL)
        s->told = true;
    return news;
}

uint32_t ledger_silence_due(const struct ledger *l)
{
    const struct ledger_silence *first = NULL;

    for (unsigned i = 0; i < l->silence_count; i++)
        if (first == NULL || l->silences[i].again_at < first->again_at)
            first = &l->silences[i];
    return first != NULL && ledger_now() >= first->again_at ? first->depositor : 0;
}

void ledger_silence_asked(struct ledger *l, uint32_t depositor)
{
    struct ledger_silence *s = silence_of(l, depositor);

    if (s == NULL)
        return;
    s->again_ms = s->again_ms == 0 ? AGAIN_MIN_MS : s->again_ms * 2 > AGAIN_MAX_MS ? AGAIN_MAX_MS : s->again_ms * 2;
    s->again_at = ledger_now() + s->again_ms;
}

void ledger_silence_end(struct ledger *l, uint32_t depositor)
{
    struct ledger_silence *s = silence_of(l, depositor);
    char queue[sizeof l->silent_queue];

    if (s == NULL)
        return;
    if (s->told)
        log_info("queue-answers", "the queue of depositor %" PRIu32 " answers again; %" PRIu64 " messages with answers were given up", depositor, s->dropped);
    snprintf(queue, sizeof queue, "%s.%" PRIu32, l->exchange_out, depositor);
    if (strcmp(queue, l->silent_queue) == 0)
        l->silent_queue[0] = '\0';
    *s = l->silences[--l->silence_count];
}

void ledger_silences_drop(struct ledger *l)
{
    if (l->aside_count != 0)
        log_warning("answers-dropped", "%u messages with answers to depositors whose queues do not answer are given up; their sensors are answered when they send again",
                    l->aside_count);
    free(l->silences);
    l->silences = NULL;
    l->silence_count = 0;
}
