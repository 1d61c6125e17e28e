/* The front's siblings: what sessions ask of them, and what they say. None of them is trusted with a length. See front_internal.h. */
#include "ingest/front/front_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "common/values/log.h"

/* ---- what sessions ask for --------------------------------------------------------------- */

bool front_is_full(const struct front *f)
{
    return f->relay.channel == NULL || f->tickets.bytes >= f->limit_pending ||
           channel_room(f->relay.channel) < f->rules.transaction_bytes + f->rules.frame.body_bytes + f->rules.frame.header_bytes + 64;
}

static bool is_full(void *ctx)
{
    return front_is_full(((struct connection *)ctx)->front);
}

static bool deposit(void *ctx, const struct pack_deposit *d, size_t kept, uint64_t *ticket, struct err *e)
{
    struct connection *c = ctx;
    struct front *f = c->front;
    size_t size = pack_deposit_size(d);
    struct buf *body = f->relay.channel == NULL ? NULL : channel_begin(f->relay.channel, 8 + size, e);
    struct wire_writer w;

    if (body == NULL)
        return err_set(e, ERR_RETRY, "queue unavailable, send again later");
    *ticket = tickets_add(&f->tickets, c, size + kept, f->time.now);
    w = wire_write(body);
    wire_put_u64(&w, *ticket);
    pack_put_deposit(&w, d);
    channel_end(f->relay.channel, RELAY_DEPOSIT);
    return wire_ok(&w, "deposit", e);
}

static bool deposit_all(void *ctx, struct slice records, size_t kept, uint64_t *ticket, struct err *e)
{
    struct connection *c = ctx;
    struct front *f = c->front;
    uint8_t head[8];

    if (f->relay.channel == NULL)
        return err_set(e, ERR_RETRY, "queue unavailable, send again later");
    for (unsigned i = 0; i < 8; i++)
        head[i] = (uint8_t)(f->tickets.next >> 8 * (7 - i));
    if (!channel_send2(f->relay.channel, RELAY_DEPOSIT, slice_of(head, sizeof head), records, e))
        return false;
    *ticket = tickets_add(&f->tickets, c, records.len + kept, f->time.now);
    return true;
}

static bool hold(void *ctx, int64_t bytes)
{
    struct connection *c = ctx;

    if (bytes > 0 && connection_transacts_too_much(c, bytes))
        return false;
    c->transactions += bytes;
    c->front->transactions += bytes;
    return true;
}

/* To deliver; when it is away it is pointless, and its return makes all subscriptions and claims anew. */
static void tell_deliver(struct front *f, enum deliver_message type, const struct wire_writer *w)
{
    if (f->deliver.channel == NULL)
        return;
    if (!wire_ok(w, "message", NULL) || !channel_send(f->deliver.channel, (uint16_t)type, buf_slice(w->out), NULL))
        role_kill_sibling(f->role, "deliver", 0); /* it has stopped reading: only a new one helps */
}

static bool subscribe(void *ctx, uint32_t depositor, enum session_queue queue, struct slice name, uint32_t credit,
                      uint64_t *subscription, struct err *e)
{
    static const uint8_t kinds[] = {[SESSION_EVENTS] = DELIVER_EVENT, [SESSION_ARCHIVES] = DELIVER_ARCHIVES,
                                    [SESSION_REPLIES] = DELIVER_REPLIES};
    struct connection *c = ctx;
    struct front *f = c->front;
    uint8_t bytes[FRONT_NAME_MAX + 32];
    struct buf b = {.data = bytes, .capacity = sizeof bytes, .max = sizeof bytes};
    struct wire_writer w = wire_write(&b);

    *subscription = routes_add(&f->routes, c);
    if (f->deliver.channel == NULL)
        return true;
    wire_put_u64(&w, *subscription);
    wire_put_u32(&w, depositor);
    wire_put_u8(&w, kinds[queue]);
    wire_put_u32(&w, credit);
    wire_put_text(&w, name);
    if (!wire_ok(&w, "subscription", e) || !channel_send(f->deliver.channel, DELIVER_SUBSCRIBE, buf_slice(&b), e)) {
        routes_remove(&f->routes, *subscription);
        return false;
    }
    routes_find(&f->routes, *subscription)->sent = true;
    return true;
}

