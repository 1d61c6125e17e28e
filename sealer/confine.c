/* What each role of coffre-sealer may still do once it runs: one function for each row of the table in main.c. See common/system/sandbox.h. */
#include "sealer/confine.h"

void work_confine(const struct settings *s, struct sandbox *box)
{
    sandbox_use_database(box, s, s->sealer.postgresql);
    sandbox_read(box, s->regulator.ca);
    sandbox_read(box, s->sealer.seal_certificate);
    sandbox_read(box, s->sealer.tsa_certificate);
    sandbox_read_list(box, &s->regulator.recipients);
}

/* The HSM's library and what it brings. Its files are where its maker wants them. */
void seal_confine(const struct settings *s, struct sandbox *box)
{
    (void)s;
    box->permits = SANDBOX_MODULE;
}

void stamp_confine(const struct settings *s, struct sandbox *box)
{
    (void)s;
    box->permits = SANDBOX_MODULE;
}

void announce_confine(const struct settings *s, struct sandbox *box)
{
    sandbox_use_broker(box, s, s->sealer.rabbitmq_certificate, s->sealer.rabbitmq_key);
    sandbox_use_database(box, s, s->sealer.postgresql);
}

void identity_confine(const struct settings *s, struct sandbox *box)
{
    sandbox_for_identity(box, s);
}
