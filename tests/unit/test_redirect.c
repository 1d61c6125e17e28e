/* Which redirections are followed: by scheme, by number, by where the addresses are. */
#include "tests/unit/unit.h"

#include <string.h>

#include "common/identity/redirect.h"

static void test_places(void **state)
{
    static const struct {
        const char *address;
        enum redirect_place place;
    } cases[] = {
        {"127.0.0.1", REDIRECT_LOOPBACK},      {"127.255.255.254", REDIRECT_LOOPBACK}, {"::1", REDIRECT_LOOPBACK},           {"::ffff:127.0.0.1", REDIRECT_LOOPBACK},
        {"169.254.169.254", REDIRECT_LINK},    {"fe80::1", REDIRECT_LINK},             {"fe80::1%lo", REDIRECT_LINK},        {"::ffff:169.254.0.1", REDIRECT_LINK},
        {"10.0.0.1", REDIRECT_PRIVATE},        {"172.16.0.1", REDIRECT_PRIVATE},       {"172.31.255.255", REDIRECT_PRIVATE}, {"192.168.1.1", REDIRECT_PRIVATE},
        {"100.64.0.1", REDIRECT_PRIVATE},      {"198.19.0.1", REDIRECT_PRIVATE},       {"fd00::1", REDIRECT_PRIVATE},        {"fec0::1", REDIRECT_PRIVATE},
        {"64:ff9b::7f00:1", REDIRECT_PRIVATE}, {"2002:7f00:1::", REDIRECT_PRIVATE},    {"2001::1", REDIRECT_PRIVATE},        {"::ffff:10.1.2.3", REDIRECT_PRIVATE},
        {"0.0.0.0", REDIRECT_NOWHERE},         {"224.0.0.1", REDIRECT_NOWHERE},        {"255.255.255.255", REDIRECT_NOWHERE}, {"::", REDIRECT_NOWHERE},
        {"::127.0.0.1", REDIRECT_NOWHERE},     {"ff02::1", REDIRECT_NOWHERE},          {"", REDIRECT_NOWHERE},               {"localhost", REDIRECT_NOWHERE},
        {"172.32.0.1", REDIRECT_PUBLIC},       {"192.0.2.1", REDIRECT_PUBLIC},         {"8.8.8.8", REDIRECT_PUBLIC},         {"2001:db8::1", REDIRECT_PUBLIC},
        {"128.0.0.1", REDIRECT_PUBLIC},        {"100.128.0.1", REDIRECT_PUBLIC},       {"2600::1", REDIRECT_PUBLIC},         {"::ffff:192.0.2.1", REDIRECT_PUBLIC},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (redirect_place_of(cases[i].address) != cases[i].place)
            fail_msg("%s is at %d", cases[i].address, redirect_place_of(cases[i].address));
}

/* From outside never inwards; from inside to the very same kind of place, or out. */
static void test_directions(void **state)
{
    (void)state;
    for (int from = REDIRECT_NOWHERE; from <= REDIRECT_PUBLIC; from++)
        for (int to = REDIRECT_NOWHERE; to <= REDIRECT_PUBLIC; to++)
            assert_int_equal(redirect_permits((enum redirect_place)from, (enum redirect_place)to),
                             to == REDIRECT_PUBLIC || (to == from && to != REDIRECT_NOWHERE));
}

static void refused(unsigned hop, const char *from, const char *to, const char *why)
{
    struct err e = {0};

    assert_false(redirect_follows(hop, from, to, &e));
    assert_int_equal(e.code, ERR_INPUT);
    if (strstr(e.text, why) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", e.text, why);
}

static void test_urls(void **state)
{
    (void)state;
    assert_true(redirect_follows(1, "http://a/", "http://b/", NULL));
    assert_true(redirect_follows(2, "http://a/", "https://b/", NULL));
    assert_true(redirect_follows(3, "https://a/", "https://b/", NULL));
    refused(4, "https://a/", "https://b/", "more than 3");
    refused(1, "https://a/", "http://b/", "from https to http");
    refused(1, "HTTPS://a/", "http://b/", "from https to http");
    refused(1, "http://a/", "file:///etc/passwd", "no http: or https:");
    refused(1, "http://a/", "ftp://b/", "no http: or https:");
    refused(1, "http://a/", "http://b/\r\nX: y", "no http: or https:");
    refused(1, "http://a/", "", "no http: or https:");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_directions),
        cmocka_unit_test(test_urls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