static void unsubscribe(void *ctx, uint64_t subscription)
{
    struct front *f = ((struct connection *)ctx)->front;
    struct route *route = routes_find(&f->routes, subscription);
    uint8_t bytes[8];
    struct buf b = {.data = bytes, .capacity = sizeof bytes, .max = sizeof bytes};
    struct wire_writer w = wire_write(&b);

    wire_put_u64(&w, subscription);
    if (route != NULL && route->sent)
        tell_deliver(f, DELIVER_UNSUBSCRIBE, &w);
    routes_remove(&f->routes, subscription);
}

static void settle(void *ctx, uint64_t subscription, uint64_t delivery, enum session_outcome outcome, bool credit)
{
    static const uint8_t outcomes[] = {[SESSION_DONE] = DELIVER_DONE, [SESSION_REJECTED] = DELIVER_REJECTED,
                                       [SESSION_UNSEEN] = DELIVER_UNSEEN};
    uint8_t bytes[18];
    struct buf b = {.data = bytes, .capacity = sizeof bytes, .max = sizeof bytes};
    struct wire_writer w = wire_write(&b);

    wire_put_u64(&w, subscription);
    wire_put_u64(&w, delivery);
    wire_put_u8(&w, outcomes[outcome]);
    wire_put_u8(&w, credit);
    tell_deliver(((struct connection *)ctx)->front, DELIVER_SETTLE, &w);
}

static void credit(void *ctx, uint64_t subscription, int32_t change)
{
    uint8_t bytes[12];
    struct buf b = {.data = bytes, .capacity = sizeof bytes, .max = sizeof bytes};
    struct wire_writer w = wire_write(&b);

    wire_put_u64(&w, subscription);
    wire_put_u32(&w, (uint32_t)change);
    tell_deliver(((struct connection *)ctx)->front, DELIVER_CREDIT, &w);
}

static void claim(void *ctx, uint32_t depositor, struct slice name)
{
    struct connection *c = ctx;
    uint8_t bytes[FRONT_NAME_MAX + TLS_NAME_MAX * 2 + 64];
    struct buf b = {.data = bytes, .capacity = sizeof bytes, .max = sizeof bytes};
    struct wire_writer w = wire_write(&b);
    char subject[TLS_NAME_MAX * 2 + 16];
    int n = snprintf(subject, sizeof subject, "CN=%s, OU=%s", c->subject->cn, c->subject->ou);

    wire_put_u64(&w, c->number);
    wire_put_u32(&w, depositor);
    wire_put_text(&w, slice_of(subject, (size_t)n));
    wire_put_text(&w, name);
    tell_deliver(c->front, DELIVER_CLAIM, &w);
}

static void unclaim(void *ctx)
{
    struct connection *c = ctx;
    uint8_t bytes[8];
    struct buf b = {.data = bytes, .capacity = sizeof bytes, .max = sizeof bytes};
    struct wire_writer w = wire_write(&b);

    wire_put_u64(&w, c->number);
    tell_deliver(c->front, DELIVER_UNCLAIM, &w);
}

const struct session_ops front_session_ops = {
    .full = is_full, .deposit = deposit, .deposit_all = deposit_all, .hold = hold, .subscribe = subscribe,
    .unsubscribe = unsubscribe, .settle = settle, .credit = credit, .claim = claim, .unclaim = unclaim,
};

/* ---- siblings ---------------------------------------------------------------------------- */

