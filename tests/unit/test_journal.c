/*
 * The journal role and its writers, as real processes without a broker: what is written is on disk, whatever dies. This program is its own daemon when it is given
 * arguments, and the test of it when not.
 */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/journal/journal.h"
#include "common/values/log.h"

enum { WRITERS = 2, BURST = 50000 /* records of each */, PATIENCE_MS = 120000 };

/* ---- the daemon ------------------------------------------------------------------------------------------------------------ */

struct duty {
    struct role *role;
    struct journal *journal;
    struct channel *channel; /* the rude one's */
    bool drained;
};

static void linked(void *ctx, const char *kind, unsigned index, struct channel *c)
{
    struct duty *d = ctx;

    (void)kind;
    (void)index;
    if (d->journal != NULL) {
        journal_link(d->journal, c);
        return;
    }
    channel_free(d->channel);
    d->channel = c;
}

static void drain(void *ctx)
{
    ((struct duty *)ctx)->drained = true;
}

static const struct role_events events = {.linked = linked, .drain = drain};

static void write_one(struct duty *d, unsigned n)
{
    char number[16];
    struct journal_field fields[2] = {JOURNAL_TEXT("peer", "192.0.2.7:50000")};

    snprintf(number, sizeof number, "%u", n);
    fields[1] = (struct journal_field)JOURNAL_TEXT("n", number);
    journal_write(d->journal, "session-refused", fields, 2);
}

/* A burst in one go, as fast as it can: nothing here waits for anybody. */
static int run_writer(struct role *self)
{
    struct duty d = {.role = self, .journal = journal_open(self)};

    role_on(self, &events, &d);
    if (getenv("TEST_JOURNAL_LINKED") != NULL)
        while (journal_trouble(d.journal) != NULL && strstr(journal_trouble(d.journal), "away") != NULL && role_poll(self, 20))
            ;
    for (unsigned n = 0; n < BURST; n++)
        write_one(&d, n);
    role_ready(self, true, "written");
    while (role_poll(self, 5) && !d.drained)
        journal_serve(d.journal);
    journal_free(d.journal);
    return d.drained ? 0 : 1;
}

/* Says what no writer says, and waits to be cut off. */
static int run_rude(struct role *self)
{
    struct duty d = {.role = self};
    bool said = false;

    role_on(self, &events, &d);
    while (role_poll(self, 5) && !d.drained) {
        struct channel_message m;
        struct err e = {0};
        enum channel_result r = CHANNEL_EMPTY;

        if (d.channel == NULL)
            continue;
        if (!said)
            said = channel_send(d.channel, JOURNAL_RECORD, SLICE_LITERAL("{\"event\":\"role-bound\"}"), &e) && channel_flush(d.channel, &e);
        while (said && (r = channel_receive(d.channel, &m, &e)) == CHANNEL_MESSAGE)
            ;
        if (r == CHANNEL_CLOSED) {
            channel_free(d.channel);
            d.channel = NULL;
            role_ready(self, true, "cut off");
        }
    }
    channel_free(d.channel);
    return d.drained ? 0 : 1;
}

static const char *no_file(const struct settings *s)
{
    return s->ingest.key;
}

static int run_journal(struct role *self)
{
    static const struct journal_duty duty = {no_file, no_file};

    return journal_role_run(self, &duty);
}

static unsigned writers(const struct settings *s)
{
    (void)s;
    return WRITERS;
}

static uint64_t drain_ms(const struct settings *s)
{
    (void)s;
    return PATIENCE_MS;
}

static const struct role_kind kinds[] = {
    {.name = "writer", .run = run_writer, .instances = writers, .drain_stage = 0},
    {.name = "rude", .run = run_rude, .drain_stage = 0},
    {.name = "journal", .run = run_journal, .links = {"writer", "rude"}, .drain_stage = 1},
};

static const struct daemon tested = {.name = "coffre-test", .part = SETTINGS_INGEST, .kinds = kinds, .kind_count = 3, .drain_ms = drain_ms, .summary = "for the test"};

