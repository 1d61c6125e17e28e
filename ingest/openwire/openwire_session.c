/*
 * The life of an OpenWire session: preamble, frames, keep-alive, errors, end. See session.h, openwire_session.h. The state machine is strict:
 * WireFormatInfo, then nothing but ConnectionInfo and what keeps a connection alive, then the rest, within the JMS connection that was opened.
 */
#include "ingest/openwire/openwire_session.h"

#include <stdio.h>
#include <stdlib.h>

/* MaxFrameSize: a message with the largest event and properties of the size that STOMP headers may have. */
static uint64_t frame_max(const struct session *s)
{
    return (uint64_t)s->rules->frame.body_bytes + s->rules->frame.header_bytes;
}

/*
 * Ids of messages are unique in the world: the front's instance, the connection, a number that grows. A client that has been connected
 * elsewhere before takes none of them for a duplicate (ActiveMQ's message audit would drop it as poison).
 */
static void open_openwire(struct session *s)
{
    snprintf(openwire_self(s)->source, sizeof openwire_self(s)->source, "ID:coffre-%s-%s", s->rules->instance, s->name);
    buf_init_secret(&openwire_self(s)->scratch, 2 * s->rules->frame.body_bytes + 64); /* content.h: a compressed text, and what it decodes to */
    buf_init_secret(&openwire_self(s)->texts, frame_max(s));
}

static void close_openwire(struct session *s)
{
    struct openwire_session *o = openwire_self(s);

    openwire_register_free(&o->sessions);
    openwire_register_free(&o->producers);
    openwire_register_free(&o->consumers);
    label_free(&o->connection);
    buf_free(&o->scratch);
    buf_free(&o->texts);
}

static const char *text(const struct session *base)
{
    static const char *const texts[] = {"OpenWire 0", "OpenWire 1", "OpenWire 2", "OpenWire 3", "OpenWire 4", "OpenWire 5", "OpenWire 6",
                                        "OpenWire 7", "OpenWire 8", "OpenWire 9", "OpenWire 10", "OpenWire 11", "OpenWire 12"};
    const struct openwire_session *s = (const struct openwire_session *)base;

    return s->negotiated && s->format.version <= OPENWIRE_VERSION_MAX ? texts[s->format.version] : "OpenWire";
}

/* ---- errors ------------------------------------------------------------------------------ */

/* ConnectionError reaches the application's ExceptionListener; what happens next is the client's affair. */
static void fail(struct session *base, enum session_end end, const char *why)
{
    struct openwire_session *s = openwire_self(base);
    char said[ERR_TEXT_MAX + 16];

    if (!s->negotiated || end == SESSION_SHUTDOWN)
        return;
    snprintf(said, sizeof said, "coffre: %s", why);
    openwire_connection_error(s, session_end_is_security(end) ? OPENWIRE_SECURITY : OPENWIRE_JMS, said);
}

static void stalled(struct session *base, const char *reason)
{
    (void)reason;
    openwire_self(base)->give_up = true;
}

/* ---- preamble ---------------------------------------------------------------------------- */

static bool take_preamble(struct openwire_session *s, struct slice frame)
{
    const struct openwire_format ours = {.version = OPENWIRE_VERSION_MAX, .max_frame = frame_max(&s->base),
                                         .inactivity = s->base.rules->inactivity,
                                         .inactivity_delay = s->base.rules->inactivity / 3};
    struct err e = {0};

    if (!openwire_preamble_read(frame, &ours, &s->format, &e) || !openwire_preamble_write(&ours, s->base.out, &e))
        return session_fail_with(&s->base, SESSION_PROTOCOL, "%s", e.text);
    s->negotiated = true;
    /* A JMS client sends ConnectionInfo when the application starts the connection, however long after making it. */
    s->base.patient = s->base.refusal == SESSION_OPEN && s->format.inactivity != 0;
    s->base.hears_every = s->format.inactivity;
    s->base.sends_every = s->format.inactivity / 3;
    openwire_broker_info(s);
    return s->base.end == SESSION_OPEN;
}

/* ---- commands ---------------------------------------------------------------------------- */

/* The only commands that may come before ConnectionInfo is accepted (CVE-2026-49270, CVE-2026-50750: no work for strangers). */
static bool may_precede(unsigned type)
{
    return type == OPENWIRE_CONNECTION_INFO || type == OPENWIRE_KEEP_ALIVE_INFO || type == OPENWIRE_CONNECTION_CONTROL ||
           type == OPENWIRE_SHUTDOWN_INFO;
}

static enum openwire_verdict take_shut_down(struct openwire_session *s, const struct openwire_object *o)
{
    if (o->response_required)
        openwire_respond(s, o->command_id);
    s->base.leaving = true;
    session_finish_if_done(&s->base);
    return OPENWIRE_LATER;
}

