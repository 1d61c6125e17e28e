/* Validation of chains: one chain that passes, and every way of not being that chain, each told apart. */
#include "tests/unit/unit.h"

#include <openssl/core_names.h>
#include <openssl/err.h>

#include "common/identity/validate.h"
#include "tests/unit/revocation.h"

#define CA {NID_basic_constraints, "critical,CA:TRUE"}, {NID_key_usage, "critical,keyCertSign,cRLSign"}
#define CLIENT {NID_basic_constraints, "critical,CA:FALSE"}, {NID_key_usage, "critical,digitalSignature"}, {NID_ext_key_usage, "clientAuth"}

static struct issued root, middle, leaf; /* the chain that passes; keys are shared by the others */
static struct identity_policy policy;

static EVP_PKEY *key(void)
{
    return certificates_ec("P-256");
}

static int make_chain(void **state)
{
    static const struct certificate_wanted r = {.cn = "root", .serial = 1, .extensions = {CA, {NID_subject_key_identifier, "hash"}}};
    static const struct certificate_wanted m = {.cn = "middle", .serial = 2, .extensions = {CA}};
    static const struct certificate_wanted l = {.cn = "leaf", .serial = 3, .extensions = {CLIENT}};

    (void)state;
    root = revocation_certificate(key(), &r, NULL);
    middle = revocation_certificate(key(), &m, &root);
    leaf = revocation_certificate(key(), &l, &middle);
    policy = (struct identity_policy){.profile = ROSTER_DEPOSITOR, .offered = true, .anchors = X509_STORE_new(), .depth = 2, .rsa_bits = 2048,
                                      .ec_bits = 256, .digests = POLICY_SHA256 | POLICY_SHA384 | POLICY_SHA512};
    assert_int_equal(X509_STORE_add_cert(policy.anchors, root.certificate), 1);
    return 0;
}

static int free_chain(void **state)
{
    (void)state;
    certificates_free(&root);
    certificates_free(&middle);
    certificates_free(&leaf);
    X509_STORE_free(policy.anchors);
    return 0;
}

/* What the policy says of `first`, presented with up to four others; what it says of it is never silent. */
static enum identity_check judge_with(const struct identity_policy *p, X509 *first, STACK_OF(X509) *others, int64_t now)
{
    struct identity_chain chain = {first, others};
    STACK_OF(X509) *path;
    struct err why = {0};
    enum identity_check check = validate_chain(p, &chain, now, &path, &why);

    assert_true((path != NULL) == (check == IDENTITY_PASSED));
    assert_true((why.text[0] == '\0') == (check == IDENTITY_PASSED));
    assert_int_equal(ERR_peek_error(), 0); /* nothing is left for others to stumble over */
    policy_certificates_free(path);
    return check;
}

static enum identity_check judge(const struct issued *first, const struct issued *by)
{
    STACK_OF(X509) *others = revocation_stack(by->certificate, NULL);
    enum identity_check check = judge_with(&policy, first->certificate, others, revocation_now());

    sk_X509_free(others);
    return check;
}

/* A leaf with these properties below `by`, presented with it. */
static enum identity_check judge_leaf(const struct certificate_wanted *w, EVP_PKEY *k, const struct issued *by)
{
    struct issued x = revocation_certificate(k, w, by);
    enum identity_check check = judge(&x, by);

    certificates_free(&x);
    return check;
}

/* A good leaf below an intermediate with these properties. */
static enum identity_check judge_middle(const struct certificate_wanted *w, EVP_PKEY *k)
{
    static const struct certificate_wanted l = {.cn = "leaf", .serial = 30, .extensions = {CLIENT}};
    struct issued m = revocation_certificate(k, w, &root);
    enum identity_check check = judge_leaf(&l, key(), &m);

    certificates_free(&m);
    return check;
}

