/*
 * Role ledger: the one sequencer of a vault. Packs from RabbitMQ become numbered, encrypted rows in PostgreSQL, then
 * answers. Holds the pack and deduplication keys and, while a lot is open, its key; what strangers wrote is parsed by
 * inspect only.
 */
#include "ingest/ledger/ledger_internal.h"

#include <inttypes.h>
#include <malloc.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "common/values/log.h"

enum { TURN_MS = 500, BACKOFF_MIN_MS = 250, BACKOFF_MAX_MS = 5000, FENCED_PAUSE_MS = 5000, REPORT_MS = 1000 };

uint64_t ledger_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

struct ledger_batch *ledger_batch_at(struct ledger *l, unsigned i)
{
    return i < l->used ? &l->batches[(l->first + i) % LEDGER_BATCHES] : NULL;
}

/* --- keys and recipients
 * ------------------------------------------------------------------------------------------------------ */

static bool load_pack_keys(struct ledger *l, const struct settings *s, struct err *e)
{
    struct secret keys[SETTINGS_LIST_MAX] = {0};
    struct slice slices[SETTINGS_LIST_MAX];
    struct pack_reader *reader = NULL;
    struct pack_writer *writer = NULL;
    unsigned n = 0;
    bool ok = true;

    for (; ok && n < s->ingest.pack_keys.count; n++) {
        ok = secret_read_key(&keys[n], s->ingest.pack_keys.items[n], e);
        slices[n] = secret_slice(&keys[n]);
    }
    if (ok) {
        reader = pack_reader_new(slices, n, l->vault, e);
        writer = reader == NULL ? NULL : pack_writer_new(slices[0], l->vault, e);
    }
    while (n-- > 0)
        secret_free(&keys[n]);
    if (writer == NULL) {
        pack_reader_free(reader);
        return false;
    }
    pack_reader_free(l->reader);
    pack_writer_free(l->writer);
    l->reader = reader;
    l->writer = writer;
    return true;
}

static bool load_identity(struct ledger *l, struct err *e)
{
    struct secret key = {0};

    if (secret_read_key(&key, l->settings->ingest.dedup_key, e))
        l->identity = batch_identity_new(secret_slice(&key), e);
    secret_free(&key);
    return l->identity != NULL;
}

/* What a reload may change; an error leaves everything as it was. */
static bool load(struct ledger *l, const struct settings *s, struct err *e)
{
    struct envelope_recipients *recipients =
        envelope_recipients_load(s->regulator.recipients.items, s->regulator.recipients.count, e);

    if (recipients == NULL)
        return false;
    if (!load_pack_keys(l, s, e)) {
        envelope_recipients_free(recipients);
        return false;
    }
    envelope_recipients_free(l->recipients);
    l->recipients = recipients;
    l->limits = (struct batch_limits){s->lot.count, s->lot.bytes};
    l->batch_events = s->ingest.batch_events;
    return true;
}

static bool start(struct ledger *l, struct err *e)
{
    const struct settings *s = l->settings;

    snprintf(l->vault, sizeof(l->vault), "%s/%" PRIu64, s->vault.operator_id, s->vault.number);
    l->queue_in = settings_queue(s, "Event", "In");
    l->exchange_in = settings_queue(s, "Event", "In");
    l->exchange_out = settings_queue(s, "Event", "Out");
    l->exchange_archive = settings_queue(s, "Archive", "Out");
    l->waiting = mem_zalloc(LEDGER_PREFETCH, sizeof(*l->waiting));
    l->waiting_tags = mem_zalloc(LEDGER_PREFETCH, sizeof(*l->waiting_tags));
    buf_init(&l->key.file, 1 << 20);
    l->digester = digest_new(e);
    l->envelope = l->digester == NULL ? NULL : envelope_new(e);
    return l->envelope != NULL && load_identity(l, e) && load(l, s, e);
}

static void finish(struct ledger *l)
{
    for (unsigned i = 0; i < LEDGER_BATCHES; i++)
        ledger_batch_clear(&l->batches[i]);
    for (unsigned i = 0; i < LEDGER_PARTS; i++)
        ledger_part_clear(&l->parts[i]);
    channel_free(l->inspect);
    ledger_tell_omitted(l, true);
    journal_free(l->journal);
    quota_free(l->records);
    pack_reader_free(l->reader);
    pack_writer_free(l->writer);
    batch_identity_free(l->identity);
    envelope_recipients_free(l->recipients);
    envelope_free(l->envelope);
    digest_free(l->digester);
    secret_free(&l->key.key);
    buf_free(&l->key.file);
    free(l->waiting);
    free(l->waiting_tags);
    free(l->declared);
    free(l->queue_in);
    free(l->exchange_in);
    free(l->exchange_out);
    free(l->exchange_archive);
}

