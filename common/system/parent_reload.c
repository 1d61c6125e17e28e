/*
 * The configuration while a daemon runs: read again at SIGHUP, and when it or a file it names has changed. What is new is checked completely, in a process of its own, before any role hears of it;
 * refused, everything stays as it is, and it is said once. Files are looked at once a second by name: replaced, rewritten or links turned to another folder, whatever it was, they differ.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "common/system/parent_internal.h"
#include "common/values/log.h"
#include "common/values/wire.h"

enum {
    ONCE_MAX = 4,
    WATCHED_MAX = 512,
    TEXT_MAX = 1024,
    RESTLESS_MS = 10000, /* a file that goes on changing is taken, or refused, as it is then */
    SPACING_MS = 500,    /* between two readings: each keeps the parent and all roles busy */
    REFUSALS_MAX = 8,    /* of one role, of one reading: log and journal are not its to fill */
};

/* A file as stat(2) shows it: whatever replaces or rewrites it changes one of these. */
struct stamp {
    bool there;
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec modified, changed; /* the latter with permissions too: a key that everybody could read is looked at again */
};

struct watched {
    char *path; /* owned */
    struct stamp stamp;
};

struct parent_reload {
    struct watched files[WATCHED_MAX];
    unsigned count;
    struct stamp once[ONCE_MAX]; /* as the daemon was started, in the order of settings_files_read_once() */
    unsigned once_seen;
    bool changed;               /* since the last reading */
    int64_t changing;           /* since when, monotonic ms */
    int64_t ended;              /* when the last reading was over */
    struct event *asked;        /* a signal that came too soon after another */
    char trouble[ERR_TEXT_MAX]; /* why the last one was refused; "": it was not */
    char restart[TEXT_MAX];     /* keys that differ from what the daemon was started with */
    time_t at;                  /* of the last reading; 0: none */
    uint32_t taken;   /* readings that were correct: the number of the last */
    uint32_t settled; /* the last of them that all roles are through with, or with a later one */
    uint32_t partly;  /* readings from this one on are not counted as partial yet: one is once, however many roles refuse it */
    uint64_t done, refused, partial;
};

/* ---- files ---------------------------------------------------------------------------------- */

/* Folders say nothing: what is in them is other people's business, unless their path ends in "/". */
static struct stamp look(const char *path)
{
    size_t len = strlen(path);
    struct stat st;

    if (stat(path, &st) != 0 || (S_ISDIR(st.st_mode) && (len == 0 || path[len - 1] != '/')))
        return (struct stamp){0};
    return (struct stamp){true, st.st_dev, st.st_ino, st.st_size, st.st_mtim, st.st_ctim};
}

static bool same(const struct stamp *a, const struct stamp *b)
{
    return a->there == b->there && a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->modified.tv_sec == b->modified.tv_sec && a->modified.tv_nsec == b->modified.tv_nsec && a->changed.tv_sec == b->changed.tv_sec &&
           a->changed.tv_nsec == b->changed.tv_nsec;
}

static void watch(void *ctx, const char *path)
{
    struct parent_reload *r = ctx;

    for (unsigned i = 0; i < r->count; i++)
        if (strcmp(r->files[i].path, path) == 0)
            return;
    if (r->count < WATCHED_MAX)
        r->files[r->count++] = (struct watched){mem_strdup(path), look(path)};
}

static void forget(struct parent_reload *r)
{
    for (unsigned i = 0; i < r->count; i++)
        free(r->files[i].path);
    r->count = 0;
}

/*
 * What is in force, and what was refused: a file that was missing may come. Those watched already keep the stamp of before the reading, so that
 * what changed meanwhile is seen.
 */
