/* The files a daemon's parent writes for people and monitors: <daemon>.status and <daemon>.prom. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/system/parent_internal.h"
#include "common/values/log.h"

static bool write_whole(const char *folder, const char *name, const char *suffix, struct slice text)
{
    char *path = mem_printf("%s/%s.%s", folder, name, suffix), *fresh = mem_printf("%s.new", path);
    FILE *out = fopen(fresh, "we");
    bool ok = out != NULL;

    if (ok && text.len != 0)
        ok = fwrite(text.at, 1, text.len, out) == text.len;
    if (out != NULL)
        ok = fclose(out) == 0 && ok;
    ok = ok && rename(fresh, path) == 0;
    if (!ok)
        unlink(fresh);
    free(path);
    free(fresh);
    return ok;
}

/* Said when it begins and when it ends: a full disk stays so for long. */
static void say_unwritten(const struct parent *parent, bool *unwritten, bool ok, const char *suffix)
{
    if (!ok && !*unwritten)
        log_error("status-unwritten", "%s/%s.%s cannot be written: what it says is old", parent->s->state_dir, parent->d->name, suffix);
    else if (ok && *unwritten)
        log_info("status-written", "%s/%s.%s is up to date again", parent->s->state_dir, parent->d->name, suffix);
    *unwritten = !ok;
}

static const char *state_word(const struct parent *parent)
{
    if (parent->draining)
        return "draining";
    for (unsigned i = 0; i < parent->count; i++)
        if (!parent->processes[i].ready)
            return "degraded";
    return "ready";
}

void parent_write_status(struct parent *parent)
{
    struct buf b;
    bool ok;

    buf_init(&b, 1 << 20);
    ok = buf_printf(&b, NULL, "state %s\npid %ld\n", state_word(parent), (long)getpid());
    for (unsigned i = 0; i < parent->count; i++) {
        const struct process *p = &parent->processes[i];

        ok = ok && buf_printf(&b, NULL, "role %s %u pid %ld %s %s\n", p->kind->name, p->index, (long)p->pid,
                              p->pid == 0 && *p->unfit == '\0' ? "down" : p->ready ? "ready" : "not-ready", p->note);
    }
    ok = ok && parent_reload_status(parent, &b);
    ok = ok && write_whole(parent->s->state_dir, parent->d->name, "status", buf_slice(&b));
    say_unwritten(parent, &parent->status_unwritten, ok, "status");
    parent->status_due = false;
    buf_free(&b);
}

/* Adds the role's labels to each line of its metrics: "name 1" or "name{a="b"} 1". Labels make many short lines longer than a reader of the file takes: what is too much is left out. */
static bool add_metrics(struct buf *b, const struct process *p)
{
    const char *line = p->metrics;
    size_t most = b->len + ROLE_METRICS_MAX;
    bool ok = true;

    while (line != NULL && *line != '\0' && ok && b->len < most) {
        const char *end = strchrnul(line, '\n'), *brace = memchr(line, '{', (size_t)(end - line)),
                   *space = memchr(line, ' ', (size_t)(end - line));

        if (*line == '#')
            ok = buf_printf(b, NULL, "%.*s\n", (int)(end - line), line);
        else if (brace != NULL)
            ok = buf_printf(b, NULL, "%.*s{role=\"%s\",index=\"%u\",%.*s\n", (int)(brace - line), line, p->kind->name,
                            p->index, (int)(end - brace - 1), brace + 1);
        else if (space != NULL)
            ok = buf_printf(b, NULL, "%.*s{role=\"%s\",index=\"%u\"}%.*s\n", (int)(space - line), line, p->kind->name,
                            p->index, (int)(end - space), space);
        line = *end == '\0' ? end : end + 1;
    }
    return ok;
}

void parent_write_metrics(struct parent *parent)
{
    struct buf b;
    bool ok = true;

    buf_init(&b, 8 << 20);
    for (unsigned i = 0; i < parent->count && ok; i++) {
        const struct process *p = &parent->processes[i];

        ok = buf_printf(&b, NULL, "coffre_role_ready{role=\"%s\",index=\"%u\"} %d\n", p->kind->name, p->index, p->ready) &&
             add_metrics(&b, p);
    }
    ok = ok && parent_reload_metrics(parent, &b);
    ok = ok && write_whole(parent->s->state_dir, parent->d->name, "prom", buf_slice(&b));
    say_unwritten(parent, &parent->metrics_unwritten, ok, "prom");
    /* What changed while it could not be said. */
    if (ok && parent->status_unwritten)
        parent_write_status(parent);
    buf_free(&b);
}
