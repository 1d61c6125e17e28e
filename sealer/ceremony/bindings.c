/* coffre-ceremony bind, revoke, roles, close-lot: rows of the store that people decide on. */
#include <stdio.h>
#include <stdlib.h>

#include <openssl/pem.h>

#include "common/system/database.h"
#include "common/system/tls.h"
#include "sealer/ceremony/ceremony.h"

static bool read_subject(const struct ceremony *c, struct tls_subject *subject, struct err *e)
{
    BIO *in;
    X509 *x;
    bool ok;

    if (c->certificate == NULL) {
        if (c->cn == NULL || *c->cn == '\0' || strlen(c->cn) > TLS_NAME_MAX || (c->ou != NULL && strlen(c->ou) > TLS_NAME_MAX))
            return err_set(e, ERR_INPUT, "--certificate, or --cn and --ou, are due");
        snprintf(subject->cn, sizeof subject->cn, "%s", c->cn);
        snprintf(subject->ou, sizeof subject->ou, "%s", c->ou == NULL ? "" : c->ou);
        return true;
    }
    in = BIO_new_file(c->certificate, "r");
    x = in == NULL ? NULL : PEM_read_bio_X509(in, NULL, NULL, NULL);
    BIO_free(in);
    if (x == NULL)
        return err_set_openssl(e, ERR_INPUT, "%s", c->certificate);
    ok = tls_subject_of(x, subject, e) || err_prefix(e, "%s", c->certificate);
    X509_free(x);
    return ok;
}

static bool is_profile(const char *text)
{
    static const char *const profiles[] = {"depositor", "reader", "technical", "functional"};

    for (size_t i = 0; text != NULL && i < sizeof profiles / sizeof *profiles; i++)
        if (strcmp(text, profiles[i]) == 0)
            return true;
    return false;
}

static PGconn *connect_owner(const struct ceremony *c, struct err *e)
{
    char *name = ceremony_database_name(c);
    PGconn *db = ceremony_connect(c, name, e);

    free(name);
    return db;
}

/* Runs `sql` with profile, CN and OU: *rows is how many it touched, *id the first one's. */
static bool change(const struct ceremony *c, const char *sql, const struct tls_subject *subject, int *rows, int *id, struct err *e)
{
    const char *const values[] = {c->profile, subject->cn, subject->ou};
    PGconn *db = connect_owner(c, e);
    PGresult *r = db == NULL ? NULL : ceremony_query(db, sql, values, 3, e);

    *rows = r == NULL ? 0 : PQntuples(r);
    *id = *rows == 0 ? 0 : atoi(PQgetvalue(r, 0, 0));
    PQclear(r);
    PQfinish(db);
    return r != NULL;
}

static int prepare(const struct ceremony *c, struct tls_subject *subject, const char *what)
{
    struct err e = {0};

    if (!is_profile(c->profile))
        return ceremony_say(CEREMONY_USAGE, "--profile is depositor, reader, technical or functional");
    if (!read_subject(c, subject, &e))
        return ceremony_say(CEREMONY_USAGE, "%s", e.text);
    return ceremony_confirm(c, "%s: CN \"%s\", OU \"%s\", %s.", what, subject->cn, subject->ou, c->profile);
}

int ceremony_bind(const struct ceremony *c)
{
    struct tls_subject subject;
    struct err e = {0};
    int rows, id, status = prepare(c, &subject, "Bind");

    if (status != CEREMONY_DONE)
        return status;
    if (!change(c, "INSERT INTO role (profile, cn, ou) VALUES ($1, $2, $3) "
                   "ON CONFLICT (profile, cn, ou) WHERE revoked_at IS NULL DO NOTHING RETURNING id", &subject, &rows, &id, &e))
        return ceremony_say(CEREMONY_FAILED, "%s", e.text);
    if (rows == 0)
        printf("bound already\n");
    else
        printf("bound: %s %d\n", c->profile, id);
    return CEREMONY_DONE;
}

int ceremony_revoke(const struct ceremony *c)
{
    struct tls_subject subject;
    struct err e = {0};
    int rows, id, status = prepare(c, &subject, "Revoke");

    if (status != CEREMONY_DONE)
        return status;
    if (!change(c, "UPDATE role SET revoked_at = now() WHERE profile = $1 AND cn = $2 AND ou = $3 AND revoked_at IS NULL RETURNING id",
                &subject, &rows, &id, &e))
        return ceremony_say(CEREMONY_FAILED, "%s", e.text);
    if (rows == 0)
        return ceremony_say(CEREMONY_REFUSED, "no such binding is in force");
    printf("revoked: %s %d\n", c->profile, id);
    return CEREMONY_DONE;
}

int ceremony_roles(const struct ceremony *c)
{
    struct err e = {0};
    PGconn *db = connect_owner(c, &e);
    PGresult *r = db == NULL ? NULL
                             : ceremony_query(db, "SELECT id, profile, cn, ou, to_char(bound_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), "
                                                  "coalesce(to_char(revoked_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), '-') "
                                                  "FROM role ORDER BY id", NULL, 0, &e);

    if (r != NULL)
        printf("%-4s %-10s %-20s %-20s %s\n", "id", "profile", "since", "until", "subject");
    for (int i = 0; r != NULL && i < PQntuples(r); i++)
        printf("%-4s %-10s %-20s %-20s CN=%s, OU=%s\n", PQgetvalue(r, i, 0), PQgetvalue(r, i, 1), PQgetvalue(r, i, 4),
               PQgetvalue(r, i, 5), PQgetvalue(r, i, 2), PQgetvalue(r, i, 3));
    PQclear(r);
    PQfinish(db);
    return r != NULL ? CEREMONY_DONE : ceremony_say(CEREMONY_FAILED, "%s", e.text);
}

/* As the sealer itself connects; the active one is woken. */
int ceremony_close_lot(const struct ceremony *c)
{
    const struct database_options o = {.settings = c->settings, .extra = c->settings->sealer.postgresql, .user = "coffre_sealer"};
    struct err e = {0};
    struct database *db = database_open(&o, &e);
    bool ok = db != NULL && database_run(db, "UPDATE head SET close_asked = 'demande'; NOTIFY lot_close_asked", &e);

    if (db != NULL)
        database_close(db);
    if (!ok)
        return ceremony_say(CEREMONY_FAILED, "%s", e.text);
    printf("the active sealer is asked to close the open lot\n");
    return CEREMONY_DONE;
}
