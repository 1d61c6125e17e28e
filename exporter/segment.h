/*
 * What a segment (a ZIP64, stored) holds at which byte, computed from metadata alone: length, entity-tag and any
 * piece from any offset, the same for ever. Pure. Bodies of containers, keys and events are named, never held, so that
 * memory does not depend on the size. Roles: query. Input: rows of the store.
 */
#ifndef COFFRE_EXPORTER_SEGMENT_H
#define COFFRE_EXPORTER_SEGMENT_H

#include "common/formats/names.h"
#include "common/formats/zip.h"
#include "common/values/buf.h"

enum {
    SEGMENT_FILES_MAX = 8,     /* README and certificates */
    SEGMENT_LOTS_MAX = 10000,  /* lots of one segment, whatever their size */
    SEGMENT_KEYS_MAX = 1000,   /* keys of one lot */
    SEGMENT_EVENTS_MAX = 1000000, /* events of one lot */
    SEGMENT_ETAG_MAX = 2 + 64 + 1,
};

/* A lot's key file, metadata only. */
struct segment_key {
    uint32_t ordinal, size, crc32;
    uint8_t sha256[32];
};

/* A sealed lot, metadata only. */
struct segment_lot {
    uint64_t lot;
    uint64_t first_serial, events; /* consecutive serials it shows here */
    uint64_t event_bytes;          /* of these events' bodies */
    uint32_t container_size, container_crc32;
    uint8_t container_sha256[32];
};

/* One event, metadata only. */
struct segment_event {
    uint32_t size, crc32;
};

struct segment;

struct segment *segment_new(void);
void segment_free(struct segment *s);

/* README.txt and certs/…, in the order of names.h; contents are copied. */
MUST_CHECK bool segment_add_file(struct segment *s, const char *name, struct slice content, struct err *e);
/* Lots in ascending order. ERR_INPUT when the segment is full or the numbers cannot be. */
MUST_CHECK bool segment_add_lot(struct segment *s, const struct segment_lot *lot, const struct segment_key *keys,
                                size_t key_count, struct err *e);
/* Bytes this lot takes in a segment: headers, bodies and central entries. */
uint64_t segment_lot_cost(const struct segment_lot *lot, const struct segment_key *keys, size_t key_count);
/* No more is added: places are computed. */
void segment_finish(struct segment *s);

/* Valid once finished. */
uint64_t segment_length(const struct segment *s);
/*
 * Strong entity-tag (RFC 9110 8.8.3), quoted: SHA-256 of the lines "<sha256 hex>  <name>\n" of every file outside events/ and
 * "<first serial>-<last serial>  events/<lot>/\n" for the events of a lot, in the segment's order. Containers hold the
 * digests of all events, so it says every byte; a client can recompute it.
 */
const char *segment_etag(const struct segment *s);

enum segment_kind {
    SEGMENT_BYTES,     /* `bytes` */
    SEGMENT_CONTAINER, /* `length` bytes from `offset` of the container of `lot` */
    SEGMENT_KEY,       /* … of the key `ordinal` of `lot` */
    SEGMENT_EVENT,     /* … of the event `serial` */
    SEGMENT_NEEDS,     /* metadata of `lot`'s events must be given by segment_give_events() first */
    SEGMENT_END,
};

struct segment_piece {
    enum segment_kind kind;
    uint64_t lot, serial, offset, length;
    uint32_t ordinal;
    struct slice bytes; /* borrowed until the next call */
};

/*
 * Metadata of all events the lot shows, by serial. Kept for the lot last given only. ERR_FATAL when they are not what
 * the lot said (count, bytes): the store contradicts itself.
 */
MUST_CHECK bool segment_give_events(struct segment *s, uint64_t lot, const struct segment_event *events, size_t count,
                                    struct err *e);
/* The first serial and the number of events of a lot; for whoever fetches that metadata. */
MUST_CHECK bool segment_find_lot(const struct segment *s, uint64_t lot, struct segment_lot *found);
/* Size of an event's body, from the metadata last given; 0 when unknown. */
uint32_t segment_event_size(const struct segment *s, uint64_t serial);

/* What is at byte `at` of the segment: a piece that ends where the next one begins. */
struct segment_piece segment_piece_at(struct segment *s, uint64_t at);

#endif
