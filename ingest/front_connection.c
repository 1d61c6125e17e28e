/*
 * The life of a sensor's connection: TLS, certificate to depositor, protocol, session, last words. See front_internal.h.
 * Everything read here is a stranger's until the certificate is bound, and a depositor's afterwards.
 */
#include "ingest/front_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/values/log.h"

/* ---- states ------------------------------------------------------------------------------ */

static void connection_enter(struct connection *c, enum connection_state state)
{
    c->state = state;
    c->since = c->front->time.now;
}

static bool reads(const struct connection *c)
{
    switch (c->state) {
    case CONNECTION_HANDSHAKE:
    case CONNECTION_OPENING:
    case CONNECTION_LINGERING:
        return true;
    case CONNECTION_STOMP:
        return c->waits_since == 0 && c->out.len < FRONT_OUT_PAUSE;
    case CONNECTION_ROSTER:
    case CONNECTION_FLUSHING:
    case CONNECTION_GONE:
        break;
    }
    return false;
}

static void happened(evutil_socket_t fd, short what, void *arg);

/* Watches for what the state can deal with. */
static void watch(struct connection *c)
{
    short wanted = (short)((reads(c) ? EV_READ : 0) | (c->wants_write ? EV_WRITE : 0));

    if (wanted == c->watching || c->state == CONNECTION_GONE)
        return;
    event_del(c->event);
    if (wanted != 0) {
        event_assign(c->event, c->front->base, tls_fd(c->tls), (short)(wanted | EV_PERSIST), happened, c);
        event_add(c->event, NULL);
    }
    c->watching = wanted;
}

void connection_touch(struct connection *c)
{
    if (c->dirty || c->state == CONNECTION_GONE)
        return;
    c->dirty = true;
    c->next_dirty = c->front->dirty;
    c->front->dirty = c;
}

static void wait_for_room(struct connection *c)
{
    struct front *f = c->front;

    if (c->waits_since == 0)
        c->waits_since = f->time.now;
    if (c->waiting)
        return;
    c->waiting = true;
    c->next_waiting = NULL;
    *(f->waiting_last != NULL ? &f->waiting_last->next_waiting : &f->waiting) = c;
    f->waiting_last = c;
}

static void read_again(struct connection *c)
{
    if (c->again)
        return;
    c->again = true;
    c->next_again = c->front->again;
    c->front->again = c;
}

static void count_held(struct connection *c)
{
    c->front->held += c->in.len - c->held;
    c->held = c->in.len;
}

/* ---- ends -------------------------------------------------------------------------------- */

const char *connection_end_text(unsigned why)
{
    static const char *const words[] = {"tls", "closed", "handshake"};

    return why < SESSION_ENDS ? session_end_text((enum session_end)why) : words[why - SESSION_ENDS];
}

static enum log_level level_of(unsigned why)
{
    return why == SESSION_DISCONNECT || why == SESSION_SHUTDOWN || why == FRONT_END_CLOSED ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING;
}

/* Every connection's end is told once, with its reason. */
static void tell_end(struct connection *c, unsigned why, const char *text)
{
    char fields[900] = "", counts[160] = "";

    log_field(fields, sizeof fields, "peer", slice_text(c->peer));
    if (c->subject != NULL) {
        log_field(fields, sizeof fields, "cn", slice_text(c->subject->cn));
        log_field(fields, sizeof fields, "ou", slice_text(c->subject->ou));
    }
    log_field(fields, sizeof fields, "end", slice_text(connection_end_text(why)));
    if (c->session != NULL) {
        const struct session_counts *n = session_counts(c->session);

        snprintf(counts, sizeof counts, " (%" PRIu64 " deposits, %" PRIu64 " receipts, %" PRIu64 " answers, %zu unconfirmed)",
                 n->deposits, n->receipts, n->answers, session_pending(c->session));
    }
    c->front->counts.ends[why]++;
    log_write(level_of(why), why == FRONT_END_TLS ? "tls-refused" : "connection-ended", fields, "%s%s", text, counts);
}

