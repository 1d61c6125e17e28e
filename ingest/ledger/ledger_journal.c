/* What the ledger has to say in the vault's journal: deposits that are refused, and those that are taken although they do not fit their schema, once that is committed. */
#include "ingest/ledger/ledger_internal.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/formats/hex.h"

enum { RECORDS_A_SECOND = 100 };

static void tell(struct ledger *l, const struct batch_entry *entry, const char *event)
{
    char depositor[12], serial[24], omitted[24], id[2 * BATCH_ID_SIZE + 1];
    struct journal_field fields[6];
    unsigned n = 0;

    snprintf(depositor, sizeof(depositor), "%" PRIu32, entry->d.depositor);
    snprintf(serial, sizeof(serial), "%" PRIu64, entry->serial);
    snprintf(omitted, sizeof(omitted), "%" PRIu64, l->telling.omitted);
    hex_write(id, slice_of(entry->id, BATCH_ID_SIZE));
    fields[n++] = (struct journal_field)JOURNAL_TEXT("depositor", depositor);
    /* What a sensor calls it is hidden from whoever may only read records; this is what the store knows it by. */
    fields[n++] = (struct journal_field)JOURNAL_TEXT("deposit", id);
    fields[n++] = (struct journal_field)JOURNAL_TEXT("type", entry->type);
    if (entry->kind != BATCH_INVALID)
        fields[n++] = (struct journal_field)JOURNAL_TEXT("serial", serial);
    fields[n++] = (struct journal_field)JOURNAL_TEXT("reason", entry->reason);
    if (l->telling.omitted != 0)
        fields[n++] = (struct journal_field)JOURNAL_TEXT("omitted", omitted);
    journal_write(l->journal, event, fields, n);
    l->telling.omitted = 0;
}

void ledger_tell(struct ledger *l, const struct ledger_part *p)
{
    uint64_t now = ledger_now();

    for (size_t i = p->from; i < p->to; i++) {
        const struct batch_entry *entry = &p->batch->entries[i];

        if (entry->reason == NULL || (entry->kind != BATCH_INVALID && entry->kind != BATCH_NEW))
            continue;
        l->figures.unfit += entry->kind == BATCH_NEW;
        if (now - l->telling.since >= 1000) {
            l->telling.since = now;
            l->telling.told = 0;
        }
        if (l->telling.told++ < RECORDS_A_SECOND)
            tell(l, entry, entry->kind == BATCH_INVALID ? "deposit-refused" : "deposit-unfit");
        else
            l->telling.omitted++;
    }
}
