/* See text_reader.h. */
#include "common/formats/text_reader.h"

#include "common/formats/date.h"
#include "common/formats/hex.h"

struct text_reader text_read(struct slice text, const char *what, struct err *e)
{
    return (struct text_reader){text, text, what, false, e};
}

bool text_fail(struct text_reader *r, const char *wanted)
{
    if (!r->failed)
        (void)err_set(r->e, ERR_INPUT, "%s: at byte %zu, not as Coffre writes it: wanted %s", r->what,
                      r->whole.len - r->rest.len, wanted);
    r->failed = true;
    return false;
}

bool text_peek(const struct text_reader *r, const char *exactly)
{
    size_t len = strlen(exactly);

    return !r->failed && r->rest.len >= len && memcmp(r->rest.at, exactly, len) == 0;
}

static void text_skip(struct text_reader *r, size_t len)
{
    r->rest.at += len;
    r->rest.len -= len;
}

bool text_expect(struct text_reader *r, const char *exactly)
{
    if (!text_peek(r, exactly))
        return text_fail(r, exactly);
    text_skip(r, strlen(exactly));
    return true;
}

struct slice text_until(struct text_reader *r, const char *end, size_t max)
{
    size_t end_len = strlen(end), limit = r->rest.len < max + end_len ? r->rest.len : max + end_len;
    const uint8_t *found = r->failed || limit == 0 ? NULL : memmem(r->rest.at, limit, end, end_len);
    struct slice value;

    if (found == NULL) {
        (void)text_fail(r, end);
        return slice_of(NULL, 0);
    }
    value = slice_of(r->rest.at, (size_t)(found - r->rest.at));
    text_skip(r, value.len + end_len);
    return value;
}

uint64_t text_number(struct text_reader *r, const char *end, uint64_t max)
{
    struct slice s = text_until(r, end, 20);
    uint64_t value = 0;
    bool ok = s.len > 0 && (s.at[0] != '0' || s.len == 1);

    for (size_t i = 0; ok && i < s.len; i++) {
        uint64_t digit = (uint64_t)s.at[i] - '0';

        ok = digit <= 9 && value <= (max - digit) / 10 && digit <= max;
        value = value * 10 + digit;
    }
    if (!ok)
        (void)text_fail(r, "a number in its range");
    return ok ? value : 0;
}

void text_digest(struct text_reader *r, const char *end, uint8_t out[32])
{
    if (!hex_read(text_until(r, end, 64), out, 32)) {
        memset(out, 0, 32);
        (void)text_fail(r, "64 lower-case hexadecimal digits");
    }
}

int64_t text_date(struct text_reader *r, const char *end)
{
    int64_t ms = 0;

    if (!date_read(text_until(r, end, DATE_LEN), &ms))
        (void)text_fail(r, "a date such as 2026-01-31T12:00:00.123Z");
    return ms;
}

bool text_end(struct text_reader *r)
{
    return !r->failed && (r->rest.len == 0 || text_fail(r, "nothing more"));
}
