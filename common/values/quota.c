/* What is recorded, and what is counted: see quota.h. */
#include "common/values/quota.h"

#include <stdlib.h>

#include "common/values/buf.h"

struct kind {
    uint64_t begun, omitted;
    unsigned recorded;
    uint32_t mark; /* of its name: most of the others have another */
    bool used; /* those that never were are behind those that are */
};

struct quota {
    struct quota_limits limits;
    struct kind *kinds; /* owned; `kinds`, then `others`, then the one without a name */
    char *names;        /* owned; of each kind QUOTA_PARTS times `part` bytes */
    uint64_t begun;     /* ms: the window of all */
    unsigned recorded;
};

struct quota *quota_new(const struct quota_limits *limits)
{
    struct quota *q = mem_zalloc(1, sizeof *q);
    size_t count = (size_t)limits->kinds + limits->others + 1;

    q->limits = *limits;
    q->kinds = mem_zalloc(count, sizeof *q->kinds);
    q->names = mem_zalloc(count * QUOTA_PARTS, limits->part);
    return q;
}

void quota_free(struct quota *q)
{
    if (q == NULL)
        return;
    free(q->kinds);
    free(q->names);
    free(q);
}

static char *part_of(const struct quota *q, size_t place, unsigned part)
{
    return q->names + (place * QUOTA_PARTS + part) * q->limits.part;
}

static size_t cut(const struct quota *q, struct slice text)
{
    return text.len < q->limits.part ? text.len : q->limits.part - 1;
}

/* FNV-1a, 32 bits. Who makes up names with the same mark makes comparing a little slower. */
static uint32_t mark_of(const struct quota *q, const struct quota_name *name)
{
    uint32_t mark = 2166136261U;

    for (unsigned n = 0; n < QUOTA_PARTS; n++)
        for (size_t i = 0; i < cut(q, name->parts[n]); i++)
            mark = (mark ^ name->parts[n].at[i]) * 16777619U;
    return mark;
}

static bool is_called(const struct quota *q, size_t place, const struct quota_name *name)
{
    for (unsigned n = 0; n < QUOTA_PARTS; n++) {
        const char *part = part_of(q, place, n);
        size_t len = cut(q, name->parts[n]);

        if ((len > 0 && memcmp(part, name->parts[n].at, len) != 0) || part[len] != '\0')
            return false;
    }
    return true;
}

static void call(struct quota *q, size_t place, const struct quota_name *name)
{
    memset(part_of(q, place, 0), 0, (size_t)QUOTA_PARTS * q->limits.part);
    for (unsigned n = 0; n < QUOTA_PARTS; n++)
        if (name->parts[n].len > 0)
            memcpy(part_of(q, place, n), name->parts[n].at, cut(q, name->parts[n]));
}

static bool is_over(const struct quota *q, uint64_t begun, uint64_t now)
{
    return now - begun >= q->limits.window;
}

/* Its place from `from` on; a new kind takes one that is free, or over with nothing left to tell. `to`: there is none. */
static size_t place_among(const struct quota *q, size_t from, size_t to, uint64_t now, const struct quota_name *name)
{
    uint32_t mark = mark_of(q, name);
    size_t free_one = to;

    for (size_t i = from; i < to; i++) {
        const struct kind *k = &q->kinds[i];

        if (k->used && k->mark == mark && is_called(q, i, name))
            return i;
        if (free_one == to && (!k->used || (k->omitted == 0 && is_over(q, k->begun, now))))
            free_one = i;
        if (!k->used)
            break;
    }
    return free_one;
}

static struct kind *place_of(struct quota *q, uint64_t now, const struct quota_name *name, const struct quota_name *others)
{
    static const struct quota_name nameless;
    size_t kinds = q->limits.kinds, all = kinds + q->limits.others, i = place_among(q, 0, kinds, now, name);

    if (i == kinds) {
        name = others;
        i = place_among(q, kinds, all, now, name);
    }
    if (i == all)
        name = &nameless;
    if (!q->kinds[i].used || !is_called(q, i, name)) {
        call(q, i, name);
        q->kinds[i] = (struct kind){.used = true, .begun = now, .mark = mark_of(q, name)};
    }
    return &q->kinds[i];
}

bool quota_take(struct quota *q, uint64_t now, const struct quota_name *kind, const struct quota_name *others)
{
    struct kind *k = place_of(q, now, kind, others);

    if (is_over(q, q->begun, now)) {
        q->begun = now;
        q->recorded = 0;
    }
    /* What a window that is over owes is told of first. */
    if (k->omitted == 0 && is_over(q, k->begun, now)) {
        k->begun = now;
        k->recorded = 0;
    }
    if (k->recorded >= q->limits.each || q->recorded >= q->limits.all) {
        k->omitted++;
        return false;
    }
    k->recorded++;
    q->recorded++;
    return true;
}

bool quota_tell(struct quota *q, uint64_t now, bool all, struct quota_count *out)
{
    for (size_t i = 0; i <= (size_t)q->limits.kinds + q->limits.others; i++) {
        struct kind *k = &q->kinds[i];

        if (k->omitted == 0 || (!all && !is_over(q, k->begun, now)))
            continue;
        for (unsigned n = 0; n < QUOTA_PARTS; n++)
            out->name[n] = part_of(q, i, n);
        out->begun = k->begun;
        out->omitted = k->omitted;
        k->omitted = 0;
        return true;
    }
    return false;
}
