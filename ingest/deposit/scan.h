/*
 * Tokens of XML text, for cutting and rewriting events without building a tree. Pure.
 * It knows where markup begins and ends, not whether names, attributes or entities are
 * valid: the vault checks that. Input is a stranger's file.
 */
#ifndef COFFRE_DEPOSIT_SCAN_H
#define COFFRE_DEPOSIT_SCAN_H

#include "common/values/slice.h"

enum scan_kind {
    SCAN_MORE,        /* the token is not complete: give more bytes */
    SCAN_BAD,         /* not XML: `why` says what */
    SCAN_TEXT,        /* character data, perhaps not all of it */
    SCAN_START,       /* <name …> */
    SCAN_EMPTY,       /* <name …/> */
    SCAN_END,         /* </name> */
    SCAN_COMMENT,     /* <!-- … --> */
    SCAN_CDATA,       /* <![CDATA[ … ]]> */
    SCAN_INSTRUCTION, /* <?target …?> */
    SCAN_DECLARATION, /* <?xml …?> */
    SCAN_DOCTYPE,     /* <!DOCTYPE: recognised by its first bytes only */
};

struct scan_token {
    enum scan_kind kind;
    struct slice whole; /* the token's bytes; borrowed from the input */
    struct slice name;  /* of START, EMPTY and END */
    const char *why;    /* of BAD */
};

/*
 * The token at the beginning of `in` (XML 1.0, 2.4 to 2.8 and 3.1). `last`: no more bytes will
 * come, so that an unfinished token is BAD instead of MORE. An empty input gives MORE.
 */
struct scan_token scan_next(struct slice in, bool last);

/* Is this byte white space (XML 1.0, 2.3)? */
static inline bool scan_is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

#endif
