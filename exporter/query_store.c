/* Rows of the store as the exporter sees them: see query.h. Sealed rows never change. */
#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "exporter/query.h"
#include "exporter/readme.h"

enum { FIXED_MAX = 1 << 20 };

bool query_last_sealed(struct query *q, uint64_t *lot, uint64_t *serial, struct err *e)
{
    PGresult *r = database_query(q->db,
                                 "SELECT lot, last_serial FROM lot WHERE container_sha256 IS NOT NULL ORDER BY lot DESC LIMIT 1",
                                 NULL, 0, e);

    if (r == NULL)
        return false;
    *lot = PQntuples(r) == 0 ? 0 : (uint64_t)database_get_i64(r, 0, 0);
    *serial = PQntuples(r) == 0 ? 0 : (uint64_t)database_get_i64(r, 0, 1);
    PQclear(r);
    return true;
}

bool query_lot_of(struct query *q, uint64_t serial, uint64_t *lot, struct segment_event *event, struct err *e)
{
    const struct database_value v[] = {database_i64((int64_t)serial)};
    PGresult *r = database_query(q->db, "SELECT lot, size, crc32 FROM event WHERE serial = $1", v, 1, e);

    if (r == NULL)
        return false;
    *lot = PQntuples(r) == 0 ? 0 : (uint64_t)database_get_i64(r, 0, 0);
    if (*lot != 0)
        *event = (struct segment_event){(uint32_t)database_get_i64(r, 0, 1), (uint32_t)database_get_i64(r, 0, 2)};
    PQclear(r);
    return true;
}

/* Lots are sealed in order, so their times only grow: no index is needed to find one by date. */
bool query_lot_at(struct query *q, uint64_t last_sealed, uint64_t ms, uint64_t *lot, struct err *e)
{
    uint64_t low = 1, high = last_sealed + 1;

    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        const struct database_value v[] = {database_i64((int64_t)middle)};
        PGresult *r = database_query(q->db, "SELECT sealed_at FROM lot WHERE lot = $1", v, 1, e);
        bool found = r != NULL && PQntuples(r) == 1 && !database_is_null(r, 0, 0);
        uint64_t sealed = found ? database_get_time(r, 0, 0) : 0;

        PQclear(r);
        if (!found)
            return err_set(e, ERR_FATAL, "lot %llu is missing before sealed ones", (unsigned long long)middle);
        if (sealed >= ms)
            high = middle;
        else
            low = middle + 1;
    }
    *lot = low;
    return true;
}

/* ---- lots and their keys ------------------------------------------------------------------------------ */

static bool read_digest(const PGresult *r, int row, int column, uint8_t out[32], struct err *e)
{
    struct slice s = database_get_slice(r, row, column);

    if (s.len != 32)
        return err_set(e, ERR_FATAL, "the store holds a digest of %zu bytes", s.len);
    memcpy(out, s.at, 32);
    return true;
}

static bool read_lot(const PGresult *r, int row, struct segment_lot *lot, struct err *e)
{
    int64_t first = database_get_i64(r, row, 1), last = database_get_i64(r, row, 2), size = database_get_i64(r, row, 4);

    *lot = (struct segment_lot){
        .lot = (uint64_t)database_get_i64(r, row, 0), .first_serial = (uint64_t)first, .events = (uint64_t)(last - first + 1),
        .event_bytes = (uint64_t)database_get_i64(r, row, 3), .container_size = (uint32_t)size,
        .container_crc32 = (uint32_t)database_get_i64(r, row, 5)};
    if (first < 1 || last < first - 1 || size < 1 || size >= UINT32_MAX)
        return err_set(e, ERR_FATAL, "lot %llu: the store contradicts itself", (unsigned long long)lot->lot);
    return read_digest(r, row, 6, lot->container_sha256, e);
}

