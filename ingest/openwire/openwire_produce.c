/* Producers and their messages: deposits. See openwire_session.h. Everything is deposited durably, whatever a message says about persistence. */
#include "ingest/openwire/openwire_session.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/values/number.h"
#include "ingest/openwire/content.h"
#include "ingest/openwire/properties.h"
#include "ingest/openwire/text.h"

enum { CORRELATION_MAX = 1024, MESSAGE_SIZE_BASE = 1024 /* ActiveMQ's Message.DEFAULT_MINIMUM_MESSAGE_SIZE, part of a producer window's sums */ };

/* Topics, composite names ("A,B") and wildcards are none of ours either, and get the same answer. */
static bool is_intake(const struct openwire_session *s, const struct openwire_object *destination, struct openwire_refusal *r)
{
    char named[OPENWIRE_NAMED];

    if (destination != NULL && destination->type == OPENWIRE_QUEUE &&
        slice_is(openwire_get_bytes(destination, OPENWIRE_DESTINATION_PHYSICAL_NAME), s->base.rules->queue_in))
        return true;
    openwire_refuse(r, OPENWIRE_INVALID_DESTINATION, "%s: messages go to queue %s only", openwire_name(destination, named),
                    s->base.rules->queue_in);
    return false;
}

/* ---- ProducerInfo ------------------------------------------------------------------------ */

enum openwire_verdict openwire_add_producer(struct openwire_session *s, const struct openwire_object *o, struct openwire_refusal *r)
{
    const struct openwire_object *id = openwire_get_object(o, OPENWIRE_PRODUCER_INFO_PRODUCER_ID);
    const struct openwire_object *destination = openwire_get_object(o, OPENWIRE_PRODUCER_INFO_DESTINATION);
    int64_t window = (int64_t)openwire_get_number(o, OPENWIRE_PRODUCER_INFO_WINDOW_SIZE);
    int64_t session, value;
    struct openwire_entry *entry;

    if (!openwire_check_own(s, id == NULL ? slice_of(NULL, 0) : openwire_get_bytes(id, OPENWIRE_PRODUCER_ID_CONNECTION_ID), "ProducerId", r))
        return OPENWIRE_REFUSED;
    session = (int64_t)openwire_get_number(id, OPENWIRE_PRODUCER_ID_SESSION_ID);
    value = (int64_t)openwire_get_number(id, OPENWIRE_PRODUCER_ID_VALUE);
    if (openwire_register_find(&s->sessions, session, 0) == NULL)
        return openwire_refuse(r, OPENWIRE_ILLEGAL_STATE, "ProducerInfo: there is no session %" PRId64, session);
    if (destination != NULL && !is_intake(s, destination, r)) /* without one it is anonymous: each message says */
        return OPENWIRE_REFUSED;
    if (openwire_register_find(&s->producers, session, value) != NULL)
        return OPENWIRE_OK;
    if (s->producers.count >= OPENWIRE_PRODUCERS_MAX)
        return openwire_refuse(r, OPENWIRE_RESOURCE_ALLOCATION, "more than %d producers on a connection", OPENWIRE_PRODUCERS_MAX);
    entry = openwire_register_add(&s->producers, session, value);
    entry->window = window > 0 ? (uint32_t)window : 0;
    return OPENWIRE_OK;
}

/* ---- properties -------------------------------------------------------------------------- */

/* JMS 1.1, 3.5.4: any of these types may be read as a string. Text is decoded, where it must be, into `texts`, which has room for all. */
static bool as_text(struct buf *texts, const struct openwire_property *p, struct slice *text, char *number, size_t size)
{
    size_t before = texts->len;
    bool is_text = p->tag == OPENWIRE_TAG_TEXT || p->tag == OPENWIRE_TAG_BIG_TEXT;
    struct slice all;

    if (is_text && openwire_text_is_plain(p->bytes)) {
        *text = p->bytes;
    } else if (is_text) {
        if (!openwire_text_decode(p->bytes, texts, NULL))
            return false;
        all = buf_slice(texts);
        *text = slice_of(all.at + before, all.len - before);
    } else if (p->tag == OPENWIRE_TAG_LONG || p->tag == OPENWIRE_TAG_INT || p->tag == OPENWIRE_TAG_SHORT || p->tag == OPENWIRE_TAG_BYTE) {
        *text = slice_of(number, (size_t)snprintf(number, size, "%" PRId64, p->number));
    }
    /* What a record can carry. An overlong property is no protocol error: the ledger answers it INVALID. */
    if (text->len > UINT16_MAX)
        text->len = UINT16_MAX;
    return true;
}

