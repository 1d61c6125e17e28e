/* Options of every daemon, then its parent or one of its roles: see role.h. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/system/role_internal.h"
#include "common/values/buf.h"
#include "common/values/log.h"
#include "common/version.h"

static void usage(const struct daemon *d, FILE *out)
{
    fprintf(out,
            "usage: %s --config FILE [--check-config | --print-config | --status]\n"
            "%s\n\n"
            "  -c, --config FILE   the configuration (YAML), see coffre.yml(5)\n"
            "      --check-config  check the configuration and the files it names, then leave\n"
            "      --print-config  print every key with the value in force, then leave\n"
            "      --status        say what the running daemon does; 0 when ready, 1 when not\n"
            "      --version       print the version\n"
            "  -h, --help          this text\n\n"
            "Signals: TERM drains and stops, HUP reads the configuration again%s.\n"
            "Exit status: 0 stopped, 1 failed, 2 wrong usage, 78 wrong configuration.\n",
            d->name, d->summary, d->poke_kind == NULL ? "" : ", USR1 closes the open lot");
}

/* Prints the status file of a running daemon. */
static int print_status(const struct daemon *d, const struct settings *s)
{
    char *path = mem_printf("%s/%s.status", s->state_dir, d->name), line[512];
    FILE *in = fopen(path, "re");
    bool ready = false;
    long pid = 0;

    if (in == NULL) {
        fprintf(stderr, "%s: not running (no %s)\n", d->name, path);
        free(path);
        return 1;
    }
    while (fgets(line, sizeof line, in) != NULL) {
        fputs(line, stdout);
        if (strcmp(line, "state ready\n") == 0)
            ready = true;
        sscanf(line, "pid %ld", &pid);
    }
    fclose(in);
    free(path);
    if (pid > 0 && kill((pid_t)pid, 0) != 0) {
        fprintf(stderr, "%s: not running (process %ld is gone)\n", d->name, pid);
        return 1;
    }
    return ready ? 0 : 1;
}

enum { OPT_CHECK = 256, OPT_PRINT, OPT_STATUS, OPT_VERSION };

static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},     {"check-config", no_argument, NULL, OPT_CHECK},
    {"print-config", no_argument, NULL, OPT_PRINT}, {"status", no_argument, NULL, OPT_STATUS},
    {"version", no_argument, NULL, OPT_VERSION},  {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* What the check says, in time: a file may be on a disk that does not answer, or be no file. */
static bool hear(int from, pid_t pid, unsigned most_ms, struct err *found)
{
    struct pollfd p = {.fd = from, .events = POLLIN};
    int left = (int)most_ms;

    while (poll(&p, 1, left) < 0 && errno == EINTR)
        left = left > 1000 ? left - 1000 : 0;
    if (p.revents != 0)
        return read(from, found, sizeof *found) == sizeof *found;
    kill(pid, SIGKILL);
    return err_set(found, ERR_RETRY, "checking the configuration: a file it names cannot be read to its end in %u s", most_ms / 1000);
}

bool daemon_check_apart(const struct daemon *d, const struct settings *s, struct err *e)
{
    struct err found = {0};
    int ends[2], status = -1;
    pid_t pid;

    if (d->check == NULL)
        return true;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return err_set_errno(e, ERR_FATAL, "checking the configuration");
    log_end(); /* or the child, which has the counts too, would tell them once more */
    pid = fork();
    if (pid == 0) {
        const struct rlimit none = {0, 0};
        bool ok;

        /* As in roles: keys pass through here. */
        prctl(PR_SET_DUMPABLE, 0);
        setrlimit(RLIMIT_CORE, &none);
        ok = d->check(s, &found);
        log_end();
        _exit(write(ends[1], &found, sizeof found) == sizeof found && ok ? 0 : 1);
    }
    close(ends[1]);
    if (pid < 0 || !hear(ends[0], pid, d->check_ms == 0 ? ROLE_CHECK_MS : d->check_ms, &found))
        err_set(&found, ERR_FATAL, "checking the configuration: the process that does it has ended early");
    close(ends[0]);
    if (pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    found.text[sizeof found.text - 1] = '\0';
    err_set(e, found.code, "%s", found.text);
    return settings_locate(s, e);
}

static int run(const struct daemon *d, const char *config, int action)
{
    struct err e = {0};
    char *file = settings_path(config);
    struct settings *s = NULL;
    struct buf text;
    int status;

    buf_init(&text, SETTINGS_TEXT_MAX);
    if (settings_read_text(file, &text, &e))
        s = settings_read(file, buf_slice(&text), d->part, &e);
    free(file);
    if (s == NULL || (action != OPT_STATUS && action != OPT_PRINT && !daemon_check_apart(d, s, &e))) {
        fprintf(stderr, "%s: %s\n", d->name, e.text);
        settings_free(s);
        buf_free(&text);
        return ROLE_EXIT_CONFIG;
    }
    log_open(d->name, "parent", settings_log_level(s));
    switch (action) {
    case OPT_CHECK:
        printf("%s: %s is correct\n", d->name, config);
        status = 0;
        break;
    case OPT_PRINT:
        settings_print(s, stdout);
        status = 0;
        break;
    case OPT_STATUS:
        status = print_status(d, s);
        break;
    default:
        status = parent_main(d, s, buf_slice(&text));
    }
    settings_free(s);
    buf_free(&text);
    return status;
}

int daemon_main(const struct daemon *d, int argc, char **argv)
{
    const char *config = NULL;
    int action = 0, c;

    /* Only the parent executes roles: the arguments are its own. */
    if (argc == 5 && strcmp(argv[1], "--role") == 0)
        return role_main(d, argv[2], (unsigned)atoi(argv[3]), argv[4]);
    while ((c = getopt_long(argc, argv, "c:h", options, NULL)) != -1)
        switch (c) {
        case 'c':
            config = optarg;
            break;
        case 'h':
            usage(d, stdout);
            return 0;
        case OPT_VERSION:
            printf("%s %s\n", d->name, COFFRE_VERSION);
            return 0;
        case OPT_CHECK:
        case OPT_PRINT:
        case OPT_STATUS:
            action = c;
            break;
        default:
            usage(d, stderr);
            return 2;
        }
    if (config == NULL || optind != argc) {
        usage(d, stderr);
        return 2;
    }
    return run(d, config, action);
}
