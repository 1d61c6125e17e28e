/* Tokens of XML text: see scan.h. */
#include "ingest/deposit/scan.h"

static struct scan_token bad(const char *why)
{
    return (struct scan_token){.kind = SCAN_BAD, .why = why};
}

static struct scan_token unfinished(bool last, const char *why)
{
    return last ? bad(why) : (struct scan_token){.kind = SCAN_MORE};
}

static bool begins(struct slice in, const char *with)
{
    size_t len = strlen(with);

    return in.len >= len && memcmp(in.at, with, len) == 0;
}

/* Could `in`, which is short, still become `with`? */
static bool may_begin(struct slice in, const char *with)
{
    return in.len < strlen(with) && memcmp(in.at, with, in.len) == 0;
}

static struct scan_token until(struct slice in, bool last, enum scan_kind kind, size_t from, const char *end,
                               const char *why)
{
    const uint8_t *found = NULL;

    if (in.len > from)
        found = memmem(in.at + from, in.len - from, end, strlen(end));
    if (found == NULL)
        return unfinished(last, why);
    return (struct scan_token){.kind = kind, .whole = slice_of(in.at, (size_t)(found - in.at) + strlen(end))};
}

static bool ends_name(uint8_t c)
{
    return scan_is_space(c) || c == '>' || c == '/' || c == '<' || c == '=' || c == '"' || c == '\'' || c == '&';
}

static struct slice name_at(struct slice in, size_t from)
{
    size_t to = from;

    while (to < in.len && !ends_name(in.at[to]))
        to++;
    return slice_of(in.at + from, to - from);
}

/* A start, empty or end tag: `>` counts only outside quotes, `<` never may appear (XML 1.0, 3.1). */
static struct scan_token tag(struct slice in, bool last)
{
    bool closing = in.len > 1 && in.at[1] == '/';
    struct scan_token t = {.kind = closing ? SCAN_END : SCAN_START};
    uint8_t quote = 0;

    for (size_t i = closing ? 2 : 1; i < in.len; i++) {
        uint8_t c = in.at[i];

        if (c == '<')
            return bad("'<' inside a tag");
        if (quote != 0) {
            quote = c == quote ? 0 : quote;
        } else if (c == '"' || c == '\'') {
            quote = c;
        } else if (c == '/' && (closing || (i + 1 < in.len && in.at[i + 1] != '>'))) {
            return bad("'/' inside a tag"); /* what <b//> is filled in would stand behind an element that is over */
        } else if (c == '>') {
            t.whole = slice_of(in.at, i + 1);
            t.name = name_at(t.whole, closing ? 2 : 1);
            if (t.name.len == 0)
                return bad("a tag without a name");
            if (!closing && in.at[i - 1] == '/')
                t.kind = SCAN_EMPTY;
            return t;
        }
    }
    return unfinished(last, "the text ends inside a tag");
}

static struct scan_token bang(struct slice in, bool last)
{
    if (begins(in, "<!--"))
        return until(in, last, SCAN_COMMENT, 4, "-->", "the text ends inside a comment");
    if (begins(in, "<![CDATA["))
        return until(in, last, SCAN_CDATA, 9, "]]>", "the text ends inside a CDATA section");
    if (begins(in, "<!DOCTYPE"))
        return (struct scan_token){.kind = SCAN_DOCTYPE, .whole = slice_of(in.at, 9)};
    if (may_begin(in, "<!--") || may_begin(in, "<![CDATA[") || may_begin(in, "<!DOCTYPE"))
        return unfinished(last, "the text ends inside markup");
    return bad("markup that begins with <! and is neither a comment nor a CDATA section");
}

static struct scan_token instruction(struct slice in, bool last)
{
    struct scan_token t = until(in, last, SCAN_INSTRUCTION, 2, "?>", "the text ends inside <? … ?>");

    if (t.kind == SCAN_INSTRUCTION && t.whole.len > 6 && begins(in, "<?xml") && scan_is_space(in.at[5]))
        t.kind = SCAN_DECLARATION;
    return t;
}

struct scan_token scan_next(struct slice in, bool last)
{
    const uint8_t *markup;

    if (in.len == 0)
        return (struct scan_token){.kind = SCAN_MORE};
    if (in.at[0] != '<') {
        markup = memchr(in.at, '<', in.len);
        return (struct scan_token){.kind = SCAN_TEXT,
                                   .whole = slice_of(in.at, markup == NULL ? in.len : (size_t)(markup - in.at))};
    }
    if (in.len == 1)
        return unfinished(last, "the text ends with '<'");
    if (in.at[1] == '!')
        return bang(in, last);
    if (in.at[1] == '?')
        return instruction(in, last);
    return tag(in, last);
}
