/* Channels between running roles that have lost theirs, and those that could not be made at once: not before a second is over, and less and less often. See role_relink(). */
#include <stdlib.h>

#include "common/system/parent_internal.h"

enum { PAUSE_MIN_MS = 1000, PAUSE_MAX_MS = 60000, QUIET_MS = 10000 /* beside the last pause: then the next is short again */ };

/* One pair of roles; there are no more of them than links in the daemon's table. */
struct parent_relink {
    struct process *p, *q;
    unsigned lives[2]; /* of both when it was asked for: a restart since has linked them */
    int64_t due;       /* monotonic ms; 0: nothing is asked for */
    int64_t made, pause;
    struct parent_relink *next;
};

static struct parent_relink *find(struct process *p, struct process *q)
{
    struct parent_relink *r = p->parent->relinks;

    while (r != NULL && (r->p != p || r->q != q) && (r->p != q || r->q != p))
        r = r->next;
    if (r != NULL)
        return r;
    r = mem_zalloc(1, sizeof *r);
    *r = (struct parent_relink){.p = p, .q = q, .next = p->parent->relinks};
    p->parent->relinks = r;
    return r;
}

void parent_relink_ask(struct process *p, struct process *q)
{
    struct parent_relink *r = find(p, q);
    int64_t now = parent_now();

    r->lives[0] = r->p->life;
    r->lives[1] = r->q->life;
    if (r->due != 0)
        return;
    if (r->made == 0 || now - r->made > r->pause + QUIET_MS)
        r->pause = PAUSE_MIN_MS;
    else
        r->pause = r->pause * 2 > PAUSE_MAX_MS ? PAUSE_MAX_MS : r->pause * 2;
    r->due = now + r->pause;
}

void parent_relink_tick(struct parent *parent)
{
    int64_t now = parent_now();

    for (struct parent_relink *r = parent->relinks; r != NULL; r = r->next) {
        if (r->due == 0 || r->due > now)
            continue;
        r->due = 0;
        r->made = now;
        if (!parent->draining && r->p->channel != NULL && r->q->channel != NULL && r->p->life == r->lives[0] && r->q->life == r->lives[1])
            parent_link(r->p, r->q);
    }
}

void parent_relink_free(struct parent *parent)
{
    struct parent_relink *next;

    for (struct parent_relink *r = parent->relinks; r != NULL; r = next) {
        next = r->next;
        free(r);
    }
    parent->relinks = NULL;
}
