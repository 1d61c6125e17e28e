/* See container.h. */
#include "common/formats/container.h"

#include <stdlib.h>

#include "common/formats/digest.h"

#define MANIFEST_HEAD \
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n" \
    "<manifest:manifest xmlns:manifest=\"urn:oasis:names:tc:opendocument:xmlns:manifest:1.0\" manifest:version=\"1.2\">" \
    "<manifest:file-entry manifest:full-path=\"/\" manifest:media-type=\"" CONTAINER_MIME "\"/>"
#define MANIFEST_FILE(name, mime) \
    "<manifest:file-entry manifest:full-path=\"" name "\" manifest:media-type=\"" mime "\"/>"
#define MANIFEST_DATA MANIFEST_FILE(CONTAINER_LOT, CONTAINER_XML_MIME) MANIFEST_FILE(CONTAINER_SUMS, CONTAINER_TEXT_MIME)
#define MANIFEST_TAIL "</manifest:manifest>\n"

/* ETSI EN 319 162-1: mimetype first; the ODF manifest lists exactly the signed files. */
static const char manifest_first[] = MANIFEST_HEAD MANIFEST_DATA MANIFEST_TAIL;
static const char manifest_next[] = MANIFEST_HEAD MANIFEST_DATA MANIFEST_FILE(CONTAINER_PREVIOUS, CONTAINER_XML_MIME)
    MANIFEST_TAIL;

enum { FILES_MAX = 6 };

struct container_file {
    const char *name;
    struct slice body;
};

/* The files in their order; returns how many. */
static size_t container_list(const struct container *c, struct container_file files[FILES_MAX])
{
    size_t count = 0;

    files[count++] = (struct container_file){"mimetype", SLICE_LITERAL(CONTAINER_MIME)};
    files[count++] = (struct container_file){
        "META-INF/manifest.xml", slice_text(c->previous.at == NULL ? manifest_first : manifest_next)};
    files[count++] = (struct container_file){CONTAINER_SIGNATURES, c->signatures};
    files[count++] = (struct container_file){CONTAINER_LOT, c->lot};
    files[count++] = (struct container_file){CONTAINER_SUMS, c->sums};
    if (c->previous.at != NULL)
        files[count++] = (struct container_file){CONTAINER_PREVIOUS, c->previous};
    return count;
}

size_t container_length(const struct container *c)
{
    struct container_file files[FILES_MAX];
    size_t count = container_list(c, files), total = zip_end_length(ZIP_PLAIN);

    for (size_t i = 0; i < count; i++) {
        size_t name = strlen(files[i].name);

        total += zip_local_length(name) + files[i].body.len + zip_central_length(ZIP_PLAIN, name);
    }
    return total;
}

bool container_write(const struct container *c, struct buf *out, struct err *e)
{
    struct container_file files[FILES_MAX];
    struct zip_entry entries[FILES_MAX];
    size_t count = container_list(c, files), start = out->len, central;
    uint8_t header[ZIP_CENTRAL_MAX];

    if (container_length(c) >= UINT32_MAX)
        return err_set(e, ERR_INPUT, "container: 4 GB or more");
    for (size_t i = 0; i < count; i++) {
        entries[i] = (struct zip_entry){slice_text(files[i].name), digest_crc32(0, files[i].body),
                                        (uint32_t)files[i].body.len, out->len - start};
        if (!buf_add(out, header, zip_write_local(ZIP_PLAIN, &entries[i], header), e) ||
            !buf_add_slice(out, files[i].body, e))
            return false;
    }
    central = out->len - start;
    for (size_t i = 0; i < count; i++)
        if (!buf_add(out, header, zip_write_central(ZIP_PLAIN, &entries[i], header), e))
            return false;
    return buf_add(out, header, zip_write_end(ZIP_PLAIN, count, central, out->len - start - central, header), e);
}

static bool container_read_at(void *ctx, uint64_t offset, uint8_t *out, size_t len, struct err *e)
{
    const struct slice *bytes = ctx;

    (void)e;
    memcpy(out, bytes->at + offset, len);
    return true;
}

/* The next entry must be `name`; its contents are borrowed from `bytes`. */
static bool container_take(struct zip_reader *zip, struct slice bytes, const char *name, struct slice *body, struct err *e)
{
    const struct zip_entry *entry;
    uint8_t part[16384];
    size_t got;

    switch (zip_next(zip, &entry, e)) {
    case ZIP_BAD:
        return err_prefix(e, "container");
    case ZIP_END:
        zip->fault = ZIP_FAULT_HEADER;
        return err_set(e, ERR_INPUT, "container: %s is missing", name);
    case ZIP_ENTRY:
        break;
    }
    if (!slice_is(entry->name, name)) {
        zip->fault = ZIP_FAULT_HEADER;
        return err_set(e, ERR_INPUT, "container: \"%.*s\" where %s should be", SLICE_ARGS(entry->name), name);
    }
    *body = slice_of(bytes.at + zip->at, entry->size);
    do { /* for the CRC-32 */
        if (!zip_read(zip, part, sizeof(part), &got, e))
            return err_prefix(e, "container");
    } while (got > 0);
    return true;
}

static bool container_take_all(struct zip_reader *zip, struct slice bytes, struct container *c, struct err *e)
{
    struct slice mimetype, manifest;
    const struct zip_entry *entry;

    if (!container_take(zip, bytes, "mimetype", &mimetype, e) ||
        !container_take(zip, bytes, "META-INF/manifest.xml", &manifest, e) ||
        !container_take(zip, bytes, CONTAINER_SIGNATURES, &c->signatures, e) ||
        !container_take(zip, bytes, CONTAINER_LOT, &c->lot, e) ||
        !container_take(zip, bytes, CONTAINER_SUMS, &c->sums, e))
        return false;
    if (zip->entries > FILES_MAX - 1 && !container_take(zip, bytes, CONTAINER_PREVIOUS, &c->previous, e))
        return false;
    zip->fault = ZIP_FAULT_HEADER;
    if (!slice_is(mimetype, CONTAINER_MIME))
        return err_set(e, ERR_INPUT, "container: mimetype is not " CONTAINER_MIME);
    if (!slice_is(manifest, c->previous.at == NULL ? manifest_first : manifest_next))
        return err_set(e, ERR_INPUT, "container: META-INF/manifest.xml is not the list of its files");
    zip->fault = ZIP_FAULT_NONE;
    switch (zip_next(zip, &entry, e)) {
    case ZIP_END:
        return true;
    case ZIP_BAD:
        return err_prefix(e, "container");
    case ZIP_ENTRY:
        break;
    }
    zip->fault = ZIP_FAULT_HEADER;
    return err_set(e, ERR_INPUT, "container: \"%.*s\" does not belong into it", SLICE_ARGS(entry->name));
}

bool container_read(struct slice bytes, struct container *c, enum zip_fault *fault, struct err *e)
{
    struct zip_source source = {container_read_at, &bytes, bytes.len};
    struct zip_reader zip;
    bool ok;

    memset(c, 0, sizeof(*c));
    ok = zip_open(&zip, &source, ZIP_PLAIN, e) && container_take_all(&zip, bytes, c, e);
    if (ok && c->signatures.len > CONTAINER_SIGNATURES_MAX) {
        zip.fault = ZIP_FAULT_HEADER;
        ok = err_set(e, ERR_INPUT, "container: signatures0.xml is over %d bytes", CONTAINER_SIGNATURES_MAX);
    }
    if (fault != NULL)
        *fault = ok ? ZIP_FAULT_NONE : zip.fault;
    return ok;
}
