/* See capture.h. */
#include "tests/openwire/capture.h"

#include <stdlib.h>

enum { CONNECTIONS = 16, STREAM_MAX = 16 * 1024 * 1024 };

struct streams {
    struct buf of[CONNECTIONS][CAPTURE_SIDES];
};

static bool add_hex(struct buf *b, const char *hex, struct err *e)
{
    for (; hex[0] != '\0' && hex[0] != '\n'; hex += 2) {
        char pair[3] = {hex[0], hex[1], '\0'}, *end;
        uint8_t byte = (uint8_t)strtoul(pair, &end, 16);

        if (end != pair + 2)
            return err_set(e, ERR_INPUT, "no hexadecimal digits: %.20s", hex);
        if (!buf_add(b, &byte, 1, e))
            return false;
    }
    return true;
}

/* One line: ms, connection, C, S, X or E, bytes. */
static bool take_line(char *line, struct streams *s, capture_taker *take, void *state, struct capture *c, struct err *e)
{
    unsigned connection, side;
    int at = 0;
    char what;
    struct buf *b;
    long taken;

    if (sscanf(line, "%*u %u %c %n", &connection, &what, &at) != 2 || connection >= CONNECTIONS)
        return err_set(e, ERR_INPUT, "not a line of a capture: %.40s", line);
    c->connections = connection > c->connections ? connection : c->connections;
    c->cut += what == 'X';
    if (what != 'C' && what != 'S')
        return true;
    side = what == 'C' ? CAPTURE_CLIENT : CAPTURE_SERVER;
    b = &s->of[connection][side];
    c->bytes -= b->len;
    if (!add_hex(b, line + at, e))
        return false;
    c->bytes += b->len;
    while (b->len != 0 && (taken = take(state, connection, side, buf_slice(b))) != 0) {
        if (taken < 0)
            return err_set(e, ERR_INPUT, "connection %u, side %c", connection, what);
        buf_consume(b, (size_t)taken);
        c->bytes += (size_t)taken;
    }
    return true;
}

bool capture_run(FILE *file, capture_taker *take, void *state, struct capture *c, struct err *e)
{
    struct streams *s = mem_zalloc(1, sizeof *s);
    char *line = NULL;
    size_t size = 0;
    bool ok = true;

    *c = (struct capture){0};
    for (unsigned i = 0; i < CONNECTIONS * CAPTURE_SIDES; i++)
        buf_init(&s->of[i / CAPTURE_SIDES][i % CAPTURE_SIDES], STREAM_MAX);
    while (ok && getline(&line, &size, file) > 0)
        ok = take_line(line, s, take, state, c, e);
    for (unsigned i = 0; i < CONNECTIONS * CAPTURE_SIDES; i++) {
        c->unfinished += s->of[i / CAPTURE_SIDES][i % CAPTURE_SIDES].len;
        buf_free(&s->of[i / CAPTURE_SIDES][i % CAPTURE_SIDES]);
    }
    free(line);
    free(s);
    return ok;
}
