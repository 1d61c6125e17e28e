/* Request heads: see http.h. Pure; reads what strangers send. */
#include "exporter/http.h"

#include <stdio.h>
#include <strings.h>

static enum http_result refuse(struct http_refusal *why, unsigned status, const char *reason)
{
    why->status = status;
    snprintf(why->reason, sizeof why->reason, "%s", reason);
    return HTTP_REFUSED;
}

/* tchar, RFC 9110 5.6.2. */
static bool is_token_char(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool is_token(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!is_token_char(s.at[i]))
            return false;
    return s.len != 0;
}

static bool equals_nocase(struct slice s, const char *text)
{
    return s.len == strlen(text) && strncasecmp((const char *)s.at, text, s.len) == 0;
}

bool http_number(struct slice text, uint64_t *v)
{
    return (text.len <= 1 || text.at[0] != '0') && number_parse(text, v);
}

/* ---- target ------------------------------------------------------------------------------------ */

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* pchar and '/', RFC 3986 3.3, before decoding. */
static bool is_path_char(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c != 0 && strchr("-._~!$&'()*+,;=:@/%", c) != NULL);
}

/* One character, or one percent-encoded printable ASCII character. -1: neither. */
static int decode_char(struct slice s, size_t *at)
{
    int high, low, c;

    if (s.at[*at] != '%')
        return s.at[(*at)++];
    if (s.len - *at < 3 || (high = hex_digit(s.at[*at + 1])) < 0 || (low = hex_digit(s.at[*at + 2])) < 0)
        return -1;
    *at += 3;
    c = high << 4 | low;
    return c < 0x20 || c > 0x7e ? -1 : c;
}

/* Checks the segments of a decoded path: nothing that a second normalisation could change. */
static bool segments_are_plain(const char *path)
{
    const char *segment = path + 1;

    for (;;) {
        size_t len = strcspn(segment, "/");

        if ((len == 1 && segment[0] == '.') || (len == 2 && segment[0] == '.' && segment[1] == '.'))
            return false;
        if (segment[len] == '\0')
            return true;
        if (len == 0)
            return false;
        segment += len + 1;
    }
}

static enum http_result read_path(struct slice s, struct http_request *r, struct http_refusal *why)
{
    size_t at = 0, n = 0;

    if (s.len == 0 || s.at[0] != '/')
        return refuse(why, 400, "RFC 9112 3.2.1: the target is no absolute path");
    while (at < s.len) {
        bool encoded = s.at[at] == '%';
        int c;

        if (!is_path_char(s.at[at]))
            return refuse(why, 400, "RFC 3986 3.3: a character that no path may hold");
        c = decode_char(s, &at);
        if (c < 0)
            return refuse(why, 400, "RFC 3986 2.1: malformed or forbidden percent-encoding in the path");
        if (encoded && (c == '/' || c == '\\' || c == '%'))
            return refuse(why, 400, "RFC 3986 7.3: an encoded delimiter in the path");
        if (n + 1 >= sizeof r->path)
            return refuse(why, 414, "RFC 9110 15.5.15: path too long");
        r->path[n++] = (char)c;
    }
    r->path[n] = '\0';
    if (!segments_are_plain(r->path))
        return refuse(why, 400, "RFC 3986 3.3: empty, \".\" or \"..\" segment in the path");
    return HTTP_DONE;
}

/* uri-host [ ":" port ], RFC 9110 7.2: characters only; whose name it is does not matter here. */
static bool is_authority(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!is_path_char(s.at[i]) && s.at[i] != '[' && s.at[i] != ']')
            return false;
        else if (s.at[i] == '/' || s.at[i] == '@' || s.at[i] == '%')
            return false;
    return s.len != 0;
}

static enum http_result read_target(struct slice s, struct http_request *r, struct http_refusal *why)
{
    static const char scheme[] = "https://";
    const uint8_t *mark;

