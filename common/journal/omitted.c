/* How a count becomes a record: see omitted.h. */
#include "common/journal/omitted.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "common/formats/date.h"

void omitted_write(struct journal *j, const struct omitted_form *form, const struct quota_count *count, uint64_t now)
{
    struct journal_field fields[QUOTA_PARTS + 2];
    char records[24], since[DATE_LEN + 1];
    struct timespec wall;
    unsigned n = 0;

    clock_gettime(CLOCK_REALTIME, &wall);
    date_write(since, (int64_t)wall.tv_sec * 1000 + wall.tv_nsec / 1000000 - (int64_t)(now - count->begun));
    snprintf(records, sizeof records, "%" PRIu64, count->omitted);
    for (unsigned i = 0; i < QUOTA_PARTS; i++)
        if (form->parts[i] != NULL)
            fields[n++] = (struct journal_field)JOURNAL_TEXT(form->parts[i], count->name[i]);
    fields[n++] = (struct journal_field)JOURNAL_TEXT("records", records);
    fields[n++] = (struct journal_field)JOURNAL_TEXT("since", since);
    journal_write(j, form->event, fields, n);
}

void omitted_tell(struct journal *j, const struct omitted_form *form, struct quota *q, uint64_t now, bool all)
{
    struct quota_count count;

    while (quota_tell(q, now, all, &count))
        omitted_write(j, form, &count, now);
}
