/* What one profile's policy says of one presented chain: path, then revocation of each of its certificates, then subject. See identity_internal.h. */
#include <stdio.h>

#include "common/identity/identity_internal.h"
#include "common/identity/pkix.h"

static bool asks_crl(const struct identity_policy *p)
{
    return p->revocation == REVOCATION_BY_CRL || p->revocation == REVOCATION_BY_EITHER || p->revocation == REVOCATION_BY_BOTH;
}

static bool asks_ocsp(const struct identity_policy *p)
{
    return p->revocation == REVOCATION_BY_OCSP || p->revocation == REVOCATION_BY_EITHER || p->revocation == REVOCATION_BY_BOTH;
}

/* The anchor is believed because it is configured: nobody is asked about it. */
static int asked_count(const struct identity_standing *s)
{
    int count = sk_X509_num(s->path) - 1;

    return count > IDENTITY_PATH_MAX ? IDENTITY_PATH_MAX : count;
}

void identity_standing_begin(struct identity *i, const struct identity_policy *p, const struct identity_chain *chain, int64_t now, struct identity_standing *s)
{
    struct err why = {0};

    *s = (struct identity_standing){.until = INT64_MAX, .chain = IDENTITY_MALFORMED};
    if (chain == NULL)
        err_set(&why, ERR_DENIED, "what was presented is not X.509");
    else
        s->chain = validate_chain(p, chain, now, &s->path, &why);
    s->check = s->chain;
    snprintf(s->why, sizeof s->why, "%.*s", (int)sizeof s->why - 1, why.text);
    if (s->chain != IDENTITY_PASSED)
        return;
    s->end = validate_path_end(s->path);
    for (int n = 0; asks_ocsp(p) && n < asked_count(s); n++)
        s->answers[n] = identity_ocsp_use(i->ocsp, sk_X509_value(s->path, n), sk_X509_value(s->path, n + 1), p->responder);
}

void identity_standing_end(struct identity *i, struct identity_standing *s)
{
    policy_certificates_free(s->path);
    for (int n = 0; n < IDENTITY_PATH_MAX; n++)
        identity_ocsp_leave(i->ocsp, s->answers[n]);
    *s = (struct identity_standing){0};
}

static void not_after(struct identity_standing *s, int64_t until, int64_t now)
{
    if (until > now && until < s->until)
        s->until = until;
}

/*
 * With `either` one good answer is enough; but not one that is older than a "revoked" which has only ended since: whoever keeps a responder or a server of lists silent must not have taken it back. It takes the place of what its kind says.
 */
static void hear_ended(struct identity *i, const struct identity_standing *s, int n, int64_t now, struct revocation_finding *crl, struct revocation_finding *ocsp)
{
    const struct revocation_finding *said = s->answers[n] == NULL ? NULL : identity_ocsp_revokes(s->answers[n]);
    struct revocation_finding listed;

    if (crl->answer == REVOCATION_GOOD && ocsp->answer == REVOCATION_UNKNOWN && said != NULL && said->this_update >= crl->this_update)
        *ocsp = *said;
    else if (ocsp->answer == REVOCATION_GOOD && crl->answer == REVOCATION_UNKNOWN &&
             identity_lists_revoke(i->lists, sk_X509_value(s->path, n), sk_X509_value(s->path, n + 1), now, &listed) && listed.this_update >= ocsp->this_update)
        *crl = listed;
}