    if (s.len > HTTP_TARGET_MAX)
        return refuse(why, 414, "RFC 9110 15.5.15: request target too long");
    /* absolute-form must be understood (RFC 9112 3.2.2). */
    if (s.len > sizeof scheme && strncasecmp((const char *)s.at, scheme, sizeof scheme - 1) == 0) {
        struct slice rest = slice_of(s.at + sizeof scheme - 1, s.len - (sizeof scheme - 1));
        const uint8_t *slash = memchr(rest.at, '/', rest.len);

        if (slash == NULL || !is_authority(slice_of(rest.at, (size_t)(slash - rest.at))))
            return refuse(why, 400, "RFC 9112 3.2.2: malformed absolute target");
        s = slice_of(slash, rest.len - (size_t)(slash - rest.at));
    }
    mark = memchr(s.at, '?', s.len);
    r->query = slice_of(NULL, 0);
    if (mark != NULL) {
        r->query = slice_of(mark + 1, s.len - (size_t)(mark + 1 - s.at));
        for (size_t i = 0; i < r->query.len; i++)
            if (!is_path_char(r->query.at[i]) && r->query.at[i] != '?')
                return refuse(why, 400, "RFC 3986 3.4: a character that no query may hold");
        s.len = (size_t)(mark - s.at);
    }
    return read_path(s, r, why);
}

int http_query_next(struct slice *rest, char *name, size_t name_size, char *value, size_t value_size)
{
    char *into = name;
    size_t size = name_size, n = 0, at = 0;

    if (rest->len == 0)
        return 0;
    for (; at < rest->len && rest->at[at] != '&';) {
        int c;

        if (rest->at[at] == '=' && into == name) {
            name[n] = '\0';
            into = value;
            size = value_size;
            n = 0;
            at++;
            continue;
        }
        c = rest->at[at] == '+' ? -1 : decode_char(*rest, &at);
        if (c < 0x20 || c > 0x7e || n + 1 >= size)
            return -1;
        into[n++] = (char)c;
    }
    into[n] = '\0';
    if (into == name || name[0] == '\0')
        return -1;
    if (at < rest->len && at + 1 == rest->len)
        return -1; /* nothing after the last '&' */
    at += at < rest->len ? 1 : 0;
    *rest = slice_of(rest->at + at, rest->len - at);
    return 1;
}

/* ---- request line ------------------------------------------------------------------------------ */

static enum http_method method_of(struct slice name)
{
    if (slice_is(name, "GET"))
        return HTTP_GET;
    if (slice_is(name, "HEAD"))
        return HTTP_HEAD;
    return slice_is(name, "POST") ? HTTP_POST : HTTP_OTHER;
}

/* method SP target SP HTTP-version, RFC 9112 3. */
static enum http_result read_request_line(struct slice line, struct http_request *r, struct http_refusal *why)
{
    const uint8_t *first = memchr(line.at, ' ', line.len), *second, *version;
    size_t left;

    if (first == NULL)
        return refuse(why, 400, "RFC 9112 3: malformed request line");
    r->method_name = slice_of(line.at, (size_t)(first - line.at));
    if (!is_token(r->method_name) || r->method_name.len > 32)
        return refuse(why, 400, "RFC 9112 3.1: malformed method");
    r->method = method_of(r->method_name);
    left = line.len - r->method_name.len - 1;
    second = memchr(first + 1, ' ', left);
    if (second == NULL)
        return refuse(why, left > HTTP_TARGET_MAX ? 414 : 400, "RFC 9112 3: malformed request line");
    version = second + 1;
    left -= (size_t)(version - (first + 1));
    if (left != 8 || memcmp(version, "HTTP/", 5) != 0 || version[6] != '.' || version[5] < '0' || version[5] > '9' ||
        version[7] < '0' || version[7] > '9')
        return refuse(why, 400, "RFC 9112 2.3: malformed HTTP version");
    if (version[5] != '1')
        return refuse(why, 505, "RFC 9110 15.6.6: only HTTP/1.1 and HTTP/1.0 are spoken here");
    r->minor = (unsigned)version[7] - '0';
    return read_target(slice_of(first + 1, (size_t)(second - first - 1)), r, why);
}

