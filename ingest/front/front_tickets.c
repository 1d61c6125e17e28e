/* Deposits handed to the relay and not yet confirmed: whose they are, how much they hold, since when. See front_internal.h. */
#include "ingest/front/front_internal.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/values/log.h"

static struct ticket *place(struct tickets *t, uint64_t number)
{
    return &t->at[number & (t->capacity - 1)];
}

static void grow(struct tickets *t)
{
    struct tickets bigger = *t;

    bigger.capacity = t->capacity == 0 ? 1024 : t->capacity * 2;
    bigger.at = mem_alloc(bigger.capacity * sizeof *bigger.at);
    for (uint64_t n = t->first; n < t->next; n++)
        *place(&bigger, n) = *place(t, n);
    free(t->at);
    *t = bigger;
}

uint64_t tickets_add(struct tickets *t, struct connection *c, size_t bytes, uint64_t now)
{
    size_t cost = bytes + FRONT_TICKET_COST;

    if (t->next - t->first == t->capacity)
        grow(t);
    *place(t, t->next) = (struct ticket){c, (uint32_t)cost, now};
    t->bytes += cost;
    c->tickets++;
    return t->next++;
}

struct connection *tickets_settle(struct tickets *t, uint64_t number)
{
    struct ticket *ticket = place(t, number);
    struct connection *c = ticket->connection;

    if (c == NULL)
        return NULL;
    ticket->connection = NULL;
    t->bytes -= ticket->bytes;
    c->tickets--;
    while (t->first != t->next && place(t, t->first)->connection == NULL)
        t->first++;
    return c;
}

bool tickets_take_range(struct front *f, const struct channel_message *m, struct err *e)
{
    struct wire_reader r = wire_read(m->body);
    uint64_t first = wire_get_u64(&r), last = wire_get_u64(&r);
    char reason[256] = "";

    if (m->type == RELAY_REFUSED) {
        struct slice text = wire_get_text(&r);

        snprintf(reason, sizeof reason, "%.*s", (int)(text.len < 255 ? text.len : 255), text.len == 0 ? "" : (const char *)text.at);
    }
    if (!wire_end(&r, "confirmation", e))
        return false;
    if (first == 0 || last < first || last >= f->tickets.next)
        return err_set(e, ERR_INPUT, "confirmation of tickets %" PRIu64 " to %" PRIu64 ", the next one is %" PRIu64, first, last,
                       f->tickets.next);
    for (uint64_t n = first < f->tickets.first ? f->tickets.first : first; n <= last; n++) {
        struct connection *c = tickets_settle(&f->tickets, n);

        if (c == NULL)
            continue;
        if (c->session != NULL && m->type == RELAY_CONFIRMED)
            session_confirmed(c->session, n);
        else if (c->session != NULL)
            session_refused(c->session, n, reason);
        connection_touch(c);
    }
    return true;
}

/* What the relay held is in doubt: nothing of it is acknowledged, sensors send it again. */
void tickets_relay_lost(struct front *f, const char *why)
{
    for (uint64_t n = f->tickets.first; n < f->tickets.next; n++) {
        struct connection *c = tickets_settle(&f->tickets, n);

        if (c == NULL)
            continue;
        if (c->session != NULL)
            session_fail(c->session, SESSION_UNAVAILABLE, why);
        connection_touch(c);
    }
}

/* Deposits that RabbitMQ does not confirm: their sensors are told, the deposits themselves may still get there. */
void tickets_check_stalled(struct front *f)
{
    for (uint64_t n = f->tickets.first; n < f->tickets.next; n++) {
        const struct ticket *ticket = place(&f->tickets, n);
        char text[300];

        if (ticket->connection == NULL)
            continue;
        if (f->time.now - ticket->since < f->stall_ms)
            return;
        if (ticket->connection->session == NULL || session_ended(ticket->connection->session) != SESSION_OPEN)
            continue;
        snprintf(text, sizeof text, "queue unavailable, send again later: not confirmed within %" PRIu64 " ms%s%s", f->stall_ms,
                 f->relay_up ? "" : "; ", f->relay_up ? "" : f->relay_why);
        session_fail(ticket->connection->session, SESSION_UNAVAILABLE, text);
        connection_touch(ticket->connection);
    }
}
