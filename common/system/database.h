/*
 * PostgreSQL through libpq, for one duty: connects as that duty's database role, makes sure that this is the
 * vault's own database, runs statements with parameters, builds binary COPY rows, and sorts errors into decisions:
 * ERR_RETRY (connection lost, time-out, serialisation, starting up), ERR_INPUT (constraint broken, bad value), ERR_DENIED (no right),
 * ERR_FENCED (SQLSTATE class CF, raised by our own functions), ERR_FATAL (anything else).
 */
#ifndef COFFRE_DATABASE_H
#define COFFRE_DATABASE_H

#include <libpq-fe.h>

#include "common/system/settings.h"
#include "common/values/buf.h"

struct database;

struct database_options {
    const struct settings *settings; /* postgresql.conninfo and the vault; borrowed for the call */
    const char *extra;               /* this daemon's addition to conninfo; may be "" */
    const char *user;                /* "coffre_roster", "coffre_ledger", … */
    uint64_t statement_timeout;      /* ms; 0: 30,000 */
};

/*
 * Connects to coffre_<operator>_<vault> (at most 5 s) and compares its row `vault` with the configuration.
 * ERR_FOREIGN: this database is another vault's; ERR_INPUT: it has no vault, or one of another format, or its server does not flush what it commits: the caller
 * ends with role_unfit(). synchronous_commit is never off in the session.
 */
struct database *database_open(const struct database_options *o, struct err *e);
void database_close(struct database *d);

/* libpq's own connection, for LISTEN, COPY OUT and single-row mode. Borrowed. */
PGconn *database_connection(struct database *d);
/* For poll(): readable when a notification or an answer arrives. */
int database_fd(const struct database *d);
/* False when the connection is known to be lost. */
bool database_alive(const struct database *d);
/* SQLSTATE of the last failure, "" when none. Borrowed until the next call. */
const char *database_sqlstate(const struct database *d);

/* ---- statements ------------------------------------------------------------------------------------------------------------ */
/* A parameter in binary (integers, bytes) or text. Made by the functions below; borrows what it points to. */
struct database_value {
    const void *at; /* NULL: number in `store` when len != 0, SQL NULL when len is 0 and !empty */
    int len;
    bool binary, empty;
    Oid type;
    uint8_t store[8];
};

struct database_value database_null(void);
struct database_value database_i32(int32_t v);
struct database_value database_i64(int64_t v);
struct database_value database_bool(bool v);
struct database_value database_text(const char *v);          /* type decided by the server */
struct database_value database_text_slice(struct slice v);   /* type text; no NUL inside */
struct database_value database_bytes(struct slice v);        /* bytea */
struct database_value database_time(uint64_t ms);            /* timestamptz, ms since 1970 */

enum { DATABASE_PARAMETERS_MAX = 32 };

/* One or more statements without result and parameters. */
MUST_CHECK bool database_run(struct database *d, const char *sql, struct err *e);
/*
 * One statement; $1 … are `values`. The result is in binary format; owned: PQclear(). NULL: failed.
 * Statements are prepared by the server once per distinct `sql` pointer when `sql` is a string literal of the program: pass literals.
 */
PGresult *database_query(struct database *d, const char *sql, const struct database_value *values, unsigned count, struct err *e);
/* The same for INSERT, UPDATE, …: `rows` (may be NULL) tells how many were touched. */
MUST_CHECK bool database_change(struct database *d, const char *sql, const struct database_value *values, unsigned count,
                                uint64_t *rows, struct err *e);

/* Values of a binary result. Integers of 2, 4, 8 bytes; 0 and "" for NULL. */
int64_t database_get_i64(const PGresult *r, int row, int column);
bool database_get_bool(const PGresult *r, int row, int column);
struct slice database_get_slice(const PGresult *r, int row, int column); /* bytea or text; borrowed from the result */
uint64_t database_get_time(const PGresult *r, int row, int column);      /* ms since 1970 */
bool database_is_null(const PGresult *r, int row, int column);

/* ---- binary COPY ----------------------------------------------------------------------------------------------------------- */
/* Rows go into a wire writer: PostgreSQL's binary format is big-endian like ours. Header first, then rows, then the trailer. */
struct wire_writer;
void database_copy_header(struct wire_writer *w);
void database_copy_row(struct wire_writer *w, uint16_t columns);
void database_copy_i32(struct wire_writer *w, int32_t v);
void database_copy_i64(struct wire_writer *w, int64_t v);
void database_copy_time(struct wire_writer *w, uint64_t ms); /* timestamptz */
void database_copy_bytes(struct wire_writer *w, struct slice v); /* bytea, text, uuid (16 bytes) */
void database_copy_null(struct wire_writer *w);
void database_copy_trailer(struct wire_writer *w);

/* Runs `COPY … FROM STDIN (FORMAT binary)` with all of `rows` (header, rows, trailer); `count` (may be NULL): rows stored. */
MUST_CHECK bool database_copy(struct database *d, const char *sql, struct slice rows, uint64_t *count, struct err *e);

/* Records what libpq says about a failed result or connection; for those who use database_connection(). Returns false. */
bool database_failed(struct database *d, const PGresult *r, struct err *e, const char *doing);

#endif
