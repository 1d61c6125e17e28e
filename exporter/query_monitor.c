/*
 * What the daemons of this host write for monitors into state_dir (<daemon>.prom, <daemon>.status), for technical administrators: see query.h. The folder is read
 * only; its files are other daemons', replaced by renaming every second.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/values/log.h"
#include "exporter/daemons.h"
#include "exporter/metrics.h"
#include "exporter/query.h"

/* ---- files -------------------------------------------------------------------------------------------- */

/* One file that a daemon wrote. */
struct written {
    char daemon[METRICS_NAME_MAX];
    struct buf text;
    double age; /* seconds */
    bool large; /* more than was to be read */
};

struct folder {
    struct written at[METRICS_SOURCES_MAX];
    unsigned count;
};

static double age_of(const struct stat *st)
{
    struct timespec now;
    double age;

    clock_gettime(CLOCK_REALTIME, &now);
    age = (double)(now.tv_sec - st->st_mtim.tv_sec) + (double)(now.tv_nsec - st->st_mtim.tv_nsec) / 1e9;
    return age < 0 ? 0 : age;
}

static bool read_whole(int fd, size_t most, struct written *w)
{
    struct stat st;
    ssize_t got = 1;

    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return false;
    w->age = age_of(&st);
    w->large = (uint64_t)st.st_size > most;
    while (!w->large && got > 0) {
        uint8_t *room = buf_reserve(&w->text, 4096, NULL);

        got = room == NULL ? 0 : read(fd, room, 4096);
        w->large = room == NULL;
        buf_commit(&w->text, got > 0 ? (size_t)got : 0);
    }
    return got >= 0;
}

/* False: not one of these files, or gone meanwhile. */
static bool read_written(int folder, const char *name, const char *suffix, size_t most, struct written *w)
{
    size_t len = strlen(name), tail = strlen(suffix);
    bool ok;
    int fd;

    if (len <= tail || strcmp(name + len - tail, suffix) != 0 || !metrics_is_daemon(slice_of(name, len - tail)))
        return false;
    *w = (struct written){0};
    snprintf(w->daemon, sizeof w->daemon, "%.*s", (int)(len - tail), name);
    buf_init(&w->text, most + 4096);
    fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return false;
    ok = read_whole(fd, most, w);
    close(fd);
    if (!ok)
        buf_free(&w->text);
    return ok;
}

static int by_daemon(const void *a, const void *b)
{
    return strcmp(((const struct written *)a)->daemon, ((const struct written *)b)->daemon);
}

/* All that end in `suffix`, each at most `most` bytes; false when the folder cannot be read. */
static bool read_folder(const struct query *q, const char *suffix, size_t most, struct folder *f)
{
    const char *path = role_settings(q->role)->state_dir;
    DIR *dir = opendir(path);
    struct dirent *entry;

    f->count = 0;
    if (dir == NULL) {
        log_warning("state-unread", "%s: %s", path, strerror(errno));
        return false;
    }
    while ((entry = readdir(dir)) != NULL && f->count < METRICS_SOURCES_MAX)
        if (read_written(dirfd(dir), entry->d_name, suffix, most, &f->at[f->count]))
            f->count++;
    closedir(dir);
    if (f->count > 1)
        qsort(f->at, f->count, sizeof *f->at, by_daemon);
    return true;
}

static void free_folder(struct folder *f)
{
    for (unsigned i = 0; i < f->count; i++)
        buf_free(&f->at[i].text);
}

/* ---- /v1/metrics -------------------------------------------------------------------------------------- */

/* Whole files as long as they fit. */
static unsigned choose(const struct folder *f, struct metrics_source *sources)
{
    size_t sum = 0;

    for (unsigned i = 0; i < f->count; i++) {
        const struct written *w = &f->at[i];
        bool fits = !w->large && w->text.len <= METRICS_TEXT_MAX - sum;

        sources[i] = (struct metrics_source){.age = w->age, .left_out = !fits};
        memcpy(sources[i].daemon, w->daemon, sizeof w->daemon);
        if (fits) {
            sources[i].text = buf_slice(&w->text);
            sum += w->text.len;
        }
    }
    return f->count;
}

void query_answer_metrics(struct query *q, const struct ask_question *ask)
{
    struct ask_answer a = {.request = ask->request, .status = 200, .type = "text/plain; version=0.0.4; charset=utf-8"};
    struct metrics_source sources[METRICS_SOURCES_MAX];
    struct folder files;
    struct err e = {0};
    struct buf text;

    if (!read_folder(q, ".prom", METRICS_TEXT_MAX, &files)) {
        query_refuse(q, ask->request, 503, "metrics-away", "the folder of the daemons' metrics cannot be read; the operator's log says why");
        return;
    }
    buf_init(&text, ASK_SHORT_MAX);
    if (metrics_merge(sources, choose(&files, sources), &text, &e)) {
        a.content = buf_slice(&text);
        a.length = a.content.len;
        query_send(q, &a);
    } else {
        log_error("metrics-too-long", "%s", e.text);
        query_refuse(q, ask->request, 500, "too-long", "the metrics do not fit into an answer");
    }
    buf_free(&text);
    free_folder(&files);
}

/* ---- /v1/status --------------------------------------------------------------------------------------- */

json_t *query_daemons(const struct query *q)
{
    json_t *list = json_array();
    struct folder files;

    if (!read_folder(q, ".status", DAEMONS_TEXT_MAX, &files))
        return list;
    for (unsigned i = 0; i < files.count; i++)
        json_array_append_new(list, daemons_read(files.at[i].daemon, files.at[i].large ? slice_of(NULL, 0) : buf_slice(&files.at[i].text), files.at[i].age));
    free_folder(&files);
    return list;
}
