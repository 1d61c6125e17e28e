/* Locked, non-dumpable, wiped memory and the files it is filled from: see secret.h. */
#include "common/system/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "common/values/log.h"

bool secret_alloc(struct secret *s, size_t len, struct err *e)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), mapped = (len + page - 1) / page * page;
    void *at;

    if (len == 0 || len > SIZE_MAX - page)
        return err_set(e, ERR_FATAL, "secret memory of %zu bytes makes no sense", len);
    at = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return err_set_errno(e, ERR_FATAL, "no memory for a secret");
    if (mlock(at, mapped) != 0 || madvise(at, mapped, MADV_DONTDUMP) != 0) {
        err_set_errno(e, ERR_FATAL, "memory for a secret cannot be locked (ulimit -l)");
        munmap(at, mapped);
        return false;
    }
    *s = (struct secret){at, len, mapped};
    return true;
}

void secret_free(struct secret *s)
{
    if (s->at != NULL) {
        OPENSSL_cleanse(s->at, s->mapped);
        munmap(s->at, s->mapped);
    }
    *s = (struct secret){0};
}

void secret_open_heap(void)
{
    enum { HEAP = 256 * 1024, SMALLEST = 32 };

    if (CRYPTO_secure_malloc_init(HEAP, SMALLEST) != 1)
        log_warning("keys-unlocked", "OpenSSL's memory for keys cannot be locked: they may be swapped out (ulimit -l)");
}

static bool check_owner_only(int fd, const char *path, struct err *e)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return err_set_errno(e, ERR_INPUT, "%s", path);
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_INPUT, "%s: not a regular file", path);
    if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        return err_set(e, ERR_INPUT, "%s: mode %04o lets others in; a secret is its owner's alone (chmod 600)", path,
                       (unsigned)st.st_mode & 07777);
    return true;
}

bool secret_check_file(const char *path, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool ok;

    if (fd < 0)
        return err_set_errno(e, ERR_INPUT, "%s", path);
    ok = check_owner_only(fd, path, e);
    close(fd);
    return ok;
}

/* Reads at most `max` bytes; one more than that is an error. */
static bool read_whole(struct secret *s, const char *path, size_t max, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    size_t got = 0;
    ssize_t n = 0;
    bool ok = false;

    if (fd < 0)
        return err_set_errno(e, ERR_INPUT, "%s", path);
    if (!check_owner_only(fd, path, e) || !secret_alloc(s, max + 1, e))
        goto out;
    while (got <= max && ((n = read(fd, s->at + got, max + 1 - got)) > 0 || (n < 0 && errno == EINTR)))
        got += n > 0 ? (size_t)n : 0;
    if (n < 0)
        err_set_errno(e, ERR_INPUT, "%s", path);
    else if (got > max)
        err_set(e, ERR_INPUT, "%s: over %zu bytes", path, max);
    else
        ok = true;
    s->len = got;
    if (!ok)
        secret_free(s);
out:
    close(fd);
    return ok;
}

bool secret_read_key(struct secret *s, const char *path, struct err *e)
{
    if (!read_whole(s, path, SECRET_KEY_SIZE, e))
        return false;
    if (s->len != SECRET_KEY_SIZE) {
        err_set(e, ERR_INPUT, "%s: %zu bytes, a key has %d", path, s->len, SECRET_KEY_SIZE);
        secret_free(s);
        return false;
    }
    return true;
}

bool secret_read_pin(struct secret *s, const char *path, struct err *e)
{
    if (!read_whole(s, path, SECRET_PIN_MAX + 1, e))
        return false;
    if (s->len != 0 && s->at[s->len - 1] == '\n')
        s->len--;
    s->at[s->len] = '\0'; /* there is room: one byte more than the maximum was mapped */
    if (s->len == 0 || s->len > SECRET_PIN_MAX || memchr(s->at, '\n', s->len) != NULL || memchr(s->at, 0, s->len) != NULL) {
        secret_free(s);
        return err_set(e, ERR_INPUT, "%s: one line of 1 to %d bytes expected", path, SECRET_PIN_MAX);
    }
    return true;
}
