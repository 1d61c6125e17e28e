/* CRLs fetched from URLs on a schedule: see identity_lists_internal.h. What comes is a stranger's. */
#include <stdio.h>
#include <stdlib.h>

#include "common/identity/identity_lists_internal.h"

enum {
    LEAVING_MS = 30 * 1000,    /* a URL no longer configured: what is fetched instead must have come */
    FETCH_AT_ONCE = 4,
    FETCH_TROUBLED_MAX = 2,    /* of these, of URLs that failed the last time: a silent server takes all the time it is given */
    FETCH_RETRY_MIN_MS = 2000, /* after a failure; doubles up to revocation.fetch_every */
    FETCH_TIMES = 6,           /* of revocation.timeout */
};

/* A URL that is no longer configured, whose list is still in force. */
struct lists_leaving {
    struct lists_leaving *next;
    char *text;  /* owned */
    int64_t due; /* clock */
};

/* Three quarters of what is left of the list, or the schedule, whichever is sooner; not positive: it has ended. */
static int64_t next_fetch(const struct identity_lists *l, const struct lists_url *u)
{
    int64_t every = (int64_t)l->owner->settings->revocation.fetch_every, now = identity_wall(), wait = every;

    for (size_t n = 0; n < crl_set_count(l->set); n++) {
        struct crl_entry entry = crl_set_at(l->set, n);
        int64_t left = (entry.next_update - now) / 4 * 3;

        if (strcmp(entry.source, u->text) == 0 && left < wait)
            wait = left;
    }
    return wait > 0 && wait < 1000 ? 1000 : wait;
}

/* Later each time. */
static void back_off(struct lists_url *u)
{
    int64_t every = (int64_t)u->owner->owner->settings->revocation.fetch_every;

    u->backoff = u->backoff == 0 ? FETCH_RETRY_MIN_MS : u->backoff * 2;
    if (u->backoff > every)
        u->backoff = every;
    u->due = identity_clock() + u->backoff;
}

static void fetch_failed(struct lists_url *u, const char *why)
{
    struct identity_lists *l = u->owner;

    l->fetch_failed++;
    back_off(u);
    snprintf(u->trouble, sizeof u->trouble, "%.*s", (int)sizeof u->trouble - 1, why);
    lists_refuse(l, u->text, why);
}

static void fetched(void *ctx, const struct identity_fetched *f)
{
    struct lists_url *u = ctx;
    struct identity_lists *l = u->owner;
    char reason[IDENTITY_REASON_MAX + 1];
    struct err e = {0};
    int64_t wait;

    u->request = 0;
    l->fetching--;
    if (f->status != 200) {
        snprintf(reason, sizeof reason, "%.*s", SLICE_ARGS(f->reason));
        fetch_failed(u, reason);
        return;
    }
    l->fetched++;
    if (!lists_take(l, u->text, f->body, &u->kept, &e)) {
        fetch_failed(u, e.text);
        return;
    }
    u->taken = true;
    u->trouble[0] = '\0';
    wait = next_fetch(l, u);
    if (wait <= 0) { /* within `max_stale`: its server has no other yet */
        back_off(u);
        return;
    }
    u->backoff = 0;
    u->due = identity_clock() + wait;
}

static void fetch(struct lists_url *u)
{
    struct identity_lists *l = u->owner;
    const struct settings *s = l->owner->settings;
    struct identity_fetch f = {.url = slice_text(u->text), .most = s->revocation.crl_bytes, .timeout = s->revocation.timeout * FETCH_TIMES};

    u->request = identity_ask_begin(l->owner->ask, &f, fetched, u);
    if (u->request != 0)
        l->fetching++;
    else
        u->due = identity_clock() + 1000; /* `fetch` is not there yet */
}

static bool may_fetch(const struct identity_lists *l, const struct lists_url *u)
{
    unsigned troubled = 0;

    for (unsigned n = 0; n < l->url_count; n++)
        troubled += l->urls[n].request != 0 && l->urls[n].trouble[0] != '\0';
    return l->fetching < FETCH_AT_ONCE && (u->trouble[0] == '\0' || troubled < FETCH_TROUBLED_MAX);
}

