/*
 * The identity process as front sees it: the certificate shown to strangers, what theirs are worth, and who is cut when that changes.
 * See front.h. Messages of siblings are not trusted.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "exporter/front.h"

enum {
    PRESENT_QUEUE_MAX = 1 << 20, /* bytes waiting towards identity: beyond it connections take turns */
    PRESENT_TURN = 1024,         /* connections presented in one turn of the loop */
    SILENT_S = 30,               /* identity says how it is every second: after so many it is taken for dead */
};

/* ---- presenting ------------------------------------------------------------------------------------ */

static void flush(struct front *f)
{
    struct err e = {0};

    if (f->identity.channel == NULL)
        return;
    if (!channel_flush(f->identity.channel, &e)) {
        event_active(f->identity.readable, EV_READ, 0); /* the end is dealt with there, outside of whoever sends */
        return;
    }
    if (channel_queued(f->identity.channel) != 0)
        event_add(f->identity.writable, NULL);
}

static void judge(struct front_connection *c, unsigned allowed, unsigned barred, enum identity_check check, struct slice reason)
{
    struct front_peer *p = &c->peer;
    bool first = !p->judged;

    p->judged = true;
    p->allowed = allowed;
    p->barred = barred;
    p->check = check;
    snprintf(p->reason, sizeof p->reason, "%.*s", (int)(reason.len < sizeof p->reason ? reason.len : sizeof p->reason - 1),
             reason.len == 0 ? "" : (const char *)reason.at);
    if (first && allowed == 0)
        c->front->refused++;
}

/* False: identity takes nothing now. */
static bool send_present(struct front_connection *c)
{
    struct front *f = c->front;
    struct identity_present m = {.connection = c->identifier, .address = slice_text(c->peer.host)};
    struct tls_chain chain = {0};
    struct err e = {0};
    bool ok = true;

    if (tls_peer_present(c->tls, &chain, &e)) {
        m.count = chain.count;
        memcpy(m.der, chain.der, sizeof m.der);
        ok = identity_send_present(f->identity.channel, &m, &e);
    } else {
        c->peer.has_certificate = false;
        judge(c, 0, 0, IDENTITY_MALFORMED, slice_text(e.text));
    }
    tls_chain_free(&chain);
    if (ok) {
        c->presented = c->peer.has_certificate;
        f->identity.waiting--;
    }
    return ok;
}

/* Those who wait, a few at a time: after a restart of identity it is all of them. */
static void present_waiting(struct front *f)
{
    struct front_identity *i = &f->identity;

    for (unsigned looked = 0, turn = 0; i->waiting != 0 && looked < f->slot_count && turn < PRESENT_TURN; looked++) {
        struct front_connection *c;

        if (i->channel == NULL || channel_queued(i->channel) > PRESENT_QUEUE_MAX)
            break;
        i->cursor = (i->cursor + 1) % f->slot_count;
        c = f->slots[i->cursor];
        if (c == NULL || c->state == FRONT_HANDSHAKE || c->presented || !c->peer.has_certificate)
            continue;
        if (!send_present(c))
            break;
        turn++;
    }
    flush(f);
    if (i->channel != NULL && i->waiting != 0)
        event_add(i->writable, NULL);
}

void front_present(struct front_connection *c)
{
    struct front *f = c->front;
    struct front_peer *p = &c->peer;
    X509 *certificate = tls_peer_certificate(c->tls);

    p->has_certificate = certificate != NULL;
    if (certificate == NULL) {
        judge(c, 0, 0, IDENTITY_MISSING, SLICE_LITERAL("no certificate was presented"));
        return;
    }
    p->readable = tls_subject_of(certificate, &p->subject, NULL);
    X509_free(certificate);
    f->identity.waiting++;
    if (f->identity.channel == NULL || channel_queued(f->identity.channel) > PRESENT_QUEUE_MAX || !send_present(c))
        return;
    flush(f);
}

void front_withdraw(struct front_connection *c)
{
    struct front *f = c->front;

    if (!c->presented) {
        if (c->peer.has_certificate)
            f->identity.waiting--;
        return;
    }
    c->presented = false;
    /* A full channel means an identity that reads nothing: its end will make it forget. */
    if (f->identity.channel != NULL && identity_send_gone(f->identity.channel, c->identifier, NULL))
        flush(f);
}

/* ---- what follows from a verdict ------------------------------------------------------------------- */

