/* See openwire_peer.h. */
#include "tests/unit/openwire_peer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/unit.h"

static char text[1 << 16];
static size_t length;
static struct openwire_arena arena;

/* ---- life -------------------------------------------------------------------------------- */

void peer_open(struct peer *p, const struct session_refusal *refusal, unsigned version)
{
    *p = (struct peer){.o = {.rules = {.frame = {32, 4096, 4096}, .instance = "i", .transaction_bytes = 2000, .transactions = 2,
                                       .subscriptions = 4, .heartbeat_min = 1000, .inactivity = 30000, .frame_time = 10000},
                             .held_max = 100000, .t = {1000, 1700000000000}},
                       .version = version, .step = SIZE_MAX};
    session_rules_vault(&p->o.rules, 1);
    buf_init(&p->o.out, 1 << 16);
    buf_init(&p->in, 1 << 20);
    p->o.s = session_new(&openwire_protocol, &p->o.rules, &owner_ops, &p->o, &p->o.out, 7, refusal, "test-1", p->o.t);
}

void peer_preambled(struct peer *p, const struct session_refusal *refusal)
{
    peer_open(p, refusal, 12);
    build_preamble(12, &p->in);
    peer_give(p);
    peer_expect(p, "WireFormatInfo\nBrokerInfo coffre\n");
}

void peer_connect(struct peer *p)
{
    peer_open(p, NULL, p->version == 0 ? 12 : p->version);
    build_preamble(p->version, &p->in);
    peer_put_r(p, build_connection("C"));
    peer_put(p, build_session("C", 1));
    peer_give(p);
    peer_expect(p, "WireFormatInfo\nBrokerInfo coffre\nResponse 1\n");
    peer_expect_asked(p, "claim by 7 C\n");
}

void peer_consume(struct peer *p, int64_t prefetch)
{
    peer_connect(p);
    peer_send_r(p, build_producer("C", 1, 1, NULL, 0));
    peer_send_r(p, build_consumer("C", 1, 1, build_destination(OPENWIRE_QUEUE, "Event.1.Out"), prefetch));
    peer_expect(p, "Response 3\nResponse 4\n");
    p->o.log[0] = '\0';
}

void peer_close(struct peer *p)
{
    session_free(p->o.s);
    assert_int_equal(p->o.held, 0);
    buf_free(&p->o.out);
    buf_free(&p->in);
}

/* ---- to the session ---------------------------------------------------------------------- */

void peer_put(struct peer *p, struct openwire_object *o)
{
    build_frame(o, p->version, ++p->command, false, &p->in);
}

void peer_put_r(struct peer *p, struct openwire_object *o)
{
    build_frame(o, p->version, ++p->command, true, &p->in);
}

void peer_offer(struct peer *p)
{
    size_t given = 0, used;

    while (given < p->in.len) {
        given = p->in.len - given < p->step ? p->in.len : given + p->step;
        used = session_input(p->o.s, slice_of(buf_slice(&p->in).at, given), p->o.t);
        assert_true(used <= given);
        buf_consume(&p->in, used);
        given -= used;
        if (session_blocked(p->o.s))
            return;
    }
}

void peer_give(struct peer *p)
{
    peer_offer(p);
    assert_int_equal(p->in.len, 0);
}

void peer_send(struct peer *p, struct openwire_object *o)
{
    peer_put(p, o);
    peer_give(p);
}

void peer_send_r(struct peer *p, struct openwire_object *o)
{
    peer_put_r(p, o);
    peer_give(p);
}

/* ---- from the session -------------------------------------------------------------------- */

static void say(const char *fmt, ...) PRINTF_LIKE(1, 2);
static void say(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    length += (size_t)vsnprintf(text + length, sizeof text - length, fmt, ap);
    va_end(ap);
    assert_true(length < sizeof text);
}

static int64_t number(const struct openwire_object *o, unsigned field)
{
    return (int64_t)openwire_get_number(o, field);
}

static void say_throwable(const struct openwire_object *throwable)
{
    assert_non_null(throwable);
    say(" %.*s: %.*s\n", SLICE_ARGS(openwire_get_bytes(throwable, OPENWIRE_THROWABLE_CLASS)),
        SLICE_ARGS(openwire_get_bytes(throwable, OPENWIRE_THROWABLE_MESSAGE)));
}

static void say_properties(struct slice map)
{
    static const char tags[] = "0bBcsilDFtxMLT";
    struct openwire_property p;
    struct openwire_map m;
    struct err e = {0};

    assert_true(openwire_map_open(&m, map, 64, &e));
    while (openwire_map_next(&m, &p, &e))
        if (p.tag == OPENWIRE_TAG_TEXT)
            say(" %.*s=%c:%.*s", SLICE_ARGS(p.name), tags[p.tag], SLICE_ARGS(p.bytes));
        else
            say(" %.*s=%c:%" PRId64, SLICE_ARGS(p.name), tags[p.tag], p.number);
    assert_int_equal(e.code, ERR_NONE);
}

