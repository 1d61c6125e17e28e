/*
 * An event as CMS AuthEnvelopedData, written byte by byte in DER (X.690): OpenSSL's CMS functions cost four times as
 * much. Everything but the ciphertext has a fixed length, so that the whole file's size is known before.
 */
#include "ingest/ledger/envelope.h"

#include <limits.h>
#include <stdlib.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "common/system/secret.h"

enum {
    NONCE_SIZE = 12,
    TAG_SIZE = 16,
    WRAPPED_SIZE = ENVELOPE_KEY_SIZE + 8,
    RANDOM_EACH = ENVELOPE_KEY_SIZE + NONCE_SIZE,
    RANDOM_BATCH = 92, /* events served by one call of the random generator: 92 * 44 bytes fit a page */

    TAG_SEQUENCE = 0x30,
    TAG_SET = 0x31,
    TAG_OCTETS = 0x04,
    TAG_CONTEXT_0 = 0xa0,           /* [0], constructed: EXPLICIT content */
    TAG_CONTEXT_0_PRIMITIVE = 0x80, /* [0] IMPLICIT encryptedContent */
    TAG_KEKRI = 0xa2,               /* [2] IMPLICIT KEKRecipientInfo */
};

/* id-ct-authEnvelopedData, 1.2.840.113549.1.9.16.1.23 */
static const uint8_t OID_AUTH_ENVELOPED[] = {0x06, 0x0b, 0x2a, 0x86, 0x48, 0x86, 0xf7,
                                             0x0d, 0x01, 0x09, 0x10, 0x01, 0x17};
/* id-data, 1.2.840.113549.1.7.1 */
static const uint8_t OID_DATA[] = {0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01};
/* id-aes256-GCM, 2.16.840.1.101.3.4.1.46 */
static const uint8_t OID_GCM[] = {0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2e};
/* AlgorithmIdentifier of id-aes256-wrap, 2.16.840.1.101.3.4.1.45, without parameters (RFC 3565 2.3.2) */
static const uint8_t ALGORITHM_WRAP[] = {0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2d};
static const uint8_t VERSION_0[] = {0x02, 0x01, 0x00};      /* RFC 5083 2.1 */
static const uint8_t VERSION_4[] = {0x02, 0x01, 0x04};      /* RFC 5652 6.2.3 */
static const uint8_t ICV_LENGTH[] = {0x02, 0x01, TAG_SIZE}; /* RFC 5084 3.2: not the default, so written */

struct envelope {
    EVP_CIPHER_CTX *content; /* owned; AES-256-GCM, keyed for each event */
    EVP_CIPHER_CTX *wrap;    /* owned; AES-256-ECB, one block at a time, keyed for the lot */
    EVP_CIPHER *gcm, *ecb;   /* owned */
    struct secret random;    /* RANDOM_BATCH times key and nonce */
    size_t random_used;      /* bytes */
    uint8_t key_id[ENVELOPE_KEY_ID_MAX];
    size_t key_id_len; /* 0: no key yet */
};

struct envelope *envelope_new(struct err *e)
{
    struct envelope *v = mem_zalloc(1, sizeof(*v));

    v->content = EVP_CIPHER_CTX_new();
    v->wrap = EVP_CIPHER_CTX_new();
    v->gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    v->ecb = EVP_CIPHER_fetch(NULL, "AES-256-ECB", NULL);
    v->random_used = RANDOM_BATCH * RANDOM_EACH;
    if (v->content == NULL || v->wrap == NULL || v->gcm == NULL || v->ecb == NULL) {
        err_set_openssl(e, ERR_FATAL, "envelope: no AES-256-GCM or AES-256-ECB");
        goto fail;
    }
    if (EVP_EncryptInit_ex2(v->content, v->gcm, NULL, NULL, NULL) != 1) {
        err_set_openssl(e, ERR_FATAL, "envelope: AES-256-GCM");
        goto fail;
    }
    if (secret_alloc(&v->random, RANDOM_BATCH * RANDOM_EACH, e))
        return v;
fail:
    envelope_free(v);
    return NULL;
}

void envelope_free(struct envelope *v)
{
    if (v == NULL)
        return;
    EVP_CIPHER_CTX_free(v->content);
    EVP_CIPHER_CTX_free(v->wrap);
    EVP_CIPHER_free(v->gcm);
    EVP_CIPHER_free(v->ecb);
    secret_free(&v->random);
    free(v);
}

