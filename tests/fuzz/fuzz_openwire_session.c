/*
 * Fuzz target: an OpenWire session with its codec. The input is a program: the first byte chooses how input is cut, then each step is a kind and
 * what it takes: a frame (its size is put before it here), bytes as they are, a command made of small ids, or something the siblings do. The
 * owner is a model of deliver and relay: what it has promised and been told must fit at every step, and balance at the end.
 */
#include <stdio.h>
#include <stdlib.h>

#include "ingest/openwire/openwire_session.h"
#include "tests/openwire/build.h"

enum { SUBSCRIPTIONS = 40, DELIVERIES = 400, TICKETS = 600, COMMANDS = 4096 };
enum step { STEP_FRAME, STEP_BYTES, STEP_COMMAND, STEP_EVENT, STEPS };

struct model {
    struct session *s;
    struct buf in, out;
    struct session_time t;
    size_t cut;
    unsigned version;
    uint32_t command;
    uint64_t written;
    uint64_t sequence; /* of messages seen */
    int64_t held;
    bool full;
    struct {
        bool open;
        bool inexact;   /* more was taken away than there was: what comes nevertheless is given back */
        int64_t credit; /* may still be delivered */
        enum session_queue queue;
    } subscriptions[SUBSCRIPTIONS + 1];
    uint64_t subscription_count;
    struct {
        uint64_t subscription;
        bool out;
    } deliveries[DELIVERIES + 1];
    uint64_t delivery_count;
    struct {
        bool settled;
    } tickets[TICKETS + 1];
    uint64_t ticket_count;
    bool awaited[COMMANDS]; /* a Response to this command must not come yet */
    uint32_t in_ticket[TICKETS + 1];
    uint32_t giving;        /* the command being given, if it is one that deposits for itself */
    bool claimed;
};

static struct model m;

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* ---- owner ------------------------------------------------------------------------------- */

static bool is_full(void *ctx)
{
    (void)ctx;
    return m.full;
}

static bool deposit(void *ctx, const struct pack_deposit *d, size_t kept, uint64_t *ticket, struct err *e)
{
    (void)ctx;
    check(!m.full && d->depositor == 7 && kept <= 64);
    check(d->body.len <= 1000 && d->reply.len <= SESSION_NAME_MAX && (d->asks_reply || d->correlation.len == 0));
    if (m.ticket_count % 50 == 49 || m.ticket_count == TICKETS)
        return err_set(e, ERR_RETRY, "no room");
    *ticket = ++m.ticket_count;
    m.tickets[*ticket].settled = false;
    m.in_ticket[*ticket] = m.giving;
    if (m.giving != 0)
        m.awaited[m.giving] = true;
    return true;
}

static bool deposit_all(void *ctx, struct slice records, size_t kept, uint64_t *ticket, struct err *e)
{
    struct wire_reader r = wire_read(records);
    struct pack_deposit d;
    struct slice record;

    while (pack_next(&r, &record))
        check(pack_get_deposit(record, &d, e));
    check(wire_end(&r, "records", e) && records.len != 0 && records.len <= 2000);
    d = (struct pack_deposit){.depositor = 7};
    return deposit(ctx, &d, kept, ticket, e);
}

static bool hold(void *ctx, int64_t bytes)
{
    (void)ctx;
    if (bytes > 0 && m.held + bytes > 3000)
        return false;
    m.held += bytes;
    check(m.held >= 0);
    return true;
}

static bool subscribe(void *ctx, uint32_t depositor, enum session_queue queue, struct slice name, uint32_t credit,
                      uint64_t *subscription, struct err *e)
{
    (void)ctx;
    check(depositor == 7 && (name.len == 0) == (queue != SESSION_REPLIES) && name.len <= SESSION_NAME_MAX && credit <= 32766);
    if (m.subscription_count == SUBSCRIPTIONS)
        return err_set(e, ERR_RETRY, "no room");
    *subscription = ++m.subscription_count;
    m.subscriptions[*subscription].open = true;
    m.subscriptions[*subscription].credit = credit;
    m.subscriptions[*subscription].queue = queue;
    return true;
}