/* --- the parent
 * ---------------------------------------------------------------------------------------------------------------- */

static void on_linked(void *ctx, const char *kind, unsigned index, struct channel *c)
{
    struct ledger *l = ctx;

    (void)index;
    if (strcmp(kind, "journal") == 0) {
        journal_link(l->journal, c);
        return;
    }
    if (l->inspect != NULL) {
        channel_free(l->inspect);
        ledger_inspect_gone(l);
    }
    l->inspect = c;
    l->inspect_ready = false;
}

static void on_drain(void *ctx)
{
    ((struct ledger *)ctx)->draining = true;
}

static void on_reload(void *ctx, const struct settings *fresh)
{
    struct ledger *l = ctx;
    struct err e = {0};

    if (load(l, fresh, &e)) {
        log_info("ledger-reloaded", "keys, recipients and limits are in force");
    } else {
        log_error("reload-refused", "%s", e.text);
        role_reload_refused(l->self, "%s", e.text);
    }
}

static bool is_idle(const struct ledger *l)
{
    return l->used == 0 && l->waiting_count == 0 && l->message_count == l->aside_count;
}

/* A quiet second: what a burst has left is given back. Everything is committed, so identities may go too. */
static void trim(struct ledger *l)
{
    if (l->trimmed == l->figures.batches)
        return;
    for (unsigned i = 0; i < LEDGER_BATCHES; i++)
        ledger_batch_clear(&l->batches[i]);
    for (unsigned i = 0; i < LEDGER_PARTS; i++)
        ledger_part_clear(&l->parts[i]);
    if (l->message_count == 0)
        ledger_messages_drop(l);
    if (l->reply_count == 0)
        ledger_replies_drop(l);
    malloc_trim(0);
    l->trimmed = l->figures.batches;
}

/* One queue that takes nothing holds up its own depositor only, but it must be seen. */
static bool tell_unconfirmed(struct ledger *l, uint64_t now)
{
    const struct ledger_message *m = ledger_unconfirmed(l);

    if (m == NULL)
        return false;
    role_ready(l->self, false, "answers to depositor %" PRIu32 " wait since %" PRIu64 " s: its queue does not take them; RabbitMQ has perhaps no leader for it", m->depositor,
               (now - m->since) / 1000);
    if (l->told_at == 0 || now - l->told_at > LEDGER_TELL_MS)
        log_error("answers-unconfirmed", "%s.%" PRIu32 " takes no answers: RabbitMQ has perhaps no leader for it", l->exchange_out, m->depositor);
    l->told_at = l->told_at == 0 || now - l->told_at > LEDGER_TELL_MS ? now : l->told_at;
    return true;
}

static void report(struct ledger *l)
{
    char text[1000];
    uint64_t now = ledger_now();

    if (now - l->reported_at < REPORT_MS)
        return;
    l->reported_at = now;
    ledger_tell_omitted(l, false);
    if (is_idle(l) && l->reported_batches == l->figures.batches)
        trim(l);
    l->reported_batches = l->figures.batches;
    snprintf(text, sizeof(text),
             "coffre_events_total %" PRIu64 "\ncoffre_duplicates_total %" PRIu64 "\ncoffre_invalid_total %" PRIu64 "\ncoffre_unfit_total %" PRIu64
             "\ncoffre_packs_parked_total %" PRIu64 "\ncoffre_replies_total %" PRIu64 "\ncoffre_replies_dropped_total %" PRIu64
             "\ncoffre_ledger_batches_total %" PRIu64
             "\ncoffre_ledger_transactions_total %" PRIu64 "\ncoffre_ledger_active %d\ncoffre_next_serial %" PRIu64
             "\ncoffre_open_lot %" PRIu64 "\n",
             l->figures.events, l->figures.duplicates, l->figures.invalid, l->figures.unfit, l->figures.parked, l->figures.replies, l->figures.replies_dropped, l->figures.batches,
             l->figures.transactions, l->fenced ? 1 : 0, l->head.next_serial, l->head.lot);
    role_metrics(l->self, text);
    if (l->fenced && !tell_unconfirmed(l, now))
        role_ready(l->self, true, "active: epoch %" PRIu64 ", lot %" PRIu64 ", next serial %" PRIu64 "%s%s%s", l->epoch,
                   l->head.lot, l->head.next_serial, l->silent_queue[0] == '\0' ? "" : "; RabbitMQ's queue ", l->silent_queue,
                   l->silent_queue[0] == '\0' ? "" : " does not answer");
}

