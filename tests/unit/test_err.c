/* Errors as values: the first one is kept, nothing in it forges a line. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

#include <openssl/err.h>

#include "common/values/err.h"

static void first_error_is_kept(void **state)
{
    struct err e = {0};

    (void)state;
    assert_false(err_set(&e, ERR_INPUT, "first %d", 1));
    assert_false(err_set(&e, ERR_FATAL, "second"));
    assert_int_equal(e.code, ERR_INPUT);
    assert_string_equal(e.text, "first 1");
    err_clear(&e);
    assert_int_equal(e.code, ERR_NONE);
    assert_false(err_set(&e, ERR_RETRY, "third"));
    assert_string_equal(e.text, "third");
}

static void no_error_wanted_is_fine(void **state)
{
    (void)state;
    assert_false(err_set(NULL, ERR_INPUT, "x"));
    assert_false(err_prefix(NULL, "x"));
    assert_false(err_set_errno(NULL, ERR_INPUT, "x"));
    assert_false(err_set_openssl(NULL, ERR_INPUT, "x"));
}

static void control_characters_are_replaced(void **state)
{
    struct err e = {0};

    (void)state;
    err_set(&e, ERR_INPUT, "a\nb\rc%cd", 0x7f);
    assert_string_equal(e.text, "a.b.c.d");
}

static void prefixes_go_in_front(void **state)
{
    struct err e = {0};

    (void)state;
    assert_false(err_prefix(&e, "nothing to prefix"));
    assert_int_equal(e.text[0], 0);
    err_set(&e, ERR_INPUT, "inner");
    err_prefix(&e, "outer %s", "7");
    assert_string_equal(e.text, "outer 7: inner");
    /* However often, the text stays whole and terminated. */
    for (int i = 0; i < 200; i++)
        err_prefix(&e, "0123456789");
    assert_int_equal(strlen(e.text), ERR_TEXT_MAX - 1);
}

static void causes_are_appended(void **state)
{
    struct err e = {0};

    (void)state;
    errno = ENOENT;
    err_set_errno(&e, ERR_INPUT, "file");
    assert_string_equal(e.text, "file: No such file or directory");
    err_clear(&e);
    ERR_raise(ERR_LIB_USER, 42);
    err_set_openssl(&e, ERR_FATAL, "key");
    assert_non_null(strstr(e.text, "key: error:"));
    assert_int_equal(ERR_peek_error(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_error_is_kept),      cmocka_unit_test(no_error_wanted_is_fine),
        cmocka_unit_test(control_characters_are_replaced), cmocka_unit_test(prefixes_go_in_front),
        cmocka_unit_test(causes_are_appended),
    };

    return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
