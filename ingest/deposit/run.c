/* Depositing files: see run.h. One thread, one connection, one loop. */
#include "ingest/deposit/run_internal.h"

#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    TURN_MS = 100,
    OUT_MAX = 8 << 20,
    ANSWER_BODY_MAX = 256 << 10,
    ACKS_MAX = 8 << 20,
    BACKOFF_FIRST_MS = 200,
    BACKOFF_MAX_MS = 5000,
    FIRST_TRY_MS = 10000, /* for a first attempt that has not failed yet, whatever --retry says */
    LAST_WORDS_MS = 10000, /* after an interruption: for the receipts of what is on its way */
    REFUSALS_MAX = 4,      /* sessions in a row ended by the vault before any receipt */
};

static bool open_all(struct run *r, const struct options *o, SSL_CTX *tls, struct err *e)
{
    r->options = o;
    r->source.fd = r->link.fd = r->journal.fd = -1;
    r->target = (struct link_target){.host = o->host, .port = o->port, .tls = tls, .virtual_host = o->virtual_host,
                                     .heart_beat = o->heart_beat, .out_max = OUT_MAX + o->event_max,
                                     .body_max = ANSWER_BODY_MAX};
    report_open(&r->report, o);
    buf_init(&r->adapted, o->event_max + 4096);
    buf_init(&r->acks, ACKS_MAX);
    r->moved_at = r->down_since = link_now_ms();
    return digest_open(&r->digest, o->digest, e) &&
           source_open(&r->source, o->inputs, o->input_count, o->event_max, e) &&
           journal_open(&r->journal, o->state, o->vault, e);
}

static void close_all(struct run *r)
{
    if (!journal_close(&r->journal, &(struct err){0})) /* already closed and told, unless opening failed */
        r->journal.fd = -1;
    if (r->linked)
        link_close(&r->link);
    source_close(&r->source);
    digest_close(&r->digest);
    items_free(&r->items);
    buf_free(&r->adapted);
    buf_free(&r->acks);
    free(r->last_ack[0]);
    free(r->last_ack[1]);
    free(r->unsealed);
}

/* The session, or the attempt at one, is over; the next attempt comes a little later each time. */
static void session_lost(struct run *r, const struct err *why)
{
    uint64_t now = link_now_ms();
    unsigned doublings = r->attempts < 5 ? r->attempts : 5;
    uint64_t wait = (uint64_t)BACKOFF_FIRST_MS << doublings;
    bool had_session = r->down_since == 0;

    link_close(&r->link);
    r->linked = r->subscribed = false;
    r->why = *why;
    r->refused = r->link.refused;
    r->attempts++;
    r->refusals += had_session;
    if (had_session)
        r->down_since = now;
    r->attempt_at = now + (wait > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : wait);
    if ((had_session || r->attempts == 1) && !r->options->quiet && why->code != ERR_DENIED)
        report_say(&r->report, "%s: %s; connecting again", r->options->host, why->text);
}

static void step_connection(struct run *r)
{
    struct err e = {0};

    if (r->linked || link_now_ms() < r->attempt_at)
        return;
    if (link_open(&r->link, &r->target, &e))
        r->linked = true;
    else
        session_lost(r, &e);
}

/* A session that has just begun is set up; then events go out as far as they may. */
static bool step_session(struct run *r, struct err *e)
{
    if (r->link.state != LINK_READY)
        return true;
    if (r->down_since != 0) {
        r->down_since = 0;
        r->attempts = 0;
        r->moved_at = link_now_ms();
        if (!run_session(r, e))
            return false;
    }
    return run_acknowledge(r, e) && run_fill(r, e);
}

static void step_io(struct run *r)
{
    struct pollfd fds[2] = {{.fd = -1}, {.fd = -1}};
    struct err e = {0};

    if (r->linked)
        fds[0] = (struct pollfd){.fd = r->link.fd, .events = link_events(&r->link)};
    if (r->waits_for_input && r->down_since == 0)
        fds[1] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
    poll(fds, 2, TURN_MS);
    if (!r->linked)
        return;
    if (!link_turn(&r->link, fds[0].revents, run_take_frame, r)) {
        session_lost(r, &r->link.why);
        return;
    }
    if (!step_session(r, &e))
        session_lost(r, &e);
    else if (!link_flush(&r->link))
        session_lost(r, &r->link.why);
}

static bool finished(const struct run *r, bool interrupted)
{
    if (!r->read_all || r->transaction != 0)
        return false;
    if (r->abandoned)
        return true;
    if (r->items.in_flight > 0)
        return false;
    if (interrupted || r->options->follow == FOLLOW_NONE)
        return true;
    return r->items.in_state[ITEM_DEPOSITED] == 0 && r->unsealed_new == 0;
}

