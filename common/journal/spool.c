/* A folder of journal records: see spool.h. */
#include "common/journal/spool_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/values/log.h"

enum { PENDING_MAX = 16 << 20 };

void spool_segment_name(char name[SPOOL_NAME_MAX], uint64_t id)
{
    snprintf(name, SPOOL_NAME_MAX, "%016" PRIx64 ".ndjson", id);
}

struct spool_segment *spool_segment_add(struct spool *s, uint64_t id)
{
    if (s->count == s->capacity) {
        s->capacity = s->capacity == 0 ? 16 : s->capacity * 2;
        s->segments = mem_realloc(s->segments, s->capacity * sizeof *s->segments);
    }
    s->segments[s->count] = (struct spool_segment){.id = id};
    return &s->segments[s->count++];
}

/* ---- life ------------------------------------------------------------------------------------ */

static bool open_folder(struct spool *s, const char *folder, struct err *e)
{
    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        return err_set_errno(e, ERR_RETRY, "%s", folder);
    s->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    s->lock = s->folder < 0 ? -1 : openat(s->folder, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (s->lock < 0)
        return err_set_errno(e, ERR_RETRY, "%s", folder);
    return flock(s->lock, LOCK_EX | LOCK_NB) == 0 || err_set_errno(e, ERR_RETRY, "%s: another process has it", folder);
}

struct spool *spool_open(const char *folder, uint64_t most, struct spool_found *found, struct err *e)
{
    struct spool *s = mem_zalloc(1, sizeof *s);

    s->folder = s->lock = s->active = s->reading = -1;
    buf_init(&s->pending, PENDING_MAX);
    spool_limit(s, most);
    if (open_folder(s, folder, e) && spool_recover(s, found, e))
        return s;
    spool_close(s);
    return NULL;
}

void spool_limit(struct spool *s, uint64_t most)
{
    uint64_t size = most / 16;

    s->most = most;
    s->segment_max = size < SPOOL_SEGMENT_MIN ? SPOOL_SEGMENT_MIN : size > SPOOL_SEGMENT_MAX ? SPOOL_SEGMENT_MAX : size;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void spool_close(struct spool *s)
{
    if (s == NULL)
        return;
    close_fd(&s->active);
    close_fd(&s->reading);
    close_fd(&s->lock);
    close_fd(&s->folder);
    buf_free(&s->pending);
    free(s->segments);
    free(s);
}

/* ---- writing --------------------------------------------------------------------------------- */

static uint64_t most_of(const struct spool *s, unsigned beyond)
{
    return s->most + s->most / 8 * beyond;
}

bool spool_append(struct spool *s, struct slice record, unsigned beyond)
{
    if (s->bytes + s->pending.len + record.len + 1 > most_of(s, beyond) || s->pending.len + record.len + 1 > s->pending.max)
        return false;
    if (!buf_add_slice(&s->pending, record, NULL) || !buf_add(&s->pending, "\n", 1, NULL))
        return false;
    s->pending_records++;
    return true;
}

bool spool_is_crowded(const struct spool *s)
{
    return s->pending.len > s->pending.max / 2;
}

bool spool_has_room(const struct spool *s, unsigned beyond)
{
    return spool_bytes(s) == 0 || spool_bytes(s) + SPOOL_SEGMENT_MIN <= most_of(s, beyond);
}

/* A file's name is there after a power cut only when its folder was synchronised. A number is used once: a disk that refused may have kept the file. */
static bool begin_segment(struct spool *s, struct err *e)
{
    char name[SPOOL_NAME_MAX];
    uint64_t id = s->next_id++;

    close_fd(&s->active);
    spool_segment_name(name, id);
    s->active = openat(s->folder, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (s->active < 0 || fsync(s->folder) != 0) {
        err_set_errno(e, ERR_RETRY, "journal spool: %s", name);
        if (s->active >= 0)
            unlinkat(s->folder, name, 0);
        close_fd(&s->active);
        return false;
    }
    spool_segment_add(s, id);
    return true;
}

/* Whole lines from the front of what is pending, as many as the segment has room for, at least one. */
static size_t portion(const struct spool *s, size_t room, uint64_t *records)
{
    struct slice p = buf_slice(&s->pending);
    size_t used = 0;

    *records = 0;
    while (used < p.len) {
        const uint8_t *end = memchr(p.at + used, '\n', p.len - used);
        size_t next = end == NULL ? p.len : (size_t)(end - p.at) + 1;

        if (next > room && used > 0)
            break;
        used = next;
        (*records)++;
    }
    return used;
}

static bool write_all(int fd, struct slice bytes, uint64_t at)
{
    while (bytes.len > 0) {
        ssize_t n = pwrite(fd, bytes.at, bytes.len, (off_t)at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        bytes = slice_of(bytes.at + n, bytes.len - (size_t)n);
        at += (uint64_t)n;
    }
    return true;
}

/* An empty segment that could not be written is nobody's; after a failed fdatasync a file's pages say nothing any more: a fresh one is begun. */
static void give_up_segment(struct spool *s)
{
    struct spool_segment *g = &s->segments[s->count - 1];
    char name[SPOOL_NAME_MAX];

    if (ftruncate(s->active, (off_t)g->length) != 0)
        log_debug("journal-spool", "a segment keeps what was not confirmed: it comes again after a start");
    /* Were an empty one kept, nothing behind it could ever be confirmed. */
    if (g->length == 0) {
        spool_segment_name(name, g->id);
        unlinkat(s->folder, name, 0);
        s->count--;
    }
    close_fd(&s->active);
}

static bool write_portion(struct spool *s, struct err *e)
{
    struct spool_segment *g;
    uint64_t records;
    size_t len;

    if ((s->active < 0 || s->segments[s->count - 1].length >= s->segment_max) && !begin_segment(s, e))
        return false;
    g = &s->segments[s->count - 1];
    len = portion(s, (size_t)(s->segment_max - g->length), &records);
    if (!write_all(s->active, slice_of(buf_slice(&s->pending).at, len), g->length) || fdatasync(s->active) != 0) {
        err_set_errno(e, ERR_RETRY, "journal spool");
        give_up_segment(s);
        return false;
    }
    g->length += len;
    g->records += records;
    s->bytes += len;
    s->records += records;
    s->pending_records -= records;
    buf_consume(&s->pending, len);
    return true;
}

bool spool_sync(struct spool *s, struct err *e)
{
    while (s->pending.len > 0)
        if (!write_portion(s, e))
            return false;
    return true;
}

uint64_t spool_unsynced(const struct spool *s)
{
    return s->pending_records;
}

/* ---- giving out ------------------------------------------------------------------------------ */

static struct spool_segment *next_segment(const struct spool *s)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->segments[i].given < s->segments[i].length)
            return &s->segments[i];
    return NULL;
}

static bool open_reading(struct spool *s, uint64_t id, struct err *e)
{
    char name[SPOOL_NAME_MAX];

    if (s->reading >= 0 && s->reading_id == id)
        return true;
    close_fd(&s->reading);
    spool_segment_name(name, id);
    s->reading = openat(s->folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    s->reading_id = id;
    return s->reading >= 0 || err_set_errno(e, ERR_RETRY, "journal spool: %s", name);
}

/* Some whole lines from where the segment was read to; those that were overwritten after damage are passed over. */
static bool read_lines(struct spool *s, struct spool_segment *g, size_t most, struct buf *lines, struct spool_batch *batch, struct err *e)
{
    size_t want = g->length - g->given < most ? (size_t)(g->length - g->given) : most, kept, used;
    uint8_t *room = buf_reserve(lines, want, e);
    ssize_t n;

    if (room == NULL || !open_reading(s, g->id, e))
        return false;
    n = pread(s->reading, room, want, (off_t)g->given);
    if (n <= 0)
        return err_set_errno(e, ERR_RETRY, "journal spool");
    used = spool_take_lines(room, (size_t)n, &kept, &batch->records);
    if (used == 0)
        return err_set(e, ERR_FATAL, "journal spool: a line without end in segment %" PRIu64, g->id);
    buf_commit(lines, kept);
    g->given += used;
    batch->segment = g->id;
    batch->end = g->given;
    batch->bytes = kept;
    return true;
}

bool spool_next(struct spool *s, size_t most, struct buf *lines, struct spool_batch *batch, struct err *e)
{
    struct spool_segment *g;

    buf_reset(lines);
    *batch = (struct spool_batch){0};
    while (batch->records == 0 && (g = next_segment(s)) != NULL)
        if (!read_lines(s, g, most, lines, batch, e))
            return false;
    return true;
}

/* The segment being written is emptied where it is; others go. */
static void drop_first(struct spool *s)
{
    struct spool_segment *g = &s->segments[0];
    char name[SPOOL_NAME_MAX];

    s->bytes -= g->length;
    if (s->count == 1 && s->active >= 0 && ftruncate(s->active, 0) == 0) {
        *g = (struct spool_segment){.id = g->id};
        return;
    }
    if (s->count == 1)
        close_fd(&s->active);
    spool_segment_name(name, g->id);
    unlinkat(s->folder, name, 0);
    s->count--;
    memmove(s->segments, s->segments + 1, s->count * sizeof *s->segments);
}

void spool_confirm(struct spool *s, const struct spool_batch *batch)
{
    struct spool_segment *g = s->count == 0 ? NULL : &s->segments[0];

    if (g == NULL || g->id != batch->segment || batch->end > g->given || batch->records > g->records)
        return;
    g->confirmed = batch->end;
    g->records -= batch->records;
    s->records -= batch->records;
    /* A segment that may still grow, and others are behind it, is never found here: only the last one grows. */
    if (g->confirmed == g->length)
        drop_first(s);
}

void spool_rewind(struct spool *s)
{
    for (size_t i = 0; i < s->count; i++)
        s->segments[i].given = s->segments[i].confirmed;
}

uint64_t spool_records(const struct spool *s)
{
    return s->records + s->pending_records;
}

uint64_t spool_bytes(const struct spool *s)
{
    return s->bytes + s->pending.len;
}

size_t spool_oldest(const struct spool *s, void *out, size_t size)
{
    const struct spool_segment *g = s->count == 0 ? NULL : &s->segments[0];
    char name[SPOOL_NAME_MAX];
    ssize_t n;
    int fd;

    if (g == NULL || g->confirmed == g->length)
        return 0;
    spool_segment_name(name, g->id);
    fd = openat(s->folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return 0;
    n = pread(fd, out, size, (off_t)g->confirmed);
    close(fd);
    return n < 0 ? 0 : (size_t)n;
}