/* Everything a message of ours has; what must be absent or the same everywhere is asserted. */
static void say_message(const struct openwire_object *d, const struct openwire_object *m)
{
    const struct openwire_object *to = openwire_get_object(m, OPENWIRE_MESSAGE_DESTINATION);
    const struct openwire_object *id = openwire_get_object(m, OPENWIRE_MESSAGE_MESSAGE_ID);
    const struct openwire_object *producer = openwire_get_object(id, OPENWIRE_MESSAGE_ID_PRODUCER_ID);
    const struct openwire_object *via = openwire_get_object(d, OPENWIRE_MESSAGE_DISPATCH_DESTINATION);
    static const unsigned null[] = {OPENWIRE_MESSAGE_TRANSACTION_ID, OPENWIRE_MESSAGE_ORIGINAL_DESTINATION, OPENWIRE_MESSAGE_GROUP_ID,
                                    OPENWIRE_MESSAGE_ORIGINAL_TRANSACTION_ID, OPENWIRE_MESSAGE_REPLY_TO, OPENWIRE_MESSAGE_JMS_TYPE,
                                    OPENWIRE_MESSAGE_DATA_STRUCTURE, OPENWIRE_MESSAGE_TARGET_CONSUMER_ID, OPENWIRE_MESSAGE_BROKER_PATH,
                                    OPENWIRE_MESSAGE_USER_ID, OPENWIRE_MESSAGE_CLUSTER};

    for (size_t i = 0; i < sizeof null / sizeof *null; i++)
        assert_false(m->values[null[i]].there);
    assert_int_equal(m->type, OPENWIRE_TEXT_MESSAGE);
    assert_int_equal(via->type, to->type);
    assert_true(slice_equal(openwire_get_bytes(via, 0), openwire_get_bytes(to, 0)));
    assert_true(slice_equal(openwire_get_bytes(openwire_get_object(m, OPENWIRE_MESSAGE_PRODUCER_ID), 0), openwire_get_bytes(producer, 0)));
    assert_int_equal(number(id, OPENWIRE_MESSAGE_ID_BROKER_SEQUENCE_ID), number(id, OPENWIRE_MESSAGE_ID_PRODUCER_SEQUENCE_ID));
    assert_int_equal(number(m, OPENWIRE_MESSAGE_REDELIVERY_COUNTER), number(d, OPENWIRE_MESSAGE_DISPATCH_REDELIVERY_COUNTER));
    assert_int_equal(number(m, OPENWIRE_MESSAGE_PRIORITY), 4);
    assert_int_equal(number(m, OPENWIRE_MESSAGE_EXPIRATION), 0);
    assert_int_equal(number(m, OPENWIRE_MESSAGE_TIMESTAMP), 1700000000000);
    assert_int_equal(number(m, OPENWIRE_MESSAGE_COMPRESSED), 0);
    assert_int_equal(openwire_get_bytes(m, OPENWIRE_MESSAGE_CONTENT).len, 4);
    say("%s %.*s %s%.*s:%" PRId64 ":%" PRId64 "/%" PRId64 " redelivered %" PRId64, to->type == OPENWIRE_QUEUE ? "queue" : "temporary",
        SLICE_ARGS(openwire_get_bytes(to, 0)), number(m, OPENWIRE_MESSAGE_PERSISTENT) ? "" : "not durable ",
        SLICE_ARGS(openwire_get_bytes(producer, 0)), number(producer, OPENWIRE_PRODUCER_ID_SESSION_ID),
        number(producer, OPENWIRE_PRODUCER_ID_VALUE), number(id, OPENWIRE_MESSAGE_ID_BROKER_SEQUENCE_ID),
        number(m, OPENWIRE_MESSAGE_REDELIVERY_COUNTER));
    if (m->values[OPENWIRE_MESSAGE_CORRELATION_ID].there)
        say(" for %.*s", SLICE_ARGS(openwire_get_bytes(m, OPENWIRE_MESSAGE_CORRELATION_ID)));
    say_properties(openwire_get_bytes(m, OPENWIRE_MESSAGE_PROPERTIES));
}

static void say_dispatch(const struct openwire_object *o)
{
    const struct openwire_object *id = openwire_get_object(o, OPENWIRE_MESSAGE_DISPATCH_CONSUMER_ID);
    const struct openwire_object *m = openwire_get_object(o, OPENWIRE_MESSAGE_DISPATCH_MESSAGE);

    say("Dispatch %.*s:%" PRId64 ":%" PRId64 " ", SLICE_ARGS(openwire_get_bytes(id, OPENWIRE_CONSUMER_ID_CONNECTION_ID)),
        number(id, OPENWIRE_CONSUMER_ID_SESSION_ID), number(id, OPENWIRE_CONSUMER_ID_VALUE));
    if (m != NULL)
        say_message(o, m);
    else
        say("nothing%s", o->values[OPENWIRE_MESSAGE_DISPATCH_DESTINATION].there ? " of something" : "");
    say("\n");
}

