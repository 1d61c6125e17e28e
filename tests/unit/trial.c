/* See trial.h. */
#include "tests/unit/trial.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/values/buf.h"
#include "tests/unit/folder.h"
#include "tests/unit/unit.h"

enum { TURN_MS = 10, TURNS_MAX = 120000 / TURN_MS, ROLES_MAX = 16, SHOWN_MAX = 16384 /* of a file's bytes, when a test fails */ };

#define STATUS TRIAL_NAME ".status"
#define FIGURES TRIAL_NAME ".prom"

static pid_t started; /* and not known to have ended; 0: none */

/* ---- the folder --------------------------------------------------------------------------------------------------------- */

static void write_config(const char *mode, const char *before, const char *lines)
{
    char *path = folder_file("coffre.yml");
    FILE *out = fopen(path, mode);

    assert_non_null(out);
    assert_true(fputs(before, out) >= 0 && fputs(lines, out) >= 0);
    assert_int_equal(fclose(out), 0);
    free(path);
}

void trial_configure(const char *more)
{
    write_config("we",
                 "vault: {operator: \"4512\", number: 1}\nstate_dir: state\nrabbitmq: {host: localhost, port: 1, ca: c}\n"
                 "postgresql: {conninfo: x}\noperator: {ca: c}\nregulator: {ca: c, recipients: [r]}\n"
                 "ingest: {certificate: c, key: k, rabbitmq_certificate: c, rabbitmq_key: k, pack_keys: [p], dedup_key: d}\n",
                 more);
}

void trial_configure_more(const char *lines)
{
    write_config("ae", "", lines);
}

int trial_make(void **state)
{
    if (folder_make(state) != 0)
        return -1;
    trial_configure("");
    return 0;
}

/* What a test that failed has left. */
static void end_started(void)
{
    if (started == 0)
        return;
    kill(started, SIGKILL);
    waitpid(started, NULL, 0);
    started = 0;
}

int trial_clear(void **state)
{
    char *path = folder_file("state");
    int status;

    (void)state;
    end_started();
    status = folder_remove_all(path);
    free(path);
    return status;
}

int trial_remove(void **state)
{
    end_started();
    return folder_remove(state);
}

char *trial_file(const char *name)
{
    return mem_printf("%s/state/%s", folder_path(), name);
}

/* The last 64 KiB, in `text`; files of /proc cannot be sought in, and are shorter. */
static const char *read_text(const char *path, char text[static 1 << 16])
{
    FILE *in = fopen(path, "re");
    size_t n = 0;

    if (in != NULL) {
        (void)fseek(in, 1 - (1 << 16), SEEK_END);
        n = fread(text, 1, (1 << 16) - 1, in);
    }
    text[n] = '\0';
    if (in != NULL)
        fclose(in);
    return text;
}

const char *trial_contents(const char *name)
{
    static char text[1 << 16];
    char *path = trial_file(name);

    read_text(path, text);
    free(path);
    return text;
}

const char *trial_status(void)
{
    return trial_contents(STATUS);
}

void trial_put(const char *name)
{
    char *folder = folder_file("state"), *path = trial_file(name);
    int fd;

    mkdir(folder, 0700); /* the daemon's own, unless it has not run yet */
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    free(folder);
    free(path);
}

void trial_take_away(const char *name)
{
    char *path = trial_file(name);

    assert_int_equal(unlink(path), 0);
    free(path);
}

/* ---- the process -------------------------------------------------------------------------------------------------------- */

static void forget(const char *name)
{
    char *path = trial_file(name);

    unlink(path);
    free(path);
}

pid_t trial_start(void)
{
    char *config = folder_file("coffre.yml"), *log = folder_file("log");
    pid_t pid;

    forget(STATUS);
    forget(FIGURES);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that failed leaves nothing behind */
        dup2(fd, STDOUT_FILENO);
        dup2(fd, STDERR_FILENO);
        execl("/proc/self/exe", TRIAL_NAME, "--config", config, (char *)NULL);
        _exit(127);
    }
    free(config);
    free(log);
    started = pid;
    return pid;
}