/* Readers and functional administrators are the regulator's, technical administrators the operator's: identity knows by which authority. */
static unsigned bound(const struct front_connection *c, unsigned among)
{
    static const enum roster_profile served[] = {ROSTER_READER, ROSTER_TECHNICAL, ROSTER_FUNCTIONAL};
    const struct front_peer *p = &c->peer;
    unsigned profiles = 0;
    uint32_t id;

    if (!p->judged || !p->readable)
        return 0;
    for (unsigned i = 0; i < sizeof served / sizeof *served; i++)
        if ((among & 1u << served[i]) != 0 && roster_find(c->front->roster, served[i], &p->subject, &id))
            profiles |= 1u << served[i];
    return profiles;
}

unsigned front_profiles(const struct front_connection *c)
{
    return bound(c, c->peer.allowed);
}

bool front_is_barred(const struct front_connection *c)
{
    return bound(c, c->peer.barred) != 0;
}

/* What the kernel still holds for the peer goes too: it is not entitled to that either. */
static void cut(struct front_connection *c, const char *code, const char *why)
{
    const struct linger at_once = {1, 0};

    c->front->cut++;
    front_record_cut(c, code, why);
    (void)setsockopt(tls_fd(c->tls), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    front_drop(c, why);
}

/* Something is being answered: a request, or the rest of what has been. */
static bool is_served(const struct front_connection *c)
{
    return c->state != FRONT_JUDGING && (c->has_head || c->state == FRONT_WAITING || c->state == FRONT_SENDING || c->state == FRONT_FLUSHING);
}

void front_review(struct front_connection *c)
{
    const struct front_peer *p = &c->peer;
    unsigned now;

    if (!p->judged)
        return;
    if (c->state == FRONT_JUDGING) {
        front_serve(c);
        front_continue(c);
        return;
    }
    now = front_profiles(c);
    if (c->held == 0)
        return;
    if (p->allowed == 0)
        cut(c, validate_code(p->check), p->reason);
    else if (now == 0 && front_is_barred(c))
        cut(c, validate_code(IDENTITY_ADDRESS), c->peer.host);
    else if (now == 0)
        cut(c, "not-bound", "the subject is bound to no profile any more");
    else if (is_served(c) && !api_allowed(c->call.resource, now))
        cut(c, "not-allowed", "the profile that gave this right is gone");
    else
        c->held = now;
}

void front_review_all(struct front *f)
{
    for (unsigned i = 0; i < f->slot_count; i++)
        if (f->slots[i] != NULL && f->slots[i]->state != FRONT_HANDSHAKE)
            front_review(f->slots[i]);
}

/* ---- our own certificate --------------------------------------------------------------------------- */

/* The keys role may read the new key a moment later than identity the new certificate. */
static void try_fresh(struct front *f)
{
    struct err e = {0};

    if (f->fresh == NULL || !remote_line_linked(f->line))
        return;
    if (!tls_trust_try(f->fresh, &e)) {
        log_warning("certificate-waits", "the server's certificate is not shown before its key can be used: %s", e.text);
        return;
    }
    tls_trust_release(f->trust);
    f->trust = f->fresh;
    f->fresh = NULL;
    log_info("certificate", "a server certificate is in force");
    front_watch_listeners(f);
}

static bool take_server(struct front *f, struct slice body, struct err *e)
{
    struct identity_server m;
    struct tls_trust_options o;
    struct tls_trust *fresh;
    struct err bad = {0};

    if (!identity_read_server(body, &m, e))
        return false;
    o = (struct tls_trust_options){.chain = m.chain, .anchors = m.anchors, .depth = m.depth, .client = TLS_CLIENT_REPORTED};
    fresh = tls_trust_new(&o, f->line, &bad);
    if (fresh == NULL) {
        log_error("reload-refused", "the server certificate in force stays: %s", bad.text);
        return true;
    }
    tls_trust_release(f->fresh);
    f->fresh = fresh;
    try_fresh(f);
    return true;
}

/* ---- messages -------------------------------------------------------------------------------------- */

static bool take_verdict(struct front *f, struct slice body, struct err *e)
{
    struct identity_verdict v;
    struct front_connection *c;
    unsigned slot;

    if (!identity_read_verdict(body, &v, e))
        return false;
    slot = (unsigned)(v.connection & ((1u << FRONT_SLOT_BITS) - 1));
    c = slot < f->slot_count ? f->slots[slot] : NULL;
    if (c == NULL || c->identifier != v.connection || !c->presented)
        return true; /* gone meanwhile */
    if (v.profiles == 0 && v.check == IDENTITY_PASSED)
        return err_set(e, ERR_INPUT, "a verdict that is none");
    judge(c, v.profiles, v.barred, v.check, v.reason);
    front_review(c);
    return true;
}

static bool take_staple(struct front *f, struct slice body, struct err *e)
{
    struct tls_trust *of = f->fresh != NULL ? f->fresh : f->trust; /* of the certificate that was given last */
    struct slice response;

    if (!identity_read_staple(body, &response, e))
        return false;
    if (of != NULL)
        tls_trust_staple(of, response);
    return true;
}

static bool take_health(struct front *f, struct slice body, struct err *e)
{
    struct health fresh;

    if (!health_read(body, &fresh, e))
        return false;
    f->identity.health = fresh;
    f->identity.spoke = true;
    f->identity.silent = 0;
    return true;
}

static bool take_message(struct front *f, const struct channel_message *m, struct err *e)
{
    if (m->fd >= 0) {
        close(m->fd);
        return err_set(e, ERR_INPUT, "a descriptor");
    }
    switch (m->type) {
    case IDENTITY_SERVER:
        return take_server(f, m->body, e);
    case IDENTITY_VERDICT:
        return take_verdict(f, m->body, e);
    case IDENTITY_STAPLE:
        return take_staple(f, m->body, e);
    case IDENTITY_HEALTH:
        return take_health(f, m->body, e);
    default:
        return err_set(e, ERR_INPUT, "message %u", m->type);
    }
}

static void readable(evutil_socket_t fd, short what, void *arg)
{
    struct front *f = arg;
    struct channel_message m;
    struct err e = {0};
    enum channel_result r = CHANNEL_EMPTY;

    (void)fd;
    (void)what;
    while (f->identity.channel != NULL && (r = channel_receive(f->identity.channel, &m, &e)) == CHANNEL_MESSAGE)
        if (!take_message(f, &m, &e)) {
            role_kill_sibling(f->role, "identity", 0); /* only a new one is linked again */
            r = CHANNEL_CLOSED;
            break;
        }
    if (r == CHANNEL_CLOSED)
        front_lose_identity(f, e.text);
    front_bury(f);
}

static void writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    present_waiting(arg);
}

