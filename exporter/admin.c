/*
 * Role admin of coffre-exporter: its loop, its database connection, its messages. See admin.h. libpq blocks; every statement is
 * bounded by a time-out, and only functional administrators wait here.
 */
#include "exporter/admin.h"

#include <poll.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "common/values/log.h"
#include "exporter/roles.h"

enum { STATEMENT_MS = 10000, TICK_MS = 1000 };

static uint64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- answers ---------------------------------------------------------------------------------------- */

void admin_reply(struct admin *a, uint32_t request, unsigned status, const char *location, json_t *body)
{
    char *text = body == NULL ? NULL : json_dumps(body, JSON_COMPACT | JSON_ENSURE_ASCII);
    char *line = mem_printf("%s\n", text == NULL ? "{}" : text);
    struct ask_answer answer = {.request = request, .status = (uint16_t)status, .type = "application/json"};
    struct err e = {0};

    if (text == NULL || strlen(line) > ASK_SHORT_MAX) {
        free(line);
        line = mem_strdup("{\"status\":500,\"code\":\"too-long\",\"reason\":\"the answer does not fit; ask for less\"}\n");
        answer.status = 500;
    }
    answer.content = slice_text(line);
    answer.length = answer.content.len;
    if (location != NULL)
        snprintf(answer.location, sizeof answer.location, "%s", location);
    if (a->front != NULL && !ask_send_answer(a->front, &answer, &e)) {
        log_error("channel-full", "%s", e.text);
        channel_free(a->front);
        a->front = NULL;
    }
    free(line);
    free(text);
    json_decref(body);
}

