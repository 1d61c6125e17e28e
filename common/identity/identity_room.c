/*
 * How much of what fronts present is kept: each front has room for as many connections as it takes, with the longest chains. An honest one never needs more; one that a stranger has taken over, and that presents whatever
 * comes to its mind, fills its own room and nobody else's, and what finds none there is not looked at. Connections are bounded by number too: those that share a chain take so few bytes each that there would be hundreds
 * of thousands, under numbers of its choice, and map.c slows down with the square of those that collide. See identity_people_internal.h.
 */
#include <inttypes.h>
#include <stdio.h>

#include "common/identity/identity_people_internal.h"
#include "common/values/log.h"

/*
 * Counted of a chain are its bytes as presented, and PERSON_BYTES for all the rest: struct person, at most half of it, and of a path that is good the certificates as OpenSSL keeps them, once for all profiles. That is an
 * allowance and no bound. A leaf and an intermediate of the usual size fit; but nothing more is counted for a path of several intermediates that were presented, nor for a certificate of which OpenSSL keeps more than its
 * bytes: each of the thousands of alternative names that there is room for takes a hundred bytes and more. Only an authority of the configuration can bring either about, since of a path that is not good nothing is kept.
 * Not counted at all are OCSP answers, which are shared by all paths with that certificate, what identity_watch.c remembers of who passed, and what is parsed while a chain is looked at.
 */
enum {
    PERSON_BYTES = 16 * 1024,
    CONNECTION_BYTES = 256,     /* with its place in the map */
    PLACES_MIN = 4096,          /* the default: when fewer are configured than before, those that are there already, so many at least, still find room when identity is linked again */
    PLACE_CONNECTIONS = 4,      /* for each place: an honest front never has more than one, but for those that are over and whose GONE is under way */
    SAY_MS = 60 * 1000,
};

_Static_assert(sizeof(struct person) <= PERSON_BYTES / 2 && sizeof(struct identity_connection) + 4 * sizeof(struct map_place) <= CONNECTION_BYTES, "room");

void identity_room_limit(struct identity *i, uint64_t connections)
{
    uint64_t places = connections < PLACES_MIN ? PLACES_MIN : connections;

    i->front_bytes = places * (room_of_connection() + room_of_person(IDENTITY_CHAIN_BYTES));
    i->front_connections = places * PLACE_CONNECTIONS;
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
    return i->fronts[front].connections.count < i->front_connections && i->fronts[front].bytes + bytes <= i->front_bytes;
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
    struct journal_field fields[3];

    snprintf(index, sizeof index, "%u", front);
    snprintf(count, sizeof count, "%" PRIu64, f->turned_away);
    snprintf(connections, sizeof connections, "%zu", f->connections.count);
    fields[0] = (struct journal_field)JOURNAL_TEXT("front", index);
    fields[1] = (struct journal_field)JOURNAL_TEXT("turned_away", count);
    fields[2] = (struct journal_field)JOURNAL_TEXT("connections", connections);
    log_error("identity-full", "front %s: %s connections are turned away: a front has room for %" PRIu64 " connections and %" PRIu64 " bytes of certificates, and %s others with %zu fill it", index, count,
              i->front_connections, i->front_bytes, connections, f->bytes);
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

void identity_room_end(struct identity *i)
{
    for (unsigned n = 0; n < ROLE_INSTANCES_MAX; n++)
        if (i->fronts[n].turned_away != 0)
            say(i, n, identity_clock());
}
