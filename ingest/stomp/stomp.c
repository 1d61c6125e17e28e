/* The STOMP push parser: see stomp.h. Its input is whatever a stranger wrote. */
#include "ingest/stomp/stomp_internal.h"

#include <stdio.h>

enum { COMMAND_BYTES_MAX = 16 /* longest command, its line end, and room to say which it was */ };

/* Reading one frame's head: command line and header lines. */
struct head {
    const uint8_t *begin, *at, *end; /* frame, next line, end of input */
    bool cr;                         /* CR LF ends a line, too */
    bool escaped;                    /* a backslash somewhere in the headers */
    size_t lines;                    /* header lines read */
    struct stomp_frame *f;
};

void stomp_parser_init(struct stomp_parser *p, bool from_server, const struct stomp_limits *limits)
{
    *p = (struct stomp_parser){.from_server = from_server, .limits = *limits};
    buf_init(&p->unescaped, limits->header_bytes);
}

void stomp_parser_free(struct stomp_parser *p)
{
    buf_free(&p->unescaped);
}

/* What a peer wrote, cut short and printable, for error texts. */
struct shown {
    char text[40];
};

static struct shown show(const uint8_t *at, size_t len)
{
    struct shown s;
    size_t used = 0;

    for (size_t i = 0; i < len && used + 1 < sizeof s.text; i++)
        s.text[used++] = at[i] >= 0x20 && at[i] < 0x7f && at[i] != '"' ? (char)at[i] : '?';
    s.text[used] = '\0';
    return s;
}

static const char size_limits[] = "\"Size Limits\"";

