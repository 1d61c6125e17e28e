/* See session_owner.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/session_owner.h"

void owner_note(struct owner *o, const char *fmt, ...)
{
    size_t len = strlen(o->log);
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(o->log + len, sizeof o->log - len, fmt, ap);
    va_end(ap);
}

static bool is_full(void *ctx)
{
    return ((struct owner *)ctx)->full;
}

static bool deposit(void *ctx, const struct pack_deposit *d, size_t kept, uint64_t *ticket, struct err *e)
{
    struct owner *o = ctx;

    o->kept += kept;
    if (o->refuses)
        return err_set(e, ERR_RETRY, "no room");
    *ticket = ++o->next_ticket;
    owner_note(o, "deposit %llu by %u %.*s %.*s %.*s", (unsigned long long)*ticket, d->depositor, SLICE_ARGS(d->client_id),
         SLICE_ARGS(d->digest), SLICE_ARGS(d->digest_algo));
    if (d->has_timestamp)
        owner_note(o, " at %llu", (unsigned long long)d->timestamp);
    if (d->asks_reply)
        owner_note(o, " reply to %.*s for %.*s", SLICE_ARGS(d->reply), SLICE_ARGS(d->correlation));
    owner_note(o, "%s: %.*s\n", d->bytes_message ? " bytes" : "", SLICE_ARGS(d->body));
    return true;
}

static bool deposit_all(void *ctx, struct slice records, size_t kept, uint64_t *ticket, struct err *e)
{
    struct owner *o = ctx;
    struct wire_reader r = wire_read(records);
    struct slice record;

    o->kept += kept;
    if (o->refuses)
        return err_set(e, ERR_RETRY, "no room");
    *ticket = ++o->next_ticket;
    owner_note(o, "all %llu", (unsigned long long)*ticket);
    while (pack_next(&r, &record)) {
        struct pack_deposit d;

        assert_true(pack_get_deposit(record, &d, e));
        owner_note(o, " %.*s", SLICE_ARGS(d.body));
    }
    assert_true(wire_end(&r, "records", e));
    owner_note(o, "\n");
    return true;
}

static bool hold(void *ctx, int64_t bytes)
{
    struct owner *o = ctx;

    if (bytes > 0 && o->held + bytes > o->held_max)
        return false;
    o->held += bytes;
    return true;
}

static bool subscribe(void *ctx, uint32_t depositor, enum session_queue queue, struct slice name, uint32_t credit,
                      uint64_t *subscription, struct err *e)
{
    struct owner *o = ctx;

    if (o->refuses)
        return err_set(e, ERR_RETRY, "no room");
    *subscription = ++o->next_subscription;
    owner_note(o, "subscribe %llu depositor %u queue %d%s%.*s credit %u\n", (unsigned long long)*subscription, depositor, (int)queue,
               name.len != 0 ? " " : "", SLICE_ARGS(name), credit);
    return true;
}

static void unsubscribe(void *ctx, uint64_t subscription)
{
    owner_note(ctx, "unsubscribe %llu\n", (unsigned long long)subscription);
}

static void settle(void *ctx, uint64_t subscription, uint64_t delivery, enum session_outcome outcome, bool credit)
{
    static const char *const words[] = {[SESSION_DONE] = "ack", [SESSION_REJECTED] = "release", [SESSION_UNSEEN] = "unseen"};

    owner_note(ctx, "%s %llu %llu%s\n", words[outcome], (unsigned long long)subscription, (unsigned long long)delivery,
               credit ? "" : " no credit");
}

static void credit(void *ctx, uint64_t subscription, int32_t change)
{
    owner_note(ctx, "credit %llu %+d\n", (unsigned long long)subscription, (int)change);
}

static void claim(void *ctx, uint32_t depositor, struct slice name)
{
    owner_note(ctx, "claim by %u %.*s\n", depositor, SLICE_ARGS(name));
}

static void unclaim(void *ctx)
{
    owner_note(ctx, "unclaim\n");
}

const struct session_ops owner_ops = {is_full, deposit, deposit_all, hold, subscribe, unsubscribe, settle, credit, claim, unclaim};
