/* Routes, rights and requests of the HTTP interface: see api.h. Pure; reads what strangers send. */
#include "exporter/api.h"

#include <stdio.h>
#include <strings.h>

#include <jansson.h>

static bool refuse(struct api_refusal *no, unsigned status, const char *code, const char *fmt, ...) PRINTF_LIKE(4, 5);
static bool refuse(struct api_refusal *no, unsigned status, const char *code, const char *fmt, ...)
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

/* '#' stands for a number. A row without POST takes GET and HEAD. */
static const struct route {
    const char *pattern;
    enum api_resource get;
    bool posts; /* POST is API_EXTRACT */
    bool lists; /* takes after= and limit= */
} routes[] = {
    {"/check", API_CHECK, false, false},
    {"/livez", API_LIVEZ, false, false},
    {"/readyz", API_READYZ, false, false},
    {"/v1/status", API_STATUS, false, false},
    {"/v1/lots", API_LOTS, false, true},
    {"/v1/lots/#", API_LOT, false, false},
    {"/v1/events/#", API_EVENT, false, false},
    {"/v1/extractions", API_EXTRACTIONS, true, true},
    {"/v1/extractions/#", API_EXTRACTION, false, false},
    {"/v1/extractions/#/segments/#", API_SEGMENT, false, false},
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

static bool read_query(struct slice rest, bool lists, struct api_call *call, struct api_refusal *no)
{
    char name[32], value[64];
    bool seen_after = false, seen_limit = false;
    uint64_t v;
    int got;

    while ((got = http_query_next(&rest, name, sizeof name, value, sizeof value)) == 1) {
        bool after = strcmp(name, "after") == 0, limit = strcmp(name, "limit") == 0;

        if (!lists || !(after || limit))
            return refuse(no, 400, "query-unknown", "no such query parameter here: only after= and limit= of lists");
        if ((after && seen_after) || (limit && seen_limit))
            return refuse(no, 400, "query-repeated", "%s= is given twice", name);
        if (!http_number(slice_text(value), &v) || v > INT64_MAX)
            return refuse(no, 400, "query-number", "%s= is not a number", name);
        if (limit && (v == 0 || v > API_LIMIT_MAX))
            return refuse(no, 400, "query-limit", "limit= is not between 1 and %d", API_LIMIT_MAX);
        seen_after = seen_after || after;
        seen_limit = seen_limit || limit;
        if (after)
            call->a = v;
        else
            call->limit = (uint32_t)v;
    }
    return got == 0 || refuse(no, 400, "query-malformed", "RFC 3986 3.4: malformed query (name=value&name=value)");
}

static bool take_route(const struct route *row, const struct http_request *r, struct api_call *call,
                       struct api_refusal *no)
{
    call->resource = row->get;
    call->limit = API_LIMIT_DEFAULT;
    if (r->method == HTTP_POST && row->posts) {
        call->resource = API_EXTRACT;
        return read_query(r->query, false, call, no);
    }
    if (r->method != HTTP_GET && r->method != HTTP_HEAD) {
        refuse(no, 405, "method", "RFC 9110 15.5.6: this resource does not take that method");
        no->allow = row->posts ? "GET, HEAD, POST" : "GET, HEAD";
        return false;
    }
    if (r->content_length != 0)
        return refuse(no, 400, "content", "RFC 9110 9.3.1: GET and HEAD carry no content here");
    return read_query(r->query, row->lists, call, no);
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
    return refuse(no, 404, "not-found", "no such resource");
}

/* ---- rights (design: who is who) ---------------------------------------------------------------- */

bool api_is_open(enum api_resource resource)
{
    return resource == API_LIVEZ || resource == API_READYZ;
}

bool api_allowed(enum api_resource resource, unsigned profiles)
{
    switch (resource) {
    case API_LIVEZ:
    case API_READYZ:
        return true;
    case API_CHECK:
    case API_STATUS:
    case API_LOTS:
        return (profiles & (API_READER | API_TECHNICAL | API_FUNCTIONAL)) != 0;
    case API_LOT:
        return (profiles & (API_READER | API_FUNCTIONAL)) != 0;
    case API_EVENT:
    case API_EXTRACTIONS:
    case API_EXTRACT:
    case API_EXTRACTION:
    case API_SEGMENT:
        return (profiles & API_READER) != 0;
    }
    return false;
}

/* ---- the body of POST /v1/extractions ------------------------------------------------------------ */

/* Exactly these digits and signs; '0' stands for a digit. */
static bool looks_like(const char *text, const char *shape)
{
    for (; *shape != '\0'; shape++, text++)
        if (*shape == '0' ? *text < '0' || *text > '9' : *text != *shape)
            return false;
    return *text == '\0';
}

static int64_t days_since_1970(int64_t year, unsigned month, unsigned day)
{
    /* Counting years from March puts the leap day last. */
    int64_t y = month <= 2 ? year - 1 : year;
    unsigned from_march = (month + 9) % 12, day_of_year = (153 * from_march + 2) / 5 + day - 1;

    return y * 365 + y / 4 - y / 100 + y / 400 + day_of_year - 719468;
}

bool api_read_date(const char *text, uint64_t *ms)
{
    static const unsigned lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    unsigned year, month, day, hour, minute, second, thousandths = 0;
    bool decimals = looks_like(text, "0000-00-00T00:00:00.000Z"), leap;

    if (!decimals && !looks_like(text, "0000-00-00T00:00:00Z"))
        return false;
    if (sscanf(text, "%4u-%2u-%2uT%2u:%2u:%2u", &year, &month, &day, &hour, &minute, &second) != 6 ||
        (decimals && sscanf(text + 20, "%3u", &thousandths) != 1))
        return false;
    leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (year < 1970 || month < 1 || month > 12 || day < 1 ||
        day > lengths[month - 1] + (month == 2 && leap ? 1 : 0) || hour > 23 || minute > 59 || second > 59)
        return false;
    *ms = (uint64_t)(days_since_1970(year, month, day) * 86400 + hour * 3600 + minute * 60 + second) * 1000 + thousandths;
    return true;
}

static bool read_bound(const json_t *object, const char *what, const char *key, enum api_range range, uint64_t *v,
                       struct api_refusal *no)
{
    const json_t *value = json_object_get(object, key);

    if (value == NULL)
        return refuse(no, 400, "range-bound", "%s.%s is missing", what, key);
    if (range == API_BY_DATE) {
        if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value) ||
            !api_read_date(json_string_value(value), v))
            return refuse(no, 400, "range-date", "%s.%s is not a UTC date such as 2026-01-31T00:00:00Z", what, key);
        return true;
    }
    if (!json_is_integer(value) || json_integer_value(value) < 1)
        return refuse(no, 400, "range-number", "%s.%s is not a natural number from 1", what, key);
    *v = (uint64_t)json_integer_value(value);
    return true;
}

