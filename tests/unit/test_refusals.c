/* Floods of refusals: few records, true counts, and nobody hidden by another; which of them are of a kind. */
#include "tests/unit/unit.h"

#include <stdio.h>

#include "common/journal/refusals.h"

static struct quota *q;

static int begin(void **state)
{
    (void)state;
    q = refusals_new();
    return 0;
}

static int end(void **state)
{
    (void)state;
    quota_free(q);
    return 0;
}

static bool take(uint64_t now, const char *client, const char *serial, const char *reason)
{
    return refusals_take(q, now, slice_text(client), slice_text(serial), reason);
}

static void the_first_have_records_and_the_others_are_counted(void **state)
{
    struct quota_count k;
    unsigned recorded = 0;

    (void)state;
    for (unsigned i = 0; i < 1000; i++)
        recorded += take(1000 + i, "192.0.2.7", "", "certificate-missing");
    assert_int_equal(recorded, REFUSALS_EACH);
    assert_false(quota_tell(q, 60000, false, &k));
    assert_true(quota_tell(q, 1000 + REFUSALS_MINUTE_MS, false, &k));
    assert_string_equal(k.name[0], "192.0.2.7");
    assert_string_equal(k.name[2], "certificate-missing");
    assert_int_equal(k.omitted, 1000 - REFUSALS_EACH);
    assert_int_equal(k.begun, 1000);
    assert_false(quota_tell(q, 1000 + REFUSALS_MINUTE_MS, false, &k));
    assert_true(take(61001, "192.0.2.7", "", "certificate-missing")); /* another minute */
}

static void a_flood_hides_no_other_client_certificate_or_reason(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 100000; i++)
        take(1000, "192.0.2.7", "", "certificate-missing");
    assert_true(take(1000, "192.0.2.8", "", "certificate-missing"));
    assert_true(take(1000, "192.0.2.7", "", "certificate-expired"));
    /* One network's clients are told apart by their certificates, once these are known to be no invention. */
    for (unsigned i = 0; i < 100000; i++)
        take(1000, "192.0.2.9", "1A", "not-bound");
    assert_true(take(1000, "192.0.2.9", "1B", "not-bound"));
    assert_true(take(1000, "192.0.2.9", "1B", "certificate-revoked"));
}

static void names_that_a_stranger_invents_do_not_tell_him_apart(void **state)
{
    static const char *const reasons[] = {"certificate-foreign", "certificate-invalid", "certificate-malformed", "not-verifiable"};
    unsigned recorded = 0;

    (void)state;
    for (unsigned i = 0; i < 4000; i++) {
        char serial[16];

        snprintf(serial, sizeof serial, "%X", i);
        recorded += take(1000, "192.0.2.7", serial, reasons[i % 4]);
    }
    assert_int_equal(recorded, 4 * REFUSALS_EACH);
}

static void a_flood_from_everywhere_is_bounded_and_every_client_is_named_within_a_minute(void **state)
{
    unsigned recorded = 0, named = 0;
    uint64_t omitted = 0;
    struct quota_count k;

    (void)state;
    for (unsigned round = 0; round < 10; round++)
        for (unsigned i = 0; i < 400; i++) {
            char client[32];

            snprintf(client, sizeof client, "198.51.%u.%u", i / 256, i % 256);
            recorded += take(1000, client, "", "certificate-foreign");
        }
    assert_int_equal(recorded, REFUSALS_ALL);
    while (quota_tell(q, 1000 + REFUSALS_MINUTE_MS, false, &k)) {
        assert_true(k.name[0][0] != '\0');
        named++;
        omitted += k.omitted;
    }
    assert_int_equal(named, 400);
    assert_int_equal(omitted + recorded, 4000);
}

static void more_clients_than_there_are_places_are_counted_by_reason(void **state)
{
    static const char *const reasons[] = {"certificate-foreign", "certificate-missing"};
    unsigned recorded = 0, nameless = 0;
    uint64_t omitted = 0;
    struct quota_count k;

    (void)state;
    for (unsigned i = 0; i < 5000; i++) {
        char client[32];

        snprintf(client, sizeof client, "198.51.%u.%u", i / 256, i % 256);
        recorded += take(1000, client, "", reasons[i % 2]);
    }
    while (quota_tell(q, 1000, true, &k)) {
        nameless += k.name[0][0] == '\0';
        omitted += k.omitted;
    }
    assert_int_equal(nameless, 2);
    assert_int_equal(omitted + recorded, 5000);
    /* A minute later the places are free again. */
    for (unsigned i = 0; i < 10; i++)
        (void)take(1000 + REFUSALS_MINUTE_MS, "203.0.113.1", "", "certificate-foreign");
    assert_true(quota_tell(q, 1000 + REFUSALS_MINUTE_MS, true, &k));
    assert_string_equal(k.name[0], "203.0.113.1");
    assert_int_equal(k.omitted, 10 - REFUSALS_EACH);
}

static void more_reasons_than_there_can_be_are_counted_without_a_name(void **state)
{
    unsigned recorded = 0;
    uint64_t omitted = 0, nameless = 0;
    struct quota_count k;

    (void)state;
    for (unsigned i = 0; i < 2000; i++) {
        char reason[32];

        snprintf(reason, sizeof reason, "reason-%u", i);
        recorded += take(1000, "192.0.2.7", "", reason);
    }
    while (quota_tell(q, 1000, true, &k)) {
        omitted += k.omitted;
        nameless += k.name[2][0] == '\0' ? k.omitted : 0;
    }
    assert_int_equal(omitted + recorded, 2000);
    assert_int_equal(nameless, 2000 - REFUSALS_KINDS - REFUSALS_REASONS);
}

static void a_network_is_one_client(void **state)
{
    unsigned recorded = 0;
    struct quota_count k;

    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        char client[64];

        snprintf(client, sizeof client, "2001:db8:1:2::%x", i + 1);
        recorded += take(1000, client, "", "certificate-missing");
    }
    assert_int_equal(recorded, REFUSALS_EACH);
    assert_true(take(1000, "2001:db8:1:3::1", "", "certificate-missing"));
    assert_true(quota_tell(q, 1000 + REFUSALS_MINUTE_MS, false, &k));
    assert_string_equal(k.name[0], "2001:db8:1:2::/64");
}

static void texts_of_any_length_are_kept_as_far_as_they_fit(void **state)
{
    char text[300];

    (void)state;
    memset(text, 'a', sizeof text);
    assert_true(refusals_take(q, 1, slice_of(text, sizeof text), slice_of(text, sizeof text), "x"));
    assert_true(refusals_take(q, 1, slice_of(NULL, 0), slice_of(NULL, 0), ""));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_first_have_records_and_the_others_are_counted),
        TEST(a_flood_hides_no_other_client_certificate_or_reason),
        TEST(names_that_a_stranger_invents_do_not_tell_him_apart),
        TEST(a_flood_from_everywhere_is_bounded_and_every_client_is_named_within_a_minute),
        TEST(more_clients_than_there_are_places_are_counted_by_reason),
        TEST(more_reasons_than_there_can_be_are_counted_without_a_name),
        TEST(a_network_is_one_client),
        TEST(texts_of_any_length_are_kept_as_far_as_they_fit),
    };

    return cmocka_run_group_tests_name("refusals", tests, NULL, NULL);
}
