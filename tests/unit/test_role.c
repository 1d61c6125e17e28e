/*
 * The shape of every daemon, with real processes: this program is its own daemon (two kinds of roles that talk to each
 * other) when it is given arguments, and the test of it when not.
 */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/system/role.h"
#include "common/values/log.h"

/* ---- the daemon ------------------------------------------------------------------------------------------------------------ */

struct duty {
    struct role *role;
    struct channel *peer;
    bool drained, poked;
    const char *refuses; /* a file in the state folder: while it is there, no reload is taken */
};

static void linked(void *ctx, const char *kind, unsigned index, struct channel *c)
{
    struct duty *d = ctx;

    (void)kind;
    (void)index;
    channel_free(d->peer);
    d->peer = c;
}

/* Leaves a trace of the order in which roles were asked to finish. */
static void drain(void *ctx)
{
    struct duty *d = ctx;
    char *path = mem_printf("%s/order", role_settings(d->role)->state_dir);
    FILE *out = fopen(path, "a");

    if (out != NULL) {
        fprintf(out, "%s %u\n", role_kind_name(d->role), role_index(d->role));
        fclose(out);
    }
    free(path);
    d->drained = true;
}

static void poke(void *ctx)
{
    ((struct duty *)ctx)->poked = true;
}

static void reload(void *ctx, const struct settings *fresh)
{
    struct duty *d = ctx;
    char *path = mem_printf("%s/%s", fresh->state_dir, d->refuses);

    if (access(path, F_OK) == 0)
        role_reload_refused(d->role, "not\ntoday");
    free(path);
}

static void report(struct duty *d)
{
    role_metrics(d->role, "# a comment\nplain_total 1\nwith_labels{a=\"b\"} 2\n");
}

/* Asks its peer's process number and tells it to the parent. */
static int run_asker(struct role *self)
{
    static const struct role_events events = {.linked = linked, .drain = drain, .reload = reload, .poke = poke};
    struct duty d = {.role = self, .refuses = "refuse"};

    if (getenv("TEST_ROLE_REFUSES") != NULL)
        return ROLE_EXIT_CONFIG;
    role_on(self, &events, &d);
    report(&d);
    while (role_poll(self, 20) && !d.drained) {
        struct channel_message m;
        struct err e = {0};

        if (d.peer == NULL)
            continue;
        if (d.poked)
            role_kill_sibling(self, "answerer", 0);
        d.poked = false;
        if (!channel_send(d.peer, 1, SLICE_LITERAL("who"), &e) || channel_wait(d.peer, &m, 500, &e) != CHANNEL_MESSAGE) {
            role_ready(self, false, "nobody answers");
            channel_free(d.peer);
            d.peer = NULL;
            continue;
        }
        role_ready(self, true, "answered by %.*s", SLICE_ARGS(m.body));
    }
    channel_free(d.peer);
    return d.drained ? 0 : 1;
}

static int run_answerer(struct role *self)
{
    static const struct role_events events = {.linked = linked, .drain = drain};
    struct duty d = {.role = self};
    char me[32], *hang;

    hang = mem_printf("%s/hang", role_settings(self)->state_dir);
    role_on(self, &events, &d);
    role_ready(self, prctl(PR_GET_DUMPABLE) == 0 && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1, "line\nfeed");
    snprintf(me, sizeof me, "%ld", (long)getpid());
    while (role_poll(self, 5) && !d.drained) {
        struct channel_message m;

        while (strcmp(role_kind_name(self), "answerer") == 0 && access(hang, F_OK) == 0 && unlink(hang) == 0)
            pause(); /* for ever: nothing wakes it */
        if (d.peer == NULL)
            continue;
        if (channel_receive(d.peer, &m, NULL) == CHANNEL_MESSAGE &&
            (!channel_send(d.peer, 2, slice_text(me), NULL) || !channel_flush(d.peer, NULL)))
            break;
    }
    channel_free(d.peer);
    free(hang);
    return d.drained ? 0 : 1;
}

/* Started again for ever, less and less often. */
static int run_dying(struct role *self)
{
    (void)self;
    return getenv("TEST_ROLE_DIES") != NULL ? 3 : run_answerer(self);
}

static const struct role_kind kinds[] = {
    {.name = "asker", .run = run_asker, .links = {"answerer"}, .drain_stage = 0},
    {.name = "answerer", .run = run_answerer, .prompt = true, .drain_stage = 1},
    {.name = "dying", .run = run_dying, .drain_stage = 2},
};

static const struct daemon tested = {.name = "coffre-test", .part = SETTINGS_INGEST, .kinds = kinds, .kind_count = 3,
                                     .poke_kind = "asker", .silence_ms = 4000, .summary = "for the test"};

/* ---- the test --------------------------------------------------------------------------------------------------------------- */

static char folder[] = "/tmp/coffre-role-XXXXXX";
static char config[64], text[8192];

static const char *contents(const char *name)
{
    char *path = mem_printf("%s/state/%s", folder, name);
    FILE *in = fopen(path, "r");
    size_t n = in == NULL ? 0 : fread(text, 1, sizeof text - 1, in);

    text[n] = '\0';
    if (in != NULL)
        fclose(in);
    free(path);
    return text;
}

