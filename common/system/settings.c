/* Reading the configuration: see settings.h. The table of keys is settings_table.c, the rules beyond it are settings_rules.c. */
#include "common/system/settings_internal.h"

#include <ctype.h>
#include <errno.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#include "common/values/buf.h"

enum { KEY_MAX = 128, DEPTH_MAX = 8 };

struct reading {
    struct settings *s;
    const char *path;
    unsigned parts; /* of the daemon it is read for */
    char *folder;
    bool seen[SETTINGS_ROWS_MAX];
    struct err *e;
};

static bool parse_unit(const char *text, uint64_t *v, const char *const *units, const uint64_t *factors)
{
    char *end;
    unsigned long long n;

    errno = 0;
    n = strtoull(text, &end, 10);
    if (errno != 0 || end == text || !isdigit((unsigned char)*text))
        return false;
    for (; *units != NULL; units++, factors++)
        if (strcmp(end, *units) == 0) {
            if (n > UINT64_MAX / *factors)
                return false;
            *v = n * *factors;
            return true;
        }
    return false;
}

bool settings_parse_integer(enum settings_type type, const char *text, uint64_t *v)
{
    static const char *const none[] = {"", NULL}, *const times[] = {"ms", "s", "m", "h", "d", NULL},
                      *const sizes[] = {"", "B", "KiB", "MiB", "GiB", NULL};
    static const uint64_t one[] = {1}, time_factors[] = {1, 1000, 60000, 3600000, 24ull * 3600 * 1000},
                          size_factors[] = {1, 1, 1024, 1 << 20, 1 << 30};

    if (type == DURATION)
        return parse_unit(text, v, times, time_factors);
    if (type == SIZE)
        return parse_unit(text, v, sizes, size_factors);
    return parse_unit(text, v, none, one);
}

static char *resolve(const char *folder, const char *path)
{
    return *path == '/' || *path == '\0' ? mem_strdup(path) : mem_printf("%s/%s", folder, path);
}

