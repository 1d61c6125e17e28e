/*
 * STOMP 1.0, 1.1 and 1.2 frames: a push parser and an encoder, for the front and for coffre-deposit.
 * Pure: bytes in, frame or error out. The parser reads what strangers sent: every length has a limit,
 * every error names the clause of the specification and the place in the frame.
 */
#ifndef COFFRE_STOMP_H
#define COFFRE_STOMP_H

#include "common/values/buf.h"
#include "common/values/number.h"

/* The version decides line ends, escapes and which frames may have a body. */
enum stomp_version {
    STOMP_OPENING, /* not negotiated yet: CONNECT, STOMP, CONNECTED; CR LF accepted, nothing escaped */
    STOMP_1_0,
    STOMP_1_1,
    STOMP_1_2,
};

enum stomp_command {
    STOMP_CONNECT, STOMP_STOMP, STOMP_SEND, STOMP_SUBSCRIBE, STOMP_UNSUBSCRIBE, STOMP_ACK, STOMP_NACK,
    STOMP_BEGIN, STOMP_COMMIT, STOMP_ABORT, STOMP_DISCONNECT,
    STOMP_CONNECTED, STOMP_MESSAGE, STOMP_RECEIPT, STOMP_ERROR, /* a server's */
    STOMP_COMMANDS,
};

/* Header names somebody here reads or writes. Others are checked, counted and forgotten. */
enum stomp_name {
    STOMP_ID, STOMP_ACK_HEADER, STOMP_HOST, STOMP_LOGIN, STOMP_DIGEST, STOMP_SERVER, STOMP_MESSAGE_TEXT, STOMP_RECEIPT_HEADER,
    STOMP_SESSION, STOMP_VERSION, STOMP_CLIENT_ID, STOMP_PASSCODE, STOMP_SELECTOR, STOMP_REPLY_TO, STOMP_CFJL_LOT_ID, STOMP_TIMESTAMP,
    STOMP_CFJL_ARCH_ID, STOMP_CFJL_DIGEST, STOMP_CFJL_REASON, STOMP_CFJL_STATUS, STOMP_DIGEST_ALGO, STOMP_HEART_BEAT,
    STOMP_MESSAGE_ID, STOMP_RECEIPT_ID, STOMP_DESTINATION, STOMP_REDELIVERED, STOMP_TRANSACTION, STOMP_CFJL_ARCH_DATE,
    STOMP_CONTENT_TYPE, STOMP_SUBSCRIPTION, STOMP_CFJL_SERIAL, STOMP_CFJL_DIGEST_ALGO, STOMP_CFJL_LAST_SERIAL,
    STOMP_ACCEPT_VERSION, STOMP_CONTENT_LENGTH, STOMP_PREFETCH_COUNT, STOMP_CFJL_FIRST_SERIAL, STOMP_PREFETCH_SIZE,
    STOMP_NAMES,
};

struct stomp_limits {
    size_t headers;      /* header lines of a frame */
    size_t header_bytes; /* bytes from the command to the blank line */
    size_t body_bytes;
};

struct stomp_frame {
    enum stomp_command command;
    uint64_t present;                  /* bit n: header n was there */
    struct slice headers[STOMP_NAMES]; /* first occurrence, unescaped; read with stomp_get() */
    struct slice body;
};

/* Where a parser is; nothing here refers to earlier input. */
struct stomp_parser {
    enum stomp_version version; /* set by the owner once negotiated */
    bool from_server;           /* accepts a server's frames instead of a client's */
    struct stomp_limits limits;
    size_t scanned;             /* of the frame begun: bytes known to hold no end of headers, or of body */
    size_t need;                /* of the frame begun: its whole length, once known; else 0 */
    size_t head;                /* of the frame begun: length of its headers, when its body ends with a NUL byte; else 0 */
    bool over_limit;            /* after STOMP_BAD: a limit was exceeded, the notation is right so far */
    struct buf unescaped;       /* values that had escapes, for the frame handed out last */
};

enum stomp_result {
    STOMP_FRAME, /* a whole frame */
    STOMP_MORE,  /* not yet a whole frame */
    STOMP_BAD,   /* not STOMP, or over a limit: the connection must end */
};

void stomp_parser_init(struct stomp_parser *p, bool from_server, const struct stomp_limits *limits);
void stomp_parser_free(struct stomp_parser *p);

/*
 * Takes the next frame from `in`. `*consumed` says how many bytes are done with: a frame and the end-of-line
 * bytes before it (heart-beats), or just the latter on STOMP_MORE. The next call's `in` must begin with what was left.
 * The frame's slices point into `in` and the parser, until either changes. Linear in the bytes received
 * even when they come one by one.
 */
enum stomp_result stomp_parse(struct stomp_parser *p, struct slice in, size_t *consumed, struct stomp_frame *f,
                              struct err *e);

static inline bool stomp_has(const struct stomp_frame *f, enum stomp_name name)
{
    return (f->present >> name & 1) != 0;
}

/* The header's value, or an empty slice with a NULL pointer when absent. */
static inline struct slice stomp_get(const struct stomp_frame *f, enum stomp_name name)
{
    return stomp_has(f, name) ? f->headers[name] : (struct slice){NULL, 0};
}

const char *stomp_command_text(enum stomp_command command);
const char *stomp_name_text(enum stomp_name name);
const char *stomp_version_text(enum stomp_version version); /* "1.2"; "?" while opening */

/* "cx,cy" of a heart-beat header (STOMP 1.2, "Heart-beating"), in ms; false when malformed. */
MUST_CHECK bool stomp_heart_beat(struct slice value, uint64_t *sends, uint64_t *wants);

/*
 * One frame being written at the end of a buffer. Values are escaped as the version and command demand (none in
 * CONNECT, STOMP and CONNECTED); what a version cannot express becomes a space. Nothing stays in
 * the buffer when the frame does not fit.
 */
struct stomp_writer {
    struct buf *out; /* borrowed */
    size_t began;    /* out->len before the frame */
    bool escapes, escapes_cr, overflow;
};

void stomp_open(struct stomp_writer *w, struct buf *out, enum stomp_version version, enum stomp_command command);
void stomp_add(struct stomp_writer *w, enum stomp_name name, struct slice value);
void stomp_add_number(struct stomp_writer *w, enum stomp_name name, uint64_t n);
/* Ends the headers and adds the body; content-length is written when there is a body. ERR_RETRY when it does not fit. */
MUST_CHECK bool stomp_close(struct stomp_writer *w, struct slice body, struct err *e);

#endif
