/*
 * The journal role and its writers, as real processes without a broker: what is written is on disk, whatever dies. This program is its own daemon when it is given
 * arguments, and the test of it when not.
 */
#include "tests/unit/unit.h"

#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/journal/journal.h"
#include "common/values/log.h"
#include "tests/unit/trial.h"

#ifdef __SANITIZE_ADDRESS__
enum { MEMORY_MAX = 768 << 10 };
#else
enum { MEMORY_MAX = 96 << 10 };
#endif

enum { WRITERS = 2, BURST = 50000 /* records of each */, KEPT = 40 /* of the one that must not lose any */, PATIENCE_MS = 120000 };

/* ---- the daemon ------------------------------------------------------------------------------------------------------------ */

struct duty {
    struct role *role;
    struct journal *journal;
    struct channel *channel; /* the rude one's */
    struct channel *before;  /* the greedy one's, when it has another */
    unsigned links;
    bool drained, poked;
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
    channel_free(d->before);
    d->before = d->channel;
    if (strcmp(role_kind_name(d->role), "greedy") != 0) {
        channel_free(d->before);
        d->before = NULL;
    }
    d->channel = c;
    d->links++;
}

static void poke(void *ctx)
{
    ((struct duty *)ctx)->poked = true;
}

static void drain(void *ctx)
{
    ((struct duty *)ctx)->drained = true;
}

static const struct role_events events = {.linked = linked, .drain = drain, .poke = poke};

static void write_one(struct duty *d, unsigned n)
{
    char number[16], writer[16];

    snprintf(number, sizeof number, "%u", n);
    snprintf(writer, sizeof writer, "%u", role_index(d->role));

    const struct journal_field fields[] = {JOURNAL_TEXT("peer", "192.0.2.7:50000"), JOURNAL_TEXT("w", writer), JOURNAL_TEXT("n", number)};

    journal_write(d->journal, "session-refused", fields, 3);
}

/* Whether a front was taken over. The others have little to say then. */
static bool is_overrun(void)
{
    return getenv("TEST_JOURNAL_OVERRUN") != NULL;
}

/* A front, and who has it now: writes for ever, of the longest, faster than any record can be checked. Tells when the spool took no more of it. */
static int run_front(struct role *self)
{
    static char text[8000];
    struct duty d = {.role = self};
    char *record;

    memset(text, 'x', sizeof text - 1);
    record = mem_printf("{\"at\":\"2026-01-31T12:00:00.123Z\",\"operator\":\"4512\",\"vault\":1,\"node\":\"%s\",\"daemon\":\"coffre-test\",\"role\":\"front\","
                        "\"event\":\"session-refused\",\"fields\":{\"reason\":\"%s\"}}", role_node_name(self), text);
    role_on(self, &events, &d);
    while (role_poll(self, is_overrun() && d.channel != NULL ? 0 : 20) && !d.drained) {
        struct channel_message m;

        while (is_overrun() && d.channel != NULL && channel_queued(d.channel) < 1 << 20 && channel_send(d.channel, JOURNAL_RECORD, slice_text(record), NULL))
            ;
        if (d.channel != NULL && !channel_flush(d.channel, NULL))
            break;
        while (d.channel != NULL && channel_receive(d.channel, &m, NULL) == CHANNEL_MESSAGE)
            if (m.type == JOURNAL_STATE && m.body.at[1] == 1)
                role_ready(self, true, "it is full");
    }
    channel_free(d.channel);
    free(record);
    return d.drained ? 0 : 1;
}

/* A burst in one go, as fast as it can: nothing here waits for anybody. */
static int run_writer(struct role *self)
{
    struct duty d = {.role = self, .journal = journal_open(self)};

    role_on(self, &events, &d);
    if (getenv("TEST_JOURNAL_LINKED") != NULL)
        while (journal_trouble(d.journal) != NULL && strstr(journal_trouble(d.journal), "away") != NULL && role_poll(self, 20))
            ;
    for (unsigned n = 0; n < BURST && !is_overrun(); n++)
        write_one(&d, n);
    role_ready(self, true, "written");
    while (role_poll(self, 5) && !d.drained)
        journal_serve(d.journal);
    journal_free(d.journal);
    return d.drained ? 0 : 1;
}

