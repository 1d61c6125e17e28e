/* The client's side of an OpenWire session under test: commands in, what the session says as text. Its connection is called C. */
#ifndef COFFRE_TESTS_OPENWIRE_PEER_H
#define COFFRE_TESTS_OPENWIRE_PEER_H

#include "tests/openwire/build.h"
#include "tests/unit/session_owner.h"

#define PEER_SOURCE "ID:coffre-i-test-1" /* the ConnectionId in ids of what the session sends */

struct peer {
    struct owner o;
    unsigned version;
    uint32_t command; /* id of the last one put */
    struct buf in;    /* frames put and not yet taken by the session */
    size_t step;      /* bytes given at once */
};

/* A session that has read nothing; `refusal` may be NULL. */
void peer_open(struct peer *p, const struct session_refusal *refusal, unsigned version);
/* … that has exchanged WireFormatInfo, ConnectionInfo (command 1), SessionInfo 1, and whose words so far are forgotten. */
void peer_connect(struct peer *p);
/* … and has a producer 1:1 and a consumer 1:1 of Event.1.Out with this prefetch, as commands 3 and 4. */
void peer_consume(struct peer *p, int64_t prefetch);
void peer_close(struct peer *p);

/* The next command; R: a response is required. */
void peer_put(struct peer *p, struct openwire_object *o);
void peer_put_r(struct peer *p, struct openwire_object *o);
/* Gives what was put, and all of it must be taken. */
void peer_give(struct peer *p);
/* Gives what was put; what is not taken stays. */
void peer_offer(struct peer *p);
void peer_send(struct peer *p, struct openwire_object *o);
void peer_send_r(struct peer *p, struct openwire_object *o);

/* What the session has said since, a line for each frame; it is written then. */
const char *peer_said(struct peer *p);
void peer_expect(struct peer *p, const char *said);
/* What it has asked of its owner since. */
void peer_expect_asked(struct peer *p, const char *asked);
void peer_expect_end(struct peer *p, enum session_end end, const char *reason);

/* An answer to a deposit, delivered. */
void peer_answer(struct peer *p, uint64_t subscription, uint64_t delivery);

#endif
