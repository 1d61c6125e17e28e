/*
 * The sibling that judges certificates: connections are presented to it, it gives the front its server certificate and authorities, the response to staple, and verdicts.
 * And the way to the journal. Neither is trusted with a length. See front_internal.h.
 */
#include "ingest/front/front_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/values/log.h"

static void drop(struct front *f)
{
    if (f->identity.channel == NULL)
        return;
    event_free(f->identity.readable);
    event_free(f->identity.writable);
    channel_free(f->identity.channel);
    f->identity = (struct link){0};
    for (struct connection *c = f->connections; c != NULL; c = c->next)
        if (c->orphaned == 0)
            c->orphaned = f->time.now;
    front_say_ready(f);
}

static void lose(struct front *f, const char *why)
{
    log_error("channel-bad", "identity: %s", why);
    drop(f);
}

/* ---- presenting ------------------------------------------------------------------------------ */

/* "192.0.2.7:50000" and "2001:db8::1:50000" without the port. */
static struct slice address_of(const struct connection *c)
{
    const char *port = strrchr(c->peer, ':');

    return slice_of(c->peer, port == NULL ? strlen(c->peer) : (size_t)(port - c->peer));
}

void identity_present(struct connection *c)
{
    struct front *f = c->front;
    struct identity_present p = {.connection = c->number, .address = address_of(c)};
    struct tls_chain chain;
    struct err e = {0};

    if (f->identity.channel == NULL)
        return;
    if (!tls_peer_present(c->tls, &chain, &e)) {
        if (c->state == CONNECTION_IDENTITY)
            admission_refuse(c, SESSION_CERTIFICATE, validate_code(IDENTITY_MALFORMED), e.text, validate_sentence(IDENTITY_MALFORMED));
    } else {
        p.count = chain.count;
        memcpy(p.der, chain.der, sizeof p.der);
        c->presented = identity_send_present(f->identity.channel, &p, &e);
        if (!c->presented)
            f->present_again = true;
    }
    tls_chain_free(&chain);
}

void identity_gone(struct connection *c)
{
    struct err e = {0};

    if (c->presented && c->front->identity.channel != NULL && !identity_send_gone(c->front->identity.channel, c->number, &e))
        lose(c->front, e.text); /* it would keep the connection for ever */
    c->presented = false;
}

static void present_all(struct front *f)
{
    f->present_again = false;
    for (struct connection *c = f->connections, *next; c != NULL && f->identity.channel != NULL; c = next) {
        next = c->next;
        if (!c->presented && (c->state == CONNECTION_IDENTITY || c->depositor != 0))
            identity_present(c);
    }
}

/* ---- server certificate, staple ---------------------------------------------------------------- */

void identity_try_trust(struct front *f)
{
    struct err e = {0};

    if (f->fresh == NULL || !remote_line_linked(f->keys) || f->time.now < f->try_at)
        return;
    f->try_at = f->time.now + FRONT_TRY_MS;
    if (!tls_trust_try(f->fresh, &e)) {
        log_warning("certificate-waits", "%s: %s", f->trust == NULL ? "no connection can be taken" : "the certificate in force stays", e.text);
        return;
    }
    tls_trust_release(f->trust); /* handshakes and sessions under way keep theirs */
    f->trust = f->fresh;
    f->fresh = NULL;
    log_info("certificate", "the server certificate and the authorities of depositors are in force");
    front_listen(f);
    front_say_ready(f);
}

static bool take_server(struct front *f, const struct channel_message *m, struct err *e)
{
    struct tls_trust_options o = {.client = TLS_CLIENT_REQUIRED};
    struct identity_server server;
    struct tls_trust *fresh;
    struct err bad = {0};

    if (!identity_read_server(m->body, &server, e))
        return false;
    o.chain = server.chain;
    o.anchors = server.anchors;
    o.depth = server.depth;
    fresh = tls_trust_new(&o, f->keys, &bad);
    if (fresh == NULL) {
        log_error("reload-refused", "the certificate in force stays: %s", bad.text);
        return true;
    }
    tls_trust_release(f->fresh);
    f->fresh = fresh;
    f->try_at = 0;
    identity_try_trust(f);
    return true;
}

/* ---- verdicts ------------------------------------------------------------------------------------ */

static bool take_verdict(struct front *f, const struct channel_message *m, struct err *e)
{
    struct identity_verdict v;
    struct connection *c;
    size_t len;

    if (!identity_read_verdict(m->body, &v, e))
        return false;
    if (v.profiles > UINT8_MAX || v.check >= IDENTITY_CHECKS || (v.profiles == 0) == (v.check == IDENTITY_PASSED))
        return err_set(e, ERR_INPUT, "VERDICT: profiles %u and check %d make no sense", v.profiles, (int)v.check);
    c = map_get(&f->by_number, v.connection);
    if (c == NULL || !c->presented) /* it went while the verdict was under way */
        return true;
    len = v.reason.len < FRONT_REASON_MAX ? v.reason.len : FRONT_REASON_MAX;
    free(c->reason);
    c->reason = len == 0 ? NULL : mem_text(slice_of(v.reason.at, len));
    c->profiles = (uint8_t)v.profiles;
    c->check = (uint8_t)v.check;
    c->judged = true;
    c->orphaned = 0;
    admission_look(c);
    return true;
}

