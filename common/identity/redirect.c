/* Which redirections are followed: see redirect.h. */
#include "common/identity/redirect.h"

#include <string.h>
#include <strings.h>

#include "common/identity/allow.h"
#include "common/identity/identity.h"

enum { NETWORKS_MAX = 12 };

/* RFC 6890 and the registries it began; those first named decide. */
static const struct {
    enum redirect_place place;
    const char *networks[NETWORKS_MAX];
} places[] = {
    {REDIRECT_LOOPBACK, {"127.0.0.0/8", "::1"}},
    {REDIRECT_LINK, {"169.254.0.0/16", "fe80::/10"}},
    {REDIRECT_PRIVATE, {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "192.0.0.0/24", "198.18.0.0/15", "fc00::/7", "fec0::/10", "64:ff9b::/96",
                        "64:ff9b:1::/48", "2002::/16", "2001::/32"}},
    {REDIRECT_NOWHERE, {"0.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4", "::/96", "ff00::/8"}},
    {REDIRECT_PUBLIC, {"0.0.0.0/0", "::/0"}},
};

static bool is_in(const char *const networks[NETWORKS_MAX], const char *address)
{
    struct settings_list texts = {0};
    struct allow_list list;

    for (; texts.count < NETWORKS_MAX && networks[texts.count] != NULL; texts.count++)
        texts.items[texts.count] = (char *)(uintptr_t)networks[texts.count]; /* only read */
    return allow_parse(&list, &texts, NULL) && allow_permits(&list, address);
}

enum redirect_place redirect_place_of(const char *address)
{
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (is_in(places[i].networks, address))
            return places[i].place;
    return REDIRECT_NOWHERE;
}

bool redirect_permits(enum redirect_place from, enum redirect_place to)
{
    return to == REDIRECT_PUBLIC || (to == from && to != REDIRECT_NOWHERE);
}

bool redirect_follows(unsigned hop, const char *from, const char *to, struct err *e)
{
    static const char https[] = "https:";

    if (hop > REDIRECT_HOPS_MAX)
        return err_set(e, ERR_INPUT, "more than %d redirections", REDIRECT_HOPS_MAX);
    if (!identity_url_valid(slice_text(to)))
        return err_set(e, ERR_INPUT, "redirected to what is no http: or https: URL: %.200s", to);
    return strncasecmp(from, https, sizeof https - 1) != 0 || strncasecmp(to, https, sizeof https - 1) == 0 ||
           err_set(e, ERR_INPUT, "redirected from https to http: %.200s", to);
}