static void watch_all(struct parent *parent, const struct settings *refused)
{
    struct parent_reload *r = parent->reload, before = *r;

    r->count = 0;
    watch(r, parent->s->file);
    settings_files(parent->s, parent->d->part, watch, r);
    if (refused != NULL)
        settings_files(refused, parent->d->part, watch, r);
    for (unsigned i = 0; i < before.count; i++)
        for (unsigned k = 0; k < r->count; k++)
            if (strcmp(before.files[i].path, r->files[k].path) == 0)
                r->files[k].stamp = before.files[i].stamp;
    forget(&before);
}

/* True when something is not as it was at the last look. */
static bool differs(struct parent_reload *r)
{
    bool any = false;

    for (unsigned i = 0; i < r->count; i++) {
        struct stamp now = look(r->files[i].path);

        any = any || !same(&now, &r->files[i].stamp);
        r->files[i].stamp = now;
    }
    return any;
}

static void stamp_once(void *ctx, const char *key, const char *path)
{
    struct parent_reload *r = ctx;

    (void)key;
    if (r->once_seen < ONCE_MAX)
        r->once[r->once_seen++] = look(path);
}

/* Who may read it is no matter here. */
static void compare_once(void *ctx, const char *key, const char *path)
{
    struct parent_reload *r = ctx;
    struct stamp now = look(path);
    const struct stamp *then = &r->once[r->once_seen++];
    size_t used = strlen(r->restart);

    now.changed = then->changed;
    if (!same(&now, then) && used + strlen(key) + 3 < sizeof r->restart)
        snprintf(r->restart + used, sizeof r->restart - used, "%s%s", used == 0 ? "" : ", ", key);
}

/* Keys whose values differ from those at the start, and keys of files whose contents do. */
static void find_what_needs_a_start(struct parent *parent, struct settings *fresh)
{
    struct parent_reload *r = parent->reload;

    (void)settings_keep(fresh, parent->started, r->restart, sizeof r->restart);
    r->once_seen = 0;
    settings_files_read_once(parent->started, parent->d->part, compare_once, r);
    if (*r->restart != '\0')
        log_warning("restart-needed", "these stay as they are until the daemon is started again: %s", r->restart);
}

/* ---- reading -------------------------------------------------------------------------------- */

/* An operator and a vault are for ever: whoever changes them means another deployment. */
static bool check_same_vault(const struct parent *parent, const struct settings *fresh, struct err *e)
{
    const struct settings *s = parent->started;
    const char *key = strcmp(fresh->vault.operator_id, s->vault.operator_id) != 0 ? "vault.operator" : fresh->vault.number != s->vault.number ? "vault.number" : NULL;

    if (key == NULL)
        return true;
    err_set(e, ERR_INPUT, "%s: can never change", key);
    return settings_locate(fresh, e);
}

static struct settings *read_again(const struct parent *parent, struct buf *text, struct err *e)
{
    return settings_read_text(parent->started->file, text, e) ? settings_read(parent->started->file, buf_slice(text), parent->d->part, e) : NULL;
}

uint32_t parent_reload_number(const struct parent *parent)
{
    return parent->reload->taken;
}

/* A role that is not through with the last reload; NULL: all are. */
static const struct process *awaited(const struct parent *parent)
{
    for (unsigned i = 0; i < parent->count; i++)
        if (parent->processes[i].pid != 0 && parent->processes[i].reading != parent_reload_number(parent))
            return &parent->processes[i];
    return NULL;
}

void parent_reload_settle(struct parent *parent)
{
    struct parent_reload *r = parent->reload;

    if (r->settled == r->taken || awaited(parent) != NULL)
        return;
    r->settled = r->taken;
    r->done += r->partly <= r->taken;
}

/* What stands in the status of a role that has not been told. */
static const char deaf[] = "it does not listen, and is told when it does";

