/* What is being deposited: see items.h. */
#include "ingest/deposit/items.h"

#include <stdlib.h>

static uint64_t hash(struct slice text)
{
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a: the names are our own, nobody aims collisions at us */

    for (size_t i = 0; i < text.len; i++)
        h = (h ^ text.at[i]) * 0x100000001b3u;
    return h ^ h >> 29;
}

static struct item **slot_of(const struct items *items, struct slice client_id)
{
    size_t at = hash(client_id) & (items->slot_count - 1);

    while (items->slots[at] != NULL && !slice_is(client_id, items->slots[at]->client_id))
        at = (at + 1) & (items->slot_count - 1);
    return &items->slots[at];
}

struct item *items_find(const struct items *items, struct slice client_id)
{
    return items->slot_count == 0 ? NULL : *slot_of(items, client_id);
}

static void grow(struct items *items)
{
    size_t wanted = items->slot_count == 0 ? 1024 : 2 * items->slot_count;

    free(items->slots);
    items->slots = mem_zalloc(wanted, sizeof(struct item *));
    items->slot_count = wanted;
    for (size_t i = 0; i < items->count; i++)
        *slot_of(items, slice_text(items->all[i]->client_id)) = items->all[i];
    items->all = mem_realloc(items->all, wanted * sizeof(struct item *));
}

static void enqueue(struct items *items, struct item *item)
{
    item->previous = items->newest;
    if (items->newest != NULL)
        items->newest->next = item;
    else
        items->oldest = item;
    items->newest = item;
    items->in_flight++;
}

static void dequeue(struct items *items, struct item *item)
{
    if (item->previous != NULL)
        item->previous->next = item->next;
    else
        items->oldest = item->next;
    if (item->next != NULL)
        item->next->previous = item->previous;
    else
        items->newest = item->previous;
    item->previous = item->next = NULL;
    items->in_flight--;
}

struct item *items_add(struct items *items, const char *client_id, const char *place, const char *digest,
                       struct slice body)
{
    struct item *item = mem_zalloc(1, sizeof *item);

    if (2 * (items->count + 1) > items->slot_count)
        grow(items);
    item->client_id = mem_strdup(client_id);
    item->place = mem_strdup(place);
    item->digest = mem_strdup(digest);
    item->body = mem_alloc(body.len);
    memcpy(item->body, body.at, body.len);
    item->body_len = body.len;
    items->body_bytes += body.len;
    items->all[items->count++] = item;
    item->number = items->count;
    *slot_of(items, slice_text(client_id)) = item;
    items->in_state[ITEM_SENT]++;
    enqueue(items, item);
    return item;
}

void items_move(struct items *items, struct item *item, enum item_state state)
{
    if (item->state == ITEM_SENT && state != ITEM_SENT)
        dequeue(items, item);
    items->in_state[item->state]--;
    items->in_state[state]++;
    item->state = state;
}

void items_drop_body(struct items *items, struct item *item)
{
    items->body_bytes -= item->body_len;
    free(item->body);
    item->body = NULL;
    item->body_len = 0;
}

const char *items_state_text(const struct item *item)
{
    switch (item->state) {
    case ITEM_SENT:
        return "not-deposited";
    case ITEM_DEPOSITED:
        return "deposited";
    case ITEM_ANSWERED:
        return item->duplicate ? "duplicate" : "ok";
    case ITEM_ARCHIVED:
        return "archived";
    case ITEM_INVALID:
        return "invalid";
    case ITEM_STATES:
        break;
    }
    return "?";
}

void items_free(struct items *items)
{
    for (size_t i = 0; i < items->count; i++) {
        struct item *item = items->all[i];

        free(item->client_id);
        free(item->place);
        free(item->digest);
        free(item->answer_digest);
        free(item->reason);
        free(item->body);
        free(item);
    }
    free(items->all);
    free(items->slots);
    *items = (struct items){0};
}
