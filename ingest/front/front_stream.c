/*
 * What goes over a sensor's connection: handshake, protocol, input, output. See front_internal.h.
 * Everything read here is a stranger's until the certificate is bound, and a depositor's afterwards.
 */
#include "ingest/front/front_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ingest/openwire/preamble.h"

/* ---- certificate ------------------------------------------------------------------------- */

void connection_open(struct connection *c)
{
    connection_enter(c, CONNECTION_OPENING);
    connection_watch(c);
    connection_read_again(c);
}

/* Who it says it is; identity judges, the role bindings decide (front_admission.c). */
static void identify(struct connection *c)
{
    struct err e = {0};

    if (!tls_peer_verified(c->tls, &e)) {
        admission_tls_refused(c, true, e.text);
        connection_end(c, FRONT_END_TLS, e.text);
        return;
    }
    c->subject = mem_zalloc(1, sizeof *c->subject);
    if (!tls_peer_subject(c->tls, c->subject, &e)) {
        free(c->subject);
        c->subject = NULL;
    }
    connection_enter(c, CONNECTION_IDENTITY);
    connection_watch(c);
    tls_peer_share(c->tls);
    identity_present(c);
}

static void handshake(struct connection *c)
{
    struct err e = {0};
    enum tls_result r = tls_handshake(c->tls, &e);

    c->wants_write = r == TLS_WANT_WRITE;
    if (r == TLS_OK)
        identify(c);
    else if (r == TLS_ERROR || r == TLS_CLOSED) {
        admission_tls_refused(c, e.code == ERR_DENIED, e.text);
        connection_end(c, FRONT_END_TLS, e.text);
    } else
        connection_watch(c);
}

/* ---- input ------------------------------------------------------------------------------- */

enum opening { OPENING_MORE, OPENING_STOMP, OPENING_OPENWIRE, OPENING_UNKNOWN };

/* Which protocol the first bytes are of: an OpenWire client begins with a WireFormatInfo, a STOMP client with CONNECT or STOMP. */
static enum opening detect(struct slice in)
{
    static const char *const words[] = {"CONNECT", "STOMP"};
    enum opening best = OPENING_UNKNOWN;

    switch (openwire_detect(in)) {
    case OPENWIRE_OPENING_YES:
        return OPENING_OPENWIRE;
    case OPENWIRE_OPENING_MORE:
        best = OPENING_MORE;
        break;
    case OPENWIRE_OPENING_NO:
        break;
    }
    for (unsigned i = 0; i < sizeof words / sizeof *words; i++) {
        size_t len = strlen(words[i]), n = in.len < len ? in.len : len;

        if (n == 0 || memcmp(in.at, words[i], n) == 0)
            return n == len ? OPENING_STOMP : OPENING_MORE;
    }
    return best;
}

static void open_session(struct connection *c, const struct session_protocol *protocol)
{
    struct session_refusal refusal = {c->refusal, c->refusal_text};
    struct front *f = c->front;
    char name[64];

    snprintf(name, sizeof name, "%u-%ld-%" PRIu64, role_index(f->role), (long)getpid(), c->number);
    c->session = session_new(protocol, &f->rules, &front_session_ops, c, &c->out, c->depositor, &refusal, name, f->time);
    if (f->connection_count <= FRONT_KEEP_MAX)
        tls_keep_buffers(c->tls);
    connection_enter(c, CONNECTION_SESSION);
}

/* In words, as a STOMP error: what comes next to plain text. */
void connection_fail_opening(struct connection *c, enum session_end end, const char *text)
{
    open_session(c, &stomp_protocol);
    session_fail(c->session, end, text);
    connection_touch(c);
}

static void take_opening(struct connection *c, struct slice in)
{
    enum opening how = detect(in);

    switch (how) {
    case OPENING_MORE:
        break;
    case OPENING_STOMP:
    case OPENING_OPENWIRE:
        open_session(c, how == OPENING_STOMP ? &stomp_protocol : &openwire_protocol);
        if (c->refusal == SESSION_OPEN)
            admission_opened(c);
        break;
    case OPENING_UNKNOWN:
        connection_fail_opening(c, SESSION_PROTOCOL, "this port speaks STOMP 1.0 to 1.2 (the first frame is CONNECT or STOMP) and OpenWire 6 to 12");
        break;
    }
}

/* Consumes what can be consumed of `in`, which is c->in or the shared scratch. */
static void take_input(struct connection *c, struct buf *in)
{
    const char *too_much;

    if (c->state == CONNECTION_OPENING) {
        while (in->len != 0 && (buf_slice(in).at[0] == '\n' || buf_slice(in).at[0] == '\r'))
            buf_consume(in, 1); /* heart-beats of a STOMP client that is early */
        take_opening(c, buf_slice(in));
    }
    if (c->state == CONNECTION_SESSION) {
        buf_consume(in, session_input(c->session, buf_slice(in), c->front->time));
        if (!session_blocked(c->session))
            c->waits_since = 0;
        else
            connection_wait_for_room(c);
    }
    if (in != &c->in && in->len != 0) {
        struct err e = {0};

        if (!buf_add_slice(&c->in, buf_slice(in), &e) && c->session != NULL)
            session_fail(c->session, SESSION_LIMIT, e.text);
        buf_reset(in);
    }
    connection_count_held(c);
    too_much = c->session == NULL || c->waits_since != 0 ? NULL : connection_holds_too_much(c);
    if (too_much != NULL)
        session_fail(c->session, c->admitted ? SESSION_UNAVAILABLE : SESSION_LIMIT, too_much);
    connection_touch(c);
}

/* What a peer still sends while it reads our last words: nobody's any more. */
static void swallow(struct connection *c)
{
    uint8_t *room = buf_reserve(&c->front->scratch, FRONT_READ_MAX, NULL);
    ssize_t n = room == NULL ? -1 : recv(tls_fd(c->tls), room, FRONT_READ_MAX, MSG_DONTWAIT);

    if (n <= 0)
        connection_discard(c);
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
    if ((c->state != CONNECTION_OPENING && c->state != CONNECTION_SESSION) || !connection_reads(c))
        return;
    c->active = c->front->time.now;
    c->trimmed = false;
    r = tls_read(c->tls, in, front_is_full(c->front) ? FRONT_READ_FULL : FRONT_READ_MAX, &e);
    if (in->len != 0)
        take_input(c, in);
    if (r == TLS_CLOSED || r == TLS_ERROR) {
        connection_check_session(c); /* it may have said DISCONNECT just before, and still read */
        if (r == TLS_CLOSED && c->state == CONNECTION_FLUSHING)
            return;
        connection_end(c, FRONT_END_CLOSED, r == TLS_CLOSED ? "the peer closed the connection" : e.text);
        return;
    }
    if (r == TLS_WANT_WRITE)
        c->wants_write = true;
    if (tls_buffered(c->tls))
        connection_read_again(c);
    if (c->state == CONNECTION_OPENING || r == TLS_WANT_WRITE)
        connection_watch(c);
}

void connection_resume(struct connection *c)
{
    if (c->state != CONNECTION_SESSION || c->waits_since == 0)
        return;
    c->active = c->front->time.now;
    take_input(c, &c->in);
    if (c->waits_since == 0)
        connection_read_again(c);
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
        connection_end(c, FRONT_END_CLOSED, e.text);
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
    connection_check_session(c);
    if (!c->wants_write)
        write_out(c);
    if (c->state == CONNECTION_FLUSHING && c->out.len == 0)
        connection_linger(c);
    connection_watch(c);
}

void connection_happened(evutil_socket_t fd, short what, void *arg)
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
