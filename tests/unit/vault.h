/*
 * What tests of the sealer's roles need around them: a folder, a real SoftHSM token with both keys, certificates of a test
 * authority, a configuration and a genesis. Ends the process when a tool is missing or fails.
 */
#ifndef COFFRE_TESTS_VAULT_H
#define COFFRE_TESTS_VAULT_H

#include "common/formats/timestamp.h"
#include "common/system/hsm.h"
#include "tests/chain/pki.h"

struct vault {
    const char *folder;
    struct hsm_token token;            /* SOFTHSM2_CONF points to it */
    struct pki_identity ca, seal, tsa; /* seal and tsa: public halves only */
    uint8_t genesis[32];
    char *config, *memory; /* files; owned */
};
extern struct vault vault;

/* Set-up and tear-down of a group: `vault` is made, and goes with its folder (folder.h). */
int vault_set_up(void **state);
int vault_tear_down(void **state);

/* Replaces a certificate of the vault's folder, "ca", "seal" or "tsa". */
void vault_save(const struct pki_identity *id, const char *name);
/* Trust in the vault's authority; the caller's to free. */
struct trust *vault_trust(void);

#endif