static pid_t start(void)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY);

        dup2(null, STDERR_FILENO);
        execl("/proc/self/exe", "test_role", "--config", config, (char *)NULL);
        _exit(127);
    }
    return pid;
}

/* Waits until the status file says `what`; a bound so generous that only a defect reaches it. */
static void await(const char *what)
{
    for (int i = 0; i < 3000 && strstr(contents("coffre-test.status"), what) == NULL; i++)
        poll(NULL, 0, 10);
    if (strstr(text, what) == NULL)
        print_error("never said \"%s\":\n%s", what, text);
    assert_non_null(strstr(text, what));
}

static long pid_of(const char *kind)
{
    char *line = mem_printf("role %s 0 pid ", kind);
    const char *at = strstr(contents("coffre-test.status"), line);
    long pid = at == NULL ? 0 : atol(at + strlen(line));

    free(line);
    assert_true(pid > 0);
    return pid;
}

static int finish(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void roles_talk_and_leave_in_order(void **state)
{
    pid_t pid = start();
    char *answered;

    (void)state;
    await("state ready\n");
    answered = mem_printf("ready answered by %ld\n", pid_of("answerer"));
    await(answered);
    await("ready line feed\n");
    for (int i = 0; i < 3000 && strstr(contents("coffre-test.prom"), "plain_total") == NULL; i++)
        poll(NULL, 0, 10);
    assert_non_null(strstr(text, "\nplain_total{role=\"asker\",index=\"0\"} 1\n"));
    assert_non_null(strstr(text, "\nwith_labels{role=\"asker\",index=\"0\",a=\"b\"} 2\n"));
    assert_non_null(strstr(text, "coffre_role_ready{role=\"answerer\",index=\"0\"} 1\n"));
    assert_int_equal(kill(pid, SIGTERM), 0);
    assert_int_equal(finish(pid), 0);
    assert_string_equal(contents("order"), "asker 0\nanswerer 0\ndying 0\n");
    free(answered);
}

static void a_role_that_dies_is_started_and_linked_again(void **state)
{
    pid_t pid = start();

    (void)state;
    await("state ready\n");
    for (int i = 0; i < 3; i++) {
        long before = pid_of("answerer");
        char *dead = mem_printf("pid %ld", before), *answered;

        assert_int_equal(kill((pid_t)before, SIGKILL), 0);
        for (int k = 0; k < 3000 && strstr(contents("coffre-test.status"), dead) != NULL; k++)
            poll(NULL, 0, 10);
        await("state ready\n");
        assert_int_not_equal(pid_of("answerer"), before);
        answered = mem_printf("ready answered by %ld\n", pid_of("answerer"));
        await(answered);
        free(dead);
        free(answered);
    }
    kill(pid, SIGTERM);
    assert_int_equal(finish(pid), 0);
}

static void a_sibling_past_its_deadline_is_killed(void **state)
{
    pid_t pid = start();
    long before;
    char *dead;

    (void)state;
    await("state ready\n");
    before = pid_of("answerer");
    dead = mem_printf("pid %ld", before);
    kill(pid, SIGUSR1); /* pokes the asker, which has the answerer killed */
    for (int k = 0; k < 3000 && strstr(contents("coffre-test.status"), dead) != NULL; k++)
        poll(NULL, 0, 10);
    await("state ready\n");
    assert_int_not_equal(pid_of("answerer"), before);
    kill(pid, SIGTERM);
    assert_int_equal(finish(pid), 0);
    free(dead);
}

static void a_role_that_hangs_is_killed_and_started_again(void **state)
{
    pid_t pid = start();
    long before;
    char *hang = mem_printf("%s/state/hang", folder), *dead;

    (void)state;
    await("state ready\n");
    before = pid_of("answerer");
    dead = mem_printf("pid %ld", before);
    close(open(hang, O_WRONLY | O_CREAT, 0600));
    for (int k = 0; k < 3000 && strstr(contents("coffre-test.status"), dead) != NULL; k++)
        poll(NULL, 0, 10);
    assert_null(strstr(text, dead));
    await("state ready\n");
    assert_int_not_equal(pid_of("answerer"), before);
    kill(pid, SIGTERM);
    assert_int_equal(finish(pid), 0);
    free(hang);
    free(dead);
}

static void a_role_that_keeps_dying_does_not_stop_the_others(void **state)
{
    pid_t pid;

    (void)state;
    setenv("TEST_ROLE_DIES", "1", 1);
    pid = start();
    unsetenv("TEST_ROLE_DIES");
    await("ready answered by");
    await("state degraded\n");
    kill(pid, SIGTERM);
    assert_int_equal(finish(pid), 0);
}

static void a_role_that_refuses_stops_the_daemon(void **state)
{
    pid_t pid;

    (void)state;
    setenv("TEST_ROLE_REFUSES", "1", 1);
    pid = start();
    unsetenv("TEST_ROLE_REFUSES");
    assert_int_equal(finish(pid), ROLE_EXIT_CONFIG);
}

static void a_reload_that_a_role_refuses_is_not_said_to_be_done(void **state)
{
    pid_t pid = start();
    char *refuse = mem_printf("%s/state/refuse", folder), *dead;
    long before;

    (void)state;
    await("state ready\n");
    assert_null(strstr(text, "\nreload "));
    kill(pid, SIGHUP);
    await(" done\n");
    close(open(refuse, O_WRONLY | O_CREAT, 0600));
    kill(pid, SIGHUP);
    await(" refused asker 0: not today\n");
    for (int i = 0; i < 3000 && strstr(contents("coffre-test.prom"), "coffre_reloads_total{result=\"partial\"} 1\n") == NULL; i++)
        poll(NULL, 0, 10);
    assert_non_null(strstr(text, "coffre_reloads_total{result=\"partial\"} 1\n"));
    /* Started again, it has what is in force. */
    before = pid_of("asker");
    dead = mem_printf("pid %ld", before);
    kill((pid_t)before, SIGKILL);
    for (int i = 0; i < 3000 && strstr(contents("coffre-test.status"), dead) != NULL; i++)
        poll(NULL, 0, 10);
    await("state ready\n");
    assert_null(strstr(text, " refused "));
    unlink(refuse);
    kill(pid, SIGHUP);
    await(" done\n");
    kill(pid, SIGTERM);
    assert_int_equal(finish(pid), 0);
    free(refuse);
    free(dead);
}

/* The configuration names a file "d", read once. */
static void a_file_read_once_that_changes_needs_a_start(void **state)
{
    char *key = mem_printf("%s/d", folder);
    pid_t pid;
    FILE *out;

    (void)state;
    close(open(key, O_WRONLY | O_CREAT, 0600));
    pid = start();
    await("state ready\n");
    kill(pid, SIGHUP);
    await(" done\n");
    assert_null(strstr(text, "restart-needed"));
    out = fopen(key, "w");
    assert_non_null(out);
    fputs("another", out);
    fclose(out);
    await("restart-needed ingest.dedup_key\n");
    kill(pid, SIGTERM);
    assert_int_equal(finish(pid), 0);
    unlink(key);
    free(key);
}

static void roles_end_when_their_parent_is_killed(void **state)
{
    pid_t pid = start();
    long asker, answerer;
    bool gone = false;

    (void)state;
    await("state ready\n");
    asker = pid_of("asker");
    answerer = pid_of("answerer");
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    for (int i = 0; i < 3000 && !gone; i++) {
        char a[64], b[64];

        /* A zombie adopted by a sleepy init still counts as ended. */
        snprintf(a, sizeof a, "/proc/%ld/exe", asker);
        snprintf(b, sizeof b, "/proc/%ld/exe", answerer);
        gone = readlink(a, text, 1) < 0 && readlink(b, text, 1) < 0;
        poll(NULL, 0, 10);
    }
    assert_true(gone);
}

static void a_wrong_configuration_starts_nothing(void **state)
{
    FILE *out = fopen(config, "a");
    pid_t pid;

    (void)state;
    assert_non_null(out);
    fputs("colour: red\n", out);
    fclose(out);
    pid = start();
    assert_int_equal(finish(pid), ROLE_EXIT_CONFIG);
}

static int make_folder(void **state)
{
    FILE *out;

    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(config, sizeof config, "%s/coffre.yml", folder);
    out = fopen(config, "w");
    if (out == NULL)
        return -1;
    fputs("vault: {operator: \"4512\", number: 1}\nstate_dir: state\nrabbitmq: {host: h, ca: c}\n"
          "postgresql: {conninfo: x}\noperator: {ca: c}\nregulator: {ca: c, recipients: [r]}\n"
          "ingest: {certificate: c, key: k, rabbitmq_certificate: c, rabbitmq_key: k, pack_keys: [p], dedup_key: d}\n",
          out);
    return fclose(out);
}

static int remove_folder(void **state)
{
    char *command = mem_printf("rm -rf %s", folder);
    int status = system(command);

    (void)state;
    free(command);
    return status;
}

/* Each test has its own state folder: what an earlier daemon left there says nothing about this one. */
static int clear_state(void **state)
{
    char *command = mem_printf("rm -rf %s/state", folder);
    int status = system(command);

    (void)state;
    free(command);
    return status;
}

#define TEST(f) cmocka_unit_test_setup(f, clear_state)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(roles_talk_and_leave_in_order),
        TEST(a_role_that_dies_is_started_and_linked_again),
        TEST(a_sibling_past_its_deadline_is_killed),
        TEST(a_role_that_hangs_is_killed_and_started_again),
        TEST(a_role_that_keeps_dying_does_not_stop_the_others),
        TEST(a_role_that_refuses_stops_the_daemon),
        TEST(a_reload_that_a_role_refuses_is_not_said_to_be_done),
        TEST(a_file_read_once_that_changes_needs_a_start),
        TEST(roles_end_when_their_parent_is_killed),
        TEST(a_wrong_configuration_starts_nothing),
    };

    if (argc > 1)
        return daemon_main(&tested, argc, argv);
    return cmocka_run_group_tests_name("role", tests, make_folder, remove_folder);
}
