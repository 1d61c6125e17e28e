/* The bytes of a segment at any place: see segment.h. Pure. */
#include "exporter/segment_internal.h"

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

static struct zip_entry fixed_entry(const struct segment_file *f)
{
    return entry_of(f->name, strlen(f->name), f->crc32, (uint32_t)f->content.len, f->at);
}

static struct zip_entry container_entry(const struct segment_place *l, char name[NAMES_MAX])
{
    return entry_of(name, names_write_lot(name, l->is.lot), l->is.container_crc32, l->is.container_size, l->at);
}

static struct zip_entry key_entry(const struct segment_place *l, const struct segment_key *k, uint64_t at, char name[NAMES_MAX])
{
    return entry_of(name, names_write_key(name, l->is.lot, k->ordinal), k->crc32, k->size, at);
}

static uint64_t entry_cost(const struct zip_entry *z)
{
    return segment_body_cost(z->name.len, z->size);
}

/* Event `i` of the loaded lot; `at` is where that lot's events begin. */
static struct zip_entry event_entry(const struct segment *s, const struct segment_place *l, size_t i, uint64_t at, char name[NAMES_MAX])
{
    return entry_of(name, names_write_event(name, l->is.lot, l->is.first_serial + i), s->events[i].crc32,
                    s->events[i].size, at + s->event_at[i]);
}

static struct segment_piece needs(const struct segment_place *l)
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
    const struct segment_place *l = &s->lots[index];
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
static size_t central_event(const struct segment_place *l, uint64_t *from)
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
    const struct segment_place *l = &s->lots[index];
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
