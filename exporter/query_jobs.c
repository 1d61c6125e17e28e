/* Questions that take many steps: containers, evidence of an event, segments, new extractions. See query.h. */
#include <stdlib.h>

#include "common/formats/date.h"
#include "common/formats/hex.h"
#include "common/values/log.h"
#include "exporter/query.h"

/* ---- life of a job ------------------------------------------------------------------------------------ */

static struct job *add_job(struct query *q, const struct ask_question *ask, enum job_state state)
{
    struct job *job = mem_zalloc(1, sizeof *job);

    job->state = state;
    job->request = ask->request;
    job->call = ask->call;
    job->reader = mem_text(ask->reader);
    job->next = q->jobs;
    q->jobs = job;
    q->job_count++;
    return job;
}

void job_free(struct job *job)
{
    PQclear(job->bodies);
    segment_free(job->segment);
    free(job->plan);
    free(job->reader);
    free(job);
}

struct job *query_find_job(struct query *q, uint32_t request)
{
    struct job *job = q->jobs;

    while (job != NULL && (job->request != request || job->state == JOB_DONE))
        job = job->next;
    return job;
}

bool job_is_runnable(const struct query *q, const struct job *job)
{
    if (q->db == NULL || q->front == NULL)
        return false;
    if (job->state == JOB_SENDS)
        return job->credit > 0 && channel_room(q->front) > (size_t)ASK_WINDOW * 8;
    return job->state == JOB_PLANS || job->state == JOB_BUILDS;
}

/* ---- the head of a streamed answer ---------------------------------------------------------------------- */

static void send_head(struct query *q, struct job *job, const char *type, const char *etag)
{
    struct ask_answer a = {.request = job->request, .status = 200, .streamed = true, .length = job->length};
    struct err e = {0};

    snprintf(a.type, sizeof a.type, "%s", type);
    snprintf(a.etag, sizeof a.etag, "%s", etag);
    snprintf(a.file, sizeof a.file, "%s", job->file);
    if (!ask_send_answer(q->front, &a, &e)) {
        log_error("channel-full", "%s", e.text);
        job->state = JOB_DONE;
        return;
    }
    job->state = JOB_WAITS;
}

/* Why a lot is not handed out: it does not exist, or not yet. */
static void refuse_lot(struct query *q, uint32_t request, unsigned unsealed_status, uint64_t lot, uint64_t last_sealed)
{
    const struct database_value v[] = {database_i64((int64_t)lot)};
    struct err e = {0};
    PGresult *r = database_query(q->db, "SELECT closed_at IS NOT NULL FROM lot WHERE lot = $1", v, 1, &e);

    if (r == NULL)
        query_fail(q, request, &e);
    else if (PQntuples(r) == 0)
        query_refuse(q, request, 404, "lot-unknown", "there is no lot %llu; the last sealed one is %llu",
                     (unsigned long long)lot, (unsigned long long)last_sealed);
    else
        query_refuse(q, request, unsealed_status, "not-sealed", "lot %llu is %s and not sealed yet; the last sealed one is %llu",
                     (unsigned long long)lot, database_get_bool(r, 0, 0) ? "closed" : "open",
                     (unsigned long long)last_sealed);
    PQclear(r);
}

static void refuse_serial(struct query *q, uint32_t request, unsigned unsealed_status, uint64_t serial, uint64_t lot,
                          uint64_t last_serial)
{
    struct err e = {0};

    if (lot == 0 && serial <= last_serial) {
        err_set(&e, ERR_DOUBT, "event %llu is sealed, and missing", (unsigned long long)serial);
        query_fail(q, request, &e);
    } else if (lot == 0)
        query_refuse(q, request, 404, "serial-unknown", "no event has the serial %llu; the last sealed one is %llu",
                     (unsigned long long)serial, (unsigned long long)last_serial);
    else
        query_refuse(q, request, unsealed_status, "not-sealed",
                     "event %llu is in lot %llu, which is not sealed yet; the last sealed event is %llu",
                     (unsigned long long)serial, (unsigned long long)lot, (unsigned long long)last_serial);
}

/* ---- a container ---------------------------------------------------------------------------------------- */

