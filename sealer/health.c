/* HSM and clock, for others to read: see health.h. */
#include "sealer/health.h"

#include <time.h>

#include "common/values/log.h"

enum { WRITE_EVERY_MS = 3000, SILENT_MS = 5000 };

static int64_t monotonic_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* One item as one sibling tells it; into `h` unless that already says it is not ok. */
static void take(struct health *h, const struct sibling *s, const char *name)
{
    const struct health_item *said = health_find(&s->health, name), *there = health_find(h, name);
    char note[HEALTH_NOTE_MAX];

    if (there != NULL && !there->ok)
        return;
    if (s->channel == NULL)
        snprintf(note, sizeof note, "process %s is away", s->kind);
    else if (sibling_silence(s) > SILENT_MS)
        snprintf(note, sizeof note, "process %s has said nothing for %lld s", s->kind, (long long)(sibling_silence(s) / 1000));
    else if (said == NULL)
        snprintf(note, sizeof note, "process %s has not said yet", s->kind);
    else {
        health_set(h, name, said->ok, said->note);
        return;
    }
    health_set(h, name, false, note);
}

struct health sealer_health_of(const struct sibling *seal, const struct sibling *stamp)
{
    struct health h = {0};

    take(&h, seal, "hsm");
    take(&h, stamp, "hsm");
    take(&h, stamp, "clock");
    return h;
}

static bool write_item(struct store *s, const struct health_item *item, struct err *e)
{
    const struct database_value v[] = {database_text_slice(slice_text(item->name)), database_bool(item->ok),
                                       database_text_slice(slice_text(item->note))};

    return database_change(s->db,
                           "INSERT INTO health (daemon, item, ok, note, at) VALUES ('coffre-sealer', $1, $2, $3, clock_timestamp()) "
                           "ON CONFLICT (daemon, item) DO UPDATE SET ok = excluded.ok, note = excluded.note, at = excluded.at",
                           v, sizeof v / sizeof *v, NULL, e);
}

bool sealer_health_write(struct sealer_health *h, struct store *store, const struct sibling *seal, const struct sibling *stamp, struct err *e)
{
    struct health now;
    bool ok = true;

    if (h->written_ms != 0 && monotonic_ms() - h->written_ms < WRITE_EVERY_MS)
        return true;
    now = sealer_health_of(seal, stamp);
    for (unsigned i = 0; i < now.count && ok; i++)
        ok = write_item(store, &now.items[i], e);
    h->written_ms = monotonic_ms();
    return ok;
}
