/*
 * Sealing and opening packs (common/PROTOCOL.md, "Pack"): LZ4, then AES-256-GCM (NIST SP 800-38D) under a key derived
 * once per salt with HKDF-SHA-256 (RFC 5869). A pack read is hostile until its tag has been checked.
 */
#include "common/formats/pack.h"

#include <limits.h>
#include <stdlib.h>

#include <lz4.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>

enum {
    VERSION = 1,
    NONCE_SIZE = 12,
    DERIVED_MAX = 16, /* salts whose key a reader keeps at hand: one for each relay or ledger that writes */
    AT_KIND = 5,
    AT_FLAGS = 6,
    FLAG_LZ4 = 1,
    LZ4_HEAD = 4,            /* the records' length before the block */
    LZ4_WORTH = 128,         /* shorter records are not worth compressing */
    SCRATCH_MAX = 160 << 20, /* never reached: bounded by what callers bound */
    SCRATCH_KEPT = 1 << 20,  /* larger scratch memory is given back after use */
    AT_KEY_ID = 8,
    AT_SALT = 16,
    AT_COUNTER = 32,
};

static const char INFO[] = "coffre pack v1";

/* What both sides need of one pack key. */
struct pack_key {
    uint8_t key[PACK_KEY_SIZE];
    uint8_t id[PACK_KEY_ID_SIZE];
};

struct pack_writer {
    struct pack_key key;
    char *vault; /* owned; authenticated with the header */
    uint8_t salt[PACK_SALT_SIZE];
    uint32_t counter;    /* of the last pack begun under this salt */
    EVP_CIPHER *cipher;  /* owned */
    EVP_CIPHER_CTX *ctx; /* owned; keyed for `salt` */
    void *lz4;           /* owned: the compressor's tables */
    struct buf scratch;  /* compressed records; wiped */
};

/* A derived key at hand. */
struct derived {
    EVP_CIPHER_CTX *ctx; /* owned; NULL: free place */
    unsigned key;        /* index of the pack key */
    uint8_t salt[PACK_SALT_SIZE];
};

struct pack_reader {
    struct pack_key keys[PACK_KEYS_MAX];
    unsigned count;
    char *vault;        /* owned */
    EVP_CIPHER *cipher; /* owned */
    struct derived derived[DERIVED_MAX];
    unsigned next_place; /* the place to use for the next new salt: oldest first */
    struct buf scratch;  /* decrypted, still compressed records; wiped */
};

static bool take_key(struct pack_key *k, struct slice key, struct err *e)
{
    uint8_t digest[EVP_MAX_MD_SIZE];

    if (key.len != PACK_KEY_SIZE)
        return err_set(e, ERR_INPUT, "pack: a key is %d bytes, not %zu", (int)PACK_KEY_SIZE, key.len);
    memcpy(k->key, key.at, key.len);
    if (EVP_Digest(k->key, sizeof(k->key), digest, NULL, EVP_sha256(), NULL) != 1)
        return err_set_openssl(e, ERR_FATAL, "pack: SHA-256");
    memcpy(k->id, digest, sizeof(k->id));
    return true;
}

/* RFC 5869, both steps. */
static bool derive(const struct pack_key *k, const uint8_t *salt, uint8_t *out, struct err *e)
{
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_HKDF, NULL);
    EVP_KDF_CTX *ctx = kdf == NULL ? NULL : EVP_KDF_CTX_new(kdf);
    char digest[] = "SHA256";
    struct pack_key copy = *k;
    uint8_t salt_copy[PACK_SALT_SIZE];
    char info[sizeof(INFO)];
    bool ok;

    memcpy(salt_copy, salt, sizeof(salt_copy));
    memcpy(info, INFO, sizeof(info));
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, copy.key, sizeof(copy.key)),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, salt_copy, sizeof(salt_copy)),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, sizeof(info) - 1),
        OSSL_PARAM_construct_end(),
    };
    ok = ctx != NULL && EVP_KDF_derive(ctx, out, PACK_KEY_SIZE, params) == 1;
    OPENSSL_cleanse(&copy, sizeof(copy));
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
    return ok || err_set_openssl(e, ERR_FATAL, "pack: HKDF");
}