void front_say_ready(struct front *f)
{
    const char *lacking = f->listener_count == 0       ? "not listening"
                          : f->identity.channel == NULL ? "the identity role is away: no new connection can be verified"
                          : !remote_line_linked(f->keys) ? "the keys role is away"
                          : f->trust == NULL           ? (f->fresh == NULL ? "no server certificate yet" : "the server certificate's key is not there yet")
                          : f->roster == NULL          ? "role bindings not known yet"
                          : f->relay.channel == NULL   ? "the relay is away"
                          : f->deliver.channel == NULL ? "deliver is away"
                                                       : NULL;

    bool ready = lacking == NULL && f->relay_up && !f->draining;
    char text[sizeof f->told];

    if (f->draining)
        snprintf(text, sizeof text, "draining");
    else if (lacking != NULL)
        snprintf(text, sizeof text, "%s", lacking);
    else
        snprintf(text, sizeof text, "%s%s", ready ? "taking deposits" : "deposits wait: ", ready ? "" : f->relay_why);
    if (strcmp(text, f->told) == 0)
        return;
    snprintf(f->told, sizeof f->told, "%s", text);
    role_ready(f->role, ready, "%s", text);
}

static void link_drop(struct link *l)
{
    if (l->channel == NULL)
        return;
    event_free(l->readable);
    event_free(l->writable);
    channel_free(l->channel);
    *l = (struct link){0};
}

static void lose_relay(struct front *f, const char *why)
{
    link_drop(&f->relay);
    f->relay_up = false;
    snprintf(f->relay_why, sizeof f->relay_why, "%.*s", (int)sizeof f->relay_why - 1, why);
    tickets_relay_lost(f, "queue unavailable, send again later: the queue's writer has started again");
    front_say_ready(f);
}

static bool take_broker_state(struct front *f, const struct channel_message *m, struct err *e)
{
    struct wire_reader r = wire_read(m->body);
    bool up = wire_get_u8(&r) == 1;
    struct slice why = wire_get_text(&r);

    if (!wire_end(&r, "BROKER", e))
        return false;
    f->relay_up = up;
    snprintf(f->relay_why, sizeof f->relay_why, "%.*s", (int)(why.len < 199 ? why.len : 199), why.len == 0 ? "" : (const char *)why.at);
    front_say_ready(f);
    return true;
}

static bool take_relay(struct front *f, const struct channel_message *m, struct err *e)
{
    switch (m->type) {
    case RELAY_CONFIRMED:
    case RELAY_REFUSED:
        return tickets_take_range(f, m, e);
    case RELAY_BROKER:
        return take_broker_state(f, m, e);
    default:
        return err_set(e, ERR_INPUT, "message %u makes no sense", m->type);
    }
}

static bool take_deliver(struct front *f, const struct channel_message *m, struct err *e)
{
    switch (m->type) {
    case DELIVER_ANSWER:
    case DELIVER_ARCHIVE:
        return routes_take_delivery(f, m, e);
    case DELIVER_REFUSED:
        return routes_take_refusal(f, m, e);
    case DELIVER_SUBSCRIBED:
        return routes_take_subscribed(f, m, e);
    case DELIVER_TAKEN:
        return routes_take_taken(f, m, e);
    default:
        return err_set(e, ERR_INPUT, "message %u makes no sense", m->type);
    }
}

static bool take_roster(struct front *f, const struct channel_message *m, struct err *e)
{
    struct roster *fresh = m->type == ROSTER_MESSAGE ? roster_decode(m->body, e) : NULL;
    bool first = f->roster == NULL;

    if (fresh == NULL)
        return err_set(e, ERR_INPUT, "message %u makes no sense", m->type);
    roster_free(f->roster);
    f->roster = fresh;
    log_info("roster", "%u role bindings in force", roster_count(fresh));
    for (struct connection *c = f->connections, *next; c != NULL; c = next) {
        next = c->next;
        admission_look(c);
    }
    if (first)
        front_say_ready(f);
    return true;
}

/* Reads all a sibling has said. False: it is gone, or cannot be trusted any more. */
static bool link_read(struct front *f, struct link *l, bool (*take)(struct front *, const struct channel_message *, struct err *),
                      struct err *e)
{
    struct channel_message m;
    enum channel_result r;