/* ---- fields ------------------------------------------------------------------------------------ */

static struct slice trim(struct slice s)
{
    while (s.len != 0 && (s.at[0] == ' ' || s.at[0] == '\t'))
        s = slice_of(s.at + 1, s.len - 1);
    while (s.len != 0 && (s.at[s.len - 1] == ' ' || s.at[s.len - 1] == '\t'))
        s.len--;
    return s;
}

static enum http_result read_field(struct slice line, struct http_request *r, struct http_refusal *why)
{
    const uint8_t *colon;
    struct http_field *f;

    if (line.at[0] == ' ' || line.at[0] == '\t')
        return refuse(why, 400, "RFC 9112 5.2: folded field line");
    colon = memchr(line.at, ':', line.len);
    if (colon == NULL)
        return refuse(why, 400, "RFC 9112 5: field line without colon");
    if (r->field_count == HTTP_FIELDS_MAX)
        return refuse(why, 431, "RFC 6585 5: too many field lines");
    f = &r->fields[r->field_count];
    f->name = slice_of(line.at, (size_t)(colon - line.at));
    if (!is_token(f->name))
        return refuse(why, 400, "RFC 9112 5.1: malformed field name (or white space before the colon)");
    f->value = trim(slice_of(colon + 1, line.len - f->name.len - 1));
    r->field_count++;
    return HTTP_DONE;
}

bool http_field(const struct http_request *r, const char *name, struct slice *value)
{
    for (unsigned i = 0; i < r->field_count; i++)
        if (equals_nocase(r->fields[i].name, name)) {
            *value = r->fields[i].value;
            return true;
        }
    return false;
}

static unsigned count_fields(const struct http_request *r, const char *name)
{
    unsigned n = 0;

    for (unsigned i = 0; i < r->field_count; i++)
        n += equals_nocase(r->fields[i].name, name);
    return n;
}

/* Whether a comma-separated field holds this token. */
static bool list_has(const struct http_request *r, const char *name, const char *token)
{
    for (unsigned i = 0; i < r->field_count; i++) {
        struct slice rest = r->fields[i].value;

        if (!equals_nocase(r->fields[i].name, name))
            continue;
        while (rest.len != 0) {
            const uint8_t *comma = memchr(rest.at, ',', rest.len);
            size_t len = comma == NULL ? rest.len : (size_t)(comma - rest.at);

            if (equals_nocase(trim(slice_of(rest.at, len)), token))
                return true;
            len += comma == NULL ? 0 : 1;
            rest = slice_of(rest.at + len, rest.len - len);
        }
    }
    return false;
}

/* How much content follows: RFC 9112 6.3, with everything two readers could disagree on refused. */
static enum http_result read_framing(struct http_request *r, struct http_refusal *why)
{
    struct slice value;
    bool has_length = http_field(r, "Content-Length", &value);

    r->content_length = 0;
    if (count_fields(r, "Transfer-Encoding") != 0) {
        if (has_length || r->minor == 0)
            return refuse(why, 400, "RFC 9112 6.1: Transfer-Encoding with Content-Length or in HTTP/1.0");
        if (count_fields(r, "Transfer-Encoding") == 1 && http_field(r, "Transfer-Encoding", &value) &&
            equals_nocase(value, "chunked"))
            return refuse(why, 411, "RFC 9112 6.3: send Content-Length, chunked requests are not taken");
        return refuse(why, 501, "RFC 9112 6.1: unknown transfer coding");
    }
    if (!has_length) {
        if (r->method == HTTP_POST)
            return refuse(why, 411, "RFC 9110 8.6: POST without Content-Length");
        return HTTP_DONE;
    }
    if (count_fields(r, "Content-Length") != 1 || !http_number(value, &r->content_length))
        return refuse(why, 400, "RFC 9110 8.6: repeated or malformed Content-Length");
    if (r->content_length > HTTP_BODY_MAX)
        return refuse(why, 413, "RFC 9110 15.5.14: content too large");
    return HTTP_DONE;
}