/* Keys `ctx` for a salt; every pack then only sets its nonce. */
static bool key_context(EVP_CIPHER_CTX *ctx, const EVP_CIPHER *cipher, const struct pack_key *k, const uint8_t *salt,
                        int encrypt, struct err *e)
{
    uint8_t key[PACK_KEY_SIZE];
    bool ok = derive(k, salt, key, e);

    if (ok && EVP_CipherInit_ex2(ctx, cipher, key, NULL, encrypt, NULL) != 1)
        ok = err_set_openssl(e, ERR_FATAL, "pack: AES-256-GCM");
    OPENSSL_cleanse(key, sizeof(key));
    return ok;
}

static void store_u32(uint8_t *at, uint32_t v)
{
    at[0] = (uint8_t)(v >> 24);
    at[1] = (uint8_t)(v >> 16);
    at[2] = (uint8_t)(v >> 8);
    at[3] = (uint8_t)v;
}

/* The nonce is 8 zero bytes and the header's counter; header and vault are authenticated. */
static bool start(EVP_CIPHER_CTX *ctx, const uint8_t *header, const char *vault, struct err *e)
{
    uint8_t nonce[NONCE_SIZE] = {0};
    int n;

    memcpy(nonce + NONCE_SIZE - 4, header + AT_COUNTER, 4);
    return (EVP_CipherInit_ex2(ctx, NULL, NULL, nonce, -1, NULL) == 1 &&
            EVP_CipherUpdate(ctx, NULL, &n, header, PACK_HEADER_SIZE) == 1 &&
            EVP_CipherUpdate(ctx, NULL, &n, (const uint8_t *)vault, (int)strlen(vault)) == 1) ||
           err_set_openssl(e, ERR_FATAL, "pack: AES-256-GCM");
}

/* --- writing --- */

static bool renew_salt(struct pack_writer *w, struct err *e)
{
    if (RAND_bytes(w->salt, sizeof(w->salt)) != 1)
        return err_set_openssl(e, ERR_FATAL, "pack: no random salt");
    w->counter = 0;
    return key_context(w->ctx, w->cipher, &w->key, w->salt, 1, e);
}

struct pack_writer *pack_writer_new(struct slice key, const char *vault, struct err *e)
{
    struct pack_writer *w = OPENSSL_secure_zalloc(sizeof(*w));

    if (w == NULL) {
        err_set(e, ERR_FATAL, "pack: no memory for a key");
        return NULL;
    }
    w->vault = mem_strdup(vault);
    w->cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    w->ctx = EVP_CIPHER_CTX_new();
    w->lz4 = mem_alloc((size_t)LZ4_sizeofState());
    buf_init_secret(&w->scratch, SCRATCH_MAX);
    if (!take_key(&w->key, key, e))
        goto fail;
    if (w->cipher == NULL || w->ctx == NULL) {
        err_set_openssl(e, ERR_FATAL, "pack: AES-256-GCM");
        goto fail;
    }
    if (renew_salt(w, e))
        return w;
fail:
    pack_writer_free(w);
    return NULL;
}

void pack_writer_free(struct pack_writer *w)
{
    if (w == NULL)
        return;
    EVP_CIPHER_CTX_free(w->ctx);
    EVP_CIPHER_free(w->cipher);
    if (w->lz4 != NULL)
        OPENSSL_cleanse(w->lz4, (size_t)LZ4_sizeofState());
    free(w->lz4);
    buf_free(&w->scratch);
    free(w->vault);
    OPENSSL_secure_clear_free(w, sizeof(*w));
}

