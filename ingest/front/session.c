/* The life of a STOMP session: CONNECT to its end, heart-beats, errors. See session.h. */
#include "ingest/front/session_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/version.h"

/* ---- labels ------------------------------------------------------------------------------ */

void label_set(struct label *l, struct slice text)
{
    l->len = text.len;
    if (text.len > RECEIPT_INLINE)
        l->at.far = mem_alloc(text.len);
    if (text.len != 0)
        memcpy(text.len > RECEIPT_INLINE ? l->at.far : l->at.near, text.at, text.len);
}

struct slice label_slice(const struct label *l)
{
    return slice_of(l->len > RECEIPT_INLINE ? l->at.far : l->at.near, l->len);
}

void label_free(struct label *l)
{
    if (l->len > RECEIPT_INLINE)
        free(l->at.far);
    l->len = 0;
}

/* ---- rules ------------------------------------------------------------------------------- */

void session_rules_vault(struct session_rules *rules, uint64_t vault)
{
    snprintf(rules->queue_in, sizeof rules->queue_in, "/queue/Event.%llu.In", (unsigned long long)vault);
    snprintf(rules->queue_out, sizeof rules->queue_out, "/queue/Event.%llu.Out", (unsigned long long)vault);
    snprintf(rules->queue_archive, sizeof rules->queue_archive, "/queue/Archive.%llu.Out", (unsigned long long)vault);
}

/* ---- beginning and end ------------------------------------------------------------------- */

struct session *session_new(const struct session_rules *rules, const struct session_ops *ops, void *ctx, struct buf *out,
                            uint32_t depositor, const char *denied, const char *name, struct session_time t)
{
    struct session *s = mem_zalloc(1, sizeof *s);

    s->rules = rules;
    s->ops = ops;
    s->ctx = ctx;
    s->out = out;
    s->depositor = depositor;
    s->denied = denied == NULL ? NULL : mem_strdup(denied);
    s->name = mem_strdup(name);
    s->began = s->heard = s->sent = t.now;
    stomp_parser_init(&s->parser, false, &rules->stomp);
    return s;
}

void session_free(struct session *s)
{
    if (s == NULL)
        return;
    session_free_subscriptions(s);
    session_free_deposits(s);
    stomp_parser_free(&s->parser);
    if (s->has_last_receipt)
        label_free(&s->last_receipt);
    free(s->denied);
    free(s->name);
    free(s->end_reason);
    free(s);
}

static const struct {
    const char *word;    /* for logs and metrics */
    const char *message; /* of the ERROR frame; NULL: none is sent */
} ends[SESSION_ENDS] = {
    [SESSION_OPEN] = {"open", NULL},
    [SESSION_DISCONNECT] = {"disconnect", NULL},
    [SESSION_PROTOCOL] = {"protocol", "malformed frame received"},
    [SESSION_LIMIT] = {"limit", "a limit of the vault is exceeded"},
    [SESSION_DENIED] = {"denied", "certificate not bound to a depositor"},
    [SESSION_DESTINATION] = {"destination", "unknown destination"},
    [SESSION_UNAVAILABLE] = {"unavailable", "queue unavailable, send again later"},
    [SESSION_REFUSED] = {"refused", "deposit refused by the queue, send again later"},
    [SESSION_SILENT] = {"silent", "no heart-beat received"},
    [SESSION_SLOW] = {"slow", "too slow"},
    [SESSION_REVOKED] = {"revoked", "certificate no longer bound to a depositor"},
    [SESSION_SHUTDOWN] = {"shutdown", NULL},
};

const char *session_end_text(enum session_end end)
{
    return end < SESSION_ENDS ? ends[end].word : "?";
}

static void end_with(struct session *s, enum session_end end, const char *reason)
{
    s->end = end;
    s->end_reason = mem_strdup(reason);
    session_free_subscriptions(s);
}