/* ---- what it leaves --------------------------------------------------------------------------------------------------------- */

static char folder[] = "/tmp/coffre-journal-XXXXXX";
static char config[64], text[65536];

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

static void await(const char *file, const char *what)
{
    for (int i = 0; i < PATIENCE_MS / 20 && strstr(contents(file), what) == NULL; i++)
        poll(NULL, 0, 20);
    if (strstr(text, what) == NULL)
        print_error("never said \"%s\":\n%s", what, text);
    assert_non_null(strstr(text, what));
}

static void await_written(void)
{
    char *line[WRITERS];

    for (unsigned i = 0; i < WRITERS; i++) {
        bool there = false;

        line[i] = mem_printf("role writer %u pid ", i);
        for (int k = 0; k < PATIENCE_MS / 20 && !there; k++) {
            const char *at = strstr(contents("coffre-test.status"), line[i]), *end = at == NULL ? NULL : strchr(at, '\n'),
                       *word = at == NULL ? NULL : strstr(at, "written");

            there = word != NULL && end != NULL && word < end;
            poll(NULL, 0, 20);
        }
        assert_true(there);
        free(line[i]);
    }
}

static pid_t start(const char *spool)
{
    FILE *out = fopen(config, "w");
    char *log;
    pid_t pid;

    assert_non_null(out);
    fprintf(out,
            "vault: {operator: \"4512\", number: 1}\nstate_dir: state\nrabbitmq: {host: localhost, port: 1, ca: c}\n"
            "postgresql: {conninfo: x}\noperator: {ca: c}\nregulator: {ca: c, recipients: [r]}\njournal: {spool_bytes: %s}\n"
            "ingest: {certificate: c, key: k, rabbitmq_certificate: c, rabbitmq_key: k, pack_keys: [p], dedup_key: d}\n",
            spool);
    fclose(out);
    log = mem_printf("%s/state/coffre-test.status", folder);
    unlink(log); /* what an earlier daemon said */
    free(log);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int fd;

        log = mem_printf("%s/log", folder);
        fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);

        dup2(fd, STDERR_FILENO);
        execl("/proc/self/exe", "test_journal", "--config", config, (char *)NULL);
        _exit(127);
    }
    return pid;
}

static void stop(pid_t pid)
{
    int status;

    kill(pid, SIGTERM);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* What the spool holds: how often each record of the burst is there, and how many lines in all. */
static unsigned held[BURST];
static unsigned lines, started, stopped;
static char last[256];

static void read_file(const char *path)
{
    static char line[JOURNAL_RECORD_MAX + 2];
    FILE *in = fopen(path, "r");

    assert_non_null(in);
    while (fgets(line, sizeof line, in) != NULL) {
        const char *n = strstr(line, "\"n\":\"");

        lines++;
        started += strstr(line, "\"event\":\"daemon-started\"") != NULL;
        stopped += strstr(line, "\"event\":\"daemon-stopped\"") != NULL;
        if (n != NULL && atoi(n + 5) < BURST)
            held[atoi(n + 5)]++;
        snprintf(last, sizeof last, "%.200s", line);
    }
    fclose(in);
}

static void read_spool(void)
{
    char *pattern = mem_printf("%s/state/journal-coffre-test/*.ndjson", folder);
    glob_t found;

    memset(held, 0, sizeof held);
    lines = started = stopped = 0;
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++)
        read_file(found.gl_pathv[i]);
    globfree(&found);
    free(pattern);
}

static unsigned long figure(const char *name)
{
    char *key = mem_printf("\n%s{role=\"journal\",index=\"0\"} ", name);
    const char *at = strstr(contents("coffre-test.prom"), key);
    unsigned long value = at == NULL ? 0 : strtoul(at + strlen(key), NULL, 10);

    free(key);
    return value;
}

/* Until the journal role has all of the bursts. */
static void await_taken(void)
{
    for (int i = 0; i < PATIENCE_MS / 100 && figure("coffre_journal_records_total") < WRITERS * BURST; i++)
        poll(NULL, 0, 100);
    assert_int_equal(figure("coffre_journal_records_total"), WRITERS * BURST);
}

