/* What sealing.c and sealing_gather.c share; nobody else includes it. */
#ifndef COFFRE_SEALING_INTERNAL_H
#define COFFRE_SEALING_INTERNAL_H

#include "common/formats/merkle.h"
#include "sealer/sealing.h"

/* A lot on its way; everything owned. */
struct work_lot {
    struct lot lot;
    struct buf sums;            /* SHA256SUMS */
    struct merkle merkle;       /* over its lines */
    uint64_t next_serial;       /* expected */
    struct buf previous;        /* signatures0.xml of the lot before */
    int64_t previous_sealed_ms; /* its genTime */
    struct buf lot_xml, signatures, container;
    struct xades_draft *draft;
    uint8_t value_digest[32];
    int64_t sealed_ms;
};

void work_lot_init(struct work_lot *w);
void work_lot_free(struct work_lot *w);

/*
 * Reads the lot's key and event digests: fills SHA256SUMS, the counts by type, the root, the link to the lot before and the recipients.
 * ERR_DOUBT unless the serials are exactly first..last.
 */
MUST_CHECK bool work_lot_gather(struct sealing *s, struct work_lot *w, struct err *e);

/* Asks seal or stamp within sealer.deadline; as sibling_ask(). */
MUST_CHECK bool sealing_ask(struct sealing *s, struct sibling *who, enum message type, enum message answer_type, const struct buf *question, uint64_t lot,
                            struct slice *answer, struct err *e);

/*
 * Before a lot: seal and stamp work with the same configuration from here to its end, the newest that both have checked and tried. ERR_RETRY while they
 * have none in common. A signature that seal gave before a crash is given again as it was.
 */
MUST_CHECK bool sealing_agree(struct sealing *s, uint64_t lot, struct err *e);
/* The mark that both have in force or ready; false when there is none. Pure. */
MUST_CHECK bool sealing_choose(const struct message_stands *seal, const struct message_stands *stamp, uint8_t chosen[MESSAGE_MARK]);

#endif
