/*
 * One transaction for each part of a batch. The order that makes numbers true: head is locked and its epoch compared
 * before anything is written in the same transaction; answers are made only once it is committed.
 */
#include "ingest/ledger/ledger_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/values/crc.h"

enum { UUID_OID = 2950 };

static const char UNIQUE_VIOLATION[] = "23505";
static const char COPY_SQL[] =
    "COPY event (serial, lot, depositor, received, size, deposit, type, body, crc32, sha256) "
    "FROM STDIN (FORMAT binary)";

static bool send_sql(struct ledger *l, const char *sql, enum ledger_write_state next, struct err *e)
{
    if (PQsendQuery(database_connection(l->write), sql) != 1)
        return database_failed(l->write, NULL, e, "writing a batch");
    l->writing = next;
    return true;
}

static uint64_t text_u64(const PGresult *r, int column)
{
    return strtoull(PQgetvalue(r, 0, column), NULL, 10);
}

/* What head says now, against what the part was made for. `moved`: the sealer has closed the lot meanwhile. */
static bool compare_head(struct ledger *l, const PGresult *r, bool *moved, struct batch_head *now, struct err *e)
{
    const struct batch_head *expected = &l->parts[l->part_first].before;

    if (PQntuples(r) != 1 || text_u64(r, 0) != l->epoch)
        return err_set(e, ERR_FENCED, "another ledger has taken over");
    *now = (struct batch_head){text_u64(r, 1), text_u64(r, 2), text_u64(r, 3), text_u64(r, 4)};
    if (now->next_serial != expected->next_serial || now->lot < expected->lot)
        return err_set(e, ERR_FENCED,
                       "head is at serial %" PRIu64 " and lot %" PRIu64 ", expected %" PRIu64 " and %" PRIu64,
                       now->next_serial, now->lot, expected->next_serial, expected->lot);
    *moved = now->lot != expected->lot;
    if (!*moved && (now->lot_events != expected->lot_events || now->lot_bytes != expected->lot_bytes))
        return err_set(e, ERR_FENCED, "the open lot is not as this ledger left it");
    return true;
}

static bool insert_key(struct ledger *l, const struct ledger_part *p, struct err *e)
{
    uint8_t digest[DIGEST_SIZE_MAX];
    size_t len;
    struct slice file = buf_slice(&p->key_file);

    if (!digest_compute(l->digester, DIGEST_SHA256, &file, 1, digest, &len, e))
        return false;
    const struct database_value v[] = {database_i64((int64_t)p->before.lot), database_i32((int32_t)p->ordinal),
                                       database_bytes(slice_of(digest, len)), database_i64(crc_update(0, file)),
                                       database_bytes(file)};
    return database_change(
        l->write, "INSERT INTO lot_key (lot, ordinal, sha256, crc32, body) VALUES ($1, $2, $3, $4, $5)", v, 5, NULL, e);
}

static bool insert_invalid(struct ledger *l, const struct ledger_part *p, const struct ledger_quarantined *q,
                           struct err *e)
{
    const struct batch_entry *entry = &p->batch->entries[q->entry];
    struct database_value id = {.at = entry->id, .len = BATCH_ID_SIZE, .binary = true, .type = UUID_OID};
    const struct database_value v[] = {
        id,
        database_i32((int32_t)entry->d.depositor),
        database_time(entry->d.received),
        database_i64((int64_t)p->before.lot),
        database_i32((int32_t)p->ordinal),
        database_text_slice(slice_text(entry->reason)),
        database_bytes(slice_of(p->quarantine.data + p->quarantine.start + q->at, q->len)),
    };

    return database_change(l->write,
                           "INSERT INTO quarantine (deposit, depositor, received, lot, ordinal, reason, body) "
                           "VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
                           v, 7, NULL, e);
}

static bool send_commit(struct ledger *l, struct err *e)
{
    const struct ledger_part *p = &l->parts[l->part_first];
    char sql[600] = "";
    size_t n = 0;

    if (p->events != 0)
        n += (size_t)snprintf(sql, sizeof(sql),
                              "UPDATE head SET next_serial = %" PRIu64 ", lot_events = %" PRIu64
                              ", lot_bytes = %" PRIu64 ", lot_first_at = coalesce(lot_first_at, clock_timestamp());",
                              p->after.next_serial, p->after.lot_events, p->after.lot_bytes);
    if (p->close != BATCH_FITS)
        n += (size_t)snprintf(sql + n, sizeof(sql) - n, "SELECT close_lot('%s');", batch_reason(p->close));
    snprintf(sql + n, sizeof(sql) - n, "COMMIT");
    return send_sql(l, sql, WRITE_COMMIT, e);
}