void query_begin_lot(struct query *q, const struct ask_question *ask)
{
    const struct database_value v[] = {database_i64((int64_t)ask->call.a)};
    struct err e = {0};
    PGresult *r = database_query(q->db,
                                 "SELECT container_size, container_sha256 FROM lot WHERE lot = $1 AND container_sha256 IS NOT NULL",
                                 v, 1, &e);
    uint64_t last_sealed, last_serial;
    char etag[SEGMENT_ETAG_MAX], name[NAMES_MAX];
    struct job *job;

    if (r == NULL || (PQntuples(r) == 0 && !query_last_sealed(q, &last_sealed, &last_serial, &e))) {
        query_fail(q, ask->request, &e);
    } else if (PQntuples(r) == 0) {
        refuse_lot(q, ask->request, 404, ask->call.a, last_sealed);
    } else if (database_get_slice(r, 0, 1).len != 32) {
        err_set(&e, ERR_FATAL, "lot %llu: malformed digest", (unsigned long long)ask->call.a);
        query_fail(q, ask->request, &e);
    } else {
        job = add_job(q, ask, JOB_WAITS);
        job->lot = ask->call.a;
        job->length = (uint64_t)database_get_i64(r, 0, 0);
        etag[0] = '"';
        hex_write(etag + 1, database_get_slice(r, 0, 1));
        memcpy(etag + 65, "\"", 2);
        names_write_lot(name, job->lot);
        snprintf(job->file, sizeof job->file, "%s", strchr(name, '/') + 1);
        send_head(q, job, "application/vnd.etsi.asic-e+zip", etag);
    }
    PQclear(r);
}

/* ---- segments --------------------------------------------------------------------------------------------- */

static struct job *add_build(struct query *q, const struct ask_question *ask, uint64_t first, uint64_t last)
{
    struct err e = {0};
    struct segment *s = query_new_segment(q, &e);
    struct job *job;

    if (s == NULL) {
        query_fail(q, ask->request, &e);
        return NULL;
    }
    job = add_job(q, ask, JOB_BUILDS);
    job->segment = s;
    job->lot = first;
    job->last_lot = last;
    return job;
}

void query_begin_event(struct query *q, const struct ask_question *ask)
{
    uint64_t serial = ask->call.a, lot, last_sealed, last_serial;
    struct segment_event event = {0};
    struct err e = {0};
    struct job *job;

    if (!query_lot_of(q, serial, &lot, &event, &e) || !query_last_sealed(q, &last_sealed, &last_serial, &e)) {
        query_fail(q, ask->request, &e);
        return;
    }
    if (lot == 0 || lot > last_sealed) {
        refuse_serial(q, ask->request, 404, serial, lot, last_serial);
        return;
    }
    job = add_build(q, ask, lot, lot);
    if (job == NULL)
        return;
    job->only_serial = serial;
    job->events = event.size;
    snprintf(job->file, sizeof job->file, "event-%012llu.zip", (unsigned long long)serial);
}

void query_begin_segment(struct query *q, const struct ask_question *ask)
{
    const struct database_value v[] = {database_i64((int64_t)ask->call.a), database_i64((int64_t)ask->call.b)};
    struct err e = {0};
    PGresult *r = database_query(q->db, "SELECT first_lot, last_lot FROM extraction_segment WHERE extraction = $1 AND segment = $2",
                                 v, 2, &e);
    struct job *job;

    if (r == NULL)
        query_fail(q, ask->request, &e);
    else if (PQntuples(r) == 0)
        query_refuse(q, ask->request, 404, "segment-unknown", "there is no segment %llu of an extraction %llu",
                     (unsigned long long)ask->call.b, (unsigned long long)ask->call.a);
    else if ((job = add_build(q, ask, (uint64_t)database_get_i64(r, 0, 0), (uint64_t)database_get_i64(r, 0, 1))) != NULL)
        snprintf(job->file, sizeof job->file, "extraction-%llu-segment-%llu.zip", (unsigned long long)ask->call.a,
                 (unsigned long long)ask->call.b);
    PQclear(r);
}

static bool build_lot(void *ctx, const struct segment_lot *lot, const struct segment_key *keys, size_t key_count, struct err *e)
{
    struct job *job = ctx;
    struct segment_lot shown = *lot;

    if (job->only_serial != 0) {
        if (job->only_serial < lot->first_serial || job->only_serial - lot->first_serial >= lot->events)
            return err_set(e, ERR_FATAL, "event %llu is not among those of lot %llu", (unsigned long long)job->only_serial,
                           (unsigned long long)lot->lot);
        shown.first_serial = job->only_serial;
        shown.events = 1;
        shown.event_bytes = job->events;
    }
    return segment_add_lot(job->segment, &shown, keys, key_count, e);
}

static uint64_t step_end(const struct job *job)
{
    return job->last_lot - job->lot < QUERY_LOTS_PER_STEP ? job->last_lot : job->lot + QUERY_LOTS_PER_STEP - 1;
}

static bool build_step(struct query *q, struct job *job, struct err *e)
{
    uint64_t last = step_end(job);

    if (!query_each_lot(q, job->lot, last, build_lot, job, e))
        return false;
    job->lot = last + 1;
    if (job->lot <= job->last_lot)
        return true;
    segment_finish(job->segment);
    job->length = segment_length(job->segment);
    send_head(q, job, "application/zip", segment_etag(job->segment));
    return true;
}

