/* Of which certificates a CRL speaks, and for how long an entry counts. */
#include "tests/unit/unit.h"

#include "tests/unit/lists.h"

static void lists_of_users_or_authorities_speak_of_those_only(void **state)
{
    (void)state;
    assert_int_equal(lists_in_scope(lists_scoped("critical,onlyuser:TRUE"), &lists.leaf), REVOCATION_REVOKED);
    assert_int_equal(lists_in_scope(lists_scoped("critical,onlyuser:TRUE"), &lists.middle), REVOCATION_UNKNOWN);
    assert_int_equal(lists_in_scope(lists_scoped("critical,onlyCA:TRUE"), &lists.leaf), REVOCATION_UNKNOWN);
    assert_int_equal(lists_in_scope(lists_scoped("critical,onlyCA:TRUE"), &lists.middle), REVOCATION_GOOD);
}

/* A certificate with these distribution points, and serial number 10. */
static struct issued pointed(const char *points)
{
    const struct certificate_wanted w = {.cn = "pointed", .serial = 10, .extensions = {{NID_crl_distribution_points, points}}};

    return revocation_certificate(certificates_ec("P-256"), &w, &lists.ca);
}

static enum revocation_answer at_point(const char *scope, const char *points)
{
    struct issued one = pointed(points);
    enum revocation_answer found = lists_in_scope(lists_scoped(scope), &one);

    certificates_free(&one);
    return found;
}

static void lists_of_a_distribution_point_speak_of_its_certificates(void **state)
{
    const char *a = "critical,fullname:URI:http://crl.test/a", *both = "critical,fullname:URI:http://crl.test/b";

    (void)state;
    assert_int_equal(at_point(a, "URI:http://crl.test/a"), REVOCATION_REVOKED);
    assert_int_equal(at_point(a, "URI:http://crl.test/b"), REVOCATION_UNKNOWN);
    assert_int_equal(at_point(both, "URI:http://crl.test/a,URI:http://crl.test/b"), REVOCATION_REVOKED);
    assert_int_equal(lists_in_scope(lists_scoped(a), &lists.leaf), REVOCATION_UNKNOWN); /* it names no distribution point */
    assert_int_equal(at_point("critical,onlyuser:TRUE", "URI:http://crl.test/b"), REVOCATION_REVOKED);
}

static GENERAL_NAMES *names_of(X509_NAME *name)
{
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    GENERAL_NAME *one = GENERAL_NAME_new();

    GENERAL_NAME_set0_value(one, GEN_DIRNAME, X509_NAME_dup(name));
    sk_GENERAL_NAME_push(names, one);
    return names;
}

/* A distribution point named relative to its issuer: CN=<text>. */
static DIST_POINT_NAME *relative(const char *cn)
{
    DIST_POINT_NAME *point = DIST_POINT_NAME_new();
    X509_NAME_ENTRY *entry = X509_NAME_ENTRY_create_by_NID(NULL, NID_commonName, MBSTRING_UTF8, (const uint8_t *)cn, -1);

    point->type = 1;
    point->name.relativename = sk_X509_NAME_ENTRY_new_null();
    sk_X509_NAME_ENTRY_push(point->name.relativename, entry);
    return point;
}

static struct buf list_at(DIST_POINT_NAME *point)
{
    ISSUING_DIST_POINT *idp = ISSUING_DIST_POINT_new();
    X509_CRL *crl = lists_plain(&lists.ca);

    idp->distpoint = point;
    assert_int_equal(X509_CRL_add1_ext_i2d(crl, NID_issuing_distribution_point, idp, 1, 0), 1);
    ISSUING_DIST_POINT_free(idp);
    return revocation_signed(crl, &lists.ca, EVP_sha256());
}

/* A certificate with this one distribution point (taken over). */
static struct issued with_point(DIST_POINT *point)
{
    const struct certificate_wanted w = {.cn = "pointed", .serial = 10};
    struct issued one = revocation_certificate(certificates_ec("P-256"), &w, &lists.ca);
    CRL_DIST_POINTS *points = sk_DIST_POINT_new_null();

    sk_DIST_POINT_push(points, point);
    assert_int_equal(X509_add1_ext_i2d(one.certificate, NID_crl_distribution_points, points, 0, 0), 1);
    CRL_DIST_POINTS_free(points);
    assert_true(X509_sign(one.certificate, lists.ca.key, EVP_sha256()) > 0);
    return one;
}

static enum revocation_answer at_made_point(DIST_POINT *mine, DIST_POINT_NAME *theirs)
{
    struct issued one = with_point(mine);
    enum revocation_answer found = lists_in_scope(list_at(theirs), &one);

    certificates_free(&one);
    return found;
}

