/* When a small pack goes: see gather.h. */
#include "ingest/queues/gather.h"

enum { IN_VAIN_MAX = 6 };

void gather_confirmed(struct gather *g, uint64_t now, uint64_t took, unsigned answered, unsigned gathered)
{
    uint64_t wait;

    g->round = g->round == 0 ? took : (g->round * 7 + took) / 8;
    wait = g->round < GATHER_WAIT_MAX ? g->round : GATHER_WAIT_MAX;
    g->expected = answered + gathered;
    g->until = g->skip == 0 ? now + wait : 0;
    g->first = 0;
    if (g->skip != 0)
        g->skip--;
}

/* It was worth while when a quarter of those expected came meanwhile; after 1, 2, 3… failures 2, 4, 8… packs go without waiting. */
static void judge(struct gather *g, unsigned gathered)
{
    unsigned came = gathered - g->first;

    g->first = 0;
    if ((uint64_t)came * 4 >= g->expected) {
        g->in_vain = 0;
        return;
    }
    if (g->in_vain < IN_VAIN_MAX)
        g->in_vain++;
    g->skip = 1u << g->in_vain;
}

uint64_t gather_wait(struct gather *g, uint64_t now, unsigned gathered)
{
    if (gathered < g->expected && now < g->until) {
        if (g->first == 0)
            g->first = gathered;
        return g->until - now;
    }
    if (g->first != 0)
        judge(g, gathered);
    return 0;
}
