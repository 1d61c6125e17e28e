/*
 * Fuzz target: CRLs of strangers, and of an authority that signs whatever it is given. The first byte chooses: a file as it came; a tBSCertList that is signed
 * first; a list whose signature nobody asks for. What is read is what OpenSSL reads.
 */
#include <openssl/err.h>
#include <stdlib.h>

#include "common/identity/crl.h"
#include "common/identity/crl_parts.h"
#include "common/identity/crl_scope.h"
#include "tests/fuzz/issuer.h"

static void take(struct slice bytes)
{
    const struct issuer *who = issuer_get();
    const int64_t now = (int64_t)ISSUER_NOW_S * 1000;
    struct crl_set *s = crl_set_new();
    struct err e = {0};

    if (crl_set_take(s, "file", bytes, 1 << 20, who->authorities, now, 86400000, &e)) {
        struct revocation_finding f = crl_set_check(s, who->leaf, who->certificate, now, 86400000);

        if (crl_set_count(s) == 0 || crl_set_generation(s) == 0 || f.text[0] == '\0' || (f.answer == REVOCATION_UNKNOWN) != (f.until == 0))
            abort();
        (void)crl_set_check(s, who->certificate, who->certificate, now, 0);
        if (!crl_set_take(s, "file", bytes, 1 << 20, who->authorities, now, 86400000, &e) || crl_set_generation(s) != 1)
            abort(); /* the same again is nothing new */
    } else if (e.code != ERR_INPUT || crl_set_count(s) != 0) {
        abort();
    }
    crl_set_free(s);
}

/* Every entry that OpenSSL reads is found, and there are no others. */
static void compare(struct slice der, const struct crl_entries *entries)
{
    const uint8_t *at = der.at;
    X509_CRL *theirs = d2i_X509_CRL(NULL, &at, (long)der.len);
    int count = theirs == NULL ? 0 : sk_X509_REVOKED_num(X509_CRL_get_REVOKED(theirs));

    if (theirs != NULL && (size_t)(count < 0 ? 0 : count) != entries->count)
        abort();
    for (int i = 0; i < count; i++) {
        uint8_t *serial = NULL;
        int len = i2d_ASN1_INTEGER(X509_REVOKED_get0_serialNumber(sk_X509_REVOKED_value(X509_CRL_get_REVOKED(theirs), i)), &serial);
        struct slice rest = slice_of(serial, (size_t)len), content;
        size_t where;

        if (!pkix_take(&rest, PKIX_INTEGER, &content, NULL) || crl_entries_find(entries, content, &where) == 0)
            abort();
        OPENSSL_free(serial);
    }
    X509_CRL_free(theirs);
    ERR_clear_error();
}

static void read_parts(struct slice der)
{
    struct crl_parts parts;
    struct crl_entries entries = {0};
    ISSUING_DIST_POINT *idp = NULL;
    struct err e = {0};

    if (crl_parts_split(der, &parts, &e) && crl_entries_read(&parts, &entries, &e))
        compare(der, &entries);
    crl_entries_free(&entries);
    if (crl_scope_read(der, X509_get_subject_name(issuer_get()->certificate), &idp, NULL))
        (void)crl_scope_covers(idp, issuer_get()->leaf);
    ISSUING_DIST_POINT_free(idp);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in;
    struct buf list;

    if (size == 0)
        return 0;
    in = slice_of(data + 1, size - 1);
    switch (data[0] % 3) {
    case 0: take(in); break;
    case 1:
        list = issuer_sign(in);
        take(buf_slice(&list));
        buf_free(&list);
        break;
    default: read_parts(in); break;
    }
    return 0;
}
