/* Big-endian integers and length-preceded bytes: see wire.h. */
#include "common/values/wire.h"

static const uint8_t *take(struct wire_reader *r, size_t len)
{
    const uint8_t *at = r->rest.at;

    if (r->short_read || len > r->rest.len) {
        r->short_read = true;
        r->rest.len = 0;
        return NULL;
    }
    r->rest.at += len;
    r->rest.len -= len;
    return at;
}

static uint64_t get_integer(struct wire_reader *r, size_t size)
{
    const uint8_t *at = take(r, size);
    uint64_t v = 0;

    for (size_t i = 0; at != NULL && i < size; i++)
        v = v << 8 | at[i];
    return v;
}

uint8_t wire_get_u8(struct wire_reader *r)
{
    return (uint8_t)get_integer(r, 1);
}

uint16_t wire_get_u16(struct wire_reader *r)
{
    return (uint16_t)get_integer(r, 2);
}

uint32_t wire_get_u32(struct wire_reader *r)
{
    return (uint32_t)get_integer(r, 4);
}

uint64_t wire_get_u64(struct wire_reader *r)
{
    return get_integer(r, 8);
}

struct slice wire_get_fixed(struct wire_reader *r, size_t len)
{
    const uint8_t *at = take(r, len);

    return slice_of(at, at == NULL ? 0 : len);
}

struct slice wire_get_text(struct wire_reader *r)
{
    return wire_get_fixed(r, wire_get_u16(r));
}

struct slice wire_get_bytes(struct wire_reader *r)
{
    return wire_get_fixed(r, wire_get_u32(r));
}

bool wire_end(const struct wire_reader *r, const char *what, struct err *e)
{
    if (r->short_read)
        return err_set(e, ERR_INPUT, "%s: cut short", what);
    if (r->rest.len != 0)
        return err_set(e, ERR_INPUT, "%s: %zu bytes too many", what, r->rest.len);
    return true;
}

void wire_put_fixed(struct wire_writer *w, const void *bytes, size_t len)
{
    if (!w->overflow && !buf_add(w->out, bytes, len, NULL))
        w->overflow = true;
}

static void put_integer(struct wire_writer *w, uint64_t v, size_t size)
{
    uint8_t bytes[8];

    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(v >> 8 * (size - 1 - i));
    wire_put_fixed(w, bytes, size);
}

void wire_put_u8(struct wire_writer *w, uint8_t v)
{
    put_integer(w, v, 1);
}

void wire_put_u16(struct wire_writer *w, uint16_t v)
{
    put_integer(w, v, 2);
}

void wire_put_u32(struct wire_writer *w, uint32_t v)
{
    put_integer(w, v, 4);
}

void wire_put_u64(struct wire_writer *w, uint64_t v)
{
    put_integer(w, v, 8);
}

void wire_put_text(struct wire_writer *w, struct slice text)
{
    if (text.len > UINT16_MAX) {
        w->overflow = true;
        return;
    }
    put_integer(w, text.len, 2);
    wire_put_fixed(w, text.at, text.len);
}

void wire_put_bytes(struct wire_writer *w, struct slice bytes)
{
    if (bytes.len > UINT32_MAX) {
        w->overflow = true;
        return;
    }
    put_integer(w, bytes.len, 4);
    wire_put_fixed(w, bytes.at, bytes.len);
}

size_t wire_open_u32(struct wire_writer *w)
{
    size_t place = w->out->len;

    wire_put_u32(w, 0);
    return place;
}

void wire_close_u32(struct wire_writer *w, size_t place)
{
    uint8_t *at;
    size_t len;

    if (w->overflow)
        return;
    at = w->out->data + w->out->start + place;
    len = w->out->len - place - 4;
    if (len > UINT32_MAX) {
        w->overflow = true;
        return;
    }
    for (size_t i = 0; i < 4; i++)
        at[i] = (uint8_t)(len >> 8 * (3 - i));
}

bool wire_ok(const struct wire_writer *w, const char *what, struct err *e)
{
    if (w->overflow)
        return err_set(e, ERR_INPUT, "%s: does not fit its limit of %zu bytes", what, w->out->max);
    return true;
}
