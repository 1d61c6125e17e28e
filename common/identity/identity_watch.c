/*
 * What ends when: every certificate in the files that the settings name, CRLs, and the clients seen. Warnings at the distances of expiry.warn go to the log and the journal. A CRL is
 * there to be replaced: it is watched in the last quarter of its time only.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/identity/identity_internal.h"
#include "common/identity/pkix.h"
#include "common/values/log.h"

static const char client_prefix[] = "client "; /* how names of clients' certificates begin */

/* A certificate of ours, or a CRL. */
struct named {
    char name[EXPIRY_NAME_MAX];
    int64_t ends;
};

struct names {
    struct named *at; /* owned */
    size_t count, room;
};

struct identity_watch {
    struct identity *owner;
    struct expiry *expiry;
    char *distances; /* owned: what `expiry` was made of */
    struct names ours, lists;
    uint64_t warnings;
};

static bool holds(const struct names *n, const char *name)
{
    for (size_t i = 0; i < n->count; i++)
        if (strcmp(n->at[i].name, name) == 0)
            return true;
    return false;
}

static void add(struct names *n, const char *name, int64_t ends)
{
    if (holds(n, name))
        return;
    if (n->count == n->room) {
        n->room = n->room == 0 ? 16 : n->room * 2;
        n->at = mem_realloc(n->at, n->room * sizeof *n->at);
    }
    snprintf(n->at[n->count].name, sizeof n->at[n->count].name, "%.*s", (int)sizeof n->at->name - 1, name);
    n->at[n->count++].ends = ends;
}

/* Those that are no longer there are forgotten; those that stay keep the warnings they had. */
static void replace(struct identity_watch *w, struct names *old, struct names *fresh)
{
    for (size_t i = 0; i < old->count; i++)
        if (!holds(fresh, old->at[i].name))
            expiry_remove(w->expiry, old->at[i].name);
    for (size_t i = 0; i < fresh->count; i++)
        expiry_set(w->expiry, fresh->at[i].name, fresh->at[i].ends);
    free(old->at);
    *old = *fresh;
}

/* ---- files ---- */

/* The end of a path is what tells files apart. */
static const char *tail(const char *path)
{
    size_t len = strlen(path);

    return len > 100 ? path + len - 100 : path;
}

static void gather_file(void *ctx, const char *path)
{
    struct names *names = ctx;
    struct err e = {0};
    STACK_OF(X509) *all = policy_load_certificates(path, &e);

    /* Keys, lists, and what is not there yet: others say so where it matters. */
    for (int n = 0; all != NULL && n < sk_X509_num(all); n++) {
        X509 *x = sk_X509_value(all, n);
        char name[EXPIRY_NAME_MAX], subject[PKIX_NAME_TEXT];
        int64_t ends;

        snprintf(name, sizeof name, "certificate %s (%.150s)", tail(path), pkix_name_text(subject, X509_get_subject_name(x)));
        if (pkix_time(X509_get0_notAfter(x), &ends))
            add(names, name, ends);
    }
    policy_certificates_free(all);
}

static void gather_list(struct names *names, const struct settings_list *paths)
{
    for (unsigned n = 0; n < paths->count; n++)
        gather_file(names, paths->items[n]);
}

/* Whichever of them this daemon's configuration names; an empty path is none. */
static void gather_files(struct names *names, const struct settings *s)
{
    const char *const files[] = {s->operator_pki.ca,         s->regulator.ca,           s->rabbitmq.ca,
                                 s->ingest.certificate,      s->ingest.rabbitmq_certificate,
                                 s->sealer.seal_certificate, s->sealer.tsa_certificate, s->sealer.rabbitmq_certificate,
                                 s->exporter.certificate,    s->exporter.rabbitmq_certificate};

    for (size_t n = 0; n < sizeof files / sizeof *files; n++)
        if (files[n] != NULL && *files[n] != '\0')
            gather_file(names, files[n]);
    for (unsigned n = ROSTER_DEPOSITOR; n <= ROSTER_FUNCTIONAL; n++)
        if (s->profiles[n].ca != NULL && *s->profiles[n].ca != '\0')
            gather_file(names, s->profiles[n].ca);
    gather_list(names, &s->regulator.recipients);
}

void identity_watch_configure(struct identity_watch *w)
{
    struct names names = {0};
    const char *distances = w->owner->settings->expiry.warn;
    struct err e = {0};

    if (w->distances == NULL || strcmp(w->distances, distances) != 0) {
        struct expiry *fresh = expiry_new(distances, &e);

        if (fresh == NULL) {
            log_error("reload-refused", "expiry.warn: %s", e.text);
            return;
        }
        expiry_free(w->expiry);
        free(w->distances);
        w->expiry = fresh;
        w->distances = mem_strdup(distances);
        free(w->lists.at);
        w->lists = (struct names){0};
    }
    gather_files(&names, w->owner->settings);
    replace(w, &w->ours, &names);
}

/* ---- CRLs ---- */