bool envelope_set_key(struct envelope *v, const uint8_t *key, const char *key_id, struct err *e)
{
    size_t len = strlen(key_id);

    if (len == 0 || len > ENVELOPE_KEY_ID_MAX)
        return err_set(e, ERR_FATAL, "envelope: key identifier of %zu bytes", len);
    if (EVP_EncryptInit_ex2(v->wrap, v->ecb, key, NULL, NULL) != 1 || EVP_CIPHER_CTX_set_padding(v->wrap, 0) != 1)
        return err_set_openssl(e, ERR_FATAL, "envelope: AES-256");
    memcpy(v->key_id, key_id, len);
    v->key_id_len = len;
    return true;
}

/* --- DER
 * ------------------------------------------------------------------------------------------------------------------ */

/* X.690 8.1.3: short form below 128, else the least number of bytes. */
static size_t length_size(size_t len)
{
    return len < 0x80 ? 1 : len <= 0xff ? 2 : len <= 0xffff ? 3 : len <= 0xffffff ? 4 : 5;
}

/* A whole element: tag, length, contents. */
static size_t element_size(size_t len)
{
    return 1 + length_size(len) + len;
}

static uint8_t *put_head(uint8_t *at, uint8_t tag, size_t len)
{
    size_t bytes = length_size(len) - 1;

    *at++ = tag;
    if (bytes == 0) {
        *at++ = (uint8_t)len;
        return at;
    }
    *at++ = (uint8_t)(0x80 | bytes);
    while (bytes-- > 0)
        *at++ = (uint8_t)(len >> 8 * bytes);
    return at;
}

static uint8_t *put(uint8_t *at, const void *bytes, size_t len)
{
    memcpy(at, bytes, len);
    return at + len;
}

/* Contents' lengths of every constructed element, from the inside out. */
struct layout {
    size_t kek_id, kekri, gcm_parameters, gcm, content_info, auth_enveloped;
};

static struct layout layout_of(size_t len, size_t key_id_len)
{
    struct layout l;

    l.kek_id = element_size(key_id_len);
    l.kekri = sizeof(VERSION_4) + element_size(l.kek_id) + sizeof(ALGORITHM_WRAP) + element_size(WRAPPED_SIZE);
    l.gcm_parameters = element_size(NONCE_SIZE) + sizeof(ICV_LENGTH);
    l.gcm = sizeof(OID_GCM) + element_size(l.gcm_parameters);
    l.content_info = sizeof(OID_DATA) + element_size(l.gcm) + element_size(len);
    l.auth_enveloped =
        sizeof(VERSION_0) + element_size(element_size(l.kekri)) + element_size(l.content_info) + element_size(TAG_SIZE);
    return l;
}

static size_t whole_size(const struct layout *l)
{
    return element_size(sizeof(OID_AUTH_ENVELOPED) + element_size(element_size(l->auth_enveloped)));
}

size_t envelope_size(size_t len, size_t key_id_len)
{
    struct layout l = layout_of(len, key_id_len);

    return whole_size(&l);
}

/* --- one event
 * ------------------------------------------------------------------------------------------------------------ */

/* A key and a nonce never used before; wiped by the caller. */
static uint8_t *next_random(struct envelope *v, struct err *e)
{
    if (v->random_used == RANDOM_BATCH * RANDOM_EACH) {
        if (RAND_bytes(v->random.at, RANDOM_BATCH * RANDOM_EACH) != 1) {
            err_set_openssl(e, ERR_FATAL, "envelope: no random bytes");
            return NULL;
        }
        v->random_used = 0;
    }
    v->random_used += RANDOM_EACH;
    return v->random.at + v->random_used - RANDOM_EACH;
}

/*
 * AES key wrap, RFC 3394 2.2.1 (index based), on the processor's AES instructions: OpenSSL's own AES-256-WRAP goes
 * through tables, slower by half and not in constant time. `out` is A | R[1] | … | R[4] all along.
 */
static bool wrap_key(struct envelope *v, const uint8_t *key, uint8_t *out, struct err *e)
{
    uint8_t block[16];
    unsigned t = 0;
    int n;

    memset(out, 0xa6, 8);
    memcpy(out + 8, key, ENVELOPE_KEY_SIZE);
    for (unsigned j = 0; j < 6; j++) {
        for (size_t i = 1; i <= ENVELOPE_KEY_SIZE / 8; i++) {
            memcpy(block, out, 8);
            memcpy(block + 8, out + 8 * i, 8);
            if (EVP_EncryptUpdate(v->wrap, block, &n, block, sizeof(block)) != 1 || n != sizeof(block))
                return err_set_openssl(e, ERR_FATAL, "envelope: AES-256");
            block[7] ^= (uint8_t)++t;
            memcpy(out, block, 8);
            memcpy(out + 8 * i, block + 8, 8);
        }
    }
    return true;
}

