/* coffre-ingest: the table of its roles, and what --check-config checks beyond the settings themselves. */
#include <stdlib.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>

#include "common/journal/journal.h"
#include "common/identity/identity.h"
#include "common/system/remote_key.h"
#include "common/system/secret.h"
#include "common/system/tls.h"
#include "common/values/log.h"
#include "ingest/confine.h"
#include "ingest/ledger/schema_set.h"
#include "ingest/roles.h"

static unsigned fronts(const struct settings *s)
{
    return (unsigned)s->ingest.fronts;
}

static const struct settings_list *listeners(const struct settings *s)
{
    return &s->ingest.listen;
}

static uint64_t drain_ms(const struct settings *s)
{
    return s->ingest.timeouts.drain;
}

static const char *tls_key(const struct settings *s)
{
    return s->ingest.key;
}

int keys_run(struct role *self)
{
    return keys_role_run(self, tls_key);
}

/* ---- journal ------------------------------------------------------------------------------ */

static const char *broker_certificate(const struct settings *s)
{
    return s->ingest.rabbitmq_certificate;
}

static const char *broker_key(const struct settings *s)
{
    return s->ingest.rabbitmq_key;
}

static const struct journal_duty journal = {broker_certificate, broker_key};

static int journal_run(struct role *self)
{
    return journal_role_run(self, &journal);
}

static void journal_confine(const struct settings *s, struct sandbox *box)
{
    journal_role_confine(s, "coffre-ingest", &journal, box);
}

static const char *tls_certificate(const struct settings *s)
{
    return s->ingest.certificate;
}

static uint64_t connections(const struct settings *s)
{
    return s->ingest.limits.connections;
}

static const struct identity_duty identity = {.offered = 1 << ROSTER_DEPOSITOR, .certificate = tls_certificate, .connections = connections};

static int identity_run(struct role *self)
{
    return identity_role_run(self, &identity);
}

/* Draining: fronts stop reading, then what they handed over is stored or told, then the ledger, then who serves it. */
static const struct role_kind kinds[] = {
    {.name = "front", .run = front_run, .prompt = true, .confine = front_confine, .instances = fronts, .links = {"keys", "relay", "deliver", "roster", "identity"}, .listens = true,
     .drain_stage = 0},
    {.name = "relay", .run = relay_run, .confine = relay_confine, .drain_stage = 1},
    {.name = "deliver", .run = deliver_run, .confine = deliver_confine, .drain_stage = 1},
    {.name = "ledger", .run = ledger_run, .confine = ledger_confine, .links = {"inspect"}, .drain_stage = 2},
    {.name = "keys", .run = keys_run, .prompt = true, .confine = keys_confine, .drain_stage = 3},
    {.name = "roster", .run = roster_run, .confine = roster_confine, .links = {"identity"}, .drain_stage = 3},
    {.name = "identity", .run = identity_run, .prompt = true, .confine = identity_confine, .links = {"fetch", "journal"}, .drain_stage = 3},
    {.name = "fetch", .run = fetch_role_run, .prompt = true, .confine = fetch_confine, .drain_stage = 3},
    {.name = "inspect", .run = inspect_run, .prompt = true, .confine = inspect_confine, .links = {"schemas"}, .drain_stage = 3},
    {.name = "schemas", .run = schemas_run, .confine = schemas_confine, .drain_stage = 3},
    {.name = "journal", .run = journal_run, .confine = journal_confine, .links = {"front", "identity", "ledger", "schemas"}, .drain_stage = 4},
};

static bool check_private(const char *certificate, const char *key, struct err *e)
{
    return secret_check_file(key, e) && tls_check_pair(certificate, key, e);
}

static bool check_key(const char *path, struct err *e)
{
    struct secret key = {0};
    bool ok = secret_read_key(&key, path, e);

    secret_free(&key);
    return ok;
}

/*
 * Events are encrypted for whoever this certificate belongs to: it must come from the regulator's CA. An expired one is no
 * reason to refuse deposits, which could not be encrypted for anybody else.
 */
