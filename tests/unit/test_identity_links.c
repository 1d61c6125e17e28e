/*
 * identity and its siblings, with real processes: when it or fetch ends their channel, neither dies of it and they are linked again; and a front that never stops presenting certificates keeps
 * no other from being heard, and fills only its own room. This program is such a daemon when it is given arguments, with one of them misbehaving, and the test of it when not.
 */
#include "tests/unit/unit.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/identity/identity.h"
#include "common/journal/journal.h"
#include "tests/unit/folder.h"
#include "tests/unit/revocation.h"
#include "tests/unit/trial.h"

#ifdef __SANITIZE_ADDRESS__
enum { MEMORY_MAX = 896 << 10 }; /* of which 256 MiB are what was freed last */
#else
enum { MEMORY_MAX = 256 << 10 };
#endif

enum { RUDE_TIMES = 2, CONNECTIONS = 4096 /* that a front takes; for fewer there is as much room */, FLOOD = 20000 /* presented before the other comes: 640 MiB */ };

/* ---- the daemon ------------------------------------------------------------------------------------------------------------ */

struct rude {
    struct role *role;
    struct channel *peer;
    unsigned links;
    bool drained;
};

static void linked(void *ctx, const char *kind, unsigned index, struct channel *c)
{
    struct rude *r = ctx;

    (void)kind;
    (void)index;
    channel_free(r->peer);
    r->peer = c;
    r->links++;
}

static void drain(void *ctx)
{
    ((struct rude *)ctx)->drained = true;
}

static const struct role_events events = {.linked = linked, .drain = drain};

static void hang_up(struct rude *r)
{
    channel_free(r->peer);
    r->peer = NULL;
}

/* Instead of identity: says what makes no sense, twice, and then asks for something as it should. */
static int run_rude_identity(struct role *self)
{
    struct rude r = {.role = self};
    unsigned rude = 0, asked = 0;

    role_on(self, &events, &r);
    while (role_poll(self, 20) && !r.drained) {
        const struct identity_fetch f = {.request = r.links, .url = SLICE_LITERAL("http://127.0.0.1:1/"), .most = 1000, .timeout = 10000};
        struct channel_message m;
        struct err e = {0};

        if (r.peer == NULL)
            continue;
        if (rude < RUDE_TIMES) {
            rude++;
            if (!channel_send(r.peer, 99, SLICE_LITERAL("nonsense"), &e) || !channel_flush(r.peer, &e))
                break;
            while (channel_wait(r.peer, &m, 1000, &e) == CHANNEL_EMPTY)
                ;
            hang_up(&r);
        } else if (asked != r.links && identity_send_fetch(r.peer, &f, &e) && channel_flush(r.peer, &e) && channel_wait(r.peer, &m, 10000, &e) == CHANNEL_MESSAGE)
            role_ready(self, true, "answered after %u links", asked = r.links);
    }
    hang_up(&r);
    return r.drained ? 0 : 1;
}

/* Instead of fetch: hangs up, twice. */
static int run_rude_fetch(struct role *self)
{
    struct rude r = {.role = self};

    role_on(self, &events, &r);
    while (role_poll(self, 20) && !r.drained) {
        if (r.links <= RUDE_TIMES)
            hang_up(&r);
        else
            role_ready(self, true, "linked %u times", r.links);
    }
    hang_up(&r);
    return r.drained ? 0 : 1;
}

static int run_identity(struct role *self)
{
    static const struct identity_duty duty = {.offered = 0};

    return identity_role_run(self, &duty);
}

static void say(struct rude *r, uint64_t number, struct slice der, bool end)
{
    const struct identity_present p = {.connection = number, .address = SLICE_LITERAL("192.0.2.7"), .count = 2, .der = {der, der}};
    struct channel_message m;
    struct err e = {0};

    if ((!end && !identity_send_present(r->peer, &p, &e)) || (end && !identity_send_gone(r->peer, number, &e)))
        abort();
    do
        if (!channel_flush(r->peer, &e) || channel_receive(r->peer, &m, &e) == CHANNEL_CLOSED)
            abort();
    while (channel_queued(r->peer) > 1 << 20);
}

/* A front, and who has it now. First it presents as much as it can, and takes nothing back; then, for ever, what takes longest to look at. */
static void flood(struct rude *r, uint64_t *n)
{
    static uint8_t junk[IDENTITY_CERTIFICATE_MAX];
    static struct slice bloated;

    if (bloated.len == 0) {
        struct issued ca = revocation_authority("stranger", certificates_ec("P-256"));

        bloated = revocation_bloated(&ca, 1);
        certificates_free(&ca);
    }
    ++*n;
    memcpy(junk, n, sizeof *n);
    say(r, *n, *n <= FLOOD ? slice_of(junk, sizeof junk) : bloated, false);
    for (uint64_t i = 1; *n == FLOOD && i <= FLOOD; i++)
        say(r, i, bloated, true);
    if (*n > FLOOD)
        say(r, *n, bloated, true);
    if (*n == FLOOD + 1000)
        role_ready(r->role, true, "flooding");
}

/* Presents one, once it is told to, and says when it has the verdict. */
static void ask_once(struct rude *r, uint64_t *n)
{
    const struct identity_present p = {.connection = 1, .address = SLICE_LITERAL("192.0.2.7"), .count = 1, .der = {SLICE_LITERAL("x")}};
    char *go = mem_printf("%s/go", role_settings(r->role)->state_dir);
    struct channel_message m;
    struct err e = {0};

    if (*n == 0 && access(go, F_OK) == 0 && identity_send_present(r->peer, &p, &e) && channel_flush(r->peer, &e))
        *n = 1;
    while (channel_receive(r->peer, &m, &e) == CHANNEL_MESSAGE)
        if (m.type == IDENTITY_VERDICT)
            role_ready(r->role, true, "judged");
    free(go);
}

