/*
 * Landlock: which folders may be read and written, which TCP ports connected to, and no signals to processes outside. See sandbox.h.
 * The C library has no wrappers and Debian's header knows only the first versions of the interface: what came later is defined here.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/landlock.h>

#include "common/system/sandbox_internal.h"
#include "common/values/buf.h"
#include "common/values/log.h"

/* struct landlock_ruleset_attr as of ABI 6; older kernels take it as long as what they do not know is zero. */
struct ruleset {
    uint64_t fs, net, scoped;
};

/* struct landlock_net_port_attr (ABI 4). */
struct port_rule {
    uint64_t access, port;
};

enum { RULE_NET_PORT = 2, BIND_TCP = 1, CONNECT_TCP = 2, SCOPE_ABSTRACT_UNIX = 1, SCOPE_SIGNAL = 2, DNS = 53 };

#define FS_TRUNCATE (1ull << 14) /* ABI 3 */
#define FS_IOCTL_DEV (1ull << 15) /* ABI 5 */
#define FS_ALL_1 ((1ull << 13) - 1)
#define FS_OF_A_FILE (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE)
#define FS_READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define FS_WRITE \
    (FS_READ | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_DIR | FS_TRUNCATE)

/* The version of the interface; 0: the kernel has none, or it is switched off, or a container forbids it. */
static int abi(void)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

    return version < 1 ? 0 : (int)version;
}

/* Leaves out what this kernel does not know. */
static struct ruleset known(struct ruleset r, int version)
{
    if (version < 2)
        r.fs &= ~(uint64_t)LANDLOCK_ACCESS_FS_REFER;
    if (version < 3)
        r.fs &= ~FS_TRUNCATE;
    if (version < 5)
        r.fs &= ~FS_IOCTL_DEV;
    if (version < 4)
        r.net = 0;
    if (version < 6)
        r.scoped = 0;
    return r;
}

static int create(const struct ruleset *r, struct err *e)
{
    int fd = (int)syscall(SYS_landlock_create_ruleset, r, sizeof *r, 0);

    if (fd < 0)
        err_set_errno(e, ERR_FATAL, "Landlock");
    return fd;
}

/* What does not exist, or may not be seen, is left out: it cannot be opened then. */
static bool add_path(int rules, const struct ruleset *r, const char *path, uint64_t access, struct err *e)
{
    struct landlock_path_beneath_attr rule = {.allowed_access = access & r->fs, .parent_fd = open(path, O_PATH | O_CLOEXEC)};
    struct stat st;
    bool ok = true;

    if (rule.parent_fd < 0)
        return true;
    if (fstat(rule.parent_fd, &st) == 0 && !S_ISDIR(st.st_mode))
        rule.allowed_access &= FS_OF_A_FILE;
    if (rule.allowed_access != 0 && syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0)
        ok = err_set_errno(e, ERR_FATAL, "Landlock: %s", path);
    close(rule.parent_fd);
    return ok;
}

static bool add_port(int rules, uint64_t port, struct err *e)
{
    struct port_rule rule = {CONNECT_TCP, port};

    return syscall(SYS_landlock_add_rule, rules, RULE_NET_PORT, &rule, 0) == 0 || err_set_errno(e, ERR_FATAL, "Landlock: port %u", (unsigned)port);
}

/* The folder a file is in: where the name is, and where it leads to when it is a link. */
static bool add_file(int rules, const struct ruleset *r, const char *path, struct err *e)
{
    char *there = sandbox_folder(path), *real = realpath(path, NULL), *target = real == NULL ? NULL : sandbox_folder(real);
    bool ok = add_path(rules, r, there, FS_READ, e) && (target == NULL || add_path(rules, r, target, FS_READ, e));

    free(there);
    free(real);
    free(target);
    return ok;
}

