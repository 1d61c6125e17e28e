/* The command line: see options.h. */
#include "ingest/deposit/options.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/version.h"

static const char usage[] =
    "usage: coffre-deposit --certificate FILE --key FILE --ca FILE [options] FILE|DIRECTORY|- ...\n"
    "       coffre-deposit --certificate FILE --key FILE --ca FILE --operator NNNN [options] --generate COUNT | --duration S\n"
    "\n"
    "Deposits XML events in a Coffre vault, by STOMP over mutual TLS.\n"
    "\n"
    "Where\n"
    "  --host NAME             the vault (localhost)\n"
    "  --port PORT             its port (6163)\n"
    "  --certificate FILE      our certificate and chain, PEM\n"
    "  --key FILE              its key, PEM, not encrypted\n"
    "  --ca FILE               authorities the vault's certificate may come from, PEM\n"
    "  --vault N               vault number (1)\n"
    "  --operator NNNN         operator number, for --adapt and --generate\n"
    "  --virtual-host NAME     STOMP header host (the host name)\n"
    "  --heart-beat MS         heart-beats offered and asked for (10000; 0: none)\n"
    "What\n"
    "  --placeholder           put <!--SAFE_ID--> in IDEvt (short form: d)\n"
    "  --adapt                 --placeholder, and write our operator and vault number: for sample events\n"
    "  --digest NAME           sha256, sha384 or sha1 (sha256)\n"
    "  --client-id-prefix TEXT first part of ClientId (coffre-deposit)\n"
    "  --max-event BYTES       largest event accepted from a file (1048576)\n"
    "How\n"
    "  --transaction all|N|none  one transaction, one for every N events, or none (none)\n"
    "  --window N              events sent and not yet acknowledged, per connection (256)\n"
    "  --follow none|ok|archived wait until each event is answered, or archived (none)\n"
    "  --ack individual|cumulative how answers are acknowledged (individual)\n"
    "  --state FILE            remember what is done, send only the rest the next time\n"
    "  --timeout SECONDS       give up when nothing moves for so long (180)\n"
    "  --retry SECONDS         try to connect for so long (60)\n"
    "  --json  --quiet  --verbose  --help  --version\n"
    "Load\n"
    "  --generate COUNT        deposit COUNT generated events\n"
    "  --duration SECONDS      or for so long\n"
    "  --warm-up SECONDS       not counted (0)\n"
    "  --rate N                events a second in all (0: as many as possible)\n"
    "  --connections N         (1)\n"
    "  --size BYTES            of one event (1024)\n"
    "  --unanswered N          at most N events deposited and not yet answered (no limit; needs --follow)\n"
    "  --idle N                also hold N connections that do nothing\n"
    "  --destination NAME      instead of /queue/Event.N.In: another STOMP broker\n"
    "  --header NAME:VALUE     added to every SEND; may be repeated\n"
    "\n"
    "Exit: 0 all deposited (and answered as far as followed), 1 some invalid or unreadable, 2 usage,\n"
    "3 no connection, 4 nothing moved for --timeout, 5 certificate refused, 130 interrupted.\n";

enum option_code {
    OPT_HOST = 1, OPT_PORT, OPT_CERTIFICATE, OPT_KEY, OPT_CA, OPT_VAULT, OPT_OPERATOR, OPT_VIRTUAL_HOST, OPT_HEART_BEAT,
    OPT_PLACEHOLDER, OPT_ADAPT, OPT_DIGEST, OPT_PREFIX, OPT_MAX_EVENT, OPT_TRANSACTION, OPT_WINDOW, OPT_FOLLOW, OPT_ACK,
    OPT_STATE, OPT_TIMEOUT, OPT_RETRY, OPT_JSON, OPT_QUIET, OPT_VERBOSE, OPT_GENERATE, OPT_DURATION, OPT_WARM_UP, OPT_RATE,
    OPT_CONNECTIONS, OPT_SIZE, OPT_UNANSWERED, OPT_IDLE, OPT_DESTINATION, OPT_HEADER, OPT_HELP, OPT_VERSION,
};

