/*
 * The bytes of a CRL (RFC 5280 5.1) taken apart, and its entries in an order in which one is found fast: a million of them take 16 bytes each and their
 * serial numbers, where OpenSSL's own form takes half a kilobyte. Pure; the bytes are a stranger's.
 */
#ifndef COFFRE_IDENTITY_CRL_PARTS_H
#define COFFRE_IDENTITY_CRL_PARTS_H

#include "common/identity/pkix.h"

enum {
    CRL_ENTRIES_PLACE_MAX = 1 << 30, /* bytes of all serial numbers */
    CRL_SERIAL_MAX = 64,             /* octets; RFC 5280 4.1.2.2 allows 20 */
    CRL_HEAD_MAX = 64 * 1024,        /* bytes of an issuer's name, and of all extensions of a list */
};

/* Views into the bytes. */
struct crl_parts {
    struct slice tbs;             /* tBSCertList, with header: what is signed */
    struct slice algorithm;       /* signatureAlgorithm, with header; the same as inside (5.1.1.2) */
    struct slice signature;       /* BIT STRING, with header */
    bool v2;
    struct slice issuer;          /* Name, with header */
    uint64_t this_update, next_update; /* pkix_time_digits(); next_update 0: absent */
    struct slice revoked;         /* contents of revokedCertificates; empty: none */
    struct slice extensions;      /* crlExtensions, with header; empty: none */
};

struct crl_revoked {
    uint64_t date;       /* pkix_time_digits(); 0: not readable */
    uint32_t serial;     /* where its octets are */
    uint16_t serial_len;
    uint8_t reason;      /* RFC 5280 5.3.1; CRL_REASON_OTHER: another */
};

enum { CRL_REASON_OTHER = 255 };

/* By serial number. Zeroed: none. */
struct crl_entries {
    struct crl_revoked *at; /* owned */
    size_t count;
    uint8_t *serials;       /* owned */
};

/* One DER CertificateList, nothing behind it. ERR_INPUT names the part. */
MUST_CHECK bool crl_parts_split(struct slice der, struct crl_parts *parts, struct err *e);

/*
 * Reads the entries; to be done when the signature was verified. ERR_INPUT: a broken one, an unknown critical extension (5.3), one of an indirect list (5.3.3).
 */
MUST_CHECK bool crl_entries_read(const struct crl_parts *parts, struct crl_entries *entries, struct err *e);
void crl_entries_free(struct crl_entries *entries);

/* The entries of this serial number (contents of its INTEGER): the first is at *at; how many (a list that is in order has one). */
size_t crl_entries_find(const struct crl_entries *entries, struct slice serial, size_t *at);

#endif
