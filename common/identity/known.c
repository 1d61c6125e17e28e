/* Certificates known to be revoked: see known.h. */
#include "common/identity/known.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/values/map.h"
#include "common/values/wire.h"

static const char magic[4] = {'C', 'F', 'K', 'R'};

enum { VERSION = 1 };

struct place {
    struct known_one one;
    struct place *same; /* another under the same first bytes of its key */
};

struct known {
    struct map places; /* owned, by the first bytes of the key */
    size_t count;
};

static uint64_t short_key(const uint8_t key[KNOWN_KEY])
{
    uint64_t k;

    memcpy(&k, key, sizeof k);
    return k;
}

struct known *known_new(void)
{
    return mem_zalloc(1, sizeof(struct known));
}

static void clear(struct known *k)
{
    struct place *p;
    size_t at = 0;

    while ((p = map_next(&k->places, &at)) != NULL)
        while (p != NULL) {
            struct place *same = p->same;

            free(p);
            p = same;
        }
    map_free(&k->places);
    *k = (struct known){0};
}

void known_free(struct known *k)
{
    if (k == NULL)
        return;
    clear(k);
    free(k);
}

size_t known_count(const struct known *k)
{
    return k->count;
}

static struct place *find(const struct known *k, const uint8_t key[KNOWN_KEY])
{
    struct place *p = map_get(&k->places, short_key(key));

    while (p != NULL && memcmp(p->one.key, key, KNOWN_KEY) != 0)
        p = p->same;
    return p;
}

const struct known_one *known_find(const struct known *k, const uint8_t key[KNOWN_KEY])
{
    const struct place *p = find(k, key);

    return p == NULL ? NULL : &p->one;
}

bool known_take(struct known *k, const uint8_t key[KNOWN_KEY])
{
    struct place *p = find(k, key), *first = map_get(&k->places, short_key(key));

    if (p == NULL)
        return false;
    if (p == first) {
        map_take(&k->places, short_key(key));
        if (p->same != NULL)
            map_put(&k->places, short_key(key), p->same);
    } else {
        while (first->same != p)
            first = first->same;
        first->same = p->same;
    }
    k->count--;
    free(p);
    return true;
}

/* The one that ends first. */
static struct place *first_to_end(const struct known *k)
{
    struct place *p, *found = NULL;
    size_t at = 0;

    while ((p = map_next(&k->places, &at)) != NULL)
        for (; p != NULL; p = p->same)
            if (found == NULL || p->one.ends < found->one.ends)
                found = p;
    return found;
}

void known_put(struct known *k, const struct known_one *one)
{
    struct place *p = find(k, one->key);

    if (p != NULL) {
        p->one = *one;
        return;
    }
    if (k->count == KNOWN_MAX)
        (void)known_take(k, first_to_end(k)->one.key);
    p = mem_zalloc(1, sizeof *p);
    p->one = *one;
    p->same = map_put(&k->places, short_key(one->key), p);
    k->count++;
}

size_t known_expire(struct known *k, int64_t now)
{
    struct place **ended = mem_zalloc(k->count + 1, sizeof(struct place *)), *p;
    size_t at = 0, count = 0;

    /* The map must not change while it is walked. */
    while ((p = map_next(&k->places, &at)) != NULL)
        for (; p != NULL; p = p->same)
            if (p->one.ends < now)
                ended[count++] = p;
    for (size_t n = 0; n < count; n++)
        (void)known_take(k, ended[n]->one.key);
    free(ended);
    return count;
}

bool known_write(const struct known *k, struct buf *out, struct err *e)
{
    struct wire_writer w = wire_write(out);
    struct place *p;
    size_t at = 0;

    wire_put_fixed(&w, magic, sizeof magic);
    wire_put_u8(&w, VERSION);
    wire_put_u32(&w, (uint32_t)k->count);
    while ((p = map_next(&k->places, &at)) != NULL)
        for (; p != NULL; p = p->same) {
            wire_put_fixed(&w, p->one.key, KNOWN_KEY);
            wire_put_u64(&w, (uint64_t)p->one.ends);
            wire_put_u64(&w, (uint64_t)p->one.found.this_update);
            wire_put_u64(&w, (uint64_t)p->one.found.revoked_at);
            wire_put_u64(&w, (uint64_t)p->one.found.until);
            wire_put_text(&w, slice_text(p->one.found.text));
        }
    return wire_ok(&w, "revoked certificates", e);
}

/* A time that can be reckoned with. */
static bool get_time(struct wire_reader *r, int64_t *ms)
{
    uint64_t v = wire_get_u64(r);

    *ms = (int64_t)v;
    return v < INT64_MAX / 4;
}

static bool read_one(struct wire_reader *r, struct known_one *one)
{
    struct slice key = wire_get_fixed(r, KNOWN_KEY), text;
    bool times = get_time(r, &one->ends) && get_time(r, &one->found.this_update) && get_time(r, &one->found.revoked_at) && get_time(r, &one->found.until);

    text = wire_get_text(r);
    if (r->short_read || !times || text.len >= sizeof one->found.text)
        return false;
    memcpy(one->key, key.at, KNOWN_KEY);
    one->found.answer = REVOCATION_REVOKED;
    for (size_t i = 0; i < text.len; i++)
        one->found.text[i] = (char)(text.at[i] < ' ' ? '?' : text.at[i]);
    return true;
}

bool known_read(struct known *k, struct slice bytes, struct err *e)
{
    struct wire_reader r = wire_read(bytes);
    struct slice begins = wire_get_fixed(&r, sizeof magic);
    unsigned version = wire_get_u8(&r);
    uint32_t count = wire_get_u32(&r);

    clear(k);
    if (r.short_read || !slice_equal(begins, slice_of(magic, sizeof magic)) || version != VERSION || count > KNOWN_MAX)
        return err_set(e, ERR_INPUT, "not revoked certificates of version %d", VERSION);
    for (uint32_t n = 0; n < count; n++) {
        struct known_one one = {0};

        if (!read_one(&r, &one) || known_find(k, one.key) != NULL) {
            clear(k);
            return err_set(e, ERR_INPUT, "revoked certificate %u is broken", n + 1);
        }
        known_put(k, &one);
    }
    if (wire_end(&r, "revoked certificates", e))
        return true;
    clear(k);
    return false;
}