static void unsubscribe(void *ctx, uint64_t subscription)
{
    (void)ctx;
    check(subscription != 0 && subscription <= m.subscription_count && m.subscriptions[subscription].open);
    m.subscriptions[subscription].open = false;
    for (uint64_t i = 1; i <= m.delivery_count; i++)
        if (m.deliveries[i].subscription == subscription)
            m.deliveries[i].out = false;
}

static void settle(void *ctx, uint64_t subscription, uint64_t delivery, enum session_outcome outcome, bool credit)
{
    (void)ctx;
    check(subscription <= m.subscription_count && m.subscriptions[subscription].open);
    check(delivery != 0 && delivery <= m.delivery_count && m.deliveries[delivery].out &&
          m.deliveries[delivery].subscription == subscription);
    check(outcome == SESSION_DONE || (outcome == SESSION_UNSEEN && !credit));
    m.deliveries[delivery].out = false;
    m.subscriptions[subscription].credit += credit;
}

static void credit(void *ctx, uint64_t subscription, int32_t change)
{
    int64_t *now = &m.subscriptions[subscription].credit;

    (void)ctx;
    check(subscription != 0 && subscription <= m.subscription_count && m.subscriptions[subscription].open && change != 0);
    m.subscriptions[subscription].inexact |= *now + change < 0;
    *now = *now + change < 0 ? 0 : *now + change;
}

static void claim(void *ctx, uint32_t depositor, struct slice name)
{
    (void)ctx;
    check(depositor == 7 && name.len != 0 && name.len <= SESSION_NAME_MAX);
    m.claimed = true;
}

static void unclaim(void *ctx)
{
    (void)ctx;
    check(m.claimed);
    m.claimed = false;
}

static const struct session_ops ops = {is_full, deposit, deposit_all, hold, subscribe, unsubscribe, settle, credit, claim, unclaim};

/* ---- what it says ------------------------------------------------------------------------ */

static bool is_printable(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.at[i] < ' ' || s.at[i] >= 0x7f)
            return false;
    return true;
}

static void check_throwable(const struct openwire_object *o)
{
    check(o != NULL && openwire_get_bytes(o, OPENWIRE_THROWABLE_CLASS).len != 0 && openwire_get_bytes(o, OPENWIRE_THROWABLE_MESSAGE).len > 8 &&
          is_printable(openwire_get_bytes(o, OPENWIRE_THROWABLE_MESSAGE)));
}

static void check_message(const struct openwire_object *message)
{
    const struct openwire_object *id = openwire_get_object(message, OPENWIRE_MESSAGE_MESSAGE_ID);
    struct openwire_property p;
    struct openwire_map map;
    struct err e = {0};

    /* Ids are never used twice. */
    check(openwire_get_number(id, OPENWIRE_MESSAGE_ID_PRODUCER_SEQUENCE_ID) == ++m.sequence);
    check(openwire_map_open(&map, openwire_get_bytes(message, OPENWIRE_MESSAGE_PROPERTIES), 10, &e));
    while (openwire_map_next(&map, &p, &e))
        ;
    check(e.code == ERR_NONE);
}

static void check_frame(const struct openwire_object *o)
{
    uint64_t command;

    check(!o->response_required);
    switch (o->type) {
    case OPENWIRE_RESPONSE:
        command = openwire_get_number(o, OPENWIRE_RESPONSE_CORRELATION_ID);
        check(command >= COMMANDS || !m.awaited[command]);
        break;
    case OPENWIRE_EXCEPTION_RESPONSE:
        check_throwable(openwire_get_object(o, OPENWIRE_EXCEPTION_RESPONSE_EXCEPTION));
        break;
    case OPENWIRE_CONNECTION_ERROR:
        check_throwable(openwire_get_object(o, OPENWIRE_CONNECTION_ERROR_EXCEPTION));
        break;
    case OPENWIRE_MESSAGE_DISPATCH:
        if (o->values[OPENWIRE_MESSAGE_DISPATCH_MESSAGE].there)
            check_message(openwire_get_object(o, OPENWIRE_MESSAGE_DISPATCH_MESSAGE));
        break;
    default:
        check(o->type == OPENWIRE_WIRE_FORMAT_INFO || o->type == OPENWIRE_BROKER_INFO || o->type == OPENWIRE_KEEP_ALIVE_INFO ||
              o->type == OPENWIRE_PRODUCER_ACK);
    }
}

