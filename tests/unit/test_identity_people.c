/* What fronts hear of those who have presented the same certificate: all of them of a change, whoever made it be noticed; each by its own address. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/identity/identity_internal.h"
#include "tests/unit/folder.h"
#include "tests/unit/revocation.h"

static struct issued operator_ca;
static struct identity *identity;
static struct channel *front; /* the other end of front 0's */
static const struct identity_duty duty = {.offered = 1 << ROSTER_DEPOSITOR | 1 << ROSTER_READER};

static int begin(void **state)
{
    char text[512], *path;
    int fds[2];
    struct err e = {0};

    if (folder_make(state) != 0)
        return -1;
    operator_ca = revocation_authority("operator", certificates_ec("P-256"));
    path = folder_file("operator.pem");
    certificates_write(&operator_ca, NULL, path, NULL);
    snprintf(text, sizeof text,
             "operator:\n  ca: %s\nregulator:\n  ca: %s\nprofiles:\n  depositor:\n    revocation: none\n  reader:\n    revocation: none\n    allow: [198.51.100.0/24]\n", path, path);
    free(path);
    identity = mem_zalloc(1, sizeof *identity);
    identity->duty = &duty;
    identity->name = "coffre-test";
    identity->settings = folder_settings(text, &e);
    if (identity->settings == NULL)
        fail_msg("%s", e.text);
    identity->policies = identity_policies_load(identity->settings, duty.offered, &e);
    if (identity->policies == NULL)
        fail_msg("%s", e.text);
    identity->lists = identity_lists_new(identity);
    identity->ask = identity_ask_new(identity);
    identity->ocsp = identity_ocsp_new(identity);
    identity->people = identity_people_new(identity);
    identity->watch = identity_watch_new(identity);
    identity_watch_configure(identity->watch);
    assert_true(channel_pair(fds, &e));
    identity->fronts[0].channel = channel_open(fds[0], 1 << 20, 1 << 20);
    front = channel_open(fds[1], 1 << 20, 1 << 20);
    return 0;
}

static int end(void **state)
{
    identity_people_free(identity->people);
    identity_ocsp_free(identity->ocsp);
    identity_lists_free(identity->lists);
    identity_watch_free(identity->watch);
    identity_ask_free(identity->ask);
    identity_policies_free(identity->policies);
    settings_free(identity->settings);
    channel_free(identity->fronts[0].channel);
    channel_free(front);
    free(identity);
    certificates_free(&operator_ca);
    return folder_remove(state);
}

static void present_from(uint64_t number, X509 *leaf, const char *address)
{
    struct identity_present m = {.connection = number, .address = slice_text(address), .count = 1};
    struct err e = {0};
    uint8_t *der = NULL;
    int len = i2d_X509(leaf, &der);

    assert_true(len > 0);
    m.der[0] = slice_of(der, (size_t)len);
    if (!identity_people_present(identity->people, 0, &m, &e))
        fail_msg("%s", e.text);
    OPENSSL_free(der);
}

static void present(uint64_t number, X509 *leaf)
{
    present_from(number, leaf, "192.0.2.7");
}

/* The verdicts that were said since the last time, as the last one of each connection: -1: none. */
static void hear(int checks[4])
{
    struct channel_message m;
    struct err e = {0};

    for (unsigned n = 0; n < 4; n++)
        checks[n] = -1;
    assert_true(channel_flush(identity->fronts[0].channel, &e));
    while (channel_receive(front, &m, &e) == CHANNEL_MESSAGE) {
        struct identity_verdict v;

        assert_int_equal(m.type, IDENTITY_VERDICT);
        assert_true(identity_read_verdict(m.body, &v, &e));
        assert_true(v.connection < 4);
        checks[v.connection] = (int)v.check;
    }
}

