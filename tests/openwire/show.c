/* See show.h. */
#include "tests/openwire/show.h"

#include "ingest/openwire/text.h"

enum { BYTES_SHOWN = 48 };

static void show_bytes(FILE *out, struct slice s)
{
    fprintf(out, "<%zu bytes ", s.len);
    for (size_t i = 0; i < s.len && i < BYTES_SHOWN; i++)
        fprintf(out, "%02x", s.at[i]);
    fputs(s.len > BYTES_SHOWN ? "..>" : ">", out);
}

static void show_text(FILE *out, struct slice modified)
{
    struct err e = {0};
    struct buf b;

    buf_init(&b, 65536);
    if (!openwire_text_decode(modified, &b, &e))
        fprintf(out, "<%s>", e.text);
    fprintf(out, "'%.*s'", SLICE_ARGS(buf_slice(&b)));
    buf_free(&b);
}

static void show_inside(FILE *out, const struct openwire_object *o);

static bool is_empty(const struct openwire_field *f, const struct openwire_value *v)
{
    return !v->there || (f->kind <= OPENWIRE_KIND_LONG && v->number == 0);
}

static void show_value(FILE *out, const struct openwire_field *f, const struct openwire_value *v)
{
    switch ((enum openwire_kind)f->kind) {
    case OPENWIRE_KIND_BOOL:
        fputs("True", out);
        break;
    case OPENWIRE_KIND_BYTE:
    case OPENWIRE_KIND_INT:
    case OPENWIRE_KIND_LONG:
        fprintf(out, "%lld", (long long)v->number);
        break;
    case OPENWIRE_KIND_TEXT:
        show_text(out, v->bytes);
        break;
    case OPENWIRE_KIND_MAGIC:
    case OPENWIRE_KIND_BYTES:
        show_bytes(out, v->bytes);
        break;
    case OPENWIRE_KIND_NESTED:
    case OPENWIRE_KIND_CACHED:
    case OPENWIRE_KIND_THROWABLE:
        show_inside(out, v->object);
        break;
    case OPENWIRE_KIND_ARRAY:
        fputc('[', out);
        for (size_t i = 0; i < v->array.count; i++) {
            fputs(i == 0 ? "" : ", ", out);
            show_inside(out, v->array.at[i]);
        }
        fputc(']', out);
        break;
    }
}

/* A value within a field: all on the same line. */
static void show_inside(FILE *out, const struct openwire_object *o)
{
    const struct openwire_row *row = openwire_row(o->type);
    const char *separator = "";

    fprintf(out, "%s{", row->name);
    if (row->command && o->command_id != 0) {
        fprintf(out, "COMMAND_ID=%u", o->command_id);
        separator = ", ";
    }
    if (o->response_required) {
        fprintf(out, "%sRESPONSE_REQUIRED=True", separator);
        separator = ", ";
    }
    for (unsigned i = 0; i < row->count; i++) {
        if (is_empty(&row->fields[i], &o->values[i]))
            continue;
        fprintf(out, "%s%s=", separator, row->fields[i].name);
        show_value(out, &row->fields[i], &o->values[i]);
        separator = ", ";
    }
    fputc('}', out);
}

void show_object(FILE *out, const struct openwire_object *o)
{
    const struct openwire_row *row = openwire_row(o->type);

    if (row->command && o->command_id != 0)
        fprintf(out, "    COMMAND_ID = %d\n", (int)o->command_id);
    if (o->response_required)
        fputs("    RESPONSE_REQUIRED = True\n", out);
    for (unsigned i = 0; i < row->count; i++) {
        if (is_empty(&row->fields[i], &o->values[i]))
            continue;
        fprintf(out, "    %s = ", row->fields[i].name);
        show_value(out, &row->fields[i], &o->values[i]);
        fputc('\n', out);
    }
}
