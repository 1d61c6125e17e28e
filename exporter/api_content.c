/* What the content of a POST says: see api.h. Pure; reads what strangers send. */
#include <stdio.h>
#include <strings.h>

#include <jansson.h>

#include "exporter/api_internal.h"

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
        return api_refuse(no, 400, "range-bound", "%s.%s is missing", what, key);
    if (range == API_BY_DATE) {
        if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value) ||
            !api_read_date(json_string_value(value), v))
            return api_refuse(no, 400, "range-date", "%s.%s is not a UTC date such as 2026-01-31T00:00:00Z", what, key);
        return true;
    }
    if (!json_is_integer(value) || json_integer_value(value) < 1)
        return api_refuse(no, 400, "range-number", "%s.%s is not a natural number from 1", what, key);
    *v = (uint64_t)json_integer_value(value);
    return true;
}

static bool read_range(const json_t *object, const char *what, enum api_range range, struct api_call *call,
                       struct api_refusal *no)
{
    const char *first = range == API_BY_DATE ? "from" : "first", *last = range == API_BY_DATE ? "to" : "last";

    if (call->range != 0)
        return api_refuse(no, 400, "range-several", "one of serials, lots, dates, not several");
    call->range = range;
    if (!json_is_object(object))
        return api_refuse(no, 400, "range-object", "%s is not an object", what);
    if (!read_bound(object, what, first, range, &call->a, no) || !read_bound(object, what, last, range, &call->b, no))
        return false;
    if (json_object_size(object) != 2)
        return api_refuse(no, 400, "range-unknown", "%s holds something beside %s and %s", what, first, last);
    if (call->b < call->a || (range == API_BY_DATE && call->b == call->a))
        return api_refuse(no, 400, "range-empty", "%s.%s is before %s.%s", what, last, what, first);
    return true;
}

static bool read_root(json_t *root, struct api_call *call, struct api_refusal *no)
{
    const char *key;
    json_t *value;

    if (!json_is_object(root))
        return api_refuse(no, 400, "json-object", "the content is not a JSON object");
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
            return api_refuse(no, 400, "overlap", "overlap is neither true nor false");
        } else {
            return api_refuse(no, 400, "member-unknown", "only serials, lots, dates and overlap are known members");
        }
    }
    return call->range != 0 || api_refuse(no, 400, "range-missing", "one of serials, lots, dates is required");
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
        api_refuse(no, 400, "json", "the content is empty");
        return NULL;
    }
    root = json_loadb((const char *)body.at, body.len, JSON_REJECT_DUPLICATES, &problem);
    if (root == NULL)
        api_refuse(no, 400, "json", "RFC 8259: not JSON at line %d, column %d", problem.line, problem.column);
    return root;
}

static bool check_type(const struct http_request *r, struct api_refusal *no)
{
    struct slice coding;

    if (!is_json(r))
        return api_refuse(no, 415, "content-type", "RFC 9110 15.5.16: the content must be application/json");
    if (http_field(r, "Content-Encoding", &coding))
        return api_refuse(no, 415, "content-encoding", "RFC 9110 15.5.16: the content must not be encoded");
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
    struct api_operation operation;
    struct api_change change;

    if (call->resource == API_EXTRACT)
        return api_read_extraction(r, body, call, no);
    if (call->resource == API_OPERATE)
        return check_type(r, no) && api_read_operation(body, &operation, no);
    if (call->resource != API_BIND && call->resource != API_REVOKE && call->resource != API_APPROVE && call->resource != API_REFUSE)
        return true;
    if ((body.len != 0 || call->resource != API_APPROVE) && !check_type(r, no))
        return false;
    return api_read_change(call->resource, body, &change, no);
}

/* ---- the content of POST to role bindings (see api.h) ---------------------------------------------- */

static bool read_reason(struct slice text, char out[API_REASON_MAX + 1], struct api_refusal *no)
{
    struct err e = {0};

    if (!roster_check_reason(text, &e))
        return api_refuse(no, 400, "reason", "%.150s", e.text);
    if (text.len != 0)
        memcpy(out, text.at, text.len);
    out[text.len] = '\0';
    return true;
}