/* Writes, when it is poked, until the last record is on disk: what may be lost is written again. */
static int run_keeper(struct role *self)
{
    struct duty d = {.role = self, .journal = journal_open(self)};
    uint64_t numbers[KEPT], safe = 0;
    unsigned first = 0, rounds = 0;
    bool asked = false;

    role_on(self, &events, &d);
    while (role_poll(self, 5) && !d.drained) {
        journal_serve(d.journal);
        if (!d.poked || first == KEPT)
            continue;
        if (!asked) {
            journal_watch(d.journal);
            for (unsigned n = first; n < KEPT; n++) {
                char number[16];
                struct journal_field field;

                snprintf(number, sizeof number, "%u", n);
                field = (struct journal_field)JOURNAL_TEXT("k", number);
                numbers[n] = journal_write(d.journal, "role-bound", &field, 1);
            }
            asked = true;
        } else if (journal_settled(d.journal, &safe)) {
            while (first < KEPT && numbers[first] < safe)
                first++;
            asked = false;
            role_ready(self, true, first == KEPT ? "all is kept" : rounds++ < 3 ? "some was lost" : "nothing is kept, again and again");
        }
    }
    journal_free(d.journal);
    return d.drained ? 0 : 1;
}

/* True when the journal role has answered that the one record it was sent is lost. */
static bool is_refused(const struct channel_message *m)
{
    static const uint8_t one_and_lost[16] = {[7] = 1, [15] = 1};

    return m->type == JOURNAL_TAKEN && slice_equal(m->body, slice_of(one_and_lost, 16));
}

/* Says what is no record, which is refused, then what no writer says, and is cut off; and is linked again. */
static int run_rude(struct role *self)
{
    struct duty d = {.role = self};
    unsigned said = 0;

    role_on(self, &events, &d);
    while (role_poll(self, 5) && !d.drained) {
        struct channel_message m;
        struct err e = {0};
        enum channel_result r = CHANNEL_EMPTY;

        if (d.links == 2)
            role_ready(self, true, "cut off and linked again");
        if (d.channel == NULL)
            continue;
        if (said == 0)
            said += channel_send(d.channel, JOURNAL_RECORD, SLICE_LITERAL("{\"event\":\"role-bound\"}"), &e) && channel_flush(d.channel, &e);
        while ((r = channel_receive(d.channel, &m, &e)) == CHANNEL_MESSAGE)
            if (said == 1 && is_refused(&m))
                said += channel_send(d.channel, 99, SLICE_LITERAL("?"), &e) && channel_flush(d.channel, &e);
        if (r == CHANNEL_CLOSED) {
            channel_free(d.channel);
            d.channel = NULL;
        }
    }
    channel_free(d.channel);
    return d.drained ? 0 : 1;
}

/* Writes for ever and reads nothing: it is cut off, and linked again; the others have all that is theirs meanwhile. */
static int run_deaf(struct role *self)
{
    struct duty d = {.role = self};
    char *record = mem_printf("{\"at\":\"2026-01-31T12:00:00.123Z\",\"operator\":\"4512\",\"vault\":1,\"node\":\"%s\",\"daemon\":\"coffre-test\",\"role\":\"deaf\","
                              "\"event\":\"session-opened\",\"fields\":{}}", role_node_name(self));
    bool deaf = getenv("TEST_JOURNAL_DEAF") != NULL;

    role_on(self, &events, &d);
    while (role_poll(self, 5) && !d.drained) {
        if (d.links == 2 && deaf)
            role_ready(self, true, "deaf and linked again");
        if (d.channel != NULL && deaf && d.links == 1 && (!channel_send(d.channel, JOURNAL_RECORD, slice_text(record), NULL) || !channel_flush(d.channel, NULL))) {
            channel_free(d.channel);
            d.channel = NULL;
        }
    }
    channel_free(d.channel);
    free(record);
    return d.drained ? 0 : 1;
}

