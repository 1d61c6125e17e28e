/* The events to deposit: see source.h. */
#include "ingest/deposit/source.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FOLDERS_DEEP_MAX = 32 };

static void add_input(struct source *s, const char *path, const char *name)
{
    if ((s->count & (s->count - 1)) == 0)
        s->inputs = mem_realloc(s->inputs, (s->count == 0 ? 1 : 2 * s->count) * sizeof *s->inputs);
    s->inputs[s->count++] = (struct source_input){mem_strdup(path), mem_strdup(name)};
}

static bool is_event_file(const char *name)
{
    size_t len = strlen(name);

    return len > 4 && strcasecmp(name + len - 4, ".xml") == 0;
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name); /* the same order in every locale */
}

static bool add_folder(struct source *s, const char *path, const char *name, unsigned depth, struct err *e);

/* One entry of a folder: symbolic links to folders are not followed (they can go round in circles). */
static bool add_entry(struct source *s, const char *path, const char *name, unsigned depth, struct err *e)
{
    struct stat link_itself, target;

    if (lstat(path, &link_itself) != 0 || stat(path, &target) != 0)
        return err_set_errno(e, ERR_INPUT, "%s", path);
    if (S_ISDIR(link_itself.st_mode))
        return add_folder(s, path, name, depth + 1, e);
    if (!S_ISREG(target.st_mode) || !is_event_file(path)) {
        s->skipped++;
        return true;
    }
    s->bytes_total += (uint64_t)target.st_size;
    add_input(s, path, name);
    return true;
}

static bool add_folder(struct source *s, const char *path, const char *name, unsigned depth, struct err *e)
{
    struct dirent **entries = NULL;
    int count = depth > FOLDERS_DEEP_MAX ? 0 : scandir(path, &entries, is_visible, by_bytes);
    bool ok = true;

    if (depth > FOLDERS_DEEP_MAX)
        return err_set(e, ERR_INPUT, "%s: folders are nested too deeply", path);
    if (count < 0)
        return err_set_errno(e, ERR_INPUT, "%s", path);
    for (int i = 0; i < count; i++) {
        if (ok) {
            char *inner_path = mem_printf("%s/%s", path, entries[i]->d_name);
            char *inner_name = mem_printf("%s/%s", name, entries[i]->d_name);

            ok = add_entry(s, inner_path, inner_name, depth, e);
            free(inner_path);
            free(inner_name);
        }
        free(entries[i]);
    }
    free(entries);
    return ok;
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash == NULL ? path : slash + 1;
}

static bool add_word(struct source *s, const char *word, struct err *e)
{
    char *path;
    struct stat at;
    bool ok = true;

    if (strcmp(word, "-") == 0) {
        add_input(s, "-", "stdin");
        return true;
    }
    if (stat(word, &at) != 0)
        return err_set_errno(e, ERR_INPUT, "%s", word);
    path = mem_strdup(word);
    while (strlen(path) > 1 && path[strlen(path) - 1] == '/')
        path[strlen(path) - 1] = '\0';
    if (S_ISDIR(at.st_mode)) {
        ok = add_folder(s, path, last_part(path), 0, e);
    } else {
        s->bytes_total += (uint64_t)at.st_size;
        add_input(s, path, last_part(path));
    }
    free(path);
    return ok;
}

bool source_open(struct source *s, char *const *inputs, int count, size_t event_max, struct err *e)
{
    *s = (struct source){.fd = -1, .event_max = event_max};
    for (int i = 0; i < count; i++)
        if (!add_word(s, inputs[i], e))
            return false;
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->inputs[i].path, "-") == 0)
            s->bytes_total = 0;
    return true;
}

static void finish_input(struct source *s)
{
    if (s->fd >= 0) {
        split_free(&s->split);
        if (s->fd != STDIN_FILENO)
            close(s->fd);
        s->at++;
    }
    s->fd = -1;
}

void source_close(struct source *s)
{
    finish_input(s);
    for (size_t i = 0; i < s->count; i++) {
        free(s->inputs[i].path);
        free(s->inputs[i].name);
    }
    free(s->inputs);
    *s = (struct source){.fd = -1};
}

static bool start_input(struct source *s, struct err *e)
{
    const char *path = s->inputs[s->at].path;

    s->fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (s->fd < 0) {
        s->at++;
        return err_set_errno(e, ERR_INPUT, "%s", path);
    }
    s->last = false;
    s->named_declaration = false;
    split_init(&s->split, s->event_max);
    return true;
}

static bool read_piece(struct source *s, struct err *e)
{
    uint8_t piece[SPLIT_CHUNK];
    ssize_t got;

    do
        got = read(s->fd, piece, sizeof piece);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return err_set_errno(e, ERR_INPUT, "reading");
    s->last = got == 0;
    s->bytes_read += (uint64_t)got;
    return split_feed(&s->split, piece, (size_t)got, e);
}

static bool must_wait(const struct source *s)
{
    struct pollfd input = {.fd = s->fd, .events = POLLIN};

    return s->fd == STDIN_FILENO && poll(&input, 1, 0) == 0;
}

static enum source_result problem(struct source *s, struct err *e)
{
    const char *path = s->inputs[s->at].path;

    err_prefix(e, "%s", strcmp(path, "-") == 0 ? "standard input" : path);
    finish_input(s);
    return SOURCE_PROBLEM;
}

enum source_result source_next(struct source *s, struct split_event *event, const struct source_input **from,
                               struct err *e)
{
    while (s->at < s->count) {
        enum split_result result;

        if (s->fd < 0 && !start_input(s, e))
            return SOURCE_PROBLEM;
        result = split_next(&s->split, s->last, event, e);
        if (result == SPLIT_EVENT) {
            *from = &s->inputs[s->at];
            return SOURCE_EVENT;
        }
        if (result == SPLIT_MORE && must_wait(s))
            return SOURCE_WAIT;
        if (result == SPLIT_BAD || (result == SPLIT_MORE && !read_piece(s, e)))
            return problem(s, e);
        if (result == SPLIT_END)
            finish_input(s);
    }
    return SOURCE_END;
}
