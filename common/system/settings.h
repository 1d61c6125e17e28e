/*
 * The configuration: one YAML file for the three daemons, read whole and checked whole
 * before anything starts. One table (settings_table.c) names every key with its type, bounds, default and
 * meaning; parsing, checking, --print-config and the manual's list come from it.
 * Relative paths are taken from the folder of the file.
 */
#ifndef COFFRE_SETTINGS_H
#define COFFRE_SETTINGS_H

#include <stdio.h>

#include "common/values/buf.h"
#include "common/values/err.h"
#include "common/values/log.h"
#include "common/values/slice.h"

enum { SETTINGS_LIST_MAX = 16 };

struct settings_list {
    unsigned count;
    char *items[SETTINGS_LIST_MAX]; /* owned */
};

/* What a profile asks of certificates; see common/identity/policy.h. */
struct settings_profile {
    char *ca;         /* "": operator.ca for depositors and technical administrators, regulator.ca for the others */
    uint64_t depth, rsa_bits, ec_bits;
    char *digests, *revocation, *ocsp;
    struct settings_list allow;
};

/* Strings are owned by the settings and never NULL once loaded ("" when absent). Durations are ms, sizes bytes. */
struct settings {
    char *file;    /* where it was read from */
    size_t *lines; /* of that file, for settings_locate() */
    struct {
        char *operator_id; /* four digits */
        uint64_t number;   /* vault number N */
    } vault;
    char *state_dir;
    char *log_level;
    struct {
        char *host, *vhost, *ca;
        uint64_t port, heartbeat;
    } rabbitmq;
    struct {
        char *conninfo; /* libpq; user and dbname are added by each role */
    } postgresql;
    struct {
        char *ca; /* CA of sensors */
    } operator_pki;
    struct {
        char *ca; /* CA of readers, administrators, seal, TSA, encryption */
        struct settings_list recipients; /* encryption certificates */
    } regulator;
    struct settings_profile profiles[5]; /* by enum roster_profile; 0 is unused */
    struct {
        struct settings_list crls, fetch; /* files and folders; URLs */
        uint64_t fetch_every, crl_bytes, max_stale, timeout, ocsp_reuse;
        char *ocsp_nonce;
        bool stapling;
    } revocation;
    struct {
        char *warn; /* distances */
    } expiry;
    struct {
        uint64_t quorum;
    } roles;
    struct {
        uint64_t spool_bytes;
    } journal;
    struct {
        uint64_t age, count, bytes, idle;
    } lot;
    struct {
        struct settings_list listen; /* address:port */
        uint64_t fronts;
        char *certificate, *key;
        char *rabbitmq_certificate, *rabbitmq_key;
        char *postgresql;               /* added to conninfo */
        struct settings_list pack_keys; /* first one encrypts, all decrypt */
        char *dedup_key;
        struct {
            uint64_t connections, frame_headers, header_bytes, body_bytes, transaction_bytes, transactions,
                subscriptions, pending_bytes, unacknowledged_bytes;
        } limits;
        struct {
            uint64_t handshake, connect, stall, write, inactivity, heartbeat_min, drain, takeover;
        } timeouts;
        uint64_t pack_bytes, pack_window, batch_events, event_depth;
        struct settings_list schemas; /* files and folders of XSD */
        char *schema_policy, *schema_unknown;
    } ingest;
    struct {
        char *rabbitmq_certificate, *rabbitmq_key;
        char *postgresql;
        char *module, *token, *pin; /* PKCS#11 library, token label, PIN file */
        struct settings_list module_paths; /* what the library reads and writes */
        bool module_network;
        char *seal_key, *seal_certificate;
        char *tsa_key, *tsa_certificate, *tsa_policy;
        char *memory; /* file that remembers the last signed lot */
        char *algorithm; /* of the lots' signatures */
        char *clock_source;
        uint64_t clock_max_error, deadline, takeover, drain;
        bool close_at_shutdown;
    } sealer;
    struct {
        struct settings_list listen;
        char *certificate, *key;
        char *rabbitmq_certificate, *rabbitmq_key;
        char *postgresql;
        uint64_t connections, segment_bytes, request_timeout, write_timeout, drain;
    } exporter;
};

/* Which daemon's keys must be present. */
enum settings_part { SETTINGS_INGEST = 1, SETTINGS_SEALER = 2, SETTINGS_EXPORTER = 4 };

/*
 * Reads and checks `path`. `parts` is an OR of enum settings_part: their required keys must be there.
 * On failure `e` names file and line. The result is owned: settings_free().
 */
struct settings *settings_load(const char *path, unsigned parts, struct err *e);
/* As settings_load, of the text that was read from `file`, an absolute path. */
struct settings *settings_read(const char *file, struct slice text, unsigned parts, struct err *e);
void settings_free(struct settings *s);

enum { SETTINGS_TEXT_MAX = 256 << 10 /* bytes of the file */ };

/* The text of a configuration file, appended to `text`. ERR_INPUT when it cannot be read or is too long. */
MUST_CHECK bool settings_read_text(const char *path, struct buf *text, struct err *e);

/* The absolute form of a path, its links left as they are. Owned. */
char *settings_path(const char *path);

/* Those keys that only a start changes get the values of `started`. False when there was none that differed; else their names are in `changed`, for people. */
bool settings_keep(struct settings *fresh, const struct settings *started, char *changed, size_t size);

/*
 * Every file that the settings of these parts name, but for folders and what the daemons write themselves. Of schemas also the files and folders (with a "/" at their end: what is in
 * them counts) around them, as far as they may be read.
 */
void settings_files(const struct settings *s, unsigned parts, void (*each)(void *ctx, const char *path), void *ctx);

/* Those files of these parts whose contents, too, only a start changes. */
void settings_files_read_once(const struct settings *s, unsigned parts, void (*each)(void *ctx, const char *key, const char *path), void *ctx);

/* Puts file, line and key before a message that begins with a key, or with the name of a file which a key names. Always false, as err_set() is. */
bool settings_locate(const struct settings *s, struct err *e);

/* Writes every key with its value in force, as YAML with its meaning as comment. */
void settings_print(const struct settings *s, FILE *out);

/* The log level, already checked when loaded. */
enum log_level settings_log_level(const struct settings *s);

/* "Event.<N>.In" and the like: "Event", "In" → owned text. */
char *settings_queue(const struct settings *s, const char *what, const char *direction);

#endif
