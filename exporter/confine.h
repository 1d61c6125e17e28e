/* What each role of coffre-exporter may still do once it runs: role_kind.confine of the table in main.c. */
#ifndef COFFRE_EXPORTER_CONFINE_H
#define COFFRE_EXPORTER_CONFINE_H

#include "common/system/sandbox.h"

void front_confine(const struct settings *s, struct sandbox *box);
void keys_confine(const struct settings *s, struct sandbox *box);
void query_confine(const struct settings *s, struct sandbox *box);
void states_confine(const struct settings *s, struct sandbox *box);
void admin_confine(const struct settings *s, struct sandbox *box);
void identity_confine(const struct settings *s, struct sandbox *box);
void fetch_confine(const struct settings *s, struct sandbox *box);

#endif
