/* See corpus.h. */
#include "tests/openwire/corpus.h"

#include <errno.h>
#include <stdio.h>

enum { FILE_MAX = 2000 /* bytes: long frames teach a fuzzer no more than short ones */ };

/* Which fields are there, here and inside: frames that agree in it are of one shape. */
static uint32_t shape_of(const struct openwire_object *o, uint32_t sum)
{
    const struct openwire_row *row = openwire_row(o->type);

    sum = sum * 31 + o->type;
    for (unsigned i = 0; i < row->count; i++) {
        unsigned kind = row->fields[i].kind;

        if (kind <= OPENWIRE_KIND_LONG)
            continue;
        sum = sum * 31 + o->values[i].there;
        if (o->values[i].there && (kind == OPENWIRE_KIND_NESTED || kind == OPENWIRE_KIND_CACHED))
            sum = shape_of(o->values[i].object, sum);
    }
    return sum;
}

static bool keep(const char *folder, const char *name, unsigned function, unsigned with, struct slice s, struct err *e)
{
    const uint8_t head[] = {(uint8_t)function, (uint8_t)with};
    char path[512];
    FILE *file;
    bool ok;

    if (s.len > FILE_MAX)
        return true;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    file = fopen(path, "wxe");
    if (file == NULL)
        return errno == EEXIST || err_set_errno(e, ERR_FATAL, "%s", path);
    ok = fwrite(head, sizeof head, 1, file) == 1 && (s.len == 0 || fwrite(s.at, s.len, 1, file) == 1);
    return (fclose(file) == 0 && ok) || err_set_errno(e, ERR_FATAL, "%s", path);
}

/* A message's content and properties, by themselves. */
static bool keep_message(const char *folder, const struct openwire_object *o, struct err *e)
{
    struct slice content = openwire_get_bytes(o, OPENWIRE_MESSAGE_CONTENT), map = openwire_get_bytes(o, OPENWIRE_MESSAGE_PROPERTIES);
    bool compressed = openwire_get_number(o, OPENWIRE_MESSAGE_COMPRESSED) != 0, text = o->type == OPENWIRE_TEXT_MESSAGE;
    char name[64];

    snprintf(name, sizeof name, "content-%s-%s-%zu", text ? "text" : "bytes", compressed ? "compressed" : "plain", content.len / 16);
    if ((text || o->type == OPENWIRE_BYTES_MESSAGE) &&
        !keep(folder, name, CORPUS_CONTENT, (unsigned)compressed << 1 | text, content, e))
        return false;
    snprintf(name, sizeof name, "properties-%zu", map.len / 16);
    return map.len == 0 || keep(folder, name, CORPUS_PROPERTIES, 64, map, e);
}

bool corpus_keep(const char *folder, const struct openwire_object *o, unsigned version, struct slice frame, struct err *e)
{
    char name[64];

    snprintf(name, sizeof name, "%s-%u-%08x", openwire_row(o->type)->name, version, (unsigned)shape_of(o, 0));
    if (!keep(folder, name, CORPUS_FRAME, version - 1, frame, e))
        return false;
    if (o->type == OPENWIRE_WIRE_FORMAT_INFO) {
        snprintf(name, sizeof name, "preamble-%u-%zu", (unsigned)openwire_get_number(o, OPENWIRE_WIRE_FORMAT_INFO_VERSION), frame.len / 16);
        return keep(folder, name, CORPUS_PREAMBLE, 0, frame, e);
    }
    if (o->type >= OPENWIRE_MESSAGE && o->type <= OPENWIRE_TEXT_MESSAGE)
        return keep_message(folder, o, e);
    return true;
}
