/* See names.h. */
#include "common/formats/names.h"

#include <inttypes.h>
#include <stdio.h>

enum { LOT_DIGITS = 6, SERIAL_DIGITS = 12 };

static const char *const certificates[] = {"certs/ca.pem", "certs/seal.pem", "certs/tsa.pem", "certs/genesis.xml"};

const char *names_certificate(unsigned place)
{
    return place < sizeof(certificates) / sizeof(certificates[0]) ? certificates[place] : NULL;
}

size_t names_write_lot(char out[NAMES_MAX], uint64_t lot)
{
    return (size_t)snprintf(out, NAMES_MAX, "lots/lot-%0*" PRIu64 ".asice", LOT_DIGITS, lot);
}

size_t names_write_key(char out[NAMES_MAX], uint64_t lot, uint32_t ordinal)
{
    return (size_t)snprintf(out, NAMES_MAX, "keys/%0*" PRIu64 "-%" PRIu32 ".p7m", LOT_DIGITS, lot, ordinal);
}

size_t names_write_event(char out[NAMES_MAX], uint64_t lot, uint64_t serial)
{
    return (size_t)snprintf(out, NAMES_MAX, "events/%0*" PRIu64 "/%0*" PRIu64 ".p7m", LOT_DIGITS, lot, SERIAL_DIGITS,
                            serial);
}

size_t names_write_key_id(char out[NAMES_MAX], uint64_t lot, uint32_t ordinal)
{
    return (size_t)snprintf(out, NAMES_MAX, "%0*" PRIu64 "-%" PRIu32, LOT_DIGITS, lot, ordinal);
}

static bool names_skip(struct slice *s, const char *text)
{
    size_t len = strlen(text);

    if (s->len < len || memcmp(s->at, text, len) != 0)
        return false;
    s->at += len;
    s->len -= len;
    return true;
}

/* A number from 1, padded with zeros to `width` and no further. */
static bool names_number(struct slice *s, size_t width, uint64_t *value)
{
    size_t digits = 0;

    *value = 0;
    while (digits < s->len && s->at[digits] >= '0' && s->at[digits] <= '9') {
        uint64_t digit = (uint64_t)(s->at[digits] - '0');

        if (*value > (UINT64_MAX - digit) / 10)
            return false;
        *value = *value * 10 + digit;
        digits++;
    }
    if (digits < width || (digits > width && s->at[0] == '0') || *value == 0)
        return false;
    s->at += digits;
    s->len -= digits;
    return true;
}

static bool names_read_key(struct slice s, struct names_entry *n)
{
    uint64_t ordinal;

    if (!names_skip(&s, "keys/") || !names_number(&s, LOT_DIGITS, &n->lot) || !names_skip(&s, "-") ||
        !names_number(&s, 1, &ordinal) || ordinal > UINT32_MAX || !slice_is(s, ".p7m"))
        return false;
    n->ordinal = (uint32_t)ordinal;
    n->kind = NAMES_KEY;
    return true;
}

static bool names_read_lot(struct slice s, struct names_entry *n)
{
    if (!names_skip(&s, "lots/lot-") || !names_number(&s, LOT_DIGITS, &n->lot) || !slice_is(s, ".asice"))
        return false;
    n->kind = NAMES_LOT;
    return true;
}

static bool names_read_event(struct slice s, struct names_entry *n)
{
    if (!names_skip(&s, "events/") || !names_number(&s, LOT_DIGITS, &n->lot) || !names_skip(&s, "/") ||
        !names_number(&s, SERIAL_DIGITS, &n->serial) || !slice_is(s, ".p7m"))
        return false;
    n->kind = NAMES_EVENT;
    return true;
}

struct names_entry names_read(struct slice name)
{
    struct names_entry n = {NAMES_OTHER, 0, 0, 0};

    if (slice_is(name, NAMES_README_TXT))
        return (struct names_entry){NAMES_README, 0, 0, 0};
    for (unsigned i = 0; names_certificate(i) != NULL; i++)
        if (slice_is(name, names_certificate(i)))
            return (struct names_entry){NAMES_CERTIFICATE, 0, i, 0};
    if (names_read_event(name, &n) || names_read_lot(name, &n) || names_read_key(name, &n))
        return n;
    return (struct names_entry){NAMES_OTHER, 0, 0, 0};
}

static int names_order(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

/* README 0, certs 1, what belongs to lots 2. */
static uint64_t names_part(enum names_kind kind)
{
    return kind == NAMES_README ? 0 : kind == NAMES_CERTIFICATE ? 1 : 2;
}

int names_compare(const struct names_entry *a, const struct names_entry *b)
{
    int order = names_order(names_part(a->kind), names_part(b->kind));

    if (order == 0)
        order = names_order(a->lot, b->lot);
    if (order == 0)
        order = names_order(a->kind, b->kind);
    if (order == 0)
        order = names_order(a->ordinal, b->ordinal);
    return order != 0 ? order : names_order(a->serial, b->serial);
}
