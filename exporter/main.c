/* coffre-exporter: serves the regulator's requests over HTTPS. Which roles there are and who talks to whom. */
#include <unistd.h>

#include "common/journal/journal.h"
#include "common/identity/identity.h"
#include "common/system/remote_key.h"
#include "common/system/tls.h"
#include "exporter/confine.h"
#include "exporter/roles.h"

static const char *key_path(const struct settings *s)
{
    return s->exporter.key;
}

static int keys_run(struct role *self)
{
    return keys_role_run(self, key_path);
}

static const char *certificate_path(const struct settings *s)
{
    return s->exporter.certificate;
}

static uint64_t connections(const struct settings *s)
{
    return s->exporter.connections;
}

static const struct identity_duty identity = {
    .offered = 1 << ROSTER_READER | 1 << ROSTER_TECHNICAL | 1 << ROSTER_FUNCTIONAL,
    .certificate = certificate_path,
    .connections = connections,
};

static int identity_run(struct role *self)
{
    return identity_role_run(self, &identity);
}

/* Two, so that one slow statement does not hold up everybody. */
static unsigned query_count(const struct settings *s)
{
    (void)s;
    return 2;
}

static const struct settings_list *listen_of(const struct settings *s)
{
    return &s->exporter.listen;
}

static uint64_t drain_of(const struct settings *s)
{
    return s->exporter.drain;
}

/* ---- journal ------------------------------------------------------------------------------ */

static const char *broker_certificate(const struct settings *s)
{
    return s->exporter.rabbitmq_certificate;
}

static const char *broker_key(const struct settings *s)
{
    return s->exporter.rabbitmq_key;
}

static const struct journal_duty journal = {broker_certificate, broker_key};

static int journal_run(struct role *self)
{
    return journal_role_run(self, &journal);
}

static void journal_confine(const struct settings *s, struct sandbox *box)
{
    journal_role_confine(s, "coffre-exporter", &journal, box);
}

static bool check(const struct settings *s, struct err *e)
{
    return tls_check_pair(s->exporter.certificate, s->exporter.key, e) && tls_check_bundle(s->regulator.ca, e) &&
           (*s->operator_pki.ca == '\0' || tls_check_bundle(s->operator_pki.ca, e)) &&
           tls_check_pair(s->exporter.rabbitmq_certificate, s->exporter.rabbitmq_key, e) && tls_check_bundle(s->rabbitmq.ca, e) &&
           identity_check_settings(s, &identity, e);
}

int main(int argc, char **argv)
{
    static const struct role_kind kinds[] = {
        {.name = "front", .run = front_run, .prompt = true, .confine = front_confine, .links = {"keys", "query", "identity", "journal", "admin"}, .listens = true, .drain_stage = 0},
        {.name = "keys", .run = keys_run, .prompt = true, .confine = keys_confine, .drain_stage = 1},
        {.name = "query", .run = query_run, .confine = query_confine, .instances = query_count, .links = {"identity", "states"}, .drain_stage = 1},
        {.name = "states", .run = states_run, .prompt = true, .confine = states_confine, .drain_stage = 2},
        {.name = "admin", .run = admin_run, .confine = admin_confine, .drain_stage = 1},
        {.name = "identity", .run = identity_run, .prompt = true, .confine = identity_confine, .links = {"fetch", "journal"}, .drain_stage = 1},
        {.name = "fetch", .run = fetch_role_run, .prompt = true, .confine = fetch_confine, .drain_stage = 1},
        {.name = "journal", .run = journal_run, .confine = journal_confine, .links = {"front", "identity", "admin"}, .drain_stage = 4},
    };
    static const struct daemon exporter = {
        .name = "coffre-exporter",
        .part = SETTINGS_EXPORTER,
        .kinds = kinds,
        .kind_count = sizeof kinds / sizeof *kinds,
        .listen = listen_of,
        .drain_ms = drain_of,
        .check = check,
        .summary = "Serves extractions, evidence and status to the regulator over HTTPS with client certificates.",
    };

    return daemon_main(&exporter, argc, argv);
}