static void forget_scratch(struct buf *scratch)
{
    if (scratch->capacity > SCRATCH_KEPT)
        buf_free(scratch);
    else
        buf_reset(scratch);
}

/*
 * The records as they are to be encrypted: compressed when that is shorter. What a length may tell: a pack mixes
 * many sensors' events, and whoever sees its length is already inside the broker.
 */
static struct slice squeeze(struct pack_writer *w, struct slice plain, uint8_t *flags)
{
    int bound = plain.len > LZ4_MAX_INPUT_SIZE ? 0 : LZ4_compressBound((int)plain.len), n;
    uint8_t *room;

    *flags = 0;
    if (plain.len < LZ4_WORTH || bound == 0)
        return plain;
    room = buf_reserve(&w->scratch, LZ4_HEAD + (size_t)bound, NULL);
    if (room == NULL)
        return plain;
    n = LZ4_compress_fast_extState(w->lz4, (const char *)plain.at, (char *)room + LZ4_HEAD, (int)plain.len, bound, 1);
    if (n <= 0 || (size_t)n + LZ4_HEAD >= plain.len)
        return plain;
    store_u32(room, (uint32_t)plain.len);
    buf_commit(&w->scratch, LZ4_HEAD + (size_t)n);
    *flags = FLAG_LZ4;
    return buf_slice(&w->scratch);
}

static bool encrypt(struct pack_writer *w, enum pack_kind kind, uint8_t flags, struct slice body, uint8_t *at, struct err *e)
{
    uint8_t *tag = at + PACK_HEADER_SIZE + body.len;
    int n;

    memcpy(at, (const uint8_t[]){'C', 'F', 'P', 'K', VERSION, (uint8_t)kind, flags, 0}, AT_KEY_ID);
    memcpy(at + AT_KEY_ID, w->key.id, PACK_KEY_ID_SIZE);
    memcpy(at + AT_SALT, w->salt, PACK_SALT_SIZE);
    store_u32(at + AT_COUNTER, ++w->counter);
    return start(w->ctx, at, w->vault, e) &&
           (((body.len == 0 || EVP_CipherUpdate(w->ctx, at + PACK_HEADER_SIZE, &n, body.at, (int)body.len) == 1) &&
             EVP_CipherFinal_ex(w->ctx, tag, &n) == 1 &&
             EVP_CIPHER_CTX_ctrl(w->ctx, EVP_CTRL_AEAD_GET_TAG, PACK_TAG_SIZE, tag) == 1) ||
            err_set_openssl(e, ERR_FATAL, "pack: AES-256-GCM"));
}

bool pack_seal(struct pack_writer *w, enum pack_kind kind, struct slice plain, struct buf *out, struct err *e)
{
    struct slice body;
    uint8_t *at, flags;
    bool ok;

    if (plain.len > INT_MAX - PACK_OVERHEAD)
        return err_set(e, ERR_INPUT, "pack: %zu bytes at once", plain.len);
    if (w->counter == UINT32_MAX && !renew_salt(w, e))
        return false;
    body = squeeze(w, plain, &flags);
    at = buf_reserve(out, PACK_OVERHEAD + body.len, e);
    ok = at != NULL ? encrypt(w, kind, flags, body, at, e) : err_prefix(e, "pack");
    if (ok)
        buf_commit(out, PACK_OVERHEAD + body.len);
    forget_scratch(&w->scratch);
    return ok;
}

/* --- reading --- */

struct pack_reader *pack_reader_new(const struct slice *keys, unsigned count, const char *vault, struct err *e)
{
    struct pack_reader *r;

