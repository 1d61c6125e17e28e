/*
 * Fuzz target: chains as strangers present them. The input is certificates in DER, each after its length (u16), at most ten; those that name themselves as their
 * issuer are taken as authorities too, so that paths are found. A verdict is never silent and never without its path.
 */
#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "common/identity/identity.h"
#include "common/identity/pkix.h"

static void check(bool holds)
{
    if (!holds)
        abort();
}

static STACK_OF(X509) *read_all(struct slice in, X509_STORE *anchors)
{
    STACK_OF(X509) *all = sk_X509_new_null();
    struct wire_reader r = wire_read(in);

    while (r.rest.len != 0 && sk_X509_num(all) < IDENTITY_CHAIN_MAX) {
        struct slice der = wire_get_text(&r);
        const uint8_t *at = der.at;
        X509 *x = der.len == 0 ? NULL : d2i_X509(NULL, &at, (long)der.len);

        if (x == NULL)
            break;
        if (X509_NAME_cmp(X509_get_subject_name(x), X509_get_issuer_name(x)) == 0)
            (void)X509_STORE_add_cert(anchors, x);
        check(sk_X509_push(all, x) > 0);
    }
    ERR_clear_error();
    return all;
}

static void judge(const struct identity_policy *p, STACK_OF(X509) *all)
{
    struct identity_chain chain = {.others = all};
    STACK_OF(X509) *path;
    struct tls_subject subject;
    char name[PKIX_NAME_TEXT], serial[PKIX_SERIAL_TEXT], url[OCSP_URL_MAX];
    struct err why = {0};
    enum identity_check found;

    chain.leaf = sk_X509_shift(all);
    found = validate_chain(p, &chain, 1800000000000, &path, &why);
    check((unsigned)found < IDENTITY_CHECKS && (found == IDENTITY_PASSED) == (path != NULL) && (found == IDENTITY_PASSED) == (why.text[0] == '\0'));
    check(ERR_peek_error() == 0);
    if (path != NULL)
        check(sk_X509_num(path) >= 1 && sk_X509_num(path) <= (int)p->depth + 2 && validate_path_end(path) > 1800000000000);
    if (chain.leaf != NULL) {
        check(strlen(pkix_name_text(name, X509_get_subject_name(chain.leaf))) < sizeof name);
        check(strlen(pkix_serial_text(serial, chain.leaf)) < sizeof serial);
        check(tls_subject_of(chain.leaf, &subject, &why) || why.text[0] != '\0');
        check(!ocsp_url(chain.leaf, url) || strlen(url) < sizeof url);
        ERR_clear_error();
    }
    policy_certificates_free(path);
    X509_free(chain.leaf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct identity_policy p = {.profile = ROSTER_DEPOSITOR, .offered = true, .anchors = X509_STORE_new(), .depth = 2, .rsa_bits = 2048, .ec_bits = 256,
                                .digests = POLICY_SHA256 | POLICY_SHA384 | POLICY_SHA512};
    STACK_OF(X509) *all;

    check(p.anchors != NULL);
    all = read_all(slice_of(data, size), p.anchors);
    judge(&p, all);
    policy_certificates_free(all);
    X509_STORE_free(p.anchors);
    return 0;
}