    front_look_at_clock(f);
    while ((r = channel_receive(l->channel, &m, e)) == CHANNEL_MESSAGE) {
        if (m.fd >= 0) {
            close(m.fd);
            return err_set(e, ERR_INPUT, "a descriptor makes no sense");
        }
        if (!take(f, &m, e))
            return false;
    }
    return r == CHANNEL_EMPTY;
}

static void relay_readable(evutil_socket_t fd, short what, void *arg)
{
    struct front *f = arg;
    struct err e = {0};

    (void)fd;
    (void)what;
    if (link_read(f, &f->relay, take_relay, &e))
        return;
    log_error("channel-bad", "relay: %s", e.text);
    lose_relay(f, e.text);
}

static void deliver_readable(evutil_socket_t fd, short what, void *arg)
{
    struct front *f = arg;
    struct err e = {0};

    (void)fd;
    (void)what;
    if (link_read(f, &f->deliver, take_deliver, &e))
        return;
    log_error("channel-bad", "deliver: %s", e.text);
    link_drop(&f->deliver);
    front_say_ready(f);
}

/* Without the roster role the bindings in force stay in force. */
static void roster_readable(evutil_socket_t fd, short what, void *arg)
{
    struct front *f = arg;
    struct err e = {0};

    (void)fd;
    (void)what;
    if (link_read(f, &f->roster_link, take_roster, &e))
        return;
    log_error("channel-bad", "roster: %s", e.text);
    link_drop(&f->roster_link);
}

static void writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg; /* the turn ends with a flush */
}

static void link_open(struct front *f, struct link *l, struct channel *c, event_callback_fn readable)
{
    link_drop(l);
    l->channel = c;
    l->readable = event_new(f->base, channel_fd(c), EV_READ | EV_PERSIST, readable, f);
    l->writable = event_new(f->base, channel_fd(c), EV_WRITE, writable, f);
    event_add(l->readable, NULL);
}

/* Deliveries of a deliver that is gone mean nothing to the new one. */
static void resubscribe_all(struct front *f)
{
    for (uint32_t i = 0; i < f->routes.count; i++)
        f->routes.at[i].sent = false;
    for (struct connection *c = f->connections; c != NULL; c = c->next)
        if (c->session != NULL && session_ended(c->session) == SESSION_OPEN) {
            session_resubscribe(c->session);
            connection_touch(c);
        }
}

void front_linked(void *ctx, const char *kind, unsigned index, struct channel *c)
{
    struct front *f = ctx;

    (void)index;
    front_look_at_clock(f);
    if (strcmp(kind, "relay") == 0) {
        if (f->tickets.first != f->tickets.next)
            lose_relay(f, "the relay has started again");
        link_open(f, &f->relay, c, relay_readable);
    } else if (strcmp(kind, "deliver") == 0) {
        link_open(f, &f->deliver, c, deliver_readable);
        resubscribe_all(f);
    } else if (strcmp(kind, "roster") == 0) {
        link_open(f, &f->roster_link, c, roster_readable);
    } else if (strcmp(kind, "keys") == 0) {
        remote_line_link(f->keys, c);
        f->keys_lost_at = f->time.now;
        f->try_at = 0;
        identity_try_trust(f);
    } else if (strcmp(kind, "identity") == 0) {
        identity_linked(f, c);
    } else if (strcmp(kind, "journal") == 0) {
        journal_linked(f, c);
    } else {
        channel_free(c);
    }
    front_say_ready(f);
}

static void link_flush(struct front *f, struct link *l, const char *name)
{
    struct err e = {0};

    if (l->channel == NULL || channel_queued(l->channel) == 0)
        return;
    if (channel_flush(l->channel, &e)) {
        if (channel_queued(l->channel) != 0)
            event_add(l->writable, NULL);
        return;
    }
    log_error("channel-bad", "%s: %s", name, e.text);
    if (l == &f->relay)
        lose_relay(f, e.text);
    else
        link_drop(l);
}

void front_flush_relay(struct front *f)
{
    link_flush(f, &f->relay, "relay");
}

void front_flush_deliver(struct front *f)
{
    link_flush(f, &f->deliver, "deliver");
}
