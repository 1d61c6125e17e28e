/* The roster role's file: see roster_file.h. "CFRB", u8 1, bytes ROSTER body, bytes OVERRIDES body (PROTOCOL.md). */
#include "ingest/roster_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/identity/overrides.h"
#include "common/values/wire.h"

enum { FILE_FORMAT = 1, ENVELOPE_MAX = ROSTER_BYTES_MAX + OVERRIDES_BODY_MAX + 16 };
static const char magic[4] = {'C', 'F', 'R', 'B'};

static bool read_whole(const char *path, struct buf *b, struct err *e)
{
    FILE *in = fopen(path, "re");
    size_t n = 1;

    if (in == NULL)
        return err_set_errno(e, ERR_RETRY, "%s", path);
    while (n != 0) {
        uint8_t *at = buf_reserve(b, 4096, e);

        if (at == NULL)
            break;
        n = fread(at, 1, 4096, in);
        buf_commit(b, n);
    }
    if (n == 0 && ferror(in) != 0)
        err_set_errno(e, ERR_RETRY, "%s", path);
    n += (size_t)ferror(in);
    fclose(in);
    return n == 0;
}

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
    if (read_whole(path, &b, e))
        r = decode(buf_slice(&b), overrides, e);
    buf_free(&b);
    return r;
}

static bool write_whole(const char *path, struct slice body, struct err *e)
{
    char *fresh = mem_printf("%s.new", path);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool ok = fd >= 0;

    while (ok && body.len != 0) {
        ssize_t n = write(fd, body.at, body.len);

        if (n < 0 && errno == EINTR)
            continue;
        ok = n > 0;
        body = slice_of(body.at + (ok ? n : 0), body.len - (ok ? (size_t)n : 0));
    }
    ok = ok && fdatasync(fd) == 0;
    if (fd >= 0)
        ok = close(fd) == 0 && ok;
    ok = ok && rename(fresh, path) == 0;
    if (!ok)
        err_set_errno(e, ERR_RETRY, "%s cannot be written", path);
    free(fresh);
    return ok;
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
    ok = wire_ok(&w, "role bindings to be kept", e) && write_whole(path, buf_slice(&b), e);
    buf_free(&b);
    return ok;
}