/* ---- the test --------------------------------------------------------------------------------------------------------------- */

static void a_burst_is_on_disk_once_and_in_order(void **state)
{
    char *figures = mem_printf("%s/state/coffre-test.prom", folder);
    pid_t pid = start("256MiB");

    (void)state;
    await_written();
    await("coffre-test.status", "cut off"); /* which touches nobody else */
    await_taken();
    stop(pid);
    read_spool();
    for (unsigned n = 0; n < BURST; n++)
        assert_int_equal(held[n], WRITERS);
    assert_int_equal(lines, WRITERS * BURST + 2);
    assert_int_equal(started, 1);
    assert_int_equal(stopped, 1);
    assert_non_null(strstr(last, "\"event\":\"daemon-stopped\""));
    /* Another start finds all of it, and says that it began. */
    unlink(figures);
    pid = start("256MiB");
    await_written();
    await_taken();
    stop(pid);
    read_spool();
    assert_int_equal(lines, 2 * (WRITERS * BURST + 2));
    assert_int_equal(started, 2);
    free(figures);
}

static void a_killed_journal_role_loses_nothing(void **state)
{
    pid_t pid;

    (void)state;
    memset(held, 0, sizeof held);
    setenv("TEST_JOURNAL_LINKED", "1", 1);
    pid = start("256MiB");
    unsetenv("TEST_JOURNAL_LINKED");
    for (int i = 0; i < 5; i++) {
        const char *at;

        await("coffre-test.status", "role journal 0 pid ");
        at = strstr(text, "role journal 0 pid ");
        if (atol(at + 19) > 0)
            kill((pid_t)atol(at + 19), SIGKILL);
        poll(NULL, 0, 150);
    }
    await_written();
    /* Its last life has not seen all of them: the writers have nothing left when it has the last of each. */
    for (int i = 0; i < PATIENCE_MS / 100 && held[BURST - 1] < WRITERS; i++) {
        read_spool();
        poll(NULL, 0, 100);
    }
    stop(pid);
    read_spool();
    for (unsigned n = 0; n < BURST; n++)
        assert_true(held[n] >= WRITERS);
    assert_int_equal(started, 1); /* the daemon itself was started once only */
    assert_int_equal(stopped, 1);
}

static void a_killed_daemon_is_told_apart_from_a_stopped_one(void **state)
{
    pid_t pid = start("256MiB");

    (void)state;
    await_written();
    await("coffre-test.status", "cut off");
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    poll(NULL, 0, 500);
    pid = start("256MiB");
    await_written();
    stop(pid);
    read_spool();
    assert_int_equal(started, 2);
    assert_int_equal(stopped, 1);
}

static void a_full_spool_counts_and_blocks_nobody(void **state)
{
    pid_t pid = start("1MiB");
    unsigned long lost = 0;

    (void)state;
    await_written();
    await_taken();
    lost = figure("coffre_journal_lost_total");
    assert_true(figure("coffre_journal_spool_bytes") <= 1 << 20);
    stop(pid);
    read_spool();
    assert_int_equal(lines + lost, WRITERS * BURST + 1); /* with daemon-started; daemon-stopped has no room */
}

static int make_folder(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(config, sizeof config, "%s/coffre.yml", folder);
    return 0;
}

static int clear(void **state)
{
    char *command = mem_printf("rm -rf %s/*", folder);
    int status = system(command);

    (void)state;
    free(command);
    return status;
}

static int remove_folder(void **state)
{
    return clear(state) != 0 || rmdir(folder) != 0;
}

#define TEST(f) cmocka_unit_test_setup(f, clear)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(a_burst_is_on_disk_once_and_in_order),
        TEST(a_killed_journal_role_loses_nothing),
        TEST(a_killed_daemon_is_told_apart_from_a_stopped_one),
        TEST(a_full_spool_counts_and_blocks_nobody),
    };

    if (argc > 1)
        return daemon_main(&tested, argc, argv);
    return cmocka_run_group_tests_name("journal", tests, make_folder, remove_folder);
}