static void a_chain_as_it_should_be_passes(void **state)
{
    STACK_OF(X509) *others = revocation_stack(middle.certificate, root.certificate, NULL), *path;
    struct identity_chain chain = {leaf.certificate, others};
    struct err why = {0};

    (void)state;
    assert_int_equal(validate_chain(&policy, &chain, revocation_now(), &path, &why), IDENTITY_PASSED);
    assert_int_equal(sk_X509_num(path), 3);
    assert_true(sk_X509_value(path, 0) == leaf.certificate && X509_cmp(sk_X509_value(path, 2), root.certificate) == 0);
    policy_certificates_free(path);
    sk_X509_free(others);
}

static void a_leaf_right_below_the_anchor_passes_alone(void **state)
{
    static const struct certificate_wanted w = {.cn = "direct", .serial = 4, .extensions = {CLIENT}};
    struct issued x = revocation_certificate(key(), &w, &root);

    (void)state;
    assert_int_equal(judge_with(&policy, x.certificate, NULL, revocation_now()), IDENTITY_PASSED);
    certificates_free(&x);
}

/* What is not the key's business does not matter: no key usage at all is no restriction (RFC 5280 4.2.1.3). */
static void a_leaf_without_key_usage_passes(void **state)
{
    static const struct certificate_wanted w = {.cn = "free", .serial = 4, .extensions = {{NID_ext_key_usage, "clientAuth,serverAuth"}}};

    (void)state;
    assert_int_equal(judge_leaf(&w, key(), &middle), IDENTITY_PASSED);
}

static void nothing_presented_is_missing(void **state)
{
    (void)state;
    assert_int_equal(judge_with(&policy, NULL, NULL, revocation_now()), IDENTITY_MISSING);
}

/* ---- authorities ---- */

static void another_authority_is_foreign(void **state)
{
    static const struct certificate_wanted w = {.cn = "leaf", .serial = 3, .extensions = {CLIENT}};
    struct issued other = revocation_authority("elsewhere", key());

    (void)state;
    assert_int_equal(judge_leaf(&w, key(), &other), IDENTITY_FOREIGN);
    certificates_free(&other);
}

static void a_missing_intermediate_is_foreign(void **state)
{
    (void)state;
    assert_int_equal(judge_with(&policy, leaf.certificate, NULL, revocation_now()), IDENTITY_FOREIGN);
}

static void who_signs_for_himself_is_foreign(void **state)
{
    static const struct certificate_wanted w = {.cn = "leaf", .serial = 3, .extensions = {CLIENT}};
    struct issued x = revocation_certificate(key(), &w, NULL);

    (void)state;
    assert_int_equal(judge_with(&policy, x.certificate, NULL, revocation_now()), IDENTITY_FOREIGN);
    certificates_free(&x);
}

/* The authority's very name, another key: what it signs is never believed. */
static void a_forged_authority_is_refused(void **state)
{
    static const struct certificate_wanted r = {.cn = "root", .serial = 1, .extensions = {CA}};
    static const struct certificate_wanted w = {.cn = "leaf", .serial = 3, .extensions = {CLIENT}};
    struct issued forged = revocation_certificate(key(), &r, NULL);
    enum identity_check check;

    (void)state;
    check = judge_leaf(&w, key(), &forged);
    assert_true(check == IDENTITY_FOREIGN || check == IDENTITY_INVALID);
    certificates_free(&forged);
}

static void a_changed_byte_is_invalid(void **state)
{
    STACK_OF(X509) *others = revocation_stack(middle.certificate, NULL);
    uint8_t *der = NULL;
    int len = i2d_X509(leaf.certificate, &der);
    const uint8_t *at = der;
    X509 *changed;

    (void)state;
    der[len - 1] ^= 1; /* of the signature */
    changed = d2i_X509(NULL, &at, len);
    assert_non_null(changed);
    assert_int_equal(judge_with(&policy, changed, others, revocation_now()), IDENTITY_INVALID);
    X509_free(changed);
    OPENSSL_free(der);
    sk_X509_free(others);
}