/* Asks for another channel though it has one, and keeps both. What it has said by the first counts. */
static int run_greedy(struct role *self)
{
    struct duty d = {.role = self};
    char *record = mem_printf("{\"at\":\"2026-01-31T12:00:00.123Z\",\"operator\":\"4512\",\"vault\":1,\"node\":\"%s\",\"daemon\":\"coffre-test\",\"role\":\"greedy\","
                              "\"event\":\"role-bound\",\"fields\":{\"k\":\"0\"}}", role_node_name(self));
    bool greedy = getenv("TEST_JOURNAL_GREEDY") != NULL;

    role_on(self, &events, &d);
    while (role_poll(self, 5) && !d.drained) {
        struct channel_message m;
        enum channel_result r = CHANNEL_EMPTY;

        if (!greedy || d.channel == NULL)
            continue;
        if (d.before == NULL && channel_send(d.channel, JOURNAL_RECORD, slice_text(record), NULL) && channel_flush(d.channel, NULL))
            role_relink(self, "journal", 0);
        while (d.before != NULL && (r = channel_receive(d.before, &m, NULL)) == CHANNEL_MESSAGE)
            ;
        if (r == CHANNEL_CLOSED)
            role_ready(self, true, "the channel before has ended");
    }
    channel_free(d.channel);
    channel_free(d.before);
    free(record);
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
    {.name = "keeper", .run = run_keeper, .drain_stage = 0},
    {.name = "deaf", .run = run_deaf, .drain_stage = 0},
    {.name = "greedy", .run = run_greedy, .drain_stage = 0},
    {.name = "front", .run = run_front, .drain_stage = 0},
    {.name = "journal", .run = run_journal, .links = {"front", "writer", "rude", "keeper", "deaf", "greedy"}, .drain_stage = 1},
};

static const struct daemon tested = {.name = TRIAL_NAME, .part = SETTINGS_INGEST, .kinds = kinds, .kind_count = sizeof kinds / sizeof *kinds, .drain_ms = drain_ms, .poke_kind = "keeper", .summary = "for the test"};

/* ---- what it leaves --------------------------------------------------------------------------------------------------------- */

/* Whether the line of the status that begins so says that all is written. */
static bool says_written(const char *line)
{
    const char *at = strstr(trial_status(), line), *end = at == NULL ? NULL : strchr(at, '\n'), *word = at == NULL ? NULL : strstr(at, "written");

    return word != NULL && end != NULL && word < end;
}

static void await_written(void)
{
    for (unsigned i = 0; i < WRITERS; i++) {
        char *line = mem_printf("role writer %u pid ", i);

        TRIAL_UNTIL(says_written(line));
        free(line);
    }
}

/* With a spool of at most so many bytes. */
static void configure(const char *spool)
{
    char *lines = mem_printf("journal: {spool_bytes: %s}\n", spool);

    trial_configure(lines);
    free(lines);
}

static pid_t start(const char *spool)
{
    configure(spool);
    return trial_start();
}

/* What the spool holds: how often each record of the burst is there, and how many lines in all. */
static unsigned held[WRITERS][BURST], next[WRITERS], kept[KEPT];
static unsigned lines, started, stopped, refused;
static char last[512], overflow[512];

static int number_in(const char *line, const char *name)
{
    char *key = mem_printf("\"%s\":\"", name);
    const char *at = strstr(line, key);
    int n = at == NULL ? -1 : atoi(at + strlen(key));

    free(key);
    return n;
}

static void read_line(const char *line)
{
    int n = number_in(line, "n"), w = number_in(line, "w"), k = number_in(line, "k");

    lines++;
    started += strstr(line, "\"event\":\"daemon-started\"") != NULL;
    stopped += strstr(line, "\"event\":\"daemon-stopped\"") != NULL;
    refused += strstr(line, "\"event\":\"record-refused\"") != NULL;
    if (strstr(line, "\"event\":\"journal-overflow\"") != NULL)
        snprintf(overflow, sizeof overflow, "%.500s", line);
    if (n >= 0 && n < BURST && w >= 0 && w < WRITERS) {
        /* In order, but for what was sent again. */
        assert_true((unsigned)n <= next[w]);
        next[w] += (unsigned)n == next[w];
        held[w][n]++;
    }
    if (k >= 0 && k < KEPT)
        kept[k]++;
    snprintf(last, sizeof last, "%.500s", line);
}

static void read_file(const char *path)
{
    static char line[JOURNAL_RECORD_MAX + 2];
    FILE *in = fopen(path, "r");

    assert_non_null(in);
    while (fgets(line, sizeof line, in) != NULL)
        read_line(line);
    fclose(in);
}

