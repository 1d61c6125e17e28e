/*
 * Role `journal`: siblings' records into the spool, the spool into RabbitMQ's exchange `journal.in`. What it is sent is a sibling's word: it is checked to be one record, of this daemon and of that role.
 * A record is taken when it is on disk, and leaves the disk when the broker has confirmed it without having returned it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/journal/journal_role_internal.h"
#include "common/values/log.h"

enum {
    TURN_MS = 500, SYNC_MS = 20 /* between two groups */, DISK_RETRY_MS = 1000, LEAVE_MS = 5000, MESSAGES_PER_TURN = 2048,
    REFUSED_MS = 10000,  /* between two records of what one writer's are refused for */
    REFUSED_MAX = 1000,  /* in a row: it is out of its mind */
    DEAF_MS = 10000,     /* without reading what it is told: until it does, losses cannot be told to all, and nothing new is kept after one */
};

/* ---- siblings ------------------------------------------------------------------------------- */

/* Records of a sibling that are none are themselves one, now and then. */
static void tell_refused(struct journal_role *j, struct journal_writer *w, bool last)
{
    int64_t now = journal_now_ms(CLOCK_MONOTONIC);
    char count[24], index[16];
    struct journal_field fields[4];

    if (w->refused == 0 || (!last && now < w->refused_at))
        return;
    snprintf(count, sizeof count, "%" PRIu64, w->refused);
    snprintf(index, sizeof index, "%u", w->index);
    fields[0] = (struct journal_field)JOURNAL_TEXT("role", w->kind);
    fields[1] = (struct journal_field)JOURNAL_TEXT("index", index);
    fields[2] = (struct journal_field)JOURNAL_TEXT("records", count);
    fields[3] = (struct journal_field)JOURNAL_TEXT("reason", w->why);
    journal_role_must_write(j, "record-refused", fields, 4);
    w->refused = 0;
    w->refused_at = now + REFUSED_MS;
}

static void cut(struct journal_role *j, struct journal_writer *w, const char *why)
{
    log_debug("journal-writer-gone", "%s %u: %s", w->kind, w->index, why);
    channel_free(w->channel);
    w->channel = NULL;
    tell_refused(j, w, true);
}

/*
 * What it says cannot be told apart any more: it begins anew with another channel, and sends what is not on disk once more. That this is not for ever and fast is the
 * parent's business.
 */
static void cut_off(struct journal_role *j, struct journal_writer *w, const char *why)
{
    log_error("channel-bad", "%s %u is cut off, and linked again: %s", w->kind, w->index, why);
    cut(j, w, why);
    role_relink(j->self, w->kind, w->index);
}

/* A channel ends with its writer, or because of what came through it. */
static void ended(struct journal_role *j, struct journal_writer *w, const char *why)
{
    struct pollfd p = {.fd = channel_fd(w->channel)};

    if (poll(&p, 1, 0) == 0)
        cut_off(j, w, why);
    else
        cut(j, w, why);
}

static void tell_state(struct journal_role *j, struct journal_writer *w)
{
    uint8_t bytes[300];
    struct buf b = {.data = bytes, .capacity = sizeof bytes, .max = sizeof bytes};
    struct wire_writer out = wire_write(&b);
    struct err e = {0};

    wire_put_u8(&out, j->up ? 1 : 0);
    wire_put_u8(&out, j->losses[w->rank].full ? 1 : 0);
    wire_put_text(&out, slice_text(j->up ? "" : j->why));
    if (w->channel != NULL && !(channel_send(w->channel, JOURNAL_STATE, buf_slice(&b), &e) && channel_flush(w->channel, &e)))
        cut(j, w, e.text);
}

void journal_role_set_up(struct journal_role *j, bool up, const char *why)
{
    if (j->up == up && (up || strcmp(j->why, why) == 0))
        return;
    j->up = up;
    snprintf(j->why, sizeof j->why, "%s", why);
    if (up)
        log_info("journal-broker-up", "RabbitMQ takes journal records, %" PRIu64 " wait", spool_records(j->spool));
    else
        log_warning("journal-broker-down", "journal records wait on disk: %s", why);
    for (unsigned i = 0; i < JOURNAL_WRITERS_MAX; i++)
        tell_state(j, &j->writers[i]);
}

