/*
 * Who may have a session: identity's verdict on the certificate, and a role binding for its subject (design: second level of control). Both are looked at again whenever
 * either changes, and whoever has lost its right is cut. The wire hears what a stranger may know; log and journal hear all. See front_internal.h.
 */
#include "ingest/front/front_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/journal/omitted.h"
#include "common/values/log.h"

/* ---- log and journal ------------------------------------------------------------------------- */

enum { FIELDS_MAX = 8 };

static void record(const struct connection *c, const char *event, const char *check, const char *reason)
{
    const struct tls_subject *s = c->subject;
    struct journal_field fields[FIELDS_MAX] = {
        JOURNAL_TEXT("peer", c->peer), JOURNAL_TEXT("cn", s == NULL ? "" : s->cn), JOURNAL_TEXT("ou", s == NULL ? "" : s->ou),
        JOURNAL_TEXT("serial", s == NULL ? "" : s->serial)};
    unsigned count = 4;

    if (check == NULL)
        fields[count++] = (struct journal_field)JOURNAL_TEXT("profile", roster_profile_name(ROSTER_DEPOSITOR));
    else
        fields[count++] = (struct journal_field)JOURNAL_TEXT("check", check);
    if (reason != NULL)
        fields[count++] = (struct journal_field)JOURNAL_TEXT("reason", reason);
    front_record(c->front, event, fields, count);
}

/* Whoever reaches the port can be refused as often as he likes. */
static void record_refusal(const struct connection *c, const char *check, const char *reason)
{
    const char *port = strrchr(c->peer, ':');
    struct slice address = slice_of(c->peer, port == NULL ? strlen(c->peer) : (size_t)(port - c->peer));

    if (refusals_take(c->front->refusals, c->front->time.now, address, slice_text(c->subject == NULL ? "" : c->subject->serial), check))
        record(c, "session-refused", check, reason);
}

void admission_tell_omitted(struct front *f, bool all)
{
    static const struct omitted_form form = {"refusals-omitted", {"peer", "serial", "check"}};

    omitted_tell(f->journal, &form, f->refusals, f->time.now, all);
}

static void tell(const struct connection *c, const char *event, const char *check, const char *reason)
{
    char fields[1100] = "";

    connection_name(c, fields, sizeof fields);
    log_field(fields, sizeof fields, "check", slice_text(check));
    log_write(LOG_LEVEL_WARNING, event, fields, "%s", reason);
}

void admission_opened(struct connection *c)
{
    c->opened = true;
    record(c, "session-opened", NULL, NULL);
}

void admission_closed(struct connection *c, const char *reason)
{
    if (c->opened && !c->cut) /* that has been told */
        record(c, "session-closed", NULL, reason);
    c->opened = false;
}

/* ---- the handshake's own refusals -------------------------------------------------------------- */

void admission_tls_refused(struct connection *c, bool denied, const char *reason)
{
    long fault = tls_peer_fault(c->tls);

    if (!denied) /* a scanner, a client of another protocol: it is nobody yet */
        return;
    if (c->subject == NULL) {
        c->subject = mem_zalloc(1, sizeof *c->subject);
        if (!tls_peer_subject(c->tls, c->subject, NULL)) {
            free(c->subject);
            c->subject = NULL;
        }
    }
    c->front->counts.denied++;
    record_refusal(c, validate_code(fault == X509_V_OK ? IDENTITY_MISSING : validate_fault(fault)), reason);
}

/* ---- deciding ------------------------------------------------------------------------------------ */

enum { OBSTACLE_TEXT = TLS_NAME_MAX * 2 + 100 };

/* What stands in the way. */
struct obstacle {
    enum session_end end;
    const char *check;
    char reason[OBSTACLE_TEXT]; /* for log and journal */
    char said[OBSTACLE_TEXT];   /* for the peer: nothing of ours, and its own names at most */
};

