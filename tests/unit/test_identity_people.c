/* What fronts hear of those who have presented the same certificate: all of them of a change, whoever made it be noticed; each by its own address. And how much of what they present is kept. */
#include "tests/unit/unit.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "common/identity/identity_internal.h"
#include "tests/unit/folder.h"
#include "tests/unit/revocation.h"

enum { PLACES = 4096 /* a front has at least */ };

static struct issued operator_ca;
static struct identity *identity;
static struct channel *front, *second; /* the other ends of front 0's and front 1's */
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
    assert_true(channel_pair(fds, &e));
    identity->fronts[1].channel = channel_open(fds[0], 1 << 20, 1 << 20);
    second = channel_open(fds[1], 1 << 20, 1 << 20);
    identity_room_limit(identity, PLACES);
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
    channel_free(identity->fronts[1].channel);
    channel_free(second);
    free(identity);
    certificates_free(&operator_ca);
    return folder_remove(state);
}

static void present_to(unsigned in, uint64_t number, X509 *leaf, const char *address)
{
    struct identity_present m = {.connection = number, .address = slice_text(address), .count = 1};
    struct err e = {0};
    uint8_t *der = NULL;
    int len = i2d_X509(leaf, &der);

    assert_true(len > 0);
    m.der[0] = slice_of(der, (size_t)len);
    if (!identity_people_present(identity->people, in, &m, &e))
        fail_msg("%s", e.text);
    OPENSSL_free(der);
}

static void present_from(uint64_t number, X509 *leaf, const char *address)
{
    present_to(0, number, leaf, address);
}

static void present_in(unsigned in, uint64_t number, X509 *leaf)
{
    present_to(in, number, leaf, "192.0.2.7");
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
    f[2].channel = f[0].channel; /* these hear nothing */
    f[0].channel = NULL;
    for (uint64_t n = 1; n <= 3000; n++)
        present(n * 7919, leaf.certificate);
    assert_int_equal(f[0].connections.count, 3000);
    for (uint64_t n = 1; n <= 3000; n += 3)
        identity_people_gone(identity->people, 0, n * 7919);
    assert_int_equal(f[0].connections.count, 2000);
    identity_people_lost(identity->people, 0);
    assert_int_equal(f[0].connections.count, 0);
    f[0].channel = f[2].channel;
    f[2].channel = NULL;
    buf_init(&metrics, 64 * 1024);
    identity_people_metrics(identity->people, &metrics);
    snprintf(said, sizeof said, "%.*s", SLICE_ARGS(buf_slice(&metrics)));
    assert_non_null(strstr(said, "coffre_identity_certificates 0\ncoffre_identity_connections 0\n"));
    buf_free(&metrics);
    certificates_free(&leaf);
}

/* ---- how much is kept ---- */

/* What somebody says who has taken a front over. */
static void present_bloated(unsigned in, uint64_t number, unsigned n)
{
    struct slice der = revocation_bloated(&operator_ca, (long)n + 1000);
    const struct identity_present m = {.connection = number, .address = SLICE_LITERAL("192.0.2.7"), .count = 2, .der = {der, der}};
    struct err e = {0};

    if (!identity_people_present(identity->people, in, &m, &e))
        fail_msg("%s", e.text);
    OPENSSL_free((void *)(uintptr_t)der.at);
}

/* How many verdicts were said of each kind since the last time. */
static void count_verdicts(struct channel *of, unsigned in, unsigned counts[IDENTITY_CHECKS])
{
    struct channel_message m;
    struct identity_verdict v;
    struct err e = {0};

    memset(counts, 0, IDENTITY_CHECKS * sizeof *counts);
    assert_true(channel_flush(identity->fronts[in].channel, &e));
    while (channel_receive(of, &m, &e) == CHANNEL_MESSAGE) {
        assert_true(identity_read_verdict(m.body, &v, &e));
        counts[v.check]++;
    }
}

