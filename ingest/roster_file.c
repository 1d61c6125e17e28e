/* The roster role's file: see roster_file.h. "CFRB", u8 1, bytes ROSTER body, bytes OVERRIDES body (PROTOCOL.md). */
#include "ingest/roster_file.h"

#include "common/identity/overrides.h"
#include "common/system/durable.h"
#include "common/values/wire.h"

enum { FILE_FORMAT = 1, ENVELOPE_MAX = ROSTER_BYTES_MAX + OVERRIDES_BODY_MAX + 16 };
static const char magic[4] = {'C', 'F', 'R', 'B'};

static struct roster *decode(struct slice file, struct buf *overrides, struct err *e)
{
    struct wire_reader r = wire_read(file);
    struct slice begins = wire_get_fixed(&r, sizeof magic), bindings, rest;
    uint8_t format = wire_get_u8(&r);

    bindings = wire_get_bytes(&r);
    rest = wire_get_bytes(&r);
    if (!wire_end(&r, "kept role bindings", e))
        return NULL;
    if (!slice_equal(begins, slice_of(magic, sizeof magic)) || format != FILE_FORMAT) {
        err_set(e, ERR_INPUT, "kept role bindings of another version");
        return NULL;
    }
    buf_reset(overrides);
    return buf_add_slice(overrides, rest, e) ? roster_decode(bindings, e) : NULL;
}

struct roster *roster_file_read(const char *path, struct buf *overrides, struct err *e)
{
    struct roster *r = NULL;
    struct buf b;

    buf_init(&b, ENVELOPE_MAX);
    if (durable_read(path, &b, NULL, e))
        r = decode(buf_slice(&b), overrides, e);
    buf_free(&b);
    return r;
}

bool roster_file_write(const char *path, const struct roster *roster, const struct buf *overrides, struct err *e)
{
    struct wire_writer w;
    struct buf b;
    bool ok;

    buf_init(&b, ENVELOPE_MAX);
    w = wire_write(&b);
    wire_put_fixed(&w, magic, sizeof magic);
    wire_put_u8(&w, FILE_FORMAT);
    wire_put_bytes(&w, roster_body(roster));
    wire_put_bytes(&w, buf_slice(overrides));
    ok = wire_ok(&w, "role bindings to be kept", e) && durable_write(path, buf_slice(&b), 0600, e);
    buf_free(&b);
    return ok;
}