/* ---- its coming and going -------------------------------------------------------------------------- */

/* Verdicts stay in force a while: a new identity gives them again at once. */
void front_lose_identity(struct front *f, const char *why)
{
    struct front_identity *i = &f->identity;

    if (i->channel == NULL)
        return;
    log_write(f->draining ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING, "identity-lost", NULL, "the identity process is gone: %s", why);
    event_free(i->readable);
    event_free(i->writable);
    channel_free(i->channel);
    i->channel = NULL;
    for (unsigned s = 0; s < f->slot_count; s++) {
        struct front_connection *c = f->slots[s];

        if (c == NULL || !c->presented)
            continue;
        c->presented = false;
        i->waiting++;
    }
}

void front_link_identity(struct front *f, struct channel *c)
{
    struct front_identity *i = &f->identity;

    front_lose_identity(f, "a new one is there");
    i->channel = c;
    i->spoke = false;
    i->readable = event_new(f->base, channel_fd(c), EV_READ | EV_PERSIST, readable, f);
    i->writable = event_new(f->base, channel_fd(c), EV_WRITE, writable, f);
    event_add(i->readable, NULL);
    present_waiting(f);
}

/* Nobody has looked for too long whether these certificates still are good: what is being answered ends, new requests wait for identity again. */
static void lapse(struct front *f)
{
    log_error("identity-silent", "verdicts on certificates are not believed any more: identity has said nothing for %d s", SILENT_S);
    for (unsigned s = 0; s < f->slot_count; s++) {
        struct front_connection *c = f->slots[s];

        if (c == NULL || !c->peer.has_certificate)
            continue;
        c->peer.judged = false;
        if (c->held != 0 && is_served(c) && !api_is_open(c->call.resource))
            cut(c, "not-verifiable", "nobody has checked certificates for too long");
    }
    if (f->identity.channel != NULL && f->identity.spoke)
        role_kill_sibling(f->role, "identity", 0);
}

void front_tend_identity(struct front *f)
{
    if (f->draining)
        return;
    try_fresh(f);
    if (++f->identity.silent == SILENT_S)
        lapse(f);
    else if (f->identity.silent % SILENT_S == 0 && f->identity.channel != NULL && f->identity.spoke)
        role_kill_sibling(f->role, "identity", 0);
}
