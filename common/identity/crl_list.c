/* One CRL, verified: see crl_list.h. */
#include "common/identity/crl_list.h"

#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/identity/crl_scope.h"

enum { NUMBER_OCTETS_MAX = 20 /* RFC 5280 5.2.3 */ };

static bool verify(const struct crl_parts *p, EVP_PKEY *key, X509_ALGOR *algorithm, const ASN1_BIT_STRING *signature)
{
    /* Encoding an ANY that is a SEQUENCE gives its octets as they are: what was received is verified. Nothing is written through the pointer. */
    ASN1_STRING octets = {.type = V_ASN1_SEQUENCE, .data = (uint8_t *)(uintptr_t)p->tbs.at, .length = (int)p->tbs.len};
    ASN1_TYPE tbs = {.type = V_ASN1_SEQUENCE, .value.sequence = &octets};

    return key != NULL && ASN1_item_verify(ASN1_ITEM_rptr(ASN1_ANY), algorithm, signature, &tbs, key) == 1;
}

/* Whether the list says that another key signed it (5.2.1). What it says of the issuer's certificate is not looked at: authorities renew theirs and keep the key. */
static bool other_key(const AUTHORITY_KEYID *said, X509 *authority)
{
    const ASN1_OCTET_STRING *is = X509_get0_subject_key_id(authority);

    return said != NULL && said->keyid != NULL && is != NULL && ASN1_OCTET_STRING_cmp(said->keyid, is) != 0;
}

/* Finds who signed it. An authority that was given new keys is several of one name: each is tried. */
static bool find_signer(struct crl_list *l, const struct crl_parts *p, X509_ALGOR *algorithm, const ASN1_BIT_STRING *signature, const AUTHORITY_KEYID *said,
                        STACK_OF(X509) *authorities, struct err *e)
{
    bool named = false, keyed = false, verified = false;

    for (int i = 0; i < sk_X509_num(authorities); i++) {
        X509 *authority = sk_X509_value(authorities, i);

        if (X509_NAME_cmp(X509_get_subject_name(authority), l->issuer) != 0)
            continue;
        named = true;
        if (other_key(said, authority))
            continue;
        keyed = true;
        if (!verify(p, X509_get0_pubkey(authority), algorithm, signature))
            continue;
        verified = true;
        if ((X509_get_key_usage(authority) & KU_CRL_SIGN) == 0) /* all bits when there is no such extension */
            continue;
        l->key = X509_get0_pubkey(authority);
        return EVP_PKEY_up_ref(l->key) == 1;
    }
    if (verified)
        return err_set(e, ERR_INPUT, "its issuer may not sign CRLs: no cRLSign (RFC 5280 4.2.1.3): %s", l->issuer_text);
    if (keyed)
        return err_set(e, ERR_INPUT, "the signature is not its issuer's (RFC 5280 6.3.3 g): %s", l->issuer_text);
    if (named)
        return err_set(e, ERR_INPUT, "signed with another key than its issuer's (authority key identifier, RFC 5280 5.2.1): %s", l->issuer_text);
    return err_set(e, ERR_INPUT, "its issuer is none of the authorities configured: %s", l->issuer_text);
}

/* Algorithm and signature as OpenSSL wants them, then who signed. */
static bool check_signature(struct crl_list *l, const struct crl_parts *p, const AUTHORITY_KEYID *said, STACK_OF(X509) *authorities, struct err *e)
{
    const uint8_t *at = p->algorithm.at, *signature_at = p->signature.at;
    X509_ALGOR *algorithm = d2i_X509_ALGOR(NULL, &at, (long)p->algorithm.len);
    ASN1_BIT_STRING *signature = d2i_ASN1_BIT_STRING(NULL, &signature_at, (long)p->signature.len);
    bool ok;

    if (algorithm == NULL || signature == NULL)
        ok = err_set(e, ERR_INPUT, "not a CRL: its algorithm or signature cannot be read (RFC 5280 5.1.1)");
    else if (!pkix_signature_strong(algorithm))
        ok = err_set(e, ERR_INPUT, "signed with a weak or unknown digest (SHA-256 or stronger is needed)");
    else
        ok = find_signer(l, p, algorithm, signature, said, authorities, e);
    X509_ALGOR_free(algorithm);
    ASN1_BIT_STRING_free(signature);
    return ok;
}

