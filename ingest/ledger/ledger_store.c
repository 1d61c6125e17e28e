/* The ledger and PostgreSQL: connections, the fence, the look-up of duplicates. Transactions are in ledger_write.c. */
#include "ingest/ledger/ledger_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/values/log.h"

enum { UUID_OID = 2950, UUID_ARRAY_OID = 2951 };

static struct database *open_one(struct ledger *l, struct err *e)
{
    const struct database_options o = {
        .settings = l->settings, .extra = l->settings->ingest.postgresql, .user = "coffre_ledger"};

    return database_open(&o, e);
}

/* With another key than the vault's no deposit sent again would be known: it would be numbered twice. */
static bool check_key(struct ledger *l, struct err *e)
{
    uint8_t digest[BATCH_KEY_DIGEST_SIZE];
    struct database_value v;
    PGresult *r;

    if (!batch_identity_digest(l->identity, digest, e))
        return false;
    v = database_bytes(slice_of(digest, sizeof(digest)));
    r = database_query(l->write, "SELECT ledger_deduplicates($1)", &v, 1, e);
    if (r == NULL)
        return false;
    l->misconfigured = !database_get_bool(r, 0, 0);
    PQclear(r);
    return !l->misconfigured || err_set(e, ERR_INPUT, "ingest.dedup_key: %s is not the key by which this vault knows its deposits", l->settings->ingest.dedup_key);
}

bool ledger_store_open(struct ledger *l, struct err *e)
{
    PGresult *r;
    bool ok;

    l->write = open_one(l, e);
    l->misconfigured = l->write == NULL && (e->code == ERR_INPUT || e->code == ERR_FOREIGN);
    if (l->write == NULL || !check_key(l, e))
        return false;
    l->look = open_one(l, e);
    if (l->look == NULL)
        return false;
    /* Never a sequential scan, however young the table's statistics are. */
    if (!database_run(l->look, "SET enable_seqscan = off", e))
        return false;
    r = PQprepare(database_connection(l->look), "same",
                  "SELECT deposit, serial, lot FROM event WHERE deposit = ANY ($1)", 1, (const Oid[]){UUID_ARRAY_OID});
    ok = PQresultStatus(r) == PGRES_COMMAND_OK || database_failed(l->look, r, e, "preparing the look-up");
    PQclear(r);
    return ok;
}

/* --- fence
 * ------------------------------------------------------------------------------------------------------------------ */

static bool read_head(struct ledger *l, const PGresult *r, struct err *e)
{
    struct database_value lot;
    PGresult *keys;

    if (PQntuples(r) != 1)
        return err_set(e, ERR_FATAL, "the table head has %d rows", PQntuples(r));
    l->epoch = (uint64_t)database_get_i64(r, 0, 0);
    l->head = (struct batch_head){
        .next_serial = (uint64_t)database_get_i64(r, 0, 1),
        .lot = (uint64_t)database_get_i64(r, 0, 2),
        .lot_events = (uint64_t)database_get_i64(r, 0, 3),
        .lot_bytes = (uint64_t)database_get_i64(r, 0, 4),
    };
    lot = database_i64((int64_t)l->head.lot);
    keys = database_query(l->write, "SELECT coalesce(max(ordinal), 0) FROM lot_key WHERE lot = $1", &lot, 1, e);
    if (keys == NULL)
        return false;
    l->keyed_lot = l->head.lot;
    l->next_ordinal = (unsigned)database_get_i64(keys, 0, 0) + 1;
    l->key.lot = 0;
    PQclear(keys);
    return true;
}

/* The lock is ours: from this commit on, transactions of an earlier holder find another epoch. */
static bool raise_epoch(struct ledger *l, struct err *e)
{
    PGresult *r = database_query(l->write,
                                 "UPDATE head SET ledger_epoch = ledger_epoch + 1 "
                                 "RETURNING ledger_epoch, next_serial, lot, lot_events, lot_bytes",
                                 NULL, 0, e);
    bool ok = r != NULL && read_head(l, r, e);

    PQclear(r);
    if (!ok)
        return false;
    l->fenced = true;
    log_info("ledger-active", "epoch %" PRIu64 ", lot %" PRIu64 ", next serial %" PRIu64, l->epoch, l->head.lot,
             l->head.next_serial);
    return true;
}

/* The holder had its time: its session ends, and with it its lock and whatever it had not committed. */
static bool end_holder(struct ledger *l, struct err *e)
{
    const struct database_value v[] = {database_i64(LEDGER_LOCK_CLASS),
                                       database_i64((int64_t)l->settings->vault.number)};
    PGresult *r =
        database_query(l->write,
                       "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 "
                       "AND classid::bigint = $1 AND objid::bigint = $2 AND granted AND pid <> pg_backend_pid() "
                       "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
                       v, 2, e);

    if (r == NULL)
        return false;
    log_warning("ledger-takeover", "%d silent session of the former ledger ended after %llu ms", PQntuples(r),
                (unsigned long long)l->settings->ingest.timeouts.takeover);
    PQclear(r);
    return true;
}

