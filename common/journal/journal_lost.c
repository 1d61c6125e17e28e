/*
 * Records that found no room: counted, on disk before their writers hear of it, and journaled as "journal-overflow" once there is room. Whoever reads the journal learns that something is missing,
 * how much, and since when; `since` names the episode: a record that tells of one again, after a crash, says the same.
 */
#include <inttypes.h>
#include <stdio.h>

#include "common/formats/date.h"
#include "common/journal/journal_role_internal.h"
#include "common/values/log.h"

void journal_lost_count(struct journal_role *j)
{
    if (j->lost.most++ == 0) {
        j->lost.since = journal_now_ms(CLOCK_REALTIME);
        log_error("journal-overflow", "the spool is full (%" PRIu64 " bytes): records are lost", spool_bytes(j->spool));
    }
    j->counts.lost++;
}

void journal_lost_keep(struct journal_role *j)
{
    struct err e = {0};
    bool ok;

    if (j->lost.since == j->on_disk.since && j->lost.sure == j->on_disk.sure && j->lost.most == j->on_disk.most)
        return;
    ok = tally_write(&j->tally, &j->lost, &e);
    if (!ok && !j->tally_failed)
        log_error("journal-disk", "a crash would make forget how many records are lost: %s", e.text);
    j->tally_failed = !ok;
    j->on_disk = j->lost;
}

void journal_lost_told(struct journal_role *j)
{
    j->lost.sure = j->lost.most - j->doubt;
}

void journal_lost_own_up(struct journal_role *j)
{
    struct journal_field fields[3];
    char sure[24], most[24], since[DATE_LEN + 1];

    if (j->lost.most == 0 || !spool_has_room(j->spool))
        return;
    date_write(since, j->lost.since);
    snprintf(sure, sizeof sure, "%" PRIu64, j->lost.most - j->doubt);
    snprintf(most, sizeof most, "%" PRIu64, j->lost.most);
    fields[0] = (struct journal_field)JOURNAL_TEXT("records", sure);
    fields[1] = (struct journal_field)JOURNAL_TEXT("since", since);
    fields[2] = (struct journal_field)JOURNAL_TEXT("most", most);
    if (!journal_role_write(j, "journal-overflow", fields, j->doubt > 0 ? 3 : 2))
        return;
    log_info("journal-overflow", "there is room again: %s records were lost since %s", most, since);
    /* The file follows once that record is on disk. */
    j->lost = (struct tally_count){0};
    j->doubt = 0;
}
