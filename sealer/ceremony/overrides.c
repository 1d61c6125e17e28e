/* coffre-ceremony override, overrides: for how long certificates of a profile are believed without being asked about (débrayage). */
#include <stdio.h>
#include <stdlib.h>

#include "sealer/ceremony/ceremony.h"

enum { SECONDS_MAX = 7 * 86400 };

/* "90m", "8h", "7d": seconds; 0: it is none, or over 7 days. */
static unsigned read_duration(const char *text)
{
    static const struct {
        char unit;
        unsigned seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    char *end = NULL;
    unsigned long n = text == NULL || *text < '0' || *text > '9' ? 0 : strtoul(text, &end, 10);

    for (size_t i = 0; n != 0 && i < sizeof units / sizeof *units; i++)
        if (end[0] == units[i].unit && end[1] == '\0')
            return n <= SECONDS_MAX / units[i].seconds ? (unsigned)n * units[i].seconds : 0;
    return 0;
}

/* The store's clock decided it. */
static void print_end(const struct ceremony *c, PGconn *db, const char *id)
{
    struct err e = {0};
    PGresult *r = ceremony_query(db, "SELECT " CEREMONY_DATE("until") " FROM override WHERE id = $1::bigint", &id, 1, &e);

    printf("override %s: %s until %s\n", id, c->profile, r == NULL ? "?" : PQgetvalue(r, 0, 0));
    PQclear(r);
}

static int begin(const struct ceremony *c)
{
    struct ceremony_person who;
    struct err e = {0};
    unsigned seconds = read_duration(c->duration);
    char text[16];
    PGconn *db;
    PGresult *r = NULL;
    int status;

    if (!ceremony_is_profile(c->profile) || seconds == 0 || c->reason == NULL || c->reason[strspn(c->reason, " ")] == '\0')
        return ceremony_say(CEREMONY_USAGE, "--profile, --for (at most 7d) and --reason are due");
    status = ceremony_confirm(c, "For %s, certificates of profile %s are let in though nobody can say whether they are revoked; those known to be revoked are not.", c->duration, c->profile);
    if (status != CEREMONY_DONE)
        return status;
    ceremony_who(&who);
    snprintf(text, sizeof text, "%u", seconds);
    db = ceremony_connect_vault(c, &e);
    if (db != NULL) {
        const char *const values[] = {c->profile, text, c->reason, who.by, who.host};

        r = ceremony_query(db, "SELECT outcome, override_id FROM override_set($1, $2::bigint, $3, $4, $5)", values, 5, &e);
    }
    if (r == NULL)
        status = ceremony_say(CEREMONY_FAILED, "%s", e.text);
    else if (strcmp(PQgetvalue(r, 0, 0), "done") != 0)
        status = ceremony_say(CEREMONY_REFUSED, "%s", strcmp(PQgetvalue(r, 0, 0), "override-already") == 0
                                                          ? "an override of this profile is in force: end it first" : PQgetvalue(r, 0, 0));
    else
        print_end(c, db, PQgetvalue(r, 0, 1));
    PQclear(r);
    PQfinish(db);
    return status;
}

static int end(const struct ceremony *c)
{
    struct ceremony_person who;
    struct err e = {0};
    PGconn *db;
    PGresult *r = NULL;
    int status;

    if (c->profile != NULL && !ceremony_is_profile(c->profile))
        return ceremony_say(CEREMONY_USAGE, "--profile is depositor, reader, technical or functional");
    status = ceremony_confirm(c, "Overrides of %s end now: revocation is asked again.", c->profile == NULL ? "all profiles" : c->profile);
    if (status != CEREMONY_DONE)
        return status;
    ceremony_who(&who);
    db = ceremony_connect_vault(c, &e);
    if (db != NULL) {
        const char *const values[] = {c->profile, who.by, who.host};

        r = ceremony_query(db, "SELECT override_end($1, $2, $3)", values, 3, &e);
    }
    if (r == NULL)
        status = ceremony_say(CEREMONY_FAILED, "%s", e.text);
    else if (strcmp(PQgetvalue(r, 0, 0), "0") == 0)
        status = ceremony_say(CEREMONY_REFUSED, "no override is in force");
    else
        printf("ended: %s\n", PQgetvalue(r, 0, 0));
    PQclear(r);
    PQfinish(db);
    return status;
}

int ceremony_override(const struct ceremony *c)
{
    return c->end ? end(c) : begin(c);
}

int ceremony_overrides(const struct ceremony *c)
{
    struct err e = {0};
    PGconn *db = ceremony_connect_vault(c, &e);
    PGresult *r = db == NULL ? NULL
                             : ceremony_query(db, "SELECT id, profile, " CEREMONY_DATE("at") ", " CEREMONY_DATE("until") ", " CEREMONY_DATE("ended_at")
                                                  ", author, origin, reason, ended_by FROM override"
                                                  " WHERE $1::boolean OR (ended_at IS NULL AND until > now()) ORDER BY id",
                                              (const char *const[]){c->all ? "true" : "false"}, 1, &e);

    if (r != NULL)
        printf("%-4s %-10s %-20s %-20s %-20s %s\n", "id", "profile", "since", "until", "ended", "by, from: reason");
    for (int i = 0; r != NULL && i < PQntuples(r); i++)
        printf("%-4s %-10s %-20s %-20s %-20s %s, %s: %s\n", PQgetvalue(r, i, 0), PQgetvalue(r, i, 1), PQgetvalue(r, i, 2), PQgetvalue(r, i, 3),
               PQgetvalue(r, i, 4), PQgetvalue(r, i, 5), PQgetvalue(r, i, 6), PQgetvalue(r, i, 7));
    PQclear(r);
    PQfinish(db);
    return r != NULL ? CEREMONY_DONE : ceremony_say(CEREMONY_FAILED, "%s", e.text);
}