static bool certificate_passes(const struct connection *c, struct obstacle *o)
{
    enum identity_check check = (enum identity_check)c->check;

    if ((c->profiles & 1u << ROSTER_DEPOSITOR) != 0)
        return true;
    /* It holds another profile of this daemon's, of which there is none today: not ours to serve here. */
    if (check == IDENTITY_PASSED)
        check = IDENTITY_FOREIGN;
    o->end = check == IDENTITY_UNCHECKED || check == IDENTITY_FULL ? SESSION_UNVERIFIED : SESSION_CERTIFICATE;
    o->check = validate_code(check);
    snprintf(o->said, sizeof o->said, "%s", validate_sentence(check));
    snprintf(o->reason, sizeof o->reason, "%s", c->reason != NULL ? c->reason : o->said);
    return false;
}

static bool subject_is_bound(const struct connection *c, uint32_t *id, struct obstacle *o)
{
    if (c->subject != NULL && roster_find(c->front->roster, ROSTER_DEPOSITOR, c->subject, id))
        return true;
    o->end = SESSION_DENIED;
    o->check = "not-bound";
    if (c->subject != NULL)
        snprintf(o->said, sizeof o->said, "the certificate (CN \"%s\", OU \"%s\") is not bound to a depositor", c->subject->cn, c->subject->ou);
    else
        snprintf(o->said, sizeof o->said, "the certificate's subject cannot be bound to a depositor: one CN, at most one OU");
    memcpy(o->reason, o->said, sizeof o->reason);
    return false;
}

void admission_refuse(struct connection *c, enum session_end end, const char *check, const char *reason, const char *said)
{
    c->depositor = 0;
    c->refusal = end;
    free(c->refusal_text);
    c->refusal_text = mem_strdup(said);
    c->front->counts.denied++;
    tell(c, "session-refused", check, reason);
    record_refusal(c, check, reason);
    connection_open(c);
}

/* In the middle of whatever it does: what it has not committed is dropped, what it has not acknowledged goes back. */
static void cut(struct connection *c, const struct obstacle *o)
{
    if (c->session == NULL) {
        admission_refuse(c, o->end, o->check, o->reason, o->said);
        return;
    }
    if (session_ended(c->session) != SESSION_OPEN)
        return;
    c->cut = true;
    c->front->counts.cut++;
    tell(c, "session-cut", o->check, o->reason);
    record(c, "session-cut", o->check, o->reason);
    session_fail(c->session, o->end, o->said);
    connection_touch(c);
}

void admission_look(struct connection *c)
{
    struct obstacle o = {.end = SESSION_OPEN};
    uint32_t id = 0;
    bool right;

    if (!c->judged || c->front->roster == NULL || c->refusal != SESSION_OPEN)
        return;
    if (c->state != CONNECTION_IDENTITY && c->state != CONNECTION_OPENING && c->state != CONNECTION_SESSION)
        return;
    right = certificate_passes(c, &o) && subject_is_bound(c, &id, &o);
    if (c->state == CONNECTION_IDENTITY) {
        c->depositor = id;
        if (right)
            connection_open(c);
        else
            admission_refuse(c, o.end, o.check, o.reason, o.said);
        return;
    }
    if (right && id == c->depositor)
        return;
    if (o.end == SESSION_OPEN || o.end == SESSION_DENIED) { /* revoked, or bound to another depositor now */
        o.end = SESSION_REVOKED;
        o.check = "not-bound";
        snprintf(o.said, sizeof o.said, "the certificate is no longer bound to %s", id == 0 ? "a depositor" : "this depositor");
        memcpy(o.reason, o.said, sizeof o.reason);
    }
    cut(c, &o);
}

void admission_lapsed(struct connection *c)
{
    static const struct obstacle o = {SESSION_UNVERIFIED, "not-verifiable", "the identity role is away, or gives no verdict: the one from before is not believed any more",
                                      "the certificate cannot be verified now, try again later"};

    cut(c, &o);
}

void admission_time_out(struct connection *c)
{
    const struct front *f = c->front;

    if (c->judged)
        admission_refuse(c, SESSION_UNAVAILABLE, "not-verifiable", "role bindings are not known yet",
                         "role bindings are not known yet, try again later");
    else
        admission_refuse(c, SESSION_UNVERIFIED, "not-verifiable",
                         f->identity.channel == NULL ? "the identity role is away" : "the identity role gave no verdict in time",
                         "the certificate cannot be verified now, try again later");
}
