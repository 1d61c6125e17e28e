/* CRLs from files and folders, looked at about every second: see identity_lists_internal.h. The files are others'. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "common/identity/identity_lists_internal.h"
#include "common/values/log.h"

enum {
    FILES_MAX = 1000,     /* in all folders */
    GONE_MS = 5000,       /* a file is dropped when it has been away for so long: copying over it takes a moment */
    AGAIN_MS = 60 * 1000, /* one that was refused, or not kept, is tried again after this: the reason may be a clock's, an authority's or a disk's */
};

/* What tells a file from the one that was there before. */
struct stamp {
    ino_t inode;
    dev_t device;
    off_t size;
    struct timespec changed, modified;
};

struct lists_file {
    struct lists_file *next;
    char *path;      /* owned */
    struct stamp stamp;
    bool seen;       /* in this round */
    bool taken;      /* something of it is in force */
    bool kept;       /* and on disk, as it was taken last */
    bool refused;
    char *why;       /* owned; when refused: said once */
    int64_t missing; /* clock: since when; 0: it is there */
    int64_t tried;   /* clock */
};

static struct stamp stamp_of(const struct stat *st)
{
    return (struct stamp){st->st_ino, st->st_dev, st->st_size, st->st_ctim, st->st_mtim};
}

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool same_stamp(const struct stamp *a, const struct stamp *b)
{
    return a->inode == b->inode && a->device == b->device && a->size == b->size && same_time(a->changed, b->changed) &&
           same_time(a->modified, b->modified);
}

static struct lists_file *find_file(struct identity_lists *l, const char *path)
{
    struct lists_file *f = l->files;

    while (f != NULL && strcmp(f->path, path) != 0)
        f = f->next;
    return f;
}

/* Takes it anew; what it gave before stays when it is refused, be that before this role's last start. */
static void read_list(struct identity_lists *l, struct lists_file *f)
{
    struct err e = {0};
    struct buf bytes = {0};

    f->tried = identity_clock();
    if (!f->taken)
        f->taken = f->kept = lists_take_kept(l, f->path);
    f->refused = !policy_read_file(f->path, l->owner->settings->revocation.crl_bytes, &bytes, &e) || !lists_take(l, f->path, buf_slice(&bytes), &f->kept, &e);
    buf_free(&bytes);
    if (f->refused && (f->why == NULL || strcmp(f->why, e.text) != 0))
        lists_refuse(l, f->path, e.text);
    free(f->why);
    f->why = f->refused ? mem_strdup(e.text) : NULL;
    f->taken = f->taken || !f->refused;
}

static void look_at_file(struct identity_lists *l, const char *path, const struct stat *st)
{
    struct lists_file *f = find_file(l, path);
    struct stamp stamp = stamp_of(st);

    if (f == NULL) {
        if (l->file_count == FILES_MAX) {
            if (!l->full)
                log_error("crl-refused", "%s and others: more than %d files", path, FILES_MAX);
            l->full = true;
            return;
        }
        f = mem_zalloc(1, sizeof *f);
        f->path = mem_strdup(path);
        f->next = l->files;
        l->files = f;
        l->file_count++;
    } else if (same_stamp(&f->stamp, &stamp) && !((f->refused || !f->kept) && identity_clock() - f->tried > AGAIN_MS)) {
        f->seen = true;
        return;
    }
    if (!same_stamp(&f->stamp, &stamp)) {
        free(f->why);
        f->why = NULL;
    }
    f->seen = true;
    f->stamp = stamp;
    read_list(l, f);
}

/* Files whose names begin with a dot, and those still being written (ending in .new, .tmp or ~), are not looked at. */
static bool is_passed_over(const char *name)
{
    size_t len = strlen(name);

    return name[0] == '.' || (len > 0 && name[len - 1] == '~') || (len > 4 && (strcmp(name + len - 4, ".new") == 0 || strcmp(name + len - 4, ".tmp") == 0));
}

static bool is_below(const char *path, const char *place)
{
    size_t len = strlen(place);

    return strncmp(path, place, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

/* What cannot be read says nothing about what there was, file or folder of files: it stays. Said once, until all can be read again. */
static void stay(struct identity_lists *l, const char *path, int reason)
{
    if (!l->was_troubled && !l->troubled)
        log_error("crl-unreadable", "%s: %s", path, strerror(reason));
    l->troubled = true;
    for (struct lists_file *f = l->files; f != NULL; f = f->next)
        if (is_below(f->path, path))
            f->seen = true;
}

static void look_in_folder(struct identity_lists *l, const char *path, DIR *folder)
{
    struct dirent *d;

    while (errno = 0, (d = readdir(folder)) != NULL) {
        char *name;
        struct stat st;

        if (is_passed_over(d->d_name))
            continue;
        name = mem_printf("%s/%s", path, d->d_name);
        if (stat(name, &st) != 0) {
            if (errno != ENOENT)
                stay(l, name, errno);
        } else if (S_ISREG(st.st_mode))
            look_at_file(l, name, &st);
        free(name);
    }
    if (errno != 0)
        stay(l, path, errno);
}

static void look_at(struct identity_lists *l, const char *path)
{
    struct stat st;
    DIR *folder;

    if (stat(path, &st) != 0) {
        if (errno != ENOENT)
            stay(l, path, errno);
        return;
    }
    if (!S_ISDIR(st.st_mode)) {
        look_at_file(l, path, &st);
        return;
    }
    folder = opendir(path);
    if (folder == NULL) {
        stay(l, path, errno);
        return;
    }
    look_in_folder(l, path, folder);
    closedir(folder);
}

/* Whether it is to be forgotten: away for a while. */
static bool is_gone(struct lists_file *f)
{
    if (f->seen) {
        f->missing = 0;
        return false;
    }
    if (f->missing == 0)
        f->missing = identity_clock();
    return identity_clock() - f->missing >= GONE_MS;
}

static bool is_configured(const struct identity_lists *l, const char *path)
{
    const struct settings_list *paths = &l->owner->settings->revocation.crls;

    for (unsigned n = 0; n < paths->count; n++)
        if (is_below(path, paths->items[n]))
            return true;
    return false;
}

static void sweep(struct identity_lists *l)
{
    struct lists_file **at = &l->files;

    while (*at != NULL) {
        struct lists_file *f = *at;

        if (!is_gone(f)) {
            at = &f->next;
            continue;
        }
        if (f->taken && is_configured(l, f->path))
            lists_drop(l, f->path, true, "the file is no longer there");
        else if (f->taken)
            lists_drop(l, f->path, false, "no longer configured");
        *at = f->next;
        l->file_count--;
        l->full = false;
        free(f->path);
        free(f->why);
        free(f);
    }
}

void lists_files_scan(struct identity_lists *l)
{
    const struct settings_list *paths = &l->owner->settings->revocation.crls;

    for (struct lists_file *f = l->files; f != NULL; f = f->next)
        f->seen = false;
    l->was_troubled = l->troubled;
    l->troubled = false;
    for (unsigned n = 0; n < paths->count; n++)
        look_at(l, paths->items[n]);
    sweep(l);
}

void lists_files_again(struct identity_lists *l)
{
    for (struct lists_file *f = l->files; f != NULL; f = f->next) {
        f->stamp = (struct stamp){0};
        f->taken = false;
    }
}

void lists_files_free(struct identity_lists *l)
{
    struct lists_file *next;

    for (struct lists_file *f = l->files; f != NULL; f = next) {
        next = f->next;
        free(f->path);
        free(f->why);
        free(f);
    }
}
