/*
 * identity and fetch, with real processes: when one of the two ends their channel, neither dies of it and they are linked again. This program is such a daemon when it is given
 * arguments, with one of the two misbehaving, and the test of it when not.
 */
#include "tests/unit/unit.h"

#include <stdlib.h>

#include "common/identity/identity.h"
#include "tests/unit/trial.h"

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
    const struct daemon tested = {.name = TRIAL_NAME, .part = SETTINGS_INGEST, .kinds = identity ? rude_identity : rude_fetch, .kind_count = 2,
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

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_fetch_cuts, trial_clear),
        cmocka_unit_test_setup(test_fetch_is_lost, trial_clear),
    };

    if (argc > 1)
        return daemon_of(argc, argv);
    return cmocka_run_group_tests_name("identity links", tests, trial_make, trial_remove);
}
