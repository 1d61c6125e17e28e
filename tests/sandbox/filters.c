/*
 * coffre-test-filters: the system call filters that production would load on a machine of another kind, written out instead of loaded: sandbox_filter.c itself, with another
 * beginning and end. For tests on machines that are not at hand. Input is the test's.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <seccomp.h>

static uint32_t machine;

/* Rules that are added from now on are that machine's: the library translates the calls' numbers, and leaves out those it does not have. */
static scmp_filter_ctx init_for_machine(uint32_t action)
{
    scmp_filter_ctx f = seccomp_init(action);

    if (f != NULL && machine != seccomp_arch_native() && (seccomp_arch_add(f, machine) != 0 || seccomp_arch_remove(f, seccomp_arch_native()) != 0))
        abort();
    return f;
}

static int write_out(const scmp_filter_ctx f)
{
    return seccomp_export_bpf(f, STDOUT_FILENO);
}

#define seccomp_init init_for_machine
#define seccomp_load write_out
#include "common/system/sandbox_filter.c"

static void usage(FILE *out)
{
    fputs("usage: coffre-test-filters MACHINE parent\n"
          "       coffre-test-filters MACHINE PERMITS [writes]\n"
          "Writes the filter of a parent, or of a role that is permitted PERMITS (enum sandbox_permits, OR; `writes`: to some folder), for MACHINE (x86_64, aarch64)\n"
          "to standard output: instructions of 8 bytes.\n"
          "Exit status: 0 it is written, 1 it cannot be built, 2 wrong usage.\n",
          out);
}

int main(int argc, char **argv)
{
    struct err e = {0};
    bool ok;

    if (argc < 3 || (machine = seccomp_arch_resolve_name(argv[1])) == 0) {
        usage(stderr);
        return 2;
    }
    if (strcmp(argv[2], "parent") == 0)
        ok = sandbox_filter_parent(&e);
    else
        ok = sandbox_filter((unsigned)strtoul(argv[2], NULL, 0), argc > 3 && strcmp(argv[3], "writes") == 0, &e);
    if (!ok)
        fprintf(stderr, "coffre-test-filters: %s\n", e.text);
    return ok ? 0 : 1;
}