/* STOMP 1.2 "ERROR": message, receipt-id when the frame at fault asked for a receipt, then the connection must end. */
static void write_error(struct session *s, struct slice receipt, bool has_receipt, enum session_end end, const char *text)
{
    struct stomp_writer w;
    char body[ERR_TEXT_MAX + 16];
    int n = snprintf(body, sizeof body, "coffre: %s\n", text);

    stomp_open(&w, s->out, s->parser.version, STOMP_ERROR);
    if (s->parser.version == STOMP_OPENING)
        stomp_add(&w, STOMP_VERSION, SLICE_LITERAL("1.0,1.1,1.2"));
    stomp_add(&w, STOMP_MESSAGE_TEXT, slice_text(ends[end].message));
    if (has_receipt)
        stomp_add(&w, STOMP_RECEIPT_ID, receipt);
    stomp_add(&w, STOMP_CONTENT_TYPE, SLICE_LITERAL("text/plain"));
    /* No room means that the peer does not read: it will not miss this frame. */
    if (!stomp_close(&w, slice_of(body, n < (int)sizeof body ? (size_t)n : sizeof body - 1), NULL))
        return;
}

bool session_error(struct session *s, const struct stomp_frame *f, enum session_end end, const char *fmt, ...)
{
    char text[ERR_TEXT_MAX];
    va_list ap;
    bool asked = f != NULL && stomp_has(f, STOMP_RECEIPT_HEADER);

    if (s->end != SESSION_OPEN)
        return false;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (ends[end].message != NULL)
        write_error(s, asked ? stomp_get(f, STOMP_RECEIPT_HEADER) : slice_of(NULL, 0), asked, end, text);
    end_with(s, end, text);
    return false;
}

/* The oldest deposit that waits for its receipt is the one that failed, as far as the peer can tell. */
void session_fail(struct session *s, enum session_end why, const char *text)
{
    struct stomp_frame f = {.present = 0};

    for (size_t i = 0; i < s->pending.count && f.present == 0; i++) {
        const struct pending *p = &s->pending.at[(s->pending.first + i) & (s->pending.capacity - 1)];

        if (p->has_receipt && !p->done) {
            f.present = UINT64_C(1) << STOMP_RECEIPT_HEADER;
            f.headers[STOMP_RECEIPT_HEADER] = label_slice(&p->receipt);
        }
    }
    session_error(s, &f, why, "%s", text);
}

void session_finish_if_done(struct session *s)
{
    if (s->end != SESSION_OPEN || s->pending.count != 0)
        return;
    if (s->disconnecting) {
        if (s->has_last_receipt)
            session_receipt(s, label_slice(&s->last_receipt));
        end_with(s, SESSION_DISCONNECT, "the peer said DISCONNECT");
    } else if (s->drained) {
        end_with(s, SESSION_SHUTDOWN, "the vault is shutting down");
    }
}

void session_drain(struct session *s)
{
    s->drained = true;
    session_finish_if_done(s);
}

/* ---- receipts ---------------------------------------------------------------------------- */

void session_receipt(struct session *s, struct slice id)
{
    struct stomp_writer w;
    struct err e = {0};

    stomp_open(&w, s->out, s->parser.version, STOMP_RECEIPT);
    stomp_add(&w, STOMP_RECEIPT_ID, id);
    if (!stomp_close(&w, slice_of(NULL, 0), &e))
        session_error(s, NULL, SESSION_SLOW, "the peer does not read: %s", e.text);
    else
        s->counts.receipts++;
}

void session_receipt_for(struct session *s, const struct stomp_frame *f)
{
    if (stomp_has(f, STOMP_RECEIPT_HEADER))
        session_receipt(s, stomp_get(f, STOMP_RECEIPT_HEADER));
}

/* ---- CONNECT and DISCONNECT -------------------------------------------------------------- */

/* The highest version of a list such as "1.0,1.1,1.2" that is spoken here; STOMP_OPENING when there is none. */
static enum stomp_version choose_version(struct slice list)
{
    enum stomp_version best = STOMP_OPENING;

    while (list.len != 0) {
        const uint8_t *comma = memchr(list.at, ',', list.len);
        size_t len = comma == NULL ? list.len : (size_t)(comma - list.at), skip = 0;

        while (skip < len && list.at[skip] == ' ')
            skip++;
        if (len - skip >= 3 && memcmp(list.at + skip, "1.", 2) == 0 && (len - skip == 3 || list.at[skip + 3] == ' ')) {
            int v = list.at[skip + 2] - '0' + STOMP_1_0;

            if (v >= STOMP_1_0 && v <= STOMP_1_2 && v > (int)best)
                best = (enum stomp_version)v;
        }
        list = slice_of(list.at + len + (comma != NULL), list.len - len - (comma != NULL));
    }
    return best;
}

