/* The state file: see journal.h. */
#include "ingest/deposit/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 1024, PENDING_MAX = 64 << 20 };

static struct item *known(struct journal *j, const char *client_id)
{
    struct item *item = items_find(&j->known, slice_text(client_id));

    return item != NULL ? item : items_add(&j->known, client_id, "", "", SLICE_LITERAL(""));
}

static bool read_answer(struct journal *j, const char *line, bool duplicate)
{
    char digest[200], client_id[LINE_MAX_BYTES];
    uint64_t serial, lot;
    struct item *item;

    if (sscanf(line, "%" SCNu64 " %" SCNu64 " %199s %1023s", &serial, &lot, digest, client_id) != 4)
        return false;
    item = known(j, client_id);
    item->serial = serial;
    item->lot = lot;
    item->duplicate = duplicate;
    free(item->answer_digest);
    item->answer_digest = mem_strdup(digest);
    items_move(&j->known, item, ITEM_ANSWERED);
    return true;
}

static bool read_line(struct journal *j, const char *line)
{
    uint64_t lot;

    if (strncmp(line, "O ", 2) == 0 || strncmp(line, "U ", 2) == 0)
        return read_answer(j, line + 2, line[0] == 'U');
    if (strncmp(line, "D ", 2) == 0) {
        struct item *item = known(j, line + 2);

        if (item->state == ITEM_SENT)
            items_move(&j->known, item, ITEM_DEPOSITED);
        return line[2] != '\0';
    }
    if (sscanf(line, "A %" SCNu64, &lot) != 1)
        return false;
    j->archived = lot > j->archived ? lot : j->archived;
    return true;
}

/* Reads all lines; returns in `*whole` the length of the part that ends with a line feed. */
static bool read_lines(struct journal *j, FILE *f, const char *vault, off_t *whole, struct err *e)
{
    char line[LINE_MAX_BYTES + 64], expected[64];
    unsigned number = 0;

    snprintf(expected, sizeof expected, "coffre-deposit state 1 vault %s", vault);
    while (fgets(line, sizeof line, f) != NULL) {
        size_t len = strlen(line);

        if (len == 0 || line[len - 1] != '\n')
            return true; /* the run before was killed while writing this line */
        line[len - 1] = '\0';
        number++;
        if (number == 1 ? strcmp(line, expected) != 0 : !read_line(j, line))
            return err_set(e, ERR_INPUT, "state file %s, line %u: not what a run for vault %s wrote", j->path, number,
                           vault);
        *whole += (off_t)len;
    }
    return ferror(f) == 0 || err_set_errno(e, ERR_INPUT, "state file %s", j->path);
}

bool journal_open(struct journal *j, const char *path, const char *vault, struct err *e)
{
    off_t whole = 0;
    FILE *f;
    bool ok;

    *j = (struct journal){.path = path, .fd = -1};
    buf_init(&j->pending, PENDING_MAX);
    if (path == NULL)
        return true;
    j->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (j->fd < 0)
        return err_set_errno(e, ERR_INPUT, "state file %s", path);
    if (flock(j->fd, LOCK_EX | LOCK_NB) != 0)
        return err_set(e, ERR_INPUT, "state file %s: another run is using it", path);
    f = fdopen(dup(j->fd), "r");
    if (f == NULL)
        return err_set_errno(e, ERR_FATAL, "state file %s", path);
    ok = read_lines(j, f, vault, &whole, e);
    fclose(f);
    if (!ok)
        return false;
    if (ftruncate(j->fd, whole) != 0 || lseek(j->fd, whole, SEEK_SET) < 0)
        return err_set_errno(e, ERR_INPUT, "state file %s", path);
    return whole != 0 || buf_printf(&j->pending, e, "coffre-deposit state 1 vault %s\n", vault);
}

/* A full buffer only means that this fact is not remembered. */
static void note(struct journal *j, const char *line, int len)
{
    if (j->path != NULL && len > 0 && len < LINE_MAX_BYTES && !buf_add(&j->pending, line, (size_t)len, NULL))
        return;
}

void journal_deposited(struct journal *j, const struct item *item)
{
    char line[LINE_MAX_BYTES];

    note(j, line, snprintf(line, sizeof line, "D %s\n", item->client_id));
}

void journal_answered(struct journal *j, const struct item *item)
{
    char line[LINE_MAX_BYTES];

    note(j, line, snprintf(line, sizeof line, "%c %" PRIu64 " %" PRIu64 " %s %s\n", item->duplicate ? 'U' : 'O',
                           item->serial, item->lot, item->answer_digest, item->client_id));
}

void journal_archived(struct journal *j, uint64_t lot)
{
    char line[LINE_MAX_BYTES];

    note(j, line, snprintf(line, sizeof line, "A %" PRIu64 "\n", lot));
}

bool journal_write(struct journal *j, struct err *e)
{
    while (j->fd >= 0 && j->pending.len > 0) {
        struct slice lines = buf_slice(&j->pending);
        ssize_t n = write(j->fd, lines.at, lines.len);

        if (n < 0 && errno != EINTR)
            return err_set_errno(e, ERR_FATAL, "state file %s", j->path);
        if (n > 0)
            buf_consume(&j->pending, (size_t)n);
    }
    return true;
}

bool journal_close(struct journal *j, struct err *e)
{
    bool ok = j->fd < 0 || (journal_write(j, e) && (fdatasync(j->fd) == 0 ||
                                                     err_set_errno(e, ERR_FATAL, "state file %s", j->path)));

    if (j->fd >= 0)
        close(j->fd);
    j->fd = -1;
    buf_free(&j->pending);
    items_free(&j->known);
    return ok;
}
