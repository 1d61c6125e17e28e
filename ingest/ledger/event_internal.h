/* What event.c, event_xml.c and event_schema.c share; nobody else includes it. */
#ifndef COFFRE_INGEST_EVENT_INTERNAL_H
#define COFFRE_INGEST_EVENT_INTERNAL_H

#include <libxml/parser.h>

#include "ingest/ledger/event.h"

/* The header's elements that matter, long or short name. */
enum event_field { EVENT_NO_FIELD, EVENT_OPERATOR, EVENT_VAULT, EVENT_ID, EVENT_FIELDS };

enum {
    EVENT_VALUE_MAX = 64, /* bytes kept of a header field's text */
    EVENT_DEPTH_MAX = 256 /* largest limit of depth */
};

/* A start or end tag as the parser tells it; an end has no attributes. */
struct event_tag {
    const xmlChar *name, *prefix, *uri;
    int name_spaces;
    const xmlChar **declared;
    int attributes, defaulted;
    const xmlChar **values;
};

struct event_checker {
    struct event_limits limits;
    struct digester *digester; /* owned */
    xmlParserCtxtPtr xml;      /* owned; reused, renewed when its dictionary has grown */
    struct buf text;           /* the event being read, and a zero byte */
    /* Of the event being read: */
    struct event_verdict *verdict;
    unsigned depth;
    enum event_field field; /* the header element the parser is in, directly under the root */
    unsigned seen[EVENT_FIELDS];
    char value[EVENT_VALUE_MAX];
    size_t value_len;       /* may be more than fits: then it cannot match */
    bool has_element;       /* the field has an element inside */
    unsigned placeholders;  /* comments SAFE_ID, anywhere */
    unsigned name_spaces;   /* declared so far */
    size_t placeholder_end; /* offset behind the one in its place; 0: none */
    /* Of the schemas, and of the event being compared with one: */
    struct event_schemas schemas;         /* owned */
    struct schema *schema;                /* comparing; NULL: none, or done */
    bool spared;                          /* nothing is compared */
    bool (*in_time)(void *ctx);           /* NULL: takes what it takes */
    void *in_time_ctx;
    enum event_fit fit;
    bool short_names;                     /* the header has short codes */
    const xmlChar *path[EVENT_DEPTH_MAX]; /* names of the elements open while comparing; the parser's */
    char remark[EVENT_REASON_MAX];
    struct err trouble;                   /* the library's, which ends the judgement */
};

/* Records the first reason; returns false. */
bool event_refuse(struct event_verdict *v, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Bytes from the start that are UTF-8: s.len when all are. */
size_t event_utf8_length(struct slice s);

MUST_CHECK bool event_xml_open(struct event_checker *c, struct err *e);
void event_xml_close(struct event_checker *c);
/* Judges the body; false and ERR_FATAL only when the library failed. */
MUST_CHECK bool event_xml_check(struct event_checker *c, struct slice body, struct event_verdict *v, struct err *e);

/* event_schema.c. At the root, with its name and name space; false when the library failed (c->trouble). While c->schema is not NULL: */
MUST_CHECK bool event_schema_begin(struct event_checker *c, const char *name, const char *name_space);
void event_schema_start(struct event_checker *c, const struct event_tag *t); /* c->depth counts the element */
void event_schema_end(struct event_checker *c, const struct event_tag *t);
void event_schema_text(struct event_checker *c, struct slice text);
void event_schema_placeholder(struct event_checker *c);
/* Behind the root, or wherever reading ended; a valid verdict is completed as the policy says. */
void event_schema_finish(struct event_checker *c, struct event_verdict *v);

#endif
