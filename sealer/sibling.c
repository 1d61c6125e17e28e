/* A question, an answer, a deadline: see sibling.h. */
#include "sealer/sibling.h"

#include <time.h>
#include <unistd.h>

#include "common/values/log.h"
#include "common/values/wire.h"
#include "sealer/messages.h"

enum { SLICE_MS = 50, IDLE_MS = 500, SILENCE_MS = 10000 /* beyond the deadline */ };

static int64_t monotonic_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void sibling_link(struct sibling *s, struct channel *c)
{
    channel_free(s->channel);
    s->channel = c;
    s->generation++;
    s->heard_ms = c == NULL ? 0 : monotonic_ms();
    s->health = (struct health){0};
}

void sibling_close(struct sibling *s)
{
    channel_free(s->channel);
    s->channel = NULL;
}

/* False: no HEALTH that makes sense; what was said before stays and grows old. */
static bool take_health(struct sibling *s, const struct channel_message *m)
{
    struct health fresh;

    if (m->type != MESSAGE_HEALTH || !health_read(m->body, &fresh, NULL))
        return false;
    s->health = fresh;
    s->heard_ms = monotonic_ms();
    return true;
}

void sibling_listen(struct sibling *s)
{
    struct channel_message m;
    enum channel_result got = CHANNEL_EMPTY;

    while (s->channel != NULL && (got = channel_receive(s->channel, &m, NULL)) == CHANNEL_MESSAGE) {
        if (m.fd >= 0)
            close(m.fd);
        /* Anything else is the answer to a question given up before. */
        if (!take_health(s, &m))
            log_debug("answer-late", "%s: message %u came after its time", s->kind, m.type);
    }
    if (got == CHANNEL_CLOSED)
        sibling_close(s);
}

int64_t sibling_silence(const struct sibling *s)
{
    return s->channel == NULL ? 0 : monotonic_ms() - s->heard_ms;
}

void sibling_watch(struct role *self, struct sibling *s, uint64_t deadline_ms)
{
    if (sibling_silence(s) <= (int64_t)(deadline_ms + SILENCE_MS))
        return;
    log_error("deadline", "%s has said nothing for %lld ms: it is killed and started again", s->kind, (long long)sibling_silence(s));
    role_kill_sibling(self, s->kind, 0);
    sibling_close(s);
}

/* Every answer begins with the lot it is about. */
static uint64_t about_lot(struct slice body)
{
    struct wire_reader r = wire_read(body);

    return wire_get_u64(&r);
}

enum outcome { GOT_ANSWER, GOT_NOTHING, GOT_REFUSAL };

static enum outcome judge(struct sibling *s, const struct sibling_question *q, const struct channel_message *m,
                          struct slice *answer, struct err *e)
{
    uint64_t lot;

    if (m->fd >= 0)
        close(m->fd);
    if (take_health(s, m))
        return GOT_NOTHING;
    if (m->type == q->answer_type) {
        if (about_lot(m->body) != q->lot)
            return GOT_NOTHING;
        *answer = m->body;
        return GOT_ANSWER;
    }
    if (m->type != MESSAGE_REFUSED) {
        err_set(e, ERR_RETRY, "%s: message %u makes no sense", s->kind, m->type);
        return GOT_REFUSAL;
    }
    if (about_lot(m->body) != q->lot && about_lot(m->body) != 0)
        return GOT_NOTHING;
    if (message_get_refused(m->body, &lot, e, e))
        err_prefix(e, "%s", s->kind);
    return GOT_REFUSAL;
}

static bool overdue(struct role *self, struct sibling *s, const struct sibling_question *q, struct err *e)
{
    log_error("deadline", "%s did not answer for lot %llu in %llu ms: it is killed and started again", s->kind,
              (unsigned long long)q->lot, (unsigned long long)q->deadline_ms);
    role_kill_sibling(self, s->kind, 0);
    sibling_close(s);
    return err_set(e, ERR_RETRY, "%s did not answer in %llu ms", s->kind, (unsigned long long)q->deadline_ms);
}

static bool lost(struct sibling *s, struct err *e)
{
    return err_set(e, ERR_RETRY, "%s ended before it answered", s->kind);
}

bool sibling_ask(struct role *self, struct sibling *s, const struct sibling_question *q, struct slice *answer, struct err *e)
{
    int64_t start = monotonic_ms(), next_idle = start + IDLE_MS;
    unsigned generation = s->generation;

    if (s->channel == NULL)
        return err_set(e, ERR_RETRY, "%s is not running", s->kind);
    if (!channel_send(s->channel, q->type, q->body, e))
        return err_prefix(e, "%s", s->kind);
    for (;;) {
        struct channel_message m;
        struct err why = {0};
        enum channel_result got = channel_wait(s->channel, &m, SLICE_MS, &why);
        int64_t now = monotonic_ms();

        if (got == CHANNEL_CLOSED) {
            sibling_close(s);
            return lost(s, e);
        }
        if (got == CHANNEL_MESSAGE) {
            enum outcome o = judge(s, q, &m, answer, e);

            if (o != GOT_NOTHING)
                return o == GOT_ANSWER;
        }
        if (now - start >= (int64_t)q->deadline_ms)
            return overdue(self, s, q, e);
        if (!role_poll(self, 0))
            return err_set(e, ERR_FATAL, "the parent is gone");
        if (s->generation != generation)
            return lost(s, e);
        if (now >= next_idle) {
            next_idle = now + IDLE_MS;
            if (!q->idle(q->ctx))
                return err_set(e, ERR_FENCED, "the store is lost while waiting for %s", s->kind);
        }
    }
}
