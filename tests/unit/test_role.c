/* The shape of every daemon, with real processes: roles are linked, die, hang, are started again and end in order. The daemon is role_daemon.h's. */
#include "tests/unit/role_daemon.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "tests/unit/trial.h"
#include "tests/unit/unit.h"

/* Waits until the asker is answered by this process. */
static void await_answer_of(pid_t answerer)
{
    char *answered = mem_printf("ready answered by %ld\n", (long)answerer);

    trial_await(answered);
    free(answered);
}

static void roles_talk_and_leave_in_order(void **state)
{
    pid_t pid = trial_start();
    const char *figures;

    (void)state;
    trial_await("state ready\n");
    await_answer_of(trial_pid("answerer"));
    trial_await("ready line feed\n");
    figures = trial_await_in(TRIAL_NAME ".prom", "plain_total");
    assert_non_null(strstr(figures, "\nplain_total{role=\"asker\",index=\"0\"} 1\n"));
    assert_non_null(strstr(figures, "\nwith_labels{role=\"asker\",index=\"0\",a=\"b\"} 2\n"));
    assert_non_null(strstr(figures, "coffre_role_ready{role=\"answerer\",index=\"0\"} 1\n"));
    trial_stop(pid);
    assert_string_equal(trial_contents("order"), "asker 0\nanswerer 0\ndying 0\n");
}

static void a_role_that_dies_is_started_and_linked_again(void **state)
{
    pid_t pid = trial_start();

    (void)state;
    trial_await("state ready\n");
    for (int i = 0; i < 3; i++) {
        pid_t before = trial_pid("answerer");

        assert_int_equal(kill(before, SIGKILL), 0);
        await_answer_of(trial_another("answerer", before));
        trial_await("state ready\n");
    }
    trial_stop(pid);
}

static unsigned count_in_log(const char *word)
{
    unsigned count = 0;

    for (const char *at = trial_contents("../log"); (at = strstr(at, word)) != NULL; at++)
        count++;
    return count;
}

static void a_sibling_past_its_deadline_is_killed(void **state)
{
    pid_t pid = trial_start(), before;

    (void)state;
    trial_await("state ready\n");
    before = trial_pid("answerer");
    kill(pid, SIGUSR1); /* pokes the asker, which has the answerer killed, again and again */
    trial_another("answerer", before);
    trial_await("state ready\n");
    trial_stop(pid);
    /* Said once; on a slow machine its next life may have begun before all was heard. */
    assert_in_range(count_in_log("code=role-deadline"), 1, 10);
}

static void a_role_that_hangs_is_killed_and_started_again(void **state)
{
    pid_t pid = trial_start(), before;

    (void)state;
    trial_await("state ready\n");
    before = trial_pid("answerer");
    trial_put("hang");
    trial_another("answerer", before);
    trial_await("state ready\n");
    trial_stop(pid);
}

static void a_role_that_keeps_dying_does_not_stop_the_others(void **state)
{
    pid_t pid;

    (void)state;
    setenv("TEST_ROLE_DIES", "1", 1);
    pid = trial_start();
    unsetenv("TEST_ROLE_DIES");
    trial_await("ready answered by");
    trial_await("state degraded\n");
    trial_stop(pid);
}

/* While the daemon starts, what is wrong ends it. */
static void a_role_that_cannot_begin_refuses_the_start(void **state)
{
    (void)state;
    trial_put("wrong");
    assert_int_equal(trial_wait(trial_start()), ROLE_EXIT_CONFIG);
}

