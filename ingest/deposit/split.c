/* Cuts a stream of bytes into events: see split.h. */
#include "ingest/deposit/split.h"

#include <stdio.h>
#include <strings.h>

#include "ingest/deposit/scan.h"

void split_init(struct split *s, size_t event_max)
{
    *s = (struct split){.event_max = event_max, .line = 1, .column = 1};
    buf_init(&s->held, event_max + 2 * SPLIT_CHUNK);
}

void split_free(struct split *s)
{
    buf_free(&s->held);
}

bool split_feed(struct split *s, const void *bytes, size_t len, struct err *e)
{
    return buf_add(&s->held, bytes, len, e);
}

static enum split_result fail(const struct split *s, struct err *e, const char *what)
{
    err_set(e, ERR_INPUT, "line %u, column %u: %s", s->line, s->column, what);
    return SPLIT_BAD;
}

static void move_position(struct split *s, struct slice over)
{
    for (size_t i = 0; i < over.len; i++) {
        if (over.at[i] == '\n') {
            s->line++;
            s->column = 1;
        } else if ((over.at[i] & 0xc0) != 0x80) {
            s->column++;
        }
    }
}

/* Between events nothing is kept: what was looked at leaves the buffer. */
static void drop(struct split *s, struct slice token)
{
    move_position(s, token);
    s->offset += token.len;
    buf_consume(&s->held, token.len);
}

/* The white space `text` begins with. */
static struct slice blank_part(struct slice text)
{
    size_t len = 0;

    while (len < text.len && scan_is_space(text.at[len]))
        len++;
    return slice_of(text.at, len);
}

/* XML 1.0, 4.3.3: events are UTF-8 text; another declared encoding would change meaning silently. */
static bool encoding_is_utf8(struct slice declaration)
{
    static const char *const accepted[] = {"utf-8", "us-ascii", "ascii"};
    const uint8_t *at = memmem(declaration.at, declaration.len, "encoding", 8);
    const uint8_t *end = declaration.at + declaration.len;
    const uint8_t *close;

    if (at == NULL)
        return true;
    for (at += 8; at < end && *at != '"' && *at != '\'';)
        at++;
    if (at == end || (close = memchr(at + 1, *at, (size_t)(end - at - 1))) == NULL)
        return false;
    for (size_t i = 0; i < sizeof accepted / sizeof *accepted; i++)
        if (strlen(accepted[i]) == (size_t)(close - at - 1) &&
            strncasecmp(accepted[i], (const char *)at + 1, strlen(accepted[i])) == 0)
            return true;
    return false;
}

static enum split_result outside(struct split *s, const struct scan_token *t, struct err *e)
{
    switch (t->kind) {
    case SCAN_TEXT:
        if (blank_part(t->whole).len < t->whole.len) {
            move_position(s, blank_part(t->whole));
            return fail(s, e, "text outside of an event");
        }
        break;
    case SCAN_DECLARATION:
        if (!encoding_is_utf8(t->whole))
            return fail(s, e, "the XML declaration names an encoding other than UTF-8: convert the file");
        s->declaration = true;
        break;
    case SCAN_COMMENT:
    case SCAN_INSTRUCTION:
        break;
    case SCAN_END:
        return fail(s, e, "an end tag without its start tag");
    case SCAN_CDATA:
        return fail(s, e, "a CDATA section outside of an event");
    case SCAN_DOCTYPE:
        return fail(s, e, "a DOCTYPE: events have none and the vault refuses it");
    case SCAN_MORE:
    case SCAN_BAD:
    case SCAN_START:
    case SCAN_EMPTY:
        return fail(s, e, "unexpected markup");
    }
    drop(s, t->whole);
    return SPLIT_MORE;
}

static enum split_result cut(struct split *s, struct split_event *event)
{
    s->count++;
    *event = (struct split_event){.bytes = slice_of(buf_slice(&s->held).at, s->scanned),
                                  .offset = s->offset,
                                  .line = s->event_line,
                                  .index = s->count,
                                  .had_declaration = s->declaration};
    s->declaration = false;
    s->offset += s->scanned;
    buf_consume(&s->held, s->scanned); /* moves nothing: the slice stays valid until the next call */
    s->scanned = 0;
    return SPLIT_EVENT;
}

