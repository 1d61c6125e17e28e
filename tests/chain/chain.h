/*
 * A synthetic vault for tests: lots sealed one after the other with the production code of
 * common/formats and the identities of pki.h, laid out in a folder as an extraction is.
 */
#ifndef COFFRE_TESTS_CHAIN_H
#define COFFRE_TESTS_CHAIN_H

#include "common/formats/container.h"
#include "common/formats/lot.h"
#include "common/formats/xades.h"
#include "tests/chain/pki.h"

struct chain {
    char *folder;                /* owned; NULL: nothing is written */
    struct pki_identity ca, seal, tsa, regulator;
    int64_t now_ms;              /* advances a minute a lot */
    uint64_t next_serial;
    struct lot_link link;        /* the last sealed lot */
    struct buf signatures;       /* its signatures0.xml */
    struct buf container;        /* its container */
    struct lot lot;              /* its header */
    struct buf sums;             /* its SHA256SUMS */
};

/* Makes identities and genesis; from `start_ms` on. `folder` may be NULL. */
void chain_init(struct chain *c, const char *folder, int64_t start_ms);
void chain_free(struct chain *c);

/* Seals the next lot with `events` events of about `size` bytes. */
void chain_add_lot(struct chain *c, unsigned events, size_t size);

/* signatures0.xml over these files: what chain_add_lot() does, and what a forger would. */
void chain_sign(const struct pki_identity *seal, const struct pki_identity *tsa, const struct xades_files *files,
                int64_t at_ms, struct buf *out);

/* The text of one synthetic event. */
void chain_event(uint64_t serial, size_t size, struct buf *out);

void chain_write(const char *folder, const char *name, struct slice bytes);
void chain_read(const char *path, struct buf *out);

/* Packs a folder laid out as an extraction into a segment, lots `first` to `last` only; a stranger's files go last. */
void chain_pack(const char *folder, const char *zip, uint64_t first, uint64_t last);

#endif
