/* Frames as tests write them down: hexadecimal digits in any grouping, "|" ignored, 'texts' as they are. */
#ifndef COFFRE_TESTS_OPENWIRE_NOTATION_H
#define COFFRE_TESTS_OPENWIRE_NOTATION_H

#include <ctype.h>
#include <stdlib.h>

#include "common/values/slice.h"

/* The bytes that `text` stands for, into `out`, which has room; ends the process when it is no such text. */
static inline struct slice openwire_bytes_of(const char *text, uint8_t *out)
{
    uint8_t *at = out;

    for (const char *t = text; *t != '\0'; t++) {
        if (*t == ' ' || *t == '|')
            continue;
        if (*t == '\'') {
            while (*++t != '\'')
                *at++ = (uint8_t)*t;
        } else if (isxdigit((unsigned char)t[0]) && isxdigit((unsigned char)t[1])) {
            const char pair[3] = {t[0], t[1], '\0'};

            *at++ = (uint8_t)strtoul(pair, NULL, 16);
            t++;
        } else {
            abort();
        }
    }
    return slice_of(out, (size_t)(at - out));
}

#endif
