/* coffre-verify: options, trust, inputs in their order, exit code. See coffre-verify(1). */
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>

#include "common/formats/hex.h"
#include "common/version.h"
#include "exporter/verify/verify.h"

enum { CA_MAX = 4 << 20 };

struct options {
    const char *ca, *key, *output, *genesis;
    bool embedded, json, quiet, partial;
    uint64_t first, last;
    char **paths; /* borrowed from argv */
    int count;
};

static const char usage_text[] =
    "usage: coffre-verify --ca FILE [options] SEGMENT-OR-FOLDER ...\n"
    "Verifies extractions of a vault, offline.\n\n"
    "  --ca FILE          trust anchors (PEM): the authority of the seal and of the time-stamps\n"
    "  --trust-embedded   trust certs/ca.pem of the first input instead: proves only that it agrees with itself\n"
    "  --genesis HEX      SHA-256 of genesis.xml, as the minutes of the ceremony say it\n"
    "  --key FILE         regulator's private key (PEM): decrypt too\n"
    "  --output DIR       where to put decrypted events (DIR/000042/000000004201.xml)\n"
    "  --first N          first lot that must be there\n"
    "  --last N           last lot that must be there\n"
    "  --partial          events of a lot may be absent (answers about a single event)\n"
    "  --json             report for programs\n"
    "  --quiet            say only what is wrong\n"
    "  --codes            list what can be found, and leave\n"
    "  --version, --help\n\n"
    "Exit code: 0 all holds, 1 damage, 2 wrong usage, 3 could not be read, 4 incomplete but nothing wrong.\n";

static bool options_number(const char *text, uint64_t *value)
{
    char *end;
    unsigned long long n = strtoull(text, &end, 10);

    *value = n;
    return text[0] >= '1' && text[0] <= '9' && *end == '\0' && n != UINT64_MAX;
}

static int options_bad(const char *what)
{
    (void)fprintf(stderr, "coffre-verify: %s\nTry coffre-verify --help.\n", what);
    return EXIT_USAGE;
}

enum { OPTION_CA = 256, OPTION_EMBEDDED, OPTION_GENESIS, OPTION_KEY, OPTION_OUTPUT, OPTION_FIRST, OPTION_LAST, OPTION_PARTIAL,
       OPTION_JSON, OPTION_QUIET, OPTION_CODES, OPTION_VERSION, OPTION_HELP };

static const struct option long_options[] = {
    {"ca", required_argument, NULL, OPTION_CA},           {"trust-embedded", no_argument, NULL, OPTION_EMBEDDED},
    {"genesis", required_argument, NULL, OPTION_GENESIS}, {"key", required_argument, NULL, OPTION_KEY},
    {"output", required_argument, NULL, OPTION_OUTPUT},   {"first", required_argument, NULL, OPTION_FIRST},
    {"last", required_argument, NULL, OPTION_LAST},       {"partial", no_argument, NULL, OPTION_PARTIAL},
    {"json", no_argument, NULL, OPTION_JSON},             {"quiet", no_argument, NULL, OPTION_QUIET},
    {"codes", no_argument, NULL, OPTION_CODES},           {"version", no_argument, NULL, OPTION_VERSION},
    {"help", no_argument, NULL, OPTION_HELP},             {NULL, 0, NULL, 0},
};

/* -1 to go on, else the exit code. */
static int options_take(struct options *o, int option)
{
    switch (option) {
    case OPTION_CA:
        o->ca = optarg;
        return -1;
    case OPTION_EMBEDDED:
        o->embedded = true;
        return -1;
    case OPTION_GENESIS:
        o->genesis = optarg;
        return -1;
    case OPTION_KEY:
        o->key = optarg;
        return -1;
    case OPTION_OUTPUT:
        o->output = optarg;
        return -1;
    case OPTION_FIRST:
        return options_number(optarg, &o->first) ? -1 : options_bad("--first wants a lot's number");
    case OPTION_LAST:
        return options_number(optarg, &o->last) ? -1 : options_bad("--last wants a lot's number");
    case OPTION_PARTIAL:
        o->partial = true;
        return -1;
    case OPTION_JSON:
        o->json = true;
        return -1;
    case OPTION_QUIET:
        o->quiet = true;
        return -1;
    case OPTION_CODES:
        report_print_codes();
        return EXIT_HOLDS;
    case OPTION_VERSION:
        (void)puts("coffre-verify " COFFRE_VERSION);
        return EXIT_HOLDS;
    case OPTION_HELP:
        (void)fputs(usage_text, stdout);
        return EXIT_HOLDS;
    default:
        return options_bad("unknown option");
    }
}

static int options_read(struct options *o, int argc, char **argv)
{
    int option, done;

    opterr = 0;
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1)
        if ((done = options_take(o, option)) >= 0)
            return done;
    o->paths = argv + optind;
    o->count = argc - optind;
    if (o->count == 0)
        return options_bad("name at least one segment or folder");
    if ((o->ca == NULL) == !o->embedded)
        return options_bad("name the authority to trust with --ca FILE (or, knowing what it means, --trust-embedded)");
    if (o->output != NULL && o->key == NULL)
        return options_bad("--output wants --key");
    return -1;
}

