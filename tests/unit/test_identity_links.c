/*
 * identity and fetch, with real processes: when one of the two ends their channel, neither dies of it and they are linked again. This program is such a daemon when it is given
 * arguments, with one of the two misbehaving, and the test of it when not.
 */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/identity/identity.h"

enum { RUDE_TIMES = 2 };

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

static const struct role_kind rude_identity[] = {{.name = "identity", .run = run_rude_identity, .links = {"fetch"}}, {.name = "fetch", .run = fetch_role_run}};
static const struct role_kind rude_fetch[] = {{.name = "identity", .run = run_identity, .links = {"fetch"}}, {.name = "fetch", .run = run_rude_fetch}};

static int daemon_of(int argc, char **argv)
{
    bool identity = getenv("TEST_RUDE_IDENTITY") != NULL;
    const struct daemon tested = {.name = "coffre-test", .part = SETTINGS_INGEST, .kinds = identity ? rude_identity : rude_fetch, .kind_count = 2,
                                  .summary = "for the test"};

    return daemon_main(&tested, argc, argv);
}

/* ---- the test --------------------------------------------------------------------------------------------------------------- */

static char folder[] = "/tmp/coffre-links-XXXXXX";
static char config[64], text[8192];

static const char *status(void)
{
    char *path = mem_printf("%s/state/coffre-test.status", folder);
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
        execl("/proc/self/exe", "test_identity_links", "--config", config, (char *)NULL);
        _exit(127);
    }
    return pid;
}

/* Waits until the status says `what`; a bound so generous that only a defect reaches it. */
static bool await(const char *what)
{
    for (int i = 0; i < 6000 && strstr(status(), what) == NULL; i++)
        poll(NULL, 0, 10);
    return strstr(text, what) != NULL;
}

static void finish(pid_t pid)
{
    int how;

    kill(pid, SIGTERM);
    assert_int_equal(waitpid(pid, &how, 0), pid);
    assert_true(WIFEXITED(how));
    assert_int_equal(WEXITSTATUS(how), 0);
}

/* The process of a role that runs; 0: none yet. */
static long running(const char *kind)
{
    char *line = mem_printf("role %s 0 pid ", kind);
    const char *at = strstr(status(), line);
    long pid = at == NULL ? 0 : atol(at + strlen(line));

    free(line);
    return pid;
}

/* The same from its first start to the end, or it would have been linked for another reason. */
static long pid_of(const char *kind)
{
    for (int i = 0; i < 6000 && running(kind) == 0; i++)
        poll(NULL, 0, 10);
    return running(kind);
}

static void linked_again(const char *other, const char *what)
{
    pid_t pid = start();
    long before, after;
    bool said;

    before = pid_of(other);
    said = await(what);
    after = pid_of(other);
    finish(pid); /* whatever came: nothing is left behind */
    if (!said)
        fail_msg("never said \"%s\"", what);
    assert_int_equal(after, before);
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
    int how = system(command);

    (void)state;
    free(command);
    return how;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fetch_cuts),
        cmocka_unit_test(test_fetch_is_lost),
    };

    if (argc > 1)
        return daemon_of(argc, argv);
    return cmocka_run_group_tests_name("identity links", tests, make_folder, remove_folder);
}