static enum http_result read_meaning(struct http_request *r, struct http_refusal *why)
{
    static const char *const once[] = {"Host", "Range", "If-Range", "Content-Type", "Expect", "Content-Encoding"};
    struct slice value;

    for (size_t i = 0; i < sizeof once / sizeof *once; i++)
        if (count_fields(r, once[i]) > 1)
            return refuse(why, 400, "RFC 9110 5.3: a field that may appear once is repeated");
    if (!http_field(r, "Host", &value)) {
        if (r->minor != 0)
            return refuse(why, 400, "RFC 9112 3.2: no Host field");
    } else if (!is_authority(value)) {
        return refuse(why, 400, "RFC 9112 3.2: malformed Host field");
    }
    r->keep_alive = !list_has(r, "Connection", "close") && (r->minor != 0 || list_has(r, "Connection", "keep-alive"));
    r->expects_continue = false;
    if (http_field(r, "Expect", &value) && r->minor != 0) {
        if (!equals_nocase(value, "100-continue"))
            return refuse(why, 417, "RFC 9110 10.1.1: unknown expectation");
        r->expects_continue = true;
    }
    return read_framing(r, why);
}

/* ---- the whole head ---------------------------------------------------------------------------- */

/* Looks for the empty line. HTTP_DONE: the head is `*end` bytes, the last CR LF CR LF included. */
static enum http_result find_end(struct slice in, struct http_scan *scan, size_t *end, struct http_refusal *why)
{
    for (size_t i = scan->seen; i < in.len; i++) {
        uint8_t c = in.at[i];

        if (i >= HTTP_HEAD_MAX)
            return refuse(why, 431, "RFC 6585 5: request head too large");
        if (c == '\r' && i + 1 == in.len)
            break; /* look again when its LF is there */
        if (c == '\n' ? i == 0 || in.at[i - 1] != '\r' : c == '\r' ? in.at[i + 1] != '\n' : (c < 0x20 && c != '\t') || c == 0x7f)
            return refuse(why, 400, "RFC 9112 2.2, RFC 9110 5.5: control character in the head");
        scan->seen = i + 1;
        if (c == '\n' && i >= 3 && in.at[i - 2] == '\n') {
            *end = i + 1;
            return HTTP_DONE;
        }
    }
    return HTTP_MORE;
}

enum http_result http_read_head(struct slice in, struct http_scan *scan, struct http_request *r, size_t *used,
                                struct http_refusal *why)
{
    size_t end = 0, at = 0;
    bool first = true;
    enum http_result result;

    /* One empty line before the request is ignored (RFC 9112 2.2). */
    if (in.len >= 2 && in.at[0] == '\r' && in.at[1] == '\n')
        at = 2;
    if (in.len >= 4 && at == 2 && in.at[2] == '\r' && in.at[3] == '\n')
        return refuse(why, 400, "RFC 9112 2.2: empty lines instead of a request");
    result = find_end(in, scan, &end, why);
    if (result != HTTP_DONE)
        return result;
    memset(r, 0, sizeof *r);
    while (at + 2 < end) {
        const uint8_t *cr = memchr(in.at + at, '\r', end - at);
        struct slice line = slice_of(in.at + at, (size_t)(cr - (in.at + at)));

        result = first ? read_request_line(line, r, why) : read_field(line, r, why);
        if (result != HTTP_DONE)
            return result;
        first = false;
        at += line.len + 2;
    }
    *used = end;
    return read_meaning(r, why);
}