static void drop_session(struct connection *c)
{
    const struct session_counts *n = session_counts(c->session);
    struct session_counts *sum = &c->front->counts.sessions;

    sum->deposits += n->deposits;
    sum->bytes += n->bytes;
    sum->receipts += n->receipts;
    sum->answers += n->answers;
    sum->archives += n->archives;
    sum->acks += n->acks;
    sum->commits += n->commits;
    session_free(c->session);
    c->session = NULL;
    buf_free(&c->in);
    count_held(c);
}

/* Closes the descriptor now; the struct waits for the end of the turn, and for its tickets. */
static void discard(struct connection *c)
{
    struct front *f = c->front;

    if (c->state == CONNECTION_GONE)
        return;
    if (c->session != NULL)
        drop_session(c);
    event_free(c->event);
    tls_stream_free(c->tls);
    credentials_release(c->credentials);
    buf_free(&c->in);
    buf_free(&c->out);
    count_held(c);
    free(c->subject);
    c->tls = NULL;
    c->event = NULL;
    c->subject = NULL;
    if (c->previous != NULL)
        c->previous->next = c->next;
    else
        f->connections = c->next;
    if (c->next != NULL)
        c->next->previous = c->previous;
    f->connection_count--;
    connection_enter(c, CONNECTION_GONE);
    c->next_gone = f->gone;
    f->gone = c;
}

void connection_free_gone(struct front *f)
{
    struct connection **at = &f->gone;

    while (*at != NULL) {
        struct connection *c = *at;

        if (c->tickets != 0 || c->dirty || c->again || c->waiting) {
            at = &c->next_gone;
            continue;
        }
        *at = c->next_gone;
        free(c);
    }
}

void connection_end(struct connection *c, enum front_end why, const char *text)
{
    if (c->state == CONNECTION_GONE)
        return;
    if (c->state != CONNECTION_FLUSHING && c->state != CONNECTION_LINGERING)
        tell_end(c, why, text);
    discard(c);
}

/* The last words are written: the peer has a moment to read them before the descriptor is closed under them. */
static void linger(struct connection *c)
{
    tls_close(c->tls);
    shutdown(tls_fd(c->tls), SHUT_WR);
    connection_enter(c, CONNECTION_LINGERING);
}

/* A session that has ended: told, then what it said last is written. */
static void check_session(struct connection *c)
{
    if (c->state != CONNECTION_STOMP || session_ended(c->session) == SESSION_OPEN)
        return;
    tell_end(c, session_ended(c->session), session_end_reason(c->session));
    drop_session(c);
    c->waits_since = 0;
    connection_enter(c, CONNECTION_FLUSHING);
}

/* ---- certificate ------------------------------------------------------------------------- */

static void open_session(struct connection *c, const char *denied)
{
    struct front *f = c->front;
    char name[64];

    snprintf(name, sizeof name, "%u-%ld-%" PRIu64, role_index(f->role), (long)getpid(), c->number);
    c->session = session_new(&f->rules, &front_session_ops, c, &c->out, c->depositor, denied, name, f->time);
}

/* Second level of control: CN and OU must be bound to the depositor profile. */
void connection_admit(struct connection *c)
{
    char denied[TLS_NAME_MAX * 2 + 100];
    bool bound = c->subject != NULL && roster_find(c->front->roster, ROSTER_DEPOSITOR, c->subject->cn, c->subject->ou, &c->depositor);

    if (c->subject != NULL)
        snprintf(denied, sizeof denied, "the certificate (CN \"%s\", OU \"%s\") is not bound to a depositor", c->subject->cn,
                 c->subject->ou);
    else
        snprintf(denied, sizeof denied, "the certificate's subject cannot be bound to a depositor: one CN, at most one OU");
    open_session(c, bound ? NULL : denied);
    connection_enter(c, CONNECTION_OPENING);
    watch(c);
    read_again(c);
}

