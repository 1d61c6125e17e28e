/* The sealer's SQL: see store.h. The streaming of a lot's rows is store_rows.c. */
#include "sealer/store.h"

#include "common/formats/digest.h"

/* Advisory locks (two 32-bit halves): the active sealer's, held by its session; the fence of writing transactions; and, shared, of sessions whose sealer can sign. */
#define LOCK_ACTIVE "24225, 1"
#define LOCK_FENCE "24225, 2"
#define LOCK_ABLE "24225, 3"

bool store_open(struct store *s, const struct settings *settings, struct err *e)
{
    const struct database_options o = {.settings = settings, .extra = settings->sealer.postgresql, .user = "coffre_sealer"};

    *s = (struct store){.db = database_open(&o, e)};
    if (s->db == NULL)
        return false;
    if (database_run(s->db, "LISTEN lot_closed; LISTEN lot_close_asked", e))
        return true;
    store_close(s);
    return false;
}

void store_close(struct store *s)
{
    if (s->db != NULL)
        database_close(s->db);
    *s = (struct store){0};
}

/* One statement, one row with one integer. */
static bool read_integer(struct store *s, const char *sql, int64_t *v, struct err *e)
{
    PGresult *r = database_query(s->db, sql, NULL, 0, e);
    bool ok;

    if (r == NULL)
        return false;
    ok = PQntuples(r) == 1 || err_set(e, ERR_FATAL, "store: %d rows where one is due", PQntuples(r));
    if (ok)
        *v = database_get_i64(r, 0, 0);
    PQclear(r);
    return ok;
}

static bool run_only(struct store *s, const char *sql, struct err *e)
{
    PGresult *r = database_query(s->db, sql, NULL, 0, e);

    PQclear(r);
    return r != NULL;
}

static void roll_back(struct store *s)
{
    if (database_alive(s->db) && !database_run(s->db, "ROLLBACK", NULL))
        return; /* the connection is lost: it is rolled back all the same */
}

/* ---- who is active ------------------------------------------------------------------------- */

static bool raise_epoch(struct store *s, struct err *e)
{
    int64_t epoch = 0;

    /* Waits for writing transactions of the one before; those that begin later see the new epoch. */
    if (database_run(s->db, "BEGIN", e) && run_only(s, "SELECT pg_advisory_xact_lock(" LOCK_FENCE ")", e) &&
        read_integer(s, "UPDATE head SET sealer_epoch = sealer_epoch + 1 RETURNING sealer_epoch", &epoch, e) &&
        database_run(s->db, "COMMIT", e)) {
        s->epoch = epoch;
        return true;
    }
    roll_back(s);
    return false;
}

bool store_activate(struct store *s, struct err *e)
{
    int64_t got = 0;

    if (!read_integer(s, "SELECT pg_try_advisory_lock(" LOCK_ACTIVE ")::int4", &got, e))
        return false;
    return got == 0 || raise_epoch(s, e);
}

bool store_find_active(struct store *s, int *pid, int64_t *silent_ms, struct err *e)
{
    PGresult *r = database_query(s->db,
                                 "SELECT l.pid, coalesce((extract(epoch FROM clock_timestamp() - a.state_change) * 1000)::int8, 0) "
                                 /* a long statement is no silence; its own time-out ends it */
                                 "- CASE a.state WHEN 'active' THEN 60000 ELSE 0 END "
                                 "FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid JOIN pg_database d ON d.oid = l.database "
                                 "WHERE l.locktype = 'advisory' AND l.classid = 24225 AND l.objid = 1 AND l.objsubid = 2 AND l.granted "
                                 "AND d.datname = current_database() AND l.pid <> pg_backend_pid()",
                                 NULL, 0, e);

    if (r == NULL)
        return false;
    *pid = PQntuples(r) == 0 ? 0 : (int)database_get_i64(r, 0, 0);
    *silent_ms = PQntuples(r) == 0 ? 0 : database_get_i64(r, 0, 1);
    PQclear(r);
    return true;
}

bool store_end_session(struct store *s, int pid, struct err *e)
{
    const struct database_value v = database_i32(pid);
    PGresult *r = database_query(s->db, "SELECT pg_terminate_backend($1, 2000)", &v, 1, e);

    PQclear(r);
    return r != NULL;
}

bool store_tell_able(struct store *s, bool able, struct err *e)
{
    if (s->able == able)
        return true;
    if (!run_only(s, able ? "SELECT pg_try_advisory_lock_shared(" LOCK_ABLE ")" : "SELECT pg_advisory_unlock_shared(" LOCK_ABLE ")", e))
        return false;
    s->able = able;
    return true;
}

