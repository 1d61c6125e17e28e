/*
 * What becomes of a source's CRLs, file or URL: taken and recorded, kept in <state_dir>/crl through restarts, refused, dropped. Nothing is believed before crl_set_take() has verified it,
 * copies that this role kept itself included.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "common/identity/identity_lists_internal.h"
#include "common/identity/pkix.h"
#include "common/system/durable.h"
#include "common/values/log.h"

static const int64_t any_age = INT64_MAX / 2; /* ms */

/* ---- records ---- */

/* The first entry of a source, for records; NULL: none. */
static const struct crl_entry *entry_of(const struct identity_lists *l, const char *source, struct crl_entry *e)
{
    for (size_t n = 0; n < crl_set_count(l->set); n++) {
        *e = crl_set_at(l->set, n);
        if (strcmp(e->source, source) == 0)
            return e;
    }
    return NULL;
}

static void record(const struct identity_lists *l, const char *event, const char *source, const char *reason)
{
    struct crl_entry entry;
    bool known = entry_of(l, source, &entry) != NULL;
    const struct journal_field fields[] = {JOURNAL_TEXT("source", source), JOURNAL_TEXT("issuer", known ? entry.issuer : ""),
                                           JOURNAL_TEXT("number", known ? entry.number : ""), JOURNAL_TEXT("reason", reason)};

    journal_write(l->owner->journal, event, fields, sizeof fields / sizeof *fields);
}

static void record_taken(struct identity_lists *l, const char *source, bool kept)
{
    struct crl_entry entry;
    char reason[200], when[PKIX_TIME_TEXT];

    l->taken++;
    if (entry_of(l, source, &entry) == NULL)
        return;
    snprintf(reason, sizeof reason, "%s%zu revoked, next update %s", kept ? "kept from before: " : "", entry.revoked, pkix_time_text(when, entry.next_update));
    log_info("crl-taken", "%s (%s): %s", source, entry.issuer, reason);
    record(l, "crl-taken", source, reason);
}

void lists_refuse(struct identity_lists *l, const char *source, const char *reason)
{
    size_t len = strlen(source);

    /* Reasons may begin with the source. */
    if (strncmp(reason, source, len) == 0 && strncmp(reason + len, ": ", 2) == 0)
        reason += len + 2;
    l->refused++;
    log_warning("crl-refused", "%s: %s", source, reason);
    record(l, "crl-refused", source, reason);
}

/* ---- copies ---- */

/* Each daemon has copies of its own: what one no longer needs is another's still. */
static char *kept_name(const struct identity_lists *l, const char *source)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    char text[33];
    unsigned len = 0;

    if (EVP_Digest(source, strlen(source), digest, &len, EVP_sha256(), NULL) != 1)
        abort();
    for (unsigned n = 0; n < 16; n++)
        snprintf(text + 2 * n, 3, "%02x", digest[n]);
    return mem_printf("%s/crl/%s-%s.crl", l->owner->settings->state_dir, text, l->owner->name);
}

static bool keep(const struct identity_lists *l, const char *source, struct slice bytes)
{
    char *path = kept_name(l, source);
    struct err e = {0};
    bool ok = durable_write(path, bytes, 0600, &e);

    if (!ok)
        log_warning("crl-unwritten", "%s: %s", source, e.text);
    free(path);
    return ok;
}

/* ---- taking ---- */

static bool take(struct identity_lists *l, const char *source, struct slice bytes, bool kept, bool *news, struct err *e)
{
    const struct settings *s = l->owner->settings;
    uint64_t before = crl_set_generation(l->set);

    if (!crl_set_take(l->set, source, bytes, s->revocation.crl_bytes, l->owner->policies->issuers, identity_wall(),
                      kept ? any_age : (int64_t)s->revocation.max_stale, e))
        return false;
    *news = crl_set_generation(l->set) != before; /* else the same again */
    if (*news) {
        l->owner->review = true;
        record_taken(l, source, kept);
    }
    return true;
}

bool lists_take(struct identity_lists *l, const char *source, struct slice bytes, bool *kept, struct err *e)
{
    bool news;

    if (!take(l, source, bytes, false, &news, e))
        return false;
    if (news || !*kept)
        *kept = keep(l, source, bytes);
    return true;
}

bool lists_take_kept(struct identity_lists *l, const char *source)
{
    char *path = kept_name(l, source);
    bool there = access(path, F_OK) == 0, taken = false, news;
    struct buf bytes = {0};
    struct err e = {0};

    if (there)
        taken = policy_read_file(path, l->owner->settings->revocation.crl_bytes, &bytes, &e) && take(l, source, buf_slice(&bytes), true, &news, &e);
    if (there && !taken)
        log_info("crl-kept", "the list of %s kept from before is of no use: %s", source, e.text);
    buf_free(&bytes);
    free(path);
    return taken;
}

void lists_drop(struct identity_lists *l, const char *source, bool configured, const char *reason)
{
    char *path = kept_name(l, source);

    log_warning("crl-dropped", "%s: %s", source, reason);
    record(l, "crl-dropped", source, reason);
    if (configured)
        crl_set_lose(l->set, source);
    else
        crl_set_drop(l->set, source);
    l->owner->review = true;
    if (unlink(path) != 0 && errno != ENOENT)
        log_warning("crl-unwritten", "%s: %s", path, strerror(errno));
    free(path);
}
