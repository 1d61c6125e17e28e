/* Fetching a file so that it survives every interruption: see download.h. */
#include "exporter/extract/download.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct fetch {
    const struct options *o;
    struct download *d;
    char *part, *tag, *target; /* owned paths */
    struct client_body body;
    bool tty;
    double started, shown;     /* seconds */
    uint64_t started_at;       /* bytes */
};

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- progress ------------------------------------------------------------------------------------ */

static void show(struct fetch *f, bool last)
{
    const struct client_body *b = &f->body;
    double elapsed = now() - f->started;

    fprintf(stderr, "\r%s  %3.0f %%  %.1f of %.1f MiB  %.1f MiB/s%s", f->d->name,
            b->total == 0 ? 0.0 : 100.0 * (double)b->have / (double)b->total, (double)b->have / 1048576,
            (double)b->total / 1048576, elapsed > 0 ? (double)(b->have - f->started_at) / 1048576 / elapsed : 0.0,
            last ? "\033[K\n" : "\033[K");
    fflush(stderr);
}

static void grows(void *ctx)
{
    struct fetch *f = ctx;

    if (!f->tty || f->o->quiet || now() - f->shown < 0.2)
        return;
    f->shown = now();
    show(f, false);
}

/* ---- the parts on disk ------------------------------------------------------------------------------ */

/* The entity-tag and length the part belongs to: written before its first byte. */
static bool begins(void *ctx, struct err *e)
{
    struct fetch *f = ctx;
    FILE *out = fopen(f->tag, "we");
    bool ok = out != NULL && fprintf(out, "%llu %s\n", (unsigned long long)f->body.total, f->body.etag) > 0;

    if (out != NULL && fclose(out) != 0)
        ok = false;
    f->started_at = 0;
    return ok || err_set_errno(e, ERR_FATAL, "%s: cannot be written", f->tag);
}

/* What an earlier run left: from where to go on. */
static void recall(struct fetch *f)
{
    FILE *in = fopen(f->tag, "re");
    unsigned long long total;
    struct stat st;

    if (in == NULL)
        return;
    if (fscanf(in, "%llu %199s", &total, f->body.etag) == 2 && fstat(f->body.fd, &st) == 0 && st.st_size > 0 &&
        (uint64_t)st.st_size <= total && f->body.etag[0] == '"') {
        f->body.total = total;
        f->body.have = (uint64_t)st.st_size;
        f->d->resumed = true;
    } else {
        f->body.etag[0] = '\0';
    }
    fclose(in);
}

static bool sync_folder(const char *folder, struct err *e)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;

    if (fd >= 0)
        close(fd);
    return ok || err_set_errno(e, ERR_FATAL, "%s: cannot be made durable", folder);
}

static enum exit_code forget(struct fetch *f, enum exit_code end)
{
    unlink(f->part);
    unlink(f->tag);
    return end;
}

/* What the vault itself sends damaged would come so again: it is kept aside, for coffre-verify to name what is wrong in it. */
static enum exit_code set_aside(struct fetch *f, struct err *e)
{
    char *name = mem_printf("%s.damaged", f->target);

    if (f->d->resumed || rename(f->part, name) != 0) {
        free(name);
        return forget(f, EXIT_INTEGRITY);
    }
    unlink(f->tag);
    err_prefix(e, "kept as %s, see what coffre-verify says of it", name);
    free(name);
    return EXIT_INTEGRITY;
}

/* Whole: verified, then given its name. */
static enum exit_code finish(struct fetch *f, struct err *e)
{
    if (!check_file(f->body.fd, f->part, f->d->kind, f->body.etag, e))
        return e->code == ERR_INPUT ? set_aside(f, e) : EXIT_FILE;
    /* Never over a file that appeared meanwhile. */
    if (fsync(f->body.fd) != 0 || renameat2(AT_FDCWD, f->part, AT_FDCWD, f->target, RENAME_NOREPLACE) != 0 ||
        !sync_folder(f->o->output, e)) {
        err_set_errno(e, ERR_FATAL, "%s: cannot be put in place", f->target);
        return EXIT_FILE;
    }
    unlink(f->tag);
    f->d->bytes = f->body.total;
    memcpy(f->d->etag, f->body.etag, sizeof f->d->etag);
    return EXIT_ALL;
}

