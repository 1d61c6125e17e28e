/*
 * Role query of coffre-exporter: its loop, its database connection, its messages. See query.h. libpq blocks; every statement
 * is bounded by a time-out and every step by a size, and two such processes run.
 */
#include "exporter/query.h"

#include <poll.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "common/identity/overrides.h"
#include "common/values/log.h"
#include "exporter/roles.h"
#include "exporter/states.h"

enum { STATEMENT_MS = 10000 };

uint64_t query_now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- front ------------------------------------------------------------------------------------------ */

static void free_jobs(struct query *q)
{
    while (q->jobs != NULL) {
        struct job *job = q->jobs;

        q->jobs = job->next;
        job_free(job);
    }
    q->job_count = 0;
}

static void drop_front(struct query *q)
{
    channel_free(q->front);
    q->front = NULL;
    free_jobs(q);
}

static void linked(void *ctx, const char *kind, unsigned index, struct channel *c)
{
    struct query *q = ctx;

    (void)index;
    if (strcmp(kind, "identity") == 0) {
        channel_free(q->identity);
        q->identity = c;
        buf_reset(&q->overrides); /* told again */
        return;
    }
    if (strcmp(kind, "states") == 0) {
        query_link_states(q, c);
        return;
    }
    if (strcmp(kind, "front") != 0) {
        channel_free(c);
        return;
    }
    drop_front(q);
    q->front = c;
}

static bool makes_a_job(enum api_resource resource)
{
    return resource == API_LOT || resource == API_EVENT || resource == API_EXTRACT || resource == API_SEGMENT;
}

static void answer(struct query *q, const struct ask_question *ask)
{
    q->questions++;
    if (ask->call.resource == API_METRICS) { /* needs no store */
        query_answer_metrics(q, ask);
        return;
    }
    if (q->db == NULL || !q->fixed) {
        query_refuse(q, ask->request, 503, "store-away", "%s", q->why);
        return;
    }
    if (q->job_count >= ASK_STREAMS_MAX && makes_a_job(ask->call.resource)) {
        query_refuse(q, ask->request, 503, "busy", "too many answers are being sent; ask again");
        return;
    }
    switch (ask->call.resource) {
    case API_CHECK:
        query_answer_check(q, ask);
        return;
    case API_STATUS:
        query_answer_status(q, ask);
        return;
    case API_LOTS:
        query_answer_lots(q, ask);
        return;
    case API_LOT:
        query_begin_lot(q, ask);
        return;
    case API_EVENT:
        query_begin_event(q, ask);
        return;
    case API_EXTRACTIONS:
        query_answer_history(q, ask);
        return;
    case API_EXTRACT:
        query_begin_extraction(q, ask);
        return;
    case API_EXTRACTION:
        query_answer_extraction(q, ask->request, ask->call.a, 200);
        return;
    case API_SEGMENT:
        query_begin_segment(q, ask);
        return;
    case API_OPERATIONS:
        query_answer_operations(q, ask);
        return;
    case API_OPERATE:
        query_ask_operation(q, ask);
        return;
    case API_OPERATION:
        query_answer_operation(q, ask->request, ask->call.a, 200);
        return;
    case API_METRICS:
    case API_LIVEZ:
    case API_READYZ:
    case API_ROLES:
    case API_BIND:
    case API_REVOKE:
    case API_CHANGES:
    case API_CHANGE:
    case API_APPROVE:
    case API_REFUSE:
        break;
    }
    query_refuse(q, ask->request, 404, "not-found", "not answered here");
}

static bool begin_sending(struct query *q, const struct ask_span *span, struct err *e)
{
    struct job *job = query_find_job(q, span->request);

    if (job == NULL)
        return true;
    if (job->state != JOB_WAITS || span->length == 0 || span->length > job->length ||
        span->first > job->length - span->length || span->credit > ASK_WINDOW)
        return err_set(e, ERR_INPUT, "a span that is not there");
    job->at = span->first;
    job->end = span->first + span->length;
    job->credit = span->credit;
    job->state = JOB_SENDS;
    return true;
}

