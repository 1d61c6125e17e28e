/* What each role of coffre-sealer may still do once it runs: one function for each row of the table in main.c. See common/system/sandbox.h. */
#include "sealer/confine.h"

void work_confine(const struct settings *s, struct sandbox *box)
{
    sandbox_use_database(box, s, s->sealer.postgresql);
    sandbox_read(box, s->regulator.ca);
    sandbox_read_list(box, &s->regulator.recipients);
}

/* The HSM's library and what it brings. Its files are where its maker wants them: only when the configuration names them can the role be kept to them. */
static void signer_confine(const struct settings *s, struct sandbox *box)
{
    box->permits = SANDBOX_MODULE | (s->sealer.module_network ? SANDBOX_NETWORK : 0);
    if (s->sealer.module_paths.count == 0)
        return;
    for (unsigned i = 0; i < s->sealer.module_paths.count; i++)
        sandbox_use(box, s->sealer.module_paths.items[i]);
    sandbox_read(box, s->sealer.module);
    sandbox_read(box, s->sealer.pin);
    sandbox_read(box, s->sealer.seal_certificate);
    sandbox_read(box, s->sealer.tsa_certificate);
    sandbox_read(box, s->regulator.ca);
    sandbox_write_beside(box, s->sealer.memory);
}

void seal_confine(const struct settings *s, struct sandbox *box)
{
    signer_confine(s, box);
}

void stamp_confine(const struct settings *s, struct sandbox *box)
{
    signer_confine(s, box);
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
