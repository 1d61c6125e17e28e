/*
 * The exporter's HTTP interface as rules: which path is which resource, who may read it, and what the body of
 * POST /v1/extractions means. Pure: a request in, a call or a refusal with its status out.
 */
#ifndef COFFRE_EXPORTER_API_H
#define COFFRE_EXPORTER_API_H

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
};

enum api_range { API_BY_SERIAL = 1, API_BY_LOT = 2, API_BY_DATE = 3 };

/* Profiles as a certificate's bindings: an OR. The numbers are those of ROSTER (PROTOCOL.md), as bits. */
enum api_profile { API_READER = 1 << 2, API_TECHNICAL = 1 << 3, API_FUNCTIONAL = 1 << 4 };

enum { API_LIMIT_DEFAULT = 100, API_LIMIT_MAX = 1000 };

struct api_call {
    enum api_resource resource;
    uint64_t a, b;        /* numbers of the path; `after` of a list; bounds of a range (of dates: ms, b excluded) */
    uint32_t limit;       /* of lists */
    enum api_range range; /* API_EXTRACT */
    bool overlap;         /* API_EXTRACT: also the lot before */
};

/* What is answered instead: a status, a stable word for programs, a sentence for people. */
struct api_refusal {
    unsigned status;
    const char *code;
    char reason[HTTP_REASON_MAX];
    const char *allow; /* with 405: the methods there are */
};

/* Finds the resource and reads path and query. The body of API_EXTRACT is read by api_read_extraction(). */
MUST_CHECK bool api_route(const struct http_request *r, struct api_call *call, struct api_refusal *no);

/* True when one of these profiles may use the resource. Liveness and readiness need none. */
bool api_allowed(enum api_resource resource, unsigned profiles);
bool api_is_open(enum api_resource resource);

/*
 * {"serials":{"first":1,"last":9}} or {"lots":{…}} or {"dates":{"from":"2026-01-31T00:00:00Z","to":"…"}} (the time of
 * sealing, `to` excluded), and "overlap": true or false (default true). Anything else is refused, saying where.
 */
MUST_CHECK bool api_read_extraction(const struct http_request *r, struct slice body, struct api_call *call,
                                    struct api_refusal *no);

/* "2026-01-31T12:00:00Z", with or without three decimals; UTC only (RFC 3339 5.6). ms since 1970. */
MUST_CHECK bool api_read_date(const char *text, uint64_t *ms);

#endif
