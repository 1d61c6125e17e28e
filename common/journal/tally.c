/* A count of lost records on disk: see tally.h. Two slots in two sectors are written in turn: 'C' 'F' 'T' '1', u64 sequence, u64 since, u64 sure, u64 most, u32 CRC-32 of all that. */
#include "common/journal/tally.h"

#include <fcntl.h>
#include <unistd.h>

#include "common/values/crc.h"
#include "common/values/wire.h"

enum { SIGNED_LEN = 4 + 4 * 8, SLOT_LEN = SIGNED_LEN + 4 };

static const char magic[] = {'C', 'F', 'T', '1'};

static bool read_slot(struct slice slot, struct tally_count *count, uint64_t *sequence)
{
    struct wire_reader r = wire_read(slot);
    struct slice begins = wire_get_fixed(&r, sizeof magic);

    *sequence = wire_get_u64(&r);
    count->since = (int64_t)wire_get_u64(&r);
    count->sure = wire_get_u64(&r);
    count->most = wire_get_u64(&r);
    return begins.len == sizeof magic && memcmp(begins.at, magic, sizeof magic) == 0 &&
           wire_get_u32(&r) == crc_update(0, slice_of(slot.at, SIGNED_LEN)) && !r.short_read && count->since >= 0 && count->sure <= count->most;
}

struct tally_count tally_read(struct slice file, uint64_t *sequence)
{
    struct tally_count found = {0}, one;
    uint64_t number;

    *sequence = 0;
    for (size_t at = 0; at + SLOT_LEN <= file.len && at < TALLY_SIZE; at += TALLY_SLOT)
        if (read_slot(slice_of(file.at + at, SLOT_LEN), &one, &number) && number > *sequence) {
            *sequence = number;
            found = one;
        }
    return found;
}

/* All of its bytes are written once, so that room for them is never asked for again. */
static bool reserve(const struct tally *t, size_t there, struct err *e)
{
    static const uint8_t zeros[TALLY_SIZE];

    if (there >= TALLY_SIZE)
        return true;
    if (pwrite(t->fd, zeros, TALLY_SIZE - there, (off_t)there) != (ssize_t)(TALLY_SIZE - there) || fsync(t->fd) != 0)
        return err_set_errno(e, ERR_RETRY, "journal: the count of lost records");
    return true;
}

bool tally_open(struct tally *t, const char *path, struct tally_count *count, struct err *e)
{
    uint8_t bytes[TALLY_SIZE];
    ssize_t n;

    *count = (struct tally_count){0};
    *t = (struct tally){.fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)};
    n = t->fd < 0 ? -1 : pread(t->fd, bytes, sizeof bytes, 0);
    if (n < 0)
        return err_set_errno(e, ERR_RETRY, "%s", path);
    *count = tally_read(slice_of(bytes, (size_t)n), &t->sequence);
    return reserve(t, (size_t)n, e);
}

void tally_close(struct tally *t)
{
    if (t->fd >= 0)
        close(t->fd);
    t->fd = -1;
}

bool tally_write(struct tally *t, const struct tally_count *count, struct err *e)
{
    uint8_t bytes[SLOT_LEN];
    struct buf b = {.data = bytes, .capacity = sizeof bytes, .max = sizeof bytes};
    struct wire_writer w = wire_write(&b);

    wire_put_fixed(&w, magic, sizeof magic);
    wire_put_u64(&w, t->sequence + 1);
    wire_put_u64(&w, (uint64_t)count->since);
    wire_put_u64(&w, count->sure);
    wire_put_u64(&w, count->most);
    wire_put_u32(&w, crc_update(0, slice_of(bytes, SIGNED_LEN)));
    if (pwrite(t->fd, bytes, sizeof bytes, (off_t)((t->sequence + 1) % 2 * TALLY_SLOT)) != (ssize_t)sizeof bytes || fdatasync(t->fd) != 0)
        return err_set_errno(e, ERR_RETRY, "journal: the count of lost records");
    t->sequence++;
    return true;
}
