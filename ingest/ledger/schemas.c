/*
 * Role schemas: reads the schemas of events from the folders that the configuration names, at the start and at every reload, and hands their bytes to inspect, which can
 * open no file. A family that loaded before and does not now stays what it was. Believes the operator's files as far as they are bounded; hears nothing of strangers.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libxml/parser.h>

#include "common/journal/journal.h"
#include "common/values/log.h"
#include "common/values/wire.h"
#include "ingest/ledger/schema_set.h"
#include "ingest/roles.h"

enum { TURN_MS = 1000 };

struct schemas {
    struct role *self;
    struct channel *inspect; /* owned; NULL: not linked */
    struct journal *journal;
    struct schema_set *set; /* owned; what inspect is to use */
    char refused[ERR_TEXT_MAX]; /* why nothing of the last reading was taken; "": it was */
    bool read;  /* something was read since the start, or taken over */
    bool heard; /* what this inspect has */
    bool draining;
};

/* --- what is said
 * ----------------------------------------------------------------------------------------------------------- */

static void report(struct schemas *s)
{
    char text[300];
    unsigned loaded = schema_set_loaded(s->set), old = 0;

    for (unsigned i = 0; i < s->set->count; i++)
        old += s->set->families[i].old;
    snprintf(text, sizeof(text), "coffre_schema_families{state=\"loaded\"} %u\ncoffre_schema_families{state=\"old\"} %u\ncoffre_schema_families{state=\"missing\"} %u\n",
             loaded - old, old, s->set->count - loaded);
    role_metrics(s->self, text);
    schema_set_describe(s->set, text, sizeof(text));
    if (*s->refused == '\0')
        role_ready(s->self, true, "%s", text);
    else
        role_ready(s->self, s->read, "%s; what is new is not taken: %s", text, s->refused);
}

/* A family that does not load: once for each reason. */
static void tell_trouble(struct schemas *s, const struct schema_family *f, const struct schema_set *before)
{
    const struct journal_field fields[] = {
        JOURNAL_TEXT("family", f->entry), JOURNAL_TEXT("kept", f->old ? "yes" : "no"), JOURNAL_TEXT("reason", f->trouble)};

    for (unsigned i = 0; i < before->count; i++) {
        const struct schema_family *then = &before->families[i];

        if (strcmp(then->entry, f->entry) == 0 && then->trouble != NULL && strcmp(then->trouble, f->trouble) == 0)
            return;
    }
    if (f->old)
        log_error("schema-refused", "%s stays what it was: %s", f->entry, f->trouble);
    else
        log_warning("schema-not-loaded", "%s: its events are not covered: %s", f->entry, f->trouble);
    journal_write(s->journal, "schema-refused", fields, sizeof(fields) / sizeof(*fields));
}

static void tell_taken(struct schemas *s)
{
    static const char *const words[] = {"off", "record", "refuse"};
    char text[300];
    struct journal_field fields[] = {{.name = "families"}, JOURNAL_TEXT("policy", words[s->set->policy]), JOURNAL_TEXT("unknown", words[s->set->unknown])};

    schema_set_describe(s->set, text, sizeof(text));
    fields[0].value = slice_text(text);
    log_info("schemas-loaded", "%s; policy %s, of unknown types %s", text, words[s->set->policy], words[s->set->unknown]);
    journal_write(s->journal, "schemas-loaded", fields, sizeof(fields) / sizeof(*fields));
}

/* --- inspect
 * --------------------------------------------------------------------------------------------------------------- */

static void hand_over(struct schemas *s)
{
    struct err e = {0};
    struct buf message;

    if (s->inspect == NULL || !s->heard || !s->read)
        return;
    buf_init(&message, ROLE_MESSAGE_MAX);
    if (!schema_set_write(s->set, &message, &e) || !channel_send(s->inspect, SCHEMAS_SET, buf_slice(&message), &e))
        log_error("schemas-not-sent", "%s", e.text);
    buf_free(&message);
}

/* What was in force before this role began, as inspect still has it: it stays for families that do not load now, or, if nothing could be read, altogether. */
static void take_over(struct schemas *s, struct schema_set *had)
{
    const struct schema_set none = {0};

    if (!s->read) {
        schema_set_free(s->set);
        *s->set = *had;
        *had = none;
        s->read = true;
    } else if (schema_set_keep(s->set, had) != 0) {
        for (unsigned i = 0; i < s->set->count; i++)
            if (s->set->families[i].old)
                tell_trouble(s, &s->set->families[i], &none);
    }
    report(s);
}

/* The first thing that an inspect says. One that has begun itself has nothing; this role's own memory is the better one. */
static bool handle_have(struct schemas *s, struct slice body, struct err *e)
{
    struct schema_set had;

    if (s->heard)
        return err_set(e, ERR_INPUT, "HAVE comes once");
    if (body.len != 0 && !schema_set_parse(body, &had, e))
        return false;
    if (body.len != 0) {
        take_over(s, &had);
        schema_set_free(&had);
    }
    s->heard = true;
    hand_over(s);
    return true;
}

