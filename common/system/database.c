/* PostgreSQL through libpq: connecting, statements, errors. See database.h; values and COPY are in database_values.c. */
#include "common/system/database.h"

#include <stdio.h>
#include <stdlib.h>

enum { STATEMENTS_MAX = 64, OPTIONS_MAX = 64, STATEMENT_TIMEOUT_MS = 30000, FORMAT = 1 };

struct database {
    PGconn *conn;
    const char *prepared[STATEMENTS_MAX]; /* string literals, known to the server as s<index> */
    unsigned prepared_count;
    char sqlstate[6];
};

/* ---- errors ---------------------------------------------------------------------------------------------------------------- */

static enum err_code code_of(const char *state, bool alive)
{
    static const struct {
        const char *prefix;
        enum err_code code;
    } rules[] = {
        {"CF", ERR_FENCED},    {"08", ERR_RETRY},  {"57", ERR_RETRY}, {"53", ERR_RETRY}, {"40", ERR_RETRY},
        {"55P03", ERR_RETRY},  {"25P03", ERR_RETRY}, {"42501", ERR_DENIED}, {"28", ERR_DENIED}, {"23", ERR_INPUT},
        {"22", ERR_INPUT},     {"58", ERR_RETRY},
    };

    if (!alive)
        return ERR_RETRY;
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (strncmp(state, rules[i].prefix, strlen(rules[i].prefix)) == 0)
            return rules[i].code;
    return ERR_FATAL;
}

/* libpq's own messages have several lines and end with one. */
static const char *one_line(const char *text, char *out, size_t size)
{
    size_t n = 0;

    for (; *text != '\0' && n + 1 < size; text++)
        if (*text != '\n' && *text != '\t')
            out[n++] = *text;
        else if (n != 0 && out[n - 1] != ' ')
            out[n++] = ' ';
    while (n != 0 && out[n - 1] == ' ')
        n--;
    out[n] = '\0';
    return out;
}

bool database_failed(struct database *d, const PGresult *r, struct err *e, const char *doing)
{
    const char *state = r == NULL ? NULL : PQresultErrorField(r, PG_DIAG_SQLSTATE),
               *text = r == NULL ? NULL : PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);
    bool alive = PQstatus(d->conn) == CONNECTION_OK;
    char line[ERR_TEXT_MAX];

    snprintf(d->sqlstate, sizeof d->sqlstate, "%s", state == NULL ? "" : state);
    /* The primary message only: details may quote values. A long statement must not crowd it out. */
    return err_set(e, code_of(d->sqlstate, alive), "PostgreSQL, %.60s%s: %s%s%s", doing, strlen(doing) > 60 ? "..." : "",
                   text != NULL ? text : one_line(PQerrorMessage(d->conn), line, sizeof line), *d->sqlstate == '\0' ? "" : " ", d->sqlstate);
}

const char *database_sqlstate(const struct database *d)
{
    return d->sqlstate;
}

/* ---- connecting ------------------------------------------------------------------------------------------------------------ */

struct conninfo {
    const char *keys[OPTIONS_MAX + 1], *values[OPTIONS_MAX + 1];
    unsigned count;
    PQconninfoOption *parsed[2];
};

static void put_option(struct conninfo *c, const char *key, const char *value)
{
    for (unsigned i = 0; i < c->count; i++)
        if (strcmp(c->keys[i], key) == 0) {
            c->values[i] = value;
            return;
        }
    if (c->count < OPTIONS_MAX) {
        c->keys[c->count] = key;
        c->values[c->count++] = value;
    }
}

static bool put_text(struct conninfo *c, unsigned which, const char *text, struct err *e)
{
    char *why = NULL;

    c->parsed[which] = PQconninfoParse(text, &why);
    if (c->parsed[which] == NULL) {
        err_set(e, ERR_INPUT, "PostgreSQL connection string: %s", why == NULL ? "malformed" : why);
        PQfreemem(why);
        return false;
    }
    for (const PQconninfoOption *o = c->parsed[which]; o->keyword != NULL; o++)
        if (o->val != NULL)
            put_option(c, o->keyword, o->val);
    return true;
}

