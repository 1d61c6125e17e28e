/*
 * One CRL in force: read, its issuer's signature verified, everything refused that crl_set_take() says. Pure.
 */
#ifndef COFFRE_IDENTITY_CRL_LIST_H
#define COFFRE_IDENTITY_CRL_LIST_H

#include <openssl/x509v3.h>

#include "common/formats/digest.h"
#include "common/identity/crl_parts.h"

struct crl_stream;

struct crl_list {
    char *source;                     /* owned: file or URL */
    X509_NAME *issuer;                /* owned */
    EVP_PKEY *key;                    /* owned: what it was verified with. An authority of the same name with another key is another authority */
    ISSUING_DIST_POINT *idp;          /* owned; NULL: of all certificates */
    char issuer_text[PKIX_NAME_TEXT];
    char number[64];                  /* cRLNumber in hexadecimal without leading zeros, "" without */
    int64_t this_update, next_update; /* ms since 1970 */
    uint8_t digest[DIGEST_LEN];       /* of all its bytes */
    uint8_t scope[DIGEST_LEN];        /* of the issuingDistributionPoint; zeros without */
    struct crl_entries entries;
    uint64_t mark;                    /* the same for all of its stream, another for most others */
    /* In a set: */
    struct crl_stream *stream;        /* borrowed */
    struct crl_list *next;            /* of that stream */
    bool superseded;                  /* a newer one of that stream is there, or was */
};

/* NULL with ERR_INPUT. `source` is copied; the rest is as for crl_set_take(). */
struct crl_list *crl_list_new(const char *source, struct slice der, STACK_OF(X509) *authorities, int64_t now, int64_t max_stale, struct err *e);
void crl_list_free(struct crl_list *l);

/* Same issuer, same key, same scope: the newer one replaces the older. */
bool crl_list_same_stream(const struct crl_list *a, const struct crl_list *b);
/* Of the same stream: `a` is older than `b` by cRLNumber (5.2.3), then by thisUpdate. */
bool crl_list_older(const struct crl_list *a, const struct crl_list *b);

#endif
