/* Java's modified UTF-8: see text.h. Nearly every text is plain ASCII, which is looked at a word at a time and copied at once. */
#include "ingest/openwire/text.h"

#include "ingest/openwire/openwire_internal.h"

/* A lead byte, as in a three-byte sequence, of D800 to DFFF when the byte after it is A0 or more; NUL's first byte. */
enum { SURROGATE_LEAD = 0xed, NUL_LEAD = 0xc0 };

bool openwire_text_is_plain(struct slice modified)
{
    const uint8_t *at = modified.at, *end;

    if (modified.len == 0)
        return true;
    if (memchr(at, NUL_LEAD, modified.len) != NULL)
        return false;
    end = at + modified.len;
    while ((at = memchr(at, SURROGATE_LEAD, (size_t)(end - at))) != NULL) {
        if (++at == end)
            return true;
        if (*at >= 0xa0)
            return false;
    }
    return true;
}

static bool is_tail(uint8_t byte)
{
    return (byte & 0xc0) == 0x80;
}

static bool is_nul(const uint8_t *at, size_t len)
{
    return len >= 2 && at[0] == NUL_LEAD && at[1] == 0x80;
}

/* A high surrogate and a low one, three bytes each. */
static bool is_pair(const uint8_t *at, size_t len)
{
    return len >= 6 && at[0] == SURROGATE_LEAD && (at[1] & 0xf0) == 0xa0 && is_tail(at[2]) && at[3] == SURROGATE_LEAD &&
           (at[4] & 0xf0) == 0xb0 && is_tail(at[5]);
}

static size_t decoded_length(struct slice in)
{
    size_t length = in.len, i = 0;

    while (i < in.len) {
        if (is_nul(in.at + i, in.len - i)) {
            i += 2;
            length -= 1;
        } else if (is_pair(in.at + i, in.len - i)) {
            i += 6;
            length -= 2;
        } else {
            i++;
        }
    }
    return length;
}

static void put_4(uint8_t *out, uint32_t c)
{
    out[0] = (uint8_t)(0xf0 | c >> 18);
    out[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
    out[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
    out[3] = (uint8_t)(0x80 | (c & 0x3f));
}

size_t openwire_text_decode_into(struct slice in, uint8_t *out)
{
    const uint8_t *at = in.at, *end = in.len == 0 ? at : at + in.len;
    uint8_t *began = out;

    while (at < end) {
        if (is_nul(at, (size_t)(end - at))) {
            *out++ = 0;
            at += 2;
        } else if (is_pair(at, (size_t)(end - at))) {
            uint32_t high = (uint32_t)(at[1] & 0x0f) << 6 | (at[2] & 0x3f), low = (uint32_t)(at[4] & 0x0f) << 6 | (at[5] & 0x3f);

            put_4(out, 0x10000 + (high << 10 | low));
            out += 4;
            at += 6;
        } else {
            *out++ = *at++;
        }
    }
    return (size_t)(out - began);
}

bool openwire_text_decode(struct slice modified, struct buf *out, struct err *e)
{
    uint8_t *room;
    size_t len;

    if (openwire_text_is_plain(modified))
        return buf_add_slice(out, modified, e);
    len = decoded_length(modified);
    room = buf_reserve(out, len, e);
    if (room == NULL)
        return false;
    buf_commit(out, openwire_text_decode_into(modified, room));
    return true;
}

/* How many bytes at `at` are ASCII without NUL: those that need no look one by one. */
static size_t ascii_run(const uint8_t *at, size_t len)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
    size_t n = 0;

    for (; n + 8 <= len; n += 8) {
        uint64_t word = openwire_load_64(at + n);

        /* Without high bits in it, a word less one in each byte has one where there was a zero. */
        if (((word | (word - ones)) & highs) != 0)
            break;
    }
    while (n < len && at[n] != 0 && at[n] < 0x80)
        n++;
    return n;
}

/* The length of the well-formed UTF-8 sequence at `at` (RFC 3629, section 4), or 0. */
static size_t sequence(const uint8_t *at, size_t len)
{
    uint8_t first = at[0];
    size_t n = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;

    if (n > len)
        return 0;
    for (size_t i = 1; i < n; i++)
        if (!is_tail(at[i]))
            return 0;
    if ((first == 0xe0 && at[1] < 0xa0) || (first == SURROGATE_LEAD && at[1] >= 0xa0))
        return 0;
    if ((first == 0xf0 && at[1] < 0x90) || (first == 0xf4 && at[1] >= 0x90))
        return 0;
    return n;
}

static void put_surrogate(uint8_t *out, uint32_t s)
{
    out[0] = SURROGATE_LEAD;
    out[1] = (uint8_t)(0x80 | (s >> 6 & 0x3f));
    out[2] = (uint8_t)(0x80 | (s & 0x3f));
}

/* One sequence of `n` bytes, 0: one malformed byte, as at most six; returns how many. */
static size_t encode_one(const uint8_t *at, size_t n, uint8_t out[6])
{
    uint32_t c;

    if (n == 0) {
        out[0] = '?';
        return 1;
    }
    if (n == 1 && at[0] == 0) {
        out[0] = NUL_LEAD;
        out[1] = 0x80;
        return 2;
    }
    if (n < 4) {
        memcpy(out, at, n);
        return n;
    }
    c = ((uint32_t)(at[0] & 7) << 18 | (uint32_t)(at[1] & 0x3f) << 12 | (uint32_t)(at[2] & 0x3f) << 6 | (at[3] & 0x3f)) - 0x10000;
    put_surrogate(out, 0xd800 + (c >> 10));
    put_surrogate(out + 3, 0xdc00 + (c & 0x3ff));
    return 6;
}

bool openwire_text_encode(struct slice text, struct buf *out, struct err *e)
{
    size_t began = out->len, i = 0;

    while (i < text.len) {
        size_t run = ascii_run(text.at + i, text.len - i), n;
        uint8_t one[6];

        if (run != 0 && !buf_add(out, text.at + i, run, e))
            break;
        i += run;
        if (i == text.len)
            return true;
        n = sequence(text.at + i, text.len - i);
        if (!buf_add(out, one, encode_one(text.at + i, n, one), e))
            break;
        i += n == 0 ? 1 : n;
    }
    if (i == text.len)
        return true;
    out->len = began;
    return false;
}