void connection_check_binding(struct connection *c)
{
    uint32_t id;

    if (c->session == NULL || c->depositor == 0 || session_ended(c->session) != SESSION_OPEN)
        return;
    if (roster_find(c->front->roster, ROSTER_DEPOSITOR, c->subject->cn, c->subject->ou, &id) && id == c->depositor)
        return;
    session_fail(c->session, SESSION_REVOKED, "the certificate is no longer bound to a depositor");
    connection_enter(c, CONNECTION_STOMP);
    connection_touch(c);
}

static void identify(struct connection *c)
{
    struct err e = {0};

    if (!tls_peer_verified(c->tls, &e)) {
        connection_end(c, FRONT_END_TLS, e.text);
        return;
    }
    c->subject = mem_zalloc(1, sizeof *c->subject);
    if (!tls_peer_subject(c->tls, c->subject, &e)) {
        free(c->subject);
        c->subject = NULL;
    }
    connection_enter(c, CONNECTION_ROSTER);
    if (c->front->roster != NULL)
        connection_admit(c);
    else
        watch(c);
}

static void handshake(struct connection *c)
{
    struct err e = {0};
    enum tls_result r = tls_handshake(c->tls, &e);

    c->wants_write = r == TLS_WANT_WRITE;
    if (r == TLS_OK)
        identify(c);
    else if (r == TLS_ERROR || r == TLS_CLOSED)
        connection_end(c, FRONT_END_TLS, e.text);
    else
        watch(c);
}

/* ---- input ------------------------------------------------------------------------------- */

enum protocol { PROTOCOL_MORE, PROTOCOL_STOMP, PROTOCOL_UNKNOWN };

/* Which protocol the first bytes are of: a STOMP client begins with CONNECT or STOMP, perhaps after line ends. */
static enum protocol protocol_detect(struct slice in)
{
    static const char *const openings[] = {"CONNECT", "STOMP"};
    enum protocol best = PROTOCOL_UNKNOWN;

    while (in.len != 0 && (in.at[0] == '\n' || in.at[0] == '\r'))
        in = slice_of(in.at + 1, in.len - 1);
    for (unsigned i = 0; i < sizeof openings / sizeof *openings; i++) {
        size_t len = strlen(openings[i]), n = in.len < len ? in.len : len;

        if (n == 0 || memcmp(in.at, openings[i], n) == 0)
            best = n == len ? PROTOCOL_STOMP : PROTOCOL_MORE;
        if (best != PROTOCOL_UNKNOWN)
            break;
    }
    return best;
}

/* Consumes what can be consumed of `in`, which is c->in or the shared scratch. */
static void take_input(struct connection *c, struct buf *in)
{
    if (c->state == CONNECTION_OPENING) {
        enum protocol p = protocol_detect(buf_slice(in));

        if (p == PROTOCOL_UNKNOWN)
            session_fail(c->session, SESSION_PROTOCOL, "this port speaks STOMP 1.0, 1.1 and 1.2: the first frame is CONNECT or STOMP");
        if (p != PROTOCOL_MORE)
            connection_enter(c, CONNECTION_STOMP);
    }
    if (c->state == CONNECTION_STOMP) {
        buf_consume(in, session_input(c->session, buf_slice(in), c->front->time));
        if (!session_blocked(c->session))
            c->waits_since = 0;
        else
            wait_for_room(c);
    }
    if (in != &c->in && in->len != 0) {
        struct err e = {0};

        if (!buf_add_slice(&c->in, buf_slice(in), &e))
            session_fail(c->session, SESSION_LIMIT, e.text);
        buf_reset(in);
    }
    count_held(c);
    if (c->front->held > c->front->limit_held && c->in.len != 0 && c->waits_since == 0)
        session_fail(c->session, SESSION_UNAVAILABLE, "frames not yet whole hold too many bytes in all, send again later");
    connection_touch(c);
}

