/*
 * The ledger's work on one part of a batch: which deposits are the same, numbers, digests, encryption, rows. All in
 * memory, from verdicts already checked; nothing is true before PostgreSQL has committed it.
 */
#include "ingest/ledger/ledger_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "common/values/crc.h"
#include "common/values/log.h"

enum { COPY_COLUMNS = 10, COPY_ROW_BYTES = 256 /* of a row besides its body, about */ };

static void give_back(struct buf *b)
{
    if (b->capacity > LEDGER_KEEP_BYTES)
        buf_free(b);
    else
        buf_reset(b);
}

void ledger_part_reset(struct ledger_part *p)
{
    give_back(&p->copy);
    give_back(&p->quarantine);
    give_back(&p->key_file);
    p->invalid_count = 0;
    p->events = 0;
    p->insert_key = false;
    p->close = BATCH_FITS;
    p->batch = NULL;
}

void ledger_part_clear(struct ledger_part *p)
{
    ledger_part_reset(p);
    buf_free(&p->copy);
    buf_free(&p->quarantine);
    buf_free(&p->key_file);
    free(p->invalid);
    p->invalid = NULL;
    p->invalid_capacity = 0;
}

/* What of this batch is not committed was never numbered: lots, and with them duplicates' answers, may come out
 * otherwise. */
static void forget_numbers(struct ledger_batch *b)
{
    batch_table_reset(&b->table, b->count);
    for (size_t i = 0; i < b->count; i++) {
        struct batch_entry *entry = &b->entries[i];

        if (i >= b->written && (entry->kind == BATCH_NEW || entry->kind == BATCH_DUPLICATE))
            entry->kind = BATCH_VALID;
        else if (entry->kind == BATCH_NEW)
            batch_table_add(&b->table, b->entries, i);
    }
    b->prepared = b->written;
}

void ledger_parts_drop(struct ledger *l, const struct batch_head *head)
{
    for (unsigned i = 0; i < l->used; i++) {
        struct ledger_batch *b = ledger_batch_at(l, i);

        if (b->state == LEDGER_LOOKED)
            forget_numbers(b);
    }
    for (unsigned i = 0; i < LEDGER_PARTS; i++) {
        if (l->parts[i].batch != NULL && l->parts[i].insert_key)
            l->key.lot = 0; /* its row was never committed: a new key, a new row */
        ledger_part_reset(&l->parts[i]);
    }
    l->part_first = l->part_used = 0;
    l->head = *head;
}

/* --- the lot's key
 * --------------------------------------------------------------------------------------------------------- */

static bool new_key(struct ledger *l, struct err *e)
{
    struct ledger_key *k = &l->key;
    unsigned ordinal = l->head.lot == l->keyed_lot ? l->next_ordinal : 1;

    k->lot = 0;
    if (k->key.at == NULL && !secret_alloc(&k->key, ENVELOPE_KEY_SIZE, e))
        return false;
    if (RAND_bytes(k->key.at, ENVELOPE_KEY_SIZE) != 1)
        return err_set_openssl(e, ERR_FATAL, "no random bytes for a lot's key");
    snprintf(k->id, sizeof(k->id), "%06" PRIu64 "-%u", l->head.lot, ordinal);
    if (k->file.max == 0)
        buf_init(&k->file, 1 << 20);
    buf_reset(&k->file);
    if (!envelope_set_key(l->envelope, k->key.at, k->id, e) ||
        !envelope_seal_key(l->recipients, k->key.at, &k->file, e))
        return false;
    /* The envelope has what it needs, the regulator the rest. */
    OPENSSL_cleanse(k->key.at, ENVELOPE_KEY_SIZE);
    k->lot = l->head.lot;
    k->ordinal = ordinal;
    k->planned = false;
    /* Should this key never be committed, the next one for this lot may have the same ordinal. */
    return true;
}

/* The part needs the lot's key: it takes its row along if no part before does. */
static bool use_key(struct ledger *l, struct ledger_part *p, struct err *e)
{
    if (l->key.lot != l->head.lot && !new_key(l, e))
        return false;
    memcpy(p->key_id, l->key.id, sizeof(p->key_id));
    p->ordinal = l->key.ordinal;
    if (l->key.planned)
        return true;
    l->key.planned = true;
    p->insert_key = true;
    return buf_add_slice(&p->key_file, buf_slice(&l->key.file), e);
}

