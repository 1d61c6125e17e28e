/* Changes of role bindings: what a functional administrator asks for becomes one call of the store's functions. See admin.h and schema.sql. */
#include <stdlib.h>

#include "common/values/log.h"
#include "exporter/admin.h"

/* What the store's functions answer when they do nothing. */
static const struct refusal {
    const char *outcome;
    unsigned status;
    const char *reason;
} refusals[] = {
    {"not-allowed", 403, "your certificate's subject is not a functional administrator's any more"},
    {"role-unknown", 404, "there is no such binding"},
    {"change-unknown", 404, "there is no such change"},
    {"bound-already", 409, "this is bound already"},
    {"too-many", 409, "so many bindings are in force that no other one fits: revoke some first"},
    {"revoked-already", 409, "this binding is revoked already"},
    {"quorum-already", 409, "changes need that many people already"},
    {"last-administrator", 409, "this is the last functional administrator: bind another one first"},
    {"own-proposal", 409, "who proposed a change cannot approve it, with whatever certificate; another person must (a refusal withdraws it)"},
    {"proposer-revoked", 409, "who proposed this change is no functional administrator any more: refuse it"},
    {"decided-already", 409, "this change is decided already"},
    {"expired", 409, "this change has expired: nobody decided it within 7 days"},
};

static void refuse_outcome(struct admin *a, uint32_t request, struct slice outcome)
{
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
        if (slice_is(outcome, refusals[i].outcome)) {
            admin_refuse(a, request, refusals[i].status, refusals[i].outcome, "%s", refusals[i].reason);
            return;
        }
    log_error("store-contradicts", "a change ended in \"%.*s\"", (int)outcome.len, (const char *)outcome.at);
    admin_refuse(a, request, 500, "incident", "the store answered what this program does not know");
}

/* The content once more: front's reading of it is not relied upon. */
static bool read_change(struct admin *a, const struct ask_question *ask, struct api_change *change)
{
    struct api_refusal no;

    if (api_read_change(ask->call.resource, ask->content, change, &no))
        return true;
    admin_refuse(a, ask->request, no.status, no.code, "%s", no.reason);
    return false;
}

/* Issuer and serial number: what a second certificate of the same person does not share, and a second person never does. Owned. */
static char *certificate_of(const struct ask_question *ask)
{
    return mem_printf("%.*s %.*s", (int)ask->client.issuer.len, (const char *)ask->client.issuer.at, (int)ask->client.serial.len,
                      (const char *)ask->client.serial.at);
}

static char *author_of(const struct ask_question *ask)
{
    return mem_printf("CN=%.*s, OU=%.*s", (int)ask->client.cn.len, (const char *)ask->client.cn.at, (int)ask->client.ou.len,
                      (const char *)ask->client.ou.at);
}

/* A change was made, proposed, or not. The result is taken over. */
static void answer_proposal(struct admin *a, const struct ask_question *ask, PGresult *r)
{
    struct slice outcome = database_get_slice(r, 0, 0);
    int64_t change = database_get_i64(r, 0, 1), role = database_get_i64(r, 0, 2);
    char path[64];

    if (slice_is(outcome, "done")) {
        a->changes++;
        if (ask->call.resource == API_BIND)
            admin_show_role(a, ask->request, role, 201);
        else
            admin_show_role(a, ask->request, role, 200);
    } else if (slice_is(outcome, "proposed")) {
        a->changes++;
        admin_show_change(a, ask->request, change, 202);
    } else if (slice_is(outcome, "proposed-already")) {
        snprintf(path, sizeof path, "/v1/admin/changes/%lld", (long long)change);
        admin_reply(a, ask->request, 409, path,
                    json_pack("{s:i, s:s, s:s, s:s}", "status", 409, "code", "proposed-already", "reason",
                              "this is proposed already, and waits for another person", "location", path));
    } else {
        refuse_outcome(a, ask->request, outcome);
    }
    PQclear(r);
}

static void propose(struct admin *a, const struct ask_question *ask, const char *action, const struct api_change *change)
{
    char *author = author_of(ask), *certificate = certificate_of(ask);
    const struct database_value v[] = {
        database_text(action),
        ask->call.resource == API_REVOKE ? database_i64((int64_t)ask->call.a) : database_null(),
        database_text(change->profile), database_text(change->cn), database_text(change->ou), database_text(change->serial),
        database_text(change->san), database_text(change->reason), database_i32((int32_t)a->quorum), database_text(author),
        database_text(certificate), database_text_slice(ask->client.address)};
    struct err e = {0};
    PGresult *r = database_query(a->db, "SELECT outcome, change_id, role_id FROM role_propose($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
                                 v, sizeof v / sizeof *v, &e);

    free(author);
    free(certificate);
    if (r == NULL)
        admin_fail(a, ask->request, &e);
    else
        answer_proposal(a, ask, r);
}

void admin_bind(struct admin *a, const struct ask_question *ask)
{
    struct api_change change;

    if (read_change(a, ask, &change))
        propose(a, ask, "bind", &change);
}

void admin_revoke(struct admin *a, const struct ask_question *ask)
{
    struct api_change change;

    if (read_change(a, ask, &change))
        propose(a, ask, "revoke", &change);
}

void admin_decide(struct admin *a, const struct ask_question *ask)
{
    char *author, *certificate;
    struct api_change change;
    struct err e = {0};
    PGresult *r;

    if (!read_change(a, ask, &change))
        return;
    author = author_of(ask);
    certificate = certificate_of(ask);
    {
        const struct database_value v[] = {database_i64((int64_t)ask->call.a), database_bool(ask->call.resource == API_APPROVE),
                                           database_text(change.reason), database_text(author), database_text(certificate),
                                           database_text_slice(ask->client.address)};

        r = database_query(a->db, "SELECT outcome FROM role_decide($1, $2, $3, $4, $5, $6)", v, sizeof v / sizeof *v, &e);
    }
    free(author);
    free(certificate);
    if (r == NULL) {
        admin_fail(a, ask->request, &e);
        return;
    }
    if (slice_is(database_get_slice(r, 0, 0), "done") || slice_is(database_get_slice(r, 0, 0), "refused")) {
        a->changes++;
        admin_show_change(a, ask->request, (int64_t)ask->call.a, 200);
    } else {
        refuse_outcome(a, ask->request, database_get_slice(r, 0, 0));
    }
    PQclear(r);
}
