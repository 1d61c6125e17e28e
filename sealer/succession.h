/*
 * Whether a lot may be signed: it is exactly what it says it is, and follows the last one signed.
 * This is where a fork, a gap, a replay and a step back are refused. Pure: neither key, clock nor file.
 */
#ifndef COFFRE_SUCCESSION_H
#define COFFRE_SUCCESSION_H

#include "sealer/memory.h"
#include "sealer/messages.h"

enum succession {
    SUCCESSION_SIGN,   /* the next lot: sign it */
    SUCCESSION_REPEAT, /* the last lot again, the same in every field: give the remembered answer again */
};

/* What is to be signed. */
struct succession_lot {
    struct lot lot; /* complete; owned types */
    struct xades_digests files; /* `lot` is set once lot.xml is written */
    uint8_t identity[32];       /* SHA-256 of lot.xml without its recipients */
};

/*
 * Reads SHA256SUMS line by line: key files of this lot, then events first..last, every one, in order; `root` is its Merkle root.
 * ERR_DOUBT names the first line that is not so.
 */
MUST_CHECK bool succession_read_sums(struct slice sums, const struct lot *lot, uint8_t root[32], struct err *e);

/*
 * Judges a request against what is remembered. On success *what says what to do and `out` holds the lot: lot_free(&out->lot).
 * ERR_DOUBT when it must not be signed, and why. `request`'s types are moved to `out`.
 */
MUST_CHECK bool succession_judge(const struct memory *last, struct message_seal *request, struct succession_lot *out,
                                 enum succession *what, struct err *e);

#endif
