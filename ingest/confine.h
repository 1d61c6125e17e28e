/* What each role of coffre-ingest may still do once it runs: role_kind.confine of the table in main.c. */
#ifndef COFFRE_INGEST_CONFINE_H
#define COFFRE_INGEST_CONFINE_H

#include "common/system/sandbox.h"

void front_confine(const struct settings *s, struct sandbox *box);
void inspect_confine(const struct settings *s, struct sandbox *box);
void schemas_confine(const struct settings *s, struct sandbox *box);
void keys_confine(const struct settings *s, struct sandbox *box);
void relay_confine(const struct settings *s, struct sandbox *box);
void deliver_confine(const struct settings *s, struct sandbox *box);
void roster_confine(const struct settings *s, struct sandbox *box);
void ledger_confine(const struct settings *s, struct sandbox *box);
void identity_confine(const struct settings *s, struct sandbox *box);
void fetch_confine(const struct settings *s, struct sandbox *box);

#endif
