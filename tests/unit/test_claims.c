/* ConnectionIds: the newer connection wins, only against the same depositor and subject, and who lost is told once. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ingest/queues/claims.h"

static struct claims_key key(uint32_t depositor, const char *subject, const char *name)
{
    struct claims_key k;

    assert_true(claims_key_make(depositor, slice_text(subject), slice_text(name), &k));
    return k;
}

static enum claims_result take(struct claims *c, uint32_t front, uint64_t connection, struct claims_key k, struct claims_holder *loser)
{
    *loser = (struct claims_holder){99, 99};
    return claims_take(c, (struct claims_holder){front, connection}, &k, loser);
}

static void the_newer_connection_wins(void **state)
{
    struct claims c = {0};
    struct claims_holder loser;

    (void)state;
    assert_int_equal(take(&c, 0, 1, key(7, "CN=a", "ID:x"), &loser), CLAIMS_NEW);
    assert_int_equal(take(&c, 0, 1, key(7, "CN=a", "ID:x"), &loser), CLAIMS_NEW); /* repeated: no event */
    assert_int_equal(loser.front, 99);
    assert_int_equal(take(&c, 3, 1, key(7, "CN=a", "ID:x"), &loser), CLAIMS_TAKEN);
    assert_true(loser.front == 0 && loser.connection == 1);
    /* The loser has nothing to leave: its leaving does not take the name from the winner. */
    claims_leave(&c, (struct claims_holder){0, 1});
    assert_int_equal(c.count, 1);
    assert_int_equal(take(&c, 0, 2, key(7, "CN=a", "ID:x"), &loser), CLAIMS_TAKEN);
    assert_true(loser.front == 3 && loser.connection == 1);
    claims_leave(&c, (struct claims_holder){0, 2});
    assert_int_equal(c.count, 0);
    assert_int_equal(take(&c, 3, 1, key(7, "CN=a", "ID:x"), &loser), CLAIMS_NEW);
    claims_free(&c);
}

static void others_do_not_meet(void **state)
{
    struct claims c = {0};
    struct claims_holder loser;

    (void)state;
    assert_int_equal(take(&c, 0, 1, key(7, "CN=a", "ID:x"), &loser), CLAIMS_NEW);
    assert_int_equal(take(&c, 0, 2, key(8, "CN=a", "ID:x"), &loser), CLAIMS_NEW);
    assert_int_equal(take(&c, 0, 3, key(7, "CN=b", "ID:x"), &loser), CLAIMS_NEW);
    assert_int_equal(take(&c, 0, 4, key(7, "CN=a", "ID:y"), &loser), CLAIMS_NEW);
    assert_int_equal(take(&c, 0, 5, key(7, "CN=aID", ":x"), &loser), CLAIMS_NEW); /* where a text ends is part of it */
    assert_int_equal(c.count, 5);
    claims_free(&c);
}

static void a_connection_has_one_name(void **state)
{
    struct claims c = {0};
    struct claims_holder loser;

    (void)state;
    assert_int_equal(take(&c, 0, 1, key(7, "CN=a", "ID:x"), &loser), CLAIMS_NEW);
    assert_int_equal(take(&c, 0, 1, key(7, "CN=a", "ID:y"), &loser), CLAIMS_NEW);
    assert_int_equal(c.count, 1);
    assert_int_equal(take(&c, 0, 2, key(7, "CN=a", "ID:x"), &loser), CLAIMS_NEW);
    claims_free(&c);
}

static void a_front_that_is_gone_has_none(void **state)
{
    struct claims c = {0};
    struct claims_holder loser;
    char name[24];

    (void)state;
    for (unsigned i = 0; i < 2000; i++) {
        snprintf(name, sizeof name, "ID:%u", i);
        assert_int_equal(take(&c, i % 2, i, key(7, "CN=a", name), &loser), CLAIMS_NEW);
    }
    claims_front_gone(&c, 0);
    assert_int_equal(c.count, 1000);
    assert_int_equal(take(&c, 2, 0, key(7, "CN=a", "ID:0"), &loser), CLAIMS_NEW);
    assert_int_equal(take(&c, 2, 1, key(7, "CN=a", "ID:1"), &loser), CLAIMS_TAKEN);
    assert_true(loser.front == 1 && loser.connection == 1);
    claims_free(&c);
}

/* A full table still tells who lost: taking over makes no more claims than there were. */
static void a_full_table_says_so(void **state)
{
    struct claims c = {.max = 2};
    struct claims_holder loser;

    (void)state;
    assert_int_equal(take(&c, 0, 1, key(7, "CN=a", "ID:x"), &loser), CLAIMS_NEW);
    assert_int_equal(take(&c, 0, 2, key(7, "CN=a", "ID:y"), &loser), CLAIMS_NEW);
    assert_int_equal(take(&c, 0, 3, key(7, "CN=a", "ID:z"), &loser), CLAIMS_FULL);
    assert_int_equal(take(&c, 0, 3, key(7, "CN=a", "ID:y"), &loser), CLAIMS_TAKEN);
    assert_int_equal(loser.connection, 2);
    assert_int_equal(c.count, 2);
    claims_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newer_connection_wins), cmocka_unit_test(others_do_not_meet),
        cmocka_unit_test(a_connection_has_one_name), cmocka_unit_test(a_front_that_is_gone_has_none),
        cmocka_unit_test(a_full_table_says_so),
    };

    return cmocka_run_group_tests_name("claims", tests, NULL, NULL);
}
