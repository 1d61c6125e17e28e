/* Packs a folder into a segment. See chain.h. */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/formats/digest.h"
#include "common/formats/names.h"
#include "tests/chain/chain.h"

enum { FILES_MAX = 200000 };

/* nftw() has no context. */
static char **found;
static size_t found_count;

static int pack_visit(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st, (void)where;
    if (type == FTW_F) {
        pki_must(found_count < FILES_MAX, "too many files");
        found[found_count++] = mem_strdup(path);
    }
    return 0;
}

static size_t prefix; /* bytes of the folder's name in each path */

static int pack_order(const void *a, const void *b)
{
    const char *pa = *(char *const *)a + prefix, *pb = *(char *const *)b + prefix;
    struct names_entry na = names_read(slice_text(pa)), nb = names_read(slice_text(pb));

    if ((na.kind == NAMES_OTHER) != (nb.kind == NAMES_OTHER))
        return na.kind == NAMES_OTHER ? 1 : -1;
    return na.kind == NAMES_OTHER ? strcmp(pa, pb) : names_compare(&na, &nb);
}

static uint64_t pack_one(FILE *out, const char *path, uint64_t at, struct buf *central)
{
    struct buf body;
    struct zip_entry entry;
    uint8_t header[ZIP_CENTRAL_MAX];
    size_t len;

    buf_init(&body, UINT32_MAX);
    chain_read(path, &body);
    entry = (struct zip_entry){slice_text(path + prefix), digest_crc32(0, buf_slice(&body)), (uint32_t)body.len, at};
    len = zip_write_local(ZIP_SEGMENT, &entry, header);
    pki_must(len == zip_local_length(entry.name.len) && fwrite(header, 1, len, out) == len &&
                 fwrite(buf_slice(&body).at, 1, body.len, out) == body.len, path);
    at += len + body.len;
    pki_must(buf_add(central, header, zip_write_central(ZIP_SEGMENT, &entry, header), NULL), path);
    buf_free(&body);
    return at;
}

void chain_pack(const char *folder, const char *zip, uint64_t first, uint64_t last)
{
    FILE *out = fopen(zip, "wb");
    uint64_t at = 0, entries = 0;
    struct buf central;
    uint8_t end[ZIP_END_MAX];
    size_t len;

    pki_must(out != NULL, zip);
    buf_init(&central, UINT32_MAX);
    found = mem_zalloc(FILES_MAX, sizeof(*found));
    found_count = 0;
    prefix = strlen(folder) + 1;
    pki_must(nftw(folder, pack_visit, 16, FTW_PHYS) == 0, folder);
    qsort(found, found_count, sizeof(*found), pack_order);
    for (size_t i = 0; i < found_count; i++) {
        struct names_entry n = names_read(slice_text(found[i] + prefix));

        if (n.lot == 0 || (n.lot >= first && n.lot <= last)) {
            at = pack_one(out, found[i], at, &central);
            entries++;
        }
        free(found[i]);
    }
    len = zip_write_end(ZIP_SEGMENT, entries, at, central.len, end);
    pki_must(fwrite(buf_slice(&central).at, 1, central.len, out) == central.len && fwrite(end, 1, len, out) == len &&
                 fclose(out) == 0, zip);
    free(found);
    buf_free(&central);
}