static DIST_POINT *made(DIST_POINT_NAME *name, GENERAL_NAMES *issuer, bool reasons)
{
    DIST_POINT *point = DIST_POINT_new();

    point->distpoint = name;
    point->CRLissuer = issuer;
    if (reasons) {
        point->reasons = ASN1_BIT_STRING_new();
        ASN1_BIT_STRING_set_bit(point->reasons, 1, 1);
    }
    return point;
}

static DIST_POINT_NAME *full(GENERAL_NAMES *names)
{
    DIST_POINT_NAME *point = DIST_POINT_NAME_new();

    point->type = 0;
    point->name.fullname = names;
    return point;
}

static void distribution_points_have_names_of_every_kind(void **state)
{
    X509_NAME *mine = X509_get_subject_name(lists.ca.certificate), *theirs = X509_get_subject_name(lists.other.certificate);

    (void)state;
    assert_int_equal(at_made_point(made(relative("part 1"), NULL, false), relative("part 1")), REVOCATION_REVOKED);
    assert_int_equal(at_made_point(made(relative("part 1"), NULL, false), relative("part 2")), REVOCATION_UNKNOWN);
    /* The issuer's own name: that is where a certificate without distribution points is looked for. */
    assert_int_equal(lists_in_scope(list_at(full(names_of(mine))), &lists.leaf), REVOCATION_REVOKED);
    assert_int_equal(lists_in_scope(list_at(full(names_of(theirs))), &lists.leaf), REVOCATION_UNKNOWN);
    /* With cRLIssuer, and without a name of its own. */
    assert_int_equal(at_made_point(made(NULL, names_of(mine), false), full(names_of(mine))), REVOCATION_REVOKED);
    /* Where another issuer's lists are found, or those of some reasons, ours are not the answer. */
    assert_int_equal(at_made_point(made(relative("part 1"), names_of(theirs), false), relative("part 1")), REVOCATION_UNKNOWN);
    assert_int_equal(at_made_point(made(relative("part 1"), NULL, true), relative("part 1")), REVOCATION_UNKNOWN);
}

static void of_several_lists_any_that_revokes_decides(void **state)
{
    struct crl_set *s = crl_set_new();
    struct revocation_finding f;

    (void)state;
    lists_taken(s, "all", lists_dated(lists.now - HOUR_MS, lists.now + HOUR_MS));
    assert_int_equal(lists_answer(s, &lists.leaf), REVOCATION_GOOD);
    lists_taken(s, "users", lists_scoped("critical,onlyuser:TRUE"));
    assert_int_equal(crl_set_count(s), 2);
    assert_int_equal(lists_answer(s, &lists.leaf), REVOCATION_REVOKED);
    f = lists_check(s, &lists.clean);
    assert_int_equal(f.answer, REVOCATION_GOOD);
    assert_true(f.until == lists.now + 24 * HOUR_MS); /* as long as any of them holds */
    crl_set_free(s);
}

static enum revocation_answer with_reasons(int first, int second)
{
    X509_CRL *crl = revocation_crl(&lists.ca, lists.now - HOUR_MS, lists.now + HOUR_MS);
    struct crl_set *s = crl_set_new();
    enum revocation_answer found;

    revocation_add(crl, 10, first);
    if (second >= 0)
        revocation_add(crl, 10, second);
    lists_taken(s, "a", revocation_signed(crl, &lists.ca, EVP_sha256()));
    found = lists_answer(s, &lists.leaf);
    crl_set_free(s);
    return found;
}

static void hold_is_revoked_and_taken_back_is_not(void **state)
{
    (void)state;
    assert_int_equal(with_reasons(CRL_REASON_CERTIFICATE_HOLD, -1), REVOCATION_REVOKED);
    assert_int_equal(with_reasons(CRL_REASON_REMOVE_FROM_CRL, -1), REVOCATION_GOOD);
    assert_int_equal(with_reasons(CRL_REASON_REMOVE_FROM_CRL, CRL_REASON_KEY_COMPROMISE), REVOCATION_REVOKED);
    assert_int_equal(with_reasons(CRL_REASON_KEY_COMPROMISE, CRL_REASON_REMOVE_FROM_CRL), REVOCATION_REVOKED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_of_users_or_authorities_speak_of_those_only),
        cmocka_unit_test(lists_of_a_distribution_point_speak_of_its_certificates),
        cmocka_unit_test(distribution_points_have_names_of_every_kind),
        cmocka_unit_test(of_several_lists_any_that_revokes_decides),
        cmocka_unit_test(hold_is_revoked_and_taken_back_is_not),
    };

    return cmocka_run_group_tests_name("crl scope", tests, lists_set_up, lists_tear_down);
}
