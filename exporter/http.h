/*
 * HTTP/1.1 (RFC 9110, RFC 9112) as the exporter speaks it: pure parsers and encoders, bytes in, value or
 * refusal out. Input is what any stranger sends: strict where the RFCs allow leniency, so that no two readers
 * of the same bytes can disagree (no folding, no bare LF, no repeated Content-Length, no chunked requests).
 */
#ifndef COFFRE_EXPORTER_HTTP_H
#define COFFRE_EXPORTER_HTTP_H

#include <time.h>

#include "common/values/buf.h"
#include "common/values/number.h"

enum {
    HTTP_HEAD_MAX = 16 * 1024,  /* bytes of request line and fields */
    HTTP_TARGET_MAX = 2048,     /* bytes of the request target */
    HTTP_FIELDS_MAX = 64,       /* field lines */
    HTTP_BODY_MAX = 64 * 1024,  /* bytes of a request's content */
    HTTP_PATH_MAX = 256,        /* decoded path, NUL included */
    HTTP_REASON_MAX = 200,
};

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_OTHER };

struct http_field {
    struct slice name;  /* token, as sent */
    struct slice value; /* without surrounding white space */
};

/* One request's head. Slices are borrowed from the parsed bytes. */
struct http_request {
    enum http_method method;
    struct slice method_name;
    char path[HTTP_PATH_MAX]; /* percent-decoded, printable ASCII, begins with '/', no empty, "." or ".." segment */
    struct slice query;       /* after '?', still encoded; empty when absent */
    unsigned minor;           /* HTTP/1.minor */
    bool keep_alive;          /* the connection may carry another request (RFC 9112 9.3) */
    bool expects_continue;    /* RFC 9110 10.1.1 */
    uint64_t content_length;  /* at most HTTP_BODY_MAX */
    struct http_field fields[HTTP_FIELDS_MAX];
    unsigned field_count;
};

/* Why a request is refused, and with what. The connection is closed after any of them. */
struct http_refusal {
    unsigned status;               /* to answer with */
    char reason[HTTP_REASON_MAX];  /* names the clause; no bytes of the peer */
};

enum http_result { HTTP_MORE, HTTP_DONE, HTTP_REFUSED };

/* How far a head was searched, so that bytes that dribble in are looked at once. Zero before each request. */
struct http_scan {
    size_t seen; /* bytes already known to hold no end of head */
};

/*
 * Reads one request head from the beginning of `in`. HTTP_DONE: `r` is filled and `*used` bytes (head only) are
 * consumed; r->content_length bytes of content follow. HTTP_MORE: call again with more (the same bytes first).
 * HTTP_REFUSED: `why` says what to answer; nothing more can be read from this connection.
 */
enum http_result http_read_head(struct slice in, struct http_scan *scan, struct http_request *r, size_t *used,
                                struct http_refusal *why);

/* The value of field `name` (compared without case); false when absent. The first one when there are several. */
bool http_field(const struct http_request *r, const char *name, struct slice *value);

/* True when text is a non-empty number without sign, spaces or leading zero, at most UINT64_MAX. */
MUST_CHECK bool http_number(struct slice text, uint64_t *v);

/*
 * Takes the next name=value of a query string ("&" between them), percent-decoded into the two buffers
 * (NUL-terminated; decoded NUL, control and non-ASCII bytes are refused). 1: one taken, 0: none left, -1: malformed or too long.
 */
int http_query_next(struct slice *rest, char *name, size_t name_size, char *value, size_t value_size);

/* ---- conditions and ranges (RFC 9110 13, 14) ------------------------------------------------ */

struct http_span {
    uint64_t first, length; /* bytes of the representation to send */
};

/* What a GET or HEAD for a representation with this strong validator and length must be answered with. */
enum http_outcome {
    HTTP_WHOLE,         /* 200 */
    HTTP_PART,          /* 206, `span` says which */
    HTTP_UNCHANGED,     /* 304 */
    HTTP_FAILED,        /* 412 */
    HTTP_UNSATISFIABLE, /* 416 */
};

/*
 * Evaluates If-Match, If-None-Match, Range and If-Range in the order of RFC 9110 13.2.2. `etag` is the quoted strong
 * entity-tag. Several ranges, other units and malformed ranges are ignored, as 14.2 allows: the whole is sent.
 */
enum http_outcome http_evaluate(const struct http_request *r, const char *etag, uint64_t length, struct http_span *span);

/* ---- answers --------------------------------------------------------------------------------- */

/* The reason phrase of the statuses the exporter uses; "Unknown" otherwise. */
const char *http_phrase(unsigned status);

/* Writes "HTTP/1.1 <status> <phrase>" and Date (RFC 9110 6.6.1). */
MUST_CHECK bool http_reply_begin(struct buf *out, unsigned status, time_t now, struct err *e);
/* One field line; a value with control bytes is refused (ERR_FATAL): nobody splits our answers. */
MUST_CHECK bool http_reply_field(struct buf *out, const char *name, const char *value, struct err *e);
MUST_CHECK bool http_reply_number(struct buf *out, const char *name, uint64_t value, struct err *e);
/* The empty line. */
MUST_CHECK bool http_reply_end(struct buf *out, struct err *e);

#endif
