/*
 * Fuzz target: everything that reads OpenWire. The first byte chooses what is tried, the second with what: see tests/openwire/corpus.h.
 * What is read must survive being written and read again; what is refused must say why; nothing goes beyond its limits.
 */
#include <stdlib.h>

#include "ingest/openwire/content.h"
#include "ingest/openwire/preamble.h"
#include "ingest/openwire/properties.h"
#include "ingest/openwire/text.h"
#include "tests/openwire/corpus.h"
#include "tests/openwire/equal.h"

enum { CONTENT_MAX = 4096 };

static struct openwire_arena arena, second;

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* A slice is empty, or within the input. */
static void check_within(struct slice s, struct slice in)
{
    check(s.len == 0 || (s.at >= in.at && s.at + s.len <= in.at + in.len));
}

static void check_refusal(const struct err *e)
{
    check(e->code == ERR_INPUT && e->text[0] != '\0');
}

/* Every value is of the arena or the frame: looked at one by one. */
static void check_values(const struct openwire_object *o, struct slice frame, unsigned depth)
{
    const struct openwire_row *row = openwire_row(o->type);

    check(row->name != NULL && depth <= OPENWIRE_DEPTH_MAX + 1);
    for (unsigned i = 0; i < row->count; i++) {
        const struct openwire_value *v = &o->values[i];
        unsigned kind = row->fields[i].kind;

        if (!v->there)
            check(v->number == 0 && v->array.count == 0);
        else if (kind == OPENWIRE_KIND_BOOL)
            check(v->number <= 1);
        else if (kind >= OPENWIRE_KIND_MAGIC && kind <= OPENWIRE_KIND_BYTES)
            check_within(v->bytes, frame);
        else if (kind == OPENWIRE_KIND_ARRAY)
            for (size_t k = 0; k < v->array.count; k++)
                check_values(v->array.at[k], frame, depth + 1);
        else if (kind > OPENWIRE_KIND_BYTES)
            check_values(v->object, frame, depth + 1);
    }
}

static void try_frame(unsigned version, struct slice frame)
{
    const struct openwire_object *o, *again;
    struct err e = {0};
    struct buf out;

    if (!openwire_read(frame, version, &arena, &o, &e)) {
        check_refusal(&e);
        return;
    }
    check(arena.used <= OPENWIRE_ARENA);
    check_values(o, frame, 0);
    buf_init(&out, frame.len + 4);
    check(openwire_write(o, version, &out, &e));
    /* There is one way to write a value, so it is the one that was read. */
    check(slice_equal(slice_of(buf_slice(&out).at + 4, out.len - 4), frame));
    check(openwire_read(slice_of(buf_slice(&out).at + 4, out.len - 4), version, &second, &again, &e));
    check(openwire_equal(o, again, NULL));
    buf_free(&out);
}

static void try_preamble(struct slice frame)
{
    static const struct openwire_format ours = {12, 10485760, 30000, 10000};
    struct openwire_format agreed;
    struct err e = {0};

    for (size_t len = 0; len <= frame.len && len < 16; len++)
        check(openwire_detect(slice_of(frame.at, len)) != OPENWIRE_OPENING_YES || len >= 13);
    if (!openwire_preamble_read(frame, &ours, &agreed, &e)) {
        check_refusal(&e);
        return;
    }
    check(agreed.version >= 1 && agreed.version <= 12 && agreed.max_frame >= 1 && agreed.max_frame <= ours.max_frame);
    check(agreed.inactivity <= ours.inactivity && agreed.inactivity_delay <= ours.inactivity_delay);
}

static void try_properties(unsigned max, struct slice map)
{
    struct openwire_property p;
    struct openwire_map m;
    struct err e = {0};
    unsigned count = 0;

    if (!openwire_map_open(&m, map, max, &e)) {
        check_refusal(&e);
        return;
    }
    while (openwire_map_next(&m, &p, &e)) {
        check(++count <= max && p.tag <= OPENWIRE_TAG_BIG_TEXT);
        check_within(p.name, map);
        check_within(p.bytes, map);
    }
    if (e.code != ERR_NONE)
        check_refusal(&e);
}

static void try_content(unsigned with, struct slice content)
{
    struct openwire_value values[OPENWIRE_COUNT_MESSAGE] = {
        [OPENWIRE_MESSAGE_CONTENT] = openwire_bytes(content),
        [OPENWIRE_MESSAGE_COMPRESSED] = openwire_number(with >> 1 & 1),
    };
    const struct openwire_object message = {.type = with & 1 ? OPENWIRE_TEXT_MESSAGE : OPENWIRE_BYTES_MESSAGE, .values = values};
    struct err e = {0};
    struct buf scratch;
    struct slice body;

    buf_init_secret(&scratch, CONTENT_MAX + (with >> 2));
    if (openwire_content(&message, CONTENT_MAX, &scratch, &body, &e))
        check(body.len <= CONTENT_MAX);
    else
        check((e.code == ERR_INPUT || e.code == ERR_DENIED) && e.text[0] != '\0');
    check(scratch.len <= CONTENT_MAX + (with >> 2));
    buf_free(&scratch);
}

/* Decoded and encoded again; what came of that, once more, must stay as it is. */
static void try_text(struct slice modified)
{
    struct buf plain, encoded, again;
    struct err e = {0};

    buf_init(&plain, modified.len);
    buf_init(&encoded, 2 * modified.len);
    buf_init(&again, 2 * modified.len);
    check(openwire_text_decode(modified, &plain, &e));
    check(openwire_text_is_plain(modified) ? slice_equal(buf_slice(&plain), modified) : plain.len <= modified.len);
    check(openwire_text_encode(buf_slice(&plain), &encoded, &e));
    check(encoded.len == 0 || memchr(buf_slice(&encoded).at, 0, encoded.len) == NULL);
    check(openwire_text_decode(buf_slice(&encoded), &again, &e));
    buf_free(&plain);
    buf_init(&plain, encoded.len);
    check(openwire_text_encode(buf_slice(&again), &plain, &e));
    check(slice_equal(buf_slice(&plain), buf_slice(&encoded)));
    buf_free(&plain);
    buf_free(&encoded);
    buf_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in;

    if (size < 2)
        return 0;
    in = slice_of(data + 2, size - 2);
    switch ((enum corpus_function)(data[0] % CORPUS_FUNCTIONS)) {
    case CORPUS_FRAME:
        try_frame(1 + data[1] % 12u, in);
        break;
    case CORPUS_PREAMBLE:
        try_preamble(in);
        break;
    case CORPUS_PROPERTIES:
        try_properties(data[1], in);
        break;
    case CORPUS_CONTENT:
        try_content(data[1], in);
        break;
    case CORPUS_TEXT:
        try_text(in);
        break;
    case CORPUS_FUNCTIONS:
        break;
    }
    return 0;
}
