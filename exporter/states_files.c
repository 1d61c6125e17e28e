/* Files of this host's daemons: see states_files.h. */
#include "exporter/states_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static double age_of(const struct stat *st)
{
    struct timespec now;
    double age;

    clock_gettime(CLOCK_REALTIME, &now);
    age = (double)(now.tv_sec - st->st_mtim.tv_sec) + (double)(now.tv_nsec - st->st_mtim.tv_nsec) / 1e9;
    return age < 0 ? 0 : age;
}

static bool read_whole(int fd, size_t most, struct states_file *w)
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
static bool read_written(int folder, const char *name, const char *suffix, size_t most, struct states_file *w)
{
    size_t len = strlen(name), tail = strlen(suffix);
    bool ok;
    int fd;

    if (len <= tail || strcmp(name + len - tail, suffix) != 0 || !metrics_is_daemon(slice_of(name, len - tail)))
        return false;
    *w = (struct states_file){0};
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
    return strcmp(((const struct states_file *)a)->daemon, ((const struct states_file *)b)->daemon);
}

bool states_read_folder(const char *path, const char *suffix, size_t most, struct states_folder *f, struct err *e)
{
    DIR *dir = opendir(path);
    struct dirent *entry;

    f->count = 0;
    if (dir == NULL)
        return err_set_errno(e, ERR_RETRY, "%s", path);
    while (f->count < METRICS_SOURCES_MAX && (entry = readdir(dir)) != NULL)
        if (read_written(dirfd(dir), entry->d_name, suffix, most, &f->at[f->count]))
            f->count++;
    closedir(dir);
    if (f->count > 1)
        qsort(f->at, f->count, sizeof *f->at, by_daemon);
    return true;
}

void states_free_folder(struct states_folder *f)
{
    for (unsigned i = 0; i < f->count; i++)
        buf_free(&f->at[i].text);
}