/* --- a session
 * ------------------------------------------------------------------------------------------------------------------ */

static bool open_consumer(struct ledger *l, struct err *e)
{
    const struct broker_options o = {.settings = l->settings,
                                     .certificate = l->settings->ingest.rabbitmq_certificate,
                                     .key = l->settings->ingest.rabbitmq_key,
                                     .name = "coffre-ingest ledger"};

    l->consumer = broker_open(&o, e);
    return l->consumer != NULL &&
           broker_consume(l->consumer, CHANNEL_CONSUME, l->queue_in, "ledger", LEDGER_PREFETCH, NULL, 0, e);
}

/* PostgreSQL first: without it nothing is consumed. */
static bool open_session(struct ledger *l, struct err *e)
{
    l->figures.sessions++;
    if (!ledger_store_open(l, e) || !ledger_answer_open(l, e))
        return false;
    l->roster_next = 0;
    return ledger_roster(l, e) && open_consumer(l, e);
}

static void close_session(struct ledger *l)
{
    ledger_silences_drop(l);
    ledger_messages_drop(l);
    ledger_replies_drop(l);
    for (unsigned i = 0; i < LEDGER_PARTS; i++)
        ledger_part_reset(&l->parts[i]);
    for (unsigned i = 0; i < LEDGER_BATCHES; i++) {
        ledger_batch_reset(&l->batches[i]);
        batch_table_free(&l->batches[i].table);
        l->batches[i].count = 0;
    }
    while (l->waiting_count != 0) {
        buf_free(&l->waiting[l->waiting_first]);
        l->waiting_first = (l->waiting_first + 1) % LEDGER_PREFETCH;
        l->waiting_count--;
    }
    ledger_queues_done(l);
    l->silent_queue[0] = '\0';
    l->first = l->used = l->part_first = l->part_used = l->declared_count = l->unseen = 0;
    l->writing = WRITE_IDLE;
    l->looking = NULL;
    l->fenced = false;
    l->fence_since = l->fence_next = 0;
    l->key.lot = 0;
    /* An answer of inspect about what is gone would be taken for another's: it starts anew. */
    if (l->checking != NULL && l->check_to != 0 && l->inspect != NULL) {
        role_kill_sibling(l->self, "inspect", 0);
        channel_free(l->inspect);
        l->inspect = NULL;
    }
    l->checking = NULL;
    l->check_to = 0;
    /* The store first: its lock is free before RabbitMQ chooses the next consumer. */
    database_close(l->write);
    database_close(l->look);
    broker_close(l->consumer);
    broker_close(l->publisher);
    l->write = l->look = NULL;
    l->consumer = l->publisher = NULL;
}

/* Everything that can be done now, in the order in which one step feeds the next. */
static bool work(struct ledger *l, struct err *e)
{
    if (!l->draining || !is_idle(l)) {
        if (!ledger_consume(l, e))
            return false;
    }
    if ((l->used != 0 && !ledger_fence(l, e)) || !ledger_check(l, e) || !ledger_look(l, e))
        return false;
    /* What PostgreSQL waits for first, then what can be prepared while it works. */
    return ledger_write(l, e) && ledger_prepare(l, e) && ledger_write(l, e) && ledger_publish(l, e) &&
           ledger_roster(l, e);
}

static void add_fd(struct pollfd *fds, unsigned *n, int fd, bool out)
{
    fds[(*n)++] = (struct pollfd){.fd = fd, .events = (short)(POLLIN | (out ? POLLOUT : 0))};
}

/* Whether work waits for the clock only, and how long. */
static int patience(struct ledger *l)
{
    uint64_t now = ledger_now(), left = TURN_MS;

    if (broker_unread(l->publisher) || (l->maker != NULL && l->looking == NULL && broker_unread(l->maker)) || ledger_roster_is_due(l) || (l->waiting_count == 0 && broker_unread(l->consumer)) ||
        (l->waiting_count != 0 && l->used < LEDGER_BATCHES))
        return 0;
    if (l->used != 0 && !l->fenced)
        left = LEDGER_FENCE_RETRY_MS;
    if (l->used != 0 && left > LEDGER_GATHER_MS && ledger_gathers(l, ledger_batch_at(l, l->used - 1)))
        left = LEDGER_GATHER_MS;
    for (unsigned i = 0; i < l->message_count; i++)
        if (l->messages[i].tag == 0 && ledger_may_send(l, &l->messages[i])) {
            uint64_t wait = l->messages[i].send_at <= now ? 20 : l->messages[i].send_at - now;

            left = wait < left ? wait : left;
        }
    return (int)(l->reply_count != 0 && left > 20 ? 20 : left);
}

