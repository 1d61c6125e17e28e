/* Of which certificates a CRL speaks: see crl_scope.h. */
#include "common/identity/crl_scope.h"

#include <openssl/err.h>

bool crl_scope_read(struct slice extension, const X509_NAME *issuer, ISSUING_DIST_POINT **idp, struct err *e)
{
    const uint8_t *at = extension.at;
    ISSUING_DIST_POINT *read = NULL;

    if (extension.len > CRL_SCOPE_MAX)
        return err_set(e, ERR_INPUT, "issuingDistributionPoint of over %d bytes", CRL_SCOPE_MAX);
    read = d2i_ISSUING_DIST_POINT(NULL, &at, (long)extension.len);
    ERR_clear_error();
    if (read == NULL || at != extension.at + extension.len || DIST_POINT_set_dpname(read->distpoint, issuer) != 1)
        (void)err_set(e, ERR_INPUT, "issuingDistributionPoint cannot be read (RFC 5280 5.2.5)");
    else if (read->indirectCRL)
        (void)err_set(e, ERR_INPUT, "an indirect list (RFC 5280 5.2.5) is not taken");
    else if (read->onlysomereasons != NULL)
        (void)err_set(e, ERR_INPUT, "a list of some reasons only (RFC 5280 5.2.5) is not taken");
    else if (read->onlyattr)
        (void)err_set(e, ERR_INPUT, "a list of attribute certificates (RFC 5280 5.2.5) is not taken");
    else if (read->onlyuser && read->onlyCA)
        (void)err_set(e, ERR_INPUT, "a list of users only and of authorities only (RFC 5280 5.2.5)");
    else {
        *idp = read;
        return true;
    }
    ERR_clear_error();
    ISSUING_DIST_POINT_free(read);
    return false;
}

static bool holds(const GENERAL_NAMES *names, GENERAL_NAME *wanted)
{
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++)
        if (GENERAL_NAME_cmp(sk_GENERAL_NAME_value(names, i), wanted) == 0)
            return true;
    return false;
}

/* Whether a distribution point's name is this one; a name relative to the issuer was made a whole one before. */
static bool is_named(const DIST_POINT_NAME *point, GENERAL_NAME *wanted)
{
    GENERAL_NAME whole = {.type = GEN_DIRNAME, .d.directoryName = point->dpname};

    return point->type == 0 ? holds(point->name.fullname, wanted) : point->dpname != NULL && GENERAL_NAME_cmp(&whole, wanted) == 0;
}

static bool is_named_so(const DIST_POINT_NAME *point, X509_NAME *name)
{
    GENERAL_NAME wanted = {.type = GEN_DIRNAME, .d.directoryName = name};

    return is_named(point, &wanted);
}

static bool any_named(const DIST_POINT_NAME *point, const GENERAL_NAMES *names)
{
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++)
        if (is_named(point, sk_GENERAL_NAME_value(names, i)))
            return true;
    return false;
}

/* One distribution point of the certificate. With reasons, what is found there is not all that is to be known; with another issuer, the list would be indirect. */
static bool point_meets(DIST_POINT *mine, const DIST_POINT_NAME *lists, X509_NAME *issuer)
{
    GENERAL_NAME own = {.type = GEN_DIRNAME, .d.directoryName = issuer};

    if (mine->reasons != NULL || (mine->CRLissuer != NULL && !holds(mine->CRLissuer, &own)))
        return false;
    if (mine->distpoint == NULL)
        return any_named(lists, mine->CRLissuer);
    if (DIST_POINT_set_dpname(mine->distpoint, issuer) != 1)
        return false;
    return mine->distpoint->type == 0 ? any_named(lists, mine->distpoint->name.fullname)
                                      : mine->distpoint->dpname != NULL && is_named_so(lists, mine->distpoint->dpname);
}

/* 6.3.3 b 2 i; a certificate without any has one by its issuer's name (6.3.3, last paragraph). */
static bool points_meet(const DIST_POINT_NAME *lists, X509 *certificate)
{
    X509_NAME *issuer = X509_get_issuer_name(certificate);
    CRL_DIST_POINTS *mine = X509_get_ext_d2i(certificate, NID_crl_distribution_points, NULL, NULL);
    bool meet = is_named_so(lists, issuer);

    for (int i = 0; i < sk_DIST_POINT_num(mine) && !meet; i++)
        meet = point_meets(sk_DIST_POINT_value(mine, i), lists, issuer);
    CRL_DIST_POINTS_free(mine);
    ERR_clear_error();
    return meet;
}

bool crl_scope_covers(const ISSUING_DIST_POINT *idp, X509 *certificate)
{
    bool authority = (X509_get_extension_flags(certificate) & EXFLAG_CA) != 0;

    if (idp == NULL)
        return true;
    if ((idp->onlyuser && authority) || (idp->onlyCA && !authority))
        return false;
    return idp->distpoint == NULL || points_meet(idp->distpoint, certificate);
}
