/* Bytes of one connection: TLS, time-outs, back-pressure. See front.h. What arrives is a stranger's. */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "exporter/front.h"

enum { READ_TURN = 32 * 1024, IN_MAX = HTTP_HEAD_MAX + HTTP_BODY_MAX + 4096 };

static void timed_out(evutil_socket_t fd, short what, void *arg);

/* How long a state may last. In FLUSHING and SENDING every progress starts it anew (see write_out). */
static uint64_t patience(const struct front_connection *c, enum front_state state)
{
    switch (state) {
    case FRONT_HANDSHAKE:
    case FRONT_READING:
    case FRONT_JUDGING:
        return c->front->request_ms;
    case FRONT_LINGERING:
        return FRONT_LINGER_MS;
    case FRONT_IDLE:
    case FRONT_WAITING:
    case FRONT_SENDING:
    case FRONT_FLUSHING:
        return c->front->write_ms;
    }
    return 0;
}

static void start_timer(struct front_connection *c)
{
    uint64_t ms = patience(c, c->state);
    struct timeval t = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};

    evtimer_add(c->timer, &t);
}

void front_set_state(struct front_connection *c, enum front_state state)
{
    c->state = state;
    start_timer(c);
}

void front_drop(struct front_connection *c, const char *why)
{
    struct front *f = c->front;

    if (f->slots[c->slot] != c)
        return; /* already dropped in this turn */
    log_debug("connection-closed", "%s: %s", c->peer.address, why);
    front_finish_request(c);
    front_withdraw(c);
    front_record_closed(c, why);
    f->slots[c->slot] = NULL;
    f->connected--;
    event_del(c->io);
    evtimer_del(c->timer);
    c->next_dead = f->dead;
    f->dead = c;
    if (f->draining && f->connected == 0)
        event_base_loopbreak(f->base);
}

void front_bury(struct front *f)
{
    while (f->dead != NULL) {
        struct front_connection *c = f->dead;

        f->dead = c->next_dead;
        event_free(c->io);
        event_free(c->timer);
        tls_stream_free(c->tls);
        buf_free(&c->in);
        buf_free(&c->out);
        free(c);
    }
}

/* What poll must tell: reading while a request is wanted, writing while bytes wait. */
static void watch(struct front_connection *c)
{
    struct front *f = c->front;
    short what = 0;

    if (f->slots[c->slot] != c)
        return;
    if (c->state == FRONT_HANDSHAKE || c->state == FRONT_IDLE || c->state == FRONT_READING || c->state == FRONT_LINGERING)
        what |= EV_READ;
    if (c->out.len != 0 || c->wants_write)
        what |= EV_WRITE;
    /* A peer that leaves while query works is seen when its answer is written: reading here would buy it memory. */
    if (event_get_events(c->io) == (what | EV_PERSIST) && event_pending(c->io, EV_READ | EV_WRITE, NULL) != 0)
        return;
    event_del(c->io);
    if (what == 0)
        return;
    event_assign(c->io, f->base, tls_fd(c->tls), (short)(what | EV_PERSIST), event_get_callback(c->io), c);
    event_add(c->io, NULL);
}

/* Credit for what the peer has taken meanwhile, in large steps. */
static void give_credit(struct front_connection *c)
{
    size_t room = ASK_WINDOW > c->out.len + c->credit ? ASK_WINDOW - c->out.len - c->credit : 0;
    struct err e = {0};

    if (c->state != FRONT_SENDING || c->query == NULL || room < ASK_WINDOW / 4 || c->left <= c->credit)
        return;
    if (!ask_send_number(c->query->channel, ASK_CREDIT, c->request, (uint32_t)room, &e)) {
        front_drop(c, e.text);
        return;
    }
    c->credit += (uint32_t)room;
    front_flush_query(c->query);
}

static void begin_linger(struct front_connection *c)
{
    /* A reset would destroy an answer still on its way: close our side, wait for the peer's (RFC 9112 9.6). */
    tls_close(c->tls);
    shutdown(tls_fd(c->tls), SHUT_WR);
    buf_free(&c->in);
    front_set_state(c, FRONT_LINGERING);
}

/* False: the connection is gone. */
static bool write_out(struct front_connection *c)
{
    size_t before = c->out.len;
    struct err e = {0};

    c->wants_write = false;
    if (before == 0)
        return true;
    switch (tls_write(c->tls, &c->out, &e)) {
    case TLS_OK:
    case TLS_WANT_READ:
        break;
    case TLS_WANT_WRITE:
        c->wants_write = true;
        break;
    case TLS_CLOSED:
    case TLS_ERROR:
        front_drop(c, e.text[0] == '\0' ? "the peer left" : e.text);
        return false;
    }
    c->front->bytes_out += before - c->out.len;
    if (c->out.len != before)
        start_timer(c);
    return true;
}

/* After the last byte of an answer. */
static void answered(struct front_connection *c)
{
    buf_free(&c->out);
    if (!c->keep_alive || c->front->draining) {
        begin_linger(c);
        return;
    }
    if (c->in.len == 0)
        buf_free(&c->in);
    front_set_state(c, c->in.len == 0 ? FRONT_IDLE : FRONT_READING);
}

/* Takes what `in` holds as requests, one at a time. False when bytes are missing. */
static bool take_next(struct front_connection *c)
{
    if ((c->state != FRONT_IDLE && c->state != FRONT_READING) || c->in.len == 0)
        return false;
    if (c->state == FRONT_IDLE)
        front_set_state(c, FRONT_READING);
    return front_take_request(c);
}

