/* What is written, and what is counted: see quota.h. */
#include "common/identity/quota.h"

#include <stdio.h>
#include <string.h>

static const char others[] = "others";

static bool is_over(const struct quota_kind *k, int64_t now)
{
    return now - k->since >= QUOTA_WINDOW_MS;
}

/* Its place; a new kind takes one that is free, or over with nothing left to tell. */
static struct quota_kind *place_of(struct quota *q, const char *name, int64_t now)
{
    struct quota_kind *free_one = NULL;

    for (unsigned n = 0; n < QUOTA_KINDS; n++) {
        struct quota_kind *k = &q->kinds[n];

        if (k->name[0] != '\0' && strncmp(k->name, name, sizeof k->name - 1) == 0)
            return k;
        if (free_one == NULL && (k->name[0] == '\0' || (is_over(k, now) && k->omitted == 0)))
            free_one = k;
    }
    if (free_one == NULL) {
        free_one = &q->kinds[QUOTA_KINDS];
        if (free_one->name[0] != '\0')
            return free_one;
        name = others;
    }
    *free_one = (struct quota_kind){.since = now};
    snprintf(free_one->name, sizeof free_one->name, "%s", *name == '\0' ? others : name);
    return free_one;
}

bool quota_take(struct quota *q, const char *kind, int64_t now, uint64_t *omitted)
{
    struct quota_kind *k = place_of(q, kind, now);

    if (is_over(k, now)) {
        k->since = now;
        k->written = 0;
    }
    if (k->written == QUOTA_MOST) {
        k->omitted++;
        return false;
    }
    k->written++;
    *omitted = k->omitted;
    k->omitted = 0;
    return true;
}

uint64_t quota_left(struct quota *q, int64_t now, char name[QUOTA_KIND_MAX])
{
    for (unsigned n = 0; n <= QUOTA_KINDS; n++) {
        struct quota_kind *k = &q->kinds[n];
        uint64_t omitted = k->omitted;

        if (omitted == 0 || !is_over(k, now))
            continue;
        memcpy(name, k->name, QUOTA_KIND_MAX);
        k->omitted = 0;
        return omitted;
    }
    return 0;
}
