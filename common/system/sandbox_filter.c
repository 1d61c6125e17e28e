/*
 * Which system calls a role may still make: an allow-list in groups, everything else kills the process (SIGSYS; the parent starts it again, the kernel's audit log
 * names the call). Written for the C library and the libraries of Debian 12 on x86-64 and arm64; calls that one of them does not have are left out there.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/system/sandbox_internal.h"

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

#define COUNT(list) (sizeof(list) / sizeof *(list))
#define IS(arg, value) SCMP_CMP64(arg, SCMP_CMP_EQ, (scmp_datum_t)(value), 0)
#define BITS(arg, mask, value) SCMP_CMP64(arg, SCMP_CMP_MASKED_EQ, (scmp_datum_t)(mask), (scmp_datum_t)(value))
#define RULE(action, call, ...) add_rule(f, action, SCMP_SYS(call), COUNT(((struct scmp_arg_cmp[]){__VA_ARGS__})), (struct scmp_arg_cmp[]){__VA_ARGS__})

/* Descriptors at hand, memory, time, signals to oneself, and leaving: every role. */
static const int base_calls[] = {
    /* bytes */
    SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv), SCMP_SYS(writev), SCMP_SYS(recvfrom), SCMP_SYS(sendto), SCMP_SYS(recvmsg), SCMP_SYS(sendmsg),
    SCMP_SYS(lseek), SCMP_SYS(close), SCMP_SYS(shutdown), SCMP_SYS(getsockname), SCMP_SYS(getpeername), SCMP_SYS(fstat),
    /* waiting */
    SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(select), SCMP_SYS(pselect6), SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait), SCMP_SYS(eventfd2), SCMP_SYS(pipe2), SCMP_SYS(timerfd_create), SCMP_SYS(timerfd_settime),
    /* memory; mmap and mprotect have conditions */
    SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(mlock), SCMP_SYS(mlock2), SCMP_SYS(munlock),
    /* time */
    SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(gettimeofday), SCMP_SYS(time), SCMP_SYS(nanosleep), SCMP_SYS(clock_nanosleep),
    /* signals, threads' locks */
    SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(sigaltstack), SCMP_SYS(restart_syscall), SCMP_SYS(futex),
    SCMP_SYS(sched_yield), SCMP_SYS(set_robust_list), SCMP_SYS(rseq),
    /* who and where one is, and what is left: nothing that changes anything */
    SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(getppid), SCMP_SYS(getuid), SCMP_SYS(geteuid), SCMP_SYS(getgid), SCMP_SYS(getegid),
    SCMP_SYS(getrusage), SCMP_SYS(sysinfo), SCMP_SYS(uname), SCMP_SYS(sched_getaffinity), SCMP_SYS(getrandom),
    /* the end */
    SCMP_SYS(exit), SCMP_SYS(exit_group),
};

static const int accept_calls[] = {SCMP_SYS(accept4)};

/* socket has conditions; sendmmsg is the resolver's. */
static const int connect_calls[] = {SCMP_SYS(connect), SCMP_SYS(sendmmsg)};

/* Which paths is Landlock's part; names and attributes of files are not secret. */
static const int file_calls[] = {
    SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(stat), SCMP_SYS(lstat), SCMP_SYS(newfstatat), SCMP_SYS(statx), SCMP_SYS(access), SCMP_SYS(faccessat),
    SCMP_SYS(faccessat2), SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(getdents64), SCMP_SYS(getcwd), SCMP_SYS(pread64), SCMP_SYS(fadvise64),
    SCMP_SYS(statfs), SCMP_SYS(fstatfs), SCMP_SYS(dup),
};

static const int write_calls[] = {
    SCMP_SYS(pwrite64), SCMP_SYS(ftruncate), SCMP_SYS(fallocate), SCMP_SYS(fsync), SCMP_SYS(fdatasync), SCMP_SYS(sync_file_range), SCMP_SYS(flock), SCMP_SYS(rename),
    SCMP_SYS(renameat), SCMP_SYS(renameat2), SCMP_SYS(unlink), SCMP_SYS(unlinkat), SCMP_SYS(mkdir), SCMP_SYS(mkdirat), SCMP_SYS(umask),
};

/* clone has conditions. */
static const int thread_calls[] = {SCMP_SYS(sched_getparam), SCMP_SYS(sched_getscheduler), SCMP_SYS(socketpair)};

/*
 * A library of the HSM's maker: what such libraries are known to use on top, and nothing that would give them more than the role's own user has. Its shared
 * memory and semaphores are how some of them talk to their service. ntp_adjtime is ours: stamp and seal ask the kernel about the clock.
 */
