/* The primitive map: see properties.h. */
#include "ingest/openwire/properties.h"

#include "common/values/wire.h"
#include "ingest/openwire/openwire_internal.h"
#include "ingest/openwire/text.h"

enum {
    ENTRY_MIN = 3, /* bytes: the length of a name, a tag */
    DEPTH_MAX = 8, /* maps and lists within each other */
};

static bool take(struct slice *rest, size_t len, struct slice *taken)
{
    if (len > rest->len)
        return false;
    *taken = slice_of(rest->at, len);
    *rest = slice_of(rest->at + len, rest->len - len);
    return true;
}

static bool take_32(struct slice *rest, int32_t *n)
{
    struct slice s;

    if (!take(rest, 4, &s))
        return false;
    *n = (int32_t)openwire_load_32(s.at);
    return true;
}

/* Bytes behind a length of 16 bits. */
static bool take_text(struct slice *rest, struct slice *text)
{
    struct slice s;

    return take(rest, 2, &s) && take(rest, openwire_load_16(s.at), text);
}

static bool skip_value(struct slice *rest, unsigned tag, unsigned depth);

static bool skip_tagged(struct slice *rest, unsigned depth)
{
    struct slice tag;

    return take(rest, 1, &tag) && skip_value(rest, tag.at[0], depth);
}

/* What is inside a map or a list; Java writes a negative count for a map that is null. */
static bool skip_values(struct slice *rest, bool named, unsigned depth)
{
    struct slice name;
    int32_t count;

    if (depth == DEPTH_MAX || !take_32(rest, &count) || (count < 0 && !named))
        return false;
    if (count > 0 && (size_t)count > rest->len / (named ? ENTRY_MIN : 1))
        return false;
    for (int32_t i = 0; i < count; i++)
        if ((named && !take_text(rest, &name)) || !skip_tagged(rest, depth + 1))
            return false;
    return true;
}

/* Passes over a value, whose tag was before it. */
static bool skip_value(struct slice *rest, unsigned tag, unsigned depth)
{
    static const uint8_t sizes[] = {0, 1, 1, 2, 2, 4, 8, 8, 4};
    struct slice s;
    int32_t len;

    switch (tag) {
    case OPENWIRE_TAG_TEXT:
        return take_text(rest, &s);
    case OPENWIRE_TAG_BYTES:
    case OPENWIRE_TAG_BIG_TEXT:
        return take_32(rest, &len) && len >= 0 && take(rest, (size_t)len, &s);
    case OPENWIRE_TAG_MAP:
    case OPENWIRE_TAG_LIST:
        return skip_values(rest, tag == OPENWIRE_TAG_MAP, depth);
    case OPENWIRE_TAG_BOOL:
        return take(rest, 1, &s) && s.at[0] <= 1;
    default:
        return tag < sizeof sizes && take(rest, sizes[tag], &s);
    }
}

bool openwire_map_open(struct openwire_map *m, struct slice map, uint32_t max, struct err *e)
{
    int32_t count = 0;

    *m = (struct openwire_map){.rest = map};
    if (map.len == 0)
        return true;
    if (!take_32(&m->rest, &count))
        return err_set(e, ERR_INPUT, "OpenWire properties: %zu bytes are no map", map.len);
    if (count > 0 && ((uint32_t)count > max || (size_t)count > m->rest.len / ENTRY_MIN))
        return err_set(e, ERR_INPUT, "OpenWire properties: %d entries are announced in %zu bytes, at most %u are taken",
                       (int)count, m->rest.len, (unsigned)max);
    m->left = count < 0 ? 0 : (uint32_t)count;
    return true;
}

