/* What a segment holds, where, and its entity-tag: see segment.h. Pure. Bytes are in segment_piece.c. */
#include "exporter/segment_internal.h"

#include <stdlib.h>

#include <openssl/evp.h>

#include "common/formats/hex.h"

struct segment *segment_new(void)
{
    struct segment *s = mem_zalloc(1, sizeof *s);

    s->loaded = SIZE_MAX;
    return s;
}

void segment_free(struct segment *s)
{
    if (s == NULL)
        return;
    for (unsigned i = 0; i < s->file_count; i++)
        buf_free(&s->files[i].content);
    free(s->lots);
    free(s->keys);
    free(s->events);
    free(s->event_at);
    free(s);
}

bool segment_add_file(struct segment *s, const char *name, struct slice content, struct err *e)
{
    struct segment_file *f = &s->files[s->file_count];

    if (s->file_count == SEGMENT_FILES_MAX || strlen(name) >= sizeof f->name || content.len >= UINT32_MAX)
        return err_set(e, ERR_FATAL, "segment: %s does not fit", name);
    memcpy(f->name, name, strlen(name) + 1);
    buf_init(&f->content, content.len);
    s->file_count++;
    f->crc32 = digest_crc32(0, content);
    return digest_sha256(content, f->sha256, e) && buf_add_slice(&f->content, content, e);
}

/* ---- sizes ------------------------------------------------------------------------------------- */

/* Bytes of the names of the events first … first + count - 1 in this lot. */
static uint64_t event_names_length(uint64_t lot, uint64_t first, uint64_t count)
{
    char name[NAMES_MAX];
    uint64_t sum = 0, shortest, longest;

    if (count == 0)
        return 0;
    shortest = names_write_event(name, lot, first);
    longest = names_write_event(name, lot, first + count - 1);
    if (shortest == longest)
        return shortest * count;
    for (uint64_t i = 0; i < count; i++)
        sum += names_write_event(name, lot, first + i);
    return sum;
}

/* Local headers and bodies of a lot. */
static uint64_t lot_body(const struct segment_lot *lot, const struct segment_key *keys, size_t key_count)
{
    char name[NAMES_MAX];
    uint64_t sum = segment_body_cost(names_write_lot(name, lot->lot), lot->container_size);

    for (size_t i = 0; i < key_count; i++)
        sum += segment_body_cost(names_write_key(name, lot->lot, keys[i].ordinal), keys[i].size);
    return sum + zip_local_length(0) * lot->events + event_names_length(lot->lot, lot->first_serial, lot->events) +
           lot->event_bytes;
}

/* Its entries of the central directory. */
static uint64_t lot_central(const struct segment_lot *lot, const struct segment_key *keys, size_t key_count)
{
    char name[NAMES_MAX];
    uint64_t sum = zip_central_length(ZIP_SEGMENT, names_write_lot(name, lot->lot));

    for (size_t i = 0; i < key_count; i++)
        sum += zip_central_length(ZIP_SEGMENT, names_write_key(name, lot->lot, keys[i].ordinal));
    return sum + zip_central_length(ZIP_SEGMENT, 0) * lot->events +
           event_names_length(lot->lot, lot->first_serial, lot->events);
}

uint64_t segment_lot_cost(const struct segment_lot *lot, const struct segment_key *keys, size_t key_count)
{
    return lot_body(lot, keys, key_count) + lot_central(lot, keys, key_count);
}

/* ---- building ---------------------------------------------------------------------------------- */

static bool lot_is_sound(const struct segment *s, const struct segment_lot *lot, const struct segment_key *keys,
                         size_t key_count, struct err *e)
{
    if (s->lot_count == SEGMENT_LOTS_MAX || key_count > SEGMENT_KEYS_MAX)
        return err_set(e, ERR_INPUT, "segment: too many lots or keys at lot %llu", (unsigned long long)lot->lot);
    if (lot->events > SEGMENT_EVENTS_MAX || lot->event_bytes > (1ull << 50) || lot->first_serial > (1ull << 62) ||
        lot->container_size == UINT32_MAX || (s->lot_count != 0 && s->lots[s->lot_count - 1].is.lot >= lot->lot))
        return err_set(e, ERR_INPUT, "segment: lot %llu cannot be so", (unsigned long long)lot->lot);
    for (size_t i = 0; i < key_count; i++)
        if (keys[i].size == UINT32_MAX || (i != 0 && keys[i].ordinal <= keys[i - 1].ordinal))
            return err_set(e, ERR_INPUT, "segment: keys of lot %llu cannot be so", (unsigned long long)lot->lot);
    return true;
}

bool segment_add_lot(struct segment *s, const struct segment_lot *lot, const struct segment_key *keys, size_t key_count,
                     struct err *e)
{
    if (!lot_is_sound(s, lot, keys, key_count, e))
        return false;
    if (s->lot_count == s->lot_room) {
        s->lot_room = s->lot_room == 0 ? 16 : 2 * s->lot_room;
        s->lots = mem_realloc(s->lots, s->lot_room * sizeof *s->lots);
    }
    while (s->key_count + key_count > s->key_room) {
        s->key_room = s->key_room == 0 ? 16 : 2 * s->key_room;
        s->keys = mem_realloc(s->keys, s->key_room * sizeof *s->keys);
    }
    s->lots[s->lot_count++] = (struct segment_place){.is = *lot, .first_key = s->key_count, .keys = key_count};
    if (key_count != 0)
        memcpy(s->keys + s->key_count, keys, key_count * sizeof *keys);
    s->key_count += key_count;
    return true;
}