/* What became of the set: u8 taken, text why not. */
static bool handle_taken(struct schemas *s, struct slice body, struct err *e)
{
    struct wire_reader r = wire_read(body);
    bool taken = wire_get_u8(&r) == 1;
    struct slice why = wire_get_text(&r);

    if (!wire_end(&r, "TAKEN", e))
        return false;
    if (taken)
        return true;
    log_error("schema-refused", "inspect goes on with what it had: %.*s", SLICE_ARGS(why));
    role_reload_refused(s->self, "inspect: %.*s", SLICE_ARGS(why));
    return true;
}

static bool handle(struct schemas *s, const struct channel_message *m, struct err *e)
{
    if (m->fd < 0 && m->type == SCHEMAS_HAVE)
        return handle_have(s, m->body, e);
    if (m->fd < 0 && m->type == SCHEMAS_TAKEN)
        return handle_taken(s, m->body, e);
    return err_set(e, ERR_INPUT, "message %u from inspect makes no sense", m->type);
}

static bool serve(struct schemas *s, struct err *e)
{
    struct channel_message m;
    enum channel_result r;

    while ((r = channel_receive(s->inspect, &m, NULL)) == CHANNEL_MESSAGE)
        if (!handle(s, &m, e))
            return false;
    if (r == CHANNEL_CLOSED || !channel_flush(s->inspect, NULL)) {
        channel_free(s->inspect);
        s->inspect = NULL;
    }
    return true;
}

/* --- reading
 * --------------------------------------------------------------------------------------------------------------- */

static const char *trouble_of_kept(const struct schema_set *set)
{
    for (unsigned i = 0; i < set->count; i++)
        if (set->families[i].old)
            return set->families[i].trouble;
    return "";
}

/* False: nothing could be read, what there was stays. `why` is set when some of it stays, too. */
static bool read_again(struct schemas *s, const struct settings *settings, struct err *why)
{
    struct schema_set *fresh = mem_zalloc(1, sizeof(*fresh)), *before = s->set;
    bool same, first = !s->read;
    unsigned kept;

    *s->refused = '\0';
    if (!schema_set_read(fresh, settings, why)) {
        snprintf(s->refused, sizeof(s->refused), "%s", why->text);
        free(fresh);
        return false;
    }
    same = schema_set_same(before, fresh);
    kept = schema_set_keep(fresh, before);
    if (kept != 0)
        err_set(why, ERR_INPUT, "%u of the schemas' families in force stay%s: %s", kept, kept == 1 ? "s" : "", trouble_of_kept(fresh));
    s->set = fresh;
    s->read = true;
    for (unsigned i = 0; i < fresh->count; i++)
        if (fresh->families[i].trouble != NULL)
            tell_trouble(s, &fresh->families[i], before);
    if (!same && (fresh->count != 0 || before->count != 0))
        tell_taken(s);
    if (!same || first)
        hand_over(s);
    schema_set_free(before);
    free(before);
    return true;
}

static void on_reload(void *ctx, const struct settings *fresh)
{
    struct schemas *s = ctx;
    struct err e = {0};

    if (!read_again(s, fresh, &e))
        log_error("schema-refused", "what is in force stays: %s", e.text);
    if (e.code != ERR_NONE)
        role_reload_refused(s->self, "%s", e.text);
    report(s);
}

static void on_linked(void *ctx, const char *kind, unsigned index, struct channel *c)
{
    struct schemas *s = ctx;

    (void)index;
    if (strcmp(kind, "journal") == 0) {
        journal_link(s->journal, c);
        return;
    }
    channel_free(s->inspect);
    s->inspect = c;
    s->heard = false;
}

static void on_drain(void *ctx)
{
    ((struct schemas *)ctx)->draining = true;
}

/* --- life
 * ------------------------------------------------------------------------------------------------------------------ */

static int run(struct schemas *s)
{
    struct err e = {0};

    while (!s->draining) {
        struct pollfd fds[3] = {{.fd = role_parent_fd(s->self), .events = POLLIN}, {.fd = journal_fd(s->journal), .events = POLLIN}, {.fd = -1, .events = POLLIN}};
        int ready;

        if (s->inspect != NULL) {
            fds[2].fd = channel_fd(s->inspect);
            fds[2].events = (short)(POLLIN | (channel_queued(s->inspect) != 0 ? POLLOUT : 0));
        }
        ready = poll(fds, 3, TURN_MS);
        if (ready > 0 && fds[1].revents != 0)
            journal_serve(s->journal);
        if (ready > 0 && fds[2].revents != 0 && !serve(s, &e)) {
            log_error("channel-bad", "%s", e.text);
            return 1;
        }
        if ((ready <= 0 || fds[0].revents != 0) && !role_poll(s->self, 0))
            return 1;
    }
    return 0;
}

int schemas_run(struct role *self)
{
    static const struct role_events events = {.linked = on_linked, .drain = on_drain, .reload = on_reload};
    struct schemas s = {.self = self, .set = mem_zalloc(1, sizeof(*s.set)), .journal = journal_open(self)};
    struct err e = {0};
    int status;

    xmlInitParser();
    role_on(self, &events, &s);
    if (!read_again(&s, role_settings(self), &e))
        log_error("schema-refused", "there are none until they can be read: %s", e.text);
    report(&s);
    status = run(&s);
    channel_free(s.inspect);
    journal_free(s.journal);
    schema_set_free(s.set);
    free(s.set);
    xmlCleanupParser();
    return status;
}