    if (count == 0 || count > PACK_KEYS_MAX) {
        err_set(e, ERR_INPUT, "pack: %u keys, 1 to %d are possible", count, (int)PACK_KEYS_MAX);
        return NULL;
    }
    r = OPENSSL_secure_zalloc(sizeof(*r));
    if (r == NULL) {
        err_set(e, ERR_FATAL, "pack: no memory for keys");
        return NULL;
    }
    r->vault = mem_strdup(vault);
    buf_init_secret(&r->scratch, SCRATCH_MAX);
    r->cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    if (r->cipher == NULL) {
        err_set_openssl(e, ERR_FATAL, "pack: AES-256-GCM");
        goto fail;
    }
    for (; r->count < count; r->count++)
        if (!take_key(&r->keys[r->count], keys[r->count], e))
            goto fail;
    return r;
fail:
    pack_reader_free(r);
    return NULL;
}

void pack_reader_free(struct pack_reader *r)
{
    if (r == NULL)
        return;
    for (unsigned i = 0; i < DERIVED_MAX; i++)
        EVP_CIPHER_CTX_free(r->derived[i].ctx);
    EVP_CIPHER_free(r->cipher);
    buf_free(&r->scratch);
    free(r->vault);
    OPENSSL_secure_clear_free(r, sizeof(*r));
}

/* Everything the header can be wrong in before any cryptography. */
static bool check_header(struct slice pack, enum pack_kind kind, struct err *e)
{
    if (pack.len < PACK_OVERHEAD)
        return err_set(e, ERR_INPUT, "pack: %zu bytes, shorter than its header and tag", pack.len);
    if (pack.len > INT_MAX)
        return err_set(e, ERR_INPUT, "pack: %zu bytes", pack.len);
    if (memcmp(pack.at, "CFPK", 4) != 0)
        return err_set(e, ERR_INPUT, "pack: does not begin with CFPK");
    if (pack.at[4] != VERSION)
        return err_set(e, ERR_INPUT, "pack: version %u is not known", pack.at[4]);
    if (pack.at[AT_KIND] != kind)
        return err_set(e, ERR_INPUT, "pack: kind %u, expected %u", pack.at[AT_KIND], (unsigned)kind);
    if ((pack.at[AT_FLAGS] & ~FLAG_LZ4) != 0 || pack.at[AT_FLAGS + 1] != 0)
        return err_set(e, ERR_INPUT, "pack: flags %02x%02x are not known", pack.at[AT_FLAGS], pack.at[AT_FLAGS + 1]);
    return true;
}

static struct derived *find_derived(struct pack_reader *r, unsigned key, const uint8_t *salt)
{
    for (unsigned i = 0; i < DERIVED_MAX; i++) {
        struct derived *d = &r->derived[i];

        if (d->ctx != NULL && d->key == key && memcmp(d->salt, salt, PACK_SALT_SIZE) == 0)
            return d;
    }
    return NULL;
}

static struct derived *add_derived(struct pack_reader *r, unsigned key, const uint8_t *salt, struct err *e)
{
    struct derived *d = &r->derived[r->next_place];

    EVP_CIPHER_CTX_free(d->ctx);
    d->ctx = EVP_CIPHER_CTX_new();
    if (d->ctx == NULL || !key_context(d->ctx, r->cipher, &r->keys[key], salt, 0, e)) {
        EVP_CIPHER_CTX_free(d->ctx);
        d->ctx = NULL;
        err_set_openssl(e, ERR_FATAL, "pack: AES-256-GCM");
        return NULL;
    }
    d->key = key;
    memcpy(d->salt, salt, PACK_SALT_SIZE);
    r->next_place = (r->next_place + 1) % DERIVED_MAX;
    return d;
}

static EVP_CIPHER_CTX *context_for(struct pack_reader *r, const uint8_t *header, struct err *e)
{
    for (unsigned i = 0; i < r->count; i++) {
        struct derived *d;

        if (memcmp(r->keys[i].id, header + AT_KEY_ID, PACK_KEY_ID_SIZE) != 0)
            continue;
        d = find_derived(r, i, header + AT_SALT);
        if (d == NULL)
            d = add_derived(r, i, header + AT_SALT, e);
        return d == NULL ? NULL : d->ctx;
    }
    err_set(e, ERR_DENIED, "pack: sealed under a key that is not configured here (identifier %02x%02x%02x%02x...)",
            header[AT_KEY_ID], header[AT_KEY_ID + 1], header[AT_KEY_ID + 2], header[AT_KEY_ID + 3]);
    return NULL;
}

