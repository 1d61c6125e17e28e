/* Small files that survive a power cut: see durable.h. */
#include "common/system/durable.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

enum { READ_CHUNK = 64 * 1024, LOCK_PAUSE_MS = 5, LOCK_TRIES = 400 };

static bool write_fully(int fd, struct slice bytes)
{
    while (bytes.len > 0) {
        ssize_t n = write(fd, bytes.at, bytes.len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        bytes = slice_of(bytes.at + n, bytes.len - (size_t)n);
    }
    return true;
}

static bool sync_folder(const char *path)
{
    char *copy = mem_strdup(path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;

    if (fd >= 0)
        close(fd);
    free(copy);
    return ok;
}

bool durable_write(const char *path, struct slice bytes, mode_t mode, struct err *e)
{
    char *fresh = mem_printf("%s.new", path);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    bool ok = fd >= 0 && write_fully(fd, bytes) && fsync(fd) == 0;

    if (fd >= 0 && close(fd) != 0)
        ok = false;
    ok = ok && rename(fresh, path) == 0 && sync_folder(path);
    if (!ok) {
        err_set_errno(e, ERR_RETRY, "%s cannot be written", path);
        unlink(fresh); /* half a file takes room that is wanted */
    }
    free(fresh);
    return ok;
}

bool durable_read(const char *path, struct buf *out, bool *missing, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = 1;

    if (missing != NULL)
        *missing = fd < 0 && errno == ENOENT;
    if (fd < 0)
        return err_set_errno(e, ERR_RETRY, "%s", path);
    while (n > 0) {
        uint8_t chunk[READ_CHUNK];

        n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            n = 1;
        else if (n < 0)
            err_set_errno(e, ERR_RETRY, "%s", path);
        else if (n > 0 && !buf_add(out, chunk, (size_t)n, e))
            n = -1;
    }
    close(fd);
    return n == 0 || err_prefix(e, "%s", path);
}

int durable_lock(const char *path, struct err *e)
{
    static const struct timespec pause = {0, LOCK_PAUSE_MS * 1000000L};
    char *name = mem_printf("%s.lock", path);
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600), locked = -1;

    /* Not LOCK_EX alone: its holder may be stopped for ever, and whoever waits must be able to say so. */
    for (int i = 0; fd >= 0 && i < LOCK_TRIES && (locked = flock(fd, LOCK_EX | LOCK_NB)) != 0 && errno == EWOULDBLOCK; i++)
        nanosleep(&pause, NULL);
    if (locked != 0) {
        if (fd >= 0 && errno == EWOULDBLOCK)
            err_set(e, ERR_RETRY, "%s has been held by another process for %d s", name, LOCK_PAUSE_MS * LOCK_TRIES / 1000);
        else
            err_set_errno(e, ERR_RETRY, "lock %s", name);
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    free(name);
    return fd;
}
