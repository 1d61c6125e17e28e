/* What a daemon does when its configuration changes, with real processes: what is read, what is refused, what is told of it. The daemon is role_daemon.h's. */
#include "tests/unit/role_daemon.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "tests/unit/folder.h"
#include "tests/unit/trial.h"
#include "tests/unit/unit.h"

static unsigned counted(const char *result)
{
    char *figure = mem_printf("coffre_reloads_total{result=\"%s\"} ", result);
    const char *at = strstr(trial_contents(TRIAL_NAME ".prom"), figure);
    unsigned count = at == NULL ? 0 : (unsigned)atoi(at + strlen(figure));

    free(figure);
    return count;
}

static unsigned reloads(void)
{
    return counted("done");
}

/* How often this daemon has read its configuration and found it correct, whether or not its roles have come to that: its log says so. */
static unsigned readings(pid_t daemon)
{
    char *log = folder_file("log"), *mark = mem_printf(" role=parent pid=%ld code=reloaded ", (long)daemon), *line = NULL;
    FILE *in = fopen(log, "re");
    size_t room = 0;
    unsigned n = 0;

    assert_non_null(in);
    while (getline(&line, &room, in) >= 0)
        n += strstr(line, mark) != NULL;
    fclose(in);
    free(line);
    free(mark);
    free(log);
    return n;
}

static struct timespec figures_written(void)
{
    char *path = trial_file(TRIAL_NAME ".prom");
    struct stat st = {0};

    (void)stat(path, &st);
    free(path);
    return st.st_mtim;
}

/* What is counted by now is in the figures. */
static void await_figures(void)
{
    struct timespec before = figures_written();

    TRIAL_UNTIL(figures_written().tv_sec != before.tv_sec || figures_written().tv_nsec != before.tv_nsec);
}

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Many reloads fill what a stopped role does not read: the parent serves the others, and tells it in the end. */
static void a_role_that_is_stopped_stops_nobody_else(void **state)
{
    static const char deaf[] = " refused asker 0: it does not listen";
    pid_t pid, asker, answerer;
    unsigned done = 0;
    char *answered;

    (void)state;
    for (unsigned i = 0; i < 2500; i++) {
        char line[100];

        snprintf(line, sizeof line, "# %094u\n", i);
        trial_configure_more(line);
    }
    pid = trial_start();
    trial_await("state ready\n");
    asker = trial_pid("asker");
    kill(asker, SIGSTOP);
    for (; done < 60 && strstr(trial_status(), deaf) == NULL; done++) {
        kill(pid, SIGHUP);
        TRIAL_UNTIL(readings(pid) > done);
    }
    trial_await(deaf);
    answerer = trial_pid("answerer");
    for (unsigned i = 0; i < 3; i++) {
        kill(answerer, SIGKILL);
        answerer = trial_another("answerer", answerer);
    }
    kill(pid, SIGHUP);
    TRIAL_UNTIL(readings(pid) > done);
    kill(asker, SIGCONT);
    trial_await_no("it does not listen");
    answered = mem_printf("ready answered by %ld\n", (long)answerer);
    trial_await(answered);
    free(answered);
    assert_int_equal(trial_pid("asker"), asker);
    /* Nor does it keep the daemon from ending. */
    kill(asker, SIGSTOP);
    trial_stop(pid);
}

/* Signals by the hundred are a few reloads, two a second however long it takes, and the last of them counts. */
static void a_storm_of_signals_is_a_few_reloads(void **state)
{
    pid_t pid = trial_start();
    int64_t begun;

    (void)state;
    trial_await("state ready\n");
    begun = now_ms();
    for (unsigned i = 0; i < 300; i++) {
        kill(pid, SIGHUP);
        poll(NULL, 0, 5);
    }
    TRIAL_UNTIL(reloads() >= 2);
    assert_in_range(reloads(), 2, 2 + (now_ms() - begun) / 250);
    trial_await("state ready\n");
    trial_stop(pid);
}

static void a_check_that_does_not_end_is_ended(void **state)
{
    pid_t pid = trial_start();

    (void)state;
    trial_await("state ready\n");
    trial_put("block");
    kill(pid, SIGHUP);
    trial_await(" refused checking the configuration: a file it names cannot be read to its end in 10 s\n");
    trial_await("state ready\n");
    trial_take_away("block");
    kill(pid, SIGHUP);
    trial_await(" done\n");
    trial_stop(pid);
}

/* Never quiet for a second: taken all the same. */
static void a_file_that_never_rests_is_read(void **state)
{
    pid_t pid = trial_start();

    (void)state;
    trial_await("state ready\n");
    for (unsigned i = 0; i < 600 && strstr(trial_status(), "\nreload ") == NULL; i++) {
        trial_configure_more("# again\n");
        poll(NULL, 0, 100);
    }
    trial_await(" done\n");
    trial_stop(pid);
}