int trial_wait(pid_t daemon)
{
    int status;

    assert_int_equal(waitpid(daemon, &status, 0), daemon);
    started = 0;
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

void trial_stop(pid_t daemon)
{
    assert_int_equal(kill(daemon, SIGTERM), 0);
    assert_int_equal(trial_wait(daemon), 0);
}

/* A zombie adopted by a sleepy init has ended, too. */
static bool is_running(pid_t pid)
{
    char *path = mem_printf("/proc/%ld/exe", (long)pid), target[1];
    bool running = readlink(path, target, sizeof target) >= 0;

    free(path);
    return running;
}

void trial_kill(pid_t daemon)
{
    pid_t roles[ROLES_MAX];
    size_t count = 0;

    for (const char *at = trial_status(); count < ROLES_MAX && (at = strstr(at, " pid ")) != NULL; at++)
        roles[count++] = (pid_t)atol(at + strlen(" pid "));
    assert_int_equal(kill(daemon, SIGKILL), 0);
    assert_int_equal(waitpid(daemon, NULL, 0), daemon);
    started = 0;
    assert_true(count > 0);
    for (size_t i = 0; i < count; i++)
        TRIAL_UNTIL(!is_running(roles[i]));
}

/* ---- what it says ------------------------------------------------------------------------------------------------------- */

/* Its end, which print_error() would cut off. Takes the path over. */
static void show(char *path)
{
    static char text[1 << 16];
    size_t len = strlen(read_text(path, text));

    fprintf(stderr, "%s:\n%s\n", path, len > SHOWN_MAX ? text + len - SHOWN_MAX : text);
    free(path);
}

void trial_turn(unsigned *turns, const char *what, const char *name)
{
    poll(NULL, 0, TURN_MS);
    if (++*turns < TURNS_MAX)
        return;
    print_error("still not: %s\n", what);
    show(trial_file(name == NULL ? STATUS : name));
    show(folder_file("log"));
    fail();
}

const char *trial_await_in(const char *name, const char *what)
{
    unsigned turns = 0;
    const char *text;

    while (strstr(text = trial_contents(name), what) == NULL)
        trial_turn(&turns, what, name);
    return text;
}

const char *trial_await(const char *what)
{
    return trial_await_in(STATUS, what);
}

const char *trial_await_no(const char *what)
{
    unsigned turns = 0;
    const char *text;

    while (strstr(text = trial_status(), what) != NULL)
        trial_turn(&turns, what, STATUS);
    return text;
}

/* ---- its roles ---------------------------------------------------------------------------------------------------------- */

/* 0: none now. `word`: what it is, up to 19 characters. */
static pid_t find_role(const char *kind, char word[20])
{
    char *line = mem_printf("\nrole %s 0 pid ", kind);
    const char *at = strstr(trial_status(), line);
    long pid = 0;

    if (at == NULL || sscanf(at + strlen(line), "%ld %19s", &pid, word) != 2)
        pid = 0;
    free(line);
    return (pid_t)pid;
}

pid_t trial_pid(const char *kind)
{
    char word[20];
    pid_t pid;

    TRIAL_UNTIL((pid = find_role(kind, word)) > 0);
    return pid;
}

pid_t trial_another(const char *kind, pid_t before)
{
    char word[20];
    pid_t pid;

    TRIAL_UNTIL((pid = find_role(kind, word)) > 0 && pid != before && strcmp(word, "ready") == 0);
    return pid;
}

void trial_await_gone(pid_t role)
{
    char *named = mem_printf(" pid %ld ", (long)role);

    trial_await_no(named);
    free(named);
}

long trial_memory_kib(pid_t process, const char *figure)
{
    char *path = mem_printf("/proc/%ld/status", (long)process);
    static char text[1 << 16];
    const char *at = strstr(read_text(path, text), figure);

    assert_non_null(at);
    free(path);
    return atol(at + strlen(figure));
}
