/* coffre-ceremony bind, revoke, roles, close-lot: rows of the store that people decide on. Changes go through the store's own functions. */
#include <stdio.h>
#include <stdlib.h>

#include <openssl/pem.h>

#include "common/system/database.h"
#include "common/system/roster.h"
#include "common/system/tls.h"
#include "sealer/ceremony/ceremony.h"

/* What a binding is about, in the one spelling of the store. */
struct binding {
    char cn[ROSTER_TEXT_MAX + 1], ou[ROSTER_TEXT_MAX + 1];
    char serial[ROSTER_SERIAL_MAX + 1], san[ROSTER_TEXT_MAX + 1];
};

static bool read_certificate(const char *path, struct binding *b, struct err *e)
{
    struct tls_subject subject;
    BIO *in = BIO_new_file(path, "r");
    X509 *x = in == NULL ? NULL : PEM_read_bio_X509(in, NULL, NULL, NULL);
    bool ok;

    BIO_free(in);
    if (x == NULL)
        return err_set_openssl(e, ERR_INPUT, "%s", path);
    ok = tls_subject_of(x, &subject, e) || err_prefix(e, "%s", path);
    X509_free(x);
    if (!ok)
        return false;
    snprintf(b->cn, sizeof b->cn, "%s", subject.cn);
    snprintf(b->ou, sizeof b->ou, "%s", subject.ou);
    return true;
}

static bool read_binding(const struct ceremony *c, struct binding *b, struct err *e)
{
    if (!roster_read_serial(slice_text(c->serial), b->serial, e) || !roster_read_san(slice_text(c->san), b->san, e))
        return false;
    if (c->certificate != NULL)
        return read_certificate(c->certificate, b, e);
    if (c->cn == NULL || *c->cn == '\0')
        return err_set(e, ERR_INPUT, "--certificate, or --cn and --ou, are due");
    return roster_read_name(slice_text(c->cn), "--cn", b->cn, e) && roster_read_name(slice_text(c->ou), "--ou", b->ou, e);
}

bool ceremony_is_profile(const char *text)
{
    enum roster_profile profile;

    return text != NULL && roster_profile_parse(slice_text(text), &profile);
}

PGconn *ceremony_connect_vault(const struct ceremony *c, struct err *e)
{
    char *name = ceremony_database_name(c);
    PGconn *db = ceremony_connect(c, name, e);

    free(name);
    return db;
}

static int prepare(const struct ceremony *c, struct binding *b, const char *what)
{
    struct err e = {0};

    if (!ceremony_is_profile(c->profile))
        return ceremony_say(CEREMONY_USAGE, "--profile is depositor, reader, technical or functional");
    if (!read_binding(c, b, &e))
        return ceremony_say(CEREMONY_USAGE, "%s", e.text);
    return ceremony_confirm(c, "%s: CN \"%s\", OU \"%s\"%s%s%s%s, %s.", what, b->cn, b->ou, *b->serial == '\0' ? "" : ", serial ", b->serial,
                            *b->san == '\0' ? "" : ", ", b->san, c->profile);
}

/* bind or revoke, as the store decides. */
static int propose(const struct ceremony *c, const char *action, const struct binding *b)
{
    struct ceremony_person who;
    struct err e = {0};
    char people[8];
    PGconn *db = ceremony_connect_vault(c, &e);
    PGresult *r = NULL;
    int status;

    ceremony_who(&who);
    snprintf(people, sizeof people, "%u", (unsigned)c->settings->roles.quorum);
    if (db != NULL) {
        const char *const values[] = {action, c->profile, b->cn, b->ou, b->serial, b->san, c->reason == NULL ? "" : c->reason, people,
                                      who.by, who.identity, who.host};

        r = ceremony_query(db, "SELECT outcome, change_id, role_id FROM role_propose($1, NULL, $2, $3, $4, $5, $6, $7, $8::integer, $9, $10, $11)",
                           values, 11, &e);
    }
    status = r == NULL ? ceremony_say(CEREMONY_FAILED, "%s", e.text)
                       : ceremony_outcome(PQgetvalue(r, 0, 0), action, c->profile, PQgetvalue(r, 0, 1), PQgetvalue(r, 0, 2));
    PQclear(r);
    PQfinish(db);
    return status;
}

int ceremony_bind(const struct ceremony *c)
{
    struct binding b;
    int status = prepare(c, &b, "Bind");

    return status != CEREMONY_DONE ? status : propose(c, "bind", &b);
}

int ceremony_revoke(const struct ceremony *c)
{
    struct binding b;
    int status = prepare(c, &b, "Revoke");

    return status != CEREMONY_DONE ? status : propose(c, "revoke", &b);
}

int ceremony_roles(const struct ceremony *c)
{
    const char *const values[] = {c->all ? "true" : "false"};
    struct err e = {0};
    PGconn *db = ceremony_connect_vault(c, &e);
    PGresult *r = db == NULL ? NULL
                             : ceremony_query(db, "SELECT id, profile, " CEREMONY_DATE("bound_at") ", " CEREMONY_DATE("revoked_at") ", " CEREMONY_NAME
                                                  " FROM role WHERE $1::boolean OR revoked_at IS NULL ORDER BY id", values, 1, &e);

    if (r != NULL)
        printf("%-4s %-10s %-20s %-20s %s\n", "id", "profile", "since", "until", "subject");
    for (int i = 0; r != NULL && i < PQntuples(r); i++)
        printf("%-4s %-10s %-20s %-20s %s\n", PQgetvalue(r, i, 0), PQgetvalue(r, i, 1), PQgetvalue(r, i, 2), PQgetvalue(r, i, 3),
               PQgetvalue(r, i, 4));
    PQclear(r);
    PQfinish(db);
    return r != NULL ? CEREMONY_DONE : ceremony_say(CEREMONY_FAILED, "%s", e.text);
}

/* How many people changes need from now on: itself a change, which needs as many as before. */
int ceremony_quorum(const struct ceremony *c)
{
    struct ceremony_person who;
    struct err e = {0};
    char asked[8];
    PGconn *db;
    PGresult *r = NULL;
    int status;

    if (c->id == NULL || (strcmp(c->id, "1") != 0 && strcmp(c->id, "2") != 0))
        return ceremony_say(CEREMONY_USAGE, "1 or 2 is due: how many people a change of role bindings needs");
    if (strtoul(c->id, NULL, 10) < c->settings->roles.quorum)
        return ceremony_say(CEREMONY_REFUSED, "roles.quorum is %u in the configuration: that comes first, on every host", (unsigned)c->settings->roles.quorum);
    status = ceremony_confirm(c, "Changes of role bindings need %s from now on, as soon as those it needs now agree.", c->id[0] == '1' ? "one person" : "two people");
    if (status != CEREMONY_DONE)
        return status;
    db = ceremony_connect_vault(c, &e);
    ceremony_who(&who);
    snprintf(asked, sizeof asked, "%u", (unsigned)c->settings->roles.quorum);
    if (db != NULL) {
        const char *const values[] = {c->id, c->reason == NULL ? "" : c->reason, asked, who.by, who.identity, who.host};

        r = ceremony_query(db, "SELECT outcome, change_id FROM role_propose('quorum', $1::bigint, '', '', '', '', '', $2, $3::integer, $4, $5, $6)", values, 6, &e);
    }
    status = r == NULL ? ceremony_say(CEREMONY_FAILED, "%s", e.text) : ceremony_outcome(PQgetvalue(r, 0, 0), "quorum", "", PQgetvalue(r, 0, 1), "");
    PQclear(r);
    PQfinish(db);
    return status;
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
