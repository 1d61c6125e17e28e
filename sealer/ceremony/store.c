/*
 * The store itself: PostgreSQL roles, database, schema; and coffre-ceremony upgrade, which brings the store of an earlier version up to
 * this one. Continues where it was interrupted.
 */
#include <stdio.h>
#include <stdlib.h>

#include "sealer/ceremony/ceremony.h"
#include "sealer/ceremony/schema.h"

static const char *const duties[] = {"coffre_roster", "coffre_ledger", "coffre_sealer", "coffre_exporter", "coffre_admin"};
enum { DUTIES = sizeof duties / sizeof *duties, TEXT_MAX = 4 << 20 };

/* ---- roles and database -------------------------------------------------------------------- */

static bool exists(PGconn *db, const char *sql, const char *name, bool *there, struct err *e)
{
    PGresult *r = ceremony_query(db, sql, &name, 1, e);

    *there = r != NULL && PQntuples(r) > 0;
    PQclear(r);
    return r != NULL;
}

static bool create_role(PGconn *db, const char *name, struct err *e)
{
    char sql[100];
    bool there;

    if (!exists(db, "SELECT 1 FROM pg_roles WHERE rolname = $1", name, &there, e) || there)
        return there;
    snprintf(sql, sizeof sql, "CREATE ROLE %s LOGIN", name);
    if (!ceremony_run(db, sql, e))
        return false;
    printf("PostgreSQL role %s\n", name);
    return true;
}

static bool create_database(PGconn *db, const char *name, struct err *e)
{
    char sql[200];
    bool there;

    if (!exists(db, "SELECT 1 FROM pg_database WHERE datname = $1", name, &there, e) || there)
        return there;
    snprintf(sql, sizeof sql, "CREATE DATABASE %s TEMPLATE template0 ENCODING 'UTF8'", name);
    if (!ceremony_run(db, sql, e))
        return false;
    printf("PostgreSQL database %s\n", name);
    return true;
}

static bool restrict_database(PGconn *db, const char *name, struct err *e)
{
    char sql[300];

    snprintf(sql, sizeof sql,
             "REVOKE ALL ON DATABASE %s FROM PUBLIC; "
             "GRANT CONNECT ON DATABASE %s TO coffre_roster, coffre_ledger, coffre_sealer, coffre_exporter, coffre_admin",
             name, name);
    return ceremony_run(db, sql, e);
}

static bool create_duties(PGconn *db, struct err *e)
{
    bool ok = true;

    for (size_t i = 0; ok && i < DUTIES; i++)
        ok = create_role(db, duties[i], e);
    return ok;
}

/* Roles first: the schema grants to them. */
PGconn *ceremony_store_open(const struct ceremony *c, const char *name, struct err *e)
{
    PGconn *db = ceremony_connect(c, c->create_database ? "postgres" : name, e);
    bool ok = db != NULL && create_duties(db, e);

    if (ok && c->create_database) {
        ok = create_database(db, name, e);
        PQfinish(db);
        db = ok ? ceremony_connect(c, name, e) : NULL;
        ok = db != NULL;
    }
    if (ok && restrict_database(db, name, e))
        return db;
    PQfinish(db);
    return NULL;
}

/* ---- schema -------------------------------------------------------------------------------- */

static bool replace(struct buf *out, struct slice text, const char *variable, const char *value, struct err *e)
{
    const char *at = (const char *)text.at, *end = at + text.len, *hit;
    size_t len = strlen(variable);

    while ((hit = memmem(at, (size_t)(end - at), variable, len)) != NULL) {
        if (!buf_add(out, at, (size_t)(hit - at), e) || !buf_add(out, value, strlen(value), e))
            return false;
        at = hit + len;
    }
    return buf_add(out, at, (size_t)(end - at), e);
}

/* What psql would do with its variables :'operator' and :number. */
static char *fill_in(const struct ceremony *c, struct slice schema, struct err *e)
{
    char operator_id[16], number[16], *text = NULL;
    struct buf half, whole;

    snprintf(operator_id, sizeof operator_id, "'%.4s'", c->settings->vault.operator_id);
    snprintf(number, sizeof number, "%llu", (unsigned long long)c->settings->vault.number);
    buf_init(&half, TEXT_MAX);
    buf_init(&whole, TEXT_MAX);
    if (replace(&half, schema, ":'operator'", operator_id, e) && replace(&whole, buf_slice(&half), ":number", number, e))
        text = mem_text(buf_slice(&whole));
    buf_free(&half);
    buf_free(&whole);
    return text;
}

bool ceremony_store_load(const struct ceremony *c, PGconn *db, struct err *e)
{
    struct buf file;
    char *sql;
    bool ok, there;

    if (!exists(db, "SELECT to_regclass($1) WHERE to_regclass($1) IS NOT NULL", "public.vault", &there, e) || there)
        return there;
    buf_init(&file, TEXT_MAX);
    if (c->schema != NULL && !ceremony_read_file(c->schema, &file, e))
        return false;
    sql = fill_in(c, c->schema != NULL ? buf_slice(&file) : schema_compiled(), e);
    ok = sql != NULL && ceremony_run(db, sql, e);
    free(sql);
    buf_free(&file);
    if (ok)
        printf("schema loaded\n");
    return ok;
}

/* ---- coffre-ceremony upgrade ---------------------------------------------------------------- */

/* The part of the schema that may be run on a store that has it already, or has an older one. */
static bool run_again(const struct ceremony *c, PGconn *db, struct err *e)
{
    static const char mark[] = "\n-- AGAIN\n";
    struct buf file;
    char *sql, *again;
    bool ok;

    buf_init(&file, TEXT_MAX);
    if (c->schema != NULL && !ceremony_read_file(c->schema, &file, e))
        return false;
    sql = fill_in(c, c->schema != NULL ? buf_slice(&file) : schema_compiled(), e);
    again = sql == NULL ? NULL : strstr(sql, mark);
    ok = again != NULL ? ceremony_run(db, again, e) : err_set(e, ERR_INPUT, "the schema has no part to be run again");
    free(sql);
    buf_free(&file);
    return ok;
}

/* Only a store that is this vault's is touched. */
static bool check_vault(const struct ceremony *c, PGconn *db, struct err *e)
{
    PGresult *r = ceremony_query(db, "SELECT operator, number::text FROM vault", NULL, 0, e);
    char number[16];
    bool ok;

    if (r == NULL)
        return false;
    snprintf(number, sizeof number, "%llu", (unsigned long long)c->settings->vault.number);
    ok = (PQntuples(r) == 1 && strcmp(PQgetvalue(r, 0, 0), c->settings->vault.operator_id) == 0 && strcmp(PQgetvalue(r, 0, 1), number) == 0) ||
         err_set(e, ERR_INPUT, "this database is not vault %s-%s", c->settings->vault.operator_id, number);
    PQclear(r);
    return ok;
}

int ceremony_upgrade(const struct ceremony *c)
{
    char *name = ceremony_database_name(c);
    struct err e = {0};
    PGconn *db = NULL;
    int status = ceremony_confirm(c, "Database %s is brought up to this version: what it lacks is added, nothing is removed.", name);

    if (status == CEREMONY_DONE) {
        db = ceremony_connect(c, name, &e);
        if (db == NULL || !check_vault(c, db, &e) || !create_duties(db, &e) || !restrict_database(db, name, &e) || !run_again(c, db, &e))
            status = ceremony_say(CEREMONY_FAILED, "%s", e.text);
        else
            printf("the store is of this version\n");
    }
    PQfinish(db);
    free(name);
    return status;
}
