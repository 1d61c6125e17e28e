/* Headers of a ZIP as pure functions of their fields. See zip.h; APPNOTE 6.3.10 section 4.3. */
#include "common/formats/zip_internal.h"

enum {
    MADE_BY_UNIX = 3 << 8,
    DOS_1980_01_01 = 0x21, /* the only date: bytes depend on contents, not on when they were asked for */
    REGULAR_0644 = 0100644,
};

static uint16_t zip_version(enum zip_style style)
{
    return style == ZIP_SEGMENT ? 45 : 10; /* APPNOTE 4.4.3.2 */
}

static uint8_t *put16(uint8_t *out, uint64_t v)
{
    *out++ = (uint8_t)v;
    *out++ = (uint8_t)(v >> 8);
    return out;
}

static uint8_t *put32(uint8_t *out, uint64_t v)
{
    return put16(put16(out, v), v >> 16);
}

static uint8_t *put64(uint8_t *out, uint64_t v)
{
    return put32(put32(out, v), v >> 32);
}

static uint8_t *put_name(uint8_t *out, struct slice name)
{
    memcpy(out, name.at, name.len);
    return out + name.len;
}

size_t zip_local_length(size_t name_len)
{
    return ZIP_LOCAL_FIXED + name_len;
}

size_t zip_central_length(enum zip_style style, size_t name_len)
{
    return ZIP_CENTRAL_FIXED + name_len + (style == ZIP_SEGMENT ? ZIP_EXTRA : 0);
}

size_t zip_end_length(enum zip_style style)
{
    return ZIP_EOCD + (style == ZIP_SEGMENT ? ZIP_EOCD64 + ZIP_LOCATOR : 0);
}

/* Version needed to name length: the same in both headers (APPNOTE 4.3.7, 4.3.12). */
static uint8_t *put_common(enum zip_style style, const struct zip_entry *entry, uint8_t *out)
{
    out = put16(out, zip_version(style));
    out = put16(out, 0); /* flags */
    out = put16(out, 0); /* stored */
    out = put16(out, 0); /* time */
    out = put16(out, DOS_1980_01_01);
    out = put32(out, entry->crc32);
    out = put32(out, entry->size);
    out = put32(out, entry->size);
    return put16(out, entry->name.len);
}

size_t zip_write_local(enum zip_style style, const struct zip_entry *entry, uint8_t *out)
{
    uint8_t *at = put32(out, ZIP_LOCAL_MAGIC);

    at = put_common(style, entry, at);
    at = put16(at, 0); /* no extra field */
    at = put_name(at, entry->name);
    return (size_t)(at - out);
}

size_t zip_write_central(enum zip_style style, const struct zip_entry *entry, uint8_t *out)
{
    bool wide = style == ZIP_SEGMENT;
    uint8_t *at = put32(out, ZIP_CENTRAL_MAGIC);

    at = put16(at, MADE_BY_UNIX | zip_version(style));
    at = put_common(style, entry, at);
    at = put16(at, wide ? ZIP_EXTRA : 0);
    at = put16(at, 0); /* comment */
    at = put16(at, 0); /* disk */
    at = put16(at, 0); /* internal attributes */
    at = put32(at, (uint64_t)REGULAR_0644 << 16);
    at = put32(at, wide ? UINT32_MAX : entry->offset);
    at = put_name(at, entry->name);
    if (wide) { /* APPNOTE 4.5.3: only the field that is 0xffffffff above */
        at = put16(at, 1);
        at = put16(at, 8);
        at = put64(at, entry->offset);
    }
    return (size_t)(at - out);
}

/* APPNOTE 4.3.14 and 4.3.15. */
static uint8_t *put_end64(uint64_t entries, uint64_t offset, uint64_t size, uint8_t *at)
{
    at = put32(at, ZIP_EOCD64_MAGIC);
    at = put64(at, ZIP_EOCD64 - 12);
    at = put16(at, MADE_BY_UNIX | 45);
    at = put16(at, 45);
    at = put32(at, 0);
    at = put32(at, 0);
    at = put64(at, entries);
    at = put64(at, entries);
    at = put64(at, size);
    at = put64(at, offset);
    at = put32(at, ZIP_LOCATOR_MAGIC);
    at = put32(at, 0);
    at = put64(at, offset + size);
    return put32(at, 1);
}

size_t zip_write_end(enum zip_style style, uint64_t entries, uint64_t central_offset, uint64_t central_size, uint8_t *out)
{
    bool wide = style == ZIP_SEGMENT;
    uint8_t *at = wide ? put_end64(entries, central_offset, central_size, out) : out;

    at = put32(at, ZIP_EOCD_MAGIC);
    at = put16(at, 0);
    at = put16(at, 0);
    at = put16(at, wide ? UINT16_MAX : entries);
    at = put16(at, wide ? UINT16_MAX : entries);
    at = put32(at, wide ? UINT32_MAX : central_size);
    at = put32(at, wide ? UINT32_MAX : central_offset);
    at = put16(at, 0); /* comment */
    return (size_t)(at - out);
}