static void say_frame(const struct openwire_object *o)
{
    const struct openwire_object *id;

    switch (o->type) {
    case OPENWIRE_WIRE_FORMAT_INFO:
        say("WireFormatInfo\n");
        return;
    case OPENWIRE_BROKER_INFO:
        say("BrokerInfo %.*s\n", SLICE_ARGS(openwire_get_bytes(o, OPENWIRE_BROKER_INFO_BROKER_NAME)));
        return;
    case OPENWIRE_RESPONSE:
        say("Response %" PRId64 "\n", number(o, OPENWIRE_RESPONSE_CORRELATION_ID));
        return;
    case OPENWIRE_EXCEPTION_RESPONSE:
        say("Exception %" PRId64, number(o, OPENWIRE_EXCEPTION_RESPONSE_CORRELATION_ID));
        say_throwable(openwire_get_object(o, OPENWIRE_EXCEPTION_RESPONSE_EXCEPTION));
        return;
    case OPENWIRE_CONNECTION_ERROR:
        say("Error");
        say_throwable(openwire_get_object(o, OPENWIRE_CONNECTION_ERROR_EXCEPTION));
        return;
    case OPENWIRE_PRODUCER_ACK:
        id = openwire_get_object(o, OPENWIRE_PRODUCER_ACK_PRODUCER_ID);
        say("ProducerAck %.*s:%" PRId64 ":%" PRId64 " %" PRId64 "\n", SLICE_ARGS(openwire_get_bytes(id, OPENWIRE_PRODUCER_ID_CONNECTION_ID)),
            number(id, OPENWIRE_PRODUCER_ID_SESSION_ID), number(id, OPENWIRE_PRODUCER_ID_VALUE), number(o, OPENWIRE_PRODUCER_ACK_SIZE));
        return;
    case OPENWIRE_KEEP_ALIVE_INFO:
        say("KeepAlive %u%s\n", o->command_id, o->response_required ? " R" : "");
        return;
    case OPENWIRE_MESSAGE_DISPATCH:
        say_dispatch(o);
        return;
    default:
        fail_msg("the session has sent a %s", openwire_row(o->type)->name);
    }
}

const char *peer_said(struct peer *p)
{
    struct slice rest = buf_slice(&p->o.out);
    const struct openwire_object *o;
    struct err e = {0};

    length = 0;
    text[0] = '\0';
    while (rest.len != 0) {
        struct wire_reader r = wire_read(rest);
        uint32_t size = wire_get_u32(&r);

        assert_false(r.short_read);
        assert_true(size <= r.rest.len);
        if (!openwire_read(slice_of(r.rest.at, size), p->version, &arena, &o, &e))
            fail_msg("%s", e.text);
        say_frame(o);
        rest = slice_of(r.rest.at + size, r.rest.len - size);
    }
    p->o.written += p->o.out.len;
    buf_reset(&p->o.out);
    session_written(p->o.s, p->o.written, p->o.t);
    return text;
}

void peer_expect(struct peer *p, const char *said)
{
    assert_string_equal(peer_said(p), said);
}

void peer_expect_asked(struct peer *p, const char *asked)
{
    assert_string_equal(p->o.log, asked);
    p->o.log[0] = '\0';
}

void peer_expect_end(struct peer *p, enum session_end end, const char *reason)
{
    assert_string_equal(session_end_text(session_ended(p->o.s)), session_end_text(end));
    assert_string_equal(session_end_reason(p->o.s), reason);
}

void peer_answer(struct peer *p, uint64_t subscription, uint64_t delivery)
{
    const struct pack_answer a = {.status = PACK_OK, .serial = delivery, .lot = 2, .client_id = SLICE_LITERAL("c"),
                                  .digest = SLICE_LITERAL("d"), .digest_algo = SLICE_LITERAL("SHA-256")};

    session_answer(p->o.s, subscription, delivery, &a, p->o.t);
}

struct openwire_object *peer_consumer(int64_t value, enum openwire_type type, const char *name, int64_t prefetch)
{
    return build_consumer("C", 1, value, build_destination(type, name), prefetch);
}

struct openwire_object *peer_ack(int kind, int64_t first, int64_t last)
{
    return build_ack("C", 1, 1, kind, PEER_SOURCE, first, last);
}

struct openwire_object *peer_ack_in(int64_t transaction, int kind, int64_t first, int64_t last)
{
    struct openwire_object *o = peer_ack(kind, first, last);

    build_object(o, OPENWIRE_MESSAGE_ACK_TRANSACTION_ID, build_transaction_id("C", transaction));
    return o;
}

void peer_consume_answers(struct peer *p, int64_t prefetch, unsigned n)
{
    *p = (struct peer){0};
    peer_consume(p, prefetch);
    for (unsigned i = 1; i <= n; i++)
        peer_answer(p, 1, i);
    peer_said(p);
    peer_expect_asked(p, "");
}

struct openwire_object *peer_message(const char *body, int64_t transaction)
{
    return build_message("C", "Event.1.In", body, transaction);
}

void peer_produce(struct peer *p, int64_t window)
{
    *p = (struct peer){0};
    peer_connect(p);
    peer_send_r(p, build_producer("C", 1, 1, "Event.1.In", window));
    peer_expect(p, "Response 3\n");
}

void peer_give_bytes(struct peer *p, struct slice bytes)
{
    assert_true(buf_add_slice(&p->in, bytes, NULL));
    peer_give(p);
}