/* ---- a new extraction --------------------------------------------------------------------------------------- */

/* Turns a range of serials into lots. False: answered already. */
static bool lots_of_serials(struct query *q, const struct ask_question *ask, uint64_t last_sealed, uint64_t last_serial,
                            uint64_t *first, uint64_t *last, struct err *e)
{
    const uint64_t serials[] = {ask->call.a, ask->call.b};
    uint64_t *lots[] = {first, last};
    struct segment_event event;

    for (int i = 0; i < 2; i++) {
        if (!query_lot_of(q, serials[i], lots[i], &event, e)) {
            query_fail(q, ask->request, e);
            return false;
        }
        if (*lots[i] == 0 || *lots[i] > last_sealed) {
            refuse_serial(q, ask->request, 409, serials[i], *lots[i], last_serial);
            return false;
        }
    }
    return true;
}

/* `to` is excluded: ranges that touch share nothing. */
static bool lots_of_dates(struct query *q, const struct ask_question *ask, uint64_t last_sealed, uint64_t *first,
                          uint64_t *last, struct err *e)
{
    uint64_t end;

    if (!query_lot_at(q, last_sealed, ask->call.a, first, e) || !query_lot_at(q, last_sealed, ask->call.b, &end, e)) {
        query_fail(q, ask->request, e);
        return false;
    }
    *last = end - 1;
    if (*first <= *last)
        return true;
    query_refuse(q, ask->request, 404, "dates-empty", "no lot was sealed in that time; the last sealed one is %llu",
                 (unsigned long long)last_sealed);
    return false;
}

static bool resolve(struct query *q, const struct ask_question *ask, uint64_t *first, uint64_t *last)
{
    uint64_t last_sealed, last_serial;
    struct err e = {0};

    if (!query_last_sealed(q, &last_sealed, &last_serial, &e)) {
        query_fail(q, ask->request, &e);
        return false;
    }
    switch (ask->call.range) {
    case API_BY_SERIAL:
        return lots_of_serials(q, ask, last_sealed, last_serial, first, last, &e);
    case API_BY_DATE:
        return lots_of_dates(q, ask, last_sealed, first, last, &e);
    case API_BY_LOT:
        break;
    }
    *first = ask->call.a;
    *last = ask->call.b;
    if (*first >= 1 && *last <= last_sealed && *first <= *last)
        return true;
    refuse_lot(q, ask->request, 409, *first > last_sealed ? *first : *last, last_sealed);
    return false;
}

void query_begin_extraction(struct query *q, const struct ask_question *ask)
{
    uint64_t first, last;
    struct job *job;

    if (!resolve(q, ask, &first, &last))
        return;
    job = add_job(q, ask, JOB_PLANS);
    job->asked_first = first;
    job->asked_last = last;
    job->lot = ask->call.overlap && first > 1 ? first - 1 : first;
    job->last_lot = last;
}

static bool plan_lot(void *ctx, const struct segment_lot *lot, const struct segment_key *keys, size_t key_count, struct err *e)
{
    struct planned *p;
    struct job *job = ctx;
    uint64_t cost = segment_lot_cost(lot, keys, key_count), target = job->length;

    p = job->planned == 0 ? NULL : &job->plan[job->planned - 1];
    if (p == NULL || p->bytes + cost > target || job->plan_lots == SEGMENT_LOTS_MAX) {
        if (job->planned == QUERY_SEGMENTS_MAX)
            return err_set(e, ERR_INPUT, "over %d segments: ask for less at once", QUERY_SEGMENTS_MAX);
        if (job->planned == job->plan_room) {
            job->plan_room = job->plan_room == 0 ? 8 : 2 * job->plan_room;
            job->plan = mem_realloc(job->plan, job->plan_room * sizeof *job->plan);
        }
        p = &job->plan[job->planned++];
        *p = (struct planned){lot->lot, lot->lot, 0};
        job->plan_lots = 0;
    }
    p->last_lot = lot->lot;
    p->bytes += cost;
    job->plan_lots++;
    job->events += lot->events;
    return true;
}

/* What was asked, as JSON for the store. */
static char *request_text(const struct job *job)
{
    char from[DATE_LEN + 1], to[DATE_LEN + 1], *text;
    json_t *o = NULL;

    switch (job->call.range) {
    case API_BY_SERIAL:
    case API_BY_LOT:
        o = json_pack("{s:{s:I, s:I}, s:b}", job->call.range == API_BY_LOT ? "lots" : "serials", "first",
                      (json_int_t)job->call.a, "last", (json_int_t)job->call.b, "overlap", job->call.overlap);
        break;
    case API_BY_DATE:
        date_write(from, (int64_t)job->call.a);
        date_write(to, (int64_t)job->call.b);
        o = json_pack("{s:{s:s, s:s}, s:b}", "dates", "from", from, "to", to, "overlap", job->call.overlap);
        break;
    }
    text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    return text;
}

