/* Routes and rights of the HTTP interface: see api.h. Pure; reads what strangers send. */
#include "exporter/api.h"

#include <stdio.h>

#include "exporter/api_internal.h"

bool api_refuse(struct api_refusal *no, unsigned status, const char *code, const char *fmt, ...)
{
    va_list ap;

    no->status = status;
    no->code = code;
    no->allow = NULL;
    va_start(ap, fmt);
    vsnprintf(no->reason, sizeof no->reason, fmt, ap);
    va_end(ap);
    return false;
}

/* ---- routes ---------------------------------------------------------------------------------- */

enum { NONE = -1 };

/* '#' stands for a number. `get` takes HEAD too. */
static const struct route {
    const char *pattern;
    int get, post; /* enum api_resource, or NONE */
    bool lists;    /* GET takes after= and limit= */
} routes[] = {
    {"/check", API_CHECK, NONE, false},
    {"/livez", API_LIVEZ, NONE, false},
    {"/readyz", API_READYZ, NONE, false},
    {"/v1/status", API_STATUS, NONE, false},
    {"/v1/lots", API_LOTS, NONE, true},
    {"/v1/lots/#", API_LOT, NONE, false},
    {"/v1/events/#", API_EVENT, NONE, false},
    {"/v1/extractions", API_EXTRACTIONS, API_EXTRACT, true},
    {"/v1/extractions/#", API_EXTRACTION, NONE, false},
    {"/v1/extractions/#/segments/#", API_SEGMENT, NONE, false},
    {"/v1/metrics", API_METRICS, NONE, false},
    {"/v1/operations", API_OPERATIONS, API_OPERATE, true},
    {"/v1/operations/#", API_OPERATION, NONE, false},
    {"/v1/admin/roles", API_ROLES, API_BIND, true},
    {"/v1/admin/roles/#/revocation", NONE, API_REVOKE, false},
    {"/v1/admin/changes", API_CHANGES, NONE, true},
    {"/v1/admin/changes/#", API_CHANGE, NONE, false},
    {"/v1/admin/changes/#/approval", NONE, API_APPROVE, false},
    {"/v1/admin/changes/#/refusal", NONE, API_REFUSE, false},
};

/* Numbers in paths: natural, without leading zero, and within PostgreSQL's bigint. */
static bool path_number(const char **at, uint64_t *v)
{
    size_t len = strcspn(*at, "/");

    if (!http_number(slice_of(*at, len), v) || *v == 0 || *v > INT64_MAX)
        return false;
    *at += len;
    return true;
}

static bool matches(const char *pattern, const char *path, uint64_t numbers[2])
{
    unsigned n = 0;

    for (; *pattern != '\0'; pattern++)
        if (*pattern == '#') {
            if (!path_number(&path, &numbers[n++]))
                return false;
        } else if (*path++ != *pattern) {
            return false;
        }
    return *path == '\0';
}

/* A parameter of a list; `seen` has a bit for each one that was there. */
static bool read_parameter(const char *name, const char *value, unsigned *seen, struct api_call *call, struct api_refusal *no)
{
    static const char *const known[] = {"after", "limit", "all"};
    unsigned which = 0;
    uint64_t v = 0;

    while (which < 3 && strcmp(name, known[which]) != 0)
        which++;
    if (which == 3 || (which == 2 && call->resource != API_ROLES))
        return api_refuse(no, 400, "query-unknown", "no such query parameter here: only after= and limit= of lists, and all= of role bindings");
    if ((*seen & 1u << which) != 0)
        return api_refuse(no, 400, "query-repeated", "%s= is given twice", known[which]);
    *seen |= 1u << which;
    if (which == 2) {
        call->all = strcmp(value, "true") == 0;
        return call->all || strcmp(value, "false") == 0 || api_refuse(no, 400, "query-boolean", "all= is neither true nor false");
    }
    if (!http_number(slice_text(value), &v) || v > INT64_MAX)
        return api_refuse(no, 400, "query-number", "%s= is not a number", known[which]);
    if (which == 1 && (v == 0 || v > API_LIMIT_MAX))
        return api_refuse(no, 400, "query-limit", "limit= is not between 1 and %d", API_LIMIT_MAX);
    if (which == 0)
        call->a = v;
    else
        call->limit = (uint32_t)v;
    return true;
}

