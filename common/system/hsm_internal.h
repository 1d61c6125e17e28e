/* What hsm.c and hsm_generate.c share; nobody else includes it. */
#ifndef COFFRE_HSM_INTERNAL_H
#define COFFRE_HSM_INTERNAL_H

#include "common/system/hsm.h"

enum { HSM_PIN_MAX = 256 };

/* A PIN in memory that is locked while it is held. */
struct hsm_pin {
    char text[HSM_PIN_MAX];
};

/* Reads the PIN; false when the file cannot be read, is empty or too long. */
MUST_CHECK bool hsm_pin_read(struct hsm_pin *pin, const char *path, struct err *e);
void hsm_pin_wipe(struct hsm_pin *pin);

#endif
