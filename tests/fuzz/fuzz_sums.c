/* Fuzz target: SHA256SUMS and the names in it. Every line read must be written as the same bytes. */
#include <stdlib.h>

#include "common/formats/sums.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sums_reader r = sums_read(slice_of(data, size));
    struct sums_line line;
    struct err e = {0};
    enum sums_result result;
    size_t total = 0;

    while ((result = sums_next(&r, &line, &e)) == SUMS_LINE) {
        char name[NAMES_MAX], again[SUMS_LINE_MAX];
        size_t len = line.entry.kind == NAMES_KEY ? names_write_key(name, line.entry.lot, line.entry.ordinal)
                                                  : names_write_event(name, line.entry.lot, line.entry.serial);

        check(slice_equal(line.name, slice_of(name, len)));
        len = sums_write_line(again, line.digest, name);
        check(slice_equal(line.whole, slice_of(again, len)));
        total += len;
    }
    check(result == SUMS_END ? total == size : e.code == ERR_INPUT);
    return 0;
}