/* The few rows beside the events, then the events. */
static bool write_rows(struct ledger *l, struct err *e)
{
    const struct ledger_part *p = &l->parts[l->part_first];

    if (p->insert_key && !insert_key(l, p, e))
        return false;
    for (unsigned i = 0; i < p->invalid_count; i++)
        if (!insert_invalid(l, p, &p->invalid[i], e))
            return false;
    return p->events == 0 ? send_commit(l, e) : send_sql(l, COPY_SQL, WRITE_COPY_IN, e);
}

static bool begin_write(struct ledger *l, struct err *e)
{
    return send_sql(l, "BEGIN; SELECT ledger_epoch, next_serial, lot, lot_events, lot_bytes FROM head FOR UPDATE",
                    WRITE_HEAD, e);
}

/* All results of what was sent; the last one with rows is copied into `rows` (owned by the caller) when it is not NULL.
 */
static bool finish(struct ledger *l, PGresult **rows, struct err *e)
{
    PGconn *c = database_connection(l->write);
    PGresult *r;
    bool ok = true;

    while ((r = PQgetResult(c)) != NULL) {
        ExecStatusType status = PQresultStatus(r);

        if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
            ok = database_failed(l->write, r, e, "writing a batch");
        if (rows != NULL && status == PGRES_TUPLES_OK && *rows == NULL)
            *rows = r;
        else
            PQclear(r);
    }
    return ok;
}

static bool on_head(struct ledger *l, struct err *e)
{
    PGresult *rows = NULL;
    struct batch_head now;
    bool moved = false, ok = finish(l, &rows, e);

    ok = ok && (rows != NULL || err_set(e, ERR_FATAL, "PostgreSQL: no head")) && compare_head(l, rows, &moved, &now, e);
    PQclear(rows);
    if (!ok)
        return false;
    if (!moved)
        return write_rows(l, e);
    /* Numbers stand, the lot and so the key do not: all that was prepared is made again. */
    l->writing = WRITE_IDLE;
    ledger_parts_drop(l, &now);
    return database_run(l->write, "ROLLBACK", e);
}

static bool on_copy_in(struct ledger *l, struct err *e)
{
    PGconn *c = database_connection(l->write);
    const struct ledger_part *p = &l->parts[l->part_first];
    struct slice rows = buf_slice(&p->copy);
    PGresult *r = PQgetResult(c);
    bool ok = PQresultStatus(r) == PGRES_COPY_IN || database_failed(l->write, r, e, "COPY");

    PQclear(r);
    if (!ok)
        return false;
    /* libpq keeps a copy and sends it as the socket takes it, while the next part is prepared. */
    if (PQsetnonblocking(c, 1) != 0 || rows.len > INT32_MAX ||
        PQputCopyData(c, (const char *)rows.at, (int)rows.len) != 1 || PQputCopyEnd(c, NULL) != 1)
        return database_failed(l->write, NULL, e, "COPY");
    l->writing = WRITE_COPYING;
    return true;
}

static bool on_copying(struct ledger *l, struct err *e)
{
    int left = PQflush(database_connection(l->write));

    if (left < 0)
        return database_failed(l->write, NULL, e, "COPY");
    if (left == 0)
        l->writing = WRITE_COPIED;
    return true;
}

/*
 * Duplicates come in bursts (a sensor sends again what was not archived) and are rare otherwise: after some look-ups in
 * vain the unique index on event.deposit is trusted to refuse them. It then undoes one transaction, and everything not
 * yet committed is looked up after all.
 */
static bool look_again(struct ledger *l, struct err *e)
{
    const struct batch_head before = l->parts[l->part_first].before;

    l->writing = WRITE_IDLE;
    l->unseen = 0;
    ledger_parts_drop(l, &before);
    for (unsigned i = 0; i < l->used; i++) {
        struct ledger_batch *b = ledger_batch_at(l, i);

        if (b->state == LEDGER_LOOKED && !b->looked)
            b->state = LEDGER_CHECKED;
    }
    return database_run(l->write, "ROLLBACK", e);
}

