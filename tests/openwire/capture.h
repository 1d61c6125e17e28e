/*
 * Captured sessions, as ../shared/openwire-captures keeps them: a line for each piece of bytes that passed, or a piece of a frame. They are put
 * together again here, connection by connection and side by side, and handed on frame by frame in the order in which they became whole.
 */
#ifndef COFFRE_TESTS_OPENWIRE_CAPTURE_H
#define COFFRE_TESTS_OPENWIRE_CAPTURE_H

#include <stdio.h>

#include "common/values/buf.h"

enum { CAPTURE_CLIENT, CAPTURE_SERVER, CAPTURE_SIDES };

/* Takes what it can from the front of `in`, which grows with each piece; returns how many bytes, or -1 when the bytes are wrong. */
typedef long capture_taker(void *state, unsigned connection, unsigned side, struct slice in);

struct capture {
    unsigned connections, cut; /* seen; of them cut by the relay */
    size_t bytes, unfinished;  /* in all; at the ends of streams, belonging to no whole frame */
};

/* Reads a file to its end. False with `e` when the file or what is in it is wrong. */
MUST_CHECK bool capture_run(FILE *file, capture_taker *take, void *state, struct capture *c, struct err *e);

#endif
