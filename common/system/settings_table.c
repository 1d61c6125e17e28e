/* Every key of the configuration: see settings.h. */
#include <stddef.h>
#include <string.h>

#include "common/system/settings_internal.h"

#define AT(field) offsetof(struct settings, field)
#define I SETTINGS_INGEST
#define S SETTINGS_SEALER
#define X SETTINGS_EXPORTER
#define DAY_MS (24ull * 3600 * 1000)
#define GIB (1ull << 30)

/* The rules of one profile; `n` is its enum roster_profile. */
#define PROFILE(name, n, parts, holders) \
    {"profiles." name ".ca", PATH, AT(profiles[n].ca), 0, 0, 0, "", "CA certificates of " holders ", with intermediates that CRLs come from"}, \
    {"profiles." name ".depth", NUMBER, AT(profiles[n].depth), 0, 0, 8, "2", "intermediate certificates in their chains, at most"}, \
    {"profiles." name ".rsa_bits", NUMBER, AT(profiles[n].rsa_bits), 0, 2048, 16384, "2048", "smallest RSA keys of their chains"}, \
    {"profiles." name ".ec_bits", NUMBER, AT(profiles[n].ec_bits), 0, 256, 521, "256", "smallest elliptic keys of their chains"}, \
    {"profiles." name ".digests", TEXT, AT(profiles[n].digests), 0, 0, 0, "sha256 sha384 sha512", "digests of the signatures of their chains"}, \
    {"profiles." name ".revocation", TEXT, AT(profiles[n].revocation), 0, 0, 0, "crl", "none, crl, ocsp, either or both: who is asked whether a certificate is revoked"}, \
    {"profiles." name ".ocsp", TEXT, AT(profiles[n].ocsp), 0, 0, 0, "", "URL of the OCSP responder, instead of the certificates' own"}, \
    {"profiles." name ".allow", TEXTS, AT(profiles[n].allow), 0, 0, 0, NULL, "networks they may come from; none: any"}

