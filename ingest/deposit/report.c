/* What the person at the terminal sees: see report.h. */
#include "ingest/deposit/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <jansson.h>

#include "ingest/deposit/link.h"

enum { BAR_CELLS = 24, DRAW_EVERY_MS = 100 };

void report_open(struct report *r, const struct options *o)
{
    *r = (struct report){.options = o, .bar = isatty(STDERR_FILENO) == 1 && !o->quiet, .began = link_now_ms()};
}

static void erase(struct report *r)
{
    if (r->drawn)
        fputs("\r\033[K", stderr);
    r->drawn = false;
}

void report_say(struct report *r, const char *fmt, ...)
{
    va_list ap;

    erase(r);
    fputs("coffre-deposit: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
}

static double seconds(const struct report *r)
{
    return (double)(link_now_ms() - r->began) / 1000.0;
}

/* How much of the work is done, 0 to 1; negative when it cannot be known. */
static double part_done(const struct items *items, const struct source *source, enum options_follow follow)
{
    size_t done = items->count - items->in_flight;
    double read = source->bytes_total == 0 ? -1 : (double)source->bytes_read / (double)source->bytes_total;

    if (source->at >= source->count)
        read = 1;
    if (read < 0 || items->count == 0)
        return read;
    if (follow >= FOLLOW_OK)
        done -= items->in_state[ITEM_DEPOSITED];
    if (follow == FOLLOW_ARCHIVED)
        done -= items->in_state[ITEM_ANSWERED] / 2;
    return read * (double)done / (double)items->count;
}

static void draw_cells(double part)
{
    char cells[BAR_CELLS + 1];

    for (int i = 0; i < BAR_CELLS; i++)
        cells[i] = part * BAR_CELLS > i ? '#' : '.';
    cells[BAR_CELLS] = '\0';
    fprintf(stderr, "[%s] %3.0f%%  ", cells, 100 * part);
}

void report_progress(struct report *r, const struct items *items, const struct source *source)
{
    uint64_t now = link_now_ms();
    double part, elapsed = seconds(r);
    size_t deposited = items->count - items->in_flight;

    if (!r->bar || now - r->drawn_at < DRAW_EVERY_MS)
        return;
    r->drawn_at = now;
    erase(r);
    part = part_done(items, source, r->options->follow);
    if (part >= 0)
        draw_cells(part);
    fprintf(stderr, "%zu events, %.1f MB, %.0f/s", deposited, (double)source->bytes_read / 1e6,
            elapsed > 0 ? (double)deposited / elapsed : 0);
    if (r->options->follow != FOLLOW_NONE)
        fprintf(stderr, ", %zu to be answered", items->in_state[ITEM_DEPOSITED]);
    if (r->options->follow == FOLLOW_ARCHIVED)
        fprintf(stderr, ", %zu to be archived", items->in_state[ITEM_ANSWERED]);
    if (part > 0.02 && part < 1)
        fprintf(stderr, ", %.0f s left", elapsed * (1 - part) / part);
    fflush(stderr);
    r->drawn = true;
}

void report_event(struct report *r, const struct item *item)
{
    if (r->options->json || r->options->quiet || (r->options->follow == FOLLOW_NONE && !r->options->verbose))
        return;
    erase(r);
    printf("%-9s", items_state_text(item));
    if (item->serial != 0)
        printf(" serial %" PRIu64 " lot %" PRIu64, item->serial, item->lot);
    printf(" %s %s", item->place, item->client_id);
    if (item->reason != NULL && item->reason[0] != '\0')
        printf(" (%s)", item->reason);
    if (item->mismatch)
        printf(" (the vault's digest is not that of this event with its serial)");
    putchar('\n');
    fflush(stdout);
}

static void print_table(const struct report *r, const struct items *items, const struct source *source, const char *why)
{
    double elapsed = seconds(r);
    size_t received = items->count - items->in_flight;

    fprintf(stderr, "%-22s %zu in %zu input%s, %.1f MB\n", "events read", items->count + r->known, source->count,
            source->count == 1 ? "" : "s", (double)source->bytes_read / 1e6);
    if (r->known > 0)
        fprintf(stderr, "%-22s %zu\n", "done by earlier runs", r->known);
    fprintf(stderr, "%-22s %zu in %.2f s, %.0f/s\n", "deposited", received, elapsed,
            elapsed > 0 ? (double)received / elapsed : 0);
    if (r->options->follow != FOLLOW_NONE) {
        fprintf(stderr, "%-22s %zu\n", "numbered",
                items->in_state[ITEM_ANSWERED] + items->in_state[ITEM_ARCHIVED] - items->duplicates);
        fprintf(stderr, "%-22s %zu\n", "there before", items->duplicates);
        fprintf(stderr, "%-22s %zu\n", "invalid", items->in_state[ITEM_INVALID]);
    }
    if (r->options->follow == FOLLOW_ARCHIVED)
        fprintf(stderr, "%-22s %zu\n", "archived", items->in_state[ITEM_ARCHIVED]);
    if (items->in_flight > 0)
        fprintf(stderr, "%-22s %zu\n", "not deposited", items->in_flight);
    if (items->mismatches > 0)
        fprintf(stderr, "%-22s %zu\n", "digest not as expected", items->mismatches);
    if (r->problems > 0)
        fprintf(stderr, "%-22s %u\n", "inputs with errors", r->problems);
    if (why[0] != '\0')
        fprintf(stderr, "%s\n", why);
}

static json_t *event_json(const struct item *item)
{
    json_t *o = json_pack("{s:s, s:s, s:s, s:s}", "clientId", item->client_id, "source", item->place, "status",
                          items_state_text(item), "digest", item->digest);

    if (o != NULL && item->serial != 0) {
        json_object_set_new(o, "serial", json_integer((json_int_t)item->serial));
        json_object_set_new(o, "lot", json_integer((json_int_t)item->lot));
    }
    if (o != NULL && item->answer_digest != NULL)
        json_object_set_new(o, "vaultDigest", json_string(item->answer_digest));
    if (o != NULL && item->reason != NULL && item->reason[0] != '\0')
        json_object_set_new(o, "reason", json_string(item->reason));
    if (o != NULL && item->duplicate)
        json_object_set_new(o, "duplicate", json_true());
    if (o != NULL && item->mismatch)
        json_object_set_new(o, "digestMismatch", json_true());
    return o;
}

static json_t *summary_json(const struct report *r, const struct items *items, enum exit_code end, const char *why)
{
    json_t *o = json_object();

    json_object_set_new(o, "events", json_integer((json_int_t)(items->count + r->known)));
    json_object_set_new(o, "doneBefore", json_integer((json_int_t)r->known));
    json_object_set_new(o, "deposited", json_integer((json_int_t)(items->count - items->in_flight)));
    json_object_set_new(o, "answered", json_integer((json_int_t)(items->in_state[ITEM_ANSWERED] +
                                                                 items->in_state[ITEM_ARCHIVED])));
    json_object_set_new(o, "duplicates", json_integer((json_int_t)items->duplicates));
    json_object_set_new(o, "archived", json_integer((json_int_t)items->in_state[ITEM_ARCHIVED]));
    json_object_set_new(o, "invalid", json_integer((json_int_t)items->in_state[ITEM_INVALID]));
    json_object_set_new(o, "digestMismatches", json_integer((json_int_t)items->mismatches));
    json_object_set_new(o, "inputErrors", json_integer((json_int_t)r->problems));
    json_object_set_new(o, "seconds", json_real(seconds(r)));
    json_object_set_new(o, "exit", json_integer((json_int_t)end));
    json_object_set_new(o, "why", json_string(why));
    return o;
}

/* One event a line, so that neither we nor the reader need hold a large document in memory. */
static void print_json(const struct report *r, const struct items *items, enum exit_code end, const char *why)
{
    char *text = NULL;
    json_t *o;

    puts("{\"results\": [");
    for (size_t i = 0; i < items->count; i++) {
        o = event_json(items->all[i]);
        text = o == NULL ? NULL : json_dumps(o, JSON_COMPACT);
        printf("%s%s\n", text == NULL ? "null" : text, i + 1 < items->count ? "," : "");
        free(text);
        json_decref(o);
    }
    o = summary_json(r, items, end, why);
    text = json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(9));
    printf("], \"summary\": %s}\n", text == NULL ? "null" : text);
    free(text);
    json_decref(o);
}

void report_summary(struct report *r, const struct items *items, const struct source *source, enum exit_code end,
                    const char *why)
{
    erase(r);
    if (r->options->json)
        print_json(r, items, end, why);
    else if (!r->options->quiet)
        print_table(r, items, source, why);
    else if (why[0] != '\0')
        report_say(r, "%s", why);
    fflush(stdout);
}
