/* coffre-ceremony: the command line. See coffre-ceremony(8). */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/system/durable.h"
#include "common/system/roster.h"
#include "common/version.h"
#include "sealer/ceremony/ceremony.h"

enum { FILE_MAX = 4 << 20, BITS_DEFAULT = 3072 };

struct act {
    const char *name;
    int (*run)(const struct ceremony *c);
    const char *options, *meaning;
};

static const struct act acts[] = {
    {"keys", ceremony_keys, "--csr-dir DIR [--bits N] [--subject DN] [--only seal|tsa]", "create the HSM keys and certificate requests"},
    {"install", ceremony_install, "--seal CERT --tsa CERT [--only seal|tsa]", "check the two certificates and put them in place"},
    {"genesis", ceremony_genesis, "[--database CONNINFO] [--create-database] [--schema FILE]",
     "create the store and the vault's birth certificate"},
    {"upgrade", ceremony_upgrade, "[--database CONNINFO] [--schema FILE]", "bring the store of an earlier version up to this one"},
    {"bind", ceremony_bind, "--profile P {--certificate CERT | --cn CN --ou OU} [--serial HEX] [--san SAN] [--reason TEXT] [--database CONNINFO]",
     "bind a certificate to depositor, reader, technical or functional"},
    {"revoke", ceremony_revoke, "--profile P {--certificate CERT | --cn CN --ou OU} [--serial HEX] [--san SAN] [--reason TEXT] [--database CONNINFO]",
     "end such a binding"},
    {"roles", ceremony_roles, "[--all] [--database CONNINFO]", "list the bindings in force, or all"},
    {"changes", ceremony_changes, "[--database CONNINFO]", "list the history of bindings and what waits for a second person"},
    {"approve", ceremony_approve, "ID [--reason TEXT] [--database CONNINFO]", "approve what another person proposed"},
    {"refuse", ceremony_refuse, "ID [--reason TEXT] [--database CONNINFO]", "refuse or withdraw a proposal"},
    {"quorum", ceremony_quorum, "N [--reason TEXT] [--database CONNINFO]", "have changes need N people, 1 or 2; to need fewer takes as many as before"},
    {"override", ceremony_override, "{--profile P --for DURATION --reason TEXT | --end [--profile P]} [--database CONNINFO]",
     "let certificates in without asking whether they are revoked, for at most 7 days"},
    {"overrides", ceremony_overrides, "[--all] [--database CONNINFO]", "list the overrides in force, or all"},
    {"close-lot", ceremony_close_lot, "", "ask the active sealer to close the open lot"},
    {"remember", ceremony_remember, "", "rebuild the seal's memory from the last sealed lot"},
};

enum { ACTS = sizeof acts / sizeof *acts };

static void usage(FILE *out)
{
    fprintf(out, "usage: coffre-ceremony COMMAND --config FILE [options] [--yes]\n\n");
    for (size_t i = 0; i < ACTS; i++)
        fprintf(out, "  %-10s %s\n             %s\n", acts[i].name, acts[i].options, acts[i].meaning);
    fprintf(out, "\n  -c, --config FILE  the configuration, see coffre.yml(5)\n"
                 "  -y, --yes          do not ask\n"
                 "      --version      print the version\n"
                 "  -h, --help         this text\n\n"
                 "Exit status: 0 done, 1 failed, 2 wrong usage, 3 refused (done already, or must not be done), 78 wrong configuration.\n");
}

int ceremony_say(int status, const char *fmt, ...)
{
    va_list ap;

    fprintf(stderr, "coffre-ceremony: ");
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    return status;
}

int ceremony_confirm(const struct ceremony *c, const char *fmt, ...)
{
    char answer[16] = "";
    va_list ap;

    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
    fflush(stdout);
    if (c->yes)
        return CEREMONY_DONE;
    if (!isatty(STDIN_FILENO))
        return ceremony_say(CEREMONY_USAGE, "not on a terminal: say --yes");
    printf("Go on? Type yes: ");
    fflush(stdout);
    if (fgets(answer, sizeof answer, stdin) != NULL && strcmp(answer, "yes\n") == 0)
        return CEREMONY_DONE;
    return ceremony_say(CEREMONY_REFUSED, "nothing was done");
}

struct hsm_token ceremony_token(const struct ceremony *c)
{
    return (struct hsm_token){.module = c->settings->sealer.module, .label = c->settings->sealer.token, .pin_file = c->settings->sealer.pin};
}

bool ceremony_read_file(const char *path, struct buf *out, struct err *e)
{
    buf_init(out, FILE_MAX);
    if (durable_read(path, out, NULL, e))
        return true;
    buf_free(out);
    return false;
}

enum { OPT_CSR_DIR = 256, OPT_BITS, OPT_SUBJECT, OPT_SEAL, OPT_TSA, OPT_DATABASE, OPT_CREATE, OPT_SCHEMA, OPT_PROFILE,
       OPT_CERTIFICATE, OPT_CN, OPT_OU, OPT_SERIAL, OPT_SAN, OPT_REASON, OPT_ONLY, OPT_FOR, OPT_ALL, OPT_END, OPT_VERSION };

