/* Bytes against their entity-tag: see check.h. Memory does not depend on the file. */
#include "exporter/extract/check.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "common/formats/digest.h"
#include "common/formats/hex.h"
#include "common/formats/names.h"
#include "common/formats/zip.h"

enum { CHUNK = 256 * 1024 };

static bool read_at(void *ctx, uint64_t offset, uint8_t *out, size_t len, struct err *e)
{
    int fd = *(const int *)ctx;

    while (len > 0) {
        ssize_t n = pread(fd, out, len, (off_t)offset);

        if (n <= 0)
            return err_set_errno(e, ERR_RETRY, "cannot be read at byte %llu", (unsigned long long)offset);
        out += n;
        offset += (uint64_t)n;
        len -= (size_t)n;
    }
    return true;
}

static bool digest_container(const struct zip_source *s, EVP_MD_CTX *md, uint8_t *chunk, struct err *e)
{
    for (uint64_t at = 0; at < s->size;) {
        size_t len = s->size - at < CHUNK ? (size_t)(s->size - at) : CHUNK;

        if (!s->read_at(s->ctx, at, chunk, len, e))
            return false;
        EVP_DigestUpdate(md, chunk, len);
        at += len;
    }
    return true;
}

/* The digests being made, and the events of a lot that came so far. */
struct making {
    EVP_MD_CTX *lines, *one;
    uint8_t *chunk;
    uint64_t lot, first, last; /* lot 0: none */
};

static void end_events(struct making *m)
{
    char line[96];

    if (m->lot != 0)
        EVP_DigestUpdate(m->lines, line,
                         (size_t)snprintf(line, sizeof line, "%llu-%llu  events/%06llu/\n", (unsigned long long)m->first,
                                          (unsigned long long)m->last, (unsigned long long)m->lot));
    m->lot = 0;
}

static bool add_event(struct making *m, const struct names_entry *name, struct err *e)
{
    if (m->lot != 0 && (name->lot != m->lot || name->serial != m->last + 1))
        return err_set(e, ERR_INPUT, "event %llu does not follow event %llu", (unsigned long long)name->serial,
                       (unsigned long long)m->last);
    if (m->lot == 0)
        m->first = name->serial;
    m->lot = name->lot;
    m->last = name->serial;
    return true;
}

/* Reads one file to its end (which checks its CRC-32), into its digest unless it is an event. */
static bool read_entry(struct zip_reader *z, struct making *m, bool digested, struct err *e)
{
    size_t got;

    do {
        if (!zip_read(z, m->chunk, CHUNK, &got, e))
            return false;
        if (digested)
            EVP_DigestUpdate(m->one, m->chunk, got);
    } while (got != 0);
    return true;
}

static bool digest_entry(struct zip_reader *z, const struct zip_entry *entry, struct making *m, struct err *e)
{
    struct names_entry name = names_read(entry->name);
    char text[ZIP_NAME_MAX + 1], line[ZIP_NAME_MAX + 2 * DIGEST_LEN + 8], hex[2 * DIGEST_LEN + 1];
    uint8_t digest[EVP_MAX_MD_SIZE];

    snprintf(text, sizeof text, "%.*s", SLICE_ARGS(entry->name)); /* borrowed until the next entry is read */
    if (name.kind == NAMES_OTHER)
        return err_set(e, ERR_INPUT, "a file that no segment holds: %s", text);
    if (name.kind == NAMES_EVENT)
        return add_event(m, &name, e) && read_entry(z, m, false, e);
    end_events(m);
    if (EVP_DigestInit_ex(m->one, EVP_sha256(), NULL) != 1 || !read_entry(z, m, true, e) ||
        EVP_DigestFinal_ex(m->one, digest, NULL) != 1)
        return err_set(e, ERR_FATAL, "no SHA-256");
    hex_write(hex, slice_of(digest, DIGEST_LEN));
    EVP_DigestUpdate(m->lines, line, (size_t)snprintf(line, sizeof line, "%s  %s\n", hex, text));
    return true;
}

static bool digest_segment(const struct zip_source *s, struct making *m, struct err *e)
{
    struct zip_reader z;
    const struct zip_entry *entry;

    if (!zip_open(&z, s, ZIP_SEGMENT, e))
        return false;
    for (;;) {
        enum zip_result r = zip_next(&z, &entry, e);

        if (r == ZIP_END)
            break;
        if (r == ZIP_BAD || !digest_entry(&z, entry, m, e))
            return false;
    }
    end_events(m);
    return true;
}

bool check_file(int fd, const char *path, enum check_kind kind, const char *etag, struct err *e)
{
    struct making m = {.lines = EVP_MD_CTX_new(), .one = EVP_MD_CTX_new(), .chunk = mem_alloc(CHUNK)};
    uint8_t digest[EVP_MAX_MD_SIZE];
    char text[2 * DIGEST_LEN + 3] = "\"";
    struct zip_source source = {read_at, &fd, 0};
    struct stat st;
    bool ok = fstat(fd, &st) == 0 && m.lines != NULL && m.one != NULL && EVP_DigestInit_ex(m.lines, EVP_sha256(), NULL) == 1;

    source.size = ok ? (uint64_t)st.st_size : 0;
    ok = ok ? (kind == CHECK_CONTAINER ? digest_container(&source, m.lines, m.chunk, e) : digest_segment(&source, &m, e))
            : err_set_errno(e, ERR_RETRY, "cannot be read");
    if (ok && EVP_DigestFinal_ex(m.lines, digest, NULL) == 1) {
        hex_write(text + 1, slice_of(digest, DIGEST_LEN));
        memcpy(text + 1 + 2 * DIGEST_LEN, "\"", 2);
        ok = strcmp(text, etag) == 0 || err_set(e, ERR_INPUT, "its bytes are not those of entity-tag %s", etag);
    }
    EVP_MD_CTX_free(m.lines);
    EVP_MD_CTX_free(m.one);
    free(m.chunk);
    return ok || err_prefix(e, "%s", path);
}
