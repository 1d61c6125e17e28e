/*
 * The life of a sensor's connection: its states, its time limits, its end and why. What goes over it is in front_stream.c.
 * See front_internal.h.
 */
#include "ingest/front/front_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/values/log.h"

/* ---- states ------------------------------------------------------------------------------ */

void connection_enter(struct connection *c, enum connection_state state)
{
    c->state = state;
    c->since = c->front->time.now;
}

bool connection_reads(const struct connection *c)
{
    switch (c->state) {
    case CONNECTION_HANDSHAKE:
    case CONNECTION_OPENING:
    case CONNECTION_LINGERING:
        return true;
    case CONNECTION_SESSION:
        return c->waits_since == 0 && c->out.len < FRONT_OUT_PAUSE;
    case CONNECTION_IDENTITY:
    case CONNECTION_FLUSHING:
    case CONNECTION_GONE:
        break;
    }
    return false;
}

/* Watches for what the state can deal with. */
void connection_watch(struct connection *c)
{
    short wanted = (short)((connection_reads(c) ? EV_READ : 0) | (c->wants_write ? EV_WRITE : 0));

    if (wanted == c->watching || c->state == CONNECTION_GONE)
        return;
    event_del(c->event);
    if (wanted != 0) {
        event_assign(c->event, c->front->base, tls_fd(c->tls), (short)(wanted | EV_PERSIST), connection_happened, c);
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

void connection_wait_for_room(struct connection *c)
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

void connection_read_again(struct connection *c)
{
    if (c->again)
        return;
    c->again = true;
    c->next_again = c->front->again;
    c->front->again = c;
}

/* ---- memory ------------------------------------------------------------------------------ */

void connection_count_held(struct connection *c)
{
    struct front *f = c->front;

    *(c->admitted ? &f->held : &f->strangers) -= c->held;
    c->admitted = c->admitted || (c->session != NULL && session_connected(c->session));
    c->held = c->in.len;
    *(c->admitted ? &f->held : &f->strangers) += c->held;
}

/* Bytes that one depositor may hold, of what all may. */
static uint64_t share_of(const struct front *f)
{
    uint64_t share = f->limit_held / FRONT_SHARES, one = f->rules.frame.body_bytes + f->rules.frame.header_bytes;

    return share > one ? share : one;
}

const char *connection_holds_too_much(const struct connection *c)
{
    const struct front *f = c->front;
    uint64_t sum = 0;

    if (c->in.len == 0)
        return NULL;
    if (!c->admitted && c->in.len > f->rules.frame.header_bytes + FRONT_READ_FULL)
        return "the frame that opens a session is too long";
    if (!c->admitted)
        return f->strangers > FRONT_STRANGERS_MAX ? "too many sessions are being opened at once, try again later" : NULL;
    if (f->held > f->limit_held)
        return "frames not yet whole hold too many bytes in all, send again later";
    if (f->held <= share_of(f))
        return NULL;
    for (const struct connection *other = f->connections; other != NULL; other = other->next)
        sum += other->admitted && other->depositor == c->depositor ? other->held : 0;
    return sum > share_of(f) ? "frames not yet whole hold too many bytes in all sessions of this depositor, send again later" : NULL;
}

bool connection_transacts_too_much(const struct connection *c, int64_t bytes)
{
    const struct front *f = c->front;
    int64_t share = (int64_t)share_of(f) > (int64_t)f->rules.transaction_bytes ? (int64_t)share_of(f) : (int64_t)f->rules.transaction_bytes, sum = bytes;

    if (f->transactions + bytes > (int64_t)f->limit_held)
        return true;
    if (f->transactions + bytes <= share)
        return false;
    for (const struct connection *other = f->connections; other != NULL; other = other->next)
        sum += other->depositor == c->depositor ? other->transactions : 0;
    return sum > share;
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

void connection_name(const struct connection *c, char *fields, size_t size)
{
    log_field(fields, size, "peer", slice_text(c->peer));
    if (c->subject == NULL)
        return;
    log_field(fields, size, "cn", slice_text(c->subject->cn));
    log_field(fields, size, "ou", slice_text(c->subject->ou));
    log_field(fields, size, "serial", slice_text(c->subject->serial));
}

/* Every connection's end is told once, with its reason. */
static void tell_end(struct connection *c, unsigned why, const char *text)
{
    char fields[1100] = "", counts[160] = "";

    connection_name(c, fields, sizeof fields);
    log_field(fields, sizeof fields, "end", slice_text(connection_end_text(why)));
    if (c->session != NULL)
        log_field(fields, sizeof fields, "protocol", slice_text(session_protocol_text(c->session)));
    if (c->session != NULL) {
        const struct session_counts *n = session_counts(c->session);

        snprintf(counts, sizeof counts,
                 " (%" PRIu64 " deposits, %" PRIu64 " receipts, %" PRIu64 " answers, %" PRIu64 " refusals, %zu unconfirmed)", n->deposits,
                 n->receipts, n->answers, n->refusals, session_pending(c->session));
    }
    admission_closed(c, text);
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
    sum->refusals += n->refusals;
    session_free(c->session);
    c->session = NULL;
    buf_free(&c->in);
    connection_count_held(c);
}

/* Closes the descriptor now; the struct waits for the end of the turn, and for its tickets. */
void connection_discard(struct connection *c)
{
    struct front *f = c->front;

    if (c->state == CONNECTION_GONE)
        return;
    if (c->session != NULL)
        drop_session(c);
    identity_gone(c);
    map_take(&f->by_number, c->number);
    event_free(c->event);
    tls_stream_free(c->tls);
    buf_free(&c->in);
    buf_free(&c->out);
    connection_count_held(c);
    free(c->subject);
    free(c->refusal_text);
    free(c->reason);
    c->refusal_text = c->reason = NULL;
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
    connection_discard(c);
}

/* The last words are written: the peer has a moment to read them before the descriptor is closed under them. */
void connection_linger(struct connection *c)
{
    tls_close(c->tls);
    shutdown(tls_fd(c->tls), SHUT_WR);
    connection_enter(c, CONNECTION_LINGERING);
}

/* A session that has ended: told, then what it said last is written. */
void connection_check_session(struct connection *c)
{
    if (c->state != CONNECTION_SESSION || session_ended(c->session) == SESSION_OPEN)
        return;
    tell_end(c, session_ended(c->session), session_end_reason(c->session));
    drop_session(c);
    c->waits_since = 0;
    connection_enter(c, CONNECTION_FLUSHING);
}

/* ---- time -------------------------------------------------------------------------------- */

static bool timed_out(struct connection *c)
{
    const struct front *f = c->front;
    uint64_t in_state = f->time.now - c->since;

    if (c->state == CONNECTION_HANDSHAKE && in_state > f->handshake_ms)
        connection_end(c, FRONT_END_HANDSHAKE, "the TLS handshake took too long");
    else if (c->state == CONNECTION_LINGERING && in_state > (c->cut ? FRONT_CUT_MS : FRONT_LINGER_MS))
        connection_discard(c);
    else if (c->state == CONNECTION_FLUSHING && c->cut && in_state > FRONT_CUT_MS)
        connection_discard(c);
    else if (c->blocked_since != 0 && f->time.now - c->blocked_since > f->write_ms)
        connection_end(c, (enum front_end)SESSION_SLOW, "the peer does not read what is sent to it");
    return c->state == CONNECTION_GONE;
}

static void give_back_memory(struct connection *c)
{
    if (c->session != NULL)
        session_trim(c->session);
    if (c->in.len == 0)
        buf_free(&c->in);
    if (c->out.len == 0)
        buf_free(&c->out);
    tls_free_buffers(c->tls);
    c->trimmed = true;
}

static void give_up_opening(struct connection *c)
{
    char why[80];

    snprintf(why, sizeof why, "no first frame within %" PRIu64 " ms", c->front->connect_ms);
    connection_fail_opening(c, SESSION_SLOW, why);
}

void connection_tick(struct connection *c)
{
    struct front *f = c->front;

    if (timed_out(c))
        return;
    if (c->state == CONNECTION_IDENTITY && f->time.now - c->since > f->connect_ms)
        admission_time_out(c);
    else if (c->state == CONNECTION_OPENING && f->time.now - c->since > f->connect_ms)
        give_up_opening(c);
    if (c->state != CONNECTION_SESSION)
        return;
    if (c->depositor != 0 && c->orphaned != 0 && f->time.now - c->orphaned > FRONT_LAPSE_MS) {
        admission_lapsed(c);
        return;
    }
    if ((c->watching & EV_READ) == 0)
        session_heard(c->session, f->time); /* our choice: the peer is not silent */
    if (c->waits_since != 0 && f->time.now - c->waits_since > f->stall_ms) {
        session_stalled(c->session, "queue unavailable, send again later: no room for more deposits");
        if (session_ended(c->session) == SESSION_OPEN)
            connection_resume(c);
    }
    session_tick(c->session, f->time, f->period);
    if (session_ended(c->session) != SESSION_OPEN || (c->out.len != 0 && !c->wants_write))
        connection_touch(c);
    else if (!c->trimmed && f->time.now - c->active > FRONT_IDLE_MS)
        give_back_memory(c);
}

void connection_drain(struct connection *c)
{
    if (c->state == CONNECTION_HANDSHAKE || c->state == CONNECTION_IDENTITY) {
        connection_end(c, (enum front_end)SESSION_SHUTDOWN, "the vault is shutting down");
        return;
    }
    if (c->state == CONNECTION_OPENING) {
        connection_fail_opening(c, SESSION_SHUTDOWN, "the vault is shutting down");
        return;
    }
    if (c->session == NULL)
        return;
    session_drain(c->session);
    connection_touch(c);
}

/* ---- beginning --------------------------------------------------------------------------- */

void connection_accept(struct front *f, int fd, const char *peer)
{
    struct connection *c = mem_zalloc(1, sizeof *c);
    struct err e = {0};
    int one = 1;

    c->front = f;
    c->tls = tls_trust_accept(f->trust, fd, &e);
    if (c->tls == NULL) {
        log_error("connection-failed", "%s", e.text);
        close(fd);
        free(c);
        return;
    }
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    snprintf(c->peer, sizeof c->peer, "%s", peer);
    buf_init_secret(&c->in, f->rules.frame.header_bytes + f->rules.frame.body_bytes + 2 * FRONT_READ_MAX);
    buf_init(&c->out, FRONT_OUT_MAX);
    c->number = ++f->connection_number;
    map_put(&f->by_number, c->number, c);
    c->active = f->time.now;
    c->event = event_new(f->base, fd, EV_READ | EV_PERSIST, connection_happened, c);
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