/* All output is whole frames, after each step; reading it is not writing it: it stays until the peer reads. */
static void check_output(size_t from)
{
    static struct openwire_arena arena;
    struct slice rest = slice_of(m.out.len == from ? NULL : buf_slice(&m.out).at + from, m.out.len - from);

    while (rest.len != 0) {
        struct wire_reader r = wire_read(rest);
        const struct openwire_object *o;
        struct err e = {0};
        uint32_t size = wire_get_u32(&r);

        check(!r.short_read && size <= r.rest.len);
        check(openwire_read(slice_of(r.rest.at, size), openwire_self(m.s)->format.version, &arena, &o, &e));
        check_frame(o);
        rest = slice_of(r.rest.at + size, r.rest.len - size);
    }
}

/* ---- steps ------------------------------------------------------------------------------- */

static void give(void)
{
    size_t given = 0;

    while (given < m.in.len) {
        size_t used;

        given = m.in.len - given < m.cut ? m.in.len : given + m.cut;
        used = session_input(m.s, slice_of(buf_slice(&m.in).at, given), m.t);
        check(used <= given);
        check(session_ended(m.s) == SESSION_OPEN || used == given);
        buf_consume(&m.in, used);
        given -= used;
        if (session_blocked(m.s)) {
            check(m.full && session_ended(m.s) == SESSION_OPEN);
            return;
        }
    }
}

static struct openwire_object *some_destination(unsigned n)
{
    static const char *const names[] = {"Event.1.In", "Event.1.Out", "Archive.1.Out", "ActiveMQ.Advisory.TempQueue", "Event.>", "C:1", "C:2", "D:1"};

    switch (n % 8) {
    case 3:
        return build_destination(OPENWIRE_TOPIC, names[3]);
    case 5:
    case 6:
    case 7:
        return build_destination(OPENWIRE_TEMP_QUEUE, names[n % 8]);
    default:
        return build_destination(OPENWIRE_QUEUE, names[n % 8]);
    }
}

static const char *whose(unsigned n)
{
    return n % 16 == 15 ? "D" : "C";
}

static struct openwire_object *some_message(unsigned a, unsigned b, unsigned c)
{
    struct openwire_object *o = build_message(whose(a), "Event.1.In", "<e/>", b % 4);

    if (b % 8 == 4)
        build_object(o, OPENWIRE_MESSAGE_DESTINATION, some_destination(c));
    if (b & 16)
        build_object(o, OPENWIRE_MESSAGE_REPLY_TO, some_destination(c));
    if (b & 32)
        build_content(o, "<compressed/>", true);
    if (b & 64)
        build_text(o, OPENWIRE_MESSAGE_CORRELATION_ID, "correlation");
    build_object(o, OPENWIRE_MESSAGE_PRODUCER_ID, build_producer_id(whose(a), 1 + (a >> 4) % 2, 1 + (a >> 5) % 2));
    return o;
}

static struct openwire_object *some_removal(unsigned a, unsigned b, unsigned c)
{
    switch (b % 8) {
    case 0:
        return build_remove(build_connection_id(whose(a)), (int8_t)c);
    case 1:
        return build_remove(build_session_id(whose(a), a % 3), (int8_t)c);
    case 2:
        return build_remove(build_producer_id(whose(a), 1 + a % 2, 1), -2);
    default:
        return build_remove(build_consumer_id(whose(a), 1 + a % 2, 1 + (a >> 1) % 3), (int8_t)c);
    }
}

/* A well-formed command of few ids, so that they meet. */
static struct openwire_object *some_command(unsigned what, unsigned a, unsigned b, unsigned c)
{
    struct openwire_object *o;

