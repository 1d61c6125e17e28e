/* PostgreSQL's binary values, both ways, and COPY. See database.h. */
#include <stdlib.h>

#include "common/system/database.h"
#include "common/values/wire.h"

/* Types' numbers are fixed in PostgreSQL's catalogue (pg_type.dat). */
enum { OID_BOOL = 16, OID_BYTEA = 17, OID_INT8 = 20, OID_INT4 = 23, OID_TEXT = 25, OID_TIMESTAMPTZ = 1184 };

#define EPOCH_MS 946684800000ull /* 2000-01-01T00:00:00Z, where PostgreSQL's time begins */

static struct database_value integer(uint64_t v, int size, Oid type)
{
    struct database_value out = {.len = size, .binary = true, .type = type};

    for (int i = 0; i < size; i++)
        out.store[i] = (uint8_t)(v >> 8 * (size - 1 - i));
    return out;
}

struct database_value database_null(void)
{
    return (struct database_value){0};
}

struct database_value database_i32(int32_t v)
{
    return integer((uint32_t)v, 4, OID_INT4);
}

struct database_value database_i64(int64_t v)
{
    return integer((uint64_t)v, 8, OID_INT8);
}

struct database_value database_bool(bool v)
{
    return integer(v, 1, OID_BOOL);
}

struct database_value database_text(const char *v)
{
    return (struct database_value){.at = v, .len = v == NULL ? 0 : (int)strlen(v)};
}

struct database_value database_text_slice(struct slice v)
{
    return (struct database_value){.at = v.at, .len = (int)v.len, .binary = true, .empty = v.len == 0, .type = OID_TEXT};
}

struct database_value database_bytes(struct slice v)
{
    return (struct database_value){.at = v.at, .len = (int)v.len, .binary = true, .empty = v.len == 0, .type = OID_BYTEA};
}

static int64_t to_microseconds(uint64_t ms)
{
    return ((int64_t)ms - (int64_t)EPOCH_MS) * 1000;
}

struct database_value database_time(uint64_t ms)
{
    return integer((uint64_t)to_microseconds(ms), 8, OID_TIMESTAMPTZ);
}

bool database_is_null(const PGresult *r, int row, int column)
{
    return PQgetisnull(r, row, column) == 1;
}

struct slice database_get_slice(const PGresult *r, int row, int column)
{
    return slice_of(PQgetvalue(r, row, column), (size_t)PQgetlength(r, row, column));
}

int64_t database_get_i64(const PGresult *r, int row, int column)
{
    struct slice s = database_get_slice(r, row, column);
    uint64_t v = s.len != 0 && (s.at[0] & 0x80) != 0 && s.len < 8 ? UINT64_MAX : 0;

    if (s.len > 8)
        return 0;
    for (size_t i = 0; i < s.len; i++)
        v = v << 8 | s.at[i];
    return (int64_t)v;
}

bool database_get_bool(const PGresult *r, int row, int column)
{
    return database_get_i64(r, row, column) != 0;
}

uint64_t database_get_time(const PGresult *r, int row, int column)
{
    int64_t us = database_get_i64(r, row, column), ms = us / 1000 - (us % 1000 < 0 ? 1 : 0);

    return database_is_null(r, row, column) ? 0 : (uint64_t)(ms + (int64_t)EPOCH_MS);
}

/* ---- binary COPY ----------------------------------------------------------------------------------------------------------- */

void database_copy_header(struct wire_writer *w)
{
    static const uint8_t signature[11] = {'P', 'G', 'C', 'O', 'P', 'Y', '\n', 0xff, '\r', '\n', 0};

    wire_put_fixed(w, signature, sizeof signature);
    wire_put_u32(w, 0);
    wire_put_u32(w, 0);
}

void database_copy_row(struct wire_writer *w, uint16_t columns)
{
    wire_put_u16(w, columns);
}

/* A value with its length in one go: COPY rows are the busiest writing there is. */
static void put_integer(struct wire_writer *w, uint64_t v, uint8_t size)
{
    uint8_t bytes[12] = {0, 0, 0, size};

    for (uint8_t i = 0; i < size; i++)
        bytes[4 + i] = (uint8_t)(v >> 8 * (size - 1 - i));
    wire_put_fixed(w, bytes, 4u + size);
}

void database_copy_i32(struct wire_writer *w, int32_t v)
{
    put_integer(w, (uint32_t)v, 4);
}

void database_copy_i64(struct wire_writer *w, int64_t v)
{
    put_integer(w, (uint64_t)v, 8);
}

void database_copy_time(struct wire_writer *w, uint64_t ms)
{
    put_integer(w, (uint64_t)to_microseconds(ms), 8);
}

void database_copy_bytes(struct wire_writer *w, struct slice v)
{
    if (v.len > INT32_MAX)
        w->overflow = true;
    else
        wire_put_bytes(w, v);
}

void database_copy_null(struct wire_writer *w)
{
    wire_put_u32(w, UINT32_MAX);
}

void database_copy_trailer(struct wire_writer *w)
{
    wire_put_u16(w, UINT16_MAX);
}

static bool send_rows(struct database *d, struct slice rows, struct err *e)
{
    enum { CHUNK = 1 << 20 };

    while (rows.len != 0) {
        size_t n = rows.len < CHUNK ? rows.len : CHUNK;

        if (PQputCopyData(database_connection(d), (const char *)rows.at, (int)n) != 1)
            return database_failed(d, NULL, e, "COPY");
        rows = slice_of(rows.at + n, rows.len - n);
    }
    return PQputCopyEnd(database_connection(d), NULL) == 1 || database_failed(d, NULL, e, "COPY");
}

bool database_copy(struct database *d, const char *sql, struct slice rows, uint64_t *count, struct err *e)
{
    PGconn *conn = database_connection(d);
    PGresult *r = PQexec(conn, sql);
    bool ok = PQresultStatus(r) == PGRES_COPY_IN || database_failed(d, r, e, sql);

    PQclear(r);
    if (!ok)
        return false;
    ok = send_rows(d, rows, e);
    while ((r = PQgetResult(conn)) != NULL) {
        if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_COPY_IN)
            ok = database_failed(d, r, e, sql);
        else if (count != NULL)
            *count = strtoull(PQcmdTuples(r), NULL, 10);
        /* A connection that broke in the middle would say COPY_IN for ever. */
        if (PQresultStatus(r) == PGRES_COPY_IN || PQstatus(conn) != CONNECTION_OK) {
            PQclear(r);
            ok = ok && PQstatus(conn) == CONNECTION_OK;
            break;
        }
        PQclear(r);
    }
    return ok || err_set(e, ERR_RETRY, "PostgreSQL, COPY: the connection is lost");
}