/* Somebody presents a certificate in the very moment in which its time is over: whoever holds it already hears so too. */
static void test_change_seen_by_newcomer(void **state)
{
    int64_t ends = (identity_wall() / 1000 + 6) * 1000; /* enough to be presented before, on a busy machine */
    const struct certificate_wanted w = {.cn = "sensor", .serial = 10, .until = ends,
                                         .extensions = {{NID_ext_key_usage, "clientAuth"}, {NID_key_usage, "digitalSignature"}}};
    struct issued leaf = revocation_certificate(certificates_ec("P-256"), &w, &operator_ca);
    int checks[4];

    (void)state;
    present(1, leaf.certificate);
    present(2, leaf.certificate);
    identity_people_review(identity->people, false);
    hear(checks);
    assert_int_equal(checks[1], IDENTITY_PASSED);
    assert_int_equal(checks[2], IDENTITY_PASSED);
    while (identity_wall() <= ends + 1000)
        usleep(10000);
    present(3, leaf.certificate);
    identity_people_review(identity->people, false);
    hear(checks);
    assert_int_equal(checks[3], IDENTITY_EXPIRED);
    assert_int_equal(checks[1], IDENTITY_EXPIRED);
    assert_int_equal(checks[2], IDENTITY_EXPIRED);
    identity_people_review(identity->people, false);
    hear(checks);
    assert_int_equal(checks[1], -1);
    identity_people_lost(identity->people, 0);
    certificates_free(&leaf);
}

static void hear_one(uint64_t number, unsigned profiles, unsigned barred)
{
    struct channel_message m;
    struct identity_verdict v;
    struct err e = {0};

    assert_true(channel_flush(identity->fronts[0].channel, &e));
    assert_int_equal(channel_receive(front, &m, &e), CHANNEL_MESSAGE);
    assert_true(identity_read_verdict(m.body, &v, &e));
    assert_int_equal(v.connection, number);
    assert_int_equal(v.profiles, profiles);
    assert_int_equal(v.barred, barred);
}

/* An address that one profile's list forbids is said, though another profile is open. */
static void test_address_of_each(void **state)
{
    const struct certificate_wanted w = {.cn = "both", .serial = 11,
                                         .extensions = {{NID_ext_key_usage, "clientAuth"}, {NID_key_usage, "digitalSignature"}}};
    struct issued leaf = revocation_certificate(certificates_ec("P-256"), &w, &operator_ca);

    (void)state;
    present_from(1, leaf.certificate, "192.0.2.7");
    hear_one(1, 1 << ROSTER_DEPOSITOR, 1 << ROSTER_READER);
    present_from(2, leaf.certificate, "198.51.100.7");
    hear_one(2, 1 << ROSTER_DEPOSITOR | 1 << ROSTER_READER, 0);
    present_from(3, leaf.certificate, "192.0.2.7");
    hear_one(3, 1 << ROSTER_DEPOSITOR, 1 << ROSTER_READER);
    identity_people_lost(identity->people, 0);
    certificates_free(&leaf);
}

/* Of a front that is gone nobody is left, however many they were. */
static void test_lost_front(void **state)
{
    const struct certificate_wanted w = {.cn = "many", .serial = 12,
                                         .extensions = {{NID_ext_key_usage, "clientAuth"}, {NID_key_usage, "digitalSignature"}}};
    struct issued leaf = revocation_certificate(certificates_ec("P-256"), &w, &operator_ca);
    struct identity_front *f = identity->fronts;
    char said[128];
    struct buf metrics;

    (void)state;
    f[1].channel = f[0].channel; /* these hear nothing */
    f[0].channel = NULL;
    for (uint64_t n = 1; n <= 3000; n++)
        present(n * 7919, leaf.certificate);
    assert_int_equal(f[0].connections.count, 3000);
    for (uint64_t n = 1; n <= 3000; n += 3)
        identity_people_gone(identity->people, 0, n * 7919);
    assert_int_equal(f[0].connections.count, 2000);
    identity_people_lost(identity->people, 0);
    assert_int_equal(f[0].connections.count, 0);
    f[0].channel = f[1].channel;
    f[1].channel = NULL;
    buf_init(&metrics, 64 * 1024);
    identity_people_metrics(identity->people, &metrics);
    snprintf(said, sizeof said, "%.*s", SLICE_ARGS(buf_slice(&metrics)));
    assert_non_null(strstr(said, "coffre_identity_certificates 0\ncoffre_identity_connections 0\n"));
    buf_free(&metrics);
    certificates_free(&leaf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_change_seen_by_newcomer),
        cmocka_unit_test(test_address_of_each),
        cmocka_unit_test(test_lost_front),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
