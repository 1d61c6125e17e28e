/* What a load measured, as a table or JSON. See load_internal.h. */
#include "ingest/deposit/load_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <jansson.h>

double load_own_cpu(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (double)u.ru_utime.tv_sec + (double)u.ru_stime.tv_sec +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

struct figures {
    double seconds;          /* measured, while sending */
    double confirmed_rate;
    double own_cpu_us;       /* of processor time for each confirmed event */
    double sealed_rate;      /* events a second between the first and the last archive notice while sending */
    double sustained_rate;   /* events of all lots but the last over the time until their seals */
    double all_sealed_rate;  /* all events over the time until the last of them was sealed */
    double p50, p90, p99, p999, max; /* ms */
};

static struct figures compute(const struct load *l)
{
    const struct load_follow *w = &l->follow;
    uint64_t measured = l->confirmed_while_sending - l->confirmed_before;
    struct figures f = {0};

    if (l->began != 0 && l->stopped_at > l->measured_from)
        f.seconds = (double)(l->stopped_at - l->measured_from) / 1e9;
    if (f.seconds > 0)
        f.confirmed_rate = (double)measured / f.seconds;
    if (l->confirmed > l->confirmed_before)
        f.own_cpu_us = (load_own_cpu() - l->own_cpu_before) * 1e6 / (double)(l->confirmed - l->confirmed_before);
    if (w->last_at > w->first_at)
        f.sealed_rate = (double)(w->last_serial - w->first_serial) * 1e9 / (double)(w->last_at - w->first_at);
    if (w->before_at > l->began && w->before_serial >= w->lowest_serial && w->lowest_serial > 0)
        f.sustained_rate = (double)(w->before_serial - w->lowest_serial + 1) * 1e9 / (double)(w->before_at - l->began);
    if (w->all_sealed_at > l->began)
        f.all_sealed_rate = (double)l->confirmed * 1e9 / (double)(w->all_sealed_at - l->began);
    f.p50 = (double)histogram_at(&l->latency, 0.5) / 1e6;
    f.p90 = (double)histogram_at(&l->latency, 0.9) / 1e6;
    f.p99 = (double)histogram_at(&l->latency, 0.99) / 1e6;
    f.p999 = (double)histogram_at(&l->latency, 0.999) / 1e6;
    f.max = (double)l->latency.max / 1e6;
    return f;
}

/* Milliseconds until a receipt; null when there was none. */
static json_t *latency(const struct load *l, double ms)
{
    return l->latency.count == 0 ? json_null() : json_real(ms);
}

static void print_json(const struct load *l, const struct figures *f, enum exit_code end)
{
    const struct load_follow *w = &l->follow;
    json_t *o = json_pack("{s:f, s:I, s:I, s:I, s:f, s:o, s:o, s:o, s:o, s:o, s:f, s:i, s:i}", "seconds", f->seconds,
                          "sent", (json_int_t)l->sent, "confirmed", (json_int_t)l->confirmed, "lost",
                          (json_int_t)l->lost, "confirmedPerSecond", f->confirmed_rate, "p50ms", latency(l, f->p50), "p90ms",
                          latency(l, f->p90), "p99ms", latency(l, f->p99), "p999ms", latency(l, f->p999), "maxms", latency(l, f->max),
                          "ownCpuMicroseconds", f->own_cpu_us,
                          "errors", (int)l->errors, "exit", (int)end);
    char *text;

    if (o != NULL && l->options->follow != FOLLOW_NONE)
        json_object_set_new(o, "answers", json_pack("{s:I, s:I, s:I, s:I, s:s}", "ok", (json_int_t)w->ok, "duplicate",
                                                    (json_int_t)w->duplicates, "invalid", (json_int_t)w->invalid,
                                                    "others", (json_int_t)w->others, "firstInvalid", w->reason));
    if (o != NULL && l->options->follow == FOLLOW_ARCHIVED)
        json_object_set_new(o, "sealed", json_pack("{s:I, s:I, s:f, s:f, s:f}", "lots", (json_int_t)w->lots, "lastSerial",
                                                   (json_int_t)w->archived_serial, "perSecondWhileSending",
                                                   f->sealed_rate, "perSecondSustained", f->sustained_rate,
                                                   "perSecondUntilAllSealed", f->all_sealed_rate));
    if (o != NULL && l->why.code != ERR_NONE)
        json_object_set_new(o, "why", json_string(l->why.text));
    text = o == NULL ? NULL : json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(9));
    puts(text == NULL ? "null" : text);
    free(text);
    json_decref(o);
}

static void print_table(const struct load *l, const struct figures *f)
{
    const struct load_follow *w = &l->follow;

    printf("%-22s %" PRIu64 " of %" PRIu64 " sent, in %.2f s measured\n", "confirmed", l->confirmed, l->sent, f->seconds);
    if (f->seconds > 0)
        printf("%-22s %.0f/s\n", "rate", f->confirmed_rate);
    if (l->latency.count > 0)
        printf("%-22s p50 %.3f  p90 %.3f  p99 %.3f  p99.9 %.3f  max %.3f ms\n", "receipt after", f->p50, f->p90, f->p99,
               f->p999, f->max);
    if (l->confirmed > l->confirmed_before)
        printf("%-22s %.2f us/event\n", "own processor time", f->own_cpu_us);
    if (l->options->follow != FOLLOW_NONE)
        printf("%-22s %" PRIu64 " ok, %" PRIu64 " duplicate, %" PRIu64 " invalid %s\n", "answers", w->ok, w->duplicates,
               w->invalid, w->reason);
    if (l->options->follow == FOLLOW_ARCHIVED)
        printf("%-22s %" PRIu64 " lots, up to serial %" PRIu64 "; %.0f/s while sending, %.0f/s sustained (all lots but the last),"
               " %.0f/s until all were sealed\n",
               "sealed", w->lots, w->archived_serial, f->sealed_rate, f->sustained_rate, f->all_sealed_rate);
    if (l->options->idle > 0)
        printf("%-22s %zu\n", "idle connections", l->idle_ready);
    if (l->errors > 0)
        printf("%-22s %u sessions, %" PRIu64 " events without receipt: %s\n", "lost", l->errors, l->lost, l->why.text);
}

void load_report(const struct load *l, enum exit_code end)
{
    struct figures f = compute(l);

    if (l->options->json)
        print_json(l, &f, end);
    else
        print_table(l, &f);
    fflush(stdout);
}