/*
 * STOMP 1.2 "Heart-beating": each direction takes the slower of what one side can and the other wants. We can and want
 * whatever the peer proposes, but not faster than the configured minimum.
 */
static bool agree_heart_beats(struct session *s, const struct stomp_frame *f)
{
    uint64_t sends = 0, wants = 0, least = s->rules->heartbeat_min;

    if (s->parser.version >= STOMP_1_1 && stomp_has(f, STOMP_HEART_BEAT) &&
        !stomp_heart_beat(stomp_get(f, STOMP_HEART_BEAT), &sends, &wants))
        return session_error(s, f, SESSION_PROTOCOL, "STOMP 1.2 \"Heart-beating\": the heart-beat header is not two numbers");
    s->sends_every = wants == 0 ? 0 : wants < least ? least : wants;
    s->hears_every = sends == 0 ? 0 : sends < least ? least : sends;
    return true;
}

static bool write_connected(struct session *s)
{
    struct stomp_writer w;
    char beats[48];
    int n = snprintf(beats, sizeof beats, "%llu,%llu", (unsigned long long)s->sends_every, (unsigned long long)s->hears_every);

    stomp_open(&w, s->out, s->parser.version, STOMP_CONNECTED);
    stomp_add(&w, STOMP_VERSION, slice_text(stomp_version_text(s->parser.version)));
    stomp_add(&w, STOMP_SESSION, slice_text(s->name));
    stomp_add(&w, STOMP_SERVER, SLICE_LITERAL("coffre/" COFFRE_VERSION));
    stomp_add(&w, STOMP_HEART_BEAT, slice_of(beats, (size_t)n));
    return stomp_close(&w, slice_of(NULL, 0), NULL);
}

static bool take_connect(struct session *s, const struct stomp_frame *f)
{
    enum stomp_version v = stomp_has(f, STOMP_ACCEPT_VERSION) ? choose_version(stomp_get(f, STOMP_ACCEPT_VERSION)) : STOMP_1_0;

    if (s->denied != NULL)
        return session_error(s, f, SESSION_DENIED, "%s", s->denied);
    if (v == STOMP_OPENING)
        return session_error(s, f, SESSION_PROTOCOL, "STOMP 1.2 \"Protocol Negotiation\": supported protocol versions are 1.0, 1.1 and 1.2");
    s->parser.version = v;
    s->connected = true;
    return agree_heart_beats(s, f) && write_connected(s);
}

static bool take_disconnect(struct session *s, const struct stomp_frame *f)
{
    s->disconnecting = true;
    s->has_last_receipt = stomp_has(f, STOMP_RECEIPT_HEADER);
    if (s->has_last_receipt)
        label_set(&s->last_receipt, stomp_get(f, STOMP_RECEIPT_HEADER));
    session_finish_if_done(s);
    return true;
}

/* ---- frames ------------------------------------------------------------------------------ */

/* Deposits wait while the owner has no room; other frames go on, so that acknowledgements and CONNECT do. */
static bool must_wait(const struct session *s, const struct stomp_frame *f)
{
    return ((f->command == STOMP_SEND && !stomp_has(f, STOMP_TRANSACTION)) || f->command == STOMP_COMMIT) && s->connected &&
           s->ops->full(s->ctx);
}