static enum openwire_verdict take_keep_alive(struct openwire_session *s, const struct openwire_object *o)
{
    if (o->response_required)
        openwire_keep_alive(s, o->command_id);
    return OPENWIRE_LATER;
}

static enum openwire_verdict take_command(struct openwire_session *s, const struct openwire_object *o, struct session_time t,
                                          struct openwire_refusal *r)
{
    if (!s->open && !may_precede(o->type)) {
        openwire_refuse(r, OPENWIRE_ILLEGAL_STATE, "%s before a ConnectionInfo that was accepted", openwire_row(o->type)->name);
        /* Late commands of a JMS connection that was closed on this transport are no reason to close it. */
        return s->base.connected && openwire_row(o->type)->command && o->type != OPENWIRE_BROKER_INFO ? OPENWIRE_REFUSED : OPENWIRE_FATAL;
    }
    switch ((enum openwire_type)o->type) {
    case OPENWIRE_CONNECTION_INFO:
        return openwire_connect(s, o, t, r);
    case OPENWIRE_SESSION_INFO:
        return openwire_add_session(s, o, r);
    case OPENWIRE_CONSUMER_INFO:
        return openwire_add_consumer(s, o, r);
    case OPENWIRE_PRODUCER_INFO:
        return openwire_add_producer(s, o, r);
    case OPENWIRE_TRANSACTION_INFO:
        return openwire_transact(s, o, r);
    case OPENWIRE_DESTINATION_INFO:
        return openwire_destination(s, o, r);
    case OPENWIRE_REMOVE_INFO:
        return openwire_remove(s, o, r);
    case OPENWIRE_CONSUMER_CONTROL:
        return openwire_control_consumer(s, o, r);
    case OPENWIRE_MESSAGE_PULL:
        return openwire_pull(s, o, t, r);
    case OPENWIRE_MESSAGE_ACK:
        return openwire_acknowledge(s, o, r);
    case OPENWIRE_MESSAGE:
    case OPENWIRE_BYTES_MESSAGE:
    case OPENWIRE_MAP_MESSAGE:
    case OPENWIRE_OBJECT_MESSAGE:
    case OPENWIRE_STREAM_MESSAGE:
    case OPENWIRE_TEXT_MESSAGE:
        return openwire_send(s, o, t, r);
    case OPENWIRE_KEEP_ALIVE_INFO:
        return take_keep_alive(s, o);
    case OPENWIRE_SHUTDOWN_INFO:
        return take_shut_down(s, o);
    /* Informs, or flushes what is never held back. The exceptions in two of them are text and no more (CVE-2023-46604). */
    case OPENWIRE_CONNECTION_CONTROL:
    case OPENWIRE_FLUSH_COMMAND:
    case OPENWIRE_RESPONSE:
    case OPENWIRE_EXCEPTION_RESPONSE:
    case OPENWIRE_CONNECTION_ERROR:
        return OPENWIRE_OK;
    case OPENWIRE_REMOVE_SUBSCRIPTION_INFO:
        return openwire_refuse(r, OPENWIRE_INVALID_DESTINATION, "there are no durable subscriptions: answers wait in queues");
    case OPENWIRE_CONTROL_COMMAND: /* CVE-2014-3576 */
        return openwire_refuse(r, OPENWIRE_SECURITY, "no client commands this server");
    case OPENWIRE_PRODUCER_ACK:
    case OPENWIRE_MESSAGE_DISPATCH:
    case OPENWIRE_DATA_RESPONSE:
    case OPENWIRE_DATA_ARRAY_RESPONSE:
    case OPENWIRE_INTEGER_RESPONSE:
        return openwire_refuse(r, OPENWIRE_ILLEGAL_STATE, "%s is a server's to send", openwire_row(o->type)->name);
    case OPENWIRE_WIRE_FORMAT_INFO:
    case OPENWIRE_BROKER_INFO:
    case OPENWIRE_NULL:
    case OPENWIRE_NETWORK_BRIDGE_FILTER:
    case OPENWIRE_QUEUE:
    case OPENWIRE_TOPIC:
    case OPENWIRE_TEMP_QUEUE:
    case OPENWIRE_TEMP_TOPIC:
    case OPENWIRE_MESSAGE_ID:
    case OPENWIRE_LOCAL_TRANSACTION_ID:
    case OPENWIRE_XA_TRANSACTION_ID:
    case OPENWIRE_CONNECTION_ID:
    case OPENWIRE_SESSION_ID:
    case OPENWIRE_CONSUMER_ID:
    case OPENWIRE_PRODUCER_ID:
    case OPENWIRE_BROKER_ID:
    case OPENWIRE_THROWABLE:
        break;
    }
    openwire_refuse(r, OPENWIRE_JMS, "a %s makes no sense here", openwire_row(o->type)->name);
    return OPENWIRE_FATAL;
}

