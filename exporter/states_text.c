/* What the role states tells, from files to messages and back: see states.h. Pure. */
#include "exporter/states.h"

#include <stdlib.h>

#include "exporter/daemons.h"

/* Whole files as long as they fit. */
static unsigned choose(const struct states_folder *f, struct metrics_source *sources)
{
    size_t sum = 0;

    for (unsigned i = 0; i < f->count; i++) {
        const struct states_file *w = &f->at[i];
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

bool states_write_metrics(const struct states_folder *f, struct buf *out, struct err *e)
{
    struct metrics_source sources[METRICS_SOURCES_MAX];

    return metrics_merge(sources, choose(f, sources), out, e);
}

/* One that would not leave room for the names of all others is told without what it says. */
static bool add_daemon(const struct states_file *w, struct buf *out, struct err *e)
{
    enum { ROOM = METRICS_SOURCES_MAX * 256 };
    json_t *o = daemons_read(w->daemon, w->large ? slice_of(NULL, 0) : buf_slice(&w->text), w->age);
    char *text = json_dumps(o, JSON_COMPACT | JSON_ENSURE_ASCII);
    bool ok;

    if (text != NULL && strlen(text) + out->len > STATES_DAEMONS_MAX - ROOM) {
        free(text);
        json_decref(o);
        o = daemons_read(w->daemon, slice_of(NULL, 0), w->age);
        text = json_dumps(o, JSON_COMPACT | JSON_ENSURE_ASCII);
    }
    ok = text != NULL ? buf_printf(out, e, "%s%s", out->len == 1 ? "" : ",", text) : err_set(e, ERR_FATAL, "%s: no JSON", w->daemon);
    free(text);
    json_decref(o);
    return ok;
}

bool states_write_daemons(const struct states_folder *f, struct buf *out, struct err *e)
{
    bool ok = buf_add(out, "[", 1, e);

    for (unsigned i = 0; ok && i < f->count; i++)
        ok = add_daemon(&f->at[i], out, e);
    return ok && buf_add(out, "]", 1, e);
}

json_t *states_read_daemons(struct slice body)
{
    json_t *list = body.len == 0 || body.len > STATES_DAEMONS_MAX ? NULL : json_loadb((const char *)body.at, body.len, 0, NULL);
    bool ok = json_is_array(list) && json_array_size(list) <= METRICS_SOURCES_MAX;

    for (size_t i = 0; ok && i < json_array_size(list); i++)
        ok = json_is_object(json_array_get(list, i));
    if (ok)
        return list;
    json_decref(list);
    return NULL;
}
