/* What the sealer says of its HSM and clock (table health), for front's /readyz: see query.h. */
#include "common/values/health.h"
#include "common/values/log.h"
#include "common/values/wire.h"
#include "exporter/query.h"

enum { OLD_S = 30 };

/* Text of a row as far as it fits; rows are the sealer's. */
static void take_text(char *to, size_t size, struct slice text)
{
    snprintf(to, size, "%.*s", (int)(text.len < size ? text.len : size - 1), text.len == 0 ? "" : (const char *)text.at);
}

static void take_row(struct health *h, const PGresult *r, int row)
{
    char name[HEALTH_NAME_MAX], note[HEALTH_NOTE_MAX];
    int64_t age = database_get_i64(r, row, 3);

    take_text(name, sizeof name, database_get_slice(r, row, 0));
    take_text(note, sizeof note, database_get_slice(r, row, 2));
    if (age <= OLD_S) {
        health_set(h, name, database_get_bool(r, row, 1), note);
        return;
    }
    snprintf(note, sizeof note, "the active sealer has said nothing for %lld s", (long long)age);
    health_set(h, name, false, note);
}

static void send_health(struct query *q, const struct health *h)
{
    struct err e = {0};
    struct wire_writer w;
    struct buf body;

    buf_init(&body, 16 * 1024);
    w = wire_write(&body);
    health_put(&w, h);
    if (!wire_ok(&w, "health", &e) || !channel_send(q->front, ASK_HEALTH, buf_slice(&body), &e))
        log_warning("channel-full", "%s", e.text);
    buf_free(&body);
}

void query_tell_health(struct query *q)
{
    struct health h = {0};
    struct err e = {0};
    PGresult *r;

    if (q->db == NULL || q->front == NULL)
        return;
    health_set(&h, "hsm", false, "no sealer has said anything yet");
    health_set(&h, "clock", false, "no sealer has said anything yet");
    r = database_query(q->db,
                       "SELECT item, ok, note, extract(epoch FROM clock_timestamp() - at)::int8 FROM health "
                       "WHERE daemon = 'coffre-sealer' AND item IN ('hsm', 'clock')",
                       NULL, 0, &e);
    if (r == NULL) {
        log_warning("health-unread", "%s", e.text);
        return;
    }
    for (int row = 0; row < PQntuples(r); row++)
        take_row(&h, r, row);
    PQclear(r);
    send_health(q, &h);
}
