/* Role bindings: see roster.h. */
#include "common/system/roster.h"

#include <stdlib.h>

#include "common/values/wire.h"

struct roster {
    struct buf body; /* as received; entries point into it */
    struct roster_entry *entries;
    unsigned count;
    uint32_t *slots; /* open addressing: index of an entry + 1, 0 is free */
    uint32_t mask;
};

static const char *const names[] = {[ROSTER_DEPOSITOR] = "depositor", [ROSTER_READER] = "reader",
                                    [ROSTER_TECHNICAL] = "technical", [ROSTER_FUNCTIONAL] = "functional"};

const char *roster_profile_name(enum roster_profile profile)
{
    return names[profile];
}

bool roster_profile_parse(struct slice text, enum roster_profile *profile)
{
    for (unsigned i = ROSTER_DEPOSITOR; i <= ROSTER_FUNCTIONAL; i++)
        if (slice_is(text, names[i])) {
            *profile = (enum roster_profile)i;
            return true;
        }
    return false;
}

/* FNV-1a: the keys are the vault's own bindings, nobody else chooses them. */
static uint32_t hash(enum roster_profile profile, struct slice cn, struct slice ou)
{
    uint32_t h = (2166136261u ^ (uint32_t)profile) * 16777619u;

    for (size_t i = 0; i < cn.len; i++)
        h = (h ^ cn.at[i]) * 16777619u;
    h = (h ^ 0xff) * 16777619u;
    for (size_t i = 0; i < ou.len; i++)
        h = (h ^ ou.at[i]) * 16777619u;
    return h;
}

static void index_entries(struct roster *r)
{
    uint32_t size = 16;

    while (size < 2 * r->count)
        size *= 2;
    r->mask = size - 1;
    r->slots = mem_zalloc(size, sizeof *r->slots);
    for (unsigned i = 0; i < r->count; i++) {
        const struct roster_entry *entry = &r->entries[i];
        uint32_t at = hash(entry->profile, entry->cn, entry->ou) & r->mask;

        while (r->slots[at] != 0)
            at = (at + 1) & r->mask;
        r->slots[at] = i + 1;
    }
}

static bool decode_entries(struct roster *r, struct err *e)
{
    struct wire_reader in = wire_read(buf_slice(&r->body));
    uint32_t count = wire_get_u32(&in);

    /* The shortest entry has 9 bytes: a count beyond what is there is refused before anything is allocated for it. */
    if (count > ROSTER_ENTRIES_MAX || count > in.rest.len / 9)
        return err_set(e, ERR_INPUT, "roster: %u entries announced in %zu bytes", count, in.rest.len);
    r->entries = mem_zalloc(count == 0 ? 1 : count, sizeof *r->entries);
    for (r->count = 0; r->count < count; r->count++) {
        struct roster_entry *entry = &r->entries[r->count];
        uint8_t profile = wire_get_u8(&in);

        if (profile < ROSTER_DEPOSITOR || profile > ROSTER_FUNCTIONAL)
            return err_set(e, ERR_INPUT, "roster: profile %u", profile);
        entry->profile = (enum roster_profile)profile;
        entry->id = wire_get_u32(&in);
        entry->cn = wire_get_text(&in);
        entry->ou = wire_get_text(&in);
        if (in.short_read)
            break;
    }
    return wire_end(&in, "roster", e);
}

struct roster *roster_decode(struct slice body, struct err *e)
{
    struct roster *r = mem_zalloc(1, sizeof *r);

    buf_init(&r->body, ROSTER_BYTES_MAX);
    if (!buf_add_slice(&r->body, body, e) || !decode_entries(r, e)) {
        err_prefix(e, "ROSTER");
        roster_free(r);
        return NULL;
    }
    index_entries(r);
    return r;
}

void roster_free(struct roster *r)
{
    if (r == NULL)
        return;
    buf_free(&r->body);
    free(r->entries);
    free(r->slots);
    free(r);
}

struct slice roster_body(const struct roster *r)
{
    return buf_slice(&r->body);
}

unsigned roster_count(const struct roster *r)
{
    return r->count;
}

const struct roster_entry *roster_at(const struct roster *r, unsigned i)
{
    return &r->entries[i];
}

bool roster_find(const struct roster *r, enum roster_profile profile, const char *cn, const char *ou, uint32_t *id)
{
    struct slice c = slice_text(cn), o = slice_text(ou);
    uint32_t at;

    if (r == NULL)
        return false;
    for (at = hash(profile, c, o) & r->mask; r->slots[at] != 0; at = (at + 1) & r->mask) {
        const struct roster_entry *entry = &r->entries[r->slots[at] - 1];

        if (entry->profile == profile && slice_equal(entry->cn, c) && slice_equal(entry->ou, o)) {
            *id = entry->id;
            return true;
        }
    }
    return false;
}