static void test_room_of_each_front(void **state)
{
    enum { CONNECTIONS = 10 };
    const struct certificate_wanted w = {.cn = "honest", .serial = 13, .extensions = {{NID_ext_key_usage, "clientAuth"}, {NID_key_usage, "digitalSignature"}}};
    struct issued leaf = revocation_certificate(certificates_ec("P-256"), &w, &operator_ca);
    unsigned counts[IDENTITY_CHECKS];
    uint64_t turned_away;

    (void)state;
    identity->front_bytes = identity->front_bytes / PLACES * CONNECTIONS;
    /* As many as it takes at once all find room, however long their chains. */
    for (unsigned n = 0; n < CONNECTIONS; n++)
        present_bloated(0, n, n);
    count_verdicts(front, 0, counts);
    assert_int_equal(counts[IDENTITY_FULL], 0);
    /* More do not; they are told, and nothing is kept of them. */
    for (unsigned n = CONNECTIONS; n < 5 * CONNECTIONS; n++)
        present_bloated(0, n, n);
    count_verdicts(front, 0, counts);
    assert_in_range(counts[IDENTITY_FULL], 3 * CONNECTIONS, 4 * CONNECTIONS);
    turned_away = identity->fronts[0].turned_away;
    assert_int_equal(turned_away, counts[IDENTITY_FULL]);
    assert_int_equal(identity->fronts[0].connections.count, 5 * CONNECTIONS - turned_away);
    assert_true(identity->fronts[0].bytes <= identity->front_bytes);
    /* Another front notices nothing. */
    present_in(1, 1, leaf.certificate);
    count_verdicts(second, 1, counts);
    assert_int_equal(counts[IDENTITY_PASSED], 1);
    /* What is not kept has no end that means anything; what is makes room. */
    identity_people_gone(identity->people, 0, 5 * CONNECTIONS - 1);
    present_in(0, 1000, leaf.certificate);
    identity_people_gone(identity->people, 0, 0);
    present_bloated(0, 1001, 1001);
    count_verdicts(front, 0, counts);
    assert_int_equal(counts[IDENTITY_FULL], 0);
    identity_people_lost(identity->people, 0);
    assert_int_equal(identity->fronts[0].bytes, 0);
    identity_people_lost(identity->people, 1);
    assert_int_equal(identity->fronts[1].bytes, 0);
    identity->fronts[0].turned_away = 0;
    identity_room_limit(identity, PLACES);
    certificates_free(&leaf);
}

/* Fewer connections than 4096 have the room of 4096, more have more. */
static void test_room_follows_the_setting(void **state)
{
    uint64_t bytes = identity->front_bytes, connections = identity->front_connections;

    (void)state;
    assert_in_range(bytes, PLACES * (32 * 1024), PLACES * (49 * 1024));
    assert_int_equal(connections, 4 * PLACES);
    identity_room_limit(identity, 1);
    assert_int_equal(identity->front_bytes, bytes);
    assert_int_equal(identity->front_connections, connections);
    identity_room_limit(identity, 1000000);
    assert_int_equal(identity->front_bytes, bytes / PLACES * 1000000);
    assert_int_equal(identity->front_connections, 4000000);
    identity_room_limit(identity, PLACES);
}

/* Numbers that all have the same home in a map, of whatever size: map.c's multiplication undone for those whose halves extinguish each other. */
static uint64_t colliding(uint64_t n)
{
    uint64_t inverse = 1;

    for (unsigned i = 0; i < 6; i++)
        inverse *= 2 - 0x9e3779b97f4a7c15u * inverse;
    return (n << 32 | n) * inverse;
}

/* However little each takes: of connections that share a chain there are no more than that, under whatever numbers. What found no room is said at the end, though it was said a moment ago. */
static void test_connections_are_counted(void **state)
{
    enum { MOST = 4 * PLACES };
    const struct certificate_wanted w = {.cn = "shared", .serial = 15, .extensions = {{NID_ext_key_usage, "clientAuth"}, {NID_key_usage, "digitalSignature"}}};
    struct issued leaf = revocation_certificate(certificates_ec("P-256"), &w, &operator_ca);
    struct identity_front *f = identity->fronts;
    struct channel *channel = f[0].channel;
    unsigned counts[IDENTITY_CHECKS];
    int64_t begun = identity_clock();

    (void)state;
    identity_room_limit(identity, 1);
    f[0].channel = NULL; /* these hear nothing */
    for (uint64_t n = 1; n <= MOST; n++)
        present(colliding(n), leaf.certificate);
    f[0].channel = channel;
    assert_int_equal(f[0].connections.count, MOST);
    assert_int_equal(f[0].turned_away, 0);
    for (uint64_t n = MOST + 1; n <= MOST + 3; n++)
        present(colliding(n), leaf.certificate);
    count_verdicts(front, 0, counts);
    assert_int_equal(counts[IDENTITY_FULL], 3);
    assert_int_equal(f[0].turned_away, 3);
    assert_int_equal(f[0].connections.count, MOST);
    assert_true(f[0].bytes < identity->front_bytes);
    /* One that ends makes room for one, and for no more. */
    identity_people_gone(identity->people, 0, colliding(1));
    present(colliding(MOST + 1), leaf.certificate);
    present(colliding(MOST + 2), leaf.certificate);
    count_verdicts(front, 0, counts);
    assert_int_equal(counts[IDENTITY_PASSED], 1);
    assert_int_equal(counts[IDENTITY_FULL], 1);
    identity_people_lost(identity->people, 0);
    print_message("%d connections whose numbers collide, come and gone: %lld ms\n", MOST, (long long)(identity_clock() - begun));
    f[0].turned_away = 0;
    identity_room_limit(identity, PLACES);
    certificates_free(&leaf);
}

