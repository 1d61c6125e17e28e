/* Entering a sandbox, and what it takes beside Landlock and seccomp: capabilities and limits. See sandbox.h. */
#include "common/system/sandbox.h"

#include <errno.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/capability.h>

#include "common/system/sandbox_internal.h"
#include "common/values/buf.h"
#include "common/values/log.h"

enum { CAPABILITIES_MAX = 63 };

/* What was entered, for sandbox_covers(); a process has one. */
static struct {
    bool entered;
    unsigned permits;
    char *read[2 * SANDBOX_PATHS_MAX], *write[SANDBOX_PATHS_MAX]; /* folders */
    uint16_t ports[SANDBOX_PORTS_MAX];
} self;

/* ---- capabilities and limits -------------------------------------------------------------- */

/* Whoever started the daemon. Emptying the bounding set takes a capability itself; without it nothing is lost, there is nothing to gain by executing. */
static bool drop_capabilities(struct err *e)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};

    for (int i = 0; i <= CAPABILITIES_MAX; i++)
        prctl(PR_CAPBSET_DROP, i, 0, 0, 0);
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    return syscall(SYS_capset, &head, none) == 0 || err_set_errno(e, ERR_FATAL, "dropping capabilities");
}

/* Limits of the system's own, behind the filter. Descriptors keep theirs: fronts need many. */
static void limit(const struct sandbox *s)
{
    const struct rlimit none = {0, 0};
    struct stat log;

    if ((s->permits & (SANDBOX_THREADS | SANDBOX_MODULE)) == 0)
        setrlimit(RLIMIT_NPROC, &none);
    /* The log may be a file that whoever started the daemon has opened. */
    if (s->write[0] == NULL && (s->permits & SANDBOX_MODULE) == 0 && (fstat(STDERR_FILENO, &log) != 0 || !S_ISREG(log.st_mode)))
        setrlimit(RLIMIT_FSIZE, &none);
}

/* ---- what is covered ------------------------------------------------------------------------ */

/* Folders to write to are made: only what is there can be allowed. */
static void remember(const struct sandbox *s)
{
    unsigned n = 0;

    self.entered = true;
    self.permits = s->permits;
    memcpy(self.ports, s->ports, sizeof self.ports);
    for (unsigned i = 0; i < SANDBOX_PATHS_MAX && s->read[i] != NULL; i++) {
        char *real = realpath(s->read[i], NULL);

        self.read[n++] = sandbox_folder(s->read[i]);
        if (real != NULL)
            self.read[n++] = sandbox_folder(real);
        free(real);
    }
    for (unsigned i = 0; i < SANDBOX_PATHS_MAX && s->write[i] != NULL; i++) {
        if (mkdir(s->write[i], 0700) != 0 && errno != EEXIST)
            log_warning("folder-unwritten", "%s: %s", s->write[i], strerror(errno));
        self.write[i] = mem_strdup(s->write[i]);
    }
}

/* `path` is one of the folders or below it. */
static bool is_below(char *const *folders, unsigned most, const char *path)
{
    for (unsigned i = 0; i < most && folders[i] != NULL; i++) {
        size_t len = strlen(folders[i]);

        while (len > 1 && folders[i][len - 1] == '/')
            len--;
        if (strncmp(path, folders[i], len) == 0 && (path[len] == '/' || path[len] == '\0' || len == 1))
            return true;
    }
    return false;
}

static bool has_port(uint16_t port)
{
    for (unsigned i = 0; i < SANDBOX_PORTS_MAX && self.ports[i] != 0; i++)
        if (self.ports[i] == port)
            return true;
    return self.ports[0] == 0;
}

bool sandbox_covers(const struct sandbox *s, struct err *e)
{
    if (!self.entered || ((self.permits & SANDBOX_MODULE) != 0 && self.read[0] == NULL && self.write[0] == NULL))
        return true;
    for (unsigned i = 0; i < SANDBOX_PATHS_MAX && s->read[i] != NULL; i++)
        if (!is_below(self.read, 2 * SANDBOX_PATHS_MAX, s->read[i]) && !is_below(self.write, SANDBOX_PATHS_MAX, s->read[i]))
            return err_set(e, ERR_INPUT, "%s: not in a folder that this process could read when it started: restart the daemon", s->read[i]);
    for (unsigned i = 0; i < SANDBOX_PATHS_MAX && s->write[i] != NULL; i++)
        if (!is_below(self.write, SANDBOX_PATHS_MAX, s->write[i]))
            return err_set(e, ERR_INPUT, "%s: not a folder that this process could write to when it started: restart the daemon", s->write[i]);
    for (unsigned i = 0; i < SANDBOX_PORTS_MAX && s->ports[i] != 0; i++)
        if (!has_port(s->ports[i]))
            return err_set(e, ERR_INPUT, "port %u: not one that this process could connect to when it started: restart the daemon", s->ports[i]);
    return self.ports[0] == 0 || s->ports[0] != 0 ||
           err_set(e, ERR_INPUT, "other ports than this process could connect to when it started: restart the daemon");
}

/* ---- entering --------------------------------------------------------------------------------- */

bool sandbox_enter(const struct sandbox *s, struct err *e)
{
#ifdef __SANITIZE_ADDRESS__
    /* The leak checker starts a process at the end and traces this one with it. */
    log_warning("sandbox-off", "built with sanitizers: this process is not confined");
    return !s->full || err_set(e, ERR_FATAL, "sandbox: over %d paths or %d ports", SANDBOX_PATHS_MAX, SANDBOX_PORTS_MAX);
#endif
    if (s->full)
        return err_set(e, ERR_FATAL, "sandbox: over %d paths or %d ports", SANDBOX_PATHS_MAX, SANDBOX_PORTS_MAX);
    if (self.entered)
        return err_set(e, ERR_FATAL, "sandbox: entered twice");
    sandbox_prepare(s->permits);
    remember(s);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return err_set_errno(e, ERR_FATAL, "sandbox: no_new_privs");
    if (!drop_capabilities(e) || !sandbox_landlock(s, e))
        return err_prefix(e, "sandbox");
    limit(s);
    return sandbox_filter(s->permits, s->write[0] != NULL, e) || err_prefix(e, "sandbox");
}

/* The dynamic loader: the kernel executes it for this program. */
static int find_interpreter(struct dl_phdr_info *info, size_t size, void *found)
{
    (void)size;
    for (unsigned i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_INTERP)
            *(const char **)found = (const char *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
    return 1; /* the program itself comes first */
}

bool sandbox_enter_parent(struct err *e)
{
    const char *interpreter = NULL;

#ifdef __SANITIZE_ADDRESS__
    return true;
#endif
    dl_iterate_phdr(find_interpreter, &interpreter);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return err_set_errno(e, ERR_FATAL, "sandbox: no_new_privs");
    return (drop_capabilities(e) && sandbox_landlock_parent("/proc/self/exe", interpreter, e) && sandbox_filter_parent(e)) ||
           err_prefix(e, "sandbox");
}
