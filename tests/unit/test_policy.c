/* Policies from the configuration: what is loaded, and that whatever is wrong is named by its key, or its file, with the line. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "common/identity/identity.h"
#include "tests/unit/folder.h"
#include "tests/unit/revocation.h"

enum { OFFERED = 1 << ROSTER_DEPOSITOR | 1 << ROSTER_READER };

static struct issued operator_ca, regulator_ca, below;

static void write_certificates(const char *name, const struct issued *first, const struct issued *second)
{
    char *path = folder_file(name);

    certificates_write(first, second, path, NULL);
    free(path);
}

static int begin(void **state)
{
    static const struct certificate_wanted m = {.cn = "below", .serial = 9, .extensions = {{NID_basic_constraints, "critical,CA:TRUE"}, {NID_key_usage, "critical,keyCertSign,cRLSign"}}};
    static const struct certificate_wanted l = {.cn = "leaf", .serial = 10, .extensions = {{NID_basic_constraints, "critical,CA:FALSE"}}};
    struct issued leaf;

    if (folder_make(state) != 0)
        return -1;
    operator_ca = revocation_authority("operator", certificates_ec("P-256"));
    regulator_ca = revocation_authority("regulator", certificates_ec("P-256"));
    below = revocation_certificate(certificates_ec("P-256"), &m, &operator_ca);
    leaf = revocation_certificate(certificates_ec("P-256"), &l, &operator_ca);
    write_certificates("operator.pem", &operator_ca, &below);
    write_certificates("regulator.pem", &regulator_ca, NULL);
    write_certificates("below.pem", &below, NULL);
    write_certificates("leaf.pem", &operator_ca, &leaf);
    folder_write("empty.pem", "");
    folder_write("broken.pem", "-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----\n");
    certificates_free(&leaf);
    return 0;
}

static int end(void **state)
{
    certificates_free(&operator_ca);
    certificates_free(&regulator_ca);
    certificates_free(&below);
    return folder_remove(state);
}

#define BASE "operator:\n  ca: operator.pem\nregulator:\n  ca: regulator.pem\n"

static struct identity_policies *load(const char *text, unsigned offered, struct err *e)
{
    struct settings *s = folder_settings(text, e);
    struct identity_policies *p;

    if (s == NULL)
        return NULL;
    p = identity_policies_load(s, offered, e);
    if (p == NULL)
        settings_locate(s, e);
    settings_free(s);
    return p;
}

static void defaults_come_from_the_operator_and_the_regulator(void **state)
{
    struct identity_policies *p = load(BASE, OFFERED, NULL);
    STACK_OF(X509) *back;

    (void)state;
    assert_non_null(p);
    assert_true(p->of[ROSTER_DEPOSITOR].offered && p->of[ROSTER_READER].offered);
    assert_false(p->of[ROSTER_TECHNICAL].offered || p->of[ROSTER_FUNCTIONAL].offered);
    assert_int_equal(sk_X509_num(p->of[ROSTER_DEPOSITOR].authorities), 2);
    assert_int_equal(sk_X509_num(p->of[ROSTER_READER].authorities), 1);
    assert_int_equal(p->of[ROSTER_DEPOSITOR].revocation, REVOCATION_BY_CRL);
    assert_int_equal(p->of[ROSTER_DEPOSITOR].digests, POLICY_SHA256 | POLICY_SHA384 | POLICY_SHA512);
    assert_int_equal(sk_X509_num(p->authorities), 3);
    back = policy_certificates(buf_slice(&p->anchors), "anchors", NULL);
    assert_int_equal(sk_X509_num(back), 3);
    policy_certificates_free(back);
    identity_policies_free(p);
}

/* A folder of CRLs serves all daemons: those of authorities that are not offered here are no strangers. */
static void all_authorities_may_issue_lists(void **state)
{
    struct identity_policies *p = load(BASE, 1 << ROSTER_DEPOSITOR, NULL);

    (void)state;
    assert_non_null(p);
    assert_int_equal(sk_X509_num(p->authorities), 2);
    assert_int_equal(sk_X509_num(p->issuers), 3);
    identity_policies_free(p);
}

static void profiles_have_rules_of_their_own(void **state)
{
    struct identity_policies *p = load(BASE "profiles:\n  depositor:\n    ca: regulator.pem\n    revocation: either\n    digests: sha384 sha512\n    depth: 0\n"
                                            "    ocsp: http://ocsp.example/\n    allow: [192.0.2.0/24]\n",
                                       OFFERED, NULL);
    const struct identity_policy *d;

    (void)state;
    assert_non_null(p);
    d = &p->of[ROSTER_DEPOSITOR];
    assert_int_equal(d->revocation, REVOCATION_BY_EITHER);
    assert_int_equal(d->digests, POLICY_SHA384 | POLICY_SHA512);
    assert_int_equal(d->depth, 0);
    assert_string_equal(d->responder, "http://ocsp.example/");
    assert_true(allow_permits(&d->allow, "192.0.2.9") && !allow_permits(&d->allow, "192.0.3.9"));
    assert_int_equal(sk_X509_num(p->authorities), 1); /* the same for both */
    assert_int_equal(p->of[ROSTER_READER].revocation, REVOCATION_BY_CRL);
    identity_policies_free(p);
}

