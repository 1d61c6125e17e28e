/* The set of families as a whole: what is kept of the one before, what is said of it, its form as a message. See schema_set.h; reading is schema_read.c. */
#include "ingest/ledger/schema_set.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/values/wire.h"

static void free_family(struct schema_family *f)
{
    for (unsigned i = 0; i < f->count; i++) {
        free(f->files[i].path);
        buf_free(&f->files[i].text);
    }
    free(f->files);
    free(f->entry);
    free(f->trouble);
    *f = (struct schema_family){0};
}

void schema_set_free(struct schema_set *set)
{
    for (unsigned i = 0; i < set->count; i++)
        free_family(&set->families[i]);
    *set = (struct schema_set){0};
}

static struct schema_family *find(struct schema_set *set, const char *entry)
{
    for (unsigned i = 0; i < set->count; i++)
        if (strcmp(set->families[i].entry, entry) == 0)
            return &set->families[i];
    return NULL;
}

unsigned schema_set_keep(struct schema_set *fresh, struct schema_set *old)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < fresh->count; i++) {
        struct schema_family *f = &fresh->families[i], *before = f->trouble == NULL ? NULL : find(old, f->entry);

        if (before == NULL || before->count == 0)
            continue;
        f->files = before->files;
        f->count = before->count;
        f->old = true;
        before->files = NULL;
        before->count = 0;
        kept++;
    }
    return kept;
}

static bool same_family(const struct schema_family *a, const struct schema_family *b)
{
    if (b->trouble != NULL)
        return strcmp(a->entry, b->entry) == 0;
    if (a->count != b->count || strcmp(a->entry, b->entry) != 0)
        return false;
    for (unsigned i = 0; i < a->count; i++)
        if (strcmp(a->files[i].path, b->files[i].path) != 0 || !slice_equal(buf_slice(&a->files[i].text), buf_slice(&b->files[i].text)))
            return false;
    return true;
}

bool schema_set_same(const struct schema_set *a, const struct schema_set *b)
{
    if (a->count != b->count || a->policy != b->policy || a->unknown != b->unknown)
        return false;
    for (unsigned i = 0; i < a->count; i++)
        if (!same_family(&a->families[i], &b->families[i]))
            return false;
    return true;
}

unsigned schema_set_loaded(const struct schema_set *set)
{
    unsigned n = 0;

    for (unsigned i = 0; i < set->count; i++)
        n += set->families[i].count != 0;
    return n;
}

/* Names of those families that `old` is true or false of, among those with trouble. */
static size_t put_names(const struct schema_set *set, bool old, const char *head, char *out, size_t size)
{
    size_t used = 0;

    for (unsigned i = 0; i < set->count; i++) {
        const struct schema_family *f = &set->families[i];
        const char *name = strrchr(f->entry, '/');

        name = name == NULL ? f->entry : name + 1;
        if (f->trouble != NULL && f->old == old && used + strlen(head) + strlen(name) + 1 < size)
            used += (size_t)snprintf(out + used, size - used, "%s%s", used == 0 ? head : ", ", name);
    }
    return used;
}

void schema_set_describe(const struct schema_set *set, char *out, size_t size)
{
    size_t used;

    if (set->count == 0) {
        snprintf(out, size, "no schemas");
        return;
    }
    used = (size_t)snprintf(out, size, "%u famil%s", schema_set_loaded(set), schema_set_loaded(set) == 1 ? "y" : "ies");
    if (used < size)
        used += put_names(set, false, "; not loaded: ", out + used, size - used);
    if (used < size)
        put_names(set, true, "; changed and not taken: ", out + used, size - used);
}

/* --- as a message
 * --------------------------------------------------------------------------------------------------------- */

bool schema_set_write(const struct schema_set *set, struct buf *out, struct err *e)
{
    struct wire_writer w = wire_write(out);

    wire_put_u8(&w, (uint8_t)set->policy);
    wire_put_u8(&w, (uint8_t)set->unknown);
    wire_put_u32(&w, schema_set_loaded(set));
    for (unsigned i = 0; i < set->count; i++) {
        const struct schema_family *f = &set->families[i];

        if (f->count == 0)
            continue;
        wire_put_text(&w, slice_text(f->entry));
        wire_put_u32(&w, f->count);
        for (unsigned k = 0; k < f->count; k++) {
            wire_put_text(&w, slice_text(f->files[k].path));
            wire_put_bytes(&w, buf_slice(&f->files[k].text));
        }
    }
    return wire_ok(&w, "schemas", e);
}

