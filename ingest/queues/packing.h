/*
 * Packs being gathered, published and waited for: the relay's bookkeeping (adaptive group commit). Deposits of many
 * fronts share packs; a pack's bytes stay here until the broker has confirmed them, so that a lost connection loses nothing.
 * Knows no socket and no clock: times are given. Input comes from fronts and is checked for framing and order.
 */
#ifndef COFFRE_PACKING_H
#define COFFRE_PACKING_H

#include "common/formats/pack.h"

enum { PACKING_FRONTS_MAX = 64, PACKING_PACKS_MAX = 2048 };

/* Tickets of one front inside one pack, both included. */
struct packing_range {
    uint32_t front;      /* slot of the front */
    uint64_t generation; /* of that slot: a front that started again has others */
    uint64_t first, last;
};

enum packing_state { PACKING_OPEN, PACKING_READY, PACKING_SENT };

struct packing_pack {
    enum packing_state state;
    uint64_t order;        /* packs are published in this order */
    uint64_t tag;          /* of the broker, while sent */
    uint64_t not_before;   /* ms, monotonic: a refused pack waits */
    bool returned;         /* the broker could not route it */
    unsigned deposits, groups;
    uint64_t sent_at;      /* us, monotonic; the relay's */
    struct packing_range ranges[PACKING_FRONTS_MAX];
    unsigned range_count;
    struct buf bytes;      /* the encrypted pack, once it is ready */
};

struct packing {
    struct pack_writer *writer;   /* borrowed */
    size_t aim;                   /* bytes of records a pack aims at */
    size_t held_max;              /* bytes of packs held before no more is taken */
    unsigned window;              /* packs sent and not confirmed */
    struct packing_pack *packs[PACKING_PACKS_MAX]; /* in order; owned */
    unsigned count;
    struct buf plain;             /* records of the open pack; wiped */
    struct packing_pack *spare;   /* one kept to be used again; owned */
    size_t held;                  /* bytes of all packs, of records in the open one */
    unsigned sent;                /* packs in state PACKING_SENT */
    uint64_t next_order;
};

/* `group_max`: bytes of the largest group of records (a transaction). */
void packing_init(struct packing *p, struct pack_writer *writer, size_t aim, size_t held_max, unsigned window);
void packing_free(struct packing *p);

/* True while another group may be taken: what a full relay does not read stays in its fronts. */
bool packing_has_room(const struct packing *p);

/*
 * Puts one group (framed deposit records, never split) into the open pack. `deposits` tells how many records it holds.
 * ERR_INPUT: the group is malformed, the front that sent it cannot be trusted any more. ERR_FATAL: a full pack could not be
 * encrypted.
 */
MUST_CHECK bool packing_add(struct packing *p, uint32_t front, uint64_t generation, uint64_t ticket, struct slice group,
                            unsigned *deposits, struct err *e);

/*
 * Ends (compresses, encrypts) the open pack when that is due: it is full, or nothing else is on its way. `all`: whatever it holds.
 */
MUST_CHECK bool packing_seal(struct packing *p, bool all, struct err *e);

/* Groups in the open pack; 0: there is none. */
unsigned packing_gathered(const struct packing *p);
/* True when packing_seal() would end a pack only because nothing else is on its way: it is small. */
bool packing_may_wait(const struct packing *p);

/* The next pack to publish at `now` ms: the oldest, even when it must wait. NULL: none, not yet, or the window is full. */
struct packing_pack *packing_next(struct packing *p, uint64_t now);
void packing_sent(struct packing *p, struct packing_pack *pack, uint64_t tag);

/* The oldest pack sent with a tag up to `tag` (exactly it unless `multiple`); NULL: none left. */
struct packing_pack *packing_find(const struct packing *p, uint64_t tag, bool multiple);
/* Confirmed or refused for good: forgotten. */
void packing_remove(struct packing *p, struct packing_pack *pack);
/* The broker has no room: published again after `not_before`. */
void packing_again(struct packing *p, struct packing_pack *pack, uint64_t not_before);
/* The connection is lost: everything sent and unconfirmed is published again, in order. */
void packing_lost(struct packing *p);

#endif