static const struct option words[] = {
    {"host", 1, NULL, OPT_HOST}, {"port", 1, NULL, OPT_PORT}, {"certificate", 1, NULL, OPT_CERTIFICATE},
    {"key", 1, NULL, OPT_KEY}, {"ca", 1, NULL, OPT_CA}, {"vault", 1, NULL, OPT_VAULT},
    {"operator", 1, NULL, OPT_OPERATOR}, {"virtual-host", 1, NULL, OPT_VIRTUAL_HOST},
    {"heart-beat", 1, NULL, OPT_HEART_BEAT}, {"placeholder", 0, NULL, OPT_PLACEHOLDER}, {"adapt", 0, NULL, OPT_ADAPT},
    {"digest", 1, NULL, OPT_DIGEST}, {"client-id-prefix", 1, NULL, OPT_PREFIX}, {"max-event", 1, NULL, OPT_MAX_EVENT},
    {"transaction", 1, NULL, OPT_TRANSACTION}, {"window", 1, NULL, OPT_WINDOW}, {"follow", 1, NULL, OPT_FOLLOW},
    {"ack", 1, NULL, OPT_ACK}, {"state", 1, NULL, OPT_STATE}, {"timeout", 1, NULL, OPT_TIMEOUT},
    {"retry", 1, NULL, OPT_RETRY}, {"json", 0, NULL, OPT_JSON}, {"quiet", 0, NULL, OPT_QUIET},
    {"verbose", 0, NULL, OPT_VERBOSE}, {"generate", 1, NULL, OPT_GENERATE}, {"duration", 1, NULL, OPT_DURATION},
    {"warm-up", 1, NULL, OPT_WARM_UP}, {"rate", 1, NULL, OPT_RATE}, {"connections", 1, NULL, OPT_CONNECTIONS},
    {"size", 1, NULL, OPT_SIZE}, {"unanswered", 1, NULL, OPT_UNANSWERED}, {"idle", 1, NULL, OPT_IDLE}, {"destination", 1, NULL, OPT_DESTINATION},
    {"header", 1, NULL, OPT_HEADER}, {"help", 0, NULL, OPT_HELP}, {"version", 0, NULL, OPT_VERSION}, {NULL, 0, NULL, 0},
};

static bool number(const char *word, const char *given, uint64_t min, uint64_t max, uint64_t *out, struct err *e)
{
    char *end = NULL;

    errno = 0;
    *out = strtoull(given, &end, 10);
    if (given[0] < '0' || given[0] > '9' || *end != '\0' || errno != 0 || *out < min || *out > max)
        return err_set(e, ERR_INPUT, "--%s %s: a number from %llu to %llu is expected", word, given,
                       (unsigned long long)min, (unsigned long long)max);
    return true;
}

static bool set_unsigned(const char *word, const char *given, unsigned min, unsigned max, unsigned *out, struct err *e)
{
    uint64_t n;

    if (!number(word, given, min, max, &n, e))
        return false;
    *out = (unsigned)n;
    return true;
}

static bool set_size(const char *word, const char *given, size_t min, size_t max, size_t *out, struct err *e)
{
    uint64_t n;

    if (!number(word, given, min, max, &n, e))
        return false;
    *out = (size_t)n;
    return true;
}

static bool set_real(const char *word, const char *given, double max, double *out, struct err *e)
{
    char *end = NULL;

    *out = strtod(given, &end);
    if (end == given || *end != '\0' || !isfinite(*out) || *out < 0 || *out > max)
        return err_set(e, ERR_INPUT, "--%s %s: a number from 0 to %g is expected", word, given, max);
    return true;
}

static bool set_digits(const char *word, const char *given, size_t least, size_t most, const char **out, struct err *e)
{
    size_t len = strlen(given);

    if (len < least || len > most || strspn(given, "0123456789") != len)
        return err_set(e, ERR_INPUT, "--%s %s: %zu to %zu digits are expected", word, given, least, most);
    *out = given;
    return true;
}