static bool at_line(struct reading *r, size_t line, const char *fmt, ...) PRINTF_LIKE(3, 4);
static bool at_line(struct reading *r, size_t line, const char *fmt, ...)
{
    char text[ERR_TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return err_set(r->e, ERR_INPUT, "%s:%zu: %.400s", r->path, line, text);
}

static bool set_integer(struct reading *r, const struct settings_row *row, const char *text, size_t line)
{
    static const char *const kinds[] = {[NUMBER] = "a natural number", [DURATION] = "a duration such as 500ms, 60s, 5m, 1d",
                                        [SIZE] = "a size such as 64KiB, 8MiB, 1GiB"};
    uint64_t v;

    if (!settings_parse_integer(row->type, text, &v))
        return at_line(r, line, "%s: \"%s\" is not %s", row->key, text, kinds[row->type]);
    if (v < row->min || v > row->max)
        return at_line(r, line, "%s: %s is out of bounds (%llu to %llu)", row->key, text,
                       (unsigned long long)row->min, (unsigned long long)row->max);
    *(uint64_t *)settings_field(r->s, row) = v;
    return true;
}

/* One scalar for a key; lists are appended to. */
static bool set_value(struct reading *r, const struct settings_row *row, const char *text, size_t line)
{
    void *at = settings_field(r->s, row);
    struct settings_list *list = at;

    switch (row->type) {
    case TEXT:
    case PATH:
        free(*(char **)at);
        *(char **)at = row->type == PATH ? resolve(r->folder, text) : mem_strdup(text);
        return true;
    case TEXTS:
    case PATHS:
        if (list->count == SETTINGS_LIST_MAX)
            return at_line(r, line, "%s: more than %d entries", row->key, SETTINGS_LIST_MAX);
        list->items[list->count++] = row->type == PATHS ? resolve(r->folder, text) : mem_strdup(text);
        return true;
    case BOOLEAN:
        if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
            return at_line(r, line, "%s: \"%s\" is neither true nor false", row->key, text);
        *(bool *)at = strcmp(text, "true") == 0;
        return true;
    case NUMBER:
    case DURATION:
    case SIZE:
        return set_integer(r, row, text, line);
    }
    return false;
}

static bool set_scalar(struct reading *r, const char *key, bool in_list, const char *text, size_t line)
{
    for (size_t i = 0; i < settings_rows; i++) {
        const struct settings_row *row = &settings_table[i];

        if (strcmp(row->key, key) != 0)
            continue;
        if (settings_is_list(row) != in_list)
            return at_line(r, line, "%s: %s expected", key, in_list ? "one value" : "a list");
        if (r->seen[i] && !in_list)
            return at_line(r, line, "%s: given twice", key);
        if ((row->required & r->parts) != 0 && *text == '\0')
            return at_line(r, line, "%s: is empty", key);
        r->seen[i] = true;
        r->s->lines[i] = line;
        return set_value(r, row, text, line);
    }
    return at_line(r, line, "unknown key %s", key);
}

/* The place in the document: the dotted key so far, and what its parents end at. */
struct place {
    char key[KEY_MAX];
    size_t ends[DEPTH_MAX];
    unsigned depth;
    bool expects_value, in_list;
};

static bool take_scalar(struct reading *r, struct place *p, const yaml_event_t *ev)
{
    const char *text = (const char *)ev->data.scalar.value;
    size_t line = ev->start_mark.line + 1, end;

    if (strlen(text) != ev->data.scalar.length)
        return at_line(r, line, "a NUL byte in a value");
    if (p->depth == 0)
        return at_line(r, line, "a mapping of keys expected");
    if (p->in_list || p->expects_value) {
        p->expects_value = false;
        return set_scalar(r, p->key, p->in_list, text, line);
    }
    end = p->ends[p->depth - 1];
    if (end + strlen(text) + 2 > KEY_MAX)
        return at_line(r, line, "key too long");
    snprintf(p->key + end, KEY_MAX - end, "%s%s", end == 0 ? "" : ".", text);
    p->expects_value = true;
    return true;
}

/* An empty list is what was meant, or an error: never the default. */
static bool begin_list(struct reading *r, const char *key, size_t line)
{
    for (size_t i = 0; i < settings_rows; i++) {
        if (!settings_is_list(&settings_table[i]) || strcmp(settings_table[i].key, key) != 0)
            continue;
        if (r->seen[i])
            return at_line(r, line, "%s: given twice", key);
        r->seen[i] = true;
        r->s->lines[i] = line;
    }
    return true;
}

static bool take_event(struct reading *r, struct place *p, const yaml_event_t *ev)
{
    size_t line = ev->start_mark.line + 1;

    switch (ev->type) {
    case YAML_MAPPING_START_EVENT:
        if (p->in_list || p->depth == DEPTH_MAX || (p->depth > 0 && !p->expects_value))
            return at_line(r, line, "a mapping is not expected here");
        p->ends[p->depth] = p->depth == 0 ? 0 : strlen(p->key);
        p->depth++;
        p->expects_value = false;
        return true;
    case YAML_MAPPING_END_EVENT:
        p->depth--;
        return true;
    case YAML_SEQUENCE_START_EVENT:
        if (!p->expects_value || p->in_list)
            return at_line(r, line, "a list is not expected here");
        p->in_list = true;
        return begin_list(r, p->key, line);
    case YAML_SEQUENCE_END_EVENT:
        p->in_list = p->expects_value = false;
        return true;
    case YAML_SCALAR_EVENT:
        return take_scalar(r, p, ev);
    case YAML_ALIAS_EVENT:
        return at_line(r, line, "aliases are not used here");
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_START_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        return true;
    }
    return true;
}

static bool read_document(struct reading *r, struct slice text)
{
    struct place p = {0};
    yaml_parser_t parser;
    bool ok = true, end = false;

    if (yaml_parser_initialize(&parser) != 1)
        return err_set(r->e, ERR_FATAL, "%s: no YAML parser", r->path);
    /* Of an empty file there is no address, which the library takes for a caller's mistake and ends the process. */
    yaml_parser_set_input_string(&parser, text.len == 0 ? (const unsigned char *)"" : text.at, text.len);
    while (ok && !end) {
        yaml_event_t ev;

        if (yaml_parser_parse(&parser, &ev) != 1) {
            ok = at_line(r, parser.problem_mark.line + 1, "%s", parser.problem == NULL ? "not YAML" : parser.problem);
            break;
        }
        end = ev.type == YAML_STREAM_END_EVENT;
        ok = take_event(r, &p, &ev);
        yaml_event_delete(&ev);
    }
    yaml_parser_delete(&parser);
    return ok;
}

static bool set_fallbacks(struct reading *r)
{
    for (size_t i = 0; i < settings_rows; i++) {
        const struct settings_row *row = &settings_table[i];

        if (r->seen[i] && settings_is_list(row) && ((struct settings_list *)settings_field(r->s, row))->count == 0 &&
            ((row->required & r->parts) != 0 || row->fallback != NULL))
            return at_line(r, r->s->lines[i], "%s: nothing is in this list", row->key);
        if (r->seen[i])
            continue;
        if (row->fallback != NULL) {
            if (!set_value(r, row, row->fallback, 0))
                return false;
        } else if ((row->required & r->parts) != 0) {
            return err_set(r->e, ERR_INPUT, "%s: %s is missing (%s)", r->path, row->key, row->meaning);
        } else if (row->type == TEXT || row->type == PATH) {
            *(char **)settings_field(r->s, row) = mem_strdup("");
        }
    }
    return true;
}

bool settings_read_text(const char *path, struct buf *text, struct err *e)
{
    FILE *in = fopen(path, "re");
    size_t n = 1;
    bool ok = true;

    if (in == NULL)
        return err_set_errno(e, ERR_INPUT, "%s: cannot be read", path);
    while (n != 0 && ok) {
        char chunk[4096];

        n = fread(chunk, 1, sizeof chunk, in);
        ok = buf_add(text, chunk, n, NULL) || err_set(e, ERR_INPUT, "%s: over %zu bytes", path, buf_slice(text).len);
    }
    if (ok && ferror(in) != 0)
        ok = err_set_errno(e, ERR_INPUT, "%s: cannot be read", path);
    fclose(in);
    return ok;
}

struct settings *settings_read(const char *file, struct slice text, unsigned parts, struct err *e)
{
    struct reading r = {.s = mem_zalloc(1, sizeof *r.s), .path = file, .parts = parts, .e = e};
    char *copy = mem_strdup(file);
    bool ok;

    r.folder = dirname(copy);
    r.s->file = mem_strdup(file);
    r.s->lines = mem_zalloc(SETTINGS_ROWS_MAX, sizeof *r.s->lines);
    ok = read_document(&r, text) && set_fallbacks(&r) && settings_check_rules(r.s, parts, e);
    free(copy);
    if (ok)
        return r.s;
    settings_free(r.s);
    return NULL;
}

struct settings *settings_load(const char *path, unsigned parts, struct err *e)
{
    char *file = settings_path(path);
    struct settings *s = NULL;
    struct buf text;

    buf_init(&text, SETTINGS_TEXT_MAX);
    if (settings_read_text(file, &text, e))
        s = settings_read(file, buf_slice(&text), parts, e);
    buf_free(&text);
    free(file);
    return s;
}

void settings_free(struct settings *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < settings_rows; i++) {
        void *at = settings_field(s, &settings_table[i]);
        struct settings_list *list = at;

        if (settings_table[i].type == TEXT || settings_table[i].type == PATH)
            free(*(char **)at);
        else if (settings_is_list(&settings_table[i]))
            for (unsigned k = 0; k < list->count; k++)
                free(list->items[k]);
    }
    free(s->lines);
    free(s->file);
    free(s);
}

