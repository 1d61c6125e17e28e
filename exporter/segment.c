/* Which byte of a segment is what: see segment.h. Pure. */
#include "exporter/segment.h"

#include <stdlib.h>

#include <openssl/evp.h>

#include "common/formats/digest.h"
#include "common/formats/hex.h"

struct file {
    char name[NAMES_MAX];
    struct buf content;
    uint32_t crc32;
    uint8_t sha256[DIGEST_LEN];
    uint64_t at; /* of its local header */
};

struct lot {
    struct segment_lot is;
    size_t first_key, keys;    /* in segment.keys */
    uint64_t at, central_at;   /* of its first local header; of its first central entry, from the directory's start */
};

struct segment {
    struct file files[SEGMENT_FILES_MAX];
    unsigned file_count;
    struct lot *lots;
    size_t lot_count, lot_room;
    struct segment_key *keys;
    size_t key_count, key_room;
    uint64_t entries, central, central_size, length; /* files in it; directory's place and size; all bytes */
    char etag[SEGMENT_ETAG_MAX];
    /* Metadata of the events of lots[loaded], as places relative to the first event's local header; [count] is the end. */
    size_t loaded; /* SIZE_MAX: none */
    struct segment_event *events;
    uint64_t *event_at;
    uint8_t scratch[ZIP_CENTRAL_MAX > ZIP_END_MAX ? ZIP_CENTRAL_MAX : ZIP_END_MAX];
};

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
    struct file *f = &s->files[s->file_count];

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

static uint64_t body_cost(size_t name_len, uint64_t size)
{
    return zip_local_length(name_len) + size;
}