/* Goes on until bytes, room or an answer are missing; a pipelining peer has a few requests served per turn of the loop. */
void front_continue(struct front_connection *c)
{
    struct front *f = c->front;
    bool goes_on = true;

    for (int turn = 0; turn < 16 && goes_on; turn++) {
        enum front_state before = c->state;

        if (f->slots[c->slot] != c || !write_out(c))
            return;
        give_credit(c);
        if (f->slots[c->slot] == c && c->state == FRONT_FLUSHING && c->out.len == 0)
            answered(c);
        goes_on = (f->slots[c->slot] == c && take_next(c)) || c->state != before;
    }
    if (f->slots[c->slot] != c)
        return;
    watch(c);
    if ((c->state == FRONT_IDLE || c->state == FRONT_READING) && (c->more || goes_on))
        event_active(c->io, EV_READ, 0);
}

static void handshake(struct front_connection *c)
{
    struct err e = {0};

    switch (tls_handshake(c->tls, &e)) {
    case TLS_OK:
        c->wants_write = false;
        front_set_state(c, FRONT_READING);
        front_present(c);
        return;
    case TLS_WANT_READ:
        c->wants_write = false;
        return;
    case TLS_WANT_WRITE:
        c->wants_write = true;
        return;
    case TLS_CLOSED:
    case TLS_ERROR:
        log_info("tls-refused", "%s: %s", c->peer.address, e.text);
        if (e.code == ERR_DENIED) /* else a scanner, or a client of another protocol: it is nobody yet */
            front_record_handshake(c, e.text);
        front_drop(c, "handshake failed");
        return;
    }
}

static void read_in(struct front_connection *c)
{
    struct err e = {0};
    enum tls_result r;

    if (c->in.len == c->in.max)
        return;
    r = tls_read(c->tls, &c->in, READ_TURN, &e);
    c->more = r == TLS_OK;
    if (c->state == FRONT_LINGERING)
        buf_free(&c->in);
    if (r == TLS_CLOSED || r == TLS_ERROR) {
        /* A peer may have closed its side after its last request: that one is still answered. */
        if (r == TLS_CLOSED && c->in.len != 0 && c->state != FRONT_LINGERING) {
            c->keep_alive = false;
            if (front_take_request(c) && c->front->slots[c->slot] == c) {
                c->keep_alive = false;
                return;
            }
        }
        front_drop(c, r == TLS_CLOSED ? "the peer closed" : e.text);
    }
}

static void io_ready(evutil_socket_t fd, short what, void *arg)
{
    struct front_connection *c = arg;
    struct front *f = c->front;

    (void)fd;
    if (c->state == FRONT_HANDSHAKE)
        handshake(c);
    if (f->slots[c->slot] == c && (what & EV_READ) != 0 &&
        (c->state == FRONT_IDLE || c->state == FRONT_READING || c->state == FRONT_LINGERING))
        read_in(c);
    if (f->slots[c->slot] == c)
        front_continue(c);
    front_bury(f);
}

static void timed_out(evutil_socket_t fd, short what, void *arg)
{
    static const struct api_refusal slow_head = {408, "request-timeout", "RFC 9110 15.5.9: the request took too long", NULL},
                                    slow_store = {503, "store-slow", "the store did not answer in time; ask again", NULL};
    struct front_connection *c = arg;
    struct front *f = c->front;

    (void)fd;
    (void)what;
    if (c->state == FRONT_READING && c->in.len != 0) {
        c->keep_alive = false;
        front_refuse(c, &slow_head);
        front_continue(c);
    } else if (c->state == FRONT_JUDGING) {
        front_serve_unjudged(c);
        front_continue(c);
    } else if (c->state == FRONT_WAITING) {
        front_refuse(c, &slow_store);
        front_continue(c);
    } else {
        front_drop(c, "time is over");
    }
    front_bury(f);
}

static unsigned free_slot(const struct front *f)
{
    static unsigned last; /* where to look first: slots are reused late, identifiers of requests stay apart */

    for (unsigned i = 0; i < f->slot_count; i++) {
        last = (last + 1) % f->slot_count;
        if (f->slots[last] == NULL)
            break;
    }
    return last;
}

void front_accept(struct front *f, int fd, const char *host, const char *port)
{
    struct front_connection *c = mem_zalloc(1, sizeof *c);
    struct err e = {0};

    c->front = f;
    c->tls = tls_trust_accept(f->trust, fd, &e);
    if (c->tls == NULL) {
        log_error("tls-failed", "%s", e.text);
        close(fd);
        free(c);
        return;
    }
    snprintf(c->peer.address, sizeof c->peer.address, "%s:%s", host, port);
    snprintf(c->peer.host, sizeof c->peer.host, "%s", host);
    c->slot = free_slot(f);
    c->identifier = ++f->next_identifier << FRONT_SLOT_BITS | c->slot;
    f->slots[c->slot] = c;
    f->connected++;
    f->accepted++;
    buf_init(&c->in, IN_MAX);
    buf_init(&c->out, FRONT_OUT_MAX);
    c->io = event_new(f->base, fd, EV_READ | EV_PERSIST, io_ready, c);
    c->timer = evtimer_new(f->base, timed_out, c);
    front_set_state(c, FRONT_HANDSHAKE);
    watch(c);
}
