/* A spool's segment as a crash or a disk may leave it: mended once it is sound, every record in it stays, and readers find their way. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/journal/journal.h"
#include "common/journal/spool_internal.h"
#include "common/journal/tally.h"

static void require(bool true_)
{
    if (!true_)
        abort();
}

/* Mends; what was found. */
static struct spool_scan mend(uint8_t *bytes, size_t len, uint64_t *gaps)
{
    struct spool_scan s = {.bytes = bytes, .len = len};
    struct spool_gap gap;

    for (*gaps = 0; spool_scan_next(&s, &gap); (*gaps)++)
        require(gap.len > 0 && gap.from + gap.len <= s.good && bytes[gap.from + gap.len - 1] == '\n');
    require(s.good <= len);
    return s;
}

/* As the journal role reads it: batch after batch. */
static uint64_t read_all(const uint8_t *bytes, size_t len)
{
    static uint8_t room[2 * JOURNAL_RECORD_MAX];
    uint64_t records = 0, some;
    size_t kept;

    for (size_t at = 0; at < len;) {
        size_t most = len - at < sizeof room ? len - at : sizeof room, used;

        memcpy(room, bytes + at, most);
        used = spool_take_lines(room, most, &kept, &some);
        require(used > 0 && used <= most && kept <= used);
        for (size_t i = 0; i < kept; i++)
            require(room[i] >= 0x20 || room[i] == '\n');
        records += some;
        at += used;
    }
    return records;
}

/* A crash in the middle of mending leaves some of it done: nothing that was a record is less of one. */
static void mend_halfway(const uint8_t *data, size_t size, const struct spool_scan *whole)
{
    uint8_t *bytes = malloc(size + 1);
    size_t done = size == 0 ? 0 : whole->good * data[size / 2] / 256;
    struct spool_scan s;
    uint64_t gaps;

    memcpy(bytes, whole->bytes, done);
    memcpy(bytes + done, data + done, size - done);
    s = mend(bytes, size, &gaps);
    require(s.good == whole->good && s.records >= whole->records);
    require(read_all(bytes, s.good) == s.records);
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *bytes = malloc(size + 1);
    struct spool_scan once, again;
    struct tally_count count;
    uint64_t gaps, sequence;

    memcpy(bytes, data, size);
    once = mend(bytes, size, &gaps);
    again = mend(bytes, once.good, &gaps);
    require(gaps == 0 && again.good == once.good && again.records == once.records);
    require(read_all(bytes, once.good) == once.records);
    mend_halfway(data, size, &once);
    count = tally_read(slice_of(data, size), &sequence);
    require(count.sure <= count.most && (sequence != 0 || count.most == 0));
    free(bytes);
    return 0;
}
