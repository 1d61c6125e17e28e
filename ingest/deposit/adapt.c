/* Rewrites the header fields of an event: see adapt.h. */
#include "ingest/deposit/adapt.h"

#include "ingest/deposit/scan.h"

enum { FIELDS = 3 };

struct field {
    const char *name, *code; /* long and short form */
    const char *content;     /* what to write; NULL: leave it */
    bool done;
};

/* One walk over the event: copies everything but the content of the fields. */
struct walk {
    struct slice rest;
    unsigned depth;          /* open elements before the token at hand */
    struct field *replacing; /* its content is being left out until depth is 1 again */
};

static struct field *wanted(struct field *fields, struct slice name)
{
    for (int i = 0; i < FIELDS; i++)
        if (fields[i].content != NULL && !fields[i].done &&
            (slice_is(name, fields[i].name) || slice_is(name, fields[i].code)))
            return &fields[i];
    return NULL;
}

/* <name/> becomes <name>content</name>. */
static bool fill_empty(const struct scan_token *t, struct field *f, struct buf *out, struct err *e)
{
    f->done = true;
    return buf_add(out, t->whole.at, t->whole.len - 2, e) && buf_add(out, ">", 1, e) &&
           buf_add_slice(out, slice_text(f->content), e) && buf_add(out, "</", 2, e) &&
           buf_add_slice(out, t->name, e) && buf_add(out, ">", 1, e);
}

static bool step(struct walk *w, const struct scan_token *t, struct field *fields, struct buf *out, struct err *e)
{
    struct field *f = NULL;

    if (t->kind == SCAN_END)
        w->depth--;
    if (w->replacing != NULL && w->depth > 1) {
        w->depth += t->kind == SCAN_START;
        return true;
    }
    w->replacing = NULL;
    if (w->depth == 1 && (t->kind == SCAN_START || t->kind == SCAN_EMPTY))
        f = wanted(fields, t->name);
    if (f != NULL && t->kind == SCAN_EMPTY)
        return fill_empty(t, f, out, e);
    if (t->kind == SCAN_START)
        w->depth++;
    if (!buf_add_slice(out, t->whole, e))
        return false;
    if (f == NULL)
        return true;
    f->done = true;
    w->replacing = f;
    return buf_add_slice(out, slice_text(f->content), e);
}

bool adapt_event(struct slice event, const struct adapt_rules *rules, struct buf *out, struct err *e)
{
    struct field fields[FIELDS] = {
        {"IDOper", "a", rules->operator_number, false},
        {"IDCoffre", "b", rules->vault_number, false},
        {"IDEvt", "d", rules->placeholder ? ADAPT_PLACEHOLDER : NULL, false},
    };
    struct walk w = {.rest = event};

    while (w.rest.len > 0) {
        struct scan_token t = scan_next(w.rest, true);

        if (t.kind == SCAN_BAD || t.kind == SCAN_MORE)
            return err_set(e, ERR_INPUT, "not an event: %s", t.why == NULL ? "unfinished" : t.why);
        if (!step(&w, &t, fields, out, e))
            return false;
        w.rest = slice_of(w.rest.at + t.whole.len, w.rest.len - t.whole.len);
    }
    for (int i = 0; i < FIELDS; i++)
        if (fields[i].content != NULL && !fields[i].done)
            return err_set(e, ERR_INPUT, "the event has no %s (or %s)", fields[i].name, fields[i].code);
    return true;
}

bool adapt_has_placeholder(struct slice event)
{
    static const char *const forms[] = {">" ADAPT_PLACEHOLDER "</IDEvt>", ">" ADAPT_PLACEHOLDER "</d>"};
    static const char *const opens[] = {"<IDEvt", "<d"};

    for (int i = 0; i < 2; i++) {
        const uint8_t *at = memmem(event.at, event.len, forms[i], strlen(forms[i]));
        size_t open = strlen(opens[i]);

        if (at != NULL && (size_t)(at - event.at) >= open && memcmp(at - open, opens[i], open) == 0)
            return true;
    }
    return false;
}
