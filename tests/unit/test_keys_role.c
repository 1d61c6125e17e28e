/*
 * The keys role as a process of its own, towards a front that asks and asks. When it takes no answer, the keys role waits without working, keeps little, and answers everything in the end.
 * This program is its own daemon when it is given arguments, and the test of it when not.
 */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/ec.h>
#include <openssl/pem.h>

#include "common/system/remote_key.h"
#include "common/values/wire.h"
#include "tests/unit/folder.h"
#include "tests/unit/trial.h"

enum { DIGEST = 32 };

/* ---- the daemon -------------------------------------------------------------------------------------------------------- */

struct flood {
    struct role *role;
    struct channel *keys, *before; /* before: the one it had, when it has asked for another */
    uint8_t name[REMOTE_KEY_ID];
    uint32_t asked, answered, refused;
    bool drained;
};

static const char *key_path(const struct settings *s)
{
    return s->ingest.key;
}

static int run_keys(struct role *self)
{
    return keys_role_run(self, key_path);
}

static void linked(void *ctx, const char *kind, unsigned index, struct channel *c)
{
    struct flood *f = ctx;

    (void)kind;
    (void)index;
    channel_free(f->before);
    f->before = f->keys;
    f->keys = c;
}

static void drain(void *ctx)
{
    ((struct flood *)ctx)->drained = true;
}

static bool there(const struct flood *f, const char *name)
{
    char *path = mem_printf("%s/%s", role_settings(f->role)->state_dir, name);
    bool is = access(path, F_OK) == 0;

    free(path);
    return is;
}

static bool ask(struct flood *f)
{
    static const uint8_t digest[DIGEST];
    uint8_t bytes[100];
    struct buf b = {.data = bytes, .capacity = sizeof bytes, .max = sizeof bytes};
    struct wire_writer w = wire_write(&b);

    wire_put_u32(&w, f->asked);
    if (!buf_add(&b, f->name, sizeof f->name, NULL))
        return false;
    wire_put_u8(&w, REMOTE_KEY_ECDSA);
    wire_put_bytes(&w, slice_of(digest, sizeof digest));
    return wire_ok(&w, "SIGN", NULL) && channel_send(f->keys, REMOTE_KEY_SIGN, buf_slice(&b), NULL);
}

/* Though it has a channel that is as good as another. */
static void ask_again(struct flood *f)
{
    struct channel_message m;

    if (f->before == NULL)
        role_relink(f->role, "keys", 0);
    else if (channel_receive(f->before, &m, NULL) == CHANNEL_CLOSED)
        role_ready(f->role, true, "the channel before has ended");
}

/* Until the kernel takes no more: then the keys role has stopped reading. */
static void flood(struct flood *f)
{
    while (channel_queued(f->keys) < 1 << 20 && ask(f))
        f->asked++;
    if (!channel_flush(f->keys, NULL))
        role_ready(f->role, false, "cut off");
}

static void take_answers(struct flood *f)
{
    struct channel_message m;

    if (!channel_flush(f->keys, NULL))
        return;
    while (channel_receive(f->keys, &m, NULL) == CHANNEL_MESSAGE) {
        struct wire_reader r = wire_read(m.body);

        if (wire_get_u32(&r) == f->answered)
            f->answered++;
        f->refused += wire_get_u8(&r) != 1;
    }
    role_ready(f->role, f->answered == f->asked, "%u answered in order, %s", f->answered, f->refused == 0 ? "none refused" : f->refused == f->answered ? "all refused" : "some refused");
}

static void name_key(struct flood *f)
{
    FILE *in = fopen(key_path(role_settings(f->role)), "re");
    EVP_PKEY *key = in == NULL ? NULL : PEM_read_PrivateKey(in, NULL, NULL, NULL);

    if (key == NULL || !remote_key_name(key, f->name, NULL))
        abort();
    fclose(in);
    EVP_PKEY_free(key);
    f->name[0] ^= there(f, "unknown");
}

static int run_front(struct role *self)
{
    static const struct role_events events = {.linked = linked, .drain = drain};
    struct flood f = {.role = self};

    role_on(self, &events, &f);
    while (role_poll(self, 20) && !f.drained) {
        if (f.keys == NULL)
            continue;
        if (there(&f, "again"))
            ask_again(&f);
        else if (there(&f, "take"))
            take_answers(&f);
        else if (f.asked == 0 || channel_queued(f.keys) < 1 << 20) {
            name_key(&f);
            flood(&f);
        }
        while (there(&f, "endless")) {
            name_key(&f);
            flood(&f);
            take_answers(&f);
        }
        if (!there(&f, "take") && !there(&f, "again"))
            role_ready(self, false, "asked and asked");
    }
    channel_free(f.keys);
    channel_free(f.before);
    return 0;
}

