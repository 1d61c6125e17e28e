/* Role bindings: see roster.h. */
#include "common/system/roster.h"

#include <stdlib.h>

#include "common/system/tls.h"
#include "common/values/wire.h"

struct roster {
    struct buf body; /* as received; entries point into it */
    struct roster_entry *entries;
    uint32_t *next; /* of each entry: the next one of the same profile, CN and OU, + 1; 0: none */
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

/* The slot of these bindings, or the free one where they would be. */
static uint32_t *find_slot(const struct roster *r, enum roster_profile profile, struct slice cn, struct slice ou)
{
    uint32_t at = hash(profile, cn, ou) & r->mask;

    for (; r->slots[at] != 0; at = (at + 1) & r->mask) {
        const struct roster_entry *entry = &r->entries[r->slots[at] - 1];

        if (entry->profile == profile && slice_equal(entry->cn, cn) && slice_equal(entry->ou, ou))
            break;
    }
    return &r->slots[at];
}

static void index_entries(struct roster *r)
{
    uint32_t size = 16;

    while (size < 2 * r->count)
        size *= 2;
    r->mask = size - 1;
    r->slots = mem_zalloc(size, sizeof *r->slots);
    r->next = mem_zalloc(r->count == 0 ? 1 : r->count, sizeof *r->next);
    for (unsigned i = 0; i < r->count; i++) {
        const struct roster_entry *entry = &r->entries[i];
        uint32_t *slot = find_slot(r, entry->profile, entry->cn, entry->ou);

        r->next[i] = *slot;
        *slot = i + 1;
    }
}

static bool decode_entries(struct roster *r, struct err *e)
{
    struct wire_reader in = wire_read(buf_slice(&r->body));
    uint32_t count = wire_get_u32(&in);

    /* The shortest entry has 13 bytes: a count beyond what is there is refused before anything is allocated for it. */
    if (count > ROSTER_ENTRIES_MAX || count > in.rest.len / 13)
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
        entry->serial = wire_get_text(&in);
        entry->san = wire_get_text(&in);
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
    free(r->next);
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

/* How much a binding asks for: 0 nothing beyond the name … 3 serial and SAN; -1: this certificate is not it. */
static int weight(const struct roster_entry *entry, const struct tls_subject *subject)
{
    int weight = 0;

    if (entry->serial.len != 0) {
        if (!slice_is(entry->serial, subject->serial))
            return -1;
        weight += 2;
    }
    if (entry->san.len == 0)
        return weight;
    for (unsigned i = 0; i < subject->san_count; i++)
        if (slice_is(entry->san, tls_subject_san(subject, i)))
            return weight + 1;
    return -1;
}

bool roster_find(const struct roster *r, enum roster_profile profile, const struct tls_subject *subject, uint32_t *id)
{
    int best = -1;

    if (r == NULL)
        return false;
    for (uint32_t at = *find_slot(r, profile, slice_text(subject->cn), slice_text(subject->ou)); at != 0; at = r->next[at - 1]) {
        const struct roster_entry *entry = &r->entries[at - 1];
        int w = weight(entry, subject);

        if (w > best || (w >= 0 && w == best && entry->id < *id)) {
            best = w;
            *id = entry->id;
        }
    }
    return best >= 0;
}
