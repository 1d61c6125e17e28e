/* What expires when: see expiry.h. */
#include "common/identity/expiry.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/values/number.h"

enum { ITEMS_MAX = 10000, DAY_MS = 86400000 };

struct item {
    char *name;    /* owned */
    int64_t ends;  /* ms since 1970 */
    int64_t warned; /* the nearest distance given, ms; INT64_MAX: none yet */
    bool over;     /* said to be over, at `over_at` */
    int64_t over_at;
};

struct expiry {
    unsigned count; /* of distances */
    int64_t distances[EXPIRY_DISTANCES_MAX]; /* ms, nearest first */
    struct item *items; /* owned, by name */
    size_t held, room;
    size_t next; /* where expiry_next() goes on: items are not looked at again for each warning */
};

/* One duration, in the units of the configuration. */
static bool read_duration(struct slice text, int64_t *ms)
{
    static const struct {
        const char *name;
        uint64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", DAY_MS}};
    size_t digits = 0;
    uint64_t n;

    while (digits < text.len && text.at[digits] >= '0' && text.at[digits] <= '9')
        digits++;
    if (!number_parse(slice_of(text.at, digits), &n) || n == 0)
        return false;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (slice_is(slice_of(text.at + digits, text.len - digits), units[i].name)) {
            *ms = (int64_t)(n * units[i].ms);
            return n <= (uint64_t)36500 * DAY_MS / units[i].ms; /* a hundred years */
        }
    return false;
}

/* Puts a distance where it belongs. */
static void add_distance(struct expiry *x, int64_t ms)
{
    unsigned i = x->count++;

    for (; i > 0 && x->distances[i - 1] > ms; i--)
        x->distances[i] = x->distances[i - 1];
    x->distances[i] = ms;
}

static bool read_distances(struct expiry *x, const char *text, struct err *e)
{
    int64_t ms;

    while (*(text += strspn(text, " ")) != '\0') {
        size_t len = strcspn(text, " ");

        if (!read_duration(slice_of(text, len), &ms))
            return err_set(e, ERR_INPUT, "\"%.*s\" is not a duration such as 12h or 30d, of a hundred years at most", len > 80 ? 80 : (int)len, text);
        if (x->count == EXPIRY_DISTANCES_MAX)
            return err_set(e, ERR_INPUT, "more than %d distances", EXPIRY_DISTANCES_MAX);
        add_distance(x, ms);
        text += len;
    }
    return x->count != 0 || err_set(e, ERR_INPUT, "no distance: durations such as 60d 30d 7d 1d are expected");
}

struct expiry *expiry_new(const char *distances, struct err *e)
{
    struct expiry *x = mem_zalloc(1, sizeof *x);

    if (read_distances(x, distances, e))
        return x;
    expiry_free(x);
    return NULL;
}

void expiry_free(struct expiry *x)
{
    if (x == NULL)
        return;
    for (size_t i = 0; i < x->held; i++)
        free(x->items[i].name);
    free(x->items);
    free(x);
}

/* Names are cut to what warnings hold, so that the same name is found again. */
static const char *cut(char out[EXPIRY_NAME_MAX], const char *name)
{
    snprintf(out, EXPIRY_NAME_MAX, "%s", name);
    return out;
}

/* Where the name is, or would be. */
static size_t find(const struct expiry *x, const char *name, bool *there)
{
    size_t from = 0, to = x->held;

    *there = false;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        int order = strcmp(x->items[middle].name, name);

        *there |= order == 0;
        if (order < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

static void insert(struct expiry *x, size_t at, const char *name, int64_t ends)
{
    if (x->held == x->room) {
        x->room = x->room == 0 ? 64 : x->room * 2;
        x->items = mem_realloc(x->items, x->room * sizeof *x->items);
    }
    memmove(x->items + at + 1, x->items + at, (x->held - at) * sizeof *x->items);
    x->items[at] = (struct item){.name = mem_strdup(name), .ends = ends, .warned = INT64_MAX};
    x->held++;
}

void expiry_set(struct expiry *x, const char *name, int64_t ends)
{
    char text[EXPIRY_NAME_MAX];
    bool there;
    size_t at = find(x, cut(text, name), &there);

    if (!there && x->held < ITEMS_MAX)
        insert(x, at, text, ends);
    else if (there && x->items[at].ends != ends)
        x->items[at] = (struct item){.name = x->items[at].name, .ends = ends, .warned = INT64_MAX};
}

void expiry_remove(struct expiry *x, const char *name)
{
    char text[EXPIRY_NAME_MAX];
    bool there;
    size_t at = find(x, cut(text, name), &there);

    if (!there)
        return;
    free(x->items[at].name);
    x->held--;
    memmove(x->items + at, x->items + at + 1, (x->held - at) * sizeof *x->items);
}

/* Whether something is to be said of it now; it is not said again then. */
static bool due(const struct expiry *x, struct item *item, int64_t now)
{
    int64_t left = item->ends - now;

    if (left < 0) {
        if (item->over && now - item->over_at < DAY_MS)
            return false;
        item->over = true;
        item->over_at = now;
        item->warned = 0;
        return true;
    }
    for (unsigned i = 0; i < x->count; i++)
        if (left <= x->distances[i]) {
            bool nearer = x->distances[i] < item->warned;

            item->warned = nearer ? x->distances[i] : item->warned;
            return nearer;
        }
    return false;
}

static struct expiry_warning warning(const struct item *item, int64_t now)
{
    return (struct expiry_warning){item->name, item->ends, item->ends - now};
}

bool expiry_next(struct expiry *x, int64_t now, struct expiry_warning *w)
{
    for (size_t i = 0; i < x->held; i++) {
        struct item *item = &x->items[(x->next + i) % x->held];

        if (due(x, item, now)) {
            x->next = (x->next + i + 1) % x->held;
            *w = warning(item, now);
            return true;
        }
    }
    return false;
}

bool expiry_is_near(const struct expiry *x, int64_t left)
{
    return x->count != 0 && left <= x->distances[x->count - 1];
}

bool expiry_first(const struct expiry *x, struct expiry_warning *w, int64_t now)
{
    const struct item *first = NULL;

    for (size_t i = 0; i < x->held; i++)
        if (first == NULL || x->items[i].ends < first->ends)
            first = &x->items[i];
    if (first != NULL)
        *w = warning(first, now);
    return first != NULL;
}
