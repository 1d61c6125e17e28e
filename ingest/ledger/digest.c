/* Digests announced by sensors: see digest.h. Both texts compared here are a stranger's. */
#include "ingest/ledger/digest.h"

#include <stdlib.h>
#include <strings.h>

#include <openssl/evp.h>

#include "common/values/buf.h"

struct digester {
    EVP_MD *md[DIGEST_ALGORITHMS]; /* owned; fetched once */
    EVP_MD_CTX *ctx;               /* owned; reused */
};

/* Names in use, by algorithm; the first is OpenSSL's too. */
static const struct {
    enum digest_algorithm algorithm;
    const char *name;
} NAMES[] = {
    {DIGEST_SHA1, "SHA-1"},
    {DIGEST_SHA256, "SHA-256"},
    {DIGEST_SHA384, "SHA-384"},
    {DIGEST_SHA512, "SHA-512"},
    {DIGEST_SHA1, "SHA1"},
    {DIGEST_SHA256, "SHA256"},
    {DIGEST_SHA384, "SHA384"},
    {DIGEST_SHA512, "SHA512"},
    {DIGEST_SHA1, "http://www.w3.org/2000/09/xmldsig#sha1"},
    {DIGEST_SHA256, "http://www.w3.org/2001/04/xmlenc#sha256"},
    {DIGEST_SHA384, "http://www.w3.org/2001/04/xmldsig-more#sha384"},
    {DIGEST_SHA384, "http://www.w3.org/2001/04/xmlenc#sha384"},
    {DIGEST_SHA512, "http://www.w3.org/2001/04/xmlenc#sha512"},
    {DIGEST_SHA512, "http://www.w3.org/2001/04/xmldsig-more#sha512"},
};

enum { NAME_COUNT = sizeof(NAMES) / sizeof(NAMES[0]) };

enum digest_algorithm digest_parse_algorithm(struct slice name)
{
    for (unsigned i = 0; i < NAME_COUNT; i++)
        if (name.len == strlen(NAMES[i].name) && strncasecmp((const char *)name.at, NAMES[i].name, name.len) == 0)
            return NAMES[i].algorithm;
    return DIGEST_NONE;
}

struct digester *digest_new(struct err *e)
{
    struct digester *d = mem_zalloc(1, sizeof(*d));
    bool ok;

    d->ctx = EVP_MD_CTX_new();
    ok = d->ctx != NULL;
    for (unsigned i = 0; ok && i < 4; i++) {
        d->md[NAMES[i].algorithm] = EVP_MD_fetch(NULL, NAMES[i].name, NULL);
        ok = d->md[NAMES[i].algorithm] != NULL;
    }
    if (ok)
        return d;
    err_set_openssl(e, ERR_FATAL, "digest: OpenSSL");
    digest_free(d);
    return NULL;
}

void digest_free(struct digester *d)
{
    if (d == NULL)
        return;
    for (unsigned i = 0; i < DIGEST_ALGORITHMS; i++)
        EVP_MD_free(d->md[i]);
    EVP_MD_CTX_free(d->ctx);
    free(d);
}

bool digest_compute(struct digester *d, enum digest_algorithm algorithm, const struct slice *parts, unsigned count,
                    uint8_t *out, size_t *len, struct err *e)
{
    unsigned n = 0;
    bool ok;

    if (algorithm == DIGEST_NONE || algorithm >= DIGEST_ALGORITHMS)
        return err_set(e, ERR_FATAL, "digest: no algorithm");
    ok = EVP_DigestInit_ex2(d->ctx, d->md[algorithm], NULL) == 1;
    for (unsigned i = 0; ok && i < count; i++)
        ok = EVP_DigestUpdate(d->ctx, parts[i].at, parts[i].len) == 1;
    if (!ok || EVP_DigestFinal_ex(d->ctx, out, &n) != 1)
        return err_set_openssl(e, ERR_FATAL, "digest: OpenSSL");
    *len = n;
    return true;
}

void digest_to_hex(const uint8_t *digest, size_t len, char *out)
{
    static const char DIGITS[] = "0123456789abcdef";

    for (size_t i = 0; i < len; i++) {
        out[2 * i] = DIGITS[digest[i] >> 4];
        out[2 * i + 1] = DIGITS[digest[i] & 15];
    }
}

bool digest_matches(const uint8_t *digest, size_t len, struct slice hex)
{
    char mine[DIGEST_HEX_MAX];

    if (hex.len != 2 * len || len > DIGEST_SIZE_MAX)
        return false;
    digest_to_hex(digest, len, mine);
    for (size_t i = 0; i < hex.len; i++) {
        uint8_t c = hex.at[i];

        if (c >= 'A' && c <= 'F')
            c = (uint8_t)(c - 'A' + 'a');
        if (c != (uint8_t)mine[i])
            return false;
    }
    return true;
}
