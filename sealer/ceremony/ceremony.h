/*
 * coffre-ceremony's parts: each act takes the options and returns an exit status. They print what they
 * do on standard output and why they do not on standard error. Run by people who may; reads files they name.
 */
#ifndef COFFRE_CEREMONY_H
#define COFFRE_CEREMONY_H

#include <libpq-fe.h>
#include <openssl/x509.h>

#include "common/formats/xades.h"
#include "common/system/hsm.h"
#include "common/system/settings.h"
#include "common/values/buf.h"

enum ceremony_status {
    CEREMONY_DONE = 0,
    CEREMONY_FAILED = 1,
    CEREMONY_USAGE = 2,
    CEREMONY_REFUSED = 3, /* done already, or must not be done */
    CEREMONY_CONFIG = 78,
};

/* What the command line says; absent texts are NULL. */
struct ceremony {
    struct settings *settings;
    const char *csr_dir, *subject;
    unsigned bits;
    const char *seal, *tsa, *only;                 /* certificate files; "seal" or "tsa": that one alone */
    const char *database, *schema;                 /* conninfo of the owner; file */
    bool create_database, yes;
    const char *profile, *certificate, *cn, *ou, *serial, *san;
    const char *reason, *duration;
    const char *id;                                /* of a change; the people of a quorum */
    bool all, end;
};

int ceremony_keys(const struct ceremony *c);
int ceremony_install(const struct ceremony *c);
int ceremony_genesis(const struct ceremony *c);
int ceremony_upgrade(const struct ceremony *c);
int ceremony_bind(const struct ceremony *c);
int ceremony_revoke(const struct ceremony *c);
int ceremony_roles(const struct ceremony *c);
int ceremony_changes(const struct ceremony *c);
int ceremony_approve(const struct ceremony *c);
int ceremony_refuse(const struct ceremony *c);
int ceremony_quorum(const struct ceremony *c);
int ceremony_override(const struct ceremony *c);
int ceremony_overrides(const struct ceremony *c);
int ceremony_close_lot(const struct ceremony *c);
int ceremony_remember(const struct ceremony *c);

/* Prints "coffre-ceremony: …" on standard error and returns `status`. */
int ceremony_say(int status, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Asks on the terminal; true at once with --yes. CEREMONY_DONE: go on; anything else is the status to leave with. */
int ceremony_confirm(const struct ceremony *c, const char *fmt, ...) PRINTF_LIKE(2, 3);

enum { CEREMONY_USER_MAX = 64 };

/* Who does this and where, for the history. */
struct ceremony_person {
    char by[2 * CEREMONY_USER_MAX + 32];   /* "alice"; "alice (as root)": who logged in is not who this runs as; "root (without login)" */
    char identity[CEREMONY_USER_MAX + 16]; /* "user alice": one person, however he came */
    char host[65];
};
void ceremony_who(struct ceremony_person *p);

bool ceremony_is_profile(const char *text);
/* Says what role_propose() or role_decide() answered (schema.sql): the exit status. `change` and `role` are numbers, or "". */
int ceremony_outcome(const char *outcome, const char *action, const char *profile, const char *change, const char *role);

/* Which of the two keys --only leaves; false when it names neither. */
MUST_CHECK bool ceremony_only(const struct ceremony *c, bool *seal, bool *tsa);

/* Where the token is, from the settings. */
struct hsm_token ceremony_token(const struct ceremony *c);

/* A whole file, at most 4 MiB. */
MUST_CHECK bool ceremony_read_file(const char *path, struct buf *out, struct err *e);

/* ---- the owner's connection (database.c) --------------------------------------------------- */

/* coffre_<operator>_<vault>; owned. */
char *ceremony_database_name(const struct ceremony *c);
/* Connects with --database or the configuration's conninfo, to `dbname`. Owned: PQfinish(). */
PGconn *ceremony_connect(const struct ceremony *c, const char *dbname, struct err *e);
/* The same to this vault's database. */
PGconn *ceremony_connect_vault(const struct ceremony *c, struct err *e);
/* SQL: a date as people read it, "-" when there is none; a binding's name (columns cn, ou, serial, san). */
#define CEREMONY_DATE(column) "coalesce(to_char(" column " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), '-')"
#define CEREMONY_NAME \
    "'CN=' || cn || ', OU=' || ou || CASE serial WHEN '' THEN '' ELSE ', serial ' || serial END || CASE san WHEN '' THEN '' ELSE ', ' || san END"
/* One statement with text parameters; owned result, NULL on failure. */
PGresult *ceremony_query(PGconn *db, const char *sql, const char *const *values, int count, struct err *e);
/* Statements without parameters. */
MUST_CHECK bool ceremony_run(PGconn *db, const char *sql, struct err *e);

/* ---- the store (store.c) ---------------------------------------------------------------------- */

/* Creates PostgreSQL's roles, with --create-database the database, and connects to it. Owned: PQfinish(). */
PGconn *ceremony_store_open(const struct ceremony *c, const char *name, struct err *e);
/* Loads the schema unless it is there. */
MUST_CHECK bool ceremony_store_load(const struct ceremony *c, PGconn *db, struct err *e);

/* ---- the seal's memory (remember.c) -------------------------------------------------------- */

/* Writes the memory of a vault that has only its genesis. */
MUST_CHECK bool ceremony_remember_genesis(const struct settings *s, struct slice genesis, struct err *e);

#endif
