/* PINs that were refused and taken: see pin_guard.h. */
#include "sealer/pin_guard.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "common/system/durable.h"
#include "common/values/buf.h"
#include "common/values/log.h"
#include "sealer/confine.h"

/*
 * The file: a salt and one byte of what becomes of salt and PIN. PINs are few: by a whole digest one would be found, and one that was refused may be nearly
 * the right one, or the right one of a token that is locked. By a byte nobody finds it; one other PIN in 256 is taken for it.
 */
enum { SALT_LEN = 16, HASH_LEN = 1, RECORD_LEN = SALT_LEN + HASH_LEN, RECORD_MAX = 64, ROUNDS = 200000, STAMP_MAX = 200 };
_Static_assert((int)RECORD_LEN == (int)PIN_GUARD_RECORD, "the record's length");

/* ---- refused ----------------------------------------------------------------------------------- */

static bool stretch(const struct secret *pin, const uint8_t salt[SALT_LEN], uint8_t hash[HASH_LEN])
{
    return PKCS5_PBKDF2_HMAC((const char *)pin->at, (int)pin->len, salt, SALT_LEN, ROUNDS, EVP_sha256(), HASH_LEN, hash) == 1;
}

static bool is_refused(const struct secret *pin, struct slice record)
{
    uint8_t hash[HASH_LEN];

    return record.len >= RECORD_LEN && stretch(pin, record.at, hash) && CRYPTO_memcmp(hash, record.at + SALT_LEN, HASH_LEN) == 0;
}

static void remember_refused(struct pin_guard *g, const struct secret *pin)
{
    struct err e = {0};

    if (RAND_bytes(g->record, SALT_LEN) != 1 || !stretch(pin, g->record, g->record + SALT_LEN))
        return;
    g->record_len = 0;
    if (durable_write(g->refused, slice_of(g->record, RECORD_LEN), 0600, &e))
        return;
    g->record_len = RECORD_LEN; /* by this process at least */
    log_error("pin-unremembered", "that the token has refused the PIN: %s", e.text);
}

/* ---- taken ------------------------------------------------------------------------------------- */

/* Which file it is, as stat(2) shows it: whatever replaces or rewrites it changes one of these. */
static struct slice stamp_of(const char *path, char text[STAMP_MAX])
{
    struct stat st;
    int len = 0;

    if (stat(path, &st) == 0)
        len = snprintf(text, STAMP_MAX, "%s %llu %lld %lld.%09ld\n", "pin", (unsigned long long)st.st_ino, (long long)st.st_size, (long long)st.st_mtim.tv_sec,
                       st.st_mtim.tv_nsec);
    return slice_of(text, (size_t)len);
}

/* *known is false when nobody has ever logged in. */
static bool is_taken(const struct pin_guard *g, bool *known)
{
    char text[STAMP_MAX];
    struct buf b;
    bool missing = false, same;

    buf_init(&b, STAMP_MAX);
    same = durable_read(g->taken, &b, &missing, NULL) && slice_equal(buf_slice(&b), stamp_of(g->pin, text));
    *known = !missing;
    buf_free(&b);
    return same;
}

static void remember_taken(struct pin_guard *g)
{
    char text[STAMP_MAX];
    bool known;

    if (!is_taken(g, &known) && !durable_write(g->taken, stamp_of(g->pin, text), 0600, NULL))
        log_debug("pin-unremembered", "%s cannot be written", g->taken);
}

/* ---- for hsm.h --------------------------------------------------------------------------------- */

/* From here to after() nobody else tries one. */
static bool before(void *ctx, const struct secret *pin, struct err *e)
{
    struct pin_guard *g = ctx;
    struct err why = {0};
    bool missing = false, ok;
    struct buf record;

    g->lock = durable_lock(g->refused, e);
    if (g->lock < 0)
        return false;
    buf_init(&record, RECORD_MAX);
    ok = durable_read(g->refused, &record, &missing, &why) || missing || err_set(e, why.code, "%s", why.text);
    if (ok && (is_refused(pin, buf_slice(&record)) || is_refused(pin, slice_of(g->record, g->record_len))))
        ok = err_set(e, ERR_DENIED, "%s: the token has refused this PIN before, and it is not tried again, lest the token lock. Correct the file; remove %s "
                                    "when the file is right (the token's PIN was changed to it, or it only looks like the one refused, as 1 in 256 does)", g->pin, g->refused);
    buf_free(&record);
    return ok;
}

static void after(void *ctx, const struct secret *pin, enum hsm_pin what)
{
    struct pin_guard *g = ctx;

    if (what == HSM_PIN_REFUSED)
        remember_refused(g, pin);
    else if (what == HSM_PIN_TAKEN)
        remember_taken(g);
    if (g->lock >= 0)
        close(g->lock);
    g->lock = -1;
}

void pin_guard_init(struct pin_guard *g, const char *memory, const char *pin)
{
    *g = (struct pin_guard){.hsm = {before, after, g}, .pin = pin, .lock = -1};
    g->refused = mem_printf("%s.pin-refused", memory);
    g->taken = mem_printf("%s.pin-taken", memory);
}

void pin_guard_free(struct pin_guard *g)
{
    free(g->refused);
    free(g->taken);
    *g = (struct pin_guard){.lock = -1};
}

/* ---- a reload ---------------------------------------------------------------------------------- */

static bool try_it(const struct settings *s, struct pin_guard *g, struct err *e)
{
    const struct hsm_token where = {s->sealer.module, s->sealer.token, s->sealer.pin, &g->hsm};
    struct sandbox box = {0};
    struct err why = {0};
    bool ok, found;

    seal_confine(s, &box);
    ok = sandbox_enter(&box, e);
    sandbox_free(&box);
    if (!ok)
        return false;
    if (hsm_has_key(&where, s->sealer.seal_key, &found, &why) || why.code != ERR_DENIED)
        return true;
    return err_set(e, ERR_DENIED, "%s", why.text);
}

bool pin_guard_try_changed(const struct settings *s, struct err *e)
{
    struct pin_guard g;
    struct stat memory;
    bool known, ok;

    /* Somebody else's --check-config would leave files that the daemon cannot use. */
    if (stat(s->sealer.memory, &memory) != 0 || memory.st_uid != geteuid())
        return true;
    pin_guard_init(&g, s->sealer.memory, s->sealer.pin);
    ok = is_taken(&g, &known) || !known || try_it(s, &g, e);
    pin_guard_free(&g);
    return ok;
}
