/* The life of a session, whatever its protocol: beginning, settled deposits, deliveries, time, end. See session.h. */
#include "ingest/session/session_internal.h"

#include <stdio.h>
#include <stdlib.h>

void session_rules_vault(struct session_rules *rules, uint64_t vault)
{
    snprintf(rules->queue_in, sizeof rules->queue_in, "Event.%llu.In", (unsigned long long)vault);
    snprintf(rules->queue_out, sizeof rules->queue_out, "Event.%llu.Out", (unsigned long long)vault);
    snprintf(rules->queue_archive, sizeof rules->queue_archive, "Archive.%llu.Out", (unsigned long long)vault);
}

/* ---- beginning and end ------------------------------------------------------------------- */

struct session *session_new(const struct session_protocol *protocol, const struct session_rules *rules, const struct session_ops *ops,
                            void *ctx, struct buf *out, uint32_t depositor, const struct session_refusal *refusal, const char *name,
                            struct session_time t)
{
    struct session *s = mem_zalloc(1, protocol->size);

    s->protocol = protocol;
    s->rules = rules;
    s->ops = ops;
    s->ctx = ctx;
    s->out = out;
    s->depositor = depositor;
    if (refusal != NULL && refusal->end != SESSION_OPEN) {
        s->refusal = refusal->end;
        s->refusal_text = mem_strdup(refusal->text);
    }
    s->name = mem_strdup(name);
    s->began = s->heard = s->sent = t.now;
    protocol->open(s);
    return s;
}

void session_free(struct session *s)
{
    if (s == NULL)
        return;
    session_free_subscriptions(s);
    session_free_deposits(s);
    s->protocol->close(s);
    free(s->refusal_text);
    free(s->name);
    free(s->end_reason);
    free(s);
}

void session_end_with(struct session *s, enum session_end end, const char *reason)
{
    if (s->end != SESSION_OPEN)
        return;
    s->end = end;
    s->end_reason = mem_strdup(reason);
    session_free_subscriptions(s);
}

void session_fail(struct session *s, enum session_end why, const char *text)
{
    if (s->end != SESSION_OPEN)
        return;
    s->protocol->fail(s, why, text);
    session_end_with(s, why, text);
}

