/*
 * ZIP (APPNOTE 6.3.10) as Coffre writes it: stored, no data descriptor, CRC-32 and sizes known
 * beforehand, so that every header is a pure function and any byte of a file can be computed without writing
 * it. The reader accepts only what the writer writes; it trusts nothing.
 */
#ifndef COFFRE_ZIP_H
#define COFFRE_ZIP_H

#include "common/values/err.h"
#include "common/values/slice.h"

/*
 * ZIP_PLAIN: an ASiC-E container (no extra field anywhere; under 4 GB, under 65,535 entries).
 * ZIP_SEGMENT: every central entry carries its offset in a ZIP64 extra field, and the ZIP64 end records are always
 * there: lengths depend on the names only, not on where a file lies.
 */
enum zip_style { ZIP_PLAIN, ZIP_SEGMENT };

enum {
    ZIP_NAME_MAX = 255,
    ZIP_LOCAL_MAX = 30 + ZIP_NAME_MAX,
    ZIP_CENTRAL_MAX = 46 + ZIP_NAME_MAX + 12,
    ZIP_END_MAX = 56 + 20 + 22,
};

struct zip_entry {
    struct slice name;  /* ASCII, 1..ZIP_NAME_MAX bytes; borrowed */
    uint32_t crc32;
    uint32_t size;      /* bytes, below 0xffffffff */
    uint64_t offset;    /* of the local header */
};

/* Lengths without writing. A file takes zip_local_length() + size bytes in the body. */
size_t zip_local_length(size_t name_len);
size_t zip_central_length(enum zip_style style, size_t name_len);
size_t zip_end_length(enum zip_style style);

/* The bytes themselves; each returns the length above. `out` has room for ZIP_LOCAL_MAX and so on. */
size_t zip_write_local(enum zip_style style, const struct zip_entry *entry, uint8_t *out);
size_t zip_write_central(enum zip_style style, const struct zip_entry *entry, uint8_t *out);
/* Everything after the last central entry; `central_offset` is where the first one starts. */
size_t zip_write_end(enum zip_style style, uint64_t entries, uint64_t central_offset, uint64_t central_size,
                     uint8_t *out);

/* Where a reader takes bytes from: exactly `len` at `offset`, or false. */
struct zip_source {
    bool (*read_at)(void *ctx, uint64_t offset, uint8_t *out, size_t len, struct err *e);
    void *ctx;
    uint64_t size; /* of the whole file, bytes */
};

/* What is wrong, for programs; the text in struct err says it for people. */
enum zip_fault {
    ZIP_FAULT_NONE,
    ZIP_FAULT_READ,       /* the source failed */
    ZIP_FAULT_TRUNCATED,  /* no end record, or the file ends inside an entry */
    ZIP_FAULT_HEADER,     /* a header unlike those Coffre writes */
    ZIP_FAULT_COMPRESSED, /* a method other than stored */
    ZIP_FAULT_DESCRIPTOR, /* data descriptor or encryption flags */
    ZIP_FAULT_MISMATCH,   /* central directory and local header disagree, files overlap or leave gaps */
    ZIP_FAULT_NAME,       /* absolute, "..", backslash, empty part, not printable ASCII */
    ZIP_FAULT_DUPLICATE,  /* the same name twice in a row (callers with an order of their own find the rest) */
    ZIP_FAULT_CRC,        /* contents do not have the CRC-32 that the headers name */
    ZIP_FAULT_TRAILING,   /* bytes before, between or after what belongs to the archive */
};

/* Reads local headers and the central directory side by side: memory does not depend on the file. */
struct zip_reader {
    struct zip_source source;
    enum zip_style style;
    enum zip_fault fault;      /* of the last failure */
    bool central_known;        /* false: truncated file, local headers only */
    uint64_t entries, entry;   /* announced, read */
    uint64_t central_offset, central_at, central_end;
    uint64_t at;               /* next byte of the body */
    uint64_t left;             /* of the current entry's contents */
    uint32_t crc;              /* of what was read of it */
    struct zip_entry current;
    char name[ZIP_NAME_MAX + 1];
    char last_name[ZIP_NAME_MAX + 1];
};

/* Finds and checks the end records. On ZIP_FAULT_TRUNCATED the caller may go on with zip_open_truncated(). */
MUST_CHECK bool zip_open(struct zip_reader *r, const struct zip_source *source, enum zip_style style, struct err *e);
/* Salvage: reads local headers until bytes run out. */
void zip_open_truncated(struct zip_reader *r, const struct zip_source *source, enum zip_style style);

enum zip_result { ZIP_ENTRY, ZIP_END, ZIP_BAD };

/* The next entry; the contents of the one before must have been read to the end. `*entry` is borrowed until the next call. */
enum zip_result zip_next(struct zip_reader *r, const struct zip_entry **entry, struct err *e);

/* Up to `len` bytes of the current entry; 0 in `*got` at its end, when the CRC-32 has been checked. */
MUST_CHECK bool zip_read(struct zip_reader *r, uint8_t *out, size_t len, size_t *got, struct err *e);

/* Passes over what is left of the current entry, unread and unchecked: for looking at names only. */
void zip_skip(struct zip_reader *r);

/* True for a name a segment or container may hold (see ZIP_FAULT_NAME). */
bool zip_name_safe(struct slice name);

#endif
