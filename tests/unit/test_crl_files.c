/* CRLs from several sources: which one is in force, files with several lists, authorities with several keys. */
#include "tests/unit/unit.h"

#include <string.h>

#include "tests/unit/lists.h"

/* A list with this number, of this age in minutes, that revokes 10 or not. */
static struct buf numbered(const char *number, int minutes, bool revokes)
{
    X509_CRL *crl = revocation_crl(&lists.ca, lists.now - minutes * MINUTE_MS, lists.now + 24 * HOUR_MS);

    if (revokes)
        revocation_add(crl, 10, -1);
    if (number != NULL) {
        ASN1_INTEGER *n = s2i_ASN1_INTEGER(NULL, number);

        assert_int_equal(X509_CRL_add1_ext_i2d(crl, NID_crl_number, n, 0, 0), 1);
        ASN1_INTEGER_free(n);
    }
    return revocation_signed(crl, &lists.ca, EVP_sha256());
}

static void an_older_list_does_not_come_back(void **state)
{
    struct crl_set *s = crl_set_new();

    (void)state;
    lists_taken(s, "a", numbered("256", 30, true));
    assert_string_equal(crl_set_at(s, 0).number, "0100");
    lists_refused(s, numbered("255", 10, false), "older than the list in force"); /* by its number, whatever it says of its date */
    lists_refused(s, numbered("256", 31, false), "older than the list in force");
    lists_refused(s, numbered(NULL, 31, false), "older than the list in force");
    assert_int_equal(lists_answer(s, &lists.leaf), REVOCATION_REVOKED);
    lists_taken(s, "a", numbered("65536", 29, false));
    assert_int_equal(lists_answer(s, &lists.leaf), REVOCATION_GOOD);
    /* Where one has no number, the dates decide. */
    lists_taken(s, "a", numbered(NULL, 28, true));
    assert_int_equal(lists_answer(s, &lists.leaf), REVOCATION_REVOKED);
    lists_refused(s, numbered("65537", 29, false), "older than the list in force");
    lists_taken(s, "a", numbered("1", 27, false));
    assert_int_equal(lists_answer(s, &lists.leaf), REVOCATION_GOOD);
    crl_set_free(s);
}

static void numbers_are_small_natural_ones(void **state)
{
    struct crl_set *s = crl_set_new();

    (void)state;
    lists_refused(s, numbered("-1", 1, false), "cRLNumber");
    lists_refused(s, numbered("0x10000000000000000000000000000000000000000", 1, false), "cRLNumber"); /* 21 octets */
    lists_taken(s, "a", numbered("0x8000000000000000000000000000000000000000", 1, false));
    assert_string_equal(crl_set_at(s, 0).number, "8000000000000000000000000000000000000000");
    crl_set_free(s);
}

static void of_two_sources_the_newer_list_counts(void **state)
{
    struct crl_set *s = crl_set_new();
    struct buf old = numbered("5", 50, true);
    uint64_t generation;

    (void)state;
    assert_true(crl_set_take(s, "file", buf_slice(&old), LISTS_MOST, lists.authorities, lists.now, 0, NULL));
    lists_taken(s, "url", numbered("6", 40, false)); /* 10 was on hold, and is no more */
    assert_int_equal(lists_answer(s, &lists.leaf), REVOCATION_GOOD);
    assert_int_equal(crl_set_count(s), 1);
    assert_string_equal(crl_set_at(s, 0).source, "url");
    /* The file read again as it is: no error, nothing changes. */
    generation = crl_set_generation(s);
    assert_true(crl_set_take(s, "file", buf_slice(&old), LISTS_MOST, lists.authorities, lists.now, 0, NULL));
    assert_int_equal(crl_set_generation(s), generation);
    assert_int_equal(lists_answer(s, &lists.leaf), REVOCATION_GOOD);
    crl_set_drop(s, "url");
    assert_true(crl_set_generation(s) > generation);
    assert_int_equal(lists_answer(s, &lists.leaf), REVOCATION_REVOKED);
    crl_set_drop(s, "file");
    assert_int_equal(crl_set_count(s), 0);
    assert_int_equal(lists_answer(s, &lists.leaf), REVOCATION_UNKNOWN);
    generation = crl_set_generation(s);
    crl_set_drop(s, "file");
    assert_int_equal(crl_set_generation(s), generation);
    buf_free(&old);
    crl_set_free(s);
}