bool ledger_fence(struct ledger *l, struct err *e)
{
    const struct database_value v[] = {database_i32(LEDGER_LOCK_CLASS),
                                       database_i32((int32_t)l->settings->vault.number)};
    uint64_t now = ledger_now();
    bool got;
    PGresult *r;

    if (l->fenced || now < l->fence_next)
        return true;
    l->fence_next = now + LEDGER_FENCE_RETRY_MS;
    r = database_query(l->write, "SELECT pg_try_advisory_lock($1, $2)", v, 2, e);
    if (r == NULL)
        return false;
    got = database_get_bool(r, 0, 0);
    PQclear(r);
    if (got)
        return raise_epoch(l, e);
    if (l->fence_since == 0)
        l->fence_since = now;
    role_ready(l->self, true, "another ledger holds the fence; waiting to take over");
    if (now - l->fence_since < l->settings->ingest.timeouts.takeover)
        return true;
    l->fence_since = 0;
    return end_holder(l, e);
}

/* --- duplicates
 * ---------------------------------------------------------------------------------------------------------------- */

/* PostgreSQL's binary array: dimensions, flags, element type, length, lower bound, elements. */
static size_t put_ids(const struct ledger_batch *b, struct buf *out)
{
    struct wire_writer w = wire_write(out);
    uint32_t count = 0;

    for (size_t i = 0; i < b->count; i++)
        count += b->entries[i].kind == BATCH_VALID;
    wire_put_u32(&w, 1);
    wire_put_u32(&w, 0);
    wire_put_u32(&w, UUID_OID);
    wire_put_u32(&w, count);
    wire_put_u32(&w, 1);
    for (size_t i = 0; i < b->count; i++)
        if (b->entries[i].kind == BATCH_VALID)
            wire_put_bytes(&w, slice_of(b->entries[i].id, BATCH_ID_SIZE));
    return count;
}

static bool begin_look(struct ledger *l, struct ledger_batch *b, struct err *e)
{
    PGconn *c = database_connection(l->look);
    struct buf ids;
    bool ok = true;

    b->looked = l->unseen < LEDGER_UNSEEN_MAX;
    if (!b->looked) {
        b->state = LEDGER_LOOKED;
        return true;
    }
    buf_init(&ids, 32 + b->count * (4 + BATCH_ID_SIZE));
    if (put_ids(b, &ids) == 0) {
        b->state = LEDGER_LOOKED;
    } else {
        const char *const values[] = {(const char *)ids.data};
        const int lengths[] = {(int)ids.len}, formats[] = {1};

        ok = PQsendQueryPrepared(c, "same", 1, values, lengths, formats, 1) == 1 ||
             database_failed(l->look, NULL, e, "looking for duplicates");
        b->state = LEDGER_LOOKING;
        l->looking = b;
    }
    buf_free(&ids);
    return ok;
}

static bool keep_found(struct ledger_batch *b, const PGresult *r, struct err *e)
{
    int rows = PQntuples(r);

    if (rows == 0)
        return true;
    b->stored = mem_zalloc((size_t)rows, sizeof(*b->stored));
    b->stored_count = (size_t)rows;
    batch_table_reset(&b->stored_table, (size_t)rows);
    for (int i = 0; i < rows; i++) {
        struct slice id = database_get_slice(r, i, 0);

        if (id.len != BATCH_ID_SIZE)
            return err_set(e, ERR_FATAL, "PostgreSQL: a deposit's identity of %zu bytes", id.len);
        memcpy(b->stored[i].id, id.at, BATCH_ID_SIZE);
        b->stored[i].serial = (uint64_t)database_get_i64(r, i, 1);
        b->stored[i].lot = (uint64_t)database_get_i64(r, i, 2);
        batch_table_add(&b->stored_table, b->stored, (size_t)i);
    }
    return true;
}

static bool end_look(struct ledger *l, struct err *e)
{
    PGconn *c = database_connection(l->look);
    PGresult *r;
    bool ok = true;

    if (PQconsumeInput(c) != 1)
        return database_failed(l->look, NULL, e, "looking for duplicates");
    if (l->looking == NULL || PQisBusy(c) == 1)
        return true;
    while ((r = PQgetResult(c)) != NULL) {
        if (PQresultStatus(r) != PGRES_TUPLES_OK)
            ok = database_failed(l->look, r, e, "looking for duplicates");
        else
            ok = ok && keep_found(l->looking, r, e);
        l->unseen = PQntuples(r) == 0 ? l->unseen + 1 : 0;
        PQclear(r);
    }
    l->looking->state = LEDGER_LOOKED;
    l->looking = NULL;
    return ok;
}

bool ledger_look(struct ledger *l, struct err *e)
{
    if (!end_look(l, e))
        return false;
    for (unsigned i = 0; l->looking == NULL && i < l->used; i++)
        if (ledger_batch_at(l, i)->state == LEDGER_CHECKED && !begin_look(l, ledger_batch_at(l, i), e))
            return false;
    return true;
}