bool session_fail_with(struct session *s, enum session_end end, const char *fmt, ...)
{
    char text[ERR_TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    session_fail(s, end, text);
    return false;
}

void session_finish_if_done(struct session *s)
{
    if (s->end != SESSION_OPEN || s->pending.count != 0)
        return;
    if (s->leaving) {
        if (s->protocol->farewell != NULL)
            s->protocol->farewell(s);
        session_end_with(s, SESSION_DISCONNECT, "the peer said goodbye");
    } else if (s->drained) {
        session_end_with(s, SESSION_SHUTDOWN, "the vault is shutting down");
    }
}

void session_drain(struct session *s)
{
    s->drained = true;
    session_finish_if_done(s);
}

void session_taken(struct session *s)
{
    session_fail(s, SESSION_TAKEN, "the same client has connected again under the same name");
}

/* ---- input and output -------------------------------------------------------------------- */

bool session_listens(const struct session *s)
{
    return s->end == SESSION_OPEN && !s->leaving && !s->drained;
}

size_t session_input(struct session *s, struct slice in, struct session_time t)
{
    size_t done;

    s->heard = t.now;
    s->blocked = false;
    done = session_listens(s) ? s->protocol->input(s, in, t) : 0;
    /* What follows a goodbye, a drain or an error is nobody's any more. */
    return session_listens(s) ? done : in.len;
}

void session_partial(struct session *s, size_t left, bool progress, struct session_time t)
{
    if (left == 0)
        s->partial_since = 0;
    else if (s->partial_since == 0 || progress)
        s->partial_since = t.now;
}

void session_heard(struct session *s, struct session_time t)
{
    s->heard = t.now;
    if (s->partial_since != 0)
        s->partial_since = t.now;
}

void session_written(struct session *s, uint64_t total, struct session_time t)
{
    if (total == s->written)
        return;
    s->written = total;
    s->sent = t.now;
    if (s->protocol->written != NULL)
        s->protocol->written(s);
    if (s->out->len <= SESSION_OUT_LOW)
        deliveries_replenish(s);
}

void session_stalled(struct session *s, const char *reason)
{
    if (s->end == SESSION_OPEN && s->blocked)
        s->protocol->stalled(s, reason);
}

/* ---- deliveries -------------------------------------------------------------------------- */

void session_answer(struct session *s, uint64_t subscription, uint64_t delivery, const struct pack_answer *a, struct session_time t)
{
    struct subscription *sub = session_find_subscription(s, subscription);

    if (sub != NULL && s->end == SESSION_OPEN)
        s->protocol->answer(s, sub, delivery, a, t);
}

void session_archive(struct session *s, uint64_t subscription, uint64_t delivery, unsigned redeliveries,
                     const struct pack_archive *a, struct session_time t)
{
    struct subscription *sub = session_find_subscription(s, subscription);

    if (sub != NULL && s->end == SESSION_OPEN)
        s->protocol->archive(s, sub, delivery, redeliveries, a, t);
}

void session_subscribed(struct session *s, uint64_t subscription)
{
    struct subscription *sub = session_find_subscription(s, subscription);

    if (sub != NULL && s->end == SESSION_OPEN && s->protocol->subscribed != NULL)
        s->protocol->subscribed(s, sub);
}

void session_not_subscribed(struct session *s, uint64_t subscription, const char *reason)
{
    struct subscription *sub = session_find_subscription(s, subscription);

    if (sub != NULL && s->end == SESSION_OPEN)
        s->protocol->not_subscribed(s, sub, reason);
}

/* ---- time -------------------------------------------------------------------------------- */

void session_tick(struct session *s, struct session_time t, uint64_t period)
{
    uint64_t frame_time = s->rules->frame_time, silence;

    if (s->end != SESSION_OPEN)
        return;
    silence = s->protocol->silence(s);
    if (!s->connected && !s->patient && t.now - s->began > frame_time)
        session_fail_with(s, SESSION_SLOW, "no connection opened within %llu ms", (unsigned long long)frame_time);
    else if (s->partial_since != 0 && t.now - s->partial_since > frame_time)
        session_fail_with(s, SESSION_SLOW, "a frame took more than %llu ms to arrive", (unsigned long long)frame_time);
    else if (silence != 0 && !s->leaving && t.now - s->heard > silence)
        session_fail_with(s, SESSION_SILENT, "nothing heard for %llu ms, one heart-beat every %llu agreed",
                          (unsigned long long)(t.now - s->heard), (unsigned long long)s->hears_every);
    else if (s->sends_every != 0 && s->out->len == 0 && t.now - s->sent + period >= s->sends_every)
        s->protocol->beat(s);
    if (s->end == SESSION_OPEN && s->protocol->tick != NULL)
        s->protocol->tick(s, t);
}

void session_trim(struct session *s)
{
    if (s->protocol->trim != NULL)
        s->protocol->trim(s);
    session_trim_deposits(s);
    session_trim_subscriptions(s);
}

/* ---- views ------------------------------------------------------------------------------- */

const char *session_end_text(enum session_end end)
{
    static const char *const words[SESSION_ENDS] = {
        [SESSION_OPEN] = "open", [SESSION_DISCONNECT] = "disconnect", [SESSION_PROTOCOL] = "protocol",
        [SESSION_LIMIT] = "limit", [SESSION_DENIED] = "denied", [SESSION_DESTINATION] = "destination",
        [SESSION_UNAVAILABLE] = "unavailable", [SESSION_REFUSED] = "refused", [SESSION_SILENT] = "silent",
        [SESSION_SLOW] = "slow", [SESSION_REVOKED] = "revoked", [SESSION_CERTIFICATE] = "certificate",
        [SESSION_UNVERIFIED] = "unverified", [SESSION_TAKEN] = "taken",
        [SESSION_SHUTDOWN] = "shutdown",
    };

    return end < SESSION_ENDS ? words[end] : "?";
}

enum session_end session_ended(const struct session *s)
{
    return s->end;
}

const char *session_end_reason(const struct session *s)
{
    return s->end_reason == NULL ? "" : s->end_reason;
}

const char *session_protocol_text(const struct session *s)
{
    return s->protocol->text(s);
}

bool session_connected(const struct session *s)
{
    return s->connected;
}

bool session_blocked(const struct session *s)
{
    return s->blocked;
}

size_t session_pending(const struct session *s)
{
    return s->pending.count;
}

const struct session_counts *session_counts(const struct session *s)
{
    return &s->counts;
}