const struct settings_row settings_table[] = {
    {"vault.operator", TEXT, AT(vault.operator_id), I | S | X, 0, 0, NULL, "operator number given by the regulator: four digits"},
    {"vault.number", NUMBER, AT(vault.number), I | S | X, 1, 999, NULL, "vault number N of this operator"},
    {"state_dir", PATH, AT(state_dir), I | S | X, 0, 0, NULL, "folder for status, metrics and what a daemon keeps for itself"},
    {"log.level", TEXT, AT(log_level), 0, 0, 0, "info", "error, warning, info or debug"},

    {"rabbitmq.host", TEXT, AT(rabbitmq.host), I | S | X, 0, 0, NULL, "DNS name of the broker, as in its certificate"},
    {"rabbitmq.port", NUMBER, AT(rabbitmq.port), 0, 1, 65535, "5671", "TLS port of the broker"},
    {"rabbitmq.vhost", TEXT, AT(rabbitmq.vhost), 0, 0, 0, "coffre", "virtual host"},
    {"rabbitmq.ca", PATH, AT(rabbitmq.ca), I | S | X, 0, 0, NULL, "CA of the broker's certificate"},
    {"rabbitmq.heartbeat", DURATION, AT(rabbitmq.heartbeat), 0, 1000, 600000, "10s", "AMQP heart-beat: a silent broker is left after two"},

    {"postgresql.conninfo", TEXT, AT(postgresql.conninfo), I | S | X, 0, 0, NULL, "libpq connection string, without user and dbname"},

    {"operator.ca", PATH, AT(operator_pki.ca), I, 0, 0, NULL, "CA certificates of the depositors"},
    {"regulator.ca", PATH, AT(regulator.ca), I | S | X, 0, 0, NULL, "CA certificates of readers, administrators, seal and TSA"},
    {"regulator.recipients", PATHS, AT(regulator.recipients), I | S, 0, 0, NULL, "encryption certificates of the regulator, current and next"},

    PROFILE("depositor", 1, 0, "sensors (operator.ca)"),
    PROFILE("reader", 2, 0, "readers (regulator.ca)"),
    PROFILE("technical", 3, 0, "technical administrators (operator.ca)"),
    PROFILE("functional", 4, 0, "functional administrators (regulator.ca)"),
    {"revocation.crls", PATHS, AT(revocation.crls), 0, 0, 0, NULL, "CRLs, PEM or DER: files, and folders whose files are all read"},
    {"revocation.fetch", TEXTS, AT(revocation.fetch), 0, 0, 0, NULL, "URLs CRLs are fetched from"},
    {"revocation.fetch_every", DURATION, AT(revocation.fetch_every), 0, 1000, DAY_MS, "1h", "how often; a CRL about to end is fetched sooner"},
    {"revocation.crl_bytes", SIZE, AT(revocation.crl_bytes), 0, 1024, 64 << 20, "16MiB", "bytes of a CRL, at most"},
    {"revocation.max_stale", DURATION, AT(revocation.max_stale), 0, 0, 30 * DAY_MS, "0s", "how long CRLs and OCSP answers are believed after their nextUpdate"},
    {"revocation.timeout", DURATION, AT(revocation.timeout), 0, 100, 60000, "5s", "longest time for an OCSP answer; CRLs get six times as long"},
    {"revocation.ocsp_reuse", DURATION, AT(revocation.ocsp_reuse), 0, 1000, DAY_MS, "5m", "an OCSP answer is asked for again after this, or at its nextUpdate if that is sooner"},
    {"revocation.ocsp_nonce", TEXT, AT(revocation.ocsp_nonce), 0, 0, 0, "optional", "off, optional or required: whether OCSP answers repeat our nonce"},
    {"revocation.stapling", BOOLEAN, AT(revocation.stapling), 0, 0, 0, "true", "staple OCSP answers for our own server certificate, when it names a responder"},
    {"expiry.warn", TEXT, AT(expiry.warn), 0, 0, 0, "60d 30d 7d 1d", "how long before the end of a certificate or CRL to warn"},
    {"roles.quorum", NUMBER, AT(roles.quorum), 0, 1, 2, "1", "people that a change of role bindings needs"},
    {"journal.spool_bytes", SIZE, AT(journal.spool_bytes), 0, 1 << 20, 16 * GIB, "256MiB", "journal records kept on disk while RabbitMQ is away"},

    {"lot.age", DURATION, AT(lot.age), 0, 1000, DAY_MS, "60s", "a lot closes this long after its first event"},
    {"lot.count", NUMBER, AT(lot.count), 0, 1, 100000, "10000", "most events in a lot"},
    {"lot.bytes", SIZE, AT(lot.bytes), 0, 1 << 20, 16 * GIB, "256MiB", "most bytes of encrypted events in a lot"},
    {"lot.idle", DURATION, AT(lot.idle), 0, 1000, 30 * DAY_MS, "1d", "an idle vault seals an empty lot this often"},

    {"ingest.listen", TEXTS, AT(ingest.listen), I, 0, 0, "0.0.0.0:6163", "addresses for sensors"},
    {"ingest.fronts", NUMBER, AT(ingest.fronts), 0, 1, 64, "1", "front processes"},
    {"ingest.certificate", PATH, AT(ingest.certificate), I, 0, 0, NULL, "server certificate and chain shown to sensors"},
    {"ingest.key", PATH, AT(ingest.key), I, 0, 0, NULL, "its private key"},
    {"ingest.rabbitmq_certificate", PATH, AT(ingest.rabbitmq_certificate), I, 0, 0, NULL, "client certificate towards the broker"},
    {"ingest.rabbitmq_key", PATH, AT(ingest.rabbitmq_key), I, 0, 0, NULL, "its private key"},
    {"ingest.postgresql", TEXT, AT(ingest.postgresql), 0, 0, 0, "", "added to postgresql.conninfo, for example sslcert and sslkey"},
    {"ingest.pack_keys", PATHS, AT(ingest.pack_keys), I, 0, 0, NULL, "files of 32 random bytes: the first encrypts packs, all decrypt"},
    {"ingest.dedup_key", PATH, AT(ingest.dedup_key), I, 0, 0, NULL, "file of 32 random bytes that hides what identifies a deposit; never changes"},
    {"ingest.limits.connections", NUMBER, AT(ingest.limits.connections), 0, 1, 1000000, "4096", "connections per front"},
    {"ingest.limits.frame_headers", NUMBER, AT(ingest.limits.frame_headers), 0, 8, 1000, "64", "header lines in a frame"},
    {"ingest.limits.header_bytes", SIZE, AT(ingest.limits.header_bytes), 0, 256, 1 << 20, "16KiB", "bytes of all headers of a frame"},
    {"ingest.limits.body_bytes", SIZE, AT(ingest.limits.body_bytes), 0, 1024, 16 << 20, "1MiB", "bytes of an event"},
    {"ingest.limits.transaction_bytes", SIZE, AT(ingest.limits.transaction_bytes), 0, 1024, 64 << 20, "8MiB", "bytes of a transaction"},
    {"ingest.limits.transactions", NUMBER, AT(ingest.limits.transactions), 0, 1, 1000, "256", "open transactions per connection"},
    {"ingest.limits.subscriptions", NUMBER, AT(ingest.limits.subscriptions), 0, 1, 1000, "64", "subscriptions per connection, temporary queues included"},
    {"ingest.limits.pending_bytes", SIZE, AT(ingest.limits.pending_bytes), 0, 1 << 20, GIB, "16MiB", "deposits a front holds unconfirmed before it stops reading"},
    {"ingest.limits.unacknowledged_bytes", SIZE, AT(ingest.limits.unacknowledged_bytes), 0, 1 << 20, 16 * GIB, "128MiB", "memory for answers that all sensors have fetched and not yet acknowledged"},
    {"ingest.timeouts.handshake", DURATION, AT(ingest.timeouts.handshake), 0, 100, 600000, "10s", "TLS handshake"},
    {"ingest.timeouts.connect", DURATION, AT(ingest.timeouts.connect), 0, 100, 600000, "10s", "from handshake to CONNECT, and the longest time a frame may take to arrive"},
    {"ingest.timeouts.stall", DURATION, AT(ingest.timeouts.stall), 0, 1000, DAY_MS, "30s", "a deposit the broker does not confirm for so long is answered ERROR"},
    {"ingest.timeouts.write", DURATION, AT(ingest.timeouts.write), 0, 1000, 600000, "30s", "a peer that does not read"},
    {"ingest.timeouts.inactivity", DURATION, AT(ingest.timeouts.inactivity), 0, 500, 3600000, "30s", "OpenWire: silence after which a connection is dead, offered to clients"},
    {"ingest.timeouts.heartbeat_min", DURATION, AT(ingest.timeouts.heartbeat_min), 0, 100, 600000, "1s", "shortest heart-beat granted"},
    {"ingest.timeouts.drain", DURATION, AT(ingest.timeouts.drain), 0, 100, 600000, "20s", "time to finish at shutdown"},
    {"ingest.timeouts.takeover", DURATION, AT(ingest.timeouts.takeover), 0, 100, 600000, "10s", "a standby ledger ends the session of a silent one after this"},
    {"ingest.pack_bytes", SIZE, AT(ingest.pack_bytes), 0, 4096, 4 << 20, "64KiB", "size a pack aims at under load"},
    {"ingest.pack_window", NUMBER, AT(ingest.pack_window), 0, 1, 1024, "16", "packs published and not yet confirmed"},
    {"ingest.batch_events", NUMBER, AT(ingest.batch_events), 0, 1, 100000, "2000", "events the ledger writes in one transaction"},
    {"ingest.event_depth", NUMBER, AT(ingest.event_depth), 0, 4, 256, "32", "nesting depth of an event"},
    {"ingest.schemas", PATHS, AT(ingest.schemas), 0, 0, 0, NULL, "schemas of events (XSD): files, and folders whose *.xsd are all read; what they include is below the same folder"},
    {"ingest.schema_policy", TEXT, AT(ingest.schema_policy), 0, 0, 0, "record", "off, record or refuse: what becomes of an event that does not fit its schema"},
    {"ingest.schema_unknown", TEXT, AT(ingest.schema_unknown), 0, 0, 0, "record", "off, record or refuse: the same for an event whose type no schema declares"},

    {"sealer.rabbitmq_certificate", PATH, AT(sealer.rabbitmq_certificate), S, 0, 0, NULL, "client certificate towards the broker"},
    {"sealer.rabbitmq_key", PATH, AT(sealer.rabbitmq_key), S, 0, 0, NULL, "its private key"},
    {"sealer.postgresql", TEXT, AT(sealer.postgresql), 0, 0, 0, "", "added to postgresql.conninfo"},
    {"sealer.module", PATH, AT(sealer.module), S, 0, 0, NULL, "PKCS#11 library"},
    {"sealer.module_paths", PATHS, AT(sealer.module_paths), 0, 0, 0, NULL, "files it reads and folders it reads and writes; none: seal and stamp are not confined to any"},
    {"sealer.module_network", BOOLEAN, AT(sealer.module_network), 0, 0, 0, "true", "it needs sockets, to reach its HSM"},
    {"sealer.token", TEXT, AT(sealer.token), S, 0, 0, NULL, "token label"},
    {"sealer.pin", PATH, AT(sealer.pin), S, 0, 0, NULL, "file with the user PIN"},
    {"sealer.seal_key", TEXT, AT(sealer.seal_key), 0, 0, 0, "seal", "label of the sealing key"},
    {"sealer.seal_certificate", PATH, AT(sealer.seal_certificate), S, 0, 0, NULL, "sealing certificate and chain"},
    {"sealer.algorithm", TEXT, AT(sealer.algorithm), 0, 0, 0, "rsa-sha256", "signature of lots: rsa-sha256, or rsa-pss-sha256 (not known to xmlsec 1.2)"},
    {"sealer.tsa_key", TEXT, AT(sealer.tsa_key), 0, 0, 0, "tsa", "label of the time-stamping key"},
    {"sealer.tsa_certificate", PATH, AT(sealer.tsa_certificate), S, 0, 0, NULL, "time-stamping certificate and chain"},
    {"sealer.tsa_policy", TEXT, AT(sealer.tsa_policy), 0, 0, 0, "1.3.6.1.4.1.99999.1.1", "OID of the time-stamping policy"},
    {"sealer.memory", PATH, AT(sealer.memory), S, 0, 0, NULL, "file, outside the database and in a folder of its own, that remembers the last signed lot"},
    {"sealer.clock.source", TEXT, AT(sealer.clock_source), 0, 0, 0, "kernel", "kernel (disciplined by NTP), or local-trusted (development only)"},
    {"sealer.clock.max_error", DURATION, AT(sealer.clock_max_error), 0, 1, 60000, "500ms", "largest error of the clock to seal with"},
    {"sealer.deadline", DURATION, AT(sealer.deadline), 0, 100, 600000, "10s", "longest time for an HSM operation"},
    {"sealer.takeover", DURATION, AT(sealer.takeover), 0, 1000, 600000, "10s", "a standby sealer ends the session of a silent one after this"},
    {"sealer.drain", DURATION, AT(sealer.drain), 0, 100, 600000, "30s", "time to finish at shutdown"},
    {"sealer.close_at_shutdown", BOOLEAN, AT(sealer.close_at_shutdown), 0, 0, 0, "true", "close and seal the open lot at shutdown"},

    {"exporter.listen", TEXTS, AT(exporter.listen), X, 0, 0, "0.0.0.0:443", "addresses for the regulator"},
    {"exporter.certificate", PATH, AT(exporter.certificate), X, 0, 0, NULL, "server certificate and chain"},
    {"exporter.key", PATH, AT(exporter.key), X, 0, 0, NULL, "its private key"},
    {"exporter.rabbitmq_certificate", PATH, AT(exporter.rabbitmq_certificate), X, 0, 0, NULL, "client certificate towards the broker"},
    {"exporter.rabbitmq_key", PATH, AT(exporter.rabbitmq_key), X, 0, 0, NULL, "its private key"},
    {"exporter.postgresql", TEXT, AT(exporter.postgresql), 0, 0, 0, "", "added to postgresql.conninfo"},
    {"exporter.connections", NUMBER, AT(exporter.connections), 0, 1, 100000, "1024", "connections at once"},
    {"exporter.segment_bytes", SIZE, AT(exporter.segment_bytes), 0, 1 << 20, 1024 * GIB, "1GiB", "size a segment aims at: whole lots, at least one"},
    {"exporter.timeouts.request", DURATION, AT(exporter.request_timeout), 0, 100, 600000, "15s", "handshake and request head"},
    {"exporter.timeouts.write", DURATION, AT(exporter.write_timeout), 0, 1000, 600000, "60s", "a peer that does not read"},
    {"exporter.timeouts.drain", DURATION, AT(exporter.drain), 0, 100, 600000, "20s", "time to finish at shutdown"},
};