static uint8_t *put_recipient(uint8_t *at, const struct envelope *v, const struct layout *l, uint8_t **wrapped)
{
    at = put_head(at, TAG_SET, element_size(l->kekri));
    at = put_head(at, TAG_KEKRI, l->kekri);
    at = put(at, VERSION_4, sizeof(VERSION_4));
    at = put_head(at, TAG_SEQUENCE, l->kek_id);
    at = put_head(at, TAG_OCTETS, v->key_id_len);
    at = put(at, v->key_id, v->key_id_len);
    at = put(at, ALGORITHM_WRAP, sizeof(ALGORITHM_WRAP));
    at = put_head(at, TAG_OCTETS, WRAPPED_SIZE);
    *wrapped = at;
    return at + WRAPPED_SIZE;
}

static uint8_t *put_algorithm(uint8_t *at, const struct layout *l, const uint8_t *nonce)
{
    at = put(at, OID_DATA, sizeof(OID_DATA));
    at = put_head(at, TAG_SEQUENCE, l->gcm);
    at = put(at, OID_GCM, sizeof(OID_GCM));
    at = put_head(at, TAG_SEQUENCE, l->gcm_parameters);
    at = put_head(at, TAG_OCTETS, NONCE_SIZE);
    at = put(at, nonce, NONCE_SIZE);
    return put(at, ICV_LENGTH, sizeof(ICV_LENGTH));
}

static bool encrypt(struct envelope *v, const uint8_t *random, const struct slice *parts, unsigned count, uint8_t *at,
                    struct err *e)
{
    uint8_t none[TAG_SIZE], *tag;
    int n;
    bool ok = EVP_EncryptInit_ex2(v->content, NULL, random, random + ENVELOPE_KEY_SIZE, NULL) == 1;

    for (unsigned i = 0; ok && i < count; i++) {
        if (parts[i].len == 0)
            continue;
        ok = EVP_EncryptUpdate(v->content, at, &n, parts[i].at, (int)parts[i].len) == 1;
        at += parts[i].len;
    }
    tag = put_head(at, TAG_OCTETS, TAG_SIZE);
    ok = ok && EVP_EncryptFinal_ex(v->content, none, &n) == 1 &&
         EVP_CIPHER_CTX_ctrl(v->content, EVP_CTRL_AEAD_GET_TAG, TAG_SIZE, tag) == 1;
    return ok || err_set_openssl(e, ERR_FATAL, "envelope: AES-256-GCM");
}

bool envelope_add(struct envelope *v, const struct slice *parts, unsigned count, struct buf *out, struct err *e)
{
    size_t len = 0, size;
    struct layout l;
    uint8_t *at, *wrapped, *random;
    bool ok;

    for (unsigned i = 0; i < count; i++)
        len += parts[i].len;
    if (v->key_id_len == 0 || len > INT_MAX / 2)
        return err_set(e, ERR_FATAL, "envelope: no key, or %zu bytes", len);
    l = layout_of(len, v->key_id_len);
    size = whole_size(&l);
    at = buf_reserve(out, size, e);
    random = at == NULL ? NULL : next_random(v, e);
    if (random == NULL)
        return false;
    at = put_head(at, TAG_SEQUENCE, sizeof(OID_AUTH_ENVELOPED) + element_size(element_size(l.auth_enveloped)));
    at = put(at, OID_AUTH_ENVELOPED, sizeof(OID_AUTH_ENVELOPED));
    at = put_head(at, TAG_CONTEXT_0, element_size(l.auth_enveloped));
    at = put_head(at, TAG_SEQUENCE, l.auth_enveloped);
    at = put(at, VERSION_0, sizeof(VERSION_0));
    at = put_recipient(at, v, &l, &wrapped);
    at = put_head(at, TAG_SEQUENCE, l.content_info);
    at = put_algorithm(at, &l, random + ENVELOPE_KEY_SIZE);
    at = put_head(at, TAG_CONTEXT_0_PRIMITIVE, len);
    ok = wrap_key(v, random, wrapped, e) && encrypt(v, random, parts, count, at, e);
    OPENSSL_cleanse(random, RANDOM_EACH);
    if (ok)
        buf_commit(out, size);
    return ok;
}