/* --- entries
 * ---------------------------------------------------------------------------------------------------------------- */

/* The same deposit among those numbered and perhaps not yet visible to the look-up, or among those it found. */
static const struct batch_entry *find_same(const struct ledger *l, const struct ledger_batch *b, const uint8_t *id)
{
    const struct batch_entry *same = batch_table_find(&b->table, b->entries, id);

    for (unsigned i = 0; same == NULL && i < LEDGER_BATCHES; i++)
        if (&l->batches[i] != b)
            same = batch_table_find(&l->batches[i].table, l->batches[i].entries, id);
    return same != NULL ? same : batch_table_find(&b->stored_table, b->stored, id);
}

static void classify(const struct ledger *l, struct ledger_batch *b, size_t index)
{
    struct batch_entry *entry = &b->entries[index];
    const struct batch_entry *same;

    if (entry->kind != BATCH_VALID)
        return;
    same = find_same(l, b, entry->id);
    if (same == NULL) {
        entry->kind = BATCH_NEW;
        batch_table_add(&b->table, b->entries, index);
        return;
    }
    entry->kind = BATCH_DUPLICATE;
    entry->serial = same->serial;
    entry->lot = same->lot;
}

/* CFJLDigest: of the event with its serial, which for a duplicate is the first one's. */
static bool digest_numbered(struct ledger *l, struct batch_entry *entry, const struct slice parts[3], struct err *e)
{
    return digest_compute(l->digester, digest_parse_algorithm(entry->d.digest_algo), parts, 3, entry->digest,
                          &entry->digest_len, e);
}

/* SHA-256 over the ciphertext: what the seal will cover. */
static bool put_sums(struct ledger *l, struct wire_writer *w, struct slice body, struct err *e)
{
    uint8_t digest[DIGEST_SIZE_MAX];
    size_t len;

    if (!digest_compute(l->digester, DIGEST_SHA256, &body, 1, digest, &len, e))
        return false;
    database_copy_i64(w, crc_update(0, body));
    database_copy_bytes(w, slice_of(digest, len));
    return true;
}

static bool put_event(struct ledger *l, struct ledger_part *p, const struct batch_entry *entry,
                      const struct slice parts[3], size_t size, struct err *e)
{
    struct wire_writer w = wire_write(&p->copy);
    size_t at;

    if (p->events == 0)
        database_copy_header(&w);
    database_copy_row(&w, COPY_COLUMNS);
    database_copy_i64(&w, (int64_t)entry->serial);
    database_copy_i64(&w, (int64_t)entry->lot);
    database_copy_i32(&w, (int32_t)entry->d.depositor);
    database_copy_time(&w, entry->d.received);
    database_copy_i32(&w, (int32_t)size);
    database_copy_bytes(&w, slice_of(entry->id, BATCH_ID_SIZE));
    database_copy_bytes(&w, slice_text(entry->type));
    wire_put_u32(&w, (uint32_t)size);
    at = p->copy.len;
    if (!wire_ok(&w, "COPY", e) || !envelope_add(l->envelope, parts, 3, &p->copy, e))
        return false;
    if (!put_sums(l, &w, slice_of(p->copy.data + p->copy.start + at, size), e))
        return false;
    p->events++;
    return wire_ok(&w, "COPY", e);
}

enum added { ADDED, NEXT_PART, ADD_FAILED };

static enum added add_new(struct ledger *l, struct ledger_part *p, struct batch_entry *entry, struct err *e)
{
    char digits[BATCH_SERIAL_MAX + 1];
    struct slice parts[3];
    size_t size;

    entry->serial = l->head.next_serial;
    entry->lot = l->head.lot;
    if (!use_key(l, p, e) || !batch_number(entry, digits, parts, e))
        return ADD_FAILED;
    size = envelope_size(parts[0].len + parts[1].len + parts[2].len, strlen(p->key_id));
    p->close = batch_room(&l->head, &l->limits, size);
    if (p->close != BATCH_FITS)
        return NEXT_PART;
    if (!put_event(l, p, entry, parts, size, e) || !digest_numbered(l, entry, parts, e))
        return ADD_FAILED;
    batch_take(&l->head, size);
    if (l->head.lot_events >= l->limits.count)
        p->close = BATCH_FULL_COUNT;
    return ADDED;
}