    switch (what % 16) {
    case 0:
        o = build_connection(whose(a));
        build_number(o, OPENWIRE_CONNECTION_INFO_FAULT_TOLERANT, b & 1);
        return o;
    case 1:
        return build_session(whose(a), 1 + a % 2);
    case 2:
        return build_producer(whose(a), 1 + (a >> 4) % 2, 1 + (a >> 5) % 2, b & 1 ? "Event.1.In" : NULL, b & 2 ? 5000 : 0);
    case 3:
        return build_consumer(whose(a), 1 + a % 2, 1 + (a >> 1) % 3, some_destination(b), c % 4 == 0 ? 0 : c % 4 == 1 ? 1 : c);
    case 4:
        return build_transaction(whose(a), 1 + a % 3, b % 8);
    case 5:
        return build_temporary("C", c % 8 == 7 ? "D:1" : c % 2 == 0 ? "C:1" : "C:2", b % 4 == 3);
    case 6:
        return some_removal(a, b, c);
    case 7:
        return build_pull(whose(a), 1 + a % 2, 1 + (a >> 1) % 3, (int8_t)b);
    case 8:
        o = build(OPENWIRE_CONSUMER_CONTROL);
        build_object(o, OPENWIRE_CONSUMER_CONTROL_CONSUMER_ID, build_consumer_id(whose(a), 1 + a % 2, 1 + (a >> 1) % 3));
        build_number(o, OPENWIRE_CONSUMER_CONTROL_PREFETCH, (int8_t)b);
        return o;
    case 9:
    case 10:
        o = build_ack(whose(a), 1 + a % 2, 1 + (a >> 1) % 3, b % 8, c == 255 ? "x" : "ID:coffre-i-fuzz", c % 16 > m.sequence ? 0 : (int64_t)m.sequence - c % 16,
                      c >> 4 > m.sequence ? 0 : (int64_t)m.sequence - (c >> 4));
        if (b >> 4 < 3)
            build_object(o, OPENWIRE_MESSAGE_ACK_TRANSACTION_ID, build_transaction_id("C", 1 + (b >> 4)));
        return o;
    case 11:
        return build(OPENWIRE_KEEP_ALIVE_INFO);
    case 12:
        if (a % 16 == 0)
            return build(OPENWIRE_SHUTDOWN_INFO);
        return build((enum openwire_type)(a % 35 < 2 || a % 35 == 13 || a % 35 == 29 || openwire_row(a % 35)->name == NULL ? OPENWIRE_FLUSH_COMMAND : a % 35));
    default:
        return some_message(a, b, c);
    }
}

static void give_command(const uint8_t *d)
{
    if (m.command == COMMANDS - 1 || m.in.len != 0)
        return; /* what is not taken comes first */
    /* A deposit of its own, or a commit: answered when confirmed. Within a transaction: at once. */
    m.giving = ++m.command;
    build_frame(some_command(d[0], d[1], d[2], d[3]), m.version, m.command, d[0] & 128, &m.in);
    give();
    if (m.in.len == 0)
        m.giving = 0;
}

static void deliver(uint64_t subscription, unsigned kind)
{
    static const struct pack_answer answer = {.status = PACK_INVALID, .client_id = {(const uint8_t *)"c:\n\0\xf0\x9f\x98\x80", 8},
                                              .has_correlation = true, .correlation = {(const uint8_t *)"k", 1}};
    static const struct pack_archive archive = {1, 2, 3, 4};

    if (subscription == 0 || subscription > m.subscription_count || !m.subscriptions[subscription].open ||
        m.subscriptions[subscription].credit == 0 || m.delivery_count == DELIVERIES)
        return;
    m.subscriptions[subscription].credit--;
    m.delivery_count++;
    m.deliveries[m.delivery_count].subscription = subscription;
    m.deliveries[m.delivery_count].out = true;
    if (m.subscriptions[subscription].queue == SESSION_ARCHIVES)
        session_archive(m.s, subscription, m.delivery_count, kind, &archive, m.t);
    else
        session_answer(m.s, subscription, m.delivery_count, &answer, m.t);
}

