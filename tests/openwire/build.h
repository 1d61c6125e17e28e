/*
 * A client's commands, made field by field for tests and fuzz targets: ids of one connection, and the commands most of them need. What
 * is made lives until build_frame() has written it.
 */
#ifndef COFFRE_TESTS_OPENWIRE_BUILD_H
#define COFFRE_TESTS_OPENWIRE_BUILD_H

#include "ingest/openwire/openwire.h"
#include "ingest/openwire/properties.h"

enum { BUILD_BEGIN = 0, BUILD_PREPARE = 1, BUILD_COMMIT = 2, BUILD_COMMIT_TWO_PHASE = 3, BUILD_ROLLBACK = 4, BUILD_RECOVER = 5 };
enum { BUILD_DELIVERED, BUILD_POISON, BUILD_STANDARD, BUILD_REDELIVERED, BUILD_INDIVIDUAL, BUILD_UNMATCHED, BUILD_EXPIRED };

/* An object whose fields are all absent. */
struct openwire_object *build(enum openwire_type type);
void build_set(struct openwire_object *o, unsigned field, struct openwire_value v);
void build_number(struct openwire_object *o, unsigned field, int64_t n);
void build_text(struct openwire_object *o, unsigned field, const char *text); /* NULL: absent */
void build_object(struct openwire_object *o, unsigned field, const struct openwire_object *inner); /* NULL: absent */
/* Copies `bytes`. */
void build_bytes(struct openwire_object *o, unsigned field, struct slice bytes);

/* Ids. */
struct openwire_object *build_connection_id(const char *connection);
struct openwire_object *build_session_id(const char *connection, int64_t session);
struct openwire_object *build_consumer_id(const char *connection, int64_t session, int64_t value);
struct openwire_object *build_producer_id(const char *connection, int64_t session, int64_t value);
struct openwire_object *build_message_id(const char *connection, int64_t sequence); /* of its producer 1:1 */
struct openwire_object *build_transaction_id(const char *connection, int64_t value);
struct openwire_object *build_destination(enum openwire_type type, const char *name);

/* Commands. */
struct openwire_object *build_connection(const char *connection);
struct openwire_object *build_session(const char *connection, int64_t session);
struct openwire_object *build_producer(const char *connection, int64_t session, int64_t value, const char *queue, int64_t window);
struct openwire_object *build_consumer(const char *connection, int64_t session, int64_t value, struct openwire_object *from,
                                       int64_t prefetch);
struct openwire_object *build_transaction(const char *connection, int64_t value, int kind);
struct openwire_object *build_remove(struct openwire_object *id, int64_t seen);
struct openwire_object *build_temporary(const char *connection, const char *name, int operation);
struct openwire_object *build_pull(const char *connection, int64_t session, int64_t value, int64_t timeout);
/* first and last: sequences of messages that `source` has sent; first 0: null. */
struct openwire_object *build_ack(const char *connection, int64_t session, int64_t value, int kind, const char *source, int64_t first,
                                  int64_t last);
/* A text message of producer 1:1 to `queue` with properties ClientId c, Digest d, DigestAlgo SHA-256, Timestamp 1234; transaction 0: none. */
struct openwire_object *build_message(const char *connection, const char *queue, const char *body, int64_t transaction);
/* The content of a text message; zlib's stream of it. */
void build_content(struct openwire_object *o, const char *text, bool compressed);

/* Appends the frame and forgets all objects. The peer's WireFormatInfo, of this version. */
void build_frame(struct openwire_object *o, unsigned version, uint32_t command, bool response_required, struct buf *out);
void build_preamble(unsigned version, struct buf *out);

#endif