static bool comes_from(X509 *x, const char *ca, struct err *e)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    bool ok = store != NULL && ctx != NULL && X509_STORE_load_file(store, ca) == 1 &&
              X509_STORE_set_flags(store, X509_V_FLAG_NO_CHECK_TIME) == 1 && X509_STORE_CTX_init(ctx, store, x, NULL) == 1;

    if (!ok)
        err_set_openssl(e, ERR_INPUT, "%s", ca);
    else if (X509_verify_cert(ctx) != 1)
        ok = err_set(e, ERR_INPUT, "not from the regulator's CA (%s): %s", ca,
                     X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    return ok;
}

/* Lot keys are wrapped with RSAES-OAEP: a recipient without an RSA key of some strength could never decrypt, or anybody could. */
static bool check_recipient(const char *path, const char *ca, struct err *e)
{
    FILE *in = fopen(path, "re");
    X509 *x = NULL;
    const EVP_PKEY *key;
    bool ok = false;

    if (in == NULL)
        return err_set_errno(e, ERR_INPUT, "%s", path);
    x = PEM_read_X509(in, NULL, NULL, NULL);
    fclose(in);
    if (x == NULL)
        return err_set_openssl(e, ERR_INPUT, "%s: no certificate", path);
    key = X509_get0_pubkey(x);
    if (key == NULL || EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA || EVP_PKEY_get_bits(key) < 2048)
        err_set(e, ERR_INPUT, "%s: an encryption certificate needs an RSA key of 2048 bits or more", path);
    else
        ok = comes_from(x, ca, e) || err_prefix(e, "%s", path);
    X509_free(x);
    return ok;
}

/* A family that does not load is told, and stops neither the others nor the daemon: the regulator publishes such. */
static bool check_schemas(const struct settings *s, struct err *e)
{
    struct schema_set *set = mem_zalloc(1, sizeof *set);
    bool ok = schema_set_read(set, s, e);

    for (unsigned i = 0; i < set->count; i++)
        if (set->families[i].trouble != NULL)
            log_warning("schema-not-loaded", "%s: %s", set->families[i].entry, set->families[i].trouble);
    schema_set_free(set);
    free(set);
    return ok || err_prefix(e, "ingest.schemas");
}

static bool check(const struct settings *s, struct err *e)
{
    for (unsigned i = 0; i < s->ingest.pack_keys.count; i++)
        if (!check_key(s->ingest.pack_keys.items[i], e))
            return err_prefix(e, "ingest.pack_keys");
    if (!tls_check_bundle(s->regulator.ca, e))
        return err_prefix(e, "regulator.ca");
    for (unsigned i = 0; i < s->regulator.recipients.count; i++)
        if (!check_recipient(s->regulator.recipients.items[i], s->regulator.ca, e))
            return err_prefix(e, "regulator.recipients");
    if (!check_schemas(s, e))
        return false;
    if (!check_key(s->ingest.dedup_key, e))
        return err_prefix(e, "ingest.dedup_key");
    if (!check_private(s->ingest.certificate, s->ingest.key, e))
        return err_prefix(e, "ingest.key");
    if (!check_private(s->ingest.rabbitmq_certificate, s->ingest.rabbitmq_key, e))
        return err_prefix(e, "ingest.rabbitmq_key");
    if (!tls_check_bundle(s->operator_pki.ca, e))
        return err_prefix(e, "operator.ca");
    if (!tls_check_bundle(s->rabbitmq.ca, e))
        return err_prefix(e, "rabbitmq.ca");
    return identity_check_settings(s, &identity, e);
}

int main(int argc, char **argv)
{
    static const struct daemon self = {
        .name = "coffre-ingest",
        .part = SETTINGS_INGEST,
        .kinds = kinds,
        .kind_count = sizeof kinds / sizeof *kinds,
        .listen = listeners,
        .drain_ms = drain_ms,
        .check = check,
        .summary = "Takes sensors' events over STOMP and mutual TLS, numbers, encrypts and stores them.",
    };

    return daemon_main(&self, argc, argv);
}