/* Who can only take a file away, or write something else into it, does not go back by that: not to a list put there anew, nor to one that lay beside it. */
static void a_list_that_was_taken_away_is_not_gone_back_behind(void **state)
{
    struct crl_set *s = crl_set_new();
    struct buf old = numbered("5", 50, false);

    (void)state;
    assert_true(crl_set_take(s, "october", buf_slice(&old), LISTS_MOST, lists.authorities, lists.now, 0, NULL));
    lists_taken(s, "november", numbered("6", 40, true));
    crl_set_lose(s, "november");
    assert_int_equal(crl_set_count(s), 0);
    assert_int_equal(lists_answer(s, &lists.leaf), REVOCATION_UNKNOWN);
    assert_true(crl_set_take(s, "october", buf_slice(&old), LISTS_MOST, lists.authorities, lists.now, 0, NULL)); /* nothing new: it is read again */
    assert_int_equal(lists_answer(s, &lists.leaf), REVOCATION_UNKNOWN);
    crl_set_lose(s, "october");
    lists_refused(s, numbered("5", 50, false), "older than the list of CN=Operator that was taken away, number 06 from november");
    lists_taken(s, "november", numbered("6", 40, true));
    assert_int_equal(lists_answer(s, &lists.leaf), REVOCATION_REVOKED);
    lists_taken(s, "november", revocation_signed(lists_plain(&lists.other), &lists.other, EVP_sha256()));
    lists_refused(s, numbered("5", 50, false), "was taken away");
    crl_set_lose(s, NULL);
    lists_refused(s, numbered("5", 50, false), "was taken away");
    lists_taken(s, "december", numbered("7", 30, false));
    assert_int_equal(lists_answer(s, &lists.leaf), REVOCATION_GOOD);
    crl_set_drop(s, "december"); /* no longer configured: whoever does that may go back */
    lists_taken(s, "october", numbered("5", 50, true));
    assert_int_equal(lists_answer(s, &lists.leaf), REVOCATION_REVOKED);
    buf_free(&old);
    crl_set_free(s);
}

static struct buf joined(struct buf a, struct buf b)
{
    revocation_append(&a, buf_slice(&b));
    buf_free(&b);
    return a;
}

static struct buf pem_of(struct buf der)
{
    struct buf pem = revocation_pem(buf_slice(&der));

    buf_free(&der);
    return pem;
}

static struct buf other_pem(void)
{
    return pem_of(revocation_signed(lists_plain(&lists.other), &lists.other, EVP_sha256()));
}

static void a_file_may_hold_several_among_other_things(void **state)
{
    struct crl_set *s = crl_set_new();
    struct buf file = lists_text("Lists of today\n\n-----BEGIN NOTHING\n-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\nbetween\n");

    (void)state;
    file = joined(joined(file, pem_of(lists_plain_bytes())), lists_text("\r\n# and the other\r\n"));
    file = joined(joined(file, other_pem()), lists_text("the end"));
    lists_taken(s, "both", file);
    assert_int_equal(crl_set_count(s), 2);
    assert_int_equal(lists_answer(s, &lists.leaf), REVOCATION_REVOKED);
    crl_set_free(s);
}

static void one_bad_list_spoils_its_file_and_no_other(void **state)
{
    struct crl_set *s = crl_set_new();
    struct buf cut = joined(other_pem(), pem_of(lists_plain_bytes()));

    (void)state;
    lists_taken(s, "crl/new", pem_of(lists_plain_bytes()));
    lists_refused(s, joined(other_pem(), pem_of(lists_dated(lists.now - HOUR_MS, 0))), "list 2: no nextUpdate");
    cut.len -= 60; /* the second one has no end line and some bytes less */
    lists_refused(s, cut, "broken PEM after list 1");
    assert_int_equal(lists_answer(s, &lists.leaf), REVOCATION_REVOKED);
    lists_taken(s, "crl/new", other_pem());
    assert_int_equal(lists_answer(s, &lists.leaf), REVOCATION_UNKNOWN);
    crl_set_free(s);
}

