/* The duties of coffre-ingest, one function each (see common/system/role.h); main.c holds their table. */
#ifndef COFFRE_INGEST_ROLES_H
#define COFFRE_INGEST_ROLES_H

#include "common/system/role.h"

int front_run(struct role *self);   /* TLS, STOMP and OpenWire towards sensors; no key, no database */
int keys_run(struct role *self);    /* the TLS private key */
int relay_run(struct role *self);   /* deposits of all fronts, as packs, to RabbitMQ */
int deliver_run(struct role *self); /* answers and archive notices back to sensors */
int roster_run(struct role *self);  /* role bindings from PostgreSQL */
int ledger_run(struct role *self);  /* numbers, encrypts, stores */
int inspect_run(struct role *self); /* parses events for the ledger; no key, no database */
int schemas_run(struct role *self); /* reads schemas for inspect */

/* Message types on the channels (PROTOCOL.md, "Channels of coffre-ingest"). */
enum relay_message { RELAY_DEPOSIT = 1, RELAY_CONFIRMED, RELAY_REFUSED, RELAY_BROKER };
enum deliver_message {
    /* front → deliver */
    DELIVER_SUBSCRIBE = 1,
    DELIVER_UNSUBSCRIBE,
    DELIVER_SETTLE,
    DELIVER_CREDIT,
    DELIVER_CLAIM,
    DELIVER_UNCLAIM,
    /* deliver → front */
    DELIVER_ANSWER = 10,
    DELIVER_ARCHIVE,
    DELIVER_REFUSED,
    DELIVER_SUBSCRIBED,
    DELIVER_TAKEN
};
enum deliver_queue { DELIVER_EVENT = 1, DELIVER_ARCHIVES = 2, DELIVER_REPLIES = 3 };
/* What became of a delivery. */
enum deliver_outcome {
    DELIVER_DONE = 0,     /* acknowledged */
    DELIVER_REJECTED = 1, /* not accepted: comes back with its count raised */
    DELIVER_UNSEEN = 2,   /* never handed to the application: comes back as it was */
};
enum inspect_message { INSPECT_CHECK = 1, INSPECT_CHECKED, INSPECT_READY, INSPECT_CHECK_PLAIN, INSPECT_SPARE };
enum schemas_message { SCHEMAS_SET = 1, SCHEMAS_TAKEN, SCHEMAS_HAVE };

#endif
