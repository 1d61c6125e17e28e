/* Secret memory and the files it comes from. */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/system/secret.h"

static char path[] = "/tmp/coffre-secret-XXXXXX";

static int make_file(void **state)
{
    int fd = mkstemp(path);

    (void)state;
    return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

static void put(const char *bytes, size_t len, mode_t mode)
{
    FILE *out = fopen(path, "w");

    assert_non_null(out);
    assert_int_equal(fwrite(bytes, 1, len, out), len);
    fclose(out);
    assert_int_equal(chmod(path, mode), 0);
}

/* The flags of the mapping that holds `at`: lo is locked, dd is left out of core files. */
static void assert_locked_and_not_dumped(const void *at)
{
    FILE *in = fopen("/proc/self/smaps", "r");
    char line[512];
    bool here = false, checked = false;

    assert_non_null(in);
    while (fgets(line, sizeof line, in) != NULL) {
        unsigned long from, to;

        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            here = (unsigned long)at >= from && (unsigned long)at < to;
        if (here && strncmp(line, "VmFlags:", 8) == 0) {
#ifndef __SANITIZE_ADDRESS__ /* which turns mlock() into nothing */
            assert_non_null(strstr(line, " lo"));
#endif
            assert_non_null(strstr(line, " dd"));
            checked = true;
        }
    }
    fclose(in);
    assert_true(checked);
}

static void memory_is_zeroed_locked_and_not_dumped(void **state)
{
    struct secret s = {0};

    (void)state;
    assert_true(secret_alloc(&s, 5000, NULL));
    assert_int_equal(s.len, 5000);
    for (size_t i = 0; i < s.len; i++)
        assert_int_equal(s.at[i], 0);
    assert_locked_and_not_dumped(s.at);
    secret_free(&s);
    assert_null(s.at);
    secret_free(&s);
    assert_false(secret_alloc(&s, 0, NULL));
    assert_false(secret_alloc(&s, SIZE_MAX, NULL));
}

static void a_key_is_32_bytes_of_its_owner(void **state)
{
    struct secret s = {0};
    struct err e = {0};

    (void)state;
    put("0123456789abcdef0123456789abcdef", 32, 0600);
    assert_true(secret_read_key(&s, path, NULL));
    assert_true(slice_is(secret_slice(&s), "0123456789abcdef0123456789abcdef"));
    assert_locked_and_not_dumped(s.at);
    secret_free(&s);
    put("0123456789abcdef0123456789abcde", 31, 0600);
    assert_false(secret_read_key(&s, path, &e));
    assert_non_null(strstr(e.text, path));
    put("0123456789abcdef0123456789abcdef\n", 33, 0600);
    assert_false(secret_read_key(&s, path, NULL));
    put("", 0, 0600);
    assert_false(secret_read_key(&s, path, NULL));
    assert_null(s.at);
}

static void what_others_may_read_is_no_secret(void **state)
{
    static const mode_t bad[] = {0640, 0604, 0620, 0602, 0610, 0601, 0666};
    struct secret s = {0};

    (void)state;
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err e = {0};

        put("0123456789abcdef0123456789abcdef", 32, bad[i]);
        assert_false(secret_read_key(&s, path, &e));
        assert_int_equal(e.code, ERR_INPUT);
        assert_non_null(strstr(e.text, "lets others in"));
        assert_false(secret_check_file(path, NULL));
    }
    put("0123456789abcdef0123456789abcdef", 32, 0400);
    assert_true(secret_check_file(path, NULL));
    assert_false(secret_check_file("/tmp", NULL));
    assert_false(secret_check_file("/dev/null", NULL));
    assert_false(secret_check_file("/nonexistent", NULL));
}

static void a_pin_is_one_line(void **state)
{
    struct secret s = {0};
    char longest[SECRET_PIN_MAX + 2];

    (void)state;
    put("1234\n", 5, 0600);
    assert_true(secret_read_pin(&s, path, NULL));
    assert_string_equal((const char *)s.at, "1234");
    assert_int_equal(s.len, 4);
    secret_free(&s);
    put("12 34", 5, 0600);
    assert_true(secret_read_pin(&s, path, NULL));
    assert_string_equal((const char *)s.at, "12 34");
    secret_free(&s);
    memset(longest, 'x', sizeof longest);
    put(longest, SECRET_PIN_MAX, 0600);
    assert_true(secret_read_pin(&s, path, NULL));
    assert_int_equal(strlen((const char *)s.at), SECRET_PIN_MAX);
    secret_free(&s);
    put(longest, SECRET_PIN_MAX + 1, 0600);
    assert_false(secret_read_pin(&s, path, NULL));
    put("\n", 1, 0600);
    assert_false(secret_read_pin(&s, path, NULL));
    put("", 0, 0600);
    assert_false(secret_read_pin(&s, path, NULL));
    put("12\n34\n", 6, 0600);
    assert_false(secret_read_pin(&s, path, NULL));
    put("12\0""34", 5, 0600);
    assert_false(secret_read_pin(&s, path, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_zeroed_locked_and_not_dumped),
        cmocka_unit_test(a_key_is_32_bytes_of_its_owner),
        cmocka_unit_test(what_others_may_read_is_no_secret),
        cmocka_unit_test(a_pin_is_one_line),
    };

    return cmocka_run_group_tests_name("secret", tests, make_file, remove_file);
}