/* One answer says "kept up to here, lost from here on": what is kept behind a lost one is told as lost, and may be written once more. */
static void keep_or_count(struct journal_role *j, struct journal_writer *w, struct slice record)
{
    bool kept = !journal_lost_any(j, w->rank) && spool_append(j->spool, record, w->rank);

    if (!kept)
        journal_lost_count(j, w->rank);
    if (!kept || w->lost > 0)
        w->lost++;
    w->records++;
    w->refused_in_a_row = 0;
    j->counts.records++;
}

/* A record that is none, or not its writer's, is not journaled, and nobody waits for it; the channel is as good as before. */
static bool refuse(struct journal_role *j, struct journal_writer *w, struct err *why, struct err *e)
{
    w->records++;
    w->lost++;
    w->refused_in_a_row++;
    if (w->refused++ == 0) /* since it was journaled last */
        log_error("journal-refused", "a record of %s %u is refused: %s", w->kind, w->index, why->text);
    snprintf(w->why, sizeof w->why, "%.255s", why->text);
    j->counts.refused++;
    if (w->refused_in_a_row >= REFUSED_MAX)
        return err_set(e, ERR_INPUT, "%d records in a row are none: %s", REFUSED_MAX, why->text);
    return true;
}

static bool take(struct journal_role *j, struct journal_writer *w, const struct channel_message *m, struct err *e)
{
    const struct record_origin expected = {j->origin.operator_id, j->origin.node, j->origin.daemon, w->kind, j->origin.vault};
    struct err why = {0};

    if (m->fd >= 0)
        close(m->fd);
    if (m->type != JOURNAL_RECORD || m->fd >= 0)
        return err_set(e, ERR_INPUT, "message %u makes no sense", m->type);
    if (!record_check(m->body, &expected, &why))
        return refuse(j, w, &why, e);
    keep_or_count(j, w, m->body);
    return true;
}

static void read_writer(struct journal_role *j, struct journal_writer *w)
{
    for (unsigned n = 0; n < MESSAGES_PER_TURN && w->channel != NULL; n++) {
        struct channel_message m;
        struct err e = {0};
        enum channel_result got;

        if (spool_is_crowded(j->spool)) {
            j->unread = true;
            return;
        }
        got = channel_receive(w->channel, &m, &e);
        if (got == CHANNEL_EMPTY)
            return;
        if (got == CHANNEL_CLOSED)
            ended(j, w, e.text);
        else if (!take(j, w, &m, &e))
            cut_off(j, w, e.text);
        else if (n + 1 == MESSAGES_PER_TURN)
            j->unread = true;
    }
}

static bool is_named(const struct journal_writer *w, const char *kind, unsigned index)
{
    return w->index == index && strcmp(w->kind, kind) == 0;
}

/* One that has ended is read to its end; one that lives has no use for a channel but its last, and others need the place. */
static void replace(struct journal_role *j, struct journal_writer *w)
{
    struct pollfd p = {.fd = channel_fd(w->channel)};

    if (poll(&p, 1, 0) != 0)
        return;
    read_writer(j, w);
    if (w->channel != NULL)
        cut(j, w, "it has another channel now");
}

static void linked(void *ctx, const char *kind, unsigned index, struct channel *c)
{
    struct journal_role *j = ctx;
    struct journal_writer *place = NULL;

    for (unsigned i = 0; i < JOURNAL_WRITERS_MAX; i++) {
        struct journal_writer *w = &j->writers[i];

        if (w->channel != NULL && is_named(w, kind, index))
            replace(j, w);
        if (w->channel == NULL && (place == NULL || is_named(w, kind, index)))
            place = w;
    }
    if (place == NULL) {
        log_error("journal-writers", "no place for %s %u", kind, index);
        channel_free(c);
        return;
    }
    channel_limit(c, JOURNAL_MESSAGE_MAX);
    *place = (struct journal_writer){.channel = c, .index = index, .rank = journal_rank_of(kind)};
    snprintf(place->kind, sizeof place->kind, "%s", kind);
    tell_state(j, place);
}