static bool parse_family(struct wire_reader *r, struct schema_family *f)
{
    struct slice entry = wire_get_text(r);
    uint32_t count = wire_get_u32(r);

    if (r->short_read || count == 0 || count > SCHEMA_FILES_MAX || memchr(entry.at, 0, entry.len) != NULL)
        return false;
    f->entry = mem_text(entry);
    f->files = mem_zalloc(count, sizeof(*f->files));
    while (f->count < count) {
        struct slice path = wire_get_text(r), text = wire_get_bytes(r);
        struct schema_file *file = &f->files[f->count++];

        buf_init(&file->text, SCHEMA_FILE_BYTES);
        if (r->short_read || memchr(path.at, 0, path.len) != NULL || !buf_add_slice(&file->text, text, NULL))
            return false;
        file->path = mem_text(path);
    }
    return true;
}

bool schema_set_parse(struct slice message, struct schema_set *set, struct err *e)
{
    struct wire_reader r = wire_read(message);
    uint8_t policy = wire_get_u8(&r), unknown = wire_get_u8(&r);
    uint32_t count = wire_get_u32(&r);
    bool ok = !r.short_read && policy <= EVENT_SCHEMA_REFUSE && unknown <= EVENT_SCHEMA_REFUSE && count <= SCHEMA_FAMILIES_MAX;

    *set = (struct schema_set){.policy = (enum event_schema_policy)policy, .unknown = (enum event_schema_policy)unknown};
    while (ok && set->count < count)
        ok = parse_family(&r, &set->families[set->count++]);
    if (ok && wire_end(&r, "schemas", e))
        return true;
    schema_set_free(set);
    return err_set(e, ERR_INPUT, "schemas: a message that makes no sense");
}

/* A family's files within the message. */
struct borrowed {
    struct slice path, text;
};

struct borrowed_files {
    struct borrowed at[SCHEMA_FILES_MAX];
    unsigned count;
};

static bool open_borrowed(void *ctx, const char *path, struct slice *bytes, struct err *e)
{
    const struct borrowed_files *files = ctx;

    for (unsigned i = 0; i < files->count; i++)
        if (slice_is(files->at[i].path, path)) {
            *bytes = files->at[i].text;
            return true;
        }
    return err_set(e, ERR_INPUT, "%s: did not come along", path);
}

static struct schema *compile_next(struct wire_reader *r, struct borrowed_files *files, struct err *e)
{
    struct schema_source source = {open_borrowed, files};
    struct slice entry = wire_get_text(r);
    uint32_t count = wire_get_u32(r);
    struct schema *s;
    char *path;

    if (r->short_read || count == 0 || count > SCHEMA_FILES_MAX || memchr(entry.at, 0, entry.len) != NULL) {
        err_set(e, ERR_INPUT, "schemas: a family that makes no sense");
        return NULL;
    }
    for (files->count = 0; files->count < count; files->count++) {
        files->at[files->count].path = wire_get_text(r);
        files->at[files->count].text = wire_get_bytes(r);
    }
    if (r->short_read) {
        err_set(e, ERR_INPUT, "schemas: too short");
        return NULL;
    }
    path = mem_text(entry);
    s = schema_compile(path, &source, e);
    free(path);
    return s;
}

bool schema_set_compile(struct slice message, struct event_schemas *compiled, struct err *e)
{
    struct wire_reader r = wire_read(message);
    struct borrowed_files *files = mem_zalloc(1, sizeof(*files));
    uint8_t policy = wire_get_u8(&r), unknown = wire_get_u8(&r);
    uint32_t count = wire_get_u32(&r);
    bool ok = (!r.short_read && policy <= EVENT_SCHEMA_REFUSE && unknown <= EVENT_SCHEMA_REFUSE && count <= EVENT_FAMILIES_MAX) ||
              err_set(e, ERR_INPUT, "schemas: a message that makes no sense");

    *compiled = (struct event_schemas){.policy = (enum event_schema_policy)policy, .unknown = (enum event_schema_policy)unknown};
    while (ok && compiled->count < count) {
        struct schema *s = compile_next(&r, files, e);

        ok = s != NULL;
        if (ok)
            compiled->families[compiled->count++] = s;
    }
    ok = ok && wire_end(&r, "schemas", e);
    while (!ok && compiled->count != 0)
        schema_free(compiled->families[--compiled->count]);
    free(files);
    return ok;
}
