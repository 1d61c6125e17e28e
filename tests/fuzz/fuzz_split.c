/*
 * Fuzz target: a file on its way to be deposited: cut into events, header fields rewritten. The first byte chooses the size of
 * the pieces; the events must be the same whatever it is, and cutting an event out again must give that event.
 */
#include <stdlib.h>

#include "ingest/deposit/adapt.h"
#include "ingest/deposit/split.h"

enum { EVENT_MAX = 4096 };

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* Writes the events found, each preceded by its length, and how it ended. */
static void cut(struct slice in, size_t step, struct buf *found)
{
    struct split s;
    struct split_event event;
    struct err e = {0};
    size_t fed = 0;
    enum split_result result;

    split_init(&s, EVENT_MAX);
    while ((result = split_next(&s, fed == in.len, &event, &e)) == SPLIT_EVENT || (result == SPLIT_MORE && fed < in.len)) {
        if (result == SPLIT_EVENT) {
            check(event.offset + event.bytes.len <= in.len);
            check(memcmp(in.at + event.offset, event.bytes.at, event.bytes.len) == 0);
            check(buf_printf(found, NULL, "%zu:", event.bytes.len) && buf_add_slice(found, event.bytes, NULL));
        } else {
            size_t n = in.len - fed < step ? in.len - fed : step;

            check(split_feed(&s, in.at + fed, n, &e));
            fed += n;
        }
    }
    check(result == SPLIT_END || (result == SPLIT_BAD && e.code == ERR_INPUT));
    check(buf_printf(found, NULL, "%s", result == SPLIT_END ? "end" : "bad"));
    split_free(&s);
}

/* What adapt makes of one event is one event with a placeholder. */
static void adapt(struct slice event)
{
    static const struct adapt_rules rules = {"4512", "1", true};
    struct buf out, again;

    buf_init(&out, EVENT_MAX + 1024);
    buf_init(&again, EVENT_MAX + 2048);
    if (adapt_event(event, &rules, &out, NULL)) {
        cut(buf_slice(&out), 1 << 16, &again);
        check(again.len > 3 && memcmp(buf_slice(&again).at + again.len - 3, "end", 3) == 0);
    }
    adapt_has_placeholder(event);
    buf_free(&out);
    buf_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf pieces, whole;
    struct slice in = slice_of(data + 1, size - 1);
    struct split s;
    struct split_event event;

    if (size < 2 || size > EVENT_MAX)
        return 0;
    buf_init(&pieces, 1 << 20);
    buf_init(&whole, 1 << 20);
    cut(in, 1 + data[0] % 64, &pieces);
    cut(in, 1 << 16, &whole);
    check(slice_equal(buf_slice(&pieces), buf_slice(&whole)));
    split_init(&s, EVENT_MAX);
    check(split_feed(&s, in.at, in.len, NULL));
    while (split_next(&s, true, &event, NULL) == SPLIT_EVENT)
        adapt(event.bytes);
    split_free(&s);
    buf_free(&pieces);
    buf_free(&whole);
    return 0;
}
