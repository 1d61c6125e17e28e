/* What each role of coffre-exporter may still do once it runs: one function for each row of the table in main.c. See common/system/sandbox.h. */
#include "exporter/confine.h"

/* Strangers' bytes: connections that the parent's listeners bring, and siblings. No file, no socket of its own. */
void front_confine(const struct settings *s, struct sandbox *box)
{
    (void)s;
    box->permits = SANDBOX_ACCEPT;
}

void keys_confine(const struct settings *s, struct sandbox *box)
{
    sandbox_for_keys(box, s->exporter.key);
}

void query_confine(const struct settings *s, struct sandbox *box)
{
    sandbox_use_database(box, s, s->exporter.postgresql);
}

/* What the daemons of this host write for monitors lies in one folder with what roles keep for themselves; so who reads there has nobody to tell it but query. */
void states_confine(const struct settings *s, struct sandbox *box)
{
    box->permits = SANDBOX_FILES;
    sandbox_read(box, s->state_dir);
}

void admin_confine(const struct settings *s, struct sandbox *box)
{
    sandbox_use_database(box, s, s->exporter.postgresql);
}

void identity_confine(const struct settings *s, struct sandbox *box)
{
    sandbox_for_identity(box, s);
}

void fetch_confine(const struct settings *s, struct sandbox *box)
{
    (void)s;
    sandbox_for_fetch(box);
}
