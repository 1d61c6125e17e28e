/* IP allow-lists: who is in a network, who is not, and entries that cannot be meant. */
#include "tests/unit/unit.h"

#include <string.h>

#include "common/identity/allow.h"

static struct allow_list parsed(const char *text)
{
    char copy[128];
    struct settings_list texts = {.count = 1, .items = {copy}};
    struct allow_list list;
    struct err e = {0};

    strcpy(copy, text);
    assert_true(allow_parse(&list, &texts, &e));
    assert_int_equal(list.count, 1);
    return list;
}

static bool permits(const char *network, const char *address)
{
    struct allow_list list = parsed(network);

    return allow_permits(&list, address);
}

static void an_empty_list_allows_everybody(void **state)
{
    struct settings_list none = {0};
    struct allow_list list;
    struct err e = {0};

    (void)state;
    assert_true(allow_parse(&list, &none, &e));
    assert_true(allow_permits(&list, "192.0.2.1"));
    assert_true(allow_permits(&list, "2001:db8::1"));
}

static void a_network_holds_its_addresses_and_no_other(void **state)
{
    (void)state;
    assert_true(permits("192.0.2.0/24", "192.0.2.255"));
    assert_false(permits("192.0.2.0/24", "192.0.3.0"));
    assert_false(permits("192.0.2.0/24", "192.0.1.255"));
    assert_true(permits("10.128.0.0/9", "10.255.1.1"));
    assert_false(permits("10.128.0.0/9", "10.127.255.255"));
    assert_true(permits("192.0.2.7", "192.0.2.7"));
    assert_false(permits("192.0.2.7", "192.0.2.6"));
    assert_true(permits("0.0.0.0/0", "203.0.113.9"));
    assert_true(permits("2001:db8::/33", "2001:db8:7fff::1"));
    assert_false(permits("2001:db8::/33", "2001:db8:8000::1"));
    assert_true(permits("2001:db8::1", "2001:db8:0:0:0:0:0:1"));
    assert_false(permits("2001:db8::1", "2001:db8::2"));
    assert_true(permits("::/0", "2001:db8::1"));
}

static void mapped_addresses_are_ipv4(void **state)
{
    (void)state;
    assert_true(permits("192.0.2.0/24", "::ffff:192.0.2.9"));
    assert_true(permits("::ffff:192.0.2.0/120", "192.0.2.9"));
    assert_true(permits("::ffff:0:0/96", "203.0.113.1"));
    assert_false(permits("0.0.0.0/0", "2001:db8::1"));
    /* "all of IPv6" says nothing of IPv4, whichever way that is written */
    assert_false(permits("::/0", "192.0.2.9"));
    assert_false(permits("::/80", "::ffff:192.0.2.9"));
}

static void a_zone_is_ignored(void **state)
{
    (void)state;
    assert_true(permits("fe80::/64", "fe80::1%eth0"));
    assert_false(permits("fe80::/64", "fe81::1%eth0"));
    assert_false(permits("192.0.2.0/24", "192.0.2.1%eth0"));
}

static void what_is_no_address_is_not_allowed(void **state)
{
    static const char *const texts[] = {"", "192.0.2.1:5000", "[2001:db8::1]", "192.0.2", "host", "192.0.2.1 ", "%eth0", " ::1",
                                        "2001:db8:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:1"};

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_false(permits("0.0.0.0/0", texts[i]));
        assert_false(permits("::/0", texts[i]));
    }
}

static void entries_that_cannot_be_meant_are_refused_by_name(void **state)
{
    static const char *const texts[] = {"192.0.2.1/24", "2001:db8::1/64", "192.0.2.0/33", "2001:db8::/129", "192.0.2.0/", "/24", "", "192.0.2.0/-1",
                                        "192.0.2.0/24/24", "192.0.2.0/ 24", "192.0.2", "192.0.2.256", "host/24", "fe80::1%eth0", "192.0.2.0/0x18",
                                        "192.0.2.0/18446744073709551640", "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa/16"};
    char copy[128], fine[] = "192.0.2.0/24";
    struct settings_list list = {.count = 2, .items = {fine, copy}};

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct allow_list before = parsed("203.0.113.0/24"), out = before;
        struct err e = {0};

        strcpy(copy, texts[i]);
        assert_false(allow_parse(&out, &list, &e));
        assert_int_equal(e.code, ERR_INPUT);
        assert_non_null(strstr(e.text, texts[i]));
        assert_memory_equal(&out, &before, sizeof out);
    }
}

static void any_network_of_the_list_is_enough(void **state)
{
    char a[] = "192.0.2.0/25", b[] = "2001:db8::/32", c[] = "198.51.100.1";
    struct settings_list texts = {.count = 3, .items = {a, b, c}};
    struct allow_list list;
    struct err e = {0};

    (void)state;
    assert_true(allow_parse(&list, &texts, &e));
    assert_true(allow_permits(&list, "192.0.2.1"));
    assert_true(allow_permits(&list, "2001:db8:1::"));
    assert_true(allow_permits(&list, "198.51.100.1"));
    assert_false(allow_permits(&list, "198.51.100.2"));
    assert_false(allow_permits(&list, "192.0.2.128"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_list_allows_everybody),
        cmocka_unit_test(a_network_holds_its_addresses_and_no_other),
        cmocka_unit_test(mapped_addresses_are_ipv4),
        cmocka_unit_test(a_zone_is_ignored),
        cmocka_unit_test(what_is_no_address_is_not_allowed),
        cmocka_unit_test(entries_that_cannot_be_meant_are_refused_by_name),
        cmocka_unit_test(any_network_of_the_list_is_enough),
    };

    return cmocka_run_group_tests_name("allow", tests, NULL, NULL);
}
