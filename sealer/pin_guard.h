/*
 * A PIN that the token has refused is never tried again: HSMs count, and lock. What was refused is remembered in a file beside the
 * seal's memory (a salt and one byte of a digest: to recognise the PIN, not to find it), which seal and stamp share, whoever of them tried it, across restarts.
 * Beside it, which PIN file was good: one that was changed since is tried by the check of a reload, before anybody depends on it.
 */
#ifndef COFFRE_PIN_GUARD_H
#define COFFRE_PIN_GUARD_H

#include "common/system/hsm.h"
#include "common/system/settings.h"

enum { PIN_GUARD_RECORD = 17 };

struct pin_guard {
    struct hsm_pin_guard hsm; /* for struct hsm_token */
    const char *pin;          /* file; borrowed */
    char *refused, *taken;    /* <sealer.memory>.pin-refused, <sealer.memory>.pin-taken; owned */
    int lock;                 /* held while a PIN is being tried; -1 */
    uint8_t record[PIN_GUARD_RECORD]; /* what this process has seen refused, and could not write down */
    size_t record_len;
};

void pin_guard_init(struct pin_guard *g, const char *memory, const char *pin);
void pin_guard_free(struct pin_guard *g);

/*
 * For a process of its own, which ends afterwards: when the PIN file is not the one that was good, logs in with it, in the sandbox of role seal. ERR_DENIED when the token refuses it.
 * True too when the token cannot be asked, and when nobody has logged in yet: roles wait for that.
 */
MUST_CHECK bool pin_guard_try_changed(const struct settings *s, struct err *e);

#endif