/* Two authorities that signed each other: no end is found there, nor looked for without end. */
static void authorities_in_a_circle_are_foreign(void **state)
{
    static const struct certificate_wanted wa = {.cn = "a", .serial = 1, .extensions = {CA}}, wb = {.cn = "b", .serial = 2, .extensions = {CA}};
    static const struct certificate_wanted w = {.cn = "leaf", .serial = 3, .extensions = {CLIENT}};
    struct issued a = revocation_certificate(key(), &wa, NULL), b = revocation_certificate(key(), &wb, &a), x, a_by_b;
    STACK_OF(X509) *others;

    (void)state;
    EVP_PKEY_up_ref(a.key);
    a_by_b = revocation_certificate(a.key, &wa, &b);
    x = revocation_certificate(key(), &w, &a_by_b);
    others = revocation_stack(a_by_b.certificate, b.certificate, a_by_b.certificate, b.certificate, NULL);
    assert_int_equal(judge_with(&policy, x.certificate, others, revocation_now()), IDENTITY_FOREIGN);
    sk_X509_free(others);
    certificates_free(&x);
    certificates_free(&a_by_b);
    certificates_free(&b);
    certificates_free(&a);
}

static void ten_certificates_that_form_no_chain_are_foreign(void **state)
{
    static const struct certificate_wanted w = {.cn = "leaf", .serial = 3, .extensions = {CLIENT}};
    STACK_OF(X509) *others = sk_X509_new_null();
    struct issued all[10];

    (void)state;
    for (unsigned i = 0; i < 10; i++) {
        struct issued by = revocation_authority("nobody", key());

        all[i] = revocation_certificate(key(), &w, &by);
        certificates_free(&by);
        assert_true(i == 0 || sk_X509_push(others, all[i].certificate) > 0);
    }
    assert_int_equal(judge_with(&policy, all[0].certificate, others, revocation_now()), IDENTITY_FOREIGN);
    sk_X509_free(others);
    for (unsigned i = 0; i < 10; i++)
        certificates_free(&all[i]);
}

/* ---- dates ---- */

static void dates_of_the_leaf_count(void **state)
{
    struct certificate_wanted w = {.cn = "leaf", .serial = 3, .extensions = {CLIENT}, .until = revocation_now() - MINUTE_MS};

    (void)state;
    assert_int_equal(judge_leaf(&w, key(), &middle), IDENTITY_EXPIRED);
    w.until = 0;
    w.from = revocation_now() + HOUR_MS;
    assert_int_equal(judge_leaf(&w, key(), &middle), IDENTITY_NOT_YET);
}

static void dates_of_intermediates_count(void **state)
{
    struct certificate_wanted w = {.cn = "middle", .serial = 2, .extensions = {CA}, .until = revocation_now() - MINUTE_MS};

    (void)state;
    assert_int_equal(judge_middle(&w, key()), IDENTITY_EXPIRED);
    w.until = 0;
    w.from = revocation_now() + HOUR_MS;
    assert_int_equal(judge_middle(&w, key()), IDENTITY_NOT_YET);
}

static void the_time_given_is_the_one_that_counts(void **state)
{
    STACK_OF(X509) *others = revocation_stack(middle.certificate, NULL);
    int64_t years = (int64_t)366 * 24 * HOUR_MS;

    (void)state;
    assert_int_equal(judge_with(&policy, leaf.certificate, others, revocation_now() + years), IDENTITY_EXPIRED);
    assert_int_equal(judge_with(&policy, leaf.certificate, others, revocation_now() - years), IDENTITY_NOT_YET);
    sk_X509_free(others);
}