static void resolve(uint64_t ticket, bool confirmed)
{
    if (ticket == 0 || ticket > m.ticket_count || m.tickets[ticket].settled)
        return;
    m.tickets[ticket].settled = true;
    m.awaited[m.in_ticket[ticket]] = false;
    if (confirmed)
        session_confirmed(m.s, ticket);
    else
        session_refused(m.s, ticket, "gone");
}

static void written(void)
{
    m.written += m.out.len;
    buf_reset(&m.out);
    session_written(m.s, m.written, m.t);
}

/* What siblings, the network and time do. */
static void act(uint8_t what)
{
    unsigned n = what >> 4;

    switch (what & 15) {
    case 0:
        resolve(m.ticket_count - n, true);
        break;
    case 1:
        resolve(m.ticket_count - n, false);
        break;
    case 2:
    case 3:
    case 4:
        deliver(m.subscription_count - n, n);
        break;
    case 5:
        m.t.now += n * 20;
        session_tick(m.s, m.t, 100);
        break;
    case 6:
        m.t.now += n * 3000;
        session_tick(m.s, m.t, 100);
        break;
    case 7:
        m.full = !m.full;
        give();
        break;
    case 8:
        session_subscribed(m.s, m.subscription_count - n);
        break;
    case 9:
        session_not_subscribed(m.s, m.subscription_count - n, "a limit");
        break;
    case 10:
        session_stalled(m.s, "no room");
        give();
        break;
    case 11:
        for (uint64_t i = 1; i <= m.ticket_count; i++)
            resolve(i, true);
        break;
    case 12:
        session_trim(m.s);
        break;
    case 13:
        if (n == 0)
            session_drain(m.s);
        else if (n == 1)
            session_taken(m.s);
        else if (n == 2)
            session_fail(m.s, SESSION_UNAVAILABLE, "it is away");
        else if (n < 6)
            session_resubscribe(m.s);
        else if (n == 6)
            m.out.max = m.out.len + 40; /* a peer that leaves no room */
        break;
    case 14:
        for (unsigned i = 0; i < n; i++)
            deliver(m.subscription_count, n);
        break;
    default:
        written();
    }
}

/* One step; returns its bytes, 0: none is left. */
static size_t step(const uint8_t *data, size_t size)
{
    uint8_t head[4] = {0, 0, 0, 0};
    size_t len;

    if (size < 2)
        return 0;
    switch (data[0] % STEPS) {
    case STEP_FRAME:
    case STEP_BYTES:
        if (size < 3)
            return 0;
        len = (size_t)data[1] << 8 | data[2];
        len = len < size - 3 ? len : size - 3;
        head[2] = (uint8_t)(len >> 8);
        head[3] = (uint8_t)len;
        m.giving = 0;
        check((data[0] % STEPS == STEP_BYTES || buf_add(&m.in, head, sizeof head, NULL)) && buf_add(&m.in, data + 3, len, NULL));
        give();
        return 3 + len;
    case STEP_COMMAND:
        if (size < 5)
            return 0;
        give_command(data + 1);
        return 5;
    default:
        act(data[1]);
        return 2;
    }
}

/* What is out, what may come, and what was given back for want of room make up what the peer has asked for, at any time. */
static void check_credit(const struct subscription *sub)
{
    check(sub->granted <= sub->count && sub->key != 0 && m.subscriptions[sub->key].open);
    for (size_t i = 0; i < sub->count; i++) {
        check(deliveries_nth(sub, i)->credited == (i < sub->granted) && m.deliveries[deliveries_nth(sub, i)->delivery].out);
        check(i == 0 || deliveries_nth(sub, i)->n > deliveries_nth(sub, i - 1)->n);
    }
    if (!m.subscriptions[sub->key].inexact)
        check((size_t)m.subscriptions[sub->key].credit + sub->count - sub->granted + sub->starved == sub->credit);
}

static void check_state(void)
{
    if (session_ended(m.s) == SESSION_OPEN) {
        for (unsigned i = 0; i < m.s->subscription_count; i++)
            check_credit(m.s->subscriptions[i]);
        return;
    }
    for (uint64_t i = 1; i <= m.subscription_count; i++)
        check(!m.subscriptions[i].open);
    check(is_printable(slice_text(session_end_reason(m.s))));
}