/* The keys of one lot from rows ordered by lot; `*row` moves on. */
static bool read_keys(const PGresult *r, int *row, uint64_t lot, struct segment_key *keys, size_t *count, struct err *e)
{
    *count = 0;
    for (; *row < PQntuples(r) && (uint64_t)database_get_i64(r, *row, 0) == lot; ++*row) {
        struct segment_key *k = &keys[*count];

        if (*count == SEGMENT_KEYS_MAX)
            return err_set(e, ERR_FATAL, "lot %llu has more than %d keys", (unsigned long long)lot, SEGMENT_KEYS_MAX);
        k->ordinal = (uint32_t)database_get_i64(r, *row, 1);
        k->size = (uint32_t)database_get_i64(r, *row, 2);
        k->crc32 = (uint32_t)database_get_i64(r, *row, 3);
        if (!read_digest(r, *row, 4, k->sha256, e))
            return false;
        ++*count;
    }
    return true;
}

typedef bool each_lot(void *ctx, const struct segment_lot *lot, const struct segment_key *keys, size_t key_count, struct err *e);

static bool walk(const PGresult *lots, const PGresult *keys, uint64_t first, each_lot *each, void *ctx, struct err *e)
{
    struct segment_key *of_lot = mem_alloc(SEGMENT_KEYS_MAX * sizeof *of_lot);
    int key_row = 0;
    bool ok = true;

    for (int i = 0; i < PQntuples(lots) && ok; i++) {
        struct segment_lot lot;
        size_t count;

        ok = read_lot(lots, i, &lot, e) && read_keys(keys, &key_row, lot.lot, of_lot, &count, e);
        if (ok && lot.lot != first + (uint64_t)i)
            ok = err_set(e, ERR_FATAL, "lot %llu is missing among sealed ones", (unsigned long long)(first + (uint64_t)i));
        ok = ok && each(ctx, &lot, of_lot, count, e);
    }
    free(of_lot);
    return ok;
}

bool query_each_lot(struct query *q, uint64_t first, uint64_t last, each_lot *each, void *ctx, struct err *e)
{
    const struct database_value v[] = {database_i64((int64_t)first), database_i64((int64_t)last)};
    PGresult *lots = database_query(q->db,
                                    "SELECT lot, first_serial, last_serial, coalesce(event_bytes, 0), container_size, container_crc32,"
                                    " container_sha256 FROM lot WHERE lot BETWEEN $1 AND $2 AND container_sha256 IS NOT NULL ORDER BY lot",
                                    v, 2, e);
    PGresult *keys = lots == NULL ? NULL
                                  : database_query(q->db,
                                                   "SELECT lot, ordinal, octet_length(body), crc32, sha256 FROM lot_key"
                                                   " WHERE lot BETWEEN $1 AND $2 ORDER BY lot, ordinal",
                                                   v, 2, e);
    bool ok = keys != NULL && ((uint64_t)PQntuples(lots) == last - first + 1 ||
                               err_set(e, ERR_FATAL, "a lot between %llu and %llu is missing among sealed ones",
                                       (unsigned long long)first, (unsigned long long)last)) &&
              walk(lots, keys, first, each, ctx, e);

    PQclear(lots);
    PQclear(keys);
    return ok;
}

bool query_give_events(struct query *q, struct segment *s, uint64_t lot, struct err *e)
{
    struct segment_lot is;
    struct segment_event *events;
    PGresult *r;
    bool ok;

    if (!segment_find_lot(s, lot, &is))
        return err_set(e, ERR_FATAL, "lot %llu is not in this segment", (unsigned long long)lot);
    const struct database_value v[] = {database_i64((int64_t)is.first_serial),
                                       database_i64((int64_t)(is.first_serial + is.events - 1))};
    r = database_query(q->db, "SELECT size, crc32 FROM event WHERE serial BETWEEN $1 AND $2 ORDER BY serial", v, 2, e);
    if (r == NULL)
        return false;
    events = mem_alloc((size_t)PQntuples(r) * sizeof *events);
    for (int i = 0; i < PQntuples(r); i++)
        events[i] = (struct segment_event){(uint32_t)database_get_i64(r, i, 0), (uint32_t)database_get_i64(r, i, 1)};
    ok = segment_give_events(s, lot, events, (size_t)PQntuples(r), e);
    free(events);
    PQclear(r);
    return ok;
}