/* What a peer still sends while it reads our last words: nobody's any more. */
static void swallow(struct connection *c)
{
    uint8_t *room = buf_reserve(&c->front->scratch, FRONT_READ_MAX, NULL);
    ssize_t n = room == NULL ? -1 : recv(tls_fd(c->tls), room, FRONT_READ_MAX, MSG_DONTWAIT);

    if (n <= 0)
        discard(c);
}

void connection_read(struct connection *c)
{
    struct buf *in = c->in.len != 0 ? &c->in : &c->front->scratch;
    struct err e = {0};
    enum tls_result r;

    if (c->state == CONNECTION_LINGERING) {
        swallow(c);
        return;
    }
    if ((c->state != CONNECTION_OPENING && c->state != CONNECTION_STOMP) || !reads(c))
        return;
    c->active = c->front->time.now;
    c->trimmed = false;
    r = tls_read(c->tls, in, front_is_full(c->front) ? FRONT_READ_FULL : FRONT_READ_MAX, &e);
    if (in->len != 0)
        take_input(c, in);
    if (r == TLS_CLOSED || r == TLS_ERROR) {
        check_session(c); /* it may have said DISCONNECT just before, and still read */
        if (r == TLS_CLOSED && c->state == CONNECTION_FLUSHING)
            return;
        connection_end(c, r == TLS_CLOSED ? FRONT_END_CLOSED : FRONT_END_TLS, r == TLS_CLOSED ? "the peer closed the connection" : e.text);
        return;
    }
    if (r == TLS_WANT_WRITE)
        c->wants_write = true;
    if (tls_buffered(c->tls))
        read_again(c);
    if (c->state == CONNECTION_OPENING || r == TLS_WANT_WRITE)
        watch(c);
}

void connection_resume(struct connection *c)
{
    if (c->state != CONNECTION_STOMP || c->waits_since == 0)
        return;
    c->active = c->front->time.now;
    take_input(c, &c->in);
    if (c->waits_since == 0)
        read_again(c);
}

/* ---- output ------------------------------------------------------------------------------ */

static void write_out(struct connection *c)
{
    size_t before = c->out.len;
    struct err e = {0};
    enum tls_result r = before == 0 ? TLS_OK : tls_write(c->tls, &c->out, &e);
    size_t sent = before - c->out.len;

    c->wants_write = r == TLS_WANT_WRITE;
    if (r == TLS_ERROR || r == TLS_CLOSED) {
        connection_end(c, FRONT_END_TLS, e.text);
        return;
    }
    if (sent != 0) {
        c->written += sent;
        c->active = c->front->time.now;
        c->trimmed = false;
        if (c->session != NULL)
            session_written(c->session, c->written, c->front->time);
    }
    if (c->out.len == 0)
        c->blocked_since = 0;
    else if (sent != 0 || c->blocked_since == 0)
        c->blocked_since = c->front->time.now;
}

void connection_flush(struct connection *c)
{
    if (c->state == CONNECTION_GONE || c->state == CONNECTION_HANDSHAKE)
        return;
    check_session(c);
    if (!c->wants_write)
        write_out(c);
    if (c->state == CONNECTION_FLUSHING && c->out.len == 0)
        linger(c);
    watch(c);
}

static void happened(evutil_socket_t fd, short what, void *arg)
{
    struct connection *c = arg;

    (void)fd;
    front_look_at_clock(c->front);
    if (c->state == CONNECTION_HANDSHAKE) {
        handshake(c);
        return;
    }
    if ((what & EV_WRITE) != 0) {
        c->wants_write = false;
        connection_touch(c);
    }
    if ((what & EV_READ) != 0)
        connection_read(c);
}

/* ---- time -------------------------------------------------------------------------------- */

