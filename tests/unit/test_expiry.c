/* What expires: each distance is said once, the nearest only; what is over is said again every day. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>

#include "common/identity/expiry.h"

static const int64_t day = 86400000, start = 1800000000000;

static struct expiry *watch(const char *distances)
{
    struct err e = {0};
    struct expiry *x = expiry_new(distances, &e);

    assert_non_null(x);
    return x;
}

/* How many warnings are due. */
static unsigned due(struct expiry *x, int64_t now)
{
    struct expiry_warning w;
    unsigned count = 0;

    while (expiry_next(x, now, &w))
        count++;
    return count;
}

static void only_lists_of_durations_are_distances(void **state)
{
    static const char *const bad[] = {"", " ", "60", "d", "60d30d", "60d,30d", "60 d", "-1d", "0d", "1w", "1d x", "36501d", "99999999999999999999d",
                                      "1d 2d 3d 4d 5d 6d 7d 8d 9d", "1D"};
    static const char *const good[] = {"1d", "60d 30d 7d 1d", " 1ms  36500d ", "1d 2d 3d 4d 5d 6d 7d 8d", "12h 90m 30s"};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err e = {0};

        assert_null(expiry_new(bad[i], &e));
        assert_int_equal(e.code, ERR_INPUT);
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        expiry_free(watch(good[i]));
}

static void each_distance_is_said_once(void **state)
{
    struct expiry *x = watch("7d 60d 1d 30d"); /* in any order */
    struct expiry_warning w;

    (void)state;
    expiry_set(x, "seal", start + 100 * day);
    assert_int_equal(due(x, start), 0);
    assert_int_equal(due(x, start + 40 * day - 1), 0);
    assert_true(expiry_next(x, start + 40 * day, &w));
    assert_string_equal(w.name, "seal");
    assert_true(w.ends == start + 100 * day && w.left == 60 * day);
    assert_int_equal(due(x, start + 69 * day), 0);
    assert_int_equal(due(x, start + 70 * day), 1);
    assert_int_equal(due(x, start + 93 * day), 1);
    assert_int_equal(due(x, start + 99 * day), 1);
    assert_int_equal(due(x, start + 100 * day), 0); /* its last instant */
    expiry_free(x);
}

static void found_late_it_is_said_once_not_for_each_distance(void **state)
{
    struct expiry *x = watch("60d 30d 7d 1d");

    (void)state;
    expiry_set(x, "client", start + 5 * day);
    assert_int_equal(due(x, start), 1);
    assert_int_equal(due(x, start + day), 0);
    assert_int_equal(due(x, start + 4 * day), 1);
    expiry_free(x);
}

static void what_is_over_is_said_every_day(void **state)
{
    struct expiry *x = watch("1d");
    struct expiry_warning w;

    (void)state;
    expiry_set(x, "crl", start);
    assert_true(expiry_next(x, start + 1, &w));
    assert_true(w.left == -1);
    assert_int_equal(due(x, start + day), 0);
    assert_int_equal(due(x, start + day + 1), 1);
    assert_int_equal(due(x, start + day + 2), 0);
    assert_int_equal(due(x, start + 10 * day), 1); /* once, however long nobody asked */
    /* A clock that was put back does not begin the distances again. */
    assert_int_equal(due(x, start - day / 2), 0);
    expiry_free(x);
}

static void a_new_date_begins_again(void **state)
{
    struct expiry *x = watch("30d 1d");

    (void)state;
    expiry_set(x, "crl", start + 10 * day);
    assert_int_equal(due(x, start), 1);
    expiry_set(x, "crl", start + 10 * day); /* the same */
    assert_int_equal(due(x, start), 0);
    expiry_set(x, "crl", start + 100 * day);
    assert_int_equal(due(x, start), 0);
    assert_int_equal(due(x, start + 75 * day), 1);
    expiry_remove(x, "crl");
    expiry_remove(x, "crl");
    assert_int_equal(due(x, start + 200 * day), 0);
    expiry_set(x, "crl", start + 10 * day);
    assert_int_equal(due(x, start), 1);
    expiry_free(x);
}

static void the_first_to_end_is_known(void **state)
{
    struct expiry *x = watch("1d");
    struct expiry_warning w;

    (void)state;
    assert_false(expiry_first(x, &w, start));
    expiry_set(x, "b", start + 3 * day);
    expiry_set(x, "a", start + 2 * day);
    expiry_set(x, "c", start + 4 * day);
    assert_true(expiry_first(x, &w, start));
    assert_string_equal(w.name, "a");
    assert_true(w.left == 2 * day);
    expiry_remove(x, "a");
    assert_true(expiry_first(x, &w, start + 5 * day));
    assert_string_equal(w.name, "b");
    assert_true(w.left == -2 * day);
    assert_true(expiry_is_near(x, w.left));
    assert_true(expiry_is_near(x, day));
    assert_false(expiry_is_near(x, day + 1));
    expiry_free(x);
}

static void ten_thousand_are_watched_and_no_more(void **state)
{
    struct expiry *x = watch("1d");
    char name[32];

    (void)state;
    for (unsigned i = 0; i < 10001; i++) {
        snprintf(name, sizeof name, "client %u", i * 7919 % 10001);
        expiry_set(x, name, start);
    }
    assert_int_equal(due(x, start), 10000);
    assert_int_equal(due(x, start), 0);
    /* One that is there may change, and one that goes makes room. */
    expiry_set(x, "client 0", start + 1);
    assert_int_equal(due(x, start), 1);
    expiry_remove(x, "client 7919");
    expiry_set(x, "seal", start);
    assert_int_equal(due(x, start), 1);
    expiry_free(x);
}

static void long_names_are_cut_the_same_way_each_time(void **state)
{
    struct expiry *x = watch("1d");
    char name[EXPIRY_NAME_MAX + 50];
    struct expiry_warning w;

    (void)state;
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = '\0';
    expiry_set(x, name, start);
    expiry_set(x, name, start);
    assert_true(expiry_next(x, start, &w));
    assert_int_equal(strlen(w.name), EXPIRY_NAME_MAX - 1);
    assert_false(expiry_next(x, start, &w));
    expiry_remove(x, name);
    assert_false(expiry_first(x, &w, start));
    expiry_free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_lists_of_durations_are_distances), cmocka_unit_test(each_distance_is_said_once),
        cmocka_unit_test(found_late_it_is_said_once_not_for_each_distance), cmocka_unit_test(what_is_over_is_said_every_day),
        cmocka_unit_test(a_new_date_begins_again), cmocka_unit_test(the_first_to_end_is_known),
        cmocka_unit_test(ten_thousand_are_watched_and_no_more), cmocka_unit_test(long_names_are_cut_the_same_way_each_time),
    };

    return cmocka_run_group_tests_name("expiry", tests, NULL, NULL);
}
