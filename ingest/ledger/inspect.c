/*
 * Role inspect: judges deposits for the ledger (PROTOCOL.md, "Channels of coffre-ingest"). Strangers' bytes are parsed
 * here and nowhere else behind the front: no key, no database, no network. The ledger's messages are checked all the
 * same.
 */
#include <poll.h>
#include <stdlib.h>

#include <libxml/parser.h>

#include "common/values/log.h"
#include "ingest/ledger/event.h"
#include "ingest/roles.h"

enum { IDLE_MS = 1000 };

struct inspect {
    struct role *self;
    struct channel *ledger;        /* owned; NULL: not linked */
    struct event_checker *checker; /* owned */
    struct buf verdicts;           /* the answer being written */
    uint64_t checked, refused;
    bool draining; /* leave once the ledger has */
};

static void put_verdict(struct wire_writer *w, const struct event_verdict *v)
{
    wire_put_u8(w, v->valid ? 0 : 1);
    wire_put_u32(w, v->placeholder);
    wire_put_text(w, slice_text(v->type));
    wire_put_text(w, slice_text(v->reason));
}

/* Judges the records of one CHECK message into i->verdicts. */
static bool judge_all(struct inspect *i, struct slice body, struct err *e)
{
    struct wire_reader r = wire_read(body);
    struct wire_writer w = wire_write(&i->verdicts);
    uint32_t count = wire_get_u32(&r), n = 0;
    struct slice record;

    buf_reset(&i->verdicts);
    wire_put_u32(&w, count);
    for (; pack_next(&r, &record); n++) {
        struct pack_deposit d;
        struct event_verdict v;

        if (!pack_get_deposit(record, &d, e) || !event_check(i->checker, &d, &v, e))
            return false;
        put_verdict(&w, &v);
        i->refused += v.valid ? 0 : 1;
    }
    i->checked += n;
    if (!wire_end(&r, "CHECK", e))
        return false;
    if (n != count)
        return err_set(e, ERR_INPUT, "CHECK: %u records announced, %u found", count, n);
    return wire_ok(&w, "CHECKED", e);
}

static bool handle(struct inspect *i, const struct channel_message *m, struct err *e)
{
    if (m->fd >= 0 || m->type != INSPECT_CHECK)
        return err_set(e, ERR_INPUT, "message %u from the ledger makes no sense", m->type);
    return judge_all(i, m->body, e) && channel_send(i->ledger, INSPECT_CHECKED, buf_slice(&i->verdicts), e);
}

/* Serves what is there. A sibling that is gone comes back with a new channel; one that talks nonsense ends this role.
 */
static bool serve(struct inspect *i, struct err *e)
{
    struct channel_message m;
    enum channel_result r;

    while ((r = channel_receive(i->ledger, &m, NULL)) == CHANNEL_MESSAGE)
        if (!handle(i, &m, e))
            return false;
    if (r == CHANNEL_CLOSED || !channel_flush(i->ledger, NULL)) {
        channel_free(i->ledger);
        i->ledger = NULL;
    }
    return true;
}

static void on_linked(void *ctx, const char *kind, unsigned index, struct channel *c)
{
    struct inspect *i = ctx;

    (void)kind, (void)index;
    channel_free(i->ledger);
    i->ledger = c;
}

static void on_drain(void *ctx)
{
    ((struct inspect *)ctx)->draining = true;
}

static void report(struct inspect *i)
{
    char text[200];

    snprintf(text, sizeof(text), "coffre_inspected_total %llu\ncoffre_inspected_refused_total %llu\n",
             (unsigned long long)i->checked, (unsigned long long)i->refused);
    role_metrics(i->self, text);
}

static int run(struct inspect *i)
{
    struct err e = {0};
    uint64_t reported = 0;

    while (!i->draining || i->ledger != NULL) {
        struct pollfd fds[2] = {{.fd = role_parent_fd(i->self), .events = POLLIN}, {.fd = -1, .events = POLLIN}};
        int ready;

        if (i->ledger != NULL) {
            fds[1].fd = channel_fd(i->ledger);
            fds[1].events = (short)(POLLIN | (channel_queued(i->ledger) != 0 ? POLLOUT : 0));
        }
        ready = poll(fds, 2, IDLE_MS);
        if (ready > 0 && fds[1].revents != 0 && !serve(i, &e)) {
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
    struct inspect i = {.self = self};
    struct err e = {0};
    int status;

    xmlInitParser();
    i.checker = event_checker_new(&limits, &e);
    if (i.checker == NULL) {
        log_error("inspect-start", "%s", e.text);
        return 1;
    }
    buf_init(&i.verdicts, ROLE_MESSAGE_MAX);
    role_on(self, &events, &i);
    role_ready(self, true, "judging deposits");
    status = run(&i);
    channel_free(i.ledger);
    buf_free(&i.verdicts);
    event_checker_free(i.checker);
    xmlCleanupParser();
    return status;
}
