/*
 * The one binary notation of everything internal: packs, channel messages, acknowledgements.
 * Integers are big-endian; text and bytes are preceded by their length. A reader never reads
 * past its slice: the first shortfall is remembered and every later read gives zero, so a
 * sequence of reads ends with one check, wire_end(), which also refuses trailing bytes.
 */
#ifndef COFFRE_WIRE_H
#define COFFRE_WIRE_H

#include "common/values/buf.h"

struct wire_reader {
    struct slice rest; /* what is not yet read; borrowed */
    bool short_read;   /* a read went past the end */
};

static inline struct wire_reader wire_read(struct slice s)
{
    return (struct wire_reader){s, false};
}

uint8_t wire_get_u8(struct wire_reader *r);
uint16_t wire_get_u16(struct wire_reader *r);
uint32_t wire_get_u32(struct wire_reader *r);
uint64_t wire_get_u64(struct wire_reader *r);
struct slice wire_get_fixed(struct wire_reader *r, size_t len);
struct slice wire_get_text(struct wire_reader *r);  /* u16 length, then bytes */
struct slice wire_get_bytes(struct wire_reader *r); /* u32 length, then bytes */

/* True when everything was there and nothing is left; else ERR_INPUT naming `what`. */
MUST_CHECK bool wire_end(const struct wire_reader *r, const char *what, struct err *e);

/*
 * Writing. These append to a buffer and report its overflow in one flag instead of at
 * every call: check wire_ok() once at the end.
 */
struct wire_writer {
    struct buf *out; /* borrowed */
    bool overflow;
};

static inline struct wire_writer wire_write(struct buf *out)
{
    return (struct wire_writer){out, false};
}

void wire_put_u8(struct wire_writer *w, uint8_t v);
void wire_put_u16(struct wire_writer *w, uint16_t v);
void wire_put_u32(struct wire_writer *w, uint32_t v);
void wire_put_u64(struct wire_writer *w, uint64_t v);
void wire_put_fixed(struct wire_writer *w, const void *bytes, size_t len);
void wire_put_text(struct wire_writer *w, struct slice text);  /* over 65,535 bytes: overflow */
void wire_put_bytes(struct wire_writer *w, struct slice bytes);
MUST_CHECK bool wire_ok(const struct wire_writer *w, const char *what, struct err *e);

/* A u32 length to be filled in later: returns its place, for wire_close_u32(). */
size_t wire_open_u32(struct wire_writer *w);
void wire_close_u32(struct wire_writer *w, size_t place);

#endif
