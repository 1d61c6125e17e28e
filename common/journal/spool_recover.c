/* What a spool finds when it is opened: see spool.h. */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/journal/journal.h"
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

/* A power cut leaves half a line, or zeros: a whole one is an object without control characters. */
static bool is_whole(struct slice line)
{
    if (line.len < 2 || line.len > JOURNAL_RECORD_MAX || line.at[0] != '{' || line.at[line.len - 1] != '}')
        return false;
    for (size_t i = 0; i < line.len; i++)
        if (line.at[i] < 0x20)
            return false;
    return true;
}

/* Appends the whole lines of `in` to `out`. */
static bool sift(struct slice in, struct buf *out, uint64_t *records, struct err *e)
{
    while (in.len > 0) {
        const uint8_t *end = memchr(in.at, '\n', in.len);
        struct slice line = slice_of(in.at, end == NULL ? in.len : (size_t)(end - in.at));

        if (end != NULL && is_whole(line)) {
            if (!buf_add(out, line.at, line.len + 1, e))
                return false;
            (*records)++;
        }
        in = end == NULL ? slice_of(NULL, 0) : slice_of(end + 1, in.len - line.len - 1);
    }
    return true;
}

static bool rewrite(const struct spool *s, const char *name, struct slice lines, struct err *e)
{
    static const char fresh[] = "rewritten";
    int fd = openat(s->folder, fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool ok = fd >= 0 && write(fd, lines.at, lines.len) == (ssize_t)lines.len && fsync(fd) == 0;

    if (fd >= 0)
        ok = close(fd) == 0 && ok;
    ok = ok && renameat(s->folder, fresh, s->folder, name) == 0 && fsync(s->folder) == 0;
    return ok || err_set_errno(e, ERR_RETRY, "journal spool: %s", name);
}

static bool recover_segment(struct spool *s, struct spool_segment *g, struct spool_found *found, struct err *e)
{
    char name[SPOOL_NAME_MAX];
    struct buf all, good;
    bool ok;

    spool_segment_name(name, g->id);
    buf_init(&all, FILE_MAX);
    buf_init(&good, FILE_MAX);
    ok = read_file(s, name, &all, e) && sift(buf_slice(&all), &good, &g->records, e);
    if (ok && good.len != all.len) {
        found->torn += all.len - good.len;
        ok = rewrite(s, name, buf_slice(&good), e);
    }
    g->length = good.len;
    found->records += g->records;
    found->bytes += g->length;
    buf_free(&all);
    buf_free(&good);
    return ok;
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