static void say_refused(struct openwire_session *s, bool response_required, uint32_t command, const struct openwire_refusal *r)
{
    char said[ERR_TEXT_MAX + 16];

    snprintf(said, sizeof said, "coffre: %s", r->text);
    openwire_complain(s, response_required, command, r->class, said);
}

/* Says what became of it. False: it comes again (blocked), or the session has ended. */
static bool conclude(struct openwire_session *s, enum openwire_verdict verdict, bool response_required, uint32_t command,
                     const struct openwire_refusal *r)
{
    if (s->base.end != SESSION_OPEN || verdict == OPENWIRE_BLOCKED)
        return false;
    if (verdict == OPENWIRE_OK && response_required)
        openwire_respond(s, command);
    if (verdict == OPENWIRE_REFUSED || verdict == OPENWIRE_FATAL)
        say_refused(s, response_required, command, r);
    if (verdict == OPENWIRE_FATAL)
        session_end_with(&s->base, SESSION_PROTOCOL, r->text);
    return s->base.end == SESSION_OPEN;
}

/* Commands that are known and never taken, of no shape that is worth a row. */
static bool is_foreign(unsigned type)
{
    return type == 29 /* BlobMessage */ || type == 90 /* MessageDispatchNotification */ || type == 92 /* BrokerSubscriptionInfo */;
}

/* Refuses a command of which only the head is read: CommandId and ResponseRequired stand at the same place in all of them. */
static bool refuse_unread(struct openwire_session *s, struct slice in, enum openwire_exception class, const char *why)
{
    struct wire_reader head = wire_read(slice_of(in.at + 5, 5));
    uint32_t command = wire_get_u32(&head);
    struct openwire_refusal r;

    openwire_refuse(&r, class, "%s", why);
    openwire_fail_transactions(s);
    return conclude(s, OPENWIRE_REFUSED, wire_get_u8(&head) == 1, command, &r);
}

/*
 * A frame of which no sense can be made ends the connection. A command that wants a response gets one first: a failover client would
 * otherwise send the same frame on every connection it makes.
 */
static bool end_unreadable(struct openwire_session *s, struct slice in, const char *why)
{
    struct wire_reader head = wire_read(slice_of(in.at + 4, in.len - 4));
    uint8_t type = wire_get_u8(&head);
    uint32_t command = wire_get_u32(&head);
    bool required = wire_get_u8(&head) == 1 && !head.short_read && openwire_row(type)->command;
    struct openwire_refusal r;

    if (!required)
        return session_fail_with(&s->base, SESSION_PROTOCOL, "%s", why);
    openwire_refuse(&r, OPENWIRE_JMS, "%s", why);
    return conclude(s, OPENWIRE_FATAL, true, command, &r);
}

/* A whole frame, size and all. */
static bool take_frame(struct openwire_session *s, struct slice in, struct session_time t)
{
    struct slice frame = slice_of(in.at + 4, in.len - 4);
    const struct openwire_object *o;
    struct openwire_refusal r;
    struct openwire_arena arena __attribute__((uninitialized)); /* filled as it is used */
    struct err e;

    if (!s->negotiated)
        return take_preamble(s, frame);
    if (s->base.connected && is_foreign(frame.at[0]) && in.len >= OPENWIRE_HEAD)
        return refuse_unread(s, in, frame.at[0] == 29 ? OPENWIRE_MESSAGE_FORMAT : OPENWIRE_ILLEGAL_STATE,
                             "messages other than text and bytes, and brokers' own commands, are not available");
    e.code = ERR_NONE;
    arena.used = 0;
    if (!openwire_read(frame, s->format.version, &arena, &o, &e))
        return end_unreadable(s, in, e.text);
    return conclude(s, take_command(s, o, t, &r), o->response_required, o->command_id, &r);
}

/* ---- frames ------------------------------------------------------------------------------ */

/*
 * A frame over the limit is passed over, so that the client gets an exception and goes on: a closed connection would make a failover client
 * send the same frame for ever.
 */
static bool begin_skip(struct openwire_session *s, struct slice in, uint32_t size)
{
    char why[160];

    snprintf(why, sizeof why, "a frame of %lu bytes is over the limit of %llu (MaxFrameSize)", (unsigned long)size,
             (unsigned long long)frame_max(&s->base));
    s->skip = (size_t)size + 4 - OPENWIRE_HEAD;
    return refuse_unread(s, in, OPENWIRE_JMS, why);
}

