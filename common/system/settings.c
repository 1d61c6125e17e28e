/* The configuration table and its reader: see settings.h. */
#include "common/system/settings.h"

#include <ctype.h>
#include <errno.h>
#include <libgen.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#include "common/values/buf.h"

enum type { TEXT, PATH, NUMBER, DURATION, SIZE, BOOLEAN, TEXTS, PATHS };

struct row {
    const char *key;      /* dotted path in the file */
    enum type type;
    size_t offset;        /* in struct settings */
    unsigned required;    /* parts that cannot do without */
    uint64_t min, max;    /* of numbers, ms of durations, bytes of sizes */
    const char *fallback; /* as it would be written in the file; NULL: empty */
    const char *meaning;
};

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

static const struct row table[] = {
    {"vault.operator", TEXT, AT(vault.operator_id), I | S | X, 0, 0, NULL, "operator number given by the regulator: four digits"},
    {"vault.number", NUMBER, AT(vault.number), I | S | X, 1, 999, NULL, "vault number N of this operator"},
    {"state_dir", PATH, AT(state_dir), I | S | X, 0, 0, NULL, "folder for status, metrics and the sealer's memory"},
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

    {"sealer.rabbitmq_certificate", PATH, AT(sealer.rabbitmq_certificate), S, 0, 0, NULL, "client certificate towards the broker"},
    {"sealer.rabbitmq_key", PATH, AT(sealer.rabbitmq_key), S, 0, 0, NULL, "its private key"},
    {"sealer.postgresql", TEXT, AT(sealer.postgresql), 0, 0, 0, "", "added to postgresql.conninfo"},
    {"sealer.module", PATH, AT(sealer.module), S, 0, 0, NULL, "PKCS#11 library"},
    {"sealer.token", TEXT, AT(sealer.token), S, 0, 0, NULL, "token label"},
    {"sealer.pin", PATH, AT(sealer.pin), S, 0, 0, NULL, "file with the user PIN"},
    {"sealer.seal_key", TEXT, AT(sealer.seal_key), 0, 0, 0, "seal", "label of the sealing key"},
    {"sealer.seal_certificate", PATH, AT(sealer.seal_certificate), S, 0, 0, NULL, "sealing certificate and chain"},
    {"sealer.algorithm", TEXT, AT(sealer.algorithm), 0, 0, 0, "rsa-sha256", "signature of lots: rsa-sha256, or rsa-pss-sha256 (not known to xmlsec 1.2)"},
    {"sealer.tsa_key", TEXT, AT(sealer.tsa_key), 0, 0, 0, "tsa", "label of the time-stamping key"},
    {"sealer.tsa_certificate", PATH, AT(sealer.tsa_certificate), S, 0, 0, NULL, "time-stamping certificate and chain"},
    {"sealer.tsa_policy", TEXT, AT(sealer.tsa_policy), 0, 0, 0, "1.3.6.1.4.1.99999.1.1", "OID of the time-stamping policy"},
    {"sealer.memory", PATH, AT(sealer.memory), S, 0, 0, NULL, "file, outside the database, that remembers the last signed lot"},
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

enum { ROWS = sizeof table / sizeof *table, KEY_MAX = 128, DEPTH_MAX = 8 };

struct reading {
    struct settings *s;
    const char *path;
    unsigned parts; /* of the daemon it is read for */
    char *folder;
    bool seen[ROWS];
    size_t lines[ROWS]; /* where each key was given last; 0: nowhere */
    struct err *e;
};

static void *field(struct settings *s, const struct row *row)
{
    return (char *)s + row->offset;
}

static bool parse_unit(const char *text, uint64_t *v, const char *const *units, const uint64_t *factors)
{
    char *end;
    unsigned long long n;

    errno = 0;
    n = strtoull(text, &end, 10);
    if (errno != 0 || end == text || !isdigit((unsigned char)*text))
        return false;
    for (; *units != NULL; units++, factors++)
        if (strcmp(end, *units) == 0) {
            if (n > UINT64_MAX / *factors)
                return false;
            *v = n * *factors;
            return true;
        }
    return false;
}

static bool parse_integer(enum type type, const char *text, uint64_t *v)
{
    static const char *const none[] = {"", NULL}, *const times[] = {"ms", "s", "m", "h", "d", NULL},
                      *const sizes[] = {"", "B", "KiB", "MiB", "GiB", NULL};
    static const uint64_t one[] = {1}, time_factors[] = {1, 1000, 60000, 3600000, DAY_MS},
                          size_factors[] = {1, 1, 1024, 1 << 20, GIB};

    if (type == DURATION)
        return parse_unit(text, v, times, time_factors);
    if (type == SIZE)
        return parse_unit(text, v, sizes, size_factors);
    return parse_unit(text, v, none, one);
}

static char *resolve(const char *folder, const char *path)
{
    return *path == '/' || *path == '\0' ? mem_strdup(path) : mem_printf("%s/%s", folder, path);
}

static bool at_line(struct reading *r, size_t line, const char *fmt, ...) PRINTF_LIKE(3, 4);
static bool at_line(struct reading *r, size_t line, const char *fmt, ...)
{
    char text[ERR_TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return err_set(r->e, ERR_INPUT, "%s:%zu: %.400s", r->path, line, text);
}

static bool set_integer(struct reading *r, const struct row *row, const char *text, size_t line)
{
    static const char *const kinds[] = {[NUMBER] = "a natural number", [DURATION] = "a duration such as 500ms, 60s, 5m, 1d",
                                        [SIZE] = "a size such as 64KiB, 8MiB, 1GiB"};
    uint64_t v;

    if (!parse_integer(row->type, text, &v))
        return at_line(r, line, "%s: \"%s\" is not %s", row->key, text, kinds[row->type]);
    if (v < row->min || v > row->max)
        return at_line(r, line, "%s: %s is out of bounds (%llu to %llu)", row->key, text,
                       (unsigned long long)row->min, (unsigned long long)row->max);
    *(uint64_t *)field(r->s, row) = v;
    return true;
}

/* One scalar for a key; lists are appended to. */
static bool set_value(struct reading *r, const struct row *row, const char *text, size_t line)
{
    void *at = field(r->s, row);
    struct settings_list *list = at;

    switch (row->type) {
    case TEXT:
    case PATH:
        free(*(char **)at);
        *(char **)at = row->type == PATH ? resolve(r->folder, text) : mem_strdup(text);
        return true;
    case TEXTS:
    case PATHS:
        if (list->count == SETTINGS_LIST_MAX)
            return at_line(r, line, "%s: more than %d entries", row->key, SETTINGS_LIST_MAX);
        list->items[list->count++] = row->type == PATHS ? resolve(r->folder, text) : mem_strdup(text);
        return true;
    case BOOLEAN:
        if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
            return at_line(r, line, "%s: \"%s\" is neither true nor false", row->key, text);
        *(bool *)at = strcmp(text, "true") == 0;
        return true;
    case NUMBER:
    case DURATION:
    case SIZE:
        return set_integer(r, row, text, line);
    }
    return false;
}

static bool is_list(const struct row *row)
{
    return row->type == TEXTS || row->type == PATHS;
}

static bool set_scalar(struct reading *r, const char *key, bool in_list, const char *text, size_t line)
{
    for (size_t i = 0; i < ROWS; i++) {
        const struct row *row = &table[i];

        if (strcmp(row->key, key) != 0)
            continue;
        if (is_list(row) != in_list)
            return at_line(r, line, "%s: %s expected", key, in_list ? "one value" : "a list");
        if (r->seen[i] && !in_list)
            return at_line(r, line, "%s: given twice", key);
        if ((row->required & r->parts) != 0 && *text == '\0')
            return at_line(r, line, "%s: is empty", key);
        r->seen[i] = true;
        r->lines[i] = line;
        return set_value(r, row, text, line);
    }
    return at_line(r, line, "unknown key %s", key);
}

/* The place in the document: the dotted key so far, and what its parents end at. */
struct place {
    char key[KEY_MAX];
    size_t ends[DEPTH_MAX];
    unsigned depth;
    bool expects_value, in_list;
};

static bool take_scalar(struct reading *r, struct place *p, const yaml_event_t *ev)
{
    const char *text = (const char *)ev->data.scalar.value;
    size_t line = ev->start_mark.line + 1, end;

    if (strlen(text) != ev->data.scalar.length)
        return at_line(r, line, "a NUL byte in a value");
    if (p->depth == 0)
        return at_line(r, line, "a mapping of keys expected");
    if (p->in_list || p->expects_value) {
        p->expects_value = false;
        return set_scalar(r, p->key, p->in_list, text, line);
    }
    end = p->ends[p->depth - 1];
    if (end + strlen(text) + 2 > KEY_MAX)
        return at_line(r, line, "key too long");
    snprintf(p->key + end, KEY_MAX - end, "%s%s", end == 0 ? "" : ".", text);
    p->expects_value = true;
    return true;
}

/* An empty list is what was meant, or an error: never the default. */
static bool begin_list(struct reading *r, const char *key, size_t line)
{
    for (size_t i = 0; i < ROWS; i++) {
        if (!is_list(&table[i]) || strcmp(table[i].key, key) != 0)
            continue;
        if (r->seen[i])
            return at_line(r, line, "%s: given twice", key);
        r->seen[i] = true;
        r->lines[i] = line;
    }
    return true;
}

static bool take_event(struct reading *r, struct place *p, const yaml_event_t *ev)
{
    size_t line = ev->start_mark.line + 1;

    switch (ev->type) {
    case YAML_MAPPING_START_EVENT:
        if (p->in_list || p->depth == DEPTH_MAX || (p->depth > 0 && !p->expects_value))
            return at_line(r, line, "a mapping is not expected here");
        p->ends[p->depth] = p->depth == 0 ? 0 : strlen(p->key);
        p->depth++;
        p->expects_value = false;
        return true;
    case YAML_MAPPING_END_EVENT:
        p->depth--;
        return true;
    case YAML_SEQUENCE_START_EVENT:
        if (!p->expects_value || p->in_list)
            return at_line(r, line, "a list is not expected here");
        p->in_list = true;
        return begin_list(r, p->key, line);
    case YAML_SEQUENCE_END_EVENT:
        p->in_list = p->expects_value = false;
        return true;
    case YAML_SCALAR_EVENT:
        return take_scalar(r, p, ev);
    case YAML_ALIAS_EVENT:
        return at_line(r, line, "aliases are not used here");
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_START_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        return true;
    }
    return true;
}

static bool read_document(struct reading *r, struct slice text)
{
    struct place p = {0};
    yaml_parser_t parser;
    bool ok = true, end = false;

    if (yaml_parser_initialize(&parser) != 1)
        return err_set(r->e, ERR_FATAL, "%s: no YAML parser", r->path);
    yaml_parser_set_input_string(&parser, text.at, text.len);
    while (ok && !end) {
        yaml_event_t ev;

        if (yaml_parser_parse(&parser, &ev) != 1) {
            ok = at_line(r, parser.problem_mark.line + 1, "%s", parser.problem == NULL ? "not YAML" : parser.problem);
            break;
        }
        end = ev.type == YAML_STREAM_END_EVENT;
        ok = take_event(r, &p, &ev);
        yaml_event_delete(&ev);
    }
    yaml_parser_delete(&parser);
    return ok;
}

static bool set_fallbacks(struct reading *r)
{
    for (size_t i = 0; i < ROWS; i++) {
        const struct row *row = &table[i];

        if (r->seen[i] && is_list(row) && ((struct settings_list *)field(r->s, row))->count == 0 &&
            ((row->required & r->parts) != 0 || row->fallback != NULL))
            return at_line(r, r->lines[i], "%s: nothing is in this list", row->key);
        if (r->seen[i])
            continue;
        if (row->fallback != NULL) {
            if (!set_value(r, row, row->fallback, 0))
                return false;
        } else if ((row->required & r->parts) != 0) {
            return err_set(r->e, ERR_INPUT, "%s: %s is missing (%s)", r->path, row->key, row->meaning);
        } else if (row->type == TEXT || row->type == PATH) {
            *(char **)field(r->s, row) = mem_strdup("");
        }
    }
    return true;
}

/* A rule broken by the value of `key`: says where it was given, or that it is the default. */
static bool broken(struct reading *r, const char *key, const char *rule)
{
    for (size_t i = 0; i < ROWS; i++)
        if (strcmp(table[i].key, key) == 0 && r->lines[i] != 0)
            return at_line(r, r->lines[i], "%s: %s", key, rule);
    return err_set(r->e, ERR_INPUT, "%s: %s (by default): %s", r->path, key, rule);
}

static bool is_port(const char *text)
{
    size_t len = strspn(text, "0123456789");
    unsigned long port = len > 0 && len < 6 && text[len] == '\0' ? strtoul(text, NULL, 10) : 0;

    return port > 0 && port < 65536;
}

static bool check_listen(struct reading *r, const char *key, unsigned part, const struct settings_list *list)
{
    if ((r->parts & part) == 0)
        return true;
    for (unsigned i = 0; i < list->count; i++) {
        const char *colon = strrchr(list->items[i], ':');

        if (colon == NULL || !is_port(colon + 1))
            return broken(r, key, "an entry is not address:port, with a port from 1 to 65535");
    }
    return true;
}

/* Rules that one row cannot express. */
static bool check_whole(struct reading *r)
{
    const struct settings *s = r->s;
    enum log_level level;

    if (*s->vault.operator_id != '\0' &&
        (strlen(s->vault.operator_id) != 4 || strspn(s->vault.operator_id, "0123456789") != 4))
        return broken(r, "vault.operator", "not four digits");
    if (!log_level_parse(s->log_level, &level))
        return broken(r, "log.level", "none of error, warning, info, debug");
    if (strcmp(s->sealer.algorithm, "rsa-sha256") != 0 && strcmp(s->sealer.algorithm, "rsa-pss-sha256") != 0)
        return broken(r, "sealer.algorithm", "neither rsa-sha256 nor rsa-pss-sha256");
    if (strcmp(s->sealer.clock_source, "kernel") != 0 && strcmp(s->sealer.clock_source, "local-trusted") != 0)
        return broken(r, "sealer.clock.source", "neither kernel nor local-trusted");
    if (s->ingest.limits.transaction_bytes < s->ingest.limits.body_bytes)
        return broken(r, "ingest.limits.transaction_bytes", "less than ingest.limits.body_bytes");
    if (s->ingest.limits.pending_bytes < s->ingest.limits.transaction_bytes)
        return broken(r, "ingest.limits.pending_bytes", "less than ingest.limits.transaction_bytes");
    return check_listen(r, "ingest.listen", I, &s->ingest.listen) && check_listen(r, "exporter.listen", X, &s->exporter.listen);
}

bool settings_read_text(const char *path, struct buf *text, struct err *e)
{
    FILE *in = fopen(path, "re");
    size_t n = 1;
    bool ok = true;

    if (in == NULL)
        return err_set_errno(e, ERR_INPUT, "%s: cannot be read", path);
    while (n != 0 && ok) {
        char chunk[4096];

        n = fread(chunk, 1, sizeof chunk, in);
        ok = buf_add(text, chunk, n, NULL) || err_set(e, ERR_INPUT, "%s: over %zu bytes", path, buf_slice(text).len);
    }
    if (ok && ferror(in) != 0)
        ok = err_set_errno(e, ERR_INPUT, "%s: cannot be read", path);
    fclose(in);
    return ok;
}

struct settings *settings_read(const char *file, struct slice text, unsigned parts, struct err *e)
{
    struct reading r = {.s = mem_zalloc(1, sizeof *r.s), .path = file, .parts = parts, .e = e};
    char *copy = mem_strdup(file);
    bool ok;

    r.folder = dirname(copy);
    r.s->file = mem_strdup(file);
    ok = read_document(&r, text) && set_fallbacks(&r) && check_whole(&r);
    r.s->lines = mem_zalloc(ROWS, sizeof *r.s->lines);
    memcpy(r.s->lines, r.lines, sizeof r.lines);
    free(copy);
    if (ok)
        return r.s;
    settings_free(r.s);
    return NULL;
}

struct settings *settings_load(const char *path, unsigned parts, struct err *e)
{
    char *real = realpath(path, NULL);
    struct settings *s = NULL;
    struct buf text;

    if (real == NULL) {
        err_set_errno(e, ERR_INPUT, "%s: cannot be read", path);
        return NULL;
    }
    buf_init(&text, SETTINGS_TEXT_MAX);
    if (settings_read_text(real, &text, e))
        s = settings_read(real, buf_slice(&text), parts, e);
    buf_free(&text);
    free(real);
    return s;
}

void settings_free(struct settings *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < ROWS; i++) {
        void *at = field(s, &table[i]);
        struct settings_list *list = at;

        if (table[i].type == TEXT || table[i].type == PATH)
            free(*(char **)at);
        else if (is_list(&table[i]))
            for (unsigned k = 0; k < list->count; k++)
                free(list->items[k]);
    }
    free(s->lines);
    free(s->file);
    free(s);
}

/* The message begins with this name, of a file or of a key. */
static bool is_about(const char *message, const char *name)
{
    size_t len = strlen(name);

    return len > 0 && strncmp(message, name, len) == 0 && (message[len] == ':' || message[len] == '\0');
}

bool settings_locate(const struct settings *s, struct err *e)
{
    for (size_t i = 0; i < ROWS; i++) {
        const char *at = (const char *)s + table[i].offset;
        const struct settings_list *list = (const struct settings_list *)(const void *)at;
        bool named = is_about(e->text, table[i].key), about = table[i].type == PATH && is_about(e->text, *(char *const *)(const void *)at);

        for (unsigned k = 0; table[i].type == PATHS && k < list->count; k++)
            about = about || is_about(e->text, list->items[k]);
        if (named && s->lines[i] != 0)
            return err_prefix(e, "%s:%zu", s->file, s->lines[i]);
        if (about && s->lines[i] != 0)
            return err_prefix(e, "%s:%zu: %s", s->file, s->lines[i], table[i].key);
    }
    return false;
}

static void print_value(const struct row *row, const void *at, FILE *out)
{
    const struct settings_list *list = at;

    switch (row->type) {
    case TEXT:
    case PATH:
        fprintf(out, "\"%s\"", *(char *const *)at);
        return;
    case BOOLEAN:
        fputs(*(const bool *)at ? "true" : "false", out);
        return;
    case NUMBER:
    case SIZE:
        fprintf(out, "%llu", (unsigned long long)*(const uint64_t *)at);
        return;
    case DURATION:
        fprintf(out, "%llums", (unsigned long long)*(const uint64_t *)at);
        return;
    case TEXTS:
    case PATHS:
        fputc('[', out);
        for (unsigned k = 0; k < list->count; k++)
            fprintf(out, "%s\"%s\"", k == 0 ? "" : ", ", list->items[k]);
        fputc(']', out);
        return;
    }
}

/* How many leading components two dotted keys share. */
static unsigned shared_parts(const char *a, const char *b)
{
    unsigned parts = 0;

    for (; *a != '\0' && *a == *b; a++, b++)
        if (*a == '.')
            parts++;
    return parts;
}

void settings_print(const struct settings *s, FILE *out)
{
    const char *before = "";

    for (size_t i = 0; i < ROWS; i++) {
        const struct row *row = &table[i];
        unsigned level = 0, shared = shared_parts(before, row->key);
        const char *part = row->key, *dot;

        for (; (dot = strchr(part, '.')) != NULL; part = dot + 1, level++)
            if (level >= shared)
                fprintf(out, "%*s%.*s:\n", (int)level * 2, "", (int)(dot - part), part);
        fprintf(out, "%*s%s: ", (int)level * 2, "", part);
        print_value(row, (const char *)s + row->offset, out);
        fprintf(out, "  # %s\n", row->meaning);
        before = row->key;
    }
}

enum log_level settings_log_level(const struct settings *s)
{
    enum log_level level = LOG_LEVEL_INFO;

    log_level_parse(s->log_level, &level);
    return level;
}

char *settings_queue(const struct settings *s, const char *what, const char *direction)
{
    return mem_printf("%s.%llu.%s", what, (unsigned long long)s->vault.number, direction);
}