static enum stomp_result bad(struct err *e, struct stomp_parser *p, const char *clause, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
static enum stomp_result bad(struct err *e, struct stomp_parser *p, const char *clause, const char *fmt, ...)
{
    const char *version = p->version == STOMP_OPENING ? "1.2" : stomp_version_text(p->version);
    char text[300];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    err_set(e, ERR_INPUT, "STOMP %s %s: %s", version, clause, text);
    p->over_limit = clause == size_limits;
    return STOMP_BAD;
}

/* CR LF ends a line in STOMP 1.2, and before the version is known ("Augmented BNF": EOL). */
static bool takes_cr(const struct stomp_parser *p)
{
    return p->version == STOMP_OPENING || p->version == STOMP_1_2;
}

/* Line ends between frames: heart-beats, or what follows a frame ("STOMP Frames"). */
static size_t skip_line_ends(const struct stomp_parser *p, struct slice in)
{
    size_t n = 0;

    for (;;) {
        if (n < in.len && in.at[n] == '\n')
            n++;
        else if (n + 1 < in.len && in.at[n] == '\r' && in.at[n + 1] == '\n' && takes_cr(p))
            n += 2;
        else
            return n;
    }
}

static enum stomp_result parse_command(struct stomp_parser *p, struct head *h, struct err *e)
{
    size_t left = (size_t)(h->end - h->at), len = left < COMMAND_BYTES_MAX ? left : COMMAND_BYTES_MAX;
    const uint8_t *lf = len == 0 ? NULL : memchr(h->at, '\n', len);

    if (lf == NULL && len < COMMAND_BYTES_MAX && (len == 0 || memchr(h->at, '\0', len) == NULL))
        return STOMP_MORE;
    if (lf == NULL)
        return bad(e, p, "\"STOMP Frames\"", "the frame begins with \"%s\", which is no command", show(h->at, len).text);
    len = (size_t)(lf - h->at);
    if (len != 0 && h->cr && lf[-1] == '\r')
        len--;
    h->f->command = stomp_find_command(h->at, len);
    if (h->f->command == STOMP_COMMANDS || (h->f->command >= STOMP_CONNECTED) != p->from_server)
        return bad(e, p, p->from_server ? "\"Server Frames\"" : "\"Client Frames\"", "unknown command \"%s\"",
                   show(h->at, len).text);
    if ((h->f->command == STOMP_NACK && p->version == STOMP_1_0) || (h->f->command == STOMP_STOMP && p->version != STOMP_OPENING))
        return bad(e, p, "\"Client Frames\"", "command %s is not available here", stomp_command_text(h->f->command));
    h->at = lf + 1;
    return STOMP_FRAME;
}

/* STOMP 1.0 clients pad values ("destination: /queue/a"); from 1.1 on spaces belong to the value. */
static struct slice pad_free(struct slice v)
{
    while (v.len != 0 && v.at[0] == ' ')
        v = slice_of(v.at + 1, v.len - 1);
    while (v.len != 0 && v.at[v.len - 1] == ' ')
        v.len--;
    return v;
}

/* One header line [h->at, lf). */
static enum stomp_result parse_header(struct stomp_parser *p, struct head *h, const uint8_t *lf, struct err *e)
{
    size_t len = (size_t)(lf - h->at) - (h->cr && lf[-1] == '\r' ? 1 : 0), name_len;
    const uint8_t *colon = memchr(h->at, ':', len);
    enum stomp_name name;

    h->lines++;
    if (colon == NULL || colon == h->at)
        return bad(e, p, "\"Augmented BNF\"", "header line %zu of %s (\"%s\") has no %s", h->lines,
                   stomp_command_text(h->f->command), show(h->at, len).text, colon == NULL ? "colon" : "name");
    if (h->lines > p->limits.headers)
        return bad(e, p, size_limits, "%s has more than %zu header lines", stomp_command_text(h->f->command),
                   p->limits.headers);
    name_len = (size_t)(colon - h->at);
    name = stomp_find_name(h->at, name_len);
    /* "Repeated Header Entries": the first one counts. */
    if (name != STOMP_NAMES && !stomp_has(h->f, name)) {
        struct slice value = slice_of(colon + 1, len - name_len - 1);

        h->f->present |= UINT64_C(1) << name;
        h->f->headers[name] = p->version == STOMP_1_0 ? pad_free(value) : value;
    }
    h->at = lf + 1;
    return STOMP_FRAME;
}

/* One escape's meaning, or -1: STOMP 1.1 knows \n \c \\, 1.2 also \r; all others are fatal ("Value Encoding"). */
static int unescape(enum stomp_version version, uint8_t letter)
{
    switch (letter) {
    case 'n':
        return '\n';
    case 'c':
        return ':';
    case '\\':
        return '\\';
    case 'r':
        return version == STOMP_1_2 ? '\r' : -1;
    default:
        return -1;
    }
}

/* Every escape in the headers is one the version defines, in headers nobody reads too. */
static enum stomp_result check_escapes(struct stomp_parser *p, const struct head *h, const uint8_t *from,
                                       const uint8_t *end, struct err *e)
{
    while ((from = memchr(from, '\\', (size_t)(end - from))) != NULL) {
        if (from + 1 == end || unescape(p->version, from[1]) < 0)
            return bad(e, p, "\"Value Encoding\"", "undefined escape in the headers of %s, %zu bytes from its beginning",
                       stomp_command_text(h->f->command), (size_t)(from - h->begin));
        from += 2;
    }
    return STOMP_FRAME;
}

/* What may not stand anywhere in the headers, looked for once over all of them. */
static enum stomp_result check_octets(struct stomp_parser *p, struct head *h, const uint8_t *from, struct err *e)
{
    size_t len = (size_t)(h->at - from);
    const uint8_t *at = from, *odd = memchr(from, '\0', len);

    if (odd != NULL)
        return bad(e, p, "\"Augmented BNF\"", "a NUL byte in the headers of %s, %zu bytes from its beginning",
                   stomp_command_text(h->f->command), (size_t)(odd - h->begin));
    while (h->cr && (at = memchr(at, '\r', (size_t)(h->at - at))) != NULL) {
        if (at + 1 == h->at || at[1] != '\n')
            return bad(e, p, "\"Augmented BNF\"", "a bare carriage return in the headers of %s, %zu bytes from its beginning",
                       stomp_command_text(h->f->command), (size_t)(at - h->begin));
        at++;
    }
    h->escaped = p->version >= STOMP_1_1 && h->f->command != STOMP_CONNECT && h->f->command != STOMP_CONNECTED &&
                 memchr(from, '\\', len) != NULL;
    return h->escaped ? check_escapes(p, h, from, h->at, e) : STOMP_FRAME;
}

/* The whole head, when its end is among the input; h->at is then the first byte of the body. */
static enum stomp_result parse_head(struct stomp_parser *p, struct head *h, struct err *e)
{
    enum stomp_result r = parse_command(p, h, e);
    const uint8_t *headers = h->at;

    if (r != STOMP_FRAME)
        return r;
    for (;;) {
        const uint8_t *lf = h->at == h->end ? NULL : memchr(h->at, '\n', (size_t)(h->end - h->at));

        if (lf == NULL)
            return memchr(headers, '\0', (size_t)(h->end - headers)) == NULL
                       ? STOMP_MORE
                       : bad(e, p, "\"STOMP Frames\"", "no blank line ends the headers of %s",
                             stomp_command_text(h->f->command));
        if (lf == h->at || (h->cr && lf == h->at + 1 && *h->at == '\r')) {
            h->at = lf + 1;
            return check_octets(p, h, headers, e);
        }
        if ((r = parse_header(p, h, lf, e)) != STOMP_FRAME)
            return r;
    }
}

static struct slice unescape_value(struct stomp_parser *p, struct slice v, uint8_t *out)
{
    size_t n = 0;

    for (size_t i = 0; i < v.len; i++)
        out[n++] = v.at[i] == '\\' ? (uint8_t)unescape(p->version, v.at[++i]) : v.at[i];
    return slice_of(out, n);
}

/* Unescapes the values that somebody reads, into one buffer that never moves under those already in it. */
static enum stomp_result unescape_headers(struct stomp_parser *p, struct stomp_frame *f, size_t head_len, struct err *e)
{
    uint8_t *out = buf_reserve(&p->unescaped, head_len, e);

    if (out == NULL)
        return STOMP_BAD;
    for (unsigned i = 0; i < STOMP_NAMES; i++) {
        struct slice *v = &f->headers[i];

        if (!stomp_has(f, (enum stomp_name)i) || v->len == 0 || memchr(v->at, '\\', v->len) == NULL)
            continue;
        *v = unescape_value(p, *v, out);
        out += v->len;
    }
    return STOMP_FRAME;
}

/* The declared length of the body: false when there is none to go by. */
static enum stomp_result declared_length(struct stomp_parser *p, const struct stomp_frame *f, bool *declared, uint64_t *len,
                                         struct err *e)
{
    struct slice v = stomp_get(f, STOMP_CONTENT_LENGTH);

    *declared = stomp_has(f, STOMP_CONTENT_LENGTH);
    if (!*declared)
        return STOMP_FRAME;
    if (!number_parse(v, len))
        return bad(e, p, "\"Header content-length\"", "\"%s\" is not a number of bytes", show(v.at, v.len).text);
    if (*len > p->limits.body_bytes)
        return bad(e, p, size_limits, "%s announces a body of %llu bytes, at most %zu are taken",
                   stomp_command_text(f->command), (unsigned long long)*len, p->limits.body_bytes);
    return STOMP_FRAME;
}

/* "Body": only SEND, MESSAGE and ERROR have one (STOMP 1.0 does not say so). */
static bool may_have_body(const struct stomp_parser *p, enum stomp_command c)
{
    return c == STOMP_SEND || c == STOMP_MESSAGE || c == STOMP_ERROR || p->version == STOMP_1_0;
}

static enum stomp_result sized_body(struct stomp_parser *p, struct head *h, size_t len, struct err *e)
{
    size_t left = (size_t)(h->end - h->at);

    if (left <= len) {
        p->need = (size_t)(h->at - h->begin) + len + 1;
        return STOMP_MORE;
    }
    if (h->at[len] != '\0')
        return bad(e, p, "\"Header content-length\"", "no NUL byte after the %zu bytes of the body of %s", len,
                   stomp_command_text(h->f->command));
    h->f->body = slice_of(h->at, len);
    h->at += len + 1;
    return STOMP_FRAME;
}

static enum stomp_result ended_body(struct stomp_parser *p, struct head *h, struct err *e)
{
    size_t head_len = (size_t)(h->at - h->begin), left = (size_t)(h->end - h->at),
           from = p->scanned > head_len ? p->scanned - head_len : 0;
    const uint8_t *nul = from == left ? NULL : memchr(h->at + from, '\0', left - from);
    size_t len = nul == NULL ? left : (size_t)(nul - h->at);

    if (len > p->limits.body_bytes)
        return bad(e, p, size_limits, "%s has a body of more than %zu bytes", stomp_command_text(h->f->command),
                   p->limits.body_bytes);
    if (nul == NULL) {
        p->scanned = head_len + left;
        p->head = head_len;
        return STOMP_MORE;
    }
    h->f->body = slice_of(h->at, len);
    h->at = nul + 1;
    return STOMP_FRAME;
}

static enum stomp_result parse_body(struct stomp_parser *p, struct head *h, struct err *e)
{
    enum stomp_result r;
    uint64_t len = 0;
    bool declared;

    if ((r = declared_length(p, h->f, &declared, &len, e)) != STOMP_FRAME)
        return r;
    r = declared ? sized_body(p, h, (size_t)len, e) : ended_body(p, h, e);
    if (r == STOMP_FRAME && h->f->body.len != 0 && !may_have_body(p, h->f->command))
        return bad(e, p, "\"Body\"", "%s must not have a body", stomp_command_text(h->f->command));
    return r;
}

/* A blank line whose line feed is new: what ends the head. */
static bool blank_line_since(const struct stomp_parser *p, struct slice in)
{
    const uint8_t *from = in.at + p->scanned, *end = in.at + in.len, *lf;

    for (; (lf = memchr(from, '\n', (size_t)(end - from))) != NULL; from = lf + 1)
        if (lf[-1] == '\n' || (lf[-1] == '\r' && lf[-2] == '\n'))
            return true;
    return false;
}

/* True when what came since the last call cannot complete the frame: it is not parsed again for nothing. */
static bool still_waiting(struct stomp_parser *p, struct slice in)
{
    if (p->need != 0)
        return in.len < p->need;
    if (p->scanned == 0)
        return false;
    if (in.len == p->scanned)
        return true;
    if (memchr(in.at + p->scanned, '\0', in.len - p->scanned) != NULL)
        return false;
    if (p->head != 0 ? in.len - p->head > p->limits.body_bytes
                     : in.len > p->limits.header_bytes || blank_line_since(p, in))
        return false;
    p->scanned = in.len;
    return true;
}

static enum stomp_result head_unfinished(struct stomp_parser *p, const struct head *h, struct err *e)
{
    size_t len = (size_t)(h->end - h->begin);

    if (len > p->limits.header_bytes)
        return bad(e, p, size_limits, "headers of more than %zu bytes", p->limits.header_bytes);
    /* The command line is looked at again until it is whole: it is short. */
    p->scanned = h->at == h->begin ? 0 : len;
    return STOMP_MORE;
}

enum stomp_result stomp_parse(struct stomp_parser *p, struct slice in, size_t *consumed, struct stomp_frame *f,
                              struct err *e)
{
    size_t skipped = p->scanned == 0 && p->need == 0 ? skip_line_ends(p, in) : 0;
    struct head h = {.begin = in.at + skipped, .at = in.at + skipped, .end = in.at + in.len, .cr = takes_cr(p), .f = f};
    enum stomp_result r;
    size_t head_len;

    *consumed = skipped;
    if (skipped == in.len || still_waiting(p, slice_of(h.begin, in.len - skipped)))
        return STOMP_MORE;
    f->present = 0;
    f->body = slice_of(NULL, 0);
    buf_reset(&p->unescaped);
    if ((r = parse_head(p, &h, e)) != STOMP_FRAME)
        return r == STOMP_MORE ? head_unfinished(p, &h, e) : r;
    head_len = (size_t)(h.at - h.begin);
    if (head_len > p->limits.header_bytes)
        return bad(e, p, size_limits, "%s has headers of %zu bytes, at most %zu are taken",
                   stomp_command_text(f->command), head_len, p->limits.header_bytes);
    if ((r = parse_body(p, &h, e)) != STOMP_FRAME)
        return r;
    if (h.escaped && (r = unescape_headers(p, f, head_len, e)) != STOMP_FRAME)
        return r;
    p->scanned = p->need = p->head = 0;
    *consumed = (size_t)(h.at - in.at);
    return STOMP_FRAME;
}
