/*
 * How much of what fronts present is kept: each front has room for as many connections as it takes, with the longest chains. An honest one never needs more; one that a stranger has taken over, and that presents whatever
 * comes to its mind, fills its own room and nobody else's, and what finds none there is not looked at. See identity_people_internal.h.
 */
#include <inttypes.h>
#include <stdio.h>

#include "common/identity/identity_people_internal.h"
#include "common/values/log.h"

enum {
    PERSON_BYTES = 16 * 1024,   /* beside the chain itself: what each profile says of it, and of a path that is good the certificates as OpenSSL keeps them; it is less */
    CONNECTION_BYTES = 256,     /* with its place in the map */
    FRONT_BYTES_MAX = 512 << 20, /* whatever is configured: about 30,000 certificates, of whatever many connections */
    SAY_MS = 60 * 1000,
};

_Static_assert(sizeof(struct person) <= PERSON_BYTES / 2 && sizeof(struct identity_connection) + 4 * sizeof(struct map_place) <= CONNECTION_BYTES, "room");

void identity_room_limit(struct identity *i, uint64_t connections)
{
    uint64_t bytes = connections * (room_of_connection() + room_of_person(IDENTITY_CHAIN_BYTES));

    i->front_bytes = bytes < FRONT_BYTES_MAX ? bytes : FRONT_BYTES_MAX;
}

size_t room_of_connection(void)
{
    return CONNECTION_BYTES;
}

size_t room_of_person(size_t chain)
{
    return PERSON_BYTES + chain;
}

bool room_is_there(const struct identity *i, unsigned front, size_t bytes)
{
    return i->fronts[front].bytes + bytes <= i->front_bytes;
}

void room_turn_away(struct identity_people *p, unsigned front, uint64_t connection)
{
    struct identity_front *f = &p->owner->fronts[front];
    const struct identity_verdict v = {.connection = connection, .check = IDENTITY_FULL, .reason = SLICE_LITERAL("the front has presented all that is kept for it")};
    struct err e = {0};

    f->turned_away++;
    p->verdicts[v.check]++;
    if (f->channel != NULL && !f->failed && !identity_send_verdict(f->channel, &v, &e))
        identity_front_failed(p->owner, front, e.text);
}

/* The first at once, then what has come together in a minute. */
static void say(struct identity *i, unsigned front, int64_t now)
{
    struct identity_front *f = &i->fronts[front];
    char index[16], count[24], connections[24];
    const struct journal_field fields[] = {JOURNAL_TEXT("front", index), JOURNAL_TEXT("turned_away", count), JOURNAL_TEXT("connections", connections)};

    snprintf(index, sizeof index, "%u", front);
    snprintf(count, sizeof count, "%" PRIu64, f->turned_away);
    snprintf(connections, sizeof connections, "%zu", f->connections.count);
    log_error("identity-full", "front %s: %s connections are turned away: certificates of %s others fill the %" PRIu64 " bytes that a front has", index, count, connections, i->front_bytes);
    journal_write(i->journal, "identity-full", fields, sizeof fields / sizeof *fields);
    f->turned_away = 0;
    f->say_at = now + SAY_MS;
}

void room_tick(struct identity *i)
{
    int64_t now = identity_clock();

    for (unsigned n = 0; n < ROLE_INSTANCES_MAX; n++)
        if (i->fronts[n].turned_away != 0 && now >= i->fronts[n].say_at)
            say(i, n, now);
}