static PGconn *connect_with(const struct database_options *o, const char *dbname, const char *options, struct err *e)
{
    struct conninfo c = {0};
    PGconn *conn = NULL;

    /* Ours first, so that the configuration may say otherwise; who and where is never its choice. */
    put_option(&c, "connect_timeout", "5");
    put_option(&c, "keepalives_idle", "10");
    put_option(&c, "keepalives_interval", "5");
    put_option(&c, "keepalives_count", "2");
    put_option(&c, "tcp_user_timeout", "20000");
    /* Certificates and sockets' owners say who we are; Kerberos would look for files and keys all over the system. */
    put_option(&c, "gssencmode", "disable");
    if (put_text(&c, 0, o->settings->postgresql.conninfo, e) && put_text(&c, 1, o->extra == NULL ? "" : o->extra, e)) {
        put_option(&c, "user", o->user);
        put_option(&c, "dbname", dbname);
        put_option(&c, "fallback_application_name", o->user);
        put_option(&c, "options", options);
        put_option(&c, "client_encoding", "UTF8");
        conn = PQconnectdbParams(c.keys, c.values, 0);
    }
    PQconninfoFree(c.parsed[0]);
    PQconninfoFree(c.parsed[1]);
    return conn;
}

static void ignore_notice(void *arg, const PGresult *r)
{
    (void)arg;
    (void)r;
}

/* Only the vault the configuration names may be worked on (design: a daemon that disagrees refuses to start). */
static bool check_vault(struct database *d, const struct settings *s, struct err *e)
{
    PGresult *r = database_query(d, "SELECT operator, number, format FROM vault", NULL, 0, e);
    bool ok = false;

    if (r == NULL)
        return false;
    if (PQntuples(r) != 1)
        err_set(e, ERR_INPUT, "the database has no vault: coffre-ceremony has not been held");
    else if (!slice_is(database_get_slice(r, 0, 0), s->vault.operator_id) || database_get_i64(r, 0, 1) != (int64_t)s->vault.number)
        err_set(e, ERR_FOREIGN, "the database is vault %.*s/%lld, the configuration says %s/%llu",
                SLICE_ARGS(database_get_slice(r, 0, 0)), (long long)database_get_i64(r, 0, 1), s->vault.operator_id,
                (unsigned long long)s->vault.number);
    else if (database_get_i64(r, 0, 2) != FORMAT)
        err_set(e, ERR_INPUT, "the database has format %lld, this program knows %d", (long long)database_get_i64(r, 0, 2), FORMAT);
    else
        ok = true;
    PQclear(r);
    return ok;
}

/*
 * An answer promises that its COMMIT survives a crash. A server that does not flush at all is refused; one that is told to
 * answer before flushing is told otherwise for this session (a stronger setting, such as remote_apply, stays).
 */
static bool check_durable(struct database *d, struct err *e)
{
    PGresult *r = database_query(d,
                                 "SELECT current_setting('fsync')::boolean AND current_setting('full_page_writes')::boolean,"
                                 " set_config('synchronous_commit', CASE current_setting('synchronous_commit')"
                                 " WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false)",
                                 NULL, 0, e);
    bool ok;

    if (r == NULL)
        return false;
    ok = PQntuples(r) == 1 && database_get_bool(r, 0, 0);
    PQclear(r);
    return ok || err_set(e, ERR_INPUT, "PostgreSQL runs with fsync or full_page_writes off: what it commits is not durable");
}

struct database *database_open(const struct database_options *o, struct err *e)
{
    char dbname[64], options[128], line[ERR_TEXT_MAX];
    struct database *d;

