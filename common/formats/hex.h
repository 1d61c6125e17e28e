/* Lower-case hexadecimal and base64 on one line, each with exactly one spelling. Pure. */
#ifndef COFFRE_HEX_H
#define COFFRE_HEX_H

#include "common/values/buf.h"

/* Writes 2 × bytes.len characters and a NUL. */
void hex_write(char *out, struct slice bytes);
/* Exactly `len` bytes from 2 × len lower-case digits. */
MUST_CHECK bool hex_read(struct slice text, uint8_t *out, size_t len);

/* RFC 4648 section 4, padded, no line breaks. The reader refuses non-zero trailing bits. */
MUST_CHECK bool base64_write(struct buf *out, struct slice bytes, struct err *e);
MUST_CHECK bool base64_read(struct slice text, struct buf *out, struct err *e);

#endif
