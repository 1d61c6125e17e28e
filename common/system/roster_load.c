/* The role bindings in force, read from PostgreSQL: see roster.h. Apart from roster.c, which is pure. */
#include "common/system/database.h"
#include "common/system/roster.h"
#include "common/values/wire.h"

static bool write_entry(struct wire_writer *w, const PGresult *rows, int row, struct err *e)
{
    struct slice profile = database_get_slice(rows, row, 1);
    enum roster_profile p;

    if (!roster_profile_parse(profile, &p))
        return err_set(e, ERR_FATAL, "table role: profile \"%.*s\"", (int)profile.len, (const char *)profile.at);
    wire_put_u8(w, (uint8_t)p);
    wire_put_u32(w, (uint32_t)database_get_i64(rows, row, 0));
    wire_put_text(w, database_get_slice(rows, row, 2));
    wire_put_text(w, database_get_slice(rows, row, 3));
    wire_put_text(w, database_get_slice(rows, row, 4));
    wire_put_text(w, database_get_slice(rows, row, 5));
    return true;
}

struct roster *roster_load(struct database *d, struct err *e)
{
    PGresult *rows =
        database_query(d, "SELECT id, profile, cn, ou, serial, san FROM role WHERE revoked_at IS NULL ORDER BY id", NULL, 0, e);
    struct roster *r = NULL;
    struct wire_writer w;
    struct buf body;
    bool ok = true;

    if (rows == NULL && strcmp(database_sqlstate(d), "42703") == 0) {
        err_clear(e);
        err_set(e, ERR_RETRY, "the store is of an earlier version: coffre-ceremony upgrade");
    }
    if (rows == NULL)
        return NULL;
    buf_init(&body, ROSTER_BYTES_MAX);
    w = wire_write(&body);
    wire_put_u32(&w, (uint32_t)PQntuples(rows));
    for (int i = 0; i < PQntuples(rows) && ok; i++)
        ok = write_entry(&w, rows, i, e);
    if (ok && wire_ok(&w, "roster", e))
        r = roster_decode(buf_slice(&body), e);
    if (r == NULL && e->code == ERR_INPUT) /* a table this program cannot hold, not another vault's */
        e->code = ERR_FATAL;
    buf_free(&body);
    PQclear(rows);
    return r;
}