static bool set_transaction(struct options *o, const char *given, struct err *e)
{
    uint64_t n = 0;

    if (strcmp(given, "none") == 0)
        o->transaction = TRANSACTION_NONE;
    else if (strcmp(given, "all") == 0)
        o->transaction = TRANSACTION_ALL;
    else if (number("transaction", given, 1, 1000000, &n, NULL))
        o->transaction = (long)n;
    else
        return err_set(e, ERR_INPUT, "--transaction %s: all, none or a number of events is expected", given);
    return true;
}

static bool set_follow(struct options *o, const char *given, struct err *e)
{
    if (strcmp(given, "none") == 0)
        o->follow = FOLLOW_NONE;
    else if (strcmp(given, "ok") == 0)
        o->follow = FOLLOW_OK;
    else if (strcmp(given, "archived") == 0)
        o->follow = FOLLOW_ARCHIVED;
    else
        return err_set(e, ERR_INPUT, "--follow %s: none, ok or archived is expected", given);
    return true;
}

static bool set_ack(struct options *o, const char *given, struct err *e)
{
    o->cumulative = strcmp(given, "cumulative") == 0;
    if (!o->cumulative && strcmp(given, "individual") != 0)
        return err_set(e, ERR_INPUT, "--ack %s: individual or cumulative is expected", given);
    return true;
}

static bool add_header(struct options *o, const char *given, struct err *e)
{
    const char *colon = strchr(given, ':');

    if (colon == NULL || colon == given || strpbrk(given, "\r\n\\") != NULL)
        return err_set(e, ERR_INPUT, "--header %s: NAME:VALUE is expected", given);
    if (o->header_count == OPTIONS_HEADERS_MAX)
        return err_set(e, ERR_INPUT, "--header: at most %d", OPTIONS_HEADERS_MAX);
    o->headers[o->header_count++] = given;
    return true;
}

static bool set_prefix(struct options *o, const char *given, struct err *e)
{
    if (given[0] == '\0' || strlen(given) > 64)
        return err_set(e, ERR_INPUT, "--client-id-prefix: 1 to 64 bytes are expected");
    o->client_id_prefix = given;
    return true;
}

static bool set_place(struct options *o, int which, const char *given, struct err *e)
{
    switch (which) {
    case OPT_HOST: o->host = given; return true;
    case OPT_PORT: return set_digits("port", given, 1, 5, &o->port, e);
    case OPT_CERTIFICATE: o->certificate = given; return true;
    case OPT_KEY: o->key = given; return true;
    case OPT_CA: o->authorities = given; return true;
    case OPT_VAULT: return set_digits("vault", given, 1, 9, &o->vault, e);
    case OPT_OPERATOR: return set_digits("operator", given, 4, 4, &o->operator_number, e);
    case OPT_VIRTUAL_HOST: o->virtual_host = given; return true;
    default: return set_unsigned("heart-beat", given, 0, 600000, &o->heart_beat, e);
    }
}

static bool set_load(struct options *o, int which, const char *given, struct err *e)
{
    o->load = o->load || which == OPT_GENERATE || which == OPT_DURATION || which == OPT_IDLE;
    switch (which) {
    case OPT_GENERATE: return number("generate", given, 1, UINT64_MAX / 2, &o->generate, e);
    case OPT_DURATION: return set_real("duration", given, 1e7, &o->duration, e);
    case OPT_WARM_UP: return set_real("warm-up", given, 1e6, &o->warm_up, e);
    case OPT_RATE: return set_real("rate", given, 1e8, &o->rate, e);
    case OPT_CONNECTIONS: return set_size("connections", given, 1, 10000, &o->connections, e);
    case OPT_SIZE: return set_size("size", given, 512, 1 << 20, &o->size, e);
    case OPT_UNANSWERED: return number("unanswered", given, 1, UINT64_MAX / 2, &o->unanswered, e);
    case OPT_IDLE: return set_size("idle", given, 1, 20000, &o->idle, e);
    case OPT_DESTINATION: o->destination = given; return true;
    default: return add_header(o, given, e);
    }
}

