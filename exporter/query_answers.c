/* Answers that one or two statements give: status, lists, history. See query.h. */
#include <stdlib.h>

#include "common/formats/date.h"
#include "common/formats/hex.h"
#include "common/values/log.h"
#include "common/version.h"
#include "exporter/query.h"

/* ---- sending ------------------------------------------------------------------------------------------ */

void query_send(struct query *q, const struct ask_answer *a)
{
    struct err e = {0};

    if (q->front == NULL || ask_send_answer(q->front, a, &e))
        return;
    /* A front that takes nothing any more is wrong; it starts again with a new channel. */
    log_error("channel-full", "%s", e.text);
    channel_free(q->front);
    q->front = NULL;
}

void query_reply(struct query *q, uint32_t request, unsigned status, const char *location, json_t *body)
{
    char *text = body == NULL ? NULL : json_dumps(body, JSON_COMPACT | JSON_ENSURE_ASCII);
    char *line = mem_printf("%s\n", text == NULL ? "{}" : text);
    struct ask_answer a = {.request = request, .status = (uint16_t)status, .type = "application/json"};

    a.content = slice_text(line);
    a.length = a.content.len;
    if (location != NULL)
        snprintf(a.location, sizeof a.location, "%s", location);
    if (text == NULL || a.content.len > ASK_SHORT_MAX)
        query_refuse(q, request, 500, "too-long", "the answer does not fit; ask for less");
    else
        query_send(q, &a);
    free(line);
    free(text);
    json_decref(body);
}

