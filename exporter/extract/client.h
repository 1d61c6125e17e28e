/*
 * HTTPS towards the exporter (libcurl): JSON calls, and bodies that go on from where they stopped. The exporter is
 * authenticated by TLS; what it sends is still measured: no answer of JSON over 4 MiB, no file without a length.
 */
#ifndef COFFRE_EXTRACT_CLIENT_H
#define COFFRE_EXTRACT_CLIENT_H

#include <jansson.h>
#include <signal.h>

#include "common/values/buf.h"
#include "exporter/extract/options.h"

struct client;

/* `stop` becomes non-zero when the user interrupts; borrowed, as are the options. ERR_FATAL when libcurl refuses. */
struct client *client_open(const struct options *o, const volatile sig_atomic_t *stop, struct err *e);
void client_close(struct client *c);

/*
 * GET (body NULL) or POST of `path`; transient failures are retried with growing pauses. NULL: `e` says why and *end how the
 * program should end. A refusal of the exporter gives its reason. The JSON is the caller's (json_decref()).
 */
json_t *client_json(struct client *c, const char *path, const char *body, enum exit_code *end, struct err *e);

enum { CLIENT_ETAG_MAX = 200 };

/* A file being fetched. */
struct client_body {
    int fd;                      /* bytes are written here, at `have` */
    uint64_t have;               /* bytes there that belong to `etag` */
    uint64_t total;              /* of the whole; 0: not known yet */
    char etag[CLIENT_ETAG_MAX];  /* quoted; "": not known yet */
    /* The representation is known (again): called before bytes of it are written. False ends the transfer. */
    bool (*begins)(void *ctx, struct err *e);
    void (*grows)(void *ctx);    /* some bytes more */
    void *ctx;
};

enum client_result {
    CLIENT_COMPLETE,
    CLIENT_AGAIN,   /* transient: try again */
    CLIENT_REFUSED, /* the exporter says no */
    CLIENT_FAILED,  /* a local failure */
};

/*
 * One attempt at the bytes from b->have on, with Range and If-Range (RFC 9110 13.1.5, 14.2). When the representation is another
 * one than b->etag, starts over at 0.
 */
enum client_result client_fetch(struct client *c, const char *path, struct client_body *b, struct err *e);

/* Asks for length and entity-tag alone (HEAD): b->total and b->etag. CLIENT_COMPLETE: they are known. */
enum client_result client_head(struct client *c, const char *path, struct client_body *b, struct err *e);

/* Pauses before attempt `n` (from 1): 0.5 s, 1 s, 2 s … 30 s. False when the user interrupts. */
bool client_pause(struct client *c, unsigned n);

#endif