static bool set_one(struct options *o, int which, const char *given, struct err *e)
{
    if (which <= OPT_HEART_BEAT)
        return set_place(o, which, given, e);
    if (which >= OPT_GENERATE)
        return set_load(o, which, given, e);
    switch (which) {
    case OPT_PLACEHOLDER: o->placeholder = true; return true;
    case OPT_ADAPT: o->adapt = o->placeholder = true; return true;
    case OPT_DIGEST: o->digest = given; return true;
    case OPT_PREFIX: return set_prefix(o, given, e);
    case OPT_MAX_EVENT: return set_size("max-event", given, 64, 1 << 28, &o->event_max, e);
    case OPT_TRANSACTION: return set_transaction(o, given, e);
    case OPT_WINDOW: return set_size("window", given, 1, 65536, &o->window, e);
    case OPT_FOLLOW: return set_follow(o, given, e);
    case OPT_ACK: return set_ack(o, given, e);
    case OPT_STATE: o->state = given; return true;
    case OPT_TIMEOUT: return set_unsigned("timeout", given, 1, 1000000, &o->timeout, e);
    case OPT_RETRY: return set_unsigned("retry", given, 0, 1000000, &o->retry, e);
    case OPT_JSON: o->json = true; return true;
    case OPT_QUIET: o->quiet = true; return true;
    default: o->verbose = true; return true;
    }
}

/* What no single word can tell. */
static bool consistent(const struct options *o, struct err *e)
{
    if (o->certificate == NULL || o->key == NULL || o->authorities == NULL)
        return err_set(e, ERR_INPUT, "--certificate, --key and --ca are all needed");
    if (o->load && o->input_count > 0)
        return err_set(e, ERR_INPUT, "files are not deposited by --generate, --duration or --idle");
    if (!o->load && o->input_count == 0)
        return err_set(e, ERR_INPUT, "nothing to deposit: name files or directories, or - for standard input");
    if (o->adapt && o->operator_number == NULL)
        return err_set(e, ERR_INPUT, "--adapt needs --operator");
    if (o->load && (o->generate != 0 || o->duration > 0) && o->operator_number == NULL)
        return err_set(e, ERR_INPUT, "generated events need --operator");
    if (o->load && (o->state != NULL || o->transaction != TRANSACTION_NONE))
        return err_set(e, ERR_INPUT, "--state and --transaction are for files, not for generated events");
    if (o->unanswered != 0 && o->follow == FOLLOW_NONE)
        return err_set(e, ERR_INPUT, "--unanswered needs --follow");
    if (!o->load && (o->destination != NULL || o->header_count > 0 || o->connections != 1))
        return err_set(e, ERR_INPUT, "--destination, --header and --connections are for generated events");
    return true;
}

enum options_result options_read(struct options *o, int argc, char **argv, struct err *e)
{
    int which;

    *o = (struct options){.host = "localhost", .port = "6163", .vault = "1", .heart_beat = 10000, .digest = "sha256",
                          .client_id_prefix = "coffre-deposit", .event_max = 1 << 20, .window = 256, .timeout = 180,
                          .retry = 60, .connections = 1, .size = 1024};
    while ((which = getopt_long(argc, argv, "", words, NULL)) != -1) {
        if (which == OPT_HELP || which == OPT_VERSION) {
            fputs(which == OPT_HELP ? usage : "coffre-deposit " COFFRE_VERSION "\n", stdout);
            return OPTIONS_DONE;
        }
        if (which == '?')
            return OPTIONS_WRONG; /* getopt has said what */
        if (!set_one(o, which, optarg, e))
            return OPTIONS_WRONG;
    }
    o->inputs = argv + optind;
    o->input_count = argc - optind;
    return consistent(o, e) ? OPTIONS_RUN : OPTIONS_WRONG;
}
