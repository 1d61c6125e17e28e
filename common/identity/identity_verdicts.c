/*
 * What fronts are told of those who have presented themselves, and what is recorded of it: a front hears of a verdict once for each PRESENT, and again whenever it changes. See
 * identity_people_internal.h.
 */
#include <inttypes.h>
#include <stdio.h>

#include "common/identity/identity_people_internal.h"
#include "common/identity/pkix.h"
#include "common/journal/omitted.h"
#include "common/values/log.h"

enum { MINUTE_MS = 60 * 1000, NAME_MAX_BYTES = 256 /* of an issuer, of a reason: what kinds of records are called */ };

/* How far a validation came: what is closest to passing is what its holder needs to hear. A revocation is never hidden behind an unknown one. */
static unsigned how_far(enum identity_check check)
{
    static const enum identity_check order[] = {IDENTITY_MISSING, IDENTITY_MALFORMED,   IDENTITY_FOREIGN,  IDENTITY_INVALID,   IDENTITY_EXPIRED,
                                                IDENTITY_NOT_YET, IDENTITY_CONSTRAINTS, IDENTITY_USAGE,    IDENTITY_WEAK,      IDENTITY_UNCHECKED,
                                                IDENTITY_REVOKED, IDENTITY_SUBJECT,     IDENTITY_ADDRESS};

    for (unsigned i = 0; i < sizeof order / sizeof *order; i++)
        if (order[i] == check)
            return i + 1;
    return 0;
}

struct outcome {
    unsigned profiles, barred, overridden;
    enum identity_check check;
    const char *why;     /* of the standing that came furthest */
    unsigned profile;    /* whose it is */
    bool pending;
};

static struct outcome sum_up(const struct identity *i, const struct identity_connection *c)
{
    struct outcome o = {.check = IDENTITY_FOREIGN, .why = "no profile is offered here"};

    for (unsigned n = ROSTER_DEPOSITOR; n <= ROSTER_FUNCTIONAL; n++) {
        const struct identity_policy *p = people_policy(i, n);
        const struct identity_standing *s = &c->person->of[n];
        enum identity_check check = s->check;
        const char *why = s->why;

        if (p == NULL)
            continue;
        o.pending = o.pending || s->pending;
        /* An answer that has not come yet takes nothing away from who has been let in before it was asked for. */
        if (check == IDENTITY_UNCHECKED && c->told && s->pending && !s->ended && (c->profiles & 1u << n) != 0)
            check = IDENTITY_PASSED;
        if (check == IDENTITY_PASSED && !allow_permits(&p->allow, c->address)) {
            check = IDENTITY_ADDRESS;
            why = c->address;
            o.barred |= 1u << n;
        }
        if (check == IDENTITY_PASSED) {
            o.profiles |= 1u << n;
            o.overridden |= s->overridden ? 1u << n : 0;
        } else if (o.profile == 0 || how_far(check) > how_far(o.check)) {
            o.check = check;
            o.why = why;
            o.profile = n;
        }
    }
    if (o.profiles != 0)
        o.check = IDENTITY_PASSED;
    return o;
}

/* CN, OU and serial for people, whatever they are made of. */
static void name_holder(X509 *leaf, char *out, size_t size)
{
    char name[PKIX_NAME_TEXT], serial[PKIX_SERIAL_TEXT];

    if (leaf == NULL)
        snprintf(out, size, "unreadable");
    else
        snprintf(out, size, "%s, serial %s", pkix_name_text(name, X509_get_subject_name(leaf)), pkix_serial_text(serial, leaf));
}

/* ---- records, of which nobody makes us write more than so many ---- */

/* Without the serial numbers ("serial 0A1B: ") that tell people apart: what is left is of a kind. */
static void without_serials(const char *why, char *out, size_t size)
{
    static const char word[] = "serial ";
    size_t len = 0;

    while (*why != '\0' && len + 1 < size) {
        if (strncmp(why, word, sizeof word - 1) == 0) {
            size_t digits = strspn(why + sizeof word - 1, "-0123456789ABCDEF");

            if (strncmp(why + sizeof word - 1 + digits, ": ", 2) == 0) {
                why += sizeof word - 1 + digits + 2;
                continue;
            }
        }
        out[len++] = *why++;
    }
    out[len] = '\0';
}

