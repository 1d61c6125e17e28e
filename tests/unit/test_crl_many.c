/* As many CRLs as a set takes: what each of them costs does not grow with the others. Work is counted where lists are compared, which the linker leads through here (--wrap). */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>

#include "common/identity/crl_list.h"
#include "tests/unit/lists.h"

enum { LISTS = 1000, ISSUERS = 400, EACH = 4 /* lists of every second issuer; one of the others */, EASY = 20 /* comparisons for one list: a few of a handful */ };

static struct issued issuers[ISSUERS];
static STACK_OF(X509) *authorities;
static struct buf files[LISTS];
static unsigned long compared;

bool __real_crl_list_same_stream(const struct crl_list *a, const struct crl_list *b);
bool __wrap_crl_list_same_stream(const struct crl_list *a, const struct crl_list *b);
bool __real_crl_list_older(const struct crl_list *a, const struct crl_list *b);
bool __wrap_crl_list_older(const struct crl_list *a, const struct crl_list *b);

bool __wrap_crl_list_same_stream(const struct crl_list *a, const struct crl_list *b)
{
    compared++;
    return __real_crl_list_same_stream(a, b);
}

bool __wrap_crl_list_older(const struct crl_list *a, const struct crl_list *b)
{
    compared++;
    return __real_crl_list_older(a, b);
}

static struct buf numbered(const struct issued *by, int number)
{
    X509_CRL *crl = revocation_crl(by, lists.now - HOUR_MS + number * MINUTE_MS, lists.now + 24 * HOUR_MS);
    ASN1_INTEGER *n = ASN1_INTEGER_new();

    ASN1_INTEGER_set_int64(n, number);
    assert_int_equal(X509_CRL_add1_ext_i2d(crl, NID_crl_number, n, 0, 0), 1);
    ASN1_INTEGER_free(n);
    revocation_add(crl, 10, -1);
    return revocation_signed(crl, by, EVP_sha256());
}

/* All with the same key: names tell them apart. */
static int set_up(void **state)
{
    unsigned file = 0;

    if (lists_set_up(state) != 0)
        return -1;
    authorities = sk_X509_new_null();
    for (unsigned i = 0; i < ISSUERS; i++) {
        char name[32];

        snprintf(name, sizeof name, "Authority %u", i);
        EVP_PKEY_up_ref(lists.ca.key);
        issuers[i] = revocation_authority(name, lists.ca.key);
        sk_X509_push(authorities, issuers[i].certificate);
    }
    for (int number = 1; number <= EACH; number++)
        for (unsigned i = 0; i < ISSUERS; i++)
            if (number == 1 || i % 2 == 0)
                files[file++] = numbered(&issuers[i], number);
    assert_int_equal(file, LISTS);
    return 0;
}

static int tear_down(void **state)
{
    for (unsigned i = 0; i < LISTS; i++)
        buf_free(&files[i]);
    for (unsigned i = 0; i < ISSUERS; i++)
        certificates_free(&issuers[i]);
    sk_X509_free(authorities);
    return lists_tear_down(state);
}

static bool take(struct crl_set *s, unsigned file, struct err *e)
{
    char name[32];

    snprintf(name, sizeof name, "crl/%u.crl", file);
    return crl_set_take(s, name, buf_slice(&files[file]), LISTS_MOST, authorities, lists.now, 0, e);
}

static void take_all(struct crl_set *s)
{
    struct err e = {0};

    compared = 0;
    for (unsigned i = 0; i < LISTS; i++)
        if (!take(s, i, &e))
            fail_msg("%s", e.text);
    assert_int_equal(crl_set_count(s), ISSUERS);
    assert_in_range(compared, LISTS, LISTS * EASY);
}

/* At a start; when the same are read again; and when authorities have changed, for which all are verified anew. */
static void each_list_is_compared_with_its_own_issuers_only(void **state)
{
    struct crl_set *s = crl_set_new();
    struct err e = {0};
    uint64_t generation;

    (void)state;
    take_all(s);
    generation = crl_set_generation(s);
    take_all(s);
    assert_int_equal(crl_set_generation(s), generation);
    compared = 0;
    crl_set_lose(s, NULL);
    assert_in_range(compared, 0, LISTS * EASY);
    assert_int_equal(crl_set_count(s), 0);
    compared = 0;
    for (unsigned i = LISTS - ISSUERS / 2; i < LISTS; i++)
        assert_true(take(s, i, &e));
    assert_in_range(compared, ISSUERS / 2, ISSUERS / 2 * EASY);
    assert_int_equal(crl_set_count(s), ISSUERS / 2);
    crl_set_free(s);
}

/* Of each issuer the newest, whatever came in between; older ones stay away, those that were taken away too. */
static void of_each_issuer_the_newest_is_in_force(void **state)
{
    struct crl_set *s = crl_set_new();
    struct err e = {0};

    (void)state;
    take_all(s);
    for (unsigned i = 0; i < LISTS; i++) {
        char name[32];

        snprintf(name, sizeof name, "crl/%u.crl", i);
        crl_set_lose(s, name);
    }
    assert_int_equal(crl_set_count(s), 0);
    for (unsigned i = 0; i < ISSUERS; i += 2) {
        e = (struct err){0};
        assert_false(take(s, i, &e));
        if (strstr(e.text, "that was taken away, number 04 from") == NULL)
            fail_msg("%u: %s", i, e.text);
    }
    for (unsigned i = 1; i < ISSUERS; i += 2)
        assert_true(take(s, i, &e));
    assert_int_equal(crl_set_count(s), ISSUERS / 2);
    crl_set_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_list_is_compared_with_its_own_issuers_only),
        cmocka_unit_test(of_each_issuer_the_newest_is_in_force),
    };

    return cmocka_run_group_tests_name("many crls", tests, set_up, tear_down);
}
