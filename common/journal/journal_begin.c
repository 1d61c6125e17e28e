/* How a daemon's start and stop get into the journal, once each, whatever happens to the journal role in between. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/journal/journal_role_internal.h"
#include "common/values/log.h"
#include "common/version.h"

enum { LIFE_MAX = 128 };

/* Names this life of the daemon: its parent's process id and start time (proc(5), field 22 of stat), so that a reused id is another. */
static void name_life(char life[LIFE_MAX])
{
    char *path = mem_printf("/proc/%ld/stat", (long)getppid()), text[1024] = "", *at;
    FILE *in = fopen(path, "re");
    size_t n = in == NULL ? 0 : fread(text, 1, sizeof text - 1, in);

    text[n] = '\0';
    /* The name, in parentheses, may hold anything: fields are counted behind it. */
    at = strrchr(text, ')');
    for (int i = 0; i < 20 && at != NULL; i++)
        at = strchr(at + 1, ' ');
    snprintf(life, LIFE_MAX, "%ld %.*s\n", (long)getppid(), at == NULL ? 0 : (int)strcspn(at + 1, " "), at == NULL ? "" : at + 1);
    if (in != NULL)
        fclose(in);
    free(path);
}

static void read_life(const char *path, char life[LIFE_MAX])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t n = fd < 0 ? 0 : read(fd, life, LIFE_MAX - 1);

    life[n < 0 ? 0 : n] = '\0';
    if (fd >= 0)
        close(fd);
}

static bool write_life(const char *path, const char *life)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool ok = fd >= 0 && write(fd, life, strlen(life)) == (ssize_t)strlen(life) && fsync(fd) == 0;

    if (fd >= 0)
        ok = close(fd) == 0 && ok;
    return ok;
}

static bool write_started(struct journal_role *j, bool unfinished, struct err *e)
{
    const struct journal_field fields[] = {JOURNAL_TEXT("version", COFFRE_VERSION), JOURNAL_TEXT("reason", "the run before did not stop by itself")};

    journal_role_must_write(j, "daemon-started", fields, unfinished ? 2 : 1);
    return spool_sync(j->spool, e);
}

/* What the process before has lost; and what the disk has. */
static void own_up(struct journal_role *j, const struct spool_found *found)
{
    char lines[24], bytes[24];
    struct journal_field fields[2];

    journal_lost_own_up(j);
    if (found->damaged == 0)
        return;
    log_error("journal-damaged", "%" PRIu64 " bytes before whole records are none any more, %" PRIu64 " lines", found->damaged, found->damaged_lines);
    snprintf(lines, sizeof lines, "%" PRIu64, found->damaged_lines);
    snprintf(bytes, sizeof bytes, "%" PRIu64, found->damaged);
    fields[0] = (struct journal_field)JOURNAL_TEXT("lines", lines);
    fields[1] = (struct journal_field)JOURNAL_TEXT("bytes", bytes);
    journal_role_must_write(j, "journal-damaged", fields, 2);
}

/* What the disk had lost is on it as a record first: a crash in between says it twice. A disk that takes no record costs that promise, and no other record. */
static bool mend(struct journal_role *j, const struct spool_found *found, struct err *e)
{
    struct err why = {0};

    if (found->damaged != 0 && !spool_sync(j->spool, &why))
        log_error("journal-disk", "a crash now would make forget what was damaged: %s", why.text);
    else if (found->damaged != 0)
        journal_lost_keep(j);
    return spool_mend(j->spool, e);
}

bool journal_role_begin(struct journal_role *j, struct err *e)
{
    struct spool_found found;
    char before[LIFE_MAX], now[LIFE_MAX], *path;
    bool ok;

    j->spool = spool_open(j->folder, role_settings(j->self)->journal.spool_bytes, &found, e);
    if (j->spool == NULL)
        return false;
    if (found.records > 0)
        log_info("journal-spool", "%" PRIu64 " records of before wait", found.records);
    if (found.torn > 0)
        log_warning("journal-torn", "%" PRIu64 " bytes of a torn record are dropped: nobody was told that it is on disk", found.torn);
    if (!journal_lost_open(j, e))
        return false;
    own_up(j, &found);
    if (!mend(j, &found, e))
        return false;
    path = mem_printf("%s/life", j->folder);
    name_life(now);
    read_life(path, before);
    ok = strcmp(before, now) == 0 || (write_started(j, *before != '\0', e) && (write_life(path, now) || err_set_errno(e, ERR_RETRY, "%s", path)));
    free(path);
    return ok;
}

void journal_role_stopped(struct journal_role *j)
{
    const struct journal_field field = JOURNAL_TEXT("version", COFFRE_VERSION);
    char *path = mem_printf("%s/life", j->folder);
    struct err e = {0};

    journal_role_must_write(j, "daemon-stopped", &field, 1);
    /* In this order: a stop that is not on disk was none. */
    if (spool_sync(j->spool, &e)) {
        journal_lost_told(j);
        journal_lost_keep(j);
        unlink(path);
    } else {
        log_error("journal-disk", "the stop is not recorded: %s", e.text);
    }
    free(path);
}
