/* The relay's packs: see packing.h. */
#include "ingest/queues/packing.h"

#include <stdlib.h>

void packing_init(struct packing *p, struct pack_writer *writer, size_t aim, size_t held_max, unsigned window)
{
    *p = (struct packing){.writer = writer, .aim = aim, .held_max = held_max,
                          .window = window > PACKING_PACKS_MAX / 2 ? PACKING_PACKS_MAX / 2 : window};
    buf_init_secret(&p->plain, aim);
}

static void free_pack(struct packing_pack *pack)
{
    if (pack != NULL)
        buf_free(&pack->bytes);
    free(pack);
}

void packing_free(struct packing *p)
{
    for (unsigned i = 0; i < p->count; i++)
        free_pack(p->packs[i]);
    free_pack(p->spare);
    buf_free(&p->plain);
    p->count = 0;
    p->spare = NULL;
}

static struct packing_pack *open_pack(const struct packing *p)
{
    struct packing_pack *last = p->count == 0 ? NULL : p->packs[p->count - 1];

    return last != NULL && last->state == PACKING_OPEN ? last : NULL;
}

bool packing_has_room(const struct packing *p)
{
    return p->held < p->held_max && p->count + 2 < PACKING_PACKS_MAX;
}

static struct packing_pack *new_pack(struct packing *p, size_t group)
{
    struct packing_pack *pack = p->spare == NULL ? mem_zalloc(1, sizeof *pack) : p->spare;
    struct buf bytes = pack->bytes;

    p->spare = NULL;
    p->plain.max = group > p->aim ? group : p->aim;
    bytes.max = p->plain.max + PACK_OVERHEAD;
    buf_reset(&bytes);
    *pack = (struct packing_pack){.state = PACKING_OPEN, .order = p->next_order++, .bytes = bytes};
    p->packs[p->count++] = pack;
    return pack;
}

/* How many whole records `group` frames; 0: malformed or empty. */
static unsigned count_records(struct slice group)
{
    struct wire_reader r = wire_read(group);
    struct slice record;
    unsigned n = 0;

    while (pack_next(&r, &record))
        n++;
    return wire_end(&r, "group", NULL) ? n : 0;
}

/* Writes the ticket down; false when it does not grow, or is one front too many. */
static bool note_ticket(struct packing_pack *pack, uint32_t front, uint64_t generation, uint64_t ticket)
{
    for (unsigned i = 0; i < pack->range_count; i++) {
        struct packing_range *r = &pack->ranges[i];

        if (r->front != front || r->generation != generation)
            continue;
        if (ticket <= r->last)
            return false;
        r->last = ticket;
        return true;
    }
    if (pack->range_count == PACKING_FRONTS_MAX)
        return false;
    pack->ranges[pack->range_count++] = (struct packing_range){front, generation, ticket, ticket};
    return true;
}

static bool end_pack(struct packing *p, struct packing_pack *pack, struct err *e)
{
    if (!pack_seal(p->writer, PACK_DEPOSITS, buf_slice(&p->plain), &pack->bytes, e))
        return false;
    p->held += pack->bytes.len;
    p->held -= p->plain.len;
    if (p->plain.capacity > 2 * p->aim)
        buf_free(&p->plain);
    else
        buf_reset(&p->plain);
    pack->state = PACKING_READY;
    return true;
}

bool packing_add(struct packing *p, uint32_t front, uint64_t generation, uint64_t ticket, struct slice group,
                 unsigned *deposits, struct err *e)
{
    struct packing_pack *pack = open_pack(p);

    *deposits = count_records(group);
    if (*deposits == 0)
        return err_set(e, ERR_INPUT, "deposit %llu: malformed records", (unsigned long long)ticket);
    /* Full, or fed by as many fronts as it can name: the next pack takes the group. */
    if (pack != NULL && (p->plain.len + group.len > p->plain.max || pack->range_count == PACKING_FRONTS_MAX)) {
        if (!end_pack(p, pack, e))
            return false;
        pack = NULL;
    }
    if (pack == NULL)
        pack = new_pack(p, group.len);
    if (!note_ticket(pack, front, generation, ticket))
        return err_set(e, ERR_INPUT, "deposit %llu: its ticket does not follow", (unsigned long long)ticket);
    if (!buf_add_slice(&p->plain, group, e))
        return false;
    p->held += group.len;
    pack->deposits += *deposits;
    pack->groups++;
    return true;
}

bool packing_seal(struct packing *p, bool all, struct err *e)
{
    struct packing_pack *pack = open_pack(p);

    /* An open pack without a deposit exists only after a refused group. */
    if (pack == NULL || pack->deposits == 0)
        return true;
    if (!all && p->count > 1 && p->plain.len < p->aim)
        return true;
    return end_pack(p, pack, e);
}

unsigned packing_gathered(const struct packing *p)
{
    const struct packing_pack *pack = open_pack(p);

    return pack == NULL ? 0 : pack->groups;
}

bool packing_may_wait(const struct packing *p)
{
    return packing_gathered(p) != 0 && p->count == 1 && p->plain.len < p->aim;
}

struct packing_pack *packing_next(struct packing *p, uint64_t now)
{
    if (p->sent >= p->window)
        return NULL;
    /* Deposits keep their order: nothing overtakes a pack that waits for room in the queue. */
    for (unsigned i = 0; i < p->count; i++)
        if (p->packs[i]->state == PACKING_READY)
            return p->packs[i]->not_before <= now ? p->packs[i] : NULL;
    return NULL;
}

void packing_sent(struct packing *p, struct packing_pack *pack, uint64_t tag)
{
    pack->state = PACKING_SENT;
    pack->tag = tag;
    pack->returned = false;
    p->sent++;
}

struct packing_pack *packing_find(const struct packing *p, uint64_t tag, bool multiple)
{
    for (unsigned i = 0; i < p->count; i++) {
        struct packing_pack *pack = p->packs[i];

        if (pack->state == PACKING_SENT && (pack->tag == tag || (multiple && pack->tag < tag)))
            return pack;
    }
    return NULL;
}

static void unsend(struct packing *p, struct packing_pack *pack)
{
    if (pack->state == PACKING_SENT)
        p->sent--;
}

void packing_remove(struct packing *p, struct packing_pack *pack)
{
    unsigned i = 0;

    while (i < p->count && p->packs[i] != pack)
        i++;
    if (i == p->count)
        return;
    memmove(&p->packs[i], &p->packs[i + 1], (p->count - i - 1) * sizeof *p->packs);
    p->count--;
    unsend(p, pack);
    p->held -= pack->bytes.len;
    /* The buffer of a usual pack serves again; that of a large transaction is given back. */
    if (p->spare == NULL && pack->bytes.capacity <= 2 * p->aim + PACK_OVERHEAD)
        p->spare = pack;
    else
        free_pack(pack);
}

void packing_again(struct packing *p, struct packing_pack *pack, uint64_t not_before)
{
    unsend(p, pack);
    pack->state = PACKING_READY;
    pack->returned = false;
    pack->not_before = not_before;
}

void packing_lost(struct packing *p)
{
    for (unsigned i = 0; i < p->count; i++)
        if (p->packs[i]->state == PACKING_SENT)
            packing_again(p, p->packs[i], 0);
}
