/*
 * Fuzz target: a STOMP session with its parser. The first byte chooses how input is cut; a byte 0xff in the input stands for something
 * the siblings do: confirmations, refusals, deliveries, time. What the session owes its owner must balance at the end.
 */
#include <stdlib.h>

#include "ingest/session/session.h"

struct owner {
    uint64_t tickets, subscriptions;
    int64_t held, subscribed;
    bool full;
};

static void check(bool holds)
{
    if (!holds)
        abort();
}

static bool is_full(void *ctx)
{
    return ((struct owner *)ctx)->full;
}

static bool deposit(void *ctx, const struct pack_deposit *d, size_t kept, uint64_t *ticket, struct err *e)
{
    struct owner *o = ctx;

    (void)kept;
    check(!o->full && d->depositor == 7);
    if (o->tickets % 50 == 49)
        return err_set(e, ERR_RETRY, "no room");
    *ticket = ++o->tickets;
    return true;
}

static bool deposit_all(void *ctx, struct slice records, size_t kept, uint64_t *ticket, struct err *e)
{
    struct wire_reader r = wire_read(records);
    struct pack_deposit d;
    struct slice record;

    while (pack_next(&r, &record))
        check(pack_get_deposit(record, &d, e));
    check(wire_end(&r, "records", e));
    d = (struct pack_deposit){.depositor = 7};
    return deposit(ctx, &d, kept, ticket, e);
}

static bool hold(void *ctx, int64_t bytes)
{
    struct owner *o = ctx;

    if (bytes > 0 && o->held + bytes > 3000)
        return false;
    o->held += bytes;
    check(o->held >= 0);
    return true;
}

static bool subscribe(void *ctx, uint32_t depositor, enum session_queue queue, struct slice name, uint32_t credit,
                      uint64_t *subscription, struct err *e)
{
    struct owner *o = ctx;

    check(depositor == 7 && credit != 0 && name.len == 0 && queue != SESSION_REPLIES);
    if (o->subscriptions == 20)
        return err_set(e, ERR_RETRY, "no room");
    *subscription = ++o->subscriptions;
    o->subscribed++;
    return true;
}

static void unsubscribe(void *ctx, uint64_t subscription)
{
    struct owner *o = ctx;

    check(subscription != 0 && subscription <= o->subscriptions);
    o->subscribed--;
}

static void settle(void *ctx, uint64_t subscription, uint64_t delivery, enum session_outcome outcome, bool credit)
{
    (void)outcome;
    (void)credit;
    check(subscription <= ((struct owner *)ctx)->subscriptions && delivery != 0);
}

static const struct session_ops ops = {.full = is_full, .deposit = deposit, .deposit_all = deposit_all, .hold = hold,
                                       .subscribe = subscribe, .unsubscribe = unsubscribe, .settle = settle};

/* What siblings do, chosen by a byte. */
static void act(struct session *s, struct owner *o, struct buf *out, struct session_time *t, uint64_t *written, uint8_t what)
{
    static const struct pack_answer answer = {.status = PACK_INVALID, .client_id = {(const uint8_t *)"c:\n", 3}};
    static const struct pack_archive archive = {1, 2, 3, 4};
    uint64_t n = what >> 4;

    switch (what & 15) {
    case 0:
        session_confirmed(s, n);
        break;
    case 1:
        session_refused(s, n, "gone");
        break;
    case 2:
        session_answer(s, n, o->tickets + 1, &answer, *t);
        break;
    case 3:
        session_archive(s, n, 1, (unsigned)n & 1, &archive, *t);
        break;
    case 4:
        t->now += n * 1000;
        session_tick(s, *t, 100);
        break;
    case 5:
        *written += out->len;
        buf_reset(out);
        session_written(s, *written, *t);
        break;
    case 6:
        o->full = !o->full;
        break;
    case 7:
        session_resubscribe(s);
        break;
    case 8:
        session_drain(s);
        break;
    case 9:
        session_trim(s);
        break;
    case 10:
        session_stalled(s, "no room");
        break;
    case 12:
        session_fail(s, SESSION_UNAVAILABLE, "away");
        break;
    case 11:
        for (uint64_t i = 1; i <= o->tickets; i++)
            session_confirmed(s, i);
        break;
    default:
        session_heard(s, *t);
    }
}

/* Gives a stretch of input in pieces, keeping what is not taken. */
static void give(struct session *s, struct buf *in, struct slice bytes, size_t step, struct session_time t)
{
    for (size_t at = 0; at < bytes.len; at += step) {
        size_t n = bytes.len - at < step ? bytes.len - at : step, used;

        check(buf_add(in, bytes.at + at, n, NULL));
        used = session_input(s, buf_slice(in), t);
        check(used <= in->len);
        buf_consume(in, used);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct session_rules rules = {.frame = {16, 512, 1000}, .transaction_bytes = 2000, .transactions = 2, .subscriptions = 3,
                                  .heartbeat_min = 100, .frame_time = 10000};
    const struct session_refusal no = {SESSION_DENIED, "no"};
    struct session_time t = {1, 1};
    struct owner o = {0};
    struct buf in, out;
    struct session *s;
    uint64_t written = 0;
    size_t step;

    if (size < 2)
        return 0;
    session_rules_vault(&rules, 1);
    buf_init(&in, 1 << 20);
    buf_init(&out, 4096);
    step = data[0] % 64 + 1u;
    s = session_new(&stomp_protocol, &rules, &ops, &o, &out, 7, data[0] == 255 ? &no : NULL, "fuzz", t);
    data++;
    size--;
    while (size != 0) {
        const uint8_t *mark = memchr(data, 0xff, size);
        size_t n = mark == NULL ? size : (size_t)(mark - data);

        give(s, &in, slice_of(data, n), step, t);
        data += n;
        size -= n;
        if (size >= 2)
            act(s, &o, &out, &t, &written, data[1]);
        n = size < 2 ? size : 2;
        data += n;
        size -= n;
        check(session_ended(s) == SESSION_OPEN || o.subscribed == 0);
    }
    session_free(s);
    check(o.held == 0 && o.subscribed == 0);
    buf_free(&in);
    buf_free(&out);
    return 0;
}
