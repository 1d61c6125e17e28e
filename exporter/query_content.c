/* Bytes of streamed answers, fetched from PostgreSQL in small pieces. See query.h. Memory: one piece and one fetch. */
#include <stdlib.h>

#include "exporter/query.h"

enum { FETCH_BYTES = 256 * 1024, FETCH_ROWS = 1000 };

/* `len` bytes from `from` of a lot's container; EXTERNAL storage reads only the pages that hold them. */
static bool read_container(struct query *q, uint64_t lot, uint64_t from, size_t len, struct buf *out, struct err *e)
{
    const struct database_value v[] = {database_i64((int64_t)lot), database_i32((int32_t)from + 1), database_i32((int32_t)len)};
    PGresult *r = database_query(q->db, "SELECT substring(container FROM $2 FOR $3) FROM lot WHERE lot = $1", v, 3, e);
    bool ok;

    if (r == NULL)
        return false;
    ok = PQntuples(r) == 1 && database_get_slice(r, 0, 0).len == len;
    ok = ok ? buf_add_slice(out, database_get_slice(r, 0, 0), e)
            : err_set(e, ERR_FATAL, "lot %llu: its container is shorter than its row says", (unsigned long long)lot);
    PQclear(r);
    return ok;
}

static bool read_key(struct query *q, const struct segment_piece *p, size_t len, struct buf *out, struct err *e)
{
    const struct database_value v[] = {database_i64((int64_t)p->lot), database_i32((int32_t)p->ordinal)};
    PGresult *r = database_query(q->db, "SELECT body FROM lot_key WHERE lot = $1 AND ordinal = $2", v, 2, e);
    struct slice body;
    bool ok;

    if (r == NULL)
        return false;
    body = PQntuples(r) == 1 ? database_get_slice(r, 0, 0) : slice_of(NULL, 0);
    ok = body.len == p->offset + p->length;
    ok = ok ? buf_add(out, body.at + p->offset, len, e)
            : err_set(e, ERR_FATAL, "lot %llu: key %u is not what it was", (unsigned long long)p->lot, p->ordinal);
    PQclear(r);
    return ok;
}

/* How many events from `serial` on are worth fetching at once: the lot's, as many as fit. */
static uint64_t fetch_count(const struct job *job, uint64_t serial)
{
    uint64_t bytes = 0, count = 0;

    while (count < FETCH_ROWS) {
        uint32_t size = segment_event_size(job->segment, serial + count);

        if (size == 0 || (count != 0 && bytes + size > FETCH_BYTES))
            break;
        bytes += size;
        count++;
    }
    return count == 0 ? 1 : count;
}

/* Makes job->bodies hold the event. */
static bool fetch(struct query *q, struct job *job, uint64_t serial, struct err *e)
{
    uint64_t count;

    if (job->bodies != NULL && serial >= job->first_body && serial - job->first_body < (uint64_t)PQntuples(job->bodies))
        return true;
    PQclear(job->bodies);
    count = fetch_count(job, serial);
    const struct database_value v[] = {database_i64((int64_t)serial), database_i64((int64_t)(serial + count - 1))};
    job->bodies = database_query(q->db, "SELECT body FROM event WHERE serial BETWEEN $1 AND $2 ORDER BY serial", v, 2, e);
    job->first_body = serial;
    if (job->bodies == NULL)
        return false;
    if ((uint64_t)PQntuples(job->bodies) == count)
        return true;
    PQclear(job->bodies);
    job->bodies = NULL;
    return err_set(e, ERR_FATAL, "an event from %llu on is missing", (unsigned long long)serial);
}

static bool read_event(struct query *q, struct job *job, const struct segment_piece *p, size_t len, struct buf *out, struct err *e)
{
    struct slice body;

    if (!fetch(q, job, p->serial, e))
        return false;
    body = database_get_slice(job->bodies, (int)(p->serial - job->first_body), 0);
    if (body.len != p->offset + p->length)
        return err_set(e, ERR_FATAL, "event %llu: its body has %zu bytes, its row says %llu", (unsigned long long)p->serial,
                       body.len, (unsigned long long)(p->offset + p->length));
    return buf_add(out, body.at + p->offset, len, e);
}

static bool read_piece(struct query *q, struct job *job, const struct segment_piece *p, size_t len, struct buf *out, struct err *e)
{
    switch (p->kind) {
    case SEGMENT_BYTES:
        return buf_add(out, p->bytes.at, len, e);
    case SEGMENT_CONTAINER:
        return read_container(q, p->lot, p->offset, len, out, e);
    case SEGMENT_KEY:
        return read_key(q, p, len, out, e);
    case SEGMENT_EVENT:
        return read_event(q, job, p, len, out, e);
    case SEGMENT_NEEDS:
    case SEGMENT_END:
        break;
    }
    return err_set(e, ERR_FATAL, "segment: nothing is at this place");
}

static bool read_segment(struct query *q, struct job *job, size_t most, struct buf *out, struct err *e)
{
    while (out->len < most) {
        struct segment_piece p = segment_piece_at(job->segment, job->at);
        size_t room = most - out->len;
        uint64_t there = p.kind == SEGMENT_BYTES ? p.bytes.len : p.length;

        if (p.kind == SEGMENT_NEEDS) {
            if (!query_give_events(q, job->segment, p.lot, e))
                return false;
            PQclear(job->bodies);
            job->bodies = NULL;
            continue;
        }
        if (there < room)
            room = (size_t)there;
        if (!read_piece(q, job, &p, room, out, e))
            return false;
        job->at += room;
    }
    return true;
}

bool job_read_content(struct query *q, struct job *job, size_t most, struct buf *out, struct err *e)
{
    uint64_t before = job->at;

    if (job->segment == NULL) {
        if (!read_container(q, job->lot, job->at, most, out, e))
            return false;
        job->at += most;
        return true;
    }
    if (read_segment(q, job, most, out, e))
        return true;
    job->at = before; /* the same bytes are read again when PostgreSQL is back */
    return false;
}
