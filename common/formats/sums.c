/* See sums.h. */
#include "common/formats/sums.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/formats/hex.h"

enum { DIGITS = 64 };

size_t sums_write_line(char out[SUMS_LINE_MAX], const uint8_t digest[32], const char *name)
{
    hex_write(out, slice_of(digest, 32));
    return DIGITS + (size_t)snprintf(out + DIGITS, SUMS_LINE_MAX - DIGITS, "  %s\n", name);
}

enum sums_result sums_next(struct sums_reader *r, struct sums_line *line, struct err *e)
{
    size_t limit = r->rest.len < SUMS_LINE_MAX ? r->rest.len : SUMS_LINE_MAX;
    const uint8_t *end;

    if (r->rest.len == 0)
        return SUMS_END;
    r->number++;
    end = memchr(r->rest.at, '\n', limit);
    if (end == NULL || end - r->rest.at < DIGITS + 3) {
        (void)err_set(e, ERR_INPUT, "SHA256SUMS: line %" PRIu64 " is cut short or over %d bytes", r->number,
                      SUMS_LINE_MAX);
        return SUMS_BAD;
    }
    line->whole = slice_of(r->rest.at, (size_t)(end - r->rest.at) + 1);
    line->name = slice_of(r->rest.at + DIGITS + 2, line->whole.len - DIGITS - 3);
    line->entry = names_read(line->name);
    if (!hex_read(slice_of(r->rest.at, DIGITS), line->digest, 32) || memcmp(r->rest.at + DIGITS, "  ", 2) != 0 ||
        (line->entry.kind != NAMES_KEY && line->entry.kind != NAMES_EVENT)) {
        (void)err_set(e, ERR_INPUT, "SHA256SUMS: line %" PRIu64 " is not a digest and the name of a key or event",
                      r->number);
        return SUMS_BAD;
    }
    r->rest.at += line->whole.len;
    r->rest.len -= line->whole.len;
    return SUMS_LINE;
}