/* JMS 1.1, 3.5.4: a long may be read from an integer or from a string of digits. One that is neither is as good as none. */
static void as_time(const struct openwire_property *p, struct pack_deposit *d)
{
    if (p->tag == OPENWIRE_TAG_LONG || p->tag == OPENWIRE_TAG_INT || p->tag == OPENWIRE_TAG_SHORT || p->tag == OPENWIRE_TAG_BYTE) {
        d->has_timestamp = p->number >= 0;
        d->timestamp = p->number >= 0 ? (uint64_t)p->number : 0;
    } else if (p->tag == OPENWIRE_TAG_TEXT) {
        d->has_timestamp = number_parse(p->bytes, &d->timestamp);
        d->timestamp = d->has_timestamp ? d->timestamp : 0;
    }
}

/* Numbers that stand where text is expected, spelled out. */
struct spelled {
    char client_id[24], digest[24], digest_algo[24];
};

static bool read_properties(struct openwire_session *s, struct slice map, struct pack_deposit *d, struct spelled *spelled,
                            struct err *e)
{
    struct openwire_map m;
    struct openwire_property p;

    /* Never longer than the map, so that none of them moves when the next is decoded. */
    if (!openwire_map_open(&m, map, OPENWIRE_PROPERTIES_MAX, e) ||
        (!openwire_text_is_plain(map) && buf_reserve(&s->texts, map.len, e) == NULL))
        return false;
    while (openwire_map_next(&m, &p, e)) {
        bool ok = true;

        if (slice_is(p.name, "ClientId"))
            ok = as_text(&s->texts, &p, &d->client_id, spelled->client_id, sizeof spelled->client_id);
        else if (slice_is(p.name, "Digest"))
            ok = as_text(&s->texts, &p, &d->digest, spelled->digest, sizeof spelled->digest);
        else if (slice_is(p.name, "DigestAlgo"))
            ok = as_text(&s->texts, &p, &d->digest_algo, spelled->digest_algo, sizeof spelled->digest_algo);
        else if (slice_is(p.name, "Timestamp"))
            as_time(&p, d);
        if (!ok)
            return err_set(e, ERR_INPUT, "a property is too long");
    }
    return e->code == ERR_NONE;
}

/* ---- replies ----------------------------------------------------------------------------- */

/* JMSMessageID, as the client spells it: the text it was given, or its numbers. */
static bool message_id(const struct openwire_object *id, char *text, size_t size, struct slice *out)
{
    const struct openwire_object *producer = id == NULL ? NULL : openwire_get_object(id, OPENWIRE_MESSAGE_ID_PRODUCER_ID);
    struct slice connection;
    int n;

    if (id != NULL && id->values[OPENWIRE_MESSAGE_ID_TEXT_VIEW].there) {
        *out = openwire_get_bytes(id, OPENWIRE_MESSAGE_ID_TEXT_VIEW);
        return out->len <= CORRELATION_MAX;
    }
    if (producer == NULL)
        return false;
    connection = openwire_get_bytes(producer, OPENWIRE_PRODUCER_ID_CONNECTION_ID);
    n = snprintf(text, size, "%.*s:%" PRId64 ":%" PRId64 ":%" PRId64, connection.len == 0 ? 0 : (int)connection.len,
                 connection.len == 0 ? "" : (const char *)connection.at,
                 (int64_t)openwire_get_number(producer, OPENWIRE_PRODUCER_ID_SESSION_ID),
                 (int64_t)openwire_get_number(producer, OPENWIRE_PRODUCER_ID_VALUE),
                 (int64_t)openwire_get_number(id, OPENWIRE_MESSAGE_ID_PRODUCER_SEQUENCE_ID));
    *out = slice_of(text, (size_t)n);
    return n > 0 && (size_t)n < size;
}

/*
 * JMSReplyTo: the answer goes there as well, when it is a temporary queue: of this connection, or of another of the same depositor. The reply's
 * JMSCorrelationID is the deposit's, or its JMSMessageID (JMS 1.1, 3.4.5). Answers go to Event.<N>.Out anyway.
 */
static bool read_reply(const struct openwire_session *s, const struct openwire_object *o, struct pack_deposit *d, char *text, size_t size,
                       struct openwire_refusal *r)
{
    const struct openwire_object *to = openwire_get_object(o, OPENWIRE_MESSAGE_REPLY_TO);
    struct slice name;
    char named[OPENWIRE_NAMED];

