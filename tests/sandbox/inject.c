/*
 * coffre-test-inject: makes a running process execute system calls, from outside (ptrace, so root), and says what became of them; or shows its seccomp filters. For the
 * test of the sandboxes: it stands for a role that was taken over, without any door in the roles themselves. Input is the test's.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/filter.h>
#include <linux/ptrace.h>
#include <seccomp.h>

#ifndef __x86_64__
#error "written for x86-64: registers and the instruction"
#endif

enum { ARGUMENTS = 6, CALLS_MAX = 8, SCRATCH = 4096 /* bytes below the stack's red zone */, RED_ZONE = 128 };

static void usage(FILE *out)
{
    fputs("usage: coffre-test-inject PID CALL [ARGUMENT...] [-- CALL [ARGUMENT...]]...\n"
          "       coffre-test-inject PID --filters\n"
          "Makes process PID execute the system calls and prints \"killed SIGNAL\", \"refused ERRNO\" or \"done RESULT\" for each, until one is not done; what it\n"
          "opened is closed again, a child that it made is killed. --filters: its seccomp filters, a line each, instructions of 8 bytes in hexadecimal.\n"
          "Arguments: numbers; s:TEXT, b:HEX and z:LENGTH are written to its stack and their address is passed; @ is what the call before has returned;\n"
          "self and parent are process ids.\n"
          "Exit status: 0 it was tried, 1 it could not be, 2 wrong usage.\n",
          out);
}

static void fail(const char *what)
{
    fprintf(stderr, "coffre-test-inject: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* ---- the other process's memory ----------------------------------------------------------- */

static int memory = -1;

static void put(unsigned long at, const void *bytes, size_t len)
{
    if (pwrite(memory, bytes, len, (off_t)at) != (ssize_t)len)
        fail("writing its stack");
}

/* A `syscall` instruction in the vdso or, failing that, in any code it has. */
static unsigned long find_instruction(pid_t pid)
{
    char path[64], line[512];
    unsigned long found = 0, from, to;
    char mode[8];
    FILE *maps;

    snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    maps = fopen(path, "re");
    if (maps == NULL)
        fail(path);
    while (found == 0 && fgets(line, sizeof line, maps) != NULL) {
        unsigned char *code;
        ssize_t got;

        if (sscanf(line, "%lx-%lx %7s", &from, &to, mode) != 3 || mode[2] != 'x' || strstr(line, "[vsyscall]") != NULL)
            continue;
        code = malloc(to - from);
        got = code == NULL ? -1 : pread(memory, code, to - from, (off_t)from);
        for (ssize_t i = 0; found == 0 && i + 1 < got; i++)
            if (code[i] == 0x0f && code[i + 1] == 0x05)
                found = from + (unsigned long)i;
        free(code);
    }
    fclose(maps);
    return found;
}

static pid_t parent_of(pid_t pid)
{
    char path[64], text[512] = "", *end;
    int fd;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, text, sizeof text - 1) <= 0 || (end = strrchr(text, ')')) == NULL)
        fail(path);
    close(fd);
    return (pid_t)strtol(end + 4, NULL, 10);
}

/* ---- arguments ----------------------------------------------------------------------------- */

static size_t from_hex(const char *hex, unsigned char *out, size_t most)
{
    size_t n = 0;
    unsigned byte;

    for (; n < most && sscanf(hex + 2 * n, "%2x", &byte) == 1; n++)
        out[n] = (unsigned char)byte;
    return n;
}

/* The argument's value; what is not a number goes to `*room`, which moves on. */
static unsigned long argument(const char *text, pid_t pid, unsigned long before, unsigned long *room)
{
    unsigned char bytes[SCRATCH / 2] = {0};
    unsigned long at = *room;
    size_t len;

    if (strcmp(text, "@") == 0)
        return before;
    if (strcmp(text, "self") == 0)
        return (unsigned long)pid;
    if (strcmp(text, "parent") == 0)
        return (unsigned long)parent_of(pid);
    if (text[0] == '\0' || text[1] != ':')
        return strtoul(text, NULL, 0);
    if (text[0] == 's')
        len = (size_t)snprintf((char *)bytes, sizeof bytes, "%s", text + 2) + 1;
    else if (text[0] == 'b')
        len = from_hex(text + 2, bytes, sizeof bytes);
    else
        len = strtoul(text + 2, NULL, 0);
    if (len > sizeof bytes) {
        errno = E2BIG;
        fail(text);
    }
    put(at, bytes, len);
    *room = (at + len + 15) & ~15ul;
    return at;
}

/* ---- one system call ------------------------------------------------------------------------ */

static void get_registers(pid_t pid, struct user_regs_struct *r)
{
    if (ptrace(PTRACE_GETREGS, pid, NULL, r) != 0)
        fail("reading its registers");
}

/* False when the process is gone; the signal that ended it is left in `ended`. Signals on their way to it are kept back. */
static bool step(pid_t pid, int *ended)
{
    int status;

    for (;;) {
        if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) != 0)
            fail("letting it step");
        if (waitpid(pid, &status, __WALL) != pid)
            fail("waiting for it");
        if (WIFSIGNALED(status) || WIFEXITED(status)) {
            *ended = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
            return false;
        }
        if (WSTOPSIG(status) == SIGTRAP)
            return true;
    }
}

