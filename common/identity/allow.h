/*
 * IP allow-lists: networks (RFC 4632, RFC 4291 2.3) a profile's holders may come from. Pure.
 */
#ifndef COFFRE_IDENTITY_ALLOW_H
#define COFFRE_IDENTITY_ALLOW_H

#include "common/system/settings.h"

enum { ALLOW_NETWORKS_MAX = SETTINGS_LIST_MAX };

struct allow_network {
    uint8_t address[16]; /* IPv6, or IPv4 mapped (::ffff:a.b.c.d) */
    unsigned bits;       /* of the mapped form */
};

/* No network at all: every address is allowed. */
struct allow_list {
    unsigned count;
    struct allow_network networks[ALLOW_NETWORKS_MAX];
};

/* "192.0.2.0/24", "2001:db8::/32", or one address. Bits set behind the prefix are refused: ERR_INPUT names the entry. */
MUST_CHECK bool allow_parse(struct allow_list *list, const struct settings_list *texts, struct err *e);

/* `address` as the fronts name a peer: numeric, without port; IPv4-mapped IPv6 is IPv4; a zone (%eth0) is ignored. With networks, an unreadable one is not allowed. */
bool allow_permits(const struct allow_list *list, const char *address);

#endif