/* What became of its records; nothing more than that is owed to it when it does not listen. */
static void tell_taken(struct journal_role *j, struct journal_writer *w)
{
    uint8_t bytes[16];
    struct buf b = {.data = bytes, .capacity = sizeof bytes, .max = sizeof bytes};
    struct wire_writer out = wire_write(&b);
    struct err e = {0};

    wire_put_u64(&out, w->records);
    wire_put_u64(&out, w->lost);
    if (w->channel != NULL && w->told != w->records && !channel_send(w->channel, JOURNAL_TAKEN, buf_slice(&b), &e))
        cut(j, w, e.text);
    else if (w->channel != NULL && channel_queued(w->channel) != 0 && !channel_flush(w->channel, &e))
        cut(j, w, e.text);
    w->told = w->records;
    w->lost = 0;
}

/* One that goes on writing and never reads would hold up all others. */
static void watch_deaf(struct journal_role *j, struct journal_writer *w)
{
    int64_t now = journal_now_ms(CLOCK_MONOTONIC);

    if (w->channel == NULL || channel_queued(w->channel) == 0)
        w->deaf_since = 0;
    else if (w->deaf_since == 0)
        w->deaf_since = now;
    else if (now - w->deaf_since > DEAF_MS)
        cut_off(j, w, "it does not read what it is told");
}

/* ---- disk ------------------------------------------------------------------------------------ */

bool journal_role_write(struct journal_role *j, const char *event, const struct journal_field *fields, unsigned count)
{
    struct buf record;
    bool ok;

    buf_init(&record, JOURNAL_RECORD_MAX);
    ok = record_write(&record, &j->origin, journal_now_ms(CLOCK_REALTIME), event, fields, count, NULL) &&
         spool_append(j->spool, buf_slice(&record), JOURNAL_OTHERS);
    buf_free(&record);
    return ok;
}

void journal_role_must_write(struct journal_role *j, const char *event, const struct journal_field *fields, unsigned count)
{
    if (journal_lost_any(j, JOURNAL_OTHERS) || !journal_role_write(j, event, fields, count))
        journal_lost_count(j, JOURNAL_OTHERS);
}

/* Whether some writer has not been told what became of its records. */
static bool owes_word(const struct journal_role *j)
{
    for (unsigned i = 0; i < JOURNAL_WRITERS_MAX; i++)
        if (j->writers[i].channel != NULL && j->writers[i].told != j->writers[i].records)
            return true;
    return false;
}

/* Whether what some writer has been told waits here, and not in its socket. */
static bool owes_bytes(const struct journal_role *j)
{
    for (unsigned i = 0; i < JOURNAL_WRITERS_MAX; i++)
        if (j->writers[i].channel != NULL && channel_queued(j->writers[i].channel) != 0)
            return true;
    return false;
}

static void tell_full(struct journal_role *j, enum journal_rank rank)
{
    if (j->losses[rank].full == journal_lost_any(j, rank))
        return;
    j->losses[rank].full = !j->losses[rank].full;
    for (unsigned i = 0; i < JOURNAL_WRITERS_MAX; i++)
        if (j->writers[i].rank == rank)
            tell_state(j, &j->writers[i]);
}

/* In this order: the count is on disk before anybody forgets a record for it, and an episode is over when all know. */
static void tell_all(struct journal_role *j)
{
    journal_lost_keep(j);
    for (unsigned i = 0; i < JOURNAL_WRITERS_MAX; i++) {
        tell_taken(j, &j->writers[i]);
        watch_deaf(j, &j->writers[i]);
    }
    if (owes_word(j) || owes_bytes(j))
        return;
    journal_lost_told(j);
    journal_lost_own_up(j);
    for (unsigned n = 0; n < JOURNAL_RANKS; n++)
        tell_full(j, n);
}

static bool loses(const struct journal_role *j)
{
    return journal_lost_any(j, JOURNAL_FRONTS) || journal_lost_any(j, JOURNAL_IDENTITY) || journal_lost_any(j, JOURNAL_OTHERS);
}

