/*
 * Records that found no room: counted, on disk before their writers hear of it, and journaled as "journal-overflow" once there is room. Whoever reads the journal learns that something is missing, whose,
 * how much, and since when; `since` names the episode: a record that tells of one again, after a crash, says the same.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/formats/date.h"
#include "common/journal/journal_role_internal.h"
#include "common/values/log.h"

static const struct {
    const char *kind; /* NULL: all others */
    const char *file;
} ranks[JOURNAL_RANKS] = {[JOURNAL_FRONTS] = {"front", "lost-front"}, [JOURNAL_IDENTITY] = {"identity", "lost-identity"}, [JOURNAL_OTHERS] = {NULL, "lost"}};

enum journal_rank journal_rank_of(const char *kind)
{
    enum journal_rank rank = JOURNAL_FRONTS;

    while (ranks[rank].kind != NULL && strcmp(ranks[rank].kind, kind) != 0)
        rank++;
    return rank;
}

static const char *name_of(unsigned rank)
{
    return ranks[rank].kind == NULL ? "any role" : ranks[rank].kind;
}

bool journal_lost_open(struct journal_role *j, struct err *e)
{
    bool ok = true;

    for (unsigned n = 0; ok && n < JOURNAL_RANKS; n++) {
        struct journal_loss *l = &j->losses[n];
        char *path = mem_printf("%s/%s", j->folder, ranks[n].file);

        ok = tally_open(&l->tally, path, &l->now, e);
        l->on_disk = l->now;
        l->doubt = l->now.most - l->now.sure;
        free(path);
    }
    return ok;
}

void journal_lost_close(struct journal_role *j)
{
    for (unsigned n = 0; n < JOURNAL_RANKS; n++)
        tally_close(&j->losses[n].tally);
}

void journal_lost_count(struct journal_role *j, enum journal_rank rank)
{
    struct journal_loss *l = &j->losses[rank];

    if (l->now.most++ == 0) {
        l->now.since = journal_now_ms(CLOCK_REALTIME);
        log_error("journal-overflow", "the spool is full for %s (%" PRIu64 " bytes): records are lost", name_of(rank), spool_bytes(j->spool));
    }
    j->counts.lost++;
}

bool journal_lost_any(const struct journal_role *j, enum journal_rank rank)
{
    return j->losses[rank].now.most > 0;
}

static bool is_kept(const struct journal_loss *l)
{
    return l->now.since == l->on_disk.since && l->now.sure == l->on_disk.sure && l->now.most == l->on_disk.most;
}

bool journal_lost_due(const struct journal_role *j)
{
    for (unsigned n = 0; n < JOURNAL_RANKS; n++)
        if (j->losses[n].now.sure != j->losses[n].on_disk.sure)
            return true;
    return false;
}

static void keep(struct journal_loss *l)
{
    struct err e = {0};
    bool ok;

    if (is_kept(l))
        return;
    ok = tally_write(&l->tally, &l->now, &e);
    if (!ok && !l->failed)
        log_error("journal-disk", "a crash would make forget how many records are lost: %s", e.text);
    l->failed = !ok;
    l->on_disk = l->now;
}

void journal_lost_keep(struct journal_role *j)
{
    for (unsigned n = 0; n < JOURNAL_RANKS; n++)
        keep(&j->losses[n]);
}

void journal_lost_told(struct journal_role *j)
{
    for (unsigned n = 0; n < JOURNAL_RANKS; n++)
        j->losses[n].now.sure = j->losses[n].now.most - j->losses[n].doubt;
}

static void own_up(struct journal_role *j, unsigned rank)
{
    struct journal_loss *l = &j->losses[rank];
    char sure[24], most[24], since[DATE_LEN + 1];
    struct journal_field fields[4];
    unsigned count = 2;

    if (l->now.most == 0 || !spool_has_room(j->spool, rank))
        return;
    date_write(since, l->now.since);
    snprintf(sure, sizeof sure, "%" PRIu64, l->now.most - l->doubt);
    snprintf(most, sizeof most, "%" PRIu64, l->now.most);
    fields[0] = (struct journal_field)JOURNAL_TEXT("records", sure);
    fields[1] = (struct journal_field)JOURNAL_TEXT("since", since);
    if (ranks[rank].kind != NULL)
        fields[count++] = (struct journal_field)JOURNAL_TEXT("role", ranks[rank].kind);
    if (l->doubt > 0)
        fields[count++] = (struct journal_field)JOURNAL_TEXT("most", most);
    if (!journal_role_write(j, "journal-overflow", fields, count))
        return;
    log_info("journal-overflow", "there is room again for %s: %s records were lost since %s", name_of(rank), most, since);
    /* The file follows once that record is on disk. */
    l->now = (struct tally_count){0};
    l->doubt = 0;
}

void journal_lost_own_up(struct journal_role *j)
{
    for (unsigned n = 0; n < JOURNAL_RANKS; n++)
        own_up(j, n);
}