static bool take_frame(struct session *s, const struct stomp_frame *f, struct session_time t)
{
    bool opens = f->command == STOMP_CONNECT || f->command == STOMP_STOMP;

    if (opens != !s->connected)
        return session_error(s, f, SESSION_PROTOCOL, "STOMP 1.2 \"Connecting\": %s %s", stomp_command_text(f->command),
                             opens ? "on a session already connected" : "before CONNECT");
    switch (f->command) {
    case STOMP_CONNECT:
    case STOMP_STOMP:
        return take_connect(s, f);
    case STOMP_SEND:
        return session_take_send(s, f, t);
    case STOMP_BEGIN:
        return session_take_begin(s, f);
    case STOMP_COMMIT:
        return session_take_commit(s, f);
    case STOMP_ABORT:
        return session_take_abort(s, f);
    case STOMP_SUBSCRIBE:
        return session_take_subscribe(s, f);
    case STOMP_UNSUBSCRIBE:
        return session_take_unsubscribe(s, f);
    case STOMP_ACK:
        return session_take_ack(s, f, false);
    case STOMP_NACK:
        return session_take_ack(s, f, true);
    case STOMP_DISCONNECT:
        return take_disconnect(s, f);
    case STOMP_CONNECTED:
    case STOMP_MESSAGE:
    case STOMP_RECEIPT:
    case STOMP_ERROR:
    case STOMP_COMMANDS:
        break;
    }
    return session_error(s, f, SESSION_PROTOCOL, "a server's frame from a client");
}

size_t session_input(struct session *s, struct slice in, struct session_time t)
{
    size_t at = 0;

    s->heard = t.now;
    s->blocked = false;
    while (s->end == SESSION_OPEN && !s->disconnecting && !s->drained) {
        struct stomp_frame f;
        struct err e;
        size_t consumed;
        enum stomp_result r;

        e.code = ERR_NONE;
        r = stomp_parse(&s->parser, slice_of(in.at + at, in.len - at), &consumed, &f, &e);
        if (r == STOMP_FRAME && must_wait(s, &f)) {
            s->blocked = true;
            s->partial_since = 0;
            return at;
        }
        at += consumed;
        if (r == STOMP_MORE) {
            if (in.len == at)
                s->partial_since = 0;
            else if (s->partial_since == 0 || consumed != 0)
                s->partial_since = t.now;
            return at;
        }
        if (r == STOMP_BAD)
            session_error(s, NULL, s->parser.over_limit ? SESSION_LIMIT : SESSION_PROTOCOL, "%s", e.text);
        else if (!take_frame(s, &f, t))
            break;
        s->partial_since = 0;
    }
    /* What follows DISCONNECT, a drain or an error is nobody's any more. */
    return s->end != SESSION_OPEN || s->disconnecting || s->drained ? in.len : at;
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
    session_auto_acks(s);
}

/* ---- time -------------------------------------------------------------------------------- */

static void beat(struct session *s)
{
    struct err e = {0};

    if (s->out->len == 0 && !buf_add(s->out, "\n", 1, &e))
        session_error(s, NULL, SESSION_SLOW, "%s", e.text);
}

void session_tick(struct session *s, struct session_time t, uint64_t period)
{
    if (s->end != SESSION_OPEN)
        return;
    if (!s->connected && t.now - s->began > s->rules->frame_time)
        session_error(s, NULL, SESSION_SLOW, "no CONNECT within %llu ms", (unsigned long long)s->rules->frame_time);
    else if (s->partial_since != 0 && t.now - s->partial_since > s->rules->frame_time)
        session_error(s, NULL, SESSION_SLOW, "a frame took more than %llu ms to arrive", (unsigned long long)s->rules->frame_time);
    else if (s->hears_every != 0 && !s->disconnecting && t.now - s->heard > 2 * s->hears_every)
        session_error(s, NULL, SESSION_SILENT, "STOMP 1.2 \"Heart-beating\": nothing heard for %llu ms, %llu agreed",
                      (unsigned long long)(t.now - s->heard), (unsigned long long)s->hears_every);
    else if (s->sends_every != 0 && t.now - s->sent + period >= s->sends_every)
        beat(s);
}

void session_trim(struct session *s)
{
    buf_free(&s->parser.unescaped);
    if (s->pending.count == 0) {
        free(s->pending.at);
        s->pending = (struct pending_ring){0};
    }
    session_trim_subscriptions(s);
}

/* ---- views ------------------------------------------------------------------------------- */

enum session_end session_ended(const struct session *s)
{
    return s->end;
}

const char *session_end_reason(const struct session *s)
{
    return s->end_reason == NULL ? "" : s->end_reason;
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

size_t session_missing(const struct session *s, size_t held)
{
    return stomp_missing(&s->parser, held);
}

const struct session_counts *session_counts(const struct session *s)
{
    return &s->counts;
}
