/*
 * Role inspect: judges deposits for the ledger (PROTOCOL.md, "Channels of coffre-ingest"). Strangers' bytes are parsed
 * here and nowhere else behind the front: no key, no database, no network, no file; schemas come as bytes from the role
 * that reads them. Siblings' messages are checked all the same.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <libxml/parser.h>

#include "common/values/log.h"
#include "common/values/wire.h"
#include "ingest/ledger/allowance.h"
#include "ingest/ledger/schema_set.h"
#include "ingest/roles.h"

enum {
    IDLE_MS = 1000,
    MESSAGE_US = 1000 * 1000,      /* of one message's events beyond their shares, whoever they are of: the ledger waits for the answer … */
    MESSAGE_WALL_US = 4000 * 1000, /* … and the machine may be busy */
};

struct inspect {
    struct role *self;
    struct channel *ledger;        /* owned; NULL: not linked */
    struct channel *schemas;       /* owned; NULL: not linked */
    struct event_checker *checker; /* owned */
    struct buf verdicts;           /* the answer being written */
    struct buf taken;              /* the schemas in force, as they came: for a role schemas that has forgotten them */
    uint64_t checked, refused, fits[EVENT_FIT_KINDS];
    struct allowance allowance;    /* of each depositor, for comparing with schemas */
    uint64_t message_us, message_at; /* left of MESSAGE_US; when it came */
    struct {
        uint64_t used_us, at_us; /* processor time at which it is over; not before this moment can it be */
    } until;
    bool compares; /* there are schemas */
    bool equipped; /* has the schemas that the configuration names, or it names none */
    bool draining; /* leave once the ledger has */
};

