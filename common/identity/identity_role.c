/*
 * Role `identity`: its life, its links, its loop; what it does is in the parts (identity_internal.h). Parses strangers' certificates, CRLs and OCSP responses, and holds no
 * private key, no database and no socket. Siblings are not trusted with a length.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "common/identity/identity_internal.h"
#include "common/values/log.h"

enum {
    TICK_MS = 200, SECOND_MS = 1000, METRICS_MAX = 64 * 1024,
    FRONT_TURN_MS = 20, /* of one front's messages: then it is the others' turn, however much it has to say */
};

int64_t identity_wall(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t identity_clock(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- fronts ---- */

void identity_front_failed(struct identity *i, unsigned front, const char *why)
{
    if (i->fronts[front].failed)
        return;
    log_error("channel-bad", "front %u: %s", front, why);
    i->fronts[front].failed = true;
    role_kill_sibling(i->role, "front", front);
}

static void forget_front(struct identity *i, unsigned front)
{
    identity_people_lost(i->people, front);
    channel_free(i->fronts[front].channel);
    i->fronts[front].channel = NULL;
    i->fronts[front].failed = false;
}

/* One that has not ended hears of it and is linked again; one that has is by its next start. */
static void lose_front(struct identity *i, unsigned front)
{
    forget_front(i, front);
    role_relink(i->role, "front", front);
}

static void show(struct identity *i, unsigned front)
{
    struct identity_server s = {.chain = buf_slice(&i->shown.chain), .anchors = buf_slice(&i->policies->anchors), .depth = i->shown.depth};
    struct slice staple = identity_staple_response(i->staple);
    struct err e = {0};

    if (i->fronts[front].channel == NULL || i->fronts[front].failed || i->shown.certificate == NULL)
        return;
    if (!identity_send_server(i->fronts[front].channel, &s, &e) ||
        (staple.len != 0 && !identity_send_staple(i->fronts[front].channel, staple, &e)))
        identity_front_failed(i, front, e.text);
}

static bool take_from_front(struct identity *i, unsigned front, const struct channel_message *m, struct err *e)
{
    struct identity_present present;
    uint64_t connection;

    switch (m->type) {
    case IDENTITY_PRESENT:
        return identity_read_present(m->body, &present, e) && identity_people_present(i->people, front, &present, e);
    case IDENTITY_GONE:
        if (!identity_read_gone(m->body, &connection, e))
            return false;
        identity_people_gone(i->people, front, connection);
        return true;
    default:
        return err_set(e, ERR_INPUT, "message %u makes no sense", m->type);
    }
}

static void serve_front(struct identity *i, unsigned front)
{
    int64_t until = identity_clock() + FRONT_TURN_MS;
    enum channel_result r = CHANNEL_EMPTY;
    struct channel_message m;
    struct err e = {0};

    if (i->fronts[front].channel == NULL)
        return;
    if (!channel_flush(i->fronts[front].channel, &e)) {
        lose_front(i, front);
        return;
    }
    while (!i->fronts[front].failed && (r = channel_receive(i->fronts[front].channel, &m, &e)) == CHANNEL_MESSAGE)
        if (!take_from_front(i, front, &m, &e)) {
            identity_front_failed(i, front, e.text);
            break;
        } else if (identity_clock() >= until) {
            i->unread = true;
            break;
        }
    if (r == CHANNEL_CLOSED || i->fronts[front].failed)
        lose_front(i, front);
}

/* ---- who tells overrides ---- */

static void serve_telling(struct identity *i, unsigned source)
{
    struct identity_overrides *o = mem_alloc(sizeof *o);
    enum channel_result r;
    struct channel_message m;
    struct err e = {0};

    while ((r = channel_receive(i->telling[source], &m, &e)) == CHANNEL_MESSAGE) {
        if (m.type != IDENTITY_OVERRIDES)
            err_set(&e, ERR_INPUT, "message %u makes no sense", m.type);
        if (e.code != ERR_NONE || !identity_read_overrides(m.body, o, &e))
            break;
        identity_overrides_take(i, source, o);
    }
    free(o);
    if (r == CHANNEL_EMPTY)
        return;
    /* What it told stays until it tells anew: each override has an end of its own. */
    if (r == CHANNEL_MESSAGE)
        log_error("channel-bad", "overrides: %s", e.text);
    channel_free(i->telling[source]);
    i->telling[source] = NULL;
    role_relink(i->role, i->telling_kind[source], source);
}

/* ---- policies ---- */

static bool same(STACK_OF(X509) *a, STACK_OF(X509) *b)
{
    if (sk_X509_num(a) != sk_X509_num(b))
        return false;
    for (int n = 0; n < sk_X509_num(a); n++)
        if (X509_cmp(sk_X509_value(a, n), sk_X509_value(b, n)) != 0)
            return false;
    return true;
}

/* All that the settings name, read and checked; false leaves everything as it was. */
static bool load(struct identity *i, const struct settings *fresh, struct err *e)
{
    struct settings *settings = identity_settings_copy(fresh, e);
    struct identity_policies *policies = settings == NULL ? NULL : identity_policies_load(settings, i->duty->offered, e);
    struct identity_shown shown = {0};

    if (policies == NULL || !identity_shown_load(&shown, settings, i->duty, policies, e)) {
        identity_policies_free(policies);
        settings_free(settings);
        return false;
    }
    i->before = i->policies;
    i->policies = policies;
    i->policies_generation++;
    settings_free(i->settings);
    i->settings = settings;
    i->shown_changed = !slice_equal(buf_slice(&i->shown.chain), buf_slice(&shown.chain)) || i->shown.depth != shown.depth;
    identity_shown_free(&i->shown);
    i->shown = shown;
    return true;
}

/* What depends on it. People last: lists and authorities are the new ones then. */
static void put_in_force(struct identity *i)
{
    bool authorities = i->before == NULL || !same(i->before->authorities, i->policies->authorities);

    identity_lists_configure(i->lists, i->before == NULL || !same(i->before->issuers, i->policies->issuers));
    identity_watch_configure(i->watch);
    identity_people_review(i->people, true);
    if (i->shown_changed)
        identity_staple_configure(i->staple);
    for (unsigned n = 0; (i->shown_changed || authorities) && n < ROLE_INSTANCES_MAX; n++)
        show(i, n);
    identity_policies_free(i->before);
    i->before = NULL;
}

static void reload(void *ctx, const struct settings *fresh)
{
    struct identity *i = ctx;
    bool stapled = i->settings->revocation.stapling;
    struct err e = {0};
    const struct journal_field field = {"reason", slice_text("certificates, authorities and policies")};

    /* Whatever becomes of the rest: the fronts have it. */
    if (i->duty->connections != NULL)
        identity_room_limit(i, i->duty->connections(fresh));
    if (!load(i, fresh, &e)) {
        settings_locate(fresh, &e);
        log_error("reload-refused", "%s", e.text);
        role_reload_refused(i->role, "%s", e.text);
        return;
    }
    if (stapled != i->settings->revocation.stapling)
        identity_staple_configure(i->staple);
    put_in_force(i);
    log_info("reloaded", "certificates, authorities and policies");
    journal_write(i->journal, "reloaded", &field, 1);
}

/* ---- life ---- */

static void linked(void *ctx, const char *kind, unsigned index, struct channel *c)
{
    struct identity *i = ctx;

    if (strcmp(kind, "front") == 0 && index < ROLE_INSTANCES_MAX) {
        forget_front(i, index);
        channel_limit(c, IDENTITY_PRESENT_BODY);
        i->fronts[index].channel = c;
        show(i, index);
    } else if (strcmp(kind, "fetch") == 0)
        identity_ask_link(i->ask, c);
    else if (strcmp(kind, "journal") == 0)
        journal_link(i->journal, c);
    else if ((strcmp(kind, "roster") == 0 || strcmp(kind, "query") == 0) && index < IDENTITY_SOURCES_MAX) {
        channel_free(i->telling[index]);
        channel_limit(c, IDENTITY_OVERRIDES_BODY);
        i->telling[index] = c;
        i->telling_kind[index] = strcmp(kind, "roster") == 0 ? "roster" : "query";
    } else
        channel_free(c);
}

/* What the parent found wrong, or another role, or this one: written here alone, so that it is in the journal once. */
static void refused(void *ctx, const char *text)
{
    struct identity *i = ctx;
    const struct journal_field why = JOURNAL_TEXT("reason", text);

    journal_write(i->journal, "reload-refused", &why, 1);
}

static void drain(void *ctx)
{
    ((struct identity *)ctx)->drained = true;
}

/* That nobody asks the lists; what is wrong, or what is so; and what ends soon while all goes on. */
static void say_ready(struct identity *i, const char *alarm, bool lists_ok, const char *lists, bool certificates_ok, const char *certificates)
{
    bool judges = i->duty->offered != 0;
    char warning[256];

    role_ready(i->role, lists_ok || !judges, "%s%s%s", alarm, judges && (!lists_ok || certificates_ok) ? lists : certificates,
               certificates_ok ? identity_watch_warning(i->watch, warning, sizeof warning) : "");
}

static void tell_health(struct identity *i)
{
    char lists[HEALTH_NOTE_MAX], certificates[HEALTH_NOTE_MAX], alarm[HEALTH_NOTE_MAX], note[HEALTH_NOTE_MAX];
    bool lists_ok = identity_lists_health(i->lists, lists, sizeof lists), certificates_ok = identity_watch_health(i->watch, certificates, sizeof certificates);

    identity_overrides_alarm(i, alarm, sizeof alarm);
    snprintf(note, sizeof note, "%.150s%.100s", alarm, lists);
    if (i->duty->offered != 0)
        health_set(&i->health, "crl", lists_ok, note);
    health_set(&i->health, "certificates", certificates_ok, certificates);
    for (unsigned n = 0; n < ROLE_INSTANCES_MAX; n++) {
        struct err e = {0};

        /* A front that is behind has more important things to read. */
        if (i->fronts[n].channel != NULL && !i->fronts[n].failed && channel_queued(i->fronts[n].channel) < 1 << 20 &&
            !identity_send_health(i->fronts[n].channel, &i->health, &e))
            identity_front_failed(i, n, e.text);
    }
    say_ready(i, alarm, lists_ok, lists, certificates_ok, certificates);
}

static void report(struct identity *i)
{
    unsigned in_force = 0;
    struct buf b;

    buf_init(&b, METRICS_MAX);
    identity_people_metrics(i->people, &b);
    identity_lists_metrics(i->lists, &b);
    identity_ocsp_metrics(i->ocsp, &b);
    identity_watch_metrics(i->watch, &b);
    for (unsigned n = ROSTER_DEPOSITOR; n <= ROSTER_FUNCTIONAL; n++)
        in_force += i->override_until[n] != 0;
    if (buf_printf(&b, NULL, "coffre_identity_overrides %u\ncoffre_identity_override_uses_total %" PRIu64 "\n", in_force, i->overrides_used) &&
        buf_add(&b, "", 1, NULL))
        role_metrics(i->role, (const char *)buf_slice(&b).at);
    buf_free(&b);
}

static void every_second(struct identity *i)
{
    identity_lists_tick(i->lists);
    identity_watch_tick(i->watch);
    identity_people_tick(i->people);
    identity_overrides_tick(i, identity_wall());
    tell_health(i);
    report(i);
}

/* Descriptors change from turn to turn; a missing one is passed over by poll(2). */
static void wait_for_something(struct identity *i, int timeout)
{
    struct pollfd fds[3 + ROLE_INSTANCES_MAX + IDENTITY_SOURCES_MAX] = {{.fd = role_parent_fd(i->role), .events = POLLIN},
                                                                       {.fd = journal_fd(i->journal), .events = POLLIN}};
    nfds_t count = 3;

    fds[2].fd = identity_ask_fd(i->ask, &fds[2].events);
    for (unsigned n = 0; n < ROLE_INSTANCES_MAX; n++)
        if (i->fronts[n].channel != NULL)
            fds[count++] = (struct pollfd){.fd = channel_fd(i->fronts[n].channel),
                                           .events = (short)(POLLIN | (channel_queued(i->fronts[n].channel) != 0 ? POLLOUT : 0))};
    for (unsigned n = 0; n < IDENTITY_SOURCES_MAX; n++)
        if (i->telling[n] != NULL)
            fds[count++] = (struct pollfd){.fd = channel_fd(i->telling[n]), .events = POLLIN};
    poll(fds, count, timeout);
}

static void serve_all(struct identity *i)
{
    i->unread = false;
    journal_serve(i->journal);
    for (unsigned n = 0; n < IDENTITY_SOURCES_MAX; n++)
        if (i->telling[n] != NULL)
            serve_telling(i, n);
    identity_ask_serve(i->ask);
    identity_ocsp_keep(i->ocsp);
    for (unsigned n = 0; n < ROLE_INSTANCES_MAX; n++)
        serve_front(i, n);
}

/* What was said in this turn leaves in this turn. */
static void flush_all(struct identity *i)
{
    struct err e = {0};

    for (unsigned n = 0; n < ROLE_INSTANCES_MAX; n++)
        if (i->fronts[n].channel != NULL && (i->fronts[n].failed || !channel_flush(i->fronts[n].channel, &e)))
            lose_front(i, n);
    identity_ask_flush(i->ask);
}

static int serve(struct identity *i)
{
    int64_t tick = 0, second = 0;

    while (role_poll(i->role, 0)) {
        if (i->drained)
            return 0;
        serve_all(i);
        if (identity_clock() >= tick) {
            identity_ask_tick(i->ask);
            identity_ocsp_tick(i->ocsp);
            identity_staple_tick(i->staple);
            i->review = true; /* whose time has come */
            tick = identity_clock() + TICK_MS;
        }
        if (identity_clock() >= second) {
            every_second(i);
            second = identity_clock() + SECOND_MS;
        }
        if (i->review) {
            i->review = false;
            identity_people_review(i->people, false);
        }
        flush_all(i);
        wait_for_something(i, i->review || i->unread ? 0 : (int)(tick > identity_clock() ? tick - identity_clock() : 0));
    }
    return 1;
}

static void make_folder(const struct settings *s)
{
    char *folder = mem_printf("%s/crl", s->state_dir);

    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        log_warning("crl-unwritten", "%s: %s", folder, strerror(errno));
    free(folder);
}

static void release(struct identity *i)
{
    identity_room_end(i);
    for (unsigned n = 0; n < ROLE_INSTANCES_MAX; n++)
        forget_front(i, n);
    for (unsigned n = 0; n < IDENTITY_SOURCES_MAX; n++)
        channel_free(i->telling[n]);
    identity_people_free(i->people);
    identity_staple_free(i->staple);
    identity_ocsp_free(i->ocsp);
    identity_lists_free(i->lists);
    identity_watch_free(i->watch);
    identity_ask_free(i->ask);
    identity_overrides_free(i);
    journal_free(i->journal);
    identity_shown_free(&i->shown);
    identity_policies_free(i->policies);
    settings_free(i->settings);
    free(i);
}

int identity_role_run(struct role *self, const struct identity_duty *duty)
{
    static const struct role_events events = {.linked = linked, .drain = drain, .reload = reload, .refused = refused};
    struct identity *i = mem_zalloc(1, sizeof *i);
    struct err e = {0};
    int status;

    i->role = self;
    i->name = role_daemon_name(self);
    i->duty = duty;
    if (duty->connections != NULL)
        identity_room_limit(i, duty->connections(role_settings(self)));
    i->journal = journal_open(self);
    i->ask = identity_ask_new(i);
    i->lists = identity_lists_new(i);
    i->ocsp = identity_ocsp_new(i);
    i->people = identity_people_new(i);
    i->watch = identity_watch_new(i);
    i->staple = identity_staple_new(i);
    if (duty->offered != 0)
        make_folder(role_settings(self));
    if (!tls_prepare(&e) || !load(i, role_settings(self), &e))
        status = role_unfit(self, &e);
    else {
        role_on(self, &events, i);
        identity_ocsp_begin(i->ocsp);
        put_in_force(i);
        status = serve(i);
    }
    release(i);
    return status;
}
