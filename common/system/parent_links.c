/* What passes between a daemon's parent and its roles: settings, sockets, channels to siblings, what roles say. See parent_internal.h. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/system/parent_internal.h"
#include "common/values/log.h"
#include "common/values/wire.h"

enum { MESSAGES_A_TURN = 64 };

int64_t parent_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static struct process *find(struct parent *parent, struct slice kind, unsigned index)
{
    for (unsigned i = 0; i < parent->count; i++)
        if (parent->processes[i].index == index && slice_is(kind, parent->processes[i].kind->name))
            return &parent->processes[i];
    return NULL;
}

bool parent_tell(struct process *p, enum parent_message type, struct slice body)
{
    struct err e = {0};

    if (p->channel == NULL || (channel_send(p->channel, (uint16_t)type, body, &e) && channel_flush(p->channel, &e)))
        return true;
    log_debug("role-silent", "%s: %s", p->kind->name, e.text);
    return false;
}

static bool tell_ended(struct process *journal, const struct process *of)
{
    uint8_t bytes[ROLE_NOTE_MAX + 100];
    struct buf b = {.data = bytes, .capacity = sizeof bytes, .max = sizeof bytes};
    struct wire_writer w = wire_write(&b);

    wire_put_text(&w, slice_text(of->kind->name));
    wire_put_u32(&w, of->index);
    wire_put_text(&w, slice_text(of->ended));
    return parent_tell(journal, PARENT_ENDED, buf_slice(&b));
}

void parent_tell_ended(struct parent *parent)
{
    struct process *journal = find(parent, slice_text("journal"), 0);

    for (unsigned i = 0; i < parent->count && journal != NULL && journal->channel != NULL; i++)
        if (*parent->processes[i].ended != '\0' && tell_ended(journal, &parent->processes[i]))
            *parent->processes[i].ended = '\0';
}

void parent_flush(struct parent *parent)
{
    for (unsigned i = 0; i < parent->count; i++) {
        struct process *p = &parent->processes[i];

        if (p->channel == NULL)
            continue;
        if (!channel_flush(p->channel, NULL))
            log_debug("role-silent", "%s is gone", p->kind->name);
        else if (channel_queued(p->channel) == 0 && p->owes_drain)
            p->owes_drain = !parent_tell(p, PARENT_DRAIN, slice_of(NULL, 0));
        else if (channel_queued(p->channel) == 0 && p->owes_reload)
            parent_reload_tell(p);
    }
}

static bool kind_links_to(const struct role_kind *a, const struct role_kind *b)
{
    for (unsigned i = 0; i < ROLE_LINKS_MAX && a->links[i] != NULL; i++)
        if (strcmp(a->links[i], b->name) == 0)
            return true;
    return false;
}

static bool send_end(struct process *to, const struct process *peer, int fd, struct err *e)
{
    struct buf b;
    struct wire_writer w;
    bool ok;

    buf_init(&b, 64);
    w = wire_write(&b);
    wire_put_text(&w, slice_text(peer->kind->name));
    wire_put_u32(&w, peer->index);
    ok = channel_send_fd(to->channel, PARENT_LINK, buf_slice(&b), fd, e);
    buf_free(&b);
    return ok;
}

static bool are_siblings(const struct process *p, const struct process *q)
{
    return q != p && (kind_links_to(p->kind, q->kind) || kind_links_to(q->kind, p->kind));
}

void parent_link(struct process *p, struct process *q)
{
    struct err e = {0};
    int fds[2];

    if (!channel_pair(fds, &e)) {
        log_error("link-failed", "%s to %s, tried again: %s", p->kind->name, q->kind->name, e.text);
        parent_relink_ask(p, q);
        return;
    }
    if (!send_end(q, p, fds[0], &e) || !send_end(p, q, fds[1], &e)) {
        log_warning("link-failed", "%s to %s, tried again: %s", p->kind->name, q->kind->name, e.text);
        /* One that is dying is linked again by its own restart. */
        if (e.code == ERR_RETRY)
            parent_relink_ask(p, q);
    }
    close(fds[0]);
    close(fds[1]);
}

