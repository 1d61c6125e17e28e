/*
 * What work relies on in its siblings, each a process with keys in a real SoftHSM token: stamp's clock that never goes back, what both say of token and clock, and the
 * deadline of an answer. With arguments this program is a daemon of its own, whose role asker stands for work.
 */
#include "tests/unit/one_role.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sealer/health.h"
#include "sealer/roles.h"
#include "sealer/sibling.h"
#include "tests/unit/unit.h"
#include "tests/unit/vault.h"

static int asker_run(struct role *self);

static const struct role_kind kinds[] = {
    {.name = "asker", .run = asker_run, .links = {"stamp"}},
    {.name = "stamp", .run = stamp_run, .drain_stage = 1},
    {.name = "seal", .run = seal_run, .drain_stage = 1},
};
static const struct daemon test_daemon = {.name = "test-sealer", .part = SETTINGS_SEALER, .kinds = kinds, .kind_count = 3};

static struct one_role seal, stamp;

/* ---- the clock ------------------------------------------------------------------------------- */

static uint16_t ask_stamp(int64_t not_before_ms, struct buf *answer)
{
    const struct message_stamp request = {.lot = 9, .not_before_ms = not_before_ms};
    struct buf question;
    uint16_t type;

    buf_init(&question, ONE_ROLE_MAX);
    assert_true(message_put_stamp(&question, &request, NULL));
    type = one_role_ask(&stamp, MESSAGE_STAMP, &question, answer);
    buf_free(&question);
    return type;
}

static void stamp_refused(int64_t not_before_ms, const char *why)
{
    struct buf answer;

    buf_init(&answer, ONE_ROLE_MAX);
    assert_int_equal(one_role_refused(ask_stamp(not_before_ms, &answer), &answer, why), 9);
    buf_free(&answer);
}

static void write_time(const char *text)
{
    char *path = mem_printf("%s.time", vault.memory);
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    free(path);
}

static void clock_behind_the_last_token_stops_stamping(void **state)
{
    struct message_stamped token;
    struct buf answer;

    (void)state;
    stamp_refused(((int64_t)time(NULL) + 3600) * 1000, "already sealed");
    write_time("99999999999999\n");
    stamp_refused(0, "already sealed");
    write_time("yesterday\n");
    stamp_refused(0, "cannot be read");
    write_time("1\n");
    buf_init(&answer, ONE_ROLE_MAX);
    assert_int_equal(ask_stamp(0, &answer), MESSAGE_STAMPED);
    assert_true(message_get_stamped(buf_slice(&answer), &token, NULL));
    buf_free(&answer);
}

/* ---- the deadline ---------------------------------------------------------------------------- */

struct asker {
    struct sibling stamp;
    unsigned pings;
};

static void linked(void *ctx, const char *kind, unsigned index, struct channel *c)
{
    (void)kind;
    (void)index;
    sibling_link(&((struct asker *)ctx)->stamp, c);
}

static bool ping(void *ctx)
{
    ((struct asker *)ctx)->pings++;
    return true;
}

static bool ask_once(struct role *self, struct asker *a, struct err *e)
{
    const struct message_stamp request = {.lot = 5};
    struct slice answer;
    struct buf question;
    bool ok;

    buf_init(&question, 256);
    ok = message_put_stamp(&question, &request, e) &&
         sibling_ask(self, &a->stamp,
                     &(struct sibling_question){.type = MESSAGE_STAMP, .body = buf_slice(&question), .lot = 5,
                                                .answer_type = MESSAGE_STAMPED,
                                                .deadline_ms = role_settings(self)->sealer.deadline, .idle = ping, .ctx = a},
                     &answer, e);
    buf_free(&question);
    return ok;
}

/* The stamp's process, from the status file. */
static pid_t stamp_pid(const struct settings *s)
{
    char *path = mem_printf("%s/test-sealer.status", s->state_dir), line[400];
    FILE *f = fopen(path, "r");
    long pid = 0;

    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        (void)!sscanf(line, "role stamp 0 pid %ld", &pid);
    if (f != NULL)
        fclose(f);
    free(path);
    return (pid_t)pid;
}

static bool until_answered(struct role *self, struct asker *a)
{
    struct err e = {0};

    while (!ask_once(self, a, &e)) {
        err_clear(&e);
        if (!role_poll(self, 100))
            return false;
    }
    return true;
}

/* Runs as a role: a stamp that works, one that is stopped, one that was started again. */
static const char *ask_a_stopped_one(struct role *self, struct asker *a)
{
    struct err e = {0};
    pid_t stopped;

    if (!until_answered(self, a))
        return "never answered";
    stopped = stamp_pid(role_settings(self));
    if (stopped <= 0 || kill(stopped, SIGSTOP) != 0)
        return "no stamp to stop";
    if (ask_once(self, a, &e))
        return "answered although stopped";
    if (e.code != ERR_RETRY || strstr(e.text, "did not answer") == NULL)
        return e.code == ERR_RETRY ? "another reason" : "no retry";
    if (a->pings == 0)
        return "nothing else was done while waiting";
    if (!until_answered(self, a))
        return "never answered again";
    return stamp_pid(role_settings(self)) == stopped ? "not started again" : "good";
}