/* What several have presented is in the room of one who has it still. */
static void test_room_is_handed_on(void **state)
{
    size_t one;

    (void)state;
    present_bloated(0, 1, 1);
    one = identity->fronts[0].bytes;
    assert_true(one > 2 * 15 * 1024);
    present_bloated(1, 1, 1);
    present_bloated(0, 2, 1);
    assert_true(identity->fronts[1].bytes < 1024 && identity->fronts[0].bytes < one + 1024);
    identity_people_gone(identity->people, 0, 1);
    identity_people_gone(identity->people, 0, 2);
    assert_int_equal(identity->fronts[0].bytes, 0);
    assert_int_equal(identity->fronts[1].bytes, one);
    identity_people_lost(identity->people, 1);
    assert_int_equal(identity->fronts[1].bytes, 0);
}

/* ---- what OpenSSL keeps of it ---- */

static size_t kept_by_openssl;

static void *count_malloc(size_t size, const char *file, int line)
{
    void *p = malloc(size);

    (void)file;
    (void)line;
    kept_by_openssl += p == NULL ? 0 : malloc_usable_size(p);
    return p;
}

static void count_free(void *p, const char *file, int line)
{
    (void)file;
    (void)line;
    kept_by_openssl -= p == NULL ? 0 : malloc_usable_size(p);
    free(p);
}

static void *count_realloc(void *p, size_t size, const char *file, int line)
{
    size_t before = p == NULL ? 0 : malloc_usable_size(p);
    void *q = realloc(p, size);

    (void)file;
    (void)line;
    if (q != NULL || size == 0)
        kept_by_openssl -= before;
    kept_by_openssl += q == NULL ? 0 : malloc_usable_size(q);
    return q;
}

/* What is said to be kept is all that is: a chain that is good for nothing stays what it was, some bytes; one that is good fits into what it counts as. */
static void test_room_is_what_is_taken(void **state)
{
    struct certificate_wanted w = {.cn = "many", .serial = 14, .extensions = {{NID_ext_key_usage, "clientAuth"}, {NID_key_usage, "digitalSignature"}}};
    struct issued leaf = revocation_certificate(certificates_rsa(3072), &w, &operator_ca);
    size_t before;

    (void)state;
    present_bloated(0, 0, 0);
    before = kept_by_openssl;
    for (unsigned n = 1; n <= 50; n++)
        present_bloated(0, n, n);
    print_message("50 chains of 32 KiB, good for nothing: %zu bytes, counted as %zu\n", kept_by_openssl - before, identity->fronts[0].bytes);
    assert_true(kept_by_openssl - before <= 50 * 1024);
    identity_people_lost(identity->people, 0);
    present(1, leaf.certificate);
    before = kept_by_openssl;
    for (unsigned n = 2; n <= 51; n++) {
        struct issued other;

        w.serial++;
        assert_int_equal(EVP_PKEY_up_ref(leaf.key), 1);
        other = revocation_certificate(leaf.key, &w, &operator_ca);
        present(n, other.certificate);
        certificates_free(&other);
    }
    print_message("50 certificates, good: %zu bytes, counted as %zu\n", kept_by_openssl - before, identity->fronts[0].bytes);
    assert_true(kept_by_openssl - before <= 50 * 8 * 1024);
    identity_people_lost(identity->people, 0);
    certificates_free(&leaf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_change_seen_by_newcomer),
        cmocka_unit_test(test_address_of_each),
        cmocka_unit_test(test_lost_front),
        cmocka_unit_test(test_room_of_each_front),
        cmocka_unit_test(test_room_follows_the_setting),
        cmocka_unit_test(test_connections_are_counted),
        cmocka_unit_test(test_room_is_handed_on),
        cmocka_unit_test(test_room_is_what_is_taken),
    };

    if (CRYPTO_set_mem_functions(count_malloc, count_realloc, count_free) != 1)
        return 1;
    return cmocka_run_group_tests(tests, begin, end);
}