bool store_find_able(struct store *s, uint64_t silent_ms, bool *found, struct err *e)
{
    const struct database_value v = database_i64((int64_t)silent_ms);
    PGresult *r = database_query(s->db,
                                 "SELECT count(*)::int8 FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid JOIN pg_database d ON d.oid = l.database "
                                 "WHERE l.locktype = 'advisory' AND l.classid = 24225 AND l.objid = 3 AND l.objsubid = 2 AND l.granted "
                                 "AND d.datname = current_database() AND l.pid <> pg_backend_pid() "
                                 "AND (a.state = 'active' OR clock_timestamp() - a.state_change < $1 * interval '1 millisecond')",
                                 &v, 1, e);

    if (r == NULL)
        return false;
    *found = PQntuples(r) == 1 && database_get_i64(r, 0, 0) > 0;
    PQclear(r);
    return true;
}

bool store_ping(struct store *s, struct err *e)
{
    return run_only(s, "SELECT 1", e);
}

/* Inside a transaction: the lock first, then a statement whose snapshot is younger than it. */
static bool fence(struct store *s, struct err *e)
{
    int64_t epoch = 0;

    if (!run_only(s, "SELECT pg_advisory_xact_lock_shared(" LOCK_FENCE ")", e) ||
        !read_integer(s, "SELECT sealer_epoch FROM head", &epoch, e))
        return false;
    return epoch == s->epoch || err_set(e, ERR_FENCED, "another sealer took over (epoch %lld, ours is %lld)", (long long)epoch,
                                        (long long)s->epoch);
}

/* ---- the open lot -------------------------------------------------------------------------- */

bool store_read_open_lot(struct store *s, struct store_open_lot *o, struct err *e)
{
    PGresult *r = database_query(
        s->db,
        "SELECT h.lot, h.lot_events, h.lot_bytes, "
        "CASE WHEN h.lot_events = 0 THEN -1 ELSE (extract(epoch FROM clock_timestamp() - coalesce(h.lot_first_at, l.opened_at)) * 1000)::int8 END, "
        "(extract(epoch FROM clock_timestamp() - l.opened_at) * 1000)::int8, h.close_asked IS NOT NULL OR EXISTS (SELECT FROM operation WHERE ended_at IS NULL), h.sealer_epoch, "
        "(SELECT count(*) FROM lot WHERE container IS NULL AND closed_at IS NOT NULL) "
        "FROM head h JOIN lot l ON l.lot = h.lot",
        NULL, 0, e);
    int64_t epoch;

    if (r == NULL)
        return false;
    if (PQntuples(r) != 1) {
        PQclear(r);
        return err_set(e, ERR_FATAL, "store: no open lot");
    }
    *o = (struct store_open_lot){
        .lot = (uint64_t)database_get_i64(r, 0, 0),
        .events = (uint64_t)database_get_i64(r, 0, 1),
        .bytes = (uint64_t)database_get_i64(r, 0, 2),
        .age_ms = database_get_i64(r, 0, 3),
        .opened_ms = database_get_i64(r, 0, 4),
        .asked = database_get_bool(r, 0, 5),
        .unsealed = (uint64_t)database_get_i64(r, 0, 7),
    };
    epoch = database_get_i64(r, 0, 6);
    PQclear(r);
    return epoch == s->epoch || err_set(e, ERR_FENCED, "another sealer took over (epoch %lld, ours is %lld)", (long long)epoch,
                                        (long long)s->epoch);
}

/* Head is locked: is this still the open lot, and are we still the active sealer? */
static bool lock_head(struct store *s, uint64_t number, bool *still, struct err *e)
{
    PGresult *r = database_query(s->db, "SELECT lot, sealer_epoch FROM head FOR UPDATE", NULL, 0, e);
    bool ok;

    if (r == NULL)
        return false;
    ok = PQntuples(r) == 1 && database_get_i64(r, 0, 1) == s->epoch;
    *still = ok && database_get_i64(r, 0, 0) == (int64_t)number;
    PQclear(r);
    return ok || err_set(e, ERR_FENCED, "another sealer took over");
}

bool store_close_lot(struct store *s, uint64_t number, enum lot_reason reason, bool *closed, struct err *e)
{
    const struct database_value why = database_text(lot_reason_text(reason));
    PGresult *r = NULL;

    *closed = false;
    if (!database_run(s->db, "BEGIN", e))
        return false;
    if (!lock_head(s, number, closed, e))
        goto failed;
    if (*closed && (r = database_query(s->db, "SELECT close_lot($1)", &why, 1, e)) == NULL)
        goto failed;
    PQclear(r);
    if (database_run(s->db, "COMMIT", e))
        return true;
failed:
    *closed = false;
    roll_back(s);
    return false;
}

