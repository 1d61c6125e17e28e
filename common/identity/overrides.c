/* Overrides on their way from the store to identity: see overrides.h. */
#include "common/identity/overrides.h"

#include "common/identity/identity.h"
#include "common/system/database.h"
#include "common/values/wire.h"

static bool write_overrides(const struct identity_overrides *o, struct buf *body, struct err *e)
{
    struct wire_writer w;

    buf_reset(body);
    w = wire_write(body);
    wire_put_u8(&w, (uint8_t)o->count);
    for (unsigned i = 0; i < o->count; i++) {
        wire_put_u8(&w, (uint8_t)o->at[i].profile);
        wire_put_u64(&w, (uint64_t)o->at[i].until);
        wire_put_text(&w, o->at[i].by);
        wire_put_text(&w, o->at[i].why);
    }
    return wire_ok(&w, "overrides", e);
}

/* At most `most` bytes, never cut within a character (UTF-8). */
static struct slice cut(struct slice text, size_t most)
{
    if (text.len <= most)
        return text;
    while (most != 0 && (text.at[most] & 0xc0) == 0x80)
        most--;
    return slice_of(text.at, most);
}

static bool read_rows(const PGresult *rows, struct identity_overrides *o, struct err *e)
{
    for (int i = 0; i < PQntuples(rows) && o->count < IDENTITY_OVERRIDES_MAX; i++) {
        struct slice profile = database_get_slice(rows, i, 0);
        struct identity_override *one = &o->at[o->count++];

        if (!roster_profile_parse(profile, &one->profile))
            return err_set(e, ERR_FATAL, "table override: profile \"%.*s\"", (int)profile.len, (const char *)profile.at);
        one->until = (int64_t)database_get_time(rows, i, 1);
        one->by = cut(database_get_slice(rows, i, 2), IDENTITY_NOTE_MAX);
        one->why = cut(database_get_slice(rows, i, 3), IDENTITY_NOTE_MAX);
    }
    return true;
}

bool overrides_load(struct database *d, struct buf *body, struct err *e)
{
    PGresult *rows = database_query(d, "SELECT profile, until, author, reason FROM override_in_force ORDER BY profile, id", NULL, 0, e);
    struct identity_overrides o = {0};
    bool ok = rows != NULL && read_rows(rows, &o, e) && write_overrides(&o, body, e);

    PQclear(rows);
    return ok;
}

bool overrides_prune(struct buf *body, int64_t now, struct err *e)
{
    struct identity_overrides o, left = {0};
    struct buf fresh;
    bool ok = body->len == 0 || identity_read_overrides(buf_slice(body), &o, e);

    for (unsigned i = 0; ok && body->len != 0 && i < o.count; i++)
        if (o.at[i].until > now)
            left.at[left.count++] = o.at[i];
    /* What is left borrows from `body`. */
    buf_init(&fresh, OVERRIDES_BODY_MAX);
    ok = write_overrides(&left, &fresh, e) && ok;
    buf_free(body);
    *body = fresh;
    return ok;
}

bool overrides_send(struct channel *c, const struct buf *body, struct err *e)
{
    return channel_send(c, IDENTITY_OVERRIDES, buf_slice(body), e) && channel_flush(c, e);
}