static void a_path_ends_with_its_first_certificate_that_does(void **state)
{
    int64_t soon = revocation_now() + 5 * MINUTE_MS;
    struct certificate_wanted w = {.cn = "middle", .serial = 2, .extensions = {CA}, .until = soon};
    struct issued m = revocation_certificate(key(), &w, &root);
    STACK_OF(X509) *path = revocation_stack(leaf.certificate, m.certificate, root.certificate, NULL);

    (void)state;
    assert_true(validate_path_end(path) == soon);
    sk_X509_free(path);
    certificates_free(&m);
}

/* ---- constraints ---- */

static void an_intermediate_must_be_an_authority(void **state)
{
    static const struct certificate_wanted no = {.cn = "m", .serial = 2, .extensions = {{NID_basic_constraints, "critical,CA:FALSE"}, {NID_key_usage, "critical,digitalSignature"}}};
    static const struct certificate_wanted none = {.cn = "m", .serial = 2, .extensions = {{NID_subject_key_identifier, "hash"}}};
    static const struct certificate_wanted only_usage = {.cn = "m", .serial = 2, .extensions = {{NID_key_usage, "critical,keyCertSign"}}};
    enum identity_check check;

    (void)state;
    check = judge_middle(&no, key());
    assert_true(check == IDENTITY_CONSTRAINTS || check == IDENTITY_FOREIGN); /* not looked at as an issuer at all */
    assert_int_equal(judge_middle(&none, key()), IDENTITY_CONSTRAINTS);
    assert_int_equal(judge_middle(&only_usage, key()), IDENTITY_CONSTRAINTS);
}

/* A chain of `count` intermediates, the first of which may have a path length. */
static enum identity_check judge_long(unsigned count, const char *constraints, const struct identity_policy *p)
{
    const struct certificate_wanted first = {.cn = "m0", .serial = 10, .extensions = {{NID_basic_constraints, constraints}, {NID_key_usage, "critical,keyCertSign"}}};
    static const struct certificate_wanted next = {.cn = "m", .serial = 11, .extensions = {CA}}, l = {.cn = "leaf", .serial = 12, .extensions = {CLIENT}};
    STACK_OF(X509) *others = sk_X509_new_null();
    struct issued all[12];
    enum identity_check check;

    for (unsigned i = 0; i < count; i++) {
        struct certificate_wanted w = i == 0 ? first : next;
        char name[8] = {'m', (char)('0' + i)};

        w.cn = name;
        all[i] = revocation_certificate(key(), &w, i == 0 ? &root : &all[i - 1]);
        assert_true(sk_X509_push(others, all[i].certificate) > 0);
    }
    all[count] = revocation_certificate(key(), &l, &all[count - 1]);
    check = judge_with(p, all[count].certificate, others, revocation_now());
    sk_X509_free(others);
    for (unsigned i = 0; i <= count; i++)
        certificates_free(&all[i]);
    return check;
}

static void chains_are_as_long_as_the_policy_allows(void **state)
{
    struct identity_policy p = policy;

    (void)state;
    assert_int_equal(judge_long(2, "critical,CA:TRUE", &p), IDENTITY_PASSED);
    assert_int_equal(judge_long(3, "critical,CA:TRUE", &p), IDENTITY_CONSTRAINTS);
    p.depth = 8;
    assert_int_equal(judge_long(8, "critical,CA:TRUE", &p), IDENTITY_PASSED);
    assert_int_equal(judge_long(9, "critical,CA:TRUE", &p), IDENTITY_CONSTRAINTS);
    p.depth = 0;
    assert_int_equal(judge_long(1, "critical,CA:TRUE", &p), IDENTITY_CONSTRAINTS);
}

static void path_lengths_count(void **state)
{
    (void)state;
    assert_int_equal(judge_long(2, "critical,CA:TRUE,pathlen:1", &policy), IDENTITY_PASSED);
    assert_int_equal(judge_long(2, "critical,CA:TRUE,pathlen:0", &policy), IDENTITY_CONSTRAINTS);
}

