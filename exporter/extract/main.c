/* coffre-extract: the regulator's collection agent. See coffre-extract.1. */
#include <stdio.h>
#include <stdlib.h>

#include <curl/curl.h>

#include "common/formats/names.h"
#include "exporter/extract/download.h"

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

struct run {
    const struct options *o;
    struct client *client;
    json_t *files;      /* what was fetched, for --json */
    json_t *extraction; /* owned; NULL: none */
    struct err e;
};

/* The vault's words for the terminal: never its control characters. Cut at 200 bytes; good until eight more are asked for. */
static const char *text_of(const json_t *o, const char *key)
{
    static char said[8][200];
    static unsigned turn;
    const char *text = json_string_value(json_object_get(o, key));
    char *copy = said[turn++ % 8];

    snprintf(copy, sizeof said[0], "%s", text == NULL ? "-" : text);
    for (char *c = copy; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '.';
    return copy;
}

static long long number_of(const json_t *o, const char *key)
{
    return (long long)json_integer_value(json_object_get(o, key));
}

static void print_json(const json_t *o)
{
    json_dumpf(o, stdout, JSON_INDENT(2));
    putchar('\n');
}

/* ---- files ------------------------------------------------------------------------------------------- */

static enum exit_code fetch(struct run *r, const char *path, const char *name, enum check_kind kind)
{
    struct download d = {.path = path, .name = name, .kind = kind};
    enum exit_code end = download_file(r->client, r->o, &d, &r->e);

    if (end != EXIT_ALL)
        return end;
    json_array_append_new(r->files, json_pack("{s:s, s:I, s:s, s:b, s:b}", "file", name, "bytes", (json_int_t)d.bytes, "etag",
                                              d.etag, "was_there", d.was_there, "resumed", d.resumed));
    if (!r->o->json)
        printf("%s/%s  %llu bytes, verified%s\n", r->o->output, name, (unsigned long long)d.bytes,
               d.was_there ? " (was there already)" : d.resumed ? " (went on where it had stopped)" : "");
    fflush(stdout);
    return EXIT_ALL;
}

/* The last number that is sealed: of lots, or of serials. */
static enum exit_code last_sealed(struct run *r, bool serials, uint64_t *last)
{
    enum exit_code end = EXIT_REFUSED;
    json_t *status = client_json(r->client, "/v1/status", NULL, &end, &r->e);

    if (status == NULL)
        return end;
    *last = (uint64_t)number_of(status, serials ? "sealed_events" : "sealed_lots");
    json_decref(status);
    if (*last >= r->o->first)
        return EXIT_ALL;
    err_set(&r->e, ERR_DENIED, "nothing is sealed from %llu on yet: the last one is %llu", (unsigned long long)r->o->first,
            (unsigned long long)*last);
    return EXIT_REFUSED;
}

static enum exit_code single_files(struct run *r, bool events)
{
    uint64_t last = r->o->last;
    enum exit_code end = last == 0 ? last_sealed(r, events, &last) : EXIT_ALL;

    for (uint64_t n = r->o->first; end == EXIT_ALL && n <= last; n++) {
        char path[64], name[NAMES_MAX];

        snprintf(path, sizeof path, "/v1/%s/%llu", events ? "events" : "lots", (unsigned long long)n);
        if (events)
            snprintf(name, sizeof name, "event-%012llu.zip", (unsigned long long)n);
        else
            snprintf(name, sizeof name, "lot-%06llu.asice", (unsigned long long)n);
        end = fetch(r, path, name, events ? CHECK_SEGMENT : CHECK_CONTAINER);
    }
    return end;
}

/* ---- extractions --------------------------------------------------------------------------------------- */

/* An answer that names no segments, or other lots than those asked for, must not end as if all were there. */
static bool extraction_is_whole(struct run *r)
{
    const json_t *x = r->extraction;
    uint64_t first = (uint64_t)number_of(x, "first_lot"), last = (uint64_t)number_of(x, "last_lot");
    bool lots = r->o->command == COMMAND_LOTS;

    if (number_of(x, "id") < 1 || number_of(x, "segment_count") < 1 || first < 1 || last < first || last > INT64_MAX)
        return err_set(&r->e, ERR_INPUT, "the vault's answer describes no extraction");
    if (lots && (first > r->o->first || last < r->o->last))
        return err_set(&r->e, ERR_INPUT, "the vault's extraction holds lots %llu to %llu, others were asked for",
                       (unsigned long long)first, (unsigned long long)last);
    return true;
}

static enum exit_code fetch_segments(struct run *r)
{
    long long id = number_of(r->extraction, "id"), count = number_of(r->extraction, "segment_count");
    enum exit_code end = EXIT_ALL;

    if (!extraction_is_whole(r))
        return EXIT_INTEGRITY;
    if (!r->o->json && !r->o->quiet)
        printf("extraction %lld: lots %lld to %lld, %lld events, %lld bytes in %lld segment%s\n", id,
               number_of(r->extraction, "first_lot"), number_of(r->extraction, "last_lot"), number_of(r->extraction, "events"),
               number_of(r->extraction, "bytes"), count, count == 1 ? "" : "s");
    for (long long k = 1; k <= count && end == EXIT_ALL; k++) {
        char path[96], name[96];

        snprintf(path, sizeof path, "/v1/extractions/%lld/segments/%lld", id, k);
        snprintf(name, sizeof name, "extraction-%lld-segment-%lld.zip", id, k);
        end = fetch(r, path, name, CHECK_SEGMENT);
    }
    if (end == EXIT_NETWORK)
        fprintf(stderr, "coffre-extract: to go on where this stopped: the same command with \"extraction %lld\"\n", id);
    return end;
}

static enum exit_code ask_extraction(struct run *r, json_t *request)
{
    enum exit_code end = EXIT_REFUSED;
    char *body;

    json_object_set_new(request, "overlap", json_boolean(r->o->overlap));
    body = json_dumps(request, JSON_COMPACT);
    json_decref(request);
    r->extraction = client_json(r->client, "/v1/extractions", body, &end, &r->e);
    free(body);
    return r->extraction == NULL ? end : fetch_segments(r);
}

static enum exit_code by_number(struct run *r, bool serials)
{
    uint64_t last = r->o->last;
    enum exit_code end = last == 0 ? last_sealed(r, serials, &last) : EXIT_ALL;

    if (end != EXIT_ALL)
        return end;
    return ask_extraction(r, json_pack("{s:{s:I, s:I}}", serials ? "serials" : "lots", "first", (json_int_t)r->o->first,
                                       "last", (json_int_t)last));
}

static enum exit_code again(struct run *r)
{
    enum exit_code end = EXIT_REFUSED;
    char path[64];

    snprintf(path, sizeof path, "/v1/extractions/%llu", (unsigned long long)r->o->first);
    r->extraction = client_json(r->client, path, NULL, &end, &r->e);
    return r->extraction == NULL ? end : fetch_segments(r);
}

/* ---- what the vault says ----------------------------------------------------------------------------------- */

static void print_lot(const json_t *lot)
{
    if (!json_is_integer(json_object_get(lot, "last_serial"))) {
        printf("lot %lld  %s  serials from %lld\n", number_of(lot, "lot"), text_of(lot, "state"), number_of(lot, "first_serial"));
        return;
    }
    printf("lot %lld  %s  serials %lld to %lld  closed %s (%s)  sealed %s\n", number_of(lot, "lot"), text_of(lot, "state"),
           number_of(lot, "first_serial"), number_of(lot, "last_serial"), text_of(lot, "closed_at"), text_of(lot, "reason"),
           text_of(lot, "sealed_at"));
}

static void print_status(const json_t *o)
{
    const json_t *last = json_object_get(o, "last_sealed_lot");

    printf("vault %lld of operator %s: %s, version %s\n%lld events, %lld of them sealed; next serial %lld\n"
           "%lld lots sealed, %lld closed and not sealed yet\n",
           number_of(o, "vault"), text_of(o, "operator"), text_of(o, "status"), text_of(o, "version"), number_of(o, "events"),
           number_of(o, "sealed_events"), number_of(o, "next_serial"), number_of(o, "sealed_lots"), number_of(o, "unsealed_lots"));
    if (json_is_object(last))
        printf("last sealed: lot %lld at %s, container SHA-256 %s\n", number_of(last, "lot"), text_of(last, "sealed_at"),
               text_of(last, "container_sha256"));
}

static enum exit_code say(struct run *r, const char *path, void (*print)(const json_t *o))
{
    enum exit_code end = EXIT_REFUSED;
    json_t *o = client_json(r->client, path, NULL, &end, &r->e);

    if (o == NULL)
        return end;
    if (r->o->json)
        print_json(o);
    else
        print(o);
    json_decref(o);
    return EXIT_ALL;
}

static void print_check(const json_t *o)
{
    puts(text_of(o, "status"));
}

static void print_extraction(const json_t *x)
{
    char *request = json_dumps(json_object_get(x, "request"), JSON_COMPACT);

    printf("extraction %lld  %s  %s  %s  lots %lld to %lld\n", number_of(x, "id"), text_of(x, "asked_at"), text_of(x, "reader"),
           request == NULL ? "" : request, number_of(x, "first_lot"), number_of(x, "last_lot"));
    free(request);
}

/* A list page by page: `kind` is "lots" or "extractions". */
static enum exit_code list(struct run *r, const char *kind, uint64_t after, void (*print)(const json_t *row))
{
    json_t *all = json_array();
    enum exit_code end = EXIT_ALL;

    for (bool more = true; more && end == EXIT_ALL;) {
        char path[96];
        size_t i;
        json_t *page, *row;
        const json_t *next;

        snprintf(path, sizeof path, "/v1/%s?after=%llu&limit=1000", kind, (unsigned long long)after);
        page = client_json(r->client, path, NULL, &end, &r->e);
        if (page == NULL)
            break;
        json_array_foreach(json_object_get(page, kind), i, row) {
            if (r->o->json)
                json_array_append(all, row);
            else
                print(row);
        }
        next = json_object_get(page, "next_after");
        more = json_array_size(json_object_get(page, kind)) > 0 && json_is_integer(next) && (uint64_t)json_integer_value(next) > after;
        after = more ? (uint64_t)json_integer_value(next) : after;
        end = EXIT_ALL;
        json_decref(page);
        page = NULL;
    }
    if (r->o->json && r->e.code == ERR_NONE)
        print_json(all);
    json_decref(all);
    return r->e.code == ERR_NONE ? EXIT_ALL : end;
}

static enum exit_code run_command(struct run *r)
{
    switch (r->o->command) {
    case COMMAND_CHECK:
        return say(r, "/check", print_check);
    case COMMAND_STATUS:
        return say(r, "/v1/status", print_status);
    case COMMAND_LIST:
        return list(r, "lots", r->o->first, print_lot);
    case COMMAND_HISTORY:
        return list(r, "extractions", 0, print_extraction);
    case COMMAND_CONTAINER:
        return single_files(r, false);
    case COMMAND_EVENT:
        return single_files(r, true);
    case COMMAND_SERIALS:
        return by_number(r, true);
    case COMMAND_LOTS:
        return by_number(r, false);
    case COMMAND_DATES:
        return ask_extraction(r, json_pack("{s:{s:s, s:s}}", "dates", "from", r->o->from, "to", r->o->to));
    case COMMAND_EXTRACTION:
        return again(r);
    }
    return EXIT_USAGE;
}

static bool fetches(enum command c)
{
    return c == COMMAND_CONTAINER || c == COMMAND_EVENT || c == COMMAND_SERIALS || c == COMMAND_LOTS || c == COMMAND_DATES ||
           c == COMMAND_EXTRACTION;
}

static enum exit_code run_options(const struct options *o)
{
    struct run r = {.o = o, .files = json_array()};
    enum exit_code end = EXIT_NETWORK;

    r.client = client_open(o, &interrupted, &r.e);
    if (r.client != NULL)
        end = run_command(&r);
    if (end != EXIT_ALL)
        fprintf(stderr, "coffre-extract: %s\n", r.e.text);
    if (o->json && fetches(o->command)) {
        json_t *report = json_pack("{s:b, s:O, s:s}", "complete", end == EXIT_ALL, "files", r.files, "error", r.e.text);

        if (r.extraction != NULL)
            json_object_set(report, "extraction", r.extraction);
        print_json(report);
        json_decref(report);
    }
    client_close(r.client);
    json_decref(r.extraction);
    json_decref(r.files);
    return end;
}

int main(int argc, char **argv)
{
    struct sigaction stop = {.sa_handler = on_signal}, ignore = {.sa_handler = SIG_IGN};
    struct options o;
    struct err e = {0};
    enum options_result read = options_read(&o, argc, argv, &e);
    enum exit_code end = EXIT_ALL;

    if (read == OPTIONS_WRONG) {
        if (e.code != ERR_NONE)
            fprintf(stderr, "coffre-extract: %s\n", e.text);
        fputs("coffre-extract --help tells the options\n", stderr);
        end = EXIT_USAGE;
    } else if (read == OPTIONS_RUN) {
        sigaction(SIGINT, &stop, NULL);
        sigaction(SIGTERM, &stop, NULL);
        sigaction(SIGPIPE, &ignore, NULL);
        curl_global_init(CURL_GLOBAL_DEFAULT);
        end = run_options(&o);
        curl_global_cleanup();
    }
    options_free(&o);
    return (int)end;
}