static void read_spool(void)
{
    char *pattern = trial_file("journal-" TRIAL_NAME "/*.ndjson");
    glob_t found;

    memset(held, 0, sizeof held);
    memset(next, 0, sizeof next);
    memset(kept, 0, sizeof kept);
    lines = started = stopped = refused = 0;
    *overflow = '\0';
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++)
        read_file(found.gl_pathv[i]);
    globfree(&found);
    free(pattern);
}

static void assert_all_held(void)
{
    for (unsigned w = 0; w < WRITERS; w++)
        for (unsigned n = 0; n < BURST; n++)
            assert_true(held[w][n] >= 1);
}

static unsigned long figure(const char *name)
{
    char *key = mem_printf("\n%s{role=\"journal\",index=\"0\"} ", name);
    const char *at = strstr(trial_contents(TRIAL_NAME ".prom"), key);
    unsigned long value = at == NULL ? 0 : strtoul(at + strlen(key), NULL, 10);

    free(key);
    return value;
}

/* Until the journal role has all of the bursts. */
static void await_taken(void)
{
    TRIAL_UNTIL(figure("coffre_journal_records_total") >= WRITERS * BURST);
    assert_int_equal(figure("coffre_journal_records_total"), WRITERS * BURST);
}

/* ---- the test --------------------------------------------------------------------------------------------------------------- */

static void a_burst_is_on_disk_once_and_in_order(void **state)
{
    pid_t pid = start("256MiB");

    (void)state;
    await_written();
    trial_await("cut off and linked again"); /* which touches nobody else */
    await_taken();
    assert_in_range(trial_memory_kib(trial_pid("journal"), "VmHWM:"), 1, MEMORY_MAX);
    trial_stop(pid);
    read_spool();
    assert_all_held();
    assert_int_equal(lines, WRITERS * BURST + 3);
    assert_int_equal(refused, 1);
    assert_int_equal(started, 1);
    assert_int_equal(stopped, 1);
    assert_non_null(strstr(last, "\"event\":\"daemon-stopped\""));
    /* Another start finds all of it, and says that it began. */
    pid = start("256MiB");
    await_written();
    await_taken();
    trial_stop(pid);
    read_spool();
    assert_in_range(lines, 2 * (WRITERS * BURST + 2), 2 * (WRITERS * BURST + 3)); /* the rude one may not have come to it */
    assert_int_equal(started, 2);
}

/* Whether the spool has the last record of each writer, and so all. */
static bool is_complete(void)
{
    unsigned complete = 0;

    read_spool();
    for (unsigned w = 0; w < WRITERS; w++)
        complete += held[w][BURST - 1] > 0;
    return complete == WRITERS;
}

static void a_journal_role_killed_again_and_again_loses_nothing(void **state)
{
    pid_t pid, journal;

    (void)state;
    setenv("TEST_JOURNAL_LINKED", "1", 1);
    pid = start("256MiB");
    unsetenv("TEST_JOURNAL_LINKED");
    journal = trial_pid("journal");
    for (int i = 0; i < 5; i++) {
        kill(journal, SIGKILL);
        trial_await_gone(journal);
        journal = trial_pid("journal");
    }
    await_written();
    /* Its last life has not seen all of them: the writers have nothing left when it has the last of each. */
    TRIAL_UNTIL(is_complete());
    trial_stop(pid);
    read_spool();
    assert_all_held();
    assert_in_range(started, 1, 2); /* the daemon itself was started once only; twice: killed in the moment between that record and the note of it */
    assert_int_equal(stopped, 1);
}

static void a_killed_daemon_is_told_apart_from_a_stopped_one(void **state)
{
    pid_t pid = start("256MiB");

    (void)state;
    await_written();
    trial_await("cut off and linked again");
    trial_kill(pid);
    pid = start("256MiB");
    await_written();
    trial_stop(pid);
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
    trial_await("cut off and linked again");
    await_taken();
    lost = figure("coffre_journal_lost_total");
    assert_true(figure("coffre_journal_spool_bytes") <= 5 << 18);
    trial_stop(pid);
    read_spool();
    assert_in_range(lines + lost, WRITERS * BURST + 1, WRITERS * BURST + 2); /* with daemon-started, and perhaps record-refused; daemon-stopped has no room */
    /* With room again, the next start says so: with what had no room at the end. */
    pid = start("256MiB");
    await_taken();
    trial_stop(pid);
    read_spool();
    assert_in_range((unsigned long)number_in(overflow, "records"), lost + 1, lost + 2);
    assert_null(strstr(overflow, "\"most\""));
}