static void take(struct parent *parent, struct settings *fresh, struct buf *text)
{
    struct parent_reload *r = parent->reload;

    find_what_needs_a_start(parent, fresh);
    if (parent->s != parent->started)
        settings_free(parent->s);
    parent->s = fresh;
    buf_free(&parent->text);
    parent->text = *text;
    *text = (struct buf){0};
    r->taken++;
    *r->trouble = '\0';
    log_set_level(settings_log_level(fresh));
    log_info("reloaded", "configuration and files are read again");
    for (unsigned i = 0; i < parent->count; i++) {
        *parent->processes[i].refused = '\0';
        parent->processes[i].refusals = 0;
        parent_reload_tell(&parent->processes[i]);
    }
    parent_reload_settle(parent);
}

static bool send_reading(struct process *p)
{
    struct buf b;
    struct wire_writer w;
    bool ok;

    buf_init(&b, SETTINGS_TEXT_MAX + 4);
    w = wire_write(&b);
    wire_put_u32(&w, parent_reload_number(p->parent));
    wire_put_fixed(&w, p->parent->text.data, p->parent->text.len);
    ok = wire_ok(&w, "RELOAD", NULL) && parent_tell(p, PARENT_RELOAD, buf_slice(&b));
    buf_free(&b);
    return ok;
}

/* One that does not listen has one message to take in the end, however often the files have changed. */
void parent_reload_tell(struct process *p)
{
    bool owed = p->owes_reload;

    p->owes_reload = p->channel != NULL && (channel_queued(p->channel) != 0 || !send_reading(p));
    if (p->owes_reload && *p->refused == '\0') {
        parent_reload_refused_by(p, parent_reload_number(p->parent), slice_text(deaf));
    } else if (owed && !p->owes_reload && strcmp(p->refused, deaf) == 0) {
        *p->refused = '\0';
        parent_write_status(p->parent);
    }
}

/* Who keeps a journal writes it there. */
static void tell_refusal(struct parent *parent, const char *why)
{
    uint8_t bytes[ERR_TEXT_MAX + 2];
    struct buf b = {.data = bytes, .capacity = sizeof bytes, .max = sizeof bytes};
    struct wire_writer w = wire_write(&b);

    wire_put_text(&w, slice_text(why));
    for (unsigned i = 0; i < parent->count; i++)
        if (!parent_tell(&parent->processes[i], PARENT_REFUSED, buf_slice(&b)))
            log_debug("role-silent", "%s does not hear that the reload was refused", parent->processes[i].kind->name);
}

/* Of an earlier reading, when the role had not come to it before the next was taken: that says nothing about the one in force. */
void parent_reload_refused_by(struct process *p, uint32_t reading, struct slice why)
{
    struct parent_reload *r = p->parent->reload;
    bool last = reading == parent_reload_number(p->parent);
    char text[ERR_TEXT_MAX], line[ROLE_NOTE_MAX];

    if (p->refusals++ >= REFUSALS_MAX)
        return;
    parent_keep_line(line, why);
    if (last)
        snprintf(p->refused, sizeof p->refused, "%s", line);
    if (reading >= r->partly) {
        r->partial++;
        r->partly = reading + 1;
    }
    snprintf(text, sizeof text, "%s %u %s: %s", p->kind->name, p->index, last ? "goes on with what it had" : "did not take what was read before this", line);
    log_error("reload-refused", "%s", text);
    tell_refusal(p->parent, text);
    parent_write_status(p->parent);
}

bool parent_reload_over(struct process *p, uint32_t reading)
{
    if (reading <= p->reading || reading > parent_reload_number(p->parent))
        return false;
    p->reading = reading;
    parent_reload_settle(p->parent);
    if (reading == parent_reload_number(p->parent))
        parent_write_status(p->parent);
    return true;
}