static bool add_credit(struct query *q, struct slice body, bool drop, struct err *e)
{
    uint32_t request, number;
    struct job *job;

    if (!ask_read_number(body, &request, &number, e))
        return false;
    job = query_find_job(q, request);
    if (job == NULL)
        return true;
    if (drop)
        job->state = JOB_DONE;
    else if (number > ASK_WINDOW || job->credit > ASK_WINDOW - number)
        return err_set(e, ERR_INPUT, "more credit than allowed");
    else
        job->credit += number;
    return true;
}

static bool take_message(struct query *q, const struct channel_message *m, struct err *e)
{
    struct ask_question ask;
    struct ask_span span;

    if (m->fd >= 0) {
        close(m->fd);
        return err_set(e, ERR_INPUT, "a descriptor");
    }
    switch (m->type) {
    case ASK_QUESTION:
        if (!ask_read_question(m->body, &ask, e))
            return false;
        if (query_find_job(q, ask.request) != NULL)
            return err_set(e, ERR_INPUT, "a request's number is used twice");
        answer(q, &ask);
        return true;
    case ASK_READ:
        return ask_read_span(m->body, &span, e) && begin_sending(q, &span, e);
    case ASK_CREDIT:
        return add_credit(q, m->body, false, e);
    case ASK_DROP:
        return add_credit(q, m->body, true, e);
    default:
        return err_set(e, ERR_INPUT, "message %u", m->type);
    }
}

static void take_messages(struct query *q)
{
    for (int turn = 0; turn < 16 && q->front != NULL; turn++) {
        struct channel_message m;
        struct err e = {0};
        enum channel_result r = channel_receive(q->front, &m, &e);

        if (r == CHANNEL_EMPTY)
            return;
        if (r == CHANNEL_CLOSED || !take_message(q, &m, &e)) {
            log_warning("front-lost", "%s", e.text);
            drop_front(q);
        }
    }
}

/* ---- database --------------------------------------------------------------------------------------- */

static void close_database(struct query *q, const char *why)
{
    database_close(q->db);
    q->db = NULL;
    snprintf(q->why, sizeof q->why, "%.*s", ASK_TEXT_MAX - 1, why);
    for (char *c = q->why; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20)
            *c = ' ';
}

/* False: this database is another vault's, or not one to work with. */
static bool open_database(struct query *q, struct err *why)
{
    const struct settings *s = role_settings(q->role);
    struct database_options o = {s, s->exporter.postgresql, "coffre_exporter", STATEMENT_MS};
    struct err e = {0};

    q->db = database_open(&o, &e);
    if (q->db == NULL && (e.code == ERR_INPUT || e.code == ERR_FOREIGN)) {
        *why = e;
        return false;
    }
    /* What writes says so itself: everything else cannot (the role's rights say the same). */
    if (q->db != NULL && (!database_run(q->db, "SET default_transaction_read_only = on", &e) || !query_load_fixed(q, &e)))
        close_database(q, e.text);
    if (q->db == NULL) {
        log_warning("store-away", "%s", e.text);
        close_database(q, e.text);
        return true;
    }
    log_info("store-open", "reading as coffre_exporter");
    return true;
}

/* Which overrides of revocation are in force. What the store cannot say stays as it is: identity itself ends each in its time. */
static void tell_identity(struct query *q)
{
    struct err e = {0};
    struct buf fresh;

    if (q->identity == NULL || q->db == NULL)
        return;
    buf_init(&fresh, OVERRIDES_BODY_MAX);
    if (!overrides_load(q->db, &fresh, &e)) {
        log_warning("store-away", "%s", e.text);
    } else if (!slice_equal(buf_slice(&fresh), buf_slice(&q->overrides))) {
        if (overrides_send(q->identity, &fresh, &e)) {
            buf_free(&q->overrides);
            q->overrides = fresh;
            return;
        }
        log_warning("channel-bad", "identity: %s", e.text);
        channel_free(q->identity);
        q->identity = NULL;
    }
    buf_free(&fresh);
}

