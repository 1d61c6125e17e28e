/* The sandboxes of the roles that are the same in every daemon. See sandbox.h. */
#include "common/system/sandbox_internal.h"

void sandbox_for_keys(struct sandbox *box, const char *key)
{
    box->permits = SANDBOX_FILES;
    sandbox_read(box, key);
}

/* Every certificate and list that the configuration names: what is not used is watched for its end. */
void sandbox_for_identity(struct sandbox *box, const struct settings *s)
{
    const char *files[] = {s->operator_pki.ca,         s->regulator.ca,           s->rabbitmq.ca,         s->ingest.certificate,        s->ingest.rabbitmq_certificate,
                           s->sealer.seal_certificate, s->sealer.tsa_certificate, s->exporter.certificate, s->sealer.rabbitmq_certificate, s->exporter.rabbitmq_certificate};

    box->permits = SANDBOX_FILES;
    for (unsigned i = 0; i < sizeof files / sizeof *files; i++)
        sandbox_read(box, files[i]);
    for (unsigned i = 0; i < sizeof s->profiles / sizeof *s->profiles; i++)
        if (s->profiles[i].ca != NULL)
            sandbox_read(box, s->profiles[i].ca);
    sandbox_read_list(box, &s->regulator.recipients);
    sandbox_read_list(box, &s->revocation.crls);
    sandbox_write_below(box, s->state_dir, "crl");
}

/* HTTP servers of other people, on any port: their CAs are the system's. */
void sandbox_for_fetch(struct sandbox *box)
{
    box->permits = SANDBOX_CONNECT | SANDBOX_THREADS;
    sandbox_read(box, "/etc/ssl/certs");
    sandbox_read(box, "/usr/share/ca-certificates");
    sandbox_read(box, "/usr/local/share/ca-certificates");
}