static void whoever_is_wrong_is_named(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {BASE "profiles:\n  depositor:\n    revocation: sometimes\n", "coffre.yml:7: profiles.depositor.revocation"},
        {BASE "profiles:\n  reader:\n    digests: sha1\n", "coffre.yml:7: profiles.reader.digests"},
        {BASE "profiles:\n  reader:\n    digests: \" \"\n", "profiles.reader.digests"},
        {BASE "profiles:\n  depositor:\n    allow: [192.0.2.1/24]\n", "coffre.yml:7: profiles.depositor.allow"},
        {BASE "profiles:\n  depositor:\n    ocsp: ldap://x/\n", "coffre.yml:7: profiles.depositor.ocsp"},
        {BASE "profiles:\n  depositor:\n    ocsp: http:///x\n", "coffre.yml:7: profiles.depositor.ocsp"},
        {BASE "profiles:\n  depositor:\n    ca: absent.pem\n", "coffre.yml:7: profiles.depositor.ca"},
        {BASE "profiles:\n  depositor:\n    ca: empty.pem\n", "no certificate"},
        {BASE "profiles:\n  depositor:\n    ca: broken.pem\n", "cannot be read"},
        {BASE "profiles:\n  depositor:\n    ca: below.pem\n", "no self-signed authority"},
        {BASE "profiles:\n  depositor:\n    ca: leaf.pem\n", "CN=leaf is no authority"},
        {BASE "profiles:\n  depositor:\n    ca: pipe\n", "not a file"},
        {"regulator:\n  ca: regulator.pem\n", "profiles.depositor.ca"},
    };
    char *pipe = folder_file("pipe");

    (void)state;
    assert_int_equal(mkfifo(pipe, 0600), 0);
    free(pipe);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = {0};

        assert_null(load(cases[i].text, OFFERED, &e));
        assert_int_equal(e.code, ERR_INPUT);
        if (strstr(e.text, cases[i].says) == NULL)
            fail_msg("\"%s\" does not say \"%s\"", e.text, cases[i].says);
    }
}

static void an_exporter_need_not_have_technical_administrators(void **state)
{
    struct identity_policies *p = load("regulator:\n  ca: regulator.pem\n", 1 << ROSTER_READER | 1 << ROSTER_TECHNICAL | 1 << ROSTER_FUNCTIONAL, NULL);

    (void)state;
    assert_non_null(p);
    assert_true(p->of[ROSTER_READER].offered && p->of[ROSTER_FUNCTIONAL].offered && !p->of[ROSTER_TECHNICAL].offered);
    identity_policies_free(p);
}

static void files_are_no_larger_than_asked(void **state)
{
    struct err e = {0};
    struct buf b;
    char *broken = folder_file("broken.pem"), *empty = folder_file("empty.pem");

    (void)state;
    assert_true(policy_read_file(broken, 1000, &b, NULL));
    assert_int_equal(b.len, 59);
    buf_free(&b);
    assert_false(policy_read_file(broken, 58, &b, &e));
    assert_int_equal(e.code, ERR_INPUT);
    assert_true(policy_read_file(broken, 59, &b, NULL));
    buf_free(&b);
    assert_true(policy_read_file(empty, 0, &b, NULL));
    assert_int_equal(b.len, 0);
    buf_free(&b);
    assert_false(policy_read_file(folder_path(), 100, &b, NULL));
    free(broken);
    free(empty);
}

/* What the daemons' check would let pass, the role would refuse. */
static void settings_are_checked_with_all_that_the_role_reads(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {BASE "revocation:\n  ocsp_nonce: maybe\n", "revocation.ocsp_nonce"},
        {BASE "revocation:\n  fetch: [ftp://x/y.crl]\n", "revocation.fetch"},
        {BASE "expiry:\n  warn: soon\n", "expiry.warn"},
        {BASE "profiles:\n  functional:\n    revocation: x\n", "profiles.functional.revocation"},
    };
    static const struct identity_duty none = {0};
    struct settings *s = folder_settings(BASE "revocation:\n  fetch: [http://x/y.crl]\n", NULL);

    (void)state;
    assert_non_null(s);
    assert_true(identity_check_settings(s, &none, NULL));
    settings_free(s);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = {0};

        s = folder_settings(cases[i].text, &e);
        assert_false(s != NULL && identity_check_settings(s, &none, &e));
        if (strstr(e.text, cases[i].says) == NULL)
            fail_msg("\"%s\" does not say \"%s\"", e.text, cases[i].says);
        settings_free(s);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(defaults_come_from_the_operator_and_the_regulator), TEST(all_authorities_may_issue_lists), TEST(profiles_have_rules_of_their_own),
        TEST(whoever_is_wrong_is_named), TEST(an_exporter_need_not_have_technical_administrators), TEST(files_are_no_larger_than_asked),
        TEST(settings_are_checked_with_all_that_the_role_reads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