static bool read_range(const json_t *object, const char *what, enum api_range range, struct api_call *call,
                       struct api_refusal *no)
{
    const char *first = range == API_BY_DATE ? "from" : "first", *last = range == API_BY_DATE ? "to" : "last";

    if (call->range != 0)
        return refuse(no, 400, "range-several", "one of serials, lots, dates, not several");
    call->range = range;
    if (!json_is_object(object))
        return refuse(no, 400, "range-object", "%s is not an object", what);
    if (!read_bound(object, what, first, range, &call->a, no) || !read_bound(object, what, last, range, &call->b, no))
        return false;
    if (json_object_size(object) != 2)
        return refuse(no, 400, "range-unknown", "%s holds something beside %s and %s", what, first, last);
    if (call->b < call->a || (range == API_BY_DATE && call->b == call->a))
        return refuse(no, 400, "range-empty", "%s.%s is before %s.%s", what, last, what, first);
    return true;
}

static bool read_root(json_t *root, struct api_call *call, struct api_refusal *no)
{
    const char *key;
    json_t *value;

    if (!json_is_object(root))
        return refuse(no, 400, "json-object", "the content is not a JSON object");
    call->range = 0;
    call->overlap = true;
    json_object_foreach(root, key, value) {
        if (strcmp(key, "serials") == 0) {
            if (!read_range(value, "serials", API_BY_SERIAL, call, no))
                return false;
        } else if (strcmp(key, "lots") == 0) {
            if (!read_range(value, "lots", API_BY_LOT, call, no))
                return false;
        } else if (strcmp(key, "dates") == 0) {
            if (!read_range(value, "dates", API_BY_DATE, call, no))
                return false;
        } else if (strcmp(key, "overlap") == 0 && json_is_boolean(value)) {
            call->overlap = json_is_true(value);
        } else if (strcmp(key, "overlap") == 0) {
            return refuse(no, 400, "overlap", "overlap is neither true nor false");
        } else {
            return refuse(no, 400, "member-unknown", "only serials, lots, dates and overlap are known members");
        }
    }
    return call->range != 0 || refuse(no, 400, "range-missing", "one of serials, lots, dates is required");
}

static bool is_json(const struct http_request *r)
{
    static const char type[] = "application/json";
    struct slice value;

    if (!http_field(r, "Content-Type", &value) || value.len < sizeof type - 1 ||
        strncasecmp((const char *)value.at, type, sizeof type - 1) != 0)
        return false;
    return value.len == sizeof type - 1 || value.at[sizeof type - 1] == ';' || value.at[sizeof type - 1] == ' ';
}

bool api_read_extraction(const struct http_request *r, struct slice body, struct api_call *call, struct api_refusal *no)
{
    json_error_t problem;
    struct slice coding;
    json_t *root;
    bool ok;

    if (!is_json(r))
        return refuse(no, 415, "content-type", "RFC 9110 15.5.16: the content must be application/json");
    if (http_field(r, "Content-Encoding", &coding))
        return refuse(no, 415, "content-encoding", "RFC 9110 15.5.16: the content must not be encoded");
    if (body.len == 0)
        return refuse(no, 400, "json", "the content is empty");
    root = json_loadb((const char *)body.at, body.len, JSON_REJECT_DUPLICATES, &problem);
    if (root == NULL)
        return refuse(no, 400, "json", "RFC 8259: not JSON at line %d, column %d", problem.line, problem.column);
    ok = read_root(root, call, no);
    json_decref(root);
    return ok;
}
