/* coffre-sealer: closes lots, seals, time-stamps and chains them. Its table of roles; see coffre-sealer(8). */
#include <unistd.h>

#include "common/journal/journal.h"
#include "common/identity/identity.h"
#include "common/system/role.h"
#include "common/system/secret.h"
#include "common/system/tls.h"
#include "sealer/clock.h"
#include "sealer/confine.h"
#include "sealer/credentials.h"
#include "sealer/pin_guard.h"
#include "sealer/roles.h"
#include "sealer/sealing.h"
#include "sealer/token.h"

static uint64_t drain_ms(const struct settings *s)
{
    return s->sealer.drain;
}

/* ---- journal ------------------------------------------------------------------------------ */

static const char *broker_certificate(const struct settings *s)
{
    return s->sealer.rabbitmq_certificate;
}

static const char *broker_key(const struct settings *s)
{
    return s->sealer.rabbitmq_key;
}

static const struct journal_duty journal = {broker_certificate, broker_key};

static int journal_run(struct role *self)
{
    return journal_role_run(self, &journal);
}

static void journal_confine(const struct settings *s, struct sandbox *box)
{
    journal_role_confine(s, "coffre-sealer", &journal, box);
}

/* No stranger comes here: certificates are only watched. */
static const struct identity_duty identity = {0};

static int identity_run(struct role *self)
{
    return identity_role_run(self, &identity);
}

/* Whether it is in date and trusted is asked whenever the roles use it: a vault whose sealing certificate has ended starts, says so, and seals nothing. */
static bool check_credentials(const struct settings *s, enum credentials_duty duty, struct err *e)
{
    struct credentials *c = credentials_load(duty, s, e);

    credentials_free(c);
    return c != NULL;
}

static bool check_module(const char *path, struct err *e)
{
    return access(path, R_OK) == 0 || err_set_errno(e, ERR_INPUT, "%s", path);
}

static bool check_files(const struct settings *s, struct err *e)
{
    struct sealing sealing = {0};
    bool ok = sealing_configure(&sealing, s, e);

    sealing_free(&sealing);
    return ok && check_credentials(s, CREDENTIALS_SEAL, e) && check_credentials(s, CREDENTIALS_STAMP, e) &&
           check_module(s->sealer.module, e) && secret_check_file(s->sealer.pin, e) && tls_check_bundle(s->rabbitmq.ca, e) &&
           tls_check_pair(s->sealer.rabbitmq_certificate, s->sealer.rabbitmq_key, e);
}

static bool check(const struct settings *s, struct err *e)
{
    enum clock_source source;

    return clock_source_parse(s->sealer.clock_source, &source, e) && token_check_policy(s->sealer.tsa_policy, e) &&
           check_files(s, e) && identity_check_settings(s, &identity, e) &&
           pin_guard_try_changed(s, e); /* the last: it confines this process */
}

int main(int argc, char **argv)
{
    static const struct role_kind kinds[] = {
        {.name = "work", .run = work_run, .confine = work_confine, .links = {"seal", "stamp"}, .drain_stage = 0},
        {.name = "seal", .run = seal_run, .confine = seal_confine, .drain_stage = 1},
        {.name = "stamp", .run = stamp_run, .confine = stamp_confine, .drain_stage = 1},
        {.name = "announce", .run = announce_run, .confine = announce_confine, .drain_stage = 1},
        {.name = "identity", .run = identity_run, .prompt = true, .confine = identity_confine, .links = {"journal"}, .drain_stage = 1},
        {.name = "journal", .run = journal_run, .confine = journal_confine, .links = {"identity"}, .drain_stage = 4},
    };
    static const struct daemon sealer = {
        .name = "coffre-sealer",
        .part = SETTINGS_SEALER,
        .kinds = kinds,
        .kind_count = sizeof kinds / sizeof *kinds,
        .drain_ms = drain_ms,
        .check = check,
        .poke_kind = "work",
        .summary = "Closes the vault's lots, seals them with keys in an HSM, time-stamps and chains them.",
    };

    return daemon_main(&sealer, argc, argv);
}
