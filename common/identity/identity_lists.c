/*
 * CRLs: from files and folders, and from URLs. What is refused leaves what was there before in force; what was taken is kept in <state_dir>/crl through restarts. The parts are
 * in identity_lists_internal.h; here is what others ask of all of them.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/identity/identity_lists_internal.h"
#include "common/identity/pkix.h"
#include "common/values/log.h"

/* Whom the authorities no longer vouch for must fall: all lists are verified again, from nothing. */
static void begin_again(struct identity_lists *l)
{
    crl_set_lose(l->set, NULL);
    lists_files_again(l);
    lists_urls_again(l);
}

void identity_lists_configure(struct identity_lists *l, bool authorities)
{
    if (l->owner->duty->offered == 0)
        return;
    if (authorities)
        begin_again(l);
    lists_files_scan(l);
    lists_urls_configure(l);
}

void identity_lists_tick(struct identity_lists *l)
{
    if (l->owner->duty->offered == 0)
        return;
    lists_files_scan(l);
    lists_urls_tick(l);
}

const struct crl_set *identity_lists_set(const struct identity_lists *l)
{
    return l->set;
}

bool identity_lists_revoke(const struct identity_lists *l, X509 *certificate, X509 *issuer, int64_t now, struct revocation_finding *f)
{
    *f = crl_set_check(l->set, certificate, issuer, now, INT64_MAX / 2);
    return f->answer == REVOCATION_REVOKED;
}

/* Whether a list of this authority is in force. */
static bool covered(const struct identity_lists *l, X509 *authority, int64_t now)
{
    char name[PKIX_NAME_TEXT];

    pkix_name_text(name, X509_get_subject_name(authority));
    for (size_t n = 0; n < crl_set_count(l->set); n++) {
        struct crl_entry entry = crl_set_at(l->set, n);

        if (strcmp(entry.issuer, name) == 0 && entry.next_update + (int64_t)l->owner->settings->revocation.max_stale > now)
            return true;
    }
    return false;
}

bool identity_lists_health(const struct identity_lists *l, char *note, size_t size)
{
    const struct identity *i = l->owner;
    const struct lists_url *troubled;
    int64_t now = identity_wall();

    for (unsigned p = ROSTER_DEPOSITOR; p <= ROSTER_FUNCTIONAL; p++) {
        const struct identity_policy *policy = &i->policies->of[p];

        if (!policy->offered || (policy->revocation != REVOCATION_BY_CRL && policy->revocation != REVOCATION_BY_BOTH))
            continue;
        for (int n = 0; n < sk_X509_num(policy->authorities); n++) {
            X509 *authority = sk_X509_value(policy->authorities, n);
            char name[PKIX_NAME_TEXT];

            if (covered(l, authority, now))
                continue;
            snprintf(note, size, "no list in force of %s", pkix_name_text(name, X509_get_subject_name(authority)));
            return false;
        }
    }
    troubled = lists_urls_troubled(l);
    if (troubled != NULL)
        snprintf(note, size, "%zu lists in force; %.80s: %.120s", crl_set_count(l->set), troubled->text, troubled->trouble);
    else
        snprintf(note, size, "%zu lists in force", crl_set_count(l->set));
    return true;
}

void identity_lists_metrics(const struct identity_lists *l, struct buf *out)
{
    int64_t oldest = 0, first = INT64_MAX, now = identity_wall();
    size_t revoked = 0;
    bool ok;

    for (size_t n = 0; n < crl_set_count(l->set); n++) {
        struct crl_entry entry = crl_set_at(l->set, n);

        revoked += entry.revoked;
        oldest = now - entry.this_update > oldest ? now - entry.this_update : oldest;
        first = entry.next_update < first ? entry.next_update : first;
    }
    ok = buf_printf(out, NULL,
                    "coffre_identity_crls %zu\ncoffre_identity_crl_entries %zu\ncoffre_identity_crls_taken_total %" PRIu64
                    "\ncoffre_identity_crls_refused_total %" PRIu64 "\ncoffre_identity_crl_fetches_total %" PRIu64
                    "\ncoffre_identity_crl_fetch_failures_total %" PRIu64 "\n",
                    crl_set_count(l->set), revoked, l->taken, l->refused, l->fetched, l->fetch_failed);
    if (ok && first != INT64_MAX)
        ok = buf_printf(out, NULL, "coffre_identity_crl_age_seconds %" PRId64 "\ncoffre_identity_crl_left_seconds %" PRId64 "\n", oldest / 1000,
                        (first - now) / 1000);
    if (!ok)
        log_debug("metrics-full", "metrics of CRLs do not fit");
}

struct identity_lists *identity_lists_new(struct identity *i)
{
    struct identity_lists *l = mem_zalloc(1, sizeof *l);

    l->owner = i;
    l->set = crl_set_new();
    return l;
}

void identity_lists_free(struct identity_lists *l)
{
    if (l == NULL)
        return;
    lists_files_free(l);
    lists_urls_free(l);
    crl_set_free(l->set);
    free(l);
}
