/* A role's line to the journal role: what it writes is kept here until it is on disk there. See journal.h. */
#include "common/journal/journal.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "common/formats/date.h"
#include "common/journal/record.h"
#include "common/values/log.h"
#include "common/values/wire.h"

enum {
    LENGTH_SIZE = 4,         /* before each record in `held` */
    AHEAD_MAX = 256 * 1024,  /* bytes in the channel, beside what the kernel has taken */
    LEAVE_MS = 5000,
    STATE_MAX = 1024,        /* bytes of what the journal role says */
};

struct journal {
    struct role *role;
    struct record_origin origin;
    struct channel *channel; /* NULL: away */
    struct buf held;         /* u32 length and record, each; those the journal role has not taken yet */
    size_t sent;             /* bytes of `held` handed to the channel */
    uint64_t taken;          /* records of this channel */
    uint64_t next;           /* number of the record to be kept next */
    uint64_t waiting;        /* records in `held` */
    uint64_t safe;           /* the first number that is not on disk, or may not be, since journal_watch(); UINT64_MAX: none was lost */
    uint64_t lost;           /* found no place here since the last "journal-overflow" */
    int64_t lost_since;      /* ms since 1970: the first of them */
    bool up, full, heard;
    char why[256];
};

static int64_t now_ms(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* A journal role that is there and is not understood is asked for another channel; one that has ended gives one when it is back. */
static void away(struct journal *j, const char *why)
{
    struct pollfd p = {.fd = channel_fd(j->channel)};
    bool there = poll(&p, 1, 0) == 0;

    log_warning("journal-away", "%" PRIu64 " bytes of records wait: %s", (uint64_t)j->held.len, why);
    if (there)
        role_relink(j->role, "journal", 0);
    channel_free(j->channel);
    j->channel = NULL;
    j->sent = 0;
    j->heard = false;
}

/* ---- records ------------------------------------------------------------------------------ */

static uint32_t length_at(const struct journal *j, size_t at)
{
    struct wire_reader r = wire_read(slice_of(buf_slice(&j->held).at + at, LENGTH_SIZE));

    return wire_get_u32(&r);
}

/* Hands records on as far as the channel should hold any; the rest follows what it says it has taken. */
static void push(struct journal *j)
{
    struct err e = {0};

    while (j->channel != NULL && j->sent < j->held.len && channel_queued(j->channel) < AHEAD_MAX) {
        uint32_t len = length_at(j, j->sent);

        if (!channel_send(j->channel, JOURNAL_RECORD, slice_of(buf_slice(&j->held).at + j->sent + LENGTH_SIZE, len), &e))
            return;
        j->sent += LENGTH_SIZE + len;
        if (channel_queued(j->channel) >= AHEAD_MAX && !channel_flush(j->channel, &e))
            away(j, e.text);
    }
    if (j->channel != NULL && channel_queued(j->channel) != 0 && !channel_flush(j->channel, &e))
        away(j, e.text);
}

static bool keep(struct journal *j, const char *event, const struct journal_field *fields, unsigned count)
{
    struct buf record;
    struct wire_writer w;
    bool ok;

    buf_init(&record, JOURNAL_RECORD_MAX);
    ok = record_write(&record, &j->origin, now_ms(CLOCK_REALTIME), event, fields, count, NULL) &&
         j->held.len + LENGTH_SIZE + record.len <= j->held.max;
    if (ok) {
        w = wire_write(&j->held);
        wire_put_bytes(&w, buf_slice(&record));
        j->next++;
        j->waiting++;
    }
    buf_free(&record);
    return ok;
}

/* What could not be kept is said once there is room again. */
static void own_up(struct journal *j)
{
    char count[24], since[DATE_LEN + 1];
    struct journal_field fields[2];

    if (j->lost == 0 || j->held.len > j->held.max / 2)
        return;
    snprintf(count, sizeof count, "%" PRIu64, j->lost);
    date_write(since, j->lost_since);
    fields[0] = (struct journal_field)JOURNAL_TEXT("records", count);
    fields[1] = (struct journal_field)JOURNAL_TEXT("since", since);
    if (keep(j, "journal-overflow", fields, 2))
        j->lost = 0;
}

static void lose(struct journal *j, uint64_t number)
{
    if (number < j->safe)
        j->safe = number;
}

uint64_t journal_write(struct journal *j, const char *event, const struct journal_field *fields, unsigned count)
{
    uint64_t number;

    own_up(j);
    number = j->next;
    if (!keep(j, event, fields, count)) {
        lose(j, number);
        if (j->lost++ == 0) {
            j->lost_since = now_ms(CLOCK_REALTIME);
            log_error("journal-overflow", "journal records are lost: %zu bytes wait already", j->held.len);
        }
    }
    /* A writer in a burst does not come to its loop: what is taken meanwhile makes room. */
    if (j->held.len > AHEAD_MAX)
        journal_serve(j);
    else
        push(j);
    return number;
}

/* ---- what the journal role says ------------------------------------------------------------ */

static bool take_taken(struct journal *j, struct slice body, struct err *e)
{
    struct wire_reader r = wire_read(body);
    uint64_t taken = wire_get_u64(&r), lost = wire_get_u64(&r), before = j->taken;

    if (!wire_end(&r, "journal: taken", e))
        return false;
    if (taken < before || lost > taken - before)
        return err_set(e, ERR_INPUT, "journal: what is taken makes no sense");
    for (; j->taken < taken; j->taken++) {
        size_t whole;

        if (j->sent == 0)
            return err_set(e, ERR_INPUT, "journal: more records taken than sent");
        if (taken - j->taken <= lost)
            lose(j, j->next - j->waiting);
        whole = LENGTH_SIZE + (size_t)length_at(j, 0);
        buf_consume(&j->held, whole);
        j->sent -= whole;
        j->waiting--;
    }
    if (j->held.len == 0 && j->held.capacity > AHEAD_MAX)
        buf_free(&j->held); /* what a burst has left */
    own_up(j);
    return true;
}

static bool take_state(struct journal *j, struct slice body, struct err *e)
{
    struct wire_reader r = wire_read(body);
    uint8_t up = wire_get_u8(&r), full = wire_get_u8(&r);
    struct slice why = wire_get_text(&r);

    if (!wire_end(&r, "journal: state", e))
        return false;
    j->up = up == 1;
    j->full = full == 1;
    j->heard = true;
    snprintf(j->why, sizeof j->why, "%.*s", (int)(why.len < sizeof j->why ? why.len : sizeof j->why - 1), (const char *)why.at);
    return true;
}

static bool take(struct journal *j, const struct channel_message *m, struct err *e)
{
    if (m->fd >= 0)
        close(m->fd);
    switch (m->type) {
    case JOURNAL_STATE:
        return take_state(j, m->body, e);
    case JOURNAL_TAKEN:
        return take_taken(j, m->body, e);
    default:
        return err_set(e, ERR_INPUT, "journal: message %u makes no sense", m->type);
    }
}

void journal_watch(struct journal *j)
{
    j->safe = UINT64_MAX;
}

bool journal_settled(const struct journal *j, uint64_t *safe)
{
    *safe = j->safe;
    return j->held.len == 0;
}

/* Reads what there is; false when the channel is of no use any more. */
static bool hear(struct journal *j, struct err *e)
{
    struct channel_message m;
    enum channel_result r;

    while ((r = channel_receive(j->channel, &m, e)) == CHANNEL_MESSAGE)
        if (!take(j, &m, e))
            return false;
    return r == CHANNEL_EMPTY;
}

void journal_serve(struct journal *j)
{
    struct err e = {0};

    if (j->channel != NULL && !hear(j, &e))
        away(j, e.text);
    push(j);
}

/* ---- life ---------------------------------------------------------------------------------- */

struct journal *journal_open(struct role *self)
{
    const struct settings *s = role_settings(self);
    struct journal *j = mem_zalloc(1, sizeof *j);

    j->origin = (struct record_origin){s->vault.operator_id, role_node_name(self), role_daemon_name(self), role_kind_name(self), s->vault.number};
    j->role = self;
    j->safe = UINT64_MAX;
    buf_init(&j->held, JOURNAL_HELD_MAX);
    return j;
}

void journal_free(struct journal *j)
{
    int64_t end = now_ms(CLOCK_MONOTONIC) + LEAVE_MS;

    if (j == NULL)
        return;
    journal_serve(j);
    while (j->channel != NULL && j->held.len != 0 && now_ms(CLOCK_MONOTONIC) < end) {
        struct pollfd p = {.fd = channel_fd(j->channel), .events = (short)(POLLIN | (channel_queued(j->channel) != 0 ? POLLOUT : 0))};

        poll(&p, 1, 100);
        journal_serve(j);
    }
    if (j->held.len != 0)
        log_error("journal-lost", "%zu bytes of journal records were not taken", j->held.len);
    channel_free(j->channel);
    buf_free(&j->held);
    free(j);
}

void journal_link(struct journal *j, struct channel *c)
{
    /* What the earlier one still said is not asked for again. */
    if (j->channel != NULL)
        (void)!hear(j, NULL);
    channel_free(j->channel);
    j->channel = c;
    j->sent = 0;
    j->taken = 0;
    j->heard = false;
    channel_limit(c, STATE_MAX);
    push(j);
}

int journal_fd(const struct journal *j)
{
    return j->channel == NULL ? -1 : channel_fd(j->channel);
}

bool journal_full(const struct journal *j)
{
    return j->full;
}

const char *journal_trouble(const struct journal *j)
{
    if (j->channel == NULL)
        return "the journal role is away";
    if (!j->heard)
        return "the journal role has not said anything yet";
    return j->up ? NULL : j->why;
}
