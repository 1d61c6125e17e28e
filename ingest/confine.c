/* What each role of coffre-ingest may still do once it runs: one function for each row of the table in main.c. See common/system/sandbox.h. */
#include "ingest/confine.h"

/* Strangers' bytes: connections that the parent's listeners bring, and siblings. No file, no socket of its own. */
void front_confine(const struct settings *s, struct sandbox *box)
{
    (void)s;
    box->permits = SANDBOX_ACCEPT;
}

/* Strangers' bytes again: channels, nothing else. */
void inspect_confine(const struct settings *s, struct sandbox *box)
{
    (void)s;
    box->permits = SANDBOX_BLIND;
}

/* Of a file its whole folder, for what it includes. */
void schemas_confine(const struct settings *s, struct sandbox *box)
{
    box->permits = SANDBOX_FILES;
    sandbox_read_list(box, &s->ingest.schemas);
}

void keys_confine(const struct settings *s, struct sandbox *box)
{
    sandbox_for_keys(box, s->ingest.key);
}

static void use_packs(const struct settings *s, struct sandbox *box)
{
    sandbox_use_broker(box, s, s->ingest.rabbitmq_certificate, s->ingest.rabbitmq_key);
    sandbox_read_list(box, &s->ingest.pack_keys);
}

void relay_confine(const struct settings *s, struct sandbox *box)
{
    use_packs(s, box);
}

void deliver_confine(const struct settings *s, struct sandbox *box)
{
    use_packs(s, box);
}

/* The last bindings known are kept in a file of its own. */
void roster_confine(const struct settings *s, struct sandbox *box)
{
    sandbox_use_database(box, s, s->ingest.postgresql);
    sandbox_write_below(box, s->state_dir, "bindings");
}

void ledger_confine(const struct settings *s, struct sandbox *box)
{
    use_packs(s, box);
    sandbox_use_database(box, s, s->ingest.postgresql);
    sandbox_read(box, s->ingest.dedup_key);
    sandbox_read(box, s->regulator.ca);
    sandbox_read_list(box, &s->regulator.recipients);
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
