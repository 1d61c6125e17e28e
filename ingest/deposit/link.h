/*
 * One connection to a vault as a sensor has it: TCP, mutual TLS, STOMP session. Never
 * blocks after the name is resolved: the caller polls and calls link_turn(). What the server
 * sends is parsed with limits; the server is authenticated but not trusted to be correct.
 */
#ifndef COFFRE_DEPOSIT_LINK_H
#define COFFRE_DEPOSIT_LINK_H

#include <openssl/ssl.h>

#include "ingest/stomp/stomp.h"

struct link_target {
    const char *host, *port;  /* borrowed, as are all of these */
    SSL_CTX *tls;             /* made with link_tls_context() */
    const char *virtual_host; /* the header `host`; NULL: the host name */
    unsigned heart_beat;      /* ms offered and asked for; 0: none */
    size_t out_max;           /* bytes that may wait to be sent */
    size_t body_max;          /* bytes of a frame's body accepted from the server */
};

enum link_state {
    LINK_CONNECTING, /* TCP */
    LINK_SHAKING,    /* TLS */
    LINK_OPENING,    /* CONNECT sent, CONNECTED not yet read */
    LINK_READY,
    LINK_CLOSED, /* see `why` */
};

struct link {
    const struct link_target *target;
    enum link_state state;
    int fd;
    SSL *ssl;                    /* owned */
    struct stomp_parser parser;
    struct buf in, out;
    struct err why;              /* of LINK_CLOSED. ERR_DENIED: trying again cannot help */
    bool refused;                /* … our certificate is not accepted, or not bound: by TLS, or in the vault's words */
    bool want_write;             /* TLS waits for the socket to take bytes */
    uint64_t heard, said;        /* ms on the monotonic clock: last byte read, last byte written */
    uint64_t hear_every, say_every; /* heart-beats agreed on, ms; 0: none */
    char server[64];             /* what CONNECTED says of itself */
};

/*
 * A client context: TLS 1.2 or newer, our certificate and chain, our key, the authorities that may have
 * issued the server's. ERR_INPUT names the file that does not serve.
 */
SSL_CTX *link_tls_context(const char *certificate, const char *key, const char *authorities, struct err *e);

/* Called for each frame after CONNECTED; false closes the link with the error. Slices live during the call. */
typedef bool link_frame_fn(void *context, const struct stomp_frame *frame, struct err *e);

/* Starts connecting. ERR_RETRY when the name does not resolve or nothing listens there. */
MUST_CHECK bool link_open(struct link *l, const struct link_target *target, struct err *e);

/* Closes at once and gives everything back; the struct may be opened again. */
void link_close(struct link *l);

/* What to poll for: POLLIN and perhaps POLLOUT. */
short link_events(const struct link *l);

/*
 * Does what the socket is ready for: handshake, reading, frames, writing, heart-beats. `revents` as poll()
 * gave it (0 is fine: writes what waits and looks at the clock). False once closed.
 */
bool link_turn(struct link *l, short revents, link_frame_fn *on_frame, void *context);

/* What an ERROR frame says, as the error that ends the link: ERR_DENIED when it refuses our certificate, else ERR_RETRY. Always false. */
bool link_take_error(struct link *l, const struct stomp_frame *frame, struct err *e);

/* Writes what waits, as far as the socket takes it. */
bool link_flush(struct link *l);

/* Monotonic clock, ms and ns. */
uint64_t link_now_ms(void);
uint64_t link_now_ns(void);

#endif