/* Beside /etc/resolv.conf, which is a link into /run on many systems, where its folder holds nothing else. */
static bool add_resolver(int rules, const struct ruleset *r, struct err *e)
{
    char *real = realpath("/etc/resolv.conf", NULL);
    bool ok = real == NULL || strncmp(real, "/run/", 5) != 0 || add_file(rules, r, real, e);

    for (unsigned i = 0; ok && sandbox_resolver_files[i] != NULL; i++)
        ok = add_path(rules, r, sandbox_resolver_files[i], FS_READ, e);
    free(real);
    return ok;
}

static bool add_all(int rules, const struct ruleset *r, const struct sandbox *s, struct err *e)
{
    bool ok = true;

    for (unsigned i = 0; i < SANDBOX_PATHS_MAX && s->read[i] != NULL && ok; i++)
        ok = add_file(rules, r, s->read[i], e);
    for (unsigned i = 0; i < SANDBOX_PATHS_MAX && s->write[i] != NULL && ok; i++)
        ok = add_path(rules, r, s->write[i], FS_WRITE, e);
    if (ok && (s->permits & SANDBOX_CONNECT) != 0)
        ok = add_resolver(rules, r, e);
    for (unsigned i = 0; i < SANDBOX_PORTS_MAX && s->ports[i] != 0 && ok; i++)
        ok = (r->net & CONNECT_TCP) == 0 || add_port(rules, s->ports[i], e);
    return ok && (s->ports[0] == 0 || (r->net & CONNECT_TCP) == 0 || add_port(rules, DNS, e));
}

static struct ruleset wanted(const struct sandbox *s)
{
    struct ruleset r = {.fs = FS_ALL_1 | LANDLOCK_ACCESS_FS_REFER | FS_TRUNCATE | FS_IOCTL_DEV,
                        .net = BIND_TCP | CONNECT_TCP,
                        .scoped = SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL};

    if ((s->permits & (SANDBOX_CONNECT | SANDBOX_NETWORK)) != 0 && s->ports[0] == 0)
        r.net = BIND_TCP;
    /* Where its library keeps its files nobody has said: who may what is up to their owners. It runs nothing, makes no device, takes no connection. */
    if ((s->permits & SANDBOX_MODULE) != 0 && s->read[0] == NULL && s->write[0] == NULL)
        r.fs = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK;
    /* Some talk to a service of their maker's by an abstract socket. */
    if ((s->permits & SANDBOX_NETWORK) != 0)
        r.scoped = SCOPE_SIGNAL;
    return r;
}

static bool restrict_self(int rules, struct err *e)
{
    return syscall(SYS_landlock_restrict_self, rules, 0) == 0 || err_set_errno(e, ERR_FATAL, "Landlock: restricting this process");
}

bool sandbox_landlock(const struct sandbox *s, struct err *e)
{
    int version = abi(), rules;
    struct ruleset r = known(wanted(s), version);
    bool ok;

    if (version == 0) {
        log_warning("landlock-absent", "this kernel does not confine paths (Landlock: Linux 5.13): system calls are filtered all the same");
        return true;
    }
    rules = create(&r, e);
    ok = rules >= 0 && add_all(rules, &r, s, e) && restrict_self(rules, e);
    if (rules >= 0)
        close(rules);
    return ok;
}

bool sandbox_landlock_parent(const char *program, const char *interpreter, struct err *e)
{
    struct ruleset r = known((struct ruleset){.fs = LANDLOCK_ACCESS_FS_EXECUTE, .net = BIND_TCP, .scoped = SCOPE_SIGNAL}, abi());
    int rules;
    bool ok;

    if (abi() == 0)
        return true;
    rules = create(&r, e);
    ok = rules >= 0 && (program == NULL || add_path(rules, &r, program, FS_OF_A_FILE, e)) &&
         (interpreter == NULL || add_path(rules, &r, interpreter, FS_OF_A_FILE, e)) && restrict_self(rules, e);
    if (rules >= 0)
        close(rules);
    return ok;
}