static bool add_duplicate(struct ledger *l, struct batch_entry *entry, struct err *e)
{
    char digits[BATCH_SERIAL_MAX + 1];
    struct slice parts[3];

    return batch_number(entry, digits, parts, e) && digest_numbered(l, entry, parts, e);
}

static bool add_invalid(struct ledger *l, struct ledger_part *p, const struct batch_entry *entry, size_t index,
                        struct err *e)
{
    struct ledger_quarantined *q;

    if (!use_key(l, p, e))
        return false;
    if (p->invalid_count == p->invalid_capacity) {
        p->invalid_capacity = p->invalid_capacity == 0 ? 64 : p->invalid_capacity * 2;
        p->invalid = mem_realloc(p->invalid, p->invalid_capacity * sizeof(*p->invalid));
    }
    q = &p->invalid[p->invalid_count++];
    q->entry = index;
    q->at = p->quarantine.len;
    if (!envelope_add(l->envelope, &entry->d.body, 1, &p->quarantine, e))
        return false;
    q->len = p->quarantine.len - q->at;
    return true;
}

static enum added add_entry(struct ledger *l, struct ledger_part *p, size_t index, struct err *e)
{
    struct batch_entry *entry = &p->batch->entries[index];

    classify(l, p->batch, index);
    switch (entry->kind) {
    case BATCH_VALID:
        err_set(e, ERR_FATAL, "a deposit was not compared");
        return ADD_FAILED;
    case BATCH_NEW:
        return add_new(l, p, entry, e);
    case BATCH_DUPLICATE:
        return add_duplicate(l, entry, e) ? ADDED : ADD_FAILED;
    case BATCH_INVALID:
        return add_invalid(l, p, entry, index, e) ? ADDED : ADD_FAILED;
    }
    return ADD_FAILED;
}

/* --- parts
 * --------------------------------------------------------------------------------------------------------------------
 */

static void begin_part(struct ledger *l, struct ledger_part *p, struct ledger_batch *b)
{
    /* Roughly the records again, with what rows and envelopes add: limits that protect, not limits that are met. */
    size_t max = LEDGER_RECORDS_MAX + (b->count + 1) * 1024;

    if (p->copy.data == NULL)
        buf_init(&p->copy, max);
    if (p->quarantine.data == NULL)
        buf_init(&p->quarantine, max);
    if (p->key_file.data == NULL)
        buf_init(&p->key_file, 1 << 20);
    p->copy.max = p->quarantine.max = max;
    p->batch = b;
    p->from = p->to = b->prepared;
    p->before = l->head;
}

/* The next part of this batch, up to its end, the lot's, or so many invalid ones. */
static bool prepare_part(struct ledger *l, struct ledger_batch *b, struct err *e)
{
    struct ledger_part *p = &l->parts[(l->part_first + l->part_used) % LEDGER_PARTS];
    struct wire_writer w;

    begin_part(l, p, b);
    while (p->to < b->count && p->close == BATCH_FITS && p->invalid_count < LEDGER_INVALID_MAX) {
        enum added a = add_entry(l, p, p->to, e);

        if (a == ADD_FAILED)
            return false;
        if (a == ADDED)
            p->to++;
    }
    if (p->events != 0) {
        w = wire_write(&p->copy);
        database_copy_trailer(&w);
        if (!wire_ok(&w, "COPY", e))
            return false;
    }
    p->after = l->head;
    if (p->close != BATCH_FITS)
        batch_next_lot(&l->head);
    b->prepared = p->to;
    l->part_used++;
    return true;
}

bool ledger_prepare(struct ledger *l, struct err *e)
{
    for (unsigned i = 0; i < l->used; i++) {
        struct ledger_batch *b = ledger_batch_at(l, i);

        if (b->state == LEDGER_WRITTEN)
            continue;
        if (b->state != LEDGER_LOOKED)
            return true;
        while (b->prepared < b->count && l->part_used < LEDGER_PARTS)
            if (!prepare_part(l, b, e))
                return false;
        if (b->prepared < b->count)
            return true;
    }
    return true;
}