/* One fdatasync for all that came since the last one; in a burst, one every SYNC_MS. */
static void sync_spool(struct journal_role *j, bool now)
{
    struct err e = {0};

    if ((!now && journal_now_ms(CLOCK_MONOTONIC) < j->sync_at) || (j->disk_failed && journal_now_ms(CLOCK_MONOTONIC) < j->disk_at))
        return;
    if (spool_unsynced(j->spool) > 0) {
        bool ok = spool_sync(j->spool, &e);

        j->sync_at = journal_now_ms(CLOCK_MONOTONIC) + SYNC_MS;
        j->disk_at = journal_now_ms(CLOCK_MONOTONIC) + DISK_RETRY_MS;
        if (!ok && !j->disk_failed)
            log_error("journal-disk", "records wait in their roles: %s", e.text);
        if (ok && j->disk_failed)
            log_info("journal-disk", "the disk takes records again");
        j->disk_failed = !ok;
        if (!ok)
            return;
    } else if (loses(j)) {
        j->sync_at = journal_now_ms(CLOCK_MONOTONIC) + SYNC_MS;
    }
    tell_all(j);
}

static void report(struct journal_role *j)
{
    char text[1024], oldest[64];
    int64_t at, age, now = journal_now_ms(CLOCK_REALTIME);
    uint64_t bytes = spool_bytes(j->spool), most = role_settings(j->self)->journal.spool_bytes;

    if (journal_now_ms(CLOCK_MONOTONIC) < j->report_at)
        return;
    j->report_at = journal_now_ms(CLOCK_MONOTONIC) + 1000;
    at = record_time(slice_of(oldest, spool_oldest(j->spool, oldest, sizeof oldest)));
    age = at == 0 || at > now ? 0 : (now - at) / 1000;
    if (j->disk_failed)
        role_ready(j->self, false, "the disk refuses journal records");
    else
        role_ready(j->self, bytes < most / 10 * 9, "%" PRIu64 " records wait, the oldest %" PRId64 " s%s%s", spool_records(j->spool), age, j->up ? "" : ": ", j->up ? "" : j->why);
    snprintf(text, sizeof text,
             "coffre_journal_records_total %" PRIu64 "\ncoffre_journal_lost_total %" PRIu64 "\ncoffre_journal_refused_total %" PRIu64 "\ncoffre_journal_published_total %" PRIu64
             "\ncoffre_journal_confirmed_total %" PRIu64 "\ncoffre_journal_waiting_records %" PRIu64 "\ncoffre_journal_spool_bytes %" PRIu64
             "\ncoffre_journal_oldest_seconds %" PRId64 "\ncoffre_journal_broker_up %d\n",
             j->counts.records, j->counts.lost, j->counts.refused, j->counts.published, j->counts.confirmed, spool_records(j->spool), bytes, age, j->up);
    role_metrics(j->self, text);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void drain(void *ctx)
{
    struct journal_role *j = ctx;

    j->draining = true;
    j->leave_at = journal_now_ms(CLOCK_MONOTONIC) + LEAVE_MS;
}

static void reload(void *ctx, const struct settings *fresh)
{
    spool_limit(((struct journal_role *)ctx)->spool, fresh->journal.spool_bytes);
}

/* Nobody else is sure to be there to write it: the role that cannot begin may be any. */
static void unfit(void *ctx, const char *kind, unsigned index, const char *why)
{
    char *process = mem_printf("%s %u", kind, index);
    const struct journal_field fields[] = {JOURNAL_TEXT("process", process), JOURNAL_TEXT("reason", why == NULL ? "" : why)};

    journal_role_must_write(ctx, why == NULL ? "process-fit" : "process-unfit", fields, why == NULL ? 1 : 2);
    free(process);
}

/* Crashes and kills by the sandbox: who has ended cannot say so itself. */
static void role_ended(void *ctx, const char *kind, unsigned index, const char *how)
{
    char *process = mem_printf("%s %u", kind, index);
    const struct journal_field fields[] = {JOURNAL_TEXT("process", process), JOURNAL_TEXT("reason", how)};

    journal_role_must_write(ctx, "process-ended", fields, 2);
    free(process);
}

static void wait_for_work(struct journal_role *j)
{
    struct pollfd fds[JOURNAL_WRITERS_MAX + 2];
    int64_t now = journal_now_ms(CLOCK_MONOTONIC), timeout = j->draining ? SYNC_MS : TURN_MS;
    nfds_t n = 0;

    fds[n++] = (struct pollfd){.fd = role_parent_fd(j->self), .events = POLLIN};
    if (j->broker != NULL)
        fds[n++] = (struct pollfd){.fd = broker_fd(j->broker), .events = POLLIN};
    /* A disk that refuses: siblings keep what they have. */
    for (unsigned i = 0; i < JOURNAL_WRITERS_MAX && !j->disk_failed; i++)
        if (j->writers[i].channel != NULL)
            fds[n++] = (struct pollfd){.fd = channel_fd(j->writers[i].channel),
                                       .events = (short)(POLLIN | (channel_queued(j->writers[i].channel) != 0 && now >= j->sync_at ? POLLOUT : 0))};
    if ((spool_unsynced(j->spool) > 0 || owes_word(j) || (owes_bytes(j) && now < j->sync_at)) && !j->disk_failed)
        timeout = j->sync_at > now ? j->sync_at - now : 0;
    else if (journal_lost_due(j))
        timeout = SYNC_MS;
    if (j->unread || (j->broker != NULL && broker_unread(j->broker)))
        timeout = 0;
    poll(fds, n, (int)timeout);
}

static bool all_said(const struct journal_role *j)
{
    for (unsigned i = 0; i < JOURNAL_WRITERS_MAX; i++)
        if (j->writers[i].channel != NULL)
            return false;
    return true;
}

/* True when this role may leave: everybody has ended, the last record is on disk, and RabbitMQ has all or is not to be had. */
static bool finished(struct journal_role *j)
{
    bool late = journal_now_ms(CLOCK_MONOTONIC) > j->leave_at;

    if (!all_said(j) && !late)
        return false;
    if (!j->stop_written) {
        j->stop_written = true;
        journal_role_stopped(j);
        sync_spool(j, true);
    }
    return late || j->broker == NULL || !j->up || spool_records(j->spool) == 0;
}

/* Each turn begins with another: one that writes as fast as it is read would leave nothing of what there is room for in a turn to those behind it. */
static void read_all(struct journal_role *j)
{
    for (unsigned i = 0; i < JOURNAL_WRITERS_MAX && !j->disk_failed; i++) {
        struct journal_writer *w = &j->writers[(j->first + i) % JOURNAL_WRITERS_MAX];

        read_writer(j, w);
        tell_refused(j, w, false);
    }
    /* The next that is there: after places that are free the same would be the first again and again. */
    for (unsigned i = 0; i < JOURNAL_WRITERS_MAX; i++) {
        j->first = (j->first + 1) % JOURNAL_WRITERS_MAX;
        if (j->writers[j->first].channel != NULL)
            break;
    }
}

static void loop(struct journal_role *j)
{
    while (role_poll(j->self, 0)) {
        j->unread = false;
        read_all(j);
        sync_spool(j, j->draining || spool_is_crowded(j->spool));
        journal_role_broker(j);
        if (j->draining && finished(j))
            return;
        report(j);
        wait_for_work(j);
    }
}

void journal_role_confine(const struct settings *s, const char *daemon, const struct journal_duty *duty, struct sandbox *box)
{
    char *folder = mem_printf("journal-%s", daemon);

    sandbox_use_broker(box, s, duty->certificate(s), duty->key(s));
    sandbox_write_below(box, s->state_dir, folder);
    free(folder);
}

int journal_role_run(struct role *self, const struct journal_duty *duty)
{
    static const struct role_events events = {.linked = linked, .drain = drain, .reload = reload, .unfit = unfit, .ended = role_ended};
    static struct journal_role j;
    const struct settings *s = role_settings(self);
    struct err e = {0};

    j = (struct journal_role){.self = self, .duty = duty, .why = "RabbitMQ is not reached yet",
                              .origin = {s->vault.operator_id, role_node_name(self), role_daemon_name(self), role_kind_name(self), s->vault.number}};
    for (unsigned n = 0; n < JOURNAL_RANKS; n++)
        j.losses[n].tally.fd = -1;
    j.folder = mem_printf("%s/journal-%s", s->state_dir, role_daemon_name(self));
    buf_init(&j.lines, JOURNAL_BATCH_BYTES + JOURNAL_RECORD_MAX);
    if (journal_role_begin(&j, &e)) {
        role_on(self, &events, &j);
        loop(&j);
        broker_close(j.broker);
    } else {
        log_error("journal-spool", "%s", e.text);
        role_ready(self, false, "%s", e.text);
    }
    spool_close(j.spool);
    journal_lost_close(&j);
    free(j.folder);
    buf_free(&j.lines);
    return j.draining ? 0 : 1;
}