/* Gives a role just started a channel to each running sibling it talks to. */
static void link_siblings(struct process *p)
{
    for (unsigned i = 0; i < p->parent->count; i++)
        if (are_siblings(p, &p->parent->processes[i]) && p->parent->processes[i].channel != NULL)
            parent_link(p, &p->parent->processes[i]);
}

static void hand_listeners(struct process *p)
{
    for (unsigned i = 0; i < p->parent->listener_count && p->kind->listens; i++) {
        struct err e = {0};

        if (!channel_send_fd(p->channel, PARENT_LISTENER, slice_of(NULL, 0), p->parent->listeners[i], &e))
            log_warning("link-failed", "listener to %s: %s", p->kind->name, e.text);
    }
}

/* The text it was started with too: what only a start changes is for all roles what it was then. */
static void hand_settings(struct process *p)
{
    const struct parent *parent = p->parent;
    struct buf b;
    struct wire_writer w;

    buf_init(&b, 2 * SETTINGS_TEXT_MAX + sizeof parent->node + 20);
    w = wire_write(&b);
    wire_put_bytes(&w, buf_slice(&parent->started_text));
    wire_put_bytes(&w, buf_slice(&parent->text));
    wire_put_text(&w, slice_text(parent->node));
    wire_put_u32(&w, parent_reload_number(parent));
    (void)parent_tell(p, PARENT_SETTINGS, buf_slice(&b));
    buf_free(&b);
}

void parent_introduce(struct process *p)
{
    p->heard = parent_now(); /* its start is not silence */
    p->pinged = 0;
    hand_settings(p);
    hand_listeners(p);
    link_siblings(p);
    parent_unfit_introduce(p);
    parent_tell_ended(p->parent);
}

/* ---- what roles say --------------------------------------------------------------------- */

void parent_keep_line(char out[ROLE_NOTE_MAX], struct slice text)
{
    snprintf(out, ROLE_NOTE_MAX, "%.*s", (int)(text.len < ROLE_NOTE_MAX ? text.len : ROLE_NOTE_MAX - 1), (const char *)text.at);
    for (char *c = out; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20)
            *c = ' ';
}

static bool handle_message(struct process *p, const struct channel_message *m)
{
    struct wire_reader r = wire_read(m->body);
    struct process *other;
    struct slice kind;
    unsigned index;

    if (m->fd >= 0)
        close(m->fd);
    switch (m->type) {
    case ROLE_SAYS_READY:
        parent_unfit_over(p);
        p->ready = wire_get_u8(&r) == 1;
        parent_keep_line(p->note, r.rest);
        p->parent->status_due = true;
        return true;
    case ROLE_SAYS_METRICS:
        if (m->body.len > ROLE_METRICS_MAX)
            return false;
        free(p->metrics);
        p->metrics = mem_text(m->body);
        return true;
    case ROLE_SAYS_KILL:
        kind = wire_get_text(&r);
        index = wire_get_u32(&r);
        other = find(p->parent, kind, index);
        /* Only along a declared link: a role cannot end processes it has nothing to do with. */
        if (other == NULL || !are_siblings(p, other))
            return false;
        if (other->pid == 0 || other->condemned)
            return true; /* once is enough, however often it is said */
        log_error("role-deadline", "%s missed its deadline towards %s: killed", other->kind->name, p->kind->name);
        kill(other->pid, SIGKILL);
        other->condemned = true;
        return true;
    case ROLE_SAYS_RELINK:
        kind = wire_get_text(&r);
        index = wire_get_u32(&r);
        other = find(p->parent, kind, index);
        if (other == NULL || !are_siblings(p, other))
            return false;
        if (other->channel != NULL) /* else its own restart links them */
            parent_relink_ask(p, other);
        return true;
    case ROLE_SAYS_PONG:
        return true;
    case ROLE_SAYS_UNFIT:
        parent_unfit_said(p, m->body);
        return true;
    case ROLE_SAYS_REFUSED:
        index = wire_get_u32(&r);
        if (r.short_read || index > parent_reload_number(p->parent))
            return false;
        parent_reload_refused_by(p, index, r.rest);
        return true;
    case ROLE_SAYS_RELOADED:
        index = wire_get_u32(&r);
        return wire_end(&r, "RELOADED", NULL) && parent_reload_over(p, index);
    default:
        return false;
    }
}