static bool timed_out(struct connection *c)
{
    const struct front *f = c->front;
    uint64_t in_state = f->time.now - c->since;

    if (c->state == CONNECTION_HANDSHAKE && in_state > f->handshake_ms)
        connection_end(c, FRONT_END_HANDSHAKE, "the TLS handshake took too long");
    else if (c->state == CONNECTION_LINGERING && in_state > FRONT_LINGER_MS)
        discard(c);
    else if (c->blocked_since != 0 && f->time.now - c->blocked_since > f->write_ms)
        connection_end(c, (enum front_end)SESSION_SLOW, "the peer does not read what is sent to it");
    return c->state == CONNECTION_GONE;
}

/* Role bindings that do not come: the sensor is told, in STOMP, and tries again. */
static void give_up_roster(struct connection *c)
{
    open_session(c, NULL);
    session_fail(c->session, SESSION_UNAVAILABLE, "role bindings are not known yet, try again later");
    connection_enter(c, CONNECTION_STOMP);
    connection_touch(c);
}

static void give_back_memory(struct connection *c)
{
    if (c->session != NULL)
        session_trim(c->session);
    if (c->in.len == 0)
        buf_free(&c->in);
    if (c->out.len == 0)
        buf_free(&c->out);
    c->trimmed = true;
}

void connection_tick(struct connection *c)
{
    struct front *f = c->front;

    if (timed_out(c))
        return;
    if (c->state == CONNECTION_ROSTER && f->time.now - c->since > f->connect_ms)
        give_up_roster(c);
    if (c->session == NULL || (c->state != CONNECTION_STOMP && c->state != CONNECTION_OPENING))
        return;
    if ((c->watching & EV_READ) == 0)
        session_heard(c->session, f->time); /* our choice: the peer is not silent */
    if (c->waits_since != 0 && f->time.now - c->waits_since > f->stall_ms)
        session_fail(c->session, SESSION_UNAVAILABLE, "queue unavailable, send again later: no room for more deposits");
    session_tick(c->session, f->time, f->period);
    if (session_ended(c->session) != SESSION_OPEN && c->state == CONNECTION_OPENING)
        connection_enter(c, CONNECTION_STOMP);
    if (session_ended(c->session) != SESSION_OPEN || (c->out.len != 0 && !c->wants_write))
        connection_touch(c);
    else if (!c->trimmed && f->time.now - c->active > FRONT_IDLE_MS)
        give_back_memory(c);
}

void connection_drain(struct connection *c)
{
    if (c->state == CONNECTION_HANDSHAKE || c->state == CONNECTION_ROSTER) {
        connection_end(c, (enum front_end)SESSION_SHUTDOWN, "the vault is shutting down");
        return;
    }
    if (c->session == NULL)
        return;
    session_drain(c->session);
    if (c->state == CONNECTION_OPENING)
        connection_enter(c, CONNECTION_STOMP);
    connection_touch(c);
}

/* ---- beginning --------------------------------------------------------------------------- */

void connection_accept(struct front *f, int fd, const char *peer)
{
    struct connection *c = mem_zalloc(1, sizeof *c);
    struct err e = {0};
    int one = 1;

    c->front = f;
    c->tls = tls_stream_accept(f->credentials->context, fd, &e);
    if (c->tls == NULL) {
        log_error("connection-failed", "%s", e.text);
        close(fd);
        free(c);
        return;
    }
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    snprintf(c->peer, sizeof c->peer, "%s", peer);
    c->credentials = f->credentials;
    c->credentials->users++;
    buf_init_secret(&c->in, f->rules.stomp.header_bytes + f->rules.stomp.body_bytes + 2 * FRONT_READ_MAX);
    buf_init(&c->out, FRONT_OUT_MAX);
    c->number = ++f->connection_number;
    c->active = f->time.now;
    c->event = event_new(f->base, fd, EV_READ | EV_PERSIST, happened, c);
    c->watching = EV_READ;
    event_add(c->event, NULL);
    c->next = f->connections;
    if (c->next != NULL)
        c->next->previous = c;
    f->connections = c;
    f->connection_count++;
    f->counts.accepted++;
    connection_enter(c, CONNECTION_HANDSHAKE);
}
