/* The life of a STOMP session: CONNECT to its end, heart-beats, errors. See session.h, stomp_session.h. */
#include "ingest/stomp/stomp_session.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/version.h"

static struct stomp_session *self(struct session *s)
{
    return (struct stomp_session *)s;
}

static void open_stomp(struct session *s)
{
    const struct stomp_limits limits = {s->rules->frame.headers, s->rules->frame.header_bytes, s->rules->frame.body_bytes};

    stomp_parser_init(&self(s)->parser, false, &limits);
}

static void close_stomp(struct session *s)
{
    stomp_parser_free(&self(s)->parser);
    if (self(s)->has_last_receipt)
        label_free(&self(s)->last_receipt);
}

static const char *text(const struct session *s)
{
    static const char *const texts[] = {"STOMP", "STOMP 1.0", "STOMP 1.1", "STOMP 1.2"};

    return texts[((const struct stomp_session *)s)->parser.version];
}

/* ---- errors ------------------------------------------------------------------------------ */

/* The message header of the ERROR frame; NULL: none is sent. */
static const char *const messages[SESSION_ENDS] = {
    [SESSION_PROTOCOL] = "malformed frame received",
    [SESSION_LIMIT] = "a limit of the vault is exceeded",
    [SESSION_DENIED] = "certificate not bound to a depositor",
    [SESSION_DESTINATION] = "unknown destination",
    [SESSION_UNAVAILABLE] = "queue unavailable, send again later",
    [SESSION_REFUSED] = "deposit refused by the queue, send again later",
    [SESSION_SILENT] = "no heart-beat received",
    [SESSION_SLOW] = "too slow",
    [SESSION_REVOKED] = "certificate no longer bound to a depositor",
    [SESSION_CERTIFICATE] = "certificate refused",
    [SESSION_UNVERIFIED] = "certificate not verifiable now, try again later",
    [SESSION_TAKEN] = "connected again",
};

/* STOMP 1.2 "ERROR": message, receipt-id when the frame at fault asked for a receipt, then the connection must end. */
static void write_error(struct stomp_session *s, struct slice receipt, enum session_end end, const char *why)
{
    struct stomp_writer w;
    char body[ERR_TEXT_MAX + 16];
    int n = snprintf(body, sizeof body, "coffre: %s\n", why);

    if (messages[end] == NULL)
        return;
    stomp_open(&w, s->base.out, s->parser.version, STOMP_ERROR);
    if (s->parser.version == STOMP_OPENING)
        stomp_add(&w, STOMP_VERSION, SLICE_LITERAL("1.0,1.1,1.2"));
    stomp_add(&w, STOMP_MESSAGE_TEXT, slice_text(messages[end]));
    if (receipt.at != NULL)
        stomp_add(&w, STOMP_RECEIPT_ID, receipt);
    /* With its charset: npm stompit 1.0.0 ends the whole application when an ERROR says text/plain and its length. */
    stomp_add(&w, STOMP_CONTENT_TYPE, SLICE_LITERAL("text/plain;charset=utf-8"));
    /* No room means that the peer does not read: it will not miss this frame. */
    if (!stomp_close(&w, slice_of(body, n < (int)sizeof body ? (size_t)n : sizeof body - 1), NULL))
        return;
}

void stomp_session_error_for(struct stomp_session *s, struct slice receipt, enum session_end end, const char *why)
{
    if (s->base.end != SESSION_OPEN)
        return;
    write_error(s, receipt, end, why);
    session_end_with(&s->base, end, why);
}

struct slice stomp_session_due(const struct stomp_frame *f)
{
    struct slice receipt = f == NULL ? slice_of(NULL, 0) : stomp_get(f, STOMP_RECEIPT_HEADER);

    return f != NULL && stomp_has(f, STOMP_RECEIPT_HEADER) && receipt.at == NULL ? SLICE_LITERAL("") : receipt;
}

