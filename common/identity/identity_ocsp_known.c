/*
 * Who OCSP has said is revoked: kept through restarts, and over the end of the answers that said so, so that an override lets none of them in and no older answer played again takes it back
 * (a "good" without our nonce stays valid until its nextUpdate). See identity_ocsp_internal.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/identity/identity_ocsp_internal.h"
#include "common/identity/pkix.h"
#include "common/system/durable.h"
#include "common/values/log.h"

enum { EXPIRE_MS = 3600 * 1000, RETRY_MS = 10 * 1000 };

static char *path_of(const struct identity *i)
{
    return mem_printf("%s/crl/revoked-%s", i->settings->state_dir, i->name);
}

void ocsp_known_load(struct identity_ocsp *o)
{
    char *path = path_of(o->owner);
    struct buf bytes = {0};
    struct err e = {0};

    if (access(path, F_OK) == 0 && (!policy_read_file(path, KNOWN_FILE_MAX, &bytes, &e) || !known_read(o->known, buf_slice(&bytes), &e)))
        log_error("ocsp-known", "%s: %s; whom it named is asked about again", path, e.text);
    buf_free(&bytes);
    free(path);
}

void ocsp_known_begin(struct identity_answer *a)
{
    const struct known_one *one = known_find(a->cache->known, a->subject);

    if (one == NULL)
        return;
    a->found = one->found;
    a->newest = one->found.this_update;
}

void ocsp_known_found(struct identity_answer *a)
{
    struct known_one one = {.found = a->found};

    if (a->found.answer == REVOCATION_GOOD && known_take(a->cache->known, a->subject))
        a->cache->known_changed = true;
    if (a->found.answer != REVOCATION_REVOKED)
        return;
    if (!pkix_time(X509_get0_notAfter(a->certificate), &one.ends))
        one.ends = a->found.until;
    memcpy(one.key, a->subject, sizeof one.key);
    known_put(a->cache->known, &one);
    a->cache->known_changed = true;
}

void ocsp_known_forget(struct identity_answer *a)
{
    if (a->found.answer == REVOCATION_REVOKED && known_take(a->cache->known, a->subject))
        a->cache->known_changed = true;
}

bool ocsp_known_permits(const struct identity_answer *a, const struct revocation_finding *found, int64_t now, struct err *e)
{
    const struct known_one *one = known_find(a->cache->known, a->subject);
    int64_t newest = one != NULL && one->found.this_update > a->newest ? one->found.this_update : a->newest;
    bool revoked = one != NULL || a->found.answer == REVOCATION_REVOKED;
    char is[PKIX_TIME_TEXT], was[PKIX_TIME_TEXT];

    /* Our clock was put back: what was newest then is no measure. A revocation stays all the same. */
    if (!revoked && newest > now + PKIX_SKEW_MS)
        newest = 0;
    if (found->this_update < newest)
        return err_set(e, ERR_INPUT, "the OCSP response is older than the last one: its thisUpdate is %s, that of %s is known (RFC 6960 2.4)",
                       pkix_time_text(is, found->this_update), pkix_time_text(was, newest));
    return !revoked || found->answer != REVOCATION_GOOD || found->this_update > newest ||
           err_set(e, ERR_INPUT, "the OCSP response says good and is no newer than the one that said revoked: %s (RFC 6960 2.4)", pkix_time_text(was, newest));
}

static void keep(struct identity_ocsp *o)
{
    char *path = path_of(o->owner);
    struct err e = {0};
    struct buf bytes;
    bool ok;

    buf_init(&bytes, KNOWN_FILE_MAX);
    ok = known_write(o->known, &bytes, &e) && durable_write(path, buf_slice(&bytes), 0600, &e);
    if (!ok && o->known_retry == 0)
        log_error("ocsp-known", "%s", e.text);
    /* Until there is room: whom OCSP has revoked must not be forgotten by the next start. */
    o->known_changed = !ok;
    o->known_retry = ok ? 0 : identity_clock() + RETRY_MS;
    buf_free(&bytes);
    free(path);
}

void identity_ocsp_keep(struct identity_ocsp *o)
{
    if (o->known_changed && identity_clock() >= o->known_retry)
        keep(o);
}

void ocsp_known_tick(struct identity_ocsp *o)
{
    if (o->known_looked == 0 || identity_clock() - o->known_looked > EXPIRE_MS) {
        o->known_looked = identity_clock();
        o->known_changed = known_expire(o->known, identity_wall()) != 0 || o->known_changed;
    }
    identity_ocsp_keep(o);
}