/* Decrypts and checks the tag; `room` has the length of what is encrypted. Wiped when it does not match. */
static bool decrypt(struct pack_reader *r, struct slice pack, uint8_t *room, struct err *e)
{
    EVP_CIPHER_CTX *ctx = context_for(r, pack.at, e);
    size_t len = pack.len - PACK_OVERHEAD;
    uint8_t tag[PACK_TAG_SIZE], none[PACK_TAG_SIZE];
    int n;

    if (ctx == NULL || !start(ctx, pack.at, r->vault, e))
        return false;
    memcpy(tag, pack.at + pack.len - PACK_TAG_SIZE, sizeof(tag));
    if ((len != 0 && EVP_CipherUpdate(ctx, room, &n, pack.at + PACK_HEADER_SIZE, (int)len) != 1) ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, PACK_TAG_SIZE, tag) != 1 ||
        EVP_CipherFinal_ex(ctx, none, &n) != 1) {
        if (len != 0)
            OPENSSL_cleanse(room, len);
        return err_set(e, ERR_INPUT, "pack: altered, or of another vault (its tag does not match)");
    }
    return true;
}

static bool open_plain(struct pack_reader *r, struct slice pack, struct buf *plain, struct err *e)
{
    size_t len = pack.len - PACK_OVERHEAD;
    uint8_t none[1], *room = none;

    if (len > plain->max - plain->len)
        return err_set(e, ERR_RETRY, "pack: no room for %zu bytes", len);
    if (len != 0)
        room = buf_reserve(plain, len, e);
    if (room == NULL || !decrypt(r, pack, room, e))
        return false;
    buf_commit(plain, len);
    return true;
}

/* The tag has been checked: what does not decompress was written so by a holder of the key. */
static bool expand(struct slice squeezed, struct buf *plain, struct err *e)
{
    struct wire_reader w = wire_read(squeezed);
    size_t len = wire_get_u32(&w);
    uint8_t *room;
    int n;

    if (w.short_read || len == 0 || len > INT_MAX)
        return err_set(e, ERR_INPUT, "pack: malformed compression");
    if (len > plain->max - plain->len)
        return err_set(e, ERR_RETRY, "pack: no room for %zu bytes", len);
    room = buf_reserve(plain, len, e);
    if (room == NULL)
        return false;
    n = LZ4_decompress_safe((const char *)w.rest.at, (char *)room, (int)w.rest.len, (int)len);
    if (n < 0 || (size_t)n != len) {
        OPENSSL_cleanse(room, len);
        return err_set(e, ERR_INPUT, "pack: malformed compression");
    }
    buf_commit(plain, len);
    return true;
}

static bool open_squeezed(struct pack_reader *r, struct slice pack, struct buf *plain, struct err *e)
{
    size_t len = pack.len - PACK_OVERHEAD;
    uint8_t *room = buf_reserve(&r->scratch, len, e);
    bool ok = room != NULL && decrypt(r, pack, room, e);

    if (ok) {
        buf_commit(&r->scratch, len);
        ok = expand(buf_slice(&r->scratch), plain, e);
    }
    forget_scratch(&r->scratch);
    return ok;
}

bool pack_open(struct pack_reader *r, struct slice pack, enum pack_kind kind, struct buf *plain, struct err *e)
{
    if (!check_header(pack, kind, e))
        return false;
    return (pack.at[AT_FLAGS] & FLAG_LZ4) != 0 ? open_squeezed(r, pack, plain, e) : open_plain(r, pack, plain, e);
}