static bool on_copied(struct ledger *l, struct err *e)
{
    struct err why = {0};
    bool ok = finish(l, NULL, &why);

    if (PQsetnonblocking(database_connection(l->write), 0) != 0)
        return database_failed(l->write, NULL, e, "COPY");
    if (ok)
        return send_commit(l, e);
    if (strcmp(database_sqlstate(l->write), UNIQUE_VIOLATION) == 0 && !l->parts[l->part_first].batch->looked)
        return look_again(l, e);
    return err_set(e, why.code, "%s", why.text);
}

static void count_part(struct ledger *l, const struct ledger_part *p)
{
    for (size_t i = p->from; i < p->to; i++)
        l->figures.duplicates += p->batch->entries[i].kind == BATCH_DUPLICATE;
    l->figures.events += p->events;
    l->figures.invalid += p->invalid_count;
    ledger_tell(l, p);
}

static void part_done(struct ledger *l)
{
    struct ledger_part *p = &l->parts[l->part_first];

    count_part(l, p);
    if (p->insert_key) {
        l->keyed_lot = p->before.lot;
        l->next_ordinal = p->ordinal + 1;
    }
    p->batch->written = p->to;
    ledger_part_reset(p);
    l->part_first = (l->part_first + 1) % LEDGER_PARTS;
    l->part_used--;
    l->writing = WRITE_IDLE;
}

static bool on_commit(struct ledger *l, struct err *e)
{
    PGconn *c = database_connection(l->write);
    bool ok = true, committed = false;
    PGresult *r;

    while ((r = PQgetResult(c)) != NULL) {
        ExecStatusType status = PQresultStatus(r);

        if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
            ok = database_failed(l->write, r, e, "committing a batch");
        /* A COMMIT of a failed transaction answers ROLLBACK without an error. */
        committed = strcmp(PQcmdStatus(r), "COMMIT") == 0;
        PQclear(r);
    }
    if (!ok)
        return false;
    if (!committed || PQtransactionStatus(c) != PQTRANS_IDLE)
        return err_set(e, ERR_RETRY, "PostgreSQL: a transaction was not committed");
    l->figures.transactions++;
    part_done(l);
    return true;
}

/* Batches whose parts are all committed are answered, oldest first. */
static bool answer_written(struct ledger *l, struct err *e)
{
    for (unsigned i = 0; i < l->used; i++) {
        struct ledger_batch *b = ledger_batch_at(l, i);

        if (b->state == LEDGER_WRITTEN)
            continue;
        if (b->state != LEDGER_LOOKED || b->written < b->count)
            return true;
        b->state = LEDGER_WRITTEN;
        l->figures.batches++;
        if (!ledger_answer(l, b, e))
            return false;
    }
    return true;
}

static bool start_next(struct ledger *l, struct err *e)
{
    while (l->writing == WRITE_IDLE && l->part_used != 0) {
        const struct ledger_part *p = &l->parts[l->part_first];

        if (p->events != 0 || p->invalid_count != 0 || p->close != BATCH_FITS)
            return begin_write(l, e);
        part_done(l); /* duplicates only: the originals are committed already */
    }
    return true;
}

bool ledger_wants_to_write(const struct ledger *l)
{
    return l->writing == WRITE_COPYING;
}

static bool advance(struct ledger *l, struct err *e)
{
    switch (l->writing) {
    case WRITE_IDLE:
        return true;
    case WRITE_HEAD:
        return on_head(l, e);
    case WRITE_COPY_IN:
        return on_copy_in(l, e);
    case WRITE_COPYING:
        return on_copying(l, e);
    case WRITE_COPIED:
        return on_copied(l, e);
    case WRITE_COMMIT:
        return on_commit(l, e);
    }
    return true;
}

bool ledger_write(struct ledger *l, struct err *e)
{
    PGconn *c = database_connection(l->write);
    enum ledger_write_state before;

    if (PQconsumeInput(c) != 1)
        return database_failed(l->write, NULL, e, "the connection");
    do {
        before = l->writing;
        if ((l->writing == WRITE_COPYING || PQisBusy(c) == 0) && !advance(l, e))
            return false;
        if (l->writing == WRITE_IDLE && (!start_next(l, e) || !answer_written(l, e)))
            return false;
    } while (l->writing != before);
    return true;
}