bool stomp_session_error(struct stomp_session *s, const struct stomp_frame *f, enum session_end end, const char *fmt, ...)
{
    char why[ERR_TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    stomp_session_error_for(s, stomp_session_due(f), end, why);
    return false;
}

/* The oldest deposit that waits for its receipt is the one that failed, as far as the peer can tell. */
static void fail(struct session *s, enum session_end end, const char *why)
{
    const struct pending *p = session_oldest_due(s);

    write_error(self(s), p == NULL ? slice_of(NULL, 0) : label_slice(&p->due), end, why);
}

static void stalled(struct session *s, const char *reason)
{
    session_fail(s, SESSION_UNAVAILABLE, reason);
}

static void not_subscribed(struct session *s, struct subscription *sub, const char *reason)
{
    (void)sub;
    session_fail(s, SESSION_LIMIT, reason);
}

/* ---- receipts ---------------------------------------------------------------------------- */

void stomp_session_receipt(struct stomp_session *s, struct slice id)
{
    struct stomp_writer w;
    struct err e = {0};

    stomp_open(&w, s->base.out, s->parser.version, STOMP_RECEIPT);
    stomp_add(&w, STOMP_RECEIPT_ID, id);
    if (!stomp_close(&w, slice_of(NULL, 0), &e))
        stomp_session_error(s, NULL, SESSION_SLOW, "the peer does not read: %s", e.text);
    else
        s->base.counts.receipts++;
}

void stomp_session_receipt_for(struct stomp_session *s, const struct stomp_frame *f)
{
    if (stomp_has(f, STOMP_RECEIPT_HEADER))
        stomp_session_receipt(s, stomp_get(f, STOMP_RECEIPT_HEADER));
}

static void confirmed(struct session *s, const struct pending *p)
{
    stomp_session_receipt(self(s), label_slice(&p->due));
}

static void refused(struct session *s, const struct pending *p, const char *reason)
{
    stomp_session_error_for(self(s), p->has_due ? label_slice(&p->due) : slice_of(NULL, 0), SESSION_REFUSED, reason);
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
static bool agree_heart_beats(struct stomp_session *s, const struct stomp_frame *f)
{
    uint64_t sends = 0, wants = 0, least = s->base.rules->heartbeat_min;

    if (s->parser.version >= STOMP_1_1 && stomp_has(f, STOMP_HEART_BEAT) &&
        !stomp_heart_beat(stomp_get(f, STOMP_HEART_BEAT), &sends, &wants))
        return stomp_session_error(s, f, SESSION_PROTOCOL, "STOMP 1.2 \"Heart-beating\": the heart-beat header is not two numbers");
    s->base.sends_every = wants == 0 ? 0 : wants < least ? least : wants;
    s->base.hears_every = sends == 0 ? 0 : sends < least ? least : sends;
    return true;
}

static bool write_connected(struct stomp_session *s)
{
    struct stomp_writer w;
    char beats[48];
    int n = snprintf(beats, sizeof beats, "%llu,%llu", (unsigned long long)s->base.sends_every,
                     (unsigned long long)s->base.hears_every);

    stomp_open(&w, s->base.out, s->parser.version, STOMP_CONNECTED);
    stomp_add(&w, STOMP_VERSION, slice_text(stomp_version_text(s->parser.version)));
    stomp_add(&w, STOMP_SESSION, slice_text(s->base.name));
    stomp_add(&w, STOMP_SERVER, SLICE_LITERAL("coffre/" COFFRE_VERSION));
    stomp_add(&w, STOMP_HEART_BEAT, slice_of(beats, (size_t)n));
    return stomp_close(&w, slice_of(NULL, 0), NULL);
}

static bool take_connect(struct stomp_session *s, const struct stomp_frame *f)
{
    enum stomp_version v = stomp_has(f, STOMP_ACCEPT_VERSION) ? choose_version(stomp_get(f, STOMP_ACCEPT_VERSION)) : STOMP_1_0;

    if (s->base.refusal != SESSION_OPEN)
        return stomp_session_error(s, f, s->base.refusal, "%s", s->base.refusal_text);
    if (v == STOMP_OPENING)
        return stomp_session_error(s, f, SESSION_PROTOCOL, "STOMP 1.2 \"Protocol Negotiation\": supported protocol versions are 1.0, 1.1 and 1.2");
    s->parser.version = v;
    s->base.connected = true;
    return agree_heart_beats(s, f) && write_connected(s);
}

static bool take_disconnect(struct stomp_session *s, const struct stomp_frame *f)
{
    s->base.leaving = true;
    s->has_last_receipt = stomp_has(f, STOMP_RECEIPT_HEADER);
    if (s->has_last_receipt)
        label_set(&s->last_receipt, stomp_get(f, STOMP_RECEIPT_HEADER));
    session_finish_if_done(&s->base);
    return true;
}

static void farewell(struct session *s)
{
    if (self(s)->has_last_receipt)
        stomp_session_receipt(self(s), label_slice(&self(s)->last_receipt));
}

/* ---- frames ------------------------------------------------------------------------------ */

/* Deposits wait while the owner has no room; other frames go on, so that acknowledgements and CONNECT do. */
static bool must_wait(const struct stomp_session *s, const struct stomp_frame *f)
{
    return ((f->command == STOMP_SEND && !stomp_has(f, STOMP_TRANSACTION)) || f->command == STOMP_COMMIT) && s->base.connected &&
           s->base.ops->full(s->base.ctx);
}

static bool take_frame(struct stomp_session *s, const struct stomp_frame *f, struct session_time t)
{
    bool opens = f->command == STOMP_CONNECT || f->command == STOMP_STOMP;

    if (opens != !s->base.connected)
        return stomp_session_error(s, f, SESSION_PROTOCOL, "STOMP 1.2 \"Connecting\": %s %s", stomp_command_text(f->command),
                                   opens ? "on a session already connected" : "before CONNECT");
    switch (f->command) {
    case STOMP_CONNECT:
    case STOMP_STOMP:
        return take_connect(s, f);
    case STOMP_SEND:
        return stomp_session_send(s, f, t);
    case STOMP_BEGIN:
        return stomp_session_begin(s, f);
    case STOMP_COMMIT:
        return stomp_session_commit(s, f);
    case STOMP_ABORT:
        return stomp_session_abort(s, f);
    case STOMP_SUBSCRIBE:
        return stomp_session_subscribe(s, f);
    case STOMP_UNSUBSCRIBE:
        return stomp_session_unsubscribe(s, f);
    case STOMP_ACK:
        return stomp_session_ack(s, f, false);
    case STOMP_NACK:
        return stomp_session_ack(s, f, true);
    case STOMP_DISCONNECT:
        return take_disconnect(s, f);
    case STOMP_CONNECTED:
    case STOMP_MESSAGE:
    case STOMP_RECEIPT:
    case STOMP_ERROR:
    case STOMP_COMMANDS:
        break;
    }
    return stomp_session_error(s, f, SESSION_PROTOCOL, "a server's frame from a client");
}

static size_t input(struct session *base, struct slice in, struct session_time t)
{
    struct stomp_session *s = self(base);
    size_t at = 0;

    while (session_listens(base)) {
        struct stomp_frame f;
        struct err e;
        size_t consumed;
        enum stomp_result r;

        e.code = ERR_NONE;
        r = stomp_parse(&s->parser, slice_of(in.at + at, in.len - at), &consumed, &f, &e);
        if (r == STOMP_FRAME && must_wait(s, &f)) {
            base->blocked = true;
            base->partial_since = 0;
            return at;
        }
        at += consumed;
        if (r == STOMP_MORE) {
            session_partial(base, in.len - at, consumed != 0, t);
            return at;
        }
        if (r == STOMP_BAD)
            stomp_session_error(s, NULL, s->parser.over_limit ? SESSION_LIMIT : SESSION_PROTOCOL, "%s", e.text);
        else if (!take_frame(s, &f, t))
            break;
        base->partial_since = 0;
    }
    return at;
}

/* ---- time -------------------------------------------------------------------------------- */

static uint64_t silence(const struct session *s)
{
    return 2 * s->hears_every;
}

static void beat(struct session *s)
{
    struct err e = {0};

    if (!buf_add(s->out, "\n", 1, &e))
        session_fail(s, SESSION_SLOW, e.text);
}

static void trim(struct session *s)
{
    buf_free(&self(s)->parser.unescaped);
}

const struct session_protocol stomp_protocol = {
    .name = "STOMP",
    .size = sizeof(struct stomp_session),
    .open = open_stomp,
    .close = close_stomp,
    .text = text,
    .input = input,
    .confirmed = confirmed,
    .refused = refused,
    .stalled = stalled,
    .fail = fail,
    .farewell = farewell,
    .beat = beat,
    .silence = silence,
    .trim = trim,
    .written = stomp_session_written,
    .answer = stomp_session_answer,
    .archive = stomp_session_archive,
    .not_subscribed = not_subscribed,
    .free_subscription = stomp_session_free_subscription,
};
