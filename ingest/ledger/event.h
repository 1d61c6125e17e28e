/*
 * The rules of one deposit: its headers, its digest, its XML. Pure: bytes in, a verdict out; no entity is expanded,
 * nothing is fetched, no DTD is read. All input is a stranger's; verdicts never quote any of it, but for the type, a
 * checked name.
 */
#ifndef COFFRE_INGEST_EVENT_H
#define COFFRE_INGEST_EVENT_H

#include "common/formats/lot.h"
#include "common/formats/pack.h"
#include "ingest/ledger/schema.h"

enum { EVENT_TYPE_MAX = LOT_TYPE_MAX, EVENT_REASON_MAX = 200, EVENT_CLIENT_ID_MAX = 1024 };

/* What the vault replaces by the serial, inside <IDEvt> or <d>. */
#define EVENT_PLACEHOLDER "<!--SAFE_ID-->"
enum { EVENT_PLACEHOLDER_SIZE = sizeof(EVENT_PLACEHOLDER) - 1 };

struct event_limits {
    const char *operator_id; /* what IDOper (or a) must be; borrowed */
    uint64_t vault;          /* what IDCoffre (or b) must be */
    unsigned depth;          /* elements inside each other, the root counts as one */
};

/* How an event that is right otherwise compares with the schemas. */
enum event_fit {
    EVENT_UNJUDGED,    /* there are none, or nobody asks */
    EVENT_FITS,
    EVENT_UNFIT,
    EVENT_UNKNOWN,     /* no schema declares its root */
    EVENT_NOT_COVERED, /* in short codes */
    EVENT_FIT_KINDS
};

enum event_schema_policy { EVENT_SCHEMA_OFF, EVENT_SCHEMA_RECORD, EVENT_SCHEMA_REFUSE };

struct event_verdict {
    bool valid;
    uint32_t placeholder;          /* its offset in the body; 0 when invalid */
    char type[EVENT_TYPE_MAX + 1]; /* the root's name: [A-Za-z_][A-Za-z0-9_.-]*; "" when not known */
    char reason[EVENT_REASON_MAX]; /* "" when valid, else a stable word, ": ", and a short text (line and column) */
    char remark[EVENT_REASON_MAX]; /* of a valid one that does not fit its schema: what its reason would be if that were refused; else "" */
    enum event_fit fit;
};

/* A parser and digest contexts, kept from one event to the next; limits are borrowed. NULL and ERR_FATAL: out of means.
 */
struct event_checker;
struct event_checker *event_checker_new(const struct event_limits *limits, struct err *e);
void event_checker_free(struct event_checker *c);

enum { EVENT_FAMILIES_MAX = 64 };

struct event_schemas {
    struct schema *families[EVENT_FAMILIES_MAX]; /* owned; an event is judged by the first that declares its root */
    unsigned count;
    enum event_schema_policy policy;  /* of events that do not fit */
    enum event_schema_policy unknown; /* of those whose root none declares */
};

/* Asked before each element and text that is compared, which this only does while `in_time` says true: then the event does not fit. NULL: nobody is asked. */
void event_checker_watch(struct event_checker *c, bool (*in_time)(void *ctx), void *ctx);

/* From now on no event is compared: one that would be does not fit ("schema: not compared: …"). For events that took too long. */
void event_checker_spare_schemas(struct event_checker *c, bool spare);

/* From the next event on, instead of those before, which are freed; families are taken over. A new checker has none. */
void event_checker_use_schemas(struct event_checker *c, const struct event_schemas *schemas);

/*
 * Judges one deposit. The words of `reason`: client-id-missing, client-id-invalid, digest-missing, digest-algorithm,
 * digest-mismatch, empty, too-large, encoding, not-well-formed, doctype, entity, depth, type, operator-missing,
 * operator-mismatch, vault-missing, vault-mismatch, header-repeated, placeholder-missing, placeholder-repeated, schema,
 * schema-unknown. The schema sees the number 1 where the placeholder is. False and ERR_FATAL only when this process cannot judge (a library failed): nothing is said of the deposit then.
 */
MUST_CHECK bool event_check(struct event_checker *c, const struct pack_deposit *d, struct event_verdict *v,
                            struct err *e);

/* Whether the placeholder, with its element around it, stands at `offset`: what the ledger checks again before it cuts.
 */
bool event_placeholder_is_at(struct slice body, size_t offset);

#endif
