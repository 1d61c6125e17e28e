/* coffre-exporter: serves the regulator's requests over HTTPS. Which roles there are and who talks to whom. */
#include <unistd.h>

#include "common/system/remote_key.h"
#include "common/system/tls.h"
#include "exporter/roles.h"

static const char *key_path(const struct settings *s)
{
    return s->exporter.key;
}

static int keys_run(struct role *self)
{
    return keys_role_run(self, key_path);
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

static bool check(const struct settings *s, struct err *e)
{
    return tls_check_pair(s->exporter.certificate, s->exporter.key, e) && tls_check_bundle(s->regulator.ca, e) &&
           (*s->operator_pki.ca == '\0' || tls_check_bundle(s->operator_pki.ca, e));
}

int main(int argc, char **argv)
{
    static const struct role_kind kinds[] = {
        {.name = "front", .run = front_run, .links = {"keys", "query"}, .listens = true, .drain_stage = 0},
        {.name = "keys", .run = keys_run, .drain_stage = 1},
        {.name = "query", .run = query_run, .instances = query_count, .drain_stage = 1},
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
