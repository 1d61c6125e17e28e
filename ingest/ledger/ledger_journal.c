/*
 * What the ledger has to say in the vault's journal: deposits that are refused, and those that are taken although they do not fit their schema, once that is committed. Sensors bring about as many as they
 * like: the first of each depositor and reason have records of their own, the others are counted, and the counts told.
 */
#include "ingest/ledger/ledger_internal.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/formats/hex.h"
#include "common/journal/omitted.h"

/* One depositor's reasons, some thirty words, never use up what there is for all. */
enum { KINDS = 256, OTHERS = 64, PART_MAX = 40, RECORDS_EACH = 30, RECORDS_ALL = 1000, WINDOW_MS = 10000 };

struct quota *ledger_quota_new(void)
{
    static const struct quota_limits limits = {.kinds = KINDS, .others = OTHERS, .part = PART_MAX, .each = RECORDS_EACH, .all = RECORDS_ALL, .window = WINDOW_MS};

    return quota_new(&limits);
}

static void tell(struct ledger *l, const struct batch_entry *entry, const char *event, const char *depositor)
{
    char serial[24], id[2 * BATCH_ID_SIZE + 1];
    struct journal_field fields[5];
    unsigned n = 0;

    snprintf(serial, sizeof(serial), "%" PRIu64, entry->serial);
    hex_write(id, slice_of(entry->id, BATCH_ID_SIZE));
    fields[n++] = (struct journal_field)JOURNAL_TEXT("depositor", depositor);
    /* What a sensor calls it is hidden from whoever may only read records; this is what the store knows it by. */
    fields[n++] = (struct journal_field)JOURNAL_TEXT("deposit", id);
    fields[n++] = (struct journal_field)JOURNAL_TEXT("type", entry->type);
    if (entry->kind != BATCH_INVALID)
        fields[n++] = (struct journal_field)JOURNAL_TEXT("serial", serial);
    fields[n++] = (struct journal_field)JOURNAL_TEXT("reason", entry->reason);
    journal_write(l->journal, event, fields, n);
}

/* A reason begins with a stable word (event.h); what follows says where, and is any sensor's to vary. */
static struct slice word_of(const char *reason)
{
    return slice_of(reason, strcspn(reason, ":"));
}

static void take(struct ledger *l, const struct batch_entry *entry, uint64_t now)
{
    const char *event = entry->kind == BATCH_INVALID ? "deposit-refused" : "deposit-unfit";
    char depositor[12];

    snprintf(depositor, sizeof(depositor), "%" PRIu32, entry->d.depositor);

    const struct quota_name kind = {{slice_text(depositor), word_of(entry->reason), slice_text(event)}};
    const struct quota_name others = {{slice_of(NULL, 0), kind.parts[1], kind.parts[2]}};

    if (quota_take(l->records, now, &kind, &others))
        tell(l, entry, event, depositor);
}

void ledger_tell(struct ledger *l, const struct ledger_part *p)
{
    uint64_t now = ledger_now();

    for (size_t i = p->from; i < p->to; i++) {
        const struct batch_entry *entry = &p->batch->entries[i];

        if (entry->reason == NULL || (entry->kind != BATCH_INVALID && entry->kind != BATCH_NEW))
            continue;
        l->figures.unfit += entry->kind == BATCH_NEW;
        take(l, entry, now);
    }
}

void ledger_tell_omitted(struct ledger *l, bool all)
{
    uint64_t now = ledger_now();
    struct quota_count count;

    while (quota_tell(l->records, now, all, &count)) {
        const bool unfit = strcmp(count.name[2], "deposit-unfit") == 0;
        const struct omitted_form form = {unfit ? "deposit-unfit-omitted" : "deposit-refused-omitted", {"depositor", "reason"}};

        omitted_write(l->journal, &form, &count, now);
    }
}
