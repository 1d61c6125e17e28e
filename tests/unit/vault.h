/*
 * What tests of the sealer's roles need around them: a folder, a real SoftHSM token with both keys, certificates of a test
 * authority, a configuration and a genesis. Ends the process when a tool is missing or fails.
 */
#ifndef COFFRE_TESTS_VAULT_H
#define COFFRE_TESTS_VAULT_H

#include "common/system/hsm.h"
#include "tests/chain/pki.h"

struct vault {
    char folder[64];
    struct hsm_token token;
    struct pki_identity ca, seal, tsa; /* seal and tsa: public halves only */
    uint8_t genesis[32];
    char *config, *memory; /* files; owned */
};

/* Makes a token in a new folder; SOFTHSM2_CONF points to it from now on. */
void vault_make_token(struct vault *v);
/* The same with keys, certificates, configuration, genesis and the seal's memory. */
void vault_make(struct vault *v);
/* Removes the folder. */
void vault_remove(struct vault *v);

/* A certificate of `kind` for key `label` in the token. */
struct pki_identity vault_certify(const struct vault *v, const char *label, enum pki_kind kind);

#endif