/* Is it time to give up? EXIT_ALL: no. */
static enum exit_code hopeless(const struct run *r)
{
    enum exit_code without = r->refused ? EXIT_REFUSED : EXIT_CONNECTION;
    uint64_t now = link_now_ms();

    if (r->why.code == ERR_DENIED || r->why.code == ERR_FATAL || r->refusals >= REFUSALS_MAX)
        return without;
    if (r->down_since != 0 && now - r->down_since > 1000ull * r->options->retry &&
        (r->attempts > 0 || now - r->down_since > FIRST_TRY_MS))
        return without;
    if (r->down_since == 0 && !r->waits_for_input && now - r->moved_at > 1000ull * r->options->timeout)
        return EXIT_LATE;
    return EXIT_ALL;
}

static enum exit_code loop(struct run *r, volatile sig_atomic_t *interrupted)
{
    uint64_t asked_at = 0;

    while (!finished(r, asked_at != 0)) {
        enum exit_code end = hopeless(r);

        if (end != EXIT_ALL)
            return asked_at != 0 ? EXIT_INTERRUPTED : end;
        if (*interrupted != 0 && asked_at == 0) {
            asked_at = link_now_ms();
            r->read_all = true;
            r->waits_for_input = false;
            r->abandoned = r->options->transaction == TRANSACTION_ALL && r->transaction != 0;
            report_say(&r->report, "interrupted: waiting for %zu receipts (again to leave at once)", r->items.in_flight);
        }
        if (*interrupted > 1 || (asked_at != 0 && link_now_ms() - asked_at > LAST_WORDS_MS))
            break;
        step_connection(r);
        step_io(r);
        report_progress(&r->report, &r->items, &r->source);
    }
    if (asked_at != 0)
        return EXIT_INTERRUPTED;
    return r->report.problems > 0 || r->items.in_state[ITEM_INVALID] > 0 || r->items.mismatches > 0 ? EXIT_SOME
                                                                                                   : EXIT_ALL;
}

static void explain(const struct run *r, enum exit_code end, char *why, size_t size)
{
    why[0] = '\0';
    if (end == EXIT_CONNECTION || end == EXIT_REFUSED)
        snprintf(why, size, "gave up: %s", r->why.code != ERR_NONE ? r->why.text : "no answer");
    else if (end == EXIT_LATE)
        snprintf(why, size, "gave up: nothing moved for %u s (%zu without receipt, %zu without answer, %zu not archived)",
                 r->options->timeout, r->items.in_flight, r->items.in_state[ITEM_DEPOSITED], r->unsealed_new);
    else if (end == EXIT_INTERRUPTED)
        snprintf(why, size, "interrupted");
    else if (r->abandoned)
        snprintf(why, size, "nothing was deposited: an input has errors and --transaction all was asked for");
}

/* A goodbye the vault answers; what was acknowledged leaves before it (STOMP 1.2, "Graceful Shutdown"). */
static void say_goodbye(struct run *r)
{
    struct stomp_writer w;
    struct err e = {0};

    if (!r->linked || r->link.state != LINK_READY || !run_acknowledge(r, &e))
        return;
    stomp_open(&w, &r->link.out, STOMP_1_2, STOMP_DISCONNECT);
    if (!stomp_close(&w, slice_of(NULL, 0), &e))
        return;
    for (int i = 0; i < 20 && r->link.out.len > 0 && link_flush(&r->link); i++) {
        struct pollfd fd = {.fd = r->link.fd, .events = POLLOUT};

        poll(&fd, 1, TURN_MS);
    }
}

enum exit_code run_deposit(const struct options *o, SSL_CTX *tls, volatile sig_atomic_t *interrupted)
{
    struct run r = {0};
    struct err e = {0};
    enum exit_code end = EXIT_USAGE;
    char why[ERR_TEXT_MAX + 64];

    if (!open_all(&r, o, tls, &e)) {
        report_say(&r.report, "%s", e.text);
        goto out;
    }
    end = loop(&r, interrupted);
    say_goodbye(&r);
    for (size_t i = 0; i < r.unsealed_count; i++)
        report_event(&r.report, r.unsealed[i]); /* as far as they got */
    if (!journal_close(&r.journal, &e))
        report_say(&r.report, "%s", e.text);
    explain(&r, end, why, sizeof why);
    if (r.source.skipped > 0 && !o->quiet)
        report_say(&r.report, "%u file%s not ending in .xml left aside", r.source.skipped,
                   r.source.skipped == 1 ? "" : "s");
    report_summary(&r.report, &r.items, &r.source, end, why);
out:
    close_all(&r);
    return end;
}
