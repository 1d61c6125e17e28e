/*
 * A segment's bytes: which lines are records, and what a crash or a failing disk has made of the others. Pure; called for files that may hold anything.
 * What is no record and stands before one is overwritten where it is, by lines of spaces: no byte behind it moves, and a full disk takes it.
 */
#include "common/journal/journal.h"
#include "common/journal/spool_internal.h"

enum { FILLER_LINE = 4096 /* at most: a reader with room for a record always finds the end of one */ };

static const char record_begins[] = "{\"at\":\"";

/* An object without control characters, closed by its last byte and not before: half a record with another behind it is none. */
static bool is_whole(struct slice line)
{
    bool text = false, escaped = false;
    size_t depth = 0;

    if (line.len < 2 || line.len > JOURNAL_RECORD_MAX || line.at[0] != '{')
        return false;
    for (size_t i = 0; i < line.len; i++) {
        uint8_t c = line.at[i];

        if (c < 0x20 || (i > 0 && depth == 0))
            return false;
        if (escaped)
            escaped = false;
        else if (text)
            text = c != '"', escaped = c == '\\';
        else if (c == '"')
            text = true;
        else
            depth += (c == '{' || c == '[') ? 1 : (c == '}' || c == ']') ? SIZE_MAX : 0;
    }
    return depth == 0 && !text;
}

/* Nothing, or what fill() leaves: a reader finds the record behind it at the beginning of a line, and never has to read far for the end of one. */
static bool is_filler(struct slice bytes)
{
    size_t line = 0;

    for (size_t i = 0; i < bytes.len; i++) {
        if ((bytes.at[i] != ' ' && bytes.at[i] != '\n') || ++line > FILLER_LINE)
            return false;
        if (bytes.at[i] == '\n')
            line = 0;
    }
    return line == 0;
}

/* Where in a line the whole record begins that ends with it: zeros, or half a record, may stand before. Its length when there is none. */
static size_t record_in(struct slice line)
{
    if (is_whole(line))
        return 0;
    for (size_t at = line.len > JOURNAL_RECORD_MAX ? line.len - JOURNAL_RECORD_MAX : 0; at + sizeof record_begins <= line.len; at++)
        if (memcmp(line.at + at, record_begins, sizeof record_begins - 1) == 0 && is_whole(slice_of(line.at + at, line.len - at)))
            return at;
    return line.len;
}

static void fill(uint8_t *at, size_t len)
{
    memset(at, ' ', len);
    for (size_t i = FILLER_LINE - 1; i < len; i += FILLER_LINE)
        at[i] = '\n';
    at[len - 1] = '\n';
}

static void take_gap(struct spool_scan *s, size_t to, struct spool_gap *gap)
{
    const uint8_t *bytes = s->bytes;
    bool inside = false;

    *gap = (struct spool_gap){s->good, to - s->good, 0};
    for (size_t i = s->good; i < to; i++) {
        bool something = bytes[i] != ' ' && bytes[i] != '\n';

        gap->lines += !inside && something;
        inside = bytes[i] != '\n' && (inside || something);
    }
    fill(s->bytes + s->good, to - s->good);
}

bool spool_scan_next(struct spool_scan *s, struct spool_gap *gap)
{
    const uint8_t *end;

    while (s->at < s->len && (end = memchr(s->bytes + s->at, '\n', s->len - s->at)) != NULL) {
        struct slice line = slice_of(s->bytes + s->at, (size_t)(end - s->bytes) - s->at);
        size_t within = record_in(line), begin = s->at + within;
        bool damaged;

        s->at += line.len + 1;
        if (within == line.len)
            continue;
        damaged = !is_filler(slice_of(s->bytes + s->good, begin - s->good));
        if (damaged)
            take_gap(s, begin, gap);
        s->good = s->at;
        s->records++;
        if (damaged)
            return true;
    }
    return false;
}

size_t spool_take_lines(uint8_t *bytes, size_t len, size_t *kept, uint64_t *records)
{
    size_t used = 0;
    uint8_t *end;

    *kept = 0;
    *records = 0;
    while (used < len && (end = memchr(bytes + used, '\n', len - used)) != NULL) {
        size_t next = (size_t)(end - bytes) + 1;

        if (bytes[used] == '{') {
            memmove(bytes + *kept, bytes + used, next - used);
            *kept += next - used;
            (*records)++;
        }
        used = next;
    }
    return used;
}