/* A kind is an issuer and a reason: a responder that is dead must not hide that another authority's list has ended. */
static void record_unknown(struct identity_people *p, const struct identity_connection *c, const char *why)
{
    struct tls_subject subject;
    char serial[PKIX_SERIAL_TEXT], issuer[PKIX_NAME_TEXT], reason[NAME_MAX_BYTES];
    X509 *leaf = people_leaf(c->person);
    bool named = tls_subject_of(leaf, &subject, NULL);
    const struct journal_field fields[] = {JOURNAL_TEXT("cn", named ? subject.cn : ""), JOURNAL_TEXT("ou", named ? subject.ou : ""),
                                           JOURNAL_TEXT("serial", pkix_serial_text(serial, leaf)), JOURNAL_TEXT("peer", c->address),
                                           JOURNAL_TEXT("issuer", pkix_name_text(issuer, X509_get_issuer_name(leaf))), JOURNAL_TEXT("reason", why)};

    without_serials(why, reason, sizeof reason);

    const struct quota_name kind = {{slice_text(issuer), slice_text(reason)}}, others = {{slice_text(issuer)}};

    if (!quota_take(p->unknown, (uint64_t)identity_clock(), &kind, &others))
        return;
    log_warning("revocation-unknown", "%s: %s", serial, why);
    journal_write(p->owner->journal, "revocation-unknown", fields, sizeof fields / sizeof *fields);
}

static void record_override(struct identity_people *p, const struct identity_connection *c, enum roster_profile profile)
{
    const struct quota_name kind = {{slice_text(roster_profile_name(profile))}};
    char holder[PKIX_NAME_TEXT + PKIX_SERIAL_TEXT + 16];

    p->owner->overrides_used++;
    if (!quota_take(p->overridden, (uint64_t)identity_clock(), &kind, &kind))
        return;
    name_holder(people_leaf(c->person), holder, sizeof holder);
    identity_overrides_used(p->owner, profile, holder, c->address);
}

static void tell_omitted(struct identity_people *p, bool all)
{
    static const struct omitted_form unknown = {"revocation-unknown-omitted", {"issuer", "reason"}}, overridden = {"override-used-omitted", {"profile"}};
    uint64_t now = (uint64_t)identity_clock();
    struct quota_count count;

    while (quota_tell(p->unknown, now, all, &count)) {
        log_warning("revocation-unknown", "%s: %s: %" PRIu64 " more", count.name[0], count.name[1], count.omitted);
        omitted_write(p->owner->journal, &unknown, &count, now);
    }
    while (quota_tell(p->overridden, now, all, &count)) {
        log_warning("override-used", "%s: %" PRIu64 " more", count.name[0], count.omitted);
        omitted_write(p->owner->journal, &overridden, &count, now);
    }
}

void verdicts_begin(struct identity_people *p)
{
    static const struct quota_limits unknown = {.kinds = 64, .others = 16, .part = NAME_MAX_BYTES, .each = 100, .all = 1000, .window = MINUTE_MS};
    static const struct quota_limits overridden = {.kinds = ROSTER_FUNCTIONAL + 1, .part = 32, .each = 100, .all = 400, .window = MINUTE_MS};

    p->unknown = quota_new(&unknown);
    p->overridden = quota_new(&overridden);
}

void verdicts_tick(struct identity_people *p)
{
    tell_omitted(p, false);
}

void verdicts_end(struct identity_people *p)
{
    tell_omitted(p, true);
    quota_free(p->unknown);
    quota_free(p->overridden);
}

static void record(struct identity_people *p, struct identity_connection *c, const struct outcome *o)
{
    if (o->check == IDENTITY_UNCHECKED && (!c->told || c->check != IDENTITY_UNCHECKED))
        record_unknown(p, c, o->why);
    for (unsigned n = ROSTER_DEPOSITOR; n <= ROSTER_FUNCTIONAL; n++)
        if ((o->overridden & 1u << n) != 0 && (c->overridden & 1u << n) == 0)
            record_override(p, c, (enum roster_profile)n);
    c->overridden = o->overridden;
}

void verdicts_tell(struct identity_people *p, struct identity_connection *c)
{
    struct identity *i = p->owner;
    struct outcome o = sum_up(i, c);
    struct identity_verdict v = {.connection = c->number, .profiles = o.profiles, .barred = o.barred, .check = o.check};
    char reason[600] = "";
    struct err e = {0};

    if (!c->told && o.pending)
        return;
    record(p, c, &o);
    if (c->told && c->profiles == o.profiles && c->barred == o.barred && c->check == o.check)
        return;
    if (o.profiles == 0)
        snprintf(reason, sizeof reason, "%s: %s", o.profile == 0 ? "any profile" : roster_profile_name((enum roster_profile)o.profile), o.why);
    v.reason = slice_text(reason);
    log_debug("verdict", "front %u, connection %" PRIu64 ": %s, profiles %#x: %s", c->front, c->number, validate_code(o.check), o.profiles, reason);
    c->told = true;
    c->profiles = o.profiles;
    c->barred = o.barred;
    c->check = o.check;
    p->verdicts[o.check]++;
    if (i->fronts[c->front].channel != NULL && !i->fronts[c->front].failed && !identity_send_verdict(i->fronts[c->front].channel, &v, &e))
        identity_front_failed(i, c->front, e.text);
}