static const int module_calls[] = {
    SCMP_SYS(shmget), SCMP_SYS(shmat), SCMP_SYS(shmdt), SCMP_SYS(shmctl), SCMP_SYS(semget), SCMP_SYS(semop), SCMP_SYS(semtimedop), SCMP_SYS(semctl), SCMP_SYS(msync),
    SCMP_SYS(dup2), SCMP_SYS(dup3), SCMP_SYS(pipe), SCMP_SYS(readahead), SCMP_SYS(chmod), SCMP_SYS(fchmod), SCMP_SYS(fchmodat), SCMP_SYS(utimensat), SCMP_SYS(rmdir),
    SCMP_SYS(link), SCMP_SYS(linkat), SCMP_SYS(symlink), SCMP_SYS(symlinkat), SCMP_SYS(adjtimex), SCMP_SYS(clock_adjtime), SCMP_SYS(times), SCMP_SYS(getpgrp), SCMP_SYS(getpgid),
    SCMP_SYS(getsid), SCMP_SYS(getgroups), SCMP_SYS(getresuid), SCMP_SYS(getresgid), SCMP_SYS(getpriority), SCMP_SYS(getcpu), SCMP_SYS(mincore), SCMP_SYS(epoll_create),
    SCMP_SYS(eventfd), SCMP_SYS(getdents), SCMP_SYS(creat), SCMP_SYS(truncate), SCMP_SYS(setitimer), SCMP_SYS(getitimer), SCMP_SYS(alarm),
};

struct option {
    int level, name;
};

/* Of sockets, what our code, libpq, librabbitmq, libcurl and the resolver set. Not among them: filters, which are programs for the kernel. */
static const struct option socket_options[] = {
    {SOL_SOCKET, SO_KEEPALIVE}, {SOL_SOCKET, SO_REUSEADDR}, {SOL_SOCKET, SO_SNDBUF},       {SOL_SOCKET, SO_RCVBUF},       {SOL_SOCKET, SO_RCVTIMEO}, {SOL_SOCKET, SO_SNDTIMEO},
    {SOL_SOCKET, SO_LINGER},    {IPPROTO_TCP, TCP_NODELAY}, {IPPROTO_TCP, TCP_CORK},       {IPPROTO_TCP, TCP_KEEPIDLE},   {IPPROTO_TCP, TCP_KEEPINTVL}, {IPPROTO_TCP, TCP_KEEPCNT},
    {IPPROTO_TCP, TCP_QUICKACK}, {IPPROTO_TCP, TCP_USER_TIMEOUT}, {IPPROTO_IP, IP_RECVERR}, {IPPROTO_IP, IP_MTU_DISCOVER}, {IPPROTO_IP, IP_TOS}, {IPPROTO_IPV6, IPV6_RECVERR}, {IPPROTO_IPV6, IPV6_V6ONLY}, {IPPROTO_IPV6, IPV6_MTU_DISCOVER},
};

/* ---- building -------------------------------------------------------------------------------- */

/* A number below zero stands for a call that this machine does not have. */
static bool add_rule(scmp_filter_ctx f, uint32_t action, int call, size_t count, const struct scmp_arg_cmp *conditions)
{
    return call < 0 || seccomp_rule_add_array(f, action, call, (unsigned)count, conditions) == 0;
}

static bool allow_all(scmp_filter_ctx f, const int *calls, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!add_rule(f, SCMP_ACT_ALLOW, calls[i], 0, NULL))
            return false;
    return true;
}

/* No memory becomes code. */
static bool add_memory(scmp_filter_ctx f, unsigned permits)
{
    const uint32_t refused = SCMP_ACT_ERRNO(EACCES);

    if (!RULE(SCMP_ACT_ALLOW, mmap, BITS(2, PROT_EXEC, 0)) || !RULE(SCMP_ACT_ALLOW, mprotect, BITS(2, PROT_EXEC, 0)))
        return false;
    /* Makers' libraries load others when they need them: from files, never writable. */
    if ((permits & SANDBOX_MODULE) != 0)
        return RULE(SCMP_ACT_ALLOW, mmap, BITS(2, PROT_EXEC | PROT_WRITE, PROT_EXEC), BITS(3, MAP_ANONYMOUS, 0));
    /* The resolver tries to load a module of the name service that was put into nsswitch.conf since, and goes on without it. */
    return (permits & SANDBOX_CONNECT) == 0 || RULE(refused, mmap, BITS(2, PROT_EXEC, PROT_EXEC));
}