/* ---- attempts ------------------------------------------------------------------------------------------ */

static enum exit_code attempts(struct client *c, struct fetch *f, struct err *e)
{
    unsigned failures = 0;

    for (;;) {
        uint64_t before = f->body.have;
        enum client_result r;

        err_clear(e);
        r = f->body.total != 0 && f->body.have == f->body.total ? CLIENT_COMPLETE : client_fetch(c, f->d->path, &f->body, e);
        switch (r) {
        case CLIENT_COMPLETE:
            return EXIT_ALL;
        case CLIENT_REFUSED:
            return EXIT_REFUSED;
        case CLIENT_FAILED:
            return e->code == ERR_RETRY ? EXIT_NETWORK : EXIT_FILE;
        case CLIENT_AGAIN:
            failures = f->body.have > before ? 1 : failures + 1;
            if (failures > f->o->retries || !client_pause(c, failures))
                return EXIT_NETWORK;
            if (!f->o->quiet)
                fprintf(stderr, "%s%s: %s; trying again from byte %llu\n", f->tty ? "\n" : "", f->d->name, e->text,
                        (unsigned long long)f->body.have);
        }
    }
}

/* NAME is there already: its bytes are compared with the exporter's entity-tag of today. */
static enum exit_code compare(struct client *c, struct fetch *f, int fd, struct err *e)
{
    for (unsigned failures = 1;; failures++) {
        enum client_result r;

        err_clear(e);
        r = client_head(c, f->d->path, &f->body, e);
        if (r == CLIENT_REFUSED)
            return EXIT_REFUSED;
        if (r == CLIENT_COMPLETE)
            break;
        if (r == CLIENT_FAILED || failures > f->o->retries || !client_pause(c, failures))
            return EXIT_NETWORK;
    }
    if (!check_file(fd, f->target, f->d->kind, f->body.etag, e))
        return e->code == ERR_INPUT ? EXIT_INTEGRITY : EXIT_FILE;
    f->d->was_there = true;
    f->d->bytes = f->body.total;
    memcpy(f->d->etag, f->body.etag, sizeof f->d->etag);
    return EXIT_ALL;
}

static bool prepare(struct fetch *f, struct err *e)
{
    f->body.fd = open(f->part, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (f->body.fd < 0)
        return err_set_errno(e, ERR_FATAL, "%s: cannot be written", f->part);
    if (flock(f->body.fd, LOCK_EX | LOCK_NB) != 0)
        return err_set(e, ERR_FATAL, "%s: another coffre-extract is at it", f->part);
    f->body.begins = begins;
    f->body.grows = grows;
    f->body.ctx = f;
    recall(f);
    f->started_at = f->body.have;
    return true;
}

static enum exit_code fetch(struct client *c, struct fetch *f, struct err *e)
{
    enum exit_code end = prepare(f, e) ? attempts(c, f, e) : EXIT_FILE;

    if (f->tty && !f->o->quiet)
        show(f, true);
    return end == EXIT_ALL ? finish(f, e) : end;
}

enum exit_code download_file(struct client *c, const struct options *o, struct download *d, struct err *e)
{
    struct fetch f = {.o = o, .d = d, .tty = isatty(STDERR_FILENO) == 1, .started = now(), .body = {.fd = -1}};
    enum exit_code end = EXIT_FILE;
    int there;

    f.target = mem_printf("%s/%s", o->output, d->name);
    f.part = mem_printf("%s.part", f.target);
    f.tag = mem_printf("%s.part.etag", f.target);
    if (mkdir(o->output, 0700) != 0 && errno != EEXIST) {
        err_set_errno(e, ERR_FATAL, "%s: cannot be created", o->output);
    } else if ((there = open(f.target, O_RDONLY | O_CLOEXEC)) >= 0) {
        end = compare(c, &f, there, e);
        close(there);
    } else {
        end = fetch(c, &f, e);
    }
    if (f.body.fd >= 0)
        close(f.body.fd);
    free(f.target);
    free(f.part);
    free(f.tag);
    return end;
}
