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
    unsigned links;      /* channels to its peer that it has been given */
};

static bool there(const struct role *self, const char *name)
{
    char *path = mem_printf("%s/%s", role_settings(self)->state_dir, name);
    bool is = access(path, F_OK) == 0;

    free(path);
    return is;
}

static void linked(void *ctx, const char *kind, unsigned index, struct channel *c)
{
    struct duty *d = ctx;

    (void)kind;
    (void)index;
    channel_free(d->peer);
    d->peer = c;
    d->links++;
}

/* Leaves a trace of what others are said to be unable to do. */
static void unfit(void *ctx, const char *kind, unsigned index, const char *why)
{
    struct duty *d = ctx;
    char *path = mem_printf("%s/unfit", role_settings(d->role)->state_dir);
    FILE *out = strcmp(role_kind_name(d->role), "answerer") == 0 ? fopen(path, "a") : NULL;

    if (out != NULL) {
        fprintf(out, "%s %u: %s\n", kind, index, why == NULL ? "fit" : why);
        fclose(out);
    }
    free(path);
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

/* Leaves a trace of what is said to be refused. */
static void refused(void *ctx, const char *why)
{
    struct duty *d = ctx;
    char *path = mem_printf("%s/refused", role_settings(d->role)->state_dir);
    FILE *out = strcmp(role_kind_name(d->role), "answerer") == 0 ? fopen(path, "a") : NULL;

    if (out != NULL) {
        fprintf(out, "%s\n", why);
        fclose(out);
    }
    free(path);
}

/* As a role that was taken over would: each of these is a line of the log and a record of the journal, if the parent lets it. */
static void storm(struct role *self)
{
    for (unsigned i = 0; i < 1000; i++) {
        struct err why = {0};

        err_set(&why, ERR_INPUT, "wrong %u", i);
        if (role_unfit(self, &why) != ROLE_EXIT_UNFIT)
            return;
        role_ready(self, true, "right %u", i);
        role_reload_refused(self, "refused %u", i);
    }
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
    struct err why = {0};

    if (there(self, "foreign") || there(self, "wrong")) {
        err_set(&why, there(self, "foreign") ? ERR_FOREIGN : ERR_INPUT, "something is wrong");
        return role_unfit(self, &why);
    }
    role_on(self, &events, &d);
    report(&d);
    while (role_poll(self, 20) && !d.drained) {
        struct channel_message m;
        struct err e = {0};

        if (d.peer != NULL && there(self, "unlink")) {
            channel_free(d.peer);
            d.peer = NULL;
        }
        if (d.peer == NULL && there(self, "relink"))
            for (unsigned i = 0; i < 5; i++)
                role_relink(self, "answerer", 0);
        if (d.peer == NULL) {
            role_ready(self, false, "linked %u times", d.links);
            continue;
        }
        if (d.poked && there(self, "storm"))
            storm(self);
        else if (d.poked)
            role_kill_sibling(self, "answerer", 0);
        d.poked = false;
        if (!channel_send(d.peer, 1, SLICE_LITERAL("who"), &e) || channel_wait(d.peer, &m, 20000, &e) != CHANNEL_MESSAGE) {
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
    static const struct role_events events = {.linked = linked, .drain = drain, .unfit = unfit, .refused = refused};
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
            (!channel_send(d.peer, 2, slice_text(me), NULL) || !channel_flush(d.peer, NULL))) {
            channel_free(d.peer);
            d.peer = NULL;
        }
    }
    channel_free(d.peer);
    free(hang);
    return d.drained ? 0 : 1;
}

/* Started again for ever, less and less often. */
static int run_dying(struct role *self)
{
    /* Another name than the one the parent has read is not this daemon's. */
    if (strcmp(role_node_name(self), getenv("TEST_ROLE_NODE")) != 0)
        return 4;
    return getenv("TEST_ROLE_DIES") != NULL ? 3 : run_answerer(self);
}

static const struct role_kind kinds[] = {
    {.name = "asker", .run = run_asker, .links = {"answerer"}, .drain_stage = 0},
    {.name = "answerer", .run = run_answerer, .prompt = true, .drain_stage = 1},
    {.name = "dying", .run = run_dying, .drain_stage = 2},
};

/* A disk that does not answer. */
static bool check(const struct settings *s, struct err *e)
{
    char *path = mem_printf("%s/block", s->state_dir);

    (void)e;
    while (access(path, F_OK) == 0)
        pause();
    free(path);
    return true;
}

static const struct daemon tested = {.name = "coffre-test", .part = SETTINGS_INGEST, .kinds = kinds, .kind_count = 3,
                                     .poke_kind = "asker", .silence_ms = 4000, .check_ms = 1000, .check = check, .summary = "for the test"};

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

static int write_config(void)
{
    FILE *out = fopen(config, "w");

    if (out == NULL)
        return -1;
    fputs("vault: {operator: \"4512\", number: 1}\nstate_dir: state\nrabbitmq: {host: h, ca: c}\n"
          "postgresql: {conninfo: x}\noperator: {ca: c}\nregulator: {ca: c, recipients: [r]}\n"
          "ingest: {certificate: c, key: k, rabbitmq_certificate: c, rabbitmq_key: k, pack_keys: [p], dedup_key: d}\n",
          out);
    return fclose(out);
}

static void put(const char *name)
{
    char *path = mem_printf("%s/state/%s", folder, name);

    close(open(path, O_WRONLY | O_CREAT, 0600));
    free(path);
}

static void take_away(const char *name)
{
    char *path = mem_printf("%s/state/%s", folder, name);

    assert_int_equal(unlink(path), 0);
    free(path);
}

static pid_t start(void)
{
    char node[256] = "";
    pid_t pid;

    gethostname(node, sizeof node - 1);
    setenv("TEST_ROLE_NODE", node, 1);
    pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY);

        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that failed leaves nothing behind */
        dup2(null, STDOUT_FILENO);
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

/* Waits until another process than `before` has this duty and is ready; its number. */
static long await_another(const char *kind, long before)
{
    char *line = mem_printf("role %s 0 pid ", kind);
    long pid = 0;

    for (int i = 0; i < 3000 && (pid == 0 || pid == before); i++) {
        const char *at = strstr(contents("coffre-test.status"), line);
        char word[20] = "";

        if (at == NULL || sscanf(at + strlen(line), "%ld %19s", &pid, word) != 2 || strcmp(word, "ready") != 0)
            pid = 0;
        poll(NULL, 0, 10);
    }
    free(line);
    assert_true(pid != 0 && pid != before);
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

/* While the daemon starts, what is wrong ends it. */
static void a_role_that_cannot_begin_refuses_the_start(void **state)
{
    char *path;

    (void)state;
    path = mem_printf("%s/state", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    free(path);
    put("wrong");
    assert_int_equal(finish(start()), ROLE_EXIT_CONFIG);
}

static void is_gone(long before)
{
    char *dead = mem_printf("pid %ld ", before);

    for (int i = 0; i < 3000 && strstr(contents("coffre-test.status"), dead) != NULL; i++)
        poll(NULL, 0, 10);
    assert_null(strstr(text, dead));
    free(dead);
}

/* Once it runs, only that role waits, until what is wrong is right. */
static void a_role_that_finds_something_wrong_later_is_tried_again(void **state)
{
    pid_t pid = start();
    long before;

    (void)state;
    await("state ready\n");
    before = pid_of("asker");
    put("wrong");
    kill((pid_t)before, SIGKILL);
    is_gone(before);
    await("not-ready cannot begin: something is wrong\n");
    await("state degraded\n");
    assert_non_null(strstr(text, " ready line feed\n"));
    for (int i = 0; i < 3000 && *contents("unfit") == '\0'; i++)
        poll(NULL, 0, 10);
    /* Tried more than once, told once. */
    poll(NULL, 0, 2000);
    assert_string_equal(contents("unfit"), "asker 0: something is wrong\n");
    take_away("wrong");
    await("state ready\n");
    for (int i = 0; i < 3000 && strstr(contents("unfit"), "asker 0: fit\n") == NULL; i++)
        poll(NULL, 0, 10);
    assert_non_null(strstr(text, "asker 0: fit\n"));
    kill(pid, SIGTERM);
    assert_int_equal(finish(pid), 0);
}

/* Design 1: at any time. */
static void another_vaults_database_ends_the_daemon(void **state)
{
    pid_t pid = start();

    (void)state;
    await("state ready\n");
    put("foreign");
    kill((pid_t)pid_of("asker"), SIGKILL);
    assert_int_equal(finish(pid), ROLE_EXIT_CONFIG);
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
    pid_t pid = start();
    int64_t began, second;

    (void)state;
    await("state ready\n");
    put("unlink");
    await("linked 1 times");
    take_away("unlink");
    began = now_ms();
    put("relink");
    await("state ready\n");
    assert_true(now_ms() - began >= 900);
    second = now_ms();
    put("unlink");
    await("linked 2 times");
    await("linked 3 times");
    assert_true(now_ms() - second >= 1900);
    second = now_ms();
    await("linked 4 times");
    assert_true(now_ms() - second >= 3000);
    take_away("unlink");
    await("state ready\n");
    kill(pid, SIGTERM);
    assert_int_equal(finish(pid), 0);
}

static unsigned reloads(void)
{
    const char *at = strstr(contents("coffre-test.prom"), "coffre_reloads_total{result=\"done\"} ");

    return at == NULL ? 0 : (unsigned)atoi(at + strlen("coffre_reloads_total{result=\"done\"} "));
}

static void await_reloads(unsigned count)
{
    for (int i = 0; i < 3000 && reloads() < count; i++)
        poll(NULL, 0, 10);
    assert_true(reloads() >= count);
}

/* Many reloads fill what a stopped role does not read: the parent serves the others, and tells it in the end. */
static void a_role_that_is_stopped_stops_nobody_else(void **state)
{
    FILE *out = fopen(config, "a");
    long asker, answerer;
    unsigned done = 0;
    char *answered;
    pid_t pid;

    (void)state;
    assert_non_null(out);
    for (unsigned i = 0; i < 2500; i++)
        fprintf(out, "# %094u\n", i);
    fclose(out);
    pid = start();
    await("state ready\n");
    asker = pid_of("asker");
    kill((pid_t)asker, SIGSTOP);
    for (; done < 60 && strstr(contents("coffre-test.status"), " refused asker 0: it does not listen") == NULL; done++) {
        kill(pid, SIGHUP);
        await_reloads(done + 1);
    }
    assert_non_null(strstr(text, " refused asker 0: it does not listen"));
    answerer = pid_of("answerer");
    for (unsigned i = 0; i < 3; i++) {
        kill((pid_t)answerer, SIGKILL);
        answerer = await_another("answerer", answerer);
    }
    kill(pid, SIGHUP);
    await_reloads(done + 1);
    kill((pid_t)asker, SIGCONT);
    for (int i = 0; i < 3000 && strstr(contents("coffre-test.status"), "it does not listen") != NULL; i++)
        poll(NULL, 0, 10);
    assert_null(strstr(text, "it does not listen"));
    answered = mem_printf("ready answered by %ld\n", answerer);
    await(answered);
    free(answered);
    assert_int_equal(pid_of("asker"), asker);
    /* Nor does it keep the daemon from ending. */
    kill((pid_t)asker, SIGSTOP);
    kill(pid, SIGTERM);
    assert_int_equal(finish(pid), 0);
    assert_int_equal(write_config(), 0);
}

/* Signals by the hundred are a few reloads, and the last of them counts. */
static void a_storm_of_signals_is_a_few_reloads(void **state)
{
    pid_t pid = start();

    (void)state;
    await("state ready\n");
    for (unsigned i = 0; i < 300; i++) {
        kill(pid, SIGHUP);
        poll(NULL, 0, 5);
    }
    await_reloads(2);
    assert_true(reloads() < 30);
    await("state ready\n");
    kill(pid, SIGTERM);
    assert_int_equal(finish(pid), 0);
}

static void a_check_that_does_not_end_is_ended(void **state)
{
    pid_t pid = start();

    (void)state;
    await("state ready\n");
    put("block");
    kill(pid, SIGHUP);
    await(" refused checking the configuration: a file it names cannot be read to its end in 1 s\n");
    await("state ready\n");
    take_away("block");
    kill(pid, SIGHUP);
    await(" done\n");
    kill(pid, SIGTERM);
    assert_int_equal(finish(pid), 0);
}

/* Never quiet for a second: taken all the same. */
static void a_file_that_never_rests_is_read(void **state)
{
    pid_t pid = start();

    (void)state;
    await("state ready\n");
    for (unsigned i = 0; i < 600 && strstr(contents("coffre-test.status"), "\nreload ") == NULL; i++) {
        FILE *out = fopen(config, "a");

        fprintf(out, "# %u\n", i);
        fclose(out);
        poll(NULL, 0, 100);
    }
    assert_non_null(strstr(text, " done\n"));
    kill(pid, SIGTERM);
    assert_int_equal(finish(pid), 0);
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

static unsigned lines_of(const char *name)
{
    unsigned lines = 0;

    for (const char *at = contents(name); (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    return lines;
}

static void a_role_that_says_too_much_fills_nothing(void **state)
{
    pid_t pid = start();

    (void)state;
    await("state ready\n");
    put("storm");
    kill(pid, SIGUSR1);
    /* What it says last is heard last. */
    for (int i = 0; i < 3000 && lines_of("refused") < 8; i++)
        poll(NULL, 0, 10);
    await("answered by");
    kill(pid, SIGTERM);
    assert_int_equal(finish(pid), 0);
    assert_int_equal(lines_of("refused"), 8);
    assert_int_equal(lines_of("unfit"), 0);
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
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(config, sizeof config, "%s/coffre.yml", folder);
    return write_config();
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
        TEST(a_role_that_cannot_begin_refuses_the_start),
        TEST(a_role_that_finds_something_wrong_later_is_tried_again),
        TEST(another_vaults_database_ends_the_daemon),
        TEST(a_channel_asked_for_comes_after_a_pause),
        TEST(a_role_that_is_stopped_stops_nobody_else),
        TEST(a_storm_of_signals_is_a_few_reloads),
        TEST(a_check_that_does_not_end_is_ended),
        TEST(a_file_that_never_rests_is_read),
        TEST(a_reload_that_a_role_refuses_is_not_said_to_be_done),
        TEST(a_role_that_says_too_much_fills_nothing),
        TEST(a_file_read_once_that_changes_needs_a_start),
        TEST(roles_end_when_their_parent_is_killed),
        TEST(a_wrong_configuration_starts_nothing),
    };

    if (argc > 1)
        return daemon_main(&tested, argc, argv);
    return cmocka_run_group_tests_name("role", tests, make_folder, remove_folder);
}