/* ---- mutation ---------------------------------------------------------------------------- */

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed);

static size_t step_length(const uint8_t *data, size_t size)
{
    size_t len;

    if (size < 3)
        return size;
    len = data[0] % STEPS == STEP_COMMAND ? 5 : data[0] % STEPS == STEP_EVENT ? 2 : 3 + ((size_t)data[1] << 8 | data[2]);
    return len < size ? len : size;
}

/* Whole steps come and go; the content of one changes as bytes do. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
    uint8_t bytes[5] = {(uint8_t)(seed >> 8 & 1 ? STEP_COMMAND : STEP_EVENT), (uint8_t)(seed >> 9), (uint8_t)(seed >> 17), (uint8_t)(seed * 7 >> 20),
                        (uint8_t)(seed * 31 >> 22)};
    size_t at = 2, len = 0, n, place;

    if (size < 8 || seed % 8 == 0)
        return LLVMFuzzerMutate(data, size, max);
    place = 2 + (seed >> 5) % (size - 2);
    while (at < size && at + (len = step_length(data + at, size - at)) <= place)
        at += len;
    if (seed % 8 < 4) { /* one more */
        n = bytes[0] == STEP_COMMAND ? 5 : 2;
        if (size + n > max)
            return size;
        memmove(data + at + n, data + at, size - at);
        memcpy(data + at, bytes, n);
        return size + n;
    }
    if (seed % 8 == 4) { /* one less */
        memmove(data + at, data + at + len, size - at - len);
        return size - len;
    }
    if (seed % 8 == 5 && size + len <= max) { /* one twice */
        memmove(data + at + len, data + at, size - at);
        return size + len;
    }
    if (len > 3 && data[at] % STEPS <= STEP_BYTES) /* another of the same length, so that the rest stays what it was */
        LLVMFuzzerMutate(data + at + 3, len - 3, len - 3);
    else if (len > 1)
        LLVMFuzzerMutate(data + at + 1, len - 1, len - 1);
    return size;
}

/* ---- a run ------------------------------------------------------------------------------- */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct session_rules rules = {.frame = {16, 512, 1000}, .instance = "i", .transaction_bytes = 2000, .transactions = 2, .subscriptions = 6,
                                  .inactivity = 30000, .frame_time = 10000};
    const struct session_refusal no = {SESSION_DENIED, "it is denied"};
    size_t n = 0;

    if (size < 2)
        return 0;
    m = (struct model){.t = {1, 1}, .cut = data[0] % 64 == 0 ? SIZE_MAX : data[0] % 64, .version = 12 - (data[1] & 7)};
    session_rules_vault(&rules, 1);
    buf_init(&m.in, 1 << 20);
    buf_init(&m.out, 1 << 16);
    m.s = session_new(&openwire_protocol, &rules, &ops, &m, &m.out, 7, data[0] == 255 ? &no : NULL, "fuzz", m.t);
    if (data[1] & 8) { /* begins as clients do, so that what comes next gets somewhere */
        build_preamble(m.version, &m.in);
        if (data[1] & 16) {
            build_frame(build_connection("C"), m.version, ++m.command, true, &m.in);
            build_frame(build_session("C", 1), m.version, ++m.command, true, &m.in);
            build_frame(build_producer("C", 1, 1, NULL, data[1] & 32 ? 5000 : 0), m.version, ++m.command, true, &m.in);
            build_frame(build_consumer("C", 1, 1, some_destination(1), data[1] & 64 ? 0 : 5), m.version, ++m.command, true, &m.in);
        }
        give();
        check_output(0);
    }
    for (size_t at = 2; at < size; at += n) {
        size_t before = m.out.len;

        n = step(data + at, size - at);
        if (n == 0)
            break;
        if (m.out.len >= before)
            check_output(before);
        check_state();
    }
    session_free(m.s);
    check(m.held == 0);
    for (uint64_t i = 1; i <= m.subscription_count; i++)
        check(!m.subscriptions[i].open);
    buf_free(&m.in);
    buf_free(&m.out);
    return 0;
}
