/* Metrics of several daemons in one text: see metrics.h. Pure. */
#include "exporter/metrics.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

/* One line; all borrowed from its source. */
struct sample {
    struct slice name, labels, value; /* labels: what is between the braces */
    unsigned source;
    size_t order; /* among all */
};

struct samples {
    struct sample *at; /* owned */
    size_t count, room;
    size_t dropped[METRICS_SOURCES_MAX]; /* lines that are none */
};

bool metrics_is_daemon(struct slice name)
{
    if (name.len == 0 || name.len >= METRICS_NAME_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (name.at[i] >= 0x80 || (!isalnum(name.at[i]) && name.at[i] != '-' && name.at[i] != '@'))
            return false;
    return true;
}

/* ---- reading ------------------------------------------------------------------------------------------ */

/* [a-zA-Z_][a-zA-Z0-9_]*, and ':' in names of metrics; how many bytes. */
static size_t name_length(struct slice s, bool colons)
{
    size_t len = 0;

    while (len < s.len && s.at[len] < 0x80 && (isalpha(s.at[len]) || s.at[len] == '_' || (colons && s.at[len] == ':') || (len > 0 && isdigit(s.at[len]))))
        len++;
    return len;
}

static void skip(struct slice *s, size_t len)
{
    s->at += len;
    s->len -= len;
}

enum { LABELS_MAX = 16 };

/* Names of one sample's labels, each there once: a reader of the format refuses the whole text for two. */
struct label_names {
    struct slice at[LABELS_MAX];
    unsigned count;
};

/* A label `daemon` is ours to give. */
static bool take_name(struct label_names *names, struct slice name)
{
    if (name.len == 0 || names->count == LABELS_MAX || slice_is(name, "daemon"))
        return false;
    for (unsigned i = 0; i < names->count; i++)
        if (slice_equal(names->at[i], name))
            return false;
    names->at[names->count++] = name;
    return true;
}

/* name="value"; in the value a backslash, a quotation mark and a line feed are escaped. */
static bool skip_label(struct slice *s, struct label_names *names)
{
    size_t len = name_length(*s, false);

    if (!take_name(names, slice_of(s->at, len)))
        return false;
    skip(s, len);
    if (s->len < 2 || s->at[0] != '=' || s->at[1] != '"')
        return false;
    skip(s, 2);
    while (s->len != 0 && s->at[0] != '"') {
        bool escape = s->at[0] == '\\';

        if (s->at[0] < 0x20 || s->at[0] >= 0x7f || (escape && (s->len < 2 || strchr("\\\"n", s->at[1]) == NULL || s->at[1] == '\0')))
            return false;
        skip(s, escape ? 2 : 1);
    }
    if (s->len == 0)
        return false;
    skip(s, 1);
    return true;
}

static bool skip_labels(struct slice *s)
{
    struct label_names names = {.count = 0};

    while (s->len != 0 && s->at[0] != '}') {
        if (!skip_label(s, &names))
            return false;
        if (s->len != 0 && s->at[0] == ',')
            skip(s, 1);
        else if (s->len == 0 || s->at[0] != '}')
            return false;
    }
    return s->len != 0;
}

/* As strtod() reads it, whole; NaN and infinities included. */
static bool is_value(struct slice s)
{
    char text[64], *end;

    if (s.len == 0 || s.len >= sizeof text || isspace(s.at[0]))
        return false;
    memcpy(text, s.at, s.len);
    text[s.len] = '\0';
    (void)strtod(text, &end);
    return end == text + s.len && strpbrk(text, "xXpP(") == NULL;
}

/* What write_sources() says: with a second TYPE a reader of the format refuses the whole text. */
static bool is_ours(struct slice name)
{
    return slice_is(name, "coffre_metrics_age_seconds") || slice_is(name, "coffre_metrics_left_out");
}

static bool read_sample(struct slice line, struct sample *out)
{
    size_t len = name_length(line, true);

    *out = (struct sample){.name = slice_of(line.at, len)};
    if (len == 0 || line.len > METRICS_LINE_MAX || is_ours(out->name))
        return false;
    skip(&line, len);
    if (line.len != 0 && line.at[0] == '{') {
        skip(&line, 1);
        out->labels.at = line.at;
        if (!skip_labels(&line))
            return false;
        out->labels.len = (size_t)(line.at - out->labels.at);
        if (out->labels.len != 0 && out->labels.at[out->labels.len - 1] == ',')
            out->labels.len--;
        skip(&line, 1);
    }
    if (line.len == 0 || line.at[0] != ' ')
        return false;
    skip(&line, 1);
    out->value = line;
    return is_value(line);
}

static void add_sample(struct samples *all, struct sample s)
{
    if (all->count == all->room) {
        all->room = all->room == 0 ? 256 : 2 * all->room;
        all->at = mem_realloc(all->at, all->room * sizeof *all->at);
    }
    s.order = all->count;
    all->at[all->count++] = s;
}

static void read_source(struct samples *all, struct slice text, unsigned source)
{
    while (text.len != 0) {
        const uint8_t *end = memchr(text.at, '\n', text.len);
        struct slice line = slice_of(text.at, end == NULL ? text.len : (size_t)(end - text.at));
        struct sample s;

        if (line.len != 0 && line.at[0] != '#') {
            if (read_sample(line, &s)) {
                s.source = source;
                add_sample(all, s);
            } else {
                all->dropped[source]++;
            }
        }
        skip(&text, line.len + (end == NULL ? 0 : 1));
    }
}

/* ---- writing ------------------------------------------------------------------------------------------ */

/* Names apart, each name's samples as they came. */
static int by_name(const void *a, const void *b)
{
    const struct sample *x = a, *y = b;
    size_t common = x->name.len < y->name.len ? x->name.len : y->name.len;
    int order = memcmp(x->name.at, y->name.at, common);

    if (order != 0)
        return order;
    if (x->name.len != y->name.len)
        return x->name.len < y->name.len ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static bool is_counter(struct slice name)
{
    static const char suffix[] = "_total";

    return name.len > sizeof suffix - 1 && memcmp(name.at + name.len - (sizeof suffix - 1), suffix, sizeof suffix - 1) == 0;
}

static bool write_samples(const struct samples *all, const struct metrics_source *sources, struct buf *out, struct err *e)
{
    for (size_t i = 0; i < all->count; i++) {
        const struct sample *s = &all->at[i];

        if ((i == 0 || !slice_equal(all->at[i - 1].name, s->name)) &&
            !buf_printf(out, e, "# TYPE %.*s %s\n", SLICE_ARGS(s->name), is_counter(s->name) ? "counter" : "gauge"))
            return false;
        if (!buf_printf(out, e, "%.*s{daemon=\"%s\"%s%.*s} %.*s\n", SLICE_ARGS(s->name), sources[s->source].daemon, s->labels.len == 0 ? "" : ",",
                        (int)s->labels.len, s->labels.len == 0 ? "" : (const char *)s->labels.at, SLICE_ARGS(s->value)))
            return false;
    }
    return true;
}

/* What is said about the sources themselves. */
static bool write_sources(const struct samples *all, const struct metrics_source *sources, unsigned count, struct buf *out, struct err *e)
{
    bool ok = buf_printf(out, e, "# HELP coffre_metrics_age_seconds Time since the daemon wrote its metrics.\n# TYPE coffre_metrics_age_seconds gauge\n");

    for (unsigned i = 0; ok && i < count; i++)
        ok = buf_printf(out, e, "coffre_metrics_age_seconds{daemon=\"%s\"} %.3f\n", sources[i].daemon, sources[i].age);
    ok = ok && buf_printf(out, e, "# HELP coffre_metrics_left_out Lines of the daemon's metrics that are not told; -1: all.\n# TYPE coffre_metrics_left_out gauge\n");
    for (unsigned i = 0; ok && i < count; i++)
        ok = buf_printf(out, e, "coffre_metrics_left_out{daemon=\"%s\"} %lld\n", sources[i].daemon, sources[i].left_out ? -1LL : (long long)all->dropped[i]);
    return ok;
}

static bool merge_all(const struct metrics_source *sources, unsigned count, struct buf *out, struct err *e)
{
    struct samples all = {0};
    bool ok;

    if (count > METRICS_SOURCES_MAX)
        return err_set(e, ERR_INPUT, "metrics of more than %d daemons", METRICS_SOURCES_MAX);
    for (unsigned i = 0; i < count; i++)
        if (!sources[i].left_out)
            read_source(&all, sources[i].text, i);
    if (all.count != 0)
        qsort(all.at, all.count, sizeof *all.at, by_name);
    ok = write_sources(&all, sources, count, out, e) && write_samples(&all, sources, out, e);
    free(all.at);
    return ok;
}

static struct metrics_source *longest(struct metrics_source *sources, unsigned count)
{
    struct metrics_source *most = NULL;

    for (unsigned i = 0; i < count; i++)
        if (!sources[i].left_out && (most == NULL || sources[i].text.len > most->text.len))
            most = &sources[i];
    return most;
}

bool metrics_merge(struct metrics_source *sources, unsigned count, struct buf *out, struct err *e)
{
    while (!merge_all(sources, count, out, e)) {
        struct metrics_source *most = count > METRICS_SOURCES_MAX ? NULL : longest(sources, count);

        if (most == NULL)
            return false;
        most->left_out = true;
        buf_reset(out);
    }
    return true;
}