/* ---- closed lots --------------------------------------------------------------------------- */

bool store_next_lot(struct store *s, struct lot *l, bool *found, struct err *e)
{
    PGresult *r = database_query(s->db,
                                 "SELECT lot, first_serial, last_serial, opened_at, closed_at, reason FROM lot "
                                 "WHERE container IS NULL AND closed_at IS NOT NULL ORDER BY lot LIMIT 1",
                                 NULL, 0, e);
    bool ok = true;

    if (r == NULL)
        return false;
    *l = (struct lot){0};
    *found = PQntuples(r) == 1;
    if (*found) {
        l->number = (uint64_t)database_get_i64(r, 0, 0);
        l->first = (uint64_t)database_get_i64(r, 0, 1);
        l->last = (uint64_t)database_get_i64(r, 0, 2);
        l->count = l->last - l->first + 1;
        l->opened_ms = (int64_t)database_get_time(r, 0, 3);
        l->closed_ms = (int64_t)database_get_time(r, 0, 4);
        ok = lot_reason_read(database_get_slice(r, 0, 5), &l->reason) ||
             err_set(e, ERR_DOUBT, "lot %llu: reason unknown", (unsigned long long)l->number);
    }
    PQclear(r);
    return ok;
}

bool store_read_signatures(struct store *s, uint64_t number, struct buf *signatures, int64_t *sealed_ms, struct err *e)
{
    const struct database_value lot = database_i64((int64_t)number);
    PGresult *r = database_query(s->db, "SELECT signatures, sealed_at FROM lot WHERE lot = $1 AND container IS NOT NULL", &lot, 1, e);
    bool ok;

    if (r == NULL)
        return false;
    if (PQntuples(r) == 1) {
        *sealed_ms = (int64_t)database_get_time(r, 0, 1);
        ok = buf_add_slice(signatures, database_get_slice(r, 0, 0), e);
    } else {
        ok = err_set(e, ERR_DOUBT, "lot %llu is not sealed, the one after it is due", (unsigned long long)number);
    }
    PQclear(r);
    return ok;
}

bool store_read_genesis(struct store *s, uint8_t digest[32], struct err *e)
{
    PGresult *r = database_query(s->db, "SELECT genesis FROM vault WHERE genesis IS NOT NULL", NULL, 0, e);
    bool ok;

    if (r == NULL)
        return false;
    ok = PQntuples(r) == 1 ? digest_sha256(database_get_slice(r, 0, 0), digest, e)
                           : err_set(e, ERR_DOUBT, "the vault has no genesis: see coffre-ceremony");
    PQclear(r);
    return ok;
}

/* ---- the seal ------------------------------------------------------------------------------ */

static bool update_lot(struct store *s, const struct store_seal *seal, struct err *e)
{
    const struct database_value v[] = {
        database_i64((int64_t)seal->lot),
        database_time((uint64_t)seal->sealed_ms),
        database_bytes(seal->container),
        database_bytes(slice_of(seal->container_sha256, sizeof seal->container_sha256)),
        database_i64(seal->container_crc32),
        database_i64((int64_t)seal->container.len),
        database_bytes(seal->signatures),
        database_bytes(slice_of(seal->value_digest, sizeof seal->value_digest)),
    };
    uint64_t rows = 0;

    if (!database_change(s->db,
                         "UPDATE lot SET sealed_at = $2, container = $3, container_sha256 = $4, container_crc32 = $5, "
                         "container_size = $6, signatures = $7, signature_digest = $8 "
                         "WHERE lot = $1 AND closed_at IS NOT NULL AND container IS NULL",
                         v, sizeof v / sizeof *v, &rows, e))
        return false;
    return rows == 1 || err_set(e, ERR_FENCED, "lot %llu was sealed by another", (unsigned long long)seal->lot);
}

bool store_write_seal(struct store *s, const struct store_seal *seal, struct err *e)
{
    const struct database_value lot = database_i64((int64_t)seal->lot);

    if (database_run(s->db, "BEGIN", e) && fence(s, e) && update_lot(s, seal, e) &&
        database_change(s->db, "INSERT INTO announcement (lot) VALUES ($1)", &lot, 1, NULL, e) &&
        database_run(s->db, "NOTIFY lot_sealed; COMMIT", e))
        return true;
    roll_back(s);
    return false;
}
