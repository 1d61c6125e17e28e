/* What daemons write for monitors, whatever they write: one text that readers of the format take, and JSON. Sources are apart by a NUL. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exporter/daemons.h"
#include "exporter/metrics.h"

static void require(bool true_)
{
    if (!true_)
        abort();
}

static unsigned split(struct slice all, struct metrics_source *sources)
{
    unsigned count = 0;

    while (count < METRICS_SOURCES_MAX && all.len != 0) {
        const uint8_t *end = memchr(all.at, '\0', all.len);
        size_t len = end == NULL ? all.len : (size_t)(end - all.at);

        sources[count] = (struct metrics_source){.text = slice_of(all.at, len), .age = count};
        snprintf(sources[count].daemon, sizeof sources[count].daemon, "d%u", count);
        count++;
        all = slice_of(all.at + len + (end != NULL), all.len - len - (end != NULL));
    }
    return count;
}

enum { TYPE_MAX = METRICS_LINE_MAX + 32 };

/* The two of ours first, then each metric once. */
static void check_type(unsigned number, const char *before, const char *type)
{
    static const char *const ours[] = {"coffre_metrics_age_seconds", "coffre_metrics_left_out"};

    if (number < 2)
        require(strcmp(type, ours[number]) == 0);
    else
        require(strcmp(type, ours[0]) != 0 && strcmp(type, ours[1]) != 0 && (number == 2 || strcmp(before, type) < 0));
}

/* Every line is a comment of ours or a sample of the metric whose TYPE was said last. */
static void check_lines(char *text)
{
    char type[TYPE_MAX] = "", before[TYPE_MAX];
    char *rest = text, *line;
    unsigned types = 0;

    while ((line = strsep(&rest, "\n")) != NULL && rest != NULL) {
        if (strncmp(line, "# TYPE ", 7) == 0) {
            snprintf(before, sizeof before, "%s", type);
            snprintf(type, sizeof type, "%.*s", (int)strcspn(line + 7, " "), line + 7);
            check_type(types++, before, type);
        } else if (*line != '#') {
            require(strncmp(line, type, strlen(type)) == 0 && strncmp(line + strlen(type), "{daemon=\"d", 10) == 0);
        }
    }
}

static void read_state(struct slice text)
{
    json_t *o = daemons_read("coffre-a", text, 1);
    char *said = json_dumps(o, JSON_COMPACT | JSON_ENSURE_ASCII);

    require(said != NULL && json_is_string(json_object_get(o, "state")) && json_is_array(json_object_get(o, "roles")));
    free(said);
    json_decref(o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct metrics_source sources[METRICS_SOURCES_MAX];
    unsigned count = split(slice_of(data, size), sources);
    struct err e = {0};
    struct buf out;
    char *text;

    buf_init(&out, 64 * 1024);
    require(metrics_merge(sources, count, &out, &e));
    text = mem_text(buf_slice(&out));
    require(strlen(text) == out.len);
    check_lines(text);
    free(text);
    buf_free(&out);
    read_state(slice_of(data, size));
    return 0;
}
