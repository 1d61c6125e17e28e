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
        return refuse(no, 400, "query-unknown", "no such query parameter here: only after= and limit= of lists, and all= of role bindings");
    if ((*seen & 1u << which) != 0)
        return refuse(no, 400, "query-repeated", "%s= is given twice", known[which]);
    *seen |= 1u << which;
    if (which == 2) {
        call->all = strcmp(value, "true") == 0;
        return call->all || strcmp(value, "false") == 0 || refuse(no, 400, "query-boolean", "all= is neither true nor false");
    }
    if (!http_number(slice_text(value), &v) || v > INT64_MAX)
        return refuse(no, 400, "query-number", "%s= is not a number", known[which]);
    if (which == 1 && (v == 0 || v > API_LIMIT_MAX))
        return refuse(no, 400, "query-limit", "limit= is not between 1 and %d", API_LIMIT_MAX);
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
            return refuse(no, 400, "query-unknown", "no such query parameter here: only after= and limit= of lists");
        if (!read_parameter(name, value, &seen, call, no))
            return false;
    }
    return got == 0 || refuse(no, 400, "query-malformed", "RFC 3986 3.4: malformed query (name=value&name=value)");
}

static bool refuse_method(const struct route *row, struct api_refusal *no)
{
    refuse(no, 405, "method", "RFC 9110 15.5.6: this resource does not take that method");
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
        return refuse(no, 400, "content", "RFC 9110 9.3.1: GET and HEAD carry no content here");
    if (posts && r->content_length > API_CONTENT_MAX)
        return refuse(no, 413, "too-large", "RFC 9110 15.5.14: content over %d bytes", API_CONTENT_MAX);
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
    return refuse(no, 404, "not-found", "no such resource");
}

/* ---- rights (design: who is who) ---------------------------------------------------------------- */

enum { ANY = API_READER | API_TECHNICAL | API_FUNCTIONAL, OPEN = ~0 };

static const int rights[API_RESOURCES] = {
    [API_CHECK]       = ANY,
    [API_LIVEZ]       = OPEN,
    [API_READYZ]      = OPEN,
    [API_STATUS]      = ANY,
    [API_LOTS]        = ANY,
    [API_LOT]         = API_READER | API_FUNCTIONAL,
    [API_EVENT]       = API_READER,
    [API_EXTRACTIONS] = API_READER,
    [API_EXTRACT]     = API_READER,
    [API_EXTRACTION]  = API_READER,
    [API_SEGMENT]     = API_READER,
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

/* JSON in a form that nobody reads in two ways; NULL with `no`. Owned. */
static json_t *parse(struct slice body, struct api_refusal *no)
{
    json_error_t problem;
    json_t *root;

    if (body.len == 0) {
        refuse(no, 400, "json", "the content is empty");
        return NULL;
    }
    root = json_loadb((const char *)body.at, body.len, JSON_REJECT_DUPLICATES, &problem);
    if (root == NULL)
        refuse(no, 400, "json", "RFC 8259: not JSON at line %d, column %d", problem.line, problem.column);
    return root;
}

static bool check_type(const struct http_request *r, struct api_refusal *no)
{
    struct slice coding;

    if (!is_json(r))
        return refuse(no, 415, "content-type", "RFC 9110 15.5.16: the content must be application/json");
    if (http_field(r, "Content-Encoding", &coding))
        return refuse(no, 415, "content-encoding", "RFC 9110 15.5.16: the content must not be encoded");
    return true;
}

bool api_read_extraction(const struct http_request *r, struct slice body, struct api_call *call, struct api_refusal *no)
{
    json_t *root;
    bool ok;

    if (!check_type(r, no))
        return false;
    root = parse(body, no);
    ok = root != NULL && read_root(root, call, no);
    json_decref(root);
    return ok;
}

bool api_read_content(const struct http_request *r, struct slice body, struct api_call *call, struct api_refusal *no)
{
    struct api_change change;

    if (call->resource == API_EXTRACT)
        return api_read_extraction(r, body, call, no);
    if (call->resource != API_BIND && call->resource != API_REVOKE && call->resource != API_APPROVE && call->resource != API_REFUSE)
        return true;
    if ((body.len != 0 || call->resource != API_APPROVE) && !check_type(r, no))
        return false;
    return api_read_change(call->resource, body, &change, no);
}

/* ---- the content of POST to role bindings (see api.h) ---------------------------------------------- */

static bool read_reason(struct slice text, struct api_change *change, struct api_refusal *no)
{
    struct err e = {0};

    if (!roster_check_reason(text, &e))
        return refuse(no, 400, "reason", "%.150s", e.text);
    if (text.len != 0)
        memcpy(change->reason, text.at, text.len);
    change->reason[text.len] = '\0';
    return true;
}

/* One member; what it is called decides where it goes and how it may look. */
static bool read_member(const char *key, struct slice text, bool binds, struct api_change *change, struct api_refusal *no)
{
    struct err e = {0};
    enum roster_profile profile;

    if (strcmp(key, "reason") == 0)
        return read_reason(text, change, no);
    if (!binds)
        return refuse(no, 400, "member-unknown", "only reason is a known member");
    if (strcmp(key, "profile") == 0) {
        if (!roster_profile_parse(text, &profile))
            return refuse(no, 400, "profile", "profile is depositor, reader, technical or functional");
        snprintf(change->profile, sizeof change->profile, "%s", roster_profile_name(profile));
        return true;
    }
    if (strcmp(key, "cn") == 0)
        return roster_read_name(text, "cn", change->cn, &e) || refuse(no, 400, "cn", "%.150s", e.text);
    if (strcmp(key, "ou") == 0)
        return roster_read_name(text, "ou", change->ou, &e) || refuse(no, 400, "ou", "%.150s", e.text);
    if (strcmp(key, "serial") == 0)
        return roster_read_serial(text, change->serial, &e) || refuse(no, 400, "serial", "%.150s", e.text);
    if (strcmp(key, "san") == 0)
        return roster_read_san(text, change->san, &e) || refuse(no, 400, "san", "%.150s", e.text);
    return refuse(no, 400, "member-unknown", "only profile, cn, ou, serial, san and reason are known members");
}

static bool read_members(json_t *root, enum api_resource resource, struct api_change *change, struct api_refusal *no)
{
    bool binds = resource == API_BIND;
    const char *key;
    json_t *value;

    if (!json_is_object(root))
        return refuse(no, 400, "json-object", "the content is not a JSON object");
    json_object_foreach(root, key, value) {
        if (!json_is_string(value))
            return refuse(no, 400, "member-text", "every member is a text");
        if (!read_member(key, slice_of(json_string_value(value), json_string_length(value)), binds, change, no))
            return false;
    }
    if (binds && (change->profile[0] == '\0' || change->cn[0] == '\0' || json_object_get(root, "ou") == NULL))
        return refuse(no, 400, "member-missing", "profile, cn and ou are required (ou may be empty)");
    if (change->reason[0] == '\0' && resource != API_APPROVE)
        return refuse(no, 400, "reason", "a reason is required: it stays in the history");
    return true;
}

bool api_read_change(enum api_resource resource, struct slice body, struct api_change *change, struct api_refusal *no)
{
    json_t *root;
    bool ok;

    memset(change, 0, sizeof *change);
    if (body.len == 0 && resource == API_APPROVE)
        return true;
    root = parse(body, no);
    ok = root != NULL && read_members(root, resource, change, no);
    json_decref(root);
    return ok;
}
