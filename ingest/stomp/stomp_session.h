/* The STOMP session's own state, shared by the files stomp_session*.c; nobody else includes it. */
#ifndef COFFRE_STOMP_SESSION_H
#define COFFRE_STOMP_SESSION_H

#include "ingest/session/session_internal.h"
#include "ingest/stomp/stomp.h"

struct stomp_session {
    struct session base; /* first */
    struct stomp_parser parser;
    struct label last_receipt; /* of DISCONNECT */
    bool has_last_receipt;
};

enum ack_mode { ACK_AUTO, ACK_CLIENT, ACK_INDIVIDUAL };

struct stomp_subscription {
    struct subscription base; /* first; a delivery's mark: in automatic mode acknowledged when so much output was written */
    struct label id;
    bool has_id;   /* STOMP 1.0 may do without */
    enum ack_mode mode;
    uint64_t sent; /* n of the last MESSAGE */
};

/*
 * Ends the session with an ERROR frame: `message` header from the kind of end, body from the text; receipt-id when `f` (may be NULL)
 * asked for a receipt. Returns false so that it can end a chain.
 */
bool stomp_session_error(struct stomp_session *s, const struct stomp_frame *f, enum session_end end, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
/* The same, answering a receipt header kept from earlier. */
void stomp_session_error_for(struct stomp_session *s, struct slice receipt, enum session_end end, const char *text);
void stomp_session_receipt(struct stomp_session *s, struct slice id);
/* The receipt a frame asks for, if any. */
void stomp_session_receipt_for(struct stomp_session *s, const struct stomp_frame *f);
/* A receipt header as something due: its bytes, never NULL when the header was there, even empty. */
struct slice stomp_session_due(const struct stomp_frame *f);
/* The transaction a frame names, or NULL; false when it names one that is not open (the session has ended). */
bool stomp_session_transaction(struct stomp_session *s, const struct stomp_frame *f, struct transaction **tx);
/* True when a destination header is /queue/ and this name. */
bool stomp_session_is_queue(struct slice destination, const char *name);

bool stomp_session_send(struct stomp_session *s, const struct stomp_frame *f, struct session_time t);
bool stomp_session_begin(struct stomp_session *s, const struct stomp_frame *f);
bool stomp_session_commit(struct stomp_session *s, const struct stomp_frame *f);
bool stomp_session_abort(struct stomp_session *s, const struct stomp_frame *f);

bool stomp_session_subscribe(struct stomp_session *s, const struct stomp_frame *f);
bool stomp_session_unsubscribe(struct stomp_session *s, const struct stomp_frame *f);
bool stomp_session_ack(struct stomp_session *s, const struct stomp_frame *f, bool release);

/* Of stomp_protocol. */
void stomp_session_answer(struct session *s, struct subscription *sub, uint64_t delivery, const struct pack_answer *a,
                          struct session_time t);
void stomp_session_archive(struct session *s, struct subscription *sub, uint64_t delivery, unsigned redeliveries,
                           const struct pack_archive *a, struct session_time t);
void stomp_session_written(struct session *s); /* automatic acknowledgements */
void stomp_session_free_subscription(struct subscription *sub);

#endif