static enum split_result open_element(struct split *s, const struct scan_token *t, struct err *e)
{
    if (s->depth == 0)
        s->event_line = s->line;
    if (s->depth == SPLIT_DEPTH_MAX)
        return fail(s, e, "elements are nested too deeply");
    s->open[s->depth++] = (struct split_name){(size_t)(t->name.at - buf_slice(&s->held).at), t->name.len};
    return SPLIT_MORE;
}

static enum split_result close_element(struct split *s, const struct scan_token *t, struct err *e)
{
    struct split_name opened = s->open[s->depth - 1];
    struct slice name = slice_of(buf_slice(&s->held).at + opened.at, opened.len);
    char what[160];

    if (!slice_equal(name, t->name)) {
        snprintf(what, sizeof what, "</%.*s> where </%.*s> is expected", (int)(t->name.len > 60 ? 60 : t->name.len),
                 (const char *)t->name.at, (int)(name.len > 60 ? 60 : name.len), (const char *)name.at);
        return fail(s, e, what);
    }
    s->depth--;
    return SPLIT_MORE;
}

/* A token inside an event, or the one that opens it. */
static enum split_result inside(struct split *s, const struct scan_token *t, struct split_event *event, struct err *e)
{
    enum split_result result = SPLIT_MORE;
    bool was_outside = s->depth == 0;

    if (t->kind == SCAN_DOCTYPE || t->kind == SCAN_DECLARATION)
        return fail(s, e, "a declaration inside an event");
    if (t->kind == SCAN_START)
        result = open_element(s, t, e);
    else if (t->kind == SCAN_END)
        result = close_element(s, t, e);
    else if (was_outside)
        s->event_line = s->line; /* an empty element is an event of its own */
    if (result == SPLIT_BAD)
        return result;
    move_position(s, t->whole);
    s->scanned += t->whole.len;
    if (s->scanned > s->event_max)
        return fail(s, e, "the event is larger than allowed (--max-event)");
    return s->depth == 0 ? cut(s, event) : SPLIT_MORE;
}

static enum split_result starved(struct split *s, bool last, struct err *e)
{
    if (s->held.len > s->event_max + SPLIT_CHUNK)
        return fail(s, e, "the event is larger than allowed (--max-event)");
    if (!last)
        return SPLIT_MORE;
    if (s->depth != 0)
        return fail(s, e, "the text ends inside an event");
    return SPLIT_END;
}

/* A byte order mark may stand at the very beginning. False: more bytes are needed to tell. */
static bool drop_byte_order_mark(struct split *s, bool last)
{
    static const uint8_t mark[] = {0xef, 0xbb, 0xbf};
    struct slice held = buf_slice(&s->held);
    size_t len = held.len < sizeof mark ? held.len : sizeof mark;

    if (s->offset != 0 || s->scanned != 0 || len == 0 || memcmp(held.at, mark, len) != 0)
        return true;
    if (len < sizeof mark)
        return last;
    s->offset = sizeof mark;
    s->declaration = true;
    buf_consume(&s->held, sizeof mark);
    return true;
}

enum split_result split_next(struct split *s, bool last, struct split_event *event, struct err *e)
{
    if (!drop_byte_order_mark(s, last))
        return SPLIT_MORE;
    for (;;) {
        struct slice held = buf_slice(&s->held);
        struct slice rest = s->scanned == 0 ? held : slice_of(held.at + s->scanned, held.len - s->scanned);
        struct scan_token t = scan_next(rest, last);
        enum split_result result;

        if (t.kind == SCAN_MORE)
            return starved(s, last, e);
        if (t.kind == SCAN_BAD)
            return fail(s, e, t.why);
        if (s->depth > 0 || t.kind == SCAN_START || t.kind == SCAN_EMPTY)
            result = inside(s, &t, event, e);
        else
            result = outside(s, &t, e);
        if (result != SPLIT_MORE)
            return result;
    }
}
