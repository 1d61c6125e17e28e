/* Overrides (débrayage): while one is in force for a profile, what nobody knows of a revocation lets pass; what is known to be revoked never does. Every begin, use and end is recorded. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/identity/identity_internal.h"
#include "common/identity/pkix.h"
#include "common/values/log.h"

static void free_source(struct identity_source *s)
{
    for (unsigned n = 0; n < s->count; n++) {
        free((void *)(uintptr_t)s->at[n].by.at);
        free((void *)(uintptr_t)s->at[n].why.at);
    }
    s->count = 0;
}

static struct slice own(struct slice text)
{
    return slice_of(mem_text(text), text.len);
}

void identity_overrides_take(struct identity *i, unsigned source, const struct identity_overrides *o)
{
    struct identity_source *s = &i->sources[source];

    free_source(s);
    for (unsigned n = 0; n < o->count; n++)
        s->at[s->count++] = (struct identity_override){o->at[n].profile, o->at[n].until, own(o->at[n].by), own(o->at[n].why)};
    identity_overrides_tick(i, identity_wall());
}

/* The one that lasts longest, of all that any source told: of several readers of one table the slower one must not end what the other has seen. */
static const struct identity_override *longest(const struct identity *i, enum roster_profile profile, int64_t now)
{
    const struct identity_override *found = NULL;

    for (unsigned n = 0; n < IDENTITY_SOURCES_MAX; n++)
        for (unsigned k = 0; k < i->sources[n].count; k++) {
            const struct identity_override *o = &i->sources[n].at[k];

            if (o->profile == profile && o->until > now && (found == NULL || o->until > found->until))
                found = o;
        }
    return found;
}

static void record(struct identity *i, const char *event, enum roster_profile profile, int64_t until, const char *by, const char *reason)
{
    char when[PKIX_TIME_TEXT];
    const struct journal_field fields[] = {JOURNAL_TEXT("profile", roster_profile_name(profile)), JOURNAL_TEXT("until", pkix_time_text(when, until)),
                                           JOURNAL_TEXT("by", by), JOURNAL_TEXT("reason", reason)};

    log_warning(event, "%s, until %s, by %s: %s", roster_profile_name(profile), when, by, reason);
    journal_write(i->journal, event, fields, sizeof fields / sizeof *fields);
}

static void set(struct identity *i, enum roster_profile profile, const struct identity_override *o)
{
    int64_t before = i->override_until[profile], after = o == NULL ? 0 : o->until;

    if (before == after)
        return;
    if (after == 0)
        record(i, "override-ended", profile, before, i->override_by[profile], "revocation is asked again");
    free(i->override_by[profile]);
    i->override_by[profile] = NULL;
    i->override_until[profile] = after;
    if (o != NULL) {
        char *why = mem_text(o->why);

        i->override_by[profile] = mem_text(o->by);
        record(i, "override-begun", profile, after, i->override_by[profile], why);
        free(why);
    }
    i->overrides_generation++;
    i->review = true;
}

void identity_overrides_tick(struct identity *i, int64_t now)
{
    for (unsigned n = ROSTER_DEPOSITOR; n <= ROSTER_FUNCTIONAL; n++)
        if ((i->duty->offered & 1u << n) != 0)
            set(i, (enum roster_profile)n, longest(i, (enum roster_profile)n, now));
}

bool identity_overrides_in_force(const struct identity *i, enum roster_profile profile, int64_t now)
{
    return i->override_until[profile] > now;
}

const char *identity_overrides_alarm(const struct identity *i, char *out, size_t size)
{
    char when[PKIX_TIME_TEXT];
    size_t len = 0;

    out[0] = '\0';
    for (unsigned n = ROSTER_DEPOSITOR; n <= ROSTER_FUNCTIONAL && len < size; n++)
        if (i->override_until[n] != 0)
            len += (size_t)snprintf(out + len, size - len, "OVERRIDE: revocation is not asked for %s until %s; ", roster_profile_name((enum roster_profile)n),
                                    pkix_time_text(when, i->override_until[n]));
    return out;
}

void identity_overrides_used(struct identity *i, enum roster_profile profile, const char *holder, const char *from)
{
    char reason[512];

    snprintf(reason, sizeof reason, "%.370s, from %.64s", holder, from);
    record(i, "override-used", profile, i->override_until[profile], i->override_by[profile] == NULL ? "" : i->override_by[profile], reason);
}

void identity_overrides_free(struct identity *i)
{
    for (unsigned n = 0; n < IDENTITY_SOURCES_MAX; n++)
        free_source(&i->sources[n]);
    for (unsigned n = ROSTER_DEPOSITOR; n <= ROSTER_FUNCTIONAL; n++)
        free(i->override_by[n]);
}
