/* Digest of an event: see digest.h. */
#include "ingest/deposit/digest.h"

#include <strings.h>

static const struct {
    const char *given, *declared;
} names[] = {
    {"sha256", "SHA-256"}, {"sha-256", "SHA-256"}, {"sha384", "SHA-384"},
    {"sha-384", "SHA-384"}, {"sha1", "SHA-1"}, {"sha-1", "SHA-1"},
};

bool digest_open(struct digest *d, const char *name, struct err *e)
{
    *d = (struct digest){0};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcasecmp(name, names[i].given) == 0)
            d->name = names[i].declared;
    if (d->name == NULL)
        return err_set(e, ERR_INPUT, "digest '%s' is not one of sha256, sha384, sha1", name);
    d->method = EVP_MD_fetch(NULL, d->name, NULL);
    d->context = EVP_MD_CTX_new();
    if (d->method == NULL || d->context == NULL)
        return err_set_openssl(e, ERR_FATAL, "digest %s", d->name);
    return true;
}

void digest_close(struct digest *d)
{
    EVP_MD_CTX_free(d->context);
    EVP_MD_free(d->method);
    *d = (struct digest){0};
}

bool digest_hex(struct digest *d, struct slice bytes, char hex[DIGEST_HEX_MAX], struct err *e)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t sum[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    if (EVP_DigestInit_ex2(d->context, d->method, NULL) != 1 ||
        EVP_DigestUpdate(d->context, bytes.at, bytes.len) != 1 || EVP_DigestFinal_ex(d->context, sum, &len) != 1)
        return err_set_openssl(e, ERR_FATAL, "digest %s", d->name);
    for (unsigned i = 0; i < len; i++) {
        hex[2 * i] = digits[sum[i] >> 4];
        hex[2 * i + 1] = digits[sum[i] & 15];
    }
    hex[2 * len] = '\0';
    return true;
}