static void watch_lists(struct identity_watch *w)
{
    const struct crl_set *set = identity_lists_set(w->owner->lists);
    struct names names = {0};
    int64_t now = identity_wall();

    for (size_t n = 0; n < crl_set_count(set); n++) {
        struct crl_entry entry = crl_set_at(set, n);
        char name[EXPIRY_NAME_MAX];

        if (entry.next_update - now >= (entry.next_update - entry.this_update) / 4)
            continue;
        snprintf(name, sizeof name, "CRL of %.140s (%s)", entry.issuer, tail(entry.source));
        add(&names, name, entry.next_update);
    }
    replace(w, &w->lists, &names);
}

/* ---- clients ---- */

void identity_watch_client(struct identity_watch *w, X509 *leaf)
{
    char name[EXPIRY_NAME_MAX], subject[PKIX_NAME_TEXT], serial[PKIX_SERIAL_TEXT];
    int64_t ends;

    snprintf(name, sizeof name, "%s%s, serial %s", client_prefix, pkix_name_text(subject, X509_get_subject_name(leaf)), pkix_serial_text(serial, leaf));
    if (pkix_time(X509_get0_notAfter(leaf), &ends))
        expiry_set(w->expiry, name, ends);
}

/* ---- saying so ---- */

static const char *left_text(char out[32], int64_t left)
{
    const char *sign = left < 0 ? "-" : "";
    int64_t s = (left < 0 ? -left : left) / 1000;

    if (s >= 2 * 86400)
        snprintf(out, 32, "%s%" PRId64 " d", sign, s / 86400);
    else if (s >= 2 * 3600)
        snprintf(out, 32, "%s%" PRId64 " h", sign, s / 3600);
    else
        snprintf(out, 32, "%s%" PRId64 " s", sign, s);
    return out;
}

static void warn(struct identity_watch *w, const struct expiry_warning *x)
{
    char left[32], when[PKIX_TIME_TEXT];
    const struct journal_field fields[] = {JOURNAL_TEXT("name", x->name), JOURNAL_TEXT("ends", pkix_time_text(when, x->ends)),
                                           JOURNAL_TEXT("left", left_text(left, x->left))};

    w->warnings++;
    journal_write(w->owner->journal, "expiry", fields, sizeof fields / sizeof *fields);
    if (x->left < 0)
        log_error("expiry", "%s is over since %s", x->name, when);
    else
        log_warning("expiry", "%s ends %s, in %s", x->name, when, left);
}

void identity_watch_tick(struct identity_watch *w)
{
    struct expiry_warning x;
    int64_t now = identity_wall();

    watch_lists(w);
    while (expiry_next(w->expiry, now, &x)) {
        warn(w, &x);
        /* Its holder has another one by now, or is gone: said once. */
        if (x.left < 0 && strncmp(x.name, client_prefix, strlen(client_prefix)) == 0) {
            char *name = mem_strdup(x.name);

            expiry_remove(w->expiry, name);
            free(name);
        }
    }
}

/* Of our own certificates the one that ends first. */
static const struct named *nearest(const struct identity_watch *w)
{
    const struct named *first = NULL;

    for (size_t n = 0; n < w->ours.count; n++)
        if (first == NULL || w->ours.at[n].ends < first->ends)
            first = &w->ours.at[n];
    return first;
}

bool identity_watch_health(const struct identity_watch *w, char *note, size_t size)
{
    const struct named *first = nearest(w);
    char left[32];

    if (first == NULL) {
        snprintf(note, size, "no certificate is watched");
        return true;
    }
    left_text(left, first->ends - identity_wall());
    if (first->ends <= identity_wall())
        snprintf(note, size, "%.200s is over", first->name);
    else
        snprintf(note, size, "%.200s ends first, in %s", first->name, left);
    return first->ends > identity_wall();
}

const char *identity_watch_warning(const struct identity_watch *w, char *out, size_t size)
{
    int64_t now = identity_wall();
    struct expiry_warning x;
    char left[32];

    out[0] = '\0';
    if (!expiry_first(w->expiry, &x, now) || !expiry_is_near(w->expiry, x.left))
        return out;
    if (x.left <= 0)
        snprintf(out, size, "; %.200s is over", x.name);
    else
        snprintf(out, size, "; %.200s ends in %s", x.name, left_text(left, x.left));
    return out;
}

void identity_watch_metrics(const struct identity_watch *w, struct buf *out)
{
    const struct named *first = nearest(w);
    struct expiry_warning x;
    bool ok = buf_printf(out, NULL, "coffre_identity_expiry_warnings_total %" PRIu64 "\n", w->warnings);

    if (ok && first != NULL)
        ok = buf_printf(out, NULL, "coffre_identity_certificate_left_seconds %" PRId64 "\n", (first->ends - identity_wall()) / 1000);
    if (ok && expiry_first(w->expiry, &x, identity_wall()))
        ok = buf_printf(out, NULL, "coffre_identity_nearest_expiry_seconds %" PRId64 "\n", x.left / 1000);
    if (!ok)
        log_debug("metrics-full", "metrics of the watch do not fit");
}

struct identity_watch *identity_watch_new(struct identity *i)
{
    struct identity_watch *w = mem_zalloc(1, sizeof *w);

    w->owner = i;
    return w;
}

void identity_watch_free(struct identity_watch *w)
{
    if (w == NULL)
        return;
    expiry_free(w->expiry);
    free(w->distances);
    free(w->ours.at);
    free(w->lists.at);
    free(w);
}
