/* Role bindings and the history of their changes, as JSON: see admin.h. */
#include <stdlib.h>

#include "common/formats/date.h"
#include "exporter/admin.h"

static json_t *json_date(const PGresult *r, int row, int column)
{
    char text[DATE_LEN + 1];

    if (database_is_null(r, row, column))
        return json_null();
    date_write(text, (int64_t)database_get_time(r, row, column));
    return json_string(text);
}

static json_t *json_words(const PGresult *r, int row, int column)
{
    struct slice s = database_get_slice(r, row, column);

    return database_is_null(r, row, column) ? json_null() : json_stringn((const char *)s.at, s.len);
}

static json_t *json_number(const PGresult *r, int row, int column)
{
    return database_is_null(r, row, column) ? json_null() : json_integer(database_get_i64(r, row, column));
}

/* Texts of consecutive columns under these names. */
static void set_words(json_t *o, const PGresult *r, int row, int column, const char *const *names, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        json_object_set_new(o, names[i], json_words(r, row, column + (int)i));
}

#define ROLE_COLUMNS "id, profile, cn, ou, serial, san, bound_at, revoked_at"

static json_t *json_role(const PGresult *r, int row)
{
    static const char *const names[] = {"profile", "cn", "ou", "serial", "san"};
    json_t *o = json_object();

    json_object_set_new(o, "id", json_number(r, row, 0));
    set_words(o, r, row, 1, names, 5);
    json_object_set_new(o, "bound_at", json_date(r, row, 6));
    json_object_set_new(o, "revoked_at", json_date(r, row, 7));
    return o;
}

#define CHANGE_COLUMNS \
    "id, at, state, action, profile, cn, ou, serial, san, author, certificate, via, origin, reason, decided_by, decided_certificate," \
    " decided_via, decided_from, decided_why, decided_at, role, quorum, people"

static json_t *json_change(const PGresult *r, int row)
{
    static const char *const names[] = {"state", "action", "profile", "cn", "ou", "serial", "san", "by", "certificate", "via", "from", "reason"},
                            *const decision[] = {"by", "certificate", "via", "from", "reason"};
    json_t *o = json_object(), *decided = NULL;
    char path[64];

    snprintf(path, sizeof path, "/v1/admin/changes/%lld", (long long)database_get_i64(r, row, 0));
    json_object_set_new(o, "id", json_number(r, row, 0));
    json_object_set_new(o, "at", json_date(r, row, 1));
    set_words(o, r, row, 2, names, 12);
    if (!database_is_null(r, row, 19)) {
        decided = json_object();
        set_words(decided, r, row, 14, decision, 5);
        json_object_set_new(decided, "at", json_date(r, row, 19));
    }
    json_object_set_new(o, "decided", decided == NULL ? json_null() : decided);
    json_object_set_new(o, "role", json_number(r, row, 20));
    json_object_set_new(o, "quorum", json_number(r, row, 21));
    json_object_set_new(o, "people", json_number(r, row, 22));
    json_object_set_new(o, "location", json_string(path));
    return o;
}

/* A page of rows, its first column an identifier. The result is taken over. */
static void reply_page(struct admin *a, const struct ask_question *ask, PGresult *r, const struct err *e, const char *name,
                       json_t *(*row_of)(const PGresult *r, int row))
{
    json_t *list, *o;

    if (r == NULL) {
        admin_fail(a, ask->request, e);
        return;
    }
    list = json_array();
    for (int i = 0; i < PQntuples(r); i++)
        json_array_append_new(list, row_of(r, i));
    o = json_object();
    json_object_set_new(o, name, list);
    /* A full page has perhaps another one behind it. */
    json_object_set_new(o, "next_after", (uint32_t)PQntuples(r) < ask->call.limit ? json_null() : json_number(r, PQntuples(r) - 1, 0));
    admin_reply(a, ask->request, 200, NULL, o);
    PQclear(r);
}

void admin_list_roles(struct admin *a, const struct ask_question *ask)
{
    const struct database_value v[] = {database_i64((int64_t)ask->call.a), database_i64(ask->call.limit), database_bool(ask->call.all)};
    struct err e = {0};
    PGresult *r = database_query(a->db, "SELECT " ROLE_COLUMNS " FROM role WHERE id > $1 AND ($3 OR revoked_at IS NULL) ORDER BY id LIMIT $2", v, 3, &e);

    reply_page(a, ask, r, &e, "roles", json_role);
}

void admin_list_changes(struct admin *a, const struct ask_question *ask)
{
    const struct database_value v[] = {database_i64((int64_t)ask->call.a), database_i64(ask->call.limit)};
    struct err e = {0};
    PGresult *r = database_query(a->db, "SELECT " CHANGE_COLUMNS " FROM role_change WHERE id > $1 ORDER BY id LIMIT $2", v, 2, &e);

    reply_page(a, ask, r, &e, "changes", json_change);
}

void admin_show_change(struct admin *a, uint32_t request, int64_t id, unsigned status)
{
    const struct database_value v[] = {database_i64(id)};
    struct err e = {0};
    PGresult *r = database_query(a->db, "SELECT " CHANGE_COLUMNS " FROM role_change WHERE id = $1", v, 1, &e);
    char path[64];

    snprintf(path, sizeof path, "/v1/admin/changes/%lld", (long long)id);
    if (r == NULL)
        admin_fail(a, request, &e);
    else if (PQntuples(r) == 0)
        admin_refuse(a, request, 404, "change-unknown", "there is no change %lld", (long long)id);
    else
        admin_reply(a, request, status, status == 200 ? NULL : path, json_change(r, 0));
    PQclear(r);
}

void admin_show_role(struct admin *a, uint32_t request, int64_t id, unsigned status)
{
    const struct database_value v[] = {database_i64(id)};
    struct err e = {0};
    PGresult *r = database_query(a->db, "SELECT " ROLE_COLUMNS " FROM role WHERE id = $1", v, 1, &e);

    if (r == NULL)
        admin_fail(a, request, &e);
    else if (PQntuples(r) == 0)
        admin_refuse(a, request, 404, "role-unknown", "there is no binding %lld", (long long)id);
    else
        admin_reply(a, request, status, NULL, json_role(r, 0));
    PQclear(r);
}