/* What a value says, from its bytes behind the tag: skip_value() found them whole. */
static void look_at_value(struct openwire_property *p, struct slice value)
{
    p->number = 0;
    p->bytes = slice_of(NULL, 0);
    switch (p->tag) {
    case OPENWIRE_TAG_NULL:
        break;
    case OPENWIRE_TAG_BOOL:
    case OPENWIRE_TAG_BYTE:
        p->number = (int8_t)value.at[0];
        break;
    case OPENWIRE_TAG_CHAR:
        p->number = openwire_load_16(value.at);
        break;
    case OPENWIRE_TAG_SHORT:
        p->number = (int16_t)openwire_load_16(value.at);
        break;
    case OPENWIRE_TAG_INT:
        p->number = (int32_t)openwire_load_32(value.at);
        break;
    case OPENWIRE_TAG_LONG:
        p->number = (int64_t)openwire_load_64(value.at);
        break;
    case OPENWIRE_TAG_TEXT:
        p->bytes = slice_of(value.at + 2, value.len - 2);
        break;
    case OPENWIRE_TAG_BYTES:
    case OPENWIRE_TAG_BIG_TEXT:
        p->bytes = slice_of(value.at + 4, value.len - 4);
        break;
    case OPENWIRE_TAG_DOUBLE:
    case OPENWIRE_TAG_FLOAT:
    case OPENWIRE_TAG_MAP:
    case OPENWIRE_TAG_LIST:
        p->bytes = value;
        break;
    }
}

bool openwire_map_next(struct openwire_map *m, struct openwire_property *p, struct err *e)
{
    struct slice rest = m->rest, tag, value;

    if (m->left == 0) {
        if (rest.len != 0)
            err_set(e, ERR_INPUT, "OpenWire properties: %zu bytes follow the last entry", rest.len);
        return false;
    }
    if (!take_text(&rest, &p->name) || !take(&rest, 1, &tag))
        return err_set(e, ERR_INPUT, "OpenWire properties: entry %u goes beyond the map", (unsigned)m->index);
    value = rest;
    if (!skip_value(&rest, tag.at[0], 0))
        return err_set(e, ERR_INPUT, "OpenWire properties: entry %u has no value of type %u", (unsigned)m->index, tag.at[0]);
    p->tag = (enum openwire_tag)tag.at[0];
    look_at_value(p, slice_of(value.at, value.len - rest.len));
    m->rest = rest;
    m->left--;
    m->index++;
    return true;
}

void openwire_map_begin(struct openwire_map_writer *w, struct buf *out)
{
    struct wire_writer ww = wire_write(out);

    *w = (struct openwire_map_writer){.out = out, .began = out->len};
    wire_put_u32(&ww, 0);
    w->overflow = ww.overflow;
}

/* An entry's name and tag; what follows goes to the same writer, which end_entry() asks. */
static struct wire_writer begin_entry(struct openwire_map_writer *w, const char *name, enum openwire_tag tag)
{
    struct wire_writer ww = wire_write(w->out);

    wire_put_text(&ww, slice_text(name));
    wire_put_u8(&ww, (uint8_t)tag);
    w->count++;
    return ww;
}

static void end_entry(struct openwire_map_writer *w, const struct wire_writer *ww)
{
    w->overflow = w->overflow || ww->overflow;
}

void openwire_map_put_text(struct openwire_map_writer *w, const char *name, struct slice text)
{
    struct wire_writer ww = begin_entry(w, name, OPENWIRE_TAG_TEXT);
    size_t place = w->out->len, len;

    wire_put_u16(&ww, 0);
    end_entry(w, &ww);
    if (w->overflow || !openwire_text_encode(text, w->out, NULL) || (len = w->out->len - place - 2) > UINT16_MAX)
        w->overflow = true;
    else
        openwire_store_16(w->out->data + w->out->start + place, (uint16_t)len);
}

void openwire_map_put_long(struct openwire_map_writer *w, const char *name, int64_t n)
{
    struct wire_writer ww = begin_entry(w, name, OPENWIRE_TAG_LONG);

    wire_put_u64(&ww, (uint64_t)n);
    end_entry(w, &ww);
}

void openwire_map_put_int(struct openwire_map_writer *w, const char *name, int32_t n)
{
    struct wire_writer ww = begin_entry(w, name, OPENWIRE_TAG_INT);

    wire_put_u32(&ww, (uint32_t)n);
    end_entry(w, &ww);
}

void openwire_map_put_bool(struct openwire_map_writer *w, const char *name, bool b)
{
    struct wire_writer ww = begin_entry(w, name, OPENWIRE_TAG_BOOL);

    wire_put_u8(&ww, b);
    end_entry(w, &ww);
}

bool openwire_map_end(struct openwire_map_writer *w, struct err *e)
{
    if (w->overflow) {
        w->out->len = w->began;
        return err_set(e, ERR_INPUT, "OpenWire properties: %u entries do not fit, or a text is too long", (unsigned)w->count);
    }
    openwire_store_32(w->out->data + w->out->start + w->began, w->count);
    return true;
}