const size_t settings_rows = sizeof settings_table / sizeof *settings_table;
_Static_assert(sizeof settings_table / sizeof *settings_table <= SETTINGS_ROWS_MAX, "more rows than their readers have room for");

/* What roles look at only when they start; a name that ends in a dot stands for all below it. */
static const char *const fixed[] = {
    "vault.", "state_dir", "rabbitmq.", "postgresql.",
    "ingest.listen", "ingest.fronts", "ingest.rabbitmq_certificate", "ingest.rabbitmq_key", "ingest.postgresql", "ingest.dedup_key",
    "ingest.timeouts.takeover", "ingest.pack_bytes", "ingest.pack_window", "ingest.event_depth",
    "sealer.rabbitmq_certificate", "sealer.rabbitmq_key", "sealer.postgresql", "sealer.module", "sealer.module_paths", "sealer.module_network", "sealer.token",
    "sealer.memory", "sealer.clock.", "sealer.deadline", "sealer.takeover", "sealer.drain", "sealer.close_at_shutdown",
    "exporter.listen", "exporter.rabbitmq_certificate", "exporter.rabbitmq_key", "exporter.postgresql", "exporter.connections",
};

bool settings_is_live(const struct settings_row *row)
{
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) {
        size_t len = strlen(fixed[i]);

        if (strcmp(fixed[i], row->key) == 0 || (fixed[i][len - 1] == '.' && strncmp(fixed[i], row->key, len) == 0))
            return false;
    }
    return true;
}
