/* coffre-ceremony changes, approve, refuse: the history of role bindings, and a second person's word. */
#include <stdio.h>
#include <stdlib.h>

#include "sealer/ceremony/ceremony.h"

/* What the store's functions answer (schema.sql, role_propose and role_decide). */
static const struct outcome {
    const char *name, *sentence;
} refusals[] = {
    {"role-unknown", "no such binding is in force"},
    {"too-many", "so many bindings are in force that no other one fits: revoke some first"},
    {"revoked-already", "the binding is revoked already"},
    {"quorum-already", "changes need that many people already"},
    {"last-administrator", "this is the last functional administrator: bind another one first"},
    {"change-unknown", "there is no such change"},
    {"decided-already", "this change is decided already"},
    {"expired", "this change has expired: nobody decided it within 7 days"},
    {"own-proposal", "who proposed a change cannot approve it: another person must (refuse withdraws it)"},
    {"proposer-revoked", "who proposed this change is no functional administrator any more: refuse it"},
};

int ceremony_outcome(const char *outcome, const char *action, const char *profile, const char *change, const char *role)
{
    if (strcmp(outcome, "done") == 0 && strcmp(action, "quorum") == 0) {
        printf("changes need another number of people from now on\n");
        return CEREMONY_DONE;
    }
    if (strcmp(outcome, "done") == 0) {
        printf("%s: %s %s\n", strcmp(action, "bind") == 0 ? "bound" : "revoked", profile, role);
        return CEREMONY_DONE;
    }
    if (strcmp(outcome, "proposed") == 0) {
        printf("proposed: change %s; it takes effect when another person approves it\n", change);
        return CEREMONY_DONE;
    }
    if (strcmp(outcome, "refused") == 0) {
        printf("refused: change %s\n", change);
        return CEREMONY_DONE;
    }
    if (strcmp(outcome, "bound-already") == 0) {
        printf("bound already\n");
        return CEREMONY_DONE;
    }
    if (strcmp(outcome, "proposed-already") == 0)
        return ceremony_say(CEREMONY_REFUSED, "this is proposed already: change %s", change);
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
        if (strcmp(refusals[i].name, outcome) == 0)
            return ceremony_say(CEREMONY_REFUSED, "%s", refusals[i].sentence);
    return ceremony_say(CEREMONY_REFUSED, "%s", outcome);
}

/* What a change is about; of a quorum the number. */
#define CHANGE_NAME "CASE action WHEN 'quorum' THEN people::text ELSE " CEREMONY_NAME " END"

/* ---- history ------------------------------------------------------------------------------------ */

enum { ID, AT, STATE, ACTION, PROFILE, NAME, BY, VIA, FROM, REASON, DECIDED_AT, DECIDED_BY, DECIDED_VIA, DECIDED_FROM, DECIDED_WHY, QUORUM };

static void print_change(PGresult *r, int i)
{
    const char *state = PQgetvalue(r, i, STATE);
    bool done = strcmp(state, "done") == 0;

    printf("%s  %s  %s: %s %s %s\n", PQgetvalue(r, i, ID), PQgetvalue(r, i, AT), state, PQgetvalue(r, i, ACTION), PQgetvalue(r, i, PROFILE),
           PQgetvalue(r, i, NAME));
    printf("    by %s from %s (%s)%s%s\n", PQgetvalue(r, i, BY), PQgetvalue(r, i, FROM), PQgetvalue(r, i, VIA),
           *PQgetvalue(r, i, REASON) == '\0' ? "" : ": ", PQgetvalue(r, i, REASON));
    if (strcmp(state, "proposed") == 0 || (done && strcmp(PQgetvalue(r, i, QUORUM), "1") == 0))
        return;
    if (*PQgetvalue(r, i, DECIDED_BY) == '\0')
        printf("    %s: %s\n", PQgetvalue(r, i, DECIDED_AT), PQgetvalue(r, i, DECIDED_WHY));
    else
        printf("    %s by %s from %s (%s), %s%s%s\n", done ? "approved" : "refused", PQgetvalue(r, i, DECIDED_BY), PQgetvalue(r, i, DECIDED_FROM),
               PQgetvalue(r, i, DECIDED_VIA), PQgetvalue(r, i, DECIDED_AT), *PQgetvalue(r, i, DECIDED_WHY) == '\0' ? "" : ": ",
               PQgetvalue(r, i, DECIDED_WHY));
}

