/* Streams the rows of a lot out of PostgreSQL by binary COPY: see store.h. */
#include <stdio.h>

#include "common/values/wire.h"
#include "sealer/store.h"

enum { SIGNATURE_LEN = 11 };
static const uint8_t signature[SIGNATURE_LEN] = {'P', 'G', 'C', 'O', 'P', 'Y', '\n', 0xff, '\r', '\n', 0};

typedef bool row_reader(void *ctx, struct wire_reader *row, uint16_t columns, struct err *e);

static bool field(struct wire_reader *r, size_t len, struct slice *out)
{
    uint32_t said = wire_get_u32(r);

    if (said > INT32_MAX || (len != 0 && said != len)) /* -1 is NULL */
        return false;
    *out = wire_get_fixed(r, said);
    return !r->short_read;
}

static bool field_u64(struct wire_reader *r, uint64_t *v)
{
    struct slice s;
    struct wire_reader in;

    if (!field(r, 8, &s))
        return false;
    in = wire_read(s);
    *v = wire_get_u64(&in);
    return true;
}

/* One CopyData message: the header perhaps, then at most one row, or the trailer. */
static bool read_message(struct slice bytes, row_reader *row, void *ctx, struct err *e)
{
    struct wire_reader r = wire_read(bytes);
    uint16_t columns;

    if (bytes.len >= SIGNATURE_LEN && memcmp(bytes.at, signature, SIGNATURE_LEN) == 0) {
        wire_get_fixed(&r, SIGNATURE_LEN);
        wire_get_u32(&r); /* flags */
        wire_get_fixed(&r, wire_get_u32(&r));
    }
    while (!r.short_read && r.rest.len > 0) {
        columns = wire_get_u16(&r);
        if (columns == UINT16_MAX)
            return wire_end(&r, "COPY", e);
        if (!row(ctx, &r, columns, e))
            return false;
    }
    return !r.short_read || err_set(e, ERR_FATAL, "store: COPY ends inside a row");
}

static bool copy_out(struct store *s, const char *sql, row_reader *row, void *ctx, struct err *e)
{
    PGconn *conn = database_connection(s->db);
    PGresult *r = PQexec(conn, sql);
    bool ok = PQresultStatus(r) == PGRES_COPY_OUT || database_failed(s->db, r, e, "COPY");
    char *bytes;
    int len;

    PQclear(r);
    if (!ok)
        return false;
    while ((len = PQgetCopyData(conn, &bytes, 0)) > 0) {
        /* After a failure the rest is read and dropped, so that the connection stays usable. */
        ok = ok && read_message(slice_of(bytes, (size_t)len), row, ctx, e);
        PQfreemem(bytes);
    }
    while ((r = PQgetResult(conn)) != NULL) {
        if (ok && PQresultStatus(r) != PGRES_COMMAND_OK)
            ok = database_failed(s->db, r, e, "COPY");
        PQclear(r);
    }
    return ok && (len == -1 || database_failed(s->db, NULL, e, "COPY"));
}

static bool event_row(void *ctx, struct wire_reader *r, uint16_t columns, struct err *e)
{
    const struct store_reader *reader = ctx;
    struct slice sha256, type;
    uint64_t serial, lot;

    if (columns != 4 || !field_u64(r, &serial) || !field_u64(r, &lot) || !field(r, 32, &sha256) || !field(r, 0, &type))
        return err_set(e, ERR_DOUBT, "store: a row of event is not as it should be");
    return reader->event(reader->ctx, serial, lot, sha256.at, type, e);
}

static bool read_keys(struct store *s, const struct lot *l, const struct store_reader *reader, struct err *e)
{
    const struct database_value lot = database_i64((int64_t)l->number);
    PGresult *r = database_query(s->db, "SELECT ordinal, sha256 FROM lot_key WHERE lot = $1 ORDER BY ordinal", &lot, 1, e);
    bool ok = r != NULL;

    for (int i = 0; ok && i < PQntuples(r); i++) {
        struct slice sha256 = database_get_slice(r, i, 1);

        ok = sha256.len == 32 ? reader->key(reader->ctx, (uint32_t)database_get_i64(r, i, 0), sha256.at, e)
                              : err_set(e, ERR_DOUBT, "store: digest of a key file is not as it should be");
    }
    PQclear(r);
    return ok;
}

bool store_read_lot(struct store *s, const struct lot *l, const struct store_reader *reader, struct err *e)
{
    char sql[256];
    struct store_reader copy = *reader;

    snprintf(sql, sizeof sql,
             "COPY (SELECT serial, lot, sha256, type FROM event WHERE serial BETWEEN %llu AND %llu ORDER BY serial) "
             "TO STDOUT (FORMAT binary)",
             (unsigned long long)l->first, (unsigned long long)l->last);
    return read_keys(s, l, reader, e) && (l->count == 0 || copy_out(s, sql, event_row, &copy, e));
}