/* Signals to oneself: abort(), raise(). */
static bool add_process(scmp_filter_ctx f, unsigned permits)
{
    const unsigned thread = CLONE_VM | CLONE_THREAD | CLONE_SIGHAND;

    return RULE(SCMP_ACT_ALLOW, prctl, IS(0, PR_SET_NAME)) && RULE(SCMP_ACT_ALLOW, prctl, IS(0, PR_GET_NAME)) && RULE(SCMP_ACT_ALLOW, prctl, IS(0, PR_GET_DUMPABLE)) &&
           /* newer C libraries name their memory, and do not mind when they cannot */
           RULE(SCMP_ACT_ERRNO(EINVAL), prctl, IS(0, PR_SET_VMA)) &&
           /* one's own limits; hard ones only sink */
           RULE(SCMP_ACT_ALLOW, prlimit64, IS(0, 0)) && RULE(SCMP_ACT_ALLOW, tgkill, IS(0, getpid())) &&
           ((permits & (SANDBOX_THREADS | SANDBOX_MODULE)) == 0 ||
            /* clone3 keeps its flags where no filter sees them: the C library then takes clone */
            (RULE(SCMP_ACT_ALLOW, clone, BITS(0, thread, thread)) && add_rule(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0, NULL) &&
             allow_all(f, thread_calls, COUNT(thread_calls))));
}

static bool add_descriptors(scmp_filter_ctx f)
{
    static const int controls[] = {F_GETFD, F_SETFD, F_GETFL, F_SETFL};
    /* isatty() of what is written to: a question that stdio asks. Bytes waiting in either direction. */
    static const unsigned long asks[] = {TCGETS, FIONREAD, FIONBIO, TIOCOUTQ};

    for (size_t i = 0; i < COUNT(controls); i++)
        if (!RULE(SCMP_ACT_ALLOW, fcntl, IS(1, controls[i])))
            return false;
    for (size_t i = 0; i < COUNT(asks); i++)
        if (!RULE(SCMP_ACT_ALLOW, ioctl, IS(1, asks[i])))
            return false;
    for (size_t i = 0; i < COUNT(socket_options); i++)
        if (!RULE(SCMP_ACT_ALLOW, setsockopt, IS(1, socket_options[i].level), IS(2, socket_options[i].name)))
            return false;
    return RULE(SCMP_ACT_ALLOW, getsockopt, IS(1, SOL_SOCKET)) && RULE(SCMP_ACT_ALLOW, getsockopt, IS(1, IPPROTO_TCP));
}

static bool add_sockets(scmp_filter_ctx f)
{
    static const int families[] = {AF_UNIX, AF_INET, AF_INET6};

    for (size_t i = 0; i < COUNT(families); i++)
        if (!RULE(SCMP_ACT_ALLOW, socket, IS(0, families[i])))
            return false;
    /* The resolver asks the kernel which addresses the machine has, to sort what it found; without an answer it takes both families. */
    return RULE(SCMP_ACT_ERRNO(EAFNOSUPPORT), socket, IS(0, AF_NETLINK)) &&
           /* Kerberos, which libpq may bring in, looks for its keys in the kernel first */
           add_rule(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(keyctl), 0, NULL) && allow_all(f, connect_calls, COUNT(connect_calls));
}

/* Libraries write to syslog() when something is wrong, and do not mind when they cannot. */
static bool refuse_sockets(scmp_filter_ctx f)
{
    return add_rule(f, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(socket), 0, NULL) && add_rule(f, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(connect), 0, NULL);
}

/* Attributes of a descriptor at hand, of no path: what the C library makes of fstat(). */
static bool add_fstat(scmp_filter_ctx f)
{
    return RULE(SCMP_ACT_ALLOW, newfstatat, BITS(3, AT_EMPTY_PATH, AT_EMPTY_PATH));
}

static bool add_blindness(scmp_filter_ctx f)
{
    return RULE(SCMP_ACT_ERRNO(ENOENT), newfstatat, BITS(3, AT_EMPTY_PATH, 0));
}

static bool add_locks(scmp_filter_ctx f)
{
    static const int locks[] = {F_GETLK, F_SETLK, F_SETLKW, F_DUPFD, F_DUPFD_CLOEXEC, F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW};

    for (size_t i = 0; i < COUNT(locks); i++)
        if (!RULE(SCMP_ACT_ALLOW, fcntl, IS(1, locks[i])))
            return false;
    return true;
}

static bool add_role(scmp_filter_ctx f, unsigned permits, bool writes)
{
    bool module = (permits & SANDBOX_MODULE) != 0, connects = (permits & (SANDBOX_CONNECT | SANDBOX_NETWORK)) != 0,
         files = connects || module || writes || (permits & SANDBOX_FILES) != 0;

    return allow_all(f, base_calls, COUNT(base_calls)) && add_memory(f, permits) && add_process(f, permits) && add_descriptors(f) &&
           ((permits & SANDBOX_ACCEPT) == 0 || allow_all(f, accept_calls, COUNT(accept_calls))) && (!connects || add_sockets(f)) && (!module || connects || refuse_sockets(f)) &&
           (files ? allow_all(f, file_calls, COUNT(file_calls)) : add_fstat(f)) && (files || (permits & SANDBOX_BLIND) == 0 || add_blindness(f)) && (!(module || writes) || allow_all(f, write_calls, COUNT(write_calls))) &&
           (!module || (allow_all(f, module_calls, COUNT(module_calls)) && add_locks(f)));
}