static int asker_run(struct role *self)
{
    static const struct role_events events = {.linked = linked};
    struct asker a = {.stamp = {.kind = "stamp"}};
    char *path = mem_printf("%s/result", role_settings(self)->state_dir);
    FILE *f;

    role_on(self, &events, &a);
    f = fopen(path, "w");
    if (f != NULL) {
        fputs(ask_a_stopped_one(self, &a), f);
        fclose(f);
    }
    free(path);
    sibling_close(&a.stamp);
    return ROLE_EXIT_CONFIG; /* ends this daemon */
}

static void stopped_role_is_killed_at_its_deadline_and_started_again(void **state)
{
    char *path = mem_printf("%s/state/result", vault.folder), text[100] = "";
    int status;
    FILE *f;
    pid_t pid;

    (void)state;
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        /* The parent's settings say deadline 2s. */
        execl("/proc/self/exe", "test-sealer", "--config", vault.config, (char *)NULL);
        _exit(1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    f = fopen(path, "r");
    assert_non_null(f);
    assert_non_null(fgets(text, sizeof text, f));
    assert_string_equal(text, "good");
    fclose(f);
    free(path);
}

/* ---- health ---------------------------------------------------------------------------------- */

/* Waits until a role says this of the item. */
static void says(struct one_role *r, const char *item, bool ok)
{
    const struct health_item *said;
    struct health h;
    struct buf body;
    time_t until = time(NULL) + ONE_ROLE_PATIENCE_MS / 1000;

    buf_init(&body, ONE_ROLE_MAX);
    do {
        one_role_await(r, MESSAGE_HEALTH, &body);
        assert_true(health_read(buf_slice(&body), &h, NULL));
        said = health_find(&h, item);
        assert_non_null(said);
        assert_true(time(NULL) < until);
    } while (said->ok != ok);
    assert_true(ok || said->note[0] != '\0');
    buf_free(&body);
}

static void token_that_goes_away_is_told_and_the_clock_stays_good(void **state)
{
    char *tokens = mem_printf("%s/tokens", vault.folder), *aside = mem_printf("%s/aside", vault.folder);

    (void)state;
    says(&seal, "hsm", true);
    says(&stamp, "hsm", true);
    assert_int_equal(rename(tokens, aside), 0);
    says(&seal, "hsm", false);
    says(&stamp, "hsm", false);
    says(&stamp, "clock", true);
    assert_int_equal(rename(aside, tokens), 0);
    says(&seal, "hsm", true);
    says(&stamp, "hsm", true);
    free(tokens);
    free(aside);
}

/* A sibling linked to nobody who speaks. */
static struct sibling listened_to(const char *kind, int64_t heard_ms, bool ok)
{
    struct sibling s = {.kind = kind};
    int fds[2];

    assert_true(channel_pair(fds, NULL));
    sibling_link(&s, channel_open(fds[0], ONE_ROLE_MAX, ONE_ROLE_MAX));
    close(fds[1]);
    health_set(&s.health, "hsm", ok, ok ? "key at hand" : "gone");
    health_set(&s.health, "clock", true, "");
    s.heard_ms += heard_ms;
    return s;
}

static void who_is_away_silent_or_without_its_key_is_not_well(void **state)
{
    struct sibling good = listened_to("seal", 0, true), bad = listened_to("seal", 0, false), silent = listened_to("stamp", -6000, true),
                   away = {.kind = "stamp"}, stamps = listened_to("stamp", 0, true);
    struct health h;

    (void)state;
    h = sealer_health_of(&good, &stamps);
    assert_true(health_ok(&h) && h.count == 2);
    h = sealer_health_of(&bad, &stamps);
    assert_false(health_find(&h, "hsm")->ok);
    assert_string_equal(health_find(&h, "hsm")->note, "gone");
    assert_true(health_find(&h, "clock")->ok);
    h = sealer_health_of(&good, &silent);
    assert_false(health_find(&h, "hsm")->ok || health_find(&h, "clock")->ok);
    h = sealer_health_of(&good, &away);
    assert_string_equal(health_find(&h, "clock")->note, "process stamp is away");
    sibling_close(&good);
    sibling_close(&bad);
    sibling_close(&silent);
    sibling_close(&stamps);
}

/* ---- main ------------------------------------------------------------------------------------ */

static int make(void **state)
{
    vault_set_up(state);
    seal = one_role_start(&test_daemon, "seal");
    stamp = one_role_start(&test_daemon, "stamp");
    return 0;
}

static int sweep(void **state)
{
    one_role_end(&seal);
    one_role_end(&stamp);
    return vault_tear_down(state);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_away_silent_or_without_its_key_is_not_well),
        cmocka_unit_test(clock_behind_the_last_token_stops_stamping),
        cmocka_unit_test(token_that_goes_away_is_told_and_the_clock_stays_good),
        cmocka_unit_test(stopped_role_is_killed_at_its_deadline_and_started_again),
    };

    if (argc > 1)
        return daemon_main(&test_daemon, argc, argv);
    return cmocka_run_group_tests_name("stamp", tests, make, sweep);
}