/* cRLNumber (5.2.3). */
static bool read_number(struct crl_list *l, const STACK_OF(X509_EXTENSION) *extensions, struct err *e)
{
    int critical;
    ASN1_INTEGER *number = X509V3_get_d2i(extensions, NID_crl_number, &critical, NULL);
    const uint8_t *at = number == NULL ? NULL : ASN1_STRING_get0_data(number);
    int len = number == NULL ? 0 : ASN1_STRING_length(number);
    bool ok = number == NULL ? critical == -1 : ASN1_STRING_type(number) == V_ASN1_INTEGER && len <= NUMBER_OCTETS_MAX;

    for (; ok && len > 1 && *at == 0; len--)
        at++;
    for (int i = 0; ok && i < len; i++)
        snprintf(l->number + 2 * i, sizeof l->number - 2 * (size_t)i, "%02X", at[i]);
    ASN1_INTEGER_free(number);
    return ok || err_set(e, ERR_INPUT, "cRLNumber is not one natural number of at most %d octets (RFC 5280 5.2.3)", NUMBER_OCTETS_MAX);
}

/* issuingDistributionPoint (5.2.5). */
static bool read_scope(struct crl_list *l, const STACK_OF(X509_EXTENSION) *extensions, struct err *e)
{
    int at = X509v3_get_ext_by_NID(extensions, NID_issuing_distribution_point, -1);
    ASN1_OCTET_STRING *data;
    struct slice bytes;

    if (at < 0)
        return true;
    if (X509v3_get_ext_by_NID(extensions, NID_issuing_distribution_point, at) >= 0)
        return err_set(e, ERR_INPUT, "two of issuingDistributionPoint (RFC 5280 4.2)");
    data = X509_EXTENSION_get_data(X509v3_get_ext(extensions, at));
    bytes = slice_of(ASN1_STRING_get0_data(data), (size_t)ASN1_STRING_length(data));
    return crl_scope_read(bytes, l->issuer, &l->idp, e) && digest_sha256(bytes, l->scope, e);
}

/* What must be understood is (5.2), and it is not a delta. */
static bool check_extensions(const STACK_OF(X509_EXTENSION) *extensions, struct err *e)
{
    char oid[64] = "";

    for (int i = 0; i < sk_X509_EXTENSION_num(extensions); i++) {
        X509_EXTENSION *extension = sk_X509_EXTENSION_value(extensions, i);

        switch (OBJ_obj2nid(X509_EXTENSION_get_object(extension))) {
        case NID_delta_crl: return err_set(e, ERR_INPUT, "a delta list (RFC 5280 5.2.4) is not taken");
        case NID_authority_key_identifier:
        case NID_issuer_alt_name:
        case NID_crl_number:
        case NID_issuing_distribution_point: break;
        default:
            if (!X509_EXTENSION_get_critical(extension))
                break;
            (void)OBJ_obj2txt(oid, sizeof oid, X509_EXTENSION_get_object(extension), 1);
            return err_set(e, ERR_INPUT, "unknown critical extension %s (RFC 5280 5.2)", oid);
        }
    }
    return true;
}

static bool check_dates(struct crl_list *l, const struct crl_parts *p, int64_t now, int64_t max_stale, struct err *e)
{
    char text[PKIX_TIME_TEXT];

    if (p->next_update == 0)
        return err_set(e, ERR_INPUT, "no nextUpdate (RFC 5280 5.1.2.5): it would never end");
    if (!pkix_time_of(p->this_update, &l->this_update) || !pkix_time_of(p->next_update, &l->next_update) || l->next_update < l->this_update)
        return err_set(e, ERR_INPUT, "thisUpdate and nextUpdate are not two dates in this order (RFC 5280 5.1.2.4)");
    if (l->this_update > now + PKIX_SKEW_MS)
        return err_set(e, ERR_INPUT, "thisUpdate is in the future: %s (RFC 5280 5.1.2.4)", pkix_time_text(text, l->this_update));
    if (l->next_update + max_stale < now)
        return err_set(e, ERR_INPUT, "expired: nextUpdate was %s (RFC 5280 5.1.2.5)", pkix_time_text(text, l->next_update));
    return true;
}