/* Done is what all roles are through with, in the status and in the figures: whatever a test does after that is about the next reload. */
static void a_reload_is_done_when_all_roles_are_through_with_it(void **state)
{
    pid_t pid = trial_start(), asker;

    (void)state;
    trial_await("state ready\n");
    asker = trial_pid("asker");
    kill(asker, SIGSTOP);
    kill(pid, SIGHUP);
    trial_await(" under way: asker 0 has not come to it\n");
    await_figures();
    assert_int_equal(reloads(), 0);
    kill(asker, SIGCONT);
    trial_await(" done\n");
    TRIAL_UNTIL(reloads() == 1);
    /* Nobody waits for one that is started again: it begins with what is in force. */
    kill(asker, SIGSTOP);
    kill(pid, SIGHUP);
    trial_await(" under way: asker 0 has not come to it\n");
    kill(asker, SIGKILL);
    trial_await(" done\n");
    TRIAL_UNTIL(reloads() == 2);
    trial_another("asker", asker);
    kill(pid, SIGHUP);
    TRIAL_UNTIL(reloads() == 3);
    trial_await(" done\n");
    trial_stop(pid);
}

/* Two that a role comes to one right after the other are one when both are over. */
static void a_reload_that_is_overtaken_is_counted_with_the_next(void **state)
{
    pid_t pid = trial_start(), asker;

    (void)state;
    trial_await("state ready\n");
    asker = trial_pid("asker");
    kill(asker, SIGSTOP);
    for (unsigned i = 1; i <= 2; i++) {
        kill(pid, SIGHUP);
        TRIAL_UNTIL(readings(pid) == i);
    }
    kill(asker, SIGCONT);
    trial_await(" done\n");
    await_figures();
    assert_int_equal(reloads(), 1);
    assert_int_equal(counted("partial"), 0);
    trial_stop(pid);
}

/* A role that has not come to a reload before the next refuses the first, and takes the second. */
static void a_refusal_of_an_earlier_reload_says_nothing_about_the_last(void **state)
{
    pid_t pid = trial_start(), asker;

    (void)state;
    trial_await("state ready\n");
    asker = trial_pid("asker");
    kill(asker, SIGSTOP);
    for (unsigned i = 1; i <= 2; i++) {
        kill(pid, SIGHUP);
        TRIAL_UNTIL(readings(pid) == i);
    }
    trial_put("refuse once");
    kill(asker, SIGCONT);
    trial_await(" done\n");
    TRIAL_UNTIL(counted("partial") == 1 && reloads() == 1);
    assert_null(strstr(trial_status(), " refused "));
    assert_int_equal(trial_pid("asker"), asker);
    trial_stop(pid);
}

static void a_reload_that_a_role_refuses_is_not_said_to_be_done(void **state)
{
    pid_t pid = trial_start(), before;

    (void)state;
    assert_null(strstr(trial_await("state ready\n"), "\nreload "));
    kill(pid, SIGHUP);
    trial_await(" done\n");
    before = trial_pid("asker");
    kill(before, SIGSTOP);
    trial_put("refuse");
    kill(pid, SIGHUP);
    trial_await(" under way: asker 0 has not come to it\n");
    kill(before, SIGCONT);
    assert_null(strstr(trial_await_no(" under way: "), " done\n"));
    trial_await(" refused asker 0: not today\n");
    TRIAL_UNTIL(counted("partial") == 1);
    await_figures();
    assert_int_equal(reloads(), 1); /* the one before: it is this or that */
    /* Started again, it has what is in force. */
    kill(before, SIGKILL);
    trial_await_gone(before);
    assert_null(strstr(trial_await("state ready\n"), " refused "));
    trial_take_away("refuse");
    kill(pid, SIGHUP);
    TRIAL_UNTIL(reloads() == 2);
    trial_await(" done\n");
    assert_int_equal(counted("partial"), 1);
    trial_stop(pid);
}

/* The configuration names a file "d", read once. */
static void a_file_read_once_that_changes_needs_a_start(void **state)
{
    char *key = folder_file("d");
    FILE *out = fopen(key, "w");
    pid_t pid;

    (void)state;
    assert_non_null(out);
    fclose(out);
    pid = trial_start();
    trial_await("state ready\n");
    kill(pid, SIGHUP);
    assert_null(strstr(trial_await(" done\n"), "restart-needed"));
    out = fopen(key, "w");
    assert_non_null(out);
    fputs("another", out);
    fclose(out);
    trial_await("restart-needed ingest.dedup_key\n");
    trial_stop(pid);
    free(key);
}

static void a_wrong_configuration_starts_nothing(void **state)
{
    (void)state;
    trial_configure("colour: red\n");
    assert_int_equal(trial_wait(trial_start()), ROLE_EXIT_CONFIG);
}

/* Each begins with a configuration and a state folder that none before it has touched. */
static int begin(void **state)
{
    trial_configure("");
    return trial_clear(state);
}

#define TEST(f) cmocka_unit_test_setup(f, begin)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(a_role_that_is_stopped_stops_nobody_else),
        TEST(a_storm_of_signals_is_a_few_reloads),
        TEST(a_check_that_does_not_end_is_ended),
        TEST(a_file_that_never_rests_is_read),
        TEST(a_reload_is_done_when_all_roles_are_through_with_it),
        TEST(a_reload_that_is_overtaken_is_counted_with_the_next),
        TEST(a_refusal_of_an_earlier_reload_says_nothing_about_the_last),
        TEST(a_reload_that_a_role_refuses_is_not_said_to_be_done),
        TEST(a_file_read_once_that_changes_needs_a_start),
        TEST(a_wrong_configuration_starts_nothing),
    };

    if (argc > 1)
        return daemon_main(&role_daemon, argc, argv);
    return cmocka_run_group_tests_name("reload", tests, role_daemon_make, trial_remove);
}