void query_refuse(struct query *q, uint32_t request, unsigned status, const char *code, const char *fmt, ...)
{
    char reason[ERR_TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(reason, sizeof reason, fmt, ap);
    va_end(ap);
    query_reply(q, request, status, NULL,
                json_pack("{s:i, s:s, s:s}", "status", (int)status, "code", code, "reason", reason));
}

void query_fail(struct query *q, uint32_t request, const struct err *e)
{
    if (e->code == ERR_RETRY) {
        log_warning("store-away", "%s", e->text);
        query_refuse(q, request, 503, "store-away", "PostgreSQL did not answer; ask again");
        return;
    }
    q->incidents++;
    log_error("store-contradicts", "%s", e->text);
    query_refuse(q, request, 500, "incident", "the store cannot answer this; the operator's log says why");
}

/* ---- values ------------------------------------------------------------------------------------------- */

json_t *query_json_date(const PGresult *r, int row, int column)
{
    char text[DATE_LEN + 1];

    if (database_is_null(r, row, column))
        return json_null();
    date_write(text, (int64_t)database_get_time(r, row, column));
    return json_string(text);
}

json_t *query_json_number(const PGresult *r, int row, int column)
{
    return database_is_null(r, row, column) ? json_null() : json_integer(database_get_i64(r, row, column));
}

static json_t *json_hex(const PGresult *r, int row, int column)
{
    struct slice s = database_get_slice(r, row, column);
    char text[2 * 64 + 1];

    if (database_is_null(r, row, column) || s.len > 64)
        return json_null();
    hex_write(text, s);
    return json_string(text);
}

json_t *query_json_words(const PGresult *r, int row, int column)
{
    struct slice s = database_get_slice(r, row, column);

    return database_is_null(r, row, column) ? json_null() : json_stringn((const char *)s.at, s.len);
}

/* ---- /check and /v1/status ---------------------------------------------------------------------------- */

void query_answer_check(struct query *q, const struct ask_question *ask)
{
    struct err e = {0};
    PGresult *r = database_query(q->db, "SELECT next_serial, lot FROM head", NULL, 0, &e);

    if (r == NULL) {
        query_fail(q, ask->request, &e);
        return;
    }
    if (PQntuples(r) == 1)
        query_reply(q, ask->request, 200, NULL, json_pack("{s:s}", "status", "available"));
    else
        query_refuse(q, ask->request, 503, "store-empty", "the store has no head: restore it before anything is read");
    PQclear(r);
}

/* A lot's row as JSON; the columns are those of LOT_COLUMNS. */
#define LOT_COLUMNS \
    "lot, opened_at, closed_at, sealed_at, reason, first_serial, last_serial, event_bytes, container_size, container_sha256," \
    " sha256(signatures), signature_digest"

static json_t *json_lot(const PGresult *r, int row)
{
    json_t *o = json_object();
    bool closed = !database_is_null(r, row, 2), sealed = !database_is_null(r, row, 9);

    json_object_set_new(o, "lot", query_json_number(r, row, 0));
    json_object_set_new(o, "state", json_string(sealed ? "sealed" : closed ? "closed" : "open"));
    json_object_set_new(o, "opened_at", query_json_date(r, row, 1));
    json_object_set_new(o, "closed_at", query_json_date(r, row, 2));
    json_object_set_new(o, "sealed_at", query_json_date(r, row, 3));
    json_object_set_new(o, "reason", query_json_words(r, row, 4));
    json_object_set_new(o, "first_serial", query_json_number(r, row, 5));
    json_object_set_new(o, "last_serial", query_json_number(r, row, 6));
    if (closed)
        json_object_set_new(o, "events", json_integer(database_get_i64(r, row, 6) - database_get_i64(r, row, 5) + 1));
    if (closed)
        json_object_set_new(o, "event_bytes", query_json_number(r, row, 7));
    if (sealed) {
        json_object_set_new(o, "container_size", query_json_number(r, row, 8));
        json_object_set_new(o, "container_sha256", json_hex(r, row, 9));
        json_object_set_new(o, "signatures_sha256", json_hex(r, row, 10));
        json_object_set_new(o, "signature_value_sha256", json_hex(r, row, 11));
    }
    return o;
}

static json_t *status_of(struct query *q, const PGresult *head, const PGresult *last, const PGresult *open)
{
    const struct settings *s = role_settings(q->role);
    int64_t open_lot = database_get_i64(head, 0, 1), sealed = PQntuples(last) == 0 ? 0 : database_get_i64(last, 0, 0);
    json_t *o = json_object(), *lot = PQntuples(open) == 0 ? json_object() : json_lot(open, 0);

    json_object_set_new(lot, "events", query_json_number(head, 0, 2));
    json_object_set_new(lot, "event_bytes", query_json_number(head, 0, 3));
    json_object_set_new(o, "status", json_string("available"));
    json_object_set_new(o, "operator", json_string(s->vault.operator_id));
    json_object_set_new(o, "vault", json_integer((json_int_t)s->vault.number));
    json_object_set_new(o, "version", json_string(COFFRE_VERSION));
    json_object_set_new(o, "next_serial", query_json_number(head, 0, 0));
    json_object_set_new(o, "events", json_integer(database_get_i64(head, 0, 0) - 1));
    json_object_set_new(o, "sealed_events", json_integer(PQntuples(last) == 0 ? 0 : database_get_i64(last, 0, 6)));
    json_object_set_new(o, "open_lot", lot);
    /* The chain's head: what the regulator keeps to notice a rewound vault. */
    json_object_set_new(o, "last_sealed_lot", PQntuples(last) == 0 ? json_null() : json_lot(last, 0));
    json_object_set_new(o, "sealed_lots", json_integer(sealed));
    json_object_set_new(o, "unsealed_lots", json_integer(open_lot - 1 - sealed));
    return o;
}

/* How the daemons are is for those who tend them. */
static void reply_status(struct query *q, const struct ask_question *ask, json_t *status)
{
    if ((ask->profiles & API_TECHNICAL) != 0)
        json_object_set_new(status, "daemons", query_daemons(q));
    query_reply(q, ask->request, 200, NULL, status);
}

void query_answer_status(struct query *q, const struct ask_question *ask)
{
    struct err e = {0};
    PGresult *head = database_query(q->db, "SELECT next_serial, lot, lot_events, lot_bytes FROM head", NULL, 0, &e);
    PGresult *last = head == NULL ? NULL
                                  : database_query(q->db,
                                                   "SELECT " LOT_COLUMNS " FROM lot WHERE container_sha256 IS NOT NULL"
                                                   " ORDER BY lot DESC LIMIT 1",
                                                   NULL, 0, &e);
    PGresult *open = last == NULL ? NULL
                                  : database_query(q->db, "SELECT " LOT_COLUMNS " FROM lot ORDER BY lot DESC LIMIT 1", NULL, 0, &e);

    if (open == NULL)
        query_fail(q, ask->request, &e);
    else if (PQntuples(head) != 1)
        query_refuse(q, ask->request, 503, "store-empty", "the store has no head: restore it before anything is read");
    else
        reply_status(q, ask, status_of(q, head, last, open));
    PQclear(head);
    PQclear(last);
    PQclear(open);
}

/* ---- lists -------------------------------------------------------------------------------------------- */

void query_answer_lots(struct query *q, const struct ask_question *ask)
{
    const struct database_value v[] = {database_i64((int64_t)ask->call.a), database_i64(ask->call.limit)};
    struct err e = {0};
    PGresult *r = database_query(q->db, "SELECT " LOT_COLUMNS " FROM lot WHERE lot > $1 ORDER BY lot LIMIT $2", v, 2, &e);
    json_t *lots = json_array(), *o = json_object();

    if (r == NULL) {
        json_decref(lots);
        json_decref(o);
        query_fail(q, ask->request, &e);
        return;
    }
    for (int i = 0; i < PQntuples(r); i++)
        json_array_append_new(lots, json_lot(r, i));
    json_object_set_new(o, "lots", lots);
    /* A full page has perhaps another one behind it. */
    json_object_set_new(o, "next_after",
                        (uint32_t)PQntuples(r) < ask->call.limit ? json_null() : query_json_number(r, PQntuples(r) - 1, 0));
    query_reply(q, ask->request, 200, NULL, o);
    PQclear(r);
}

#define EXTRACTION_COLUMNS "id, asked_at, reader, request::text, first_lot, last_lot, events, segments"

static json_t *json_extraction(const PGresult *r, int row)
{
    json_t *o = json_object();
    struct slice request = database_get_slice(r, row, 3);
    char path[64];

    json_object_set_new(o, "id", query_json_number(r, row, 0));
    json_object_set_new(o, "asked_at", query_json_date(r, row, 1));
    json_object_set_new(o, "reader", query_json_words(r, row, 2));
    json_object_set_new(o, "request", json_loadb((const char *)request.at, request.len, 0, NULL));
    json_object_set_new(o, "first_lot", query_json_number(r, row, 4));
    json_object_set_new(o, "last_lot", query_json_number(r, row, 5));
    json_object_set_new(o, "lots", json_integer(database_get_i64(r, row, 5) - database_get_i64(r, row, 4) + 1));
    json_object_set_new(o, "events", query_json_number(r, row, 6));
    json_object_set_new(o, "segment_count", query_json_number(r, row, 7));
    snprintf(path, sizeof path, "/v1/extractions/%lld", (long long)database_get_i64(r, row, 0));
    json_object_set_new(o, "location", json_string(path));
    return o;
}

void query_answer_history(struct query *q, const struct ask_question *ask)
{
    const struct database_value v[] = {database_i64((int64_t)ask->call.a), database_i64(ask->call.limit)};
    struct err e = {0};
    PGresult *r = database_query(q->db, "SELECT " EXTRACTION_COLUMNS " FROM extraction WHERE id > $1 ORDER BY id LIMIT $2", v, 2, &e);
    json_t *list = json_array(), *o = json_object();

    if (r == NULL) {
        json_decref(list);
        json_decref(o);
        query_fail(q, ask->request, &e);
        return;
    }
    for (int i = 0; i < PQntuples(r); i++)
        json_array_append_new(list, json_extraction(r, i));
    json_object_set_new(o, "extractions", list);
    json_object_set_new(o, "next_after",
                        (uint32_t)PQntuples(r) < ask->call.limit ? json_null() : query_json_number(r, PQntuples(r) - 1, 0));
    query_reply(q, ask->request, 200, NULL, o);
    PQclear(r);
}

static json_t *json_segments(const PGresult *r, int64_t extraction, uint64_t fixed, uint64_t *sum)
{
    json_t *list = json_array();

    *sum = 0;
    for (int i = 0; i < PQntuples(r); i++) {
        int64_t segment = database_get_i64(r, i, 0);
        uint64_t bytes = (uint64_t)database_get_i64(r, i, 3) + fixed;
        char path[96];

        snprintf(path, sizeof path, "/v1/extractions/%lld/segments/%lld", (long long)extraction, (long long)segment);
        json_array_append_new(list, json_pack("{s:I, s:I, s:I, s:I, s:s}", "segment", (json_int_t)segment, "first_lot",
                                              (json_int_t)database_get_i64(r, i, 1), "last_lot",
                                              (json_int_t)database_get_i64(r, i, 2), "bytes", (json_int_t)bytes,
                                              "location", path));
        *sum += bytes;
    }
    return list;
}

/* Bytes of a segment without lots: what is the same in every one. */
static bool fixed_bytes(const struct query *q, uint64_t *bytes, struct err *e)
{
    struct segment *empty = query_new_segment(q, e);

    if (empty == NULL)
        return false;
    segment_finish(empty);
    *bytes = segment_length(empty);
    segment_free(empty);
    return true;
}

void query_answer_extraction(struct query *q, uint32_t request, uint64_t id, unsigned status)
{
    const struct database_value v[] = {database_i64((int64_t)id)};
    struct err e = {0};
    PGresult *r = database_query(q->db, "SELECT " EXTRACTION_COLUMNS " FROM extraction WHERE id = $1", v, 1, &e);
    PGresult *s = r == NULL ? NULL
                            : database_query(q->db,
                                             "SELECT segment, first_lot, last_lot, lot_bytes FROM extraction_segment"
                                             " WHERE extraction = $1 ORDER BY segment",
                                             v, 1, &e);
    uint64_t fixed, sum;

    if (s == NULL || !fixed_bytes(q, &fixed, &e)) {
        query_fail(q, request, &e);
    } else if (PQntuples(r) == 0) {
        query_refuse(q, request, 404, "extraction-unknown", "there is no extraction %llu", (unsigned long long)id);
    } else {
        json_t *o = json_extraction(r, 0);
        char *location = mem_strdup(json_string_value(json_object_get(o, "location")));

        json_object_set_new(o, "segments", json_segments(s, (int64_t)id, fixed, &sum));
        json_object_set_new(o, "bytes", json_integer((json_int_t)sum));
        query_reply(q, request, status, status == 201 ? location : NULL, o);
        free(location);
    }
    PQclear(r);
    PQclear(s);
}
