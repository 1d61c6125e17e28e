/* Subscriptions of all sessions, as deliver knows them, and what it delivers. See front_internal.h. */
#include "ingest/front/front_internal.h"

#include <stdio.h>
#include <stdlib.h>

enum { PLACE_BITS = 24 };

uint64_t routes_add(struct routes *r, struct connection *c)
{
    struct route *route;
    uint32_t i;

    if (r->free == 0) {
        r->at = mem_realloc(r->at, (r->count + 64u) * sizeof *r->at);
        for (unsigned k = 64; k-- > 0;) {
            r->at[r->count + k] = (struct route){.next_free = r->free};
            r->free = r->count + k + 1;
        }
        r->count += 64;
    }
    i = r->free - 1;
    route = &r->at[i];
    r->free = route->next_free;
    *route = (struct route){.id = ++r->serial << PLACE_BITS | i, .connection = c};
    return route->id;
}

struct route *routes_find(struct routes *r, uint64_t id)
{
    uint64_t i = id & ((1u << PLACE_BITS) - 1);

    return id != 0 && i < r->count && r->at[i].id == id ? &r->at[i] : NULL;
}

void routes_remove(struct routes *r, uint64_t id)
{
    struct route *route = routes_find(r, id);

    if (route == NULL)
        return;
    *route = (struct route){.next_free = r->free};
    r->free = (uint32_t)(route - r->at) + 1;
}

bool routes_take_delivery(struct front *f, const struct channel_message *m, struct err *e)
{
    struct wire_reader r = wire_read(m->body);
    uint64_t id = wire_get_u64(&r), delivery = wire_get_u64(&r);
    struct route *route = routes_find(&f->routes, id);
    struct pack_answer answer;
    struct pack_archive archive;
    unsigned redeliveries = 0;

    if (m->type == DELIVER_ARCHIVE)
        redeliveries = wire_get_u8(&r);
    if (r.short_read || (m->type == DELIVER_ANSWER ? !pack_get_answer(r.rest, &answer, e) : !pack_get_archive(r.rest, &archive, e)))
        return err_set(e, ERR_INPUT, "delivery: cut short");
    /* A subscription that has just ended: deliver takes back what it has sent. */
    if (route == NULL || route->connection->session == NULL)
        return true;
    if (m->type == DELIVER_ANSWER)
        session_answer(route->connection->session, id, delivery, &answer, f->time);
    else
        session_archive(route->connection->session, id, delivery, redeliveries, &archive, f->time);
    connection_touch(route->connection);
    return true;
}

/* A subscription that deliver does not take: its session is told the reason. */
bool routes_take_refusal(struct front *f, const struct channel_message *m, struct err *e)
{
    struct wire_reader r = wire_read(m->body);
    uint64_t id = wire_get_u64(&r);
    struct route *route = routes_find(&f->routes, id);
    struct slice text = wire_get_text(&r);
    char reason[256];

    if (!wire_end(&r, "refusal", e))
        return false;
    if (route == NULL || route->connection->session == NULL)
        return true;
    snprintf(reason, sizeof reason, "%.*s", (int)(text.len < 255 ? text.len : 255), text.len == 0 ? "" : (const char *)text.at);
    route->sent = false; /* there is nothing to unsubscribe from */
    connection_touch(route->connection);
    session_not_subscribed(route->connection->session, id, reason);
    return true;
}

bool routes_take_subscribed(struct front *f, const struct channel_message *m, struct err *e)
{
    struct wire_reader r = wire_read(m->body);
    uint64_t id = wire_get_u64(&r);
    struct route *route = routes_find(&f->routes, id);

    if (!wire_end(&r, "subscribed", e))
        return false;
    if (route == NULL || route->connection->session == NULL)
        return true;
    session_subscribed(route->connection->session, id);
    connection_touch(route->connection);
    return true;
}

/* Rare enough to look through all connections. */
bool routes_take_taken(struct front *f, const struct channel_message *m, struct err *e)
{
    struct wire_reader r = wire_read(m->body);
    uint64_t number = wire_get_u64(&r);

    if (!wire_end(&r, "taken", e))
        return false;
    for (struct connection *c = f->connections; c != NULL; c = c->next)
        if (c->number == number && c->session != NULL) {
            session_taken(c->session);
            connection_touch(c);
        }
    return true;
}