static void digest_line(EVP_MD_CTX *md, const uint8_t sha256[DIGEST_LEN], const char *name)
{
    char hex[2 * DIGEST_LEN + 1], line[2 * DIGEST_LEN + NAMES_MAX + 8];
    int n;

    hex_write(hex, slice_of(sha256, DIGEST_LEN));
    n = snprintf(line, sizeof line, "%s  %s\n", hex, name);
    EVP_DigestUpdate(md, line, (size_t)n);
}

static void compute_etag(struct segment *s)
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    uint8_t digest[EVP_MAX_MD_SIZE];
    char name[NAMES_MAX];

    if (md == NULL || EVP_DigestInit_ex(md, EVP_sha256(), NULL) != 1)
        abort();
    for (unsigned i = 0; i < s->file_count; i++)
        digest_line(md, s->files[i].sha256, s->files[i].name);
    for (size_t i = 0; i < s->lot_count; i++) {
        const struct segment_place *l = &s->lots[i];

        names_write_lot(name, l->is.lot);
        digest_line(md, l->is.container_sha256, name);
        for (size_t k = 0; k < l->keys; k++) {
            names_write_key(name, l->is.lot, s->keys[l->first_key + k].ordinal);
            digest_line(md, s->keys[l->first_key + k].sha256, name);
        }
        if (l->is.events != 0) {
            char line[96];
            int n = snprintf(line, sizeof line, "%llu-%llu  events/%06llu/\n", (unsigned long long)l->is.first_serial,
                             (unsigned long long)(l->is.first_serial + l->is.events - 1), (unsigned long long)l->is.lot);

            EVP_DigestUpdate(md, line, (size_t)n);
        }
    }
    if (EVP_DigestFinal_ex(md, digest, NULL) != 1)
        abort();
    EVP_MD_CTX_free(md);
    s->etag[0] = '"';
    hex_write(s->etag + 1, slice_of(digest, DIGEST_LEN));
    s->etag[1 + 2 * DIGEST_LEN] = '"';
    s->etag[2 + 2 * DIGEST_LEN] = '\0';
}

void segment_finish(struct segment *s)
{
    uint64_t at = 0, central = 0;

    s->entries = 0;
    for (unsigned i = 0; i < s->file_count; i++) {
        s->files[i].at = at;
        at += segment_body_cost(strlen(s->files[i].name), s->files[i].content.len);
        central += zip_central_length(ZIP_SEGMENT, strlen(s->files[i].name));
        s->entries++;
    }
    for (size_t i = 0; i < s->lot_count; i++) {
        struct segment_place *l = &s->lots[i];
        const struct segment_key *keys = s->keys + l->first_key;

        l->at = at;
        l->central_at = central;
        at += lot_body(&l->is, keys, l->keys);
        central += lot_central(&l->is, keys, l->keys);
        s->entries += 1 + l->keys + l->is.events;
    }
    s->central = at;
    s->central_size = central;
    s->length = at + central + zip_end_length(ZIP_SEGMENT);
    compute_etag(s);
}

uint64_t segment_length(const struct segment *s)
{
    return s->length;
}

const char *segment_etag(const struct segment *s)
{
    return s->etag;
}

/* ---- metadata of events -------------------------------------------------------------------------- */

/* The lot of that number; SIZE_MAX: not here. */
static size_t index_of(const struct segment *s, uint64_t lot)
{
    size_t low = 0, high = s->lot_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (s->lots[middle].is.lot < lot)
            low = middle + 1;
        else
            high = middle;
    }
    return low < s->lot_count && s->lots[low].is.lot == lot ? low : SIZE_MAX;
}

bool segment_find_lot(const struct segment *s, uint64_t lot, struct segment_lot *found)
{
    size_t i = index_of(s, lot);

    if (i == SIZE_MAX)
        return false;
    *found = s->lots[i].is;
    return true;
}

bool segment_give_events(struct segment *s, uint64_t lot, const struct segment_event *events, size_t count, struct err *e)
{
    size_t i = index_of(s, lot);
    const struct segment_lot *l;
    uint64_t at = 0, bytes = 0;
    char name[NAMES_MAX];

    if (i == SIZE_MAX || s->lots[i].is.events != count)
        return err_set(e, ERR_FATAL, "lot %llu: %zu events are stored, the lot says otherwise", (unsigned long long)lot, count);
    l = &s->lots[i].is;
    s->loaded = SIZE_MAX;
    s->events = mem_realloc(s->events, count * sizeof *s->events);
    s->event_at = mem_realloc(s->event_at, (count + 1) * sizeof *s->event_at);
    for (size_t k = 0; k < count; k++) {
        s->events[k] = events[k];
        s->event_at[k] = at;
        at += segment_body_cost(names_write_event(name, lot, l->first_serial + k), events[k].size);
        bytes += events[k].size;
    }
    s->event_at[count] = at;
    if (bytes != l->event_bytes)
        return err_set(e, ERR_FATAL, "lot %llu: its events have %llu bytes, the lot says %llu", (unsigned long long)lot,
                       (unsigned long long)bytes, (unsigned long long)l->event_bytes);
    s->loaded = i;
    return true;
}

uint32_t segment_event_size(const struct segment *s, uint64_t serial)
{
    const struct segment_lot *l;

    if (s->loaded == SIZE_MAX)
        return 0;
    l = &s->lots[s->loaded].is;
    return serial < l->first_serial || serial - l->first_serial >= l->events ? 0 : s->events[serial - l->first_serial].size;
}