static void tell_front(struct query *q)
{
    struct err e = {0};
    struct roster *roster = NULL;

    if (q->db != NULL) {
        roster = roster_load(q->db, &e);
        if (roster == NULL) {
            log_warning("store-away", "%s", e.text);
            close_database(q, e.text);
        }
    }
    role_ready(q->role, q->db != NULL, "%s", q->db != NULL ? "reading" : q->why);
    if (q->front != NULL && ((roster != NULL && !channel_send(q->front, ASK_ROSTER, roster_body(roster), &e)) ||
                             !ask_send_state(q->front, q->db != NULL, q->db != NULL ? "" : q->why, &e)))
        log_warning("channel-full", "%s", e.text);
    roster_free(roster);
    query_tell_health(q);
}

static void report(struct query *q)
{
    char text[512];

    snprintf(text, sizeof text,
             "coffre_exporter_questions_total %llu\ncoffre_exporter_content_bytes_total %llu\ncoffre_exporter_incidents_total %llu\n"
             "coffre_exporter_jobs %u\n",
             (unsigned long long)q->questions, (unsigned long long)q->sent_bytes, (unsigned long long)q->incidents,
             q->job_count);
    role_metrics(q->role, text);
}

/* Once a second. */
static bool tick(struct query *q, struct err *e)
{
    if (q->db != NULL && !database_alive(q->db))
        close_database(q, "the connection to PostgreSQL is lost");
    if (q->db == NULL && !open_database(q, e))
        return false;
    tell_front(q);
    tell_identity(q);
    report(q);
    return true;
}

/* ---- loop ------------------------------------------------------------------------------------------- */

/* One step for each job that can make one. True when there is more to do at once. */
static bool run_jobs(struct query *q)
{
    bool more = false;

    for (struct job *job = q->jobs; job != NULL; job = job->next)
        if (job_is_runnable(q, job)) {
            job_step(q, job);
            more = more || job_is_runnable(q, job);
        }
    for (struct job **at = &q->jobs; *at != NULL;) {
        struct job *job = *at;

        if (job->state != JOB_DONE) {
            at = &job->next;
            continue;
        }
        *at = job->next;
        job_free(job);
        q->job_count--;
    }
    return more;
}

static void wait_for_work(struct query *q, bool busy, uint64_t until)
{
    uint64_t now = query_now_ms();
    struct pollfd fds[3] = {{.fd = role_parent_fd(q->role), .events = POLLIN}, {.fd = -1}, {.fd = q->states == NULL ? -1 : channel_fd(q->states), .events = POLLIN}};

    if (q->front != NULL) {
        fds[1].fd = channel_fd(q->front);
        fds[1].events = (short)(POLLIN | (channel_queued(q->front) != 0 ? POLLOUT : 0));
    }
    poll(fds, 3, busy || until <= now ? 0 : (int)(until - now));
}

static void drain(void *ctx)
{
    struct query *q = ctx;

    q->draining = true;
}

static void reload(void *ctx, const struct settings *fresh)
{
    struct query *q = ctx;

    q->segment_bytes = fresh->exporter.segment_bytes;
}

static void free_query(struct query *q)
{
    drop_front(q);
    channel_free(q->identity);
    buf_free(&q->overrides);
    channel_free(q->states);
    buf_free(&q->metrics);
    json_decref(q->daemons);
    database_close(q->db);
    buf_free(&q->readme);
    buf_free(&q->genesis);
    for (unsigned i = 0; i < 3; i++)
        buf_free(&q->certificates[i]);
}

int query_run(struct role *role)
{
    static const struct role_events events = {.linked = linked, .drain = drain, .reload = reload};
    struct query q = {.role = role, .segment_bytes = role_settings(role)->exporter.segment_bytes,
                      .why = "PostgreSQL is not reached yet"};
    uint64_t next_tick = 0;
    struct err e = {0};
    int status = 0;

    buf_init(&q.metrics, STATES_METRICS_MAX);
    role_on(role, &events, &q);
    while (role_poll(role, 0) && !q.draining) {
        bool busy;

        if (query_now_ms() >= next_tick) {
            if (!tick(&q, &e)) {
                status = role_unfit(role, &e);
                break;
            }
            next_tick = query_now_ms() + QUERY_RETRY_MS;
        }
        query_take_states(&q);
        take_messages(&q);
        busy = run_jobs(&q);
        if (q.front != NULL && !channel_flush(q.front, &e))
            drop_front(&q);
        wait_for_work(&q, busy, next_tick);
    }
    free_query(&q);
    return status;
}
