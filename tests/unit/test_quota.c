/* What strangers make us record: bounded for each kind and for all, nothing uncounted, nothing untold. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>

#include "common/values/quota.h"

enum { KINDS = 8, OTHERS = 2, PART = 16, EACH = 3, ALL = 10, WINDOW = 1000 };

static struct quota *q;

static int begin(void **state)
{
    static const struct quota_limits limits = {.kinds = KINDS, .others = OTHERS, .part = PART, .each = EACH, .all = ALL, .window = WINDOW};

    (void)state;
    q = quota_new(&limits);
    return 0;
}

static int end(void **state)
{
    (void)state;
    quota_free(q);
    return 0;
}

static bool take(uint64_t now, const char *who, const char *why)
{
    const struct quota_name kind = {{slice_text(who), slice_text(why)}}, others = {{slice_of(NULL, 0), slice_text(why)}};

    return quota_take(q, now, &kind, &others);
}

static unsigned take_many(uint64_t now, unsigned many, const char *who, const char *why)
{
    unsigned recorded = 0;

    while (many-- > 0)
        recorded += take(now, who, why);
    return recorded;
}

static void is_told(uint64_t now, const char *who, const char *why, uint64_t begun, uint64_t omitted)
{
    struct quota_count c;

    assert_true(quota_tell(q, now, false, &c));
    assert_string_equal(c.name[0], who);
    assert_string_equal(c.name[1], why);
    assert_string_equal(c.name[2], "");
    assert_int_equal(c.begun, begun);
    assert_int_equal(c.omitted, omitted);
}

static void nothing_is_told(uint64_t now, bool all)
{
    struct quota_count c;

    assert_false(quota_tell(q, now, all, &c));
}

static void the_first_are_recorded_and_the_rest_is_told_when_nobody_comes_any_more(void **state)
{
    (void)state;
    assert_int_equal(take_many(50, EACH + 5, "a", "x"), EACH);
    nothing_is_told(50 + WINDOW - 1, false);
    is_told(50 + WINDOW, "a", "x", 50, 5);
    nothing_is_told(50 + WINDOW, true);
    assert_int_equal(take_many(50 + WINDOW, EACH + 1, "a", "x"), EACH); /* another window */
    is_told(50 + 2 * WINDOW, "a", "x", 50 + WINDOW, 1);
}

static void what_is_owed_is_told_before_anything_more_is_recorded(void **state)
{
    (void)state;
    take_many(0, EACH + 5, "a", "x");
    assert_false(take(3 * WINDOW, "a", "x"));
    is_told(3 * WINDOW, "a", "x", 0, 6);
    assert_true(take(3 * WINDOW, "a", "x"));
}

static void the_end_tells_whatever_the_window_and_opens_none(void **state)
{
    struct quota_count c;

    (void)state;
    take_many(0, EACH + 5, "a", "x");
    assert_true(quota_tell(q, 1, true, &c));
    assert_int_equal(c.omitted, 5);
    nothing_is_told(1, true);
    assert_false(take(2, "a", "x"));
}

static void every_part_of_a_name_tells_apart(void **state)
{
    (void)state;
    assert_int_equal(take_many(0, 100, "a", "x"), EACH);
    assert_true(take(0, "b", "x"));
    assert_true(take(0, "a", "y"));
    assert_true(take(0, "ax", ""));
    assert_true(take(0, "", "ax"));
}

static void all_kinds_together_are_bounded_and_each_is_counted(void **state)
{
    char who[2] = "a";

    (void)state;
    for (unsigned n = 0; n < KINDS; n++, who[0]++)
        assert_int_equal(take_many(0, EACH, who, "x"), n * EACH < ALL ? (ALL - n * EACH < EACH ? ALL - n * EACH : EACH) : 0);
    is_told(WINDOW, "d", "x", 0, EACH * 4 - ALL);
    for (who[0] = 'e'; who[0] < 'a' + KINDS; who[0]++)
        is_told(WINDOW, who, "x", 0, EACH);
    nothing_is_told(WINDOW, true);
    assert_int_equal(take_many(WINDOW, EACH, "z", "x"), EACH); /* another window of all */
}

static void kinds_without_a_place_are_counted_by_the_other_name_and_then_without(void **state)
{
    char who[16];
    struct quota_count c;
    uint64_t recorded = 0, omitted = 0;
    unsigned named = 0, by_reason = 0, nameless = 0;

    (void)state;
    for (unsigned n = 0; n < 3000; n++) {
        snprintf(who, sizeof who, "%u", n % 1000);
        recorded += take(0, who, n % 1000 % 3 == 0 ? "x" : n % 1000 % 3 == 1 ? "y" : "z");
    }
    assert_int_equal(recorded, ALL);
    while (quota_tell(q, WINDOW, false, &c)) {
        omitted += c.omitted;
        named += c.name[0][0] != '\0';
        by_reason += c.name[0][0] == '\0' && c.name[1][0] != '\0';
        nameless += c.name[1][0] == '\0';
    }
    assert_int_equal(recorded + omitted, 3000);
    assert_int_equal(named, KINDS);
    assert_int_equal(by_reason, OTHERS);
    assert_int_equal(nameless, 1);
}

/* A place that owes a count is never given away; one whose window is over and that owes nothing is. */
static void places_come_free(void **state)
{
    char who[2] = "a";

    (void)state;
    take_many(0, EACH + 1, "keeps", "x");
    for (unsigned n = 1; n < KINDS; n++, who[0]++)
        (void)take(0, who, "x");
    take_many(WINDOW, EACH + 1, "new", "x");
    is_told(2 * WINDOW, "keeps", "x", 0, 1);
    is_told(2 * WINDOW, "new", "x", WINDOW, 1);
    nothing_is_told(2 * WINDOW, true);
}

static void texts_of_any_length_are_kept_as_far_as_they_fit(void **state)
{
    char text[300], kept[PART] = "";
    const struct quota_name name = {{slice_of(text, sizeof text), slice_of(text, PART - 1), slice_of(text, PART)}}, none = {0};
    struct quota_count c;

    (void)state;
    memset(text, 'x', sizeof text);
    memset(kept, 'x', PART - 1);
    for (unsigned n = 0; n <= EACH; n++)
        assert_int_equal(quota_take(q, 0, &name, &none), n < EACH);
    assert_true(quota_tell(q, 0, true, &c));
    for (unsigned n = 0; n < QUOTA_PARTS; n++)
        assert_string_equal(c.name[n], kept);
    assert_true(quota_take(q, 0, &none, &none));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_first_are_recorded_and_the_rest_is_told_when_nobody_comes_any_more),
        TEST(what_is_owed_is_told_before_anything_more_is_recorded),
        TEST(the_end_tells_whatever_the_window_and_opens_none),
        TEST(every_part_of_a_name_tells_apart),
        TEST(all_kinds_together_are_bounded_and_each_is_counted),
        TEST(kinds_without_a_place_are_counted_by_the_other_name_and_then_without),
        TEST(places_come_free),
        TEST(texts_of_any_length_are_kept_as_far_as_they_fit),
    };

    return cmocka_run_group_tests_name("quota", tests, NULL, NULL);
}
