/*
 * The exporter's HTTP interface as rules: which path is which resource, who may use it, and what the content of a
 * POST means. Pure: a request in, a call or a refusal with its status out. Everything here is a stranger's.
 */
#ifndef COFFRE_EXPORTER_API_H
#define COFFRE_EXPORTER_API_H

#include "common/system/roster.h"
#include "exporter/http.h"

enum api_resource {
    API_CHECK,
    API_LIVEZ,
    API_READYZ,
    API_STATUS,
    API_LOTS,
    API_LOT,
    API_EVENT,
    API_EXTRACTIONS, /* history */
    API_EXTRACT,     /* POST: a new extraction */
    API_EXTRACTION,
    API_SEGMENT,
    API_METRICS,
    API_OPERATIONS, /* history */
    API_OPERATE,    /* POST: a new operation */
    API_OPERATION,
    /* Role bindings: answered by the `admin` role, all others by `query`. */
    API_ROLES,   /* GET /v1/admin/roles */
    API_BIND,    /* POST /v1/admin/roles */
    API_REVOKE,  /* POST /v1/admin/roles/{id}/revocation */
    API_CHANGES, /* GET /v1/admin/changes */
    API_CHANGE,  /* GET /v1/admin/changes/{id} */
    API_APPROVE, /* POST /v1/admin/changes/{id}/approval */
    API_REFUSE,  /* POST /v1/admin/changes/{id}/refusal */
};
enum { API_RESOURCES = API_REFUSE + 1 };

enum api_range { API_BY_SERIAL = 1, API_BY_LOT = 2, API_BY_DATE = 3 };

/* Profiles as a certificate's bindings: an OR. The numbers are those of ROSTER (PROTOCOL.md), as bits. */
enum api_profile { API_READER = 1 << 2, API_TECHNICAL = 1 << 3, API_FUNCTIONAL = 1 << 4, API_ANY = API_READER | API_TECHNICAL | API_FUNCTIONAL };

enum {
    API_LIMIT_DEFAULT = 100,
    API_LIMIT_MAX = 1000,
    API_CONTENT_MAX = 16 * 1024, /* bytes of a POST's content; more is refused with 413 */
    API_REASON_MAX = ROSTER_REASON_MAX, /* bytes of the reason for a change */
    API_KEY_MAX = 64,                   /* bytes of an operation's key */
};

struct api_call {
    enum api_resource resource;
    uint64_t a, b;        /* numbers of the path; `after` of a list; bounds of a range (of dates: ms, b excluded) */
    uint32_t limit;       /* of lists */
    enum api_range range; /* API_EXTRACT */
    bool overlap;         /* API_EXTRACT: also the lot before */
    bool all;             /* API_ROLES: the revoked ones too */
};

/* What is answered instead: a status, a stable word for programs, a sentence for people. */
struct api_refusal {
    unsigned status;
    const char *code;
    char reason[HTTP_REASON_MAX];
    const char *allow; /* with 405: the methods there are */
};

/* Finds the resource and reads path and query. The content of a POST is read by api_read_content(). */
MUST_CHECK bool api_route(const struct http_request *r, struct api_call *call, struct api_refusal *no);

/* True when one of these profiles may use the resource: the table in api.c. Liveness and readiness need none. */
bool api_allowed(enum api_resource resource, unsigned profiles);
bool api_is_open(enum api_resource resource);
/* True for what the `admin` role answers and `query` does not. */
bool api_is_admin(enum api_resource resource);

/* Checks the content of any request, by its resource; of API_EXTRACT the range is put into `call`. Resources without content: always true. */
MUST_CHECK bool api_read_content(const struct http_request *r, struct slice body, struct api_call *call, struct api_refusal *no);

/*
 * {"serials":{"first":1,"last":9}} or {"lots":{…}} or {"dates":{"from":"2026-01-31T00:00:00Z","to":"…"}} (the time of
 * sealing, `to` excluded), and "overlap": true or false (default true). Anything else is refused, saying where.
 */
MUST_CHECK bool api_read_extraction(const struct http_request *r, struct slice body, struct api_call *call,
                                    struct api_refusal *no);

/* What a POST to role bindings says; absent texts are "". Without control characters, serial and SAN in the spelling of ROSTER (PROTOCOL.md). */
struct api_change {
    char profile[16];
    char cn[ROSTER_TEXT_MAX + 1], ou[ROSTER_TEXT_MAX + 1];
    char serial[ROSTER_SERIAL_MAX + 1], san[ROSTER_TEXT_MAX + 1];
    char reason[API_REASON_MAX + 1];
};

/*
 * The content of API_BIND: {"profile":"reader","cn":"…","ou":"…","serial":"0A1B","san":"DNS:…","reason":"…"}, serial and san optional; of API_REVOKE and
 * API_REFUSE: {"reason":"…"}; of API_APPROVE the same or nothing. Anything else is refused, saying what is wrong.
 */
MUST_CHECK bool api_read_change(enum api_resource resource, struct slice body, struct api_change *change, struct api_refusal *no);

/* What a POST to /v1/operations says. Without control characters. */
struct api_operation {
    const char *name;           /* "close-lot"; static */
    char key[API_KEY_MAX + 1];  /* the asker's own name for this request; "": none */
    char reason[API_REASON_MAX + 1];
};

/* {"operation":"close-lot","reason":"…","key":"…"}, key optional: letters, digits, and . _ : - . Anything else is refused, saying what is wrong. */
MUST_CHECK bool api_read_operation(struct slice body, struct api_operation *operation, struct api_refusal *no);

/* "2026-01-31T12:00:00Z", with or without three decimals; UTC only (RFC 3339 5.6). ms since 1970. */
MUST_CHECK bool api_read_date(const char *text, uint64_t *ms);

#endif
