/*
 * What front and query, and front and admin, say to each other (PROTOCOL.md, "Channels of coffre-exporter"): both directions' encoders and
 * decoders, so that they cannot drift apart. A decoder checks everything: the sibling is not trusted.
 */
#ifndef COFFRE_EXPORTER_ASK_H
#define COFFRE_EXPORTER_ASK_H

#include "common/system/channel.h"
#include "exporter/api.h"

enum ask_type {
    ASK_ROSTER = 1,  /* query → front, see PROTOCOL.md */
    ASK_QUESTION,    /* front → query, front → admin (see api_is_admin()) */
    ASK_READ,        /* front → query: send this span of a streamed answer */
    ASK_CREDIT,      /* front → query: so many bytes more may be sent */
    ASK_DROP,        /* front → query: no longer wanted */
    ASK_ANSWER,      /* query or admin → front: the head of an answer, and its content when that is short */
    ASK_DATA,        /* query → front: content of a streamed answer */
    ASK_BROKEN,      /* query → front: a streamed answer cannot go on */
    ASK_STATE,       /* query or admin → front: whether PostgreSQL is there */
    ASK_HEALTH = 20, /* query → front: a struct health, items hsm and clock */
};

enum {
    ASK_CHUNK = 64 * 1024,       /* content in one DATA, bytes */
    ASK_WINDOW = 256 * 1024,     /* credit a front gives a stream, bytes */
    ASK_SHORT_MAX = 1024 * 1024, /* content in an ANSWER, bytes */
    ASK_STREAMS_MAX = 64,       /* answers one query keeps open */
    ASK_TEXT_MAX = 256,
    ASK_ISSUER_MAX = 1024,      /* bytes of an issuer's name */
    ASK_ADDRESS_MAX = 64,
};

/* Who asks, as his certificate says. All borrowed; a decoder lets no control characters through. */
struct ask_client {
    struct slice cn, ou;
    struct slice serial;  /* upper-case hexadecimal without leading zeros, as in struct tls_subject */
    struct slice issuer;  /* RFC 2253; with `serial` it names the certificate */
    struct slice address; /* numeric, without port */
};

struct ask_question {
    uint32_t request;   /* unique in this front */
    struct api_call call;
    unsigned profiles;   /* who asks holds: bits of enum api_profile */
    struct slice reader; /* "CN=…, OU=…" of the certificate */
    struct ask_client client;
    struct slice content; /* of API_OPERATE and of a POST to `admin`, as received and already read once by api_read_content(); else empty */
};

struct ask_answer {
    uint32_t request;
    uint16_t status;
    bool streamed;      /* content comes with DATA, after READ */
    uint64_t length;    /* of the whole content */
    char type[ASK_TEXT_MAX];     /* Content-Type */
    char etag[ASK_TEXT_MAX];     /* quoted; "" : none */
    char file[ASK_TEXT_MAX];     /* file name offered; "": none */
    char location[ASK_TEXT_MAX]; /* Location; "": none */
    struct slice content;        /* when not streamed; borrowed */
};

struct ask_span {
    uint32_t request;
    uint64_t first, length;
    uint32_t credit;
};

MUST_CHECK bool ask_send_question(struct channel *c, const struct ask_question *q, struct err *e);
MUST_CHECK bool ask_send_span(struct channel *c, const struct ask_span *s, struct err *e);
/* CREDIT (bytes), DROP (0). */
MUST_CHECK bool ask_send_number(struct channel *c, enum ask_type type, uint32_t request, uint32_t number, struct err *e);
MUST_CHECK bool ask_send_answer(struct channel *c, const struct ask_answer *a, struct err *e);
/* DATA: content; BROKEN: reason. */
MUST_CHECK bool ask_send_content(struct channel *c, enum ask_type type, uint32_t request, struct slice content, struct err *e);
MUST_CHECK bool ask_send_state(struct channel *c, bool available, const char *reason, struct err *e);

/* Each reads one body; ERR_INPUT when it is not one. Slices are borrowed from the body. */
MUST_CHECK bool ask_read_question(struct slice body, struct ask_question *q, struct err *e);
MUST_CHECK bool ask_read_span(struct slice body, struct ask_span *s, struct err *e);
MUST_CHECK bool ask_read_number(struct slice body, uint32_t *request, uint32_t *number, struct err *e);
MUST_CHECK bool ask_read_answer(struct slice body, struct ask_answer *a, struct err *e);
MUST_CHECK bool ask_read_content(struct slice body, uint32_t *request, struct slice *content, struct err *e);
MUST_CHECK bool ask_read_state(struct slice body, bool *available, struct slice *reason, struct err *e);

#endif
