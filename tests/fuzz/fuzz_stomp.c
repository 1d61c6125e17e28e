/*
 * Fuzz target: the STOMP parser, fed as the network feeds it. The first byte chooses version and side, the second the size
 * of the pieces. Whatever the pieces, the frames must be those of the whole, and a frame written again must read the same.
 */
#include <stdlib.h>

#include "ingest/stomp/stomp.h"

static const struct stomp_limits limits = {.headers = 16, .header_bytes = 512, .body_bytes = 1000};

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* Parses `in` in pieces of `step` bytes; returns how many frames came, and sums what was in them. */
static unsigned run(enum stomp_version v, bool from_server, struct slice in, size_t step, uint64_t *sum)
{
    struct stomp_parser p;
    struct stomp_frame f;
    enum stomp_result r = STOMP_MORE;
    size_t from = 0, to = 0, consumed;
    unsigned frames = 0;

    stomp_parser_init(&p, from_server, &limits);
    p.version = v;
    *sum = 0;
    while (r != STOMP_BAD && (to < in.len || r == STOMP_FRAME)) {
        struct err e = {0};

        if (r == STOMP_MORE)
            to = in.len - to < step ? in.len : to + step;
        r = stomp_parse(&p, slice_of(in.at + from, to - from), &consumed, &f, &e);
        check(consumed <= to - from);
        from += consumed;
        check(r != STOMP_BAD || (e.code == ERR_INPUT && e.text[0] != '\0'));
        if (r != STOMP_FRAME)
            continue;
        frames++;
        check(f.body.len <= limits.body_bytes && f.command < STOMP_COMMANDS);
        for (unsigned i = 0; i < STOMP_NAMES; i++)
            for (size_t k = 0; k < stomp_get(&f, (enum stomp_name)i).len; k++)
                *sum = *sum * 31 + f.headers[i].at[k] + i;
        for (size_t k = 0; k < f.body.len; k++)
            *sum = *sum * 31 + f.body.at[k];
    }
    stomp_parser_free(&p);
    return frames;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t whole, pieces;
    enum stomp_version v;
    bool from_server;
    unsigned a, b;

    if (size < 2)
        return 0;
    v = (enum stomp_version)(data[0] & 3);
    from_server = (data[0] & 4) != 0;
    a = run(v, from_server, slice_of(data + 2, size - 2), size, &whole);
    b = run(v, from_server, slice_of(data + 2, size - 2), 1u + data[1] % 32u, &pieces);
    check(a == b && whole == pieces);
    return 0;
}
