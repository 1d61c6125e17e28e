/*
 * A daemon of roles on trial: the test program is that daemon when it is given arguments (it calls daemon_main() then), and the test of it when not.
 * The test starts itself as a process over the test's folder, and knows it by what it leaves in its state folder. Failures end the test.
 */
#ifndef COFFRE_TESTS_TRIAL_H
#define COFFRE_TESTS_TRIAL_H

#include <stdbool.h>
#include <sys/types.h>

#define TRIAL_NAME "coffre-test" /* of the daemon: for struct daemon */

/* Set-up and tear-down of a group: the folder (folder.h) with a configuration of an ingest daemon. */
int trial_make(void **state);
int trial_remove(void **state);
/* Set-up of a test: no daemon of one that failed, and no state folder. What an earlier daemon left there says nothing about the next. */
int trial_clear(void **state);

/* Writes the configuration: the shortest that is valid, and behind it `more`, whole lines. The second adds lines to what is there. */
void trial_configure(const char *more);
void trial_configure_more(const char *lines);

/* Starts the daemon, which dies with the test. Status and figures of an earlier one are gone; what it prints is added to the folder's file "log". */
pid_t trial_start(void);
/* Waits for its end: the exit status, which it must have come to by itself. */
int trial_wait(pid_t daemon);
/* Asks it to end, which must go without any fault. */
void trial_stop(pid_t daemon);
/* Kills it without a word, and waits until none of its roles is left. */
void trial_kill(pid_t daemon);

/* A file of the state folder: its path (the caller's to free); its bytes, until they are next asked for, "" when it is not there. */
char *trial_file(const char *name);
const char *trial_contents(const char *name);
/* The status, in the same way. */
const char *trial_status(void);
/* Makes an empty file there; takes one away that must be there. This is how a test tells roles of its own what to do. */
void trial_put(const char *name);
void trial_take_away(const char *name);

/* Waits until an expression that is evaluated again and again is true: so long that only a defect makes it fail. */
#define TRIAL_UNTIL(condition)                    \
    do {                                          \
        unsigned turns_ = 0;                      \
        while (!(condition))                      \
            trial_turn(&turns_, #condition, NULL); \
    } while (0)
/* One turn of such a waiting; `name` (NULL: the status) is the file whose contents are shown when it was the last. */
void trial_turn(unsigned *turns, const char *what, const char *name);
/* Wait until the status, or another file of the state folder, says `what`; or until the status does no longer. Its contents then. */
const char *trial_await(const char *what);
const char *trial_await_in(const char *name, const char *what);
const char *trial_await_no(const char *what);

/* The process that runs this kind's role 0: once there is one; once there is another than `before`, and it is ready. */
pid_t trial_pid(const char *kind);
pid_t trial_another(const char *kind, pid_t before);
/* Waits until the status names this process of a role no more. */
void trial_await_gone(pid_t role);

/* A figure of proc_pid_status(5) in KiB, for example "VmRSS:". */
long trial_memory_kib(pid_t process, const char *figure);

#endif