static void nothing_changes_when_the_same_lists_come_again(void **state)
{
    struct crl_set *s = crl_set_new();
    struct buf file = joined(other_pem(), pem_of(lists_plain_bytes()));
    uint64_t generation;

    (void)state;
    assert_true(crl_set_take(s, "a", buf_slice(&file), LISTS_MOST, lists.authorities, lists.now, 0, NULL));
    generation = crl_set_generation(s);
    assert_true(crl_set_take(s, "a", buf_slice(&file), LISTS_MOST, lists.authorities, lists.now, 0, NULL));
    assert_int_equal(crl_set_generation(s), generation);
    assert_int_equal(crl_set_count(s), 2);
    lists_taken(s, "a", pem_of(lists_plain_bytes())); /* one less, and signed anew */
    assert_true(crl_set_generation(s) > generation);
    assert_int_equal(crl_set_count(s), 1);
    buf_free(&file);
    crl_set_free(s);
}

static void an_authority_with_a_new_key_has_lists_of_both(void **state)
{
    const struct certificate_wanted w = {.cn = "new", .serial = 10};
    struct issued young = revocation_certificate(certificates_ec("P-256"), &w, &lists.again);
    struct crl_set *s = crl_set_new();
    X509_CRL *wrong;

    (void)state;
    lists_taken(s, "new", revocation_signed(lists_plain(&lists.again), &lists.again, EVP_sha256()));
    /* A list of the new key says nothing of what the old one signed: a namesake may have the same serial numbers. */
    assert_int_equal(lists_answer(s, &lists.leaf), REVOCATION_UNKNOWN);
    assert_int_equal(crl_set_check(s, young.certificate, lists.again.certificate, lists.now, 0).answer, REVOCATION_REVOKED);
    lists_taken(s, "old", lists_dated(lists.now - 2 * HOUR_MS, lists.now + HOUR_MS)); /* older, of the other key: not the same list */
    assert_int_equal(crl_set_count(s), 2);
    assert_int_equal(lists_answer(s, &lists.leaf), REVOCATION_GOOD);
    assert_int_equal(crl_set_check(s, young.certificate, lists.again.certificate, lists.now, 0).answer, REVOCATION_REVOKED);
    wrong = lists_plain(&lists.ca);
    revocation_extend(wrong, NID_authority_key_identifier, "keyid:always", &lists.ca);
    lists_taken(s, "identified", revocation_signed(wrong, &lists.ca, EVP_sha256()));
    wrong = lists_plain(&lists.ca);
    revocation_extend(wrong, NID_authority_key_identifier, "keyid:always", &lists.namesake);
    lists_refused(s, revocation_signed(wrong, &lists.ca, EVP_sha256()), "authority key identifier");
    crl_set_free(s);
    certificates_free(&young);
}

static void a_renewed_authority_with_its_key_is_the_same(void **state)
{
    struct issued renewed;
    struct crl_set *s = crl_set_new();

    (void)state;
    EVP_PKEY_up_ref(lists.ca.key);
    renewed = revocation_authority("Operator", lists.ca.key);
    lists_taken(s, "a", lists_plain_bytes());
    assert_int_equal(crl_set_check(s, lists.leaf.certificate, renewed.certificate, lists.now, 0).answer, REVOCATION_REVOKED);
    crl_set_free(s);
    certificates_free(&renewed);
}

static void a_set_has_a_limit(void **state)
{
    struct crl_set *s = crl_set_new();
    struct buf one = pem_of(lists_plain_bytes()), file;

    (void)state;
    buf_init(&file, LISTS_MOST);
    for (int i = 0; i < 1001; i++)
        revocation_append(&file, buf_slice(&one));
    lists_refused(s, file, "more than 1000 lists");
    buf_free(&one);
    crl_set_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_older_list_does_not_come_back),
        cmocka_unit_test(numbers_are_small_natural_ones),
        cmocka_unit_test(of_two_sources_the_newer_list_counts),
        cmocka_unit_test(a_list_that_was_taken_away_is_not_gone_back_behind),
        cmocka_unit_test(a_file_may_hold_several_among_other_things),
        cmocka_unit_test(one_bad_list_spoils_its_file_and_no_other),
        cmocka_unit_test(nothing_changes_when_the_same_lists_come_again),
        cmocka_unit_test(an_authority_with_a_new_key_has_lists_of_both),
        cmocka_unit_test(a_renewed_authority_with_its_key_is_the_same),
        cmocka_unit_test(a_set_has_a_limit),
    };

    return cmocka_run_group_tests_name("crl files", tests, lists_set_up, lists_tear_down);
}
