/* The owner's connection to PostgreSQL: see ceremony.h. */
#include "sealer/ceremony/ceremony.h"

char *ceremony_database_name(const struct ceremony *c)
{
    return mem_printf("coffre_%s_%llu", c->settings->vault.operator_id, (unsigned long long)c->settings->vault.number);
}

PGconn *ceremony_connect(const struct ceremony *c, const char *dbname, struct err *e)
{
    const char *conninfo = c->database != NULL ? c->database : c->settings->postgresql.conninfo;
    /* libpq expands the first dbname as a connection string; the second one wins. */
    const char *const keys[] = {"dbname", "dbname", "application_name", "connect_timeout", NULL},
                      *const values[] = {conninfo, dbname, "coffre-ceremony", "10", NULL};
    PGconn *db = PQconnectdbParams(keys, values, 1);

    if (db != NULL && PQstatus(db) == CONNECTION_OK)
        return db;
    err_set(e, ERR_RETRY, "PostgreSQL: %s", db == NULL ? "out of memory" : PQerrorMessage(db));
    PQfinish(db);
    return NULL;
}

PGresult *ceremony_query(PGconn *db, const char *sql, const char *const *values, int count, struct err *e)
{
    PGresult *r = PQexecParams(db, sql, count, NULL, values, NULL, NULL, 0);
    ExecStatusType status = PQresultStatus(r);

    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
        return r;
    err_set(e, ERR_FATAL, "PostgreSQL: %s", PQerrorMessage(db));
    PQclear(r);
    return NULL;
}

bool ceremony_run(PGconn *db, const char *sql, struct err *e)
{
    PGresult *r = PQexec(db, sql);
    ExecStatusType status = PQresultStatus(r);
    bool ok = status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK;

    PQclear(r);
    return ok || err_set(e, ERR_FATAL, "PostgreSQL: %s", PQerrorMessage(db));
}