/* No drain stage after the other: whoever floods ends first. */
static const struct role_kind kinds[] = {
    {.name = "front", .run = run_front, .links = {"keys"}},
    {.name = "keys", .run = run_keys, .drain_stage = 1},
};

static const struct daemon tested = {.name = TRIAL_NAME, .part = SETTINGS_INGEST, .kinds = kinds, .kind_count = 2, .summary = "for the test"};

/* ---- the test ------------------------------------------------------------------------------------------------------------ */

#ifdef __SANITIZE_ADDRESS__
enum { GROWTH_MAX_KIB = 512 * 1024 }; /* what was freed is kept for a while: 256 MiB */
#else
enum { GROWTH_MAX_KIB = 16 * 1024 };
#endif

/* Ticks of the processor that it has used (proc(5), fields 14 and 15 of stat). */
static long used(pid_t pid)
{
    char *path = mem_printf("/proc/%ld/stat", (long)pid), line[1000];
    FILE *in = fopen(path, "re");
    unsigned long user = 0, system = 0;

    assert_non_null(in);
    assert_non_null(fgets(line, sizeof line, in));
    assert_non_null(strrchr(line, ')'));
    assert_int_equal(sscanf(strrchr(line, ')') + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system), 2);
    fclose(in);
    free(path);
    return (long)(user + system);
}

/* It has come to rest: it has used nothing for half a second. */
static void await_rest(pid_t pid)
{
    long before = -1, now = used(pid);

    for (int i = 0; i < 120 && now != before; i++) {
        before = now;
        poll(NULL, 0, 500);
        now = used(pid);
    }
    assert_int_equal(now, before);
}

static void a_front_that_takes_no_answers_is_waited_for(void **state)
{
    pid_t pid = trial_start(), keys;
    long before;

    (void)state;
    trial_await("not-ready asked and asked\n");
    keys = trial_pid("keys");
    before = trial_memory_kib(keys, "VmRSS:");
    await_rest(keys);
    assert_true(trial_memory_kib(keys, "VmRSS:") < before + GROWTH_MAX_KIB);
    trial_put("take");
    trial_await(" answered in order, none refused\n");
    trial_await("state ready\n");
    assert_int_equal(trial_pid("keys"), keys);
    trial_stop(pid);
}

/* The certificate that is shown has another key than the file: no handshake can end well, and the status says so. */
static void a_key_that_is_not_held_is_missed(void **state)
{
    pid_t pid;

    (void)state;
    trial_put("unknown");
    trial_put("take");
    pid = trial_start();
    trial_pid("keys");
    trial_take_away("take");
    trial_await("not-ready a certificate is shown, or is to be shown, whose key is not in ");
    trial_put("take");
    trial_await(" answered in order, all refused\n");
    /* Asked for no longer. */
    trial_await("ready key loaded\n");
    trial_stop(pid);
}

/* What the keys role has to do every second is done all the same. */
static void a_front_that_asks_without_end_holds_up_nobody(void **state)
{
    static const char signatures[] = "\ncoffre_keys_signatures_total{role=\"keys\",index=\"0\"} ";
    pid_t pid;

    (void)state;
    trial_put("endless");
    pid = trial_start();
    TRIAL_UNTIL(strstr(trial_contents(TRIAL_NAME ".prom"), signatures) != NULL && atol(strstr(trial_contents(TRIAL_NAME ".prom"), signatures) + strlen(signatures)) > 1000);
    trial_take_away("endless");
    trial_put("take");
    trial_await(" answered in order, none refused\n");
    trial_stop(pid);
}

static void a_front_has_one_channel(void **state)
{
    pid_t pid;

    (void)state;
    trial_put("again");
    pid = trial_start();
    trial_await("ready the channel before has ended\n");
    trial_stop(pid);
}

static int make(void **state)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    char *path;
    FILE *out;

    if (trial_make(state) != 0)
        return -1;
    path = folder_file("k");
    out = fdopen(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600), "w");
    free(path);
    if (out == NULL || PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL) != 1)
        return -1;
    EVP_PKEY_free(key);
    return fclose(out);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_front_that_takes_no_answers_is_waited_for, trial_clear),
        cmocka_unit_test_setup(a_key_that_is_not_held_is_missed, trial_clear),
        cmocka_unit_test_setup(a_front_that_asks_without_end_holds_up_nobody, trial_clear),
        cmocka_unit_test_setup(a_front_has_one_channel, trial_clear),
    };

    if (argc > 1)
        return daemon_main(&tested, argc, argv);
    return cmocka_run_group_tests_name("keys_role", tests, make, trial_remove);
}