static uint64_t clock_us(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* Processor time is what counts, on a busy machine too; asking for it costs, and it goes by no faster than the other. */
static bool in_time(void *ctx)
{
    struct inspect *i = ctx;
    uint64_t now = clock_us(CLOCK_MONOTONIC), used;

    if (now < i->until.at_us)
        return true;
    used = clock_us(CLOCK_THREAD_CPUTIME_ID);
    if (used >= i->until.used_us)
        return false;
    i->until.at_us = now + (i->until.used_us - used);
    return true;
}

/* Comparing with a schema may take long, by accident or not: within what its depositor may use. */
static bool judge(struct inspect *i, const struct pack_deposit *d, bool plain, struct event_verdict *v, struct err *e)
{
    uint64_t now, began, limit, beyond;

    if (!i->compares)
        return event_check(i->checker, d, v, e);
    now = clock_us(CLOCK_MONOTONIC);
    began = clock_us(CLOCK_THREAD_CPUTIME_ID);
    if (now - i->message_at > MESSAGE_WALL_US)
        i->message_us = 0;
    limit = allowance_for(&i->allowance, d->depositor, d->body.len, i->message_us, now);
    event_checker_spare_schemas(i->checker, plain || limit == 0);
    i->until.at_us = now + limit;
    i->until.used_us = began + limit;
    if (!event_check(i->checker, d, v, e))
        return false;
    beyond = allowance_spend(&i->allowance, d->depositor, d->body.len, clock_us(CLOCK_THREAD_CPUTIME_ID) - began, now);
    i->message_us -= beyond < i->message_us ? beyond : i->message_us;
    return true;
}

static void put_verdict(struct wire_writer *w, const struct event_verdict *v)
{
    wire_put_u8(w, v->valid ? 0 : 1);
    wire_put_u32(w, v->placeholder);
    wire_put_text(w, slice_text(v->type));
    wire_put_text(w, slice_text(v->valid ? v->remark : v->reason));
}

/* Judges the records of one CHECK message into i->verdicts. */
static bool judge_all(struct inspect *i, struct slice body, bool plain, struct err *e)
{
    struct wire_reader r = wire_read(body);
    struct wire_writer w = wire_write(&i->verdicts);
    uint32_t count = wire_get_u32(&r), n = 0;
    struct slice record;

    i->message_us = MESSAGE_US;
    i->message_at = clock_us(CLOCK_MONOTONIC);
    buf_reset(&i->verdicts);
    wire_put_u32(&w, count);
    for (; pack_next(&r, &record); n++) {
        struct pack_deposit d;
        struct event_verdict v;

        if (!pack_get_deposit(record, &d, e) || !judge(i, &d, plain, &v, e))
            return false;
        put_verdict(&w, &v);
        i->refused += v.valid ? 0 : 1;
        i->fits[v.fit]++;
    }
    i->checked += n;
    if (!wire_end(&r, "CHECK", e))
        return false;
    if (n != count)
        return err_set(e, ERR_INPUT, "CHECK: %u records announced, %u found", count, n);
    return wire_ok(&w, "CHECKED", e);
}

/* Depositors whose events have ended this role before. */
static bool take_spare(struct inspect *i, struct slice body, struct err *e)
{
    struct wire_reader r = wire_read(body);
    uint32_t depositor = wire_get_u32(&r), seconds = wire_get_u32(&r);

    if (!wire_end(&r, "SPARE", e))
        return false;
    allowance_spare(&i->allowance, depositor, seconds, clock_us(CLOCK_MONOTONIC));
    return true;
}

static bool handle_ledger(struct inspect *i, const struct channel_message *m, struct err *e)
{
    if (m->fd < 0 && m->type == INSPECT_SPARE)
        return take_spare(i, m->body, e);
    if (m->fd >= 0 || (m->type != INSPECT_CHECK && m->type != INSPECT_CHECK_PLAIN) || !i->equipped)
        return err_set(e, ERR_INPUT, "message %u from the ledger makes no sense", m->type);
    return judge_all(i, m->body, m->type == INSPECT_CHECK_PLAIN, e) && channel_send(i->ledger, INSPECT_CHECKED, buf_slice(&i->verdicts), e);
}

/* Nothing is judged before there is what to judge by: the ledger keeps its deposits until it hears this. */
static void tell_ready(struct inspect *i)
{
    role_ready(i->self, i->equipped, i->equipped ? "judging deposits" : "waiting for the schemas");
    if (i->ledger != NULL && i->equipped && !channel_send(i->ledger, INSPECT_READY, slice_of(NULL, 0), NULL)) {
        channel_free(i->ledger);
        i->ledger = NULL;
    }
}

/* All of a new set, or none of it: what was in force stays then. */
static bool handle_schemas(struct inspect *i, const struct channel_message *m, struct err *e)
{
    uint8_t bytes[2 + 1 + ERR_TEXT_MAX];
    struct buf answer = {.data = bytes, .capacity = sizeof(bytes), .max = sizeof(bytes)};
    struct wire_writer w = wire_write(&answer);
    struct event_schemas compiled;
    struct err why = {0};
    bool ok;

    if (m->fd >= 0 || m->type != SCHEMAS_SET)
        return err_set(e, ERR_INPUT, "message %u from schemas makes no sense", m->type);
    ok = schema_set_compile(m->body, &compiled, &why);
    if (ok) {
        buf_free(&i->taken);
        buf_init(&i->taken, ROLE_MESSAGE_MAX);
        if (!buf_add_slice(&i->taken, m->body, e))
            return false;
        event_checker_use_schemas(i->checker, &compiled);
        i->compares = compiled.count != 0;
        log_info("schemas-in-force", "%u families", compiled.count);
        i->equipped = true;
        tell_ready(i);
    } else {
        log_error("schema-refused", "%s", why.text);
    }
    wire_put_u8(&w, ok ? 1 : 0);
    wire_put_text(&w, slice_text(why.text));
    return wire_ok(&w, "TAKEN", e) && channel_send(i->schemas, SCHEMAS_TAKEN, buf_slice(&answer), e);
}

/* Serves what is there. A sibling that is gone comes back with a new channel; one that talks nonsense ends this role.
 */
static bool serve(struct inspect *i, struct channel **from, bool (*handle)(struct inspect *, const struct channel_message *, struct err *), struct err *e)
{
    struct channel_message m;
    enum channel_result r = CHANNEL_EMPTY;

    while (*from != NULL && (r = channel_receive(*from, &m, NULL)) == CHANNEL_MESSAGE)
        if (!handle(i, &m, e))
            return false;
    if (*from != NULL && (r == CHANNEL_CLOSED || !channel_flush(*from, NULL))) {
        channel_free(*from);
        *from = NULL;
    }
    return true;
}

static void on_linked(void *ctx, const char *kind, unsigned index, struct channel *c)
{
    struct inspect *i = ctx;
    bool ledger = strcmp(kind, "ledger") == 0;
    struct channel **mine = ledger ? &i->ledger : &i->schemas;

    (void)index;
    channel_free(*mine);
    *mine = c;
    if (ledger)
        tell_ready(i);
    else if (!channel_send(c, SCHEMAS_HAVE, buf_slice(&i->taken), NULL))
        log_error("channel-bad", "schemas cannot be told what is in force");
}

static void on_drain(void *ctx)
{
    ((struct inspect *)ctx)->draining = true;
}

static void report(struct inspect *i)
{
    static const char *const fits[EVENT_FIT_KINDS] = {"unjudged", "valid", "invalid", "unknown", "not-covered"};
    char text[600];
    size_t used = (size_t)snprintf(text, sizeof(text), "coffre_inspected_total %llu\ncoffre_inspected_refused_total %llu\n",
                                   (unsigned long long)i->checked, (unsigned long long)i->refused);

    for (unsigned k = EVENT_FITS; k < EVENT_FIT_KINDS && used < sizeof(text); k++)
        used += (size_t)snprintf(text + used, sizeof(text) - used, "coffre_inspected_schema_total{result=\"%s\"} %llu\n", fits[k],
                                 (unsigned long long)i->fits[k]);
    role_metrics(i->self, text);
}

static void watch(struct pollfd *fd, const struct channel *c)
{
    *fd = (struct pollfd){.fd = c == NULL ? -1 : channel_fd(c), .events = (short)(POLLIN | (c != NULL && channel_queued(c) != 0 ? POLLOUT : 0))};
}

static int run(struct inspect *i)
{
    struct err e = {0};
    uint64_t reported = 0;

    while (!i->draining || i->ledger != NULL) {
        struct pollfd fds[3] = {{.fd = role_parent_fd(i->self), .events = POLLIN}};
        int ready;

        watch(&fds[1], i->ledger);
        watch(&fds[2], i->schemas);
        ready = poll(fds, 3, IDLE_MS);
        if (ready > 0 && ((fds[1].revents != 0 && !serve(i, &i->ledger, handle_ledger, &e)) || (fds[2].revents != 0 && !serve(i, &i->schemas, handle_schemas, &e)))) {
            log_error("channel-bad", "%s", e.text);
            return 1;
        }
        if ((ready <= 0 || fds[0].revents != 0) && !role_poll(i->self, 0))
            return 1;
        if (ready <= 0 && reported != i->checked) {
            report(i);
            reported = i->checked;
        }
    }
    return 0;
}

int inspect_run(struct role *self)
{
    const struct settings *s = role_settings(self);
    const struct event_limits limits = {s->vault.operator_id, s->vault.number, (unsigned)s->ingest.event_depth};
    static const struct role_events events = {.linked = on_linked, .drain = on_drain};
    struct inspect i = {.self = self, .equipped = s->ingest.schemas.count == 0};
    struct err e = {0};
    int status;

    xmlInitParser();
    i.checker = event_checker_new(&limits, &e);
    if (i.checker == NULL) {
        log_error("inspect-start", "%s", e.text);
        return 1;
    }
    event_checker_watch(i.checker, in_time, &i);
    buf_init(&i.verdicts, ROLE_MESSAGE_MAX);
    buf_init(&i.taken, ROLE_MESSAGE_MAX);
    role_on(self, &events, &i);
    tell_ready(&i);
    status = run(&i);
    channel_free(i.ledger);
    channel_free(i.schemas);
    buf_free(&i.verdicts);
    buf_free(&i.taken);
    event_checker_free(i.checker);
    xmlCleanupParser();
    return status;
}