    if (to == NULL)
        return true;
    name = openwire_get_bytes(to, OPENWIRE_DESTINATION_PHYSICAL_NAME);
    if (to->type == OPENWIRE_QUEUE && slice_is(name, s->base.rules->queue_out))
        return true;
    if (to->type != OPENWIRE_TEMP_QUEUE || name.len == 0 || name.len > SESSION_NAME_MAX ||
        (openwire_is_own_temporary(s, name) && openwire_find_temporary(s, name) == NULL)) {
        openwire_refuse(r, OPENWIRE_INVALID_DESTINATION, "JMSReplyTo is %s: a temporary queue that exists, or %s, is needed",
                        openwire_name(to, named), s->base.rules->queue_out);
        return false;
    }
    d->asks_reply = true;
    d->reply = name;
    d->correlation = openwire_get_bytes(o, OPENWIRE_MESSAGE_CORRELATION_ID);
    if (o->values[OPENWIRE_MESSAGE_CORRELATION_ID].there ? d->correlation.len <= CORRELATION_MAX
                                                          : message_id(openwire_get_object(o, OPENWIRE_MESSAGE_MESSAGE_ID), text, size,
                                                                       &d->correlation))
        return true;
    openwire_refuse(r, OPENWIRE_MESSAGE_FORMAT, "JMSCorrelationID or JMSMessageID is over %d bytes", CORRELATION_MAX);
    return false;
}

/* ---- messages ---------------------------------------------------------------------------- */

/* What only brokers write. Data structures are advisories' (CVE-2015-5254 and others came in through such places). */
static bool is_from_client(const struct openwire_object *o)
{
    return !o->values[OPENWIRE_MESSAGE_ORIGINAL_DESTINATION].there && !o->values[OPENWIRE_MESSAGE_ORIGINAL_TRANSACTION_ID].there &&
           !o->values[OPENWIRE_MESSAGE_DATA_STRUCTURE].there && !o->values[OPENWIRE_MESSAGE_TARGET_CONSUMER_ID].there &&
           !o->values[OPENWIRE_MESSAGE_BROKER_PATH].there && !o->values[OPENWIRE_MESSAGE_CLUSTER].there;
}

static struct openwire_entry *producer_of(const struct openwire_session *s, const struct openwire_object *o, struct openwire_refusal *r)
{
    const struct openwire_object *id = openwire_get_object(o, OPENWIRE_MESSAGE_PRODUCER_ID);
    struct openwire_entry *entry = NULL;

    if (!openwire_check_own(s, id == NULL ? slice_of(NULL, 0) : openwire_get_bytes(id, OPENWIRE_PRODUCER_ID_CONNECTION_ID), "ProducerId", r))
        return NULL;
    entry = openwire_register_find(&s->producers, (int64_t)openwire_get_number(id, OPENWIRE_PRODUCER_ID_SESSION_ID),
                                   (int64_t)openwire_get_number(id, OPENWIRE_PRODUCER_ID_VALUE));
    if (entry == NULL)
        openwire_refuse(r, OPENWIRE_ILLEGAL_STATE, "the message's producer does not exist");
    return entry;
}

/* The message as a deposit; what it points to lives as long as the frame and the session's scratch buffers. */
static bool deposit_of(struct openwire_session *s, const struct openwire_object *o, struct pack_deposit *d, struct spelled *spelled,
                       struct openwire_refusal *r)
{
    struct err e = {0};

    if (o->type != OPENWIRE_TEXT_MESSAGE && o->type != OPENWIRE_BYTES_MESSAGE) {
        openwire_refuse(r, OPENWIRE_MESSAGE_FORMAT, "an event is a text or bytes message");
        return false;
    }
    if (!is_intake(s, openwire_get_object(o, OPENWIRE_MESSAGE_DESTINATION), r))
        return false;
    if (!is_from_client(o)) {
        openwire_refuse(r, OPENWIRE_ILLEGAL_STATE, "the message has fields that only a broker writes");
        return false;
    }
    d->bytes_message = o->type == OPENWIRE_BYTES_MESSAGE;
    if (!openwire_content(o, s->base.rules->frame.body_bytes, &s->scratch, &d->body, &e) ||
        !read_properties(s, openwire_get_bytes(o, OPENWIRE_MESSAGE_PROPERTIES), d, spelled, &e)) {
        openwire_refuse(r, e.code == ERR_DENIED ? OPENWIRE_JMS : OPENWIRE_MESSAGE_FORMAT, "%s", e.text);
        return false;
    }
    return true;
}

static void open_window(struct openwire_session *s, const struct openwire_due *due)
{
    if (due->window && due->connections == s->connections)
        openwire_producer_ack(s, due->session, due->value, due->size);
}

static void accepted(struct openwire_session *s, const struct openwire_due *due)
{
    if (due->response)
        openwire_respond(s, due->command);
    open_window(s, due);
}

static enum openwire_verdict deposit(struct openwire_session *s, const struct pack_deposit *d, struct transaction *tx,
                                     const struct openwire_due *due, struct openwire_refusal *r)
{
    bool owes = due->response || due->window;
    struct err e;

    e.code = ERR_NONE;
    if (tx == NULL) {
        if (session_deposit(&s->base, d, owes ? slice_of(due, sizeof *due) : slice_of(NULL, 0), &e))
            return OPENWIRE_LATER;
    } else if (session_transaction_add(&s->base, tx, d, &e)) {
        accepted(s, due);
        return OPENWIRE_LATER;
    }
    return openwire_refuse(r, OPENWIRE_RESOURCE_ALLOCATION, "%s", e.text);
}