static void name_constraints_count(void **state)
{
    static const struct certificate_wanted m = {.cn = "middle", .serial = 2, .extensions = {CA, {NID_name_constraints, "critical,permitted;DNS:sensors.example"}}};
    static const struct certificate_wanted good = {.cn = "leaf", .serial = 3, .extensions = {CLIENT, {NID_subject_alt_name, "DNS:a.sensors.example"}}};
    static const struct certificate_wanted bad = {.cn = "leaf", .serial = 3, .extensions = {CLIENT, {NID_subject_alt_name, "DNS:a.elsewhere.example"}}};
    struct issued by = revocation_certificate(key(), &m, &root);

    (void)state;
    assert_int_equal(judge_leaf(&good, key(), &by), IDENTITY_PASSED);
    assert_int_equal(judge_leaf(&bad, key(), &by), IDENTITY_CONSTRAINTS);
    certificates_free(&by);
}

/* ---- usage ---- */

static void a_leaf_must_be_for_clients(void **state)
{
    static const struct certificate_wanted wanted[] = {
        {.cn = "server", .serial = 3, .extensions = {{NID_ext_key_usage, "serverAuth"}}},
        {.cn = "no eku", .serial = 3, .extensions = {{NID_key_usage, "critical,digitalSignature"}}},
        {.cn = "any", .serial = 3, .extensions = {{NID_ext_key_usage, "anyExtendedKeyUsage"}}},
        {.cn = "encipherment", .serial = 3, .extensions = {{NID_key_usage, "critical,keyEncipherment"}, {NID_ext_key_usage, "clientAuth"}}},
        {.cn = "agreement", .serial = 3, .extensions = {{NID_key_usage, "critical,keyAgreement"}, {NID_ext_key_usage, "clientAuth"}}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        assert_int_equal(judge_leaf(&wanted[i], key(), &middle), IDENTITY_USAGE);
}

static void an_intermediate_for_servers_is_not_for_clients(void **state)
{
    static const struct certificate_wanted w = {.cn = "middle", .serial = 2, .extensions = {CA, {NID_ext_key_usage, "serverAuth"}}};

    (void)state;
    assert_int_equal(judge_middle(&w, key()), IDENTITY_USAGE);
}

static void an_authority_that_may_not_sign_certificates_signs_none(void **state)
{
    static const struct certificate_wanted w = {.cn = "middle", .serial = 2, .extensions = {{NID_basic_constraints, "critical,CA:TRUE"}, {NID_key_usage, "critical,cRLSign"}}};
    enum identity_check check;

    (void)state;
    check = judge_middle(&w, key());
    assert_true(check == IDENTITY_FOREIGN || check == IDENTITY_USAGE || check == IDENTITY_CONSTRAINTS);
}

static void what_is_critical_and_unknown_is_invalid(void **state)
{
    static const struct certificate_wanted w = {.cn = "leaf", .serial = 3, .extensions = {CLIENT}};
    struct issued x = revocation_certificate(key(), &w, &middle);
    X509_EXTENSION *unknown = revocation_unknown(true);

    (void)state;
    assert_int_equal(X509_add_ext(x.certificate, unknown, -1), 1);
    assert_true(X509_sign(x.certificate, middle.key, EVP_sha256()) > 0);
    assert_int_equal(judge(&x, &middle), IDENTITY_INVALID);
    X509_EXTENSION_free(unknown);
    certificates_free(&x);
}

/* ---- strength ---- */

static void keys_of_the_leaf_are_measured(void **state)
{
    static const struct certificate_wanted w = {.cn = "leaf", .serial = 3, .extensions = {CLIENT}};

    (void)state;
    assert_int_equal(judge_leaf(&w, certificates_rsa(1024), &middle), IDENTITY_WEAK);
    assert_int_equal(judge_leaf(&w, certificates_rsa(2048), &middle), IDENTITY_PASSED);
    assert_int_equal(judge_leaf(&w, certificates_ec("secp224r1"), &middle), IDENTITY_WEAK);
    assert_int_equal(judge_leaf(&w, certificates_ec("P-384"), &middle), IDENTITY_PASSED);
    assert_int_equal(judge_leaf(&w, EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), &middle), IDENTITY_WEAK);
}

static void keys_of_intermediates_are_measured(void **state)
{
    static const struct certificate_wanted w = {.cn = "middle", .serial = 2, .extensions = {CA}};

    (void)state;
    assert_int_equal(judge_middle(&w, certificates_rsa(1024)), IDENTITY_WEAK);
    assert_int_equal(judge_middle(&w, certificates_ec("secp224r1")), IDENTITY_WEAK);
}

static void the_policy_says_how_large_keys_are(void **state)
{
    struct identity_policy p = policy;
    STACK_OF(X509) *others = revocation_stack(middle.certificate, NULL);

    (void)state;
    p.ec_bits = 384;
    assert_int_equal(judge_with(&p, leaf.certificate, others, revocation_now()), IDENTITY_WEAK);
    sk_X509_free(others);
}

/* The curve is P-256, but written out: nobody can be expected to compare the numbers. */
static void a_curve_without_a_name_is_weak(void **state)
{
    static const struct certificate_wanted w = {.cn = "leaf", .serial = 3, .extensions = {CLIENT}};
    STACK_OF(X509) *others = revocation_stack(middle.certificate, NULL);
    struct issued x = {.key = key()};
    uint8_t *der = NULL;
    const uint8_t *at;
    X509 *read;
    int len;

    (void)state;
    assert_int_equal(EVP_PKEY_set_utf8_string_param(x.key, OSSL_PKEY_PARAM_EC_ENCODING, OSSL_PKEY_EC_ENCODING_EXPLICIT), 1);
    x = revocation_certificate(x.key, &w, &middle);
    len = i2d_X509(x.certificate, &der);
    at = der;
    read = d2i_X509(NULL, &at, len); /* as a stranger's comes */
    assert_non_null(read);
    assert_int_equal(judge_with(&policy, read, others, revocation_now()), IDENTITY_WEAK);
    X509_free(read);
    OPENSSL_free(der);
    sk_X509_free(others);
    certificates_free(&x);
}

static void signatures_with_sha1_are_weak(void **state)
{
    static const struct certificate_wanted w = {.cn = "leaf", .serial = 3, .extensions = {CLIENT}};
    struct certificate_wanted weak = w, weak_middle = {.cn = "middle", .serial = 2, .extensions = {CA}};

    (void)state;
    weak.digest = weak_middle.digest = EVP_sha1();
    assert_int_equal(judge_leaf(&weak, key(), &middle), IDENTITY_WEAK);
    assert_int_equal(judge_middle(&weak_middle, key()), IDENTITY_WEAK);
}

static void the_policy_says_which_digests_sign(void **state)
{
    static const struct certificate_wanted w = {.cn = "leaf", .serial = 3, .extensions = {CLIENT}};
    struct certificate_wanted strong = w;
    struct issued x;

    (void)state;
    strong.digest = EVP_sha512();
    x = revocation_certificate(key(), &strong, &root);
    assert_int_equal(judge_with(&policy, x.certificate, NULL, revocation_now()), IDENTITY_PASSED);
    policy.digests = POLICY_SHA256;
    assert_int_equal(judge_with(&policy, x.certificate, NULL, revocation_now()), IDENTITY_WEAK);
    certificates_free(&x);
}

/* It is believed because it is configured, not because it signed itself. */
static void the_anchors_own_signature_does_not_matter(void **state)
{
    struct certificate_wanted r = {.cn = "old root", .serial = 1, .extensions = {CA}, .digest = EVP_sha1()};
    static const struct certificate_wanted w = {.cn = "leaf", .serial = 3, .extensions = {CLIENT}};
    struct issued old = revocation_certificate(key(), &r, NULL);

    (void)state;
    assert_int_equal(X509_STORE_add_cert(policy.anchors, old.certificate), 1);
    assert_int_equal(judge_leaf(&w, key(), &old), IDENTITY_PASSED);
    certificates_free(&old);
}

/* ---- revocation, words ---- */

static void revocation_is_weighed_by_the_policy(void **state)
{
    enum { G = REVOCATION_GOOD, R = REVOCATION_REVOKED, U = REVOCATION_UNKNOWN };
    static const struct {
        enum revocation_policy policy;
        int crl_ocsp[3][3]; /* [crl][ocsp], each good, revoked, unknown */
    } table[] = {
        {REVOCATION_NOT_CHECKED, {{G, G, G}, {G, G, G}, {G, G, G}}},
        {REVOCATION_BY_CRL, {{G, G, G}, {R, R, R}, {U, U, U}}},
        {REVOCATION_BY_OCSP, {{G, R, U}, {G, R, U}, {G, R, U}}},
        {REVOCATION_BY_EITHER, {{G, R, G}, {R, R, R}, {G, R, U}}},
        {REVOCATION_BY_BOTH, {{G, R, U}, {R, R, R}, {U, R, U}}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        for (int crl = 0; crl < 3; crl++)
            for (int ocsp = 0; ocsp < 3; ocsp++)
                assert_int_equal(validate_weigh(table[i].policy, (enum revocation_answer)crl, (enum revocation_answer)ocsp), table[i].crl_ocsp[crl][ocsp]);
    assert_int_equal(validate_weigh((enum revocation_policy)99, REVOCATION_GOOD, REVOCATION_GOOD), REVOCATION_UNKNOWN);
}

static void every_check_has_its_words(void **state)
{
    (void)state;
    for (unsigned i = 0; i < IDENTITY_CHECKS; i++) {
        assert_non_null(validate_code((enum identity_check)i));
        assert_non_null(validate_sentence((enum identity_check)i));
        for (unsigned k = 0; k < i; k++)
            assert_string_not_equal(validate_code((enum identity_check)i), validate_code((enum identity_check)k));
    }
    assert_non_null(validate_code(IDENTITY_CHECKS));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_chain, free_chain)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(a_chain_as_it_should_be_passes), TEST(a_leaf_right_below_the_anchor_passes_alone), TEST(a_leaf_without_key_usage_passes),
        TEST(nothing_presented_is_missing), TEST(another_authority_is_foreign), TEST(a_missing_intermediate_is_foreign),
        TEST(who_signs_for_himself_is_foreign), TEST(a_forged_authority_is_refused), TEST(a_changed_byte_is_invalid),
        TEST(authorities_in_a_circle_are_foreign), TEST(ten_certificates_that_form_no_chain_are_foreign), TEST(dates_of_the_leaf_count),
        TEST(dates_of_intermediates_count), TEST(the_time_given_is_the_one_that_counts), TEST(a_path_ends_with_its_first_certificate_that_does),
        TEST(an_intermediate_must_be_an_authority), TEST(chains_are_as_long_as_the_policy_allows), TEST(path_lengths_count),
        TEST(name_constraints_count), TEST(a_leaf_must_be_for_clients), TEST(an_intermediate_for_servers_is_not_for_clients),
        TEST(an_authority_that_may_not_sign_certificates_signs_none), TEST(what_is_critical_and_unknown_is_invalid),
        TEST(keys_of_the_leaf_are_measured), TEST(keys_of_intermediates_are_measured), TEST(the_policy_says_how_large_keys_are),
        TEST(a_curve_without_a_name_is_weak), TEST(signatures_with_sha1_are_weak), TEST(the_policy_says_which_digests_sign),
        TEST(the_anchors_own_signature_does_not_matter), TEST(revocation_is_weighed_by_the_policy), TEST(every_check_has_its_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