void admin_refuse(struct admin *a, uint32_t request, unsigned status, const char *code, const char *fmt, ...)
{
    char reason[ERR_TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(reason, sizeof reason, fmt, ap);
    va_end(ap);
    admin_reply(a, request, status, NULL, json_pack("{s:i, s:s, s:s}", "status", (int)status, "code", code, "reason", reason));
}

void admin_fail(struct admin *a, uint32_t request, const struct err *e)
{
    log_warning("store-refused", "%s", e->text);
    if (e->code == ERR_RETRY)
        admin_refuse(a, request, 503, "store-away", "PostgreSQL did not answer; ask again, and look whether it was done");
    else if (e->code == ERR_INPUT)
        admin_refuse(a, request, 400, "value", "the store does not take these values");
    else
        admin_refuse(a, request, 500, "incident", "the store cannot answer this; the operator's log says why");
}

/* ---- front ------------------------------------------------------------------------------------------ */

static void answer(struct admin *a, const struct ask_question *ask)
{
    enum api_resource resource = ask->call.resource;

    a->questions++;
    if (a->db == NULL)
        admin_refuse(a, ask->request, 503, "store-away", "%s", a->why);
    else if (resource == API_ROLES)
        admin_list_roles(a, ask);
    else if (resource == API_BIND)
        admin_bind(a, ask);
    else if (resource == API_REVOKE)
        admin_revoke(a, ask);
    else if (resource == API_CHANGES)
        admin_list_changes(a, ask);
    else if (resource == API_CHANGE)
        admin_show_change(a, ask->request, (int64_t)ask->call.a, 200);
    else if (resource == API_APPROVE || resource == API_REFUSE)
        admin_decide(a, ask);
    else
        admin_refuse(a, ask->request, 404, "not-found", "not answered here");
}

static bool take_message(struct admin *a, const struct channel_message *m, struct err *e)
{
    struct ask_question ask;
    uint32_t request, number;

    if (m->fd >= 0) {
        close(m->fd);
        return err_set(e, ERR_INPUT, "a descriptor");
    }
    if (m->type == ASK_DROP) /* answers are sent whole: nothing is left to drop */
        return ask_read_number(m->body, &request, &number, e);
    if (m->type != ASK_QUESTION)
        return err_set(e, ERR_INPUT, "message %u", m->type);
    if (!ask_read_question(m->body, &ask, e))
        return false;
    answer(a, &ask);
    return true;
}

static void take_messages(struct admin *a)
{
    for (int turn = 0; turn < 16 && a->front != NULL; turn++) {
        struct channel_message m;
        struct err e = {0};
        enum channel_result r = channel_receive(a->front, &m, &e);

        if (r == CHANNEL_EMPTY)
            return;
        if (r == CHANNEL_CLOSED || !take_message(a, &m, &e)) {
            log_warning("front-lost", "%s", e.text);
            channel_free(a->front);
            a->front = NULL;
        }
    }
}

static void linked(void *ctx, const char *kind, unsigned index, struct channel *c)
{
    struct admin *a = ctx;

    (void)index;
    if (strcmp(kind, "journal") == 0) {
        journal_link(a->journal, c);
        return;
    }
    if (strcmp(kind, "front") != 0) {
        channel_free(c);
        return;
    }
    channel_free(a->front);
    a->front = c;
}

/* ---- database --------------------------------------------------------------------------------------- */

static void close_database(struct admin *a, const char *why)
{
    database_close(a->db);
    a->db = NULL;
    admin_forget_outbox(a);
    snprintf(a->why, sizeof a->why, "%.*s", ASK_TEXT_MAX - 1, why);
    for (char *c = a->why; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20)
            *c = ' ';
}

/* False: this database is another vault's, or not one to work with. */
static bool open_database(struct admin *a, struct err *why)
{
    const struct settings *s = role_settings(a->role);
    struct database_options o = {s, s->exporter.postgresql, "coffre_admin", STATEMENT_MS};
    struct err e = {0};

    a->db = database_open(&o, &e);
    if (a->db == NULL && (e.code == ERR_INPUT || e.code == ERR_FOREIGN)) {
        *why = e;
        return false;
    }
    if (a->db == NULL) {
        log_warning("store-away", "%s", e.text);
        close_database(a, e.text);
        return true;
    }
    log_info("store-open", "changing role bindings as coffre_admin");
    a->told = false;
    return true;
}

/* What the configuration asks for is remembered before anybody can ask for less: see schema.sql, role_require(). */
static void tell_quorum(struct admin *a)
{
    const struct database_value v[] = {database_i32((int32_t)a->quorum), database_text(role_node_name(a->role))};
    struct err e = {0};
    PGresult *r;
    int64_t needed;

    if (a->told)
        return;
    r = database_query(a->db, "SELECT role_require($1, $2)", v, 2, &e);
    if (r == NULL) {
        log_warning("quorum-untold", "the store has not taken roles.quorum: %s", e.text);
        return;
    }
    needed = database_get_i64(r, 0, 0);
    PQclear(r);
    a->told = true;
    if (needed > (int64_t)a->quorum)
        log_warning("quorum", "changes of role bindings need %lld people, as the store remembers: roles.quorum %u is not enough to need fewer, see coffre-ceremony quorum",
                    (long long)needed, a->quorum);
}

/* Once a second. */
static bool tick(struct admin *a, struct err *why)
{
    struct err e = {0};
    char text[256];

    if (a->db != NULL && !database_alive(a->db))
        close_database(a, "the connection to PostgreSQL is lost");
    if (a->db == NULL && !open_database(a, why))
        return false;
    if (a->db != NULL)
        tell_quorum(a);
    if (a->db != NULL)
        admin_journal(a);
    role_ready(a->role, a->db != NULL, "%s", a->db == NULL ? a->why : a->leads ? "administering, journaling" : "administering");
    if (a->front != NULL && !ask_send_state(a->front, a->db != NULL, a->db != NULL ? "" : a->why, &e))
        log_warning("channel-full", "%s", e.text);
    snprintf(text, sizeof text,
             "coffre_admin_questions_total %llu\ncoffre_admin_changes_total %llu\ncoffre_admin_records_total %llu\n",
             (unsigned long long)a->questions, (unsigned long long)a->changes, (unsigned long long)a->records);
    role_metrics(a->role, text);
    return true;
}

/* ---- loop ------------------------------------------------------------------------------------------- */

static void wait_for_work(struct admin *a, uint64_t until)
{
    uint64_t now = now_ms();
    struct pollfd fds[3] = {{.fd = role_parent_fd(a->role), .events = POLLIN}, {.fd = -1}, {.fd = journal_fd(a->journal), .events = POLLIN}};

    if (a->front != NULL)
        fds[1] = (struct pollfd){.fd = channel_fd(a->front), .events = (short)(POLLIN | (channel_queued(a->front) != 0 ? POLLOUT : 0))};
    poll(fds, 3, until <= now ? 0 : (int)(until - now));
}

static void drain(void *ctx)
{
    ((struct admin *)ctx)->draining = true;
}

static void reload(void *ctx, const struct settings *fresh)
{
    struct admin *a = ctx;

    a->quorum = (unsigned)fresh->roles.quorum;
    a->told = false;
}

static int serve(struct admin *a)
{
    uint64_t next_tick = 0;
    struct err e = {0};

    while (role_poll(a->role, 0) && !a->draining) {
        if (now_ms() >= next_tick) {
            if (!tick(a, &e))
                return role_unfit(a->role, &e);
            next_tick = now_ms() + TICK_MS;
        }
        take_messages(a);
        journal_serve(a->journal);
        if (a->front != NULL && !channel_flush(a->front, &e)) {
            channel_free(a->front);
            a->front = NULL;
        }
        wait_for_work(a, next_tick);
    }
    return 0;
}

int admin_run(struct role *role)
{
    static const struct role_events events = {.linked = linked, .drain = drain, .reload = reload};
    struct admin a = {.role = role, .quorum = (unsigned)role_settings(role)->roles.quorum, .why = "PostgreSQL is not reached yet"};
    int status;

    a.journal = journal_open(role);
    role_on(role, &events, &a);
    status = serve(&a);
    channel_free(a.front);
    journal_free(a.journal);
    database_close(a.db);
    return status;
}
