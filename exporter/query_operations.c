/* Operations that technical administrators ask for: one call of the store's function, which decides again, and the list of them. See query.h and schema.sql. */
#include <stdlib.h>

#include "common/values/log.h"
#include "exporter/query.h"

#define OPERATION_COLUMNS "id, at, operation, key, author, certificate, origin, reason, ended_at, lot"

static json_t *json_operation(const PGresult *r, int row)
{
    static const char *const names[] = {"operation", "key", "by", "certificate", "from", "reason"};
    json_t *o = json_object();
    char path[64];

    snprintf(path, sizeof path, "/v1/operations/%lld", (long long)database_get_i64(r, row, 0));
    json_object_set_new(o, "id", query_json_number(r, row, 0));
    json_object_set_new(o, "at", query_json_date(r, row, 1));
    for (int i = 0; i < 6; i++)
        json_object_set_new(o, names[i], query_json_words(r, row, 2 + i));
    json_object_set_new(o, "state", json_string(database_is_null(r, row, 8) ? "waiting" : "done"));
    json_object_set_new(o, "ended_at", query_json_date(r, row, 8));
    json_object_set_new(o, "lot", query_json_number(r, row, 9));
    json_object_set_new(o, "location", json_string(path));
    return o;
}

/* Newest first: `after` is the last one of the page before, 0 the beginning. */
void query_answer_operations(struct query *q, const struct ask_question *ask)
{
    const struct database_value v[] = {database_i64((int64_t)ask->call.a), database_i64(ask->call.limit)};
    struct err e = {0};
    PGresult *r = database_query(q->db, "SELECT " OPERATION_COLUMNS " FROM operation WHERE $1 = 0 OR id < $1 ORDER BY id DESC LIMIT $2", v, 2, &e);
    json_t *list, *o;

    if (r == NULL) {
        query_fail(q, ask->request, &e);
        return;
    }
    list = json_array();
    o = json_object();
    for (int i = 0; i < PQntuples(r); i++)
        json_array_append_new(list, json_operation(r, i));
    json_object_set_new(o, "operations", list);
    /* A full page has perhaps another one behind it. */
    json_object_set_new(o, "next_after", (uint32_t)PQntuples(r) < ask->call.limit ? json_null() : query_json_number(r, PQntuples(r) - 1, 0));
    query_reply(q, ask->request, 200, NULL, o);
    PQclear(r);
}

void query_answer_operation(struct query *q, uint32_t request, uint64_t id, unsigned status)
{
    const struct database_value v[] = {database_i64((int64_t)id)};
    struct err e = {0};
    PGresult *r = database_query(q->db, "SELECT " OPERATION_COLUMNS " FROM operation WHERE id = $1", v, 1, &e);
    char path[64];

    snprintf(path, sizeof path, "/v1/operations/%llu", (unsigned long long)id);
    if (r == NULL)
        query_fail(q, request, &e);
    else if (PQntuples(r) == 0)
        query_refuse(q, request, 404, "operation-unknown", "there is no operation %llu", (unsigned long long)id);
    else
        query_reply(q, request, status, status == 200 ? NULL : path, json_operation(r, 0));
    PQclear(r);
}

/* ---- a new one ---------------------------------------------------------------------------------------- */

/* What the store's function answers when it does nothing. */
static const struct refusal {
    const char *outcome;
    unsigned status;
    const char *reason;
} refusals[] = {
    {"not-allowed", 403, "your certificate's subject is not a technical administrator's any more"},
    {"too-many", 429, "enough operations wait, or were asked for within a minute: see /v1/operations"},
    {"key-used", 409, "this key is that of another operation of yours"},
};

static void answer_outcome(struct query *q, uint32_t request, struct slice outcome, uint64_t id)
{
    if (slice_is(outcome, "asked") || slice_is(outcome, "asked-already")) {
        query_answer_operation(q, request, id, 202);
        return;
    }
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
        if (slice_is(outcome, refusals[i].outcome)) {
            query_refuse(q, request, refusals[i].status, refusals[i].outcome, "%s", refusals[i].reason);
            return;
        }
    q->incidents++;
    log_error("store-contradicts", "an operation ended in \"%.*s\"", (int)outcome.len, (const char *)outcome.at);
    query_refuse(q, request, 500, "incident", "the store answered what this program does not know");
}

/* Owned. NULL: failed, and whatever it did is undone. */
static PGresult *call_store(struct query *q, const struct ask_question *ask, const struct api_operation *operation, struct err *e)
{
    const struct ask_client *who = &ask->client;
    char *certificate = mem_printf("%.*s %.*s", (int)who->issuer.len, (const char *)who->issuer.at, (int)who->serial.len, (const char *)who->serial.at);
    const struct database_value v[] = {database_text(operation->name),   database_text(operation->key), database_text(operation->reason),
                                       database_text_slice(ask->reader), database_text(certificate),    database_text_slice(who->address)};
    PGresult *r = NULL;

    if (database_run(q->db, "BEGIN READ WRITE", e)) {
        r = database_query(q->db, "SELECT outcome, operation_id FROM operation_ask($1, $2, $3, $4, $5, $6)", v, sizeof v / sizeof *v, e);
        if (r == NULL || !database_run(q->db, "COMMIT", e)) {
            PQclear(r);
            r = NULL;
            if (!database_run(q->db, "ROLLBACK", NULL))
                log_debug("store-away", "the transaction ends with its connection");
        }
    }
    free(certificate);
    return r;
}

void query_ask_operation(struct query *q, const struct ask_question *ask)
{
    struct api_operation operation;
    struct api_refusal no;
    struct err e = {0};
    PGresult *r;

    /* The content once more: front's reading of it is not relied upon. */
    if (!api_read_operation(ask->content, &operation, &no)) {
        query_refuse(q, ask->request, no.status, no.code, "%s", no.reason);
        return;
    }
    r = call_store(q, ask, &operation, &e);
    if (r == NULL)
        query_fail(q, ask->request, &e);
    else
        answer_outcome(q, ask->request, database_get_slice(r, 0, 0), (uint64_t)database_get_i64(r, 0, 1));
    PQclear(r);
}