static unsigned lines_of(const char *name)
{
    unsigned lines = 0;

    for (const char *at = trial_contents(name); (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    return lines;
}

/* Once it runs, only that role waits, until what is wrong is right. */
static void a_role_that_finds_something_wrong_later_is_tried_again(void **state)
{
    pid_t pid = trial_start(), before;

    (void)state;
    trial_await("state ready\n");
    before = trial_pid("asker");
    trial_put("wrong");
    kill(before, SIGKILL);
    trial_await_gone(before);
    trial_await("not-ready cannot begin: something is wrong\n");
    assert_non_null(strstr(trial_await("state degraded\n"), " ready line feed\n"));
    trial_await_in("unfit", "\n");
    /* Tried more than once, told once. */
    TRIAL_UNTIL(lines_of("tried") >= 4);
    assert_string_equal(trial_contents("unfit"), "asker 0: something is wrong\n");
    trial_take_away("wrong");
    trial_await("state ready\n");
    trial_await_in("unfit", "asker 0: fit\n");
    trial_stop(pid);
}

/* Design 1: at any time. */
static void another_vaults_database_ends_the_daemon(void **state)
{
    pid_t pid = trial_start();

    (void)state;
    trial_await("state ready\n");
    trial_put("foreign");
    kill(trial_pid("asker"), SIGKILL);
    assert_int_equal(trial_wait(pid), ROLE_EXIT_CONFIG);
}

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Asked for a hundred times, one channel comes, not before its second is over; the next takes longer. */
static void a_channel_asked_for_comes_after_a_pause(void **state)
{
    pid_t pid = trial_start();
    int64_t began, second;

    (void)state;
    trial_await("state ready\n");
    trial_put("unlink");
    trial_await("linked 1 times");
    trial_take_away("unlink");
    began = now_ms();
    trial_put("relink");
    trial_await("state ready\n");
    assert_true(now_ms() - began >= 900);
    second = now_ms();
    trial_put("unlink");
    trial_await_in("linked", "3 times\n");
    assert_true(now_ms() - second >= 1900);
    trial_await_in("linked", "4 times\n");
    assert_true(now_ms() - second >= 5900); /* of both pauses: who waits may hear late of the end of one */
    trial_take_away("unlink");
    trial_await("state ready\n");
    trial_stop(pid);
}

static void a_role_that_says_too_much_fills_nothing(void **state)
{
    pid_t pid = trial_start();

    (void)state;
    trial_await("state ready\n");
    trial_put("storm");
    kill(pid, SIGUSR1);
    /* What it says last is heard last. */
    TRIAL_UNTIL(lines_of("refused") >= 8);
    trial_await("answered by");
    trial_stop(pid);
    assert_int_equal(lines_of("refused"), 8);
    assert_int_equal(lines_of("unfit"), 0);
}

static void a_role_that_never_stops_talking_holds_up_nobody(void **state)
{
    pid_t pid = trial_start();

    (void)state;
    trial_await("state ready\n");
    trial_put("chatter");
    kill(pid, SIGUSR1);
    trial_await("still here");
    kill(pid, SIGHUP);
    trial_await("reload ");
    trial_take_away("chatter");
    trial_await("answered by");
    trial_stop(pid);
}

/* What it said while the parent did not read is more than is read in a turn, and comes all at once: the parent goes on listening afterwards. */
static void a_role_that_has_said_much_at_once_is_heard_again(void **state)
{
    pid_t pid = trial_start(), before;
    char *answered;

    (void)state;
    trial_await("state ready\n");
    kill(pid, SIGSTOP);
    poll(NULL, 0, 5000);
    kill(pid, SIGCONT);
    before = trial_pid("answerer");
    kill(before, SIGKILL);
    answered = mem_printf("ready answered by %ld\n", (long)trial_another("answerer", before));
    trial_await(answered);
    free(answered);
    trial_stop(pid);
}

static void figures_of_a_role_leave_room_for_others(void **state)
{
    static const char one[] = "\nboasts_total{role=\"asker\",index=\"0\"} 1";
    pid_t pid = trial_start();
    char *path = trial_file(TRIAL_NAME ".prom");
    struct stat st;

    (void)state;
    trial_await("state ready\n");
    trial_put("boast");
    kill(pid, SIGUSR1);
    trial_await_in(TRIAL_NAME ".prom", one);
    assert_int_equal(stat(path, &st), 0);
    assert_in_range(st.st_size, 60 * 1024, 72 * 1024);
    trial_stop(pid);
    free(path);
}

/* Of this code: lines in the log, and how many they say were left out. */
static unsigned said_and_left_out(const char *code)
{
    char *mark = mem_printf(" code=%s ", code);
    unsigned n = 0;

    for (const char *at = trial_contents("../log"); (at = strstr(at, mark)) != NULL;) {
        unsigned left_out = 1;

        at += strlen(mark);
        (void)sscanf(at, "left_out=%u", &left_out);
        n += left_out;
    }
    free(mark);
    return n;
}

/* The roles go on, and say nothing more: what they have not said is told all the same. */
static void a_flood_that_is_followed_by_silence_is_told_in_full(void **state)
{
    pid_t pid = trial_start();

    (void)state;
    trial_await("state ready\n");
    trial_put("babble");
    kill(pid, SIGUSR1);
    TRIAL_UNTIL(said_and_left_out("babble") == ROLE_DAEMON_BABBLE);
    trial_put("babble too");
    TRIAL_UNTIL(said_and_left_out("babble-too") == ROLE_DAEMON_BABBLE);
    assert_in_range(count_in_log(" code=babble"), 2 * 101, 2 * 300);
    trial_stop(pid);
}

static void roles_end_when_their_parent_is_killed(void **state)
{
    pid_t pid = trial_start();

    (void)state;
    trial_await("state ready\n");
    trial_kill(pid); /* and none of them is left */
}

#define TEST(f) cmocka_unit_test_setup(f, trial_clear)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(roles_talk_and_leave_in_order),
        TEST(a_role_that_dies_is_started_and_linked_again),
        TEST(a_sibling_past_its_deadline_is_killed),
        TEST(a_role_that_hangs_is_killed_and_started_again),
        TEST(a_role_that_keeps_dying_does_not_stop_the_others),
        TEST(a_role_that_cannot_begin_refuses_the_start),
        TEST(a_role_that_finds_something_wrong_later_is_tried_again),
        TEST(another_vaults_database_ends_the_daemon),
        TEST(a_channel_asked_for_comes_after_a_pause),
        TEST(a_role_that_says_too_much_fills_nothing),
        TEST(a_role_that_never_stops_talking_holds_up_nobody),
        TEST(a_role_that_has_said_much_at_once_is_heard_again),
        TEST(figures_of_a_role_leave_room_for_others),
        TEST(a_flood_that_is_followed_by_silence_is_told_in_full),
        TEST(roles_end_when_their_parent_is_killed),
    };

    if (argc > 1)
        return daemon_main(&role_daemon, argc, argv);
    return cmocka_run_group_tests_name("role", tests, role_daemon_make, trial_remove);
}
