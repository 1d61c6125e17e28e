/* What each role of coffre-sealer may still do once it runs: role_kind.confine of the table in main.c. */
#ifndef COFFRE_SEALER_CONFINE_H
#define COFFRE_SEALER_CONFINE_H

#include "common/system/sandbox.h"

void work_confine(const struct settings *s, struct sandbox *box);
void seal_confine(const struct settings *s, struct sandbox *box);
void stamp_confine(const struct settings *s, struct sandbox *box);
void announce_confine(const struct settings *s, struct sandbox *box);
void identity_confine(const struct settings *s, struct sandbox *box);

#endif