static bool execute(pid_t pid, long number, const unsigned long *a, unsigned long *result, int *ended)
{
    struct user_regs_struct before, r;

    get_registers(pid, &before);
    r = before;
    r.rip = find_instruction(pid);
    if (r.rip == 0)
        fail("no syscall instruction");
    r.rax = (unsigned long)number;
    r.orig_rax = ~0ul; /* what it waits in is not begun again before ours */
    r.rdi = a[0];
    r.rsi = a[1];
    r.rdx = a[2];
    r.r10 = a[3];
    r.r8 = a[4];
    r.r9 = a[5];
    if (ptrace(PTRACE_SETREGS, pid, NULL, &r) != 0)
        fail("writing its registers");
    if (!step(pid, ended))
        return false;
    get_registers(pid, &r);
    *result = r.rax;
    if (ptrace(PTRACE_SETREGS, pid, NULL, &before) != 0)
        fail("restoring its registers");
    return true;
}

static void attach(pid_t pid)
{
    char path[64];
    int status;

    if (ptrace(PTRACE_ATTACH, pid, NULL, NULL) != 0 || waitpid(pid, &status, __WALL) != pid || !WIFSTOPPED(status))
        fail("attaching");
    /* Should this program end in between, it must not run on half changed. */
    if (ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_EXITKILL) != 0)
        fail("attaching");
    snprintf(path, sizeof path, "/proc/%d/mem", (int)pid);
    memory = open(path, O_RDWR | O_CLOEXEC);
    if (memory < 0)
        fail(path);
}

/* What it opened it closes again, a child is killed: it goes on as it was. */
static void undo(pid_t pid, const char *call, unsigned long result)
{
    static const char *const openers[] = {"open", "openat", "socket", "accept4", "memfd_create", "epoll_create1", NULL};
    unsigned long a[ARGUMENTS] = {result}, ignored;
    int ended;

    for (unsigned i = 0; openers[i] != NULL; i++)
        if (strcmp(call, openers[i]) == 0)
            (void)execute(pid, seccomp_syscall_resolve_name("close"), a, &ignored, &ended);
    if (strcmp(call, "fork") == 0 || strcmp(call, "vfork") == 0 || strcmp(call, "clone") == 0)
        kill((pid_t)result, SIGKILL);
}

/* ---- filters -------------------------------------------------------------------------------- */

static void show_filters(pid_t pid)
{
    static struct sock_filter code[BPF_MAXINSNS * 8];
    long count;

    for (unsigned long i = 0; (count = ptrace(PTRACE_SECCOMP_GET_FILTER, pid, (void *)i, NULL)) > 0; i++) {
        if (count > (long)(sizeof code / sizeof *code) || ptrace(PTRACE_SECCOMP_GET_FILTER, pid, (void *)i, code) != count)
            fail("reading its filters");
        for (long k = 0; k < count * (long)sizeof *code; k++)
            printf("%02x", ((const unsigned char *)code)[k]);
        putchar('\n');
    }
    if (errno != ENOENT)
        fail("reading its filters");
}

/* ---- one after the other ---------------------------------------------------------------------- */

/* The words of one call, up to the next "--"; how many. */
static int words_of(char **word)
{
    int n = 0;

    while (word[n] != NULL && strcmp(word[n], "--") != 0)
        n++;
    return n;
}

/* False when the process is gone. */
static bool try_call(pid_t pid, char **word, int words, unsigned long before, unsigned long *result)
{
    unsigned long a[ARGUMENTS] = {0}, room;
    struct user_regs_struct r;
    int number = seccomp_syscall_resolve_name(word[0]), ended = 0;

    if (number < 0 || words > 1 + ARGUMENTS) {
        errno = EINVAL;
        fail(word[0]);
    }
    get_registers(pid, &r);
    room = (r.rsp - RED_ZONE - SCRATCH) & ~15ul;
    for (int i = 1; i < words; i++)
        a[i - 1] = argument(word[i], pid, before, &room);
    if (!execute(pid, number, a, result, &ended)) {
        printf("killed %d\n", ended);
        return false;
    }
    if ((long)*result < 0 && (long)*result > -4096)
        printf("refused %ld\n", -(long)*result);
    else
        printf("done %lu\n", *result);
    return true;
}

/* Calls until one is not done, then undoes them. */
static void try_calls(pid_t pid, char **word)
{
    unsigned long results[CALLS_MAX] = {0};
    char **calls[CALLS_MAX];
    int n = 0, words;

    while (n < CALLS_MAX && (words = words_of(word)) > 0) {
        calls[n] = word;
        if (!try_call(pid, word, words, n == 0 ? 0 : results[n - 1], &results[n]))
            return;
        if ((long)results[n++] < 0)
            break;
        word += words + (word[words] == NULL ? 0 : 1);
    }
    while (n-- > 0)
        if ((long)results[n] >= 0)
            undo(pid, calls[n][0], results[n]);
}

int main(int argc, char **argv)
{
    pid_t pid;

    if (argc < 3 || (pid = (pid_t)atoi(argv[1])) <= 0) {
        usage(stderr);
        return 2;
    }
    attach(pid);
    if (strcmp(argv[2], "--filters") == 0)
        show_filters(pid);
    else
        try_calls(pid, argv + 2);
    ptrace(PTRACE_DETACH, pid, NULL, NULL);
    return 0;
}