static bool read_stream(FILE *f, struct buf *out, struct err *e)
{
    uint8_t part[65536];
    size_t got;

    while ((got = fread(part, 1, sizeof(part), f)) > 0)
        if (!buf_add(out, part, got, e))
            return false;
    return ferror(f) == 0 || err_set_errno(e, ERR_INPUT, "reading");
}

static struct trust *trust_from_file(const char *path, struct err *e)
{
    FILE *f = fopen(path, "re");
    struct buf pem;
    struct trust *t = NULL;

    buf_init(&pem, CA_MAX);
    if (f == NULL)
        (void)err_set_errno(e, ERR_INPUT, "%s", path);
    else if (read_stream(f, &pem, e))
        t = trust_new(buf_slice(&pem), e);
    if (f != NULL)
        (void)fclose(f);
    buf_free(&pem);
    return t;
}

/* certs/ca.pem of the input itself: only when asked for, and said loudly. */
static struct trust *trust_from_input(const char *path, struct err *e)
{
    struct input *in = input_open(path, e);
    struct input_file file;
    enum zip_fault fault;
    struct trust *t = NULL;
    struct buf pem;

    buf_init(&pem, CA_MAX);
    for (int i = 0; in != NULL && t == NULL && i < 16 && input_next(in, &file, &fault, e) == INPUT_FILE; i++) {
        uint8_t part[4096];
        size_t got = 0;

        buf_reset(&pem);
        while (input_read(in, part, sizeof(part), &got, &fault, e) && got > 0 && buf_add(&pem, part, got, e))
            ;
        if (strcmp(file.name, "certs/ca.pem") == 0)
            t = trust_new(buf_slice(&pem), e);
    }
    if (t == NULL)
        (void)err_set(e, ERR_INPUT, "%s: no certs/ca.pem", path);
    buf_free(&pem);
    input_free(in);
    return t;
}

static int input_order(const void *a, const void *b)
{
    uint64_t x = input_first_lot(*(struct input *const *)a), y = input_first_lot(*(struct input *const *)b);

    return (x > y) - (x < y);
}

static int verify_all(struct verify *v, const struct options *o)
{
    struct input **inputs = mem_zalloc((size_t)o->count, sizeof(struct input *));
    size_t count = 0;

    for (int i = 0; i < o->count; i++) {
        struct err e = {0};

        inputs[count] = input_open(o->paths[i], &e);
        if (inputs[count] == NULL) {
            report_add(v->report, REPORT_UNREADABLE, (struct report_where){.file = o->paths[i]}, "%s", e.text);
            continue;
        }
        v->total += input_size(inputs[count++]);
    }
    qsort(inputs, count, sizeof(*inputs), input_order);
    v->several = count > 1;
    v->report->inputs = count;
    for (size_t i = 0; i < count; i++) {
        verify_input(v, inputs[i]);
        input_free(inputs[i]);
    }
    free(inputs);
    verify_expect(v, o->first, o->last);
    return report_end(v->report);
}

static int failed(const struct err *e, int code)
{
    (void)fprintf(stderr, "coffre-verify: %s\n", e->text);
    return code;
}

static int run(const struct options *o)
{
    struct report report = {.json = o->json, .quiet = o->quiet, .partial = o->partial};
    struct err e = {0};
    struct verify v;
    struct trust *trust;
    struct decrypt *decrypt = NULL;
    int code;

    if (!xades_init(&e))
        return failed(&e, EXIT_UNREADABLE);
    trust = o->embedded ? trust_from_input(o->paths[0], &e) : trust_from_file(o->ca, &e);
    if (trust == NULL)
        return failed(&e, EXIT_UNREADABLE);
    if (o->key != NULL && (decrypt = decrypt_open(o->key, o->output, &e)) == NULL) {
        trust_free(trust);
        return failed(&e, EXIT_UNREADABLE);
    }
    verify_init(&v, &report, trust);
    v.decrypt = decrypt;
    v.partial = o->partial;
    v.has_pin = o->genesis != NULL;
    if (v.has_pin && !hex_read(slice_text(o->genesis), v.pin, 32)) {
        code = options_bad("--genesis wants 64 lower-case hexadecimal digits");
    } else {
        report_begin(&report);
        if (o->embedded)
            report_add(&report, REPORT_TRUST_EMBEDDED, (struct report_where){.file = "certs/ca.pem"},
                       "NO AUTHORITY WAS GIVEN: the certificates inside the extraction are taken at their word");
        code = verify_all(&v, o);
    }
    verify_free(&v);
    decrypt_free(decrypt);
    trust_free(trust);
    xades_shutdown();
    return code;
}

int main(int argc, char **argv)
{
    struct options o = {0};
    int code = options_read(&o, argc, argv);

    return code >= 0 ? code : run(&o);
}