/* One comparison in front of a binary search instead of one after the other: fronts make some 100,000 calls a second. */
static bool load(scmp_filter_ctx f, struct err *e)
{
    int failed = seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2);

    if (failed == 0)
        failed = seccomp_attr_set(f, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (failed == 0)
        failed = seccomp_load(f);
    errno = -failed;
    return failed == 0 || err_set_errno(e, ERR_FATAL, "seccomp");
}

bool sandbox_filter(unsigned permits, bool writes, struct err *e)
{
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_KILL_PROCESS);
    bool ok = f != NULL && add_role(f, permits, writes);

    ok = ok ? load(f, e) : err_set(e, ERR_FATAL, "seccomp: the filter cannot be built");
    seccomp_release(f);
    return ok;
}

/* ---- parents ---------------------------------------------------------------------------------- */

/* Never a parent's business nor, as filters are inherited, any role's. */
static const int parent_denied[] = {
    /* other processes */
    SCMP_SYS(ptrace), SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev), SCMP_SYS(process_madvise), SCMP_SYS(kcmp), SCMP_SYS(pidfd_getfd), SCMP_SYS(pidfd_open),
    /* programs in the kernel, and doors around this filter */
    SCMP_SYS(bpf), SCMP_SYS(userfaultfd), SCMP_SYS(io_uring_setup), SCMP_SYS(io_uring_enter), SCMP_SYS(io_uring_register), SCMP_SYS(perf_event_open), SCMP_SYS(modify_ldt),
    SCMP_SYS(init_module), SCMP_SYS(finit_module), SCMP_SYS(delete_module), SCMP_SYS(kexec_load), SCMP_SYS(kexec_file_load), SCMP_SYS(iopl), SCMP_SYS(ioperm),
    /* other views of the system */
    SCMP_SYS(mount), SCMP_SYS(umount2), SCMP_SYS(pivot_root), SCMP_SYS(chroot), SCMP_SYS(move_mount), SCMP_SYS(open_tree), SCMP_SYS(fsopen), SCMP_SYS(fsconfig), SCMP_SYS(fsmount),
    SCMP_SYS(fspick), SCMP_SYS(mount_setattr), SCMP_SYS(unshare), SCMP_SYS(setns), SCMP_SYS(name_to_handle_at), SCMP_SYS(open_by_handle_at), SCMP_SYS(fanotify_init),
    /* other identities */
    SCMP_SYS(setuid), SCMP_SYS(setgid), SCMP_SYS(setreuid), SCMP_SYS(setregid), SCMP_SYS(setresuid), SCMP_SYS(setresgid), SCMP_SYS(setfsuid), SCMP_SYS(setfsgid),
    SCMP_SYS(setgroups), SCMP_SYS(personality), SCMP_SYS(add_key), SCMP_SYS(request_key),
    /* the machine's */
    SCMP_SYS(reboot), SCMP_SYS(swapon), SCMP_SYS(swapoff), SCMP_SYS(settimeofday), SCMP_SYS(clock_settime), SCMP_SYS(sethostname), SCMP_SYS(setdomainname), SCMP_SYS(acct),
    SCMP_SYS(quotactl), SCMP_SYS(syslog), SCMP_SYS(vhangup), SCMP_SYS(migrate_pages), SCMP_SYS(move_pages),
};

static bool deny_parent(scmp_filter_ctx f)
{
    static const unsigned spaces[] = {CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWUTS, CLONE_NEWCGROUP};

    for (size_t i = 0; i < COUNT(parent_denied); i++)
        if (!add_rule(f, SCMP_ACT_KILL_PROCESS, parent_denied[i], 0, NULL))
            return false;
    for (size_t i = 0; i < COUNT(spaces); i++)
        if (!RULE(SCMP_ACT_KILL_PROCESS, clone, BITS(0, spaces[i], spaces[i])))
            return false;
    return add_rule(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0, NULL);
}

bool sandbox_filter_parent(struct err *e)
{
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_ALLOW);
    bool ok = f != NULL && deny_parent(f);

    ok = ok ? load(f, e) : err_set(e, ERR_FATAL, "seccomp: the parent's filter cannot be built");
    seccomp_release(f);
    return ok;
}
