/* Items of a daemon's health: see health.h. */
#include "common/values/health.h"

#include <stdio.h>

/* Prints `text` into `to`, never cutting a character in two (UTF-8, RFC 3629 3): what is shown stays readable. */
static void copy_text(char *to, size_t size, const char *text)
{
    size_t len = strlen(text);

    if (len >= size)
        for (len = size - 1; len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80; len--)
            ;
    memcpy(to, text, len);
    to[len] = '\0';
}

static struct health_item *place(struct health *h, const char *name)
{
    for (unsigned i = 0; i < h->count; i++)
        if (strncmp(h->items[i].name, name, HEALTH_NAME_MAX - 1) == 0)
            return &h->items[i];
    return h->count < HEALTH_ITEMS_MAX ? &h->items[h->count++] : NULL;
}

void health_set(struct health *h, const char *name, bool ok, const char *note)
{
    struct health_item *item = place(h, name);

    if (item == NULL)
        return;
    copy_text(item->name, sizeof item->name, name);
    copy_text(item->note, sizeof item->note, note == NULL ? "" : note);
    item->ok = ok;
}

const struct health_item *health_find(const struct health *h, const char *name)
{
    for (unsigned i = 0; i < h->count; i++)
        if (strcmp(h->items[i].name, name) == 0)
            return &h->items[i];
    return NULL;
}

bool health_ok(const struct health *h)
{
    for (unsigned i = 0; i < h->count; i++)
        if (!h->items[i].ok)
            return false;
    return h->count > 0;
}

void health_put(struct wire_writer *w, const struct health *h)
{
    wire_put_u8(w, (uint8_t)h->count);
    for (unsigned i = 0; i < h->count; i++) {
        wire_put_text(w, slice_text(h->items[i].name));
        wire_put_u8(w, h->items[i].ok ? 1 : 0);
        wire_put_text(w, slice_text(h->items[i].note));
    }
}

/* A sibling's text goes on to status files and HTTP bodies: no control characters, and it must fit. */
static bool take_text(struct wire_reader *r, char *to, size_t size)
{
    struct slice text = wire_get_text(r);

    if (text.len >= size)
        return false;
    for (size_t i = 0; i < text.len; i++)
        to[i] = text.at[i] < 0x20 || text.at[i] == 0x7f ? ' ' : (char)text.at[i];
    to[text.len] = '\0';
    return true;
}

bool health_read(struct slice body, struct health *h, struct err *e)
{
    struct wire_reader r = wire_read(body);
    unsigned count = wire_get_u8(&r);

    *h = (struct health){0};
    if (count > HEALTH_ITEMS_MAX)
        return err_set(e, ERR_INPUT, "health: %u items, at most %d", count, HEALTH_ITEMS_MAX);
    for (unsigned i = 0; i < count; i++) {
        struct health_item *item = &h->items[i];
        bool named = take_text(&r, item->name, sizeof item->name) && *item->name != '\0';
        uint8_t ok = wire_get_u8(&r);

        if (!named || ok > 1 || !take_text(&r, item->note, sizeof item->note))
            return err_set(e, ERR_INPUT, "health: item %u makes no sense", i + 1);
        item->ok = ok == 1;
    }
    h->count = count;
    return wire_end(&r, "health", e);
}