int ceremony_changes(const struct ceremony *c)
{
    struct err e = {0};
    PGconn *db = ceremony_connect_vault(c, &e);
    PGresult *r = db == NULL || !ceremony_run(db, "SELECT role_expire()", &e)
                      ? NULL
                      : ceremony_query(db, "SELECT id, " CEREMONY_DATE("at") ", state, action, profile, " CHANGE_NAME
                                           ", author, via, origin, reason, " CEREMONY_DATE("decided_at")
                                           ", decided_by, decided_via, decided_from, decided_why, quorum FROM role_change ORDER BY id", NULL, 0, &e);

    for (int i = 0; r != NULL && i < PQntuples(r); i++)
        print_change(r, i);
    PQclear(r);
    PQfinish(db);
    return r != NULL ? CEREMONY_DONE : ceremony_say(CEREMONY_FAILED, "%s", e.text);
}

/* ---- decisions ---------------------------------------------------------------------------------- */

/* Shows what is to be decided, and asks. The result is the change's row; NULL with a status. */
static PGresult *show(const struct ceremony *c, PGconn *db, const char *what, int *status)
{
    struct err e = {0};
    PGresult *r = ceremony_query(db, "SELECT action, profile, " CHANGE_NAME ", author, origin, reason FROM role_change WHERE id = $1::bigint", &c->id, 1, &e);

    if (r == NULL)
        *status = ceremony_say(CEREMONY_FAILED, "%s", e.text);
    else if (PQntuples(r) == 0)
        *status = ceremony_say(CEREMONY_REFUSED, "there is no such change");
    else
        *status = ceremony_confirm(c, "%s change %s: %s %s %s, proposed by %s from %s: %s", what, c->id, PQgetvalue(r, 0, 0), PQgetvalue(r, 0, 1),
                                   PQgetvalue(r, 0, 2), PQgetvalue(r, 0, 3), PQgetvalue(r, 0, 4), PQgetvalue(r, 0, 5));
    if (*status == CEREMONY_DONE)
        return r;
    PQclear(r);
    return NULL;
}

static int decide(const struct ceremony *c, PGconn *db, bool approves)
{
    struct ceremony_person who;
    struct err e = {0};
    int status = CEREMONY_DONE;
    PGresult *change = show(c, db, approves ? "Approve" : "Refuse", &status), *r;

    if (change == NULL)
        return status;
    ceremony_who(&who);
    {
        const char *const values[] = {c->id, approves ? "true" : "false", c->reason == NULL ? "" : c->reason, who.by, who.identity, who.host};

        r = ceremony_query(db, "SELECT outcome, role_id FROM role_decide($1::bigint, $2::boolean, $3, $4, $5, $6)", values, 6, &e);
    }
    status = r == NULL ? ceremony_say(CEREMONY_FAILED, "%s", e.text)
                       : ceremony_outcome(PQgetvalue(r, 0, 0), PQgetvalue(change, 0, 0), PQgetvalue(change, 0, 1), c->id, PQgetvalue(r, 0, 1));
    PQclear(r);
    PQclear(change);
    return status;
}

static int connect_and_decide(const struct ceremony *c, bool approves)
{
    struct err e = {0};
    PGconn *db;
    int status;

    if (c->id == NULL || strspn(c->id, "0123456789") != strlen(c->id) || strlen(c->id) > 18 || *c->id == '\0')
        return ceremony_say(CEREMONY_USAGE, "the number of a change is due (see coffre-ceremony changes)");
    db = ceremony_connect_vault(c, &e);
    status = db == NULL ? ceremony_say(CEREMONY_FAILED, "%s", e.text) : decide(c, db, approves);
    PQfinish(db);
    return status;
}

int ceremony_approve(const struct ceremony *c)
{
    return connect_and_decide(c, true);
}

int ceremony_refuse(const struct ceremony *c)
{
    return connect_and_decide(c, false);
}
