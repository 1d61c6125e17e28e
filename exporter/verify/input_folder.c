/*
 * A folder laid out as an extraction, read in a segment's order: names of everything but events are held
 * in memory, events one lot at a time. Links and devices are strangers. See input.h.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/values/buf.h"
#include "exporter/verify/input.h"

struct item {
    struct names_entry entry; /* NAMES_EVENT with serial 0: the folder of a lot's events */
    char *other;              /* NAMES_OTHER: its name, owned */
};

struct items {
    struct item *list; /* owned */
    size_t count, room;
};

struct folder {
    char *path; /* owned */
    struct items all, events; /* events: of the lot being read */
    size_t next, next_event;
    int fd;     /* of the current file, or -1 */
};

static void items_add(struct items *l, struct names_entry entry, const char *other)
{
    if (l->count == l->room) {
        l->room = l->room == 0 ? 256 : 2 * l->room;
        l->list = mem_realloc(l->list, l->room * sizeof(*l->list));
    }
    l->list[l->count++] = (struct item){entry, other == NULL ? NULL : mem_strdup(other)};
}

static void items_clear(struct items *l)
{
    for (size_t i = 0; i < l->count; i++)
        free(l->list[i].other);
    l->count = 0;
}

static int item_order(const void *a, const void *b)
{
    const struct item *x = a, *y = b;

    if ((x->other == NULL) != (y->other == NULL))
        return x->other == NULL ? -1 : 1; /* strangers last */
    return x->other == NULL ? names_compare(&x->entry, &y->entry) : strcmp(x->other, y->other);
}

static void items_sort(struct items *l)
{
    if (l->count > 1)
        qsort(l->list, l->count, sizeof(*l->list), item_order);
}

/* "events/000042" with nothing behind it: its lot, or 0. */
static uint64_t folder_of_events(const char *name)
{
    char *probe = mem_printf("%s/000000000001.p7m", name);
    uint64_t lot = names_read(slice_text(probe)).lot;

    free(probe);
    return lot;
}

static void folder_add(struct folder *f, struct items *into, const char *name, unsigned char type)
{
    struct names_entry entry = names_read(slice_text(name));
    uint64_t lot = type == DT_DIR ? folder_of_events(name) : 0;

    if (lot != 0)
        items_add(into, (struct names_entry){NAMES_EVENT, lot, 0, 0}, NULL);
    else if (type == DT_REG && entry.kind != NAMES_OTHER)
        items_add(into, entry, NULL);
    else
        items_add(&f->all, (struct names_entry){NAMES_OTHER, 0, 0, 0}, name);
}

/* Names in `sub` ("" for the top). The four known folders are not listed as files. */
static bool folder_list(struct folder *f, struct items *into, const char *sub, struct err *e)
{
    char *path = mem_printf("%s/%s", f->path, sub);
    DIR *d = opendir(path);
    struct dirent *entry;
    bool ok = d != NULL || errno == ENOENT || err_set_errno(e, ERR_RETRY, "%s", path);

    while (d != NULL && (entry = readdir(d)) != NULL) {
        char *name = mem_printf("%s%s%s", sub, *sub == '\0' ? "" : "/", entry->d_name);
        unsigned char type = entry->d_type;
        struct stat st;

        if (type == DT_UNKNOWN && fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
            type = S_ISREG(st.st_mode) ? DT_REG : S_ISDIR(st.st_mode) ? DT_DIR : DT_LNK;
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            !(type == DT_DIR && (strcmp(name, "certs") == 0 || strcmp(name, "lots") == 0 || strcmp(name, "keys") == 0 ||
                                 strcmp(name, "events") == 0)))
            folder_add(f, into, name, type);
        free(name);
    }
    if (d != NULL)
        (void)closedir(d);
    free(path);
    return ok;
}

struct folder *folder_open(const char *path, struct err *e)
{
    struct folder *f = mem_zalloc(1, sizeof(*f));

