/*
 * WireFormatInfo: what each side says first, and what follows from both (each side works it out for itself, nothing is confirmed).
 * Pure; what is read is a stranger's.
 */
#ifndef COFFRE_OPENWIRE_PREAMBLE_H
#define COFFRE_OPENWIRE_PREAMBLE_H

#include "ingest/openwire/openwire.h"

enum {
    OPENWIRE_PREAMBLE_MAX = 4096,      /* bytes of a frame until ConnectionInfo is accepted */
    OPENWIRE_PREAMBLE_PROPERTIES = 64, /* entries */
    OPENWIRE_PREAMBLE_VALUE = 512,     /* bytes of a text value in it */
};

struct openwire_format {
    unsigned version;          /* the lower of both; below OPENWIRE_VERSION_MIN: not served */
    uint64_t max_frame;        /* bytes, the lower of both; ours, when the peer names none */
    uint64_t inactivity;       /* ms, the lower of both; 0: neither side watches */
    uint64_t inactivity_delay; /* ms, before the first look */
};

/* The first bytes of a connection that speaks OpenWire: size, type 1, "ActiveMQ". PREAMBLE_NO as soon as one byte is another. */
enum openwire_opening { OPENWIRE_OPENING_MORE, OPENWIRE_OPENING_YES, OPENWIRE_OPENING_NO };
enum openwire_opening openwire_detect(struct slice in);

/*
 * Reads the peer's WireFormatInfo (a frame as for openwire_read(), always loose) and works out the format; `ours` is what we say. ERR_INPUT: malformed,
 * wrong magic, a version below 1, a map beyond the limits above. Peers that want tight encoding, a cache or stack traces get none: we say false.
 */
MUST_CHECK bool openwire_preamble_read(struct slice frame, const struct openwire_format *ours, struct openwire_format *agreed,
                                       struct err *e);

/* Appends our WireFormatInfo: names no product version, system or host (CVE-2017-15709). */
MUST_CHECK bool openwire_preamble_write(const struct openwire_format *ours, struct buf *out, struct err *e);

#endif