/* The rules, the signature first: nothing else is worth saying of what its issuer did not sign. */
static bool judge(struct crl_list *l, const struct crl_parts *p, const STACK_OF(X509_EXTENSION) *extensions, STACK_OF(X509) *authorities, int64_t now,
                  int64_t max_stale, struct err *e)
{
    AUTHORITY_KEYID *said = X509V3_get_d2i(extensions, NID_authority_key_identifier, NULL, NULL);
    bool signed_by_issuer = check_signature(l, p, said, authorities, e);

    AUTHORITY_KEYID_free(said);
    return signed_by_issuer && check_extensions(extensions, e) && check_dates(l, p, now, max_stale, e) && read_number(l, extensions, e) &&
           read_scope(l, extensions, e) && crl_entries_read(p, &l->entries, e);
}

static bool read_list(struct crl_list *l, struct slice der, STACK_OF(X509) *authorities, int64_t now, int64_t max_stale, struct err *e)
{
    struct crl_parts p;
    const uint8_t *name_at, *extensions_at;
    STACK_OF(X509_EXTENSION) *extensions = NULL;
    bool ok;

    if (!crl_parts_split(der, &p, e) || !digest_sha256(der, l->digest, e))
        return false;
    name_at = p.issuer.at;
    extensions_at = p.extensions.at;
    l->issuer = d2i_X509_NAME(NULL, &name_at, (long)p.issuer.len);
    if (l->issuer == NULL)
        return err_set(e, ERR_INPUT, "not a CRL: its issuer cannot be read (RFC 5280 5.1.2.3)");
    (void)pkix_name_text(l->issuer_text, l->issuer);
    if (p.extensions.len != 0 && (extensions = d2i_X509_EXTENSIONS(NULL, &extensions_at, (long)p.extensions.len)) == NULL)
        return err_set(e, ERR_INPUT, "not a CRL: its extensions cannot be read (RFC 5280 5.2)");
    ok = judge(l, &p, extensions, authorities, now, max_stale, e);
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
    return ok;
}

/* Of the issuer's canonical name and the scope; keys are compared. */
static uint64_t mark_of(const struct crl_list *l)
{
    uint64_t name = X509_NAME_hash_ex(l->issuer, NULL, NULL, NULL), scope = (uint64_t)l->scope[0] << 24 | (uint64_t)l->scope[1] << 16 | (uint64_t)l->scope[2] << 8 | l->scope[3];

    return name << 32 | scope;
}

struct crl_list *crl_list_new(const char *source, struct slice der, STACK_OF(X509) *authorities, int64_t now, int64_t max_stale, struct err *e)
{
    struct crl_list *l = mem_zalloc(1, sizeof *l);
    bool ok = read_list(l, der, authorities, now, max_stale, e);

    ERR_clear_error();
    l->source = mem_strdup(source);
    l->mark = ok ? mark_of(l) : 0;
    if (ok)
        return l;
    crl_list_free(l);
    return NULL;
}

void crl_list_free(struct crl_list *l)
{
    if (l == NULL)
        return;
    free(l->source);
    X509_NAME_free(l->issuer);
    EVP_PKEY_free(l->key);
    ISSUING_DIST_POINT_free(l->idp);
    crl_entries_free(&l->entries);
    free(l);
}

bool crl_list_same_stream(const struct crl_list *a, const struct crl_list *b)
{
    return memcmp(a->scope, b->scope, sizeof a->scope) == 0 && X509_NAME_cmp(a->issuer, b->issuer) == 0 && EVP_PKEY_eq(a->key, b->key) == 1;
}

bool crl_list_older(const struct crl_list *a, const struct crl_list *b)
{
    size_t a_len = strlen(a->number), b_len = strlen(b->number);
    int order = a_len != b_len ? (a_len < b_len ? -1 : 1) : strcmp(a->number, b->number);

    if (a_len != 0 && b_len != 0 && order != 0)
        return order < 0;
    return a->this_update < b->this_update;
}
