/* The file of certificates known to be revoked, as a disk or somebody else may leave it: nothing, or values that are written back as they were read. */
#include <stdint.h>
#include <stdlib.h>

#include "common/identity/known.h"

static void require(bool true_)
{
    if (!true_)
        abort();
}

static struct buf written(const struct known *k)
{
    struct buf out;

    buf_init(&out, KNOWN_FILE_MAX);
    require(known_write(k, &out, NULL));
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct known *k = known_new(), *again = known_new();

    if (!known_read(k, slice_of(data, size), NULL))
        require(known_count(k) == 0);
    else {
        struct buf bytes = written(k), twice;

        require(bytes.len == size && known_count(k) <= KNOWN_MAX);
        require(known_read(again, buf_slice(&bytes), NULL) && known_count(again) == known_count(k));
        twice = written(again);
        require(twice.len == bytes.len);
        require(known_expire(k, INT64_MAX) == known_count(again) && known_count(k) == 0);
        buf_free(&bytes);
        buf_free(&twice);
    }
    known_free(k);
    known_free(again);
    return 0;
}
