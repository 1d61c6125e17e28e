/* Command line of coffre-extract: see options.h. */
#include "exporter/extract/options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/values/buf.h"
#include "common/version.h"
#include "exporter/http.h"

static void usage(FILE *out)
{
    fputs("usage: coffre-extract --url URL --certificate FILE --key FILE --ca FILE [options] COMMAND [ARGUMENT]\n"
          "Fetches evidence from a vault as the regulator's collection agent, and verifies what arrived.\n\n"
          "Commands:\n"
          "  serials A-B       whole lots that hold these serials (A-: up to what is sealed; A: one)\n"
          "  lots A-B          these lots, and the one before; without argument: the list of lots\n"
          "  dates FROM TO     lots sealed in this time, such as 2026-01-31T00:00:00Z; TO is excluded\n"
          "  extraction ID     an extraction already asked for: goes on where it stopped\n"
          "  container A-B     the signed containers alone\n"
          "  event A-B         the evidence of single events\n"
          "  list [AFTER]      metadata of lots\n"
          "  history           extractions asked for so far\n"
          "  status, check     what the vault says of itself\n\n"
          "Options:\n"
          "  -u, --url URL          https://host:port of the exporter\n"
          "      --host H, --port P  the same in two parts (localhost, 443)\n"
          "  -c, --certificate FILE PEM certificate and chain of the reader\n"
          "  -k, --key FILE         its PEM private key\n"
          "      --ca FILE          PEM certificates the exporter must chain to\n"
          "  -o, --output DIR       where files go (.)\n"
          "      --no-overlap       without the lot before the first one asked for\n"
          "      --retries N        failures in a row before giving up (8)\n"
          "      --json             results as JSON on standard output\n"
          "  -q, --quiet            no progress\n"
          "      --version, -h, --help\n\n"
          "Exit status: 0 all there and verified, 1 refused by the vault, 2 wrong usage, 3 network (run again to go on),\n"
          "4 integrity, 5 local file.\n",
          out);
}

enum { OPT_HOST = 256, OPT_PORT, OPT_CA, OPT_NO_OVERLAP, OPT_RETRIES, OPT_JSON, OPT_VERSION };

static const struct option table[] = {
    {"url", required_argument, NULL, 'u'},         {"host", required_argument, NULL, OPT_HOST},
    {"port", required_argument, NULL, OPT_PORT},   {"certificate", required_argument, NULL, 'c'},
    {"key", required_argument, NULL, 'k'},         {"ca", required_argument, NULL, OPT_CA},
    {"output", required_argument, NULL, 'o'},      {"no-overlap", no_argument, NULL, OPT_NO_OVERLAP},
    {"retries", required_argument, NULL, OPT_RETRIES}, {"json", no_argument, NULL, OPT_JSON},
    {"quiet", no_argument, NULL, 'q'},             {"version", no_argument, NULL, OPT_VERSION},
    {"help", no_argument, NULL, 'h'},              {NULL, 0, NULL, 0},
};

static const struct {
    const char *name;
    enum command command;
    int least, most; /* arguments */
} commands[] = {
    {"check", COMMAND_CHECK, 0, 0},        {"status", COMMAND_STATUS, 0, 0},       {"list", COMMAND_LIST, 0, 1},
    {"history", COMMAND_HISTORY, 0, 0},    {"container", COMMAND_CONTAINER, 1, 1}, {"event", COMMAND_EVENT, 1, 1},
    {"serials", COMMAND_SERIALS, 1, 1},    {"lots", COMMAND_LOTS, 0, 1},           {"dates", COMMAND_DATES, 2, 2},
    {"extraction", COMMAND_EXTRACTION, 1, 1},
};

static bool take_number(const char *text, size_t len, uint64_t *v, struct err *e)
{
    if (!http_number(slice_of(text, len), v) || *v > INT64_MAX)
        return err_set(e, ERR_INPUT, "\"%s\" is not a number or a range A-B", text);
    return true;
}