/* ---- what every segment begins with --------------------------------------------------------------------- */

/* 0: an authority, 1: the seal, 2: the time-stamp. */
static unsigned kind_of(X509 *x)
{
    if (X509_check_ca(x) != 0 && (X509_get_extension_flags(x) & EXFLAG_CA) != 0)
        return 0;
    return (X509_get_extension_flags(x) & EXFLAG_XKUSAGE) != 0 && (X509_get_extended_key_usage(x) & XKU_TIMESTAMP) != 0 ? 2 : 1;
}

/* Shares out the certificates of the ceremony to ca.pem, seal.pem, tsa.pem; each once. */
static bool share_out(struct query *q, struct slice pem, struct err *e)
{
    BIO *in = BIO_new_mem_buf(pem.at, (int)pem.len);
    bool ok = in != NULL;
    X509 *x;

    while (ok && (x = PEM_read_bio_X509(in, NULL, NULL, NULL)) != NULL) {
        struct buf *to = &q->certificates[kind_of(x)];
        BIO *out = BIO_new(BIO_s_mem());
        char *text = NULL;
        long len = out != NULL && PEM_write_bio_X509(out, x) == 1 ? BIO_get_mem_data(out, &text) : 0;

        ok = len > 0 && (to->len != 0 && memmem(to->data + to->start, to->len, text, (size_t)len) != NULL
                             ? true
                             : buf_add(to, text, (size_t)len, e));
        BIO_free(out);
        X509_free(x);
    }
    ERR_clear_error();
    BIO_free(in);
    return ok || err_set(e, ERR_FATAL, "the vault's certificates cannot be read");
}

bool query_load_fixed(struct query *q, struct err *e)
{
    const struct settings *s = role_settings(q->role);
    PGresult *r;
    bool ok;

    if (q->fixed)
        return true;
    r = database_query(q->db, "SELECT genesis, certificates FROM vault", NULL, 0, e);
    if (r == NULL)
        return false;
    buf_init(&q->readme, FIXED_MAX);
    buf_init(&q->genesis, FIXED_MAX);
    for (unsigned i = 0; i < 3; i++)
        buf_init(&q->certificates[i], FIXED_MAX);
    ok = PQntuples(r) == 1 && !database_is_null(r, 0, 0) && !database_is_null(r, 0, 1);
    if (!ok)
        err_set(e, ERR_RETRY, "the vault has no genesis: coffre-ceremony has not been held");
    ok = ok && readme_write(&q->readme, s->vault.operator_id, s->vault.number, e) &&
         buf_add_slice(&q->genesis, database_get_slice(r, 0, 0), e) && share_out(q, database_get_slice(r, 0, 1), e);
    PQclear(r);
    q->fixed = ok;
    if (!ok) {
        buf_free(&q->readme);
        buf_free(&q->genesis);
        for (unsigned i = 0; i < 3; i++)
            buf_free(&q->certificates[i]);
    }
    return ok;
}

struct segment *query_new_segment(const struct query *q, struct err *e)
{
    const struct buf *contents[] = {&q->certificates[0], &q->certificates[1], &q->certificates[2], &q->genesis};
    struct segment *s = segment_new();
    bool ok = segment_add_file(s, NAMES_README_TXT, buf_slice(&q->readme), e);

    for (unsigned i = 0; ok && i < sizeof contents / sizeof *contents; i++)
        ok = names_certificate(i) != NULL && segment_add_file(s, names_certificate(i), buf_slice(contents[i]), e);
    if (ok)
        return s;
    segment_free(s);
    return NULL;
}