static bool wait_for_something(struct ledger *l)
{
    struct pollfd fds[8];
    unsigned n = 0;

    add_fd(fds, &n, role_parent_fd(l->self), false);
    add_fd(fds, &n, journal_fd(l->journal), false);
    add_fd(fds, &n, database_fd(l->write), ledger_wants_to_write(l));
    add_fd(fds, &n, database_fd(l->look), false);
    add_fd(fds, &n, broker_fd(l->publisher), false);
    if (l->maker != NULL && l->looking == NULL)
        add_fd(fds, &n, broker_fd(l->maker), false);
    /* While no batch takes packs, what RabbitMQ delivers may wait in the socket. */
    if (l->waiting_count == 0)
        add_fd(fds, &n, broker_fd(l->consumer), false);
    if (l->inspect != NULL)
        add_fd(fds, &n, channel_fd(l->inspect), channel_queued(l->inspect) != 0);
    if (poll(fds, n, patience(l)) > 0) {
        if (fds[1].revents != 0)
            journal_serve(l->journal);
        if (fds[0].revents == 0)
            return true;
    }
    return role_poll(l->self, 0);
}

static bool stop_consuming(struct ledger *l, struct err *e)
{
    /* Deliveries already here are finished; what comes after goes back to the queue when the connection ends. */
    return broker_cancel(l->consumer, CHANNEL_CONSUME, "ledger", e);
}

static bool run_session(struct ledger *l, struct err *e)
{
    bool cancelled = false;

    if (!open_session(l, e))
        return false;
    role_ready(l->self, true, "standing by: the active ledger is the one RabbitMQ delivers to");
    for (;;) {
        if (!work(l, e))
            return false;
        report(l);
        if (l->inspect != NULL && !channel_flush(l->inspect, NULL))
            l->check_sent = 0; /* found gone at the next receipt */
        if (l->draining && !cancelled) {
            cancelled = true;
            if (!stop_consuming(l, e))
                return false;
        }
        /* Without the fence nothing can be finished: deliveries go back. */
        if (l->draining && (is_idle(l) || !l->fenced))
            return true;
        if (!wait_for_something(l)) {
            l->orphaned = true;
            return true;
        }
    }
}

/* Waits between sessions; true to go on. */
static bool rest(struct ledger *l, uint64_t ms)
{
    uint64_t end = ledger_now() + ms;

    for (uint64_t now = ledger_now(); now < end && !l->draining; now = ledger_now()) {
        ledger_tell_omitted(l, false);
        if (!role_poll(l->self, (int)(end - now)))
            return false;
    }
    return !l->draining;
}

/* Sessions until the daemon stops. Only a configuration that can never work, or a broken process, ends the role
 * otherwise. */
static int run(struct ledger *l)
{
    uint64_t backoff = BACKOFF_MIN_MS;

    for (;;) {
        struct err e = {0};
        uint64_t began = ledger_now();
        bool ok = run_session(l, &e);

        close_session(l);
        if (ok || l->orphaned)
            return l->orphaned ? 1 : 0;
        if (ledger_now() - began > BACKOFF_MAX_MS)
            backoff = BACKOFF_MIN_MS;
        if (l->misconfigured)
            return role_unfit(l->self, &e);
        if (e.code == ERR_FENCED)
            log_error("ledger-fenced", "%s", e.text);
        else
            log_warning("ledger-retry", "%s", e.text);
        role_ready(l->self, false, "%s", e.text);
        if (e.code == ERR_FATAL)
            return 1;
        if (!rest(l, e.code == ERR_FENCED ? FENCED_PAUSE_MS : backoff))
            return 0;
        backoff = backoff * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : backoff * 2;
    }
}

int ledger_run(struct role *self)
{
    static const struct role_events events = {.linked = on_linked, .drain = on_drain, .reload = on_reload};
    struct ledger *l = mem_zalloc(1, sizeof(*l));
    struct err e = {0};
    int status = 1;

    secret_open_heap();
    l->self = self;
    l->settings = role_settings(self);
    l->journal = journal_open(self);
    l->records = ledger_quota_new();
    role_on(self, &events, l);
    if (start(l, &e))
        status = run(l);
    else if (e.code == ERR_INPUT)
        status = role_unfit(self, &e);
    else
        log_error("ledger-start", "%s", e.text);
    finish(l);
    free(l);
    return status;
}