/* No size of a frame, or of none that is taken before ConnectionInfo; where that itself is too long, its head is waited for, to answer it. */
static bool is_impossible(const struct openwire_session *s, uint32_t size, struct slice in)
{
    bool awaited = s->negotiated && in.len < OPENWIRE_HEAD && (in.len < 5 || in.at[4] == OPENWIRE_CONNECTION_INFO);

    if (size == 0 || size > INT32_MAX)
        return true;
    return !s->base.connected && size > OPENWIRE_PREAMBLE_MAX && !awaited;
}

static void refuse_size(struct openwire_session *s, struct slice in, uint32_t size)
{
    char why[120];

    if (size != 0 && !s->base.connected)
        snprintf(why, sizeof why, "a frame of %lu bytes before the connection is opened, at most %d are taken", (unsigned long)size, OPENWIRE_PREAMBLE_MAX);
    else
        snprintf(why, sizeof why, "a frame of %lu bytes, at least 1 and at most %llu are taken", (unsigned long)size, (unsigned long long)frame_max(&s->base));
    if (s->negotiated && size >= OPENWIRE_HEAD - 4 && size <= INT32_MAX && in.len >= OPENWIRE_HEAD)
        (void)end_unreadable(s, in, why);
    else
        session_fail(&s->base, SESSION_PROTOCOL, why);
}

static size_t input(struct session *base, struct slice in, struct session_time t)
{
    struct openwire_session *s = openwire_self(base);
    size_t at = 0;

    while (session_listens(base)) {
        struct slice rest = slice_of(in.at + at, in.len - at);
        struct wire_reader r = wire_read(rest);
        uint32_t size;

        if (s->skip != 0) {
            size_t n = rest.len < s->skip ? rest.len : s->skip;

            s->skip -= n;
            at += n;
            session_partial(base, s->skip != 0, n != 0, t);
            if (s->skip != 0)
                return at;
            continue;
        }
        size = wire_get_u32(&r);
        if (!r.short_read && is_impossible(s, size, rest)) {
            refuse_size(s, rest, size);
            break;
        }
        if (!r.short_read && base->connected && size > frame_max(base) && rest.len >= OPENWIRE_HEAD) {
            at += OPENWIRE_HEAD;
            if (!begin_skip(s, rest, size))
                break;
            continue;
        }
        if (r.short_read || rest.len - 4 < size) {
            session_partial(base, rest.len, at != 0, t);
            return at;
        }
        if (!take_frame(s, slice_of(rest.at, (size_t)size + 4), t)) {
            base->partial_since = 0;
            return at;
        }
        at += (size_t)size + 4;
    }
    return at;
}

/* ---- time -------------------------------------------------------------------------------- */

/* The client looks once in each period, so that up to two may pass: its own tolerance. */
static uint64_t silence(const struct session *s)
{
    return s->hears_every + s->hears_every / 2;
}

static void beat(struct session *base)
{
    if (openwire_self(base)->negotiated)
        openwire_keep_alive(openwire_self(base), 0);
}

static void tick(struct session *base, struct session_time t)
{
    struct openwire_session *s = openwire_self(base);

    if (s->refused_at != 0 && t.now - s->refused_at > OPENWIRE_REFUSED_MS)
        session_end_with(base, base->refusal == SESSION_OPEN ? SESSION_PROTOCOL : base->refusal,
                         base->refusal == SESSION_OPEN ? "an OpenWire version that is not served" : base->refusal_text);
    else if (s->open)
        openwire_pulls_expire(s, t.now);
}

static void unpended(struct session *base)
{
    struct openwire_session *s = openwire_self(base);

    if (s->owes)
        openwire_respond(s, s->owed);
    s->owes = false;
}

static void trim(struct session *base)
{
    buf_free(&openwire_self(base)->scratch);
    buf_free(&openwire_self(base)->texts);
}

static void free_subscription(struct subscription *sub)
{
    free(sub);
}

const struct session_protocol openwire_protocol = {
    .name = "OpenWire",
    .size = sizeof(struct openwire_session),
    .open = open_openwire,
    .close = close_openwire,
    .text = text,
    .input = input,
    .confirmed = openwire_confirmed,
    .refused = openwire_not_confirmed,
    .stalled = stalled,
    .fail = fail,
    .beat = beat,
    .silence = silence,
    .tick = tick,
    .trim = trim,
    .unpended = unpended,
    .answer = openwire_answer,
    .archive = openwire_archive,
    .subscribed = openwire_subscribed,
    .not_subscribed = openwire_not_subscribed,
    .resubscribed = openwire_resubscribed,
    .free_subscription = free_subscription,
};