/* Local headers and bodies of a lot. */
static uint64_t lot_body(const struct segment_lot *lot, const struct segment_key *keys, size_t key_count)
{
    char name[NAMES_MAX];
    uint64_t sum = body_cost(names_write_lot(name, lot->lot), lot->container_size);

    for (size_t i = 0; i < key_count; i++)
        sum += body_cost(names_write_key(name, lot->lot, keys[i].ordinal), keys[i].size);
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
    s->lots[s->lot_count++] = (struct lot){.is = *lot, .first_key = s->key_count, .keys = key_count};
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
        const struct lot *l = &s->lots[i];

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
        at += body_cost(strlen(s->files[i].name), s->files[i].content.len);
        central += zip_central_length(ZIP_SEGMENT, strlen(s->files[i].name));
        s->entries++;
    }
    for (size_t i = 0; i < s->lot_count; i++) {
        struct lot *l = &s->lots[i];
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
        at += body_cost(names_write_event(name, lot, l->first_serial + k), events[k].size);
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

/* ---- pieces -------------------------------------------------------------------------------------- */

static struct segment_piece literal(struct segment *s, size_t len, uint64_t from)
{
    return (struct segment_piece){.kind = SEGMENT_BYTES, .bytes = slice_of(s->scratch + from, len - (size_t)from)};
}

/* The piece at byte `from` of a file in the body: rest of its header, or what its contents are. */
static struct segment_piece file_piece(struct segment *s, const struct zip_entry *z, uint64_t from,
                                       struct segment_piece contents)
{
    size_t header = zip_local_length(z->name.len);

    if (from < header)
        return literal(s, zip_write_local(ZIP_SEGMENT, z, s->scratch), from);
    contents.offset = from - header;
    contents.length = z->size - contents.offset;
    if (contents.kind == SEGMENT_BYTES)
        contents.bytes = slice_of(contents.bytes.at + contents.offset, (size_t)contents.length);
    return contents;
}

static struct zip_entry entry_of(const char *name, size_t name_len, uint32_t crc32, uint32_t size, uint64_t offset)
{
    return (struct zip_entry){slice_of(name, name_len), crc32, size, offset};
}

static struct zip_entry fixed_entry(const struct file *f)
{
    return entry_of(f->name, strlen(f->name), f->crc32, (uint32_t)f->content.len, f->at);
}

static struct zip_entry container_entry(const struct lot *l, char name[NAMES_MAX])
{
    return entry_of(name, names_write_lot(name, l->is.lot), l->is.container_crc32, l->is.container_size, l->at);
}

static struct zip_entry key_entry(const struct lot *l, const struct segment_key *k, uint64_t at, char name[NAMES_MAX])
{
    return entry_of(name, names_write_key(name, l->is.lot, k->ordinal), k->crc32, k->size, at);
}

static uint64_t entry_cost(const struct zip_entry *z)
{
    return body_cost(z->name.len, z->size);
}

/* Event `i` of the loaded lot; `at` is where that lot's events begin. */
static struct zip_entry event_entry(const struct segment *s, const struct lot *l, size_t i, uint64_t at, char name[NAMES_MAX])
{
    return entry_of(name, names_write_event(name, l->is.lot, l->is.first_serial + i), s->events[i].crc32,
                    s->events[i].size, at + s->event_at[i]);
}

static struct segment_piece needs(const struct lot *l)
{
    return (struct segment_piece){.kind = SEGMENT_NEEDS, .lot = l->is.lot};
}

/* The last event that begins at or before `from`, counted from the first event's header. */
static size_t event_at(const struct segment *s, size_t count, uint64_t from)
{
    size_t low = 0, high = count - 1;

    while (low < high) {
        size_t middle = low + (high - low + 1) / 2;

        if (s->event_at[middle] <= from)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

static struct segment_piece lot_piece(struct segment *s, size_t index, uint64_t from)
{
    const struct lot *l = &s->lots[index];
    char name[NAMES_MAX];
    struct zip_entry z = container_entry(l, name);
    uint64_t at = l->at;
    size_t i;

    if (from < entry_cost(&z))
        return file_piece(s, &z, from, (struct segment_piece){.kind = SEGMENT_CONTAINER, .lot = l->is.lot});
    from -= entry_cost(&z);
    at += entry_cost(&z);
    for (i = 0; i < l->keys; i++) {
        const struct segment_key *k = &s->keys[l->first_key + i];

        z = key_entry(l, k, at, name);
        if (from < entry_cost(&z))
            return file_piece(s, &z, from,
                              (struct segment_piece){.kind = SEGMENT_KEY, .lot = l->is.lot, .ordinal = k->ordinal});
        from -= entry_cost(&z);
        at += entry_cost(&z);
    }
    if (s->loaded != index)
        return needs(l);
    i = event_at(s, l->is.events, from);
    z = event_entry(s, l, i, at, name);
    return file_piece(s, &z, from - s->event_at[i],
                      (struct segment_piece){.kind = SEGMENT_EVENT, .lot = l->is.lot, .serial = l->is.first_serial + i});
}

static struct segment_piece central_piece(struct segment *s, const struct zip_entry *z, uint64_t from)
{
    return literal(s, zip_write_central(ZIP_SEGMENT, z, s->scratch), from);
}

/* Which event's central entry byte `*from` falls in, when names may differ in length. */
static size_t central_event(const struct lot *l, uint64_t *from)
{
    char name[NAMES_MAX];
    size_t first = zip_central_length(ZIP_SEGMENT, names_write_event(name, l->is.lot, l->is.first_serial));
    size_t last = zip_central_length(
        ZIP_SEGMENT, names_write_event(name, l->is.lot, l->is.first_serial + l->is.events - 1));
    size_t i = 0;

    if (first == last) {
        i = (size_t)(*from / first);
        *from %= first;
        return i;
    }
    for (; *from >= first; i++) {
        *from -= first;
        first = zip_central_length(ZIP_SEGMENT, names_write_event(name, l->is.lot, l->is.first_serial + i + 1));
    }
    return i;
}

static struct segment_piece lot_central_piece(struct segment *s, size_t index, uint64_t from)
{
    const struct lot *l = &s->lots[index];
    char name[NAMES_MAX];
    struct zip_entry z = container_entry(l, name);
    uint64_t at = l->at;

    if (from < zip_central_length(ZIP_SEGMENT, z.name.len))
        return central_piece(s, &z, from);
    from -= zip_central_length(ZIP_SEGMENT, z.name.len);
    at += entry_cost(&z);
    for (size_t i = 0; i < l->keys; i++) {
        z = key_entry(l, &s->keys[l->first_key + i], at, name);
        if (from < zip_central_length(ZIP_SEGMENT, z.name.len))
            return central_piece(s, &z, from);
        from -= zip_central_length(ZIP_SEGMENT, z.name.len);
        at += entry_cost(&z);
    }
    if (s->loaded != index)
        return needs(l);
    z = event_entry(s, l, central_event(l, &from), at, name);
    return central_piece(s, &z, from);
}

/* The last lot that begins at or before `at` in the body, or in the directory. */
static size_t lot_at(const struct segment *s, uint64_t at, bool central)
{
    size_t low = 0, high = s->lot_count - 1;

    while (low < high) {
        size_t middle = low + (high - low + 1) / 2;

        if ((central ? s->lots[middle].central_at : s->lots[middle].at) <= at)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

static struct segment_piece piece_in_body(struct segment *s, uint64_t at)
{
    for (unsigned i = 0; i < s->file_count; i++) {
        struct zip_entry z = fixed_entry(&s->files[i]);

        if (at < z.offset + entry_cost(&z))
            return file_piece(s, &z, at - z.offset,
                              (struct segment_piece){.kind = SEGMENT_BYTES, .bytes = buf_slice(&s->files[i].content)});
    }
    return lot_piece(s, lot_at(s, at, false), at - s->lots[lot_at(s, at, false)].at);
}

static struct segment_piece piece_in_directory(struct segment *s, uint64_t at)
{
    uint64_t from = at;
    size_t i;

    for (unsigned f = 0; f < s->file_count; f++) {
        struct zip_entry z = fixed_entry(&s->files[f]);

        if (from < zip_central_length(ZIP_SEGMENT, z.name.len))
            return central_piece(s, &z, from);
        from -= zip_central_length(ZIP_SEGMENT, z.name.len);
    }
    i = lot_at(s, at, true);
    return lot_central_piece(s, i, at - s->lots[i].central_at);
}

struct segment_piece segment_piece_at(struct segment *s, uint64_t at)
{
    if (at >= s->length)
        return (struct segment_piece){.kind = SEGMENT_END};
    if (at < s->central)
        return piece_in_body(s, at);
    if (at < s->central + s->central_size)
        return piece_in_directory(s, at - s->central);
    return literal(s, zip_write_end(ZIP_SEGMENT, s->entries, s->central, s->central_size, s->scratch),
                   at - s->central - s->central_size);
}
