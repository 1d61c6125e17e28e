/* Log lines: one line each, escaped, rate-limited. Standard error goes to a file meanwhile. */
#include "tests/unit/unit.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/values/log.h"

enum { FLOOD = 1000, LINES_A_SECOND = 100, TURN_MS = 10, TURNS_MAX = 6000 };

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

static void look(void)
{
    ssize_t n = pread(fileno(capture), written, sizeof written - 1, 0);

    assert_true(n >= 0);
    written[n] = '\0';
}

static void end_capture(void)
{
    dup2(saved, STDERR_FILENO);
    close(saved);
    look();
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

static void flood(const char *code)
{
    for (int i = 0; i < FLOOD; i++)
        log_info(code, "x");
}

/* Lines of this code that were written, and those that were told to have been left out. */
static unsigned of(const char *code, unsigned *left_out)
{
    char mark[64];
    unsigned n = 0;

    snprintf(mark, sizeof mark, " code=%s ", code);
    *left_out = 0;
    for (const char *at = written; (at = strstr(at, mark)) != NULL;) {
        unsigned told;

        at += strlen(mark);
        if (sscanf(at, "left_out=%u", &told) == 1)
            *left_out += told;
        else
            n++;
    }
    return n;
}

static bool is_all_told(const char *code)
{
    unsigned left_out, n;

    look();
    n = of(code, &left_out);
    return n + left_out == FLOOD;
}

static void floods_are_limited_but_errors_are_not(void **state)
{
    unsigned left_out;

    (void)state;
    begin_capture();
    flood("flood");
    look();
    assert_in_range(of("flood", &left_out), LINES_A_SECOND, 2 * LINES_A_SECOND); /* a second may end in between */
    end_capture();
    begin_capture();
    for (int i = 0; i < 300; i++)
        log_error("flood-error", "x");
    end_capture();
    assert_in_range(lines(), 300, 301);
}

/* Whoever calls it; nobody has written anything since. */
static void what_a_flood_left_out_is_told_when_it_is_over(void **state)
{
    (void)state;
    begin_capture();
    flood("flood-over");
    for (unsigned turns = 0; !is_all_told("flood-over"); turns++) {
        assert_true(turns < TURNS_MAX);
        poll(NULL, 0, TURN_MS);
        log_tick();
    }
    assert_non_null(strstr(written, " since=20"));
    assert_non_null(strstr(written, "more lines like these since 20"));
    end_capture();
}

static void a_line_of_any_code_tells_what_a_flood_before_it_left_out(void **state)
{
    (void)state;
    begin_capture();
    flood("flood-before");
    for (unsigned turns = 0; !is_all_told("flood-before"); turns++) {
        assert_true(turns < TURNS_MAX);
        poll(NULL, 0, TURN_MS);
        log_error("another", "x");
    }
    end_capture();
    assert_non_null(strstr(strstr(written, " code=flood-before left_out="), " code=another ")); /* before it, not instead of it */
}

/* As often as codes come: what is left out of each is told by name, or, when they are too many, together. */
static void floods_of_many_codes_are_all_told(void **state)
{
    unsigned written_ones = 0, told = 0;
    char code[32];

    (void)state;
    begin_capture();
    for (int n = 0; n < 100; n++) {
        snprintf(code, sizeof code, "code-%d", n);
        for (int i = 0; i < 2 * LINES_A_SECOND; i++)
            log_info(code, "x");
    }
    log_end();
    end_capture();
    for (const char *line = written; *line != '\0'; line = strchr(line, '\n') + 1) {
        unsigned left_out = 0;

        if (sscanf(strstr(line, " code="), " code=%*s left_out=%u", &left_out) == 1)
            told += left_out;
        else
            written_ones++;
    }
    assert_non_null(strstr(written, " code=code-0 left_out="));
    assert_non_null(strstr(written, " code=many-codes left_out="));
    assert_int_equal(written_ones + told, 100 * 2 * LINES_A_SECOND);
}

/* This program, started again, floods and ends: before the second is over. */
static void what_was_left_out_is_told_at_the_end(void **state)
{
    int status;
    pid_t pid;

    (void)state;
    begin_capture();
    pid = fork();
    if (pid == 0) {
        execl("/proc/self/exe", "test_log", "flood-end", (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_true(is_all_told("flood-end"));
    end_capture();
}

static void levels_have_names(void **state)
{
    enum log_level level;

    (void)state;
    assert_true(log_level_parse("debug", &level));
    assert_int_equal(level, LOG_LEVEL_DEBUG);
    assert_false(log_level_parse("loud", &level));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_has_its_fields),
        cmocka_unit_test(the_journal_is_told_priorities),
        cmocka_unit_test(a_peer_cannot_forge_a_line),
        cmocka_unit_test(long_fields_are_cut_inside_the_quotes),
        cmocka_unit_test(long_messages_stay_one_line),
        cmocka_unit_test(floods_are_limited_but_errors_are_not),
        cmocka_unit_test(what_a_flood_left_out_is_told_when_it_is_over),
        cmocka_unit_test(a_line_of_any_code_tells_what_a_flood_before_it_left_out),
        cmocka_unit_test(floods_of_many_codes_are_all_told),
        cmocka_unit_test(what_was_left_out_is_told_at_the_end),
        cmocka_unit_test(levels_have_names),
    };

    if (argc > 1) {
        log_open("coffre-test", "unit", LOG_LEVEL_INFO);
        flood(argv[1]);
        return 0;
    }
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