static void read_now(struct parent *parent)
{
    struct parent_reload *r = parent->reload;
    struct settings *fresh;
    struct err e = {0};
    struct buf text;

    buf_init(&text, SETTINGS_TEXT_MAX);
    fresh = read_again(parent, &text, &e);
    r->changed = false;
    r->at = time(NULL);
    if (fresh != NULL && check_same_vault(parent, fresh, &e) && daemon_check_apart(parent->d, fresh, &e)) {
        take(parent, fresh, &text);
        watch_all(parent, NULL);
    } else {
        r->refused++;
        snprintf(r->trouble, sizeof r->trouble, "%s", e.text);
        log_error("reload-refused", "what is in force stays: %s", e.text);
        tell_refusal(parent, e.text);
        watch_all(parent, fresh);
        settings_free(fresh);
    }
    buf_free(&text);
    parent_retry_unfit(parent);
    parent_write_status(parent);
    r->ended = parent_now();
}

static void asked(evutil_socket_t fd, short what, void *arg)
{
    struct parent *parent = arg;

    (void)fd;
    (void)what;
    if (!parent->draining)
        read_now(parent);
}

void parent_reload_ask(struct parent *parent)
{
    struct parent_reload *r = parent->reload;
    int64_t ms = r->ended == 0 ? 0 : r->ended + SPACING_MS - parent_now();
    struct timeval later = {0, (suseconds_t)(ms < 0 ? 0 : ms) * 1000};

    if (!parent->draining && evtimer_pending(r->asked, NULL) == 0)
        evtimer_add(r->asked, &later);
}

void parent_reload_tick(struct parent *parent)
{
    struct parent_reload *r = parent->reload;
    bool moving = differs(r);

    if (moving && !r->changed)
        r->changing = parent_now();
    r->changed = r->changed || moving;
    /* Whoever changes it may not be through. */
    if (r->changed && !parent->draining && (!moving || parent_now() - r->changing >= RESTLESS_MS))
        read_now(parent);
}

/* ---- life and figures ------------------------------------------------------------------------ */

void parent_reload_begin(struct parent *parent)
{
    parent->reload = mem_zalloc(1, sizeof *parent->reload);
    parent->reload->asked = evtimer_new(parent->base, asked, parent);
    watch_all(parent, NULL);
    settings_files_read_once(parent->started, parent->d->part, stamp_once, parent->reload);
}

void parent_reload_end(struct parent *parent)
{
    forget(parent->reload);
    event_free(parent->reload->asked);
    free(parent->reload);
    if (parent->s != parent->started)
        settings_free(parent->s);
}

/* A role that goes on with what it had before the last reload; NULL: all have taken it. */
static const struct process *refusing(const struct parent *parent)
{
    for (unsigned i = 0; i < parent->count; i++)
        if (*parent->processes[i].refused != '\0')
            return &parent->processes[i];
    return NULL;
}

static bool put_outcome(const struct parent *parent, struct buf *b)
{
    const struct process *p;

    if (*parent->reload->trouble != '\0')
        return buf_printf(b, NULL, "refused %s\n", parent->reload->trouble);
    if ((p = refusing(parent)) != NULL)
        return buf_printf(b, NULL, "refused %s %u: %s\n", p->kind->name, p->index, p->refused);
    if ((p = awaited(parent)) != NULL)
        return buf_printf(b, NULL, "under way: %s %u has not come to it\n", p->kind->name, p->index);
    return buf_printf(b, NULL, "done\n");
}

bool parent_reload_status(const struct parent *parent, struct buf *b)
{
    const struct parent_reload *r = parent->reload;
    char when[32];
    struct tm utc;

    if (r->at != 0) {
        strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&r->at, &utc));
        if (!buf_printf(b, NULL, "reload %s ", when) || !put_outcome(parent, b))
            return false;
    }
    return *r->restart == '\0' || buf_printf(b, NULL, "restart-needed %s\n", r->restart);
}

bool parent_reload_metrics(const struct parent *parent, struct buf *b)
{
    return buf_printf(b, NULL, "coffre_reloads_total{result=\"done\"} %llu\ncoffre_reloads_total{result=\"refused\"} %llu\ncoffre_reloads_total{result=\"partial\"} %llu\n",
                      (unsigned long long)parent->reload->done, (unsigned long long)parent->reload->refused, (unsigned long long)parent->reload->partial);
}
