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
/* … of version 12 that has exchanged WireFormatInfo. */
void peer_preambled(struct peer *p, const struct session_refusal *refusal);
/* … that has exchanged WireFormatInfo, ConnectionInfo (command 1), SessionInfo 1, and whose words so far are forgotten. */
void peer_connect(struct peer *p);
/* … and has a producer 1:1 and a consumer 1:1 of Event.1.Out with this prefetch, as commands 3 and 4. */
void peer_consume(struct peer *p, int64_t prefetch);
/* … of which n answers are out already, and forgotten. */
void peer_consume_answers(struct peer *p, int64_t prefetch, unsigned n);
/* … and has a producer 1:1 of Event.1.In with this window, as command 3, and nothing else. */
void peer_produce(struct peer *p, int64_t window);
void peer_close(struct peer *p);

/* Commands: consumer 1:`value`; an acknowledgement of consumer 1:1's answers, in no transaction or in one; a message of Event.1.In (transaction 0: none). */
struct openwire_object *peer_consumer(int64_t value, enum openwire_type type, const char *name, int64_t prefetch);
struct openwire_object *peer_ack(int kind, int64_t first, int64_t last);
struct openwire_object *peer_ack_in(int64_t transaction, int kind, int64_t first, int64_t last);
struct openwire_object *peer_message(const char *body, int64_t transaction);

/* The next command; R: a response is required. */
void peer_put(struct peer *p, struct openwire_object *o);
void peer_put_r(struct peer *p, struct openwire_object *o);
/* Gives what was put, and all of it must be taken. */
void peer_give(struct peer *p);
/* Gives these bytes behind what was put. */
void peer_give_bytes(struct peer *p, struct slice bytes);
/* Gives what was put; what is not taken stays. */
void peer_offer(struct peer *p);
void peer_send(struct peer *p, struct openwire_object *o);
void peer_send_r(struct peer *p, struct openwire_object *o);

/* What the session has said since, a line for each frame; it is written then. */
const char *peer_said(struct peer *p);
void peer_expect(struct peer *p, const char *said);
/* What it has asked of its owner since; the words for a message of peer_message(). */
#define PEER_DEPOSIT(ticket, body) "deposit " ticket " by 7 c d SHA-256 at 1234: " body "\n"
void peer_expect_asked(struct peer *p, const char *asked);
void peer_expect_end(struct peer *p, enum session_end end, const char *reason);

/* An answer to a deposit, delivered; as the session says its properties then. */
#define PEER_ANSWER(serial) " CFJLStatus=t:CFJL_OK CFJLJELSerial=t:" serial " CFJLDigest=t:d CFJLDigestAlgo=t:SHA-256 ClientId=t:c CFJLLotId=l:2\n"
void peer_answer(struct peer *p, uint64_t subscription, uint64_t delivery);

#endif
