/* Requests of the identity role to `fetch`, each with a deadline of its own: see identity_internal.h. What comes back was brought, not judged. */
#include <poll.h>
#include <stdlib.h>

#include "common/identity/identity_internal.h"
#include "common/values/log.h"

struct request {
    uint32_t number;
    int64_t deadline; /* identity_clock() */
    identity_asked *done;
    void *ctx;
};

struct identity_ask {
    struct identity *owner;
    struct channel *channel; /* NULL: away */
    struct map requests;     /* owned struct request by number */
    bool lost;               /* by us or by it: another is asked for */
    uint32_t last;
};

struct identity_ask *identity_ask_new(struct identity *i)
{
    struct identity_ask *a = mem_zalloc(1, sizeof *a);

    a->owner = i;
    return a;
}

/* The request is no more when done() is called: it may begin another. */
static void finish(struct identity_ask *a, struct request *r, const struct identity_fetched *f)
{
    struct request copy = *r;

    free(map_take(&a->requests, r->number));
    copy.done(copy.ctx, f);
}

static void fail(struct identity_ask *a, struct request *r, const char *why)
{
    struct identity_fetched f = {.request = r->number, .reason = slice_text(why)};

    finish(a, r, &f);
}

/* Those whose time is over, or all; what done() begins meanwhile is left alone by the first. */
static struct request *find_due(struct identity_ask *a, int64_t now)
{
    size_t place = 0;
    struct request *r;

    while ((r = map_next(&a->requests, &place)) != NULL)
        if (r->deadline <= now)
            return r;
    return NULL;
}

static void lose(struct identity_ask *a, const char *why)
{
    struct request *r;

    if (a->channel != NULL)
        log_warning("channel-bad", "fetch: %s", why);
    channel_free(a->channel);
    a->channel = NULL;
    a->lost = true;
    /* Without a channel nothing new can be asked, so this ends. */
    while ((r = find_due(a, INT64_MAX)) != NULL)
        fail(a, r, "the fetch role has ended");
}

void identity_ask_free(struct identity_ask *a)
{
    size_t place = 0;
    struct request *r;

    if (a == NULL)
        return;
    while ((r = map_next(&a->requests, &place)) != NULL)
        free(r);
    map_free(&a->requests);
    channel_free(a->channel);
    free(a);
}

void identity_ask_link(struct identity_ask *a, struct channel *c)
{
    if (a->channel != NULL)
        lose(a, "it has started again");
    a->channel = c;
    a->lost = false;
}

int identity_ask_fd(const struct identity_ask *a, short *events)
{
    *events = (short)(POLLIN | (a->channel != NULL && channel_queued(a->channel) != 0 ? POLLOUT : 0));
    return a->channel == NULL ? -1 : channel_fd(a->channel);
}

uint32_t identity_ask_begin(struct identity_ask *a, struct identity_fetch *f, identity_asked *done, void *ctx)
{
    struct err e = {0};
    struct request *r;

    do
        f->request = ++a->last;
    while (f->request == 0 || map_get(&a->requests, f->request) != NULL);
    if (a->channel == NULL)
        return 0;
    if (!identity_send_fetch(a->channel, f, &e)) {
        log_warning("fetch-refused", "%.*s: %s", SLICE_ARGS(f->url), e.text);
        return 0;
    }
    r = mem_zalloc(1, sizeof *r);
    *r = (struct request){.number = f->request, .deadline = identity_clock() + (int64_t)f->timeout, .done = done, .ctx = ctx};
    map_put(&a->requests, r->number, r);
    return r->number;
}

void identity_ask_forget(struct identity_ask *a, uint32_t request)
{
    free(map_take(&a->requests, request));
}

/* An answer that comes after its deadline belongs to nobody. */
static bool take(struct identity_ask *a, const struct channel_message *m, struct err *e)
{
    struct identity_fetched f;
    struct request *r;

    if (m->type != IDENTITY_FETCHED)
        return err_set(e, ERR_INPUT, "message %u makes no sense", m->type);
    if (!identity_read_fetched(m->body, &f, e))
        return false;
    r = map_get(&a->requests, f.request);
    if (r != NULL)
        finish(a, r, &f);
    return true;
}

void identity_ask_serve(struct identity_ask *a)
{
    enum channel_result r = CHANNEL_EMPTY;
    struct channel_message m;
    struct err e = {0};

    if (a->channel == NULL)
        return;
    if (!channel_flush(a->channel, &e)) {
        lose(a, e.text);
        return;
    }
    while ((r = channel_receive(a->channel, &m, &e)) == CHANNEL_MESSAGE)
        if (!take(a, &m, &e)) {
            role_kill_sibling(a->owner->role, "fetch", 0);
            break;
        }
    if (r != CHANNEL_EMPTY)
        lose(a, e.text);
}

void identity_ask_tick(struct identity_ask *a)
{
    int64_t now = identity_clock();
    struct request *r;

    while ((r = find_due(a, now)) != NULL)
        fail(a, r, "no answer in time");
    if (a->lost)
        role_relink(a->owner->role, "fetch", 0);
    a->lost = false;
}

void identity_ask_flush(struct identity_ask *a)
{
    struct err e = {0};

    if (a->channel != NULL && !channel_flush(a->channel, &e))
        lose(a, e.text);
}
