/*
 * The keys role as a process of its own, towards a front that asks and asks and takes no answer: it waits without working, keeps little, and answers everything in the end.
 * This program is its own daemon when it is given arguments, and the test of it when not.
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
#include <unistd.h>

#include <openssl/ec.h>
#include <openssl/pem.h>

#include "common/system/remote_key.h"
#include "common/values/wire.h"

enum { DIGEST = 32 };

/* ---- the daemon -------------------------------------------------------------------------------------------------------- */

struct flood {
    struct role *role;
    struct channel *keys;
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
    (void)kind;
    (void)index;
    ((struct flood *)ctx)->keys = c;
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
        if (there(&f, "take"))
            take_answers(&f);
        else if (f.asked == 0 || channel_queued(f.keys) < 1 << 20) {
            name_key(&f);
            flood(&f);
        }
        if (!there(&f, "take"))
            role_ready(self, false, "asked and asked");
    }
    channel_free(f.keys);
    return 0;
}

/* No drain stage after the other: whoever floods ends first. */
static const struct role_kind kinds[] = {
    {.name = "front", .run = run_front, .links = {"keys"}},
    {.name = "keys", .run = run_keys, .drain_stage = 1},
};

static const struct daemon tested = {.name = "coffre-test", .part = SETTINGS_INGEST, .kinds = kinds, .kind_count = 2, .summary = "for the test"};

/* ---- the test ------------------------------------------------------------------------------------------------------------ */

#ifdef __SANITIZE_ADDRESS__
enum { GROWTH_MAX_KIB = 512 * 1024 }; /* what was freed is kept for a while: 256 MiB */
#else
enum { GROWTH_MAX_KIB = 16 * 1024 };
#endif

static char folder[] = "/tmp/coffre-keys-XXXXXX";
static char text[16384];

static const char *contents(const char *path)
{
    FILE *in = fopen(path, "r");
    size_t n = in == NULL ? 0 : fread(text, 1, sizeof text - 1, in);

    text[n] = '\0';
    if (in != NULL)
        fclose(in);
    return text;
}

static void await(const char *what)
{
    char *path = mem_printf("%s/state/coffre-test.status", folder);

    for (int i = 0; i < 6000 && strstr(contents(path), what) == NULL; i++)
        poll(NULL, 0, 10);
    if (strstr(text, what) == NULL)
        print_error("never said \"%s\":\n%s", what, text);
    assert_non_null(strstr(text, what));
    free(path);
}

static void put(const char *name)
{
    char *path = mem_printf("%s/state/%s", folder, name);

    close(open(path, O_WRONLY | O_CREAT, 0600));
    free(path);
}

static pid_t start(void)
{
    char *config = mem_printf("%s/coffre.yml", folder);
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY);

        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that failed leaves nothing behind */
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        execl("/proc/self/exe", "test_keys_role", "--config", config, (char *)NULL);
        _exit(127);
    }
    free(config);
    return pid;
}

static long keys_pid(void)
{
    const char *at;

    await("role keys 0 pid ");
    at = strstr(text, "role keys 0 pid ");
    return atol(at + strlen("role keys 0 pid "));
}

/* Ticks of the processor that it has used (proc(5), fields 14 and 15 of stat). */
static long used(long pid)
{
    char *path = mem_printf("/proc/%ld/stat", pid);
    const char *at = strrchr(contents(path), ')');
    unsigned long user = 0, system = 0;

    assert_non_null(at);
    assert_int_equal(sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system), 2);
    free(path);
    return (long)(user + system);
}

static long resident_kib(long pid)
{
    char *path = mem_printf("/proc/%ld/status", pid);
    const char *at = strstr(contents(path), "VmRSS:");

    assert_non_null(at);
    free(path);
    return atol(at + strlen("VmRSS:"));
}

/* It has come to rest: it has used nothing for half a second. */
static void await_rest(long pid)
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
    pid_t pid = start();
    long keys, before;

    (void)state;
    await("not-ready asked and asked\n");
    keys = keys_pid();
    before = resident_kib(keys);
    await_rest(keys);
    assert_true(resident_kib(keys) < before + GROWTH_MAX_KIB);
    put("take");
    await(" answered in order, none refused\n");
    await("state ready\n");
    assert_int_equal(keys_pid(), keys);
    kill(pid, SIGTERM);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* The certificate that is shown has another key than the file: no handshake can end well, and the status says so. */
static void a_key_that_is_not_held_is_missed(void **state)
{
    char *path = mem_printf("%s/state", folder);
    pid_t pid;

    (void)state;
    assert_int_equal(mkdir(path, 0700), 0);
    free(path);
    put("unknown");
    put("take");
    pid = start();
    await("role keys 0 pid ");
    path = mem_printf("%s/state/take", folder);
    assert_int_equal(unlink(path), 0);
    await("not-ready a certificate is shown, or is to be shown, whose key is not in ");
    put("take");
    await(" answered in order, all refused\n");
    /* Asked for no longer. */
    await("ready key loaded\n");
    kill(pid, SIGTERM);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    free(path);
}

static int make_folder(void **state)
{
    char *config, *path;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    FILE *out;
    int fd;

    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    config = mem_printf("%s/coffre.yml", folder);
    path = mem_printf("%s/k", folder);
    fd = open(path, O_WRONLY | O_CREAT, 0600);
    out = fdopen(fd, "w");
    if (out == NULL || PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL) != 1 || fclose(out) != 0)
        return -1;
    EVP_PKEY_free(key);
    out = fopen(config, "w");
    free(config);
    free(path);
    if (out == NULL)
        return -1;
    fputs("vault: {operator: \"4512\", number: 1}\nstate_dir: state\nrabbitmq: {host: h, ca: c}\n"
          "postgresql: {conninfo: x}\noperator: {ca: c}\nregulator: {ca: c, recipients: [r]}\n"
          "ingest: {certificate: c, key: k, rabbitmq_certificate: c, rabbitmq_key: k, pack_keys: [p], dedup_key: d}\n",
          out);
    return fclose(out);
}

static int clear_state(void **state)
{
    char *command = mem_printf("rm -rf %s/state", folder);
    int status = system(command);

    (void)state;
    free(command);
    return status;
}

static int remove_folder(void **state)
{
    char *command = mem_printf("rm -rf %s", folder);
    int status = system(command);

    (void)state;
    free(command);
    return status;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_front_that_takes_no_answers_is_waited_for, clear_state),
        cmocka_unit_test_setup(a_key_that_is_not_held_is_missed, clear_state),
    };

    if (argc > 1)
        return daemon_main(&tested, argc, argv);
    return cmocka_run_group_tests_name("keys_role", tests, make_folder, remove_folder);
}
