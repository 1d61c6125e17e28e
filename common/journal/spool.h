/*
 * Journal records on disk until RabbitMQ has them: a folder of segment files, one record a line, synchronised in groups. Its files are this role's own, but a crash may have torn the last line, and a
 * disk may have lost any: such lines are dropped when the folder is opened, and counted; whatever is whole behind them stays. One process at a time.
 */
#ifndef COFFRE_JOURNAL_SPOOL_H
#define COFFRE_JOURNAL_SPOOL_H

#include "common/values/buf.h"

struct spool;

enum { SPOOL_SEGMENT_MAX = 1 << 20 /* bytes of a file */, SPOOL_SEGMENT_MIN = 64 << 10 };

/* What was found when it was opened. */
struct spool_found {
    uint64_t records, bytes; /* kept */
    uint64_t torn;           /* bytes cut off at ends of files: what was being written, and nobody was told that it is on disk */
    uint64_t damaged;        /* bytes dropped before whole records: they had been on disk */
    uint64_t damaged_lines;  /* in these; as many records at least */
};

/*
 * Opens the folder (made with mode 0700 when it is not there) for at most `most` bytes. ERR_RETRY: another process has it, or the disk refuses. Owned: spool_close(), which
 * does not write what is not yet synchronised. Damage is found as often as it is opened, until spool_mend().
 */
struct spool *spool_open(const char *folder, uint64_t most, struct spool_found *found, struct err *e);
void spool_close(struct spool *s);
void spool_limit(struct spool *s, uint64_t most);
/* Overwrites the damage that was found; before anything is given out. Who tells of it does so first. ERR_RETRY: the disk refuses. */
MUST_CHECK bool spool_mend(struct spool *s, struct err *e);

/* Takes a record (one line without its line feed), in memory. False: it is full, for one who may fill it by so many eighths beyond `most`. */
MUST_CHECK bool spool_append(struct spool *s, struct slice record, unsigned beyond);
/* Whether so much is in memory that spool_sync() comes first: whatever is appended then might find no room there. */
bool spool_is_crowded(const struct spool *s);
/* Whether a whole segment's room, or everything, is free for him: what was full has room again for more than one record. */
bool spool_has_room(const struct spool *s, unsigned beyond);
/* Puts what was appended on disk, for good (fdatasync). ERR_RETRY: the disk refuses; it is kept and tried again at the next call. */
MUST_CHECK bool spool_sync(struct spool *s, struct err *e);
/* Records appended and not yet on disk. */
uint64_t spool_unsynced(const struct spool *s);

/* Some consecutive records, to be published as one. */
struct spool_batch {
    uint64_t segment, end; /* where it ends */
    uint64_t records, bytes;
};
/* The next records on disk that were not given out: whole lines, at most `most` bytes (JOURNAL_RECORD_MAX and more) in `lines`, which is emptied first. No records: there are none. */
MUST_CHECK bool spool_next(struct spool *s, size_t most, struct buf *lines, struct spool_batch *batch, struct err *e);
/* The batch given out first and not yet confirmed need not be kept. Always in order. */
void spool_confirm(struct spool *s, const struct spool_batch *batch);
/* Everything unconfirmed is given out again. */
void spool_rewind(struct spool *s);

/* Kept in all: records not confirmed, bytes of the files and of what is not yet there. */
uint64_t spool_records(const struct spool *s);
uint64_t spool_bytes(const struct spool *s);
/* The beginning of the oldest record not confirmed (at most `size` bytes); 0 bytes: there is none. */
size_t spool_oldest(const struct spool *s, void *out, size_t size);

#endif