/* The message begins with this name, of a file or of a key. */
static bool is_about(const char *message, const char *name)
{
    size_t len = strlen(name);

    return len > 0 && strncmp(message, name, len) == 0 && (message[len] == ':' || message[len] == '\0');
}

bool settings_locate(const struct settings *s, struct err *e)
{
    for (size_t i = 0; i < settings_rows; i++) {
        const char *at = (const char *)s + settings_table[i].offset;
        const struct settings_list *list = (const struct settings_list *)(const void *)at;
        bool named = is_about(e->text, settings_table[i].key), about = settings_table[i].type == PATH && is_about(e->text, *(char *const *)(const void *)at);

        for (unsigned k = 0; settings_table[i].type == PATHS && k < list->count; k++)
            about = about || is_about(e->text, list->items[k]);
        if (named && s->lines[i] != 0)
            return err_prefix(e, "%s:%zu", s->file, s->lines[i]);
        if (about && s->lines[i] != 0)
            return err_prefix(e, "%s:%zu: %s", s->file, s->lines[i], settings_table[i].key);
    }
    return false;
}

enum log_level settings_log_level(const struct settings *s)
{
    enum log_level level = LOG_LEVEL_INFO;

    log_level_parse(s->log_level, &level);
    return level;
}

char *settings_queue(const struct settings *s, const char *what, const char *direction)
{
    return mem_printf("%s.%llu.%s", what, (unsigned long long)s->vault.number, direction);
}