bool parent_read_role(struct process *p)
{
    struct channel_message m;
    struct err e = {0};
    enum channel_result r = CHANNEL_EMPTY;

    for (unsigned n = 0; n < MESSAGES_A_TURN && p->channel != NULL && (r = channel_receive(p->channel, &m, &e)) == CHANNEL_MESSAGE; n++) {
        p->heard = parent_now();
        if (!handle_message(p, &m)) {
            log_error("channel-bad", "message %u from %s makes no sense: killed", m.type, p->kind->name);
            kill(p->pid, SIGKILL);
            r = CHANNEL_CLOSED;
            break;
        }
    }
    if (p->parent->status_due)
        parent_write_status(p->parent);
    /* The end itself is seen by SIGCHLD. */
    if (r == CHANNEL_CLOSED && p->readable != NULL)
        event_del(p->readable);
    return r == CHANNEL_MESSAGE;
}

/* Only a question that was asked can have been left unanswered: a parent that slept itself asks first. */
static void watch(struct process *p, int64_t now, int64_t limit)
{
    if (p->pinged > p->heard && now - p->pinged > limit) {
        log_error("role-hung", "%s %u has not come back to its loop for %lld s: killed", p->kind->name, p->index, (long long)(now - p->pinged) / 1000);
        kill(p->pid, SIGKILL);
        p->pinged = 0;
    } else if (p->pinged <= p->heard && now - p->heard > limit / 4) {
        p->pinged = now;
        (void)parent_tell(p, PARENT_PING, slice_of(NULL, 0));
    }
}

void parent_watch(struct parent *parent)
{
    int64_t now = parent_now(), limit = parent->d->silence_ms == 0 ? ROLE_SILENCE_MS : parent->d->silence_ms;
    /* Stopped, frozen or waiting for a check, with its roles perhaps: what was asked before is no measure. */
    bool slept = parent->watched != 0 && now - parent->watched > limit / 2;

    parent->watched = now;
    for (unsigned i = 0; i < parent->count && !parent->draining; i++)
        if (parent->processes[i].pid != 0 && parent->processes[i].kind->prompt) {
            if (slept && parent->processes[i].pinged > parent->processes[i].heard)
                parent->processes[i].pinged = now;
            watch(&parent->processes[i], now, limit);
        }
}

/* ---- listeners --------------------------------------------------------------------------- */

static bool listen_on(struct parent *parent, const char *where, struct err *e)
{
    struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM}, *found = NULL;
    char host[256];
    const char *colon = strrchr(where, ':');
    int one = 1, zero = 0, fd, why;
    size_t len;

    if (colon == NULL || (len = (size_t)(colon - where)) >= sizeof host)
        return err_set(e, ERR_INPUT, "listen: \"%s\" is not address:port", where);
    if (len >= 2 && where[0] == '[' && where[len - 1] == ']')
        snprintf(host, sizeof host, "%.*s", (int)len - 2, where + 1);
    else
        snprintf(host, sizeof host, "%.*s", (int)len, where);
    if ((why = getaddrinfo(len == 0 ? NULL : host, colon + 1, &hints, &found)) != 0)
        return err_set(e, ERR_INPUT, "listen: \"%s\": %s", where, gai_strerror(why));
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (found->ai_family == AF_INET6)
            setsockopt(fd, IPPROTO_IPV6, 26 /* IPV6_V6ONLY */, &zero, sizeof zero);
    }
    if (fd < 0 || bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, SOMAXCONN) != 0) {
        err_set_errno(e, ERR_FATAL, "listen: \"%s\"", where);
        freeaddrinfo(found);
        if (fd >= 0)
            close(fd);
        return false;
    }
    freeaddrinfo(found);
    parent->listeners[parent->listener_count++] = fd;
    return true;
}

bool parent_open_listeners(struct parent *parent, struct err *e)
{
    const struct settings_list *list = parent->d->listen == NULL ? NULL : parent->d->listen(parent->s);

    for (unsigned i = 0; list != NULL && i < list->count; i++)
        if (!listen_on(parent, list->items[i], e))
            return false;
    return true;
}
