/*
 * The records inside packs, and the archive notice (common/PROTOCOL.md, "Pack"). What is decoded came through
 * an authenticated pack or from a sibling process: every field is checked all the same.
 */
#include "common/formats/pack.h"

#include <stdio.h>

#include <openssl/evp.h>

enum {
    FLAG_TIMESTAMP = 1,
    FLAG_BYTES = 2,
    FLAG_REPLY = 4,
    FLAG_CORRELATION = 128, /* in an answer's status */
    TEXT_HEAD = 2,          /* bytes of a text's length */
};

const char *pack_status_name(enum pack_status status)
{
    switch (status) {
    case PACK_OK:
        return "CFJL_OK";
    case PACK_DUPLICATE:
        return "CFJL_DUPLICATE_EVENT";
    case PACK_INVALID:
        return "CFJL_INVALID_MESSAGE";
    }
    return NULL;
}

bool pack_next(struct wire_reader *records, struct slice *record)
{
    if (records->rest.len == 0)
        return false;
    *record = wire_get_bytes(records);
    return !records->short_read;
}

bool pack_get_deposit(struct slice record, struct pack_deposit *d, struct err *e)
{
    struct wire_reader r = wire_read(record);
    uint8_t flags;

    d->depositor = wire_get_u32(&r);
    d->received = wire_get_u64(&r);
    d->timestamp = wire_get_u64(&r);
    flags = wire_get_u8(&r);
    d->has_timestamp = (flags & FLAG_TIMESTAMP) != 0;
    d->bytes_message = (flags & FLAG_BYTES) != 0;
    d->client_id = wire_get_text(&r);
    d->digest = wire_get_text(&r);
    d->digest_algo = wire_get_text(&r);
    d->asks_reply = (flags & FLAG_REPLY) != 0;
    d->reply = d->asks_reply ? wire_get_text(&r) : slice_of(NULL, 0);
    d->correlation = d->asks_reply ? wire_get_text(&r) : slice_of(NULL, 0);
    d->body = wire_get_bytes(&r);
    if (!wire_end(&r, "deposit record", e))
        return false;
    if ((flags & ~(FLAG_TIMESTAMP | FLAG_BYTES | FLAG_REPLY)) != 0)
        return err_set(e, ERR_INPUT, "deposit record: flags %u are not known", flags);
    return true;
}

bool pack_get_answer(struct slice record, struct pack_answer *a, struct err *e)
{
    struct wire_reader r = wire_read(record);
    uint8_t status = wire_get_u8(&r);

    a->redeliveries = wire_get_u8(&r);
    a->serial = wire_get_u64(&r);
    a->lot = wire_get_u64(&r);
    a->client_id = wire_get_text(&r);
    a->digest = wire_get_text(&r);
    a->digest_algo = wire_get_text(&r);
    a->reason = wire_get_text(&r);
    a->has_correlation = (status & FLAG_CORRELATION) != 0;
    a->correlation = a->has_correlation ? wire_get_text(&r) : slice_of(NULL, 0);
    if (!wire_end(&r, "answer record", e))
        return false;
    status &= (uint8_t)~FLAG_CORRELATION;
    if (status > PACK_INVALID)
        return err_set(e, ERR_INPUT, "answer record: status %u is not known", status);
    a->status = (enum pack_status)status;
    return true;
}

static void put_deposit_fields(struct wire_writer *w, const struct pack_deposit *d)
{
    wire_put_u32(w, d->depositor);
    wire_put_u64(w, d->received);
    wire_put_u64(w, d->timestamp);
    wire_put_u8(w, (uint8_t)((d->has_timestamp ? FLAG_TIMESTAMP : 0) | (d->bytes_message ? FLAG_BYTES : 0) |
                             (d->asks_reply ? FLAG_REPLY : 0)));
    wire_put_text(w, d->client_id);
    wire_put_text(w, d->digest);
    wire_put_text(w, d->digest_algo);
    if (d->asks_reply) {
        wire_put_text(w, d->reply);
        wire_put_text(w, d->correlation);
    }
}

size_t pack_deposit_size(const struct pack_deposit *d)
{
    size_t reply = d->asks_reply ? TEXT_HEAD + d->reply.len + TEXT_HEAD + d->correlation.len : 0;

    return PACK_DEPOSIT_HEAD + d->client_id.len + d->digest.len + d->digest_algo.len + reply + d->body.len;
}

void pack_put_deposit_head(struct wire_writer *w, const struct pack_deposit *d)
{
    size_t len = pack_deposit_size(d) - 4;

    if (len > UINT32_MAX) {
        w->overflow = true;
        return;
    }
    wire_put_u32(w, (uint32_t)len);
    put_deposit_fields(w, d);
    wire_put_u32(w, (uint32_t)d->body.len);
}

void pack_put_deposit(struct wire_writer *w, const struct pack_deposit *d)
{
    pack_put_deposit_head(w, d);
    wire_put_fixed(w, d->body.at, d->body.len);
}

void pack_put_answer(struct wire_writer *w, const struct pack_answer *a)
{
    size_t place = wire_open_u32(w);

    wire_put_u8(w, (uint8_t)(a->status | (a->has_correlation ? FLAG_CORRELATION : 0)));
    wire_put_u8(w, a->redeliveries);
    wire_put_u64(w, a->serial);
    wire_put_u64(w, a->lot);
    wire_put_text(w, a->client_id);
    wire_put_text(w, a->digest);
    wire_put_text(w, a->digest_algo);
    wire_put_text(w, a->reason);
    if (a->has_correlation)
        wire_put_text(w, a->correlation);
    wire_close_u32(w, place);
}

bool pack_reply_key(uint32_t depositor, struct slice name, char key[PACK_REPLY_KEY_SIZE], struct err *e)
{
    const uint8_t head[4] = {(uint8_t)(depositor >> 24), (uint8_t)(depositor >> 16), (uint8_t)(depositor >> 8), (uint8_t)depositor};
    uint8_t digest[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx != NULL && EVP_DigestInit_ex2(ctx, EVP_sha256(), NULL) == 1 && EVP_DigestUpdate(ctx, head, sizeof head) == 1 &&
              EVP_DigestUpdate(ctx, name.at, name.len) == 1 && EVP_DigestFinal_ex(ctx, digest, NULL) == 1;

    EVP_MD_CTX_free(ctx);
    if (!ok)
        return err_set_openssl(e, ERR_FATAL, "reply key: SHA-256");
    for (unsigned i = 0; i < (PACK_REPLY_KEY_SIZE - 1) / 2; i++)
        snprintf(key + (size_t)2 * i, 3, "%02x", digest[i]);
    return true;
}

void pack_put_archive(struct wire_writer *w, const struct pack_archive *a)
{
    wire_put_u64(w, a->lot);
    wire_put_u64(w, a->date);
    wire_put_u64(w, a->first_serial);
    wire_put_u64(w, a->last_serial);
}

bool pack_get_archive(struct slice body, struct pack_archive *a, struct err *e)
{
    struct wire_reader r = wire_read(body);

    a->lot = wire_get_u64(&r);
    a->date = wire_get_u64(&r);
    a->first_serial = wire_get_u64(&r);
    a->last_serial = wire_get_u64(&r);
    return wire_end(&r, "archive notice", e);
}