static bool insert_segments(struct query *q, const struct job *job, uint64_t id, struct err *e)
{
    for (size_t i = 0; i < job->planned; i++) {
        const struct planned *p = &job->plan[i];
        const struct database_value v[] = {database_i64((int64_t)id), database_i32((int32_t)i + 1),
                                           database_i64((int64_t)p->first_lot), database_i64((int64_t)p->last_lot),
                                           database_i64((int64_t)p->bytes)};

        if (!database_change(q->db, "INSERT INTO extraction_segment VALUES ($1, $2, $3, $4, $5)", v, 5, NULL, e))
            return false;
    }
    return true;
}

static bool insert_extraction(struct query *q, const struct job *job, uint64_t *id, struct err *e)
{
    char *request = request_text(job);
    const struct database_value v[] = {
        database_text(job->reader), database_text(request), database_i64((int64_t)job->plan[0].first_lot),
        database_i64((int64_t)job->last_lot), database_i64((int64_t)job->events), database_i32((int32_t)job->planned)};
    PGresult *r = NULL;
    bool ok = database_run(q->db, "BEGIN READ WRITE", e);

    if (ok)
        r = database_query(q->db,
                           "INSERT INTO extraction (reader, request, first_lot, last_lot, events, segments)"
                           " VALUES ($1::text, $2::jsonb, $3, $4, $5, $6) RETURNING id",
                           v, 6, e);
    ok = r != NULL && PQntuples(r) == 1;
    *id = ok ? (uint64_t)database_get_i64(r, 0, 0) : 0;
    ok = ok && insert_segments(q, job, *id, e) && database_run(q->db, "COMMIT", e);
    if (!ok && !database_run(q->db, "ROLLBACK", NULL))
        log_debug("store-away", "the transaction ends with its connection");
    PQclear(r);
    free(request);
    return ok;
}

static bool plan_step(struct query *q, struct job *job, struct err *e)
{
    uint64_t last = step_end(job), id;

    job->length = q->segment_bytes;
    if (!query_each_lot(q, job->lot, last, plan_lot, job, e))
        return false;
    job->lot = last + 1;
    if (job->lot <= job->last_lot)
        return true;
    if (!insert_extraction(q, job, &id, e))
        return false;
    log_info("extraction", "%llu: lots %llu to %llu in %zu segments for %s", (unsigned long long)id,
             (unsigned long long)job->plan[0].first_lot, (unsigned long long)job->last_lot, job->planned, job->reader);
    job->state = JOB_DONE;
    query_answer_extraction(q, job->request, id, 201);
    return true;
}

/* ---- steps ---------------------------------------------------------------------------------------------------- */

static bool send_step(struct query *q, struct job *job, struct err *e)
{
    struct buf out;
    uint64_t left = job->end - job->at;
    size_t most = job->credit < ASK_CHUNK ? job->credit : ASK_CHUNK;
    bool ok;

    most = left < most ? (size_t)left : most;
    buf_init(&out, most);
    ok = job_read_content(q, job, most, &out, e) &&
         ask_send_content(q->front, ASK_DATA, job->request, buf_slice(&out), e);
    if (ok) {
        job->credit -= (uint32_t)out.len;
        q->sent_bytes += out.len;
        if (job->at == job->end)
            job->state = JOB_DONE;
    }
    buf_free(&out);
    return ok;
}

void job_step(struct query *q, struct job *job)
{
    enum job_state state = job->state;
    struct err e = {0}, ignored = {0};
    bool ok = state == JOB_PLANS ? plan_step(q, job, &e) : state == JOB_BUILDS ? build_step(q, job, &e) : send_step(q, job, &e);

    if (ok)
        return;
    /* The bytes are the same whenever they are read: a stream waits until PostgreSQL is back, or the peer's patience ends. */
    if (state == JOB_SENDS && e.code == ERR_RETRY)
        return;
    job->state = JOB_DONE;
    if (state == JOB_SENDS) {
        q->incidents++;
        log_error("store-contradicts", "%s", e.text);
        if (!ask_send_content(q->front, ASK_BROKEN, job->request, slice_text("the store contradicts itself"), &ignored))
            log_warning("channel-full", "%s", ignored.text);
    } else if (e.code == ERR_INPUT) {
        query_refuse(q, job->request, 400, "too-large", "%s", e.text);
    } else {
        query_fail(q, job->request, &e);
    }
}