/* One member; what it is called decides where it goes and how it may look. */
static bool read_member(const char *key, struct slice text, bool binds, struct api_change *change, struct api_refusal *no)
{
    struct err e = {0};
    enum roster_profile profile;

    if (strcmp(key, "reason") == 0)
        return read_reason(text, change->reason, no);
    if (!binds)
        return api_refuse(no, 400, "member-unknown", "only reason is a known member");
    if (strcmp(key, "profile") == 0) {
        if (!roster_profile_parse(text, &profile))
            return api_refuse(no, 400, "profile", "profile is depositor, reader, technical or functional");
        snprintf(change->profile, sizeof change->profile, "%s", roster_profile_name(profile));
        return true;
    }
    if (strcmp(key, "cn") == 0)
        return roster_read_name(text, "cn", change->cn, &e) || api_refuse(no, 400, "cn", "%.150s", e.text);
    if (strcmp(key, "ou") == 0)
        return roster_read_name(text, "ou", change->ou, &e) || api_refuse(no, 400, "ou", "%.150s", e.text);
    if (strcmp(key, "serial") == 0)
        return roster_read_serial(text, change->serial, &e) || api_refuse(no, 400, "serial", "%.150s", e.text);
    if (strcmp(key, "san") == 0)
        return roster_read_san(text, change->san, &e) || api_refuse(no, 400, "san", "%.150s", e.text);
    return api_refuse(no, 400, "member-unknown", "only profile, cn, ou, serial, san and reason are known members");
}

static bool read_members(json_t *root, enum api_resource resource, struct api_change *change, struct api_refusal *no)
{
    bool binds = resource == API_BIND;
    const char *key;
    json_t *value;

    if (!json_is_object(root))
        return api_refuse(no, 400, "json-object", "the content is not a JSON object");
    json_object_foreach(root, key, value) {
        if (!json_is_string(value))
            return api_refuse(no, 400, "member-text", "every member is a text");
        if (!read_member(key, slice_of(json_string_value(value), json_string_length(value)), binds, change, no))
            return false;
    }
    if (binds && (change->profile[0] == '\0' || change->cn[0] == '\0' || json_object_get(root, "ou") == NULL))
        return api_refuse(no, 400, "member-missing", "profile, cn and ou are required (ou may be empty)");
    if (change->reason[0] == '\0' && resource != API_APPROVE)
        return api_refuse(no, 400, "reason", "a reason is required: it stays in the history");
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

/* ---- the content of POST /v1/operations --------------------------------------------------------------- */

static bool read_operation_name(struct slice text, struct api_operation *operation, struct api_refusal *no)
{
    if (!slice_is(text, "close-lot"))
        return api_refuse(no, 400, "operation", "the operations there are: close-lot");
    operation->name = "close-lot";
    return true;
}

static bool read_key(struct slice text, struct api_operation *operation, struct api_refusal *no)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:-";

    if (text.len == 0 || text.len > API_KEY_MAX)
        return api_refuse(no, 400, "key", "key is not between 1 and %d characters long", API_KEY_MAX);
    for (size_t i = 0; i < text.len; i++)
        if (text.at[i] == '\0' || strchr(allowed, text.at[i]) == NULL)
            return api_refuse(no, 400, "key", "key holds something else than letters, digits, and . _ : -");
    memcpy(operation->key, text.at, text.len);
    operation->key[text.len] = '\0';
    return true;
}

static bool read_operation_member(const char *name, const json_t *value, struct api_operation *operation, struct api_refusal *no)
{
    struct slice text = slice_of(json_string_value(value), json_string_length(value));

    if (!json_is_string(value))
        return api_refuse(no, 400, "member-text", "every member is a text");
    if (strcmp(name, "operation") == 0)
        return read_operation_name(text, operation, no);
    if (strcmp(name, "key") == 0)
        return read_key(text, operation, no);
    if (strcmp(name, "reason") == 0)
        return read_reason(text, operation->reason, no);
    return api_refuse(no, 400, "member-unknown", "only operation, reason and key are known members");
}

static bool read_operation(json_t *root, struct api_operation *operation, struct api_refusal *no)
{
    const char *name;
    json_t *value;

    if (!json_is_object(root))
        return api_refuse(no, 400, "json-object", "the content is not a JSON object");
    json_object_foreach(root, name, value)
        if (!read_operation_member(name, value, operation, no))
            return false;
    if (operation->name == NULL)
        return api_refuse(no, 400, "member-missing", "operation is required");
    if (operation->reason[strspn(operation->reason, " ")] == '\0')
        return api_refuse(no, 400, "reason", "a reason is required: it stays in the history");
    return true;
}

bool api_read_operation(struct slice body, struct api_operation *operation, struct api_refusal *no)
{
    json_t *root;
    bool ok;

    memset(operation, 0, sizeof *operation);
    root = parse(body, no);
    ok = root != NULL && read_operation(root, operation, no);
    json_decref(root);
    return ok;
}
