/*
 * Strict reader of the ZIP files that zip_write.c makes: every header read is written again
 * and compared, so nothing odd can hide in a field nobody looks at. See zip.h.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/formats/digest.h"
#include "common/formats/zip_internal.h"
#include "common/values/buf.h"

enum { EOCD_SEARCH = 22 + 65535 };

static uint16_t get16(const uint8_t *at)
{
    return (uint16_t)(at[0] | at[1] << 8);
}

static uint32_t get32(const uint8_t *at)
{
    return get16(at) | (uint32_t)get16(at + 2) << 16;
}

static uint64_t get64(const uint8_t *at)
{
    return get32(at) | (uint64_t)get32(at + 4) << 32;
}

/* Records the fault and the error; returns false. */
static bool zip_fail(struct zip_reader *r, enum zip_fault fault, struct err *e, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

static bool zip_fail(struct zip_reader *r, enum zip_fault fault, struct err *e, const char *fmt, ...)
{
    char text[ERR_TEXT_MAX];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    r->fault = fault;
    return err_set(e, ERR_INPUT, "ZIP: %s", text);
}

/* Bytes [offset, offset + len) or a fault; the caller has checked that they are inside the file. */
static bool zip_fetch(struct zip_reader *r, uint64_t offset, uint8_t *out, size_t len, struct err *e)
{
    if (offset > r->source.size || len > r->source.size - offset)
        return zip_fail(r, ZIP_FAULT_TRUNCATED, e, "the file ends inside a header at byte %" PRIu64, offset);
    if (r->source.read_at(r->source.ctx, offset, out, len, e))
        return true;
    r->fault = ZIP_FAULT_READ;
    return err_set(e, ERR_RETRY, "ZIP: cannot read at byte %" PRIu64, offset);
}

bool zip_name_safe(struct slice name)
{
    size_t part = 0; /* where the current part starts */

    if (name.len == 0 || name.len > ZIP_NAME_MAX)
        return false;
    for (size_t i = 0; i <= name.len; i++) {
        if (i < name.len && name.at[i] != '/') {
            if (name.at[i] <= ' ' || name.at[i] > '~' || name.at[i] == '\\' || name.at[i] == ':')
                return false;
            continue;
        }
        if (i == part || (name.at[part] == '.' && (i - part == 1 || (i - part == 2 && name.at[part + 1] == '.'))))
            return false; /* "", ".", ".." */
        part = i + 1;
    }
    return true;
}

/* Why there is no end record where it should be. */
static bool zip_explain_end(struct zip_reader *r, struct err *e)
{
    size_t len = r->source.size < EOCD_SEARCH ? (size_t)r->source.size : EOCD_SEARCH, end = zip_end_length(r->style);
    uint8_t *tail = mem_alloc(len + 1);
    uint32_t magic = r->style == ZIP_SEGMENT ? ZIP_EOCD64_MAGIC : ZIP_EOCD_MAGIC; /* containers lie in segments */
    bool found = false;

    if (zip_fetch(r, r->source.size - len, tail, len, e)) {
        for (size_t i = 0; !found && i + end <= len; i++)
            found = get32(tail + i) == magic && get32(tail + i + end - ZIP_EOCD) == ZIP_EOCD_MAGIC;
        if (found)
            (void)zip_fail(r, ZIP_FAULT_TRAILING, e, "something follows the end record");
        else
            (void)zip_fail(r, ZIP_FAULT_TRUNCATED, e, "no end record: the file is cut short, or is not a ZIP");
    }
    free(tail);
    return false;
}

static void zip_begin(struct zip_reader *r, const struct zip_source *source, enum zip_style style)
{
    memset(r, 0, sizeof(*r));
    r->source = *source;
    r->style = style;
}

bool zip_open(struct zip_reader *r, const struct zip_source *source, enum zip_style style, struct err *e)
{
    uint8_t end[ZIP_END_MAX], again[ZIP_END_MAX];
    size_t len = zip_end_length(style);
    uint64_t size;

    zip_begin(r, source, style);
    if (source->size < len)
        return zip_fail(r, ZIP_FAULT_TRUNCATED, e, "%" PRIu64 " bytes are too few", source->size);
    if (!zip_fetch(r, source->size - len, end, len, e))
        return false;
    if (get32(end + len - ZIP_EOCD) != ZIP_EOCD_MAGIC)
        return zip_explain_end(r, e);
    if (style == ZIP_SEGMENT) {
        r->entries = get64(end + 32);
        size = get64(end + 40);
        r->central_offset = get64(end + 48);
    } else {
        r->entries = get16(end + 10);
        size = get32(end + 12);
        r->central_offset = get32(end + 16);
    }
    if (zip_write_end(style, r->entries, r->central_offset, size, again) != len || memcmp(end, again, len) != 0)
        return zip_fail(r, ZIP_FAULT_HEADER, e, "end records unlike those Coffre writes");
    if (size > source->size - len || r->central_offset != source->size - len - size)
        return zip_fail(r, ZIP_FAULT_MISMATCH, e, "the central directory does not end where the end records start");
    r->central_at = r->central_offset;
    r->central_end = r->central_offset + size;
    r->central_known = true;
    return true;
}

void zip_open_truncated(struct zip_reader *r, const struct zip_source *source, enum zip_style style)
{
    zip_begin(r, source, style);
    r->central_offset = source->size;
}

/* A header that differs from the one Coffre writes: which of the known tricks it is. `at` is its flags field. */
static bool zip_explain_header(struct zip_reader *r, const uint8_t *at, const char *which, struct err *e)
{
    if (get16(at) != 0)
        return zip_fail(r, ZIP_FAULT_DESCRIPTOR, e, "entry %" PRIu64 ": flags (data descriptor, encryption) in its %s",
                        r->entry, which);
    if (get16(at + 2) != 0)
        return zip_fail(r, ZIP_FAULT_COMPRESSED, e, "entry %" PRIu64 " is compressed, by its %s", r->entry, which);
    return zip_fail(r, ZIP_FAULT_HEADER, e, "entry %" PRIu64 ": %s unlike those Coffre writes", r->entry, which);
}

static bool zip_check_name(struct zip_reader *r, struct err *e)
{
    if (!zip_name_safe(r->current.name))
        return zip_fail(r, ZIP_FAULT_NAME, e, "entry %" PRIu64 " has a name that must not be", r->entry);
    if (strcmp(r->name, r->last_name) == 0)
        return zip_fail(r, ZIP_FAULT_DUPLICATE, e, "\"%s\" is there twice", r->name);
    return true;
}

/* Name, CRC and size from a header; the name is kept in the reader. */
static bool zip_take_fields(struct zip_reader *r, const uint8_t *fields, const uint8_t *name, struct err *e)
{
    uint16_t name_len = get16(fields + 22);

    memcpy(r->last_name, r->name, sizeof(r->name));
    memset(r->name, 0, sizeof(r->name));
    memcpy(r->name, name, name_len);
    r->current.name = slice_of(r->name, name_len);
    r->current.crc32 = get32(fields + 10);
    r->current.size = get32(fields + 14);
    return r->current.size < UINT32_MAX ||
           zip_fail(r, ZIP_FAULT_HEADER, e, "entry %" PRIu64 " is over 4 GB", r->entry);
}

/* The entry the central directory names next. */
static bool zip_read_central(struct zip_reader *r, struct err *e)
{
    uint8_t header[ZIP_CENTRAL_MAX], again[ZIP_CENTRAL_MAX];
    size_t len;

    if (r->central_end - r->central_at < ZIP_CENTRAL_FIXED)
        return zip_fail(r, ZIP_FAULT_MISMATCH, e, "the central directory ends inside entry %" PRIu64, r->entry);
    if (!zip_fetch(r, r->central_at, header, ZIP_CENTRAL_FIXED, e))
        return false;
    len = zip_central_length(r->style, get16(header + 28));
    if (get32(header) != ZIP_CENTRAL_MAGIC || len > ZIP_CENTRAL_MAX || len > r->central_end - r->central_at)
        return zip_fail(r, ZIP_FAULT_HEADER, e, "entry %" PRIu64 " of the central directory is not one", r->entry);
    if (!zip_fetch(r, r->central_at + ZIP_CENTRAL_FIXED, header + ZIP_CENTRAL_FIXED, len - ZIP_CENTRAL_FIXED, e) ||
        !zip_take_fields(r, header + 6, header + ZIP_CENTRAL_FIXED, e))
        return false;
    r->current.offset = r->style == ZIP_SEGMENT ? get64(header + len - 8) : get32(header + 42);
    if (zip_write_central(r->style, &r->current, again) != len || memcmp(header, again, len) != 0)
        return zip_explain_header(r, header + 8, "central header", e);
    r->central_at += len;
    return true;
}

/* The local header at r->at must be the one of the current entry. */
static bool zip_match_local(struct zip_reader *r, struct err *e)
{
    uint8_t header[ZIP_LOCAL_MAX], again[ZIP_LOCAL_MAX];
    size_t len = zip_write_local(r->style, &r->current, again);

    if (r->current.offset != r->at)
        return zip_fail(r, ZIP_FAULT_MISMATCH, e, "\"%s\": a gap before it, or it overlaps another file", r->name);
    if (r->central_offset < r->at || r->central_offset - r->at < len + (uint64_t)r->current.size)
        return zip_fail(r, ZIP_FAULT_MISMATCH, e, "\"%s\" runs into the central directory", r->name);
    if (!zip_fetch(r, r->at, header, len, e))
        return false;
    return memcmp(header, again, len) == 0 ||
           zip_fail(r, ZIP_FAULT_MISMATCH, e, "\"%s\": local header and central directory disagree", r->name);
}

/* Without a central directory: what the local header at r->at says. */
static bool zip_read_local(struct zip_reader *r, struct err *e)
{
    uint8_t header[ZIP_LOCAL_MAX], again[ZIP_LOCAL_MAX];
    size_t len;

    if (!zip_fetch(r, r->at, header, ZIP_LOCAL_FIXED, e))
        return false;
    len = zip_local_length(get16(header + 26));
    if (get32(header) != ZIP_LOCAL_MAGIC || len > ZIP_LOCAL_MAX)
        return zip_fail(r, ZIP_FAULT_HEADER, e, "no file at byte %" PRIu64, r->at);
    if (!zip_fetch(r, r->at + ZIP_LOCAL_FIXED, header + ZIP_LOCAL_FIXED, len - ZIP_LOCAL_FIXED, e) ||
        !zip_take_fields(r, header + 4, header + ZIP_LOCAL_FIXED, e))
        return false;
    r->current.offset = r->at;
    if (zip_write_local(r->style, &r->current, again) != len || memcmp(header, again, len) != 0)
        return zip_explain_header(r, header + 6, "local header", e);
    return true;
}

/* No more entries: everything announced was there and nothing else. */
static bool zip_check_end(struct zip_reader *r, struct err *e)
{
    if (r->entry != r->entries)
        return zip_fail(r, ZIP_FAULT_MISMATCH, e, "%" PRIu64 " entries announced, %" PRIu64 " there", r->entries,
                        r->entry);
    return r->at == r->central_offset ||
           zip_fail(r, ZIP_FAULT_TRAILING, e, "bytes that belong to no file before the central directory");
}

/* In a truncated file: bytes that are left may be the start of its central directory. */
static bool zip_at_end(struct zip_reader *r)
{
    uint8_t magic[4];

    if (r->central_known)
        return r->central_at == r->central_end;
    return r->source.size - r->at < sizeof(magic) ||
           (zip_fetch(r, r->at, magic, sizeof(magic), NULL) && get32(magic) == ZIP_CENTRAL_MAGIC);
}

enum zip_result zip_next(struct zip_reader *r, const struct zip_entry **entry, struct err *e)
{
    if (r->left > 0) {
        (void)zip_fail(r, ZIP_FAULT_READ, e, "the file before was not read to its end");
        return ZIP_BAD;
    }
    if (zip_at_end(r))
        return !r->central_known || zip_check_end(r, e) ? ZIP_END : ZIP_BAD;
    if (r->central_known ? !zip_read_central(r, e) || !zip_match_local(r, e) : !zip_read_local(r, e))
        return ZIP_BAD;
    if (!zip_check_name(r, e))
        return ZIP_BAD;
    r->at += zip_local_length(r->current.name.len);
    r->left = r->current.size;
    r->crc = 0;
    r->entry++;
    *entry = &r->current;
    if (r->left == 0 && r->current.crc32 != 0) {
        (void)zip_fail(r, ZIP_FAULT_CRC, e, "\"%s\" is empty and has a CRC-32", r->name);
        return ZIP_BAD;
    }
    return ZIP_ENTRY;
}

bool zip_read(struct zip_reader *r, uint8_t *out, size_t len, size_t *got, struct err *e)
{
    *got = r->left < len ? (size_t)r->left : len;
    if (*got == 0)
        return true;
    if (!zip_fetch(r, r->at, out, *got, e))
        return false;
    r->crc = digest_crc32(r->crc, slice_of(out, *got));
    r->at += *got;
    r->left -= *got;
    if (r->left == 0 && r->crc != r->current.crc32)
        return zip_fail(r, ZIP_FAULT_CRC, e, "\"%s\": its bytes do not have the CRC-32 in its header", r->name);
    return true;
}

void zip_skip(struct zip_reader *r)
{
    r->at += r->left;
    r->left = 0;
}
