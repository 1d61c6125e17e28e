/* Conditional requests and ranges, RFC 9110 13 and 14: see http.h. Pure; reads what strangers send. */
#include "exporter/http.h"

#include <strings.h>

static struct slice skip(struct slice s, size_t n)
{
    return slice_of(s.at + n, s.len - n);
}

static struct slice skip_blank(struct slice s)
{
    while (s.len != 0 && (s.at[0] == ' ' || s.at[0] == '\t'))
        s = skip(s, 1);
    return s;
}

/* Takes one entity-tag (RFC 9110 8.8.3). False: none there. */
static bool take_tag(struct slice *rest, struct slice *tag, bool *weak)
{
    const uint8_t *close;

    *weak = rest->len >= 2 && rest->at[0] == 'W' && rest->at[1] == '/';
    if (*weak)
        *rest = skip(*rest, 2);
    if (rest->len < 2 || rest->at[0] != '"')
        return false;
    close = memchr(rest->at + 1, '"', rest->len - 1);
    if (close == NULL)
        return false;
    *tag = slice_of(rest->at, (size_t)(close - rest->at) + 1);
    *rest = skip(*rest, tag->len);
    return true;
}

/* Whether one field value, "*" or a list of tags, matches. Strong comparison refuses weak tags (8.8.3.2). */
static bool list_matches(struct slice rest, const char *etag, bool strong)
{
    if (slice_is(rest, "*"))
        return true;
    for (;;) {
        struct slice tag;
        bool weak;

        rest = skip_blank(rest);
        if (!take_tag(&rest, &tag, &weak))
            return false;
        if (slice_is(tag, etag) && !(strong && weak))
            return true;
        rest = skip_blank(rest);
        if (rest.len == 0 || rest.at[0] != ',')
            return false;
        rest = skip(rest, 1);
    }
}

/* Over all field lines of that name; `*present` says whether there was any. */
static bool any_matches(const struct http_request *r, const char *name, const char *etag, bool strong, bool *present)
{
    bool matches = false;

    *present = false;
    for (unsigned i = 0; i < r->field_count; i++)
        if (r->fields[i].name.len == strlen(name) &&
            strncasecmp((const char *)r->fields[i].name.at, name, strlen(name)) == 0) {
            *present = true;
            matches = matches || list_matches(r->fields[i].value, etag, strong);
        }
    return matches;
}

static bool digits(struct slice s, uint64_t *v)
{
    /* Leading zeros are allowed in positions (1*DIGIT); so are absurd numbers, which mean "past the end". */
    while (s.len > 1 && s.at[0] == '0')
        s = skip(s, 1);
    for (size_t i = 0; i < s.len; i++)
        if (s.at[i] < '0' || s.at[i] > '9')
            return false;
    if (s.len == 0)
        return false;
    if (!http_number(s, v))
        *v = UINT64_MAX;
    return true;
}

/* One byte range (14.1.2). HTTP_WHOLE: to be ignored. */
static enum http_outcome read_range(struct slice s, uint64_t length, struct http_span *span)
{
    const uint8_t *dash;
    uint64_t first, last;
    struct slice after;

    if (s.len < 6 || strncasecmp((const char *)s.at, "bytes=", 6) != 0)
        return HTTP_WHOLE;
    s = skip_blank(skip(s, 6));
    dash = s.len == 0 ? NULL : memchr(s.at, '-', s.len);
    if (dash == NULL || memchr(s.at, ',', s.len) != NULL)
        return HTTP_WHOLE;
    after = slice_of(dash + 1, s.len - (size_t)(dash - s.at) - 1);
    if (dash == s.at) { /* the last n bytes */
        if (!digits(after, &last))
            return HTTP_WHOLE;
        if (last == 0 || length == 0)
            return HTTP_UNSATISFIABLE;
        span->length = last < length ? last : length;
        span->first = length - span->length;
        return HTTP_PART;
    }
    if (!digits(slice_of(s.at, (size_t)(dash - s.at)), &first))
        return HTTP_WHOLE;
    last = UINT64_MAX;
    if (after.len != 0 && (!digits(after, &last) || last < first))
        return HTTP_WHOLE;
    if (first >= length)
        return HTTP_UNSATISFIABLE;
    span->first = first;
    span->length = (last < length - 1 ? last : length - 1) - first + 1;
    return HTTP_PART;
}

enum http_outcome http_evaluate(const struct http_request *r, const char *etag, uint64_t length, struct http_span *span)
{
    struct slice value, tag;
    bool present, matches, weak;

    *span = (struct http_span){0, length};
    matches = any_matches(r, "If-Match", etag, true, &present);
    if (present && !matches)
        return HTTP_FAILED;
    if (any_matches(r, "If-None-Match", etag, false, &present))
        return HTTP_UNCHANGED;
    if (r->method != HTTP_GET || !http_field(r, "Range", &value))
        return HTTP_WHOLE;
    if (http_field(r, "If-Range", &tag)) {
        struct slice rest = tag;

        /* A date never matches: nothing here has a Last-Modified (13.1.5). */
        if (!take_tag(&rest, &tag, &weak) || weak || rest.len != 0 || !slice_is(tag, etag))
            return HTTP_WHOLE;
    }
    return read_range(value, length, span);
}
