/* Log lines: one line each, escaped, rate-limited. Standard error goes to a file meanwhile. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/values/log.h"

static char written[1 << 20];

static FILE *capture;
static int saved;

static void begin_capture(void)
{
    capture = tmpfile();
    assert_non_null(capture);
    saved = dup(STDERR_FILENO);
    assert_true(dup2(fileno(capture), STDERR_FILENO) >= 0);
}

static void end_capture(void)
{
    ssize_t n;

    dup2(saved, STDERR_FILENO);
    close(saved);
    n = pread(fileno(capture), written, sizeof written - 1, 0);
    assert_true(n >= 0);
    written[n] = '\0';
    fclose(capture);
}

static unsigned lines(void)
{
    unsigned n = 0;

    for (const char *c = written; *c != '\0'; c++)
        n += *c == '\n';
    return n;
}

static void a_line_has_its_fields(void **state)
{
    (void)state;
    begin_capture();
    log_open("coffre-test", "unit", LOG_LEVEL_INFO);
    log_info("code-1", "hello %d", 7);
    log_debug("code-2", "not at this level");
    end_capture();
    assert_int_equal(lines(), 1);
    assert_non_null(strstr(written, "Z level=info daemon=coffre-test role=unit pid="));
    assert_non_null(strstr(written, " code=code-1 msg=\"hello 7\"\n"));
}

static void the_journal_is_told_priorities(void **state)
{
    char stream[64];
    struct stat st;

    (void)state;
    begin_capture();
    assert_int_equal(fstat(STDERR_FILENO, &st), 0);
    snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    log_open("coffre-test", "unit", LOG_LEVEL_DEBUG);
    log_error("code-3", "an error");
    log_debug("code-2", "a detail");
    /* Another stream than this one: standard error was redirected. */
    setenv("JOURNAL_STREAM", "1:1", 1);
    log_open("coffre-test", "unit", LOG_LEVEL_INFO);
    log_info("code-1", "elsewhere");
    unsetenv("JOURNAL_STREAM");
    end_capture();
    assert_int_equal(lines(), 3);
    assert_memory_equal(written, "<3>20", 5);
    assert_non_null(strstr(written, "\n<7>20"));
    assert_null(strstr(written, "<6>"));
}

static void a_peer_cannot_forge_a_line(void **state)
{
    char fields[64] = "";

    (void)state;
    begin_capture();
    log_field(fields, sizeof fields, "peer", SLICE_LITERAL("evil\" level=error\nsecond\x1b[2J"));
    log_write(LOG_LEVEL_WARNING, "forged", fields, "text with \"quotes\" and\nline feed");
    end_capture();
    assert_int_equal(lines(), 1);
    assert_non_null(strstr(written, "peer=\"evil\\\" level=error\\x0asecond\\x1b[2J\""));
    assert_non_null(strstr(written, "msg=\"text with \\\"quotes\\\" and\\x0aline feed\""));
}

static void long_fields_are_cut_inside_the_quotes(void **state)
{
    char fields[24] = "", tiny[4] = "";

    (void)state;
    log_field(fields, sizeof fields, "k", SLICE_LITERAL("0123456789012345678901234567890123456789"));
    assert_true(strlen(fields) < sizeof fields);
    assert_int_equal(fields[strlen(fields) - 1], '"');
    assert_string_equal(log_field(tiny, sizeof tiny, "key", SLICE_LITERAL("v")), "");
}

static void long_messages_stay_one_line(void **state)
{
    char text[4000];

    (void)state;
    memset(text, '\n', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    begin_capture();
    log_error("long", "%s", text);
    end_capture();
    assert_int_equal(lines(), 1);
    assert_true(strlen(written) < 2048);
}

static void floods_are_limited_but_errors_are_not(void **state)
{
    (void)state;
    begin_capture();
    for (int i = 0; i < 1000; i++)
        log_info("flood", "x");
    end_capture();
    assert_true(lines() >= 100 && lines() <= 200); /* a second may end in between */
    begin_capture();
    for (int i = 0; i < 300; i++)
        log_error("flood-error", "x");
    end_capture();
    assert_int_equal(lines(), 300);
}

static void levels_have_names(void **state)
{
    enum log_level level;

    (void)state;
    assert_true(log_level_parse("debug", &level));
    assert_int_equal(level, LOG_LEVEL_DEBUG);
    assert_false(log_level_parse("loud", &level));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_has_its_fields),
        cmocka_unit_test(the_journal_is_told_priorities),
        cmocka_unit_test(a_peer_cannot_forge_a_line),
        cmocka_unit_test(long_fields_are_cut_inside_the_quotes),
        cmocka_unit_test(long_messages_stay_one_line),
        cmocka_unit_test(floods_are_limited_but_errors_are_not),
        cmocka_unit_test(levels_have_names),
    };

    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
