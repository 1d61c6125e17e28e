/*
 * Which redirections (RFC 9110 15.4) the fetch role follows: a server of the outside must not choose whom we talk to inside. Pure; URLs and addresses are what a
 * server said and what names were resolved to.
 */
#ifndef COFFRE_IDENTITY_REDIRECT_H
#define COFFRE_IDENTITY_REDIRECT_H

#include "common/values/err.h"

enum { REDIRECT_HOPS_MAX = 3 };

/* Where an address is (RFC 6890 2.2.2, 2.2.3). */
enum redirect_place {
    REDIRECT_NOWHERE,  /* not an address of one host, or not readable */
    REDIRECT_LOOPBACK,
    REDIRECT_LINK,     /* link-local */
    REDIRECT_PRIVATE,  /* of a site, shared (RFC 6598), or made to reach IPv4 through something of ours (RFC 6052, RFC 3056, RFC 4380) */
    REDIRECT_PUBLIC,
};

/* Of a numeric address without port, IPv4 or IPv6; a mapped one (RFC 4291 2.5.5.2) is IPv4. */
enum redirect_place redirect_place_of(const char *address);

/* Whether who was answered from `from` may be sent on to an address at `to`: outside always, else only to where it is itself. */
bool redirect_permits(enum redirect_place from, enum redirect_place to);

/* Whether the hop numbered `hop` (the first is 1) from one URL to another is followed, as far as they say: not too many, http or https, and never from https to http. ERR_INPUT: why not. */
MUST_CHECK bool redirect_follows(unsigned hop, const char *from, const char *to, struct err *e);

#endif