/* A, A- or A-B. */
static bool take_range(struct options *o, const char *text, struct err *e)
{
    const char *dash = strchr(text, '-');
    size_t len = dash == NULL ? strlen(text) : (size_t)(dash - text);

    if (!take_number(text, len, &o->first, e))
        return false;
    o->last = o->first;
    if (dash != NULL && dash[1] == '\0')
        o->last = 0;
    else if (dash != NULL && !take_number(dash + 1, strlen(dash + 1), &o->last, e))
        return false;
    if (o->first == 0 || (o->last != 0 && o->last < o->first))
        return err_set(e, ERR_INPUT, "\"%s\": numbers start at 1, and A is not after B", text);
    return true;
}

static bool take_command(struct options *o, int argc, char **argv, struct err *e)
{
    for (size_t i = 0; argc > 0 && i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(argv[0], commands[i].name) != 0)
            continue;
        if (argc - 1 < commands[i].least || argc - 1 > commands[i].most)
            return err_set(e, ERR_INPUT, "%s: %d to %d arguments expected", argv[0], commands[i].least, commands[i].most);
        o->command = commands[i].command;
        if (o->command == COMMAND_LOTS && argc == 1)
            o->command = COMMAND_LIST;
        if (o->command == COMMAND_LIST)
            return argc == 1 || take_number(argv[1], strlen(argv[1]), &o->first, e);
        if (o->command == COMMAND_DATES) {
            o->from = argv[1];
            o->to = argv[2];
            return true;
        }
        return argc == 1 || take_range(o, argv[1], e);
    }
    return argc == 0 ? err_set(e, ERR_INPUT, "a command is missing") : err_set(e, ERR_INPUT, "unknown command %s", argv[0]);
}

static bool complete(struct options *o, const char *host, const char *port, struct err *e)
{
    if (o->url == NULL && (host != NULL || port != NULL)) {
        o->url_made = mem_printf("https://%s:%s", host == NULL ? "localhost" : host, port == NULL ? "443" : port);
        o->url = o->url_made;
    }
    if (o->url == NULL || strncmp(o->url, "https://", 8) != 0)
        return err_set(e, ERR_INPUT, "--url https://host:port is missing");
    if (o->url_made == NULL)
        o->url_made = mem_strdup(o->url);
    while (o->url_made[strlen(o->url_made) - 1] == '/')
        o->url_made[strlen(o->url_made) - 1] = '\0';
    o->url = o->url_made;
    if (o->certificate == NULL || o->key == NULL || o->ca == NULL)
        return err_set(e, ERR_INPUT, "--certificate, --key and --ca are required");
    return true;
}

enum options_result options_read(struct options *o, int argc, char **argv, struct err *e)
{
    const char *host = NULL, *port = NULL;
    uint64_t retries = 8;
    int c;

    *o = (struct options){.output = ".", .overlap = true};
    while ((c = getopt_long(argc, argv, "+u:c:k:o:qh", table, NULL)) != -1)
        switch (c) {
        case 'u':
            o->url = optarg;
            break;
        case OPT_HOST:
            host = optarg;
            break;
        case OPT_PORT:
            port = optarg;
            break;
        case 'c':
            o->certificate = optarg;
            break;
        case 'k':
            o->key = optarg;
            break;
        case OPT_CA:
            o->ca = optarg;
            break;
        case 'o':
            o->output = optarg;
            break;
        case OPT_NO_OVERLAP:
            o->overlap = false;
            break;
        case OPT_RETRIES:
            if (!http_number(slice_text(optarg), &retries) || retries > 1000000) {
                err_set(e, ERR_INPUT, "--retries: \"%s\" is not a number", optarg);
                return OPTIONS_WRONG;
            }
            break;
        case OPT_JSON:
            o->json = true;
            break;
        case 'q':
            o->quiet = true;
            break;
        case 'h':
            usage(stdout);
            return OPTIONS_DONE;
        case OPT_VERSION:
            printf("coffre-extract %s\n", COFFRE_VERSION);
            return OPTIONS_DONE;
        default:
            return OPTIONS_WRONG;
        }
    o->retries = (unsigned)retries;
    return take_command(o, argc - optind, argv + optind, e) && complete(o, host, port, e) ? OPTIONS_RUN : OPTIONS_WRONG;
}

void options_free(struct options *o)
{
    free(o->url_made);
}
