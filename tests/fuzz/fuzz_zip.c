/*
 * Fuzz target: the strict ZIP reader, in both styles and as salvage. An archive read to its end must consist of the bytes that
 * the writer makes of its entries.
 */
#include <stdlib.h>

#include "common/formats/zip.h"
#include "common/values/buf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static bool memory_at(void *ctx, uint64_t offset, uint8_t *out, size_t len, struct err *e)
{
    const struct slice *all = ctx;

    (void)e;
    check(offset <= all->len && len <= all->len - offset);
    memcpy(out, all->at + offset, len);
    return true;
}

/* True when everything was read and held. */
static bool read_all(struct zip_reader *r, enum zip_style style, struct slice all, uint64_t *central)
{
    const struct zip_entry *entry;
    uint8_t part[977], header[ZIP_LOCAL_MAX];
    enum zip_result result;
    struct err e = {0};
    size_t got;

    *central = 0;
    while ((result = zip_next(r, &entry, &e)) == ZIP_ENTRY) {
        size_t len = zip_write_local(style, entry, header);

        check(zip_name_safe(entry->name) && entry->offset + len <= all.len);
        /* A truncated file announces more than it has. */
        check(!r->central_known || entry->offset + len + entry->size <= all.len);
        check(memcmp(all.at + entry->offset, header, len) == 0);
        *central += zip_central_length(style, entry->name.len);
        do {
            if (!zip_read(r, part, sizeof(part), &got, &e))
                return check(r->fault != ZIP_FAULT_NONE), false;
        } while (got > 0);
    }
    check(result == ZIP_END || (r->fault != ZIP_FAULT_NONE && e.text[0] != '\0'));
    return result == ZIP_END;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice all = slice_of(data, size);
    struct zip_source source = {memory_at, &all, size};

    for (enum zip_style style = ZIP_PLAIN; style <= ZIP_SEGMENT; style++) {
        struct zip_reader r;
        struct err e = {0};
        uint64_t central;

        if (zip_open(&r, &source, style, &e)) {
            if (read_all(&r, style, all, &central))
                check(r.central_offset + central + zip_end_length(style) == size);
        } else {
            check(r.fault != ZIP_FAULT_NONE && e.text[0] != '\0');
        }
        zip_open_truncated(&r, &source, style);
        (void)read_all(&r, style, all, &central);
    }
    return 0;
}