    f->path = mem_strdup(path);
    f->fd = -1;
    if (folder_list(f, &f->all, "", e) && folder_list(f, &f->all, "certs", e) && folder_list(f, &f->all, "lots", e) &&
        folder_list(f, &f->all, "keys", e) && folder_list(f, &f->all, "events", e)) {
        items_sort(&f->all);
        return f;
    }
    folder_free(f);
    return NULL;
}

void folder_free(struct folder *f)
{
    if (f == NULL)
        return;
    if (f->fd >= 0)
        (void)close(f->fd);
    items_clear(&f->all);
    items_clear(&f->events);
    free(f->all.list);
    free(f->events.list);
    free(f->path);
    free(f);
}

uint64_t folder_first_lot(const struct folder *f)
{
    for (size_t i = 0; i < f->all.count; i++)
        if (f->all.list[i].entry.lot != 0)
            return f->all.list[i].entry.lot;
    return 0;
}

static void folder_name(const struct item *item, char name[NAMES_MAX])
{
    switch (item->entry.kind) {
    case NAMES_README:
        (void)snprintf(name, NAMES_MAX, "%s", NAMES_README_TXT);
        break;
    case NAMES_CERTIFICATE:
        (void)snprintf(name, NAMES_MAX, "%s", names_certificate(item->entry.ordinal));
        break;
    case NAMES_LOT:
        (void)names_write_lot(name, item->entry.lot);
        break;
    case NAMES_KEY:
        (void)names_write_key(name, item->entry.lot, item->entry.ordinal);
        break;
    case NAMES_EVENT:
        (void)names_write_event(name, item->entry.lot, item->entry.serial);
        break;
    case NAMES_OTHER:
        name[0] = '\0';
        break;
    }
}

static enum input_result folder_open_file(struct folder *f, const struct item *item, struct input_file *file, struct err *e)
{
    char name[NAMES_MAX];
    char *path;
    struct stat st;
    bool ok;

    memset(file, 0, sizeof(*file));
    file->entry = item->entry;
    folder_name(item, name);
    (void)snprintf(file->name, sizeof(file->name), "%s", item->other != NULL ? item->other : name);
    if (item->other != NULL)
        return INPUT_FILE; /* never opened */
    path = mem_printf("%s/%s", f->path, name);
    f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    ok = f->fd >= 0 && fstat(f->fd, &st) == 0 && S_ISREG(st.st_mode);
    if (!ok)
        (void)err_set_errno(e, ERR_RETRY, "%s", path);
    free(path);
    file->size = ok ? (uint64_t)st.st_size : 0;
    return ok ? INPUT_FILE : INPUT_FAILED;
}

/* Lists the events of one lot; what does not belong there goes to the strangers, who are sorted already and come last. */
static bool folder_enter_events(struct folder *f, uint64_t lot, struct err *e)
{
    char name[NAMES_MAX];
    char *slash;

    (void)names_write_event(name, lot, 1);
    slash = strrchr(name, '/');
    *slash = '\0';
    items_clear(&f->events);
    f->next_event = 0;
    if (!folder_list(f, &f->events, name, e))
        return false;
    items_sort(&f->events);
    return true;
}

enum input_result folder_next(struct folder *f, struct input_file *file, struct err *e)
{
    if (f->fd >= 0)
        (void)close(f->fd);
    f->fd = -1;
    for (;;) {
        const struct item *item;

        if (f->next_event < f->events.count)
            return folder_open_file(f, &f->events.list[f->next_event++], file, e);
        if (f->next == f->all.count)
            return INPUT_END;
        item = &f->all.list[f->next++];
        if (item->entry.kind != NAMES_EVENT)
            return folder_open_file(f, item, file, e);
        if (!folder_enter_events(f, item->entry.lot, e))
            return INPUT_FAILED;
    }
}

bool folder_read(struct folder *f, uint8_t *out, size_t len, size_t *got, struct err *e)
{
    ssize_t part = f->fd < 0 ? 0 : read(f->fd, out, len);

    while (part < 0 && errno == EINTR)
        part = read(f->fd, out, len);
    *got = part < 0 ? 0 : (size_t)part;
    return part >= 0 || err_set_errno(e, ERR_RETRY, "%s", f->path);
}
