/* Refusals that get records, and those that are counted: see refusals.h. */
#include "common/journal/refusals.h"

#include <arpa/inet.h>
#include <stdio.h>

static void copy(char out[REFUSALS_TEXT], struct slice text)
{
    size_t len = text.len < REFUSALS_TEXT ? text.len : REFUSALS_TEXT - 1;

    if (len > 0)
        memcpy(out, text.at, len);
    out[len] = '\0';
}

/* Who has one address of an IPv6 network has all of them (RFC 4291 2.5.1). */
static void name_client(char out[REFUSALS_TEXT], struct slice client)
{
    struct in6_addr a;
    char network[INET6_ADDRSTRLEN];

    copy(out, client);
    if (strchr(out, ':') == NULL || inet_pton(AF_INET6, out, &a) != 1 || IN6_IS_ADDR_V4MAPPED(&a))
        return;
    memset(a.s6_addr + 8, 0, 8);
    if (inet_ntop(AF_INET6, &a, network, sizeof network) != NULL)
        snprintf(out, REFUSALS_TEXT, "%s/64", network);
}

/* What is found before a chain is known to be good, names of its certificates being anybody's. */
static bool is_anybody(const char *reason)
{
    static const char *const after[] = {"certificate-revoked", "certificate-subject"};

    for (size_t i = 0; i < sizeof after / sizeof *after; i++)
        if (strcmp(reason, after[i]) == 0)
            return false;
    return strncmp(reason, "certificate-", 12) == 0 || strcmp(reason, "not-verifiable") == 0;
}

static bool is_same(const struct refusals_kind *a, const struct refusals_kind *b)
{
    return strcmp(a->client, b->client) == 0 && strcmp(a->serial, b->serial) == 0 && strcmp(a->reason, b->reason) == 0;
}

static struct refusals_kind *find(struct refusals_kind *kinds, unsigned *count, unsigned most, const struct refusals_kind *wanted)
{
    for (unsigned i = 0; i < *count; i++)
        if (is_same(&kinds[i], wanted))
            return &kinds[i];
    if (*count == most)
        return NULL;
    kinds[*count] = *wanted;
    return &kinds[(*count)++];
}

/* A kind whose minute is over and that was told of, or never had to be, leaves its place. */
static void forget(struct refusals *r, uint64_t now)
{
    for (unsigned i = 0; i < r->count;)
        if (r->kinds[i].omitted == 0 && now - r->kinds[i].begun >= REFUSALS_MINUTE_MS)
            r->kinds[i] = r->kinds[--r->count];
        else
            i++;
}

static struct refusals_kind *place(struct refusals *r, uint64_t now, const struct refusals_kind *wanted)
{
    struct refusals_kind others = {.begun = now}, *k;

    if (r->count == REFUSALS_KINDS)
        forget(r, now);
    k = find(r->kinds, &r->count, REFUSALS_KINDS, wanted);
    if (k != NULL)
        return k;
    copy(others.reason, slice_text(wanted->reason));
    k = find(r->kinds + REFUSALS_KINDS, &r->others, REFUSALS_REASONS, &others);
    return k != NULL ? k : &r->kinds[REFUSALS_KINDS]; /* more reasons than there are: counted with the first of them */
}

bool refusals_take(struct refusals *r, uint64_t now, struct slice client, struct slice serial, const char *reason)
{
    struct refusals_kind wanted = {.begun = now}, *k;

    name_client(wanted.client, client);
    copy(wanted.serial, is_anybody(reason) ? slice_of(NULL, 0) : serial);
    copy(wanted.reason, slice_text(reason));
    if (now - r->begun >= REFUSALS_MINUTE_MS) {
        r->begun = now;
        r->recorded = 0;
    }
    k = place(r, now, &wanted);
    /* What was omitted in a minute that is over is told by refusals_due() first. */
    if (now - k->begun >= REFUSALS_MINUTE_MS && k->omitted == 0) {
        k->begun = now;
        k->recorded = 0;
    }
    if (k->recorded >= REFUSALS_EACH || r->recorded >= REFUSALS_ALL) {
        k->omitted++;
        return false;
    }
    k->recorded++;
    r->recorded++;
    return true;
}

static bool tell(struct refusals *r, uint64_t now, bool all, struct refusals_kind *out)
{
    for (unsigned i = 0; i < REFUSALS_KINDS + r->others; i++) {
        struct refusals_kind *k = &r->kinds[i];

        if ((i >= r->count && i < REFUSALS_KINDS) || k->omitted == 0 || (!all && now - k->begun < REFUSALS_MINUTE_MS))
            continue;
        *out = *k;
        k->begun = now;
        k->recorded = 0;
        k->omitted = 0;
        return true;
    }
    return false;
}

bool refusals_due(struct refusals *r, uint64_t now, struct refusals_kind *out)
{
    return tell(r, now, false, out);
}

bool refusals_rest(struct refusals *r, struct refusals_kind *out)
{
    return tell(r, 0, true, out);
}