static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},          {"yes", no_argument, NULL, 'y'},
    {"help", no_argument, NULL, 'h'},                  {"version", no_argument, NULL, OPT_VERSION},
    {"csr-dir", required_argument, NULL, OPT_CSR_DIR}, {"bits", required_argument, NULL, OPT_BITS},
    {"subject", required_argument, NULL, OPT_SUBJECT}, {"seal", required_argument, NULL, OPT_SEAL},
    {"tsa", required_argument, NULL, OPT_TSA},         {"database", required_argument, NULL, OPT_DATABASE},
    {"create-database", no_argument, NULL, OPT_CREATE}, {"schema", required_argument, NULL, OPT_SCHEMA},
    {"profile", required_argument, NULL, OPT_PROFILE}, {"certificate", required_argument, NULL, OPT_CERTIFICATE},
    {"cn", required_argument, NULL, OPT_CN},           {"ou", required_argument, NULL, OPT_OU},
    {"serial", required_argument, NULL, OPT_SERIAL},   {"san", required_argument, NULL, OPT_SAN},
    {"reason", required_argument, NULL, OPT_REASON},   {"for", required_argument, NULL, OPT_FOR},
    {"only", required_argument, NULL, OPT_ONLY},
    {"all", no_argument, NULL, OPT_ALL},               {"end", no_argument, NULL, OPT_END},
    {NULL, 0, NULL, 0},
};

/* Puts one option where it belongs; false when it is none of the table's. */
static bool take_option(struct ceremony *c, int option)
{
    const char **const texts[] = {
        [OPT_CSR_DIR - OPT_CSR_DIR] = &c->csr_dir,     [OPT_SUBJECT - OPT_CSR_DIR] = &c->subject,
        [OPT_SEAL - OPT_CSR_DIR] = &c->seal,           [OPT_TSA - OPT_CSR_DIR] = &c->tsa,
        [OPT_DATABASE - OPT_CSR_DIR] = &c->database,   [OPT_SCHEMA - OPT_CSR_DIR] = &c->schema,
        [OPT_PROFILE - OPT_CSR_DIR] = &c->profile,     [OPT_CERTIFICATE - OPT_CSR_DIR] = &c->certificate,
        [OPT_CN - OPT_CSR_DIR] = &c->cn,               [OPT_OU - OPT_CSR_DIR] = &c->ou,
        [OPT_SERIAL - OPT_CSR_DIR] = &c->serial,       [OPT_SAN - OPT_CSR_DIR] = &c->san,
        [OPT_REASON - OPT_CSR_DIR] = &c->reason,       [OPT_ONLY - OPT_CSR_DIR] = &c->only,
               [OPT_FOR - OPT_CSR_DIR] = &c->duration,
    };

    switch (option) {
    case 'y':
        c->yes = true;
        return true;
    case OPT_CREATE:
        c->create_database = true;
        return true;
    case OPT_ALL:
        c->all = true;
        return true;
    case OPT_END:
        c->end = true;
        return true;
    case OPT_BITS:
        c->bits = (unsigned)strtoul(optarg, NULL, 10);
        return true;
    default:
        if (option < OPT_CSR_DIR || option > OPT_FOR)
            return false;
        *texts[option - OPT_CSR_DIR] = optarg;
        return true;
    }
}

static int run(struct ceremony *c, const struct act *act, const char *config)
{
    struct err e = {0};
    int status;

    c->settings = settings_load(config, SETTINGS_SEALER, &e);
    if (c->settings == NULL)
        return ceremony_say(CEREMONY_CONFIG, "%s", e.text);
    log_open("coffre-ceremony", act->name, LOG_LEVEL_WARNING);
    status = roster_check_reason(slice_text(c->reason), &e) ? act->run(c) : ceremony_say(CEREMONY_USAGE, "--reason: %s", e.text);
    settings_free(c->settings);
    return status;
}

/* The number of a change, or of people. */
static bool takes_number(const struct act *act)
{
    return strncmp(act->options, "ID", 2) == 0 || strncmp(act->options, "N ", 2) == 0;
}

int main(int argc, char **argv)
{
    struct ceremony c = {.bits = BITS_DEFAULT};
    const char *config = NULL;
    int option;

    while ((option = getopt_long(argc, argv, "c:yh", options, NULL)) != -1) {
        if (option == 'h') {
            usage(stdout);
            return CEREMONY_DONE;
        }
        if (option == OPT_VERSION) {
            printf("coffre-ceremony %s\n", COFFRE_VERSION);
            return CEREMONY_DONE;
        }
        if (option == 'c')
            config = optarg;
        else if (!take_option(&c, option))
            goto wrong;
    }
    if (config == NULL || optind >= argc || optind < argc - 2)
        goto wrong;
    c.id = argv[optind + 1]; /* NULL at the end */
    for (size_t i = 0; i < ACTS; i++)
        if (strcmp(acts[i].name, argv[optind]) == 0 && takes_number(&acts[i]) == (c.id != NULL))
            return run(&c, &acts[i], config);
wrong:
    usage(stderr);
    return CEREMONY_USAGE;
}