static int run_front(struct role *self)
{
    struct rude r = {.role = self};
    uint64_t n = 0;

    role_on(self, &events, &r);
    while (role_poll(self, r.peer != NULL && role_index(self) == 0 ? 0 : 20) && !r.drained)
        if (r.peer != NULL)
            (role_index(self) == 0 ? flood : ask_once)(&r, &n);
    hang_up(&r);
    return r.drained ? 0 : 1;
}

static unsigned two(const struct settings *s)
{
    (void)s;
    return 2;
}

static const char *certificate_of(const struct settings *s)
{
    return s->ingest.certificate;
}

static uint64_t connections_of(const struct settings *s)
{
    (void)s;
    return CONNECTIONS;
}

static int run_judge(struct role *self)
{
    static const struct identity_duty duty = {.offered = 1 << ROSTER_DEPOSITOR, .certificate = certificate_of, .connections = connections_of};

    return identity_role_run(self, &duty);
}

static const char *key_of(const struct settings *s)
{
    return s->ingest.key;
}

static int run_journal(struct role *self)
{
    static const struct journal_duty duty = {key_of, key_of};

    return journal_role_run(self, &duty);
}

static const struct role_kind fronts[] = {{.name = "front", .run = run_front, .instances = two, .links = {"identity"}},
                                          {.name = "identity", .run = run_judge, .links = {"journal"}, .drain_stage = 1},
                                          {.name = "journal", .run = run_journal, .drain_stage = 2}};
static const struct role_kind rude_identity[] = {{.name = "identity", .run = run_rude_identity, .links = {"fetch"}}, {.name = "fetch", .run = fetch_role_run}};
static const struct role_kind rude_fetch[] = {{.name = "identity", .run = run_identity, .links = {"fetch"}}, {.name = "fetch", .run = run_rude_fetch}};

static int daemon_of(int argc, char **argv)
{
    const struct role_kind *kinds = getenv("TEST_FRONTS") != NULL ? fronts : getenv("TEST_RUDE_IDENTITY") != NULL ? rude_identity : rude_fetch;
    const struct daemon tested = {.name = TRIAL_NAME, .part = SETTINGS_INGEST, .kinds = kinds, .kind_count = kinds == fronts ? 3 : 2,
                                  .summary = "for the test"};

    return daemon_main(&tested, argc, argv);
}

/* ---- the test --------------------------------------------------------------------------------------------------------------- */

/* The other has the same process from its first start to the end, or it would have been linked for another reason. */
static void linked_again(const char *other, const char *what)
{
    pid_t pid = trial_start(), before = trial_pid(other);

    trial_await(what);
    assert_int_equal(trial_pid(other), before);
    trial_stop(pid);
}

static void test_fetch_cuts(void **state)
{
    (void)state;
    setenv("TEST_RUDE_IDENTITY", "1", 1);
    linked_again("fetch", "answered after 3 links");
    unsetenv("TEST_RUDE_IDENTITY");
}

static void test_fetch_is_lost(void **state)
{
    (void)state;
    linked_again("identity", "linked 3 times");
}

static unsigned long turned_away(void)
{
    static const char line[] = "check=\"identity-full\"} ";
    const char *at = strstr(trial_contents(TRIAL_NAME ".prom"), line);

    return at == NULL ? 0 : strtoul(at + sizeof line - 1, NULL, 10);
}

/* As the journal has it: the first at once, the others when the role ends, before the minute is over. */
static unsigned long journaled_as_turned_away(void)
{
    static const char front[] = "\"front\":\"0\"", field[] = "\"turned_away\":\"";
    char *pattern = trial_file("journal-" TRIAL_NAME "/*.ndjson"), line[JOURNAL_RECORD_MAX + 2];
    unsigned long sum = 0;
    glob_t found;

    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        FILE *spool = fopen(found.gl_pathv[i], "r");

        assert_non_null(spool);
        while (fgets(line, sizeof line, spool) != NULL)
            if (strstr(line, "\"event\":\"identity-full\"") != NULL && strstr(line, front) != NULL && strstr(line, field) != NULL)
                sum += strtoul(strstr(line, field) + sizeof field - 1, NULL, 10);
        fclose(spool);
    }
    globfree(&found);
    free(pattern);
    return sum;
}

static void a_front_has_its_turn_and_its_room(void **state)
{
    struct issued ca = revocation_authority("operator", certificates_ec("P-256"));
    char *path = folder_file("c");
    pid_t pid;

    (void)state;
    certificates_write(&ca, NULL, path, NULL);
    setenv("TEST_FRONTS", "1", 1);
    pid = trial_start();
    unsetenv("TEST_FRONTS");
    trial_await("flooding");
    trial_put("go");
    trial_await("judged");
    assert_in_range(trial_memory_kib(trial_pid("identity"), "VmHWM:"), 1, MEMORY_MAX);
    TRIAL_UNTIL(turned_away() >= FLOOD - CONNECTIONS * 2);
    trial_stop(pid);
    assert_in_range(journaled_as_turned_away(), FLOOD - CONNECTIONS * 2, FLOOD);
    free(path);
    certificates_free(&ca);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_fetch_cuts, trial_clear),
        cmocka_unit_test_setup(test_fetch_is_lost, trial_clear),
        cmocka_unit_test_setup(a_front_has_its_turn_and_its_room, trial_clear),
    };

    if (argc > 1)
        return daemon_of(argc, argv);
    return cmocka_run_group_tests_name("identity links", tests, trial_make, trial_remove);
}
