/* What a reload may change, and which files it reads: see settings.h. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/system/settings_internal.h"

char *settings_path(const char *path)
{
    char *folder, *whole;

    if (*path == '/' || (folder = getcwd(NULL, 0)) == NULL)
        return mem_strdup(path);
    whole = mem_printf("%s/%s", folder, path);
    free(folder);
    return whole;
}

/* ---- values that only a start changes ------------------------------------------------------- */

static bool same_list(const struct settings_list *a, const struct settings_list *b)
{
    for (unsigned i = 0; i < a->count && i < b->count; i++)
        if (strcmp(a->items[i], b->items[i]) != 0)
            return false;
    return a->count == b->count;
}

static bool same(const struct settings_row *row, const void *a, const void *b)
{
    switch (row->type) {
    case TEXT:
    case PATH:
        return strcmp(*(char *const *)a, *(char *const *)b) == 0;
    case BOOLEAN:
        return *(const bool *)a == *(const bool *)b;
    case NUMBER:
    case DURATION:
    case SIZE:
        return *(const uint64_t *)a == *(const uint64_t *)b;
    case TEXTS:
    case PATHS:
        return same_list(a, b);
    }
    return false;
}

static void copy_list(struct settings_list *to, const struct settings_list *from)
{
    for (unsigned i = 0; i < to->count; i++)
        free(to->items[i]);
    for (unsigned i = 0; i < from->count; i++)
        to->items[i] = mem_strdup(from->items[i]);
    to->count = from->count;
}

static void copy(const struct settings_row *row, void *to, const void *from)
{
    switch (row->type) {
    case TEXT:
    case PATH:
        free(*(char **)to);
        *(char **)to = mem_strdup(*(char *const *)from);
        return;
    case BOOLEAN:
        *(bool *)to = *(const bool *)from;
        return;
    case NUMBER:
    case DURATION:
    case SIZE:
        *(uint64_t *)to = *(const uint64_t *)from;
        return;
    case TEXTS:
    case PATHS:
        copy_list(to, from);
        return;
    }
}

bool settings_keep(struct settings *fresh, const struct settings *started, char *changed, size_t size)
{
    size_t used = 0;
    bool any = false;

    if (size > 0)
        *changed = '\0';
    for (size_t i = 0; i < settings_rows; i++) {
        const struct settings_row *row = &settings_table[i];

        if (settings_is_live(row) || same(row, settings_value(fresh, row), settings_value(started, row)))
            continue;
        any = true;
        copy(row, settings_field(fresh, row), settings_value(started, row));
        if (used + strlen(row->key) + 3 < size)
            used += (size_t)snprintf(changed + used, size - used, "%s%s", used == 0 ? "" : ", ", row->key);
    }
    return any;
}

/* ---- files ------------------------------------------------------------------------------------ */

/* "ingest.key" is nothing to the sealer. */
static bool concerns(const struct settings_row *row, unsigned parts)
{
    static const struct {
        const char *prefix;
        unsigned part;
    } owners[] = {{"ingest.", SETTINGS_INGEST}, {"sealer.", SETTINGS_SEALER}, {"exporter.", SETTINGS_EXPORTER}};

    for (size_t i = 0; i < sizeof owners / sizeof *owners; i++)
        if (strncmp(row->key, owners[i].prefix, strlen(owners[i].prefix)) == 0)
            return (parts & owners[i].part) != 0;
    return true;
}

static bool is_written_by_us(const struct settings_row *row)
{
    return strcmp(row->key, "state_dir") == 0 || strcmp(row->key, "sealer.memory") == 0;
}

enum { FOLDERS_DEPTH = 8, FOLDERS_MAX = 256 /* files and folders of one entry: those that read them have bounds of their own */ };

/* Whoever hears of a folder's files. */
struct walk {
    void (*each)(void *ctx, const char *path);
    void *ctx;
    unsigned left;
};

/* A folder, its *.xsd, and those below. */
static void walk_folder(struct walk *w, const char *folder, unsigned depth)
{
    char *itself = mem_printf("%s/", folder);
    DIR *all = opendir(folder);
    const struct dirent *d;

    w->each(w->ctx, itself);
    while (all != NULL && w->left != 0 && (d = readdir(all)) != NULL) {
        size_t len = strlen(d->d_name);
        char *path = d->d_name[0] == '.' ? NULL : mem_printf("%s/%s", folder, d->d_name);
        struct stat st;

        if (path == NULL || stat(path, &st) != 0) {
            free(path);
            continue;
        }
        if (S_ISDIR(st.st_mode) && depth < FOLDERS_DEPTH) {
            w->left--;
            walk_folder(w, path, depth + 1);
        } else if (len > 4 && strcmp(d->d_name + len - 4, ".xsd") == 0) {
            w->left--;
            w->each(w->ctx, path);
        }
        free(path);
    }
    if (all != NULL)
        closedir(all);
    free(itself);
}

/* An entry of ingest.schemas and what it may include: all below its folder. */
static void walk_schemas(const char *path, void (*each)(void *ctx, const char *path), void *ctx)
{
    struct walk w = {each, ctx, FOLDERS_MAX};
    char *folder = mem_strdup(path), *slash = strrchr(folder, '/');
    struct stat st;

    if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode) && slash != NULL && slash != folder)
        *slash = '\0';
    walk_folder(&w, folder, 1);
    free(folder);
}

void settings_files(const struct settings *s, unsigned parts, void (*each)(void *ctx, const char *path), void *ctx)
{
    for (size_t i = 0; i < settings_rows; i++) {
        const struct settings_row *row = &settings_table[i];
        const void *at = settings_value(s, row);
        const struct settings_list *list = at;

        if (!concerns(row, parts) || is_written_by_us(row))
            continue;
        if (row->type == PATH && **(char *const *)at != '\0')
            each(ctx, *(char *const *)at);
        for (unsigned k = 0; row->type == PATHS && k < list->count; k++)
            each(ctx, list->items[k]);
        for (unsigned k = 0; list == &s->ingest.schemas && k < list->count; k++)
            walk_schemas(list->items[k], each, ctx);
    }
}

/* Certificates and keys towards RabbitMQ and PostgreSQL are read at each connection, the PIN whenever the token is opened. The library is mapped into its roles. */
void settings_files_read_once(const struct settings *s, unsigned parts, void (*each)(void *ctx, const char *key, const char *path), void *ctx)
{
    static const char *const keys[] = {"ingest.dedup_key", "sealer.module"};

    for (size_t i = 0; i < settings_rows; i++)
        for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
            if (strcmp(settings_table[i].key, keys[k]) == 0 && concerns(&settings_table[i], parts))
                each(ctx, keys[k], *(char *const *)settings_value(s, &settings_table[i]));
}
