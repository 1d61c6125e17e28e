/* What a spool finds when it is opened: see spool.h. */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/journal/spool_internal.h"

enum { FILE_MAX = 2 * SPOOL_SEGMENT_MAX };

static bool is_segment(const char *name, uint64_t *id)
{
    char again[SPOOL_NAME_MAX];

    if (sscanf(name, "%16" SCNx64 ".ndjson", id) != 1)
        return false;
    spool_segment_name(again, *id);
    return strcmp(name, again) == 0;
}

static int by_id(const void *a, const void *b)
{
    uint64_t x = ((const struct spool_segment *)a)->id, y = ((const struct spool_segment *)b)->id;

    return x < y ? -1 : x > y;
}

static bool list(struct spool *s, struct err *e)
{
    int fd = openat(s->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;
    uint64_t id;

    if (dir == NULL) {
        if (fd >= 0)
            close(fd);
        return err_set_errno(e, ERR_RETRY, "journal spool");
    }
    while ((entry = readdir(dir)) != NULL)
        if (is_segment(entry->d_name, &id))
            spool_segment_add(s, id);
    closedir(dir);
    if (s->count > 0)
        qsort(s->segments, s->count, sizeof *s->segments, by_id);
    s->next_id = s->count == 0 ? 1 : s->segments[s->count - 1].id + 1;
    return true;
}

static bool read_file(const struct spool *s, const char *name, struct buf *out, struct err *e)
{
    int fd = openat(s->folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t n = -1;

    while (fd >= 0) {
        uint8_t *room = buf_reserve(out, 64 * 1024, e);

        if (room == NULL || (n = read(fd, room, 64 * 1024)) <= 0)
            break;
        buf_commit(out, (size_t)n);
    }
    if (fd >= 0)
        close(fd);
    return (fd >= 0 && n == 0) || err_set_errno(e, ERR_RETRY, "journal spool: %s", name);
}

static bool read_segment(const struct spool *s, const struct spool_segment *g, struct buf *all, struct spool_scan *scan, struct err *e)
{
    char name[SPOOL_NAME_MAX];

    spool_segment_name(name, g->id);
    buf_init(all, FILE_MAX);
    if (!read_file(s, name, all, e))
        return false;
    *scan = (struct spool_scan){.bytes = all->data == NULL ? NULL : all->data + all->start, .len = all->len};
    return true;
}

static int open_segment(const struct spool *s, const struct spool_segment *g)
{
    char name[SPOOL_NAME_MAX];

    spool_segment_name(name, g->id);
    return openat(s->folder, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
}

static bool close_segment(int fd, bool ok, struct err *e)
{
    ok = ok && fsync(fd) == 0;
    if (!ok)
        err_set_errno(e, ERR_RETRY, "journal spool: mending a segment");
    if (fd >= 0)
        close(fd);
    return ok;
}

static bool cut_tail(const struct spool *s, const struct spool_segment *g, size_t good, struct err *e)
{
    int fd = open_segment(s, g);

    return close_segment(fd, fd >= 0 && ftruncate(fd, (off_t)good) == 0, e);
}

static bool recover_segment(struct spool *s, struct spool_segment *g, struct spool_found *found, struct err *e)
{
    struct spool_scan scan = {0};
    struct spool_gap gap;
    struct buf all;
    bool ok = read_segment(s, g, &all, &scan, e);

    while (ok && spool_scan_next(&scan, &gap)) {
        found->damaged += gap.len;
        found->damaged_lines += gap.lines;
        g->damaged = true;
    }
    if (ok && scan.good != scan.len) {
        found->torn += scan.len - scan.good;
        ok = cut_tail(s, g, scan.good, e);
    }
    g->records = scan.records;
    g->length = scan.good;
    found->records += g->records;
    found->bytes += g->length;
    buf_free(&all);
    return ok;
}

/* Nothing moves and nothing needs room: neither a crash in the middle nor a full disk costs a record. */
static bool mend(const struct spool *s, struct spool_segment *g, struct err *e)
{
    struct spool_scan scan = {0};
    struct spool_gap gap;
    struct buf all;
    int fd = -1;
    bool ok = read_segment(s, g, &all, &scan, e);

    if (ok) {
        fd = open_segment(s, g);
        ok = fd >= 0;
        while (spool_scan_next(&scan, &gap))
            ok = ok && pwrite(fd, scan.bytes + gap.from, gap.len, (off_t)gap.from) == (ssize_t)gap.len;
        ok = close_segment(fd, ok, e);
    }
    buf_free(&all);
    g->damaged = !ok;
    return ok;
}

bool spool_mend(struct spool *s, struct err *e)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->segments[i].damaged && !mend(s, &s->segments[i], e))
            return false;
    return true;
}

bool spool_recover(struct spool *s, struct spool_found *found, struct err *e)
{
    size_t kept = 0;

    *found = (struct spool_found){0};
    if (!list(s, e))
        return false;
    for (size_t i = 0; i < s->count; i++) {
        struct spool_segment *g = &s->segments[i];
        char name[SPOOL_NAME_MAX];

        if (!recover_segment(s, g, found, e))
            return false;
        spool_segment_name(name, g->id);
        if (g->length == 0)
            unlinkat(s->folder, name, 0);
        else
            s->segments[kept++] = *g;
    }
    s->count = kept;
    s->records = found->records;
    s->bytes = found->bytes;
    return true;
}
