/* Showing and comparing configurations: see settings.h. */
#include <string.h>

#include "common/system/settings_internal.h"

static void print_value(const struct settings_row *row, const void *at, FILE *out)
{
    const struct settings_list *list = at;

    switch (row->type) {
    case TEXT:
    case PATH:
        fprintf(out, "\"%s\"", *(char *const *)at);
        return;
    case BOOLEAN:
        fputs(*(const bool *)at ? "true" : "false", out);
        return;
    case NUMBER:
    case SIZE:
        fprintf(out, "%llu", (unsigned long long)*(const uint64_t *)at);
        return;
    case DURATION:
        fprintf(out, "%llums", (unsigned long long)*(const uint64_t *)at);
        return;
    case TEXTS:
    case PATHS:
        fputc('[', out);
        for (unsigned k = 0; k < list->count; k++)
            fprintf(out, "%s\"%s\"", k == 0 ? "" : ", ", list->items[k]);
        fputc(']', out);
        return;
    }
}

/* How many leading components two dotted keys share. */
static unsigned shared_parts(const char *a, const char *b)
{
    unsigned parts = 0;

    for (; *a != '\0' && *a == *b; a++, b++)
        if (*a == '.')
            parts++;
    return parts;
}

void settings_print(const struct settings *s, FILE *out)
{
    const char *before = "";

    for (size_t i = 0; i < settings_rows; i++) {
        const struct settings_row *row = &settings_table[i];
        unsigned level = 0, shared = shared_parts(before, row->key);
        const char *part = row->key, *dot;

        for (; (dot = strchr(part, '.')) != NULL; part = dot + 1, level++)
            if (level >= shared)
                fprintf(out, "%*s%.*s:\n", (int)level * 2, "", (int)(dot - part), part);
        fprintf(out, "%*s%s: ", (int)level * 2, "", part);
        print_value(row, (const char *)s + row->offset, out);
        fprintf(out, "  # %s\n", row->meaning);
        before = row->key;
    }
}