/* What CRLs and OCSP say of one certificate of the path, weighed by the policy. `why` names the one that decided. */
static enum revocation_answer weigh_one(struct identity *i, const struct identity_policy *p, int n, int64_t now, struct identity_standing *s,
                                        char why[sizeof s->why], bool *pending, bool *ended)
{
    X509 *x = sk_X509_value(s->path, n), *issuer = sk_X509_value(s->path, n + 1);
    struct revocation_finding crl = {.answer = REVOCATION_UNKNOWN};
    struct identity_ocsp_view ocsp = {.found.answer = REVOCATION_UNKNOWN};
    enum revocation_answer answer;

    if (asks_crl(p)) {
        crl = crl_set_check(identity_lists_set(i->lists), x, issuer, now, (int64_t)i->settings->revocation.max_stale);
        not_after(s, crl.until, now);
    }
    if (s->answers[n] != NULL) {
        identity_ocsp_look(s->answers[n], now, &ocsp);
        not_after(s, ocsp.found.until, now);
    }
    if (p->revocation == REVOCATION_BY_EITHER)
        hear_ended(i, s, n, now, &crl, &ocsp.found);
    answer = validate_weigh(p->revocation, crl.answer, ocsp.found.answer);
    /* An answer under way is waited for unless it cannot make a difference: the other one suffices, or is missing for good. */
    *pending = ocsp.pending && !(p->revocation == REVOCATION_BY_EITHER && crl.answer == REVOCATION_GOOD) &&
               !(p->revocation == REVOCATION_BY_BOTH && crl.answer != REVOCATION_GOOD) && crl.answer != REVOCATION_REVOKED;
    *ended = ocsp.ended;
    if (answer == REVOCATION_REVOKED)
        snprintf(why, sizeof s->why, "%s", crl.answer == REVOCATION_REVOKED ? crl.text : ocsp.found.text);
    else if (answer == REVOCATION_UNKNOWN)
        snprintf(why, sizeof s->why, "%.190s%s%.190s", asks_crl(p) && crl.answer == REVOCATION_UNKNOWN ? crl.text : "",
                 asks_crl(p) && crl.answer == REVOCATION_UNKNOWN && asks_ocsp(p) && ocsp.found.answer == REVOCATION_UNKNOWN ? "; OCSP: " : "",
                 asks_ocsp(p) && ocsp.found.answer == REVOCATION_UNKNOWN ? ocsp.found.text : "");
    return answer;
}

/* Of the whole path: one that is revoked decides, then one of which nothing is known. */
static enum revocation_answer weigh_path(struct identity *i, const struct identity_policy *p, int64_t now, struct identity_standing *s)
{
    enum revocation_answer worst = REVOCATION_GOOD;

    s->pending = s->ended = false;
    for (int n = 0; n < asked_count(s); n++) {
        char why[sizeof s->why] = "";
        bool pending, ended;
        enum revocation_answer answer = weigh_one(i, p, n, now, s, why, &pending, &ended);

        s->pending = s->pending || pending;
        s->ended = s->ended || ended;
        if (answer == REVOCATION_GOOD || worst == REVOCATION_REVOKED || (worst == REVOCATION_UNKNOWN && answer == REVOCATION_UNKNOWN))
            continue;
        worst = answer;
        memcpy(s->why, why, sizeof s->why);
    }
    return worst;
}

/* What was revoked stays so when its list or answer ends: an override is for what nobody knows. */
static bool is_known_revoked(const struct identity *i, const struct identity_policy *p, int64_t now, struct identity_standing *s)
{
    for (int n = 0; n < asked_count(s); n++) {
        const struct revocation_finding *ocsp = s->answers[n] == NULL ? NULL : identity_ocsp_revokes(s->answers[n]);
        struct revocation_finding crl = {.answer = REVOCATION_UNKNOWN};
        bool listed = asks_crl(p) && identity_lists_revoke(i->lists, sk_X509_value(s->path, n), sk_X509_value(s->path, n + 1), now, &crl);

        if (!listed && ocsp == NULL)
            continue;
        snprintf(s->why, sizeof s->why, "%s", listed ? crl.text : ocsp->text);
        return true;
    }
    return false;
}

void identity_standing_weigh(struct identity *i, const struct identity_policy *p, int64_t now, struct identity_standing *s)
{
    enum revocation_answer revocation;
    struct tls_subject subject;
    struct err why = {0};

    if (s->chain != IDENTITY_PASSED)
        return;
    s->until = s->end;
    s->overridden = false;
    s->why[0] = '\0';
    s->check = IDENTITY_PASSED;
    revocation = p->revocation == REVOCATION_NOT_CHECKED ? REVOCATION_GOOD : weigh_path(i, p, now, s);
    if (revocation == REVOCATION_REVOKED) {
        s->check = IDENTITY_REVOKED;
        s->pending = false;
        return;
    }
    /* An override lets pass what nobody knows, and waits for nobody. */
    if ((revocation == REVOCATION_UNKNOWN || s->pending) && identity_overrides_in_force(i, p->profile, now)) {
        if (is_known_revoked(i, p, now, s)) {
            s->check = IDENTITY_REVOKED;
            s->pending = false;
            return;
        }
        s->overridden = revocation == REVOCATION_UNKNOWN;
        s->pending = false;
    } else if (revocation == REVOCATION_UNKNOWN) {
        s->check = IDENTITY_UNCHECKED;
        return;
    }
    if (!tls_subject_of(sk_X509_value(s->path, 0), &subject, &why)) {
        s->check = IDENTITY_SUBJECT;
        snprintf(s->why, sizeof s->why, "%.*s", (int)sizeof s->why - 1, why.text);
    }
}