static bool take(struct front *f, const struct channel_message *m, struct err *e)
{
    struct slice staple;

    switch (m->type) {
    case IDENTITY_SERVER:
        return take_server(f, m, e);
    case IDENTITY_STAPLE:
        if (!identity_read_staple(m->body, &staple, e))
            return false;
        if (f->fresh != NULL || f->trust != NULL)
            tls_trust_staple(f->fresh != NULL ? f->fresh : f->trust, staple);
        return true;
    case IDENTITY_VERDICT:
        return take_verdict(f, m, e);
    case IDENTITY_HEALTH:
        return health_read(m->body, &f->health, e);
    default:
        return err_set(e, ERR_INPUT, "message %u makes no sense", m->type);
    }
}

/* ---- link ---------------------------------------------------------------------------------------- */

static void readable(evutil_socket_t fd, short what, void *arg)
{
    struct front *f = arg;
    struct channel_message m;
    enum channel_result r;
    struct err e = {0};

    (void)fd;
    (void)what;
    front_look_at_clock(f);
    f->identity_heard = f->time.now;
    while (f->identity.channel != NULL && (r = channel_receive(f->identity.channel, &m, &e)) != CHANNEL_EMPTY) {
        bool ok = r == CHANNEL_MESSAGE;

        if (ok && m.fd >= 0) {
            close(m.fd);
            ok = err_set(&e, ERR_INPUT, "a descriptor makes no sense");
        }
        if (!ok || !take(f, &m, &e))
            lose(f, e.text);
    }
}

static void writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg; /* the turn ends with a flush */
}

/* What an earlier one said stays true until this one says something else, for FRONT_LAPSE_MS. */
void identity_linked(struct front *f, struct channel *c)
{
    drop(f);
    f->identity.channel = c;
    f->identity_heard = f->time.now;
    f->identity.readable = event_new(f->base, channel_fd(c), EV_READ | EV_PERSIST, readable, f);
    f->identity.writable = event_new(f->base, channel_fd(c), EV_WRITE, writable, f);
    event_add(f->identity.readable, NULL);
    for (struct connection *each = f->connections; each != NULL; each = each->next)
        each->presented = false;
    present_all(f);
}

void identity_flush(struct front *f)
{
    struct err e = {0};

    if (f->identity.channel == NULL || channel_queued(f->identity.channel) == 0)
        return;
    if (!channel_flush(f->identity.channel, &e))
        lose(f, e.text);
    else if (channel_queued(f->identity.channel) != 0)
        event_add(f->identity.writable, NULL);
}

void identity_tick(struct front *f)
{
    if (f->present_again)
        present_all(f);
    identity_try_trust(f);
    if (f->identity.channel == NULL || f->time.now - f->identity_heard < FRONT_SILENCE_MS)
        return;
    f->identity_heard = f->time.now;
    log_error("identity-silent", "it has said nothing for %d s: it is started again", FRONT_SILENCE_MS / 1000);
    role_kill_sibling(f->role, "identity", 0);
}

/* ---- journal ------------------------------------------------------------------------------------- */

static void watch_journal(struct front *f);

static void journal_happened(evutil_socket_t fd, short what, void *arg)
{
    struct front *f = arg;

    (void)fd;
    (void)what;
    journal_serve(f->journal);
    watch_journal(f);
}

/* The channel may be another now, or gone. */
static void watch_journal(struct front *f)
{
    int fd = journal_fd(f->journal);

    if (fd == f->journal_watched)
        return;
    if (f->journal_readable != NULL)
        event_free(f->journal_readable);
    f->journal_watched = fd;
    f->journal_readable = fd < 0 ? NULL : event_new(f->base, fd, EV_READ | EV_PERSIST, journal_happened, f);
    if (f->journal_readable != NULL)
        event_add(f->journal_readable, NULL);
}

void journal_linked(struct front *f, struct channel *c)
{
    /* Forgotten first: the new channel may have the old one's number. */
    if (f->journal_readable != NULL)
        event_free(f->journal_readable);
    f->journal_readable = NULL;
    f->journal_watched = -1;
    journal_link(f->journal, c);
    watch_journal(f);
}

void front_record(struct front *f, const char *event, const struct journal_field *fields, unsigned count)
{
    journal_write(f->journal, event, fields, count);
    watch_journal(f);
}