    snprintf(dbname, sizeof dbname, "coffre_%s_%llu", o->settings->vault.operator_id,
             (unsigned long long)o->settings->vault.number);
    snprintf(options, sizeof options, "-c statement_timeout=%llu -c timezone=UTC",
             (unsigned long long)(o->statement_timeout == 0 ? STATEMENT_TIMEOUT_MS : o->statement_timeout));
    d = mem_zalloc(1, sizeof *d);
    d->conn = connect_with(o, dbname, options, e);
    if (d->conn == NULL) {
        err_set(e, ERR_FATAL, "PostgreSQL: no connection object");
        free(d);
        return NULL;
    }
    if (PQstatus(d->conn) != CONNECTION_OK) {
        /* Away, starting, or not created yet: all of it may get better. */
        err_set(e, ERR_RETRY, "PostgreSQL, connecting to %s as %s: %s", dbname, o->user,
                one_line(PQerrorMessage(d->conn), line, sizeof line));
        database_close(d);
        return NULL;
    }
    PQsetNoticeReceiver(d->conn, ignore_notice, NULL);
    if (check_vault(d, o->settings, e) && check_durable(d, e))
        return d;
    database_close(d);
    return NULL;
}

void database_close(struct database *d)
{
    if (d == NULL)
        return;
    PQfinish(d->conn);
    free(d);
}

PGconn *database_connection(struct database *d)
{
    return d->conn;
}

int database_fd(const struct database *d)
{
    return PQsocket(d->conn);
}

bool database_alive(const struct database *d)
{
    return PQstatus(d->conn) == CONNECTION_OK;
}

/* ---- statements ------------------------------------------------------------------------------------------------------------ */

static bool ended_well(const PGresult *r)
{
    ExecStatusType s = PQresultStatus(r);

    return s == PGRES_COMMAND_OK || s == PGRES_TUPLES_OK || s == PGRES_EMPTY_QUERY;
}

bool database_run(struct database *d, const char *sql, struct err *e)
{
    PGresult *r = PQexec(d->conn, sql);
    bool ok = ended_well(r) || database_failed(d, r, e, sql);

    PQclear(r);
    return ok;
}

/* The server-side name of a statement; prepares it the first time. NULL: failed. */
static const char *prepare(struct database *d, const char *sql, const struct database_value *values, unsigned count,
                           char name[16], struct err *e)
{
    Oid types[DATABASE_PARAMETERS_MAX];
    PGresult *r;
    unsigned i;

    for (i = 0; i < d->prepared_count; i++)
        if (d->prepared[i] == sql || strcmp(d->prepared[i], sql) == 0)
            break;
    snprintf(name, 16, "s%u", i);
    if (i < d->prepared_count)
        return name;
    if (i == STATEMENTS_MAX) {
        err_set(e, ERR_FATAL, "PostgreSQL: over %d statements", STATEMENTS_MAX);
        return NULL;
    }
    for (unsigned k = 0; k < count; k++)
        types[k] = values[k].type;
    r = PQprepare(d->conn, name, sql, (int)count, types);
    if (ended_well(r))
        d->prepared[d->prepared_count++] = sql;
    else
        database_failed(d, r, e, sql);
    i = ended_well(r);
    PQclear(r);
    return i ? name : NULL;
}

PGresult *database_query(struct database *d, const char *sql, const struct database_value *values, unsigned count, struct err *e)
{
    const char *at[DATABASE_PARAMETERS_MAX];
    int lengths[DATABASE_PARAMETERS_MAX], formats[DATABASE_PARAMETERS_MAX];
    char name[16];
    PGresult *r;

    if (count > DATABASE_PARAMETERS_MAX) {
        err_set(e, ERR_FATAL, "PostgreSQL: %u parameters", count);
        return NULL;
    }
    if (prepare(d, sql, values, count, name, e) == NULL)
        return NULL;
    for (unsigned i = 0; i < count; i++) {
        const struct database_value *v = &values[i];

        at[i] = v->at != NULL ? v->at : v->empty ? "" : v->len != 0 ? (const char *)v->store : NULL;
        lengths[i] = v->len;
        formats[i] = v->binary;
    }
    r = PQexecPrepared(d->conn, name, (int)count, at, lengths, formats, 1);
    if (ended_well(r))
        return r;
    database_failed(d, r, e, sql);
    PQclear(r);
    return NULL;
}

bool database_change(struct database *d, const char *sql, const struct database_value *values, unsigned count,
                     uint64_t *rows, struct err *e)
{
    PGresult *r = database_query(d, sql, values, count, e);

    if (r == NULL)
        return false;
    if (rows != NULL)
        *rows = strtoull(PQcmdTuples(r), NULL, 10);
    PQclear(r);
    return true;
}
