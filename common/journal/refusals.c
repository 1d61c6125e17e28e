/* Kinds of refusals: see refusals.h. */
#include "common/journal/refusals.h"

#include <arpa/inet.h>
#include <stdio.h>

struct quota *refusals_new(void)
{
    static const struct quota_limits limits = {.kinds = REFUSALS_KINDS, .others = REFUSALS_REASONS, .part = REFUSALS_TEXT, .each = REFUSALS_EACH, .all = REFUSALS_ALL, .window = REFUSALS_MINUTE_MS};

    return quota_new(&limits);
}

/* Who has one address of an IPv6 network has all of them (RFC 4291 2.5.1): its name then, in `out`. */
static struct slice name_client(char out[REFUSALS_TEXT], struct slice client)
{
    struct in6_addr a;
    char network[INET6_ADDRSTRLEN];

    if (client.len == 0 || client.len >= REFUSALS_TEXT || memchr(client.at, ':', client.len) == NULL)
        return client;
    memcpy(out, client.at, client.len);
    out[client.len] = '\0';
    if (inet_pton(AF_INET6, out, &a) != 1 || IN6_IS_ADDR_V4MAPPED(&a))
        return client;
    memset(a.s6_addr + 8, 0, 8);
    if (inet_ntop(AF_INET6, &a, network, sizeof network) == NULL)
        return client;
    snprintf(out, REFUSALS_TEXT, "%s/64", network);
    return slice_text(out);
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

bool refusals_take(struct quota *q, uint64_t now, struct slice client, struct slice serial, const char *reason)
{
    char network[REFUSALS_TEXT];
    const struct quota_name kind = {{name_client(network, client), is_anybody(reason) ? slice_of(NULL, 0) : serial, slice_text(reason)}};
    const struct quota_name others = {.parts[2] = slice_text(reason)};

    return quota_take(q, now, &kind, &others);
}
