/* What segment.c (building) and segment_piece.c (reading) share; nobody else includes it. */
#ifndef COFFRE_EXPORTER_SEGMENT_INTERNAL_H
#define COFFRE_EXPORTER_SEGMENT_INTERNAL_H

#include "common/formats/digest.h"
#include "exporter/segment.h"

struct segment_file {
    char name[NAMES_MAX];
    struct buf content;
    uint32_t crc32;
    uint8_t sha256[DIGEST_LEN];
    uint64_t at; /* of its local header */
};

struct segment_place {
    struct segment_lot is;
    size_t first_key, keys;    /* in segment.keys */
    uint64_t at, central_at;   /* of its first local header; of its first central entry, from the directory's start */
};

struct segment {
    struct segment_file files[SEGMENT_FILES_MAX];
    unsigned file_count;
    struct segment_place *lots;
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

/* Bytes of a file in the body: local header and contents. */
static inline uint64_t segment_body_cost(size_t name_len, uint64_t size)
{
    return zip_local_length(name_len) + size;
}

#endif