static bool read_query(struct slice rest, bool lists, struct api_call *call, struct api_refusal *no)
{
    char name[32], value[64];
    unsigned seen = 0;
    int got;

    while ((got = http_query_next(&rest, name, sizeof name, value, sizeof value)) == 1) {
        if (!lists)
            return api_refuse(no, 400, "query-unknown", "no such query parameter here: only after= and limit= of lists");
        if (!read_parameter(name, value, &seen, call, no))
            return false;
    }
    return got == 0 || api_refuse(no, 400, "query-malformed", "RFC 3986 3.4: malformed query (name=value&name=value)");
}

static bool refuse_method(const struct route *row, struct api_refusal *no)
{
    api_refuse(no, 405, "method", "RFC 9110 15.5.6: this resource does not take that method");
    no->allow = row->post == NONE ? "GET, HEAD" : row->get == NONE ? "POST" : "GET, HEAD, POST";
    return false;
}

static bool take_route(const struct route *row, const struct http_request *r, struct api_call *call,
                       struct api_refusal *no)
{
    bool posts = r->method == HTTP_POST;
    int resource = posts ? row->post : r->method == HTTP_GET || r->method == HTTP_HEAD ? row->get : NONE;

    if (resource == NONE)
        return refuse_method(row, no);
    call->resource = (enum api_resource)resource;
    call->limit = API_LIMIT_DEFAULT;
    if (!posts && r->content_length != 0)
        return api_refuse(no, 400, "content", "RFC 9110 9.3.1: GET and HEAD carry no content here");
    if (posts && r->content_length > API_CONTENT_MAX)
        return api_refuse(no, 413, "too-large", "RFC 9110 15.5.14: content over %d bytes", API_CONTENT_MAX);
    return read_query(r->query, !posts && row->lists, call, no);
}

bool api_route(const struct http_request *r, struct api_call *call, struct api_refusal *no)
{
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        uint64_t numbers[2] = {0, 0};

        if (!matches(routes[i].pattern, r->path, numbers))
            continue;
        memset(call, 0, sizeof *call);
        call->a = numbers[0];
        call->b = numbers[1];
        return take_route(&routes[i], r, call, no);
    }
    return api_refuse(no, 404, "not-found", "no such resource");
}

/* ---- rights (design: who is who) ---------------------------------------------------------------- */

enum { OPEN = ~0 };

static const int rights[API_RESOURCES] = {
    [API_CHECK]       = API_ANY,
    [API_LIVEZ]       = OPEN,
    [API_READYZ]      = OPEN,
    [API_STATUS]      = API_ANY,
    [API_LOTS]        = API_ANY,
    [API_LOT]         = API_READER | API_FUNCTIONAL,
    [API_EVENT]       = API_READER,
    [API_EXTRACTIONS] = API_READER,
    [API_EXTRACT]     = API_READER,
    [API_EXTRACTION]  = API_READER,
    [API_SEGMENT]     = API_READER,
    [API_METRICS]     = API_TECHNICAL,
    [API_OPERATIONS]  = API_TECHNICAL,
    [API_OPERATE]     = API_TECHNICAL,
    [API_OPERATION]   = API_TECHNICAL,
    [API_ROLES]       = API_FUNCTIONAL,
    [API_BIND]        = API_FUNCTIONAL,
    [API_REVOKE]      = API_FUNCTIONAL,
    [API_CHANGES]     = API_FUNCTIONAL,
    [API_CHANGE]      = API_FUNCTIONAL,
    [API_APPROVE]     = API_FUNCTIONAL,
    [API_REFUSE]      = API_FUNCTIONAL,
};

bool api_is_open(enum api_resource resource)
{
    return rights[resource] == OPEN;
}

bool api_is_admin(enum api_resource resource)
{
    return resource >= API_ROLES;
}

bool api_allowed(enum api_resource resource, unsigned profiles)
{
    return api_is_open(resource) || ((unsigned)rights[resource] & profiles) != 0;
}
