/* Identity, comparison, numbering and lot limits: see batch.h. Pure; deposits here have been judged by inspect. */
#include "ingest/ledger/batch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

enum { IDENTITY_KEY_SIZE = 32, HMAC_SIZE = BATCH_KEY_DIGEST_SIZE, OF_KEY = 0, OF_VALID = 1, OF_INVALID = 2, DIGEST_TEXT_MAX = 65535 };

struct batch_identity {
    EVP_MAC_CTX *ctx; /* owned; keyed */
    struct buf text;  /* what is hashed, but for a body */
};

struct batch_identity *batch_identity_new(struct slice key, struct err *e)
{
    struct batch_identity *k = mem_zalloc(1, sizeof(*k));
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                                 OSSL_PARAM_construct_end()};
    bool ok = key.len == IDENTITY_KEY_SIZE && mac != NULL;

    buf_init_secret(&k->text, 4 * DIGEST_TEXT_MAX);
    k->ctx = ok ? EVP_MAC_CTX_new(mac) : NULL;
    EVP_MAC_free(mac);
    if (k->ctx != NULL && EVP_MAC_init(k->ctx, key.at, key.len, params) == 1)
        return k;
    err_set_openssl(e, ERR_FATAL, "HMAC-SHA-256 for deduplication");
    batch_identity_free(k);
    return NULL;
}

void batch_identity_free(struct batch_identity *k)
{
    if (k == NULL)
        return;
    EVP_MAC_CTX_free(k->ctx);
    buf_free(&k->text);
    free(k);
}

static void put_lower(struct wire_writer *w, struct slice s)
{
    uint8_t *at;

    wire_put_text(w, s);
    if (w->overflow)
        return;
    at = w->out->data + w->out->start + w->out->len - s.len;
    for (size_t i = 0; i < s.len; i++)
        if (at[i] >= 'A' && at[i] <= 'Z')
            at[i] = (uint8_t)(at[i] + 32);
}

static bool identify(struct batch_identity *k, uint8_t of, const struct pack_deposit *d, struct slice body, uint8_t *id,
                     struct err *e)
{
    struct wire_writer w = wire_write(&k->text);
    uint8_t hmac[HMAC_SIZE];
    struct slice text;
    size_t len;

    buf_reset(&k->text);
    wire_put_u8(&w, of);
    wire_put_u32(&w, d->depositor);
    wire_put_text(&w, d->client_id);
    put_lower(&w, d->digest);
    if (of == OF_INVALID)
        wire_put_u32(&w, (uint32_t)body.len);
    if (!wire_ok(&w, "identity", e))
        return false;
    text = buf_slice(&k->text);
    if (EVP_MAC_init(k->ctx, NULL, 0, NULL) != 1 || EVP_MAC_update(k->ctx, text.at, text.len) != 1 ||
        (body.len != 0 && EVP_MAC_update(k->ctx, body.at, body.len) != 1) ||
        EVP_MAC_final(k->ctx, hmac, &len, sizeof(hmac)) != 1)
        return err_set_openssl(e, ERR_FATAL, "HMAC-SHA-256 for deduplication");
    memcpy(id, hmac, BATCH_ID_SIZE);
    return true;
}

bool batch_identify(struct batch_identity *k, const struct pack_deposit *d, uint8_t *id, struct err *e)
{
    return identify(k, OF_VALID, d, slice_of(NULL, 0), id, e);
}

bool batch_identify_invalid(struct batch_identity *k, const struct pack_deposit *d, uint8_t *id, struct err *e)
{
    return identify(k, OF_INVALID, d, d->body, id, e);
}

bool batch_identity_digest(struct batch_identity *k, uint8_t digest[BATCH_KEY_DIGEST_SIZE], struct err *e)
{
    static const uint8_t of = OF_KEY;
    size_t len;

    return (EVP_MAC_init(k->ctx, NULL, 0, NULL) == 1 && EVP_MAC_update(k->ctx, &of, 1) == 1 && EVP_MAC_final(k->ctx, digest, &len, BATCH_KEY_DIGEST_SIZE) == 1) ||
           err_set_openssl(e, ERR_FATAL, "HMAC-SHA-256 for deduplication");
}

/* ---- finding the same deposit
 * -------------------------------------------------------------------------------------------------- */

void batch_table_reset(struct batch_table *t, size_t count)
{
    size_t size = 16;

    while (size < 2 * count)
        size *= 2;
    if (size > t->size) {
        free(t->places);
        t->places = mem_alloc(size * sizeof(*t->places));
        t->size = size;
    }
    memset(t->places, 0, t->size * sizeof(*t->places));
}

void batch_table_free(struct batch_table *t)
{
    free(t->places);
    *t = (struct batch_table){0};
}

/* The place of this identity, or the free one where it belongs. Identities are uniform already: no further hashing. */
static size_t place_of(const struct batch_table *t, const struct batch_entry *entries, const uint8_t *id)
{
    size_t at;

    memcpy(&at, id, sizeof(at));
    for (at &= t->size - 1; t->places[at] != 0; at = (at + 1) & (t->size - 1))
        if (memcmp(entries[t->places[at] - 1].id, id, BATCH_ID_SIZE) == 0)
            break;
    return at;
}

const struct batch_entry *batch_table_find(const struct batch_table *t, const struct batch_entry *entries,
                                           const uint8_t *id)
{
    uint32_t found = t->size == 0 ? 0 : t->places[place_of(t, entries, id)];

    return found == 0 ? NULL : &entries[found - 1];
}

void batch_table_add(struct batch_table *t, const struct batch_entry *entries, size_t index)
{
    t->places[place_of(t, entries, entries[index].id)] = (uint32_t)index + 1;
}

/* ---- numbers and lots
 * ------------------------------------------------------------------------------------------------------------ */

enum batch_room batch_room(const struct batch_head *h, const struct batch_limits *l, uint64_t size)
{
    if (h->lot_events == 0)
        return BATCH_FITS;
    if (h->lot_events >= l->count)
        return BATCH_FULL_COUNT;
    return h->lot_bytes >= l->bytes || size > l->bytes - h->lot_bytes ? BATCH_FULL_BYTES : BATCH_FITS;
}

uint64_t batch_take(struct batch_head *h, uint64_t size)
{
    h->lot_events++;
    h->lot_bytes += size;
    return h->next_serial++;
}

void batch_next_lot(struct batch_head *h)
{
    h->lot++;
    h->lot_events = 0;
    h->lot_bytes = 0;
}

const char *batch_reason(enum batch_room room)
{
    switch (room) {
    case BATCH_FITS:
        return NULL;
    case BATCH_FULL_COUNT:
        return "nombre";
    case BATCH_FULL_BYTES:
        return "taille";
    }
    return NULL;
}

bool batch_number(const struct batch_entry *entry, char digits[BATCH_SERIAL_MAX + 1], struct slice parts[3],
                  struct err *e)
{
    struct slice body = entry->d.body;
    size_t after = (size_t)entry->placeholder + EVENT_PLACEHOLDER_SIZE;

    if (!event_placeholder_is_at(body, entry->placeholder))
        return err_set(e, ERR_FATAL, "inspect's verdict names a place without placeholder");
    snprintf(digits, BATCH_SERIAL_MAX + 1, "%" PRIu64, entry->serial);
    parts[0] = slice_of(body.at, entry->placeholder);
    parts[1] = slice_text(digits);
    parts[2] = slice_of(body.at + after, body.len - after);
    return true;
}