static struct openwire_due due_for(const struct openwire_session *s, const struct openwire_object *o, const struct openwire_entry *producer)
{
    return (struct openwire_due){.command = o->command_id, .connections = s->connections, .response = o->response_required, .session = producer->session,
                                 .value = producer->value, .window = producer->window != 0 && !o->response_required,
                                 .size = (uint32_t)(MESSAGE_SIZE_BASE + openwire_get_bytes(o, OPENWIRE_MESSAGE_CONTENT).len +
                                                    openwire_get_bytes(o, OPENWIRE_MESSAGE_PROPERTIES).len)};
}

static enum openwire_verdict take_message(struct openwire_session *s, const struct openwire_object *o, struct transaction *tx,
                                          const struct openwire_entry *producer, struct session_time t, struct openwire_refusal *r)
{
    struct pack_deposit d = {.depositor = s->base.depositor, .received = t.wall};
    const struct openwire_due due = due_for(s, o, producer);
    char correlation[SESSION_NAME_MAX + 80];
    struct spelled spelled;
    enum openwire_verdict verdict;

    if (deposit_of(s, o, &d, &spelled, r) && read_reply(s, o, &d, correlation, sizeof correlation, r))
        verdict = deposit(s, &d, tx, &due, r);
    else
        verdict = OPENWIRE_REFUSED;
    buf_reset(&s->scratch);
    buf_reset(&s->texts);
    return verdict;
}

/* Of a producer that exists, within the transaction if there is one. */
static enum openwire_verdict send_message(struct openwire_session *s, const struct openwire_object *o, const struct openwire_entry *producer,
                                          struct session_time t, struct openwire_refusal *r)
{
    enum openwire_verdict verdict;
    struct transaction *tx;

    if (!openwire_transaction(s, openwire_get_object(o, OPENWIRE_MESSAGE_TRANSACTION_ID), &tx, r))
        return OPENWIRE_REFUSED;
    if (tx == NULL && s->base.ops->full(s->base.ctx)) {
        s->base.blocked = !s->give_up;
        if (s->base.blocked)
            return OPENWIRE_BLOCKED;
        s->give_up = false;
        return openwire_refuse(r, OPENWIRE_RESOURCE_ALLOCATION, "queue unavailable, send again later: no room for more deposits");
    }
    if (tx == NULL)
        s->give_up = false;
    verdict = take_message(s, o, tx, producer, t, r);
    if (verdict == OPENWIRE_REFUSED && tx != NULL)
        tx->failed = true;
    return verdict;
}

enum openwire_verdict openwire_send(struct openwire_session *s, const struct openwire_object *o, struct session_time t,
                                    struct openwire_refusal *r)
{
    const struct openwire_entry *producer = producer_of(s, o, r);
    enum openwire_verdict verdict = OPENWIRE_REFUSED;
    struct openwire_refusal unused;
    struct openwire_due due;
    struct transaction *tx;

    if (producer == NULL) {
        if (openwire_transaction(s, openwire_get_object(o, OPENWIRE_MESSAGE_TRANSACTION_ID), &tx, &unused) && tx != NULL)
            tx->failed = true;
        return verdict;
    }
    verdict = send_message(s, o, producer, t, r);
    due = due_for(s, o, producer);
    /* A refused message still opens the producer's window again: it waits for that alone. */
    if (verdict == OPENWIRE_REFUSED)
        open_window(s, &due);
    return verdict;
}

/* ---- settled ----------------------------------------------------------------------------- */

static struct openwire_due due_of(const struct pending *p)
{
    struct openwire_due due = {0};
    struct slice kept = label_slice(&p->due);

    if (p->has_due && kept.len == sizeof due)
        memcpy(&due, kept.at, sizeof due);
    return due;
}

void openwire_confirmed(struct session *s, const struct pending *p)
{
    struct openwire_due due = due_of(p);

    accepted(openwire_self(s), &due);
}

/* The connection stays: nothing is wrong with it. */
void openwire_not_confirmed(struct session *s, const struct pending *p, const char *reason)
{
    struct openwire_due due = due_of(p);
    char said[ERR_TEXT_MAX + 16];

    snprintf(said, sizeof said, "coffre: %s", reason);
    openwire_complain(openwire_self(s), due.response, due.command,
                      p->committed != NULL ? OPENWIRE_ROLLED_BACK : OPENWIRE_RESOURCE_ALLOCATION, said);
    open_window(openwire_self(s), &due);
}