static void a_crash_forgets_nothing_of_what_was_lost(void **state)
{
    pid_t pid = start("1MiB");
    unsigned long lost;

    (void)state;
    await_written();
    trial_await("cut off and linked again");
    await_taken();
    lost = figure("coffre_journal_lost_total");
    assert_true(lost > BURST);
    kill(trial_pid("journal"), SIGKILL);
    trial_kill(pid);
    pid = start("256MiB");
    await_taken();
    trial_stop(pid);
    read_spool();
    /* A bound from below, and, should a writer not have been told in time, one from above. */
    assert_in_range((unsigned long)number_in(overflow, "records"), lost - WRITERS * 5000, lost + 1);
    if (strstr(overflow, "\"most\"") != NULL)
        assert_true((unsigned long)number_in(overflow, "most") >= lost);
    else
        assert_true((unsigned long)number_in(overflow, "records") >= lost);
}

static void a_writer_that_may_lose_nothing_tries_again(void **state)
{
    pid_t pid = start("1MiB");

    (void)state;
    await_written();
    await_taken();
    assert_true(figure("coffre_journal_lost_total") > 0);
    kill(pid, SIGUSR1);
    trial_await("again and again");
    configure("256MiB");
    kill(pid, SIGHUP);
    trial_await("all is kept");
    trial_stop(pid);
    read_spool();
    for (unsigned k = 0; k < KEPT; k++)
        assert_true(kept[k] >= 1);
    assert_true(number_in(overflow, "records") > 0);
}

/* A front that was taken over fills what it can. Whoever may lose nothing has room nevertheless, and what the front could not fill is counted as its. */
static void a_front_fills_no_room_but_its_own(void **state)
{
    unsigned long lost;
    pid_t pid;

    (void)state;
    setenv("TEST_JOURNAL_OVERRUN", "1", 1);
    pid = start("1MiB");
    unsetenv("TEST_JOURNAL_OVERRUN");
    trial_await("it is full");
    kill(pid, SIGUSR1);
    trial_await("all is kept");
    trial_stop(pid);
    read_spool();
    for (unsigned k = 0; k < KEPT; k++)
        assert_int_equal(kept[k], 1);
    assert_int_equal(stopped, 1);
    assert_string_equal(overflow, "");
    pid = start("256MiB");
    await_taken();
    lost = figure("coffre_journal_lost_total");
    trial_stop(pid);
    read_spool();
    assert_int_equal(lost, 0);
    assert_true(number_in(overflow, "records") > 0);
    assert_non_null(strstr(overflow, "\"role\":\"front\"")); /* the record's own is the journal role */
}

static void a_writer_that_does_not_read_is_cut_off(void **state)
{
    pid_t pid;

    (void)state;
    setenv("TEST_JOURNAL_DEAF", "1", 1);
    pid = start("256MiB");
    unsetenv("TEST_JOURNAL_DEAF");
    await_written();
    trial_await("deaf and linked again");
    trial_stop(pid);
    read_spool();
    assert_all_held();
    assert_int_equal(stopped, 1);
}

static void a_writer_has_one_channel(void **state)
{
    pid_t pid;

    (void)state;
    setenv("TEST_JOURNAL_GREEDY", "1", 1);
    pid = start("256MiB");
    unsetenv("TEST_JOURNAL_GREEDY");
    trial_await("the channel before has ended");
    trial_stop(pid);
    read_spool();
    assert_true(kept[0] >= 1);
}

#define TEST(f) cmocka_unit_test_setup(f, trial_clear)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(a_burst_is_on_disk_once_and_in_order),
        TEST(a_journal_role_killed_again_and_again_loses_nothing),
        TEST(a_killed_daemon_is_told_apart_from_a_stopped_one),
        TEST(a_full_spool_counts_and_blocks_nobody),
        TEST(a_crash_forgets_nothing_of_what_was_lost),
        TEST(a_writer_that_may_lose_nothing_tries_again),
        TEST(a_front_fills_no_room_but_its_own),
        TEST(a_writer_that_does_not_read_is_cut_off),
        TEST(a_writer_has_one_channel),
    };

    if (argc > 1)
        return daemon_main(&tested, argc, argv);
    return cmocka_run_group_tests_name("journal", tests, trial_make, trial_remove);
}