/* In turns: the next round begins behind the last one that was fetched. */
static void fetch_due(struct identity_lists *l)
{
    unsigned first = l->next_url;

    for (unsigned n = 0; n < l->url_count; n++) {
        unsigned at = (first + n) % l->url_count;
        struct lists_url *u = &l->urls[at];

        if (u->request != 0 || identity_clock() < u->due || !may_fetch(l, u))
            continue;
        fetch(u);
        l->next_url = at + 1;
    }
}

static void end_url(struct identity_lists *l, struct lists_url *u)
{
    if (u->request != 0) {
        identity_ask_forget(l->owner->ask, u->request);
        l->fetching--;
    }
    free(u->text);
}

static bool is_wanted(const struct settings_list *urls, const char *text)
{
    for (unsigned n = 0; n < urls->count; n++)
        if (strcmp(urls->items[n], text) == 0)
            return true;
    return false;
}

static bool is_there(const struct identity_lists *l, const char *text)
{
    for (unsigned n = 0; n < l->url_count; n++)
        if (strcmp(l->urls[n].text, text) == 0)
            return true;
    return false;
}

static void let_leave(struct identity_lists *l, const char *text)
{
    struct lists_leaving *one = mem_zalloc(1, sizeof *one);

    *one = (struct lists_leaving){l->leaving, mem_strdup(text), identity_clock() + LEAVING_MS};
    l->leaving = one;
}

/* Unless it is configured again by now. */
static void drop_leaving(struct identity_lists *l, bool all)
{
    struct lists_leaving **at = &l->leaving;

    while (*at != NULL) {
        struct lists_leaving *one = *at;

        if (!all && identity_clock() < one->due) {
            at = &one->next;
            continue;
        }
        if (!all && !is_there(l, one->text))
            lists_drop(l, one->text, false, "no longer configured");
        *at = one->next;
        free(one->text);
        free(one);
    }
}

/* Those no longer named are to leave, those newly named begin. */
void lists_urls_configure(struct identity_lists *l)
{
    const struct settings_list *urls = &l->owner->settings->revocation.fetch;
    bool same = urls->count == l->url_count;

    for (unsigned n = 0; n < l->url_count; n++)
        same = same && is_wanted(urls, l->urls[n].text);
    if (!same) {
        for (unsigned n = 0; n < l->url_count; n++) {
            if (!is_wanted(urls, l->urls[n].text) && l->urls[n].taken)
                let_leave(l, l->urls[n].text);
            end_url(l, &l->urls[n]);
        }
        l->url_count = 0;
        for (unsigned n = 0; n < urls->count; n++)
            if (!is_there(l, urls->items[n]))
                l->urls[l->url_count++] = (struct lists_url){.owner = l, .text = mem_strdup(urls->items[n])};
    }
    for (unsigned n = 0; n < l->url_count; n++) {
        if (!l->urls[n].taken)
            l->urls[n].taken = l->urls[n].kept = lists_take_kept(l, l->urls[n].text);
        l->urls[n].due = 0;
    }
    fetch_due(l);
}

void lists_urls_tick(struct identity_lists *l)
{
    drop_leaving(l, false);
    fetch_due(l);
}

void lists_urls_again(struct identity_lists *l)
{
    for (unsigned n = 0; n < l->url_count; n++)
        l->urls[n].taken = false;
}

const struct lists_url *lists_urls_troubled(const struct identity_lists *l)
{
    for (unsigned n = 0; n < l->url_count; n++)
        if (l->urls[n].trouble[0] != '\0')
            return &l->urls[n];
    return NULL;
}

void lists_urls_free(struct identity_lists *l)
{
    for (unsigned n = 0; n < l->url_count; n++)
        end_url(l, &l->urls[n]);
    drop_leaving(l, true);
}
