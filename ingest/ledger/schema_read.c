/* Schemas from disk: entries, what they include, bounds, and the first compilation, which tells whether they load. See schema_set.h. */
#include "ingest/ledger/schema_set.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* One family being read: files are taken as the compiler asks for them, so that what compiled is what is kept. */
struct reading {
    struct schema_family *family;
    char root[PATH_MAX]; /* real path of the folder that all of it is below */
    size_t *total;       /* bytes of the whole set so far */
};

/* --- one file
 * ------------------------------------------------------------------------------------------------------------ */

static bool is_below(const char *path, const char *root)
{
    size_t len = strlen(root);

    return strncmp(path, root, len) == 0 && (path[len] == '/' || (len != 0 && root[len - 1] == '/'));
}

static bool read_descriptor(int fd, const char *path, struct buf *out, struct err *e)
{
    struct stat st;
    ssize_t n = 1;

    if (fstat(fd, &st) != 0)
        return err_set_errno(e, ERR_INPUT, "%s", path);
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_INPUT, "%s: not a file", path);
    while (n != 0) {
        uint8_t chunk[16384];

        n = read(fd, chunk, sizeof(chunk));
        if (n < 0)
            return err_set_errno(e, ERR_INPUT, "%s", path);
        if (!buf_add(out, chunk, (size_t)n, NULL))
            return err_set(e, ERR_INPUT, "%s: over %d bytes", path, (int)SCHEMA_FILE_BYTES);
    }
    return true;
}

static bool read_file(const struct reading *r, const char *path, struct buf *out, struct err *e)
{
    char real[PATH_MAX];
    bool ok;
    int fd;

    if (*path != '/')
        return err_set(e, ERR_INPUT, "%s: schemas come from files below %s only", path, r->root);
    if (realpath(path, real) == NULL)
        return err_set_errno(e, ERR_INPUT, "%s", path);
    if (!is_below(real, r->root))
        return err_set(e, ERR_INPUT, "%s: is not below %s", path, r->root);
    fd = open(real, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return err_set_errno(e, ERR_INPUT, "%s", path);
    ok = read_descriptor(fd, path, out, e);
    close(fd);
    return ok;
}

static bool open_next(void *ctx, const char *path, struct slice *bytes, struct err *e)
{
    struct reading *r = ctx;
    struct schema_family *f = r->family;
    struct schema_file file = {0};

    for (unsigned i = 0; i < f->count; i++)
        if (strcmp(f->files[i].path, path) == 0) {
            *bytes = buf_slice(&f->files[i].text);
            return true;
        }
    buf_init(&file.text, SCHEMA_FILE_BYTES);
    if (!read_file(r, path, &file.text, e)) {
        buf_free(&file.text);
        return false;
    }
    file.path = mem_strdup(path);
    f->files = mem_realloc(f->files, (f->count + 1) * sizeof(*f->files));
    f->files[f->count++] = file;
    *r->total += file.text.len;
    *bytes = buf_slice(&f->files[f->count - 1].text);
    return *r->total <= SCHEMA_SET_BYTES || err_set(e, ERR_INPUT, "%s: all schemas together are over %d bytes", path, (int)SCHEMA_SET_BYTES);
}

/* --- one family
 * ---------------------------------------------------------------------------------------------------------- */

static bool add_family(struct schema_set *set, const char *folder, const char *entry, size_t *total, struct err *e)
{
    struct schema_family *f = &set->families[set->count];
    struct reading r = {.family = f, .total = total};
    const struct schema_source source = {open_next, &r};
    struct err why = {0};
    struct schema *s;

    if (set->count == SCHEMA_FAMILIES_MAX)
        return err_set(e, ERR_INPUT, "%s: more than %d families", entry, (int)SCHEMA_FAMILIES_MAX);
    if (realpath(folder, r.root) == NULL)
        return err_set_errno(e, ERR_INPUT, "%s", folder);
    set->count++;
    f->entry = mem_strdup(entry);
    s = schema_compile(entry, &source, &why);
    if (s == NULL) {
        f->trouble = mem_strdup(why.text);
        for (; f->count != 0; f->count--) {
            *total -= f->files[f->count - 1].text.len;
            free(f->files[f->count - 1].path);
            buf_free(&f->files[f->count - 1].text);
        }
        free(f->files);
        f->files = NULL;
    }
    schema_free(s);
    return true;
}

static int is_schema(const struct dirent *d)
{
    size_t len = strlen(d->d_name);

    return d->d_name[0] != '.' && len > 4 && strcmp(d->d_name + len - 4, ".xsd") == 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static bool add_folder(struct schema_set *set, const char *folder, size_t *total, struct err *e)
{
    struct dirent **names;
    int count = scandir(folder, &names, is_schema, by_name);
    bool ok = count >= 0 || err_set_errno(e, ERR_INPUT, "%s", folder);

    if (count == 0)
        ok = err_set(e, ERR_INPUT, "%s: no *.xsd in it", folder);
    for (int i = 0; i < count; i++) {
        char *entry = mem_printf("%s/%s", folder, names[i]->d_name);

        ok = ok && add_family(set, folder, entry, total, e);
        free(entry);
        free(names[i]);
    }
    if (count >= 0)
        free(names);
    return ok;
}

static bool add(struct schema_set *set, const char *path, size_t *total, struct err *e)
{
    char *folder = mem_strdup(path), *slash;
    struct stat st;
    bool ok;

    /* "schemas/" and "schemas" are the same. */
    for (size_t len = strlen(folder); len > 1 && folder[len - 1] == '/'; len--)
        folder[len - 1] = '\0';
    if (stat(folder, &st) != 0) {
        ok = err_set_errno(e, ERR_INPUT, "%s", path);
    } else if (S_ISDIR(st.st_mode)) {
        ok = add_folder(set, folder, total, e);
    } else {
        slash = strrchr(folder, '/');
        if (slash != NULL)
            slash[slash == folder] = '\0';
        ok = add_family(set, folder, path, total, e);
    }
    free(folder);
    return ok;
}

/* --- the whole
 * ----------------------------------------------------------------------------------------------------------- */

static enum event_schema_policy policy(const char *word)
{
    return strcmp(word, "off") == 0 ? EVENT_SCHEMA_OFF : strcmp(word, "refuse") == 0 ? EVENT_SCHEMA_REFUSE : EVENT_SCHEMA_RECORD;
}

bool schema_set_read(struct schema_set *set, const struct settings *s, struct err *e)
{
    size_t total = 0;
    bool ok = true;

    *set = (struct schema_set){.policy = policy(s->ingest.schema_policy), .unknown = policy(s->ingest.schema_unknown)};
    for (unsigned i = 0; ok && i < s->ingest.schemas.count; i++)
        ok = add(set, s->ingest.schemas.items[i], &total, e);
    if (ok && set->count != 0 && schema_set_loaded(set) == 0)
        ok = err_set(e, ERR_INPUT, "%s", set->families[0].trouble);
    if (!ok)
        schema_set_free(set);
    return ok;
}
